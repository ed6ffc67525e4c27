//! Bytes of backends → replies → their clients.
//!
//! Each reply belongs to the first request in its backend's line. If that request is also the first in its client's
//! line, the reply goes to the client; if not, it came early, and waits in a queue of its own until its turn:
//!
//! ```text
//!   client's line:   [GET a: Waiting] [GET b: Early "x"] [PING: Early "PONG"]
//!   "1" arrives for GET a      ──►   "1", "x", PONG go out, in this order
//! ```
//!
//! Plain replies, which most are, are handed out by `fast_path` before they come here, in runs, to the same effect.
//! A small reply that is not whole is kept with its backend. A large one is passed on as it arrives (`Arriving`); when
//! its client takes less than comes, the backend is not read until it has, unless others wait behind: those who can
//! are asked elsewhere first (`reroute`).
//!
//! A push, whole or in pieces, is nobody's: it answers nothing, and is dropped. What stands before a value (an
//! attribute) is the start of the reply or of the push behind it, and is kept until that is known.
//!
//! A byte that belongs to nobody closes the backend: a stream that is off by one reply must never be trusted again.

use super::backend_close_reason::BackendCloseReason;
use super::client_close_reason::ClientCloseReason;
use super::hidden_count::correct;
use super::interface::{Conn, DIRECT_MIN, LARGE, Timer, Wire};
use super::not_run::{self, Doubt};
use super::reroute::{self, HUGE};
use super::state::Proxy;
use super::write::{Sent, gather};
use super::{
    answer, await_master, blocking, bulk, close, collect, enqueue, fast_path, guard, handshake_read, mark, merged,
    recover, redirect_whole, relief, replica_watch, slow, subscription_read, zone,
};
use crate::backend::{Backend, Phase};
use crate::buffer::{Queue, Scratch};
use crate::client::Client;
use crate::notice::printable;
use crate::request::{Place, RequestId, Role};
use crate::resp::{Frame, ProtocolError, ReplyFramer};
use crate::slots::Id;
use crate::timer::Millis;

/// The `n` bytes in the read area of `scratch` came from a backend.
pub(super) fn handle_backend_data<W: Wire>(
    proxy: &mut Proxy,
    id: Id,
    scratch: &mut Scratch,
    n: usize,
    now: Millis,
    wire: &mut W,
) {
    if proxy.in_flight.memory.is_watched {
        relief::maybe_relieve(proxy);
    }
    let Some(backend) = proxy.upstreams.backend_mut(id) else { return };
    if backend.is_subscription() {
        return subscription_read::handle_subscription_data(proxy, id, scratch, n, now, wire);
    }
    backend.on_heard(now);
    let mut framer = backend.take_framer();
    let data = scratch.joined(backend.kept(), n);
    backend.drop_kept(&mut proxy.in_flight.arena);
    let mut at = 0;
    let reason = loop {
        if at == data.len() {
            break None;
        }
        let taken = fast_path::hand_out_plain_replies(proxy, id, &data[at..], &framer, now, wire);
        if taken > 0 {
            at += taken;
            continue;
        }
        match take_reply(proxy, id, &data[at..], &mut framer, now, wire) {
            Ok(0) => break None,
            Ok(taken) => {
                at += taken;
                merged::finish_merges(proxy, now);
            }
            Err(reason) => break Some(reason),
        }
    };
    if let Some(reason) = reason {
        if let Some(backend) = proxy.upstreams.backend_mut(id) {
            backend.settle_answered(&mut proxy.in_flight.measured);
        }
        return recover::lose_backend(proxy, id, reason, now);
    }
    let Some(backend) = proxy.upstreams.backend_mut(id) else { return };
    backend.settle_answered(&mut proxy.in_flight.measured);
    backend.keep(framer, &data[at..], &mut proxy.in_flight.arena);
    if backend.is_in_bulk() || backend.is_read_paused() {
        bulk::maybe_release(proxy, id, now);
    }
    recover::maybe_drained(proxy, id, now);
}

