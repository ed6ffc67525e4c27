//! A cluster: who has which slot, and what is split, sent and refused by that.

use super::*;
use std::sync::Arc;

use crate::cluster::{Builder, Cause, Databases, Outcome, Shard, SlotMap, slot_of};

/// The address of a node.
pub(super) fn address(node: u16) -> String {
    format!("10.0.0.{node}:6379")
}

/// A map in which these nodes have these slots, each from the first to the last one.
pub(super) fn map_of(parts: &[(u16, u16, u16)]) -> SlotMap {
    let mut builder = Builder::default();
    for &(node, first, last) in parts {
        let shard = Shard { id: format!("node-{node}"), master: address(node), replicas: Vec::new() };
        let number = builder.shard(shard).expect("few nodes");
        builder.give(first, last, number);
    }
    builder.build()
}

/// Two nodes, each with half of the slots and one connection.
pub(super) fn halves(change: impl FnOnce(&mut Settings)) -> (Bench, Vec<Id>) {
    let (mut bench, backends) = Bench::ready(2, |settings| {
        settings.cluster = true;
        settings.servers = vec![address(0), address(1)];
        change(settings);
    });
    bench.tell(&[(0, 0, 8191), (1, 8192, 16383)]);
    (bench, backends)
}

/// Of the keys k0, k1 … the `nth` one whose slot is in this half.
pub(super) fn key_in(half: u16, nth: usize) -> String {
    let keys = (0..).map(|number| format!("k{number}"));
    keys.filter(|key| slot_of(key.as_bytes()) / 8192 == half).nth(nth).expect("there is no end of keys")
}

impl Bench {
    /// The cluster is like this from here on.
    pub(super) fn tell(&mut self, parts: &[(u16, u16, u16)]) {
        self.proxy.handle_slot_map(&map_of(parts), self.now);
        self.turn();
    }
}

const CROSSSLOT: &str = "-CROSSSLOT Keys in request don't hash to the same slot\r\n";

#[test]
fn a_key_goes_to_who_has_its_slot() {
    let (mut bench, backends) = halves(|_| {});
    let client = bench.client();
    let keys = [key_in(0, 0), key_in(1, 0)];
    bench.say(client, get(&keys[0]) + &get(&keys[1]));
    assert_eq!([0, 1].map(|node: usize| bench.asked(backends[node])), [get(&keys[0]), get(&keys[1])]);
    bench.answer(backends[1], bulk("b"));
    bench.answer(backends[0], bulk("a"));
    assert_eq!(bench.told(client), bulk("a") + &bulk("b"));
    bench.tell(&[(0, 0, 0), (1, 1, 16383)]);
    bench.say(client, get(&keys[0]));
    assert_eq!([0, 1].map(|node: usize| bench.asked(backends[node])), [String::new(), get(&keys[0])]);
    bench.answer(backends[1], bulk("a"));
    bench.assert_nothing_is_left();
}

#[test]
fn before_anybody_has_told_any_node_is_asked() {
    let (mut bench, backends) = Bench::ready(2, |settings| settings.cluster = true);
    let client = bench.client();
    bench.say(client, get(&key_in(1, 0)));
    assert_eq!(bench.asked(backends[0]), get(&key_in(1, 0)));
    bench.answer(backends[0], bulk("x"));
    bench.say(client, request(&["DBSIZE"]));
    assert_eq!(bench.told(client), bulk("x") + "-CLUSTERDOWN Who has which slot is not known yet\r\n");
}

#[test]
fn one_node_is_a_cluster_too() {
    let (mut bench, backends) = Bench::ready(1, |settings| {
        settings.cluster = true;
        settings.servers = vec![address(0)];
    });
    bench.tell(&[(0, 0, 16383)]);
    let client = bench.client();
    let keys = [key_in(0, 0), key_in(1, 0)];
    bench.say(client, request(&["MGET", &keys[0], &keys[1]]));
    assert_eq!(bench.asked(backends[0]), request(&["MGET", &keys[0]]) + &request(&["MGET", &keys[1]]));
    bench.answer(backends[0], format!("*1\r\n{}*1\r\n{}", bulk("a"), bulk("b")));
    assert_eq!(bench.told(client), format!("*2\r\n{}{}", bulk("a"), bulk("b")));
    bench.say(client, request(&["SINTER", &keys[0], &keys[1]]));
    assert_eq!(bench.told(client), CROSSSLOT);
}

