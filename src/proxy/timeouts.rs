//! What becomes of a deadline that has passed.
//!
//! Each connection has at most one entry in the wheel. Activity moves deadlines by writing a field and leaves the entry
//! where it is; so an entry that fires is a question, not an answer: what is this connection waiting for now, and until
//! when? Then it is late, or the entry is set again.
//!
//! ```text
//!   client   parked: its wait is over · replies that it does not take · nothing heard, and nothing owed · the rest of
//!            a request, of which nothing more comes
//!   backend  no handshake yet · the oldest request · bytes that the server does not take · idle, and not the only one
//!   server   down: time for a probe
//! ```

use super::backend_close_reason::BackendCloseReason;
use super::bulk::{self, pause_deadline};
use super::call::{Standing, When};
use super::client_close_reason::ClientCloseReason;
use super::clients::Clients;
use super::in_flight::InFlight;
use super::interface::{NO_DEADLINE, Timer, Wire};
use super::settings::Settings;
use super::state::Proxy;
use super::{
    answer, authenticate, await_master, client_read, close, delivery, denial, dismiss, dispatch, drain, enqueue,
    health, kept, memory, merged, moved, publish, reask, recover, redirect, redirect_lease, redirect_whole, reload,
    renew, replica_watch, report, reroute, resend, slow, subscription_connection, subscription_read,
};
use crate::backend::{Backend, Phase};
use crate::client::{Flow, Need};
use crate::notice::Kind;
use crate::request::{Place, Request, RequestId};
use crate::server_id::ServerId;
use crate::slots::Id;
use crate::timer::Millis;

/// A connection that is not the only one to its server is closed when it was of no use for so long, in milliseconds.
const IDLE_MS: u64 = 30_000;
/// The same for the only one to a node of a cluster: of 200 nodes most hosts ask few.
const LAST_IDLE_MS: u64 = 300_000;

/// Time has passed.
pub(super) fn handle_timeouts<W: Wire>(proxy: &mut Proxy, now: Millis, wire: &mut W) {
    // First, so that of two that are too many the outdated one goes.
    if proxy.upstreams.is_renewing() {
        renew::review_all(proxy, now);
    }
    if proxy.upstreams.is_shrinking() {
        reload::shrink(proxy);
    }
    if proxy.authentication.is_owed() {
        authenticate::authenticate_idle(proxy, now);
    }
    proxy.wheel.advance(now);
    while let Some(timer) = proxy.wheel.poll_expired() {
        match timer {
            Timer::Client(id) => on_client_alarm(proxy, id, now, wire),
            Timer::Backend(id) => on_backend_alarm(proxy, id, now),
            Timer::Probe(server) => health::on_probe_due(proxy, server, now),
            Timer::Subscription(server) => subscription_connection::on_subscription_due(proxy, server, now),
            Timer::Retired(server) => reload::on_retired(proxy, server, now),
            Timer::Replica(server) => replica_watch::on_due(proxy, server, now),
            Timer::Moved(server) => moved::on_moved_due(proxy, server, now),
            Timer::Renewal(server) => renew::on_due(proxy, server),
            Timer::Dismiss => dismiss::on_dismiss_due(proxy, now),
            Timer::Held => proxy.held.look.on_woken(),
            Timer::Redirected => proxy.redirected.look.on_woken(),
            Timer::Relocations => proxy.relocations.on_woken(),
            Timer::Authenticate => authenticate::on_due(proxy, now),
        }
    }
    // In most turns there is nothing: one test for all of it.
    if proxy.held.refusals() | proxy.redirected.size() | proxy.relocations.count() != 0 {
        send_again(proxy, now);
    }
}

/// Sends again what servers have refused to run, as far as its time has come.
#[cold]
#[inline(never)]
fn send_again(proxy: &mut Proxy, now: Millis) {
    if !proxy.held.is_empty() {
        await_master::go_on(proxy, now);
    }
    if !proxy.redirected.is_empty() {
        resend::go_on(proxy, now);
    }
    if !proxy.relocations.is_empty() {
        redirect_lease::go_on(proxy, now);
    }
}

