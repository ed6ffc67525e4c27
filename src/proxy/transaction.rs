//! Transactions: whole ones on a shared backend, those that arrive step by step on a leased one.
//!
//! A transaction that stands whole in the read buffer, from `MULTI` to `EXEC`, goes down a shared backend contiguously:
//! nobody else's request can come between, since all of it is queued at once. Otherwise `MULTI` is answered here, and
//! the first command that has a server says whose backend is leased:
//!
//! ```text
//!   client:   MULTI      SET a 1              GET a       EXEC              (WATCH k leases at once)
//!             +OK here   lease, MULTI, SET a  GET a       EXEC, lease ends with the reply
//!                        (OK dropped) QUEUED  QUEUED      *2 …
//! ```
//!
//! Redis itself answers everything that reaches it. What never does (a refused command, a key on another server, a
//! backend that was lost) is an error at once, and `EXEC` answers `EXECABORT`. What is about the client's session, and
//! so answered by rmux, is `local_steps`' business. No part of a transaction is ever sent twice: a second `SET` outside
//! of its `MULTI` would be a write that nobody asked for. All of one is, if it came whole, and a node of a cluster has
//! not run it (`redirect_whole`).

use super::call::{Call, Verdict, When};
use super::clients::Clients;
use super::pick::{self, Pick};
use super::relocations::{Relocation, Stage};
use super::resend::ASKING;
use super::router::{Route, Router};
use super::slot_table::slot_in;
use super::state::Proxy;
use super::transaction_marks::{self, ABORTED, MULTI, cleanup};
use super::turn::FollowUp;
use super::{answer, bulk, dispatch, enqueue, leases, local_steps, redirect_watch, relocate, step};
use crate::client::{Client, Flow, Leased, Need, Transaction};
use crate::command::{Class, Gather, Keys, Lease, Session};
use crate::reply;
use crate::request::Role;
use crate::server_id::ServerId;
use crate::slots::Id;
use crate::timer::Millis;

const OK: &[u8] = b"+OK\r\n";

pub(super) fn on_multi(proxy: &mut Proxy, id: Id) -> Verdict {
    let Some(client) = proxy.clients.get_mut(id) else { return Verdict::Done };
    if client.begin_transaction().on_multi() {
        answer::reply_here(proxy, id, OK);
    } else {
        answer::reply_here(proxy, id, b"-ERR MULTI calls can not be nested\r\n");
    }
    Verdict::Done
}

pub(super) fn on_watch(proxy: &mut Proxy, id: Id, call: &Call<'_>, when: When) -> Verdict {
    if is_in_multi(&proxy.clients, id) {
        answer::reply_here(proxy, id, b"-ERR WATCH inside MULTI is not allowed\r\n");
        return Verdict::Done;
    }
    if redirect_watch::review(proxy, id, when.now) {
        // What it watches has changed already.
        answer::reply_here(proxy, id, OK);
        return Verdict::Done;
    }
    if awaits_others(proxy, id) {
        return Verdict::Wait;
    }
    let mut relocation = if proxy.relocations.is_empty() { None } else { proxy.relocations.take_asking(id) };
    let route = proxy.router.route_keys(call.command, call.request, call.args);
    let (server, is_asking) = match route {
        _ if relocation.is_some() => match relocate::place(proxy, id, call, &mut relocation, when.now) {
            Ok((server, _, is_asking)) => (server, is_asking),
            Err(verdict) => return verdict,
        },
        Route::To(server, _) => match transaction_marks::transaction(&proxy.clients, id) {
            Some(transaction) if transaction.is_leased_at(server) => {
                (transaction.leased().map_or(server, |leased| leased.server), transaction.instead_of().is_some())
            }
            Some(transaction) if transaction.leased().is_some() => return refuse_step(proxy, id, call, route),
            _ => (server, false),
        },
        route => return refuse_step(proxy, id, call, route),
    };
    let backend = match pick::lease(proxy, id, server, when) {
        Pick::Take(backend) => backend,
        pick => {
            let verdict = dispatch::wait_or_refuse(proxy, id, server, pick, Need::Lease, when.now);
            if let Some(relocation) = relocation.filter(|_| matches!(verdict, Verdict::Wait)) {
                proxy.relocations.put(id, relocation);
            }
            return verdict;
        }
    };
    if let Some(client) = proxy.clients.get_mut(id) {
        client.begin_transaction();
    }
    let leased = hold_lease(&proxy.router, &mut proxy.clients, id, server, backend);
    if let Some(verdict) = step::hold_step(proxy, id, leased, when.now) {
        return verdict;
    }
    if proxy.settings.cluster {
        note_watch(proxy, id, leased, route, is_asking, when.now);
    }
    let ticket = step::line_up_step(proxy, id, leased, call.len(), Role::Atomic, when.now);
    if let (Some(mut relocation), Some(ticket)) = (relocation, &ticket) {
        relocation.stage = Stage::Sent(ticket.request(), when.now);
        proxy.relocations.put(id, relocation);
        proxy.journal.stats.held += 1;
    }
    ticket.map_or(Verdict::Done, Verdict::Forward)
}

