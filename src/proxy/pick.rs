//! Which backend takes the next request of a client.
//!
//! All of a client's outstanding requests at one server go down the same backend, or their order would be lost. So
//! the first question is where it has some; the next whether it has a backend for itself; and only then what the pool
//! offers.
//!
//! ```text
//!   leased, or in bulk ─► its own ─┐
//!   requests outstanding ─► there ─┼─► Take, or Behind: wait for them        nothing free ─► Park ─► GiveUp
//!   neither ─► the pool's offer ───┘
//! ```

use super::call::{Standing, When};
use super::state::Proxy;
use super::{bulk, connect};
use crate::backend::Backend;
use crate::client::{Flow, Leased};
use crate::request::RequestId;
use crate::server_id::ServerId;
use crate::session::Profile;
use crate::slots::Id;
use crate::timer::Millis;

/// Which backend takes the next request of this client.
#[inline]
pub(super) fn pick(proxy: &mut Proxy, id: Id, server: ServerId, profile: Profile, mut when: When) -> Pick {
    let limits = &proxy.settings.limits;
    let Some(client) = proxy.clients.get(id) else { return Pick::Never };
    if let Some(leased) = client.leased().filter(|leased| leased.server == server) {
        // Keys are watched: what is read and written meanwhile must come behind that.
        return match proxy.upstreams.backend(leased.backend) {
            Some(backend) if backend.profile() != profile => Pick::Watching,
            Some(backend) if backend.has_room_for_owner(limits) => Pick::Take(leased.backend),
            // With nothing of its own in line, what is in the way is short, or a push: neither would wake it.
            Some(backend) if backend.is_serving() && client.affinity(server).is_none() => Pick::Take(leased.backend),
            _ => Pick::Behind,
        };
    }
    if client.is_in_bulk() {
        if let Some(pick) = pick_in_bulk(proxy, id, server, profile, when) {
            return pick;
        }
        // If its wait is over, it was one for a connection of its own: as any other it has not waited yet.
        when = when.behind();
    }
    let limits = &proxy.settings.limits;
    let Some(client) = proxy.clients.get(id) else { return Pick::Never };
    let pool = proxy.upstreams.pool(server);
    let has_precedence = !pool.is_waited_for_room() || when.is_served();
    if let Some(affinity) = client.affinity(server) {
        return match proxy.upstreams.backend(affinity.backend) {
            // Who never runs out of requests would keep the backend from those who need it for another profile.
            Some(backend) if has_precedence && backend.profile() == profile && backend.has_room(limits) => {
                Pick::Take(affinity.backend)
            }
            _ => Pick::Behind,
        };
    }
    if !has_precedence {
        return Pick::Park;
    }
    let offer = proxy.upstreams.offer(server, profile, limits, when.now);
    match connect::take_offer(proxy, offer, server, profile, when.now) {
        Some(backend) => Pick::Take(backend),
        None => park_or_give_up(when),
    }
}

/// Where a request goes that was with a backend already and cannot wait: where `pick` would send what its client
/// sends next, or it would be overtaken by that.
pub(super) fn pick_again(proxy: &mut Proxy, id: Id, server: ServerId, profile: Profile, now: Millis) -> Option<Id> {
    let limits = &proxy.settings.limits;
    let client = proxy.clients.get(id)?;
    let transaction = client.transaction();
    let leased = transaction.and_then(|transaction| transaction.leased()).filter(|leased| leased.server == server);
    let held = client.bulk().and_then(|bulk| bulk.at(server));
    let (backend_id, is_own) = match (leased, client.affinity(server)) {
        // Behind MULTI it would be queued, and not run.
        (Some(_), _) if transaction.is_some_and(|transaction| transaction.is_begun()) => return None,
        (Some(leased), _) => (leased.backend, true),
        (None, _) if held.is_some() => (held?, true),
        (None, Some(affinity)) => (affinity.backend, false),
        (None, None) => return connect::offer_now(proxy, server, profile, now),
    };
    if client.flow() == (Flow::BlockedOnCommand { backend: backend_id }) {
        // Behind what waits for data there is no end to wait for.
        return None;
    }
    let backend = proxy.upstreams.backend(backend_id)?;
    let has_room = if is_own { backend.has_room_for_owner(limits) } else { backend.has_room(limits) };
    (has_room && backend.profile() == profile).then_some(backend_id)
}

/// There is no backend for this client now: it waits, unless it is served because it has waited long enough.
pub(super) fn park_or_give_up(when: When) -> Pick {
    match when.standing {
        Standing::WaitOver => Pick::GiveUp,
        Standing::Arriving | Standing::Front => Pick::Park,
    }
}

