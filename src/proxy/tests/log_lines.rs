//! What the log is told: everything that a peer does wrong, in words that it cannot forge, and once a second at most.

use super::*;

/// The lines since the last look.
fn lines(bench: &mut Bench) -> Vec<String> {
    std::mem::take(&mut bench.lines)
}

#[test]
fn a_flood_of_http_is_a_line_a_second_with_a_count() {
    let (mut bench, _) = Bench::ready(1, |_| {});
    let mut counted = 0;
    for ms in 0..3000 {
        for _ in 0..5 {
            let client = bench.client();
            bench.hear(client, "POST / HTTP/1.1\r\n");
        }
        bench.pass(1);
        for line in lines(&mut bench) {
            assert!(line.starts_with("WARN pool the bench: client "), "{line}");
            assert!(line.contains("closed: it sent an HTTP request"), "{line}");
            counted += line.rsplit_once('(').map_or(1, |(_, times)| {
                times.strip_suffix(" times)").and_then(|count| count.parse().ok()).expect("a count")
            });
            assert_eq!(ms % 1000, 0, "one in a second");
        }
    }
    bench.pass(1000);
    assert_eq!(lines(&mut bench).len(), 1, "the rest is told, though nothing more happens");
    bench.pass(10_000);
    assert_eq!(lines(&mut bench), [""; 0]);
    assert_eq!(counted, 2 * 5000 + 5);
}

#[test]
fn requests_without_a_reply_are_counted_in_a_line() {
    let (mut bench, _) = Bench::ready(1, |settings| settings.timeouts.remote_read_ms = 500);
    let clients = [bench.client(), bench.client(), bench.client()];
    for client in clients {
        bench.say(client, "GET k\r\n");
    }
    assert_eq!(lines(&mut bench), [""; 0]);
    bench.pass(500);
    assert_eq!(lines(&mut bench), ["WARN server server-0: 3 requests had no reply within 500 ms"]);
}

#[test]
fn a_connection_that_ends_is_a_line_only_if_somebody_waits_for_it() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    bench.pass(1_000);
    bench.proxy.handle_backend_end(backends[0], bench.now);
    bench.turn();
    assert_eq!(lines(&mut bench), [""; 0], "servers close what is idle");
    let backend = bench.connect(0);
    let client = bench.client();
    bench.say(client, "SET k v\r\nGET k\r\n");
    bench.proxy.handle_backend_broken(backend, "Connection reset by peer", bench.now);
    bench.turn();
    assert_eq!(
        lines(&mut bench),
        ["WARN server server-0: connection lost: Connection reset by peer, with 2 requests outstanding"]
    );
}

#[test]
fn garbage_and_surplus_replies_are_told_with_the_name_of_the_server() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    bench.hear_server(backends[1], "\x1bhello\r\n");
    bench.hear_server(backends[0], "+OK\r\n");
    bench.turn();
    let found = lines(&mut bench);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("WARN server server-1: it does not speak the Redis protocol"), "{found:?}");
    assert!(found[1].starts_with("WARN server server-0: it sent a reply that nobody had asked for"), "{found:?}");
    assert!(found.iter().all(|line| !line.contains(|char: char| char.is_control())), "{found:?}");
}

#[test]
fn what_a_server_says_is_quoted_so_that_no_line_can_be_forged() {
    let mut bench = Bench::new(1, |_| {});
    let backend = bench.connects[0].0;
    bench.proxy.handle_connected(backend, bench.now);
    bench.turn();
    bench.hear_server(backend, "-LOADING x\x1b[2J\r[INFO] all is well\u{202e}\r\n");
    bench.turn();
    assert_eq!(
        lines(&mut bench),
        ["WARN server server-0 is down: it refuses us: -LOADING x\\u{1b}[2J\\r[INFO] all is well\\u{202e}"]
    );
}

