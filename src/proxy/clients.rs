//! The clients: who is connected, and who waits.
//!
//! Owns them, and the lists of those who wait. Knows no servers and no replies of theirs, but
//! for the ids of the connections on which they have something in flight.

use std::collections::VecDeque;

use super::denial::Denials;
use crate::client::Client;
use crate::slots::{Id, Slots};

/// All clients.
#[derive(Debug)]
pub(super) struct Clients {
    all: Slots<Client>,
    /// Those who are paused, the longest first; some may be so no longer.
    pub paused: VecDeque<Id>,
    /// Those whose next request is one about all clients, and waits for the next turn; the next one first. Some may be
    /// gone.
    pub deferred: VecDeque<Id>,
    /// How many are parked, at all servers together.
    pub parked: usize,
    /// No more are let in.
    pub is_shutting_down: bool,
    pub denials: Denials,
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
}
