//! What the whole-system tests and the end-to-end benchmarks stand on: real redis-servers, a real rmux, plain blocking
//! clients, and bad peers.
//!
//! Everything that is started belongs to a value whose `Drop` ends it and removes its files, also in a panic. Every wait has a deadline, and every deadline that passes says what was waited for.
//!
//! ```text
//! server  RedisServer   a redis-server of its own, on a TCP port and on a Unix socket at once
//! proxy   Rmux          the rmux binary, its listener, its log and its end
//! certificates          right and wrong ones, made by openssl
//! client  Client        raw bytes out, exactly one reply in (RESP2 and RESP3)
//! fake    FakeServer    a Redis that behaves as badly as a script tells it to
//! house   House         an authority, a certificate of it, and the settings of a server that shows it
//! golden  keys_of       which key lives on which server
//! http    Http          a client of the admin endpoint
//! process Process       a child: its output, its end, its CPU time and memory
//! ```
//!
//! Knows nothing of rmux's insides: it is driven as a user drives it, by flags, sockets and signals.
//!
//! `REDIS_SERVER` in the environment is another program for all servers and sentinels: a newer Redis, or Valkey.
//!
//! With `RMUX_TEST_DIRECT=1` in the environment a `Front` is the redis-server itself, without rmux: whatever must be
//! the same through rmux as without it then runs against Redis alone, which proves the test and not rmux.

// Each of them compiles this module for itself and uses its own part of it.
#![allow(dead_code)]

pub mod certificates;
pub mod client;
pub mod fake;
pub mod golden;
pub mod house;
pub mod http;
pub mod process;
pub mod proxy;
pub mod server;

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

/// How long a test waits for what should come at once. Long, because a loaded machine is no failure.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `condition` holds, looking every millisecond or so.
///
/// The only place where a test waits for something that no file descriptor can tell it about.
///
/// # Panics
///
/// When the condition does not hold within `patience`; `what` then says what was missing.
pub fn wait_until(what: &str, patience: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {patience:?} in vain for {what}");
        thread::park_timeout(Duration::from_millis(1));
    }
}

/// True exactly when the tests are to talk to Redis itself, without rmux in between.
pub fn is_direct() -> bool {
    env::var_os("RMUX_TEST_DIRECT").is_some_and(|value| value == "1")
}

/// Both kinds of socket; most tests run over each.
pub const KINDS: [Kind; 2] = [Kind::Tcp, Kind::Unix];

/// A kind of socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Tcp,
    Unix,
}

/// Where somebody listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A port of 127.0.0.1.
    Tcp(u16),
    Unix(PathBuf),
}

impl Address {
    /// Connects, blocking, with `PATIENCE` as the read and the write timeout.
    pub fn connect(&self) -> io::Result<Stream> {
        let stream = match self {
            Address::Tcp(port) => {
                let stream = TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], *port)), PATIENCE)?;
                stream.set_nodelay(true)?;
                Stream::Tcp(stream)
            }
            Address::Unix(path) => Stream::Unix(UnixStream::connect(path)?),
        };
        stream.set_timeouts(PATIENCE)?;
        Ok(stream)
    }

    /// As rmux's `-tcpConnections` and `-unixConnections` spell it.
    pub fn flag_value(&self) -> String {
        match self {
            Address::Tcp(port) => format!("127.0.0.1:{port}"),
            Address::Unix(path) => path.display().to_string(),
        }
    }
}

/// A connected socket of either kind.
#[derive(Debug)]
pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Read and write timeout.
    pub fn set_timeouts(&self, timeout: Duration) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => {
                stream.set_read_timeout(Some(timeout))?;
                stream.set_write_timeout(Some(timeout))
            }
            Stream::Unix(stream) => {
                stream.set_read_timeout(Some(timeout))?;
                stream.set_write_timeout(Some(timeout))
            }
        }
    }

    /// Another handle on the same socket.
    pub fn duplicate(&self) -> Stream {
        match self {
            Stream::Tcp(stream) => Stream::Tcp(stream.try_clone().expect("a descriptor is free")),
            Stream::Unix(stream) => Stream::Unix(stream.try_clone().expect("a descriptor is free")),
        }
    }

    /// Closes one or both directions for every handle on this socket.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.shutdown(how),
            Stream::Unix(stream) => stream.shutdown(how),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(into),
            Stream::Unix(stream) => stream.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(from),
            Stream::Unix(stream) => stream.write(from),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A folder of one test's own, removed with everything in it on drop.
///
/// Its path is short, because a Unix socket's path may have no more than 107 bytes.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// A new, empty folder under the system's folder for temporary files.
    pub fn new() -> Scratch {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("rmux-{}-{number}", std::process::id()));
        // Left over from a killed run whose process id came round again.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("the folder for temporary files can be written");
        Scratch { path }
    }

    /// A path inside the folder.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A TCP port of 127.0.0.1 that nobody listens on.
///
/// Taken from below the system's ephemeral range, and each only once per test process, so that no outgoing connection
/// and no parallel test can take it before its owner listens, nor while its owner restarts.
pub fn free_port() -> u16 {
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() * 61 % u32::from(COUNT)).expect("less than COUNT");
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = FIRST + (start + step) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT);
}

/// Sends a signal (`TERM`, `STOP`, `CONT` …) by the shell's own `kill`, which is there on the barest machine.
pub fn signal(process_id: u32, name: &str) {
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {process_id}")]).status().expect("sh is there");
    assert!(status.success(), "kill -{name} {process_id}: {status}");
}

/// Waits for a child's end, at most `patience`; `None` when it still runs.
pub fn wait_for_exit(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return Some(status);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::park_timeout(Duration::from_millis(1));
    }
}

/// How many descriptors this process and its children may have, once as many are asked for as it may ask for.
pub fn raise_descriptor_limit() -> usize {
    let hard = descriptor_limit(4);
    let _ = Command::new("prlimit")
        .args([format!("--pid={}", std::process::id()), format!("--nofile={hard}:{hard}")])
        .stderr(Stdio::null())
        .status();
    descriptor_limit(3)
}

/// The soft limit is in column 3, the hard one in column 4.
fn descriptor_limit(column: usize) -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .and_then(|line| line.split_whitespace().nth(column))
        .and_then(|limit| limit.parse().ok())
        .unwrap_or(1024usize)
}

/// As many of `wanted` sockets as this process and a child with its limits can hold open at once, beside other tests.
pub fn sockets_affordable(wanted: usize) -> usize {
    wanted.min(descriptor_limit(3) / 2)
}
