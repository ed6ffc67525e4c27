//! How the reloads of this process have gone, for whoever shows it.
//!
//! The main thread writes, any thread may read; nobody waits for longer than it takes to copy a few values.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// How the reloads have gone: one value, shared by its clones.
#[derive(Debug, Clone)]
pub struct ReloadStatus(Arc<Mutex<Reloads>>);

/// What is known at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloads {
    /// When the last one ended; before the first one, the start.
    pub at: SystemTime,
    /// Whether the last one was taken up; before the first one, true.
    pub is_ok: bool,
    /// How many were taken up, those that changed nothing among them.
    pub succeeded: u64,
    /// How many were refused.
    pub failed: u64,
    /// What the last one changed, or why it was refused: one line; "" before the first one.
    pub text: String,
}

impl ReloadStatus {
    /// That of a process that starts now.
    pub fn new() -> ReloadStatus {
        let reloads = Reloads { at: SystemTime::now(), is_ok: true, succeeded: 0, failed: 0, text: String::new() };
        ReloadStatus(Arc::new(Mutex::new(reloads)))
    }

    /// What is known now.
    pub fn now(&self) -> Reloads {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One more has ended.
    pub(super) fn on_reloaded(&self, is_ok: bool, text: &str) {
        let mut reloads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reloads.at = SystemTime::now();
        reloads.is_ok = is_ok;
        *if is_ok { &mut reloads.succeeded } else { &mut reloads.failed } += 1;
        reloads.text = text.to_owned();
    }
}

impl Default for ReloadStatus {
    fn default() -> ReloadStatus {
        ReloadStatus::new()
    }
}
