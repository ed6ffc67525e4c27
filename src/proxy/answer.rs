//! Replies on their way to clients: each goes out in the place that its request has in the client's reply order.
//!
//! ```text
//!   reply order:   [GET a: in flight] [GET b: early "x"] [PING: early "PONG"]
//!   "1" arrives for GET a   ──►   "1", "x", PONG go out, in this order
//! ```
//!
//! `deliver` is for the reply to a request that was in flight; `reply_here` for one that rmux makes itself, in its
//! place behind what is outstanding; `keep_place` and `fill_place` for one that it makes later.

use super::clients::Clients;
use super::in_flight::InFlight;
use super::interface::NO_DEADLINE;
use super::state::Proxy;
use super::{bulk, collect, mark, memory};
use crate::buffer::Queue;
use crate::request::{Place, Request, RequestId};
use crate::slots::Id;
use crate::stats::LOCAL;
use crate::timer::Millis;

/// A reply of our own that `write` writes.
pub(super) fn reply_with(proxy: &mut Proxy, id: Id, write: impl FnOnce(&mut Vec<u8>)) {
    let mut reply = proxy.reading.take_reply();
    write(&mut reply);
    reply_here(proxy, id, &reply);
    proxy.reading.spare_reply(reply);
}

/// Gives the client a reply of our own, in its place behind what is outstanding.
pub(super) fn reply_here(proxy: &mut Proxy, id: Id, reply: &[u8]) {
    let Some(client) = proxy.clients.get_mut(id).filter(|client| !client.is_closed()) else { return };
    if client.takes_no_reply() {
        proxy.journal.stats.requests[LOCAL] += 1;
        return mark::mark_client_dirty(&mut proxy.clients, &mut proxy.turn, id);
    }
    reply_in_place(proxy, id, reply);
}

/// The same, whether the client wants to be answered or not.
pub(super) fn reply_in_place(proxy: &mut Proxy, id: Id, reply: &[u8]) {
    let Some(client) = proxy.clients.get_mut(id).filter(|client| !client.is_closed()) else { return };
    proxy.journal.count_own_reply(reply);
    if client.reply_order().is_empty() {
        client.replies_mut().push(&mut proxy.in_flight.arena, reply);
    } else {
        let queue = Queue::of(&mut proxy.in_flight.arena, reply);
        client.replies_mut().hold_early(reply.len());
        let mut request = Request::new(id, NO_DEADLINE, 0, 0, false);
        request.move_to(Place::Early(proxy.in_flight.early.insert(queue) as u32));
        let request = proxy.in_flight.requests.insert(request);
        client.reply_order_mut().push(&mut proxy.in_flight.requests, request);
    }
    mark::mark_client_dirty(&mut proxy.clients, &mut proxy.turn, id);
    bulk::maybe_pause(proxy, id);
}

/// As `deliver`, for the error in the place of a reply that a server owes.
pub(super) fn deliver_error(proxy: &mut Proxy, id: Id, request: RequestId, error: &[u8], now: Millis) {
    proxy.journal.stats.own_errors.count(error);
    deliver(proxy, id, request, error, now);
}

/// As `deliver`, for a reply that rmux makes itself, in the place that was kept for it.
pub(super) fn deliver_own(proxy: &mut Proxy, id: Id, request: RequestId, reply: &[u8], now: Millis) {
    proxy.journal.count_own_reply(reply);
    deliver(proxy, id, request, reply, now);
}

/// A request, which stands in no backend's line any more, has its whole reply: it goes to the client, or waits for
/// its turn.
#[inline]
pub(super) fn deliver(proxy: &mut Proxy, id: Id, request: RequestId, reply: &[u8], now: Millis) {
    if let Place::Part(merging) = proxy.in_flight.requests[request].place() {
        return collect::answer_part(proxy, merging, request, reply);
    }
    let Some(client) = proxy.clients.get_mut(id) else { return };
    if client.reply_order().first() == Some(request) {
        client.reply_order_mut().pop(&proxy.in_flight.requests);
        let entry = proxy.in_flight.requests.remove(request);
        if !entry.is_muted() {
            client.replies_mut().push(&mut proxy.in_flight.arena, reply);
        }
        // Nearly always nobody behind has an answer yet, and little is unread: nothing to look at.
        let is_early = |next: RequestId| proxy.in_flight.requests[next].place().early().is_some();
        let is_plain = client.subscriber().is_none() && !client.reply_order().first().is_some_and(is_early);
        if is_plain && client.replies().unsent() < proxy.settings.limits.client_unread_pause_bytes {
            client.connection_mut().on_heard(now);
            if client.connection_mut().mark_dirty() {
                proxy.turn.flush_client(id);
            }
        } else {
            advance_line(proxy, id, now);
        }
    } else {
        let is_muted = proxy.in_flight.requests[request].is_muted();
        let queue = Queue::of(&mut proxy.in_flight.arena, if is_muted { &[] } else { reply });
        client.replies_mut().hold_early(queue.unsent());
        let place = Place::Early(proxy.in_flight.early.insert(queue) as u32);
        proxy.in_flight.requests[request].move_to(place);
        bulk::check_unread(proxy, id, now);
    }
}

