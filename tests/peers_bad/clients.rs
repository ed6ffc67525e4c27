//! Clients that behave badly.

use crate::support::client::{Client, bulk, encode, show};
use crate::support::fake::{FakeServer, answer, value_of};
use crate::support::proxy::{PATIENT, Rmux, connections_flag};
use crate::support::server::RedisServer;
use crate::support::{Address, Kind, PATIENCE, Stream, sockets_affordable, wait_until};
use crate::{expect_own_values, in_front_of};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn a_client_that_does_not_read_is_bounded_and_closed() {
    const REQUESTS: usize = 100_000;
    let server = RedisServer::start();
    let rmux = Rmux::in_front_of(Kind::Unix, &[&server], &["-localWriteTimeout=400", PATIENT]);
    let value = vec![b'x'; 10_000];
    server.client().cmd(&[b"SET".as_slice(), b"k", &value]);
    let mut greedy = rmux.client();
    let mut writer = greedy.writer();
    // A gigabyte of replies, if they were all fetched.
    let sender = thread::spawn(move || writer.write_all(&encode(&["GET", "k"]).repeat(REQUESTS)));
    let mut neighbour = rmux.client();
    let mut most = 0;
    // On a fast machine it may have sent everything before it is closed.
    wait_until("it to be closed", PATIENCE, || {
        assert!(neighbour.cmd(&["GET", "k"]) == bulk(&value));
        most = most.max(rmux.usage().bytes / 1024);
        sender.is_finished() && rmux.log().contains("closed: it took no reply for localWriteTimeout")
    });
    let _ = sender.join().expect("the sender does not panic");
    assert!(most < 200 * 1024, "rmux held {most} kB for a client that does not read");
    let rest = greedy.rest();
    let reply = bulk(&value);
    for (index, got) in rest.chunks(reply.len()).enumerate() {
        assert!(reply.starts_with(got), "reply {index} is another's");
    }
    assert!(neighbour.cmd(&["GET", "k"]) == bulk(&value));
}

#[test]
fn those_who_do_not_read_big_values_do_not_use_up_the_pool() {
    let server = RedisServer::start();
    server.client().cmd(&[b"SET".as_slice(), b"big", &vec![b'x'; 32 << 20]]);
    server.client().cmd(&["SET", "small", "value"]);
    for pool_size in [1, 2, 3] {
        let rmux = Rmux::in_front_of(Kind::Unix, &[&server], &[&format!("-poolSize={pool_size}"), PATIENT]);
        let mut neighbour = rmux.client();
        let mut greedy: Vec<Client> = (0..5).map(|_| rmux.client()).collect();
        for client in &mut greedy {
            client.send(&encode(&["GET", "big"]));
            for _ in 0..5 {
                let reply = show(&neighbour.cmd(&["GET", "small"]));
                assert_eq!(reply, "$5\r\nvalue\r\n", "poolSize={pool_size}");
            }
        }
    }
}

#[test]
fn half_sent_big_requests_do_not_use_up_the_pool() {
    let server = RedisServer::start();
    server.client().cmd(&["SET", "small", "value"]);
    let request = encode(&[b"SET".as_slice(), b"big", &vec![b'x'; 4 << 20]]);
    let (half, rest) = request.split_at(request.len() / 2);
    for pool_size in [1, 2, 3] {
        let rmux = Rmux::in_front_of(Kind::Unix, &[&server], &[&format!("-poolSize={pool_size}"), PATIENT]);
        let mut neighbour = rmux.client();
        let mut slow: Vec<Client> = (0..5).map(|_| rmux.client()).collect();
        for client in &mut slow {
            client.send(half);
            for _ in 0..5 {
                let reply = show(&neighbour.cmd(&["GET", "small"]));
                assert_eq!(reply, "$5\r\nvalue\r\n", "poolSize={pool_size}");
            }
        }
        for (number, client) in slow.iter_mut().enumerate() {
            client.send(rest);
            assert_eq!(show(&client.reply()), "+OK\r\n", "poolSize={pool_size}, client {number}");
        }
    }
}

