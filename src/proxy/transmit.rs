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

use std::io::{self, IoSlice};

use super::{Conn, Departure, Goodbye, Proxy, SLICES_MAX, TURN_WORK_MAX, Timer, Wire};
use crate::buffer::{Arena, Queue};
use crate::client::Flow;
use crate::slots::Id;
use crate::timer::Millis;

impl Proxy {
    /// Gives waiting clients their turn, then sends everything that is to be sent.
    pub fn transmit<W: Wire>(&mut self, now: Millis, wire: &mut W) {
        if self.is_much_taken() {
            self.maybe_relieve();
        }
        if self.turn.is_rationed() {
            self.go_on_with_topics(now);
        }
        loop {
            if self.is_anything_waiting() {
                self.serve(now, wire);
            }
            self.transmit_requests(now, wire);
            while let Some(id) = self.turn.next_dirty_client() {
                self.transmit_client(id, now, wire);
            }
            if self.turn.is_rationed() {
                self.serve_deferred(now, wire);
                self.go_on_publishing(now, wire);
            }
            // Who took its replies may go on, and who left may have given room to others.
            if self.is_settled() {
                break;
            }
        }
        if self.in_flight.memory.is_watched {
            self.end_relief();
        }
        if self.turn.is_rationed() {
            let has_left_work = self.has_left_work();
            self.turn.end_ration(has_left_work);
            self.pubsub.work_left = TURN_WORK_MAX;
        }
    }

    /// True exactly when [`Proxy::serve`] may find something to do. Nearly always it does not: one test for all of it.
    #[inline]
    fn is_anything_waiting(&self) -> bool {
        let is_waiting = self.clients.parked | self.clients.paused.len() | self.turn.to_serve();
        is_waiting | self.pubsub.registry.orphans() != 0
    }

    /// What those have left who are gone, and the turns of those who wait.
    #[inline(never)]
    fn serve<W: Wire>(&mut self, now: Millis, wire: &mut W) {
        self.handle_departures(now);
        self.let_go_of_topics(now);
        self.serve_waiting(now, wire);
    }

    /// Sends the requests that are to be sent. The shell calls it between reading its clients and reading its backends:
    /// the servers shall be at work while replies are handed out.
    pub fn transmit_requests<W: Wire>(&mut self, now: Millis, wire: &mut W) {
        // The first one first: of two clients that block in one turn, the server shall see the first one before.
        let mut at = 0;
        while let Some(id) = self.turn.dirty_backend(at) {
            at += 1;
            self.transmit_backend(id, now, wire);
        }
        self.turn.clear_dirty_backends();
    }

    /// Deals with what those have left who are gone: halves of requests, and backends that they had for themselves.
    ///
    /// The shell calls it, and closes what is to be closed, before it reads: an element that somebody pushes in this
    /// turn must not go to a backend that still waits for a client that has left.
    pub fn handle_departures(&mut self, now: Millis) {
        if self.turn.has_departures() {
            self.handle_each_departure(now);
        }
    }

    #[cold]
    fn handle_each_departure(&mut self, now: Millis) {
        while self.turn.has_departures() {
            for departure in self.turn.take_departures() {
                match departure {
                    Departure::Upload(backend, client) => self.abandon_upload(backend, client, now),
                    Departure::Bulk(client, bulk) => self.release_bulk(client, bulk, None, now),
                    Departure::Lease(backend, owner, cleanup) => self.take_back(backend, owner, cleanup, now),
                }
            }
        }
    }

    /// True exactly when [`Proxy::transmit`] would do nothing.
    pub(super) fn is_settled(&self) -> bool {
        self.turn.to_do(self.clients.parked > 0) | self.pubsub.registry.orphans() == 0
    }

    fn transmit_backend<W: Wire>(&mut self, id: Id, now: Millis, wire: &mut W) {
        let Some(backend) = self.upstreams.backend_mut(id) else { return };
        if !backend.begin_flush() {
            return;
        }
        let write_ms = self.settings.timeouts.remote_write_ms;
        let had_much = backend.queue().unsent() > self.settings.limits.send_queue_bytes_max / 2;
        let result = if backend.is_answering() {
            send(backend.queue(), &self.in_flight.arena, Conn::Backend(id), wire).map(|sent| {
                backend.on_sent(&self.in_flight.arena, sent.bytes);
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
                    backend.wake_at(&mut self.wheel, Timer::Backend(id), now + write_ms);
                } else if unsent > 0 && backend.handshake().is_none() {
                    self.mark_backend_dirty(id);
                }
                let Some(backend) = self.upstreams.backend_mut(id) else { return };
                if had_much {
                    // Its uploader, if there is one, may not have been listened to until now.
                    backend.on_uploader_unread(now);
                }
                let has_room = unsent <= self.settings.limits.send_queue_bytes_max / 2;
                if let Some(uploader) = backend.uploader().filter(|_| has_room) {
                    self.turn.resume(Conn::Client(uploader));
                }
                if backend.is_in_bulk() {
                    self.on_sent_in_bulk(id);
                }
            }
            Err(error) => match backend.handshake_mut() {
                // A server that speaks before it is asked, and closes: what it said is read next, and then the end.
                Some(handshake) => handshake.on_broken(error.to_string()),
                None => self.handle_backend_broken(id, &error.to_string(), now),
            },
        }
    }

