//! Messages on their way to their subscribers, a bounded part of it in each turn.
//!
//! A message goes into the queue of each of its subscribers, and each subscriber is then sent what its queue has. Both
//! are work in proportion to their number, so both have a budget: what is over it waits for the next turn, and others
//! are served in between.
//!
//! ```text
//!   a server's bytes ─► publish ─► Delivery: subscribers 1 2 3 4 5 6 …    unsent: 1 2 3 ─► one write for each
//!                                                      ▲ at: the others have it in the next turns
//! ```
//!
//! While anything of that is left, no subscription connection is read on: the rest stays with the servers, so that no
//! more is held than one read has brought. A small message is copied into the queues, where many go out with one write;
//! a larger one is held once, and its subscribers refer to it.
//!
//! Order: a subscriber gets the messages of one server as they came, since the next one is looked at when the last has
//! been put into all queues. Who unsubscribes meanwhile gets before it what came before it, and who subscribes nothing.
//!
//! Invariant: `is_listed` is true exactly while a subscriber stands in `unsent`.

use std::mem;

use super::client_close_reason::ClientCloseReason;
use super::clients::Clients;
use super::interface::{DIRECT_MIN, Timer, Wire};
use super::pubsub::Pubsub;
use super::settings::Settings;
use super::state::Proxy;
use super::topics::Delivery;
use super::{close, flush_client, mark, memory};
use crate::client::Flow;
use crate::command::Channels;
use crate::server_id::ServerId;
use crate::session::Protocol;
use crate::slots::Id;
use crate::subscription::{TopicId, push};
use crate::timer::Millis;

/// To put a message into one queue, without its bytes.
const WORK_OF_PUSH: usize = 256;
/// To put it into an empty one, which has no memory yet.
const WORK_OF_FRESH_PUSH: usize = 2048;
/// To write to one socket, without the bytes.
const WORK_OF_WRITE: usize = 4096;
/// A message of more bytes is held once for all its subscribers.
const SMALL_MAX: usize = 4032;

/// True exactly when messages wait for the next turn.
pub(super) fn is_publishing(pubsub: &Pubsub) -> bool {
    pubsub.pending > 0 || !pubsub.unsent.is_empty()
}

/// True exactly when something waits for the next turn.
pub(super) fn has_left_work(clients: &Clients, pubsub: &Pubsub) -> bool {
    is_publishing(pubsub) || clients.first_deferred().is_some() || pubsub.is_slicing()
}

/// A server has sent a message: everybody gets it who has subscribed to its topic, some of them in later turns.
pub(super) fn publish<W: Wire>(
    proxy: &mut Proxy,
    server: ServerId,
    (family, topic): (Channels, &[u8]),
    message: &[u8],
    now: Millis,
    wire: &mut W,
) {
    let Some(topic) = proxy.pubsub.registry.find(family, topic) else { return };
    if proxy.router.slots().is_some() && proxy.pubsub.connections[server.index()].asked_for(topic).is_none() {
        // It is heard at another node by now.
        return;
    }
    let delivery = &mut proxy.pubsub.connections[server.index()].delivery;
    debug_assert!(!delivery.is_pending, "one message after the other");
    proxy.turn.ration();
    proxy.pubsub.pending += 1;
    delivery.is_pending = true;
    (delivery.topic, delivery.len, delivery.at) = (topic, message.len(), 0);
    delivery.subscribers.clear();
    delivery.subscribers.extend(proxy.pubsub.registry.subscribers(topic));
    delivery.small.clear();
    if message.len() > SMALL_MAX {
        delivery.shared[0] = Some(proxy.in_flight.arena.share(message.to_vec()));
    } else {
        delivery.small.extend_from_slice(message);
    }
    go_on_with(proxy, server, now, wire);
}

/// Puts a server's message into the queues of those who have not got it, as far as this turn's work goes.
pub(super) fn go_on_with<W: Wire>(proxy: &mut Proxy, server: ServerId, now: Millis, wire: &mut W) {
    let mut delivery = mem::take(&mut proxy.pubsub.connections[server.index()].delivery);
    while proxy.pubsub.work_left > 0 {
        let Some(&id) = delivery.subscribers.get(delivery.at) else { break };
        delivery.at += 1;
        let is_fresh = proxy.clients.get(id).is_some_and(|client| client.replies().unsent() == 0);
        let work = delivery.small.len() + if is_fresh { WORK_OF_FRESH_PUSH } else { WORK_OF_PUSH };
        proxy.pubsub.work_left = proxy.pubsub.work_left.saturating_sub(work);
        deliver_message(proxy, id, &mut delivery, now);
        // So that what one read brings is not held once for each subscriber.
        let is_much = |unsent: usize| unsent >= DIRECT_MIN && !delivery.small.is_empty();
        if proxy
            .clients
            .get(id)
            .is_some_and(|client| is_much(client.replies().unsent()) && !client.connection().is_write_blocked())
        {
            transmit_messages(proxy, id, now, wire);
        }
    }
    if delivery.at == delivery.subscribers.len() {
        proxy.pubsub.pending -= 1;
        delivery.is_pending = false;
        delivery.shared.iter_mut().filter_map(Option::take).for_each(|shared| proxy.in_flight.arena.release(shared));
    }
    proxy.pubsub.connections[server.index()].delivery = delivery;
}

