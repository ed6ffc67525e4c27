//! Connects, handshakes, draining and probes: a backend from its first byte to its last reply, and whether its server
//! is up. What becomes of a backend that is lost is in `recover`.
//!
//! What is known of a server is judged in `server`; here it is told what has happened, and what follows from its
//! verdict is done. Each of these begins with `note`, which takes in what the connections have shown, and ends with
//! `conclude`, which compares: the log is told when something has changed, and only then.
//!
//! ```text
//!   what requests do while their server is …
//!   up         go to a connection, which may still be on its way; wait in line if there is none to be had
//!   unsteady   the same; but connections are made one by one, with delays: more wait in line
//!   silent     the same, with one new connection in each remoteConnectTimeout: when it is not answered in time, all
//!              that waits for it gets an error
//!   down       go to the server that stands in; where none does, get an error at once
//! ```

use std::fmt;

use log::Level;

use super::backend_close_reason::BackendCloseReason;
use super::{NO_DEADLINE, Proxy, Timer};
use crate::backend::handshake::{Handshake, Introduction, Refusal, Step};
use crate::backend::{Backend, Phase, Purpose};
use crate::notice::{About, Kind, printable};
use crate::request::RequestId;
use crate::server::{Health, Seen};
use crate::server_id::ServerId;
use crate::session::Profile;
use crate::slots::Id;
use crate::timer::Millis;

impl Proxy {
    /// Makes a backend of a server's pool.
    pub(super) fn open_backend(&mut self, server: ServerId, profile: Profile, now: Millis) -> Id {
        let id = self.begin_connect(Backend::new(server, profile, Purpose::Pooled, now), now);
        self.keep_pace(server, now);
        id
    }

    /// Takes a new backend in, and asks the shell to connect it.
    pub(super) fn begin_connect(&mut self, backend: Backend, now: Millis) -> Id {
        let server = backend.server();
        let connect_ms = self.settings.timeouts.remote_connect_ms;
        let id = self.upstreams.open(backend, connect_ms, now);
        let deadline = now + connect_ms;
        if let Some(backend) = self.upstreams.backend_mut(id) {
            backend.wake_at(&mut self.wheel, Timer::Backend(id), deadline);
        }
        self.turn.connect(id, server);
        id
    }

    /// A backend's socket is connected.
    pub fn handle_connected(&mut self, id: Id, now: Millis) {
        let Some(backend) = self.upstreams.backend_mut(id) else { return };
        if backend.on_connected(self.settings.credentials.as_ref(), now) {
            self.mark_backend_dirty(id);
        }
    }

    /// A backend could not be connected.
    pub fn handle_connect_failed(&mut self, id: Id, reason: &str, now: Millis) {
        self.lose_backend(id, BackendCloseReason::Connect(reason.to_string()), now);
    }

    /// The server of this backend will send nothing more.
    pub fn handle_backend_end(&mut self, id: Id, now: Millis) {
        self.lose_backend(id, self.in_own_words(id, BackendCloseReason::End), now);
    }

    /// A backend's socket broke.
    pub fn handle_backend_broken(&mut self, id: Id, reason: &str, now: Millis) {
        self.lose_backend(id, self.in_own_words(id, BackendCloseReason::Broken(reason.to_string())), now);
    }

    /// Why a connection ended, in the words of the server if it had any: many say what they do not like, and close.
    fn in_own_words(&self, id: Id, reason: BackendCloseReason) -> BackendCloseReason {
        let Some(handshake) = self.upstreams.backend(id).and_then(Backend::handshake) else { return reason };
        match (handshake.last_words(), handshake.broken()) {
            (Some(words), _) => BackendCloseReason::Refused(words.to_string()),
            (None, Some(reason)) => BackendCloseReason::Broken(reason.to_string()),
            _ => reason,
        }
    }

