//! Connections, and the server itself, die in the middle of everything.
//!
//! Every request is answered, with a value or with an error; none waits for ever, and none is carried out twice: what
//! was acknowledged <= what the server counted <= what was acknowledged or answered with an error.

use crate::support::client::{Client, encode, show};
use crate::support::proxy::Rmux;
use crate::support::server::RedisServer;
use crate::support::{KINDS, Kind, PATIENCE, is_direct, wait_until};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// What the clients of one test were told.
#[derive(Default)]
struct Count {
    acknowledged: AtomicUsize,
    refused: AtomicUsize,
}

impl Count {
    /// Adds one reply to INCR.
    fn add(&self, reply: &[u8]) {
        let counter = if reply.starts_with(b":") { &self.acknowledged } else { &self.refused };
        assert!(reply.starts_with(b":") || reply.starts_with(b"-"), "{}", show(reply));
        counter.fetch_add(1, Ordering::SeqCst);
    }

    /// Holds the server's count against what the clients were told.
    fn check(&self, counted: usize) {
        let acknowledged = self.acknowledged.load(Ordering::SeqCst);
        let refused = self.refused.load(Ordering::SeqCst);
        assert!(acknowledged <= counted, "{acknowledged} were acknowledged, the server has {counted}");
        assert!(
            counted <= acknowledged + refused,
            "{acknowledged} were acknowledged and {refused} refused, the server has {counted}: some ran twice"
        );
    }
}

/// Keeps incrementing, in pipelines of varying depth, until told to stop.
fn increment(client: &mut Client, count: &Count, stop: &AtomicBool) {
    let mut depth = 1;
    while !stop.load(Ordering::SeqCst) {
        client.send(&encode(&["INCR", "n"]).repeat(depth));
        for _ in 0..depth {
            count.add(&client.reply());
        }
        depth = depth % 20 + 1;
    }
}

fn value_of_n(server: &RedisServer) -> usize {
    let reply = server.client().line("GET n");
    reply.split("\r\n").nth(1).and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[test]
fn cut_connections_lose_no_reply_and_double_no_increment() {
    if is_direct() {
        return;
    }
    for kind in KINDS {
        let server = RedisServer::start();
        let rmux = Rmux::in_front_of(kind, &[&server], &[]);
        let count = Count::default();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| increment(&mut rmux.client(), &count, &stop));
            }
            let mut cuts = 0;
            let mut last = 0;
            while cuts < 40 {
                // Some work between two cuts, so that they hit different moments.
                let now = count.acknowledged.load(Ordering::SeqCst);
                if now > last + 50 {
                    server.cut_connections();
                    last = now;
                    cuts += 1;
                }
                thread::yield_now();
            }
            stop.store(true, Ordering::SeqCst);
        });
        count.check(value_of_n(&server));
        assert_eq!(rmux.client().line("PING"), "+PONG\r\n");
    }
}

#[test]
fn a_killed_server_loses_no_reply_and_doubles_no_increment() {
    if is_direct() {
        return;
    }
    for kind in KINDS {
        // The log is written before the reply, so that what was acknowledged is there after the crash.
        let mut server = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "no"]);
        let rmux = Rmux::in_front_of(kind, &[&server], &[]);
        let count = Count::default();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| increment(&mut rmux.client(), &count, &stop));
            }
            for _ in 0..3 {
                let start = count.acknowledged.load(Ordering::SeqCst);
                wait_until("increments before the crash", PATIENCE, || {
                    count.acknowledged.load(Ordering::SeqCst) > start + 500
                });
                server.kill();
                let refused = count.refused.load(Ordering::SeqCst);
                wait_until("errors while the server is down", PATIENCE, || {
                    count.refused.load(Ordering::SeqCst) > refused
                });
                server.revive();
            }
            let start = count.acknowledged.load(Ordering::SeqCst);
            wait_until("increments after the last crash", PATIENCE, || {
                count.acknowledged.load(Ordering::SeqCst) > start + 500
            });
            stop.store(true, Ordering::SeqCst);
        });
        count.check(value_of_n(&server));
    }
}

#[test]
fn a_frozen_server_gives_errors_and_comes_back_clean() {
    if is_direct() {
        return;
    }
    let server = RedisServer::start();
    let rmux = Rmux::in_front_of(Kind::Unix, &[&server], &["-remoteTimeout=300"]);
    let mut client = rmux.client();
    for round in 0..3 {
        assert_eq!(client.line(&format!("SET k {round}")), "+OK\r\n");
        server.freeze();
        client.send(&encode(&["GET", "k"]).repeat(10));
        for _ in 0..10 {
            let reply = show(&client.reply());
            assert!(reply.starts_with("-"), "{reply}");
        }
        server.thaw();
        // The late replies belong to requests that were answered with an error; nobody may see them.
        wait_until("the server to be back", PATIENCE, || {
            let reply = client.line(&format!("SET other {round}"));
            assert!(reply == "+OK\r\n" || reply.starts_with('-'), "{reply}");
            reply == "+OK\r\n"
        });
        assert_eq!(client.line("GET other"), format!("$1\r\n{round}\r\n"));
        assert_eq!(client.line("GET k"), format!("$1\r\n{round}\r\n"));
    }
}

#[test]
fn without_a_server_nobody_waits() {
    if is_direct() {
        return;
    }
    let mut server = RedisServer::start();
    let rmux = Rmux::in_front_of(Kind::Tcp, &[&server], &[]);
    let mut client = rmux.client();
    assert_eq!(client.line("SET k v"), "+OK\r\n");
    server.kill();
    wait_until("rmux to notice", PATIENCE, || client.line("GET k") == "-ERR Connection down\r\n");
    let start = std::time::Instant::now();
    for _ in 0..1_000 {
        assert_eq!(client.line("GET k"), "-ERR Connection down\r\n");
        assert_eq!(client.line("PING"), "+PONG\r\n");
    }
    // At once means: nobody waits for a timeout (500 ms each) nor for a probe (100 ms and more).
    assert!(start.elapsed() < PATIENCE, "2,000 answers took {:?}", start.elapsed());
    server.revive();
    wait_until("the server to be back", PATIENCE, || client.line("GET k") == "$-1\r\n");
}
