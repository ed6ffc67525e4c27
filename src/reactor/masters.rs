//! Masters that sentinels watch: what their watcher tells a reactor.
//!
//! Knows names and addresses; who watches them is somebody else, on a thread of its own.

use super::dial::Dialer;
use super::nodes;
use crate::net::Address;
use crate::proxy::Proxy;
use crate::timer::Millis;

/// The master of this name is there from here on.
pub(super) fn on_moved(moved: &(String, Address), dialer: &mut Dialer, proxy: &mut Proxy, now: Millis) {
    let (name, address) = moved;
    if let Some(server) = proxy.find_server(name) {
        dialer.set_place(server, address);
        proxy.handle_moved(server, &address.to_string(), now);
        proxy.handle_resolved(server, true, now);
    }
}

/// These follow the master of this name from here on.
pub(super) fn on_followed(told: &(String, Vec<Address>), dialer: &mut Dialer, proxy: &mut Proxy, now: Millis) {
    let (name, replicas) = told;
    let Some(master) = proxy.find_server(name) else { return };
    let before = proxy.servers();
    proxy.handle_replicas(master, replicas.iter().map(ToString::to_string).collect(), now);
    let servers = proxy.servers();
    for &server in servers.iter().filter(|server| !before.contains(server)) {
        let name = proxy.server_name(server);
        if let Some(address) = replicas.iter().find(|address| address.to_string() == name) {
            dialer.set_place(server, address);
        }
    }
    dialer.forget_others(&servers);
}

/// The addresses of a proxy's servers, in their order, as far as `known` has them: those of its ring, and behind them
/// those of the replicas that the configuration names. Others stand between these. Where the nodes of a cluster are the
/// configuration does not say.
pub(super) fn addresses_of(proxy: &Proxy, known: Vec<Option<Address>>) -> Vec<Option<Address>> {
    if proxy.is_cluster() {
        return proxy.servers().iter().map(|&server| nodes::address_of(server, proxy)).collect();
    }
    let mut known = known;
    let replicas = known.split_off(proxy.places().min(known.len()));
    for &server in &proxy.servers()[known.len()..] {
        let is_it = |address: &&Address| address.to_string() == proxy.server_name(server);
        known.push(replicas.iter().flatten().find(is_it).cloned());
    }
    known
}

/// It was looked where the master of this name is, and it is where it was.
pub(super) fn on_looked(name: &str, proxy: &mut Proxy, now: Millis) {
    if let Some(server) = proxy.find_server(name) {
        proxy.handle_resolved(server, false, now);
    }
}
