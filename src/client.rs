//! What a client may do next: its session, what it waits for, and whether it is listened to.
//!
//! A client's session is virtual. It lives here, for as long as the connection, and never on a backend: whichever
//! backend serves a request is one whose profile is the client's.
//!
//! ```text
//!          ┌────────── Open ◄───────────┐
//!   too much unread, or outstanding     │ less again, or room in the pool, or the upload is whole
//!          ├──► Paused, Throttled ──────┤
//!   no backend can take the request     │
//!          ├──► AwaitingBackend ────────┤      any ──► Leaving: answers what is outstanding, then closes
//!   its own requests are in the way     │      any ──► Closed: to be reaped at the end of the turn
//!          ├──► AwaitingOwnReplies ─────┤
//!   its subscription is not confirmed   │
//!          ├──► Subscribing ────────────┤
//!   its question is with other proxies  │
//!          ├──► Asking ─────────────────┤
//!   it gave a wrong password            │
//!          ├──► Denied ─────────────────┤
//!   a command that waits for data       │
//!          ├──► BlockedOnCommand ───────┤
//!   a large request, on its way         │
//!          └──► Uploading ──────────────┘
//! ```
//!
//! Knows no sockets and no servers. Invariants: a request of this client is outstanding exactly when it stands in its
//! reply order; its affinities count, for each server, those of them that stand in a backend's line, and all of one
//! server stand in the line of the same backend; while `AwaitingBackend`, `AwaitingOwnReplies`, `Subscribing`,
//! `Asking`, `Denied`, `Deferred`, `BlockedOnCommand`, `Throttled` or `Paused`, what it sent behind lies in `kept`.

use crate::buffer::{Arena, Queue};
use crate::command::{Channels, Command};
use crate::request::{ClientLine, Place, RequestId, Requests};
use crate::resp::RequestFramer;
use crate::server_id::ServerId;
use crate::session::{Protocol, Session};
use crate::slots::Id;
use crate::subscription::Subscriber;
use crate::timer::{Alarm, Millis};
use crate::users::UserId;

/// What a client may ask for. Anything but `Plain` takes its requests another way; the others pay one comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Everything.
    #[default]
    Plain,
    /// Only to be let in: it has not said who it is, and there are passwords.
    Unauthenticated,
}

/// What a parked client waits for at a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Room for one more request on a shared backend.
    Room,
    /// A backend for itself.
    Lease,
    /// The same, for no other reason than that it has much in flight or unread: with less it can do without.
    Bulk,
    /// The backend that carried its last write, for itself.
    LastWriter,
}

/// Whether a client is listened to, and why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// It may send the next request.
    Open,
    /// It must take some replies first, or it waits for connections of its own (see the proxy's `bulk`).
    Paused {
        /// Since when, or since it last took something.
        since: Millis,
        /// True if it waits for nothing but that: its next request is one that rmux answers, and no server could keep
        /// the reply.
        is_full: bool,
    },
    /// Its next request waits until this backend, which it has for itself, has sent some of what it was given.
    Throttled {
        /// The backend.
        backend: Id,
    },
    /// Its next request waits until a backend of this server can take it, or until this point in time.
    AwaitingBackend {
        /// Index of the server.
        server: ServerId,
        /// What it needs there.
        need: Need,
        /// When the wait is given up.
        deadline: Millis,
    },
    /// Its next request waits until those that it has outstanding at this server are answered: they stand in the line
    /// of a backend that can not take it.
    AwaitingOwnReplies {
        /// Index of the server.
        server: ServerId,
    },
    /// Its next request waits until the servers have confirmed what it has subscribed to, or, if it publishes, what
    /// others have.
    Subscribing,
    /// It has asked about the whole pool, and its next request waits until the other proxies have answered.
    Asking,
    /// It gave a wrong password, and is told so at this point in time.
    Denied {
        /// Keeps the place of the reply.
        request: RequestId,
        /// When it has its reply.
        until: Millis,
    },
    /// Its next request is about all clients, and more work than this turn still does: it waits for the next one.
    Deferred,
    /// It waits for data (`BLPOP` …) on this backend, which it has for itself.
    BlockedOnCommand {
        /// The backend.
        backend: Id,
    },
    /// A large request is passed on as it arrives: to this backend, or to nobody when that one is lost.
    Uploading {
        /// The backend that takes it; [`Id::NONE`] when the rest is thrown away.
        backend: Id,
        /// The request.
        request: RequestId,
    },
    /// Nothing more is read; what is outstanding is answered, then the connection is closed.
    Leaving,
    /// Closed; the slot is reaped at the end of the turn.
    Closed,
}

