//! Clients that publish, and clients that ask how many hear a channel.
//!
//! A server counts the one connection that hears for all clients of a proxy as one receiver. What it says is corrected
//! by the number of those that it does not see (`subscription::hidden`), those of the pool's other proxies too:
//!
//! ```text
//!   PUBLISH c x      :1 from the server, 3 clients of this proxy hear c                ──►   :3
//!   NUMSUB c d       *4 c :2 d :0, and a proxy with 3 and one with 1 hear c            ──►   *4 c :4 d :0
//! ```
//!
//! In a cluster a message is published where the slot of its channel is, so that messages of one channel stay in order,
//! and heard at another node as often as not: that one counts nobody, and all who hear it here are added. Those of the
//! pool's other proxies are one too few for each of them, then.
//!
//! A `PUBLISH` on a channel that a client of this proxy has subscribed to waits until its server has confirmed that:
//! what comes behind a `SUBSCRIBE` is heard by whoever sent it. Not so within a transaction.
//!
//! What is 0 stays 0: a server that knows no subscriber tells nobody. Exact as long as nobody begins or ends a
//! subscription meanwhile, and as far as the server's own count is: what a script publishes is not corrected, and other
//! hosts' rmux counts as one for each of its proxies. `NUMPAT`, `CHANNELS` and `SHARDCHANNELS` tell what is subscribed
//! to, and not how often.

use super::call::{Call, Verdict, When};
use super::interface::Timer;
use super::pubsub::{Publisher, Pubsub};
use super::router::Router;
use super::state::Proxy;
use super::turn::Turn;
use super::{bulk, dispatch, hidden_count, subscription_connection, topic_placement};
use crate::client::Flow;
use crate::command::Channels;
use crate::server_id::ServerId;
use crate::slots::Id;
use crate::subscription::TopicId;
use crate::timer::Millis;

/// A `PUBLISH` or `SPUBLISH` with a channel.
pub(super) fn on_publish(proxy: &mut Proxy, id: Id, call: &Call<'_>, family: Channels, when: When) -> Verdict {
    let route = proxy.router.route_key(call.arg(1));
    let server = route.server();
    if let Some(server) = server {
        let channel_node = topic_placement::subscribed_server(&proxy.router, &proxy.pubsub, server, family);
        if must_wait_for_confirmation(proxy, id, channel_node, family, call.arg(1), when.now) {
            return Verdict::Wait;
        }
    }
    let verdict = dispatch::follow(proxy, id, call, route, when);
    if let (Verdict::Forward(_), Some(server)) = (&verdict, server) {
        if let Some(request) = proxy.clients.get(id).and_then(|client| client.reply_order().last()) {
            let (request, channel) = ((request, server), (family, call.arg(1)));
            hidden_count::mark_published(&mut proxy.in_flight, &proxy.pubsub, &proxy.router, request, channel);
        }
    }
    verdict
}

/// Whether somebody has asked to hear this channel, and the server at which it is heard does not know yet: then the
/// client waits until it does, and is not read.
///
/// Only for what is asked for when it comes, and no longer than for a reply: who subscribes again and again delays
/// nobody.
fn must_wait_for_confirmation(
    proxy: &mut Proxy,
    id: Id,
    server: ServerId,
    family: Channels,
    channel: &[u8],
    now: Millis,
) -> bool {
    let publisher = match proxy.pubsub.publishers.iter().position(|publisher| publisher.client == id) {
        Some(place) => proxy.pubsub.publishers.swap_remove(place),
        None if !proxy.pubsub.is_anything_awaited() && !proxy.pubsub.connections[server.index()].is_new => {
            return false;
        }
        None => {
            let registry = &proxy.pubsub.registry;
            let topics = registry
                .receiving(family, channel)
                .filter(|&topic| is_unheard(&proxy.router, &proxy.pubsub, server, topic))
                .collect();
            Publisher { client: id, server, topics, deadline: now + proxy.settings.timeouts.remote_read_ms }
        }
    };
    if publisher.deadline <= now || !is_waiting_for_confirmation(&proxy.router, &proxy.pubsub, &publisher) {
        return false;
    }
    if let Some(client) = proxy.clients.get_mut(id) {
        client.wake_at(&mut proxy.wheel, Timer::Client(id), publisher.deadline);
    }
    bulk::await_replies(&mut proxy.clients, &mut proxy.turn, id, Flow::Subscribing);
    proxy.pubsub.publishers.push(publisher);
    true
}

fn is_unheard(router: &Router, pubsub: &Pubsub, server: ServerId, topic: TopicId) -> bool {
    let is_awaited = pubsub.is_awaited(topic) || pubsub.connections[server.index()].is_new;
    is_awaited && subscription_connection::is_missed(router, pubsub, server, topic)
}

fn is_waiting_for_confirmation(router: &Router, pubsub: &Pubsub, publisher: &Publisher) -> bool {
    publisher.topics.iter().any(|&topic| is_unheard(router, pubsub, publisher.server, topic))
}

/// What a server was asked for has been confirmed, refused, or given up: perhaps somebody may publish now.
pub(super) fn wake_publishers(router: &Router, turn: &mut Turn, pubsub: &Pubsub) {
    let is_done = |publisher: &&Publisher| !is_waiting_for_confirmation(router, pubsub, publisher);
    let done = pubsub.publishers.iter().filter(is_done).map(|publisher| publisher.client);
    let done: Vec<Id> = done.collect();
    done.into_iter().for_each(|id| turn.wake(id));
}

/// Until when this client waits to publish, if it does.
pub(super) fn publisher_deadline(pubsub: &Pubsub, id: Id) -> Option<Millis> {
    pubsub.publishers.iter().find(|publisher| publisher.client == id).map(|publisher| publisher.deadline)
}
