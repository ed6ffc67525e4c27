//! Where servers are and how they are reached, as the shell tells it, and what it may ask about that: the part of the
//! core's surface that is about names, masters, TLS, and connections that are not where their server is.
//!
//! Decides nothing: `renew`, `moved` and `await_master` do.

use super::state::Proxy;
use super::{await_master, memory, moved, renew};
use crate::backend::TlsStage;
use crate::server_id::ServerId;
use crate::slots::Id;
use crate::timer::Millis;

impl Proxy {
    /// The name of this server was looked up, as was asked for or for reasons of the shell; `is_changed` if it has
    /// other addresses than before. False as well if nothing was found, or if there is nothing to look up. What the
    /// shell knows of the server's connections by then it has told before ([`Proxy::handle_outdated`]).
    pub fn handle_resolved(&mut self, server: ServerId, is_changed: bool, now: Millis) {
        renew::handle_renewal(self, server, now);
        await_master::on_resolved(self, server, is_changed, now);
    }

    /// The master that is known by this name is at this address from here on, as shown to people: what connects to it
    /// goes there. Before that is told first, nothing connects to it. Connections to where it was are closed.
    pub fn handle_moved(&mut self, server: ServerId, address: &str, now: Millis) {
        moved::handle_moved(self, server, address, now);
        await_master::on_resolved(self, server, true, now);
    }

    /// The server of this name, if there is one: those of `Settings::servers`.
    pub fn find_server(&self, name: &str) -> Option<ServerId> {
        self.upstreams.find_server(name)
    }

    /// Whether a server is at the name of a master, and so not to be looked up.
    pub fn is_master(&self, server: ServerId) -> bool {
        self.upstreams.whereabouts(server).master.is_some()
    }

    /// What a server is called.
    pub fn server_name(&self, server: ServerId) -> &str {
        self.upstreams.address(server)
    }

    /// Whether there is reason to think that a master is not where it was said to be: there is no connection to it to
    /// be had, or who was found there is none.
    pub fn is_master_lost(&self, server: ServerId) -> bool {
        moved::is_lost(self, server)
    }

    /// A lookup of the name of this server has ended: its addresses, or why there are none, in words for people; the
    /// same words for the same addresses.
    pub fn handle_lookup(&mut self, server: ServerId, outcome: Result<&str, &str>, now: Millis) {
        renew::handle_lookup(self, server, outcome, now);
    }

    /// The certificate that this server has shown is good until then, in milliseconds since 1970.
    pub fn handle_certificate(&mut self, server: ServerId, until_unix_ms: u64) {
        renew::handle_certificate(&mut self.upstreams, server, until_unix_ms);
    }

    /// This backend is at an address that the name of its server does not have any more, or was made in a way that is
    /// none any more; or, if not `is_outdated`, neither. Nothing follows from it before [`Proxy::handle_resolved`], or
    /// [`Proxy::handle_renewal`].
    pub fn handle_outdated(&mut self, id: Id, is_outdated: bool) {
        if let Some(backend) = self.upstreams.backend_mut(id) {
            backend.set_outdated(is_outdated);
        }
    }

    /// The outdated ones among the connections of this server are to be renewed.
    pub fn handle_renewal(&mut self, server: ServerId, now: Millis) {
        renew::handle_renewal(self, server, now);
    }

    /// Outside of the core so many bytes are held for what goes through it: ciphertext of half a record, or that a
    /// socket did not take. They count into `bufferedBytesMax`. Returns how many of them may be those of clients that
    /// have not shaken hands: a quarter of that.
    pub fn handle_held_outside(&mut self, held: usize) -> usize {
        memory::charge_outside(&mut self.in_flight, held);
        self.settings.limits.buffered_bytes_max / 4
    }

    /// A backend is connected, and shakes hands for TLS; `is_answered` once its server has said something. What follows
    /// is [`Proxy::handle_connected`], when that is done.
    pub fn handle_shaking(&mut self, id: Id, is_answered: bool) {
        if let Some(backend) = self.upstreams.backend_mut(id) {
            backend.set_tls(if is_answered { TlsStage::Answered } else { TlsStage::Asked });
        }
    }
}
