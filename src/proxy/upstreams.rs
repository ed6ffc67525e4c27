//! The upstreams: the servers, their pools, and the connections to them.
//!
//! Owns their health, figures and pace, and every backend from `open` to `reap`. It is the only one that opens, leases
//! (by its pools), closes and reaps a backend, and that says whether a server is up. Knows no keys, no requests and no
//! clients, but for the ids of those who hold a connection or wait for one.
//!
//! ```text
//!   open ─► Connecting … Ready ─► close: what was in flight is answered by Lost ─► reap: the id is dead
//! ```
//!
//! Invariants: a backend that is pooled and not closed is in the pool of its server, and no other is; what is closed
//! has nothing in flight.

mod figures;

use std::mem;

use super::mastership::Mastership;
use super::settings::Settings;
use super::whereabouts::{Renewal, Whereabouts};
use crate::backend::handshake::Introduction;
use crate::backend::pace::Pace;
use crate::backend::{Backend, Unanswered};
use crate::buffer::Arena;
use crate::limits::Limits;
use crate::pool::{Offer, Pool};
use crate::server::{Health, Seen, Server};
use crate::server_id::ServerId;
use crate::session::Profile;
use crate::slots::{Id, Slots};
use crate::stats::ServerStats;
use crate::timer::{Alarm, Millis, Wheel};
use crate::{reply, sha1};

/// What a request for the word begins with; the rest is the word, as the reply has it.
pub(super) const ECHO: &[u8] = b"*2\r\n$4\r\nECHO\r\n";

/// A server, with all that belongs to it.
#[derive(Debug)]
struct Endpoint {
    id: ServerId,
    /// As shown to people.
    address: String,
    /// True exactly when it has no place in the ring, and answers reads alone.
    is_replica: bool,
    /// When its last connections are to be closed; `None` as long as requests are sent there.
    retired_until: Option<Millis>,
    health: Server,
    pool: Pool,
    stats: ServerStats,
    /// Since when it is as it is.
    changed_at: Millis,
    /// Why it last was not well.
    why: String,
    /// When to look at it again, while it is down.
    probe: Alarm,
    /// How fast connections are made.
    pace: Pace,
    whereabouts: Whereabouts,
}

/// All servers, and all connections to them.
#[derive(Debug)]
pub(super) struct Upstreams {
    /// By their slots. One that is retired stays until its slot is given to another.
    endpoints: Vec<Endpoint>,
    /// True while some connection is to be closed as soon as nobody has it for himself: its server is retired, or has
    /// more of them than it may.
    is_shrinking: bool,
    /// True while the connections of some server do not follow its name.
    is_renewing: bool,
    backends: Slots<Backend>,
    /// What the server that shook hands last tells about itself.
    introduction: Introduction,
    /// What is asked behind scripts, where their replies are not trusted.
    guard: Box<[u8]>,
    /// The state of a xorshift generator, which spreads what would come at once; never 0.
    random: u64,
}

/// A backend that is closed: what it was, and what is to be done about what it owed.
#[derive(Debug)]
#[must_use]
pub(super) struct Lost {
    pub server: ServerId,
    pub profile: Profile,
    pub is_subscription: bool,
    /// What it has shown of its server.
    pub seen: Seen,
    /// When it began to connect, or became ready.
    pub began_at: Millis,
    /// True if it was asked anything that it has not answered.
    pub has_asked: bool,
    /// How many of its requests in flight somebody waited for.
    pub awaited: usize,
    pub unanswered: Unanswered,
}

impl Endpoint {
    fn new(id: ServerId, address: &str, is_replica: bool, settings: &Settings, now: Millis) -> Endpoint {
        Endpoint {
            id,
            address: address.to_owned(),
            is_replica,
            retired_until: None,
            health: Server::new(settings.timeouts.failover_after_ms, has_stand_in(settings, address, is_replica)),
            pool: Pool::new(settings.pool_size, settings.lease_max),
            stats: ServerStats::default(),
            changed_at: now,
            why: String::new(),
            probe: Alarm::default(),
            whereabouts: Whereabouts::new(settings.is_master(address)),
            pace: Pace::new(settings.limits.connects_per_second, settings.pool_size),
        }
    }
}

