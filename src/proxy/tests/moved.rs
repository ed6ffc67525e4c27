//! Masters that sentinels watch: before they are known, when they move, and when somebody else is found there.

use super::*;
use crate::proxy::moved::GRACE_MS;

const SLAVE: &str = "*5\r\n$5\r\nslave\r\n$8\r\n10.0.0.9\r\n:6379\r\n$9\r\nconnected\r\n:7\r\n";
const MASTER: &str = "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n";

fn server(number: usize) -> ServerId {
    ServerId::of_index(number)
}

fn masters(settings: &mut Settings) {
    settings.masters = settings.servers.clone();
}

impl Bench {
    /// The first server is there from now on.
    fn move_to(&mut self, address: &str) {
        self.proxy.handle_moved(server(0), address, self.now);
        self.turn();
    }

    /// The next connect to the first server succeeds, and its server says that it is this.
    fn greet_as(&mut self, role: &str) -> Id {
        let backend = self.next_connect(0);
        self.proxy.handle_connected(backend, self.now);
        self.turn();
        assert!(self.asked(backend).ends_with("*1\r\n$4\r\nROLE\r\n*1\r\n$4\r\nPING\r\n"), "in one write");
        self.answer(backend, format!("*0\r\n{role}+PONG\r\n"));
        backend
    }
}

/// One master at a:1, and a connection to it.
fn bench(change: impl FnOnce(&mut Settings)) -> (Bench, Id) {
    let mut bench = Bench::new(1, |settings| {
        masters(settings);
        change(settings);
    });
    bench.move_to("a:1");
    let backend = bench.greet_as(MASTER);
    bench.resolves.clear();
    (bench, backend)
}

const MAY_HAVE: &str = "-ERR Connection to server-0 lost before its reply; the command may have been run\r\n";

#[test]
fn before_it_is_known_requests_wait_and_nothing_is_connected() {
    let mut bench = Bench::new(1, masters);
    let client = bench.client();
    bench.say(client, set("a", "1"));
    bench.pass(400);
    assert_eq!((bench.told(client).as_str(), bench.connects.len()), ("", 0));
    bench.move_to("a:1");
    let backend = bench.greet_as(MASTER);
    assert_eq!(bench.asked(backend), set("a", "1"), "nothing was lost, and nothing was made anew");
    bench.answer(backend, "+OK\r\n");
    assert_eq!(bench.told(client), "+OK\r\n");
    assert!(bench.connects.is_empty() && bench.closed.is_empty());
}

#[test]
fn one_that_is_not_found_in_time_is_down_and_comes_up_when_it_is() {
    let mut bench = Bench::new(1, masters);
    let client = bench.client();
    bench.say(client, get("a"));
    bench.pass(500);
    assert_eq!(bench.told(client), "-ERR Connection down\r\n");
    assert_eq!(bench.lines, ["WARN server server-0 is down: cannot connect: no sentinel has said yet where it is"]);
    bench.pass(60_000);
    assert!(bench.connects.is_empty(), "there is nowhere to connect to");
    bench.say(client, get("a"));
    assert_eq!(bench.told(client), "-ERR Connection down\r\n", "at once");
    bench.move_to("a:1");
    bench.say(client, get("a"));
    let backend = bench.greet_as(MASTER);
    assert_eq!(bench.asked(backend), get("a"));
    bench.answer(backend, bulk("1"));
    assert_eq!(bench.told(client), bulk("1"));
}

#[test]
fn another_place_serves_while_one_is_sought() {
    let mut bench = Bench::new(2, |settings| settings.masters = vec!["server-0".to_owned()]);
    let other = bench.connect(1);
    let client = bench.client();
    let key = key_on(&bench, 1);
    bench.say(client, get(&key));
    assert_eq!(bench.asked(other), get(&key));
    bench.answer(other, bulk("1"));
    assert_eq!(bench.told(client), bulk("1"));
    // Nobody stands in for it, though failover is on.
    bench.pass(600);
    let key = key_on(&bench, 0);
    bench.say(client, get(&key));
    assert_eq!(bench.told(client), "-ERR Connection down\r\n");
}

