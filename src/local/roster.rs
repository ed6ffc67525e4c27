//! CLIENT LIST, CLIENT KILL and CLIENT UNBLOCK: which clients are meant, and how one is shown.
//!
//! A request becomes a [`Filter`]; whoever has the clients shows them to it, one [`ClientFacts`] after the other, and
//! gathers the lines, or closes those that are selected. With several threads, each has some of a pool's clients, and a
//! filter goes to all of them; who asks sees nobody of another pool.
//!
//! Invariants: a filter is its own, and owes nothing to the request that it was read from; a line is one line, whatever
//! a client calls itself (what it may say is checked where it says it).
//!
//! Bytes and texts are those of Redis 7.4. What rmux does not count is 0; `obl` are replies that only the client's
//! socket keeps from it, `omem` all that it is to be sent.

use std::collections::BinaryHeap;

use super::words::{Words, is_one_of};
use crate::client::Client;
use crate::command::{Name, integer};
use crate::reply::{self, error};
use crate::resp::Arg;
use crate::session::{Profile, Protocol, Session};
use crate::users::Users;

/// One client, as others may see it.
#[derive(Debug, Clone, Copy)]
pub struct ClientFacts<'a> {
    /// Its number, as `CLIENT ID` tells it; below 2^63.
    pub id: u64,
    /// Where it comes from; `None` where nothing tells: it then came from where it arrived, as Redis has it.
    pub peer: Option<&'a str>,
    /// Where it arrived: a host and a port, or the path of a socket.
    pub listen: &'a str,
    /// Milliseconds since it connected.
    pub age_ms: u64,
    /// Milliseconds since it last sent something.
    pub idle_ms: u64,
    /// What it told about itself.
    pub session: &'a Session,
    /// Its user's name.
    pub user: &'a str,
    /// How many channels, patterns and shard channels it hears.
    pub heard: [u32; 3],
    /// True exactly when it waits for data.
    pub is_blocked: bool,
    /// How many steps of its transaction are queued; `None` unless it has said MULTI.
    pub queued: Option<usize>,
    /// What it takes of rmux's memory.
    pub memory: ClientMemory,
    /// True while its socket takes nothing.
    pub is_unwritable: bool,
    /// What it asked for last; `None` when it has asked for nothing yet.
    pub command: Option<Name>,
}

/// What one client takes of rmux's memory, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClientMemory {
    /// What it has sent that is not dealt with.
    pub kept: usize,
    /// Room for more of that.
    pub kept_free: usize,
    /// Steps of its transaction.
    pub steps: usize,
    /// Replies whose turn has come, and that its socket has not taken.
    pub unsent: usize,
    /// Replies and messages whose turn has not come.
    pub early: usize,
}

/// What a CLIENT LIST, CLIENT KILL or CLIENT UNBLOCK asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Ask {
    /// The lines of these.
    List(Filter),
    /// That these are closed; the reply is their number.
    Kill(Filter),
    /// That these are closed, in the form of old: the reply is `+OK`, or that there are none.
    KillAddress(Filter),
    /// That the wait of this client for data is ended.
    Unblock {
        /// Its number.
        id: i64,
        /// With an error, rather than as if its time was over.
        is_error: bool,
    },
}

/// Which clients are meant: those that everything applies to that is there.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Sorted.
    ids: Option<Vec<i64>>,
    kind: Option<Kind>,
    address: Option<Box<[u8]>>,
    listen: Option<Box<[u8]>>,
    user: Option<Box<[u8]>>,
    age_s_min: Option<i64>,
    skips_own: bool,
}

/// The types of clients that Redis tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal,
    PubSub,
    /// Replicas and masters.
    Other,
}

/// Reads the request. `None` when it is wrong, and the error is written to `out`.
pub fn read(request: &[u8], args: &[Arg], users: &Users, out: &mut Vec<u8>) -> Option<Ask> {
    let words = Words { request, args };
    if words.at(1).eq_ignore_ascii_case(b"list") {
        return read_list(words, out).map(Ask::List);
    }
    if words.at(1).eq_ignore_ascii_case(b"unblock") {
        return read_unblock(words, out);
    }
    if words.len() == 3 {
        return Some(Ask::KillAddress(Filter { address: Some(words.at(2).into()), ..Filter::default() }));
    }
    read_kill(words, users, out).map(Ask::Kill)
}

