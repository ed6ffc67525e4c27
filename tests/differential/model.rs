//! What several servers behind rmux must answer: a model of the routing, in front of servers of its own.
//!
//! ```text
//! call ─► which servers? ─┬─ one ─────────────► mirror 1 ──────────────────► its reply
//!         (GETKEYS,       ├─ several, parts ──► mirrors 0 and 2, a part each ► merged
//!          placing)       ├─ all ─────────────► mirrors 0, 1 and 2 ─────────► merged
//!                         └─ refused ─────────► none ──────────────────────► the error of the manual
//! ```
//!
//! Written from the manual's table and shares no code with rmux: where the keys of a call are, Redis itself is asked
//! (`COMMAND GETKEYS`); which server has a key, `placing` says. The mirrors are real redis-servers that do exactly what
//! rmux's servers should have done, one call after the other, so that in the end both have the same data.
//!
//! Knows no rmux, and nothing of how calls are made. One value stands for one client's connection.

use super::call::Call;
use super::placing::server_of;
use super::reply;
use super::support::client::Client;
use super::support::server::RedisServer;
use std::collections::{BTreeMap, BTreeSet};

pub const UNSUPPORTED: &[u8] = b"-ERR This command is not supported\r\n";
pub const CROSS_SLOT: &[u8] = b"-CROSSSLOT Keys in request don't hash to the same slot\r\n";
pub const ABORTED: &[u8] = b"-EXECABORT Transaction discarded because of previous errors.\r\n";
const QUEUED: &[u8] = b"+QUEUED\r\n";

/// How rmux is set up.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub has_tags: bool,
    pub multi_key: bool,
}

/// How the replies of several servers become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Merge {
    ByPosition,
    Sum,
    Max,
    AllOk,
    First,
    Concat,
    Union,
    /// 1 where all have 1.
    And,
    /// Any that is not null.
    AnyKey,
}

/// What rmux asks each server for its keys.
const SPLIT: &[(&str, Merge)] = &[
    ("mget", Merge::ByPosition),
    ("mset", Merge::AllOk),
    ("del", Merge::Sum),
    ("unlink", Merge::Sum),
    ("exists", Merge::Sum),
    ("touch", Merge::Sum),
];

/// What rmux asks all servers.
const EVERYWHERE: &[(&str, Merge)] = &[
    ("keys", Merge::Concat),
    ("dbsize", Merge::Sum),
    ("flushall", Merge::AllOk),
    ("flushdb", Merge::AllOk),
    ("randomkey", Merge::AnyKey),
    ("script|load", Merge::First),
    ("script|kill", Merge::First),
    ("function|kill", Merge::First),
    ("script|exists", Merge::And),
    ("script|flush", Merge::AllOk),
    ("function|load", Merge::First),
    ("function|delete", Merge::AllOk),
    ("function|flush", Merge::AllOk),
    ("function|restore", Merge::AllOk),
    ("pubsub|channels", Merge::Union),
    ("pubsub|shardchannels", Merge::Union),
    ("pubsub|numpat", Merge::Max),
    ("pubsub|numsub", Merge::Max),
    ("pubsub|shardnumsub", Merge::Max),
    ("memory|purge", Merge::AllOk),
];

/// What only one server alone could answer.
const NOT_WITH_SEVERAL: &[&str] = &[
    "memory|doctor",
    "memory|malloc-stats",
    "memory|stats",
    "lastsave",
    "latency|doctor",
    "latency|graph",
    "latency|histogram",
    "latency|history",
    "latency|latest",
    "slowlog|get",
    "slowlog|len",
    "acl|getuser",
    "acl|list",
    "acl|users",
];
/// Commands that say how many keys they have, and in which argument.
const COUNTED: &[(&str, usize)] = &[
    ("zunion zinter zdiff zintercard sintercard lmpop zmpop", 1),
    ("eval eval_ro evalsha evalsha_ro fcall fcall_ro zunionstore zinterstore zdiffstore blmpop bzmpop", 2),
];
/// What changes a session, which is the same at all servers.
const SESSION: &[&str] = &["select", "hello", "reset"];

