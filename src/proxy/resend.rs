//! What nodes of a cluster have not run (`redirect`) is sent again: in its old order, to whoever has it now.
//!
//! ```text
//!   nothing of the client is in flight ─► each that waits, in order:
//!        due, and nothing of its slot before it waits, or went to another node ─► sent; ASKING before it, if asked for
//!        otherwise ─► it waits for the next round
//! ```
//!
//! So what a client has sent about one slot goes to one node at a time, on one connection, in its order; and none of
//! it is overtaken, since the client is not read meanwhile.

use std::collections::BTreeMap;

use super::interface::Timer;
use super::redirected::{Goal, Waiting};
use super::state::Proxy;
use super::{bulk, collect, enqueue, guard, pick, reads, redirect, redirect_whole, topology, whole};
use crate::cluster::RefreshCause;
use crate::request::{Place, Role};
use crate::server_id::ServerId;
use crate::slots::Id;
use crate::timer::Millis;

pub(super) const ASKING: &[u8] = b"*1\r\n$6\r\nASKING\r\n";

/// Requests that are sent or refused in one turn, at least; the rest has to wait a millisecond.
const WORK_MAX: usize = 512;
/// What has nowhere to go is tried again after so many milliseconds.
const NOWHERE_MS: u64 = 20;

/// What may be sent of one slot in this round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    /// What goes to this server, behind what went there.
    At(ServerId),
    /// Nothing: something before it waits.
    Over,
}

/// Looks at all that is redirected. To be called in each turn, while anything is.
#[cold]
#[inline(never)]
pub(super) fn go_on(proxy: &mut Proxy, now: Millis) {
    for (slot, address) in proxy.redirected.take_named() {
        if let Some(server) = topology::named(proxy, &address, now) {
            proxy.router.set_slot(slot, server, now);
        }
    }
    if proxy.redirected.unqueued.count() > 0 {
        redirect_whole::review(proxy, now);
        proxy.redirected.look.by(now + NOWHERE_MS);
    }
    let lines = proxy.redirected.lines();
    if !proxy.redirected.look.is_due(lines, now) {
        return watch(proxy, now);
    }
    let mut work_left = WORK_MAX;
    for client in proxy.redirected.clients() {
        let work = go_on_for(proxy, client, now);
        if work >= work_left {
            proxy.redirected.look.by(now + 1);
            break;
        }
        work_left -= work;
    }
    watch(proxy, now);
}

/// The same for one client. Returns how many were sent or refused.
fn go_on_for(proxy: &mut Proxy, client: Id, now: Millis) -> usize {
    if !redirect::is_alive(proxy, client) {
        proxy.redirected.remove(client, &mut proxy.in_flight.arena);
        return 1;
    }
    let is_held_back = redirect::is_held_back(proxy, client);
    let mut work = refuse_late(proxy, client, is_held_back, now);
    if !redirect::is_alive(proxy, client) {
        // Closed over what it was told; its line goes in the next turn.
        proxy.redirected.look.by(now + 1);
        return work;
    }
    let is_quiet = |proxy: &Proxy| proxy.clients.get(client).is_some_and(|client| client.affinities().is_empty());
    if is_quiet(proxy) {
        proxy.redirected.forget_answered(client);
        bulk::release_unused(proxy, client);
        work += send_round(proxy, client, now);
    }
    let is_over = proxy.redirected.line(client).is_none_or(|line| line.is_idle());
    if is_over && is_quiet(proxy) {
        proxy.redirected.remove(client, &mut proxy.in_flight.arena);
        if let Some(entry) = proxy.clients.get_mut(client).filter(|entry| !entry.is_closed()) {
            entry.let_go();
            proxy.turn.wake(client);
        }
    }
    look_again(proxy, client, now);
    work
}

/// Those whose time is over are told what the node said; all of them, if replies before them do not come.
fn refuse_late(proxy: &mut Proxy, client: Id, is_held_back: bool, now: Millis) -> usize {
    let requests = &proxy.in_flight.requests;
    let is_late = |waiting: &Waiting| requests[waiting.request].deadline() <= now;
    let late: Vec<u64> = proxy.redirected.line(client).map_or(Vec::new(), |line| {
        let late = line.numbered().filter(|(_, waiting)| is_held_back || is_late(waiting));
        late.map(|(number, _)| number).collect()
    });
    late.iter().for_each(|&number| redirect::refuse(proxy, client, number, None, now));
    late.len()
}