fn read_list(words: Words<'_>, out: &mut Vec<u8>) -> Option<Filter> {
    let mut filter = Filter::default();
    match words.len() {
        2 => {}
        4 if words.at(2).eq_ignore_ascii_case(b"type") => filter.kind = Some(read_kind(words.at(3), out)?),
        4.. if words.at(2).eq_ignore_ascii_case(b"id") => {
            let ids: Option<Vec<i64>> = words.from(3).map(integer).collect();
            let Some(ids) = ids else {
                error::write_error(out, "ERR Invalid client ID");
                return None;
            };
            // Each client once, where Redis repeats its line as often as it is asked for: a request of a million
            // numbers would make a reply of half a gigabyte.
            // A heap sorts them, because the standard library's own sorting is 7 kB of code for each type.
            filter.ids = Some(BinaryHeap::from(ids).into_sorted_vec());
        }
        _ => {
            error::write_error(out, error::SYNTAX);
            return None;
        }
    }
    Some(filter)
}

// Of a filter given twice, the last one counts.
fn read_kill(words: Words<'_>, users: &Users, out: &mut Vec<u8>) -> Option<Filter> {
    let mut filter = Filter { skips_own: true, ..Filter::default() };
    let mut options = words.from(2);
    while let Some(option) = options.next() {
        let Some(value) = options.next() else {
            error::write_error(out, error::SYNTAX);
            return None;
        };
        if option.eq_ignore_ascii_case(b"id") {
            let Some(id) = integer(value).filter(|id| *id > 0) else {
                error::write_error(out, "ERR client-id should be greater than 0");
                return None;
            };
            filter.ids = Some(vec![id]);
        } else if option.eq_ignore_ascii_case(b"maxage") {
            let Some(age) = integer(value) else {
                error::write_error(out, "ERR maxage is not an integer or out of range");
                return None;
            };
            if age <= 0 {
                error::write_error(out, "ERR maxage should be greater than 0");
                return None;
            }
            filter.age_s_min = Some(age);
        } else if option.eq_ignore_ascii_case(b"type") {
            filter.kind = Some(read_kind(value, out)?);
        } else if option.eq_ignore_ascii_case(b"addr") {
            filter.address = Some(value.into());
        } else if option.eq_ignore_ascii_case(b"laddr") {
            filter.listen = Some(value.into());
        } else if option.eq_ignore_ascii_case(b"user") {
            if !users.has(value) {
                error::write_error_around(out, "ERR No such user '", value, "'");
                return None;
            }
            filter.user = Some(value.into());
        } else if option.eq_ignore_ascii_case(b"skipme") && is_one_of(value, &["yes", "no"]) {
            filter.skips_own = value.eq_ignore_ascii_case(b"yes");
        } else {
            error::write_error(out, error::SYNTAX);
            return None;
        }
    }
    Some(filter)
}

fn read_unblock(words: Words<'_>, out: &mut Vec<u8>) -> Option<Ask> {
    let reason = match words.len() {
        3 => &b"timeout"[..],
        4 => words.at(3),
        _ => {
            let before = "ERR unknown subcommand or wrong number of arguments for '";
            error::write_error_around(out, before, words.at(1), "'. Try CLIENT HELP.");
            return None;
        }
    };
    if !is_one_of(reason, &["timeout", "error"]) {
        error::write_error(out, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
        return None;
    }
    let Some(id) = integer(words.at(2)) else {
        error::write_error(out, error::NOT_AN_INTEGER);
        return None;
    };
    Some(Ask::Unblock { id, is_error: reason.eq_ignore_ascii_case(b"error") })
}

fn read_kind(name: &[u8], out: &mut Vec<u8>) -> Option<Kind> {
    if name.eq_ignore_ascii_case(b"normal") {
        Some(Kind::Normal)
    } else if name.eq_ignore_ascii_case(b"pubsub") {
        Some(Kind::PubSub)
    } else if is_one_of(name, &["master", "replica", "slave"]) {
        Some(Kind::Other)
    } else {
        error::write_error_around(out, "ERR Unknown client type '", name, "'");
        None
    }
}

impl Filter {
    /// True exactly when a client of this number may be meant.
    pub fn names(&self, id: u64) -> bool {
        self.ids.as_ref().is_none_or(|ids| ids.binary_search(&(id as i64)).is_ok())
    }

    /// True exactly when this client is meant, when the one with the number `own_id` asks; 0 is nobody's.
    pub fn selects(&self, facts: &ClientFacts<'_>, own_id: u64) -> bool {
        let is_address = |given: &[u8], address: &str| {
            let rest = given.strip_prefix(address.as_bytes());
            rest.is_some_and(|rest| rest == port_behind(address).as_bytes())
        };
        self.names(facts.id)
            && self.kind.is_none_or(|kind| kind == kind_of(facts))
            && self.address.as_deref().is_none_or(|given| is_address(given, facts.peer.unwrap_or(facts.listen)))
            && self.listen.as_deref().is_none_or(|given| is_address(given, facts.listen))
            && self.user.as_deref().is_none_or(|user| user == facts.user.as_bytes())
            && self.age_s_min.is_none_or(|age| (facts.age_ms / 1000) as i64 >= age)
            && !(self.skips_own && facts.id == own_id)
    }
}

/// Lines of clients, in the order of the clients' numbers.
#[derive(Debug, Default)]
pub struct Lines {
    text: Vec<u8>,
    /// The number of each one, and where its line ends.
    ends: Vec<(u64, usize)>,
}

impl Lines {
    /// Appends the line of a client that has a higher number than all others.
    pub fn push(&mut self, facts: &ClientFacts<'_>) {
        write_line(&mut self.text, facts);
        self.ends.push((facts.id, self.text.len()));
    }

    /// Adds those of another proxy.
    pub fn add(&mut self, other: Lines) {
        if self.ends.is_empty() {
            *self = other;
            return;
        }
        let mut both = Lines::default();
        let before = std::mem::take(self);
        let (mut own, mut others) = (before.iter().peekable(), other.iter().peekable());
        while let Some(next) = match (own.peek(), others.peek()) {
            (Some(first), Some(second)) if second.0 < first.0 => others.next(),
            (Some(_), _) => own.next(),
            (None, _) => others.next(),
        } {
            both.text.extend_from_slice(next.1);
            both.ends.push((next.0, both.text.len()));
        }
        *self = both;
    }

    /// The memory that they take, in bytes.
    pub fn held(&self) -> usize {
        self.text.capacity() + self.ends.capacity() * size_of::<(u64, usize)>()
    }

    /// All of them.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    fn iter(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let mut start = 0;
        self.ends.iter().map(move |&(id, end)| (id, &self.text[std::mem::replace(&mut start, end)..end]))
    }
}

