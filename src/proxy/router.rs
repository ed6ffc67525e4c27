//! The router: which server has a key now.
//!
//! Owns the ring, who of the servers is up, and the epoch. Knows commands as far as their keys go; knows no
//! connections, no clients and no health rules: that a server is up or down it is told (`set_up`).
//!
//! ```text
//!   key ─► tag ─► hash ─► cell of the ring ─► its server ─ is down? ─► the next one that is up (with failover)
//!          hash_of        ╰──────────────── route_hash ────────────────╯
//! ```
//!
//! A place in the ring is a number of its own: other settings give a server another one, or none. A place may have
//! replicas besides its server (`replicas`): reads go there, if the settings say so; all else goes to the server.
//!
//! A cluster has a table of slots instead of a ring (`slot_table`), in which nobody stands in for anybody. Keys belong
//! together there exactly if they have the same slot, whoever has that now.
//!
//! Invariants: the epoch changes exactly when the server of some key has become another one, so a client's order over
//! such a change can be kept; `part_of_server` holds [`NO_PART`] for every server but between `part_for` and
//! `forget_parts`.

use std::sync::Arc;

use super::replicas::{Reader, Replicas};
use super::settings::Settings;
use super::slot_table::{self, SlotTable, slot_in};
use crate::command::Command;
use crate::resp::Arg;
use crate::ring::{Member, Ring, ServerIndex, Spread, UpSet};
use crate::server_id::ServerId;
use crate::timer::Millis;

/// The part of a server that has none.
const NO_PART: u16 = u16::MAX;
/// The place of a server that is not in the ring.
const NO_PLACE: u16 = u16::MAX;

/// Where a request goes.
pub(super) enum Route {
    /// To this server; the second is the hash of the key that says so.
    To(ServerId, u32),
    /// Nowhere, because no server of its is up.
    Down,
    /// Nowhere, because nobody in the cluster has its slot.
    Unserved,
    /// Nowhere as a whole, because its keys live on several servers.
    CrossSlot,
    /// Nowhere, because it has not the arguments that it needs.
    Arity,
    /// Nowhere, because no single server could answer it right.
    Unsupported,
}

impl Route {
    /// The server, if there is one.
    pub fn server(&self) -> Option<ServerId> {
        match self {
            Route::To(server, _) => Some(*server),
            _ => None,
        }
    }
}

/// How a hash finds its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lookup {
    /// By the ring; if its server is down, the next one stands in.
    RingAndNext,
    /// By the ring, and only by that.
    Ring,
    /// By the table of a cluster's slots.
    Slots,
}

impl Lookup {
    fn of(settings: &Settings) -> Lookup {
        match settings.has_failover() {
            _ if settings.cluster => Lookup::Slots,
            true => Lookup::RingAndNext,
            false => Lookup::Ring,
        }
    }
}

/// Where keys live.
#[derive(Debug)]
pub(super) struct Router {
    /// Of a cluster: of no meaning.
    ring: Ring,
    up: UpSet,
    /// By their places.
    servers: Arc<[ServerId]>,
    /// By their slots.
    places: Vec<u16>,
    lookup: Lookup,
    /// True exactly when there is one server, and it has all keys.
    is_single: bool,
    /// Who has which slot, of a cluster alone.
    slots: Option<Box<SlotTable>>,
    /// How keys are spread over them.
    spread: Spread,
    /// True exactly when that is as the original does it: the whole key, by its hash, in its table.
    is_plain: bool,
    /// Their names and weights in the ring, if it knows those.
    members: Vec<Member>,
    /// Counts how often the server of some key has become another one, because a server went down or came back, or the
    /// settings are others.
    epoch: u32,
    /// Counts how often the servers have become others.
    revision: u64,
    /// A number for the servers of a cluster that there are; 0 in the beginning, and where there is none.
    mark: u64,
    /// Who answers reads besides.
    replicas: Replicas,
    /// One index for each server that there is, even if its address is given twice.
    distinct_servers: Vec<ServerId>,
    /// For each slot, its server's part of the request that is being split; `NO_PART` when it has none.
    part_of_server: Vec<u16>,
}

