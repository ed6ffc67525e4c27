//! What becomes of a backend that is lost, and of what it owed.
//!
//! Each request in its line meets one of three fates:
//!
//! ```text
//!   no byte of it was sent                      ─► another backend, perhaps of the server that stands in
//!   a read, sent, and no write sent behind it   ─► the same, once (`reroute` may ask it again, too: not both)
//!   anything else                               ─► an error: it may have been run, and is not run twice
//! ```
//!
//! A read behind which a write of the same client was sent is not repeated, since it could see that write. A reply of
//! which the client has the start can not be mended: that client is closed. What came of one before its turn is thrown
//! away, and the request meets its fate as if nothing had come.
//!
//! Whether the server is down because of it is `health`'s business; what the loss of a subscription connection means,
//! `subscription_connection`'s.

use log::debug;

use super::backend_close_reason::BackendCloseReason;
use super::client_close_reason::ClientCloseReason;
use super::clients::Clients;
use super::interface::{Conn, Timer};
use super::refusals::{CONNECTION_DOWN, CROSS_SLOT};
use super::router::Route;
use super::state::Proxy;
use super::topics::State;
use super::turn::Turn;
use super::upstreams::{Lost, Upstreams};
use super::{
    answer, await_master, close, enqueue, guard, health, leases, mark, merged, pick, reads, redirect, redirect_whole,
    reparse, report, resubscribe, scatter, subscribe, subscription_connection, topic_placement,
};
use crate::backend::{Backend, TlsStage, Unanswered};
use crate::buffer::Queue;
use crate::notice::Kind;
use crate::request::{BackendLine, Place, RequestId, Role};
use crate::server::{PROBE_DELAY_FIRST_MS, PROBE_DELAY_MAX_MS, USEFUL_MS, spread};
use crate::server_id::ServerId;
use crate::session::Profile;
use crate::slots::Id;
use crate::timer::Millis;

/// A request is given to this many backends at the most.
const LOSSES_MAX: u8 = 3;

/// One request of a backend that is lost.
struct Owed {
    request: RequestId,
    /// Where its bytes begin in the backend's queue.
    start: u64,
    /// True exactly when some of it was sent: the server may have seen it.
    is_begun: bool,
    /// True exactly when sending it again runs nothing twice, and shows its client no write that was not there yet.
    is_harmless: bool,
}

/// What is to be known of a lost backend to decide about a request of its.
struct Debts<'a> {
    reason: &'a BackendCloseReason,
    server: ServerId,
    queue: Queue,
    /// The client whose large request was on its way.
    uploader: Option<Id>,
    /// True exactly when its requests could stand on any other: nobody had it for the state of its session.
    is_shared: bool,
}

/// The one way to close a backend: what it owed is sent again where that is safe, and answered with an error where
/// it is not; its server is looked at again where that is called for.
pub(super) fn lose_backend(proxy: &mut Proxy, id: Id, reason: BackendCloseReason, now: Millis) {
    close_backend(proxy, id, reason, now);
    merged::finish_merges(proxy, now);
}

fn close_backend(proxy: &mut Proxy, id: Id, reason: BackendCloseReason, now: Millis) {
    let Some(lost) = proxy.upstreams.close(id, &mut proxy.wheel, &mut proxy.in_flight.arena) else { return };
    let Lost { server, profile, is_subscription, seen, began_at, has_asked, awaited, unanswered } = lost;
    let was_new = seen.ready_at.is_none();
    debug!("connection {id} to server {} closed: {reason}", proxy.upstreams.address(server));
    proxy.turn.room_is_new();
    proxy.turn.close(Conn::Backend(id));
    // Of a new one the state of the server tells.
    if let Some(kind) = reason.notice(awaited).filter(|_| !was_new) {
        let count = if kind == Kind::Lost { awaited } else { 1 };
        report::warn_of(&mut proxy.journal, kind, server, count, format_args!("{reason}"));
    }
    if reason.doubts_place() {
        // Before it is connected to again: it may be elsewhere.
        proxy.turn.resolve(server);
        proxy.upstreams.count_lost(server, was_new.then(|| reason.failure()));
    }
    redirect_whole::on_lost(proxy, id, now);
    let saved = save_unanswered(proxy, id, server, unanswered, &reason, now);
    // A subscription connection has a pace of its own.
    if was_new || !is_subscription {
        health::judge_loss(proxy, server, (seen, began_at, has_asked), &reason, now);
    }
    for (request, bytes) in saved {
        send_again(proxy, request, server, &reason, profile, bytes, now);
    }
    if maybe_lose_subscription(proxy, id, was_new, &reason, now) {
        return;
    }
    if !matches!(reason, BackendCloseReason::Idle) {
        // Whether the server is still there is found out at once, not by the next request.
        health::maybe_look(proxy, server, now);
    }
}

