//! Subscriptions: one backend per server listens for all clients.

use super::Proxy;
use super::routing::{Call, UNSUPPORTED, Verdict};
use crate::command::Lease;
use crate::slots::Id;
use crate::timer::Millis;

impl Proxy {
    /// A request to hear from channels, or to hear no more from them.
    pub(super) fn on_subscription(&mut self, id: Id, _call: &Call<'_>, _lease: Lease, _now: Millis) -> Verdict {
        self.reply_here(id, UNSUPPORTED);
        Verdict::Done
    }
}
