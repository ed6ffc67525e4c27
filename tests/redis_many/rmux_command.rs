//! RMUX: what rmux tells about itself, with one server and with several, on one thread and on four.

use crate::support::client::{Client, encode, show};
use crate::support::proxy::Rmux;
use crate::support::server::RedisServer;
use crate::support::{Kind, PATIENCE, wait_until};

/// Takes 60 ms at the server, and its key.
const SLOW: &str = "local function ms() local t = redis.call('TIME') return t[1] * 1000 + t[2] / 1000 end
    local start = ms() while ms() - start < 60 do end return 1";

fn start(count: usize, flags: &[&str]) -> (Vec<RedisServer>, Rmux) {
    let servers: Vec<RedisServer> = (0..count).map(|_| RedisServer::start()).collect();
    let rmux = Rmux::in_front_of(Kind::Unix, &servers.iter().collect::<Vec<_>>(), flags);
    (servers, rmux)
}

fn run_slowly(client: &mut Client, key: &str) {
    assert_eq!(show(&client.cmd(&["EVAL", SLOW, "1", key, "secret"])), ":1\r\n");
}

fn threads(count: usize) -> String {
    format!("-maxProcesses={count}")
}

#[test]
fn ring_says_where_keys_live_and_who_stands_in() {
    for (count, threads_count) in [(1, 1), (3, 1), (3, 4)] {
        let (mut servers, rmux) = start(count, &[&threads(threads_count), "-failoverAfter=0"]);
        let mut client = rmux.client();
        for key in ["a", "user:1", "another"] {
            assert_eq!(client.line(&format!("SET {key} 1")), "+OK\r\n");
            let home = servers.iter().position(|server| server.ask(&format!("EXISTS {key}")) == b":1\r\n");
            let home = home.expect("some server has it");
            let reply = client.line(&format!("RMUX RING {key}"));
            let address = servers[home].address(Kind::Unix).flag_value();
            assert!(reply.starts_with("*1\r\n*16\r\n"), "{reply}");
            assert!(reply.contains(&format!("server\r\n${}\r\n{address}\r\n", address.len())), "{reply}");
            assert!(reply.contains("$5\r\nstate\r\n$2\r\nup\r\n"), "{reply}");
            // As many stand in as there are.
            assert_eq!(reply.matches("$-1\r\n").count(), if count == 1 { 2 } else { 0 }, "{reply}");
        }
        if count == 3 {
            let address = servers[0].address(Kind::Unix).flag_value();
            let home = format!("server\r\n${}\r\n{address}\r\n", address.len());
            let of_first = |client: &mut Client| {
                let key = (0..100).map(|number| format!("k{number}"));
                key.map(|key| client.line(&format!("RMUX RING {key}"))).find(|reply| reply.contains(&home))
            };
            servers[0].kill();
            wait_until("the server is down, and another one has its keys", PATIENCE, || {
                let reply = of_first(&mut client).expect("it has some key of these");
                let is_down = reply.contains("state\r\n$4\r\ndown\r\n");
                client.line("SET k1 1");
                is_down && !reply.contains(&format!("now\r\n${}\r\n{address}", address.len()))
            });
        }
    }
}

