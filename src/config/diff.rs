//! What changes when one configuration takes the place of another.
//!
//! ```text
//!   old Config ─┐                      one line each:
//!               ├─ diff ─► [Change] ─► pool localhost:7000: poolSize: 50 -> 80
//!   new Config ─┘                      pool localhost:7000: server redis3:6379: added
//! ```
//!
//! Pools are told apart by where they listen: one that listens elsewhere is another pool. Values are compared as they
//! take effect, not as they were written: a general timeout shows as the specific ones, and a list of commands that
//! says the same in another order does not show. There is no change exactly when nothing would be done otherwise.
//!
//! Passwords are said to differ, and never shown. Whatever the user wrote is shown on one line.
//!
//! Knows two configurations; no files, no running pool. It does not apply anything: it only says what would be done,
//! and what of it takes a restart.

use std::fmt;
use std::path::Path;

use crate::net::Address;
use crate::ring::{Moved, ServerIndex};

use super::address::is_same_place;
use super::error::{Plain, Quoted};
use super::key::{KEYS, Key, Kind, Scope};
use super::pool::{Config, PoolConfig};
use super::server::ServerConfig;
use super::written::draft_of;

/// One thing that changes. `Display` is one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A pool that there was not.
    PoolAdded {
        /// Where it listens.
        listen: Address,
        /// How many servers it has.
        servers: usize,
    },
    /// A pool that there is no more.
    PoolRemoved {
        /// Where it listened.
        listen: Address,
    },
    /// Something of a pool that there was and is.
    Pool {
        /// Where it listens.
        listen: Address,
        /// What of it.
        change: PoolChange,
    },
    /// A setting of the program.
    Program {
        /// The flag, without its dash.
        key: &'static str,
        /// Its value, as shown; "" for none.
        old: String,
        /// The same, from now on.
        new: String,
    },
}

/// What changes in a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PoolChange {
    /// The value of a key.
    Setting {
        /// The key, as in the file.
        key: &'static str,
        /// Its value, as shown; "" for none.
        old: String,
        /// The same, from now on.
        new: String,
    },
    /// Passwords, or who has one: the keys that say so.
    Secret(&'static str),
    /// One more server, or one that is there once more.
    ServerAdded(ServerConfig),
    /// One server less, or once less.
    ServerRemoved(ServerConfig),
    /// Those that follow a server are others.
    ReplicasChanged {
        /// The server, with those that follow it from now on.
        server: ServerConfig,
        /// Who followed it.
        old: Vec<Address>,
    },
    /// What the files have that this key is about, and those beside it.
    Files(&'static str),
    /// The same servers, in another order.
    ServersReordered,
    /// Other names or weights in the ring.
    MembersChanged,
    /// Keys get another server, since the ring is another.
    KeysMoved(Moved),
    /// Keys get another server, since they are hashed in another way: all but a few that happen to stay.
    KeysRehashed,
    /// Keys get another server, since another part of them is hashed. How many depends on the keys.
    TaggedKeysMoved,
}

/// Everything that changes from one to the other: pool by pool in the order of the new one, then the pools that are
/// gone, then the program.
pub fn diff(old: &Config, new: &Config) -> Vec<Change> {
    let mut changes = Vec::new();
    for pool in &new.pools {
        let listen = &pool.listen;
        match find(&old.pools, listen) {
            Some(other) => changes.extend(
                pool_changes(other, pool).into_iter().map(|change| Change::Pool { listen: listen.clone(), change }),
            ),
            None => changes.push(Change::PoolAdded { listen: listen.clone(), servers: pool.servers.len() }),
        }
    }
    let gone = old.pools.iter().filter(|pool| find(&new.pools, &pool.listen).is_none());
    changes.extend(gone.map(|pool| Change::PoolRemoved { listen: pool.listen.clone() }));
    changes.extend(program_changes(old, new));
    changes
}

/// What holds when a running rmux is to do something else: as wanted, but for what takes a restart.
pub fn without_restart(running: &Config, wanted: Config) -> Config {
    let mut pools = wanted.pools;
    for pool in &mut pools {
        pool.reactors = find(&running.pools, &pool.listen).map_or(pool.reactors, |running| running.reactors);
    }
    Config { pools, ..running.clone() }
}

/// The pool that listens here.
fn find<'a>(pools: &'a [PoolConfig], listen: &Address) -> Option<&'a PoolConfig> {
    pools.iter().find(|pool| is_same_place(&pool.listen, listen))
}

