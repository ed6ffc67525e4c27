//! A proxy at work without a socket: the same bytes in, turn after turn, and what it costs to bring them through.
//!
//! Owns a [`Proxy`], its clients, and the servers' answers. Does in each turn what the reactor does, in its order, and
//! nothing that a kernel would do: a read is a copy into the read area, a write is a sum of lengths. Knows no clock and no
//! instruction counter; who wants to know the price of a turn measures around it.
//!
//! ```text
//!   requests ─copy─► handle_client_data ─► transmit ─► (a sum of lengths)
//!                                                           what a server answers to it was worked out once, before
//!   replies  ─copy─► handle_backend_data ─► transmit ─► (a sum of lengths)
//! ```
//!
//! The first turn of a [`Scene`] is a rehearsal: what goes to each server is framed and answered by a small model of Redis.
//! Every later turn sends the same requests and gets the same answers, so that the model costs nothing in them.
//! Invariant, checked after the last turn: each turn wrote as many bytes, in each direction, as the rehearsal.

use std::io::{self, IoSlice};

use rmux::buffer::Scratch;
use rmux::cluster::{Builder, SLOTS, Shard, SlotMap};
use rmux::limits::Limits;
use rmux::proxy::{Action, Conn, Proxy, Settings, Wire};
use rmux::resp::{Frame, RequestFramer, RequestLimits};
use rmux::slots::Id;
use rmux::timer::Millis;

/// How long it takes until the servers have answered, in µs.
const TURN_US: u64 = 64;

/// A fixed piece of traffic: what the clients send in one turn.
pub struct Scene {
    /// Its name in every table.
    pub name: &'static str,
    /// What it is, in words.
    pub title: &'static str,
    /// How many servers the keys are spread over.
    servers: usize,
    /// What each client sends in a turn; there are as many clients.
    requests: Vec<Vec<u8>>,
    /// Requests in all of that together.
    pub requests_per_turn: u32,
    /// Size of every value that the servers answer with, in bytes.
    value_bytes: usize,
    /// Whether each client connects for its turn, and leaves after it.
    reconnects: bool,
    /// Whether the servers are the masters of a Redis Cluster, each with as many slots.
    is_cluster: bool,
}

/// Every scene, in the order of the tables.
pub fn scenes() -> Vec<Scene> {
    let value = "x".repeat(32);
    let get = |client: usize| request(&["GET", &key(client)]);
    let set = |client: usize| request(&["SET", &key(client), &value]);
    let scene = |name, title, requests: Vec<Vec<u8>>| Scene {
        name,
        title,
        servers: 1,
        requests_per_turn: requests.len() as u32,
        requests,
        value_bytes: value.len(),
        reconnects: false,
        is_cluster: false,
    };
    let keys: Vec<String> = (0..100).map(key).collect();
    let mget: Vec<&str> = ["MGET"].into_iter().chain(keys.iter().map(String::as_str)).collect();
    let pipeline = |requests: usize| (0..50).map(|client| get(client).repeat(requests)).collect();
    vec![
        scene("get", "GET, one client", vec![get(0)]),
        scene("set", "SET, one client", vec![set(0)]),
        scene("get50", "GET, 50 clients in one turn", (0..50).map(get).collect()),
        scene("set50", "SET, 50 clients in one turn", (0..50).map(set).collect()),
        Scene { requests_per_turn: 800, ..scene("pipeline16", "GET, 50 clients with 16 requests each", pipeline(16)) },
        Scene { servers: 4, ..scene("servers4", "GET, 50 clients, 4 servers", (0..50).map(get).collect()) },
        Scene {
            servers: 4,
            requests_per_turn: 800,
            ..scene("servers4pipeline16", "GET, 50 clients with 16 requests each, 4 servers", spread_pipelines())
        },
        Scene { reconnects: true, ..scene("reconnect", "accept, GET, end; 50 clients in one turn", pipeline(1)) },
        Scene { value_bytes: 100_000, ..scene("get100k", "GET of 100,000 bytes, one client", vec![get(0)]) },
        scene("mget100", "MGET of 100 keys, one client", vec![request(&mget)]),
        Scene {
            servers: 4,
            ..scene("servers4mget100", "MGET of 100 keys, one client, 4 servers", vec![request(&mget)])
        },
        cluster(scene("cluster4", "GET, 50 clients, a cluster of 4", (0..50).map(get).collect())),
        cluster(Scene {
            requests_per_turn: 800,
            ..scene("cluster4pipeline16", "GET, 50 clients with 16 requests each, a cluster of 4", spread_pipelines())
        }),
        cluster(scene("cluster4mget100", "MGET of 100 keys, one client, a cluster of 4", vec![request(&mget)])),
    ]
}

/// The same before a cluster of four masters.
fn cluster(scene: Scene) -> Scene {
    Scene { servers: 4, is_cluster: true, ..scene }
}

