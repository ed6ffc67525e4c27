//! The replicas of each place in the ring, how they are, and which of them answers a read.
//!
//! A replica is a server like any other to `Upstreams`: it has a pool, connections, health and figures. But it has no
//! place in the ring, so no request comes to it unless it is chosen here:
//!
//! ```text
//!   key ─► place in the ring ─┬─ a write, or anything else ─► its server, or who stands in
//!                             └─ a read ─► its replicas, from the client's own on: the first that is well
//!                                          none is well ─► preferReplica: the server; if that is down, too, one that
//!                                                          has lost its master and still answers
//!                                                          replica: that one, or nowhere
//! ```
//!
//! Where rmux is told its own zone, those that are near go before those that are not: replicas, then the server, if it
//! may be read from, and then the replicas elsewhere.
//!
//! While slots of a cluster come to a server or leave it, its reads are its own: a replica of Redis knows nothing of a
//! slot that is on its way, and says that a key is not there which has gone ahead.
//!
//! Well is one whose server is well (`health`), and that said last, within some seconds, that it is connected to its
//! master and up to date (`replica_watch`). A client stays with its replica while that one is well, so what it reads
//! does not go back in time; clients are spread by their numbers. Where a server has no replicas, its reads are its
//! own, whatever the settings say.
//!
//! Knows no connections, no requests, no keys and no slots. Invariants: there are replicas exactly if the settings have
//! reads go to them, and name some; `positions` has the place in `all` of each.

use std::collections::BTreeMap;

use crate::read_from::ReadFrom;
use crate::server_id::ServerId;
use crate::timer::Millis;

/// What a replica says of itself, the best last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Link {
    /// It is no replica, or answers no reads: it does not without its master, or still loads its data.
    Useless,
    /// It has lost its master, or copies its data anew: what it has may be old.
    Behind,
    /// It was not asked yet.
    Unknown,
    /// It hears of each write.
    Connected,
}

/// A server that may answer reads.
#[derive(Debug, Clone, Copy)]
struct Replica {
    server: ServerId,
    /// Whose replica it is.
    place: u16,
    /// True exactly when its server is up.
    is_up: bool,
    /// True exactly when its server is well, too: nothing that it was asked waits in vain.
    is_well: bool,
    /// True exactly when it is in rmux's own zone, or rmux has none.
    is_near: bool,
    link: Link,
}

impl Replica {
    fn is_chosen(&self) -> bool {
        self.is_well && self.link == Link::Connected
    }

    fn is_last_resort(&self) -> bool {
        self.is_up && self.link != Link::Useless
    }
}

/// A place in the ring, or a node that has slots.
#[derive(Debug, Clone, Copy)]
struct Place {
    master: ServerId,
    /// Where its replicas are in the list of all.
    first: usize,
    count: usize,
    /// True exactly when its server is in rmux's own zone, or rmux has none.
    is_near: bool,
    /// Until then slots may be on their way to it, or from it.
    moving_until: Millis,
}

/// Who answers a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// The server that has the key, or whoever stands in.
    Master,
    /// This replica of its.
    Replica(ServerId),
    /// Nobody does now.
    Nobody,
}

/// All replicas.
#[derive(Debug, Default)]
pub(super) struct Replicas {
    read_from: ReadFrom,
    /// Those of one place behind those of another.
    all: Vec<Replica>,
    places: Vec<Place>,
    /// Where each is in `all`, by the slot of its server; [`NOWHERE`] for whatever is none.
    positions: Vec<u16>,
}

impl Replicas {
    /// These are the servers of all places from here on, and the replicas of each; `is_near` says which of them are in
    /// rmux's own zone. What is known of those that stay is kept.
    pub fn set(
        &mut self,
        read_from: ReadFrom,
        of_places: &[(ServerId, Vec<ServerId>)],
        is_near: impl Fn(ServerId) -> bool,
    ) {
        let before = std::mem::take(self);
        self.read_from = read_from;
        let moving: BTreeMap<usize, Place> = before.places.iter().map(|place| (place.master.index(), *place)).collect();
        for (place, (master, servers)) in of_places.iter().enumerate() {
            let known = moving.get(&master.index()).filter(|known| known.master == *master);
            let moving_until = known.map_or(Millis(0), |known| known.moving_until);
            let (first, count) = (self.all.len(), servers.len());
            self.places.push(Place { master: *master, first, count, is_near: is_near(*master), moving_until });
            for &server in servers {
                let (place, is_near) = (place as u16, is_near(server));
                let new = Replica { server, place, is_up: true, is_well: true, is_near, link: Link::Unknown };
                let known = before.find(server).copied().unwrap_or(new);
                self.positions.resize(self.positions.len().max(server.index() + 1), NOWHERE);
                self.positions[server.index()] = self.all.len() as u16;
                self.all.push(Replica { place, is_near, ..known });
            }
        }
    }

