//! Who gives memory back when requests and replies take more of it than they may (`memory` has the account).
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

use super::client_close_reason::ClientCloseReason;
use super::clients::Clients;
use super::in_flight::InFlight;
use super::interface::LARGE;
use super::memory::{self, COLLECTED_MIN};
use super::merging::SpareMerges;
use super::reading::Reading;
use super::settings::Settings;
use super::state::Proxy;
use super::turn::Turn;
use super::{close, collect, kept, mark};
use crate::client::{Client, Kept};
use crate::notice::{About, Kind};
use crate::request::MergingId;
use crate::slots::Id;

/// The same for requests that came whole, and wait: more than one read may bring.
pub(super) const WAITING_MIN: usize = 256 * 1024;

/// After a smaller peak than this what was kept for its next use stays, in bytes.
pub(super) const PEAK_MIN: usize = 4 * 1024 * 1024;
/// A peak is over when no more than this is left, in bytes; or a thousandth of it.
pub(super) const GIVEN_BACK_BELOW: usize = 64 * 1024;

/// Who has much, by what.
#[derive(Clone, Copy)]
pub(super) enum Holder {
    /// A client's request that is being collected, or waits.
    Kept(Id),
    /// The replies to the parts of a request.
    Merging(MergingId),
    /// Replies that a client does not take.
    Unread(Id),
}

/// If memory is short, those who have most give way. For the start of a turn's parts, when nothing is half done.
#[cold]
pub(super) fn maybe_relieve(proxy: &mut Proxy) {
    proxy.in_flight.memory.is_watched = true;
    if memory::is_memory_short(&proxy.settings, &proxy.in_flight) && !proxy.in_flight.memory.is_relieved {
        relieve(proxy);
    }
}

/// A turn is over: if memory is short in the next one, who has most is looked for again. What nobody uses any more
/// goes back to the system.
#[cold]
pub(super) fn end_relief(proxy: &mut Proxy) {
    proxy.in_flight.memory.is_relieved = false;
    if proxy.in_flight.memory.was_short && !memory::is_memory_short(&proxy.settings, &proxy.in_flight) {
        proxy.in_flight.memory.was_short = false;
        look_at_held_back(&mut proxy.clients, &mut proxy.turn);
    }
    let account = memory::buffered_bytes(&proxy.in_flight);
    proxy.in_flight.memory.peak_bytes = proxy.in_flight.memory.peak_bytes.max(account);
    if account <= (proxy.in_flight.memory.peak_bytes / 1024).max(GIVEN_BACK_BELOW) {
        if proxy.in_flight.memory.peak_bytes > PEAK_MIN {
            give_back(&mut proxy.reading, &mut proxy.in_flight);
        }
        proxy.in_flight.memory.peak_bytes = 0;
    }
    proxy.in_flight.memory.is_watched = proxy.in_flight.memory.peak_bytes > 0;
}

/// Much memory was taken, and is not any more. What was kept for its next use lies scattered among what is free
/// now, and keeps that from going back to the system.
#[cold]
pub(super) fn give_back(reading: &mut Reading, in_flight: &mut InFlight) {
    reading.spare_kept = Vec::new();
    in_flight.spare_merges = SpareMerges::default();
    in_flight.arena.shrink();
    in_flight.requests.shrink_to_fit();
    in_flight.early.shrink_to_fit();
    in_flight.merges.shrink_to_fit();
    // Allocators like that of glibc put off joining what is free, until so large a piece is given back.
    drop(black_box(Vec::<u8>::with_capacity(2 * LARGE - 1024)));
}

/// Clients may have more unread than while memory was short: what is held back of those who wait for it may come.
#[cold]
pub(super) fn look_at_held_back(clients: &mut Clients, turn: &mut Turn) {
    let held_back: Vec<Id> =
        clients.iter().filter(|(_, client)| client.connection().holds_back()).map(|(id, _)| id).collect();
    held_back.into_iter().for_each(|id| mark::mark_client_dirty(clients, turn, id));
}

#[cold]
pub(super) fn relieve(proxy: &mut Proxy) {
    proxy.in_flight.memory.is_relieved = true;
    proxy.in_flight.memory.was_short = true;
    let max = proxy.settings.limits.buffered_bytes_max;
    let before = memory::buffered_bytes(&proxy.in_flight);
    // So that the next one does not have to look again at once.
    let goal = max - max / 16;
    let mut count = 0;
    for is_collecting in [true, false] {
        if memory::buffered_bytes(&proxy.in_flight) <= goal {
            break;
        }
        let holders = holders(&proxy.settings, &proxy.clients, &proxy.in_flight, is_collecting);
        let threshold = threshold(&holders, memory::buffered_bytes(&proxy.in_flight) - goal);
        for (_, holder) in holders.into_iter().filter(|(held, _)| *held >= threshold) {
            if memory::buffered_bytes(&proxy.in_flight) <= goal {
                break;
            }
            count += 1;
            match holder {
                Holder::Kept(client) if is_collecting => kept::refuse_kept(proxy, client),
                Holder::Merging(merging) => collect::cut_merging(&mut proxy.clients, &mut proxy.in_flight, merging),
                Holder::Kept(client) | Holder::Unread(client) => {
                    close::close_client(proxy, client, ClientCloseReason::Memory)
                }
            }
        }
    }
    if count > 0 {
        let after = memory::buffered_bytes(&proxy.in_flight);
        proxy.journal.notices.note(
            Kind::Memory,
            About::Clients,
            Level::Warn,
            count,
            format_args!(
                "{before} bytes of {max} (bufferedBytesMax) were taken; {after} are, since who had most gave way"
            ),
        );
    }
}

/// Who has much of what is being collected, or else of what waits.
pub(super) fn holders(
    settings: &Settings,
    clients: &Clients,
    in_flight: &InFlight,
    is_collecting: bool,
) -> Vec<(usize, Holder)> {
    let mut holders = Vec::new();
    let unread_min = settings.limits.client_unread_pause_bytes;
    for (id, client) in clients.iter() {
        let kept = client.kept().map_or(0, |kept| kept.bytes().len());
        let kept_min = if is_collecting { COLLECTED_MIN } else { WAITING_MIN };
        if kept > kept_min && is_collecting == is_partial(client) {
            holders.push((kept, Holder::Kept(id)));
        } else if !is_collecting {
            // What is not offered yet may be on its way in this turn.
            let unread = client.replies().early_bytes()
                + if client.connection().is_write_blocked() { client.replies().unsent() } else { 0 };
            if unread > unread_min.max(COLLECTED_MIN) {
                holders.push((unread, Holder::Unread(id)));
            }
        }
    }
    if is_collecting {
        let merges = in_flight.merges.iter().filter(|(_, merging)| merging.collected() > COLLECTED_MIN);
        holders.extend(merges.map(|(id, merging)| (merging.collected(), Holder::Merging(id as MergingId))));
    }
    holders
}

/// The start of a request is being collected: it came alone, and no backend can take it in pieces.
pub(super) fn is_partial(client: &Client) -> bool {
    client.is_open() && client.kept().is_some_and(Kept::is_partial)
}

/// How much one must have to be among those few who have most, and `wanted` bytes together; as exact as an eighth.
pub(super) fn threshold(holders: &[(usize, Holder)], wanted: usize) -> usize {
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
