//! One connection to a sentinel or a cluster node: its state, the requests in flight on it, and its deadlines.
//!
//! ```text
//!   Waiting { at } ─► Connecting { until } ──────────────────────► Open: each question has answer_ms
//!       ▲                 └── over TLS ─► Shaking { until } ───────┘ │
//!       └── lost, each time for longer ◄─────────────────────────────┘
//! ```
//!
//! Frames replies and matches them to requests; does not know what they mean. Invariant: `asked` holds the requests
//! without an answer yet, in their order, and is empty unless the connection is open.

mod host_port;
#[cfg(test)]
pub mod model;

use std::collections::VecDeque;
use std::mem;

use crate::resp::{Frame, ReplyFramer};
use crate::timer::Millis;

pub use host_port::HostPort;

/// Names one attempt to connect; events of an earlier one are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkId(pub u32);

/// The limits of a connection.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// The time for a connect, TLS handshake included, in milliseconds.
    pub connect_ms: u64,
    /// The time to an answer, or between two parts of it, in milliseconds.
    pub answer_ms: u64,
    /// The longest reply, in bytes, to the accuracy of one read.
    pub reply_bytes_max: usize,
    /// The error text for a peer that speaks TLS although none is configured.
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
    /// TCP is connected, the TLS handshake runs.
    Shaking {
        until: Millis,
    },
    Open {
        heard_at: Millis,
    },
}

/// A connection, or a wanted one, with requests of type `Q`.
#[derive(Debug)]
pub struct Link<Q> {
    id: LinkId,
    state: State,
    patience: &'static Patience,
    asked: VecDeque<Q>,
    /// The deadline of the oldest request; meaningless if there is none.
    answer_until: Millis,
    /// The received part of a reply.
    bytes: Vec<u8>,
    framer: ReplyFramer,
    /// True once any byte was received.
    is_heard: bool,
    /// True exactly when it uses TLS.
    is_inside_tls: bool,
    pause_ms: u64,
    began_at: Millis,
}

impl<Q> Link<Q> {
    /// One that is due to connect now.
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

    /// The id of the attempt or connection; `None` while it waits for the next attempt.
    pub fn id(&self) -> Option<LinkId> {
        (!matches!(self.state, State::Waiting { .. })).then_some(self.id)
    }

    /// True exactly when requests can be sent.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// True exactly when it connects, or an answer is outstanding.
    pub fn is_busy(&self) -> bool {
        !self.asked.is_empty() || matches!(self.state, State::Connecting { .. } | State::Shaking { .. })
    }

    /// True exactly when the next attempt is due.
    pub fn is_due(&self, now: Millis) -> bool {
        matches!(self.state, State::Waiting { at } if at <= now)
    }

    /// An attempt with this id begins.
    pub fn begin(&mut self, id: LinkId, now: Millis) {
        (self.id, self.began_at) = (id, now);
        (self.is_heard, self.is_inside_tls) = (false, false);
        self.state = State::Connecting { until: now + self.patience.connect_ms };
    }

    /// The TLS handshake begins; it has the rest of the connect time.
    pub fn on_shaking(&mut self) {
        if let State::Connecting { until } = self.state {
            self.state = State::Shaking { until };
            self.is_inside_tls = true;
        }
    }

    /// Requests can be sent from here on.
    pub fn on_connected(&mut self, now: Millis) {
        self.state = State::Open { heard_at: now };
    }

    /// True exactly when it is open, without TLS, and no byte was received.
    pub fn is_unheard(&self) -> bool {
        self.is_open() && !self.is_heard && !self.is_inside_tls
    }

    /// It was lost, or could not be made: the pause to the next attempt doubles until [`Link::on_use`].
    pub fn on_lost(&mut self, now: Millis) {
        self.asked.clear();
        self.bytes = Vec::new();
        self.framer.reset();
        let pause_ms = self.pause_ms.max(PAUSE_FIRST_MS);
        self.pause_ms = (pause_ms * 2).min(PAUSE_MAX_MS);
        self.state = State::Waiting { at: now + pause_ms };
    }

    /// It has worked: after a loss the pause is the shortest again.
    pub fn on_use(&mut self) {
        self.pause_ms = 0;
    }

    /// It is needed soon: the next attempt comes as early as the shortest pause allows.
    pub fn hurry(&mut self) {
        if let State::Waiting { at } = &mut self.state {
            *at = (*at).min(self.began_at + PAUSE_FIRST_MS);
        }
    }

    /// A request is sent.
    pub fn ask(&mut self, question: Q, now: Millis) {
        if self.asked.is_empty() {
            self.answer_until = now + self.patience.answer_ms;
        }
        self.asked.push_back(question);
    }

    /// These bytes were received.
    pub fn push(&mut self, bytes: &[u8], now: Millis) {
        self.bytes.extend_from_slice(bytes);
        self.is_heard = true;
        self.state = State::Open { heard_at: now };
        self.answer_until = now + self.patience.answer_ms;
    }

    /// The next complete reply; [`Link::answered`] says to which request.
    ///
    /// # Errors
    ///
    /// When the bytes are no reply, or it is too long.
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

    /// The request that the last reply answers.
    ///
    /// # Errors
    ///
    /// When no request is outstanding.
    pub fn answered(&mut self) -> Result<Q, &'static str> {
        self.asked.pop_front().ok_or("it answers what nobody has asked")
    }

    /// The passed deadline, if there is one: of the connect, the handshake or an answer.
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

    /// Whether it was silent for so long that it must be probed.
    pub fn is_quiet(&self, now: Millis) -> bool {
        matches!(self.state, State::Open { heard_at } if self.asked.is_empty() && heard_at + QUIET_MS <= now)
    }

    /// When its deadlines must be checked next; `is_hearing` if it only receives messages and must be probed.
    pub fn next_deadline(&self, is_hearing: bool) -> Option<Millis> {
        match self.state {
            State::Waiting { at: until } | State::Connecting { until } | State::Shaking { until } => Some(until),
            State::Open { .. } if !self.asked.is_empty() => Some(self.answer_until),
            State::Open { heard_at } => is_hearing.then_some(heard_at + QUIET_MS),
        }
    }
}

const NO_ANSWER: &str = "no answer in time";
/// The first byte of a TLS alert record, which a TLS server sends to a client without TLS.
const TLS_ALERT: u8 = 21;
/// The shortest and the longest pause between two attempts to connect, in milliseconds.
const PAUSE_FIRST_MS: u64 = 250;
const PAUSE_MAX_MS: u64 = 5_000;
/// A connection that only receives messages is probed after this silence, in milliseconds.
const QUIET_MS: u64 = 10_000;
