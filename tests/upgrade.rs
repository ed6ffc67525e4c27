//! Another process of the program takes over from the one that runs, and nobody is refused or answered wrongly.
//!
//! The real binary in front of a real redis-server. Each process but the first is a child of the one before, so what is
//! known of them is what an operator knows: the pid file, the log, `/proc`.

mod support;

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use support::client::{Client, encode};
use support::http::{Http, get};
use support::server::{RedisServer, answers};
use support::{Address, Kind, PATIENCE, Scratch, free_port, signal, wait_for_exit, wait_until};

/// A pool on a Unix socket and one on a port, and all processes that have ever served them.
struct Service {
    first: Child,
    scratch: Scratch,
    port: u16,
}

impl Service {
    fn start(server: &RedisServer, drain_ms: u64) -> Service {
        Service::start_as(server, drain_ms, |_, _| {})
    }

    /// The same, and the command may be changed before it is run.
    fn start_as(server: &RedisServer, drain_ms: u64, change: impl FnOnce(&mut Command, &Scratch)) -> Service {
        let (scratch, port) = (Scratch::new(), free_port());
        // A copy, as a package would put it where it is replaced later.
        let binary = scratch.join("rmux");
        copy(Path::new(env!("CARGO_BIN_EXE_rmux")), &binary);
        write_config(&scratch, server, &[("rmux.sock", port)]);
        // The shell knows the number that a manager would put there.
        let mut command = Command::new("sh");
        command.args(["-c", r#"WATCHDOG_PID=$$ exec "$0" "$@""#]).arg(binary);
        for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID", "JOURNAL_STREAM"] {
            command.env_remove(name);
        }
        command.arg(format!("-config={}", scratch.join("rmux.json").display()));
        command.arg(format!("-pidFile={}", scratch.join("rmux.pid").display()));
        command.arg(format!("-drainTimeout={drain_ms}")).stdin(Stdio::null());
        let log = File::create(scratch.join("log")).expect("the folder can be written");
        command.stderr(log.try_clone().expect("a descriptor is free")).stdout(log);
        change(&mut command, &scratch);
        let first = command.spawn().expect("there is a shell");
        let service = Service { first, scratch, port };
        for kind in support::KINDS {
            wait_until("an answer to PING", PATIENCE, || answers(&service.address(kind)));
        }
        service.wait_for_line("listens on", 2);
        wait_until("a pid file", PATIENCE, || service.process() != 0);
        service
    }

    fn address(&self, kind: Kind) -> Address {
        match kind {
            Kind::Tcp => Address::Tcp(self.port),
            Kind::Unix => Address::Unix(self.scratch.join("rmux.sock")),
        }
    }

    fn client(&self, kind: Kind) -> Client {
        Client::connect(&self.address(kind))
    }

    /// The process that serves now, by its pid file; 0 if there is none.
    fn process(&self) -> u32 {
        fs::read_to_string(self.scratch.join("rmux.pid")).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }

    /// Has another process take over, and returns when it has.
    fn upgrade(&self) -> u32 {
        let (old, done) = (self.process(), self.count("has taken over"));
        signal(old, "USR2");
        // One line of the old one, and one of the new.
        self.wait_for_line("has taken over", done + 2);
        let new = self.process();
        assert_ne!(new, old, "{}", self.log());
        new
    }

    fn log(&self) -> String {
        fs::read_to_string(self.scratch.join("log")).expect("it was made")
    }

    fn count(&self, words: &str) -> usize {
        self.log().matches(words).count()
    }

    fn wait_for_line(&self, words: &str, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.count(words) < count {
            assert!(Instant::now() < deadline, "not {count} times {words:?}:\n{}", self.log());
            thread::park_timeout(Duration::from_millis(1));
        }
    }

    /// The processes of this service that run.
    fn processes(&self) -> Vec<u32> {
        let scratch = format!("{}/", self.scratch.path().display());
        let entries = fs::read_dir("/proc").expect("/proc is there").flatten();
        let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let is_ours = |id: &u32| {
            // That of a process that has ended, and is not waited for, is empty.
            let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&scratch)
        };
        ids.filter(is_ours).collect()
    }

    /// Ends it, and waits until no process of it is left.
    fn stop(&mut self) {
        self.stop_leaving_files();
        assert!(!self.scratch.join("rmux.pid").exists());
    }

