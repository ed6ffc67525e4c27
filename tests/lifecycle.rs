//! The process: how it takes its listener, how it starts, what it logs, how it ends.
//!
//! ```text
//! start ──► listen ──► serve ──TERM or INT──► drain (what is outstanding, 5 s at most) ──► remove the socket, exit 0
//!              │                                └──TERM or INT again──► exit at once
//!              └─ the address is taken: one line, exit 1       a wrong flag or configuration: one line, exit 2
//! ```

mod support;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use support::client::{Client, encode, show, text};
use support::fake::{FakeServer, answer, value_of};
use support::proxy::{Rmux, connections_flag, run_to_end};
use support::server::RedisServer;
use support::{Address, Kind, PATIENCE, Scratch, free_port, wait_until};

/// Starts on this socket, in front of a server that need not be there.
fn start_on(socket: &Path, flags: &[&str]) -> Rmux {
    let listen = format!("-socket={}", socket.display());
    let mut all = vec![listen.as_str(), "-tcpConnections=127.0.0.1:1"];
    all.extend_from_slice(flags);
    Rmux::start_at(Address::Unix(socket.to_owned()), Scratch::new(), &all)
}

/// Runs it on this socket until it ends.
fn refuse_on(socket: &Path) -> (Option<i32>, String) {
    let listen = format!("-socket={}", socket.display());
    let ended = run_to_end(&[&listen, "-tcpConnections=127.0.0.1:1"]);
    (ended.code, ended.output)
}

#[test]
fn a_stale_socket_is_replaced() {
    let scratch = Scratch::new();
    let socket = scratch.join("stale.sock");
    // Closing a listener leaves its file behind, as a crash does.
    drop(UnixListener::bind(&socket).expect("the folder can be written"));
    assert!(socket.exists());
    let rmux = start_on(&socket, &[]);
    assert_eq!(rmux.client().line("PING"), "+PONG\r\n");
}

#[test]
fn its_own_socket_after_a_crash_is_replaced() {
    let scratch = Scratch::new();
    let socket = scratch.join("rmux.sock");
    let mut first = start_on(&socket, &[]);
    first.signal("KILL");
    first.wait_for_end(PATIENCE);
    assert!(socket.exists(), "a crash leaves it");
    let second = start_on(&socket, &[]);
    assert_eq!(second.client().line("PING"), "+PONG\r\n");
}

#[test]
fn a_socket_that_somebody_serves_is_an_error() {
    let scratch = Scratch::new();
    let socket = scratch.join("rmux.sock");
    let first = start_on(&socket, &[]);
    let (code, output) = refuse_on(&socket);
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains(&socket.display().to_string()), "{output}");
    assert_eq!(first.client().line("PING"), "+PONG\r\n", "the first one goes on");
    // A listener that is no rmux, and does not accept, counts as well.
    let other = scratch.join("other.sock");
    let _listener = UnixListener::bind(&other).expect("the folder can be written");
    assert_eq!(refuse_on(&other).0, Some(1));
    assert!(other.exists());
}

#[test]
fn a_file_that_is_no_socket_is_an_error_and_stays() {
    let scratch = Scratch::new();
    let file = scratch.join("precious");
    fs::write(&file, "data").expect("the folder can be written");
    let (code, output) = refuse_on(&file);
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains(&file.display().to_string()), "{output}");
    assert_eq!(fs::read_to_string(&file).expect("it is still there"), "data");
    assert_eq!(refuse_on(scratch.path()).0, Some(1), "a folder");
    assert_eq!(refuse_on(&scratch.join("no/such/folder/rmux.sock")).0, Some(1));
}

#[test]
fn a_port_that_is_taken_is_an_error() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = taken.local_addr().expect("a bound socket has an address").port();
    let flags = ["-host=127.0.0.1", &format!("-port={port}"), "-tcpConnections=127.0.0.1:1"];
    let ended = run_to_end(&flags);
    assert_eq!(ended.code, Some(1), "{}", ended.output);
    assert!(ended.output.contains(&port.to_string()), "{}", ended.output);
}