/// Why the next request of a client goes to the same backend of a server as the one before: what is outstanding there.
#[derive(Debug, Clone, Copy)]
pub struct Affinity {
    /// The backend in whose line all of them stand.
    pub backend: Id,
    /// How many they are; never 0.
    pub count: u32,
    /// Index of the server.
    pub server: ServerId,
}

/// A backend that a client has for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leased {
    /// Index of its server.
    pub server: ServerId,
    /// The backend, whose owner is the client.
    pub backend: Id,
}

/// What a client in bulk has: more of its requests are in flight, or more of its replies unread, than others may wait
/// behind.
#[derive(Debug, Default)]
pub struct Bulk {
    /// Backends that it has for itself, at most one at each server.
    pub held: Vec<Leased>,
}

impl Bulk {
    /// The backend that it has at this server.
    pub fn at(&self, server: ServerId) -> Option<Id> {
        self.held.iter().find(|held| held.server == server).map(|held| held.backend)
    }
}

/// A transaction that arrives step by step, or the keys that are watched for one.
#[derive(Debug, Default)]
pub struct Transaction {
    /// Where all of it goes, once a key has said which server that is.
    pub leased: Option<Leased>,
    /// The proxy's routing epoch in which a key said so.
    pub routing_epoch: u32,
    /// True once the client has said `MULTI`.
    pub is_multi: bool,
    /// True once the server was told `MULTI`.
    pub is_begun: bool,
    /// True once something was refused, or lost: `EXEC` will not be run.
    pub is_broken: bool,
    /// How many steps the server was given to queue.
    pub steps: usize,
    /// How many steps ask about the whole pool.
    pub pool_steps: usize,
    /// Those of them that are about the client's session, in their order.
    pub own_steps: Vec<OwnStep>,
    /// Steps that any server could queue, before a key has said which one will: what it is sent, and what becomes of
    /// that with `EXEC`.
    pub early_steps: Vec<(Vec<u8>, Option<OwnWhat>)>,
}

impl Transaction {
    /// How many steps are queued, here or at the server.
    pub fn queued(&self) -> usize {
        self.steps + self.early_steps.len()
    }

    /// Bytes of steps that are kept here.
    pub fn held_bytes(&self) -> usize {
        let held_by = |what: &OwnWhat| if let OwnWhat::Answer(request) = what { request.len() } else { 0 };
        let held: usize = self.own_steps.iter().map(|step| held_by(&step.what)).sum();
        let early = self.early_steps.iter();
        held + early.map(|(bytes, what)| bytes.len() + what.as_ref().map_or(0, held_by)).sum::<usize>()
    }
}

/// A step of a transaction that rmux has a part in, though it stands in the server's queue.
#[derive(Debug)]
pub struct OwnStep {
    /// Its place in the transaction, and so in the reply to `EXEC`.
    pub index: usize,
    /// What becomes of it with `EXEC`.
    pub what: OwnWhat,
}

/// What becomes of such a step when its transaction is run.
#[derive(Debug)]
pub enum OwnWhat {
    /// The server selects a database; if it does, the session has that one.
    Select(u32),
    /// It is a `PUBLISH`: so many more receive it than the server counts.
    Published(u32),
    /// It asks how many subscribe to channels of this family, and the server does not see all of them.
    Subscribers(Channels),
    /// rmux answers this request, and the server has a `PING` in its place.
    Answer(Box<[u8]>),
}

/// What a client has sent and rmux has not dealt with: the start of a request, or requests that must wait.
#[derive(Debug, Default)]
pub struct Kept {
    /// The bytes, from the start of a request on.
    pub bytes: Vec<u8>,
    /// How far they are understood.
    pub framer: RequestFramer,
    /// When the last of them came, if they are the start of a request whose rest is waited for.
    pub since: Option<Millis>,
}

impl Kept {
    /// The memory that it has, in bytes.
    pub fn held(&self) -> usize {
        size_of::<Kept>() + self.bytes.capacity() + self.framer.held()
    }
}

