//! The transaction of a client: what it has said since `MULTI`, or what it watches.
//!
//! Owns the steps that rmux keeps or has a part in, and their count; the others are at the server. Knows no bytes of
//! replies, and whose lease it is only as a value.
//!
//! ```text
//!   WATCH ─► leased                          MULTI ─► is_multi ─► a step with a key: leased, is_begun ─► EXEC
//!                                                        └─► steps before that: early_steps
//! ```
//!
//! Invariants: it is begun only where it is leased; what is begun has no early steps; only one that is `is_multi`, or
//! whose lease was lost, is broken.

use super::affinity::Leased;
use crate::command::Channels;
use crate::slots::Id;

/// A step that any server could queue: what it is sent, and what becomes of that with `EXEC`.
pub type EarlyStep = (Vec<u8>, Option<LocalEffect>);

/// A transaction that arrives step by step, or the keys that are watched for one.
#[derive(Debug, Default)]
pub struct Transaction {
    /// Where all of it goes, once a key has said which server that is.
    leased: Option<Leased>,
    /// The proxy's routing epoch in which a key said so.
    routing_epoch: u32,
    /// True once the client has said `MULTI`.
    is_multi: bool,
    /// True once the server was told `MULTI`.
    is_begun: bool,
    /// True once something was refused, or lost: `EXEC` will not be run.
    is_broken: bool,
    /// How many steps the server was given to queue.
    steps: usize,
    /// How many steps ask about the whole pool.
    pool_steps: usize,
    /// Those of them that are about the client's session, in their order.
    local_steps: Vec<LocalStep>,
    /// Steps before a key has said which server will queue them.
    early_steps: Vec<EarlyStep>,
}

impl Transaction {
    /// The client says `MULTI`. False if it has said so already.
    pub fn on_multi(&mut self) -> bool {
        !std::mem::replace(&mut self.is_multi, true)
    }

    /// All of it goes to this backend from here on, if it does not already; `routing_epoch` is the proxy's.
    pub fn lease(&mut self, leased: Leased, routing_epoch: u32) {
        if self.leased.replace(leased) != Some(leased) {
            self.routing_epoch = routing_epoch;
        }
    }

    /// The server is to be told `MULTI` now, and these steps behind it. `None` if it was told already.
    pub fn begin(&mut self) -> Option<Vec<EarlyStep>> {
        let is_new = !std::mem::replace(&mut self.is_begun, true);
        is_new.then(|| std::mem::take(&mut self.early_steps))
    }

    /// The server was given one step more. Returns its place in the transaction.
    pub fn count_step(&mut self) -> usize {
        self.steps += 1;
        self.steps - 1
    }

    /// rmux has a part in a step that the server was given. Returns the memory that it takes here.
    pub fn note_step(&mut self, step: LocalStep) -> usize {
        let held = step.held();
        self.local_steps.push(step);
        held
    }

    /// A step is kept until a key has said which server will queue it. Returns the memory that it takes here.
    pub fn keep_early(&mut self, step: EarlyStep) -> usize {
        let held = Transaction::held_early(&step);
        self.early_steps.push(step);
        held
    }

    /// The step that was noted, or kept, just now asks about the whole pool.
    pub fn count_pool_step(&mut self) {
        self.pool_steps += 1;
    }

    /// A request is refused: if it was meant as a step, this will not be run.
    pub fn refuse_step(&mut self) {
        self.is_broken |= self.is_multi;
    }

    /// A backend is lost. If it was this one's, the transaction will not be run. Returns what was leased then.
    pub fn lose(&mut self, backend: Id) -> Option<Leased> {
        let leased = self.leased.take_if(|leased| leased.backend == backend)?;
        self.is_begun = false;
        self.is_broken = true;
        Some(leased)
    }

    /// It is run: its steps that rmux has a part in.
    pub fn into_own_steps(self) -> Vec<LocalStep> {
        self.local_steps
    }

    /// Where all of it goes, once a key has said which server that is.
    pub fn leased(&self) -> Option<Leased> {
        self.leased
    }

    /// What is leased, if a key said so in another routing epoch than this.
    pub fn stale_lease(&self, routing_epoch: u32) -> Option<Leased> {
        self.leased.filter(|_| self.routing_epoch != routing_epoch)
    }

    /// True once the client has said `MULTI`.
    pub fn is_multi(&self) -> bool {
        self.is_multi
    }

    /// True once the server was told `MULTI`.
    pub fn is_begun(&self) -> bool {
        self.is_begun
    }

    /// True once something was refused, or lost: `EXEC` will not be run.
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// True exactly when steps are kept until a key has said which server will queue them.
    pub fn has_early_steps(&self) -> bool {
        !self.early_steps.is_empty()
    }

    /// True exactly when rmux has a part in steps that the server was given.
    pub fn has_local_steps(&self) -> bool {
        !self.local_steps.is_empty()
    }

    /// How many steps ask about the whole pool.
    pub fn pool_steps(&self) -> usize {
        self.pool_steps
    }

    /// How many steps are kept here.
    pub fn kept_steps(&self) -> usize {
        self.local_steps.len() + self.early_steps.len()
    }

    /// The memory that its steps take here, in bytes.
    pub fn held_steps(&self) -> usize {
        LocalStep::held_by(&self.local_steps) + self.early_steps.iter().map(Transaction::held_early).sum::<usize>()
    }

    /// The memory that one of the early steps takes, in bytes.
    pub fn held_early((bytes, what): &EarlyStep) -> usize {
        size_of::<EarlyStep>() + bytes.capacity() + what.as_ref().map_or(0, LocalEffect::held)
    }

    /// How many steps are queued, here or at the server.
    pub fn queued(&self) -> usize {
        self.steps + self.early_steps.len()
    }

    /// Bytes of steps that are kept here.
    pub fn held_bytes(&self) -> usize {
        let held: usize = self.local_steps.iter().map(|step| step.what.held()).sum();
        let early = self.early_steps.iter();
        held + early.map(|(bytes, what)| bytes.len() + what.as_ref().map_or(0, LocalEffect::held)).sum::<usize>()
    }
}

/// A step of a transaction that rmux has a part in, though it stands in the server's queue.
#[derive(Debug)]
pub struct LocalStep {
    /// Its place in the transaction, and so in the reply to `EXEC`.
    pub index: usize,
    /// What becomes of it with `EXEC`.
    pub what: LocalEffect,
}

impl LocalStep {
    /// The memory that it takes, in bytes.
    pub fn held(&self) -> usize {
        size_of::<LocalStep>() + self.what.held()
    }

    /// The memory that these steps take, in bytes.
    pub fn held_by(steps: &[LocalStep]) -> usize {
        steps.iter().map(LocalStep::held).sum()
    }
}

/// What becomes of such a step when its transaction is run.
#[derive(Debug)]
pub enum LocalEffect {
    /// The server selects a database; if it does, the session has that one.
    Select(u32),
    /// It is a `PUBLISH`: so many more receive it than the server counts.
    Published(u32),
    /// It asks how many subscribe to channels of this family, and the server does not see all of them.
    Subscribers(Channels),
    /// rmux answers this request, and the server has a `PING` in its place.
    Answer(Box<[u8]>),
}

impl LocalEffect {
    fn held(&self) -> usize {
        if let LocalEffect::Answer(request) = self { request.len() } else { 0 }
    }
}
