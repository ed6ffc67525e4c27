//! Clients in bulk: deep pipelines, and replies that are taken more slowly than they come.
//!
//! A client may write all of a pipeline before it reads the first reply. Redis takes it: it goes on reading, and keeps
//! the replies. On a connection that many clients share, keeping them would be rmux's share, without bound, and not
//! reading them would be everybody's loss. So a client with more in flight, or more unread, than others may wait behind
//! gets a connection of its own at each server that it uses, where backpressure costs nobody else anything:
//!
//! ```text
//!   client ──► its requests go on, as fast as the server takes them (Flow::Throttled)
//!          ◄── its replies: what it does not take is not read from the server, which keeps it (is_held_back)
//!
//!   several servers: all connections but the one with the next reply in order are held back together
//! ```
//!
//! The connection that carries its requests just now becomes its own in place: what others have in flight there is
//! answered as before, new requests of theirs go elsewhere, and, if it has to be held back, their reads are asked
//! elsewhere too (`reroute`). The rule for whoever holds a connection decides whether it may have one
//! (`Pool::may_hold`). If not, it is not read (`Flow::Paused`) until it has taken what it is owed, or may; if it takes
//! nothing meanwhile and has more to say, it is told so after `remoteConnectTimeout`, and leaves.
//!
//! Replies that rmux makes no server can keep. Small ones (`PING`, `ECHO`, errors) are kept here, up to
//! `clientUnreadBytesMax`: whoever writes all before it reads is not left hanging. Those that are much longer than what
//! asks for them (`CLIENT LIST`, `INFO`, `EXEC` with such a step) are not made while more than `clientUnreadPauseBytes`
//! is unread. Either way its requests wait then (`Paused`, `is_full`), in bulk or not, until it has taken some; if it
//! takes nothing for `localRequestTimeout`, it is told so, and leaves. So a client never has more of them unread than
//! the pause mark and the answer to one request about the pool; nor, of all that rmux makes, more than
//! `clientUnreadBytesMax` and the answer to one request.
//!
//! Bytes of what was sent are not kept beyond a few: what would be lost with such a connection is not sent again. Time
//! runs as for one long request: out when the server says nothing for `remoteReadTimeout` while it is read.
//!
//! Invariants: a client has `bulk` exactly while it is in bulk; each backend in there has it as its owner, and
//! `is_bulk`; a backend is held back only for its owner, or for the only client that waits for its replies.

use std::mem;

use super::dispatch::Pick;
use super::{Conn, Goodbye, LARGE, Proxy, Timer};
use crate::backend::Backend;
use crate::client::{Bulk, Client, Flow, Leased};
use crate::limits::Timeouts;
use crate::request::{Place, Request, RequestId, Role};
use crate::server_id::ServerId;
use crate::session::Profile;
use crate::slots::Id;
use crate::timer::Millis;

/// With so many requests in flight, a client has a connection of its own, if it may hold one: nobody shall stand behind
/// all of their replies.
pub(super) const DEEP: usize = 256;

impl Proxy {
    /// A client has more in flight, or more unread, than others may wait behind: from here on it has the connections
    /// for itself on which it has requests. False if they may not be held.
    pub(super) fn enter_bulk(&mut self, id: Id, now: Millis) -> bool {
        let Some(client) = self.clients.get(id) else { return false };
        if client.bulk.is_some() {
            return true;
        }
        if self.upstreams.never_leases_anywhere() {
            return false;
        }
        let leased = client.leased();
        let used =
            client.affinities.iter().map(|affinity| Leased { server: affinity.server, backend: affinity.backend });
        let held: Vec<Leased> =
            used.clone().chain(leased.filter(|leased| used.clone().all(|one| one != *leased))).collect();
        if !held.iter().all(|held| self.may_have(id, held.backend, now)) {
            return false;
        }
        if let Some(client) = self.clients.get_mut(id) {
            client.bulk = Some(Box::default());
        }
        held.into_iter().for_each(|held| self.hold_in_bulk(id, held, now));
        true
    }

    /// A client in bulk has everything that it was owed: its connections are everybody's again.
    pub(super) fn maybe_leave_bulk(&mut self, id: Id, now: Millis) {
        let Some(client) = self.clients.get_mut(id).filter(|client| client.bulk.is_some() && client.is_quiet()) else {
            return;
        };
        if matches!(client.flow, Flow::Open | Flow::Leaving) {
            let leased = client.leased();
            if let Some(bulk) = client.bulk.take() {
                self.release_bulk(id, *bulk, leased, now);
            }
        }
    }

