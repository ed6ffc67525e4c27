//! What a server's subscription connection has been asked for, and how far the message is that it brought last.

use std::collections::VecDeque;

use crate::buffer::SharedId;
use crate::slots::Id;
use crate::subscription::TopicId;
use crate::timer::Millis;

/// Who hears one server's messages, and what was asked.
#[derive(Debug, Default)]
pub(super) struct SubscriptionConnection {
    pub state: State,
    /// The message that is put into the queues of its subscribers.
    pub delivery: Delivery,
    /// By the slot of the topic.
    pub(super) asked: Vec<Option<Asked>>,
    /// Topics that it has still to be asked for, the next one first; some may be gone.
    pub to_ask: VecDeque<TopicId>,
    /// The answers that the server owes, the next one first.
    pub(super) owed: VecDeque<Owed>,
    /// When the next of them is due.
    pub(super) answer_by: Millis,
    /// How many commands were sent.
    pub(super) commands: u64,
    /// When it was last opened with success.
    pub(super) ready_at: Millis,
    /// When it last heard anything.
    pub heard_at: Millis,
    /// How long the next pause is, in milliseconds.
    pub(super) pause_ms: u64,
    /// True from the moment in which its server has come until everything is heard there: who publishes there waits.
    pub is_new: bool,
    /// Since when what it heard is not heard; `None` if nobody hears anything.
    pub(super) lost_at: Option<Millis>,
}

impl SubscriptionConnection {
    /// True exactly when a message for this topic, published there from now on, will arrive.
    pub(super) fn is_hearing(&self, topic: TopicId) -> bool {
        self.asked_for(topic).is_some_and(|asked| asked.is_heard)
    }

    /// True exactly when what came over this connection must wait: a message before it has not reached everybody.
    pub(super) fn is_delivering(&self, id: Id) -> bool {
        self.delivery.is_pending && self.state == State::Listening(id)
    }

    /// All topics that it was asked for, and is heard for, or will be.
    pub(super) fn asked_topics(&self) -> impl Iterator<Item = TopicId> {
        self.asked.iter().flatten().map(|asked| asked.topic)
    }

    pub(super) fn asked_for(&self, topic: TopicId) -> Option<&Asked> {
        self.asked.get(topic.slot())?.as_ref().filter(|asked| asked.topic == topic)
    }

    /// The server was asked for this topic.
    pub(super) fn on_asked(&mut self, topic: TopicId, command: u64) {
        if self.asked.len() <= topic.slot() {
            self.asked.resize(topic.slot() + 1, None);
        }
        self.asked[topic.slot()] = Some(Asked { topic, command, is_heard: false });
        self.owed.push_back(Owed { command, what: Expected::More(topic) });
    }

    /// Nobody needs this topic any more. True exactly when the server was asked for it.
    pub(super) fn forget(&mut self, topic: TopicId) -> bool {
        let was_asked = self.asked_for(topic).is_some();
        if was_asked {
            self.asked[topic.slot()] = None;
        }
        was_asked
    }
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
pub(super) struct Asked {
    pub(super) topic: TopicId,
    pub(super) command: u64,
    pub(super) is_heard: bool,
}

/// An answer that a server owes, and the number of the command that it is part of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owed {
    pub(super) command: u64,
    pub(super) what: Expected,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    More(TopicId),
    Less,
    Ping,
}

/// A message that is put into the queues of its subscribers; of the last one, its memory.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) topic: TopicId,
    /// The message as the server sent it, if it is small.
    pub(super) small: Vec<u8>,
    /// If not: as it is in RESP2, and as it is in RESP3, once somebody needs that.
    pub(super) shared: [Option<SharedId>; 2],
    pub(super) len: usize,
    /// Who had subscribed when it came, in the order of their ids.
    pub(super) subscribers: Vec<Id>,
    /// How many of them have it.
    pub(super) at: usize,
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
