//! When requests in flight were queued: not one by one, but as many together as were queued in one turn.
//!
//! ```text
//!   in flight    [GET a][GET b][GET c]  [GET d]        [SET e][SET f]
//!   batches      └── 3 at 1,250 µs ──┘  └ 1 at 1,900 ┘  not counted yet: they are when they are sent
//! ```
//!
//! Knows counts and a clock of µs that begins anew after 71 minutes; what becomes of a request is not its business.
//! Invariant: `counted` is the sum of all batches, and, once a turn is over, how many requests are in
//! flight.

use std::collections::VecDeque;

use crate::stats::Measured;

/// The batches of one backend, the first one first.
#[derive(Debug, Default)]
pub(super) struct Batches {
    /// How many requests, and when; nearly always the only one.
    first: (u32, u32),
    /// None as long as `first` is of 0.
    later: VecDeque<(u32, u32)>,
    counted: u32,
    /// So many of the first ones are answered, and not recorded yet.
    answered: u32,
}

impl Batches {
    /// So many are in flight, all that were answered are recorded, and those that were not counted yet are queued now.
    #[inline]
    pub fn count(&mut self, in_flight: usize, clock_us: u32) {
        let in_flight = in_flight as u32;
        if self.counted == 0 {
            (self.first, self.counted) = ((in_flight, clock_us), in_flight);
        } else if self.counted != in_flight {
            self.count_more(in_flight, clock_us);
        }
    }

    #[inline(never)]
    fn count_more(&mut self, in_flight: u32, clock_us: u32) {
        // Those that are answered are in flight no more, and still counted.
        let counted = self.counted - self.answered.min(self.counted);
        if in_flight < counted {
            // Some have gone elsewhere; it happens where nothing was sent, so all are as good as new.
            *self = Batches { first: (in_flight, clock_us), counted: in_flight, ..Batches::default() };
        } else if in_flight > counted {
            self.later.push_back((in_flight - counted, clock_us));
            self.counted += in_flight - counted;
        }
    }

    /// So many more of the first ones are answered.
    #[inline]
    pub fn answer(&mut self, count: u32) {
        self.answered += count;
    }

    /// Records those that are answered.
    #[inline]
    pub fn record(&mut self, measured: &mut Measured) {
        if self.answered == self.counted && self.first.0 == self.counted {
            measured.durations.record(self.counted, measured.clock_us.wrapping_sub(self.first.1));
            (self.first.0, self.counted, self.answered) = (0, 0, 0);
        } else if self.answered > 0 {
            self.record_each(measured);
        }
    }

    #[inline(never)]
    fn record_each(&mut self, measured: &mut Measured) {
        while self.answered > 0 {
            let (taken, us) = self.take(self.answered, measured.clock_us);
            measured.durations.record(taken, us);
            self.answered -= taken;
        }
    }

    /// The first one is in flight no more, and not to be recorded.
    pub fn skip(&mut self, measured: &mut Measured) {
        self.record(measured);
        self.take(1, 0);
    }

    /// So many of the first ones are taken out, or fewer: as many as were queued together. And how long ago that was.
    fn take(&mut self, count: u32, clock_us: u32) -> (u32, u32) {
        let taken = count.min(self.first.0);
        if taken == 0 {
            return (count, 0);
        }
        let since_us = self.first.1;
        self.counted -= taken;
        self.first.0 -= taken;
        if self.first.0 == 0 {
            if let Some(next) = self.later.pop_front() {
                self.first = next;
            }
        }
        (taken, clock_us.wrapping_sub(since_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_as_old_as_its_batch() {
        let mut batches = Batches::default();
        let mut measured = Measured::default();
        let mut answer = |batches: &mut Batches, count: u32, clock_us: u32| {
            measured.clock_us = clock_us;
            let before = measured.durations;
            batches.answer(count);
            batches.record(&mut measured);
            (measured.durations.count() - before.count(), measured.durations.sum_us() - before.sum_us())
        };
        batches.count(3, 1_250);
        batches.count(3, 1_300);
        batches.count(4, 1_900);
        assert_eq!(answer(&mut batches, 2, 2_000), (2, 2 * 750));
        assert_eq!(answer(&mut batches, 2, 2_000), (2, 750 + 100), "one of each batch");
        assert_eq!(answer(&mut batches, 7, 2_000), (7, 0), "what was not counted has only just come");
        batches.count(2, u32::MAX);
        assert_eq!(answer(&mut batches, 1, 9), (1, 10), "the clock begins anew");
        batches.count(0, 50);
        batches.count(1, 60);
        assert_eq!(answer(&mut batches, 1, 70), (1, 10), "what went elsewhere is forgotten");
        batches.count(3, 80);
        batches.answer(1);
        batches.count(4, 90);
        assert_eq!(answer(&mut batches, 1, 100), (2, 40), "what is answered is counted until it is recorded");
        batches.skip(&mut Measured::default());
        assert_eq!(answer(&mut batches, 2, 100), (2, 20), "one was left out");
    }
}
