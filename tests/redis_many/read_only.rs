//! Planned failovers: the server that rmux talks to is no master for a while, or another one is in its place, and no
//! client notices.
//!
//! Each client appends to a list of its own, one number after the other, alone and in pipelines with reads. The reply is
//! the length of the list: a write that is lost, run twice, or out of its order shows in the next reply, and in the list
//! at the end.

use crate::support::client::{Client, bulk, encode, show, text};
use crate::support::proxy::{Rmux, connections_flag};
use crate::support::server::RedisServer;
use crate::support::{Address, Kind, PATIENCE, Scratch, wait_until};
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::{fs, thread};

/// A master, and its replica that has all that it has.
fn pair() -> [RedisServer; 2] {
    let settings = ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"];
    let servers = [RedisServer::start_with(&settings), RedisServer::start_with(&settings)];
    assert_eq!(servers[1].ask(&format!("REPLICAOF 127.0.0.1 {}", servers[0].port())), b"+OK\r\n");
    let mut direct = servers[1].client();
    wait_until("a replica that is connected", PATIENCE, || direct.line("INFO replication").contains("link_status:up"));
    servers
}

/// The one becomes the other's replica, in good order: writes wait meanwhile, and none is lost.
fn hand_over(from: &RedisServer, to: &RedisServer) {
    let (mut old, mut new) = (from.client(), to.client());
    let order = format!("FAILOVER TO 127.0.0.1 {}", to.port());
    wait_until("an order that is taken", PATIENCE, || old.line(&order) == "+OK\r\n");
    wait_until("a new master", PATIENCE, || new.line("ROLE").contains("master"));
    wait_until("an old master that follows", PATIENCE, || old.line("INFO replication").contains("link_status:up"));
}

/// Appends until it is told to stop. Returns how many numbers are in its list.
fn append(rmux: &Rmux, name: usize, is_over: &AtomicBool, all: &AtomicUsize) -> usize {
    let mut client = rmux.client();
    let key = format!("list-{name}");
    let mut count = 0;
    while !is_over.load(Ordering::SeqCst) {
        let pipeline = if count % 3 == 0 { 3 } else { 1 };
        let mut bytes = Vec::new();
        for number in count..count + pipeline {
            bytes.extend(encode(&["RPUSH", &key, &number.to_string()]));
            bytes.extend(encode(&["LINDEX", &key, "-1"]));
        }
        client.send(&bytes);
        for number in count..count + pipeline {
            assert_eq!(show(&client.reply()), format!(":{}\r\n", number + 1), "{key}");
            assert_eq!(client.reply(), bulk(number.to_string().as_bytes()), "{key}: it sees its own write");
        }
        count += pipeline;
        all.fetch_add(1, Ordering::SeqCst);
    }
    count
}

/// Clients append while this happens to their servers; then the master has all of it, once and in order.
fn appends_while(rmux: &Rmux, what_happens: impl FnOnce(&dyn Fn()), master: &RedisServer) {
    let (is_over, all) = (AtomicBool::new(false), AtomicUsize::new(0));
    let counts: Vec<usize> = thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|name| {
                let (is_over, all) = (&is_over, &all);
                scope.spawn(move || append(rmux, name, is_over, all))
            })
            .collect();
        let goes_on = || {
            let before = all.load(Ordering::SeqCst);
            wait_until("clients that go on", PATIENCE, || all.load(Ordering::SeqCst) > before + 50);
        };
        goes_on();
        what_happens(&goes_on);
        is_over.store(true, Ordering::SeqCst);
        clients.into_iter().map(|client| client.join().expect("no client sees any of it")).collect()
    });
    let mut direct: Client = master.client();
    for (name, count) in counts.into_iter().enumerate() {
        let numbers = (0..count).flat_map(|number| bulk(number.to_string().as_bytes()));
        let expected: Vec<u8> = format!("*{count}\r\n").into_bytes().into_iter().chain(numbers).collect();
        let list = direct.cmd(&["LRANGE", &format!("list-{name}"), "0", "-1"]);
        assert!(list == expected, "list-{name} has {count} numbers in their order: {}", show(&list));
    }
    let held = text(&rmux.client().cmd(&["RMUX", "STATUS"]));
    assert!(!held.contains("\r\nheld:0\r\n"), "nothing was refused: {held}");
}

#[test]
fn a_server_that_hands_over_and_gets_it_back_is_not_noticed() {
    let servers = pair();
    let connections = connections_flag(&[servers[0].address(Kind::Tcp)]);
    let rmux = Rmux::start(Kind::Unix, &[&connections, "-remoteTimeout=20000"]);
    let swap = |goes_on: &dyn Fn()| {
        for _ in 0..3 {
            hand_over(&servers[0], &servers[1]);
            hand_over(&servers[1], &servers[0]);
            goes_on();
        }
    };
    appends_while(&rmux, swap, &servers[0]);
}

#[test]
fn an_address_that_becomes_that_of_the_new_master_is_not_noticed() {
    let servers = pair();
    let scratch = Scratch::new();
    let path = scratch.join("master.sock");
    let point_to = |server: &RedisServer| {
        let Address::Unix(target) = server.address(Kind::Unix) else { panic!("a path") };
        let next = scratch.join("next.sock");
        symlink(target, &next).expect("a link");
        fs::rename(&next, &path).expect("in its place");
    };
    point_to(&servers[0]);
    let connections = connections_flag(&[Address::Unix(path.clone())]);
    let rmux = Rmux::start(Kind::Unix, &[&connections, "-remoteTimeout=20000"]);
    let swap = |goes_on: &dyn Fn()| {
        for place in [0, 1, 0] {
            hand_over(&servers[place], &servers[1 - place]);
            point_to(&servers[1 - place]);
            goes_on();
        }
    };
    appends_while(&rmux, swap, &servers[1]);
}
