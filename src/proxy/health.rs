//! Connects, handshakes, losses and probes: what becomes of a backend, of what it owed, and of its server.
//!
//! When a backend is lost, each request in its line meets one of three fates:
//!
//! ```text
//!   no byte of it was sent                      ─► another backend, perhaps of the server that stands in
//!   a read, sent, and no write sent behind it   ─► the same, once
//!   anything else                               ─► an error: it may have been run, and is not run twice
//! ```
//!
//! A read behind which a write of the same client was sent is not repeated, since it could see that write. A reply of
//! which the client has the start can not be mended: that client is closed. What came of one before its turn is thrown
//! away, and the request meets its fate as if nothing had come.
//!
//! A server goes down when a connect or a handshake fails. It comes up with a handshake that was completed, and with
//! nothing else. Lines are logged when that changes, and only then.

use std::fmt;

use log::{debug, warn};

use super::routing::{CONNECTION_DOWN, CROSS_SLOT, Route};
use super::{Action, Conn, Endpoint, Goodbye, NO_DEADLINE, Proxy, Timer};
use crate::backend::{self, Backend, Handshake, Phase, Refusal, Step};
use crate::client::{Flow, Profile};
use crate::local::ServerFacts;
use crate::request::{Place, RequestId, Role};
use crate::resp::ProtocolError;
use crate::ring::ServerIndex;
use crate::server::{Health, PROBE_DELAY_FIRST_MS};
use crate::slots::{Id, Slots};
use crate::timer::Millis;

/// Why a backend is closed.
#[derive(Debug)]
pub(super) enum Loss {
    /// It could not be connected: the reason is the system's.
    Connect(String),
    /// It was not connected and ready within `remoteConnectTimeout`.
    ConnectTimeout,
    /// The server answered a handshake with this.
    Refused(String),
    /// The server closed the connection.
    End,
    /// The socket broke: the reason is the system's.
    Broken(String),
    /// Bytes came that nobody had asked for.
    Surplus,
    /// What came is not the Redis protocol.
    Garbage(ProtocolError),
    /// The server took nothing for `remoteWriteTimeout`.
    WriteTimeout,
    /// The rest of a large reply did not come within `remoteReadTimeout`.
    Stalled,
    /// It hears messages, and does not answer within `remoteReadTimeout`.
    Deaf,
    /// All that could still be answered is; it had a request that timed out.
    Drained,
    /// It was of no use for a while.
    Idle,
    /// The client that had it for itself is gone.
    Orphaned,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Loss::Connect(reason) => write!(f, "cannot connect: {reason}"),
            Loss::ConnectTimeout => f.write_str("no handshake within remoteConnectTimeout"),
            Loss::Refused(reply) => write!(f, "it refuses us: {reply}"),
            Loss::End => f.write_str("it closed the connection"),
            Loss::Broken(reason) => write!(f, "connection lost: {reason}"),
            Loss::Surplus => f.write_str("it sent a reply that nobody had asked for"),
            Loss::Garbage(error) => write!(f, "it does not speak the Redis protocol: {error}"),
            Loss::WriteTimeout => f.write_str("it took no bytes for remoteWriteTimeout"),
            Loss::Stalled => f.write_str("half of a reply came, and no more within remoteReadTimeout"),
            Loss::Deaf => f.write_str("it does not confirm subscriptions within remoteReadTimeout"),
            Loss::Drained => f.write_str("a request timed out"),
            Loss::Idle => f.write_str("no longer needed"),
            Loss::Orphaned => f.write_str("the client that held it is gone"),
        }
    }
}

impl Loss {
    /// True exactly when it says something about the server, and not only about what rmux wants of it.
    fn blames_server(&self) -> bool {
        !matches!(self, Loss::Drained | Loss::Idle | Loss::Orphaned)
    }
}

/// A request is given to this many backends at the most.
const LOSSES_MAX: u8 = 3;

impl Proxy {
    /// Makes a backend; the shell is asked to connect it.
    pub(super) fn open_backend(&mut self, server: u16, profile: Profile, now: Millis) -> Id {
        let id = self.backends.insert(Backend::new(server, profile, now));
        let endpoint = &mut self.endpoints[usize::from(server)];
        endpoint.pool.add(id);
        endpoint.stats.connects += 1;
        let deadline = now + self.settings.timeouts.remote_connect_ms;
        if let Some(backend) = self.backends.get_mut(id) {
            backend.alarm.set(&mut self.wheel, Timer::Backend(id), deadline);
        }
        self.actions.push_back(Action::Connect { backend: id, server });
        id
    }

