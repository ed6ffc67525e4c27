//! What is counted and timed: exact numbers, by virtual time.

use super::*;
use crate::stats::{CLIENT_CLOSE_REASONS, CODES, CONNECTION_STATES, ErrorCodes, Figures, Histogram, ServerState};

impl Bench {
    fn figures(&mut self) -> Figures {
        self.proxy.figures(self.now)
    }

    /// The clock of latencies is at so many µs.
    fn clock(&mut self, us: u64) {
        self.proxy.handle_turn(us);
    }

    /// How many requests were timed, and how long all of them took.
    fn timed(&mut self) -> (u64, u64) {
        timed(&self.figures().durations)
    }
}

fn timed(histogram: &Histogram) -> (u64, u64) {
    (histogram.count(), histogram.sum_us())
}

fn codes(codes: &ErrorCodes) -> Vec<(&'static str, u64)> {
    codes.iter().collect()
}

fn closed(figures: &Figures) -> Vec<(&'static str, u64)> {
    let all = CLIENT_CLOSE_REASONS.into_iter().zip(figures.stats.clients_closed);
    all.filter(|(_, count)| *count > 0).collect()
}

#[test]
fn requests_are_counted_by_class_and_timed_from_the_turn_in_which_they_were_queued() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    bench.clock(1_000);
    bench.say(client, get("a") + &set("b", "1") + &get("c") + &request(&["PING"]));
    bench.clock(1_300);
    bench.say(client, get("d"));
    bench.clock(2_000);
    bench.answer(backends[0], "$1\r\nx\r\n+OK\r\n$1");
    assert_eq!(bench.timed(), (2, 2 * 1_000), "of the third a part has come");
    bench.clock(2_100);
    bench.answer(backends[0], "\r\nz\r\n$-1\r\n");
    assert_eq!(bench.timed(), (4, 2 * 1_000 + 1_100 + 800));
    let figures = bench.figures();
    assert_eq!(figures.stats.requests, [3, 1, 0, 1]);
    assert_eq!((timed(&figures.waits), figures.servers[0].stats.requests), ((4, 0), 4));
    assert!(codes(&figures.stats.errors).is_empty() && codes(&figures.stats.own_errors).is_empty());
}

#[test]
fn each_part_of_a_request_is_timed_and_the_request_counts_once() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let client = bench.client();
    let keys = [0, 1].map(|server| key_on(&bench, server));
    bench.clock(100);
    bench.say(client, request(&["MGET", &keys[0], &keys[1]]));
    bench.clock(150);
    bench.answer(backends[1], "*1\r\n$1\r\nx\r\n");
    bench.clock(400);
    bench.answer(backends[0], "*1\r\n$1\r\ny\r\n");
    let figures = bench.figures();
    assert_eq!((figures.stats.requests, timed(&figures.durations)), ([0, 0, 1, 0], (2, 50 + 300)));
}

#[test]
fn waiting_for_data_is_no_latency_and_neither_is_what_comes_for_nobody() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let (waiter, leaver) = (bench.client(), bench.client());
    bench.clock(0);
    bench.say(waiter, request(&["BLPOP", "list", "0"]));
    let leased = bench.connect(0);
    bench.asked(leased);
    bench.clock(100);
    bench.say(leaver, get("a") + &get("b"));
    bench.proxy.handle_client_broken(leaver);
    bench.turn();
    let other = bench.client();
    bench.clock(200);
    bench.say(other, get("c"));
    let figures = bench.figures();
    assert_eq!((figures.clients, figures.clients_blocked), (2, 1));
    assert_eq!(figures.servers[0].by_state, [0, 1, 1, 0, 0], "{CONNECTION_STATES:?}");
    bench.clock(5_000_000);
    bench.answer(leased, "*2\r\n$4\r\nlist\r\n$1\r\nx\r\n");
    bench.answer(backends[0], "$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n");
    assert_eq!(bench.told(other), "$1\r\nc\r\n");
    assert_eq!(bench.timed(), (1, 5_000_000 - 200), "only the one that somebody waits for");
    let figures = bench.figures();
    assert_eq!((figures.clients_blocked, figures.servers[0].by_state), (0, [0, 2, 0, 0, 0]));
    assert_eq!(closed(&figures), [("broken", 1)]);
    bench.assert_nothing_is_left();
}

