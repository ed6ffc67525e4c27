//! The journal: what this proxy did, and what the log is to be told of it.

use crate::notice::Notices;
use crate::stats::ProxyStats;
use crate::timer::Millis;

/// What is told to those who ask.
#[derive(Debug)]
pub(super) struct Journal {
    /// When the proxy was made.
    pub started: Millis,
    pub stats: ProxyStats,
    /// What the log is to be told.
    pub notices: Notices,
}

impl Journal {
    /// Nothing has happened yet.
    pub fn new(now: Millis) -> Journal {
        Journal { started: now, stats: ProxyStats::default(), notices: Notices::default() }
    }
}
