//! Subscription connections: for each server the one that hears, for all clients, what is published there.
//!
//! It is a backend that is in no pool and gets no client's request. It is opened with the first subscription, asked for
//! every topic that any client hears, and closed when there has been none for a while. It speaks RESP2, since there is
//! nothing in RESP3 that it needs: one way that is always taken, and no fallback.
//!
//! ```text
//!              somebody subscribes           handshake done: all topics are asked for
//!   Closed ──────────────────────► Opening ──────────────────────────────────────────► Listening
//!     ▲  ▲                            │ refused, though the server is up                   │
//!     │  └──────── Pausing ◄──────────┘◄──────────── lost again at once ───────────────────┤
//!     │            a timer                                                                 │
//!     └─────────────────────── lost: opened anew at once, if the server is up ◄────────────┘
//! ```
//!
//! Its server answers in order, so what it owes is a queue: a confirmation belongs to the oldest question, and counts
//! only if its topic was not asked about again since. A message that is larger than any subscriber may leave unread is
//! not collected: its subscribers are closed, as Redis does, and the rest of it is dropped as it comes.
//!
//! Knows nothing of the clients but that they hear topics; those are `pubsub`'s business.

use std::collections::VecDeque;
use std::sync::Arc;

use log::Level;

use super::interface::Timer;
use super::journal::Journal;
use super::pubsub::{Pubsub, SLICE};
use super::router::Router;
use super::settings::Settings;
use super::state::Proxy;
use super::topics::{Expected, Owed, State};
use super::{connect, mark, topic_placement};
use crate::backend::{Backend, Purpose};
use crate::command::Channels;
use crate::notice::{About, Kind};
use crate::server_id::ServerId;
use crate::session::Profile;
use crate::slots::Id;
use crate::subscription::{FAMILIES, Topic, TopicId, push};
use crate::timer::Millis;

/// After so long without a word the server is asked whether it is there, in milliseconds.
pub(super) const PING_MS: u64 = 30_000;

/// True exactly when there is any server to hear.
pub(super) fn is_anything_to_be_heard(router: &Router, pubsub: &Pubsub) -> bool {
    router.servers().any(|server| topic_placement::takes_subscriptions(router, pubsub, server))
}

/// True exactly when a message for this topic that is published from now on, on any server that is up, will arrive.
pub(super) fn is_heard_everywhere(router: &Router, pubsub: &Pubsub, topic: TopicId) -> bool {
    router.servers().all(|server| !is_missed(router, pubsub, server, topic))
}

/// True exactly when a message for this topic that is published on this server now should arrive, and will not.
pub(super) fn is_missed(router: &Router, pubsub: &Pubsub, server: ServerId, topic: TopicId) -> bool {
    topic_placement::takes_subscriptions(router, pubsub, server)
        && topic_placement::is_subscribed_at(router, pubsub, server, topic)
        && !pubsub.connections[server.index()].is_hearing(topic)
}

/// Asks every server for those of these topics, all of one family, that it was not asked for.
pub(super) fn ask_all(proxy: &mut Proxy, family: Channels, topics: &[TopicId], now: Millis) {
    for server in proxy.router.servers() {
        let is_here = |&topic: &TopicId| topic_placement::is_subscribed_at(&proxy.router, &proxy.pubsub, server, topic);
        if topics.iter().any(is_here) {
            open(proxy, server, now);
            ask(proxy, server, family, topics, now);
        }
    }
}

fn ask(proxy: &mut Proxy, server: ServerId, family: Channels, topics: &[TopicId], now: Millis) {
    let connection = &proxy.pubsub.connections[server.index()];
    let State::Listening(id) = connection.state else { return };
    let registry = &proxy.pubsub.registry;
    let is_new = |topic: &TopicId| {
        connection.asked_for(*topic).is_none()
            && topic_placement::is_subscribed_at(&proxy.router, &proxy.pubsub, server, *topic)
    };
    let names: Vec<(TopicId, &Topic)> =
        topics.iter().copied().filter(is_new).filter_map(|id| Some((id, registry.topic(id)?))).collect();
    if names.is_empty() {
        return;
    }
    let mut bytes = Vec::new();
    push::request(&mut bytes, family, true, names.iter().map(|(_, topic)| &*topic.name));
    let topics: Vec<TopicId> = names.into_iter().map(|(topic, _)| topic).collect();
    let command = begin_command(&proxy.settings, &mut proxy.pubsub, server, now);
    let connection = &mut proxy.pubsub.connections[server.index()];
    topics.into_iter().for_each(|topic| connection.on_asked(topic, command));
    send_command(proxy, id, &bytes, now);
}

