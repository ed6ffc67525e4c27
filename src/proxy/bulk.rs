//! Clients in bulk: deep pipelines, and replies that are taken more slowly than they come.
//!
//! A client may write all of a pipeline before it reads the first reply. Redis takes it: it goes on reading, and keeps
//! the replies. On a connection that many clients share, keeping them would be rmux's share, without bound, and not
//! reading them would be everybody's loss. So a client with more in flight, or more unread, than others may wait behind
//! gets a connection of its own at each server that it uses, where backpressure costs nobody else anything:
//!
//! ```text
//!   client ──► its requests go on, as fast as the server takes them (Flow::Throttled)
//!          ◄── its replies: what it does not take is not read from the server, which keeps it (is_held_back)
//!
//!   several servers: all connections but the one with the next reply in order are held back together
//! ```
//!
//! The connection that carries its requests just now becomes its own in place: what others have in flight there is
//! answered as before, new requests of theirs go elsewhere, and, if it has to be held back, their reads are asked
//! elsewhere too (`reroute`). The rule for whoever holds a connection decides whether it may have one
//! (`Pool::may_hold`). If not, it is not read (`Flow::Paused`) until it has taken what it is owed, or may; if it takes
//! nothing meanwhile and has more to say, it is told so after `remoteConnectTimeout`, and leaves.
//!
//! Who waits for one more connection of its own waits in line with those who need one for a lease, and a lease may last
//! for any time. Once it has less in flight, so that a shared connection will do, it is taken out of that line.
//!
//! Replies that rmux makes no server can keep. Small ones (`PING`, `ECHO`, errors) are kept here, up to
//! `clientUnreadBytesMax`: whoever writes all before it reads is not left hanging. Those that are much longer than what
//! asks for them (`CLIENT LIST`, `INFO`, `EXEC` with such a step) are not made while more than `clientUnreadPauseBytes`
//! is unread. Either way its requests wait then (`Paused`, `is_full`), in bulk or not, until it has taken some; if it
//! takes nothing for `localRequestTimeout`, it is told so, and leaves. So a client never has more of them unread than
//! the pause mark and the answer to one request about the pool; nor, of all that rmux makes, more than
//! `clientUnreadBytesMax` and the answer to one request.
//!
//! Bytes of what was sent are not kept beyond a few: what would be lost with such a connection is not sent again. Time
//! runs as for one long request: out when the server says nothing for `remoteReadTimeout` while it is read.
//!
//! Invariants: a client has `bulk` exactly while it is in bulk; each backend in there has it as its owner, and
//! `is_bulk`; a backend is held back only for its owner, or for the only client that waits for its replies.

use super::client_close_reason::ClientCloseReason;
use super::clients::Clients;
use super::in_flight::InFlight;
use super::interface::{Conn, LARGE, Timer};
use super::settings::Settings;
use super::state::Proxy;
use super::turn::Turn;
use super::upstreams::Upstreams;
use super::{close, drain, mark, memory, reroute};
use crate::backend::Backend;
use crate::client::{Bulk, Client, Flow, Leased, Need};
use crate::limits::Timeouts;
use crate::request::{Place, Request, RequestId, Role};
use crate::slots::Id;
use crate::timer::{Millis, Wheel};

/// With so many requests in flight, a client has a connection of its own, if it may hold one: nobody shall stand behind
/// all of their replies.
pub(super) const DEEP: usize = 256;

/// A client has more in flight, or more unread, than others may wait behind: from here on it has the connections
/// for itself on which it has requests. False if they may not be held.
pub(super) fn enter_bulk(upstreams: &mut Upstreams, clients: &mut Clients, id: Id, now: Millis) -> bool {
    let Some(client) = clients.get(id) else { return false };
    if client.is_in_bulk() {
        return true;
    }
    if upstreams.never_leases_anywhere() {
        return false;
    }
    let leased = client.leased();
    let used = client.affinities().iter().map(|affinity| Leased { server: affinity.server, backend: affinity.backend });
    let held: Vec<Leased> =
        used.clone().chain(leased.filter(|leased| used.clone().all(|one| one != *leased))).collect();
    if !held.iter().all(|held| upstreams.may_have(id, held.backend, now)) {
        return false;
    }
    if let Some(client) = clients.get_mut(id) {
        client.enter_bulk();
    }
    held.into_iter().for_each(|held| hold_in_bulk(upstreams, clients, id, held, now));
    true
}