/// A connection that talks to us.
#[derive(Debug)]
pub struct Client {
    /// What it has told about itself.
    pub session: Session,
    /// What it may ask for.
    pub mode: Mode,
    /// Where it comes from, as `host:port`; `None` where nothing tells, as behind a Unix socket.
    pub peer: Option<Box<str>>,
    /// Replies on their way to it.
    pub replies: Queue,
    /// Its outstanding requests, in the order in which it sent them.
    pub reply_order: ClientLine,
    /// The same, counted by server.
    pub affinities: Vec<Affinity>,
    /// The proxy's routing epoch in which they were routed: a change of it waits until they are answered.
    pub routing_epoch: u32,
    /// The transaction that it is in; a `WATCH` begins one, too.
    pub transaction: Option<Box<Transaction>>,
    /// What it has while it is in bulk.
    pub bulk: Option<Box<Bulk>>,
    /// The backend that carried its last write; [`Id::NONE`] before the first. `WAIT` is about that one.
    pub wrote_to: Id,
    /// What it sent that is not dealt with.
    pub kept: Option<Box<Kept>>,
    /// What it asked for last.
    pub command: Option<&'static Command>,
    /// What it has because it subscribes.
    pub subscriber: Option<Box<Subscriber>>,
    /// Whether it is listened to.
    pub flow: Flow,
    /// Its entry in the timer wheel.
    pub alarm: Alarm,
    /// When it last sent something, or got a reply.
    pub heard_at: Millis,
    /// When it was last offered some of its replies: since then, while it is blocked, it took none.
    pub took_at: Millis,
    /// When it connected.
    pub since: Millis,
    /// Bytes of replies that came before their turn.
    pub early_bytes: usize,
    /// How many of its unread bytes may be replies that rmux put together: those are limited by the memory of all.
    pub merged_bytes: usize,
    /// True while a backend that it has an affinity to may not be read until it has taken some replies.
    pub holds_back: bool,
    /// True while it stands in the list of those who are paused, or were.
    pub is_in_paused: bool,
    /// True while it stands in the list of those who have something to send.
    pub is_dirty: bool,
    /// True while it stands in the list of subscribers that have messages to be sent.
    pub is_listed: bool,
    /// True while its socket takes nothing.
    pub is_write_blocked: bool,
    /// True once it said that nothing more will come.
    pub is_ended: bool,
    /// True once its socket said so, perhaps with something unread before that: it will not wait for data any more.
    pub has_hung_up: bool,
}

impl Client {
    /// A client that has just connected.
    pub fn new(now: Millis) -> Client {
        Client {
            session: Session::default(),
            mode: Mode::default(),
            peer: None,
            replies: Queue::new(),
            reply_order: ClientLine::default(),
            affinities: Vec::new(),
            routing_epoch: 0,
            transaction: None,
            bulk: None,
            wrote_to: Id::NONE,
            kept: None,
            command: None,
            subscriber: None,
            flow: Flow::Open,
            alarm: Alarm::default(),
            heard_at: now,
            took_at: now,
            since: now,
            early_bytes: 0,
            merged_bytes: 0,
            holds_back: false,
            is_in_paused: false,
            is_dirty: false,
            is_listed: false,
            is_write_blocked: false,
            is_ended: false,
            has_hung_up: false,
        }
    }

    /// It is this user from here on.
    pub fn set_user(&mut self, user: UserId) {
        self.session.user = user;
        self.mode = match self.mode {
            _ if user == UserId::NOBODY => Mode::Unauthenticated,
            Mode::Unauthenticated => Mode::Plain,
            mode => mode,
        };
    }

    /// True exactly when nothing is owed to it: no reply outstanding, none on its way.
    pub fn is_quiet(&self) -> bool {
        self.reply_order.is_empty() && self.replies.unsent() == 0
    }

    /// Bytes of replies that it has not taken.
    pub fn unread(&self) -> usize {
        self.replies.unsent() + self.early_bytes
    }

    /// The same without replies that rmux put together, which are limited by the memory of all.
    pub fn excess(&self) -> usize {
        self.unread().saturating_sub(self.merged_bytes)
    }

    /// True exactly when bytes that it sends can be dealt with.
    pub fn is_listened_to(&self) -> bool {
        match self.flow {
            // What is sent by one that is to leave is read and dropped, so that it comes to reading its replies.
            Flow::Open | Flow::Uploading { .. } | Flow::Leaving => !self.is_ended,
            // Whether it has more to say decides whether it waits for anything.
            Flow::Paused { .. } => self.kept.is_none() && !self.is_ended,
            _ => false,
        }
    }

    /// True exactly when it is not listened to until some of its requests are answered.
    pub fn awaits_replies(&self) -> bool {
        matches!(
            self.flow,
            Flow::AwaitingBackend { .. }
                | Flow::AwaitingOwnReplies { .. }
                | Flow::Subscribing
                | Flow::Asking
                | Flow::Denied { .. }
                | Flow::BlockedOnCommand { .. }
        )
    }

