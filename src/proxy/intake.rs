//! Bytes of clients → requests → a verdict on each.
//!
//! A whole request is routed where it lies in the read buffer. The start of one is kept with its client, together with
//! how far it is understood, until the rest comes; the start of a *large* one is passed on at once, and the rest as it
//! arrives, so that no value needs memory of its own size.
//!
//! ```text
//!   kept ─┐
//!         ├─► frame ─► on_request ─► Forward ─► the backend's queue, or straight to its socket
//!   read ─┘     │                 ├► Done     a reply of our own, in its place
//!               │                 └► Wait     it and what is behind it is kept; its turn will come
//!               └ Partial: kept, or an upload begins
//! ```
//!
//! Plain requests, which most are, are taken by `express` before they come here, in runs, to the same effect.
//! What a request means is `routing`'s business, and when a waiting client's turn comes is decided here
//! (`serve_waiting`): in order, and never past somebody who waits.

use std::{fmt, mem};

use super::memory::COLLECTED_MIN;
use super::routing::Verdict;
use super::transaction::is_multi;
use super::{Conn, LARGE, Proxy, Wire};
use crate::buffer::Scratch;
use crate::client::{Client, Flow, Mode, Need};
use crate::notice::{Kind, printable};
use crate::reply::error;
use crate::request::RequestId;
use crate::resp::{self, Frame, ProtocolError, RequestFramer};
use crate::server_id::ServerId;
use crate::slots::Id;
use crate::timer::Millis;

/// Bytes of one client, in order; if they are in a buffer of their own, that can be given away whole.
enum Input<'a> {
    Borrowed(&'a [u8]),
    Owned(Vec<u8>),
}

impl Input<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Input::Borrowed(bytes) => bytes,
            Input::Owned(bytes) => bytes,
        }
    }
}

/// What the next bytes of a client are.
enum Next {
    /// A request of this many bytes.
    Whole(usize),
    /// This many were dealt with already: a large request is passed on as it comes, or a mistake was answered.
    Taken(usize),
    /// The start of a request.
    Partial,
}

impl Proxy {
    /// The `n` bytes in the read area of `scratch` came from a client.
    pub fn handle_client_data<W: Wire>(&mut self, id: Id, scratch: &mut Scratch, n: usize, now: Millis, wire: &mut W) {
        if self.in_flight.memory.is_watched {
            self.maybe_relieve();
        }
        let Some(client) = self.clients.get_mut(id) else { return };
        client.heard_at = now;
        let kept = client.kept.take();
        if let Some(kept) = &kept {
            self.in_flight.arena.uncharge(kept.held());
        }
        match kept {
            None => {
                let mut framer = mem::take(&mut self.reading.framer);
                let bytes = scratch.joined(&[], n);
                match &bytes[self.take_plain_requests(id, bytes, &mut framer, now)..] {
                    [] => self.reading.framer = framer,
                    rest => self.intake(id, Input::Borrowed(rest), framer, now, wire),
                }
            }
            Some(mut kept) if kept.bytes.len() <= Scratch::HEADROOM => {
                let framer = mem::take(&mut kept.framer);
                let bytes = scratch.joined(&kept.bytes, n);
                self.spare(kept);
                self.intake(id, Input::Borrowed(bytes), framer, now, wire);
            }
            Some(mut kept) => {
                // In steps, and never for more than is known to be missing.
                let missing = kept.framer.at().saturating_sub(kept.bytes.len());
                if kept.bytes.capacity() - kept.bytes.len() < n {
                    kept.bytes.reserve_exact(n.max(missing.min(kept.bytes.len() / 8)));
                }
                kept.bytes.extend_from_slice(scratch.joined(&[], n));
                let bytes = mem::take(&mut kept.bytes);
                let framer = mem::take(&mut kept.framer);
                self.spare(kept);
                self.intake(id, Input::Owned(bytes), framer, now, wire);
            }
        }
    }

