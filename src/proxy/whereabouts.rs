//! Where a server is, as far as the core needs to know: how its name was looked up, and how far its connections follow.
//!
//! ```text
//!               an address of a connection has left the name           one at an address of the name is ready
//!   Following ─────────────────────────────────────────────► Connecting ──────────────────────────────────► LettingGo
//!       ▲                                                        │ the address is back                           │
//!       └────────────────────────────────────────────────────────┴──────── no outdated connection is left ───────┘
//! ```
//!
//! Knows no connections: which of them are outdated they know themselves.

use super::mastership::Mastership;
use crate::timer::{Alarm, Millis};

/// How far the connections of a server follow its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Renewal {
    /// None of them is outdated.
    #[default]
    Following,
    /// Some are outdated, and as good as ever: they are used until another one is ready.
    Connecting {
        /// True once the log was told that one could not be made.
        has_failed: bool,
    },
    /// Those that are outdated are let go: at once, or, where a client has one for itself, when it is done, and at this
    /// time at the latest.
    LettingGo { until: Millis },
}

/// What is known of where a server is.
#[derive(Debug, Default)]
pub(super) struct Whereabouts {
    /// The addresses of its name, in words; empty before they are known, or if it has no name.
    pub addresses: String,
    /// True while the last lookup of its name has found nothing, though one before did.
    pub is_lost: bool,
    /// How far its connections follow.
    pub renewal: Renewal,
    /// Where it is, if that is what sentinels say.
    pub master: Option<Mastership>,
    /// When a turn is needed, to let go those that are late.
    pub alarm: Alarm,
}

impl Whereabouts {
    /// Of a server at a name or an address; or, if `is_master`, at the name that sentinels know it by.
    pub fn new(is_master: bool) -> Whereabouts {
        Whereabouts { master: is_master.then(Mastership::new), ..Whereabouts::default() }
    }

    /// A connection that was to replace others could not be made. True exactly when the log is to be told.
    pub fn on_failed(&mut self) -> bool {
        match &mut self.renewal {
            Renewal::Connecting { has_failed } => !std::mem::replace(has_failed, true),
            Renewal::Following | Renewal::LettingGo { .. } => false,
        }
    }
}