#[test]
fn the_socket_has_the_configured_mode_whatever_the_umask() {
    let scratch = Scratch::new();
    let mode = |socket: &Path| {
        let metadata = fs::metadata(socket).expect("rmux listens");
        assert!(metadata.file_type().is_socket());
        metadata.permissions().mode() & 0o7777
    };
    let socket = scratch.join("default.sock");
    let _default = start_on(&socket, &[]);
    assert_eq!(mode(&socket), 0o666, "everybody's, as the original had it");
    let socket = scratch.join("group.sock");
    let _group = start_on(&socket, &["-socketMode=0660"]);
    assert_eq!(mode(&socket), 0o660);
}

#[test]
fn a_port_can_be_taken_again_at_once() {
    let server = RedisServer::start();
    let port = free_port();
    let connections = connections_flag(&[server.address(Kind::Tcp)]);
    for _ in 0..3 {
        let flags = ["-host=127.0.0.1", &format!("-port={port}"), &connections];
        let mut rmux = Rmux::start_at(Address::Tcp(port), Scratch::new(), &flags);
        // A connection that rmux closes stays in TIME_WAIT on its port.
        let mut client = rmux.client();
        assert_eq!(client.line("SET k v"), "+OK\r\n");
        assert_eq!(client.line("QUIT"), "+OK\r\n");
        rmux.signal("TERM");
        assert_eq!(rmux.wait_for_end(PATIENCE).code(), Some(0));
    }
}

/// A server that answers `GET slow` only when the gate is open.
fn slow_server() -> FakeServer {
    FakeServer::start(|connection| {
        while let Some(request) = connection.user_request() {
            if request[1].starts_with(b"slow") {
                connection.wait_at_gate();
            }
            let reply = answer(&request);
            connection.send(&reply);
        }
    })
}

/// An rmux in front of it, and a client that waits for `GET slow`.
fn with_outstanding(fake: &FakeServer) -> (Rmux, Client) {
    let connections = connections_flag(&[fake.address()]);
    let rmux = Rmux::start(Kind::Unix, &[&connections, "-remoteReadTimeout=15000"]);
    let mut client = rmux.client();
    client.send(&encode(&["GET", "slow"]));
    wait_until("the request to arrive", PATIENCE, || fake.seen("GET slow") == 1);
    (rmux, client)
}

#[test]
fn term_and_int_finish_what_is_outstanding() {
    for signal in ["TERM", "INT"] {
        let fake = slow_server();
        let (mut rmux, mut client) = with_outstanding(&fake);
        let mut idle = rmux.client();
        assert_eq!(idle.line("PING"), "+PONG\r\n");
        let Address::Unix(socket) = rmux.address().clone() else { panic!("it listens on a Unix socket") };
        rmux.signal(signal);
        wait_until("the listener to close", PATIENCE, || rmux.address().connect().is_err());
        assert!(rmux.is_running(), "{signal}: it waits for what is outstanding");
        fake.gate().open();
        assert_eq!(show(&client.reply()), show(&value_of("slow")), "{signal}");
        client.expect_closed();
        idle.expect_closed();
        let status = rmux.wait_for_end(PATIENCE);
        assert_eq!(status.code(), Some(0), "{signal}: {status}\n{}", rmux.log());
        assert!(!socket.exists(), "{signal}: the socket file goes at exit");
    }
}

#[test]
fn a_pipeline_is_finished_before_the_end() {
    let fake = slow_server();
    let (mut rmux, mut client) = with_outstanding(&fake);
    let mut other = rmux.client();
    let mut wanted = Vec::new();
    for number in 0..100 {
        let key = format!("key {number}");
        other.send(&encode(&["GET", &key]));
        wanted.extend(value_of(&key));
    }
    // The last one has been read when a client that spoke later has its answer.
    assert_eq!(rmux.client().line("PING"), "+PONG\r\n");
    rmux.signal("TERM");
    wait_until("the listener to close", PATIENCE, || rmux.address().connect().is_err());
    fake.gate().open();
    assert_eq!(show(&client.rest()), show(&value_of("slow")));
    assert_eq!(show(&other.rest()), show(&wanted));
    assert_eq!(rmux.wait_for_end(PATIENCE).code(), Some(0));
}

