//! What a client may do next: its session, what it waits for, and whether it is listened to.
//!
//! A client's session is virtual. It lives here, for as long as the connection, and never on a backend: whichever
//! backend serves a request is one whose profile is the client's.
//!
//! Nobody but [`Client::enter`] moves it from state to state, and only along these lines ([`Flow::may_become`]):
//!
//! ```text
//!          ┌────────── Open ◄───────────┐
//!   too much unread, or outstanding     │ less again, or room in the pool, or the upload is whole
//!          ├──► Paused, Throttled ──────┤
//!   no backend can take the request     │
//!          ├──► AwaitingBackend ────────┤      any ──► Closed: to be reaped at the end of the turn
//!   its own requests are in the way     │
//!          ├──► AwaitingOwnReplies ─────┤
//!   its subscription is not confirmed   │
//!          ├──► Subscribing ────────────┤
//!   its question is with other proxies  │
//!          ├──► Asking ─────────────────┤
//!   it gave a wrong password            │
//!          ├──► Denied ─────────────────┤
//!   more work than this turn still does │
//!          ├──► Deferred ───────────────┤
//!   a command that waits for data       │
//!          ├──► BlockedOnCommand ───────┤
//!   a large request, on its way         │
//!          └──► Uploading ──────────────┘
//! ```
//!
//! Owns all of that and its parts, each in a file of its own. Knows no sockets and no servers. Invariants: a request of
//! this client is outstanding exactly when it stands in its reply order; its affinities count, for each server, those
//! of them that stand in a backend's line, and all of one server stand in the line of the same backend; while
//! `AwaitingBackend`, `AwaitingOwnReplies`, `Subscribing`, `Asking`, `Denied`, `Deferred`, `BlockedOnCommand`,
//! `Throttled` or `Paused`, what it sent behind lies in `kept`.

mod affinity;
mod bulk;
mod connection;
mod departed;
mod flow;
mod kept;
mod replies;
mod standing;
mod transaction;

use self::affinity::Affinities;
pub use self::affinity::{Affinity, Leased};
pub use self::bulk::Bulk;
pub use self::connection::Connection;
pub use self::departed::{Departed, Left};
pub use self::flow::{Flow, Mode, Need};
pub use self::kept::Kept;
pub use self::replies::Replies;
pub use self::transaction::{EarlyStep, LocalEffect, LocalStep, Transaction};

use crate::buffer::{Arena, Queue};
use crate::command::Command;
use crate::request::{ClientLine, RequestId, Requests};
use crate::server_id::ServerId;
use crate::session::{Profile, Protocol, Session};
use crate::slots::Id;
use crate::subscription::Subscriber;
use crate::timer::{Alarm, Millis, Wheel};
use crate::users::UserId;

/// A connection that talks to us.
#[derive(Debug)]
pub struct Client {
    /// Where from, since when, and what its socket did last.
    connection: Connection,
    /// What it has told about itself.
    session: Session,
    /// Replies on their way to it.
    replies: Replies,
    /// Its outstanding requests, in the order in which it sent them.
    reply_order: ClientLine,
    /// The same, counted by server.
    affinities: Affinities,
    /// The proxy's routing epoch in which they were routed: a change of it waits until they are answered.
    routing_epoch: u32,
    /// The transaction that it is in; a `WATCH` begins one, too.
    transaction: Option<Box<Transaction>>,
    /// What it has while it is in bulk.
    bulk: Option<Box<Bulk>>,
    /// The backend that carried its last write; [`Id::NONE`] before the first. `WAIT` is about that one.
    wrote_to: Id,
    /// What it sent that is not dealt with.
    kept: Option<Box<Kept>>,
    /// What it asked for last.
    command: Option<&'static Command>,
    /// What it has because it subscribes.
    subscriber: Option<Box<Subscriber>>,
    /// Whether it is listened to.
    flow: Flow,
    /// Its entry in the timer wheel.
    alarm: Alarm,
}

impl Client {
    /// A client that has just connected.
    pub fn new(now: Millis) -> Client {
        Client {
            connection: Connection::new(now),
            session: Session::default(),
            replies: Replies::new(),
            reply_order: ClientLine::default(),
            affinities: Affinities::default(),
            routing_epoch: 0,
            transaction: None,
            bulk: None,
            wrote_to: Id::NONE,
            kept: None,
            command: None,
            subscriber: None,
            flow: Flow::Open,
            alarm: Alarm::default(),
        }
    }

