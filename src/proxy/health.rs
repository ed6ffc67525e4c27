//! Connects, handshakes, draining and probes: a backend from its first byte to its last reply, and whether its server
//! is up. What becomes of a backend that is lost is in `loss`.
//!
//! A server goes down when a connect or a handshake fails. It comes up with a handshake that was completed, and with
//! nothing else. The log is told when that changes, and only then.

use log::Level;

use super::loss::Loss;
use super::{Action, Endpoint, NO_DEADLINE, Proxy, Timer};
use crate::backend::{Backend, Handshake, Introduction, Phase, Refusal, Step};
use crate::client::Profile;
use crate::notice::{About, Kind, printable};
use crate::request::RequestId;
use crate::ring::ServerIndex;
use crate::server::{Health, PROBE_DELAY_FIRST_MS};
use crate::slots::{Id, Slots};
use crate::stats::{ServerFigures, ServerState};
use crate::timer::Millis;

impl Proxy {
    /// Makes a backend of a server's pool.
    pub(super) fn open_backend(&mut self, server: u16, profile: Profile, now: Millis) -> Id {
        let id = self.begin_connect(Backend::new(server, profile, now), now);
        self.endpoints[usize::from(server)].pool.add(id);
        id
    }

    /// Takes a new backend in, and asks the shell to connect it.
    pub(super) fn begin_connect(&mut self, backend: Backend, now: Millis) -> Id {
        let server = backend.server;
        let id = self.backends.insert(backend);
        self.endpoints[usize::from(server)].stats.connects += 1;
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
        self.lose_backend(id, self.in_own_words(id, Loss::End), now);
    }

    /// A backend's socket broke.
    pub fn handle_backend_broken(&mut self, id: Id, reason: &str, now: Millis) {
        self.lose_backend(id, self.in_own_words(id, Loss::Broken(reason.to_string())), now);
    }

    /// Why a connection ended, in the words of the server if it had any: many say what they do not like, and close.
    fn in_own_words(&self, id: Id, loss: Loss) -> Loss {
        let Some(Phase::Handshake(handshake)) = self.backends.get(id).map(|backend| &backend.phase) else {
            return loss;
        };
        match (&handshake.last_words, &handshake.broken) {
            (Some(words), _) => Loss::Refused(words.clone()),
            (None, Some(reason)) => Loss::Broken(reason.clone()),
            _ => loss,
        }
    }

    /// The reply to the next step of a handshake.
    pub(super) fn on_handshake_reply(&mut self, id: Id, reply: &[u8], now: Millis) -> Result<(), Loss> {
        let words = reply.starts_with(b"-").then(|| self.refusal_text(reply));
        let Some(backend) = self.backends.get_mut(id) else { return Ok(()) };
        let Phase::Handshake(handshake) = &mut backend.phase else { return Ok(()) };
        if handshake.sent == 0 {
            // Before it was asked, a server may say that it has no place for us, and nothing else.
            return Err(words.map_or(Loss::Surplus, Loss::Refused));
        }
        let step = handshake.steps.pop().ok_or(Loss::Surplus)?;
        match step.check(reply) {
            Ok(()) => handshake.on_done(step),
            Err(Refusal::Server) => return Err(Loss::Refused(words.unwrap_or_else(|| printable(reply)))),
            Err(Refusal::Profile) => handshake.on_refused(step, reply),
        }
        // That it is old is no reason to close.
        handshake.last_words = words.filter(|words| !words.starts_with("-ERR unknown command"));
        if let Step::Hello(_) = step {
            if let Some((told, number)) = Introduction::read(reply) {
                self.introduction = told;
                backend.number = number;
            }
        }
        if !handshake.steps.is_empty() {
            return Ok(());
        }
        let reached = handshake.reached;
        let refusal = handshake.refusal.take();
        backend.phase = if backend.is_reserve { Phase::Draining } else { Phase::Ready };
        backend.profile = reached;
        backend.since = now;
        backend.took_at = now;
        let server = backend.server;
        self.on_ready_to_block(id);
        let Some(backend) = self.backends.get_mut(id) else { return Ok(()) };
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
            let text = format_args!("is up again, after {down_ms} ms");
            self.notices.note(Kind::State, About::Server(server), Level::Info, 1, text);
            self.on_server_back(server, now);
        }
        if let Some(refusal) = refusal {
            self.refuse_queued(id, &refusal, now);
        }
        self.maybe_hear(id, now);
        Ok(())
    }

    /// What a server said to a step that it refuses, fit for a log line: without the password.
    fn refusal_text(&self, reply: &[u8]) -> String {
        match &self.settings.credentials {
            Some(credentials) => printable(credentials.without_secret(&String::from_utf8_lossy(reply)).as_bytes()),
            None => printable(reply),
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
        backend.is_bulk = false;
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

    /// A connect or a handshake failed: the server is down, unless it serves other connections of ours.
    pub(super) fn on_unreachable(&mut self, server: u16, loss: &Loss, now: Millis) {
        let random = self.random();
        let is_serving_others = self.backends_of(server).any(|(_, other)| matches!(other.phase, Phase::Ready));
        let endpoint = &mut self.endpoints[usize::from(server)];
        if is_serving_others && endpoint.health.is_up() && matches!(loss, Loss::Refused(_)) {
            endpoint.pool.on_refused(now + PROBE_DELAY_FIRST_MS);
            return self.warn_of(Kind::Refused, server, 1, format_args!("{loss}"));
        }
        let (probe_at, is_news) = endpoint.health.on_failed(now, random);
        endpoint.probe.set(&mut self.wheel, Timer::Probe(server), probe_at);
        if !is_news {
            return;
        }
        endpoint.stats.downs += 1;
        self.set_up(server, false);
        self.warn_of(Kind::State, server, 1, format_args!("is down: {loss}"));
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
        let is_being_looked_at = self
            .backends_of(server)
            .any(|(_, backend)| matches!(backend.phase, Phase::Connecting | Phase::Handshake(_)));
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
pub(super) fn server_figures(endpoints: &[Endpoint], backends: &Slots<Backend>) -> Vec<ServerFigures> {
    let figures = |endpoint: &Endpoint| {
        let backends = || endpoint.pool.backends().iter().filter_map(|&id| backends.get(id));
        ServerFigures {
            state: match endpoint.health.health() {
                Health::Up => ServerState::Up,
                Health::Down { .. } => ServerState::Down,
                Health::Probing { .. } => ServerState::Probing,
            },
            connections: backends().count(),
            outstanding: backends().map(|backend| backend.line.len()).sum(),
            stats: endpoint.stats,
        }
    };
    endpoints.iter().map(figures).collect()
}
