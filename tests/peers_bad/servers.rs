//! Servers that behave badly.
//!
//! The fakes misbehave for certain keys only, so that the same server can be seen to serve everybody else.

use crate::support::client::{Client, NoReply, bulk, encode, show};
use crate::support::fake::{BlackHole, Connection, FakeServer, answer, value_of};
use crate::support::golden::keys_of;
use crate::support::proxy::{Rmux, connections_flag};
use crate::support::{Address, Kind, PATIENCE, Scratch, wait_until};
use crate::{expect_own_values, in_front_of};
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::{Duration, Instant};

const DOWN: &str = "-ERR Connection down\r\n";

/// Long enough that a reply which came after it did not come at once.
const TIMEOUT: Duration = Duration::from_millis(200);

/// A fake that does `misbehave` for requests whose first key is `bad`, and answers all others properly.
fn bad_for_one_key(misbehave: impl Fn(&mut Connection, &[Vec<u8>]) + Send + Sync + 'static) -> FakeServer {
    FakeServer::start(move |connection| {
        while let Some(request) = connection.user_request() {
            if request.get(1).is_some_and(|key| key == b"bad") {
                misbehave(connection, &request);
                if connection.is_shut() {
                    return;
                }
            } else {
                let reply = answer(&request);
                connection.send(&reply);
            }
        }
    })
}

/// The error that a request gets, and not before `at_least` has passed.
fn expect_error_after(client: &mut Client, request: &[&str], at_least: Duration) -> String {
    let start = Instant::now();
    let reply = show(&client.cmd(request));
    let elapsed = start.elapsed();
    assert!(reply.starts_with("-ERR "), "{request:?}: {reply}");
    // The timer counts whole milliseconds and may have begun one before.
    assert!(elapsed + Duration::from_millis(5) >= at_least, "{request:?} failed after {elapsed:?} already: {reply}");
    assert!(elapsed < PATIENCE / 2, "{request:?} failed only after {elapsed:?}: {reply}");
    reply
}

#[test]
fn a_late_reply_reaches_nobody() {
    let fake = bad_for_one_key(|connection, _| {
        connection.wait_at_gate();
        connection.send(b"$4\r\nLATE\r\n");
    });
    let rmux = in_front_of(&fake, &["-remoteReadTimeout=200"]);
    let mut client = rmux.client();
    let mut neighbour = rmux.client();
    expect_own_values(&mut neighbour, "before", 3);
    expect_error_after(&mut client, &["GET", "bad"], TIMEOUT);
    // Another connection serves them; the silent one takes no new work.
    expect_own_values(&mut client, "client", 20);
    expect_own_values(&mut neighbour, "neighbour", 20);
    fake.gate().open();
    expect_own_values(&mut client, "client after", 200);
    expect_own_values(&mut neighbour, "neighbour after", 200);
    wait_until("the silent connection to be closed", PATIENCE, || fake.finished() >= 1);
    assert_eq!(fake.seen("GET bad"), 1, "what timed out is not sent again");
}

#[test]
fn requests_behind_a_silent_one_have_deadlines_of_their_own() {
    let fake = bad_for_one_key(|connection, _| {
        connection.wait_at_gate();
        connection.send(b"$4\r\nLATE\r\n");
    });
    let rmux = in_front_of(&fake, &["-remoteReadTimeout=200"]);
    let mut clients: Vec<Client> = (0..10).map(|_| rmux.client()).collect();
    expect_own_values(&mut clients[0], "before", 1);
    let start = Instant::now();
    clients[0].send(&encode(&["GET", "bad"]));
    wait_until("the bad request to arrive", PATIENCE, || fake.seen("GET bad") == 1);
    for (number, client) in clients.iter_mut().enumerate().skip(1) {
        client.send(&encode(&["GET", &number.to_string()]));
    }
    for (number, client) in clients.iter_mut().enumerate() {
        // Behind the silent one: an error in time, or the right value, and never somebody else's.
        let reply = show(&client.reply());
        let own = show(&value_of(&number.to_string()));
        assert!(reply.starts_with("-ERR ") || number > 0 && reply == own, "{number}: {reply}");
    }
    assert!(start.elapsed() < PATIENCE / 2, "took {:?}", start.elapsed());
    fake.gate().open();
    for (number, client) in clients.iter_mut().enumerate() {
        expect_own_values(client, &format!("after {number}"), 20);
    }
}

