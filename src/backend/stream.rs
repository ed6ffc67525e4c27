//! What a backend's socket does: what it takes, and what has come of a reply that is not whole yet.

use std::mem;

use super::Backend;
use crate::buffer::Arena;
use crate::resp::ReplyFramer;
use crate::timer::Millis;

impl Backend {
    /// It has something to send. True if it stands in no list yet of those who have.
    #[inline]
    pub fn mark_dirty(&mut self) -> bool {
        !mem::replace(&mut self.is_dirty, true)
    }

    /// True exactly while it stands in the list of those who have something to send.
    pub fn is_dirty(&self) -> bool {
        self.is_dirty
    }

    /// It is out of that list. True if its socket takes anything.
    #[inline]
    pub fn begin_flush(&mut self) -> bool {
        self.is_dirty = false;
        !self.is_write_blocked
    }

    /// True while its socket takes nothing.
    #[inline]
    pub fn is_write_blocked(&self) -> bool {
        self.is_write_blocked
    }

    /// It was written to, and its socket is full, or not.
    #[inline]
    pub fn on_written(&mut self, is_blocked: bool, now: Millis) {
        self.is_write_blocked = is_blocked;
        self.took_at = now;
    }

    /// Its socket takes bytes again. False if it did before.
    pub fn on_writable(&mut self) -> bool {
        mem::replace(&mut self.is_write_blocked, false)
    }

    /// When the server last took bytes, or there were none to take.
    pub fn took_at(&self) -> Millis {
        self.took_at
    }

    /// The server has said something.
    #[inline]
    pub fn on_heard(&mut self, now: Millis) {
        self.heard_at = now;
    }

    /// When the server last said anything, or was read again after a pause.
    pub fn heard_at(&self) -> Millis {
        self.heard_at
    }

    /// True while it is not read, because the client that it answers takes nothing.
    #[inline]
    pub fn is_read_paused(&self) -> bool {
        self.is_read_paused
    }

    /// It is not read from here on.
    pub fn pause_reads(&mut self) {
        self.is_read_paused = true;
    }

    /// It is read again. With `now`, its server has its time from now on.
    pub fn resume_reads(&mut self, now: Option<Millis>) {
        self.is_read_paused = false;
        self.heard_at = now.unwrap_or(self.heard_at);
    }

    /// The start of a reply that is not whole yet.
    pub fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// How much memory that takes, in bytes.
    pub fn kept_capacity(&self) -> usize {
        self.kept.capacity()
    }

    /// What finds the end of the reply that is arriving; it comes back with `put_framer` or `put_kept`.
    #[inline]
    pub fn take_framer(&mut self) -> ReplyFramer {
        mem::take(&mut self.framer)
    }

    /// The same, and the rest of what has come, which is the start of a reply.
    #[inline]
    pub fn keep(&mut self, framer: ReplyFramer, rest: &[u8], arena: &mut Arena) {
        self.framer = framer;
        if !rest.is_empty() {
            self.kept = rest.to_vec();
            arena.charge(self.kept.capacity());
        }
    }

    /// What was kept is where it is looked at.
    #[inline]
    pub fn drop_kept(&mut self, arena: &mut Arena) {
        if self.kept.capacity() > 0 {
            arena.uncharge(self.kept.capacity());
            self.kept = Vec::new();
        }
    }

    /// More is kept, behind that.
    pub fn extend_kept(&mut self, bytes: &[u8], arena: &mut Arena) {
        arena.uncharge(self.kept.capacity());
        self.kept.extend_from_slice(bytes);
        arena.charge(self.kept.capacity());
    }

    /// What is kept itself, and what frames it.
    pub fn take_kept(&mut self, arena: &mut Arena) -> (ReplyFramer, Vec<u8>) {
        let kept = mem::take(&mut self.kept);
        arena.uncharge(kept.capacity());
        (self.take_framer(), kept)
    }

    /// Both come back.
    pub fn put_kept(&mut self, framer: ReplyFramer, kept: Vec<u8>, arena: &mut Arena) {
        arena.charge(kept.capacity());
        self.framer = framer;
        self.kept = kept;
    }

    /// How far the reply is framed that is arriving, in bytes from the start of what is kept.
    pub fn framed(&self) -> usize {
        self.framer.at()
    }

    /// True while a large reply is passed on as it arrives.
    #[inline]
    pub fn is_in_large_reply(&self) -> bool {
        self.is_in_large_reply
    }

    /// A piece of a large reply has come. True if it is the first one.
    pub fn on_piece(&mut self) -> bool {
        !mem::replace(&mut self.is_in_large_reply, true)
    }

    /// A reply has come to its end. True if it came in pieces.
    #[inline]
    pub fn on_whole(&mut self) -> bool {
        let is_last_piece = mem::replace(&mut self.is_in_large_reply, false);
        self.is_rerouted &= !is_last_piece;
        is_last_piece
    }

    /// A large reply begins, for which others have to wait.
    pub fn on_large_reply(&mut self, now: Millis) {
        self.large_since = now;
    }

    /// When it began, if others stand behind it who were not asked elsewhere.
    pub fn blocks_others_since(&self) -> Option<Millis> {
        (self.is_in_large_reply && !self.is_rerouted && self.awaited() > 1).then_some(self.large_since)
    }

    /// True once those who could go elsewhere have gone, for the sake of a reply that takes long.
    pub fn is_rerouted(&self) -> bool {
        self.is_rerouted
    }

    /// Who could go elsewhere has gone.
    pub fn on_rerouted(&mut self) {
        self.is_rerouted = true;
    }
}
