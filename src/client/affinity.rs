//! Where the requests of a client go: to which backend those of each server, and what it has for itself.
//!
//! Owns the count of what is outstanding in backends' lines. Invariant: at most one affinity for each server, and none
//! without a request. Knows no requests: whoever puts one into a backend's line, or takes it out, says so.

use crate::server_id::ServerId;
use crate::slots::Id;

/// Why the next request of a client goes to the same backend of a server as the one before: what is outstanding there.
#[derive(Debug, Clone, Copy)]
pub struct Affinity {
    /// The backend in whose line all of them stand.
    pub backend: Id,
    /// How many they are; never 0.
    pub count: u32,
    /// Index of the server.
    pub server: ServerId,
}

/// A backend that a client has for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leased {
    /// Index of its server.
    pub server: ServerId,
    /// The backend, whose owner is the client.
    pub backend: Id,
}

/// All affinities of a client.
#[derive(Debug, Default)]
pub struct Affinities(Vec<Affinity>);

impl Affinities {
    /// All of them.
    #[inline]
    pub fn all(&self) -> &[Affinity] {
        &self.0
    }

    /// True exactly when nothing is outstanding in any backend's line.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is outstanding at `server`.
    #[inline]
    pub fn at(&self, server: ServerId) -> Option<Affinity> {
        self.0.iter().find(|affinity| affinity.server == server).copied()
    }

    /// So many more requests stand in the line of `backend`, which is one of `server`.
    #[inline]
    pub fn pin(&mut self, server: ServerId, backend: Id, count: u32) {
        match self.0.iter_mut().find(|affinity| affinity.server == server) {
            Some(affinity) => {
                debug_assert!(affinity.backend == backend, "all of one server stand in one line");
                affinity.count += count;
            }
            None => self.0.push(Affinity { backend, count, server }),
        }
    }

    /// So many requests have left the line of a backend of `server`.
    #[inline]
    pub fn unpin(&mut self, server: ServerId, count: u32) {
        let Some(index) = self.0.iter().position(|affinity| affinity.server == server) else {
            debug_assert!(false, "a request that stood in a backend's line had an affinity");
            return;
        };
        self.0[index].count -= count;
        if self.0[index].count == 0 {
            self.0.swap_remove(index);
        }
    }

    /// What is outstanding at `server` stands in the line of this backend from here on.
    pub fn change(&mut self, server: ServerId, backend: Id) {
        let changed = self.0.iter_mut().filter(|affinity| affinity.server == server);
        changed.for_each(|affinity| affinity.backend = backend);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_end_with_their_last_request() {
        let mut affinities = Affinities::default();
        affinities.pin(ServerId::of_index(3), Id::NONE, 1);
        affinities.pin(ServerId::of_index(1), Id::NONE, 1);
        affinities.pin(ServerId::of_index(3), Id::NONE, 1);
        affinities.unpin(ServerId::of_index(3), 1);
        assert_eq!(affinities.at(ServerId::of_index(3)).map(|affinity| affinity.count), Some(1));
        affinities.unpin(ServerId::of_index(3), 1);
        assert!(affinities.at(ServerId::of_index(3)).is_none());
        assert_eq!(affinities.at(ServerId::of_index(1)).map(|affinity| affinity.count), Some(1));
    }
}
