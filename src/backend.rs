//! What a backend may do next: its handshake, and the requests that it owes replies to.
//!
//! ```text
//!   Connecting ──► Handshake ──► Ready ──► Draining ──► Closed
//!        │            │  ▲         │          ▲ a request timed out, or was sent by half, or a huge reply came
//!        │            │  └─────────┘          │
//!        │            │  another profile, while idle
//!        └────────────┴──────────┴────────────┴──► Closed: lost, silent, or not to be trusted
//! ```
//!
//! No byte of a user's request is sent before the handshake is confirmed; until then it waits in `queue`, where it can
//! be taken back. A queue keeps a request until it is answered:
//!
//! ```text
//!   queue:   [ GET a ][ SET b .. ][ GET c ]
//!            ▲ answered      ▲ sent        ▲ end        answered <= sent <= end
//!   line:      first ──────────────► last               the sum of their lengths is end - answered
//! ```
//!
//! Knows no sockets and no clients but their ids. Every byte that arrives belongs to the first in line; one that
//! belongs to nobody closes the backend.

use std::fmt;
use std::mem;
use std::ops::Deref;

use crate::buffer::{Arena, Queue};
use crate::limits::Limits;
use crate::request::BackendLine;
use crate::resp::ReplyFramer;
use crate::resp::elements::{self, Elements};
use crate::server::Seen;
use crate::session::{Profile, Protocol};
use crate::slots::Id;
use crate::timer::{Alarm, Millis};
use crate::users::Credentials;

/// One step of a handshake, and the reply that it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// `AUTH`: `+OK`. The first of all steps, with nothing outstanding before it: behind other requests Redis 7.2 to
    /// 8.9 may leave out the error.
    Auth,
    /// `HELLO`: any reply but an error; with RESP2, an error means an old server, and does no harm.
    Hello(Protocol),
    /// `SELECT`: `+OK`.
    Select(u32),
    /// `PING`: `+PONG` (`-LOADING` is not alive), or `-BUSY`: the server is alive, and a script keeps it from more.
    Ping,
}

/// The bytes and the expected replies of a handshake.
#[derive(Debug, Default)]
pub struct Handshake {
    /// What is to be sent; there may be a password in it.
    pub bytes: Hidden,
    /// How much of it was sent.
    pub sent: usize,
    /// The replies that are still to come, the next one last.
    pub steps: Vec<Step>,
    /// What the session is set to by the steps that were confirmed.
    pub reached: Profile,
    /// What the server said to the first step that it does not do.
    pub refusal: Option<Vec<u8>>,
    /// The last error that the server answered with, fit for the log: if it closes the connection then, that is why.
    pub last_words: Option<String>,
    /// Why nothing more can be sent. What the server has said before that is still to be read.
    pub broken: Option<String>,
}

impl Handshake {
    /// What a new connection says first: who rmux is, if the server wants to know that; then it asks who is there,
    /// selects the database, and makes sure that it is served.
    pub fn first(goal: Profile, credentials: Option<&Credentials>) -> Handshake {
        let mut handshake = Handshake::default();
        if let Some(credentials) = credentials {
            handshake.bytes.0 = credentials.request();
            handshake.steps.push(Step::Auth);
        }
        handshake.add(Step::Hello(goal.protocol));
        if goal.database != 0 {
            handshake.add(Step::Select(goal.database));
        }
        handshake.add(Step::Ping);
        handshake.steps.reverse();
        handshake
    }

    /// What takes an idle connection from one profile to another.
    pub fn change(from: Profile, goal: Profile) -> Handshake {
        let mut handshake = Handshake { reached: from, ..Handshake::default() };
        if from.protocol != goal.protocol {
            handshake.add(Step::Hello(goal.protocol));
        }
        if from.database != goal.database {
            handshake.add(Step::Select(goal.database));
        }
        handshake.steps.reverse();
        handshake
    }

    /// A step was confirmed.
    pub fn on_done(&mut self, step: Step) {
        match step {
            Step::Hello(protocol) => self.reached.protocol = protocol,
            Step::Select(database) => self.reached.database = database,
            Step::Auth | Step::Ping => {}
        }
    }

