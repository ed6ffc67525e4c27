//! Who may send what: clients that have not said who they are, and what the configuration allows.
//!
//! What the configuration denies is refused in `routing`, beside the lookup of the command, where the question costs
//! one comparison (see `command::Policy`). A client that has not said who it is gets the answer that `local` has for
//! it, unless its request is one of those that let it in.

use super::Proxy;
use super::routing::{Call, Verdict};
use crate::client::Mode;
use crate::command;
use crate::local;
use crate::slots::Id;
use crate::timer::Millis;

impl Proxy {
    /// Whether the configuration allows a request that the table refuses.
    #[cold]
    pub(super) fn is_allowed(&self, call: &Call<'_>) -> bool {
        let word = call.args.get(1).map(|word| word.of(call.request));
        command::find(call.container.as_bytes()).is_some_and(|row| self.settings.policy.is_allowed(row, word))
    }

    /// A request of a client that is not plain: it has not said who it is, subscribes, or is in a transaction. `None`
    /// if the request means what it always means.
    #[cold]
    pub(super) fn on_mode(&mut self, id: Id, call: &Call<'_>, now: Millis) -> Option<Verdict> {
        let client = self.clients.get(id)?;
        if client.mode == Mode::Unauthenticated {
            let mut reply = std::mem::take(&mut self.reading.reply);
            let is_refused = local::refuse_nobody(call.command, call.name(), call.args.len(), &mut reply);
            if is_refused {
                self.reply_here(id, &reply);
            }
            self.spare_reply(reply);
            return is_refused.then_some(Verdict::Done);
        }
        self.on_request_in_state(id, call, now)
    }
}