#[test]
fn a_client_that_reads_slowly_gets_everything() {
    const REQUESTS: usize = 5_000;
    let server = RedisServer::start();
    let rmux = Rmux::in_front_of(Kind::Unix, &[&server], &[PATIENT]);
    let value = vec![b'x'; 10_000];
    server.client().cmd(&[b"SET".as_slice(), b"k", &value]);
    let mut slow = rmux.client();
    let mut writer = slow.writer();
    let sender = thread::spawn(move || writer.write_all(&encode(&["GET", "k"]).repeat(REQUESTS)));
    let mut neighbour = rmux.client();
    for _ in 0..REQUESTS {
        // As slow as a neighbour's whole round trip for each reply.
        assert_eq!(show(&neighbour.cmd(&["ECHO", "hello"])), "$5\r\nhello\r\n");
        assert!(slow.reply() == bulk(&value));
    }
    sender.join().expect("the sender does not panic").expect("everything is taken");
}

#[test]
fn who_reads_late_gets_everything_on_either_side() {
    const REQUESTS: usize = 100;
    let server = RedisServer::start();
    let value = vec![b'x'; 100_000];
    for kind in [Kind::Unix, Kind::Tcp] {
        let rmux = Rmux::in_front_of(kind, &[&server], &[PATIENT]);
        let mut late = rmux.client();
        let mut neighbour = rmux.client();
        for (request, reply) in
            [(encode(&[b"SET".as_slice(), b"k", &value]), b"+OK\r\n".to_vec()), (encode(&["GET", "k"]), bulk(&value))]
        {
            // What is asked fills the server's socket, or what it answers the client's.
            server.freeze();
            let mut writer = late.writer();
            let sender = thread::spawn(move || writer.write_all(&request.repeat(REQUESTS)));
            for _ in 0..100 {
                assert_eq!(show(&neighbour.cmd(&["ECHO", "hello"])), "$5\r\nhello\r\n");
            }
            server.thaw();
            for _ in 0..5 {
                assert!(neighbour.cmd(&["GET", "none"]) == b"$-1\r\n");
            }
            for number in 0..REQUESTS {
                assert!(late.reply() == reply, "reply {number}, {kind:?}");
            }
            sender.join().expect("the sender does not panic").expect("everything is taken");
        }
    }
}

#[test]
fn an_idle_client_is_closed_after_the_local_read_timeout() {
    let fake = FakeServer::polite();
    let rmux = in_front_of(&fake, &["-localReadTimeout=200"]);
    for request in [&b""[..], b"*2\r\n$3\r\nGET\r\n$1", b"GET half a li", b"*1\r\n$100000\r\nxxx"] {
        let mut client = rmux.client();
        let start = Instant::now();
        expect_own_values(&mut client, "client", 1);
        client.send(request);
        client.expect_closed();
        let elapsed = start.elapsed();
        assert!(elapsed >= Duration::from_millis(195), "{:?}: closed after {elapsed:?} already", show(request));
        assert!(elapsed < PATIENCE / 2, "{:?}: closed only after {elapsed:?}", show(request));
    }
    // Without one, nobody is closed: the default is none.
    let rmux = in_front_of(&fake, &[]);
    let mut client = rmux.client();
    client.set_patience(Duration::from_millis(600));
    assert!(client.try_reply().is_err_and(|why| matches!(why, crate::support::client::NoReply::Late(_))));
    expect_own_values(&mut client, "client", 1);
}

#[test]
fn a_client_that_waits_for_a_reply_is_not_idle() {
    let fake = FakeServer::start(|connection| {
        while let Some(request) = connection.user_request() {
            if request[1] == b"slow" {
                connection.wait_at_gate();
            }
            let reply = answer(&request);
            connection.send(&reply);
        }
    });
    let rmux = in_front_of(&fake, &["-localReadTimeout=200", "-remoteReadTimeout=15000"]);
    let mut waiting = rmux.client();
    waiting.send(&encode(&["GET", "slow"]));
    // Three idle clients, one after the other, are closed in the meantime: 600 ms have passed.
    for _ in 0..3 {
        rmux.client().expect_closed();
    }
    fake.gate().open();
    assert_eq!(show(&waiting.reply()), show(&value_of("slow")));
    waiting.expect_closed();
}