fn on_client_alarm<W: Wire>(proxy: &mut Proxy, id: Id, now: Millis, wire: &mut W) {
    let Some(client) = proxy.clients.get_mut(id) else { return };
    client.on_woken();
    let flow = client.flow();
    match flow {
        Flow::AwaitingBackend { server, need, deadline } if deadline <= now => {
            return on_wait_over(proxy, id, server, need, now, wire);
        }
        Flow::Denied { request, until } if until <= now => denial::on_denial_over(proxy, id, request, now),
        // It publishes now, whoever hears it.
        Flow::Subscribing => proxy.turn.wake(id),
        Flow::Paused { since, is_full }
            if pause_deadline(&proxy.settings.timeouts, since, is_full).is_some_and(|deadline| deadline <= now) =>
        {
            on_paused_for_long(proxy, id, since, is_full, now);
        }
        _ => {}
    }
    bulk::check_unread(proxy, id, now);
    if proxy.clients.get(id).is_some_and(|client| client.subscriber().is_some()) {
        delivery::check_subscriber(proxy, id, now);
    }
    let publish_deadline = publish::publisher_deadline(&proxy.pubsub, id).filter(|&deadline| deadline > now);
    let timeouts = &proxy.settings.timeouts;
    let Some(client) = proxy.clients.get_mut(id).filter(|client| !client.is_closed()) else { return };
    // What was queued in this turn was not offered yet: only a full socket makes no progress.
    let write_deadline = (client.connection().is_write_blocked() && timeouts.local_write_ms > 0)
        .then(|| client.connection().took_at() + timeouts.local_write_ms);
    let is_to_speak = match client.flow() {
        // As in Redis, who hears messages need not say anything.
        Flow::Open => client.is_quiet() && !client.is_hearing(),
        // The request that it is sending stands in its line already.
        Flow::Uploading { request, .. } => {
            client.replies().unsent() == 0 && client.reply_order().first().is_none_or(|first| first == request)
        }
        _ => false,
    };
    // While it is owed something there is no deadline yet, but there will be one: look again.
    let heard_at = if is_to_speak { client.connection().heard_at() } else { now };
    let read_deadline = (timeouts.local_read_ms > 0).then(|| heard_at + timeouts.local_read_ms);
    let wait_deadline = match client.flow() {
        Flow::AwaitingBackend { deadline, .. } | Flow::Denied { until: deadline, .. } => Some(deadline),
        Flow::Subscribing => publish_deadline,
        Flow::Paused { since, is_full } => pause_deadline(timeouts, since, is_full),
        _ => None,
    };
    if write_deadline.is_some_and(|deadline| deadline <= now) {
        return close::close_client(proxy, id, ClientCloseReason::WriteTimeout);
    }
    let request_deadline = kept::request_deadline(proxy, id, now);
    if request_deadline.is_some_and(|deadline| deadline <= now) {
        return on_request_stopped(proxy, id, now);
    }
    if read_deadline.is_some_and(|deadline| deadline <= now) {
        return close::close_client(proxy, id, ClientCloseReason::ReadTimeout);
    }
    let next = [write_deadline, read_deadline, wait_deadline, request_deadline].into_iter().flatten().min();
    if let (Some(next), Some(client)) = (next, proxy.clients.get_mut(id)) {
        client.wake_at(&mut proxy.wheel, Timer::Client(id), next);
    }
}

/// A client has stopped inside a request.
fn on_request_stopped(proxy: &mut Proxy, id: Id, now: Millis) {
    let Some(client) = proxy.clients.get(id) else { return };
    let Some((ms, key)) = kept::request_limit(&proxy.settings, &proxy.upstreams, client) else { return };
    if client.connection().is_write_blocked() && client.connection().took_at() + ms <= now {
        return close::close_client(proxy, id, ClientCloseReason::RequestTimeout);
    }
    client_read::end_with(
        proxy,
        id,
        Kind::ClientStopped,
        format_args!("The rest of a request did not come within {key} ({ms} ms)"),
    );
    if let Some(kept) = memory::take_kept(&mut proxy.clients, &mut proxy.in_flight, id) {
        proxy.reading.spare(kept);
    }
}

