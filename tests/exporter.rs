//! What Debian's prometheus-redis-exporter makes of rmux: the same with several servers as with one, where a sum means
//! something.
//!
//! The program itself is asked; where it is not installed, this is skipped with a word (`tests/run.sh` installs it).

mod support;

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use support::process::Process;
use support::proxy::{PATIENT, Rmux};
use support::server::RedisServer;
use support::{Address, Kind, PATIENCE, Scratch, free_port, wait_until};

/// What an exporter shows that asks there; `None` where there is no such program.
fn exported(address: &Address) -> Option<HashMap<String, f64>> {
    Command::new("prometheus-redis-exporter").arg("-version").output().ok()?;
    let (scratch, port) = (Scratch::new(), free_port());
    let url = match address {
        Address::Unix(path) => format!("unix://{}", path.display()),
        Address::Tcp(port) => format!("redis://127.0.0.1:{port}"),
    };
    let listen = format!("127.0.0.1:{port}");
    let mut command = Command::new("prometheus-redis-exporter");
    command.args(["-redis.addr", &url, "-web.listen-address", &listen]);
    let mut exporter =
        Process::start("the exporter", &mut command, &scratch.join("exporter.log")).expect("it can be started");
    let page = exporter.await_ready(|| page(&listen).map_err(|error| error.to_string())).expect("it answers");
    let metrics = page.lines().filter(|line| line.starts_with("redis_")).map(|line| {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        (name.to_owned(), value.parse().expect("a number"))
    });
    Some(metrics.collect())
}

fn page(listen: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(listen)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}

#[test]
fn it_shows_of_several_servers_what_it_shows_of_one() {
    let alone = RedisServer::start();
    let servers = [RedisServer::start(), RedisServer::start(), RedisServer::start()];
    let rmux = Rmux::in_front_of(Kind::Unix, &servers.iter().collect::<Vec<_>>(), &[PATIENT]);
    wait_until("all servers to be up", PATIENCE, || rmux.info("active_endpoints") == "3");
    let mut clients = [alone.client(), rmux.client()];
    for client in &mut clients {
        for key in 0..60 {
            client.line(&format!("SET key-{key} value"));
            client.line(&format!("GET key-{key}"));
        }
        client.line("EXPIRE key-7 1000");
        client.line("GET none");
        client.line("LPUSH key-1 x");
    }
    let of = |address: &Address| exported(address);
    let (Some(direct), Some(through)) = (of(&alone.address(Kind::Unix)), of(rmux.address())) else {
        eprintln!("skipped: there is no prometheus-redis-exporter");
        return;
    };
    for name in [
        "redis_db_keys{db=\"db0\"}",
        "redis_db_keys{db=\"db1\"}",
        "redis_db_keys_expiring{db=\"db0\"}",
        "redis_keyspace_hits_total",
        "redis_keyspace_misses_total",
        "redis_commands_total{cmd=\"set\"}",
        "redis_commands_total{cmd=\"get\"}",
        "redis_commands_failed_calls_total{cmd=\"lpush\"}",
        "redis_errors_total{err=\"WRONGTYPE\"}",
        "redis_blocked_clients",
        "redis_memory_max_bytes",
        "redis_up",
    ] {
        assert_eq!(through.get(name), direct.get(name), "{name}");
        assert!(through.contains_key(name), "{name}");
    }
    // The client, and the exporter itself.
    assert_eq!(through["redis_connected_clients"], 2.0);
    assert_eq!(through["redis_process_id"], f64::from(rmux.process_id()));
    assert!(through["redis_memory_used_bytes"] > 2.0 * direct["redis_memory_used_bytes"]);
    assert!(through["redis_net_output_bytes_total"] > 0.0 && through["redis_cpu_user_seconds_total"] > 0.0);
    // What is left out is what only one server can tell: when it saved, whom it replicates, what was slow.
    let names = |metrics: &HashMap<String, f64>| -> HashSet<String> {
        metrics.keys().map(|name| name.split('{').next().expect("a name").to_owned()).collect()
    };
    let (all, shown) = (names(&direct), names(&through));
    let missing: Vec<_> = all.difference(&shown).collect();
    assert!(3 * missing.len() < all.len(), "of {}, these are missing: {missing:?}", all.len());
}