/// The server is down soon, and from then on every request to it is an error without any waiting.
fn expect_down_at_once(client: &mut Client) {
    wait_until("the server to be down", PATIENCE, || client.line("GET k") == DOWN);
    let start = Instant::now();
    for _ in 0..50 {
        assert_eq!(client.line("GET k"), DOWN);
    }
    assert!(start.elapsed() < PATIENCE / 4, "a server that is down costs nobody a timeout");
}

#[test]
fn a_server_that_accepts_and_is_silent_is_down_and_costs_nobody_a_timeout() {
    let fake = FakeServer::start(Connection::swallow);
    let rmux = in_front_of(&fake, &["-remoteTimeout=200"]);
    let mut client = rmux.client();
    expect_error_after(&mut client, &["GET", "k"], Duration::ZERO);
    expect_down_at_once(&mut client);
}

#[test]
fn a_server_that_never_completes_the_handshake_gets_no_request() {
    let fake = FakeServer::start(Connection::swallow);
    let rmux = in_front_of(&fake, &["-remoteConnectTimeout=200", "-remoteReadTimeout=10000"]);
    let mut client = rmux.client();
    // Protocol 3 and another database: both need a handshake.
    client.line("HELLO 3");
    client.line("SELECT 3");
    let start = Instant::now();
    expect_error_after(&mut client, &["GET", "k"], Duration::ZERO);
    assert!(start.elapsed() < PATIENCE / 4, "the connect timeout counts, not the read timeout");
    assert_eq!(fake.seen("GET k"), 0, "no request before the handshake is confirmed");
    wait_until("the server to be down", PATIENCE, || client.line("GET k") == DOWN);
}

#[test]
fn a_server_that_refuses_a_database_says_so_to_those_who_want_it_alone() {
    let fake = FakeServer::start(|connection| {
        while let Some(request) = connection.request() {
            let reply = match request[0].to_ascii_uppercase().as_slice() {
                b"SELECT" => b"-ERR DB index is out of range\r\n".to_vec(),
                b"HELLO" => b"-NOPROTO unsupported protocol version\r\n".to_vec(),
                b"PING" => b"+PONG\r\n".to_vec(),
                _ => answer(&request),
            };
            connection.send(&reply);
        }
    });
    let rmux = in_front_of(&fake, &[]);
    let mut third = rmux.client();
    let mut neighbour = rmux.client();
    third.line("SELECT 3");
    for _ in 0..10 {
        assert_eq!(third.line("GET k"), "-ERR DB index is out of range\r\n", "the server's own words");
        expect_own_values(&mut neighbour, "neighbour", 3);
    }
    assert_eq!(fake.seen("GET k"), 0);
}

#[test]
fn a_server_that_stops_reading_costs_the_write_timeout_and_no_neighbour() {
    let fake = FakeServer::start(|connection| {
        while let Some(request) = connection.user_request() {
            let reply = answer(&request);
            connection.send(&reply);
            if request[1] == b"last" {
                connection.hold();
            }
        }
    });
    let rmux = in_front_of(&fake, &["-remoteWriteTimeout=200", "-remoteReadTimeout=15000"]);
    let mut client = rmux.client();
    let mut neighbour = rmux.client();
    assert_eq!(show(&client.cmd(&["GET", "last"])), show(&value_of("last")));
    let value = vec![b'x'; 32 << 20];
    let mut writer = client.writer();
    let start = Instant::now();
    let sender = thread::spawn(move || {
        let request = encode(&[b"SET".as_slice(), b"k", &value]);
        writer.write_all(&request)
    });
    let reply = show(&client.reply());
    assert!(reply.starts_with("-ERR "), "{reply}");
    assert!(start.elapsed() < Duration::from_secs(8), "the write timeout counts, not the read timeout");
    expect_own_values(&mut neighbour, "neighbour", 20);
    // The rest of the request is taken and dropped: the client did nothing wrong.
    sender.join().expect("the sender does not panic").expect("the whole request is taken");
    expect_own_values(&mut client, "client", 20);
}

