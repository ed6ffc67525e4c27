//! The places of a ring: servers by their addresses, and masters by the names that sentinels know them by.
//!
//! ```text
//!   "redis1:6379"                                          one that is always there
//!   {"master": "redis1:6379", "replicas": ["redis2:6379"]} the same, and those that follow it
//!   {"master": "cache-1"}                                  whichever server the sentinels say it is at the time
//! ```
//!
//! A name has no colon, so it cannot be mistaken for an address. The ring knows a master by its name, and so no key
//! moves when another server becomes master. Knows the spelling and what goes together; looks nothing up.

use std::fmt;

use crate::net::Address;

use super::address::{is_same_place, socket_path, tcp_server};
use super::entry::Place;
use super::error::{Problem, Quoted};

/// One place of a ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerConfig {
    /// A server that is always there. `Display` is its address.
    Fixed {
        /// Where it is.
        address: Address,
        /// Servers that follow it, each once, and none of them a place of the ring; at most [`REPLICAS_MAX`].
        replicas: Vec<Address>,
    },
    /// The master that the pool's sentinels know by this name. `Display` is its name. A name stands in a pool once.
    Master {
        /// Letters, digits, and `.-_`, as Sentinel has it.
        name: String,
    },
}

impl ServerConfig {
    /// A server that nobody follows.
    pub fn at(address: Address) -> ServerConfig {
        ServerConfig::Fixed { address, replicas: Vec::new() }
    }

    /// Where it is, if that is always the same.
    pub fn address(&self) -> Option<&Address> {
        match self {
            ServerConfig::Fixed { address, .. } => Some(address),
            ServerConfig::Master { .. } => None,
        }
    }

    /// The name that sentinels know it by, if they are to be asked where it is.
    pub fn master(&self) -> Option<&str> {
        match self {
            ServerConfig::Fixed { .. } => None,
            ServerConfig::Master { name } => Some(name),
        }
    }

    /// Those that the file says follow it; the ones of a [`Master`](ServerConfig::Master) its sentinels know.
    pub fn replicas(&self) -> &[Address] {
        match self {
            ServerConfig::Fixed { replicas, .. } => replicas,
            ServerConfig::Master { .. } => &[],
        }
    }

    /// Whether both are one place of the ring, whatever follows it.
    pub(crate) fn is_same(&self, other: &ServerConfig) -> bool {
        match (self, other) {
            (ServerConfig::Fixed { address, .. }, ServerConfig::Fixed { address: other, .. }) => {
                is_same_place(address, other)
            }
            (ServerConfig::Master { name }, ServerConfig::Master { name: other }) => name == other,
            _ => false,
        }
    }
}

impl fmt::Display for ServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerConfig::Fixed { address, .. } => address.fmt(f),
            ServerConfig::Master { name } => f.write_str(name),
        }
    }
}