/// Which backend takes the next request of a client in bulk: its own at that server, or one that it can have.
/// `None` if it is like any other there: it can have none, and has not so much that it needs one.
pub(super) fn pick_in_bulk(proxy: &mut Proxy, id: Id, server: ServerId, profile: Profile, when: When) -> Option<Pick> {
    let client = proxy.clients.get(id)?;
    let affinity = client.affinity(server);
    if let Some(own) = client.bulk().and_then(|bulk| bulk.at(server)) {
        match pick_own(proxy, own, affinity.is_some(), profile, when.now) {
            // Nothing of its own will wake it: that one is of no use to it.
            Pick::Behind if affinity.is_none() => bulk::release_unused(proxy, id),
            pick => return Some(pick),
        }
    }
    if let Some(affinity) = affinity {
        if proxy.upstreams.may_have(id, affinity.backend, when.now) {
            bulk::hold_in_bulk(
                &mut proxy.upstreams,
                &mut proxy.clients,
                id,
                Leased { server, backend: affinity.backend },
                when.now,
            );
            return Some(pick_own(proxy, affinity.backend, true, profile, when.now));
        }
        return bulk::is_for_bulk(&proxy.settings, &proxy.clients, id).then_some(Pick::Behind);
    }
    match lease(proxy, id, server, when) {
        // It could have, until there was room for one connection only.
        Pick::Never => None,
        Pick::Take(backend) => {
            bulk::hold_in_bulk(&mut proxy.upstreams, &mut proxy.clients, id, Leased { server, backend }, when.now);
            Some(Pick::Take(backend))
        }
        pick => bulk::is_for_bulk(&proxy.settings, &proxy.clients, id).then_some(pick),
    }
}

pub(super) fn pick_own(proxy: &mut Proxy, own: Id, has_lane: bool, profile: Profile, now: Millis) -> Pick {
    match proxy.upstreams.backend(own) {
        Some(backend) if backend.profile() == profile && backend.has_room_for_owner(&proxy.settings.limits) => {
            Pick::Take(own)
        }
        Some(backend) if backend.profile() == profile && backend.is_serving() && backend.uploader().is_none() => {
            Pick::Throttle(own)
        }
        Some(backend) if !has_lane && backend.is_ready() && backend.in_flight().is_empty() => {
            connect::change_profile(proxy, own, profile, now);
            Pick::Take(own)
        }
        _ => Pick::Behind,
    }
}

/// Finds a backend at `server` that this client can have for itself.
pub(super) fn lease(proxy: &mut Proxy, id: Id, server: ServerId, when: When) -> Pick {
    let Some(client) = proxy.clients.get(id) else { return Pick::Never };
    if let Some(leased) = client.leased().filter(|leased| leased.server == server) {
        let is_same = |backend: &Backend| backend.profile() == client.profile();
        let is_same = proxy.upstreams.backend(leased.backend).is_some_and(is_same);
        return if is_same { Pick::Take(leased.backend) } else { Pick::Watching };
    }
    if let Some(own) = client.bulk().and_then(|bulk| bulk.at(server)) {
        let profile = client.profile();
        // What others still wait for there would be lost with it, if this client leaves.
        let is_others = |request: RequestId| ![id, Id::NONE].contains(&proxy.in_flight.requests[request].client());
        let is_usable = |backend: &Backend| {
            backend.profile() == profile
                && backend.is_serving()
                && !backend.in_flight().iter(&proxy.in_flight.requests).any(is_others)
        };
        if proxy.upstreams.backend(own).is_some_and(is_usable) {
            return Pick::Take(own);
        }
        if client.affinity(server).is_none() {
            bulk::release_unused(proxy, id);
        }
    }
    let Some(client) = proxy.clients.get(id) else { return Pick::Never };
    if client.affinity(server).is_some() {
        return Pick::Behind;
    }
    let profile = client.profile();
    let pool = proxy.upstreams.pool(server);
    if pool.never_leases() {
        return Pick::Never;
    }
    if pool.is_waited_for_lease() && !when.is_served() {
        return Pick::Park;
    }
    let offer = proxy.upstreams.offer_lease(server, profile, when.now);
    let Some(backend) = connect::take_offer(proxy, offer, server, profile, when.now) else {
        return park_or_give_up(when);
    };
    if let Some(entry) = proxy.upstreams.backend_mut(backend) {
        entry.lease_to(id);
    }
    Pick::Take(backend)
}

/// Which backend takes a request.
pub(super) enum Pick {
    /// This one.
    Take(Id),
    /// None, until the client's own requests at that server are answered.
    Behind,
    /// None, until this one, which the client has for itself, has sent some of what it was given.
    Throttle(Id),
    /// None, until one is free.
    Park,
    /// None, and it has waited long enough.
    GiveUp,
    /// None, ever: no backend of this pool can be leased.
    Never,
    /// None: the client speaks another version of the protocol since it watched keys.
    Watching,
}
