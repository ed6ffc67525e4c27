//! Clients that subscribe: their requests, and the confirmations that they wait for. Their messages are `delivery`'s
//! business.
//!
//! All servers are listened to (`subscription_connection`), since a script publishes on the server that it runs on;
//! PUBLISH goes to one, so that a message arrives once. (In a cluster: `topic_placement`.) A subscription is confirmed,
//! in its place among the client's replies, when every server that is up has confirmed it: what is published after that
//! arrives.
//!
//! ```text
//!   SUBSCRIBE a b ─► registry ─► are both heard everywhere? ─► yes: the reply
//!                                         └► no: the servers are asked, and a place is kept in the client's line:
//!   client's line:  [GET x: Waiting] [SUBSCRIBE: Waiting] [PING: Early]        + held: messages that came meanwhile
//! ```
//!
//! A message is no reply, and never comes in the middle of one, nor before the confirmation of what it belongs to: it
//! is held until it may go out (`Client::is_open_to_messages`). In RESP3 a client may send anything while it hears;
//! what is for a server then waits until its subscriptions are confirmed, or it might not hear its own message.
//!
//! Many topics are several turns' work: of one request, or of a client that is gone, a turn deals with `SLICE` of them.
//! Its client waits in between (`Flow::Deferred`), and what it has left is done is known to it (`Progress`). It is one
//! request all the same: with one confirmation, or one error.
//!
//! The order of a message and of the reply to the PUBLISH that sent it is not kept: they come over two connections.

use super::call::{Call, Verdict};
use super::clients::Clients;
use super::in_flight::InFlight;
use super::interface::NO_DEADLINE;
use super::pubsub::{CONFIRMED_MAX, Confirmation, FEW, Pubsub, SLICE};
use super::refusals::CONNECTION_DOWN;
use super::state::Proxy;
use super::{
    answer, bulk, client_list, close, delivery, mark, memory, publish, subscription_connection, topic_placement,
};
use crate::buffer::Queue;
use crate::client::{Client, Flow};
use crate::command::{Channels, Class, Lease, Session};
use crate::reply::error;
use crate::request::Request;
use crate::session::Protocol;
use crate::slots::Id;
use crate::subscription::{FAMILIES, Progress, Registry, TopicId, push};
use crate::timer::Millis;

/// The rest of what a RESP2 client is told that hears something and asks for something else; Redis's words.
pub(super) const ALLOWED_IN_RESP2: &str =
    "(P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context";

/// A request to hear from channels, or to hear no more from them.
pub(super) fn on_subscription(proxy: &mut Proxy, id: Id, call: &Call<'_>, lease: Lease, now: Millis) -> Verdict {
    if !call.command.arity_allows(call.args.len()) {
        answer::reply_with(proxy, id, |out| error::wrong_arity(out, call.name()));
        return Verdict::Done;
    }
    let Some(client) = proxy.clients.get_mut(id) else { return Verdict::Done };
    let subscriber = client.subscriber_mut();
    let count = match (lease, &subscriber) {
        (Lease::Unsubscribe(_), Some(subscriber)) if call.args.len() == 1 => subscriber.topics(),
        _ => call.args.len(),
    };
    if count > FEW && client_list::defers(&mut proxy.clients, &proxy.turn, id) {
        return Verdict::Wait;
    }
    let Some(client) = proxy.clients.get_mut(id) else { return Verdict::Done };
    let progress = client.subscriber_mut().and_then(|subscriber| subscriber.progress.take());
    // As in Redis, what is pushed comes whatever CLIENT REPLY says; but it counts as the next request.
    if progress.is_none() {
        client.takes_no_reply();
    }
    let progress = match lease {
        Lease::Subscribe(family) => subscribe(proxy, id, call, family, progress, now),
        Lease::Unsubscribe(family) => unsubscribe(proxy, id, call, family, progress),
        _ => None,
    };
    if let (Some(_), Some(client)) = (progress, proxy.clients.get_mut(id)) {
        client.subscribe().progress = progress;
        return go_on_later(&mut proxy.clients, id);
    }
    settle(&mut proxy.clients, &mut proxy.in_flight, id);
    Verdict::Done
}