/// A client has waited for a backend as long as it may: its next request is answered with an error.
fn on_wait_over<W: Wire>(proxy: &mut Proxy, id: Id, server: ServerId, need: Need, now: Millis, wire: &mut W) {
    if dispatch::unpark(proxy, id, server, need, now).is_none() {
        return;
    }
    let read_ms = proxy.settings.timeouts.local_read_ms;
    if let Some(client) = proxy.clients.get_mut(id).filter(|_| read_ms > 0) {
        client.wake_at(&mut proxy.wheel, Timer::Client(id), now + read_ms);
    }
    client_read::resume_client(proxy, id, When { now, standing: Standing::WaitOver, waited_ms: 0 }, wire);
}

fn on_backend_alarm(proxy: &mut Proxy, id: Id, now: Millis) {
    let Some(backend) = proxy.upstreams.backend_mut(id) else { return };
    backend.on_woken();
    let next = match *backend.phase() {
        Phase::Closed => return,
        Phase::Connecting | Phase::Handshake(_) => {
            let deadline = backend.since() + proxy.settings.timeouts.remote_connect_ms;
            if deadline <= now {
                let reason = moved::why_unconnected(proxy, id);
                return recover::lose_backend(proxy, id, reason, now);
            }
            Some(deadline)
        }
        Phase::Ready if backend.is_subscription() => match subscription_read::on_subscription_alarm(proxy, id, now) {
            Some(next) => Some(next),
            None => return,
        },
        Phase::Ready | Phase::Settling | Phase::Draining => {
            let write_deadline = backend.took_at() + proxy.settings.timeouts.remote_write_ms;
            if backend.is_write_blocked() && write_deadline <= now {
                let (server, asked_at) = (backend.server(), backend.took_at());
                health::suspect(proxy, server, asked_at, true, now);
                return recover::lose_backend(proxy, id, BackendCloseReason::WriteTimeout, now);
            }
            let server = backend.server();
            health::review(proxy, server, now);
            if !expire(proxy, id, now) {
                return;
            }
            next_backend_deadline(proxy, id, write_deadline, now)
        }
    };
    let Some(backend) = proxy.upstreams.backend_mut(id) else { return };
    if let Some(next) = next {
        backend.wake_at(&mut proxy.wheel, Timer::Backend(id), next);
    }
}

/// When to look at a backend again that has nothing due now; closes it if it is no longer needed.
fn next_backend_deadline(proxy: &mut Proxy, id: Id, write_deadline: Millis, now: Millis) -> Option<Millis> {
    let backend = proxy.upstreams.backend(id)?;
    let mut read_deadline = NO_DEADLINE;
    for request in backend.in_flight().iter(&proxy.in_flight.requests).map(|request| &proxy.in_flight.requests[request])
    {
        read_deadline =
            read_deadline.min(deadline_of(&proxy.settings, &proxy.clients, &proxy.in_flight, backend, request));
        if backend.is_in_bulk() && backend.is_owned_by(request.client()) {
            // Those behind are not due before it.
            break;
        }
    }
    let reroute_at = reroute_at(&proxy.settings, backend).unwrap_or(NO_DEADLINE);
    let write_deadline = backend.is_write_blocked().then_some(write_deadline);
    let idle_deadline = backend.is_idle().then(|| backend.since() + idle_ms(proxy, id, backend));
    let deadlines = [Some(read_deadline), Some(reroute_at), write_deadline, idle_deadline];
    // One that waits without a limit will be idle some time, and then nobody else comes by here.
    let next = deadlines.into_iter().flatten().filter(|&next| next != NO_DEADLINE).min();
    Some(next.unwrap_or(now + IDLE_MS))
}

/// When the time of an outstanding request of this backend is over.
///
/// It does not run while it is the client that is slow, and not the server. In bulk, and behind a large reply to
/// the same client, it runs from the last word of the server, since the client waits for its own replies.
fn deadline_of(
    settings: &Settings,
    clients: &Clients,
    in_flight: &InFlight,
    backend: &Backend,
    request: &Request,
) -> Millis {
    let is_own = request.client() == taker_of(in_flight, backend);
    match request.place() {
        _ if request.is_expired() => NO_DEADLINE,
        Place::Arriving | Place::ArrivingEarly(_) if backend.is_read_paused() => NO_DEADLINE,
        _ if is_own && backend.is_read_paused() => NO_DEADLINE,
        // Held back for the only one who waits there, though nobody has it for himself.
        _ if backend.is_read_paused() && !backend.is_in_bulk() && is_holding_back(clients, request.client()) => {
            NO_DEADLINE
        }
        _ if is_own && request.client() != Id::NONE && request.deadline() != NO_DEADLINE => {
            request.deadline().max(backend.heard_at() + settings.timeouts.remote_read_ms)
        }
        _ => request.deadline(),
    }
}

