//! Clients that write tokens which nobody else writes, and what became of each.

use super::trio::{LONG, shown};
use crate::support::client::Client;
use crate::support::proxy::Rmux;
use crate::support::server::RedisServer;
use crate::support::{Address, Kind, wait_until};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const CLIENTS: usize = 4;

/// Clients at work.
pub struct Load {
    stop: Arc<AtomicBool>,
    /// How many requests were answered without an error.
    done: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Vec<Told>>>,
}

/// An error that a client was told.
pub struct Told {
    pub at: Instant,
    pub error: String,
}

/// What became of all.
pub struct Outcome {
    pub errors: Vec<Told>,
    pub done: usize,
}

impl Load {
    pub fn start(rmux: &Rmux) -> Load {
        let (stop, done): (Arc<AtomicBool>, Arc<AtomicUsize>) = Default::default();
        let client = |number| {
            let (address, stop, done) = (rmux.address().clone(), Arc::clone(&stop), Arc::clone(&done));
            std::thread::spawn(move || write(&address, number, &stop, &done))
        };
        let load = Load { clients: (0..CLIENTS).map(client).collect(), stop, done };
        load.await_more(100);
        load
    }

    /// Waits until so many more requests are answered without an error.
    pub fn await_more(&self, count: usize) {
        let until = self.done.load(Ordering::Relaxed) + count;
        wait_until("requests that succeed", LONG, || self.done.load(Ordering::Relaxed) >= until);
    }

    pub fn stop(self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        let errors = self.clients.into_iter().flat_map(|client| client.join().expect("no wrong reply")).collect();
        Outcome { errors, done: self.done.load(Ordering::Relaxed) }
    }
}

impl Outcome {
    /// Each kind of error, and how often it was told.
    pub fn counts(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        self.errors.iter().for_each(|told| *counts.entry(told.error.as_str()).or_default() += 1);
        counts
    }

    /// From the first to the last error.
    pub fn span(&self) -> Duration {
        let first = self.errors.iter().map(|told| told.at).min();
        let last = self.errors.iter().map(|told| told.at).max();
        last.zip(first).map_or(Duration::ZERO, |(last, first)| last - first)
    }

    /// That only such errors were told as belong to a failover.
    pub fn assert_known(&self) {
        for (error, count) in self.counts() {
            let is_known = ["Connection down", "lost before its reply", "No reply from", "No connection to"]
                .iter()
                .any(|part| error.contains(part));
            assert!(is_known, "{count} times: {error}");
        }
    }
}

/// That no token stands there twice.
pub fn assert_no_double(server: &RedisServer) {
    let mut client = Client::connect(&server.address(Kind::Tcp));
    for number in 0..CLIENTS {
        let all = shown(&client.cmd(&["LRANGE", &format!("list:{number}"), "0", "-1"]));
        let mut tokens: Vec<&str> = all.split("\r\n").filter(|line| line.starts_with("token-")).collect();
        let own = format!("token-{number}-");
        assert!(tokens.iter().all(|token| token.starts_with(&own)), "client {number}: another's token");
        let count = tokens.len();
        tokens.sort_unstable();
        tokens.dedup();
        assert_eq!(tokens.len(), count, "client {number}: a token twice");
    }
}

/// One client: pushes a token, sets it, and reads it again, until it is told to stop.
fn write(address: &Address, number: usize, stop: &AtomicBool, done: &AtomicUsize) -> Vec<Told> {
    let mut client = Client::connect(address);
    let (list, key, own) = (format!("list:{number}"), format!("key:{number}"), format!("token-{number}-"));
    let mut told = Vec::new();
    for turn in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let token = format!("{own}{turn}");
        let requests = [&["RPUSH", &list, &token][..], &["SET", &key, &token], &["GET", &key]];
        let mut is_known = true;
        for request in requests {
            let reply = shown(&client.cmd(request));
            if let Some(error) = reply.strip_prefix('-') {
                told.push(Told { at: Instant::now(), error: error.trim_end().to_owned() });
                is_known = false;
                continue;
            }
            let is_right = match request[0] {
                "RPUSH" => reply.starts_with(':'),
                "SET" => reply == "+OK\r\n",
                // What was written before may be lost in a failover; what another has written is never seen.
                _ => reply == "$-1\r\n" || reply.contains(&own),
            };
            assert!(is_right, "client {number}: {request:?}: {reply:?}");
            done.fetch_add(1, Ordering::Relaxed);
        }
        if !is_known {
            // As many errors as there are tell no more.
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }
    told
}
