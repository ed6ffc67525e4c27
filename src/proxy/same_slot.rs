//! Requests for a slot of a cluster of which some keys have moved, and some not.
//!
//! A node runs what has all of its keys there, and not what has some: of a pipeline it may run a request behind one
//! that it has refused. If both have a key in common, the first one comes too late then, and its client is told so
//! (`redirect`). So as long as a slot is known to be half moved, a request for it waits until what its client has under
//! way for the same slot is answered, unless both are reads. Who has nothing of the kind under way waits for nothing.
//!
//! Known it is once a node has refused something over it (`TRYAGAIN`, or a step of a transaction): what was under way
//! then, and only that, may be told that it came too late.

use super::bulk;
use super::state::Proxy;
use crate::client::Flow;
use crate::request::{Place, Request};
use crate::slots::Id;
use crate::timer::Millis;

/// So many requests in flight are looked at; who has more waits for all of them.
const LOOK_MAX: usize = 64;

/// Whether a request with this hash, whose slot may be half moved, has to wait; then its client is listened to again
/// when its own replies are there.
#[cold]
pub(super) fn must_wait(proxy: &mut Proxy, id: Id, hash: u32, is_read: bool, now: Millis) -> bool {
    if !proxy.router.is_half_moved(hash, now) {
        return false;
    }
    let Some(client) = proxy.clients.get(id) else { return false };
    let Some(server) = client.affinities().first().map(|affinity| affinity.server) else { return false };
    let requests = &proxy.in_flight.requests;
    let is_in_its_way = |entry: &Request| {
        entry.is_at_backend() && proxy.router.is_together(entry.hash(), hash) && !(is_read && entry.is_read())
    };
    let is_before_it = |entry: &Request| match entry.place() {
        Place::Merging(merging) => {
            let parts = proxy.in_flight.merges[merging as usize].parts();
            parts.iter().filter_map(|part| part.request).any(|part| is_in_its_way(&requests[part]))
        }
        _ => is_in_its_way(entry),
    };
    let mut line = client.reply_order().iter(requests).map(|request| &requests[request]);
    if client.reply_order().len() > LOOK_MAX || line.any(is_before_it) {
        bulk::await_replies(&mut proxy.clients, &mut proxy.turn, id, Flow::AwaitingOwnReplies { server });
        return true;
    }
    false
}
