//! Other settings between two turns: servers that come and go, and limits, users and policies that hold at once.

use super::subscriptions::{confirmed, message, subscribe};
use super::*;
use crate::ring::{Distribution, KeyHash, Member, Spread};
use crate::users::{Credentials, Secret, Users};

const RETIRED_MS: u64 = crate::proxy::reload::RETIRED_MS;
const ABORTED: &str = "-EXECABORT Transaction discarded because of previous errors.\r\n";

impl Bench {
    /// Other settings hold; the turn is not over.
    fn settle(&mut self, change: impl FnOnce(&mut Settings)) {
        let mut settings = self.proxy.settings.clone();
        change(&mut settings);
        self.proxy.handle_settings(settings, self.now);
    }

    /// There are these servers from here on, in this order.
    fn serve_by(&mut self, servers: &[&str]) {
        self.settle(|settings| settings.servers = servers.iter().map(|&server| server.to_owned()).collect());
        self.turn();
    }

    /// The next connect to the server with this address succeeds, and its handshake too.
    fn connect_to(&mut self, address: &str) -> Id {
        let server = self.slot_of(address);
        self.connect(server)
    }

    fn slot_of(&self, address: &str) -> u16 {
        self.proxy.upstreams.find_server(address).expect("it is known").index() as u16
    }

    /// The first of the keys k0, k1 … that lives on the server with this address.
    fn key_at(&self, address: &str) -> String {
        let mut keys = (0..10_000).map(|number| format!("k{number}"));
        let lives_there = |key: &String| {
            let server = self.proxy.router.server_of_key(key.as_bytes());
            server.is_some_and(|server| self.proxy.upstreams.address(server) == address)
        };
        keys.find(lives_there).expect("every server has keys")
    }

    fn connections_to(&self, address: &str) -> usize {
        let server = self.proxy.upstreams.find_server(address).expect("it is known");
        self.proxy.upstreams.backends().filter(|(_, backend)| backend.server() == server).count()
    }
}

fn users(names: &[(&str, &str)]) -> Users {
    let mut users = Users::default();
    for (name, password) in names {
        users.add(name, Secret::new(password.as_bytes())).expect("a good name");
    }
    users
}

#[test]
fn another_ring_over_the_same_servers_closes_nothing_and_forgets_nobody_who_is_down() {
    let (mut bench, backends) = Bench::ready(3, |_| {});
    bench.take_down(backends[1], 1);
    let (epoch, closed) = (bench.proxy.router.epoch(), bench.closed.len());
    let members = |weight| {
        let names = ["server-0", "server-1", "server-2"];
        names.map(|name| Member { name: name.to_owned(), weight }).to_vec()
    };
    let ketama = Spread { distribution: Distribution::Ketama, hash: KeyHash::Md5, tag: None };
    bench.settle(|settings| (settings.spread, settings.members) = (ketama, members(1)));
    bench.turn();
    assert_eq!((bench.proxy.router.epoch(), bench.closed.len()), (epoch + 1, closed));
    for number in 0..1000 {
        let key = format!("k{number}");
        let server = bench.proxy.router.server_of_key(key.as_bytes()).expect("two are up");
        assert_ne!(bench.proxy.upstreams.address(server), "server-1");
    }
    bench.settle(|settings| settings.members = members(1));
    assert_eq!(bench.proxy.router.epoch(), epoch + 1, "the same");
    bench.settle(|settings| settings.members[0].weight = 9);
    assert_eq!(bench.proxy.router.epoch(), epoch + 2);
}