#[test]
fn a_client_that_leaves_takes_its_reply_with_it() {
    let fake = FakeServer::start(|connection| {
        while let Some(request) = connection.user_request() {
            if request[1] == b"slow" {
                connection.wait_at_gate();
            }
            let reply = answer(&request);
            connection.send(&reply);
        }
    });
    let rmux = in_front_of(&fake, &["-remoteReadTimeout=15000"]);
    let mut neighbours: Vec<Client> = (0..5).map(|_| rmux.client()).collect();
    let mut leaver = rmux.client();
    leaver.send(&[encode(&["GET", "slow"]), encode(&["GET", "slow too"]), encode(&["INCR", "n"])].concat());
    wait_until("the slow request to arrive", PATIENCE, || fake.seen("GET slow") == 1);
    // They wait behind the slow one, on the same connection.
    for (number, client) in neighbours.iter_mut().enumerate() {
        client.send(&encode(&["GET", &format!("neighbour {number}")]));
    }
    drop(leaver);
    let mut newcomer = rmux.client();
    newcomer.send(&encode(&["GET", "newcomer"]));
    fake.gate().open();
    for (number, client) in neighbours.iter_mut().enumerate() {
        assert_eq!(show(&client.reply()), show(&value_of(&format!("neighbour {number}"))));
    }
    assert_eq!(show(&newcomer.reply()), show(&value_of("newcomer")));
}

#[test]
fn half_a_request_of_a_client_that_leaves_is_never_run() {
    let server = RedisServer::start();
    let rmux = Rmux::in_front_of(Kind::Unix, &[&server], &[PATIENT]);
    let mut neighbour = rmux.client();
    let value = vec![b'x'; 4 << 20];
    let small = encode(&["SET", "half", "value"]);
    let big = encode(&[b"SET".as_slice(), b"half", &value]);
    for (round, request) in [&small, &big].into_iter().cycle().take(20).enumerate() {
        let mut leaver = rmux.client();
        leaver.send(&request[..request.len() / 2]);
        let round = round.to_string();
        let reply = neighbour.line(&format!("SET k {round}"));
        // A big request that breaks off closes the connection that it was on; who else was on it may get an error.
        assert!(reply == "+OK\r\n" || reply.starts_with("-ERR "), "{reply}");
        drop(leaver);
        assert_eq!(neighbour.line("EXISTS half"), ":0\r\n");
        assert_eq!(neighbour.line(&format!("SET k {round}")), "+OK\r\n");
        assert_eq!(show(&neighbour.cmd(&["GET", "k"])), show(&bulk(round.as_bytes())));
    }
}

#[test]
fn a_half_closed_client_gets_its_replies() {
    for kind in crate::support::KINDS {
        let server = RedisServer::start();
        let rmux = Rmux::in_front_of(kind, &[&server], &[PATIENT]);
        let mut client = rmux.client();
        client.send(&[encode(&["SET", "k", "v"]), encode(&["GET", "k"]).repeat(1_000)].concat());
        client.shutdown_write();
        assert_eq!(show(&client.reply()), "+OK\r\n");
        for _ in 0..1_000 {
            assert_eq!(show(&client.reply()), "$1\r\nv\r\n");
        }
        client.expect_closed();
    }
    // And when the server takes its time.
    let fake = FakeServer::start(|connection| {
        while let Some(request) = connection.user_request() {
            connection.wait_at_gate();
            let reply = answer(&request);
            connection.send(&reply);
        }
    });
    let rmux = in_front_of(&fake, &["-remoteReadTimeout=15000"]);
    let mut client = rmux.client();
    client.send(&encode(&["GET", "slow"]));
    client.shutdown_write();
    wait_until("the request to arrive", PATIENCE, || fake.seen("GET slow") == 1);
    assert_eq!(rmux.client().line("PING"), "+PONG\r\n");
    fake.gate().open();
    assert_eq!(show(&client.reply()), show(&value_of("slow")));
    client.expect_closed();
}

#[test]
fn half_a_request_before_a_half_close_does_not_cost_the_replies_owed() {
    let fake = FakeServer::polite();
    let rmux = in_front_of(&fake, &[]);
    let mut client = rmux.client();
    client.send(&[encode(&["GET", "a"]), b"*2\r\n$3\r\nGET\r\n$5\r\nhal".to_vec()].concat());
    client.shutdown_write();
    assert_eq!(show(&client.rest()), show(&value_of("a")));
}

