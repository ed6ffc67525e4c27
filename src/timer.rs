//! The timer wheel, over [`Millis`]. It never reads a clock.
//!
//! (skeleton)

/// A point in time: milliseconds since the reactor started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(pub u64);