#[test]
fn the_same_settings_change_nothing() {
    let (mut bench, backends) = Bench::ready(3, |_| {});
    let (client, blocked, listening) = (bench.client(), bench.client(), bench.client());
    let key = bench.key_at("server-1");
    bench.say(client, get(&key));
    bench.say(blocked, request(&["BLPOP", &key, "0"]));
    let leased = bench.connect_to("server-1");
    bench.say(listening, subscribe("c"));
    let listeners = ["server-0", "server-1", "server-2"].map(|server| bench.connect_to(server));
    listeners.iter().for_each(|&listener| bench.answer(listener, confirmed("subscribe", "c", 1)));
    let (epoch, closed, timers) = (bench.proxy.router.epoch(), bench.closed.len(), bench.proxy.wheel.len());
    bench.net.order.clear();
    for _ in 0..3 {
        bench.settle(|settings| (settings.seed, settings.process_id) = (99, 99));
        bench.turn();
    }
    assert_eq!((bench.proxy.settings.seed, bench.proxy.settings.process_id), (7, 1), "that is of the start");
    assert_eq!((bench.proxy.router.epoch(), bench.proxy.router.revision()), (epoch, 0));
    assert_eq!((bench.closed.len(), bench.proxy.wheel.len()), (closed, timers));
    assert!(bench.connects.is_empty() && bench.net.order.is_empty() && bench.lines.is_empty());
    bench.answer(backends[1], "$-1\r\n");
    assert_eq!(bench.told(client), "$-1\r\n");
    assert_eq!(bench.proxy.upstreams.backend(leased).map(|backend| backend.is_owned_by(blocked)), Some(true));
}

#[test]
fn what_is_in_flight_is_answered_where_it_was_sent_and_the_next_goes_elsewhere() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let (client, key) = (bench.client(), bench.key_at("server-1"));
    bench.say(client, set(&key, "1"));
    assert_eq!(bench.asked(backends[1]), set(&key, "1"));
    bench.serve_by(&["server-0"]);
    bench.say(client, get(&key));
    assert_eq!(bench.asked(backends[0]), "", "its own reply comes first, or it could overtake the write");
    assert!(!bench.is_closed(Conn::Backend(backends[1])));
    bench.answer(backends[1], "+OK\r\n");
    assert!(bench.is_closed(Conn::Backend(backends[1])), "it owes nothing");
    assert_eq!(bench.asked(backends[0]), get(&key));
    bench.answer(backends[0], "$1\r\n1\r\n");
    assert_eq!(bench.told(client), "+OK\r\n$1\r\n1\r\n");
    assert_eq!(bench.lines, ["INFO server server-1 is removed; connections that close when they owe nothing: 1"]);
    bench.pass(RETIRED_MS);
    assert_eq!(bench.connections_to("server-1"), 0);
    bench.assert_nothing_is_left();
}

#[test]
fn a_server_that_comes_has_its_keys_at_once_and_they_wait_for_it() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    bench.serve_by(&["server-0", "new"]);
    let (client, key) = (bench.client(), bench.key_at("new"));
    bench.say(client, get(&key));
    assert_eq!(bench.asked(backends[0]), "");
    let new = bench.connect_to("new");
    assert_eq!(bench.asked(new), get(&key));
    bench.answer(new, "$-1\r\n");
    assert_eq!(bench.told(client), "$-1\r\n");
}

#[test]
fn a_server_that_comes_and_never_answers_holds_nothing_up() {
    let (mut bench, backends) = Bench::ready(1, |settings| settings.timeouts.failover_after_ms = 0);
    bench.serve_by(&["server-0", "new"]);
    let (client, key, other) = (bench.client(), bench.key_at("new"), bench.key_at("server-0"));
    bench.say(client, get(&other));
    bench.answer(backends[0], "$-1\r\n");
    assert_eq!(bench.told(client), "$-1\r\n");
    bench.asked(backends[0]);
    bench.say(client, get(&key));
    bench.pass(600);
    assert_eq!(bench.asked(backends[0]), get(&key), "it is down, and another one stands in");
}

#[test]
fn servers_that_change_places_keep_their_connections_and_keys_follow_the_ring() {
    let (mut bench, backends) = Bench::ready(3, |_| {});
    let requests = bench.proxy.upstreams.figures(bench.proxy.router.servers(), 0, Millis(0));
    bench.serve_by(&["server-2", "server-0", "server-1"]);
    assert!(bench.connects.is_empty() && bench.closed.is_empty());
    let moved = bench.proxy.upstreams.figures(bench.proxy.router.servers(), 0, Millis(0));
    assert_eq!(moved, [2, 0, 1].map(|place| requests[place].clone()), "figures go with the server");
    let client = bench.client();
    for (place, server) in [(0, 2), (1, 0), (2, 1)] {
        // A place in the ring, and not a slot.
        let key = key_on(&bench, place);
        bench.say(client, get(&key));
        assert_eq!(bench.asked(backends[server]), get(&key));
        bench.answer(backends[server], "$-1\r\n");
    }
}