    /// A backend's socket is connected.
    pub fn handle_connected(&mut self, id: Id, now: Millis) {
        let Some(backend) = self.backends.get_mut(id) else { return };
        if !matches!(backend.phase, Phase::Connecting) {
            return;
        }
        backend.phase = Phase::Handshake(Handshake::first(backend.profile, self.settings.credentials.as_ref()));
        backend.took_at = now;
        self.mark_backend_dirty(id);
    }

    /// A backend could not be connected.
    pub fn handle_connect_failed(&mut self, id: Id, reason: &str, now: Millis) {
        self.lose_backend(id, Loss::Connect(reason.to_string()), now);
    }

    /// The server of this backend will send nothing more.
    pub fn handle_backend_end(&mut self, id: Id, now: Millis) {
        self.lose_backend(id, Loss::End, now);
    }

    /// A backend's socket broke.
    pub fn handle_backend_broken(&mut self, id: Id, reason: &str, now: Millis) {
        self.lose_backend(id, Loss::Broken(reason.to_string()), now);
    }

    /// The reply to the next step of a handshake.
    pub(super) fn on_handshake_reply(&mut self, id: Id, reply: &[u8], now: Millis) -> Result<(), Loss> {
        let Some(backend) = self.backends.get_mut(id) else { return Ok(()) };
        let Phase::Handshake(handshake) = &mut backend.phase else { return Ok(()) };
        // Before it was asked, a server may say that it has no place for us, and nothing else.
        if handshake.sent == 0 && !reply.starts_with(b"-") {
            return Err(Loss::Surplus);
        }
        let step = handshake.steps.pop().ok_or(Loss::Surplus)?;
        match step.check(reply) {
            Ok(()) => handshake.on_done(step),
            Err(Refusal::Server) => return Err(Loss::Refused(self.refusal_text(step, reply))),
            Err(Refusal::Profile) => handshake.on_refused(step, reply),
        }
        if let Step::Hello(_) = step {
            match backend::version_in_hello(reply) {
                Some(version) if *version != *self.server_version => self.server_version = version.into(),
                _ => {}
            }
        }
        if !handshake.steps.is_empty() {
            return Ok(());
        }
        let reached = handshake.reached;
        let refusal = handshake.refusal.take();
        backend.phase = Phase::Ready;
        backend.profile = reached;
        backend.since = now;
        backend.took_at = now;
        let server = backend.server;
        // What has waited for this is looked at in its own time, which may be shorter than that of a connect.
        let first = backend.line.first().map(|request| self.requests[request as usize].deadline);
        if let Some(deadline) = first.filter(|&deadline| deadline != NO_DEADLINE) {
            backend.alarm.set(&mut self.wheel, Timer::Backend(id), deadline);
        }
        self.mark_backend_dirty(id);
        let endpoint = &mut self.endpoints[usize::from(server)];
        if let Some(since) = endpoint.health.on_alive() {
            endpoint.probe.clear(&mut self.wheel);
            self.set_up(server, true);
            let down_ms = now - since;
            self.log_state(server, format_args!("is up again, after {down_ms} ms"));
            self.on_server_back(server, now);
        }
        if let Some(refusal) = refusal {
            self.refuse_queued(id, &refusal, now);
        }
        self.maybe_hear(id, now);
        Ok(())
    }

    /// What a server said to a step that it refuses, fit for a log line: without the password.
    fn refusal_text(&self, step: Step, reply: &[u8]) -> String {
        match &self.settings.credentials {
            Some(credentials) if step == Step::Auth => {
                printable(credentials.without_secret(&String::from_utf8_lossy(reply)).as_bytes())
            }
            _ => printable(reply),
        }
    }