/// Decides about everything that was in flight on a lost backend. Returns those requests that are to be sent again,
/// with their bytes.
fn save_unanswered(
    proxy: &mut Proxy,
    id: Id,
    server: ServerId,
    unanswered: Unanswered,
    reason: &BackendCloseReason,
    now: Millis,
) -> Vec<(RequestId, Vec<u8>)> {
    let Unanswered { in_flight, queue, answered, uploader, owner, was_in_bulk } = unanswered;
    let leased = owner.and_then(|owner| proxy.clients.get(owner)?.leased());
    let is_leased = leased.is_some_and(|leased| leased.backend == id);
    let is_shared = owner.is_none() || was_in_bulk && !is_leased;
    let mut debts = Debts { reason, server, queue, uploader, is_shared };
    let mut saved = Vec::new();
    for owed in owed(proxy, &in_flight, answered, debts.queue.sent()) {
        if let Some(bytes) = save(proxy, &owed, &debts, now) {
            saved.push((owed.request, bytes));
        }
    }
    debts.queue.clear(&mut proxy.in_flight.arena);
    leases::on_lease_lost(&mut proxy.clients, &mut proxy.turn, id, owner);
    saved
}

/// The requests of a line that is lost, in its order. Their bytes begin at `answered`; up to `sent`, the server may
/// have seen them.
fn owed(proxy: &Proxy, line: &BackendLine, answered: u64, sent: u64) -> Vec<Owed> {
    let mut owed = Vec::new();
    let mut start = answered;
    for request in line.iter(&proxy.in_flight.requests) {
        owed.push(Owed { request, start, is_begun: start < sent, is_harmless: false });
        start += u64::from(proxy.in_flight.requests[request].bytes());
    }
    // From the last to the first: which clients have sent a write behind?
    let mut writers: Vec<Id> = Vec::new();
    for one in owed.iter_mut().rev() {
        let entry = &proxy.in_flight.requests[one.request];
        // What is part of something else happens on one connection, or not at all; and nobody asks three times.
        let is_first_try = entry.losses() == 0 && !entry.is_moved();
        let is_repeatable = entry.role() == Role::Plain && entry.is_read() && is_first_try;
        one.is_harmless = !one.is_begun || is_repeatable && !writers.contains(&entry.client());
        if one.is_begun && !entry.is_read() && !writers.contains(&entry.client()) {
            writers.push(entry.client());
        }
    }
    owed
}

/// Decides about a request of a lost backend. Returns its bytes if it is to be sent again; if not, its client was
/// told.
fn save(proxy: &mut Proxy, owed: &Owed, debts: &Debts<'_>, now: Millis) -> Option<Vec<u8>> {
    let request = owed.request;
    let entry = &mut proxy.in_flight.requests[request];
    entry.leave_backend();
    let (client, end) = (entry.client(), owed.start + u64::from(entry.bytes()));
    let is_alone = matches!(entry.role(), Role::Plain | Role::Published { .. });
    let can_move = is_alone && debts.is_shared && entry.losses() + 1 < LOSSES_MAX;
    if client == Id::NONE {
        proxy.in_flight.requests.remove(request);
        return None;
    }
    let place = entry.place();
    enqueue::unpin(&mut proxy.clients, &mut proxy.turn, client, debts.server);
    match place {
        Place::Arriving => {
            // Its client has half of the reply; there is no honest way to end it.
            close::close_client(proxy, client, ClientCloseReason::Truncated);
            return None;
        }
        Place::ArrivingEarly(early) => {
            answer::forget_early(&mut proxy.clients, &mut proxy.in_flight, client, request, early)
        }
        _ => {}
    }
    if debts.uploader == Some(client) && discard_upload(&mut proxy.clients, &mut proxy.turn, client, request, now) {
        lose_request(proxy, client, request, debts.server, now);
        return None;
    }
    if owed.is_harmless && can_move {
        // Large ones that went straight to the socket were not kept.
        if let Some(bytes) = debts.queue.copy_range(&proxy.in_flight.arena, owed.start, end) {
            proxy.journal.stats.resends += u64::from(owed.is_begun);
            return Some(bytes);
        }
    }
    if owed.is_harmless && debts.reason.is_connection_down() {
        answer::deliver_error(proxy, client, request, CONNECTION_DOWN, now);
    } else {
        lose_request(proxy, client, request, debts.server, now);
    }
    None
}

