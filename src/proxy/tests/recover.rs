//! What becomes of requests whose server, or whose connection to it, fails.

use super::*;
use crate::server_id::ServerId;

const MAY_HAVE_RUN: &str = "-ERR Connection to server-0 lost before its reply; the command may have been run\r\n";

#[test]
fn a_sent_write_is_an_error_and_a_sent_read_is_sent_once_more() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let (reader, writer) = (bench.client(), bench.client());
    bench.say(reader, get("a"));
    bench.say(writer, set("b", "x"));
    bench.asked(backends[0]);
    bench.proxy.handle_backend_end(backends[0], bench.now);
    bench.turn();
    assert_eq!(bench.told(writer), MAY_HAVE_RUN);
    assert_eq!(bench.told(reader), "");
    let second = bench.connect(0);
    assert_eq!(bench.asked(second), get("a"));
    bench.proxy.handle_backend_end(second, bench.now);
    bench.turn();
    assert_eq!(bench.told(reader), MAY_HAVE_RUN, "a read is sent twice at the most");
    assert_eq!(bench.proxy.stats().resends, 1);
    bench.assert_nothing_is_left();
}

#[test]
fn a_read_behind_which_its_client_wrote_is_not_sent_again() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    bench.say(client, get("a") + &set("a", "new") + &get("a"));
    bench.proxy.handle_backend_end(backends[0], bench.now);
    bench.turn();
    assert_eq!(bench.told(client), MAY_HAVE_RUN.repeat(2));
    let second = bench.connect(0);
    assert_eq!(bench.asked(second), get("a"), "the last one saw nothing that it should not");
}

#[test]
fn a_read_behind_which_its_client_wrote_in_a_transaction_is_not_sent_again() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    let transaction = request(&["MULTI"]) + &set("a", "new") + &request(&["EXEC"]);
    bench.say(client, get("a") + &transaction + &get("a"));
    bench.proxy.handle_backend_end(backends[0], bench.now);
    bench.turn();
    assert_eq!(bench.told(client), MAY_HAVE_RUN.repeat(4), "the first one would see what was written after it");
    let second = bench.connect(0);
    assert_eq!(bench.asked(second), get("a"));
    bench.answer(second, bulk("new"));
    assert_eq!(bench.told(client), bulk("new"));
    bench.assert_nothing_is_left();
}

#[test]
fn what_was_not_sent_goes_to_another_connection_in_its_order() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    bench.set_room(Conn::Backend(backends[0]), set("a", "1").len() + 1);
    bench.say(client, set("a", "1") + &set("b", "2") + &set("c", "3") + &get("c"));
    bench.proxy.handle_backend_broken(backends[0], "reset", bench.now);
    bench.turn();
    let second = bench.connect(0);
    assert_eq!(bench.asked(second), set("c", "3") + &get("c"), "of the second one a byte was sent");
    bench.answer(second, "+OK\r\n".to_owned() + &bulk("3"));
    assert_eq!(bench.told(client), MAY_HAVE_RUN.repeat(2) + "+OK\r\n" + &bulk("3"));
    bench.assert_nothing_is_left();
}

#[test]
fn a_server_that_refuses_connections_is_stood_in_for_until_a_probe_succeeds() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let key = key_on(&bench, 0);
    let client = bench.client();
    bench.proxy.handle_backend_end(backends[0], bench.now);
    bench.turn();
    bench.say(client, set(&key, "x"));
    bench.refuse(0);
    assert_eq!(bench.asked(backends[1]), set(&key, "x"));
    bench.answer(backends[1], "+OK\r\n");
    assert_eq!(bench.told(client), "+OK\r\n");
    bench.pass(100);
    let probe = bench.connect(0);
    bench.say(client, get(&key));
    assert_eq!(bench.asked(probe), get(&key), "its keys are its own again");
}

