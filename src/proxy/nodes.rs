//! Nodes of a cluster that redirects have named, and that the present slot map does not have.
//!
//! ```text
//!   -MOVED 7 10.0.0.9:6379, -ASK …   a node that has just joined, has no slot yet, or has just become a master
//! ```
//!
//! Beside them, what nodes say about databases.
//!
//! They are servers like any other, placed behind those of the map, until the map has them, or until they are named no
//! more. Knows addresses; owns no server and no connection. Invariant: there are at most [`UNMAPPED_MAX`].

use crate::cluster::Databases;
use crate::timer::Millis;

/// The most nodes that are accepted from redirects alone.
const UNMAPPED_MAX: usize = 64;
/// How long one is kept after it was last named, in milliseconds. A slot may take that long to move.
const UNMAPPED_MS: u64 = 60_000;

/// A node that a redirect has named.
#[derive(Debug)]
struct Unmapped {
    address: String,
    named_at: Millis,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    /// Whether clients may select another database than 0.
    pub databases: Databases,
    unmapped: Vec<Unmapped>,
}

impl Nodes {
    /// What a client is told that selects another database than 0, if nodes say that there is none.
    pub fn select_error(&self) -> Option<&[u8]> {
        match &self.databases {
            Databases::One(error) => Some(error),
            Databases::Unknown | Databases::Several => None,
        }
    }

    /// A redirect has named this address, which the map does not have. False if there are too many of those.
    pub fn on_named(&mut self, address: &str, now: Millis) -> bool {
        let is_full = self.unmapped.len() >= UNMAPPED_MAX;
        match self.unmapped.iter_mut().find(|node| node.address == address) {
            Some(node) => node.named_at = now,
            None if is_full => return false,
            None => self.unmapped.push(Unmapped { address: address.to_owned(), named_at: now }),
        }
        true
    }

    /// The map has these masters. Forgets them, and what was not named for long; returns the rest.
    pub fn unmapped(&mut self, masters: &[String], now: Millis) -> impl Iterator<Item = &String> {
        self.unmapped.retain(|node| !masters.contains(&node.address) && node.named_at + UNMAPPED_MS > now);
        self.unmapped.iter().map(|node| &node.address)
    }
}
