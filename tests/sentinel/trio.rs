//! Three sentinels, a master and two replicas.

use crate::support::client::Client;
use crate::support::house::Files;
use crate::support::http;
use crate::support::process::Process;
use crate::support::proxy::Rmux;
use crate::support::server::{RedisServer, answers, redis_server};
use crate::support::{Address, Kind, PATIENCE, Scratch, free_port, signal, wait_until};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// The master's name.
pub const NAME: &str = "cache-1";

/// A failover and all that belongs to it takes some seconds; on a loaded machine more.
pub const LONG: Duration = Duration::from_secs(60);

/// One sentinel. One with TLS has a port without it as well, for the test alone.
pub struct Sentinel {
    process: Option<Process>,
    port: u16,
    tls_port: Option<u16>,
    scratch: Scratch,
    password: Option<&'static str>,
}

impl Sentinel {
    fn start(master: u16, password: Option<&'static str>, files: Option<&Files>) -> Sentinel {
        let tls_port = files.map(|_| free_port());
        let (port, scratch) = (free_port(), Scratch::new());
        let dir = scratch.path().display();
        let mut lines = format!(
            "port {port}\nbind 127.0.0.1\ndir {dir}\nsentinel monitor {NAME} 127.0.0.1 {master} 2\n\
             sentinel down-after-milliseconds {NAME} 1000\nsentinel failover-timeout {NAME} 4000\n"
        );
        if let Some(password) = password {
            lines += &format!("requirepass {password}\nsentinel sentinel-pass {password}\n");
        }
        if let (Some(files), Some(port)) = (files, tls_port) {
            files.settings(port).chunks(2).for_each(|pair| lines += &format!("{} {}\n", pair[0], pair[1]));
        }
        fs::write(scratch.join("sentinel.conf"), lines).expect("the folder can be written");
        let mut sentinel = Sentinel { process: None, port, tls_port, scratch, password };
        sentinel.revive();
        sentinel
    }

    /// Starts it again, with all that it knew.
    pub fn revive(&mut self) {
        let mut command = redis_server();
        command.arg(self.scratch.join("sentinel.conf")).arg("--sentinel");
        let process = Process::start("redis-sentinel", &mut command, &self.scratch.join("sentinel.log"));
        let process = self.process.insert(process.expect("apt-get install redis-server"));
        let address = Address::Tcp(self.port);
        let is_ready = process.await_ready(|| answers(&address).then_some(()).ok_or("no answer to PING".to_owned()));
        is_ready.expect("a sentinel starts");
    }

    pub fn kill(&mut self) {
        self.process = None;
    }

    pub fn signal(&self, name: &str) {
        signal(self.process.as_ref().expect("it runs").id(), name);
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.tls_port.unwrap_or(self.port))
    }

    pub fn client(&self) -> Client {
        let mut client = Client::connect(&Address::Tcp(self.port));
        if let Some(password) = self.password {
            assert_eq!(client.cmd(&["AUTH", password]), b"+OK\r\n");
        }
        client
    }

    /// The port of the master, by its word.
    pub fn master_port(&self) -> u16 {
        let reply = shown(&self.client().cmd(&["SENTINEL", "get-master-addr-by-name", NAME]));
        reply.trim_end().rsplit("\r\n").next().and_then(|port| port.parse().ok()).expect("it knows the master")
    }

    /// Whether it knows all replicas and all other sentinels.
    fn knows_all(&self) -> bool {
        let reply = shown(&self.client().cmd(&["SENTINEL", "master", NAME]));
        let has = |name: &str, value: &str| reply.contains(&format!("{name}\r\n${}\r\n{value}\r\n", value.len()));
        has("num-slaves", "2") && has("num-other-sentinels", "2")
    }
}

/// All of them.
pub struct Trio {
    pub servers: Vec<RedisServer>,
    /// Where sentinels say that these are.
    ports: Vec<u16>,
    pub sentinels: Vec<Sentinel>,
}

impl Trio {
    pub fn start() -> Trio {
        Trio::start_with(None, None)
    }