/// Deals with the reply that `bytes` begin with, or with as much of a large one as is there. Returns how many bytes
/// were taken; 0 when there are too few.
#[inline]
fn take_reply<W: Wire>(
    proxy: &mut Proxy,
    id: Id,
    bytes: &[u8],
    framer: &mut ReplyFramer,
    now: Millis,
    wire: &mut W,
) -> Result<usize, BackendCloseReason> {
    let Some(backend) = proxy.upstreams.backend_mut(id) else { return Ok(bytes.len()) };
    match framer.frame(bytes).map_err(BackendCloseReason::ProtocolError)? {
        Frame::Complete(len) => {
            let is_last_piece = backend.on_whole();
            let is_push = framer.kind() == b'>';
            framer.reset();
            match backend.phase() {
                _ if is_push => {}
                Phase::Handshake(_) => handshake_read::on_handshake_reply(proxy, id, &bytes[..len], now)?,
                Phase::Ready | Phase::Settling | Phase::Draining => {
                    on_reply(proxy, id, (framer.kind(), &bytes[..len]), is_last_piece, now, wire)?
                }
                Phase::Connecting | Phase::Closed => return Err(BackendCloseReason::UnsolicitedReply),
            }
            Ok(len)
        }
        Frame::Partial => {
            let is_large = framer.at().max(bytes.len()) > LARGE;
            if matches!(framer.kind(), b'>' | b'|') {
                return take_unasked(backend, framer, bytes.len(), is_large);
            }
            match backend.phase() {
                Phase::Ready | Phase::Settling | Phase::Draining => {}
                // Before it was asked, it may say that it has no place for us, and nothing else.
                Phase::Handshake(handshake) if !handshake.has_begun() && bytes[0] != b'-' => {
                    return Err(BackendCloseReason::UnsolicitedReply);
                }
                Phase::Handshake(_) if !is_large => return Ok(0),
                Phase::Handshake(_) => return Err(BackendCloseReason::ProtocolError(ProtocolError::ReplyLength)),
                Phase::Connecting | Phase::Closed => return Err(BackendCloseReason::UnsolicitedReply),
            }
            let request = backend.in_flight().first().ok_or(BackendCloseReason::UnsolicitedReply)?;
            if !backend.was_sent(u64::from(proxy.in_flight.requests[request].bytes())) {
                return Err(BackendCloseReason::UnsolicitedReply);
            }
            if !backend.is_in_large_reply() && !is_large {
                return Ok(0);
            }
            let is_first_piece = backend.on_piece();
            if is_first_piece {
                slow::note_first(proxy, id, now);
                on_large_reply(proxy, id, framer.at(), now);
            }
            let len = framer.passable(bytes.len());
            if len == 0 {
                return Ok(0);
            }
            framer.rebase(len);
            on_piece(proxy, id, request, &bytes[..len], now, wire);
            Ok(len)
        }
    }
}

/// A large reply begins, of so many bytes at the least. Who stands behind it does not wait for long.
fn on_large_reply(proxy: &mut Proxy, id: Id, len: usize, now: Millis) {
    let reroute_at = now + reroute::reroute_ms(&proxy.settings);
    let Some(backend) = proxy.upstreams.backend_mut(id) else { return };
    backend.on_large_reply(now);
    let taker = backend.in_flight().first().map_or(Id::NONE, |first| proxy.in_flight.requests[first].client());
    let is_pipeline =
        |client: &Client| client.affinities().iter().any(|affinity| affinity.backend == id && affinity.count > 1);
    if proxy.clients.get(taker).is_some_and(is_pipeline) {
        bulk::enter_bulk(&mut proxy.upstreams, &mut proxy.clients, taker, now);
    }
    let Some(backend) = proxy.upstreams.backend_mut(id) else { return };
    if backend.awaited() > 1 {
        backend.wake_at(&mut proxy.wheel, Timer::Backend(id), reroute_at);
        if len > HUGE {
            reroute::reroute_and_drain(proxy, id, now);
        }
    }
}

