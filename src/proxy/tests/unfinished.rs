//! Clients that stop inside a request.

use super::*;

const TOLD: &str = "-ERR The rest of a request did not come within localRequestTimeout (60000 ms)\r\n";

/// A large request, and so much of it that the rest is missing.
fn large() -> (String, usize) {
    (set("large", &"x".repeat(100_000)), 90_000)
}

#[test]
fn a_client_that_stops_inside_a_request_is_told_and_closed() {
    let (large, start) = large();
    for unfinished in ["*", "GET a", &set("a", "1")[..24], &large[..start]] {
        let (mut bench, _) = Bench::ready(1, |_| {});
        let (client, idle) = (bench.client(), bench.client());
        bench.say(client, unfinished);
        bench.pass(59_999);
        assert_eq!(bench.told(client), "");
        bench.pass(1);
        assert_eq!(bench.told(client), TOLD);
        assert!(bench.is_closed(Conn::Client(client)));
        assert!(!bench.is_closed(Conn::Client(idle)), "it owes nothing");
        bench.assert_nothing_is_left();
    }
}

#[test]
fn every_byte_of_the_rest_is_a_sign_of_life_and_nothing_else_is() {
    // Of a large one, which holds a connection, bytes that are worth so long.
    let (value, much) = ("x".repeat(10_000_000), "x".repeat(50_000 * 16));
    let large = set("large", &value);
    for (unfinished, sign) in [(&set("a", "1234567890")[..25], "x"), (&large[..100_000], &much)] {
        let (mut bench, _) = Bench::ready(1, |_| {});
        let client = bench.client();
        bench.say(client, request(&["HELLO", "3"]) + &request(&["SUBSCRIBE", "news"]));
        let listener = bench.connect(0);
        bench.answer(listener, "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
        bench.say(client, unfinished);
        let is_held = |(_, backend): &(Id, &Backend)| backend.is_uploaded_by(client);
        let held = bench.proxy.upstreams.backends().find(is_held).map(|(id, _)| id);
        assert_eq!(held.is_some(), unfinished.len() == 100_000);
        held.map(|_| bench.connect(0));
        for _ in 0..3 {
            bench.pass(50_000);
            bench.say(client, sign);
        }
        bench.pass(50_000);
        assert!(!bench.is_closed(Conn::Client(client)));
        bench.told(client);
        bench.answer(listener, "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$1\r\n1\r\n");
        bench.pass(10_000);
        assert!(bench.told(client).ends_with(TOLD));
        assert!(bench.is_closed(Conn::Client(client)));
        assert!(held.is_none_or(|held| bench.is_closed(Conn::Backend(held))), "half a request lies in it");
    }
}

#[test]
fn who_stops_inside_a_request_may_be_waited_for_without_a_limit() {
    let (large, start) = large();
    let (mut bench, backends) = Bench::ready(1, |settings| settings.timeouts.local_request_ms = 0);
    let client = bench.client();
    bench.say(client, &large[..start]);
    bench.pass(100_000_000);
    bench.say(client, &large[start..]);
    bench.answer(backends[0], "+OK\r\n");
    assert_eq!(bench.told(client), "+OK\r\n");
    bench.assert_nothing_is_left();
}

#[test]
fn a_client_that_is_not_read_has_not_stopped() {
    let (mut bench, backends) = Bench::ready(1, |settings| {
        settings.limits.send_queue_bytes_max = 50_000;
        settings.timeouts.local_request_ms = 300;
        settings.timeouts.remote_write_ms = 5_000;
    });
    let (large, start) = large();
    let client = bench.client();
    bench.set_room(Conn::Backend(backends[0]), 0);
    bench.say(client, &large[..start]);
    assert!(!bench.proxy.is_listening_to(Conn::Client(client)));
    bench.pass(4_000);
    bench.make_room(Conn::Backend(backends[0]), usize::MAX - 1);
    bench.pass(299);
    assert!(bench.proxy.is_listening_to(Conn::Client(client)) && !bench.is_closed(Conn::Client(client)));
    bench.pass(1);
    assert!(bench.is_closed(Conn::Client(client)));
}

#[test]
fn a_client_that_was_not_read_when_its_connection_was_lost_has_its_time_for_the_rest() {
    let (mut bench, backends) = Bench::ready(1, |settings| {
        settings.limits.send_queue_bytes_max = 50_000;
        settings.timeouts.local_request_ms = 300;
        settings.timeouts.remote_write_ms = 5_000;
    });
    let (large, start) = large();
    let client = bench.client();
    bench.set_room(Conn::Backend(backends[0]), 0);
    bench.say(client, &large[..start]);
    bench.pass(4_000);
    bench.pass(200);
    bench.proxy.handle_backend_broken(backends[0], "reset", bench.now);
    bench.turn();
    assert!(bench.told(client).starts_with("-ERR Connection to server-0 lost"));
    bench.pass(299);
    assert!(!bench.is_closed(Conn::Client(client)), "nobody listened to it");
    bench.say(client, &large[start..]);
    bench.pass(1_000);
    assert!(!bench.is_closed(Conn::Client(client)));
}

#[test]
fn who_takes_nothing_either_is_closed_at_once() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    bench.say(client, get("a") + "*");
    bench.set_room(Conn::Client(client), 0);
    bench.answer(backends[0], bulk("1"));
    bench.pass(60_000);
    assert!(bench.is_closed(Conn::Client(client)));
}

