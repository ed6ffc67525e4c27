//! Replies on their way to a client: what it has not taken.
//!
//! ```text
//!   early (its turn is still to come) ─► queue ─► the socket
//!   └────────────── unread ─────────────────┘
//! ```
//!
//! Owns the queue, and counts the bytes that wait elsewhere until it is their turn: replies that came early, parts of
//! replies, messages. Invariant: `merged_bytes` is never less than those of the unread bytes that rmux put together,
//! as long as they are not taken (`settle`). Knows no socket.

use crate::buffer::{Arena, Queue};

/// What a client has not taken.
#[derive(Debug)]
pub struct Replies {
    queue: Queue,
    /// Bytes of replies that came before their turn.
    early_bytes: usize,
    /// How many of its unread bytes may be replies that rmux put together: those are limited by the memory of all.
    merged_bytes: usize,
}

impl Replies {
    /// Nothing is on its way.
    pub(super) const fn new() -> Replies {
        Replies { queue: Queue::new(), early_bytes: 0, merged_bytes: 0 }
    }

    /// What can be sent now.
    #[inline]
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Bytes that can be sent now.
    #[inline]
    pub fn unsent(&self) -> usize {
        self.queue.unsent()
    }

    /// Bytes that wait for their turn.
    pub fn early_bytes(&self) -> usize {
        self.early_bytes
    }

    /// How many of all of them may be replies that rmux put together.
    pub fn merged_bytes(&self) -> usize {
        self.merged_bytes
    }

    /// A reply is next.
    #[inline]
    pub fn push(&mut self, arena: &mut Arena, reply: &[u8]) {
        self.queue.push(arena, reply);
    }

    /// It is the turn of what came early.
    pub fn append_early(&mut self, arena: &mut Arena, early: Queue) {
        self.early_bytes -= early.unsent();
        self.queue.append(arena, early);
    }

    /// Where a message of so many bytes goes: behind the replies, or, if it must wait, into `held`.
    pub fn for_message<'a>(&'a mut self, held: &'a mut Queue, is_open: bool, len: usize) -> &'a mut Queue {
        if is_open {
            return &mut self.queue;
        }
        self.early_bytes += len;
        held
    }

    /// So many bytes came before their turn.
    pub fn hold_early(&mut self, len: usize) {
        self.early_bytes += len;
    }

    /// So many of those are thrown away.
    pub fn drop_early(&mut self, len: usize) {
        self.early_bytes -= len;
    }

    /// So many bytes came before their turn, for a reply that rmux puts together.
    pub fn hold_merged(&mut self, len: usize) {
        self.early_bytes += len;
        self.merged_bytes += len;
    }

    /// So many of those are thrown away, or put together.
    pub fn drop_merged(&mut self, len: usize) {
        self.early_bytes -= len;
        self.merged_bytes -= len;
    }

    /// No more than what is unread can have been put together.
    #[inline]
    pub fn settle(&mut self) {
        self.merged_bytes = self.merged_bytes.min(self.unsent() + self.early_bytes);
    }

    /// The socket took so many bytes.
    #[inline]
    pub(super) fn consume(&mut self, arena: &mut Arena, n: usize) {
        self.queue.consume(arena, n);
    }

    /// The socket took so many bytes that were never in the queue, which is empty.
    pub(super) fn skip(&mut self, n: usize) {
        self.queue.skip(n);
    }

    /// What can be sent will not be.
    #[inline]
    pub(super) fn clear(&mut self, arena: &mut Arena) {
        self.queue.clear(arena);
    }
}