/// Appends the client's line, as CLIENT LIST shows it. There may be ten thousand of them: no formatting machinery.
pub fn write_line(out: &mut Vec<u8>, facts: &ClientFacts<'_>) {
    let Profile { database, protocol } = facts.session.profile;
    let peer = facts.peer.unwrap_or(facts.listen);
    let [sub, psub, ssub] = facts.heard.map(u64::from);
    let (library, version) = facts.session.library();
    let ClientMemory { kept, kept_free, steps, unsent, early } = facts.memory;
    let total = size_of::<Client>() + kept + kept_free + steps + unsent + early;
    let number = |out: &mut Vec<u8>, name: &str, value: u64| {
        out.extend_from_slice(name.as_bytes());
        reply::decimal(out, value);
    };
    let words =
        |out: &mut Vec<u8>, words: &[&str]| words.iter().for_each(|word| out.extend_from_slice(word.as_bytes()));
    number(out, "id=", facts.id);
    words(out, &[" addr=", peer, port_behind(peer), " laddr=", facts.listen, port_behind(facts.listen)]);
    words(out, &[" fd=-1 name=", &facts.session.name]);
    number(out, " age=", facts.age_ms / 1000);
    number(out, " idle=", facts.idle_ms / 1000);
    words(out, &[" flags="]);
    write_flags(out, facts);
    number(out, " db=", database.into());
    number(out, " sub=", sub);
    number(out, " psub=", psub);
    number(out, " ssub=", ssub);
    match facts.queued {
        Some(queued) => number(out, " multi=", queued as u64),
        None => words(out, &[" multi=-1"]),
    }
    number(out, " qbuf=", kept as u64);
    number(out, " qbuf-free=", kept_free as u64);
    number(out, " argv-mem=0 multi-mem=", steps as u64);
    number(out, " rbs=0 rbp=0 obl=", unsent as u64);
    number(out, " oll=0 omem=", (unsent + early) as u64);
    number(out, " tot-mem=", total as u64);
    words(out, &[" events=", if facts.is_unwritable { "rw" } else { "r" }, " cmd="]);
    words(out, &facts.command.unwrap_or(Name::new("NULL", "NULL")).words());
    words(out, &[" user=", facts.user, " redir=-1 resp=", if protocol == Protocol::Resp3 { "3" } else { "2" }]);
    words(out, &[" lib-name=", library, " lib-ver=", version, "\n"]);
}

fn kind_of(facts: &ClientFacts<'_>) -> Kind {
    if facts.heard == [0; 3] { Kind::Normal } else { Kind::PubSub }
}

fn write_flags(out: &mut Vec<u8>, facts: &ClientFacts<'_>) {
    let is_subscriber = kind_of(facts) == Kind::PubSub;
    let is_unix = is_path(facts.listen);
    let flags = [(is_subscriber, b'P'), (facts.queued.is_some(), b'x'), (facts.is_blocked, b'b'), (is_unix, b'U')];
    let before = out.len();
    out.extend(flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag));
    if out.len() == before {
        out.push(b'N');
    }
}

/// A Unix socket, rather than a host and a port.
fn is_path(address: &str) -> bool {
    address.contains('/')
}

/// Redis shows a Unix socket as a path with the port 0.
fn port_behind(address: &str) -> &'static str {
    if is_path(address) { ":0" } else { "" }
}
