//! When requests in flight were queued: not one by one, but as many together as were queued in one turn.
//!
//! ```text
//!   in flight    [GET a][GET b][GET c]  [GET d]        [SET e][SET f]
//!   batches      └── 3 at 1,250 µs ──┘  └ 1 at 1,900 ┘  not counted yet: they are when they are sent
//! ```
//!
//! Knows counts and a clock of µs that begins anew after 71 minutes; what becomes of a request is not its business.
//! Who takes requests out of the line, in whatever way, says so here.
//!
//! Invariants: `later_count` is the sum of `later`, where no batch is of 0; `first_count` is 0 only if there is none;
//! both together, without those that are answered and not recorded yet, are at most so many as are in flight, and all
//! that were sent; and none that is answered is left unrecorded when a read is over.

use std::collections::VecDeque;

use crate::stats::Measured;

/// The batches of one backend.
#[derive(Debug, Default)]
pub(super) struct Batches {
    /// How many requests are in the first one, which is nearly always the only one.
    first_count: u32,
    /// When they were queued.
    first_us: u32,
    /// So many of the first ones are answered, and not recorded yet.
    answered: u32,
    /// How many are in all others.
    later_count: u32,
    /// The same of those, in their order.
    later: VecDeque<(u32, u32)>,
    /// When one was found to be slow last.
    slow_us: u32,
}

/// Room for more batches than this is given back when there are none.
const SPARE_MAX: usize = 1024;

impl Batches {
    /// So many are in flight; those that were not counted yet are queued now.
    #[inline]
    pub fn count(&mut self, in_flight: usize, clock_us: u32) {
        if self.first_count == 0 {
            (self.first_count, self.first_us) = (in_flight as u32, clock_us);
        } else if self.in_flight() != in_flight {
            self.count_more(in_flight, clock_us);
        }
    }

    #[inline(never)]
    fn count_more(&mut self, in_flight: usize, clock_us: u32) {
        debug_assert!(in_flight > self.in_flight(), "{in_flight} are in flight, and {self:?}");
        let more = in_flight.saturating_sub(self.in_flight()) as u32;
        if more > 0 {
            self.later.push_back((more, clock_us));
            self.later_count += more;
        }
    }

    /// So many of the first ones are answered. They were sent, and so counted. They are recorded, if it can be done at
    /// once.
    #[inline]
    pub fn answer(&mut self, count: u32, measured: &mut Measured) {
        if count == self.first_count && self.later_count == 0 {
            self.first_count = 0;
            measured.durations.record(count, measured.clock_us.wrapping_sub(self.first_us));
        } else {
            self.answered += count;
        }
    }

    /// The same for one, behind which others are probably answered in the same read.
    #[inline]
    pub fn answer_one(&mut self) {
        self.answered += 1;
    }

    /// Records all that are answered.
    #[inline]
    pub fn settle(&mut self, measured: &mut Measured) {
        if self.answered > 0 {
            self.record(measured);
        }
    }

    #[inline(never)]
    fn record(&mut self, measured: &mut Measured) {
        while self.answered > 0 && self.first_count > 0 {
            let taken = self.answered.min(self.first_count);
            measured.durations.record(taken, measured.clock_us.wrapping_sub(self.first_us));
            self.answered -= taken;
            self.take(taken);
        }
        debug_assert_eq!(self.answered, 0, "what was answered was counted");
        self.answered = 0;
    }

    /// The first one that is not answered is in flight no more, and not to be recorded.
    pub fn skip(&mut self, measured: &mut Measured) {
        self.settle(measured);
        debug_assert!(self.first_count > 0, "what was answered was counted");
        self.take(1);
    }

    /// Of so many in flight the last one leaves, or is to be counted anew. It may not have been counted yet.
    pub fn uncount_last(&mut self, in_flight: usize) {
        if in_flight == 0 || in_flight > self.in_flight() {
            return;
        }
        match self.later.back_mut() {
            None => self.first_count -= 1,
            Some(last) => {
                last.0 -= 1;
                self.later_count -= 1;
                if last.0 == 0 {
                    self.later.pop_back();
                }
            }
        }
    }

