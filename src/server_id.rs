//! The name of a server, by which those who know nothing else of it keep it apart from others.

use std::fmt;

/// The name of one server of a pool: a slot, and a generation, so that the name of one that is no more is not taken for
/// that of another one which has its slot now.
///
/// What is inside is the business of those who own the servers; others compare it, and may keep a table by
/// [`ServerId::index`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerId(u32);

/// The generation stands above the slot: two names are compared as one number.
const SLOT_BITS: u32 = 16;

impl ServerId {
    /// The first server in this slot: at the start that is its place in the configuration, TCP first, then Unix, each
    /// in the order given. A ring takes fewer servers than would not fit ([`crate::ring::Ring::SERVERS_MAX`]).
    #[inline]
    pub const fn of_index(index: usize) -> ServerId {
        ServerId(index as u32)
    }

    /// The one that has the slot of this one after it.
    pub const fn successor(self) -> ServerId {
        ServerId(self.0.wrapping_add(1 << SLOT_BITS))
    }

    /// Its slot; dense, so that it can index a table of one's own. No two that are there at one time have the same.
    #[inline]
    pub const fn index(self) -> usize {
        (self.0 & ((1 << SLOT_BITS) - 1)) as usize
    }

    /// All of it in one number.
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.index().fmt(f)
    }
}
