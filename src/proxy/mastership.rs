//! Where the master of a place is that sentinels watch, as far as the core knows.
//!
//! ```text
//!   Sought ── it is told (`handle_moved`) ──► Known ── a connection there finds no master ──► Doubted { until }
//!                                               ▲                                                 │ it is told, or
//!                                               └─────────────────────────────────────────────────┘ `until` has come
//! ```
//!
//! While it is sought or doubted, connections are begun and not made: what is asked meanwhile waits for them, as for
//! any that takes its time, and as long.
//!
//! Knows no connections: which of them are held back they know themselves.

use crate::timer::Millis;

/// Whether there is somewhere to connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seat {
    /// Nobody has said yet where it is.
    Sought,
    /// It is where it was said to be.
    Known,
    /// There is a server, and it is no master; until then nobody tries again.
    Doubted { until: Millis },
}

/// The master of one place.
#[derive(Debug)]
pub(super) struct Mastership {
    /// Where it is, as shown to people; empty as long as nobody has said so.
    pub address: String,
    pub seat: Seat,
    /// How often it has moved.
    pub switches: u64,
    /// When it last did.
    pub moved_at: Millis,
    /// True once the log was told that it does not say whether it is a master.
    pub is_unspoken: bool,
}

impl Mastership {
    pub fn new() -> Mastership {
        Mastership { address: String::new(), seat: Seat::Sought, switches: 0, moved_at: Millis(0), is_unspoken: false }
    }
}
