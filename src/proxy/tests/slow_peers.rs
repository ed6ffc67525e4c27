//! Clients and servers that take or give less than they could, and what rmux holds for them meanwhile.

use super::*;
use crate::proxy::reroute::HUGE;

#[test]
fn a_backend_is_not_read_while_its_only_client_takes_nothing_and_again_when_it_does() {
    let (mut bench, backends) = Bench::ready(1, |settings| settings.limits.client_unread_pause_bytes = 100_000);
    let (client, conn) = (bench.client(), Conn::Backend(backends[0]));
    bench.say(client, get("large"));
    bench.set_room(Conn::Client(client), 0);
    let reply = bulk(&"v".repeat(500_000));
    bench.answer(backends[0], &reply[..120_000]);
    assert!(!bench.proxy.is_listening_to(conn));
    bench.pass(10_000);
    assert!(!bench.is_closed(conn), "it is not the server that is slow");
    bench.make_room(Conn::Client(client), 120_000);
    assert!(bench.proxy.is_listening_to(conn) && bench.has_resumed(conn));
    bench.make_room(Conn::Client(client), usize::MAX - 1);
    bench.answer(backends[0], &reply[120_000..]);
    assert_eq!(bench.told(client), reply);
}

#[test]
fn a_client_that_takes_nothing_past_the_hard_limit_is_closed_soon() {
    let (mut bench, backends) = Bench::ready(1, |settings| {
        settings.limits.client_unread_pause_bytes = 50_000;
        settings.limits.client_unread_bytes_max = 200_000;
    });
    let (stuck, waits) = (bench.client(), bench.client());
    bench.say(stuck, get("large"));
    bench.say(waits, set("small", "x"));
    bench.set_room(Conn::Client(stuck), 0);
    bench.answer(backends[0], bulk(&"v".repeat(300_000)) + "+OK\r\n");
    assert_eq!(bench.told(waits), "+OK\r\n");
    assert!(!bench.is_closed(Conn::Client(stuck)), "it may be about to take them");
    bench.pass(125);
    assert!(bench.is_closed(Conn::Client(stuck)));
    bench.assert_nothing_is_left();
}

#[test]
fn reads_behind_a_reply_that_is_taken_slowly_are_asked_elsewhere_and_the_reply_waits() {
    let (mut bench, backends) = Bench::ready(1, |settings| settings.limits.client_unread_pause_bytes = 50_000);
    let (slow, reads, writes) = (bench.client(), bench.client(), bench.client());
    bench.say(slow, get("large"));
    bench.say(reads, get("a") + &get("b"));
    bench.say(writes, get("c") + &set("d", "x"));
    bench.set_room(Conn::Client(slow), 0);
    let large = bulk(&"v".repeat(300_000));
    bench.answer(backends[0], &large[..100_000]);
    let second = bench.connect(0);
    assert_eq!(bench.asked(second), get("a") + &get("b"), "who has written behind a read stays with it");
    bench.answer(second, bulk("A") + &bulk("B"));
    assert_eq!(bench.told(reads), bulk("A") + &bulk("B"));
    assert!(bench.proxy.is_listening_to(Conn::Backend(backends[0])), "the other one waits for what is behind");
    bench.make_room(Conn::Client(slow), usize::MAX - 1);
    bench.answer(backends[0], &large[100_000..]);
    assert_eq!(bench.told(slow), large);
    bench.answer(backends[0], bulk("late A") + &bulk("late B") + &bulk("C") + "+OK\r\n");
    assert_eq!(bench.told(writes), bulk("C") + "+OK\r\n");
    assert!(bench.is_closed(Conn::Backend(backends[0])), "it owes nothing more that anybody waits for");
    assert_eq!((bench.told(reads), bench.proxy.stats().moves), (String::new(), 2));
    bench.assert_nothing_is_left();
}

#[test]
fn a_backend_is_not_read_once_the_reads_behind_its_slow_client_have_gone() {
    let (mut bench, backends) = Bench::ready(1, |settings| settings.limits.client_unread_pause_bytes = 50_000);
    let (slow, reads) = (bench.client(), bench.client());
    bench.say(slow, get("large"));
    bench.say(reads, get("a"));
    bench.set_room(Conn::Client(slow), 0);
    let large = bulk(&"v".repeat(300_000));
    bench.answer(backends[0], &large[..100_000]);
    assert!(!bench.proxy.is_listening_to(Conn::Backend(backends[0])));
    let second = bench.connect(0);
    bench.answer(second, bulk("A"));
    assert_eq!(bench.told(reads), bulk("A"));
    bench.make_room(Conn::Client(slow), usize::MAX - 1);
    bench.answer(backends[0], &large[100_000..]);
    assert_eq!(bench.told(slow), large);
    assert!(bench.is_closed(Conn::Backend(backends[0])), "the late reply is not waited for");
    bench.assert_nothing_is_left();
}

