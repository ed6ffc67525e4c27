//! Messages on their way to their subscribers, a bounded part of it in each turn.
//!
//! A message goes into the queue of each of its subscribers, and each subscriber is then sent what its queue has. Both
//! are work in proportion to their number, so both have a budget: what is over it waits for the next turn, and others
//! are served in between.
//!
//! ```text
//!   a server's bytes ─► publish ─► Delivery: subscribers 1 2 3 4 5 6 …    unsent: 1 2 3 ─► one write for each
//!                                                      ▲ at: the others have it in the next turns
//! ```
//!
//! While anything of that is left, no subscription connection is read on: the rest stays with the servers, so that no
//! more is held than one read has brought. A small message is copied into the queues, where many go out with one write;
//! a larger one is held once, and its subscribers refer to it.
//!
//! Order: a subscriber gets the messages of one server as they came, since the next one is looked at when the last has
//! been put into all queues. Who unsubscribes meanwhile gets before it what came before it, and who subscribes nothing.
//!
//! Invariant: `is_listed` is true exactly while a subscriber stands in `unsent`.

use std::mem;

use super::subscription_connection::State;
use super::{Conn, DIRECT_MIN, Goodbye, Proxy, Timer, Wire};
use crate::buffer::SharedId;
use crate::client::{Client, Flow};
use crate::command::Channels;
use crate::server_id::ServerId;
use crate::session::Protocol;
use crate::slots::Id;
use crate::subscription::{TopicId, push};
use crate::timer::Millis;

/// A message that is put into the queues of its subscribers; of the last one, its memory.
#[derive(Debug)]
pub(super) struct Delivery {
    topic: TopicId,
    /// The message as the server sent it, if it is small.
    small: Vec<u8>,
    /// If not: as it is in RESP2, and as it is in RESP3, once somebody needs that.
    shared: [Option<SharedId>; 2],
    len: usize,
    /// Who had subscribed when it came, in the order of their ids.
    subscribers: Vec<Id>,
    /// How many of them have it.
    at: usize,
    /// True until it is done.
    pub is_pending: bool,
}

impl Default for Delivery {
    fn default() -> Delivery {
        Delivery {
            topic: Id::NONE,
            small: Vec::new(),
            shared: [None; 2],
            len: 0,
            subscribers: Vec::new(),
            at: 0,
            is_pending: false,
        }
    }
}

/// To put a message into one queue, without its bytes.
const WORK_OF_PUSH: usize = 256;
/// To put it into an empty one, which has no memory yet.
const WORK_OF_FRESH_PUSH: usize = 2048;
/// To write to one socket, without the bytes.
const WORK_OF_WRITE: usize = 4096;
/// A message of more bytes is held once for all its subscribers.
const SMALL_MAX: usize = 4032;

impl Proxy {
    /// True exactly when messages wait for the next turn.
    pub(super) fn is_publishing(&self) -> bool {
        self.pubsub.pending > 0 || !self.pubsub.unsent.is_empty()
    }

    /// True exactly when something waits for the next turn.
    pub(super) fn has_left_work(&self) -> bool {
        self.is_publishing() || !self.clients.deferred.is_empty() || self.pubsub.is_slicing()
    }

    /// A server has sent a message: everybody gets it who has subscribed to its topic, some of them in later turns.
    pub(super) fn publish<W: Wire>(
        &mut self,
        server: ServerId,
        (family, topic): (Channels, &[u8]),
        message: &[u8],
        now: Millis,
        wire: &mut W,
    ) {
        let Some(topic) = self.pubsub.registry.find(family, topic) else { return };
        let delivery = &mut self.pubsub.connections[server.index()].delivery;
        debug_assert!(!delivery.is_pending, "one message after the other");
        self.turn.ration();
        self.pubsub.pending += 1;
        delivery.is_pending = true;
        (delivery.topic, delivery.len, delivery.at) = (topic, message.len(), 0);
        delivery.subscribers.clear();
        delivery.subscribers.extend(self.pubsub.registry.subscribers(topic));
        delivery.small.clear();
        if message.len() > SMALL_MAX {
            delivery.shared[0] = Some(self.in_flight.arena.share(message.to_vec()));
        } else {
            delivery.small.extend_from_slice(message);
        }
        self.go_on_with(server, now, wire);
    }