/// The servers that a call is for.
enum Place {
    /// It has no key, or Redis can not tell them, and then it will not take the call either.
    Any,
    One(usize),
    Several,
}

/// An open transaction. The mirrors have all said `MULTI`.
#[derive(Default)]
struct Transaction {
    server: Option<usize>,
    is_broken: bool,
    /// The database of each step that is a `SELECT`.
    selects: Vec<Option<Vec<u8>>>,
}

pub struct Model<'a> {
    mirrors: Vec<Client>,
    /// Asked about commands, so that the mirrors' connections are never in the way.
    guide: Client,
    known: BTreeMap<Vec<u8>, bool>,
    /// The scripts that rmux has seen, of all its clients.
    pub scripts: BTreeSet<Vec<u8>>,
    transaction: Option<Transaction>,
    watched: Option<usize>,
    /// Redis could not tell the keys of the last call.
    is_puzzled: bool,
    setup: Setup,
    sha: &'a [u8],
}

/// What is expected.
#[derive(Debug)]
pub struct Expected {
    pub reply: Vec<u8>,
    /// A step of a transaction that will not be run: rmux need not find every fault of it.
    pub is_lost: bool,
    /// Redis can not tell the keys and does not take the call; rmux may refuse it for the keys that it sees.
    pub may_be_crossed: bool,
}

