//! Connections with something to send, clients that must make progress, work that is counted: notes for the end of the
//! turn.

use super::clients::Clients;
use super::interface::Timer;
use super::pubsub::{FEW, Pubsub, WORK_OF_TOPIC};
use super::settings::Settings;
use super::turn::Turn;
use super::upstreams::Upstreams;
use crate::backend::Backend;
use crate::slots::Id;
use crate::timer::Wheel;

pub(super) fn mark_client_dirty(clients: &mut Clients, turn: &mut Turn, id: Id) {
    if clients.get_mut(id).is_some_and(|client| client.connection_mut().mark_dirty()) {
        turn.flush_client(id);
    }
}

/// A client's socket takes more than it was sent. What it has unsent may be much, if it subscribes: as its messages
/// it has its turn.
#[cold]
pub(super) fn mark_client_unsent(clients: &mut Clients, turn: &mut Turn, pubsub: &mut Pubsub, id: Id) {
    match clients.get(id).is_some_and(|client| client.subscriber().is_some()) {
        true => list_subscriber(clients, turn, pubsub, id),
        false => mark_client_dirty(clients, turn, id),
    }
}

pub(super) fn mark_backend_dirty(upstreams: &mut Upstreams, turn: &mut Turn, id: Id) {
    if upstreams.backend_mut(id).is_some_and(Backend::mark_dirty) {
        turn.flush_backend(id);
    }
}

/// A subscriber has messages to be sent. It has its turn among the others.
pub(super) fn list_subscriber(clients: &mut Clients, turn: &mut Turn, pubsub: &mut Pubsub, id: Id) {
    if clients.get_mut(id).is_some_and(|client| client.connection_mut().mark_listed()) {
        turn.ration();
        pubsub.unsent.push_back(id);
    }
}

/// A client's socket is full: from here on it must make progress.
pub(super) fn watch_client_writes(settings: &Settings, clients: &mut Clients, wheel: &mut Wheel<Timer>, id: Id) {
    let write_ms = settings.timeouts.local_write_ms;
    if write_ms == 0 {
        return;
    }
    if let Some(client) = clients.get_mut(id) {
        let deadline = client.connection().took_at() + write_ms;
        client.wake_at(wheel, Timer::Client(id), deadline);
    }
}

pub(super) fn count_work(turn: &mut Turn, work: usize) {
    turn.use_up(work);
}

pub(super) fn count_topics(turn: &mut Turn, count: usize) {
    if count > FEW {
        count_work(turn, WORK_OF_TOPIC * count);
    }
}