#[test]
fn a_server_that_speaks_before_it_is_asked_is_told_in_its_own_words() {
    const DENIED: &str = "-DENIED Redis is running in protected mode\r\n";
    const WORDS: &str = "WARN server server-0 is down: it refuses us: -DENIED Redis is running in protected mode";
    // Before the first write; behind one that failed; behind one that went through, and then the end, or a reset.
    for case in 0..5 {
        let mut bench = Bench::new(1, |_| {});
        let backend = bench.connects[0].0;
        bench.proxy.handle_connected(backend, bench.now);
        match case {
            0 => {}
            1 => {
                bench.net.broken.push(Conn::Backend(backend));
                bench.turn();
                assert_eq!(lines(&mut bench), [""; 0], "it may have said why");
            }
            _ => bench.turn(),
        }
        bench.hear_server(backend, if case < 3 { DENIED } else { "-BUSY x\r\n" });
        match case {
            4 => bench.proxy.handle_backend_broken(backend, "Connection reset by peer", bench.now),
            _ => bench.proxy.handle_backend_end(backend, bench.now),
        }
        bench.turn();
        let words = if case < 3 { WORDS } else { "WARN server server-0 is down: it refuses us: -BUSY x" };
        assert_eq!(lines(&mut bench), [words], "{case}");
    }
    // One that says nothing is told as before.
    let mut bench = Bench::new(1, |_| {});
    let backend = bench.connects[0].0;
    bench.proxy.handle_connected(backend, bench.now);
    bench.net.broken.push(Conn::Backend(backend));
    bench.turn();
    bench.proxy.handle_backend_end(backend, bench.now);
    bench.turn();
    let found = lines(&mut bench);
    assert!(found[0].starts_with("WARN server server-0 is down: connection lost: "), "{found:?}");
}

#[test]
fn a_server_that_falls_and_rises_all_the_time_is_a_line_a_second() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let mut backend = backends[0];
    let begun = bench.now;
    let mut told = 0;
    for _ in 0..100 {
        bench.proxy.handle_backend_end(backend, bench.now);
        bench.turn();
        while let Some((next, _)) = bench.connects.pop() {
            bench.proxy.handle_connect_failed(next, "refused", bench.now);
        }
        bench.turn();
        while bench.connects.is_empty() {
            bench.pass(10);
        }
        backend = bench.connect(0);
        told += lines(&mut bench).len() as u64;
    }
    bench.pass(2000);
    let last = lines(&mut bench).pop().expect("it is told how it ended");
    assert!(last.starts_with("INFO server server-0 is well again, after "), "{last}");
    assert!(told <= (bench.now - begun) / 1000, "{told} lines");
}

#[test]
fn clients_that_misbehave_are_told_of_and_those_that_leave_are_not() {
    let (mut bench, backends) = Bench::ready(1, |settings| {
        settings.limits.clients_max = 3;
        settings.timeouts.local_read_ms = 5_000;
        settings.timeouts.local_write_ms = 1_000;
    });
    let (garbage, unread, gone) = (bench.client(), bench.client(), bench.client());
    bench.proxy.handle_peer(garbage, "192.0.2.1:1234".into());
    assert!(bench.proxy.handle_accept(bench.now).is_none());
    bench.say(garbage, "*1\r\n\x1b\r\n");
    bench.proxy.handle_client_broken(gone);
    bench.net.room.insert(Conn::Client(unread), 0);
    bench.say(unread, "GET k\r\n");
    bench.hear_server(backends[0], "$1\r\nx\r\n");
    bench.turn();
    bench.pass(1_000);
    let found = lines(&mut bench);
    assert_eq!(
        found[..2],
        [
            "WARN pool the bench: clients are refused: 3 are connected, and no more may be".to_owned(),
            format!(
                "WARN pool the bench: client {garbage} from 192.0.2.1:1234 closed: Protocol error: expected '$', got \
                 '\\u{{1b}}'"
            )
        ]
    );
    assert!(found[2].ends_with("closed: it took no reply for localWriteTimeout"), "{found:?}");
    assert_eq!(found.len(), 3, "{found:?}");
    let idle = bench.client();
    bench.pass(5_000);
    assert!(bench.closed.contains(&Conn::Client(idle)));
    assert_eq!(lines(&mut bench), [""; 0], "nor those that are idle");
}
