//! The account of memory: what counts, who gives way when it is too much, and that it is given back.

use super::*;
use crate::request::Request;

fn limited(servers: usize, max: usize) -> (Bench, Vec<Id>) {
    Bench::ready(servers, |settings| settings.limits.buffered_bytes_max = max)
}

/// Request that has to be collected: its keys live on two servers, and it is not whole.
fn start_of_mset(bench: &Bench, len: usize) -> String {
    let (a, b) = (key_on(bench, 0), key_on(bench, 1));
    let head = format!("*5\r\n$4\r\nMSET\r\n${}\r\n{a}\r\n$1\r\nx\r\n${}\r\n{b}\r\n$100000000\r\n", a.len(), b.len());
    head + &"v".repeat(len)
}

#[test]
fn what_is_collected_counts_and_who_collects_most_is_refused() {
    for command in ["MSET", "PING", "NOSUCHCOMMAND"] {
        let (mut bench, backends) = limited(2, 2_000_000);
        let head = format!("*3\r\n${}\r\n{command}\r\n$1\r\nk\r\n$1900000\r\n", command.len());
        let (small, large) = (bench.client(), bench.client());
        bench.say(small, head.clone() + &"v".repeat(300_000));
        bench.say(large, head + &"v".repeat(100_000));
        for _ in 0..17 {
            bench.say(large, "v".repeat(100_000));
            assert!(bench.proxy.buffered_bytes() < 2_300_000);
        }
        bench.say(large, "v");
        assert_eq!(bench.told(large), no_room("This request", 2_000_000), "{command}");
        assert!(bench.proxy.buffered_bytes() < 500_000, "{} bytes", bench.proxy.buffered_bytes());
        // Nobody is closed over it: the rest is thrown away, and the next request is served.
        bench.say(large, "v".repeat(99_999) + "\r\n" + &get("k0"));
        assert_eq!(bench.asked(backends[0]) + &bench.asked(backends[1]), get("k0"));
        bench.say(small, "v".repeat(1_600_000) + "\r\n");
        assert!(!bench.told(small).contains("memory"), "{command}");
    }
}

#[test]
fn who_stalls_with_much_of_a_request_starves_nobody() {
    let (mut bench, backends) = limited(2, 1_000_000);
    let (stalled, other) = (bench.client(), bench.client());
    let start = start_of_mset(&bench, 930_000);
    bench.say(stalled, start);
    // Others collect a little, and are not asked to give way for it.
    let (a, b) = (key_on(&bench, 0), key_on(&bench, 1));
    let request = request(&["MSET", &a, &"v".repeat(60_000), &b, &"w".repeat(60_000)]);
    bench.say(other, &request[..110_000]);
    bench.say(other, &request[110_000..]);
    assert_eq!(bench.told(stalled), no_room("This request", 1_000_000));
    assert!(bench.asked(backends[0]).len() > 60_000 && bench.asked(backends[1]).len() > 60_000);
    bench.answer(backends[0], "+OK\r\n");
    bench.answer(backends[1], "+OK\r\n");
    assert_eq!(bench.told(other), "+OK\r\n");
    assert!(!bench.is_closed(Conn::Client(stalled)));
}

#[test]
fn a_request_that_is_refused_breaks_the_transaction_that_it_is_a_step_of() {
    let (mut bench, _) = limited(1, 500_000);
    let client = bench.client();
    bench.say(client, request(&["MULTI"]) + "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$600000\r\n");
    bench.say(client, "v".repeat(600_000) + "\r\n" + &request(&["EXEC"]));
    let aborted = "-EXECABORT Transaction discarded because of previous errors.\r\n";
    assert_eq!(bench.told(client), "+OK\r\n".to_owned() + &no_room("This request", 500_000) + aborted);
    bench.assert_nothing_is_left();
}

#[test]
fn a_request_that_is_not_framed_is_refused_and_its_client_closed() {
    let (mut bench, _) = limited(1, 65_536);
    let (one, two) = (bench.client(), bench.client());
    bench.say(one, "PING ".to_owned() + &"x".repeat(40_000));
    bench.say(two, "PING ".to_owned() + &"x".repeat(35_000));
    bench.turn();
    assert_eq!(bench.told(one), no_room("This request", 65_536));
    assert!(bench.is_closed(Conn::Client(one)) && !bench.is_closed(Conn::Client(two)));
}

