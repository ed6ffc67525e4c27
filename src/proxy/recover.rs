//! What becomes of a backend that is lost, and of what it owed.
//!
//! Each request in its line meets one of three fates:
//!
//! ```text
//!   no byte of it was sent                      ─► another backend, perhaps of the server that stands in
//!   a read, sent, and no write sent behind it   ─► the same, once (`reroute` may ask it again, too: not both)
//!   anything else                               ─► an error: it may have been run, and is not run twice
//! ```
//!
//! A read behind which a write of the same client was sent is not repeated, since it could see that write. A reply of
//! which the client has the start can not be mended: that client is closed. What came of one before its turn is thrown
//! away, and the request meets its fate as if nothing had come.
//!
//! Whether the server is down because of it is `health`'s business; what the loss of a subscription connection means,
//! `subscription_connection`'s.

use log::debug;

use super::backend_close_reason::BackendCloseReason;
use super::router::Route;
use super::routing::{CONNECTION_DOWN, CROSS_SLOT};
use super::upstreams::Lost;
use super::{Conn, Goodbye, Proxy};
use crate::backend::Unanswered;
use crate::buffer::Queue;
use crate::client::Flow;
use crate::notice::Kind;
use crate::request::{BackendLine, Place, RequestId, Role};
use crate::server_id::ServerId;
use crate::session::Profile;
use crate::slots::Id;
use crate::timer::Millis;

/// One request of a backend that is lost.
struct Owed {
    request: RequestId,
    /// Where its bytes begin in the backend's queue.
    start: u64,
    /// True exactly when some of it was sent: the server may have seen it.
    is_begun: bool,
    /// True exactly when sending it again runs nothing twice, and shows its client no write that was not there yet.
    is_harmless: bool,
}

/// What is to be known of a lost backend to decide about a request of its.
struct Debts<'a> {
    reason: &'a BackendCloseReason,
    server: ServerId,
    queue: Queue,
    /// The client whose large request was on its way.
    uploader: Option<Id>,
    /// True exactly when its requests could stand on any other: nobody had it for the state of its session.
    is_shared: bool,
}

/// A request is given to this many backends at the most.
const LOSSES_MAX: u8 = 3;

impl Proxy {
    /// The one way to close a backend: what it owed is sent again where that is safe, and answered with an error where
    /// it is not; its server is looked at again where that is called for.
    pub(super) fn lose_backend(&mut self, id: Id, reason: BackendCloseReason, now: Millis) {
        let Some(lost) = self.upstreams.close(id, &mut self.wheel, &mut self.in_flight.arena) else { return };
        let Lost { server, profile, is_subscription, seen, began_at, has_asked, awaited, unanswered } = lost;
        let was_new = seen.ready_at.is_none();
        debug!("connection {id} to server {} closed: {reason}", self.address(server));
        self.turn.room_is_new();
        self.turn.close(Conn::Backend(id));
        // Of a new one the state of the server tells.
        if let Some(kind) = reason.notice(awaited).filter(|_| !was_new) {
            let count = if kind == Kind::Lost { awaited } else { 1 };
            self.warn_of(kind, server, count, format_args!("{reason}"));
        }
        let saved = self.save_unanswered(id, server, unanswered, &reason, now);
        // A subscription connection has a pace of its own.
        if was_new || !is_subscription {
            self.judge_loss(server, (seen, began_at, has_asked), &reason, now);
        }
        for (request, bytes) in saved {
            self.send_again(request, server, &reason, profile, bytes, now);
        }
        if self.maybe_lose_subscription(id, was_new, &reason, now) {
            return;
        }
        if !matches!(reason, BackendCloseReason::Idle) {
            // Whether the server is still there is found out at once, not by the next request.
            self.maybe_look(server, now);
        }
    }

    /// Decides about everything that was in flight on a lost backend. Returns those requests that are to be sent again,
    /// with their bytes.
    fn save_unanswered(
        &mut self,
        id: Id,
        server: ServerId,
        unanswered: Unanswered,
        reason: &BackendCloseReason,
        now: Millis,
    ) -> Vec<(RequestId, Vec<u8>)> {
        let Unanswered { in_flight, queue, answered, uploader, owner, was_in_bulk } = unanswered;
        let leased = owner.and_then(|owner| self.clients.get(owner)?.leased());
        let is_leased = leased.is_some_and(|leased| leased.backend == id);
        let is_shared = owner.is_none() || was_in_bulk && !is_leased;
        let mut debts = Debts { reason, server, queue, uploader, is_shared };
        let mut saved = Vec::new();
        for owed in self.owed(&in_flight, answered, debts.queue.sent()) {
            if let Some(bytes) = self.save(&owed, &debts, now) {
                saved.push((owed.request, bytes));
            }
        }
        debts.queue.clear(&mut self.in_flight.arena);
        self.on_lease_lost(id, owner);
        saved
    }

    /// The requests of a line that is lost, in its order. Their bytes begin at `answered`; up to `sent`, the server may
    /// have seen them.
    fn owed(&self, line: &BackendLine, answered: u64, sent: u64) -> Vec<Owed> {
        let mut owed = Vec::new();
        let mut start = answered;
        for request in line.iter(&self.in_flight.requests) {
            owed.push(Owed { request, start, is_begun: start < sent, is_harmless: false });
            start += u64::from(self.in_flight.requests[request].bytes());
        }
        // From the last to the first: which clients have sent a write behind?
        let mut writers: Vec<Id> = Vec::new();
        for one in owed.iter_mut().rev() {
            let entry = &self.in_flight.requests[one.request];
            // What is part of something else happens on one connection, or not at all; and nobody asks three times.
            let is_first_try = entry.losses() == 0 && !entry.is_moved();
            let is_repeatable = entry.role() == Role::Plain && entry.is_read() && is_first_try;
            one.is_harmless = !one.is_begun || is_repeatable && !writers.contains(&entry.client());
            if one.is_begun && !entry.is_read() && !writers.contains(&entry.client()) {
                writers.push(entry.client());
            }
        }
        owed
    }

