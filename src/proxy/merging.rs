//! Requests that are answered by several servers: their parts, and how the replies come together.
//!
//! The request itself, the *parent*, stands in its client's line only, and keeps the place of the reply there. Each
//! part is a request of its own in the line of one backend, and in no client's:
//!
//! ```text
//!   client's line   [GET x] ─► [MGET a b c] ─► [PING]
//!                                   ║ Merging: part 0 is answered, part 1 is not
//!   backend 1's line         ─► [MGET a c]
//!   backend 2's line  [GET x] ─► [MGET b] ─► [GET of somebody else]
//! ```
//!
//! A part is expired, lost and sent again like any other request, and its reply, or the error instead of it, ends here;
//! with that of the last part the parent is answered. What a part was answered is collected, large replies too: the
//! whole can not be written before its parts are there. Collected bytes count as unread ones of the client, but not
//! against what it may leave unread: it has nothing to read yet. They count as buffered ones of the proxy; what finds
//! no room there becomes an error, and nobody is closed over it.
//!
//! A large reply is collected in pieces, which go to the client as they are, or are given back one by one while the
//! whole is put together: at no time is all of it there twice.
//!
//! When the client goes, what is not answered stays behind in its backends' lines like any request of a client that is
//! gone, and what was collected is freed.
//!
//! Invariants: a part is in `requests` exactly until it is answered; `unanswered` counts those; an entry of `merges`
//! has a parent in its client's line, whose place is `Merging`, and goes with it.

use super::compose::Shape;
use crate::buffer::Queue;
use crate::client::LocalStep;
use crate::request::{RequestId, Role};
use crate::server_id::ServerId;
use crate::slots::Id;
use crate::stats::Figures;

/// What an entry keeps for its next use: parts, more of them if all spare entries have room, bytes of each part's
/// buffer, keys.
const PARTS_KEPT_MAX: usize = 16;
const PARTS_KEPT_IN_ROOM_MAX: usize = 256;
const BYTES_KEPT_MAX: usize = 4 * 1024;
const ORDER_KEPT_MAX: usize = 1024;

/// A part of a request: what one server is asked.
#[derive(Debug)]
pub(super) struct Part {
    /// Index of the server.
    pub server: ServerId,
    /// The backend that was chosen for it at first.
    pub backend: Id,
    /// How many bytes it has in that one's queue.
    pub len: usize,
    /// The hash of its first key; 0 if it has none.
    pub hash: u32,
    /// How many keys it has.
    pub keys: usize,
    /// Its request; `None` before it is asked, and after it is answered.
    pub request: Option<RequestId>,
    /// What it is to ask; as soon as that is queued: what has come of its reply, unless that is large.
    pub bytes: Vec<u8>,
    /// What has come of a large reply.
    pub pieces: Queue,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A request on its way to several servers, or its reply on the way back.
#[derive(Debug)]
pub(super) struct Merging {
    /// Who waits for it.
    pub client: Id,
    /// The request that stands in the client's line.
    pub parent: RequestId,
    /// How the replies become one.
    pub shape: Shape,
    /// True exactly when a part is about its server, and not about keys that another one may stand in for.
    pub is_pinned: bool,
    /// What the reply to each part means beyond itself.
    pub role: Role,
    /// The part of each key, in the order of the keys.
    pub order: Vec<u16>,
    /// For an `EXEC` alone: what rmux has to add to the reply.
    pub local_steps: Vec<LocalStep>,
    /// For an `INFO` alone: what rmux tells itself.
    pub figures: Option<Box<Figures>>,
    /// The first `used` of them; behind those are the buffers of parts that there once were.
    pub(super) parts: Vec<Part>,
    pub(super) used: usize,
    pub(super) unanswered: usize,
    /// Bytes collected in all parts together.
    pub(super) collected: usize,
    pub(super) is_too_large: bool,
    /// Bytes that the account has for this, beside the pieces of large replies.
    pub(super) charged: usize,
}

impl Default for Merging {
    fn default() -> Merging {
        Merging {
            client: Id::NONE,
            parent: 0,
            shape: Shape::First,
            is_pinned: false,
            role: Role::Plain,
            order: Vec::new(),
            local_steps: Vec::new(),
            figures: None,
            parts: Vec::new(),
            used: 0,
            unanswered: 0,
            collected: 0,
            is_too_large: false,
            charged: 0,
        }
    }
}

impl Merging {
    /// One more part, for this server. Returns its number.
    pub fn add_part(&mut self, server: ServerId) -> u16 {
        if self.used == self.parts.len() {
            let (bytes, pieces) = (Vec::new(), Queue::new());
            self.parts.push(Part { server, backend: Id::NONE, len: 0, hash: 0, keys: 0, request: None, bytes, pieces });
        }
        let part = &mut self.parts[self.used];
        part.server = server;
        (part.hash, part.keys) = (0, 0);
        part.request = None;
        self.used += 1;
        self.unanswered += 1;
        (self.used - 1) as u16
    }