    /// When the first one was queued that is not recorded yet. Nothing behind it was queued earlier.
    #[inline]
    pub fn oldest_us(&self) -> Option<u32> {
        (self.first_count > 0).then_some(self.first_us)
    }

    /// Whether the first one may have been in flight for so long that it is slow; if not, none is. Of no meaning when
    /// there is none. Those behind a slow one waited for that one: their time begins anew.
    #[inline]
    pub fn is_late(&self, measured: &Measured) -> bool {
        measured.clock_us.wrapping_sub(self.first_us) > measured.late_us
            && measured.clock_us.wrapping_sub(self.slow_us) > measured.late_us
    }

    /// One was slow.
    pub fn on_slow(&mut self, clock_us: u32) {
        self.slow_us = clock_us;
    }

    /// For how long none was found to be slow.
    pub fn since_slow_us(&self, clock_us: u32) -> u32 {
        clock_us.wrapping_sub(self.slow_us)
    }

    /// How many were counted that are in flight.
    #[inline]
    pub fn in_flight(&self) -> usize {
        (self.first_count + self.later_count - self.answered) as usize
    }

    /// So many of the first batch are taken out; it has as many.
    fn take(&mut self, count: u32) {
        self.first_count = self.first_count.saturating_sub(count);
        if self.first_count > 0 {
            return;
        }
        if let Some(next) = self.later.pop_front() {
            (self.first_count, self.first_us) = next;
            self.later_count -= next.0;
        } else if self.later.capacity() > SPARE_MAX {
            self.later = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many are answered at that time: how many are recorded, and how long they took together.
    fn answer(batches: &mut Batches, count: u32, clock_us: u32) -> (u64, u64) {
        let mut measured = Measured { clock_us, ..Measured::default() };
        batches.answer(count, &mut measured);
        batches.settle(&mut measured);
        batches.check();
        (measured.durations.count(), measured.durations.sum_us())
    }

    impl Batches {
        fn check(&self) {
            assert_eq!(self.later_count, self.later.iter().map(|batch| batch.0).sum::<u32>());
            assert!(self.later.iter().all(|batch| batch.0 > 0) && (self.first_count > 0 || self.later.is_empty()));
        }
    }

    #[test]
    fn each_is_as_old_as_its_batch() {
        let mut batches = Batches::default();
        assert_eq!(batches.oldest_us(), None);
        batches.count(3, 1_250);
        batches.count(3, 1_300);
        batches.count(4, 1_900);
        assert_eq!((batches.oldest_us(), batches.in_flight()), (Some(1_250), 4));
        assert_eq!(answer(&mut batches, 2, 2_000), (2, 2 * 750));
        assert_eq!(answer(&mut batches, 2, 2_000), (2, 750 + 100), "one of each batch");
        assert_eq!((batches.oldest_us(), batches.in_flight()), (None, 0));
        batches.count(2, u32::MAX);
        assert_eq!(answer(&mut batches, 1, 9), (1, 10), "the clock begins anew");
        batches.count(3, 60);
        assert_eq!(answer(&mut batches, 2, 70), (2, 71 + 10));
        assert_eq!(answer(&mut batches, 1, 100), (1, 40));
        batches.count(2, 200);
        batches.answer_one();
        batches.count(2, 210);
        assert_eq!(batches.in_flight(), 2, "one is answered, and one has come");
        assert_eq!(answer(&mut batches, 2, 220), (3, 20 + 20 + 10));
    }

    #[test]
    fn what_is_answered_for_nobody_is_left_out() {
        let mut batches = Batches::default();
        let mut measured = Measured { clock_us: 100, ..Measured::default() };
        batches.count(2, 10);
        batches.count(4, 20);
        batches.answer_one();
        assert_eq!(batches.in_flight(), 3);
        batches.skip(&mut measured);
        batches.check();
        assert_eq!((measured.durations.count(), measured.durations.sum_us()), (1, 90));
        assert_eq!((batches.oldest_us(), batches.in_flight()), (Some(20), 2));
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