#[test]
fn after_the_grace_it_ends_with_a_request_outstanding() {
    let fake = slow_server();
    let (mut rmux, _client) = with_outstanding(&fake);
    let start = Instant::now();
    rmux.signal("TERM");
    let status = rmux.wait_for_end(PATIENCE);
    assert_eq!(status.code(), Some(0), "{status}");
    let elapsed = start.elapsed();
    assert!(elapsed > Duration::from_millis(4_800), "the grace is 5 s, it ended after {elapsed:?}");
    assert!(elapsed < Duration::from_secs(10), "the grace is 5 s, it ended after {elapsed:?}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for signals in [["TERM", "TERM"], ["INT", "INT"], ["INT", "TERM"]] {
        let fake = slow_server();
        let (mut rmux, _client) = with_outstanding(&fake);
        let start = Instant::now();
        rmux.signal(signals[0]);
        wait_until("the listener to close", PATIENCE, || rmux.address().connect().is_err());
        assert!(rmux.is_running());
        rmux.signal(signals[1]);
        rmux.wait_for_end(PATIENCE);
        assert!(start.elapsed() < Duration::from_secs(4), "{signals:?}: {:?}", start.elapsed());
    }
}

#[test]
fn without_work_it_ends_at_once() {
    let server = RedisServer::start();
    let mut rmux = Rmux::in_front_of(Kind::Tcp, &[&server], &[]);
    let mut clients: Vec<Client> = (0..20).map(|_| rmux.client()).collect();
    for client in &mut clients {
        assert_eq!(client.line("SET k v"), "+OK\r\n");
    }
    let start = Instant::now();
    rmux.signal("TERM");
    assert_eq!(rmux.wait_for_end(PATIENCE).code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(3), "nothing was outstanding: {:?}", start.elapsed());
    for client in &mut clients {
        client.expect_closed();
    }
}

#[test]
fn a_pipe_signal_does_not_end_it() {
    let server = RedisServer::start();
    let mut rmux = Rmux::in_front_of(Kind::Unix, &[&server], &[]);
    let mut client = rmux.client();
    rmux.signal("PIPE");
    assert_eq!(client.line("SET k v"), "+OK\r\n");
    assert!(rmux.is_running());
}

#[test]
fn start_and_end_are_logged_once() {
    let server = RedisServer::start();
    let mut rmux = Rmux::in_front_of(Kind::Tcp, &[&server], &[]);
    for _ in 0..50 {
        assert_eq!(rmux.client().line("SET k v"), "+OK\r\n");
    }
    let Address::Tcp(port) = *rmux.address() else { panic!("it listens on TCP") };
    wait_until("where it listens", PATIENCE, || rmux.log().contains(&port.to_string()));
    let log = rmux.log();
    let lines_before = log.lines().count();
    assert!((1..=6).contains(&lines_before), "a line per event, and clients are none: {log}");
    rmux.signal("TERM");
    rmux.wait_for_end(PATIENCE);
    let lines_of_end = rmux.log().lines().count() - lines_before;
    assert!((1..=3).contains(&lines_of_end), "the end is logged: {}", rmux.log());
}

#[test]
fn a_server_that_is_down_is_logged_once() {
    // Takes every connection and drops it at once: each probe fails, and can be counted.
    let fake = FakeServer::start(|_| {});
    let Address::Tcp(port) = fake.address() else { panic!("a fake listens on TCP") };
    let connections = connections_flag(&[fake.address()]);
    let rmux = Rmux::start(Kind::Unix, &[&connections]);
    let mut client = rmux.client();
    wait_until("rmux to notice", PATIENCE, || client.line("GET k") == "-ERR Connection down\r\n");
    let down_lines = || {
        let log = rmux.log();
        log.lines().filter(|line| line.contains(&port.to_string()) && line.contains("down")).count()
    };
    // Which of the two comes first is open.
    wait_until("the line of the start", PATIENCE, || rmux.log().contains("listens") && down_lines() > 0);
    let lines = rmux.log().lines().count();
    assert!((1..=2).contains(&down_lines()), "{}", rmux.log());
    let probes = fake.accepted();
    wait_until("some probes", PATIENCE, || {
        assert!(client.line("GET k").starts_with("-ERR "));
        fake.accepted() >= probes + 4
    });
    assert_eq!(rmux.log().lines().count(), lines, "nothing new happened: {}", rmux.log());
}

