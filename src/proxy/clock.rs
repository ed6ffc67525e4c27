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
use super::bulk::pause_deadline;
use super::{Conn, Goodbye, NO_DEADLINE, Proxy, Timer, Wire};
use crate::backend::{Backend, Phase};
use crate::client::{Client, Flow, Need};
use crate::notice::Kind;
use crate::pool::Pool;
use crate::request::{Place, Request, RequestId};
use crate::server_id::ServerId;
use crate::slots::Id;
use crate::timer::Millis;

/// A connection that is not the only one to its server is closed when it was of no use for so long, in milliseconds.
const IDLE_MS: u64 = 30_000;

impl Proxy {
    /// Time has passed.
    pub fn handle_timeouts<W: Wire>(&mut self, now: Millis, wire: &mut W) {
        self.wheel.advance(now);
        while let Some(timer) = self.wheel.poll_expired() {
            match timer {
                Timer::Client(id) => self.on_client_alarm(id, now, wire),
                Timer::Backend(id) => self.on_backend_alarm(id, now),
                Timer::Probe(server) => self.on_probe_due(server, now),
                Timer::Subscription(server) => self.on_subscription_due(server, now),
            }
        }
    }

    fn on_client_alarm<W: Wire>(&mut self, id: Id, now: Millis, wire: &mut W) {
        let Some(client) = self.clients.get_mut(id) else { return };
        client.alarm.on_fired();
        let flow = client.flow;
        match flow {
            Flow::AwaitingBackend { server, need, deadline } if deadline <= now => {
                return self.on_wait_over(id, server, need, now, wire);
            }
            Flow::Denied { request, until } if until <= now => self.on_denial_over(id, request, now),
            // It publishes now, whoever hears it.
            Flow::Subscribing => self.turn.wake(id),
            Flow::Paused { since, is_full }
                if pause_deadline(&self.settings.timeouts, since, is_full).is_some_and(|deadline| deadline <= now) =>
            {
                self.on_paused_for_long(id, since, is_full, now);
            }
            _ => {}
        }
        self.check_unread(id, now);
        if self.clients.get(id).is_some_and(|client| client.subscriber.is_some()) {
            self.check_subscriber(id, now);
        }
        let publish_deadline = self.publisher_deadline(id).filter(|&deadline| deadline > now);
        let timeouts = &self.settings.timeouts;
        let Some(client) = self.clients.get_mut(id).filter(|client| client.flow != Flow::Closed) else { return };
        // What was queued in this turn was not offered yet: only a full socket makes no progress.
        let write_deadline =
            (client.is_write_blocked && timeouts.local_write_ms > 0).then(|| client.took_at + timeouts.local_write_ms);
        let is_to_speak = match client.flow {
            // As in Redis, who hears messages need not say anything.
            Flow::Open => client.is_quiet() && !client.is_hearing(),
            // The request that it is sending stands in its line already.
            Flow::Uploading { request, .. } => {
                client.replies.unsent() == 0 && client.reply_order.first().is_none_or(|first| first == request)
            }
            _ => false,
        };
        // While it is owed something there is no deadline yet, but there will be one: look again.
        let heard_at = if is_to_speak { client.heard_at } else { now };
        let read_deadline = (timeouts.local_read_ms > 0).then(|| heard_at + timeouts.local_read_ms);
        let wait_deadline = match client.flow {
            Flow::AwaitingBackend { deadline, .. } | Flow::Denied { until: deadline, .. } => Some(deadline),
            Flow::Subscribing => publish_deadline,
            Flow::Paused { since, is_full } => pause_deadline(timeouts, since, is_full),
            _ => None,
        };
        if write_deadline.is_some_and(|deadline| deadline <= now) {
            return self.close_client(id, Goodbye::WriteTimeout);
        }
        let request_deadline = self.request_deadline(id, now);
        if request_deadline.is_some_and(|deadline| deadline <= now) {
            return self.on_request_stopped(id, now);
        }
        if read_deadline.is_some_and(|deadline| deadline <= now) {
            return self.close_client(id, Goodbye::ReadTimeout);
        }
        let next = [write_deadline, read_deadline, wait_deadline, request_deadline].into_iter().flatten().min();
        if let (Some(next), Some(client)) = (next, self.clients.get_mut(id)) {
            client.alarm.set(&mut self.wheel, Timer::Client(id), next);
        }
    }

