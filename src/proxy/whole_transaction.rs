//! Transactions that stand whole in the read buffer, from `MULTI` to `EXEC`: all of one goes into line on one shared
//! backend at once, so that nobody else's request can come between.
//!
//! ```text
//!   [MULTI][SET a 1][GET a][EXEC][GET b]…     scanned to its end; if all of it may go to one server: there, as it is
//! ```
//!
//! What has anything else about it (a command that rmux answers, keys of several servers or slots, an end that has not
//! come yet) goes step by step (`transaction`). What a node of a cluster does not run of it has `redirect_whole`.

use super::call::{Call, Verdict, When};
use super::in_flight::Ticket;
use super::pick::{self, Pick};
use super::router::{Route, Router};
use super::state::Proxy;
use super::{collect, dispatch, enqueue, hidden_count, local_steps, reads, same_slot, transaction};
use crate::client::{Leased, LocalStep, Mode, Need};
use crate::command::{self, Class, Command, Lease, Session};
use crate::request::{Request, Role};
use crate::resp::Frame;
use crate::server_id::ServerId;
use crate::slots::Id;
use crate::timer::Millis;

/// Where a transaction goes: its server, and the hash of its first key.
type Place = (ServerId, Option<u32>);

/// Requests in a transaction that goes down a shared backend as a whole.
const WHOLE_MAX: usize = 1024;

/// If a transaction stands whole at the start of `bytes`, puts all of it into line on one shared backend.
///
/// Returns its length and its verdict; `None` if it must go step by step.
pub(super) fn on_whole_transaction(proxy: &mut Proxy, id: Id, bytes: &[u8], when: When) -> Option<(usize, Verdict)> {
    if proxy
        .clients
        .get(id)
        .is_none_or(|client| client.transaction().is_some() || client.mode() != Mode::Plain || client.is_restrained())
    {
        return None;
    }
    let mut lens = std::mem::take(&mut proxy.reading.step_lens);
    lens.clear();
    let mut local_steps = Vec::new();
    let found = scan_transaction(proxy, bytes, &mut lens, &mut local_steps, when.now);
    let verdict = found.map(|(place, last)| {
        if let Some(client) = proxy.clients.get_mut(id) {
            client.on_command(last);
        }
        dispatch_whole(proxy, id, place, &lens, local_steps, when)
    });
    let len = lens.iter().map(|&len| len as usize).sum();
    proxy.reading.step_lens = lens;
    verdict.map(|verdict| (len, verdict))
}

/// Where all of a transaction goes that stands whole at the start of `bytes`, and the last of its requests. Their
/// lengths go to `lens`, and those that tell how many hear a channel to `local_steps`.
fn scan_transaction(
    proxy: &mut Proxy,
    bytes: &[u8],
    lens: &mut Vec<u32>,
    local_steps: &mut Vec<LocalStep>,
    now: Millis,
) -> Option<(Place, &'static Command)> {
    let mut framer = std::mem::take(&mut proxy.reading.step_framer);
    let (mut at, mut place) = (0, None);
    let found = loop {
        framer.reset();
        let rest = &bytes[at..];
        let Ok(Frame::Complete(len)) = framer.frame(rest, &proxy.reading.request_limits) else { break None };
        if !framer.is_multibulk() || lens.len() == WHOLE_MAX {
            break None;
        }
        lens.push(len as u32);
        at += len;
        let (request, args) = (&rest[..len], framer.args());
        let Some(mut command) = command::find(args[0].of(request)) else { break None };
        if proxy.settings.policy.is_denying()
            && proxy.settings.policy.is_denied(command, args.get(1).map(|word| word.of(request)))
        {
            break None;
        }
        if lens.len() == 1 {
            continue;
        }
        let container = command.name();
        if command.is_container() {
            match args.get(1).and_then(|word| command.sub(word.of(request))) {
                Some(sub) => command = sub,
                None => break None,
            }
        }
        if !command.arity_allows(args.len()) {
            break None;
        }
        match command.class {
            Class::Lease(Lease::Exec | Lease::Discard) => {
                let place = place.or_else(|| Some((proxy.router.route_any().server()?, None)));
                break place.map(|place| (place, command));
            }
            // Answered here while there is no transaction, they would have to change the session with EXEC.
            Class::Session(Session::Ping | Session::Echo) => continue,
            Class::Session(_) | Class::Lease(Lease::Multi | Lease::Watch) => break None,
            _ => {}
        }
        let call = Call { container, command, request, args };
        reads::note_step(proxy, &call, now);
        local_steps.extend(hidden_count::count_in_step(&proxy.pubsub, lens.len() - 2, &call));
        if let Some(route) = transaction::route_step(proxy, &call) {
            place = place_with(&proxy.router, place, &route);
            if place.is_none() {
                break None;
            }
        }
    };
    proxy.reading.step_framer = framer;
    found
}

