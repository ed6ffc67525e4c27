//! How a client's connection ends: who ended it, and what becomes of what it had.
//!
//! ```text
//!   it sends nothing more, or said QUIT ─► what it is owed goes out ─┐
//!   it is gone, too slow, killed, no Redis client ───────────────────┴─► close_client, with the reason
//! ```
//!
//! There is one way to close a client, and it may be taken twice. Its requests that are outstanding stay behind in the
//! lines of their backends with nobody waiting, and their replies are dropped; what else it had at a backend (the start
//! of a request, a lease) is noted, and cleaned up by `follow_up` when the call that closed it is over.
//!
//! What becomes of a backend is `recover`'s business.

use log::debug;

use super::client_close_reason::ClientCloseReason;
use super::clients::Clients;
use super::in_flight::InFlight;
use super::interface::{Conn, Timer};
use super::pubsub::{FEW, Pubsub, SLICE};
use super::state::Proxy;
use super::transaction_marks::{self, cleanup};
use super::turn::{FollowUp, Turn};
use super::{collect, mark, memory, report};
use crate::client::{Affinity, Departed, Flow, Left};
use crate::request::{ClientLine, Place};
use crate::slots::Id;
use crate::subscription::Subscriber;

/// A client will send nothing more. What it is owed it still gets.
pub(super) fn handle_client_end(proxy: &mut Proxy, id: Id) {
    let Some(client) = proxy.clients.get_mut(id) else { return };
    client.connection_mut().on_end();
    if let Flow::Uploading { .. } | Flow::BlockedOnCommand { .. } = client.flow() {
        // The rest of its request will never come; or it waits for data, and is no longer there to have it.
        close_client(proxy, id, ClientCloseReason::Done);
        return;
    }
    maybe_close(proxy, id);
}

/// A client's socket broke.
pub(super) fn handle_client_broken(proxy: &mut Proxy, id: Id) {
    close_client(proxy, id, ClientCloseReason::Broken);
}

/// A client has closed its connection, or its half of it, though it may have said something before.
///
/// If it waits for data, or is about to, nobody is there to have it: as with Redis, that is the end of the client.
pub(super) fn handle_client_hangup(proxy: &mut Proxy, id: Id) {
    let Some(client) = proxy.clients.get_mut(id) else { return };
    client.connection_mut().on_hangup();
    if matches!(client.flow(), Flow::BlockedOnCommand { .. }) {
        handle_client_end(proxy, id);
    }
}

/// No new clients; those that are here are answered and then closed.
pub(super) fn handle_shutdown(proxy: &mut Proxy) {
    proxy.clients.begin_shutdown();
    let ids: Vec<Id> = proxy.clients.iter().map(|(id, _)| id).collect();
    for id in ids {
        handle_client_end(proxy, id);
    }
}

/// Stops listening; once everything outstanding is answered, the connection is closed.
pub(super) fn leave(clients: &mut Clients, turn: &mut Turn, id: Id) {
    if let Some(client) = clients.get_mut(id).filter(|client| !client.is_closed()) {
        client.enter(Flow::Leaving);
        // What it still says is read, and dropped, so that it comes to reading what it is owed.
        turn.resume(Conn::Client(id));
        mark::mark_client_dirty(clients, turn, id);
    }
}

/// Closes a client that would rather speak HTTP: somebody's browser is being used to reach Redis.
pub(super) fn refuse_http(proxy: &mut Proxy, id: Id) {
    close_client(proxy, id, ClientCloseReason::Foreign);
}

/// Closes a client that is done, when it has everything that it was owed.
pub(super) fn maybe_close(proxy: &mut Proxy, id: Id) {
    let Some(client) = proxy.clients.get(id) else { return };
    let is_done = client.flow() == Flow::Leaving || (client.connection().is_ended() && client.is_open());
    if is_done && client.is_quiet() {
        close_client(proxy, id, ClientCloseReason::Done);
    }
}

/// The one way to close a client. Its outstanding requests stay behind, and their replies will be dropped.
pub(super) fn close_client(proxy: &mut Proxy, id: Id, why: ClientCloseReason) {
    if !proxy.relocations.is_empty() {
        proxy.relocations.remove(id);
    }
    match proxy.clients.close(id, &mut proxy.wheel, &mut proxy.in_flight.arena) {
        Departed::Before => return,
        Departed::Clean => say_why(proxy, id, why),
        Departed::Leaves(left) => {
            say_why(proxy, id, why);
            clear_up_behind(proxy, id, left);
        }
    }
    proxy.turn.close(Conn::Client(id));
}

