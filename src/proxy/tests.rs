//! The proxy, driven by hand: one test for each main promise, and one for each bug that was found.
//!
//! A [`Bench`] plays the shell with a net of its own: what is written to a connection is collected there, as much of it
//! as the connection has room for; what clients and servers say is handed over as if it was just read. Nothing happens
//! but what a test does, and time stands still until it is told to pass.

mod authenticate;
mod await_master;
mod bulk;
mod cluster;
mod cluster_replicas;
mod delivery;
mod denials;
mod dismiss;
mod figures;
mod guard;
mod health;
mod introspection;
mod kill;
mod leases;
mod local_steps;
mod log_lines;
mod many_channels;
mod memory;
mod moved;
mod own_replies;
mod pace;
mod pools;
mod promises;
mod publish;
mod recover;
mod redirect;
mod redirect_lease;
mod redirect_watch;
mod redirect_whole;
mod reload;
mod renew;
mod replicas;
mod robustness;
mod scatter;
mod scripts;
mod slow;
mod slow_peers;
mod subscriptions;
mod topic_placement;
mod transactions;
mod unfinished;

use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice};

use super::interface::LARGE;
use super::*;
use crate::buffer::Scratch;
use crate::cluster::RefreshCause;
use crate::ring::{Ring, ServerIndex, UpSet};
use crate::server_id::ServerId;

/// Connections that take what they have room for.
#[derive(Default)]
struct Net {
    written: HashMap<Conn, Vec<u8>>,
    /// How much a connection still takes; without an entry: everything.
    room: HashMap<Conn, usize>,
    broken: Vec<Conn>,
    /// Who was written to, in order.
    order: Vec<Conn>,
}

impl Wire for Net {
    fn write(&mut self, conn: Conn, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.broken.contains(&conn) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        self.order.push(conn);
        let mut taken = 0;
        for slice in slices {
            let room = self.room.get(&conn).copied().unwrap_or(usize::MAX);
            let n = slice.len().min(room);
            if room != usize::MAX {
                self.room.insert(conn, room - n);
            }
            self.written.entry(conn).or_default().extend_from_slice(&slice[..n]);
            taken += n;
        }
        Ok(taken)
    }
}

struct Bench {
    proxy: Proxy,
    net: Net,
    scratch: Scratch,
    now: Millis,
    /// Backends that the proxy wants connected, and their servers.
    connects: Vec<(Id, u16)>,
    /// Servers whose names are to be looked up.
    resolves: Vec<ServerId>,
    /// Servers whose connections are to be renewed.
    renewals: Vec<ServerId>,
    /// Why the map of a cluster's slots is to be asked for again.
    refreshes: Vec<RefreshCause>,
    closed: Vec<Conn>,
    resumed: Vec<Conn>,
    /// Who is to leave.
    dismissed: Vec<Id>,
    /// To other proxies of the pool, by their numbers.
    messages: VecDeque<(usize, WorkerMessage)>,
    /// For the log.
    lines: Vec<String>,
}

impl Bench {
    /// A proxy with so many servers, none of them connected yet.
    fn new(servers: usize, change: impl FnOnce(&mut Settings)) -> Bench {
        let servers = (0..servers).map(|server| format!("server-{server}")).collect();
        let mut settings =
            Settings { listen: "the bench".into(), pool_size: 4, lease_max: 4, seed: 7, ..Settings::new(servers) };
        settings.limits.connects_per_second = 0;
        change(&mut settings);
        let now = Millis(1_000);
        let mut bench = Bench {
            proxy: Proxy::new(settings, now),
            net: Net::default(),
            scratch: Scratch::new(),
            now,
            connects: Vec::new(),
            resolves: Vec::new(),
            renewals: Vec::new(),
            refreshes: Vec::new(),
            closed: Vec::new(),
            resumed: Vec::new(),
            dismissed: Vec::new(),
            messages: VecDeque::new(),
            lines: Vec::new(),
        };
        bench.proxy.start(now);
        bench.turn();
        bench
    }

