//! Replies to handshakes: what a server says before it is given a request.

use super::authentication::Authentication;
use super::backend_close_reason::BackendCloseReason;
use super::interface::{NO_DEADLINE, Timer};
use super::mastership::Seat;
use super::settings::Settings;
use super::state::Proxy;
use super::{
    answer, authenticate, enqueue, health, leases, mark, recover, replica_watch, report, subscription_connection, zone,
};
use crate::backend::Backend;
use crate::backend::handshake::{self, Handshake, Introduction, Refusal, Step};
use crate::notice::{Kind, printable};
use crate::request::RequestId;
use crate::slots::Id;
use crate::timer::Millis;

/// Who is no master is not asked again whether he is one for so long, in milliseconds.
const DOUBT_MS: u64 = 250;

/// The reply to the next step of a handshake.
pub(super) fn on_handshake_reply(
    proxy: &mut Proxy,
    id: Id,
    reply: &[u8],
    now: Millis,
) -> Result<(), BackendCloseReason> {
    let words = reply.starts_with(b"-").then(|| refusal_text(&proxy.settings, &proxy.authentication, reply));
    let Some(backend) = proxy.upstreams.backend_mut(id) else { return Ok(()) };
    let Some(handshake) = backend.handshake_mut() else { return Ok(()) };
    if !handshake.has_begun() {
        // Before it was asked, a server may say that it has no place for us, and nothing else.
        return Err(words.map_or(BackendCloseReason::UnsolicitedReply, BackendCloseReason::Refused));
    }
    let step = handshake.next_step().ok_or(BackendCloseReason::UnsolicitedReply)?;
    on_step_answered(proxy, id, step, reply, words, now)?;
    if let Step::Hello(_) = step {
        if let Some((told, number)) = Introduction::read(reply) {
            proxy.upstreams.on_introduced(id, told, number);
        }
    }
    let Some(backend) = proxy.upstreams.backend_mut(id) else { return Ok(()) };
    if !backend.handshake().is_some_and(Handshake::is_done) {
        return Ok(());
    }
    let (is_first, refusal) = backend.on_greeted(now);
    let server = backend.server();
    // What is refused is what its own client wants: nobody else changes places with that one.
    if refusal.is_none() {
        leases::on_ready_to_block(proxy, id);
    }
    let Some(backend) = proxy.upstreams.backend_mut(id) else { return Ok(()) };
    // What has waited for this is looked at in its own time, which may be shorter than that of a connect.
    let first = backend.in_flight().first().map(|request| proxy.in_flight.requests[request].deadline());
    if let Some(deadline) = first.filter(|&deadline| deadline != NO_DEADLINE) {
        backend.wake_at(&mut proxy.wheel, Timer::Backend(id), deadline);
    }
    mark::mark_backend_dirty(&mut proxy.upstreams, &mut proxy.turn, id);
    let before = health::note(&mut proxy.upstreams, &proxy.pubsub, server, now);
    let health = proxy.upstreams.health_mut(server);
    if is_first {
        health.on_greeted(now);
    } else {
        health.on_heard(now);
    }
    health::conclude(proxy, server, before, &"", now);
    if let Some(refusal) = refusal {
        refuse_queued(proxy, id, &refusal, now);
    }
    if is_first {
        zone::on_ready(proxy, id, now);
    }
    replica_watch::on_ready(proxy, id, server, now);
    subscription_connection::maybe_hear(proxy, id, now);
    Ok(())
}

/// A server has answered a step of a handshake; `words` are those that the log may have, if it was an error.
fn on_step_answered(
    proxy: &mut Proxy,
    id: Id,
    step: Step,
    reply: &[u8],
    words: Option<String>,
    now: Millis,
) -> Result<(), BackendCloseReason> {
    let Some(handshake) = proxy.upstreams.backend_mut(id).and_then(Backend::handshake_mut) else { return Ok(()) };
    let checked = step.check(reply);
    match checked {
        Ok(()) => handshake.on_done(step),
        Err(Refusal::Server) => {
            let words = authenticate::refusal(proxy, step, words.unwrap_or_else(|| printable(reply)));
            return Err(BackendCloseReason::Refused(words));
        }
        Err(Refusal::Profile) => handshake.on_refused(step, reply),
        Err(Refusal::Kept) => {}
        Err(Refusal::Role) => return Err(doubt(proxy, id, reply, now)),
    }
    handshake.on_answered(words.clone());
    match (checked, words) {
        (Ok(()), Some(words)) if step == Step::Role => note_unspoken(proxy, id, &words),
        (Ok(()), _) => authenticate::on_taken(proxy, id, step),
        (Err(Refusal::Kept), Some(words)) => authenticate::on_refused_again(proxy, id, &words),
        _ => {}
    }
    Ok(())
}

/// The server is no master: nobody tries again there for a while, or before it is known to be elsewhere.
fn doubt(proxy: &mut Proxy, id: Id, reply: &[u8], now: Millis) -> BackendCloseReason {
    let reason = BackendCloseReason::NotMaster(printable(handshake::role_text(reply).as_bytes()));
    let Some(server) = proxy.upstreams.backend(id).map(Backend::server) else { return reason };
    if let Some(master) = proxy.upstreams.mastership_mut(server) {
        let until = now + DOUBT_MS;
        master.seat = Seat::Doubted { until };
        proxy.wheel.arm(Timer::Moved(server), until);
    }
    report::warn_of(&mut proxy.journal, Kind::Refused, server, 1, format_args!("{reason}; its sentinels are asked"));
    reason
}

/// The server does not say whether it is a master. That is told once.
fn note_unspoken(proxy: &mut Proxy, id: Id, words: &str) {
    let Some(server) = proxy.upstreams.backend(id).map(Backend::server) else { return };
    let Some(master) = proxy.upstreams.mastership_mut(server) else { return };
    if !std::mem::replace(&mut master.is_unspoken, true) {
        report::warn_of(
            &mut proxy.journal,
            Kind::Refused,
            server,
            1,
            format_args!("it does not say whether it is a master ({words}): that is believed from now on"),
        );
    }
}

/// What a server said to a step that it refuses, fit for a log line: without the password.
pub(super) fn refusal_text(settings: &Settings, authentication: &Authentication, reply: &[u8]) -> String {
    let all = settings.credentials.iter().chain(authentication.former());
    all.fold(printable(reply), |text, credentials| credentials.without_secret(&text))
}

/// The server does not do what the clients of this backend want: each of its requests, none of them sent, gets the
/// server's own words.
pub(super) fn refuse_queued(proxy: &mut Proxy, id: Id, refusal: &[u8], now: Millis) {
    let Some(backend) = proxy.upstreams.backend_mut(id) else { return };
    let server = backend.server();
    let unanswered = backend.refuse_unsent(&mut proxy.in_flight.arena);
    leases::on_lease_lost(&mut proxy.clients, &mut proxy.turn, id, unanswered.owner);
    let requests: Vec<RequestId> = unanswered.in_flight.iter(&proxy.in_flight.requests).collect();
    for request in requests {
        let entry = &mut proxy.in_flight.requests[request];
        entry.leave_backend();
        let client = entry.client();
        if client == Id::NONE {
            proxy.in_flight.requests.remove(request);
        } else {
            enqueue::unpin(&mut proxy.clients, &mut proxy.turn, client, server);
            if unanswered.uploader == Some(client) {
                recover::discard_upload(&mut proxy.clients, &mut proxy.turn, client, request, now);
            }
            answer::deliver_error(proxy, client, request, refusal, now);
        }
    }
}
