//! Requests into the queues of backends, and out of them.
//!
//! A request that is put into a backend's in-flight queue gives a [`Ticket`], and its bytes must follow before anything
//! else goes there: `forward`, or `queue` and `forward_owned` here, take it.
//!
//! ```text
//!   line_up: reply order of the client ─┬─ in-flight queue of the backend ─► Ticket ─► bytes
//!   stand_at: (it has its place there) ─┘
//!   leave_tombstones: out of the in-flight queue; a tombstone stays for the reply that will come
//! ```

use super::clients::Clients;
use super::in_flight::{InFlight, Ticket};
use super::interface::{NO_DEADLINE, Timer};
use super::mark;
use super::state::Proxy;
use super::turn::Turn;
use super::upstreams::Upstreams;
use crate::client::Flow;
use crate::request::{Request, RequestId, Role};
use crate::server_id::ServerId;
use crate::slots::Id;
use crate::timer::Millis;

/// Puts a request into the reply order of its client and the in-flight queue of a backend, which is one of `server`.
/// `None` if either is gone.
pub(super) fn line_up(
    proxy: &mut Proxy,
    id: Id,
    backend: Id,
    server: ServerId,
    mut request: Request,
) -> Option<Ticket> {
    let client = proxy.clients.get_mut(id)?;
    request.mute(client.takes_no_reply());
    proxy.journal.count_requests(1, usize::from(!request.is_read()));
    let request = proxy.in_flight.begin(request, client.reply_order_mut());
    stand_at(proxy, request, backend, server)
}

/// Puts a request into the in-flight queue of a backend, which is one of `server`. `None` if that one is gone.
#[inline]
pub(super) fn stand_at(proxy: &mut Proxy, request: RequestId, backend_id: Id, server: ServerId) -> Option<Ticket> {
    let entry = &proxy.in_flight.requests[request];
    let deadline = entry.deadline();
    if let Some(client) = proxy.clients.get_mut(entry.client()) {
        client.pin(server, backend_id, 1);
    }
    proxy.upstreams.count_requests(server, 1);
    let backend = proxy.upstreams.backend_mut(backend_id)?;
    if deadline != NO_DEADLINE {
        backend.wake_at(&mut proxy.wheel, Timer::Backend(backend_id), deadline);
    }
    Some(proxy.in_flight.enqueue(request, backend_id, backend.in_flight_mut()))
}

/// As `forward`, for a large request that has its memory to itself: nothing is copied.
pub(super) fn forward_owned(
    upstreams: &mut Upstreams,
    in_flight: &mut InFlight,
    turn: &mut Turn,
    ticket: Ticket,
    bytes: Vec<u8>,
) {
    let id = ticket.redeem();
    if let Some(backend) = upstreams.backend_mut(id) {
        backend.push_vec(&mut in_flight.arena, bytes);
        mark::mark_backend_dirty(upstreams, turn, id);
    }
}

/// A client has one request less outstanding at `server`.
#[inline]
pub(super) fn unpin(clients: &mut Clients, turn: &mut Turn, id: Id, server: ServerId) {
    let Some(client) = clients.get_mut(id) else { return };
    client.unpin(server, 1);
    if client.flow() == (Flow::AwaitingOwnReplies { server }) && client.affinity(server).is_none() {
        turn.wake(id);
    }
}

/// As `forward`, for a small request that rmux has written itself.
pub(super) fn queue(
    upstreams: &mut Upstreams,
    in_flight: &mut InFlight,
    turn: &mut Turn,
    ticket: Ticket,
    bytes: &[u8],
) {
    let id = ticket.redeem();
    if let Some(backend) = upstreams.backend_mut(id) {
        backend.push(&mut in_flight.arena, bytes);
        mark::mark_backend_dirty(upstreams, turn, id);
    }
}

/// Sends a request of rmux's own, whose reply nobody waits for.
pub(super) fn send_internal(proxy: &mut Proxy, id: Id, bytes: &[u8], role: Role, now: Millis) {
    let deadline = now + proxy.settings.timeouts.remote_read_ms;
    let mut request = Request::new(Id::NONE, deadline, bytes.len() as u32, 0, false);
    request.set_role(role);
    let Some(backend) = proxy.upstreams.backend_mut(id) else { return };
    backend.wake_at(&mut proxy.wheel, Timer::Backend(id), deadline);
    let ticket = proxy.in_flight.enqueue_own(request, id, backend.in_flight_mut());
    queue(&mut proxy.upstreams, &mut proxy.in_flight, &mut proxy.turn, ticket, bytes);
}

/// Takes requests out of the line of this backend, and leaves a tombstone for each reply that will come. They are
/// in the order of the line.
pub(super) fn leave_tombstones(proxy: &mut Proxy, id: Id, leaving: &[RequestId]) {
    let Some(backend) = proxy.upstreams.backend_mut(id) else { return };
    let server = backend.server();
    let line = std::mem::take(backend.in_flight_mut());
    let all: Vec<RequestId> = line.iter(&proxy.in_flight.requests).collect();
    let mut leaving = leaving.iter().copied().peekable();
    for request in all {
        let mut standing = request;
        if leaving.next_if_eq(&request).is_some() {
            let entry = &mut proxy.in_flight.requests[request];
            let client = entry.client();
            if client == Id::NONE {
                entry.expire();
            } else {
                entry.leave_backend();
                let mut tombstone = Request::new(Id::NONE, NO_DEADLINE, entry.bytes(), 0, false);
                tombstone.expire();
                standing = proxy.in_flight.requests.insert(tombstone);
                unpin(&mut proxy.clients, &mut proxy.turn, client, server);
            }
            if let Some(backend) = proxy.upstreams.backend_mut(id) {
                backend.add_tombstone();
            }
        }
        if let Some(backend) = proxy.upstreams.backend_mut(id) {
            backend.in_flight_mut().push(&mut proxy.in_flight.requests, standing);
        }
    }
    debug_assert!(leaving.next().is_none(), "all of them stood in this line, in this order");
}
