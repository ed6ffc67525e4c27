//! Requests that wait on a connection of their own, and that a node of a cluster has not run, or runs no longer: their
//! clients ask again, at another node (`redirect_lease`).
//!
//! The request itself is with its client, in front of what that has sent behind it. Here is what is known about it:
//! where to, from when on, until when, and how often. Knows no bytes.
//!
//! ```text
//!   refused ─► Due ── its time ─► Asking ── a connection ─► Sent ── its reply ─► forgotten
//!               ▲                   │ nobody has its slot now         │
//!               └───────────────────┴────── refused once more ◄──────┘
//! ```
//!
//! Invariants: a client has one at the most, and none once it is closed; each that is `Due` stands in order of time.

use std::collections::{BTreeMap, BTreeSet};

use super::redirected::Goal;
use crate::request::RequestId;
use crate::server_id::ServerId;
use crate::slots::Id;
use crate::timer::{Alarm, Millis, Wheel};

/// How far such a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It is asked again then.
    Due(Millis),
    /// It is asked again: it looks for its node, and for a connection there.
    Asking,
    /// It is this request, since then.
    Sent(RequestId, Millis),
}

/// What is known about such a request.
#[derive(Debug)]
pub(super) struct Relocation {
    /// Where it goes.
    pub goal: Goal,
    /// When a node has said so.
    pub told_at: Millis,
    /// When it was refused first, since it was answered by no node for long.
    pub since: Millis,
    /// When its own timeout is over; `None` if it has none.
    pub until: Option<Millis>,
    /// How often it was not run.
    pub tries: u8,
    /// What it is told if it finds no node.
    pub refusal: Box<[u8]>,
    /// Who has not run it.
    pub refuser: ServerId,
    /// Whether it waits for data: who has hung up meanwhile is not there to have it.
    pub is_blocking: bool,
    pub stage: Stage,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Relocations {
    all: BTreeMap<Id, Relocation>,
    due: BTreeSet<(Millis, Id)>,
    alarm: Alarm,
}

impl Relocations {
    /// True exactly when there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// This client's request was not run.
    pub fn put(&mut self, client: Id, relocation: Relocation) {
        self.remove(client);
        if let Stage::Due(at) = relocation.stage {
            self.due.insert((at, client));
        }
        self.all.insert(client, relocation);
    }

    /// What is known of this client's, if it asks again now.
    pub fn take_asking(&mut self, client: Id) -> Option<Relocation> {
        self.remove(client).filter(|relocation| !matches!(relocation.stage, Stage::Sent(..)))
    }

    /// Whether this client asks again, or will.
    pub fn is_of(&self, client: Id) -> bool {
        self.all.contains_key(&client)
    }

    /// What is known of this client's, if it is this request.
    pub fn take_sent(&mut self, client: Id, request: RequestId) -> Option<Relocation> {
        let is_it = |one: &Relocation| matches!(one.stage, Stage::Sent(sent, _) if sent == request);
        let is_it = self.all.get(&client).is_some_and(is_it);
        is_it.then(|| self.remove(client)).flatten()
    }

    /// This client asks for nothing of that kind any more.
    pub fn remove(&mut self, client: Id) -> Option<Relocation> {
        let relocation = self.all.remove(&client)?;
        if let Stage::Due(at) = relocation.stage {
            self.due.remove(&(at, client));
        }
        Some(relocation)
    }

    /// The next client that asks again by now: it does from here on.
    pub fn next_due(&mut self, now: Millis) -> Option<Id> {
        let &(at, client) = self.due.first().filter(|due| due.0 <= now)?;
        self.due.remove(&(at, client));
        if let Some(relocation) = self.all.get_mut(&client) {
            relocation.stage = Stage::Asking;
        }
        Some(client)
    }

    /// When that is, for the first of those that wait.
    pub fn due_at(&self) -> Option<Millis> {
        self.due.first().map(|due| due.0)
    }

    /// Somebody looks after them then.
    pub fn wake_at<K: Copy>(&mut self, wheel: &mut Wheel<K>, key: K, deadline: Millis) {
        self.alarm.set(wheel, key, deadline);
    }

    /// Somebody does.
    pub fn on_woken(&mut self) {
        self.alarm.on_fired();
    }

    /// Who has one, and how far it has come.
    pub fn iter(&self) -> impl Iterator<Item = (Id, Stage)> {
        self.all.iter().map(|(&client, relocation)| (client, relocation.stage))
    }
}
