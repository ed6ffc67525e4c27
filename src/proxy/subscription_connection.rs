//! Subscription connections: for each server the one that hears, for all clients, what is published there.
//!
//! It is a backend that is in no pool and gets no client's request. It is opened with the first subscription, asked for
//! every topic that any client hears, and closed when there has been none for a while. It speaks RESP2, since there is
//! nothing in RESP3 that it needs: one way that is always taken, and no fallback.
//!
//! ```text
//!              somebody subscribes           handshake done: all topics are asked for
//!   Closed ──────────────────────► Opening ──────────────────────────────────────────► Listening
//!     ▲  ▲                            │ refused, though the server is up                   │
//!     │  └──────── Pausing ◄──────────┘◄──────────── lost again at once ───────────────────┤
//!     │            a timer                                                                 │
//!     └─────────────────────── lost: opened anew at once, if the server is up ◄────────────┘
//! ```
//!
//! Its server answers in order, so what it owes is a queue: a confirmation belongs to the oldest question, and counts
//! only if its topic was not asked about again since. A message that is larger than any subscriber may leave unread is
//! not collected: its subscribers are closed, as Redis does, and the rest of it is dropped as it comes.
//!
//! Knows nothing of the clients but that they hear topics; those are `pubsub`'s business.

use log::Level;
use std::collections::VecDeque;

use super::backend_close_reason::BackendCloseReason;
use super::delivery::Delivery;
use super::pubsub::SLICE;
use super::{Proxy, Timer, Wire};
use crate::backend::{Backend, Phase, Purpose, handshake};
use crate::buffer::Scratch;
use crate::command::Channels;
use crate::notice::{About, Kind, printable};
use crate::resp::{Frame, ReplyFramer};
use crate::server::{PROBE_DELAY_FIRST_MS, PROBE_DELAY_MAX_MS, USEFUL_MS, spread};
use crate::server_id::ServerId;
use crate::session::Profile;
use crate::slots::Id;
use crate::subscription::push::{self, Push};
use crate::subscription::{FAMILIES, Topic, TopicId};
use crate::timer::Millis;

/// Who hears one server's messages, and what was asked.
#[derive(Debug, Default)]
pub(super) struct SubscriptionConnection {
    pub state: State,
    /// The message that is put into the queues of its subscribers.
    pub delivery: Delivery,
    /// By the slot of the topic.
    asked: Vec<Option<Asked>>,
    /// Topics that it has still to be asked for, the next one first; some may be gone.
    pub to_ask: VecDeque<TopicId>,
    /// The answers that the server owes, the next one first.
    owed: VecDeque<Owed>,
    /// When the next of them is due.
    answer_by: Millis,
    /// How many commands were sent.
    commands: u64,
    /// When it was last opened with success.
    ready_at: Millis,
    /// When it last heard anything.
    pub heard_at: Millis,
    /// How long the next pause is, in milliseconds.
    pause_ms: u64,
    /// Since when what it heard is not heard; `None` if nobody hears anything.
    lost_at: Option<Millis>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    #[default]
    Closed,
    Opening(Id),
    Listening(Id),
    /// A timer is set. If it was refused, nobody waits for it.
    Pausing {
        is_refused: bool,
    },
}

/// A topic that the server was asked for.
#[derive(Debug, Clone, Copy)]
struct Asked {
    topic: TopicId,
    command: u64,
    is_heard: bool,
}

/// An answer that a server owes, and the number of the command that it is part of.
#[derive(Debug, Clone, Copy)]
struct Owed {
    command: u64,
    what: Question,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    More(TopicId),
    Less,
    Ping,
}

/// After so long without a word the server is asked whether it is there, in milliseconds.
const PING_MS: u64 = 30_000;

impl SubscriptionConnection {
    /// True exactly when a message for this topic, published there from now on, will arrive.
    fn is_hearing(&self, topic: TopicId) -> bool {
        self.asked_for(topic).is_some_and(|asked| asked.is_heard)
    }

