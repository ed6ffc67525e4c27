//! Requests that several servers answer: what each is asked, what the client is told, and what becomes of the parts
//! when somebody fails.

use super::*;
use crate::ring::HashTag;

const DOWN: &str = "-ERR Connection down\r\n";
const MAY_HAVE_RUN: &str = "-ERR Connection to server-0 lost before its reply; the command may have been run\r\n";

/// Several keys on one server.
fn keys_on(bench: &Bench, server: u16, count: usize) -> Vec<String> {
    let keys = (0..).map(|number| format!("k{number}"));
    let lives_here =
        |key: &String| bench.proxy.router.ring().primary(Ring::hash(key.as_bytes())) == ServerIndex(server);
    keys.into_iter().filter(lives_here).take(count).collect()
}

fn array(elements: &[&str]) -> String {
    format!("*{}\r\n{}", elements.len(), elements.concat())
}

#[test]
fn values_come_back_in_the_asked_order_and_in_the_place_of_the_request() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let (a, b) = (keys_on(&bench, 0, 3), keys_on(&bench, 1, 2));
    let client = bench.client();
    let mget = request(&["mget", &a[0], &b[0], &a[1], &a[0], &b[1], &a[2]]);
    bench.say(client, get(&b[0]) + &mget + &request(&["PING"]));
    assert_eq!(bench.asked(backends[0]), request(&["mget", &a[0], &a[1], &a[0], &a[2]]));
    assert_eq!(bench.asked(backends[1]), get(&b[0]) + &request(&["mget", &b[0], &b[1]]));
    bench.answer(backends[0], array(&[&bulk("A0"), "$-1\r\n", &bulk("A0"), &bulk("")]));
    assert_eq!(bench.told(client), "");
    bench.answer(backends[1], bulk("first"));
    assert_eq!(bench.told(client), bulk("first"));
    bench.answer(backends[1], array(&[&bulk("B0"), &bulk("B1")]));
    let merged = array(&[&bulk("A0"), &bulk("B0"), "$-1\r\n", &bulk("A0"), &bulk("B1"), &bulk("")]);
    assert_eq!(bench.told(client), merged + "+PONG\r\n");
    bench.assert_nothing_is_left();
}

#[test]
fn pairs_go_to_their_servers_and_counts_are_added() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let (a, b) = (keys_on(&bench, 0, 2), keys_on(&bench, 1, 1));
    let client = bench.client();
    bench.say(client, request(&["MSET", &a[0], "1", &b[0], "2\r\n", &a[1], ""]) + &request(&["DEL", &b[0], &a[0]]));
    assert_eq!(bench.asked(backends[0]), request(&["MSET", &a[0], "1", &a[1], ""]) + &request(&["DEL", &a[0]]));
    assert_eq!(bench.asked(backends[1]), request(&["MSET", &b[0], "2\r\n"]) + &request(&["DEL", &b[0]]));
    bench.answer(backends[1], "+OK\r\n:1\r\n");
    bench.answer(backends[0], "+OK\r\n:0\r\n");
    assert_eq!(bench.told(client), "+OK\r\n:1\r\n");
    bench.assert_nothing_is_left();
}

#[test]
fn what_stands_behind_the_keys_goes_to_every_server() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let (a, b) = (key_on(&bench, 0), key_on(&bench, 1));
    let client = bench.client();
    bench.say(client, request(&["JSON.MGET", &b, &a, "$.x"]));
    assert_eq!(bench.asked(backends[0]), request(&["JSON.MGET", &a, "$.x"]));
    assert_eq!(bench.asked(backends[1]), request(&["JSON.MGET", &b, "$.x"]));
    bench.answer(backends[0], array(&[&bulk("[1]")]));
    bench.answer(backends[1], array(&["$-1\r\n"]));
    assert_eq!(bench.told(client), array(&["$-1\r\n", &bulk("[1]")]));
}

#[test]
fn any_parts_error_is_the_reply() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let (a, b) = (key_on(&bench, 0), key_on(&bench, 1));
    let client = bench.client();
    bench.say(client, request(&["MGET", &a, &b]));
    bench.answer(backends[1], "-MISCONF no\r\n");
    assert_eq!(bench.told(client), "", "the others are waited for, so that the lines stay in order");
    bench.answer(backends[0], array(&[&bulk("x")]));
    assert_eq!(bench.told(client), "-MISCONF no\r\n");
    bench.assert_nothing_is_left();
}

