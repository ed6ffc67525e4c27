//! The process as a service: what it tells its manager, the socket that it is given, whom it becomes, its health.
//!
//! The manager is played by the test: a datagram socket for what is told, a listening socket as standard input, the
//! environment. What only root can do is tried when root runs the tests, and what others get is tried otherwise.

mod support;

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use support::client::Client;
use support::proxy::{connections_flag, run_to_end};
use support::server::{RedisServer, answers};
use support::{Address, Kind, PATIENCE, Scratch, free_port, signal, wait_for_exit, wait_until};

/// A process that is ended at the end of the test, and what it has written.
struct Service {
    child: Child,
    scratch: Scratch,
}

impl Service {
    fn start(mut command: Command) -> Service {
        let scratch = Scratch::new();
        let log = File::create(scratch.join("log")).expect("the folder can be written");
        command.stderr(log.try_clone().expect("a descriptor is free")).stdout(log);
        // A copy of the program is busy while another test's child, just forked, still has it open for writing.
        let mut child = None;
        wait_until("a program that is not busy", PATIENCE, || {
            let spawned = command.spawn();
            let is_busy = spawned.as_ref().is_err_and(|error| error.kind() == ErrorKind::ExecutableFileBusy);
            child = (!is_busy).then_some(spawned);
            !is_busy
        });
        let child = child.expect("it was spawned").expect("cargo has built rmux");
        Service { child, scratch }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.scratch.join("log")).expect("it was made")
    }

    fn wait_for_answer(&mut self, address: &Address) {
        wait_until("an answer to PING", PATIENCE, || {
            let end = self.child.try_wait().expect("a child can be waited for");
            assert!(end.is_none(), "it ended ({end:?}):\n{}", self.log());
            answers(address)
        });
    }

    /// Asks it to end, and returns its exit code.
    fn stop(&mut self) -> Option<i32> {
        signal(self.child.id(), "TERM");
        self.wait_for_end()
    }

    fn wait_for_end(&mut self) -> Option<i32> {
        let status = wait_for_exit(&mut self.child, PATIENCE);
        status.unwrap_or_else(|| panic!("it still runs:\n{}", self.log())).code()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary with these flags, in an environment without a manager.
fn rmux(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rmux"));
    for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "JOURNAL_STREAM"] {
        command.env_remove(name);
    }
    command.args(flags).stdin(Stdio::null());
    command
}

/// A manager's end: what it is told, each within `PATIENCE`.
struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    fn at(path: &Path) -> Manager {
        let socket = UnixDatagram::bind(path).expect("the folder can be written");
        socket.set_read_timeout(Some(PATIENCE)).expect("more than zero");
        Manager { socket }
    }

    fn next(&self) -> String {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).expect("told something in time");
        String::from_utf8(buffer[..length].to_vec()).expect("text")
    }
}

fn is_root() -> bool {
    let scratch = Scratch::new();
    fs::metadata(scratch.path()).expect("just made").uid() == 0
}

#[test]
fn a_manager_is_told_of_readiness_life_and_end() {
    let scratch = Scratch::new();
    let server = RedisServer::start();
    let Address::Tcp(port) = server.address(Kind::Tcp) else { panic!("a TCP address was asked for") };
    let socket = scratch.join("rmux.sock");
    let manager = Manager::at(&scratch.join("notify"));
    let mut command = rmux(&[
        &format!("-socket={}", socket.display()),
        // One name that is known, and one that nobody will ever have: it is ready with both.
        &format!("-tcpConnections=localhost:{port} no-such-host.invalid:6379"),
    ]);
    command.env("NOTIFY_SOCKET", scratch.join("notify")).env("WATCHDOG_USEC", "90000");
    let mut service = Service::start(command);
    let mut told = manager.next();
    while told == "WATCHDOG=1" {
        told = manager.next();
    }
    assert_eq!(told, format!("READY=1\nSTATUS=listens on {}, with 2 servers", socket.display()));
    assert!(answers(&Address::Unix(socket.clone())), "ready is ready");
    for _ in 0..3 {
        assert_eq!(manager.next(), "WATCHDOG=1");
    }
    assert_eq!(service.stop(), Some(0), "{}", service.log());
    while told != "STOPPING=1\nSTATUS=answers what is outstanding" {
        told = manager.next();
        assert!(told == "WATCHDOG=1" || told.starts_with("STOPPING=1"), "{told}");
    }
}

