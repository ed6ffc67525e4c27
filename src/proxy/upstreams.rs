//! The upstreams: the servers, their pools, and the connections to them.
//!
//! Owns their health, figures and pace. Knows no keys and no clients, but for the ids of those who hold a connection.

use super::{Settings, guard};
use crate::backend::Backend;
use crate::backend::handshake::Introduction;
use crate::pool::Pool;
use crate::server::Server;
use crate::slots::Slots;
use crate::stats::ServerStats;
use crate::timer::Alarm;

/// A server, with all that belongs to it.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub health: Server,
    pub pool: Pool,
    pub stats: ServerStats,
    /// When to look at it again, while it is down.
    pub probe: Alarm,
}

/// All servers, and all connections to them.
#[derive(Debug)]
pub(super) struct Upstreams {
    pub endpoints: Vec<Endpoint>,
    pub backends: Slots<Backend>,
    /// What the server that shook hands last tells about itself.
    pub introduction: Introduction,
    /// What is asked behind scripts, where their replies are not trusted.
    pub guard: Box<[u8]>,
    /// The state of a xorshift generator, which spreads what would come at once; never 0.
    random: u64,
}

impl Upstreams {
    /// The servers of these settings, without connections.
    pub fn new(settings: &Settings) -> Upstreams {
        let count = settings.servers.len();
        let has_stand_in = settings.failover && count > 1;
        let endpoint = |_| Endpoint {
            health: Server::new(settings.timeouts.failover_after_ms, has_stand_in),
            pool: Pool::new(settings.pool_size, settings.lease_max),
            stats: ServerStats::default(),
            probe: Alarm::default(),
        };
        Upstreams {
            endpoints: (0..count).map(endpoint).collect(),
            backends: Slots::new(),
            introduction: Introduction::default(),
            guard: guard::question(settings.seed),
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
}