#[test]
fn no_part_is_sent_before_all_can_be() {
    let (mut bench, backends) = Bench::ready(2, |settings| {
        settings.pool_size = 1;
        settings.limits.pipeline_max = 1;
    });
    let (a, b) = (key_on(&bench, 0), key_on(&bench, 1));
    let (other, client) = (bench.client(), bench.client());
    bench.say(other, get(&b));
    bench.asked(backends[1]);
    bench.say(client, request(&["MSET", &a, "1", &b, "2"]) + &get(&a));
    assert_eq!(bench.asked(backends[0]), "");
    bench.answer(backends[1], bulk("x"));
    assert_eq!(bench.asked(backends[0]), request(&["MSET", &a, "1"]));
    assert_eq!(bench.asked(backends[1]), request(&["MSET", &b, "2"]));
    bench.answer(backends[1], "+OK\r\n");
    bench.answer(backends[0], "+OK\r\n");
    assert_eq!(bench.asked(backends[0]), get(&a), "and what the client said behind comes after");
    bench.answer(backends[0], bulk("1"));
    assert_eq!(bench.told(client), "+OK\r\n".to_owned() + &bulk("1"));
    bench.assert_nothing_is_left();
}

#[test]
fn who_waits_too_long_for_one_of_the_servers_is_told_and_nothing_was_sent() {
    let (mut bench, backends) = Bench::ready(2, |settings| {
        settings.pool_size = 1;
        settings.limits.pipeline_max = 1;
        settings.timeouts.remote_read_ms = 60_000;
    });
    let (a, b) = (key_on(&bench, 0), key_on(&bench, 1));
    let (other, client) = (bench.client(), bench.client());
    bench.say(other, get(&b));
    bench.say(client, request(&["DEL", &a, &b]));
    bench.pass(500);
    assert_eq!(bench.told(client), "-ERR No connection to server-1 became free within 500 ms\r\n");
    assert_eq!(bench.asked(backends[0]), "");
    bench.answer(backends[1], bulk("x"));
    bench.assert_nothing_is_left();
}

#[test]
fn a_client_that_leaves_has_its_parts_dropped_in_their_places() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let (a, b) = (key_on(&bench, 0), key_on(&bench, 1));
    let (leaves, stays) = (bench.client(), bench.client());
    bench.say(leaves, request(&["MGET", &a, &b]));
    bench.say(stays, request(&["MGET", &b, &a]));
    bench.answer(backends[0], array(&[&bulk("A")]));
    bench.proxy.handle_client_broken(leaves);
    bench.turn();
    bench.answer(backends[0], array(&[&bulk("A")]));
    bench.answer(backends[1], array(&[&bulk("nobody's")]) + &array(&[&bulk("B")]));
    assert_eq!(bench.told(leaves), "");
    assert_eq!(bench.told(stays), array(&[&bulk("B"), &bulk("A")]));
    bench.assert_nothing_is_left();
}

#[test]
fn a_part_that_is_late_is_an_error_and_its_late_reply_is_swallowed() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let (a, b) = (key_on(&bench, 0), key_on(&bench, 1));
    let (client, other) = (bench.client(), bench.client());
    bench.say(client, request(&["EXISTS", &a, &b]));
    bench.pass(300);
    bench.say(other, get(&a));
    bench.answer(backends[1], ":1\r\n");
    bench.pass(200);
    let error = "-ERR No reply from server-0 within 500 ms; the command may have been run\r\n";
    assert_eq!(bench.told(client), error);
    bench.answer(backends[0], ":1\r\n".to_owned() + &bulk("x"));
    assert_eq!((bench.told(client), bench.told(other)), (String::new(), bulk("x")));
    bench.assert_nothing_is_left();
}

#[test]
fn a_part_that_is_late_in_the_middle_of_a_large_reply_is_an_error_too() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let (a, b) = (key_on(&bench, 0), key_on(&bench, 1));
    let client = bench.client();
    bench.say(client, request(&["MGET", &a, &b]));
    let large = array(&[&bulk(&"v".repeat(200_000))]);
    bench.answer(backends[0], &large[..100_000]);
    bench.answer(backends[1], array(&[&bulk("B")]));
    bench.pass(500);
    let error = "-ERR No reply from server-0 within 500 ms; the command may have been run\r\n";
    assert_eq!(bench.told(client), error);
    bench.answer(backends[0], &large[100_000..]);
    bench.say(client, get(&b));
    bench.answer(backends[1], bulk("B"));
    assert_eq!(bench.told(client), bulk("B"));
    bench.assert_nothing_is_left();
}