    /// True exactly when what came over this connection must wait: a message before it has not reached everybody.
    fn is_delivering(&self, id: Id) -> bool {
        self.delivery.is_pending && self.state == State::Listening(id)
    }

    fn asked_for(&self, topic: TopicId) -> Option<&Asked> {
        self.asked.get(topic.slot())?.as_ref().filter(|asked| asked.topic == topic)
    }

    /// The server was asked for this topic.
    fn on_asked(&mut self, topic: TopicId, command: u64) {
        if self.asked.len() <= topic.slot() {
            self.asked.resize(topic.slot() + 1, None);
        }
        self.asked[topic.slot()] = Some(Asked { topic, command, is_heard: false });
        self.owed.push_back(Owed { command, what: Question::More(topic) });
    }

    /// Nobody needs this topic any more. True exactly when the server was asked for it.
    fn forget(&mut self, topic: TopicId) -> bool {
        let was_asked = self.asked_for(topic).is_some();
        if was_asked {
            self.asked[topic.slot()] = None;
        }
        was_asked
    }
}

impl Proxy {
    /// True exactly when what is published on this server should be heard before a subscription is confirmed.
    fn is_to_be_heard(&self, server: ServerId) -> bool {
        let is_refused = self.pubsub.connections[server.index()].state == State::Pausing { is_refused: true };
        self.router.is_up(server) && !is_refused
    }

    /// True exactly when there is any server to hear.
    pub(super) fn is_anything_to_be_heard(&self) -> bool {
        self.router.servers().any(|server| self.is_to_be_heard(server))
    }

    /// True exactly when a message for this topic that is published from now on, on any server that is up, will arrive.
    pub(super) fn is_heard_everywhere(&self, topic: TopicId) -> bool {
        self.router.servers().all(|server| !self.is_missed(server, topic))
    }

    /// True exactly when a message for this topic that is published on this server now should arrive, and will not.
    pub(super) fn is_missed(&self, server: ServerId, topic: TopicId) -> bool {
        self.is_to_be_heard(server) && !self.pubsub.connections[server.index()].is_hearing(topic)
    }

    /// Asks every server for those of these topics, all of one family, that it was not asked for.
    pub(super) fn ask_all(&mut self, family: Channels, topics: &[TopicId], now: Millis) {
        for server in self.router.servers() {
            self.maybe_open_subscription(server, now);
            self.ask(server, family, topics, now);
        }
    }

    fn ask(&mut self, server: ServerId, family: Channels, topics: &[TopicId], now: Millis) {
        let connection = &mut self.pubsub.connections[server.index()];
        let State::Listening(id) = connection.state else { return };
        let registry = &self.pubsub.registry;
        let is_new = |topic: &TopicId| connection.asked_for(*topic).is_none();
        let names: Vec<(TopicId, &Topic)> =
            topics.iter().copied().filter(is_new).filter_map(|id| Some((id, registry.topic(id)?))).collect();
        if names.is_empty() {
            return;
        }
        let mut bytes = Vec::new();
        push::request(&mut bytes, family, true, names.iter().map(|(_, topic)| &*topic.name));
        let topics: Vec<TopicId> = names.into_iter().map(|(topic, _)| topic).collect();
        let command = self.begin_command(server, now);
        let connection = &mut self.pubsub.connections[server.index()];
        topics.into_iter().for_each(|topic| connection.on_asked(topic, command));
        self.send_command(id, &bytes, now);
    }

    /// Tells every server which topics nobody needs any more; those that are there again are not mentioned.
    pub(super) fn ask_less(&mut self, orphans: &[(TopicId, Topic)], now: Millis) {
        for server in self.router.servers() {
            if self.pubsub.registry.is_empty() {
                self.pubsub.connections[server.index()].lost_at = None;
            }
            for family in FAMILIES {
                let connection = &mut self.pubsub.connections[server.index()];
                let registry = &self.pubsub.registry;
                let of_family = orphans.iter().filter(|(_, topic)| topic.family == family);
                let asked = of_family.filter(|(id, _)| connection.forget(*id));
                let gone = asked.filter(|(_, topic)| registry.find(family, &topic.name).is_none());
                let names: Vec<&[u8]> = gone.map(|(_, topic)| &*topic.name).collect();
                let State::Listening(id) = connection.state else { continue };
                if names.is_empty() {
                    continue;
                }
                let mut bytes = Vec::new();
                push::request(&mut bytes, family, false, names.iter().copied());
                let command = self.begin_command(server, now);
                let owed = &mut self.pubsub.connections[server.index()].owed;
                owed.extend(names.iter().map(|_| Owed { command, what: Question::Less }));
                self.send_command(id, &bytes, now);
            }
        }
    }

