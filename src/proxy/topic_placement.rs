//! The servers at which a topic is subscribed.
//!
//! Outside of a cluster at every server, since a message stays where it was published. Nodes of a cluster pass on what
//! is published at any of them: subscribed at two, each message would come twice.
//!
//! ```text
//!   SUBSCRIBE c, PSUBSCRIBE p     at one node, the channel node, as long as that is up
//!   __key…@0__:k, __key…          at all masters: a node sends keyspace events to its own clients alone
//!   SSUBSCRIBE c                  at the node that has the slot of c; when that moves, at the next one
//! ```
//!
//! When the place changes, the node before is unsubscribed at once, and what it still sends is dropped: a message in
//! between may be lost, as with every lost connection, and none comes twice.
//!
//! The channel node is a random master, so that proxies spread over all of them. It stays while it is up and takes
//! subscriptions.
//!
//! Decides where; `subscription_connection` subscribes.

use super::pubsub::Pubsub;
use super::refusals::{CONNECTION_DOWN, CROSS_SLOT, SLOTS_UNKNOWN, UNSERVED};
use super::router::Router;
use super::slot_table::{self, slot_in};
use super::state::Proxy;
use super::topics::State;
use crate::command::Channels;
use crate::server_id::ServerId;
use crate::subscription::{Topic, TopicId};

/// The prefix of the channels of keyspace events.
const OF_KEYS: &[u8] = b"__key";

/// Whether a subscription can be made at this server, and so must be before it is confirmed to a client.
pub(super) fn takes_subscriptions(router: &Router, pubsub: &Pubsub, server: ServerId) -> bool {
    let is_refused = pubsub.connections[server.index()].state == State::Pausing { is_refused: true };
    router.is_up(server) && !is_refused
}

/// Whether this topic belongs at this server.
pub(super) fn is_subscribed_at(router: &Router, pubsub: &Pubsub, server: ServerId, topic: TopicId) -> bool {
    router.slots().is_none() || pubsub.registry.topic(topic).is_some_and(|topic| is_at(router, pubsub, server, topic))
}

fn is_at(router: &Router, pubsub: &Pubsub, server: ServerId, topic: &Topic) -> bool {
    match topic.family {
        Channels::Shard => router.owner(slot_of(&topic.name)) == Some(server),
        _ if topic.name.starts_with(OF_KEYS) => router.servers().any(|other| other == server),
        _ => pubsub.channel_node == Some(server),
    }
}

fn slot_of(channel: &[u8]) -> u16 {
    slot_in(slot_table::hash_of(channel))
}

/// Whether any topic belongs at this server.
pub(super) fn is_anything_subscribed_at(router: &Router, pubsub: &Pubsub, server: ServerId) -> bool {
    pubsub.registry.topics().any(|topic| is_subscribed_at(router, pubsub, server, topic))
}

/// The server at which subscribers receive what is published at this one.
pub(super) fn subscribed_server(router: &Router, pubsub: &Pubsub, server: ServerId, family: Channels) -> ServerId {
    match family {
        Channels::Exact | Channels::Pattern if router.slots().is_some() => pubsub.channel_node.unwrap_or(server),
        _ => server,
    }
}

/// Keeps the channel node if it takes subscriptions; else chooses a random server that does.
pub(super) fn choose_channel_node(proxy: &mut Proxy) {
    let can_hear = |server: ServerId| takes_subscriptions(&proxy.router, &proxy.pubsub, server);
    if proxy.router.slots().is_none() || proxy.pubsub.channel_node.is_some_and(can_hear) {
        return;
    }
    let servers: Vec<ServerId> = proxy.router.servers().filter(|&server| can_hear(server)).collect();
    let place = proxy.upstreams.random() as usize % servers.len().max(1);
    proxy.pubsub.channel_node = servers.get(place).copied();
}

/// Redis's error if these shard channels cannot be subscribed.
pub(super) fn refusal_of<'a>(router: &Router, mut channels: impl Iterator<Item = &'a [u8]>) -> Option<&'static [u8]> {
    router.slots()?;
    let slot = slot_of(channels.next()?);
    if channels.any(|channel| slot_of(channel) != slot) {
        return Some(CROSS_SLOT);
    }
    match router.owner(slot) {
        None if router.slots().is_some_and(|slots| !slots.is_known()) => Some(SLOTS_UNKNOWN),
        None => Some(UNSERVED),
        Some(owner) if !router.is_up(owner) => Some(CONNECTION_DOWN),
        Some(_) => None,
    }
}
