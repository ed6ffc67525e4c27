//! RMUX: what rmux tells about itself, and about the way that a key takes.
//!
//! A command that no server has, and that changes nothing: only `SLOWLOG RESET` forgets what the slow log has. Texts
//! and replies are made here; the figures, which several threads may have parts of, and the ring are told. Knows no
//! thread and no server.
//!
//! ```text
//!   RMUX STATUS     field:value                          one line each, as INFO has them
//!   RMUX SERVERS    address=… role=master state=up …      one line for each server, as CLIENT LIST has them
//!   RMUX LATENCY    waiting_for=server count=… p50_us=…       one line for each thing that requests wait for
//!   RMUX RING a     a map for each key
//!   RMUX SLOWLOG    arrays, as those of Redis' SLOWLOG, with what only rmux knows behind
//! ```

use super::cluster_lines;
use super::fields::{self, LINE, WORD};
use super::words::{Words, is_one_of};
use crate::command::integer;
use crate::reply::{self, error};
use crate::resp::Arg;
use crate::session::Protocol;
use crate::slow_log::{SlowAsk, SlowEntry};
use crate::stats::{Figures, ServerFigures};

/// As many entries as Redis shows to who does not say how many.
const ENTRIES_SHOWN: usize = 10;

/// Where a key lives.
#[derive(Debug)]
pub struct KeyPlace<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The hash of it, or of its tag.
    pub hash: u32,
    /// The cell of the ring.
    pub cell: usize,
    /// Whether its server is up.
    pub is_up: bool,
    /// The server that its requests go to now, if there is one.
    pub now: Option<&'a str>,
    /// Its server, who stands in if that one is down, and who if both are, as far as there are so many.
    pub line: Vec<&'a str>,
}

/// `RMUX HELP`.
pub(super) fn help(out: &mut Vec<u8>) {
    reply::array(out, HELP.lines().count());
    HELP.lines().for_each(|line| reply::simple(out, line));
}

/// What a `RMUX SLOWLOG` asks for. `None` when it is wrong, and the error is written to `out`.
pub fn read_slowlog(request: &[u8], args: &[Arg], out: &mut Vec<u8>) -> Option<SlowAsk> {
    let words = Words { request, args };
    let word = words.at(2);
    if is_one_of(word, &["len", "reset"]) && words.len() == 3 {
        return Some(if word.eq_ignore_ascii_case(b"len") { SlowAsk::Len } else { SlowAsk::Reset });
    }
    if word.eq_ignore_ascii_case(b"get") && words.len() <= 4 {
        if words.len() == 3 {
            return Some(SlowAsk::Get(ENTRIES_SHOWN));
        }
        match integer(words.at(3)) {
            Some(-1) => return Some(SlowAsk::Get(usize::MAX)),
            Some(count @ 0..) => return Some(SlowAsk::Get(count as usize)),
            Some(_) => error::write_error(out, "ERR count should be greater than or equal to -1"),
            None => error::write_error(out, error::NOT_AN_INTEGER),
        }
        return None;
    }
    if is_one_of(word, &["get", "len", "reset"]) {
        error::wrong_arity(out, "rmux|slowlog");
    } else {
        error::write_error_around(out, "ERR unknown subcommand '", word, "'. Try RMUX HELP.");
    }
    None
}

/// `RMUX STATUS`: a bulk string, or a verbatim string in RESP3.
pub fn status(protocol: Protocol, figures: &Figures, listen: &str, process_id: u32, threads: usize, out: &mut Vec<u8>) {
    let (stats, servers) = (&figures.stats, &figures.servers);
    let sum = |of: fn(&ServerFigures) -> u64| servers.iter().map(of).sum();
    let mut text = Vec::new();
    fields::texts(&mut text, LINE, &[("rmux_version", env!("CARGO_PKG_VERSION")), ("listen", listen)]);
    let numbers = [
        ("process_id", u64::from(process_id)),
        ("uptime_in_seconds", figures.uptime_ms / 1000),
        ("threads", threads as u64),
        ("connected_clients", figures.clients),
        ("waiting_clients", figures.clients_waiting),
        ("blocked_clients", figures.clients_blocked),
        ("paused_clients", figures.clients_paused),
        ("total_clients", stats.clients),
        ("refused_clients", stats.clients_refused),
        ("wrong_passwords", stats.denials),
        ("buffered_bytes", figures.buffered_bytes),
        ("buffered_bytes_max", figures.buffered_bytes_max),
        ("longest_wait_us", figures.wait_max_us),
        ("longest_turn_us", figures.turn_max_us),
        ("servers", servers.len() as u64),
        ("servers_up", sum(|server| server.state.is_up().into())),
        ("connections", sum(|server| server.connections as u64)),
        ("outstanding", sum(|server| server.outstanding as u64)),
        ("requests", sum(|server| server.stats.requests)),
        ("errors", sum(|server| server.stats.errors)),
        ("resends", stats.resends),
        ("moves", stats.moves),
        ("held", stats.held),
        ("messages", stats.messages),
        ("resolutions", sum(|server| server.location.lookups)),
        ("resolutions_failed", sum(|server| server.location.lookups_failed)),
        ("address_changes", sum(|server| server.location.changes)),
        ("switches", sum(|server| server.location.switches)),
    ];
    fields::numbers(&mut text, LINE, &numbers);
    cluster_lines::write(&mut text, figures);
    reply::verbatim(out, protocol, &text);
}

