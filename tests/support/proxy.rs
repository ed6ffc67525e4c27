//! The rmux binary as a user runs it: flags in, a listener, a log, an exit code.
//!
//! Knows no more of rmux than its manual says. It waits for the listener's first `+PONG` before a test goes on, keeps
//! everything that the process writes (standard output and standard error, in one file), and ends it on drop.
//!
//! `Front` is what the tests of one server talk to: rmux in front of a redis-server, or, with `RMUX_TEST_DIRECT=1`,
//! that redis-server itself.

use super::client::{Client, text};
use super::process::{Process, Usage, limited};
use super::server::{RedisServer, answers};
use super::{Address, Kind, PATIENCE, Scratch, free_port, is_direct, signal};
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

/// A running rmux.
#[derive(Debug)]
pub struct Rmux {
    process: Process,
    address: Address,
    scratch: Scratch,
}

/// What an rmux that ended by itself left: its exit code and everything that it wrote.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub output: String,
}

impl Rmux {
    /// Starts it on a socket of this kind, with these flags beside, and waits until it answers.
    ///
    /// # Panics
    ///
    /// When it ends or does not answer; what it wrote is in the message.
    pub fn start(kind: Kind, flags: &[&str]) -> Rmux {
        Rmux::start_limited(kind, None, flags)
    }

    /// The same, but the process may have no more than so many descriptors.
    pub fn start_with_descriptors(kind: Kind, descriptors_max: usize, flags: &[&str]) -> Rmux {
        Rmux::start_limited(kind, Some(descriptors_max), flags)
    }

    fn start_limited(kind: Kind, descriptors_max: Option<usize>, flags: &[&str]) -> Rmux {
        let scratch = Scratch::new();
        let address = match kind {
            Kind::Tcp => Address::Tcp(free_port()),
            Kind::Unix => Address::Unix(scratch.join("rmux.sock")),
        };
        let listen = match &address {
            Address::Tcp(port) => vec!["-host=127.0.0.1".to_owned(), format!("-port={port}")],
            Address::Unix(path) => vec![format!("-socket={}", path.display())],
        };
        let mut all: Vec<&str> = listen.iter().map(String::as_str).collect();
        all.extend_from_slice(flags);
        let process = spawn(descriptors_max, &all, &scratch.join("rmux.log"));
        Rmux::wait_for_start(process, address, scratch)
    }

    /// Starts it with exactly these flags, and waits until `address` answers.
    pub fn start_at(address: Address, scratch: Scratch, flags: &[&str]) -> Rmux {
        let process = spawn(None, flags, &scratch.join("rmux.log"));
        Rmux::wait_for_start(process, address, scratch)
    }

    /// Starts it with exactly these flags, of which some have it listen at this port with TLS, and waits until it does.
    pub fn start_tls(port: u16, scratch: Scratch, flags: &[&str]) -> Rmux {
        let process = spawn(None, flags, &scratch.join("rmux.log"));
        let mut rmux = Rmux { process, address: Address::Tcp(port), scratch };
        let Rmux { process, address, .. } = &mut rmux;
        let is_ready = process.await_ready(|| address.connect().map(drop).map_err(|error| error.to_string()));
        is_ready.unwrap_or_else(|why| panic!("rmux: {why}\n{}", rmux.log()));
        rmux
    }

    /// The same, with its output to a file, or a pipe, of the test's own.
    pub fn start_writing_to(address: Address, scratch: Scratch, flags: &[&str], log: &Path) -> Rmux {
        Rmux::wait_for_start(spawn(None, flags, log), address, scratch)
    }

    fn wait_for_start(process: Process, address: Address, scratch: Scratch) -> Rmux {
        let mut rmux = Rmux { process, address, scratch };
        let Rmux { process, address, .. } = &mut rmux;
        let is_ready = process.await_ready(|| answers(address).then_some(()).ok_or("no answer to PING".to_owned()));
        is_ready.unwrap_or_else(|why| panic!("rmux: {why}\n{}", rmux.log()));
        rmux
    }

