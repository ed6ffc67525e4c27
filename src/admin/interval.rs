//! What happened between two reports: the differences of their counters, of one pool or of all.
//!
//! A pool that the older report has not is new, and all that it counted counts; so is every pool of another
//! process. What
//! a thread did that was silent counts when it answers again. No difference is less than nothing.

use super::report::{PoolReport, Report};
use crate::stats::{ErrorCodes, Figures, Histogram, ServerFigures, ServerStats};

/// What happened in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Interval {
    /// How long it took, in milliseconds.
    pub ms: u64,
    /// Clients that connected.
    pub accepted: u64,
    /// Requests, of all classes.
    pub requests: u64,
    /// Connections to servers that were lost.
    pub lost: u64,
    /// Connections to servers that could not be made.
    pub failures: u64,
    /// Requests that a server did not answer in time.
    pub timeouts: u64,
    /// Errors that servers replied.
    pub server_errors: ErrorCodes,
    /// Errors that rmux replied.
    pub own_errors: ErrorCodes,
    /// How long requests waited until they were queued for a server.
    pub waits: Histogram,
    /// How long servers took for them.
    pub durations: Histogram,
    /// Bytes that clients sent.
    pub bytes_in: u64,
    /// Bytes that they got.
    pub bytes_out: u64,
}

impl Interval {
    /// Of all pools together.
    pub fn between(before: &Report, now: &Report) -> Interval {
        let mut sum = Interval::default();
        for pool in &now.pools {
            sum.add(&Interval::of_pool(before, now, pool));
        }
        sum.ms = ms_between(before, now);
        sum
    }

    /// Of one pool of the newer report.
    pub fn of_pool(before: &Report, now: &Report, pool: &PoolReport) -> Interval {
        let ms = ms_between(before, now);
        let none = PoolReport::default();
        // Another process has counters of its own.
        let is_same = before.started_unix_ms == now.started_unix_ms;
        let older = before.pools.iter().find(|older| is_same && older.listen == pool.listen).unwrap_or(&none);
        let (old, new) = (&older.figures, &pool.figures);
        let of_servers = |count: fn(&ServerStats) -> u64| since(of_servers(new, count), of_servers(old, count));
        Interval {
            ms,
            accepted: since(new.stats.clients, old.stats.clients),
            requests: since(new.stats.requests.iter().sum(), old.stats.requests.iter().sum()),
            lost: of_servers(|stats| stats.lost),
            failures: of_servers(|stats| stats.failures.iter().sum()),
            timeouts: of_servers(|stats| stats.timeouts),
            server_errors: new.stats.errors.since(&old.stats.errors),
            own_errors: new.stats.own_errors.since(&old.stats.own_errors),
            waits: new.waits.since(&old.waits),
            durations: new.durations.since(&old.durations),
            bytes_in: since(new.stats.bytes.from_clients, old.stats.bytes.from_clients),
            bytes_out: since(new.stats.bytes.to_clients, old.stats.bytes.to_clients),
        }
    }

    /// So many of something in it, as so many in a second; rounded up, so that something is never nothing.
    pub fn per_second(&self, count: u64) -> u64 {
        count.saturating_mul(1000).div_ceil(self.ms.max(1))
    }

    fn add(&mut self, other: &Interval) {
        self.accepted += other.accepted;
        self.requests += other.requests;
        self.lost += other.lost;
        self.failures += other.failures;
        self.timeouts += other.timeouts;
        self.server_errors.add(&other.server_errors);
        self.own_errors.add(&other.own_errors);
        self.waits.add(&other.waits);
        self.durations.add(&other.durations);
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
    }
}

/// What `report`'s process was when it started: to be subtracted where there is no older report.
pub fn start_of(report: &Report) -> Report {
    let start = report.started_unix_ms;
    Report { unix_ms: start, started_unix_ms: start, ..Report::default() }
}

/// The last reports, for who shows rates to whoever comes: the one to be compared with is a second old at
/// least, however
/// many ask.
#[derive(Debug, Default)]
pub struct Recent {
    older: Option<Report>,
    newer: Option<Report>,
}

