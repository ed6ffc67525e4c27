//! Clients that subscribe: their requests, and the confirmations that they wait for. Their messages are `delivery`'s
//! business.
//!
//! All servers are listened to (`subscription_connection`), since a script publishes on the server that it runs on;
//! PUBLISH goes to one, so that a message arrives once. A subscription is confirmed, in its place among the client's
//! replies, when every server that is up has confirmed it: what is published after that arrives.
//!
//! ```text
//!   SUBSCRIBE a b ─► registry ─► are both heard everywhere? ─► yes: the reply
//!                                         └► no: the servers are asked, and a place is kept in the client's line:
//!   client's line:  [GET x: Waiting] [SUBSCRIBE: Waiting] [PING: Early]        + held: messages that came meanwhile
//! ```
//!
//! A message is no reply, and never comes in the middle of one, nor before the confirmation of what it belongs to: it
//! is held until it may go out (`Client::is_open_to_messages`). In RESP3 a client may send anything while it hears;
//! what is for a server then waits until its subscriptions are confirmed, or it might not hear its own message.
//!
//! Many topics are several turns' work: of one request, or of a client that is gone, a turn deals with `SLICE` of them.
//! Its client waits in between (`Flow::Deferred`), and what it has left is done is known to it (`Progress`). It is one
//! request all the same: with one confirmation, or one error.
//!
//! The order of a message and of the reply to the PUBLISH that sent it is not kept: they come over two connections.

use std::collections::VecDeque;
use std::sync::Arc;

use slab::Slab;

use super::publish::Publisher;
use super::routing::{CONNECTION_DOWN, Call, Verdict};
use super::subscription_connection::SubscriptionConnection;
use super::{NO_DEADLINE, Proxy, TURN_WORK_MAX};
use crate::buffer::Queue;
use crate::client::Flow;
use crate::command::{Channels, Class, Lease, Session};
use crate::reply::error;
use crate::request::{Request, RequestId};
use crate::session::Protocol;
use crate::slots::Id;
use crate::subscription::hidden::HiddenSubscribers;
use crate::subscription::{FAMILIES, Progress, Registry, TopicId, Triples, push};
use crate::timer::Millis;

/// Who hears what, who tells it to them, and who waits for being told so.
#[derive(Debug)]
pub(super) struct Pubsub {
    pub registry: Registry,
    /// One for each server.
    pub connections: Vec<SubscriptionConnection>,
    confirmations: Slab<Confirmation>,
    /// The same by what they wait for: the topic and their number, and nobody.
    awaited: Triples,
    /// Bytes that those confirmations take, and that the account has for all this.
    confirming: usize,
    charged: usize,
    /// Clients that are gone, and whose topics nobody has let go of yet.
    pub leaving: VecDeque<Id>,
    /// Topics that nobody has to wait for any more, though some still do.
    confirmed: VecDeque<TopicId>,
    /// Clients that wait to publish.
    pub publishers: Vec<Publisher>,
    /// How many servers' messages are not in the queues of all their subscribers yet.
    pub pending: usize,
    /// Subscribers that have messages to be sent, the next one first.
    pub unsent: VecDeque<Id>,
    /// What may still be done for messages in this turn.
    pub work_left: usize,
}

/// A request that waits until the servers have confirmed what it asks for.
#[derive(Debug)]
struct Confirmation {
    client: Id,
    /// Its place in the client's line.
    request: RequestId,
    /// What the client is told then.
    frames: Vec<u8>,
    /// What the client hears because of it.
    joined: Vec<TopicId>,
    /// What it began to wait for, and for how much of that it still does.
    topics: Vec<TopicId>,
    /// And one more until all of its request is dealt with.
    missing: usize,
}

/// So many topics of one request, or of one client that is gone, are dealt with in one turn.
pub(super) const SLICE: usize = 2048;
/// For no more than so many nobody waits for a turn.
const FEW: usize = 64;
/// So many clients that wait for the same topic are told in one turn that it is heard.
pub(super) const CONFIRMED_MAX: usize = 512;
/// To deal with one topic.
const WORK_OF_TOPIC: usize = TURN_WORK_MAX / SLICE;

