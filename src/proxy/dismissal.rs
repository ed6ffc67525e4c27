//! The clients of a process that another one replaces, in the order in which they are asked to leave.
//!
//! Owns that order and the pace: who has been silent longest is asked first, and all of them have been asked when half
//! of the time is over, evenly spread, so that not everybody connects anew at the same moment. At first nobody is: who
//! came for a short while leaves by itself.
//!
//! ```text
//!   0 ─── nobody is asked ─── 1/8 ─── each in its turn ─── 1/2 ─── whoever is left, again and again ─── 1: the end
//! ```
//!
//! Knows ids only; who may leave is `dismiss`'s business.

use std::collections::VecDeque;

use crate::slots::Id;
use crate::timer::Millis;

/// Who is asked in one go, at the most, and who is looked at for that.
const ASKED_MAX: usize = 64;
pub(super) const LOOKS_MAX: usize = 256;
/// From one look at them to the next.
pub(super) const TICK_MS: u64 = 10;

/// Who is asked when.
#[derive(Debug, Default)]
pub(super) struct Dismissal {
    /// Whose turn is next. Some may be gone.
    queue: VecDeque<Id>,
    /// How many there were, and how many have been asked, or have left.
    count: u64,
    asked: u64,
    begins: Millis,
    ends: Millis,
}

impl Dismissal {
    /// Those in `queue`, in that order, within so many milliseconds.
    pub fn new(queue: VecDeque<Id>, drain_ms: u64, now: Millis) -> Dismissal {
        let count = queue.len() as u64;
        Dismissal { queue, count, asked: 0, begins: now + drain_ms / 8, ends: now + drain_ms / 2 }
    }

    /// When the first look at them is due.
    pub fn begins(&self) -> Millis {
        self.begins
    }

    /// How many of them have not left, as far as is known.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// How many are to be asked now.
    pub fn due(&self, now: Millis) -> usize {
        if now >= self.ends {
            return ASKED_MAX;
        }
        // The first one at once.
        let by_now = self.count * (now - self.begins) / (self.ends - self.begins) + 1;
        (by_now.saturating_sub(self.asked) as usize).min(ASKED_MAX)
    }

    /// The next one.
    pub fn next(&mut self) -> Option<Id> {
        self.queue.pop_front()
    }

    /// This one is still there, and has its turn again behind all others.
    pub fn put_back(&mut self, id: Id) {
        self.queue.push_back(id);
    }

    /// One was asked, or has left.
    pub fn count_asked(&mut self) {
        self.asked += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_asked_by_half_of_the_time_and_evenly() {
        let start = Millis(5_000);
        let queue: VecDeque<Id> = (0..300).map(|bits| Id::from_bits(bits << 32)).collect();
        let mut dismissal = Dismissal::new(queue, 8_000, start);
        assert_eq!(dismissal.begins(), start + 1_000);
        for (at, asked) in [(1_000, 1), (1_010, 2), (2_500, 151), (4_000, 300)] {
            // In as many goes as it takes.
            loop {
                let due = dismissal.due(start + at).min(dismissal.len());
                if due == 0 {
                    break;
                }
                assert!(due <= ASKED_MAX);
                (0..due).for_each(|_| {
                    dismissal.next().expect("it is there");
                    dismissal.count_asked();
                });
            }
            assert_eq!(300 - dismissal.len(), asked, "at {at}");
        }
    }
}