/// A request is more than one turn's work: its next part is done in the next one.
fn go_on_later(clients: &mut Clients, id: Id) -> Verdict {
    if clients.get(id).is_some_and(Client::is_open) {
        clients.defer(id);
    }
    Verdict::Wait
}

/// The next part of a request to hear more. Returns how far it is done, if it is not yet.
fn subscribe(
    proxy: &mut Proxy,
    id: Id,
    call: &Call<'_>,
    family: Channels,
    progress: Option<Progress>,
    now: Millis,
) -> Option<Progress> {
    let (from, number) = match progress {
        Some(Progress { at, confirmation }) => (at, confirmation?),
        None => (1, begin_subscription(proxy, id, call, family)?),
    };
    let to = call.args.len().min(from + SLICE);
    let client = proxy.clients.get_mut(id)?;
    let protocol = client.protocol();
    let subscriber = client.subscribe();
    let mut confirmation = proxy.pubsub.take_confirmation(number)?;
    let mut topics = Vec::with_capacity(to - from);
    for index in from..to {
        let name = call.arg(index);
        let (topic, is_news) = proxy.pubsub.registry.join(id, family, name);
        topics.push(topic);
        if is_news {
            subscriber.on_joined(family);
            confirmation.joined.push(topic);
        }
        let count = subscriber.count(family);
        push::confirmation(&mut confirmation.frames, protocol, family, true, Some(name), count);
    }
    subscription_connection::ask_all(proxy, family, &topics, now);
    topics.retain(|&topic| {
        !subscription_connection::is_heard_everywhere(&proxy.router, &proxy.pubsub, topic)
            && proxy.pubsub.wait(topic, number)
    });
    confirmation.missing += topics.len();
    confirmation.topics.append(&mut topics);
    proxy.pubsub.put_confirmation(number, confirmation);
    memory::charge_pubsub(&mut proxy.in_flight, &mut proxy.pubsub);
    mark::count_topics(&mut proxy.turn, to - from);
    if to < call.args.len() {
        return Some(Progress { at: to, confirmation: Some(number) });
    }
    confirm_part(proxy, number, now);
    bulk::maybe_pause(proxy, id);
    None
}

/// Keeps the place of a confirmation in the client's line, unless there is none to be had. Returns its number.
fn begin_subscription(proxy: &mut Proxy, id: Id, call: &Call<'_>, family: Channels) -> Option<usize> {
    if !subscription_connection::is_anything_to_be_heard(&proxy.router, &proxy.pubsub) {
        answer::reply_here(proxy, id, CONNECTION_DOWN);
        return None;
    }
    if family == Channels::Shard {
        let refusal = topic_placement::refusal_of(&proxy.router, (1..call.args.len()).map(|index| call.arg(index)));
        if let Some(refusal) = refusal {
            answer::reply_here(proxy, id, refusal);
            return None;
        }
    }
    topic_placement::choose_channel_node(proxy);
    // All subscriptions together may have half of the memory: nobody is asked to give one back.
    let asked = Registry::held_by_new(call.args.len(), call.request.len());
    if proxy.pubsub.held() + asked > proxy.settings.limits.buffered_bytes_max / 2 {
        answer::refuse_for_memory(proxy, id, "These subscriptions");
        return None;
    }
    let request = proxy.in_flight.requests.insert(Request::new(id, NO_DEADLINE, 0, 0, false));
    let client = proxy.clients.get_mut(id)?;
    client.reply_order_mut().push(&mut proxy.in_flight.requests, request);
    client.subscribe().awaited.push_back(request);
    Some(proxy.pubsub.begin_confirmation(id, request))
}

