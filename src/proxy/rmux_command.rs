//! RMUX: what it asks of this proxy and the others of the pool, and what becomes of their answers.
//!
//! Its words and the form of its replies are `local::rmux_reply`'s business. STATUS, SERVERS and LATENCY are the
//! figures that INFO has, too; RING is answered by the worker that is asked, whose ring and whose view of the servers
//! it tells.

use super::router::Router;
use super::settings::Settings;
use super::state::Proxy;
use super::worker_queries::{Answer, Question};
use crate::command::Rmux;
use crate::local::rmux_reply::{self, KeyPlace};
use crate::reply::{self, error};
use crate::resp::Arg;
use crate::server_id::ServerId;
use crate::session::Protocol;
use crate::slots::Id;
use crate::slow_log::{SlowAsk, SlowEntries, SlowLog};
use crate::stats::Figures;

/// As many keys as one RING may ask for: it is answered in one turn.
const KEYS_MAX: usize = 128;
/// Servers of a key that are shown.
const LINE_MAX: usize = 3;

/// What it asks of the whole pool. `None` when it is wrong, and the error is appended to `out`.
pub(super) fn question(what: Rmux, request: &[u8], args: &[Arg], out: &mut Vec<u8>) -> Option<Question> {
    match what {
        Rmux::Slowlog => rmux_reply::read_slowlog(request, args, out).map(Question::Slowlog),
        Rmux::Latency | Rmux::Servers | Rmux::Status => Some(Question::Rmux(what)),
        Rmux::Help | Rmux::Ring => {
            debug_assert!(false, "it asks nobody");
            None
        }
    }
}

/// `RMUX RING`.
pub(super) fn ring(proxy: &Proxy, id: Id, request: &[u8], args: &[Arg], out: &mut Vec<u8>) {
    let Proxy { settings, router, .. } = proxy;
    let keys = &args[2..];
    if keys.len() > KEYS_MAX {
        return error::write_error(out, format_args!("ERR RMUX RING takes {KEYS_MAX} keys at the most"));
    }
    let protocol = proxy.clients.get(id).map(|client| client.protocol()).unwrap_or_default();
    reply::array(out, keys.len());
    for key in keys {
        rmux_reply::key_place(
            protocol,
            &key_place(settings, router, |id| proxy.upstreams.address(id), key.of(request)),
            out,
        );
    }
}

fn key_place<'a>(
    settings: &Settings,
    router: &Router,
    address: impl Fn(ServerId) -> &'a str,
    key: &'a [u8],
) -> KeyPlace<'a> {
    let hash = router.hash_of(key);
    let (cell, line) = router.line_of(settings, hash, LINE_MAX);
    KeyPlace {
        key,
        hash,
        cell,
        is_up: line.first().is_some_and(|&server| router.is_up(server)),
        now: router.server_of(hash).map(&address),
        line: line.into_iter().map(address).collect(),
    }
}

/// This proxy's part of a slow log, after what is asked was done to it.
pub(super) fn own_slow_entries(settings: &Settings, slow_log: &mut SlowLog, ask: SlowAsk) -> Answer {
    match ask {
        SlowAsk::Get(count) => {
            let count = count.min(settings.limits.slow_entries_max);
            Answer::Slow(slow_log.newest(count), slow_log.len())
        }
        SlowAsk::Len => Answer::Slow(Vec::new(), slow_log.len()),
        SlowAsk::Reset => {
            slow_log.reset();
            Answer::Slow(Vec::new(), 0)
        }
    }
}

/// The reply to what is asked about the figures of the whole pool.
pub(super) fn write_figures(settings: &Settings, what: Rmux, protocol: Protocol, figures: &Figures, out: &mut Vec<u8>) {
    match what {
        Rmux::Latency => rmux_reply::latency(protocol, figures, out),
        Rmux::Servers => rmux_reply::servers(protocol, figures, out),
        _ => {
            rmux_reply::status(protocol, figures, &settings.listen, settings.process_id, settings.workers.count(), out);
        }
    }
}

/// The reply, out of all parts.
pub(super) fn write_slow_entries(
    settings: &Settings,
    question: &Question,
    entries: &SlowEntries,
    count: usize,
    out: &mut Vec<u8>,
) {
    let max = settings.limits.slow_entries_max;
    match question {
        Question::Slowlog(SlowAsk::Get(asked)) => {
            let shown = entries.len().min(*asked).min(max);
            reply::array(out, shown);
            entries.iter().take(shown).for_each(|entry| rmux_reply::slow_entry(entry, out));
        }
        Question::Slowlog(SlowAsk::Len) => reply::integer(out, count.min(max) as i64),
        _ => reply::ok(out),
    }
}
