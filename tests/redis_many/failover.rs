//! A server dies, freezes, and comes back: its keys go to the backup-hashed server and return.
//!
//! A client's connection survives all of it: every test here uses the same connection from beginning to end.

use crate::support::client::{Client, encode, show};
use crate::support::golden::{key_for_each, keys_of};
use crate::support::proxy::{Rmux, connections_flag};
use crate::support::server::RedisServer;
use crate::support::{Kind, PATIENCE, wait_until};
use std::time::{Duration, Instant};

const DOWN: &str = "-ERR Connection down\r\n";

/// `count` servers and an rmux in front of them.
fn start(kind: Kind, count: usize, flags: &[&str]) -> (Vec<RedisServer>, Rmux) {
    let servers: Vec<_> = (0..count).map(|_| RedisServer::start()).collect();
    let rmux = Rmux::in_front_of(kind, &servers.iter().collect::<Vec<_>>(), flags);
    (servers, rmux)
}

fn get(client: &mut Client, key: &[u8]) -> String {
    show(&client.cmd(&[b"GET".as_slice(), key]))
}

fn set(client: &mut Client, key: &[u8], value: &str) -> String {
    show(&client.cmd(&[b"SET".as_slice(), key, value.as_bytes()]))
}

#[test]
fn keys_of_a_dead_server_go_to_another_and_return() {
    const AWAY_MAX: Duration = Duration::from_millis(200);
    const BACK_MAX: Duration = Duration::from_secs(1);
    for kind in crate::support::KINDS {
        let (mut servers, rmux) = start(kind, 3, &[]);
        let mut client = rmux.client();
        let key = &keys_of(1, 3)[0];
        let mut best_away = Duration::MAX;
        let mut best_back = Duration::MAX;
        // A loaded machine may be late once; a rule that is broken is broken every time.
        for round in 0..5 {
            assert_eq!(set(&mut client, key, "home"), "+OK\r\n", "{kind:?}, round {round}");
            servers[1].kill();
            let start = Instant::now();
            wait_until("the dead server's keys to go to another", PATIENCE, || {
                let reply = set(&mut client, key, "away");
                assert!(reply == "+OK\r\n" || reply.starts_with('-'), "{reply}");
                reply == "+OK\r\n"
            });
            best_away = best_away.min(start.elapsed());
            assert_eq!(get(&mut client, key), "$4\r\naway\r\n");

            servers[1].revive();
            let start = Instant::now();
            wait_until("the keys to return", PATIENCE, || {
                let reply = get(&mut client, key);
                assert!(reply == "$4\r\naway\r\n" || reply == "$-1\r\n", "{reply}");
                reply == "$-1\r\n"
            });
            best_back = best_back.min(start.elapsed());
            if best_away < AWAY_MAX && best_back < BACK_MAX {
                break;
            }
        }
        assert!(best_away < AWAY_MAX, "{kind:?}: failover took {best_away:?} at best");
        assert!(best_back < BACK_MAX, "{kind:?}: the return took {best_back:?} at best");
    }
}

#[test]
fn keys_of_the_others_stay_where_they_are() {
    let (mut servers, rmux) = start(Kind::Unix, 4, &[]);
    let mut client = rmux.client();
    for server in 0..4 {
        for key in keys_of(server, 4) {
            assert_eq!(set(&mut client, &key, "home"), "+OK\r\n");
        }
    }
    servers[2].kill();
    wait_until("rmux to notice", PATIENCE, || rmux.info("active_endpoints") == "3");
    for server in [0, 1, 3] {
        for key in keys_of(server, 4) {
            assert_eq!(get(&mut client, &key), "$4\r\nhome\r\n");
        }
    }
    for key in keys_of(2, 4) {
        assert_eq!(get(&mut client, &key), "$-1\r\n", "asked of the backup, which does not have it");
    }
    servers[2].revive();
    wait_until("rmux to notice", PATIENCE, || rmux.info("active_endpoints") == "4");
    assert_eq!(get(&mut client, &keys_of(0, 4)[0]), "$4\r\nhome\r\n");
}

#[test]
fn a_crash_in_the_middle_of_a_pipeline_answers_every_request() {
    let (mut servers, rmux) = start(Kind::Tcp, 3, &[]);
    let keys = key_for_each(3);
    let mut client = rmux.client();
    for _ in 0..3 {
        let mut requests = Vec::new();
        for number in 0..3_000 {
            requests.extend(encode(&[b"SET".as_slice(), &keys[number % 3], number.to_string().as_bytes()]));
        }
        let mut writer = client.writer();
        let sender = std::thread::spawn(move || std::io::Write::write_all(&mut writer, &requests));
        for number in 0..3_000 {
            if number == 300 {
                servers[1].kill();
            }
            let reply = show(&client.reply());
            assert!(reply == "+OK\r\n" || number % 3 == 1 && reply.starts_with("-ERR"), "{number}: {reply}");
        }
        sender.join().expect("the sender does not panic").expect("everything is taken");
        servers[1].revive();
        wait_until("rmux to notice", PATIENCE, || rmux.info("active_endpoints") == "3");
    }
}

