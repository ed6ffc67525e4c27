//! The backends of one server, and the clients that wait for one.
//!
//! Knows ids and limits; the backends themselves are shown to it. Fills first: of the backends with the right profile
//! the oldest one that has room takes the next request, so that a quiet host uses one and the others can be closed.
//! A client that waits is not overtaken: while somebody waits, nobody is served but from the front.
//!
//! A backend is *held* while it serves one client alone: it has an owner (a lease, or `WAIT`), or half of a large
//! request was sent on it. All who would hold one ask `may_hold`:
//!
//! ```text
//!   size_max    ■ held by its owner   ■ held by an upload   □ shared   · room for more
//!               └─────── at most lease_max ───────┘   └─ at least one of these ─┘
//! ```
//!
//! Invariants: `backends.len() <= size_max`, once those are closed that were there before it became less; a closed
//! backend is not in the list; a client is in `waiting` exactly while it is parked at this server.

use std::collections::VecDeque;

use crate::backend::Backend;
use crate::client::Need;
use crate::session::Profile;
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
    /// Until then no backend more is made: the last ones were of no use.
    paused_until: Millis,
    /// The most backends that are held at one time; at least one is always left to shared traffic.
    lease_max: usize,
    /// Clients that wait for room on a shared backend, the longest first.
    waiting: VecDeque<Id>,
    /// Clients that wait for a backend of their own, the longest first.
    waiting_for_lease: VecDeque<Id>,
    /// Clients that block on a backend which is not ready, and their own, the first one first. Some may have gone on
    /// meanwhile.
    blocking: Vec<Id>,
}

impl Pool {
    /// A pool without backends that will have at most `size_max`, of which at most `lease_max`, and never all, are
    /// held at one time.
    pub fn new(size_max: usize, lease_max: usize) -> Pool {
        Pool {
            backends: Vec::new(),
            size_max,
            paused_until: Millis(0),
            lease_max: lease_max.min(size_max - 1),
            waiting: VecDeque::new(),
            waiting_for_lease: VecDeque::new(),
            blocking: Vec::new(),
        }
    }

    /// From here on it has at most so many backends, of which at most so many are held at one time. More that are there
    /// stay until they are closed.
    pub fn set_limits(&mut self, size_max: usize, lease_max: usize) {
        self.size_max = size_max;
        self.lease_max = lease_max.min(size_max - 1);
    }

    /// Those who wait for this, the longest first.
    pub fn waiting(&self, need: Need) -> &VecDeque<Id> {
        match need {
            Need::Room => &self.waiting,
            Need::Lease | Need::Bulk | Need::LastWriter => &self.waiting_for_lease,
        }
    }

    /// This client waits for this from here on, behind those who do already.
    pub fn park(&mut self, need: Need, client: Id) {
        self.line_of(need).push_back(client);
    }

    /// It waits no longer.
    pub fn unpark(&mut self, need: Need, client: Id) {
        let line = self.line_of(need);
        if let Some(place) = line.iter().position(|&waiting| waiting == client) {
            line.remove(place);
        }
    }

    fn line_of(&mut self, need: Need) -> &mut VecDeque<Id> {
        match need {
            Need::Room => &mut self.waiting,
            Need::Lease | Need::Bulk | Need::LastWriter => &mut self.waiting_for_lease,
        }
    }

