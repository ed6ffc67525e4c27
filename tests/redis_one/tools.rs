//! redis-cli and redis-benchmark, as people have them at hand, run through rmux without complaint.

use crate::support::proxy::Front;
use crate::support::server::RedisServer;
use crate::support::{Address, KINDS, Kind, PATIENCE, Scratch, wait_for_exit};
use std::fs::{self, File};
use std::process::{Command, Stdio};

/// What a tool wrote, having ended with exit code 0 and nothing on standard error.
fn run(tool: &str, front: &Front, arguments: &[&str], input: &[u8]) -> String {
    let scratch = Scratch::new();
    let paths = ["in", "out", "err"].map(|name| scratch.join(name));
    fs::write(&paths[0], input).expect("the folder can be written");
    let address = match front.address() {
        Address::Tcp(port) => vec!["-h".into(), "127.0.0.1".into(), "-p".into(), port.to_string()],
        Address::Unix(path) => vec!["-s".into(), path.display().to_string()],
    };
    let mut child = Command::new(tool)
        .args(&address)
        .args(arguments)
        .stdin(Stdio::from(File::open(&paths[0]).expect("just written")))
        .stdout(Stdio::from(File::create(&paths[1]).expect("the folder can be written")))
        .stderr(Stdio::from(File::create(&paths[2]).expect("the folder can be written")))
        .spawn()
        .unwrap_or_else(|error| panic!("{tool} is installed (apt-get install redis-tools): {error}"));
    let status = wait_for_exit(&mut child, PATIENCE * 3);
    let _ = child.kill();
    let _ = child.wait();
    let [_, output, complaints] = paths.map(|path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned());
    let status = status.unwrap_or_else(|| panic!("{tool} {arguments:?} hangs: {output}{complaints}"));
    assert!(status.success(), "{tool} {arguments:?}: {status}: {output}{complaints}");
    // redis-benchmark says this to everyone who asks for a connection per request.
    let complaints: Vec<&str> =
        complaints.lines().filter(|line| !line.starts_with("WARNING: Keepalive disabled")).collect();
    assert_eq!(complaints, [""; 0], "{tool} {arguments:?} complains; its output: {output}");
    output
}

#[test]
fn redis_cli_runs_one_command_with_all_its_options() {
    for kind in KINDS {
        let server = RedisServer::start();
        let front = Front::of(kind, &server);
        let cli = |arguments: &[&str]| run("redis-cli", &front, arguments, b"");
        assert_eq!(cli(&["ping"]), "PONG\n");
        assert_eq!(cli(&["set", "user:1", "ann"]), "OK\n");
        assert_eq!(cli(&["get", "user:1"]), "ann\n");
        assert_eq!(cli(&["-n", "2", "get", "user:1"]), "\n");
        assert_eq!(cli(&["-n", "2", "set", "user:1", "bob"]), "OK\n");
        assert_eq!(cli(&["-n", "2", "get", "user:1"]), "bob\n");
        assert_eq!(cli(&["-r", "3", "incr", "n"]), "1\n2\n3\n");
        assert_eq!(cli(&["hset", "h", "a", "1", "b", "2"]), "2\n");
        assert_eq!(cli(&["-3", "hgetall", "h"]), "a 1\nb 2\n");
        assert_eq!(cli(&["--json", "hgetall", "h"]), "{\"a\":\"1\",\"b\":\"2\"}\n");
        assert_eq!(cli(&["--csv", "hgetall", "h"]), "\"a\",\"1\",\"b\",\"2\"\n");
        assert_eq!(cli(&["-e", "echo", "x"]), "x\n");
        assert!(cli(&["info", "server"]).contains("redis_version:"));
        assert!(cli(&["nosuch", "a"]).starts_with("ERR unknown command 'nosuch', with args beginning with: 'a'"));
        assert_eq!(cli(&["-x", "set", "from-stdin"]), "OK\n");
    }
}

#[test]
fn redis_cli_can_be_typed_into() {
    for kind in KINDS {
        let server = RedisServer::start();
        let front = Front::of(kind, &server);
        let input = b"set k v\nget k\nselect 3\nget k\nhello 3\nhgetall none\nping\nnosuch\nget k\nquit\n";
        let output = run("redis-cli", &front, &[], input);
        let wanted_start = "OK\nv\nOK\n\n";
        assert!(output.starts_with(wanted_start), "{output}");
        assert!(output.contains("PONG\nERR unknown command 'nosuch'"), "{output}");
    }
}

#[test]
fn redis_cli_pipe_loses_nothing() {
    for kind in KINDS {
        let server = RedisServer::start();
        let front = Front::of(kind, &server);
        let mut input = Vec::new();
        for number in 0..20_000 {
            input.extend(crate::support::client::encode(&["SET", &format!("key:{number}"), &number.to_string()]));
        }
        let output = run("redis-cli", &front, &["--pipe"], &input);
        assert!(output.contains("errors: 0, replies: 20000"), "{output}");
        assert_eq!(server.client().line("DBSIZE"), ":20000\r\n");
    }
}

#[test]
fn redis_cli_finds_every_key_by_scanning() {
    let server = RedisServer::start();
    let front = Front::of(Kind::Unix, &server);
    for number in 0..300 {
        server.client().line(&format!("SET key:{number} x"));
    }
    let output = run("redis-cli", &front, &["--scan", "--pattern", "key:*"], b"");
    assert_eq!(output.lines().count(), 300);
    let output = run("redis-cli", &front, &["--bigkeys"], b"");
    assert!(output.contains("Sampled 300 keys in the keyspace!"), "{output}");
}

#[test]
fn redis_benchmark_runs_without_an_error() {
    const TESTS: &str =
        "ping_inline,ping_mbulk,set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,spop,zadd,zpopmin,lrange_100,mset";
    for kind in KINDS {
        let server = RedisServer::start();
        let front = Front::of(kind, &server);
        for arguments in [
            &["-n", "2000", "-c", "20", "-t", TESTS][..],
            &["-n", "4000", "-c", "50", "-P", "16", "-t", TESTS],
            &["-n", "2000", "-3", "-t", "ping_mbulk,set,get,hset"],
            &["-n", "2000", "--dbnum", "2", "-t", "set,get"],
            &["-n", "500", "-k", "0", "-t", "set,get"],
            &["-n", "2000", "-r", "100000", "-d", "1000", "-t", "set,get"],
            &["-n", "200", "-d", "100000", "-t", "set,get"],
            &["-n", "2000", "--threads", "2", "-t", "set,get"],
            &["-n", "2000", "--csv", "set", "k:__rand_int__", "v"],
        ] {
            let all = [&["-q"], arguments].concat();
            let output = run("redis-benchmark", &front, &all, b"");
            assert!(!output.contains("rror"), "{arguments:?}: {output}");
        }
        if !crate::support::is_direct() {
            assert_ne!(server.client().line("DBSIZE"), ":0\r\n", "the requests arrived");
        }
    }
}
