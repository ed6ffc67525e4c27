//! Counters of what a proxy has done, for `INFO` and the log, and how those of several proxies become one.
//!
//! Plain numbers, each counted in one place of the proxy; the counters only grow. What is counted by reason, class or
//! code has a table of names here, and a count for each name. Knows nothing else.

use std::cmp::Ordering;

mod cluster;
mod error_codes;
mod histogram;
mod location;
mod longest;
mod redirects;

pub use cluster::ClusterFigures;
pub use error_codes::{CODES, ErrorCodes};
pub use histogram::Histogram;
pub use location::{ADDRESSES_SHOWN, Location};
pub use longest::Longest;
pub use redirects::REDIRECTS;

/// Why a connection to a server could not be made: the names of [`ServerStats::failures`].
pub const FAILURES: [&str; 4] = ["refused", "timeout", "auth", "other"];
/// What a connection to a server is at: the names of [`ServerFigures::by_state`].
pub const CONNECTION_STATES: [&str; 5] = ["connecting", "shared", "leased", "draining", "subscribed"];
/// What is done with a request: the names of [`ProxyStats::requests`]. One server reads, or may write; several servers
/// have a part of it; rmux answers it.
pub const REQUEST_CLASSES: [&str; 4] = ["read", "write", "split", "local"];
/// The places of a few of them.
pub const READ: usize = 0;
/// See [`READ`].
pub const WRITE: usize = 1;
/// See [`READ`].
pub const SPLIT: usize = 2;
/// See [`READ`].
pub const LOCAL: usize = 3;
/// Why a client was closed: the names of [`ProxyStats::clients_closed`].
pub const CLIENT_CLOSE_REASONS: [&str; 12] = [
    "left",
    "broken",
    "http",
    "idle",
    "write_timeout",
    "stopped",
    "unread",
    "truncated",
    "memory",
    "killed",
    "user_gone",
    "dismissed",
];

/// What one server was given, and how it went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServerStats {
    /// Requests that were queued to it; one that is sent again counts again.
    pub requests: u64,
    /// Requests that it did not answer: timed out, or lost with their connection.
    pub errors: u64,
    /// Connections that were opened to it.
    pub connects: u64,
    /// Times that it went down.
    pub downs: u64,
    /// Connections that could not be made, by [`FAILURES`].
    pub failures: [u64; FAILURES.len()],
    /// Requests that it did not answer in time.
    pub timeouts: u64,
    /// Connections that were of use, and that rmux did not end.
    pub lost: u64,
    /// Times that its state became another one.
    pub changes: u64,
}

/// What the whole proxy did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProxyStats {
    /// Clients that connected.
    pub clients: u64,
    /// Clients that were turned away, because there were too many.
    pub clients_refused: u64,
    /// Times that a client gave a wrong password.
    pub denials: u64,
    /// Reads that were sent a second time, after their backend was lost.
    pub resends: u64,
    /// Reads that were sent a second time, because they stood behind a huge reply, or one that was taken too slowly.
    pub moves: u64,
    /// Requests that a server refused because it was no master, and that waited for one.
    pub held: u64,
    /// Requests that a node of a cluster has not run, by [`REDIRECTS`].
    pub redirects: [u64; REDIRECTS.len()],
    /// Times that a connection which heard messages was lost, and all of its subscriptions were made anew.
    pub resubscriptions: u64,
    /// Messages that were given to a subscriber; one that several get counts for each.
    pub messages: u64,
    /// Clients that were closed, by [`CLIENT_CLOSE_REASONS`].
    pub clients_closed: [u64; CLIENT_CLOSE_REASONS.len()],
    /// Times that the system let no client in.
    pub accept_failures: u64,
    /// Requests, by [`REQUEST_CLASSES`].
    pub requests: [u64; REQUEST_CLASSES.len()],
    /// Errors that servers replied.
    pub errors: ErrorCodes,
    /// Errors that rmux replied.
    pub own_errors: ErrorCodes,
    /// Bytes that were moved.
    pub bytes: Bytes,
}