/// Tells every server which topics nobody needs any more; those that are there again are not mentioned.
pub(super) fn ask_less(proxy: &mut Proxy, orphans: &[(TopicId, Topic)], now: Millis) {
    for slot in 0..proxy.upstreams.slots() {
        let server = proxy.upstreams.server_in(slot);
        if proxy.pubsub.registry.is_empty() {
            proxy.pubsub.connections[server.index()].lost_at = None;
        }
        for family in FAMILIES {
            let connection = &mut proxy.pubsub.connections[server.index()];
            let registry = &proxy.pubsub.registry;
            let of_family = orphans.iter().filter(|(_, topic)| topic.family == family);
            let asked = of_family.filter(|(id, _)| connection.forget(*id));
            let gone = asked.filter(|(_, topic)| registry.find(family, &topic.name).is_none());
            let names: Vec<&[u8]> = gone.map(|(_, topic)| &*topic.name).collect();
            send_less(proxy, server, family, &names, now);
        }
    }
}

/// Tells a server of these topics, all of one family, that nobody needs them there.
fn send_less(proxy: &mut Proxy, server: ServerId, family: Channels, names: &[&[u8]], now: Millis) {
    let State::Listening(id) = proxy.pubsub.connections[server.index()].state else { return };
    if names.is_empty() {
        return;
    }
    let mut bytes = Vec::new();
    push::request(&mut bytes, family, false, names.iter().copied());
    let command = begin_command(&proxy.settings, &mut proxy.pubsub, server, now);
    let owed = &mut proxy.pubsub.connections[server.index()].owed;
    owed.extend(names.iter().map(|_| Owed { command, what: Expected::Less }));
    send_command(proxy, id, &bytes, now);
}

/// Tells a server which of the topics that it was asked for are heard elsewhere now.
pub(super) fn ask_less_of_others(proxy: &mut Proxy, server: ServerId, now: Millis) {
    let Proxy { router, pubsub, .. } = proxy;
    let others = pubsub.connections[server.index()].asked_topics();
    let others: Vec<TopicId> =
        others.filter(|&topic| !topic_placement::is_subscribed_at(router, pubsub, server, topic)).collect();
    if others.is_empty() {
        return;
    }
    for family in FAMILIES {
        let registry = &proxy.pubsub.registry;
        let of_family = others.iter().filter_map(|&id| Some((id, registry.topic(id)?)));
        let of_family = of_family.filter(|(_, topic)| topic.family == family);
        let names: Vec<Arc<[u8]>> = of_family.map(|(_, topic)| topic.name.clone()).collect();
        let names: Vec<&[u8]> = names.iter().map(|name| &**name).collect();
        send_less(proxy, server, family, &names, now);
    }
    let connection = &mut proxy.pubsub.connections[server.index()];
    for topic in others {
        connection.forget(topic);
    }
}

/// Asks a server for what is to be heard there and is not.
pub(super) fn ask_for_missing(proxy: &mut Proxy, server: ServerId, now: Millis) {
    let (registry, connection) = (&proxy.pubsub.registry, &proxy.pubsub.connections[server.index()]);
    let is_missing = |&topic: &TopicId| {
        connection.asked_for(topic).is_none()
            && topic_placement::is_subscribed_at(&proxy.router, &proxy.pubsub, server, topic)
    };
    let missing: VecDeque<TopicId> = registry.topics().filter(is_missing).collect();
    if missing.is_empty() {
        return;
    }
    let connection = &mut proxy.pubsub.connections[server.index()];
    connection.is_new = true;
    match connection.state {
        State::Listening(_) => {
            connection.to_ask = missing;
            ask_some(proxy, server, now);
        }
        _ => open(proxy, server, now),
    }
}

fn begin_command(settings: &Settings, pubsub: &mut Pubsub, server: ServerId, now: Millis) -> u64 {
    let connection = &mut pubsub.connections[server.index()];
    if connection.owed.is_empty() {
        connection.answer_by = now + settings.timeouts.remote_read_ms;
    }
    connection.commands += 1;
    connection.commands
}

fn send_command(proxy: &mut Proxy, id: Id, bytes: &[u8], now: Millis) {
    let Some(backend) = proxy.upstreams.backend_mut(id) else { return };
    backend.push(&mut proxy.in_flight.arena, bytes);
    backend.wake_at(&mut proxy.wheel, Timer::Backend(id), now + proxy.settings.timeouts.remote_read_ms);
    mark::mark_backend_dirty(&mut proxy.upstreams, &mut proxy.turn, id);
}

/// Opens a server's subscription connection, if it is up, and if there is anything to listen for.
pub(super) fn maybe_open_subscription(proxy: &mut Proxy, server: ServerId, now: Millis) {
    if topic_placement::is_anything_subscribed_at(&proxy.router, &proxy.pubsub, server) {
        open(proxy, server, now);
    }
}

/// The same, when there is something to listen for.
fn open(proxy: &mut Proxy, server: ServerId, now: Millis) {
    let is_closed = proxy.pubsub.connections[server.index()].state == State::Closed;
    if !is_closed || !proxy.router.is_up(server) {
        return;
    }
    let backend = Backend::new(server, Profile::default(), Purpose::Subscription, now);
    let id = connect::begin_connect(proxy, backend, now);
    proxy.pubsub.connections[server.index()].state = State::Opening(id);
}

