//! What a backend may do next: its handshake, and the requests that it owes replies to.
//!
//! ```text
//!   Connecting ──► Handshake ──► Ready ──► Draining ──► Closed
//!        │            │  ▲         │          ▲ a request timed out, or was sent by half, or a huge reply came
//!        │            │  └─────────┘          │
//!        │            │  another profile, or another password, while idle: of one that is never idle, Settling
//!        └────────────┴──────────┴────────────┴──► Closed: lost, silent, or not to be trusted
//! ```
//!
//! No byte of a user's request is sent before the handshake is confirmed; until then it waits in `queue`, where it can
//! be taken back. A queue keeps a request until it is answered:
//!
//! ```text
//!   queue:      [ GET a ][ SET b .. ][ GET c ]
//!               ▲ answered      ▲ sent        ▲ end     answered <= sent <= end
//!   in flight:    first ──────────────► last            the sum of their lengths is end - answered
//! ```
//!
//! Some of those in flight are tombstones: nobody waits for their replies any more, which are dropped as they come.
//!
//! Knows no sockets and no clients but their ids. Every byte that arrives belongs to the first in flight; one that
//! belongs to nobody closes the backend.

use std::mem;

use self::batches::Batches;
use self::handshake::{Demand, Handshake};
use self::lease::Lease;
use crate::buffer::{Arena, Queue};
use crate::request::BackendLine;
use crate::resp::ReplyFramer;
use crate::server::Seen;
use crate::server_id::ServerId;
use crate::session::Profile;
use crate::slots::Id;
use crate::timer::{Alarm, Millis, Wheel};
use crate::users::Credentials;

mod batches;
mod course;
pub mod handshake;
mod in_flight;
mod lease;
pub mod pace;
mod stream;

pub use self::course::Course;
pub use self::in_flight::Unsent;

/// Where a backend stands.
#[derive(Debug)]
pub enum Phase {
    /// The socket is not connected yet.
    Connecting,
    /// Connected; its session is being set up.
    Handshake(Handshake),
    /// Takes requests.
    Ready,
    /// Takes no new requests; closes once those that can still be answered are.
    Draining,
    /// Takes no new requests until it owes nothing: then it says again who rmux is, and takes them again.
    Settling,
    /// Closed; the slot is reaped at the end of the turn.
    Closed,
}

/// How far a connection has come with TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsStage {
    /// It has none, as far as is known.
    Plain,
    /// It has said its hello, and the server nothing.
    Asked,
    /// The server has said something, or all there is to say.
    Answered,
}

/// What a backend is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It is one of its server's pool.
    Pooled,
    /// It hears messages for all clients: it is in no pool, and answers no requests.
    Subscription,
    /// It is in no pool, and drains from the beginning: it is for requests that must not stand behind others.
    Reserve,
}

/// One of our connections to a server.
#[derive(Debug)]
pub struct Backend {
    server: ServerId,
    purpose: Purpose,
    phase: Phase,
    /// What its session is set to; while connecting or shaking hands, what it will be set to.
    profile: Profile,
    /// Requests on their way to the server, and those not answered yet.
    queue: Queue,
    /// The offset in `queue` behind the last request that was answered.
    answered: u64,
    /// The requests that it owes replies to.
    in_flight: BackendLine,
    /// When they were queued.
    batches: Batches,
    /// How many of them are tombstones.
    tombstones: usize,
    /// Finds the end of the reply that is arriving.
    framer: ReplyFramer,
    /// The start of a reply that is not whole yet.
    kept: Vec<u8>,
    /// The server's own number for it; 0 when it has not told one.
    number: i64,
    /// True once somebody was told that number, and may still use it: nobody else shall have this backend.
    is_number_told: bool,
    /// Which credentials its server was told, by their number; 0 before that.
    told: u32,
    /// True when it is to say again who rmux is, before anybody else has it.
    is_to_settle: bool,
    lease: Lease,
    /// What has come of the transaction that is built here.
    course: Course,
    /// True once those who could go elsewhere have gone, for the sake of a reply that takes long.
    is_rerouted: bool,
    /// The client whose large request is on its way.
    uploader: Option<Id>,
    /// When the last of that came, as far as it came fast enough.
    uploaded_at: Millis,
    /// How many bytes came then that are not worth a millisecond.
    uploaded_rest: usize,
    /// True while a large reply is passed on as it arrives.
    is_in_large_reply: bool,
    /// Its entry in the timer wheel.
    alarm: Alarm,
    /// When it began to connect, or to shake hands, or was last of use.
    since: Millis,
    /// When the large reply began that arrives.
    large_since: Millis,
    /// When the server last said anything, or was read again after a pause.
    heard_at: Millis,
    /// When the server last took bytes, or there were none to take.
    took_at: Millis,
    /// When its first handshake was done; `None` before that: only then does a failure speak of the server.
    ready_at: Option<Millis>,
    /// True while it stands in the list of those who have something to send.
    is_dirty: bool,
    /// True while its socket takes nothing.
    is_write_blocked: bool,
    /// True while it is not read, because the client that it answers takes nothing.
    is_read_paused: bool,
    /// True while it is at an address that its server's name does not have any more.
    is_outdated: bool,
    /// True while it connects, and there is nowhere to connect to yet.
    is_held_back: bool,
    tls: TlsStage,
}

