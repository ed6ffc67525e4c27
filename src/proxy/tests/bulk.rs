//! Clients that write much before they read, or take less than comes, and those beside and behind them.

use super::*;

/// Redis on all connections, with the same reply to every request.
pub(super) struct Servers {
    pub(super) backends: Vec<Id>,
    owed: HashMap<Id, usize>,
    reply: String,
}

impl Servers {
    pub(super) fn new(backends: Vec<Id>, reply: String) -> Servers {
        Servers { backends, owed: HashMap::new(), reply }
    }

    /// Answers what is asked on the connections that are read, until nothing more happens. Returns how many requests.
    pub(super) fn serve(&mut self, bench: &mut Bench) -> usize {
        let mut count = 0;
        loop {
            let mut is_news = false;
            while let Some(&(_, server)) = bench.connects.first() {
                self.backends.push(bench.connect(server));
            }
            for &backend in &self.backends {
                let asked = bench.asked(backend);
                let owed = self.owed.entry(backend).or_default();
                *owed += asked.matches("*2\r\n").count() + asked.matches("*3\r\n").count();
                let conn = Conn::Backend(backend);
                let now = (*owed).min((60_000 / self.reply.len()).max(1));
                if now > 0 && bench.proxy.is_listening_to(conn) && !bench.is_closed(conn) {
                    *owed -= now;
                    bench.answer(backend, self.reply.repeat(now));
                    count += now;
                    is_news = true;
                }
            }
            if !is_news {
                return count;
            }
        }
    }
}

/// Writes all of a pipeline as fast as it is taken, and reads nothing. Returns what was not taken.
pub(super) fn write_all<'a>(bench: &mut Bench, client: Id, servers: &mut Servers, mut bytes: &'a str) -> &'a str {
    loop {
        let mut has_taken = false;
        while !bytes.is_empty() && bench.proxy.is_listening_to(Conn::Client(client)) {
            let (piece, rest) = bytes.split_at(bytes.len().min(50_000));
            bench.say(client, piece);
            bytes = rest;
            has_taken = true;
        }
        if servers.serve(bench) == 0 && !has_taken {
            return bytes;
        }
    }
}

#[test]
fn a_pipeline_that_is_written_before_it_is_read_is_taken_whole_and_kept_by_the_servers() {
    for count in [1, 3] {
        let (mut bench, backends) = Bench::ready(count, |settings| {
            settings.limits.client_outstanding_max = 500;
            settings.limits.client_unread_pause_bytes = 20_000;
        });
        let reply = bulk("0123456789");
        let mut servers = Servers::new(backends, reply.clone());
        let client = bench.client();
        bench.set_room(Conn::Client(client), 0);
        let requests: String = (0..20_000).map(|number| get(&format!("k{number}"))).collect();
        let rest = write_all(&mut bench, client, &mut servers, &requests);
        assert_eq!(rest.len(), 0, "{count} servers");
        let held = bench.proxy.in_flight.arena.bytes();
        assert!(held < 300_000, "{count} servers: {held} bytes are held");
        // And then it reads.
        bench.net.room.remove(&Conn::Client(client));
        bench.proxy.handle_writable(Conn::Client(client));
        bench.turn();
        let mut told = bench.told(client).len();
        while servers.serve(&mut bench) > 0 {
            told += bench.told(client).len();
        }
        assert_eq!(told, 20_000 * reply.len(), "{count} servers");
        assert!(!bench.is_closed(Conn::Client(client)));
        bench.assert_nothing_is_left();
    }
}