/// The rest of what a RESP2 client is told that hears something and asks for something else; Redis's words.
const ALLOWED_IN_RESP2: &str = "(P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context";

impl Pubsub {
    pub fn new(servers: usize, hidden: Arc<HiddenSubscribers>) -> Pubsub {
        Pubsub {
            registry: Registry::new(hidden),
            connections: (0..servers).map(|_| SubscriptionConnection::default()).collect(),
            confirmations: Slab::new(),
            awaited: Triples::new(),
            confirming: 0,
            charged: 0,
            leaving: VecDeque::new(),
            confirmed: VecDeque::new(),
            publishers: Vec::new(),
            pending: 0,
            unsent: VecDeque::new(),
            work_left: TURN_WORK_MAX,
        }
    }

    /// The memory that all this takes, in bytes, and which must be what the account has for it.
    pub fn held(&self) -> usize {
        self.registry.held() + self.confirming
    }

    /// The same, counted anew.
    pub fn count(&self) -> usize {
        self.registry.held() + self.confirmations.iter().map(|(_, confirmation)| confirmation.held()).sum::<usize>()
    }
}

impl Confirmation {
    /// The memory that it takes, in bytes.
    fn held(&self) -> usize {
        let topics = self.joined.capacity() + 3 * self.topics.capacity();
        size_of::<Confirmation>() + self.frames.capacity() + topics * size_of::<TopicId>()
    }
}

impl Pubsub {
    /// True exactly when somebody waits for some confirmation.
    pub fn is_anything_awaited(&self) -> bool {
        !self.awaited.is_empty()
    }

    /// True exactly when some topics wait for the next turn.
    pub fn is_slicing(&self) -> bool {
        !self.leaving.is_empty()
            || !self.confirmed.is_empty()
            || self.connections.iter().any(|connection| !connection.to_ask.is_empty())
    }

    /// The numbers of those who wait for the confirmation of this topic.
    fn awaiting(&self, topic: TopicId) -> impl Iterator<Item = usize> {
        let all = (topic, 0, Id::LEAST)..=(topic, u32::MAX, Id::NONE);
        self.awaited.range(all).map(|&(_, number, _)| number as usize)
    }

    /// Somebody waits for the confirmation of this topic. True if that is news.
    fn wait(&mut self, topic: TopicId, number: usize) -> bool {
        self.awaited.insert((topic, number as u32, Id::NONE))
    }

    /// Somebody waits for the confirmation of this topic no longer.
    fn wait_no_longer(&mut self, topic: TopicId, number: usize) {
        self.awaited.remove(&(topic, number as u32, Id::NONE));
    }

    /// True exactly when somebody waits for the confirmation of this topic.
    pub fn is_awaited(&self, topic: TopicId) -> bool {
        self.awaiting(topic).next().is_some()
    }
}

impl Proxy {
    /// A request to hear from channels, or to hear no more from them.
    pub(super) fn on_subscription(&mut self, id: Id, call: &Call<'_>, lease: Lease, now: Millis) -> Verdict {
        if !call.command.arity_allows(call.args.len()) {
            self.reply_with(id, |out| error::wrong_arity(out, call.name()));
            return Verdict::Done;
        }
        let Some(client) = self.clients.get_mut(id) else { return Verdict::Done };
        let subscriber = client.subscriber.as_mut();
        let count = match (lease, &subscriber) {
            (Lease::Unsubscribe(_), Some(subscriber)) if call.args.len() == 1 => subscriber.topics(),
            _ => call.args.len(),
        };
        if count > FEW && self.defers(id) {
            return Verdict::Wait;
        }
        let Some(client) = self.clients.get_mut(id) else { return Verdict::Done };
        let progress = client.subscriber.as_mut().and_then(|subscriber| subscriber.progress.take());
        // As in Redis, what is pushed comes whatever CLIENT REPLY says; but it counts as the next request.
        if progress.is_none() {
            client.session.reply_mode.take();
        }
        let progress = match lease {
            Lease::Subscribe(family) => self.subscribe(id, call, family, progress, now),
            Lease::Unsubscribe(family) => self.unsubscribe(id, call, family, progress),
            _ => None,
        };
        if let (Some(_), Some(client)) = (progress, self.clients.get_mut(id)) {
            client.subscriber.get_or_insert_default().progress = progress;
            return self.go_on_later(id);
        }
        self.settle(id);
        Verdict::Done
    }

