//! What stands on a connection of its client's own, and meets a slot that has moved.

use super::cluster::{address, halves, key_in};
use super::*;
use crate::cluster::slot_of;

const ASKING: &str = "*1\r\n$6\r\nASKING\r\n";
const TRYAGAIN: &str = "-TRYAGAIN Multiple keys request during rehashing of slot\r\n";
const DOWN: &str = "-CLUSTERDOWN The cluster is down\r\n";
const UNBLOCKED: &str =
    "-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)\r\n";

fn moved(key: &str, node: u16) -> String {
    format!("-MOVED {} {}\r\n", slot_of(key.as_bytes()), address(node))
}

fn ask(key: &str, node: u16) -> String {
    format!("-ASK {} {}\r\n", slot_of(key.as_bytes()), address(node))
}

fn blpop(key: &str, timeout: &str) -> String {
    request(&["BLPOP", key, timeout])
}

fn element(key: &str) -> String {
    format!("*2\r\n{}{}", bulk(key), bulk("x"))
}

impl Bench {
    /// All connections that the proxy waits for are made.
    pub(super) fn connect_all(&mut self) -> Vec<Id> {
        let servers: Vec<u16> = self.connects.iter().map(|connect| connect.1).collect();
        servers.into_iter().map(|server| self.connect(server)).collect()
    }

    /// Which connection was asked this; nobody else was asked anything.
    pub(super) fn who_was_asked(&mut self, expected: &str) -> Option<Id> {
        self.connect_all();
        let asked: Vec<Id> = self
            .net
            .written
            .keys()
            .filter_map(|conn| match conn {
                Conn::Backend(id) => Some(*id),
                Conn::Client(_) => None,
            })
            .collect();
        let all: Vec<(Id, String)> = asked.into_iter().map(|id| (id, self.asked(id))).collect();
        let mut all: Vec<(Id, String)> = all.into_iter().filter(|(_, asked)| !asked.is_empty()).collect();
        assert!(all.len() <= 1, "{all:?}");
        let (id, asked) = all.pop()?;
        assert_eq!(asked, expected);
        Some(id)
    }

    /// Lets time pass until somebody is asked this.
    pub(super) fn asked_in_time(&mut self, expected: &str, within_ms: u64) -> Id {
        let start = self.now;
        loop {
            if let Some(id) = self.who_was_asked(expected) {
                return id;
            }
            self.pass(1);
            assert!(self.now - start <= within_ms, "nobody is asked {expected:?}");
        }
    }

    pub(super) fn server_of(&self, backend: Id) -> usize {
        self.proxy.upstreams.backend(backend).expect("it is open").server().index()
    }

    pub(super) fn is_shared(&self, backend: Id) -> bool {
        self.proxy.upstreams.backend(backend).is_some_and(|entry| entry.is_shared())
    }
}

/// A client that waits for data of this key, and where it does.
fn blocked(bench: &mut Bench, key: &str, timeout: &str) -> (Id, Id) {
    let client = bench.client();
    bench.say(client, blpop(key, timeout));
    let leased = bench.asked_in_time(&blpop(key, timeout), 0);
    assert_eq!(bench.server_of(leased), 0);
    (client, leased)
}

#[test]
fn who_waits_for_data_of_a_slot_that_has_moved_waits_at_its_new_owner() {
    let (mut bench, _) = halves(|_| {});
    let key = key_in(0, 0);
    let (client, leased) = blocked(&mut bench, &key, "0");
    bench.answer(leased, moved(&key, 1));
    bench.turn();
    assert!(bench.is_shared(leased), "it is clean");
    let there = bench.asked_in_time(&blpop(&key, "0"), 0);
    assert_eq!((bench.server_of(there), bench.told(client)), (1, String::new()));
    assert_eq!(bench.refreshes, [RefreshCause::Moved]);
    bench.answer(there, element(&key));
    assert_eq!(bench.told(client), element(&key));
    assert!(bench.is_shared(there) && bench.proxy.relocations.is_empty());
    bench.say(client, get(&key));
    assert_eq!(
        bench.server_of(
            bench
                .net
                .order
                .iter()
                .rev()
                .find_map(|conn| match conn {
                    Conn::Backend(id) => Some(*id),
                    Conn::Client(_) => None,
                })
                .expect("somebody")
        ),
        1,
        "the slot is known there"
    );
}

