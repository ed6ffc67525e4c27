//! What is said on a new connection before it takes requests: who rmux is, and what its session is to be set to.
//!
//! ```text
//!   first    [AUTH] HELLO [SELECT] [ROLE or READONLY] PING    change  [HELLO] [SELECT]: as far as the profiles differ
//!   answers   +OK    any    +OK    master    +OK      +PONG   again   AUTH, since the password has changed: +OK, or an
//!                                                                     error
//! ```
//!
//! Knows no sockets and no time; where it stands is counted in bytes that were sent and in steps that were answered.

use std::fmt;
use std::ops::Deref;

use crate::resp::elements::{self, Elements};
use crate::session::{Profile, Protocol};
use crate::users::Credentials;

/// One step of a handshake, and the reply that it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// `AUTH`: `+OK`. The first of all steps, with nothing outstanding before it: behind other requests Redis 7.2 to
    /// 8.9 may leave out the error.
    Auth,
    /// `AUTH` once more, with other credentials: `+OK`; or an error, and the server goes on with those from before.
    AuthAgain,
    /// `HELLO`: any reply but an error; with RESP2, an error means an old server, and does no harm.
    Hello(Protocol),
    /// `SELECT`: `+OK`.
    Select(u32),
    /// `ROLE`: that of a master, or an error that says that it is not told.
    Role,
    /// `READONLY`: `+OK`; a replica of a cluster answers the reads of this connection from then on. A master takes it,
    /// and does as before.
    ReadOnly,
    /// `PING`: `+PONG` (`-LOADING` is not alive), or `-BUSY`: the server is alive, and a script keeps it from more.
    Ping,
}

/// What a server is to be on a new connection, besides reachable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// Nothing in particular.
    Nothing,
    /// A master: it is asked by `ROLE`.
    Master,
    /// A node of a cluster that answers reads, though it is a replica: it is told by `READONLY`.
    Reads,
}

/// The bytes and the expected replies of a handshake.
#[derive(Debug, Default)]
pub struct Handshake {
    /// What is to be sent; there may be a password in it.
    bytes: Hidden,
    /// How much of it was sent.
    sent: usize,
    /// The replies that are still to come, the next one last.
    steps: Vec<Step>,
    /// What the session is set to by the steps that were confirmed.
    reached: Profile,
    /// What the server said to the first step that it does not do.
    refusal: Option<Vec<u8>>,
    /// The last error that the server answered with, fit for the log: if it closes the connection then, that is why.
    last_words: Option<String>,
    /// Why nothing more can be sent. What the server has said before that is still to be read.
    broken: Option<String>,
    /// True exactly when it is that of a new connection, and no step of it was answered.
    is_unheard: bool,
}

