//! The turn: what is still to be done before it ends.
//!
//! Knows ids only; what they stand for is others' business. Each list is emptied by `transmit`, which goes round until
//! all of them are empty; `actions` by the shell.
//!
//! ```text
//!   dirty_backends, dirty_clients   something to send          woken        may go on: what they waited for has come
//!   departures                      what those left who went   actions      for the shell: connect, close, read again
//!   is_room_new                     a backend was closed       is_rationed  some work waits for the next turn
//! ```

use std::collections::VecDeque;

use super::Action;
use super::goodbye::Departure;
use crate::slots::Id;

/// What is to be done in this turn.
#[derive(Debug)]
pub(super) struct Turn {
    /// What the shell must do.
    pub actions: VecDeque<Action>,
    /// Connections with something to send.
    pub dirty_clients: Vec<Id>,
    pub dirty_backends: Vec<Id>,
    /// Clients that may go on: what they waited for has come.
    pub woken: Vec<Id>,
    /// What those have left who are gone.
    pub departures: Vec<Departure>,
    /// True when a backend was closed since the parked ones were looked at.
    pub is_room_new: bool,
    /// True while a part of what one turn may do is used, or something waits for the next turn.
    pub is_rationed: bool,
    /// What may still be done in this turn for requests about all clients.
    pub work_left: usize,
    /// The client that was parked and is served just now: it is at the front, and nobody who waits goes before it.
    pub served: Id,
    /// True while that one has waited too long, and is served only to be told so.
    pub is_wait_over: bool,
}

impl Turn {
    /// Nothing is to be done.
    pub fn new() -> Turn {
        Turn {
            actions: VecDeque::new(),
            dirty_clients: Vec::new(),
            dirty_backends: Vec::new(),
            woken: Vec::new(),
            departures: Vec::new(),
            is_room_new: false,
            is_rationed: false,
            work_left: super::TURN_WORK_MAX,
            served: Id::NONE,
            is_wait_over: false,
        }
    }
}