    /// The server does not do this step; what it says is for those who wanted it.
    pub fn on_refused(&mut self, step: Step, reply: &[u8]) {
        let words = match step {
            // An old server does not know the command; its clients know this answer.
            Step::Hello(_) => b"-NOPROTO unsupported protocol version\r\n",
            Step::Auth | Step::Select(_) | Step::Ping => reply,
        };
        self.refusal.get_or_insert_with(|| words.to_vec());
    }

    fn add(&mut self, step: Step) {
        let bytes = match step {
            Step::Hello(Protocol::Resp2) => "*2\r\n$5\r\nHELLO\r\n$1\r\n2\r\n".to_string(),
            Step::Hello(Protocol::Resp3) => "*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n".to_string(),
            Step::Select(database) => {
                let database = database.to_string();
                format!("*2\r\n$6\r\nSELECT\r\n${}\r\n{database}\r\n", database.len())
            }
            Step::Ping => "*1\r\n$4\r\nPING\r\n".to_string(),
            Step::Auth => return debug_assert!(false, "who has the password writes this step"),
        };
        self.bytes.0.extend_from_slice(bytes.as_bytes());
        self.steps.push(step);
    }
}

/// Bytes that `Debug` does not show.
#[derive(Default)]
pub struct Hidden(Vec<u8>);

impl Deref for Hidden {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// What is wrong with the reply to a step of a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The server can not be used at all.
    Server,
    /// The server is fine, and does not do what this profile asks for.
    Profile,
}

impl Step {
    /// Whether `reply`, a whole one, is what this step asks for.
    pub fn check(self, reply: &[u8]) -> Result<(), Refusal> {
        let is_error = reply.starts_with(b"-");
        // Words that mean "not now" or "not you", whatever was asked.
        let is_unserved =
            [&b"-LOADING"[..], b"-MASTERDOWN", b"-NOAUTH", b"-NOPERM", b"-DENIED", b"-ERR max number of clients"]
                .iter()
                .any(|word| reply.starts_with(word));
        match self {
            _ if is_unserved => Err(Refusal::Server),
            Step::Hello(Protocol::Resp2) => Ok(()),
            Step::Hello(Protocol::Resp3) | Step::Select(_) if is_error => Err(Refusal::Profile),
            Step::Hello(Protocol::Resp3) | Step::Select(_) => Ok(()),
            Step::Auth if reply == b"+OK\r\n" => Ok(()),
            Step::Auth => Err(Refusal::Server),
            Step::Ping if reply == b"+PONG\r\n" || is_busy(reply) => Ok(()),
            Step::Ping => Err(Refusal::Server),
        }
    }
}

/// Whether a server says that a script has been running for too long. It says so to nearly everything, `PING` too,
/// until the script ends or somebody stops it; `HELLO`, `AUTH` and whatever stops a script are not among that.
pub fn is_busy(reply: &[u8]) -> bool {
    reply.starts_with(b"-BUSY ")
}

/// What a server tells about itself in its reply to `HELLO`; it is repeated to every client that says HELLO.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introduction {
    /// What it is: `redis`, `valkey` …
    pub server: Box<str>,
    /// Its version.
    pub version: Box<str>,
    /// Its list of modules, in either version of the protocol; empty if it is too long to be kept.
    pub modules: Box<[u8]>,
}

impl Default for Introduction {
    /// What is told while no server has been reached.
    fn default() -> Introduction {
        Introduction { server: "redis".into(), version: "7.0.0".into(), modules: (*b"*0\r\n").into() }
    }
}

impl Introduction {
    /// What this reply to `HELLO` tells, and the server's own number for the connection; `None` unless there is a
    /// version in it.
    pub fn read(reply: &[u8]) -> Option<(Introduction, i64)> {
        let (mut told, mut id, mut has_version) = (Introduction::default(), 0, false);
        let mut fields = Elements::of(reply)?;
        while let (Some(name), Some(value)) = (fields.next().and_then(elements::bulk), fields.next()) {
            match name {
                b"server" => told.server = word(value).unwrap_or(told.server),
                b"version" => {
                    told.version = word(value)?;
                    has_version = true;
                }
                b"id" => id = elements::integer(value).unwrap_or(0),
                b"modules" if value.len() <= MODULES_BYTES_MAX && value[0] == b'*' => told.modules = value.into(),
                _ => {}
            }
        }
        has_version.then_some((told, id))
    }