/// The next part of a request to hear less. Returns how far it is done, if it is not yet.
fn unsubscribe(
    proxy: &mut Proxy,
    id: Id,
    call: &Call<'_>,
    family: Channels,
    progress: Option<Progress>,
) -> Option<Progress> {
    let client = proxy.clients.get(id)?;
    let protocol = client.protocol();
    let from = progress.map_or(1, |progress| progress.at);
    let to = call.args.len().min(from + SLICE);
    let is_all = call.args.len() == 1;
    let registry = &proxy.pubsub.registry;
    let topics: Vec<Option<TopicId>> = match is_all {
        true => registry.topics_of(id, family).take(SLICE).map(Some).collect(),
        false => (from..to).map(|index| registry.find(family, call.arg(index))).collect(),
    };
    let mut frames = Vec::new();
    for (index, topic) in topics.iter().enumerate() {
        let name = topic.and_then(|topic| proxy.pubsub.registry.topic(topic)).map(|topic| topic.name.clone());
        if let Some(topic) = *topic {
            leave_topic(proxy, id, topic);
        }
        // Nobody hears what has no topic; then it is the client that knows its name.
        let name = name.as_deref().unwrap_or_else(|| call.arg(from + index));
        push::confirmation(&mut frames, protocol, family, false, Some(name), count(&proxy.clients, id, family));
    }
    if topics.is_empty() && progress.is_none() {
        push::confirmation(&mut frames, protocol, family, false, None, count(&proxy.clients, id, family));
    }
    let is_done = match is_all {
        true => proxy.pubsub.registry.topics_of(id, family).next().is_none(),
        false => to == call.args.len(),
    };
    if is_done {
        settle(&mut proxy.clients, &mut proxy.in_flight, id);
    }
    mark::count_topics(&mut proxy.turn, topics.len());
    answer::reply_in_place(proxy, id, &frames);
    (!is_done).then_some(Progress { at: to, confirmation: None })
}

fn count(clients: &Clients, id: Id, family: Channels) -> usize {
    clients.get(id).and_then(|client| client.subscriber()).map_or(0, |own| own.count(family))
}

/// A client hears this no longer, if it did.
fn leave_topic(proxy: &mut Proxy, id: Id, topic: TopicId) {
    let Some(family) = proxy.pubsub.registry.topic(topic).map(|topic| topic.family) else { return };
    delivery::deliver_before_leaving(proxy, id, topic);
    if !proxy.pubsub.registry.leave(id, topic) {
        return;
    }
    if let Some(subscriber) = proxy.clients.get_mut(id).and_then(|client| client.subscriber_mut()) {
        subscriber.on_left(family);
    }
    memory::charge_pubsub(&mut proxy.in_flight, &mut proxy.pubsub);
}

/// A client hears nothing any more. False if that is more than one turn's work.
fn leave_topics(proxy: &mut Proxy, id: Id) -> bool {
    let mut left = SLICE;
    for family in FAMILIES {
        let topics: Vec<TopicId> = proxy.pubsub.registry.topics_of(id, family).take(left).collect();
        left -= topics.len();
        topics.into_iter().for_each(|topic| leave_topic(proxy, id, topic));
    }
    mark::count_topics(&mut proxy.turn, SLICE - left);
    left > 0
}

/// Lets go of topics of those who are gone, and asks connections that are new for more of what is heard.
#[cold]
pub(super) fn go_on_with_topics(proxy: &mut Proxy, now: Millis) {
    if let Some(&id) = proxy.pubsub.leaving.front() {
        if close::forget_topics(&mut proxy.in_flight, &mut proxy.turn, &mut proxy.pubsub, id) {
            proxy.pubsub.leaving.pop_front();
        }
    }
    if let Some(topic) = proxy.pubsub.next_confirmed() {
        // If the connection is lost that heard it, who still waits does so for the next one.
        if subscription_connection::is_heard_everywhere(&proxy.router, &proxy.pubsub, topic)
            || proxy.pubsub.registry.topic(topic).is_none()
        {
            confirm_topic(proxy, topic, now);
            publish::wake_publishers(&proxy.router, &mut proxy.turn, &proxy.pubsub);
        }
    }
    subscription_connection::go_on_asking(proxy, now);
}

