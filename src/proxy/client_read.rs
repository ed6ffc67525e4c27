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
//! Plain requests, which most are, are taken by `fast_path` before they come here, in runs, to the same effect.
//! What a request means is `routing`'s business, and when a waiting client's turn comes is decided here
//! (`serve_waiting`): in order, and never past somebody who waits.

use std::ops::Range;
use std::{fmt, mem};

use super::call::{Standing, Verdict, When};
use super::clients::Clients;
use super::held::Held;
use super::in_flight::Ticket;
use super::interface::{Conn, LARGE, Wire};
use super::kept::{self, Input};
use super::memory::{self, COLLECTED_MIN};
use super::redirected::Redirected;
use super::router::Router;
use super::state::Proxy;
use super::transaction_marks::is_multi;
use super::turn::Turn;
use super::{
    answer, bulk, close, dispatch, enqueue, fast_path, follow_up, forward, guard, reads, relief, report, routing,
    whole_transaction,
};
use crate::buffer::Scratch;
use crate::client::{Flow, Mode, Need};
use crate::notice::{Kind, printable};
use crate::reply::error;
use crate::resp::{self, Frame, ProtocolError, RequestFramer};
use crate::server_id::ServerId;
use crate::slots::Id;
use crate::timer::Millis;

/// What the next bytes of a client are.
enum Next {
    /// A request of this many bytes.
    Whole(usize),
    /// This many were dealt with already: a large request is passed on as it comes, or a mistake was answered.
    Taken(usize),
    /// The start of a request.
    Partial,
}

/// The `n` bytes in the read area of `scratch` came from a client.
pub(super) fn handle_client_data<W: Wire>(
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
    let Some(client) = proxy.clients.get_mut(id) else { return };
    client.connection_mut().on_heard(now);
    let kept = client.take_kept();
    if let Some(kept) = &kept {
        proxy.in_flight.arena.uncharge(kept.held());
    }
    match kept {
        None => {
            let mut framer = mem::take(&mut proxy.reading.framer);
            let bytes = scratch.joined(&[], n);
            match &bytes[fast_path::take_plain_requests(proxy, id, bytes, &mut framer, now)..] {
                [] => proxy.reading.framer = framer,
                rest => intake(proxy, id, Input::Borrowed(rest), framer, When::at(now), wire),
            }
        }
        Some(mut kept) if kept.bytes().len() <= Scratch::HEADROOM => {
            let framer = kept.take_framer();
            let bytes = scratch.joined(kept.bytes(), n);
            proxy.reading.spare(kept);
            intake(proxy, id, Input::Borrowed(bytes), framer, When::at(now), wire);
        }
        Some(mut kept) => {
            kept.collect(scratch.joined(&[], n));
            let (bytes, framer) = kept.take();
            proxy.reading.spare(kept);
            intake(proxy, id, Input::Owned(bytes), framer, When::at(now), wire);
        }
    }
}

