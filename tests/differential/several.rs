//! Several servers are what a model of the routing says: the same sequences of all commands, by chance, go through rmux
//! to three redis-servers, and, by the model, to three others. The replies are the same bytes, each server has been
//! asked the same, and in the end both threes have the same data.
//!
//! ```text
//!           ┌─► rmux ──► redis-servers 0 1 2 ───┐ reply, calls by command, data
//! call ─────┤                                   ├─► equal?
//!           └─► model ─► redis-servers 0 1 2 ───┘
//! ```
//!
//! What is not compared, beside `exceptions`, which holds here too:
//!
//! - Commands that these servers do not have: where their keys are, none could tell the model.
//! - Session commands inside a transaction, which one server's test has.
//! - A command without a key before the first with one in a transaction: rmux keeps it until a key says which server it
//!   is all for, and the model asks at once. (`redis_lease` has such transactions.)
//! - XREAD and XREADGROUP that are not well formed: rmux looks for STREAMS where Redis has given up.
//! - What stands in one pipeline with EVALSHA or SCRIPT: a script that is sent along takes another round trip.
//! - `INFO` and `ROLE` are rmux's own with several servers; and of a SCAN only its kind, until it is made to its end.
//!
//! A failure says its seed and the calls before it; `RMUX_SEED` runs that seed again.

use super::call::{Call, Calls, Facts};
use super::exceptions::{self, Compared};
use super::model::{CROSS_SLOT, Model, Setup, is_muddled};
use super::placing::server_of;
use super::reply::{self, essence};
use super::support::Kind;
use super::support::client::{Client, body, encode, show};
use super::support::proxy::{PATIENT, Rmux};
use super::support::server::RedisServer;
use super::{DEFAULT_SEED, PIPELINE_MAX, SHOWN, is_excused, seed};
use rmux::command::{Class, Lease, Session};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const SERVERS: usize = 3;
/// Calls of one test.
const CALLS: usize = 2_000;
/// Calls after which the data is compared and thrown away, and the connections are new.
const ROUND: usize = 500;
/// Redis's own default.
const DATABASES: usize = 16;

const PLAIN: Setup = Setup { has_tags: false, multi_key: true };
const TAGGED: Setup = Setup { has_tags: true, multi_key: true };
const AS_THE_ORIGINAL: Setup = Setup { has_tags: false, multi_key: false };

#[test]
fn several_step_by_step_in_protocol_2() {
    run("2", 1, PLAIN, Kind::Tcp, 0);
}

#[test]
fn several_step_by_step_in_protocol_3_with_hash_tags() {
    run("3", 1, TAGGED, Kind::Unix, 1);
}

#[test]
fn several_in_pipelines_in_protocol_2_with_hash_tags() {
    run("2", PIPELINE_MAX, TAGGED, Kind::Unix, 2);
}

#[test]
fn several_in_pipelines_in_protocol_3() {
    run("3", PIPELINE_MAX, PLAIN, Kind::Tcp, 3);
}

#[test]
fn several_step_by_step_with_the_refusals_of_the_original() {
    run("2", 1, AS_THE_ORIGINAL, Kind::Unix, 4);
}

#[test]
fn several_in_pipelines_with_the_refusals_of_the_original() {
    run("3", PIPELINE_MAX, AS_THE_ORIGINAL, Kind::Unix, 5);
}