#[test]
fn a_lost_part_of_a_read_is_asked_again_once_and_one_of_a_write_is_an_error() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let (a, b) = (key_on(&bench, 0), key_on(&bench, 1));
    let (reader, writer) = (bench.client(), bench.client());
    bench.say(reader, request(&["MGET", &b, &a]));
    bench.say(writer, request(&["MSET", &a, "1", &b, "2"]));
    // Half of a large reply came before: none of it may be left in the end.
    bench.answer(backends[0], &array(&[&bulk(&"old".repeat(50_000))])[..100_000]);
    bench.answer(backends[1], array(&[&bulk("B")]) + "+OK\r\n");
    bench.proxy.handle_backend_end(backends[0], bench.now);
    bench.turn();
    assert_eq!(bench.told(writer), MAY_HAVE_RUN);
    let second = bench.connect(0);
    assert_eq!(bench.asked(second), request(&["MGET", &a]));
    bench.answer(second, array(&[&bulk("A")]));
    assert_eq!(bench.told(reader), array(&[&bulk("B"), &bulk("A")]));
    assert_eq!(bench.proxy.stats().resends, 1);
    bench.assert_nothing_is_left();
}

#[test]
fn with_a_server_down_its_keys_go_to_those_that_stand_in() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let (a, b) = (key_on(&bench, 0), key_on(&bench, 1));
    let client = bench.client();
    bench.say(client, request(&["MGET", &a, &b]));
    bench.proxy.handle_backend_end(backends[0], bench.now);
    bench.turn();
    bench.asked(backends[1]);
    bench.refuse(0);
    assert_eq!(bench.asked(backends[1]), request(&["MGET", &a]), "what was not sent goes there too");
    bench.answer(backends[1], array(&[&bulk("B")]) + &array(&["$-1\r\n"]));
    assert_eq!(bench.told(client), array(&["$-1\r\n", &bulk("B")]));
    bench.say(client, request(&["DEL", &a, &b]));
    assert_eq!(bench.asked(backends[1]), request(&["DEL", &a, &b]), "both keys are on one server now");
    bench.answer(backends[1], ":2\r\n");
    assert_eq!(bench.told(client), ":2\r\n");
    bench.assert_nothing_is_left();
}

#[test]
fn keys_that_lived_together_and_are_stood_in_for_by_several_are_asked_of_each() {
    let (mut bench, backends) = Bench::ready(3, |_| {});
    let mut down = UpSet::new(3);
    down.set(ServerIndex(0), false);
    let stand_in = |bench: &Bench, key: &String| bench.proxy.router.ring().server(Ring::hash(key.as_bytes()), &down);
    let keys = keys_on(&bench, 0, 200);
    let one = keys.iter().find(|key| stand_in(&bench, key) == Some(ServerIndex(1))).expect("a key").clone();
    let two = keys.iter().find(|key| stand_in(&bench, key) == Some(ServerIndex(2))).expect("a key").clone();
    let elsewhere = key_on(&bench, 1);
    let (client, other) = (bench.client(), bench.client());
    let words = ["MGET", &one, &two, &elsewhere, &one];
    bench.say(client, request(&words) + &request(&["SINTER", &one, &two]));
    // These live together, and so are asked for without being taken apart.
    bench.say(other, request(&["EXISTS", &two, &one, &two]));
    bench.proxy.handle_backend_end(backends[0], bench.now);
    bench.turn();
    assert_eq!(bench.asked(backends[1]), request(&["MGET", &elsewhere]));
    bench.refuse(0);
    assert_eq!(bench.asked(backends[1]), request(&["MGET", &one, &one]) + &request(&["EXISTS", &one]));
    assert_eq!(bench.asked(backends[2]), request(&["MGET", &two]) + &request(&["EXISTS", &two, &two]));
    bench.answer(backends[2], array(&[&bulk("two")]) + ":2\r\n");
    bench.answer(backends[1], array(&[&bulk("elsewhere")]) + &array(&[&bulk("one"), "$-1\r\n"]) + ":1\r\n");
    let values = array(&[&bulk("one"), &bulk("two"), &bulk("elsewhere"), "$-1\r\n"]);
    assert_eq!(bench.told(client), values + "-CROSSSLOT Keys in request don't hash to the same slot\r\n");
    assert_eq!(bench.told(other), ":3\r\n");
    bench.assert_nothing_is_left();
}