/// A whole reply, or the last piece of one, has come for the first in line.
#[inline]
fn on_reply<W: Wire>(
    proxy: &mut Proxy,
    id: Id,
    (kind, reply): (u8, &[u8]),
    is_last_piece: bool,
    now: Millis,
    wire: &mut W,
) -> Result<(), BackendCloseReason> {
    let Some(backend) = proxy.upstreams.backend_mut(id) else { return Ok(()) };
    let request = backend.in_flight().first().ok_or(BackendCloseReason::UnsolicitedReply)?;
    let len = u64::from(proxy.in_flight.requests[request].bytes());
    if !backend.was_sent(len) {
        // The answer to a question that was not asked yet.
        return Err(BackendCloseReason::UnsolicitedReply);
    }
    let knows = (&proxy.held, &proxy.redirected, &proxy.in_flight, &proxy.router);
    let mut doubt = Doubt::about(knows, backend, request, (kind, reply));
    let is_marked = proxy.in_flight.requests[request].is_marked();
    let backend = match is_marked || backend.is_late(&proxy.in_flight.measured) {
        false => backend,
        true => {
            look_for_slow(proxy, id, is_last_piece, now);
            proxy.upstreams.backend_mut(id).ok_or(BackendCloseReason::UnsolicitedReply)?
        }
    };
    backend.in_flight_mut().pop(&proxy.in_flight.requests);
    backend.on_answered(len);
    let entry = &mut proxy.in_flight.requests[request];
    let (client, role) = (entry.client(), entry.role());
    if !matches!(role, Role::Step { .. }) {
        backend.release_answered(&mut proxy.in_flight.arena, now);
    }
    let server = backend.server();
    // To wait for data is what BLPOP is asked for.
    let is_timed = client != Id::NONE && role != Role::Blocking;
    backend.record_or_skip(is_timed, &mut proxy.in_flight.measured);
    if client == Id::NONE {
        let is_expired = proxy.in_flight.requests.remove(request).is_expired();
        if is_expired {
            backend.remove_tombstone();
        }
        return on_reply_for_nobody(proxy, id, (role, is_expired), (kind, reply), now);
    }
    enqueue::unpin(&mut proxy.clients, &mut proxy.turn, client, server);
    if not_run::maybe_send_again(proxy, &mut doubt, (client, request, id), reply, now) {
        return Ok(());
    }
    proxy.in_flight.measured.count_error(kind, reply);
    let mut corrected = Vec::new();
    let mut reply = reply;
    if let Role::Published { hidden, is_elsewhere } = role {
        correct(reply, hidden as usize, is_elsewhere, &mut corrected);
        reply = &corrected;
    }
    hand_over(proxy, client, request, reply, is_last_piece, now, wire);
    not_run::on_answered(proxy, doubt, (client, request, id), now);
    if role != Role::Plain {
        on_role(proxy, (id, client), request, role, (kind, reply), now);
    }
    Ok(())
}

/// Does what a reply means beyond itself.
fn on_role(
    proxy: &mut Proxy,
    (id, client): (Id, Id),
    request: RequestId,
    role: Role,
    (kind, reply): (u8, &[u8]),
    now: Millis,
) {
    match role {
        Role::Blocking | Role::Atomic => drop(proxy.relocations.take_sent(client, request)),
        Role::Whole { .. } => redirect_whole::on_answered(proxy, id, kind, now),
        _ => {}
    }
    blocking::on_role(&mut proxy.upstreams, &mut proxy.clients, &mut proxy.turn, id, client, role, (kind, reply));
}

