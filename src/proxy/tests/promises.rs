//! What rmux promises, when nothing is wrong: order, pooling, sessions, limits, the end.

use super::*;

#[test]
fn replies_go_out_in_the_order_of_the_requests_whichever_server_is_first() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let (a, b) = (key_on(&bench, 0), key_on(&bench, 1));
    let client = bench.client();
    bench.say(client, get(&a) + &request(&["PING"]) + &get(&b) + &request(&["ECHO", "end"]));
    assert_eq!(bench.asked(backends[0]), get(&a));
    assert_eq!(bench.asked(backends[1]), get(&b));
    bench.answer(backends[1], bulk("second"));
    assert_eq!(bench.told(client), "");
    bench.answer(backends[0], bulk("first"));
    assert_eq!(bench.told(client), bulk("first") + "+PONG\r\n" + &bulk("second") + &bulk("end"));
    bench.assert_nothing_is_left();
}

#[test]
fn many_clients_share_one_connection_and_each_gets_its_own_reply() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let clients: Vec<Id> = (0..100).map(|_| bench.client()).collect();
    for (number, &client) in clients.iter().enumerate() {
        bench.hear(client, get(&format!("k{number}")));
    }
    bench.turn();
    assert!(bench.connects.is_empty(), "one connection is enough");
    let expected: String = (0..100).map(|number| get(&format!("k{number}"))).collect();
    assert_eq!(bench.asked(backends[0]), expected);
    let replies: String = (0..100).map(|number| bulk(&format!("v{number}"))).collect();
    let (start, rest) = replies.split_at(777);
    bench.answer(backends[0], start);
    bench.answer(backends[0], rest);
    for (number, &client) in clients.iter().enumerate() {
        assert_eq!(bench.told(client), bulk(&format!("v{number}")));
    }
    bench.assert_nothing_is_left();
}

#[test]
fn a_request_and_a_reply_may_come_byte_by_byte() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    for byte in (get("k") + "ECHO 'a b'\r\n" + &set("k", "v")).bytes() {
        bench.say(client, [byte]);
    }
    assert_eq!(bench.asked(backends[0]), get("k") + &set("k", "v"));
    for byte in (bulk("value") + "+OK\r\n").bytes() {
        bench.answer(backends[0], [byte]);
    }
    assert_eq!(bench.told(client), bulk("value") + &bulk("a b") + "+OK\r\n");
}

#[test]
fn a_client_that_leaves_has_its_replies_dropped_in_their_place() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let (leaves, stays) = (bench.client(), bench.client());
    bench.hear(leaves, get("a") + &get("b"));
    bench.hear(stays, get("c"));
    bench.turn();
    bench.proxy.handle_client_broken(leaves);
    bench.turn();
    assert!(bench.is_closed(Conn::Client(leaves)));
    let next = bench.client();
    bench.say(next, get("d"));
    bench.answer(backends[0], bulk("a") + &bulk("b") + &bulk("c") + &bulk("d"));
    assert_eq!(bench.told(leaves), "");
    assert_eq!(bench.told(stays), bulk("c"));
    assert_eq!(bench.told(next), bulk("d"));
    bench.assert_nothing_is_left();
}

#[test]
fn a_client_that_half_closes_still_gets_what_it_asked_for() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    bench.hear(client, get("a") + &get("b"));
    bench.proxy.handle_client_end(client);
    bench.turn();
    bench.answer(backends[0], bulk("a"));
    assert!(!bench.is_closed(Conn::Client(client)));
    bench.answer(backends[0], bulk("b"));
    assert_eq!(bench.told(client), bulk("a") + &bulk("b"));
    assert!(bench.is_closed(Conn::Client(client)));
}

#[test]
fn quit_is_answered_in_its_place_and_nothing_behind_it_is_done() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    bench.say(client, get("a") + &request(&["QUIT"]) + &set("b", "never"));
    assert_eq!(bench.asked(backends[0]), get("a"));
    assert!(!bench.is_closed(Conn::Client(client)));
    bench.answer(backends[0], bulk("a"));
    assert_eq!(bench.told(client), bulk("a") + "+OK\r\n");
    assert!(bench.is_closed(Conn::Client(client)));
}