    /// The reply to the next step of a handshake.
    pub(super) fn on_handshake_reply(&mut self, id: Id, reply: &[u8], now: Millis) -> Result<(), BackendCloseReason> {
        let words = reply.starts_with(b"-").then(|| self.refusal_text(reply));
        let Some(backend) = self.upstreams.backend_mut(id) else { return Ok(()) };
        let Some(handshake) = backend.handshake_mut() else { return Ok(()) };
        if !handshake.has_begun() {
            // Before it was asked, a server may say that it has no place for us, and nothing else.
            return Err(words.map_or(BackendCloseReason::UnsolicitedReply, BackendCloseReason::Refused));
        }
        let step = handshake.next_step().ok_or(BackendCloseReason::UnsolicitedReply)?;
        match step.check(reply) {
            Ok(()) => handshake.on_done(step),
            Err(Refusal::Server) => return Err(BackendCloseReason::Refused(words.unwrap_or_else(|| printable(reply)))),
            Err(Refusal::Profile) => handshake.on_refused(step, reply),
        }
        handshake.on_answered(words);
        if let Step::Hello(_) = step {
            if let Some((told, number)) = Introduction::read(reply) {
                self.upstreams.on_introduced(id, told, number);
            }
        }
        let Some(backend) = self.upstreams.backend_mut(id) else { return Ok(()) };
        if !backend.handshake().is_some_and(Handshake::is_done) {
            return Ok(());
        }
        let (is_first, refusal) = backend.on_greeted(now);
        let server = backend.server();
        self.on_ready_to_block(id);
        let Some(backend) = self.upstreams.backend_mut(id) else { return Ok(()) };
        // What has waited for this is looked at in its own time, which may be shorter than that of a connect.
        let first = backend.in_flight().first().map(|request| self.in_flight.requests[request].deadline());
        if let Some(deadline) = first.filter(|&deadline| deadline != NO_DEADLINE) {
            backend.wake_at(&mut self.wheel, Timer::Backend(id), deadline);
        }
        self.mark_backend_dirty(id);
        let before = self.note(server, now);
        let health = self.upstreams.health_mut(server);
        if is_first {
            health.on_greeted(now);
        } else {
            health.on_heard(now);
        }
        self.conclude(server, before, &"", now);
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
        let Some(backend) = self.upstreams.backend_mut(id) else { return };
        let server = backend.server();
        let unanswered = backend.refuse_unsent(&mut self.in_flight.arena);
        self.on_lease_lost(id, unanswered.owner);
        let requests: Vec<RequestId> = unanswered.in_flight.iter(&self.in_flight.requests).collect();
        for request in requests {
            let entry = &mut self.in_flight.requests[request];
            entry.leave_backend();
            let client = entry.client();
            if client == Id::NONE {
                self.in_flight.requests.remove(request);
            } else {
                self.unpin(client, server);
                if unanswered.uploader == Some(client) {
                    self.discard_upload(client, request, now);
                }
                self.deliver(client, request, refusal, now);
            }
        }
    }

    /// Takes in what the connections to a server have shown so far. Returns how it was thought to be.
    fn note(&mut self, server: ServerId, now: Millis) -> Health {
        let heard_at = self.subscription_heard_at(server);
        self.upstreams.note(server, heard_at, now)
    }

    /// Something was told about a server, which was like `before`: `why` says what.
    fn conclude(&mut self, server: ServerId, before: Health, why: &dyn fmt::Display, now: Millis) {
        self.keep_pace(server, now);
        let Some(after) = self.upstreams.conclude(server, before) else { return };
        if before.is_up() && !after.is_up() {
            self.router.set_up(server, false);
        }
        let ms = now - before.since().unwrap_or(now);
        let about = About::Server(server);
        let mut warn = |text| self.journal.notices.note(Kind::State, about, Level::Warn, 1, text);
        match after {
            Health::Down { .. } if before.is_up() => warn(format_args!("is down: {why}")),
            Health::Down { .. } | Health::Probing { .. } => {}
            Health::Silent { .. } => warn(format_args!("is silent: {why}")),
            Health::Unsteady { .. } => warn(format_args!("is unsteady: {why}; it was of no use to anybody")),
            Health::Mute { .. } if before.is_up() => warn(format_args!("is mute: {why}")),
            _ => {
                let what = match after {
                    Health::Mute { .. } => "answers PING, and is on trial",
                    _ if before.is_up() => "is well",
                    _ => "is up",
                };
                let text = format_args!("{what} again, after {ms} ms");
                self.journal.notices.note(Kind::State, about, Level::Info, 1, text);
            }
        }
        if before.is_up() && !after.is_up() {
            self.review_confirmations(now);
        } else if after.is_up() && !before.is_up() {
            self.router.set_up(server, true);
            self.on_server_back(server, now);
        }
        if after == Health::Up {
            // Who had to wait for the next connection need not wait any more.
            self.turn.room_is_new();
        }
    }

    /// Makes no connection earlier than the server's health says, and looks at it in time.
    fn keep_pace(&mut self, server: ServerId, now: Millis) {
        self.upstreams.keep_pace(server, &mut self.wheel, Timer::Probe(server), now);
    }

    /// Looks whether a server that is not well has become so: when time passes, since replies do not come by here.
    pub(super) fn review(&mut self, server: ServerId, now: Millis) {
        if self.upstreams.health(server) != Health::Up {
            let before = self.note(server, now);
            self.upstreams.health_mut(server).review();
            self.conclude(server, before, &"", now);
        }
    }