/// A client in bulk has everything that it was owed: its connections are everybody's again.
pub(super) fn maybe_leave_bulk(proxy: &mut Proxy, id: Id) {
    let Some(client) = proxy.clients.get_mut(id).filter(|client| client.is_in_bulk() && client.is_quiet()) else {
        return;
    };
    if matches!(client.flow(), Flow::Open | Flow::Leaving) {
        let leased = client.leased();
        if let Some(bulk) = client.leave_bulk() {
            release_bulk(&mut proxy.upstreams, &proxy.in_flight, &mut proxy.turn, id, bulk, leased);
        }
    }
}

/// Gives back the connections of a client that is in bulk no longer; `leased` is what it has for another reason.
pub(super) fn release_bulk(
    upstreams: &mut Upstreams,
    in_flight: &InFlight,
    turn: &mut Turn,
    owner: Id,
    bulk: Bulk,
    leased: Option<Leased>,
) {
    for held in bulk.into_held() {
        release_held(upstreams, in_flight, turn, owner, held, leased == Some(held));
    }
}

fn release_held(
    upstreams: &mut Upstreams,
    in_flight: &InFlight,
    turn: &mut Turn,
    owner: Id,
    held: Leased,
    is_leased: bool,
) {
    // What one has had who is gone may be somebody else's by now.
    let is_owned = |backend: &&mut Backend| backend.is_in_bulk_for(owner);
    let Some(backend) = upstreams.backend_mut(held.backend).filter(is_owned) else { return };
    backend.end_bulk();
    if is_leased {
        // What is rmux's own in its line (`MULTI`) is short, and others stand behind nothing here.
        return;
    }
    // Until its session is clean it stays its owner's, who may be gone.
    let is_cleanup = |request: RequestId| in_flight.requests[request].role() == Role::Cleanup;
    if backend.in_flight().iter(&in_flight.requests).any(is_cleanup) {
        return;
    }
    backend.unlease();
    let is_for_nobody = |request: RequestId| {
        let entry = &in_flight.requests[request];
        entry.client() == Id::NONE && entry.role() != Role::Guard
    };
    if backend.is_ready() && backend.in_flight().iter(&in_flight.requests).any(is_for_nobody) {
        // What it still has to say may be long, and nobody shall wait behind it. One that has not begun would
        // be lost for those who wait already.
        drain::drain_backend(upstreams, turn, held.backend);
    }
}

/// A backend in bulk, or held back, has said something. When its client is owed nothing more on it, it is
/// everybody's again, and read.
pub(super) fn maybe_release(proxy: &mut Proxy, id: Id, now: Millis) {
    let Some(backend) = proxy.upstreams.backend(id) else { return };
    let (server, owner) = (backend.server(), backend.owner());
    let is_held_back = backend.is_read_paused();
    let client_of = |request: RequestId| proxy.clients.get(proxy.in_flight.requests[request].client());
    let is_awaited = match backend.is_in_bulk() {
        true => owner
            .and_then(|owner| proxy.clients.get(owner)?.affinity(server))
            .is_some_and(|affinity| affinity.backend == id),
        false => backend
            .in_flight()
            .iter(&proxy.in_flight.requests)
            .filter_map(client_of)
            .any(|client| client.connection().holds_back()),
    };
    if is_awaited {
        return;
    }
    if is_held_back {
        read_on(proxy, id, now);
    }
    let held = Leased { server, backend: id };
    let Some(owner) = owner else { return };
    let Some(client) = proxy.clients.get_mut(owner) else { return };
    match client.flow() {
        Flow::BlockedOnCommand { backend } | Flow::Uploading { backend, .. } if backend == id => return,
        // Its departure will, when the session there is clean.
        Flow::Closed => return,
        _ => {}
    }
    let is_leased = client.leased() == Some(held);
    if let Some(bulk) = client.bulk_mut() {
        bulk.release(id);
    }
    if client.flow() == (Flow::Throttled { backend: id }) {
        proxy.turn.wake(owner);
    }
    release_held(&mut proxy.upstreams, &proxy.in_flight, &mut proxy.turn, owner, held, is_leased);
}

