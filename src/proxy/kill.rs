//! How a script is reached that holds up everybody else: connections for `SCRIPT KILL` and `FUNCTION KILL`.
//!
//! While a script runs, its server answers nothing but what stops it, and each connection in the order of its requests:
//! on one that waits for a reply, what is to stop the script would wait behind it. One that owes nothing now is no
//! better if others may use it: with a script behind it, not even the answer comes, since Redis writes none to the
//! connection whose script it runs. So such requests have a connection of their own, whatever `poolSize` says: the
//! *reserve*, which is made for them, is in no pool, and drains from the beginning: it is closed as soon as it owes
//! nothing. A server has one at the most.
//!
//! ```text
//!   pool      [EVAL (runs)] ─► [GET a] ─► [GET b]      all wait for the script
//!   reserve   [SCRIPT KILL]                            +OK, and is closed
//! ```
//!
//! Replies to such requests are the same in each version of the protocol, and no database matters to them: the profile
//! of the connection makes no difference. A client that has asked this server for something else before waits for that
//! first, as it would without rmux; what it sends behind waits until it is answered.

use super::call::When;
use super::connect;
use super::pick::{self, Pick};
use super::state::Proxy;
use crate::backend::{Backend, Purpose};
use crate::server_id::ServerId;
use crate::session::Profile;
use crate::slots::Id;

/// Which backend takes a request of this client that must not stand behind others.
#[cold]
pub(super) fn pick_beside(proxy: &mut Proxy, id: Id, server: ServerId, profile: Profile, when: When) -> Pick {
    let Some(client) = proxy.clients.get(id) else { return Pick::Never };
    if client.leased().is_some_and(|leased| leased.server == server) {
        // It has one for itself already.
        return pick::pick(proxy, id, server, profile, when);
    }
    if client.affinity(server).is_some() {
        return Pick::Behind;
    }
    let is_reserve = |backend: &Backend| backend.is_open_reserve() && backend.server() == server;
    let reserve = proxy.upstreams.backends().find(|(_, backend)| is_reserve(backend));
    if let Some((id, backend)) = reserve {
        let has_room = backend.in_flight().len() < proxy.settings.limits.pipeline_max;
        return if has_room { Pick::Take(id) } else { Pick::GiveUp };
    }
    let backend = Backend::new(server, Profile::default(), Purpose::Reserve, when.now);
    Pick::Take(connect::begin_connect(proxy, backend, when.now))
}