    /// The server does not do what the clients of this backend want: each of its requests, none of them sent, gets the
    /// server's own words.
    fn refuse_queued(&mut self, id: Id, refusal: &[u8], now: Millis) {
        let Some(backend) = self.backends.get_mut(id) else { return };
        let server = backend.server;
        let line = std::mem::take(&mut backend.line);
        backend.queue.clear(&mut self.arena);
        backend.answered = backend.queue.end();
        backend.expired = 0;
        let uploader = std::mem::replace(&mut backend.uploader, Id::NONE);
        let owner = std::mem::replace(&mut backend.owner, Id::NONE);
        self.on_lease_lost(id, owner);
        let requests: Vec<RequestId> = line.iter(&self.requests).collect();
        for request in requests {
            let entry = &mut self.requests[request as usize];
            entry.is_at_backend = false;
            let client = entry.client;
            if client == Id::NONE {
                self.requests.remove(request as usize);
            } else {
                self.leave_lane(client, server);
                if client == uploader {
                    self.discard_upload(client, request);
                }
                self.deliver(client, request, refusal, now);
            }
        }
    }

    /// The one way to close a backend: what it owed is sent again where that is safe, and answered with an error where
    /// it is not; its server is looked at again where that is called for.
    pub(super) fn lose_backend(&mut self, id: Id, loss: Loss, now: Millis) {
        let Some(backend) = self.backends.get_mut(id) else { return };
        if matches!(backend.phase, Phase::Closed) {
            return;
        }
        let server = backend.server;
        let profile = backend.profile;
        let was_new = matches!(&backend.phase, Phase::Connecting)
            || matches!(&backend.phase, Phase::Handshake(handshake) if handshake.is_first);
        debug!("connection {id} to server {} closed: {loss}", self.settings.servers[usize::from(server)]);
        backend.phase = Phase::Closed;
        backend.alarm.clear(&mut self.wheel);
        self.endpoints[usize::from(server)].pool.remove(id);
        self.is_room_new = true;
        self.actions.push_back(Action::Close(Conn::Backend(id)));
        let saved = self.take_line(id, &loss, now);
        if was_new && loss.blames_server() {
            self.on_unreachable(server, &loss, now);
        }
        for (request, bytes) in saved {
            self.send_again(request, server, profile, bytes, now);
        }
        if self.maybe_lose_listener(id, was_new, &loss, now) {
            return;
        }
        let is_alone = !self.endpoints[usize::from(server)]
            .pool
            .backends()
            .iter()
            .any(|&id| self.backends.get(id).is_some_and(Backend::is_serving));
        if is_alone && !matches!(loss, Loss::Idle) && self.endpoints[usize::from(server)].health.is_up() {
            // Whether the server is still there is found out at once, not by the next request.
            self.open_backend(server, Profile::default(), now);
        }
    }

    /// Empties the line of a lost backend. Returns those requests that are to be sent again, with their bytes.
    fn take_line(&mut self, id: Id, loss: &Loss, now: Millis) -> Vec<(RequestId, Vec<u8>)> {
        let Some(backend) = self.backends.get_mut(id) else { return Vec::new() };
        let server = backend.server;
        let line = std::mem::take(&mut backend.line);
        let queue = std::mem::take(&mut backend.queue);
        let uploader = std::mem::replace(&mut backend.uploader, Id::NONE);
        let owner = std::mem::replace(&mut backend.owner, Id::NONE);
        let mut offset = backend.answered;
        let mut owed: Vec<(RequestId, u64, bool)> = Vec::new();
        for request in line.iter(&self.requests) {
            owed.push((request, offset, false));
            offset += u64::from(self.requests[request as usize].len);
        }
        // From the last to the first: which clients have sent a write behind?
        let mut writers: Vec<Id> = Vec::new();
        for (request, start, is_safe) in owed.iter_mut().rev() {
            let entry = &self.requests[*request as usize];
            let is_unsent = *start >= queue.sent();
            if entry.role != Role::Plain {
                // Part of something that happens on one connection, or not at all.
                *is_safe = is_unsent;
                continue;
            }
            *is_safe = is_unsent || entry.is_read && entry.losses == 0 && !writers.contains(&entry.client);
            if !is_unsent && !entry.is_read && !writers.contains(&entry.client) {
                writers.push(entry.client);
            }
        }
        let mut saved = Vec::new();
        for (request, start, is_safe) in owed {
            let entry = &mut self.requests[request as usize];
            entry.is_at_backend = false;
            let (client, len, place, losses) = (entry.client, u64::from(entry.len), entry.place, entry.losses);
            let is_alone = entry.role == Role::Plain && owner == Id::NONE;
            if client == Id::NONE {
                self.requests.remove(request as usize);
                continue;
            }
            self.leave_lane(client, server);
            match place {
                Place::Arriving => {
                    // Its client has half of the reply; there is no honest way to end it.
                    self.close_client(client, Goodbye::Truncated);
                    continue;
                }
                Place::ArrivingEarly(early) => self.forget_early(client, request, early),
                _ => {}
            }
            if client == uploader && self.discard_upload(client, request) {
                self.lose_request(client, request, server, now);
                continue;
            }
            let bytes = match is_safe && is_alone && losses + 1 < LOSSES_MAX {
                true => queue.copy_range(&self.arena, start, start + len),
                false => None,
            };
            match bytes {
                Some(bytes) => {
                    if start < queue.sent() {
                        self.stats.resends += 1;
                    }
                    saved.push((request, bytes));
                }
                None if is_safe && matches!(loss, Loss::Connect(_) | Loss::ConnectTimeout | Loss::Refused(_)) => {
                    self.deliver(client, request, CONNECTION_DOWN, now);
                }
                None => self.lose_request(client, request, server, now),
            }
        }
        let mut queue = queue;
        queue.clear(&mut self.arena);
        self.on_lease_lost(id, owner);
        saved
    }

