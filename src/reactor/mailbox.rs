//! Letters between the reactors of one pool: what their proxies ask and tell each other.
//!
//! A reactor's mailbox is the receiving end of a channel; the sending end, with the waker beside it, is part of its
//! `Handle`, which all others of the pool have. Nobody waits: a letter is left there, and read in the next turn. The
//! proxies see to it that there are never more than two letters of one reactor in the mailbox of another.
//!
//! ```text
//!   reactor 0 ── Mailbox::send ─► channel of reactor 1, wake ──► its next turn: Mailbox::next
//! ```
//!
//! Knows nothing of what letters say. Invariant: whoever leaves a letter for a reactor that ends is told so, by `send`,
//! or else by a word of farewell: the mailbox is closed first, and that is sent then.

use std::sync::mpsc::{Receiver, Sender, channel};

use super::Handle;
use crate::proxy::Letter;

/// What may lie in a mailbox.
#[derive(Debug)]
pub(super) enum Post {
    /// A letter from the reactor of this number.
    Letter(usize, Letter),
    /// The reactor of this number has ended: it reads and writes no more.
    Farewell(usize),
}

/// The mailbox of one reactor.
pub(super) struct Mailbox {
    /// `None` when it is closed.
    received: Option<Receiver<Post>>,
    /// The number of its owner among all reactors of the pool.
    number: usize,
    /// All reactors of the pool, by number.
    all: Vec<Handle>,
}

impl Mailbox {
    /// A mailbox whose owner knows nobody yet, and what leaves something in it.
    pub fn new() -> (Mailbox, Sender<Post>) {
        let (sender, receiver) = channel();
        (Mailbox { received: Some(receiver), number: 0, all: Vec::new() }, sender)
    }

    /// Its owner has this number among all reactors of its pool.
    pub fn introduce(&mut self, number: usize, all: Vec<Handle>) {
        self.number = number;
        self.all = all;
    }

    /// The next thing that lies in it.
    pub fn next(&mut self) -> Option<Post> {
        self.received.as_ref()?.try_recv().ok()
    }

    /// Leaves a letter for another reactor. False if that one has ended.
    pub fn send(&self, to: usize, letter: Letter) -> bool {
        self.all.get(to).is_some_and(|other| other.leave(Post::Letter(self.number, letter)))
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.received = None;
        for (number, other) in self.all.iter().enumerate() {
            if number != self.number {
                other.leave(Post::Farewell(self.number));
            }
        }
    }
}