#[test]
fn a_client_gets_a_backend_that_is_set_to_its_database() {
    let (mut bench, backends) = Bench::ready(1, |settings| settings.pool_size = 1);
    let client = bench.client();
    // Its requests can not be outstanding on a connection of another database: the second waits for the first.
    bench.say(client, get("a") + &request(&["SELECT", "3"]) + &get("b"));
    assert_eq!(bench.asked(backends[0]), get("a"));
    bench.answer(backends[0], bulk("a"));
    assert_eq!(bench.told(client), bulk("a") + "+OK\r\n");
    assert_eq!(bench.asked(backends[0]), request(&["SELECT", "3"]), "and nothing before it is confirmed");
    bench.answer(backends[0], "+OK\r\n");
    assert_eq!(bench.asked(backends[0]), get("b"));
    bench.answer(backends[0], bulk("b"));
    assert_eq!(bench.told(client), bulk("b"));
    let other = bench.client();
    bench.say(other, get("c"));
    assert_eq!(bench.asked(backends[0]), request(&["SELECT", "0"]));
}

#[test]
fn another_protocol_gets_a_connection_of_its_own_while_there_is_room() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    bench.say(client, request(&["HELLO", "3"]) + &get("a"));
    assert!(bench.told(client).starts_with("%7\r\n"));
    assert_eq!(bench.asked(backends[0]), "");
    let backend = bench.connect(0);
    assert_eq!(bench.asked(backend), get("a"));
    bench.answer(backend, "_\r\n");
    assert_eq!(bench.told(client), "_\r\n");
}

#[test]
fn what_the_server_says_to_a_database_that_it_does_not_have_is_told_to_who_asks() {
    let (mut bench, backends) = Bench::ready(1, |settings| settings.pool_size = 1);
    let client = bench.client();
    bench.say(client, request(&["SELECT", "99"]) + &get("a") + &set("b", "x"));
    assert_eq!(bench.told(client), "+OK\r\n");
    assert_eq!(bench.asked(backends[0]), request(&["SELECT", "99"]));
    bench.answer(backends[0], "-ERR DB index is out of range\r\n");
    let refusal = "-ERR DB index is out of range\r\n";
    assert_eq!(bench.told(client), [refusal, refusal].concat());
    assert!(!bench.is_closed(Conn::Client(client)) && !bench.is_closed(Conn::Backend(backends[0])));
    bench.say(client, request(&["SELECT", "0"]) + &get("a"));
    assert_eq!(bench.asked(backends[0]), get("a"));
}

#[test]
fn a_subcommand_that_a_newer_module_may_have_is_the_servers_to_know() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    let newer = request(&["JSON.DEBUG", "NEWER", "k"]);
    bench.say(client, newer.clone());
    assert_eq!(bench.asked(backends[0]), newer);
    bench.answer(backends[0], ":7\r\n");
    assert_eq!(bench.told(client), ":7\r\n");
    let told = |bench: &mut Bench, words: &[&str]| {
        bench.say(client, request(words));
        bench.told(client)
    };
    assert_eq!(
        told(&mut bench, &["FT.CONFIG", "NEWER", "x"]),
        "-ERR unknown subcommand 'NEWER'. Try FT.CONFIG HELP.\r\n"
    );
    assert_eq!(told(&mut bench, &["FT.CURSOR", "READ\0"]), "-ERR unknown subcommand 'READ'. Try FT.CURSOR HELP.\r\n");
    assert_eq!(told(&mut bench, &["OBJECT", "NEWER", "k"]), "-ERR unknown subcommand 'NEWER'. Try OBJECT HELP.\r\n");
    bench.say(client, request(&["MULTI"]) + &newer + &request(&["EXEC"]));
    let leased = bench.connect(0);
    assert_eq!(bench.asked(leased), request(&["MULTI"]) + &newer + &request(&["EXEC"]));
    let (mut bench, _) = Bench::ready(2, |_| {});
    let client = bench.client();
    bench.say(client, newer);
    assert_eq!(bench.told(client), "-ERR unknown subcommand 'NEWER'. Try JSON.DEBUG HELP.\r\n");
}