    /// How long the rest of the request that a client is sending is waited for while nothing of it comes, and which key
    /// says so. Who waits for the backend that it holds shall not wait in vain. Of one that holds a backend, what comes
    /// too slowly does not count (`Backend::uploaded_at`): it has as long as its bytes are worth, and this limit once.
    pub(super) fn request_limit(&self, client: &Client) -> Option<(u64, &'static str)> {
        let timeouts = &self.settings.timeouts;
        let limits = match client.flow {
            Flow::Open => [None, Some((timeouts.local_request_ms, "localRequestTimeout"))],
            Flow::Uploading { backend, .. } => {
                let pool = self.upstreams.backend(backend).map(|entry| self.upstreams.pool(entry.server()));
                let is_wanted = pool.is_some_and(Pool::is_waited_for);
                let wanted = is_wanted.then_some((timeouts.remote_connect_ms, "remoteConnectTimeout"));
                [wanted, Some((timeouts.local_request_ms, "localRequestTimeout"))]
            }
            _ => return None,
        };
        limits.into_iter().flatten().filter(|limit| limit.0 > 0).min()
    }

    /// When the rest of the request that a client is sending is waited for no longer.
    fn request_deadline(&self, id: Id, now: Millis) -> Option<Millis> {
        let client = self.clients.get(id)?;
        let mut since = client.kept.as_ref()?.since?;
        if let Flow::Uploading { backend, .. } = client.flow {
            since = self.upstreams.backend(backend).map_or(since, |backend| backend.uploaded_at());
        }
        let (ms, _) = self.request_limit(client)?;
        // It is not to blame for what is not read.
        Some(if self.is_listening_to(Conn::Client(id)) { since } else { now } + ms)
    }

    /// Makes sure that somebody looks whether the rest of a request comes.
    pub(super) fn watch_request(&mut self, id: Id, now: Millis) {
        let Some(deadline) = self.request_deadline(id, now) else { return };
        if let Some(client) = self.clients.get_mut(id) {
            client.alarm.set(&mut self.wheel, Timer::Client(id), deadline);
        }
    }

    /// A client has stopped inside a request.
    fn on_request_stopped(&mut self, id: Id, now: Millis) {
        let Some(client) = self.clients.get(id) else { return };
        let Some((ms, key)) = self.request_limit(client) else { return };
        if client.is_write_blocked && client.took_at + ms <= now {
            return self.close_client(id, Goodbye::RequestTimeout);
        }
        let text = format_args!("The rest of a request did not come within {key} ({ms} ms)");
        self.end_with(id, Kind::ClientStopped, text, now);
        if let Some(kept) = self.take_kept(id) {
            self.spare(kept);
        }
    }

    /// A client has waited for a backend as long as it may: its next request is answered with an error.
    fn on_wait_over<W: Wire>(&mut self, id: Id, server: ServerId, need: Need, now: Millis, wire: &mut W) {
        self.upstreams.pool_mut(server).unpark(need, id);
        self.clients.parked -= 1;
        let Some(client) = self.clients.get_mut(id) else { return };
        client.flow = Flow::Open;
        let read_ms = self.settings.timeouts.local_read_ms;
        if read_ms > 0 {
            client.alarm.set(&mut self.wheel, Timer::Client(id), now + read_ms);
        }
        self.turn.served = id;
        self.turn.is_wait_over = true;
        self.resume_client(id, now, wire);
        self.turn.served = Id::NONE;
        self.turn.is_wait_over = false;
    }

    fn on_backend_alarm(&mut self, id: Id, now: Millis) {
        let Some(backend) = self.upstreams.backend_mut(id) else { return };
        backend.on_woken();
        let next = match *backend.phase() {
            Phase::Closed => return,
            Phase::Connecting | Phase::Handshake(_) => {
                let deadline = backend.since() + self.settings.timeouts.remote_connect_ms;
                if deadline <= now {
                    return self.lose_backend(id, BackendCloseReason::ConnectTimeout, now);
                }
                Some(deadline)
            }
            Phase::Ready if backend.is_subscription() => match self.on_subscription_alarm(id, now) {
                Some(next) => Some(next),
                None => return,
            },
            Phase::Ready | Phase::Draining => {
                let write_deadline = backend.took_at() + self.settings.timeouts.remote_write_ms;
                if backend.is_write_blocked() && write_deadline <= now {
                    let (server, asked_at) = (backend.server(), backend.took_at());
                    self.suspect(server, asked_at, true, now);
                    return self.lose_backend(id, BackendCloseReason::WriteTimeout, now);
                }
                let server = backend.server();
                self.review(server, now);
                if !self.expire(id, now) {
                    return;
                }
                self.next_backend_deadline(id, write_deadline, now)
            }
        };
        let Some(backend) = self.upstreams.backend_mut(id) else { return };
        if let Some(next) = next {
            backend.wake_at(&mut self.wheel, Timer::Backend(id), next);
        }
    }

