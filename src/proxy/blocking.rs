//! What needs a backend of its own: commands that wait for data, and, in `transaction`, what arrives step by step.
//!
//! A leased backend leaves the shared set: nobody else is given it. It comes back when the reply has come that ends the
//! lease, since its session is clean then. A client that leaves with watched keys, or within a transaction, has rmux
//! end it; one that leaves while it waits for data, and a request that timed out, close the backend.
//!
//! ```text
//!   shared ──► leased by a client ──► the reply that ends it ──────────────────────► shared
//!                    ├──► the client leaves ──► UNWATCH or DISCARD, its reply ────────┘
//!                    └──► it leaves while it waits, or a reply is lost ──► closed, and whoever waits behind is told
//! ```
//!
//! A client that waits for data is not read, but for the end of its connection: then its backend is closed at once, or
//! it would swallow the next element for nobody. Who finds no backend to lease waits in line, as others do.

use super::call::{Call, Verdict, When};
use super::clients::Clients;
use super::in_flight::InFlight;
use super::interface::NO_DEADLINE;
use super::pick::{self, Pick};
use super::refusals::UNSUPPORTED;
use super::relocations::{Relocation, Stage};
use super::router::Route;
use super::state::Proxy;
use super::turn::{FollowUp, Turn};
use super::upstreams::Upstreams;
use super::{
    answer, bulk, close, dispatch, enqueue, leases, local_steps, relocate, resend, transaction, transaction_marks,
};
use crate::backend::Backend;
use crate::client::{Client, Flow, Need};
use crate::command::{Lease, Timeout};
use crate::reply::error;
use crate::request::{Request, RequestId, Role};
use crate::server_id::ServerId;
use crate::slots::Id;
use crate::timer::Millis;

/// Redis's own words: an `EXEC` that it rejects discards the transaction, or would.
const EXEC_ARITY: &[u8] =
    b"-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command\r\n";

/// A request that holds or changes the state of its connection.
pub(super) fn on_lease(proxy: &mut Proxy, id: Id, call: &Call<'_>, lease: Lease, when: When) -> Verdict {
    if !call.command.arity_allows(call.args.len()) {
        if lease == Lease::Exec {
            transaction::give_up(proxy, id, when.now);
            answer::reply_here(proxy, id, EXEC_ARITY);
            return Verdict::Done;
        }
        transaction_marks::break_transaction(&mut proxy.clients, id);
        answer::reply_with(proxy, id, |out| error::wrong_arity(out, call.name()));
        return Verdict::Done;
    }
    match lease {
        Lease::Block(_) => on_blocking(proxy, id, call, when),
        Lease::Wait => on_wait(proxy, id, call, when),
        Lease::Multi => transaction::on_multi(proxy, id),
        Lease::Exec => transaction::on_exec(proxy, id, call, when),
        Lease::Discard => transaction::on_discard(proxy, id, call, when.now),
        Lease::Watch => transaction::on_watch(proxy, id, call, when),
        Lease::Unwatch => transaction::on_unwatch(proxy, id, call, when),
        Lease::Subscribe(_) | Lease::Unsubscribe(_) => {
            answer::reply_here(proxy, id, UNSUPPORTED);
            Verdict::Done
        }
    }
}

/// A command that may wait for data: it gets a backend for itself.
fn on_blocking(proxy: &mut Proxy, id: Id, call: &Call<'_>, when: When) -> Verdict {
    // What a node does not run waits until nothing of its client is in flight: while that is blocked, perhaps for ever.
    let outstanding = proxy.clients.get(id).and_then(|client| client.affinities().first());
    if let Some(server) = outstanding.filter(|_| proxy.settings.cluster).map(|affinity| affinity.server) {
        return dispatch::wait_or_refuse(proxy, id, server, Pick::Behind, Need::Lease, when.now);
    }
    if !proxy.relocations.is_empty() {
        if let Some(relocation) = proxy.relocations.take_asking(id) {
            return on_blocking_again(proxy, id, call, relocation, when);
        }
    }
    let (server, hash) = match proxy.router.route_keys(call.command, call.request, call.args) {
        Route::To(server, hash) => (server, hash),
        route => return dispatch::refuse(proxy, id, call, route),
    };
    let timeout = call.command.blocks(call.args.len(), |i| call.arg(i));
    let backend = match lease_to_block(proxy, id, server, when) {
        Pick::Take(backend) => backend,
        pick => return dispatch::wait_or_refuse(proxy, id, server, pick, Need::Lease, when.now),
    };
    let request = Request::new(id, Millis(0), call.len(), hash, false);
    block_in_order(proxy, id, server, backend, request, timeout, when.now)
}

/// Finds a backend at `server` on which this client can wait for data.
fn lease_to_block(proxy: &mut Proxy, id: Id, server: ServerId, when: When) -> Pick {
    match pick::lease(proxy, id, server, when) {
        // Where others are still to be answered, the connection could not be closed if it leaves.
        Pick::Take(backend) if has_others(&proxy.upstreams, &proxy.clients, &proxy.in_flight, id, server, backend) => {
            Pick::Behind
        }
        pick => pick,
    }
}