#[test]
fn a_trickled_reply_comes_whole() {
    let fake = bad_for_one_key(|connection, request| {
        let reply = answer(&request.to_vec());
        connection.trickle(&reply, Duration::from_millis(1));
    });
    let rmux = in_front_of(&fake, &["-remoteReadTimeout=10000"]);
    let mut client = rmux.client();
    let mut neighbour = rmux.client();
    for _ in 0..5 {
        client.send(&encode(&["GET", "bad"]));
        expect_own_values(&mut neighbour, "neighbour", 3);
        assert_eq!(show(&client.reply()), show(&value_of("bad")));
    }
}

#[test]
fn trickling_does_not_stretch_a_deadline() {
    let fake = bad_for_one_key(|connection, request| {
        let reply = answer(&request.to_vec());
        connection.trickle(&reply, Duration::from_millis(100));
    });
    let rmux = in_front_of(&fake, &["-remoteReadTimeout=200"]);
    let mut client = rmux.client();
    let mut neighbour = rmux.client();
    let start = Instant::now();
    expect_error_after(&mut client, &["GET", "bad"], TIMEOUT);
    assert!(start.elapsed() < Duration::from_millis(1_500), "the whole reply takes longer than that");
    expect_own_values(&mut client, "client", 50);
    expect_own_values(&mut neighbour, "neighbour", 50);
}

#[test]
fn a_black_hole_is_down_and_costs_nobody_a_timeout() {
    let hole = BlackHole::dig();
    let connections = connections_flag(&[hole.address()]);
    let rmux = Rmux::start(Kind::Unix, &[&connections, "-remoteConnectTimeout=200"]);
    let mut client = rmux.client();
    // The first may wait for the connect timeout; it may also find the server known to be down.
    expect_error_after(&mut client, &["GET", "k"], Duration::ZERO);
    expect_down_at_once(&mut client);
}

#[test]
fn requests_to_a_black_hole_fail_over() {
    let hole = BlackHole::dig();
    let fake = FakeServer::polite();
    let connections = connections_flag(&[hole.address(), fake.address()]);
    let rmux = Rmux::start(Kind::Unix, &[&connections, "-remoteConnectTimeout=200", "-failoverAfter=0"]);
    let mut client = rmux.client();
    let start = Instant::now();
    for key in keys_of(0, 2).iter().take(10) {
        let wanted = bulk(&[b"value of ".as_slice(), key].concat());
        assert_eq!(show(&client.cmd(&[b"GET".as_slice(), key])), show(&wanted));
    }
    assert!(start.elapsed() < PATIENCE / 4, "one timeout at most, and not one for each request");
}

#[test]
fn surplus_bytes_behind_a_reply_reach_nobody() {
    for surplus in [&b"$4\r\nEVIL\r\n"[..], b"+EVIL\r\n", b"$", b"\r\n", b"EVIL"] {
        let fake = bad_for_one_key(move |connection, request| {
            let reply = [answer(&request.to_vec()), surplus.to_vec()].concat();
            connection.send(&reply);
        });
        let rmux = in_front_of(&fake, &[]);
        let mut client = rmux.client();
        let mut neighbour = rmux.client();
        for round in 1..=5 {
            let reply = show(&client.cmd(&["GET", "bad"]));
            assert!(reply == show(&value_of("bad")) || reply.starts_with("-ERR "), "{reply}");
            expect_own_values(&mut neighbour, "neighbour", 5);
            expect_own_values(&mut client, "client", 5);
            wait_until("the connection to be closed", PATIENCE, || fake.finished() >= round);
        }
    }
}