    pub(super) fn transmit_client<W: Wire>(&mut self, id: Id, now: Millis, wire: &mut W) {
        let Some(client) = self.clients.get_mut(id) else { return };
        client.is_dirty = false;
        if client.flow == Flow::Closed {
            return;
        }
        let is_held_up = matches!(client.flow, Flow::Paused { .. }) || client.holds_back || client.bulk.is_some();
        if !client.is_write_blocked && client.replies.unsent() > 0 {
            match send(&client.replies, &self.in_flight.arena, Conn::Client(id), wire) {
                Ok(sent) => {
                    client.replies.consume(&mut self.in_flight.arena, sent.bytes);
                    client.is_write_blocked = sent.is_blocked;
                    // If nothing was taken, then because its socket is full since just now.
                    client.took_at = now;
                    client.heard_at = now;
                    if sent.is_blocked {
                        self.watch_client_writes(id);
                    } else if client.replies.unsent() > 0 {
                        self.mark_client_unsent(id);
                    }
                }
                Err(_) => return self.close_client(id, Goodbye::Broken),
            }
        }
        // Who is listened to again may have requests that wait; it is seen off when they are dealt with.
        if !is_held_up || !self.maybe_resume(id, now) {
            self.maybe_say_goodbye(id);
        }
    }

    /// A client's socket is full: from here on it must make progress.
    pub(super) fn watch_client_writes(&mut self, id: Id) {
        let write_ms = self.settings.timeouts.local_write_ms;
        if write_ms == 0 {
            return;
        }
        if let Some(client) = self.clients.get_mut(id) {
            let deadline = client.took_at + write_ms;
            client.alarm.set(&mut self.wheel, Timer::Client(id), deadline);
        }
    }

    /// A client that was paused because it had too much unread is listened to again, once it has taken half of it. True
    /// if it is: its turn to go on has still to come. What is held back for it comes, and bulk ends, when it may.
    fn maybe_resume(&mut self, id: Id, now: Millis) -> bool {
        let limits = &self.settings.limits;
        let Some(client) = self.clients.get_mut(id) else { return false };
        let is_resumed = match client.flow {
            Flow::Paused { is_full, .. } => {
                client.unread() <= limits.client_unread_pause_bytes / 2
                    && (is_full || client.reply_order.len() <= limits.client_outstanding_max / 2)
            }
            _ => false,
        };
        let holds_back = client.holds_back;
        if is_resumed {
            self.unpause(id);
        }
        if holds_back {
            self.stop_holding_back(id, now);
            self.check_unread(id, now);
        }
        if !is_resumed {
            self.maybe_leave_bulk(id, now);
        }
        is_resumed
    }
}

/// How far a write got.
pub(super) struct Sent {
    pub bytes: usize,
    pub is_blocked: bool,
}

/// Writes what waits in `queue`, up to [`SLICES_MAX`] chunks of it. The caller notes what was sent.
#[inline(always)]
fn send<W: Wire>(queue: &Queue, arena: &Arena, conn: Conn, wire: &mut W) -> io::Result<Sent> {
    // Nearly always it is one chunk, for which the table of the gathered write would cost more than all the rest.
    match queue.only_slice(arena) {
        Some(only) => {
            let bytes = wire.write(conn, &[IoSlice::new(only)])?;
            Ok(Sent { bytes, is_blocked: bytes < only.len() })
        }
        None => gather(queue, arena, &[], conn, wire),
    }
}

/// As [`send`], with `last` behind the queue.
pub(super) fn gather<W: Wire>(queue: &Queue, arena: &Arena, last: &[u8], conn: Conn, wire: &mut W) -> io::Result<Sent> {
    let mut slices = [IoSlice::new(&[]); SLICES_MAX];
    let mut count = 0;
    let mut total = 0;
    for slice in queue.slices(arena).take(SLICES_MAX - 1) {
        slices[count] = IoSlice::new(slice);
        count += 1;
        total += slice.len();
    }
    if !last.is_empty() && total == queue.unsent() {
        slices[count] = IoSlice::new(last);
        count += 1;
        total += last.len();
    }
    if total == 0 {
        return Ok(Sent { bytes: 0, is_blocked: false });
    }
    let bytes = wire.write(conn, &slices[..count])?;
    Ok(Sent { bytes, is_blocked: bytes < total })
}