/// A `WATCH` is sent to a node of a cluster: it `is_asking` if the slot is only on its way there.
fn note_watch(proxy: &mut Proxy, id: Id, leased: Leased, route: Route, is_asking: bool, now: Millis) {
    if is_asking {
        // It holds for the next request of the connection, and for no other.
        enqueue::send_internal(proxy, leased.backend, ASKING, Role::Internal, now);
    }
    if let Some(backend) = proxy.upstreams.backend_mut(leased.backend) {
        backend.on_watch();
    }
    let transaction = proxy.clients.get_mut(id).and_then(Client::transaction_mut);
    if let (Route::To(owner, hash), Some(transaction)) = (route, transaction) {
        transaction.watch(slot_in(hash), Some(owner).filter(|&owner| is_asking && owner != leased.server));
    }
}

pub(super) fn on_unwatch(proxy: &mut Proxy, id: Id, call: &Call<'_>, when: When) -> Verdict {
    if is_in_multi(&proxy.clients, id) {
        return on_step(proxy, id, call, when);
    }
    let Some(leased) = transaction_marks::leased(&proxy.clients, id) else {
        transaction_marks::take_transaction(&mut proxy.clients, &mut proxy.in_flight, id);
        answer::reply_here(proxy, id, OK);
        return Verdict::Done;
    };
    send_last(proxy, id, leased, call, when.now)
}

pub(super) fn on_discard(proxy: &mut Proxy, id: Id, call: &Call<'_>, now: Millis) -> Verdict {
    if !is_in_multi(&proxy.clients, id) {
        answer::reply_here(proxy, id, b"-ERR DISCARD without MULTI\r\n");
        return Verdict::Done;
    }
    match transaction_marks::leased(&proxy.clients, id) {
        Some(leased) if transaction_marks::is_begun(&proxy.clients, id) => send_last(proxy, id, leased, call, now),
        _ => {
            give_up(proxy, id, now);
            answer::reply_here(proxy, id, OK);
            Verdict::Done
        }
    }
}

pub(super) fn on_exec(proxy: &mut Proxy, id: Id, call: &Call<'_>, when: When) -> Verdict {
    let Some(client) = proxy.clients.get(id) else { return Verdict::Done };
    let Some(transaction) = client.transaction().filter(|transaction| transaction.is_multi()) else {
        answer::reply_here(proxy, id, b"-ERR EXEC without MULTI\r\n");
        return Verdict::Done;
    };
    if transaction.is_broken() {
        give_up(proxy, id, when.now);
        answer::reply_here(proxy, id, ABORTED);
        return Verdict::Done;
    }
    if redirect_watch::review(proxy, id, when.now) {
        give_up(proxy, id, when.now);
        let protocol = proxy.clients.get(id).map(|client| client.protocol()).unwrap_or_default();
        answer::reply_with(proxy, id, |out| reply::null_array(out, protocol));
        return Verdict::Done;
    }
    let Some(transaction) = transaction_marks::transaction(&proxy.clients, id) else { return Verdict::Done };
    let is_empty = !transaction.has_early_steps();
    if transaction.pool_steps() > 0 && bulk::is_full(&proxy.settings, &mut proxy.clients, &mut proxy.turn, id) {
        return Verdict::Wait;
    }
    let Some(transaction) = transaction_marks::transaction(&proxy.clients, id) else { return Verdict::Done };
    let leased = match transaction.leased() {
        Some(leased) => leased,
        None if is_empty => {
            transaction_marks::take_transaction(&mut proxy.clients, &mut proxy.in_flight, id);
            answer::reply_here(proxy, id, b"*0\r\n");
            return Verdict::Done;
        }
        // No key has said whose steps these are: anybody's.
        None => match lease_for_step(proxy, id, call, proxy.router.route_any(), when) {
            Ok(leased) => leased,
            Err(Verdict::Done) => {
                // Whatever the answer was, to the client it is that of EXEC.
                give_up(proxy, id, when.now);
                return Verdict::Done;
            }
            Err(verdict) => return verdict,
        },
    };
    begin(proxy, id, leased.backend, when.now);
    if transaction_marks::transaction(&proxy.clients, id).is_some_and(Transaction::has_local_steps) {
        return local_steps::send_exec_with_local_steps(proxy, id, leased, call, when.now);
    }
    send_last(proxy, id, leased, call, when.now)
}

