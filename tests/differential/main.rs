//! A pool of one server is transparent: the same long sequences of all commands, by chance, go to one redis-server
//! directly and to another through rmux, and the replies are the same bytes.
//!
//! ```text
//!           ┌─► redis-server ───────────┐
//! call ─────┤                           ├─► essence ─► equal?
//!           └─► rmux ─► redis-server ───┘
//!
//! call        calls from rmux's table and from templates, right and wrong
//! templates   what applications send
//! exceptions  what may differ, and why
//! reply       a reply without what may differ
//! several     the same for several servers, against `model`, which places keys by `placing`
//! ```
//!
//! Beside the table, rmux differs in what it refuses inside a transaction (subscriptions, another protocol), in how it
//! fills one that is broken already (`State`, `Pair::compare`), and in a few arguments that `call::tame` keeps away.
//!
//! Runs in both versions of the protocol, step by step and in pipelines, with and without transactions. The seed is
//! fixed; a failure says it and the calls before it. `RMUX_SEED=17 cargo test --test differential` runs others.

#[path = "../support/mod.rs"]
mod support;

mod call;
mod exceptions;
mod model;
mod placing;
mod reply;
mod several;
mod templates;

use call::{Call, Calls, Facts};
use exceptions::Compared;
use reply::essence;
use std::collections::{BTreeSet, VecDeque};
use std::env;
use support::Kind;
use support::client::{Client, body, encode, show};
use support::proxy::Front;
use support::server::RedisServer;

/// The same calls on every machine, so that a failure is the change's and not chance's; others are run by `RMUX_SEED`.
const DEFAULT_SEED: u64 = 20_240_501;
/// Calls of one test; there are four.
const CALLS: usize = 5_000;
/// Calls after which the data is thrown away and the connections are new.
const ROUND: usize = 500;
/// The longest pipeline.
const PIPELINE_MAX: usize = 40;
const SHOWN: usize = 20;
/// How Redis begins to refuse a command or a subcommand that it is too old for.
const UNKNOWN: [&[u8]; 2] = [b"-ERR unknown command", b"-ERR unknown subcommand"];
const REFUSAL: &[u8] = b"-ERR This command is not supported\r\n";

#[test]
fn step_by_step_in_protocol_2() {
    run("2", 1, Kind::Tcp);
}

#[test]
fn step_by_step_in_protocol_3() {
    run("3", 1, Kind::Unix);
}

#[test]
fn in_pipelines_in_protocol_2() {
    run("2", PIPELINE_MAX, Kind::Unix);
}

#[test]
fn in_pipelines_in_protocol_3() {
    run("3", PIPELINE_MAX, Kind::Tcp);
}

fn run(protocol: &str, pipeline_max: usize, kind: Kind) {
    let seed = seed(DEFAULT_SEED);
    let servers = [RedisServer::start(), RedisServer::start()];
    let front = Front::of(kind, &servers[1]);
    let mut direct = servers[0].client();
    direct.cmd(&["SET", "k", "dumped"]);
    let facts = Facts {
        sha: body(&direct.cmd(&["SCRIPT", "LOAD", "return#ARGV"])).to_vec(),
        dump: body(&direct.cmd(&["DUMP", "k"])).to_vec(),
    };
    let mut calls = Calls::new(seed, facts);
    let mut asked = BTreeSet::new();
    for round in 0..CALLS / ROUND {
        for server in &servers {
            for line in ["FLUSHALL", "SCRIPT FLUSH", "FUNCTION FLUSH"] {
                assert_eq!(server.client().line(line), "+OK\r\n");
            }
        }
        let mut pair = Pair {
            direct: Client::connect(&servers[0].address(kind)),
            proxied: front.client(),
            state: State::default(),
            is_broken: false,
            queued: Vec::new(),
            last: VecDeque::new(),
            context: format!("RMUX_SEED={seed}, protocol {protocol}, round {round}"),
        };
        pair.send(vec![vec![b"HELLO".to_vec(), protocol.into()]]);
        let mut sent = 0;
        while sent < ROUND {
            let batch = batch(&mut calls, pipeline_max);
            sent += batch.len();
            asked.extend(batch.iter().filter_map(|call| exceptions::row(call)).map(std::ptr::from_ref));
            if pipeline_max == 1 {
                batch.into_iter().for_each(|call| pair.send(vec![call]));
            } else {
                pair.send(batch);
            }
        }
        pair.send(vec![vec![b"QUIT".to_vec()]]);
        pair.direct.expect_closed();
        pair.proxied.expect_closed();
    }
    let not_asked: Vec<&str> = rmux::command::all()
        .filter(|row| !row.is_container() && !asked.contains(&std::ptr::from_ref(*row)))
        .map(|row| row.name())
        .collect();
    let may_be_left = |name: &&str| exceptions::compared(&[name.as_bytes().to_vec()]) == Compared::NotSent;
    assert!(not_asked.iter().all(may_be_left), "never asked: {not_asked:?}");
}