impl Handshake {
    /// What a new connection says first: who rmux is, if the server wants to know that; then it asks who is there,
    /// selects the database, and makes sure that it is served, by a server that is what is demanded.
    pub fn first(goal: Profile, credentials: Option<&Credentials>, demand: Demand) -> Handshake {
        let mut handshake = Handshake { is_unheard: true, ..Handshake::default() };
        if let Some(credentials) = credentials {
            handshake.bytes.0 = credentials.request();
            handshake.steps.push(Step::Auth);
        }
        handshake.add(Step::Hello(goal.protocol));
        if goal.database != 0 {
            handshake.add(Step::Select(goal.database));
        }
        match demand {
            Demand::Nothing => {}
            Demand::Master => handshake.add(Step::Role),
            Demand::Reads => handshake.add(Step::ReadOnly),
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

    /// Who rmux is from here on, on an idle connection of this profile.
    pub fn again(profile: Profile, credentials: &Credentials) -> Handshake {
        let bytes = Hidden(credentials.request());
        Handshake { bytes, steps: vec![Step::AuthAgain], reached: profile, ..Handshake::default() }
    }

    /// What is still to be sent.
    pub fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// So many bytes of that were sent.
    pub fn on_sent(&mut self, count: usize) {
        self.sent += count;
    }

    /// True once anything was sent: what the server says before that answers nothing.
    pub fn has_begun(&self) -> bool {
        self.sent > 0
    }

    /// True exactly when a new connection has said something, and was answered nothing.
    pub fn is_unheard(&self) -> bool {
        self.is_unheard && self.has_begun()
    }

    /// Nothing more can be sent. What the server has said before that is still to be read.
    pub fn on_broken(&mut self, reason: String) {
        self.broken = Some(reason);
    }

    /// Why nothing more can be sent, if so.
    pub fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// The last error that the server answered with, if its last answer was one.
    pub fn last_words(&self) -> Option<&str> {
        self.last_words.as_deref()
    }

    /// The server has answered: with these words, if they may be why it closes the connection. That it is old is none.
    pub fn on_answered(&mut self, words: Option<String>) {
        self.last_words = words.filter(|words| !words.starts_with("-ERR unknown command"));
    }

    /// The step that the next reply answers, which is taken out of those that are to come.
    pub fn next_step(&mut self) -> Option<Step> {
        self.is_unheard = false;
        self.steps.pop()
    }

    /// True once every step was answered.
    pub fn is_done(&self) -> bool {
        self.steps.is_empty()
    }

    /// A step was confirmed.
    pub fn on_done(&mut self, step: Step) {
        match step {
            Step::Hello(protocol) => self.reached.protocol = protocol,
            Step::Select(database) => self.reached.database = database,
            Step::Auth | Step::AuthAgain | Step::Role | Step::ReadOnly | Step::Ping => {}
        }
    }

    /// The server does not do this step; what it says is for those who wanted it.
    pub fn on_refused(&mut self, step: Step, reply: &[u8]) {
        let words = match step {
            // An old server does not know the command; its clients know this answer.
            Step::Hello(_) => b"-NOPROTO unsupported protocol version\r\n",
            _ => reply,
        };
        self.refusal.get_or_insert_with(|| words.to_vec());
    }

    /// What the session is set to, and what the server said to the first step that it does not do.
    pub(super) fn end(&mut self) -> (Profile, Option<Vec<u8>>) {
        (self.reached, self.refusal.take())
    }

    fn add(&mut self, step: Step) {
        let bytes = match step {
            Step::Hello(Protocol::Resp2) => "*2\r\n$5\r\nHELLO\r\n$1\r\n2\r\n".to_string(),
            Step::Hello(Protocol::Resp3) => "*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n".to_string(),
            Step::Select(database) => {
                let database = database.to_string();
                format!("*2\r\n$6\r\nSELECT\r\n${}\r\n{database}\r\n", database.len())
            }
            Step::Role => "*1\r\n$4\r\nROLE\r\n".to_string(),
            Step::ReadOnly => "*1\r\n$8\r\nREADONLY\r\n".to_string(),
            Step::Ping => "*1\r\n$4\r\nPING\r\n".to_string(),
            Step::Auth | Step::AuthAgain => return debug_assert!(false, "who has the password writes this step"),
        };
        self.bytes.0.extend_from_slice(bytes.as_bytes());
        self.steps.push(step);
    }
}

/// Bytes that `Debug` does not show.
#[derive(Default)]
struct Hidden(Vec<u8>);

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
    /// The server is fine, and the connection stays what it was.
    Kept,
    /// It is no master.
    Role,
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
            Step::AuthAgain if reply == b"+OK\r\n" => Ok(()),
            Step::AuthAgain if is_error => Err(Refusal::Kept),
            // A user may be denied it, and an old server not know it.
            Step::Role if reply.starts_with(b"-NOPERM") || reply.starts_with(b"-ERR") => Ok(()),
            _ if is_unserved => Err(Refusal::Server),
            Step::Hello(Protocol::Resp2) => Ok(()),
            Step::Hello(Protocol::Resp3) | Step::Select(_) if is_error => Err(Refusal::Profile),
            Step::Hello(Protocol::Resp3) | Step::Select(_) => Ok(()),
            Step::Auth | Step::ReadOnly if reply == b"+OK\r\n" => Ok(()),
            Step::Auth | Step::AuthAgain | Step::ReadOnly => Err(Refusal::Server),
            Step::Role if role(reply) == Some(b"master") => Ok(()),
            Step::Role if is_error => Err(Refusal::Server),
            Step::Role => Err(Refusal::Role),
            Step::Ping if reply == b"+PONG\r\n" || is_busy(reply) => Ok(()),
            Step::Ping => Err(Refusal::Server),
        }
    }
}

