//! Another process of this program takes over: how far that has come, seen from the one that runs.
//!
//! ```text
//!   begin ─► an upgrade is under way ─► taken over: the successor is watched for as long as this process has clients
//!                     └─► failed: one line, and all is as before
//! ```
//!
//! Knows no pools: what they do about it is the main thread's business.

use std::io;
use std::process::Child;
use std::time::{Duration, Instant};

use crate::service::Manager;
use crate::service::upgrade::{Passed, Upgrade};

/// From one look at the other process to the next: nothing rings when it says something, or ends.
const LOOK: Duration = Duration::from_millis(5);
const LATE_LOOK: Duration = Duration::from_millis(500);

/// How far it has come.
#[derive(Debug, Default)]
pub(super) struct Succession {
    upgrade: Option<Upgrade>,
    successor: Option<Child>,
    /// When this process ends, too, since that has failed.
    end_at: Option<Instant>,
}

impl Succession {
    /// What stands in the way of another upgrade, if anything does.
    pub fn hindrance(&self) -> Option<&'static str> {
        match () {
            () if self.upgrade.is_some() => Some("an upgrade is under way"),
            () if self.successor.is_some() => Some("another process has taken over"),
            () => None,
        }
    }

    /// Starts another process, and passes these sockets on.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn begin(&mut self, passed: &[Passed], manager: &Manager) -> io::Result<()> {
        self.upgrade = Some(Upgrade::start(passed, manager)?);
        Ok(())
    }

    /// When to look at it again, at the latest.
    pub fn patience(&self) -> Option<Duration> {
        match self.upgrade {
            Some(_) => Some(LOOK),
            None => self.successor.as_ref().map(|_| LATE_LOOK),
        }
    }

    /// Looks at the other process. Once, it has just taken over: that is its number; or why it has not.
    pub fn look(&mut self, manager: &Manager) -> Option<Result<u32, String>> {
        let outcome = self.upgrade.as_mut()?.poll(manager)?;
        let upgrade = self.upgrade.take();
        if outcome.is_ok() {
            self.successor = upgrade.map(Upgrade::into_child);
        }
        Some(outcome)
    }

    /// True once another process has taken over.
    pub fn has_successor(&self) -> bool {
        self.successor.is_some()
    }

    /// Looks at the process that has taken over.
    ///
    /// # Errors
    ///
    /// When it has failed: nobody accepts clients then, and whoever supervises this process is to start it anew. A
    /// service manager goes by how its main process ends, so it is told that this is the one again, and has some time
    /// to hear it.
    pub fn check(&mut self, manager: &Manager) -> io::Result<()> {
        let Some(successor) = &mut self.successor else { return Ok(()) };
        let Some(status) = successor.try_wait()?.filter(|status| !status.success()) else { return Ok(()) };
        let end_at = *self.end_at.get_or_insert_with(|| {
            manager.tell_main_process(std::process::id());
            Instant::now() + LATE_LOOK
        });
        match end_at <= Instant::now() {
            true => Err(io::Error::other(format!("the process that has taken over has ended: {status}"))),
            false => Ok(()),
        }
    }

    /// Ends the other process, unless it has taken over. True if there was one.
    pub fn give_up(&mut self, manager: &Manager) -> bool {
        self.upgrade.take().is_some_and(|mut upgrade| {
            upgrade.end(manager);
            true
        })
    }
}
