//! How long things took: counts in fixed buckets, two for each doubling, from 48 µs to 6 s.
//!
//! ```text
//!   bucket   0       1        2        3        4        …   35
//!   µs       < 48    < 64     < 96     < 128    < 192        the rest
//! ```
//!
//! To record costs a few instructions and no memory. Knows no clock.

/// One bucket for each half of a doubling.
const BUCKETS: usize = 36;
/// What is shorter than this is in the first bucket, in µs: 32 µs and its first half.
const FIRST_US: u64 = 48;

/// Counts of spans by their length, and their sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Histogram {
    buckets: [u64; BUCKETS],
    sum_us: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { buckets: [0; BUCKETS], sum_us: 0 }
    }
}

impl Histogram {
    /// So many took so long, in µs.
    #[inline]
    pub fn record(&mut self, count: u32, us: u32) {
        let at_least = us.max(32);
        let octave = 31 - at_least.leading_zeros();
        let place = (2 * octave + (at_least >> (octave - 1) & 1)).wrapping_sub(10) as usize;
        self.buckets[place.min(BUCKETS - 1)] += u64::from(count);
        self.sum_us += u64::from(count) * u64::from(us);
    }

    /// Adds what another one has.
    pub fn add(&mut self, other: &Histogram) {
        super::add_all(&mut self.buckets, &other.buckets);
        self.sum_us += other.sum_us;
    }

    /// So many took no time.
    pub fn add_immediate(&mut self, count: u64) {
        self.buckets[0] += count;
    }

    /// How many were recorded.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// How long all of them took together, in µs.
    pub fn sum_us(&self) -> u64 {
        self.sum_us
    }

    /// How long one of them took on average, in µs; 0 if there are none.
    pub fn mean_us(&self) -> u64 {
        self.sum_us.checked_div(self.count()).unwrap_or(0)
    }

    /// What is more in it than in an older state of it: what was recorded since then.
    pub fn since(&self, older: &Histogram) -> Histogram {
        let mut newer = *self;
        super::subtract_all(&mut newer.buckets, &older.buckets);
        newer.sum_us = newer.sum_us.saturating_sub(older.sum_us);
        newer
    }

    /// Where each bucket ends, in µs; the last has no end.
    pub fn ends() -> impl Iterator<Item = u64> {
        (0..BUCKETS - 1).map(end_of)
    }

    /// The count of each bucket, and the sum in µs: for who writes all of it, or reads it again.
    pub fn parts_mut(&mut self) -> (&mut [u64], &mut u64) {
        (&mut self.buckets, &mut self.sum_us)
    }

    /// Each bucket that ends with a doubling: where it ends, in µs, and how many were shorter. The rest has no end.
    pub fn doublings(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let mut shorter = 0;
        self.buckets.chunks(2).take(BUCKETS / 2 - 1).enumerate().map(move |(number, pair)| {
            shorter += pair.iter().sum::<u64>();
            (64 << number, shorter)
        })
    }

    /// About the span, in µs, that so many thousandths of them did not exceed; 0 if there are none. It is the end of a
    /// bucket, and at most half more than the truth.
    pub fn quantile_us(&self, thousandths: u64) -> u64 {
        let rank = (self.count() * thousandths).div_ceil(1000);
        let mut shorter = 0;
        for (number, count) in self.buckets.iter().enumerate() {
            shorter += count;
            if shorter >= rank && shorter > 0 {
                return end_of(number);
            }
        }
        0
    }
}

/// Where a bucket ends, in µs; for the last, where it begins.
fn end_of(number: usize) -> u64 {
    match number.min(BUCKETS - 2) {
        number if number % 2 == 0 => FIRST_US << (number / 2),
        number => 64 << (number / 2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_span_is_in_the_bucket_that_ends_behind_it() {
        for us in (0..70_000).chain([8_388_607, 8_388_608, 9_000_000, u32::MAX]) {
            let mut histogram = Histogram::default();
            histogram.record(3, us);
            let place = histogram.buckets.iter().position(|&count| count == 3).expect("it is somewhere");
            let us = u64::from(us);
            assert!(place == BUCKETS - 1 || us < end_of(place), "{us} is in {place}");
            assert!(place == 0 || us >= end_of(place - 1), "{us} is in {place}");
            assert_eq!((histogram.count(), histogram.sum_us()), (3, 3 * us));
        }
    }

    #[test]
    fn quantiles_and_doublings_agree_with_the_counts() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile_us(990), 0);
        histogram.record(98, 10);
        histogram.record(1, 1000);
        histogram.record(1, 20_000_000);
        assert_eq!([500, 980, 990, 1000].map(|part| histogram.quantile_us(part)), [48, 48, 1024, 6 << 20]);
        let doublings: Vec<_> = histogram.doublings().collect();
        assert_eq!(doublings.first(), Some(&(64, 98)));
        assert_eq!(doublings.last(), Some(&(4 << 20, 99)), "the longest has no end");
        assert_eq!(doublings[4], (1024, 99));
    }

    #[test]
    fn what_was_recorded_since_an_older_state_is_the_difference() {
        let mut histogram = Histogram::default();
        histogram.record(5, 100);
        let older = histogram;
        histogram.record(2, 1000);
        let newer = histogram.since(&older);
        assert_eq!((newer.count(), newer.sum_us(), newer.quantile_us(500)), (2, 2000, 1024));
        assert_eq!(older.since(&histogram), Histogram::default(), "it never goes below nothing");
        let ends: Vec<u64> = Histogram::ends().collect();
        assert_eq!((ends.len(), ends[0], ends[1], ends[34]), (BUCKETS - 1, 48, 64, 6 << 20));
    }
}
