//! Commands for several servers at once, held against one single Redis that has all the keys.
//!
//! The same requests go to a redis-server directly, and through rmux to four of them; the replies are compared byte for
//! byte. Where Redis promises no order (KEYS, SCAN), sorted.

use crate::support::client::{Client, body, encode, show};
use crate::support::golden::key_for_each;
use crate::support::proxy::Rmux;
use crate::support::server::RedisServer;
use crate::support::{Kind, PATIENCE, wait_until};

fn servers(count: usize) -> Vec<RedisServer> {
    (0..count).map(|_| RedisServer::start()).collect()
}

fn rmux_for(kind: Kind, servers: &[RedisServer], flags: &[&str]) -> Rmux {
    Rmux::in_front_of(kind, &servers.iter().collect::<Vec<_>>(), flags)
}

/// A small generator of numbers; a failure prints the seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// The elements of an array of bulk strings, sorted.
fn sorted(reply: &[u8]) -> Vec<String> {
    assert_eq!(reply[0], b'*', "{}", show(reply));
    let text = String::from_utf8(reply.to_vec()).expect("these keys are text");
    let mut words: Vec<String> = text.split("\r\n").skip(2).step_by(2).map(str::to_owned).collect();
    words.sort();
    words
}

/// The cursor and the sorted elements of a reply to SCAN.
fn scanned(reply: &[u8]) -> (String, Vec<String>) {
    let text = show(reply);
    let after_head = text.strip_prefix("*2\r\n").unwrap_or_else(|| panic!("no reply to SCAN: {text}"));
    let cursor = after_head.split("\r\n").nth(1).expect("a cursor").to_owned();
    let list = reply[4 + format!("${}\r\n{cursor}\r\n", cursor.len()).len()..].to_vec();
    (cursor, sorted(&list))
}

/// All that a scan finds, sorted, each once.
fn scan(client: &mut Client, options: &[&str]) -> Vec<String> {
    let mut cursor = "0".to_owned();
    let mut found = Vec::new();
    for _ in 0..100_000 {
        let words: Vec<&str> = ["SCAN", &cursor].into_iter().chain(options.iter().copied()).collect();
        let (next, keys) = scanned(&client.cmd(&words));
        found.extend(keys);
        cursor = next;
        if cursor == "0" {
            found.sort();
            found.dedup();
            return found;
        }
    }
    panic!("a scan without end");
}

#[test]
fn commands_in_parts_say_what_one_redis_would() {
    let (one, four) = (RedisServer::start(), servers(4));
    for (kind, hello, seed) in [(Kind::Unix, "HELLO 2", 7), (Kind::Tcp, "HELLO 3", 8)] {
        let rmux = rmux_for(kind, &four, &[]);
        let (mut direct, mut client) = (one.client(), rmux.client());
        for peer in [&mut direct, &mut client] {
            peer.line(hello);
            assert_eq!(peer.line("FLUSHALL"), "+OK\r\n");
        }
        let mut random = Random(seed);
        for round in 0..400 {
            // A pipeline of a few, of which some have one key, some many, some a large value.
            let mut requests = Vec::new();
            let count = 1 + random.below(6);
            for _ in 0..count {
                let keys: Vec<String> =
                    (0..1 + random.below(30)).map(|_| format!("key:{}", random.below(60))).collect();
                let name = ["MGET", "MGET", "MSET", "MSET", "DEL", "UNLINK", "EXISTS", "TOUCH", "RPUSH", "DBSIZE"]
                    [random.below(10)];
                let words: Vec<String> = match name {
                    "MSET" => {
                        let value = |random: &mut Random| match random.below(40) {
                            0 => "large".repeat(30_000),
                            1 => String::new(),
                            other => format!("{round}\r\n{other}"),
                        };
                        keys.iter().flat_map(|key| [key.clone(), value(&mut random)]).collect()
                    }
                    "RPUSH" => vec![format!("list:{}", random.below(9)), "x".to_owned()],
                    "DBSIZE" => vec![],
                    "MGET" => keys.into_iter().chain(["list:1".to_owned(), "never".to_owned()]).collect(),
                    _ => keys,
                };
                let words: Vec<&str> = std::iter::once(name).chain(words.iter().map(String::as_str)).collect();
                requests.extend(encode(&words));
            }
            direct.send(&requests);
            client.send(&requests);
            for number in 0..count {
                let (wanted, found) = (direct.reply(), client.reply());
                assert!(
                    found == wanted,
                    "seed {seed}, round {round}, reply {number}: {} for {}",
                    show(&found),
                    show(&wanted)
                );
            }
        }
        assert_eq!(sorted(&client.cmd(&["KEYS", "*"])), sorted(&direct.cmd(&["KEYS", "*"])));
    }
}