    /// True exactly when there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// All of them: those of the first place, of the second one …
    pub fn servers(&self) -> impl Iterator<Item = ServerId> {
        self.all.iter().map(|replica| replica.server)
    }

    fn find(&self, server: ServerId) -> Option<&Replica> {
        let position = usize::from(*self.positions.get(server.index())?);
        self.all.get(position).filter(|replica| replica.server == server)
    }

    fn find_mut(&mut self, server: ServerId) -> Option<&mut Replica> {
        let position = usize::from(*self.positions.get(server.index())?);
        self.all.get_mut(position).filter(|replica| replica.server == server)
    }

    /// True exactly when this server is one of them.
    pub fn has(&self, server: ServerId) -> bool {
        self.find(server).is_some()
    }

    /// True exactly when this server is one of them, and up.
    pub fn is_up(&self, server: ServerId) -> bool {
        self.find(server).is_some_and(|replica| replica.is_up)
    }

    /// True exactly when reads go to this one.
    pub fn is_read(&self, server: ServerId) -> bool {
        self.find(server).is_some_and(Replica::is_chosen)
    }

    /// What this one said last; [`Link::Unknown`] if it is none.
    pub fn link(&self, server: ServerId) -> Link {
        self.find(server).map_or(Link::Unknown, |replica| replica.link)
    }

    /// True if a key that was just written is read where it was.
    #[inline]
    pub fn heeds_writes(&self) -> bool {
        self.read_from == ReadFrom::PreferReplica && !self.is_empty()
    }

    /// How the server of a replica is. Nothing happens if it is none.
    pub fn set_health(&mut self, server: ServerId, is_up: bool, is_well: bool) {
        if let Some(replica) = self.find_mut(server) {
            (replica.is_up, replica.is_well) = (is_up, is_well);
            if !is_up {
                // It has to say so again when it is back.
                replica.link = replica.link.min(Link::Unknown);
            }
        }
    }

    /// A replica has not answered a read, and may have reasons that it knows better: before it is read from again, it
    /// has to say how it is. False if this is none.
    pub fn doubt(&mut self, server: ServerId) -> bool {
        let replica = self.find_mut(server);
        replica.map(|replica| replica.link = replica.link.min(Link::Unknown)).is_some()
    }

    /// What a replica says of itself. Returns what it said before, if that was something else.
    pub fn set_link(&mut self, server: ServerId, link: Link) -> Option<Link> {
        let replica = self.find_mut(server)?;
        let before = std::mem::replace(&mut replica.link, link);
        (before != link).then_some(before)
    }

    /// A replica, or the server of a place, is in rmux's own zone, or is not. Nothing happens if it is neither.
    pub fn set_near(&mut self, server: ServerId, is_near: bool) {
        if let Some(replica) = self.find_mut(server) {
            replica.is_near = is_near;
        }
        for place in self.places.iter_mut().filter(|place| place.master == server) {
            place.is_near = is_near;
        }
    }

    /// A slot is on its way to or from this place, or was until now.
    pub fn on_slot_moves(&mut self, place: usize, now: Millis) {
        if let Some(place) = self.places.get_mut(place) {
            place.moving_until = now + MOVING_MS;
        }
    }

    /// A node has said that of a slot: the server of a place, or a replica.
    pub fn on_slot_moves_at(&mut self, server: ServerId, now: Millis) {
        let place = match self.find(server) {
            Some(replica) => Some(usize::from(replica.place)),
            None => self.places.iter().position(|place| place.master == server),
        };
        place.into_iter().for_each(|place| self.on_slot_moves(place, now));
    }

    /// Who answers a read of a key of this place, for the client with this number. `is_master_up` says whether the
    /// place has a server now that takes its writes.
    pub fn reader(&self, place: usize, number: u32, is_master_up: bool, now: Millis) -> Reader {
        let Some(place) = self.places.get(place).filter(|place| place.count > 0) else { return Reader::Master };
        if is_master_up && place.moving_until > now {
            return Reader::Master;
        }
        let may_be_master = self.read_from == ReadFrom::PreferReplica;
        let well = |is_near| self.choose(place, number, is_near, Replica::is_chosen);
        let found = match well(true) {
            None if may_be_master && is_master_up && place.is_near => return Reader::Master,
            None => well(false),
            found => found,
        };
        match found {
            Some(server) => Reader::Replica(server),
            None if may_be_master && is_master_up => Reader::Master,
            None => match self.choose_near(place, number, Replica::is_last_resort) {
                Some(server) => Reader::Replica(server),
                None if may_be_master => Reader::Master,
                None => Reader::Nobody,
            },
        }
    }