/// A file with a pool on each of these sockets.
fn write_pools(file: &Path, sockets: &[&Path]) {
    let pool = |socket: &&Path| format!(r#"{{"socket": "{}", "tcpConnections": ["127.0.0.1:1"]}}"#, socket.display());
    let pools: Vec<String> = sockets.iter().map(pool).collect();
    fs::write(file, format!("[{}]", pools.join(", "))).expect("the folder can be written");
}

#[test]
fn a_manager_is_told_of_a_reload_and_of_its_end() {
    let scratch = Scratch::new();
    let (file, socket, other) = (scratch.join("rmux.json"), scratch.join("rmux.sock"), scratch.join("other.sock"));
    write_pools(&file, &[&socket]);
    let manager = Manager::at(&scratch.join("notify"));
    let mut command = rmux(&[&format!("-config={}", file.display())]);
    command.env("NOTIFY_SOCKET", scratch.join("notify"));
    let mut service = Service::start(command);
    let one = format!("READY=1\nSTATUS=listens on {}, with 1 server", socket.display());
    let two = format!("READY=1\nSTATUS=listens on {} {}, with 2 servers", socket.display(), other.display());
    assert_eq!(manager.next(), one);
    let mut last = 0;
    let mut reload = || {
        signal(service.child.id(), "HUP");
        let told = manager.next();
        let begins = told.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&told);
        let (at, status) = begins.split_once('\n').expect(&told);
        assert_eq!(status, "STATUS=reads its configuration again");
        let at: u64 = at.parse().expect("a number");
        assert!(at > last, "{at} after {last}");
        last = at;
        manager.next()
    };
    assert_eq!(reload(), one, "it is ready again even if nothing has changed");
    write_pools(&file, &[&socket, &other]);
    assert_eq!(reload(), two);
    assert!(answers(&Address::Unix(other.clone())), "ready is ready");
    fs::write(&file, "[]").expect("writable");
    let told = reload();
    assert!(told.starts_with(&format!("{two}; the last reload was refused: ")), "{told}");
    assert!(told.ends_with("the list of pools is empty: at least one is needed"), "{told}");
    write_pools(&file, &[&socket]);
    assert_eq!(reload(), one);
    assert_eq!(service.stop(), Some(0), "{}", service.log());
}

#[test]
fn a_socket_of_the_manager_outlives_reloads() {
    let scratch = Scratch::new();
    let (file, path, other) = (scratch.join("rmux.json"), scratch.join("given.sock"), scratch.join("other.sock"));
    let given = UnixListener::bind(&path).expect("the folder can be written");
    write_pools(&file, &[&path]);
    let mut command = rmux(&[&format!("-config={}", file.display())]);
    command.stdin(Stdio::from(OwnedFd::from(given.try_clone().expect("a descriptor is free"))));
    let mut service = Service::start(command);
    service.wait_for_answer(&Address::Unix(path.clone()));
    let id = service.child.id();
    let wait_for = |service: &Service, what: &str, times: usize| {
        wait_until(what, PATIENCE, || service.log().matches(what).count() == times);
    };
    write_pools(&file, &[&other, &path]);
    signal(id, "HUP");
    wait_for(&service, "reload: done", 1);
    assert!(answers(&Address::Unix(path.clone())) && answers(&Address::Unix(other.clone())));
    // By another name: the socket is the same.
    fs::create_dir(scratch.join("folder")).expect("writable");
    let alias = scratch.join("folder").join("..").join("given.sock");
    write_pools(&file, &[&alias, &other]);
    signal(id, "HUP");
    wait_for(&service, "reload: done", 2);
    wait_for(&service, "has ended", 1);
    assert!(answers(&Address::Unix(path.clone())) && answers(&Address::Unix(other.clone())));
    // Nobody would serve it, and its clients would wait for ever.
    write_pools(&file, &[&other]);
    signal(id, "HUP");
    wait_for(&service, "reload: refused", 1);
    assert!(service.log().contains("given.sock for rmux, and no pool does any more"), "{}", service.log());
    assert!(answers(&Address::Unix(path.clone())));
    assert_eq!(service.stop(), Some(0), "{}", service.log());
    assert!(path.exists(), "it is the manager's");
    assert!(!other.exists(), "that one was rmux's");
}