#[test]
fn parked_clients_are_served_in_order_and_not_overtaken() {
    let (mut bench, backends) = Bench::ready(1, |settings| {
        settings.pool_size = 1;
        settings.limits.pipeline_max = 1;
    });
    let clients: Vec<Id> = (0..4).map(|_| bench.client()).collect();
    for (number, &client) in clients.iter().enumerate() {
        bench.say(client, get(&format!("k{number}")));
    }
    for (number, &client) in clients.iter().enumerate() {
        assert_eq!(bench.asked(backends[0]), get(&format!("k{number}")));
        bench.answer(backends[0], bulk("x"));
        assert_eq!(bench.told(client), bulk("x"));
    }
    assert!(bench.connects.is_empty());
    bench.assert_nothing_is_left();
}

#[test]
fn who_waits_too_long_for_a_connection_is_told_so_and_stays() {
    let (mut bench, backends) = Bench::ready(1, |settings| {
        settings.pool_size = 1;
        settings.limits.pipeline_max = 1;
        settings.timeouts.remote_read_ms = 60_000;
        settings.timeouts.remote_connect_ms = 300;
    });
    let (busy, waits) = (bench.client(), bench.client());
    bench.say(busy, get("a"));
    bench.say(waits, set("b", "x") + &request(&["PING"]));
    bench.pass(299);
    assert_eq!(bench.told(waits), "");
    bench.pass(1);
    assert_eq!(bench.told(waits), "-ERR No connection to server-0 became free within 300 ms\r\n+PONG\r\n");
    bench.answer(backends[0], bulk("a"));
    bench.say(waits, get("c"));
    assert_eq!(bench.asked(backends[0]), get("a") + &get("c"));
}

#[test]
fn who_has_too_much_outstanding_and_no_connection_of_its_own_is_not_listened_to_until_half_of_it_is_answered() {
    let (mut bench, backends) = Bench::ready(1, |settings| {
        settings.limits.client_outstanding_max = 4;
        settings.lease_max = 0;
    });
    let client = bench.client();
    let requests: String = (0..6).map(|number| get(&format!("k{number}"))).collect();
    bench.say(client, &requests);
    assert!(!bench.proxy.is_listening_to(Conn::Client(client)));
    assert_eq!(bench.asked(backends[0]), (0..4).map(|number| get(&format!("k{number}"))).collect::<String>());
    bench.answer(backends[0], bulk("x"));
    assert_eq!(bench.asked(backends[0]), "");
    bench.answer(backends[0], bulk("x"));
    assert_eq!(bench.asked(backends[0]), get("k4") + &get("k5"));
    assert!(bench.has_resumed(Conn::Client(client)));
}

#[test]
fn a_large_request_is_passed_on_as_it_comes_and_holds_up_nobody() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let (large, small) = (bench.client(), bench.client());
    let value = "v".repeat(300_000);
    let upload = set("large", &value);
    let (start, rest) = upload.split_at(100_000);
    bench.say(large, start);
    assert_eq!(bench.asked(backends[0]), start);
    bench.say(small, get("k"));
    let other = bench.connect(0);
    assert_eq!(bench.asked(other), get("k"));
    bench.answer(other, bulk("x"));
    assert_eq!(bench.told(small), bulk("x"));
    bench.say(large, rest.to_owned() + &get("behind"));
    assert_eq!(bench.asked(backends[0]), rest.to_owned() + &get("behind"));
    bench.answer(backends[0], "+OK\r\n".to_owned() + &bulk("y"));
    assert_eq!(bench.told(large), "+OK\r\n".to_owned() + &bulk("y"));
    bench.assert_nothing_is_left();
}