#[test]
fn who_waits_for_earlier_replies_is_not_overtaken_when_a_slot_has_another_owner() {
    let (mut bench, backends) = halves(|_| {});
    let client = bench.client();
    let key = key_in(0, 0);
    bench.say(client, set(&key, "1"));
    bench.tell(&[(1, 0, 16383), (0, 0, 0)]);
    bench.say(client, set(&key, "2"));
    assert_eq!([0, 1].map(|node: usize| bench.asked(backends[node])), [set(&key, "1"), String::new()]);
    bench.answer(backends[0], "+OK\r\n");
    assert_eq!(bench.asked(backends[1]), set(&key, "2"));
    bench.answer(backends[1], "+OK\r\n");
    assert_eq!(bench.told(client), "+OK\r\n+OK\r\n");
    bench.assert_nothing_is_left();
}

#[test]
fn a_request_is_taken_apart_by_slots_in_one_write_for_each_node() {
    let (mut bench, backends) = halves(|_| {});
    let client = bench.client();
    let [a, b] = [key_in(0, 0), key_in(0, 1)];
    let other = key_in(1, 0);
    let tagged = format!("{{{a}}}x");
    bench.net.order.clear();
    bench.say(client, request(&["MGET", &a, &other, &b, &tagged]));
    assert_eq!(bench.net.order, [Conn::Backend(backends[0]), Conn::Backend(backends[1])]);
    assert_eq!(bench.asked(backends[0]), request(&["MGET", &a, &tagged]) + &request(&["MGET", &b]));
    assert_eq!(bench.asked(backends[1]), request(&["MGET", &other]));
    bench.answer(backends[1], "*1\r\n".to_string() + &bulk("o"));
    bench.answer(backends[0], format!("*2\r\n{}{}*1\r\n{}", bulk("a"), bulk("t"), bulk("b")));
    assert_eq!(bench.told(client), ["*4\r\n", &bulk("a"), &bulk("o"), &bulk("b"), &bulk("t")].concat());
    bench.say(client, request(&["DEL", &a, &b]));
    bench.answer(backends[0], ":1\r\n:0\r\n");
    assert_eq!(bench.told(client), ":1\r\n");
    bench.assert_nothing_is_left();
}

#[test]
fn a_request_for_a_thousand_slots_goes_to_one_connection_of_each_node() {
    let (mut bench, backends) = halves(|_| {});
    let client = bench.client();
    let keys: Vec<String> = (0..1_000).map(|number| format!("key:{number}")).collect();
    let words: Vec<&str> = ["MGET"].into_iter().chain(keys.iter().map(String::as_str)).collect();
    bench.say(client, request(&words));
    let mut replies = [String::new(), String::new()];
    for (node, reply) in replies.iter_mut().enumerate() {
        for part in bench.asked(backends[node]).split("*").skip(1) {
            let words: Vec<&str> = part.split("\r\n").collect();
            let keys: Vec<String> =
                words.chunks(2).skip(2).filter(|pair| pair.len() == 2).map(|p| bulk(p[0])).collect();
            let count = part.split("\r\n").next().expect("a count").parse::<usize>().expect("a number") - 1;
            let keys = &keys[..];
            assert!(!keys.is_empty() || count > 0);
            let names: Vec<String> = (0..count).map(|nth| bulk(words[4 + 2 * nth])).collect();
            *reply += &format!("*{count}\r\n{}", names.concat());
        }
    }
    bench.answer(backends[0], &replies[0]);
    bench.answer(backends[1], &replies[1]);
    let whole: Vec<String> = keys.iter().map(|key| bulk(key)).collect();
    assert_eq!(bench.told(client), format!("*1000\r\n{}", whole.concat()));
    assert!(bench.connects.is_empty(), "one connection each is enough");
    bench.assert_nothing_is_left();
}