fn run(protocol: &str, pipeline_max: usize, setup: Setup, kind: Kind, number: u64) {
    let seed = seed(DEFAULT_SEED);
    let behind: Vec<RedisServer> = (0..SERVERS).map(|_| RedisServer::start()).collect();
    let mirrors: Vec<RedisServer> = (0..SERVERS).map(|_| RedisServer::start()).collect();
    let multi_key = format!("-multiKey={}", setup.multi_key);
    let mut flags = vec![PATIENT, &multi_key];
    flags.extend(setup.has_tags.then_some("-hashTag={}"));
    let rmux = Rmux::in_front_of(kind, &Vec::from_iter(&behind), &flags);
    let mut guide = mirrors[0].client();
    guide.cmd(&["SET", "k", "dumped"]);
    let facts = Facts {
        sha: body(&guide.cmd(&["SCRIPT", "LOAD", "return#ARGV"])).to_vec(),
        dump: body(&guide.cmd(&["DUMP", "k"])).to_vec(),
    };
    let sha = facts.sha.clone();
    let mut calls = Calls::new(seed.wrapping_mul(6).wrapping_add(number), facts);
    let names = Names::new(setup.has_tags);
    let mut asked = BTreeSet::new();
    let mut scripts = BTreeSet::new();
    for round in 0..CALLS / ROUND {
        for server in behind.iter().chain(&mirrors) {
            for line in ["FLUSHALL", "SCRIPT FLUSH", "FUNCTION FLUSH", "CONFIG RESETSTAT"] {
                assert_eq!(server.client().line(line), "+OK\r\n");
            }
        }
        let context = format!("RMUX_SEED={seed}, {setup:?}, protocol {protocol}, round {round}");
        let model = Model::new(&mirrors, setup, &sha, std::mem::take(&mut scripts));
        let mut several = Several { proxied: rmux.client(), model, last: VecDeque::new(), queued: Vec::new(), context };
        several.send(vec![vec![b"HELLO".to_vec(), protocol.into()]]);
        let mut sent = 0;
        while sent < ROUND {
            let batch = names.batch(&mut calls, pipeline_max);
            sent += batch.len();
            for piece in pieces(batch, pipeline_max) {
                several.send(piece.clone());
                asked.extend(piece.iter().filter_map(|call| exceptions::row(call)).map(std::ptr::from_ref));
            }
        }
        several.send(vec![vec![b"RESET".to_vec()]]);
        several.compare_servers(&behind, &mirrors);
        several.send(vec![vec![b"QUIT".to_vec()]]);
        several.proxied.expect_closed();
        scripts = several.model.scripts;
    }
    let mut model = Model::new(&mirrors, setup, &sha, scripts);
    let not_asked: Vec<&str> = rmux::command::all()
        .filter(|row| !row.is_container() && !asked.contains(&std::ptr::from_ref(*row)))
        .map(|row| row.name())
        .filter(|name| model.is_known(&vec![name.as_bytes().to_vec()], true))
        .filter(|name| exceptions::compared(&[name.as_bytes().to_vec()]) != Compared::NotSent)
        .collect();
    // Chance may leave out one or the other, in one of six tests.
    assert!(not_asked.len() < 10, "RMUX_SEED={seed}: never asked: {not_asked:?}");
}

/// A pipeline, cut where a round trip more would show.
fn pieces(batch: Vec<Call>, pipeline_max: usize) -> Vec<Vec<Call>> {
    let mut pieces: Vec<Vec<Call>> = vec![Vec::new()];
    let is_alone = |call: &Call| {
        let name = call[0].to_ascii_lowercase();
        pipeline_max == 1 || name == b"script" || name.starts_with(b"evalsha")
    };
    for call in batch {
        if is_alone(&call) {
            pieces.extend([vec![call], Vec::new()]);
        } else {
            pieces.last_mut().expect("there is always one").push(call);
        }
    }
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

/// Names of keys: for each key of `Calls`, one on each server.
struct Names {
    of: BTreeMap<Vec<u8>, Vec<Vec<u8>>>,
}

impl Names {
    fn new(has_tags: bool) -> Names {
        const TAGGED: [&str; 6] = ["{%}#", "#{%}", "#}{%}{x}", "{}%#", "#{%", "{%}}#"];
        const PLAIN: [&str; 2] = ["#%", "{#}%"];
        let forms = if has_tags { &TAGGED[..] } else { &PLAIN[..] };
        let spelt = |key: usize, attempt: usize| {
            let form = forms[attempt % forms.len()];
            form.replace('#', &format!("k{key}")).replace('%', &attempt.to_string()).into_bytes()
        };
        let on = |key: usize, server: usize| {
            let mut names = (key..).map(|attempt| spelt(key, attempt));
            names.find(|name| server_of(name, SERVERS, has_tags) == server).expect("some name is on every server")
        };
        let all = |key: usize| (format!("k{key}").into_bytes(), (0..SERVERS).map(|server| on(key, server)).collect());
        Names { of: (0..12).map(all).collect() }
    }

    /// Some calls, one time in five as a transaction. Most calls have their keys on one server, and most calls of a
    /// transaction on the same one.
    fn batch(&self, calls: &mut Calls, pipeline_max: usize) -> Vec<Call> {
        let mut batch = super::batch(calls, pipeline_max);
        let is_transaction = batch.iter().any(|call| call == &[b"MULTI".to_vec()]);
        let home = calls.random.below(SERVERS);
        for call in &mut batch {
            let strays = calls.random.percent(if is_transaction { 3 } else { 100 });
            let server = if strays { calls.random.below(SERVERS) } else { home };
            let is_mixed = calls.random.percent(if is_transaction { 2 } else { 25 });
            for word in call.iter_mut().skip(1) {
                let Some(names) = self.of.get(word) else { continue };
                let server = if is_mixed { calls.random.below(SERVERS) } else { server };
                word.clone_from(&names[server]);
            }
        }
        batch
    }
}

/// A connection to rmux, and what it must say.
struct Several<'a> {
    proxied: Client,
    model: Model<'a>,
    /// How the replies of the open transaction are compared.
    queued: Vec<Compared>,
    /// The last calls and the replies that were expected.
    last: VecDeque<String>,
    context: String,
}