    /// A request is more than one turn's work: its next part is done in the next one.
    fn go_on_later(&mut self, id: Id) -> Verdict {
        if let Some(client) = self.clients.get_mut(id).filter(|client| client.flow == Flow::Open) {
            client.flow = Flow::Deferred;
            self.clients.deferred.push_back(id);
        }
        Verdict::Wait
    }

    fn count_topics(&mut self, count: usize) {
        if count > FEW {
            self.count_work(WORK_OF_TOPIC * count);
        }
    }

    /// The next part of a request to hear more. Returns how far it is done, if it is not yet.
    fn subscribe(
        &mut self,
        id: Id,
        call: &Call<'_>,
        family: Channels,
        progress: Option<Progress>,
        now: Millis,
    ) -> Option<Progress> {
        let (from, number) = match progress {
            Some(Progress { at, confirmation }) => (at, confirmation?),
            None => (1, self.begin_subscription(id, call)?),
        };
        let to = call.args.len().min(from + SLICE);
        let client = self.clients.get_mut(id)?;
        let protocol = client.session.profile.protocol;
        let subscriber = client.subscriber.get_or_insert_default();
        let confirmation = self.pubsub.confirmations.get_mut(number)?;
        self.pubsub.confirming -= confirmation.held();
        let mut topics = Vec::with_capacity(to - from);
        for index in from..to {
            let name = call.arg(index);
            let (topic, is_news) = self.pubsub.registry.join(id, family, name);
            topics.push(topic);
            if is_news {
                subscriber.on_joined(family);
                confirmation.joined.push(topic);
            }
            let count = subscriber.count(family);
            push::confirmation(&mut confirmation.frames, protocol, family, true, Some(name), count);
        }
        self.ask_all(family, &topics, now);
        topics.retain(|&topic| !self.is_heard_everywhere(topic) && self.pubsub.wait(topic, number));
        let confirmation = self.pubsub.confirmations.get_mut(number)?;
        confirmation.missing += topics.len();
        confirmation.topics.append(&mut topics);
        self.pubsub.confirming += confirmation.held();
        self.charge_pubsub();
        self.count_topics(to - from);
        if to < call.args.len() {
            return Some(Progress { at: to, confirmation: Some(number) });
        }
        self.confirm_part(number, now);
        self.maybe_pause(id);
        None
    }

    /// Keeps the place of a confirmation in the client's line, unless there is none to be had. Returns its number.
    fn begin_subscription(&mut self, id: Id, call: &Call<'_>) -> Option<usize> {
        if !self.is_anything_to_be_heard() {
            self.reply_here(id, CONNECTION_DOWN);
            return None;
        }
        // All subscriptions together may have half of the memory: nobody is asked to give one back.
        let asked = Registry::held_by_new(call.args.len(), call.request.len());
        if self.pubsub.held() + asked > self.settings.limits.buffered_bytes_max / 2 {
            self.refuse_for_memory(id, "These subscriptions");
            return None;
        }
        let request = self.in_flight.requests.insert(Request::new(id, NO_DEADLINE, 0, 0, false));
        let client = self.clients.get_mut(id)?;
        client.reply_order.push(&mut self.in_flight.requests, request);
        client.subscriber.get_or_insert_default().awaited.push_back(request);
        let (frames, joined, topics) = (Vec::new(), Vec::new(), Vec::new());
        let confirmation = Confirmation { client: id, request, frames, joined, topics, missing: 1 };
        self.pubsub.confirming += confirmation.held();
        Some(self.pubsub.confirmations.insert(confirmation))
    }