#[test]
fn nobody_stands_behind_a_pipeline_that_is_deep() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let (deep, other) = (bench.client(), bench.client());
    bench.say(other, get("before"));
    let requests: String = (0..300).map(|number| get(&format!("k{number}"))).collect();
    bench.say(deep, &requests);
    assert_eq!(bench.asked(backends[0]), get("before") + &requests);
    bench.say(other, "");
    let late = bench.client();
    bench.say(late, set("behind", "x"));
    let second = bench.connect(0);
    assert_eq!(bench.asked(second), set("behind", "x"));
    // Who was there before is answered there.
    bench.answer(backends[0], bulk("b"));
    assert_eq!(bench.told(other), bulk("b"));
    bench.answer(backends[0], bulk("x").repeat(300));
    assert_eq!(bench.told(deep), bulk("x").repeat(300));
    // And what is owed nothing more is everybody's.
    bench.say(deep, get("again"));
    assert_eq!(bench.asked(backends[0]), get("again"));
    bench.say(late, get("again"));
    assert_eq!(bench.asked(second), "".to_string() + &get("again"));
}

#[test]
fn large_replies_to_one_who_takes_them_steadily_never_end_its_connection() {
    for count in [1, 3] {
        let (mut bench, backends) = Bench::ready(count, |settings| {
            settings.limits.client_unread_pause_bytes = 100_000;
            settings.limits.client_unread_bytes_max = 400_000;
        });
        let (client, other) = (bench.client(), bench.client());
        let requests: String = (0..40).map(|number| get(&format!("k{number}"))).collect();
        let reply = bulk(&"v".repeat(30_000));
        let mut servers = Servers::new(backends, reply.clone());
        bench.set_room(Conn::Client(client), 10_000);
        bench.say(client, &requests);
        bench.say(other, set("k0", "x"));
        let mut told = 0;
        let mut others = String::new();
        for _ in 0..400 {
            servers.serve(&mut bench);
            others += &bench.told(other);
            let taken = bench.told(client).len();
            told += taken;
            bench.make_room(Conn::Client(client), 10_000);
        }
        assert!(!bench.is_closed(Conn::Client(client)));
        assert_eq!(told, 40 * reply.len(), "{count} servers");
        assert!(!others.is_empty());
    }
}

#[test]
fn one_that_may_have_no_connection_of_its_own_and_reads_nothing_is_told_and_leaves() {
    let (mut bench, backends) = Bench::ready(1, |settings| {
        settings.lease_max = 0;
        settings.limits.client_outstanding_max = 100;
        settings.limits.client_unread_pause_bytes = 2_000;
        settings.timeouts.remote_connect_ms = 300;
    });
    let client = bench.client();
    bench.set_room(Conn::Client(client), 0);
    let requests: String = (0..5_000).map(|number| get(&format!("k{number}"))).collect();
    let mut servers = Servers::new(backends, bulk("0123456789"));
    let rest = write_all(&mut bench, client, &mut servers, &requests);
    assert!(!rest.is_empty());
    bench.pass(299);
    assert!(!bench.proxy.is_listening_to(Conn::Client(client)));
    bench.pass(1);
    // It comes to the end of its writing, and so to its reading.
    let rest = write_all(&mut bench, client, &mut servers, rest);
    assert_eq!(rest, "");
    bench.make_room(Conn::Client(client), usize::MAX - 1);
    let told = bench.told(client);
    let end = "-ERR No connection became free within 300 ms for so many requests at a time\r\n";
    assert!(told.ends_with(end), "{}", &told[told.len().saturating_sub(200)..]);
    assert!(bench.is_closed(Conn::Client(client)));
    bench.assert_nothing_is_left();
}

#[test]
fn one_that_may_have_no_connection_of_its_own_but_reads_is_served_as_fast_as_it_reads() {
    let (mut bench, backends) = Bench::ready(1, |settings| {
        settings.lease_max = 0;
        settings.limits.client_outstanding_max = 100;
        settings.limits.client_unread_pause_bytes = 2_000;
    });
    let client = bench.client();
    let requests: String = (0..5_000).map(|number| get(&format!("k{number}"))).collect();
    let mut servers = Servers::new(backends, bulk("0123456789"));
    let mut rest = requests.as_str();
    let mut told = 0;
    bench.set_room(Conn::Client(client), 1_000);
    while told < 5_000 * bulk("0123456789").len() {
        rest = write_all(&mut bench, client, &mut servers, rest);
        bench.pass(400);
        bench.make_room(Conn::Client(client), 1_000);
        told += bench.told(client).len();
        assert!(!bench.is_closed(Conn::Client(client)));
    }
}

