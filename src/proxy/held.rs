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
//! Invariants: of a client at a server there is one line at the most, and none without a request; those in a line are
//! in no backend's line, and in the order in which they were sent; `charged` is what the account has for them; no more
//! than `HELD_MAX` are held, so long as no connection is lost with what stands behind them.

use std::mem;
use std::ops::Range;

use crate::buffer::Arena;
use crate::request::RequestId;
use crate::server_id::ServerId;
use crate::session::Profile;
use crate::slots::Id;
use crate::timer::{Alarm, Millis, Wheel};

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
    pub requests: Vec<HeldRequest>,
    /// Where the next one goes that is refused, if the first ones were sent again and are not all answered: those
    /// behind that place were not sent.
    pub place: Option<usize>,
}

/// A server that is no master, as far as is known.
#[derive(Debug)]
pub(super) struct Refuser {
    pub server: ServerId,
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
    lines: Vec<Line>,
    refusers: Vec<Refuser>,
    count: usize,
    /// What the account of memory has for it, in bytes.
    charged: usize,
    alarm: Alarm,
}

impl Held {
    /// True exactly when nothing is held, and nobody waits for a master.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.refusers.is_empty()
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
        self.lines.iter().find(|line| line.client == client).map(|line| line.server)
    }

    /// What is held of this client at this server.
    pub fn line(&self, client: Id, server: ServerId) -> Option<&Line> {
        self.lines.iter().find(|line| line.client == client && line.server == server)
    }

    /// All lines, the oldest first.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// One more request of this client is held, in the order in which they were sent.
    pub fn push(&mut self, client: Id, server: ServerId, profile: Profile, held: HeldRequest, arena: &mut Arena) {
        self.count += 1;
        self.charged += held.held();
        arena.charge(held.held());
        match self.lines.iter_mut().find(|line| line.client == client && line.server == server) {
            Some(line) => {
                let place = line.place.unwrap_or(line.requests.len());
                line.requests.insert(place, held);
                line.place = line.place.map(|place| place + 1);
            }
            None => self.lines.push(Line { client, server, profile, requests: vec![held], place: None }),
        }
    }

    /// Takes out those of a line in this range. They are held no longer; without any, the line is gone.
    pub fn take(&mut self, index: usize, range: Range<usize>, arena: &mut Arena) -> Vec<HeldRequest> {
        let line = &mut self.lines[index];
        line.place = line.place.map(|place| place - range.end.min(place).saturating_sub(range.start));
        let taken: Vec<HeldRequest> = line.requests.drain(range).collect();
        if line.requests.is_empty() {
            self.lines.remove(index);
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
        if let Some(index) = self.index_of(client, server) {
            let line = &mut self.lines[index];
            let place = line.place.map_or(line.requests.len(), |place| place) - 1;
            line.requests[..=place].rotate_right(1);
            line.place = Some(0);
        }
    }

    /// The number of a line.
    pub fn index_of(&self, client: Id, server: ServerId) -> Option<usize> {
        self.lines.iter().position(|line| line.client == client && line.server == server)
    }

    /// The first of a line is sent: what reads behind it were answered before is worth nothing. If they are not asked
    /// again, they are told the same as the first one. Returns them.
    pub fn forget_replies(&mut self, index: usize, arena: &mut Arena) -> Vec<RequestId> {
        let line = &mut self.lines[index];
        let first = line.requests.first().and_then(|first| first.refusal.clone());
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
    pub fn on_all_answered(&mut self, index: usize) {
        self.lines[index].place = None;
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
        let lines = &self.lines;
        let is_needed =
            |refuser: &Refuser| refuser.ask_at > now || lines.iter().any(|line| line.server == refuser.server);
        let (needed, unneeded) = mem::take(&mut self.refusers).into_iter().partition(is_needed);
        self.refusers = needed;
        unneeded
    }

    /// It is looked at then; `key` is that look's.
    pub fn wake_at<K: Copy>(&mut self, wheel: &mut Wheel<K>, key: K, deadline: Millis) {
        self.alarm.set(wheel, key, deadline);
    }

    /// It is.
    pub fn on_woken(&mut self) {
        self.alarm.on_fired();
    }
}