/// The same for a command that was not run where it was asked, in a cluster whose slots move: for as long as remains
/// of its time.
#[cold]
fn on_blocking_again(proxy: &mut Proxy, id: Id, call: &Call<'_>, relocation: Relocation, when: When) -> Verdict {
    if proxy.clients.get(id).is_some_and(|client| client.connection().has_hung_up()) {
        close::leave(&mut proxy.clients, &mut proxy.turn, id);
        return Verdict::Done;
    }
    let mut relocation = Some(relocation);
    let (server, hash, is_asking) = match relocate::place(proxy, id, call, &mut relocation, when.now) {
        Ok(place) => place,
        Err(verdict) => return verdict,
    };
    let Some(mut relocation) = relocation else { return Verdict::Done };
    let backend = match lease_to_block(proxy, id, server, when) {
        Pick::Take(backend) => backend,
        pick => {
            let pick = if relocate::is_impatient(&pick, &relocation, when.now) { pick } else { Pick::Park };
            let verdict = dispatch::wait_or_refuse(proxy, id, server, pick, Need::Lease, when.now);
            if matches!(verdict, Verdict::Wait) {
                proxy.relocations.put(id, relocation);
            }
            return verdict;
        }
    };
    let bytes = relocate::with_remaining_time(call, relocation.until, when.now);
    let timeout = match relocation.until {
        Some(until) => Timeout::Millis(until - when.now),
        None => Timeout::Forever,
    };
    if is_asking {
        // It holds for the next request of the connection, and for no other.
        enqueue::send_internal(proxy, backend, resend::ASKING, Role::Internal, when.now);
    }
    let request = Request::new(id, Millis(0), bytes.len() as u32, hash, false);
    let verdict = block_in_order(proxy, id, server, backend, request, Some(timeout), when.now);
    let Verdict::Forward(ticket) = verdict else { return verdict };
    relocation.stage = Stage::Sent(ticket.request(), when.now);
    proxy.relocations.put(id, relocation);
    proxy.journal.stats.held += 1;
    enqueue::queue(&mut proxy.upstreams, &mut proxy.in_flight, &mut proxy.turn, ticket, &bytes);
    Verdict::Done
}

/// Puts a request that may wait into line, behind those that have come before.
fn block_in_order(
    proxy: &mut Proxy,
    id: Id,
    server: ServerId,
    backend: Id,
    request: Request,
    timeout: Option<Timeout>,
    now: Millis,
) -> Verdict {
    // On a connection that it has for another reason, too, it may have more in flight.
    let is_alone = proxy.clients.get(id).is_some_and(|client| client.leased().is_none() && !client.is_in_bulk());
    match block(proxy, id, server, backend, request, timeout, now) {
        Verdict::Forward(ticket) if is_alone => {
            let backend = keep_order_of_blocking(proxy, id, server, ticket.backend());
            Verdict::Forward(ticket.moved_to(backend))
        }
        verdict => verdict,
    }
}

/// Whether others wait for replies before the last one of this client on its own `backend`.
fn has_others(
    upstreams: &Upstreams,
    clients: &Clients,
    in_flight: &InFlight,
    id: Id,
    server: ServerId,
    backend: Id,
) -> bool {
    let is_others = |request: RequestId| ![id, Id::NONE].contains(&in_flight.requests[request].client());
    let affinity = clients.get(id).and_then(|client| client.affinity(server));
    let backend = upstreams.backend(backend).filter(|_| affinity.is_some_and(|affinity| affinity.backend == backend));
    backend.is_some_and(|backend| backend.in_flight().iter(&in_flight.requests).any(is_others))
}

/// A client blocks on `backend`, and its command goes there next. Who has blocked before it, and still waits until
/// its own backend is ready, is not overtaken. Returns where the command goes.
fn keep_order_of_blocking(proxy: &mut Proxy, id: Id, server: ServerId, backend: Id) -> Id {
    let mut blocking = proxy.upstreams.pool_mut(server).take_blocking();
    blocking.retain(|&other| other != id && leases::is_blocking_at(&proxy.upstreams, &proxy.clients, other, server));
    blocking.push(id);
    proxy.upstreams.pool_mut(server).put_blocking(blocking);
    leases::on_ready_to_block(proxy, backend);
    match proxy.clients.get(id).map(|client| client.flow()) {
        Some(Flow::BlockedOnCommand { backend }) => backend,
        _ => backend,
    }
}

