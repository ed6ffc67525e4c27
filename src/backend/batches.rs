//! When requests in flight were queued: not one by one, but as many together as were queued in one turn.
//!
//! ```text
//!   in flight    [GET a][GET b][GET c]  [GET d]        [SET e][SET f]
//!   batches      └── 3 at 1,250 µs ──┘  └ 1 at 1,900 ┘  not counted yet: they are when they are sent
//! ```
//!
//! Knows counts and a clock of µs that begins anew after 71 minutes; what becomes of a request is not its business.
//! Who takes requests out of the line, in whatever way, says so here: those that are answered, with `answer`, and those
//! that were answered in one read are recorded at its end.
//!
//! Invariants: `counted` is the sum of all batches, of which only `first` may be of 0, and that only if it is the only
//! one; `answered <= counted`; once a turn is over, `counted` is how many requests are in flight, and `answered` is 0.

use std::collections::VecDeque;

use crate::stats::Measured;

/// The batches of one backend, the first one first.
#[derive(Debug, Default)]
pub(super) struct Batches {
    /// How many requests, and when; nearly always the only one.
    first: (u32, u32),
    later: VecDeque<(u32, u32)>,
    counted: u32,
    /// So many of the first ones are answered, and not recorded yet.
    answered: u32,
}

/// Room for more batches than this is given back when there are none.
const SPARE_MAX: usize = 1024;