    /// A connection is lost, which was begun, or ready, at `began_at`. `has_asked` says whether it leaves requests
    /// without a reply.
    pub(super) fn judge_loss(
        &mut self,
        server: ServerId,
        lost: (Seen, Millis, bool),
        reason: &BackendCloseReason,
        now: Millis,
    ) {
        let (seen, began_at, has_asked) = lost;
        let random = self.upstreams.random();
        let is_serving_others = self.upstreams.backends_of(server).any(|(_, other)| other.is_ready());
        let before = self.note(server, now);
        let health = self.upstreams.health_mut(server);
        health.note(seen, now);
        let is_new = seen.ready_at.is_none();
        match reason {
            BackendCloseReason::ConnectTimeout => health.on_silence(began_at, true, now, random),
            BackendCloseReason::Refused(_) if is_new && is_serving_others && health.is_up() => {
                health.on_full(began_at, now, random);
                self.warn_of(Kind::Refused, server, 1, format_args!("{reason}"));
            }
            _ if !reason.blames_server() => {}
            _ if is_new => health.on_failed(now, random),
            BackendCloseReason::WriteTimeout | BackendCloseReason::Stalled | BackendCloseReason::SubscribeTimeout => {}
            _ if seen.was_of_use(now) => {}
            _ => {
                health.on_useless(began_at, now, random);
                if has_asked {
                    health.on_unanswered(began_at, now, random);
                }
            }
        }
        self.conclude(server, before, reason, now);
    }

    /// A server did not answer what it was asked at `asked_at`; `is_request` if that was a request of a client. A fresh
    /// connection finds out whether it is there.
    pub(super) fn suspect(&mut self, server: ServerId, asked_at: Millis, is_request: bool, now: Millis) {
        let random = self.upstreams.random();
        let before = self.note(server, now);
        let health = self.upstreams.health_mut(server);
        health.on_silence(asked_at, false, now, random);
        if is_request {
            health.on_unanswered(asked_at, now, random);
        }
        let ms = health.failing_ms(now);
        self.conclude(server, before, &format_args!("it answers PING, and no request for {ms} ms"), now);
        if !self.is_being_looked_at(server) {
            self.maybe_open(server, now);
        }
    }

    /// Opens a connection to a server, if that may be done now, and if it has none; or if it is silent, and nobody
    /// listens whether it still is.
    pub(super) fn maybe_look(&mut self, server: ServerId, now: Millis) {
        let is_silent = matches!(self.upstreams.health(server), Health::Silent { .. });
        let has_any = self.upstreams.backends_of(server).any(|(_, backend)| backend.is_serving());
        if !has_any || is_silent && !self.is_being_looked_at(server) {
            self.maybe_open(server, now);
        }
    }

    fn maybe_open(&mut self, server: ServerId, now: Millis) {
        if self.upstreams.may_open(server, now) {
            self.open_backend(server, Profile::default(), now);
        }
    }

    fn is_being_looked_at(&self, server: ServerId) -> bool {
        self.upstreams.backends_of(server).any(|(_, other)| other.is_setting_up())
    }

    /// The time has come to look at a server: to see whether it can be reached again, if it is down; else to make the
    /// connection that had to wait.
    pub(super) fn on_probe_due(&mut self, server: ServerId, now: Millis) {
        if !self.upstreams.on_probe_due(server, now) {
            self.review(server, now);
            self.turn.room_is_new();
            self.maybe_look(server, now);
            return self.keep_pace(server, now);
        }
        if self.upstreams.pool(server).has_room(now) {
            self.open_backend(server, Profile::default(), now);
        } else {
            // Every place is taken by a connection that still owes something: look again later.
            let random = self.upstreams.random();
            self.upstreams.health_mut(server).on_failed(now, random);
            self.keep_pace(server, now);
        }
    }

    /// No new requests for this backend; it is closed when those that can still be answered are.
    pub(super) fn drain_backend(&mut self, id: Id, now: Millis) {
        let Some(backend) = self.upstreams.backend_mut(id) else { return };
        match *backend.phase() {
            Phase::Ready => {
                backend.drain();
                self.maybe_drained(id, now);
            }
            // Nothing was sent yet: all of it can go elsewhere.
            Phase::Connecting | Phase::Handshake(_) => self.lose_backend(id, BackendCloseReason::Drained, now),
            Phase::Draining => self.maybe_drained(id, now),
            Phase::Closed => {}
        }
    }

    /// Closes a draining backend that owes nothing more that anybody waits for.
    pub(super) fn maybe_drained(&mut self, id: Id, now: Millis) {
        let is_drained = self.upstreams.backend(id).is_some_and(Backend::is_drained);
        if is_drained {
            self.lose_backend(id, BackendCloseReason::Drained, now);
        }
    }
}