    /// Deals with `input`, as far as the client is listened to, and keeps the rest.
    fn intake<W: Wire>(&mut self, id: Id, mut input: Input<'_>, mut framer: RequestFramer, now: Millis, wire: &mut W) {
        let mut at = 0;
        while at < input.bytes().len() {
            let Some(client) = self.clients.get(id) else { break };
            let (flow, mode) = (client.flow, client.mode);
            match flow {
                Flow::Open if !self.may_route(id) => break,
                Flow::Open => {}
                Flow::Uploading { .. } => {
                    let (taken, is_whole) = self.upload(id, &input.bytes()[at..], &mut framer, now, wire);
                    at += taken;
                    if is_whole { continue } else { break }
                }
                Flow::AwaitingBackend { .. } | Flow::AwaitingOwnReplies { .. } | Flow::Subscribing => break,
                Flow::Asking | Flow::Denied { .. } | Flow::Deferred | Flow::BlockedOnCommand { .. } => break,
                Flow::Paused { .. } | Flow::Throttled { .. } => break,
                Flow::Leaving | Flow::Closed => {
                    at = input.bytes().len();
                    break;
                }
            }
            let bytes = &input.bytes()[at..];
            let taken = self.take_plain_requests(id, bytes, &mut framer, now);
            if taken > 0 {
                at += taken;
                continue;
            }
            let len = match self.next_request(id, mode, bytes, &mut framer, now, wire) {
                Next::Whole(len) => len,
                Next::Taken(taken) => {
                    at += taken;
                    continue;
                }
                Next::Partial => break,
            };
            let (len, verdict) = self.decide(id, bytes, len, &framer, now, wire);
            // How the arguments of one that waits are understood is kept with it.
            if !matches!(verdict, Verdict::Wait) {
                framer.reset();
            }
            // It was for the request that had waited; those behind it have not.
            self.turn.is_wait_over = false;
            match verdict {
                Verdict::Done => at += len,
                Verdict::Wait => break,
                Verdict::Forward(backend) => {
                    let is_guarded = self.is_guarded_for(id, &input.bytes()[at..at + len]);
                    // Only a request that has its buffer to itself is given away with it.
                    match &mut input {
                        Input::Owned(bytes) if at == 0 && len == bytes.len() && len > LARGE => {
                            let bytes = mem::take(bytes);
                            self.forward_owned(backend, bytes);
                        }
                        input => {
                            self.forward(backend, &input.bytes()[at..at + len], now, wire);
                            at += len;
                        }
                    }
                    if is_guarded {
                        self.send_guard(backend);
                    }
                    self.on_forwarded(id, now);
                }
            }
        }
        self.keep(id, input, at, framer, now);
    }

    /// Looks for the end of the request that `bytes` begin with.
    #[inline]
    fn next_request<W: Wire>(
        &mut self,
        id: Id,
        mode: Mode,
        bytes: &[u8],
        framer: &mut RequestFramer,
        now: Millis,
        wire: &mut W,
    ) -> Next {
        let limits = match mode {
            Mode::Unauthenticated => &self.reading.unauthenticated_limits,
            _ => &self.reading.request_limits,
        };
        let error = match framer.frame(bytes, limits) {
            Ok(Frame::Complete(len)) => return Next::Whole(len),
            Ok(Frame::Partial) => {
                if let Some(taken) = self.maybe_begin_upload(id, bytes, framer, now, wire) {
                    return Next::Taken(taken);
                }
                let is_refused = framer.at() > self.settings.limits.buffered_bytes_max
                    || bytes.len() > COLLECTED_MIN && self.is_out_of_memory(bytes.len());
                return if is_refused { Next::Taken(self.refuse_partial(id, bytes, framer)) } else { Next::Partial };
            }
            Err(error) => error,
        };
        self.on_protocol_error(id, error, now);
        Next::Taken(0)
    }

    /// There is no room for the request that `bytes` are the start of. Its client is told so, in its place, and the
    /// rest is thrown away as it comes; if the end of it could not be told, that is the end of the client.
    ///
    /// Returns how many bytes were taken.
    fn refuse_partial(&mut self, id: Id, bytes: &[u8], framer: &mut RequestFramer) -> usize {
        self.break_transaction(id);
        self.refuse_for_memory(id, "This request");
        let Some(client) = self.clients.get_mut(id) else { return bytes.len() };
        if !framer.is_multibulk() || client.mode != Mode::Plain || client.is_ended {
            self.leave(id);
            return bytes.len();
        }
        client.flow = Flow::Uploading { backend: Id::NONE, request: RequestId::MAX };
        let taken = framer.at().min(bytes.len());
        framer.rebase(taken);
        taken
    }