    /// When to look at a backend again that has nothing due now; closes it if it is no longer needed.
    fn next_backend_deadline(&mut self, id: Id, write_deadline: Millis, now: Millis) -> Option<Millis> {
        let backend = self.upstreams.backend(id)?;
        let mut read_deadline = NO_DEADLINE;
        for request in
            backend.in_flight().iter(&self.in_flight.requests).map(|request| &self.in_flight.requests[request])
        {
            read_deadline = read_deadline.min(self.deadline_of(backend, request));
            if backend.is_in_bulk() && backend.is_owned_by(request.client()) {
                // Those behind are not due before it.
                break;
            }
        }
        let reroute_at = self.reroute_at(backend).unwrap_or(NO_DEADLINE);
        let write_deadline = backend.is_write_blocked().then_some(write_deadline);
        let idle_deadline = backend.is_idle().then(|| backend.since() + IDLE_MS);
        let deadlines = [Some(read_deadline), Some(reroute_at), write_deadline, idle_deadline];
        // One that waits without a limit will be idle some time, and then nobody else comes by here.
        let next = deadlines.into_iter().flatten().filter(|&next| next != NO_DEADLINE).min();
        Some(next.unwrap_or(now + IDLE_MS))
    }

    /// When the time of an outstanding request of this backend is over.
    ///
    /// It does not run while it is the client that is slow, and not the server. In bulk, and behind a large reply to
    /// the same client, it runs from the last word of the server, since the client waits for its own replies.
    fn deadline_of(&self, backend: &Backend, request: &Request) -> Millis {
        let is_own = request.client() == self.taker_of(backend);
        match request.place() {
            _ if request.is_expired() => NO_DEADLINE,
            Place::Arriving | Place::ArrivingEarly(_) if backend.is_read_paused() => NO_DEADLINE,
            _ if is_own && backend.is_read_paused() => NO_DEADLINE,
            // Held back for the only one who waits there, though nobody has it for himself.
            _ if backend.is_read_paused() && !backend.is_in_bulk() && self.is_holding_back(request.client()) => {
                NO_DEADLINE
            }
            _ if is_own && request.client() != Id::NONE && request.deadline() != NO_DEADLINE => {
                request.deadline().max(backend.heard_at() + self.settings.timeouts.remote_read_ms)
            }
            _ => request.deadline(),
        }
    }

    fn is_holding_back(&self, id: Id) -> bool {
        self.clients.get(id).is_some_and(|client| client.holds_back)
    }

    /// The client that takes what this backend says now and behind that, if it can be told.
    fn taker_of(&self, backend: &Backend) -> Id {
        match backend.in_flight().first() {
            _ if backend.is_in_bulk() => backend.owner().unwrap_or(Id::NONE),
            Some(first) if backend.is_in_large_reply() => self.in_flight.requests[first].client(),
            _ => Id::NONE,
        }
    }

    /// When those who stand behind a large reply are asked elsewhere, if they can be, and were not.
    fn reroute_at(&self, backend: &Backend) -> Option<Millis> {
        backend.blocks_others_since().map(|since| since + self.reroute_ms())
    }

    /// So long those who stand behind a large reply wait for it, in milliseconds.
    pub(super) fn reroute_ms(&self) -> u64 {
        self.settings.timeouts.remote_read_ms / 8
    }

    /// Ends the wait of every request of this backend whose time is over. False if the backend is gone over it.
    fn expire(&mut self, id: Id, now: Millis) -> bool {
        let Some(backend) = self.upstreams.backend(id) else { return false };
        if self.reroute_at(backend).is_some_and(|at| at <= now) {
            self.reroute_and_drain(id, now);
            if let Some(backend) = self.upstreams.backend_mut(id) {
                backend.on_rerouted();
            }
        }
        let Some(backend) = self.upstreams.backend(id) else { return false };
        let server = backend.server();
        let due: Vec<RequestId> = match backend.is_in_bulk() && backend.awaited() == self.own_count(backend) {
            // Nobody else waits, and of its own requests the first is due before all others.
            true if self.first_deadline(backend).is_none_or(|deadline| deadline > now) => Vec::new(),
            _ => {
                let is_due = |request: &RequestId| self.deadline_of(backend, &self.in_flight.requests[*request]) <= now;
                backend.in_flight().iter(&self.in_flight.requests).filter(is_due).collect()
            }
        };
        let Some(&first) = due.first() else { return self.maybe_close_idle(id, now) };
        let deadline = self.deadline_of(backend, &self.in_flight.requests[first]);
        let asked_at = Millis(deadline.0.saturating_sub(self.settings.timeouts.remote_read_ms));
        if matches!(self.in_flight.requests[first].place(), Place::Arriving | Place::ArrivingEarly(_)) {
            // The rest of a reply that its client has the start of does not come.
            self.suspect(server, asked_at, true, now);
            self.lose_backend(id, BackendCloseReason::Stalled, now);
            return false;
        }
        let is_speaking = backend.is_in_large_reply();
        self.expire_requests(id, &due, server, now);
        // Those for whom it was held back may be told by now.
        self.maybe_release(id, now);
        if !is_speaking {
            // First, so that what was not sent goes to who stands in from now on.
            self.suspect(server, asked_at, true, now);
        }
        self.drain_backend(id, now);
        self.upstreams.backend(id).is_some_and(|backend| !backend.is_closed())
    }