#[test]
fn slow_requests_are_told_with_their_key_and_without_their_values() {
    for (count, threads_count) in [(1, 1), (2, 4)] {
        let (servers, rmux) = start(count, &[&threads(threads_count), "-slowlogSlowerThan=40", "-slowlogMax=5"]);
        let mut clients: Vec<Client> = (0..8).map(|_| rmux.client()).collect();
        assert_eq!(clients[0].line("RMUX SLOWLOG GET"), "*0\r\n");
        clients[0].line("CLIENT SETNAME worker");
        clients[0].line("SET fast 1");
        run_slowly(&mut clients[0], "slow:0");
        let entries = clients[1].line("RMUX SLOWLOG GET");
        let found = entries.contains("*2\r\n$4\r\neval\r\n") || entries.contains("slow:0");
        assert!(entries.starts_with("*1\r\n*8\r\n") && found, "{entries}");
        assert!(entries.contains("$6\r\nslow:0\r\n") && entries.contains("$6\r\nworker\r\n"), "{entries}");
        assert!(!entries.contains("secret") && !entries.contains("TIME"), "{entries}");
        let is_there = servers.iter().any(|server| entries.contains(&server.address(Kind::Unix).flag_value()));
        assert!(is_there, "{entries}");
        // Whichever thread has them, they are one log, the newest first.
        for (number, client) in clients.iter_mut().enumerate().skip(1) {
            run_slowly(client, &format!("slow:{number}"));
        }
        assert_eq!(clients[2].line("RMUX SLOWLOG LEN"), ":5\r\n");
        let entries = clients[3].line("RMUX SLOWLOG GET -1");
        let places: Vec<Option<usize>> = (3..8).rev().map(|n| entries.find(&format!("slow:{n}"))).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{entries}");
        assert!(clients[3].line("RMUX SLOWLOG GET 2").starts_with("*2\r\n"));
        assert_eq!(clients[4].line("RMUX SLOWLOG RESET"), "+OK\r\n");
        assert_eq!(clients[5].line("RMUX SLOWLOG LEN"), ":0\r\n");
        assert_eq!(clients[5].line("RMUX SLOWLOG GET"), "*0\r\n");
    }
}

#[test]
fn one_slow_reply_does_not_fill_the_log_with_those_that_waited_for_it() {
    let (_servers, rmux) = start(1, &["-slowlogSlowerThan=40"]);
    let mut client = rmux.client();
    let mut pipeline = encode(&["EVAL", SLOW, "1", "culprit"]);
    (0..50).for_each(|_| pipeline.extend(encode(&["GET", "victim"])));
    client.send(&pipeline);
    client.replies(51);
    let entries = client.line("RMUX SLOWLOG GET -1");
    assert!(entries.contains("culprit"), "{entries}");
    assert!(entries.matches("victim").count() <= 2, "{entries}");
}

#[test]
fn what_gets_no_reply_in_time_and_what_is_turned_off() {
    let (servers, rmux) = start(1, &["-slowlogSlowerThan=40", "-remoteReadTimeout=100"]);
    let mut client = rmux.client();
    assert_eq!(client.line("SET k 1"), "+OK\r\n");
    servers[0].freeze();
    assert!(client.line("GET k").starts_with("-ERR No reply"));
    servers[0].thaw();
    assert!(client.line("RMUX SLOWLOG GET").contains("*2\r\n$3\r\nget\r\n$1\r\nk\r\n"));

    let (_servers, rmux) = start(1, &["-slowlogSlowerThan=0"]);
    let mut client = rmux.client();
    run_slowly(&mut client, "k");
    assert_eq!(client.line("RMUX SLOWLOG LEN"), ":0\r\n");
}

#[test]
fn status_and_servers_tell_of_all_threads() {
    for (count, threads_count) in [(1, 1), (2, 4)] {
        let (servers, rmux) = start(count, &[&threads(threads_count)]);
        let mut clients: Vec<Client> = (0..8).map(|_| rmux.client()).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            client.line(&format!("SET key:{number} 1"));
        }
        let status = clients[0].line("RMUX STATUS");
        assert!(status.contains(&format!("threads:{threads_count}\r\n")), "{status}");
        assert!(status.contains(&format!("\r\nservers_up:{count}\r\n")), "{status}");
        assert!(status.contains("\r\nconnected_clients:8\r\n") && status.contains("\r\nrequests:8\r\n"), "{status}");
        let shown = clients[1].line("RMUX SERVERS");
        for server in &servers {
            assert!(
                shown.contains(&format!("address={} role=master state=up ", server.address(Kind::Unix).flag_value())),
                "{shown}"
            );
        }
        assert!(shown.lines().all(|line| !line.contains(" why=") || line.ends_with(" why=")), "all is well: {shown}");
        // They may have been asked for over any thread.
        let latency = clients[3].line("RMUX LATENCY");
        assert!(latency.contains("waiting_for=connection count=8 p50_us="), "{latency}");
        let server = latency.split("waiting_for=server count=8 ").nth(1).expect("all of them were answered");
        let value = |name: &str| -> u64 {
            let at = server.find(name).expect(name) + name.len();
            server[at..].split([' ', '\n']).next().expect("a number").parse().expect("a number")
        };
        let percentiles = ["p50_us=", "p90_us=", "p99_us=", "p99.9_us=", "max_us="].map(value);
        assert!(percentiles[0] > 0 && percentiles.is_sorted(), "{latency}");
        clients[2].line("HELLO 3");
        for what in ["STATUS", "SERVERS", "LATENCY"] {
            assert!(clients[2].line(&format!("RMUX {what}")).starts_with('='), "{what}");
        }
        assert!(clients[2].line("RMUX RING a").starts_with("*1\r\n%8\r\n"));
    }
}