fn is_holding_back(clients: &Clients, id: Id) -> bool {
    clients.get(id).is_some_and(|client| client.connection().holds_back())
}

/// The client that takes what this backend says now and behind that, if it can be told.
fn taker_of(in_flight: &InFlight, backend: &Backend) -> Id {
    match backend.in_flight().first() {
        _ if backend.is_in_bulk() => backend.owner().unwrap_or(Id::NONE),
        Some(first) if backend.is_in_large_reply() => in_flight.requests[first].client(),
        _ => Id::NONE,
    }
}

/// When those who stand behind a large reply are asked elsewhere, if they can be, and were not.
fn reroute_at(settings: &Settings, backend: &Backend) -> Option<Millis> {
    backend.blocks_others_since().map(|since| since + reroute::reroute_ms(settings))
}

/// Ends the wait of every request of this backend whose time is over. False if the backend is gone over it.
fn expire(proxy: &mut Proxy, id: Id, now: Millis) -> bool {
    let Some(backend) = proxy.upstreams.backend(id) else { return false };
    if reroute_at(&proxy.settings, backend).is_some_and(|at| at <= now) {
        reroute::reroute_and_drain(proxy, id, now);
        if let Some(backend) = proxy.upstreams.backend_mut(id) {
            backend.on_rerouted();
        }
    }
    let Some(backend) = proxy.upstreams.backend(id) else { return false };
    let server = backend.server();
    let due: Vec<RequestId> = match backend.is_in_bulk() && backend.awaited() == own_count(&proxy.clients, backend) {
        // Nobody else waits, and of its own requests the first is due before all others.
        true if first_deadline(&proxy.settings, &proxy.clients, &proxy.in_flight, backend)
            .is_none_or(|deadline| deadline > now) =>
        {
            Vec::new()
        }
        _ => {
            let is_due = |request: &RequestId| {
                deadline_of(
                    &proxy.settings,
                    &proxy.clients,
                    &proxy.in_flight,
                    backend,
                    &proxy.in_flight.requests[*request],
                ) <= now
            };
            backend.in_flight().iter(&proxy.in_flight.requests).filter(is_due).collect()
        }
    };
    let Some(&first) = due.first() else { return maybe_close_idle(proxy, id, now) };
    let deadline =
        deadline_of(&proxy.settings, &proxy.clients, &proxy.in_flight, backend, &proxy.in_flight.requests[first]);
    let asked_at = Millis(deadline.0.saturating_sub(proxy.settings.timeouts.remote_read_ms));
    if matches!(proxy.in_flight.requests[first].place(), Place::Arriving | Place::ArrivingEarly(_)) {
        // The rest of a reply that its client has the start of does not come.
        health::suspect(proxy, server, asked_at, true, now);
        recover::lose_backend(proxy, id, BackendCloseReason::Stalled, now);
        return false;
    }
    let is_speaking = backend.is_in_large_reply();
    expire_requests(proxy, id, &due, server, now);
    // Those for whom it was held back may be told by now.
    bulk::maybe_release(proxy, id, now);
    if !is_speaking {
        // First, so that what was not sent goes to who stands in from now on.
        health::suspect(proxy, server, asked_at, true, now);
    }
    drain::drain_backend(&mut proxy.upstreams, &mut proxy.turn, id);
    proxy.upstreams.backend(id).is_some_and(|backend| !backend.is_closed())
}

/// How many requests of its owner stand in the line of this backend.
fn own_count(clients: &Clients, backend: &Backend) -> usize {
    let affinity =
        backend.owner().and_then(|owner| clients.get(owner)).and_then(|owner| owner.affinity(backend.server()));
    affinity.map_or(0, |affinity| affinity.count as usize)
}

fn first_deadline(settings: &Settings, clients: &Clients, in_flight: &InFlight, backend: &Backend) -> Option<Millis> {
    let mut line = backend.in_flight().iter(&in_flight.requests).map(|request| &in_flight.requests[request]);
    line.find(|request| !request.is_expired())
        .map(|request| deadline_of(settings, clients, in_flight, backend, request))
}

