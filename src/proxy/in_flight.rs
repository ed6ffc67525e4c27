//! Requests in flight: from the moment in which they are queued for a server until their replies are on their way.
//!
//! Owns the requests with the two orders in which they stand (`request`), the replies that came before their turn, the
//! merges of requests that several servers answer, and the bytes of all of them. Knows ids of clients and backends, and
//! nothing else about them.

use slab::Slab;

use super::memory::Memory;
use super::merging::Merging;
use crate::buffer::{Arena, Queue};
use crate::limits::Limits;
use crate::request::Requests;

/// All requests in flight, and their bytes.
#[derive(Debug)]
pub(super) struct InFlight {
    pub requests: Requests,
    /// Replies that came before their turn.
    pub early: Slab<Queue>,
    /// Requests that several servers answer.
    pub merges: Slab<Merging>,
    /// Entries for `merges`; they come and go.
    pub spare_merges: Vec<Merging>,
    /// The bytes of requests and replies.
    pub arena: Arena,
    /// What is known about how much memory they take.
    pub memory: Memory,
}

impl InFlight {
    /// Nothing is in flight.
    pub fn new(limits: &Limits) -> InFlight {
        InFlight {
            requests: Requests::new(),
            early: Slab::new(),
            merges: Slab::new(),
            spare_merges: Vec::new(),
            arena: Arena::new(),
            memory: Memory::new(limits),
        }
    }
}
