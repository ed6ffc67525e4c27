//! Servers that are there, and of no use: silent, mute, or closing what they have just accepted.

use super::*;
use crate::stats::ServerState;

impl Bench {
    /// How a server is, as INFO tells it.
    fn state(&self, server: usize) -> ServerState {
        self.proxy.upstreams.figures(self.proxy.router.servers(), 0, Millis(0))[server].state
    }

    /// Lets time pass, while a server accepts whatever it is asked for, and says nothing. Returns how often it was.
    fn stay_silent(&mut self, server: u16, milliseconds: u64) -> usize {
        let mut count = 0;
        for _ in 0..milliseconds {
            while self.connects.iter().any(|connect| connect.1 == server) {
                let backend = self.next_connect(server);
                self.proxy.handle_connected(backend, self.now);
                count += 1;
            }
            self.pass(1);
        }
        count
    }

    /// Lets time pass, while a server answers every handshake, and no request. It closes a connection that has lived
    /// for `lives_ms`. Returns how many were made.
    fn shake_hands_alone(&mut self, server: u16, milliseconds: u64, lives_ms: u64) -> usize {
        let mut count = 0;
        let mut ready: Vec<(Id, Millis)> = Vec::new();
        for _ in 0..milliseconds {
            while self.connects.iter().any(|connect| connect.1 == server) {
                ready.push((self.connect(server), self.now));
                count += 1;
            }
            let now = self.now;
            let (over, rest) = ready.into_iter().partition(|&(_, ready_at)| now - ready_at >= lives_ms);
            ready = rest;
            let over: Vec<(Id, Millis)> = over;
            over.into_iter().for_each(|(backend, _)| self.proxy.handle_backend_end(backend, now));
            self.pass(1);
        }
        count
    }
}

const LOST: &str = "-ERR Connection to server-0 lost before its reply; the command may have been run\r\n";
const LOST_TOO: &str = "-ERR Connection to server-0 lost, and no other is free\r\n";
const LATE: &str = "-ERR No reply from server-0 within 500 ms; the command may have been run\r\n";
const NOT_CONNECTED: &str = "-ERR No connection to server-0 within 500 ms\r\n";
const NONE_FREE: &str = "-ERR No connection to server-0 became free within 500 ms\r\n";

#[test]
fn a_server_that_shakes_hands_and_closes_is_not_stormed_while_nobody_asks_anything() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    bench.proxy.handle_backend_end(backends[0], bench.now);
    bench.turn();
    let connects = bench.shake_hands_alone(0, 60_000, 0);
    assert!((50..130).contains(&connects), "{connects} connections in a minute");
    assert_eq!(bench.state(0), ServerState::Unsteady);
    assert!(bench.proxy.router.is_all_up(), "nobody has asked it anything");
    // One that stays ends it.
    bench.until_connect();
    bench.connect(0);
    bench.pass(1_000);
    assert_eq!(bench.state(0), ServerState::Up);
}

#[test]
fn a_server_that_says_too_much_is_not_stormed_either() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    bench.answer(backends[0], "+EVIL\r\n");
    let mut connects = 0;
    let start = bench.now;
    while bench.now - start < 10_000 {
        bench.until_connect();
        let backend = bench.connect(0);
        bench.answer(backend, "+EVIL\r\n");
        connects += 1;
    }
    assert!(connects < 30, "{connects} connections in 10 s");
}

#[test]
fn a_server_that_closes_what_is_idle_is_well() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    bench.pass(1_000);
    let mut backend = backends[0];
    for _ in 0..20 {
        bench.proxy.handle_backend_end(backend, bench.now);
        bench.turn();
        assert_eq!((bench.until_connect(), bench.state(0)), (0, ServerState::Up));
        backend = bench.connect(0);
        bench.pass(1_000);
    }
}

#[test]
fn a_server_that_answers_one_request_for_each_connection_is_well() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    let mut backend = backends[0];
    for _ in 0..20 {
        bench.say(client, get("a"));
        bench.answer(backend, bulk("x"));
        assert_eq!(bench.told(client), bulk("x"));
        bench.proxy.handle_backend_end(backend, bench.now);
        bench.turn();
        assert_eq!((bench.until_connect(), bench.state(0)), (0, ServerState::Up));
        backend = bench.connect(0);
    }
}