#[test]
fn a_write_that_was_not_sent_is_taken_apart_again_and_one_that_was_is_an_error() {
    for is_sent in [false, true] {
        let (mut bench, backends) = Bench::ready(3, |_| {});
        let mut down = UpSet::new(3);
        down.set(ServerIndex(0), false);
        let stand_in =
            |bench: &Bench, key: &String| bench.proxy.router.ring().server(Ring::hash(key.as_bytes()), &down);
        let keys = keys_on(&bench, 0, 200);
        let one = keys.iter().find(|key| stand_in(&bench, key) == Some(ServerIndex(1))).expect("a key").clone();
        let two = keys.iter().find(|key| stand_in(&bench, key) == Some(ServerIndex(2))).expect("a key").clone();
        let client = bench.client();
        let write = request(&["MSET", &one, "1", &two, "2"]);
        bench.hear(client, write.clone());
        if is_sent {
            bench.turn();
        }
        bench.take_down(backends[0], 0);
        if is_sent {
            assert!(bench.told(client).starts_with("-ERR Connection to server-0 lost before its reply"));
            assert_eq!(bench.asked(backends[1]) + &bench.asked(backends[2]), "");
        } else {
            assert_eq!(bench.asked(backends[1]), request(&["MSET", &one, "1"]));
            assert_eq!(bench.asked(backends[2]), request(&["MSET", &two, "2"]));
            bench.answer(backends[1], "+OK\r\n");
            bench.answer(backends[2], "+OK\r\n");
            assert_eq!(bench.told(client), "+OK\r\n");
        }
        bench.assert_nothing_is_left();
    }
}

#[test]
fn who_leaves_after_a_part_was_taken_apart_again_leaves_nothing_behind() {
    let (mut bench, backends) = Bench::ready(3, |_| {});
    let keys = keys_on(&bench, 0, 200);
    let words: Vec<&str> = ["MGET"].into_iter().chain(keys.iter().map(String::as_str)).collect();
    let client = bench.client();
    bench.say(client, request(&words));
    bench.take_down(backends[0], 0);
    let nil = |asked: &str| array(&vec!["$-1\r\n"; asked.matches("\r\nk").count()]);
    let (first, second) = (bench.asked(backends[1]), bench.asked(backends[2]));
    assert_eq!(first.matches("\r\nk").count() + second.matches("\r\nk").count(), 200);
    bench.answer(backends[1], nil(&first));
    bench.proxy.handle_client_broken(client);
    bench.turn();
    bench.answer(backends[2], nil(&second));
    bench.assert_nothing_is_left();
}

#[test]
fn one_server_that_is_down_with_none_to_stand_in_refuses_the_whole_command() {
    let (mut bench, backends) = Bench::ready(2, |settings| settings.failover = false);
    let (a, b) = (key_on(&bench, 0), key_on(&bench, 1));
    bench.take_down(backends[0], 0);
    let client = bench.client();
    bench.say(client, request(&["MSET", &b, "1", &a, "2"]) + &request(&["MGET", &b, &a, &b]));
    assert_eq!(bench.asked(backends[1]), "", "a write that can not be whole is not begun");
    assert_eq!(bench.told(client), DOWN.repeat(2));
    bench.assert_nothing_is_left();
}

#[test]
fn a_command_about_all_servers_needs_all_of_them() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let client = bench.client();
    bench.say(client, request(&["KEYS", "*"]) + &request(&["DBSIZE"]) + &request(&["FLUSHALL"]));
    let asked = request(&["KEYS", "*"]) + &request(&["DBSIZE"]) + &request(&["FLUSHALL"]);
    assert_eq!(bench.asked(backends[0]), asked);
    assert_eq!(bench.asked(backends[1]), asked);
    bench.answer(backends[0], array(&[&bulk("a")]) + ":3\r\n+OK\r\n");
    bench.answer(backends[1], array(&[&bulk("b"), &bulk("c")]) + ":4\r\n+OK\r\n");
    assert_eq!(bench.told(client), array(&[&bulk("a"), &bulk("b"), &bulk("c")]) + ":7\r\n+OK\r\n");
    bench.take_down(backends[0], 0);
    bench.say(client, asked);
    assert_eq!(bench.told(client), DOWN.repeat(3), "half of the keys is not the keys, though failover is on");
    assert_eq!(bench.asked(backends[1]), "");
    bench.assert_nothing_is_left();
}