    /// Gives back the connections of a client that is in bulk no longer; `leased` is what it has for another reason.
    pub(super) fn release_bulk(&mut self, owner: Id, bulk: Bulk, leased: Option<Leased>, now: Millis) {
        for held in bulk.held {
            self.release_held(owner, held, leased == Some(held), now);
        }
    }

    fn release_held(&mut self, owner: Id, held: Leased, is_leased: bool, now: Millis) {
        // What one has had who is gone may be somebody else's by now.
        let is_owned = |backend: &&mut Backend| backend.is_in_bulk_for(owner);
        let Some(backend) = self.upstreams.backend_mut(held.backend).filter(is_owned) else { return };
        backend.end_bulk();
        if is_leased {
            // What is rmux's own in its line (`MULTI`) is short, and others stand behind nothing here.
            return;
        }
        // Until its session is clean it stays its owner's, who may be gone.
        let is_cleanup = |request: RequestId| self.in_flight.requests[request].role() == Role::Cleanup;
        if backend.in_flight().iter(&self.in_flight.requests).any(is_cleanup) {
            return;
        }
        backend.unlease();
        let is_for_nobody = |request: RequestId| {
            let entry = &self.in_flight.requests[request];
            entry.client() == Id::NONE && entry.role() != Role::Guard
        };
        if backend.is_ready() && backend.in_flight().iter(&self.in_flight.requests).any(is_for_nobody) {
            // What it still has to say may be long, and nobody shall wait behind it. One that has not begun would
            // be lost for those who wait already.
            self.drain_backend(held.backend, now);
        }
    }

    /// A backend in bulk, or held back, has said something. When its client is owed nothing more on it, it is
    /// everybody's again, and read.
    pub(super) fn maybe_release(&mut self, id: Id, now: Millis) {
        let Some(backend) = self.upstreams.backend(id) else { return };
        let (server, owner) = (backend.server(), backend.owner());
        let is_held_back = backend.is_read_paused();
        let client_of = |request: RequestId| self.clients.get(self.in_flight.requests[request].client());
        let is_awaited = match backend.is_in_bulk() {
            true => owner
                .and_then(|owner| self.clients.get(owner)?.affinity(server))
                .is_some_and(|affinity| affinity.backend == id),
            false => {
                backend.in_flight().iter(&self.in_flight.requests).filter_map(client_of).any(|client| client.holds_back)
            }
        };
        if is_awaited {
            return;
        }
        if is_held_back {
            self.read_on(id, now);
        }
        let held = Leased { server, backend: id };
        let Some(owner) = owner else { return };
        let Some(client) = self.clients.get_mut(owner) else { return };
        match client.flow {
            Flow::BlockedOnCommand { backend } | Flow::Uploading { backend, .. } if backend == id => return,
            // Its departure will, when the session there is clean.
            Flow::Closed => return,
            _ => {}
        }
        let is_leased = client.leased() == Some(held);
        if let Some(bulk) = &mut client.bulk {
            bulk.held.retain(|one| *one != held);
        }
        if client.flow == (Flow::Throttled { backend: id }) {
            self.turn.wake(owner);
        }
        self.release_held(owner, held, is_leased, now);
    }

    /// Which backend takes the next request of a client in bulk: its own at that server, or one that it can have.
    /// `None` if it is like any other there: it can have none, and has not so much that it needs one.
    pub(super) fn pick_in_bulk(&mut self, id: Id, server: ServerId, profile: Profile, now: Millis) -> Option<Pick> {
        let client = self.clients.get(id)?;
        let affinity = client.affinity(server);
        if let Some(own) = client.bulk.as_ref().and_then(|bulk| bulk.at(server)) {
            match self.pick_own(own, affinity.is_some(), profile, now) {
                // Nothing of its own will wake it: that one is of no use to it.
                Pick::Behind if affinity.is_none() => self.release_unused(id, now),
                pick => return Some(pick),
            }
        }
        if let Some(affinity) = affinity {
            if self.may_have(id, affinity.backend, now) {
                self.hold_in_bulk(id, Leased { server, backend: affinity.backend }, now);
                return Some(self.pick_own(affinity.backend, true, profile, now));
            }
            return self.is_for_bulk(id).then_some(Pick::Behind);
        }
        match self.lease(id, server, now) {
            Pick::Take(backend) => {
                self.hold_in_bulk(id, Leased { server, backend }, now);
                Some(Pick::Take(backend))
            }
            pick => self.is_for_bulk(id).then_some(pick),
        }
    }

