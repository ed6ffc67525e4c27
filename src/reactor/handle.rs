//! What others tell a reactor, from any thread: to end, to show that it turns; and what they leave in its mailbox.
//!
//! Whoever tells it something wakes it; nobody waits. Knows nothing of what messages say.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use log::error;
use mio::Waker;

use crate::channel::Sender;
use crate::net::Address;
use crate::proxy::{Settings, WorkerMessage};

/// What others tell a reactor, from any thread.
#[derive(Debug, Clone)]
pub struct Handle {
    order: Arc<AtomicU8>,
    /// True from a question until it is answered.
    is_asked: Arc<AtomicBool>,
    mailbox: Sender<Post>,
    waker: Arc<Waker>,
}

impl Handle {
    /// That of a reactor with this mailbox, which this wakes.
    pub(super) fn new(mailbox: Sender<Post>, waker: Arc<Waker>) -> Handle {
        Handle { order: Arc::new(AtomicU8::new(RUN)), is_asked: Arc::default(), mailbox, waker }
    }

    /// No new clients; the reactor ends when those that are here are answered, or after
    /// [`GRACE`](super::GRACE).
    pub fn drain(&self) {
        self.order.store(DRAIN, Ordering::Release);
        self.wake();
    }

    /// No new clients, since another process takes over; the reactor ends when those that are here have left, or after
    /// so many milliseconds.
    pub fn dismiss(&self, drain_ms: u64) {
        self.leave(Post::Dismiss(drain_ms));
    }

    /// It accepts clients from now on, if it did not until now (see `Reactor::hold`).
    pub fn open(&self) {
        self.leave(Post::Open);
    }

    /// Asks whether the loop still turns; the answer comes with its next turn.
    pub fn ask(&self) {
        self.is_asked.store(true, Ordering::Release);
        self.wake();
    }

    /// True exactly when no question is open.
    pub fn has_answered(&self) -> bool {
        !self.is_asked.load(Ordering::Acquire)
    }

    /// From its next turn on these settings hold, with `servers` behind it in the order of `settings.servers`. False if
    /// it has ended.
    pub fn settle(&self, settings: Settings, servers: Vec<Address>) -> bool {
        self.leave(Post::Settings(Box::new((settings, servers))))
    }

    /// The reactor has turned: it answers the question, if there is one. True exactly when it is to end.
    pub(super) fn answer(&self) -> bool {
        self.is_asked.store(false, Ordering::Release);
        self.is_to_end()
    }

    /// True exactly when the reactor was told to end.
    pub(super) fn is_to_end(&self) -> bool {
        self.order.load(Ordering::Acquire) == DRAIN
    }

    /// Leaves something in its mailbox. False if it has ended.
    pub(super) fn leave(&self, post: Post) -> bool {
        let is_left = self.mailbox.send(post);
        if is_left {
            self.wake();
        }
        is_left
    }

    fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            error!("cannot wake a reactor: {error}");
        }
    }
}

const RUN: u8 = 0;
const DRAIN: u8 = 1;

/// What may lie in a mailbox.
#[derive(Debug)]
pub(super) enum Post {
    /// A message from the reactor of this number.
    WorkerMessage(usize, WorkerMessage),
    /// The reactor of this number has ended: it reads and writes no more.
    WorkerGone(usize),
    /// Other settings for its proxy, and the servers of these.
    Settings(Box<(Settings, Vec<Address>)>),
    /// Another process takes over; so many milliseconds are left.
    Dismiss(u64),
    /// Clients are to be accepted from now on.
    Open,
}
