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
use crate::stats::Location;
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

/// From one renewal of a server's connections to the next, at the least, in milliseconds: several servers may have one
/// address for ever, as behind a balancer.
const REPLACED_PAUSE_MS: u64 = 10_000;

/// What is known of where a server is.
#[derive(Debug, Default)]
pub(super) struct Whereabouts {
    /// The addresses of its name, in words; empty before they are known, or if it has no name.
    pub addresses: String,
    /// True while the last lookup of its name has found nothing, though one before did.
    pub is_lost: bool,
    /// How often its name was looked up; and how often nothing was found.
    pub lookups: [u64; 2],
    /// When that was done last.
    pub looked_up_at: Millis,
    /// How often its name had other addresses than before.
    pub changes: u64,
    /// Until when the certificate is good that it has shown last, in milliseconds since 1970; 0 if it has shown none.
    pub certificate_until_unix_ms: u64,
    /// When its connections were renewed since another server had taken its place.
    replaced_at: Option<Millis>,
    /// The zone that it has last said to be in; empty if it has none.
    pub zone: String,
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

    /// All of it that is to be told; at 0 of the proxy's own clock, that of the day showed `unix_ms`.
    pub fn location(&self, unix_ms: u64) -> Location {
        let [lookups, lookups_failed] = self.lookups;
        let mut location = Location {
            is_lost: self.is_lost,
            lookups,
            lookups_failed,
            looked_up_unix_ms: if lookups > 0 { unix_ms + self.looked_up_at.0 } else { 0 },
            changes: self.changes,
            switches: self.master.as_ref().map_or(0, |master| master.switches),
            certificate_until_unix_ms: self.certificate_until_unix_ms,
            zone: self.zone.clone(),
            ..Location::default()
        };
        let place = self.master.as_ref().map_or("", |master| &master.address);
        location.set_addresses(if self.addresses.is_empty() { place } else { &self.addresses });
        location
    }

    /// Behind its address there seems to be another server. True exactly when its connections are to be renewed for
    /// that: once in [`REPLACED_PAUSE_MS`].
    pub fn on_replaced(&mut self, now: Millis) -> bool {
        let is_due = self.replaced_at.is_none_or(|at| now - at >= REPLACED_PAUSE_MS);
        if is_due {
            self.replaced_at = Some(now);
        }
        is_due
    }

    /// A connection that was to replace others could not be made. True exactly when the log is to be told.
    pub fn on_failed(&mut self) -> bool {
        match &mut self.renewal {
            Renewal::Connecting { has_failed } => !std::mem::replace(has_failed, true),
            Renewal::Following | Renewal::LettingGo { .. } => false,
        }
    }
}