    /// True exactly when it hears messages.
    pub fn is_hearing(&self) -> bool {
        self.subscriber.as_ref().is_some_and(|subscriber| subscriber.is_hearing())
    }

    /// True exactly when each of its requests means what it always means.
    #[inline]
    pub fn is_plain(&self) -> bool {
        self.mode == Mode::Plain && self.transaction.is_none() && self.subscriber.is_none()
    }

    /// True exactly when it has nothing but replies on their way to it: no request outstanding or kept, no transaction,
    /// no subscription, and no backend that waits for it or is its own.
    #[inline]
    pub fn is_bare(&self) -> bool {
        let has_state = self.transaction.is_some() || self.subscriber.is_some() || self.bulk.is_some();
        debug_assert!(self.affinities.is_empty() || !self.reply_order.is_empty());
        self.reply_order.is_empty() && self.kept.is_none() && !has_state && !self.holds_back
    }

    /// The backend that it has for itself, for a transaction or for watched keys.
    pub fn leased(&self) -> Option<Leased> {
        self.transaction.as_ref()?.leased
    }

    /// True exactly when its subscriptions stand between it and the servers: in RESP2 a client that hears messages may
    /// do little else, in RESP3 it can until they are confirmed.
    pub fn is_restrained(&self) -> bool {
        let Some(subscriber) = &self.subscriber else { return false };
        let is_resp2 = self.session.profile.protocol == Protocol::Resp2;
        subscriber.is_hearing() && (is_resp2 || !subscriber.awaited.is_empty())
    }

    /// True exactly when a message can go out next: no reply is half sent, nothing is subscribed to and not confirmed,
    /// and, in RESP2, where a message can not be told from a reply, no reply is outstanding at all.
    pub fn is_open_to_messages(&self, requests: &Requests) -> bool {
        let Some(first) = self.reply_order.first() else { return true };
        self.session.profile.protocol == Protocol::Resp3
            && requests[first].place() != Place::Arriving
            && self.subscriber.as_ref().is_none_or(|subscriber| subscriber.awaited.is_empty())
    }

    /// Between two replies: sends the messages that had to wait, if they may go out now.
    pub fn release_messages(&mut self, arena: &mut Arena, requests: &Requests) {
        let is_open = self.is_open_to_messages(requests);
        let Some(subscriber) = &mut self.subscriber else { return };
        if is_open && subscriber.held.unsent() > 0 {
            let held = std::mem::take(&mut subscriber.held);
            self.early_bytes -= held.unsent();
            self.replies.append(arena, held);
        }
        if subscriber.is_spent() {
            self.subscriber = None;
        }
    }

    /// Its outstanding requests at `server`.
    #[inline]
    pub fn affinity(&self, server: ServerId) -> Option<Affinity> {
        self.affinities.iter().find(|affinity| affinity.server == server).copied()
    }

    /// So many more requests stand in the line of `backend`, which is one of `server`: those that follow go there, too.
    #[inline]
    pub fn pin(&mut self, server: ServerId, backend: Id, count: u32) {
        match self.affinities.iter_mut().find(|affinity| affinity.server == server) {
            Some(affinity) => {
                debug_assert!(affinity.backend == backend, "all of one server stand in one line");
                affinity.count += count;
            }
            None => self.affinities.push(Affinity { backend, count, server }),
        }
    }

    /// So many requests have left the line of a backend of `server`.
    #[inline]
    pub fn unpin(&mut self, server: ServerId, count: u32) {
        let Some(index) = self.affinities.iter().position(|affinity| affinity.server == server) else {
            debug_assert!(false, "a request that stood in a backend's line had an affinity");
            return;
        };
        self.affinities[index].count -= count;
        if self.affinities[index].count == 0 {
            self.affinities.swap_remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_client_is_small() {
        assert!(size_of::<Client>() <= 264, "{} bytes", size_of::<Client>());
    }

    #[test]
    fn lanes_end_with_their_last_request() {
        let mut client = Client::new(Millis(0));
        client.pin(ServerId::of_index(3), Id::NONE, 1);
        client.pin(ServerId::of_index(1), Id::NONE, 1);
        client.pin(ServerId::of_index(3), Id::NONE, 1);
        client.unpin(ServerId::of_index(3), 1);
        assert_eq!(client.affinity(ServerId::of_index(3)).map(|affinity| affinity.count), Some(1));
        client.unpin(ServerId::of_index(3), 1);
        assert!(client.affinity(ServerId::of_index(3)).is_none());
        assert_eq!(client.affinity(ServerId::of_index(1)).map(|affinity| affinity.count), Some(1));
    }
}