#[test]
fn an_upload_is_timed_from_its_end_on() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let (uploader, other) = (bench.client(), bench.client());
    let whole = set("large", &"x".repeat(LARGE + 10_000));
    bench.clock(0);
    bench.say(other, get("a"));
    bench.clock(10);
    let (start, rest) = whole.split_at(LARGE + 1_000);
    bench.say(uploader, start);
    assert!(!bench.asked(backends[0]).is_empty(), "it goes out as it comes");
    bench.clock(900_000);
    bench.say(uploader, rest);
    bench.clock(900_070);
    bench.answer(backends[0], "$1\r\na\r\n+OK\r\n");
    assert_eq!(bench.timed(), (2, 900_070 + 70));
}

#[test]
fn one_that_is_abandoned_leaves_the_others_their_times() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let (uploader, other) = (bench.client(), bench.client());
    bench.clock(0);
    bench.say(other, get("a"));
    bench.clock(10);
    bench.say(uploader, &set("large", &"x".repeat(LARGE + 10_000))[..LARGE + 1_000]);
    bench.proxy.handle_client_broken(uploader);
    bench.turn();
    bench.clock(100);
    bench.answer(backends[0], "$1\r\na\r\n");
    assert_eq!(bench.timed(), (1, 100));
}

#[test]
fn errors_are_counted_by_their_code_and_by_who_says_them() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    bench.say(client, get("a") + &get("b") + &request(&["NOSUCHCOMMAND"]) + &request(&["AUTH"]));
    bench.answer(backends[0], "-WRONGTYPE no string\r\n-MYMODULE x\r\n");
    let told = bench.told(client);
    assert!(told.starts_with("-WRONGTYPE no string\r\n-MYMODULE x\r\n-ERR unknown command"), "{told}");
    let figures = bench.figures();
    assert_eq!(codes(&figures.stats.errors), [("WRONGTYPE", 1), (CODES[CODES.len() - 1], 1)]);
    assert_eq!(codes(&figures.stats.own_errors), [("ERR", 2)]);
    assert_eq!((figures.stats.requests, figures.durations.count()), ([2, 0, 0, 2], 2));
}

#[test]
fn an_error_that_rmux_sets_right_is_none() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let client = bench.client();
    let key = key_on(&bench, 0);
    bench.say(client, request(&["EVAL", "return 1", "1", &key]));
    bench.answer(backends[0], ":1\r\n");
    bench.clock(10);
    bench.say(client, request(&["EVALSHA", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "1", &key]));
    bench.clock(30);
    bench.answer(backends[0], "-NOSCRIPT No matching script\r\n");
    bench.clock(60);
    bench.answer(backends[0], ":1\r\n");
    assert_eq!(bench.told(client), ":1\r\n:1\r\n");
    let figures = bench.figures();
    assert!(codes(&figures.stats.errors).is_empty(), "{:?}", figures.stats.errors);
    assert_eq!(timed(&figures.durations), (3, 20 + 30), "both were answered");
}

#[test]
fn a_request_that_is_not_answered_in_time_is_counted_and_not_timed() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let (slow, late) = (bench.client(), bench.client());
    bench.clock(0);
    bench.say(slow, get("a"));
    bench.pass(300);
    bench.clock(300_000);
    bench.say(late, get("b"));
    bench.pass(200);
    assert!(bench.told(slow).starts_with("-ERR"), "it has waited long enough");
    bench.clock(510_000);
    bench.answer(backends[0], "$1\r\na\r\n$1\r\nb\r\n");
    assert_eq!(bench.told(late), "$1\r\nb\r\n");
    let figures = bench.figures();
    assert_eq!(timed(&figures.durations), (1, 210_000));
    let stats = figures.servers[0].stats;
    assert_eq!((stats.timeouts, stats.errors, stats.lost), (1, 1, 0));
    assert_eq!(codes(&figures.stats.own_errors), [("ERR", 1)]);
}

