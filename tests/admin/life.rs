//! What becomes of the endpoint, and of what it says, in the life of a process.

use std::net::UdpSocket;

use crate::support::http::{Http, try_get};
use crate::support::proxy::run_to_end;
use crate::support::server::RedisServer;
use crate::support::{Address, Kind, Scratch, free_port, signal};
use crate::{PATIENCE, Rmux, Watched, wait_until};

fn write_config(folder: &Scratch, text: &str) {
    std::fs::write(folder.join("rmux.json"), text).expect("the folder can be written");
}

#[test]
fn reloads_are_told_and_pools_come_and_go() {
    let (server, folder, admin) = (RedisServer::start(), Scratch::new(), Address::Tcp(free_port()));
    let place = |name: &str| folder.join(name).display().to_string();
    let pool = |name: &str| {
        let server = server.address(Kind::Tcp).flag_value();
        format!(r#"{{"socket": "{}", "tcpConnections": ["{server}"]}}"#, place(name))
    };
    write_config(&folder, &format!("[{}]", pool("a.sock")));
    let flags = [format!("-config={}", folder.join("rmux.json").display()), format!("-admin={}", admin.flag_value())];
    let rmux = Rmux::start_at(Address::Unix(folder.join("a.sock")), Scratch::new(), &[&flags[0], &flags[1]]);
    let watched = Watched { rmux, admin, _scratch: Scratch::new() };
    watched.await_ready();
    assert_eq!(watched.rmux.client().line("SET a b"), "+OK\r\n");
    let before = watched.metrics();
    assert_eq!(before.value("rmux_config_last_reload_success"), 1.0);

    write_config(&folder, "[]");
    watched.rmux.signal("HUP");
    let refused = |metrics: &crate::Metrics| metrics.value("rmux_config_reloads_refused_total") == 1.0;
    let metrics = watched.metrics_when("a reload that is refused", refused);
    assert_eq!(metrics.value("rmux_config_last_reload_success"), 0.0);
    let at = metrics.value("rmux_config_last_reload_timestamp_seconds");
    assert!(at >= metrics.value("process_start_time_seconds"));
    assert_eq!(watched.get("/readyz").status, 200, "the old one is in use");

    write_config(&folder, &format!("[{}, {}]", pool("a.sock"), pool("b.sock")));
    watched.rmux.signal("HUP");
    let metrics = watched.metrics_when("a reload", |metrics| metrics.value("rmux_config_reloads_total") == 1.0);
    assert_eq!(metrics.value("rmux_config_last_reload_success"), 1.0);
    assert!(metrics.has(&format!("rmux_clients{{pool=\"{}\"}}", place("b.sock"))));
    let writes = watched.pool("rmux_requests_total", r#"class="write""#);
    assert_eq!(metrics.value(&writes), before.value(&writes), "what was counted is not forgotten");
    watched.await_ready();

    write_config(&folder, &format!("[{}]", pool("b.sock")));
    watched.rmux.signal("HUP");
    let metrics = watched.metrics_when("another reload", |metrics| metrics.value("rmux_config_reloads_total") == 2.0);
    assert!(!metrics.has(&watched.pool("rmux_clients", "")), "it is gone");
    watched.await_ready();

    // A pool that would listen where the endpoint does.
    let Address::Tcp(port) = watched.admin else { unreachable!("it is TCP") };
    write_config(&folder, &format!(r#"[{{"port": {port}, "tcpConnections": ["127.0.0.1:1"]}}]"#));
    watched.rmux.signal("HUP");
    watched.metrics_when("a refusal", |metrics| metrics.value("rmux_config_reloads_refused_total") == 2.0);
    assert!(
        watched.rmux.log().contains(&format!("-admin: 127.0.0.1:{port} is where pool 1 (localhost:{port}) listens"))
    );
}

#[test]
fn while_it_ends_who_is_connected_is_told_and_nobody_else_is_let_in() {
    let server = RedisServer::start();
    let mut watched = Watched::start(Kind::Unix, &[server.address(Kind::Unix)], &[]);
    watched.await_ready();
    let mut http = Http::connect(&watched.admin);
    assert_eq!(http.get("/readyz").body, "ok\n");
    let mut asking = Http::connect(&watched.admin);
    asking.send(b"GET /readyz HTTP/1.1\r\nHost: a\r\n");
    // What is in flight keeps it from ending.
    let mut client = watched.rmux.client();
    server.freeze();
    client.send(b"GET a\r\n");
    watched.metrics_when("a request in flight", |metrics| metrics.sum("rmux_server_queue_requests") == 1.0);
    watched.rmux.signal("TERM");
    http.expect_closed();
    wait_until("nobody listens", PATIENCE, || try_get(&watched.admin, "/healthz").is_err());
    let Address::Unix(path) = &watched.admin else { unreachable!("it is a Unix socket") };
    assert!(!path.exists(), "the file is gone");
    asking.send(b"\r\n");
    let answer = asking.answer();
    assert_eq!((answer.status, answer.is_kept()), (503, false));
    assert!(answer.body.starts_with("clients are not accepted"), "{answer:?}");
    server.thaw();
    assert_eq!(client.reply(), b"$-1\r\n");
    assert!(watched.rmux.wait_for_end(PATIENCE).success());
}

#[test]
fn where_it_cannot_listen_rmux_does_not_start() {
    let folder = Scratch::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port();
    let socket = format!("-socket={}", folder.join("rmux.sock").display());
    let ended = run_to_end(&[&socket, "-tcpConnections=127.0.0.1:1", &format!("-admin={port}")]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.output.contains(&format!("cannot listen on 127.0.0.1:{port}: ")), "{}", ended.output);
    assert!(!folder.join("rmux.sock").exists());
}

#[test]
fn only_the_user_may_ask_at_a_socket() {
    use std::os::unix::fs::PermissionsExt as _;
    let watched = Watched::start(Kind::Unix, &[Address::Tcp(free_port())], &[]);
    let Address::Unix(path) = &watched.admin else { unreachable!("it is a Unix socket") };
    assert_eq!(std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_statsd_server_hears_each_second_what_happened() {
    let server = RedisServer::start();
    let statsd = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    statsd.set_read_timeout(Some(PATIENCE)).expect("more than zero");
    let graphite = format!("-graphite={}", statsd.local_addr().expect("bound"));
    let connections = crate::connections_flag(&[server.address(Kind::Unix)]);
    // Without an admin endpoint.
    let rmux = Rmux::start(Kind::Unix, &[&connections, &graphite, "-timing"]);
    let mut clients: Vec<_> = (0..3).map(|_| rmux.client()).collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.line("SET a b"), "+OK\r\n"));
    let (mut accepted, mut requests, mut has_times) = (0, 0, false);
    wait_until("all that happened", PATIENCE, || {
        let mut bytes = [0; 2000];
        let length = statsd.recv(&mut bytes).expect("a datagram");
        assert!(length <= 1432, "it fits into a packet");
        for line in std::str::from_utf8(&bytes[..length]).expect("text").lines() {
            let (name, value) = line.split_once(':').expect("a name and a value");
            let (host, metric) = name.strip_prefix("rmux.").and_then(|rest| rest.split_once('.')).expect("a prefix");
            assert!(!host.is_empty() && !metric.contains('.'), "{line}");
            let count = || value.strip_suffix("|c").expect(line).parse::<u64>().expect("a number");
            match metric {
                "accepted" => accepted += count(),
                "requests" => requests += count(),
                "clients" => assert!(value.ends_with("|g"), "{line}"),
                "redis_write" => has_times = value.ends_with("|ms"),
                _ => {}
            }
        }
        // The test's own PING at the start is a client, too.
        accepted >= 4 && requests >= 4 && has_times
    });
    assert_eq!((accepted, requests), (4, 4));
    signal(rmux.process_id(), "TERM");
}