/// Bytes that were read and written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bytes {
    /// Of clients, read.
    pub from_clients: u64,
    /// To clients, written.
    pub to_clients: u64,
    /// Of servers, read.
    pub from_servers: u64,
    /// To servers, written.
    pub to_servers: u64,
}

impl Bytes {
    /// All that were read.
    #[inline]
    pub fn received(&self) -> u64 {
        self.from_clients + self.from_servers
    }
}

/// What is counted and timed where requests meet their replies, beside the clock by which that is done.
#[derive(Debug, Default)]
pub struct Measured {
    /// The time, in µs since the start; it begins anew after 71 minutes.
    pub clock_us: u32,
    /// What takes longer, in µs, may be slow.
    pub late_us: u32,
    /// From the moment in which a request was queued for its server until its reply was there.
    pub durations: Histogram,
    /// Errors that servers replied.
    pub errors: ErrorCodes,
}

impl Measured {
    /// What takes so long, in milliseconds, may be slow from here on; with 0, nothing is.
    pub fn set_slow(&mut self, slow_ms: u64) {
        self.late_us = match slow_ms {
            0 => u32::MAX,
            ms => u32::try_from(ms * 1000 - 1).unwrap_or(u32::MAX),
        };
    }

    /// A server has replied this, of this kind, to somebody.
    #[inline]
    pub fn count_error(&mut self, kind: u8, reply: &[u8]) {
        if kind == b'-' {
            self.errors.count(reply);
        }
    }
}

/// How a server is, the worst last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServerState {
    /// It answers.
    #[default]
    Up,
    /// Its connections end before they were of use.
    Unsteady,
    /// It answers handshakes, and no requests.
    Mute,
    /// It answers nothing, and is waited for.
    Silent,
    /// It did not, and is being tried.
    Probing,
    /// It does not answer.
    Down,
}

impl ServerState {
    /// All of them, in their order.
    pub const ALL: [ServerState; 6] = [
        ServerState::Up,
        ServerState::Unsteady,
        ServerState::Mute,
        ServerState::Silent,
        ServerState::Probing,
        ServerState::Down,
    ];

    /// Its name, as people are shown it.
    pub fn name(self) -> &'static str {
        ["up", "unsteady", "mute", "silent", "probing", "down"][self as usize]
    }

    /// True exactly when requests may go there.
    pub fn is_up(self) -> bool {
        self < ServerState::Probing
    }
}

/// What a server is to the ring, the worst last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServerRole {
    /// It has a place there.
    #[default]
    Master,
    /// It has none, and reads go there.
    Replica,
    /// It has none, and no reads go there at this moment.
    Unread,
}

/// The names of the roles, in their order, as people are shown them.
pub const SERVER_ROLES: [&str; 3] = ["master", "replica", "unread"];

impl ServerRole {
    /// All of them, in their order.
    pub const ALL: [ServerRole; 3] = [ServerRole::Master, ServerRole::Replica, ServerRole::Unread];

    /// Its name.
    pub fn name(self) -> &'static str {
        SERVER_ROLES[self as usize]
    }
}

/// Something that the log was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// How long ago, in milliseconds.
    pub age_ms: u64,
    /// Whether it was a warning.
    pub is_warning: bool,
    /// The line.
    pub text: String,
}

/// What there is to tell about one server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerFigures {
    /// What it is.
    pub role: ServerRole,
    /// How it is.
    pub state: ServerState,
    /// Connections to it.
    pub connections: usize,
    /// Requests that it has not answered yet.
    pub outstanding: usize,
    /// What it was given.
    pub stats: ServerStats,
    /// For how long it is in this state, in milliseconds.
    pub state_ms: u64,
    /// Why it last was not well; empty if it always was.
    pub why: String,
    /// Its connections, by [`CONNECTION_STATES`].
    pub by_state: [u64; CONNECTION_STATES.len()],
    /// Bytes that are queued for it.
    pub queue_bytes: u64,
    /// Clients that wait for room on one of its connections, and for one of their own.
    pub waiting: [u64; 2],
    /// Where it is.
    pub location: Location,
}