#[test]
fn reads_behind_a_huge_reply_are_asked_elsewhere_at_once_and_only_once() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let (huge, reads) = (bench.client(), bench.client());
    bench.say(huge, get("huge"));
    bench.say(reads, get("a"));
    bench.answer(backends[0], format!("${}\r\n{}", HUGE, "v".repeat(100_000)));
    let second = bench.connect(0);
    assert_eq!(bench.asked(second), get("a"));
    // Its own answer is huge, too.
    let third = bench.client();
    bench.say(third, get("b"));
    bench.answer(second, format!("${}\r\n{}", HUGE, "w".repeat(100_000)));
    let last = bench.connect(0);
    assert_eq!(bench.asked(last), get("b"));
    assert_eq!(bench.proxy.stats().moves, 2);
}

#[test]
fn a_read_that_is_asked_again_after_a_loss_does_not_move_nor_the_other_way_round() {
    for is_lost_first in [true, false] {
        let (mut bench, backends) = Bench::ready(1, |_| {});
        let (huge, reads) = (bench.client(), bench.client());
        bench.say(huge, get("huge"));
        bench.say(reads, get("a"));
        bench.asked(backends[0]);
        let mut first = backends[0];
        if is_lost_first {
            bench.proxy.handle_backend_end(first, bench.now);
            bench.turn();
            first = bench.connect(0);
            assert_eq!(bench.asked(first), get("huge") + &get("a"));
        }
        bench.answer(first, format!("${}\r\n{}", HUGE, "v".repeat(100_000)));
        if is_lost_first {
            assert_eq!((bench.connects.len(), bench.proxy.stats().moves), (0, 0));
            continue;
        }
        let second = bench.connect(0);
        assert_eq!(bench.asked(second), get("a"));
        bench.proxy.handle_backend_end(second, bench.now);
        bench.turn();
        assert!(bench.told(reads).ends_with("lost before its reply; the command may have been run\r\n"));
    }
}

#[test]
fn without_room_elsewhere_nobody_moves() {
    let (mut bench, backends) = Bench::ready(1, |settings| {
        settings.pool_size = 1;
        settings.limits.client_unread_pause_bytes = 50_000;
    });
    let (slow, reads) = (bench.client(), bench.client());
    bench.say(slow, get("large"));
    bench.say(reads, get("a"));
    bench.set_room(Conn::Client(slow), 0);
    let large = bulk(&"v".repeat(300_000));
    bench.answer(backends[0], large.clone() + &bulk("A"));
    assert_eq!(bench.told(reads), bulk("A"));
    bench.make_room(Conn::Client(slow), usize::MAX - 1);
    assert_eq!((bench.told(slow), bench.proxy.stats().moves), (large, 0));
    bench.assert_nothing_is_left();
}

#[test]
fn a_client_that_takes_nothing_for_its_write_timeout_is_closed() {
    let (mut bench, backends) = Bench::ready(1, |settings| settings.timeouts.local_write_ms = 1_000);
    let client = bench.client();
    bench.set_room(Conn::Client(client), 3);
    bench.say(client, get("a"));
    bench.answer(backends[0], bulk("value"));
    bench.pass(600);
    bench.make_room(Conn::Client(client), 1);
    bench.pass(600);
    assert!(!bench.is_closed(Conn::Client(client)), "it made progress");
    bench.pass(400);
    assert!(bench.is_closed(Conn::Client(client)));
}

#[test]
fn a_client_that_is_silent_for_its_read_timeout_is_closed_unless_it_is_owed_something() {
    let (mut bench, backends) = Bench::ready(1, |settings| {
        settings.timeouts.local_read_ms = 1_000;
        settings.timeouts.remote_read_ms = 60_000;
    });
    let (idle, owed) = (bench.client(), bench.client());
    bench.say(owed, get("a"));
    bench.pass(999);
    assert!(!bench.is_closed(Conn::Client(idle)));
    bench.pass(1);
    assert!(bench.is_closed(Conn::Client(idle)) && !bench.is_closed(Conn::Client(owed)));
    bench.pass(5_000);
    bench.answer(backends[0], bulk("a"));
    bench.pass(999);
    assert!(!bench.is_closed(Conn::Client(owed)));
    bench.pass(1);
    assert!(bench.is_closed(Conn::Client(owed)));
}

