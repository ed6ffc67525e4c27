//! How much memory requests and replies take, all together. Who gives some back when it is too much is `relief`'s
//! business.
//!
//! One account, the arena's, has all bytes that a peer can make rmux hold: what is queued, and what is charged by those
//! who keep it elsewhere. The records of outstanding requests are not charged one by one; they are counted when
//! somebody asks. `audit` counts everything anew, and compares.
//!
//! ```text
//!   queues of clients and backends, early replies, held messages    chunks of the arena
//!   starts of requests, and requests that wait (Client::kept)       charged by keep, uncharged by take_kept
//!   starts of replies (Backend::kept)                               charged by handle_backend_data
//!   requests in parts, and their replies                            charged by merging
//!   steps of transactions that rmux keeps                           charged by local_steps, with a bound of their own
//!   subscriptions, scripts, answers of other proxies                recharged when they change
//!   ciphertext, which the shell has                                 the same, once in a turn
//! ```

use super::clients::Clients;
use super::in_flight::InFlight;
use super::pubsub::Pubsub;
use super::settings::Settings;
use super::worker_queries::WorkerQueries;
use crate::client::Kept;
use crate::request::Request;
use crate::slots::Id;

/// Whoever collects no more than this does not have to give way, in bytes.
pub(super) const COLLECTED_MIN: usize = 4 * 1024;

/// Memory that requests and replies take at this moment, in bytes.
#[inline]
pub(super) fn buffered_bytes(in_flight: &InFlight) -> usize {
    in_flight.arena.bytes() + in_flight.requests.len() * size_of::<Request>()
}

/// True exactly when requests and replies take more memory than they may, all together.
#[inline]
pub(super) fn is_memory_short(settings: &Settings, in_flight: &InFlight) -> bool {
    buffered_bytes(in_flight) > settings.limits.buffered_bytes_max
}

/// True exactly when `n` bytes more are too much, and those who have most have given way already.
pub(super) fn is_out_of_memory(settings: &Settings, in_flight: &InFlight, n: usize) -> bool {
    in_flight.memory.is_relieved && buffered_bytes(in_flight) + n > settings.limits.buffered_bytes_max
}

/// The most that a client may leave unread, in bytes: no more than the pause mark when memory is short.
pub(super) fn client_unread_max(settings: &Settings, in_flight: &InFlight) -> usize {
    let limits = &settings.limits;
    if is_out_of_memory(settings, in_flight, 0) {
        limits.client_unread_pause_bytes
    } else {
        limits.client_unread_bytes_max
    }
}

/// What a client is told whose request, or the reply to it, finds no room.
pub(super) fn out_of_memory(settings: &Settings, what: &str) -> String {
    let max = settings.limits.buffered_bytes_max;
    format!("-ERR {what} would take more memory than bufferedBytesMax allows ({max} bytes)\r\n")
}

/// True exactly when so much memory is taken that somebody has to look after it.
#[inline]
pub(super) fn is_much_taken(in_flight: &InFlight) -> bool {
    in_flight.memory.is_watched || buffered_bytes(in_flight) > in_flight.memory.watch_bytes
}

/// What is asked and answered has become more or less.
pub(super) fn charge_worker_queries(in_flight: &mut InFlight, worker_queries: &mut WorkerQueries) {
    let held = worker_queries.held();
    in_flight.arena.recharge(&mut worker_queries.charged, held);
}

/// Subscriptions have become more or less.
pub(super) fn charge_pubsub(in_flight: &mut InFlight, pubsub: &mut Pubsub) {
    let held = pubsub.held();
    in_flight.arena.recharge(&mut pubsub.charged, held);
}

/// Outside of the core, so much is held for what goes through it.
#[cold]
pub(super) fn charge_outside(in_flight: &mut InFlight, held: usize) {
    in_flight.arena.recharge(&mut in_flight.memory.outside, held);
}

/// Takes what a client has sent that was not dealt with.
pub(super) fn take_kept(clients: &mut Clients, in_flight: &mut InFlight, id: Id) -> Option<Box<Kept>> {
    let kept = clients.get_mut(id)?.take_kept()?;
    in_flight.arena.uncharge(kept.held());
    Some(kept)
}
