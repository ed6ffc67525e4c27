//! One connection to the admin endpoint: what it has asked, what it still gets, and for how long it may go on.
//!
//! ```text
//!   ┌────────────────────────── kept for another request ◄────────────────────────┐
//!   ▼                                                                             │
//!   Reading ── a head ─► Waiting (the endpoint has to answer) ──► Writing ────────┤
//!      └─ no good ────────────────────────────────────────────────►  └─ the last ─► Lingering ─► closed
//! ```
//!
//! Requests that came together are answered one by one, in order: as long as one is not, nothing more is read. Bounded:
//! a head by its length; a request, from its first byte until its answer is taken, by one deadline, and so is a
//! connection that says nothing. One that is closed with the other side still speaking lingers for a moment: else what
//! it was told would be lost with what it says.
//!
//! Knows no pages but their paths.

use std::io::{ErrorKind, Read as _, Write as _};
use std::time::{Duration, Instant};

use super::http::{self, HEAD_BYTES_MAX, Parsed, Request, Status};
use super::response::{self, Kind, Manner};
use crate::net::Stream;

/// For a request, from its first byte until its answer is taken; and for the first byte of a connection.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// For a connection that was of use, and is kept: more than the usual minute from one scrape to the next.
const KEEP_TIMEOUT: Duration = Duration::from_secs(90);
/// For the other side to notice that this was the last answer.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);

/// What there is to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    /// `/healthz`
    Health,
    /// `/readyz`
    Ready,
    /// `/metrics`, and whether in the newer form.
    Metrics { is_open: bool },
    /// `/status.json`
    Status,
    /// `/`
    Home,
    /// There is none of this name. To be told so is waited for, too: so nobody is served without a pause.
    Missing,
}

impl Page {
    fn of(request: &Request<'_>) -> Page {
        match request.path {
            b"/healthz" => Page::Health,
            b"/readyz" => Page::Ready,
            b"/metrics" => Page::Metrics { is_open: request.wants_openmetrics },
            b"/status.json" => Page::Status,
            b"/" => Page::Home,
            _ => Page::Missing,
        }
    }

    /// Whether it tells what the system says of the process, which takes the longest to find out.
    pub fn is_about_process(self) -> bool {
        matches!(self, Page::Metrics { .. } | Page::Status | Page::Home)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    Waiting(Page, Manner),
    Writing { is_last: bool },
    Lingering,
    Closed,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Stream,
    state: State,
    /// What has come, and is not part of a request that is being answered.
    input: Vec<u8>,
    /// The answer, and how much of it is taken.
    output: Vec<u8>,
    sent: usize,
    deadline: Instant,
    /// True once the other side says nothing more; it may still listen.
    has_ended: bool,
    /// True once a request was answered.
    was_of_use: bool,
}

impl Connection {
    /// A new one.
    pub fn new(stream: Stream, now: Instant) -> Connection {
        Connection {
            stream,
            state: State::Reading,
            input: Vec::new(),
            output: Vec::new(),
            sent: 0,
            deadline: now + REQUEST_TIMEOUT,
            has_ended: false,
            was_of_use: false,
        }
    }

    /// For registering it.
    pub fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// The page that it waits for, if it does.
    pub fn page(&self) -> Option<Page> {
        match self.state {
            State::Waiting(page, _) => Some(page),
            _ => None,
        }
    }

    /// True exactly when it is to be forgotten.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// True exactly when nothing is lost for the other side if it is closed: it is kept, and has asked nothing since.
    pub fn is_spare(&self) -> bool {
        self.state == State::Reading && self.was_of_use && self.input.is_empty()
    }

    /// True exactly when it gets its last answer, or has it.
    pub fn is_leaving(&self) -> bool {
        !matches!(self.state, State::Reading | State::Waiting(..) | State::Writing { is_last: false })
    }

    /// When [`Connection::expire`] is due.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Its time is over.
    pub fn expire(&mut self, now: Instant) {
        match self.state {
            State::Reading if !self.input.is_empty() => self.refuse(Status::Timeout, now),
            _ => self.state = State::Closed,
        }
        self.go_on(now, true);
    }

    /// Tells it that there is no place for it.
    pub fn turn_away(&mut self, now: Instant) {
        self.refuse(Status::Unavailable, now);
        self.go_on(now, true);
    }

