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
//! Within a transaction nobody can try (`own_steps`).

use super::{NO_DEADLINE, Proxy, Timer};
use crate::client::Flow;
use crate::local;
use crate::notice::{Kind, printable};
use crate::request::{Request, RequestId};
use crate::slots::Id;
use crate::timer::Millis;

/// How long the next one waits.
#[derive(Debug, Default)]
pub(super) struct Denials {
    delay_ms: u64,
    last: Millis,
}

const DELAY_FIRST_MS: u64 = 100;
const DELAY_MAX_MS: u64 = 1000;
/// After so long without one it begins anew.
const FORGOTTEN_MS: u64 = 10_000;

impl Denials {
    fn delay(&mut self, now: Millis) -> u64 {
        let is_first = self.delay_ms == 0 || now - self.last > FORGOTTEN_MS;
        self.delay_ms = if is_first { DELAY_FIRST_MS } else { (2 * self.delay_ms).min(DELAY_MAX_MS) };
        self.last = now;
        self.delay_ms
    }
}

impl Proxy {
    /// A client gave a wrong password for this user.
    pub(super) fn deny(&mut self, id: Id, user: &[u8], now: Millis) {
        self.journal.stats.denials += 1;
        self.warn_of_client(Kind::Denied, id, format_args!("gave a wrong password for user \"{}\"", printable(user)));
        let until = now + self.clients.denials.delay(now);
        let Some(client) = self.clients.get_mut(id).filter(|client| client.flow == Flow::Open) else { return };
        let mut request = Request::new(id, NO_DEADLINE, 0, 0, false);
        request.mute(client.session.reply_mode.take());
        let request = self.in_flight.requests.insert(request);
        client.reply_order.push(&mut self.in_flight.requests, request);
        client.flow = Flow::Denied { request, until };
        client.alarm.set(&mut self.wheel, Timer::Client(id), until);
    }

    /// It has waited for that.
    pub(super) fn on_denial_over(&mut self, id: Id, request: RequestId, now: Millis) {
        let Some(client) = self.clients.get_mut(id) else { return };
        client.flow = Flow::Open;
        self.turn.wake(id);
        let mut reply = std::mem::take(&mut self.reading.reply);
        local::write_denial(&mut reply);
        self.deliver(id, request, &reply, now);
        reply.clear();
        self.reading.reply = reply;
    }
}