    /// Decides about a request of a lost backend. Returns its bytes if it is to be sent again; if not, its client was
    /// told.
    fn save(&mut self, owed: &Owed, debts: &Debts<'_>, now: Millis) -> Option<Vec<u8>> {
        let request = owed.request;
        let entry = &mut self.in_flight.requests[request];
        entry.leave_backend();
        let (client, end) = (entry.client(), owed.start + u64::from(entry.bytes()));
        let is_alone = matches!(entry.role(), Role::Plain | Role::Published { .. });
        let can_move = is_alone && debts.is_shared && entry.losses() + 1 < LOSSES_MAX;
        if client == Id::NONE {
            self.in_flight.requests.remove(request);
            return None;
        }
        let place = entry.place();
        self.unpin(client, debts.server);
        match place {
            Place::Arriving => {
                // Its client has half of the reply; there is no honest way to end it.
                self.close_client(client, Goodbye::Truncated);
                return None;
            }
            Place::ArrivingEarly(early) => self.forget_early(client, request, early),
            _ => {}
        }
        if debts.uploader == Some(client) && self.discard_upload(client, request, now) {
            self.lose_request(client, request, debts.server, now);
            return None;
        }
        if owed.is_harmless && can_move {
            // Large ones that went straight to the socket were not kept.
            if let Some(bytes) = debts.queue.copy_range(&self.in_flight.arena, owed.start, end) {
                self.journal.stats.resends += u64::from(owed.is_begun);
                return Some(bytes);
            }
        }
        if owed.is_harmless && debts.reason.is_connection_down() {
            self.deliver(client, request, CONNECTION_DOWN, now);
        } else {
            self.lose_request(client, request, debts.server, now);
        }
        None
    }

    /// What came of a reply before its turn is worth nothing: the rest is lost, and the client has seen none of it.
    fn forget_early(&mut self, client: Id, request: RequestId, early: u32) {
        let mut queue = self.in_flight.early.remove(early as usize);
        if let Some(client) = self.clients.get_mut(client) {
            client.early_bytes -= queue.unsent();
        }
        queue.clear(&mut self.in_flight.arena);
        self.in_flight.requests[request].move_to(Place::Waiting);
    }

    /// If this is the request that the client is uploading, the rest of it is thrown away as it comes.
    pub(super) fn discard_upload(&mut self, client: Id, request: RequestId, now: Millis) -> bool {
        let Some(entry) = self.clients.get_mut(client) else { return false };
        match &mut entry.flow {
            Flow::Uploading { backend, request: uploading } if *uploading == request => {
                *backend = Id::NONE;
                // It may not have been listened to, for the sake of a queue that is gone.
                if let Some(kept) = &mut entry.kept {
                    kept.since = Some(now);
                }
                self.turn.resume(Conn::Client(client));
                true
            }
            _ => false,
        }
    }

    /// A request was sent and can not be repeated: its client is told that nobody knows what became of it.
    fn lose_request(&mut self, client: Id, request: RequestId, server: ServerId, now: Millis) {
        self.upstreams.count_errors(server, 1);
        let text = format!(
            "-ERR Connection to {} lost before its reply; the command may have been run\r\n",
            self.address(server)
        );
        self.deliver(client, request, text.as_bytes(), now);
    }

    /// Gives a request whose backend is lost to another, of the server that has its key now.
    fn send_again(
        &mut self,
        request: RequestId,
        lost: ServerId,
        reason: &BackendCloseReason,
        profile: Profile,
        bytes: Vec<u8>,
        now: Millis,
    ) {
        let Some(entry) = self.in_flight.requests.get_mut(request) else { return };
        let (client, hash, place) = (entry.client(), entry.hash(), entry.place());
        if client == Id::NONE {
            // Its client was closed over another request of the same backend.
            self.in_flight.requests.remove(request);
            return;
        }
        entry.lose();
        let route = match place {
            Place::Part(merging) => self.route_part_again(merging, request, lost, &bytes),
            _ => self.route_again(&bytes, hash),
        };
        let server = match route {
            Route::To(server, _) => server,
            Route::CrossSlot if self.split_again(request, profile, &bytes, now) => return,
            Route::CrossSlot => return self.deliver(client, request, CROSS_SLOT, now),
            _ => return self.deliver(client, request, CONNECTION_DOWN, now),
        };
        if server == lost && matches!(reason, BackendCloseReason::ConnectTimeout) {
            // It has waited long enough.
            let ms = self.settings.timeouts.remote_connect_ms;
            let text = format!("-ERR No connection to {} within {ms} ms\r\n", self.address(lost));
            return self.deliver(client, request, text.as_bytes(), now);
        }
        let Some(backend_id) = self.pick_again(client, server, profile, now) else {
            let text = format!("-ERR Connection to {} lost, and no other is free\r\n", self.address(lost));
            return self.deliver(client, request, text.as_bytes(), now);
        };
        let deadline = now + self.settings.timeouts.remote_read_ms;
        self.in_flight.requests[request].renew(deadline);
        self.stand_at(request, backend_id, server);
        let is_guarded = self.is_guarded(&bytes);
        self.forward_owned(backend_id, bytes);
        if is_guarded {
            self.send_guard(backend_id);
        }
        // If that one is held back for its client, this may be what the client waits for.
        if self.clients.get(client).is_some_and(|client| client.holds_back) {
            self.mark_client_dirty(client);
        }
    }
}