    fn pick_own(&mut self, own: Id, has_lane: bool, profile: Profile, now: Millis) -> Pick {
        match self.upstreams.backend(own) {
            Some(backend) if backend.profile() == profile && backend.has_room_for_owner(&self.settings.limits) => {
                Pick::Take(own)
            }
            Some(backend) if backend.profile() == profile && backend.is_serving() && backend.uploader().is_none() => {
                Pick::Throttle(own)
            }
            Some(backend) if !has_lane && backend.is_ready() && backend.in_flight().is_empty() => {
                self.change_profile(own, profile, now);
                Pick::Take(own)
            }
            _ => Pick::Behind,
        }
    }

    /// Gives back what a client in bulk has, and has no requests on: it is going to wait, and others may be waiting.
    pub(super) fn release_unused(&mut self, id: Id, now: Millis) {
        let Some(client) = self.clients.get_mut(id) else { return };
        let leased = client.leased();
        let Some(bulk) = &mut client.bulk else { return };
        let held = mem::take(&mut bulk.held);
        for held in held {
            let Some(client) = self.clients.get_mut(id) else { return };
            let is_used = client.affinity(held.server).is_some();
            match &mut client.bulk {
                Some(bulk) if is_used => bulk.held.push(held),
                _ => self.release_held(id, held, leased == Some(held), now),
            }
        }
    }

    fn hold_in_bulk(&mut self, id: Id, held: Leased, now: Millis) {
        // While the requests of one that is lost get their replies, some of them still stand there.
        let is_open = |backend: &&mut Backend| !backend.is_closed();
        let Some(backend) = self.upstreams.backend_mut(held.backend).filter(is_open) else { return };
        backend.lease_in_bulk(id, now);
        if let Some(bulk) = self.clients.get_mut(id).and_then(|client| client.bulk.as_mut()) {
            bulk.held.push(held);
        }
    }

    /// A client has more unread than it should: what its servers send from here on stays with them, as far as that
    /// keeps nobody else waiting. False if its connections may not be held for it.
    pub(super) fn hold_back(&mut self, id: Id, now: Millis) -> bool {
        let Some(client) = self.clients.get(id) else { return true };
        let count = client.affinities.len();
        let is_far_over = client.excess() > self.client_unread_max();
        let is_over = client.unread() >= self.settings.limits.client_unread_pause_bytes;
        // Who waits for its own replies is not listened to before it has them.
        if client.awaits_replies() && !is_far_over {
            return true;
        }
        self.enter_bulk(id, now);
        let mut is_restrained = true;
        for index in 0..count {
            let Some(client) = self.clients.get(id) else { break };
            let (Some(&affinity), is_bulk) = (client.affinities.get(index), client.bulk.is_some()) else { break };
            let is_read = |backend: &&Backend| !backend.is_read_paused() && backend.is_answering();
            let Some(backend) = self.upstreams.backend(affinity.backend).filter(is_read) else { continue };
            let mut is_own = backend.is_in_bulk_for(id);
            if is_bulk && !is_own && self.may_have(id, affinity.backend, now) {
                self.hold_in_bulk(id, Leased { server: affinity.server, backend: affinity.backend }, now);
                is_own = true;
            }
            let Some(backend) = self.upstreams.backend(affinity.backend) else { continue };
            if is_over && is_own && backend.awaited() > affinity.count as usize && !backend.is_rerouted() {
                self.reroute(affinity.backend, id, now);
            }
            let (unread, unread_max) = self.unread_before(id, affinity.backend);
            let Some(backend) = self.upstreams.backend(affinity.backend) else { continue };
            let is_alone = backend.awaited() <= affinity.count as usize;
            // Without a right to it, it is kept from nobody who waits for one.
            let may_wait = match is_own {
                true => is_alone || is_far_over,
                false => is_alone && !self.upstreams.pool(affinity.server).is_waited_for(),
            };
            is_restrained &= is_own;
            if may_wait && (unread >= unread_max || unread > 0 && backend.is_in_large_reply()) {
                if let Some(backend) = self.upstreams.backend_mut(affinity.backend) {
                    backend.pause_reads();
                }
                if let Some(client) = self.clients.get_mut(id) {
                    client.holds_back = true;
                }
            }
        }
        is_restrained
    }

