//! What needs a backend of its own: commands that wait for data, and, in `transaction`, what arrives step by step.
//!
//! A leased backend leaves the shared set: nobody else is given it. It comes back when the reply has come that ends the
//! lease, since its session is clean then. A client that leaves with watched keys, or within a transaction, has rmux
//! end it; one that leaves while it waits for data, and a request that timed out, close the backend.
//!
//! ```text
//!   shared ──► leased by a client ──► the reply that ends it ──────────────────────► shared
//!                    ├──► the client leaves ──► UNWATCH or DISCARD, its reply ────────┘
//!                    └──► it leaves while it waits, or a reply is lost ──► closed, and whoever waits behind is told
//! ```
//!
//! A client that waits for data is not read, but for the end of its connection: then its backend is closed at once, or
//! it would swallow the next element for nobody. Who finds no backend to lease waits in line, as others do.

use super::backend_close_reason::BackendCloseReason;
use super::dispatch::Pick;
use super::goodbye::Departure;
use super::inquiry::{Answer, Blocked, Question};
use super::router::Route;
use super::routing::{Call, UNSUPPORTED, Verdict};
use super::{Goodbye, NO_DEADLINE, Proxy, Timer};
use crate::backend::Backend;
use crate::client::{Client, Flow, Need};
use crate::command::{Lease, Timeout};
use crate::local::roster::Ask;
use crate::reply::{self, error};
use crate::request::{Request, RequestId, Role};
use crate::server_id::ServerId;
use crate::slots::Id;
use crate::timer::Millis;

/// Redis's own words: an `EXEC` that it rejects discards the transaction, or would.
const EXEC_ARITY: &[u8] =
    b"-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command\r\n";

impl Proxy {
    /// A request that holds or changes the state of its connection.
    pub(super) fn on_lease(&mut self, id: Id, call: &Call<'_>, lease: Lease, now: Millis) -> Verdict {
        if !call.command.arity_allows(call.args.len()) {
            if lease == Lease::Exec {
                self.give_up(id, now);
                self.reply_here(id, EXEC_ARITY);
                return Verdict::Done;
            }
            self.break_transaction(id);
            self.reply_with(id, |out| error::wrong_arity(out, call.name()));
            return Verdict::Done;
        }
        match lease {
            Lease::Block(_) => self.on_blocking(id, call, now),
            Lease::Wait => self.on_wait(id, call, now),
            Lease::Multi => self.on_multi(id),
            Lease::Exec => self.on_exec(id, call, now),
            Lease::Discard => self.on_discard(id, call, now),
            Lease::Watch => self.on_watch(id, call, now),
            Lease::Unwatch => self.on_unwatch(id, call, now),
            Lease::Subscribe(_) | Lease::Unsubscribe(_) => {
                self.reply_here(id, UNSUPPORTED);
                Verdict::Done
            }
        }
    }

    /// A command that may wait for data: it gets a backend for itself.
    fn on_blocking(&mut self, id: Id, call: &Call<'_>, now: Millis) -> Verdict {
        let (server, hash) = match self.router.route_keys(call.command, call.request, call.args) {
            Route::To(server, hash) => (server, hash),
            route => return self.refuse(id, call, route),
        };
        let timeout = call.command.blocks(call.args.len(), |i| call.arg(i));
        let backend = match self.lease(id, server, now) {
            // Where others are still to be answered, the connection could not be closed if it leaves.
            Pick::Take(backend) if self.has_others(id, server, backend) => {
                return self.put_off(id, server, Pick::Behind, Need::Lease, now);
            }
            Pick::Take(backend) => backend,
            pick => return self.put_off(id, server, pick, Need::Lease, now),
        };
        let request = Request::new(id, Millis(0), call.len(), hash, false);
        // On a connection that it has for another reason, too, it may have more in flight.
        let is_alone = self.clients.get(id).is_some_and(|client| client.leased().is_none() && client.bulk.is_none());
        match self.block(id, server, backend, request, timeout, now) {
            Verdict::Forward(backend) if is_alone => Verdict::Forward(self.keep_order_of_blocking(id, server, backend)),
            verdict => verdict,
        }
    }