#[test]
fn a_manager_that_is_gone_is_a_warning() {
    let scratch = Scratch::new();
    let socket = scratch.join("rmux.sock");
    let mut command = rmux(&[&format!("-socket={}", socket.display())]);
    command.env("NOTIFY_SOCKET", scratch.join("nobody"));
    let mut service = Service::start(command);
    service.wait_for_answer(&Address::Unix(socket));
    assert_eq!(service.stop(), Some(0));
    assert!(service.log().contains("[WARN] the service manager at"), "{}", service.log());
}

#[test]
fn the_journal_gets_lines_without_a_time() {
    let scratch = Scratch::new();
    let socket = scratch.join("rmux.sock");
    let mut command = rmux(&[&format!("-socket={}", socket.display())]);
    // The test's own log plays the journal: what counts is that it is the file that was announced.
    let log = File::create(scratch.join("journal")).expect("the folder can be written");
    let file = log.metadata().expect("just made");
    command.env("JOURNAL_STREAM", format!("{}:{}", file.dev(), file.ino())).stdout(log).stderr(Stdio::null());
    let mut child = command.spawn().expect("cargo has built rmux");
    let address = Address::Unix(socket);
    wait_until("an answer to PING", PATIENCE, || answers(&address));
    signal(child.id(), "TERM");
    assert!(wait_for_exit(&mut child, PATIENCE).is_some_and(|status| status.success()));
    let lines = fs::read_to_string(scratch.join("journal")).expect("it was made");
    assert!(lines.starts_with("[INFO] rmux ") || lines.starts_with("[WARN] "), "{lines}");
}

#[test]
fn a_socket_of_the_manager_is_served_and_outlives_the_service() {
    let scratch = Scratch::new();
    let server = RedisServer::start();
    let path = scratch.join("given.sock");
    let address = Address::Unix(path.clone());
    let given = UnixListener::bind(&path).expect("the folder can be written");
    let connections = connections_flag(&[server.address(Kind::Unix)]);
    let start = || {
        let mut command = rmux(&[&format!("-socket={}", path.display()), &connections]);
        command.stdin(Stdio::from(OwnedFd::from(given.try_clone().expect("a descriptor is free"))));
        Service::start(command)
    };
    // It waits in the queue of the socket before there is anybody to serve it.
    let mut early = Client::connect(&address);
    early.send(b"SET k v\r\n");
    let mut service = start();
    assert_eq!(early.reply(), b"+OK\r\n");
    assert_eq!(service.stop(), Some(0), "{}", service.log());
    assert!(path.exists(), "it is the manager's");
    let mut between = Client::connect(&address);
    between.send(b"GET k\r\n");
    let mut service = start();
    assert_eq!(between.reply(), b"$1\r\nv\r\n");
    assert_eq!(service.stop(), Some(0), "{}", service.log());
}

#[test]
fn a_tcp_socket_of_the_manager_is_found_by_its_port_among_several_pools() {
    let scratch = Scratch::new();
    let given = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = given.local_addr().expect("bound").port();
    let own = scratch.join("own.sock");
    let text = format!(
        r#"[{{"socket": "{}", "tcpConnections": ["127.0.0.1:1"]}}, {{"port": {port}, "tcpConnections": ["127.0.0.1:1"]}}]"#,
        own.display()
    );
    fs::write(scratch.join("rmux.json"), text).expect("the folder can be written");
    let mut command = rmux(&[&format!("-config={}", scratch.join("rmux.json").display())]);
    command.stdin(Stdio::from(OwnedFd::from(given)));
    let mut service = Service::start(command);
    service.wait_for_answer(&Address::Tcp(port));
    service.wait_for_answer(&Address::Unix(own.clone()));
    assert_eq!(service.stop(), Some(0), "{}", service.log());
    assert!(!own.exists(), "that one is rmux's");
}