    /// Gives it the page that it waits for, which may be the last thing that it gets.
    pub fn answer(&mut self, status: Status, kind: Kind, body: &[u8], is_last: bool, now: Instant) {
        let State::Waiting(_, mut manner) = self.state else { return };
        manner.is_kept &= !is_last;
        response::write(&mut self.output, status, kind, body, manner);
        self.state = State::Writing { is_last: !manner.is_kept };
        self.go_on(now, is_last);
    }

    /// Reads and writes what can be, until it waits for somebody. When all is about to end, who is only kept is
    /// closed.
    pub fn go_on(&mut self, now: Instant, is_ending: bool) {
        loop {
            match self.state {
                State::Reading => {
                    if self.take_request(now) || !self.has_ended && self.fill(now) {
                        continue;
                    }
                    // What there is of a request becomes none if nothing more comes. Who has only just connected has
                    // asked, and that is on its way.
                    if self.has_ended || is_ending && self.is_spare() {
                        self.state = State::Closed;
                    }
                    return;
                }
                State::Writing { is_last } => {
                    if !self.drain() {
                        return;
                    }
                    if is_last {
                        self.linger(now);
                    } else {
                        self.was_of_use = true;
                        self.state = State::Reading;
                        self.deadline = now + if self.input.is_empty() { KEEP_TIMEOUT } else { REQUEST_TIMEOUT };
                    }
                }
                State::Lingering => return self.discard(),
                State::Waiting(..) | State::Closed => return,
            }
        }
    }

    /// Takes the next request, if it is whole. True if there was something to answer.
    fn take_request(&mut self, now: Instant) -> bool {
        match http::parse(&self.input) {
            Parsed::Partial => return false,
            Parsed::Refused(status) => self.refuse(status, now),
            Parsed::Whole(request, end) => {
                let manner = Manner { is_head: request.is_head, is_kept: request.is_kept };
                self.state = State::Waiting(Page::of(&request), manner);
                self.input.drain(..end);
            }
        }
        true
    }

    /// Answers what is no good request; what follows it is not looked at.
    fn refuse(&mut self, status: Status, now: Instant) {
        self.input = Vec::new();
        response::refuse(&mut self.output, status);
        self.state = State::Writing { is_last: true };
        self.deadline = self.deadline.max(now + LINGER_TIMEOUT);
    }

    /// Reads what has come, as far as there is room. True if something came, or the end.
    fn fill(&mut self, now: Instant) -> bool {
        let mut bytes = [0; HEAD_BYTES_MAX];
        let room = HEAD_BYTES_MAX - self.input.len();
        match self.stream.read(&mut bytes[..room]) {
            Ok(0) => self.has_ended = true,
            Ok(length) => {
                if self.input.is_empty() {
                    self.deadline = now + REQUEST_TIMEOUT;
                }
                self.input.extend_from_slice(&bytes[..length]);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => {
                self.state = State::Closed;
                return false;
            }
        }
        true
    }

    /// Writes what is left. True if that is nothing.
    fn drain(&mut self) -> bool {
        while self.sent < self.output.len() {
            match self.stream.write(&self.output[self.sent..]) {
                Ok(length) if length > 0 => self.sent += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => {
                    self.state = State::Closed;
                    return false;
                }
            }
        }
        // An idle connection keeps no memory.
        self.output = Vec::new();
        self.sent = 0;
        true
    }

    fn linger(&mut self, now: Instant) {
        self.deadline = now + LINGER_TIMEOUT;
        self.state = match self.stream.shutdown_write() {
            Ok(()) if !self.has_ended => State::Lingering,
            _ => State::Closed,
        };
    }

    /// Reads on until the other side has seen the end; a bounded number of bytes at a time, and in all by the deadline.
    fn discard(&mut self) {
        let mut bytes = [0; HEAD_BYTES_MAX];
        for _ in 0..DISCARDS_MAX {
            match self.stream.read(&mut bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(length) if length > 0 => {}
                _ => break,
            }
        }
        self.state = State::Closed;
    }
}

/// Who says more than that in one go hears nothing anyway.
const DISCARDS_MAX: usize = 64;