    /// Whether others wait for replies before the last one of this client on its own `backend`.
    fn has_others(&self, id: Id, server: ServerId, backend: Id) -> bool {
        let is_others = |request: RequestId| ![id, Id::NONE].contains(&self.in_flight.requests[request].client());
        let affinity = self.clients.get(id).and_then(|client| client.affinity(server));
        let backend =
            self.upstreams.backend(backend).filter(|_| affinity.is_some_and(|affinity| affinity.backend == backend));
        backend.is_some_and(|backend| backend.in_flight().iter(&self.in_flight.requests).any(is_others))
    }

    /// A client blocks on `backend`, and its command goes there next. Who has blocked before it, and still waits until
    /// its own backend is ready, is not overtaken. Returns where the command goes.
    fn keep_order_of_blocking(&mut self, id: Id, server: ServerId, backend: Id) -> Id {
        let mut blocking = self.upstreams.pool_mut(server).take_blocking();
        blocking.retain(|&other| other != id && self.is_blocking_at(other, server));
        blocking.push(id);
        self.upstreams.pool_mut(server).put_blocking(blocking);
        self.on_ready_to_block(backend);
        match self.clients.get(id).map(|client| client.flow) {
            Some(Flow::BlockedOnCommand { backend }) => backend,
            _ => backend,
        }
    }

    /// Whether this client blocks on a backend of `server` that is not ready.
    fn is_blocking_at(&self, id: Id, server: ServerId) -> bool {
        self.blocking_backend(id).is_some_and(|(_, backend)| backend.server() == server && backend.is_setting_up())
    }

    /// The backend on which a client blocks, and on which it has nothing else.
    fn blocking_backend(&self, id: Id) -> Option<(Id, &Backend)> {
        match self.clients.get(id)?.flow {
            Flow::BlockedOnCommand { backend } => {
                Some((backend, self.upstreams.backend(backend).filter(|entry| is_alone(entry))?))
            }
            _ => None,
        }
    }

    /// A backend is ready. If a client blocks on it, that one changes places with the one that has blocked first of all
    /// whose backends are not ready, so that the server sees their commands in the order in which they came.
    ///
    /// Only among clients of one database and one version of the protocol: another one cannot use this backend.
    pub(super) fn on_ready_to_block(&mut self, id: Id) {
        let Some(backend) = self.upstreams.backend(id).filter(|backend| backend.is_ready()) else {
            return;
        };
        if !is_alone(backend) {
            return;
        }
        let (server, profile) = (backend.server(), backend.profile());
        let Some(owner) = backend.owner() else { return };
        let blocking = self.upstreams.pool(server).blocking();
        if !blocking.contains(&owner) {
            return;
        }
        let is_like = |other: &Id| {
            *other == owner
                || self.is_blocking_at(*other, server)
                    && self.blocking_backend(*other).is_some_and(|(_, backend)| backend.profile() == profile)
        };
        let Some(place) = blocking.iter().position(is_like) else { return };
        let first = self.upstreams.pool_mut(server).unblock(place);
        if let Some((other, _)) = self.blocking_backend(first).filter(|_| first != owner) {
            self.swap_blocked(id, other);
        }
    }

    /// Has two clients change their backends, of which each blocks on one, and has nothing else there. No byte of their
    /// commands was sent.
    fn swap_blocked(&mut self, ready: Id, other: Id) {
        let mut parts = [ready, other].map(|id| Some(self.upstreams.backend_mut(id)?.take_unsent()));
        parts.reverse();
        for (id, parts) in [ready, other].into_iter().zip(parts) {
            let (Some(backend), Some(unsent)) = (self.upstreams.backend_mut(id), parts) else { continue };
            let owner = backend.put_unsent(unsent);
            let first = backend.in_flight().first().map(|request| self.in_flight.requests[request].deadline());
            if let Some(deadline) = first.filter(|&deadline| deadline != NO_DEADLINE) {
                backend.wake_at(&mut self.wheel, Timer::Backend(id), deadline);
            }
            if let Some(client) = owner.and_then(|owner| self.clients.get_mut(owner)) {
                client.flow = Flow::BlockedOnCommand { backend: id };
                client
                    .affinities
                    .iter_mut()
                    .filter(|affinity| affinity.server == backend.server())
                    .for_each(|affinity| affinity.backend = id);
            }
        }
        self.mark_backend_dirty(ready);
    }