#[test]
fn a_server_that_is_there_twice_keeps_as_many_as_it_stays() {
    let (mut bench, _) = Bench::ready(3, |settings| settings.servers[2] = settings.servers[0].clone());
    let before: Vec<ServerId> = bench.proxy.router.servers().collect();
    bench.serve_by(&["server-1", "server-0", "server-0"]);
    let after: Vec<ServerId> = bench.proxy.router.servers().collect();
    assert_eq!(after, [before[1], before[0], before[2]], "the first is the first");
    bench.serve_by(&["server-0"]);
    assert_eq!(bench.proxy.router.servers().collect::<Vec<_>>(), [before[0]]);
}

#[test]
fn a_slot_is_used_again_under_another_name_and_a_late_timer_does_not_hit_it() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let old = bench.proxy.router.servers().nth(1).expect("there are two");
    // It is down, and is to be looked at.
    bench.take_down(backends[1], 1);
    assert!(!bench.proxy.upstreams.health(old).is_up());
    bench.serve_by(&["server-0"]);
    bench.serve_by(&["server-0", "other"]);
    let new = bench.proxy.router.servers().nth(1).expect("there are two");
    assert_eq!((new.index(), new == old), (old.index(), false));
    assert_eq!(bench.proxy.upstreams.address(new), "other");
    assert!(bench.proxy.upstreams.health(new).is_up() && bench.proxy.router.is_up(new));
    assert!(bench.proxy.upstreams.is_retired(old) && !bench.proxy.router.is_up(old));
    bench.connect_to("other");
    bench.pass(RETIRED_MS);
    assert!(bench.connects.is_empty(), "neither the probe nor the end of the old one is its business");
    assert_eq!(bench.connections_to("other"), 1);
    for round in 0..50 {
        bench.serve_by(&["server-0", &format!("round-{round}")]);
        bench.connects.clear();
        bench.pass(RETIRED_MS);
        bench.pass(1_000);
    }
    assert!(bench.proxy.upstreams.slots() <= 4, "{} slots", bench.proxy.upstreams.slots());
    bench.pass(100_000);
}

#[test]
fn who_waits_at_a_server_that_goes_is_routed_anew() {
    let (mut bench, backends) = Bench::ready(2, |settings| {
        settings.pool_size = 1;
        settings.limits.pipeline_max = 1;
    });
    let (first, second, key) = (bench.client(), bench.client(), bench.key_at("server-1"));
    bench.say(first, get(&key));
    bench.say(second, get(&key));
    assert_eq!(bench.proxy.clients.parked(), 1);
    bench.serve_by(&["server-0"]);
    assert_eq!(bench.asked(backends[0]), get(&key));
    bench.answer(backends[0], "$1\r\n2\r\n");
    bench.answer(backends[1], "$1\r\n1\r\n");
    assert_eq!((bench.told(first), bench.told(second)), ("$1\r\n1\r\n".to_owned(), "$1\r\n2\r\n".to_owned()));
    bench.assert_nothing_is_left();
}

#[test]
fn the_parts_of_a_request_finish_with_the_servers_that_they_were_sent_to() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let (client, keys) = (bench.client(), ["server-0", "server-1"].map(|server| bench.key_at(server)));
    bench.say(client, request(&["MGET", &keys[0], &keys[1]]));
    bench.serve_by(&["server-0"]);
    bench.answer(backends[1], "*1\r\n$1\r\nb\r\n");
    bench.answer(backends[0], "*1\r\n$1\r\na\r\n");
    assert_eq!(bench.told(client), "*2\r\n$1\r\na\r\n$1\r\nb\r\n");
    bench.assert_nothing_is_left();
}