impl Change {
    /// True exactly when a running rmux cannot make this change: it takes a restart.
    pub fn needs_restart(&self) -> bool {
        match self {
            Change::Pool { change: PoolChange::Setting { key, .. }, .. } | Change::Program { key, .. } => {
                RESTART_KEYS.contains(key)
            }
            _ => false,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pool = |f: &mut fmt::Formatter<'_>, listen: &Address| write!(f, "pool {}: ", Plain(&listen.to_string()));
        match self {
            Change::PoolAdded { listen, servers } => {
                pool(f, listen)?;
                write!(f, "added, with {servers} server{}", if *servers == 1 { "" } else { "s" })?;
            }
            Change::PoolRemoved { listen } => {
                pool(f, listen)?;
                f.write_str("removed")?;
            }
            Change::Pool { listen, change } => {
                pool(f, listen)?;
                change.fmt(f)?;
            }
            Change::Program { key, old, new } => write_setting(f, key, old, new)?,
        }
        if self.needs_restart() { f.write_str(" (takes a restart)") } else { Ok(()) }
    }
}

impl fmt::Display for PoolChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PoolChange::Setting { key, old, new } => write_setting(f, key, old, new),
            PoolChange::Secret(keys) => write!(f, "{keys}: differs"),
            PoolChange::Files(key) => write!(f, "{key}: what its files have differs"),
            PoolChange::ServerAdded(server) => write!(f, "server {}: added", Plain(&server.to_string())),
            PoolChange::ServerRemoved(server) => write!(f, "server {}: removed", Plain(&server.to_string())),
            PoolChange::ReplicasChanged { server, old } => {
                let key = format!("server {}: replicas", Plain(&server.to_string()));
                write_setting(f, &key, &list(old), &list(server.replicas()))
            }
            PoolChange::ServersReordered => f.write_str("servers: the same in another order"),
            PoolChange::MembersChanged => f.write_str("servers: other names or weights in the ring"),
            PoolChange::KeysRehashed => f.write_str("most keys get another server: they are hashed in another way"),
            PoolChange::KeysMoved(Moved { moved, cells, is_exact }) => {
                // In tenths of a per cent, rounded; in 64 bits, which no two rings come near to.
                let tenths = (*moved as u64 * 1000 + *cells as u64 / 2) / *cells as u64;
                let (less, tenths) = if *moved > 0 && tenths == 0 { ("less than ", 1) } else { ("", tenths) };
                let share = format!("{less}{}.{}", tenths / 10, tenths % 10);
                let of = if *is_exact { "exact" } else { "measured" };
                let what = if *is_exact { "cells of the ring" } else { "hashes" };
                write!(f, "{share} % of the keys get another server ({of}: {moved} of {cells} {what})")
            }
            PoolChange::TaggedKeysMoved => {
                f.write_str("keys with such a tag get another server (how many depends on the keys)")
            }
        }
    }
}

/// On one line; "" for none.
fn list(addresses: &[Address]) -> String {
    addresses.iter().map(|address| Plain(&address.to_string()).to_string()).collect::<Vec<_>>().join(" ")
}

fn write_setting(f: &mut fmt::Formatter<'_>, key: &str, old: &str, new: &str) -> fmt::Result {
    let or_none = |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
    write!(f, "{key}: {} -> {}", or_none(old), or_none(new))
}

fn pool_changes(old: &PoolConfig, new: &PoolConfig) -> Vec<PoolChange> {
    let (mut old_draft, mut new_draft) = (draft_of(old), draft_of(new));
    let mut changes = Vec::new();
    for key in KEYS.iter().filter(|key| key.scope != Scope::Program && !key.is_general()) {
        let change = match &key.kind {
            Kind::Password(field) if field(&mut old_draft) != field(&mut new_draft) => PoolChange::Secret(key.name),
            Kind::Users(_) if old.users != new.users => PoolChange::Secret("password, users"),
            _ => match [&mut old_draft, &mut new_draft].map(|draft| shown(key, key.text_in(draft))) {
                [old, new] if old != new => PoolChange::Setting { key: key.name, old, new },
                _ => continue,
            },
        };
        changes.push(change);
    }
    changes.extend(file_changes(old, new));
    changes.extend(server_changes(old, new));
    for server in &new.servers {
        let before = old.servers.iter().find(|other| server.is_same(other)).map(ServerConfig::replicas);
        let old = before.filter(|before| *before != server.replicas());
        changes.extend(old.map(|old| PoolChange::ReplicasChanged { server: server.clone(), old: old.to_vec() }));
    }
    if old.spread.tag != new.spread.tag && old.servers.len().max(new.servers.len()) > 1 {
        changes.push(PoolChange::TaggedKeysMoved);
    }
    changes
}

