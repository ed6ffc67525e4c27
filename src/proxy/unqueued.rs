//! Transactions of which a node of a cluster has not queued a request, until it has answered the last one.
//!
//! Owns who of their clients waits for what: by the connection, since of one connection only one transaction is being
//! answered at a time. Decides nothing (`redirect_whole`). When the last request is answered it is decided about all of
//! the transaction, and nothing of it is here any more.
//!
//! ```text
//!   backend 3   [MULTI: +OK] [SET a: -ASK, held] [GET b: early +QUEUED] [EXEC: in flight]
//! ```
//!
//! Invariant: what is held stands in no backend's line, and has no reply.

use std::collections::BTreeMap;

use crate::request::RequestId;
use crate::slots::Id;

/// A request of a transaction, and how many stand before it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub index: u16,
    pub request: RequestId,
}

/// A transaction of which a request was not queued.
#[derive(Debug)]
pub(super) struct Unqueued {
    /// Whose it is.
    pub client: Id,
    /// Its last request.
    pub last: RequestId,
    /// What the node has said; `None` if an error has another reason, and all of it is told what the node says.
    pub refusal: Option<Box<[u8]>>,
    /// Those that are held, in their order.
    pub steps: Vec<Step>,
}

/// All such transactions.
#[derive(Debug, Default)]
pub(super) struct AllUnqueued(BTreeMap<Id, Unqueued>);

impl AllUnqueued {
    /// How many there are.
    #[inline]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether there is one of this client.
    pub fn is_of(&self, client: Id) -> bool {
        self.0.values().any(|unqueued| unqueued.client == client)
    }

    /// All of them, and their backends.
    pub fn iter(&self) -> impl Iterator<Item = (Id, &Unqueued)> {
        self.0.iter().map(|(&backend, unqueued)| (backend, unqueued))
    }

    /// The one on this backend.
    pub fn get(&self, backend: Id) -> Option<&Unqueued> {
        self.0.get(&backend)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, backend: Id) -> Option<&mut Unqueued> {
        self.0.get_mut(&backend)
    }

    /// There is one on this backend from here on.
    pub fn insert(&mut self, backend: Id, unqueued: Unqueued) {
        let before = self.0.insert(backend, unqueued);
        debug_assert!(before.is_none(), "the one before it is answered");
    }

    /// It is decided about the one on this backend.
    pub fn remove(&mut self, backend: Id) -> Option<Unqueued> {
        self.0.remove(&backend)
    }
}
