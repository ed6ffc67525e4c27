//! How a client's connection ends: who ended it, and what becomes of what it had.
//!
//! ```text
//!   it sends nothing more, or said QUIT ─► what it is owed goes out ─┐
//!   it is gone, too slow, killed, no Redis client ───────────────────┴─► close_client, with the reason
//! ```
//!
//! There is one way to close a client, and it may be taken twice. Its requests that are outstanding stay behind in the
//! lines of their backends with nobody waiting, and their replies are dropped; what else it had at a backend (the start
//! of a request, a lease) is noted, and cleaned up by `transmit` when the call that closed it is over.
//!
//! What becomes of a backend is `recover`'s business.

use std::fmt;

use log::debug;

use super::transaction::cleanup;
use super::{Conn, Proxy};
use crate::client::{Bulk, Flow};
use crate::notice::Kind;
use crate::request::Place;
use crate::slots::Id;

/// What a client leaves at a backend.
#[derive(Debug)]
pub(super) enum Departure {
    /// The start of a large request on this one, of this client, that will not send the rest.
    Upload(Id, Id),
    /// What this client had for itself in bulk.
    Bulk(Id, Bulk),
    /// One that this client had for itself, and what cleans the session there, if anything does.
    Lease(Id, Option<Id>, Option<&'static [u8]>),
}

/// Why a client is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goodbye {
    /// It closed the connection, or said QUIT, and everything it was owed is sent.
    Done,
    /// Its socket broke.
    Broken,
    /// It speaks HTTP: it is closed without a word.
    Foreign,
    /// It was silent for `localReadTimeout`.
    ReadTimeout,
    /// It took nothing for `localWriteTimeout`.
    WriteTimeout,
    /// It stopped inside a request, and takes nothing either.
    RequestTimeout,
    /// It does not take its replies, and they became too many.
    Unread,
    /// The rest of a reply that it has the start of is lost.
    Truncated,
    /// Memory is short, and it has more than others.
    Memory,
    /// Another client said `CLIENT KILL`.
    Killed,
}

impl fmt::Display for Goodbye {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Goodbye::Done => "it has left",
            Goodbye::Broken => "its socket is broken",
            Goodbye::Foreign => "it sent an HTTP request; a cross-protocol attack?",
            Goodbye::ReadTimeout => "it sent nothing for localReadTimeout",
            Goodbye::WriteTimeout => "it took no reply for localWriteTimeout",
            Goodbye::RequestTimeout => "it stopped inside a request for localRequestTimeout, and takes no reply",
            Goodbye::Unread => "it leaves more replies unread than it may",
            Goodbye::Memory => "bufferedBytesMax is reached, and it has most",
            Goodbye::Killed => "another client killed it",
            Goodbye::Truncated => "a reply that it has half of was lost with its server",
        })
    }
}

impl Goodbye {
    /// What the log is told, if it is not what happens every day.
    fn notice(self) -> Option<Kind> {
        match self {
            Goodbye::Done | Goodbye::Broken | Goodbye::ReadTimeout | Goodbye::Killed => None,
            Goodbye::Foreign => Some(Kind::Http),
            Goodbye::WriteTimeout | Goodbye::Unread => Some(Kind::ClientUnread),
            Goodbye::Truncated => Some(Kind::ClientTruncated),
            Goodbye::Memory => Some(Kind::Memory),
            Goodbye::RequestTimeout => Some(Kind::ClientStopped),
        }
    }
}

impl Proxy {
    /// A client will send nothing more. What it is owed it still gets.
    pub fn handle_client_end(&mut self, id: Id) {
        let Some(client) = self.clients.get_mut(id) else { return };
        client.is_ended = true;
        if let Flow::Uploading { .. } | Flow::BlockedOnCommand { .. } = client.flow {
            // The rest of its request will never come; or it waits for data, and is no longer there to have it.
            self.close_client(id, Goodbye::Done);
            return;
        }
        self.maybe_say_goodbye(id);
    }

    /// A client's socket broke.
    pub fn handle_client_broken(&mut self, id: Id) {
        self.close_client(id, Goodbye::Broken);
    }

    /// A client has closed its connection, or its half of it, though it may have said something before.
    ///
    /// If it waits for data, or is about to, nobody is there to have it: as with Redis, that is the end of the client.
    pub fn handle_client_hangup(&mut self, id: Id) {
        let Some(client) = self.clients.get_mut(id) else { return };
        client.has_hung_up = true;
        if matches!(client.flow, Flow::BlockedOnCommand { .. }) {
            self.handle_client_end(id);
        }
    }

