//! How much memory requests and replies take, all together, and who gives some back when it is too much.
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
//!   steps of transactions that rmux keeps                           charged by own_steps, within a bound of their own
//!   subscriptions, scripts, answers of other proxies                recharged when they change
//! ```
//!
//! Past `bufferedBytesMax`, at the next safe point, who has most gives way, until there is some room again:
//!
//! 1. what is being collected, since it cannot be passed on in pieces: the request is refused, and the rest of it
//!    thrown away as it comes; the reply in parts becomes an error. Nobody is closed over it;
//! 2. who leaves more than the pause mark unread, or has a large request waiting: its client is closed.
//!
//! Ordinary requests go on: what is small is no one's burden. If after that memory is still short in the same turn, the
//! next one that would take more is refused itself.

use std::hint::black_box;

use log::Level;

use super::{Goodbye, LARGE, Proxy};
use crate::client::{Client, Flow, Kept};
use crate::limits::Limits;
use crate::notice::{About, Kind};
use crate::request::{MergingId, Request};
use crate::slots::Id;

/// Whoever collects no more than this does not have to give way, in bytes.
pub(super) const COLLECTED_MIN: usize = 4 * 1024;
/// The same for requests that came whole, and wait: more than one read may bring.
const WAITING_MIN: usize = 256 * 1024;
/// The most that one read of a client brings while memory is short, in bytes.
pub(super) const READ_WHEN_SHORT: usize = 16 * 1024;
/// So much is not looked after, in bytes, nor more than half of what may be taken.
pub(super) const MEMORY_WATCH_BYTES: usize = 256 * 1024;
/// A peak is over when no more than this is left, in bytes; or a thousandth of it.
const GIVEN_BACK_BELOW: usize = 64 * 1024;
/// After a smaller peak than this what was kept for its next use stays, in bytes.
const PEAK_MIN: usize = 4 * 1024 * 1024;

/// What is known about the account, beside its sum.
#[derive(Debug)]
pub(super) struct Memory {
    /// True exactly when, in this turn, those who have most were asked to give way.
    pub is_relieved: bool,
    /// True exactly when, since memory was at rest, more than `watch_bytes` were taken.
    pub is_watched: bool,
    /// True once memory was short, until those have been looked at who were held back over it.
    pub was_short: bool,
    pub watch_bytes: usize,
    /// The most that was taken since then.
    pub peak_bytes: usize,
    /// How many bytes are steps of transactions which rmux keeps.
    pub steps_bytes: usize,
}

impl Memory {
    /// Nothing is taken.
    pub fn new(limits: &Limits) -> Memory {
        Memory {
            is_relieved: false,
            is_watched: false,
            was_short: false,
            watch_bytes: MEMORY_WATCH_BYTES.min(limits.buffered_bytes_max / 2),
            peak_bytes: 0,
            steps_bytes: 0,
        }
    }
}

/// Who has much, by what.
#[derive(Clone, Copy)]
enum Holder {
    /// A client's request that is being collected, or waits.
    Kept(Id),
    /// The replies to the parts of a request.
    Merging(MergingId),
    /// Replies that a client does not take.
    Unread(Id),
}

impl Proxy {
    /// Memory that requests and replies take at this moment, in bytes.
    #[inline]
    pub fn buffered_bytes(&self) -> usize {
        self.in_flight.arena.bytes() + self.in_flight.requests.len() * size_of::<Request>()
    }

    /// True exactly when requests and replies take more memory than they may, all together.
    #[inline]
    pub(super) fn is_memory_short(&self) -> bool {
        self.buffered_bytes() > self.settings.limits.buffered_bytes_max
    }

    /// True exactly when `n` bytes more are too much, and those who have most have given way already.
    pub(super) fn is_out_of_memory(&self, n: usize) -> bool {
        self.in_flight.memory.is_relieved && self.buffered_bytes() + n > self.settings.limits.buffered_bytes_max
    }

    /// The most that a client may leave unread, in bytes: no more than the pause mark when memory is short.
    pub(super) fn client_unread_max(&self) -> usize {
        let limits = &self.settings.limits;
        if self.is_out_of_memory(0) { limits.client_unread_pause_bytes } else { limits.client_unread_bytes_max }
    }

    /// What a client is told whose request, or the reply to it, finds no room.
    pub(super) fn out_of_memory(&self, what: &str) -> String {
        let max = self.settings.limits.buffered_bytes_max;
        format!("-ERR {what} would take more memory than bufferedBytesMax allows ({max} bytes)\r\n")
    }

    /// Tells a client that there is no room for its request.
    pub(super) fn refuse_for_memory(&mut self, id: Id, what: &str) {
        let text = self.out_of_memory(what);
        self.reply_here(id, text.as_bytes());
    }

    /// True exactly when so much memory is taken that somebody has to look after it.
    #[inline]
    pub(super) fn is_much_taken(&self) -> bool {
        self.in_flight.memory.is_watched || self.buffered_bytes() > self.in_flight.memory.watch_bytes
    }

    /// If memory is short, those who have most give way. For the start of a turn's parts, when nothing is half done.
    #[cold]
    pub(super) fn maybe_relieve(&mut self) {
        self.in_flight.memory.is_watched = true;
        if self.is_memory_short() && !self.in_flight.memory.is_relieved {
            self.relieve();
        }
    }

