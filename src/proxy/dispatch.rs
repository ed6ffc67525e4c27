//! Request → backend, once its server is known; and its bytes on their way.
//!
//! All of a client's outstanding requests at one server go down the same backend, or their order would be lost: if that
//! one can not take the next, the client waits until they are answered (`Flow::AwaitingOwnReplies`). Otherwise it
//! waits until any backend can take it (`Flow::AwaitingBackend`), in line, and is told when it has waited long enough.
//!
//! Invariant: a request that is given to a backend stands in both lines, and its bytes follow at once (`forward`).

use super::routing::Verdict;
use super::transmit::{Sent, gather};
use super::{Conn, DIRECT_MIN, NO_DEADLINE, Proxy, Timer, Wire};
use crate::client::{Flow, Need};
use crate::command::Access;
use crate::pool::Offer;
use crate::request::{Request, RequestId};
use crate::server_id::ServerId;
use crate::session::Profile;
use crate::slots::Id;
use crate::timer::Millis;

/// Which backend takes a request.
pub(super) enum Pick {
    /// This one.
    Take(Id),
    /// None, until the client's own requests at that server are answered.
    Behind,
    /// None, until this one, which the client has for itself, has sent some of what it was given.
    Throttle(Id),
    /// None, until one is free.
    Park,
    /// None, and it has waited long enough.
    GiveUp,
    /// None, ever: no backend of this pool can be leased.
    Never,
    /// None: the client speaks another version of the protocol since it watched keys.
    Watching,
}

impl Proxy {
    /// Finds a backend at `server` for a request of `len` bytes, and puts it into both lines.
    pub(super) fn dispatch(
        &mut self,
        id: Id,
        server: ServerId,
        hash: u32,
        access: Access,
        len: usize,
        now: Millis,
    ) -> Verdict {
        let Some(client) = self.clients.get(id) else { return Verdict::Done };
        let profile = client.session.profile;
        let backend = match self.pick(id, server, profile, now) {
            Pick::Take(backend) => backend,
            pick => return self.put_off(id, server, pick, Need::Room, now),
        };
        let deadline = now + self.settings.timeouts.remote_read_ms;
        self.line_up(id, backend, server, Request::new(id, deadline, len as u32, hash, access == Access::Read));
        if access == Access::Write {
            if let Some(client) = self.clients.get_mut(id) {
                client.wrote_to = backend;
            }
        }
        Verdict::Forward(backend)
    }

    /// No backend takes the next request of this client now: it waits, or is told that it has waited in vain.
    #[cold]
    pub(super) fn put_off(&mut self, id: Id, server: ServerId, pick: Pick, need: Need, now: Millis) -> Verdict {
        // One in bulk waits for a connection of its own.
        let is_for_bulk = need == Need::Room && self.is_for_bulk(id);
        let need = if is_for_bulk { Need::Bulk } else { need };
        let text = match pick {
            Pick::Take(backend) => return Verdict::Forward(backend),
            Pick::Behind => {
                self.await_replies(id, Flow::AwaitingOwnReplies { server });
                return Verdict::Wait;
            }
            Pick::Throttle(backend) => {
                if let Some(client) = self.clients.get_mut(id) {
                    client.flow = Flow::Throttled { backend };
                }
                return Verdict::Wait;
            }
            Pick::Park => {
                self.release_unused(id, now);
                self.park(id, server, need, now);
                return Verdict::Wait;
            }
            Pick::GiveUp if is_for_bulk => self.no_connection_for_bulk(),
            Pick::GiveUp => {
                let (ms, address) = (self.settings.timeouts.remote_connect_ms, self.address(server));
                format!("-ERR No connection to {address} became free within {ms} ms\r\n")
            }
            Pick::Watching => "-ERR The protocol cannot change while keys are watched\r\n".to_string(),
            Pick::Never => "-ERR poolSize is 1: no connection can be held for this command\r\n".to_string(),
        };
        self.reply_here(id, text.as_bytes());
        if is_for_bulk {
            // As long a wait for each of those behind would be one without end.
            self.leave(id);
        }
        Verdict::Done
    }

    pub(super) fn address(&self, server: ServerId) -> &str {
        &self.settings.servers[server.index()]
    }

    /// Puts a request into the lines of its client and of its backend.
    pub(super) fn line_up(&mut self, id: Id, backend: Id, server: ServerId, request: Request) -> RequestId {
        let request = self.in_flight.requests.insert(request);
        if let Some(client) = self.clients.get_mut(id) {
            self.in_flight.requests[request].mute(client.session.reply_mode.take());
            client.reply_order.push(&mut self.in_flight.requests, request);
        }
        self.stand_at(request, backend, server);
        request
    }

