//! The journal: what this proxy did, and what the log is to be told of it.

use std::collections::VecDeque;
use std::sync::Arc;

use log::Level;

use crate::cluster::Refreshes;
use crate::notice::Notices;
use crate::slow_log::SlowLog;
use crate::stats::{Histogram, LOCAL, Longest, ProxyStats, WRITE};
use crate::timer::Millis;

/// What is told to those who ask.
#[derive(Debug)]
pub(super) struct Journal {
    /// When the proxy was made.
    pub started: Millis,
    pub stats: ProxyStats,
    /// Requests that were given to servers, whole.
    pub requests: u64,
    /// What the log is to be told.
    pub notices: Notices,
    /// What it was told last, and when, the oldest first.
    pub events: VecDeque<(Millis, Level, String)>,
    /// How long clients waited for a connection.
    pub waits: Histogram,
    /// The longest of these waits.
    pub longest_wait: Longest,
    /// The longest turns of the loop.
    pub longest_turn: Longest,
    /// How often nodes of the pool's cluster were asked who has which slot.
    pub refreshes: Arc<Refreshes>,
    /// The requests that took longest.
    pub slow_log: SlowLog,
    /// What the clock of the day showed when the proxy's own was at 0, in milliseconds since 1970.
    pub unix_ms: u64,
}

/// So many lines of the log are kept for those who ask.
const EVENTS_MAX: usize = 20;

impl Journal {
    /// Nothing has happened yet.
    pub fn new(now: Millis) -> Journal {
        Journal {
            started: now,
            stats: ProxyStats::default(),
            requests: 0,
            notices: Notices::default(),
            events: VecDeque::new(),
            waits: Histogram::default(),
            longest_wait: Longest::default(),
            longest_turn: Longest::default(),
            refreshes: Arc::default(),
            slow_log: SlowLog::default(),
            unix_ms: 0,
        }
    }

    /// So many requests were given to servers, some of which are no reads.
    #[inline]
    pub fn count_requests(&mut self, count: usize, others: usize) {
        self.requests += count as u64;
        self.stats.requests[WRITE] += others as u64;
    }

    /// rmux answers a request itself, with this.
    pub fn count_own_reply(&mut self, reply: &[u8]) {
        self.stats.requests[LOCAL] += 1;
        if reply.first() == Some(&b'-') {
            self.stats.own_errors.count(reply);
        }
    }

    /// A client has waited for a connection for so long, in milliseconds.
    pub fn on_waited(&mut self, ms: u64, now: Millis) {
        // In the middle of a millisecond.
        let us = 1000 * ms + 500;
        self.waits.record(1, u32::try_from(us).unwrap_or(u32::MAX));
        self.longest_wait.record(us, now.0);
    }

    /// The log is told this.
    pub fn remember(&mut self, level: Level, line: &str, now: Millis) {
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back((now, level, line.to_owned()));
    }
}
