//! Bytes of subscription connections → messages and confirmations.

use super::backend_close_reason::BackendCloseReason;
use super::interface::{Conn, Wire};
use super::state::Proxy;
use super::subscription_connection::{self, PING_MS};
use super::topics::{Asked, Expected, Owed, State};
use super::{delivery, handshake_read, health, recover, redirect, report, subscribe, topic_placement, topology};
use crate::backend::{Phase, handshake};
use crate::buffer::Scratch;
use crate::cluster::RefreshCause;
use crate::command::Channels;
use crate::notice::{Kind, printable};
use crate::resp::{Frame, ReplyFramer};
use crate::server_id::ServerId;
use crate::slots::Id;
use crate::subscription::TopicId;
use crate::subscription::push::{self, Push};
use crate::timer::Millis;

/// So often in a row nodes of a cluster may say that the slot of a channel is another's.
const MOVES_MAX: u8 = 16;

/// The `n` bytes in the read area of `scratch` came from a connection.
#[cold]
pub(super) fn handle_subscription_data<W: Wire>(
    proxy: &mut Proxy,
    id: Id,
    scratch: &mut Scratch,
    n: usize,
    now: Millis,
    wire: &mut W,
) {
    let Some(backend) = proxy.upstreams.backend_mut(id) else { return };
    let server = backend.server();
    let connection = &mut proxy.pubsub.connections[server.index()];
    connection.heard_at = now;
    if backend.kept().len() > Scratch::HEADROOM || connection.is_delivering(id) {
        backend.extend_kept(scratch.joined(&[], n), &mut proxy.in_flight.arena);
        return take_kept_pushes(proxy, id, now, wire);
    }
    let (mut framer, mut kept) = backend.take_kept(&mut proxy.in_flight.arena);
    let data = scratch.joined(&kept, n);
    let taken = take_pushes(proxy, id, data, &mut framer, now, wire);
    kept.clear();
    kept.extend_from_slice(&data[*taken.as_ref().unwrap_or(&0)..]);
    keep_pushes(proxy, id, kept, framer, taken, now);
}

/// Deals with what a server's connection has kept, until a message waits for the next turn.
pub(super) fn take_kept_pushes<W: Wire>(proxy: &mut Proxy, id: Id, now: Millis, wire: &mut W) {
    let Some(backend) = proxy.upstreams.backend_mut(id) else { return };
    let (mut framer, mut kept) = backend.take_kept(&mut proxy.in_flight.arena);
    let taken = take_pushes(proxy, id, &kept, &mut framer, now, wire);
    kept.drain(..*taken.as_ref().unwrap_or(&0));
    keep_pushes(proxy, id, kept, framer, taken, now);
}

pub(super) fn keep_pushes(
    proxy: &mut Proxy,
    id: Id,
    mut kept: Vec<u8>,
    framer: ReplyFramer,
    taken: Result<usize, BackendCloseReason>,
    now: Millis,
) {
    if let Err(reason) = taken {
        return recover::lose_backend(proxy, id, reason, now);
    }
    if kept.len() < kept.capacity() / 4 {
        kept.shrink_to_fit();
    }
    let Some(backend) = proxy.upstreams.backend_mut(id) else { return };
    backend.put_kept(framer, kept, &mut proxy.in_flight.arena);
    backend.answer_all_sent(&mut proxy.in_flight.arena);
}

/// Deals with everything in `data` that is whole, until a message waits for the next turn. Returns how many bytes
/// were taken.
pub(super) fn take_pushes<W: Wire>(
    proxy: &mut Proxy,
    id: Id,
    data: &[u8],
    framer: &mut ReplyFramer,
    now: Millis,
    wire: &mut W,
) -> Result<usize, BackendCloseReason> {
    let Some(server) = proxy.upstreams.backend(id).map(|backend| backend.server().index()) else {
        return Ok(0);
    };
    let mut at = 0;
    while at < data.len() && !proxy.pubsub.connections[server].is_delivering(id) {
        match take_push(proxy, id, &data[at..], framer, now, wire)? {
            0 => break,
            taken => at += taken,
        }
    }
    Ok(at)
}