/// Whether others take the keys of a server that is down, and what it has is lost to clients then: it is given time. A
/// replica is not, since others have what it has; and nobody stands in for a master that sentinels watch.
fn has_stand_in(settings: &Settings, server: &str, is_replica: bool) -> bool {
    settings.has_failover() && settings.servers.len() > 1 && !is_replica && !settings.is_master(server)
}

impl Upstreams {
    /// The servers of these settings, and behind them their replicas, without connections.
    pub fn new(settings: &Settings, now: Millis) -> Upstreams {
        let ids = (0..).map(ServerId::of_index);
        let servers = settings.servers.iter().map(|address| (address, false));
        let replicas = settings.all_replicas().map(|address| (address, true));
        let endpoint = |(id, (address, is_replica)): (ServerId, (&String, bool))| {
            Endpoint::new(id, address, is_replica, settings, now)
        };
        Upstreams {
            endpoints: ids.zip(servers.chain(replicas)).map(endpoint).collect(),
            is_shrinking: false,
            is_renewing: false,
            backends: Slots::new(),
            introduction: Introduction::default(),
            guard: question(settings.seed),
            random: settings.seed | 1,
        }
    }

    /// The next number of the generator.
    pub fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// What the server that shook hands last tells about itself.
    pub fn introduction(&self) -> &Introduction {
        &self.introduction
    }

    /// A server has introduced itself on this connection, which has this number there.
    pub fn on_introduced(&mut self, id: Id, introduction: Introduction, number: i64) {
        self.introduction = introduction;
        if let Some(backend) = self.backends.get_mut(id) {
            backend.on_number(number);
        }
    }

    /// What is asked behind scripts, where their replies are not trusted.
    pub fn guard(&self) -> &[u8] {
        &self.guard
    }

    // The connections.

    /// A new connection, which is to be connected.
    pub fn open(&mut self, backend: Backend, connect_ms: u64, now: Millis) -> Id {
        let (server, is_pooled) = (backend.server(), backend.is_pooled());
        let id = self.backends.insert(backend);
        let endpoint = &mut self.endpoints[server.index()];
        endpoint.stats.connects += 1;
        endpoint.pace.take(now);
        if is_pooled {
            endpoint.pool.add(id);
            endpoint.health.on_connect(connect_ms, now);
        }
        id
    }

    /// The backend with this id, if it is still there; it may be closed.
    #[inline]
    pub fn backend(&self, id: Id) -> Option<&Backend> {
        self.backends.get(id)
    }

    /// The same, to be changed.
    #[inline]
    pub fn backend_mut(&mut self, id: Id) -> Option<&mut Backend> {
        self.backends.get_mut(id)
    }

    /// All of them, in no order that means anything.
    pub fn backends(&self) -> impl Iterator<Item = (Id, &Backend)> {
        self.backends.iter()
    }

    /// The same, to be changed.
    pub fn backends_mut(&mut self) -> impl Iterator<Item = (Id, &mut Backend)> {
        self.backends.iter_mut()
    }

    /// How many there are, in any state.
    pub fn backends_len(&self) -> usize {
        self.backends.len()
    }

    /// Closes a backend. `None` if it is closed.
    pub fn close<K: Copy>(&mut self, id: Id, wheel: &mut Wheel<K>, arena: &mut Arena) -> Option<Lost> {
        let backend = self.backends.get_mut(id).filter(|backend| !backend.is_closed())?;
        let server = backend.server();
        self.endpoints[server.index()].pool.remove(id);
        Some(Lost {
            server,
            profile: backend.profile(),
            is_subscription: backend.is_subscription(),
            seen: backend.seen(),
            began_at: backend.began_at(),
            has_asked: backend.has_asked(),
            awaited: backend.awaited(),
            unanswered: backend.close(wheel, arena),
        })
    }

    /// The socket of a closed backend is closed: its id is dead.
    pub fn reap(&mut self, id: Id) {
        self.backends.remove(id);
    }

    /// A question that needs no answer but the word that it asks for is queued behind what this one was just given.
    pub fn push_guard(&mut self, id: Id, arena: &mut Arena) {
        if let Some(backend) = self.backends.get_mut(id) {
            backend.push(arena, &self.guard);
        }
    }

    // Their pools.

    /// The backends of a server, and who waits for one.
    #[inline]
    pub fn pool(&self, server: ServerId) -> &Pool {
        &self.endpoints[server.index()].pool
    }