#[test]
fn who_waits_is_asked_for_with_asking_before_it() {
    let (mut bench, _) = halves(|_| {});
    let key = key_in(0, 0);
    let (client, leased) = blocked(&mut bench, &key, "0");
    bench.answer(leased, ask(&key, 1));
    bench.turn();
    let there = bench.asked_in_time(&[ASKING, &blpop(&key, "0")].concat(), 0);
    assert_eq!((bench.server_of(there), bench.refreshes.len()), (1, 0));
    // It does not import the slot any more.
    bench.answer(there, "+OK\r\n".to_string() + &moved(&key, 0));
    bench.turn();
    let back = bench.asked_in_time(&blpop(&key, "0"), 0);
    assert_eq!(bench.server_of(back), 0);
    bench.answer(back, element(&key));
    assert_eq!(bench.told(client), element(&key));
    bench.assert_nothing_is_left();
}

#[test]
fn a_node_that_nobody_knows_yet_is_waited_at() {
    let (mut bench, _) = halves(|_| {});
    let key = key_in(0, 0);
    let (client, leased) = blocked(&mut bench, &key, "0");
    bench.answer(leased, moved(&key, 9));
    bench.turn();
    let there = bench.asked_in_time(&blpop(&key, "0"), 10);
    assert_eq!(bench.server_of(there), 2);
    bench.answer(there, ask(&key, 8));
    bench.turn();
    let there = bench.asked_in_time(&[ASKING, &blpop(&key, "0")].concat(), 10);
    assert_eq!(bench.server_of(there), 3);
    bench.answer(there, "+OK\r\n".to_string() + &element(&key));
    assert_eq!(bench.told(client), element(&key));
    bench.assert_nothing_is_left();
}

#[test]
fn who_has_waited_for_a_while_waits_for_the_rest_of_its_time() {
    let (mut bench, _) = halves(|_| {});
    let key = key_in(0, 0);
    let (client, leased) = blocked(&mut bench, &key, "10");
    bench.pass(4_000);
    bench.answer(leased, moved(&key, 1));
    bench.turn();
    let there = bench.asked_in_time(&blpop(&key, "6.000"), 0);
    bench.pass(1_500);
    bench.answer(there, moved(&key, 0));
    bench.turn();
    let back = bench.asked_in_time(&blpop(&key, "4.500"), 0);
    bench.answer(back, "*-1\r\n");
    assert_eq!(bench.told(client), "*-1\r\n");
    bench.assert_nothing_is_left();
}

#[test]
fn a_timeout_is_written_where_the_command_has_it() {
    let (mut bench, _) = halves(|_| {});
    let key = key_in(0, 0);
    let tagged = format!("{{{key}}}b");
    let cases: [(Vec<&str>, Vec<&str>); 5] = [
        (vec!["BRPOP", &key, &tagged, "2.5"], vec!["BRPOP", &key, &tagged, "2.000"]),
        (vec!["BLMOVE", &key, &tagged, "LEFT", "RIGHT", "2"], vec!["BLMOVE", &key, &tagged, "LEFT", "RIGHT", "1.500"]),
        (vec!["BLMPOP", "1", "1", &key, "LEFT"], vec!["BLMPOP", "0.500", "1", &key, "LEFT"]),
        (vec!["XREAD", "BLOCK", "750", "STREAMS", &key, "$"], vec!["XREAD", "BLOCK", "250", "STREAMS", &key, "$"]),
        (
            vec!["XREADGROUP", "GROUP", "g", "c", "COUNT", "1", "BLOCK", "0", "STREAMS", &key, ">"],
            vec!["XREADGROUP", "GROUP", "g", "c", "COUNT", "1", "BLOCK", "0", "STREAMS", &key, ">"],
        ),
    ];
    for (asked, again) in cases {
        let client = bench.client();
        bench.tell(&[(0, 0, 8191), (1, 8192, 16383)]);
        bench.say(client, request(&asked));
        let leased = bench.asked_in_time(&request(&asked), 0);
        bench.pass(500);
        bench.answer(leased, moved(&key, 1));
        bench.turn();
        let there = bench.asked_in_time(&request(&again), 0);
        bench.answer(there, "*-1\r\n");
        assert_eq!(bench.told(client), "*-1\r\n");
    }
    bench.assert_nothing_is_left();
}

#[test]
fn whose_time_is_over_meanwhile_is_told_that_there_is_nothing() {
    for (hello, null) in [("", "*-1\r\n"), ("HELLO 3\r\n", "_\r\n")] {
        let (mut bench, _) = halves(|_| {});
        let key = key_in(0, 0);
        let client = bench.client();
        bench.say(client, hello);
        bench.told(client);
        bench.say(client, blpop(&key, "1"));
        let leased = bench.asked_in_time(&blpop(&key, "1"), 0);
        bench.pass(999);
        bench.answer(leased, DOWN);
        bench.pass(150);
        assert_eq!(bench.told(client), null);
        bench.say(client, get(&key));
        assert!(bench.who_was_asked(&get(&key)).is_some(), "it is read again");
    }
}

