//! What is on its way to a server, and what it owes replies to.
//!
//! Invariants: `answered <= queue.sent() <= queue.end()`; a tombstone is in flight.

use std::mem;

use super::batches::Batches;
use super::lease::Lease;
use super::{Backend, Purpose, Unanswered};
use crate::buffer::{Arena, Queue};
use crate::limits::Limits;
use crate::request::BackendLine;
use crate::slots::Id;
use crate::stats::Measured;
use crate::timer::Millis;

/// What a client does on a backend of its own, of which no byte was sent: it can change places with another's.
#[derive(Debug)]
pub struct Unsent {
    in_flight: BackendLine,
    batches: Batches,
    queue: Queue,
    answered: u64,
    lease: Lease,
}

impl Backend {
    /// The requests that it owes replies to.
    #[inline]
    pub fn in_flight(&self) -> &BackendLine {
        &self.in_flight
    }

    /// The same, for who puts one in or takes one out.
    #[inline]
    pub fn in_flight_mut(&mut self) -> &mut BackendLine {
        &mut self.in_flight
    }

    /// Those in flight that were not counted yet are queued now, in µs on the clock of `Measured`.
    #[inline]
    pub fn count_queued(&mut self, clock_us: u32) {
        self.batches.count(self.in_flight.len(), clock_us);
    }

    /// So many of the first ones were answered, and have left; it is recorded how long they took, at the latest by
    /// `settle_answered`.
    #[inline]
    pub fn record_answered(&mut self, count: usize, measured: &mut Measured) {
        self.batches.answer(count as u32, measured);
    }

    /// The same for one, which may be one that is not to be recorded.
    #[inline]
    pub fn record_or_skip(&mut self, is_timed: bool, measured: &mut Measured) {
        match is_timed {
            true => self.batches.answer_one(),
            false => self.batches.skip(measured),
        }
    }

    /// The end of a read.
    #[inline]
    pub fn settle_answered(&mut self, measured: &mut Measured) {
        self.batches.settle(measured);
    }

    /// For how long the oldest one is in flight at this time on the clock of `Measured`, in µs; no other is for longer.
    /// To be asked before a read: what was answered in it counts until its end.
    #[inline]
    pub fn oldest_queued_us(&self, clock_us: u32) -> Option<u32> {
        self.batches.oldest_us().map(|queued_us| clock_us.wrapping_sub(queued_us))
    }

    /// Whether one that is in flight may be slow. What was answered in this read, and is not recorded yet, counts.
    #[inline]
    pub fn is_late(&self, measured: &Measured) -> bool {
        self.batches.is_late(measured)
    }

    /// One that is in flight is slow, at this time on the clock of `Measured`.
    pub fn on_slow(&mut self, clock_us: u32) {
        self.batches.on_slow(clock_us);
    }

    /// For how long none was.
    pub fn since_slow_us(&self, clock_us: u32) -> u32 {
        self.batches.since_slow_us(clock_us)
    }

    /// How many are in flight by what was counted: all that were sent, and perhaps more.
    pub fn counted(&self) -> usize {
        self.batches.in_flight()
    }

    /// How many of its requests in flight somebody still waits for, as far as time is concerned.
    #[inline]
    pub fn awaited(&self) -> usize {
        self.in_flight.len() - self.tombstones
    }

    /// How many of them nobody waits for any more.
    pub fn tombstones(&self) -> usize {
        self.tombstones
    }

    /// One of those in flight is a tombstone from here on.
    pub fn add_tombstone(&mut self) {
        self.tombstones += 1;
    }

    /// The reply to a tombstone has come.
    pub fn remove_tombstone(&mut self) {
        self.tombstones -= 1;
    }

    /// Their bytes.
    #[inline]
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// The offset in the queue behind the last request that was answered.
    #[inline]
    pub fn answered(&self) -> u64 {
        self.answered
    }

    /// True if it was asked anything that it has not answered.
    pub fn has_asked(&self) -> bool {
        !self.in_flight.is_empty() && self.answered < self.queue.sent()
    }

    /// True exactly when it is ready, owes nothing, and is nobody's.
    pub fn is_idle(&self) -> bool {
        self.is_ready() && self.in_flight.is_empty() && self.is_shared()
    }

    /// When it began to connect, or to shake hands, or was last of use.
    pub fn since(&self) -> Millis {
        self.since
    }

    /// When it began to connect, or became ready: a later handshake is a new beginning.
    pub fn began_at(&self) -> Millis {
        self.ready_at.filter(|_| self.handshake().is_none()).unwrap_or(self.since)
    }