#[test]
fn trickled_requests_harm_nobody() {
    let fake = FakeServer::polite();
    let rmux = in_front_of(&fake, &[]);
    let mut tricklers: Vec<Client> = (0..20).map(|_| rmux.client()).collect();
    let mut neighbour = rmux.client();
    let request = encode(&["GET", "trickled"]);
    for (index, byte) in request.iter().enumerate() {
        for client in &mut tricklers {
            client.send(&[*byte]);
        }
        expect_own_values(&mut neighbour, &index.to_string(), 2);
    }
    for client in &mut tricklers {
        assert_eq!(show(&client.reply()), show(&value_of("trickled")));
    }
}

#[test]
fn resets_harm_nobody() {
    let server = RedisServer::start();
    let rmux = Rmux::in_front_of(Kind::Tcp, &[&server], &[PATIENT]);
    let mut neighbour = rmux.client();
    let Address::Tcp(port) = *rmux.address() else { panic!("it listens on TCP") };
    for round in 0..100 {
        let stream = std::net::TcpStream::connect(("127.0.0.1", port)).expect("rmux listens");
        let socket = socket2::Socket::from(stream);
        // Closing then sends a reset, and what was not sent yet is dropped.
        socket.set_linger(Some(Duration::ZERO)).expect("the socket is open");
        let mut client = Client::over(Stream::Tcp(socket.into()));
        client.send(&encode(&["GET", "nothing"]).repeat(round));
        drop(client);
        let value = round.to_string();
        assert_eq!(neighbour.line(&format!("SET k {value}")), "+OK\r\n");
        assert_eq!(show(&neighbour.cmd(&["GET", "k"])), show(&bulk(value.as_bytes())));
    }
    assert!((1..=2).contains(&server.clients_connected()));
}

#[test]
fn thousands_that_connect_at_the_same_moment_all_get_in() {
    let fake = FakeServer::polite();
    let rmux = in_front_of(&fake, &[]);
    let Address::Unix(path) = rmux.address() else { panic!("it listens on a Unix socket") };
    let backlog_max = std::fs::read_to_string("/proc/sys/net/core/somaxconn")
        .ok()
        .and_then(|text| text.trim().parse::<usize>().ok())
        .unwrap_or(128);
    let count = sockets_affordable(3_000).min(backlog_max);
    // While rmux is stopped, nobody accepts: all of them stand in the backlog.
    rmux.signal("STOP");
    let address = socket2::SockAddr::unix(path).expect("a short path");
    let mut waiting = Vec::new();
    for number in 0..count {
        let socket =
            socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).expect("a descriptor is free");
        // As PHP connects: what cannot be queued fails at once with EAGAIN.
        socket.set_nonblocking(true).expect("a fresh socket");
        if let Err(error) = socket.connect(&address) {
            rmux.signal("CONT");
            panic!("client {number} of {count} is turned away: {error}");
        }
        socket.set_nonblocking(false).expect("the socket is open");
        waiting.push(UnixStream::from(std::os::fd::OwnedFd::from(socket)));
    }
    rmux.signal("CONT");
    for (number, stream) in waiting.into_iter().enumerate() {
        let stream = Stream::Unix(stream);
        stream.set_timeouts(PATIENCE).expect("the socket is open");
        let mut client = Client::over(stream);
        let key = number.to_string();
        assert_eq!(show(&client.cmd(&["GET", &key])), show(&value_of(&key)));
    }
}

#[test]
fn more_clients_than_descriptors_are_told_so_and_cost_no_cpu() {
    let fake = FakeServer::polite();
    let connections = connections_flag(&[fake.address()]);
    let rmux = Rmux::start_with_descriptors(Kind::Unix, 64, &[&connections]);
    let mut first = rmux.client();
    expect_own_values(&mut first, "first", 5);
    let mut crowd: Vec<Client> = (0..150).map(|_| rmux.client()).collect();
    let mut inside = Vec::new();
    for (number, mut client) in crowd.drain(..).enumerate() {
        let key = number.to_string();
        // Who is told that it is too many may be so before it has said anything.
        let _ = client.try_send(&encode(&["GET", &key]));
        let reply = show(&client.reply());
        if reply == show(&value_of(&key)) {
            inside.push(client);
        } else {
            assert_eq!(reply, "-ERR max number of clients reached\r\n");
            client.expect_closed();
        }
    }
    assert!((10..64).contains(&inside.len()), "{} got in", inside.len());
    expect_own_values(&mut first, "in the crowd", 20);
    // Nothing is to be done now, and nothing is done.
    let cpu_before = rmux.usage().cpu;
    first.set_patience(Duration::from_millis(500));
    assert!(first.try_reply().is_err());
    let busy = rmux.usage().cpu - cpu_before;
    assert!(busy < Duration::from_millis(100), "rmux was busy for {busy:?}, doing nothing");
    // Room for others, when these leave.
    drop(inside);
    wait_until("room for a newcomer", PATIENCE, || {
        rmux.client().try_cmd(&["GET", "k"]).is_ok_and(|reply| reply == value_of("k"))
    });
}

