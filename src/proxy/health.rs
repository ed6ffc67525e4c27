//! Connects, handshakes, draining and probes: a backend from its first byte to its last reply, and whether its server
//! is up. What becomes of a backend that is lost is in `recover`.
//!
//! What is known of a server is judged in `server`; here it is told what has happened, and what follows from its
//! verdict is done. Each of these begins with `note`, which takes in what the connections have shown, and ends with
//! `conclude`, which compares: the log is told when something has changed, and only then.
//!
//! ```text
//!   what requests do while their server is …
//!   up         go to a connection, which may still be on its way; wait in line if there is none to be had
//!   unsteady   the same; but connections are made one by one, with delays: more wait in line
//!   silent     the same, with one new connection in each remoteConnectTimeout: when it is not answered in time, all
//!              that waits for it gets an error
//!   down       go to the server that stands in; where none does, get an error at once
//! ```

use std::fmt;

use log::Level;

use super::backend_close_reason::BackendCloseReason;
use super::pubsub::Pubsub;
use super::state::Proxy;
use super::turn::FollowUp;
use super::upstreams::Upstreams;
use super::whereabouts::Whereabouts;
use super::{connect, drain, mark, report, subscription_connection};
use crate::backend::Backend;
use crate::backend::handshake::Demand;
use crate::cluster::RefreshCause;
use crate::notice::{About, Kind};
use crate::server::{Health, Seen};
use crate::server_id::ServerId;
use crate::session::Profile;
use crate::slots::Id;
use crate::timer::Millis;

/// A backend's socket is connected.
pub(super) fn handle_connected(proxy: &mut Proxy, id: Id, now: Millis) {
    let Some(server) = proxy.upstreams.backend(id).map(Backend::server) else { return };
    let is_reader = proxy.settings.cluster && proxy.upstreams.is_replica(server);
    let demand = match proxy.upstreams.mastership_mut(server) {
        Some(_) => Demand::Master,
        None if is_reader => Demand::Reads,
        None => Demand::Nothing,
    };
    let Some(backend) = proxy.upstreams.backend_mut(id) else { return };
    if backend.on_connected(proxy.settings.credentials.as_ref(), demand, now) {
        backend.on_told(proxy.authentication.number());
        mark::mark_backend_dirty(&mut proxy.upstreams, &mut proxy.turn, id);
    }
}

/// Takes in what the connections to a server have shown so far. Returns how it was thought to be.
pub(super) fn note(upstreams: &mut Upstreams, pubsub: &Pubsub, server: ServerId, now: Millis) -> Health {
    let heard_at = subscription_connection::subscription_heard_at(pubsub, server);
    upstreams.note(server, heard_at, now)
}

/// Something was told about a server, which was like `before`: `why` says what.
pub(super) fn conclude(proxy: &mut Proxy, server: ServerId, before: Health, why: &dyn fmt::Display, now: Millis) {
    if proxy.upstreams.is_retired(server) {
        // How it is makes no difference to anybody.
        return;
    }
    connect::keep_pace(&mut proxy.upstreams, &mut proxy.wheel, server, now);
    let Some(after) = proxy.upstreams.conclude(server, before) else { return };
    proxy.router.replicas_mut().set_health(server, after.is_up(), after == Health::Up);
    let is_worse = !matches!(after, Health::Up | Health::Probing { .. });
    proxy.upstreams.on_changed(server, before, is_worse.then(|| why.to_string()), now);
    if before.is_up() && !after.is_up() {
        proxy.router.set_up(server, false);
    }
    let ms = now - before.since().unwrap_or(now);
    let about = About::Server(server);
    let mut warn = |text| proxy.journal.notices.note(Kind::State, about, Level::Warn, 1, text);
    match after {
        Health::Down { .. } if before.is_up() => warn(format_args!("is down: {why}")),
        Health::Down { .. } | Health::Probing { .. } => {}
        Health::Silent { .. } => warn(format_args!("is silent: {why}")),
        Health::Unsteady { .. } => warn(format_args!("is unsteady: {why}; it was of no use to anybody")),
        Health::Mute { .. } if before.is_up() => warn(format_args!("is mute: {why}")),
        _ => {
            let what = match after {
                Health::Mute { .. } => "answers PING, and is on trial",
                _ if before.is_up() => "is well",
                _ => "is up",
            };
            proxy.journal.notices.note(Kind::State, about, Level::Info, 1, format_args!("{what} again, after {ms} ms"));
        }
    }
    if before.is_up() && !after.is_up() {
        proxy.turn.follow_up(FollowUp::Turned(server, false));
    } else if after.is_up() && !before.is_up() {
        proxy.router.set_up(server, true);
        proxy.turn.follow_up(FollowUp::Turned(server, true));
    }
    if after == Health::Up {
        // Who had to wait for the next connection need not wait any more.
        proxy.turn.room_is_new();
    }
}

/// Looks whether a server that is not well has become so: when time passes, since replies do not come by here.
pub(super) fn review(proxy: &mut Proxy, server: ServerId, now: Millis) {
    if proxy.upstreams.health(server) != Health::Up {
        let before = note(&mut proxy.upstreams, &proxy.pubsub, server, now);
        proxy.upstreams.health_mut(server).review();
        conclude(proxy, server, before, &"", now);
    }
}