#[test]
fn a_transaction_of_many_steps_may_be_written_before_it_is_read() {
    let (mut bench, mut backends) = Bench::ready(1, |settings| {
        settings.limits.client_outstanding_max = 100;
        settings.limits.client_unread_pause_bytes = 2_000;
        settings.limits.pipeline_max = 200;
    });
    let client = bench.client();
    bench.set_room(Conn::Client(client), 0);
    let steps: String = (0..5_000).map(|number| set("k", &format!("{number}"))).collect();
    let requests = request(&["MULTI"]) + &steps;
    let mut owed = 0;
    let mut rest = requests.as_str();
    let leased = loop {
        while !rest.is_empty() && bench.proxy.is_listening_to(Conn::Client(client)) {
            let (piece, behind) = rest.split_at(rest.len().min(40_000));
            bench.say(client, piece);
            rest = behind;
        }
        while !bench.connects.is_empty() {
            backends.push(bench.connect(0));
        }
        let last = *backends.last().expect("there is one");
        let asked = bench.asked(last);
        owed += asked.matches("*3\r\n").count();
        if asked.contains("MULTI") {
            bench.answer(last, "+OK\r\n");
        }
        if rest.is_empty() && asked.is_empty() {
            break last;
        }
        if bench.proxy.is_listening_to(Conn::Backend(last)) {
            bench.answer(last, "+QUEUED\r\n".repeat(owed));
            owed = 0;
        }
    };
    bench.make_room(Conn::Client(client), usize::MAX - 1);
    bench.answer(leased, "+QUEUED\r\n".repeat(owed));
    bench.make_room(Conn::Client(client), usize::MAX - 1);
    assert_eq!(bench.told(client), "+OK\r\n".to_string() + &"+QUEUED\r\n".repeat(5_000));
    bench.say(client, request(&["EXEC"]));
    bench.answer(leased, "*0\r\n");
    assert_eq!(bench.told(client), "*0\r\n");
    bench.assert_nothing_is_left();
}

#[test]
fn what_a_client_in_bulk_leaves_behind_is_dropped_and_costs_nobody_anything() {
    let (mut bench, backends) = Bench::ready(1, |settings| settings.limits.client_unread_pause_bytes = 20_000);
    let (client, other) = (bench.client(), bench.client());
    bench.set_room(Conn::Client(client), 0);
    let requests: String = (0..2_000).map(|number| get(&format!("k{number}"))).collect();
    bench.say(client, &requests);
    bench.answer(backends[0], bulk(&"v".repeat(20)).repeat(1_500));
    assert!(!bench.proxy.is_listening_to(Conn::Backend(backends[0])));
    bench.proxy.handle_client_broken(client);
    bench.turn();
    assert!(bench.proxy.is_listening_to(Conn::Backend(backends[0])));
    bench.say(other, get("a"));
    let second = bench.connect(0);
    bench.answer(second, bulk("A"));
    assert_eq!(bench.told(other), bulk("A"));
    bench.answer(backends[0], bulk(&"v".repeat(20)).repeat(500));
    assert!(bench.is_closed(Conn::Backend(backends[0])), "it had nothing to say for anybody");
    bench.assert_nothing_is_left();
}

#[test]
fn a_server_that_says_nothing_more_is_late_however_deep_the_pipeline_and_one_that_speaks_is_not() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    let requests: String = (0..1_000).map(|number| get(&format!("k{number}"))).collect();
    bench.say(client, &requests);
    for _ in 0..10 {
        bench.pass(400);
        bench.answer(backends[0], bulk("x"));
    }
    assert_eq!(bench.told(client), bulk("x").repeat(10));
    bench.pass(499);
    assert_eq!(bench.told(client), "");
    bench.pass(1);
    assert!(bench.told(client).starts_with("-ERR No reply from server-0 within 500 ms"));
}