#[test]
fn what_is_sent_again_is_timed_from_then_on_and_the_connection_counts_as_lost() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    bench.clock(0);
    bench.say(client, get("a"));
    bench.pass(10);
    bench.clock(10_000);
    bench.proxy.handle_backend_end(backends[0], bench.now);
    bench.turn();
    let again = bench.connect(0);
    assert_eq!(bench.asked(again), get("a"));
    bench.clock(10_500);
    bench.answer(again, "$1\r\na\r\n");
    assert_eq!(bench.timed(), (1, 500));
    bench.say(client, set("b", "1"));
    bench.proxy.handle_backend_end(again, bench.now);
    bench.turn();
    let figures = bench.figures();
    let stats = figures.servers[0].stats;
    assert_eq!((stats.lost, stats.errors, stats.failures), (2, 1, [0; 4]));
    assert_eq!((figures.stats.resends, codes(&figures.stats.own_errors)), (1, vec![("ERR", 1)]));
    assert_eq!(timed(&figures.durations), (1, 500));
}

#[test]
fn connections_that_fail_are_counted_by_reason_and_a_server_says_since_when_it_is_down_and_why() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    bench.pass(100);
    assert_eq!(bench.figures().servers[0].state_ms, 100);
    bench.take_down(backends[0], 0);
    let down_since = bench.now;
    bench.pass(30);
    let figures = bench.figures();
    let server = &figures.servers[0];
    assert_eq!((server.state, server.state_ms, server.stats.changes), (ServerState::Down, 30, 1));
    assert!(server.why.contains("refused"), "{}", server.why);
    assert_eq!((server.stats.failures, server.stats.lost), ([1, 0, 0, 0], 1));
    bench.until_connect();
    assert_eq!(bench.figures().servers[0].state, ServerState::Probing);
    // It accepts, and says nothing.
    let mute = bench.next_connect(0);
    bench.proxy.handle_connected(mute, bench.now);
    bench.turn();
    bench.until_connect();
    let asked = bench.next_connect(0);
    bench.proxy.handle_connected(asked, bench.now);
    bench.turn();
    bench.answer(asked, "-NOAUTH Authentication required.\r\n-NOAUTH Authentication required.\r\n");
    let figures = bench.figures();
    let server = &figures.servers[0];
    assert_eq!(server.stats.failures, [1, 1, 1, 0]);
    let since_ms = bench.now - down_since;
    assert_eq!((server.state, server.state_ms, server.stats.changes), (ServerState::Down, since_ms, 1), "all the time");
    assert!(since_ms > 100, "{since_ms}");
    bench.until_connect();
    bench.connect(0);
    let figures = bench.figures();
    let server = &figures.servers[0];
    assert_eq!((server.state, server.state_ms, server.stats.changes), (ServerState::Up, 0, 2));
    assert!(!server.why.is_empty(), "what it was stays known");
    assert!(figures.events.iter().any(|event| event.is_warning && event.text.contains("is down")));
}

#[test]
fn who_waits_for_a_connection_is_seen_while_it_waits_and_counted_afterwards() {
    let (mut bench, backends) = Bench::ready(1, |settings| {
        settings.pool_size = 1;
        settings.limits.pipeline_max = 1;
    });
    let (first, second) = (bench.client(), bench.client());
    bench.say(first, get("a"));
    bench.say(second, get("b"));
    bench.pass(7);
    let figures = bench.figures();
    assert_eq!((figures.clients_waiting, figures.servers[0].waiting, figures.wait_max_us), (1, [1, 0], 7_000));
    assert_eq!(timed(&figures.waits), (1, 0), "the first one had it at once");
    bench.clock(7_000);
    bench.answer(backends[0], "$1\r\na\r\n");
    assert_eq!(bench.asked(backends[0]), get("a") + &get("b"));
    let figures = bench.figures();
    assert_eq!((figures.clients_waiting, figures.servers[0].waiting), (0, [0, 0]));
    assert_eq!((timed(&figures.waits), figures.wait_max_us), ((2, 7_500), 7_500));
    bench.clock(7_200);
    bench.answer(backends[0], "$1\r\nb\r\n");
    assert_eq!(bench.timed(), (2, 7_000 + 200), "to wait for a connection is not the time of the server");
    bench.pass(70_000);
    assert_eq!(bench.figures().wait_max_us, 0, "that is long ago");
}