#[test]
fn a_transaction_at_a_server_that_goes_ends_there_or_not_at_all() {
    let (mut bench, _) = Bench::ready(2, |_| {});
    let key = bench.key_at("server-1");
    let (ready, late, idle) = (bench.client(), bench.client(), bench.client());
    let begin = request(&["MULTI"]) + &set(&key, "1");
    let leased = [ready, late, idle].map(|client| {
        bench.say(client, &begin);
        let leased = bench.connect_to("server-1");
        bench.answer(leased, "+OK\r\n+QUEUED\r\n");
        assert_eq!(bench.told(client), "+OK\r\n+QUEUED\r\n");
        bench.asked(leased);
        leased
    });
    bench.serve_by(&["server-0"]);
    // All is asked: it runs where it began.
    bench.say(ready, request(&["EXEC"]));
    assert_eq!(bench.asked(leased[0]), request(&["EXEC"]));
    bench.answer(leased[0], "*1\r\n+OK\r\n");
    assert_eq!(bench.told(ready), "*1\r\n+OK\r\n");
    assert!(bench.is_closed(Conn::Backend(leased[0])) || bench.connections_to("server-1") > 0);
    // Its keys are elsewhere now: nothing is run.
    bench.say(late, set(&key, "2"));
    assert!(bench.told(late).starts_with("-ERR These keys are not all at server-1, "));
    bench.say(late, request(&["EXEC"]));
    assert_eq!(bench.told(late), ABORTED);
    assert_eq!(bench.asked(leased[1]), request(&["DISCARD"]));
    bench.answer(leased[1], "+OK\r\n");
    bench.pass(RETIRED_MS - 1);
    assert!(!bench.is_closed(Conn::Backend(leased[2])), "it may still end by itself");
    bench.pass(2);
    assert!(bench.is_closed(Conn::Backend(leased[2])));
    bench.say(idle, request(&["EXEC"]));
    assert_eq!(bench.told(idle), ABORTED);
    assert_eq!(bench.connections_to("server-1"), 0);
    bench.assert_nothing_is_left();
}

#[test]
fn who_waits_for_data_at_a_server_that_goes_is_told_when_that_is_over() {
    let (mut bench, _) = Bench::ready(2, |_| {});
    let key = bench.key_at("server-1");
    let (served, kept) = (bench.client(), bench.client());
    let leased = [served, kept].map(|client| {
        bench.say(client, request(&["BLPOP", &key, "0"]));
        bench.connect_to("server-1")
    });
    bench.serve_by(&["server-0"]);
    bench.pass(RETIRED_MS / 2);
    let element = format!("*2\r\n{}{}", bulk(&key), bulk("x"));
    bench.answer(leased[0], &element);
    assert_eq!(bench.told(served), element, "what comes until then is had");
    bench.pass(RETIRED_MS);
    assert_eq!(
        bench.told(kept),
        "-ERR Connection to server-1 lost before its reply; the command may have been run\r\n"
    );
    assert_eq!(bench.connections_to("server-1"), 0);
    // The next one waits where the key is now.
    bench.say(kept, request(&["BLPOP", &key, "0"]));
    let next = bench.connect_to("server-0");
    assert_eq!(bench.asked(next), request(&["BLPOP", &key, "0"]));
}

#[test]
fn a_server_that_goes_is_heard_a_while_and_one_that_comes_before_anybody_publishes_there() {
    let (mut bench, _) = Bench::ready(2, |_| {});
    let (client, publisher) = (bench.client(), bench.client());
    bench.say(client, subscribe("c"));
    let listeners = ["server-0", "server-1"].map(|server| bench.connect_to(server));
    for listener in listeners {
        bench.answer(listener, confirmed("subscribe", "c", 1));
    }
    assert_eq!(bench.told(client), confirmed("subscribe", "c", 1));
    let mut servers = vec!["new".to_owned()];
    while bench.proxy.router.server_of_key(b"c").map(|server| bench.proxy.upstreams.address(server).to_owned())
        != Some("new".to_owned())
    {
        bench.serve_by(&servers.iter().map(String::as_str).collect::<Vec<_>>());
        servers.push("server-0".to_owned());
    }
    // Both its connections: for requests, and for messages.
    let new = bench.connect_to("new");
    let publish = request(&["PUBLISH", "c", "x"]);
    bench.say(publisher, &publish);
    assert_eq!(bench.asked(new), "", "it is not heard there yet");
    let listener = bench.connect_to("new");
    bench.answer(listener, confirmed("subscribe", "c", 1));
    assert_eq!(bench.asked(new), publish);
    bench.answer(listeners[1], message("c", "late"));
    assert_eq!(bench.told(client), message("c", "late"), "others may publish there still");
    bench.pass(RETIRED_MS);
    assert!(bench.is_closed(Conn::Backend(listeners[1])));
    bench.answer(listener, message("c", "x"));
    assert_eq!(bench.told(client), message("c", "x"));
}

