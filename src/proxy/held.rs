//! Requests that a server has refused because it is no master (`-READONLY`), until there is one.
//!
//! Owns their bytes, and the order in which those of a client are to be sent. Knows no connections and sends nothing:
//! what becomes of them is decided in `await_master`.
//!
//! ```text
//!   line of client 7 at server 0    [SET a 1: refused] [GET a: answered, to be asked again] [SET a 2: refused]
//!   its reply order                 [SET a 1: waiting] [GET a: early "x"] [SET a 2: waiting] [PING: early]
//! ```
//!
//! A line has a number, which grows: the oldest has the least. To find the line of a client, or to take one out, costs
//! no more when there are thousands.
//!
//! Invariants: of a client at a server there is one line at the most, and none without a request; those in a line are
//! in no backend's line, and in the order in which they were sent; the first of a line is no read that has a reply;
//! `charged` is what the account has for them; no more than `HELD_MAX` are held, so long as no connection is lost with
//! what stands behind them; a server of which there are lines is a refuser, and its `lines` says how many.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::ops::Range;

use super::look::Look;
use crate::buffer::Arena;
use crate::request::RequestId;
use crate::server_id::ServerId;
use crate::session::Profile;
use crate::slots::Id;
use crate::timer::Millis;

/// So many requests are held at the most; what is refused beyond that is told so.
pub(super) const HELD_MAX: usize = 10_000;

/// So often a server is asked on a new connection, in milliseconds.
const CONNECT_MS: u64 = 250;

/// One request that is to be sent again.
#[derive(Debug)]
pub(super) struct HeldRequest {
    pub request: RequestId,
    pub bytes: Vec<u8>,
    /// What its client is told if it is not; `None` of a read whose reply is there, from before those in front of it.
    pub refusal: Option<Box<[u8]>>,
}

impl HeldRequest {
    fn held(&self) -> usize {
        size_of::<HeldRequest>() + self.bytes.capacity() + self.refusal.as_ref().map_or(0, |refusal| refusal.len())
    }
}

/// What is held of one client at one server.
#[derive(Debug)]
pub(super) struct Line {
    pub client: Id,
    pub server: ServerId,
    /// What the session of a backend must be set to that runs them.
    pub profile: Profile,
    pub requests: VecDeque<HeldRequest>,
    /// Where the next one goes that is refused, if the first ones were sent again and are not all answered: those
    /// behind that place were not sent.
    pub place: Option<usize>,
}

/// A server that is no master, as far as is known.
#[derive(Debug)]
pub(super) struct Refuser {
    pub server: ServerId,
    /// How many lines wait for it.
    pub lines: usize,
    /// The profile of the youngest of them.
    pub profile: Profile,
    /// Since when.
    pub since: Millis,
    /// When it is asked next what it is.
    pub ask_at: Millis,
    /// How long after that once more, in milliseconds.
    pub pause_ms: u64,
    /// When it is asked next on a connection of its own: those that are there may lead to where it was.
    pub connect_at: Millis,
    /// True once it has said that it is a master, and has refused nothing since.
    pub is_master: bool,
}

impl Refuser {
    /// Whether it is to be asked on a new connection now; the next time is later.
    pub fn is_connect_due(&mut self, now: Millis) -> bool {
        let is_due = self.connect_at <= now;
        if is_due {
            self.connect_at = now + CONNECT_MS;
        }
        is_due
    }
}

/// All that is held.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// By their numbers.
    lines: BTreeMap<u64, Line>,
    /// Their numbers, by client and server.
    numbers: BTreeMap<(Id, ServerId), u64>,
    next_number: u64,
    refusers: Vec<Refuser>,
    count: usize,
    /// What the account of memory has for it, in bytes.
    charged: usize,
    /// When all of it is looked at.
    pub look: Look,
}