#[test]
fn who_is_answered_already_is_told_nothing_more() {
    let (large, start) = large();
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    bench.say(client, &large[..start]);
    bench.proxy.handle_backend_end(backends[0], bench.now);
    bench.turn();
    let lost = "-ERR Connection to server-0 lost before its reply; the command may have been run\r\n";
    assert_eq!(bench.told(client), lost);
    bench.pass(60_000);
    assert_eq!(bench.told(client), "");
    assert!(bench.is_closed(Conn::Client(client)));
}

#[test]
fn nobody_waits_in_vain_for_a_connection_that_a_client_holds_that_has_stopped() {
    let (large, start) = large();
    for is_late in [false, true] {
        let (mut bench, backends) = Bench::ready(1, |settings| settings.pool_size = 2);
        let (stopped, worker) = (bench.client(), bench.client());
        let blpop = request(&["BLPOP", "list", "0"]);
        bench.say(stopped, &large[..start - 1]);
        bench.say(worker, get("a"));
        let shared = bench.connect(0);
        bench.answer(shared, bulk("1"));
        bench.told(worker);
        if !is_late {
            bench.say(stopped, &large[start - 1..start]);
            bench.pass(1);
            bench.say(worker, &blpop);
            bench.pass(498);
            assert!(!bench.is_closed(Conn::Client(stopped)));
        } else {
            bench.pass(10_000);
            assert!(!bench.is_closed(Conn::Client(stopped)), "nobody needs its connection");
            bench.say(worker, &blpop);
        }
        bench.pass(1);
        let told = "-ERR The rest of a request did not come within remoteConnectTimeout (500 ms)\r\n";
        assert_eq!(bench.told(stopped), told);
        assert!(bench.is_closed(Conn::Client(stopped)) && bench.is_closed(Conn::Backend(backends[0])));
        let leased = bench.connect(0);
        assert_eq!((bench.asked(leased), bench.told(worker)), (blpop, String::new()));
    }
}

#[test]
fn a_request_that_waits_behind_another_is_not_unfinished() {
    let (mut bench, _) = Bench::ready(1, |settings| settings.timeouts.local_read_ms = 60_000);
    let client = bench.client();
    bench.say(client, request(&["BLPOP", "list", "0"]) + &request(&["PING"]));
    let leased = bench.connect(0);
    bench.pass(60_000);
    // The reply comes in the same turn in which somebody looks at the clock.
    bench.now = bench.now + 60_000;
    bench.answer(leased, "*-1\r\n");
    assert_eq!(bench.told(client), "*-1\r\n+PONG\r\n");
}

#[test]
fn a_large_request_that_trickles_does_not_hold_its_connection_for_long() {
    let large = set("large", &"x".repeat(20_000_000));
    for is_wanted in [false, true] {
        let (mut bench, backends) = Bench::ready(1, |settings| settings.pool_size = 2);
        let (slow, worker) = (bench.client(), bench.client());
        bench.say(slow, &large[..100_000]);
        bench.say(worker, get("a"));
        let shared = bench.connect(0);
        bench.answer(shared, bulk("1"));
        // As long as it is not too slow, it has all the time that it needs.
        let mut at = 100_000;
        for _ in 0..600 {
            bench.say(slow, &large[at..at + 17_000]);
            at += 17_000;
            bench.pass(1_000);
        }
        let (step_ms, limit_ms) = if is_wanted { (100, 500) } else { (10_000, 60_000) };
        if is_wanted {
            bench.say(worker, request(&["BLPOP", "list", "0"]));
        }
        let start = bench.now;
        while !bench.is_closed(Conn::Client(slow)) {
            bench.say(slow, &large[at..at + 100]);
            at += 100;
            bench.pass(step_ms);
            assert!(bench.now - start < limit_ms + 2 * step_ms, "wanted: {is_wanted}");
        }
        assert!(bench.now - start >= limit_ms.saturating_sub(1_000), "wanted: {is_wanted}");
        assert!(bench.told(slow).starts_with("-ERR The rest of a request did not come within"));
        assert!(bench.is_closed(Conn::Backend(backends[0])), "half a request lies in it");
    }
}

#[test]
fn bytes_of_a_large_request_count_however_few_come_at_a_time() {
    let large = set("large", &"x".repeat(2_000_000));
    let (mut bench, _) = Bench::ready(1, |settings| settings.timeouts.local_request_ms = 1_000);
    let client = bench.client();
    bench.say(client, &large[..100_000]);
    for piece in large.as_bytes()[100_000..200_000].chunks(30) {
        // Each of them is worth less than a millisecond.
        piece.chunks(10).for_each(|piece| bench.hear(client, piece));
        bench.pass(1);
    }
    assert!(!bench.is_closed(Conn::Client(client)));
}

#[test]
fn time_in_which_nobody_looked_is_not_held_against_a_large_request() {
    let large = set("large", &"x".repeat(20_000_000));
    let (mut bench, _) = Bench::ready(1, |settings| settings.pool_size = 2);
    let (client, worker) = (bench.client(), bench.client());
    bench.say(client, &large[..100_000]);
    bench.say(worker, get("a"));
    let shared = bench.connect(0);
    bench.answer(shared, bulk("1"));
    for pause_ms in [499, 500, 5_000, 1_000_000] {
        bench.say(worker, request(&["BLPOP", "list", "0"]));
        bench.now = bench.now + pause_ms;
        // So much its socket could hold meanwhile.
        bench.say(client, &large[100_000..116_000]);
        assert!(!bench.is_closed(Conn::Client(client)), "after {pause_ms} ms");
    }
    bench.say(worker, request(&["BLPOP", "list", "0"]));
    bench.pass(500);
    assert!(bench.is_closed(Conn::Client(client)));
}
