//! What a client has sent and rmux has not dealt with: the start of a request, or requests that must wait.
//!
//! Owns the bytes, and how far they are understood. Whoever takes them out deals with them anew, from the framer's
//! place on; the box itself is used again. Knows no client: whose it is, and what its memory counts for, is not its
//! business.

use std::mem;

use crate::resp::RequestFramer;
use crate::timer::Millis;

/// Bytes that wait, from the start of a request on.
#[derive(Debug, Default)]
pub struct Kept {
    bytes: Vec<u8>,
    /// How far they are understood.
    framer: RequestFramer,
    /// When the last of them came, if they are the start of a request whose rest is waited for.
    since: Option<Millis>,
}

impl Kept {
    /// The memory that it has, in bytes.
    pub fn held(&self) -> usize {
        size_of::<Kept>() + self.bytes.capacity() + self.framer.held()
    }

    /// The bytes that wait.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many bytes there is room for, those that wait among them.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// True exactly when they begin with a request that is not whole.
    pub fn is_partial(&self) -> bool {
        self.framer.is_partial(self.bytes.len())
    }

    /// Since when the rest of a request is waited for, if it is.
    pub fn since(&self) -> Option<Millis> {
        self.since
    }

    /// Fills an empty one: `framer` is how far the bytes are understood that follow. Returns the framer that it had.
    pub fn begin(&mut self, framer: RequestFramer) -> RequestFramer {
        debug_assert!(self.bytes.is_empty(), "it is used again only when it is empty");
        mem::replace(&mut self.framer, framer)
    }

    /// Takes over bytes that have their memory to themselves.
    pub fn take_over(&mut self, bytes: Vec<u8>) {
        self.bytes = bytes;
    }

    /// More bytes have to wait.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// More bytes of a request have come: room for them is made in steps, and never for more than is known to be
    /// missing.
    pub fn collect(&mut self, bytes: &[u8]) {
        let (len, n) = (self.bytes.len(), bytes.len());
        let missing = self.framer.at().saturating_sub(len);
        if self.bytes.capacity() - len < n {
            self.bytes.reserve_exact(n.max(missing.min(len / 8)));
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes out how far the bytes are understood; they are dealt with elsewhere.
    pub fn take_framer(&mut self) -> RequestFramer {
        mem::take(&mut self.framer)
    }

    /// Takes all of it out, to be dealt with.
    pub fn take(&mut self) -> (Vec<u8>, RequestFramer) {
        (mem::take(&mut self.bytes), self.take_framer())
    }

    /// Forgets everything, and keeps what memory is worth it for the next use.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.framer.clear();
    }

    /// From now on the rest is waited for (`Some`), or it is not (`None`).
    pub(super) fn wait_since(&mut self, since: Option<Millis>) {
        self.since = since;
    }
}