impl Router {
    /// A router for the servers of these settings, all of which are up.
    pub fn new(settings: &Settings, servers: impl Iterator<Item = ServerId>) -> Router {
        let mut router = Router {
            ring: Ring::new(1),
            up: UpSet::new(1),
            servers: Arc::new([]),
            places: Vec::new(),
            lookup: Lookup::of(settings),
            is_single: false,
            slots: None,
            spread: settings.spread,
            is_plain: true,
            members: Vec::new(),
            epoch: 0,
            revision: 0,
            mark: 0,
            replicas: Replicas::default(),
            distinct_servers: Vec::new(),
            part_of_server: Vec::new(),
        };
        router.set_servers(settings, servers.collect());
        router
    }

    /// The servers of these settings are these, in the order of the ring; all of them are up, until `set_up` says
    /// otherwise.
    pub fn set_servers(&mut self, settings: &Settings, servers: Vec<ServerId>) {
        self.set_spread(settings);
        if let Some(slots) = &mut self.slots {
            let place_now = |before: &ServerId| servers.iter().position(|now| now == before);
            slots.move_places(&self.servers.iter().map(place_now).collect::<Vec<_>>());
        }
        self.up = UpSet::new(servers.len());
        self.places = Vec::new();
        for (place, server) in servers.iter().enumerate() {
            self.places.resize(self.places.len().max(server.index() + 1), NO_PLACE);
            self.places[server.index()] = place as u16;
        }
        self.part_of_server = vec![NO_PART; self.places.len()];
        self.distinct_servers = Vec::new();
        for (place, address) in settings.servers.iter().enumerate() {
            if !settings.servers[..place].contains(address) {
                self.distinct_servers.push(servers[place]);
            }
        }
        for (place, _) in settings.servers.iter().enumerate().filter(|(_, address)| settings.is_master(address)) {
            self.up.leave_alone(ServerIndex(place as u16));
        }
        self.servers = servers.into();
    }

    fn set_spread(&mut self, settings: &Settings) {
        self.ring = settings.ring();
        (self.spread, self.members) = (settings.spread, settings.members.clone());
        self.is_plain = self.spread.is_plain() && !settings.cluster;
        self.is_single = self.ring.servers() == 1 && !settings.cluster;
        self.lookup = Lookup::of(settings);
        match settings.cluster {
            true if self.slots.is_none() => self.slots = Some(Box::new(SlotTable::new())),
            true => {}
            false => self.slots = None,
        }
    }

    /// Other settings hold, and perhaps there are other servers: these, in the order of the ring; all of those are up,
    /// until `set_up` says otherwise. If a key may have another server now, a new epoch begins.
    pub fn settle(&mut self, settings: &Settings, servers: Vec<ServerId>) {
        let has_others = *servers != *self.servers;
        self.revision += u64::from(has_others);
        let is_other = has_others || self.spread != settings.spread || self.members != settings.members;
        let is_other = is_other || self.lookup != Lookup::of(settings);
        if has_others {
            self.set_servers(settings, servers);
        } else if is_other {
            self.set_spread(settings);
        }
        if is_other {
            self.epoch = self.epoch.wrapping_add(1);
        }
    }

    /// A cluster's slots have these owners from here on, each a place among the servers.
    pub fn set_slots(&mut self, owner_of: impl Fn(u16) -> Option<usize>, now: Millis) {
        let Router { slots: Some(slots), replicas, .. } = self else { return };
        let mut is_other = false;
        slots.set_owners(owner_of, |before, after| {
            is_other = true;
            // Whose server is gone, or that had nobody, did not go from one to the other.
            if let (Some(before), Some(after)) = (before, after) {
                replicas.on_slot_moves(before, now);
                replicas.on_slot_moves(after, now);
            }
        });
        self.epoch = self.epoch.wrapping_add(u32::from(is_other));
    }

    /// A slot of a cluster has another owner: this server. False if it is none of those that there are.
    pub fn set_slot(&mut self, slot: u16, server: ServerId, now: Millis) -> bool {
        let Some(place) = self.place(server).map(ServerIndex::index) else { return false };
        let Router { slots: Some(slots), replicas, .. } = self else { return true };
        let before = slots.set_owner(slot, place);
        if before != Some(place) {
            for place in before.into_iter().flat_map(|before| [before, place]) {
                replicas.on_slot_moves(place, now);
            }
            self.epoch = self.epoch.wrapping_add(1);
        }
        true
    }

