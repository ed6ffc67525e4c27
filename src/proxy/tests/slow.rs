//! The slow log: which requests stand there, once each, by virtual time.

use super::*;
use crate::slow_log::SlowEntries;

impl Bench {
    /// A limit of 100 ms, and one ready connection.
    fn with_slow_log(servers: usize, change: impl FnOnce(&mut Settings)) -> (Bench, Vec<Id>) {
        Bench::ready(servers, |settings| {
            settings.timeouts.slow_ms = 100;
            change(settings);
        })
    }

    /// So many ms pass, on both clocks.
    fn later(&mut self, ms: u64) {
        self.now = self.now + ms;
        self.proxy.handle_turn(self.now.0 * 1000);
        self.turn();
    }

    fn slow(&self) -> SlowEntries {
        self.proxy.journal.slow_log.newest(99)
    }

    /// Command, key, and both times of each, the oldest first.
    fn slow_lines(&self) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let line = |entry: &crate::slow_log::SlowEntry| {
            let key = entry.key.as_deref().map_or_else(|| "-".to_owned(), text);
            format!("{} {key} {}+{}", text(&entry.command), entry.waited_ms, entry.server_ms)
        };
        self.slow().iter().rev().map(|entry| line(entry)).collect()
    }
}

#[test]
fn what_takes_long_is_noted_once_with_its_command_and_its_first_key() {
    let (mut bench, backends) = Bench::with_slow_log(1, |_| {});
    let client = bench.client();
    bench.later(1);
    bench.say(client, get("fast"));
    bench.later(99);
    bench.answer(backends[0], "$1\r\nx\r\n");
    assert!(bench.slow().is_empty(), "a millisecond less");
    bench.say(client, set("slow", "secret"));
    bench.later(100);
    bench.answer(backends[0], "+OK");
    bench.later(1);
    bench.answer(backends[0], "\r\n");
    assert_eq!(bench.slow_lines(), ["set slow 0+101"]);
    let entries = bench.slow();
    assert_eq!((&*entries[0].server, &*entries[0].client), ("server-0", "the bench"));
    bench.say(client, get("fast"));
    bench.later(5);
    bench.answer(backends[0], "$1\r\nx\r\n");
    assert_eq!((bench.slow().len(), bench.told(client)), (1, "$1\r\nx\r\n+OK\r\n$1\r\nx\r\n".to_owned()));
}

#[test]
fn who_waited_behind_a_slow_one_is_not_noted_and_one_that_is_slow_itself_is() {
    let (mut bench, backends) = Bench::with_slow_log(1, |_| {});
    let client = bench.client();
    bench.later(1);
    bench.say(client, set("culprit", "1") + &get("a") + &get("b") + &set("second", "2") + &get("c"));
    bench.later(150);
    bench.answer(backends[0], "+OK\r\n$1\r\na\r\n");
    bench.later(20);
    bench.answer(backends[0], "$1\r\nb\r\n");
    bench.later(90);
    bench.answer(backends[0], "+OK\r\n$1\r\nc\r\n");
    assert_eq!(bench.slow_lines(), ["set culprit 0+150", "set second 0+260"]);
}

#[test]
fn one_behind_a_reply_that_nobody_waits_for_is_not_missed() {
    let (mut bench, backends) = Bench::with_slow_log(1, |_| {});
    let (leaver, client) = (bench.client(), bench.client());
    bench.later(1);
    bench.say(leaver, get("gone"));
    bench.say(client, get("slow"));
    bench.proxy.handle_client_broken(leaver);
    bench.turn();
    bench.later(200);
    bench.answer(backends[0], "$1\r\nx\r\n$1\r\ny\r\n");
    assert_eq!(bench.slow_lines(), ["get slow 0+200"]);
}

#[test]
fn the_wait_for_a_connection_counts() {
    let (mut bench, backends) = Bench::with_slow_log(1, |settings| {
        (settings.pool_size, settings.lease_max) = (1, 1);
        settings.limits.pipeline_max = 1;
    });
    let (first, second) = (bench.client(), bench.client());
    bench.later(1);
    bench.say(first, get("first"));
    bench.say(second, get("second"));
    bench.later(95);
    bench.answer(backends[0], "$1\r\nx\r\n");
    bench.later(10);
    bench.answer(backends[0], "$1\r\ny\r\n");
    assert_eq!(bench.told(second), "$1\r\ny\r\n");
    assert_eq!(bench.slow_lines(), ["get second 95+10"], "neither time alone is long");
}

#[test]
fn waiting_for_data_is_not_slow() {
    let (mut bench, _) = Bench::with_slow_log(1, |_| {});
    let client = bench.client();
    bench.later(1);
    bench.say(client, request(&["BLPOP", "list", "0"]));
    let leased = bench.connect(0);
    bench.asked(leased);
    bench.later(60_000);
    bench.answer(leased, "*2\r\n$4\r\nlist\r\n$1\r\nx\r\n");
    assert!(bench.told(client).contains("list") && bench.slow().is_empty(), "{:?}", bench.slow_lines());
}

#[test]
fn of_a_large_reply_the_beginning_counts_and_it_is_noted_once() {
    let (mut bench, backends) = Bench::with_slow_log(1, |_| {});
    let client = bench.client();
    bench.later(1);
    bench.say(client, get("large"));
    bench.later(10);
    let body = "x".repeat(3 * LARGE);
    let reply = format!("${}\r\n{body}\r\n", body.len());
    bench.answer(backends[0], &reply[..2 * LARGE]);
    bench.later(300);
    bench.answer(backends[0], &reply[2 * LARGE..]);
    assert!(bench.slow().is_empty(), "it came at once, and its client took its time");
    bench.say(client, get("late"));
    bench.later(110);
    bench.answer(backends[0], &reply[..2 * LARGE]);
    bench.later(150);
    bench.answer(backends[0], &reply[2 * LARGE..]);
    assert_eq!(bench.slow_lines(), ["get late 0+110"]);
}

#[test]
fn what_is_not_answered_in_time_is_noted_then_and_not_again_when_it_is() {
    let (mut bench, backends) = Bench::with_slow_log(1, |settings| settings.timeouts.remote_read_ms = 500);
    let client = bench.client();
    bench.later(1);
    bench.say(client, get("late") + &get("behind"));
    bench.later(500);
    bench.pass(1);
    assert!(bench.told(client).starts_with("-ERR No reply"));
    let lines = bench.slow_lines();
    assert!(lines.len() == 1 && lines[0].starts_with("get late 0+50"), "{lines:?}");
    bench.later(300);
    bench.answer(backends[0], "$1\r\nx\r\n$1\r\ny\r\n");
    assert_eq!(bench.slow_lines(), lines);
}

#[test]
fn the_limit_is_looked_at_anew_after_a_reload_and_none_is_none() {
    let (mut bench, backends) = Bench::with_slow_log(1, |_| {});
    let client = bench.client();
    for (slow_ms, is_noted) in [(0, false), (10, true), (1_000, false)] {
        let mut settings = bench.proxy.settings.clone();
        settings.timeouts.slow_ms = slow_ms;
        bench.proxy.handle_settings(settings, bench.now);
        bench.turn();
        let before = bench.slow().len();
        bench.later(1_000);
        bench.say(client, get("a"));
        bench.later(50);
        bench.answer(backends[0], "$1\r\nx\r\n");
        assert_eq!(bench.slow().len() - before, usize::from(is_noted), "{slow_ms}");
    }
}
