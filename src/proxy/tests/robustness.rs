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
    bench.say(client, format!("*2\r\n$4\r\nPING\r\n$1500000\r\n{}", "x".repeat(100_000)));
    assert_eq!(bench.told(client), no_room("This request", 1_000_000));
    // The rest is thrown away, and what comes behind it is dealt with.
    bench.say(client, "x".repeat(1_400_000) + "\r\n" + &request(&["PING"]));
    assert_eq!(bench.told(client), "+PONG\r\n");
    bench.assert_nothing_is_left();
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
    let (mut bench, backends) = Bench::ready(1, |settings| {
        settings.limits.client_outstanding_max = 1;
        settings.lease_max = 0;
    });
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

#[test]
fn a_push_is_nobodys_reply_of_whatever_size() {
    let attribute = "|1\r\n+about\r\n*1\r\n:1\r\n";
    for size in [1, 900, 70_000, 200_000, 2_000_000] {
        for before in ["", attribute] {
            let (mut bench, backends) = Bench::ready(1, |_| {});
            let (first, second, third) = (bench.client(), bench.client(), bench.client());
            let push = format!("{before}>2\r\n$10\r\ninvalidate\r\n*1\r\n{}", bulk(&"x".repeat(size)));
            bench.say(first, get("a"));
            bench.say(second, get("b"));
            bench.asked(backends[0]);
            for piece in push.as_bytes().chunks(50_000) {
                bench.answer(backends[0], piece);
            }
            assert_eq!(bench.told(first), "", "a push of {size} bytes");
            bench.answer(backends[0], bulk("A") + &push + &bulk("B"));
            assert!(bench.told(first) == bulk("A") && bench.told(second) == bulk("B"), "a push of {size} bytes");
            // Nor is it a surplus, when nothing is outstanding.
            for piece in push.as_bytes().chunks(7_000) {
                bench.answer(backends[0], piece);
            }
            bench.say(third, get("c"));
            assert_eq!(bench.asked(backends[0]), get("c"));
            bench.answer(backends[0], bulk("C"));
            assert_eq!(bench.told(third), bulk("C"));
            bench.assert_nothing_is_left();
        }
    }
}

#[test]
fn who_asks_while_a_large_push_arrives_does_not_wait_for_its_end() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let (first, second) = (bench.client(), bench.client());
    bench.say(first, get("a"));
    let push = format!(">1\r\n{}", bulk(&"x".repeat(200_000)));
    bench.answer(backends[0], &push[..100_000]);
    bench.say(second, get("b"));
    let other = bench.connect(0);
    assert_eq!(bench.asked(other), get("b"));
    // What is behind the push has its own time.
    bench.pass(500);
    assert!(bench.told(first).starts_with("-ERR No reply from server-0 within 500 ms"));
}

#[test]
fn what_stands_before_a_reply_belongs_to_it() {
    let attribute = "|1\r\n+about\r\n*1\r\n:1\r\n";
    for size in [1, 200_000] {
        for cut in [1, 3, 10, 24, 25, 26, 40] {
            let (mut bench, backends) = Bench::ready(1, |_| {});
            let (first, second) = (bench.client(), bench.client());
            let reply = attribute.to_owned() + &bulk(&"x".repeat(size));
            bench.say(first, get("a"));
            bench.say(second, get("b"));
            let cut = cut.min(reply.len());
            bench.answer(backends[0], &reply[..cut]);
            bench.answer(backends[0], reply[cut..].to_owned() + &bulk("B"));
            assert!(bench.told(first) == reply && bench.told(second) == bulk("B"), "cut at {cut}");
            bench.assert_nothing_is_left();
        }
    }
}

#[test]
fn what_stands_before_a_reply_or_a_push_is_not_kept_without_end() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    bench.say(client, get("a"));
    bench.answer(backends[0], format!("|1\r\n+about\r\n$70000\r\n{}", "x".repeat(1_000)));
    assert!(bench.is_closed(Conn::Backend(backends[0])));
    assert_eq!(bench.told(client), "");
    let other = bench.connect(0);
    assert_eq!(bench.asked(other), get("a"));
}

