//! Who may send what: clients that have not said who they are, and what the configuration allows.
//!
//! What the configuration denies is refused in `routing`, beside the lookup of the command, where the question costs
//! one comparison (see `command::Policy`). A client that has not said who it is gets the answer that `local` has for
//! it, unless its request is one of those that let it in.

use super::call::{Call, Verdict, When};
use super::state::Proxy;
use super::{answer, subscribe, transaction};
use crate::client::Mode;
use crate::local;
use crate::slots::Id;

/// A request of a client that is not plain: it has not said who it is, subscribes, or is in a transaction. `None`
/// if the request means what it always means.
#[cold]
pub(super) fn on_mode(proxy: &mut Proxy, id: Id, call: &Call<'_>, when: When) -> Option<Verdict> {
    let client = proxy.clients.get(id)?;
    if client.mode() == Mode::Unauthenticated {
        let mut reply = proxy.reading.take_reply();
        let is_refused = local::refuse_nobody(call.command, call.name(), call.args.len(), &mut reply);
        if is_refused {
            answer::reply_here(proxy, id, &reply);
        }
        proxy.reading.spare_reply(reply);
        return is_refused.then_some(Verdict::Done);
    }
    on_request_in_state(proxy, id, call, when)
}

/// A request of a client that subscribes, or is in a transaction. `None` if it means what it always means.
pub(super) fn on_request_in_state(proxy: &mut Proxy, id: Id, call: &Call<'_>, when: When) -> Option<Verdict> {
    match subscribe::on_subscribers_request(proxy, id, call) {
        None => transaction::on_request_in_transaction(proxy, id, call, when),
        verdict => verdict,
    }
}