/// Gives a client a reply, or the last piece of one.
#[inline]
fn hand_over<W: Wire>(
    proxy: &mut Proxy,
    client: Id,
    request: RequestId,
    reply: &[u8],
    is_last_piece: bool,
    now: Millis,
    wire: &mut W,
) {
    if is_last_piece || reply.len() >= DIRECT_MIN {
        pass_on(proxy, client, request, reply, now, wire);
        on_whole(proxy, client, request, now);
    } else {
        proxy.in_flight.requests[request].leave_backend();
        answer::deliver(proxy, client, request, reply, now);
    }
}

/// The request whose reply has come may be slow: if it is, it is noted. Of a large one the first piece was looked at.
#[cold]
fn look_for_slow(proxy: &mut Proxy, id: Id, is_last_piece: bool, now: Millis) {
    if !is_last_piece {
        slow::note_first(proxy, id, now);
    }
}

/// A reply has come that no client waits for: its client is gone, or the request was rmux's own.
fn on_reply_for_nobody(
    proxy: &mut Proxy,
    id: Id,
    (role, is_expired): (Role, bool),
    (kind, reply): (u8, &[u8]),
    now: Millis,
) -> Result<(), BackendCloseReason> {
    match role {
        Role::Plain => return Ok(()),
        Role::Question => {
            await_master::on_role_told(proxy, id, reply, now);
            return Ok(());
        }
        Role::Guard if !guard::is_guard_word(&proxy.upstreams, reply) => return Err(no_guard_word(reply)),
        Role::Internal | Role::Cleanup if kind != b'+' => {
            return Err(BackendCloseReason::Refused(printable(reply)));
        }
        Role::Watch => {
            replica_watch::on_answer(proxy, id, reply);
            return Ok(());
        }
        Role::Zone => {
            zone::on_answer(proxy, id, reply);
            return Ok(());
        }
        Role::Step { .. } | Role::Whole { .. } if !is_expired => {
            redirect_whole::on_unawaited(proxy, id, role, reply, now)
        }
        _ => {}
    }
    let Proxy { upstreams, clients, turn, .. } = proxy;
    blocking::on_role(upstreams, clients, turn, id, Id::NONE, role, (kind, reply));
    Ok(())
}

/// Part of a large reply has come for the first in line of this backend.
fn on_piece<W: Wire>(proxy: &mut Proxy, id: Id, request: RequestId, piece: &[u8], now: Millis, wire: &mut W) {
    let entry = &mut proxy.in_flight.requests[request];
    let client = entry.client();
    // Its time is over when nothing more comes, not when it is long.
    let deadline = now + proxy.settings.timeouts.remote_read_ms;
    let was_patient = entry.renew(deadline) > deadline;
    if let Some(backend) = proxy.upstreams.backend_mut(id).filter(|_| was_patient) {
        // Nobody would have looked before the end of its wait for data, if that has one.
        backend.wake_at(&mut proxy.wheel, Timer::Backend(id), deadline);
    }
    if client == Id::NONE {
        return;
    }
    pass_on(proxy, client, request, piece, now, wire);
    let Some(entry) = proxy.clients.get(client) else { return };
    // What its socket does not take stays with the server, and need not be copied here.
    let is_waiting_for = matches!(proxy.in_flight.requests[request].place(), Place::Part(_));
    if entry.unread() > 0 && !is_waiting_for && !entry.is_closed() {
        bulk::hold_back(proxy, client, now);
    }
}

/// Sends part of a large reply to the client, or to the place where it waits for its turn.
fn pass_on<W: Wire>(proxy: &mut Proxy, id: Id, request: RequestId, piece: &[u8], now: Millis, wire: &mut W) {
    let mut place = proxy.in_flight.requests[request].place();
    if let Place::Part(merging) = place {
        return collect::collect(&proxy.settings, &mut proxy.clients, &mut proxy.in_flight, merging, request, piece);
    }
    let Some(client) = proxy.clients.get_mut(id) else { return };
    if place == Place::Waiting {
        place = match client.reply_order().first() == Some(request) {
            true => Place::Arriving,
            false => Place::ArrivingEarly(proxy.in_flight.early.insert(Queue::new()) as u32),
        };
        proxy.in_flight.requests[request].move_to(place);
    }
    if proxy.in_flight.requests[request].is_muted() {
        return;
    }
    match place.early() {
        None => send_reply(proxy, id, piece, now, wire),
        Some(early) => {
            proxy.in_flight.early[early as usize].push(&mut proxy.in_flight.arena, piece);
            client.replies_mut().hold_early(piece.len());
        }
    }
    bulk::check_unread(proxy, id, now);
}