    /// Bytes that the next reply of this backend for this client would wait behind, or with, and how many are much: if
    /// it is its turn, those on their way to the client; if not, those that came early.
    fn unread_before(&self, id: Id, backend: Id) -> (usize, usize) {
        let (Some(client), Some(backend)) = (self.clients.get(id), self.upstreams.backend(backend)) else {
            return (0, 1);
        };
        let is_own = |request: &RequestId| self.in_flight.requests[*request].client() == id;
        let first = backend.in_flight().iter(&self.in_flight.requests).find(is_own);
        let next = match first.map(|request| self.in_flight.requests[request].place()) {
            Some(Place::Part(merging)) => Some(self.in_flight.merges[merging as usize].parent),
            _ => first,
        };
        let unread_max = self.settings.limits.client_unread_pause_bytes;
        match client.reply_order.first() == next
            || client.reply_order.first().is_some_and(|first| self.was_moved(first))
        {
            true => (client.replies.unsent(), unread_max),
            false if client.replies.unsent() >= unread_max => (client.unread(), unread_max),
            false => (client.early_bytes, early_max(unread_max)),
        }
    }

    /// True exactly when a request, or a part of one, was given to another backend, and so may stand there behind some
    /// that its client sent later.
    fn was_moved(&self, request: RequestId) -> bool {
        let entry = &self.in_flight.requests[request];
        let is_moved = |entry: &Request| entry.losses() > 0 || entry.is_moved();
        match entry.place() {
            Place::Merging(merging) => {
                let mut parts = self.in_flight.merges[merging as usize].parts().iter().filter_map(|part| part.request);
                parts.any(|part| is_moved(&self.in_flight.requests[part]))
            }
            _ => is_moved(entry),
        }
    }

    /// A client is not listened to until replies of its own have come: what is held back of them has to be read.
    pub(super) fn await_replies(&mut self, id: Id, flow: Flow) {
        if let Some(client) = self.clients.get_mut(id) {
            client.flow = flow;
            if client.holds_back {
                self.mark_client_dirty(id);
            }
        }
    }

    /// Reads on from the backends that were held back for this client, as far as it has taken what was before that, or
    /// is not listened to until their replies are there.
    pub(super) fn stop_holding_back(&mut self, id: Id, now: Millis) {
        let Some(client) = self.clients.get_mut(id) else { return };
        client.holds_back = false;
        let (awaits_replies, unread) = (client.awaits_replies(), client.excess());
        let may_come = awaits_replies && unread <= self.client_unread_max();
        for index in 0.. {
            let Some(affinity) = self.clients.get(id).and_then(|client| client.affinities.get(index).copied()) else {
                return;
            };
            let Some(backend) = self.upstreams.backend(affinity.backend).filter(|backend| backend.is_read_paused())
            else {
                continue;
            };
            let is_in_large_reply = backend.is_in_large_reply();
            let (unread, much) = self.unread_before(id, affinity.backend);
            // What its socket did not take of a large reply need not be copied here.
            let unread_max = if is_in_large_reply { 0 } else { much / 2 };
            if may_come || unread <= unread_max {
                self.read_on(affinity.backend, now);
            } else if let Some(client) = self.clients.get_mut(id) {
                client.holds_back = true;
            }
        }
    }

    /// The same when the client is gone.
    pub(super) fn forget_held_back(&mut self, id: Id) {
        let Some(client) = self.clients.get(id) else { return };
        for affinity in &client.affinities {
            if let Some(backend) =
                self.upstreams.backend_mut(affinity.backend).filter(|backend| backend.is_read_paused())
            {
                backend.resume_reads(None);
                let now = self.wheel.now();
                backend.wake_at(&mut self.wheel, Timer::Backend(affinity.backend), now);
                self.turn.resume(Conn::Backend(affinity.backend));
            }
        }
    }

    /// A backend that was held back is read again, and its server has its time from now on.
    fn read_on(&mut self, backend: Id, now: Millis) {
        let Some(entry) = self.upstreams.backend_mut(backend) else { return };
        entry.resume_reads(Some(now));
        entry.wake_at(&mut self.wheel, Timer::Backend(backend), now + self.settings.timeouts.remote_read_ms);
        self.turn.resume(Conn::Backend(backend));
    }