impl<'a> Model<'a> {
    /// In front of these mirrors, for a new client of an rmux that has seen `scripts`. `sha` is the digest of the one
    /// script that is called by its digest.
    pub fn new(servers: &[RedisServer], setup: Setup, sha: &'a [u8], scripts: BTreeSet<Vec<u8>>) -> Model<'a> {
        Model {
            mirrors: servers.iter().map(RedisServer::client).collect(),
            guide: servers[0].client(),
            known: BTreeMap::new(),
            scripts,
            transaction: None,
            watched: None,
            is_puzzled: false,
            setup,
            sha,
        }
    }

    /// Whether these servers have the command, or the subcommand; true for what no Redis has.
    pub fn is_known(&mut self, call: &Call, is_in_table: bool) -> bool {
        let name = full_name(call, &mut self.guide);
        !is_in_table || *self.known.entry(name).or_insert_with_key(|name| has_command(&mut self.guide, name))
    }

    pub fn is_in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    pub fn is_watching(&self) -> bool {
        self.watched.is_some()
    }

    /// True when nothing has said yet where the transaction is to be, and this call does not say it either.
    pub fn is_placeless(&mut self, call: &Call) -> bool {
        let is_undecided =
            self.transaction.as_ref().is_some_and(|transaction| transaction.server.is_none() && !transaction.is_broken);
        let is_step = !["exec", "discard", "reset", "multi", "watch"].iter().any(|name| is_named(call, name));
        is_undecided && is_step && self.watched.is_none() && matches!(self.place(call), Place::Any)
    }

    /// Does what rmux's servers are to do, and says what the client is to be answered.
    pub fn expect(&mut self, call: &Call, is_refused: bool) -> Expected {
        let name = full_name(call, &mut self.guide);
        let name = String::from_utf8_lossy(&name).into_owned();
        self.is_puzzled = false;
        if let Some(mut transaction) = self.transaction.take() {
            let was_broken = transaction.is_broken;
            let reply = self.step(&name, call, is_refused, &mut transaction);
            let is_over = match name.as_str() {
                "exec" => true,
                "discard" => call.len() == 1,
                "reset" => call.len() == 1,
                _ => false,
            };
            if is_over {
                self.watched = None;
            } else {
                transaction.is_broken |= reply.starts_with(b"-") && !is_harmless(&name, call);
                self.transaction = Some(transaction);
            }
            let is_lost = was_broken && !is_over;
            return Expected { is_lost, may_be_crossed: self.is_puzzled && reply.starts_with(b"-"), reply };
        }
        let reply = if is_refused { UNSUPPORTED.to_vec() } else { self.plain(&name, call) };
        Expected { is_lost: false, may_be_crossed: self.is_puzzled && reply.starts_with(b"-"), reply }
    }

    /// A call outside of a transaction.
    fn plain(&mut self, name: &str, call: &Call) -> Vec<u8> {
        if name == "exec" && call.len() > 1 {
            // Refused for its arguments, it unwatches all the same.
            self.watched = None;
        }
        if name == "eval" || name == "eval_ro" {
            self.scripts.extend(call.get(1).filter(|_| call.len() > 2).cloned());
        }
        match name {
            "multi" => {
                let reply = self.everywhere(call).swap_remove(0);
                self.transaction = reply.starts_with(b"+").then(Transaction::default);
                reply
            }
            "watch" => self.watch(call),
            "unwatch" => {
                if call.len() == 1 {
                    self.watched = None;
                }
                self.everywhere(call).swap_remove(0)
            }
            "publish" | "spublish" if call.len() > 1 => {
                let server = self.server_of(&call[1]);
                self.mirrors[server].cmd(call)
            }
            "scan" => self.scan(call),
            _ if SESSION.contains(&name) => {
                if name == "reset" && call.len() == 1 {
                    self.watched = None;
                }
                self.everywhere(call).swap_remove(0)
            }
            _ if NOT_WITH_SEVERAL.contains(&name) => UNSUPPORTED.to_vec(),
            _ => match merge_of(EVERYWHERE, name) {
                Some(_) if !self.setup.multi_key => UNSUPPORTED.to_vec(),
                Some(merge) => {
                    match name {
                        "script|load" => self.scripts.extend(call.get(2).cloned()),
                        "script|flush" => self.scripts.clear(),
                        _ => {}
                    }
                    merged(merge, &self.everywhere(call), &[])
                }
                None => self.keyed(name, call),
            },
        }
    }

    fn keyed(&mut self, name: &str, call: &Call) -> Vec<u8> {
        if reads_by_pattern(name, call) {
            return UNSUPPORTED.to_vec();
        }
        match self.place(call) {
            Place::Any => self.ask(0, name, call),
            Place::One(server) => self.ask(server, name, call),
            Place::Several => match merge_of(SPLIT, name) {
                Some(merge) if self.setup.multi_key => self.split(merge, call, 1 + usize::from(name == "mset")),
                _ => CROSS_SLOT.to_vec(),
            },
        }
    }

    /// Whether a server is asked for a script by its digest: what becomes of that within a pipeline depends on when its
    /// answer comes.
    pub fn is_by_digest(call: &Call) -> bool {
        call[0].to_ascii_lowercase().starts_with(b"evalsha")
    }

    /// A server that does not know the script is given it, if rmux has seen it.
    fn ask(&mut self, server: usize, name: &str, call: &Call) -> Vec<u8> {
        let reply = self.mirrors[server].cmd(call);
        let is_ours = name.starts_with("evalsha") && call[1].eq_ignore_ascii_case(self.sha);
        if is_ours && reply.starts_with(b"-NOSCRIPT") && self.scripts.contains(SCRIPT) {
            let mut with_script = call.clone();
            with_script[0] = name.replace("sha", "").into_bytes();
            with_script[1] = SCRIPT.to_vec();
            return self.mirrors[server].cmd(&with_script);
        }
        reply
    }

    /// Each server is asked for its keys, in the order in which they stand; `step` arguments belong to each.
    fn split(&mut self, merge: Merge, call: &Call, step: usize) -> Vec<u8> {
        let mut parts: Vec<(usize, Call)> = Vec::new();
        let mut order = Vec::new();
        for key in call[1..].chunks(step) {
            let server = self.server_of(&key[0]);
            let place = parts.iter().position(|(other, _)| *other == server).unwrap_or_else(|| {
                parts.push((server, vec![call[0].clone()]));
                parts.len() - 1
            });
            parts[place].1.extend_from_slice(key);
            order.push(place);
        }
        let replies: Vec<_> = parts.iter().map(|(server, part)| self.mirrors[*server].cmd(part)).collect();
        merged(merge, &replies, &order)
    }

    /// A cursor is the server's own, times the number of servers, plus the server's number.
    fn scan(&mut self, call: &Call) -> Vec<u8> {
        if !self.setup.multi_key {
            return UNSUPPORTED.to_vec();
        }
        let Some(cursor) = call.get(1) else { return self.mirrors[0].cmd(call) };
        let digits = cursor.iter().all(u8::is_ascii_digit);
        let Some(number) =
            std::str::from_utf8(cursor).ok().filter(|_| digits).and_then(|text| text.parse::<u64>().ok())
        else {
            return b"-ERR invalid cursor\r\n".to_vec();
        };
        let servers = self.mirrors.len() as u64;
        let mut there = call.clone();
        there[1] = (number / servers).to_string().into_bytes();
        self.mirrors[(number % servers) as usize].cmd(&there)
    }

    fn watch(&mut self, call: &Call) -> Vec<u8> {
        match self.place(call) {
            Place::Any => self.mirrors[self.watched.unwrap_or(0)].cmd(call),
            Place::One(server) if self.watched.is_none_or(|watched| watched == server) => {
                self.watched = Some(server);
                self.mirrors[server].cmd(call)
            }
            Place::One(_) | Place::Several => CROSS_SLOT.to_vec(),
        }
    }

    /// A call inside a transaction.
    fn step(&mut self, name: &str, call: &Call, is_refused: bool, transaction: &mut Transaction) -> Vec<u8> {
        let decided = transaction.server.or(self.watched);
        let here = decided.unwrap_or(0);
        match name {
            "exec" => return self.exec(here, call, transaction),
            "discard" | "reset" => return self.everywhere(call).swap_remove(here),
            "multi" | "watch" => return self.mirrors[here].cmd(call),
            _ => {}
        }
        let is_everywhere = name == "scan" || merge_of(EVERYWHERE, name).is_some();
        if is_refused || is_everywhere || NOT_WITH_SEVERAL.contains(&name) || reads_by_pattern(name, call) {
            return UNSUPPORTED.to_vec();
        }
        let server = match self.place(call) {
            Place::Any => here,
            Place::One(server) if decided.is_none_or(|decided| decided == server) => server,
            Place::One(_) | Place::Several => return CROSS_SLOT.to_vec(),
        };
        transaction.server = Some(server);
        let reply = self.mirrors[server].cmd(call);
        if reply == QUEUED {
            transaction.selects.push(call.get(1).filter(|_| name == "select").cloned());
        }
        reply
    }

    fn exec(&mut self, server: usize, exec: &Call, transaction: &Transaction) -> Vec<u8> {
        let discard = vec![b"DISCARD".to_vec()];
        let is_discarded = |mirror: usize| mirror != server || transaction.is_broken && exec.len() == 1;
        let mut replies = Vec::new();
        for (place, mirror) in self.mirrors.iter_mut().enumerate() {
            replies.push(mirror.cmd(if is_discarded(place) { &discard } else { exec }));
        }
        if is_discarded(server) {
            return ABORTED.to_vec();
        }
        let reply = replies.swap_remove(server);
        // The database is one for the whole session.
        if reply.starts_with(b"*") {
            let steps = reply::children(&reply).into_iter().zip(&transaction.selects);
            let selected =
                steps.filter(|(step, _)| *step == b"+OK\r\n").filter_map(|(_, select)| select.as_ref()).next_back();
            if let Some(database) = selected {
                self.everywhere(&vec![b"SELECT".to_vec(), database.clone()]);
            }
        }
        reply
    }

    fn everywhere(&mut self, call: &Call) -> Vec<Vec<u8>> {
        self.mirrors.iter_mut().map(|mirror| mirror.cmd(call)).collect()
    }

    /// Where a call belongs, by its keys.
    fn place(&mut self, call: &Call) -> Place {
        let name = call[0].to_ascii_lowercase();
        // Redis says the keys of a pair that lacks its half, too, and nevertheless does not take the call.
        let is_pair = name == b"mset" || name == b"msetnx";
        // It reads `+1` as a number of keys there, and nowhere else.
        let count = COUNTED.iter().find(|(names, _)| names.split(' ').any(|listed| listed.as_bytes() == name));
        if count.and_then(|(_, at)| call.get(*at)).is_some_and(|count| !is_canonical(count)) {
            return Place::Any;
        }
        if is_pair && call.len() % 2 == 0 {
            return Place::Any;
        }
        let mut question = vec![b"COMMAND".to_vec(), b"GETKEYS".to_vec()];
        question.extend_from_slice(call);
        // It tells no key when there is nothing to merge, and writes the one that there is.
        if name == b"pfmerge" && call.len() == 2 {
            question.push(call[1].clone());
        }
        let answer = self.guide.cmd(&question);
        if answer.starts_with(b"-") {
            self.is_puzzled = !answer.starts_with(b"-ERR The command has no key");
            return Place::Any;
        }
        let keys = reply::children(&answer);
        let mut servers = keys.into_iter().map(|key| self.server_of(super::support::client::body(key)));
        let Some(first) = servers.next() else { return Place::Any };
        if servers.all(|server| server == first) { Place::One(first) } else { Place::Several }
    }

    fn server_of(&self, key: &[u8]) -> usize {
        server_of(key, self.mirrors.len(), self.setup.has_tags)
    }
}

/// The script that calls have the digest of.
pub const SCRIPT: &[u8] = b"return#ARGV";

fn is_named(call: &Call, name: &str) -> bool {
    call[0].eq_ignore_ascii_case(name.as_bytes())
}

/// A number as Redis writes it.
fn is_canonical(word: &[u8]) -> bool {
    let number = std::str::from_utf8(word).ok().and_then(|text| text.parse::<i64>().ok());
    number.is_some_and(|number| number.to_string().as_bytes() == word)
}

/// True for an XREAD or XREADGROUP that is not well formed: Redis looks for the keys of such a call in another way than
/// rmux does, and takes it in no case.
pub fn is_muddled(call: &Call) -> bool {
    if !is_named(call, "xread") && !is_named(call, "xreadgroup") {
        return false;
    }
    let mut words = call.iter().skip(1);
    while let Some(word) = words.next() {
        let is = |option: &str| word.eq_ignore_ascii_case(option.as_bytes());
        if is("STREAMS") {
            let keys_and_ids = words.len();
            return keys_and_ids == 0 || keys_and_ids % 2 != 0;
        }
        let is_right = match () {
            () if is("COUNT") || is("BLOCK") => words.next().is_some_and(|number| is_canonical(number)),
            () if is("GROUP") => words.nth(1).is_some(),
            () => is("NOACK"),
        };
        if !is_right {
            return true;
        }
    }
    true
}

/// An error that does not break a transaction.
fn is_harmless(name: &str, call: &Call) -> bool {
    name == "multi" && call.len() == 1 || name == "watch" && call.len() > 1
}

fn merge_of(list: &[(&str, Merge)], name: &str) -> Option<Merge> {
    list.iter().find(|(listed, _)| *listed == name).map(|(_, merge)| *merge)
}

/// SORT with a pattern reads keys that it does not name, and that may be on any server.
fn reads_by_pattern(name: &str, call: &Call) -> bool {
    if name != "sort" && name != "sort_ro" {
        return false;
    }
    let mut words = call.iter().skip(2);
    while let Some(word) = words.next() {
        let is = |option: &str| word.eq_ignore_ascii_case(option.as_bytes());
        if is("LIMIT") {
            words.nth(1);
        } else if is("STORE") {
            words.next();
        } else if (is("BY") || is("GET")) && words.next().is_some_and(|pattern| pattern.contains(&b'*')) {
            return true;
        }
    }
    false
}

/// The name in lower case, with its subcommand's if Redis has that.
fn full_name(call: &Call, guide: &mut Client) -> Vec<u8> {
    let name = call[0].to_ascii_lowercase();
    match call.get(1) {
        Some(word) if CONTAINERS.iter().any(|container| container.as_bytes() == name) => {
            let full = [&name, &b"|"[..], &word.to_ascii_lowercase()].concat();
            if has_command(guide, &full) { full } else { name }
        }
        _ => name,
    }
}

const CONTAINERS: &[&str] = &[
    "acl", "client", "cluster", "command", "config", "function", "latency", "memory", "module", "object", "pubsub",
    "script", "slowlog", "xgroup", "xinfo",
];

fn has_command(guide: &mut Client, name: &[u8]) -> bool {
    let reply = guide.cmd(&[&b"COMMAND"[..], b"INFO", name]);
    !matches!(&reply[..], b"*1\r\n*-1\r\n" | b"*1\r\n$-1\r\n" | b"*1\r\n_\r\n")
}

/// One reply out of those of several servers: the first error, if there is one. `order` says for each element of a
/// reply by position which part it is in.
fn merged(merge: Merge, replies: &[Vec<u8>], order: &[usize]) -> Vec<u8> {
    if let Some(error) = replies.iter().find(|reply| reply.starts_with(b"-")) {
        return error.clone();
    }
    let parts: Vec<Vec<&[u8]>> = replies.iter().map(|reply| reply::children(reply)).collect();
    let array = |elements: Vec<&[u8]>| [format!("*{}\r\n", elements.len()).as_bytes(), &elements.concat()].concat();
    let number = |reply: &[u8]| reply::number(reply);
    match merge {
        Merge::Sum => format!(":{}\r\n", replies.iter().map(|reply| number(reply)).sum::<i64>()).into_bytes(),
        Merge::First => replies[0].clone(),
        Merge::AnyKey => replies
            .iter()
            .find(|reply| reply.starts_with(b"$") && &reply[..] != b"$-1\r\n")
            .unwrap_or(&replies[0])
            .clone(),
        Merge::AllOk => {
            assert!(replies.iter().all(|reply| reply == b"+OK\r\n"), "{replies:?}");
            replies[0].clone()
        }
        Merge::ByPosition => {
            let mut parts: Vec<_> = parts.into_iter().map(Vec::into_iter).collect();
            array(order.iter().map(|&part| parts[part].next().expect("an element for each key")).collect())
        }
        Merge::Concat => array(parts.concat()),
        Merge::Union => array(BTreeSet::from_iter(parts.concat()).into_iter().collect()),
        Merge::Max | Merge::And if parts[0].is_empty() && replies[0].starts_with(b":") => {
            format!(":{}\r\n", replies.iter().map(|reply| number(reply)).max().expect("three replies")).into_bytes()
        }
        Merge::Max | Merge::And => {
            let columns = (0..parts[0].len()).map(|column| parts.iter().map(move |part| part[column]));
            let chosen = columns.map(|column| {
                let by_number = |one: &&[u8], other: &&[u8]| number(one).cmp(&number(other));
                let first = column.clone().next().expect("three replies");
                match merge {
                    _ if !first.starts_with(b":") => first,
                    Merge::Max => column.max_by(by_number).expect("three replies"),
                    _ => column.min_by(by_number).expect("three replies"),
                }
            });
            array(chosen.collect())
        }
    }
}