    fn begin_command(&mut self, server: ServerId, now: Millis) -> u64 {
        let connection = &mut self.pubsub.connections[server.index()];
        if connection.owed.is_empty() {
            connection.answer_by = now + self.settings.timeouts.remote_read_ms;
        }
        connection.commands += 1;
        connection.commands
    }

    fn send_command(&mut self, id: Id, bytes: &[u8], now: Millis) {
        let Some(backend) = self.upstreams.backend_mut(id) else { return };
        backend.push(&mut self.in_flight.arena, bytes);
        backend.wake_at(&mut self.wheel, Timer::Backend(id), now + self.settings.timeouts.remote_read_ms);
        self.mark_backend_dirty(id);
    }

    /// Opens a server's subscription connection, if it is up, and if there is anything to listen for.
    fn maybe_open_subscription(&mut self, server: ServerId, now: Millis) {
        let is_closed = self.pubsub.connections[server.index()].state == State::Closed;
        if !is_closed || self.pubsub.registry.is_empty() || !self.router.is_up(server) {
            return;
        }
        let backend = Backend::new(server, Profile::default(), Purpose::Subscription, now);
        let id = self.begin_connect(backend, now);
        self.pubsub.connections[server.index()].state = State::Opening(id);
    }

    /// When the subscription connection of this server last heard anything.
    pub(super) fn subscription_heard_at(&self, server: ServerId) -> Millis {
        self.pubsub.connections[server.index()].heard_at
    }

    /// A pause is over.
    pub(super) fn on_subscription_due(&mut self, server: ServerId, now: Millis) {
        let state = &mut self.pubsub.connections[server.index()].state;
        if let State::Pausing { .. } = state {
            *state = State::Closed;
            self.maybe_open_subscription(server, now);
        }
    }

    /// A server is up again. A connection that has outlasted that may be one to nowhere.
    pub(super) fn on_server_back(&mut self, server: ServerId, now: Millis) {
        match self.pubsub.connections[server.index()].state {
            State::Listening(id) => self.ping(id, server, now),
            _ => self.maybe_open_subscription(server, now),
        }
    }

    /// A handshake is done. If it is a connection's, it asks for everything that anybody hears, one by one: what is
    /// refused then takes nothing else with it.
    pub(super) fn maybe_hear(&mut self, id: Id, now: Millis) {
        let Some(backend) = self.upstreams.backend(id).filter(|backend| backend.is_subscription()) else { return };
        let server = backend.server();
        let connection = &mut self.pubsub.connections[server.index()];
        connection.state = State::Listening(id);
        connection.ready_at = now;
        connection.heard_at = now;
        connection.to_ask = self.pubsub.registry.topics().collect();
        self.ask_some(server, now);
        if let Some(backend) = self.upstreams.backend_mut(id) {
            backend.wake_at(&mut self.wheel, Timer::Backend(id), now + PING_MS);
        }
    }

    /// Asks a new connection for the next of what is heard; there may be more, for the next turns.
    fn ask_some(&mut self, server: ServerId, now: Millis) {
        for _ in 0..SLICE {
            let Some(topic) = self.pubsub.connections[server.index()].to_ask.pop_front() else { return };
            self.ask_one(server, topic, now);
        }
        self.turn.ration();
    }