impl Batches {
    /// So many are in flight; those that were not counted yet are queued now.
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
        let counted = self.counted - self.answered;
        debug_assert!(in_flight >= counted, "{counted} were counted, and only {in_flight} are in flight");
        let more = in_flight.saturating_sub(counted);
        if more > 0 {
            self.later.push_back((more, clock_us));
            self.counted += more;
        }
    }

    /// So many more of the first ones are answered. They were sent, and so counted.
    #[inline]
    pub fn answer(&mut self, count: u32) {
        self.answered += count;
        debug_assert!(self.answered <= self.counted, "{} of {}", self.answered, self.counted);
    }

    /// Records those that are answered.
    #[inline]
    pub fn record(&mut self, measured: &mut Measured) {
        if self.answered == self.first.0 && self.answered == self.counted {
            measured.durations.record(self.counted, measured.clock_us.wrapping_sub(self.first.1));
            (self.first.0, self.counted, self.answered) = (0, 0, 0);
        } else if self.answered > 0 {
            self.record_each(measured);
        }
    }

    #[inline(never)]
    fn record_each(&mut self, measured: &mut Measured) {
        while self.answered > 0 && self.first.0 > 0 {
            let taken = self.answered.min(self.first.0);
            measured.durations.record(taken, measured.clock_us.wrapping_sub(self.first.1));
            self.answered -= taken;
            self.take(taken);
        }
        self.answered = 0;
    }

    /// The first one that was not answered yet is in flight no more, and not to be recorded.
    pub fn skip(&mut self, measured: &mut Measured) {
        self.record(measured);
        self.take(1);
    }

    /// Of so many in flight the last one leaves, or is to be counted anew. It may not have been counted yet.
    pub fn uncount_last(&mut self, in_flight: usize) {
        if in_flight == 0 || in_flight > self.in_flight() {
            return;
        }
        self.counted -= 1;
        let last = self.later.back_mut().unwrap_or(&mut self.first);
        last.0 -= 1;
        if last.0 == 0 {
            self.later.pop_back();
        }
    }

    /// When the first one was queued that is not recorded yet. Nothing behind it was queued earlier.
    #[inline]
    pub fn oldest_us(&self) -> Option<u32> {
        (self.first.0 > 0).then_some(self.first.1)
    }

    /// How many are in flight by what was counted here.
    pub fn in_flight(&self) -> usize {
        (self.counted - self.answered) as usize
    }

    /// So many of the first batch are taken out, and no more than it has.
    fn take(&mut self, count: u32) {
        let taken = count.min(self.first.0);
        debug_assert_eq!(taken, count, "what was answered was counted");
        self.counted -= taken;
        self.first.0 -= taken;
        if self.first.0 == 0 {
            if let Some(next) = self.later.pop_front() {
                self.first = next;
            } else if self.later.capacity() > SPARE_MAX {
                self.later = VecDeque::new();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many are answered at that time: how many are recorded, and how long they took together.
    fn answer(batches: &mut Batches, count: u32, clock_us: u32) -> (u64, u64) {
        let mut measured = Measured { clock_us, ..Measured::default() };
        batches.answer(count);
        batches.record(&mut measured);
        batches.check();
        (measured.durations.count(), measured.durations.sum_us())
    }

    impl Batches {
        fn check(&self) {
            assert_eq!(self.counted, self.first.0 + self.later.iter().map(|batch| batch.0).sum::<u32>());
            assert!(self.later.iter().all(|batch| batch.0 > 0) && (self.first.0 > 0 || self.later.is_empty()));
            assert!(self.answered <= self.counted);
        }
    }

    #[test]
    fn each_is_as_old_as_its_batch() {
        let mut batches = Batches::default();
        assert_eq!(batches.oldest_us(), None);
        batches.count(3, 1_250);
        batches.count(3, 1_300);
        batches.count(4, 1_900);
        assert_eq!(batches.oldest_us(), Some(1_250));
        assert_eq!(answer(&mut batches, 2, 2_000), (2, 2 * 750));
        assert_eq!(answer(&mut batches, 2, 2_000), (2, 750 + 100), "one of each batch");
        assert_eq!((batches.oldest_us(), batches.in_flight()), (None, 0));
        batches.count(2, u32::MAX);
        assert_eq!(answer(&mut batches, 1, 9), (1, 10), "the clock begins anew");
        batches.count(3, 60);
        assert_eq!(answer(&mut batches, 2, 70), (2, 71 + 10));
        batches.answer(1);
        assert_eq!(batches.in_flight(), 0);
        batches.count(2, 90);
        assert_eq!(batches.in_flight(), 2);
        assert_eq!(answer(&mut batches, 1, 100), (2, 40 + 10), "what is answered is counted until it is recorded");
    }

    #[test]
    fn what_is_answered_for_nobody_is_left_out() {
        let mut batches = Batches::default();
        let mut measured = Measured { clock_us: 100, ..Measured::default() };
        batches.count(2, 10);
        batches.count(4, 20);
        batches.answer(1);
        batches.skip(&mut measured);
        batches.check();
        assert_eq!((measured.durations.count(), measured.durations.sum_us()), (1, 90), "the one before it is recorded");
        batches.skip(&mut measured);
        batches.check();
        assert_eq!(answer(&mut batches, 1, 100), (1, 80));
        assert_eq!(batches.in_flight(), 0);
    }

    #[test]
    fn the_last_one_can_be_counted_anew_or_leave() {
        let mut batches = Batches::default();
        batches.uncount_last(0);
        batches.uncount_last(1);
        batches.count(2, 10);
        batches.uncount_last(3);
        assert_eq!(batches.in_flight(), 2, "it was not counted");
        batches.uncount_last(2);
        batches.check();
        batches.count(2, 50);
        batches.uncount_last(2);
        batches.check();
        batches.count(2, 60);
        assert_eq!(answer(&mut batches, 2, 100), (2, 90 + 40));
        batches.count(1, 110);
        batches.uncount_last(1);
        batches.check();
        assert_eq!((batches.oldest_us(), batches.in_flight()), (None, 0));
        batches.count(1, 120);
        assert_eq!(answer(&mut batches, 1, 130), (1, 10));
    }

    #[test]
    fn room_for_many_is_given_back() {
        let mut batches = Batches::default();
        for number in 1..5_000 {
            batches.count(number, number as u32);
        }
        assert_eq!(answer(&mut batches, 4_999, 5_000).0, 4_999);
        assert!(batches.later.capacity() <= SPARE_MAX);
    }
}