    /// `WAIT` and `WAITAOF` ask about the writes of their own connection: the one that carried this client's last
    /// write, which is nobody else's until the reply has come.
    fn on_wait(&mut self, id: Id, call: &Call<'_>, now: Millis) -> Verdict {
        let Some(client) = self.clients.get(id) else { return Verdict::Done };
        let wrote_to = client.wrote_to;
        let millis = std::str::from_utf8(call.arg(call.args.len() - 1)).ok().and_then(|text| text.parse().ok());
        let timeout = Some(millis.filter(|&millis| millis > 0).map_or(Timeout::Forever, Timeout::Millis));
        let request = Request::new(id, Millis(0), call.len(), 0, false);
        if wrote_to == Id::NONE {
            let Some(server) = self.router.route_any().server() else { return self.refuse(id, call, Route::Down) };
            return match self.lease(id, server, now) {
                Pick::Take(backend) => self.block(id, server, backend, request, timeout, now),
                pick => self.put_off(id, server, pick, Need::Lease, now),
            };
        }
        let Some(backend) = self.upstreams.backend(wrote_to).filter(|backend| backend.is_serving()) else {
            self.reply_here(id, b"-ERR The connection that carried the last write of this client is lost\r\n");
            return Verdict::Done;
        };
        let server = backend.server();
        let pool = self.upstreams.pool(server);
        let is_free = self.may_have(id, wrote_to, now);
        let pick = match client.affinity(server) {
            _ if pool.never_leases() => Pick::Never,
            // Its turn comes with the end of its own requests.
            Some(affinity) if affinity.backend != wrote_to || !is_free => Pick::Behind,
            None if !is_free || pool.is_waited_for_lease() && self.turn.served != id => self.park_or_give_up(id),
            _ => Pick::Take(wrote_to),
        };
        let Pick::Take(_) = pick else { return self.put_off(id, server, pick, Need::LastWriter, now) };
        if let Some(backend) = self.upstreams.backend_mut(wrote_to) {
            backend.lease_to(id);
        }
        self.block(id, server, wrote_to, request, timeout, now)
    }

    /// Whether this client can have this very backend for itself now.
    pub(super) fn may_have(&self, id: Id, backend: Id, now: Millis) -> bool {
        self.upstreams.backend(backend).is_some_and(|entry| {
            // One that is just being closed may still be somebody's affinity.
            entry.is_free_for(id) && self.upstreams.may_hold(backend, now)
        })
    }

    /// Puts a request that may wait into line, and stops listening to its client until the reply has come.
    fn block(
        &mut self,
        id: Id,
        server: ServerId,
        backend: Id,
        mut request: Request,
        timeout: Option<Timeout>,
        now: Millis,
    ) -> Verdict {
        let read_ms = self.settings.timeouts.remote_read_ms;
        let deadline = match timeout {
            Some(Timeout::Forever) => NO_DEADLINE,
            Some(Timeout::Millis(millis)) => Millis(now.0.saturating_add(millis).saturating_add(read_ms)),
            None => now + read_ms,
        };
        request.renew(deadline);
        if self.clients.get(id).is_some_and(|client| client.has_hung_up) {
            self.end_lease(backend);
            self.close_client(id, Goodbye::Done);
            return Verdict::Done;
        }
        request.set_role(Role::Blocking);
        self.line_up(id, backend, server, request);
        self.await_replies(id, Flow::BlockedOnCommand { backend });
        Verdict::Forward(backend)
    }

    /// Finds a backend at `server` that this client can have for itself.
    pub(super) fn lease(&mut self, id: Id, server: ServerId, now: Millis) -> Pick {
        let Some(client) = self.clients.get(id) else { return Pick::Never };
        if let Some(leased) = client.leased().filter(|leased| leased.server == server) {
            let is_same = |backend: &Backend| backend.profile() == client.session.profile;
            let is_same = self.upstreams.backend(leased.backend).is_some_and(is_same);
            return if is_same { Pick::Take(leased.backend) } else { Pick::Watching };
        }
        if let Some(own) = client.bulk.as_ref().and_then(|bulk| bulk.at(server)) {
            let profile = client.session.profile;
            // What others still wait for there would be lost with it, if this client leaves.
            let is_others = |request: RequestId| ![id, Id::NONE].contains(&self.in_flight.requests[request].client());
            let is_usable = |backend: &Backend| {
                backend.profile() == profile
                    && backend.is_serving()
                    && !backend.in_flight().iter(&self.in_flight.requests).any(is_others)
            };
            if self.upstreams.backend(own).is_some_and(is_usable) {
                return Pick::Take(own);
            }
            if client.affinity(server).is_none() {
                self.release_unused(id, now);
            }
        }
        let Some(client) = self.clients.get(id) else { return Pick::Never };
        if client.affinity(server).is_some() {
            return Pick::Behind;
        }
        let profile = client.session.profile;
        let pool = self.upstreams.pool(server);
        if pool.never_leases() {
            return Pick::Never;
        }
        if pool.is_waited_for_lease() && self.turn.served != id {
            return Pick::Park;
        }
        let offer = self.upstreams.offer_lease(server, profile, now);
        let Some(backend) = self.take_offer(offer, server, profile, now) else { return self.park_or_give_up(id) };
        if let Some(entry) = self.upstreams.backend_mut(backend) {
            entry.lease_to(id);
        }
        Pick::Take(backend)
    }

