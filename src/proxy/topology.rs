//! The nodes of a cluster, and who of them has which slot: what is told of that becomes servers and owners.
//!
//! ```text
//!   handle_slot_map   masters, in the order of their node ids ─► servers    their replicas ─► replicas
//!                     slots ─► owners
//!   a node is named   (-MOVED, -ASK) and is none of those ─► one server more, behind them (`nodes`)
//! ```
//!
//! As for other settings (`reload`): a server that stays keeps all it has, one that comes is connected to, and one that
//! goes is retired. The servers of the settings are where a cluster is found; from the first map on they are servers
//! only if the map says so.
//!
//! A SCAN's cursor says for which servers it was given, in a number that all proxies make alike from their addresses.

use std::sync::Arc;

use super::state::Proxy;
use super::{reload, resubscribe};
use crate::cluster::{Databases, Refreshes, SlotMap};
use crate::server_id::ServerId;
use crate::timer::Millis;

impl Proxy {
    /// From here on the nodes of the cluster, and who has which slot, are these. A map without a shard is none. Of no
    /// meaning where the settings know no cluster.
    pub fn handle_slot_map(&mut self, map: &SlotMap, now: Millis) {
        if self.settings.cluster && !map.shards().is_empty() {
            on_slot_map(self, map, now);
        }
    }

    /// Whether clients of the cluster may select another database than 0, as its nodes say.
    pub fn handle_databases(&mut self, databases: Databases) {
        self.nodes.databases = databases;
    }

    /// So often nodes of the cluster were asked who has which slot, for the whole pool.
    pub fn handle_refreshes(&mut self, refreshes: Arc<Refreshes>) {
        self.journal.refreshes = refreshes;
    }

    /// Whether the servers are nodes of a cluster.
    pub fn is_cluster(&self) -> bool {
        self.settings.cluster
    }

    /// The address of a server, as shown to people: of those that nodes of a cluster have named, too, which nobody else
    /// has told of.
    pub fn address(&self, server: ServerId) -> &str {
        self.upstreams.address(server)
    }
}

fn on_slot_map(proxy: &mut Proxy, map: &SlotMap, now: Millis) {
    let mut servers: Vec<String> = map.shards().iter().map(|shard| shard.master.clone()).collect();
    let replicas: Vec<Vec<String>> = map.shards().iter().map(|shard| shard.replicas.clone()).collect();
    let unmapped: Vec<String> = proxy.nodes.unmapped(&servers, now).cloned().collect();
    servers.extend(unmapped);
    set_nodes(proxy, servers, replicas, now);
    proxy.router.set_slots(|slot| map.owner(slot), now);
    resubscribe::review(proxy, now);
    proxy.redirected.look.by(now);
    proxy.turn.room_is_new();
    reload::shrink(proxy);
}

fn set_nodes(proxy: &mut Proxy, servers: Vec<String>, replicas: Vec<Vec<String>>, now: Millis) {
    let settings = &mut proxy.settings;
    if settings.servers == servers && settings.replicas == replicas {
        return;
    }
    (settings.servers, settings.replicas) = (servers, replicas);
    reload::change_servers(proxy, now);
    let revision = revision_of(&proxy.settings.servers);
    proxy.router.set_revision(revision);
}

/// The server with this address, which a node has named; one more, if it is none of those that there are. `None` if
/// there are too many of those.
pub(super) fn named(proxy: &mut Proxy, address: &str, now: Millis) -> Option<ServerId> {
    if let Some(server) = known(proxy, address) {
        return Some(server);
    }
    if !proxy.nodes.on_named(address, now) {
        return None;
    }
    let (mut servers, mut replicas) = (proxy.settings.servers.clone(), proxy.settings.replicas.clone());
    replicas.resize(servers.len(), Vec::new());
    // It may have been a replica until now.
    replicas.iter_mut().for_each(|of_place| of_place.retain(|replica| replica != address));
    servers.push(address.to_owned());
    replicas.push(Vec::new());
    set_nodes(proxy, servers, replicas, now);
    known(proxy, address)
}

/// The server with this address, if it is one of those that may have slots.
pub(super) fn known(proxy: &Proxy, address: &str) -> Option<ServerId> {
    proxy.router.servers().find(|&server| proxy.upstreams.address(server) == address)
}

/// A number for these servers, in this order; never 0.
fn revision_of(servers: &[String]) -> u64 {
    let bytes = servers.iter().flat_map(|address| address.bytes().chain([b' ']));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)) | 1
}