#[test]
fn a_byte_out_of_the_blue_closes_the_connection() {
    let fake = bad_for_one_key(|connection, request| {
        let reply = answer(&request.to_vec());
        connection.send(&reply);
        connection.wait_at_gate();
        connection.send(b"+EVIL\r\n");
    });
    let rmux = in_front_of(&fake, &[]);
    let mut client = rmux.client();
    assert_eq!(show(&client.cmd(&["GET", "bad"])), show(&value_of("bad")));
    fake.gate().open();
    wait_until("the connection to be closed", PATIENCE, || fake.finished() >= 1);
    expect_own_values(&mut client, "client", 20);
}

#[test]
fn garbage_for_a_reply_is_an_error_at_once_and_closes_the_connection() {
    let garbage: [&[u8]; 9] = [
        b"hello\r\n",
        b"\r\n",
        b"\0\0\0\0",
        b"$abc\r\n",
        b"$-7\r\n",
        b"$99999999999999999999\r\n",
        b"*abc\r\n",
        b"*99999999999999999999\r\n",
        b"%-3\r\n",
    ];
    for bytes in garbage {
        let shown = show(bytes);
        let fake = bad_for_one_key(move |connection, _| connection.send(bytes));
        let rmux = in_front_of(&fake, &["-remoteReadTimeout=10000"]);
        let mut client = rmux.client();
        let mut neighbour = rmux.client();
        let start = Instant::now();
        let reply = show(&client.cmd(&["INCR", "bad"]));
        assert!(reply.starts_with("-ERR "), "{shown:?}: {reply}");
        assert!(start.elapsed() < PATIENCE / 4, "{shown:?} is no reply, and nothing to wait behind");
        assert_eq!(fake.seen("INCR bad"), 1, "{shown:?}: a write is never sent twice");
        wait_until("the connection to be closed", PATIENCE, || fake.finished() >= 1);
        expect_own_values(&mut client, "client", 5);
        expect_own_values(&mut neighbour, "neighbour", 5);
    }
}

#[test]
fn a_reply_that_never_ends_costs_its_connection_and_no_neighbour() {
    // A line may be long, so it is no error before its time is over; it must not take memory without a limit either.
    const SENT: usize = 32 << 20;
    let fake = bad_for_one_key(|connection, _| {
        connection.send(b"+");
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..SENT / piece.len() {
            connection.send(&piece);
        }
    });
    let rmux = in_front_of(&fake, &["-remoteReadTimeout=300"]);
    let mut client = rmux.client();
    let mut neighbour = rmux.client();
    client.send(&encode(&["INCR", "bad"]));
    // An error; or, if some of the line was passed on already, the end.
    match client.try_reply() {
        Ok(reply) => assert!(reply.starts_with(b"-ERR "), "{}", show(&reply[..reply.len().min(99)])),
        Err(NoReply::Closed(part)) => assert!(part.starts_with(b"+x"), "{}", show(&part[..part.len().min(99)])),
        Err(why) => panic!("{why}"),
    }
    wait_until("the connection to be closed", PATIENCE, || fake.finished() >= 1);
    expect_own_values(&mut neighbour, "neighbour", 5);
}