impl Several<'_> {
    /// Sends the calls at once, and compares every reply.
    fn send(&mut self, batch: Vec<Call>) {
        let mut sent = Vec::new();
        let mut expected = Vec::new();
        let is_pipeline = batch.len() > 1;
        for call in batch {
            if self.is_left_out(&call) || is_pipeline && Model::is_by_digest(&call) {
                continue;
            }
            let compared = exceptions::compared(&call);
            expected.push((self.model.expect(&call, compared == Compared::Refused), compared));
            sent.push(call);
        }
        self.proxied.send(&sent.iter().flat_map(|call| encode(call)).collect::<Vec<u8>>());
        for (call, (expected, compared)) in sent.iter().zip(expected) {
            let reply = self.proxied.try_reply();
            let is = |name: &str| call[0].eq_ignore_ascii_case(name.as_bytes());
            let queued = if is("EXEC") { std::mem::take(&mut self.queued) } else { Vec::new() };
            if expected.reply == b"+QUEUED\r\n" {
                self.queued.push(if compared == Compared::Refused { Compared::Exactly } else { compared });
            } else if (is("DISCARD") || is("RESET") || is("MULTI")) && expected.reply.starts_with(b"+") {
                self.queued.clear();
            }
            let is_equal = reply.as_ref().is_ok_and(|reply| {
                essence(reply, compared, &queued) == essence(&expected.reply, compared, &queued)
                    || expected.is_lost && is_excused(call, reply, &expected.reply)
                    || expected.may_be_crossed && reply == CROSS_SLOT
            });
            let reply = reply.map_or_else(|why| format!("{why}"), |reply| show(&reply));
            let words: Vec<String> = call.iter().map(|word| word.escape_ascii().to_string()).collect();
            let words = words.join(" ");
            let shown = show(&expected.reply);
            let last = Vec::from_iter(self.last.iter().map(String::as_str)).join("\n");
            assert!(is_equal, "{}\n{last}\n{words}\n  model: {shown:?}\n  rmux:  {reply:?}", self.context);
            self.last.push_back(format!("{words} → {:?}", shown.chars().take(200).collect::<String>()));
            if self.last.len() > SHOWN {
                self.last.pop_front();
            }
        }
    }

    fn is_left_out(&mut self, call: &Call) -> bool {
        let row = exceptions::row(call);
        let in_transaction = self.model.is_in_transaction();
        // Keys are watched on a backend, which has the one database and the one protocol.
        let is_bound = call[0].eq_ignore_ascii_case(b"SELECT") || exceptions::may_change_protocol(call);
        self.model.is_watching() && is_bound
            || !self.model.is_known(call, row.is_some())
            || in_transaction && row.is_some_and(|row| is_about_session(row.class))
            || in_transaction && self.model.is_placeless(call)
            || in_transaction && is_wrong_vector_call(call)
            || is_muddled(call)
    }

    /// Each server was asked what its mirror was asked, and has what that has.
    fn compare_servers(&mut self, behind: &[RedisServer], mirrors: &[RedisServer]) {
        for (number, (server, mirror)) in behind.iter().zip(mirrors).enumerate() {
            let place = format!("{}, server {number}", self.context);
            assert_same(calls_of(server), calls_of(mirror), &format!("{place}: calls by command"));
            for database in 0..DATABASES {
                let data = [server, mirror].map(|one| data_of(one, database));
                let [found, wanted] = data.map(|data| {
                    data.into_iter().map(|(key, value)| (show(&key), value.escape_ascii().to_string())).collect()
                });
                assert_same(found, wanted, &format!("{place}: database {database}"));
            }
            let library = |server: &RedisServer| server.client().line("FUNCTION LIST WITHCODE");
            assert_eq!(library(server), library(mirror), "{place}: functions");
        }
        if !self.context.contains("multi_key: true") {
            return;
        }
        for database in 0..DATABASES {
            let of = |server: &RedisServer| data_of(server, database).into_keys();
            let all: BTreeSet<Vec<u8>> = mirrors.iter().flat_map(of).collect();
            self.proxied.line(&format!("SELECT {database}"));
            assert_eq!(scanned(&mut self.proxied), all, "{}: SCAN of database {database}", self.context);
        }
    }
}

/// True for a wrong number of arguments for a command of vector sets: a server that has this module queues it and says
/// so later, rmux says so at once.
fn is_wrong_vector_call(call: &Call) -> bool {
    exceptions::row(call).is_some_and(|row| row.name().starts_with('v') && !row.arity_allows(call.len()))
}

/// True for what is about the client's session, and may not stand in just any transaction.
fn is_about_session(class: Class) -> bool {
    use Session::{Command, Echo, Info, Ping, Reset, Role, Select};
    match class {
        Class::Session(session) => !matches!(session, Ping | Echo | Select | Info | Role | Command | Reset),
        Class::Lease(Lease::Subscribe(_) | Lease::Unsubscribe(_)) => true,
        _ => false,
    }
}