/// Gives back what a client in bulk has, and has no requests on: it is going to wait, and others may be waiting.
pub(super) fn release_unused(proxy: &mut Proxy, id: Id) {
    let Some(client) = proxy.clients.get_mut(id) else { return };
    let leased = client.leased();
    for held in client.release_unused() {
        release_held(&mut proxy.upstreams, &proxy.in_flight, &mut proxy.turn, id, held, leased == Some(held));
    }
}

pub(super) fn hold_in_bulk(upstreams: &mut Upstreams, clients: &mut Clients, id: Id, held: Leased, now: Millis) {
    // While the requests of one that is lost get their replies, some of them still stand there.
    let is_open = |backend: &&mut Backend| !backend.is_closed();
    let Some(backend) = upstreams.backend_mut(held.backend).filter(is_open) else { return };
    backend.lease_in_bulk(id, now);
    if let Some(bulk) = clients.get_mut(id).and_then(Client::bulk_mut) {
        bulk.hold(held);
    }
}

/// A client has more unread than it should: what its servers send from here on stays with them, as far as that
/// keeps nobody else waiting. False if its connections may not be held for it.
pub(super) fn hold_back(proxy: &mut Proxy, id: Id, now: Millis) -> bool {
    let Some(client) = proxy.clients.get(id) else { return true };
    let count = client.affinities().len();
    let is_far_over = client.excess() > memory::client_unread_max(&proxy.settings, &proxy.in_flight);
    let is_over = client.unread() >= proxy.settings.limits.client_unread_pause_bytes;
    // Who waits for its own replies is not listened to before it has them.
    if awaits_replies(proxy, id) && !is_far_over {
        return true;
    }
    enter_bulk(&mut proxy.upstreams, &mut proxy.clients, id, now);
    let mut is_restrained = true;
    for index in 0..count {
        let Some(client) = proxy.clients.get(id) else { break };
        let (Some(&affinity), is_bulk) = (client.affinities().get(index), client.is_in_bulk()) else { break };
        let is_read = |backend: &&Backend| !backend.is_read_paused() && backend.is_answering();
        let Some(backend) = proxy.upstreams.backend(affinity.backend).filter(is_read) else { continue };
        let mut is_own = backend.is_in_bulk_for(id);
        if is_bulk && !is_own && proxy.upstreams.may_have(id, affinity.backend, now) {
            hold_in_bulk(
                &mut proxy.upstreams,
                &mut proxy.clients,
                id,
                Leased { server: affinity.server, backend: affinity.backend },
                now,
            );
            is_own = true;
        }
        let Some(backend) = proxy.upstreams.backend(affinity.backend) else { continue };
        if is_over && is_own && backend.awaited() > affinity.count as usize && !backend.is_rerouted() {
            reroute::reroute(proxy, affinity.backend, id, now);
        }
        let (unread, unread_max) = unread_before(proxy, id, affinity.backend);
        let Some(backend) = proxy.upstreams.backend(affinity.backend) else { continue };
        let is_alone = backend.awaited() <= affinity.count as usize;
        // Without a right to it, it is kept from nobody who waits for one.
        let may_wait = match is_own {
            true => is_alone || is_far_over,
            false => is_alone && !proxy.upstreams.pool(affinity.server).is_waited_for(),
        };
        is_restrained &= is_own;
        if may_wait && (unread >= unread_max || unread > 0 && backend.is_in_large_reply()) {
            if let Some(backend) = proxy.upstreams.backend_mut(affinity.backend) {
                backend.pause_reads();
            }
            if let Some(client) = proxy.clients.get_mut(id) {
                client.connection_mut().hold_back();
            }
        }
    }
    is_restrained
}

/// Whether a client is not listened to before it has replies of its own: it waits for them, or something of it is
/// redirected, and sent again behind all of them.
fn awaits_replies(proxy: &Proxy, id: Id) -> bool {
    let is_waiting = proxy.clients.get(id).is_some_and(|client| client.flow().awaits_replies());
    is_waiting || proxy.redirected.line(id).is_some() || proxy.redirected.unqueued.is_of(id)
}

