//! Masters that move: sentinels have said where one is, or a connection has found that it is not there.
//!
//! Whoever was the master is none any more: what it would say to requests from now on is worth nothing, and what it is
//! given to write will be lost. So its connections are closed at once:
//!
//! ```text
//!   a shared one, all of whose requests were sent ─► no new request; what they are answered within GRACE_MS counts
//!   one that a client has for itself, or that hears, or is on its way, or has something unsent ─► closed
//!   what they owe ─► as of any connection that is lost (`recover`): nothing sent: the new master; a read: once more
//! ```
//!
//! Requests that were sent before the move was known have been run, or will not be: whichever it is, their replies say
//! it, and an error that says "perhaps" does not.
//!
//! Of the new one nothing is known but what it is asked now: its health begins anew.

use super::backend_close_reason::BackendCloseReason;
use super::interface::Timer;
use super::mastership::Seat;
use super::state::Proxy;
use super::turn::FollowUp;
use super::{connect, merged, recover};
use crate::backend::{Backend, TlsStage};
use crate::server::Health;
use crate::server_id::ServerId;
use crate::slots::Id;
use crate::timer::Millis;

/// What was sent to a master that is none any more is answered within so long, or not at all, in milliseconds.
pub(super) const GRACE_MS: u64 = 100;

/// This server is there from now on.
pub(super) fn handle_moved(proxy: &mut Proxy, server: ServerId, address: &str, now: Millis) {
    if proxy.upstreams.is_retired(server) {
        return;
    }
    let Some(master) = proxy.upstreams.mastership_mut(server) else { return };
    if master.address == address {
        return try_again(proxy, server);
    }
    let is_first = master.address.is_empty();
    master.switches += u64::from(!is_first);
    (master.address, master.moved_at) = (address.to_owned(), now);
    if let Some(known) = proxy.upstreams.whereabouts_mut(server) {
        // They were another name's.
        (known.addresses, known.is_lost) = (String::new(), false);
    }
    begin_anew(proxy, server, now);
    if !is_first {
        leave(proxy, server, now);
    }
    try_again(proxy, server);
    connect::open_if_none(proxy, server, now);
}

/// Nothing is known of its health.
fn begin_anew(proxy: &mut Proxy, server: ServerId, now: Millis) {
    let before = proxy.upstreams.health(server);
    proxy.upstreams.revive(server, &proxy.settings);
    if before != Health::Up {
        proxy.upstreams.on_changed(server, before, Some(String::new()), now);
    }
    if !before.is_up() {
        proxy.router.set_up(server, true);
        proxy.turn.follow_up(FollowUp::Turned(server, true));
    }
    proxy.turn.room_is_new();
}

/// Closes the connections to who was the master, now or soon.
fn leave(proxy: &mut Proxy, server: ServerId, now: Millis) {
    let mut closed = Vec::new();
    let mut is_any_left = false;
    // First none of them takes anything more: what is saved from one must not be given to the next one.
    for (id, backend) in proxy.upstreams.backends_mut() {
        if backend.server() != server || backend.is_closed() || backend.is_held_back() {
            continue;
        }
        let may_answer = may_answer(backend);
        backend.abandon();
        backend.set_outdated(true);
        is_any_left |= may_answer;
        if !may_answer {
            closed.push(id);
        }
    }
    for id in closed {
        recover::lose_backend(proxy, id, BackendCloseReason::Moved, now);
    }
    if is_any_left {
        proxy.wheel.arm(Timer::Moved(server), now + GRACE_MS);
    }
}

/// Whether a connection to who was the master may answer what it was sent.
fn may_answer(backend: &Backend) -> bool {
    let is_shared = backend.is_pooled() && !backend.is_held() && backend.is_answering();
    is_shared && backend.awaited() > 0 && backend.queue().unsent() == 0
}

/// The time of those that were left is over; or that of a doubt.
pub(super) fn on_moved_due(proxy: &mut Proxy, server: ServerId, now: Millis) {
    let is_left = |backend: &Backend| backend.server() == server && backend.is_outdated() && backend.is_draining();
    let left: Vec<Id> = proxy.upstreams.backends().filter(|(_, backend)| is_left(backend)).map(|(id, _)| id).collect();
    let is_over = |moved_at: Millis| moved_at + GRACE_MS <= now;
    let Some(master) = proxy.upstreams.mastership_mut(server) else { return };
    let (moved_at, seat) = (master.moved_at, master.seat);
    if is_over(moved_at) {
        for id in left {
            recover::lose_backend(proxy, id, BackendCloseReason::Moved, now);
        }
    }
    if matches!(seat, Seat::Doubted { until } if until <= now) {
        try_again(proxy, server);
    }
    merged::finish_merges(proxy, now);
}

/// Makes the connections that were held back.
fn try_again(proxy: &mut Proxy, server: ServerId) {
    let Some(master) = proxy.upstreams.mastership_mut(server).filter(|master| !master.address.is_empty()) else {
        return;
    };
    master.seat = Seat::Known;
    for (id, backend) in proxy.upstreams.backends_mut() {
        if backend.server() == server && backend.let_on() {
            proxy.turn.connect(id, server);
        }
    }
}

/// Whether there is reason to think that a master is not where it was said to be.
pub(super) fn is_lost(proxy: &Proxy, server: ServerId) -> bool {
    let is_doubted = proxy
        .upstreams
        .whereabouts(server)
        .master
        .as_ref()
        .is_some_and(|master| matches!(master.seat, Seat::Doubted { .. }));
    is_doubted || !proxy.upstreams.health(server).is_up()
}

/// Why a backend is not connected in time.
pub(super) fn why_unconnected(proxy: &mut Proxy, id: Id) -> BackendCloseReason {
    let server = proxy.upstreams.backend(id).map(Backend::server);
    match server.and_then(|server| proxy.upstreams.mastership_mut(server)).map(|master| master.seat) {
        Some(Seat::Sought) => BackendCloseReason::Connect("no sentinel has said yet where it is".to_owned()),
        Some(Seat::Doubted { .. }) => BackendCloseReason::Connect("its master is sought".to_owned()),
        _ => BackendCloseReason::ConnectTimeout(proxy.upstreams.backend(id).map_or(TlsStage::Plain, Backend::tls)),
    }
}
