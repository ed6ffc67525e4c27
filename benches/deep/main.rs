//! Deep pipelines: a client writes all of its requests before it reads the first reply: `cargo bench --bench deep`, or
//! `-- --write` for BENCHMARKS.md.
//!
//! Owns the rows: each pipeline, sent directly to Redis and through rmux with one server and with three, over Unix sockets.
//! Every row has fresh processes, so their greatest memory is the row's own. A row sends its pipeline again and again,
//! each time on a new connection, for at least [`ROW_TIME`] and [`PASSES_MIN`] times: its time is the median, and
//! there are enough delays of the neighbours for their p99.
//!
//! ```text
//! a pipeline ──┐                        ┌─► redis
//!              ├─Unix─► rmux ─Unix──────┼─► redis
//! neighbours ──┘                        └─► redis
//! ```
//!
//! A client that waits for room to write must not wait for ever: after [`PASS_TIMEOUT`] its connection is shut down, and
//! the row says `hangs`. A row `fails` when rmux or Redis close a connection or send an error; why stands on stderr.
//! Exit codes: 0; 1 when a row hangs or fails; 2 for a wrong argument.

#[path = "../book/mod.rs"]
mod book;
mod neighbour;
#[path = "../compare/program.rs"]
mod program;
#[path = "../compare/redis.rs"]
#[allow(dead_code)] // a comparison asks more of the servers
mod redis;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::env;
use std::fs;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use neighbour::{Delay, Neighbours};
use redis::{Link, socket_of, start_server};
use support::process::Process;
use support::proxy::connections_flag;
use support::server::RedisServer;
use support::{Address, Kind, Scratch};

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    // Cargo says --bench; without it this is `cargo test --all-targets`, and there is nothing to test.
    if !words.iter().any(|word| word == "--bench") {
        println!("nothing to test here; run it with: cargo bench --bench deep");
        return ExitCode::SUCCESS;
    }
    if let Some(word) = words.iter().find(|word| !["--bench", "--write"].contains(&word.as_str())) {
        eprintln!("deep: unknown argument {word}\nusage: cargo bench --bench deep [-- --write]");
        return ExitCode::from(2);
    }
    match run(words.iter().any(|word| word == "--write")) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(reason) => {
            eprintln!("deep: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// Measures every row and prints the table. True when every pipeline was answered.
fn run(is_written: bool) -> Result<bool, String> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted)).map_err(|error| format!("signals: {error}"))?;
    }
    let load_before = load_average();
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    let mut are_answered = true;
    for (command, requests) in pipelines() {
        let pipeline = Pipeline::new(command, requests);
        for &way in WAYS {
            let row = measure(way, &pipeline, &interrupted)?;
            are_answered &= row.is_answered;
            eprintln!("{}", row.cells.join(" | "));
            rows.push(row.cells);
        }
    }
    let load = format!("Load average before: {load_before}; after: {}.", load_average());
    let text = format!("{}\n{load}", book::align(&rows, 2));
    println!("{text}");
    if is_written {
        book::write_part("deep", &text)?;
    }
    Ok(are_answered)
}

/// What is measured, in the order of the table: first the neighbours alone.
fn pipelines() -> impl Iterator<Item = (Command, usize)> {
    let set = [0, 1_000, 10_000, 100_000, 1_000_000].map(|requests| (Command::Set, requests));
    let get = [1_000, 10_000, 100_000, 500_000].map(|requests| (Command::Get, requests));
    set.into_iter().chain(get)
}

#[derive(Debug, Clone, Copy)]
enum Command {
    Set,
    Get,
}

/// How requests reach the servers.
#[derive(Debug, Clone, Copy)]
enum Way {
    Direct,
    /// rmux with so many servers.
    Rmux(usize),
}

impl Way {
    fn name(self) -> String {
        match self {
            Way::Direct => "direct".to_owned(),
            Way::Rmux(1) => "rmux, 1 server".to_owned(),
            Way::Rmux(servers) => format!("rmux, {servers} servers"),
        }
    }
}

/// Requests that are written before the first reply is read.
struct Pipeline {
    title: String,
    count: usize,
    requests: Vec<u8>,
    replies_bytes: usize,
}