/// Tells the clients of these requests, which are in the order of the line, that their time is over. What comes of
/// their replies is swallowed.
fn expire_requests(proxy: &mut Proxy, id: Id, due: &[RequestId], server: ServerId, now: Millis) {
    let text = format!(
        "-ERR No reply from {} within {} ms; the command may have been run\r\n",
        proxy.upstreams.address(server),
        proxy.settings.timeouts.remote_read_ms
    );
    proxy.upstreams.count_timeouts(server, due.len());
    let clients: Vec<Id> = due.iter().map(|&request| proxy.in_flight.requests[request].client()).collect();
    let mut late_reads = reask::late_reads(proxy, id, due);
    slow::note_expired(proxy, id, due, now);
    redirect_whole::on_expired(proxy, id, due, now);
    enqueue::leave_tombstones(proxy, id, due);
    let missed = clients.iter().filter(|client| **client != Id::NONE).count();
    if missed > 0 {
        report::warn_of(&mut proxy.journal, Kind::Timeout, server, missed, format_args!(""));
    }
    for (&request, client) in due.iter().zip(clients) {
        // It may have been closed over another one, and the request have gone with it.
        if client != Id::NONE && proxy.clients.get(client).is_some_and(|client| !client.is_closed()) {
            if reask::on_late(proxy, request, &mut late_reads, now) {
                continue;
            }
            await_master::on_run(proxy, client, server, now);
            redirect::on_run(proxy, client, request, server, now);
            answer::deliver_error(proxy, client, request, text.as_bytes(), now);
        }
    }
    merged::finish_merges(proxy, now);
}

/// After how long a backend that is of no use is looked at, in milliseconds.
fn idle_ms(proxy: &Proxy, id: Id, backend: &Backend) -> u64 {
    let is_last_of_node = proxy.router.slots().is_some() && is_only_one(proxy, id, backend.server());
    if is_last_of_node { LAST_IDLE_MS } else { IDLE_MS }
}

/// Whether a server has no other backend that serves.
fn is_only_one(proxy: &Proxy, id: Id, server: ServerId) -> bool {
    let is_another = |(other, backend): (Id, &Backend)| other != id && backend.is_serving();
    !proxy.upstreams.backends_of(server).any(is_another)
}

/// Closes a backend that was of no use for a while, unless it is the only one to a server that is no node of a cluster.
/// False if it did.
fn maybe_close_idle(proxy: &mut Proxy, id: Id, now: Millis) -> bool {
    let Some(backend) = proxy.upstreams.backend(id) else { return false };
    if !backend.is_idle() || backend.since() + idle_ms(proxy, id, backend) > now {
        return true;
    }
    if proxy.router.slots().is_none() && is_only_one(proxy, id, backend.server()) {
        // Nothing to look at until it is used again.
        if let Some(backend) = proxy.upstreams.backend_mut(id) {
            backend.on_of_use(now);
        }
        return true;
    }
    recover::lose_backend(proxy, id, BackendCloseReason::Idle, now);
    false
}

/// A client is paused since this point in time, or was when it was looked at last. If it has taken nothing since
/// and has more to say, it is told that it waits in vain, and leaves.
pub(super) fn on_paused_for_long(proxy: &mut Proxy, id: Id, since: Millis, is_full: bool, now: Millis) {
    let Some(client) = proxy.clients.get_mut(id) else { return };
    if !client.connection().is_write_blocked() || client.connection().took_at() > since || client.kept().is_none() {
        return bulk::wait_paused(&proxy.settings, &mut proxy.clients, &mut proxy.wheel, id, now);
    }
    client.enter(Flow::Open);
    let text = match memory::is_memory_short(&proxy.settings, &proxy.in_flight) {
        _ if is_full => {
            let ms = proxy.settings.timeouts.local_request_ms;
            format!("-ERR Too much is unread, and nothing was read within localRequestTimeout ({ms} ms)\r\n")
        }
        true => {
            let max = proxy.settings.limits.buffered_bytes_max;
            format!("-ERR More than bufferedBytesMax ({max} bytes) is buffered\r\n")
        }
        false => bulk::no_connection_for_bulk(&proxy.settings),
    };
    answer::reply_here(proxy, id, text.as_bytes());
    close::leave(&mut proxy.clients, &mut proxy.turn, id);
}