    /// True exactly when a client has more in flight, or more unread, than a part of what others may wait behind.
    fn has_much(&self, id: Id, divisor: usize) -> bool {
        let limits = &self.settings.limits;
        self.clients.get(id).is_some_and(|client| {
            client.reply_order.len() >= limits.client_outstanding_max.div_ceil(divisor)
                || client.unread() >= limits.client_unread_pause_bytes.div_ceil(divisor)
        })
    }

    /// True exactly when the next request of a client needs a connection of its own.
    pub(super) fn is_for_bulk(&self, id: Id) -> bool {
        self.has_much(id, 1) && self.clients.get(id).is_some_and(|client| client.bulk.is_some())
    }

    /// A backend in bulk has sent some of what it was given.
    #[cold]
    pub(super) fn on_sent_in_bulk(&mut self, id: Id) {
        let Some(backend) = self.upstreams.backend_mut(id) else { return };
        // Of a long pipeline nothing is sent again, and nothing kept for that.
        if backend.queue().sent() - backend.answered() > LARGE as u64 {
            backend.release_sent(&mut self.in_flight.arena);
        }
        let is_throttled = |client: &Client| client.flow == (Flow::Throttled { backend: id });
        let has_room = backend.queue().unsent() <= self.settings.limits.send_queue_bytes_max / 2;
        let owner = backend.owner().filter(|_| has_room);
        if let Some(owner) = owner.filter(|owner| self.clients.get(*owner).is_some_and(is_throttled)) {
            self.turn.wake(owner);
        }
    }

    /// A client has one request more in flight, or a run of them.
    #[cold]
    pub(super) fn on_forwarded(&mut self, id: Id, now: Millis) {
        if self.clients.get(id).is_some_and(|client| client.reply_order.len() >= DEEP) {
            self.enter_bulk(id, now);
        }
        self.maybe_pause(id);
    }

    /// Stops listening to a client that has much, or, when memory is short, anything. Whether it goes on in bulk is
    /// decided before the turn ends.
    pub(super) fn maybe_pause(&mut self, id: Id) {
        let is_memory_short = self.is_memory_short();
        let Some(client) = self.clients.get(id).filter(|client| client.flow == Flow::Open) else { return };
        let is_full = client.bulk.is_some() && client.unread() >= self.settings.limits.client_unread_bytes_max;
        let is_short = is_memory_short && !client.is_quiet();
        if is_short || is_full || client.bulk.is_none() && self.has_much(id, 1) {
            self.pause(id, is_full && !is_short);
        }
    }

    /// The next request of a client is answered by rmux, at length. True if it has to wait, since too much is unread.
    pub(super) fn is_full(&mut self, id: Id) -> bool {
        let unread_max = self.settings.limits.client_unread_pause_bytes;
        let is_full = self.clients.get(id).is_some_and(|client| client.unread() > unread_max);
        if is_full {
            self.pause(id, true);
        }
        is_full
    }

    fn pause(&mut self, id: Id, is_full: bool) {
        let Some(client) = self.clients.get_mut(id) else { return };
        client.flow = Flow::Paused { since: Millis(0), is_full };
        if let Some(kept) = &mut client.kept {
            kept.since = None;
        }
        self.turn.wake(id);
        self.mark_client_dirty(id);
    }

    /// Lets those go on who are paused and may be in bulk now, the longest first.
    #[cold]
    pub(super) fn serve_paused(&mut self, now: Millis) {
        while let Some(&id) = self.clients.paused.front() {
            if !self.serve_one_paused(id, now) {
                break;
            }
            self.clients.paused.pop_front();
            if let Some(client) = self.clients.get_mut(id) {
                client.is_in_paused = false;
            }
        }
    }

    /// A client was paused in this turn: it goes on in bulk, or waits.
    #[cold]
    pub(super) fn on_paused(&mut self, id: Id, now: Millis) {
        let is_full =
            self.clients.get(id).is_some_and(|client| matches!(client.flow, Flow::Paused { is_full: true, .. }));
        if is_full {
            self.wait_paused(id, now);
        } else if !self.clients.paused.is_empty() || !self.serve_one_paused(id, now) {
            self.wait_paused(id, now);
            let is_new = |client: &mut Client| !mem::replace(&mut client.is_in_paused, true);
            if self.clients.get_mut(id).is_some_and(is_new) {
                self.clients.paused.push_back(id);
            }
        }
    }

