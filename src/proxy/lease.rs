//! What needs a backend of its own: transactions, and commands that wait for data.

use super::Proxy;
use super::routing::{Call, UNSUPPORTED, Verdict};
use crate::command::Lease;
use crate::slots::Id;
use crate::timer::Millis;

impl Proxy {
    /// A request that holds or changes the state of its connection.
    pub(super) fn on_lease(&mut self, id: Id, _call: &Call<'_>, _lease: Lease, _now: Millis) -> Verdict {
        self.reply_here(id, UNSUPPORTED);
        Verdict::Done
    }
}