#[test]
fn a_reply_that_is_cut_off_is_an_error_and_no_write_is_sent_twice() {
    let fake = bad_for_one_key(|connection, _| {
        connection.send(b"$12\r\nvalue ");
        connection.shut();
    });
    let rmux = in_front_of(&fake, &[]);
    let mut client = rmux.client();
    let mut neighbour = rmux.client();
    for round in 1..=5 {
        let reply = show(&client.cmd(&["INCR", "bad"]));
        assert!(reply.starts_with("-ERR "), "{reply}");
        assert_eq!(fake.seen("INCR bad"), round, "a write is never sent twice");
        expect_own_values(&mut neighbour, "neighbour", 3);
    }
    let reply = show(&client.cmd(&["GET", "bad"]));
    assert!(reply.starts_with("-ERR "), "{reply}");
    assert!(fake.seen("GET bad") <= 2, "what only reads is sent again once, not {} times", fake.seen("GET bad"));
    expect_own_values(&mut client, "client", 3);
}

#[test]
fn a_server_that_closes_instead_of_replying_gets_no_write_twice() {
    let fake = bad_for_one_key(|connection, _| connection.shut());
    let rmux = in_front_of(&fake, &[]);
    let mut client = rmux.client();
    // Ten writes are outstanding when the connection goes; those behind the first may or may not have been read.
    client
        .send(&[encode(&["INCR", "bad"]), (0..9).flat_map(|n| encode(&["INCR", &format!("n{n}")])).collect()].concat());
    for _ in 0..10 {
        let reply = show(&client.reply());
        assert!(reply == ":1\r\n" || reply.starts_with("-ERR "), "{reply}");
    }
    assert_eq!(fake.seen("INCR bad"), 1);
    for number in 0..9 {
        assert!(fake.seen(&format!("INCR n{number}")) <= 1, "a write is never sent twice");
    }
    expect_own_values(&mut client, "client", 10);
}

#[test]
fn a_read_is_sent_again_when_its_connection_dies() {
    // Closes at the first GET bad, and answers the second.
    let fake = FakeServer::start(|connection| {
        while let Some(request) = connection.user_request() {
            if request[1] == b"bad" && connection.seen("GET bad") == 1 {
                return;
            }
            let reply = answer(&request);
            connection.send(&reply);
        }
    });
    let rmux = in_front_of(&fake, &[]);
    let mut client = rmux.client();
    assert_eq!(show(&client.cmd(&["GET", "bad"])), show(&value_of("bad")));
    assert_eq!(fake.seen("GET bad"), 2);
}

#[test]
fn a_big_reply_that_breaks_off_harms_only_its_client() {
    const SIZE: usize = 4 << 20;
    let fake = bad_for_one_key(|connection, _| {
        connection.send(format!("${SIZE}\r\n").as_bytes());
        connection.send(&vec![b'x'; SIZE / 2]);
        connection.shut();
    });
    let rmux = in_front_of(&fake, &[]);
    let mut neighbour = rmux.client();
    for _ in 0..3 {
        let mut client = rmux.client();
        client.send(&encode(&["GET", "bad"]));
        expect_own_values(&mut neighbour, "neighbour", 5);
        match client.try_reply() {
            // It waited for the end of the reply before it passed on any of it.
            Ok(reply) => assert!(reply.starts_with(b"-ERR "), "{}", show(&reply[..reply.len().min(99)])),
            // It had begun: all it can do is to close.
            Err(NoReply::Closed(part)) => {
                let wanted = [format!("${SIZE}\r\n").into_bytes(), vec![b'x'; SIZE / 2]].concat();
                assert!(wanted.starts_with(&part), "{}", show(&part[..part.len().min(99)]));
            }
            Err(why) => panic!("{why}"),
        }
    }
}

#[test]
fn a_server_that_accepts_and_closes_is_not_stormed() {
    let fake = FakeServer::start(|_| {});
    let rmux = in_front_of(&fake, &[]);
    let mut client = rmux.client();
    let start = Instant::now();
    for _ in 0..500 {
        let reply = client.line("INCR k");
        assert!(reply.starts_with("-ERR "), "{reply}");
        assert_eq!(client.line("PING"), "+PONG\r\n");
    }
    // Probes come every 100 ms at most; a connection or two for requests before it was known to be down.
    let most = 20 + start.elapsed().as_millis() as usize / 50;
    assert!(fake.accepted() <= most, "{} connections in {:?}", fake.accepted(), start.elapsed());
}