#[test]
fn it_is_a_command_as_any_other() {
    let (_servers, rmux) = start(2, &["-maxProcesses=4"]);
    let mut client = rmux.client();
    for (line, reply) in [
        ("RMUX", "-ERR wrong number of arguments for 'rmux' command\r\n"),
        ("RMUX nothing", "-ERR unknown subcommand 'nothing'. Try RMUX HELP.\r\n"),
        ("RMUX RING", "-ERR wrong number of arguments for 'rmux|ring' command\r\n"),
        ("RMUX STATUS x", "-ERR wrong number of arguments for 'rmux|status' command\r\n"),
        ("RMUX LATENCY x", "-ERR wrong number of arguments for 'rmux|latency' command\r\n"),
        ("RMUX SLOWLOG", "-ERR wrong number of arguments for 'rmux|slowlog' command\r\n"),
        ("RMUX SLOWLOG LEN x", "-ERR wrong number of arguments for 'rmux|slowlog' command\r\n"),
        ("RMUX SLOWLOG GET x", "-ERR value is not an integer or out of range\r\n"),
        ("RMUX SLOWLOG GET -2", "-ERR count should be greater than or equal to -1\r\n"),
        ("RMUX SLOWLOG what", "-ERR unknown subcommand 'what'. Try RMUX HELP.\r\n"),
    ] {
        assert_eq!(client.line(line), reply, "{line}");
    }
    let many = "k ".repeat(129);
    assert_eq!(client.line(&format!("RMUX RING {many}")), "-ERR RMUX RING takes 128 keys at the most\r\n");
    assert!(client.line("RMUX HELP").starts_with("*19\r\n+RMUX <subcommand>"));
    // In a transaction, each takes its place in the reply.
    let steps = ["SET a 1", "RMUX SLOWLOG LEN", "RMUX RING a", "RMUX STATUS", "RMUX LATENCY", "RMUX HELP"];
    for line in ["MULTI"].into_iter().chain(steps) {
        let expected = if line == "MULTI" { "+OK\r\n" } else { "+QUEUED\r\n" };
        assert_eq!(client.line(line), expected, "{line}");
    }
    let reply = client.line("EXEC");
    assert!(reply.starts_with("*6\r\n+OK\r\n:0\r\n*1\r\n*16\r\n") && reply.contains("+RMUX <sub"), "{reply}");
    assert_eq!(client.line("PING"), "+PONG\r\n");

    // Who wants no replies gets none, and what it asks is done.
    let (_servers, rmux) = start(1, &["-slowlogSlowerThan=40"]);
    let mut client = rmux.client();
    run_slowly(&mut client, "slow");
    assert_eq!(client.line("RMUX SLOWLOG LEN"), ":1\r\n");
    client.send(&encode(&["CLIENT", "REPLY", "OFF"]));
    for words in [&["RMUX", "STATUS"][..], &["RMUX", "RING", "a"], &["RMUX", "SLOWLOG", "RESET"]] {
        client.send(&encode(words));
    }
    assert_eq!(client.line("CLIENT REPLY ON"), "+OK\r\n");
    assert_eq!(client.line("RMUX SLOWLOG LEN"), ":0\r\n");

    let (_servers, rmux) = start(1, &["-denyCommands=rmux|slowlog"]);
    let mut client = rmux.client();
    assert_eq!(client.line("RMUX SLOWLOG LEN"), "-ERR This command is not supported\r\n");
    assert!(client.line("RMUX STATUS").starts_with('$'));
    let (_servers, rmux) = start(1, &["-denyCommands=RMUX"]);
    assert_eq!(rmux.client().line("RMUX STATUS"), "-ERR This command is not supported\r\n");
}
