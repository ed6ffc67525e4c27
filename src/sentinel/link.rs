//! One connection to a sentinel: made, asked, heard, and made anew when it is lost.
//!
//! ```text
//!   Waiting { at } ─► Connecting { until } ──────────────────────► Open: each question has ANSWER_MS
//!       ▲                 └── over TLS ─► Shaking { until } ───────┘ │
//!       └── lost, each time for longer ◄─────────────────────────────┘
//! ```
//!
//! Knows questions and the frames of replies, not what they mean. Invariant: `asked` holds the questions whose answers
//! are still to come, in their order, and is empty unless it is open.

use std::collections::VecDeque;

use crate::resp::{Frame, ReplyFramer};
use crate::timer::Millis;

use super::answer;

/// Names one attempt to connect; what is told of an earlier one is not heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkId(pub u32);

/// What a sentinel is asked. Those about a master have its place in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    Auth,
    OwnId,
    Tilt,
    Address(usize),
    Sentinels(usize),
    Replicas(usize),
    Subscribe,
    Ping,
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

/// A connection, or the want of one.
#[derive(Debug)]
pub(super) struct Link {
    id: LinkId,
    state: State,
    asked: VecDeque<Question>,
    /// When the oldest of those must be answered; of no meaning if there is none.
    answer_until: Millis,
    /// The start of a reply.
    bytes: Vec<u8>,
    /// True once anything has come.
    is_heard: bool,
    /// True exactly when it is inside of TLS.
    is_inside_tls: bool,
    pause_ms: u64,
    began_at: Millis,
}

/// What came on it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Answer(Question, Vec<u8>),
    Message(Vec<u8>),
}

impl Link {
    /// One that is to be made now.
    pub fn new(now: Millis) -> Link {
        Link {
            id: LinkId::default(),
            state: State::Waiting { at: now },
            asked: VecDeque::new(),
            answer_until: Millis(0),
            bytes: Vec::new(),
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
        self.state = State::Connecting { until: now + CONNECT_MS };
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
        let pause_ms = self.pause_ms.max(PAUSE_FIRST_MS);
        self.pause_ms = (pause_ms * 2).min(PAUSE_MAX_MS);
        self.state = State::Waiting { at: now + pause_ms };
    }

    /// Somebody needs it soon: the next attempt comes as early as may be.
    pub fn hurry(&mut self) {
        if let State::Waiting { at } = &mut self.state {
            *at = (*at).min(self.began_at + PAUSE_FIRST_MS);
        }
    }

    /// Something is asked.
    pub fn ask(&mut self, question: Question, now: Millis) {
        if self.asked.is_empty() {
            self.answer_until = now + ANSWER_MS;
        }
        self.asked.push_back(question);
    }

    /// These bytes came.
    pub fn push(&mut self, bytes: &[u8], now: Millis) {
        self.bytes.extend_from_slice(bytes);
        self.is_heard = true;
        self.state = State::Open { heard_at: now };
        self.answer_until = now + ANSWER_MS;
    }

    /// The next whole thing that came.
    ///
    /// # Errors
    ///
    /// When it is no reply, or one too many, or too long.
    pub fn next(&mut self) -> Result<Option<Heard>, &'static str> {
        let end = match ReplyFramer::new().frame(&self.bytes) {
            Err(_) if self.bytes.first() == Some(&TLS_ALERT) => {
                return Err("it speaks TLS on this port: give sentinelTls");
            }
            Err(_) => return Err("it does not speak the Redis protocol"),
            Ok(Frame::Partial) if self.bytes.len() > REPLY_BYTES_MAX => return Err("its reply is too long"),
            Ok(Frame::Partial) => return Ok(None),
            Ok(Frame::Complete(end)) => end,
        };
        let rest = self.bytes.split_off(end);
        let frame = std::mem::replace(&mut self.bytes, rest);
        if answer::is_message(&frame) {
            return Ok(Some(Heard::Message(frame)));
        }
        let question = self.asked.pop_front().ok_or("it answers what nobody has asked")?;
        if question != Question::Auth {
            self.pause_ms = 0;
        }
        Ok(Some(Heard::Answer(question, frame)))
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
/// For a connect, TLS included, in milliseconds.
const CONNECT_MS: u64 = 500;
/// The first byte of what a peer says that speaks TLS to somebody who does not.
const TLS_ALERT: u8 = 21;
/// For an answer, in milliseconds.
pub(super) const ANSWER_MS: u64 = 500;
/// Between two attempts to connect, at first and at most, in milliseconds.
pub(super) const PAUSE_FIRST_MS: u64 = 250;
const PAUSE_MAX_MS: u64 = 5_000;
/// After so long a subscription is asked whether it is still there, in milliseconds.
const QUIET_MS: u64 = 10_000;
/// A reply with 32 replicas has some 40 kB.
const REPLY_BYTES_MAX: usize = 256 * 1024;