    /// The same, for who comes to wait, or waits no longer.
    #[inline]
    pub fn pool_mut(&mut self, server: ServerId) -> &mut Pool {
        &mut self.endpoints[server.index()].pool
    }

    /// The backends in the pool of a server, the oldest first.
    pub fn backends_of(&self, server: ServerId) -> impl Iterator<Item = (Id, &Backend)> {
        self.pool(server).backends().iter().filter_map(|&id| Some((id, self.backends.get(id)?)))
    }

    /// Does this with each of them.
    pub fn for_each_of(&mut self, server: ServerId, mut act: impl FnMut(Id, &mut Backend)) {
        for &id in self.endpoints[server.index()].pool.backends() {
            if let Some(backend) = self.backends.get_mut(id) {
                act(id, backend);
            }
        }
    }

    /// The backend of a server that takes a request at once, if there is one: the oldest of this profile with room.
    #[inline]
    pub fn first_open(&self, server: ServerId, profile: Profile, has_room: impl Fn(&Backend) -> bool) -> Option<Id> {
        self.pool(server).first_open(&self.backends, profile, has_room)
    }

    /// Which backend of a server takes a request of anybody.
    #[inline]
    pub fn offer(&self, server: ServerId, profile: Profile, limits: &Limits, now: Millis) -> Offer {
        self.pool(server).offer(&self.backends, profile, now, |backend| backend.has_room(limits))
    }

    /// Which backend of a server a client can have for itself.
    pub fn offer_lease(&self, server: ServerId, profile: Profile, now: Millis) -> Offer {
        self.pool(server).offer_lease(&self.backends, profile, now)
    }

    /// Whether one client may hold this backend, besides those that are held already.
    pub fn may_hold(&self, id: Id, now: Millis) -> bool {
        let backend = self.backends.get(id);
        backend.is_some_and(|backend| self.pool(backend.server()).may_hold(&self.backends, id, now))
    }

    /// Whether this client can have this very backend for itself now.
    pub fn may_have(&self, client: Id, backend: Id, now: Millis) -> bool {
        self.backend(backend).is_some_and(|entry| {
            // One that is just being closed may still be somebody's affinity.
            entry.is_free_for(client) && self.may_hold(backend, now)
        })
    }

