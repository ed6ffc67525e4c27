//! Every reply is its own request's: pipelines of any depth, cut anywhere, values of any size, many clients at once.
//!
//! Each value names the request that asked for it, so that a reply in the wrong place is seen, whoever it reaches.

use crate::support::client::{Client, bulk, encode, show};
use crate::support::proxy::Front;
use crate::support::server::RedisServer;
use crate::support::{KINDS, Kind, is_direct, sockets_affordable};
use std::io::Write;
use std::thread;

#[test]
fn pipelines_of_any_depth_are_answered_in_order() {
    for kind in KINDS {
        let server = RedisServer::start();
        let front = Front::of(kind, &server);
        let mut client = front.client();
        for depth in [1, 2, 3, 16, 100, 1_000, 10_000] {
            let mut requests = Vec::new();
            let mut wanted = Vec::new();
            for number in 0..depth {
                let value = format!("{depth}:{number}");
                match number % 4 {
                    0 => {
                        requests.extend(encode(&["SET", "k", &value]));
                        wanted.push(b"+OK\r\n".to_vec());
                    }
                    1 => {
                        requests.extend(encode(&["GET", "k"]));
                        wanted.push(bulk(format!("{depth}:{}", number - 1).as_bytes()));
                    }
                    // Answered by rmux itself, and yet in its place.
                    2 => {
                        requests.extend(encode(&["ECHO", &value]));
                        wanted.push(bulk(value.as_bytes()));
                    }
                    _ => {
                        requests.extend(encode(&["NOSUCH", &value]));
                        let text = format!("-ERR unknown command 'NOSUCH', with args beginning with: '{value}' \r\n");
                        wanted.push(text.into_bytes());
                    }
                }
            }
            let mut writer = client.writer();
            let sender = thread::spawn(move || writer.write_all(&requests));
            for (number, wanted) in wanted.iter().enumerate() {
                let got = client.reply();
                assert_eq!(show(&got), show(wanted), "{kind:?}, depth {depth}, reply {number}");
            }
            sender.join().expect("the sender does not panic").expect("everything is taken");
        }
    }
}

#[test]
fn requests_cut_at_any_byte_are_answered_alike() {
    let server = RedisServer::start();
    let front = Front::of(Kind::Unix, &server);
    let mut other = front.client();
    let pipeline = [
        encode(&["SET", "k", "a\r\nb"]),
        encode(&["GET", "k"]),
        b"ECHO \"in line\"\r\n".to_vec(),
        encode(&["GET", "nothing"]),
    ]
    .concat();
    let wanted = b"+OK\r\n$4\r\na\r\nb\r\n$7\r\nin line\r\n$-1\r\n";
    for cut in 1..pipeline.len() {
        let mut client = front.client();
        client.send(&pipeline[..cut]);
        // By the time that another client has its answer, the first part was read.
        assert_eq!(other.line("PING"), "+PONG\r\n");
        client.send(&pipeline[cut..]);
        let got = client.replies(4).concat();
        assert_eq!(show(&got), show(wanted), "cut at byte {cut}");
    }
}

#[test]
fn requests_that_come_byte_by_byte_are_answered() {
    for kind in KINDS {
        let server = RedisServer::start();
        let front = Front::of(kind, &server);
        let mut client = front.client();
        for round in 0..20 {
            let value = format!("value {round}");
            let pipeline = [encode(&["SET", "k", &value]), encode(&["GET", "k"])].concat();
            for byte in &pipeline {
                client.send(&[*byte]);
            }
            assert_eq!(show(&client.reply()), "+OK\r\n");
            assert_eq!(show(&client.reply()), show(&bulk(value.as_bytes())));
        }
    }
}

#[test]
fn values_of_every_size_come_back_whole() {
    const MB: usize = 1 << 20;
    for kind in KINDS {
        let server = RedisServer::start();
        let front = Front::of(kind, &server);
        let mut client = front.client();
        let sizes = [
            0,
            1,
            2,
            100,
            1_000,
            4_095,
            4_096,
            16_383,
            16_384,
            16_385,
            65_535,
            65_536,
            65_537,
            100_000,
            MB,
            MB + 1,
            4 * MB,
            64 * MB,
        ];
        for size in sizes {
            let value = pattern(size);
            assert_eq!(show(&client.cmd(&[b"SET".as_slice(), b"k", &value])), "+OK\r\n", "{kind:?}, {size} bytes");
            let got = client.cmd(&["GET", "k"]);
            assert!(
                got == bulk(&value),
                "{kind:?}: {size} bytes come back changed: {}",
                show(&got[..got.len().min(99)])
            );
            // Small and big in one pipeline, the small ones in their places.
            client.send(&[encode(&["ECHO", "a"]), encode(&["GET", "k"]), encode(&["STRLEN", "k"])].concat());
            assert_eq!(show(&client.reply()), "$1\r\na\r\n");
            assert!(client.reply() == bulk(&value), "{kind:?}: {size} bytes in a pipeline");
            assert_eq!(show(&client.reply()), format!(":{size}\r\n"));
        }
    }
}

#[test]
fn a_hundred_megabytes_do_not_need_their_size_twice() {
    const SIZE: usize = 100 << 20;
    let server = RedisServer::start();
    let front = Front::of(Kind::Unix, &server);
    let mut client = front.client();
    let mut neighbour = front.client();
    let value = pattern(SIZE);
    assert_eq!(show(&client.cmd(&[b"SET".as_slice(), b"k", &value])), "+OK\r\n");
    assert_eq!(neighbour.line("ECHO here"), "$4\r\nhere\r\n");
    assert!(client.cmd(&["GET", "k"]) == bulk(&value), "a hundred megabytes come back changed");
    if let Some(rmux) = front.rmux() {
        let most = rmux.usage().bytes_peak as usize;
        assert!(most < 2 * SIZE, "rmux needed {most} bytes for a value of {SIZE}");
    }
}

