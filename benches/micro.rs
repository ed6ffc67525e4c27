//! Micro-benchmarks of the core's inner loops, in nanoseconds per operation: `cargo bench --bench micro [-- NAME]`, or
//! `-- --write` for all of them, into BENCHMARKS.md.
//!
//! Owns the smallest harness that does the job, and the list of what is measured. A measurement is calibrated to batches
//! of about 20 ms, and the *least* of its batches counts: whatever else the machine did can only have made it slower.
//! The median stands beside it; where the two are far apart, the machine was not quiet.
//!
//! The first rows are the harness's own price, and of what the design means to do without: one look at the clock, one copy.
//! Then come the leaves, and at the end whole requests through the proxy's core, as `replay/` brings them through: all
//! that lies between two system calls.
//! No row fails: a benchmark is never a timed test.

mod book;
mod replay;

use std::cell::RefCell;
use std::env;
use std::hint::black_box;
use std::time::{Duration, Instant};

use replay::Replay;
use rmux::cluster::{self, SLOTS};
use rmux::command;
use rmux::link::HostPort;
use rmux::resp::{ReplyFramer, RequestFramer};
use rmux::ring::{Ring, ServerIndex, UpSet};
use rmux::timer::{Alarm, Millis, Wheel};

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    // Cargo says --bench; without it this is `cargo test --all-targets`, and there is nothing to test.
    if !words.iter().any(|word| word == "--bench") {
        println!("nothing to test here; run it with: cargo bench --bench micro");
        return;
    }
    let is_written = words.iter().any(|word| word == "--write");
    let bench = Bench { filter: words.into_iter().find(|word| !word.starts_with("--")), table: RefCell::default() };
    bench.line(format!("| {:<64} | {:>10} | {:>10} |", "operation", "ns, least", "ns, median"));
    bench.line(format!("|{}|-----------:|-----------:|", "-".repeat(66)));
    baseline(&bench);
    framing(&bench);
    lookup(&bench);
    ring(&bench);
    timer(&bench);
    cluster(&bench);
    for scene in replay::scenes() {
        let name = format!("proxy: {}", scene.title);
        let requests = scene.requests_per_turn;
        let mut replay = Replay::new(scene);
        bench.run(&name, requests, || replay.turn());
        replay.verify();
    }
    if is_written {
        if let Err(reason) = book::write_part("micro", &bench.table.borrow()) {
            eprintln!("micro: {reason}");
        }
    }
}

/// What everything else stands on.
fn baseline(bench: &Bench) {
    bench.run("baseline: nothing", 1, || ());
    bench.run("baseline: one look at the clock", 1, Instant::now);
    let source = [b'x'; 64];
    let mut copy = [0; 64];
    bench.run("baseline: copy of 64 bytes", 1, || copy.copy_from_slice(black_box(&source)));
    black_box(copy);
}

/// Where a request or a reply ends.
fn framing(bench: &Bench) {
    let limits = replay::request_limits();
    let value = "x".repeat(32);
    let get = replay::request(&["GET", "key:000000000001"]);
    let set = replay::request(&["SET", "key:000000000001", &value]);
    let mut framer = RequestFramer::new();
    let mut request = |name: &str, bytes: &[u8]| {
        bench.run(name, 1, || {
            let frame = framer.frame(black_box(bytes), &limits);
            framer.reset();
            frame
        });
    };
    request("framing: request GET", &get);
    request("framing: request SET of 32 bytes", &set);
    let values = [b"*100\r\n".as_slice(), &replay::bulk(32).repeat(100)].concat();
    let mut framer = ReplyFramer::new();
    let mut reply = |name: &str, bytes: &[u8]| {
        bench.run(name, 1, || {
            let frame = framer.frame(black_box(bytes));
            framer.reset();
            frame
        });
    };
    reply("framing: reply +OK", b"+OK\r\n");
    reply("framing: reply of 32 bytes", &replay::bulk(32));
    reply("framing: reply of 100 values of 32 bytes", &values);
}

/// Name → command.
fn lookup(bench: &Bench) {
    bench.run("command: GET", 1, || command::find(black_box(b"GET")));
    bench.run("command: zrangebyscore", 1, || command::find(black_box(b"zrangebyscore")));
    bench.run("command: none of this name", 1, || command::find(black_box(b"GETT")));
}

/// Key → server.
fn ring(bench: &Bench) {
    let key = b"key:000000000001";
    bench.run("ring: hash of 16 bytes", 1, || Ring::hash(black_box(key)));
    let ring = Ring::new(16);
    let mut up = UpSet::new(16);
    bench.run("ring: key → server, 16 servers", 1, || ring.server_of_key(black_box(key), &up));
    let own = ring.server_of_key(key, &up).unwrap_or(ServerIndex(0));
    up.set(own, false);
    bench.run("ring: key → server, its own one down", 1, || ring.server_of_key(black_box(key), &up));
}