#[test]
fn everybody_behind_a_large_reply_that_trickles_is_answered_by_its_own_deadline() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let (large, reads, writes) = (bench.client(), bench.client(), bench.client());
    bench.say(large, get("large"));
    bench.say(reads, get("a"));
    bench.say(writes, set("b", "x"));
    let reply = bulk(&"v".repeat(1_000_000));
    let mut pieces = reply.as_bytes().chunks(70_000);
    bench.answer(backends[0], pieces.next().expect("the first"));
    bench.pass(70);
    let second = bench.connect(0);
    assert_eq!(bench.asked(second), get("a"), "a read does not wait");
    bench.answer(second, bulk("A"));
    assert_eq!(bench.told(reads), bulk("A"));
    for _ in 0..4 {
        bench.pass(100);
        bench.answer(backends[0], pieces.next().expect("one more"));
    }
    assert_eq!(bench.told(writes), "");
    bench.pass(30);
    assert!(bench.told(writes).starts_with("-ERR No reply from server-0 within 500 ms"));
    let told = bench.told(large);
    for piece in pieces {
        bench.pass(100);
        bench.answer(backends[0], piece);
    }
    assert_eq!(told + &bench.told(large), reply);
    bench.answer(backends[0], bulk("late") + "+OK\r\n");
    assert_eq!((bench.told(reads), bench.told(writes)), (String::new(), String::new()));
}

#[test]
fn a_client_that_waits_behind_its_own_large_replies_is_not_told_that_they_are_late() {
    let (mut bench, backends) = Bench::ready(1, |settings| settings.lease_max = 0);
    let client = bench.client();
    bench.say(client, get("large").repeat(3));
    let reply = bulk(&"v".repeat(300_000)).repeat(3);
    for piece in reply.as_bytes().chunks(60_000) {
        bench.pass(100);
        bench.answer(backends[0], piece);
    }
    assert_eq!(bench.told(client), reply);
}

#[test]
fn one_that_waits_for_data_and_leaves_takes_no_connection_with_it_on_which_others_wait() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let (other, client) = (bench.client(), bench.client());
    bench.say(other, set("a", "1"));
    bench.say(client, get("b").repeat(300));
    bench.say(client, request(&["BLPOP", "list", "0"]));
    assert_eq!(bench.asked(backends[0]), set("a", "1") + &get("b").repeat(300));
    bench.proxy.handle_client_hangup(client);
    bench.proxy.handle_client_end(client);
    bench.turn();
    bench.answer(backends[0], "+OK\r\n");
    assert_eq!(bench.told(other), "+OK\r\n");
}

#[test]
fn a_connection_that_has_not_begun_is_not_lost_with_the_one_in_bulk_who_had_it() {
    let mut bench = Bench::new(1, |_| {});
    let (other, client) = (bench.client(), bench.client());
    bench.say(other, set("a", "1"));
    bench.say(client, get("b").repeat(300));
    bench.proxy.handle_client_broken(client);
    bench.turn();
    let backend = bench.connect(0);
    assert!(bench.asked(backend).starts_with(&set("a", "1")));
    bench.answer(backend, "+OK\r\n");
    assert_eq!(bench.told(other), "+OK\r\n");
}

#[test]
fn what_is_sent_again_does_not_stand_behind_a_command_that_waits_for_data() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let client = bench.client();
    let (lost, list) = (get(&key_on(&bench, 0)), key_on(&bench, 1));
    bench.say(client, get(&list).repeat(300));
    bench.say(client, lost + &request(&["BLPOP", &list, "0"]));
    bench.answer(backends[1], bulk("x").repeat(300));
    assert_eq!(bench.told(client), bulk("x").repeat(300));
    bench.take_down(backends[0], 0);
    let told = bench.told(client);
    assert!(told.starts_with("-ERR Connection to server-0 lost"), "{told}");
    assert!(bench.asked(backends[1]).ends_with(&request(&["BLPOP", &list, "0"])));
    bench.answer(backends[1], "*0\r\n");
    assert_eq!(bench.told(client), "*0\r\n");
}