impl Held {
    /// True exactly when nothing is held, and nobody waits for a master.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.refusers.is_empty()
    }

    /// How many servers refuse; 0 exactly when it is empty.
    #[inline]
    pub fn refusals(&self) -> usize {
        self.refusers.len()
    }

    /// How many requests are held.
    pub fn count(&self) -> usize {
        self.count
    }

    /// What the account of memory has for it, in bytes.
    pub fn charged(&self) -> usize {
        self.charged
    }

    /// Whether anything is held of this client, and at which server.
    pub fn server_of(&self, client: Id) -> Option<ServerId> {
        self.places_of(client).next().map(|(server, _)| server)
    }

    /// The numbers of this client's lines.
    pub fn numbers_of(&self, client: Id) -> Vec<u64> {
        self.places_of(client).map(|(_, number)| number).collect()
    }

    fn places_of(&self, client: Id) -> impl Iterator<Item = (ServerId, u64)> {
        // No server's id is less.
        let from_here = self.numbers.range((client, ServerId::of_index(0))..);
        from_here.take_while(move |((owner, _), _)| *owner == client).map(|((_, server), number)| (*server, *number))
    }

    /// The number of the line of this client at this server.
    pub fn number_of(&self, client: Id, server: ServerId) -> Option<u64> {
        self.numbers.get(&(client, server)).copied()
    }

    /// What is held of this client at this server.
    pub fn line_of(&self, client: Id, server: ServerId) -> Option<&Line> {
        self.line(self.number_of(client, server)?)
    }

    /// The line with this number.
    pub fn line(&self, number: u64) -> Option<&Line> {
        self.lines.get(&number)
    }

    /// All lines, the oldest first.
    pub fn lines(&self) -> impl ExactSizeIterator<Item = &Line> {
        self.lines.values()
    }

    /// The numbers of all lines, the oldest first.
    pub fn numbers(&self) -> Vec<u64> {
        self.lines.keys().copied().collect()
    }

    /// One more request of this client is held, in the order in which they were sent. Its server is a refuser.
    pub fn push(&mut self, client: Id, server: ServerId, profile: Profile, held: HeldRequest, arena: &mut Arena) {
        self.count += 1;
        self.charged += held.held();
        arena.charge(held.held());
        let number = *self.numbers.entry((client, server)).or_insert(self.next_number);
        if let Some(line) = self.lines.get_mut(&number) {
            let place = line.place.unwrap_or(line.requests.len());
            line.requests.insert(place, held);
            line.place = line.place.map(|place| place + 1);
            return;
        }
        self.next_number += 1;
        self.lines.insert(number, Line { client, server, profile, requests: VecDeque::from([held]), place: None });
        if let Some(refuser) = self.refuser_mut(server) {
            (refuser.lines, refuser.profile) = (refuser.lines + 1, profile);
        }
    }

    /// Takes out those of a line in this range. They are held no longer; without any, the line is gone.
    pub fn take(&mut self, number: u64, range: Range<usize>, arena: &mut Arena) -> Vec<HeldRequest> {
        let Some(line) = self.lines.get_mut(&number) else { return Vec::new() };
        let (client, server) = (line.client, line.server);
        line.place = line.place.map(|place| place - range.end.min(place).saturating_sub(range.start));
        let taken: Vec<HeldRequest> = line.requests.drain(range).collect();
        if line.requests.is_empty() {
            self.lines.remove(&number);
            self.numbers.remove(&(client, server));
            if let Some(refuser) = self.refuser_mut(server) {
                refuser.lines -= 1;
            }
        }
        self.count -= taken.len();
        let held: usize = taken.iter().map(HeldRequest::held).sum();
        self.charged -= held;
        arena.uncharge(held);
        taken
    }

    /// This one, which was the first of its line, is held again; those before it were sent.
    pub fn put_back(&mut self, client: Id, server: ServerId, profile: Profile, held: HeldRequest, arena: &mut Arena) {
        self.push(client, server, profile, held, arena);
        let line = self.number_of(client, server).and_then(|number| self.lines.get_mut(&number));
        if let Some(line) = line {
            let place = line.place.map_or(line.requests.len(), |place| place) - 1;
            line.requests.make_contiguous()[..=place].rotate_right(1);
            line.place = Some(0);
        }
    }

    /// The first of a line is sent: what reads behind it were answered before is worth nothing. If they are not asked
    /// again, they are told the same as the first one. Returns them.
    pub fn forget_replies(&mut self, number: u64, arena: &mut Arena) -> Vec<RequestId> {
        let Some(line) = self.lines.get_mut(&number) else { return Vec::new() };
        let first = line.requests.front().and_then(|first| first.refusal.clone());
        let mut reads = Vec::new();
        for held in line.requests.iter_mut().filter(|held| held.refusal.is_none()) {
            held.refusal = Some(first.clone().unwrap_or_default());
            let len = first.as_ref().map_or(0, |first| first.len());
            self.charged += len;
            arena.charge(len);
            reads.push(held.request);
        }
        reads
    }

    /// All that was sent of a line is answered.
    pub fn on_all_answered(&mut self, number: u64) {
        if let Some(line) = self.lines.get_mut(&number) {
            line.place = None;
        }
    }

    /// Those that are no masters.
    pub fn refusers(&self) -> &[Refuser] {
        &self.refusers
    }

    /// What is known of one of them.
    pub fn refuser_mut(&mut self, server: ServerId) -> Option<&mut Refuser> {
        self.refusers.iter_mut().find(|refuser| refuser.server == server)
    }

    /// This one is none, either.
    pub fn add_refuser(&mut self, refuser: Refuser) {
        self.refusers.push(refuser);
    }

    /// Takes out those for which nothing waits any more, and has not since they were asked last.
    pub fn take_unneeded(&mut self, now: Millis) -> Vec<Refuser> {
        let is_needed = |refuser: &Refuser| refuser.ask_at > now || refuser.lines > 0;
        let (needed, unneeded) = mem::take(&mut self.refusers).into_iter().partition(is_needed);
        self.refusers = needed;
        unneeded
    }
}