/// The places of `tcpConnections` as they were written, of a pool that has sentinels or not.
///
/// # Errors
///
/// The first thing that is wrong.
pub(crate) fn tcp_servers(places: &[Place], has_sentinels: bool) -> Result<Vec<ServerConfig>, Problem> {
    let mut servers: Vec<ServerConfig> = Vec::with_capacity(places.len());
    for (index, place) in places.iter().enumerate() {
        let entry = |key: &str, reason: String| Problem::Entry { number: index + 1, key: Some(key.to_owned()), reason };
        servers.push(match place {
            Place::Address(text) => {
                let refuse = |reason| Problem::BadAddress { value: Quoted(text).to_string(), reason };
                ServerConfig::at(tcp_server(text).map_err(refuse)?)
            }
            Place::Master { master, replicas, .. } if master.contains(':') => {
                let address = tcp_server(master);
                let address = address.map_err(|reason| entry("master", format!("{} {reason}", Quoted(master))))?;
                let replicas = addresses(replicas).map_err(|reason| entry("replicas", reason))?;
                ServerConfig::Fixed { address, replicas }
            }
            Place::Master { master, replicas, .. } => {
                let quoted = Quoted(master);
                if !is_name(master) {
                    return Err(entry("master", format!("{quoted} {BAD_NAME}")));
                }
                if !has_sentinels {
                    return Err(entry("master", format!("{quoted} is a name: give sentinels, which know its address")));
                }
                if !replicas.is_empty() {
                    let reason = format!("the sentinels know those of {quoted}: leave them out");
                    return Err(entry("replicas", reason));
                }
                let server = ServerConfig::Master { name: master.clone() };
                if servers.contains(&server) {
                    return Err(entry("master", format!("{quoted} is there twice")));
                }
                server
            }
        });
    }
    // When all are known: a replica that has keys of its own would be a server that refuses to be one.
    for (index, server) in servers.iter().enumerate() {
        let has_keys = |address: &&Address| {
            servers.iter().filter_map(ServerConfig::address).any(|other| is_same_place(address, other))
        };
        if let Some(replica) = server.replicas().iter().find(has_keys) {
            let reason = format!("{} is a server with keys of its own as well", Quoted(&replica.to_string()));
            return Err(Problem::Entry { number: index + 1, key: Some("replicas".to_owned()), reason });
        }
    }
    Ok(servers)
}

/// The places of `unixConnections`.
///
/// # Errors
///
/// The first thing that is wrong.
pub(crate) fn unix_servers(paths: &[String]) -> Result<Vec<ServerConfig>, Problem> {
    let server = |text: &String| match socket_path(text) {
        Ok(path) => Ok(ServerConfig::at(Address::Unix(path))),
        Err(reason) => Err(Problem::BadAddress { value: Quoted(text).to_string(), reason }),
    };
    paths.iter().map(server).collect()
}

/// The value of `sentinels`, for these servers.
///
/// # Errors
///
/// The first thing that is wrong.
pub(crate) fn sentinels(texts: &[String], servers: &[ServerConfig]) -> Result<Vec<Address>, Problem> {
    if texts.len() > SENTINELS_MAX {
        return Err(Problem::TooManyServers { count: texts.len(), max: SENTINELS_MAX });
    }
    let mut sentinels: Vec<Address> = Vec::with_capacity(texts.len());
    for text in texts {
        let refuse = |reason| Problem::BadAddress { value: Quoted(text).to_string(), reason };
        let address = tcp_server(text).map_err(refuse)?;
        if sentinels.iter().any(|other| is_same_place(&address, other)) {
            return Err(refuse("is there twice"));
        }
        sentinels.push(address);
    }
    if !sentinels.is_empty() && servers.iter().all(|server| server.master().is_none()) {
        return Err(Problem::NoMaster);
    }
    Ok(sentinels)
}

/// The addresses of replicas, each once.
fn addresses(texts: &[String]) -> Result<Vec<Address>, String> {
    if texts.len() > REPLICAS_MAX {
        return Err(Problem::TooManyServers { count: texts.len(), max: REPLICAS_MAX }.to_string());
    }
    let mut addresses: Vec<Address> = Vec::with_capacity(texts.len());
    for text in texts {
        let address = tcp_server(text).map_err(|reason| format!("{} {reason}", Quoted(text)))?;
        if addresses.iter().any(|other| is_same_place(&address, other)) {
            return Err(format!("{} is there twice", Quoted(text)));
        }
        addresses.push(address);
    }
    Ok(addresses)
}

/// Whether Sentinel could know a master by this name.
fn is_name(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_letter)
}

const BAD_NAME: &str = "is no address and cannot be a name: write host:port, or letters, digits and .-_";

/// Sentinel sets no limit; a name is shown in every line that is about its server.
const NAME_BYTES_MAX: usize = 128;

/// Replicas of one server.
pub const REPLICAS_MAX: usize = 32;

/// Sentinels of one pool.
pub(crate) const SENTINELS_MAX: usize = 32;