#[test]
fn going_down_and_coming_back_are_a_line_each() {
    let mut server = RedisServer::start();
    let rmux = Rmux::in_front_of(Kind::Tcp, &[&server], &[]);
    let Address::Tcp(port) = server.address(Kind::Tcp) else { panic!("a TCP address was asked for") };
    let mut client = rmux.client();
    assert_eq!(client.line("SET k v"), "+OK\r\n");
    let lines_of_server = || {
        let log = rmux.log();
        log.lines().filter(|line| line.contains(&port.to_string())).count()
    };
    for round in 0..3 {
        let before = lines_of_server();
        server.kill();
        wait_until("rmux to notice", PATIENCE, || client.line("GET k") == "-ERR Connection down\r\n");
        for _ in 0..200 {
            client.line("GET k");
        }
        wait_until("a line of the fall", PATIENCE, || lines_of_server() > before);
        server.revive();
        wait_until("the server to be back", PATIENCE, || client.line("GET k") == "$-1\r\n");
        wait_until("a line of the return", PATIENCE, || lines_of_server() > before + 1);
        assert_eq!(lines_of_server(), before + 2, "round {round}: {}", rmux.log());
    }
}

#[test]
fn several_pools_of_one_file_reach_their_own_servers() {
    let servers = [RedisServer::start(), RedisServer::start()];
    let scratch = Scratch::new();
    let sockets = [scratch.join("one.sock"), scratch.join("two.sock")];
    let pool = |index: usize| {
        let connection = servers[index].address(Kind::Unix).flag_value();
        format!(r#"{{"socket": "{}", "unixConnections": ["{connection}"]}}"#, sockets[index].display())
    };
    let file = scratch.join("rmux.json");
    fs::write(&file, format!("[{}, {}]", pool(0), pool(1))).expect("the folder can be written");
    let config = format!("-config={}", file.display());
    let mut rmux = Rmux::start_at(Address::Unix(sockets[0].clone()), Scratch::new(), &[&config]);
    let mut clients = sockets.clone().map(|socket| Client::connect(&Address::Unix(socket)));
    for (name, client) in ["one", "two"].iter().zip(&mut clients) {
        assert_eq!(client.line(&format!("SET name {name}")), "+OK\r\n");
    }
    for (name, server) in ["one", "two"].iter().zip(&servers) {
        assert_eq!(server.client().line("GET name"), format!("$3\r\n{name}\r\n"));
    }
    rmux.signal("TERM");
    assert_eq!(rmux.wait_for_end(PATIENCE).code(), Some(0));
    assert!(sockets.iter().all(|socket| !socket.exists()), "every socket file goes at exit");
}

#[test]
fn several_reactors_share_the_listener() {
    for kind in support::KINDS {
        let server = RedisServer::start();
        let rmux = Rmux::in_front_of(kind, &[&server], &["-maxProcesses=3"]);
        let mut clients: Vec<Client> = (0..60).map(|_| rmux.client()).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.line(&format!("SELECT {}", number % 4)), "+OK\r\n");
            assert_eq!(client.line(&format!("SET k{number} {number}")), "+OK\r\n");
        }
        for (number, client) in clients.iter_mut().enumerate() {
            let text = number.to_string();
            assert_eq!(client.line(&format!("GET k{number}")), format!("${}\r\n{text}\r\n", text.len()));
        }
    }
}

/// The number that CLIENT ID tells.
fn number_of(client: &mut Client) -> u64 {
    let reply = client.line("CLIENT ID");
    reply.trim_end().trim_start_matches(':').parse().expect("a number")
}