/// Tells the log, if it is not what happens every day.
#[inline]
fn say_why(proxy: &mut Proxy, id: Id, why: ClientCloseReason) {
    proxy.journal.stats.clients_closed[why as usize] += 1;
    debug!("client {id} closed: {why}");
    if let Some(kind) = why.notice() {
        report::warn_of_client(&proxy.clients, &mut proxy.journal, kind, id, format_args!("closed: {why}"));
    }
}

/// Deals with what a client leaves behind that is closed.
#[inline(never)]
fn clear_up_behind(proxy: &mut Proxy, id: Id, left: Left) {
    if let Some(transaction) = &left.transaction {
        transaction_marks::uncharge_steps(&mut proxy.in_flight, transaction.held_steps());
    }
    if let Some(kept) = left.kept {
        proxy.in_flight.arena.uncharge(kept.held());
        proxy.reading.spare(kept);
    }
    forget_held_back(proxy, left.affinities.all());
    if let Some(subscriber) = left.subscriber {
        forget_subscriber(proxy, id, *subscriber);
    }
    forget_requests(proxy, left.reply_order);
    match left.flow {
        Flow::Uploading { backend, .. } => proxy.turn.follow_up(FollowUp::Upload(backend, id)),
        Flow::AwaitingBackend { server, need, .. } => proxy.upstreams.pool_mut(server).unpark(need, id),
        // Left alive, it would take the next element for nobody.
        Flow::BlockedOnCommand { backend } => proxy.turn.follow_up(FollowUp::Lease(backend, Some(id), None)),
        Flow::Asking => {
            proxy.worker_queries.withdraw(id);
            memory::charge_worker_queries(&mut proxy.in_flight, &mut proxy.worker_queries);
        }
        Flow::Subscribing => proxy.pubsub.publishers.retain(|publisher| publisher.client != id),
        _ => {}
    }
    let leased = left.transaction.as_ref().and_then(|transaction| Some((transaction, transaction.leased()?.backend)));
    if let Some((transaction, backend)) = leased {
        proxy.turn.follow_up(FollowUp::Lease(backend, Some(id), Some(cleanup(transaction))));
    }
    // Behind the lease: the same backend may be both, and is clean before it is anybody's.
    if let Some(bulk) = left.bulk {
        proxy.turn.follow_up(FollowUp::Bulk(id, *bulk));
    }
}

/// Those that a backend has to answer stay in its line, with nobody waiting.
fn forget_requests(proxy: &mut Proxy, mut reply_order: ClientLine) {
    let mut merges = Vec::new();
    while let Some(request) = reply_order.pop(&proxy.in_flight.requests) {
        let entry = &mut proxy.in_flight.requests[request];
        entry.forget_client();
        let place = entry.place();
        if let Some(early) = place.early() {
            let mut queue = proxy.in_flight.early.remove(early as usize);
            queue.clear(&mut proxy.in_flight.arena);
        }
        if !entry.is_at_backend() {
            proxy.in_flight.requests.remove(request);
        }
        if let Place::Merging(merging) = place {
            merges.push(merging);
        }
    }
    merges.into_iter().for_each(|merging| {
        collect::abandon_merging(&mut proxy.clients, &mut proxy.in_flight, &mut proxy.turn, merging)
    });
}

/// A client is gone: what was held back for it is read, and dropped.
fn forget_held_back(proxy: &mut Proxy, affinities: &[Affinity]) {
    for affinity in affinities {
        if let Some(backend) = proxy.upstreams.backend_mut(affinity.backend).filter(|backend| backend.is_read_paused())
        {
            backend.resume_reads(None);
            let now = proxy.wheel.now();
            backend.wake_at(&mut proxy.wheel, Timer::Backend(affinity.backend), now);
            proxy.turn.resume(Conn::Backend(affinity.backend));
        }
    }
}

/// A client is being closed: nothing of it stays behind.
fn forget_subscriber(proxy: &mut Proxy, id: Id, mut subscriber: Subscriber) {
    subscriber.held.clear(&mut proxy.in_flight.arena);
    // A confirmation that it waits for ends with its topics.
    if let Some(number) = subscriber.progress.and_then(|progress| progress.confirmation) {
        proxy.pubsub.confirm_part(number);
        memory::charge_pubsub(&mut proxy.in_flight, &mut proxy.pubsub);
    }
    if subscriber.topics() > FEW || !forget_topics(&mut proxy.in_flight, &mut proxy.turn, &mut proxy.pubsub, id) {
        proxy.pubsub.leaving.push_back(id);
        proxy.turn.ration();
    }
}

/// A client that is gone hears nothing any more. False if that is more than one turn's work.
pub(super) fn forget_topics(in_flight: &mut InFlight, turn: &mut Turn, pubsub: &mut Pubsub, id: Id) -> bool {
    let count = pubsub.forget_topics(id, SLICE);
    memory::charge_pubsub(in_flight, pubsub);
    mark::count_topics(turn, count);
    count < SLICE
}
