//! At which nodes of a cluster a topic is heard.
//!
//! Outside of a cluster at every server, since a message stays where it was published. Nodes of a cluster pass on what
//! is published at any of them: heard at two, it would come twice.
//!
//! ```text
//!   SUBSCRIBE c, PSUBSCRIBE p     at one node, the hearer, as long as that is up
//!   __key…@0__:k, __key…          at all masters: what happens to keys a node tells its own clients alone
//!   SSUBSCRIBE c                  at the node that has the slot of c; when that moves, at the next one
//! ```
//!
//! When it is another node, the one before is told to say no more at once, and what it still says is dropped: a message
//! in between may be lost, as with every connection that is lost, and none comes twice.
//!
//! The hearer is any master, not the same for all proxies, and stays it while it is up and takes subscriptions.
//!
//! Knows what should be heard where; that it is asked for is `subscription_connection`'s business.

use super::pubsub::Pubsub;
use super::refusals::{CONNECTION_DOWN, CROSS_SLOT, UNSERVED, UNTOLD};
use super::router::Router;
use super::slot_table::{self, slot_in};
use super::state::Proxy;
use super::topics::State;
use crate::command::Channels;
use crate::server_id::ServerId;
use crate::subscription::{Topic, TopicId};

/// What the channels begin with on which a node tells what happens to its keys.
const OF_KEYS: &[u8] = b"__key";

/// True exactly when what is published on this server should be heard before a subscription is confirmed.
pub(super) fn is_to_be_heard(router: &Router, pubsub: &Pubsub, server: ServerId) -> bool {
    let is_refused = pubsub.connections[server.index()].state == State::Pausing { is_refused: true };
    router.is_up(server) && !is_refused
}

/// True exactly when this topic is to be heard at this server.
pub(super) fn is_heard_at(router: &Router, pubsub: &Pubsub, server: ServerId, topic: TopicId) -> bool {
    router.slots().is_none() || pubsub.registry.topic(topic).is_some_and(|topic| is_at(router, pubsub, server, topic))
}

fn is_at(router: &Router, pubsub: &Pubsub, server: ServerId, topic: &Topic) -> bool {
    match topic.family {
        Channels::Shard => router.owner(slot_of(&topic.name)) == Some(server),
        _ if topic.name.starts_with(OF_KEYS) => router.servers().any(|other| other == server),
        _ => pubsub.hearer == Some(server),
    }
}

fn slot_of(channel: &[u8]) -> u16 {
    slot_in(slot_table::hash_of(channel))
}

/// True exactly when there is anything to be heard at this server.
pub(super) fn is_anything_heard_at(router: &Router, pubsub: &Pubsub, server: ServerId) -> bool {
    pubsub.registry.topics().any(|topic| is_heard_at(router, pubsub, server, topic))
}

/// The server at which those hear who hear what is published at this one.
pub(super) fn hearer_of(router: &Router, pubsub: &Pubsub, server: ServerId, family: Channels) -> ServerId {
    match family {
        Channels::Exact | Channels::Pattern if router.slots().is_some() => pubsub.hearer.unwrap_or(server),
        _ => server,
    }
}

/// Who is the hearer stays it, if it can; else it is the next one that can, from any on.
pub(super) fn choose_hearer(proxy: &mut Proxy) {
    let can_hear = |server: ServerId| is_to_be_heard(&proxy.router, &proxy.pubsub, server);
    if proxy.router.slots().is_none() || proxy.pubsub.hearer.is_some_and(can_hear) {
        return;
    }
    let servers: Vec<ServerId> = proxy.router.servers().filter(|&server| can_hear(server)).collect();
    let place = proxy.upstreams.random() as usize % servers.len().max(1);
    proxy.pubsub.hearer = servers.get(place).copied();
}

/// Why nobody would hear these shard channels, if that is so, in Redis's words.
pub(super) fn refusal_of<'a>(router: &Router, mut channels: impl Iterator<Item = &'a [u8]>) -> Option<&'static [u8]> {
    router.slots()?;
    let slot = slot_of(channels.next()?);
    if channels.any(|channel| slot_of(channel) != slot) {
        return Some(CROSS_SLOT);
    }
    match router.owner(slot) {
        None if router.slots().is_some_and(|slots| !slots.is_told()) => Some(UNTOLD),
        None => Some(UNSERVED),
        Some(owner) if !router.is_up(owner) => Some(CONNECTION_DOWN),
        Some(_) => None,
    }
}
