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
//! Plain replies, which most are, are handed out by `express` before they come here, in runs, to the same effect.
//! A small reply that is not whole is kept with its backend. A large one is passed on as it arrives (`Arriving`); when
//! its client takes less than comes, the backend is not read until it has, unless others wait behind: those who can
//! are asked elsewhere first (`reroute`).
//!
//! A push, whole or in pieces, is nobody's: it answers nothing, and is dropped. What stands before a value (an
//! attribute) is the start of the reply or of the push behind it, and is kept until that is known.
//!
//! A byte that belongs to nobody closes the backend: a stream that is off by one reply must never be trusted again.

use super::backend_close_reason::BackendCloseReason;
use super::publish::correct;
use super::reroute::HUGE;
use super::scripts::NO_SCRIPT;
use super::transmit::{Sent, gather};
use super::{Conn, DIRECT_MIN, Goodbye, LARGE, Proxy, Timer, Wire};
use crate::backend::{Backend, Phase};
use crate::buffer::{Queue, Scratch};
use crate::client::{Client, Flow};
use crate::notice::printable;
use crate::request::{Place, RequestId, Role};
use crate::resp::{Frame, ProtocolError, ReplyFramer};
use crate::server_id::ServerId;
use crate::slots::Id;
use crate::subscription::Subscriber;
use crate::timer::Millis;

impl Proxy {
    /// The `n` bytes in the read area of `scratch` came from a backend.
    pub fn handle_backend_data<W: Wire>(&mut self, id: Id, scratch: &mut Scratch, n: usize, now: Millis, wire: &mut W) {
        if self.in_flight.memory.is_watched {
            self.maybe_relieve();
        }
        let Some(backend) = self.upstreams.backend_mut(id) else { return };
        if backend.is_subscription() {
            return self.handle_subscription_data(id, scratch, n, now, wire);
        }
        backend.on_heard(now);
        let mut framer = backend.take_framer();
        let data = scratch.joined(backend.kept(), n);
        backend.drop_kept(&mut self.in_flight.arena);
        let mut at = 0;
        let reason = loop {
            if at == data.len() {
                break None;
            }
            let taken = self.hand_out_plain_replies(id, &data[at..], &framer, now, wire);
            if taken > 0 {
                at += taken;
                continue;
            }
            match self.take_reply(id, &data[at..], &mut framer, now, wire) {
                Ok(0) => break None,
                Ok(taken) => at += taken,
                Err(reason) => break Some(reason),
            }
        };
        if let Some(reason) = reason {
            return self.lose_backend(id, reason, now);
        }
        let Some(backend) = self.upstreams.backend_mut(id) else { return };
        backend.keep(framer, &data[at..], &mut self.in_flight.arena);
        if backend.is_in_bulk() || backend.is_read_paused() {
            self.maybe_release(id, now);
        }
        self.maybe_drained(id, now);
    }