/// Sends what can be sent now of a client of which nothing is in flight. Returns how many.
fn send_round(proxy: &mut Proxy, client: Id, now: Millis) -> usize {
    let Some(line) = proxy.redirected.line(client) else { return 0 };
    let waiting: Vec<(u64, u16, Millis)> = line.numbered().map(|(number, one)| (number, one.slot, one.due)).collect();
    let mut rounds: BTreeMap<u16, Round> = BTreeMap::new();
    let mut sent = 0;
    for (number, slot, due) in waiting {
        if sent >= WORK_MAX || !redirect::is_alive(proxy, client) {
            break;
        }
        let round = rounds.get(&slot).copied();
        let goal = if due > now || round == Some(Round::Over) { None } else { goal_of(proxy, client, number, now) };
        let goal = goal.filter(|(server, _)| round.is_none_or(|round| round == Round::At(*server)));
        let is_sent = goal.is_some_and(|(server, is_asking)| send(proxy, client, number, server, is_asking, now));
        sent += usize::from(is_sent);
        let round = match goal {
            Some((server, _)) if is_sent => Round::At(server),
            _ => Round::Over,
        };
        rounds.insert(slot, round);
    }
    sent
}

/// Where one that waits goes now, and whether that node is to be told `ASKING`. `None` if nowhere.
fn goal_of(proxy: &mut Proxy, client: Id, number: u64, now: Millis) -> Option<(ServerId, bool)> {
    let waiting = proxy.redirected.line(client)?.waiting_as(number)?;
    let goal = match &waiting.goal {
        Goal::Asking(address) if waiting.due + redirect::ASK_MS >= now => {
            let address = address.clone();
            let server = topology::named(proxy, &address, now).filter(|&server| proxy.router.is_up(server));
            server.map(|server| (server, true))
        }
        Goal::Asking(_) | Goal::Owner => {
            let owner = proxy.router.server_of(proxy.in_flight.requests[waiting.request].hash());
            let server = owner.or_else(|| reads::replica_instead(proxy, waiting.request, &waiting.bytes, now));
            server.map(|server| (server, false))
        }
    };
    if goal.is_none() {
        proxy.turn.refresh(RefreshCause::Lost);
    }
    goal
}

/// Sends one that waits to this server. False if no connection takes it now.
fn send(proxy: &mut Proxy, client: Id, number: u64, server: ServerId, is_asking: bool, now: Millis) -> bool {
    let Some(waiting) = proxy.redirected.take(client, number, true, &mut proxy.in_flight.arena) else { return false };
    let Some(backend) = pick::pick_again(proxy, client, server, waiting.profile, now) else {
        proxy.redirected.put_back(client, number, waiting, &mut proxy.in_flight.arena);
        return false;
    };
    let request = waiting.request;
    if let Place::Part(merging) = proxy.in_flight.requests[request].place() {
        collect::forget_collected(&mut proxy.clients, &mut proxy.in_flight, merging, request);
    }
    if is_asking {
        // It holds for the next request of the connection, and for no other.
        enqueue::send_internal(proxy, backend, ASKING, Role::Internal, now);
    }
    let is_write = !proxy.in_flight.requests[request].is_read();
    if let Some(client) = proxy.clients.get_mut(client).filter(|_| is_write) {
        client.on_write(backend);
    }
    let ticket = match whole::is_whole(proxy, request) {
        true => whole::stand_again(proxy, &waiting, backend, server),
        false => enqueue::stand_at(proxy, request, backend, server),
    };
    let Some(ticket) = ticket else {
        redirect::tell(proxy, client, &waiting, &waiting.refusal, now);
        return false;
    };
    let is_guarded = guard::is_guarded(&proxy.settings, &proxy.reading, &waiting.bytes);
    enqueue::forward_owned(&mut proxy.upstreams, &mut proxy.in_flight, &mut proxy.turn, ticket, waiting.bytes);
    if is_guarded {
        guard::send_guard(&mut proxy.upstreams, &mut proxy.in_flight, &mut proxy.turn, backend);
    }
    proxy.journal.stats.held += 1;
    true
}

/// A client's line is looked at again when something of it is due, or its time is over.
fn look_again(proxy: &mut Proxy, client: Id, now: Millis) {
    let Some(line) = proxy.redirected.line(client) else { return };
    let requests = &proxy.in_flight.requests;
    // Of a client that was closed in this turn there may be nothing left; its line goes in the next.
    let next = |waiting: &Waiting| {
        let due = if waiting.due > now { waiting.due } else { now + NOWHERE_MS };
        Some(due.min(requests.get(waiting.request)?.deadline()))
    };
    if let Some(at) = line.waiting().filter_map(next).min() {
        proxy.redirected.look.by(at);
    }
}

/// Has it looked at again in time.
fn watch(proxy: &mut Proxy, now: Millis) {
    if let Some(next) = proxy.redirected.look.next() {
        proxy.redirected.look.wake_at(&mut proxy.wheel, Timer::Redirected, next.max(now + 1));
    }
}