#[test]
fn what_is_asked_of_a_server_that_closes_waits_for_the_next_connection_and_is_tried_there() {
    let (mut bench, _) = Bench::ready(1, |_| {});
    bench.shake_hands_alone(0, 5_000, 0);
    bench.proxy.handle_backend_end(
        bench.proxy.upstreams.pool(ServerId::of_index(0)).backends().first().copied().unwrap_or(Id::NONE),
        bench.now,
    );
    let (writer, reader) = (bench.client(), bench.client());
    let mut asked = 0;
    let mut told = HashMap::new();
    let start = bench.now;
    while bench.now - start < 20_000 {
        for (client, words) in [(writer, set("a", "x")), (reader, get("a"))] {
            let reply = bench.told(client);
            if !reply.is_empty() || bench.now == start {
                *told.entry(reply).or_insert(0) += 1;
                bench.hear(client, words);
                asked += 1;
            }
        }
        bench.shake_hands_alone(0, 10, 0);
    }
    let mut replies: Vec<&str> = told.keys().map(String::as_str).collect();
    replies.sort_unstable();
    // No error comes later than it would without all this, and none without a reason.
    assert!(asked >= 2 * 20, "{asked} requests in 20 s: {told:?}");
    assert_eq!(replies, ["", LOST, LOST_TOO, NONE_FREE]);
    // And when it does what it should, all is well.
    bench.pass(2_000);
    bench.told(writer);
    bench.say(writer, set("b", "y"));
    let backend = bench.connect(0);
    bench.asked(backend);
    bench.answer(backend, "+OK\r\n".repeat(2));
    assert!(bench.told(writer).ends_with("+OK\r\n"));
    bench.pass(1_000);
    assert_eq!(bench.state(0), ServerState::Up);
}

#[test]
fn keys_of_a_server_that_closes_instead_of_answering_go_to_another_after_a_while() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let key = key_on(&bench, 0);
    let client = bench.client();
    let start = bench.now;
    bench.say(client, set(&key, "x"));
    bench.proxy.handle_backend_end(backends[0], bench.now);
    while bench.proxy.router.is_all_up() {
        if !bench.told(client).is_empty() {
            bench.hear(client, set(&key, "x"));
        }
        bench.shake_hands_alone(0, 1, 0);
        assert!(bench.now - start < 8_000, "it is never down");
    }
    assert!(bench.now - start >= 5_000, "after {} ms", bench.now - start);
    assert!(!bench.asked(backends[1]).contains("SET") || bench.now - start >= 5_000);
}

#[test]
fn keys_of_a_busy_server_wait_for_it_and_are_not_written_elsewhere() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let (key, other) = (key_on(&bench, 0), key_on(&bench, 1));
    let client = bench.client();
    // For two seconds it runs a script.
    bench.say(client, request(&["EVAL", "loop", "1", &key]));
    let connects = bench.stay_silent(0, 500);
    assert_eq!((bench.told(client).as_str(), connects), (LATE, 0));
    let mut connects = 0;
    for _ in 0..3 {
        bench.say(client, set(&key, "x") + &set(&other, "y"));
        assert_eq!(bench.asked(backends[1]), set(&other, "y"));
        bench.answer(backends[1], "+OK\r\n");
        connects += bench.stay_silent(0, 500);
        assert_eq!(bench.told(client), NOT_CONNECTED.to_owned() + "+OK\r\n");
        assert_eq!(bench.state(0), ServerState::Silent);
    }
    assert!(connects <= 4, "{connects} connections");
    assert!(bench.proxy.router.is_all_up());
    // It answers what waits for it, and all is well.
    bench.say(client, set(&key, "home"));
    let backend = bench.connect(0);
    assert_eq!(bench.state(0), ServerState::Up);
    assert_eq!(bench.asked(backend), set(&key, "home"));
    bench.answer(backend, "+OK\r\n");
    assert_eq!(bench.told(client), "+OK\r\n");
}

#[test]
fn keys_of_a_server_that_stays_silent_go_to_another_after_failover_after() {
    for failover_after_ms in [0, 300, 2_000, 5_000] {
        let (mut bench, backends) = Bench::ready(2, |settings| settings.timeouts.failover_after_ms = failover_after_ms);
        let key = key_on(&bench, 0);
        let client = bench.client();
        let start = bench.now;
        bench.say(client, get(&key));
        while bench.proxy.router.is_all_up() {
            bench.stay_silent(0, 1);
            assert!(bench.now - start < 10_000, "it is never down");
        }
        let after_ms = bench.now - start;
        // A request times out, then a connection: no sooner is anything known.
        let at_least = failover_after_ms.max(1_000);
        assert!((at_least..=at_least + 502).contains(&after_ms), "after {after_ms} of {failover_after_ms} ms");
        bench.told(client);
        bench.say(client, set(&key, "x"));
        assert_eq!(bench.asked(backends[1]), set(&key, "x"));
        // As soon as a probe is answered they are its own again.
        bench.until_connect();
        let probe = bench.connect(0);
        bench.answer(backends[1], "+OK\r\n");
        bench.say(client, get(&key));
        assert_eq!(bench.asked(probe), get(&key));
    }
}

#[test]
fn what_waits_for_a_silent_server_is_bounded_in_time_and_in_connections() {
    let (mut bench, _) = Bench::ready(2, |settings| settings.pool_size = 20);
    let key = key_on(&bench, 0);
    let clients: Vec<Id> = (0..100).map(|_| bench.client()).collect();
    for (number, &client) in clients.iter().enumerate() {
        // Each database needs a connection of its own.
        bench.hear(client, request(&["SELECT", &(number % 10).to_string()]));
    }
    bench.turn();
    let mut connects = 0;
    for &client in &clients {
        bench.told(client);
        bench.hear(client, set(&key, "x"));
    }
    for _ in 0..3 {
        let start = bench.now;
        connects += bench.stay_silent(0, 1_002);
        for &client in &clients {
            let reply = bench.told(client);
            assert!(reply.starts_with("-ERR No "), "{reply:?} after {} ms", bench.now - start);
            bench.hear(client, set(&key, "x"));
        }
    }
    assert!(connects <= 10 + 10, "{connects} connections");
    assert!(bench.proxy.router.is_all_up());
}