#[test]
fn without_failover_and_with_its_server_down_a_command_is_an_error_at_once() {
    let (mut bench, backends) = Bench::ready(2, |settings| settings.failover = false);
    let (a, b) = (key_on(&bench, 0), key_on(&bench, 1));
    bench.take_down(backends[0], 0);
    let client = bench.client();
    bench.say(client, get(&a) + &get(&b));
    assert_eq!(bench.asked(backends[1]), get(&b));
    assert_eq!(bench.told(client), "-ERR Connection down\r\n");
}

#[test]
fn when_every_server_is_down_what_waits_and_what_comes_is_an_error_at_once() {
    let mut bench = Bench::new(1, |_| {});
    let client = bench.client();
    bench.say(client, set("a", "1") + &get("a"));
    bench.refuse(0);
    assert_eq!(bench.told(client), "-ERR Connection down\r\n".repeat(2));
    bench.say(client, get("a"));
    assert_eq!(bench.told(client), "-ERR Connection down\r\n");
    bench.assert_nothing_is_left();
}

#[test]
fn a_late_reply_is_swallowed_in_its_place() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let (early, late) = (bench.client(), bench.client());
    bench.say(early, get("a"));
    bench.pass(300);
    bench.say(late, get("b"));
    bench.pass(200);
    let error = "-ERR No reply from server-0 within 500 ms; the command may have been run\r\n";
    assert_eq!(bench.told(early), error);
    // No new work for this connection.
    bench.say(early, get("c"));
    let second = bench.connect(0);
    assert_eq!(bench.asked(second), get("c"));
    bench.answer(backends[0], bulk("a") + &bulk("b"));
    assert_eq!((bench.told(early), bench.told(late)), (String::new(), bulk("b")));
    assert!(bench.is_closed(Conn::Backend(backends[0])), "once the rest is resolved");
    bench.answer(second, bulk("c"));
    assert_eq!(bench.told(early), bulk("c"));
    bench.assert_nothing_is_left();
}

#[test]
fn a_reply_that_is_there_beats_its_timeout() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    bench.say(client, get("a"));
    bench.now = bench.now + 60_000;
    bench.answer(backends[0], bulk("a"));
    assert_eq!(bench.told(client), bulk("a"));
}

#[test]
fn an_answer_to_a_question_that_was_not_sent_is_not_believed() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    // In one turn: the client asks, then the surplus is read, then the question would be sent.
    bench.hear(client, get("a"));
    bench.answer(backends[0], bulk("not for you"));
    assert_eq!(bench.told(client), "");
    assert!(bench.is_closed(Conn::Backend(backends[0])));
    let second = bench.connect(0);
    assert_eq!(bench.asked(second), get("a"));
}

#[test]
fn a_reply_that_is_no_reply_closes_the_connection() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    bench.say(client, set("a", "x"));
    bench.answer(backends[0], "HTTP/1.1 400 Bad Request\r\n");
    assert_eq!(bench.told(client), MAY_HAVE_RUN);
    assert!(bench.is_closed(Conn::Backend(backends[0])));
}

#[test]
fn who_has_half_of_a_reply_is_closed_when_its_rest_is_lost() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let (half, whole) = (bench.client(), bench.client());
    bench.say(half, get("large"));
    bench.say(whole, get("small"));
    bench.answer(backends[0], &bulk(&"v".repeat(300_000))[..200_000]);
    assert_eq!(bench.told(half).len(), 200_000);
    bench.proxy.handle_backend_end(backends[0], bench.now);
    bench.turn();
    assert!(bench.is_closed(Conn::Client(half)) && !bench.is_closed(Conn::Client(whole)));
    let second = bench.connect(0);
    assert_eq!(bench.asked(second), get("small"));
}