    /// The same for all that are not done.
    pub(super) fn go_on_asking(&mut self, now: Millis) {
        for server in self.router.servers() {
            if !self.pubsub.connections[server.index()].to_ask.is_empty() {
                self.ask_some(server, now);
                self.maybe_restored(server, now);
            }
        }
    }

    fn ask_one(&mut self, server: ServerId, topic: TopicId, now: Millis) {
        if let Some(family) = self.pubsub.registry.topic(topic).map(|topic| topic.family) {
            self.ask(server, family, &[topic], now);
        }
    }

    /// A backend is lost. If it was a connection, it is made anew where that is of use. False if it was none.
    pub(super) fn maybe_lose_subscription(
        &mut self,
        id: Id,
        was_new: bool,
        reason: &BackendCloseReason,
        now: Millis,
    ) -> bool {
        let Some(backend) = self.upstreams.backend(id).filter(|backend| backend.is_subscription()) else {
            return false;
        };
        let server = backend.server();
        let is_up = self.router.is_up(server);
        let is_needed = !self.pubsub.registry.is_empty();
        let random = self.upstreams.random();
        let connection = &mut self.pubsub.connections[server.index()];
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
            || lost_ms >= self.settings.timeouts.remote_read_ms;
        let is_hasty = now - connection.ready_at < USEFUL_MS;
        if !is_refused && !is_hasty {
            connection.pause_ms = 0;
        }
        connection.state = if is_needed && is_up && (is_refused || is_hasty) {
            // One that does not last is made anew ever more seldom, as those for requests are.
            let pause_ms = connection.pause_ms.max(PROBE_DELAY_FIRST_MS);
            connection.pause_ms = (pause_ms * 2).min(PROBE_DELAY_MAX_MS);
            let pause_ms = spread(pause_ms, random);
            self.wheel.arm(Timer::Subscription(server), now + pause_ms);
            State::Pausing { is_refused }
        } else {
            State::Closed
        };
        self.maybe_open_subscription(server, now);
        self.review_confirmations(now);
        true
    }

    /// The `n` bytes in the read area of `scratch` came from a connection.
    #[cold]
    pub(super) fn handle_subscription_data<W: Wire>(
        &mut self,
        id: Id,
        scratch: &mut Scratch,
        n: usize,
        now: Millis,
        wire: &mut W,
    ) {
        let Some(backend) = self.upstreams.backend_mut(id) else { return };
        let server = backend.server();
        let connection = &mut self.pubsub.connections[server.index()];
        connection.heard_at = now;
        if backend.kept().len() > Scratch::HEADROOM || connection.is_delivering(id) {
            backend.extend_kept(scratch.joined(&[], n), &mut self.in_flight.arena);
            return self.take_kept_pushes(id, now, wire);
        }
        let (mut framer, mut kept) = backend.take_kept(&mut self.in_flight.arena);
        let data = scratch.joined(&kept, n);
        let taken = self.take_pushes(id, data, &mut framer, now, wire);
        kept.clear();
        kept.extend_from_slice(&data[*taken.as_ref().unwrap_or(&0)..]);
        self.keep_pushes(id, kept, framer, taken, now);
    }

    /// Deals with what a server's connection has kept, until a message waits for the next turn.
    pub(super) fn take_kept_pushes<W: Wire>(&mut self, id: Id, now: Millis, wire: &mut W) {
        let Some(backend) = self.upstreams.backend_mut(id) else { return };
        let (mut framer, mut kept) = backend.take_kept(&mut self.in_flight.arena);
        let taken = self.take_pushes(id, &kept, &mut framer, now, wire);
        kept.drain(..*taken.as_ref().unwrap_or(&0));
        self.keep_pushes(id, kept, framer, taken, now);
    }

    fn keep_pushes(
        &mut self,
        id: Id,
        mut kept: Vec<u8>,
        framer: ReplyFramer,
        taken: Result<usize, BackendCloseReason>,
        now: Millis,
    ) {
        if let Err(reason) = taken {
            return self.lose_backend(id, reason, now);
        }
        if kept.len() < kept.capacity() / 4 {
            kept.shrink_to_fit();
        }
        let Some(backend) = self.upstreams.backend_mut(id) else { return };
        backend.put_kept(framer, kept, &mut self.in_flight.arena);
        backend.answer_all_sent(&mut self.in_flight.arena);
    }

