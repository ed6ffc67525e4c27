//! Clients that give a wrong password: counted, told of in the log, and answered late.
//!
//! ```text
//!   AUTH, and it is wrong ─► Denied: not listened to ─► the time has come: -WRONGPASS, in its place ─► Open
//! ```
//!
//! The first waits 100 ms, each further one within ten seconds twice as long as the one before, up to a second:
//! whichever client of this listener it comes from, since who guesses need not do it on one connection. Who gives the
//! right password never waits, and nobody else notices. A connection waits its time even if its other end is gone
//! (nobody reads what it would say): so a guess costs a connection for that long, and `clientsMax` bounds the guesses.
//! Within a transaction nobody can try (`local_steps`).

use super::interface::{NO_DEADLINE, Timer};
use super::state::Proxy;
use super::{answer, report};
use crate::client::Flow;
use crate::local;
use crate::notice::{Kind, printable};
use crate::request::{Request, RequestId};
use crate::slots::Id;
use crate::timer::Millis;

/// A client gave a wrong password for this user.
pub(super) fn deny(proxy: &mut Proxy, id: Id, user: &[u8], now: Millis) {
    proxy.journal.stats.denials += 1;
    report::warn_of_client(
        &proxy.clients,
        &mut proxy.journal,
        Kind::Denied,
        id,
        format_args!("gave a wrong password for user \"{}\"", printable(user)),
    );
    let until = now + proxy.clients.next_denial_ms(now);
    let Some(client) = proxy.clients.get_mut(id).filter(|client| client.is_open()) else { return };
    let mut request = Request::new(id, NO_DEADLINE, 0, 0, false);
    request.mute(client.takes_no_reply());
    let request = proxy.in_flight.requests.insert(request);
    client.reply_order_mut().push(&mut proxy.in_flight.requests, request);
    client.enter(Flow::Denied { request, until });
    client.wake_at(&mut proxy.wheel, Timer::Client(id), until);
}

/// It has waited for that.
pub(super) fn on_denial_over(proxy: &mut Proxy, id: Id, request: RequestId, now: Millis) {
    let Some(client) = proxy.clients.get_mut(id) else { return };
    client.enter(Flow::Open);
    proxy.turn.wake(id);
    let mut reply = proxy.reading.take_reply();
    local::write_denial(&mut reply);
    answer::deliver_own(proxy, id, request, &reply, now);
    reply.clear();
    proxy.reading.spare_reply(reply);
}