impl Recent {
    /// Keeps this report, and returns the older one to compare it with, if there is any.
    pub fn before(&mut self, now: &Report) -> Option<&Report> {
        let is_old = |report: &Report| ms_between(report, now) >= 1_000;
        if self.newer.as_ref().is_none_or(is_old) {
            self.older = self.newer.replace(now.clone());
        }
        self.older.as_ref()
    }
}

/// What one server was given between the reports: the requests.
pub fn requests_of(before: &Report, now: &Report, pool: &PoolReport, place: usize) -> u64 {
    let is_same = before.started_unix_ms == now.started_unix_ms;
    let none = PoolReport::default();
    let older = before.pools.iter().find(|older| is_same && older.listen == pool.listen).unwrap_or(&none);
    let address = &pool.figures.addresses[place];
    // A server may stand twice in a pool: then it has its place, or there was a reload.
    let is_same = |&older_place: &usize| older.figures.addresses.get(older_place) == Some(address);
    let older_place = Some(place).into_iter().chain(0..older.figures.addresses.len()).find(is_same);
    let old = older_place.map_or(0, |older_place| older.figures.servers[older_place].stats.requests);
    since(pool.figures.servers[place].stats.requests, old)
}

fn ms_between(before: &Report, now: &Report) -> u64 {
    since(now.unix_ms, before.unix_ms)
}

fn since(new: u64, old: u64) -> u64 {
    new.saturating_sub(old)
}

fn of_servers(figures: &Figures, count: fn(&ServerStats) -> u64) -> u64 {
    figures.servers.iter().map(|server: &ServerFigures| count(&server.stats)).sum()
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn counters_are_subtracted_pool_by_pool() {
        let (before, now) = (sample::report_before(), sample::report());
        let sum = Interval::between(&before, &now);
        assert_eq!((sum.ms, sum.accepted, sum.requests, sum.lost), (2000, 30, 4_010, 2));
        assert_eq!((sum.failures, sum.timeouts, sum.bytes_in, sum.bytes_out), (5, 3, 100_000, 900_000));
        assert_eq!(sum.own_errors.iter().collect::<Vec<_>>(), [("ERR", 7)]);
        assert_eq!((sum.per_second(4_010), sum.per_second(1), sum.per_second(0)), (2_005, 1, 0));
        assert_eq!((sum.waits.count(), sum.durations.count()), (2_010, 4_000));
        let rates: Vec<u64> = (0..2).map(|place| requests_of(&before, &now, &now.pools[0], place)).collect();
        assert_eq!(rates, [3_000, 1_000]);
        assert_eq!(Interval::between(&now, &now).requests, 0);
        assert_eq!(Interval::between(&now, &before).requests, 0, "it never goes below nothing");
    }

    #[test]
    fn a_new_pool_counts_whole_and_one_that_is_gone_not_at_all() {
        let (mut before, mut now) = (sample::report_before(), sample::report());
        before.pools.remove(0);
        let all = Interval::between(&before, &now);
        assert!(all.requests > 100_000, "{all:?}");
        assert_eq!(requests_of(&before, &now, &now.pools[0], 0), 93_000);
        now.pools.remove(0);
        assert_eq!(Interval::between(&sample::report_before(), &now).requests, 10);
    }

    #[test]
    fn who_asks_often_is_told_of_a_second_at_least() {
        let mut recent = Recent::default();
        let at = |unix_ms| Report { unix_ms, ..Report::default() };
        let compared = [1_000, 1_001, 2_000, 2_500, 2_999, 3_000, 9_000].map(|unix_ms| {
            let now = at(unix_ms);
            recent.before(&now).map(|before| before.unix_ms)
        });
        assert_eq!(compared, [None, None, Some(1_000), Some(1_000), Some(1_000), Some(2_000), Some(3_000)]);
    }

    #[test]
    fn another_process_has_counted_by_itself() {
        let (before, mut now) = (sample::report_before(), sample::report());
        now.started_unix_ms += 1;
        assert!(Interval::between(&before, &now).requests > 100_000);
        assert_eq!(requests_of(&before, &now, &now.pools[0], 0), 93_000);
    }
}