    /// The next part of a request to hear less. Returns how far it is done, if it is not yet.
    fn unsubscribe(
        &mut self,
        id: Id,
        call: &Call<'_>,
        family: Channels,
        progress: Option<Progress>,
    ) -> Option<Progress> {
        let client = self.clients.get(id)?;
        let protocol = client.session.profile.protocol;
        let from = progress.map_or(1, |progress| progress.at);
        let to = call.args.len().min(from + SLICE);
        let is_all = call.args.len() == 1;
        let registry = &self.pubsub.registry;
        let topics: Vec<Option<TopicId>> = match is_all {
            true => registry.topics_of(id, family).take(SLICE).map(Some).collect(),
            false => (from..to).map(|index| registry.find(family, call.arg(index))).collect(),
        };
        let mut frames = Vec::new();
        for (index, topic) in topics.iter().enumerate() {
            let name = topic.and_then(|topic| self.pubsub.registry.topic(topic)).map(|topic| topic.name.clone());
            if let Some(topic) = *topic {
                self.leave_topic(id, topic);
            }
            // Nobody hears what has no topic; then it is the client that knows its name.
            let name = name.as_deref().unwrap_or_else(|| call.arg(from + index));
            push::confirmation(&mut frames, protocol, family, false, Some(name), self.count(id, family));
        }
        if topics.is_empty() && progress.is_none() {
            push::confirmation(&mut frames, protocol, family, false, None, self.count(id, family));
        }
        let is_done = match is_all {
            true => self.pubsub.registry.topics_of(id, family).next().is_none(),
            false => to == call.args.len(),
        };
        if is_done {
            self.settle(id);
        }
        self.count_topics(topics.len());
        self.reply_in_place(id, &frames);
        (!is_done).then_some(Progress { at: to, confirmation: None })
    }

    fn count(&self, id: Id, family: Channels) -> usize {
        self.clients.get(id).and_then(|client| client.subscriber.as_ref()).map_or(0, |own| own.count(family))
    }

    /// A client hears this no longer, if it did.
    fn leave_topic(&mut self, id: Id, topic: TopicId) {
        let Some(family) = self.pubsub.registry.topic(topic).map(|topic| topic.family) else { return };
        self.deliver_before_leaving(id, topic);
        if !self.pubsub.registry.leave(id, topic) {
            return;
        }
        if let Some(subscriber) = self.clients.get_mut(id).and_then(|client| client.subscriber.as_mut()) {
            subscriber.on_left(family);
        }
        self.charge_pubsub();
    }

    /// A client hears nothing any more. False if that is more than one turn's work.
    fn leave_topics(&mut self, id: Id) -> bool {
        let mut left = SLICE;
        for family in FAMILIES {
            let topics: Vec<TopicId> = self.pubsub.registry.topics_of(id, family).take(left).collect();
            left -= topics.len();
            topics.into_iter().for_each(|topic| self.leave_topic(id, topic));
        }
        self.count_topics(SLICE - left);
        left > 0
    }

    /// Lets go of topics of those who are gone, and asks connections that are new for more of what is heard.
    #[cold]
    pub(super) fn go_on_with_topics(&mut self, now: Millis) {
        if let Some(&id) = self.pubsub.leaving.front() {
            if self.leave_topics(id) {
                self.pubsub.leaving.pop_front();
            }
        }
        if let Some(topic) = self.pubsub.confirmed.pop_front() {
            // If the connection is lost that heard it, who still waits does so for the next one.
            if self.is_heard_everywhere(topic) || self.pubsub.registry.topic(topic).is_none() {
                self.confirm_topic(topic, now);
                self.wake_publishers();
            }
        }
        self.go_on_asking(now);
    }

    /// Subscriptions have become more or less.
    fn charge_pubsub(&mut self) {
        let held = self.pubsub.held();
        self.in_flight.arena.recharge(&mut self.pubsub.charged, held);
    }

