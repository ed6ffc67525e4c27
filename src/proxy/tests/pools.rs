//! Several proxies of one pool: what their clients learn of all of it, and do to each other.

use super::*;

/// Three proxies, their servers connected; messages lie with their writers until they are carried.
struct PoolBench {
    benches: Vec<Bench>,
    backends: Vec<Vec<Id>>,
    /// Those that have ended.
    gone: Vec<usize>,
}

impl PoolBench {
    fn new(servers: usize) -> PoolBench {
        let workers = Workers::first_of(3);
        let benches = (0..3).map(|number| Bench::ready(servers, |settings| settings.workers = workers.nth(number)));
        let (benches, backends) = benches.unzip();
        PoolBench { benches, backends, gone: Vec::new() }
    }

    /// So many clients of each proxy, by proxy.
    fn clients(&mut self, count: usize) -> Vec<Vec<Id>> {
        self.benches.iter_mut().map(|bench| (0..count).map(|_| bench.client()).collect()).collect()
    }

    /// Delivers the oldest message of a proxy; false if it has none.
    fn carry_one(&mut self, from: usize) -> bool {
        let Some((to, message)) = self.benches[from].messages.pop_front() else { return false };
        let now = self.benches[from].now;
        match self.gone.contains(&to) {
            true => self.benches[from].proxy.handle_worker_gone(to, now),
            false => self.benches[to].proxy.handle_worker_message(from, message, now),
        }
        self.benches[from].turn();
        self.benches[to].turn();
        true
    }

    /// Until there are no messages any more.
    fn carry(&mut self) {
        while (0..3).any(|from| self.carry_one(from)) {}
    }

    /// What a client of this proxy is told to that, when all messages are carried.
    fn ask(&mut self, at: usize, client: Id, words: &[&str]) -> String {
        self.benches[at].say(client, request(words));
        assert_eq!(self.benches[at].told(client), "", "before the others were heard");
        self.carry();
        self.benches[at].told(client)
    }

    fn assert_nothing_is_left(&self) {
        self.benches.iter().for_each(Bench::assert_nothing_is_left);
    }
}

/// The numbers of the clients in a CLIENT LIST, in its order.
fn ids(list: &str) -> Vec<u64> {
    let lines = list.split("id=").skip(1);
    lines.map(|line| line.split(' ').next().and_then(|id| id.parse().ok()).expect("a number")).collect()
}

/// The value of a field of INFO, or of a line of CLIENT LIST.
fn field<'a>(text: &'a str, name: &str) -> &'a str {
    let (_, rest) = text.split_once(name).unwrap_or_else(|| panic!("no {name} in {text}"));
    rest.split(['\r', ' ']).next().expect("split gives at least one")
}

#[test]
fn client_list_has_the_clients_of_all_proxies_in_the_order_of_their_numbers() {
    let mut pool = PoolBench::new(1);
    let clients = pool.clients(2);
    pool.benches[2].say(clients[2][1], request(&["CLIENT", "SETNAME", "far"]));
    pool.benches[2].told(clients[2][1]);
    let list = pool.ask(1, clients[1][0], &["CLIENT", "LIST"]);
    assert_eq!(ids(&list), [1, 2, 3, 4, 5, 6]);
    let line_of = |name: &str| list.lines().find(|line| line.contains(name)).expect("a line").to_owned();
    assert_eq!(field(&line_of("cmd=client|list"), "id="), "2", "who asks is shown asking, and nobody else is");
    assert_eq!(field(&line_of("name=far"), "id="), "6");
    assert_eq!(field(&line_of("name=far"), "cmd="), "client");
    assert_eq!(list.matches("cmd=NULL").count(), 4, "who has asked for nothing");
    let list = pool.ask(0, clients[0][0], &["CLIENT", "LIST", "ID", "6", "1", "99"]);
    assert_eq!(ids(&list), [1, 6]);
    assert_eq!(pool.ask(0, clients[0][0], &["CLIENT", "LIST", "TYPE", "pubsub"]), "$0\r\n\r\n");
    pool.benches[0].say(clients[0][0], request(&["CLIENT", "LIST", "ID", "x"]));
    assert_eq!(pool.benches[0].told(clients[0][0]), "-ERR Invalid client ID\r\n", "nobody else is asked");
    pool.assert_nothing_is_left();
}

