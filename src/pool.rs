//! The backends of one server, and the clients that wait for one.
//!
//! Knows ids and limits; the backends themselves are shown to it. Fills first: of the backends with the right profile
//! the oldest one that has room takes the next request, so that a quiet host uses one and the others can be closed.
//! A client that waits is not overtaken: while somebody waits, nobody is served but from the front.
//!
//! Invariants: `backends.len() <= size_max`; a closed backend is not in the list; a client is in `waiting` exactly
//! while it is parked at this server.

use std::collections::VecDeque;

use crate::backend::Backend;
use crate::client::Profile;
use crate::slots::{Id, Slots};
use crate::timer::Millis;

/// What a pool offers to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// This backend takes it.
    Take(Id),
    /// This one is idle, and can be set to the right profile.
    Change(Id),
    /// There is room for one more backend.
    Open,
    /// All are busy.
    Wait,
}

/// The backends of one server, and who waits for one.
#[derive(Debug)]
pub struct Pool {
    backends: Vec<Id>,
    size_max: usize,
    /// Until then no backend more is made: the server refused the last one, and serves the others.
    full_until: Millis,
    /// Clients that wait, the longest first.
    pub waiting: VecDeque<Id>,
}

impl Pool {
    /// A pool without backends that will have at most `size_max`.
    pub fn new(size_max: usize) -> Pool {
        Pool { backends: Vec::new(), size_max, full_until: Millis(0), waiting: VecDeque::new() }
    }

    /// The backends, the oldest first.
    pub fn backends(&self) -> &[Id] {
        &self.backends
    }

    /// A backend was made.
    pub fn add(&mut self, backend: Id) {
        debug_assert!(self.backends.len() < self.size_max);
        self.backends.push(backend);
    }

    /// A backend was closed.
    pub fn remove(&mut self, backend: Id) {
        self.backends.retain(|&id| id != backend);
    }

    /// True exactly when one more backend may be made.
    pub fn has_room(&self, now: Millis) -> bool {
        self.backends.len() < self.size_max && self.full_until <= now
    }

    /// The server has no place for one more, while it serves those that there are.
    pub fn on_refused(&mut self, until: Millis) {
        self.full_until = until;
    }

    /// Which backend takes a request that needs `profile`; `has_room` says whether a backend can take one more.
    #[inline]
    pub fn offer(
        &self,
        all: &Slots<Backend>,
        profile: Profile,
        now: Millis,
        has_room: impl Fn(&Backend) -> bool,
    ) -> Offer {
        let backends = || self.backends.iter().filter_map(|&id| Some((id, all.get(id)?)));
        if let Some((id, _)) = backends().find(|(_, backend)| backend.profile == profile && has_room(backend)) {
            return Offer::Take(id);
        }
        if self.has_room(now) {
            return Offer::Open;
        }
        // The one that has been of no use for the longest time.
        let idle = backends().filter(|(_, backend)| backend.is_idle() && has_room(backend));
        match idle.min_by_key(|(_, backend)| backend.since) {
            Some((id, _)) => Offer::Change(id),
            None => Offer::Wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Phase;

    const DB0: Profile = Profile { database: 0, protocol: crate::client::Protocol::Resp2 };
    const DB1: Profile = Profile { database: 1, ..DB0 };

    fn ready(all: &mut Slots<Backend>, pool: &mut Pool, profile: Profile, since: u64) -> Id {
        let mut backend = Backend::new(0, profile, Millis(since));
        backend.phase = Phase::Ready;
        let id = all.insert(backend);
        pool.add(id);
        id
    }

    #[test]
    fn the_oldest_with_room_is_filled_first() {
        let (mut all, mut pool) = (Slots::new(), Pool::new(3));
        assert_eq!(pool.offer(&all, DB0, Millis(10), |_| true), Offer::Open);
        let first = ready(&mut all, &mut pool, DB0, 5);
        let second = ready(&mut all, &mut pool, DB0, 1);
        assert_eq!(pool.offer(&all, DB0, Millis(10), |_| true), Offer::Take(first));
        assert_eq!(pool.offer(&all, DB0, Millis(10), |backend| backend.since == Millis(1)), Offer::Take(second));
        assert_eq!(pool.offer(&all, DB0, Millis(10), |_| false), Offer::Open);
        assert_eq!(pool.offer(&all, DB1, Millis(10), |_| true), Offer::Open);
        ready(&mut all, &mut pool, DB0, 9);
        assert_eq!(pool.offer(&all, DB1, Millis(10), |_| true), Offer::Change(second));
        assert_eq!(pool.offer(&all, DB1, Millis(10), |_| false), Offer::Wait);
        pool.remove(first);
        assert_eq!(pool.offer(&all, DB1, Millis(10), |_| true), Offer::Open);
        pool.on_refused(Millis(11));
        assert_eq!(pool.offer(&all, DB1, Millis(10), |_| true), Offer::Change(second));
        assert_eq!(pool.offer(&all, DB1, Millis(11), |_| true), Offer::Open);
    }
}