/// If this is the request that the client is uploading, the rest of it is thrown away as it comes.
pub(super) fn discard_upload(
    clients: &mut Clients,
    turn: &mut Turn,
    client: Id,
    request: RequestId,
    now: Millis,
) -> bool {
    let is_uploading = clients.get_mut(client).is_some_and(|entry| entry.discard_upload(request, now));
    if is_uploading {
        turn.resume(Conn::Client(client));
    }
    is_uploading
}

/// A request was sent and can not be repeated: its client is told that nobody knows what became of it.
fn lose_request(proxy: &mut Proxy, client: Id, request: RequestId, server: ServerId, now: Millis) {
    await_master::on_run(proxy, client, server, now);
    redirect::on_run(proxy, client, request, server, now);
    proxy.upstreams.count_errors(server, 1);
    let text = format!(
        "-ERR Connection to {} lost before its reply; the command may have been run\r\n",
        proxy.upstreams.address(server)
    );
    answer::deliver_error(proxy, client, request, text.as_bytes(), now);
}

/// Gives a request whose backend is lost to another, of the server that has its key now.
fn send_again(
    proxy: &mut Proxy,
    request: RequestId,
    lost: ServerId,
    reason: &BackendCloseReason,
    profile: Profile,
    bytes: Vec<u8>,
    now: Millis,
) {
    let Some(entry) = proxy.in_flight.requests.get_mut(request) else { return };
    let (client, hash, place) = (entry.client(), entry.hash(), entry.place());
    if client == Id::NONE {
        // Its client was closed over another request of the same backend.
        proxy.in_flight.requests.remove(request);
        return;
    }
    entry.lose();
    let Some(bytes) = await_master::hold_behind(proxy, client, request, lost, bytes, now) else { return };
    let Some(bytes) = redirect::hold_behind(proxy, client, request, (lost, profile), bytes, now) else { return };
    let route = match place {
        Place::Part(merging) => scatter::route_part_again(proxy, merging, request, lost, &bytes),
        _ => reparse::route_again(&proxy.settings, &proxy.router, &proxy.reading, &bytes, hash),
    };
    let route = reads::route_instead(&proxy.router, lost, client, route, now);
    let server = match route {
        Route::To(server, _) => server,
        Route::CrossSlot if scatter::split_again(proxy, request, profile, &bytes, now) => return,
        Route::CrossSlot => return answer::deliver_error(proxy, client, request, CROSS_SLOT, now),
        _ => return answer::deliver_error(proxy, client, request, CONNECTION_DOWN, now),
    };
    if server == lost && matches!(reason, BackendCloseReason::ConnectTimeout(_)) {
        // It has waited long enough.
        let ms = proxy.settings.timeouts.remote_connect_ms;
        let text = format!("-ERR No connection to {} within {ms} ms\r\n", proxy.upstreams.address(lost));
        return answer::deliver_error(proxy, client, request, text.as_bytes(), now);
    }
    if !give(proxy, request, server, profile, bytes, now) {
        let text = format!("-ERR Connection to {} lost, and no other is free\r\n", proxy.upstreams.address(lost));
        answer::deliver_error(proxy, client, request, text.as_bytes(), now);
    }
}

/// Gives a request that stands in no backend's line to one of this server. False if none takes it now.
pub(super) fn give(
    proxy: &mut Proxy,
    request: RequestId,
    server: ServerId,
    profile: Profile,
    bytes: Vec<u8>,
    now: Millis,
) -> bool {
    let client = proxy.in_flight.requests[request].client();
    let Some(backend_id) = pick::pick_again(proxy, client, server, profile, now) else { return false };
    let deadline = now + proxy.settings.timeouts.remote_read_ms;
    proxy.in_flight.requests[request].renew(deadline);
    let Some(ticket) = enqueue::stand_at(proxy, request, backend_id, server) else { return false };
    let is_guarded = guard::is_guarded(&proxy.settings, &proxy.reading, &bytes);
    enqueue::forward_owned(&mut proxy.upstreams, &mut proxy.in_flight, &mut proxy.turn, ticket, bytes);
    if is_guarded {
        guard::send_guard(&mut proxy.upstreams, &mut proxy.in_flight, &mut proxy.turn, backend_id);
    }
    // If that one is held back for its client, this may be what the client waits for.
    if proxy.clients.get(client).is_some_and(|client| client.connection().holds_back()) {
        mark::mark_client_dirty(&mut proxy.clients, &mut proxy.turn, client);
    }
    true
}

