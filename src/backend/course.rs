//! What has come of the transaction that a client builds on a backend of its own, a node of a cluster: whether keys are
//! watched, and whether the node has refused anything for which that must be known when `EXEC` is answered.
//!
//! It outlives the transaction of the client, which is over as soon as its `EXEC` is sent, and ends with the lease.

use super::Backend;

/// What has come of it so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Course {
    /// How often keys were watched.
    watches: u32,
    /// True once what is watched may have changed without the node saying so: its slot is another node's.
    is_touched: bool,
    /// True once a step was refused for what is wrong with it.
    is_faulty: bool,
    /// True once its `EXEC` was sent.
    is_ended: bool,
    /// True once another one has begun before that was answered: of whom a reply speaks is not known then.
    is_mixed: bool,
}

impl Course {
    /// True exactly when keys are watched.
    pub fn is_watching(self) -> bool {
        self.watches > 0 && !self.is_mixed
    }

    /// True exactly when nothing was watched before the last `WATCH`.
    pub fn is_first_watch(self) -> bool {
        self.watches == 1 && !self.is_mixed
    }

    /// True once what is watched may have changed.
    pub fn is_touched(self) -> bool {
        self.is_touched && self.is_watching()
    }

    /// True once its `EXEC` was sent: what was refused before may have been in force no longer, and all of it run.
    pub fn is_ended(self) -> bool {
        self.is_ended
    }

    /// True once a step was refused for what is wrong with it.
    pub fn is_faulty(self) -> bool {
        self.is_faulty
    }
}

impl Backend {
    /// What has come of the transaction that is built here, if one is.
    pub fn course(&self) -> Course {
        self.course
    }

    /// Its owner watches keys here.
    pub fn on_watch(&mut self) {
        self.course.is_mixed |= self.course.is_ended;
        self.course.watches += 1;
    }

    /// What is watched here may have changed.
    pub fn on_touched(&mut self) {
        self.course.is_touched = true;
    }

    /// A step was refused for what is wrong with it.
    pub fn on_faulty(&mut self) {
        self.course.is_faulty = true;
    }

    /// The `EXEC` was sent.
    pub fn on_exec(&mut self) {
        self.course.is_ended = true;
    }
}