/// Bytes that the next reply of this backend for this client would wait behind, or with, and how many are much: if
/// it is its turn, those on their way to the client; if not, those that came early.
fn unread_before(proxy: &Proxy, id: Id, backend: Id) -> (usize, usize) {
    let (Some(client), Some(backend)) = (proxy.clients.get(id), proxy.upstreams.backend(backend)) else {
        return (0, 1);
    };
    let is_own = |request: &RequestId| proxy.in_flight.requests[*request].client() == id;
    let first = backend.in_flight().iter(&proxy.in_flight.requests).find(is_own);
    let next = match first.map(|request| proxy.in_flight.requests[request].place()) {
        Some(Place::Part(merging)) => Some(proxy.in_flight.merges[merging as usize].parent),
        _ => first,
    };
    let unread_max = proxy.settings.limits.client_unread_pause_bytes;
    match client.reply_order().first() == next
        || client.reply_order().first().is_some_and(|first| was_moved(&proxy.in_flight, first))
    {
        true => (client.replies().unsent(), unread_max),
        false if client.replies().unsent() >= unread_max => (client.unread(), unread_max),
        false => (client.replies().early_bytes(), early_max(unread_max)),
    }
}

/// True exactly when a request, or a part of one, was given to another backend, and so may stand there behind some
/// that its client sent later.
fn was_moved(in_flight: &InFlight, request: RequestId) -> bool {
    let entry = &in_flight.requests[request];
    let is_moved = |entry: &Request| entry.losses() > 0 || entry.is_moved();
    match entry.place() {
        Place::Merging(merging) => {
            let mut parts = in_flight.merges[merging as usize].parts().iter().filter_map(|part| part.request);
            parts.any(|part| is_moved(&in_flight.requests[part]))
        }
        _ => is_moved(entry),
    }
}

/// A client is not listened to until replies of its own have come: what is held back of them has to be read.
pub(super) fn await_replies(clients: &mut Clients, turn: &mut Turn, id: Id, flow: Flow) {
    if let Some(client) = clients.get_mut(id) {
        client.enter(flow);
        if client.connection().holds_back() {
            mark::mark_client_dirty(clients, turn, id);
        }
    }
}

/// Reads on from the backends that were held back for this client, as far as it has taken what was before that, or
/// is not listened to until their replies are there.
pub(super) fn stop_holding_back(proxy: &mut Proxy, id: Id, now: Millis) {
    let awaits_replies = awaits_replies(proxy, id);
    let Some(client) = proxy.clients.get_mut(id) else { return };
    client.connection_mut().stop_holding_back();
    let unread = client.excess();
    let may_come = awaits_replies && unread <= memory::client_unread_max(&proxy.settings, &proxy.in_flight);
    for index in 0.. {
        let Some(affinity) = proxy.clients.get(id).and_then(|client| client.affinities().get(index).copied()) else {
            return;
        };
        let Some(backend) = proxy.upstreams.backend(affinity.backend).filter(|backend| backend.is_read_paused()) else {
            continue;
        };
        let is_in_large_reply = backend.is_in_large_reply();
        let (unread, much) = unread_before(proxy, id, affinity.backend);
        // What its socket did not take of a large reply need not be copied here.
        let unread_max = if is_in_large_reply { 0 } else { much / 2 };
        if may_come || unread <= unread_max {
            read_on(proxy, affinity.backend, now);
        } else if let Some(client) = proxy.clients.get_mut(id) {
            client.connection_mut().hold_back();
        }
    }
}

/// A backend that was held back is read again, and its server has its time from now on.
fn read_on(proxy: &mut Proxy, backend: Id, now: Millis) {
    let Some(entry) = proxy.upstreams.backend_mut(backend) else { return };
    entry.resume_reads(Some(now));
    entry.wake_at(&mut proxy.wheel, Timer::Backend(backend), now + proxy.settings.timeouts.remote_read_ms);
    proxy.turn.resume(Conn::Backend(backend));
}

/// True exactly when a client has more in flight, or more unread, than a part of what others may wait behind.
fn has_much(settings: &Settings, clients: &Clients, id: Id, divisor: usize) -> bool {
    let limits = &settings.limits;
    clients.get(id).is_some_and(|client| {
        client.reply_order().len() >= limits.client_outstanding_max.div_ceil(divisor)
            || client.unread() >= limits.client_unread_pause_bytes.div_ceil(divisor)
    })
}