/// What was in flight on a backend that has none of it any more.
#[derive(Debug)]
#[must_use]
pub struct Unanswered {
    /// The requests, the oldest first.
    pub in_flight: BackendLine,
    /// Their bytes, as far as they are kept: from `answered` on; up to `queue.sent()` the server may have seen them.
    pub queue: Queue,
    /// Where the bytes of the first one begin.
    pub answered: u64,
    /// The client whose large request was on its way.
    pub uploader: Option<Id>,
    /// The client that had it for itself.
    pub owner: Option<Id>,
    /// True if that one was in bulk.
    pub was_in_bulk: bool,
}

impl Backend {
    /// A backend that begins to connect.
    pub fn new(server: ServerId, profile: Profile, purpose: Purpose, now: Millis) -> Backend {
        Backend {
            server,
            purpose,
            phase: Phase::Connecting,
            profile,
            queue: Queue::new(),
            answered: 0,
            in_flight: BackendLine::default(),
            batches: Batches::default(),
            tombstones: 0,
            framer: ReplyFramer::new(),
            kept: Vec::new(),
            number: 0,
            is_number_told: false,
            told: 0,
            is_to_settle: false,
            lease: Lease::Shared,
            course: Course::default(),
            is_rerouted: false,
            uploader: None,
            uploaded_at: now,
            uploaded_rest: 0,
            is_in_large_reply: false,
            alarm: Alarm::default(),
            since: now,
            large_since: now,
            heard_at: now,
            took_at: now,
            ready_at: None,
            is_dirty: false,
            is_write_blocked: false,
            is_read_paused: false,
            is_outdated: false,
            is_held_back: false,
            tls: TlsStage::Plain,
        }
    }

    /// Its server.
    #[inline]
    pub fn server(&self) -> ServerId {
        self.server
    }

    /// What its session is set to; while connecting or shaking hands, what it will be set to.
    #[inline]
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// True exactly when it is one of its server's pool.
    pub fn is_pooled(&self) -> bool {
        self.purpose == Purpose::Pooled
    }

    /// True exactly when it hears messages for all clients.
    #[inline]
    pub fn is_subscription(&self) -> bool {
        self.purpose == Purpose::Subscription
    }

    /// True exactly when it is for requests that must not stand behind others, and takes any.
    pub fn is_open_reserve(&self) -> bool {
        self.purpose == Purpose::Reserve && !self.is_closed()
    }

    /// Where it stands.
    #[inline]
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Its handshake, while there is one.
    pub fn handshake(&self) -> Option<&Handshake> {
        match &self.phase {
            Phase::Handshake(handshake) => Some(handshake),
            _ => None,
        }
    }

    /// The same, to go on with it.
    pub fn handshake_mut(&mut self) -> Option<&mut Handshake> {
        match &mut self.phase {
            Phase::Handshake(handshake) => Some(handshake),
            _ => None,
        }
    }