#[test]
fn replies_that_were_held_back_while_memory_was_short_come_when_it_is_not() {
    let (mut bench, backends) = Bench::ready(1, |settings| {
        settings.limits.buffered_bytes_max = 150_000;
        settings.limits.client_unread_pause_bytes = 1_000;
    });
    let (slow, large) = (bench.client(), bench.client());
    bench.set_room(Conn::Client(slow), 0);
    bench.say(slow, get("a").repeat(20));
    bench.answer(backends[0], bulk(&"v".repeat(900)).repeat(2));
    assert!(!bench.proxy.is_listening_to(Conn::Backend(backends[0])));
    bench.say(slow, request(&["SELECT", "1"]) + &get("d"));
    assert!(bench.proxy.is_listening_to(Conn::Backend(backends[0])), "it may write before it reads");
    // One more waits with much, and memory is short as long as it does.
    bench.say(large, get("b"));
    let second = bench.connect(0);
    bench.say(large, request(&["SELECT", "1"]) + &get("c").repeat(8_000));
    bench.answer(backends[0], bulk(&"v".repeat(900)));
    assert!(!bench.proxy.is_listening_to(Conn::Backend(backends[0])));
    bench.proxy.handle_client_broken(large);
    bench.turn();
    bench.turn();
    assert!(bench.proxy.is_listening_to(Conn::Backend(backends[0])));
    bench.answer(second, bulk("b"));
}

#[test]
fn what_is_held_back_for_one_who_may_not_have_it_takes_nothing_of_others() {
    let (mut bench, backends) = Bench::ready(1, |settings| {
        settings.lease_max = 0;
        settings.limits.client_unread_pause_bytes = 1_000;
    });
    let (slow, other) = (bench.client(), bench.client());
    bench.set_room(Conn::Client(slow), 0);
    bench.say(slow, get("a").repeat(3));
    bench.answer(backends[0], bulk(&"v".repeat(1_000)));
    assert!(!bench.proxy.is_listening_to(Conn::Backend(backends[0])));
    bench.say(other, get("b"));
    assert!(!bench.asked(backends[0]).contains(&get("b")));
    let second = bench.connect(0);
    assert_eq!(bench.asked(second), get("b"));
}

#[test]
fn a_deep_pipeline_is_in_bulk_whatever_way_its_requests_take() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let (deep, late) = (bench.client(), bench.client());
    bench.say(deep, "GET a\r\n".repeat(300));
    bench.say(late, set("b", "1"));
    assert_eq!(bench.asked(backends[0]), get("a").repeat(300));
    let second = bench.connect(0);
    assert_eq!(bench.asked(second), set("b", "1"));
}

#[test]
fn one_who_has_left_gives_back_no_connection_that_is_somebody_elses_by_now() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let (large, old, new) = (bench.client(), bench.client(), bench.client());
    // The first connection has no room while this comes.
    bench.say(large, get("large"));
    bench.answer(backends[0], &bulk(&"v".repeat(200_000))[..70_000]);
    bench.say(old, request(&["HELLO", "3"]) + &get("a").repeat(300));
    let second = bench.next_connect(0);
    bench.proxy.handle_connected(second, bench.now);
    bench.turn();
    bench.asked(second);
    // All in one turn: it leaves, the server refuses what it wanted, and another one takes the connection in bulk.
    bench.proxy.handle_client_broken(old);
    bench.hear_server(second, "-ERR unknown command 'HELLO'\r\n+PONG\r\n");
    bench.say(new, get("b").repeat(300));
    assert_eq!(bench.asked(second), get("b").repeat(300));
    let late = bench.client();
    bench.say(late, get("c"));
    assert_eq!(bench.asked(second), "", "nobody stands behind a pipeline that is deep");
}