/// Shows only what differs.
fn assert_same(found: BTreeMap<String, String>, wanted: BTreeMap<String, String>, what: &str) {
    let only = |of: &BTreeMap<String, String>, other: &BTreeMap<String, String>| {
        let differs = |(name, value): &(&String, &String)| other.get(*name) != Some(value);
        Vec::from_iter(of.iter().filter(differs).map(|(name, value)| format!("{name} {value}")))
    };
    assert!(found == wanted, "{what}\n  mirror: {:?}\n  server: {:?}", only(&wanted, &found), only(&found, &wanted));
}

/// How often each command was called and did not fail (a call with nonsense in it fails at any server), without those that rmux has a say in: it shakes hands, probes and selects by
/// itself, answers for its sessions, and watches, opens and closes transactions as it needs to. The model asks with COMMAND.
fn calls_of(server: &RedisServer) -> BTreeMap<String, String> {
    const OWN: &[&str] = &[
        "acl",
        "watch",
        "asking",
        "auth",
        "client",
        "cluster",
        "command",
        "config",
        "discard",
        "echo",
        "exec",
        "hello",
        "info",
        "multi",
        "ping",
        "quit",
        "readonly",
        "readwrite",
        "reset",
        "role",
        "select",
        "unwatch",
        "wait",
        "waitaof",
    ];
    let reply = server.client().cmd(&["INFO", "commandstats"]);
    let text = String::from_utf8_lossy(body(&reply)).into_owned();
    let counts = text.lines().filter_map(|line| line.strip_prefix("cmdstat_")?.split_once(':'));
    let figure = |figures: &str, name: &str| {
        let of = figures.split(',').find_map(|figure| figure.strip_prefix(name)?.strip_prefix('='));
        of.map_or(0, |count| count.parse::<u64>().expect("a count"))
    };
    let counts = counts.map(|(name, figures)| (name, figure(figures, "calls") - figure(figures, "failed_calls")));
    let counts = counts.filter(|(name, calls)| *calls != 0 && !OWN.contains(&name.split('|').next().unwrap_or("")));
    counts.map(|(name, calls)| (name.to_owned(), calls.to_string())).collect()
}

/// Every key of a database with its value, in an order that two servers agree on.
fn data_of(server: &RedisServer, database: usize) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut client = server.client();
    client.line(&format!("SELECT {database}"));
    let keys = client.cmd(&["KEYS", "*"]);
    let mut data = BTreeMap::new();
    for key in reply::children(&keys).into_iter().map(body) {
        let kind = client.cmd(&[&b"TYPE"[..], key]);
        let reading: &[&[u8]] = match &kind[..] {
            b"+string\r\n" => &[b"GET"],
            b"+list\r\n" => &[b"LRANGE", b"0", b"-1"],
            b"+set\r\n" => &[b"SMEMBERS"],
            b"+zset\r\n" => &[b"ZRANGE", b"0", b"-1", b"WITHSCORES"],
            b"+hash\r\n" => &[b"HGETALL"],
            b"+stream\r\n" => &[b"XRANGE", b"-", b"+"],
            other => panic!("a key of type {:?}", show(other)),
        };
        let mut question = vec![reading[0], key];
        question.extend_from_slice(&reading[1..]);
        let value = client.cmd(&question);
        let order = if kind == b"+set\r\n" { Compared::InAnyOrder } else { Compared::Exactly };
        let mut value = if kind == b"+hash\r\n" { pairs(&value) } else { essence(&value, order, &[]) };
        if kind == b"+stream\r\n" {
            value.extend(client.cmd(&[&b"XINFO"[..], b"GROUPS", key]));
        }
        value.extend(if client.cmd(&[&b"TTL"[..], key]) == b":-1\r\n" { &b"for ever"[..] } else { b"for a time" });
        data.insert(key.to_vec(), [kind, value].concat());
    }
    data
}

fn pairs(reply: &[u8]) -> Vec<u8> {
    let mut pairs: Vec<Vec<u8>> = reply::children(reply).chunks(2).map(<[&[u8]]>::concat).collect();
    pairs.sort();
    pairs.concat()
}

/// All keys that SCAN finds until its end.
fn scanned(client: &mut Client) -> BTreeSet<Vec<u8>> {
    let mut found = BTreeSet::new();
    let mut cursor = b"0".to_vec();
    loop {
        let reply = client.cmd(&[&b"SCAN"[..], &cursor, b"COUNT", b"5"]);
        let parts = reply::children(&reply);
        let [next, keys] = parts[..] else { panic!("no reply to SCAN: {}", show(&reply)) };
        found.extend(reply::children(keys).into_iter().map(|key| body(key).to_vec()));
        cursor = body(next).to_vec();
        if cursor == b"0" {
            return found;
        }
    }
}