#[test]
fn a_cursor_says_for_which_servers_it_was_given() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let client = bench.client();
    let scan = |cursor: &str| request(&["SCAN", cursor]);
    bench.say(client, scan("0"));
    bench.answer(backends[0], "*2\r\n$1\r\n7\r\n*0\r\n");
    assert_eq!(bench.told(client), "*2\r\n$2\r\n14\r\n*0\r\n");
    bench.asked(backends[0]);
    bench.serve_by(&["server-1", "server-0"]);
    let stale = "-ERR invalid cursor: the servers are others since; begin the SCAN anew\r\n";
    bench.say(client, scan("14"));
    assert_eq!(bench.told(client), stale);
    bench.say(client, scan("0"));
    bench.answer(backends[1], "*2\r\n$1\r\n7\r\n*0\r\n");
    let reply = bench.told(client);
    let cursor = reply.split("\r\n").nth(2).expect("a cursor").to_owned();
    bench.asked(backends[1]);
    bench.say(client, scan(&cursor));
    assert_eq!(bench.asked(backends[1]), scan("7"));
    bench.answer(backends[1], "*2\r\n$1\r\n0\r\n*0\r\n");
    bench.told(client);
    // Of one server alone it is another cursor, too.
    bench.serve_by(&["server-1"]);
    bench.say(client, scan(&cursor) + &scan("0"));
    bench.answer(backends[1], "*2\r\n$1\r\n9\r\n*0\r\n");
    let told = bench.told(client);
    assert!(told.starts_with(stale), "{told}");
    let cursor = told.split("\r\n").nth(3).expect("a cursor").to_owned();
    bench.asked(backends[1]);
    bench.say(client, scan(&cursor));
    assert_eq!(bench.asked(backends[1]), scan("9"));
}

#[test]
fn sessions_go_with_their_user() {
    let (mut bench, _) =
        Bench::ready(1, |settings| settings.users = users(&[("a", "1"), ("b", "2"), ("default", "3")]));
    let [a, b, default, nobody] = [0; 4].map(|_| bench.client());
    for (client, name, password) in [(a, "a", "1"), (b, "b", "2"), (default, "default", "3")] {
        bench.say(client, request(&["AUTH", name, password]));
        assert_eq!(bench.told(client), "+OK\r\n");
    }
    bench.settle(|settings| settings.users = users(&[("c", "9"), ("b", "other")]));
    bench.turn();
    assert!(bench.is_closed(Conn::Client(a)), "there is no such user any more");
    for (client, name) in [(b, "b"), (default, "default")] {
        bench.say(client, request(&["ACL", "WHOAMI"]) + &request(&["PING"]));
        let told = bench.told(client);
        assert!(told.ends_with("+PONG\r\n"), "{name} stays: {told}");
    }
    bench.say(nobody, request(&["PING"]));
    assert_eq!(bench.told(nobody), "-NOAUTH Authentication required.\r\n");
    bench.say(nobody, request(&["AUTH", "b", "2"]));
    bench.pass(10_000);
    assert!(bench.told(nobody).starts_with("-WRONGPASS "));
    // Without users, everybody is in.
    bench.settle(|settings| settings.users = Users::default());
    bench.turn();
    assert!(bench.is_closed(Conn::Client(b)));
    bench.say(nobody, request(&["PING"]));
    assert_eq!(bench.told(nobody), "+PONG\r\n");
}

#[test]
fn new_credentials_are_those_of_new_connections_and_no_old_password_is_shown() {
    let credentials = |password: &str| Some(Credentials { user: None, password: Secret::new(password.as_bytes()) });
    let mut bench = Bench::new(1, |settings| settings.credentials = credentials("old-secret"));
    let backend = bench.next_connect(0);
    bench.proxy.handle_connected(backend, bench.now);
    bench.turn();
    assert!(bench.asked(backend).contains("old-secret"));
    for password in ["newer-secret", "newest-secret"] {
        bench.settle(|settings| settings.credentials = credentials(password));
    }
    bench.answer(backend, "-ERR I know old-secret\r\n");
    assert!(bench.lines.iter().any(|line| line.contains("I know ***")), "{:?}", bench.lines);
    bench.until_connect();
    let next = bench.next_connect(0);
    bench.proxy.handle_connected(next, bench.now);
    bench.turn();
    assert!(bench.asked(next).contains("newest-secret"));
}

