//! Who may do what, with real servers: passwords on both sides, users, and what a pool allows, denies and declares.
//!
//! Each test starts its own servers and its own rmux. What must never come out (a password) and what must never come in
//! (a refused command) is looked for where it would show: in the log and the list of processes, and in the servers' own
//! count of commands.

mod support;

use std::collections::BTreeSet;
use std::fs;

use support::client::{Client, NoReply, body, bulk, encode, show};
use support::proxy::{Rmux, connections_flag};
use support::server::RedisServer;
use support::{Address, KINDS, Kind, PATIENCE, Scratch, free_port, wait_until};

const WRONG: &str = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
const NO_AUTH: &str = "-NOAUTH Authentication required.\r\n";
const REFUSED: &str = "-ERR This command is not supported\r\n";

/// An rmux with a configuration file: one pool, with these keys beside its addresses.
fn rmux(kind: Kind, servers: &[&RedisServer], keys: &str) -> Rmux {
    rmux_with(kind, servers, keys, &[])
}

fn rmux_with(kind: Kind, servers: &[&RedisServer], keys: &str, flags: &[&str]) -> Rmux {
    let scratch = Scratch::new();
    let (address, listen) = match kind {
        Kind::Tcp => {
            let port = free_port();
            (Address::Tcp(port), format!(r#""host": "127.0.0.1", "port": {port}"#))
        }
        Kind::Unix => {
            let path = scratch.join("rmux.sock");
            let listen = format!(r#""socket": "{}""#, path.display());
            (Address::Unix(path), listen)
        }
    };
    let list: Vec<String> = servers.iter().map(|server| format!("{:?}", server.address(kind).flag_value())).collect();
    let key = if kind == Kind::Tcp { "tcpConnections" } else { "unixConnections" };
    let config = scratch.join("rmux.json");
    fs::write(&config, format!(r#"[{{{listen}, "{key}": [{}], {keys}}}]"#, list.join(", "))).expect("written");
    let config = format!("-config={}", config.display());
    let mut all = vec![config.as_str()];
    all.extend_from_slice(flags);
    Rmux::start_at(address, scratch, &all)
}

/// What the server has been asked to do, by name.
fn commands_seen(direct: &mut Client) -> BTreeSet<String> {
    let reply = direct.cmd(&["INFO", "commandstats"]);
    let text = String::from_utf8_lossy(body(&reply)).into_owned();
    text.lines().filter_map(|line| Some(line.strip_prefix("cmdstat_")?.split(':').next()?.to_owned())).collect()
}

#[test]
fn rmux_logs_in_to_its_servers() {
    let by_password = RedisServer::start_with(&["--requirepass", "s3cr3t+one"]);
    let by_user =
        RedisServer::start_with(&["--user", "app", "on", ">hunter2", "~*", "&*", "+@all", "--user", "default", "off"]);
    for kind in KINDS {
        for (server, keys, login) in [
            (&by_password, r#""remotePassword": "s3cr3t+one""#, &["AUTH", "s3cr3t+one"][..]),
            (&by_user, r#""remoteUser": "app", "remotePassword": "hunter2""#, &["AUTH", "app", "hunter2"]),
        ] {
            let rmux = rmux(kind, &[server], keys);
            let mut client = rmux.client();
            assert_eq!(client.line("SET k v"), "+OK\r\n");
            assert_eq!(client.line("SELECT 5"), "+OK\r\n");
            assert_eq!(client.line("SET k five"), "+OK\r\n");
            assert!(client.line("HELLO 3").starts_with("%7\r\n"));
            assert_eq!(client.line("GET k"), "$4\r\nfive\r\n");
            assert_eq!(rmux.client().line("GET k"), "$1\r\nv\r\n");
            // The connection that hears for all of them logs in as well.
            let mut hearing = rmux.client();
            assert!(hearing.line("SUBSCRIBE news").ends_with(":1\r\n"));
            assert_eq!(client.line("PUBLISH news x"), ":1\r\n");
            assert!(show(&hearing.reply()).starts_with("*3\r\n$7\r\nmessage\r\n"));
            let mut direct = server.client();
            assert_eq!(show(&direct.cmd(login)), "+OK\r\n");
            // Whatever a client says about itself, the server hears nothing of it.
            let seen = direct.line("CLIENT LIST");
            let user = if login.len() == 3 { "user=app" } else { "user=default" };
            assert!(seen.lines().filter(|line| line.contains("cmd=get")).all(|line| line.contains(user)), "{seen}");
            assert!(!rmux.log().contains(login[login.len() - 1]));
        }
    }
}

#[test]
fn a_password_from_a_file_is_in_no_list_of_processes() {
    let server = RedisServer::start_with(&["--requirepass", "s3cr3t"]);
    let scratch = Scratch::new();
    let file = scratch.join("password");
    fs::write(&file, "s3cr3t\n").expect("written");
    let connections = connections_flag(&[server.address(Kind::Unix)]);
    let password = format!("-remotePasswordFile={}", file.display());
    let own = format!("-passwordFile={}", file.display());
    let rmux = Rmux::start(Kind::Unix, &[&connections, &password, &own, "-debug"]);
    let mut client = rmux.client();
    assert_eq!(client.line("AUTH s3cr3t"), "+OK\r\n");
    assert_eq!(client.line("SET k v"), "+OK\r\n");
    assert_eq!(client.line("AUTH s3cr3t2"), WRONG);
    assert!(!client.line("CLIENT LIST").contains("s3cr3t"));
    assert!(!client.line("CLIENT INFO").contains("s3cr3t"));
    let command_line = fs::read(format!("/proc/{}/cmdline", rmux.process_id())).expect("it runs");
    assert!(!show(&command_line).contains("s3cr3t"));
    assert!(!rmux.log().contains("s3cr3t"), "{}", rmux.log());
}

#[test]
fn a_server_that_refuses_rmux_is_down_and_the_log_says_why() {
    let server = RedisServer::start_with(&["--requirepass", "s3cr3t"]);
    let open = RedisServer::start();
    let no_auth = RedisServer::start_with(&["--rename-command", "AUTH", ""]);
    for (server, keys, words) in [
        (&server, r#""remotePassword": "hunter2""#, "WRONGPASS"),
        (&server, r#""remoteUser": "eve", "remotePassword": "hunter2""#, "WRONGPASS"),
        (&server, r#""poolSize": 3"#, "NOAUTH"),
        (&open, r#""remotePassword": "hunter2""#, "without any password configured"),
        (&no_auth, r#""remotePassword": "hunter2""#, "unknown command 'AUTH'"),
    ] {
        let rmux = rmux_with(Kind::Tcp, &[server], keys, &["-debug"]);
        let mut client = rmux.client();
        assert_eq!(client.line("GET k"), "-ERR Connection down\r\n", "{keys}");
        assert_eq!(client.line("PING"), "+PONG\r\n");
        let address = server.address(Kind::Tcp).flag_value();
        let down = format!("server {address} is down: it refuses us: -");
        wait_until("a line in the log", PATIENCE, || rmux.log().contains(&down));
        let log = rmux.log();
        assert!(log.contains(words), "{log}");
        assert!(!log.contains("hunter2"), "{log}");
    }
}

#[test]
fn clients_log_in_to_rmux() {
    let server = RedisServer::start();
    for kind in KINDS {
        let keys = r#""password": "pw", "users": [{"name": "bob", "password": "two"}]"#;
        let rmux = rmux(kind, &[&server], keys);
        let mut client = rmux.client();
        for request in ["GET k", "PING", "SELECT 1", "MULTI", "CONFIG SET a b", "CLIENT LIST", "INFO", "SUBSCRIBE c"] {
            assert_eq!(client.line(request), NO_AUTH, "{request}");
        }
        assert!(client.line("NOPE x").starts_with("-ERR unknown command 'NOPE'"));
        assert_eq!(client.line("GET"), "-ERR wrong number of arguments for 'get' command\r\n");
        assert!(client.line("HELLO 3").starts_with("-NOAUTH HELLO must be called with the client already"));
        for request in ["AUTH x", "AUTH default two", "AUTH bob pw", "HELLO 3 AUTH bob x"] {
            assert_eq!(client.line(request), WRONG, "{request}");
        }
        assert_eq!(client.line("GET k"), NO_AUTH);
        assert_eq!(client.line("AUTH pw"), "+OK\r\n");
        assert_eq!(client.line("ACL WHOAMI"), "$7\r\ndefault\r\n");
        assert!(client.line("HELLO 3 AUTH bob two SETNAME ann").starts_with("%7\r\n"));
        assert_eq!(client.line("ACL WHOAMI"), "$3\r\nbob\r\n");
        let info = client.line("CLIENT INFO");
        assert!(info.contains(" name=ann ") && info.contains(" user=bob ") && info.contains(" resp=3 "), "{info}");
        assert_eq!(client.line("AUTH bob x"), WRONG);
        assert_eq!(client.line("SET k v"), "+OK\r\n", "it stays who it was");
        assert_eq!(client.line("RESET"), "+RESET\r\n");
        assert_eq!(client.line("GET k"), NO_AUTH);
        assert_eq!(client.line("QUIT"), "+OK\r\n");
        client.expect_closed();
        // Inline, as some libraries do it.
        let mut client = rmux.client();
        client.send(b"AUTH \"p\\x77\"\r\n");
        assert_eq!(show(&client.reply()), "+OK\r\n");
    }
    let mut direct = server.client();
    assert!(!commands_seen(&mut direct).contains("auth"), "no AUTH of a client ever reaches a server");
}

#[test]
fn a_handshake_in_one_write_is_answered_in_order() {
    let server = RedisServer::start_with(&["--requirepass", "s3cr3t"]);
    let rmux = rmux(Kind::Unix, &[&server], r#""password": "pw", "remotePassword": "s3cr3t""#);
    let mut client = rmux.client();
    let requests: Vec<u8> = ["SELECT 1", "AUTH pw", "CLIENT SETNAME x", "SELECT 3", "SET k three", "AUTH no", "GET k"]
        .iter()
        .flat_map(|line| encode(&line.split(' ').collect::<Vec<_>>()))
        .collect();
    client.send(&requests);
    let replies: Vec<String> = client.replies(7).iter().map(|reply| show(reply)).collect();
    assert_eq!(replies, [NO_AUTH, "+OK\r\n", "+OK\r\n", "+OK\r\n", "+OK\r\n", WRONG, "$5\r\nthree\r\n"]);
    let mut direct = server.client();
    direct.line("AUTH s3cr3t");
    direct.line("SELECT 3");
    assert_eq!(direct.line("GET k"), "$5\r\nthree\r\n");
}

/// Redis 7.2 to 8.9 loses the error of a failing AUTH behind other requests. Here it never comes to that.
#[test]
fn a_failing_auth_in_a_pipeline_shifts_nobodys_replies() {
    let server = RedisServer::start();
    let rmux = rmux(Kind::Unix, &[&server], r#""password": "pw", "poolSize": 2"#);
    let mut clients: Vec<Client> = (0..8).map(|_| rmux.client()).collect();
    for client in &mut clients {
        assert_eq!(client.line("AUTH pw"), "+OK\r\n");
    }
    // Each wrong one is answered late, and all behind it with it.
    for round in 0..2 {
        for (number, client) in clients.iter_mut().enumerate() {
            let mut requests = Vec::new();
            for step in 0..3 {
                let value = format!("{number}:{round}:{step}");
                requests.extend(encode(&["SET", &format!("k{number}"), &value]));
                requests.extend(encode(&["AUTH", "default", "wrong"]));
                requests.extend(encode(&["GET", &format!("k{number}")]));
            }
            client.send(&requests);
        }
        for (number, client) in clients.iter_mut().enumerate() {
            for step in 0..3 {
                assert_eq!(show(&client.reply()), "+OK\r\n");
                assert_eq!(show(&client.reply()), WRONG);
                let value = format!("{number}:{round}:{step}");
                assert_eq!(show(&client.reply()), show(&bulk(value.as_bytes())));
            }
        }
    }
}

#[test]
fn whoever_is_nobody_can_not_make_rmux_hold_much() {
    let server = RedisServer::start();
    let rmux = rmux(Kind::Unix, &[&server], r#""password": "pw""#);
    for (start, text) in [
        ("*11\r\n", "unauthenticated multibulk length"),
        ("*2\r\n$16385\r\n", "unauthenticated bulk length"),
        ("*2\r\n$3\r\nGET\r\n$500000000\r\n", "unauthenticated bulk length"),
    ] {
        let mut client = rmux.client();
        client.send(start.as_bytes());
        assert_eq!(show(&client.reply()), format!("-ERR Protocol error: {text}\r\n"));
        client.expect_closed();
    }
    // With the password, in the same write, all is allowed.
    let value = "x".repeat(200_000);
    let mut client = rmux.client();
    client.send(&[encode(&["AUTH", "pw"]), encode(&["SET", "k", &value]), encode(&["GET", "k"])].concat());
    assert_eq!(client.replies(2), [b"+OK\r\n", b"+OK\r\n"]);
    assert_eq!(client.reply(), bulk(value.as_bytes()));
    // And no longer after RESET.
    client.send(&[encode(&["RESET"]), encode(&["SET", "k", &value])].concat());
    assert_eq!(show(&client.reply()), "+RESET\r\n");
    assert_eq!(show(&client.reply()), "-ERR Protocol error: unauthenticated bulk length\r\n");
}

#[test]
fn replies_that_a_client_does_not_want_are_left_out_in_their_place() {
    let server = RedisServer::start();
    for kind in KINDS {
        let rmux = rmux(kind, &[&server], r#""poolSize": 4"#);
        let mut client = rmux.client();
        let big = "x".repeat(300_000);
        let requests: Vec<Vec<u8>> = vec![
            encode(&["SET", "big", &big]),
            encode(&["CLIENT", "REPLY", "SKIP"]),
            encode(&["GET", "big"]),
            encode(&["INCR", "n"]),
            encode(&["CLIENT", "REPLY", "SKIP"]),
            encode(&["PING"]),
            encode(&["CLIENT", "REPLY", "OFF"]),
            encode(&["INCR", "n"]),
            encode(&["GET", "big"]),
            encode(&["NOPE"]),
            encode(&["CLIENT", "REPLY", "SKIP"]),
            encode(&["MULTI"]),
            encode(&["INCR", "n"]),
            encode(&["EXEC"]),
            encode(&["CLIENT", "REPLY", "ON"]),
            encode(&["INCR", "n"]),
            encode(&["ECHO", "end"]),
        ];
        client.send(&requests.concat());
        let replies: Vec<String> = client.replies(5).iter().map(|reply| show(reply)).collect();
        assert_eq!(replies, ["+OK\r\n", ":1\r\n", "+OK\r\n", ":4\r\n", "$3\r\nend\r\n"], "{kind:?}");
        // One by one, so that each reply comes alone.
        client.send(&encode(&["CLIENT", "REPLY", "OFF"]));
        client.send(&encode(&["SET", "big", &big]));
        client.send(&encode(&["RESET"]));
        assert_eq!(show(&client.reply()), "+RESET\r\n");
        assert_eq!(client.line("DEL n big"), ":2\r\n");
        // What is pushed comes all the same, as in Redis.
        client.send(&encode(&["CLIENT", "REPLY", "OFF"]));
        client.send(&encode(&["SUBSCRIBE", "news"]));
        assert!(show(&client.reply()).starts_with("*3\r\n$9\r\nsubscribe\r\n"));
    }
}

#[test]
fn clients_see_and_close_each_other() {
    let server = RedisServer::start();
    let rmux =
        rmux(Kind::Tcp, &[&server], r#""users": [{"name": "bob", "password": "b"}, {"name": "eve", "password": "e"}]"#);
    let login = |line: &str| {
        let mut client = rmux.client();
        assert_eq!(client.line(line), "+OK\r\n");
        client
    };
    let (mut bob, mut eve, mut other) = (login("AUTH bob b"), login("AUTH eve e"), login("AUTH eve e"));
    eve.line("CLIENT SETNAME eve-1");
    other.line("SELECT 7");
    let id = |client: &mut Client| client.line("CLIENT ID").trim()[1..].to_owned();
    let ids = [id(&mut bob), id(&mut eve), id(&mut other)];
    let list = bob.line("CLIENT LIST");
    let lines: Vec<&str> = list.lines().filter(|line| line.starts_with("id=")).collect();
    assert_eq!(lines.len(), 3, "{list}");
    for ((line, id), words) in lines.iter().zip(&ids).zip(["user=bob", "name=eve-1", "db=7"]) {
        assert!(line.starts_with(&format!("id={id} addr=127.0.0.1:")) && line.contains(words), "{line}");
    }
    let address = |client: &mut Client| {
        let info = client.line("CLIENT INFO");
        info.split(" addr=").nth(1).and_then(|rest| rest.split(' ').next()).expect("an address").to_owned()
    };
    let eves = address(&mut eve);
    assert_ne!(eves, address(&mut other));
    assert_eq!(bob.line(&format!("CLIENT KILL ADDR {eves} USER bob")), ":0\r\n");
    assert_eq!(bob.line(&format!("CLIENT KILL {eves}")), "+OK\r\n");
    eve.expect_closed();
    assert_eq!(bob.line(&format!("CLIENT KILL {eves}")), "-ERR No such client\r\n");
    assert_eq!(bob.line(&format!("CLIENT KILL ID {}", ids[2])), ":1\r\n");
    other.expect_closed();
    // One that waits for data takes its backend with it: nothing is swallowed.
    let mut waiting = login("AUTH eve e");
    waiting.send(&encode(&["BLPOP", "list", "0"]));
    let mut direct = server.client();
    let is_blocked = || server.client().line("INFO clients").contains("blocked_clients:1");
    wait_until("a blocked client", PATIENCE, is_blocked);
    assert!(bob.line("CLIENT LIST").contains(" flags=b "));
    assert_eq!(bob.line("CLIENT KILL USER eve"), ":1\r\n");
    waiting.expect_closed();
    wait_until("no blocked client", PATIENCE, || !is_blocked());
    assert_eq!(direct.line("RPUSH list x"), ":1\r\n");
    assert_eq!(bob.line("LPOP list"), "$1\r\nx\r\n");
    let mut hearing = login("AUTH eve e");
    hearing.line("SUBSCRIBE news weather");
    hearing.reply();
    let line = bob.line("CLIENT LIST TYPE pubsub");
    assert!(line.contains(" flags=P ") && line.contains(" sub=2 psub=0 ssub=0 "), "{line}");
    assert_eq!(bob.line("CLIENT KILL TYPE pubsub"), ":1\r\n");
    hearing.expect_closed();
    bob.send(&encode(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no"]));
    assert_eq!(show(&bob.reply()), ":1\r\n");
    bob.expect_closed();
}

#[test]
fn commands_are_allowed_and_denied() {
    let server = RedisServer::start();
    let keys = r#""allowCommands": ["SLOWLOG|reset", "config|set", "latency"],
                  "denyCommands": ["flushall", "client|kill", "set", "xgroup|create", "Slowlog|len"]"#;
    let rmux = rmux(Kind::Unix, &[&server], keys);
    let mut client = rmux.client();
    assert_eq!(client.line("SLOWLOG reset"), "+OK\r\n");
    assert_eq!(client.line("slowlog GET"), "*0\r\n");
    assert_eq!(client.line("CONFIG SET maxmemory-samples 7"), "+OK\r\n");
    assert_eq!(client.line("LATENCY RESET"), ":0\r\n");
    for request in [
        "SLOWLOG len",
        "CONFIG RESETSTAT",
        "FLUSHALL",
        "flushALL async",
        "CLIENT kill ID 1",
        "SET k v",
        "XGROUP CREATE k g $ MKSTREAM",
        "DEBUG SLEEP 0",
    ] {
        assert_eq!(client.line(request), REFUSED, "{request}");
    }
    assert!(client.line("CLIENT ID").starts_with(':'));
    // A large one is not passed on as it arrives, either.
    client.send(&encode(&["SET", "k", &"x".repeat(300_000)]));
    assert_eq!(show(&client.reply()), REFUSED);
    // In a transaction, whole and step by step: it is an error at once, and nothing is run.
    for is_whole in [true, false] {
        let requests = [encode(&["MULTI"]), encode(&["INCR", "n"]), encode(&["SET", "k", "v"]), encode(&["EXEC"])];
        let mut replies = Vec::new();
        if is_whole {
            client.send(&requests.concat());
            replies = client.replies(4);
        } else {
            for request in &requests {
                client.send(request);
                replies.push(client.reply());
            }
        }
        let replies: Vec<String> = replies.iter().map(|reply| show(reply)).collect();
        let aborted = "-EXECABORT Transaction discarded because of previous errors.\r\n";
        assert_eq!(replies, ["+OK\r\n", "+QUEUED\r\n", REFUSED, aborted]);
    }
    assert_eq!(client.line("EXISTS n k"), ":0\r\n");
    for is_whole in [true, false] {
        let requests = [encode(&["MULTI"]), encode(&["SLOWLOG", "RESET"]), encode(&["EXEC"])];
        if is_whole {
            client.send(&requests.concat());
        } else {
            requests.iter().for_each(|request| client.send(request));
        }
        let replies: Vec<String> = client.replies(3).iter().map(|reply| show(reply)).collect();
        assert_eq!(replies, ["+OK\r\n", "+QUEUED\r\n", "*1\r\n+OK\r\n"]);
    }
    let seen = commands_seen(&mut server.client());
    assert!(!seen.contains("flushall") && !seen.contains("set") && !seen.contains("slowlog|len"), "{seen:?}");
    let log = rmux.log();
    assert!(!log.contains("ERROR"), "{log}");
}

#[test]
fn nobody_learns_the_hash_of_a_servers_password() {
    let server = RedisServer::start_with(&["--requirepass", "hunter2", "--user", "bob", "on", ">secret", "+@all"]);
    let rmux = rmux(Kind::Unix, &[&server], r#""remotePassword": "hunter2""#);
    let mut direct = server.client();
    assert_eq!(direct.line("AUTH hunter2"), "+OK\r\n");
    for protocol in ["HELLO 2", "HELLO 3"] {
        let mut client = rmux.client();
        client.line(protocol);
        direct.line(protocol);
        for request in ["ACL LIST", "ACL GETUSER default", "acl getuser bob"] {
            let (own, told) = (direct.line(request), client.line(request));
            assert_eq!(own.len(), told.len(), "{told}");
            let differ: Vec<char> = own.chars().zip(told.chars()).filter(|(a, b)| a != b).map(|pair| pair.1).collect();
            assert!(differ.len() > 50 && differ.iter().all(|&digit| digit == '0'), "{request}: {told}");
        }
    }
}

/// Redis knows these names only by renaming, as a module would bring its own.
#[test]
fn commands_of_modules_go_where_their_keys_are() {
    let settings = ["--rename-command", "GET", "my.get", "--rename-command", "SET", "my.set"];
    let servers: Vec<RedisServer> = (0..3).map(|_| RedisServer::start_with(&settings)).collect();
    let all: Vec<&RedisServer> = servers.iter().collect();
    let keys = r#""moduleCommands": [{"name": "my.get", "firstKey": 1, "readonly": true},
                                     {"name": "MY.SET", "firstKey": 1}]"#;
    let rmux = rmux(Kind::Unix, &all, keys);
    let mut client = rmux.client();
    for number in 0..60 {
        assert_eq!(client.line(&format!("My.Set k{number} {number}")), "+OK\r\n");
    }
    for number in 0..60 {
        let wanted = show(&bulk(number.to_string().as_bytes()));
        assert_eq!(client.line(&format!("MY.GET k{number}")), wanted);
        // As a command of the table finds the same key.
        assert_eq!(client.line(&format!("STRLEN k{number}")), format!(":{}\r\n", number.to_string().len()));
    }
    for server in &servers {
        assert_ne!(server.client().line("DBSIZE"), ":0\r\n");
    }
    assert_eq!(client.line("MULTI"), "+OK\r\n");
    assert_eq!(client.line("my.set k1 one"), "+QUEUED\r\n");
    assert_eq!(client.line("EXEC"), "*1\r\n+OK\r\n");
    assert_eq!(client.line("my.get k1"), "$3\r\none\r\n");
    assert!(client.line("my.del k1").starts_with("-ERR unknown command 'my.del'"));
}

#[test]
fn a_request_in_parts_is_left_out_as_a_whole() {
    let servers: Vec<RedisServer> = (0..3).map(|_| RedisServer::start()).collect();
    let rmux = rmux(Kind::Unix, &servers.iter().collect::<Vec<_>>(), r#""poolSize": 2"#);
    let mut client = rmux.client();
    let keys: Vec<String> = (0..30).map(|number| format!("k{number}")).collect();
    let words = |name: &'static str| [vec![name], keys.iter().map(String::as_str).collect()].concat();
    let pairs: Vec<&str> = keys.iter().flat_map(|key| [key.as_str(), "v"]).collect();
    let requests = [
        encode(&["CLIENT", "REPLY", "SKIP"]),
        encode(&[vec!["MSET"], pairs].concat()),
        encode(&words("EXISTS")),
        encode(&["CLIENT", "REPLY", "OFF"]),
        encode(&words("MGET")),
        encode(&["DBSIZE"]),
        encode(&["CLIENT", "REPLY", "ON"]),
        encode(&words("DEL")),
    ];
    client.send(&requests.concat());
    let replies: Vec<String> = client.replies(3).iter().map(|reply| show(reply)).collect();
    assert_eq!(replies, [":30\r\n", "+OK\r\n", ":30\r\n"]);
}

/// Every way to write a command that Redis takes, and many that it does not: what is refused reaches no server.
#[test]
fn no_spelling_gets_a_refused_command_through() {
    let server = RedisServer::start();
    let rmux = rmux(Kind::Unix, &[&server], r#""denyCommands": ["flushall", "client|list", "command|docs"]"#);
    let mut direct = server.client();
    direct.line("CONFIG RESETSTAT");
    for attack in attacks() {
        for is_whole in [true, false] {
            let mut client = rmux.client();
            if is_whole {
                let _ = client.try_send(&attack);
            } else {
                for byte in &attack {
                    // It may be closed by now.
                    if client.try_send(&[*byte]).is_err() {
                        break;
                    }
                }
            }
            // Nor does it matter whether somebody is there to hear that no more will come.
            let _ = client.writer().shutdown(std::net::Shutdown::Write);
            drain(&mut client);
        }
    }
    let seen = commands_seen(&mut direct);
    // These are rmux's own, or what the attacks were wrapped in.
    let harmless = "hello ping get set multi exec discard info config|resetstat command command|info watch unwatch \
                    select subscribe unsubscribe config|get";
    let harmless: BTreeSet<String> = harmless.split(' ').map(str::to_owned).collect();
    let slipped: Vec<&String> = seen.difference(&harmless).collect();
    assert!(slipped.is_empty(), "{slipped:?}");
    assert!(seen.contains("get") && seen.contains("exec"), "the wrapping went through: {seen:?}");
    assert!(!seen.is_empty() && rmux.client().line("SET after 1") == "+OK\r\n");
}

fn attacks() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    let refused: [&[&str]; 12] = [
        &["CONFIG", "SET", "maxmemory-samples", "3"],
        &["config", "resetstat"],
        &["DEBUG", "SLEEP", "0"],
        &["MONITOR"],
        &["SLOWLOG", "RESET"],
        &["ReplicaOf", "NO", "ONE"],
        &["SAVE"],
        &["FLUSHALL"],
        &["CLIENT", "LIST"],
        &["COMMAND", "DOCS"],
        &["SWAPDB", "0", "1"],
        &["SHUTDOWN", "NOSAVE", "NOW", "FORCE"],
    ];
    for words in refused {
        let mixed: Vec<String> = words.iter().map(|word| mixed_case(word)).collect();
        let plain = words.join(" ");
        let first = words[0];
        let hex: String = first.bytes().map(|byte| format!("\\x{byte:02x}")).collect();
        let behind = words[1..].join(" ");
        for line in [
            plain.clone(),
            mixed.join("\t"),
            format!("  {plain}  "),
            format!("\"{first}\" {behind}"),
            format!("'{first}' {behind}"),
            format!("\"{hex}\" {behind}"),
            format!("{}\"{}\" {behind}", &first[..1], &first[1..]),
            format!("\"\"{plain}"),
            format!("\x0b{plain}"),
            format!("\"\\\"{first}\\\"\" {behind}"),
            format!("{first}\0 {behind}"),
            format!("\"{first}\\x00\" {behind}"),
            format!("\"{first}\" \"{behind}\""),
            format!("{first} '{behind}'"),
        ] {
            all.push(format!("{line}\r\n").into_bytes());
            all.push(format!("\r\n\n\r\n{line}\n").into_bytes());
            all.push([b"*0\r\n*-1\r\n".as_slice(), line.as_bytes(), b"\r\n"].concat());
            all.push([encode(&["GET", "k"]), format!("{line}\r\n").into_bytes(), encode(&["GET", "k"])].concat());
        }
        let whole = encode(words);
        let text = String::from_utf8(whole.clone()).expect("text");
        all.push(whole.clone());
        all.push(encode(&mixed));
        all.push([encode(&["GET", "k"]), whole.clone(), encode(&["GET", "k"])].concat());
        all.push([encode(&["MULTI"]), encode(&["GET", "k"]), whole.clone(), encode(&["EXEC"])].concat());
        all.push([encode(&["MULTI"]), encode(&["GET", "k"]), encode(&["EXEC"]), whole.clone()].concat());
        all.push([b"MULTI\r\n".as_slice(), plain.as_bytes(), b"\r\nEXEC\r\n"].concat());
        // In one that is on a connection of its own, or broken already, or goes on behind.
        all.push(
            [encode(&["WATCH", "k"]), whole.clone(), encode(&["MULTI"]), whole.clone(), encode(&["EXEC"])].concat(),
        );
        all.push([encode(&["MULTI"]), encode(&["SELECT", "0"]), whole.clone(), encode(&["EXEC"])].concat());
        all.push([encode(&["MULTI"]), encode(&["NOSUCH"]), whole.clone(), encode(&["EXEC"]), whole.clone()].concat());
        all.push([encode(&["MULTI"]), encode(&["CLIENT", "ID"]), whole.clone(), encode(&["DISCARD"])].concat());
        // Of a subscriber, in both versions of the protocol.
        all.push([encode(&["SUBSCRIBE", "c"]), whole.clone(), encode(&["UNSUBSCRIBE"]), whole.clone()].concat());
        all.push([encode(&["HELLO", "3"]), encode(&["SUBSCRIBE", "c"]), whole.clone()].concat());
        // As what a container may not know, and as what one asks about another.
        for container in ["JSON.DEBUG", "FT.CURSOR", "FT.CONFIG", "CONFIG", "CLIENT", "OBJECT"] {
            all.push(encode(&[&[container], words].concat()));
        }
        all.push(encode(&[&["COMMAND", "INFO"], words].concat()));
        all.push(encode(&[&["CONFIG", "GET"], words].concat()));
        // Inside a value, with its length right, too short and too long.
        all.push(encode(&["SET", "k", &text]));
        for length in [0, 1, text.len() - 1, text.len() + 1, text.len() + 2] {
            let head = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${length}\r\n");
            all.push([head.as_bytes(), &whole, &whole].concat());
        }
        // Lengths that one reader takes and another does not.
        for (old, new) in [
            ("*", "*+"),
            ("*", "*0"),
            ("*", "* "),
            ("*", "*1"),
            ("$", "$+"),
            ("$", "$0"),
            ("$", "$ "),
            ("$", "$-"),
            ("\r\n", "\n"),
            ("\r\n", "\r"),
            ("\r\n", " \r\n"),
            ("\r\n", "\r\r\n"),
        ] {
            all.push(text.replacen(old, new, 1).into_bytes());
            all.push(text.replace(old, new).into_bytes());
        }
        let padded: Vec<String> = words.iter().map(|word| format!("{word}\0x")).collect();
        all.push(encode(&padded));
        let mut first_only: Vec<&str> = words.to_vec();
        first_only[0] = &padded[0];
        all.push(encode(&first_only));
        if words.len() > 1 {
            let mut second = words.to_vec();
            second[1] = &padded[1];
            all.push(encode(&second));
            let joined = format!("{}|{}", words[0], words[1]);
            all.push(encode(&[joined.as_str(), "x"]));
            all.push(encode(&[format!("{} {}", words[0], words[1]).as_str()]));
        }
        // As the argument of a command that another reader could take for a wrapper.
        let mut wrapped = vec!["GET"];
        wrapped.extend_from_slice(words);
        all.push(encode(&wrapped));
    }
    all
}

fn mixed_case(word: &str) -> String {
    let letter = |(place, letter): (usize, char)| {
        if place % 2 == 0 { letter.to_ascii_lowercase() } else { letter.to_ascii_uppercase() }
    };
    word.chars().enumerate().map(letter).collect()
}

/// Reads until the peer closes, whatever it says.
fn drain(client: &mut Client) {
    loop {
        match client.try_reply() {
            Ok(_) => {}
            Err(NoReply::Closed(_)) => return,
            Err(why) => panic!("expected the end of the stream: {why}"),
        }
    }
}

/// A figure of one section of the server's own `INFO`.
fn figure(direct: &mut Client, section: &str, name: &str) -> String {
    let reply = direct.cmd(&["INFO", section]);
    let text = String::from_utf8_lossy(body(&reply)).into_owned();
    let line = text.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.to_owned()));
    line.unwrap_or_default()
}

/// How often the server was told `AUTH`.
fn logins(direct: &mut Client) -> usize {
    let calls = figure(direct, "commandstats", "cmdstat_auth");
    calls.split(',').find_map(|field| field.strip_prefix("calls=")?.parse().ok()).unwrap_or(0)
}

#[test]
fn a_password_that_changes_in_its_file_is_said_again_and_no_connection_is_closed() {
    let server = RedisServer::start_with(&["--requirepass", "old-secret"]);
    let scratch = Scratch::new();
    let (file, next) = (scratch.join("password"), scratch.join("password.new"));
    fs::write(&file, "old-secret\n").expect("written");
    let connections = connections_flag(&[server.address(Kind::Tcp)]);
    let password = format!("-remotePasswordFile={}", file.display());
    let rmux = Rmux::start(Kind::Unix, &[&connections, &password, "-debug"]);
    let (mut client, mut direct) = (rmux.client(), server.client());
    assert_eq!(client.line("SET k v"), "+OK\r\n");
    assert_eq!(direct.line("AUTH old-secret"), "+OK\r\n");
    assert_eq!(direct.line("ACL SETUSER default >new-secret"), "+OK\r\n");
    let (connects, before) = (figure(&mut direct, "stats", "total_connections_received"), logins(&mut direct));
    fs::write(&next, "new-secret\n").expect("written");
    fs::rename(&next, &file).expect("renamed");
    wait_until("AUTH with the new password", PATIENCE, || logins(&mut direct) == before + 1);
    assert_eq!(direct.line("ACL SETUSER default <old-secret"), "+OK\r\n");
    assert_eq!(client.line("GET k"), "$1\r\nv\r\n");
    assert_eq!(figure(&mut direct, "stats", "total_connections_received"), connects, "it is the same connection");
    // A new one begins with it; and one that cannot be read any more changes nothing.
    fs::remove_file(&file).expect("removed");
    wait_until("a line in the log", PATIENCE, || rmux.log().contains("remotePasswordFile cannot be read: No such"));
    assert_eq!(direct.line("CLIENT KILL TYPE normal SKIPME yes"), ":1\r\n");
    wait_until("a new connection", PATIENCE, || client.line("GET k") == "$1\r\nv\r\n");
    assert_eq!(client.line("SET k w"), "+OK\r\n");
    let log = rmux.log();
    assert_eq!(log.matches("cannot be read").count(), 1, "{log}");
    assert!(!log.contains("secret"), "{log}");
}

#[test]
fn a_file_system_that_hangs_holds_no_connection_up() {
    let server = RedisServer::start_with(&["--requirepass", "s3cr3t"]);
    let scratch = Scratch::new();
    let file = scratch.join("password");
    fs::write(&file, "s3cr3t\n").expect("written");
    let connections = connections_flag(&[server.address(Kind::Tcp)]);
    let password = format!("-remotePasswordFile={}", file.display());
    let rmux = Rmux::start(Kind::Unix, &[&connections, &password]);
    let (mut client, mut direct) = (rmux.client(), server.client());
    assert_eq!(client.line("SET k v"), "+OK\r\n");
    assert_eq!(direct.line("AUTH s3cr3t"), "+OK\r\n");
    // Whoever reads it waits for somebody to write.
    fs::remove_file(&file).expect("removed");
    let made = std::process::Command::new("mkfifo").arg(&file).status().expect("mkfifo is there");
    assert!(made.success());
    wait_until("a line in the log", PATIENCE, || rmux.log().contains("is not read within 5000 ms"));
    assert_eq!(direct.line("CLIENT KILL TYPE normal SKIPME yes"), ":1\r\n");
    wait_until("a new connection", PATIENCE, || client.line("GET k") == "$1\r\nv\r\n");
    // It comes back with another password, which the server has by then.
    assert_eq!(direct.line("ACL SETUSER default >s3cr3t2"), "+OK\r\n");
    let before = logins(&mut direct);
    fs::write(&file, "s3cr3t2\n").expect("written");
    wait_until("AUTH with the new password", PATIENCE, || logins(&mut direct) == before + 1);
    wait_until("a line in the log", PATIENCE, || rmux.log().contains("has another password"));
    assert!(!rmux.log().contains("s3cr3t"), "{}", rmux.log());
}
