//! What goes out at the end of a turn: each connection with something to send gets one gathered write. (A plain reply
//! behind which nothing is owed has gone out by then, straight from the read buffer.)
//!
//! First those are served who wait for a turn, since what they send goes out with the rest; then backends, then
//! clients; and again, as long as that has given somebody a turn. A socket that is full is left alone until it is
//! writable, and from then on its peer must make progress.
//!
//! ```text
//!   served ─► backends ─► clients ─┐
//!      ▲────── somebody may go on ─┘─► settled: nothing to do until the next event
//! ```
//!
//! Invariant: `is_dirty` is true exactly while a connection stands in its list of the dirty.

use std::io::IoSlice;

use super::clients::Clients;
use super::interface::{Conn, TURN_WORK_MAX, Timer, Wire};
use super::pubsub::Pubsub;
use super::state::Proxy;
use super::turn::Turn;
use super::write::send;
use super::{
    bulk, client_read, delivery, flush_client, follow_up, mark, memory, recover, relief, subscribe, subscription_read,
};
use crate::slots::Id;
use crate::timer::Millis;

/// Gives waiting clients their turn, then sends everything that is to be sent.
pub(super) fn transmit<W: Wire>(proxy: &mut Proxy, now: Millis, wire: &mut W) {
    if memory::is_much_taken(&proxy.in_flight) {
        relief::maybe_relieve(proxy);
    }
    if proxy.turn.is_rationed() {
        subscribe::go_on_with_topics(proxy, now);
    }
    loop {
        if is_anything_waiting(&proxy.clients, &proxy.turn, &proxy.pubsub) {
            serve(proxy, now, wire);
        }
        transmit_requests(proxy, now, wire);
        while let Some(id) = proxy.turn.next_dirty_client() {
            flush_client::transmit_client(proxy, id, now, wire);
        }
        if proxy.turn.is_rationed() {
            client_read::serve_deferred(proxy, now, wire);
            subscription_read::go_on_publishing(proxy, now, wire);
        }
        // Who took its replies may go on, and who left may have given room to others.
        if is_settled(proxy) {
            break;
        }
    }
    if proxy.in_flight.memory.is_watched {
        relief::end_relief(proxy);
    }
    if proxy.turn.is_rationed() {
        let has_left_work = delivery::has_left_work(&proxy.clients, &proxy.pubsub);
        proxy.turn.end_ration(has_left_work);
        proxy.pubsub.work_left = TURN_WORK_MAX;
    }
}

/// True exactly when [`serve`] may find something to do. Nearly always it does not: one test for all of it.
#[inline]
fn is_anything_waiting(clients: &Clients, turn: &Turn, pubsub: &Pubsub) -> bool {
    let is_waiting = clients.parked() | clients.paused() | turn.to_serve();
    is_waiting | pubsub.registry.orphans() != 0
}

/// What those have left who are gone, and the turns of those who wait.
#[inline(never)]
fn serve<W: Wire>(proxy: &mut Proxy, now: Millis, wire: &mut W) {
    follow_up::handle_follow_ups(proxy, now);
    subscribe::let_go_of_topics(proxy, now);
    client_read::serve_waiting(proxy, now, wire);
}

/// Sends the requests that are to be sent. The shell calls it between reading its clients and reading its backends:
/// the servers shall be at work while replies are handed out.
pub(super) fn transmit_requests<W: Wire>(proxy: &mut Proxy, now: Millis, wire: &mut W) {
    // The first one first: of two clients that block in one turn, the server shall see the first one before.
    let mut at = 0;
    while let Some(id) = proxy.turn.dirty_backend(at) {
        at += 1;
        transmit_backend(proxy, id, now, wire);
    }
    proxy.turn.clear_dirty_backends();
}

/// True exactly when [`Proxy::transmit`] would do nothing.
pub(super) fn is_settled(proxy: &Proxy) -> bool {
    proxy.turn.to_do(proxy.clients.parked() > 0) | proxy.pubsub.registry.orphans() == 0
}

fn transmit_backend<W: Wire>(proxy: &mut Proxy, id: Id, now: Millis, wire: &mut W) {
    let Some(backend) = proxy.upstreams.backend_mut(id) else { return };
    backend.count_queued(proxy.in_flight.measured.clock_us);
    if !backend.begin_flush() {
        return;
    }
    let write_ms = proxy.settings.timeouts.remote_write_ms;
    let had_much = backend.queue().unsent() > proxy.settings.limits.send_queue_bytes_max / 2;
    let result = if backend.is_answering() {
        send(backend.queue(), &proxy.in_flight.arena, Conn::Backend(id), wire).map(|sent| {
            backend.on_sent(&proxy.in_flight.arena, sent.bytes);
            sent.is_blocked
        })
    } else {
        let Some(handshake) = backend.handshake_mut() else { return };
        let rest = handshake.unsent();
        let len = rest.len();
        if len == 0 {
            return;
        }
        wire.write(Conn::Backend(id), &[IoSlice::new(rest)]).map(|n| {
            handshake.on_sent(n);
            n < len
        })
    };
    match result {
        Ok(is_blocked) => {
            backend.on_written(is_blocked, now);
            let unsent = backend.queue().unsent();
            if is_blocked {
                backend.wake_at(&mut proxy.wheel, Timer::Backend(id), now + write_ms);
            } else if unsent > 0 && backend.handshake().is_none() {
                mark::mark_backend_dirty(&mut proxy.upstreams, &mut proxy.turn, id);
            }
            let Some(backend) = proxy.upstreams.backend_mut(id) else { return };
            if had_much {
                // Its uploader, if there is one, may not have been listened to until now.
                backend.on_uploader_unread(now);
            }
            let has_room = unsent <= proxy.settings.limits.send_queue_bytes_max / 2;
            if let Some(uploader) = backend.uploader().filter(|_| has_room) {
                proxy.turn.resume(Conn::Client(uploader));
            }
            if backend.is_in_bulk() {
                bulk::on_sent_in_bulk(proxy, id);
            }
        }
        Err(error) => match backend.handshake_mut() {
            // A server that speaks before it is asked, and closes: what it said is read next, and then the end.
            Some(handshake) => handshake.on_broken(error.to_string()),
            None => recover::handle_backend_broken(proxy, id, &error.to_string(), now),
        },
    }
}