/// Clients of at least two of three reactors, with their numbers.
fn clients_of_several_reactors(rmux: &Rmux) -> Vec<(Client, u64)> {
    let mut clients: Vec<(Client, u64)> = Vec::new();
    wait_until("two reactors to have clients", PATIENCE, || {
        let mut client = rmux.client();
        let number = number_of(&mut client);
        clients.push((client, number));
        // Who has accepted a client can be told by its number.
        let reactors: HashSet<u64> = clients.iter().map(|(_, number)| number % 3).collect();
        clients.len() >= 30 && reactors.len() >= 2
    });
    clients
}

#[test]
fn clients_of_one_reactor_see_and_kill_those_of_another() {
    for kind in support::KINDS {
        let server = RedisServer::start();
        let rmux = Rmux::in_front_of(kind, &[&server], &["-maxProcesses=3"]);
        let mut clients = clients_of_several_reactors(&rmux);
        let mut numbers: Vec<u64> = clients.iter().map(|(_, number)| *number).collect();
        numbers.sort_unstable();
        let list = |client: &mut Client| String::from_utf8_lossy(&client.cmd(&["CLIENT", "LIST"])).into_owned();
        let listed = |client: &mut Client| -> Vec<u64> {
            let list = list(client);
            let ids = list.split("id=").skip(1);
            ids.map(|line| line.split(' ').next().and_then(|id| id.parse().ok()).expect("a number")).collect()
        };
        for (client, number) in &mut clients {
            // Connections of the start may still be there, for a moment.
            wait_until("everybody is listed, and nobody else", PATIENCE, || listed(client) == numbers);
            let text = list(client);
            let asking: Vec<&str> = text.lines().filter(|line| line.contains(" cmd=client|list ")).collect();
            assert!(asking.len() == 1 && asking[0].starts_with(&format!("id={number} ")), "{asking:?}");
        }
        // The last one is killed by the one whose reactor is another.
        let (mut victim, number) = clients.pop().expect("there are many");
        let (killer, _) = clients.iter_mut().find(|other| other.1 % 3 != number % 3).expect("of another reactor");
        let kill = format!("CLIENT KILL ID {number}");
        killer.send(format!("{kill}\r\nSET k v\r\n{kill}\r\nGET k\r\n").as_bytes());
        for reply in [":1\r\n", "+OK\r\n", ":0\r\n", "$1\r\nv\r\n"] {
            assert_eq!(show(&killer.reply()), show(reply.as_bytes()));
        }
        victim.expect_closed();
        numbers.retain(|other| *other != number);
        assert_eq!(listed(killer), numbers);
        let all = format!(":{}\r\n", numbers.len());
        assert_eq!(killer.line("CLIENT KILL TYPE normal SKIPME no"), all, "itself, too");
        clients.iter_mut().for_each(|(client, _)| client.expect_closed());
    }
}

#[test]
fn every_reactor_tells_the_figures_of_all() {
    let servers = [RedisServer::start(), RedisServer::start()];
    let connections: Vec<&RedisServer> = servers.iter().collect();
    let rmux = Rmux::in_front_of(Kind::Unix, &connections, &["-maxProcesses=3"]);
    let mut clients = clients_of_several_reactors(&rmux);
    for (client, number) in &mut clients {
        assert_eq!(client.line(&format!("SET k{number} v")), "+OK\r\n");
    }
    let count = clients.len();
    for (asked, (client, _)) in clients.iter_mut().enumerate() {
        let info = text(&client.cmd(&["INFO"]));
        let value = |name: &str| -> usize {
            let (_, rest) = info.split_once(name).unwrap_or_else(|| panic!("no {name} in {info}"));
            rest.split('\r').next().and_then(|value| value.parse().ok()).expect("a number")
        };
        // Each server is asked for its part, after what rmux tells was put together.
        assert_eq!(value("server0_requests:") + value("server1_requests:"), count + 2 * asked, "{info}");
        assert_eq!(value("server0_outstanding:") + value("server1_outstanding:"), 0, "{info}");
        assert!(value("total_connections_received:") >= count, "{info}");
        assert!(value("server0_connections:") >= 3, "each reactor has its own: {info}");
    }
    // All at once, and each gets its own reply.
    clients.iter_mut().for_each(|(client, _)| client.send(b"INFO\r\nCLIENT ID\r\n"));
    for (client, number) in &mut clients {
        assert!(show(&client.reply()).contains("connected_clients"));
        assert_eq!(show(&client.reply()), show(format!(":{number}\r\n").as_bytes()));
    }
}