#[test]
fn no_other_server_stands_in_for_a_part_about_its_server() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let client = bench.client();
    bench.say(client, request(&["DBSIZE"]));
    bench.asked(backends[1]);
    bench.take_down(backends[0], 0);
    assert_eq!(bench.asked(backends[1]), "");
    bench.answer(backends[1], ":4\r\n");
    assert_eq!(bench.told(client), DOWN);
    bench.assert_nothing_is_left();
}

#[test]
fn a_server_that_is_given_twice_is_one_server_to_a_command_about_all() {
    let (mut bench, backends) = Bench::ready(3, |settings| settings.servers[2] = settings.servers[0].clone());
    let client = bench.client();
    bench.say(client, request(&["DBSIZE"]));
    bench.answer(backends[0], ":1\r\n");
    bench.answer(backends[1], ":2\r\n");
    assert_eq!(bench.asked(backends[2]), "");
    assert_eq!(bench.told(client), ":3\r\n");
}

#[test]
fn the_cursor_of_a_scan_carries_the_server() {
    let (mut bench, backends) = Bench::ready(3, |_| {});
    let client = bench.client();
    // What the client says, who is asked, with which cursor, and what both are told.
    for (cursor, server, inner, next, told) in [
        ("0", 0, "0", "17", "51"),
        ("51", 0, "17", "0", "1"),
        ("1", 1, "0", "4", "13"),
        ("13", 1, "4", "0", "2"),
        ("2", 2, "0", "0", "0"),
    ] {
        bench.say(client, request(&["SCAN", cursor, "MATCH", "x*", "COUNT", "5"]));
        assert_eq!(bench.asked(backends[server]), request(&["SCAN", inner, "MATCH", "x*", "COUNT", "5"]));
        bench.answer(backends[server], array(&[&bulk(next), &array(&[&bulk("x1")])]));
        assert_eq!(bench.told(client), array(&[&bulk(told), &array(&[&bulk("x1")])]));
    }
    for cursor in ["x", "-1", "+1", "1 ", "18446744073709551616"] {
        bench.say(client, request(&["SCAN", cursor]));
        assert_eq!(bench.told(client), "-ERR invalid cursor\r\n", "{cursor}");
    }
    bench.say(client, request(&["SCAN"]));
    assert_eq!(bench.told(client), "-ERR wrong number of arguments for 'scan' command\r\n");
    bench.assert_nothing_is_left();
}

#[test]
fn large_replies_are_collected_from_both_servers_at_once() {
    let (mut bench, backends) = Bench::ready(2, |settings| settings.limits.client_unread_pause_bytes = 100_000);
    let (a, b) = (key_on(&bench, 0), key_on(&bench, 1));
    let client = bench.client();
    bench.say(client, request(&["MGET", &a, &b]));
    let (large_a, large_b) = (bulk(&"a".repeat(300_000)), bulk(&"b".repeat(300_000)));
    for (from, to) in [(0, 150_000), (150_000, 300_000)] {
        bench.answer(backends[0], &array(&[&large_a])[from..to]);
        bench.answer(backends[1], &array(&[&large_b])[from..to]);
    }
    assert!(bench.proxy.is_listening_to(Conn::Backend(backends[0])), "or it would wait for ever");
    assert!(bench.proxy.buffered_bytes() >= 600_000, "what is collected counts");
    bench.answer(backends[1], &array(&[&large_b])[300_000..]);
    bench.answer(backends[0], &array(&[&large_a])[300_000..]);
    assert_eq!(bench.told(client), array(&[&large_a, &large_b]));
    bench.assert_nothing_is_left();
}

