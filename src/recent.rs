//! Which keys were written of late: the memory with which a read that would be of another opinion than its own client
//! is kept from a replica.
//!
//! Knows hashes of keys and the time; no keys, no clients. A key has one cell of so many, which has the tick in which
//! one of its keys was written last:
//!
//! ```text
//!   SET a ─► hash ─► cell ◄─ now          GET a ─► hash ─► cell: 300 ms ago ─► the master
//! ```
//!
//! Keys that share a cell are taken for each other, and so is a tick for one of 17 minutes later: then a read goes to
//! the master that need not. What is noted by one thread is seen by the others of the pool as soon as they may see
//! anything that followed from it. Takes its memory (128 kB) with the first note. Invariant: a key is recent for at
//! least the time that is asked for.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

/// When keys were written.
#[derive(Default)]
pub struct RecentWrites {
    cells: OnceLock<Box<[AtomicU16]>>,
    /// When something was written last of which nobody knows the keys.
    all: AtomicU16,
}

impl RecentWrites {
    /// A key with this hash is written.
    pub fn note(&self, hash: u32, now_ms: u64) {
        let cells = self.cells.get_or_init(|| (0..CELLS).map(|_| AtomicU16::new(NEVER)).collect());
        cells[cell(hash)].store(tick(now_ms), Ordering::Relaxed);
    }

    /// Any key may be written.
    pub fn note_all(&self, now_ms: u64) {
        self.all.store(tick(now_ms), Ordering::Relaxed);
    }

    /// True if a key with this hash was written within so many milliseconds, which are at most [`WITHIN_MS_MAX`].
    pub fn is_recent(&self, hash: u32, within_ms: u64, now_ms: u64) -> bool {
        let is_recent = |noted: &AtomicU16| {
            let (noted, now) = (noted.load(Ordering::Relaxed), tick(now_ms));
            // One tick more: the first may have been over in a moment.
            noted != NEVER && u64::from(since(noted, now)) <= within_ms.min(WITHIN_MS_MAX) / TICK_MS + 1
        };
        is_recent(&self.all) || self.cells.get().is_some_and(|cells| is_recent(&cells[cell(hash)]))
    }
}

impl fmt::Debug for RecentWrites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cells", self.cells.get().map_or(0, |cells| cells.len()))
    }
}

/// The longest time that can be asked for, in milliseconds.
pub const WITHIN_MS_MAX: u64 = 300_000;

/// How many ticks there are before they begin anew.
const TICKS: u64 = u16::MAX as u64;
const TICK_MS: u64 = 16;
const NEVER: u16 = 0;
const CELLS: usize = 1 << CELL_BITS;
const CELL_BITS: u32 = 16;

fn tick(now_ms: u64) -> u16 {
    (now_ms / TICK_MS % TICKS) as u16 + 1
}

/// How many ticks have passed. Another thread's clock may be a little ahead: then none has.
fn since(noted: u16, now: u16) -> u16 {
    let ticks = ((u64::from(now) + TICKS - u64::from(noted)) % TICKS) as u16;
    if u64::from(ticks) > TICKS - AHEAD_MAX { 0 } else { ticks }
}

/// By so many ticks the clocks of two threads differ at the most.
const AHEAD_MAX: u64 = 64;

/// Neighbours among keys have hashes that are neighbours: those are spread.
fn cell(hash: u32) -> usize {
    (hash.wrapping_mul(0x9e37_79b1) >> (32 - CELL_BITS)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_recent_for_its_time_and_not_for_long_after() {
        for start in [0, 15, 1_048_000, 1_048_570, 1_048_576, 99_999_999] {
            let recent = RecentWrites::default();
            assert!(!recent.is_recent(7, 1_000, start));
            recent.note(7, start);
            for ms in [0, 1, 500, 1_000] {
                assert!(recent.is_recent(7, 1_000, start + ms), "{start} + {ms}");
            }
            for ms in [1_033, 2_000, 1_000_000] {
                assert!(!recent.is_recent(7, 1_000, start + ms), "{start} + {ms}");
            }
            assert!(!recent.is_recent(8, 1_000, start), "another key");
            // Of a thread whose clock is ahead.
            assert!(recent.is_recent(7, 1_000, start.saturating_sub(100)));
        }
    }

    #[test]
    fn what_may_have_written_anything_makes_everything_recent() {
        let recent = RecentWrites::default();
        recent.note_all(5_000);
        assert!(recent.is_recent(1, 100, 5_050) && recent.is_recent(2, 100, 5_050));
        assert!(!recent.is_recent(1, 100, 5_200));
        assert_eq!(format!("{recent:?}"), "0 cells", "and takes no memory");
    }
}