/// When the subscription connection of this server last heard anything.
pub(super) fn subscription_heard_at(pubsub: &Pubsub, server: ServerId) -> Millis {
    pubsub.connections[server.index()].heard_at
}

/// A pause is over.
pub(super) fn on_subscription_due(proxy: &mut Proxy, server: ServerId, now: Millis) {
    if proxy.upstreams.server_in(server.index()) != server {
        return;
    }
    let state = &mut proxy.pubsub.connections[server.index()].state;
    if let State::Pausing { .. } = state {
        *state = State::Closed;
        maybe_open_subscription(proxy, server, now);
    }
}

/// A server is up again. A connection that has outlasted that may be one to nowhere.
pub(super) fn on_server_back(proxy: &mut Proxy, server: ServerId, now: Millis) {
    match proxy.pubsub.connections[server.index()].state {
        State::Listening(id) => ping(proxy, id, server, now),
        _ => maybe_open_subscription(proxy, server, now),
    }
}

/// A server has come. If it was there before, and what is published there is heard still, it may have missed some
/// topics.
pub(super) fn on_server_added(proxy: &mut Proxy, server: ServerId, now: Millis) {
    let is_needed = topic_placement::is_anything_subscribed_at(&proxy.router, &proxy.pubsub, server);
    let connection = &mut proxy.pubsub.connections[server.index()];
    connection.is_new = is_needed;
    match connection.state {
        State::Listening(_) => {
            connection.to_ask = proxy.pubsub.registry.topics().collect();
            ask_some(proxy, server, now);
        }
        _ => maybe_open_subscription(proxy, server, now),
    }
}

/// Asks a new connection for the next of what is heard; there may be more, for the next turns.
pub(super) fn ask_some(proxy: &mut Proxy, server: ServerId, now: Millis) {
    for _ in 0..SLICE {
        let Some(topic) = proxy.pubsub.connections[server.index()].to_ask.pop_front() else { return };
        ask_one(proxy, server, topic, now);
    }
    proxy.turn.ration();
}

pub(super) fn ask_one(proxy: &mut Proxy, server: ServerId, topic: TopicId, now: Millis) {
    if let Some(family) = proxy.pubsub.registry.topic(topic).map(|topic| topic.family) {
        ask(proxy, server, family, &[topic], now);
    }
}

pub(super) fn ping(proxy: &mut Proxy, id: Id, server: ServerId, now: Millis) {
    let command = begin_command(&proxy.settings, &mut proxy.pubsub, server, now);
    proxy.pubsub.connections[server.index()].owed.push_back(Owed { command, what: Expected::Ping });
    send_command(proxy, id, b"*1\r\n$4\r\nPING\r\n", now);
}

/// A handshake is done. If it is a connection's, it asks for everything that anybody hears, one by one: what is
/// refused then takes nothing else with it.
pub(super) fn maybe_hear(proxy: &mut Proxy, id: Id, now: Millis) {
    let Some(backend) = proxy.upstreams.backend(id).filter(|backend| backend.is_subscription()) else { return };
    let server = backend.server();
    let connection = &mut proxy.pubsub.connections[server.index()];
    connection.state = State::Listening(id);
    connection.ready_at = now;
    connection.heard_at = now;
    connection.to_ask = proxy.pubsub.registry.topics().collect();
    ask_some(proxy, server, now);
    if let Some(backend) = proxy.upstreams.backend_mut(id) {
        backend.wake_at(&mut proxy.wheel, Timer::Backend(id), now + PING_MS);
    }
}

/// If that was the last of what had to be made anew, somebody may want to know.
pub(super) fn maybe_restored(pubsub: &mut Pubsub, journal: &mut Journal, server: ServerId, now: Millis) {
    let connection = &mut pubsub.connections[server.index()];
    if !connection.owed.is_empty() || !connection.to_ask.is_empty() {
        return;
    }
    connection.is_new = false;
    if let Some(lost_at) = connection.lost_at.take() {
        journal.stats.resubscriptions += 1;
        let topics = pubsub.registry.len();
        let lost_ms = now - lost_at;
        journal.notices.note(
            Kind::Resubscribed,
            About::Server(server),
            Level::Info,
            1,
            format_args!("{topics} subscriptions made anew, {lost_ms} ms after their loss"),
        );
    }
}

/// The same for all that are not done.
pub(super) fn go_on_asking(proxy: &mut Proxy, now: Millis) {
    for slot in 0..proxy.upstreams.slots() {
        let server = proxy.upstreams.server_in(slot);
        if !proxy.pubsub.connections[server.index()].to_ask.is_empty() {
            ask_some(proxy, server, now);
            maybe_restored(&mut proxy.pubsub, &mut proxy.journal, server, now);
        }
    }
}