    /// True exactly when there is a server no backend of which can ever be held.
    pub fn never_leases_anywhere(&self) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.pool.never_leases())
    }

    // Which servers there are.

    /// All of them, by their slots; some may be retired.
    pub fn servers(&self) -> impl Iterator<Item = ServerId> {
        self.endpoints.iter().map(|endpoint| endpoint.id)
    }

    /// How many slots there are.
    pub fn slots(&self) -> usize {
        self.endpoints.len()
    }

    /// The server in this slot, which may be retired.
    pub fn server_in(&self, slot: usize) -> ServerId {
        self.endpoints[slot].id
    }

    /// The address of a server, as shown to people.
    pub fn address(&self, server: ServerId) -> &str {
        match self.endpoints.get(server.index()).filter(|endpoint| endpoint.id == server) {
            Some(endpoint) => &endpoint.address,
            None => "that is no more",
        }
    }

    /// A server with this address; one that is retired only if there is no other.
    pub fn find_server(&self, address: &str) -> Option<ServerId> {
        let found = self.endpoints.iter().filter(|endpoint| endpoint.address == address);
        found.min_by_key(|endpoint| endpoint.retired_until.is_some()).map(|endpoint| endpoint.id)
    }

    /// True exactly when this server answers reads alone.
    pub fn is_replica(&self, server: ServerId) -> bool {
        self.endpoints[server.index()].is_replica
    }

    /// True exactly when no request is sent to this server any more: it is retired, or gone.
    pub fn is_retired(&self, server: ServerId) -> bool {
        let endpoint = self.endpoints.get(server.index()).filter(|endpoint| endpoint.id == server);
        endpoint.is_none_or(|endpoint| endpoint.retired_until.is_some())
    }

    /// When the last connections of a server are to be closed, if it is retired.
    pub fn retired_until(&self, server: ServerId) -> Option<Millis> {
        self.endpoints.get(server.index()).filter(|endpoint| endpoint.id == server)?.retired_until
    }

    /// True exactly when there is any connection to this server, in any state and of any kind.
    pub fn has_backends(&self, server: ServerId) -> bool {
        self.backends().any(|(_, backend)| backend.server() == server)
    }

    /// No request is sent to this server any more, and its last connections are closed by then.
    pub fn retire(&mut self, server: ServerId, until: Millis) {
        let endpoint = &mut self.endpoints[server.index()];
        endpoint.retired_until = Some(until);
        endpoint.whereabouts.renewal = Renewal::Following;
    }

    /// Requests are sent to this server again, of which nothing is known but what it is asked now.
    pub fn revive(&mut self, server: ServerId, settings: &Settings) {
        let endpoint = &mut self.endpoints[server.index()];
        endpoint.retired_until = None;
        let has_stand_in = has_stand_in(settings, &endpoint.address, endpoint.is_replica);
        endpoint.health = Server::new(settings.timeouts.failover_after_ms, has_stand_in);
        endpoint.pool.pause(Millis(0));
    }

    /// One server more: in the slot of one that is retired and without connections, or in a new one.
    pub fn add_server(
        &mut self,
        former: Option<ServerId>,
        (address, is_replica): (&str, bool),
        settings: &Settings,
        now: Millis,
    ) -> ServerId {
        let id = former.map_or(ServerId::of_index(self.endpoints.len()), ServerId::successor);
        let endpoint = Endpoint::new(id, address, is_replica, settings, now);
        match former {
            Some(former) => self.endpoints[former.index()] = endpoint,
            None => self.endpoints.push(endpoint),
        }
        id
    }

    /// From here on these settings hold for the health of all servers, and for how fast connections are made.
    pub fn set_patience(&mut self, settings: &Settings) {
        for endpoint in &mut self.endpoints {
            let has_stand_in = has_stand_in(settings, &endpoint.address, endpoint.is_replica);
            endpoint.health.set_patience(settings.timeouts.failover_after_ms, has_stand_in);
            endpoint.pace.set(settings.limits.connects_per_second, settings.pool_size);
        }
    }

    /// True while some connection is to be closed as soon as nobody has it for himself.
    #[inline]
    pub fn is_shrinking(&self) -> bool {
        self.is_shrinking
    }

    /// Whether that is so from here on.
    pub fn set_shrinking(&mut self, is_shrinking: bool) {
        self.is_shrinking = is_shrinking;
    }

    /// True while the connections of some server do not follow its name.
    #[inline]
    pub fn is_renewing(&self) -> bool {
        self.is_renewing
    }

    /// Whether that is so from here on.
    pub fn set_renewing(&mut self, is_renewing: bool) {
        self.is_renewing = is_renewing;
    }

    /// Where a server is.
    pub fn whereabouts(&self, server: ServerId) -> &Whereabouts {
        &self.endpoints[server.index()].whereabouts
    }

    /// The same, to be changed; `None` if it is gone.
    pub fn whereabouts_mut(&mut self, server: ServerId) -> Option<&mut Whereabouts> {
        let endpoint = self.endpoints.get_mut(server.index()).filter(|endpoint| endpoint.id == server)?;
        Some(&mut endpoint.whereabouts)
    }

    /// Where the master of a place is; `None` if it is at an address of its own, or gone.
    pub fn mastership_mut(&mut self, server: ServerId) -> Option<&mut Mastership> {
        self.whereabouts_mut(server)?.master.as_mut()
    }

    // How they are.

    /// So many requests were given to a server.
    #[inline]
    pub fn count_requests(&mut self, server: ServerId, count: usize) {
        self.endpoints[server.index()].stats.requests += count as u64;
    }

    /// So many requests to a server were answered with an error of our own.
    pub fn count_errors(&mut self, server: ServerId, count: usize) {
        self.endpoints[server.index()].stats.errors += count as u64;
    }

    /// So many requests to a server were not answered in time.
    pub fn count_timeouts(&mut self, server: ServerId, count: usize) {
        self.count_errors(server, count);
        self.endpoints[server.index()].stats.timeouts += count as u64;
    }

    /// A connection to a server could not be made, or, where `failure` is `None`, has ended.
    pub fn count_lost(&mut self, server: ServerId, failure: Option<usize>) {
        let stats = &mut self.endpoints[server.index()].stats;
        match failure {
            Some(failure) => stats.failures[failure] += 1,
            None => stats.lost += 1,
        }
    }

    /// A server has become another since now, and, unless that is for the better, why.
    pub fn on_changed(&mut self, server: ServerId, before: Health, why: Option<String>, now: Millis) {
        let endpoint = &mut self.endpoints[server.index()];
        // To try one that is down is not yet to find it another.
        if before.is_up() || endpoint.health.health().is_up() {
            endpoint.stats.changes += 1;
            endpoint.changed_at = now;
        }
        endpoint.why = why.unwrap_or_else(|| mem::take(&mut endpoint.why));
    }

    /// How a server is.
    pub fn health(&self, server: ServerId) -> Health {
        self.endpoints[server.index()].health.health()
    }

    /// What is known about that, for who has something to tell; between `note` and `conclude`.
    pub fn health_mut(&mut self, server: ServerId) -> &mut Server {
        &mut self.endpoints[server.index()].health
    }

    /// True exactly when requests may go to every server.
    pub fn is_all_up(&self) -> bool {
        self.endpoints.iter().all(|endpoint| endpoint.retired_until.is_some() || endpoint.health.is_up())
    }

    /// Takes in what the connections to a server have shown so far, and when it was last heard otherwise. Returns how
    /// it was thought to be.
    pub fn note(&mut self, server: ServerId, heard_at: Millis, now: Millis) -> Health {
        let endpoint = &mut self.endpoints[server.index()];
        endpoint.health.on_heard(heard_at);
        for backend in endpoint.pool.backends().iter().filter_map(|&id| self.backends.get(id)) {
            endpoint.health.note(backend.seen(), now);
        }
        endpoint.health.health()
    }

    /// Something was told about a server, which was like `before`. Returns how it is, if that is something else.
    pub fn conclude(&mut self, server: ServerId, before: Health) -> Option<Health> {
        let endpoint = &mut self.endpoints[server.index()];
        let after = endpoint.health.health();
        if before.is_up() && !after.is_up() {
            endpoint.stats.downs += 1;
        }
        (mem::discriminant(&before) != mem::discriminant(&after)).then_some(after)
    }

    /// Makes no connection earlier than the server's health and pace say, and has it looked at in time; `key` is that
    /// look's.
    pub fn keep_pace<K: Copy>(&mut self, server: ServerId, wheel: &mut Wheel<K>, key: K, now: Millis) {
        let endpoint = &mut self.endpoints[server.index()];
        let pace_at = endpoint.pace.ready_at();
        endpoint.pool.pause(endpoint.health.retry_at().max(pace_at));
        let paced = Some(pace_at).filter(|&at| at > now);
        if let Some(at) = endpoint.health.next_look(now).into_iter().chain(paced).min() {
            endpoint.probe.set(wheel, key, at);
        }
    }

    /// The time has come to look at a server. `None` if it is retired, or gone; true exactly when it is down, and is to
    /// be probed.
    pub fn on_probe_due(&mut self, server: ServerId, now: Millis) -> Option<bool> {
        let endpoint = self.endpoints.get_mut(server.index()).filter(|endpoint| endpoint.id == server)?;
        endpoint.probe.on_fired();
        endpoint.retired_until.is_none().then(|| endpoint.health.on_probe_due(now))
    }

    /// True exactly when a connection to a server may be made now that is no probe.
    pub fn may_open(&self, server: ServerId, now: Millis) -> bool {
        let endpoint = &self.endpoints[server.index()];
        endpoint.retired_until.is_none() && endpoint.health.is_up() && endpoint.pool.has_room(now)
    }

    /// True exactly when a connection to a server may be made now that is to replace another one, whatever the size of
    /// its pool is.
    pub fn may_renew(&self, server: ServerId, now: Millis) -> bool {
        let endpoint = &self.endpoints[server.index()];
        endpoint.health.is_up() && endpoint.pool.is_unpaused(now)
    }
}

/// The request for a word that nobody knows who does not know `seed`, the number of this run.
pub(super) fn question(seed: u64) -> Box<[u8]> {
    let mut question = ECHO.to_vec();
    let digest = sha1::sha1(format!("strictReplies {seed}").as_bytes());
    let word: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    reply::bulk(&mut question, word.as_bytes());
    question.into()
}