    /// A turn is over: if memory is short in the next one, who has most is looked for again. What nobody uses any more
    /// goes back to the system.
    #[cold]
    pub(super) fn end_relief(&mut self) {
        self.in_flight.memory.is_relieved = false;
        if self.in_flight.memory.was_short && !self.is_memory_short() {
            self.in_flight.memory.was_short = false;
            self.look_at_held_back();
        }
        let account = self.buffered_bytes();
        self.in_flight.memory.peak_bytes = self.in_flight.memory.peak_bytes.max(account);
        if account <= (self.in_flight.memory.peak_bytes / 1024).max(GIVEN_BACK_BELOW) {
            if self.in_flight.memory.peak_bytes > PEAK_MIN {
                self.give_back();
            }
            self.in_flight.memory.peak_bytes = 0;
        }
        self.in_flight.memory.is_watched = self.in_flight.memory.peak_bytes > 0;
    }

    /// Much memory was taken, and is not any more. What was kept for its next use lies scattered among what is free
    /// now, and keeps that from going back to the system.
    #[cold]
    fn give_back(&mut self) {
        self.reading.spare_kept = Vec::new();
        self.in_flight.spare_merges = Vec::new();
        self.in_flight.arena.shrink();
        self.in_flight.requests.shrink_to_fit();
        self.in_flight.early.shrink_to_fit();
        self.in_flight.merges.shrink_to_fit();
        // Allocators like that of glibc put off joining what is free, until so large a piece is given back.
        drop(black_box(Vec::<u8>::with_capacity(2 * LARGE - 1024)));
    }

    /// Clients may have more unread than while memory was short: what is held back of those who wait for it may come.
    #[cold]
    fn look_at_held_back(&mut self) {
        let held_back: Vec<Id> =
            self.clients.iter().filter(|(_, client)| client.holds_back).map(|(id, _)| id).collect();
        held_back.into_iter().for_each(|id| self.mark_client_dirty(id));
    }

    #[cold]
    fn relieve(&mut self) {
        self.in_flight.memory.is_relieved = true;
        self.in_flight.memory.was_short = true;
        let max = self.settings.limits.buffered_bytes_max;
        let before = self.buffered_bytes();
        // So that the next one does not have to look again at once.
        let goal = max - max / 16;
        let mut count = 0;
        for is_collecting in [true, false] {
            if self.buffered_bytes() <= goal {
                break;
            }
            let holders = self.holders(is_collecting);
            let threshold = threshold(&holders, self.buffered_bytes() - goal);
            for (_, holder) in holders.into_iter().filter(|(held, _)| *held >= threshold) {
                if self.buffered_bytes() <= goal {
                    break;
                }
                count += 1;
                match holder {
                    Holder::Kept(client) if is_collecting => self.refuse_kept(client),
                    Holder::Merging(merging) => self.cut_merging(merging),
                    Holder::Kept(client) | Holder::Unread(client) => self.close_client(client, Goodbye::Memory),
                }
            }
        }
        if count > 0 {
            let after = self.buffered_bytes();
            let text = format_args!(
                "{before} bytes of {max} (bufferedBytesMax) were taken; {after} are, since who had most gave way"
            );
            self.journal.notices.note(Kind::Memory, About::Clients, Level::Warn, count, text);
        }
    }

    /// Who has much of what is being collected, or else of what waits.
    fn holders(&self, is_collecting: bool) -> Vec<(usize, Holder)> {
        let mut holders = Vec::new();
        let unread_min = self.settings.limits.client_unread_pause_bytes;
        for (id, client) in self.clients.iter() {
            let kept = client.kept.as_ref().map_or(0, |kept| kept.bytes.len());
            let kept_min = if is_collecting { COLLECTED_MIN } else { WAITING_MIN };
            if kept > kept_min && is_collecting == Self::is_collecting(client) {
                holders.push((kept, Holder::Kept(id)));
            } else if !is_collecting {
                // What is not offered yet may be on its way in this turn.
                let unread = client.early_bytes + if client.is_write_blocked { client.replies.unsent() } else { 0 };
                if unread > unread_min.max(COLLECTED_MIN) {
                    holders.push((unread, Holder::Unread(id)));
                }
            }
        }
        if is_collecting {
            let merges = self.in_flight.merges.iter().filter(|(_, merging)| merging.collected() > COLLECTED_MIN);
            holders.extend(merges.map(|(id, merging)| (merging.collected(), Holder::Merging(id as MergingId))));
        }
        holders
    }

    /// Takes the buffer for replies of our own back.
    pub(super) fn spare_reply(&mut self, mut reply: Vec<u8>) {
        reply.clear();
        self.reading.reply = if reply.capacity() > LARGE { Vec::new() } else { reply };
    }

    /// Takes what a client has sent that was not dealt with.
    pub(super) fn take_kept(&mut self, id: Id) -> Option<Box<Kept>> {
        let kept = self.clients.get_mut(id)?.kept.take()?;
        self.in_flight.arena.uncharge(kept.held());
        Some(kept)
    }

    /// The start of a request is being collected: it came alone, and no backend can take it in pieces.
    fn is_collecting(client: &Client) -> bool {
        let is_partial = |kept: &Kept| kept.framer.is_partial(kept.bytes.len());
        client.flow == Flow::Open && client.kept.as_deref().is_some_and(is_partial)
    }
}

/// How much one must have to be among those few who have most, and `wanted` bytes together; as exact as an eighth.
fn threshold(holders: &[(usize, Holder)], wanted: usize) -> usize {
    let mut by_size = [0_usize; 8 * usize::BITS as usize];
    for (held, _) in holders {
        let log = held.ilog2();
        by_size[8 * log as usize + (held >> (log - 3) & 7)] += held;
    }
    let mut found = 0;
    for (size, held) in by_size.iter().enumerate().rev() {
        found += held;
        if found >= wanted {
            return (8 + size % 8) << (size / 8 - 3);
        }
    }
    0
}
