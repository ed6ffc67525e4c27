//! The names of the model servers: how the model shell looks them up, and which connection is at which address.
//!
//! ```text
//!   a name moves: Server::address changes ─► asked for (by time, by the proxy, after a connect that was refused)
//!        ─► some turns later it is looked up ─► the proxy is told which connections are outdated
//! ```
//!
//! Connections to a former address go on working. A connect to it is refused, or works: the old host may still be there.

use std::collections::{BTreeSet, HashMap};

use rmux::proxy::{Conn, Proxy};
use rmux::server_id::ServerId;
use rmux::slots::Id;
use rmux::timer::Millis;

use crate::random::Random;
use crate::server::Server;

pub struct Names {
    /// Chance of its own; `None` where no name moves.
    random: Option<Random>,
    /// What was found last, by the number of the server.
    known: Vec<u32>,
    /// Which of them are to be looked up.
    asked: BTreeSet<usize>,
    /// At which address of which server a connection is.
    places: HashMap<Id, (usize, u32)>,
}

impl Names {
    pub fn new(servers: usize, random: Option<Random>) -> Names {
        Names { random, known: vec![0; servers], asked: BTreeSet::new(), places: HashMap::new() }
    }

    pub fn known(&self, server: usize) -> u32 {
        self.known[server]
    }

    pub fn is_asked(&self) -> bool {
        !self.asked.is_empty()
    }

    /// This name is to be looked up. False if no name ever moves.
    pub fn ask(&mut self, server: usize) -> bool {
        if self.random.is_some() {
            self.asked.insert(server);
        }
        self.random.is_some()
    }

    pub fn on_connected(&mut self, backend: Id, server: usize, address: u32) {
        self.places.insert(backend, (server, address));
    }

    pub fn forget(&mut self, conn: Conn) {
        if let Conn::Backend(id) = conn {
            self.places.remove(&id);
        }
    }

    /// Behind the address of this server there is another one: none of its connections is at an address that it has.
    pub fn on_replaced(&mut self, number: usize, id: ServerId, proxy: &mut Proxy, now: Millis) {
        self.ask(number);
        for (&backend, (_, at)) in self.places.iter_mut().filter(|(_, (server, _))| *server == number) {
            *at = u32::MAX;
            proxy.handle_outdated(backend, true);
        }
        proxy.handle_renewal(id, now);
    }

    /// Looks up some of those that are asked for.
    pub fn look_up(&mut self, proxy: &mut Proxy, ids: &HashMap<ServerId, usize>, servers: &[Server], now: Millis) {
        let Some(random) = &mut self.random else { return };
        for number in std::mem::take(&mut self.asked) {
            if random.one_in(3) {
                self.asked.insert(number);
                continue;
            }
            // It may be gone, or retired, and the shell learns that later.
            let Some((&id, _)) = ids.iter().filter(|(_, other)| **other == number).max_by_key(|(id, _)| **id) else {
                continue;
            };
            if random.one_in(6) {
                trace!("the name of server {number} is not found");
                proxy.handle_lookup(id, Err("its name is not found: chance"), now);
                proxy.handle_resolved(id, false, now);
                continue;
            }
            let address = servers[number].address;
            let is_changed = std::mem::replace(&mut self.known[number], address) != address;
            trace!("server {number} is found at address {address}");
            for (&backend, &(server, at)) in &self.places {
                if server == number {
                    proxy.handle_outdated(backend, at != address);
                }
            }
            proxy.handle_lookup(id, Ok(&format!("address {address}")), now);
            proxy.handle_resolved(id, is_changed, now);
        }
    }
}
