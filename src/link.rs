//! One connection to somebody who knows where servers are: made, asked, heard, and made anew when it is lost.
//!
//! ```text
//!   Waiting { at } ─► Connecting { until } ──────────────────────► Open: each question has answer_ms
//!       ▲                 └── over TLS ─► Shaking { until } ───────┘ │
//!       └── lost, each time for longer ◄─────────────────────────────┘
//! ```
//!
//! Knows that there are questions, and the frames of replies, not what they mean. Invariant: `asked` holds the
//! questions whose answers are still to come, in their order, and is empty unless it is open.

mod host_port;
#[cfg(test)]
pub mod model;

use std::collections::VecDeque;
use std::mem;

use crate::resp::{Frame, ReplyFramer};
use crate::timer::Millis;

pub use host_port::HostPort;

/// Names one attempt to connect; what is told of an earlier one is not heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkId(pub u32);

/// How long things may take on a connection, and how much may come.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For a connect, TLS included, in milliseconds.
    pub connect_ms: u64,
    /// For an answer, or some of it, in milliseconds.
    pub answer_ms: u64,
    /// For one reply, in bytes, more or less.
    pub reply_bytes_max: usize,
    /// What is said of somebody who speaks TLS, where it is not expected.
    pub speaks_tls: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting {
        at: Millis,
    },
    Connecting {
        until: Millis,
    },
    /// Connected, and the two sides do not agree on the keys of TLS yet.
    Shaking {
        until: Millis,
    },
    Open {
        heard_at: Millis,
    },
}

/// A connection, or the want of one, on which questions of this kind are asked.
#[derive(Debug)]
pub struct Link<Q> {
    id: LinkId,
    state: State,
    patience: &'static Patience,
    asked: VecDeque<Q>,
    /// When the oldest of those must be answered; of no meaning if there is none.
    answer_until: Millis,
    /// The start of a reply.
    bytes: Vec<u8>,
    framer: ReplyFramer,
    /// True once anything has come.
    is_heard: bool,
    /// True exactly when it is inside of TLS.
    is_inside_tls: bool,
    pause_ms: u64,
    began_at: Millis,
}

impl<Q> Link<Q> {
    /// One that is to be made now.
    pub fn new(patience: &'static Patience, now: Millis) -> Link<Q> {
        Link {
            id: LinkId::default(),
            state: State::Waiting { at: now },
            patience,
            asked: VecDeque::new(),
            answer_until: Millis(0),
            bytes: Vec::new(),
            framer: ReplyFramer::new(),
            is_heard: false,
            is_inside_tls: false,
            pause_ms: 0,
            began_at: Millis(0),
        }
    }

    /// The name of the attempt, or connection, if there is one.
    pub fn id(&self) -> Option<LinkId> {
        (!matches!(self.state, State::Waiting { .. })).then_some(self.id)
    }

    /// True exactly when it can be asked something.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// True exactly when an answer is still to come, or it is being connected.
    pub fn is_busy(&self) -> bool {
        !self.asked.is_empty() || matches!(self.state, State::Connecting { .. } | State::Shaking { .. })
    }

    /// True exactly when it is to be connected now.
    pub fn is_due(&self, now: Millis) -> bool {
        matches!(self.state, State::Waiting { at } if at <= now)
    }

    /// It is being connected from now on, under this name.
    pub fn begin(&mut self, id: LinkId, now: Millis) {
        (self.id, self.began_at) = (id, now);
        (self.is_heard, self.is_inside_tls) = (false, false);
        self.state = State::Connecting { until: now + self.patience.connect_ms };
    }

    /// It is connected, and shakes hands, for which it has the rest of the time.
    pub fn on_shaking(&mut self) {
        if let State::Connecting { until } = self.state {
            self.state = State::Shaking { until };
            self.is_inside_tls = true;
        }
    }

    /// It is connected.
    pub fn on_connected(&mut self, now: Millis) {
        self.state = State::Open { heard_at: now };
    }

    /// True exactly when it was connected, without TLS, and nothing came.
    pub fn is_unheard(&self) -> bool {
        self.is_open() && !self.is_heard && !self.is_inside_tls
    }