    /// What came of a reply before its turn is worth nothing: the rest is lost, and the client has seen none of it.
    fn forget_early(&mut self, client: Id, request: RequestId, early: u32) {
        let mut queue = self.early.remove(early as usize);
        if let Some(client) = self.clients.get_mut(client) {
            client.early_bytes -= queue.unsent();
        }
        queue.clear(&mut self.arena);
        self.requests[request as usize].place = Place::Waiting;
    }

    /// If this is the request that the client is uploading, the rest of it is thrown away as it comes.
    fn discard_upload(&mut self, client: Id, request: RequestId) -> bool {
        let Some(entry) = self.clients.get_mut(client) else { return false };
        match &mut entry.flow {
            Flow::Uploading { backend, request: uploading } if *uploading == request => {
                *backend = Id::NONE;
                // It may not have been listened to, for the sake of a queue that is gone.
                self.actions.push_back(Action::Resume(Conn::Client(client)));
                true
            }
            _ => false,
        }
    }

    /// A request was sent and can not be repeated: its client is told that nobody knows what became of it.
    fn lose_request(&mut self, client: Id, request: RequestId, server: u16, now: Millis) {
        self.endpoints[usize::from(server)].stats.errors += 1;
        let text = format!(
            "-ERR Connection to {} lost before its reply; the command may have been run\r\n",
            self.address(server)
        );
        self.deliver(client, request, text.as_bytes(), now);
    }

    /// Gives a request whose backend is lost to another, of the server that has its key now.
    fn send_again(&mut self, request: RequestId, lost: u16, profile: Profile, bytes: Vec<u8>, now: Millis) {
        let Some(entry) = self.requests.get_mut(request as usize) else { return };
        let (client, hash, place) = (entry.client, entry.hash, entry.place);
        if client == Id::NONE {
            // Its client was closed over another request of the same backend.
            self.requests.remove(request as usize);
            return;
        }
        entry.losses += 1;
        let route = match place {
            Place::Part(merging) => self.route_part_again(merging, request, lost, &bytes),
            _ => self.route_again(&bytes, hash),
        };
        let server = match route {
            Route::To(server, _) => server,
            Route::CrossSlot if self.split_again(request, profile, &bytes, now) => return,
            Route::CrossSlot => return self.deliver(client, request, CROSS_SLOT, now),
            _ => return self.deliver(client, request, CONNECTION_DOWN, now),
        };
        let Some(backend_id) = self.pick_again(client, server, profile, now) else {
            let text = format!("-ERR Connection to {} lost, and no other is free\r\n", self.address(lost));
            return self.deliver(client, request, text.as_bytes(), now);
        };
        let deadline = now + self.settings.timeouts.remote_read_ms;
        self.requests[request as usize].deadline = deadline;
        self.stand_at(request, backend_id, server);
        if let Some(backend) = self.backends.get_mut(backend_id) {
            backend.queue.push_vec(&mut self.arena, bytes);
        }
        self.mark_backend_dirty(backend_id);
    }