#[test]
fn a_server_that_shakes_hands_and_closes_is_not_stormed() {
    // Each connection ends as soon as its handshake is answered; at the gate, that is over.
    let fake = FakeServer::start(|connection| {
        while let Some(request) = connection.request() {
            if !request[0].eq_ignore_ascii_case(b"PING") {
                connection.send(&answer(&request));
                continue;
            }
            connection.send(b"+PONG\r\n");
            if !connection.is_gate_open() {
                return;
            }
        }
    });
    let other = FakeServer::polite();
    let start = Instant::now();
    let rmux = Rmux::start(Kind::Unix, &[&connections_flag(&[fake.address(), other.address()])]);
    wait_until("INFO to say so", PATIENCE, || rmux.info("server0_state") == "unsteady");
    wait_until("some more connections", PATIENCE, || fake.accepted() >= 6);
    // After 0, 100, 200 … 1000 ms, or half of that.
    assert!(start.elapsed() >= Duration::from_millis(700), "{} in {:?}", fake.accepted(), start.elapsed());
    fake.gate().open();
    wait_until("INFO to say that it is over", PATIENCE, || rmux.info("server0_state") == "up");
    wait_until("the log to say so", PATIENCE, || rmux.log().contains("is well again"));
    assert_eq!(rmux.log().matches("is unsteady").count(), 1, "{}", rmux.log());
    let key = &keys_of(0, 2)[0];
    let wanted = bulk(&[b"value of ".as_slice(), key].concat());
    assert_eq!(show(&rmux.client().cmd(&[b"GET".as_slice(), key])), show(&wanted));
}

#[test]
fn keys_of_a_server_that_answers_ping_alone_go_to_another_after_failover_after() {
    let fake = FakeServer::start(|connection| while connection.user_request().is_some() {});
    let other = FakeServer::polite();
    let connections = connections_flag(&[fake.address(), other.address()]);
    let rmux = Rmux::start(Kind::Unix, &[&connections, "-remoteReadTimeout=100", "-failoverAfter=1000"]);
    let mut client = rmux.client();
    let key = &keys_of(0, 2)[0];
    let wanted = show(&bulk(&[b"value of ".as_slice(), key].concat()));
    let start = Instant::now();
    wait_until("the other server to answer", PATIENCE, || {
        let reply = show(&client.cmd(&[b"GET".as_slice(), key]));
        assert!(reply == wanted || reply.starts_with("-ERR No reply from "), "{reply}");
        reply == wanted
    });
    assert!(start.elapsed() >= Duration::from_millis(1_000), "after {:?}", start.elapsed());
    wait_until("a trial", PATIENCE, || rmux.log().contains("on trial"));
}

#[test]
fn a_server_that_says_why_it_closes_is_told_in_its_own_words() {
    const DENIED: &[u8] = b"-DENIED Redis is running in protected mode\x1b[2J because no password is set.\r\n";
    let shown = "is down: it refuses us: -DENIED Redis is running in protected mode\\u{1b}[2J because no password";
    // It speaks before it is asked, and closes at once: rmux's own words come too late, or fail.
    let fake = FakeServer::start(|connection| connection.send(DENIED));
    let rmux = in_front_of(&fake, &[]);
    wait_until("the server's words", PATIENCE, || rmux.log().contains(shown));
    // The same over a Unix socket, where a write fails as soon as the other end is gone.
    let scratch = Scratch::new();
    let path = scratch.join("denies.sock");
    let listener = UnixListener::bind(&path).expect("the folder can be written");
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("rmux connects");
        stream.write_all(DENIED).expect("rmux reads");
    });
    let rmux = Rmux::start(Kind::Unix, &[&connections_flag(&[Address::Unix(path)])]);
    wait_until("the server's words", PATIENCE, || rmux.log().contains(shown));
    server.join().expect("no panic");
}