#[test]
fn a_request_that_is_taken_apart_is_there_twice_for_a_moment() {
    let (mut bench, backends) = limited(2, 1_000_000);
    let (a, b) = (key_on(&bench, 0), key_on(&bench, 1));
    let client = bench.client();
    bench.say(client, request(&["MSET", &a, &"v".repeat(300_000), &b, &"w".repeat(300_000)]));
    assert_eq!(bench.told(client), no_room("This request, taken apart,", 1_000_000));
    bench.say(client, request(&["MSET", &a, &"v".repeat(200_000), &b, &"w".repeat(200_000)]));
    assert!(bench.asked(backends[0]).len() > 200_000 && bench.asked(backends[1]).len() > 200_000);
}

#[test]
fn replies_of_several_servers_may_take_all_the_memory_that_there_is() {
    let (mut bench, backends) = Bench::ready(2, |settings| {
        settings.limits.buffered_bytes_max = 10_000_000;
        settings.limits.client_unread_pause_bytes = 50_000;
        settings.limits.client_unread_bytes_max = 100_000;
    });
    let (a, b) = (key_on(&bench, 0), key_on(&bench, 1));
    let client = bench.client();
    bench.set_room(Conn::Client(client), 0);
    bench.say(client, request(&["MGET", &a, &b, &a, &b]));
    let (large, small) = (bulk(&"a".repeat(4_000_000)), bulk("s"));
    let (longest, nothing) = (bulk(&"b".repeat(5_000_000)), "$-1\r\n");
    let first = format!("*2\r\n{large}{small}");
    let second = format!("*2\r\n{nothing}{longest}");
    let (mut one, mut two) = (first.as_bytes().chunks(99_997), second.as_bytes().chunks(130_000));
    for _ in 0..60 {
        one.next().into_iter().for_each(|piece| bench.answer(backends[0], piece));
        two.next().into_iter().for_each(|piece| bench.answer(backends[1], piece));
    }
    assert!(bench.proxy.buffered_bytes() < 9_100_000, "nothing is there twice: {}", bench.proxy.buffered_bytes());
    assert!(!bench.is_closed(Conn::Client(client)), "it had nothing to read before");
    bench.make_room(Conn::Client(client), usize::MAX);
    let told = bench.told(client);
    assert!(
        told == format!("*4\r\n{large}{nothing}{small}{longest}"),
        "{} {}",
        &told[..100.min(told.len())],
        told.len()
    );
    bench.assert_nothing_is_left();
}

#[test]
fn while_much_is_collected_others_are_served_and_nobody_is_closed() {
    let (mut bench, backends) = limited(2, 1_000_000);
    let (a, b) = (key_on(&bench, 0), key_on(&bench, 1));
    let (greedy, slow, other) = (bench.client(), bench.client(), bench.client());
    // One who has not taken what it was sent, though no more than it may leave.
    bench.set_room(Conn::Client(slow), 0);
    bench.say(slow, get(&b));
    bench.answer(backends[1], bulk(&"s".repeat(50_000)));
    bench.say(greedy, request(&["MGET", &a, &b]));
    bench.answer(backends[1], "*1\r\n$-1\r\n");
    let reply = format!("*1\r\n{}", bulk(&"a".repeat(2_000_000)));
    for piece in reply.as_bytes().chunks(100_000) {
        bench.answer(backends[0], piece);
        bench.say(other, get(&b));
        bench.answer(backends[1], bulk("b"));
        assert_eq!(bench.told(other), bulk("b"));
        assert!(bench.proxy.buffered_bytes() < 1_200_000);
    }
    assert_eq!(bench.told(greedy), no_room("The replies of the servers", 1_000_000));
    assert!(bench.closed.is_empty(), "{:?}", bench.closed);
    bench.make_room(Conn::Client(slow), usize::MAX);
    assert_eq!(bench.told(slow).len(), 50_000 + 10);
    bench.assert_nothing_is_left();
}