    /// Who answers a read that a replica, `but`, did not answer.
    pub fn second_reader(&self, but: ServerId, number: u32, is_master_up: bool, now: Millis) -> Reader {
        let Some(first) = self.find(but) else { return Reader::Master };
        let place = &self.places[usize::from(first.place)];
        if is_master_up && (self.read_from == ReadFrom::PreferReplica || place.moving_until > now) {
            return Reader::Master;
        }
        let is_other = |replica: &Replica| replica.server != but;
        let other = self
            .choose_near(place, number, |replica| is_other(replica) && replica.is_chosen())
            .or_else(|| self.choose_near(place, number, |replica| is_other(replica) && replica.is_last_resort()));
        other.map_or(Reader::Nobody, Reader::Replica)
    }

    /// The first that is wanted of those that are near, or else of the others.
    fn choose_near(&self, place: &Place, number: u32, is_wanted: impl Fn(&Replica) -> bool) -> Option<ServerId> {
        let choose = |is_near| self.choose(place, number, is_near, &is_wanted);
        choose(true).or_else(|| choose(false))
    }

    /// The first that is wanted of those that are near, or of the others, from the client's own on.
    fn choose(
        &self,
        place: &Place,
        number: u32,
        is_near: bool,
        is_wanted: impl Fn(&Replica) -> bool,
    ) -> Option<ServerId> {
        let all = &self.all[place.first..place.first + place.count];
        let some = all.iter().filter(|replica| replica.is_near == is_near);
        let own = number as usize % some.clone().count().max(1);
        let mut from_own = some.clone().skip(own).chain(some.take(own));
        from_own.find(|replica| is_wanted(replica)).map(|replica| replica.server)
    }
}