#[test]
fn what_is_answered_within_the_grace_counts_and_the_rest_has_its_fate() {
    let (mut bench, old) = bench(|_| {});
    let (reader, writer, quick) = (bench.client(), bench.client(), bench.client());
    bench.say(quick, set("q", "1"));
    bench.say(reader, get("r"));
    bench.say(writer, set("w", "1"));
    bench.asked(old);
    bench.move_to("b:2");
    assert!(!bench.is_closed(Conn::Backend(old)));
    // What comes now goes to the new one alone.
    let late = bench.client();
    bench.say(late, set("l", "1"));
    let new = bench.greet_as(MASTER);
    assert_eq!((bench.asked(old).as_str(), bench.asked(new)), ("", set("l", "1")));
    bench.answer(old, "+OK\r\n");
    assert_eq!(bench.told(quick), "+OK\r\n", "it was run, and says so");
    bench.pass(GRACE_MS - 1);
    assert!(!bench.is_closed(Conn::Backend(old)));
    bench.pass(1);
    assert!(bench.is_closed(Conn::Backend(old)));
    assert_eq!(bench.asked(new), get("r"), "a read is asked once more");
    assert_eq!(bench.told(writer), MAY_HAVE, "and a write is not");
    bench.answer(new, "+OK\r\n".to_owned() + &bulk("2"));
    assert_eq!((bench.told(late), bench.told(reader)), ("+OK\r\n".to_owned(), bulk("2")));
    bench.assert_nothing_is_left();
}

#[test]
fn one_that_owes_nothing_is_closed_at_once_and_so_is_one_that_has_all_answered() {
    let (mut bench, old) = bench(|_| {});
    bench.move_to("b:2");
    assert!(bench.is_closed(Conn::Backend(old)));
    let second = bench.greet_as(MASTER);
    let client = bench.client();
    bench.say(client, get("a"));
    bench.move_to("c:3");
    bench.answer(second, bulk("1"));
    assert_eq!((bench.told(client), bench.is_closed(Conn::Backend(second))), (bulk("1"), true));
    assert_eq!(bench.connects.len(), 1);
    assert!(bench.lines.is_empty(), "the watch has told the log: {:?}", bench.lines);
}

#[test]
fn what_was_not_sent_goes_over_once_however_many_connections_there_were() {
    let (mut bench, first) = bench(|settings| settings.limits.pipeline_max = 1);
    let clients: Vec<Id> = (0..4).map(|_| bench.client()).collect();
    bench.set_room(Conn::Backend(first), 0);
    for &client in &clients {
        bench.say(client, set("a", "1"));
    }
    // The others are on their way.
    assert_eq!(bench.connects.len(), 3);
    bench.connects.clear();
    bench.move_to("b:2");
    assert!(bench.is_closed(Conn::Backend(first)));
    for _ in 0..4 {
        let backend = bench.greet_as(MASTER);
        assert_eq!(bench.asked(backend), set("a", "1"));
        bench.answer(backend, "+OK\r\n");
    }
    assert!(clients.iter().all(|&client| bench.told(client) == "+OK\r\n"));
    bench.assert_nothing_is_left();
}

#[test]
fn with_one_connection_at_most_who_comes_waits_until_the_old_one_has_answered() {
    let (mut bench, old) = bench(|settings| (settings.pool_size, settings.lease_max) = (1, 1));
    let (first, second) = (bench.client(), bench.client());
    bench.say(first, set("a", "1"));
    bench.move_to("b:2");
    bench.say(second, set("b", "1"));
    bench.answer(old, "+OK\r\n");
    assert_eq!(bench.told(first), "+OK\r\n");
    let new = bench.greet_as(MASTER);
    assert_eq!(bench.asked(new), set("b", "1"));
}

#[test]
fn a_client_that_watches_keys_or_blocks_is_told_at_once() {
    let (mut bench, _) = bench(|_| {});
    let (watcher, blocked) = (bench.client(), bench.client());
    bench.say(watcher, request(&["WATCH", "a"]));
    bench.say(blocked, request(&["BLPOP", "l", "0"]));
    while !bench.connects.is_empty() {
        bench.greet_as(MASTER);
    }
    let held: Vec<Id> = bench.proxy.upstreams.backends().filter(|(_, it)| it.is_held()).map(|(id, _)| id).collect();
    assert_eq!(held.len(), 2);
    for &id in &held {
        if bench.asked(id).contains("WATCH") {
            bench.answer(id, "+OK\r\n");
        }
    }
    assert_eq!(bench.told(watcher), "+OK\r\n");
    bench.move_to("b:2");
    assert!(held.iter().all(|&id| bench.is_closed(Conn::Backend(id))));
    assert_eq!(bench.told(blocked), MAY_HAVE);
    bench.say(watcher, request(&["MULTI"]) + &set("a", "1") + &request(&["EXEC"]));
    let told = bench.told(watcher);
    assert!(told.contains("-ERR") || told.contains("-EXECABORT") || told.contains("*-1"), "{told:?}");
    assert!(!told.contains("+OK\r\n+QUEUED\r\n*1"), "{told:?}");
}