/// Deals with what `bytes` begin with, if it is whole. Returns how many bytes were taken; 0 when there are too few.
pub(super) fn take_push<W: Wire>(
    proxy: &mut Proxy,
    id: Id,
    bytes: &[u8],
    framer: &mut ReplyFramer,
    now: Millis,
    wire: &mut W,
) -> Result<usize, BackendCloseReason> {
    let message_max = delivery::subscriber_unread_max(&proxy.settings);
    let Some(backend) = proxy.upstreams.backend_mut(id) else { return Ok(bytes.len()) };
    match framer.frame(bytes).map_err(BackendCloseReason::ProtocolError)? {
        Frame::Complete(len) => {
            let is_rest = backend.on_whole();
            framer.reset();
            match backend.phase() {
                _ if is_rest => {}
                Phase::Handshake(_) => handshake_read::on_handshake_reply(proxy, id, &bytes[..len], now)?,
                Phase::Ready | Phase::Settling | Phase::Draining => on_said(proxy, id, &bytes[..len], now, wire)?,
                Phase::Connecting | Phase::Closed => return Err(BackendCloseReason::UnsolicitedReply),
            }
            Ok(len)
        }
        Frame::Partial if backend.is_in_large_reply() || framer.at() > message_max => {
            if backend.on_piece() {
                if let Some(Push::Message { family, topic }) = push::read(bytes) {
                    delivery::cut_off(proxy, family, topic);
                }
            }
            let len = framer.passable(bytes.len());
            framer.rebase(len);
            Ok(len)
        }
        Frame::Partial => Ok(0),
    }
}

/// A server has said something to those that hear its messages.
pub(super) fn on_said<W: Wire>(
    proxy: &mut Proxy,
    id: Id,
    frame: &[u8],
    now: Millis,
    wire: &mut W,
) -> Result<(), BackendCloseReason> {
    let Some(backend) = proxy.upstreams.backend(id) else { return Ok(()) };
    let server = backend.server();
    let push = push::read(frame).ok_or(BackendCloseReason::UnsolicitedReply)?;
    if let Push::Message { family, topic } = push {
        delivery::publish(proxy, server, (family, topic), frame, now, wire);
        return Ok(());
    }
    if let Push::Confirmed { family: Channels::Shard, is_more: false, topic } = push {
        if is_slot_gone(proxy, server, topic, now) {
            return Ok(());
        }
    }
    let connection = &mut proxy.pubsub.connections[server.index()];
    let owed = connection.owed.pop_front().ok_or(BackendCloseReason::UnsolicitedReply)?;
    connection.answer_by = now + proxy.settings.timeouts.remote_read_ms;
    match (push, owed.what) {
        // Who was heard before shall be heard again, as soon as the script has ended that is in the way.
        (Push::Refused, _) if connection.lost_at.is_some() && handshake::is_busy(frame) => {
            return Err(BackendCloseReason::Refused(printable(frame)));
        }
        (Push::Refused, _) => on_question_refused(proxy, server, owed, frame, now),
        (Push::Confirmed { is_more: true, .. }, Expected::More(topic)) => {
            let asked = connection.asked.get_mut(topic.slot()).and_then(Option::as_mut);
            let is_this = |asked: &&mut Asked| (asked.topic, asked.command) == (topic, owed.command);
            if let Some(asked) = asked.filter(is_this) {
                asked.is_heard = true;
                proxy.pubsub.moved.retain(|(other, _)| *other != topic);
                subscribe::on_topic_heard(proxy, topic, now);
            }
        }
        (Push::Confirmed { is_more: false, .. }, Expected::Less) | (Push::Pong, Expected::Ping) => {}
        _ => return Err(BackendCloseReason::UnsolicitedReply),
    }
    subscription_connection::maybe_restored(&mut proxy.pubsub, &mut proxy.journal, server, now);
    Ok(())
}

/// A node of a cluster tells its subscribers that it has the slot of their channel no longer, though nobody has asked
/// it to say less. It is asked once more: who has the slot now it says then. True if it is so.
fn is_slot_gone(proxy: &mut Proxy, server: ServerId, channel: &[u8], now: Millis) -> bool {
    let Some(topic) = proxy.pubsub.registry.find(Channels::Shard, channel) else { return false };
    if proxy.router.slots().is_none() || !proxy.pubsub.connections[server.index()].forget(topic) {
        return false;
    }
    proxy.turn.refresh(RefreshCause::Moved);
    let connection = &mut proxy.pubsub.connections[server.index()];
    connection.lost_at.get_or_insert(now);
    subscription_connection::ask_for_missing(proxy, server, now);
    true
}

/// A node has refused this topic with `reply`. If it says that another one has its slot, that one is asked, and it is
/// `true`.
fn follow_slot(proxy: &mut Proxy, from: ServerId, topic: TopicId, reply: &[u8], now: Millis) -> bool {
    if proxy.router.slots().is_none() {
        return false;
    }
    let Some((slot, address)) = redirect::moved_to(proxy, from, reply) else { return false };
    proxy.journal.stats.count_redirect(reply);
    let moved = &mut proxy.pubsub.moved;
    let count = match moved.iter_mut().find(|(other, _)| *other == topic) {
        Some((_, count)) => count,
        None => {
            moved.push((topic, 0));
            &mut moved.last_mut().expect("one was just pushed").1
        }
    };
    *count += 1;
    let is_too_often = *count > MOVES_MAX;
    let owner = topology::named(proxy, &address, now).filter(|&owner| owner != from && !is_too_often);
    let Some(owner) = owner.filter(|&owner| proxy.router.set_slot(slot, owner, now)) else {
        proxy.pubsub.moved.retain(|(other, _)| *other != topic);
        return false;
    };
    subscription_connection::ask_for_missing(proxy, owner, now);
    true
}

