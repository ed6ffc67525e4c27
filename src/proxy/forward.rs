//! The bytes of a request on their way to its backend: copied if they are few, straight to the socket if they are many.

use super::in_flight::Ticket;
use super::interface::{Conn, DIRECT_MIN, Timer, Wire};
use super::state::Proxy;
use super::write::{Sent, gather};
use super::{mark, recover};
use crate::slots::Id;
use crate::timer::Millis;

/// Gives a backend the bytes of the request that stands last in its in-flight queue, or the first of them.
#[inline]
pub(super) fn forward<W: Wire>(proxy: &mut Proxy, ticket: Ticket, bytes: &[u8], now: Millis, wire: &mut W) {
    let id = ticket.redeem();
    if proxy.settings.cluster {
        return forward_kept(proxy, id, bytes);
    }
    forward_more(proxy, id, bytes, now, wire);
}

/// The same for a request to a node of a cluster: its bytes are kept until it is answered, since it may be that it was
/// not run.
#[cold]
fn forward_kept(proxy: &mut Proxy, id: Id, bytes: &[u8]) {
    if let Some(backend) = proxy.upstreams.backend_mut(id) {
        backend.push(&mut proxy.in_flight.arena, bytes);
        mark::mark_backend_dirty(&mut proxy.upstreams, &mut proxy.turn, id);
    }
}

/// The same for the next bytes of a request that is passed on as it arrives. A large piece goes straight to the socket,
/// as far as it takes it.
#[inline]
pub(super) fn forward_more<W: Wire>(proxy: &mut Proxy, id: Id, bytes: &[u8], now: Millis, wire: &mut W) {
    let Some(backend) = proxy.upstreams.backend_mut(id) else { return };
    let is_direct = bytes.len() >= DIRECT_MIN && !backend.is_write_blocked() && backend.is_ready();
    if !is_direct {
        backend.push(&mut proxy.in_flight.arena, bytes);
        return mark::mark_backend_dirty(&mut proxy.upstreams, &mut proxy.turn, id);
    }
    backend.count_queued(proxy.in_flight.measured.clock_us);
    let waiting = backend.queue().unsent();
    match gather(backend.queue(), &proxy.in_flight.arena, bytes, Conn::Backend(id), wire) {
        Ok(Sent { bytes: sent, is_blocked }) => {
            backend.on_sent(&proxy.in_flight.arena, sent.min(waiting));
            let past = sent.saturating_sub(waiting);
            if past > 0 {
                backend.skip(past);
            }
            backend.push(&mut proxy.in_flight.arena, &bytes[past..]);
            backend.on_written(is_blocked, now);
            if is_blocked {
                let deadline = now + proxy.settings.timeouts.remote_write_ms;
                backend.wake_at(&mut proxy.wheel, Timer::Backend(id), deadline);
            }
            if past < bytes.len() {
                mark::mark_backend_dirty(&mut proxy.upstreams, &mut proxy.turn, id);
            }
        }
        Err(error) => {
            backend.push(&mut proxy.in_flight.arena, bytes);
            recover::handle_backend_broken(proxy, id, &error.to_string(), now);
        }
    }
}