    /// Deals with everything in `data` that is whole, until a message waits for the next turn. Returns how many bytes
    /// were taken.
    fn take_pushes<W: Wire>(
        &mut self,
        id: Id,
        data: &[u8],
        framer: &mut ReplyFramer,
        now: Millis,
        wire: &mut W,
    ) -> Result<usize, BackendCloseReason> {
        let Some(server) = self.upstreams.backend(id).map(|backend| backend.server().index()) else {
            return Ok(0);
        };
        let mut at = 0;
        while at < data.len() && !self.pubsub.connections[server].is_delivering(id) {
            match self.take_push(id, &data[at..], framer, now, wire)? {
                0 => break,
                taken => at += taken,
            }
        }
        Ok(at)
    }

    /// Deals with what `bytes` begin with, if it is whole. Returns how many bytes were taken; 0 when there are too few.
    fn take_push<W: Wire>(
        &mut self,
        id: Id,
        bytes: &[u8],
        framer: &mut ReplyFramer,
        now: Millis,
        wire: &mut W,
    ) -> Result<usize, BackendCloseReason> {
        let message_max = self.subscriber_unread_max();
        let Some(backend) = self.upstreams.backend_mut(id) else { return Ok(bytes.len()) };
        match framer.frame(bytes).map_err(BackendCloseReason::ProtocolError)? {
            Frame::Complete(len) => {
                let is_rest = backend.on_whole();
                framer.reset();
                match backend.phase() {
                    _ if is_rest => {}
                    Phase::Handshake(_) => self.on_handshake_reply(id, &bytes[..len], now)?,
                    Phase::Ready | Phase::Draining => self.on_said(id, &bytes[..len], now, wire)?,
                    Phase::Connecting | Phase::Closed => return Err(BackendCloseReason::UnsolicitedReply),
                }
                Ok(len)
            }
            Frame::Partial if backend.is_in_large_reply() || framer.at() > message_max => {
                if backend.on_piece() {
                    if let Some(Push::Message { family, topic }) = push::read(bytes) {
                        self.cut_off(family, topic);
                    }
                }
                let len = framer.passable(bytes.len());
                framer.rebase(len);
                Ok(len)
            }
            Frame::Partial => Ok(0),
        }
    }

    /// A server has said something to those that hear its messages.
    fn on_said<W: Wire>(&mut self, id: Id, frame: &[u8], now: Millis, wire: &mut W) -> Result<(), BackendCloseReason> {
        let Some(backend) = self.upstreams.backend(id) else { return Ok(()) };
        let server = backend.server();
        let connection = &mut self.pubsub.connections[server.index()];
        let push = push::read(frame).ok_or(BackendCloseReason::UnsolicitedReply)?;
        if let Push::Message { family, topic } = push {
            self.publish(server, (family, topic), frame, now, wire);
            return Ok(());
        }
        let owed = connection.owed.pop_front().ok_or(BackendCloseReason::UnsolicitedReply)?;
        connection.answer_by = now + self.settings.timeouts.remote_read_ms;
        match (push, owed.what) {
            // Who was heard before shall be heard again, as soon as the script has ended that is in the way.
            (Push::Refused, _) if connection.lost_at.is_some() && handshake::is_busy(frame) => {
                return Err(BackendCloseReason::Refused(printable(frame)));
            }
            (Push::Refused, _) => self.on_question_refused(server, owed, frame, now),
            (Push::Confirmed { is_more: true, .. }, Question::More(topic)) => {
                let asked = connection.asked.get_mut(topic.slot()).and_then(Option::as_mut);
                let is_this = |asked: &&mut Asked| (asked.topic, asked.command) == (topic, owed.command);
                if let Some(asked) = asked.filter(is_this) {
                    asked.is_heard = true;
                    self.on_topic_heard(topic, now);
                }
            }
            (Push::Confirmed { is_more: false, .. }, Question::Less) | (Push::Pong, Question::Ping) => {}
            _ => return Err(BackendCloseReason::UnsolicitedReply),
        }
        self.maybe_restored(server, now);
        Ok(())
    }