#[test]
fn subscriptions_are_made_anew_at_the_new_one() {
    let (mut bench, _) = bench(|_| {});
    let client = bench.client();
    bench.say(client, request(&["SUBSCRIBE", "c"]));
    let hearing = bench.greet_as(MASTER);
    bench.answer(hearing, "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    bench.told(client);
    bench.pass(2_000);
    bench.move_to("b:2");
    assert!(bench.is_closed(Conn::Backend(hearing)));
    let all: Vec<Id> = (0..2).map(|_| bench.greet_as(MASTER)).collect();
    let asked: Vec<String> = all.iter().map(|&id| bench.asked(id)).collect();
    assert!(asked.contains(&request(&["subscribe", "c"])), "{asked:?}");
}

#[test]
fn who_is_no_master_gets_no_request_and_what_waits_for_it_goes_to_the_one_who_is() {
    let (mut bench, old) = bench(|_| {});
    // The old one was made a replica, and its clients were killed.
    bench.proxy.handle_backend_end(old, bench.now);
    bench.turn();
    assert_eq!(bench.resolves, [server(0)], "its sentinels are asked");
    let client = bench.client();
    bench.say(client, set("a", "1"));
    let refused = bench.greet_as(SLAVE);
    assert!(bench.is_closed(Conn::Backend(refused)) && bench.asked(refused).is_empty());
    assert_eq!((bench.resolves.len(), bench.proxy.is_master_lost(server(0))), (2, true));
    assert_eq!(
        bench.lines,
        ["WARN server server-0: it is no master: it follows 10.0.0.9:6379; its sentinels are asked"]
    );
    assert!(bench.connects.is_empty(), "nobody tries again there at once");
    bench.pass(100);
    assert!(bench.connects.is_empty() && bench.told(client).is_empty());
    bench.move_to("b:2");
    let new = bench.greet_as(MASTER);
    assert_eq!(bench.asked(new), set("a", "1"));
    bench.answer(new, "+OK\r\n");
    assert_eq!(bench.told(client), "+OK\r\n");
    assert!(!bench.proxy.is_master_lost(server(0)));
    bench.assert_nothing_is_left();
}

#[test]
fn who_is_no_master_is_tried_again_and_what_waits_does_not_wait_for_ever() {
    let (mut bench, old) = bench(|_| {});
    bench.proxy.handle_backend_end(old, bench.now);
    let client = bench.client();
    bench.say(client, set("a", "1"));
    let mut tries = 0;
    let start = bench.now;
    let mut told = String::new();
    while told.is_empty() {
        if !bench.connects.is_empty() {
            bench.greet_as(SLAVE);
            tries += 1;
        }
        bench.pass(10);
        told = bench.told(client);
        assert!(bench.now - start < 2_000, "it waits for ever");
    }
    assert_eq!((told.as_str(), tries), ("-ERR Connection down\r\n", 3));
    // It is a master again, as after a mistake of somebody.
    bench.until_connect();
    bench.greet_as(MASTER);
    bench.say(client, get("a"));
    assert!(bench.told(client).is_empty());
}

#[test]
fn a_user_who_may_not_ask_for_the_role_is_served_and_that_is_told_once() {
    let mut bench = Bench::new(1, masters);
    bench.move_to("a:1");
    bench.greet_as("-NOPERM User x has no permissions to run the 'role' command\r\n");
    let client = bench.client();
    bench.say(client, get("a"));
    assert_eq!(bench.lines.len(), 1, "{:?}", bench.lines);
    assert!(bench.lines[0].contains("it does not say whether it is a master (-NOPERM"), "{:?}", bench.lines);
    bench.move_to("b:2");
    bench.greet_as("-NOPERM User x has no permissions to run the 'role' command\r\n");
    assert_eq!(bench.lines.len(), 1);
}

#[test]
fn the_same_address_said_again_changes_nothing() {
    let (mut bench, old) = bench(|_| {});
    bench.move_to("a:1");
    assert!(!bench.is_closed(Conn::Backend(old)) && bench.connects.is_empty());
    // Nor does what is said of a server that is no more.
    bench.proxy.handle_moved(server(0).successor(), "b:2", bench.now);
    bench.proxy.handle_moved(server(7), "b:2", bench.now);
    bench.turn();
    assert!(!bench.is_closed(Conn::Backend(old)));
}

#[test]
fn a_server_with_an_address_is_not_asked_for_its_role() {
    let mut bench = Bench::new(2, |settings| settings.masters = vec!["server-1".to_owned()]);
    let backend = bench.next_connect(0);
    bench.proxy.handle_connected(backend, bench.now);
    bench.turn();
    assert!(!bench.asked(backend).contains("ROLE"));
    bench.answer(backend, "*0\r\n+PONG\r\n");
    bench.proxy.handle_moved(server(0), "b:2", bench.now);
    bench.turn();
    assert!(!bench.is_closed(Conn::Backend(backend)));
}