#[test]
fn a_string_with_another_end_than_its_length_says_is_passed_on_to_nobody() {
    for reply in ["$3\r\nabcd\r\n", "*2\r\n$3\r\nabcd\r\n:1\r\n"] {
        let (mut bench, backends) = Bench::ready(1, |_| {});
        let client = bench.client();
        bench.say(client, set("a", "1"));
        bench.answer(backends[0], reply);
        assert!(bench.is_closed(Conn::Backend(backends[0])));
        assert!(bench.told(client).starts_with("-ERR Connection to server-0 lost before its reply"));
    }
}

const NO_END: &str = "-ERR Protocol error: expected CRLF behind an argument\r\n";

#[test]
fn a_large_request_with_a_broken_end_reaches_no_server_whole() {
    let large = set("large", &"x".repeat(200_000));
    let body = large.len() - 2;
    // However the end is cut.
    for (cut, end) in [(body, "xy"), (body, "\r\r"), (body + 1, "\r\r"), (body - 1, "xy"), (100_000, "xy")] {
        let (mut bench, backends) = Bench::ready(1, |_| {});
        let (client, other) = (bench.client(), bench.client());
        bench.say(other, get("a"));
        let broken = large[..body].to_owned() + end;
        for piece in [&broken[..70_000], &broken[70_000..cut], &broken[cut..]] {
            bench.say(client, piece);
        }
        let asked = bench.asked(backends[0]);
        assert!(asked.len() <= get("a").len() + body, "a server takes two bytes more for the end of it");
        assert_eq!(bench.told(client), NO_END);
        assert!(bench.is_closed(Conn::Client(client)));
        bench.answer(backends[0], bulk("A"));
        assert_eq!(bench.told(other), bulk("A"));
        assert!(bench.is_closed(Conn::Backend(backends[0])), "nothing can be sent behind it");
        bench.assert_nothing_is_left();
    }
}

#[test]
fn a_large_request_with_a_broken_end_is_sent_to_no_other_server() {
    let mut bench = Bench::new(2, |settings| settings.failover = false);
    let key = key_on(&bench, 1);
    let first = bench.connect(0);
    let client = bench.client();
    let large = set(&key, &"x".repeat(200_000));
    bench.say(client, &large[..100_000]);
    bench.say(client, large[100_000..large.len() - 2].to_owned() + "xy");
    assert_eq!(bench.told(client), NO_END);
    bench.refuse(1);
    assert_eq!(bench.asked(first), "", "the key does not live there");
    bench.assert_nothing_is_left();
}

#[test]
fn a_large_request_with_a_broken_end_is_answered_once() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    let large = set("large", &"x".repeat(200_000));
    bench.say(client, &large[..100_000]);
    bench.proxy.handle_backend_end(backends[0], bench.now);
    bench.say(client, large[100_000..large.len() - 2].to_owned() + "xy");
    let told = bench.told(client);
    assert!(told.starts_with("-ERR Connection to server-0 lost") && told.lines().count() == 1, "{told}");
    assert!(bench.is_closed(Conn::Client(client)));
}

#[test]
fn a_large_request_whose_server_is_gone_before_it_is_sent_goes_nowhere_without_failover() {
    let mut bench = Bench::new(2, |settings| settings.failover = false);
    let key = key_on(&bench, 1);
    let first = bench.connect(0);
    let client = bench.client();
    let large = set(&key, &"x".repeat(200_000));
    bench.say(client, &large[..100_000]);
    bench.say(client, &large[100_000..]);
    bench.refuse(1);
    assert_eq!(bench.told(client), "-ERR Connection down\r\n");
    assert_eq!(bench.asked(first), "");
    bench.assert_nothing_is_left();
}