    /// True while it is at an address that its server's name does not have any more.
    pub fn is_outdated(&self) -> bool {
        self.is_outdated
    }

    /// Whether that is so from here on.
    pub fn set_outdated(&mut self, is_outdated: bool) {
        self.is_outdated = is_outdated;
    }

    /// How far it has come with TLS.
    pub fn tls(&self) -> TlsStage {
        self.tls
    }

    /// It has come so far.
    pub fn set_tls(&mut self, tls: TlsStage) {
        self.tls = tls;
    }

    /// There is nowhere to connect it to yet.
    pub fn hold_back(&mut self) {
        self.is_held_back = true;
    }

    /// True while it connects, and there is nowhere to connect to yet.
    pub fn is_held_back(&self) -> bool {
        self.is_held_back && matches!(self.phase, Phase::Connecting)
    }

    /// There is somewhere to connect to. True exactly when that has to be done.
    pub fn let_on(&mut self) -> bool {
        let is_to_be_connected = self.is_held_back();
        self.is_held_back = false;
        is_to_be_connected
    }

    /// True while it connects or shakes hands: no request was sent on it since then.
    pub fn is_setting_up(&self) -> bool {
        matches!(self.phase, Phase::Connecting | Phase::Handshake(_))
    }

    /// True while it takes requests, and sends them at once.
    #[inline]
    pub fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready)
    }

    /// True while it takes no new requests, and may still answer some.
    pub fn is_draining(&self) -> bool {
        matches!(self.phase, Phase::Draining)
    }

    /// True once it is closed.
    #[inline]
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// True while it may still become, or is, of use to new requests.
    #[inline]
    pub fn is_serving(&self) -> bool {
        matches!(self.phase, Phase::Connecting | Phase::Handshake(_) | Phase::Ready)
    }

    /// True while it can be asked about what it has carried: also when it takes no other requests for a while.
    pub fn may_wait(&self) -> bool {
        self.is_serving() || self.is_settling()
    }

    /// True while what arrives are replies to requests.
    #[inline]
    pub fn is_answering(&self) -> bool {
        matches!(self.phase, Phase::Ready | Phase::Draining | Phase::Settling)
    }

    /// Its socket is connected: it shakes hands, and makes sure that its server is what is demanded. False if it does
    /// not connect any more.
    pub fn on_connected(&mut self, credentials: Option<&Credentials>, demand: Demand, now: Millis) -> bool {
        if !matches!(self.phase, Phase::Connecting) {
            return false;
        }
        self.phase = Phase::Handshake(Handshake::first(self.profile, credentials, demand));
        self.took_at = now;
        true
    }

    /// Sets an idle one to another profile.
    pub fn change_profile(&mut self, goal: Profile, now: Millis) {
        debug_assert!(self.is_ready() && self.in_flight.is_empty());
        self.phase = Phase::Handshake(Handshake::change(self.profile, goal));
        self.profile = goal;
        self.since = now;
    }

    /// Its server is told these credentials, which have this number, with the handshake that begins.
    pub fn on_told(&mut self, number: u32) {
        self.told = number;
    }

    /// Which credentials its server was told, by their number; 0 before that.
    pub fn told(&self) -> u32 {
        self.told
    }

    /// True while it takes no new requests, since it is to say again who rmux is.
    pub fn is_settling(&self) -> bool {
        matches!(self.phase, Phase::Settling)
    }

    /// It takes no new requests until it has said again who rmux is: at once if it is anybody's, else when the client
    /// gives it back that has it.
    pub fn settle(&mut self) {
        self.is_to_settle = true;
        self.settle_if_shared();
    }

    fn settle_if_shared(&mut self) {
        if self.is_to_settle && self.is_ready() && !self.is_held() {
            self.phase = Phase::Settling;
        }
    }

    /// True exactly when it can say again who rmux is: nobody has anything there, and none that may have watched keys
    /// has it.
    pub fn may_authenticate(&self) -> bool {
        let is_free = self.is_settling() || self.is_ready() && self.is_shared();
        is_free && self.in_flight.is_empty() && self.uploader.is_none()
    }

    /// Says again who rmux is; these credentials have this number.
    pub fn authenticate(&mut self, credentials: &Credentials, number: u32, now: Millis) {
        debug_assert!(self.may_authenticate());
        self.phase = Phase::Handshake(Handshake::again(self.profile, credentials));
        self.told = number;
        self.is_to_settle = false;
        self.since = now;
    }

    /// Every step of the handshake was answered. Returns whether it was the first one, and what the server said if it
    /// does not do what the profile asks for.
    pub fn on_greeted(&mut self, now: Millis) -> (bool, Option<Vec<u8>>) {
        let Phase::Handshake(handshake) = &mut self.phase else { return (false, None) };
        let (reached, refusal) = handshake.end();
        self.phase = if self.purpose == Purpose::Reserve { Phase::Draining } else { Phase::Ready };
        self.profile = reached;
        self.since = now;
        self.took_at = now;
        let is_first = self.ready_at.is_none();
        self.ready_at.get_or_insert(now);
        (is_first, refusal)
    }

    /// It takes no requests from here on, whether it is ready or not.
    pub fn abandon(&mut self) {
        self.phase = Phase::Draining;
    }

    /// It is ready, and takes no new requests from here on.
    pub fn drain(&mut self) {
        debug_assert!(self.is_ready() || self.is_settling());
        self.phase = Phase::Draining;
    }

    /// True exactly when it takes no new requests, and nobody waits for any reply: it is to be closed.
    #[inline]
    pub fn is_drained(&self) -> bool {
        self.is_draining() && self.awaited() == 0
    }

    /// It is closed. What it has not answered is somebody else's business from here on.
    pub fn close<K: Copy>(&mut self, wheel: &mut Wheel<K>, arena: &mut Arena) -> Unanswered {
        self.phase = Phase::Closed;
        self.alarm.clear(wheel);
        arena.uncharge(mem::take(&mut self.kept).capacity());
        self.take_unanswered()
    }

    /// Gives up everything that is in flight, and those who have it for themselves.
    fn take_unanswered(&mut self) -> Unanswered {
        self.tombstones = 0;
        self.batches = Batches::default();
        let lease = mem::replace(&mut self.lease, Lease::Shared);
        self.course = Course::default();
        Unanswered {
            in_flight: mem::take(&mut self.in_flight),
            queue: mem::take(&mut self.queue),
            answered: self.answered,
            uploader: self.uploader.take(),
            owner: lease.owner(),
            was_in_bulk: matches!(lease, Lease::Bulk(_)),
        }
    }

    /// What it has shown of its server.
    pub fn seen(&self) -> Seen {
        let has_spoken = self.ready_at.is_some() || self.heard_at > self.since;
        Seen {
            ready_at: self.ready_at,
            heard_at: if has_spoken { self.heard_at } else { Millis(0) },
            has_answered: self.answered > 0,
        }
    }

    /// The server has told its own number for this connection.
    pub fn on_number(&mut self, number: i64) {
        self.number = number;
    }

    /// The server's own number for it, if it has told one. Who is told it may still use it when it has another client:
    /// so it gets none.
    pub fn tell_number(&mut self) -> Option<i64> {
        let number = Some(self.number).filter(|&number| number != 0)?;
        self.is_number_told = true;
        Some(number)
    }

    /// The server has selected this database, as its client has asked.
    pub fn on_selected(&mut self, database: u32) {
        self.profile.database = database;
    }

    /// Has it looked at then; `key` is its own.
    #[inline]
    pub fn wake_at<K: Copy>(&mut self, wheel: &mut Wheel<K>, key: K, deadline: Millis) {
        self.alarm.set(wheel, key, deadline);
    }

    /// The time has come.
    pub fn on_woken(&mut self) {
        self.alarm.on_fired();
    }

    /// When it is looked at next, if ever.
    pub fn wakes_at(&self) -> Option<Millis> {
        self.alarm.deadline()
    }
}

#[cfg(test)]
impl Backend {
    /// It has shaken hands.
    pub fn become_ready(&mut self) {
        self.phase = Phase::Ready;
    }
}
