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

use super::compose::{self, Shape};
use super::memory::COLLECTED_MIN;
use super::own_steps::held_by;
use super::{Goodbye, LARGE, Proxy};
use crate::buffer::Queue;
use crate::client::OwnStep;
use crate::request::{MergingId, Place, RequestId, Role};
use crate::server_id::ServerId;
use crate::slots::Id;
use crate::timer::Millis;

/// A part of a request: what one server is asked.
#[derive(Debug)]
pub(super) struct Part {
    /// Index of the server.
    pub server: ServerId,
    /// The backend that was chosen for it at first.
    pub backend: Id,
    /// How many bytes it has in that one's queue.
    pub len: usize,
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
    pub own_steps: Vec<OwnStep>,
    /// The first `used` of them; behind those are the buffers of parts that there once were.
    parts: Vec<Part>,
    used: usize,
    unanswered: usize,
    /// Bytes collected in all parts together.
    collected: usize,
    is_too_large: bool,
    /// Bytes that the account has for this, beside the pieces of large replies.
    charged: usize,
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
            own_steps: Vec::new(),
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
            self.parts.push(Part { server, backend: Id::NONE, len: 0, keys: 0, request: None, bytes, pieces });
        }
        let part = &mut self.parts[self.used];
        part.server = server;
        part.keys = 0;
        part.request = None;
        self.used += 1;
        self.unanswered += 1;
        (self.used - 1) as u16
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
        records + parts + self.order.capacity() * size_of::<u16>() + held_by(&self.own_steps)
    }

    /// Forgets everything but the memory, and of that what is large.
    fn reset(&mut self) {
        self.order.clear();
        if self.order.capacity() > ORDER_KEPT_MAX {
            self.order = Vec::new();
        }
        self.parts.truncate(PARTS_KEPT_MAX);
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
        self.own_steps = Vec::new();
    }
}

/// Entries that wait for the next use.
const SPARE_MAX: usize = 64;
/// What an entry keeps for its next use: parts, bytes of each part's buffer, keys.
const PARTS_KEPT_MAX: usize = 16;
const BYTES_KEPT_MAX: usize = 4 * 1024;
const ORDER_KEPT_MAX: usize = 1024;

impl Proxy {
    /// An empty entry; it is given back with `spare_merging`, or entered into `merges`.
    pub(super) fn new_merging(&mut self) -> Merging {
        self.in_flight.spare_merges.pop().unwrap_or_default()
    }

    /// Takes back an entry that is no longer needed.
    pub(super) fn spare_merging(&mut self, mut merging: Merging) {
        self.in_flight.arena.recharge(&mut merging.charged, 0);
        merging.parts.iter_mut().for_each(|part| part.pieces.clear(&mut self.in_flight.arena));
        merging.reset();
        if self.in_flight.spare_merges.len() < SPARE_MAX {
            self.in_flight.spare_merges.push(merging);
        }
    }

    /// More of the reply to a part has come.
    pub(super) fn collect(&mut self, merging: MergingId, request: RequestId, piece: &[u8]) {
        let part = self.in_flight.requests[request].part();
        let is_full = piece.len() > COLLECTED_MIN && self.is_out_of_memory(piece.len());
        let entry = &mut self.in_flight.merges[merging as usize];
        if entry.is_too_large {
            return;
        }
        if is_full {
            return self.cut_merging(merging);
        }
        let Some(client) = self.clients.get_mut(entry.client) else { return };
        client.early_bytes += piece.len();
        client.merged_bytes += piece.len();
        entry.collected += piece.len();
        let part = &mut entry.parts[usize::from(part)];
        let before = part.bytes.capacity();
        if part.pieces.unsent() == 0 && part.bytes.len() + piece.len() <= LARGE {
            part.bytes.extend_from_slice(piece);
        } else {
            part.pieces.push_vec(&mut self.in_flight.arena, std::mem::take(&mut part.bytes));
            part.pieces.push_vec(&mut self.in_flight.arena, piece.to_vec());
        }
        let after = part.bytes.capacity();
        if after != before {
            let held = entry.charged - before + after;
            self.in_flight.arena.recharge(&mut entry.charged, held);
        }
    }

    /// What is collected for this request is too much: it is thrown away, as is what is still to come, and the reply
    /// will be an error.
    pub(super) fn cut_merging(&mut self, merging: MergingId) {
        let entry = &mut self.in_flight.merges[merging as usize];
        let client = entry.client;
        entry.is_too_large = true;
        let collected = std::mem::take(&mut entry.collected);
        for part in &mut entry.parts {
            part.bytes = Vec::new();
            part.pieces.clear(&mut self.in_flight.arena);
        }
        let held = entry.held();
        self.in_flight.arena.recharge(&mut entry.charged, held);
        self.forget_merged(client, collected);
    }