    /// Whether it takes quotes in the middle of an inline argument: Valkey does, since its version 9.
    pub fn mixes_quotes(&self) -> bool {
        let major = self.version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        &*self.server == "valkey" && major >= Some(9)
    }
}

/// A word that may be repeated: visible letters, and not many.
fn word(value: &[u8]) -> Option<Box<str>> {
    let word = std::str::from_utf8(elements::bulk(value)?).ok()?;
    let is_printable = word.bytes().all(|byte| byte.is_ascii_graphic());
    (is_printable && (1..=WORD_BYTES_MAX).contains(&word.len())).then(|| word.into())
}

/// What is longer is no name and no version.
const WORD_BYTES_MAX: usize = 32;
/// A longer list of modules is not kept.
const MODULES_BYTES_MAX: usize = 8 * 1024;

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
    /// Closed; the slot is reaped at the end of the turn.
    Closed,
}

/// One of our connections to a server.
#[derive(Debug)]
pub struct Backend {
    /// Index of its server.
    pub server: u16,
    /// Where it stands.
    pub phase: Phase,
    /// What its session is set to; while connecting or shaking hands, what it will be set to.
    pub profile: Profile,
    /// Requests on their way to the server, and those not answered yet.
    pub queue: Queue,
    /// The offset in `queue` behind the last request that was answered.
    pub answered: u64,
    /// The requests that it owes replies to.
    pub line: BackendLine,
    /// How many of them have timed out: their replies will be dropped.
    pub expired: usize,
    /// Finds the end of the reply that is arriving.
    pub framer: ReplyFramer,
    /// The start of a reply that is not whole yet.
    pub kept: Vec<u8>,
    /// The server's own number for it; 0 when it has not told one.
    pub number: i64,
    /// True once somebody was told that number, and may still use it: nobody else shall have this backend.
    pub is_number_told: bool,
    /// True exactly when it hears messages for all clients: it is in no pool, and answers no requests.
    pub is_listener: bool,
    /// True exactly when it is in no pool, and drains from the beginning: it is for requests that must not stand behind
    /// others.
    pub is_reserve: bool,
    /// The client that has it for itself; [`Id::NONE`] while it is shared.
    pub owner: Id,
    /// True exactly when its owner is in bulk: it goes back to the shared set when that one owes and is owed nothing.
    pub is_bulk: bool,
    /// True once those who could go elsewhere have gone, for the sake of a reply that takes long.
    pub is_rerouted: bool,
    /// The client whose large request is on its way; [`Id::NONE`] for none.
    pub uploader: Id,
    /// When the last of that came, as far as it came fast enough.
    pub uploaded_at: Millis,
    /// How many bytes came then that are not worth a millisecond.
    uploaded_rest: usize,
    /// True while a large reply is passed on as it arrives.
    pub is_in_large_reply: bool,
    /// Its entry in the timer wheel.
    pub alarm: Alarm,
    /// When it began to connect, or to shake hands, or was last of use.
    pub since: Millis,
    /// When the large reply began that arrives.
    pub large_since: Millis,
    /// When the server last said anything, or was read again after it had been held back.
    pub heard_at: Millis,
    /// When the server last took bytes, or there were none to take.
    pub took_at: Millis,
    /// When its first handshake was done; `None` before that: only then does a failure speak of the server.
    pub ready_at: Option<Millis>,
    /// True while it stands in the list of those who have something to send.
    pub is_dirty: bool,
    /// True while its socket takes nothing.
    pub is_blocked: bool,
    /// True while it is not read, because the client that it answers takes nothing.
    pub is_held_back: bool,
}