/// The position of what is no replica.
const NOWHERE: u16 = u16::MAX;
/// So long after a node has said that a slot is on its way, or after one has come or gone, another may be, in
/// milliseconds.
const MOVING_MS: u64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    const A: ServerId = ServerId::of_index(1);
    const B: ServerId = ServerId::of_index(2);
    const C: ServerId = ServerId::of_index(3);
    /// The servers of the places.
    const X: ServerId = ServerId::of_index(4);
    const Y: ServerId = ServerId::of_index(5);
    const Z: ServerId = ServerId::of_index(6);
    const NOW: Millis = Millis(1_000);

    fn replicas(read_from: ReadFrom) -> Replicas {
        let mut replicas = Replicas::default();
        replicas.set(read_from, &[(X, vec![A, B]), (Y, Vec::new()), (Z, vec![C])], |_| true);
        for server in [A, B, C] {
            replicas.set_link(server, Link::Connected);
        }
        replicas
    }

    #[test]
    fn clients_are_spread_and_stay_where_they_are() {
        let mut replicas = replicas(ReadFrom::PreferReplica);
        for number in 0..10 {
            let own = if number % 2 == 0 { A } else { B };
            assert_eq!(replicas.reader(0, number, true, NOW), Reader::Replica(own));
            assert_eq!(replicas.reader(1, number, true, NOW), Reader::Master, "it has none");
            assert_eq!(replicas.reader(2, number, true, NOW), Reader::Replica(C));
        }
        replicas.set_health(A, false, false);
        assert_eq!(replicas.reader(0, 0, true, NOW), Reader::Replica(B));
        assert_eq!(replicas.reader(0, 1, true, NOW), Reader::Replica(B), "nobody else has moved");
        replicas.set_health(A, true, true);
        assert_eq!(replicas.reader(0, 0, true, NOW), Reader::Replica(B), "it has not said that it is up to date");
        assert_eq!(replicas.set_link(A, Link::Connected), Some(Link::Unknown));
        assert_eq!(replicas.reader(0, 0, true, NOW), Reader::Replica(A));
    }

    #[test]
    fn who_is_not_well_is_read_only_if_the_master_is_down() {
        let mut replicas = replicas(ReadFrom::PreferReplica);
        replicas.set_link(C, Link::Behind);
        assert_eq!(replicas.reader(2, 7, true, NOW), Reader::Master);
        assert_eq!(replicas.reader(2, 7, false, NOW), Reader::Replica(C));
        replicas.set_link(C, Link::Useless);
        assert_eq!(replicas.reader(2, 7, false, NOW), Reader::Master, "which says that it is down");
        replicas.set_link(C, Link::Connected);
        replicas.set_health(C, true, false);
        assert_eq!(replicas.reader(2, 7, true, NOW), Reader::Master, "silent");
        assert_eq!(replicas.second_reader(C, 7, true, NOW), Reader::Master);
        assert_eq!(replicas.second_reader(A, 7, false, NOW), Reader::Replica(B));
        assert_eq!(replicas.second_reader(C, 7, false, NOW), Reader::Nobody);
    }

    #[test]
    fn replica_means_none_but_those() {
        let mut replicas = replicas(ReadFrom::Replica);
        assert_eq!(replicas.second_reader(A, 0, true, NOW), Reader::Replica(B));
        replicas.set_link(A, Link::Behind);
        assert_eq!(replicas.reader(0, 0, true, NOW), Reader::Replica(B), "one that is well goes before");
        replicas.set_link(B, Link::Behind);
        assert_eq!(replicas.reader(0, 0, true, NOW), Reader::Replica(A), "one that answers goes before none");
        replicas.set_health(A, false, false);
        replicas.set_health(B, false, false);
        assert_eq!(replicas.reader(0, 0, true, NOW), Reader::Nobody);
        assert_eq!(replicas.reader(1, 0, true, NOW), Reader::Master, "it has none at all");
        assert!(!replicas.heeds_writes());
    }

    #[test]
    fn who_stays_keeps_what_is_known() {
        let mut replicas = replicas(ReadFrom::PreferReplica);
        replicas.set(ReadFrom::PreferReplica, &[(X, vec![B]), (Y, vec![A])], |_| true);
        assert_eq!((replicas.link(A), replicas.link(B)), (Link::Connected, Link::Connected));
        assert_eq!(replicas.reader(1, 3, true, NOW), Reader::Replica(A));
        assert!(!replicas.has(C) && replicas.servers().eq([B, A]));
    }

    #[test]
    fn while_slots_come_or_go_a_server_answers_its_reads_itself() {
        for read_from in [ReadFrom::PreferReplica, ReadFrom::Replica] {
            let mut replicas = replicas(read_from);
            replicas.on_slot_moves_at(A, NOW);
            replicas.on_slot_moves_at(Z, NOW);
            for place in [0, 2] {
                assert_eq!(replicas.reader(place, 0, true, NOW), Reader::Master);
                assert_ne!(replicas.reader(place, 0, false, NOW), Reader::Master, "old is better than nothing");
            }
            assert_eq!(replicas.second_reader(A, 0, true, NOW), Reader::Master);
            replicas.set(read_from, &[(Y, Vec::new()), (X, vec![A, B])], |_| true);
            assert_eq!(replicas.reader(1, 0, true, NOW), Reader::Master, "it stands elsewhere now");
            assert_eq!(replicas.reader(1, 0, true, NOW + MOVING_MS), Reader::Replica(A));
        }
    }

    #[test]
    fn who_is_near_goes_before_who_is_well_elsewhere() {
        let mut replicas = replicas(ReadFrom::PreferReplica);
        let all = [(X, vec![A, B, C])];
        let near = |replicas: &mut Replicas, near: &[ServerId]| {
            replicas.set(ReadFrom::PreferReplica, &all, |server| near.contains(&server));
        };
        let reader = |replicas: &Replicas, number| replicas.reader(0, number, true, NOW);
        near(&mut replicas, &[B, C]);
        assert_eq!([0, 1, 2, 3].map(|number| reader(&replicas, number)), [B, C, B, C].map(Reader::Replica));
        replicas.set_health(B, false, false);
        assert_eq!([0, 1].map(|number| reader(&replicas, number)), [C, C].map(Reader::Replica));
        replicas.set_near(C, false);
        assert_eq!(reader(&replicas, 0), Reader::Replica(A), "nobody who is near is well");
        replicas.set_near(X, true);
        assert_eq!(reader(&replicas, 0), Reader::Master, "which is near");
        assert_eq!(replicas.reader(0, 0, false, NOW), Reader::Replica(A));
        near(&mut replicas, &[]);
        assert_eq!([0, 1].map(|number| reader(&replicas, number)), [A, C].map(Reader::Replica), "as without zones");
        let mut strict = Replicas::default();
        strict.set(ReadFrom::Replica, &all, |server| server == X);
        strict.set_link(A, Link::Connected);
        assert_eq!(strict.reader(0, 0, true, NOW), Reader::Replica(A), "the server is none");
    }
}
