//! Clients and servers that take or give less than they could, and what rmux holds for them meanwhile.

use super::*;

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
fn a_client_that_takes_nothing_is_closed_at_the_hard_limit_when_others_wait_behind_it() {
    let (mut bench, backends) = Bench::ready(1, |settings| {
        settings.limits.client_unread_pause_bytes = 50_000;
        settings.limits.client_unread_bytes_max = 200_000;
    });
    let (stuck, waits) = (bench.client(), bench.client());
    bench.say(stuck, get("large"));
    bench.say(waits, get("small"));
    bench.set_room(Conn::Client(stuck), 0);
    bench.answer(backends[0], bulk(&"v".repeat(300_000)) + &bulk("x"));
    assert_eq!(bench.told(waits), bulk("x"));
    assert!(bench.is_closed(Conn::Client(stuck)));
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