/// What there is to tell about a proxy, or about several as one. The default is that of none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// What it did.
    pub stats: ProxyStats,
    /// One for each server, in the order of the configuration.
    pub servers: Vec<ServerFigures>,
    /// Their addresses.
    pub addresses: Vec<String>,
    /// The cluster that they are nodes of, if they are.
    pub cluster: Option<ClusterFigures>,
    /// Clients that are connected.
    pub clients: u64,
    /// Those of them that are not read until they take their replies.
    pub clients_paused: u64,
    /// Those that wait for a connection to a server.
    pub clients_waiting: u64,
    /// Those that wait for data, as in BLPOP.
    pub clients_blocked: u64,
    /// Memory that requests and replies take, in bytes.
    pub buffered_bytes: u64,
    /// The most that they may take.
    pub buffered_bytes_max: u64,
    /// The most clients.
    pub clients_max: u64,
    /// From the moment in which a request was read until it was queued for a server.
    pub waits: Histogram,
    /// From then on until its reply was read, as exact as a turn of the loop is long. Each request that a server
    /// answers counts, and so does each part of one that several answer; not those that wait for data (BLPOP), nor
    /// those of which nobody takes the reply: too late, the client gone, or rmux's own. An upload counts from its end
    /// on. What waits for a connection that is being made waits here; what is asked of a server again counts from then
    /// on.
    pub durations: Histogram,
    /// For how long the one waits for a connection that waits for the longest time, or did within the last minute.
    pub wait_max_us: u64,
    /// The longest turn of the loop within the last minute.
    pub turn_max_us: u64,
    /// For how long it runs, in milliseconds.
    pub uptime_ms: u64,
    /// What the log was told last, the newest last; for those who ask for it.
    pub events: Vec<Event>,
}

/// Adds each of the other ones.
pub(crate) fn add_all(own: &mut [u64], other: &[u64]) {
    own.iter_mut().zip(other).for_each(|(own, other)| *own += other);
}

/// Takes each of the other ones away, and leaves nothing where that is more.
pub(crate) fn subtract_all(own: &mut [u64], other: &[u64]) {
    own.iter_mut().zip(other).for_each(|(own, other)| *own = own.saturating_sub(*other));
}

impl ProxyStats {
    fn add(&mut self, other: &ProxyStats) {
        self.clients += other.clients;
        self.clients_refused += other.clients_refused;
        self.denials += other.denials;
        self.resends += other.resends;
        self.moves += other.moves;
        self.held += other.held;
        add_all(&mut self.redirects, &other.redirects);
        self.resubscriptions += other.resubscriptions;
        self.messages += other.messages;
        add_all(&mut self.clients_closed, &other.clients_closed);
        self.accept_failures += other.accept_failures;
        add_all(&mut self.requests, &other.requests);
        self.errors.add(&other.errors);
        self.own_errors.add(&other.own_errors);
        self.bytes.from_clients += other.bytes.from_clients;
        self.bytes.to_clients += other.bytes.to_clients;
        self.bytes.from_servers += other.bytes.from_servers;
        self.bytes.to_servers += other.bytes.to_servers;
    }
}

impl ServerFigures {
    fn add(&mut self, other: &ServerFigures) {
        match self.state.cmp(&other.state) {
            Ordering::Less => (self.state, self.state_ms) = (other.state, other.state_ms),
            Ordering::Equal => self.state_ms = self.state_ms.max(other.state_ms),
            Ordering::Greater => {}
        }
        self.role = self.role.max(other.role);
        if self.why.is_empty() || self.state < other.state {
            self.why.clone_from(&other.why);
        }
        self.connections += other.connections;
        self.outstanding += other.outstanding;
        self.stats.requests += other.stats.requests;
        self.stats.errors += other.stats.errors;
        self.stats.connects += other.stats.connects;
        self.stats.downs += other.stats.downs;
        add_all(&mut self.stats.failures, &other.stats.failures);
        self.stats.timeouts += other.stats.timeouts;
        self.stats.lost += other.stats.lost;
        self.stats.changes += other.stats.changes;
        add_all(&mut self.by_state, &other.by_state);
        self.queue_bytes += other.queue_bytes;
        add_all(&mut self.waiting, &other.waiting);
        self.location.add(&other.location);
    }
}

