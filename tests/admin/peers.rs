//! Who asks slowly, wrongly, too much, or does not listen: they harm nobody, and are closed.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use crate::support::http::Http;
use crate::support::server::RedisServer;
use crate::support::{KINDS, Kind};
use crate::{PATIENCE, Watched, wait_until};

#[test]
fn requests_that_come_together_are_answered_one_by_one() {
    let server = RedisServer::start();
    for kind in KINDS {
        let watched = Watched::start(kind, &[server.address(kind)], &[]);
        watched.await_ready();
        let mut http = Http::connect(&watched.admin);
        let request = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        let many = ["/healthz", "/x", "/metrics", "/readyz"].repeat(20);
        http.send(many.iter().map(|path| request(path)).collect::<String>().as_bytes());
        for path in many {
            let answer = http.answer();
            assert_eq!(answer.status, if path == "/x" { 404 } else { 200 }, "{path}");
            assert_eq!(answer.body == "ok\n", matches!(path, "/healthz" | "/readyz"), "{path}");
        }
        for byte in request("/healthz").bytes() {
            http.send(&[byte]);
        }
        assert_eq!(http.answer().body, "ok\n", "byte by byte");
        // Half closed: it listens still.
        let stream = watched.admin.connect().expect("it listens");
        let end = stream.duplicate();
        let mut http = Http::over(stream);
        http.send(
            b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        );
        end.shutdown(std::net::Shutdown::Write).expect("a socket");
        assert!(http.answer().is_kept() && !http.answer().is_kept());
        http.expect_closed();
    }
}

#[test]
fn what_is_no_request_is_refused_and_closed() {
    let server = RedisServer::start();
    for kind in KINDS {
        let watched = Watched::start(kind, &[server.address(kind)], &[]);
        let long = format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}", "x".repeat(20_000));
        for (bytes, status) in [
            (&b"*1\r\n$4\r\nPING\r\n"[..], 400),
            (b"\x16\x03\x01\x02\x00\x01\x00", 400),
            (b"GET / HTTP/1.1\r\n\r\n", 400),
            (b"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", 405),
            (b"DELETE / HTTP/1.0\r\n\r\n", 405),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
            (long.as_bytes(), 431),
        ] {
            let mut http = Http::connect(&watched.admin);
            http.send(bytes);
            let answer = http.answer();
            assert_eq!(answer.status, status, "{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(50)]));
            assert!(!answer.is_kept());
            assert_eq!(answer.field("Allow"), (status == 405).then_some("GET, HEAD"));
            http.expect_closed();
        }
        assert_eq!(watched.get("/healthz").body, "ok\n");
        assert_eq!(watched.rmux.client().line("PING"), "+PONG\r\n");
    }
}

#[test]
fn who_asks_or_listens_too_slowly_is_closed_and_harms_nobody() {
    let server = RedisServer::start();
    let watched = Watched::start(Kind::Unix, &[server.address(Kind::Unix)], &[]);
    watched.await_ready();
    let began = Instant::now();
    let mut silent = Http::connect(&watched.admin);
    let mut slow = Http::connect(&watched.admin);
    slow.send(b"G");
    // More answers than a socket holds.
    let mut deaf = Http::connect(&watched.admin);
    let requests = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(200);
    deaf.send(&requests);
    assert_eq!(watched.get("/metrics").status, 200, "others are served meanwhile");
    silent.expect_closed();
    assert_eq!(slow.answer().status, 408);
    slow.expect_closed();
    let waited = began.elapsed();
    assert!(waited >= Duration::from_secs(9), "{waited:?}");
    wait_until("the end of those who do not listen", PATIENCE, || connections_of_the_endpoint(&watched) == 0);
    let mut answered = 0;
    let end = loop {
        match deaf.try_answer(false) {
            Ok(answer) => {
                assert_eq!(answer.status, 200);
                answered += 1;
            }
            Err(error) => break error.kind(),
        }
    };
    assert!(matches!(end, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{end:?}");
    assert!(answered < 200, "they were not all taken, and not all kept");
    assert_eq!(watched.rmux.client().line("PING"), "+PONG\r\n");
}

/// The connections that the endpoint has.
fn connections_of_the_endpoint(watched: &Watched) -> usize {
    let place = watched.admin.flag_value();
    let table = std::fs::read_to_string("/proc/net/unix").expect("Linux has it");
    // State 3 is connected.
    table.lines().filter(|line| line.ends_with(&place) && line.contains(" 0001 03 ")).count()
}

#[test]
fn many_at_once_are_served_or_told_that_there_is_no_place() {
    let server = RedisServer::start();
    for kind in KINDS {
        let watched = Watched::start(kind, &[server.address(kind)], &[]);
        watched.await_ready();
        let mut crowd: Vec<Http> = (0..200).map(|_| Http::connect(&watched.admin)).collect();
        // Whoever has a place keeps it for a while without a word; the others are told, or closed.
        let (mut served, mut turned_away) = (0, 0);
        for http in &mut crowd {
            let asked = http.try_send(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
            match asked.and_then(|()| http.try_answer(false)).map(|answer| answer.status) {
                Ok(200) => served += 1,
                Ok(status) => {
                    assert_eq!(status, 503);
                    turned_away += 1;
                }
                // There were too many even of those.
                Err(_) => {}
            }
        }
        assert!(served >= 64, "{served} {turned_away}");
        assert_eq!(watched.rmux.client().line("PING"), "+PONG\r\n");
        // All of them are kept, and give way to who asks.
        for _ in 0..100 {
            assert_eq!(Http::connect(&watched.admin).get("/healthz").status, 200);
        }
    }
}