    /// True exactly when somebody waits for room on a shared backend.
    #[inline]
    pub fn is_waited_for_room(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// True exactly when somebody waits for a backend of his own.
    pub fn is_waited_for_lease(&self) -> bool {
        !self.waiting_for_lease.is_empty()
    }

    /// Clients that block on a backend which is not ready, and their own, the first one first. Some may have gone on
    /// meanwhile.
    pub fn blocking(&self) -> &[Id] {
        &self.blocking
    }

    /// The same, to be looked through; they come back with `put_blocking`.
    pub fn take_blocking(&mut self) -> Vec<Id> {
        std::mem::take(&mut self.blocking)
    }

    /// Those who still block are these, the first one first.
    pub fn put_blocking(&mut self, clients: Vec<Id>) {
        self.blocking = clients;
    }

    /// The one in this place blocks no longer on what is not ready.
    pub fn unblock(&mut self, place: usize) -> Id {
        self.blocking.remove(place)
    }

    /// True exactly when somebody waits for a backend.
    pub fn is_waited_for(&self) -> bool {
        !self.waiting.is_empty() || !self.waiting_for_lease.is_empty()
    }

    /// The backends, the oldest first.
    pub fn backends(&self) -> &[Id] {
        &self.backends
    }

    /// A backend was made.
    pub fn add(&mut self, backend: Id) {
        self.backends.push(backend);
    }

    /// A backend was closed.
    pub fn remove(&mut self, backend: Id) {
        self.backends.retain(|&id| id != backend);
    }

    /// True exactly when one more backend may be made.
    pub fn has_room(&self, now: Millis) -> bool {
        self.backends.len() < self.size_max && self.is_unpaused(now)
    }

    /// True exactly when there are as many as there may be.
    pub fn is_full(&self) -> bool {
        self.backends.len() >= self.size_max
    }

    /// True exactly when nothing but their number speaks against one more backend.
    pub fn is_unpaused(&self, now: Millis) -> bool {
        self.paused_until <= now
    }

    /// No backend is to be made before this.
    pub fn pause(&mut self, until: Millis) {
        self.paused_until = until;
    }

    /// The backend that takes a request at once, if there is one: the oldest that has this profile, and room.
    #[inline]
    pub fn first_open(
        &self,
        all: &Slots<Backend>,
        profile: Profile,
        has_room: impl Fn(&Backend) -> bool,
    ) -> Option<Id> {
        let can_take = |id: &Id| all.get(*id).is_some_and(|backend| backend.profile() == profile && has_room(backend));
        self.backends.iter().copied().find(can_take)
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
        if let Some(id) = self.first_open(all, profile, &has_room) {
            return Offer::Take(id);
        }
        if self.has_room(now) {
            return Offer::Open;
        }
        // The one that has been of no use for the longest time.
        let idle = backends().filter(|(_, backend)| backend.is_idle() && has_room(backend));
        match idle.min_by_key(|(_, backend)| backend.since()) {
            Some((id, _)) => Offer::Change(id),
            None => Offer::Wait,
        }
    }

    /// True exactly when no backend can ever be held.
    pub fn never_leases(&self) -> bool {
        self.lease_max == 0
    }

    /// Whether one client may hold `candidate`, besides those that are held already: a backend of this pool, or, with
    /// [`Id::NONE`], one that is yet to be made. Shared traffic keeps a backend, or room to open one.
    pub fn may_hold(&self, all: &Slots<Backend>, candidate: Id, now: Millis) -> bool {
        let (mut held, mut shared) = (0, 0);
        for &id in self.backends.iter().filter(|&&id| id != candidate) {
            let Some(backend) = all.get(id) else { continue };
            if backend.is_held() {
                held += 1;
            } else if backend.is_serving() {
                shared += 1;
            }
        }
        let to_open = usize::from(candidate == Id::NONE);
        let may_open = |count| self.backends.len() + count <= self.size_max && self.paused_until <= now;
        held < self.lease_max && (to_open == 0 || may_open(1)) && (shared > 0 || may_open(to_open + 1))
    }

    /// Which backend a client can have for itself, with the session set to `profile`.
    ///
    /// An idle one is taken if another one stays for shared traffic; a lease ended is an idle backend, so that leases
    /// that follow each other use the same connection.
    pub fn offer_lease(&self, all: &Slots<Backend>, profile: Profile, now: Millis) -> Offer {
        let backends = || self.backends.iter().filter_map(|&id| Some((id, all.get(id)?)));
        let shared = backends().filter(|(_, backend)| !backend.is_held() && backend.is_serving()).count();
        // The youngest, since the oldest is the one that shared traffic fills first.
        let idle =
            backends().rev().find(|(_, backend)| shared > 1 && backend.is_idle() && backend.profile() == profile);
        if let Some((id, _)) = idle.filter(|&(id, _)| self.may_hold(all, id, now)) {
            return Offer::Take(id);
        }
        if self.may_hold(all, Id::NONE, now) {
            return Offer::Open;
        }
        // The one that has been of no use for the longest time.
        let idle = backends().filter(|(_, backend)| backend.is_idle()).min_by_key(|(_, backend)| backend.since());
        match idle.filter(|&(id, _)| self.may_hold(all, id, now)) {
            Some((id, _)) => Offer::Change(id),
            None => Offer::Wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Purpose;
    use crate::limits::Limits;
    use crate::server_id::ServerId;

    const DB0: Profile = Profile { database: 0, protocol: crate::session::Protocol::Resp2 };
    const DB1: Profile = Profile { database: 1, ..DB0 };

    fn ready(all: &mut Slots<Backend>, pool: &mut Pool, profile: Profile, since: u64) -> Id {
        let mut backend = Backend::new(ServerId::of_index(0), profile, Purpose::Pooled, Millis(since));
        backend.become_ready();
        let id = all.insert(backend);
        pool.add(id);
        id
    }

    #[test]
    fn the_oldest_with_room_is_filled_first() {
        let (mut all, mut pool) = (Slots::new(), Pool::new(3, 2));
        assert_eq!(pool.offer(&all, DB0, Millis(10), |_| true), Offer::Open);
        let first = ready(&mut all, &mut pool, DB0, 5);
        let second = ready(&mut all, &mut pool, DB0, 1);
        assert_eq!(pool.offer(&all, DB0, Millis(10), |_| true), Offer::Take(first));
        assert_eq!(pool.offer(&all, DB0, Millis(10), |backend| backend.since() == Millis(1)), Offer::Take(second));
        assert_eq!(pool.offer(&all, DB0, Millis(10), |_| false), Offer::Open);
        assert_eq!(pool.offer(&all, DB1, Millis(10), |_| true), Offer::Open);
        ready(&mut all, &mut pool, DB0, 9);
        assert_eq!(pool.offer(&all, DB1, Millis(10), |_| true), Offer::Change(second));
        assert_eq!(pool.offer(&all, DB1, Millis(10), |_| false), Offer::Wait);
        pool.remove(first);
        assert_eq!(pool.offer(&all, DB1, Millis(10), |_| true), Offer::Open);
        pool.pause(Millis(11));
        assert_eq!(pool.offer(&all, DB1, Millis(10), |_| true), Offer::Change(second));
        assert_eq!(pool.offer(&all, DB1, Millis(11), |_| true), Offer::Open);
    }

    #[test]
    fn a_lease_leaves_one_backend_to_the_others() {
        let (mut all, mut pool) = (Slots::new(), Pool::new(3, 9));
        let now = Millis(10);
        let first = ready(&mut all, &mut pool, DB0, 5);
        assert_eq!(pool.offer_lease(&all, DB0, now), Offer::Open);
        let second = ready(&mut all, &mut pool, DB0, 6);
        assert_eq!(pool.offer_lease(&all, DB0, now), Offer::Take(second));
        if let Some(backend) = all.get_mut(second) {
            backend.lease_to(first);
        }
        assert_eq!(pool.offer(&all, DB0, now, |backend| backend.has_room(&Limits::default())), Offer::Take(first));
        assert_eq!(pool.offer_lease(&all, DB0, now), Offer::Open);
        let third = ready(&mut all, &mut pool, DB0, 1);
        assert_eq!(pool.offer_lease(&all, DB1, now), Offer::Change(third));
        if let Some(backend) = all.get_mut(third) {
            backend.lease_to(first);
        }
        assert_eq!(pool.offer_lease(&all, DB0, now), Offer::Wait);
        assert!(Pool::new(1, 9).never_leases());
    }

    #[test]
    fn all_who_hold_a_backend_are_counted_and_one_is_left() {
        let (mut all, mut pool) = (Slots::new(), Pool::new(3, 9));
        let now = Millis(10);
        assert!(pool.may_hold(&all, Id::NONE, now));
        let first = ready(&mut all, &mut pool, DB0, 1);
        assert!(pool.may_hold(&all, first, now), "another one can be opened");
        pool.pause(Millis(11));
        assert!(!pool.may_hold(&all, first, now) && !pool.may_hold(&all, Id::NONE, now));
        pool.pause(now);
        let second = ready(&mut all, &mut pool, DB0, 1);
        if let Some(backend) = all.get_mut(first) {
            backend.begin_upload(first, now);
        }
        assert!(pool.may_hold(&all, second, now) && pool.may_hold(&all, Id::NONE, now));
        let third = ready(&mut all, &mut pool, DB0, 1);
        if let Some(backend) = all.get_mut(second) {
            backend.lease_to(first);
        }
        assert!(!pool.may_hold(&all, third, now), "it is left to the others");
        assert!(pool.may_hold(&all, second, now), "it is held already");
        if let Some(backend) = all.get_mut(third) {
            backend.drain();
        }
        assert!(!pool.may_hold(&all, second, now), "what takes nothing more is of no use to the others");
    }
}