/// Puts a message into the queue of one of its subscribers.
fn deliver_message(proxy: &mut Proxy, id: Id, delivery: &mut Delivery, now: Millis) {
    let Some(client) = proxy.clients.get_mut(id) else { return };
    if matches!(client.flow(), Flow::Leaving | Flow::Closed) || client.connection().is_ended() {
        return;
    }
    proxy.journal.stats.messages += 1;
    let is_open = client.is_open_to_messages(&proxy.in_flight.requests);
    let protocol = client.protocol();
    let queue = client.queue_for_message(is_open, delivery.len);
    let head = push::head(protocol);
    if let [Some(first), second] = &mut delivery.shared {
        let shared = match protocol {
            Protocol::Resp2 => *first,
            Protocol::Resp3 => *second.get_or_insert_with(|| {
                let mut message = proxy.in_flight.arena.shared(*first).to_vec();
                message[..head.len()].copy_from_slice(head);
                proxy.in_flight.arena.share(message)
            }),
        };
        queue.push_shared(&mut proxy.in_flight.arena, shared);
    } else {
        queue.push(&mut proxy.in_flight.arena, head);
        queue.push(&mut proxy.in_flight.arena, &delivery.small[head.len()..]);
    }
    if is_open {
        mark::list_subscriber(&mut proxy.clients, &mut proxy.turn, &mut proxy.pubsub, id);
    }
    check_subscriber(proxy, id, now);
}

/// A client is to have no more messages of this topic. What was published before that comes before that.
pub(super) fn deliver_before_leaving(proxy: &mut Proxy, id: Id, topic: TopicId) {
    if proxy.pubsub.pending == 0 {
        return;
    }
    for server in 0..proxy.pubsub.connections.len() {
        let delivery = &mut proxy.pubsub.connections[server].delivery;
        if delivery.topic != topic || !delivery.is_pending {
            continue;
        }
        if let Ok(place) = delivery.subscribers[delivery.at..].binary_search(&id) {
            let mut delivery = mem::take(delivery);
            delivery.subscribers.remove(delivery.at + place);
            deliver_message(proxy, id, &mut delivery, proxy.wheel.now());
            proxy.pubsub.connections[server].delivery = delivery;
        }
    }
}

#[cold]
pub(super) fn transmit_messages<W: Wire>(proxy: &mut Proxy, id: Id, now: Millis, wire: &mut W) {
    let Some(client) = proxy.clients.get(id) else { return };
    let before = client.replies().unsent();
    flush_client::transmit_client(proxy, id, now, wire);
    let after = proxy.clients.get(id).map_or(0, |client| client.replies().unsent());
    proxy.pubsub.work_left = proxy.pubsub.work_left.saturating_sub(WORK_OF_WRITE + before - after);
}

/// The most that a subscriber may leave unread, in bytes.
pub(super) fn subscriber_unread_max(settings: &Settings) -> usize {
    let limits = &settings.limits;
    limits.subscriber_unread_bytes_max.min(limits.client_unread_bytes_max)
}

/// Closes a subscriber that leaves too much unread, or that has left much unread for long, or anything at all while
/// memory is short.
pub(super) fn check_subscriber(proxy: &mut Proxy, id: Id, now: Millis) {
    let unread_max = subscriber_unread_max(&proxy.settings);
    let is_memory_short = memory::is_out_of_memory(&proxy.settings, &proxy.in_flight, 0);
    let limits = &proxy.settings.limits;
    let Some(client) = proxy.clients.get_mut(id) else { return };
    let (unread, is_write_blocked) = (client.unread(), client.connection().is_write_blocked());
    let Some(subscriber) = client.subscriber_mut() else { return };
    if unread > unread_max || is_memory_short && is_write_blocked {
        return close::close_client(proxy, id, ClientCloseReason::Unread);
    }
    if unread <= limits.subscriber_unread_soft_bytes || limits.subscriber_unread_soft_ms == 0 {
        subscriber.behind_since = None;
        return;
    }
    let deadline = *subscriber.behind_since.get_or_insert(now) + limits.subscriber_unread_soft_ms;
    if deadline <= now {
        return close::close_client(proxy, id, ClientCloseReason::Unread);
    }
    client.wake_at(&mut proxy.wheel, Timer::Client(id), deadline);
}

/// A message is larger than any subscriber may leave unread: as in Redis, it costs them their connection.
pub(super) fn cut_off(proxy: &mut Proxy, family: Channels, topic: &[u8]) {
    let Some(topic) = proxy.pubsub.registry.find(family, topic) else { return };
    let subscribers: Vec<Id> = proxy.pubsub.registry.subscribers(topic).collect();
    for id in subscribers {
        close::close_client(proxy, id, ClientCloseReason::Unread);
    }
}