/// A cluster of these masters, each with as many slots.
fn slot_map(servers: &[String]) -> SlotMap {
    let mut builder = Builder::default();
    for (number, master) in servers.iter().enumerate() {
        let shard = Shard { id: format!("node{number}"), master: master.clone(), replicas: Vec::new() };
        let first = |number| (number * SLOTS / servers.len()) as u16;
        let shard = builder.shard(shard).expect("few nodes");
        builder.give(first(number), first(number + 1) - 1, shard);
    }
    builder.build()
}

/// 50 clients that each ask for 16 keys of different servers.
fn spread_pipelines() -> Vec<Vec<u8>> {
    (0..50).map(|client| (0..16).flat_map(|number| request(&["GET", &key(client * 16 + number)])).collect()).collect()
}

fn key(number: usize) -> String {
    format!("key:{number:012}")
}

/// A request as clients write it.
pub fn request(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

/// A proxy in the middle of a scene.
pub struct Replay {
    scene: Scene,
    proxy: Proxy,
    scratch: Scratch,
    wire: Tally,
    clients: Vec<Id>,
    /// What each backend answers in a turn.
    replies: Vec<(Id, Vec<u8>)>,
    turns: u64,
    /// Bytes to servers and to clients in one turn.
    per_turn: (u64, u64),
}

impl Replay {
    /// Connects clients and servers, and rehearses the first turn.
    pub fn new(scene: Scene) -> Replay {
        let servers: Vec<String> = (0..scene.servers).map(|number| format!("server{number}:6379")).collect();
        let map = scene.is_cluster.then(|| slot_map(&servers));
        let settings = Settings { cluster: scene.is_cluster, ..Settings::new(servers) };
        let proxy = Proxy::new(settings, Millis(0));
        let mut replay = Replay {
            proxy,
            scratch: Scratch::new(),
            wire: Tally { rehearsal: Some(Vec::new()), ..Tally::default() },
            clients: Vec::new(),
            replies: Vec::new(),
            turns: 0,
            per_turn: (0, 0),
            scene,
        };
        replay.proxy.start(Millis(0));
        map.iter().for_each(|map| replay.proxy.handle_slot_map(map, Millis(0)));
        replay.answer_all();
        if !replay.scene.reconnects {
            replay.connect_clients();
        }
        replay.rehearse();
        replay
    }

    /// One turn more.
    pub fn turn(&mut self) {
        self.turns += 1;
        // Some sixteen turns fit into a millisecond when a proxy is busy.
        let now = Millis(self.turns / 16);
        if self.scene.reconnects {
            self.connect_clients();
        }
        self.ask(now);
        self.proxy.handle_turn((self.turns + 1) * TURN_US);
        for index in 0..self.replies.len() {
            let (backend, reply) = &self.replies[index];
            // As much as one read brings; each is a turn of the loop.
            for piece in reply.chunks(Scratch::READ) {
                self.scratch.read_area()[..piece.len()].copy_from_slice(piece);
                self.proxy.handle_backend_data(*backend, &mut self.scratch, piece.len(), now, &mut self.wire);
                if piece.len() == Scratch::READ {
                    finish_turn(&mut self.proxy, &mut self.wire, now);
                    self.proxy.handle_turn((self.turns + 1) * TURN_US);
                }
            }
        }
        finish_turn(&mut self.proxy, &mut self.wire, now);
        if self.scene.reconnects {
            self.dismiss_clients(now);
        }
    }

    /// Checks that all turns did what the rehearsal did.
    pub fn verify(&self) {
        let (to_servers, to_clients) = self.per_turn;
        let expected = (to_servers * self.turns, to_clients * self.turns);
        assert_eq!((self.wire.to_servers, self.wire.to_clients), expected, "{}: bytes written", self.scene.name);
    }

    fn ask(&mut self, now: Millis) {
        self.proxy.handle_turn(self.turns * TURN_US);
        for (id, request) in self.clients.iter().zip(&self.scene.requests) {
            self.scratch.read_area()[..request.len()].copy_from_slice(request);
            self.proxy.handle_client_data(*id, &mut self.scratch, request.len(), now, &mut self.wire);
        }
        finish_turn(&mut self.proxy, &mut self.wire, now);
    }

    /// The first turn: finds out what each server is asked, and so what it answers from then on.
    fn rehearse(&mut self) {
        if self.scene.reconnects {
            self.connect_clients();
        }
        (self.wire.to_servers, self.wire.to_clients) = (0, 0);
        self.ask(Millis(0));
        self.replies = self.answer_all();
        if self.scene.reconnects {
            self.dismiss_clients(Millis(0));
        }
        self.per_turn = (self.wire.to_servers, self.wire.to_clients);
        assert!(self.per_turn.0 > 0 && self.per_turn.1 > 0, "{}: nothing came through", self.scene.name);
        self.wire = Tally::default();
    }

    /// Lets the model answer until nobody asks anything any more. Returns each backend's answers.
    fn answer_all(&mut self) -> Vec<(Id, Vec<u8>)> {
        let now = Millis(0);
        let mut all: Vec<(Id, Vec<u8>)> = Vec::new();
        loop {
            while let Some(action) = self.proxy.poll_action() {
                if let Action::Connect { backend, .. } = action {
                    self.proxy.handle_connected(backend, now);
                }
            }
            self.proxy.transmit(now, &mut self.wire);
            let asked = self.wire.rehearsal.replace(Vec::new()).unwrap_or_default();
            if asked.is_empty() {
                return all;
            }
            for (backend, bytes) in asked {
                let reply = answer(&bytes, self.scene.value_bytes);
                for piece in reply.chunks(Scratch::READ) {
                    self.scratch.read_area()[..piece.len()].copy_from_slice(piece);
                    self.proxy.handle_backend_data(backend, &mut self.scratch, piece.len(), now, &mut self.wire);
                }
                match all.iter_mut().find(|(id, _)| *id == backend) {
                    Some((_, replies)) => replies.extend_from_slice(&reply),
                    None => all.push((backend, reply)),
                }
            }
        }
    }

    fn connect_clients(&mut self) {
        self.clients.clear();
        for _ in 0..self.scene.requests.len() {
            let now = Millis(self.turns / 16);
            self.clients.push(self.proxy.handle_accept(now).expect("fewer clients than the limit"));
        }
    }

    fn dismiss_clients(&mut self, now: Millis) {
        for id in self.clients.drain(..) {
            self.proxy.handle_client_end(id);
        }
        finish_turn(&mut self.proxy, &mut self.wire, now);
    }
}

/// What the reactor does at the end of a turn.
fn finish_turn(proxy: &mut Proxy, wire: &mut Tally, now: Millis) {
    proxy.handle_timeouts(now, wire);
    proxy.transmit(now, wire);
    while let Some(action) = proxy.poll_action() {
        debug_assert!(!matches!(action, Action::Connect { .. }), "a backend was lost");
    }
}

/// Sockets that take everything, and only count.
#[derive(Default)]
struct Tally {
    to_servers: u64,
    to_clients: u64,
    /// In a rehearsal: what each backend was sent.
    rehearsal: Option<Vec<(Id, Vec<u8>)>>,
}

impl Wire for Tally {
    fn write(&mut self, conn: Conn, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let taken = slices.iter().map(|slice| slice.len()).sum();
        match conn {
            Conn::Client(_) => self.to_clients += taken as u64,
            Conn::Backend(id) => {
                self.to_servers += taken as u64;
                if let Some(asked) = &mut self.rehearsal {
                    let bytes = slices.iter().flat_map(|slice| slice.iter().copied());
                    match asked.iter_mut().find(|(backend, _)| *backend == id) {
                        Some((_, sent)) => sent.extend(bytes),
                        None => asked.push((id, bytes.collect())),
                    }
                }
            }
        }
        Ok(taken)
    }
}

/// What Redis would say to these requests, as far as a replay needs it.
fn answer(requests: &[u8], value_bytes: usize) -> Vec<u8> {
    let limits = request_limits();
    let mut framer = RequestFramer::new();
    let mut reply = Vec::new();
    let mut rest = requests;
    while !rest.is_empty() {
        let Ok(Frame::Complete(length)) = framer.frame(rest, &limits) else {
            panic!("a proxy sends whole requests: {:?}", String::from_utf8_lossy(rest));
        };
        let name = framer.args()[0].of(rest).to_ascii_uppercase();
        let value = bulk(value_bytes);
        match name.as_slice() {
            b"GET" => reply.extend_from_slice(&value),
            b"MGET" => {
                let keys = framer.args_total() - 1;
                reply.extend_from_slice(format!("*{keys}\r\n").as_bytes());
                reply.extend_from_slice(&value.repeat(keys));
            }
            b"PING" => reply.extend_from_slice(b"+PONG\r\n"),
            b"HELLO" => {
                reply.extend_from_slice(b"*4\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n$4\r\nrole\r\n$6\r\nmaster\r\n")
            }
            _ => reply.extend_from_slice(b"+OK\r\n"),
        }
        framer.reset();
        rest = &rest[length..];
    }
    reply
}

/// A value of this size as it stands on the wire.
pub fn bulk(bytes: usize) -> Vec<u8> {
    format!("${bytes}\r\n{}\r\n", "x".repeat(bytes)).into_bytes()
}

/// The limits that a proxy frames requests with by default.
pub fn request_limits() -> RequestLimits {
    let limits = Limits::default();
    RequestLimits {
        args_max: limits.args_max,
        bulk_bytes_max: limits.bulk_bytes_max,
        inline_bytes_max: limits.inline_bytes_max,
        request_bytes_max: limits.request_bytes_max,
        is_unauthenticated: false,
    }
}