    /// Puts a request into the line of a backend, which is one of `server`. Its bytes must follow at once.
    #[inline]
    pub(super) fn stand_at(&mut self, request: RequestId, backend_id: Id, server: ServerId) {
        let entry = &mut self.in_flight.requests[request];
        let deadline = entry.deadline();
        if let Some(client) = self.clients.get_mut(entry.client()) {
            client.pin(server, backend_id, 1);
        }
        if let Some(backend) = self.upstreams.backend_mut(backend_id) {
            backend.in_flight_mut().push(&mut self.in_flight.requests, request);
            if deadline != NO_DEADLINE {
                backend.wake_at(&mut self.wheel, Timer::Backend(backend_id), deadline);
            }
        }
        self.upstreams.count_requests(server, 1);
    }

    /// Which backend takes the next request of this client.
    #[inline]
    pub(super) fn pick(&mut self, id: Id, server: ServerId, profile: Profile, now: Millis) -> Pick {
        let limits = &self.settings.limits;
        let Some(client) = self.clients.get(id) else { return Pick::Never };
        if let Some(leased) = client.leased().filter(|leased| leased.server == server) {
            // Keys are watched: what is read and written meanwhile must come behind that.
            return match self.upstreams.backend(leased.backend) {
                Some(backend) if backend.profile() != profile => Pick::Watching,
                Some(backend) if backend.has_room_for_owner(limits) => Pick::Take(leased.backend),
                // With nothing of its own in line, what is in the way is short, or a push: neither would wake it.
                Some(backend) if backend.is_serving() && client.affinity(server).is_none() => {
                    Pick::Take(leased.backend)
                }
                _ => Pick::Behind,
            };
        }
        if client.bulk.is_some() {
            if let Some(pick) = self.pick_in_bulk(id, server, profile, now) {
                return pick;
            }
        }
        let limits = &self.settings.limits;
        let Some(client) = self.clients.get(id) else { return Pick::Never };
        let pool = self.upstreams.pool(server);
        let has_precedence = !pool.is_waited_for_room() || self.turn.served == id;
        if let Some(affinity) = client.affinity(server) {
            return match self.upstreams.backend(affinity.backend) {
                // Who never runs out of requests would keep the backend from those who need it for another profile.
                Some(backend) if has_precedence && backend.profile() == profile && backend.has_room(limits) => {
                    Pick::Take(affinity.backend)
                }
                _ => Pick::Behind,
            };
        }
        if !has_precedence {
            return Pick::Park;
        }
        let offer = self.upstreams.offer(server, profile, limits, now);
        match self.take_offer(offer, server, profile, now) {
            Some(backend) => Pick::Take(backend),
            None => self.park_or_give_up(id),
        }
    }

    /// The backend that a pool offers, made or changed as the offer says; `None` if there is nothing but to wait.
    #[inline]
    pub(super) fn take_offer(&mut self, offer: Offer, server: ServerId, profile: Profile, now: Millis) -> Option<Id> {
        match offer {
            Offer::Take(backend) => Some(backend),
            Offer::Change(backend) => {
                self.change_profile(backend, profile, now);
                Some(backend)
            }
            Offer::Open => Some(self.open_backend(server, profile, now)),
            Offer::Wait => None,
        }
    }

    /// There is no backend for this client now: it waits, unless it is served because it has waited long enough.
    pub(super) fn park_or_give_up(&mut self, id: Id) -> Pick {
        if self.turn.served == id && self.turn.is_wait_over {
            self.turn.is_wait_over = false;
            return Pick::GiveUp;
        }
        Pick::Park
    }

    /// Where a request goes that was with a backend already and cannot wait: where `pick` would send what its client
    /// sends next, or it would be overtaken by that.
    pub(super) fn pick_again(&mut self, id: Id, server: ServerId, profile: Profile, now: Millis) -> Option<Id> {
        let limits = &self.settings.limits;
        let client = self.clients.get(id)?;
        let transaction = client.transaction.as_ref();
        let leased = transaction.and_then(|transaction| transaction.leased).filter(|leased| leased.server == server);
        let held = client.bulk.as_ref().and_then(|bulk| bulk.at(server));
        let (backend_id, is_own) = match (leased, client.affinity(server)) {
            // Behind MULTI it would be queued, and not run.
            (Some(_), _) if transaction.is_some_and(|transaction| transaction.is_begun) => return None,
            (Some(leased), _) => (leased.backend, true),
            (None, _) if held.is_some() => (held?, true),
            (None, Some(affinity)) => (affinity.backend, false),
            (None, None) => return self.offer_now(server, profile, now),
        };
        if client.flow == (Flow::BlockedOnCommand { backend: backend_id }) {
            // Behind what waits for data there is no end to wait for.
            return None;
        }
        let backend = self.upstreams.backend(backend_id)?;
        let has_room = if is_own { backend.has_room_for_owner(limits) } else { backend.has_room(limits) };
        (has_room && backend.profile() == profile).then_some(backend_id)
    }

    /// The backend that the pool offers to a request that cannot wait.
    pub(super) fn offer_now(&mut self, server: ServerId, profile: Profile, now: Millis) -> Option<Id> {
        let offer = self.upstreams.offer(server, profile, &self.settings.limits, now);
        self.take_offer(offer, server, profile, now)
    }

