//! Requests whose parts are all answered: one reply out of several, to the client that waits for it.

use super::client_close_reason::ClientCloseReason;
use super::compose::{self, Shape};
use super::interface::LARGE;
use super::merging::Merging;
use super::state::Proxy;
use super::{answer, client_list, close, collect, hidden_count, local_steps, memory, pieces, worker_query};
use crate::buffer::Queue;
use crate::local::servers_info::ServersInfo;
use crate::request::{MergingId, Place};
use crate::resp::elements;
use crate::timer::Millis;

/// Answers the requests of which all parts are answered.
pub(super) fn finish_merges(proxy: &mut Proxy, now: Millis) {
    while let Some(merging) = proxy.turn.next_finished_merge() {
        finish_merging(proxy, merging, now);
    }
}

/// The reply to a request, out of those to its parts.
fn write_merged(proxy: &mut Proxy, merging: &Merging, now: Millis, reply: &mut Vec<u8>) {
    if let Some(figures) = &merging.figures {
        let mut told = ServersInfo::default();
        // One that has not answered is as one that was not asked.
        merging.parts().iter().filter_map(|part| elements::text(&part.bytes)).for_each(|text| told.add(text));
        return client_list::write_info(proxy, merging.client, figures, &told, now, reply);
    }
    compose::compose(merging.shape, merging.parts(), &merging.order, reply);
    if let Shape::Subscribers(family) = merging.shape {
        let counted = std::mem::take(reply);
        hidden_count::correct_subscribers(&proxy.pubsub, family, &counted, reply);
    }
}

/// All of the replies to the parts of a request are collected: it is answered.
fn finish_merging(proxy: &mut Proxy, merging: MergingId, now: Millis) {
    let mut merging = proxy.in_flight.merges.remove(merging as usize);
    let (client, parent) = (merging.client, merging.parent);
    if let Some(entry) = proxy.in_flight.requests.get_mut(parent) {
        entry.move_to(Place::Waiting);
    }
    let is_large = merging.collected > LARGE && merging.parts().iter().any(|part| part.pieces.unsent() > 0);
    let has_error = merging.parts().iter().any(|part| compose::is_error(&part.bytes));
    collect::forget_merged(&mut proxy.clients, client, merging.collected);
    if is_large && !has_error {
        if merging.shape == Shape::ByPosition && merging.local_steps.is_empty() {
            let reply = pieces::join_pieces(&mut proxy.in_flight, &mut merging);
            collect::spare_merging(&mut proxy.in_flight, merging);
            return answer::fill_place(proxy, client, parent, reply, now);
        }
        merging.is_too_large = !pieces::gather_pieces(&proxy.settings, &mut proxy.in_flight, &mut merging);
    }
    let mut local_steps = std::mem::take(&mut merging.local_steps);
    let has_local_steps = !local_steps.is_empty();
    let is_asking = has_local_steps
        && !merging.is_too_large
        && worker_query::maybe_query_for(proxy, client, parent, &mut local_steps, &mut merging.parts[0]);
    let mut reply = proxy.reading.take_reply();
    if is_asking {
        // It is answered when the other proxies have been heard.
    } else if merging.is_too_large {
        let text = memory::out_of_memory(&proxy.settings, "The replies of the servers");
        reply.extend_from_slice(text.as_bytes());
    } else if has_local_steps {
        let part = &merging.parts()[0];
        local_steps::end_local_steps(
            proxy,
            client,
            local_steps,
            (part.backend, &part.bytes),
            Vec::new(),
            &mut reply,
            now,
        );
    } else {
        write_merged(proxy, &merging, now, &mut reply);
    }
    if !has_error && compose::is_error(&reply) {
        proxy.journal.stats.own_errors.count(&reply);
    }
    let is_lost = merging.is_too_large && has_local_steps;
    collect::spare_merging(&mut proxy.in_flight, merging);
    if is_lost {
        // It was run, and may have selected another database: its client must not go on in the old one.
        close::close_client(proxy, client, ClientCloseReason::Unread);
    } else if is_asking {
        // Nothing is to be said yet.
    } else if reply.len() > LARGE {
        let mut queue = Queue::new();
        queue.push_vec(&mut proxy.in_flight.arena, std::mem::take(&mut reply));
        answer::fill_place(proxy, client, parent, queue, now);
    } else {
        answer::deliver(proxy, client, parent, &reply, now);
    }
    proxy.reading.spare_reply(reply);
}