#[test]
fn client_unblock_reaches_clients_of_every_proxy() {
    let mut pool = PoolBench::new(1);
    let clients = pool.clients(1);
    let (asker, waiter) = (clients[0][0], clients[2][0]);
    pool.benches[2].say(waiter, request(&["BLPOP", "list", "0"]));
    let leased = pool.benches[2].connect_as(0, 77);
    assert_eq!(pool.ask(0, asker, &["CLIENT", "UNBLOCK", "2"]), ":0\r\n");
    assert_eq!(pool.ask(0, asker, &["CLIENT", "UNBLOCK", "3", "ERROR"]), "", "its server is asked first");
    let backend = pool.backends[0][0];
    assert_eq!(pool.benches[0].asked(backend), request(&["CLIENT", "UNBLOCK", "77", "ERROR"]));
    let unblocked = "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n";
    pool.benches[2].answer(leased, unblocked);
    pool.benches[0].answer(backend, ":1\r\n");
    assert_eq!(pool.benches[0].told(asker), ":1\r\n");
    assert_eq!(pool.benches[2].told(waiter), unblocked);
    pool.assert_nothing_is_left();
}

#[test]
fn a_publish_counts_the_clients_of_every_proxy() {
    let mut pool = PoolBench::new(1);
    let clients = pool.clients(3);
    // Two at the first proxy, three at the second: two of five the server sees.
    for (at, count) in [(0, 2), (1, 3)] {
        for &client in &clients[at][..count] {
            pool.benches[at].say(client, request(&["SUBSCRIBE", "c"]));
        }
        let listener = pool.benches[at].connect(0);
        pool.benches[at].answer(listener, format!("*3\r\n{}{}:1\r\n", bulk("subscribe"), bulk("c")));
    }
    for (at, seen, received) in [(2, 2, 5), (0, 2, 5), (0, 0, 0)] {
        let (client, backend) = (clients[at][2], pool.backends[at][0]);
        pool.benches[at].say(client, request(&["PUBLISH", "c", "x"]) + &request(&["PUBSUB", "NUMSUB", "c"]));
        let numsub = |count: usize| format!("*2\r\n{}:{count}\r\n", bulk("c"));
        pool.benches[at].answer(backend, format!(":{seen}\r\n{}", numsub(seen)));
        assert_eq!(pool.benches[at].told(client), format!(":{received}\r\n{}", numsub(received)));
    }
    // Who leaves is counted no longer, wherever it was.
    for (at, client) in [(0, clients[0][0]), (1, clients[1][0])] {
        pool.benches[at].proxy.handle_client_broken(client);
        pool.benches[at].turn();
    }
    let (client, backend) = (clients[2][2], pool.backends[2][0]);
    pool.benches[2].say(client, request(&["PUBLISH", "c", "x"]));
    pool.benches[2].answer(backend, ":2\r\n");
    assert_eq!(pool.benches[2].told(client), ":3\r\n");
}

#[test]
fn client_kill_reaches_clients_of_every_proxy_and_counts_them() {
    let mut pool = PoolBench::new(1);
    let clients = pool.clients(2);
    for (at, bench) in pool.benches.iter_mut().enumerate() {
        bench.proxy.handle_peer(clients[at][1], format!("10.0.0.{at}:77").into());
    }
    let asker = clients[0][0];
    assert_eq!(pool.ask(0, asker, &["CLIENT", "KILL", "ID", "3"]), ":1\r\n");
    assert!(pool.benches[2].is_closed(Conn::Client(clients[2][0])));
    assert_eq!(pool.ask(0, asker, &["CLIENT", "KILL", "ID", "3"]), ":0\r\n");
    assert_eq!(pool.ask(0, asker, &["CLIENT", "KILL", "10.0.0.2:77"]), "+OK\r\n");
    assert!(pool.benches[2].is_closed(Conn::Client(clients[2][1])));
    assert_eq!(pool.ask(0, asker, &["CLIENT", "KILL", "10.0.0.2:77"]), "-ERR No such client\r\n");
    assert_eq!(pool.ask(0, asker, &["CLIENT", "KILL", "ADDR", "10.0.0.0:77"]), ":1\r\n", "one of its own");
    assert_eq!(pool.ask(0, asker, &["CLIENT", "KILL", "USER", "default"]), ":2\r\n", "all the others");
    assert_eq!(pool.benches.iter().map(|bench| bench.proxy.clients()).sum::<usize>(), 1);
    pool.assert_nothing_is_left();
}