    /// The server that has this slot, whether it is up or not, as far as that is known.
    pub fn owner(&self, slot: u16) -> Option<ServerId> {
        self.slots.as_deref().and_then(|slots| slots.owner(slot)).map(|place| self.servers[place])
    }

    /// Who has which slot, if this is a cluster.
    #[inline]
    pub fn slots(&self) -> Option<&SlotTable> {
        self.slots.as_deref()
    }

    /// True exactly when there is one server: it has all keys, and nothing is hashed.
    #[inline]
    pub fn is_single(&self) -> bool {
        self.is_single
    }

    /// True exactly when keys may live on different servers.
    #[inline]
    pub fn has_several(&self) -> bool {
        !self.is_single()
    }

    /// The replicas of the servers.
    #[inline]
    pub fn replicas(&self) -> &Replicas {
        &self.replicas
    }

    /// The same, for who has something to tell of them.
    pub fn replicas_mut(&mut self) -> &mut Replicas {
        &mut self.replicas
    }

    /// These are the replicas of each place from here on; `is_near` says which servers are in rmux's own zone. Of the
    /// slots of all servers there are so many.
    pub fn set_replicas(
        &mut self,
        settings: &Settings,
        of_places: Vec<Vec<ServerId>>,
        is_near: impl Fn(ServerId) -> bool,
        slots: usize,
    ) {
        let of_places: Vec<_> = self.servers.iter().copied().zip(of_places).collect();
        self.replicas.set(settings.read_from, &of_places, is_near);
        self.part_of_server.resize(slots.max(self.part_of_server.len()), NO_PART);
    }

    /// Who answers a read of a key with this hash, for the client with this number.
    pub fn reader_of(&self, hash: u32, number: u32, now: Millis) -> Reader {
        let server = self.server_of(hash).and_then(|server| self.place(server));
        let owner = || match &self.slots {
            Some(slots) => slots.owner(slot_in(hash)),
            None => Some(self.ring.primary(hash).index()),
        };
        match server.map(ServerIndex::index).or_else(owner) {
            Some(place) => self.replicas.reader(place, number, server.is_some(), now),
            None => Reader::Master,
        }
    }

    /// All servers, in the order of the ring.
    pub fn servers(&self) -> impl ExactSizeIterator<Item = ServerId> + use<> {
        let servers = Arc::clone(&self.servers);
        (0..servers.len()).map(move |place| servers[place])
    }

    /// The first of them.
    #[inline]
    pub fn first_server(&self) -> ServerId {
        self.servers[0]
    }

    /// How often the servers have become others.
    pub fn changes(&self) -> u64 {
        self.revision
    }

    /// A number for the servers that there are: how often they have become others, or in a cluster one that other
    /// proxies have for the same servers, too.
    pub fn revision(&self) -> u64 {
        if self.mark > 0 { self.mark } else { self.revision }
    }

    /// This is that number for the servers of a cluster from here on.
    pub fn set_revision(&mut self, mark: u64) {
        self.mark = mark;
    }

    /// The place of a server in the ring, if it has one.
    #[inline]
    fn place(&self, server: ServerId) -> Option<ServerIndex> {
        let place = *self.places.get(server.index())?;
        (self.servers.get(usize::from(place)) == Some(&server)).then_some(ServerIndex(place))
    }

    /// One server for each address, in the order of the ring.
    pub fn distinct_servers(&self) -> &[ServerId] {
        &self.distinct_servers
    }

    /// Those of them that are up.
    pub fn distinct_servers_up(&self) -> impl Iterator<Item = ServerId> {
        self.distinct_servers.iter().copied().filter(|&server| self.is_up(server))
    }

    /// True exactly when requests may go to this server.
    #[inline]
    pub fn is_up(&self, server: ServerId) -> bool {
        self.place(server).is_some_and(|place| self.up.is_up(place))
    }

    /// True exactly when requests may go to this server, or reads to this replica.
    pub fn takes_requests(&self, server: ServerId) -> bool {
        self.is_up(server) || self.replicas.is_up(server)
    }

    /// True exactly when requests may go to every server.
    pub fn is_all_up(&self) -> bool {
        self.up.all_up()
    }

    /// True exactly when there is one server, and it is down.
    #[inline]
    pub fn is_single_down(&self) -> bool {
        self.is_single() && !self.up.is_up(ServerIndex(0))
    }