#[test]
fn a_large_reply_is_passed_on_as_it_comes() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    bench.say(client, get("large") + &get("k"));
    let reply = bulk(&"v".repeat(400_000));
    let (start, rest) = reply.split_at(90_000);
    bench.answer(backends[0], start);
    assert_eq!(bench.told(client), start);
    bench.answer(backends[0], rest.to_owned() + &bulk("x"));
    assert_eq!(bench.told(client), rest.to_owned() + &bulk("x"));
    bench.assert_nothing_is_left();
}

#[test]
fn keys_of_several_servers_that_must_be_together_are_refused() {
    let (mut bench, _) = Bench::ready(2, |_| {});
    let (a, b) = (key_on(&bench, 0), key_on(&bench, 1));
    let client = bench.client();
    bench.say(client, request(&["RENAME", &a, &b]));
    assert_eq!(bench.told(client), "-CROSSSLOT Keys in request don't hash to the same slot\r\n");
}

#[test]
fn one_client_too_many_is_turned_away() {
    let (mut bench, _) = Bench::ready(1, |settings| settings.limits.clients_max = 1);
    let first = bench.client();
    assert_eq!(bench.proxy.handle_accept(bench.now), None);
    bench.proxy.handle_client_end(first);
    bench.turn();
    assert!(bench.proxy.handle_accept(bench.now).is_some());
}

#[test]
fn a_connection_that_is_not_needed_any_more_is_closed_but_the_last_one_is_kept() {
    let (mut bench, backends) = Bench::ready(1, |settings| settings.limits.pipeline_max = 1);
    let clients = [bench.client(), bench.client()];
    bench.say(clients[0], get("a"));
    bench.say(clients[1], get("b"));
    let second = bench.connect(0);
    bench.answer(backends[0], bulk("a"));
    bench.answer(second, bulk("b"));
    for _ in 0..100 {
        bench.pass(1_000);
    }
    assert_eq!(bench.proxy.backends(), 1);
    assert_ne!(bench.is_closed(Conn::Backend(backends[0])), bench.is_closed(Conn::Backend(second)));
}

#[test]
fn at_shutdown_what_is_outstanding_is_answered_and_nobody_new_comes_in() {
    let (mut bench, backends) = Bench::ready(1, |settings| settings.limits.client_outstanding_max = 2);
    let (busy, idle) = (bench.client(), bench.client());
    bench.say(busy, get("a") + &get("b") + &get("c"));
    bench.proxy.handle_shutdown();
    bench.turn();
    assert!(bench.is_closed(Conn::Client(idle)) && !bench.is_closed(Conn::Client(busy)));
    assert_eq!(bench.proxy.handle_accept(bench.now), None);
    bench.answer(backends[0], bulk("a") + &bulk("b"));
    bench.answer(backends[0], bulk("c"));
    assert_eq!(bench.told(busy), bulk("a") + &bulk("b") + &bulk("c"));
    assert!(bench.is_closed(Conn::Client(busy)) && bench.proxy.is_empty());
    bench.assert_nothing_is_left();
}

#[test]
fn only_the_request_that_has_waited_is_given_up() {
    let (mut bench, backends) = Bench::ready(2, |settings| {
        settings.pool_size = 1;
        settings.limits.pipeline_max = 1;
        settings.timeouts.remote_read_ms = 60_000;
    });
    let (a, b) = (key_on(&bench, 0), key_on(&bench, 1));
    let (busy, waits) = (bench.client(), bench.client());
    bench.say(busy, get(&a) + &get(&b));
    bench.say(waits, get(&a) + &get(&b));
    bench.pass(500);
    assert_eq!(bench.told(waits), "-ERR No connection to server-0 became free within 500 ms\r\n");
    bench.answer(backends[1], bulk("b"));
    assert_eq!(bench.asked(backends[1]), get(&b).repeat(2), "its next one has the same time");
}
