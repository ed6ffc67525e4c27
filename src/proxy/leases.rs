//! Backends that one client has for itself: how the lease ends, and who is first when several wait for one to be ready.

use super::clients::Clients;
use super::interface::{NO_DEADLINE, Timer};
use super::state::Proxy;
use super::turn::{FollowUp, Turn};
use super::upstreams::Upstreams;
use super::worker_queries::Blocked;
use super::{enqueue, mark};
use crate::backend::Backend;
use crate::client::Flow;
use crate::request::{RequestId, Role};
use crate::server_id::ServerId;
use crate::slots::Id;
use crate::timer::Millis;

/// The owner of a backend leaves its session as it is: `bytes` clean it, and with the reply it is anybody's again.
/// False if they cannot be sent behind what is there.
pub(super) fn clean_up(proxy: &mut Proxy, id: Id, bytes: &[u8], now: Millis) -> bool {
    let Some(backend) = proxy.upstreams.backend(id) else { return false };
    // What still waits for data would take an element for nobody.
    let is_blocking = |request: RequestId| proxy.in_flight.requests[request].role() == Role::Blocking;
    if backend.uploader().is_some() || backend.in_flight().iter(&proxy.in_flight.requests).any(is_blocking) {
        return false;
    }
    if backend.is_serving() {
        enqueue::send_internal(proxy, id, bytes, Role::Cleanup, now);
    } else {
        // It takes nothing more, and is closed when it owes nothing.
        end_lease(&mut proxy.upstreams, &mut proxy.turn, id);
    }
    true
}

/// The session of a leased backend is clean again: anybody may have it, unless its client is in bulk.
pub(super) fn end_lease(upstreams: &mut Upstreams, turn: &mut Turn, id: Id) {
    let Some(backend) = upstreams.backend_mut(id) else { return };
    if !backend.end_lease() {
        turn.follow_up(FollowUp::Lease(id, backend.owner(), None));
    }
}

/// A leased backend is lost: its client is told with the replies that it waits for, and with `EXEC`.
pub(super) fn on_lease_lost(clients: &mut Clients, turn: &mut Turn, backend: Id, owner: Option<Id>) {
    let Some(owner) = owner else { return };
    let Some(client) = clients.get_mut(owner) else { return };
    if client.flow() == (Flow::BlockedOnCommand { backend }) || client.flow() == (Flow::Throttled { backend }) {
        client.enter(Flow::Open);
        turn.wake(owner);
    }
    if let Some(bulk) = client.bulk_mut() {
        bulk.release(backend);
    }
    let Some(leased) = client.transaction_mut().and_then(|transaction| transaction.lose(backend)) else { return };
    // If it waits for the next step's turn there, that will not come.
    let server = leased.server;
    if client.flow() == (Flow::AwaitingOwnReplies { server }) && client.affinity(server).is_none() {
        turn.wake(owner);
    }
}

/// A backend is ready. If a client blocks on it, that one changes places with the one that has blocked first of all
/// whose backends are not ready, so that the server sees their commands in the order in which they came.
///
/// Only among clients of one database and one version of the protocol: another one cannot use this backend.
pub(super) fn on_ready_to_block(proxy: &mut Proxy, id: Id) {
    let Some(backend) = proxy.upstreams.backend(id).filter(|backend| backend.is_ready()) else {
        return;
    };
    if !has_nothing_else(backend) {
        return;
    }
    let (server, profile) = (backend.server(), backend.profile());
    let Some(owner) = backend.owner() else { return };
    let blocking = proxy.upstreams.pool(server).blocking();
    if !blocking.contains(&owner) {
        return;
    }
    let is_like = |other: &Id| {
        *other == owner
            || is_blocking_at(&proxy.upstreams, &proxy.clients, *other, server)
                && blocking_backend(&proxy.upstreams, &proxy.clients, *other)
                    .is_some_and(|(_, backend)| backend.profile() == profile)
    };
    let Some(place) = blocking.iter().position(is_like) else { return };
    let first = proxy.upstreams.pool_mut(server).unblock(place);
    if let Some((other, _)) = blocking_backend(&proxy.upstreams, &proxy.clients, first).filter(|_| first != owner) {
        swap_blocked(proxy, id, other);
    }
}

/// Has two clients change their backends, of which each blocks on one, and has nothing else there. No byte of their
/// commands was sent.
pub(super) fn swap_blocked(proxy: &mut Proxy, ready: Id, other: Id) {
    let mut parts = [ready, other].map(|id| Some(proxy.upstreams.backend_mut(id)?.take_unsent()));
    parts.reverse();
    for (id, parts) in [ready, other].into_iter().zip(parts) {
        let (Some(backend), Some(unsent)) = (proxy.upstreams.backend_mut(id), parts) else { continue };
        let owner = backend.put_unsent(unsent);
        let first = backend.in_flight().first().map(|request| proxy.in_flight.requests[request].deadline());
        if let Some(deadline) = first.filter(|&deadline| deadline != NO_DEADLINE) {
            backend.wake_at(&mut proxy.wheel, Timer::Backend(id), deadline);
        }
        if let Some(client) = owner.and_then(|owner| proxy.clients.get_mut(owner)) {
            client.block_on_other(backend.server(), id);
        }
    }
    mark::mark_backend_dirty(&mut proxy.upstreams, &mut proxy.turn, ready);
}

/// Whether this client blocks on a backend of `server` that is not ready.
pub(super) fn is_blocking_at(upstreams: &Upstreams, clients: &Clients, id: Id, server: ServerId) -> bool {
    blocking_backend(upstreams, clients, id)
        .is_some_and(|(_, backend)| backend.server() == server && backend.is_setting_up())
}

/// The backend on which a client blocks, and on which it has nothing else.
pub(super) fn blocking_backend<'a>(upstreams: &'a Upstreams, clients: &Clients, id: Id) -> Option<(Id, &'a Backend)> {
    match clients.get(id)?.flow() {
        Flow::BlockedOnCommand { backend } => {
            Some((backend, upstreams.backend(backend).filter(|entry| has_nothing_else(entry))?))
        }
        _ => None,
    }
}

/// Where the client with this number waits for data, if it does, and if its command has reached a server.
///
/// Whoever asks will have that server end the wait, which may be over by then: that it is not somebody else's wait
/// which is ended, the backend is closed with it.
pub(super) fn find_blocked(proxy: &mut Proxy, number: i64) -> Option<Blocked> {
    let is_meant = |id: Id| proxy.settings.workers.client_number(id) == number as u64;
    let (_, client) = proxy.clients.iter().find(|(id, _)| is_meant(*id))?;
    let Flow::BlockedOnCommand { backend } = client.flow() else { return None };
    let backend = proxy.upstreams.backend_mut(backend)?;
    let request = &proxy.in_flight.requests[backend.in_flight().first()?];
    if request.role() != Role::Blocking || !backend.was_sent(u64::from(request.bytes())) {
        return None;
    }
    let (server, number) = (backend.server(), backend.tell_number()?);
    Some(Blocked { server: proxy.upstreams.address(server).to_owned(), number })
}

/// True exactly when a backend that waits for data has nothing else to answer, and to nobody else.
pub(super) fn has_nothing_else(backend: &Backend) -> bool {
    !backend.is_in_bulk() && backend.in_flight().len() == 1
}
