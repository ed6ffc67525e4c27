//! Steps of a transaction on the backend that it has leased: counted, and put into its queue in order.

use super::backend_close_reason::BackendCloseReason;
use super::call::{Call, Verdict};
use super::clients::Clients;
use super::in_flight::Ticket;
use super::pick::Pick;
use super::state::Proxy;
use super::turn::FollowUp;
use super::{dispatch, enqueue};
use crate::backend::Backend;
use crate::client::{Client, Leased, Need, Transaction};
use crate::request::{Request, Role};
use crate::slots::Id;
use crate::timer::Millis;

/// The server was given one step more.
pub(super) fn count_step(clients: &mut Clients, id: Id) -> usize {
    clients.get_mut(id).and_then(Client::transaction_mut).map_or(0, Transaction::count_step)
}

/// If the backend of a transaction can not take a step now, has the client wait until it can.
///
/// With nothing of its own in line it would wait for ever: what rmux itself has said there, `MULTI` and steps that
/// it kept, wakes nobody. So a step may follow that at once; and a backend that takes nothing more is of no use.
pub(super) fn hold_step(proxy: &mut Proxy, id: Id, leased: Leased, now: Millis) -> Option<Verdict> {
    let Leased { server, backend } = leased;
    let entry = proxy.upstreams.backend(backend);
    let is_serving = entry.is_some_and(Backend::is_serving);
    if is_serving && entry.is_some_and(|entry| entry.is_in_bulk() && !entry.has_room_for_owner(&proxy.settings.limits))
    {
        return Some(dispatch::wait_or_refuse(proxy, id, server, Pick::Throttle(backend), Need::Lease, now));
    }
    if entry.is_some_and(|entry| entry.has_room_for_owner(&proxy.settings.limits)) {
        return None;
    }
    if proxy.clients.get(id).is_some_and(|client| client.affinity(server).is_none()) {
        if is_serving {
            return None;
        }
        proxy.turn.follow_up(FollowUp::Close(backend, BackendCloseReason::Drained));
    }
    Some(dispatch::wait_or_refuse(proxy, id, server, Pick::Behind, Need::Lease, now))
}

/// Puts a step of `len` bytes into line, on the backend of its transaction.
pub(super) fn line_up_step(
    proxy: &mut Proxy,
    id: Id,
    leased: Leased,
    len: u32,
    role: Role,
    now: Millis,
) -> Option<Ticket> {
    let mut request = Request::new(id, now + proxy.settings.timeouts.remote_read_ms, len, 0, false);
    request.set_role(role);
    enqueue::line_up(proxy, id, leased.backend, leased.server, request)
}

/// Sends a step of a transaction on its backend.
pub(super) fn send_step(
    proxy: &mut Proxy,
    id: Id,
    leased: Leased,
    call: &Call<'_>,
    role: Role,
    now: Millis,
) -> Verdict {
    if let Some(verdict) = hold_step(proxy, id, leased, now) {
        return verdict;
    }
    line_up_step(proxy, id, leased, call.len(), role, now).map_or(Verdict::Done, Verdict::Forward)
}