    /// The reply of a request with a role has come: its kind is `kind`.
    pub(super) fn on_role(&mut self, backend: Id, client: Id, role: Role, (kind, reply): (u8, &[u8])) {
        let blocked = self.clients.get_mut(client).filter(|entry| entry.flow == (Flow::BlockedOnCommand { backend }));
        if let Some(entry) = blocked.filter(|_| role == Role::Blocking) {
            entry.flow = Flow::Open;
            self.turn.wake(client);
        }
        let is_gone = self.clients.get(client).is_none_or(|client| client.flow == Flow::Closed);
        let has_refused = kind == b'-' && !reply.starts_with(b"-EXECABORT");
        if role == (Role::Ending { has_selected: true }) && is_gone
            || matches!(role, Role::Ending { .. }) && has_refused
        {
            // Nobody has looked which database it is left with, or the server did not end the transaction, as without
            // the right to `DISCARD`; nobody else shall have it.
            let owner = self.upstreams.backend(backend).and_then(Backend::owner);
            return self.turn.depart(Departure::Lease(backend, owner, None));
        }
        if let Role::Select { database } = role {
            return self.on_selected(backend, client, database, kind);
        }
        // What cleans a session is nobody's; behind it, whose backend it still is may have watched keys again.
        let owner = self.upstreams.backend(backend).and_then(|entry| self.clients.get(entry.owner()?));
        let is_watching = owner.and_then(Client::leased).is_some_and(|leased| leased.backend == backend);
        if matches!(role, Role::Blocking | Role::Ending { .. } | Role::Cleanup) && !is_watching {
            self.end_lease(backend);
        }
    }

    /// The session of a leased backend is clean again: anybody may have it, unless its client is in bulk.
    pub(super) fn end_lease(&mut self, id: Id) {
        let Some(backend) = self.upstreams.backend_mut(id) else { return };
        if !backend.end_lease() {
            self.turn.depart(Departure::Lease(id, backend.owner(), None));
        }
    }

    /// Where the client with this number waits for data, if it does, and if its command has reached a server.
    ///
    /// Whoever asks will have that server end the wait, which may be over by then: that it is not somebody else's wait
    /// which is ended, the backend is closed with it.
    pub(super) fn find_blocked(&mut self, number: i64) -> Option<Blocked> {
        let is_meant = |id: Id| self.settings.siblings.client_number(id) == number as u64;
        let (_, client) = self.clients.iter().find(|(id, _)| is_meant(*id))?;
        let Flow::BlockedOnCommand { backend } = client.flow else { return None };
        let backend = self.upstreams.backend_mut(backend)?;
        let request = &self.in_flight.requests[backend.in_flight().first()?];
        if request.role() != Role::Blocking || !backend.was_sent(u64::from(request.bytes())) {
            return None;
        }
        Some(Blocked { server: backend.server(), number: backend.tell_number()? })
    }

    /// Has a server end the wait of a client, and its reply be that to `request`. `found` is what the other proxies
    /// know of that client.
    pub(super) fn unblock(&mut self, id: Id, request: RequestId, question: &Question, found: Answer, now: Millis) {
        let mut found = found;
        found.add(self.own_part(question, id, now));
        let (Answer::Blocked(Some(Blocked { server, number })), Question::Clients(Ask::Unblock { is_error, .. })) =
            (found, question)
        else {
            return self.deliver(id, request, b":0\r\n", now);
        };
        let Some(client) = self.clients.get(id) else { return };
        let profile = client.session.profile;
        let backend = match self.pick(id, server, profile, now) {
            Pick::Take(backend) => Some(backend),
            // It may be what those wait for.
            Pick::Park => self.offer_now(server, profile, now),
            _ => None,
        };
        let Some(backend) = backend else {
            return self.deliver(id, request, b"-ERR No connection is free to unblock a client\r\n", now);
        };
        let mut bytes = Vec::new();
        reply::array(&mut bytes, 4);
        for word in ["CLIENT", "UNBLOCK", &number.to_string(), if *is_error { "ERROR" } else { "TIMEOUT" }] {
            reply::bulk(&mut bytes, word.as_bytes());
        }
        let entry = &mut self.in_flight.requests[request];
        entry.rewrite(bytes.len(), now + self.settings.timeouts.remote_read_ms);
        // Another server, or the same one started anew, has other numbers.
        entry.set_role(Role::Atomic);
        self.stand_at(request, backend, server);
        self.queue(backend, &bytes);
        self.mark_backend_dirty(backend);
        self.maybe_pause(id);
    }