impl Pipeline {
    fn new(command: Command, count: usize) -> Pipeline {
        let (title, reply_bytes) = match command {
            Command::Set => (format!("SET of {SET_BYTES} bytes"), "+OK\r\n".len()),
            Command::Get => (format!("GET of {GET_BYTES} bytes"), format!("${GET_BYTES}\r\n\r\n").len() + GET_BYTES),
        };
        let title = if count == 0 { "none".to_owned() } else { title };
        let value = "x".repeat(SET_BYTES);
        let mut requests = Vec::new();
        for number in 0..count {
            let key = key(number % KEYS);
            let request = match command {
                Command::Set => format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${SET_BYTES}\r\n{value}\r\n", key.len()),
                Command::Get => format!("*2\r\n$3\r\nGET\r\n${}\r\n{key}\r\n", key.len()),
            };
            requests.extend_from_slice(request.as_bytes());
        }
        Pipeline { title, count, requests, replies_bytes: count * reply_bytes }
    }

    /// Writes all, then reads all: from the first byte to the last.
    fn send(&self, mut stream: &UnixStream) -> io::Result<Duration> {
        let start = Instant::now();
        stream.write_all(&self.requests)?;
        let mut buffer = vec![0; READ_BYTES];
        let mut missing = self.replies_bytes;
        while missing > 0 {
            let length = stream.read(&mut buffer)?;
            // Neither values nor other replies hold a dash: it is an error's.
            if length == 0 || length > missing || buffer[..length].contains(&b'-') {
                let said = String::from_utf8_lossy(&buffer[..length.min(80)]).into_owned();
                return Err(io::Error::other(format!("{missing} bytes before the end: {said:?}")));
            }
            missing -= length;
        }
        Ok(start.elapsed())
    }
}

/// A row of the table.
struct Row {
    cells: Vec<String>,
    /// True exactly when every pass had all of its replies.
    is_answered: bool,
}

/// One row: starts everything afresh, sends the pipeline beside the neighbours, and ends everything.
fn measure(way: Way, pipeline: &Pipeline, interrupted: &AtomicBool) -> Result<Row, String> {
    // Dropped last: what lives in it goes before.
    let folder = Scratch::new();
    let servers = match way {
        Way::Direct => 1,
        Way::Rmux(servers) => servers,
    };
    let servers = (0..servers).map(|_| start_server(&[])).collect::<Result<Vec<RedisServer>, String>>()?;
    let (socket, rmux) = match way {
        Way::Direct => {
            let socket = socket_of(&servers[0]);
            fill(&socket)?;
            (socket, None)
        }
        Way::Rmux(_) => start_rmux(&folder, &servers).map(|(socket, rmux)| (socket, Some(rmux)))?,
    };
    let neighbours = Neighbours::start(&socket)?;
    let start = Instant::now();
    let mut times = Vec::new();
    let failure = loop {
        if interrupted.load(Ordering::Relaxed) {
            return Err("interrupted".to_owned());
        }
        if start.elapsed() >= ROW_TIME && (times.len() >= PASSES_MIN || pipeline.count == 0) {
            break None;
        }
        if pipeline.count == 0 {
            thread::sleep(ROW_TIME);
            continue;
        }
        match pass(&socket, pipeline) {
            Ok(Some(time)) => times.push(time),
            Ok(None) => break Some("hangs"),
            Err(error) => {
                eprintln!("{}, {}: {error}", pipeline.title, way.name());
                break Some("fails");
            }
        }
    };
    let end = Instant::now();
    let delays = neighbours.stop().unwrap_or_else(|reason| {
        eprintln!("{}, {}: {reason}", pipeline.title, way.name());
        Vec::new()
    });
    if failure.is_some() {
        eprint!("{}", rmux.as_ref().map(Process::output).unwrap_or_default());
    }
    let rmux_bytes = rmux.as_ref().map(Process::usage).transpose()?.map(|usage| usage.bytes_peak);
    let redis_bytes: u64 =
        servers.iter().map(|server| server.usage().map(|usage| usage.bytes_peak)).sum::<Result<u64, String>>()?;
    times.sort_unstable();
    let delays = delays_between(&delays, start, end);
    let time = match failure {
        Some(word) => word.to_owned(),
        None => cell(times.get(times.len() / 2).copied()),
    };
    let cells = vec![
        pipeline.title.clone(),
        way.name(),
        grouped(pipeline.count),
        time,
        rmux_bytes.map_or_else(|| "–".to_owned(), megabytes),
        megabytes(redis_bytes),
        cell(delays.get(delays.len() * 99 / 100).copied()),
        cell(delays.last().copied()),
    ];
    Ok(Row { cells, is_answered: failure.is_none() && !delays.is_empty() })
}

