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
//! Well is one whose server is well (`health`), and that said last, within some seconds, that it is connected to its
//! master and up to date (`replica_watch`). A client stays with its replica while that one is well, so what it reads
//! does not go back in time; clients are spread by their numbers. Where a server has no replicas, its reads are its
//! own, whatever the settings say.
//!
//! Knows no connections, no requests and no keys. Invariant: there are replicas exactly if the settings have reads go
//! to them, and name some.

use crate::read_from::ReadFrom;
use crate::server_id::ServerId;

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
    /// Where those of each place begin in `all`, and, last, how many there are.
    starts: Vec<usize>,
}

impl Replicas {
    /// These are the replicas of each place from here on. What is known of those that stay is kept.
    pub fn set(&mut self, read_from: ReadFrom, of_places: &[Vec<ServerId>]) {
        let before = std::mem::take(&mut self.all);
        self.read_from = read_from;
        self.starts.clear();
        for (place, servers) in of_places.iter().enumerate() {
            self.starts.push(self.all.len());
            for &server in servers {
                let known = before.iter().find(|replica| replica.server == server).copied();
                let new = Replica { server, place: 0, is_up: true, is_well: true, link: Link::Unknown };
                self.all.push(Replica { place: place as u16, ..known.unwrap_or(new) });
            }
        }
        self.starts.push(self.all.len());
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

    /// True exactly when this server is one of them.
    pub fn has(&self, server: ServerId) -> bool {
        self.all.iter().any(|replica| replica.server == server)
    }

    /// True exactly when this server is one of them, and up.
    pub fn is_up(&self, server: ServerId) -> bool {
        self.all.iter().any(|replica| replica.server == server && replica.is_up)
    }

    /// True exactly when reads go to this one.
    pub fn is_read(&self, server: ServerId) -> bool {
        self.all.iter().any(|replica| replica.server == server && replica.is_chosen())
    }

    /// What this one said last; [`Link::Unknown`] if it is none.
    pub fn link(&self, server: ServerId) -> Link {
        let found = self.all.iter().find(|replica| replica.server == server);
        found.map_or(Link::Unknown, |replica| replica.link)
    }

    /// True if a key that was just written is read where it was.
    #[inline]
    pub fn heeds_writes(&self) -> bool {
        self.read_from == ReadFrom::PreferReplica && !self.is_empty()
    }

    /// How the server of a replica is. Nothing happens if it is none.
    pub fn set_health(&mut self, server: ServerId, is_up: bool, is_well: bool) {
        if let Some(replica) = self.all.iter_mut().find(|replica| replica.server == server) {
            (replica.is_up, replica.is_well) = (is_up, is_well);
            if !is_up {
                // It has to say so again when it is back.
                replica.link = replica.link.min(Link::Unknown);
            }
        }
    }

    /// What a replica says of itself. Returns what it said before, if that was something else.
    pub fn set_link(&mut self, server: ServerId, link: Link) -> Option<Link> {
        let replica = self.all.iter_mut().find(|replica| replica.server == server)?;
        let before = std::mem::replace(&mut replica.link, link);
        (before != link).then_some(before)
    }

    /// Who answers a read of a key of this place, for the client with this number. `is_master_up` says whether the
    /// place has a server now that takes its writes.
    pub fn reader(&self, place: usize, number: u32, is_master_up: bool) -> Reader {
        if self.of(place).is_empty() {
            return Reader::Master;
        }
        let may_be_master = self.read_from == ReadFrom::PreferReplica;
        let found = match self.choose(place, number, Replica::is_chosen) {
            None if may_be_master && is_master_up => return Reader::Master,
            None => self.choose(place, number, Replica::is_last_resort),
            found => found,
        };
        match found {
            Some(server) => Reader::Replica(server),
            None if may_be_master => Reader::Master,
            None => Reader::Nobody,
        }
    }

    /// Who answers a read that a replica, `but`, did not answer.
    pub fn second_reader(&self, but: ServerId, number: u32, is_master_up: bool) -> Reader {
        let Some(first) = self.all.iter().find(|replica| replica.server == but) else { return Reader::Master };
        if self.read_from == ReadFrom::PreferReplica && is_master_up {
            return Reader::Master;
        }
        let place = usize::from(first.place);
        let is_other = |replica: &Replica| replica.server != but;
        let other = self
            .choose(place, number, |replica| is_other(replica) && replica.is_chosen())
            .or_else(|| self.choose(place, number, |replica| is_other(replica) && replica.is_last_resort()));
        other.map_or(Reader::Nobody, Reader::Replica)
    }

    fn of(&self, place: usize) -> &[Replica] {
        match (self.starts.get(place), self.starts.get(place + 1)) {
            (Some(&start), Some(&end)) => &self.all[start..end],
            _ => &[],
        }
    }

    /// The first that is wanted, from the client's own on.
    fn choose(&self, place: usize, number: u32, is_wanted: impl Fn(&Replica) -> bool) -> Option<ServerId> {
        let all = self.of(place);
        let (before, from) = all.split_at(number as usize % all.len().max(1));
        from.iter().chain(before).find(|replica| is_wanted(replica)).map(|replica| replica.server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ServerId = ServerId::of_index(1);
    const B: ServerId = ServerId::of_index(2);
    const C: ServerId = ServerId::of_index(3);

    fn replicas(read_from: ReadFrom) -> Replicas {
        let mut replicas = Replicas::default();
        replicas.set(read_from, &[vec![A, B], Vec::new(), vec![C]]);
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
            assert_eq!(replicas.reader(0, number, true), Reader::Replica(own));
            assert_eq!(replicas.reader(1, number, true), Reader::Master, "it has none");
            assert_eq!(replicas.reader(2, number, true), Reader::Replica(C));
        }
        replicas.set_health(A, false, false);
        assert_eq!(replicas.reader(0, 0, true), Reader::Replica(B));
        assert_eq!(replicas.reader(0, 1, true), Reader::Replica(B), "nobody else has moved");
        replicas.set_health(A, true, true);
        assert_eq!(replicas.reader(0, 0, true), Reader::Replica(B), "it has not said that it is up to date");
        assert_eq!(replicas.set_link(A, Link::Connected), Some(Link::Unknown));
        assert_eq!(replicas.reader(0, 0, true), Reader::Replica(A));
    }

    #[test]
    fn who_is_not_well_is_read_only_if_the_master_is_down() {
        let mut replicas = replicas(ReadFrom::PreferReplica);
        replicas.set_link(C, Link::Behind);
        assert_eq!(replicas.reader(2, 7, true), Reader::Master);
        assert_eq!(replicas.reader(2, 7, false), Reader::Replica(C));
        replicas.set_link(C, Link::Useless);
        assert_eq!(replicas.reader(2, 7, false), Reader::Master, "which says that it is down");
        replicas.set_link(C, Link::Connected);
        replicas.set_health(C, true, false);
        assert_eq!(replicas.reader(2, 7, true), Reader::Master, "silent");
        assert_eq!(replicas.second_reader(C, 7, true), Reader::Master);
        assert_eq!(replicas.second_reader(A, 7, false), Reader::Replica(B));
        assert_eq!(replicas.second_reader(C, 7, false), Reader::Nobody);
    }

    #[test]
    fn replica_means_none_but_those() {
        let mut replicas = replicas(ReadFrom::Replica);
        assert_eq!(replicas.second_reader(A, 0, true), Reader::Replica(B));
        replicas.set_link(A, Link::Behind);
        assert_eq!(replicas.reader(0, 0, true), Reader::Replica(B), "one that is well goes before");
        replicas.set_link(B, Link::Behind);
        assert_eq!(replicas.reader(0, 0, true), Reader::Replica(A), "one that answers goes before none");
        replicas.set_health(A, false, false);
        replicas.set_health(B, false, false);
        assert_eq!(replicas.reader(0, 0, true), Reader::Nobody);
        assert_eq!(replicas.reader(1, 0, true), Reader::Master, "it has none at all");
        assert!(!replicas.heeds_writes());
    }

    #[test]
    fn who_stays_keeps_what_is_known() {
        let mut replicas = replicas(ReadFrom::PreferReplica);
        replicas.set(ReadFrom::PreferReplica, &[vec![B], vec![A]]);
        assert_eq!((replicas.link(A), replicas.link(B)), (Link::Connected, Link::Connected));
        assert_eq!(replicas.reader(1, 3, true), Reader::Replica(A));
        assert!(!replicas.has(C) && replicas.servers().eq([B, A]));
    }
}
