//! Requests that a node of a cluster has not run, and that wait to be sent again, with their bytes.
//!
//! Owns the line of each client, in the order in which its requests were sent, and says when something of it may be
//! sent. Decides nothing: `redirect` holds them, and `resend` sends them.
//!
//! ```text
//!   client 7   [1: SET a 1, sent again] [2: SET a 2, waits] [3: GET b, waits until 20 ms from now]
//!   its reply order   [SET a 1] [SET a 2] [GET c: early "x"] [GET b] [PING: early]
//! ```
//!
//! What is sent again keeps its number until its client owes and is owed nothing any more at any node: if it is not run
//! once more, it stands in its old place, in front of what was sent after it.
//!
//! Invariants: a client has one line at the most; those that wait are in no backend's line, and their clients are read
//! no further; `charged` is what the account has for them; no more than `REDIRECTED_MAX` wait.

use std::collections::{BTreeMap, BTreeSet};

use super::look::Look;
use super::unqueued::{AllUnqueued, Step};
use crate::buffer::Arena;
use crate::request::RequestId;
use crate::server_id::ServerId;
use crate::session::Profile;
use crate::slots::Id;
use crate::timer::Millis;

/// So many requests wait at the most; what is refused beyond that is told so.
pub(super) const REDIRECTED_MAX: usize = 10_000;

/// So long after a node has said that a slot is being moved it is taken to be, in milliseconds.
const MOVING_MS: u64 = 10_000;

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Goal {
    /// To the node that has its slot then.
    Owner,
    /// To the node at this address, which is to be told `ASKING` before.
    Asking(Box<str>),
}

/// A request that waits, and its bytes.
#[derive(Debug)]
pub(super) struct Waiting {
    pub request: RequestId,
    pub bytes: Vec<u8>,
    pub slot: u16,
    /// The hashes of its keys; `None` if they are not known.
    pub keys: Option<Box<[u32]>>,
    /// What the session of a backend must be set to that runs it.
    pub profile: Profile,
    pub goal: Goal,
    /// When it may be sent.
    pub due: Millis,
    /// What it is told if it is not sent in time.
    pub refusal: Box<[u8]>,
    /// If it is the last of a whole transaction, whose bytes those are: what waits with it, in order.
    pub steps: Box<[Step]>,
}

impl Waiting {
    fn held(&self) -> usize {
        let keys = self.keys.as_ref().map_or(0, |keys| keys.len() * (size_of::<u32>() + size_of::<(u32, u64)>()));
        size_of::<Entry>() + self.bytes.capacity() + self.refusal.len() + keys + size_of_val(&*self.steps)
    }
}

/// A request of a line.
#[derive(Debug)]
struct Entry {
    request: RequestId,
    /// How often it was not run.
    tries: u8,
    /// `None` while it is sent.
    waiting: Option<Waiting>,
}

/// What is redirected of one client.
#[derive(Debug)]
pub(super) struct Line {
    /// Who has not run the last of them.
    pub server: ServerId,
    /// By their numbers.
    entries: BTreeMap<u64, Entry>,
    /// The number of each.
    numbers: BTreeMap<RequestId, u64>,
    /// The numbers of those that wait, by their keys; and of those whose keys are not known.
    by_key: BTreeSet<(u32, u64)>,
    of_any_key: BTreeSet<u64>,
}

impl Line {
    fn new(server: ServerId) -> Line {
        let (entries, numbers) = (BTreeMap::new(), BTreeMap::new());
        Line { server, entries, numbers, by_key: BTreeSet::new(), of_any_key: BTreeSet::new() }
    }

    /// One waits, or waits no longer.
    fn note(&mut self, number: u64, keys: Option<&[u32]>, is_waiting: bool) {
        let Some(keys) = keys else {
            let _ = if is_waiting { self.of_any_key.insert(number) } else { self.of_any_key.remove(&number) };
            return;
        };
        for &key in keys {
            let _ = if is_waiting { self.by_key.insert((key, number)) } else { self.by_key.remove(&(key, number)) };
        }
    }

    /// The numbers of those that wait and may have a key in common with these, in their order; `None`: with any. To
    /// look for them costs no more when there are thousands.
    pub fn sharing(&self, keys: Option<&[u32]>) -> BTreeSet<u64> {
        let Some(keys) = keys else { return self.numbered().map(|(number, _)| number).collect() };
        let of_key = |&key: &u32| self.by_key.range((key, 0)..=(key, u64::MAX)).map(|&(_, number)| number);
        keys.iter().flat_map(of_key).chain(self.of_any_key.iter().copied()).collect()
    }

    /// Those that wait, in the order in which they were sent first.
    pub fn waiting(&self) -> impl Iterator<Item = &Waiting> {
        self.entries.values().filter_map(|entry| entry.waiting.as_ref())
    }

    /// The one with this number, if it waits.
    pub fn waiting_as(&self, number: u64) -> Option<&Waiting> {
        self.entries.get(&number)?.waiting.as_ref()
    }

    /// The same, with their numbers.
    pub fn numbered(&self) -> impl Iterator<Item = (u64, &Waiting)> {
        self.entries.iter().filter_map(|(&number, entry)| Some((number, entry.waiting.as_ref()?)))
    }

    /// True exactly when none waits.
    pub fn is_idle(&self) -> bool {
        self.waiting().next().is_none()
    }
}

