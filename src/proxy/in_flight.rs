//! Requests in flight: from the moment in which they are queued for a server until their replies are on their way.
//!
//! Owns the requests with the two orders in which they stand (`request`), the replies that came before their turn, the
//! merges of requests that several servers answer, and the bytes of all of them. Knows ids of clients and backends, and
//! nothing else about them.

use slab::Slab;

use super::merging::{Merging, SpareMerges};
use crate::buffer::{Arena, Queue};
use crate::limits::{Limits, Timeouts};
use crate::request::{BackendLine, ClientLine, Request, RequestId, Requests};
use crate::slots::Id;
use crate::stats::Measured;

/// So much is not looked after, in bytes, nor more than half of what may be taken.
pub(super) const MEMORY_WATCH_BYTES: usize = 256 * 1024;

/// All requests in flight, and their bytes.
#[derive(Debug)]
pub(super) struct InFlight {
    pub requests: Requests,
    /// Replies that came before their turn.
    pub early: Slab<Queue>,
    /// Requests that several servers answer.
    pub merges: Slab<Merging>,
    /// Entries for `merges`; they come and go.
    pub spare_merges: SpareMerges,
    /// The bytes of requests and replies.
    pub arena: Arena,
    /// What is known about how much memory they take.
    pub memory: Memory,
    /// How long servers take for them.
    pub measured: Measured,
}

impl InFlight {
    /// Nothing is in flight.
    pub fn new(limits: &Limits, timeouts: &Timeouts) -> InFlight {
        let mut measured = Measured::default();
        measured.set_slow(timeouts.slow_ms);
        InFlight {
            requests: Requests::new(),
            early: Slab::new(),
            merges: Slab::new(),
            spare_merges: SpareMerges::default(),
            arena: Arena::new(),
            memory: Memory::new(limits),
            measured,
        }
    }

    /// A request begins: it stands in the reply order of its client from here on.
    #[inline]
    pub fn begin(&mut self, request: Request, reply_order: &mut ClientLine) -> RequestId {
        let request = self.requests.insert(request);
        reply_order.push(&mut self.requests, request);
        request
    }

    /// A request goes to a server: it stands in the in-flight queue of this backend, which is `line`, from here on.
    #[inline]
    pub fn enqueue(&mut self, request: RequestId, backend: Id, line: &mut BackendLine) -> Ticket {
        line.push(&mut self.requests, request);
        Ticket { request, backend }
    }

    /// The same for one of rmux's own, which stands in nobody's reply order.
    pub fn enqueue_own(&mut self, request: Request, backend: Id, line: &mut BackendLine) -> Ticket {
        let request = self.requests.insert(request);
        self.enqueue(request, backend, line)
    }

    /// The reply to the first request of both queues has come whole: it stands in neither any more, and is gone.
    #[inline]
    pub fn end(&mut self, reply_order: &mut ClientLine, line: &mut BackendLine) {
        let answered = line.pop(&self.requests);
        let owed = reply_order.pop(&self.requests);
        debug_assert_eq!(answered, owed, "it was the first in both");
        if let Some(request) = answered {
            self.requests.remove(request);
        }
    }
}

/// A request stands in the in-flight queue of a backend, and its bytes must follow there before those of any other.
///
/// Whoever forwards the bytes takes it (`forward`, `enqueue::queue`, `enqueue::forward_owned`).
#[derive(Debug)]
#[must_use = "the bytes of the request must follow at once"]
pub(super) struct Ticket {
    request: RequestId,
    backend: Id,
}

impl Ticket {
    /// The request.
    #[inline]
    pub fn request(&self) -> RequestId {
        self.request
    }

    /// The backend in whose queue it stands.
    #[inline]
    pub fn backend(&self) -> Id {
        self.backend
    }

    /// The same for a run of requests whose bytes are one piece: this one and, behind it, the next.
    pub fn and(self, next: Ticket) -> Ticket {
        debug_assert_eq!(self.backend, next.backend, "a run goes to one backend");
        next
    }

    /// The same if there are both, or the one that there is.
    pub fn joined(run: Option<Ticket>, next: Option<Ticket>) -> Option<Ticket> {
        match (run, next) {
            (Some(run), Some(next)) => Some(run.and(next)),
            (run, next) => run.or(next),
        }
    }

    /// Nothing was sent, and the request stands in the queue of another backend now.
    pub fn moved_to(self, backend: Id) -> Ticket {
        Ticket { backend, ..self }
    }

    /// The bytes are in the backend's queue. Returns the backend.
    #[inline]
    pub fn redeem(self) -> Id {
        self.backend
    }
}

/// What is known about the account, beside its sum.
#[derive(Debug)]
pub(super) struct Memory {
    /// True exactly when, in this turn, those who have most were asked to give way.
    pub is_relieved: bool,
    /// What is held outside of the core for what goes through it, and charged, in bytes: ciphertext.
    pub outside: usize,
    /// True exactly when, since memory was at rest, more than `watch_bytes` were taken.
    pub is_watched: bool,
    /// True once memory was short, until those have been looked at who were held back over it.
    pub was_short: bool,
    pub watch_bytes: usize,
    /// The most that was taken since then.
    pub peak_bytes: usize,
    /// How many bytes are steps of transactions which rmux keeps.
    pub steps_bytes: usize,
}

impl Memory {
    /// Nothing is taken.
    pub fn new(limits: &Limits) -> Memory {
        Memory {
            is_relieved: false,
            outside: 0,
            is_watched: false,
            was_short: false,
            watch_bytes: watch_bytes(limits),
            peak_bytes: 0,
            steps_bytes: 0,
        }
    }

    /// From here on these limits hold.
    pub fn set_limits(&mut self, limits: &Limits) {
        self.watch_bytes = watch_bytes(limits);
    }
}

fn watch_bytes(limits: &Limits) -> usize {
    MEMORY_WATCH_BYTES.min(limits.buffered_bytes_max / 2)
}
