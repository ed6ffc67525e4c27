//! Who hears what: subscriptions, the confirmations that are waited for, and messages that wait for their turn.
//!
//! Owns the registry of topics, and what is known of each server's subscription connection (`topics`); what is done
//! with it is the business of `subscribe`, `publish`, `delivery`, `subscription_connection` and `subscription_read`.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use slab::Slab;

use super::interface::TURN_WORK_MAX;
use super::topics::{State, SubscriptionConnection};
use crate::request::RequestId;
use crate::server_id::ServerId;
use crate::slots::Id;
use crate::subscription::hidden::HiddenSubscribers;
use crate::subscription::{FAMILIES, Registry, TopicId, Triples};
use crate::timer::Millis;

/// So many topics of one request, or of one client that is gone, are dealt with in one turn.
pub(super) const SLICE: usize = 2048;
/// So many clients that wait for the same topic are told in one turn that it is heard.
pub(super) const CONFIRMED_MAX: usize = 512;
/// For no more than so many nobody waits for a turn.
pub(super) const FEW: usize = 64;
/// To deal with one topic.
pub(super) const WORK_OF_TOPIC: usize = TURN_WORK_MAX / SLICE;

/// Who hears what, who tells it to them, and who waits for being told so.
#[derive(Debug)]
pub(super) struct Pubsub {
    pub registry: Registry,
    /// One for each slot of a server.
    pub connections: Vec<SubscriptionConnection>,
    /// The node of a cluster at which channels and patterns are subscribed (`topic_placement`).
    pub channel_node: Option<ServerId>,
    /// Topics whose slot a node has said is another's, and how often in a row.
    pub moved: Vec<(TopicId, u8)>,
    confirmations: Slab<Confirmation>,
    /// The same by what they wait for: the topic and their number, and nobody.
    awaited: Triples,
    /// Bytes that those confirmations take, and that the account has for all this.
    confirming: usize,
    pub charged: usize,
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
pub(super) struct Confirmation {
    pub client: Id,
    /// Its place in the client's line.
    pub request: RequestId,
    /// What the client is told then.
    pub frames: Vec<u8>,
    /// What the client hears because of it.
    pub joined: Vec<TopicId>,
    /// What it began to wait for, and for how much of that it still does.
    pub topics: Vec<TopicId>,
    /// And one more until all of its request is dealt with.
    pub missing: usize,
}

impl Pubsub {
    pub fn new(servers: usize, hidden: Arc<HiddenSubscribers>) -> Pubsub {
        Pubsub {
            registry: Registry::new(hidden),
            connections: (0..servers).map(|_| SubscriptionConnection::default()).collect(),
            channel_node: None,
            moved: Vec::new(),
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

    /// There are so many slots of servers now.
    pub fn set_slots(&mut self, slots: usize) {
        self.connections.resize_with(slots.max(self.connections.len()), SubscriptionConnection::default);
    }

    /// True exactly when nothing of a server that had this slot is left.
    pub fn is_unused(&self, slot: usize) -> bool {
        let connection = &self.connections[slot];
        !connection.delivery.is_pending && matches!(connection.state, State::Closed | State::Pausing { .. })
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
    pub(super) fn held(&self) -> usize {
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

    /// Begins a confirmation, whose place in the client's line is `request`. Returns its number.
    pub fn begin_confirmation(&mut self, client: Id, request: RequestId) -> usize {
        let (frames, joined, topics) = (Vec::new(), Vec::new(), Vec::new());
        let confirmation = Confirmation { client, request, frames, joined, topics, missing: 1 };
        self.confirming += confirmation.held();
        self.confirmations.insert(confirmation)
    }

    /// Takes the content of a confirmation, to be put back.
    pub fn take_confirmation(&mut self, number: usize) -> Option<Confirmation> {
        let confirmation = self.confirmations.get_mut(number)?;
        self.confirming -= confirmation.held();
        let empty = Confirmation { frames: Vec::new(), joined: Vec::new(), topics: Vec::new(), ..*confirmation };
        Some(mem::replace(confirmation, empty))
    }

    /// Puts it back.
    pub fn put_confirmation(&mut self, number: usize, confirmation: Confirmation) {
        if let Some(place) = self.confirmations.get_mut(number) {
            self.confirming += confirmation.held();
            *place = confirmation;
        }
    }

    /// A confirmation has to wait for one thing less. It is returned if it was the last one.
    pub fn confirm_part(&mut self, number: usize) -> Option<Confirmation> {
        let confirmation = self.confirmations.get_mut(number)?;
        confirmation.missing -= 1;
        if confirmation.missing > 0 {
            return None;
        }
        self.remove_confirmation(number)
    }

    /// A confirmation will not come about: nobody waits for what it waited for.
    pub fn turn_down(&mut self, number: usize) -> Option<Confirmation> {
        let confirmation = self.remove_confirmation(number)?;
        for &topic in &confirmation.topics {
            self.wait_no_longer(topic, number);
        }
        Some(confirmation)
    }

    fn remove_confirmation(&mut self, number: usize) -> Option<Confirmation> {
        let confirmation = self.confirmations.try_remove(number)?;
        self.confirming -= confirmation.held();
        Some(confirmation)
    }

    /// Whether anybody waits for a confirmation.
    pub fn is_confirming(&self) -> bool {
        !self.confirmations.is_empty()
    }

    /// The numbers of all of them.
    pub fn confirmation_numbers(&self) -> Vec<usize> {
        self.confirmations.iter().map(|(number, _)| number).collect()
    }

    /// What is waited for, each topic once.
    pub fn awaited_topics(&self) -> Vec<TopicId> {
        let mut topics: Vec<TopicId> = self.awaited.iter().map(|&(topic, ..)| topic).collect();
        topics.dedup();
        topics
    }

    /// More of those who wait for this topic are told in the next turn.
    pub fn confirm_later(&mut self, topic: TopicId) {
        self.confirmed.push_back(topic);
    }

    /// The next topic of which that is so.
    pub fn next_confirmed(&mut self) -> Option<TopicId> {
        self.confirmed.pop_front()
    }

    /// A client that is gone hears up to `max` topics less. Returns how many those were.
    pub fn forget_topics(&mut self, id: Id, max: usize) -> usize {
        let mut left = max;
        for family in FAMILIES {
            let topics: Vec<TopicId> = self.registry.topics_of(id, family).take(left).collect();
            left -= topics.len();
            for topic in topics {
                self.registry.leave(id, topic);
            }
        }
        max - left
    }

    /// The numbers of those who wait for the confirmation of this topic.
    pub(super) fn awaiting(&self, topic: TopicId) -> impl Iterator<Item = usize> {
        let all = (topic, 0, Id::LEAST)..=(topic, u32::MAX, Id::NONE);
        self.awaited.range(all).map(|&(_, number, _)| number as usize)
    }

    /// Somebody waits for the confirmation of this topic. True if that is news.
    pub(super) fn wait(&mut self, topic: TopicId, number: usize) -> bool {
        self.awaited.insert((topic, number as u32, Id::NONE))
    }

    /// Somebody waits for the confirmation of this topic no longer.
    pub(super) fn wait_no_longer(&mut self, topic: TopicId, number: usize) {
        self.awaited.remove(&(topic, number as u32, Id::NONE));
    }

    /// True exactly when somebody waits for the confirmation of this topic.
    pub fn is_awaited(&self, topic: TopicId) -> bool {
        self.awaiting(topic).next().is_some()
    }
}

/// A client that waits to publish.
#[derive(Debug)]
pub(super) struct Publisher {
    pub client: Id,
    /// Index of the channel's server.
    pub(super) server: ServerId,
    /// What must be heard there first.
    pub(super) topics: Vec<TopicId>,
    /// When it waits no longer.
    pub(super) deadline: Millis,
}