    /// A server went down or came back. Where others stand in for one that is down, a new epoch begins.
    pub fn set_up(&mut self, server: ServerId, is_up: bool) {
        let Some(place) = self.place(server) else { return };
        if self.up.set(place, is_up) && self.lookup == Lookup::RingAndNext && self.has_several() {
            self.epoch = self.epoch.wrapping_add(1);
        }
    }

    /// The number of the present epoch: as long as it is the same, so is the server of every key.
    #[inline]
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The hash of a key, or of its tag.
    #[inline]
    pub fn hash_of(&self, key: &[u8]) -> u32 {
        if self.is_plain { Ring::hash(key) } else { self.hash_otherwise(key) }
    }

    #[inline(never)]
    fn hash_otherwise(&self, key: &[u8]) -> u32 {
        match self.lookup {
            Lookup::Slots => slot_table::hash_of(key),
            Lookup::Ring | Lookup::RingAndNext => self.ring.place_of(self.spread.hash(key)),
        }
    }

    /// The server that has this hash now; `None` when it is down, and, with failover, all others are, too.
    #[inline]
    pub fn server_of(&self, hash: u32) -> Option<ServerId> {
        self.server_of_any::<false>(hash)
    }

    /// The same for who decides nothing: `None` also for a slot that may be half moved.
    #[inline]
    pub fn plain_server_of(&self, hash: u32) -> Option<ServerId> {
        self.server_of_any::<true>(hash)
    }

    #[inline]
    fn server_of_any<const IS_PLAIN: bool>(&self, hash: u32) -> Option<ServerId> {
        let server = match self.lookup {
            Lookup::RingAndNext => self.ring.server(hash, &self.up)?,
            Lookup::Ring => Some(self.ring.primary(hash)).filter(|&server| self.up.is_up(server))?,
            Lookup::Slots if IS_PLAIN => return self.server_of_plain_slot(slot_in(hash)),
            Lookup::Slots => return self.server_of_slot(slot_in(hash)),
        };
        Some(self.servers[server.index()])
    }

    #[inline(never)]
    fn server_of_plain_slot(&self, slot: u16) -> Option<ServerId> {
        if self.slots.as_deref()?.may_be_half_moved(slot) { None } else { self.server_of_slot(slot) }
    }

    /// Whether the slot of this hash may be half moved.
    #[inline]
    pub fn may_be_half_moved(&self, hash: u32) -> bool {
        self.slots.as_deref().is_some_and(|slots| slots.may_be_half_moved(slot_in(hash)))
    }

    /// Whether it is.
    pub fn is_half_moved(&mut self, hash: u32, now: Millis) -> bool {
        self.slots.as_deref_mut().is_some_and(|slots| slots.is_half_moved(slot_in(hash), now))
    }

    /// A node has said that this slot is half moved: it is taken to be until then.
    pub fn on_half_moved(&mut self, slot: u16, until: Millis) {
        if let Some(slots) = self.slots.as_deref_mut() {
            slots.on_half_moved(slot, until);
        }
    }

    /// The server that has this slot, if it is up. As long as nobody has said who has which, it is any that is.
    #[inline(never)]
    fn server_of_slot(&self, slot: u16) -> Option<ServerId> {
        let slots = self.slots.as_deref()?;
        match slots.owner(slot) {
            Some(place) if self.up.is_up(ServerIndex(place as u16)) => Some(self.servers[place]),
            None if !slots.is_known() => self.route_any().server(),
            _ => None,
        }
    }

    /// Whether keys with these hashes belong together: one server answers requests that have both.
    #[inline]
    pub fn is_together(&self, one: u32, other: u32) -> bool {
        match self.lookup {
            Lookup::Slots => slot_in(one) == slot_in(other),
            Lookup::Ring | Lookup::RingAndNext => self.server_of(one) == self.server_of(other),
        }
    }