#[test]
fn half_of_a_reply_that_came_before_its_turn_is_thrown_away_and_asked_for_again() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let (a, b) = (key_on(&bench, 0), key_on(&bench, 1));
    let client = bench.client();
    bench.say(client, get(&a) + &get(&b) + &request(&["PING"]));
    let large = bulk(&"v".repeat(300_000));
    bench.answer(backends[1], &large[..200_000]);
    bench.proxy.handle_backend_end(backends[1], bench.now);
    bench.turn();
    assert!(!bench.is_closed(Conn::Client(client)), "it has seen nothing of that");
    let second = bench.connect(1);
    assert_eq!(bench.asked(second), get(&b));
    bench.answer(backends[0], bulk("first"));
    assert_eq!(bench.told(client), bulk("first"));
    bench.answer(second, &large);
    assert_eq!(bench.told(client), large + "+PONG\r\n");
    bench.assert_nothing_is_left();
}

#[test]
fn half_of_a_writes_reply_that_came_before_its_turn_is_an_error_instead() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let (a, b) = (key_on(&bench, 0), key_on(&bench, 1));
    let client = bench.client();
    bench.say(client, get(&a) + &request(&["GETDEL", &b]));
    bench.answer(backends[1], &bulk(&"v".repeat(300_000))[..200_000]);
    bench.proxy.handle_backend_end(backends[1], bench.now);
    bench.turn();
    bench.answer(backends[0], bulk("first"));
    let lost = "-ERR Connection to server-1 lost before its reply; the command may have been run\r\n";
    assert_eq!(bench.told(client), bulk("first") + lost);
    assert!(!bench.is_closed(Conn::Client(client)));
    bench.assert_nothing_is_left();
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_large_request_takes_the_connection_with_it() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let (leaves, stays) = (bench.client(), bench.client());
    bench.say(stays, get("a"));
    bench.say(leaves, &set("large", &"v".repeat(300_000))[..100_000]);
    bench.asked(backends[0]);
    bench.proxy.handle_client_broken(leaves);
    bench.turn();
    assert!(!bench.is_closed(Conn::Backend(backends[0])), "somebody waits for a reply before it");
    bench.say(stays, get("b"));
    bench.answer(backends[0], bulk("a"));
    assert_eq!(bench.told(stays), bulk("a"));
    assert!(bench.is_closed(Conn::Backend(backends[0])));
    let second = bench.connect(0);
    assert_eq!(bench.asked(second), get("b"), "nothing was sent behind half a request");
    bench.answer(second, bulk("b"));
    bench.assert_nothing_is_left();
}

#[test]
fn a_server_that_is_loading_is_not_alive() {
    let mut bench = Bench::new(1, |_| {});
    let backend = bench.next_connect(0);
    bench.proxy.handle_connected(backend, bench.now);
    bench.turn();
    let client = bench.client();
    bench.say(client, get("a"));
    bench.answer(backend, "*0\r\n-LOADING Redis is loading the dataset in memory\r\n");
    assert_eq!(bench.told(client), "-ERR Connection down\r\n");
    bench.pass(100);
    bench.connect(0);
    bench.say(client, get("a"));
    assert!(bench.proxy.router.is_all_up());
}

#[test]
fn a_surplus_byte_closes_the_connection() {
    for surplus in ["+OK\r\n", "$", "\0", ":1\r\n"] {
        let (mut bench, backends) = Bench::ready(1, |_| {});
        let client = bench.client();
        bench.say(client, get("a"));
        bench.answer(backends[0], bulk("a") + surplus);
        assert_eq!(bench.told(client), bulk("a"));
        assert!(bench.is_closed(Conn::Backend(backends[0])), "{surplus:?}");
    }
}

#[test]
fn the_start_of_a_large_answer_to_a_question_that_was_not_sent_is_not_believed() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    bench.hear(client, get("a"));
    bench.answer(backends[0], &bulk(&"v".repeat(300_000))[..100_000]);
    assert_eq!(bench.told(client), "");
    assert!(bench.is_closed(Conn::Backend(backends[0])) && !bench.is_closed(Conn::Client(client)));
}

