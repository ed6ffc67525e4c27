//! Masters that sentinels watch: what their watcher tells a reactor, and what that tells it.
//!
//! Knows names and addresses; who watches them is somebody else, on a thread of its own.

use super::dial::Dialer;
use super::handle::{Hint, Hints};
use crate::net::Address;
use crate::proxy::Proxy;
use crate::server_id::ServerId;
use crate::timer::Millis;

/// Where it is told that a master may have moved; nowhere, if there are none.
#[derive(Default)]
pub(super) struct Masters {
    hints: Option<Hints>,
}

impl Masters {
    /// It is told there from here on.
    pub fn set_hints(&mut self, hints: Hints) {
        self.hints = Some(hints);
    }

    /// A master may have moved. The proxy is told in any case when that was looked up.
    pub fn hint(&self, server: ServerId, proxy: &mut Proxy, now: Millis) {
        let (master, is_lost) = (proxy.server_name(server).to_owned(), proxy.is_master_lost(server));
        if !self.hints.as_ref().is_some_and(|hints| hints.give(Hint { master, is_lost })) {
            proxy.handle_resolved(server, false, now);
        }
    }
}

/// The master of this name is there from here on.
pub(super) fn on_moved(name: &str, address: &Address, dialer: &mut Dialer, proxy: &mut Proxy, now: Millis) {
    if let Some(server) = proxy.find_server(name) {
        dialer.set_place(server, address);
        proxy.handle_moved(server, &address.to_string(), now);
        proxy.handle_resolved(server, true, now);
    }
}

/// These follow the master of this name from here on.
pub(super) fn on_followed(name: &str, replicas: &[Address], dialer: &mut Dialer, proxy: &mut Proxy, now: Millis) {
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
/// those of the replicas that the configuration names. Others stand between these.
pub(super) fn addresses_of(proxy: &Proxy, known: Vec<Option<Address>>) -> Vec<Option<Address>> {
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
