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
use super::{Address, KINDS, Kind, PATIENCE, Scratch, free_port, signal, wait_until};
use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A redis-server process and its folder.
#[derive(Debug)]
pub struct RedisServer {
    child: Option<Child>,
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

    /// Has addresses, and does not run yet: `revive` starts it.
    pub fn prepare(settings: &[&str]) -> RedisServer {
        RedisServer {
            child: None,
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
        self.child.as_ref().expect("the server runs").id()
    }

    /// Ends it as a crash does, and waits until it is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again, at the addresses that it had, and waits until it answers.
    pub fn revive(&mut self) {
        self.revive_unwatched();
        wait_until("redis-server to answer PING", PATIENCE, || {
            let child = self.child.as_mut().expect("it was just started");
            if let Some(status) = child.try_wait().expect("a child can be waited for") {
                panic!("redis-server ended ({status}):\n{}", self.log());
            }
            KINDS.iter().all(|kind| answers(&self.address(*kind)))
        });
    }

    /// Starts it again, without waiting for its first answer.
    pub fn revive_unwatched(&mut self) {
        assert!(self.child.is_none(), "the server runs already");
        let log = File::create(self.scratch.join("redis.log")).expect("the folder can be written");
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string()])
            .args(["--unixsocket", &self.address(Kind::Unix).flag_value()])
            .args(["--dir", &self.scratch.path().display().to_string()])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .args(&self.settings)
            .stdin(Stdio::null())
            .stderr(log.try_clone().expect("a descriptor is free"))
            .stdout(log)
            .spawn()
            .expect("redis-server is installed: apt-get install redis-server");
        self.child = Some(child);
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

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// True when somebody there answers PING with PONG, or wants a password first, within a second.
pub fn answers(address: &Address) -> bool {
    let Ok(stream) = address.connect() else {
        return false;
    };
    let mut client = Client::over(stream);
    client.set_patience(Duration::from_secs(1));
    client.try_cmd(&["PING"]).is_ok_and(|reply| reply == b"+PONG\r\n" || reply.starts_with(b"-NOAUTH "))
}
