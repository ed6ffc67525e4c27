//! Who may use a backend: everybody, or one client alone.
//!
//! ```text
//!              lease_to                    lease_in_bulk
//!   Shared ─────────────► Leased(client) ─────────────────► Bulk(client)
//!      ▲ ◄── unlease, end_lease ──┘  ▲ ◄────── end_bulk ──────┘
//! ```
//!
//! A client whose large request is on its way has it for itself as well, though not for what its session is.

use super::{Backend, Course};
use crate::slots::Id;
use crate::timer::Millis;

/// Who may use a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lease {
    /// Everybody.
    Shared,
    /// This client alone.
    Leased(Id),
    /// This client alone, which is in bulk: it goes back to the shared set when that one owes and is owed nothing.
    Bulk(Id),
}

impl Lease {
    #[inline]
    pub(super) fn owner(self) -> Option<Id> {
        match self {
            Lease::Shared => None,
            Lease::Leased(client) | Lease::Bulk(client) => Some(client),
        }
    }
}

impl Backend {
    /// The client that has it for itself; `None` while it is shared.
    #[inline]
    pub fn owner(&self) -> Option<Id> {
        self.lease.owner()
    }

    /// True exactly when nobody has it for himself.
    #[inline]
    pub fn is_shared(&self) -> bool {
        self.lease == Lease::Shared
    }

    /// True exactly when this client has it for itself.
    pub fn is_owned_by(&self, client: Id) -> bool {
        self.owner() == Some(client)
    }

    /// True exactly when its owner is in bulk.
    #[inline]
    pub fn is_in_bulk(&self) -> bool {
        matches!(self.lease, Lease::Bulk(_))
    }

    /// True exactly when this client is in bulk, and has it for that.
    #[inline]
    pub fn is_in_bulk_for(&self, client: Id) -> bool {
        self.lease == Lease::Bulk(client)
    }

    /// True exactly when it serves one client alone: its owner, or the one whose large request is on its way.
    pub fn is_held(&self) -> bool {
        !self.is_shared() || self.uploader.is_some()
    }

    /// True exactly when this client can have it for itself, as far as others are concerned.
    pub fn is_free_for(&self, client: Id) -> bool {
        !self.is_closed() && self.owner().is_none_or(|owner| owner == client) && self.uploader.is_none()
    }

    /// This client has it for itself, if it has not already.
    pub fn lease_to(&mut self, client: Id) {
        if !self.is_owned_by(client) {
            self.lease = Lease::Leased(client);
        }
    }

    /// This client is in bulk, and has it for itself.
    pub fn lease_in_bulk(&mut self, client: Id, now: Millis) {
        self.lease = Lease::Bulk(client);
        self.heard_at = now;
    }

    /// Its owner is in bulk no longer, and keeps it for another reason, or until `unlease`. Nothing if it was not.
    pub fn end_bulk(&mut self) {
        if let Lease::Bulk(owner) = self.lease {
            self.lease = Lease::Leased(owner);
            self.is_rerouted = false;
        }
    }

    /// Nobody has it for himself any more.
    pub fn unlease(&mut self) {
        self.end_bulk();
        self.lease = Lease::Shared;
        self.course = Course::default();
        self.settle_if_shared();
    }

    /// The session that its owner had is clean again: anybody may have it, unless that one is in bulk. False if nobody
    /// may, because somebody knows its number.
    pub fn end_lease(&mut self) -> bool {
        self.course = Course::default();
        if !self.is_number_told && !self.is_in_bulk() {
            self.lease = Lease::Shared;
            self.settle_if_shared();
        }
        !self.is_number_told
    }

    /// The client whose large request is on its way.
    #[inline]
    pub fn uploader(&self) -> Option<Id> {
        self.uploader
    }

    /// True exactly when a large request of this client is on its way.
    pub fn is_uploaded_by(&self, client: Id) -> bool {
        self.uploader == Some(client)
    }

    /// The start of a large request of this client is on its way: nothing else comes before its end.
    pub fn begin_upload(&mut self, client: Id, now: Millis) {
        self.uploader = Some(client);
        self.uploaded_at = now;
    }

    /// So many bytes came of that: who sends one now and then has stopped.
    ///
    /// Had it been further behind than `limit_ms`, somebody would have looked. So if it is, nobody was there to read
    /// it, and it may have sent more than what its socket could hold.
    pub fn on_uploaded(&mut self, bytes: usize, limit_ms: u64, now: Millis) {
        let at = self.uploaded_at.max(Millis(now.0.saturating_sub(limit_ms)));
        let bytes = self.uploaded_rest + bytes;
        self.uploaded_at = now.min(at + (bytes / UPLOAD_BYTES_PER_MS_MIN) as u64);
        self.uploaded_rest = bytes % UPLOAD_BYTES_PER_MS_MIN;
    }

    /// Its client may not have been read until now.
    pub fn on_uploader_unread(&mut self, now: Millis) {
        self.uploaded_at = now;
    }

    /// When the last of it came, as far as it came fast enough.
    pub fn uploaded_at(&self) -> Millis {
        self.uploaded_at
    }

    /// It is whole, or nothing more of it will come. It counts as queued from now on, as far as it is.
    pub fn end_upload(&mut self) {
        self.uploader = None;
        self.batches.uncount_last(self.in_flight.len());
    }
}

/// So fast a large request has to come while it holds a connection, or its client is taken for one that has stopped.
const UPLOAD_BYTES_PER_MS_MIN: usize = 16;