    /// With sentinels that ask for a password, or with TLS between all of them.
    pub fn start_with(password: Option<&'static str>, files: Option<&Files>) -> Trio {
        let (mut servers, mut ports): (Vec<RedisServer>, Vec<u16>) = Default::default();
        for _ in 0..3 {
            let mut settings = vec!["--repl-diskless-sync-delay".to_owned(), "0".to_owned()];
            settings.extend(["--repl-ping-replica-period".to_owned(), "1".to_owned()]);
            let tls_port = files.map(|_| free_port());
            if let (Some(files), Some(port)) = (files, tls_port) {
                settings.extend(files.arguments(port));
            }
            if let Some(master) = ports.first() {
                settings.extend(["--replicaof".to_owned(), "127.0.0.1".to_owned(), master.to_string()]);
            }
            let server = RedisServer::start_with(&settings.iter().map(String::as_str).collect::<Vec<_>>());
            ports.push(tls_port.unwrap_or(server.port()));
            servers.push(server);
        }
        let is_linked = |server: &RedisServer| shown(&server.ask("ROLE")).contains("connected");
        wait_until("the replicas", LONG, || servers[1..].iter().all(is_linked));
        let sentinels = (0..3).map(|_| Sentinel::start(ports[0], password, files)).collect();
        let trio = Trio { servers, ports, sentinels };
        wait_until("the sentinels to know each other", LONG, || trio.sentinels.iter().all(Sentinel::knows_all));
        trio
    }

    /// rmux in front of it, which is told of these sentinels, with more keys of its pool.
    pub fn rmux(&self, sentinels: &[usize], keys: &str) -> Rmux {
        start_rmux(&format!(r#"{{"master": "{NAME}"}}"#), &self.addresses(sentinels), keys)
    }

    pub fn addresses(&self, sentinels: &[usize]) -> Vec<String> {
        sentinels.iter().map(|&number| self.sentinels[number].address()).collect()
    }

    /// Its place among the servers, by the word of a sentinel.
    pub fn master(&self, sentinel: usize) -> usize {
        let port = self.sentinels[sentinel].master_port();
        self.ports.iter().position(|known| *known == port).expect("one of these")
    }

    /// Has a sentinel replace the master, and waits until it has one that these agree on.
    pub fn replace_master(&self, sentinels: &[usize]) {
        let before = self.master(sentinels[0]);
        wait_until("a sentinel that begins a failover", LONG, || {
            self.sentinels[sentinels[0]].client().cmd(&["SENTINEL", "FAILOVER", NAME]) == b"+OK\r\n"
        });
        self.await_master(sentinels, before);
    }

    /// Waits until these agree on another master than that one.
    pub fn await_master(&self, sentinels: &[usize], before: usize) {
        wait_until("another master", LONG, || sentinels.iter().all(|&sentinel| self.master(sentinel) != before));
    }
}

/// rmux with these servers, and these sentinels.
pub fn start_rmux(servers: &str, sentinels: &[String], keys: &str) -> Rmux {
    let scratch = Scratch::new();
    let (socket, file) = (scratch.join("rmux.sock"), scratch.join("rmux.json"));
    let sentinels: Vec<String> = sentinels.iter().map(|sentinel| format!("\"{sentinel}\"")).collect();
    let text = format!(
        r#"[{{"socket": "{}", "tcpConnections": [{servers}], "sentinels": [{}]{keys}}}]"#,
        socket.display(),
        sentinels.join(", ")
    );
    fs::write(&file, text).expect("the folder can be written");
    let flag = format!("-config={}", file.display());
    let admin = format!("-admin={}", admin_of(&socket).flag_value());
    Rmux::start_at(Address::Unix(socket), scratch, &[&flag, &admin])
}

fn admin_of(socket: &Path) -> Address {
    Address::Unix(socket.with_file_name("admin.sock"))
}

/// A value that an rmux of [`start_rmux`] shows: the sum of the series that begin so, and have this in them.
pub fn figure(rmux: &Rmux, begin: &str, part: &str) -> f64 {
    let Address::Unix(socket) = rmux.address() else { panic!("it listens on a Unix socket") };
    let metrics = http::get(&admin_of(socket), "/metrics").body;
    let lines = metrics.lines().filter(|line| line.starts_with(begin) && line.contains(part));
    lines.map(|line| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).expect("a value")).sum()
}

/// A reply as it came.
pub fn shown(reply: &[u8]) -> String {
    String::from_utf8_lossy(reply).into_owned()
}

/// Whether this server follows another one. It closes its clients when it begins to.
pub fn is_replica(server: &RedisServer) -> bool {
    let mut client = Client::connect(&server.address(Kind::Tcp));
    client.try_cmd(&["ROLE"]).is_ok_and(|reply| shown(&reply).contains("slave"))
}

/// What the server itself holds under a key.
pub fn held(server: &RedisServer, key: &str) -> String {
    shown(&Client::connect(&server.address(Kind::Tcp)).cmd(&["GET", key]))
}

/// Waits until this is written through rmux.
pub fn await_write(rmux: &Rmux, key: &str) {
    let mut client = rmux.client();
    wait_until("a write that succeeds", LONG.max(PATIENCE), || client.cmd(&["SET", key, "1"]) == b"+OK\r\n");
}