    /// A proxy with one ready connection to each of its servers.
    fn ready(servers: usize, change: impl FnOnce(&mut Settings)) -> (Bench, Vec<Id>) {
        let mut bench = Bench::new(servers, change);
        let backends = (0..servers).map(|server| bench.connect(server as u16)).collect();
        (bench, backends)
    }

    /// The rest of a turn, after its input.
    fn turn(&mut self) {
        self.proxy.handle_timeouts(self.now, &mut self.net);
        self.proxy.transmit(self.now, &mut self.net);
        while let Some(action) = self.proxy.poll_action() {
            match action {
                Action::Connect { backend, server } => self.connects.push((backend, server.index() as u16)),
                Action::Resolve(server) => self.resolves.push(server),
                Action::Renew(server) => self.renewals.push(server),
                Action::Refresh(cause) => self.refreshes.push(cause),
                Action::Close(conn) => self.closed.push(conn),
                Action::Resume(conn) => self.resumed.push(conn),
                Action::Dismiss(id) => self.dismissed.push(id),
                Action::Post => self.messages.extend(std::iter::from_fn(|| self.proxy.poll_worker_message())),
            }
        }
        while let Some((level, line)) = self.proxy.poll_notice(self.now) {
            self.lines.push(format!("{level} {line}"));
        }
        if let Err(error) = self.proxy.check() {
            panic!("the proxy is not in order: {error}");
        }
    }

    fn pass(&mut self, milliseconds: u64) {
        self.now = self.now + milliseconds;
        self.turn();
    }

    fn client(&mut self) -> Id {
        self.proxy.handle_accept(self.now).expect("there is room for one more client")
    }

    /// Hands over what a client says, without ending the turn.
    fn hear(&mut self, client: Id, bytes: impl AsRef<[u8]>) {
        for piece in bytes.as_ref().chunks(Scratch::READ) {
            self.scratch.read_area()[..piece.len()].copy_from_slice(piece);
            self.proxy.handle_client_data(client, &mut self.scratch, piece.len(), self.now, &mut self.net);
        }
    }

    /// A client says something, and the turn ends.
    fn say(&mut self, client: Id, bytes: impl AsRef<[u8]>) {
        self.hear(client, bytes);
        self.turn();
    }

    /// Hands over what a server says, without ending the turn.
    fn hear_server(&mut self, backend: Id, bytes: impl AsRef<[u8]>) {
        for piece in bytes.as_ref().chunks(Scratch::READ) {
            self.scratch.read_area()[..piece.len()].copy_from_slice(piece);
            self.proxy.handle_backend_data(backend, &mut self.scratch, piece.len(), self.now, &mut self.net);
        }
    }

    /// A server says something, and the turn ends.
    fn answer(&mut self, backend: Id, bytes: impl AsRef<[u8]>) {
        self.hear_server(backend, bytes);
        self.turn();
    }

    fn take(&mut self, conn: Conn) -> String {
        let bytes = self.net.written.remove(&conn).unwrap_or_default();
        String::from_utf8(bytes).expect("these tests speak ASCII")
    }

    /// What a client was sent since this was asked last.
    fn told(&mut self, client: Id) -> String {
        self.take(Conn::Client(client))
    }

    /// What a server was sent on this connection since this was asked last.
    fn asked(&mut self, backend: Id) -> String {
        self.take(Conn::Backend(backend))
    }

    /// Takes the next connect to this server that the proxy waits for.
    fn next_connect(&mut self, server: u16) -> Id {
        let place = self.connects.iter().position(|connect| connect.1 == server).expect("a connect to this server");
        self.connects.remove(place).0
    }

    /// Lets time pass until the proxy wants to connect; returns how much, in milliseconds.
    fn until_connect(&mut self) -> u64 {
        let start = self.now;
        while self.connects.is_empty() {
            self.pass(1);
            assert!(self.now - start < 100_000, "it never connects");
        }
        self.now - start
    }

