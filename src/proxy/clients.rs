//! The clients: who is connected, and who waits.
//!
//! Owns them, and the lists of those who wait. Knows no servers and no replies of theirs, but
//! for the ids of the connections on which they have something in flight.
//!
//! Who is in which state is the client's (`Client::enter`); where a list or a count goes with the state, it is moved
//! here: parked, deferred, paused behind others, closed. Invariants: `parked` is how many are `AwaitingBackend`; who is
//! `Deferred` stands in `deferred`, and nobody stands in `paused` twice.

use std::collections::VecDeque;

use super::dismissal::Dismissal;
use crate::buffer::Arena;
use crate::client::{Client, Departed, Flow, Need};
use crate::server_id::ServerId;
use crate::slots::{Id, Slots};
use crate::timer::{Millis, Wheel};

const DELAY_FIRST_MS: u64 = 100;
const DELAY_MAX_MS: u64 = 1000;
/// After so long without one it begins anew.
const FORGOTTEN_MS: u64 = 10_000;

/// All clients.
#[derive(Debug)]
pub(super) struct Clients {
    all: Slots<Client>,
    /// Those who are paused, the longest first; some may be so no longer.
    paused: VecDeque<Id>,
    /// Those whose next request is one about all clients, and waits for the next turn; the next one first. Some may be
    /// gone.
    deferred: VecDeque<Id>,
    /// How many are parked, at all servers together.
    parked: usize,
    /// No more are let in.
    is_shutting_down: bool,
    /// Who is asked to leave, and when, once another process takes over.
    dismissal: Dismissal,
    denials: Denials,
}

impl Clients {
    /// Nobody is connected.
    pub fn new() -> Clients {
        Clients {
            all: Slots::new(),
            paused: VecDeque::new(),
            deferred: VecDeque::new(),
            parked: 0,
            is_shutting_down: false,
            dismissal: Dismissal::default(),
            denials: Denials::default(),
        }
    }

    /// Makes room for so many.
    pub fn reserve(&mut self, count: usize) {
        self.all.reserve(count);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// True exactly when there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// One more is there.
    pub fn insert(&mut self, client: Client) -> Id {
        self.all.insert(client)
    }

    /// One is gone.
    pub fn remove(&mut self, id: Id) -> Option<Client> {
        self.all.remove(id)
    }

    /// The client with this id, if it is still there.
    #[inline]
    pub fn get(&self, id: Id) -> Option<&Client> {
        self.all.get(id)
    }

    /// The same, to be changed.
    #[inline]
    pub fn get_mut(&mut self, id: Id) -> Option<&mut Client> {
        self.all.get_mut(id)
    }

    /// All of them, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = (Id, &Client)> {
        self.all.iter()
    }

    /// The same, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Id, &mut Client)> {
        self.all.iter_mut()
    }

    /// From here on, no more are let in.
    pub fn begin_shutdown(&mut self) {
        self.is_shutting_down = true;
    }

    /// True exactly when no more are let in.
    pub fn is_shutting_down(&self) -> bool {
        self.is_shutting_down
    }

    /// Who is asked to leave, and when.
    pub fn dismissal_mut(&mut self) -> &mut Dismissal {
        &mut self.dismissal
    }

    /// Closes one, unless it is closed already. It stays in the table until it is reaped.
    #[inline]
    pub fn close<K: Copy>(&mut self, id: Id, wheel: &mut Wheel<K>, arena: &mut Arena) -> Departed {
        let Some(client) = self.all.get_mut(id) else { return Departed::Before };
        let departed = client.close(wheel, arena);
        if let Departed::Leaves(left) = &departed {
            self.parked -= usize::from(matches!(left.flow, Flow::AwaitingBackend { .. }));
        }
        departed
    }

    /// One waits for a backend of `server` from here on, until `deadline` at the longest.
    pub fn park(&mut self, id: Id, server: ServerId, need: Need, deadline: Millis) -> Option<&mut Client> {
        let client = self.all.get_mut(id)?;
        client.enter(Flow::AwaitingBackend { server, need, deadline });
        self.parked += 1;
        Some(client)
    }

    /// One waits for that no longer, and is listened to.
    pub fn unpark(&mut self, id: Id) -> Option<&mut Client> {
        self.parked -= 1;
        let client = self.all.get_mut(id)?;
        client.enter(Flow::Open);
        Some(client)
    }

    /// How many wait for a backend, at all servers together.
    #[inline]
    pub fn parked(&self) -> usize {
        self.parked
    }

    /// The next request of this one waits for the next turn, behind those who wait for that already.
    pub fn defer(&mut self, id: Id) {
        if let Some(client) = self.all.get_mut(id) {
            client.enter(Flow::Deferred);
            self.deferred.push_back(id);
        }
    }

    /// The one whose turn is next of those who were deferred. It may be gone, or closed.
    pub fn first_deferred(&self) -> Option<Id> {
        self.deferred.front().copied()
    }

    /// That one has had its turn.
    pub fn pop_deferred(&mut self) {
        self.deferred.pop_front();
    }

    /// True exactly when this one is among those who were deferred.
    pub fn is_among_deferred(&self, id: Id) -> bool {
        self.deferred.contains(&id)
    }

    /// One that is paused waits behind the others who are, in the place that it has there already, if it has one.
    pub fn pause_behind_others(&mut self, id: Id) {
        if self.all.get_mut(id).is_some_and(|client| client.connection_mut().mark_in_paused()) {
            self.paused.push_back(id);
        }
    }

    /// The one that was paused first. It may be so no longer.
    pub fn first_paused(&self) -> Option<Id> {
        self.paused.front().copied()
    }

    /// That one waits no longer.
    pub fn pop_paused(&mut self) {
        if let Some(client) = self.paused.pop_front().and_then(|id| self.all.get_mut(id)) {
            client.connection_mut().on_out_of_paused();
        }
    }

    /// How many stand among those who are paused.
    #[inline]
    pub fn paused(&self) -> usize {
        self.paused.len()
    }

    /// One has given a wrong password: for how long it waits, in milliseconds.
    pub fn next_denial_ms(&mut self, now: Millis) -> u64 {
        self.denials.delay(now)
    }
}

/// How long the next one waits.
#[derive(Debug, Default)]
struct Denials {
    delay_ms: u64,
    last: Millis,
}

impl Denials {
    fn delay(&mut self, now: Millis) -> u64 {
        let is_first = self.delay_ms == 0 || now - self.last > FORGOTTEN_MS;
        self.delay_ms = if is_first { DELAY_FIRST_MS } else { (2 * self.delay_ms).min(DELAY_MAX_MS) };
        self.last = now;
        self.delay_ms
    }
}