/// Deals with `input`, as far as the client is listened to, and keeps the rest.
fn intake<W: Wire>(
    proxy: &mut Proxy,
    id: Id,
    mut input: Input<'_>,
    mut framer: RequestFramer,
    mut when: When,
    wire: &mut W,
) {
    let mut at = 0;
    while at < input.bytes().len() {
        let Some(client) = proxy.clients.get(id) else { break };
        let (flow, mode) = (client.flow(), client.mode());
        match flow {
            Flow::Open if !may_route_now(proxy, id) => break,
            Flow::Open => {}
            Flow::Uploading { .. } => {
                let (taken, is_whole) = upload(proxy, id, &input.bytes()[at..], &mut framer, when.now, wire);
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
        let taken = take_plain_requests(proxy, id, bytes, &mut framer, when);
        if taken > 0 {
            when = when.behind();
            at += taken;
            continue;
        }
        let len = match next_request(proxy, id, mode, bytes, &mut framer, when, wire) {
            Next::Whole(len) => len,
            Next::Taken(taken) => {
                at += taken;
                continue;
            }
            Next::Partial => break,
        };
        let (len, verdict) = decide(proxy, id, bytes, len, &framer, when, wire);
        // How the arguments of one that waits are understood is kept with it.
        if !matches!(verdict, Verdict::Wait) {
            framer.reset();
        }
        when = when.behind();
        match verdict {
            Verdict::Done => at += len,
            Verdict::Wait => break,
            Verdict::Forward(ticket) => {
                at += forward_request(proxy, id, ticket, &mut input, at..at + len, when.now, wire)
            }
        }
    }
    kept::keep(proxy, id, input, at, framer, when.now);
}

/// The fast path, unless the first request has waited: how long it did is not known there.
#[inline]
fn take_plain_requests(proxy: &mut Proxy, id: Id, bytes: &[u8], framer: &mut RequestFramer, when: When) -> usize {
    match when.waited_ms {
        0 => fast_path::take_plain_requests(proxy, id, bytes, framer, when.now),
        _ => 0,
    }
}

/// Forwards the request that stands at `place` in `input`. Returns how many bytes are dealt with and still there.
#[inline]
fn forward_request<W: Wire>(
    proxy: &mut Proxy,
    id: Id,
    ticket: Ticket,
    input: &mut Input<'_>,
    place: Range<usize>,
    now: Millis,
    wire: &mut W,
) -> usize {
    let backend = ticket.backend();
    let is_guarded =
        guard::is_guarded_for(&proxy.settings, &proxy.clients, &proxy.reading, id, &input.bytes()[place.clone()]);
    // Only a request that has its buffer to itself is given away with it.
    let taken = match input {
        Input::Owned(bytes) if place == (0..bytes.len()) && bytes.len() > LARGE => {
            let bytes = mem::take(bytes);
            enqueue::forward_owned(&mut proxy.upstreams, &mut proxy.in_flight, &mut proxy.turn, ticket, bytes);
            0
        }
        input => {
            let request = &input.bytes()[place];
            forward::forward(proxy, ticket, request, now, wire);
            request.len()
        }
    };
    if is_guarded {
        guard::send_guard(&mut proxy.upstreams, &mut proxy.in_flight, &mut proxy.turn, backend);
    }
    bulk::on_forwarded(proxy, id, now);
    taken
}

/// Looks for the end of the request that `bytes` begin with.
#[inline]
fn next_request<W: Wire>(
    proxy: &mut Proxy,
    id: Id,
    mode: Mode,
    bytes: &[u8],
    framer: &mut RequestFramer,
    when: When,
    wire: &mut W,
) -> Next {
    let limits = match mode {
        Mode::Unauthenticated => &proxy.reading.unauthenticated_limits,
        _ => &proxy.reading.request_limits,
    };
    let error = match framer.frame(bytes, limits) {
        Ok(Frame::Complete(len)) => return Next::Whole(len),
        Ok(Frame::Partial) => {
            if let Some(taken) = maybe_begin_upload(proxy, id, bytes, framer, when, wire) {
                return Next::Taken(taken);
            }
            let is_refused = framer.at() > proxy.settings.limits.buffered_bytes_max
                || bytes.len() > COLLECTED_MIN
                    && memory::is_out_of_memory(&proxy.settings, &proxy.in_flight, bytes.len());
            return if is_refused {
                Next::Taken(kept::refuse_partial(proxy, id, bytes, framer))
            } else {
                Next::Partial
            };
        }
        Err(error) => error,
    };
    on_protocol_error(proxy, id, error);
    Next::Taken(0)
}

/// Decides about the whole request of `len` bytes that `bytes` begin with, or about the whole transaction that it
/// begins. Returns the length of what was decided about.
#[inline]
fn decide<W: Wire>(
    proxy: &mut Proxy,
    id: Id,
    bytes: &[u8],
    len: usize,
    framer: &RequestFramer,
    when: When,
    wire: &mut W,
) -> (usize, Verdict) {
    let request = &bytes[..len];
    if !framer.is_multibulk() {
        // No arguments at all (`*0`) is no request.
        let is_empty = request[0] == b'*';
        return (len, if is_empty { Verdict::Done } else { on_inline(proxy, id, request, when, wire) });
    }
    if is_multi(request) && !proxy.router.replicas().is_empty() {
        if let Some(verdict) = reads::before_transaction(proxy, id, when.now) {
            return (len, verdict);
        }
    }
    let whole = is_multi(request).then(|| whole_transaction::on_whole_transaction(proxy, id, bytes, when)).flatten();
    whole.unwrap_or_else(|| (len, routing::on_request(proxy, id, request, framer.args(), when)))
}

#[inline]
fn may_route_now(proxy: &mut Proxy, id: Id) -> bool {
    let waiting = (&proxy.held, &proxy.redirected);
    may_route(&proxy.router, waiting, &mut proxy.clients, &mut proxy.turn, id)
}

/// Whether the next request of a client may be routed. In a new routing epoch, when another server has come to
/// stand in for one, what is outstanding from the old one is waited for: else a request could overtake an earlier
/// one for the same key.
#[inline]
fn may_route(
    router: &Router,
    (held, redirected): (&Held, &Redirected),
    clients: &mut Clients,
    turn: &mut Turn,
    id: Id,
) -> bool {
    let epoch = router.epoch();
    let Some(client) = clients.get_mut(id).filter(|client| !client.is_routed_in(epoch)) else { return true };
    let outstanding = client.affinities().first().map(|affinity| affinity.server);
    // What a server has refused because it is no master is not overtaken either.
    let redirected_at = || redirected.line(id).map(|line| line.server);
    let refused = if client.is_held() { held.server_of(id).or_else(redirected_at) } else { None };
    if let Some(server) = outstanding.or(refused) {
        bulk::await_replies(clients, turn, id, Flow::AwaitingOwnReplies { server });
        return false;
    }
    client.route_in(epoch);
    true
}

/// An inline request: split as Redis splits it, and dealt with in its canonical form.
fn on_inline<W: Wire>(proxy: &mut Proxy, id: Id, line: &[u8], when: When, wire: &mut W) -> Verdict {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut request = Vec::new();
    match resp::split_inline(line, proxy.upstreams.introduction().mixes_quotes(), &mut request) {
        Ok(0) => return Verdict::Done,
        Ok(_) => {}
        Err(error) => {
            on_protocol_error(proxy, id, error);
            return Verdict::Done;
        }
    }
    let mut framer = RequestFramer::new();
    if let Err(error) = framer.frame(&request, &proxy.reading.request_limits) {
        on_protocol_error(proxy, id, error);
        return Verdict::Done;
    }
    match routing::on_request(proxy, id, &request, framer.args(), when) {
        Verdict::Forward(ticket) => {
            let backend = ticket.backend();
            let is_guarded = guard::is_guarded_for(&proxy.settings, &proxy.clients, &proxy.reading, id, &request);
            forward::forward(proxy, ticket, &request, when.now, wire);
            if is_guarded {
                guard::send_guard(&mut proxy.upstreams, &mut proxy.in_flight, &mut proxy.turn, backend);
            }
            bulk::on_forwarded(proxy, id, when.now);
            Verdict::Done
        }
        verdict => verdict,
    }
}

/// The peer does not speak the protocol: it is told so, in its place, and then closed.
fn on_protocol_error(proxy: &mut Proxy, id: Id, error: ProtocolError) {
    end_with(proxy, id, Kind::ClientGarbage, format_args!("{error}"));
}

/// Nothing more can be understood of what a client sends, or nothing comes: it is told, in the place of the request
/// that it is sending, and then closed.
pub(super) fn end_with(proxy: &mut Proxy, id: Id, kind: Kind, text: fmt::Arguments<'_>) {
    let shown = printable(text.to_string().as_bytes());
    report::warn_of_client(&proxy.clients, &mut proxy.journal, kind, id, format_args!("closed: {shown}"));
    let upload = match proxy.clients.get(id).map(|client| client.flow()) {
        Some(Flow::Uploading { backend, .. }) => Some(backend),
        _ => None,
    };
    if let Some(backend) = upload {
        follow_up::abandon_upload(proxy, backend, id);
    }
    // Whose rest is thrown away was answered with that.
    if upload != Some(Id::NONE) {
        answer::reply_with(proxy, id, |out| error::write_error(out, format_args!("ERR {text}")));
    }
    close::leave(&mut proxy.clients, &mut proxy.turn, id);
}

/// Begins to pass on a request that is large and not whole, if it can be routed by what is there.
///
/// Returns how many bytes were taken; `None` if the request must be collected first.
fn maybe_begin_upload<W: Wire>(
    proxy: &mut Proxy,
    id: Id,
    bytes: &[u8],
    framer: &mut RequestFramer,
    when: When,
    wire: &mut W,
) -> Option<usize> {
    // Of a client that has left, the rest will never come.
    let must_be_whole =
        proxy.clients.get(id).is_none_or(|client| client.is_restrained() || client.connection().is_ended());
    if framer.at().max(bytes.len()) <= LARGE || !framer.is_multibulk() || must_be_whole {
        return None;
    }
    let taken = framer.passable(bytes.len());
    let ticket = routing::route_upload(proxy, id, &bytes[..taken], framer.args(), framer.args_total(), when)?;
    let (backend, request) = (ticket.backend(), ticket.request());
    framer.rebase(taken);
    let entry = proxy.upstreams.backend_mut(backend)?;
    entry.begin_upload(id, when.now);
    proxy.clients.get_mut(id)?.enter(Flow::Uploading { backend, request });
    forward::forward(proxy, ticket, &bytes[..taken], when.now, wire);
    Some(taken)
}

/// Passes on what has come of a large request. Returns how much of `bytes` was taken, and whether that was all.
fn upload<W: Wire>(
    proxy: &mut Proxy,
    id: Id,
    bytes: &[u8],
    framer: &mut RequestFramer,
    now: Millis,
    wire: &mut W,
) -> (usize, bool) {
    let Some(Flow::Uploading { backend, request }) = proxy.clients.get(id).map(|client| client.flow()) else {
        return (0, false);
    };
    let (taken, is_whole) = match framer.frame(bytes, &proxy.reading.request_limits) {
        Ok(Frame::Complete(len)) => (len, true),
        Ok(Frame::Partial) => (framer.passable(bytes.len()), false),
        Err(error) => {
            on_protocol_error(proxy, id, error);
            return (bytes.len(), false);
        }
    };
    let limit_ms = proxy
        .clients
        .get(id)
        .and_then(|client| kept::request_limit(&proxy.settings, &proxy.upstreams, client))
        .map_or(u64::MAX, |limit| limit.0);
    if let Some(entry) = proxy.upstreams.backend_mut(backend).filter(|backend| backend.is_uploaded_by(id)) {
        entry.on_uploaded(taken, limit_ms, now);
        proxy.in_flight.requests[request].grow(taken);
        forward::forward_more(proxy, backend, &bytes[..taken], now, wire);
    }
    if !is_whole {
        framer.rebase(taken);
        return (taken, false);
    }
    framer.reset();
    // Closing the connection may have been the end of both.
    if let Some(client) = proxy.clients.get_mut(id).filter(|client| matches!(client.flow(), Flow::Uploading { .. })) {
        client.enter(Flow::Open);
    }
    if let Some(entry) = proxy.upstreams.backend_mut(backend).filter(|backend| backend.is_uploaded_by(id)) {
        entry.end_upload();
        entry.count_queued(proxy.in_flight.measured.clock_us);
        let deadline = now + proxy.settings.timeouts.remote_read_ms;
        let entry_hash = proxy.in_flight.requests[request].hash();
        proxy.in_flight.requests[request].renew(deadline);
        entry.wake_at(&mut proxy.wheel, super::interface::Timer::Backend(backend), deadline);
        reads::note_uploaded(&proxy.settings, &proxy.router, entry_hash, now);
    }
    (taken, true)
}

/// Gives those a turn that wait for one: first who waited for its own replies, then, at each server in order, who
/// waited for a backend.
pub(super) fn serve_waiting<W: Wire>(proxy: &mut Proxy, now: Millis, wire: &mut W) {
    if proxy.clients.paused() > 0 {
        bulk::serve_paused(proxy, now);
    }
    while let Some(id) = proxy.turn.next_woken() {
        let Some(client) = proxy.clients.get_mut(id) else { continue };
        match client.flow() {
            Flow::AwaitingOwnReplies { server } if client.affinity(server).is_none() => client.enter(Flow::Open),
            Flow::Throttled { .. } => client.enter(Flow::Open),
            Flow::Paused { .. } => {
                bulk::on_paused(proxy, id, now);
                continue;
            }
            Flow::Subscribing => client.enter(Flow::Open),
            Flow::Open => {}
            _ => continue,
        }
        resume_client(proxy, id, When::at(now), wire);
    }
    proxy.turn.room_was_looked_at();
    if proxy.clients.parked() == 0 {
        return;
    }
    for slot in 0..proxy.upstreams.slots() {
        let server = proxy.upstreams.server_in(slot);
        for need in [Need::Room, Need::Lease] {
            serve_line(proxy, server, need, now, wire);
        }
    }
}

fn serve_line<W: Wire>(proxy: &mut Proxy, server: ServerId, need: Need, now: Millis, wire: &mut W) {
    // Who has to wait again goes to the end, and is not looked at twice.
    let mut at = 0;
    for _ in 0..proxy.upstreams.pool(server).waiting(need).len() {
        let Some(&id) = proxy.upstreams.pool(server).waiting(need).get(at) else { return };
        let need = match proxy.clients.get(id).map(|client| client.flow()) {
            Some(Flow::AwaitingBackend { need, .. }) => need,
            _ => need,
        };
        if !dispatch::can_serve(proxy, id, server, need, now) {
            if need != Need::LastWriter {
                return;
            }
            // Only one backend will do for it. It keeps its place, and nobody waits for that one with it.
            at += 1;
            continue;
        }
        let Some(waited_ms) = dispatch::unpark(proxy, id, server, need, now) else { continue };
        resume_client(proxy, id, When { now, standing: Standing::Front, waited_ms: waited_ms as u32 }, wire);
    }
}

/// Deals with what a client had to keep, and then with what its socket has.
pub(super) fn resume_client<W: Wire>(proxy: &mut Proxy, id: Id, when: When, wire: &mut W) {
    if let Some(mut kept) = memory::take_kept(&mut proxy.clients, &mut proxy.in_flight, id) {
        let (bytes, framer) = kept.take();
        proxy.reading.spare(kept);
        intake(proxy, id, Input::Owned(bytes), framer, when, wire);
    }
    proxy.turn.resume(Conn::Client(id));
    close::maybe_close(proxy, id);
}

/// Gives those their turn who were deferred, in order; the one that is served stands at the front.
#[cold]
pub(super) fn serve_deferred<W: Wire>(proxy: &mut Proxy, now: Millis, wire: &mut W) {
    while proxy.turn.has_work_left() {
        let Some(id) = proxy.clients.first_deferred() else { return };
        if let Some(client) = proxy.clients.get_mut(id).filter(|client| client.flow() == Flow::Deferred) {
            client.enter(Flow::Open);
            resume_client(proxy, id, When::at(now), wire);
        }
        proxy.clients.pop_deferred();
    }
}