/// `RMUX SERVERS`: a bulk string, or a verbatim string in RESP3.
pub fn servers(protocol: Protocol, figures: &Figures, out: &mut Vec<u8>) {
    let mut text = Vec::new();
    for (server, address) in figures.servers.iter().zip(&figures.addresses) {
        fields::texts(
            &mut text,
            ["", "=", ""],
            &[("address", address), (" role", server.role.name()), (" state", server.state.name())],
        );
        let numbers = [
            ("since_ms", server.state_ms),
            ("connections", server.connections as u64),
            ("outstanding", server.outstanding as u64),
            ("waiting", server.waiting.iter().sum()),
            ("requests", server.stats.requests),
            ("errors", server.stats.errors),
            ("connects", server.stats.connects),
            ("downs", server.stats.downs),
            ("resolutions", server.location.lookups),
            ("address_changes", server.location.changes),
            ("switches", server.location.switches),
        ];
        fields::numbers(&mut text, WORD, &numbers);
        fields::texts(&mut text, WORD, &[("at", &server.location.addresses.replace(", ", ","))]);
        if !server.location.zone.is_empty() {
            fields::texts(&mut text, WORD, &[("zone", &server.location.zone)]);
        }
        // It has blanks: all that follows until the end of the line.
        fields::texts(&mut text, [" ", "=", "\n"], &[("why", &server.why)]);
    }
    reply::verbatim(out, protocol, &text);
}

/// `RMUX LATENCY`: a bulk string, or a verbatim string in RESP3.
pub fn latency(protocol: Protocol, figures: &Figures, out: &mut Vec<u8>) {
    let mut text = Vec::new();
    for (class, times) in [("connection", &figures.waits), ("server", &figures.durations)] {
        fields::texts(&mut text, ["", "=", ""], &[("waiting_for", class)]);
        fields::numbers(&mut text, WORD, &[("count", times.count())]);
        for (name, thousandths) in
            [("p50_us", 500), ("p90_us", 900), ("p99_us", 990), ("p99.9_us", 999), ("max_us", 1000)]
        {
            fields::numbers(&mut text, WORD, &[(name, times.quantile_us(thousandths))]);
        }
        text.push(b'\n');
    }
    reply::verbatim(out, protocol, &text);
}

/// One key's part of the reply to `RMUX RING`. The words are those of `-key`.
pub fn key_place(protocol: Protocol, place: &KeyPlace<'_>, out: &mut Vec<u8>) {
    let is_up = if place.is_up { "up" } else { "down" };
    reply::map(out, protocol, 8);
    reply::bulk(out, b"key");
    reply::bulk(out, place.key);
    for (name, value) in [("hash", i64::from(place.hash)), ("cell", place.cell as i64)] {
        reply::bulk(out, name.as_bytes());
        reply::integer(out, value);
    }
    let nth = |nth: usize| place.line.get(nth).copied();
    for (name, value) in [
        ("server", nth(0)),
        ("state", Some(is_up)),
        ("now", place.now),
        ("if it is down", nth(1)),
        ("if both are", nth(2)),
    ] {
        reply::bulk(out, name.as_bytes());
        match value {
            Some(value) => reply::bulk(out, value.as_bytes()),
            None => reply::null(out, protocol),
        }
    }
}

/// One entry of the reply to `RMUX SLOWLOG GET`.
pub fn slow_entry(entry: &SlowEntry, out: &mut Vec<u8>) {
    reply::array(out, 8);
    for value in [entry.number, entry.unix_ms / 1000, entry.waited_ms, entry.server_ms] {
        reply::integer(out, value as i64);
    }
    reply::array(out, 1 + usize::from(entry.key.is_some()));
    reply::bulk(out, &entry.command);
    entry.key.iter().for_each(|key| reply::bulk(out, key));
    for text in [entry.client.as_bytes(), &entry.client_name, entry.server.as_bytes()] {
        reply::bulk(out, text);
    }
}

/// A line each, and none empty.
const HELP: &str = "RMUX <subcommand> [<arg> ...]. Subcommands are:
HELP
    Print this help.
LATENCY
    How long requests waited for a connection, and for their server: how many, and percentiles in microseconds.
RING <key> [<key> ...]
    Which server has each key, and which ones stand in for it.
SERVERS
    One line for each server.
SLOWLOG GET [<count>]
    The newest slow requests: id, unix time, ms waited for a connection, ms at the server, command and key,
    client's address and name, server. 10 of them; -1 is all.
SLOWLOG LEN
    How many there are.
SLOWLOG RESET
    Forget them.
STATUS
    Version, uptime, clients, connections, requests, errors.
What the servers' own SLOWLOG and LATENCY say is asked for without RMUX.";