    /// Puts a server's message into the queues of those who have not got it, as far as this turn's work goes.
    fn go_on_with<W: Wire>(&mut self, server: ServerId, now: Millis, wire: &mut W) {
        let mut delivery = mem::take(&mut self.pubsub.connections[server.index()].delivery);
        while self.pubsub.work_left > 0 {
            let Some(&id) = delivery.subscribers.get(delivery.at) else { break };
            delivery.at += 1;
            let is_fresh = self.clients.get(id).is_some_and(|client| client.replies.unsent() == 0);
            let work = delivery.small.len() + if is_fresh { WORK_OF_FRESH_PUSH } else { WORK_OF_PUSH };
            self.pubsub.work_left = self.pubsub.work_left.saturating_sub(work);
            self.deliver_message(id, &mut delivery, now);
            // So that what one read brings is not held once for each subscriber.
            let is_much = |unsent: usize| unsent >= DIRECT_MIN && !delivery.small.is_empty();
            if self.clients.get(id).is_some_and(|client| is_much(client.replies.unsent()) && !client.is_write_blocked) {
                self.transmit_messages(id, now, wire);
            }
        }
        if delivery.at == delivery.subscribers.len() {
            self.pubsub.pending -= 1;
            delivery.is_pending = false;
            delivery.shared.iter_mut().filter_map(Option::take).for_each(|shared| self.in_flight.arena.release(shared));
        }
        self.pubsub.connections[server.index()].delivery = delivery;
    }

    /// Puts a message into the queue of one of its subscribers.
    fn deliver_message(&mut self, id: Id, delivery: &mut Delivery, now: Millis) {
        let Some(client) = self.clients.get_mut(id) else { return };
        if matches!(client.flow, Flow::Leaving | Flow::Closed) || client.is_ended {
            return;
        }
        self.journal.stats.messages += 1;
        let is_open = client.is_open_to_messages(&self.in_flight.requests);
        let protocol = client.session.profile.protocol;
        let subscriber = client.subscriber.get_or_insert_default();
        let queue = if is_open { &mut client.replies } else { &mut subscriber.held };
        let head = push::head(protocol);
        if let [Some(first), second] = &mut delivery.shared {
            let shared = match protocol {
                Protocol::Resp2 => *first,
                Protocol::Resp3 => *second.get_or_insert_with(|| {
                    let mut message = self.in_flight.arena.shared(*first).to_vec();
                    message[..head.len()].copy_from_slice(head);
                    self.in_flight.arena.share(message)
                }),
            };
            queue.push_shared(&mut self.in_flight.arena, shared);
        } else {
            queue.push(&mut self.in_flight.arena, head);
            queue.push(&mut self.in_flight.arena, &delivery.small[head.len()..]);
        }
        if is_open {
            self.list_subscriber(id);
        } else {
            client.early_bytes += delivery.len;
        }
        self.check_subscriber(id, now);
    }

    /// A client is to have no more messages of this topic. What was published before that comes before that.
    pub(super) fn deliver_before_leaving(&mut self, id: Id, topic: TopicId) {
        if self.pubsub.pending == 0 {
            return;
        }
        for server in 0..self.pubsub.connections.len() {
            let delivery = &mut self.pubsub.connections[server].delivery;
            if delivery.topic != topic || !delivery.is_pending {
                continue;
            }
            if let Ok(place) = delivery.subscribers[delivery.at..].binary_search(&id) {
                let mut delivery = mem::take(delivery);
                delivery.subscribers.remove(delivery.at + place);
                self.deliver_message(id, &mut delivery, self.wheel.now());
                self.pubsub.connections[server].delivery = delivery;
            }
        }
    }

