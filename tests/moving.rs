//! Real servers whose names move: the rmux under test is told in a file where they are (`Hosts`).

mod support;

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use support::client::Client;
use support::proxy::Rmux;
use support::server::RedisServer;
use support::{Address, PATIENCE, Scratch, wait_until};

/// What the name of the server leads to.
struct Hosts(PathBuf);

impl Hosts {
    fn say(&self, addresses: &str) {
        // At once, as a reader may come at any time.
        let draft = self.0.with_extension("new");
        fs::write(&draft, format!("cache.test {addresses}\n")).expect("written");
        fs::rename(&draft, &self.0).expect("renamed");
    }

    fn lead_to(&self, server: &RedisServer) {
        self.say(&format!("127.0.0.1:{}", server.port()));
    }
}

/// An rmux whose one server has a name, which leads to this one.
fn rmux(server: &RedisServer, flags: &[&str]) -> (Rmux, Hosts) {
    let scratch = Scratch::new();
    let hosts = Hosts(scratch.join("hosts"));
    hosts.lead_to(server);
    let path = scratch.join("rmux.sock");
    let socket = format!("-socket={}", path.display());
    let mut all = vec!["-tcpConnections=cache.test:6379", socket.as_str()];
    all.extend_from_slice(flags);
    let rmux = Rmux::start_at(Address::Unix(path), scratch, &all);
    wait_until("it is connected", PATIENCE, || is_used(server));
    (rmux, hosts)
}

/// Asks for as long as this does not hold; nothing that is asked may fail.
fn ask_until(what: &str, client: &mut Client, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert_eq!(client.line("INCR asked").chars().next(), Some(':'), "{what}");
        assert!(Instant::now() < deadline, "{what}");
    }
}

/// Whether rmux has connections to this server: it is the only client, beside who asks.
fn is_used(server: &RedisServer) -> bool {
    server.clients_connected() > 0
}

#[test]
fn a_name_that_moves_is_followed_and_no_request_fails() {
    let (first, second) = (RedisServer::start(), RedisServer::start());
    for threads in ["-maxProcesses=1", "-maxProcesses=3"] {
        let (rmux, hosts) = rmux(&first, &["-resolveInterval=20", threads]);
        let mut clients: Vec<Client> = (0..6).map(|_| rmux.client()).collect();
        let client = &mut clients[0];
        for (from, to) in [(&first, &second), (&second, &first)] {
            hosts.lead_to(to);
            ask_until("the old one is left, and the new one is used", client, || is_used(to) && !is_used(from));
        }
        for client in &mut clients {
            assert_eq!(client.line("PING"), "+PONG\r\n");
        }
        assert!(rmux.log().contains("server cache.test:6379: its name has other addresses now"), "{}", rmux.log());
        let at = format!(" address_changes=2 switches=0 at=127.0.0.1:{} why=", first.port());
        wait_until("all threads to have seen it", PATIENCE, || clients[0].line("RMUX SERVERS").contains(&at));
        assert!(!clients[0].line("RMUX STATUS").contains("\nresolutions:0\r"), "it was looked up");
    }
}

#[test]
fn a_name_that_is_lost_or_leads_to_nobody_leaves_connections_alone() {
    let server = RedisServer::start();
    let (rmux, hosts) = rmux(&server, &["-resolveInterval=20"]);
    let mut client = rmux.client();
    hosts.say("nonsense");
    ask_until("it is told", &mut client, || rmux.log().contains("its name is not found"));
    hosts.lead_to(&server);
    ask_until("it is told", &mut client, || rmux.log().contains("its name is found again"));
    // A port on which nobody listens.
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    hosts.say(&closed.to_string());
    ask_until("it is told", &mut client, || rmux.log().contains("connections from before are used"));
    let until = Instant::now() + Duration::from_secs(1);
    ask_until("it goes on", &mut client, || Instant::now() > until);
    assert_eq!(rmux.log().matches("[WARN]").count(), 2, "{}", rmux.log());
    assert!(is_used(&server));
}

#[test]
fn a_server_that_is_lost_is_looked_for_at_once() {
    let (mut first, second) = (RedisServer::start(), RedisServer::start());
    let (rmux, hosts) = rmux(&first, &["-resolveInterval=0"]);
    let mut client = rmux.client();
    assert_eq!(client.line("SET a 1"), "+OK\r\n");
    hosts.lead_to(&second);
    assert!(!is_used(&second));
    first.kill();
    // A name is not looked up twice within half a second; until then there is an error, at once.
    wait_until("the other one is used", Duration::from_secs(3), || client.line("SET a 2") == "+OK\r\n");
    assert_eq!(second.ask("GET a"), b"$1\r\n2\r\n");
}