#[test]
fn a_socket_that_no_pool_wants_is_an_error() {
    let scratch = Scratch::new();
    let given = UnixListener::bind(scratch.join("given.sock")).expect("the folder can be written");
    let mut command = rmux(&[&format!("-socket={}", scratch.join("other.sock").display())]);
    command.stdin(Stdio::from(OwnedFd::from(given)));
    let mut service = Service::start(command);
    assert_eq!(service.wait_for_end(), Some(1));
    assert!(service.log().contains("given.sock, and no pool of the configuration does"), "{}", service.log());
}

/// As systemd starts a service of one socket unit, with a shell in its place: sockets from 3 on, and their number.
fn activated(count: usize, flags: &[&str], given: OwnedFd) -> Service {
    let announce = format!(r#"LISTEN_FDS={count} LISTEN_PID=$$ exec "$0" "$@" 3<&0 </dev/null"#);
    let mut command = Command::new("sh");
    command.args(["-c", &announce, env!("CARGO_BIN_EXE_rmux")]).args(flags).stdin(Stdio::from(given));
    Service::start(command)
}

#[test]
fn a_socket_announced_by_listen_fds_is_served() {
    let scratch = Scratch::new();
    let path = scratch.join("given.sock");
    let given = UnixListener::bind(&path).expect("the folder can be written");
    let mut early = Client::connect(&Address::Unix(path.clone()));
    early.send(b"PING\r\n");
    let mut service = activated(1, &["-socket", path.to_str().expect("text")], given.into());
    assert_eq!(early.reply(), b"+PONG\r\n");
    let name = fs::read_to_string(format!("/proc/{}/comm", service.child.id())).expect("it runs");
    assert_eq!(name, "rmux\n", "the shell is gone");
    assert_eq!(service.stop(), Some(0), "{}", service.log());
    assert_eq!(service.log().matches("listens on").count(), 1, "{}", service.log());
    assert!(path.exists(), "it is the manager's");
}

#[test]
fn sockets_that_cannot_be_taken_up_are_an_error() {
    let scratch = Scratch::new();
    let path = scratch.join("given.sock");
    let flags = ["-socket", path.to_str().expect("text")];
    let given = UnixListener::bind(&path).expect("the folder can be written");
    let mut service = activated(2, &flags, given.into());
    assert_eq!(service.wait_for_end(), Some(1));
    assert!(service.log().contains("has passed 2 sockets, and rmux takes one"), "{}", service.log());
    let given = UnixDatagram::unbound().expect("a descriptor is free");
    let mut service = activated(1, &flags, given.into());
    assert_eq!(service.wait_for_end(), Some(1));
    assert!(service.log().contains("does not listen for streams"), "{}", service.log());
}

#[test]
fn the_pid_file_is_there_while_it_runs() {
    let scratch = Scratch::new();
    let (socket, pid_file) = (scratch.join("rmux.sock"), scratch.join("rmux.pid"));
    let flags = [format!("-socket={}", socket.display()), format!("-pidFile={}", pid_file.display())];
    let mut service = Service::start(rmux(&[&flags[0], &flags[1]]));
    service.wait_for_answer(&Address::Unix(socket));
    wait_until("the pid file", PATIENCE, || pid_file.exists());
    let expected = format!("{}\n", service.child.id());
    assert_eq!(fs::read_to_string(&pid_file).expect("it is there"), expected);

    let second = run_to_end(&[&flags[0], &flags[1]]);
    assert_eq!(second.code, Some(1), "{}", second.output);
    assert_eq!(fs::read_to_string(&pid_file).expect("it is there"), expected, "the second one has left it alone");
    assert_eq!(service.stop(), Some(0));
    assert!(!pid_file.exists());

    let nowhere = run_to_end(&[&flags[0], "-pidFile=/nonexistent/rmux.pid"]);
    assert_eq!(nowhere.code, Some(1));
    assert!(nowhere.output.contains("pidFile: /nonexistent/rmux.pid: No such file"), "{}", nowhere.output);
}

#[test]
fn root_becomes_the_user_once_it_listens() {
    if !is_root() {
        return who_is_not_root_stays_as_it_is();
    }
    let server = RedisServer::start();
    fs::set_permissions(server_socket(&server), fs::Permissions::from_mode(0o777)).expect("root may");
    // The folder is root's: only root can make the socket and the pid file there. The binary is copied to where the user
    // can reach it, as it would be in /usr/bin.
    let scratch = Scratch::new();
    let binary = scratch.join("rmux");
    fs::copy(env!("CARGO_BIN_EXE_rmux"), &binary).expect("there is room");
    for kind in [Kind::Unix, Kind::Tcp] {
        let (listen, address) = match kind {
            Kind::Unix => {
                let path = scratch.join("rmux.sock");
                (format!("-socket={}", path.display()), Address::Unix(path))
            }
            Kind::Tcp => {
                let port = free_port();
                (format!("-port={port}"), Address::Tcp(port))
            }
        };
        let pid_file = scratch.join("rmux.pid");
        let mut command = Command::new(&binary);
        command.stdin(Stdio::null()).args([&listen, &connections_flag(&[server.address(Kind::Unix)])]);
        command.args(["-user=65534", "-group=65533", &format!("-pidFile={}", pid_file.display())]);
        let mut service = Service::start(command);
        // The first answer may come from the queue of the socket, to be given by the successor.
        service.wait_for_answer(&address);
        let id = service.child.id();
        let status = fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
        let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
        assert_eq!(line("Uid:"), "65534\t65534\t65534\t65534");
        assert_eq!(line("Gid:"), "65533\t65533\t65533\t65533");
        assert_eq!((line("Groups:"), line("Name:")), ("", "rmux"));
        assert_eq!(fs::read_to_string(&pid_file).expect("it is there"), format!("{id}\n"));
        assert_eq!(Client::connect(&address).line("SET k v"), "+OK\r\n");
        assert_eq!(service.stop(), Some(0), "{}", service.log());
        let log = service.log();
        assert_eq!(log.matches("listens on").count(), 1, "{log}");
        assert!(address.connect().is_err(), "nobody listens any more");
        // They stay behind; that is told at the start, and again at the end, and the next start replaces them.
        let mut files = vec![pid_file];
        if let Address::Unix(path) = address {
            files.push(path);
        }
        for file in files {
            assert!(file.exists(), "{}", file.display());
            let at_start = format!("{} will stay behind at the end: user 65534 may not write to", file.display());
            let at_end = format!("{} stays behind, for the next start to replace: ", file.display());
            assert!(log.matches(&at_start).count() == 1 && log.matches(&at_end).count() == 1, "{log}");
        }
    }
    // In a folder of its own nothing stays, and nothing is told. Nor after a start that fails, of root or of the user.
    let folder = scratch.join("own");
    fs::create_dir(&folder).expect("root may");
    std::os::unix::fs::chown(&folder, Some(65534), Some(65533)).expect("root may");
    let (socket, pid_file) = (folder.join("rmux.sock"), folder.join("rmux.pid"));
    let start = |pid_file: &std::path::Path, more: &[&str]| {
        let mut command = Command::new(&binary);
        command.stdin(Stdio::null()).arg(format!("-socket={}", socket.display()));
        command.args(["-user=65534", "-group=65533", &format!("-pidFile={}", pid_file.display())]).args(more);
        Service::start(command)
    };
    let connections = connections_flag(&[server.address(Kind::Unix)]);
    let mut service = start(&pid_file, &[&connections]);
    service.wait_for_answer(&Address::Unix(socket.clone()));
    assert_eq!(service.stop(), Some(0), "{}", service.log());
    assert!(!service.log().contains("behind") && !socket.exists() && !pid_file.exists(), "{}", service.log());
    let mut failed = start(&folder.join("no/such.pid"), &[&connections]);
    assert_eq!(failed.wait_for_end(), Some(1), "{}", failed.log());
    assert!(!socket.exists(), "root cleans up, too");
}

fn server_socket(server: &RedisServer) -> std::path::PathBuf {
    match server.address(Kind::Unix) {
        Address::Unix(path) => path,
        Address::Tcp(_) => unreachable!("a Unix address was asked for"),
    }
}

fn who_is_not_root_stays_as_it_is() {
    let scratch = Scratch::new();
    let socket = scratch.join("rmux.sock");
    let mut service = Service::start(rmux(&[&format!("-socket={}", socket.display()), "-user=0", "-group=0"]));
    service.wait_for_answer(&Address::Unix(socket));
    assert_eq!(service.stop(), Some(0));
    assert!(service.log().contains("only root can become somebody else"), "{}", service.log());
}

#[test]
fn an_unknown_user_is_a_failure_and_a_group_alone_is_a_mistake() {
    let scratch = Scratch::new();
    let socket = format!("-socket={}", scratch.join("rmux.sock").display());
    let ended = run_to_end(&[&socket, "-user=no-such-user"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.output.contains("user: \"no-such-user\" is not in /etc/passwd"), "{}", ended.output);
    let ended = run_to_end(&[&socket, "-group=daemon"]);
    assert_eq!(ended.code, Some(2));
    assert_eq!(ended.output, "rmux: -group: has no meaning without user: give both\n");
}

#[test]
fn health_is_an_exit_code() {
    let scratch = Scratch::new();
    let path = scratch.join("rmux.sock");
    let (port, other) = (free_port(), free_port());
    let file = |ports: &[u16]| {
        let pools: Vec<String> = std::iter::once(format!(r#""socket": "{}""#, path.display()))
            .chain(ports.iter().map(|port| format!(r#""host": "127.0.0.1", "port": {port}"#)))
            .map(|listen| format!(r#"{{{listen}, "tcpConnections": ["127.0.0.1:1"]}}"#))
            .collect();
        let path = scratch.join(&format!("{}.json", ports.len()));
        let mut file = File::create(&path).expect("the folder can be written");
        write!(file, "[{}]", pools.join(", ")).expect("there is room");
        format!("-config={}", path.display())
    };
    let (served, more) = (file(&[port]), file(&[port, other]));

    let nobody = run_to_end(&[&served, "-healthcheck"]);
    assert_eq!(nobody.code, Some(1));
    assert_eq!(nobody.output, format!("rmux: {}: No such file or directory (os error 2)\n", path.display()));

    let mut service = Service::start(rmux(&[&served]));
    service.wait_for_answer(&Address::Tcp(port));
    service.wait_for_answer(&Address::Unix(path.clone()));
    // Its server is not there: that is no illness of rmux.
    let healthy = run_to_end(&[&served, "-healthcheck"]);
    assert_eq!((healthy.code, healthy.output.as_str()), (Some(0), ""));
    let one_silent = run_to_end(&[&more, "-healthcheck"]);
    assert_eq!(one_silent.code, Some(1));
    assert_eq!(one_silent.output, format!("rmux: 127.0.0.1:{other}: Connection refused (os error 111)\n"));
    let wrong = run_to_end(&[&format!("-socket={}", path.display()), "-poolSize=0", "-healthcheck"]);
    assert_eq!(wrong.code, Some(2), "{}", wrong.output);

    signal(service.child.id(), "STOP");
    let stuck = run_to_end(&[&served, "-healthcheck"]);
    signal(service.child.id(), "CONT");
    assert_eq!(stuck.code, Some(1));
    assert_eq!(stuck.output, format!("rmux: {}: no answer within 1000 ms\n", path.display()));
    assert_eq!(service.stop(), Some(0));
}