    /// The cell of the ring that a hash falls into; its server, who stands in for that one, and who for both, as far as
    /// there are so many, all others being up. Of the servers of these settings.
    pub fn line_of(&self, settings: &Settings, hash: u32, most: usize) -> (usize, Vec<ServerId>) {
        if let Some(slots) = &self.slots {
            let slot = slot_in(hash);
            return (usize::from(slot), slots.owner(slot).map(|place| self.servers[place]).into_iter().collect());
        }
        let is_same = |a: ServerIndex, b: ServerIndex| settings.servers[a.index()] == settings.servers[b.index()];
        let has_stand_in = self.lookup == Lookup::RingAndNext
            && !settings.is_master(&settings.servers[self.ring.primary(hash).index()]);
        let line = self.ring.line_of(hash, if has_stand_in { most } else { 1 }, &is_same);
        (self.ring.cell(hash), line.into_iter().map(|place| self.servers[place.index()]).collect())
    }

    /// The server that has this hash now.
    #[inline]
    pub fn route_hash(&self, hash: u32) -> Route {
        match self.server_of(hash) {
            Some(server) => Route::To(server, hash),
            None => self.route_nowhere(hash),
        }
    }

    #[cold]
    fn route_nowhere(&self, hash: u32) -> Route {
        let is_unserved = self.slots().is_some_and(|slots| slots.is_known() && slots.owner(slot_in(hash)).is_none());
        if is_unserved { Route::Unserved } else { Route::Down }
    }

    /// The server of this key.
    #[inline]
    pub fn route_key(&self, key: &[u8]) -> Route {
        self.route_hash(self.hash_of(key))
    }

    /// The server for a request without a key: the first one that is up.
    pub fn route_any(&self) -> Route {
        match (0..).zip(&*self.servers).find(|&(place, _)| self.up.is_up(ServerIndex(place))) {
            Some((_, &server)) => Route::To(server, 0),
            None => Route::Down,
        }
    }

    /// To this server, or nowhere: no other can stand in.
    pub fn route_pinned(&self, server: ServerId) -> Route {
        if self.is_up(server) { Route::To(server, 0) } else { Route::Down }
    }

    /// The server of all keys of a request.
    #[inline]
    pub fn route_keys(&self, command: &Command, request: &[u8], args: &[Arg]) -> Route {
        if self.is_single() {
            return self.route_any();
        }
        let arg = |i: usize| args[i].of(request);
        let span = match command.key_span(args.len(), arg) {
            Ok(span) => span,
            Err(_) if !command.arity_allows(args.len()) => return Route::Arity,
            // Any server will say what is wrong with it.
            Err(_) => return self.route_any(),
        };
        if command.reads_by_pattern(args.len(), arg) {
            return Route::Unsupported;
        }
        let mut keys = span.iter().map(|index| self.hash_of(arg(index as usize)));
        let Some(first) = keys.next() else {
            return self.route_any();
        };
        let route = self.route_hash(first);
        if let Route::To(server, _) = route {
            for hash in keys {
                if self.lookup == Lookup::Slots && !self.is_together(first, hash) {
                    return Route::CrossSlot;
                }
                match self.route_hash(hash) {
                    Route::To(other, _) if other == server => {}
                    Route::To(..) => return Route::CrossSlot,
                    other => return other,
                }
            }
        }
        route
    }

    /// The part that keys with this hash, at this server, have of the request that is being split: that of the server,
    /// or in a cluster that of the slot. If there is none yet, it is the one that `add` makes.
    #[inline]
    pub fn part_for(&mut self, server: ServerId, hash: u32, add: impl FnOnce() -> u16) -> u16 {
        match &mut self.slots {
            Some(slots) => slots.part_for(slot_in(hash), add),
            None => self.first_part_at(server, add),
        }
    }

    /// The part of this server; if it has none yet, the one that `add` makes.
    #[inline]
    pub fn first_part_at(&mut self, server: ServerId, add: impl FnOnce() -> u16) -> u16 {
        let part = &mut self.part_of_server[server.index()];
        if *part == NO_PART {
            *part = add();
        }
        *part
    }

    /// A request was split, over these servers and hashes.
    pub fn forget_parts(&mut self, parts: impl Iterator<Item = (ServerId, u32)>) {
        for (server, hash) in parts {
            self.part_of_server[server.index()] = NO_PART;
            if let Some(slots) = &mut self.slots {
                slots.forget_part(slot_in(hash));
            }
        }
    }
}

#[cfg(test)]
impl Router {
    /// The server that has this key now.
    pub fn server_of_key(&self, key: &[u8]) -> Option<ServerId> {
        self.server_of(self.hash_of(key))
    }

    /// The ring itself.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }
}