/// The last piece of a large reply was passed on. Its client may have been closed over it.
fn on_whole(proxy: &mut Proxy, id: Id, request: RequestId, now: Millis) {
    let entry = &mut proxy.in_flight.requests[request];
    entry.leave_backend();
    if entry.client() == Id::NONE {
        proxy.in_flight.requests.remove(request);
        return;
    }
    if let Place::Part(merging) = entry.place() {
        return collect::end_part(&mut proxy.in_flight, &mut proxy.turn, merging, request);
    }
    if let Place::ArrivingEarly(early) = entry.place() {
        entry.move_to(Place::Early(early));
        return;
    }
    if let Some(client) = proxy.clients.get_mut(id) {
        debug_assert_eq!(client.reply_order().first(), Some(request));
        client.reply_order_mut().pop(&proxy.in_flight.requests);
    }
    proxy.in_flight.requests.remove(request);
    answer::advance_line(proxy, id, now);
}

/// Appends to what a client is to be sent; a large piece goes straight to the socket, as far as it takes it.
pub(super) fn send_reply<W: Wire>(proxy: &mut Proxy, id: Id, bytes: &[u8], now: Millis, wire: &mut W) {
    let Some(client) = proxy.clients.get_mut(id).filter(|client| !client.is_closed()) else { return };
    if bytes.len() < DIRECT_MIN || client.connection().is_write_blocked() {
        client.replies_mut().push(&mut proxy.in_flight.arena, bytes);
        return mark::mark_client_dirty(&mut proxy.clients, &mut proxy.turn, id);
    }
    match gather(client.replies().queue(), &proxy.in_flight.arena, bytes, Conn::Client(id), wire) {
        Ok(Sent { bytes: sent, is_blocked }) => {
            client.on_sent_past(&mut proxy.in_flight.arena, bytes, sent, is_blocked, now);
            if is_blocked {
                mark::watch_client_writes(&proxy.settings, &mut proxy.clients, &mut proxy.wheel, id);
            }
            mark::mark_client_dirty(&mut proxy.clients, &mut proxy.turn, id);
        }
        Err(_) => close::close_client(proxy, id, ClientCloseReason::Broken),
    }
}

/// What it means that a server has said this in the place of the word that it was asked for.
#[cold]
fn no_guard_word(reply: &[u8]) -> BackendCloseReason {
    let refusals = [&b"-BUSY"[..], b"-LOADING", b"-MASTERDOWN", b"-NOPERM"];
    match refusals.iter().any(|words| reply.starts_with(words)) {
        true => BackendCloseReason::Refused(printable(reply)),
        false => BackendCloseReason::UnsolicitedReply,
    }
}

/// Part of a push has come, or of what stands before a push or a reply. Returns how many of its `len` bytes were taken.
#[cold]
fn take_unasked(
    backend: &mut Backend,
    framer: &mut ReplyFramer,
    len: usize,
    is_large: bool,
) -> Result<usize, BackendCloseReason> {
    if !is_large && !backend.is_in_large_reply() {
        return Ok(0);
    }
    if framer.kind() == b'|' {
        return Err(BackendCloseReason::ProtocolError(ProtocolError::AttributeTooBig(LARGE)));
    }
    backend.on_piece();
    let taken = framer.passable(len);
    framer.rebase(taken);
    Ok(taken)
}
