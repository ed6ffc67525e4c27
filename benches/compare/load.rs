//! redis-benchmark: one run of one work load against one target, and what it reports.
//!
//! Knows its arguments and its CSV (redis-benchmark 7), and no subject. It runs as a process of its own, with one thread,
//! and is killed at the deadline.
//!
//! A work load with several commands runs them one after the other in one process. Its requests per second are those of
//! the whole; its p50 and p99 are the worse command's, since two medians cannot be put together.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::program;
use crate::redis::BENCHMARK_KEY;
use crate::support::{Address, Scratch};
use crate::tls::Target;
use crate::work::{Doing, Work};

/// What redis-benchmark saw.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// Requests answered, all commands together.
    pub requests: u64,
    /// How long they took.
    pub seconds: f64,
    /// Median of the latency, in milliseconds.
    pub p50_ms: f64,
    /// 90th percentile, where it is known.
    pub p90_ms: Option<f64>,
    /// 99th percentile of the latency, in milliseconds.
    pub p99_ms: f64,
    /// The longest, where it is known.
    pub max_ms: Option<f64>,
    /// Bytes of large values that came besides.
    pub streamed_bytes: u64,
}

/// Runs the work load to its end and calls `sample` some ten times a second meanwhile.
pub fn run(
    folder: &Scratch,
    target: &Target,
    work: &Work,
    interrupted: &AtomicBool,
    mut sample: impl FnMut(),
) -> Result<Outcome, String> {
    let mut process =
        program::start(folder, "redis-benchmark", Path::new("redis-benchmark"), &arguments(target, work))?;
    if let Some(cores) = work.cores {
        program::keep_to(cores.clients, process.id())?;
    }
    let deadline = Instant::now() + RUN_TIMEOUT;
    let mut next_sample = Instant::now() + SAMPLE_FIRST;
    let code = loop {
        if let Some(code) = process.exit_code()? {
            break code;
        }
        let now = Instant::now();
        if now > deadline {
            return Err(format!("not done after {RUN_TIMEOUT:?}"));
        }
        if interrupted.load(Ordering::Relaxed) {
            return Err("interrupted".to_owned());
        }
        if now >= next_sample {
            sample();
            next_sample = now + SAMPLE_PERIOD;
        }
        std::thread::sleep(EXIT_POLL);
    };
    let output = process.output();
    // It goes on after an error reply, and counts it as an answer.
    if let Some(line) = output.lines().find(|line| line.starts_with("Error")) {
        return Err(format!("redis-benchmark: {line}"));
    }
    if code != 0 {
        let last = output.lines().last().unwrap_or("it said nothing");
        return Err(format!("redis-benchmark (apt-get install redis-tools) ended with code {code}: {last}"));
    }
    parse(&output, work)
}

fn arguments(target: &Target, work: &Work) -> Vec<String> {
    let mut arguments = match &target.address {
        Address::Tcp(port) => vec!["-h".to_owned(), "127.0.0.1".to_owned(), "-p".to_owned(), port.to_string()],
        Address::Unix(path) => vec!["-s".to_owned(), path.display().to_string()],
    };
    for (flag, value) in [
        ("-c", work.clients.to_string()),
        ("-n", work.requests.to_string()),
        ("-d", work.bytes.to_string()),
        ("-P", work.pipeline.to_string()),
        ("-k", u8::from(work.keep_alive).to_string()),
    ] {
        arguments.push(flag.to_owned());
        arguments.push(value);
    }
    if let Some(authority) = &target.authority {
        arguments.extend(["--tls".to_owned(), "--cacert".to_owned(), authority.clone()]);
    }
    if work.keys > 0 {
        arguments.extend(["-r".to_owned(), work.keys.to_string()]);
    }
    arguments.push("--csv".to_owned());
    match work.doing {
        Doing::Mget(keys) => {
            arguments.push("MGET".to_owned());
            arguments.extend((0..keys).map(|_| String::from_utf8_lossy(BENCHMARK_KEY).into_owned()));
        }
        _ => arguments.extend(["-t".to_owned(), tests(work).join(",")]),
    }
    arguments
}

fn tests(work: &Work) -> &'static [&'static str] {
    match work.doing {
        Doing::Tests(tests) => tests,
        Doing::Mget(_) => &["mget"],
        Doing::Alone | Doing::Huge | Doing::Php(_) => &[],
    }
}

/// One row per command: `"SET","rps","avg","min","p50","p95","p99","max"`, latencies in milliseconds.
fn parse(output: &str, work: &Work) -> Result<Outcome, String> {
    let mut outcome =
        Outcome { requests: 0, seconds: 0.0, p50_ms: 0.0, p90_ms: None, p99_ms: 0.0, max_ms: None, streamed_bytes: 0 };
    for test in tests(work) {
        // A command of one's own is named by all its words.
        let end = if matches!(work.doing, Doing::Mget(_)) { ' ' } else { '"' };
        let head = format!("\"{}{end}", test.to_uppercase());
        let row = output
            .lines()
            .find_map(|line| line.strip_prefix(&head))
            .ok_or_else(|| format!("redis-benchmark has no row for {test}: {output}"))?;
        let figures: Vec<f64> = row.split(',').filter_map(|word| word.trim_matches('"').parse().ok()).collect();
        let [per_second, _average, _least, p50_ms, _p95, p99_ms, _most] = figures[..] else {
            return Err(format!("redis-benchmark's row is not the one of version 7: {row}"));
        };
        outcome.requests += u64::from(work.requests);
        outcome.seconds += f64::from(work.requests) / per_second;
        outcome.p50_ms = outcome.p50_ms.max(p50_ms);
        outcome.p99_ms = outcome.p99_ms.max(p99_ms);
    }
    Ok(outcome)
}

const RUN_TIMEOUT: Duration = Duration::from_secs(120);
/// By then the clients are connected, and even a short run is not yet over.
const SAMPLE_FIRST: Duration = Duration::from_millis(20);
const SAMPLE_PERIOD: Duration = Duration::from_millis(100);
const EXIT_POLL: Duration = Duration::from_millis(5);