#[test]
fn noise_harms_nobody() {
    let fake = FakeServer::polite();
    let rmux = in_front_of(&fake, &[]);
    let mut neighbour = rmux.client();
    let mut seed = 1u64;
    for round in 0..200 {
        let mut noise = vec![b'*', b'$', b'\r', b'\n'][round % 4..].to_vec();
        for _ in 0..round * 50 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            noise.push((seed >> 56) as u8);
        }
        let mut client = rmux.client();
        let _ = client.try_send(&noise);
        expect_own_values(&mut neighbour, &round.to_string(), 1);
    }
}

#[test]
fn a_client_that_stops_inside_a_request_is_told_which_limit_it_met() {
    let fake = FakeServer::polite();
    let rmux = in_front_of(&fake, &["-localRequestTimeout=200"]);
    let mut neighbour = rmux.client();
    let large = encode(&[b"SET".as_slice(), b"large", &vec![b'x'; 100_000]]);
    for request in [&b"*2\r\n$3\r\nGET\r\n$1"[..], b"GET half a li", b"*1\r\n$100000\r\nxxx", &large[..90_000]] {
        let mut client = rmux.client();
        expect_own_values(&mut client, "client", 1);
        client.send(request);
        let told = "-ERR The rest of a request did not come within localRequestTimeout (200 ms)\r\n";
        assert_eq!(show(&client.reply()), told, "{:?}", show(request));
        client.expect_closed();
        expect_own_values(&mut neighbour, "neighbour", 3);
    }
}

#[test]
fn workers_that_wait_and_a_large_request_that_stops_leave_a_connection_to_the_others() {
    let server = RedisServer::start();
    let large = encode(&[b"SET".as_slice(), b"large", &vec![b'x'; 100_000]]);
    let are_waiting = |count: usize| {
        let info = server.client().line("INFO clients");
        info.contains(&format!("blocked_clients:{count}\r\n"))
    };
    for stops_first in [false, true] {
        let rmux = Rmux::in_front_of(Kind::Unix, &[&server], &["-poolSize=4"]);
        let mut stopped = rmux.client();
        if stops_first {
            stopped.send(&large[..90_000]);
        }
        let mut workers: Vec<Client> = (0..3).map(|_| rmux.client()).collect();
        for (number, worker) in workers.iter_mut().enumerate() {
            worker.send(&encode(&["BLPOP", "list", "0"]));
            // With one connection held by the request that has stopped, the last one waits until that is given up.
            wait_until("it waits for an element", PATIENCE, || are_waiting(number + 1));
        }
        if !stops_first {
            stopped.send(&large[..90_000]);
        }
        let mut others: Vec<Client> = (0..5).map(|_| rmux.client()).collect();
        for _ in 0..20 {
            for client in &mut others {
                assert_eq!(show(&client.cmd(&["SET", "small", "value"])), "+OK\r\n");
                assert_eq!(show(&client.cmd(&["GET", "small"])), "$5\r\nvalue\r\n");
            }
        }
        if stops_first {
            let told = "-ERR The rest of a request did not come within remoteConnectTimeout (500 ms)\r\n";
            assert_eq!(show(&stopped.reply()), told);
            stopped.expect_closed();
        } else {
            stopped.send(&large[90_000..]);
            assert_eq!(show(&stopped.reply()), "+OK\r\n");
        }
        for worker in &mut workers {
            others[0].cmd(&["RPUSH", "list", "element"]);
            assert_eq!(show(&worker.reply()), "*2\r\n$4\r\nlist\r\n$7\r\nelement\r\n");
        }
    }
}