#[test]
fn without_failover_a_dead_servers_keys_are_errors_at_once() {
    let (mut servers, rmux) = start(Kind::Unix, 3, &["-failover=false"]);
    let mut client = rmux.client();
    let keys = key_for_each(3);
    for key in &keys {
        assert_eq!(set(&mut client, key, "home"), "+OK\r\n");
    }
    servers[1].kill();
    wait_until("rmux to notice", PATIENCE, || get(&mut client, &keys[1]) == DOWN);
    at_once(|| {
        for _ in 0..100 {
            assert_eq!(get(&mut client, &keys[1]), DOWN);
            assert_eq!(get(&mut client, &keys[0]), "$4\r\nhome\r\n");
            assert_eq!(get(&mut client, &keys[2]), "$4\r\nhome\r\n");
        }
    });
    servers[1].revive();
    wait_until("the server to be back", PATIENCE, || get(&mut client, &keys[1]) == "$-1\r\n");
}

#[test]
fn with_everything_down_every_command_is_an_error_at_once() {
    for failover in ["-failover=true", "-failover=false"] {
        let (mut servers, rmux) = start(Kind::Unix, 3, &[failover]);
        let mut client = rmux.client();
        let keys = key_for_each(3);
        assert_eq!(set(&mut client, &keys[0], "home"), "+OK\r\n");
        servers.iter_mut().for_each(RedisServer::kill);
        for key in &keys {
            wait_until("rmux to notice", PATIENCE, || get(&mut client, key) == DOWN);
        }
        at_once(|| {
            for _ in 0..100 {
                for key in &keys {
                    assert_eq!(get(&mut client, key), DOWN);
                }
                assert_eq!(client.line("PING"), "+PONG\r\n");
            }
        });
        servers.iter_mut().for_each(RedisServer::revive);
        wait_until("all servers to be back", PATIENCE, || rmux.info("active_endpoints") == "3");
        for key in &keys {
            assert_eq!(set(&mut client, key, "home"), "+OK\r\n");
        }
    }
}

#[test]
fn it_starts_with_every_server_down_and_finds_them_one_by_one() {
    for kind in crate::support::KINDS {
        let mut servers: Vec<_> = (0..3).map(|_| RedisServer::prepare(&[])).collect();
        let addresses: Vec<_> = servers.iter().map(|server| server.address(kind)).collect();
        let rmux = Rmux::start(kind, &[&connections_flag(&addresses)]);
        let mut client = rmux.client();
        let keys = key_for_each(3);
        assert_eq!(client.line("PING"), "+PONG\r\n");
        wait_until("rmux to notice", PATIENCE, || get(&mut client, &keys[0]) == DOWN);
        // One after the other they come up; every key has a home as soon as the first is there.
        for (index, server) in servers.iter_mut().enumerate() {
            let up = index + 1;
            server.revive();
            wait_until("the server to be up", PATIENCE, || rmux.info("active_endpoints") == up.to_string());
            for key in &keys {
                assert_eq!(set(&mut client, key, "v"), "+OK\r\n", "{kind:?}, {up} up");
            }
        }
        for (server, key) in servers.iter().zip(&keys) {
            assert_eq!(get(&mut server.client(), key), "$1\r\nv\r\n");
        }
    }
}

#[test]
fn a_frozen_server_is_down_after_its_timeout_and_returns() {
    let (servers, rmux) = start(Kind::Unix, 2, &["-remoteTimeout=200", "-failoverAfter=600"]);
    let mut client = rmux.client();
    let key = &keys_of(0, 2)[0];
    let other = &keys_of(1, 2)[0];
    assert_eq!(set(&mut client, key, "home"), "+OK\r\n");
    servers[0].freeze();
    wait_until("the frozen server's keys to go to the other", PATIENCE, || {
        let reply = set(&mut client, key, "away");
        assert!(reply == "+OK\r\n" || reply.starts_with("-ERR"), "{reply}");
        reply == "+OK\r\n"
    });
    at_once(|| {
        for _ in 0..50 {
            assert_eq!(get(&mut client, key), "$4\r\naway\r\n");
            assert_eq!(get(&mut client, other), "$-1\r\n");
        }
    });
    servers[0].thaw();
    wait_until("the server to be back", PATIENCE, || rmux.info("active_endpoints") == "2");
    // What it holds was written before it was frozen, or by a request that was answered with an error.
    let reply = get(&mut client, key);
    assert!(reply == "$4\r\nhome\r\n" || reply == "$4\r\naway\r\n", "{reply}");
    assert_eq!(set(&mut client, key, "home again"), "+OK\r\n");
    assert_eq!(get(&mut servers[0].client(), key), "$10\r\nhome again\r\n");
}