    /// It is lost, or could not be made: the next attempt comes later each time, until one was of use.
    pub fn on_lost(&mut self, now: Millis) {
        self.asked.clear();
        self.bytes = Vec::new();
        self.framer.reset();
        let pause_ms = self.pause_ms.max(PAUSE_FIRST_MS);
        self.pause_ms = (pause_ms * 2).min(PAUSE_MAX_MS);
        self.state = State::Waiting { at: now + pause_ms };
    }

    /// It was of use: when it is lost, the next attempt comes soon.
    pub fn on_use(&mut self) {
        self.pause_ms = 0;
    }

    /// Somebody needs it soon: the next attempt comes as early as may be.
    pub fn hurry(&mut self) {
        if let State::Waiting { at } = &mut self.state {
            *at = (*at).min(self.began_at + PAUSE_FIRST_MS);
        }
    }

    /// Something is asked.
    pub fn ask(&mut self, question: Q, now: Millis) {
        if self.asked.is_empty() {
            self.answer_until = now + self.patience.answer_ms;
        }
        self.asked.push_back(question);
    }

    /// These bytes came.
    pub fn push(&mut self, bytes: &[u8], now: Millis) {
        self.bytes.extend_from_slice(bytes);
        self.is_heard = true;
        self.state = State::Open { heard_at: now };
        self.answer_until = now + self.patience.answer_ms;
    }

    /// The next whole thing that came: the answer to [`Link::answered`], unless nobody asks for such a thing.
    ///
    /// # Errors
    ///
    /// When it is no reply, or too long.
    pub fn next_reply(&mut self) -> Result<Option<Vec<u8>>, &'static str> {
        let end = match self.framer.frame(&self.bytes) {
            Err(_) if self.bytes.first() == Some(&TLS_ALERT) => return Err(self.patience.speaks_tls),
            Err(_) => return Err("it does not speak the Redis protocol"),
            Ok(Frame::Partial) if self.bytes.len() > self.patience.reply_bytes_max => {
                return Err("its reply is too long");
            }
            Ok(Frame::Partial) => return Ok(None),
            Ok(Frame::Complete(end)) => end,
        };
        self.framer.reset();
        let rest = self.bytes.split_off(end);
        Ok(Some(mem::replace(&mut self.bytes, rest)))
    }

    /// The question that is answered by what came.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn answered(&mut self) -> Result<Q, &'static str> {
        self.asked.pop_front().ok_or("it answers what nobody has asked")
    }

    /// What took too long, if its time is over: connected too slowly, or not answered.
    pub fn lateness(&self, now: Millis) -> Option<&'static str> {
        match self.state {
            State::Shaking { until } if until <= now => {
                Some("TLS handshake: not done in time; does it speak TLS there?")
            }
            State::Connecting { until } if until <= now => Some(NO_ANSWER),
            State::Open { .. } if !self.asked.is_empty() && self.answer_until <= now => Some(NO_ANSWER),
            _ => None,
        }
    }

    /// Whether nothing was heard on it for so long that nobody knows whether it is there.
    pub fn is_quiet(&self, now: Millis) -> bool {
        matches!(self.state, State::Open { heard_at } if self.asked.is_empty() && heard_at + QUIET_MS <= now)
    }

    /// When it is to be looked at again; `is_hearing` if it is not asked each second.
    pub fn next_deadline(&self, is_hearing: bool) -> Option<Millis> {
        match self.state {
            State::Waiting { at: until } | State::Connecting { until } | State::Shaking { until } => Some(until),
            State::Open { .. } if !self.asked.is_empty() => Some(self.answer_until),
            State::Open { heard_at } => is_hearing.then_some(heard_at + QUIET_MS),
        }
    }
}

const NO_ANSWER: &str = "no answer in time";
/// The first byte of what a peer says that speaks TLS to somebody who does not.
const TLS_ALERT: u8 = 21;
/// Between two attempts to connect, at first and at most, in milliseconds.
const PAUSE_FIRST_MS: u64 = 250;
const PAUSE_MAX_MS: u64 = 5_000;
/// After so long a connection that only hears is asked whether it is still there, in milliseconds.
const QUIET_MS: u64 = 10_000;
