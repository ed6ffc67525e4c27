//! The nodes of a cluster: takes the watcher's news for the core, and finds the address to connect to.
//!
//! The core knows nodes by their addresses as text: those of the map, and those named in redirects. This file parses
//! that text, and knows nothing of slots.

use std::sync::Arc;

use super::dial::Dialer;
use crate::cluster::{Databases, Refreshes, SlotMap};
use crate::link::HostPort;
use crate::net::Address;
use crate::proxy::Proxy;
use crate::server_id::ServerId;
use crate::timer::Millis;

/// What a reactor is told of the nodes of a cluster.
#[derive(Debug, Clone)]
pub enum NodesTold {
    /// They, and who of them has which slot, are these from now on.
    Map(Arc<SlotMap>),
    /// Whether they have other databases than 0.
    Databases(Databases),
    /// So often they were asked for that.
    Asked(Arc<Refreshes>),
}

/// This is known of the nodes from here on.
pub(super) fn on_told(told: NodesTold, dialer: &mut Dialer, proxy: &mut Proxy, now: Millis) {
    match told {
        NodesTold::Map(map) => {
            proxy.handle_slot_map(&map, now);
            dialer.forget_others(&proxy.servers());
        }
        NodesTold::Databases(databases) => proxy.handle_databases(databases),
        NodesTold::Asked(refreshes) => proxy.handle_refreshes(refreshes),
    }
}

/// A server is to be connected to. One that nobody has told the place of is where its address says.
pub(super) fn maybe_place(server: ServerId, dialer: &mut Dialer, proxy: &Proxy) {
    if !dialer.is_placed(server) {
        address_of(server, proxy).iter().for_each(|address| dialer.set_place(server, address));
    }
}

/// Where a server is by its address alone; `None` if that is no host and port.
pub(super) fn address_of(server: ServerId, proxy: &Proxy) -> Option<Address> {
    HostPort::parse(proxy.address(server)).map(|HostPort { host, port }| Address::Tcp { host, port })
}