    /// The request that is being collected for this client has to give way.
    pub(super) fn refuse_kept(&mut self, id: Id) {
        let Some(mut kept) = self.take_kept(id) else { return };
        let bytes = mem::take(&mut kept.bytes);
        let mut framer = mem::take(&mut kept.framer);
        let taken = self.refuse_partial(id, &bytes, &mut framer);
        self.keep(id, Input::Borrowed(&bytes), taken, framer, self.wheel.now());
    }

    /// Decides about the whole request of `len` bytes that `bytes` begin with, or about the whole transaction that it
    /// begins. Returns the length of what was decided about.
    #[inline]
    fn decide<W: Wire>(
        &mut self,
        id: Id,
        bytes: &[u8],
        len: usize,
        framer: &RequestFramer,
        now: Millis,
        wire: &mut W,
    ) -> (usize, Verdict) {
        let request = &bytes[..len];
        if !framer.is_multibulk() {
            // No arguments at all (`*0`) is no request.
            let is_empty = request[0] == b'*';
            return (len, if is_empty { Verdict::Done } else { self.on_inline(id, request, now, wire) });
        }
        let whole = is_multi(request).then(|| self.on_whole_transaction(id, bytes, now)).flatten();
        whole.unwrap_or_else(|| (len, self.on_request(id, request, framer.args(), now)))
    }

    /// Whether the next request of a client may be routed. In a new routing epoch, when another server has come to
    /// stand in for one, what is outstanding from the old one is waited for: else a request could overtake an earlier
    /// one for the same key.
    #[inline]
    fn may_route(&mut self, id: Id) -> bool {
        let epoch = self.router.epoch();
        let Some(client) = self.clients.get_mut(id).filter(|client| client.routing_epoch != epoch) else { return true };
        if let Some(&affinity) = client.affinities.first() {
            self.await_replies(id, Flow::AwaitingOwnReplies { server: affinity.server });
            return false;
        }
        client.routing_epoch = epoch;
        true
    }

    /// Keeps what lies behind `at`, if anything does, with how far it is understood.
    fn keep(&mut self, id: Id, input: Input<'_>, at: usize, mut framer: RequestFramer, now: Millis) {
        let has_rest = at < input.bytes().len();
        let must_keep = |client: &&mut Client| match client.flow {
            Flow::Closed => false,
            // How far the request is understood, if nothing else.
            Flow::Uploading { .. } => true,
            _ => has_rest,
        };
        let Some(client) = self.clients.get_mut(id).filter(must_keep) else {
            framer.clear();
            self.reading.framer = framer;
            return;
        };
        let mut kept = self.reading.spare_kept.pop().unwrap_or_default();
        self.reading.framer = mem::replace(&mut kept.framer, framer);
        self.reading.framer.clear();
        kept.bytes = match input {
            Input::Owned(bytes) if at == 0 => bytes,
            input => {
                let mut own = mem::take(&mut kept.bytes);
                own.extend_from_slice(&input.bytes()[at..]);
                own
            }
        };
        kept.since = matches!(client.flow, Flow::Open | Flow::Uploading { .. }).then_some(now);
        self.in_flight.arena.charge(kept.held());
        client.kept = Some(kept);
        self.watch_request(id, now);
    }

    /// An inline request: split as Redis splits it, and dealt with in its canonical form.
    fn on_inline<W: Wire>(&mut self, id: Id, line: &[u8], now: Millis, wire: &mut W) -> Verdict {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let mut request = Vec::new();
        match resp::split_inline(line, self.upstreams.introduction().mixes_quotes(), &mut request) {
            Ok(0) => return Verdict::Done,
            Ok(_) => {}
            Err(error) => {
                self.on_protocol_error(id, error, now);
                return Verdict::Done;
            }
        }
        let mut framer = RequestFramer::new();
        if let Err(error) = framer.frame(&request, &self.reading.request_limits) {
            self.on_protocol_error(id, error, now);
            return Verdict::Done;
        }
        match self.on_request(id, &request, framer.args(), now) {
            Verdict::Forward(backend) => {
                let is_guarded = self.is_guarded_for(id, &request);
                self.forward(backend, &request, now, wire);
                if is_guarded {
                    self.send_guard(backend);
                }
                self.on_forwarded(id, now);
                Verdict::Done
            }
            verdict => verdict,
        }
    }

