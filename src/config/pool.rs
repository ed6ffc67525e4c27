//! What the program and each of its pools are asked to do, checked and typed.
//!
//! Data only: what makes a pool valid stands with the draft that it is made of.

use std::path::PathBuf;

use crate::command::{Declared, Policy};
use crate::limits::{Limits, Timeouts};
use crate::net::{Address, LocalTls, RemoteTls};
use crate::read_from::ReadFrom;
use crate::ring::{Member, Ring, Spread};
use crate::users::{Credentials, Users};

use super::server::ServerConfig;

/// Everything that one process does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// At least one; no two listen on the same address.
    pub pools: Vec<PoolConfig>,
    /// Log at debug level.
    pub debug: bool,
    /// Log to the local syslog socket.
    pub use_syslog: bool,
    /// The file to write the process id to.
    pub pid_file: Option<PathBuf>,
    /// How long clients may stay when another process has taken over, in milliseconds.
    pub drain_ms: u64,
    /// Where figures are shown over HTTP.
    pub admin: Option<Address>,
    /// The statsd server that counters are sent to: a host and a port.
    pub graphite: Option<Address>,
    /// Whether times are sent, too.
    pub timing: bool,
    /// Whom to become when started as root, by name or number.
    pub user: Option<String>,
    /// With which group, by name or number; `None` is the user's own. Only with a user.
    pub group: Option<String>,
}

/// A listener, the servers behind it, and its bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolConfig {
    /// Where clients connect.
    pub listen: Address,
    /// Permission bits of the Unix socket, 0 to 0o777; without meaning for TCP.
    pub socket_mode: u32,
    /// TCP first, then Unix, each in the order given: this order is the ring's. At least one; a server may stand there
    /// more than once, and then has more of the keys.
    pub servers: Vec<ServerConfig>,
    /// Whether they are nodes of a Redis Cluster, by which the others are found: then all of them are reached over TCP,
    /// each stands there once, and nothing is said of how keys are spread.
    pub cluster: bool,
    /// Where clients that insist on a cluster reach rmux, which they are told is its only node.
    pub cluster_announce: Option<Address>,
    /// Who knows where those masters are that are only named; empty exactly when no server is. They may know of more
    /// of their kind.
    pub sentinels: Vec<Address>,
    /// Who rmux is to the sentinels; `None` where they ask for no password.
    pub sentinel_credentials: Option<Credentials>,
    /// How sentinels are reached, if over TLS.
    pub sentinel_tls: Option<RemoteTls>,
    /// Where reads go: to replicas only if there may be some.
    pub read_from: ReadFrom,
    /// The zone of this host, whose servers are read first: only if some reads go to replicas.
    pub availability_zone: Option<String>,
    /// Threads that share the listener, 1 to 64.
    pub reactors: usize,
    /// Most connections to each server, shared out among the reactors; 1 to 10,000. Each reactor has one at the least.
    pub pool_size: usize,
    /// The most of them that clients hold for themselves at one time, shared out alike; 0: all but one.
    pub lease_max: usize,
    /// Whether another server takes the keys of one that is down.
    pub failover: bool,
    /// Whether a command whose keys live on several servers, or which is about all of them, is sent to each.
    pub multi_key: bool,
    /// Whether the replies to scripts are made sure of, each by a question behind it.
    pub strict_replies: bool,
    /// How keys are spread over the servers.
    pub spread: Spread,
    /// The servers' names and weights in the ring, in their order; empty for a ring that knows neither.
    pub members: Vec<Member>,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// How much to hold; what is about all clients together is shared out among the reactors.
    pub limits: Limits,
    /// Who may be a client.
    pub users: Users,
    /// Who rmux is to the servers; `None` where they ask for no password.
    pub credentials: Option<Credentials>,
    /// The file that their password comes from, if it does: it is read again.
    pub remote_password_file: Option<PathBuf>,
    /// How servers are reached that are there over TCP, if over TLS.
    pub remote_tls: Option<RemoteTls>,
    /// How clients are met, if with TLS: then it listens over TCP.
    pub local_tls: Option<LocalTls>,
    /// Which commands are allowed, denied or declared.
    pub policy: Policy,
    /// The declared ones among them, as they were written.
    pub module_commands: Vec<Declared>,
}

impl PoolConfig {
    /// The ring of its servers.
    pub(crate) fn ring(&self) -> Ring {
        match self.members.is_empty() {
            true => Ring::new(self.servers.len()),
            false => Ring::of(self.spread.distribution, &self.members),
        }
    }
}