#[test]
fn what_cannot_be_taken_apart_must_be_of_one_slot_even_on_one_node() {
    let (mut bench, backends) = halves(|_| {});
    let client = bench.client();
    let [a, b] = [key_in(0, 0), key_in(0, 1)];
    bench.say(client, request(&["RENAME", &a, &b]));
    bench.say(client, request(&["BLPOP", &a, &b, "1"]));
    assert_eq!(bench.told(client), CROSSSLOT.repeat(2));
    let tagged = format!("{{{a}}}x");
    bench.say(client, request(&["RENAME", &a, &tagged]));
    assert_eq!(bench.asked(backends[0]), request(&["RENAME", &a, &tagged]));
    bench.answer(backends[0], "+OK\r\n");
    bench.assert_nothing_is_left();
}

#[test]
fn a_slot_that_nobody_has_is_not_served() {
    let (mut bench, _) = halves(|_| {});
    bench.tell(&[(0, 0, 8191), (1, 8192, 8192)]);
    let client = bench.client();
    let unserved = (1..).map(|nth| key_in(1, nth)).find(|key| slot_of(key.as_bytes()) != 8192).expect("many");
    bench.say(client, get(&unserved) + &request(&["MGET", &unserved, &key_in(0, 0)]));
    assert_eq!(bench.told(client), "-CLUSTERDOWN Hash slot not served\r\n".repeat(2));
    assert!(bench.refreshes.contains(&RefreshCause::Down));
    bench.assert_nothing_is_left();
}

#[test]
fn nobody_stands_in_for_a_node_that_is_down() {
    let (mut bench, backends) = halves(|settings| settings.timeouts.failover_after_ms = 0);
    bench.take_down(backends[0], 0);
    let client = bench.client();
    bench.say(client, get(&key_in(0, 0)));
    assert_eq!(bench.told(client), "-ERR Connection down\r\n");
    bench.say(client, get(&key_in(1, 0)));
    bench.answer(backends[1], bulk("x"));
    assert_eq!(bench.told(client), bulk("x"));
}

#[test]
fn nodes_come_and_go_with_the_map() {
    let (mut bench, backends) = halves(|_| {});
    let client = bench.client();
    bench.tell(&[(0, 0, 8191), (7, 8192, 16383)]);
    assert!(bench.is_closed(Conn::Backend(backends[1])), "it owed nothing");
    let seventh = bench.connect(2);
    let key = key_in(1, 0);
    bench.say(client, get(&key));
    assert_eq!(bench.asked(seventh), get(&key));
    bench.answer(seventh, bulk("x"));
    let epoch = bench.proxy.router.epoch();
    bench.tell(&[(0, 0, 8191), (7, 8192, 16383)]);
    assert_eq!((bench.proxy.router.epoch(), bench.connects.len()), (epoch, 0), "nothing is new");
    bench.assert_nothing_is_left();
}

#[test]
fn other_settings_leave_the_nodes_as_they_are() {
    let (mut bench, backends) = halves(|_| {});
    let mut settings = bench.proxy.settings.clone();
    settings.servers = vec!["seed:6379".to_string()];
    settings.pool_size = 3;
    bench.proxy.handle_settings(settings, bench.now);
    bench.turn();
    let client = bench.client();
    bench.say(client, get(&key_in(1, 0)));
    assert_eq!(bench.asked(backends[1]), get(&key_in(1, 0)));
    bench.answer(backends[1], bulk("x"));
    assert!(bench.closed.is_empty() && bench.connects.is_empty());
}

