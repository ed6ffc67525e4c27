//! Names that move: connections at an address that their server's name does not have any more are let go, as soon as
//! there is another one. So are those that were made in a way that is none any more, as with another certificate.
//!
//! ```text
//!   a lookup     handle_lookup, handle_outdated for each connection, handle_resolved ─► review
//!   a reload     handle_outdated for each connection, handle_renewal ─► review
//!   Connecting   one connection more than the pool may have, if need be; the old ones are used meanwhile. While it
//!                can not be made they stay, and it is tried again, as after any other connect that failed
//!   LettingGo    it is ready: of the old ones none takes a new request. They close when they owe nothing, those that a
//!                client has for itself when it is done, and after RETIRED_MS as those of a server that is removed
//! ```
//!
//! A server is not judged by a connect that fails while old connections serve it: where they are is not where that one
//! went. What is published is heard at the old address until a connection to the new one is ready, and then there.
//!
//! Which connection is outdated the shell knows, which looks names up; when that is done, it is asked here
//! ([`Action::Resolve`](super::interface::Action::Resolve)) and decided there.

use std::{fmt, mem};

use log::Level;

use super::backend_close_reason::BackendCloseReason;
use super::interface::Timer;
use super::reload::RETIRED_MS;
use super::state::Proxy;
use super::upstreams::Upstreams;
use super::whereabouts::Renewal;
use super::{connect, drain, recover, reload};
use crate::notice::{About, Kind};
use crate::request::Role;
use crate::server_id::ServerId;
use crate::session::Profile;
use crate::slots::Id;
use crate::timer::Millis;

/// Which connections of a server are outdated was told.
pub(super) fn handle_renewal(proxy: &mut Proxy, server: ServerId, now: Millis) {
    if !proxy.upstreams.is_retired(server) {
        review(proxy, server, now);
    }
}

/// A lookup of its name has ended: the addresses, or why there are none, in words.
pub(super) fn handle_lookup(proxy: &mut Proxy, server: ServerId, outcome: Result<&str, &str>, now: Millis) {
    let Some(known) = proxy.upstreams.whereabouts_mut(server) else { return };
    known.looked_up_at = now;
    known.lookups[0] += 1;
    known.lookups[1] += u64::from(outcome.is_err());
    match outcome {
        Ok(addresses) => on_found(proxy, server, addresses),
        Err(reason) => on_not_found(proxy, server, reason),
    }
}

fn on_found(proxy: &mut Proxy, server: ServerId, addresses: &str) {
    let Some(known) = proxy.upstreams.whereabouts_mut(server) else { return };
    let before = mem::replace(&mut known.addresses, addresses.to_owned());
    let was_lost = mem::replace(&mut known.is_lost, false);
    if !before.is_empty() && before != addresses {
        known.changes += 1;
        note(proxy, server, Level::Info, format_args!("its name has other addresses now: {addresses}"));
    } else if was_lost {
        note(proxy, server, Level::Info, format_args!("its name is found again"));
    }
}

fn on_not_found(proxy: &mut Proxy, server: ServerId, reason: &str) {
    let Some(known) = proxy.upstreams.whereabouts_mut(server) else { return };
    if known.addresses.is_empty() || known.is_lost {
        // The first connect fails for it, and says so; and once is enough.
        return;
    }
    known.is_lost = true;
    let addresses = known.addresses.clone();
    note(proxy, server, Level::Warn, format_args!("{reason}; what was found before is used: {addresses}"));
}

/// Until when the certificate is good that it has shown.
pub(super) fn handle_certificate(upstreams: &mut Upstreams, server: ServerId, until_unix_ms: u64) {
    if let Some(known) = upstreams.whereabouts_mut(server) {
        known.certificate_until_unix_ms = until_unix_ms;
    }
}

fn note(proxy: &mut Proxy, server: ServerId, level: Level, text: fmt::Arguments<'_>) {
    proxy.journal.notices.note(Kind::Address, About::Server(server), level, 1, text);
}

/// Looks at all servers whose connections do not follow their names yet. To be called in each turn, while there are
/// any.
#[cold]
#[inline(never)]
pub(super) fn review_all(proxy: &mut Proxy, now: Millis) {
    proxy.upstreams.set_renewing(false);
    for slot in 0..proxy.upstreams.slots() {
        let server = proxy.upstreams.server_in(slot);
        if proxy.upstreams.whereabouts(server).renewal != Renewal::Following {
            review(proxy, server, now);
        }
    }
}