    /// False if it has to wait.
    fn serve_one_paused(&mut self, id: Id, now: Millis) -> bool {
        let is_paused = |client: &Client| matches!(client.flow, Flow::Paused { is_full: false, .. });
        let is_paused = self.clients.get(id).is_some_and(is_paused);
        if is_paused && (self.is_memory_short() || self.has_much(id, 2) && !self.enter_bulk(id, now)) {
            return false;
        }
        if is_paused {
            self.unpause(id);
        }
        true
    }

    fn wait_paused(&mut self, id: Id, now: Millis) {
        let Some(client) = self.clients.get_mut(id) else { return };
        let Flow::Paused { since, is_full } = &mut client.flow else { return };
        *since = now;
        if let Some(deadline) = pause_deadline(&self.settings.timeouts, now, *is_full) {
            client.alarm.set(&mut self.wheel, Timer::Client(id), deadline);
        }
    }

    /// A client that was paused is listened to again.
    pub(super) fn unpause(&mut self, id: Id) {
        if let Some(client) = self.clients.get_mut(id) {
            client.flow = Flow::Open;
            self.turn.wake(id);
            self.turn.resume(Conn::Client(id));
        }
    }

    /// A client is paused since this point in time, or was when it was looked at last. If it has taken nothing since
    /// and has more to say, it is told that it waits in vain, and leaves.
    pub(super) fn on_paused_for_long(&mut self, id: Id, since: Millis, is_full: bool, now: Millis) {
        let Some(client) = self.clients.get_mut(id) else { return };
        if !client.is_write_blocked || client.took_at > since || client.kept.is_none() {
            return self.wait_paused(id, now);
        }
        client.flow = Flow::Open;
        let text = match self.is_memory_short() {
            _ if is_full => {
                let ms = self.settings.timeouts.local_request_ms;
                format!("-ERR Too much is unread, and nothing was read within localRequestTimeout ({ms} ms)\r\n")
            }
            true => {
                let max = self.settings.limits.buffered_bytes_max;
                format!("-ERR More than bufferedBytesMax ({max} bytes) is buffered\r\n")
            }
            false => self.no_connection_for_bulk(),
        };
        self.reply_here(id, text.as_bytes());
        self.leave(id);
    }

    /// What a client is told that has much in flight or unread, and has waited in vain for a connection of its own.
    pub(super) fn no_connection_for_bulk(&self) -> String {
        let ms = self.settings.timeouts.remote_connect_ms;
        format!("-ERR No connection became free within {ms} ms for so many requests at a time\r\n")
    }

    /// Looks after a client with more unread than it may have: if it takes nothing, it is closed.
    pub(super) fn check_unread(&mut self, id: Id, now: Millis) {
        let Some(client) = self.clients.get_mut(id) else { return };
        client.merged_bytes = client.merged_bytes.min(client.unread());
        let unread_max = self.settings.limits.client_unread_pause_bytes;
        let is_early = client.bulk.is_some() && client.early_bytes >= early_max(unread_max);
        if client.unread() < unread_max && !is_early {
            return;
        }
        let is_restrained = self.hold_back(id, now);
        let unread_max = self.client_unread_max();
        let stall_ms = self.settings.timeouts.remote_read_ms / 4;
        let Some(client) = self.clients.get_mut(id).filter(|client| client.excess() > unread_max) else { return };
        let stalled_at = client.took_at + stall_ms;
        if !is_restrained || client.is_write_blocked && stalled_at <= now {
            return self.close_client(id, Goodbye::Unread);
        }
        if client.is_write_blocked {
            client.alarm.set(&mut self.wheel, Timer::Client(id), stalled_at);
        }
    }
}

/// Until when a client that takes nothing is paused; `None` for any time.
pub(super) fn pause_deadline(timeouts: &Timeouts, since: Millis, is_full: bool) -> Option<Millis> {
    let ms = if is_full { timeouts.local_request_ms } else { timeouts.remote_connect_ms };
    (ms > 0).then(|| since + ms)
}

/// So many bytes of replies that come before their turn are much, where so many that the client does not take are.
fn early_max(unread_max: usize) -> usize {
    unread_max.div_ceil(16)
}