    /// How many requests of its owner stand in the line of this backend.
    fn own_count(&self, backend: &Backend) -> usize {
        let affinity = backend
            .owner()
            .and_then(|owner| self.clients.get(owner))
            .and_then(|owner| owner.affinity(backend.server()));
        affinity.map_or(0, |affinity| affinity.count as usize)
    }

    fn first_deadline(&self, backend: &Backend) -> Option<Millis> {
        let mut line =
            backend.in_flight().iter(&self.in_flight.requests).map(|request| &self.in_flight.requests[request]);
        line.find(|request| !request.is_expired()).map(|request| self.deadline_of(backend, request))
    }

    /// Tells the clients of these requests, which are in the order of the line, that their time is over. What comes of
    /// their replies is swallowed.
    fn expire_requests(&mut self, id: Id, due: &[RequestId], server: ServerId, now: Millis) {
        let text = format!(
            "-ERR No reply from {} within {} ms; the command may have been run\r\n",
            self.address(server),
            self.settings.timeouts.remote_read_ms
        );
        self.upstreams.count_errors(server, due.len());
        let clients: Vec<Id> = due.iter().map(|&request| self.in_flight.requests[request].client()).collect();
        self.leave_tombstones(id, due);
        let missed = clients.iter().filter(|client| **client != Id::NONE).count();
        if missed > 0 {
            self.warn_of(Kind::Timeout, server, missed, format_args!(""));
        }
        for (&request, client) in due.iter().zip(clients) {
            // It may have been closed over another one, and the request have gone with it.
            if client != Id::NONE && self.clients.get(client).is_some_and(|client| client.flow != Flow::Closed) {
                self.deliver(client, request, text.as_bytes(), now);
            }
        }
    }

    /// Takes requests out of the line of this backend, and leaves a tombstone for each reply that will come. They are
    /// in the order of the line.
    pub(super) fn leave_tombstones(&mut self, id: Id, leaving: &[RequestId]) {
        let Some(backend) = self.upstreams.backend_mut(id) else { return };
        let server = backend.server();
        let line = std::mem::take(backend.in_flight_mut());
        let all: Vec<RequestId> = line.iter(&self.in_flight.requests).collect();
        let mut leaving = leaving.iter().copied().peekable();
        for request in all {
            let mut standing = request;
            if leaving.next_if_eq(&request).is_some() {
                let entry = &mut self.in_flight.requests[request];
                let client = entry.client();
                if client == Id::NONE {
                    entry.expire();
                } else {
                    entry.leave_backend();
                    let mut tombstone = Request::new(Id::NONE, NO_DEADLINE, entry.bytes(), 0, false);
                    tombstone.expire();
                    standing = self.in_flight.requests.insert(tombstone);
                    self.unpin(client, server);
                }
                if let Some(backend) = self.upstreams.backend_mut(id) {
                    backend.add_tombstone();
                }
            }
            if let Some(backend) = self.upstreams.backend_mut(id) {
                backend.in_flight_mut().push(&mut self.in_flight.requests, standing);
            }
        }
        debug_assert!(leaving.next().is_none(), "all of them stood in this line, in this order");
    }

    /// Closes a backend that was of no use for a while, unless it is the only one. False if it did.
    fn maybe_close_idle(&mut self, id: Id, now: Millis) -> bool {
        let Some(backend) = self.upstreams.backend(id) else { return false };
        if !backend.is_idle() || backend.since() + IDLE_MS > now {
            return true;
        }
        let is_another = |(other, backend): (Id, &Backend)| other != id && backend.is_serving();
        let is_only_one = !self.upstreams.backends_of(backend.server()).any(is_another);
        if is_only_one {
            // Nothing to look at until it is used again.
            if let Some(backend) = self.upstreams.backend_mut(id) {
                backend.on_of_use(now);
            }
            return true;
        }
        self.lose_backend(id, BackendCloseReason::Idle, now);
        false
    }
}
