//! Hints of a reactor to the watcher of its pool: an address or the slot map may be out of date.
//!
//! The watcher's answers come back through `masters` and `nodes`.

use super::handle::{Hint, Hints};
use crate::cluster::RefreshCause;
use crate::proxy::Proxy;
use crate::server_id::ServerId;
use crate::timer::Millis;

/// The way to the watcher; hints are dropped where the pool has none.
#[derive(Default)]
pub(super) struct Doubts {
    hints: Option<Hints>,
}

impl Doubts {
    /// The watcher takes hints here.
    pub fn set_hints(&mut self, hints: Hints) {
        self.hints = Some(hints);
    }

    /// The address of a master may be out of date. Without a watcher the proxy is told at once that the lookup is over.
    pub fn tell_master(&self, server: ServerId, proxy: &mut Proxy, now: Millis) {
        let (name, is_lost) = (proxy.server_name(server).to_owned(), proxy.is_master_lost(server));
        if !self.tell(Hint::Master { name, is_lost }) {
            proxy.handle_resolved(server, false, now);
        }
    }

    /// The slot map of the cluster may be out of date.
    pub fn tell_slots(&self, cause: RefreshCause) {
        self.tell(Hint::Slots(cause));
    }

    fn tell(&self, hint: Hint) -> bool {
        self.hints.as_ref().is_some_and(|hints| hints.give(hint))
    }
}