    /// The same, for keys with this hash.
    pub fn add_part_of(&mut self, server: ServerId, hash: u32) -> u16 {
        let part = self.add_part(server);
        self.parts[usize::from(part)].hash = hash;
        part
    }

    /// The parts, in the order of their numbers.
    pub fn parts(&self) -> &[Part] {
        &self.parts[..self.used]
    }

    /// The same, to be changed.
    pub fn parts_mut(&mut self) -> &mut [Part] {
        &mut self.parts[..self.used]
    }

    /// How many parts are not answered.
    pub fn unanswered(&self) -> usize {
        self.unanswered
    }

    /// How many bytes of replies are collected.
    pub fn collected(&self) -> usize {
        self.collected
    }

    /// True if more came than may be collected: it was thrown away.
    pub fn is_cut(&self) -> bool {
        self.is_too_large
    }

    /// The memory that it has, beside the pieces of large replies, in bytes.
    pub fn held(&self) -> usize {
        let parts: usize = self.parts.iter().map(|part| part.bytes.capacity()).sum();
        let records = size_of::<Merging>() + self.parts.capacity() * size_of::<Part>();
        records + parts + self.order.capacity() * size_of::<u16>() + LocalStep::held_by(&self.local_steps)
    }

    /// Forgets everything but the memory, and of that what is large.
    fn reset(&mut self) {
        self.order.clear();
        if self.order.capacity() > ORDER_KEPT_MAX {
            self.order = Vec::new();
        }
        self.parts.truncate(PARTS_KEPT_IN_ROOM_MAX);
        for part in &mut self.parts {
            part.bytes.clear();
            if part.bytes.capacity() > BYTES_KEPT_MAX {
                part.bytes = Vec::new();
            }
        }
        self.used = 0;
        self.unanswered = 0;
        self.collected = 0;
        self.is_too_large = false;
        self.is_pinned = false;
        self.role = Role::Plain;
        self.local_steps = Vec::new();
        self.figures = None;
    }
}

/// Entries that wait for their next use. Before a cluster a request may have a part for each of its keys, and to
/// allocate those anew would be a fifth of its price.
///
/// Invariant: at most [`SPARE_MAX`] entries, which hold [`SPARE_BYTES_MAX`] together, or no more than
/// `PARTS_KEPT_MAX` parts each.
#[derive(Debug, Default)]
pub(super) struct SpareMerges {
    entries: Vec<Merging>,
    /// What all of them hold, in bytes.
    held: usize,
}

impl SpareMerges {
    /// An empty entry.
    pub fn take(&mut self) -> Merging {
        let Some(merging) = self.entries.pop() else { return Merging::default() };
        self.held -= merging.held();
        merging
    }

    /// Keeps an entry that is no longer needed, as far as there is room.
    pub fn put(&mut self, mut merging: Merging) {
        if self.entries.len() >= SPARE_MAX {
            return;
        }
        merging.reset();
        if self.held + merging.held() > SPARE_BYTES_MAX {
            merging.parts.truncate(PARTS_KEPT_MAX);
            merging.parts.shrink_to_fit();
        }
        self.held += merging.held();
        self.entries.push(merging);
    }
}

/// Spare entries at the most.
const SPARE_MAX: usize = 64;
/// What they may hold together with more than `PARTS_KEPT_MAX` parts, in bytes.
const SPARE_BYTES_MAX: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// An entry that has had so many parts, each with so many bytes.
    fn used(parts: usize, bytes: usize) -> Merging {
        let mut merging = Merging::default();
        for _ in 0..parts {
            let part = merging.add_part(ServerId::of_index(0));
            merging.parts_mut()[usize::from(part)].bytes = vec![0; bytes];
        }
        merging
    }

    #[test]
    fn the_memory_of_many_parts_is_used_again_while_there_is_room() {
        let mut spare = SpareMerges::default();
        spare.put(used(100, 64));
        let merging = spare.take();
        assert!(merging.parts().is_empty());
        assert_eq!((merging.parts.len(), spare.held), (100, 0));
        assert!(merging.parts.iter().all(|part| part.bytes.is_empty() && part.bytes.capacity() >= 64));
        spare.put(used(PARTS_KEPT_IN_ROOM_MAX + 1, 1));
        assert_eq!(spare.take().parts.len(), PARTS_KEPT_IN_ROOM_MAX);
    }

    #[test]
    fn what_spare_entries_hold_is_bounded() {
        let mut spare = SpareMerges::default();
        for _ in 0..2 * SPARE_MAX {
            spare.put(used(1_000, 256));
        }
        let held: usize = spare.entries.iter().map(Merging::held).sum();
        assert_eq!((spare.entries.len(), spare.held), (SPARE_MAX, held));
        let few = used(PARTS_KEPT_MAX, 256).held() + size_of::<Part>();
        assert!(held <= SPARE_BYTES_MAX + SPARE_MAX * few, "{held}");
        while spare.held > 0 {
            spare.take();
        }
        assert_eq!(spare.entries.len(), 0);
    }
}