    /// So many bytes are no longer collected for this client.
    fn forget_merged(&mut self, id: Id, collected: usize) {
        if let Some(client) = self.clients.get_mut(id) {
            client.early_bytes -= collected;
            client.merged_bytes -= collected;
        }
    }

    /// An entry has changed, and with it what it holds.
    pub(super) fn charge_merging(&mut self, merging: &mut Merging) {
        let held = merging.held();
        self.in_flight.arena.recharge(&mut merging.charged, held);
    }

    /// What has come of the reply to a part is worth nothing: the rest is lost, or the part is asked again.
    pub(super) fn forget_collected(&mut self, merging: MergingId, request: RequestId) {
        let part = self.in_flight.requests[request].part();
        let entry = &mut self.in_flight.merges[merging as usize];
        let part = &mut entry.parts[usize::from(part)];
        let len = part.bytes.len() + part.pieces.unsent();
        part.bytes.clear();
        part.pieces.clear(&mut self.in_flight.arena);
        entry.collected -= len;
        let client = entry.client;
        self.forget_merged(client, len);
    }

    /// A part, which stands in no backend's line any more, has its whole reply, or an error instead of it.
    pub(super) fn answer_part(&mut self, merging: MergingId, request: RequestId, reply: &[u8], now: Millis) {
        self.forget_collected(merging, request);
        self.collect(merging, request, reply);
        self.end_part(merging, request, now);
    }

    /// All of the reply to a part, which stands in no backend's line any more, is collected. With the last one, the
    /// parent is answered.
    pub(super) fn end_part(&mut self, merging: MergingId, request: RequestId, now: Millis) {
        let part = self.in_flight.requests.remove(request).part();
        let entry = &mut self.in_flight.merges[merging as usize];
        debug_assert_eq!(entry.parts[usize::from(part)].request, Some(request));
        entry.parts[usize::from(part)].request = None;
        entry.unanswered -= 1;
        if entry.unanswered > 0 {
            return;
        }
        let mut merging = self.in_flight.merges.remove(merging as usize);
        let (client, parent) = (merging.client, merging.parent);
        if let Some(entry) = self.in_flight.requests.get_mut(parent) {
            entry.move_to(Place::Waiting);
        }
        let is_large = merging.collected > LARGE && merging.parts().iter().any(|part| part.pieces.unsent() > 0);
        let has_error = merging.parts().iter().any(|part| compose::is_error(&part.bytes));
        self.forget_merged(client, merging.collected);
        if is_large && !has_error {
            if merging.shape == Shape::ByPosition && merging.own_steps.is_empty() {
                let reply = self.join_pieces(&mut merging);
                self.spare_merging(merging);
                return self.fill_place(client, parent, reply, now);
            }
            merging.is_too_large = !self.gather_pieces(&mut merging);
        }
        let mut own_steps = std::mem::take(&mut merging.own_steps);
        let has_own_steps = !own_steps.is_empty();
        let is_asking = has_own_steps
            && !merging.is_too_large
            && self.maybe_inquire_for(client, parent, &mut own_steps, &mut merging.parts[0]);
        let mut reply = std::mem::take(&mut self.reading.reply);
        if is_asking {
            // It is answered when the other proxies have been heard.
        } else if merging.is_too_large {
            let text = self.out_of_memory("The replies of the servers");
            reply.extend_from_slice(text.as_bytes());
        } else if has_own_steps {
            let part = &merging.parts()[0];
            self.end_own_steps(client, own_steps, (part.backend, &part.bytes), Vec::new(), &mut reply, now);
        } else {
            compose::compose(merging.shape, merging.parts(), &merging.order, &mut reply);
            if let Shape::Subscribers(family) = merging.shape {
                let counted = std::mem::take(&mut reply);
                self.correct_subscribers(family, &counted, &mut reply);
            }
        }
        let is_lost = merging.is_too_large && has_own_steps;
        self.spare_merging(merging);
        if is_lost {
            // It was run, and may have selected another database: its client must not go on in the old one.
            self.close_client(client, Goodbye::Unread);
        } else if is_asking {
            // Nothing is to be said yet.
        } else if reply.len() > LARGE {
            let mut queue = Queue::new();
            queue.push_vec(&mut self.in_flight.arena, std::mem::take(&mut reply));
            self.fill_place(client, parent, queue, now);
        } else {
            self.deliver(client, parent, &reply, now);
        }
        self.spare_reply(reply);
    }

    /// The client of a parent is gone, and the parent with it: nobody waits for its parts.
    pub(super) fn abandon_merging(&mut self, merging: MergingId) {
        let merging = self.in_flight.merges.remove(merging as usize);
        for request in merging.parts().iter().filter_map(|part| part.request) {
            let entry = &mut self.in_flight.requests[request];
            entry.forget_client();
            entry.move_to(Place::Waiting);
            if !entry.is_at_backend() {
                self.in_flight.requests.remove(request);
            }
        }
        self.forget_merged(merging.client, merging.collected);
        self.spare_merging(merging);
    }
}
