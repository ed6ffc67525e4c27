//! The router: which server has a key now.
//!
//! Owns the ring, who of the servers is up, and the epoch, which counts how often the server of some key has become
//! another one, so that a client's order over such a change can be kept. Knows no connections and no commands.

use super::split;
use crate::ring::{Ring, UpSet};

/// Where keys live.
#[derive(Debug)]
pub(super) struct Router {
    pub ring: Ring,
    pub up: UpSet,
    /// Counts how often the server of some key has become another one, because a server went down or came back.
    pub epoch: u32,
    /// One index for each server that there is, even if its address is given twice.
    pub distinct_servers: Vec<u16>,
    /// For each server, its part of the request that is being split; `NO_PART` when it has none.
    pub part_of_server: Vec<u16>,
}

impl Router {
    /// A router for these servers, all of which are up.
    pub fn new(servers: &[String]) -> Router {
        let count = servers.len();
        Router {
            ring: Ring::new(count),
            up: UpSet::new(count),
            epoch: 0,
            distinct_servers: split::distinct_servers(servers),
            part_of_server: vec![split::NO_PART; count],
        }
    }
}