#[test]
fn a_smaller_pool_closes_what_is_idle_and_leaves_leases_and_one_for_the_others() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let waiting = [0; 3].map(|_| bench.client());
    let leased = waiting.map(|client| {
        bench.say(client, request(&["BLPOP", "list", "0"]));
        bench.connect(0)
    });
    bench.settle(|settings| (settings.pool_size, settings.lease_max) = (2, 2));
    bench.turn();
    assert!(bench.closed.is_empty(), "three are held, and one is left to the others");
    let client = bench.client();
    bench.say(client, get("k"));
    bench.answer(backends[0], "$-1\r\n");
    assert_eq!(bench.told(client), "$-1\r\n");
    for (place, (waiting, leased)) in waiting.into_iter().zip(leased).enumerate() {
        bench.answer(leased, "*-1\r\n");
        assert_eq!(bench.told(waiting), "*-1\r\n");
        bench.turn();
        assert_eq!(bench.closed.len(), (place + 1).min(2), "as many as are too many");
    }
    assert!(!bench.is_closed(Conn::Backend(backends[0])));
    bench.settle(|settings| settings.pool_size = 1);
    bench.turn();
    assert_eq!(bench.connections_to("server-0"), 1);
}

#[test]
fn limits_timeouts_and_policy_hold_at_once() {
    let (mut bench, _) = Bench::ready(1, |_| {});
    let (idle, busy) = (bench.client(), bench.client());
    bench.say(busy, get("k"));
    bench.pass(400);
    bench.settle(|settings| {
        settings.timeouts.local_read_ms = 300;
        settings.timeouts.remote_read_ms = 50;
        settings.limits.clients_max = 2;
        settings.limits.bulk_bytes_max = 10;
    });
    bench.turn();
    assert!(bench.is_closed(Conn::Client(idle)), "it has said nothing for longer than that");
    assert!(!bench.is_closed(Conn::Client(busy)));
    bench.pass(60);
    assert!(bench.told(busy).starts_with("-ERR No reply from server-0 within 50 ms"));
    let second = bench.client();
    assert!(bench.proxy.handle_accept(bench.now).is_none(), "two are there");
    bench.say(second, set("k", "more than ten bytes"));
    assert!(bench.told(second).starts_with("-ERR Protocol error: invalid bulk length"));
}

#[test]
fn workers_at_different_settings_add_up_what_they_have_by_address() {
    let (mut bench, backends) = Bench::ready(2, |settings| settings.workers = Workers::first_of(2));
    let client = bench.client();
    bench.say(client, request(&["INFO"]));
    let Some((1, WorkerMessage::Questions(_))) = bench.messages.pop_front() else { panic!("the other is asked") };
    bench.serve_by(&["server-1"]);
    // The other one has other servers still, and in another order.
    let mut other = Bench::ready(3, |settings| settings.workers = Workers::first_of(2).nth(1)).0;
    let busy = other.client();
    let key = other.key_at("server-1");
    other.say(busy, get(&key));
    let questions = WorkerMessage::Questions(vec![Question::Figures(request(&["INFO"]).into_bytes().into())].into());
    other.proxy.handle_worker_message(0, questions, other.now);
    other.turn();
    let Some((0, answers)) = other.messages.pop_front() else { panic!("it answers") };
    bench.proxy.handle_worker_message(1, answers, bench.now);
    bench.turn();
    bench.answer(backends[1], bulk("db0:keys=3\r\n"));
    let info = bench.told(client);
    assert!(info.contains("total_endpoints: 1\r\n"), "{info}");
    assert!(info.contains("server0_address:server-1\r\n") && info.contains("server0_outstanding:1\r\n"), "{info}");
    assert!(info.contains("server0_connections:2\r\n") && !info.contains("server1_"), "{info}");
}