/// A server does nothing for a while: `is_over` sees each reply that a client gets from rmux, and ends that.
fn expect_patience(servers: &[RedisServer], rmux: &Rmux, mut is_over: impl FnMut(&str) -> bool) {
    let mut client = rmux.client();
    let key = &keys_of(0, 2)[0];
    wait_until("the server to be at work again", PATIENCE, || {
        let reply = set(&mut client, key, "home");
        let is_timeout = reply.starts_with("-ERR No reply from ") || reply.starts_with("-ERR No connection to ");
        assert!(reply == "+OK\r\n" || is_timeout || reply.starts_with("-BUSY "), "{reply}");
        assert_eq!(get(&mut servers[1].client(), key), "$-1\r\n", "it is written elsewhere");
        is_over(&reply) && reply == "+OK\r\n"
    });
    assert_eq!(get(&mut servers[0].client(), key), "$4\r\nhome\r\n");
    assert_eq!(rmux.info("active_endpoints"), "2");
    assert!(!rmux.log().contains("is down"), "{}", rmux.log());
}

#[test]
fn keys_of_a_server_that_stalls_are_not_written_elsewhere() {
    let (servers, rmux) = start(Kind::Unix, 2, &[]);
    wait_until("rmux to be connected", PATIENCE, || rmux.info("active_endpoints") == "2");
    servers[0].freeze();
    let mut errors = 0;
    expect_patience(&servers, &rmux, |_| {
        errors += 1;
        if errors == 3 {
            servers[0].thaw();
        }
        errors >= 3
    });
    wait_until("the log to say so", PATIENCE, || rmux.log().contains("is well again"));
    assert_eq!(rmux.log().matches("is silent").count(), 1, "{}", rmux.log());
}

#[test]
fn keys_of_a_server_that_runs_a_script_are_not_written_elsewhere() {
    let servers: Vec<_> = (0..2).map(|_| RedisServer::start_with(&["--lua-time-limit", "700"])).collect();
    let rmux = Rmux::in_front_of(Kind::Unix, &servers.iter().collect::<Vec<_>>(), &[]);
    wait_until("rmux to be connected", PATIENCE, || rmux.info("active_endpoints") == "2");
    let mut busy = servers[0].client();
    busy.send(&encode(&["EVAL", "while true do end", "0"]));
    // At first it says nothing, and then that it is busy.
    let mut was_busy = false;
    expect_patience(&servers, &rmux, |reply| {
        if reply.starts_with("-BUSY ") && !was_busy {
            was_busy = true;
            assert_eq!(servers[0].client().line("SCRIPT KILL"), "+OK\r\n");
        }
        was_busy
    });
    assert!(show(&busy.reply()).starts_with("-ERR "), "it was killed");
}

#[test]
fn a_loading_server_is_not_up() {
    use crate::support::fake::{FakeServer, answer};
    // Says -LOADING to everything until the gate opens, as a Redis does that reads its data.
    let loading = FakeServer::start(|connection| {
        while let Some(request) = connection.request() {
            let reply = match request[0].to_ascii_uppercase().as_slice() {
                b"PING" if connection.is_gate_open() => b"+PONG\r\n".to_vec(),
                _ if connection.is_gate_open() => answer(&request),
                _ => b"-LOADING Redis is loading the dataset in memory\r\n".to_vec(),
            };
            connection.send(&reply);
        }
    });
    let mut down = RedisServer::prepare(&[]);
    let connections = connections_flag(&[loading.address(), down.address(Kind::Tcp)]);
    let rmux = Rmux::start(Kind::Unix, &[&connections]);
    down.revive();
    wait_until("the real server to be up", PATIENCE, || rmux.info("active_endpoints") != "0");
    // The server that loads goes down as soon as its connection is cut, and no probe may bring it back.
    let mut client = rmux.client();
    let key = &keys_of(0, 2)[0];
    loading.cut();
    wait_until("rmux to notice", PATIENCE, || rmux.info("active_endpoints") == "1");
    let probes = loading.seen("PING");
    wait_until("a few probes", PATIENCE, || loading.seen("PING") >= probes + 3);
    assert_eq!(rmux.info("active_endpoints"), "1");
    assert_eq!(set(&mut client, key, "v"), "+OK\r\n");
    assert_eq!(get(&mut down.client(), key), "$1\r\nv\r\n");
    loading.gate().open();
    wait_until("the server to be up when it has loaded", PATIENCE, || rmux.info("active_endpoints") == "2");
}

/// What takes a timeout (500 ms and more) for every command would need minutes for what is done here.
fn at_once(commands: impl FnOnce()) {
    let start = Instant::now();
    commands();
    assert!(start.elapsed() < Duration::from_secs(5), "took {:?}", start.elapsed());
}