/// A server does not do what it was asked: one answer for the whole command.
pub(super) fn on_question_refused(proxy: &mut Proxy, server: ServerId, first: Owed, reply: &[u8], now: Millis) {
    let connection = &mut proxy.pubsub.connections[server.index()];
    let mut topics = Vec::new();
    let mut next = Some(first);
    while let Some(owed) = next {
        match owed.what {
            Expected::More(topic) if connection.forget(topic) => topics.push(topic),
            _ => {}
        }
        next = connection.owed.front().copied().filter(|owed| owed.command == first.command);
        if next.is_some() {
            connection.owed.pop_front();
        }
    }
    match topics[..] {
        [] => {}
        [topic] if follow_slot(proxy, server, topic, reply, now) => {}
        [topic] => {
            let words = printable(reply);
            report::warn_of(
                &mut proxy.journal,
                Kind::Subscription,
                server,
                1,
                format_args!("it refuses a subscription: {words}"),
            );
            subscribe::refuse_topic(proxy, topic, reply, now);
        }
        // Which of them it is, it does not say.
        _ => topics.into_iter().for_each(|topic| subscription_connection::ask_one(proxy, server, topic, now)),
    }
}

/// What a connection waits for, and until when; `None` when it is gone over it.
pub(super) fn on_subscription_alarm(proxy: &mut Proxy, id: Id, now: Millis) -> Option<Millis> {
    let backend = proxy.upstreams.backend(id)?;
    let server = backend.server();
    let write_deadline =
        backend.is_write_blocked().then(|| backend.took_at() + proxy.settings.timeouts.remote_write_ms);
    if delivery::is_publishing(&proxy.pubsub) {
        // It is not read meanwhile.
        proxy.pubsub.connections[server.index()].heard_at = now;
    }
    let connection = &proxy.pubsub.connections[server.index()];
    // Messages that were on their way come before the answer.
    let answer_by = connection.answer_by.max(connection.heard_at + proxy.settings.timeouts.remote_read_ms);
    let read_deadline = (!connection.owed.is_empty()).then_some(answer_by);
    let asked_at = Millis(now.0.saturating_sub(proxy.settings.timeouts.remote_read_ms));
    let reason = if write_deadline.is_some_and(|deadline| deadline <= now) {
        Some(BackendCloseReason::WriteTimeout)
    } else if read_deadline.is_some_and(|deadline| deadline <= now) {
        Some(BackendCloseReason::SubscribeTimeout)
    } else {
        None
    };
    if let Some(reason) = reason {
        health::suspect(proxy, server, asked_at, false, now);
        recover::lose_backend(proxy, id, reason, now);
        return None;
    }
    let mut ping_at = connection.heard_at + PING_MS;
    if read_deadline.is_none() && ping_at <= now {
        if !topic_placement::is_anything_subscribed_at(&proxy.router, &proxy.pubsub, server) {
            recover::lose_backend(proxy, id, BackendCloseReason::Idle, now);
            return None;
        }
        subscription_connection::ping(proxy, id, server, now);
        ping_at = now + PING_MS;
    }
    [write_deadline, read_deadline, Some(ping_at)].into_iter().flatten().min()
}

/// Goes on with what the last turns have left, and sends to subscribers what their queues have, as far as this
/// turn's work goes.
#[cold]
pub(super) fn go_on_publishing<W: Wire>(proxy: &mut Proxy, now: Millis, wire: &mut W) {
    if !delivery::is_publishing(&proxy.pubsub) {
        return;
    }
    for slot in 0..proxy.upstreams.slots() {
        let server = proxy.upstreams.server_in(slot);
        while proxy.pubsub.work_left > 0 && proxy.pubsub.connections[server.index()].delivery.is_pending {
            delivery::go_on_with(proxy, server, now, wire);
            if let State::Listening(id) = proxy.pubsub.connections[server.index()].state {
                take_kept_pushes(proxy, id, now, wire);
            }
        }
    }
    while proxy.pubsub.work_left > 0 {
        let Some(id) = proxy.pubsub.unsent.pop_front() else { break };
        if let Some(client) = proxy.clients.get_mut(id) {
            client.connection_mut().on_unlisted();
        }
        delivery::transmit_messages(proxy, id, now, wire);
    }
    if !delivery::is_publishing(&proxy.pubsub) {
        for connection in &mut proxy.pubsub.connections {
            connection.heard_at = now;
            if let State::Listening(id) = connection.state {
                proxy.turn.resume(Conn::Backend(id));
            }
        }
    }
}
