//! Reads from replicas, against real redis-servers: a master and two replicas of its, which fail in every way.
//!
//! Each server has a key `who` of its own, written to it past rmux, so that a read tells who has answered it.

mod support;

use std::fs;
use std::time::{Duration, Instant};
use support::client::{Client, body, show, text};
use support::http;
use support::process::Process;
use support::proxy::Rmux;
use support::server::{RedisServer, redis_server};
use support::{Address, PATIENCE, Scratch, free_port, wait_until};

/// A master, two replicas, and rmux in front of them.
struct Setup {
    master: RedisServer,
    replicas: [RedisServer; 2],
    rmux: Rmux,
    admin: Address,
}

impl Setup {
    fn start(read_from: &str, replica_settings: &[&str]) -> Setup {
        Setup::start_in(Scratch::new(), read_from, replica_settings, |master, [first, second]| {
            format!(r#"[{{"master": "{master}", "replicas": ["{first}", "{second}"]}}]"#)
        })
    }

    /// The same, where `places` makes the value of `tcpConnections`, and perhaps more, of the addresses of all.
    fn start_in(
        folder: Scratch,
        read_from: &str,
        replica_settings: &[&str],
        places: impl FnOnce(&str, [&str; 2]) -> String,
    ) -> Setup {
        let master = RedisServer::start_with(&["--repl-diskless-sync-delay", "0", "--enable-debug-command", "yes"]);
        let port = master.port().to_string();
        let settings = ["--replicaof", "127.0.0.1", &port, "--replica-read-only", "no"];
        let all = [&settings[..], &["--enable-debug-command", "yes"], replica_settings].concat();
        let replicas = [(); 2].map(|()| RedisServer::start_with(&all));
        let socket = folder.join("rmux.sock");
        let file = folder.join("rmux.json");
        let [first, second] = [&replicas[0], &replicas[1]].map(|replica| format!("127.0.0.1:{}", replica.port()));
        let places = places(&format!("127.0.0.1:{port}"), [&first, &second]);
        let pool =
            format!(r#"[{{"socket": "{}", "tcpConnections": {places}, "readFrom": "{read_from}"}}]"#, socket.display());
        fs::write(&file, pool).expect("a folder of its own");
        replicas.iter().for_each(await_link);
        master.ask("SET who master");
        for (replica, name) in replicas.iter().zip(["first", "second"]) {
            wait_until("the master's word", PATIENCE, || show(&replica.ask("GET who")).contains("master"));
            replica.ask(&format!("SET who {name}"));
        }
        let admin = Address::Unix(folder.join("admin.sock"));
        let flags = [format!("-config={}", file.display()), format!("-admin={}", admin.flag_value())];
        let rmux = Rmux::start_at(Address::Unix(socket), folder, &[&flags[0], &flags[1]]);
        let setup = Setup { master, replicas, rmux, admin };
        if read_from != "master" {
            setup.await_readers(&["first", "second"]);
        }
        setup
    }

    /// Who answers a read of a new connection.
    fn who(&self) -> String {
        who(&mut self.rmux.client())
    }

    /// Waits until reads of new connections are answered by all of these, and by nobody else.
    fn await_readers(&self, names: &[&str]) {
        wait_until(&format!("reads from {names:?}"), PATIENCE, || {
            let answers: Vec<String> = (0..8).map(|_| self.who()).collect();
            answers.iter().all(|name| names.contains(&name.as_str()))
                && names.iter().all(|name| answers.iter().any(|answer| answer == name))
        });
    }
}

fn who(client: &mut Client) -> String {
    let reply = client.cmd(&["GET", "who"]);
    if reply.starts_with(b"$") && reply != b"$-1\r\n" { text(&reply) } else { show(&reply) }
}

/// False for an error.
fn is_server(name: &str) -> bool {
    ["master", "first", "second"].contains(&name)
}

fn await_link(replica: &RedisServer) {
    wait_until("a link to the master", PATIENCE, || show(&replica.ask("ROLE")).contains("connected"));
}

#[test]
fn reads_come_from_replicas_and_all_else_from_the_master() {
    let setup = Setup::start("preferReplica", &[]);
    let mut client = setup.rmux.client();
    let own = who(&mut client);
    assert_ne!(own, "master");
    for _ in 0..100 {
        assert_eq!(who(&mut client), own, "a client stays with its replica");
    }
    client.send(b"MULTI\r\nGET who\r\nEXEC\r\n");
    assert!(show(&client.replies(3)[2]).contains("master"));
    client.cmd(&["MULTI"]);
    client.cmd(&["GET", "who"]);
    assert!(show(&client.cmd(&["EXEC"])).contains("master"));
    client.cmd(&["WATCH", "other"]);
    assert_eq!(who(&mut client), "master");
    client.cmd(&["UNWATCH"]);
    assert_eq!(who(&mut client), own);
    let script = "return redis.call('GET', KEYS[1])";
    assert!(show(&client.cmd(&["EVAL_RO", script, "1", "who"])).contains(&own));
    let digest = text(&client.cmd(&["SCRIPT", "LOAD", "return {redis.call('GET', KEYS[1]), 1}"]));
    assert!(show(&client.cmd(&["EVALSHA_RO", &digest, "1", "who"])).contains("master"), "which alone knows it");
    // Writes are the master's, and who reads what it wrote sees it, on whichever connection.
    for number in 0..300 {
        let (key, value) = (format!("key:{number}"), number.to_string());
        assert_eq!(setup.rmux.client().cmd(&["SET", &key, &value]), b"+OK\r\n");
        assert_eq!(body(&setup.rmux.client().cmd(&["GET", &key])), value.as_bytes());
        client.send(format!("INCR {key}\r\nGET {key}\r\nDEL {key}\r\nGET {key}\r\n").as_bytes());
        let replies = client.replies(4);
        let next = (number + 1).to_string();
        assert_eq!(
            show(&replies.concat()),
            show(format!(":{next}\r\n${}\r\n{next}\r\n:1\r\n$-1\r\n", next.len()).as_bytes())
        );
    }
    assert_eq!(show(&setup.master.ask("DBSIZE")), ":1\r\n");
    for replica in &setup.replicas {
        wait_until("what the master has", PATIENCE, || show(&replica.ask("DBSIZE")) == ":1\r\n");
        let seen = text(&replica.ask("INFO commandstats"));
        for command in ["cmdstat_multi", "cmdstat_watch"] {
            assert!(!seen.contains(command), "{seen}");
        }
    }
}

#[test]
fn a_read_in_front_of_a_write_does_not_see_it() {
    let setup = Setup::start("preferReplica", &[]);
    let mut client = setup.rmux.client();
    for number in 0..300 {
        let key = format!("key:{number}");
        setup.master.ask(&format!("SET {key} old"));
        for replica in &setup.replicas {
            wait_until("the old value", PATIENCE, || show(&replica.ask(&format!("GET {key}"))).contains("old"));
        }
        client.send(format!("GET {key}\r\nDEL {key}\r\n").as_bytes());
        assert_eq!(client.replies(2).concat(), b"$3\r\nold\r\n:1\r\n");
    }
}

#[test]
fn replicas_that_die_are_done_without_and_come_back() {
    let mut setup = Setup::start("preferReplica", &[]);
    let mut clients: Vec<Client> = (0..8).map(|_| setup.rmux.client()).collect();
    setup.replicas[0].kill();
    for client in &mut clients {
        assert!(is_server(&who(client)), "no error");
    }
    setup.await_readers(&["second"]);
    setup.replicas[1].kill();
    for client in &mut clients {
        assert!(is_server(&who(client)), "no error");
    }
    setup.await_readers(&["master"]);
    setup.replicas[1].revive();
    await_link(&setup.replicas[1]);
    setup.replicas[1].ask("SET who second");
    setup.await_readers(&["second"]);
    assert!(setup.rmux.log().contains("is down: "), "{}", setup.rmux.log());
    // Without a master there are reads, and nothing else.
    setup.master.kill();
    wait_until("an error", PATIENCE, || setup.rmux.client().cmd(&["SET", "a", "1"]) == b"-ERR Connection down\r\n");
    wait_until("a lost link", PATIENCE, || !show(&setup.replicas[1].ask("ROLE")).contains("connected"));
    setup.await_readers(&["second"]);
}

#[test]
fn a_replica_that_hangs_costs_time_once_and_no_errors() {
    let setup = Setup::start("preferReplica", &[]);
    let mut clients: Vec<Client> = (0..8).map(|_| setup.rmux.client()).collect();
    let own: Vec<String> = clients.iter_mut().map(who).collect();
    setup.replicas[0].freeze();
    let start = Instant::now();
    for (client, own) in clients.iter_mut().zip(&own) {
        let now = who(client);
        assert!(now == *own && own == "second" || own == "first" && now != "first", "{own} {now}");
    }
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    setup.await_readers(&["second"]);
    setup.replicas[0].thaw();
    setup.await_readers(&["first", "second"]);
}

#[test]
fn a_replica_without_its_master_is_not_read_from() {
    for settings in [&[][..], &["--replica-serve-stale-data", "no"]] {
        let setup = Setup::start("preferReplica", settings);
        let mut client = setup.rmux.client();
        // Nobody is there.
        for replica in &setup.replicas {
            replica.ask("REPLICAOF 127.0.0.1 1");
        }
        for _ in 0..1_000 {
            assert!(is_server(&who(&mut client)), "no error");
        }
        setup.await_readers(&["master"]);
        assert!(setup.rmux.log().contains("is not read from: "), "{}", setup.rmux.log());
        for replica in &setup.replicas {
            replica.ask(&format!("REPLICAOF 127.0.0.1 {}", setup.master.port()));
        }
        setup.replicas.iter().for_each(await_link);
        for (replica, name) in setup.replicas.iter().zip(["first", "second"]) {
            replica.ask(&format!("SET who {name}"));
        }
        setup.await_readers(&["first", "second"]);
        // One that has become a master is none that is read from.
        setup.replicas[0].ask("REPLICAOF NO ONE");
        setup.await_readers(&["second"]);
    }
}

#[test]
fn a_replica_that_loads_its_data_is_not_read_from() {
    let setup = Setup::start("preferReplica", &["--loading-process-events-interval-bytes", "1024"]);
    setup.master.ask("DEBUG POPULATE 20000 x 100");
    let replica = &setup.replicas[0];
    assert_eq!(replica.ask("CONFIG SET key-load-delay 200"), b"+OK\r\n");
    let mut clients: Vec<Client> = (0..8).map(|_| setup.rmux.client()).collect();
    // It has to copy everything.
    setup.master.ask("DEBUG CHANGE-REPL-ID");
    let mut past = replica.client();
    past.cmd(&["CLIENT", "KILL", "TYPE", "master"]);
    let mut has_loaded = false;
    wait_until("the end of loading", PATIENCE, || {
        for client in &mut clients {
            assert!(is_server(&who(client)), "no error");
        }
        let is_loading = show(&past.cmd(&["GET", "who"])).contains("LOADING");
        has_loaded |= is_loading;
        has_loaded && !is_loading
    });
    replica.ask("CONFIG SET key-load-delay 0");
    await_link(replica);
    replica.ask("SET who first");
    setup.await_readers(&["first", "second"]);
}

#[test]
fn with_replicas_alone_the_master_is_read_by_nobody() {
    let mut setup = Setup::start("replica", &[]);
    setup.replicas[0].kill();
    setup.await_readers(&["second"]);
    setup.replicas[1].kill();
    wait_until("an error", PATIENCE, || setup.rmux.client().cmd(&["GET", "who"]) == b"-ERR Connection down\r\n");
    assert_eq!(setup.rmux.client().cmd(&["SET", "a", "1"]), b"+OK\r\n");
}

#[test]
fn a_pool_of_which_replicas_alone_are_up_is_not_ready() {
    let mut setup = Setup::start("preferReplica", &[]);
    let ready = |setup: &Setup| http::get(&setup.admin, "/readyz");
    wait_until("it is ready", PATIENCE, || ready(&setup).status == 200);
    setup.master.kill();
    wait_until("it is not ready", PATIENCE, || ready(&setup).status == 503);
    let place = setup.rmux.address().flag_value();
    let reason = format!("pool {place}: no master is up, and replicas answer reads alone\n");
    assert_eq!(ready(&setup).body, reason);
    assert_ne!(setup.who(), "master", "reads are answered");
    setup.master.revive();
    wait_until("it is ready again", PATIENCE, || ready(&setup).status == 200);
}

#[test]
fn reads_are_the_masters_unless_it_is_said_otherwise() {
    let setup = Setup::start("master", &[]);
    for _ in 0..8 {
        assert_eq!(setup.who(), "master");
    }
    assert_eq!(setup.replicas[0].clients_connected(), 1, "its master alone");
}

#[test]
fn replicas_that_sentinels_know_are_read_from() {
    let folder = Scratch::new();
    let (port, file) = (free_port(), folder.join("sentinel.conf"));
    let log = folder.join("sentinel.log");
    let mut sentinel = None;
    let setup = Setup::start_in(folder, "preferReplica", &[], |master, _| {
        let place = master.replace(':', " ");
        let rules = ["down-after-milliseconds cache-1 1000", "failover-timeout cache-1 3000"];
        let rules = rules.map(|rule| format!("sentinel {rule}")).join("\n");
        fs::write(&file, format!("port {port}\nsentinel monitor cache-1 {place} 1\n{rules}\n")).expect("a folder");
        let mut command = redis_server();
        command.args([file.as_os_str(), "--sentinel".as_ref()]);
        sentinel = Some(Process::start("redis-sentinel", &mut command, &log).expect("it is installed"));
        format!(r#"[{{"master": "cache-1"}}], "sentinels": ["127.0.0.1:{port}"]"#)
    });
    assert_eq!(setup.rmux.client().cmd(&["SET", "a", "1"]), b"+OK\r\n");
    // What was told stays when the file is read again, which knows nothing of it.
    let done = |log: &str| log.contains("reload: done");
    setup.rmux.signal("HUP");
    wait_until("the end of a reload", PATIENCE, || done(&setup.rmux.log()));
    for _ in 0..20 {
        assert!(["first", "second"].contains(&setup.who().as_str()));
    }
    // One of them becomes master: it is none that is read from, and takes the writes.
    wait_until("a switch", PATIENCE, || {
        Client::connect(&Address::Tcp(port)).cmd(&["SENTINEL", "FAILOVER", "cache-1"]) == b"+OK\r\n"
    });
    // A sentinel that makes another server of one closes its connections.
    let told = |server: &RedisServer, words: &[&str]| {
        server.client().try_cmd(words).map_or_else(|_| String::new(), |reply| show(&reply))
    };
    let mut promoted = None;
    wait_until("another master", PATIENCE, || {
        promoted = setup.replicas.iter().find(|replica| told(replica, &["ROLE"]).contains("master"));
        promoted.is_some()
    });
    let promoted = promoted.expect("it was seen");
    wait_until("a write to it", PATIENCE, || {
        setup.rmux.client().cmd(&["SET", "b", "1"]);
        told(promoted, &["GET", "b"]) == "$1\r\n1\r\n"
    });
    for _ in 0..100 {
        assert_ne!(show(&setup.rmux.client().cmd(&["GET", "b"])), "-ERR Connection down\r\n");
    }
}