/// Deadlines among those of 1,000 connections.
fn timer(bench: &Bench) {
    let mut wheel: Wheel<u32> = Wheel::new(Millis(0));
    for connection in 0..1_000 {
        wheel.arm(connection, Millis(u64::MAX / 2 + u64::from(connection)));
    }
    bench.run("timer: arm and cancel", 1, || {
        let entry = wheel.arm(0, black_box(Millis(500)));
        wheel.cancel(entry)
    });
    let mut alarm = Alarm::default();
    alarm.set(&mut wheel, 0, Millis(1_000_000));
    bench.run("timer: a deadline moved back", 1, || alarm.set(&mut wheel, 0, black_box(Millis(2_000_000))));
    alarm.clear(&mut wheel);
    let mut now = 0;
    bench.run("timer: a millisecond passes, nothing is due", 1, || {
        now += 1;
        wheel.advance(Millis(now));
        wheel.poll_expired()
    });
    bench.run("timer: arm, a millisecond passes, due", 1, || {
        now += 1;
        wheel.arm(0, Millis(now));
        wheel.advance(Millis(now));
        wheel.poll_expired()
    });
}

/// What a node of a cluster says, until it is a map.
fn cluster(bench: &Bench) {
    for (name, ranges) in [
        ("cluster: CLUSTER SLOTS of 200 masters, 200 ranges", 200),
        ("cluster: CLUSTER SLOTS of 200 masters, 16,384 ranges", SLOTS),
    ] {
        let reply = slots_reply(ranges);
        bench.run(name, 1, || {
            let place = HostPort { host: "127.0.0.1".to_owned(), port: 7000 };
            let settings = cluster::Settings { pool: "bench".to_owned(), seeds: vec![place], credentials: None };
            let mut watch = cluster::Watch::new(settings, 7, Millis(0));
            let Some(cluster::Action::Connect(id, _)) = watch.poll_action() else { panic!("it asks somebody") };
            watch.handle_found(id, Millis(0));
            watch.handle_connected(id, Millis(0));
            watch.handle_data(id, black_box(&reply), Millis(0));
            assert!(watch.map().is_some_and(|map| map.covered() == SLOTS), "it is believed");
            watch
        });
    }
}

/// The answers to `CLUSTER INFO`, `SELECT 1` and `CLUSTER SLOTS`, of 200 masters whose slots are in so many ranges.
fn slots_reply(ranges: usize) -> Vec<u8> {
    let info = "cluster_state:ok\r\ncluster_current_epoch:200\r\n";
    let mut reply = format!("${}\r\n{info}\r\n-ERR SELECT is not allowed in cluster mode\r\n*{ranges}\r\n", info.len());
    for range in 0..ranges {
        let (first, end) = (range * SLOTS / ranges, (range + 1) * SLOTS / ranges);
        let node = range % 200;
        reply += &format!("*3\r\n:{first}\r\n:{}\r\n*4\r\n$9\r\n127.0.0.1\r\n:{}\r\n", end - 1, 7000 + node);
        reply += &format!("$40\r\n{node:040x}\r\n*0\r\n");
    }
    reply.into_bytes()
}

/// Measures what its filter lets through.
struct Bench {
    filter: Option<String>,
    /// What was printed.
    table: RefCell<String>,
}

impl Bench {
    /// Prints the time of one operation; `work` does `operations` of them in each call.
    fn run<T>(&self, name: &str, operations: u32, mut work: impl FnMut() -> T) {
        if self.filter.as_ref().is_some_and(|filter| !name.contains(filter.as_str())) {
            return;
        }
        let calls = calibrate(&mut work);
        let mut batches: Vec<f64> = (0..BATCHES)
            .map(|_| time(calls, &mut work).as_nanos() as f64 / (f64::from(calls) * f64::from(operations)))
            .collect();
        batches.sort_by(f64::total_cmp);
        self.line(format!("| {name:<64} | {:>10.2} | {:>10.2} |", batches[0], batches[BATCHES / 2]));
    }

    fn line(&self, line: String) {
        println!("{line}");
        let mut table = self.table.borrow_mut();
        table.push_str(&line);
        table.push('\n');
    }
}

/// How many calls fill a batch; warms caches and branch predictors on the way.
fn calibrate<T>(work: &mut impl FnMut() -> T) -> u32 {
    let mut calls = 1;
    while time(calls, work) < BATCH_TIME {
        let Some(more) = u32::checked_mul(calls, 2) else {
            break;
        };
        calls = more;
    }
    calls
}

fn time<T>(calls: u32, work: &mut impl FnMut() -> T) -> Duration {
    let start = Instant::now();
    for _ in 0..calls {
        black_box(work());
    }
    start.elapsed()
}

const BATCHES: usize = 15;
const BATCH_TIME: Duration = Duration::from_millis(20);
