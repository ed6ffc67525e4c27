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
//! Invariants: it is begun only where it is leased, and never once it is touched; what is begun has no early steps;
//! only one that is `is_multi`, or whose lease was lost, is broken.

use super::affinity::Leased;
use crate::command::Channels;
use crate::server_id::ServerId;
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
    /// True once what it watches may have changed where nobody sees it: `EXEC` will say so, and nothing is run.
    is_touched: bool,
    /// The slots of the keys that it watches in a cluster, each once; `ANY_SLOT` stands for all others.
    watched: Vec<u16>,
    /// The server that has its slot still, if it is leased at the one to which that is on its way.
    instead_of: Option<ServerId>,
    /// How many steps the server was given to queue.
    steps: usize,
    /// How many steps ask about the whole pool.
    pool_steps: usize,
    /// Those of them that are about the client's session, in their order.
    local_steps: Vec<LocalStep>,
    /// Steps before a key has said which server will queue them.
    early_steps: Vec<EarlyStep>,
}

/// Slots that are told apart by one transaction.
const WATCHED_MAX: usize = 64;
/// A slot that nobody has.
const ANY_SLOT: u16 = u16::MAX;

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

    /// It watches a key of this slot of a cluster, at the node to which the slot is on its way if that is `instead_of`
    /// another one.
    pub fn watch(&mut self, slot: u16, instead_of: Option<ServerId>) {
        let slot = if self.watched.len() < WATCHED_MAX { slot } else { ANY_SLOT };
        if !self.watched.contains(&slot) {
            self.watched.push(slot);
        }
        self.instead_of = instead_of.or(self.instead_of);
    }

    /// The slots of what it watches in a cluster.
    pub fn watched(&self) -> &[u16] {
        &self.watched
    }

    /// The server that has its slot still, if it is leased at the one to which that is on its way.
    pub fn instead_of(&self) -> Option<ServerId> {
        self.instead_of
    }

    /// Whether what goes to this server goes where it is leased.
    pub fn is_leased_at(&self, server: ServerId) -> bool {
        self.leased.is_some_and(|leased| leased.server == server || self.instead_of == Some(server))
    }

    /// The server has queued nothing, since it does not have the key of the first step: it is begun anew, elsewhere.
    /// False if more was sent than that step.
    pub fn begin_again(&mut self) -> bool {
        let is_first = self.is_multi && self.is_begun && !self.is_broken && self.steps == 1 && self.kept_steps() == 0;
        if is_first {
            (self.leased, self.is_begun, self.steps, self.instead_of) = (None, false, 0, None);
        }
        is_first
    }

    /// It is leased at the node to which its slot is on its way, and this server has that still.
    pub fn lease_instead_of(&mut self, server: ServerId) {
        self.instead_of = Some(server);
    }

    /// What it watches may have changed where nobody sees it. It has no server from here on; returns what was leased.
    pub fn touch(&mut self) -> Option<Leased> {
        (self.is_touched, self.is_begun, self.instead_of) = (true, false, None);
        self.leased.take()
    }

    /// True once what it watches may have changed where nobody sees it.
    pub fn is_touched(&self) -> bool {
        self.is_touched
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