/// A backend could not be connected.
pub(super) fn handle_connect_failed(proxy: &mut Proxy, id: Id, reason: &str, now: Millis) {
    lose_backend(proxy, id, BackendCloseReason::Connect(reason.to_string()), now);
}

/// The server of this backend will send nothing more.
pub(super) fn handle_backend_end(proxy: &mut Proxy, id: Id, now: Millis) {
    lose_backend(proxy, id, in_own_words(&proxy.upstreams, id, BackendCloseReason::End), now);
}

/// A backend's socket broke.
pub(super) fn handle_backend_broken(proxy: &mut Proxy, id: Id, reason: &str, now: Millis) {
    lose_backend(proxy, id, in_own_words(&proxy.upstreams, id, BackendCloseReason::Broken(reason.to_string())), now);
}

/// Why a connection ended, in the words of the server if it had any: many say what they do not like, and close.
pub(super) fn in_own_words(upstreams: &Upstreams, id: Id, reason: BackendCloseReason) -> BackendCloseReason {
    let Some(backend) = upstreams.backend(id) else { return reason };
    let Some(handshake) = backend.handshake() else { return reason };
    let reason = match (handshake.last_words(), handshake.broken()) {
        (Some(words), _) => return BackendCloseReason::Refused(words.to_string()),
        (None, Some(reason)) => BackendCloseReason::Broken(reason.to_string()),
        _ => reason,
    };
    // A path is that of a Unix socket, over which nobody speaks TLS.
    let may_want_tls = backend.tls() == TlsStage::Plain && !upstreams.address(backend.server()).contains('/');
    match reason {
        BackendCloseReason::End | BackendCloseReason::Broken(_) if may_want_tls && handshake.is_unheard() => {
            BackendCloseReason::Unheard(reason.to_string())
        }
        reason => reason,
    }
}

/// A backend is lost. If it was a connection, it is made anew where that is of use. False if it was none.
pub(super) fn maybe_lose_subscription(
    proxy: &mut Proxy,
    id: Id,
    was_new: bool,
    reason: &BackendCloseReason,
    now: Millis,
) -> bool {
    let Some(backend) = proxy.upstreams.backend(id).filter(|backend| backend.is_subscription()) else {
        return false;
    };
    let server = backend.server();
    let is_up = proxy.router.is_up(server);
    let is_needed = topic_placement::is_anything_subscribed_at(&proxy.router, &proxy.pubsub, server);
    let random = proxy.upstreams.random();
    let connection = &mut proxy.pubsub.connections[server.index()];
    if is_needed && matches!(connection.state, State::Listening(_)) {
        connection.lost_at.get_or_insert(now);
    }
    let lost_ms = connection.lost_at.map_or(0, |lost_at| now - lost_at);
    connection.asked.clear();
    connection.owed.clear();
    connection.to_ask.clear();
    // A server that closes whatever wants to hear has refused it too, without a word.
    let is_refused = was_new
        || matches!(reason, BackendCloseReason::SubscribeTimeout)
        || lost_ms >= proxy.settings.timeouts.remote_read_ms;
    let is_hasty = now - connection.ready_at < USEFUL_MS;
    if !is_refused && !is_hasty {
        connection.pause_ms = 0;
    }
    connection.state = if is_needed && is_up && (is_refused || is_hasty) {
        // One that does not last is made anew ever more seldom, as those for requests are.
        let pause_ms = connection.pause_ms.max(PROBE_DELAY_FIRST_MS);
        connection.pause_ms = (pause_ms * 2).min(PROBE_DELAY_MAX_MS);
        let pause_ms = spread(pause_ms, random);
        proxy.wheel.arm(Timer::Subscription(server), now + pause_ms);
        State::Pausing { is_refused }
    } else {
        State::Closed
    };
    subscription_connection::maybe_open_subscription(proxy, server, now);
    subscribe::review_confirmations(proxy, now);
    resubscribe::review(proxy, now);
    true
}

/// Closes a draining backend that owes nothing more that anybody waits for.
pub(super) fn maybe_drained(proxy: &mut Proxy, id: Id, now: Millis) {
    let is_drained = proxy.upstreams.backend(id).is_some_and(Backend::is_drained);
    if is_drained {
        lose_backend(proxy, id, BackendCloseReason::Drained, now);
    }
}
