//! What follows from what was done: backends that clients left behind, or that are to be closed, and servers that went
//! down or came back.
//!
//! Who learns of such a thing is often far below the policy that deals with it, so it is put on the turn's list
//! ([`FollowUp`]), and dealt with here, before the turn ends.

use super::backend_close_reason::BackendCloseReason;
use super::state::Proxy;
use super::turn::FollowUp;
use super::{answer, bulk, drain, enqueue, leases, merged, recover, resubscribe, subscribe, subscription_connection};
use crate::request::{RequestId, Role};
use crate::server_id::ServerId;
use crate::slots::Id;
use crate::timer::Millis;

/// `owner` has left a backend that it had for itself. `cleanup` is what cleans its session, if anything can: then
/// it is anybody's again with the reply. Otherwise it is closed, as soon as nobody else waits for a reply there.
pub(super) fn take_back(proxy: &mut Proxy, id: Id, owner: Option<Id>, cleanup: Option<&[u8]>, now: Millis) {
    // It may have been refused what it leased it for, and nothing was sent.
    if proxy.upstreams.backend(id).is_none_or(|backend| backend.owner() != owner) {
        return;
    }
    if cleanup.is_some_and(|bytes| leases::clean_up(proxy, id, bytes, now)) {
        return;
    }
    let Some(backend) = proxy.upstreams.backend(id) else { return };
    let is_blocking = |request: &RequestId| proxy.in_flight.requests[*request].role() == Role::Blocking;
    let blocking = backend.in_flight().iter(&proxy.in_flight.requests).find(is_blocking);
    let is_awaited = |request: RequestId| proxy.in_flight.requests[request].client() != Id::NONE;
    match blocking.filter(|_| backend.in_flight().iter(&proxy.in_flight.requests).any(is_awaited)) {
        Some(blocking) if backend.is_answering() => {
            // Their requests were there before it began to wait, and are answered first.
            proxy.in_flight.requests[blocking].expire();
            if let Some(backend) = proxy.upstreams.backend_mut(id) {
                backend.add_tombstone();
                backend.unlease();
            }
            drain::drain_backend(&mut proxy.upstreams, &mut proxy.turn, id);
        }
        _ => recover::lose_backend(proxy, id, BackendCloseReason::OwnerGone, now),
    }
}

/// Half of a request was given to this backend, and the rest will never come: if it was sent, nothing can be sent
/// behind it.
pub(super) fn abandon_upload(proxy: &mut Proxy, id: Id, client: Id) {
    let Some(backend) = proxy.upstreams.backend_mut(id).filter(|backend| backend.is_uploaded_by(client)) else {
        return;
    };
    backend.end_upload();
    let server = backend.server();
    let mut is_sent = true;
    if let Some(request) = backend.in_flight_mut().pop_last(&mut proxy.in_flight.requests) {
        let entry = &mut proxy.in_flight.requests[request];
        entry.leave_backend();
        if backend.is_setting_up() {
            // Nothing of it was sent.
            backend.drop_unsent(backend.queue().unsent() - entry.bytes() as usize, &mut proxy.in_flight.arena);
            is_sent = false;
        }
        if entry.client() == Id::NONE {
            proxy.in_flight.requests.remove(request);
        } else {
            // Its client is told why it is closed, in the place of this request.
            enqueue::unpin(&mut proxy.clients, &mut proxy.turn, client, server);
            answer::drop_place(&mut proxy.clients, &mut proxy.in_flight, client, request);
        }
    }
    if is_sent {
        drain::drain_backend(&mut proxy.upstreams, &mut proxy.turn, id);
    }
}

/// A server went down, or came back.
fn on_turned(proxy: &mut Proxy, server: ServerId, is_up: bool, now: Millis) {
    if is_up {
        subscription_connection::on_server_back(proxy, server, now);
    } else {
        subscribe::review_confirmations(proxy, now);
    }
    resubscribe::review(proxy, now);
}

/// Deals with what those have left who are gone: halves of requests, and backends that they had for themselves.
///
/// The shell calls it, and closes what is to be closed, before it reads: an element that somebody pushes in this
/// turn must not go to a backend that still waits for a client that has left.
pub(super) fn handle_follow_ups(proxy: &mut Proxy, now: Millis) {
    if proxy.turn.has_follow_ups() {
        handle_each_follow_up(proxy, now);
    }
}

#[cold]
pub(super) fn handle_each_follow_up(proxy: &mut Proxy, now: Millis) {
    while proxy.turn.has_follow_ups() {
        merged::finish_merges(proxy, now);
        for follow_up in proxy.turn.take_follow_ups() {
            match follow_up {
                FollowUp::Upload(backend, client) => abandon_upload(proxy, backend, client),
                FollowUp::Close(backend, reason) => recover::lose_backend(proxy, backend, reason, now),
                FollowUp::Turned(server, is_up) => on_turned(proxy, server, is_up, now),
                FollowUp::Bulk(client, bulk) => {
                    bulk::release_bulk(&mut proxy.upstreams, &proxy.in_flight, &mut proxy.turn, client, bulk, None)
                }
                FollowUp::Lease(backend, owner, cleanup) => take_back(proxy, backend, owner, cleanup, now),
            }
        }
    }
}
