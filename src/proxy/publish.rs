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
//! A `PUBLISH` on a channel that a client of this proxy has subscribed to waits until its server has confirmed that:
//! what comes behind a `SUBSCRIBE` is heard by whoever sent it. Not so within a transaction.
//!
//! What is 0 stays 0: a server that knows no subscriber tells nobody. Exact as long as nobody begins or ends a
//! subscription meanwhile, and as far as the server's own count is: what a script publishes is not corrected, and other
//! hosts' rmux counts as one for each of its proxies. `NUMPAT`, `CHANNELS` and `SHARDCHANNELS` tell what is subscribed
//! to, and not how often.

use super::router::Route;
use super::routing::{Call, Verdict};
use super::{Proxy, Timer};
use crate::client::{Flow, OwnStep, OwnWhat};
use crate::command::{Channels, Class, Gather};
use crate::reply;
use crate::request::{RequestId, Role};
use crate::resp::elements::{self, Elements};
use crate::server_id::ServerId;
use crate::slots::Id;
use crate::subscription::TopicId;
use crate::timer::Millis;

/// A client that waits to publish.
#[derive(Debug)]
pub(super) struct Publisher {
    pub client: Id,
    /// Index of the channel's server.
    server: ServerId,
    /// What must be heard there first.
    topics: Vec<TopicId>,
    /// When it waits no longer.
    deadline: Millis,
}

impl Proxy {
    /// A `PUBLISH` or `SPUBLISH` with a channel.
    pub(super) fn on_publish(&mut self, id: Id, call: &Call<'_>, family: Channels, now: Millis) -> Verdict {
        let route = self.router.route_key(call.arg(1));
        if let Route::To(server, _) = route {
            if self.must_wait_for_confirmation(id, server, family, call.arg(1), now) {
                return Verdict::Wait;
            }
        }
        let verdict = self.follow(id, call, route, now);
        if let Verdict::Forward(_) = verdict {
            if let Some(request) = self.clients.get(id).and_then(|client| client.reply_order.last()) {
                self.mark_published(request, family, call.arg(1));
            }
        }
        verdict
    }

    /// Whether somebody has asked to hear this channel, and the server does not know yet that it is published on: then
    /// the client waits until it does, and is not read.
    ///
    /// Only for what is asked for when it comes, and no longer than for a reply: who subscribes again and again delays
    /// nobody.
    fn must_wait_for_confirmation(
        &mut self,
        id: Id,
        server: ServerId,
        family: Channels,
        channel: &[u8],
        now: Millis,
    ) -> bool {
        let publisher = match self.pubsub.publishers.iter().position(|publisher| publisher.client == id) {
            Some(place) => self.pubsub.publishers.swap_remove(place),
            None if !self.pubsub.is_anything_awaited() => return false,
            None => {
                let registry = &self.pubsub.registry;
                let topics =
                    registry.receiving(family, channel).filter(|&topic| self.is_unheard(server, topic)).collect();
                Publisher { client: id, server, topics, deadline: now + self.settings.timeouts.remote_read_ms }
            }
        };
        if publisher.deadline <= now || !self.is_waiting_for_confirmation(&publisher) {
            return false;
        }
        if let Some(client) = self.clients.get_mut(id) {
            client.alarm.set(&mut self.wheel, Timer::Client(id), publisher.deadline);
        }
        self.await_replies(id, Flow::Subscribing);
        self.pubsub.publishers.push(publisher);
        true
    }

    fn is_unheard(&self, server: ServerId, topic: TopicId) -> bool {
        self.pubsub.is_awaited(topic) && self.is_missed(server, topic)
    }

    fn is_waiting_for_confirmation(&self, publisher: &Publisher) -> bool {
        publisher.topics.iter().any(|&topic| self.is_unheard(publisher.server, topic))
    }

    /// What a server was asked for has been confirmed, refused, or given up: perhaps somebody may publish now.
    pub(super) fn wake_publishers(&mut self) {
        let is_done = |publisher: &&Publisher| !self.is_waiting_for_confirmation(publisher);
        let done = self.pubsub.publishers.iter().filter(is_done).map(|publisher| publisher.client);
        let done: Vec<Id> = done.collect();
        done.into_iter().for_each(|id| self.turn.wake(id));
    }

    /// Until when this client waits to publish, if it does.
    pub(super) fn publisher_deadline(&self, id: Id) -> Option<Millis> {
        self.pubsub.publishers.iter().find(|publisher| publisher.client == id).map(|publisher| publisher.deadline)
    }

    /// The reply to this request is how many hear this channel.
    pub(super) fn mark_published(&mut self, request: RequestId, family: Channels, channel: &[u8]) {
        let hidden = self.pubsub.registry.hidden().receivers(family, channel) as u32;
        if hidden > 0 {
            self.in_flight.requests[request].set_role(Role::Published { hidden });
        }
    }

    /// What rmux has to add to the reply to a step of a transaction, if the step tells how many hear a channel.
    pub(super) fn count_in_step(&self, index: usize, call: &Call<'_>) -> Option<OwnStep> {
        let hidden = self.pubsub.registry.hidden();
        let what = match call.command.class {
            Class::Channel(family) if call.args.len() > 1 => match hidden.receivers(family, call.arg(1)) {
                0 => return None,
                hidden => OwnWhat::Published(hidden as u32),
            },
            Class::All(Gather::Subscribers(family)) if !hidden.is_empty() => OwnWhat::Subscribers(family),
            _ => return None,
        };
        Some(OwnStep { index, what })
    }

    /// Appends the reply to a `NUMSUB` or `SHARDNUMSUB`, corrected by those that no server sees.
    pub(super) fn correct_subscribers(&self, family: Channels, reply: &[u8], out: &mut Vec<u8>) {
        let Some(mut elements) = Elements::of(reply) else { return out.extend_from_slice(reply) };
        reply::array(out, elements.left() as usize);
        while let Some(name) = elements.next() {
            out.extend_from_slice(name);
            let channel = elements::bulk(name).unwrap_or_default();
            let hidden = self.pubsub.registry.hidden().subscribers(family, channel);
            correct(elements.next().unwrap_or_default(), hidden, out);
        }
    }
}

/// Appends the reply to a `PUBLISH`, corrected by the number of those that receive it and that its server does not see.
pub(super) fn correct(reply: &[u8], hidden: usize, out: &mut Vec<u8>) {
    match elements::integer(reply) {
        Some(seen) if seen > 0 => reply::integer(out, seen + hidden as i64),
        _ => out.extend_from_slice(reply),
    }
}
