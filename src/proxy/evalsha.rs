//! What `EVALSHA` means at a server that does not know the script: it is sent again with the script, if rmux has seen
//! that.

use super::in_flight::InFlight;
use super::scripts::{BYTES_MAX, Scripts};
use super::state::Proxy;
use super::{enqueue, guard, pick, reparse};
use crate::reply;
use crate::request::{Place, RequestId, Role};
use crate::slots::Id;
use crate::timer::Millis;

/// A client has shown a script.
pub(super) fn learn_script(proxy: &mut Proxy, script: &[u8]) {
    proxy.scripts.learn(script, BYTES_MAX.min(proxy.settings.limits.buffered_bytes_max / 16));
    charge_scripts(&mut proxy.in_flight, &mut proxy.scripts);
}

/// The servers forget their scripts.
pub(super) fn forget_scripts(in_flight: &mut InFlight, scripts: &mut Scripts) {
    scripts.clear();
    charge_scripts(in_flight, scripts);
}

fn charge_scripts(in_flight: &mut InFlight, scripts: &mut Scripts) {
    let held = scripts.held();
    in_flight.arena.recharge(&mut scripts.charged, held);
}

/// The server of backend `from` does not know the script of this request, whose bytes are `bytes` and which stands
/// in no backend's line any more. If rmux does, the request is sent again with it. False if nothing was done.
pub(super) fn send_with_script(
    proxy: &mut Proxy,
    client: Id,
    request: RequestId,
    from: Id,
    bytes: &[u8],
    now: Millis,
) -> bool {
    let Some(backend) = proxy.upstreams.backend(from) else { return false };
    let (server, profile) = (backend.server(), backend.profile());
    let entry = &proxy.in_flight.requests[request];
    let is_overtaken = proxy.clients.get(client).is_some_and(|client| client.affinity(server).is_some());
    if entry.place() != Place::Waiting || entry.role() != Role::Plain || is_overtaken {
        return false;
    }
    let Some(framer) = reparse::framed(&proxy.reading, bytes) else { return false };
    let name = match framer.args() {
        [name, _, _, ..] if name.of(bytes).eq_ignore_ascii_case(b"evalsha") => "EVAL",
        [name, _, _, ..] if name.of(bytes).eq_ignore_ascii_case(b"evalsha_ro") => "EVAL_RO",
        _ => return false,
    };
    let digest = framer.args()[1];
    let Some(script) = proxy.scripts.find(digest.of(bytes)) else { return false };
    let mut call = Vec::with_capacity(bytes.len() + script.len());
    reply::array(&mut call, framer.args().len());
    reply::bulk(&mut call, name.as_bytes());
    reply::bulk(&mut call, script);
    call.extend_from_slice(&bytes[digest.end()..]);
    // Where it was asked first, `WAIT` will ask about all that its client has written.
    let has_room = proxy.upstreams.backend(from).is_some_and(|backend| backend.has_room(&proxy.settings.limits));
    let again = || pick::pick_again(proxy, client, server, profile, now);
    let Some(backend_id) = has_room.then_some(from).or_else(again) else { return false };
    let entry = &mut proxy.in_flight.requests[request];
    entry.rewrite(call.len(), now + proxy.settings.timeouts.remote_read_ms);
    let is_write = !entry.is_read();
    let Some(ticket) = enqueue::stand_at(proxy, request, backend_id, server) else { return false };
    if let Some(client) = proxy.clients.get_mut(client).filter(|_| is_write) {
        client.on_write(backend_id);
    }
    let is_guarded = guard::is_guarded(&proxy.settings, &proxy.reading, &call);
    enqueue::forward_owned(&mut proxy.upstreams, &mut proxy.in_flight, &mut proxy.turn, ticket, call);
    if is_guarded {
        guard::send_guard(&mut proxy.upstreams, &mut proxy.in_flight, &mut proxy.turn, backend_id);
    }
    true
}