#[test]
fn who_kills_everybody_gets_the_reply_first() {
    let mut pool = PoolBench::new(1);
    let clients = pool.clients(2);
    assert_eq!(pool.ask(1, clients[1][1], &["CLIENT", "KILL", "SKIPME", "no"]), ":6\r\n");
    assert!(pool.benches.iter().all(|bench| bench.proxy.is_empty()));
    pool.assert_nothing_is_left();
}

#[test]
fn info_is_the_sum_over_all_proxies() {
    let mut pool = PoolBench::new(2);
    let clients = pool.clients(2);
    for (at, bench) in pool.benches.iter_mut().enumerate() {
        let key = key_on(bench, 1);
        for _ in 0..=at {
            bench.say(clients[at][0], get(&key));
        }
        bench.answer(pool.backends[at][1], bulk("x"));
    }
    // One of the proxies finds a server down.
    let lost = pool.backends[2][0];
    let now = pool.benches[2].now;
    pool.benches[2].proxy.handle_backend_end(lost, now);
    pool.benches[2].turn();
    pool.benches[2].refuse(0);
    let info = request(&["INFO"]);
    assert_eq!(pool.ask(0, clients[0][1], &["INFO"]), "", "the servers have something to tell, too");
    let [down, up] = pool.backends[0][..2] else { panic!("two servers") };
    let asked = pool.benches[0].asked(up);
    assert!(asked.ends_with(&info), "{asked}");
    assert_eq!(pool.benches[0].asked(down), info, "this proxy thinks that it is up");
    pool.benches[0].answer(down, bulk("db0:keys=3\r\n"));
    pool.benches[0].answer(up, bulk("db0:keys=4\r\n"));
    let info = pool.benches[0].told(clients[0][1]);
    assert!(info.contains("\r\ndb0:keys=7\r\n"), "{info}");
    for (name, value) in [
        ("# Clients\r\nconnected_clients:", "6"),
        ("total_connections_received:", "6"),
        ("active_endpoints: ", "1"),
        ("total_endpoints: ", "2"),
        ("server0_state:", "down"),
        ("server0_connections:", "2"),
        ("server1_state:", "up"),
        ("server1_connections:", "3"),
        ("server1_requests:", "6"),
        ("server1_outstanding:", "3"),
    ] {
        assert_eq!(field(&info, name), value, "{name} in {info}");
    }
}

#[test]
fn the_reply_has_its_place_and_what_stands_behind_waits() {
    let mut pool = PoolBench::new(1);
    let clients = pool.clients(1);
    let (asker, backend) = (clients[0][0], pool.backends[0][0]);
    let pipeline = get("a") + &request(&["CLIENT", "KILL", "ID", "2"]) + &get("b") + &request(&["CLIENT", "ID"]);
    pool.benches[0].say(asker, pipeline);
    assert_eq!(pool.benches[0].asked(backend), get("a"), "what is behind finds done what was asked for");
    pool.carry();
    assert_eq!(pool.benches[0].asked(backend), get("b"));
    assert_eq!(pool.benches[0].told(asker), "", "the first reply comes first");
    pool.benches[0].answer(backend, bulk("1"));
    assert_eq!(pool.benches[0].told(asker), bulk("1") + ":1\r\n");
    pool.benches[0].answer(backend, bulk("2"));
    assert_eq!(pool.benches[0].told(asker), bulk("2") + ":1\r\n");
    pool.assert_nothing_is_left();
}

#[test]
fn a_reply_that_nobody_wants_is_not_given() {
    let mut pool = PoolBench::new(1);
    let asker = pool.clients(1)[0][0];
    let skip = request(&["CLIENT", "REPLY", "SKIP"]);
    pool.benches[0].say(asker, skip + &request(&["CLIENT", "KILL", "ID", "2"]) + &request(&["PING"]));
    pool.carry();
    assert_eq!(pool.benches[0].told(asker), "+PONG\r\n");
    assert!(pool.benches[1].proxy.is_empty());
    pool.assert_nothing_is_left();
}

