//! Peers that do what no honest peer does.

use super::*;

#[test]
fn a_client_that_does_not_speak_the_protocol_is_told_behind_what_it_is_owed() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    bench.say(client, get("a") + "*1\r\n:1\r\n" + &get("never"));
    assert_eq!(bench.asked(backends[0]), get("a"));
    bench.answer(backends[0], bulk("a"));
    assert_eq!(bench.told(client), bulk("a") + "-ERR Protocol error: expected '$', got ':'\r\n");
    assert!(bench.is_closed(Conn::Client(client)));
}

#[test]
fn a_server_that_answers_a_handshake_without_end_is_not_heard_out() {
    let mut bench = Bench::new(1, |_| {});
    let backend = bench.next_connect(0);
    bench.proxy.handle_connected(backend, bench.now);
    bench.turn();
    let endless = bulk(&"v".repeat(400_000));
    bench.answer(backend, &endless[..100_000]);
    bench.answer(backend, &endless[100_000..200_000]);
    assert!(bench.is_closed(Conn::Backend(backend)));
}

#[test]
fn a_reply_of_one_endless_line_is_passed_on_like_any_large_one() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    bench.say(client, get("a") + &get("b"));
    let reply = format!("+{}\r\n", "x".repeat(500_000));
    let mut told = String::new();
    for piece in (reply.clone() + &bulk("b")).as_bytes().chunks(100_000) {
        bench.answer(backends[0], piece);
        told += &bench.told(client);
    }
    assert!(told == reply + &bulk("b"));
    assert!(!bench.is_closed(Conn::Backend(backends[0])));
}

#[test]
fn a_request_that_announces_more_than_may_be_held_is_refused_before_memory_is_found_for_it() {
    let (mut bench, _) = Bench::ready(1, |settings| settings.limits.buffered_bytes_max = 1_000_000);
    let client = bench.client();
    // A command that is answered here is not passed on in pieces.
    bench.say(client, format!("*3\r\n$4\r\nPING\r\n$500000000\r\n{}", "x".repeat(100_000)));
    assert!(bench.told(client).starts_with("-ERR Protocol error: request larger than"));
    assert!(bench.is_closed(Conn::Client(client)));
}

#[test]
fn the_start_of_a_reply_to_a_handshake_that_was_not_sent_is_not_believed() {
    for words in ["$", "$100\r\nx", "*1\r\n"] {
        let mut bench = Bench::new(1, |_| {});
        let backend = bench.next_connect(0);
        bench.proxy.handle_connected(backend, bench.now);
        // Read in the same turn, before anything was written.
        bench.answer(backend, words);
        assert!(bench.is_closed(Conn::Backend(backend)), "{words:?}");
    }
}

#[test]
fn the_start_of_a_large_request_whose_client_has_left_is_sent_to_nobody() {
    let (mut bench, backends) = Bench::ready(1, |settings| settings.limits.client_outstanding_max = 1);
    let client = bench.client();
    let large = set("k", &"x".repeat(200_000));
    // The second request waits for the reply to the first; by then it is known that its rest will never come.
    bench.say(client, get("a") + &large[..100_000]);
    assert_eq!(bench.asked(backends[0]), get("a"));
    bench.proxy.handle_client_end(client);
    bench.turn();
    bench.answer(backends[0], bulk("A"));
    assert_eq!(bench.told(client), bulk("A"));
    assert!(bench.is_closed(Conn::Client(client)));
    assert_eq!(bench.asked(backends[0]), "");
    bench.assert_nothing_is_left();
}

#[test]
fn an_inline_request_is_read_as_the_server_reads_it() {
    const MIXED: &str = "ECHO \"a\"b'c'\r\n";
    const UNBALANCED: &str = "-ERR Protocol error: unbalanced quotes in request\r\n";
    let hello = |server: &str, version: &str| {
        format!("*4\r\n{}{}{}{}", bulk("server"), bulk(server), bulk("version"), bulk(version))
    };
    for (server, version, reply) in [
        ("redis", "8.2.3", UNBALANCED),
        ("valkey", "8.1.4", UNBALANCED),
        ("valkey", "9.0.0", "$3\r\nabc\r\n"),
        ("redis", "9.0.0", UNBALANCED),
    ] {
        let mut bench = Bench::new(1, |_| ());
        let backend = bench.next_connect(0);
        bench.proxy.handle_connected(backend, bench.now);
        bench.turn();
        bench.answer(backend, hello(server, version) + "+PONG\r\n");
        let client = bench.client();
        bench.say(client, MIXED);
        assert_eq!(bench.told(client), reply, "{server} {version}");
    }
}
