//! Replies to the parts of a request: kept until the last one is there (`merging` owns them, `merged` joins them).

use super::clients::Clients;
use super::in_flight::InFlight;
use super::interface::LARGE;
use super::memory::{self, COLLECTED_MIN};
use super::merging::Merging;
use super::settings::Settings;
use super::state::Proxy;
use super::turn::Turn;
use crate::request::{MergingId, Place, RequestId};
use crate::slots::Id;

/// An empty entry; it is given back with `spare_merging`, or entered into `merges`.
pub(super) fn new_merging(in_flight: &mut InFlight) -> Merging {
    in_flight.spare_merges.take()
}

/// Takes back an entry that is no longer needed.
pub(super) fn spare_merging(in_flight: &mut InFlight, mut merging: Merging) {
    in_flight.arena.recharge(&mut merging.charged, 0);
    merging.parts.iter_mut().for_each(|part| part.pieces.clear(&mut in_flight.arena));
    in_flight.spare_merges.put(merging);
}

/// More of the reply to a part has come.
pub(super) fn collect(
    settings: &Settings,
    clients: &mut Clients,
    in_flight: &mut InFlight,
    merging: MergingId,
    request: RequestId,
    piece: &[u8],
) {
    let part = in_flight.requests[request].part();
    let is_full = piece.len() > COLLECTED_MIN && memory::is_out_of_memory(settings, in_flight, piece.len());
    let entry = &mut in_flight.merges[merging as usize];
    if entry.is_too_large {
        return;
    }
    if is_full {
        return cut_merging(clients, in_flight, merging);
    }
    let Some(client) = clients.get_mut(entry.client) else { return };
    client.replies_mut().hold_merged(piece.len());
    entry.collected += piece.len();
    let part = &mut entry.parts[usize::from(part)];
    let before = part.bytes.capacity();
    if part.pieces.unsent() == 0 && part.bytes.len() + piece.len() <= LARGE {
        part.bytes.extend_from_slice(piece);
    } else {
        part.pieces.push_vec(&mut in_flight.arena, std::mem::take(&mut part.bytes));
        part.pieces.push_vec(&mut in_flight.arena, piece.to_vec());
    }
    let after = part.bytes.capacity();
    if after != before {
        let held = entry.charged - before + after;
        in_flight.arena.recharge(&mut entry.charged, held);
    }
}

/// What is collected for this request is too much: it is thrown away, as is what is still to come, and the reply
/// will be an error.
pub(super) fn cut_merging(clients: &mut Clients, in_flight: &mut InFlight, merging: MergingId) {
    let entry = &mut in_flight.merges[merging as usize];
    let client = entry.client;
    entry.is_too_large = true;
    let collected = std::mem::take(&mut entry.collected);
    for part in &mut entry.parts {
        part.bytes = Vec::new();
        part.pieces.clear(&mut in_flight.arena);
    }
    let held = entry.held();
    in_flight.arena.recharge(&mut entry.charged, held);
    forget_merged(clients, client, collected);
}

/// So many bytes are no longer collected for this client.
pub(super) fn forget_merged(clients: &mut Clients, id: Id, collected: usize) {
    if let Some(client) = clients.get_mut(id) {
        client.replies_mut().drop_merged(collected);
    }
}

/// An entry has changed, and with it what it holds.
pub(super) fn charge_merging(in_flight: &mut InFlight, merging: &mut Merging) {
    let held = merging.held();
    in_flight.arena.recharge(&mut merging.charged, held);
}

/// What has come of the reply to a part is worth nothing: the rest is lost, or the part is asked again.
pub(super) fn forget_collected(
    clients: &mut Clients,
    in_flight: &mut InFlight,
    merging: MergingId,
    request: RequestId,
) {
    let part = in_flight.requests[request].part();
    let entry = &mut in_flight.merges[merging as usize];
    let part = &mut entry.parts[usize::from(part)];
    let len = part.bytes.len() + part.pieces.unsent();
    part.bytes.clear();
    part.pieces.clear(&mut in_flight.arena);
    entry.collected -= len;
    let client = entry.client;
    forget_merged(clients, client, len);
}

/// A part, which stands in no backend's line any more, has its whole reply, or an error instead of it.
pub(super) fn answer_part(proxy: &mut Proxy, merging: MergingId, request: RequestId, reply: &[u8]) {
    forget_collected(&mut proxy.clients, &mut proxy.in_flight, merging, request);
    collect(&proxy.settings, &mut proxy.clients, &mut proxy.in_flight, merging, request, reply);
    end_part(&mut proxy.in_flight, &mut proxy.turn, merging, request);
}

/// All of the reply to a part, which stands in no backend's line any more, is collected. With the last one, the
/// parent is to be answered (`merged`).
pub(super) fn end_part(in_flight: &mut InFlight, turn: &mut Turn, merging: MergingId, request: RequestId) {
    let part = in_flight.requests.remove(request).part();
    let entry = &mut in_flight.merges[merging as usize];
    debug_assert_eq!(entry.parts[usize::from(part)].request, Some(request));
    entry.parts[usize::from(part)].request = None;
    entry.unanswered -= 1;
    if entry.unanswered == 0 {
        turn.finish_merge(merging);
    }
}

/// The client of a parent is gone, and the parent with it: nobody waits for its parts.
pub(super) fn abandon_merging(clients: &mut Clients, in_flight: &mut InFlight, turn: &mut Turn, merging: MergingId) {
    turn.forget_merge(merging);
    let merging = in_flight.merges.remove(merging as usize);
    for request in merging.parts().iter().filter_map(|part| part.request) {
        let entry = &mut in_flight.requests[request];
        entry.forget_client();
        entry.move_to(Place::Waiting);
        if !entry.is_at_backend() {
            in_flight.requests.remove(request);
        }
    }
    forget_merged(clients, merging.client, merging.collected);
    spare_merging(in_flight, merging);
}
