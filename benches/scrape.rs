//! What it costs rmux to be watched: `cargo bench --bench scrape`.
//!
//! One rmux with four threads, sixteen servers and 400 clients, whose `/metrics` is asked for again and again on one
//! connection, for longer than a minute: only then is `rmux_loop_turn_seconds_max` without what the start took. Prints CPU
//! time per scrape, of each thread, and the longest turn; fails for no figure.
//!
//! ```text
//!   Http ─► admin's thread ─► a question to each reactor, rmux-0 … rmux-3 ─► one page
//! ```
//!
//! The servers are one redis-server under sixteen names, which are sixteen to rmux.

#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use std::{env, fs, io};

use support::http::{self, Http};
use support::proxy::{Rmux, connections_flag};
use support::server::RedisServer;
use support::{Address, Kind, PATIENCE, Scratch, wait_until};

fn main() {
    // Cargo says --bench; without it this is `cargo test --all-targets`, and there is nothing to test.
    if !env::args().any(|word| word == "--bench") {
        println!("nothing to test here; run it with: cargo bench --bench scrape");
        return;
    }
    let (server, folder) = (RedisServer::start(), Scratch::new());
    let admin = Address::Unix(folder.join("admin.sock"));
    let names = (0..SERVERS).map(|number| {
        let name = folder.join(&format!("redis{number}.sock"));
        std::os::unix::fs::symlink(server.address(Kind::Unix).flag_value(), &name).expect("the folder can be written");
        Address::Unix(name)
    });
    let connections = connections_flag(&names.collect::<Vec<_>>());
    let flags = [format!("-admin={}", admin.flag_value()), connections, format!("-maxProcesses={THREADS}")];
    let rmux = Rmux::start(Kind::Unix, &flags.each_ref().map(String::as_str));
    wait_until("rmux is ready", PATIENCE, || http::get(&admin, "/readyz").status == 200);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| rmux.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.line(&format!("SET k{number} v")), "+OK\r\n");
    }

    let (mut http, mut scrapes) = (Http::connect(&admin), 0);
    let (began, before) = (Instant::now(), cpu_of_threads(rmux.process_id()).expect("rmux runs"));
    let mut page = String::new();
    while began.elapsed() < SPAN {
        page = http.get("/metrics").body;
        scrapes += 1;
    }
    let after = cpu_of_threads(rmux.process_id()).expect("rmux runs");

    println!("{SERVERS} servers, {THREADS} threads, {CLIENTS} clients; {scrapes} scrapes of {} bytes", page.len());
    let used = after.iter().map(|(thread, cpu)| (thread, *cpu - before.get(thread).copied().unwrap_or_default()));
    for ((id, name), cpu) in used.filter(|(_, cpu)| !cpu.is_zero()) {
        println!("  thread {name} ({id}): {:.1} us of CPU per scrape", cpu.as_secs_f64() * 1e6 / f64::from(scrapes));
    }
    let longest = page.lines().find_map(|line| line.strip_prefix("rmux_loop_turn_seconds_max{")?.split_once("} "));
    let longest: f64 = longest.and_then(|(_, seconds)| seconds.parse().ok()).expect("the page has the longest turn");
    println!("  the longest turn within the last minute: {:.2} ms", longest * 1e3);
}

/// CPU time of each thread of a process, under its number and its name.
fn cpu_of_threads(process_id: u32) -> io::Result<BTreeMap<(u32, String), Duration>> {
    let mut threads = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{process_id}/task"))? {
        let thread = entry?.path();
        let name = fs::read_to_string(thread.join("comm"))?.trim().to_owned();
        let id = thread.file_name().and_then(|id| id.to_str()?.parse().ok()).expect("a thread has a number");
        let nanoseconds = fs::read_to_string(thread.join("schedstat"))?;
        let nanoseconds = nanoseconds.split_whitespace().next().and_then(|word| word.parse().ok());
        threads.insert((id, name), Duration::from_nanos(nanoseconds.expect("schedstat begins with CPU time")));
    }
    Ok(threads)
}

const SERVERS: usize = 16;
const THREADS: usize = 4;
const CLIENTS: usize = 400;
/// The longest turn is that of the last minute, and the start is to be out of it.
const SPAN: Duration = Duration::from_secs(75);