/// A connection is lost, which was begun, or ready, at `began_at`. `has_asked` says whether it leaves requests
/// without a reply.
pub(super) fn judge_loss(
    proxy: &mut Proxy,
    server: ServerId,
    lost: (Seen, Millis, bool),
    reason: &BackendCloseReason,
    now: Millis,
) {
    let (seen, began_at, has_asked) = lost;
    let random = proxy.upstreams.random();
    let is_serving_others = proxy.upstreams.backends_of(server).any(|(_, other)| other.is_ready());
    let is_new = seen.ready_at.is_none();
    let is_elsewhere =
        is_new && proxy.upstreams.backends_of(server).any(|(_, other)| other.is_ready() && other.is_outdated());
    let before = note(&mut proxy.upstreams, &proxy.pubsub, server, now);
    let health = proxy.upstreams.health_mut(server);
    health.note(seen, now);
    match reason {
        // A probe that was given up has told nothing: another one has to.
        _ if !reason.blames_server() && is_new && matches!(health.health(), Health::Probing { .. }) => {
            health.on_failed(now, random);
        }
        _ if !reason.blames_server() => {}
        // It says nothing of the server where that is.
        _ if is_elsewhere && health.is_up() => {
            health.on_full(began_at, now, random);
            if proxy.upstreams.whereabouts_mut(server).is_some_and(Whereabouts::on_failed) {
                let text = "connections from before are used";
                report::warn_of(&mut proxy.journal, Kind::Refused, server, 1, format_args!("{reason}; {text}"));
            }
        }
        BackendCloseReason::ConnectTimeout(_) => health.on_silence(began_at, true, now, random),
        BackendCloseReason::Refused(_) if is_new && is_serving_others && health.is_up() => {
            health.on_full(began_at, now, random);
            report::warn_of(&mut proxy.journal, Kind::Refused, server, 1, format_args!("{reason}"));
        }
        _ if is_new => health.on_failed(now, random),
        BackendCloseReason::WriteTimeout | BackendCloseReason::Stalled | BackendCloseReason::SubscribeTimeout => {}
        _ if seen.was_of_use(now) => {}
        _ => {
            health.on_useless(began_at, now, random);
            if has_asked {
                health.on_unanswered(began_at, now, random);
            }
        }
    }
    conclude(proxy, server, before, reason, now);
    let is_lost = has_asked || !proxy.upstreams.health(server).is_up();
    if proxy.settings.cluster && reason.blames_server() && is_lost {
        // Another node may have its slots by now.
        proxy.turn.refresh(RefreshCause::Lost);
    }
}

/// A server did not answer what it was asked at `asked_at`; `is_request` if that was a request of a client. A fresh
/// connection finds out whether it is there.
pub(super) fn suspect(proxy: &mut Proxy, server: ServerId, asked_at: Millis, is_request: bool, now: Millis) {
    let random = proxy.upstreams.random();
    let before = note(&mut proxy.upstreams, &proxy.pubsub, server, now);
    let health = proxy.upstreams.health_mut(server);
    health.on_silence(asked_at, false, now, random);
    if is_request {
        health.on_unanswered(asked_at, now, random);
    }
    let ms = health.failing_ms(now);
    conclude(proxy, server, before, &format_args!("it answers PING, and no request for {ms} ms"), now);
    if !is_being_looked_at(&proxy.upstreams, server) {
        maybe_open(proxy, server, now);
    }
}

/// Opens a connection to a server, if that may be done now, and if it has none; or if it is silent, and nobody
/// listens whether it still is.
pub(super) fn maybe_look(proxy: &mut Proxy, server: ServerId, now: Millis) {
    let is_silent = matches!(proxy.upstreams.health(server), Health::Silent { .. });
    let has_any = proxy.upstreams.backends_of(server).any(|(_, backend)| backend.is_serving());
    if !has_any || is_silent && !is_being_looked_at(&proxy.upstreams, server) {
        maybe_open(proxy, server, now);
    }
}

fn maybe_open(proxy: &mut Proxy, server: ServerId, now: Millis) {
    if proxy.upstreams.may_open(server, now) {
        connect::open_backend(proxy, server, Profile::default(), now);
    }
}

fn is_being_looked_at(upstreams: &Upstreams, server: ServerId) -> bool {
    upstreams.backends_of(server).any(|(_, other)| other.is_setting_up())
}

/// The time has come to look at a server: to see whether it can be reached again, if it is down; else to make the
/// connection that had to wait.
pub(super) fn on_probe_due(proxy: &mut Proxy, server: ServerId, now: Millis) {
    let Some(is_probe_due) = proxy.upstreams.on_probe_due(server, now) else { return };
    if !is_probe_due {
        review(proxy, server, now);
        // Before it is looked: after other settings the pause may be shorter, and nobody comes by here again.
        connect::keep_pace(&mut proxy.upstreams, &mut proxy.wheel, server, now);
        proxy.turn.room_is_new();
        return maybe_look(proxy, server, now);
    }
    // It is counted, and does not wait.
    if !proxy.upstreams.pool(server).is_full() {
        connect::open_backend(proxy, server, Profile::default(), now);
    } else {
        // Every place is taken by a connection that still owes something, or there were more places when this server
        // went down: look again later.
        let idle = proxy.upstreams.backends_of(server).find(|(_, backend)| backend.is_idle()).map(|(id, _)| id);
        if let Some(idle) = idle {
            drain::drain_backend(&mut proxy.upstreams, &mut proxy.turn, idle);
        }
        let random = proxy.upstreams.random();
        proxy.upstreams.health_mut(server).on_failed(now, random);
        connect::keep_pace(&mut proxy.upstreams, &mut proxy.wheel, server, now);
    }
}
