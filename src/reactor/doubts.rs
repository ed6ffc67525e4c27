//! Where a reactor tells that servers may be somewhere else: the watcher of its pool, if there is one.
//!
//! Knows what is said, and to whom; what comes of it that one tells (`masters`, `nodes`).

use super::handle::{Hint, Hints};
use crate::cluster::RefreshCause;
use crate::proxy::Proxy;
use crate::server_id::ServerId;
use crate::timer::Millis;

/// Where it is told; nowhere, if nobody watches.
#[derive(Default)]
pub(super) struct Doubts {
    hints: Option<Hints>,
}

impl Doubts {
    /// It is told there from here on.
    pub fn set_hints(&mut self, hints: Hints) {
        self.hints = Some(hints);
    }

    /// A master may have moved. The proxy is told in any case when that was looked up.
    pub fn tell_master(&self, server: ServerId, proxy: &mut Proxy, now: Millis) {
        let (name, is_lost) = (proxy.server_name(server).to_owned(), proxy.is_master_lost(server));
        if !self.tell(Hint::Master { name, is_lost }) {
            proxy.handle_resolved(server, false, now);
        }
    }

    /// The map of a cluster's slots may not be true any more.
    pub fn tell_slots(&self, cause: RefreshCause) {
        self.tell(Hint::Slots(cause));
    }

    fn tell(&self, hint: Hint) -> bool {
        self.hints.as_ref().is_some_and(|hints| hints.give(hint))
    }
}