    /// If that was the last of what had to be made anew, somebody may want to know.
    fn maybe_restored(&mut self, server: ServerId, now: Millis) {
        let connection = &mut self.pubsub.connections[server.index()];
        if !connection.owed.is_empty() || !connection.to_ask.is_empty() {
            return;
        }
        if let Some(lost_at) = connection.lost_at.take() {
            self.journal.stats.resubscriptions += 1;
            let topics = self.pubsub.registry.len();
            let lost_ms = now - lost_at;
            let text = format_args!("{topics} subscriptions made anew, {lost_ms} ms after their loss");
            self.journal.notices.note(Kind::Resubscribed, About::Server(server), Level::Info, 1, text);
        }
    }

    /// A server does not do what it was asked: one answer for the whole command.
    fn on_question_refused(&mut self, server: ServerId, first: Owed, reply: &[u8], now: Millis) {
        let connection = &mut self.pubsub.connections[server.index()];
        let mut topics = Vec::new();
        let mut next = Some(first);
        while let Some(owed) = next {
            match owed.what {
                Question::More(topic) if connection.forget(topic) => topics.push(topic),
                _ => {}
            }
            next = connection.owed.front().copied().filter(|owed| owed.command == first.command);
            if next.is_some() {
                connection.owed.pop_front();
            }
        }
        match topics[..] {
            [] => {}
            [topic] => {
                let words = printable(reply);
                self.warn_of(Kind::Subscription, server, 1, format_args!("it refuses a subscription: {words}"));
                self.refuse_topic(topic, reply, now);
            }
            // Which of them it is, it does not say.
            _ => topics.into_iter().for_each(|topic| self.ask_one(server, topic, now)),
        }
    }

    fn ping(&mut self, id: Id, server: ServerId, now: Millis) {
        let command = self.begin_command(server, now);
        self.pubsub.connections[server.index()].owed.push_back(Owed { command, what: Question::Ping });
        self.send_command(id, b"*1\r\n$4\r\nPING\r\n", now);
    }

    /// What a connection waits for, and until when; `None` when it is gone over it.
    pub(super) fn on_subscription_alarm(&mut self, id: Id, now: Millis) -> Option<Millis> {
        let backend = self.upstreams.backend(id)?;
        let server = backend.server();
        let write_deadline =
            backend.is_write_blocked().then(|| backend.took_at() + self.settings.timeouts.remote_write_ms);
        if self.is_publishing() {
            // It is not read meanwhile.
            self.pubsub.connections[server.index()].heard_at = now;
        }
        let connection = &self.pubsub.connections[server.index()];
        // Messages that were on their way come before the answer.
        let answer_by = connection.answer_by.max(connection.heard_at + self.settings.timeouts.remote_read_ms);
        let read_deadline = (!connection.owed.is_empty()).then_some(answer_by);
        let asked_at = Millis(now.0.saturating_sub(self.settings.timeouts.remote_read_ms));
        let reason = if write_deadline.is_some_and(|deadline| deadline <= now) {
            Some(BackendCloseReason::WriteTimeout)
        } else if read_deadline.is_some_and(|deadline| deadline <= now) {
            Some(BackendCloseReason::SubscribeTimeout)
        } else {
            None
        };
        if let Some(reason) = reason {
            self.suspect(server, asked_at, false, now);
            self.lose_backend(id, reason, now);
            return None;
        }
        let mut ping_at = connection.heard_at + PING_MS;
        if read_deadline.is_none() && ping_at <= now {
            if self.pubsub.registry.is_empty() {
                self.lose_backend(id, BackendCloseReason::Idle, now);
                return None;
            }
            self.ping(id, server, now);
            ping_at = now + PING_MS;
        }
        [write_deadline, read_deadline, Some(ping_at)].into_iter().flatten().min()
    }
}
