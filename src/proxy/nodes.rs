//! Nodes of a cluster that another node has named, and that the map of its slots did not have when it was last told.
//!
//! ```text
//!   -MOVED 7 10.0.0.9:6379, -ASK …   a node that has just joined, has no slot yet, or has just become a master
//! ```
//!
//! Beside them, what nodes say about databases.
//!
//! They are servers like any other, behind those of the map, until the map has them, or nobody names them any more.
//! Knows addresses; owns no server and no connection. Invariant: there are at most [`GUESTS_MAX`].

use crate::cluster::Databases;
use crate::timer::Millis;

/// So many nodes are taken on the word of others.
const GUESTS_MAX: usize = 64;
/// So long after it was last named one is kept, in milliseconds. A slot may take that long to move.
const GUEST_MS: u64 = 60_000;

/// A node that another one has named.
#[derive(Debug)]
struct Guest {
    address: String,
    named_at: Millis,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    /// Whether clients may select another database than 0.
    pub databases: Databases,
    guests: Vec<Guest>,
}

impl Nodes {
    /// What a client is told that selects another database than 0, if nodes say that there is none.
    pub fn select_error(&self) -> Option<&[u8]> {
        match &self.databases {
            Databases::One(error) => Some(error),
            Databases::Unknown | Databases::Several => None,
        }
    }

    /// A node has named this one, which the map does not have. False if there are too many of those.
    pub fn on_named(&mut self, address: &str, now: Millis) -> bool {
        let is_full = self.guests.len() >= GUESTS_MAX;
        match self.guests.iter_mut().find(|guest| guest.address == address) {
            Some(guest) => guest.named_at = now,
            None if is_full => return false,
            None => self.guests.push(Guest { address: address.to_owned(), named_at: now }),
        }
        true
    }

    /// The map names these masters. Forgets those of them, and those of which nobody has spoken for long; returns the
    /// rest.
    pub fn others(&mut self, masters: &[String], now: Millis) -> impl Iterator<Item = &String> {
        self.guests.retain(|guest| !masters.contains(&guest.address) && guest.named_at + GUEST_MS > now);
        self.guests.iter().map(|guest| &guest.address)
    }
}