/// What a client hears has become less: perhaps it is no subscriber any more.
fn settle(clients: &mut Clients, in_flight: &mut InFlight, id: Id) {
    let Some(client) = clients.get_mut(id) else { return };
    client.release_messages(&mut in_flight.arena, &in_flight.requests);
}

/// A request of a client that hears something. `None` if it means what it always means.
pub(super) fn on_subscribers_request(proxy: &mut Proxy, id: Id, call: &Call<'_>) -> Option<Verdict> {
    let client = proxy.clients.get_mut(id).filter(|client| client.is_hearing())?;
    let command = call.command;
    let is_resp2 = client.protocol() == Protocol::Resp2;
    let is_arity_right = command.arity_allows(call.args.len());
    match command.class {
        Class::Lease(Lease::Subscribe(_) | Lease::Unsubscribe(_)) | Class::Session(Session::Quit) => return None,
        Class::Session(Session::Reset) => {
            if is_arity_right {
                let is_much = client.subscriber().is_some_and(|own| own.topics() > FEW);
                if is_much && client_list::defers(&mut proxy.clients, &proxy.turn, id) {
                    return Some(Verdict::Wait);
                }
                if !leave_topics(proxy, id) {
                    return Some(go_on_later(&mut proxy.clients, id));
                }
                settle(&mut proxy.clients, &mut proxy.in_flight, id);
            }
            return None;
        }
        Class::Session(_) if !is_resp2 => return None,
        _ if !is_resp2 && !client.is_restrained() => return None,
        _ if !is_resp2 => {
            bulk::await_replies(&mut proxy.clients, &mut proxy.turn, id, Flow::Subscribing);
            return Some(Verdict::Wait);
        }
        Class::Session(Session::Ping) if is_arity_right && call.args.len() <= 2 => {
            let text = if call.args.len() == 2 { call.arg(1) } else { b"" };
            answer::reply_with(proxy, id, |out| push::pong(out, text));
        }
        _ if !is_arity_right || matches!(command.class, Class::Session(Session::Ping)) => {
            answer::reply_with(proxy, id, |out| error::wrong_arity(out, call.name()));
        }
        _ => answer::reply_with(proxy, id, |out| {
            let code = match command.class {
                Class::Lease(Lease::Exec) => "EXECABORT Transaction discarded because of:",
                _ => "ERR",
            };
            // The one container whose subcommands are not in the table.
            let is_client = command.class == Class::Session(Session::Client) && call.args.len() > 1;
            let word = if is_client { call.arg(1).to_ascii_lowercase() } else { Vec::new() };
            let word = String::from_utf8_lossy(&word);
            let (name, bar, word) = (call.name(), if word.is_empty() { "" } else { "|" }, &word);
            error::write_error(out, format_args!("{code} Can't execute '{name}{bar}{word}': only {ALLOWED_IN_RESP2}"));
        }),
    }
    Some(Verdict::Done)
}

/// What nobody hears any more is no longer listened for, and not waited for either.
pub(super) fn let_go_of_topics(proxy: &mut Proxy, now: Millis) {
    if proxy.pubsub.registry.orphans() == 0 {
        return;
    }
    let mut orphans = Vec::new();
    while let Some(orphan) = proxy.pubsub.registry.poll_orphan() {
        orphans.push(orphan);
    }
    subscription_connection::ask_less(proxy, &orphans, now);
    for (topic, _) in orphans {
        confirm_topic(proxy, topic, now);
    }
    publish::wake_publishers(&proxy.router, &mut proxy.turn, &proxy.pubsub);
}

