//! Connections to servers: opened for a pool, and set to another profile.

use super::interface::Timer;
use super::mark;
use super::mastership::Seat;
use super::state::Proxy;
use super::upstreams::Upstreams;
use crate::backend::{Backend, Purpose};
use crate::pool::Offer;
use crate::server_id::ServerId;
use crate::session::Profile;
use crate::slots::Id;
use crate::timer::{Millis, Wheel};

/// Makes a backend of a server's pool.
pub(super) fn open_backend(proxy: &mut Proxy, server: ServerId, profile: Profile, now: Millis) -> Id {
    let id = begin_connect(proxy, Backend::new(server, profile, Purpose::Pooled, now), now);
    keep_pace(&mut proxy.upstreams, &mut proxy.wheel, server, now);
    id
}

/// Makes one for a server that has come, unless it has one from before.
pub(super) fn open_if_none(proxy: &mut Proxy, server: ServerId, now: Millis) {
    let is_serving = proxy.upstreams.backends_of(server).any(|(_, backend)| backend.is_serving());
    if !is_serving && proxy.upstreams.may_open(server, now) {
        open_backend(proxy, server, Profile::default(), now);
    } else {
        // It may have been down when it went, and nobody has looked since.
        keep_pace(&mut proxy.upstreams, &mut proxy.wheel, server, now);
    }
}

/// Takes a new backend in, and asks the shell to connect it.
pub(super) fn begin_connect(proxy: &mut Proxy, backend: Backend, now: Millis) -> Id {
    let server = backend.server();
    let connect_ms = proxy.settings.timeouts.remote_connect_ms;
    let id = proxy.upstreams.open(backend, connect_ms, now);
    let deadline = now + connect_ms;
    if let Some(backend) = proxy.upstreams.backend_mut(id) {
        backend.wake_at(&mut proxy.wheel, Timer::Backend(id), deadline);
    }
    let is_nowhere = proxy.upstreams.mastership_mut(server).is_some_and(|master| master.seat != Seat::Known);
    match proxy.upstreams.backend_mut(id).filter(|_| is_nowhere) {
        Some(backend) => backend.hold_back(),
        None => proxy.turn.connect(id, server),
    }
    id
}

/// Makes no connection earlier than the server's health says, and looks at it in time.
pub(super) fn keep_pace(upstreams: &mut Upstreams, wheel: &mut Wheel<Timer>, server: ServerId, now: Millis) {
    upstreams.keep_pace(server, wheel, Timer::Probe(server), now);
}

/// Sets an idle backend to another profile.
pub(super) fn change_profile(proxy: &mut Proxy, id: Id, goal: Profile, now: Millis) {
    let Some(backend) = proxy.upstreams.backend_mut(id) else { return };
    backend.change_profile(goal, now);
    let deadline = now + proxy.settings.timeouts.remote_connect_ms;
    backend.wake_at(&mut proxy.wheel, Timer::Backend(id), deadline);
    mark::mark_backend_dirty(&mut proxy.upstreams, &mut proxy.turn, id);
}

/// The backend that a pool offers, made or changed as the offer says; `None` if there is nothing but to wait.
#[inline]
pub(super) fn take_offer(
    proxy: &mut Proxy,
    offer: Offer,
    server: ServerId,
    profile: Profile,
    now: Millis,
) -> Option<Id> {
    match offer {
        Offer::Take(backend) => Some(backend),
        Offer::Change(backend) => {
            change_profile(proxy, backend, profile, now);
            Some(backend)
        }
        Offer::Open => Some(open_backend(proxy, server, profile, now)),
        Offer::Wait => None,
    }
}

/// The backend that the pool offers to a request that cannot wait.
pub(super) fn offer_now(proxy: &mut Proxy, server: ServerId, profile: Profile, now: Millis) -> Option<Id> {
    let offer = proxy.upstreams.offer(server, profile, &proxy.settings.limits, now);
    take_offer(proxy, offer, server, profile, now)
}
