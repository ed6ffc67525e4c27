//! The configuration read again while rmux serves: what changes, what does not, and what nobody notices.
//!
//! ```text
//! HUP ──► read and check ──► wrong: one line, nothing is changed
//!              └──► new pools listen ──► changed ones are told ──► those that are gone drain ──► "reload: done"
//! ```

mod support;

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use support::client::{Client, body, bulk, encode, show};
use support::fake::{FakeServer, answer, value_of};
use support::proxy::{Rmux, run_to_end};
use support::server::RedisServer;
use support::{Address, PATIENCE, Scratch, free_port, wait_until};

/// A running rmux with a file that is written again and again.
struct Reloaded {
    rmux: Rmux,
    folder: Scratch,
}

impl Reloaded {
    /// Starts it with these pools, of which the first listens on `rmux.sock`.
    fn start(folder: Scratch, pools: &[String]) -> Reloaded {
        Reloaded::start_with(folder, pools, &[])
    }

    fn start_with(folder: Scratch, pools: &[String], flags: &[&str]) -> Reloaded {
        write(&folder, pools);
        let config = format!("-config={}", folder.join("rmux.json").display());
        let mut all = vec![config.as_str()];
        all.extend_from_slice(flags);
        let rmux = Rmux::start_at(Address::Unix(folder.join("rmux.sock")), Scratch::new(), &all);
        Reloaded { rmux, folder }
    }

    /// Has it read the file again, and gives the lines about that.
    fn hangup(&self) -> String {
        let before = self.rmux.log();
        let ends = |log: &str| log.matches("reload: done").count() + log.matches("reload: refused").count();
        self.rmux.signal("HUP");
        wait_until("the end of a reload", PATIENCE, || ends(&self.rmux.log()) > ends(&before));
        self.rmux.log()[before.len()..].to_owned()
    }

    /// Has it do this from now on.
    fn reload(&self, pools: &[String]) -> String {
        write(&self.folder, pools);
        let lines = self.hangup();
        assert!(lines.contains("reload: done"), "{lines}");
        lines
    }

    /// Has it refuse to do this, and gives the one line that says why.
    fn refused(&self, pools: &[String]) -> String {
        write(&self.folder, pools);
        one_refusal(&self.hangup())
    }

    fn client_at(&self, socket: &str) -> Client {
        Client::connect(&Address::Unix(self.folder.join(socket)))
    }
}

fn write(folder: &Scratch, pools: &[String]) {
    fs::write(folder.join("rmux.json"), format!("[{}]", pools.join(",\n"))).expect("the folder can be written");
}

/// The line of a reload that was refused; nothing else is said of it but that it began.
fn one_refusal(lines: &str) -> String {
    let lines: Vec<&str> = lines.lines().filter(|line| line.contains("reload")).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("[INFO] reload: reads the configuration again"), "{lines:?}");
    assert!(lines[1].contains("[ERROR] reload: refused, and nothing is changed: "), "{lines:?}");
    lines[1].to_owned()
}