impl Backend {
    /// A backend that begins to connect.
    pub fn new(server: u16, profile: Profile, now: Millis) -> Backend {
        Backend {
            server,
            phase: Phase::Connecting,
            profile,
            queue: Queue::new(),
            answered: 0,
            line: BackendLine::default(),
            expired: 0,
            framer: ReplyFramer::new(),
            kept: Vec::new(),
            number: 0,
            is_number_told: false,
            is_listener: false,
            is_reserve: false,
            owner: Id::NONE,
            is_bulk: false,
            is_rerouted: false,
            uploader: Id::NONE,
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
            is_blocked: false,
            is_held_back: false,
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

    /// Nothing of what is queued was sent, and nothing is owed: all of it is dropped but the first `keep` bytes.
    pub fn drop_unsent(&mut self, keep: usize, arena: &mut Arena) {
        debug_assert!(self.answered == self.queue.sent());
        let mut queue = mem::take(&mut self.queue);
        let kept = queue.copy_range(arena, self.answered, self.answered + keep as u64);
        queue.clear(arena);
        // A new one stands at 0: what it has not answered must not look answered.
        if self.answered > 0 {
            self.answered = queue.end();
            self.queue = queue;
        }
        self.queue.push_vec(arena, kept.unwrap_or_default());
    }

    /// True while it may still become, or is, of use to new requests.
    pub fn is_serving(&self) -> bool {
        matches!(self.phase, Phase::Connecting | Phase::Handshake(_) | Phase::Ready)
    }

    /// True while what arrives are replies to requests.
    #[inline]
    pub fn is_answering(&self) -> bool {
        matches!(self.phase, Phase::Ready | Phase::Draining)
    }

    /// True exactly when it serves one client alone: its owner, or the one whose large request is on its way.
    pub fn is_held(&self) -> bool {
        self.owner != Id::NONE || self.uploader != Id::NONE
    }

    /// True exactly when it is ready, owes nothing, and is nobody's.
    pub fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Ready) && self.line.is_empty() && self.owner == Id::NONE
    }

    /// Whether one more request of anybody fits, nothing large is in its way, and it is read.
    #[inline]
    pub fn has_room(&self, limits: &Limits) -> bool {
        self.owner == Id::NONE && !self.is_reserve && !self.is_held_back && self.has_room_for_owner(limits)
    }

    /// The same, for the client that has it for itself. One in bulk waits behind its own requests, and behind as many
    /// as it likes.
    pub fn has_room_for_owner(&self, limits: &Limits) -> bool {
        self.is_serving()
            && self.uploader == Id::NONE
            && (self.is_bulk || !self.is_in_large_reply && self.line.len() < limits.pipeline_max)
            && self.queue.unsent() < limits.send_queue_bytes_max
    }

    /// Whether the first request in line, of `len` bytes, was sent to its last byte: only then can a reply be its own.
    #[inline]
    pub fn was_sent(&self, len: u64) -> bool {
        self.answered + len <= self.queue.sent() && (self.uploader == Id::NONE || self.line.len() > 1)
    }

    /// So many bytes came of the large request that is on its way: who sends one now and then has stopped.
    ///
    /// Had it been further behind than `limit_ms`, somebody would have looked. So if it is, nobody was there to read
    /// it, and it may have sent more than what its socket could hold.
    pub fn on_uploaded(&mut self, bytes: usize, limit_ms: u64, now: Millis) {
        let at = self.uploaded_at.max(Millis(now.0.saturating_sub(limit_ms)));
        let bytes = self.uploaded_rest + bytes;
        self.uploaded_at = now.min(at + (bytes / UPLOAD_BYTES_PER_MS_MIN) as u64);
        self.uploaded_rest = bytes % UPLOAD_BYTES_PER_MS_MIN;
    }

    /// How many of its outstanding requests somebody still waits for, as far as time is concerned.
    pub fn unexpired(&self) -> usize {
        self.line.len() - self.expired
    }
}

