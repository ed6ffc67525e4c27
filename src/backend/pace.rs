//! How fast connections to one server are made: a token bucket.
//!
//! ```text
//!   one more in each 1/rate s ─► [ at most `burst` tokens ] ─► one for each connection that is begun
//! ```
//!
//! A server that starts again, or an rmux that does, has its pool connected at once: that is what pools are small for.
//! What is bounded is all beyond that, such as a server that takes connections and drops them, so that its clients
//! would have one handshake for each request; with TLS that costs more than the requests. So the bucket holds as much
//! as the pool, or a second's worth where that is less, and nobody who loses his connections once will ever notice it.
//! Who finds no token waits in line as for any other connection, and gets an error after `remoteConnectTimeout`.
//!
//! A probe, and a connection that hears messages, are few and have a pace of their own: they do not wait, and are
//! counted all the same, by one token more than there are at the most.
//!
//! Knows no connections and no clock. Invariant: with `rate` tokens a second no more than `burst + 1 + rate × t` are
//! taken in a time of t seconds by those who wait for them.

use crate::timer::Millis;

/// The bucket of one server.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// From one token to the next, in µs; 0: there is no end of them.
    interval_us: u64,
    /// How many tokens it holds at the most.
    burst: u64,
    /// When it is full, if nothing more is taken, in µs.
    full_at_us: u64,
}

impl Pace {
    /// A full bucket of this many tokens, to which so many are added in a second; 0: there is no end of them.
    pub fn new(per_second: usize, burst: usize) -> Pace {
        let mut pace = Pace { interval_us: 0, burst: 1, full_at_us: 0 };
        pace.set(per_second, burst);
        pace
    }

    /// From here on these hold. What is missing stays missing.
    pub fn set(&mut self, per_second: usize, burst: usize) {
        self.interval_us = 1_000_000_u64.checked_div(per_second as u64).unwrap_or(0);
        self.burst = burst.min(per_second).max(1) as u64;
    }

    /// A connection is begun.
    pub fn take(&mut self, now: Millis) {
        let now_us = now.0 * 1000;
        let full_at_us = self.full_at_us.max(now_us) + self.interval_us;
        self.full_at_us = full_at_us.min(now_us + (self.burst + 1) * self.interval_us);
    }

    /// From then on there is a token.
    pub fn ready_at(&self) -> Millis {
        let without_one_us = (self.burst - 1) * self.interval_us;
        match self.interval_us {
            0 => Millis(0),
            _ => Millis(self.full_at_us.saturating_sub(without_one_us).div_ceil(1000)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When those begin who wait for nothing but a token, within a second.
    fn begun(pace: &mut Pace, from: u64) -> Vec<u64> {
        let mut begun = Vec::new();
        for now in from..from + 1000 {
            while pace.ready_at() <= Millis(now) {
                pace.take(Millis(now));
                begun.push(now - from);
                assert!(begun.len() < 10_000);
            }
        }
        begun
    }

    #[test]
    fn a_pool_is_connected_at_once_and_then_one_after_the_other() {
        let mut pace = Pace::new(10, 4);
        assert_eq!(begun(&mut pace, 5_000), [0, 0, 0, 0, 100, 200, 300, 400, 500, 600, 700, 800, 900]);
        assert_eq!(begun(&mut pace, 6_000).len(), 10);
        // Who was quiet for a while has a full bucket, and no more.
        assert_eq!(begun(&mut pace, 60_000).len(), 13);
    }

    #[test]
    fn a_bucket_holds_no_more_than_comes_in_a_second() {
        assert_eq!(begun(&mut Pace::new(2, 50), 0), [0, 0, 500]);
        assert_eq!(begun(&mut Pace::new(1, 50), 0), [0]);
    }

    #[test]
    fn who_does_not_wait_makes_the_others_wait_for_one_token_and_not_for_all() {
        let mut pace = Pace::new(10, 2);
        for now in 0..1_000 {
            pace.take(Millis(now));
        }
        assert_eq!(pace.ready_at(), Millis(999 + 200));
    }

    #[test]
    fn without_a_rate_nobody_waits_and_another_one_holds_at_once() {
        let mut pace = Pace::new(0, 4);
        (0..1_000).for_each(|_| pace.take(Millis(7)));
        assert_eq!(pace.ready_at(), Millis(0));
        pace.set(1, 1);
        pace.take(Millis(7));
        assert_eq!(pace.ready_at(), Millis(1_007));
        pace.set(100, 1);
        assert!(pace.ready_at() <= Millis(1_007));
        pace.set(0, 1);
        assert_eq!(pace.ready_at(), Millis(0));
    }
}
