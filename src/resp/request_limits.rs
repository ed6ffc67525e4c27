//! How large a request may be: for those who may ask, and for those who have not said who they are.
//!
//! The second are Redis's own, which has them since version 6.2: without a password nobody shall make a server hold
//! more than it takes to send one. Knows numbers and which error goes with which; the framer compares.
//!
//! Invariant: `unauthenticated()` is nowhere more than what it was made of.

use super::error::ProtocolError;
use super::line::INLINE_BYTES_MAX;

/// The protocol's limits for requests; Redis's names in brackets.
#[derive(Debug, Clone, Copy)]
pub struct RequestLimits {
    /// Arguments of one request.
    pub args_max: usize,
    /// Bytes of one argument (`proto-max-bulk-len`).
    pub bulk_bytes_max: usize,
    /// Bytes of one inline request.
    pub inline_bytes_max: usize,
    /// Bytes of one whole request; below 4 GiB.
    pub request_bytes_max: usize,
    /// Whether they are those of [`RequestLimits::unauthenticated`], whose errors say so.
    pub is_unauthenticated: bool,
}

impl RequestLimits {
    /// What of these limits is left for somebody who has not said who it is. The first two are Redis's; a whole request
    /// may be longer there than [`INLINE_BYTES_MAX`], which no request does that lets somebody in.
    pub fn unauthenticated(&self) -> RequestLimits {
        RequestLimits {
            args_max: self.args_max.min(10),
            bulk_bytes_max: self.bulk_bytes_max.min(16 * 1024),
            inline_bytes_max: self.inline_bytes_max,
            request_bytes_max: self.request_bytes_max.min(INLINE_BYTES_MAX),
            is_unauthenticated: true,
        }
    }

    #[cold]
    pub(super) fn refuse_count(&self, count: i64) -> ProtocolError {
        if self.is_unauthenticated && count <= ARGS_ANYWHERE_MAX {
            ProtocolError::UnauthenticatedMultibulkLength
        } else {
            ProtocolError::MultibulkLength
        }
    }

    #[cold]
    pub(super) fn refuse_length(&self, len: usize) -> ProtocolError {
        if self.is_unauthenticated && len <= BULK_BYTES_ANYWHERE_MAX {
            ProtocolError::UnauthenticatedBulkLength
        } else {
            ProtocolError::BulkLength
        }
    }
}

/// Redis's own bound on the number of arguments: a number past it is wrong, whoever sends it.
const ARGS_ANYWHERE_MAX: i64 = i32::MAX as i64;
/// The same for the length of one (`proto-max-bulk-len`).
const BULK_BYTES_ANYWHERE_MAX: usize = 512 * 1024 * 1024;
