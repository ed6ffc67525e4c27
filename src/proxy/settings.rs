//! What a proxy is told at its start.
//!
//! Plain values; where they come from is the configuration's business, and what they bring about that of the parts that
//! read them.

use crate::command::Policy;
use crate::limits::{Limits, Timeouts};
use crate::ring::{HashTag, Ring};
use crate::users::{Credentials, Users};

/// What a proxy is told at its start; it never changes.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it listens, as shown to people.
    pub listen: String,
    /// The servers' addresses, as shown to people, in the order of the ring.
    pub servers: Vec<String>,
    /// Whether a server that is down is stood in for by the next one of the ring.
    pub failover: bool,
    /// The part of a key that chooses its server; `None`: all of it.
    pub hash_tag: Option<HashTag>,
    /// Whether a command is sent to several servers; if not, it is refused, as the original rmux did.
    pub multi_key: bool,
    /// The most connections to one server.
    pub pool_size: usize,
    /// The most of them that clients have for themselves at one time; one is always left to the others.
    pub lease_max: usize,
    /// How long each kind of waiting may last.
    pub timeouts: Timeouts,
    /// How much of each thing it may hold.
    pub limits: Limits,
    /// Who may be a client.
    pub users: Users,
    /// Who rmux is to the servers; `None` where they ask for no password.
    pub credentials: Option<Credentials>,
    /// Which commands are allowed, denied or declared.
    pub policy: Policy,
    /// For `INFO`.
    pub process_id: u32,
    /// Spreads the probes of many hosts.
    pub seed: u64,
}

impl Settings {
    /// The defaults, for these servers; listening nowhere in particular.
    pub fn new(servers: Vec<String>) -> Settings {
        Settings {
            listen: String::new(),
            servers,
            failover: true,
            hash_tag: None,
            multi_key: true,
            pool_size: 50,
            lease_max: 50,
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            users: Default::default(),
            credentials: None,
            policy: Default::default(),
            process_id: 1,
            seed: 1,
        }
    }

    /// The hash of a key, or of its tag.
    #[inline]
    pub(super) fn hash_of(&self, key: &[u8]) -> u32 {
        match self.hash_tag {
            None => Ring::hash(key),
            Some(tag) => Ring::hash(tag.hashed_part(key)),
        }
    }
}