    /// A leased backend is lost: its client is told with the replies that it waits for, and with `EXEC`.
    pub(super) fn on_lease_lost(&mut self, backend: Id, owner: Option<Id>) {
        let Some(owner) = owner else { return };
        let Some(client) = self.clients.get_mut(owner) else { return };
        if client.flow == (Flow::BlockedOnCommand { backend }) || client.flow == (Flow::Throttled { backend }) {
            client.flow = Flow::Open;
            self.turn.wake(owner);
        }
        if let Some(bulk) = &mut client.bulk {
            bulk.held.retain(|held| held.backend != backend);
        }
        let lost = client
            .transaction
            .as_mut()
            .filter(|transaction| transaction.leased.is_some_and(|leased| leased.backend == backend));
        if let Some(transaction) = lost {
            transaction.leased = None;
            transaction.is_begun = false;
            transaction.is_broken = true;
        }
    }

    /// `owner` has left a backend that it had for itself. `cleanup` is what cleans its session, if anything can: then
    /// it is anybody's again with the reply. Otherwise it is closed, as soon as nobody else waits for a reply there.
    pub(super) fn take_back(&mut self, id: Id, owner: Option<Id>, cleanup: Option<&[u8]>, now: Millis) {
        // It may have been refused what it leased it for, and nothing was sent.
        let Some(backend) = self.upstreams.backend(id).filter(|backend| backend.owner() == owner) else { return };
        // What still waits for data would take an element for nobody.
        let is_blocking = |request: &RequestId| self.in_flight.requests[*request].role() == Role::Blocking;
        let blocking = backend.in_flight().iter(&self.in_flight.requests).find(is_blocking);
        match cleanup.filter(|_| backend.uploader().is_none() && blocking.is_none()) {
            Some(bytes) if backend.is_serving() => return self.send_internal(id, bytes, Role::Cleanup, now),
            // It takes nothing more, and is closed when it owes nothing.
            Some(_) => return self.end_lease(id),
            None => {}
        }
        let is_awaited = |request: RequestId| self.in_flight.requests[request].client() != Id::NONE;
        match blocking.filter(|_| backend.in_flight().iter(&self.in_flight.requests).any(is_awaited)) {
            Some(blocking) if backend.is_answering() => {
                // Their requests were there before it began to wait, and are answered first.
                self.in_flight.requests[blocking].expire();
                if let Some(backend) = self.upstreams.backend_mut(id) {
                    backend.add_tombstone();
                    backend.unlease();
                }
                self.drain_backend(id, now);
            }
            _ => self.lose_backend(id, BackendCloseReason::OwnerGone, now),
        }
    }

    /// Sends a request of rmux's own, whose reply nobody waits for.
    pub(super) fn send_internal(&mut self, id: Id, bytes: &[u8], role: Role, now: Millis) {
        let deadline = now + self.settings.timeouts.remote_read_ms;
        let mut request = Request::new(Id::NONE, deadline, bytes.len() as u32, 0, false);
        request.set_role(role);
        let Some(backend) = self.upstreams.backend_mut(id) else { return };
        let request = self.in_flight.requests.insert(request);
        backend.in_flight_mut().push(&mut self.in_flight.requests, request);
        backend.push(&mut self.in_flight.arena, bytes);
        backend.wake_at(&mut self.wheel, super::Timer::Backend(id), deadline);
        self.mark_backend_dirty(id);
    }
}

/// True exactly when a backend that waits for data has nothing else to answer, and to nobody else.
fn is_alone(backend: &Backend) -> bool {
    !backend.is_in_bulk() && backend.in_flight().len() == 1
}