/// The pipeline, once, on a connection of its own: how long it took, or nothing when it did not end in time.
fn pass(socket: &Path, pipeline: &Pipeline) -> io::Result<Option<Duration>> {
    let stream = UnixStream::connect(socket)?;
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| sender.send(pipeline.send(&stream)));
        match receiver.recv_timeout(PASS_TIMEOUT) {
            Ok(result) => result.map(Some),
            Err(_) => {
                // Ends the write or read that the client waits in.
                stream.shutdown(Shutdown::Both)?;
                Ok(None)
            }
        }
    })
}

/// rmux in front of these servers, when all keys have been written through it: its socket and its process.
fn start_rmux(folder: &Scratch, servers: &[RedisServer]) -> Result<(PathBuf, Process), String> {
    let socket = folder.join("rmux.sock");
    let program = env::var_os("RMUX").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_rmux")), PathBuf::from);
    let servers: Vec<Address> = servers.iter().map(|server| server.address(Kind::Unix)).collect();
    let arguments = [format!("-socket={}", socket.display()), connections_flag(&servers)];
    let mut rmux = program::start(folder, "rmux", &program, &arguments)?;
    rmux.await_ready(|| fill(&socket)).map_err(|reason| format!("{}: {reason}", program.display()))?;
    Ok((socket, rmux))
}

/// Gives every key a value.
fn fill(socket: &Path) -> Result<(), String> {
    let mut link = Link::connect(&Address::Unix(socket.to_owned()))?;
    let value = [b'x'; GET_BYTES];
    (0..KEYS).try_for_each(|number| link.command(&[b"SET", key(number).as_bytes(), &value]).map(drop))
}

fn key(number: usize) -> String {
    format!("key:{number:06}")
}

/// The delays of requests that were in flight at some time between these two, the greatest last.
fn delays_between(delays: &[Delay], start: Instant, end: Instant) -> Vec<Duration> {
    let is_between = |delay: &&Delay| delay.start + delay.time >= start && delay.start <= end;
    let mut times: Vec<Duration> = delays.iter().filter(is_between).map(|delay| delay.time).collect();
    times.sort_unstable();
    times
}

/// With a comma after each three digits, as people read large numbers.
fn grouped(number: usize) -> String {
    match number {
        0..1_000 => number.to_string(),
        _ => format!("{},{:03}", grouped(number / 1_000), number % 1_000),
    }
}

/// Milliseconds.
fn cell(time: Option<Duration>) -> String {
    time.map_or_else(|| "–".to_owned(), |time| format!("{:.1}", time.as_secs_f64() * 1e3))
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e6)
}

/// The kernel's three load averages.
fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

const HEAD: [&str; 8] =
    ["pipeline", "through", "requests", "ms", "rmux MB", "redis MB", "neighbours p99 ms", "neighbours max ms"];
const WAYS: &[Way] = &[Way::Direct, Way::Rmux(1), Way::Rmux(3)];
const SET_BYTES: usize = 3;
const GET_BYTES: usize = 100;
/// Few, so that Redis's memory is what it keeps for its clients.
const KEYS: usize = 1_000;
const READ_BYTES: usize = 256 * 1024;
const ROW_TIME: Duration = Duration::from_secs(2);
const PASSES_MIN: usize = 3;
/// Of one pass, from its first byte to its last.
const PASS_TIMEOUT: Duration = Duration::from_secs(60);