#[test]
fn a_scan_finds_every_key_and_ends() {
    let (one, four) = (RedisServer::start(), servers(4));
    let rmux = rmux_for(Kind::Unix, &four, &[]);
    let (mut direct, mut client) = (one.client(), rmux.client());
    assert_eq!(
        show(&client.cmd(&["SCAN", "0"])).len(),
        show(&direct.cmd(&["SCAN", "0"])).len(),
        "three empty servers more"
    );
    for number in 0..3_000 {
        let (name, key) = (if number % 10 == 0 { "RPUSH" } else { "SET" }, format!("key:{number}"));
        for peer in [&mut direct, &mut client] {
            peer.send(&encode(&[name, &key, "v"]));
        }
    }
    for peer in [&mut direct, &mut client] {
        peer.replies(3_000);
    }
    for options in [
        &[][..],
        &["COUNT", "1000"],
        &["MATCH", "*7*", "COUNT", "50"],
        &["TYPE", "list", "COUNT", "77"],
        &["MATCH", "none"],
    ] {
        assert_eq!(scan(&mut client, options), scan(&mut direct, options), "{options:?}");
    }
    assert_eq!(scan(&mut client, &[]).len(), 3_000);
    assert_eq!(sorted(&client.cmd(&["KEYS", "key:1*"])), sorted(&direct.cmd(&["KEYS", "key:1*"])));
    assert_eq!(client.line("SCAN x"), direct.line("SCAN x"));
    assert_eq!(client.line("SCAN 0 COUNT x"), direct.line("SCAN 0 COUNT x"));
    let random = |client: &mut Client| client.cmd(&["RANDOMKEY"]);
    let mut holders = [false; 4];
    for _ in 0..200 {
        let key = random(&mut client);
        for (server, holds) in four.iter().zip(&mut holders) {
            *holds = *holds || server.client().cmd(&[b"EXISTS".as_slice(), body(&key)]) == b":1\r\n";
        }
    }
    assert_eq!(holders, [true; 4], "not always the same server's");
    assert_eq!(client.line("FLUSHDB"), "+OK\r\n");
    assert_eq!(four.iter().map(|server| server.client().line("DBSIZE")).collect::<String>(), ":0\r\n".repeat(4));
    assert_eq!(show(&random(&mut client)), "$-1\r\n");
}

#[test]
fn scripts_and_functions_are_on_every_server() {
    let four = servers(4);
    let rmux = rmux_for(Kind::Tcp, &four, &[]);
    let keys = key_for_each(4);
    let mut client = rmux.client();
    let sha = show(body(&client.cmd(&["SCRIPT", "LOAD", "return redis.call('SET', KEYS[1], ARGV[1])"])));
    assert_eq!(client.line(&format!("SCRIPT EXISTS {sha} {}", "0".repeat(40))), "*2\r\n:1\r\n:0\r\n");
    for key in &keys {
        assert_eq!(show(&client.cmd(&[b"EVALSHA".as_slice(), sha.as_bytes(), b"1", key, b"v"])), "+OK\r\n");
    }
    four[2].client().line("SCRIPT FLUSH");
    let call = [b"EVALSHA".as_slice(), sha.as_bytes(), b"1", &keys[2], b"v"];
    assert_eq!(show(&client.cmd(&call)), "+OK\r\n", "it is given what it has forgotten");
    four[2].client().line("SCRIPT FLUSH");
    assert_eq!(client.line(&format!("SCRIPT EXISTS {sha}")), "*1\r\n:0\r\n", "not everywhere is not there");
    assert_eq!(client.line("SCRIPT FLUSH"), "+OK\r\n");
    let library =
        "#!lua name=lib\nredis.register_function('put', function(k, a) return redis.call('SET', k[1], a[1]) end)";
    assert_eq!(show(&client.cmd(&["FUNCTION", "LOAD", library])), "$3\r\nlib\r\n");
    for key in &keys {
        assert_eq!(show(&client.cmd(&[b"FCALL".as_slice(), b"put", b"1", key, b"v"])), "+OK\r\n");
    }
    assert_eq!(show(&client.cmd(&["FUNCTION", "LOAD", library])), "-ERR Library 'lib' already exists\r\n");
    assert_eq!(client.line("FUNCTION DELETE lib"), "+OK\r\n");
    assert_eq!(client.line("PUBSUB NUMSUB x"), "*2\r\n$1\r\nx\r\n:0\r\n");
}

#[test]
fn a_dead_server_is_an_error_and_never_a_nil() {
    let mut four = servers(4);
    let keys = key_for_each(4);
    for flags in [&["-failover=false"][..], &[]] {
        let rmux = rmux_for(Kind::Unix, &four, flags);
        let mut client = rmux.client();
        let mset: Vec<&[u8]> =
            std::iter::once(&b"MSET"[..]).chain(keys.iter().flat_map(|key| [key.as_slice(), b"v"])).collect();
        let mget: Vec<&[u8]> = std::iter::once(&b"MGET"[..]).chain(keys.iter().map(Vec::as_slice)).collect();
        assert_eq!(show(&client.cmd(&mset)), "+OK\r\n");
        let whole = format!("*4\r\n{}", "$1\r\nv\r\n".repeat(4));
        assert_eq!(show(&client.cmd(&mget)), whole);
        four[1].kill();
        if !flags.is_empty() {
            wait_until("rmux to notice the dead server", PATIENCE, || {
                let reply = client.cmd(&mget);
                assert!(reply == whole.as_bytes() || reply[0] == b'-', "{}", show(&reply));
                rmux.info("active_endpoints") == "3"
            });
            assert_eq!(show(&client.cmd(&mget)), "-ERR Connection down\r\n");
            assert_eq!(show(&client.cmd(&mset)), "-ERR Connection down\r\n");
        } else {
            wait_until("rmux to notice the dead server", PATIENCE, || rmux.info("active_endpoints") == "3");
            assert_eq!(show(&client.cmd(&mset)), "+OK\r\n", "another one stands in");
            assert_eq!(show(&client.cmd(&mget)), whole);
        }
        for line in ["KEYS *", "DBSIZE", "RANDOMKEY", "FLUSHALL", "SCAN 1"] {
            assert_eq!(client.line(line), "-ERR Connection down\r\n", "{line}");
        }
        four[1].revive();
        wait_until("rmux to notice that it is back", PATIENCE, || rmux.info("active_endpoints") == "4");
        assert_eq!(client.line("FLUSHALL"), "+OK\r\n");
    }
}