/// Puts a reply of rmux's own, however large, into the place that was kept for it in a client's line.
pub(super) fn fill_place(proxy: &mut Proxy, id: Id, request: RequestId, mut reply: Queue, now: Millis) {
    let Some(client) = proxy.clients.get_mut(id).filter(|client| !client.is_closed()) else {
        return reply.clear(&mut proxy.in_flight.arena);
    };
    if proxy.in_flight.requests[request].is_muted() {
        reply.clear(&mut proxy.in_flight.arena);
    }
    client.replies_mut().hold_merged(reply.unsent());
    let place = Place::Early(proxy.in_flight.early.insert(reply) as u32);
    proxy.in_flight.requests[request].move_to(place);
    if client.reply_order().first() == Some(request) {
        advance_line(proxy, id, now);
    }
}

/// Sends what has come for those who are next in the client's line.
pub(super) fn advance_line(proxy: &mut Proxy, id: Id, now: Millis) {
    let Some(client) = proxy.clients.get_mut(id) else { return };
    client.connection_mut().on_heard(now);
    loop {
        if client.subscriber().is_some() {
            client.release_messages(&mut proxy.in_flight.arena, &proxy.in_flight.requests);
        }
        let Some(next) = client.reply_order().first() else { break };
        let entry = &mut proxy.in_flight.requests[next];
        let Some(early) = entry.place().early() else { break };
        let queue = proxy.in_flight.early.remove(early as usize);
        client.replies_mut().append_early(&mut proxy.in_flight.arena, queue);
        if let Place::ArrivingEarly(_) = entry.place() {
            entry.move_to(Place::Arriving);
            break;
        }
        client.reply_order_mut().pop(&proxy.in_flight.requests);
        proxy.in_flight.requests.remove(next);
        if client.on_answered(next) {
            proxy.turn.wake(id);
        }
    }
    // Many may wait for one confirmation: who subscribes has its turn as for messages.
    match client.subscriber().is_some() && !client.connection().is_write_blocked() {
        true => mark::list_subscriber(&mut proxy.clients, &mut proxy.turn, &mut proxy.pubsub, id),
        false => mark::mark_client_dirty(&mut proxy.clients, &mut proxy.turn, id),
    }
    bulk::check_unread(proxy, id, now);
}

/// What came of a reply before its turn is worth nothing: the rest is lost, and the client has seen none of it.
pub(super) fn forget_early(
    clients: &mut Clients,
    in_flight: &mut InFlight,
    client: Id,
    request: RequestId,
    early: u32,
) {
    let mut queue = in_flight.early.remove(early as usize);
    if let Some(client) = clients.get_mut(client) {
        client.replies_mut().drop_early(queue.unsent());
    }
    queue.clear(&mut in_flight.arena);
    in_flight.requests[request].move_to(Place::Waiting);
}

/// Takes the last request, which will get no reply, out of a client's line.
pub(super) fn drop_place(clients: &mut Clients, in_flight: &mut InFlight, id: Id, request: RequestId) {
    if let Some(client) = clients.get_mut(id) {
        debug_assert_eq!(client.reply_order().last(), Some(request));
        client.reply_order_mut().pop_last(&mut in_flight.requests);
    }
    in_flight.requests.remove(request);
}

/// Tells a client that there is no room for its request.
pub(super) fn refuse_for_memory(proxy: &mut Proxy, id: Id, what: &str) {
    let text = memory::out_of_memory(&proxy.settings, what);
    reply_here(proxy, id, text.as_bytes());
}

/// Keeps the place of a reply in a client's line.
pub(super) fn keep_place(clients: &mut Clients, in_flight: &mut InFlight, id: Id) -> Option<RequestId> {
    let client = clients.get_mut(id).filter(|client| !client.is_closed())?;
    let mut request = Request::new(id, NO_DEADLINE, 0, 0, false);
    request.mute(client.takes_no_reply());
    let request = in_flight.requests.insert(request);
    client.reply_order_mut().push(&mut in_flight.requests, request);
    Some(request)
}