#[test]
fn several_reactors_end_together() {
    let fake = slow_server();
    let connections = connections_flag(&[fake.address()]);
    let mut rmux = Rmux::start(Kind::Unix, &[&connections, "-maxProcesses=3", "-remoteReadTimeout=15000"]);
    let mut clients: Vec<Client> = (0..30).map(|_| rmux.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(&encode(&["GET", &format!("slow {number}")]));
    }
    wait_until("the first requests to arrive", PATIENCE, || {
        (0..30).any(|number| fake.seen(&format!("GET slow {number}")) == 1)
    });
    // Every reactor has read what is there when it has answered those who came later.
    for _ in 0..30 {
        assert_eq!(rmux.client().line("PING"), "+PONG\r\n");
    }
    rmux.signal("TERM");
    wait_until("the listener to close", PATIENCE, || rmux.address().connect().is_err());
    fake.gate().open();
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(show(&client.reply()), show(&value_of(&format!("slow {number}"))));
        client.expect_closed();
    }
    assert_eq!(rmux.wait_for_end(PATIENCE).code(), Some(0));
}

#[test]
fn a_host_name_is_looked_up() {
    let server = RedisServer::start();
    let Address::Tcp(port) = server.address(Kind::Tcp) else { panic!("a TCP address was asked for") };
    // localhost may be [::1] first, where nobody listens: all its addresses are tried.
    let rmux = Rmux::start(Kind::Unix, &[&format!("-tcpConnections=localhost:{port}")]);
    let mut client = rmux.client();
    wait_until("the name to be found", PATIENCE, || client.line("SET k v") == "+OK\r\n");
}

#[test]
fn memory_at_rest_is_small() {
    let server = RedisServer::start();
    let rmux = Rmux::in_front_of(Kind::Unix, &[&server], &[]);
    assert_eq!(rmux.client().line("SET k v"), "+OK\r\n");
    let kb = rmux.usage().bytes / 1024;
    // The figure of the release build is 4 MB; a debug build's pages are more.
    let most = if cfg!(debug_assertions) { 16 * 1024 } else { 4 * 1024 };
    assert!(kb < most, "{kb} kB at rest");
}

#[test]
fn a_standard_output_that_nobody_reads_stops_nobody() {
    let scratch = Scratch::new();
    let (socket, log) = (scratch.join("rmux.sock"), scratch.join("log"));
    assert!(Command::new("mkfifo").arg(&log).status().expect("there is mkfifo").success());
    // Open for both, so that a writer finds a reader, which reads nothing yet.
    let mut reader = File::options().read(true).write(true).open(&log).expect("it is ours");
    let listen = format!("-socket={}", socket.display());
    let flags = [listen.as_str(), "-tcpConnections=127.0.0.1:1", "-debug"];
    let mut rmux = Rmux::start_writing_to(Address::Unix(socket), Scratch::new(), &flags, &log);
    let mut client = rmux.client();
    // Each is a line of debug, far more than a pipe and any queue take.
    for _ in 0..10_000 {
        drop(rmux.client());
        assert_eq!(client.line("PING"), "+PONG\r\n");
    }
    // Once it is read, it says what it could not keep.
    let mut text = Vec::new();
    wait_until("the lost lines to be told", PATIENCE, || {
        let mut bytes = [0; 65536];
        let length = reader.read(&mut bytes).expect("a pipe");
        text.extend_from_slice(&bytes[..length]);
        drop(rmux.client());
        String::from_utf8_lossy(&text).contains(" lines of the log lost: standard output was not read in time\n")
    });
    // Nobody reads at the end either.
    for _ in 0..10_000 {
        drop(rmux.client());
    }
    drop(client);
    rmux.signal("TERM");
    assert!(rmux.wait_for_end(PATIENCE).success(), "it waits for a reader only so long");
}