#[test]
fn who_leaves_most_unread_is_closed_when_there_is_nothing_else_to_give_back() {
    let (mut bench, backends) = Bench::ready(1, |settings| {
        settings.limits.buffered_bytes_max = 1_000_000;
        settings.limits.client_unread_pause_bytes = 100_000;
    });
    let clients = [bench.client(), bench.client(), bench.client()];
    for (client, count) in clients.into_iter().zip([4, 10, 8]) {
        bench.set_room(Conn::Client(client), 0);
        bench.say(client, get("a").repeat(count));
        bench.answer(backends[0], bulk(&"x".repeat(50_000)).repeat(count));
    }
    bench.turn();
    let closed = clients.map(|client| bench.is_closed(Conn::Client(client)));
    assert_eq!(closed, [false, true, false]);
}

#[test]
fn records_of_requests_count_and_are_given_back() {
    let (mut bench, backends) = Bench::ready(1, |settings| {
        settings.limits.client_outstanding_max = 200_000;
        settings.limits.pipeline_max = 200_000;
        settings.limits.send_queue_bytes_max = 100_000_000;
    });
    let client = bench.client();
    for _ in 0..100 {
        bench.say(client, get("a").repeat(1_000));
    }
    let (requests, account) = (bench.proxy.outstanding(), bench.proxy.buffered_bytes());
    assert!(requests == 100_000 && account >= requests * size_of::<Request>(), "{requests} requests, {account} bytes");
    bench.answer(backends[0], bulk("a").repeat(requests));
    bench.told(client);
    bench.assert_nothing_is_left();
    assert!(
        bench.proxy.in_flight.requests.capacity() < 10_000,
        "{} records are kept",
        bench.proxy.in_flight.requests.capacity()
    );
}

#[test]
fn many_arguments_leave_no_memory_behind() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let client = bench.client();
    let keys: Vec<String> = (0..200_000).map(|number| format!("k{number}")).collect();
    let words: Vec<&str> = ["DEL"].into_iter().chain(keys.iter().map(String::as_str)).collect();
    for _ in 0..3 {
        bench.say(client, request(&words));
        bench.answer(backends[0], ":1\r\n");
        bench.answer(backends[1], ":1\r\n");
        assert_eq!(bench.told(client), ":2\r\n");
    }
    bench.assert_nothing_is_left();
    let framers = bench.proxy.reading.spare_kept.iter().map(|kept| kept.held()).sum::<usize>()
        + bench.proxy.reading.framer.held();
    assert!(framers < 100_000, "{framers} bytes for arguments are kept");
    assert!(bench.proxy.reading.take_reply().capacity() <= LARGE);
}

#[test]
fn many_small_replies_before_their_turn_take_little_more_than_their_bytes() {
    let (mut bench, backends) = Bench::ready(2, |settings| settings.limits.client_outstanding_max = 10_000);
    let (a, b) = (key_on(&bench, 0), key_on(&bench, 1));
    let client = bench.client();
    bench.say(client, get(&a) + &get(&b).repeat(4_000));
    bench.answer(backends[1], bulk(&"b".repeat(100)).repeat(4_000));
    assert!(bench.proxy.buffered_bytes() < 2_500_000, "{} bytes", bench.proxy.buffered_bytes());
    bench.answer(backends[0], bulk("a"));
    assert_eq!(bench.told(client).len(), bulk("a").len() + 4_000 * bulk(&"b".repeat(100)).len());
    bench.assert_nothing_is_left();
}

#[test]
fn subscriptions_and_steps_of_transactions_may_have_half_of_the_memory() {
    let (mut bench, _) = limited(1, 100_000);
    let client = bench.client();
    let names: Vec<String> = (0..500).map(|number| format!("a channel with a long name, number {number}")).collect();
    let words: Vec<&str> = ["SUBSCRIBE"].into_iter().chain(names.iter().map(String::as_str)).collect();
    bench.say(client, request(&words));
    assert_eq!(bench.told(client), no_room("These subscriptions", 100_000));
    let (mut bench, _) = limited(2, 100_000);
    let clients = [bench.client(), bench.client()];
    let step = request(&["ECHO", &"x".repeat(30_000)]);
    bench.say(clients[0], request(&["MULTI"]) + &step);
    assert_eq!(bench.told(clients[0]), "+OK\r\n+QUEUED\r\n");
    bench.say(clients[1], request(&["MULTI"]) + &step);
    assert_eq!(bench.told(clients[1]), "+OK\r\n".to_owned() + &no_room("The steps of transactions", 100_000));
    bench.proxy.handle_client_end(clients[0]);
    bench.turn();
    bench.assert_nothing_is_left();
}