#[test]
fn one_round_is_under_way_at_a_time_and_everybody_has_a_turn() {
    let mut pool = PoolBench::new(1);
    let clients = pool.clients(50);
    let list = request(&["CLIENT", "LIST", "ID", "2"]);
    for &client in &clients[0] {
        pool.benches[0].say(client, &list);
        assert!(pool.benches[0].messages.len() <= 2, "one message to each of the others");
    }
    // Others ask at the same time; nobody waits for anybody.
    for at in [1, 2] {
        pool.benches[at].say(clients[at][0], request(&["CLIENT", "LIST"]));
    }
    let mut answered = 0;
    while (0..3).any(|from| pool.carry_one(from)) {
        let now_answered = clients[0].iter().filter(|&&client| pool.benches[0].told(client).contains("id=2 "));
        answered += now_answered.count();
        assert!(pool.benches.iter().all(|bench| bench.messages.len() <= 4), "two to each of the others");
    }
    assert_eq!(answered, 50);
    for at in [1, 2] {
        assert_eq!(ids(&pool.benches[at].told(clients[at][0])).len(), 150);
    }
    pool.assert_nothing_is_left();
}

#[test]
fn a_round_has_one_list_of_all_clients_or_many_small_questions() {
    let mut pool = PoolBench::new(1);
    let clients = pool.clients(6);
    let bench = &mut pool.benches[0];
    for (index, &client) in clients[0].iter().enumerate() {
        let words: &[&str] = if index < 3 { &["CLIENT", "LIST"] } else { &["CLIENT", "KILL", "ID", "77"] };
        bench.hear(client, request(words));
    }
    bench.turn();
    let mut rounds = Vec::new();
    while let Some((1, WorkerMessage::Questions(questions))) = pool.benches[0].messages.front() {
        rounds.push(questions.len());
        pool.carry_one(0);
        pool.carry_one(0);
        pool.carry_one(1);
        pool.carry_one(2);
    }
    assert_eq!(rounds, [1, 1, 1, 3]);
    assert!(clients[0].iter().all(|&client| !pool.benches[0].told(client).is_empty()));
    pool.assert_nothing_is_left();
}

#[test]
fn who_leaves_before_the_answers_is_missed_by_nobody() {
    let mut pool = PoolBench::new(1);
    let clients = pool.clients(3);
    // The first one's question is under way when it leaves, the second one's is not.
    for &client in &clients[0][..2] {
        pool.benches[0].say(client, request(&["CLIENT", "LIST"]));
    }
    for &client in &clients[0][..2] {
        pool.benches[0].proxy.handle_client_broken(client);
    }
    pool.benches[0].turn();
    assert_eq!(ids(&pool.ask(0, clients[0][2], &["CLIENT", "LIST"])).len(), 7);
    pool.assert_nothing_is_left();
    // Killed from elsewhere while it waits itself.
    pool.benches[1].say(clients[1][0], request(&["CLIENT", "LIST"]));
    assert_eq!(pool.ask(0, clients[0][2], &["CLIENT", "KILL", "ID", "2"]), ":1\r\n");
    assert!(pool.benches[1].is_closed(Conn::Client(clients[1][0])));
    pool.assert_nothing_is_left();
}

#[test]
fn two_that_kill_each_other_are_both_gone() {
    let mut pool = PoolBench::new(1);
    let clients = pool.clients(1);
    pool.benches[0].say(clients[0][0], request(&["CLIENT", "KILL", "ID", "2"]));
    pool.benches[1].say(clients[1][0], request(&["CLIENT", "KILL", "ID", "1"]));
    pool.carry();
    assert!(pool.benches[0].proxy.is_empty() && pool.benches[1].proxy.is_empty());
    pool.assert_nothing_is_left();
}

