//! What a proxy is told at its start.
//!
//! Plain values; where they come from is the configuration's business, and what they bring about that of the parts that
//! read them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::command::Policy;
use crate::limits::{Limits, Timeouts};
use crate::read_from::ReadFrom;
use crate::recent::RecentWrites;
use crate::ring::{Member, Ring, Spread};
use crate::slots::Id;
use crate::subscription::hidden::HiddenSubscribers;
use crate::users::{Credentials, Users};

/// What a proxy is told at its start; it never changes.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it listens, as shown to people.
    pub listen: String,
    /// The servers' addresses, as shown to people, in the order of the ring.
    pub servers: Vec<String>,
    /// The addresses of each server's replicas, in the order of `servers`; it may be shorter.
    pub replicas: Vec<Vec<String>>,
    /// Where reads go to.
    pub read_from: ReadFrom,
    /// The zone of this host; servers in it are read first.
    pub zone: Option<String>,
    /// Those of them that are the names of masters: where they are it is told by `Proxy::handle_moved`. Nobody stands
    /// in for them.
    pub masters: Vec<String>,
    /// Whether a server that is down is stood in for by the next one of the ring. In a cluster nobody does.
    pub failover: bool,
    /// Whether the servers are nodes of a Redis Cluster, each with some of the slots: those of the settings are where
    /// it is found, and the others it tells (`Proxy::handle_slot_map`).
    pub cluster: bool,
    /// Where clients that insist on a cluster reach this proxy, which they are told is its only node: `host:port`. With
    /// `None` there is no cluster for them.
    pub cluster_announce: Option<String>,
    /// How keys are spread over the servers.
    pub spread: Spread,
    /// Their names and weights in the ring, in their order; empty where the ring knows neither.
    pub members: Vec<Member>,
    /// Whether a command is sent to several servers; if not, it is refused, as the original rmux did.
    pub multi_key: bool,
    /// Whether the replies to scripts are made sure of, each by a question behind it.
    pub strict_replies: bool,
    /// The most connections to one server; this proxy's share of them.
    pub pool_size: usize,
    /// The most of them that clients have for themselves at one time, its share as well; one is always left to the
    /// others.
    pub lease_max: usize,
    /// How long each kind of waiting may last.
    pub timeouts: Timeouts,
    /// How much of each thing it may hold.
    pub limits: Limits,
    /// Who may be a client.
    pub users: Users,
    /// Who rmux is to the servers; `None` where they ask for no password.
    pub credentials: Option<Credentials>,
    /// The file that their password comes from, if it does. The shell reads it again (`Proxy::handle_password`).
    pub password_file: Option<PathBuf>,
    /// Which commands are allowed, denied or declared.
    pub policy: Policy,
    /// For `INFO`.
    pub process_id: u32,
    /// Spreads the probes of many hosts: a number of this run, and the number of this proxy among its workers added.
    pub seed: u64,
    /// The other proxies of the same pool.
    pub workers: Workers,
}

/// The proxies that share a pool's listener, as far as they know of each other: how many clients all of them have, and
/// numbers for clients that no two of them give out.
#[derive(Debug, Clone)]
pub struct Workers {
    number: u64,
    count: u64,
    clients: Arc<AtomicUsize>,
    hidden: Arc<HiddenSubscribers>,
    recent: Arc<RecentWrites>,
}

impl Workers {
    /// Of this many proxies, the first. `count` is at least 1.
    pub fn first_of(count: usize) -> Workers {
        let (clients, hidden, recent) = Default::default();
        Workers { number: 0, count: count as u64, clients, hidden, recent }
    }

    /// The one with this number, of the same ones. `number` is below their count.
    pub fn nth(&self, number: usize) -> Workers {
        Workers { number: number as u64, ..self.clone() }
    }

    /// The number of a client of this one, as `CLIENT ID` tells it.
    pub(super) fn client_number(&self, id: Id) -> u64 {
        (u64::from(id.generation()) - 1) * self.count + self.number + 1
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.count as usize
    }

    /// A number that no other of them gives out, if each of them counts `nth` from 0.
    pub(super) fn own_number(&self, nth: u64) -> u64 {
        nth * self.count + self.number
    }

    /// True if there is one only.
    pub(super) fn is_alone(&self) -> bool {
        self.count == 1
    }

    /// The numbers of all but this one.
    pub(super) fn others(&self) -> impl Iterator<Item = usize> + use<> {
        let own = self.number;
        (0..self.count).filter(move |&number| number != own).map(|number| number as usize)
    }

    /// How many clients all of them have at this moment.
    pub(super) fn clients(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }

    /// Those of the clients of all of them that hear messages, and that no server sees.
    pub(super) fn hidden_subscribers(&self) -> Arc<HiddenSubscribers> {
        Arc::clone(&self.hidden)
    }

    /// The keys that clients of all of them have written of late.
    pub(super) fn recent_writes(&self) -> &RecentWrites {
        &self.recent
    }

    pub(super) fn on_accepted(&self) {
        self.clients.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn on_reaped(&self) {
        self.clients.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Settings {
    /// The defaults, for these servers; listening nowhere in particular.
    pub fn new(servers: Vec<String>) -> Settings {
        Settings {
            listen: String::new(),
            servers,
            replicas: Vec::new(),
            read_from: ReadFrom::Master,
            zone: None,
            masters: Vec::new(),
            failover: true,
            cluster: false,
            cluster_announce: None,
            spread: Spread::default(),
            members: Vec::new(),
            multi_key: true,
            strict_replies: false,
            pool_size: 50,
            lease_max: 50,
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            users: Default::default(),
            credentials: None,
            password_file: None,
            policy: Default::default(),
            process_id: 1,
            seed: 1,
            workers: Workers::first_of(1),
        }
    }

    /// The replicas of the server in this place that are connected to: none, if no reads go there.
    pub fn replicas_of(&self, place: usize) -> &[String] {
        match self.read_from {
            ReadFrom::Master => &[],
            ReadFrom::PreferReplica | ReadFrom::Replica => self.replicas.get(place).map_or(&[], Vec::as_slice),
        }
    }

    /// All of them: those of the first place, of the second one …
    pub fn all_replicas(&self) -> impl Iterator<Item = &String> {
        (0..self.servers.len()).flat_map(|place| self.replicas_of(place))
    }

    /// Whether a server that is down is stood in for by another one.
    pub(super) fn has_failover(&self) -> bool {
        self.failover && !self.cluster
    }

    /// The ring of the servers; of a cluster, one of no meaning.
    pub(super) fn ring(&self) -> Ring {
        match self.members.is_empty() {
            _ if self.cluster => Ring::new(1),
            true => Ring::new(self.servers.len()),
            false => Ring::of(self.spread.distribution, &self.members),
        }
    }

    /// Whether this server is the name of a master.
    pub(super) fn is_master(&self, server: &str) -> bool {
        self.masters.iter().any(|master| master == server)
    }

    /// A number that this run of rmux has for itself; all proxies of a pool have the same.
    pub(super) fn run(&self) -> u64 {
        self.seed.wrapping_sub(self.workers.number)
    }
}