/// `WAIT` and `WAITAOF` ask about the writes of their own connection: the one that carried this client's last
/// write, which is nobody else's until the reply has come.
fn on_wait(proxy: &mut Proxy, id: Id, call: &Call<'_>, when: When) -> Verdict {
    let Some(client) = proxy.clients.get(id) else { return Verdict::Done };
    let wrote_to = client.wrote_to();
    let millis = std::str::from_utf8(call.arg(call.args.len() - 1)).ok().and_then(|text| text.parse().ok());
    let timeout = Some(millis.filter(|&millis| millis > 0).map_or(Timeout::Forever, Timeout::Millis));
    let request = Request::new(id, Millis(0), call.len(), 0, false);
    if wrote_to == Id::NONE {
        let Some(server) = proxy.router.route_any().server() else {
            return dispatch::refuse(proxy, id, call, Route::Down);
        };
        return match pick::lease(proxy, id, server, when) {
            Pick::Take(backend) => block(proxy, id, server, backend, request, timeout, when.now),
            pick => dispatch::wait_or_refuse(proxy, id, server, pick, Need::Lease, when.now),
        };
    }
    let Some(backend) = proxy.upstreams.backend(wrote_to).filter(|backend| backend.may_wait()) else {
        answer::reply_here(proxy, id, b"-ERR The connection that carried the last write of this client is lost\r\n");
        return Verdict::Done;
    };
    let server = backend.server();
    let pool = proxy.upstreams.pool(server);
    let is_free = proxy.upstreams.may_have(id, wrote_to, when.now);
    let pick = match client.affinity(server) {
        _ if pool.never_leases() => Pick::Never,
        // Its turn comes with the end of its own requests.
        Some(affinity) if affinity.backend != wrote_to || !is_free => Pick::Behind,
        None if !is_free || pool.is_waited_for_lease() && !when.is_served() => pick::park_or_give_up(when),
        _ => Pick::Take(wrote_to),
    };
    let Pick::Take(_) = pick else {
        return dispatch::wait_or_refuse(proxy, id, server, pick, Need::LastWriter, when.now);
    };
    if let Some(backend) = proxy.upstreams.backend_mut(wrote_to) {
        backend.lease_to(id);
    }
    block(proxy, id, server, wrote_to, request, timeout, when.now)
}

/// Puts a request that may wait into line, and stops listening to its client until the reply has come.
fn block(
    proxy: &mut Proxy,
    id: Id,
    server: ServerId,
    backend: Id,
    mut request: Request,
    timeout: Option<Timeout>,
    now: Millis,
) -> Verdict {
    let read_ms = proxy.settings.timeouts.remote_read_ms;
    let deadline = match timeout {
        Some(Timeout::Forever) => NO_DEADLINE,
        Some(Timeout::Millis(millis)) => Millis(now.0.saturating_add(millis).saturating_add(read_ms)),
        None => now + read_ms,
    };
    request.renew(deadline);
    if proxy.clients.get(id).is_some_and(|client| client.connection().has_hung_up()) {
        leases::end_lease(&mut proxy.upstreams, &mut proxy.turn, backend);
        close::leave(&mut proxy.clients, &mut proxy.turn, id);
        return Verdict::Done;
    }
    request.set_role(Role::Blocking);
    let Some(ticket) = enqueue::line_up(proxy, id, backend, server, request) else { return Verdict::Done };
    bulk::await_replies(&mut proxy.clients, &mut proxy.turn, id, Flow::BlockedOnCommand { backend });
    Verdict::Forward(ticket)
}

/// The reply of a request with a role has come: its kind is `kind`.
pub(super) fn on_role(
    upstreams: &mut Upstreams,
    clients: &mut Clients,
    turn: &mut Turn,
    backend: Id,
    client: Id,
    role: Role,
    (kind, reply): (u8, &[u8]),
) {
    let blocked = clients.get_mut(client).filter(|entry| entry.flow() == (Flow::BlockedOnCommand { backend }));
    if let Some(entry) = blocked.filter(|_| role == Role::Blocking) {
        entry.enter(Flow::Open);
        turn.wake(client);
    }
    let is_gone = clients.get(client).is_none_or(|client| client.is_closed());
    let has_refused = kind == b'-' && !reply.starts_with(b"-EXECABORT");
    if role == (Role::Ending { has_selected: true }) && is_gone || matches!(role, Role::Ending { .. }) && has_refused {
        // Nobody has looked which database it is left with, or the server did not end the transaction, as without
        // the right to `DISCARD`; nobody else shall have it.
        let owner = upstreams.backend(backend).and_then(Backend::owner);
        return turn.follow_up(FollowUp::Lease(backend, owner, None));
    }
    if let Some(entry) = upstreams.backend_mut(backend).filter(|_| role == Role::Atomic && kind == b'-') {
        entry.on_faulty();
    }
    if let Role::Select { database } = role {
        return local_steps::on_selected(upstreams, clients, backend, client, database, kind);
    }
    // What cleans a session is nobody's; behind it, whose backend it still is may have watched keys again.
    let owner = upstreams.backend(backend).and_then(|entry| clients.get(entry.owner()?));
    let is_watching = owner.and_then(Client::leased).is_some_and(|leased| leased.backend == backend);
    if matches!(role, Role::Blocking | Role::Ending { .. } | Role::Cleanup) && !is_watching {
        leases::end_lease(upstreams, turn, backend);
    }
}