#[test]
fn a_proxy_that_has_ended_is_not_waited_for() {
    let mut pool = PoolBench::new(1);
    let clients = pool.clients(1);
    pool.gone.push(2);
    assert_eq!(ids(&pool.ask(0, clients[0][0], &["CLIENT", "LIST"])), [1, 2], "the message does not arrive");
    // It takes the message, and ends without an answer.
    pool.benches[1].say(clients[1][0], request(&["CLIENT", "LIST"]));
    pool.benches[1].messages.retain(|(to, _)| *to != 2);
    pool.carry();
    assert_eq!(pool.benches[1].told(clients[1][0]), "");
    let now = pool.benches[1].now;
    for _ in 0..2 {
        pool.benches[1].proxy.handle_worker_gone(2, now);
        pool.benches[1].turn();
    }
    assert_eq!(ids(&pool.benches[1].told(clients[1][0])), [1, 2]);
    assert_eq!(ids(&pool.ask(1, clients[1][0], &["CLIENT", "LIST"])), [1, 2]);
}

#[test]
fn who_asks_is_answered_before_it_is_seen_off() {
    let mut pool = PoolBench::new(1);
    let clients = pool.clients(1);
    pool.benches[0].say(clients[0][0], request(&["CLIENT", "LIST"]));
    pool.benches.iter_mut().for_each(|bench| {
        bench.proxy.handle_shutdown();
        bench.turn();
    });
    assert!(!pool.benches[0].proxy.is_empty() && pool.benches[1].proxy.is_empty());
    pool.carry();
    assert_eq!(ids(&pool.benches[0].told(clients[0][0])), [1]);
    assert!(pool.benches[0].proxy.is_empty());
    pool.assert_nothing_is_left();
}

#[test]
fn steps_of_a_transaction_ask_all_proxies_too() {
    let mut pool = PoolBench::new(1);
    let clients = pool.clients(2);
    let asker = clients[0][0];
    let steps: [&[&str]; 6] = [
        &["MULTI"],
        &["CLIENT", "KILL", "ID", "3"],
        &["GET", "a"],
        &["CLIENT", "LIST", "ID", "2", "3"],
        &["EXEC"],
        &["PING"],
    ];
    let steps: String = steps.iter().map(|words| request(words)).collect();
    for is_run in [false, true] {
        pool.benches[0].say(asker, &steps);
        let bench = &mut pool.benches[0];
        let leased = match bench.connects.is_empty() {
            false => bench.connect(0),
            true => *bench
                .proxy
                .upstreams
                .pool(ServerId::of_index(0))
                .backends()
                .last()
                .expect("the one of the first round"),
        };
        pool.benches[0].answer(leased, "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n");
        let queued = "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n";
        assert_eq!(pool.benches[0].told(asker), queued);
        if !is_run {
            pool.benches[0].answer(leased, "*-1\r\n");
            assert!(pool.benches[0].messages.is_empty(), "what is not run asks nothing");
            assert_eq!(pool.benches[0].told(asker), "*-1\r\n+PONG\r\n");
            continue;
        }
        pool.benches[0].answer(leased, "*3\r\n+PONG\r\n$1\r\nx\r\n+PONG\r\n");
        assert_eq!(pool.benches[0].told(asker), "", "before the others were heard");
        pool.carry();
        let told = pool.benches[0].told(asker);
        assert!(told.starts_with("*3\r\n:1\r\n$1\r\nx\r\n$"), "{told}");
        assert!(told.ends_with("\r\n+PONG\r\n"), "{told}");
        assert_eq!(ids(&told), [2], "what is killed before is not shown");
    }
    assert!(pool.benches[2].is_closed(Conn::Client(clients[2][0])));
    pool.assert_nothing_is_left();
}

#[test]
fn connections_on_which_somebody_waited_without_a_limit_are_closed_when_they_are_no_longer_needed() {
    let (mut bench, _) = Bench::ready(1, |_| {});
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let client = bench.client();
        bench.say(client, request(&["BLPOP", "list", "0"]));
        waiting.push(bench.connect(0));
    }
    for _ in 0..5 {
        bench.pass(10_000);
    }
    waiting.into_iter().for_each(|backend| bench.answer(backend, "*2\r\n$4\r\nlist\r\n$1\r\nx\r\n"));
    for _ in 0..10 {
        bench.pass(10_000);
    }
    assert_eq!(bench.proxy.backends(), 1);
}