    fn stop_leaving_files(&mut self) {
        signal(self.process(), "TERM");
        wait_until("the end of all processes", PATIENCE, || {
            let _ = self.first.try_wait();
            self.processes().is_empty()
        });
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.processes().into_iter().for_each(|id| {
            let _ = Command::new("sh").args(["-c", &format!("kill -KILL {id}")]).stderr(Stdio::null()).status();
        });
        let _ = self.first.wait();
        if thread::panicking() {
            eprintln!("--- the log ---\n{}", self.log());
        }
    }
}

/// A pool on each of these sockets, and on each port.
fn write_config(scratch: &Scratch, server: &RedisServer, listeners: &[(&str, u16)]) {
    let server = server.address(Kind::Unix).flag_value();
    let pools: Vec<String> = listeners
        .iter()
        .flat_map(|(socket, port)| {
            let socket = scratch.join(socket).display().to_string();
            let listen = [format!(r#""socket": "{socket}""#), format!(r#""host": "127.0.0.1", "port": {port}"#)];
            listen.map(|listen| format!(r#"{{{listen}, "unixConnections": ["{server}"], "remoteTimeout": 15000}}"#))
        })
        .collect();
    fs::write(scratch.join("rmux.json"), format!("[{}]", pools.join(","))).expect("the folder can be written");
}

#[test]
fn twenty_upgrades_under_short_connections_refuse_nobody() {
    let server = RedisServer::start();
    let mut service = Service::start(&server, 30_000);
    let (is_over, served) = (AtomicBool::new(false), AtomicU64::new(0));
    let inode = |service: &Service| fs::metadata(service.scratch.join("rmux.sock")).expect("it is there").ino();
    let (file, first) = (inode(&service), service.process());
    thread::scope(|scope| {
        for number in 0..4 {
            let address = service.address(if number % 2 == 0 { Kind::Unix } else { Kind::Tcp });
            let (is_over, served) = (&is_over, &served);
            scope.spawn(move || {
                let key = format!("k{number}");
                for count in 0_u64.. {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    let mut client = Client::connect(&address);
                    let value = count.to_string();
                    assert_eq!(client.cmd(&["SET", &key, &value]), b"+OK\r\n", "{address:?} {count}");
                    let expected = format!("${}\r\n{value}\r\n", value.len()).into_bytes();
                    assert_eq!(client.cmd(&["GET", &key]), expected, "{address:?} {count}");
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // Ends them, however this ends.
        let _guard = Guard(&is_over);
        for _ in 0..20 {
            let before = served.load(Ordering::Relaxed);
            service.upgrade();
            wait_until("clients that are served", PATIENCE, || served.load(Ordering::Relaxed) > before + 20);
        }
    });
    assert_eq!(inode(&service), file, "the socket's file is the same");
    assert_ne!(service.process(), first);
    wait_until("the end of those that were replaced", PATIENCE, || {
        let _ = service.first.try_wait();
        service.processes() == [service.process()]
    });
    service.stop();
    assert!(!service.scratch.join("rmux.sock").exists(), "the last one has removed it");
    assert_eq!((service.count("ERROR"), service.count("WARN")), (0, 0), "{}", service.log());
}

struct Guard<'a>(&'a AtomicBool);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What became of one request.
enum Outcome {
    Answered,
    /// It could not be sent.
    Unsent,
    /// It was sent, and the connection ended as it ends between two requests.
    Ended,
}

fn increment(client: &mut support::Stream, key: &str) -> Outcome {
    if client.write_all(&encode(&["INCR", key])).is_err() {
        return Outcome::Unsent;
    }
    let mut reply = Vec::new();
    while !reply.ends_with(b"\r\n") {
        let mut bytes = [0; 64];
        match client.read(&mut bytes) {
            Ok(0) => {
                assert!(reply.is_empty(), "an end within a reply");
                return Outcome::Ended;
            }
            Ok(length) => reply.extend_from_slice(&bytes[..length]),
            Err(error) => panic!("{client:?}: {error}"),
        }
    }
    assert_eq!(reply[0], b':', "{}", String::from_utf8_lossy(&reply));
    Outcome::Answered
}

#[test]
fn who_watches_is_answered_all_the_time_and_sees_the_new_process() {
    let server = RedisServer::start();
    for kind in support::KINDS {
        let mut admin = Address::Tcp(free_port());
        let mut service = Service::start_as(&server, 30_000, |command, scratch| {
            if kind == Kind::Unix {
                admin = Address::Unix(scratch.join("admin.sock"));
            }
            command.arg(format!("-admin={}", admin.flag_value()));
        });
        let process = || {
            let status = get(&admin, "/status.json").body;
            let number = status.split_once("\"process\":{\"id\":").expect("it says who it is").1;
            number.split(',').next().and_then(|digits| digits.parse::<u32>().ok()).expect("a number")
        };
        wait_until("it is ready", PATIENCE, || get(&admin, "/readyz").status == 200);
        assert_eq!(process(), service.process());
        let mut kept = Http::connect(&admin);
        assert_eq!(kept.get("/healthz").body, "ok\n");
        // One that fails leaves the endpoint as it was.
        let failed = service.count("upgrade: failed");
        fs::write(service.scratch.join("rmux.json"), "no list").expect("the folder can be written");
        signal(service.process(), "USR2");
        service.wait_for_line("upgrade: failed", failed + 1);
        assert_eq!(process(), service.process());
        assert_eq!(kept.get("/readyz").body, "ok\n");
        write_config(&service.scratch, &server, &[("rmux.sock", service.port)]);

        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            for page in ["/readyz", "/metrics"] {
                let (is_over, admin) = (&is_over, &admin);
                scope.spawn(move || {
                    while !is_over.load(Ordering::Relaxed) {
                        assert_eq!(get(admin, page).status, 200, "{page}");
                    }
                });
            }
            let _guard = Guard(&is_over);
            for _ in 0..3 {
                let new = service.upgrade();
                wait_until("the new one answers", PATIENCE, || process() == new);
            }
        });
        kept.expect_closed();
        if let Address::Unix(path) = &admin {
            assert_eq!(fs::metadata(path).expect("it is there").permissions().mode() & 0o777, 0o600);
        }
        service.stop();
        assert!(!service.scratch.join("admin.sock").exists(), "the last one has removed it");
    }
}

#[test]
fn persistent_connections_end_between_requests_and_no_request_is_run_unanswered() {
    let server = RedisServer::start();
    let mut service = Service::start(&server, 1_500);
    let is_over = AtomicBool::new(false);
    let counts: Vec<(String, u64, u64)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..6)
            .map(|number| {
                let kind = if number % 2 == 0 { Kind::Unix } else { Kind::Tcp };
                let (address, is_over) = (service.address(kind), &is_over);
                scope.spawn(move || {
                    let key = format!("k{number}");
                    let connect = || address.connect().expect("it listens");
                    // One that works all the time, and many that are silent between.
                    let mut clients: Vec<support::Stream> = (0..20).map(|_| connect()).collect();
                    let (mut answered, mut ended, mut turn) = (0, 0, 0);
                    while !is_over.load(Ordering::Relaxed) {
                        turn += 1;
                        let client = if turn % 8 == 0 { turn / 8 % clients.len() } else { 0 };
                        match increment(&mut clients[client], &key) {
                            Outcome::Answered => {
                                answered += 1;
                                continue;
                            }
                            Outcome::Unsent => {}
                            Outcome::Ended => assert_eq!(kind, Kind::Tcp, "it was sent, and nobody took it"),
                        }
                        ended += 1;
                        clients[client] = connect();
                    }
                    (key, answered, ended)
                })
            })
            .collect();
        let _guard = Guard(&is_over);
        for round in 0..3 {
            let old = service.process();
            service.upgrade();
            service.wait_for_line("has stopped", round + 1);
            wait_until("its end", PATIENCE, || {
                let _ = service.first.try_wait();
                !service.processes().contains(&old)
            });
        }
        drop(_guard);
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let mut direct = server.client();
    for (key, answered, ended) in counts {
        let value = direct.cmd(&["GET", &key]);
        assert_eq!(String::from_utf8_lossy(support::client::body(&value)), answered.to_string(), "{key}");
        assert!(ended >= 20, "{key}: only {ended} of 60 connections have ended");
    }
    service.stop();
}

#[test]
fn whoever_is_in_the_middle_of_something_is_served_on() {
    let server = RedisServer::start();
    let mut service = Service::start(&server, 1_500);
    for kind in support::KINDS {
        let [mut idle, mut multi, mut watching, mut subscriber, mut blocked, mut partial] =
            [(); 6].map(|()| service.client(kind));
        assert_eq!(idle.cmd(&["PING"]), b"+PONG\r\n");
        assert_eq!(multi.cmd(&["MULTI"]), b"+OK\r\n");
        assert_eq!(multi.cmd(&["INCR", "n"]), b"+QUEUED\r\n");
        assert_eq!(watching.cmd(&["WATCH", "n"]), b"+OK\r\n");
        subscriber.cmd(&["SUBSCRIBE", "news"]);
        blocked.send(&encode(&["BLPOP", "list", "0"]));
        partial.send(b"*2\r\n$4\r\nECHO\r\n$5\r\nhe");
        wait_until("one that waits", PATIENCE, || {
            server.ask("INFO clients").windows(17).any(|w| w == b"blocked_clients:1")
        });

        let stopped = service.count("has stopped");
        service.upgrade();
        idle.expect_closed();
        assert_eq!(service.count("has stopped"), stopped, "those who are busy are served on");
        let mut new = service.client(kind);
        assert_eq!(new.cmd(&["PUBLISH", "news", "flash"]), b":1\r\n");
        assert_eq!(subscriber.reply(), b"*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nflash\r\n");
        assert_eq!(multi.cmd(&["EXEC"])[..4], *b"*1\r\n");
        multi.expect_closed();
        assert_eq!(new.cmd(&["RPUSH", "list", "x"]), b":1\r\n");
        assert_eq!(blocked.reply(), b"*2\r\n$4\r\nlist\r\n$1\r\nx\r\n");
        blocked.expect_closed();
        partial.send(b"llo\r\n");
        assert_eq!(partial.reply(), b"$5\r\nhello\r\n");
        partial.expect_closed();
        assert_eq!(watching.cmd(&["GET", "n"])[..1], *b"$", "it is there still");
        // These two stay until the time is over.
        watching.expect_closed();
        subscriber.expect_closed();
        service.wait_for_line("has stopped", stopped + 1);
        assert_eq!(new.cmd(&["PING"]), b"+PONG\r\n");
    }
    service.stop();
}

#[test]
fn a_new_process_that_fails_leaves_everything_as_it_was() {
    let server = RedisServer::start();
    let mut service = Service::start(&server, 1_000);
    let (binary, kept) = (service.scratch.join("rmux"), service.scratch.join("kept"));
    let first = service.process();
    let mut client = service.client(Kind::Unix);
    let mut fails = |service: &Service, reason: &str| {
        let count = service.count("upgrade: failed");
        signal(first, "USR2");
        service.wait_for_line("upgrade: failed", count + 1);
        assert!(service.log().contains(reason), "{reason:?}:\n{}", service.log());
        assert_eq!(service.process(), first);
        assert_eq!(client.cmd(&["PING"]), b"+PONG\r\n");
        support::KINDS.into_iter().for_each(|kind| assert!(answers(&service.address(kind))));
    };
    fs::rename(&binary, &kept).expect("it is there");
    fails(&service, "upgrade: failed, and nothing is changed: cannot start");
    script(&binary, "exit 7");
    fails(&service, "has ended before it was ready: exit status: 7");
    script(&binary, "echo nonsense >&0; exec cat >/dev/null");
    fails(&service, "rmux says something that this one does not understand: ");
    // The last word that it hears, behind two sockets and the end of them, is that it may begin.
    let words = "printf R >&0; dd bs=4096 count=4 <&0 >/dev/null 2>&1; echo $$ >";
    script(&binary, &format!("{words}{}; exit 9", service.scratch.join("rmux.pid").display()));
    fails(&service, "has ended before it was ready: exit status: 9");
    fs::remove_file(&binary).expect("it is there");
    copy(&kept, &binary);
    let config = service.scratch.join("rmux.json");
    let good = fs::read(&config).expect("it is there");
    fs::write(&config, "[{}]").expect("it can be written");
    fails(&service, "has ended before it was ready: exit status: 2");
    fs::write(&config, good).expect("it can be written");
    service.upgrade();
    client.expect_closed();
    service.stop();
}

#[test]
fn a_new_process_that_is_given_up_late_leaves_the_old_one_to_its_manager_and_its_pid_file() {
    let (server, folder) = (RedisServer::start(), Scratch::new());
    let manager = UnixDatagram::bind(folder.join("notify")).expect("the folder can be written");
    manager.set_read_timeout(Some(PATIENCE)).expect("more than zero");
    let mut service = Service::start_as(&server, 1_000, |command, _| {
        command.env("NOTIFY_SOCKET", folder.join("notify"));
    });
    let (first, pid_file) = (service.process(), service.scratch.join("rmux.pid"));
    // It takes its turn, writes its number, and never says that it is done.
    let words = "printf R >&0; dd bs=4096 count=4 <&0 >/dev/null 2>&1; echo $$ >";
    script(&service.scratch.join("rmux"), &format!("{words}{}; exec cat", pid_file.display()));
    signal(first, "USR2");
    wait_until("a pid file of the new one", PATIENCE, || ![0, first].contains(&service.process()));
    signal(first, "TERM");
    let status = wait_for_exit(&mut service.first, PATIENCE).expect("it ends");
    assert!(status.success(), "{status}:\n{}", service.log());
    assert!(!pid_file.exists(), "nobody is left that it is about");
    let mut told = Vec::new();
    while !told.last().is_some_and(|word: &String| word.starts_with("STOPPING")) {
        let mut buffer = [0; 4096];
        let length = manager.recv(&mut buffer).expect("told something in time");
        told.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
    }
    assert_eq!(told[told.len() - 2], format!("MAINPID={first}"), "{told:?}");
}

/// Another process writes the file: a program that a process has open for writing cannot be started, and a child of this
/// process, just forked for another test, would have it open.
fn shell(script: &str, one: &str, other: &Path) {
    let status = Command::new("sh").args(["-c", script, one]).arg(other).status().expect("there is a shell");
    assert!(status.success(), "{script}: {status}");
}

fn copy(from: &Path, to: &Path) {
    shell(r#"cp "$0" "$1""#, from.to_str().expect("text"), to);
}

fn script(path: &Path, text: &str) {
    // Beside it, and renamed: a program that runs is not written to.
    let write = r##"printf '#!/bin/sh\n%s\n' "$0" >"$1.new" && chmod 755 "$1.new" && mv "$1.new" "$1""##;
    shell(write, text, path);
}

#[test]
fn a_second_signal_meanwhile_is_told_so_and_term_ends_both() {
    let server = RedisServer::start();
    let mut service = Service::start(&server, 1_000);
    // As long as there is a standard input.
    script(&service.scratch.join("rmux"), "exec cat");
    let first = service.process();
    signal(first, "USR2");
    wait_until("a second process", PATIENCE, || service.processes().len() == 2 || children_of(first).len() == 1);
    let child = children_of(first)[0];
    signal(first, "USR2");
    service.wait_for_line("upgrade: refused: an upgrade is under way", 1);
    signal(first, "TERM");
    let status = wait_for_exit(&mut service.first, PATIENCE).expect("it ends");
    assert!(status.success(), "{status}:\n{}", service.log());
    assert!(!Path::new(&format!("/proc/{child}")).exists(), "it is gone, too");
    assert!(!service.scratch.join("rmux.sock").exists() && !service.scratch.join("rmux.pid").exists());
}

fn children_of(process: u32) -> Vec<u32> {
    let children = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten().map(|task| {
        let text = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        text.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<u32>>()
    });
    children.flatten().collect()
}

#[test]
fn pools_that_come_and_go_with_the_new_configuration() {
    let server = RedisServer::start();
    let mut service = Service::start(&server, 1_000);
    let (old_port, port) = (service.port, free_port());
    let (old, new) = (service.scratch.join("rmux.sock"), service.scratch.join("other.sock"));
    write_config(&service.scratch, &server, &[("other.sock", port)]);
    service.upgrade();
    for address in [Address::Unix(new.clone()), Address::Tcp(port)] {
        assert_eq!(Client::connect(&address).cmd(&["PING"]), b"+PONG\r\n");
    }
    for address in [Address::Unix(old.clone()), Address::Tcp(old_port)] {
        wait_until("nobody there", PATIENCE, || address.connect().is_err());
    }
    assert!(!old.exists());
    service.port = port;
    service.stop();
    assert!(!new.exists());
}

#[test]
fn a_manager_hears_of_the_new_process_and_it_alone_shows_life() {
    let (server, folder) = (RedisServer::start(), Scratch::new());
    let manager = UnixDatagram::bind(folder.join("notify")).expect("the folder can be written");
    manager.set_read_timeout(Some(PATIENCE)).expect("more than zero");
    let hear = || {
        let mut buffer = [0; 4096];
        let length = manager.recv(&mut buffer)?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&buffer[..length]).into_owned())
    };
    let news = || loop {
        let text = hear().expect("told something in time");
        if text != "WATCHDOG=1" {
            return text;
        }
    };
    let mut service = Service::start_as(&server, 1_000, |command, _| {
        command.env("NOTIFY_SOCKET", folder.join("notify")).env("WATCHDOG_USEC", "90000");
    });
    assert!(news().starts_with("READY=1\nSTATUS=listens on "));
    for round in 1..3 {
        let new = service.upgrade();
        assert_eq!(news(), format!("MAINPID={new}"));
        assert!(news().starts_with("READY=1\nSTATUS=listens on "));
        service.wait_for_line("has stopped", round);
        manager.set_nonblocking(true).expect("a socket can be that");
        while hear().is_ok() {}
        manager.set_nonblocking(false).expect("a socket can be that");
        (0..3).for_each(|_| assert_eq!(hear().expect("in time"), "WATCHDOG=1"));
    }
    service.stop();
    assert!(news().starts_with("STOPPING=1\n"));
}

#[test]
fn a_new_process_that_crashes_takes_the_old_one_with_it_for_the_manager_to_see() {
    let (server, folder) = (RedisServer::start(), Scratch::new());
    let manager = UnixDatagram::bind(folder.join("notify")).expect("the folder can be written");
    manager.set_read_timeout(Some(PATIENCE)).expect("more than zero");
    let mut service = Service::start_as(&server, 30_000, |command, _| {
        command.env("NOTIFY_SOCKET", folder.join("notify"));
    });
    let mut subscriber = service.client(Kind::Unix);
    subscriber.cmd(&["SUBSCRIBE", "news"]);
    let old = service.process();
    let new = service.upgrade();
    signal(new, "KILL");
    let status = wait_for_exit(&mut service.first, PATIENCE).expect("it ends");
    assert_eq!(status.code(), Some(1), "{}", service.log());
    subscriber.expect_closed();
    let told: Vec<String> = (0..4)
        .map(|_| {
            let mut buffer = [0; 4096];
            let length = manager.recv(&mut buffer).expect("told something in time");
            String::from_utf8_lossy(&buffer[..length]).lines().next().unwrap_or_default().to_owned()
        })
        .collect();
    assert_eq!(told, ["READY=1".to_owned(), format!("MAINPID={new}"), "READY=1".to_owned(), format!("MAINPID={old}")]);
}

#[test]
fn a_socket_of_the_manager_is_passed_on_and_outlives_all() {
    let server = RedisServer::start();
    let mut given = None;
    let mut service = Service::start_as(&server, 1_000, |command, scratch| {
        let listener = UnixListener::bind(scratch.join("rmux.sock")).expect("the folder can be written");
        command.stdin(Stdio::from(OwnedFd::from(listener.try_clone().expect("a descriptor is free"))));
        given = Some(listener);
    });
    for _ in 0..2 {
        service.upgrade();
        assert_eq!(service.client(Kind::Unix).cmd(&["PING"]), b"+PONG\r\n");
    }
    service.stop();
    assert!(service.scratch.join("rmux.sock").exists(), "it is the manager's");
}

#[test]
fn who_was_root_is_replaced_and_a_folder_of_root_s_is_no_hindrance() {
    let scratch = Scratch::new();
    if fs::metadata(scratch.path()).expect("just made").uid() != 0 {
        return;
    }
    let server = RedisServer::start();
    let Address::Unix(socket) = server.address(Kind::Unix) else { panic!("a Unix address was asked for") };
    fs::set_permissions(socket, fs::Permissions::from_mode(0o777)).expect("root may");
    let mut service = Service::start_as(&server, 1_000, |command, _| {
        command.args(["-user=65534", "-group=65533"]);
    });
    for _ in 0..2 {
        let new = service.upgrade();
        let owner = fs::metadata(format!("/proc/{new}")).expect("it runs").uid();
        assert_eq!(owner, 65534);
        assert_eq!(service.client(Kind::Unix).cmd(&["PING"]), b"+PONG\r\n");
    }
    service.stop_leaving_files();
}