    /// A connect or a handshake failed: the server is down, unless it serves other connections of ours.
    fn on_unreachable(&mut self, server: u16, loss: &Loss, now: Millis) {
        let random = self.random();
        let endpoint = &mut self.endpoints[usize::from(server)];
        let is_serving_others = endpoint
            .pool
            .backends()
            .iter()
            .any(|&id| self.backends.get(id).is_some_and(|other| matches!(other.phase, Phase::Ready)));
        if is_serving_others && endpoint.health.is_up() && matches!(loss, Loss::Refused(_)) {
            endpoint.pool.on_refused(now + PROBE_DELAY_FIRST_MS);
            return;
        }
        let (probe_at, is_news) = endpoint.health.on_failed(now, random);
        endpoint.probe.set(&mut self.wheel, Timer::Probe(server), probe_at);
        if !is_news {
            return;
        }
        endpoint.stats.downs += 1;
        self.set_up(server, false);
        warn!("server {} is down: {loss}", self.address(server));
        self.review_confirmations(now);
    }

    fn set_up(&mut self, server: u16, is_up: bool) {
        if self.up.set(ServerIndex(server), is_up) && self.settings.failover && self.endpoints.len() > 1 {
            self.routing_epoch = self.routing_epoch.wrapping_add(1);
        }
    }

    /// The time has come to see whether a server that is down can be reached again.
    pub(super) fn on_probe_due(&mut self, server: u16, now: Millis) {
        let endpoint = &mut self.endpoints[usize::from(server)];
        endpoint.probe.on_fired();
        if !endpoint.health.on_probe_due(now) {
            return;
        }
        if endpoint.pool.has_room(now) {
            self.open_backend(server, Profile::default(), now);
        } else {
            // Every place is taken by a connection that still owes something: look again later.
            let random = self.random();
            let endpoint = &mut self.endpoints[usize::from(server)];
            let (probe_at, _) = endpoint.health.on_failed(now, random);
            endpoint.probe.set(&mut self.wheel, Timer::Probe(server), probe_at);
        }
    }

    /// A request timed out: a fresh connection finds out whether its server is alive.
    pub(super) fn suspect(&mut self, server: u16, now: Millis) {
        let endpoint = &self.endpoints[usize::from(server)];
        let is_being_looked_at = endpoint.pool.backends().iter().any(|&id| {
            self.backends
                .get(id)
                .is_some_and(|backend| matches!(backend.phase, Phase::Connecting | Phase::Handshake(_)))
        });
        if endpoint.health.is_up() && endpoint.pool.has_room(now) && !is_being_looked_at {
            self.open_backend(server, Profile::default(), now);
        }
    }

    /// No new requests for this backend; it is closed when those that can still be answered are.
    pub(super) fn drain_backend(&mut self, id: Id, now: Millis) {
        let Some(backend) = self.backends.get_mut(id) else { return };
        match backend.phase {
            Phase::Ready => {
                backend.phase = Phase::Draining;
                self.maybe_drained(id, now);
            }
            // Nothing was sent yet: all of it can go elsewhere.
            Phase::Connecting | Phase::Handshake(_) => self.lose_backend(id, Loss::Drained, now),
            Phase::Draining => self.maybe_drained(id, now),
            Phase::Closed => {}
        }
    }

    /// Closes a draining backend that owes nothing more that anybody waits for.
    pub(super) fn maybe_drained(&mut self, id: Id, now: Millis) {
        let is_drained = self
            .backends
            .get(id)
            .is_some_and(|backend| matches!(backend.phase, Phase::Draining) && backend.unexpired() == 0);
        if is_drained {
            self.lose_backend(id, Loss::Drained, now);
        }
    }
}

/// What `INFO` tells about each server.
pub(super) fn server_facts<'a>(
    endpoints: &[Endpoint],
    backends: &Slots<Backend>,
    addresses: &'a [String],
) -> Vec<ServerFacts<'a>> {
    let facts = |(endpoint, address): (&Endpoint, &'a String)| {
        let backends = || endpoint.pool.backends().iter().filter_map(|&id| backends.get(id));
        ServerFacts {
            address,
            state: match endpoint.health.health() {
                Health::Up => "up",
                Health::Down { .. } => "down",
                Health::Probing { .. } => "probing",
            },
            connections: backends().count(),
            outstanding: backends().map(|backend| backend.line.len()).sum(),
            requests: endpoint.stats.requests,
            errors: endpoint.stats.errors,
        }
    };
    endpoints.iter().zip(addresses).map(facts).collect()
}

/// The start of a server's reply, fit for a log line.
pub(super) fn printable(reply: &[u8]) -> String {
    String::from_utf8_lossy(&reply[..reply.len().min(200)]).trim_end().to_string()
}
