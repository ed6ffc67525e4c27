//! What there is to be seen.

use crate::exposition::{Form, Metrics, promtool_complaints};
use crate::support::http::Http;
use crate::support::server::RedisServer;
use crate::support::{Address, KINDS, Kind, Scratch, free_port};
use crate::{PATIENCE, Watched, wait_until};

#[test]
fn every_page_is_there_on_both_kinds_of_socket() {
    let servers = [RedisServer::start(), RedisServer::start()];
    for kind in KINDS {
        let addresses = [servers[0].address(kind), servers[1].address(kind)];
        let watched = Watched::start(kind, &addresses, &["-maxProcesses=2"]);
        watched.await_ready();
        let mut client = watched.rmux.client();
        for number in 0..20 {
            assert_eq!(client.cmd(&["SET", &format!("k{number}"), "v"]), b"+OK\r\n");
            assert_eq!(client.cmd(&["GET", &format!("k{number}")]), b"$1\r\nv\r\n");
        }
        assert!(client.line("INCR").starts_with("-ERR wrong number"));
        assert!(client.line("LPUSH k1 x").starts_with("-WRONGTYPE"));
        let mut http = Http::connect(&watched.admin);
        for (path, status, content_type, body) in [
            ("/healthz", 200, "text/plain; charset=utf-8", Some("ok\n")),
            ("/readyz?verbose", 200, "text/plain; charset=utf-8", Some("ok\n")),
            ("/metrics", 200, "text/plain; version=0.0.4; charset=utf-8", None),
            ("/status.json", 200, "application/json", None),
            ("/nothing", 404, "text/plain; charset=utf-8", Some("404 Not Found\n")),
            ("/metrics/", 404, "text/plain; charset=utf-8", Some("404 Not Found\n")),
        ] {
            let answer = http.get(path);
            assert_eq!((answer.status, answer.field("Content-Type")), (status, Some(content_type)), "{path}");
            assert!(answer.is_kept() && body.is_none_or(|body| answer.body == body), "{path}: {answer:?}");
            http.send(format!("HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
            let head = http.try_answer(true).expect("a head");
            assert_eq!((head.status, head.body.as_str()), (status, ""), "{path}");
        }
        let metrics = watched.metrics();
        let pool = |name: &str, more: &str| metrics.value(&watched.pool(name, more));
        assert_eq!(pool("rmux_requests_total", r#"class="read""#), 20.0);
        assert_eq!(pool("rmux_requests_total", r#"class="write""#), 21.0);
        assert_eq!(pool("rmux_request_duration_seconds_count", ""), 41.0);
        assert_eq!(pool("rmux_replies_error_total", r#"source="server",code="WRONGTYPE""#), 1.0);
        assert_eq!(pool("rmux_replies_error_total", r#"source="rmux",code="ERR""#), 1.0);
        assert_eq!(pool("rmux_clients", ""), 1.0);
        assert_eq!(pool("rmux_threads", r#"state="turning""#), 2.0);
        assert_eq!(pool("rmux_threads", r#"state="silent""#), 0.0);
        for address in &addresses {
            let server = format!("server=\"{}\"", address.flag_value());
            assert_eq!(pool("rmux_server_up", &server), 1.0);
            assert!(pool("rmux_server_requests_total", &server) > 0.0);
            assert!(pool("rmux_server_connections", &format!("{server},state=\"shared\"")) > 0.0);
        }
        assert!(metrics.value("process_open_fds") > 10.0 && metrics.value("process_resident_memory_bytes") > 1e6);
        assert!(metrics.value("process_start_time_seconds") > 1.7e9);
        assert!(!metrics.has("rmux_config_last_reload_timestamp_seconds"), "there was none");
        // What a dashboard or an alert asks for.
        for name in [
            "rmux_build_info",
            "rmux_clients_rejected_total",
            "rmux_clients_closed_total",
            "rmux_client_bytes_received_total",
            "rmux_request_wait_seconds_bucket",
            "rmux_lease_waiting",
            "rmux_lease_wait_seconds_max",
            "rmux_loop_turn_seconds_max",
            "rmux_buffered_bytes",
            "rmux_buffered_bytes_limit",
            "rmux_server_state_changes_total",
            "rmux_server_connect_failures_total",
            "rmux_server_timeouts_total",
            "rmux_server_lost_total",
            "rmux_server_queue_requests",
            "rmux_server_queue_bytes",
        ] {
            assert!(metrics.names().contains(name), "{name}");
        }
    }
}

#[test]
fn the_newer_form_says_the_same_and_promtool_finds_nothing() {
    let server = RedisServer::start();
    // A server that stands there twice is told once, or a series would be there twice.
    let twice = [server.address(Kind::Tcp), server.address(Kind::Tcp)];
    let watched = Watched::start(Kind::Unix, &twice, &[]);
    watched.await_ready();
    assert_eq!(watched.rmux.client().line("SET a b"), "+OK\r\n");
    let mut http = Http::connect(&watched.admin);
    http.send(
        b"GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3\
          \r\n\r\n",
    );
    let answer = http.answer();
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!((answer.status, answer.field("Content-Type")), (200, Some(kind)));
    let open = Metrics::parse(&answer.body, Form::OpenMetrics);
    let text = watched.metrics();
    assert_eq!(open.names(), text.names());
    assert_eq!(text.sum("rmux_server_up"), 1.0);
    let complaints = promtool_complaints(&watched.get("/metrics").body);
    assert_eq!(complaints, None);
}

#[test]
fn what_a_path_may_hold_is_escaped() {
    let server = RedisServer::start();
    let folder = Scratch::new();
    let odd = folder.join("a \"b\\c\nd");
    std::fs::create_dir(&odd).expect("the system allows it");
    let socket = odd.join("redis.sock");
    std::os::unix::fs::symlink(server.address(Kind::Unix).flag_value(), &socket).expect("the folder can be written");
    let config = folder.join("rmux.json");
    let quoted = |path: &std::path::Path| serde_json::to_string(&path.display().to_string()).expect("text");
    let text =
        format!(r#"[{{"socket": {}, "unixConnections": [{}]}}]"#, quoted(&folder.join("rmux.sock")), quoted(&socket));
    std::fs::write(&config, text).expect("the folder can be written");
    let admin = Address::Tcp(free_port());
    let flags = [format!("-config={}", config.display()), format!("-admin={}", admin.flag_value())];
    let place = Address::Unix(folder.join("rmux.sock"));
    let rmux = crate::Rmux::start_at(place, Scratch::new(), &[&flags[0], &flags[1]]);
    let watched = Watched { rmux, admin, _scratch: folder };
    watched.await_ready();
    let escaped = odd.display().to_string().replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
    let series = watched.pool("rmux_server_up", &format!("server=\"{escaped}/redis.sock\""));
    assert_eq!(watched.metrics().value(&series), 1.0);
    assert_eq!(promtool_complaints(&watched.get("/metrics").body), None);
}

#[test]
fn a_server_that_is_down_is_told_and_a_pool_without_one_is_not_ready() {
    let mut servers = [RedisServer::start(), RedisServer::start()];
    let addresses = [servers[0].address(Kind::Tcp), servers[1].address(Kind::Tcp)];
    let watched = Watched::start(Kind::Tcp, &addresses, &[]);
    watched.await_ready();
    let up = |place: usize| watched.pool("rmux_server_up", &format!("server=\"{}\"", addresses[place].flag_value()));
    servers[0].kill();
    let metrics = watched.metrics_when("it is down, and was tried", |metrics| {
        metrics.value(&up(0)) == 0.0 && metrics.sum("rmux_server_connect_failures_total") >= 1.0
    });
    assert_eq!(metrics.value(&up(1)), 1.0);
    assert!(metrics.sum("rmux_server_state_changes_total") >= 1.0);
    assert_eq!(watched.get("/readyz").status, 200, "another one serves");
    servers[1].kill();
    wait_until("it is not ready", PATIENCE, || watched.get("/readyz").status == 503);
    let place = watched.rmux.address().flag_value();
    assert_eq!(watched.get("/readyz").body, format!("pool {place}: no server is up\n"));
    assert_eq!(watched.get("/healthz").status, 200, "it turns");
    servers[0].revive();
    watched.await_ready();
}