#[test]
fn replies_that_are_too_large_together_are_an_error_and_not_the_end() {
    let (mut bench, backends) = Bench::ready(2, |settings| {
        settings.limits.client_unread_pause_bytes = 50_000;
        settings.limits.buffered_bytes_max = 400_000;
    });
    let (a, b) = (key_on(&bench, 0), key_on(&bench, 1));
    let client = bench.client();
    bench.say(client, request(&["MGET", &a, &b]));
    bench.answer(backends[0], array(&[&bulk(&"a".repeat(250_000))]));
    bench.answer(backends[1], array(&[&bulk(&"b".repeat(450_000))]));
    assert_eq!(bench.told(client), no_room("The replies of the servers", 400_000));
    bench.say(client, get(&a));
    bench.answer(backends[0], bulk("x"));
    assert_eq!(bench.told(client), bulk("x"));
    bench.assert_nothing_is_left();
}

#[test]
fn a_server_that_does_not_do_the_database_is_the_reply() {
    let (mut bench, _) = Bench::ready(2, |_| {});
    let (a, b) = (key_on(&bench, 0), key_on(&bench, 1));
    let client = bench.client();
    bench.say(client, request(&["SELECT", "99"]) + &request(&["MGET", &a, &b]));
    for server in [0, 1] {
        let backend = bench.next_connect(server);
        bench.proxy.handle_connected(backend, bench.now);
        bench.turn();
        bench.asked(backend);
        bench.answer(backend, "*0\r\n-ERR DB index is out of range\r\n+PONG\r\n");
    }
    assert_eq!(bench.told(client), "+OK\r\n-ERR DB index is out of range\r\n");
    bench.assert_nothing_is_left();
}

#[test]
fn who_wants_no_reply_gets_none_to_a_request_in_parts() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let (a, b) = (key_on(&bench, 0), key_on(&bench, 1));
    let client = bench.client();
    let skip = request(&["CLIENT", "REPLY", "SKIP"]);
    bench.say(client, skip + &request(&["DEL", &a, &b]) + &request(&["EXISTS", &a, &b]));
    bench.answer(backends[0], ":1\r\n:2\r\n");
    bench.answer(backends[1], ":1\r\n:2\r\n");
    assert_eq!(bench.told(client), ":4\r\n");
    bench.assert_nothing_is_left();
}

#[test]
fn servers_that_say_something_else_are_an_error() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let (a, b) = (key_on(&bench, 0), key_on(&bench, 1));
    let client = bench.client();
    bench.say(client, request(&["MGET", &a, &b]));
    bench.answer(backends[0], array(&[&bulk("a"), &bulk("more")]));
    bench.answer(backends[1], array(&[&bulk("b")]));
    assert_eq!(bench.told(client), "-ERR The replies of the servers do not fit together\r\n");
}

#[test]
fn a_tag_puts_keys_on_one_server() {
    let tag = HashTag { open: b'{', close: b'}' };
    let (mut bench, backends) = Bench::ready(2, |settings| settings.spread.tag = Some(tag));
    let (a, b) = (key_on(&bench, 0), key_on(&bench, 1));
    let client = bench.client();
    let words = ["MGET", &format!("{{{b}}}:{a}"), &format!("x{{{b}}}"), &format!("{a}{{{b}}}{{{a}}}")];
    bench.say(client, request(&words));
    assert_eq!((bench.asked(backends[0]), bench.asked(backends[1])), (String::new(), request(&words)));
    bench.say(client, request(&["DEL", &format!("{{{a}}}"), &b]));
    assert_eq!(bench.asked(backends[0]), request(&["DEL", &format!("{{{a}}}")]));
}

#[test]
fn without_multi_key_it_is_refused_as_the_original_did() {
    let (mut bench, backends) = Bench::ready(2, |settings| settings.multi_key = false);
    let (a, b) = (keys_on(&bench, 0, 2), key_on(&bench, 1));
    let client = bench.client();
    bench.say(client, request(&["MGET", &a[0], &b]) + &request(&["FLUSHALL"]) + &request(&["SCAN", "0"]));
    let unsupported = "-ERR This command is not supported\r\n";
    assert_eq!(
        bench.told(client),
        "-CROSSSLOT Keys in request don't hash to the same slot\r\n".to_owned() + &unsupported.repeat(2)
    );
    bench.say(client, request(&["MGET", &a[0], &a[1]]));
    assert_eq!(bench.asked(backends[0]), request(&["MGET", &a[0], &a[1]]));
    let (mut alone, backends) = Bench::ready(1, |settings| settings.multi_key = false);
    let client = alone.client();
    alone.say(client, request(&["FLUSHALL"]));
    assert_eq!(alone.asked(backends[0]), request(&["FLUSHALL"]), "one server takes everything");
}
