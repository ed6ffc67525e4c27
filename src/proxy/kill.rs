//! How a script is reached that holds up everybody else: connections for `SCRIPT KILL` and `FUNCTION KILL`.
//!
//! While a script runs, its server answers nothing but what stops it, and each connection in the order of its requests:
//! on one that waits for a reply, what is to stop the script would wait behind it. So it goes down a connection that
//! owes nothing. If there is none, one more is made, whatever `poolSize` says: the *reserve*, of which a server has at
//! most one that takes requests. It is closed as soon as it owes nothing.
//!
//! ```text
//!   pool      [EVAL (runs)] ─► [GET a] ─► [GET b]      all wait for the script
//!   reserve   [SCRIPT KILL]                            +OK, and is closed
//! ```
//!
//! Replies to such requests are the same in each version of the protocol, and no database matters to them: the profile
//! of a connection makes no difference. A client that has asked this server for something else before waits for that
//! first, as it would without rmux.

use super::Proxy;
use super::dispatch::Pick;
use crate::backend::Backend;
use crate::client::Profile;
use crate::slots::Id;
use crate::timer::Millis;

impl Proxy {
    /// Which backend takes a request of this client that must not stand behind others.
    #[cold]
    pub(super) fn pick_beside(&mut self, id: Id, server: u16, profile: Profile, now: Millis) -> Pick {
        let Some(client) = self.clients.get(id) else { return Pick::Never };
        if client.leased().is_some_and(|leased| leased.server == server) {
            // It owes nothing to anybody else.
            return self.pick(id, server, profile, now);
        }
        if client.lane(server).is_some() {
            return Pick::Behind;
        }
        let limits = &self.settings.limits;
        let idle = self.backends_of(server).find(|(_, backend)| backend.is_idle() && backend.has_room(limits));
        let is_reserve = |backend: &Backend| backend.is_reserve && backend.server == server;
        let reserve = || self.backends.iter().find(|(_, backend)| is_reserve(backend) && backend.has_room(limits));
        if let Some((backend, _)) = idle.or_else(reserve) {
            return Pick::Take(backend);
        }
        let mut backend = Backend::new(server, Profile::default(), now);
        backend.is_reserve = true;
        Pick::Take(self.begin_connect(backend, now))
    }
}