#[test]
fn what_is_queued_and_how_clients_end_is_told() {
    let (mut bench, backends) = Bench::ready(1, |settings| settings.timeouts.local_read_ms = 1_000);
    let [idle, gone, killed, http] = [(); 4].map(|()| bench.client());
    bench.set_room(Conn::Backend(backends[0]), 5);
    bench.say(gone, get("a"));
    let figures = bench.figures();
    assert_eq!((figures.servers[0].queue_bytes, figures.servers[0].outstanding), (get("a").len() as u64 - 5, 1));
    bench.make_room(Conn::Backend(backends[0]), usize::MAX);
    bench.answer(backends[0], "$1\r\na\r\n");
    bench.proxy.handle_client_end(gone);
    bench.say(http, "POST / HTTP/1.1\r\nHost: x\r\n\r\n");
    let number = bench.proxy.settings.workers.client_number(killed);
    let killer = bench.client();
    bench.say(killer, request(&["CLIENT", "KILL", "ID", &number.to_string()]));
    assert_eq!(closed(&bench.figures()), [("left", 1), ("http", 1), ("killed", 1)]);
    bench.pass(1_500);
    let figures = bench.figures();
    assert_eq!(closed(&figures), [("left", 1), ("http", 1), ("idle", 2), ("killed", 1)]);
    assert_eq!((figures.clients, figures.stats.clients, figures.servers[0].queue_bytes), (0, 5, 0));
    assert!(bench.is_closed(Conn::Client(idle)));
}

#[test]
fn the_longest_turn_and_bytes_are_as_the_shell_tells_them() {
    let (mut bench, _) = Bench::ready(1, |_| {});
    bench.proxy.handle_turn_end(70, bench.now);
    bench.proxy.handle_turn_end(30, bench.now);
    let bytes = crate::stats::Bytes { from_clients: 1, to_clients: 2, from_servers: 3, to_servers: 4 };
    bench.proxy.handle_bytes(bytes);
    bench.proxy.handle_accept_failed(format_args!("no descriptor is free"));
    let figures = bench.figures();
    assert_eq!((figures.turn_max_us, figures.stats.bytes, figures.stats.accept_failures), (70, bytes, 1));
}

#[test]
fn figures_of_several_add_up() {
    let one = || {
        let (mut bench, backends) = Bench::ready(1, |_| {});
        let client = bench.client();
        bench.clock(0);
        bench.say(client, get("a") + &set("b", "1"));
        bench.clock(1_000);
        bench.answer(backends[0], "$1\r\nx\r\n-OOM no\r\n");
        bench.say(client, get("c") + &request(&["NOSUCHCOMMAND"]));
        bench.figures()
    };
    let mut sum = one();
    sum.add(&one());
    assert_eq!((sum.clients, sum.stats.requests), (2, [4, 2, 0, 2]));
    assert_eq!((timed(&sum.durations), timed(&sum.waits)), ((4, 4_000), (6, 0)));
    assert_eq!((codes(&sum.stats.errors), codes(&sum.stats.own_errors)), (vec![("OOM", 2)], vec![("ERR", 2)]));
    assert_eq!((sum.servers.len(), sum.servers[0].outstanding, sum.servers[0].by_state), (1, 2, [0, 2, 0, 0, 0]));
    assert_eq!(sum.servers[0].stats.requests, 6);
}
