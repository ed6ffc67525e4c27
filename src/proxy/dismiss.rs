//! Another process takes over: those who are here are served on, and closed between two of their requests.
//!
//! ```text
//!   the core: it may leave ─► Action::Dismiss ─► the shell reads once more ─► something: a request like any other
//!                                                  └─► nothing: handle_client_silent ─► closed, if it may leave still
//! ```
//!
//! It may leave when the end of its connection is nothing to it but that it connects anew: nothing is in flight, owed
//! or half sent, and there is no transaction, watched key, subscription or backend of its own. Who does not take
//! replies (`CLIENT REPLY`) would not notice which of its requests were lost, and stays. Others stay until they may
//! leave, or until the shell ends.
//!
//! The order and the pace are those of `dismissal`.

use super::client_close_reason::ClientCloseReason;
use super::close;
use super::dismissal::{Dismissal, LOOKS_MAX, TICK_MS};
use super::interface::Timer;
use super::state::Proxy;
use crate::client::Client;
use crate::slots::Id;
use crate::subscription::Triples;
use crate::timer::Millis;

/// No new clients; those that are here are asked to leave, one after the other, within half of this time.
pub(super) fn handle_dismiss(proxy: &mut Proxy, drain_ms: u64, now: Millis) {
    proxy.clients.begin_shutdown();
    // A set of the kind that is there already is in order, too.
    let mut silent = Triples::new();
    for (id, client) in proxy.clients.iter() {
        silent.insert((Id::from_bits(client.connection().heard_at().0), 0, id));
    }
    let dismissal = Dismissal::new(silent.iter().map(|(_, _, id)| *id).collect(), drain_ms, now);
    proxy.wheel.arm(Timer::Dismiss, dismissal.begins());
    *proxy.clients.dismissal_mut() = dismissal;
}

/// It is time to ask some of them.
pub(super) fn on_dismiss_due(proxy: &mut Proxy, now: Millis) {
    let dismissal = proxy.clients.dismissal_mut();
    let (mut due, looks) = (dismissal.due(now), dismissal.len().min(LOOKS_MAX));
    for _ in 0..looks {
        if due == 0 {
            break;
        }
        let Some(id) = proxy.clients.dismissal_mut().next() else { break };
        let Some(client) = proxy.clients.get(id).filter(|client| !client.is_closed()) else {
            proxy.clients.dismissal_mut().count_asked();
            due -= 1;
            continue;
        };
        let may_leave = may_leave(client);
        let dismissal = proxy.clients.dismissal_mut();
        dismissal.put_back(id);
        if may_leave {
            dismissal.count_asked();
            proxy.turn.dismiss(id);
            due -= 1;
        }
    }
    if proxy.clients.dismissal_mut().len() > 0 {
        proxy.wheel.arm(Timer::Dismiss, now + TICK_MS);
    }
}

/// Whether the connection of this client can end now, and it loses nothing. False if there is no such client.
pub(super) fn may_dismiss(proxy: &Proxy, id: Id) -> bool {
    proxy.clients.get(id).is_some_and(may_leave)
}

/// A client that was asked to leave had nothing more to say.
pub(super) fn handle_client_silent(proxy: &mut Proxy, id: Id) {
    if may_dismiss(proxy, id) {
        close::close_client(proxy, id, ClientCloseReason::Dismissed);
    }
}

fn may_leave(client: &Client) -> bool {
    client.is_open() && client.is_quiet() && client.is_bare() && client.session().takes_all_replies()
}