#[test]
fn who_waits_at_a_master_that_became_a_replica_waits_at_the_next_one() {
    let (mut bench, _) = halves(|_| {});
    let key = key_in(0, 0);
    let (client, leased) = blocked(&mut bench, &key, "0");
    bench.answer(leased, UNBLOCKED);
    assert!(bench.is_closed(Conn::Backend(leased)), "its server closes it");
    assert_eq!(bench.refreshes, [RefreshCause::Down]);
    // It knows who is its master.
    let back = bench.asked_in_time(&blpop(&key, "0"), 100);
    bench.answer(back, moved(&key, 1));
    bench.turn();
    let there = bench.asked_in_time(&blpop(&key, "0"), 0);
    assert_eq!(bench.server_of(there), 1);
    bench.answer(there, element(&key));
    assert_eq!(bench.told(client), element(&key));
    bench.assert_nothing_is_left();
}

#[test]
fn who_is_sent_on_and_on_is_told_so_in_the_end() {
    for refusal in [TRYAGAIN, DOWN] {
        let (mut bench, _) = halves(|_| {});
        let key = key_in(0, 0);
        let (client, mut leased) = blocked(&mut bench, &key, "0");
        for _ in 0..16 {
            bench.answer(leased, refusal);
            assert_eq!(bench.told(client), "");
            leased = bench.asked_in_time(&blpop(&key, "0"), 100);
        }
        bench.answer(leased, refusal);
        assert_eq!(bench.told(client), refusal);
        bench.say(client, get(&key));
        let at = bench.who_was_asked(&get(&key)).expect("it is read again");
        bench.answer(at, bulk("v"));
        bench.assert_nothing_is_left();
    }
}

#[test]
fn who_has_waited_for_long_in_between_has_all_tries_again() {
    let (mut bench, _) = halves(|_| {});
    let key = key_in(0, 0);
    let (client, mut leased) = blocked(&mut bench, &key, "0");
    for round in 0..40_u16 {
        bench.pass(2_000);
        bench.answer(leased, moved(&key, (round + 1) % 2));
        bench.turn();
        leased = bench.asked_in_time(&blpop(&key, "0"), 10);
    }
    bench.answer(leased, element(&key));
    assert_eq!(bench.told(client), element(&key));
}

#[test]
fn a_slot_without_a_node_is_waited_for_as_often_as_it_is_tried() {
    let (mut bench, _) = halves(|_| {});
    let key = key_in(0, 0);
    let (client, leased) = blocked(&mut bench, &key, "0");
    bench.tell(&[(1, 8192, 16383), (0, 0, 0)]);
    bench.answer(leased, DOWN);
    bench.pass(200);
    assert_eq!(bench.told(client), "");
    bench.tell(&[(0, 0, 0), (1, 1, 16383)]);
    let there = bench.asked_in_time(&blpop(&key, "0"), 100);
    assert_eq!(bench.server_of(there), 1);
    bench.tell(&[(1, 8192, 16383), (0, 0, 0)]);
    bench.answer(there, DOWN);
    for _ in 0..100 {
        bench.pass(20);
    }
    assert_eq!(bench.told(client), DOWN);
    bench.assert_nothing_is_left();
}

#[test]
fn who_leaves_in_whatever_state_leaves_nothing_behind() {
    for state in 0..4 {
        for is_hangup in [false, true] {
            let (mut bench, _) = halves(|settings| {
                settings.pool_size = 2;
                settings.lease_max = 1;
            });
            let key = key_in(0, 0);
            let (client, leased) = blocked(&mut bench, &key, "0");
            let mut there = None;
            let other = bench.client();
            if state == 2 {
                // The only connection that can be had there is another's.
                let elsewhere = key_in(1, 0);
                bench.say(other, blpop(&elsewhere, "0"));
                bench.asked_in_time(&blpop(&elsewhere, "0"), 0);
            }
            match state {
                // It pauses.
                0 => bench.answer(leased, TRYAGAIN),
                // It is to be asked again in this turn.
                1 => bench.hear_server(leased, moved(&key, 1)),
                // It waits for a connection.
                2 => {
                    bench.answer(leased, moved(&key, 1));
                    bench.turn();
                    assert!(bench.who_was_asked("").is_none());
                }
                // It waits elsewhere.
                _ => {
                    bench.answer(leased, moved(&key, 1));
                    bench.turn();
                    there = Some(bench.asked_in_time(&blpop(&key, "0"), 0));
                }
            }
            match is_hangup {
                true => bench.proxy.handle_client_hangup(client),
                false => bench.proxy.handle_client_broken(client),
            }
            bench.proxy.handle_follow_ups(bench.now);
            bench.turn();
            bench.pass(600);
            assert!(bench.is_closed(Conn::Client(client)), "state {state}");
            assert!(there.is_none_or(|there| bench.is_closed(Conn::Backend(there))), "it would take an element");
            assert!(bench.who_was_asked("").is_none(), "state {state}");
            assert!(bench.proxy.relocations.is_empty());
            bench.proxy.handle_client_broken(other);
            bench.turn();
            bench.assert_nothing_is_left();
        }
    }
}