/// Two servers, one connection to each of which may be held; with one request in flight, a client needs one of its own
/// for the next.
fn with_one_to_hold() -> (Bench, Vec<Id>, [String; 2]) {
    let (bench, backends) = Bench::ready(2, |settings| {
        settings.pool_size = 2;
        settings.lease_max = 1;
        settings.limits.client_outstanding_max = 1;
    });
    let keys = [key_on(&bench, 0), key_on(&bench, 1)];
    (bench, backends, keys)
}

#[test]
fn who_needs_no_connection_of_its_own_any_more_does_not_wait_with_those_who_do() {
    let (mut bench, backends, [here, there]) = with_one_to_hold();
    let (holder, next, deep) = (bench.client(), bench.client(), bench.client());
    let watch = request(&["WATCH", &there]);
    bench.say(holder, &watch);
    let held = bench.connect(1);
    assert_eq!(bench.asked(held), watch);
    bench.answer(held, "+OK\r\n");
    bench.say(next, &watch);
    bench.say(deep, get(&here) + &get(&there));
    assert_eq!(bench.asked(backends[0]), get(&here));
    assert_eq!(bench.asked(backends[1]), "", "with the first one in flight it needs one of its own");
    bench.answer(backends[0], bulk("1"));
    assert_eq!(bench.asked(backends[1]), get(&there));
    bench.answer(backends[1], bulk("2"));
    assert_eq!(bench.told(deep), bulk("1") + &bulk("2"));
    // It has taken nobody's turn.
    let unwatch = request(&["UNWATCH"]);
    bench.say(holder, &unwatch);
    bench.answer(held, "+OK\r\n");
    assert_eq!(bench.asked(held), unwatch + &watch);
}

#[test]
fn two_who_watch_keys_do_not_wait_for_each_others_connection() {
    let (mut bench, backends, keys) = with_one_to_hold();
    let watch = [0, 1].map(|server| request(&["WATCH", &keys[server]]));
    let clients = [bench.client(), bench.client()];
    let mut held = Vec::new();
    for server in [0, 1] {
        bench.say(clients[server], &watch[server]);
        held.push(bench.connect(server as u16));
        assert_eq!(bench.asked(held[server]), watch[server]);
    }
    // Others wait for these connections already, who cannot be served before one of the two is.
    let next = [bench.client(), bench.client()];
    for server in [0, 1] {
        bench.say(next[server], &watch[server]);
    }
    for server in [0, 1] {
        bench.say(clients[server], get(&keys[1 - server]));
        assert_eq!(bench.asked(backends[1 - server]), "");
    }
    for server in [0, 1] {
        bench.answer(held[server], "+OK\r\n");
        assert_eq!(bench.asked(backends[1 - server]), get(&keys[1 - server]));
        bench.answer(backends[1 - server], bulk("1"));
        assert_eq!(bench.told(clients[server]), "+OK\r\n".to_string() + &bulk("1"));
    }
}

#[test]
fn who_may_have_more_in_flight_from_now_on_waits_for_no_connection_of_its_own() {
    let (mut bench, backends, [here, there]) = with_one_to_hold();
    let (holder, next, deep) = (bench.client(), bench.client(), bench.client());
    bench.say(holder, request(&["WATCH", &there]));
    bench.connect(1);
    bench.say(next, request(&["WATCH", &there]));
    bench.say(deep, get(&here) + &get(&there));
    assert_eq!(bench.asked(backends[1]), "");
    let mut settings = bench.proxy.settings.clone();
    settings.limits.client_outstanding_max = 2;
    bench.proxy.handle_settings(settings, bench.now);
    bench.turn();
    assert_eq!(bench.asked(backends[1]), get(&there));
}