#[test]
fn a_scan_goes_through_the_nodes_in_the_order_of_their_ids() {
    let (mut bench, backends) = halves(|_| {});
    // A node that was a seed later, and stands first.
    bench.tell(&[(1, 8192, 16383), (0, 0, 8191)]);
    let client = bench.client();
    let mut cursor = "0".to_string();
    for node in [0, 1] {
        bench.say(client, request(&["SCAN", &cursor]));
        assert_eq!(bench.asked(backends[node]), request(&["SCAN", "0"]));
        bench.answer(backends[node], format!("*2\r\n{}*1\r\n{}", bulk("0"), bulk("k")));
        let told = bench.told(client);
        cursor = told.split("\r\n").nth(2).expect("a cursor").to_string();
    }
    assert_eq!(cursor, "0");
    bench.say(client, request(&["DBSIZE"]));
    backends.iter().for_each(|&backend| bench.answer(backend, ":2\r\n"));
    assert_eq!(bench.told(client), ":4\r\n");
    bench.assert_nothing_is_left();
}

#[test]
fn a_cursor_is_of_use_on_another_worker_with_the_same_nodes() {
    let (mut bench, backends) = halves(|_| {});
    let (mut other, others) = halves(|_| {});
    other.tell(&[(0, 0, 8191), (1, 8192, 16382), (2, 16383, 16383)]);
    other.tell(&[(0, 0, 8191), (1, 8192, 16383)]);
    let (client, elsewhere) = (bench.client(), other.client());
    bench.say(client, request(&["SCAN", "0"]));
    bench.answer(backends[0], format!("*2\r\n{}*0\r\n", bulk("0")));
    let cursor = bench.told(client).split("\r\n").nth(2).expect("a cursor").to_string();
    other.say(elsewhere, request(&["SCAN", &cursor]));
    assert_eq!(other.asked(others[1]), request(&["SCAN", "0"]));
}

#[test]
fn the_last_connection_to_a_node_is_closed_when_nobody_asks_it_for_minutes() {
    let (mut bench, backends) = halves(|_| {});
    let client = bench.client();
    let key = key_in(0, 0);
    for _ in 0..29 {
        bench.pass(10_000);
        bench.say(client, get(&key));
        bench.answer(backends[0], bulk("x"));
    }
    assert!(!bench.is_closed(Conn::Backend(backends[1])));
    bench.pass(15_000);
    assert!(bench.is_closed(Conn::Backend(backends[1])), "300 s without a request");
    assert!(!bench.is_closed(Conn::Backend(backends[0])));
    assert!(bench.connects.is_empty());
    // It is made anew when it is needed.
    bench.say(client, get(&key_in(1, 0)));
    let next = bench.connect(1);
    assert_eq!(bench.asked(next), get(&key_in(1, 0)));
    bench.answer(next, bulk("y"));
    assert!(bench.told(client).ends_with(&bulk("y")));
}

#[test]
fn what_is_known_of_the_cluster_is_told_with_what_nodes_have_not_run() {
    let (mut bench, backends) = halves(|_| {});
    let client = bench.client();
    let key = key_in(0, 0);
    let slot = slot_of(key.as_bytes());
    let refused = [
        format!("-MOVED {slot} {}\r\n", address(0)),
        "-TRYAGAIN Multiple keys request during rehashing of slot\r\n".to_owned(),
        "-CLUSTERDOWN The cluster is down\r\n".to_owned(),
        format!("-ASK {slot} {}\r\n", address(1)),
    ];
    for refused in refused {
        bench.say(client, get(&key));
        while bench.asked(backends[0]).is_empty() {
            bench.pass(1);
        }
        bench.answer(backends[0], &refused);
        while [0, 1].iter().all(|&node: &usize| !bench.net.written.contains_key(&Conn::Backend(backends[node]))) {
            bench.pass(1);
        }
        let asked = bench.asked(backends[1]);
        bench.answer(backends[0], if asked.is_empty() { bulk("v") } else { String::new() });
        bench.answer(backends[1], if asked.is_empty() { String::new() } else { "+OK\r\n".to_owned() + &bulk("v") });
        bench.asked(backends[0]);
        assert_eq!(bench.told(client), bulk("v"), "after {refused}");
    }
    let refreshes = [((Cause::Start, Outcome::Changed), 1), ((Cause::Time, Outcome::Failed), 2)];
    bench.proxy.handle_refreshes(Arc::new(refreshes.into()));
    bench.tell(&[(0, 0, 8191), (1, 8192, 16000)]);
    bench.take_down(backends[1], 1);
    bench.say(client, request(&["RMUX", "STATUS"]));
    let told = bench.told(client);
    for line in [
        "cluster_slots_covered:16001",
        "cluster_masters:known=2,up=1",
        "cluster_replicas:known=0,read=0",
        "cluster_redirects:moved=1,ask=1,tryagain=1,clusterdown=1,readonly=0",
        "cluster_refreshes:start=1,time=2,moved=0,lost=0,down=0,same_address=0,failed=2",
    ] {
        assert!(told.contains(&format!("\r\n{line}\r\n")), "{line} in {told}");
    }
    bench.assert_nothing_is_left();
}