/// A request of a client that has said `MULTI`. `None` if it is to be dealt with like any other.
pub(super) fn on_request_in_transaction(proxy: &mut Proxy, id: Id, call: &Call<'_>, when: When) -> Option<Verdict> {
    let is_arity_right = call.command.arity_allows(call.args.len());
    if !is_in_multi(&proxy.clients, id) {
        match call.command.class {
            Class::Session(Session::Reset) if is_arity_right => give_up(proxy, id, when.now),
            Class::Session(Session::Select) if is_arity_right => {
                return local_steps::on_select_on_lease(proxy, id, call, when.now);
            }
            _ => {}
        }
        return None;
    }
    match call.command.class {
        Class::Lease(Lease::Multi | Lease::Exec | Lease::Discard | Lease::Watch) => None,
        Class::Session(Session::Quit) => None,
        Class::Session(Session::Reset) => {
            if is_arity_right {
                give_up(proxy, id, when.now);
            } else {
                transaction_marks::break_transaction(&mut proxy.clients, id);
            }
            None
        }
        _ => Some(on_step(proxy, id, call, when)),
    }
}

/// A command that is to be queued in a transaction.
fn on_step(proxy: &mut Proxy, id: Id, call: &Call<'_>, when: When) -> Verdict {
    let is_touched = redirect_watch::review(proxy, id, when.now);
    let is_broken = is_touched
        || transaction_marks::transaction(&proxy.clients, id).is_some_and(|transaction| transaction.is_broken());
    let is_own = local_steps::is_local_step(&proxy.router, call);
    let route = route_step(proxy, call);
    let is_refused = matches!(route, Some(Route::Unsupported));
    if (is_broken || is_own) && !is_refused && local_steps::finds_fault(proxy, id, call) {
        return Verdict::Done;
    }
    if is_broken && !is_refused {
        // It will not be run, and EXEC will say so.
        answer::reply_here(proxy, id, b"+QUEUED\r\n");
        return Verdict::Done;
    }
    let route = match (route, transaction_marks::leased(&proxy.clients, id)) {
        (Some(route), _) => route,
        // Any server will do: the one that the transaction has already, if there is one.
        (None, Some(leased)) => Route::To(leased.server, 0),
        (None, None) if proxy.router.has_several() && matches!(call.command.class, Class::Session(_)) => {
            return local_steps::keep_early_step(proxy, id, call);
        }
        (None, None) => proxy.router.route_any(),
    };
    let leased = match lease_for_step(proxy, id, call, route, when) {
        Ok(leased) => leased,
        Err(verdict) => return verdict,
    };
    begin(proxy, id, leased.backend, when.now);
    if is_own || call.command.class == Class::Session(Session::Select) {
        return local_steps::send_local_step(proxy, id, leased, call, when.now);
    }
    let verdict = step::send_step(proxy, id, leased, call, Role::Atomic, when.now);
    if let Verdict::Forward(ticket) = &verdict {
        if !proxy.relocations.is_empty() {
            if let Some(mut relocation) = proxy.relocations.take_asking(id) {
                relocation.stage = Stage::Sent(ticket.request(), when.now);
                proxy.relocations.put(id, relocation);
            }
        }
        let index = step::count_step(&mut proxy.clients, id);
        local_steps::note_counting_step(proxy, id, index, call);
    }
    verdict
}