/// A turn was needed, in which those were let go that are late.
pub(super) fn on_due(proxy: &mut Proxy, server: ServerId) {
    if let Some(known) = proxy.upstreams.whereabouts_mut(server) {
        known.alarm.on_fired();
    }
}

/// What there is of a server's connections.
#[derive(Default)]
struct Census {
    /// Outdated, and not on the way to being closed.
    outdated: Vec<Id>,
    /// True exactly when there are some that are outdated, and only owe something.
    is_draining: bool,
    /// True exactly when one is ready at an address of the name.
    is_ready: bool,
    /// True exactly when one is on its way there.
    is_on_its_way: bool,
    /// How many there are at an address of the name, in any state.
    current: usize,
}

fn census(proxy: &Proxy, server: ServerId) -> Census {
    let mut census = Census::default();
    for (id, backend) in proxy.upstreams.backends() {
        if backend.server() != server || backend.is_closed() {
            continue;
        }
        if backend.is_outdated() {
            if backend.is_draining() {
                census.is_draining = true;
            } else {
                census.outdated.push(id);
            }
        } else if backend.is_pooled() {
            census.current += 1;
            census.is_ready |= backend.is_ready();
            census.is_on_its_way |= backend.is_setting_up();
        }
    }
    census
}

/// Looks what is to be done about the connections of a server.
fn review(proxy: &mut Proxy, server: ServerId, now: Millis) {
    let census = census(proxy, server);
    let before = proxy.upstreams.whereabouts(server).renewal;
    let after = match before {
        _ if census.outdated.is_empty() && !census.is_draining => Renewal::Following,
        _ if census.outdated.is_empty() => before,
        Renewal::LettingGo { .. } if census.is_ready => before,
        _ if census.is_ready => Renewal::LettingGo { until: now + RETIRED_MS },
        Renewal::Connecting { .. } => before,
        // It may have moved once more.
        Renewal::Following | Renewal::LettingGo { .. } => Renewal::Connecting { has_failed: false },
    };
    if let Some(known) = proxy.upstreams.whereabouts_mut(server) {
        known.renewal = after;
        match after {
            Renewal::LettingGo { until } if until > now => {
                known.alarm.set(&mut proxy.wheel, Timer::Renewal(server), until);
            }
            _ => {}
        }
    }
    match after {
        Renewal::Following if before == after => return,
        // If the address is back, there may be more than the pool may have.
        Renewal::Following => return reload::shrink(proxy),
        Renewal::Connecting { .. } if census.outdated.is_empty() || census.is_on_its_way => {}
        Renewal::Connecting { .. } => {
            // Those that owe something still are no reason to make ever more.
            if census.current < proxy.settings.pool_size && proxy.upstreams.may_renew(server, now) {
                connect::open_backend(proxy, server, Profile::default(), now);
            }
        }
        Renewal::LettingGo { until } => {
            for id in census.outdated {
                let_go(proxy, id, until <= now, now);
            }
        }
    }
    proxy.upstreams.set_renewing(true);
}

/// An outdated connection is no longer needed, unless a client has it for itself, and time is left.
fn let_go(proxy: &mut Proxy, id: Id, is_late: bool, now: Millis) {
    let Some(backend) = proxy.upstreams.backend(id) else { return };
    let is_blocking = |request| proxy.in_flight.requests[request].role() == Role::Blocking;
    match backend {
        // A new one hears what is published from now on; one that is not ready yet is not missed.
        _ if backend.is_subscription() => {
            if backend.is_ready() || is_late {
                recover::lose_backend(proxy, id, BackendCloseReason::Outdated, now);
            }
        }
        _ if !is_late && backend.is_held() => {}
        // What was asked on it, and is not sent, waits for it: for another one there may be no room.
        _ if backend.is_setting_up() && !backend.in_flight().is_empty() => {}
        _ if is_late && backend.in_flight().iter(&proxy.in_flight.requests).any(is_blocking) => {
            recover::lose_backend(proxy, id, BackendCloseReason::Outdated, now);
        }
        _ => drain::drain_backend(&mut proxy.upstreams, &mut proxy.turn, id),
    }
}