const NO_SELECT: &str = "-ERR SELECT is not allowed in cluster mode\r\n";

#[test]
fn another_database_is_refused_by_the_words_of_a_node_as_soon_as_these_are_known() {
    let (mut bench, backends) = halves(|_| {});
    let client = bench.client();
    bench.say(client, request(&["SELECT", "1"]) + &request(&["SELECT", "0"]));
    assert_eq!(bench.told(client), "+OK\r\n+OK\r\n", "nobody knows yet");
    bench.proxy.handle_databases(Databases::One(NO_SELECT.as_bytes().into()));
    let key = key_in(0, 0);
    bench.say(client, request(&["SELECT", "1"]) + &get(&key));
    assert_eq!((bench.told(client), bench.asked(backends[0])), (NO_SELECT.to_owned(), get(&key)));
    bench.answer(backends[0], bulk("v"));
    assert_eq!(bench.told(client), bulk("v"), "in the database that it had");
    bench.assert_nothing_is_left();
}

#[test]
fn what_is_redirected_keeps_its_database() {
    let (mut bench, backends) = halves(|settings| settings.pool_size = 1);
    bench.proxy.handle_databases(Databases::Several);
    let client = bench.client();
    let key = key_in(0, 0);
    let select = request(&["SELECT", "1"]);
    bench.say(client, select.clone() + &set(&key, "v"));
    assert_eq!((bench.told(client), bench.asked(backends[0])), ("+OK\r\n".to_owned(), select.clone()));
    bench.answer(backends[0], "+OK\r\n");
    assert_eq!(bench.asked(backends[0]), set(&key, "v"));
    bench.answer(backends[0], format!("-ASK {} {}\r\n", slot_of(key.as_bytes()), address(1)));
    bench.pass(20);
    assert_eq!(bench.asked(backends[1]), select, "before all else");
    bench.answer(backends[1], "+OK\r\n");
    bench.pass(20);
    let asking = "*1\r\n$6\r\nASKING\r\n";
    assert_eq!(bench.asked(backends[1]), asking.to_owned() + &set(&key, "v"));
    bench.answer(backends[1], "+OK\r\n+OK\r\n");
    assert_eq!(bench.told(client), "+OK\r\n");
    // To a node that nobody knows yet, too.
    bench.say(client, get(&key));
    assert_eq!(bench.asked(backends[0]), get(&key));
    bench.answer(backends[0], format!("-MOVED {} {}\r\n", slot_of(key.as_bytes()), address(9)));
    bench.turn();
    let ninth = bench.connect(2);
    bench.pass(20);
    if bench.net.written.get(&Conn::Backend(ninth)).is_some_and(|asked| asked == select.as_bytes()) {
        bench.asked(ninth);
        bench.answer(ninth, "+OK\r\n");
        bench.pass(20);
    }
    assert_eq!(bench.asked(ninth), get(&key));
    bench.answer(ninth, bulk("v"));
    assert_eq!(bench.told(client), bulk("v"));
    bench.assert_nothing_is_left();
}