    /// It has been of use until now.
    pub fn on_of_use(&mut self, now: Millis) {
        self.since = now;
    }

    /// Whether one more request of anybody fits, nothing large is in its way, and it is read.
    #[inline]
    pub fn has_room(&self, limits: &Limits) -> bool {
        self.is_shared() && self.purpose != Purpose::Reserve && !self.is_read_paused && self.has_room_for_owner(limits)
    }

    /// The same, for the client that has it for itself. One in bulk waits behind its own requests, and behind as many
    /// as it likes.
    pub fn has_room_for_owner(&self, limits: &Limits) -> bool {
        self.is_serving()
            && self.uploader.is_none()
            && (self.is_in_bulk() || !self.is_in_large_reply && self.in_flight.len() < limits.pipeline_max)
            && self.queue.unsent() < limits.send_queue_bytes_max
    }

    /// Appends bytes to what it is to be sent.
    #[inline]
    pub fn push(&mut self, arena: &mut Arena, bytes: &[u8]) {
        self.queue.push(arena, bytes);
    }

    /// The same with bytes that have their memory to themselves.
    pub fn push_vec(&mut self, arena: &mut Arena, bytes: Vec<u8>) {
        self.queue.push_vec(arena, bytes);
    }

    /// So many bytes behind the queue were sent without having been in it.
    pub fn skip(&mut self, count: usize) {
        self.queue.skip(count);
    }

    /// So many bytes of the queue were sent.
    #[inline]
    pub fn on_sent(&mut self, arena: &Arena, count: usize) {
        self.queue.mark_sent(arena, count);
    }

    /// The bytes that were sent are kept no longer: nothing of it is sent again.
    pub fn release_sent(&mut self, arena: &mut Arena) {
        self.queue.release_to(arena, self.queue.sent());
    }

    /// Whether the first request in flight, of `len` bytes, was sent to its last byte: only then can a reply be its
    /// own.
    #[inline]
    pub fn was_sent(&self, len: u64) -> bool {
        self.answered + len <= self.queue.sent() && (self.uploader.is_none() || self.in_flight.len() > 1)
    }

    /// The first request in flight, of `len` bytes, was answered.
    #[inline]
    pub fn on_answered(&mut self, len: u64) {
        self.answered += len;
    }

    /// The bytes of what was answered are kept no longer. With nothing else in flight, it was of use until now.
    #[inline]
    pub fn release_answered(&mut self, arena: &mut Arena, now: Millis) {
        self.queue.release_to(arena, self.answered);
        if self.in_flight.is_empty() {
            self.since = now;
        }
    }

    /// Everything that was sent is as good as answered: what it is asked are no requests.
    pub fn answer_all_sent(&mut self, arena: &mut Arena) {
        self.answered = self.queue.sent();
        self.queue.release_to(arena, self.answered);
    }

    /// Nothing of what is queued was sent, and nothing is owed: all of it is dropped but the first `keep` bytes.
    pub fn drop_unsent(&mut self, keep: usize, arena: &mut Arena) {
        debug_assert!(self.answered == self.queue.sent());
        let mut queue = mem::take(&mut self.queue);
        let kept = queue.copy_range(arena, self.answered, self.answered + keep as u64);
        queue.clear(arena);
        // A new one stands at 0: what it has not answered must not look answered.
        if self.answered > 0 {
            self.answered = queue.end();
            self.queue = queue;
        }
        self.queue.push_vec(arena, kept.unwrap_or_default());
    }

    /// The server does not do what those want who have something in flight here, of which nothing was sent: it is given
    /// up, and nobody has this backend for himself any more.
    pub fn refuse_unsent(&mut self, arena: &mut Arena) -> Unanswered {
        self.drop_unsent(0, arena);
        let queue = mem::take(&mut self.queue);
        let unanswered = self.take_unanswered();
        self.queue = queue;
        unanswered
    }

    /// What a client does here that has it for itself, and of which no byte was sent.
    pub fn take_unsent(&mut self) -> Unsent {
        debug_assert!(self.in_flight.len() == 1 && self.answered == self.queue.sent());
        Unsent {
            in_flight: mem::take(&mut self.in_flight),
            batches: mem::take(&mut self.batches),
            queue: mem::take(&mut self.queue),
            answered: self.answered,
            lease: self.lease,
        }
    }

    /// The same of another one, in its place. Returns its owner.
    pub fn put_unsent(&mut self, unsent: Unsent) -> Option<Id> {
        (self.in_flight, self.batches, self.queue) = (unsent.in_flight, unsent.batches, unsent.queue);
        (self.answered, self.lease) = (unsent.answered, unsent.lease);
        self.lease.owner()
    }
}
