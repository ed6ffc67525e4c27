//! Requests whose keys live on several servers, and requests for all servers.

use super::Proxy;
use super::routing::{CROSS_SLOT, Call, UNSUPPORTED, Verdict};
use crate::command::{Gather, Merge};
use crate::slots::Id;
use crate::timer::Millis;

impl Proxy {
    /// A request whose keys live on several servers.
    pub(super) fn on_split(&mut self, id: Id, _call: &Call<'_>, _merge: Merge, _now: Millis) -> Verdict {
        self.reply_here(id, CROSS_SLOT);
        Verdict::Done
    }

    /// A request for all servers.
    pub(super) fn on_gather(&mut self, id: Id, _call: &Call<'_>, _gather: Gather, _now: Millis) -> Verdict {
        self.reply_here(id, UNSUPPORTED);
        Verdict::Done
    }
}