    /// The next connect to this server succeeds, and its handshake too.
    fn connect(&mut self, server: u16) -> Id {
        let backend = self.next_connect(server);
        self.proxy.handle_connected(backend, self.now);
        self.turn();
        self.shake_hands(backend);
        backend
    }

    /// The same, and the server calls the connection by this number.
    fn connect_as(&mut self, server: u16, number: u32) -> Id {
        let backend = self.next_connect(server);
        self.proxy.handle_connected(backend, self.now);
        self.turn();
        self.asked(backend);
        let hello = format!("*4\r\n{}{}{}:{number}\r\n", bulk("version"), bulk("7.0.15"), bulk("id"));
        self.answer(backend, hello + "+PONG\r\n");
        backend
    }

    /// Answers the handshake that was just sent.
    fn shake_hands(&mut self, backend: Id) {
        let asked = self.asked(backend);
        let mut replies = String::new();
        for word in asked.split("\r\n") {
            replies += match word {
                "HELLO" => "*0\r\n",
                "AUTH" | "SELECT" | "READONLY" => "+OK\r\n",
                "PING" => "+PONG\r\n",
                _ => "",
            };
        }
        assert!(!replies.is_empty(), "no handshake: {asked:?}");
        self.answer(backend, replies);
    }

    /// A connect to this server is refused.
    fn refuse(&mut self, server: u16) {
        let backend = self.next_connect(server);
        self.proxy.handle_connect_failed(backend, "refused", self.now);
        self.turn();
    }

    /// A server ends its connection, and refuses the next one: it is down.
    fn take_down(&mut self, backend: Id, server: u16) {
        self.proxy.handle_backend_end(backend, self.now);
        self.turn();
        self.refuse(server);
    }

    fn is_closed(&self, conn: Conn) -> bool {
        self.closed.contains(&conn)
    }

    fn has_resumed(&self, conn: Conn) -> bool {
        self.resumed.contains(&conn)
    }

    /// The socket of this connection takes so many bytes from now on.
    fn set_room(&mut self, conn: Conn, room: usize) {
        self.net.room.insert(conn, room);
    }

    /// The socket of this connection has room again, for so many bytes.
    fn make_room(&mut self, conn: Conn, room: usize) {
        self.net.room.insert(conn, room);
        self.proxy.handle_writable(conn);
        self.turn();
    }

    /// Nothing is left of anybody's requests and replies.
    fn assert_nothing_is_left(&self) {
        assert!(self.proxy.in_flight.requests.is_empty(), "{} requests are left", self.proxy.in_flight.requests.len());
        assert!(self.proxy.in_flight.early.is_empty(), "{} early replies are left", self.proxy.in_flight.early.len());
        assert!(self.proxy.in_flight.merges.is_empty(), "{} merges are left", self.proxy.in_flight.merges.len());
        let remembered = self.proxy.scripts.held() + self.proxy.pubsub.held();
        assert_eq!(self.proxy.buffered_bytes(), remembered);
        assert!(self.proxy.worker_queries.is_empty(), "something is asked of others");
    }
}

/// A request in its canonical form.
fn request(words: &[&str]) -> String {
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request += &format!("${}\r\n{word}\r\n", word.len());
    }
    request
}

fn get(key: &str) -> String {
    request(&["GET", key])
}

fn set(key: &str, value: &str) -> String {
    request(&["SET", key, value])
}

/// A reply with this text.
fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

/// What a client is told whose request finds no room in so many bytes.
fn no_room(what: &str, max: usize) -> String {
    format!("-ERR {what} would take more memory than bufferedBytesMax allows ({max} bytes)\r\n")
}

/// Of the keys k0, k1 … the first one that lives on this server when all are up.
fn key_on(bench: &Bench, server: u16) -> String {
    let keys = (0..).map(|number| format!("k{number}"));
    let lives_here =
        |key: &String| bench.proxy.router.ring().primary(Ring::hash(key.as_bytes())) == ServerIndex(server);
    keys.into_iter().find(lives_here).expect("every server has keys")
}