/// A pool of the file.
fn pool(socket: &Path, servers: &[&RedisServer], more: &str) -> String {
    let servers: Vec<String> = servers.iter().map(|server| format!("\"127.0.0.1:{}\"", server.port())).collect();
    let comma = if more.is_empty() { "" } else { ", " };
    format!(r#"{{"socket": "{}", "tcpConnections": [{}]{comma}{more}}}"#, socket.display(), servers.join(", "))
}

/// The ids of the connections to a server, but for the one that asks.
fn connections_of(server: &RedisServer) -> Vec<String> {
    let reply = server.ask("CLIENT LIST");
    let text = String::from_utf8_lossy(body(&reply)).into_owned();
    let mut ids: Vec<String> = text
        .lines()
        .filter(|line| !line.contains("cmd=client|list") && !line.contains("cmd=client "))
        .map(|line| line.split(' ').next().unwrap_or_default().to_owned())
        .collect();
    ids.sort();
    ids
}

#[test]
fn a_reload_that_changes_nothing_changes_nothing() {
    let folder = Scratch::new();
    let servers = [RedisServer::start(), RedisServer::start()];
    let sockets = [folder.join("rmux.sock"), folder.join("other.sock")];
    let pools = [
        pool(&sockets[0], &[&servers[0], &servers[1]], r#""localTimeout": 60000"#),
        pool(&sockets[1], &[&servers[0]], r#""denyCommands": ["keys", "get"], "maxProcesses": 2"#),
    ];
    let rmux = Reloaded::start(folder, &pools);
    let mut clients = [rmux.rmux.client(), rmux.client_at("other.sock")];
    // A client in the middle of something, and one that listens.
    for key in ["a", "b", "c", "d"] {
        assert_eq!(clients[0].line(&format!("SET {key} {key}")), "+OK\r\n");
    }
    let mut subscriber = rmux.rmux.client();
    assert!(subscriber.line("SUBSCRIBE news").contains("news"));
    let mut transaction = rmux.rmux.client();
    assert_eq!(transaction.line("WATCH a"), "+OK\r\n");
    assert_eq!(transaction.line("MULTI"), "+OK\r\n");
    assert_eq!(transaction.line("GET a"), "+QUEUED\r\n");
    let own_ids: Vec<String> = clients.iter_mut().map(|client| client.line("CLIENT ID")).collect();
    let ids: Vec<_> = servers.iter().map(connections_of).collect();
    assert!(ids.iter().all(|ids| !ids.is_empty()), "{ids:?}");

    let lines = rmux.hangup();
    assert!(lines.ends_with("reload: done: no changes\n"), "{lines}");
    assert_eq!(lines.lines().count(), 2, "{lines}");
    // The same in other words: a comment, the order of a list, the parts of a general timeout, a default.
    let again = [
        pool(&sockets[0], &[&servers[0], &servers[1]], r#""localReadTimeout": 60000, "localWriteTimeout": 60000"#),
        pool(&sockets[1], &[&servers[0]], "\n// words\n\"denyCommands\": [\"GET\", \"KEYS\"], \"maxProcesses\": 2"),
    ];
    assert_eq!(rmux.reload(&again).lines().count(), 2);

    assert_eq!(ids, servers.iter().map(connections_of).collect::<Vec<_>>(), "the servers have seen nothing");
    let ids_now: Vec<String> = clients.iter_mut().map(|client| client.line("CLIENT ID")).collect();
    assert_eq!(ids_now, own_ids);
    assert_eq!(show(&transaction.cmd(&["EXEC"])), "*1\r\n$1\r\na\r\n");
    assert_eq!(clients[0].line("PUBLISH news hello"), ":1\r\n");
    assert!(show(&subscriber.reply()).contains("hello"));
}

#[test]
fn what_is_wrong_is_one_line_and_changes_nothing() {
    let folder = Scratch::new();
    let server = RedisServer::start();
    let good = [pool(&folder.join("rmux.sock"), &[&server], "")];
    let mut rmux = Reloaded::start(folder, &good);
    let mut client = rmux.rmux.client();
    assert_eq!(client.line("SET k v"), "+OK\r\n");
    let ids = connections_of(&server);
    let file = rmux.folder.join("rmux.json");
    let text = fs::read_to_string(&file).expect("just written");
    let write_text = |text: &str| fs::write(&file, text).expect("writable");
    let check = |what: &str| {
        let line = one_refusal(&rmux.hangup());
        assert!(line.contains(what), "{what}: {line}");
    };
    for (wrong, what) in [
        ("", "EOF"),
        (&text[..text.len() / 2], "EOF"),
        ("[]", "rmux.json: "),
        ("\0\0\0\0", "line 1"),
        ("{}", "rmux.json: "),
        (&text.replace("socket", "sokket"), "sokket"),
        (&text.replace("\"socket\"", "\"pidFile\": \"/tmp/x\", \"socket\""), "pidFile"),
        (&text.replace("\"socket\"", "\"poolSize\": 0, \"socket\""), "poolSize"),
        (&format!("[{0}, {0}]", good[0]), "rmux.sock"),
        (&" ".repeat(17 << 20), "rmux.json: "),
    ] {
        write_text(wrong);
        check(what);
    }
    fs::remove_file(&file).expect("it is there");
    check("No such file");
    fs::create_dir(&file).expect("writable");
    check("Is a directory");
    fs::remove_dir(&file).expect("empty");

    // One that is never there in full: rmux serves, remembers that it is asked again, and goes on when it has come.
    assert!(Command::new("mkfifo").arg(&file).status().expect("mkfifo is there").success());
    let count = |text: &str| rmux.rmux.log().matches(text).count();
    let begun = count("reads the configuration again");
    rmux.rmux.signal("HUP");
    wait_until("a reload", PATIENCE, || count("reads the configuration again") == begun + 1);
    rmux.rmux.signal("HUP");
    wait_until("that another one follows", PATIENCE, || count("another one follows") == 1);
    assert_eq!(client.line("GET k"), "$1\r\nv\r\n");
    for done in 1..=2 {
        write_text(&text);
        wait_until("the end of a reload", PATIENCE, || count("reload: done: no changes") == done);
    }

    assert_eq!(client.line("GET k"), "$1\r\nv\r\n");
    assert_eq!(connections_of(&server), ids, "the server has seen nothing of all that");
    // And it ends in the middle of one.
    rmux.rmux.signal("HUP");
    rmux.rmux.signal("TERM");
    assert_eq!(rmux.rmux.wait_for_end(PATIENCE).code(), Some(0), "{}", rmux.rmux.log());
}

#[test]
fn pools_come_move_and_go() {
    let folder = Scratch::new();
    let servers = [RedisServer::start(), RedisServer::start()];
    let at = |name: &str| folder.join(name);
    let (first, second, moved) = (at("rmux.sock"), at("second.sock"), at("moved.sock"));
    let kept = pool(&first, &[&servers[0]], "");
    let port = free_port();
    let tcp = format!(r#"{{"host": "127.0.0.1", "port": {port}, "tcpConnections": ["127.0.0.1:1"]}}"#);
    let rmux = Reloaded::start(folder, std::slice::from_ref(&kept));
    let mut client = rmux.rmux.client();
    let id = client.line("CLIENT ID");

    let lines = rmux.reload(&[pool(&second, &[&servers[1]], ""), kept.clone(), tcp.clone()]);
    assert!(lines.contains(&format!("reload: pool {}: added, with 1 server\n", second.display())), "{lines}");
    let mut second_client = rmux.client_at("second.sock");
    assert_eq!(second_client.line("SET k second"), "+OK\r\n");
    assert_eq!(Client::connect(&Address::Tcp(port)).line("PING"), "+PONG\r\n");

    let lines = rmux.reload(&[kept.clone(), pool(&moved, &[&servers[1]], "")]);
    for line in [
        format!("reload: pool {}: added, with 1 server\n", moved.display()),
        format!("reload: pool {}: removed\n", second.display()),
        format!("reload: pool 127.0.0.1:{port}: removed\n"),
    ] {
        assert!(lines.contains(&line), "{line}: {lines}");
    }
    assert_eq!(rmux.client_at("moved.sock").line("GET k"), "$6\r\nsecond\r\n");
    second_client.expect_closed();
    assert!(!second.exists(), "its file has gone with it");
    assert!(Address::Tcp(port).connect().is_err());
    wait_until("the end of two pools", PATIENCE, || rmux.rmux.log().matches(": has ended").count() == 2);

    // Back at once, again and again: the address is free as soon as the pool is gone, and nothing of it is left.
    let count = |what: &str| {
        let folder = format!("/proc/{}/{what}", rmux.rmux.process_id());
        fs::read_dir(folder).expect("it runs").count()
    };
    rmux.reload(std::slice::from_ref(&kept));
    wait_until("the end of three pools", PATIENCE, || rmux.rmux.log().matches(": has ended").count() == 3);
    wait_until("the end of their threads", PATIENCE, || count("task") == 3);
    let descriptors = count("fd");
    for _ in 0..10 {
        rmux.reload(&[kept.clone(), tcp.clone()]);
        assert_eq!(Client::connect(&Address::Tcp(port)).line("PING"), "+PONG\r\n");
        rmux.reload(&[kept.clone(), pool(&second, &[&servers[1]], "")]);
        assert_eq!(rmux.client_at("second.sock").line("GET k"), "$6\r\nsecond\r\n");
    }
    assert!(!rmux.rmux.log().contains("cannot accept"), "{}", rmux.rmux.log());
    rmux.reload(std::slice::from_ref(&kept));
    wait_until("the end of their threads", PATIENCE, || count("task") == 3);
    wait_until("the end of their descriptors", PATIENCE, || count("fd") == descriptors);
    assert_eq!(client.line("CLIENT ID"), id, "who stayed has seen nothing");
}

#[test]
fn a_pool_that_cannot_listen_keeps_everything_as_it_was() {
    let folder = Scratch::new();
    let server = RedisServer::start();
    let at = |name: &str| folder.join(name);
    let (first, second, third) = (at("rmux.sock"), at("second.sock"), at("third.sock"));
    fs::write(at("file"), "precious").expect("writable");
    let pools = [pool(&first, &[&server], ""), pool(&second, &[&server], "")];
    let port = free_port();
    let taken = std::net::TcpListener::bind(("127.0.0.1", port)).expect("it was free");
    let file = at("file");
    let rmux = Reloaded::start(folder, &pools);
    let mut clients = [rmux.rmux.client(), rmux.client_at("second.sock")];
    let tcp = format!(r#"{{"host": "127.0.0.1", "port": {port}, "tcpConnections": ["127.0.0.1:1"]}}"#);
    let changed = pool(&first, &[&server], r#""denyCommands": ["get"]"#);
    for wrong in [tcp.clone(), pool(&file, &[&server], "")] {
        // One that can listen, before and behind the one that cannot.
        for pools in [
            [changed.clone(), pool(&third, &[&server], ""), wrong.clone()],
            [wrong.clone(), pool(&third, &[&server], ""), changed.clone()],
        ] {
            let line = rmux.refused(&pools);
            assert!(line.contains("cannot listen on "), "{line}");
            assert!(!third.exists(), "what was opened is closed again");
        }
    }
    assert_eq!(clients[0].line("GET nothing"), "$-1\r\n", "it is not denied");
    assert_eq!(clients[1].line("PING"), "+PONG\r\n", "it was not removed");
    drop(taken);
    rmux.reload(&[pools[0].clone(), tcp.clone()]);
    assert_eq!(Client::connect(&Address::Tcp(port)).line("PING"), "+PONG\r\n");
    // Its own listener is in the way of the wider one.
    let line = rmux.refused(&[pools[0].clone(), tcp.replace("127.0.0.1\", \"port", "0.0.0.0\", \"port")]);
    let hint = format!("the pool 127.0.0.1:{port} is in its way, and a restart is needed");
    assert!(line.contains(&hint), "{line}");
    assert_eq!(Client::connect(&Address::Tcp(port)).line("PING"), "+PONG\r\n");
}

#[test]
fn the_log_says_what_the_test_says_before() {
    let folder = Scratch::new();
    let servers = [RedisServer::start(), RedisServer::start()];
    let socket = folder.join("rmux.sock");
    let new = [
        pool(&socket, &[&servers[1], &servers[0]], r#""poolSize": 7, "maxProcesses": 3, "password": "secret""#),
        pool(&folder.join("new.sock"), &[&servers[0]], ""),
    ];
    let rmux = Reloaded::start(folder, &[pool(&socket, &[&servers[0]], "")]);
    let old_file = rmux.folder.join("old.json");
    fs::copy(rmux.folder.join("rmux.json"), &old_file).expect("there is room");
    write(&rmux.folder, &new);
    let config = format!("-config={}", rmux.folder.join("rmux.json").display());
    let told = run_to_end(&["-test", &config, &format!("-against={}", old_file.display())]);
    assert_eq!(told.code, Some(0), "{}", told.output);
    let changes: Vec<&str> = told.output.lines().filter(|line| line.starts_with("pool ")).collect();
    assert!(changes.iter().any(|line| line.contains("% of the keys get another server")), "{changes:?}");
    assert!(changes.iter().any(|line| line.contains("maxProcesses: 1 -> 3 (takes a restart)")), "{changes:?}");

    let lines = rmux.hangup();
    let logged: Vec<&str> =
        lines.lines().filter_map(|line| line.split_once("reload: pool ")).map(|two| two.1).collect();
    assert_eq!(logged, changes.iter().map(|line| &line["pool ".len()..]).collect::<Vec<_>>());
    assert!(lines.contains(&format!("reload: done: {} changes", changes.len())), "{lines}");
    assert!(!lines.contains("secret"), "{lines}");
    let mut client = rmux.rmux.client();
    assert!(client.line("PING").starts_with("-NOAUTH"), "the rest of it holds");
    assert_eq!(client.line("AUTH secret"), "+OK\r\n");

    // What takes a restart is said again until it has had it.
    let again = rmux.hangup();
    assert!(again.contains("[WARN] reload: pool "), "{again}");
    assert!(again.contains("maxProcesses: 1 -> 3 (takes a restart)"), "{again}");
    assert!(again.contains("reload: done: 1 change\n"), "{again}");
    assert_eq!(client.line("PING"), "+PONG\r\n");
}

#[test]
fn settings_hold_at_once_for_who_is_there() {
    let folder = Scratch::new();
    let server = RedisServer::start();
    let socket = folder.join("rmux.sock");
    let with = |more: &str| [pool(&socket, &[&server], more)];
    let mode = || fs::metadata(&socket).expect("it is there").permissions().mode() & 0o777;
    for count in [1, 2] {
        let folder = Scratch::new();
        let socket = folder.join("rmux.sock");
        let threads = format!(r#""maxProcesses": {count}"#);
        let with = |more: &str| [pool(&socket, &[&server], &format!("{threads}{more}"))];
        let rmux = Reloaded::start(folder, &with(""));
        let mut clients: Vec<Client> = (0..4).map(|_| rmux.rmux.client()).collect();
        let mut all_say = |line: &str, expected: &str| {
            for client in &mut clients {
                let reply = client.line(line);
                assert!(reply.starts_with(expected), "{line}: {reply}");
            }
        };
        all_say("SET k 123456789", "+OK");
        rmux.reload(&with(r#", "denyCommands": ["get"]"#));
        all_say("GET k", "-");
        rmux.reload(&with(r#", "denyCommands": ["set"]"#));
        all_say("GET k", "$9");
        all_say("SET k 1", "-");
        rmux.reload(&with(r#", "clientsMax": 4"#));
        all_say("SET k 1", "+OK");
        if count > 1 {
            // Each thread has its share of that, and who has whom the system says.
            continue;
        }
        assert!(show(&rmux.rmux.client().until_closed_or(b"\r\n")).contains("max number of clients"));
        rmux.reload(&with(r#", "clientsMax": 40"#));
        assert_eq!(rmux.rmux.client().line("PING"), "+PONG\r\n");
    }
    let rmux = Reloaded::start(folder, &with(r#""socketMode": "0666""#));
    assert_eq!(mode(), 0o666);
    rmux.reload(&with(r#""socketMode": "0600""#));
    assert_eq!(mode(), 0o600);
    rmux.rmux.signal("TERM");
    wait_until("the end of the file", PATIENCE, || !socket.exists());
}

#[test]
fn a_user_that_is_removed_is_let_in_no_more() {
    let folder = Scratch::new();
    let server = RedisServer::start();
    let socket = folder.join("rmux.sock");
    let user = |name: &str| format!(r#"{{"name": "{name}", "password": "of {name}"}}"#);
    let with = |names: &[&str]| {
        let users: Vec<String> = names.iter().map(|name| user(name)).collect();
        [pool(&socket, &[&server], &format!(r#""users": [{}]"#, users.join(", ")))]
    };
    let rmux = Reloaded::start(folder, &with(&["anna", "berta"]));
    let [mut anna, mut berta] = [(); 2].map(|()| rmux.rmux.client());
    assert_eq!(show(&anna.cmd(&["AUTH", "anna", "of anna"])), "+OK\r\n");
    assert_eq!(show(&berta.cmd(&["AUTH", "berta", "of berta"])), "+OK\r\n");
    let lines = rmux.reload(&with(&["anna"]));
    assert!(lines.contains("password, users: differs"), "{lines}");
    assert_eq!(anna.line("SET k v"), "+OK\r\n");
    berta.expect_closed();
    assert!(show(&rmux.rmux.client().cmd(&["AUTH", "berta", "of berta"])).starts_with("-WRONGPASS"));
    rmux.reload(&with(&["anna", "berta"]));
    assert_eq!(show(&rmux.rmux.client().cmd(&["AUTH", "berta", "of berta"])), "+OK\r\n");
}

#[test]
fn without_a_file_the_flags_hold_and_passwords_are_read_again() {
    let scratch = Scratch::new();
    let file = scratch.join("password");
    fs::write(&file, "old\n").expect("writable");
    let socket = scratch.join("rmux.sock");
    let flags =
        [format!("-socket={}", socket.display()), format!("-passwordFile={}", file.display()), "-t=false".to_owned()];
    let rmux = Rmux::start_at(Address::Unix(socket), Scratch::new(), &flags.each_ref().map(String::as_str));
    let rmux = Reloaded { rmux, folder: scratch };
    let lines = rmux.hangup();
    assert!(lines.ends_with("reload: done: no changes: without -config, the flags hold until a restart\n"), "{lines}");
    fs::write(&file, "new\n").expect("writable");
    assert!(rmux.hangup().contains("password, users: differs"));
    let mut client = rmux.rmux.client();
    assert!(client.line("AUTH old").starts_with("-WRONGPASS"));
    assert_eq!(client.line("AUTH new"), "+OK\r\n");
    fs::remove_file(&file).expect("it is there");
    assert!(one_refusal(&rmux.hangup()).contains("password"));
}

/// A server that answers `GET slow…` when the gate is open.
fn slow_server() -> FakeServer {
    FakeServer::start(|connection| {
        while let Some(request) = connection.user_request() {
            if request.get(1).is_some_and(|key| key.starts_with(b"slow")) {
                connection.wait_at_gate();
            }
            let reply = answer(&request);
            connection.send(&reply);
        }
    })
}

/// A pool with servers that are no real ones.
fn pool_of(socket: &Path, servers: &[&FakeServer]) -> String {
    let servers: Vec<String> = servers.iter().map(|server| format!("\"{}\"", server.address().flag_value())).collect();
    let socket = socket.display();
    format!(r#"{{"socket": "{socket}", "tcpConnections": [{}], "remoteTimeout": 15000}}"#, servers.join(", "))
}

#[test]
fn a_reply_that_is_owed_comes_from_a_server_or_a_pool_that_is_gone() {
    let folder = Scratch::new();
    let (first, second) = (folder.join("rmux.sock"), folder.join("second.sock"));
    let (slow, quick) = (slow_server(), FakeServer::polite());
    let rmux = Reloaded::start(folder, &[pool_of(&first, &[&slow]), pool_of(&second, &[&slow])]);
    let mut clients = [rmux.rmux.client(), rmux.client_at("second.sock")];
    for client in &mut clients {
        client.send(&[encode(&["GET", "slow"]), encode(&["GET", "next"])].concat());
    }
    wait_until("two requests at the server", PATIENCE, || slow.seen("GET slow") == 2);
    rmux.reload(&[pool_of(&first, &[&quick])]);
    // What is asked from now on goes to the other server; by this client once it has had what it is owed, so that its
    // requests are done in their order.
    clients[0].send(&encode(&["GET", "later"]));
    assert_eq!(show(&rmux.rmux.client().cmd(&["GET", "now"])), show(&value_of("now")));
    assert_eq!((quick.seen("GET now"), quick.seen("GET later")), (1, 0));
    slow.gate().open();
    for client in &mut clients {
        assert_eq!(show(&client.reply()), show(&value_of("slow")));
        assert_eq!(show(&client.reply()), show(&value_of("next")));
    }
    assert_eq!(show(&clients[0].reply()), show(&value_of("later")));
    clients[1].expect_closed();
    wait_until("no connection to the old server", PATIENCE, || slow.finished() == slow.accepted());
    assert_eq!(quick.seen("GET slow"), 0, "nothing is asked twice");
}

#[test]
fn a_hangup_while_it_drains_is_told_and_changes_nothing() {
    let folder = Scratch::new();
    let socket = folder.join("rmux.sock");
    let slow = slow_server();
    let mut rmux = Reloaded::start(folder, &[pool_of(&socket, &[&slow])]);
    let mut client = rmux.rmux.client();
    client.send(&encode(&["GET", "slow"]));
    wait_until("a request at the server", PATIENCE, || slow.seen("GET slow") == 1);
    rmux.rmux.signal("TERM");
    wait_until("the end of the file", PATIENCE, || !socket.exists());
    rmux.rmux.signal("HUP");
    wait_until("a line", PATIENCE, || rmux.rmux.log().contains("[WARN] reload: refused: rmux "));
    slow.gate().open();
    assert_eq!(show(&client.reply()), show(&value_of("slow")));
    assert_eq!(rmux.rmux.wait_for_end(PATIENCE).code(), Some(0), "{}", rmux.rmux.log());
    assert!(!socket.exists());
}

#[test]
fn a_file_that_blocks_holds_nobody_up_and_who_asks_again_and_again_is_told_once() {
    let (server, folder) = (RedisServer::start(), Scratch::new());
    let socket = folder.join("rmux.sock");
    let Reloaded { rmux, folder } = Reloaded::start(folder, &[pool(&socket, &[&server], "")]);
    let (file, good) = (folder.join("rmux.json"), folder.join("good.json"));
    fs::rename(&file, &good).expect("it is there");
    assert!(Command::new("mkfifo").arg(&file).status().expect("there is such a program").success());
    let count = |words: &str| rmux.log().matches(words).count();
    rmux.signal("HUP");
    wait_until("a reload", PATIENCE, || count("reads the configuration again") == 1);
    for round in 1..4 {
        rmux.signal("HUP");
        // What is said to this one comes behind what is said to that one.
        rmux.signal("USR2");
        wait_until("an answer", PATIENCE, || count("upgrade: refused: a reload is under way") == round);
        assert_eq!(rmux.client().cmd(&["PING"]), b"+PONG\r\n");
    }
    assert_eq!(count("another one follows"), 1, "{}", rmux.log());
    let mut end = File::options().write(true).open(&file).expect("somebody reads it");
    fs::remove_file(&file).expect("it is there");
    fs::copy(&good, &file).expect("the folder can be written");
    end.write_all(&fs::read(&good).expect("it is there")).expect("it is read");
    drop(end);
    wait_until("both reloads", PATIENCE, || count("reload: done: no changes") == 2);
}

/// What every server has under a key, whoever is asked.
fn known_value(key: usize) -> String {
    format!("the value of {key}, {}", "x".repeat(key % 50))
}

/// Asks for all kinds of things, some of them at once, and looks at each reply, until it is over.
fn ask_on(rmux: &Rmux, number: usize, is_over: &AtomicBool, rounds: &AtomicUsize) {
    let mut client = rmux.client();
    client.set_patience(PATIENCE);
    let name = format!("client {number}");
    let mut round = number * 1_000_003;
    while !is_over.load(Ordering::Relaxed) {
        let (mut requests, mut wanted) = (Vec::new(), Vec::new());
        let mut ask = |parts: &[&str], reply: Vec<u8>| {
            requests.extend(encode(parts));
            wanted.push(reply);
        };
        for step in 0..12 {
            round = round.wrapping_mul(31).wrapping_add(7 + step);
            let key = round % KEYS;
            let (text, value) = (format!("key:{key}"), known_value(key));
            match round % 7 {
                0 => ask(&["SET", &text, &value], b"+OK\r\n".to_vec()),
                1 => ask(&["ECHO", &name], bulk(name.as_bytes())),
                2 => {
                    let other = (key + 1) % KEYS;
                    let other_text = format!("key:{other}");
                    let values = [bulk(value.as_bytes()), bulk(known_value(other).as_bytes())].concat();
                    ask(&["MGET", &text, &other_text], [&b"*2\r\n"[..], &values].concat());
                }
                3 => {
                    ask(&["MULTI"], b"+OK\r\n".to_vec());
                    ask(&["GET", &text], b"+QUEUED\r\n".to_vec());
                    ask(&["EXEC"], [b"*1\r\n".to_vec(), bulk(value.as_bytes())].concat());
                }
                _ => ask(&["GET", &text], bulk(value.as_bytes())),
            }
        }
        client.send(&requests);
        for wanted in wanted {
            let reply = client.try_reply().unwrap_or_else(|why| panic!("{name}: {why}"));
            assert_eq!(show(&reply), show(&wanted), "{name}");
        }
        rounds.fetch_add(1, Ordering::Relaxed);
    }
}

const KEYS: usize = 97;

#[test]
fn a_hundred_reloads_under_full_load_harm_nobody() {
    let servers = [RedisServer::start(), RedisServer::start(), RedisServer::start()];
    for server in &servers {
        let mut client = server.client();
        for key in 0..KEYS {
            assert_eq!(show(&client.cmd(&["SET", &format!("key:{key}"), &known_value(key)])), "+OK\r\n");
        }
    }
    let [a, b, c] = [0, 1, 2].map(|index| &servers[index]);
    let orders = [vec![a, b, c], vec![c, a], vec![a], vec![b, c, a], vec![c, b], vec![a, b], vec![a, b, c, a]];
    let limits = ["", r#", "poolSize": 3"#, r#", "pipelineMax": 4, "clientOutstandingMax": 5"#, r#", "leaseMax": 2"#];
    let folder = Scratch::new();
    let socket = folder.join("rmux.sock");
    let with = |round: usize| {
        let patient = r#""remoteTimeout": 15000, "maxProcesses": 2"#;
        [pool(&socket, &orders[round % orders.len()], &format!("{patient}{}", limits[round % limits.len()]))]
    };
    let rmux = Reloaded::start(folder, &with(0));
    let (is_over, rounds) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (rmux, is_over, rounds) = (&rmux.rmux, &is_over, &rounds);
                scope.spawn(move || ask_on(rmux, number, is_over, rounds))
            })
            .collect();
        for round in 1..=100 {
            // Each of them in the middle of the traffic of all.
            let before = rounds.load(Ordering::Relaxed);
            wait_until("traffic", PATIENCE, || {
                rounds.load(Ordering::Relaxed) >= before + CLIENTS || clients.iter().any(|client| client.is_finished())
            });
            let is_well = !clients.iter().any(|client| client.is_finished());
            if !is_well {
                break;
            }
            rmux.reload(&with(round));
        }
        is_over.store(true, Ordering::Relaxed);
        clients.into_iter().for_each(|client| client.join().expect("this client saw nothing wrong"));
    });
    assert_eq!(rmux.rmux.log().matches("reload: done").count(), 100);
    // And what is not needed any more is given back.
    rmux.reload(&[pool(&socket, &[b], r#""maxProcesses": 2"#)]);
    for server in [a, c] {
        wait_until("no connections to a server that is gone", PATIENCE, || server.clients_connected() == 0);
    }
}

const CLIENTS: usize = 6;