#[test]
fn a_server_that_takes_nothing_for_the_write_timeout_loses_its_connection() {
    let (mut bench, backends) = Bench::ready(1, |settings| settings.timeouts.remote_read_ms = 60_000);
    let client = bench.client();
    bench.set_room(Conn::Backend(backends[0]), 0);
    bench.say(client, set("a", "x"));
    bench.pass(499);
    assert!(!bench.is_closed(Conn::Backend(backends[0])));
    bench.pass(1);
    assert!(bench.is_closed(Conn::Backend(backends[0])));
    let second = bench.connect(0);
    assert_eq!(bench.asked(second), set("a", "x"));
}

#[test]
fn a_large_piece_behind_something_that_waits_may_be_taken_in_part() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let (client, other) = (bench.client(), bench.client());
    bench.set_room(Conn::Backend(backends[0]), 10);
    bench.hear(client, get("a"));
    bench.hear(other, set("b", &"v".repeat(50_000)));
    bench.turn();
    bench.make_room(Conn::Backend(backends[0]), usize::MAX - 1);
    assert_eq!(bench.asked(backends[0]), get("a") + &set("b", &"v".repeat(50_000)));
    bench.set_room(Conn::Client(client), 5);
    bench.say(client, request(&["ECHO", "before"]) + &get("c"));
    bench.answer(backends[0], bulk("a") + "+OK\r\n" + &bulk(&"c".repeat(50_000)));
    bench.make_room(Conn::Client(client), usize::MAX - 1);
    assert_eq!(bench.told(client), bulk("a") + &bulk("before") + &bulk(&"c".repeat(50_000)));
}

#[test]
fn a_large_request_whose_connection_is_lost_is_read_to_its_end() {
    for is_refused in [false, true] {
        let (mut bench, backends) = Bench::ready(1, |settings| settings.limits.send_queue_bytes_max = 50_000);
        let client = bench.client();
        let upload = set("large", &"v".repeat(300_000));
        let backend = if is_refused {
            bench.say(client, request(&["SELECT", "99"]));
            bench.told(client);
            bench.say(client, &upload[..100_000]);
            bench.next_connect(0)
        } else {
            bench.set_room(Conn::Backend(backends[0]), 0);
            bench.say(client, &upload[..100_000]);
            backends[0]
        };
        assert!(!bench.proxy.is_listening_to(Conn::Client(client)), "the server takes nothing");
        if is_refused {
            bench.proxy.handle_connected(backend, bench.now);
            bench.turn();
            bench.answer(backend, "*0\r\n-ERR DB index is out of range\r\n+PONG\r\n");
        } else {
            bench.proxy.handle_backend_end(backend, bench.now);
            bench.turn();
        }
        assert!(bench.told(client).starts_with("-ERR "));
        assert!(bench.proxy.is_listening_to(Conn::Client(client)) && bench.has_resumed(Conn::Client(client)));
        bench.say(client, upload[100_000..].to_owned() + &request(&["PING"]));
        assert_eq!(bench.told(client), "+PONG\r\n");
    }
}

#[test]
fn a_client_that_waits_for_large_replies_of_two_servers_gets_both() {
    let (mut bench, backends) = Bench::ready(2, |settings| settings.limits.client_unread_pause_bytes = 100_000);
    let (a, b) = (key_on(&bench, 0), key_on(&bench, 1));
    let (first, second) = (bulk(&"a".repeat(400_000)), bulk(&"b".repeat(400_000)));
    let client = bench.client();
    bench.say(client, get(&a) + &get(&b));
    // The second one comes first, and as much of it as may be held.
    let mut replies = [first.as_bytes(), second.as_bytes()];
    let mut told = String::new();
    for server in [1, 0].into_iter().cycle().take(40) {
        if bench.proxy.is_listening_to(Conn::Backend(backends[server])) {
            let (piece, rest) = replies[server].split_at(replies[server].len().min(60_000));
            replies[server] = rest;
            if !piece.is_empty() {
                bench.answer(backends[server], piece);
            }
        }
        told += &bench.told(client);
        assert!(bench.proxy.buffered_bytes() < 300_000, "early bytes are bounded");
    }
    assert!(told == first + &second, "{} bytes came", told.len());
    bench.assert_nothing_is_left();
}

