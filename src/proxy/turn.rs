//! The turn: what is still to be done before it ends.
//!
//! Knows ids only; what they stand for is others' business. Each list is emptied by `flush`, which goes round until
//! all of them are empty; `actions` by the shell.
//!
//! ```text
//!   dirty_backends, dirty_clients   something to send          woken        may go on: what they waited for has come
//!   follow_ups, finished_merges     for policies above         actions      for the shell: connect, close, read again
//!   is_room_new                     a backend was closed       is_rationed  some work waits for the next turn
//! ```

use std::collections::VecDeque;
use std::mem;

use super::backend_close_reason::BackendCloseReason;
use super::interface::{Action, Conn};
use crate::client::Bulk;
use crate::cluster::RefreshCause;
use crate::request::MergingId;
use crate::server_id::ServerId;
use crate::slots::Id;

/// What has to follow from what was done, and is not the business of who did it.
#[derive(Debug)]
pub(super) enum FollowUp {
    /// On this backend lies the start of a large request of this client, which will not send the rest.
    Upload(Id, Id),
    /// What this client, which is gone, had for itself in bulk.
    Bulk(Id, Bulk),
    /// A backend that this client had for itself, and what cleans the session there, if anything does.
    Lease(Id, Option<Id>, Option<&'static [u8]>),
    /// A backend that is to be closed.
    Close(Id, BackendCloseReason),
    /// A server that went down (`false`) or came back.
    Turned(ServerId, bool),
}

/// What is to be done in this turn.
#[derive(Debug)]
pub(super) struct Turn {
    /// What the shell must do.
    actions: VecDeque<Action>,
    /// Connections with something to send.
    dirty_clients: Vec<Id>,
    dirty_backends: Vec<Id>,
    /// Clients that may go on: what they waited for has come.
    woken: Vec<Id>,
    /// What follows from what was done.
    follow_ups: Vec<FollowUp>,
    /// Requests of which the last part is answered.
    finished_merges: Vec<MergingId>,
    /// True when a backend was closed since the parked ones were looked at.
    is_room_new: bool,
    /// True while a part of what one turn may do is used, or something waits for the next turn.
    is_rationed: bool,
    /// What may still be done in this turn for requests about all clients.
    work_left: usize,
}

impl Turn {
    /// Nothing is to be done.
    pub fn new() -> Turn {
        Turn {
            actions: VecDeque::new(),
            dirty_clients: Vec::new(),
            dirty_backends: Vec::new(),
            woken: Vec::new(),
            follow_ups: Vec::new(),
            finished_merges: Vec::new(),
            is_room_new: false,
            is_rationed: false,
            work_left: super::interface::TURN_WORK_MAX,
        }
    }

    // What the shell must do.

    /// The shell is to connect this backend.
    pub fn connect(&mut self, backend: Id, server: ServerId) {
        self.actions.push_back(Action::Connect { backend, server });
    }

    /// The shell is to look up where this server is.
    pub fn resolve(&mut self, server: ServerId) {
        self.actions.push_back(Action::Resolve(server));
    }

    /// The map of a cluster's slots may not be true any more, for this reason.
    pub fn refresh(&mut self, cause: RefreshCause) {
        if !self.actions.contains(&Action::Refresh(cause)) {
            self.actions.push_back(Action::Refresh(cause));
        }
    }

    /// The shell is to close this connection.
    pub fn close(&mut self, conn: Conn) {
        self.actions.push_back(Action::Close(conn));
    }

    /// The shell is to read this connection again.
    #[inline]
    pub fn resume(&mut self, conn: Conn) {
        self.actions.push_back(Action::Resume(conn));
    }

    /// The shell is to read this client once more; if there is nothing, it is closed.
    pub fn dismiss(&mut self, client: Id) {
        self.actions.push_back(Action::Dismiss(client));
    }

    /// The shell is to deliver what there is for other workers.
    pub fn post(&mut self) {
        self.actions.push_back(Action::Post);
    }

    /// Behind the address of this server there is another one.
    pub fn renew(&mut self, server: ServerId) {
        self.actions.push_back(Action::Renew(server));
    }

    /// The next thing that the shell must do.
    #[inline]
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    // Who has something to send. Each stands here once, since it knows that it does (`is_dirty`).

    /// This client has something to send.
    #[inline]
    pub fn flush_client(&mut self, id: Id) {
        self.dirty_clients.push(id);
    }