    /// What a client hears has become less: perhaps it is no subscriber any more.
    fn settle(&mut self, id: Id) {
        let Some(client) = self.clients.get_mut(id) else { return };
        client.release_messages(&mut self.in_flight.arena, &self.in_flight.requests);
    }

    /// A request of a client that subscribes, or is in a transaction. `None` if it means what it always means.
    pub(super) fn on_request_in_state(&mut self, id: Id, call: &Call<'_>, now: Millis) -> Option<Verdict> {
        match self.on_subscribers_request(id, call) {
            None => self.on_request_in_transaction(id, call, now),
            verdict => verdict,
        }
    }

    /// A request of a client that hears something. `None` if it means what it always means.
    fn on_subscribers_request(&mut self, id: Id, call: &Call<'_>) -> Option<Verdict> {
        let client = self.clients.get_mut(id).filter(|client| client.is_hearing())?;
        let command = call.command;
        let is_resp2 = client.session.profile.protocol == Protocol::Resp2;
        let is_arity_right = command.arity_allows(call.args.len());
        match command.class {
            Class::Lease(Lease::Subscribe(_) | Lease::Unsubscribe(_)) | Class::Session(Session::Quit) => return None,
            Class::Session(Session::Reset) => {
                if is_arity_right {
                    let is_much = client.subscriber.as_ref().is_some_and(|own| own.topics() > FEW);
                    if is_much && self.defers(id) {
                        return Some(Verdict::Wait);
                    }
                    if !self.leave_topics(id) {
                        return Some(self.go_on_later(id));
                    }
                    self.settle(id);
                }
                return None;
            }
            Class::Session(_) if !is_resp2 => return None,
            _ if !is_resp2 && !client.is_restrained() => return None,
            _ if !is_resp2 => {
                self.await_replies(id, Flow::Subscribing);
                return Some(Verdict::Wait);
            }
            Class::Session(Session::Ping) if is_arity_right && call.args.len() <= 2 => {
                let text = if call.args.len() == 2 { call.arg(1) } else { b"" };
                self.reply_with(id, |out| push::pong(out, text));
            }
            _ if !is_arity_right || matches!(command.class, Class::Session(Session::Ping)) => {
                self.reply_with(id, |out| error::wrong_arity(out, call.name()));
            }
            _ => self.reply_with(id, |out| {
                let code = match command.class {
                    Class::Lease(Lease::Exec) => "EXECABORT Transaction discarded because of:",
                    _ => "ERR",
                };
                // The one container whose subcommands are not in the table.
                let is_client = command.class == Class::Session(Session::Client) && call.args.len() > 1;
                let word = if is_client { call.arg(1).to_ascii_lowercase() } else { Vec::new() };
                let word = String::from_utf8_lossy(&word);
                let (name, bar, word) = (call.name(), if word.is_empty() { "" } else { "|" }, &word);
                error::write_error(
                    out,
                    format_args!("{code} Can't execute '{name}{bar}{word}': only {ALLOWED_IN_RESP2}"),
                );
            }),
        }
        Some(Verdict::Done)
    }

    /// A client is being closed: nothing of it stays behind.
    pub(super) fn forget_subscriber(&mut self, id: Id) {
        let Some(client) = self.clients.get_mut(id) else { return };
        let Some(mut subscriber) = client.subscriber.take() else { return };
        subscriber.held.clear(&mut self.in_flight.arena);
        // A confirmation that it waits for ends with its topics.
        if let Some(number) = subscriber.progress.and_then(|progress| progress.confirmation) {
            self.confirm_part(number, self.wheel.now());
        }
        if subscriber.topics() > FEW || !self.leave_topics(id) {
            self.pubsub.leaving.push_back(id);
            self.turn.ration();
        }
    }