/// True exactly when the next request of a client needs a connection of its own.
pub(super) fn is_for_bulk(settings: &Settings, clients: &Clients, id: Id) -> bool {
    has_much(settings, clients, id, 1) && clients.get(id).is_some_and(|client| client.is_in_bulk())
}

/// A client that waits for a connection of its own, and has so little in flight and unread by now that it needs none,
/// no longer waits in line with those who do. True if so: its turn to go on has still to come.
#[cold]
pub(super) fn maybe_stop_waiting(proxy: &mut Proxy, id: Id) -> bool {
    let flow = proxy.clients.get(id).map(|client| client.flow());
    let Some(Flow::AwaitingBackend { server, need: Need::Bulk, .. }) = flow else { return false };
    if is_for_bulk(&proxy.settings, &proxy.clients, id) {
        return false;
    }
    proxy.upstreams.pool_mut(server).unpark(Need::Bulk, id);
    proxy.clients.unpark(id);
    proxy.turn.wake(id);
    true
}

/// A backend in bulk has sent some of what it was given.
#[cold]
pub(super) fn on_sent_in_bulk(proxy: &mut Proxy, id: Id) {
    // A node of a cluster may not have run it: then it is sent again.
    let is_kept = proxy.settings.cluster && !memory::is_memory_short(&proxy.settings, &proxy.in_flight);
    let Some(backend) = proxy.upstreams.backend_mut(id) else { return };
    // Of a long pipeline nothing is sent again, and nothing kept for that.
    if backend.queue().sent() - backend.answered() > LARGE as u64 && !is_kept {
        backend.release_sent(&mut proxy.in_flight.arena);
    }
    let is_throttled = |client: &Client| client.flow() == (Flow::Throttled { backend: id });
    let has_room = backend.queue().unsent() <= proxy.settings.limits.send_queue_bytes_max / 2;
    let owner = backend.owner().filter(|_| has_room);
    if let Some(owner) = owner.filter(|owner| proxy.clients.get(*owner).is_some_and(is_throttled)) {
        proxy.turn.wake(owner);
    }
}

/// A client has one request more in flight, or a run of them.
#[cold]
pub(super) fn on_forwarded(proxy: &mut Proxy, id: Id, now: Millis) {
    if proxy.clients.get(id).is_some_and(|client| client.reply_order().len() >= DEEP) {
        enter_bulk(&mut proxy.upstreams, &mut proxy.clients, id, now);
    }
    maybe_pause(proxy, id);
}

/// Stops listening to a client that has much, or, when memory is short, anything. Whether it goes on in bulk is
/// decided before the turn ends.
pub(super) fn maybe_pause(proxy: &mut Proxy, id: Id) {
    let is_memory_short = memory::is_memory_short(&proxy.settings, &proxy.in_flight);
    let Some(client) = proxy.clients.get(id).filter(|client| client.is_open()) else { return };
    let is_full = client.is_in_bulk() && client.unread() >= proxy.settings.limits.client_unread_bytes_max;
    let is_short = is_memory_short && !client.is_quiet();
    if is_short || is_full || !client.is_in_bulk() && has_much(&proxy.settings, &proxy.clients, id, 1) {
        pause(&mut proxy.clients, &mut proxy.turn, id, is_full && !is_short);
    }
}

/// The next request of a client is answered by rmux, at length. True if it has to wait, since too much is unread.
pub(super) fn is_full(settings: &Settings, clients: &mut Clients, turn: &mut Turn, id: Id) -> bool {
    let unread_max = settings.limits.client_unread_pause_bytes;
    let is_full = clients.get(id).is_some_and(|client| client.unread() > unread_max);
    if is_full {
        pause(clients, turn, id, true);
    }
    is_full
}

fn pause(clients: &mut Clients, turn: &mut Turn, id: Id, is_full: bool) {
    let Some(client) = clients.get_mut(id) else { return };
    client.pause(is_full);
    turn.wake(id);
    mark::mark_client_dirty(clients, turn, id);
}

/// Lets those go on who are paused and may be in bulk now, the longest first.
#[cold]
pub(super) fn serve_paused(proxy: &mut Proxy, now: Millis) {
    while let Some(id) = proxy.clients.first_paused() {
        if !serve_one_paused(proxy, id, now) {
            break;
        }
        proxy.clients.pop_paused();
    }
}

