//! A real redis-server of a test's own.
//!
//! It listens on a TCP port and on a Unix socket at once, keeps nothing on disk unless it is told to, and answers
//! before `start` returns. It can be killed, frozen and started again at the same addresses: that is what most tests
//! need it for. Dropping it kills it and removes its folder.
//!
//! ```text
//!            start                kill
//!   (none) ────────► running ───────────────► dead
//!                    │     ▲                   │
//!             freeze ▼     │ thaw              │ revive (same port, same socket)
//!                    frozen◄───────────────────┘ is running again
//! ```

use super::client::{Client, body};
use super::process::{Process, Usage};
use super::{Address, KINDS, Kind, Scratch, free_port, signal};
use std::process::Command;
use std::time::Duration;
use std::{env, fs};

/// A redis-server process and its folder.
#[derive(Debug)]
pub struct RedisServer {
    process: Option<Process>,
    port: u16,
    settings: Vec<String>,
    scratch: Scratch,
}

impl RedisServer {
    /// Starts one that keeps nothing.
    pub fn start() -> RedisServer {
        RedisServer::start_with(&[])
    }

    /// Starts one with more settings, as on its command line: `&["--requirepass", "secret"]`.
    ///
    /// # Panics
    ///
    /// When redis-server is not installed, or does not answer in time; its log is in the message.
    pub fn start_with(settings: &[&str]) -> RedisServer {
        let mut server = RedisServer::prepare(settings);
        server.revive();
        server
    }

    /// The same, or why it does not run.
    pub fn try_start_with(settings: &[&str]) -> Result<RedisServer, String> {
        let mut server = RedisServer::prepare(settings);
        server.try_revive()?;
        Ok(server)
    }

    /// Has addresses, and does not run yet: `revive` starts it.
    pub fn prepare(settings: &[&str]) -> RedisServer {
        RedisServer {
            process: None,
            port: free_port(),
            settings: settings.iter().map(|text| (*text).to_owned()).collect(),
            scratch: Scratch::new(),
        }
    }

    /// Its address of this kind.
    pub fn address(&self, kind: Kind) -> Address {
        match kind {
            Kind::Tcp => Address::Tcp(self.port),
            Kind::Unix => Address::Unix(self.scratch.join("redis.sock")),
        }
    }

    /// A connection to the server itself, past rmux.
    pub fn client(&self) -> Client {
        Client::connect(&self.address(Kind::Unix))
    }

    /// Asks the server itself, past rmux, on a connection that it has closed and forgotten when this returns: who is
    /// counted afterwards, is not this one.
    pub fn ask(&self, line: &str) -> Vec<u8> {
        let mut client = self.client();
        client.send(format!("{line}\r\nQUIT\r\n").as_bytes());
        let reply = client.reply();
        assert_eq!(client.reply(), b"+OK\r\n", "{line}");
        client.expect_closed();
        reply
    }

    /// The process, to send signals to or to read `/proc` of.
    pub fn process_id(&self) -> u32 {
        self.process.as_ref().expect("the server runs").id()
    }

    /// Its TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The CPU time and the memory that it has used since its last start.
    pub fn usage(&self) -> Result<Usage, String> {
        self.process.as_ref().ok_or("redis-server does not run")?.usage()
    }

    /// Ends it as a crash does, and waits until it is gone.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// True from its start until it is killed.
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// From its next start on it has another TCP port.
    pub fn take_another_port(&mut self) {
        self.port = free_port();
    }

    /// Starts it again, at the addresses that it had, and waits until it answers.
    pub fn revive(&mut self) {
        self.try_revive().unwrap_or_else(|why| panic!("{why}\n{}", self.log()));
    }

    fn try_revive(&mut self) -> Result<(), String> {
        assert!(self.process.is_none(), "the server runs already");
        let listens = |kind: &Kind| *kind == Kind::Unix || !self.has_no_tcp();
        let addresses: Vec<Address> = KINDS.into_iter().filter(listens).map(|kind| self.address(kind)).collect();
        let mut command = redis_server();
        command
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string()])
            .args(["--unixsocket", &self.address(Kind::Unix).flag_value()])
            .args(["--dir", &self.scratch.path().display().to_string()])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .args(&self.settings);
        let process = Process::start("redis-server", &mut command, &self.scratch.join("redis.log"));
        let process = self.process.insert(process.map_err(|why| format!("{why} ({INSTALL})"))?);
        let answer = || addresses.iter().all(answers).then_some(()).ok_or("no answer to PING".to_owned());
        process.await_ready(answer).map_err(|why| format!("redis-server: {why}"))
    }

    /// It was told so, and may listen at a port with TLS.
    fn has_no_tcp(&self) -> bool {
        self.settings.windows(2).any(|pair| pair == ["--port", "0"])
    }

    /// Stops it in its tracks: its sockets stay open, and nothing is answered.
    pub fn freeze(&self) {
        signal(self.process_id(), "STOP");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        signal(self.process_id(), "CONT");
    }

    /// How many clients it has, without the connection that asks.
    pub fn clients_connected(&self) -> usize {
        let reply = self.ask("INFO clients");
        let text = String::from_utf8_lossy(body(&reply)).into_owned();
        let count: usize = text
            .lines()
            .find_map(|line| line.strip_prefix("connected_clients:"))
            .and_then(|count| count.trim().parse().ok())
            .expect("INFO clients has connected_clients");
        count - 1
    }

    /// Cuts every connection but the one that asks for it.
    pub fn cut_connections(&self) {
        self.client().cmd(&["CLIENT", "KILL", "TYPE", "normal"]);
    }

    /// What it has logged since its last start.
    pub fn log(&self) -> String {
        fs::read_to_string(self.scratch.join("redis.log")).unwrap_or_default()
    }
}

/// The program that all servers and sentinels are: `REDIS_SERVER` of the environment, or `redis-server`.
pub fn redis_server() -> Command {
    Command::new(env::var_os("REDIS_SERVER").unwrap_or_else(|| "redis-server".into()))
}

/// What to do where there is none.
const INSTALL: &str = "apt-get install redis-server";

/// True when somebody there answers PING with PONG, or wants a password first, within a second.
pub fn answers(address: &Address) -> bool {
    let Ok(stream) = address.connect() else {
        return false;
    };
    let mut client = Client::over(stream);
    client.set_patience(Duration::from_secs(1));
    client.try_cmd(&["PING"]).is_ok_and(|reply| reply == b"+PONG\r\n" || reply.starts_with(b"-NOAUTH "))
}