    /// The next client that has something to send.
    #[inline]
    pub fn next_dirty_client(&mut self) -> Option<Id> {
        self.dirty_clients.pop()
    }

    /// This backend has something to send.
    #[inline]
    pub fn flush_backend(&mut self, id: Id) {
        self.dirty_backends.push(id);
    }

    /// The backend that has had something to send so many others ago.
    #[inline]
    pub fn dirty_backend(&self, at: usize) -> Option<Id> {
        self.dirty_backends.get(at).copied()
    }

    /// All of them have sent it.
    #[inline]
    pub fn clear_dirty_backends(&mut self) {
        self.dirty_backends.clear();
    }

    // Who may go on.

    /// What this client waited for has come.
    #[inline]
    pub fn wake(&mut self, id: Id) {
        self.woken.push(id);
    }

    /// The next client that may go on.
    #[inline]
    pub fn next_woken(&mut self) -> Option<Id> {
        self.woken.pop()
    }

    /// A backend was closed: who waits for one is looked at.
    pub fn room_is_new(&mut self) {
        self.is_room_new = true;
    }

    /// They were looked at.
    #[inline]
    pub fn room_was_looked_at(&mut self) {
        self.is_room_new = false;
    }

    // What those have left who are gone.

    /// A client that is gone has left this.
    pub fn follow_up(&mut self, follow_up: FollowUp) {
        self.follow_ups.push(follow_up);
    }

    /// Whether there is any of that.
    #[inline]
    pub fn has_follow_ups(&self) -> bool {
        self.follow_ups.len() | self.finished_merges.len() != 0
    }

    /// All of it.
    pub fn take_follow_ups(&mut self) -> Vec<FollowUp> {
        mem::take(&mut self.follow_ups)
    }

    // Work that grows with the number of clients, and is spread over turns.

    /// Some of what this turn may do is used, or something waits for the next one.
    pub fn ration(&mut self) {
        self.is_rationed = true;
    }

    /// So much work about all clients was done.
    pub fn use_up(&mut self, work: usize) {
        self.is_rationed = true;
        self.work_left = self.work_left.saturating_sub(work);
    }

    /// Whether more of it may be done in this turn.
    pub fn has_work_left(&self) -> bool {
        self.work_left > 0
    }

    /// Whether some of it was done, or waits.
    #[inline]
    pub fn is_rationed(&self) -> bool {
        self.is_rationed
    }

    /// The next turn may do as much again; `has_left_work` if something waits for it.
    pub fn end_ration(&mut self, has_left_work: bool) {
        self.work_left = super::interface::TURN_WORK_MAX;
        self.is_rationed = has_left_work;
    }

    // Requests that several servers answer.

    /// The last part of this one is answered: what is to be said is `merged`'s business.
    #[inline]
    pub fn finish_merge(&mut self, merging: MergingId) {
        self.finished_merges.push(merging);
    }

    /// This one is gone.
    pub fn forget_merge(&mut self, merging: MergingId) {
        self.finished_merges.retain(|&finished| finished != merging);
    }

    /// The next one that is to be answered.
    #[inline]
    pub fn next_finished_merge(&mut self) -> Option<MergingId> {
        self.finished_merges.pop()
    }

    // All lists at once: nearly always there is nothing, and one test finds that out.

    /// Not 0 exactly when somebody may go on, or has left something.
    #[inline]
    pub fn to_serve(&self) -> usize {
        usize::from(self.is_room_new) | self.woken.len() | self.follow_ups.len() | self.finished_merges.len()
    }

    /// Not 0 exactly when the turn is not over; `is_waited_for` if somebody waits for a backend.
    #[inline]
    pub fn to_do(&self, is_waited_for: bool) -> usize {
        let unsent = self.dirty_backends.len() | self.dirty_clients.len();
        unsent
            | self.follow_ups.len()
            | self.finished_merges.len()
            | self.woken.len()
            | usize::from(self.is_room_new && is_waited_for)
    }

    // For the audit.

    /// Whether this client is to be served.
    pub fn is_woken(&self, id: Id) -> bool {
        self.woken.contains(&id)
    }

    /// Whether this client is listed as one that has something to send.
    pub fn is_client_listed(&self, id: Id) -> bool {
        self.dirty_clients.contains(&id)
    }

    /// Whether this backend is.
    pub fn is_backend_listed(&self, id: Id) -> bool {
        self.dirty_backends.contains(&id)
    }
}