#[test]
fn an_answer_to_a_handshake_that_was_not_sent_is_not_believed() {
    let (mut bench, backends) = Bench::ready(1, |settings| settings.pool_size = 1);
    let client = bench.client();
    bench.hear(client, request(&["SELECT", "3"]) + &get("a"));
    // The surplus would pass for the answer to SELECT, and SELECT's own for the answer to GET.
    bench.answer(backends[0], "+OK\r\n");
    assert!(bench.is_closed(Conn::Backend(backends[0])));
    let second = bench.connect(0);
    assert_eq!(bench.asked(second), get("a"));
    bench.answer(second, bulk("a"));
    assert_eq!(bench.told(client), "+OK\r\n".to_owned() + &bulk("a"));
}

#[test]
fn keys_that_lost_their_server_are_not_written_to_one_that_does_not_stand_in_for_all_of_them() {
    let (mut bench, _) = Bench::ready(3, |_| {});
    // Two keys of server 0, for which different servers stand in.
    let stands_in = |bench: &mut Bench, key: &str| {
        bench.proxy.router.set_up(ServerId::of_index(0), false);
        let server = bench.proxy.router.route_hash(Ring::hash(key.as_bytes())).server();
        bench.proxy.router.set_up(ServerId::of_index(0), true);
        server
    };
    let keys: Vec<String> = (0..200)
        .map(|number| format!("k{number}"))
        .filter(|key| bench.proxy.router.ring().primary(Ring::hash(key.as_bytes())) == ServerIndex(0))
        .collect();
    let of = |bench: &mut Bench, server| {
        keys.iter().find(|key| stands_in(bench, key) == Some(server)).expect("server 0 has two neighbours").clone()
    };
    let (a, b) = (of(&mut bench, ServerId::of_index(1)), of(&mut bench, ServerId::of_index(2)));
    let backend = bench.proxy.upstreams.pool(ServerId::of_index(0)).backends()[0];
    let client = bench.client();
    bench.set_room(Conn::Backend(backend), 0);
    bench.say(client, request(&["MSETNX", &a, "1", &b, "2"]));
    bench.proxy.handle_backend_broken(backend, "reset", bench.now);
    bench.turn();
    bench.refuse(0);
    assert_eq!(bench.told(client), "-CROSSSLOT Keys in request don't hash to the same slot\r\n");
    bench.assert_nothing_is_left();
}

#[test]
fn a_read_is_not_sent_again_to_where_a_later_write_of_its_client_has_been() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let key = key_on(&bench, 0);
    let client = bench.client();
    bench.say(client, get(&key));
    // Another connection finds the server gone; the one that owes the reply is still there.
    let other = bench.client();
    bench.say(other, request(&["SELECT", "1"]) + &get(&key));
    bench.refuse(0);
    bench.say(client, set(&key, "later"));
    bench.proxy.handle_backend_end(backends[0], bench.now);
    bench.turn();
    assert_eq!(bench.asked(backends[1]), get(&key));
    bench.answer(backends[1], bulk("earlier"));
    assert_eq!(bench.asked(backends[1]), set(&key, "later"));
    bench.answer(backends[1], "+OK\r\n");
    assert_eq!(bench.told(client), bulk("earlier") + "+OK\r\n");
}

#[test]
fn writes_that_wait_for_a_server_that_is_down_are_not_overtaken_by_later_ones() {
    let (mut bench, backends) = Bench::ready(2, |settings| settings.pool_size = 2);
    let key = key_on(&bench, 0);
    bench.proxy.handle_backend_end(backends[0], bench.now);
    bench.turn();
    // Two connections are on their way to a server that is gone.
    let (first, second) = (bench.client(), bench.client());
    bench.say(second, request(&["SELECT", "1"]) + &get(&key));
    bench.say(first, set(&key, "1"));
    assert_eq!(bench.connects.iter().filter(|connect| connect.1 == 0).count(), 2);
    bench.connects.reverse();
    bench.refuse(0);
    bench.say(first, set(&key, "2"));
    bench.refuse(0);
    assert_eq!(bench.asked(backends[1]), set(&key, "1"));
    bench.answer(backends[1], "+OK\r\n");
    assert_eq!(bench.asked(backends[1]), set(&key, "2"));
}

