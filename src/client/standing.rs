//! How a client stands: what follows from its state, and from what it has.
//!
//! Reads, and changes nothing. Each answer is about all of the client; what is to be said of one part of it, that part
//! says itself.

use super::{Client, Flow, Mode};
use crate::request::{Place, Requests};
use crate::session::Protocol;

impl Client {
    /// True exactly when nothing is owed to it: no reply outstanding, none on its way.
    pub fn is_quiet(&self) -> bool {
        self.reply_order.is_empty() && self.replies.unsent() == 0
    }

    /// Bytes of replies that it has not taken.
    #[inline]
    pub fn unread(&self) -> usize {
        self.replies.unsent() + self.replies.early_bytes()
    }

    /// The same without replies that rmux put together, which are limited by the memory of all.
    pub fn excess(&self) -> usize {
        self.unread().saturating_sub(self.replies.merged_bytes())
    }

    /// True exactly when bytes that it sends can be dealt with.
    pub fn is_listened_to(&self) -> bool {
        match self.flow {
            // What is sent by one that is to leave is read and dropped, so that it comes to reading its replies.
            Flow::Open | Flow::Uploading { .. } | Flow::Leaving => !self.connection.is_ended(),
            // Whether it has more to say decides whether it waits for anything.
            Flow::Paused { .. } => self.kept.is_none() && !self.connection.is_ended(),
            _ => false,
        }
    }

    /// True exactly when it hears messages.
    pub fn is_hearing(&self) -> bool {
        self.subscriber.as_ref().is_some_and(|subscriber| subscriber.is_hearing())
    }

    /// True exactly when each of its requests means what it always means.
    #[inline]
    pub fn is_plain(&self) -> bool {
        self.mode() == Mode::Plain && self.transaction.is_none() && self.subscriber.is_none()
    }

    /// True exactly when it has nothing but replies on their way to it: no request outstanding or kept, no transaction,
    /// no subscription, and no backend that waits for it or is its own.
    #[inline]
    pub fn is_bare(&self) -> bool {
        let has_state = self.transaction.is_some() || self.subscriber.is_some() || self.bulk.is_some();
        debug_assert!(self.affinities.is_empty() || !self.reply_order.is_empty());
        self.reply_order.is_empty() && self.kept.is_none() && !has_state && !self.connection.holds_back()
    }

    /// True exactly when its subscriptions stand between it and the servers: in RESP2 a client that hears messages may
    /// do little else, in RESP3 it can until they are confirmed.
    pub fn is_restrained(&self) -> bool {
        let Some(subscriber) = &self.subscriber else { return false };
        let is_resp2 = self.session.profile.protocol == Protocol::Resp2;
        subscriber.is_hearing() && (is_resp2 || !subscriber.awaited.is_empty())
    }

    /// True exactly when a message can go out next: no reply is half sent, nothing is subscribed to and not confirmed,
    /// and, in RESP2, where a message can not be told from a reply, no reply is outstanding at all.
    pub fn is_open_to_messages(&self, requests: &Requests) -> bool {
        let Some(first) = self.reply_order.first() else { return true };
        self.session.profile.protocol == Protocol::Resp3
            && requests[first].place() != Place::Arriving
            && self.subscriber.as_ref().is_none_or(|subscriber| subscriber.awaited.is_empty())
    }
}
