//! Clients of the comparison's own, where redis-benchmark cannot look closely enough.
//!
//! - `alone`: one client that asks and waits. redis-benchmark rounds delays to 8 us, and a proxy adds little more.
//! - `huge`: one client that takes 100 MB, several times, and another one that asks for a small value meanwhile.
//!
//! Knows no subject. The clients are threads of this process and block: each has one socket.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::load::Outcome;
use crate::redis::{BENCHMARK_KEY, SMALL_BYTES, SMALL_KEY};
use crate::support::{Address, Stream};
use crate::work::Work;

/// One client, one GET after another.
pub fn alone(target: &Address, work: &Work) -> Result<Outcome, String> {
    let ask = || -> io::Result<Vec<Duration>> {
        let mut asker = Asker::new(target, BENCHMARK_KEY, work.bytes as usize)?;
        for _ in 0..work.requests / 20 {
            asker.ask()?;
        }
        (0..work.requests).map(|_| asker.ask()).collect()
    };
    let start = Instant::now();
    let delays = ask().map_err(|error| format!("a client alone: {error}"))?;
    Ok(outcome(delays, start.elapsed()))
}

/// A client that takes the large value `work.requests` times, and another one that asks for a small one as fast as it can.
pub fn huge(target: &Address, work: &Work) -> Result<Outcome, String> {
    let is_done = AtomicBool::new(false);
    let start = Instant::now();
    let (taken, delays) = std::thread::scope(|scope| {
        let other = scope.spawn(|| -> io::Result<Vec<Duration>> {
            let mut asker = Asker::new(target, SMALL_KEY, SMALL_BYTES)?;
            let mut delays = Vec::new();
            while !is_done.load(Ordering::Relaxed) {
                delays.push(asker.ask()?);
            }
            Ok(delays)
        });
        let taken = (0..work.requests).try_for_each(|_| take(target, work.bytes as usize));
        is_done.store(true, Ordering::Relaxed);
        (taken, other.join().unwrap_or_else(|_| Err(io::Error::other("the other client panicked"))))
    });
    taken.map_err(|error| format!("the client of the large value: {error}"))?;
    let delays = delays.map_err(|error| format!("the other client: {error}"))?;
    let mut outcome = outcome(delays, start.elapsed());
    outcome.streamed_bytes = u64::from(work.requests) * u64::from(work.bytes);
    Ok(outcome)
}

/// Takes the large value, as it comes.
fn take(target: &Address, bytes: usize) -> io::Result<()> {
    let mut socket = target.connect()?;
    socket.write_all(&get(BENCHMARK_KEY))?;
    let mut buffer = vec![0; 256 * 1024];
    let mut missing = bulk_bytes(bytes);
    let mut is_first = true;
    while missing > 0 {
        let length = socket.read(&mut buffer)?;
        if length == 0 || (std::mem::take(&mut is_first) && buffer[0] != b'$') {
            let start = String::from_utf8_lossy(&buffer[..length.min(60)]).into_owned();
            return Err(io::Error::other(format!("{missing} bytes before the end: {start:?}")));
        }
        missing = missing.saturating_sub(length);
    }
    Ok(())
}

/// A client that asks for one key and knows how long the answer is.
struct Asker {
    socket: Stream,
    request: Vec<u8>,
    reply: Vec<u8>,
}

impl Asker {
    fn new(target: &Address, key: &[u8], bytes: usize) -> io::Result<Asker> {
        Ok(Asker { socket: target.connect()?, request: get(key), reply: vec![0; bulk_bytes(bytes)] })
    }

    fn ask(&mut self) -> io::Result<Duration> {
        let start = Instant::now();
        self.socket.write_all(&self.request)?;
        // An error is shorter than the value, and would be waited for.
        let first = self.socket.read(&mut self.reply)?;
        if first == 0 || self.reply[0] != b'$' {
            let said = String::from_utf8_lossy(&self.reply[..first]).into_owned();
            return Err(io::Error::other(format!("no value: {said:?}")));
        }
        self.socket.read_exact(&mut self.reply[first..])?;
        Ok(start.elapsed())
    }
}

fn get(key: &[u8]) -> Vec<u8> {
    [format!("*2\r\n$3\r\nGET\r\n${}\r\n", key.len()).as_bytes(), key, b"\r\n"].concat()
}

/// What a value of this size takes on the wire.
fn bulk_bytes(bytes: usize) -> usize {
    format!("${bytes}\r\n").len() + bytes + 2
}

fn outcome(mut delays: Vec<Duration>, elapsed: Duration) -> Outcome {
    delays.sort_unstable();
    let at = |share: f64| delays.get((delays.len() as f64 * share) as usize).or(delays.last());
    let ms = |share: f64| at(share).map_or(0.0, |delay| delay.as_secs_f64() * 1e3);
    Outcome {
        requests: delays.len() as u64,
        seconds: elapsed.as_secs_f64(),
        p50_ms: ms(0.5),
        p90_ms: Some(ms(0.9)),
        p99_ms: ms(0.99),
        max_ms: Some(ms(1.0)),
        streamed_bytes: 0,
    }
}