#[test]
fn what_is_sent_behind_it_comes_behind_it() {
    let (mut bench, backends) = halves(|_| {});
    let [key, elsewhere] = [key_in(0, 0), key_in(1, 0)];
    let client = bench.client();
    bench.say(client, get(&elsewhere) + &blpop(&key, "0") + &set(&key, "1"));
    assert_eq!(bench.who_was_asked(&get(&elsewhere)), Some(backends[1]));
    // If that is refused, it goes elsewhere when nothing of its client is in flight: never, behind what blocks.
    bench.answer(backends[1], TRYAGAIN);
    let again = bench.asked_in_time(&get(&elsewhere), 50);
    bench.answer(again, bulk("v"));
    let leased = bench.asked_in_time(&blpop(&key, "0"), 0);
    bench.answer(leased, TRYAGAIN);
    bench.say(client, get(&key));
    let back = bench.asked_in_time(&blpop(&key, "0"), 50);
    bench.answer(back, element(&key));
    let behind = bench.who_was_asked(&(set(&key, "1") + &get(&key))).expect("somebody is asked");
    bench.answer(behind, "+OK\r\n".to_string() + &bulk("1"));
    assert_eq!(bench.told(client), bulk("v") + &element(&key) + "+OK\r\n" + &bulk("1"));
    bench.assert_nothing_is_left();
}

#[test]
fn a_connection_is_waited_for_longer_than_others_wait() {
    let (mut bench, _) = halves(|settings| {
        settings.pool_size = 2;
        settings.lease_max = 1;
    });
    let [key, elsewhere] = [key_in(0, 0), key_in(1, 0)];
    let other = bench.client();
    bench.say(other, blpop(&elsewhere, "0"));
    let held = bench.asked_in_time(&blpop(&elsewhere, "0"), 0);
    let (client, leased) = blocked(&mut bench, &key, "30");
    bench.answer(leased, moved(&key, 1));
    for _ in 0..20 {
        bench.pass(200);
    }
    assert_eq!(bench.told(client), "");
    bench.answer(held, element(&elsewhere));
    let there = bench.asked_in_time(&blpop(&key, "26.000"), 0);
    bench.answer(there, element(&key));
    assert_eq!(bench.told(client), element(&key));
    bench.say(other, blpop(&elsewhere, "0"));
    bench.asked_in_time(&blpop(&elsewhere, "0"), 0);
    let (client, leased) = blocked(&mut bench, &key_in(0, 3), "1");
    bench.answer(leased, moved(&key_in(0, 3), 1));
    for _ in 0..20 {
        bench.pass(100);
    }
    assert_eq!(bench.told(client), "*-1\r\n");
}

#[test]
fn what_is_about_its_connection_is_told_what_the_node_says() {
    let (mut bench, backends) = halves(|_| {});
    let key = key_in(0, 0);
    let client = bench.client();
    bench.say(client, set(&key, "v"));
    bench.answer(backends[0], "+OK\r\n");
    bench.say(client, request(&["WAIT", "1", "0"]));
    bench.answer(backends[0], UNBLOCKED);
    assert_eq!(bench.told(client), "+OK\r\n".to_string() + UNBLOCKED);
    bench.assert_nothing_is_left();
}

#[test]
fn of_many_who_wait_for_one_slot_a_part_asks_again_in_each_turn() {
    let count = 300;
    let (mut bench, _) = halves(|settings| {
        settings.pool_size = count + 1;
        settings.lease_max = count;
    });
    let key = key_in(0, 0);
    let clients: Vec<Id> = (0..count).map(|_| bench.client()).collect();
    for &client in &clients {
        bench.hear(client, blpop(&key, "0"));
    }
    bench.turn();
    bench.connect_all();
    let all: Vec<Id> = bench.proxy.upstreams.backends().map(|(id, _)| id).collect();
    let leased: Vec<Id> = all.into_iter().filter(|&id| bench.asked(id) == blpop(&key, "0")).collect();
    assert_eq!(leased.len(), count);
    for backend in leased {
        bench.hear_server(backend, moved(&key, 1));
    }
    bench.turn();
    assert_eq!(bench.connects.len(), 256);
    bench.pass(1);
    assert_eq!(bench.connects.len(), count);
    for client in clients {
        bench.proxy.handle_client_broken(client);
    }
    bench.turn();
    assert!(bench.proxy.relocations.is_empty());
    bench.assert_nothing_is_left();
}