impl Figures {
    /// Adds those of another proxy. A server is as the one says who finds it worse. Servers that only the other one
    /// has, since one of them has other settings by now, stand behind.
    pub fn add(&mut self, other: &Figures) {
        self.stats.add(&other.stats);
        match (&mut self.cluster, &other.cluster) {
            (Some(cluster), Some(other)) => cluster.add(other),
            (cluster, other) => *cluster = cluster.take().or_else(|| other.clone()),
        }
        self.clients += other.clients;
        self.clients_paused += other.clients_paused;
        self.clients_waiting += other.clients_waiting;
        self.clients_blocked += other.clients_blocked;
        self.buffered_bytes += other.buffered_bytes;
        self.buffered_bytes_max += other.buffered_bytes_max;
        self.clients_max += other.clients_max;
        self.waits.add(&other.waits);
        self.durations.add(&other.durations);
        self.wait_max_us = self.wait_max_us.max(other.wait_max_us);
        self.turn_max_us = self.turn_max_us.max(other.turn_max_us);
        self.uptime_ms = self.uptime_ms.max(other.uptime_ms);
        self.events.extend_from_slice(&other.events);
        let mut taken = vec![false; self.servers.len()];
        for (index, (server, address)) in other.servers.iter().zip(&other.addresses).enumerate() {
            let is_same = |&place: &usize| !taken[place] && self.addresses[place] == *address;
            // Nearly always it has the same place.
            let place =
                Some(index).filter(|&place| place < taken.len()).into_iter().chain(0..taken.len()).find(is_same);
            let Some(place) = place else {
                self.servers.push(server.clone());
                self.addresses.push(address.clone());
                continue;
            };
            taken[place] = true;
            self.servers[place].add(server);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_added_one_by_one_and_the_worst_state_counts() {
        let server = |state, number: u64| ServerFigures {
            role: ServerRole::Master,
            state,
            connections: number as usize,
            outstanding: 10 * number as usize,
            stats: ServerStats {
                requests: 100 + number,
                errors: 200 + number,
                connects: 300 + number,
                downs: number,
                failures: [number; 4],
                timeouts: number,
                lost: number,
                changes: number,
            },
            state_ms: 7,
            why: "it closed the connection".to_owned(),
            by_state: [number; 5],
            queue_bytes: number,
            waiting: [number; 2],
            location: Location { lookups: number, ..Location::default() },
        };
        let stats = |number| ProxyStats {
            clients: number,
            clients_refused: 10 * number,
            denials: 60 * number,
            resends: 20 * number,
            moves: 30 * number,
            held: 70 * number,
            redirects: [80 * number; REDIRECTS.len()],
            resubscriptions: 40 * number,
            messages: 50 * number,
            clients_closed: [number; 12],
            accept_failures: number,
            requests: [number; 4],
            errors: ErrorCodes::default(),
            own_errors: ErrorCodes::default(),
            bytes: Bytes { from_clients: number, to_clients: number, from_servers: number, to_servers: number },
        };
        let addresses = || vec!["a".to_owned(), "b".to_owned()];
        let mut sum = Figures::default();
        let servers = vec![server(ServerState::Up, 1), server(ServerState::Down, 2)];
        sum.add(&Figures { stats: stats(1), servers, addresses: addresses(), ..Figures::default() });
        let servers = vec![server(ServerState::Probing, 3), server(ServerState::Up, 4)];
        sum.add(&Figures { stats: stats(2), servers, addresses: addresses(), ..Figures::default() });
        let both = |state, number: u64| {
            let mut both = server(state, number);
            both.stats.requests += 100;
            both.stats.errors += 200;
            both.stats.connects += 300;
            both
        };
        let servers = vec![both(ServerState::Probing, 4), both(ServerState::Down, 6)];
        assert_eq!(sum, Figures { stats: stats(3), servers, addresses: addresses(), ..Figures::default() });
    }
}