#[test]
fn a_big_value_delays_nobody() {
    const SIZE: usize = 32 << 20;
    if is_direct() {
        return;
    }
    let server = RedisServer::start();
    let front = Front::of(Kind::Unix, &server);
    server.client().cmd(&[b"SET".as_slice(), b"big", &pattern(SIZE)]);
    server.client().cmd(&["SET", "small", "value"]);
    // Asks for a big value and does not read it: its backend is in the middle of something large, and stays there.
    let mut greedy = front.client();
    greedy.send(&encode(&["GET", "big"]));
    let mut neighbour = front.client();
    for _ in 0..100 {
        assert_eq!(show(&neighbour.cmd(&["GET", "small"])), "$5\r\nvalue\r\n");
    }
    // A half-sent big request holds nobody up either.
    let mut slow = front.client();
    slow.send(&encode(&[b"SET".as_slice(), b"big", &pattern(SIZE)])[..SIZE / 2]);
    for _ in 0..100 {
        assert_eq!(show(&neighbour.cmd(&["GET", "small"])), "$5\r\nvalue\r\n");
    }
    assert!(greedy.reply() == bulk(&pattern(SIZE)), "the big value comes whole in the end");
}

#[test]
fn many_clients_at_once_each_get_their_own() {
    const ROUNDS: usize = 40;
    for kind in KINDS {
        let server = RedisServer::start();
        let front = Front::of(kind, &server);
        thread::scope(|scope| {
            for number in 0..32 {
                let front = &front;
                scope.spawn(move || {
                    let mut client = front.client();
                    for round in 0..ROUNDS {
                        let depth = 1 + (number * 7 + round * 3) % 40;
                        let value = |step| format!("client {number} round {round} step {step}");
                        let mut requests = Vec::new();
                        for step in 0..depth {
                            let key = format!("{number}:{step}");
                            requests.extend(encode(&["SET", &key, &value(step)]));
                            requests.extend(encode(&["GET", &key]));
                        }
                        client.send(&requests);
                        for step in 0..depth {
                            assert_eq!(show(&client.reply()), "+OK\r\n");
                            assert_eq!(show(&client.reply()), show(&bulk(value(step).as_bytes())));
                        }
                    }
                });
            }
        });
    }
}

#[test]
fn a_thousand_busy_clients_use_one_or_two_connections() {
    if is_direct() {
        return;
    }
    for kind in KINDS {
        let server = RedisServer::start();
        let front = Front::of(kind, &server);
        let count = sockets_affordable(1_000);
        let mut clients: Vec<Client> = (0..count).map(|_| front.client()).collect();
        let mut most = 0;
        for round in 0..5 {
            for (number, client) in clients.iter_mut().enumerate() {
                let value = format!("{number} in round {round}");
                client.send(
                    &[encode(&["SET", &number.to_string(), &value]), encode(&["GET", &number.to_string()])].concat(),
                );
            }
            most = most.max(server.clients_connected());
            for (number, client) in clients.iter_mut().enumerate() {
                assert_eq!(show(&client.reply()), "+OK\r\n");
                assert_eq!(show(&client.reply()), show(&bulk(format!("{number} in round {round}").as_bytes())));
            }
            most = most.max(server.clients_connected());
        }
        assert!((1..=2).contains(&most), "{kind:?}: Redis saw {most} connections for {count} clients");
    }
}

#[test]
fn pool_size_is_the_most_connections() {
    const POOL: usize = 3;
    if is_direct() {
        return;
    }
    let server = RedisServer::start();
    let front = Front::with(Kind::Unix, &server, &["-poolSize=3", "-remoteReadTimeout=15000"]);
    let value = pattern(8 << 20);
    server.client().cmd(&[b"SET".as_slice(), b"big", &value]);
    let mut greedy: Vec<Client> = (0..10).map(|_| front.client()).collect();
    for (number, client) in greedy.iter_mut().enumerate() {
        client.send(&encode(&["GET", "big"]));
        if number < POOL {
            // Its connection is in the middle of something large now, and stays there: the next one needs another.
            client.wait_for_some();
            assert_eq!(server.clients_connected(), number + 1);
        }
    }
    for (number, client) in greedy.iter_mut().enumerate() {
        let reply = client.reply();
        assert!(server.clients_connected() <= POOL);
        // Those for whom there was no connection may have waited for too long.
        let is_patient = number < POOL || !reply.starts_with(b"-ERR ");
        assert!(!is_patient || reply == bulk(&value), "client {number}: {}", show(&reply[..reply.len().min(99)]));
    }
}

/// Bytes that look like protocol, with a number every 64 bytes, so that a cut or a shift is seen.
fn pattern(size: usize) -> Vec<u8> {
    const BLOCK: &[u8; 64] = b"$3\r\nfoo\r\n-ERR no\r\n*2\r\n:1\r\n+OK\r\n$-1\r\n_\r\n%1\r\n_________   #        ";
    let mut value = BLOCK.repeat(size.div_ceil(64));
    for (number, block) in value.chunks_mut(64).enumerate() {
        block[56..].copy_from_slice(&number.to_be_bytes());
    }
    value.truncate(size);
    value
}