    /// The peer does not speak the protocol: it is told so, in its place, and then closed.
    fn on_protocol_error(&mut self, id: Id, error: ProtocolError, now: Millis) {
        self.end_with(id, Kind::ClientGarbage, format_args!("{error}"), now);
    }

    /// Nothing more can be understood of what a client sends, or nothing comes: it is told, in the place of the request
    /// that it is sending, and then closed.
    pub(super) fn end_with(&mut self, id: Id, kind: Kind, text: fmt::Arguments<'_>, now: Millis) {
        let shown = printable(text.to_string().as_bytes());
        self.warn_of_client(kind, id, format_args!("closed: {shown}"));
        let upload = match self.clients.get(id).map(|client| client.flow) {
            Some(Flow::Uploading { backend, .. }) => Some(backend),
            _ => None,
        };
        if let Some(backend) = upload {
            self.abandon_upload(backend, id, now);
        }
        // Whose rest is thrown away was answered with that.
        if upload != Some(Id::NONE) {
            self.reply_with(id, |out| error::write_error(out, format_args!("ERR {text}")));
        }
        self.leave(id);
    }

    /// Begins to pass on a request that is large and not whole, if it can be routed by what is there.
    ///
    /// Returns how many bytes were taken; `None` if the request must be collected first.
    fn maybe_begin_upload<W: Wire>(
        &mut self,
        id: Id,
        bytes: &[u8],
        framer: &mut RequestFramer,
        now: Millis,
        wire: &mut W,
    ) -> Option<usize> {
        // Of a client that has left, the rest will never come.
        let must_be_whole = self.clients.get(id).is_none_or(|client| client.is_restrained() || client.is_ended);
        if framer.at().max(bytes.len()) <= LARGE || !framer.is_multibulk() || must_be_whole {
            return None;
        }
        let taken = framer.passable(bytes.len());
        let (backend, request) = self.route_upload(id, &bytes[..taken], framer.args(), framer.args_total(), now)?;
        framer.rebase(taken);
        let entry = self.upstreams.backend_mut(backend)?;
        entry.begin_upload(id, now);
        self.clients.get_mut(id)?.flow = Flow::Uploading { backend, request };
        self.forward(backend, &bytes[..taken], now, wire);
        Some(taken)
    }

    /// Passes on what has come of a large request. Returns how much of `bytes` was taken, and whether that was all.
    fn upload<W: Wire>(
        &mut self,
        id: Id,
        bytes: &[u8],
        framer: &mut RequestFramer,
        now: Millis,
        wire: &mut W,
    ) -> (usize, bool) {
        let Some(Flow::Uploading { backend, request }) = self.clients.get(id).map(|client| client.flow) else {
            return (0, false);
        };
        let (taken, is_whole) = match framer.frame(bytes, &self.reading.request_limits) {
            Ok(Frame::Complete(len)) => (len, true),
            Ok(Frame::Partial) => (framer.passable(bytes.len()), false),
            Err(error) => {
                self.on_protocol_error(id, error, now);
                return (bytes.len(), false);
            }
        };
        let limit_ms =
            self.clients.get(id).and_then(|client| self.request_limit(client)).map_or(u64::MAX, |limit| limit.0);
        if let Some(entry) = self.upstreams.backend_mut(backend).filter(|backend| backend.is_uploaded_by(id)) {
            entry.on_uploaded(taken, limit_ms, now);
            self.in_flight.requests[request].grow(taken);
            self.forward(backend, &bytes[..taken], now, wire);
        }
        if !is_whole {
            framer.rebase(taken);
            return (taken, false);
        }
        framer.reset();
        // Closing the connection may have been the end of both.
        if let Some(client) = self.clients.get_mut(id).filter(|client| matches!(client.flow, Flow::Uploading { .. })) {
            client.flow = Flow::Open;
        }
        if let Some(entry) = self.upstreams.backend_mut(backend).filter(|backend| backend.is_uploaded_by(id)) {
            entry.end_upload();
            let deadline = now + self.settings.timeouts.remote_read_ms;
            self.in_flight.requests[request].renew(deadline);
            entry.wake_at(&mut self.wheel, super::Timer::Backend(backend), deadline);
        }
        (taken, true)
    }