    /// What nobody hears any more is no longer listened for, and not waited for either.
    pub(super) fn let_go_of_topics(&mut self, now: Millis) {
        if self.pubsub.registry.orphans() == 0 {
            return;
        }
        let mut orphans = Vec::new();
        while let Some(orphan) = self.pubsub.registry.poll_orphan() {
            orphans.push(orphan);
        }
        self.ask_less(&orphans, now);
        for (topic, _) in orphans {
            self.confirm_topic(topic, now);
        }
        self.wake_publishers();
    }

    /// A server hears this topic now: perhaps it was the last one.
    pub(super) fn on_topic_heard(&mut self, topic: TopicId, now: Millis) {
        if self.is_heard_everywhere(topic) {
            self.confirm_topic(topic, now);
        }
        self.wake_publishers();
    }

    /// A server is not waited for any more: it is down, or does not take our connection.
    pub(super) fn review_confirmations(&mut self, now: Millis) {
        if self.pubsub.confirmations.is_empty() {
            return;
        }
        if !self.is_anything_to_be_heard() {
            let all: Vec<usize> = self.pubsub.confirmations.iter().map(|(number, _)| number).collect();
            all.into_iter().for_each(|number| self.turn_down(number, CONNECTION_DOWN, now));
            return self.wake_publishers();
        }
        let mut topics: Vec<TopicId> = self.pubsub.awaited.iter().map(|&(topic, ..)| topic).collect();
        topics.dedup();
        topics.into_iter().for_each(|topic| self.on_topic_heard(topic, now));
    }

    fn waiting_for(&self, topic: TopicId, max: usize) -> Vec<usize> {
        self.pubsub.awaiting(topic).take(max).collect()
    }

    /// Nobody has to wait for this topic any more. Of many, some are told so in the next turns.
    fn confirm_topic(&mut self, topic: TopicId, now: Millis) {
        for number in self.waiting_for(topic, CONFIRMED_MAX) {
            self.pubsub.wait_no_longer(topic, number);
            self.confirm_part(number, now);
        }
        if self.pubsub.is_awaited(topic) {
            self.turn.ration();
            self.pubsub.confirmed.push_back(topic);
        }
    }

    /// A confirmation has to wait for one thing less.
    fn confirm_part(&mut self, number: usize, now: Millis) {
        let Some(confirmation) = self.pubsub.confirmations.get_mut(number) else { return };
        confirmation.missing -= 1;
        if confirmation.missing == 0 {
            let confirmation = self.pubsub.confirmations.remove(number);
            self.pubsub.confirming -= confirmation.held();
            self.charge_pubsub();
            let Confirmation { client, request, frames, .. } = confirmation;
            let frames = Queue::of(&mut self.in_flight.arena, &frames);
            self.fill_place(client, request, frames, now);
        }
    }

    /// A server refuses this topic: those who wait for it are told in its own words.
    pub(super) fn refuse_topic(&mut self, topic: TopicId, reply: &[u8], now: Millis) {
        self.waiting_for(topic, usize::MAX).into_iter().for_each(|number| self.turn_down(number, reply, now));
        self.wake_publishers();
    }

    /// A subscription will not come about: as in Redis, none of its channels is heard then.
    fn turn_down(&mut self, number: usize, reply: &[u8], now: Millis) {
        let Some(confirmation) = self.pubsub.confirmations.try_remove(number) else { return };
        self.pubsub.confirming -= confirmation.held();
        self.charge_pubsub();
        for &topic in &confirmation.topics {
            self.pubsub.wait_no_longer(topic, number);
        }
        for &topic in &confirmation.joined {
            self.leave_topic(confirmation.client, topic);
        }
        let subscriber = self.clients.get_mut(confirmation.client).and_then(|client| client.subscriber.as_mut());
        match subscriber.and_then(|subscriber| subscriber.progress.as_mut()) {
            Some(progress) if progress.confirmation == Some(number) => progress.confirmation = None,
            _ => {}
        }
        self.settle(confirmation.client);
        let reply = Queue::of(&mut self.in_flight.arena, reply);
        self.fill_place(confirmation.client, confirmation.request, reply, now);
    }
}