    /// Has the client wait for a backend, behind those who wait already.
    fn park(&mut self, id: Id, server: ServerId, need: Need, now: Millis) {
        let deadline = now + self.settings.timeouts.remote_connect_ms;
        let Some(client) = self.clients.get_mut(id) else { return };
        client.flow = Flow::AwaitingBackend { server, need, deadline };
        client.alarm.set(&mut self.wheel, Timer::Client(id), deadline);
        self.upstreams.pool_mut(server).park(need, id);
        self.clients.parked += 1;
        self.upstreams.for_each_of(server, |backend, entry| {
            // What is held back for clients that read slowly, and is not theirs, goes on; they may be closed over it.
            if entry.is_read_paused() && !entry.is_in_bulk() {
                entry.resume_reads(Some(now));
                let deadline = now + self.settings.timeouts.remote_read_ms;
                entry.wake_at(&mut self.wheel, Timer::Backend(backend), deadline);
                self.turn.resume(Conn::Backend(backend));
            }
            // Whether a large request that holds one still comes is looked at sooner.
            let Some(uploader) = entry.uploader() else { return };
            if let Some(client) = self.clients.get_mut(uploader) {
                let deadline = entry.uploaded_at() + self.settings.timeouts.remote_connect_ms;
                client.alarm.set(&mut self.wheel, Timer::Client(uploader), deadline);
            }
        });
        if self.clients.get(id).is_some_and(|client| client.holds_back) {
            self.mark_client_dirty(id);
        }
    }

    /// True if it is of use to give the first one in line its turn: it will be served, or told why not.
    pub(super) fn can_serve(&self, id: Id, server: ServerId, need: Need, now: Millis) -> bool {
        let Some(client) = self.clients.get(id) else { return true };
        let profile = client.session.profile;
        let offer = match need {
            // Meanwhile it may have taken so much that it can do without one of its own.
            Need::Bulk if self.is_for_bulk(id) => self.upstreams.offer_lease(server, profile, now),
            Need::Room | Need::Bulk => self.upstreams.offer(server, profile, &self.settings.limits, now),
            Need::Lease => self.upstreams.offer_lease(server, profile, now),
            Need::LastWriter => {
                let is_lost = self.upstreams.backend(client.wrote_to).is_none_or(|backend| !backend.is_serving());
                return is_lost || self.may_have(id, client.wrote_to, now);
            }
        };
        !self.router.is_up(server) || offer != Offer::Wait
    }

    /// Sets an idle backend to another profile.
    pub(super) fn change_profile(&mut self, id: Id, goal: Profile, now: Millis) {
        let Some(backend) = self.upstreams.backend_mut(id) else { return };
        backend.change_profile(goal, now);
        let deadline = now + self.settings.timeouts.remote_connect_ms;
        backend.wake_at(&mut self.wheel, Timer::Backend(id), deadline);
        self.mark_backend_dirty(id);
    }

    /// Appends bytes to what a backend is to be sent; a large piece goes straight to the socket, as far as it takes it.
    #[inline]
    pub(super) fn forward<W: Wire>(&mut self, id: Id, bytes: &[u8], now: Millis, wire: &mut W) {
        let Some(backend) = self.upstreams.backend_mut(id) else { return };
        let is_direct = bytes.len() >= DIRECT_MIN && !backend.is_write_blocked() && backend.is_ready();
        if !is_direct {
            backend.push(&mut self.in_flight.arena, bytes);
            return self.mark_backend_dirty(id);
        }
        let waiting = backend.queue().unsent();
        match gather(backend.queue(), &self.in_flight.arena, bytes, Conn::Backend(id), wire) {
            Ok(Sent { bytes: sent, is_blocked }) => {
                backend.on_sent(&self.in_flight.arena, sent.min(waiting));
                let past = sent.saturating_sub(waiting);
                if past > 0 {
                    backend.skip(past);
                }
                backend.push(&mut self.in_flight.arena, &bytes[past..]);
                backend.on_written(is_blocked, now);
                if is_blocked {
                    let deadline = now + self.settings.timeouts.remote_write_ms;
                    backend.wake_at(&mut self.wheel, Timer::Backend(id), deadline);
                }
                if past < bytes.len() {
                    self.mark_backend_dirty(id);
                }
            }
            Err(error) => {
                backend.push(&mut self.in_flight.arena, bytes);
                self.handle_backend_broken(id, &error.to_string(), now);
            }
        }
    }

    /// As `forward`, for a large request that has its memory to itself: nothing is copied.
    pub(super) fn forward_owned(&mut self, id: Id, bytes: Vec<u8>) {
        if let Some(backend) = self.upstreams.backend_mut(id) {
            backend.push_vec(&mut self.in_flight.arena, bytes);
            self.mark_backend_dirty(id);
        }
    }
}