/// A server hears this topic now: perhaps it was the last one.
pub(super) fn on_topic_heard(proxy: &mut Proxy, topic: TopicId, now: Millis) {
    if subscription_connection::is_heard_everywhere(&proxy.router, &proxy.pubsub, topic) {
        confirm_topic(proxy, topic, now);
    }
    publish::wake_publishers(&proxy.router, &mut proxy.turn, &proxy.pubsub);
}

/// A server is not waited for any more: it is down, or does not take our connection.
pub(super) fn review_confirmations(proxy: &mut Proxy, now: Millis) {
    if !proxy.pubsub.is_confirming() {
        return;
    }
    if !subscription_connection::is_anything_to_be_heard(&proxy.router, &proxy.pubsub) {
        let all = proxy.pubsub.confirmation_numbers();
        all.into_iter().for_each(|number| turn_down(proxy, number, CONNECTION_DOWN, now));
        return publish::wake_publishers(&proxy.router, &mut proxy.turn, &proxy.pubsub);
    }
    proxy.pubsub.awaited_topics().into_iter().for_each(|topic| on_topic_heard(proxy, topic, now));
}

fn waiting_for(pubsub: &Pubsub, topic: TopicId, max: usize) -> Vec<usize> {
    pubsub.awaiting(topic).take(max).collect()
}

/// Nobody has to wait for this topic any more. Of many, some are told so in the next turns.
fn confirm_topic(proxy: &mut Proxy, topic: TopicId, now: Millis) {
    for number in waiting_for(&proxy.pubsub, topic, CONFIRMED_MAX) {
        proxy.pubsub.wait_no_longer(topic, number);
        confirm_part(proxy, number, now);
    }
    if proxy.pubsub.is_awaited(topic) {
        proxy.turn.ration();
        proxy.pubsub.confirm_later(topic);
    }
}

/// A confirmation has to wait for one thing less.
fn confirm_part(proxy: &mut Proxy, number: usize, now: Millis) {
    if let Some(confirmation) = proxy.pubsub.confirm_part(number) {
        memory::charge_pubsub(&mut proxy.in_flight, &mut proxy.pubsub);
        let Confirmation { client, request, frames, .. } = confirmation;
        let frames = Queue::of(&mut proxy.in_flight.arena, &frames);
        answer::fill_place(proxy, client, request, frames, now);
    }
}

/// A server refuses this topic: those who wait for it are told in its own words.
pub(super) fn refuse_topic(proxy: &mut Proxy, topic: TopicId, reply: &[u8], now: Millis) {
    waiting_for(&proxy.pubsub, topic, usize::MAX).into_iter().for_each(|number| turn_down(proxy, number, reply, now));
    publish::wake_publishers(&proxy.router, &mut proxy.turn, &proxy.pubsub);
}

/// A subscription will not come about: as in Redis, none of its channels is heard then.
fn turn_down(proxy: &mut Proxy, number: usize, reply: &[u8], now: Millis) {
    let Some(confirmation) = proxy.pubsub.turn_down(number) else { return };
    memory::charge_pubsub(&mut proxy.in_flight, &mut proxy.pubsub);
    for &topic in &confirmation.joined {
        leave_topic(proxy, confirmation.client, topic);
    }
    let subscriber = proxy.clients.get_mut(confirmation.client).and_then(|client| client.subscriber_mut());
    match subscriber.and_then(|subscriber| subscriber.progress.as_mut()) {
        Some(progress) if progress.confirmation == Some(number) => progress.confirmation = None,
        _ => {}
    }
    settle(&mut proxy.clients, &mut proxy.in_flight, confirmation.client);
    match reply == CONNECTION_DOWN {
        true => proxy.journal.stats.own_errors.count(reply),
        false => proxy.in_flight.measured.errors.count(reply),
    }
    let reply = Queue::of(&mut proxy.in_flight.arena, reply);
    answer::fill_place(proxy, confirmation.client, confirmation.request, reply, now);
}