/// The backend of a transaction that has a step for `route`. The verdict says why there is none now.
fn lease_for_step(proxy: &mut Proxy, id: Id, call: &Call<'_>, route: Route, when: When) -> Result<Leased, Verdict> {
    let leased = transaction_marks::leased(&proxy.clients, id);
    if !proxy.relocations.is_empty() && leased.is_none() {
        if let Some(relocation) = proxy.relocations.take_asking(id) {
            return lease_elsewhere(proxy, id, call, route, relocation, when);
        }
    }
    let is_there = |server: ServerId| {
        let transaction = transaction_marks::transaction(&proxy.clients, id);
        leased.is_none() || transaction.is_some_and(|transaction| transaction.is_leased_at(server))
    };
    let server = match route {
        Route::To(server, _) if is_there(server) => leased.map_or(server, |leased| leased.server),
        route => {
            transaction_marks::break_transaction(&mut proxy.clients, id);
            return Err(refuse_step(proxy, id, call, route));
        }
    };
    if awaits_others(proxy, id) {
        return Err(Verdict::Wait);
    }
    let backend = match pick::lease(proxy, id, server, when) {
        Pick::Take(backend) => backend,
        pick @ (Pick::GiveUp | Pick::Never | Pick::Watching) => {
            transaction_marks::break_transaction(&mut proxy.clients, id);
            return Err(dispatch::wait_or_refuse(proxy, id, server, pick, Need::Lease, when.now));
        }
        pick => return Err(dispatch::wait_or_refuse(proxy, id, server, pick, Need::Lease, when.now)),
    };
    Ok(hold_lease(&proxy.router, &mut proxy.clients, id, server, backend))
}

/// The same for the first step of a transaction, which was not run where it was asked, in a cluster whose slots move.
#[cold]
fn lease_elsewhere(
    proxy: &mut Proxy,
    id: Id,
    call: &Call<'_>,
    route: Route,
    relocation: Relocation,
    when: When,
) -> Result<Leased, Verdict> {
    let mut relocation = Some(relocation);
    let (server, _, is_asking) = match relocate::place(proxy, id, call, &mut relocation, when.now) {
        Ok(place) => place,
        Err(verdict) => {
            if matches!(verdict, Verdict::Done) {
                transaction_marks::break_transaction(&mut proxy.clients, id);
            }
            return Err(verdict);
        }
    };
    let backend = match pick::lease(proxy, id, server, when) {
        Pick::Take(backend) => backend,
        pick => {
            let verdict = dispatch::wait_or_refuse(proxy, id, server, pick, Need::Lease, when.now);
            match (relocation, &verdict) {
                (Some(relocation), Verdict::Wait) => proxy.relocations.put(id, relocation),
                _ => transaction_marks::break_transaction(&mut proxy.clients, id),
            }
            return Err(verdict);
        }
    };
    let leased = hold_lease(&proxy.router, &mut proxy.clients, id, server, backend);
    let transaction = proxy.clients.get_mut(id).and_then(Client::transaction_mut);
    if let (Route::To(owner, _), Some(transaction)) = (route, transaction) {
        if is_asking && owner != server {
            transaction.lease_instead_of(owner);
        }
    }
    if let Some(relocation) = relocation {
        // It is sent at once.
        proxy.relocations.put(id, relocation);
    }
    proxy.journal.stats.held += 1;
    Ok(leased)
}

/// Whether what a client has in flight in a cluster is answered before its transaction begins on a connection: nothing
/// could be sent again there, nor be waited for, since that would come behind what is queued.
fn awaits_others(proxy: &mut Proxy, id: Id) -> bool {
    if proxy.router.slots().is_none() || transaction_marks::is_begun(&proxy.clients, id) {
        return false;
    }
    let Some(client) = proxy.clients.get(id) else { return false };
    let leased = client.leased().map(|leased| leased.server);
    let server = client.affinities().iter().map(|affinity| affinity.server).find(|&server| Some(server) != leased);
    if let Some(server) = server {
        bulk::await_replies(&mut proxy.clients, &mut proxy.turn, id, Flow::AwaitingOwnReplies { server });
    }
    server.is_some()
}

/// This backend is the one of the client's transaction from here on, if it is not already.
fn hold_lease(router: &Router, clients: &mut Clients, id: Id, server: ServerId, backend: Id) -> Leased {
    let leased = Leased { server, backend };
    if let Some(transaction) = clients.get_mut(id).and_then(Client::transaction_mut) {
        transaction.lease(leased, router.epoch());
    }
    leased
}