    /// Its connection: where from, since when, and what its socket did last.
    #[inline]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The same; it is told what happens there.
    #[inline]
    pub fn connection_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Makes sure that somebody looks after it at `deadline` or before.
    #[inline]
    pub fn wake_at<K: Copy>(&mut self, wheel: &mut Wheel<K>, timer: K, deadline: Millis) {
        self.alarm.set(wheel, timer, deadline);
    }

    /// Somebody does.
    pub fn on_woken(&mut self) {
        self.alarm.on_fired();
    }

    /// When somebody will.
    pub fn wakes_at(&self) -> Option<Millis> {
        self.alarm.deadline()
    }

    // Its state.

    /// Whether it is listened to.
    #[inline]
    pub fn flow(&self) -> Flow {
        self.flow
    }

    /// It is in this state from here on. The only way from one to another.
    #[inline]
    pub fn enter(&mut self, flow: Flow) {
        debug_assert!(self.flow.may_become(flow), "no client goes from {:?} to {flow:?}", self.flow);
        self.flow = flow;
    }

    /// True exactly when it is closed, and not reaped yet.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.flow == Flow::Closed
    }

    /// True exactly when it may send the next request.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.flow == Flow::Open
    }

    /// It has too much outstanding or unread, and is not listened to; how long it waits is counted from the end of the
    /// turn on. That the rest of its request does not come is no longer its fault.
    pub fn pause(&mut self, is_full: bool) {
        self.enter(Flow::Paused { since: Millis(0), is_full });
        if let Some(kept) = &mut self.kept {
            kept.wait_since(None);
        }
    }

    /// If it is paused, its wait begins now, or anew. Returns whether it is full then.
    pub fn wait_paused(&mut self, now: Millis) -> Option<bool> {
        let Flow::Paused { is_full, .. } = self.flow else { return None };
        self.enter(Flow::Paused { since: now, is_full });
        Some(is_full)
    }

    /// If this is the request that it is uploading, the rest of it is thrown away as it comes. True if it is.
    pub fn discard_upload(&mut self, request: RequestId, now: Millis) -> bool {
        match self.flow {
            Flow::Uploading { request: uploading, .. } if uploading == request => {
                self.enter(Flow::Uploading { backend: Id::NONE, request });
                // It may not have been listened to, for the sake of a queue that is gone.
                if let Some(kept) = &mut self.kept {
                    kept.wait_since(Some(now));
                }
                true
            }
            _ => false,
        }
    }

    /// Closes it. What can be sent will not be; it leaves the rest.
    #[inline]
    pub fn close<K: Copy>(&mut self, wheel: &mut Wheel<K>, arena: &mut Arena) -> Departed {
        let flow = self.flow;
        if flow == Flow::Closed {
            return Departed::Before;
        }
        self.enter(Flow::Closed);
        self.alarm.clear(wheel);
        self.replies.clear(arena);
        // Nearly always it leaves nothing else behind.
        if flow == Flow::Open && self.is_bare() {
            return Departed::Clean;
        }
        Departed::Leaves(Left::of(self, flow))
    }

    // Its session.

    /// What it has told about itself.
    #[inline]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// What a backend must be set to that serves it.
    #[inline]
    pub fn profile(&self) -> Profile {
        self.session.profile
    }

    /// The version of the protocol that it speaks.
    pub fn protocol(&self) -> Protocol {
        self.session.profile.protocol
    }

    /// What it may ask for.
    #[inline]
    pub fn mode(&self) -> Mode {
        if self.session.user == UserId::NOBODY { Mode::Unauthenticated } else { Mode::Plain }
    }

    /// It is this user from here on.
    pub fn set_user(&mut self, user: UserId) {
        self.session.user = user;
    }

    /// A server has selected this database for it.
    pub fn on_selected(&mut self, database: u32) {
        self.session.profile.database = database;
    }

    /// Whether the reply to the request that is dealt with now is dropped. To be asked once for each request.
    #[inline]
    pub fn takes_no_reply(&mut self) -> bool {
        self.session.reply_mode.take()
    }

    /// It says something about itself: `answer` changes the session, and is told the address.
    pub fn tell<R>(&mut self, answer: impl FnOnce(&mut Session, Option<&str>) -> R) -> R {
        answer(&mut self.session, self.connection.peer())
    }

    // Its requests.

    /// It asks for this.
    #[inline]
    pub fn on_command(&mut self, command: &'static Command) {
        self.command = Some(command);
    }

    /// What it asked for last.
    pub fn command(&self) -> Option<&'static Command> {
        self.command
    }

    /// Its outstanding requests, in the order in which it sent them.
    #[inline]
    pub(crate) fn reply_order(&self) -> &ClientLine {
        &self.reply_order
    }

    /// The same, to be changed.
    #[inline]
    pub(crate) fn reply_order_mut(&mut self) -> &mut ClientLine {
        &mut self.reply_order
    }

    /// True exactly when its outstanding requests were routed in this epoch.
    #[inline]
    pub fn is_routed_in(&self, epoch: u32) -> bool {
        self.routing_epoch == epoch
    }

    /// Something that it sent is held, and what it sends next has to wait: it is routed in no epoch.
    pub fn hold(&mut self) {
        self.routing_epoch = EPOCH_OF_HELD;
    }

    /// True exactly when something that it sent is held.
    pub fn is_held(&self) -> bool {
        self.routing_epoch == EPOCH_OF_HELD
    }

    /// Nothing is held any more: what it sends next waits until what is outstanding is answered.
    pub fn let_go(&mut self) {
        self.routing_epoch = EPOCH_OF_NONE;
    }

    /// None are outstanding; the next ones are routed in this epoch.
    pub fn route_in(&mut self, epoch: u32) {
        debug_assert!(self.affinities.is_empty(), "what is outstanding was routed in another epoch");
        self.routing_epoch = epoch;
    }

    /// A write of its own goes to this backend.
    #[inline]
    pub fn on_write(&mut self, backend: Id) {
        self.wrote_to = backend;
    }

    /// The backend that carried its last write; [`Id::NONE`] before the first.
    pub fn wrote_to(&self) -> Id {
        self.wrote_to
    }

    /// What it sent that is not dealt with.
    pub fn kept(&self) -> Option<&Kept> {
        self.kept.as_deref()
    }

    /// What it sent is dealt with later. If it is listened to, the rest of that is waited for from now on.
    pub fn keep(&mut self, mut kept: Box<Kept>, now: Millis) {
        kept.wait_since(matches!(self.flow, Flow::Open | Flow::Uploading { .. }).then_some(now));
        self.kept = Some(kept);
    }

    /// Takes what it sent that is not dealt with.
    #[inline]
    pub fn take_kept(&mut self) -> Option<Box<Kept>> {
        self.kept.take()
    }

    // What it has while it is in a transaction, subscribes, or is in bulk.

    /// The transaction that it is in; a `WATCH` begins one, too.
    pub fn transaction(&self) -> Option<&Transaction> {
        self.transaction.as_deref()
    }

    /// The same, to be changed.
    pub fn transaction_mut(&mut self) -> Option<&mut Transaction> {
        self.transaction.as_deref_mut()
    }

    /// It is in a transaction from here on, if it was not.
    pub fn begin_transaction(&mut self) -> &mut Transaction {
        self.transaction.get_or_insert_default()
    }

    /// It is in a transaction no longer. Returns the one that it was in.
    pub fn end_transaction(&mut self) -> Option<Box<Transaction>> {
        self.transaction.take()
    }

    /// The backend that it has for itself, for a transaction or for watched keys.
    #[inline]
    pub fn leased(&self) -> Option<Leased> {
        self.transaction.as_ref()?.leased()
    }

    /// What it has because it subscribes.
    #[inline]
    pub fn subscriber(&self) -> Option<&Subscriber> {
        self.subscriber.as_deref()
    }

    /// The same, to be changed.
    pub fn subscriber_mut(&mut self) -> Option<&mut Subscriber> {
        self.subscriber.as_deref_mut()
    }

    /// It subscribes.
    pub fn subscribe(&mut self) -> &mut Subscriber {
        self.subscriber.get_or_insert_default()
    }

    /// Channels, patterns and shard channels that it hears.
    pub fn heard(&self) -> [u32; 3] {
        self.subscriber.as_ref().map_or([0; 3], |subscriber| subscriber.counts())
    }

    /// True exactly when it is in bulk.
    #[inline]
    pub fn is_in_bulk(&self) -> bool {
        self.bulk.is_some()
    }

    /// What it has while it is in bulk.
    #[inline]
    pub fn bulk(&self) -> Option<&Bulk> {
        self.bulk.as_deref()
    }

    /// The same, to be changed.
    pub fn bulk_mut(&mut self) -> Option<&mut Bulk> {
        self.bulk.as_deref_mut()
    }

    /// It is in bulk from here on.
    pub fn enter_bulk(&mut self) {
        debug_assert!(self.bulk.is_none(), "it would lose what it holds");
        self.bulk = Some(Box::default());
    }

    /// It is in bulk no longer. Returns what it had.
    pub fn leave_bulk(&mut self) -> Option<Bulk> {
        self.bulk.take().map(|bulk| *bulk)
    }

    /// If it is in bulk, it has those no longer on which it has no requests. Returns them.
    pub fn release_unused(&mut self) -> Vec<Leased> {
        let Some(bulk) = &mut self.bulk else { return Vec::new() };
        bulk.take_unused(|held| self.affinities.at(held.server).is_some())
    }

    // Its replies.

    /// Replies on their way to it.
    #[inline]
    pub fn replies(&self) -> &Replies {
        &self.replies
    }

    /// The same, to be added to.
    #[inline]
    pub fn replies_mut(&mut self) -> &mut Replies {
        &mut self.replies
    }

    /// Its socket, which was offered what can be sent, took so many bytes.
    #[inline]
    pub fn on_sent(&mut self, arena: &mut Arena, bytes: usize, is_blocked: bool, now: Millis) {
        self.replies.consume(arena, bytes);
        self.connection.on_offered(is_blocked, now);
        self.connection.on_heard(now);
    }

    /// Its socket, which was offered what can be sent and `reply` behind it, took so many bytes. The rest is next.
    pub fn on_sent_past(&mut self, arena: &mut Arena, reply: &[u8], bytes: usize, is_blocked: bool, now: Millis) {
        let waiting = self.replies.unsent();
        self.replies.consume(arena, bytes.min(waiting));
        let past = bytes.saturating_sub(waiting);
        if past > 0 {
            self.replies.skip(past);
        }
        self.replies.push(arena, &reply[past..]);
        self.connection.on_offered(is_blocked, now);
    }

    /// Between two replies: sends the messages that had to wait, if they may go out now.
    pub fn release_messages(&mut self, arena: &mut Arena, requests: &Requests) {
        let is_open = self.is_open_to_messages(requests);
        let Some(subscriber) = &mut self.subscriber else { return };
        if is_open && subscriber.held.unsent() > 0 {
            let held = std::mem::take(&mut subscriber.held);
            self.replies.append_early(arena, held);
        }
        if subscriber.is_spent() {
            self.subscriber = None;
        }
    }

    /// Where a message of so many bytes goes: out next, or, unless `is_open`, to those that wait for that.
    pub fn queue_for_message(&mut self, is_open: bool, len: usize) -> &mut Queue {
        let subscriber = self.subscriber.get_or_insert_default();
        self.replies.for_message(&mut subscriber.held, is_open, len)
    }

    /// The whole reply to this request is among what can be sent. True exactly when that was the last confirmation that
    /// the client waited for.
    pub fn on_answered(&mut self, request: RequestId) -> bool {
        let Some(subscriber) = &mut self.subscriber else { return false };
        if subscriber.awaited.front() != Some(&request) {
            return false;
        }
        subscriber.awaited.pop_front();
        self.flow == Flow::Subscribing && subscriber.awaited.is_empty()
    }

    /// Its outstanding requests, counted by server.
    #[inline]
    pub fn affinities(&self) -> &[Affinity] {
        self.affinities.all()
    }

    /// Its outstanding requests at `server`.
    #[inline]
    pub fn affinity(&self, server: ServerId) -> Option<Affinity> {
        self.affinities.at(server)
    }

    /// So many more requests stand in the line of `backend`, which is one of `server`: those that follow go there, too.
    #[inline]
    pub fn pin(&mut self, server: ServerId, backend: Id, count: u32) {
        self.affinities.pin(server, backend, count);
    }

    /// So many requests have left the line of a backend of `server`.
    #[inline]
    pub fn unpin(&mut self, server: ServerId, count: u32) {
        self.affinities.unpin(server, count);
    }

    /// Its requests at `server` stand in the line of this backend from here on; it blocks on that one.
    pub fn block_on_other(&mut self, server: ServerId, backend: Id) {
        self.enter(Flow::BlockedOnCommand { backend });
        self.affinities.change(server, backend);
    }
}

/// Routing epochs that never come.
const EPOCH_OF_HELD: u32 = u32::MAX;
const EPOCH_OF_NONE: u32 = u32::MAX - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_client_is_small() {
        assert!(size_of::<Client>() <= 264, "{} bytes", size_of::<Client>());
    }
}
