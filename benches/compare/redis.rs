//! The redis-servers behind all subjects, and what a comparison asks of them.
//!
//! Owns a control connection to each server that stays open from the beginning to the end, so that the counters of the
//! server move by what the subject does, and by nothing else that is not known: the control connection is one of
//! `connected_clients`, and its INFOs are few among the commands. The first server serves the whole run; the others of a
//! [`Fleet`] are started for the work loads that spread keys over them, and stopped after them.

use std::path::PathBuf;
use std::time::Duration;

use crate::program;
use crate::support::client::{Client, body, show};
use crate::support::server::RedisServer;
use crate::support::{Address, Kind, free_port};

/// The servers of the work load that is running.
pub struct Fleet {
    servers: Vec<Controlled>,
    /// What makes them speak TLS, on a port of its own besides; nothing when they do not.
    tls_flags: Vec<String>,
}

/// A server, and the connection that asks it.
struct Controlled {
    server: RedisServer,
    /// Where it speaks TLS, if it does.
    tls_port: Option<u16>,
    control: Link,
}

impl Fleet {
    /// Starts the first one. With flags for TLS, which name no port, each server speaks it on a port of its own, besides.
    pub fn start(tls_flags: Vec<String>) -> Result<Fleet, String> {
        Ok(Fleet { servers: vec![Controlled::start(&tls_flags)?], tls_flags })
    }

    /// Makes it this many.
    pub fn resize(&mut self, count: u32) -> Result<(), String> {
        let count = (count as usize).max(1);
        self.servers.truncate(count);
        while self.servers.len() < count {
            self.servers.push(Controlled::start(&self.tls_flags)?);
        }
        Ok(())
    }

    /// The first one.
    pub fn first(&self) -> &RedisServer {
        &self.servers[0].server
    }

    /// Keeps all of them to one core.
    pub fn keep_to(&self, core: u32) -> Result<(), String> {
        self.servers.iter().try_for_each(|controlled| program::keep_to(core, controlled.server.process_id()))
    }

    /// Their TCP ports.
    pub fn ports(&self) -> Vec<u16> {
        self.servers.iter().map(|controlled| controlled.server.port()).collect()
    }

    /// The ports where they speak TLS; none where they do not.
    pub fn tls_ports(&self) -> Vec<u16> {
        self.servers.iter().filter_map(|controlled| controlled.tls_port).collect()
    }

    /// Empties all of them, and gives the first one the values that are asked for.
    pub fn fill(&mut self, bytes: u32) -> Result<(), String> {
        for server in &mut self.servers {
            server.control.command(&[b"FLUSHALL"])?;
        }
        let control = &mut self.servers[0].control;
        control.command(&[b"SET", BENCHMARK_KEY, &vec![b'x'; bytes as usize]])?;
        control.command(&[b"SET", SMALL_KEY, &[b'x'; SMALL_BYTES]])?;
        Ok(())
    }

    /// Connections at this moment, without the control connections.
    pub fn clients(&mut self) -> Result<u64, String> {
        self.servers.iter_mut().map(Controlled::clients).sum()
    }

    /// Their counters, added up.
    pub fn counters(&mut self) -> Result<Counters, String> {
        let mut sum = Counters { accepted: 0, commands: 0 };
        for server in &mut self.servers {
            let counters = server.counters()?;
            sum.accepted += counters.accepted;
            sum.commands += counters.commands;
        }
        Ok(sum)
    }

    /// The CPU time that they have used.
    pub fn cpu(&self) -> Result<Duration, String> {
        self.servers.iter().map(|controlled| controlled.server.usage().map(|usage| usage.cpu)).sum()
    }
}

/// Counters of the servers since they started.
#[derive(Debug, Clone, Copy)]
pub struct Counters {
    /// Connections accepted.
    pub accepted: u64,
    /// Commands done.
    pub commands: u64,
}

impl Controlled {
    fn start(tls_flags: &[String]) -> Result<Controlled, String> {
        let tls_port = (!tls_flags.is_empty()).then(free_port);
        let port = tls_port.map(|port| port.to_string());
        let mut flags: Vec<&str> = tls_flags.iter().map(String::as_str).collect();
        if let Some(port) = &port {
            flags.extend(["--tls-port", port]);
        }
        let server = start_server(&flags)?;
        let control = Link::connect(&server.address(Kind::Unix))?;
        Ok(Controlled { server, tls_port, control })
    }

    fn clients(&mut self) -> Result<u64, String> {
        let info = self.control.command(&[b"INFO", b"clients"])?;
        Ok(info_number(&info, "connected_clients:")?.saturating_sub(1))
    }

    fn counters(&mut self) -> Result<Counters, String> {
        let info = self.control.command(&[b"INFO", b"stats"])?;
        Ok(Counters {
            accepted: info_number(&info, "total_connections_received:")?,
            commands: info_number(&info, "total_commands_processed:")?,
        })
    }
}

/// A server with room for all clients, that keeps nothing, and with more flags; it answers by now.
pub fn start_server(more: &[&str]) -> Result<RedisServer, String> {
    let flags = ["--tcp-backlog", "65535", "--maxclients", "15000", "--loglevel", "warning"];
    RedisServer::try_start_with(&[&flags, more].concat())
}

/// The path of a server's Unix socket.
pub fn socket_of(server: &RedisServer) -> PathBuf {
    match server.address(Kind::Unix) {
        Address::Unix(path) => path,
        Address::Tcp(port) => unreachable!("asked for a path, got port {port}"),
    }
}

/// A connection that asks and waits, and to which an error is an error.
pub struct Link {
    client: Client,
}

impl Link {
    /// Connects.
    pub fn connect(address: &Address) -> Result<Link, String> {
        let stream = address.connect().map_err(|error| format!("{address:?}: {error}"))?;
        Ok(Link { client: Client::over(stream) })
    }

    /// Sends one command and returns its reply: a line's text or a bulk's bytes. An error reply is an error here.
    pub fn command(&mut self, words: &[&[u8]]) -> Result<Vec<u8>, String> {
        let failed = |why: String| format!("{}: {why}", String::from_utf8_lossy(words[0]));
        let reply = self.client.try_cmd(words).map_err(|why| failed(why.to_string()))?;
        match reply[0] {
            b'+' | b':' => Ok(reply[1..reply.len() - 2].to_vec()),
            b'$' if reply != b"$-1\r\n" => Ok(body(&reply).to_vec()),
            _ => Err(failed(show(&reply).trim_end().to_owned())),
        }
    }
}

fn info_number(info: &[u8], field: &str) -> Result<u64, String> {
    String::from_utf8_lossy(info)
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .and_then(|number| number.trim().parse().ok())
        .ok_or_else(|| format!("INFO has no {field}"))
}

/// What redis-benchmark uses for every request when it is not told to draw random keys (redis-benchmark.c).
pub const BENCHMARK_KEY: &[u8] = b"key:__rand_int__";
/// The key of the client beside the one that takes a huge value.
pub const SMALL_KEY: &[u8] = b"small";
/// The size of its value.
pub const SMALL_BYTES: usize = 32;
