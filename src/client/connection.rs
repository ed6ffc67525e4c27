//! The connection of a client: where from, since when, what its socket did last, which lists it stands in.
//!
//! Owns what it is told; knows no socket. Who waits for what until when is decided elsewhere, by these points in
//! time. Invariant: of the lists of connections that wait for something, it stands once in each whose mark is set,
//! and in no other: whoever sets the mark, and is told that this is news, puts it there, and who takes it out takes
//! back the mark.

use crate::timer::Millis;

/// What is known of a client's connection.
#[derive(Debug)]
pub struct Connection {
    /// Where it comes from, as `host:port`; `None` where nothing tells, as behind a Unix socket.
    peer: Option<Box<str>>,
    /// When it connected.
    since: Millis,
    /// When it last sent something, or got a reply.
    heard_at: Millis,
    /// When it was last offered some of its replies: since then, while it is blocked, it took none.
    took_at: Millis,
    /// True while its socket takes nothing.
    is_write_blocked: bool,
    /// True once it said that nothing more will come.
    is_ended: bool,
    /// True once its socket said so, perhaps with something unread before that: it will not wait for data any more.
    has_hung_up: bool,
    /// True while a backend that it has an affinity to may not be read until it has taken some replies.
    holds_back: bool,
    /// True while it stands in the list of those who have something to send.
    is_dirty: bool,
    /// True while it stands in the list of subscribers that have messages to be sent.
    is_listed: bool,
    /// True while it stands in the list of those who are paused, or were.
    is_in_paused: bool,
}

impl Connection {
    /// It has just been made.
    pub(super) fn new(now: Millis) -> Connection {
        Connection {
            peer: None,
            since: now,
            heard_at: now,
            took_at: now,
            is_write_blocked: false,
            is_ended: false,
            has_hung_up: false,
            holds_back: false,
            is_dirty: false,
            is_listed: false,
            is_in_paused: false,
        }
    }

    /// It comes from this address, as `host:port`.
    pub fn on_peer(&mut self, address: Box<str>) {
        self.peer = Some(address);
    }

    /// Where it comes from; `None` where nothing tells, as behind a Unix socket.
    pub fn peer(&self) -> Option<&str> {
        self.peer.as_deref()
    }

    /// For how long it has been there.
    pub fn age_ms(&self, now: Millis) -> u64 {
        now - self.since
    }

    /// The client has sent something, or got a reply.
    #[inline]
    pub fn on_heard(&mut self, now: Millis) {
        self.heard_at = now;
    }

    /// When it did last.
    pub fn heard_at(&self) -> Millis {
        self.heard_at
    }

    /// The client says that nothing more will come.
    pub fn on_end(&mut self) {
        self.is_ended = true;
    }

    /// True once it said that nothing more will come.
    #[inline]
    pub fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// Its socket says so, perhaps with something unread before that.
    pub fn on_hangup(&mut self) {
        self.has_hung_up = true;
    }

    /// True once its socket said so: the client will not wait for data any more.
    pub fn has_hung_up(&self) -> bool {
        self.has_hung_up
    }

    /// Its socket, which takes something, is offered replies.
    #[inline]
    pub fn on_offer(&mut self, now: Millis) {
        debug_assert!(!self.is_write_blocked, "what takes nothing is offered nothing");
        self.took_at = now;
    }

    /// Its socket was offered replies, and did not take all of them if `is_blocked`. If it took nothing, then because
    /// it is full since just now.
    #[inline]
    pub fn on_offered(&mut self, is_blocked: bool, now: Millis) {
        self.is_write_blocked = is_blocked;
        self.took_at = now;
    }

    /// Its socket takes something again. True if that is news.
    pub fn on_writable(&mut self) -> bool {
        std::mem::replace(&mut self.is_write_blocked, false)
    }

    /// True while its socket takes nothing.
    #[inline]
    pub fn is_write_blocked(&self) -> bool {
        self.is_write_blocked
    }

    /// When its socket was last offered some of the replies: since then, while it is blocked, it took none.
    pub fn took_at(&self) -> Millis {
        self.took_at
    }

    /// What is held back of its replies is read only when it has taken some.
    pub fn hold_back(&mut self) {
        self.holds_back = true;
    }

    /// Nothing of its replies is held back.
    pub fn stop_holding_back(&mut self) {
        self.holds_back = false;
    }

    /// True while a backend that it has an affinity to may not be read until it has taken some replies.
    #[inline]
    pub fn holds_back(&self) -> bool {
        self.holds_back
    }

    /// It has something to send. True if that is news: then it has to be put into the list of those who have.
    #[inline]
    pub fn mark_dirty(&mut self) -> bool {
        !std::mem::replace(&mut self.is_dirty, true)
    }

    /// True while it stands in the list of those who have something to send.
    pub fn is_dirty(&self) -> bool {
        self.is_dirty
    }

    /// It was taken out of that list, and is sent what it has.
    #[inline]
    pub fn begin_flush(&mut self) {
        self.is_dirty = false;
    }

    /// It has messages to be sent. True if it has to be put into the list of such subscribers: not if it stands there,
    /// and not while its socket takes nothing.
    pub fn mark_listed(&mut self) -> bool {
        !self.is_write_blocked && !std::mem::replace(&mut self.is_listed, true)
    }

    /// True while it stands in that list.
    pub fn is_listed(&self) -> bool {
        self.is_listed
    }

    /// It was taken out of it.
    pub fn on_unlisted(&mut self) {
        self.is_listed = false;
    }

    /// It waits behind others who are paused. True if it has to be put into their list.
    pub fn mark_in_paused(&mut self) -> bool {
        !std::mem::replace(&mut self.is_in_paused, true)
    }

    /// It was taken out of it.
    pub fn on_out_of_paused(&mut self) {
        self.is_in_paused = false;
    }
}