/// Files that have other contents than they had.
fn file_changes(old: &PoolConfig, new: &PoolConfig) -> Vec<PoolChange> {
    let mut changes = Vec::new();
    let remote = [(&old.remote_tls, &new.remote_tls), (&old.sentinel_tls, &new.sentinel_tls)];
    for (old, new) in remote.into_iter().filter_map(|(old, new)| old.as_ref().zip(new.as_ref())) {
        if old.files() == new.files() && old != new {
            changes.push(PoolChange::Files(new.files().keys.switch));
        }
    }
    if let (Some(old), Some(new)) = (&old.local_tls, &new.local_tls) {
        if old.files() == new.files() && old != new {
            changes.push(PoolChange::Files("localTlsCertFile"));
        }
    }
    changes
}

/// The value of a key as it is shown: free text in quotes, the rest as it is.
fn shown(key: &Key, text: String) -> String {
    match &key.kind {
        Kind::Text(..) if !text.is_empty() => Quoted(&text).to_string(),
        _ => text,
    }
}

fn server_changes(old_pool: &PoolConfig, new_pool: &PoolConfig) -> Vec<PoolChange> {
    let (old, new) = (&old_pool.servers, &new_pool.servers);
    let mut known: Vec<&ServerConfig> = Vec::new();
    let mut number_of = |server| {
        known.iter().position(|other| other.is_same(server)).unwrap_or_else(|| {
            known.push(server);
            known.len() - 1
        })
    };
    let old_numbers: Vec<usize> = old.iter().map(&mut number_of).collect();
    let new_numbers: Vec<usize> = new.iter().map(&mut number_of).collect();
    let has_other_servers = old_numbers != new_numbers;
    let is_same_kind = old_pool.spread.distribution == new_pool.spread.distribution;
    let has_other_ring = !is_same_kind || old_pool.members != new_pool.members;
    let is_rehashed = old_pool.spread.hash != new_pool.spread.hash;
    if !has_other_servers && !has_other_ring && !is_rehashed {
        return Vec::new();
    }
    let added = lacking(new, &new_numbers, &old_numbers).into_iter().map(PoolChange::ServerAdded);
    let removed = lacking(old, &old_numbers, &new_numbers).into_iter().map(PoolChange::ServerRemoved);
    let mut changes: Vec<PoolChange> = added.chain(removed).collect();
    if has_other_servers && changes.is_empty() {
        changes.push(PoolChange::ServersReordered);
    }
    if !has_other_servers && is_same_kind && has_other_ring {
        changes.push(PoolChange::MembersChanged);
    }
    if is_rehashed {
        if old.len().max(new.len()) > 1 {
            changes.push(PoolChange::KeysRehashed);
        }
        return changes;
    }
    if old_pool.cluster || new_pool.cluster {
        // Where keys are it says itself.
        return changes;
    }
    let is_same = |one: ServerIndex, other: ServerIndex| old_numbers[one.index()] == new_numbers[other.index()];
    changes.push(PoolChange::KeysMoved(old_pool.ring().moved_cells(&new_pool.ring(), is_same)));
    changes
}

/// Those of the servers, each with its number, that are not among the others, or not as often.
fn lacking(servers: &[ServerConfig], numbers: &[usize], others: &[usize]) -> Vec<ServerConfig> {
    let count = |numbers: &[usize], number: usize| numbers.iter().filter(|other| **other == number).count();
    let is_lacking = |place: &usize| count(&numbers[..=*place], numbers[*place]) > count(others, numbers[*place]);
    (0..servers.len()).filter(is_lacking).map(|place| servers[place].clone()).collect()
}

fn program_changes(old: &Config, new: &Config) -> impl Iterator<Item = Change> {
    let text = |text: Option<&str>| text.map_or(String::new(), |text| Quoted(text).to_string());
    let path = |path: Option<&Path>| path.map_or(String::new(), |path| Quoted(&path.to_string_lossy()).to_string());
    let address = |address: Option<&Address>| text(address.map(ToString::to_string).as_deref());
    let settings = |config: &Config| {
        [
            ("debug", config.debug.to_string()),
            ("useSyslog", config.use_syslog.to_string()),
            ("pidFile", path(config.pid_file.as_deref())),
            ("drainTimeout", config.drain_ms.to_string()),
            ("admin", address(config.admin.as_ref())),
            ("graphite", address(config.graphite.as_ref())),
            ("timing", config.timing.to_string()),
            ("user", text(config.user.as_deref())),
            ("group", text(config.group.as_deref())),
        ]
    };
    let pairs = settings(old).into_iter().zip(settings(new));
    pairs.filter(|(old, new)| old != new).map(|((key, old), (_, new))| Change::Program { key, old, new })
}

/// Whom the process is, what it left in the file system when it was root, how many threads it has, and who watches it.
const RESTART_KEYS: &[&str] = &["maxProcesses", "pidFile", "admin", "graphite", "timing", "user", "group"];

#[cfg(test)]
mod tests;
