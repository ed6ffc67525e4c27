//! What a client in bulk has: connections of its own, since it has more in flight, or more unread, than others may wait
//! behind.
//!
//! Owns which they are. Invariant: at most one at each server. That each of them has the client as its owner is the
//! proxy's business.

use super::affinity::Leased;
use crate::server_id::ServerId;
use crate::slots::Id;

/// The connections of a client in bulk.
#[derive(Debug, Default)]
pub struct Bulk {
    held: Vec<Leased>,
}

impl Bulk {
    /// The backend that it has at this server.
    #[inline]
    pub fn at(&self, server: ServerId) -> Option<Id> {
        self.held.iter().find(|held| held.server == server).map(|held| held.backend)
    }

    /// The backends that it has for itself.
    pub fn held(&self) -> &[Leased] {
        &self.held
    }

    /// The same, of one that is in bulk no longer.
    pub fn into_held(self) -> Vec<Leased> {
        self.held
    }

    /// It has this one, too.
    pub fn hold(&mut self, leased: Leased) {
        self.held.push(leased);
    }

    /// It has this one no longer, if it had.
    pub fn release(&mut self, backend: Id) {
        self.held.retain(|held| held.backend != backend);
    }

    /// Takes those that are not used.
    pub fn take_unused(&mut self, is_used: impl Fn(&Leased) -> bool) -> Vec<Leased> {
        let (used, unused) = std::mem::take(&mut self.held).into_iter().partition(is_used);
        self.held = used;
        unused
    }
}