/// So fast a large request has to come while it holds a connection, or its client is taken for one that has stopped.
const UPLOAD_BYTES_PER_MS_MIN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_asks_only_for_what_differs() {
        let resp2 = Profile::default();
        let resp3 = Profile { protocol: Protocol::Resp3, database: 12 };
        let first = Handshake::first(resp3, None);
        assert_eq!(
            &*first.bytes,
            b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n*2\r\n$6\r\nSELECT\r\n$2\r\n12\r\n*1\r\n$4\r\nPING\r\n"
        );
        assert_eq!(first.steps, [Step::Ping, Step::Select(12), Step::Hello(Protocol::Resp3)]);
        assert_eq!(Handshake::change(resp2, Profile { database: 1, ..resp2 }).steps, [Step::Select(1)]);
        assert_eq!(Handshake::change(resp3, Profile { database: 12, ..resp2 }).steps, [Step::Hello(Protocol::Resp2)]);
    }

    #[test]
    fn who_rmux_is_comes_before_everything_and_is_not_shown() {
        let password = crate::users::Secret::new(*b"hunter2");
        let credentials = Credentials { user: None, password };
        let first = Handshake::first(Profile::default(), Some(&credentials));
        assert!(first.bytes.starts_with(b"*2\r\n$4\r\nAUTH\r\n$7\r\nhunter2\r\n*2\r\n$5\r\nHELLO"));
        assert_eq!(first.steps, [Step::Ping, Step::Hello(Protocol::Resp2), Step::Auth]);
        assert!(!format!("{first:?}").contains("hunter2"));
        for reply in [&b"-WRONGPASS x\r\n"[..], b"-ERR x\r\n", b"-NOPERM x\r\n", b"+PONG\r\n", b":1\r\n"] {
            assert_eq!(Step::Auth.check(reply), Err(Refusal::Server));
        }
        assert_eq!(Step::Auth.check(b"+OK\r\n"), Ok(()));
    }

    #[test]
    fn what_a_server_says_it_is_is_read_in_both_protocols() {
        let module = "$4\r\nname\r\n$6\r\nsearch\r\n$3\r\nver\r\n:1\r\n";
        let pairs = |module: &str| {
            let server = "$6\r\nserver\r\n$6\r\nvalkey\r\n$7\r\nversion\r\n$5\r\n9.0.1\r\n";
            format!("{server}$2\r\nid\r\n:42\r\n$7\r\nmodules\r\n*1\r\n{module}")
        };
        for (start, head) in [("*8\r\n", "*4\r\n"), ("%4\r\n", "%2\r\n")] {
            let modules = format!("{head}{module}");
            let (told, id) = Introduction::read(format!("{start}{}", pairs(&modules)).as_bytes()).expect("a version");
            assert_eq!((&*told.server, &*told.version, id), ("valkey", "9.0.1", 42));
            assert_eq!(*told.modules, *format!("*1\r\n{modules}").as_bytes());
        }
        let large = format!("%4\r\n{}", pairs(&format!("$9000\r\n{}\r\n", "x".repeat(9000))));
        assert_eq!(Introduction::read(large.as_bytes()).map(|(told, _)| told.modules), Some((*b"*0\r\n").into()));
        let unfit =
            ["-ERR unknown command\r\n", "*2\r\n$7\r\nversion\r\n$1\r\n\x01\r\n", "*0\r\n", "%1\r\n$7\r\nversion\r\n"];
        for reply in unfit {
            assert!(Introduction::read(reply.as_bytes()).is_none(), "{reply:?}");
        }
    }

    #[test]
    fn only_a_pong_is_alive_or_somebody_busy() {
        assert_eq!(Step::Ping.check(b"+PONG\r\n"), Ok(()));
        for reply in [&b"-LOADING Redis is loading the dataset in memory\r\n"[..], b"+OK\r\n", b"-NOAUTH x\r\n"] {
            assert_eq!(Step::Ping.check(reply), Err(Refusal::Server));
        }
        let busy = b"-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n";
        assert_eq!(Step::Ping.check(busy), Ok(()), "it answers");
        assert_eq!(Step::Select(1).check(busy), Err(Refusal::Profile), "but it has not selected anything");
        assert_eq!(Step::Ping.check(b"-BUSYKEY x\r\n"), Err(Refusal::Server));
        assert_eq!(Step::Hello(Protocol::Resp2).check(b"-ERR unknown command\r\n"), Ok(()));
        assert_eq!(Step::Hello(Protocol::Resp2).check(b"-NOAUTH x\r\n"), Err(Refusal::Server));
        assert_eq!(Step::Hello(Protocol::Resp3).check(b"-ERR unknown command\r\n"), Err(Refusal::Profile));
        assert_eq!(Step::Select(99).check(b"-ERR DB index is out of range\r\n"), Err(Refusal::Profile));
    }
}