    /// No new clients; those that are here are answered and then closed.
    pub fn handle_shutdown(&mut self) {
        self.clients.is_shutting_down = true;
        let ids: Vec<Id> = self.clients.iter().map(|(id, _)| id).collect();
        for id in ids {
            self.handle_client_end(id);
        }
    }

    /// Stops listening; once everything outstanding is answered, the connection is closed.
    pub(super) fn leave(&mut self, id: Id) {
        if let Some(client) = self.clients.get_mut(id).filter(|client| client.flow != Flow::Closed) {
            client.flow = Flow::Leaving;
            // What it still says is read, and dropped, so that it comes to reading what it is owed.
            self.turn.resume(Conn::Client(id));
            self.mark_client_dirty(id);
        }
    }

    /// Closes a client that would rather speak HTTP: somebody's browser is being used to reach Redis.
    pub(super) fn refuse_http(&mut self, id: Id) {
        self.close_client(id, Goodbye::Foreign);
    }

    /// Closes a client that is done, when it has everything that it was owed.
    pub(super) fn maybe_say_goodbye(&mut self, id: Id) {
        let Some(client) = self.clients.get(id) else { return };
        let is_done = client.flow == Flow::Leaving || (client.is_ended && client.flow == Flow::Open);
        if is_done && client.is_quiet() {
            self.close_client(id, Goodbye::Done);
        }
    }

    /// The one way to close a client. Its outstanding requests stay behind, and their replies will be dropped.
    pub(super) fn close_client(&mut self, id: Id, why: Goodbye) {
        let Some(client) = self.clients.get_mut(id) else { return };
        let flow = std::mem::replace(&mut client.flow, Flow::Closed);
        if flow == Flow::Closed {
            return;
        }
        debug!("client {id} closed: {why}");
        client.alarm.clear(&mut self.wheel);
        client.replies.clear(&mut self.in_flight.arena);
        // Nearly always it leaves nothing else behind, and what it did is no news.
        if flow != Flow::Open || !client.is_bare() || why.notice().is_some() {
            self.clear_up_behind(id, flow, why);
        }
        self.turn.close(Conn::Client(id));
    }

    /// Deals with what a client leaves behind that is closed, but for its alarm and its replies; `flow` is what it did.
    #[inline(never)]
    fn clear_up_behind(&mut self, id: Id, flow: Flow, why: Goodbye) {
        let transaction = self.take_transaction(id);
        if let Some(kept) = self.take_kept(id) {
            self.spare(kept);
        }
        if let Some(kind) = why.notice() {
            self.warn_of_client(kind, id, format_args!("closed: {why}"));
        }
        self.forget_held_back(id);
        self.forget_subscriber(id);
        let Some(client) = self.clients.get_mut(id) else { return };
        client.affinities.clear();
        let bulk = client.bulk.take();
        let mut merges = Vec::new();
        while let Some(request) = client.reply_order.pop(&self.in_flight.requests) {
            let entry = &mut self.in_flight.requests[request];
            entry.forget_client();
            let place = entry.place();
            if let Some(early) = place.early() {
                let mut queue = self.in_flight.early.remove(early as usize);
                queue.clear(&mut self.in_flight.arena);
            }
            if !entry.is_at_backend() {
                self.in_flight.requests.remove(request);
            }
            if let Place::Merging(merging) = place {
                merges.push(merging);
            }
        }
        merges.into_iter().for_each(|merging| self.abandon_merging(merging));
        match flow {
            Flow::Uploading { backend, .. } => self.turn.depart(Departure::Upload(backend, id)),
            Flow::AwaitingBackend { server, need, .. } => {
                self.upstreams.pool_mut(server).unpark(need, id);
                self.clients.parked -= 1;
            }
            // Left alive, it would take the next element for nobody.
            Flow::BlockedOnCommand { backend } => self.turn.depart(Departure::Lease(backend, Some(id), None)),
            Flow::Asking => {
                self.workers.withdraw(id);
                self.charge_inquiries();
            }
            Flow::Subscribing => self.pubsub.publishers.retain(|publisher| publisher.client != id),
            _ => {}
        }
        let leased = transaction.as_ref().and_then(|transaction| Some((transaction, transaction.leased?.backend)));
        if let Some((transaction, backend)) = leased {
            self.turn.depart(Departure::Lease(backend, Some(id), Some(cleanup(transaction))));
        }
        // Behind the lease: the same backend may be both, and is clean before it is anybody's.
        if let Some(bulk) = bulk {
            self.turn.depart(Departure::Bulk(id, *bulk));
        }
    }
}
