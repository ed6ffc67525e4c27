//! The redis-servers behind all subjects, and the few words of their protocol that a comparison needs.
//!
//! Owns each server's process and one control connection that stays open from the beginning to the end, so that the
//! counters of the server move by what the subject does, and by nothing else that is not known: the control connection
//! is one of `connected_clients`, and its INFOs are few among the commands. The first server serves the whole run; the
//! others of a [`Fleet`] are started for the work loads that spread keys over them, and stopped after them.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::process::{Folder, Process};

/// Where something listens.
#[derive(Debug, Clone)]
pub enum Target {
    /// A port of 127.0.0.1.
    Tcp(u16),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl Target {
    /// As one word, for a command line.
    pub fn to_word(&self) -> String {
        match self {
            Target::Tcp(port) => format!("tcp:{port}"),
            Target::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    /// The target that [`Target::to_word`] wrote.
    pub fn from_word(word: &str) -> Option<Target> {
        match word.split_once(':')? {
            ("tcp", port) => Some(Target::Tcp(port.parse().ok()?)),
            ("unix", path) => Some(Target::Unix(PathBuf::from(path))),
            _ => None,
        }
    }
}

/// The servers of the work load that is running.
pub struct Fleet {
    servers: Vec<RedisServer>,
}

impl Fleet {
    /// Starts the first one.
    pub fn start(folder: &Folder) -> Result<Fleet, String> {
        Ok(Fleet { servers: vec![RedisServer::start(folder, 0)?] })
    }

    /// Makes it this many.
    pub fn resize(&mut self, folder: &Folder, count: u32) -> Result<(), String> {
        let count = (count as usize).max(1);
        self.servers.truncate(count);
        while self.servers.len() < count {
            self.servers.push(RedisServer::start(folder, self.servers.len())?);
        }
        Ok(())
    }

    /// The first one.
    pub fn first(&self) -> &RedisServer {
        &self.servers[0]
    }

    /// Their TCP ports.
    pub fn ports(&self) -> Vec<u16> {
        self.servers.iter().map(|server| server.port).collect()
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
        self.servers.iter_mut().map(RedisServer::clients).sum()
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
        self.servers.iter().map(|server| server.process.usage().map(|usage| usage.cpu)).sum()
    }
}

/// A redis-server without persistence, on TCP and on a Unix socket.
pub struct RedisServer {
    /// Its process, for its CPU time and its memory.
    pub process: Process,
    /// Its TCP port on 127.0.0.1.
    pub port: u16,
    /// Its Unix socket.
    pub socket: PathBuf,
    control: Link,
}

/// Counters of the server since it started.
#[derive(Debug, Clone, Copy)]
pub struct Counters {
    /// Connections accepted.
    pub accepted: u64,
    /// Commands done.
    pub commands: u64,
}

impl RedisServer {
    /// Starts it and waits until it answers.
    pub fn start(folder: &Folder, number: usize) -> Result<RedisServer, String> {
        let port = free_port()?;
        let socket = folder.file(&format!("redis-{number}.sock"));
        let arguments: Vec<String> = [
            "--bind",
            "127.0.0.1",
            "--port",
            &port.to_string(),
            "--unixsocket",
            &socket.display().to_string(),
            "--save",
            "",
            "--appendonly",
            "no",
            "--tcp-backlog",
            "65535",
            "--maxclients",
            "15000",
            "--loglevel",
            "warning",
        ]
        .map(str::to_owned)
        .to_vec();
        let mut process =
            Process::start(folder, &format!("redis-server-{number}"), Path::new("redis-server"), &arguments)?;
        let control = process
            .await_ready(|| {
                let mut link = Link::connect(&Target::Unix(socket.clone()))?;
                link.command(&[b"PING"])?;
                Ok(link)
            })
            .map_err(|reason| format!("redis-server (apt-get install redis-server): {reason}"))?;
        Ok(RedisServer { process, port, socket, control })
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

/// A connection that asks and waits.
pub struct Link {
    stream: BufReader<Socket>,
}

/// A blocking connection; reads and writes give up after a while.
pub enum Socket {
    /// Without delay: a small piece is sent at once.
    Tcp(TcpStream),
    /// The other kind.
    Unix(UnixStream),
}

impl Socket {
    /// Connects.
    pub fn connect(target: &Target) -> io::Result<Socket> {
        Ok(match target {
            Target::Tcp(port) => {
                let stream = TcpStream::connect(("127.0.0.1", *port))?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
                stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
                Socket::Tcp(stream)
            }
            Target::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
                stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
                Socket::Unix(stream)
            }
        })
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.read(buffer),
            Socket::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(stream) => stream.write(bytes),
            Socket::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Link {
    /// Connects.
    pub fn connect(target: &Target) -> Result<Link, String> {
        let stream = Socket::connect(target).map_err(|error| format!("{target:?}: {error}"))?;
        Ok(Link { stream: BufReader::new(stream) })
    }

    /// Sends one command and returns its reply: a line's text or a bulk's bytes. An error reply is an error here.
    pub fn command(&mut self, words: &[&[u8]]) -> Result<Vec<u8>, String> {
        self.exchange(words).map_err(|error| format!("{}: {error}", String::from_utf8_lossy(words[0])))
    }

    fn exchange(&mut self, words: &[&[u8]]) -> io::Result<Vec<u8>> {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        self.stream.get_mut().write_all(&request)?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let line = line.trim_end();
        let (kind, rest) = line.split_at_checked(1).ok_or(io::ErrorKind::UnexpectedEof)?;
        match kind {
            "+" | ":" => Ok(rest.as_bytes().to_vec()),
            "$" => {
                let length: usize = rest.parse().map_err(|_| io::Error::other(format!("no value: {line}")))?;
                let mut body = vec![0; length + 2];
                self.stream.read_exact(&mut body)?;
                body.truncate(length);
                Ok(body)
            }
            _ => Err(io::Error::other(line.to_owned())),
        }
    }
}

/// A TCP port of 127.0.0.1 that nobody listens on right now.
pub fn free_port() -> Result<u16, String> {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    address.map(|address| address.port()).map_err(|error| format!("no free port: {error}"))
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
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