    /// A subscriber has messages to be sent. It has its turn among the others.
    pub(super) fn list_subscriber(&mut self, id: Id) {
        let is_new = |client: &&mut Client| !client.is_write_blocked && !client.is_listed;
        if let Some(client) = self.clients.get_mut(id).filter(is_new) {
            client.is_listed = true;
            self.turn.ration();
            self.pubsub.unsent.push_back(id);
        }
    }

    #[cold]
    fn transmit_messages<W: Wire>(&mut self, id: Id, now: Millis, wire: &mut W) {
        let Some(client) = self.clients.get(id) else { return };
        let before = client.replies.unsent();
        self.transmit_client(id, now, wire);
        let after = self.clients.get(id).map_or(0, |client| client.replies.unsent());
        self.pubsub.work_left = self.pubsub.work_left.saturating_sub(WORK_OF_WRITE + before - after);
    }

    /// Goes on with what the last turns have left, and sends to subscribers what their queues have, as far as this
    /// turn's work goes.
    #[cold]
    pub(super) fn go_on_publishing<W: Wire>(&mut self, now: Millis, wire: &mut W) {
        if !self.is_publishing() {
            return;
        }
        for server in self.router.servers() {
            while self.pubsub.work_left > 0 && self.pubsub.connections[server.index()].delivery.is_pending {
                self.go_on_with(server, now, wire);
                if let State::Listening(id) = self.pubsub.connections[server.index()].state {
                    self.take_kept_pushes(id, now, wire);
                }
            }
        }
        while self.pubsub.work_left > 0 {
            let Some(id) = self.pubsub.unsent.pop_front() else { break };
            if let Some(client) = self.clients.get_mut(id) {
                client.is_listed = false;
            }
            self.transmit_messages(id, now, wire);
        }
        if !self.is_publishing() {
            for connection in &mut self.pubsub.connections {
                connection.heard_at = now;
                if let State::Listening(id) = connection.state {
                    self.turn.resume(Conn::Backend(id));
                }
            }
        }
    }

    /// The most that a subscriber may leave unread, in bytes.
    pub(super) fn subscriber_unread_max(&self) -> usize {
        let limits = &self.settings.limits;
        limits.subscriber_unread_bytes_max.min(limits.client_unread_bytes_max)
    }

    /// Closes a subscriber that leaves too much unread, or that has left much unread for long, or anything at all while
    /// memory is short.
    pub(super) fn check_subscriber(&mut self, id: Id, now: Millis) {
        let unread_max = self.subscriber_unread_max();
        let is_memory_short = self.is_out_of_memory(0);
        let limits = &self.settings.limits;
        let Some(client) = self.clients.get_mut(id) else { return };
        let unread = client.unread();
        let Some(subscriber) = &mut client.subscriber else { return };
        if unread > unread_max || is_memory_short && client.is_write_blocked {
            return self.close_client(id, Goodbye::Unread);
        }
        if unread <= limits.subscriber_unread_soft_bytes || limits.subscriber_unread_soft_ms == 0 {
            subscriber.behind_since = None;
            return;
        }
        let deadline = *subscriber.behind_since.get_or_insert(now) + limits.subscriber_unread_soft_ms;
        if deadline <= now {
            return self.close_client(id, Goodbye::Unread);
        }
        client.alarm.set(&mut self.wheel, Timer::Client(id), deadline);
    }

    /// A message is larger than any subscriber may leave unread: as in Redis, it costs them their connection.
    pub(super) fn cut_off(&mut self, family: Channels, topic: &[u8]) {
        let Some(topic) = self.pubsub.registry.find(family, topic) else { return };
        let subscribers: Vec<Id> = self.pubsub.registry.subscribers(topic).collect();
        for id in subscribers {
            self.close_client(id, Goodbye::Unread);
        }
    }
}