#[test]
fn a_server_that_answers_on_old_connections_alone_is_up() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let key = key_on(&bench, 0);
    let (old, new) = (bench.client(), bench.client());
    let blpop = request(&["BLPOP", &key, "0"]);
    bench.say(new, &blpop);
    for _ in 0..80 {
        bench.say(old, get(&key));
        bench.answer(backends[0], bulk("x"));
        assert_eq!(bench.told(old), bulk("x"));
        bench.stay_silent(0, 100);
        if !bench.told(new).is_empty() {
            bench.hear(new, &blpop);
        }
    }
    assert!(bench.proxy.router.is_all_up());
    assert_eq!(bench.state(0), ServerState::Up);
    let connects = bench.proxy.upstreams.figures(bench.proxy.router.servers(), 0, Millis(0))[0].stats.connects;
    assert!(connects <= 20, "{connects} connections in 8 s");
}

#[test]
fn one_server_alone_is_down_with_the_first_handshake_that_it_does_not_answer() {
    for servers in [1, 2] {
        let (mut bench, _) = Bench::ready(servers, |settings| settings.failover = false);
        let key = key_on(&bench, 0);
        let client = bench.client();
        bench.say(client, get(&key));
        bench.stay_silent(0, 500);
        assert_eq!(bench.told(client), LATE);
        bench.say(client, get(&key));
        bench.stay_silent(0, 501);
        assert_eq!(bench.told(client), "-ERR Connection down\r\n");
        bench.say(client, get(&key));
        assert_eq!(bench.told(client), "-ERR Connection down\r\n", "at once");
    }
}

#[test]
fn a_server_that_answers_ping_and_no_request_is_down_after_failover_after_and_comes_back_on_trial() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let key = key_on(&bench, 0);
    let client = bench.client();
    let start = bench.now;
    bench.say(client, set(&key, "x"));
    let mut trials = Vec::new();
    let mut was_up = true;
    while bench.now - start < 60_000 {
        bench.shake_hands_alone(0, 1, u64::MAX);
        let is_up = bench.proxy.router.is_all_up();
        if was_up && !is_up {
            trials.push(bench.now - start);
        }
        was_up = is_up;
        let asked = bench.asked(backends[1]);
        bench.answer(backends[1], "+OK\r\n".repeat(asked.matches("SET").count()));
        if !bench.told(client).is_empty() {
            bench.hear(client, set(&key, "x"));
        }
    }
    assert!((5_000..=6_100).contains(&trials[0]), "{trials:?}");
    assert!((5..=8).contains(&trials.len()), "ever more seldom: {trials:?}");
    assert!(trials.windows(3).skip(1).all(|three| three[2] - three[1] > three[1] - three[0]), "{trials:?}");
    // A request that is answered ends the trial.
    while !bench.proxy.router.is_all_up() {
        bench.pass(1);
        if bench.connects.iter().any(|connect| connect.1 == 0) {
            bench.connect(0);
        }
        // With some seeds a request is under way there.
        let asked = bench.asked(backends[1]);
        bench.answer(backends[1], "+OK\r\n".repeat(asked.matches("SET").count()));
    }
    assert_eq!(bench.state(0), ServerState::Mute);
    bench.told(client);
    bench.say(client, get(&key));
    let backend = *bench.proxy.upstreams.pool(ServerId::of_index(0)).backends().last().expect("it is connected");
    bench.answer(backend, bulk("x"));
    bench.pass(500);
    assert_eq!(bench.state(0), ServerState::Up);
}

#[test]
fn a_reply_that_comes_slowly_is_no_silence() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let key = key_on(&bench, 0);
    let client = bench.client();
    bench.say(client, get(&key));
    bench.answer(backends[0], format!("$10000000\r\n{}", "x".repeat(70_000)));
    for _ in 0..100 {
        bench.stay_silent(0, 100);
        bench.answer(backends[0], "x".repeat(1_000));
    }
    assert_eq!(bench.state(0), ServerState::Up);
}

#[test]
fn what_a_server_is_too_old_for_is_no_answer_to_a_request() {
    let mut bench = Bench::new(1, |_| {});
    let client = bench.client();
    bench.say(client, request(&["HELLO", "3"]) + &get("a"));
    let first = bench.next_connect(0);
    let second = bench.next_connect(0);
    bench.proxy.handle_connected(second, bench.now);
    bench.turn();
    bench.answer(second, "-ERR unknown command 'HELLO'\r\n+PONG\r\n");
    assert!(bench.told(client).ends_with("-NOPROTO unsupported protocol version\r\n"));
    let has_answered = |id| bench.proxy.upstreams.backend(id).map(|backend| backend.seen().has_answered);
    assert_eq!((has_answered(first), has_answered(second)), (Some(false), Some(false)));
}