/// Tells the client why what it wants of its transaction's server goes nowhere. Keys that were there together may
/// be apart, or elsewhere, only because a server went down or came back: then that is what it is told.
fn refuse_step(proxy: &mut Proxy, id: Id, call: &Call<'_>, route: Route) -> Verdict {
    let route = if matches!(route, Route::To(..)) { Route::CrossSlot } else { route };
    let stale = transaction_marks::transaction(&proxy.clients, id)
        .and_then(|transaction| transaction.stale_lease(proxy.router.epoch()));
    match (route, stale) {
        (Route::CrossSlot, Some(leased)) if call.command.arity_allows(call.args.len()) => {
            let text = format!(
                "-ERR These keys are not all at {}, where this transaction began; \
                 a server went down or came back since\r\n",
                proxy.upstreams.address(leased.server)
            );
            answer::reply_here(proxy, id, text.as_bytes());
            Verdict::Done
        }
        (route, _) => dispatch::refuse(proxy, id, call, route),
    }
}

/// Where a command within a transaction must go; `None` if any server will do: it has no keys, or the server will
/// say what is wrong with them.
pub(super) fn route_step(proxy: &Proxy, call: &Call<'_>) -> Option<Route> {
    let several = proxy.router.has_several();
    match call.command.class {
        Class::Keyed | Class::Split(_) | Class::Lease(Lease::Block(_)) if call.is_without_keys() => None,
        Class::Keyed | Class::Split(_) | Class::Lease(Lease::Block(_)) => {
            Some(proxy.router.route_keys(call.command, call.request, call.args))
        }
        Class::Channel(_) if several && call.args.len() > 1 => None,
        Class::All(_) | Class::Single if several => Some(Route::Unsupported),
        // Its reply would be in the middle of another one, as it is.
        Class::All(Gather::Masked) => Some(Route::Unsupported),
        Class::Any | Class::Channel(_) | Class::All(_) | Class::Single => None,
        Class::Lease(Lease::Unwatch | Lease::Wait) => None,
        Class::Session(_) | Class::Container => None,
        Class::Refused if !dispatch::is_allowed(&proxy.settings, call) => Some(Route::Unsupported),
        Class::Refused if call.command.keys == Keys::None => None,
        Class::Refused => Some(proxy.router.route_keys(call.command, call.request, call.args)),
        Class::Lease(_) => Some(Route::Unsupported),
    }
}

/// Ends a transaction that will not be run, and leaves its backend clean.
pub(super) fn give_up(proxy: &mut Proxy, id: Id, now: Millis) {
    let transaction = transaction_marks::take_transaction(&mut proxy.clients, &mut proxy.in_flight, id);
    let leased = transaction.as_ref().and_then(|transaction| Some((transaction, transaction.leased()?.backend)));
    if let Some((transaction, backend)) = leased {
        let bytes = cleanup(transaction);
        // It may have been refused what it leased it for, and nothing was sent.
        let is_own = proxy.upstreams.backend(backend).is_some_and(|backend| backend.owner() == Some(id));
        if is_own && !leases::clean_up(proxy, backend, bytes, now) {
            proxy.turn.follow_up(FollowUp::Lease(backend, Some(id), Some(bytes)));
        }
    }
}

/// Tells the server `MULTI`, if it was not told yet.
fn begin(proxy: &mut Proxy, id: Id, backend: Id, now: Millis) {
    let Some(transaction) = proxy.clients.get_mut(id).and_then(Client::transaction_mut) else { return };
    let is_asking = transaction.instead_of().is_some();
    if let Some(early_steps) = transaction.begin() {
        if is_asking {
            // It holds until the transaction is over.
            enqueue::send_internal(proxy, backend, ASKING, Role::Internal, now);
        }
        enqueue::send_internal(proxy, backend, MULTI, Role::Internal, now);
        local_steps::send_early_steps(proxy, id, backend, early_steps, now);
    }
}

/// Sends the request that ends a transaction. The lease ends with its reply.
fn send_last(proxy: &mut Proxy, id: Id, leased: Leased, call: &Call<'_>, now: Millis) -> Verdict {
    let verdict = step::send_step(proxy, id, leased, call, Role::Ending { has_selected: false }, now);
    if let Verdict::Forward(_) = verdict {
        transaction_marks::take_transaction(&mut proxy.clients, &mut proxy.in_flight, id);
        if let Some(client) = proxy.clients.get_mut(id) {
            client.on_write(leased.backend);
        }
        if let Some(backend) = proxy.upstreams.backend_mut(leased.backend) {
            backend.on_exec();
        }
    }
    verdict
}

fn is_in_multi(clients: &Clients, id: Id) -> bool {
    transaction_marks::transaction(clients, id).is_some_and(|transaction| transaction.is_multi())
}