    /// Half of a request was given to this backend, and the rest will never come: if it was sent, nothing can be sent
    /// behind it.
    pub(super) fn abandon_upload(&mut self, id: Id, client: Id, now: Millis) {
        let Some(backend) = self.upstreams.backend_mut(id).filter(|backend| backend.is_uploaded_by(client)) else {
            return;
        };
        backend.end_upload();
        let server = backend.server();
        let mut is_sent = true;
        if let Some(request) = backend.in_flight_mut().pop_last(&mut self.in_flight.requests) {
            let entry = &mut self.in_flight.requests[request];
            entry.leave_backend();
            if backend.is_setting_up() {
                // Nothing of it was sent.
                backend.drop_unsent(backend.queue().unsent() - entry.bytes() as usize, &mut self.in_flight.arena);
                is_sent = false;
            }
            if entry.client() == Id::NONE {
                self.in_flight.requests.remove(request);
            } else {
                // Its client is told why it is closed, in the place of this request.
                self.unpin(client, server);
                self.drop_place(client, request);
            }
        }
        if is_sent {
            self.drain_backend(id, now);
        }
    }

    /// Gives those a turn that wait for one: first who waited for its own replies, then, at each server in order, who
    /// waited for a backend.
    pub(super) fn serve_waiting<W: Wire>(&mut self, now: Millis, wire: &mut W) {
        if !self.clients.paused.is_empty() {
            self.serve_paused(now);
        }
        while let Some(id) = self.turn.next_woken() {
            let Some(client) = self.clients.get_mut(id) else { continue };
            match client.flow {
                Flow::AwaitingOwnReplies { server } if client.affinity(server).is_none() => client.flow = Flow::Open,
                Flow::Throttled { .. } => client.flow = Flow::Open,
                Flow::Paused { .. } => {
                    self.on_paused(id, now);
                    continue;
                }
                Flow::Subscribing => client.flow = Flow::Open,
                Flow::Open => {}
                _ => continue,
            }
            self.resume_client(id, now, wire);
        }
        self.turn.room_was_looked_at();
        if self.clients.parked == 0 {
            return;
        }
        for server in self.router.servers() {
            for need in [Need::Room, Need::Lease] {
                self.serve_line(server, need, now, wire);
            }
        }
    }

    fn serve_line<W: Wire>(&mut self, server: ServerId, need: Need, now: Millis, wire: &mut W) {
        // Who has to wait again goes to the end, and is not looked at twice.
        let mut at = 0;
        for _ in 0..self.upstreams.pool(server).waiting(need).len() {
            let Some(&id) = self.upstreams.pool(server).waiting(need).get(at) else { return };
            let need = match self.clients.get(id).map(|client| client.flow) {
                Some(Flow::AwaitingBackend { need, .. }) => need,
                _ => need,
            };
            if !self.can_serve(id, server, need, now) {
                if need != Need::LastWriter {
                    return;
                }
                // Only one backend will do for it. It keeps its place, and nobody waits for that one with it.
                at += 1;
                continue;
            }
            self.upstreams.pool_mut(server).unpark(need, id);
            self.clients.parked -= 1;
            let Some(client) = self.clients.get_mut(id) else { continue };
            client.flow = Flow::Open;
            self.turn.served = id;
            self.resume_client(id, now, wire);
            self.turn.served = Id::NONE;
        }
    }

    /// Deals with what a client had to keep, and then with what its socket has.
    pub(super) fn resume_client<W: Wire>(&mut self, id: Id, now: Millis, wire: &mut W) {
        if let Some(mut kept) = self.take_kept(id) {
            let bytes = mem::take(&mut kept.bytes);
            let framer = mem::take(&mut kept.framer);
            self.spare(kept);
            self.intake(id, Input::Owned(bytes), framer, now, wire);
        }
        self.turn.resume(Conn::Client(id));
        self.maybe_say_goodbye(id);
    }
}
