//! Which servers are in rmux's own zone: each is asked, on every new connection to it, once the settings name a zone.
//!
//! ```text
//!   INFO server ─► … availability_zone:eu-west-1b …    Valkey since 8.0 (its setting availability-zone), KeyDB, and
//!                                                      services of clouds
//!                  nothing of it, or an error          it has none
//! ```
//!
//! Later versions tell it in `HELLO` and `CLUSTER SLOTS`, too. Who is near is read first (`replicas`); who has no zone,
//! or has not told it yet, is not near. Without a zone of its own rmux asks nobody, and all are near.

use super::enqueue;
use super::settings::Settings;
use super::state::Proxy;
use super::upstreams::Upstreams;
use crate::backend::Backend;
use crate::request::Role;
use crate::resp::elements;
use crate::server_id::ServerId;
use crate::slots::Id;
use crate::timer::Millis;

const INFO: &[u8] = b"*2\r\n$4\r\nINFO\r\n$6\r\nserver\r\n";
const FIELD: &str = "availability_zone:";
/// A longer name is none.
const BYTES_MAX: usize = 64;

/// Whether a server is in rmux's own zone, as far as it has told; if rmux has none, each is.
pub(super) fn is_near(settings: &Settings, upstreams: &Upstreams, server: ServerId) -> bool {
    settings.zone.as_ref().is_none_or(|zone| *zone == upstreams.whereabouts(server).zone)
}

/// A new connection has become ready.
pub(super) fn on_ready(proxy: &mut Proxy, id: Id, now: Millis) {
    // One that a client has for itself may answer late.
    if proxy.settings.zone.is_some() && proxy.upstreams.backend(id).is_some_and(can_tell) {
        enqueue::send_internal(proxy, id, INFO, Role::Zone, now);
    }
}

/// The settings name another zone, or did not name one so far: whoever has not told is asked.
pub(super) fn on_settings(proxy: &mut Proxy, now: Millis) {
    for server in proxy.servers() {
        let is_told = !proxy.upstreams.whereabouts(server).zone.is_empty();
        let found = proxy.upstreams.backends_of(server).find(|(_, backend)| can_tell(backend)).map(|(id, _)| id);
        found.filter(|_| !is_told).into_iter().for_each(|id| on_ready(proxy, id, now));
    }
}

fn can_tell(backend: &Backend) -> bool {
    backend.is_ready() && !backend.is_held()
}

/// A server has answered.
pub(super) fn on_answer(proxy: &mut Proxy, id: Id, reply: &[u8]) {
    let Some(server) = proxy.upstreams.backend(id).map(Backend::server) else { return };
    let Some(known) = proxy.upstreams.whereabouts_mut(server) else { return };
    known.zone = zone_in(reply).to_owned();
    let is_near = is_near(&proxy.settings, &proxy.upstreams, server);
    proxy.router.replicas_mut().set_near(server, is_near);
}

/// The zone in the reply to `INFO`; empty if there is none.
fn zone_in(reply: &[u8]) -> &str {
    let text = elements::text(reply).unwrap_or_default();
    let zone = text.lines().find_map(|line| line.strip_prefix(FIELD)).unwrap_or_default();
    let is_name = zone.len() <= BYTES_MAX && zone.bytes().all(|byte| byte.is_ascii_graphic());
    if is_name { zone } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_read_from_either_protocol_and_nothing_else_is_one() {
        let info = |line: &str| format!("# Server\r\nvalkey_version:8.1.1\r\n{line}\r\nos:x\r\n");
        let text = info("availability_zone:eu-west-1b");
        for reply in [format!("${}\r\n{text}\r\n", text.len()), format!("={}\r\ntxt:{text}\r\n", text.len() + 4)] {
            assert_eq!(zone_in(reply.as_bytes()), "eu-west-1b");
        }
        let long = ["availability_zone:", &"x".repeat(65)].concat();
        for line in
            ["availability_zone:", "availability_zone: a", "availability_zone:a b", "x:availability_zone", &long]
        {
            let text = info(line);
            assert_eq!(zone_in(format!("${}\r\n{text}\r\n", text.len()).as_bytes()), "", "{line}");
        }
        for reply in ["-NOPERM x\r\n", "$-1\r\n", "+OK\r\n", "*0\r\n"] {
            assert_eq!(zone_in(reply.as_bytes()), "");
        }
    }
}