    /// In front of these servers, both sides over sockets of this kind.
    pub fn in_front_of(kind: Kind, servers: &[&RedisServer], flags: &[&str]) -> Rmux {
        let addresses: Vec<Address> = servers.iter().map(|server| server.address(kind)).collect();
        let connections = connections_flag(&addresses);
        let mut all = vec![connections.as_str()];
        all.extend_from_slice(flags);
        Rmux::start(kind, &all)
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// A new connection to it.
    pub fn client(&self) -> Client {
        Client::connect(&self.address)
    }

    /// The process, to send signals to or to read `/proc` of.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Sends a signal: `TERM`, `INT`, `PIPE` …
    pub fn signal(&self, name: &str) {
        signal(self.process.id(), name);
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// When it still runs after `patience`.
    pub fn wait_for_end(&mut self, patience: Duration) -> ExitStatus {
        let status = self.process.wait_for_end(patience);
        status.unwrap_or_else(|| panic!("rmux still runs after {patience:?}:\n{}", self.log()))
    }

    /// True while the process runs.
    pub fn is_running(&mut self) -> bool {
        self.process.exit_code().expect("a child can be waited for").is_none()
    }

    /// The CPU time and the memory that it has used so far.
    pub fn usage(&self) -> Usage {
        self.process.usage().expect("it runs")
    }

    /// Everything that it has written so far.
    pub fn log(&self) -> String {
        self.process.output()
    }

    /// One field of its own INFO (several servers): `connected_clients`, `active_endpoints` …
    pub fn info(&self, field: &str) -> String {
        let reply = text(&self.client().cmd(&["INFO"]));
        reply
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
            .unwrap_or_else(|| panic!("INFO has no {field}: {reply}"))
            .trim()
            .to_owned()
    }
}

impl Drop for Rmux {
    fn drop(&mut self) {
        self.process.kill();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
            eprintln!("--- the last lines that rmux wrote ---\n{}", last.join("\n"));
        }
    }
}

/// How much of the log is shown when a test fails.
const LOG_LINES_SHOWN: usize = 60;

/// A flag for tests of what is answered, and not of when.
pub const PATIENT: &str = "-remoteTimeout=15000";

/// `-tcpConnections=…` or `-unixConnections=…` for these addresses, which are all of one kind.
pub fn connections_flag(addresses: &[Address]) -> String {
    let name = match addresses.first() {
        Some(Address::Unix(_)) => "unixConnections",
        _ => "tcpConnections",
    };
    let list: Vec<String> = addresses.iter().map(Address::flag_value).collect();
    format!("-{name}={}", list.join(" "))
}

/// Runs rmux with these flags until it ends by itself: a refused start, `-help`, `-test`.
///
/// # Panics
///
/// When it does not end in time.
pub fn run_to_end(flags: &[&str]) -> Ended {
    let scratch = Scratch::new();
    let log = scratch.join("rmux.log");
    let mut process = spawn(None, flags, &log);
    let status = process.wait_for_end(PATIENCE);
    process.kill();
    let output = process.output();
    let status = status.unwrap_or_else(|| panic!("rmux {flags:?} still runs:\n{output}"));
    Ended { code: status.code(), output }
}

/// A process of its own, writing to this file: the binary that cargo built.
fn spawn(descriptors_max: Option<usize>, flags: &[&str], log: &Path) -> Process {
    let binary = Path::new(env!("CARGO_BIN_EXE_rmux"));
    let mut command = match descriptors_max {
        None => Command::new(binary),
        Some(descriptors) => limited(&format!("-n {descriptors}"), binary),
    };
    // What a test says of names, if it does.
    command.env("RMUX_TEST_HOSTS", log.with_file_name("hosts"));
    Process::start("rmux", command.args(flags), log).expect("cargo has built rmux")
}

/// One server's front: rmux, or the server itself.
#[derive(Debug)]
pub struct Front {
    address: Address,
    rmux: Option<Rmux>,
}

impl Front {
    /// In front of one server, both sides over sockets of this kind, and with patience: what is compared here is bytes,
    /// and not whether a loaded machine answers within rmux's default of 500 ms.
    pub fn of(kind: Kind, server: &RedisServer) -> Front {
        Front::with(kind, server, &[PATIENT])
    }

    /// The same with these flags, and no others.
    pub fn with(kind: Kind, server: &RedisServer, flags: &[&str]) -> Front {
        if is_direct() {
            return Front { address: server.address(kind), rmux: None };
        }
        let rmux = Rmux::in_front_of(kind, &[server], flags);
        Front { address: rmux.address().clone(), rmux: Some(rmux) }
    }

    /// Where to connect to.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// A new connection.
    pub fn client(&self) -> Client {
        Client::connect(&self.address)
    }

    /// The rmux, when there is one.
    pub fn rmux(&self) -> Option<&Rmux> {
        self.rmux.as_ref()
    }
}