#[test]
fn what_a_connect_that_fails_at_once_leaves_to_be_said_does_not_wait_for_the_next_event() {
    let mut bench = Bench::new(1, |_| {});
    let client = bench.client();
    bench.say(client, get("a"));
    // The shell is told while it carries out the actions, when this turn's sending is over.
    let backend = bench.next_connect(0);
    bench.proxy.handle_connect_failed(backend, "no such socket", bench.now);
    assert!(bench.proxy.next_deadline().is_some_and(|deadline| deadline <= bench.now));
    bench.turn();
    assert_eq!(bench.told(client), "-ERR Connection down\r\n");
    assert!(bench.proxy.next_deadline().is_none_or(|deadline| deadline > bench.now));
}

#[test]
fn who_waits_has_its_turn_in_the_turn_in_which_a_connection_is_lost() {
    let (mut bench, backends) = Bench::ready(1, |settings| {
        settings.pool_size = 1;
        settings.limits.pipeline_max = 1;
    });
    let (busy, waits) = (bench.client(), bench.client());
    bench.set_room(Conn::Backend(backends[0]), 5);
    bench.say(busy, set("a", "x"));
    bench.say(waits, set("b", "y"));
    bench.net.broken.push(Conn::Backend(backends[0]));
    bench.make_room(Conn::Backend(backends[0]), 100);
    assert_eq!(bench.told(busy), MAY_HAVE_RUN);
    assert_eq!(bench.proxy.clients.parked(), 0);
    let second = bench.connect(0);
    assert_eq!(bench.asked(second), set("b", "y"));
}

#[test]
fn a_probe_that_is_refused_for_want_of_room_is_not_the_last_one() {
    let (mut bench, _) = Bench::ready(1, |_| {});
    let client = bench.client();
    // One connection is fine, another can not be made: the server is taken for down.
    bench.say(client, request(&["SELECT", "1"]) + &get("a"));
    bench.refuse(0);
    assert!(!bench.proxy.router.is_all_up());
    bench.pass(100);
    let probe = bench.next_connect(0);
    bench.proxy.handle_connected(probe, bench.now);
    bench.answer(probe, "-ERR max number of clients reached\r\n");
    bench.pass(1_000);
    bench.connect(0);
    assert!(bench.proxy.router.is_all_up());
}

#[test]
fn what_lost_its_server_is_not_overtaken_at_the_one_where_its_client_watches_keys() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let (a, b) = (key_on(&bench, 0), key_on(&bench, 1));
    let client = bench.client();
    bench.say(client, request(&["WATCH", &b]));
    let leased = bench.connect(1);
    bench.asked(leased);
    bench.answer(leased, "+OK\r\n");
    bench.say(client, get(&a));
    bench.asked(backends[0]);
    bench.take_down(backends[0], 0);
    assert_eq!(bench.asked(leased), get(&a), "where what comes behind will go");
    bench.answer(leased, bulk("A"));
    assert_eq!(bench.told(client), "+OK\r\n".to_owned() + &bulk("A"));
}

#[test]
fn what_lost_its_server_is_no_step_of_a_transaction_at_the_one_that_stands_in() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let (a, b) = (key_on(&bench, 0), key_on(&bench, 1));
    let client = bench.client();
    bench.say(client, get(&a) + &request(&["MULTI"]) + &set(&b, "1"));
    let leased = bench.connect(1);
    bench.asked(leased);
    bench.take_down(backends[0], 0);
    assert_eq!(bench.asked(leased), "", "it would be queued");
    bench.answer(leased, "+OK\r\n+QUEUED\r\n");
    let lost = "-ERR Connection to server-0 lost, and no other is free\r\n";
    assert_eq!(bench.told(client), lost.to_owned() + "+OK\r\n+QUEUED\r\n");
}
