//! A reply that takes long to pass on: who stands behind it and can go elsewhere, does.
//!
//! All replies of a backend come in one stream, so a huge one, or one whose client takes it slowly, keeps everybody
//! behind it waiting, and rmux would have to hold what it cannot pass on. A read can be asked again at no harm:
//!
//! ```text
//!   backend 1   ─► [GET huge: arriving] ─► [×] ─► [SET c] ─► [×]      drains: closed when it owes nothing
//!                                           │                 │
//!   backend 2   ─►                       [GET a] ─►        [GET b]
//! ```
//!
//! What was asked before stays there as a tombstone, whose reply nobody waits for. A client moves with all its
//! requests at that backend or not at all, or they would be answered out of order; writes are never asked twice. Nobody
//! moves twice, nor when a lost connection has cost it a second try: a request is asked twice at the most.

use super::settings::Settings;
use super::state::Proxy;
use super::{connect, drain, enqueue, guard};
use crate::request::{Place, Request, RequestId, Role};
use crate::slots::Id;
use crate::subscription::Triples;
use crate::timer::Millis;

/// A reply of this size is one that nobody should stand behind: it takes some milliseconds at the least.
pub(super) const HUGE: usize = 8 * 1024 * 1024;

/// One request that can move.
struct Behind {
    client: Id,
    request: RequestId,
    bytes: Vec<u8>,
}

/// Gives who stands behind the first in line of this backend to others, as far as there are any with room.
pub(super) fn reroute_and_drain(proxy: &mut Proxy, id: Id, now: Millis) {
    let Some(backend) = proxy.upstreams.backend(id) else { return };
    let taker = backend.in_flight().first().map_or(Id::NONE, |first| proxy.in_flight.requests[first].client());
    if backend.awaited() <= 1 || !backend.is_shared() {
        return;
    }
    if reroute(proxy, id, taker, now) {
        // What else it is asked for would have to wait for the replies to the tombstones.
        drain::drain_backend(&mut proxy.upstreams, &mut proxy.turn, id);
    }
}

/// Gives those of this backend's requests to others that are not `taker`'s. True if any has moved.
pub(super) fn reroute(proxy: &mut Proxy, id: Id, taker: Id, now: Millis) -> bool {
    let Some(backend) = proxy.upstreams.backend_mut(id) else { return false };
    backend.on_rerouted();
    let (server, profile) = (backend.server(), backend.profile());
    let Some(backend) = proxy.upstreams.backend(id) else { return false };
    let mut staying = Triples::new();
    let place = |client: Id| (client, 0, Id::NONE);
    staying.extend([place(Id::NONE), place(taker)]);
    let mut behind = Vec::new();
    let mut end = backend.answered();
    for request in backend.in_flight().iter(&proxy.in_flight.requests) {
        let entry = &proxy.in_flight.requests[request];
        let start = end;
        end += u64::from(entry.bytes());
        let can_move = !staying.contains(&place(entry.client())) && can_be_asked_again(entry);
        let bytes = can_move.then(|| backend.queue().copy_range(&proxy.in_flight.arena, start, end)).flatten();
        match bytes {
            Some(bytes) => behind.push(Behind { client: entry.client(), request, bytes }),
            None => drop(staying.insert(place(entry.client()))),
        }
    }
    behind.retain(|one| !staying.contains(&place(one.client)));
    // Client by client, in the order of each client's line.
    let mut order = Triples::new();
    order.extend(behind.iter().enumerate().map(|(index, one)| (one.client, index as u32, Id::NONE)));
    let order: Vec<&Behind> = order.iter().map(|&(_, index, _)| &behind[index as usize]).collect();
    let mut is_relieved = false;
    for requests in order.chunk_by(|one, other| one.client == other.client) {
        let Some(target) = connect::offer_now(proxy, server, profile, now) else { break };
        // It leaves with all of them before it enters with any.
        let ids: Vec<RequestId> = requests.iter().map(|one| one.request).collect();
        enqueue::leave_tombstones(proxy, id, &ids);
        for one in requests {
            proxy.in_flight.requests[one.request].mark_moved();
            if let Some(ticket) = enqueue::stand_at(proxy, one.request, target, server) {
                enqueue::queue(&mut proxy.upstreams, &mut proxy.in_flight, &mut proxy.turn, ticket, &one.bytes);
            }
            if guard::is_guarded(&proxy.settings, &proxy.reading, &one.bytes) {
                guard::send_guard(&mut proxy.upstreams, &mut proxy.in_flight, &mut proxy.turn, target);
            }
            proxy.journal.stats.moves += 1;
        }
        is_relieved = true;
    }
    is_relieved
}

/// So long those who stand behind a large reply wait for it, in milliseconds.
pub(super) fn reroute_ms(settings: &Settings) -> u64 {
    settings.timeouts.remote_read_ms / 8
}

fn can_be_asked_again(entry: &Request) -> bool {
    entry.is_read()
        && !entry.is_moved()
        && entry.losses() == 0
        && entry.role() == Role::Plain
        && entry.place() == Place::Waiting
}