/// The word that the reply to `ROLE` begins with.
fn role(reply: &[u8]) -> Option<&[u8]> {
    Elements::of(reply).and_then(|mut elements| elements::bulk(elements.next()?))
}

/// What a server says that it is, if not a master: in words, for people.
pub fn role_text(reply: &[u8]) -> String {
    let mut elements = Elements::of(reply).into_iter().flatten();
    let mut word = || elements.next().and_then(elements::text).map(str::to_owned);
    match (word(), word()) {
        (Some(role), Some(master)) if role == "slave" => {
            let port = elements.next().and_then(elements::integer).unwrap_or(0);
            format!("it follows {master}:{port}")
        }
        (Some(role), _) => format!("it is a {role}"),
        _ => "it does not say what it is".to_owned(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_asks_only_for_what_differs() {
        let resp2 = Profile::default();
        let resp3 = Profile { protocol: Protocol::Resp3, database: 12 };
        let first = Handshake::first(resp3, None, Demand::Nothing);
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
        let first = Handshake::first(Profile::default(), Some(&credentials), Demand::Nothing);
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
    fn a_master_is_asked_whether_it_is_one_and_who_may_not_say_so_is_believed() {
        let first = Handshake::first(Profile::default(), None, Demand::Master);
        assert!(first.bytes.ends_with(b"*1\r\n$4\r\nROLE\r\n*1\r\n$4\r\nPING\r\n"));
        assert_eq!(first.steps, [Step::Ping, Step::Role, Step::Hello(Protocol::Resp2)]);
        let slave = b"*5\r\n$5\r\nslave\r\n$8\r\n10.0.0.1\r\n:6379\r\n$9\r\nconnected\r\n:7\r\n";
        assert_eq!(Step::Role.check(b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"), Ok(()));
        assert_eq!(Step::Role.check(slave), Err(Refusal::Role));
        assert_eq!(role_text(slave), "it follows 10.0.0.1:6379");
        let sentinel = b"*2\r\n$8\r\nsentinel\r\n*0\r\n";
        assert_eq!((Step::Role.check(sentinel), role_text(sentinel)), (Err(Refusal::Role), "it is a sentinel".into()));
        assert_eq!((Step::Role.check(b"*0\r\n"), role_text(b"+x\r\n").len()), (Err(Refusal::Role), 26));
        for reply in
            [&b"-NOPERM User x has no permissions to run the 'role' command\r\n"[..], b"-ERR unknown command\r\n"]
        {
            assert_eq!(Step::Role.check(reply), Ok(()));
        }
        for reply in [&b"-NOAUTH x\r\n"[..], b"-LOADING x\r\n", b"-MASTERDOWN x\r\n"] {
            assert_eq!(Step::Role.check(reply), Err(Refusal::Server));
        }
    }

    #[test]
    fn a_replica_of_a_cluster_is_told_to_answer_reads() {
        let first = Handshake::first(Profile::default(), None, Demand::Reads);
        assert!(first.bytes.ends_with(b"*1\r\n$8\r\nREADONLY\r\n*1\r\n$4\r\nPING\r\n"));
        assert_eq!(first.steps, [Step::Ping, Step::ReadOnly, Step::Hello(Protocol::Resp2)]);
        assert_eq!(Step::ReadOnly.check(b"+OK\r\n"), Ok(()));
        for reply in [
            &b"-NOPERM User x has no permissions to run the 'readonly' command\r\n"[..],
            b"-ERR This instance has cluster support disabled\r\n",
            b"-LOADING x\r\n",
            b"+PONG\r\n",
        ] {
            assert_eq!(Step::ReadOnly.check(reply), Err(Refusal::Server));
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