    /// Deals with the reply that `bytes` begin with, or with as much of a large one as is there. Returns how many bytes
    /// were taken; 0 when there are too few.
    #[inline]
    fn take_reply<W: Wire>(
        &mut self,
        id: Id,
        bytes: &[u8],
        framer: &mut ReplyFramer,
        now: Millis,
        wire: &mut W,
    ) -> Result<usize, BackendCloseReason> {
        let Some(backend) = self.upstreams.backend_mut(id) else { return Ok(bytes.len()) };
        match framer.frame(bytes).map_err(BackendCloseReason::ProtocolError)? {
            Frame::Complete(len) => {
                let is_last_piece = backend.on_whole();
                let is_push = framer.kind() == b'>';
                framer.reset();
                match backend.phase() {
                    _ if is_push => {}
                    Phase::Handshake(_) => self.on_handshake_reply(id, &bytes[..len], now)?,
                    Phase::Ready | Phase::Draining => {
                        self.on_reply(id, (framer.kind(), &bytes[..len]), is_last_piece, now, wire)?
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
                    Phase::Ready | Phase::Draining => {}
                    // Before it was asked, it may say that it has no place for us, and nothing else.
                    Phase::Handshake(handshake) if !handshake.has_begun() && bytes[0] != b'-' => {
                        return Err(BackendCloseReason::UnsolicitedReply);
                    }
                    Phase::Handshake(_) if !is_large => return Ok(0),
                    Phase::Handshake(_) => return Err(BackendCloseReason::ProtocolError(ProtocolError::ReplyLength)),
                    Phase::Connecting | Phase::Closed => return Err(BackendCloseReason::UnsolicitedReply),
                }
                let request = backend.in_flight().first().ok_or(BackendCloseReason::UnsolicitedReply)?;
                if !backend.was_sent(u64::from(self.in_flight.requests[request].bytes())) {
                    return Err(BackendCloseReason::UnsolicitedReply);
                }
                if !backend.is_in_large_reply() && !is_large {
                    return Ok(0);
                }
                let is_first_piece = backend.on_piece();
                if is_first_piece {
                    self.on_large_reply(id, framer.at(), now);
                }
                let len = framer.passable(bytes.len());
                if len == 0 {
                    return Ok(0);
                }
                framer.rebase(len);
                self.on_piece(id, request, &bytes[..len], now, wire);
                Ok(len)
            }
        }
    }

    /// A large reply begins, of so many bytes at the least. Who stands behind it does not wait for long.
    fn on_large_reply(&mut self, id: Id, len: usize, now: Millis) {
        let reroute_at = now + self.reroute_ms();
        let Some(backend) = self.upstreams.backend_mut(id) else { return };
        backend.on_large_reply(now);
        let taker = backend.in_flight().first().map_or(Id::NONE, |first| self.in_flight.requests[first].client());
        let is_pipeline =
            |client: &Client| client.affinities.iter().any(|affinity| affinity.backend == id && affinity.count > 1);
        if self.clients.get(taker).is_some_and(is_pipeline) {
            self.enter_bulk(taker, now);
        }
        let Some(backend) = self.upstreams.backend_mut(id) else { return };
        if backend.awaited() > 1 {
            backend.wake_at(&mut self.wheel, Timer::Backend(id), reroute_at);
            if len > HUGE {
                self.reroute_and_drain(id, now);
            }
        }
    }

    /// A whole reply, or the last piece of one, has come for the first in line.
    #[inline]
    fn on_reply<W: Wire>(
        &mut self,
        id: Id,
        (kind, reply): (u8, &[u8]),
        is_last_piece: bool,
        now: Millis,
        wire: &mut W,
    ) -> Result<(), BackendCloseReason> {
        let Some(backend) = self.upstreams.backend_mut(id) else { return Ok(()) };
        let request = backend.in_flight().first().ok_or(BackendCloseReason::UnsolicitedReply)?;
        let len = u64::from(self.in_flight.requests[request].bytes());
        if !backend.was_sent(len) {
            // The answer to a question that was not asked yet.
            return Err(BackendCloseReason::UnsolicitedReply);
        }
        let unknown_script = match kind {
            b'-' if self.router.has_several() && reply.starts_with(NO_SCRIPT) => {
                backend.queue().copy_range(&self.in_flight.arena, backend.answered(), backend.answered() + len)
            }
            _ => None,
        };
        backend.in_flight_mut().pop(&self.in_flight.requests);
        backend.on_answered(len);
        backend.release_answered(&mut self.in_flight.arena, now);
        let server = backend.server();
        let entry = &mut self.in_flight.requests[request];
        let (client, role) = (entry.client(), entry.role());
        if client == Id::NONE {
            if entry.is_expired() {
                backend.remove_tombstone();
            }
            self.in_flight.requests.remove(request);
            if role == Role::Guard && !self.is_guard_word(reply) {
                return Err(no_guard_word(reply));
            }
            if matches!(role, Role::Internal | Role::Cleanup) && kind != b'+' {
                return Err(BackendCloseReason::Refused(printable(reply)));
            }
            if role != Role::Plain {
                self.on_role(id, client, role, (kind, reply));
            }
            return Ok(());
        }
        self.unpin(client, server);
        if let Some(bytes) = unknown_script {
            if self.send_with_script(client, request, id, &bytes, now) {
                return Ok(());
            }
        }
        let mut corrected = Vec::new();
        let reply = match role {
            Role::Published { hidden } => {
                correct(reply, hidden as usize, &mut corrected);
                &corrected[..]
            }
            _ => reply,
        };
        if is_last_piece || reply.len() >= DIRECT_MIN {
            self.pass_on(client, request, reply, now, wire);
            self.on_whole(client, request, now);
        } else {
            self.in_flight.requests[request].leave_backend();
            self.deliver(client, request, reply, now);
        }
        if role != Role::Plain {
            self.on_role(id, client, role, (kind, reply));
        }
        Ok(())
    }

    /// A client has one request less outstanding at `server`.
    #[inline]
    pub(super) fn unpin(&mut self, id: Id, server: ServerId) {
        let Some(client) = self.clients.get_mut(id) else { return };
        client.unpin(server, 1);
        if client.flow == (Flow::AwaitingOwnReplies { server }) && client.affinity(server).is_none() {
            self.turn.wake(id);
        }
    }

    /// A request, which stands in no backend's line any more, has its whole reply: it goes to the client, or waits for
    /// its turn.
    #[inline]
    pub(super) fn deliver(&mut self, id: Id, request: RequestId, reply: &[u8], now: Millis) {
        if let Place::Part(merging) = self.in_flight.requests[request].place() {
            return self.answer_part(merging, request, reply, now);
        }
        let Some(client) = self.clients.get_mut(id) else { return };
        if client.reply_order.first() == Some(request) {
            client.reply_order.pop(&self.in_flight.requests);
            let entry = self.in_flight.requests.remove(request);
            if !entry.is_muted() {
                client.replies.push(&mut self.in_flight.arena, reply);
            }
            // Nearly always nobody behind has an answer yet, and little is unread: nothing to look at.
            let is_early = |next: RequestId| self.in_flight.requests[next].place().early().is_some();
            let is_plain = client.subscriber.is_none() && !client.reply_order.first().is_some_and(is_early);
            if is_plain && client.replies.unsent() < self.settings.limits.client_unread_pause_bytes {
                client.heard_at = now;
                if !client.is_dirty {
                    client.is_dirty = true;
                    self.turn.flush_client(id);
                }
            } else {
                self.advance_line(id, now);
            }
        } else {
            let is_muted = self.in_flight.requests[request].is_muted();
            let queue = Queue::of(&mut self.in_flight.arena, if is_muted { &[] } else { reply });
            client.early_bytes += queue.unsent();
            let place = Place::Early(self.in_flight.early.insert(queue) as u32);
            self.in_flight.requests[request].move_to(place);
            self.check_unread(id, now);
        }
    }

    /// Puts a reply of rmux's own, however large, into the place that was kept for it in a client's line.
    pub(super) fn fill_place(&mut self, id: Id, request: RequestId, mut reply: Queue, now: Millis) {
        let Some(client) = self.clients.get_mut(id).filter(|client| client.flow != Flow::Closed) else {
            return reply.clear(&mut self.in_flight.arena);
        };
        if self.in_flight.requests[request].is_muted() {
            reply.clear(&mut self.in_flight.arena);
        }
        client.early_bytes += reply.unsent();
        client.merged_bytes += reply.unsent();
        let place = Place::Early(self.in_flight.early.insert(reply) as u32);
        self.in_flight.requests[request].move_to(place);
        if client.reply_order.first() == Some(request) {
            self.advance_line(id, now);
        }
    }

    /// Part of a large reply has come for the first in line of this backend.
    fn on_piece<W: Wire>(&mut self, id: Id, request: RequestId, piece: &[u8], now: Millis, wire: &mut W) {
        let entry = &mut self.in_flight.requests[request];
        let client = entry.client();
        // Its time is over when nothing more comes, not when it is long.
        let deadline = now + self.settings.timeouts.remote_read_ms;
        let was_patient = entry.renew(deadline) > deadline;
        if let Some(backend) = self.upstreams.backend_mut(id).filter(|_| was_patient) {
            // Nobody would have looked before the end of its wait for data, if that has one.
            backend.wake_at(&mut self.wheel, Timer::Backend(id), deadline);
        }
        if client == Id::NONE {
            return;
        }
        self.pass_on(client, request, piece, now, wire);
        let Some(entry) = self.clients.get(client) else { return };
        // What its socket does not take stays with the server, and need not be copied here.
        let is_waiting_for = matches!(self.in_flight.requests[request].place(), Place::Part(_));
        if entry.unread() > 0 && !is_waiting_for && entry.flow != Flow::Closed {
            self.hold_back(client, now);
        }
    }

    /// Sends part of a large reply to the client, or to the place where it waits for its turn.
    fn pass_on<W: Wire>(&mut self, id: Id, request: RequestId, piece: &[u8], now: Millis, wire: &mut W) {
        let mut place = self.in_flight.requests[request].place();
        if let Place::Part(merging) = place {
            return self.collect(merging, request, piece);
        }
        let Some(client) = self.clients.get_mut(id) else { return };
        if place == Place::Waiting {
            place = match client.reply_order.first() == Some(request) {
                true => Place::Arriving,
                false => Place::ArrivingEarly(self.in_flight.early.insert(Queue::new()) as u32),
            };
            self.in_flight.requests[request].move_to(place);
        }
        if self.in_flight.requests[request].is_muted() {
            return;
        }
        match place.early() {
            None => self.send_reply(id, piece, now, wire),
            Some(early) => {
                self.in_flight.early[early as usize].push(&mut self.in_flight.arena, piece);
                client.early_bytes += piece.len();
            }
        }
        self.check_unread(id, now);
    }

    /// The last piece of a large reply was passed on. Its client may have been closed over it.
    fn on_whole(&mut self, id: Id, request: RequestId, now: Millis) {
        let entry = &mut self.in_flight.requests[request];
        entry.leave_backend();
        if entry.client() == Id::NONE {
            self.in_flight.requests.remove(request);
            return;
        }
        if let Place::Part(merging) = entry.place() {
            return self.end_part(merging, request, now);
        }
        if let Place::ArrivingEarly(early) = entry.place() {
            entry.move_to(Place::Early(early));
            return;
        }
        if let Some(client) = self.clients.get_mut(id) {
            debug_assert_eq!(client.reply_order.first(), Some(request));
            client.reply_order.pop(&self.in_flight.requests);
        }
        self.in_flight.requests.remove(request);
        self.advance_line(id, now);
    }

    /// Sends what has come for those who are next in the client's line.
    pub(super) fn advance_line(&mut self, id: Id, now: Millis) {
        let Some(client) = self.clients.get_mut(id) else { return };
        client.heard_at = now;
        loop {
            if client.subscriber.is_some() {
                client.release_messages(&mut self.in_flight.arena, &self.in_flight.requests);
            }
            let Some(next) = client.reply_order.first() else { break };
            let entry = &mut self.in_flight.requests[next];
            let Some(early) = entry.place().early() else { break };
            let queue = self.in_flight.early.remove(early as usize);
            client.early_bytes -= queue.unsent();
            client.replies.append(&mut self.in_flight.arena, queue);
            if let Place::ArrivingEarly(_) = entry.place() {
                entry.move_to(Place::Arriving);
                break;
            }
            client.reply_order.pop(&self.in_flight.requests);
            self.in_flight.requests.remove(next);
            let awaits = |subscriber: &&mut Box<Subscriber>| subscriber.awaited.front() == Some(&next);
            if let Some(subscriber) = client.subscriber.as_mut().filter(awaits) {
                subscriber.awaited.pop_front();
                if client.flow == Flow::Subscribing && subscriber.awaited.is_empty() {
                    self.turn.wake(id);
                }
            }
        }
        // Many may wait for one confirmation: who subscribes has its turn as for messages.
        match client.subscriber.is_some() && !client.is_write_blocked {
            true => self.list_subscriber(id),
            false => self.mark_client_dirty(id),
        }
        self.check_unread(id, now);
    }

    /// Appends to what a client is to be sent; a large piece goes straight to the socket, as far as it takes it.
    pub(super) fn send_reply<W: Wire>(&mut self, id: Id, bytes: &[u8], now: Millis, wire: &mut W) {
        let Some(client) = self.clients.get_mut(id).filter(|client| client.flow != Flow::Closed) else { return };
        if bytes.len() < DIRECT_MIN || client.is_write_blocked {
            client.replies.push(&mut self.in_flight.arena, bytes);
            return self.mark_client_dirty(id);
        }
        let waiting = client.replies.unsent();
        match gather(&client.replies, &self.in_flight.arena, bytes, Conn::Client(id), wire) {
            Ok(Sent { bytes: sent, is_blocked }) => {
                client.replies.consume(&mut self.in_flight.arena, sent.min(waiting));
                let past = sent.saturating_sub(waiting);
                if past > 0 {
                    client.replies.skip(past);
                }
                client.replies.push(&mut self.in_flight.arena, &bytes[past..]);
                client.is_write_blocked = is_blocked;
                client.took_at = now;
                if is_blocked {
                    self.watch_client_writes(id);
                }
                self.mark_client_dirty(id);
            }
            Err(_) => self.close_client(id, Goodbye::Broken),
        }
    }

    /// Takes the last request, which will get no reply, out of a client's line.
    pub(super) fn drop_place(&mut self, id: Id, request: RequestId) {
        if let Some(client) = self.clients.get_mut(id) {
            debug_assert_eq!(client.reply_order.last(), Some(request));
            client.reply_order.pop_last(&mut self.in_flight.requests);
        }
        self.in_flight.requests.remove(request);
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