/// A client was paused in this turn: it goes on in bulk, or waits.
#[cold]
pub(super) fn on_paused(proxy: &mut Proxy, id: Id, now: Millis) {
    let is_full =
        proxy.clients.get(id).is_some_and(|client| matches!(client.flow(), Flow::Paused { is_full: true, .. }));
    if is_full {
        wait_paused(&proxy.settings, &mut proxy.clients, &mut proxy.wheel, id, now);
    } else if proxy.clients.paused() > 0 || !serve_one_paused(proxy, id, now) {
        wait_paused(&proxy.settings, &mut proxy.clients, &mut proxy.wheel, id, now);
        proxy.clients.pause_behind_others(id);
    }
}

/// False if it has to wait.
fn serve_one_paused(proxy: &mut Proxy, id: Id, now: Millis) -> bool {
    let is_paused = |client: &Client| matches!(client.flow(), Flow::Paused { is_full: false, .. });
    let is_paused = proxy.clients.get(id).is_some_and(is_paused);
    if is_paused
        && (memory::is_memory_short(&proxy.settings, &proxy.in_flight)
            || has_much(&proxy.settings, &proxy.clients, id, 2)
                && !enter_bulk(&mut proxy.upstreams, &mut proxy.clients, id, now))
    {
        return false;
    }
    if is_paused {
        unpause(&mut proxy.clients, &mut proxy.turn, id);
    }
    true
}

pub(super) fn wait_paused(settings: &Settings, clients: &mut Clients, wheel: &mut Wheel<Timer>, id: Id, now: Millis) {
    let Some(client) = clients.get_mut(id) else { return };
    let Some(is_full) = client.wait_paused(now) else { return };
    if let Some(deadline) = pause_deadline(&settings.timeouts, now, is_full) {
        client.wake_at(wheel, Timer::Client(id), deadline);
    }
}

/// A client that was paused is listened to again.
pub(super) fn unpause(clients: &mut Clients, turn: &mut Turn, id: Id) {
    if let Some(client) = clients.get_mut(id) {
        client.enter(Flow::Open);
        turn.wake(id);
        turn.resume(Conn::Client(id));
    }
}

/// What a client is told that has much in flight or unread, and has waited in vain for a connection of its own.
pub(super) fn no_connection_for_bulk(settings: &Settings) -> String {
    let ms = settings.timeouts.remote_connect_ms;
    format!("-ERR No connection became free within {ms} ms for so many requests at a time\r\n")
}

/// Looks after a client with more unread than it may have: if it takes nothing, it is closed.
pub(super) fn check_unread(proxy: &mut Proxy, id: Id, now: Millis) {
    let Some(client) = proxy.clients.get_mut(id) else { return };
    client.replies_mut().settle();
    let unread_max = proxy.settings.limits.client_unread_pause_bytes;
    let is_early = client.is_in_bulk() && client.replies().early_bytes() >= early_max(unread_max);
    if client.unread() < unread_max && !is_early {
        return;
    }
    let is_restrained = hold_back(proxy, id, now);
    let unread_max = memory::client_unread_max(&proxy.settings, &proxy.in_flight);
    let stall_ms = proxy.settings.timeouts.remote_read_ms / 4;
    let Some(client) = proxy.clients.get_mut(id).filter(|client| client.excess() > unread_max) else { return };
    let stalled_at = client.connection().took_at() + stall_ms;
    if !is_restrained || client.connection().is_write_blocked() && stalled_at <= now {
        return close::close_client(proxy, id, ClientCloseReason::Unread);
    }
    if client.connection().is_write_blocked() {
        client.wake_at(&mut proxy.wheel, Timer::Client(id), stalled_at);
    }
}

/// Until when a client that takes nothing is paused; `None` for any time.
pub(super) fn pause_deadline(timeouts: &Timeouts, since: Millis, is_full: bool) -> Option<Millis> {
    let ms = if is_full { timeouts.local_request_ms } else { timeouts.remote_connect_ms };
    (ms > 0).then(|| since + ms)
}

/// So many bytes of replies that come before their turn are much, where so many that the client does not take are.
fn early_max(unread_max: usize) -> usize {
    unread_max.div_ceil(16)
}