/// All that is redirected.
#[derive(Debug, Default)]
pub(super) struct Redirected {
    lines: BTreeMap<Id, Line>,
    next_number: u64,
    count: usize,
    /// What the account of memory has for it, in bytes.
    charged: usize,
    /// Slots that are being moved, and until when they are taken to be.
    moving: BTreeMap<u16, Millis>,
    /// Owners of slots at addresses that no server has yet.
    named: Vec<(u16, Box<str>)>,
    /// Transactions that will wait, or be told why not, when their last request is answered.
    pub unqueued: AllUnqueued,
    /// When all of it is looked at.
    pub look: Look,
}

impl Redirected {
    /// True exactly when nothing is redirected, or about to be, and nobody is named.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.size() == 0
    }

    /// 0 exactly when it is empty.
    #[inline]
    pub fn size(&self) -> usize {
        self.lines.len() | self.named.len() | self.unqueued.count()
    }

    /// How many requests wait.
    pub fn count(&self) -> usize {
        self.count
    }

    /// What the account of memory has for them, in bytes.
    pub fn charged(&self) -> usize {
        self.charged
    }

    /// The clients of all lines.
    pub fn clients(&self) -> Vec<Id> {
        self.lines.keys().copied().collect()
    }

    /// What is redirected of this client.
    pub fn line(&self, client: Id) -> Option<&Line> {
        self.lines.get(&client)
    }

    /// A request of this client was not run, and waits: in its old place if it was sent again, or behind all others.
    pub fn push(&mut self, client: Id, server: ServerId, waiting: Waiting, arena: &mut Arena) {
        let held = waiting.held();
        self.count += 1;
        self.charged += held;
        arena.charge(held);
        let line = self.lines.entry(client).or_insert_with(|| Line::new(server));
        line.server = server;
        let request = waiting.request;
        let number = *line.numbers.entry(request).or_insert(self.next_number);
        self.next_number += u64::from(number == self.next_number);
        line.note(number, waiting.keys.as_deref(), true);
        let entry = line.entries.entry(number).or_insert(Entry { request, tries: 0, waiting: None });
        debug_assert!(entry.waiting.is_none(), "it waits already");
        (entry.tries, entry.waiting) = (entry.tries.saturating_add(1), Some(waiting));
    }

    /// How often this request of a client was not run so far.
    pub fn tries(&self, client: Id, request: RequestId) -> u8 {
        let line = self.lines.get(&client);
        let entry = line.and_then(|line| line.entries.get(line.numbers.get(&request)?));
        entry.map_or(0, |entry| entry.tries)
    }

    /// Takes out the one with this number. `is_sent` if it is sent; then it keeps its number.
    pub fn take(&mut self, client: Id, number: u64, is_sent: bool, arena: &mut Arena) -> Option<Waiting> {
        let line = self.lines.get_mut(&client)?;
        let waiting = line.entries.get_mut(&number)?.waiting.take()?;
        line.note(number, waiting.keys.as_deref(), false);
        if !is_sent {
            line.entries.remove(&number);
            line.numbers.remove(&waiting.request);
        }
        let held = waiting.held();
        self.count -= 1;
        self.charged -= held;
        arena.uncharge(held);
        Some(waiting)
    }

    /// One that was to be sent is not: no connection takes it now.
    pub fn put_back(&mut self, client: Id, number: u64, waiting: Waiting, arena: &mut Arena) {
        let has_place = |line: &&mut Line| line.entries.contains_key(&number);
        let Some(line) = self.lines.get_mut(&client).filter(has_place) else { return };
        line.note(number, waiting.keys.as_deref(), true);
        let Some(entry) = line.entries.get_mut(&number) else { return };
        let held = waiting.held();
        self.count += 1;
        self.charged += held;
        arena.charge(held);
        entry.waiting = Some(waiting);
    }

    /// Everything of this client that was sent is answered, or waits again: what was answered is forgotten.
    pub fn forget_answered(&mut self, client: Id) {
        if let Some(line) = self.lines.get_mut(&client) {
            line.entries.retain(|_, entry| entry.waiting.is_some());
            line.numbers = line.entries.iter().map(|(&number, entry)| (entry.request, number)).collect();
        }
    }

    /// Nothing of this client is redirected any more.
    pub fn remove(&mut self, client: Id, arena: &mut Arena) {
        let Some(line) = self.lines.remove(&client) else { return };
        for waiting in line.entries.into_values().filter_map(|entry| entry.waiting) {
            let held = waiting.held();
            self.count -= 1;
            self.charged -= held;
            arena.uncharge(held);
        }
    }

    /// Whether this slot is being moved, as far as anybody has said so of late.
    pub fn is_moving(&self, slot: u16, now: Millis) -> bool {
        self.moving.get(&slot).is_some_and(|&until| until > now)
    }

    /// A node has said that this slot is being moved.
    pub fn on_moving(&mut self, slot: u16, now: Millis) {
        self.moving.retain(|_, until| *until > now);
        self.moving.insert(slot, now + MOVING_MS);
    }

    /// A node has said that this slot has its owner at this address, which no server has yet.
    pub fn on_named(&mut self, slot: u16, address: &str) {
        if !self.named.iter().any(|(other, known)| *other == slot && **known == *address) {
            self.named.push((slot, address.into()));
        }
    }

    /// All that was said so.
    pub fn take_named(&mut self) -> Vec<(u16, Box<str>)> {
        std::mem::take(&mut self.named)
    }

    /// How many lines there are.
    pub fn lines(&self) -> usize {
        self.lines.len()
    }
}