#[test]
fn two_backends_that_wait_for_one_client_are_both_read_again() {
    let (mut bench, backends) = Bench::ready(2, |settings| settings.limits.client_unread_pause_bytes = 100_000);
    let (a, b) = (key_on(&bench, 0), key_on(&bench, 1));
    let client = bench.client();
    bench.say(client, get(&a) + &get(&b));
    bench.set_room(Conn::Client(client), 0);
    for backend in [0, 1] {
        bench.answer(backends[backend], &bulk(&"v".repeat(400_000))[..120_000]);
        assert!(!bench.proxy.is_listening_to(Conn::Backend(backends[backend])));
    }
    bench.make_room(Conn::Client(client), usize::MAX - 1);
    assert!(bench.proxy.is_listening_to(Conn::Backend(backends[0])) && bench.has_resumed(Conn::Backend(backends[0])));
    bench.answer(backends[0], &bulk(&"v".repeat(400_000))[120_000..]);
    assert!(bench.proxy.is_listening_to(Conn::Backend(backends[1])) && bench.has_resumed(Conn::Backend(backends[1])));
}

#[test]
fn a_client_that_is_slow_to_take_its_replies_has_its_whole_read_timeout_afterwards() {
    let (mut bench, backends) = Bench::ready(1, |settings| settings.timeouts.local_read_ms = 1_000);
    let client = bench.client();
    bench.set_room(Conn::Client(client), 0);
    bench.say(client, get("a"));
    bench.answer(backends[0], bulk("a"));
    bench.pass(1_000);
    bench.pass(990);
    bench.make_room(Conn::Client(client), 100);
    bench.pass(999);
    assert!(!bench.is_closed(Conn::Client(client)));
    bench.pass(1);
    assert!(bench.is_closed(Conn::Client(client)));
}

#[test]
fn a_client_that_stops_in_the_middle_of_a_large_request_is_silent_too() {
    let (mut bench, _) = Bench::ready(1, |settings| settings.timeouts.local_read_ms = 1_000);
    let client = bench.client();
    bench.say(client, &set("large", &"v".repeat(300_000))[..100_000]);
    bench.pass(600);
    bench.say(client, "v".repeat(100));
    bench.pass(999);
    assert!(!bench.is_closed(Conn::Client(client)));
    bench.pass(1);
    assert!(bench.is_closed(Conn::Client(client)));
}

#[test]
fn what_was_queued_in_this_very_turn_has_not_waited_for_long() {
    let (mut bench, backends) = Bench::ready(1, |settings| {
        settings.timeouts.local_write_ms = 1_000;
        settings.timeouts.local_read_ms = 5_000;
        settings.timeouts.remote_read_ms = 60_000;
    });
    let client = bench.client();
    bench.say(client, get("a"));
    bench.answer(backends[0], bulk("a"));
    bench.now = bench.now + 4_999;
    bench.hear(client, get("b"));
    bench.now = bench.now + 1;
    bench.answer(backends[0], "");
    assert!(!bench.is_closed(Conn::Backend(backends[0])));
    bench.now = bench.now + 60_000;
    bench.answer(backends[0], bulk("b"));
    assert_eq!(bench.told(client), bulk("a") + &bulk("b"));
    assert!(!bench.is_closed(Conn::Client(client)));
}

#[test]
fn a_socket_that_was_filled_to_its_last_byte_long_ago_is_waited_for_from_now_on() {
    let (mut bench, backends) = Bench::ready(1, |settings| settings.timeouts.local_write_ms = 1_000);
    let client = bench.client();
    bench.set_room(Conn::Client(client), bulk("a").len());
    bench.say(client, get("a"));
    bench.answer(backends[0], bulk("a"));
    bench.pass(50_000);
    bench.say(client, get("b"));
    bench.answer(backends[0], bulk("b"));
    bench.pass(999);
    assert!(!bench.is_closed(Conn::Client(client)));
    bench.pass(1);
    assert!(bench.is_closed(Conn::Client(client)));
}

#[test]
fn who_has_a_connection_does_not_keep_it_from_those_who_wait() {
    let (mut bench, backends) = Bench::ready(1, |settings| settings.pool_size = 1);
    let (busy, waits) = (bench.client(), bench.client());
    bench.say(busy, get("a"));
    bench.say(waits, request(&["SELECT", "1"]) + &get("b"));
    for _ in 0..3 {
        bench.say(busy, get("a"));
        bench.answer(backends[0], bulk("a"));
    }
    assert!(bench.asked(backends[0]).contains("SELECT"), "it never owed nothing");
}