/// What `RMUX_SEED` says, or else this one.
fn seed(default: u64) -> u64 {
    env::var("RMUX_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Whether this reply is as good as Redis's in a transaction that is broken: EXEC will say that it is, and until then
/// rmux goes by its own table, not by what this server is too old for, or leaves to a module.
fn is_excused(call: &Call, proxied: &[u8], direct: &[u8]) -> bool {
    const QUEUED: &[u8] = b"+QUEUED\r\n";
    if exceptions::row(call).is_some_and(|row| row.arity_allows(call.len())) {
        return proxied == QUEUED && direct.starts_with(b"-");
    }
    let is_unfounded = direct == QUEUED || UNKNOWN.iter().any(|start| direct.starts_with(start));
    proxied.starts_with(b"-ERR wrong number of arguments") && is_unfounded
}

/// Some calls, one time in five as a transaction.
fn batch(calls: &mut Calls, pipeline_max: usize) -> Vec<Call> {
    let word = |text: &str| vec![text.as_bytes().to_vec()];
    let count = 1 + calls.random.below(pipeline_max.max(8));
    let mut batch: Vec<Call> = (0..count).map(|_| calls.next()).collect();
    if calls.random.percent(20) {
        let start = calls.random.below(batch.len());
        batch.insert(start, word("MULTI"));
        if calls.random.percent(30) {
            let key = format!("k{}", calls.random.below(10)).into_bytes();
            batch.insert(start, vec![b"WATCH".to_vec(), key]);
        }
        batch.push(word(if calls.random.percent(85) { "EXEC" } else { "DISCARD" }));
    }
    batch
}

/// Two connections that are asked the same.
struct Pair {
    direct: Client,
    proxied: Client,
    state: State,
    /// The open transaction had an error, so that EXEC will have one.
    is_broken: bool,
    /// How the replies of the open transaction are compared.
    queued: Vec<Compared>,
    /// The last calls and Redis's replies to them.
    last: VecDeque<String>,
    context: String,
}

/// What is known of a connection before the replies to a pipeline have come.
#[derive(Clone, Copy, Default)]
struct State {
    is_in_multi: bool,
    is_watching: bool,
}

impl State {
    fn after(mut self, call: &Call) -> State {
        let is = |name: &str| call[0].eq_ignore_ascii_case(name.as_bytes());
        let is_alone = call.len() == 1;
        if is("RESET") && is_alone || self.is_in_multi && (is("EXEC") || is("DISCARD") && is_alone) {
            return State::default();
        }
        self.is_in_multi |= is("MULTI") && is_alone;
        self.is_watching |= is("WATCH") && !is_alone && !self.is_in_multi;
        self.is_watching &= !(is("UNWATCH") && is_alone && !self.is_in_multi);
        self
    }

    fn compared(self, call: &Call) -> Compared {
        if self.is_in_multi && exceptions::is_refused_in_multi(call) {
            return Compared::Refused;
        }
        exceptions::compared(call)
    }
}

impl Pair {
    /// Sends the calls at once, and compares every reply.
    fn send(&mut self, batch: Vec<Call>) {
        let mut steps = Vec::new();
        let (mut for_redis, mut for_rmux) = (Vec::new(), Vec::new());
        for call in batch {
            // Watched keys and transactions are on a backend that speaks the one protocol: rmux says so.
            if (self.state.is_watching || self.state.is_in_multi) && exceptions::may_change_protocol(&call) {
                continue;
            }
            let compared = self.state.compared(&call);
            // What this server is too old for it does not queue; rmux, which answers it itself, does.
            if self.state.is_in_multi && compared == Compared::AnyError && exceptions::is_answered_by_rmux(&call) {
                continue;
            }
            for_rmux.extend(encode(&call));
            for_redis.extend(if compared == Compared::Refused { encode(&["REFUSED"]) } else { encode(&call) });
            let before = self.state;
            self.state = before.after(&call);
            steps.push((call, compared, before.is_in_multi));
        }
        self.direct.send(&for_redis);
        self.proxied.send(&for_rmux);
        for (call, compared, is_in_multi) in &steps {
            self.compare(call, *compared, *is_in_multi);
        }
    }

    fn compare(&mut self, call: &Call, compared: Compared, is_in_multi: bool) {
        let words: Vec<String> = call.iter().map(|word| word.escape_ascii().to_string()).collect();
        let words = words.join(" ");
        let direct = self.direct.try_reply().unwrap_or_else(|why| panic!("{}: Redis, {words}: {why}", self.context));
        let proxied = self.proxied.try_reply();
        let is = |name: &str| call[0].eq_ignore_ascii_case(name.as_bytes());
        let queued = if is("EXEC") { std::mem::take(&mut self.queued) } else { Vec::new() };
        if direct == b"+QUEUED\r\n" {
            self.queued.push(compared);
        } else if (is("DISCARD") || is("RESET") || is("MULTI")) && direct.starts_with(b"+") {
            self.queued.clear();
        }
        let is_broken = std::mem::replace(&mut self.is_broken, false) && is_in_multi;
        self.is_broken = is_in_multi && (is_broken || direct.starts_with(b"-"));
        let is_equal = match &proxied {
            Err(_) => false,
            Ok(proxied) if is_broken && is_excused(call, proxied, &direct) => true,
            Ok(proxied) if compared == Compared::Refused => proxied == REFUSAL,
            Ok(proxied) => essence(&direct, compared, &queued) == essence(proxied, compared, &queued),
        };
        let proxied = proxied.map_or_else(|why| format!("{why}"), |reply| show(&reply));
        let last = Vec::from_iter(self.last.iter().map(String::as_str)).join("\n");
        assert!(is_equal, "{}\n{last}\n{words}\n  Redis: {:?}\n  rmux:  {proxied:?}", self.context, show(&direct));
        self.last.push_back(format!("{words} → {:?}", show(&direct[..direct.len().min(200)])));
        if self.last.len() > SHOWN {
            self.last.pop_front();
        }
    }
}