/// Where a step goes, if that is where those before it go. In a cluster all keys have one slot.
fn place_with(router: &Router, place: Option<Place>, route: &Route) -> Option<Place> {
    let Route::To(server, hash) = *route else { return None };
    let is_there = |(there, first): Place| {
        server == there && (router.slots().is_none() || first.is_none_or(|first| router.is_together(first, hash)))
    };
    match place {
        Some(place) => is_there(place).then_some(place),
        None => Some((server, Some(hash))),
    }
}

fn dispatch_whole(
    proxy: &mut Proxy,
    id: Id,
    (server, hash): Place,
    lens: &[u32],
    local_steps: Vec<LocalStep>,
    when: When,
) -> Verdict {
    let Some(client) = proxy.clients.get(id) else { return Verdict::Done };
    let profile = client.profile();
    if hash.is_some_and(|hash| {
        proxy.router.may_be_half_moved(hash) && same_slot::must_wait(proxy, id, hash, false, when.now)
    }) {
        return Verdict::Wait;
    }
    let backend = match pick::pick(proxy, id, server, profile, when) {
        Pick::Take(backend) => backend,
        Pick::GiveUp => {
            for _ in lens {
                dispatch::wait_or_refuse(proxy, id, server, Pick::GiveUp, Need::Room, when.now);
            }
            return Verdict::Done;
        }
        pick => return dispatch::wait_or_refuse(proxy, id, server, pick, Need::Room, when.now),
    };
    // What a node of a cluster does not run is sent again.
    let slot_hash = hash.filter(|_| proxy.router.slots().is_some());
    let hash = slot_hash.unwrap_or(0);
    let last_role = slot_hash.map_or(Role::Atomic, |_| Role::Whole { bytes: lens.iter().sum() });
    let Some((&exec, steps)) = lens.split_last() else { return Verdict::Done };
    let deadline = when.now + proxy.settings.timeouts.remote_read_ms;
    let mut whole: Option<Ticket> = None;
    for (index, &len) in (0..).zip(steps) {
        let mut request = Request::new(id, deadline, len, hash, false);
        request.set_role(slot_hash.map_or(Role::Atomic, |_| Role::Step { index }));
        whole = Ticket::joined(whole, enqueue::line_up(proxy, id, backend, server, request));
    }
    let last = match local_steps.is_empty() {
        true => {
            let mut request = Request::new(id, deadline, exec, hash, false);
            request.set_role(last_role);
            enqueue::line_up(proxy, id, backend, server, request)
        }
        false => {
            let mut merging = collect::new_merging(&mut proxy.in_flight);
            (merging.local_steps, merging.role) = (local_steps, last_role);
            let leased = Leased { server, backend };
            local_steps::line_up_only_part(proxy, id, leased, (exec as usize, hash), merging, when.now)
        }
    };
    whole = Ticket::joined(whole, last);
    if let Some(client) = proxy.clients.get_mut(id) {
        client.on_write(backend);
    }
    whole.map_or(Verdict::Done, Verdict::Forward)
}
