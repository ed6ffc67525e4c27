//! The name of a server, by which those who know nothing else of it keep it apart from others.

use std::fmt;

/// The name of one server of a pool.
///
/// What is inside is the business of those who own the servers; others compare it, and may keep a table by
/// [`ServerId::index`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerId(u16);

impl ServerId {
    /// The server with this place in the configuration: TCP first, then Unix, each in the order given. A ring takes
    /// fewer servers than would not fit ([`crate::ring::Ring::SERVERS_MAX`]).
    #[inline]
    pub const fn of_index(index: usize) -> ServerId {
        ServerId(index as u16)
    }

    /// Its place; dense, so that it can index a table of one's own.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
