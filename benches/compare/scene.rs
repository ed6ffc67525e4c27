//! The scenes: groups of work loads that are measured side by side and shown together, as a table or as a plot.
//!
//! Knows no process. A new work load is a new entry of [`all`]. The numbers of requests are chosen so that a run takes
//! about a second through a fast proxy, and less in a sweep, where neighbouring points vouch for each other.

use crate::name::{DIRECT_TCP, DIRECT_TLS, DIRECT_UNIX, ENVOY, FLOOR, HAPROXY, RMUX_TWO, STUNNEL, TWEMPROXY};
use crate::work::{Doing, Work};

/// Work loads that belong together.
#[derive(Clone)]
pub struct Scene {
    /// Its name on the command line, in the raw rows, and of its place in BENCHMARKS.md.
    pub name: &'static str,
    /// Its headline.
    pub title: &'static str,
    /// How it is shown.
    pub view: View,
    /// What is run.
    pub works: Vec<Work>,
}

/// How a scene is shown.
#[derive(Clone, Copy)]
pub enum View {
    /// All there is to say about each subject; there is one work load.
    Full,
    /// For each work load a row for each subject: the CPU time of proxy and server together, beside that of two peers.
    Peers,
    /// A row for each subject and work load, each beside the subject's first one.
    Variants,
    /// The same, with what idle clients take.
    Idle,
    /// Delay, and what a subject adds to that of the Unix socket.
    Delay,
    /// Memory of the proxy, and the delay of the other client.
    Huge,
    /// Pages, beside those of this direct way.
    Php(&'static str),
    /// All there is to say about each subject that reaches the server over TLS; there is one work load.
    Tls,
    /// A curve for each subject.
    Plot(Axes),
}

/// A plot's axes.
#[derive(Clone, Copy)]
pub struct Axes {
    /// What the work loads differ in.
    pub x: &'static str,
    /// Whether each step multiplies.
    pub is_x_log: bool,
    /// What is shown of them.
    pub y: Shown,
}

/// What a plot shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// Requests per second.
    Throughput,
    /// Resident memory of the proxy with all its idle clients.
    IdleMemory,
}

/// Every scene, in the order in which they run.
pub fn all() -> Vec<Scene> {
    let scene = |name, title, view, works: Vec<Work>| Scene {
        name,
        title,
        view,
        works: works.into_iter().map(|work| Work { scene: name, ..work }).collect(),
    };
    let mut scenes =
        vec![scene("php", "PHP: pages that connect, do ten cache calls and disconnect", View::Php(DIRECT_TCP), php())];
    let full = |name, title, work| scene(name, title, View::Full, vec![work]);
    scenes.extend([
        full("keepalive", "Keep-alive: 50 clients, SET and GET of 32 bytes", keep_alive()),
        full(
            "pipeline",
            "Pipeline of 16: 50 clients, SET and GET of 32 bytes",
            Work { pipeline: 16, requests: 400_000, ..keep_alive() },
        ),
        full(
            "reconnect",
            "A connection per request: 50 clients, SET and GET of 32 bytes",
            Work { keep_alive: false, requests: 20_000, ..keep_alive() },
        ),
        full("get100k", "GET of 100 kB: 50 clients", Work { doing: Doing::Tests(&["get"]), ..large() }),
        full("set100k", "SET of 100 kB: 50 clients", Work { doing: Doing::Tests(&["set"]), ..large() }),
        full(
            "clients1000",
            "Keep-alive: 1,000 clients, SET and GET of 32 bytes",
            Work { clients: 1_000, ..keep_alive() },
        ),
    ]);
    scenes.extend([
        scene("clients", "Keep-alive: 1 to 1,000 clients, GET of 32 bytes", View::Peers, clients()),
        scene("one", "One client, no load, GET of 32 bytes: the added delay", View::Delay, vec![one()]),
        scene(
            "relay",
            "A connection per request, to a server that is a round trip of 2 ms away",
            View::Full,
            vec![far()],
        ),
        scene("huge", "GET of 100 MB, and another client meanwhile", View::Huge, vec![huge()]),
        scene("idle", "200 busy clients, alone and among 10,000 that are idle", View::Idle, idle()),
        scene("servers", "1,000 clients, 1 server and 16", View::Variants, servers()),
        scene("reactors", "maxProcesses 1 and 2: 200 clients", View::Variants, vec![reactors()]),
        scene("mget", "MGET of 100 keys, 50 clients, 1 server and 4", View::Variants, mget()),
    ]);
    scenes.extend(tls_scenes().into_iter().map(|(name, title, view, works)| scene(name, title, view, works)));
    let plot = |name, title, x, y, works| scene(name, title, View::Plot(Axes { x, is_x_log: true, y }), works);
    scenes.extend([
        plot("by-clients", "Throughput by clients", "clients", Shown::Throughput, by_clients()),
        plot("by-pipeline", "Throughput by pipeline depth", "requests at once", Shown::Throughput, by_pipeline()),
        plot("by-value", "Throughput by value size", "bytes of a value", Shown::Throughput, by_value()),
        plot("by-servers", "Throughput by servers", "servers", Shown::Throughput, by_servers()),
        scene(
            "by-idle",
            "Memory by idle clients",
            View::Plot(Axes { x: "idle clients", is_x_log: false, y: Shown::IdleMemory }),
            by_idle(),
        ),
    ]);
    scenes
}

fn keep_alive() -> Work {
    Work {
        scene: "",
        variant: String::new(),
        x: 0.0,
        doing: Doing::Tests(&["set", "get"]),
        clients: 50,
        pipeline: 1,
        keep_alive: true,
        bytes: 32,
        requests: 50_000,
        keys: 0,
        servers: 1,
        idle: 0,
        is_far: false,
        is_tls: false,
        cores: None,
        subjects: &[],
    }
}

fn large() -> Work {
    Work { bytes: 100_000, requests: 10_000, ..keep_alive() }
}

/// Short runs, since many of them say more than a long one: see `Samples::slow_percent`.
fn clients() -> Vec<Work> {
    let of = |clients: u32| Work {
        variant: clients.to_string(),
        doing: Doing::Tests(&["get"]),
        clients,
        requests: (4_000 * clients).clamp(8_000, 40_000),
        subjects: PEERS,
        ..keep_alive()
    };
    let mut works = CLIENTS.map(of).to_vec();
    works.push(Work { variant: SEVERAL.to_owned(), keys: KEYS, servers: 4, subjects: SPREADING, ..of(50) });
    works
}

fn one() -> Work {
    Work { doing: Doing::Alone, clients: 1, requests: 20_000, ..keep_alive() }
}

/// So few clients that nobody is short of CPU: what is compared is the waiting, of which a new connection has twice as much.
fn far() -> Work {
    Work {
        doing: Doing::Tests(&["get"]),
        clients: 10,
        keep_alive: false,
        requests: 6_000,
        is_far: true,
        subjects: NOT_UNIX,
        ..keep_alive()
    }
}

fn huge() -> Work {
    Work { doing: Doing::Huge, clients: 2, requests: 5, bytes: 100_000_000, subjects: NOT_FLOOR, ..keep_alive() }
}

fn idle() -> Vec<Work> {
    let busy = Work { clients: 200, subjects: &["rmux", "rmux-base", TWEMPROXY, "predixy"], ..keep_alive() };
    vec![
        Work { variant: "alone".to_owned(), ..busy.clone() },
        Work { variant: "10,000 idle".to_owned(), idle: 10_000, ..busy },
    ]
}

fn servers() -> Vec<Work> {
    let work = Work { clients: 1_000, keys: KEYS, subjects: SPREADING, ..keep_alive() };
    vec![
        Work { variant: "1 server".to_owned(), ..work.clone() },
        Work { variant: "16 servers".to_owned(), servers: 16, ..work },
    ]
}

fn reactors() -> Work {
    Work { clients: 200, requests: 80_000, subjects: &["rmux", RMUX_TWO], ..keep_alive() }
}

fn mget() -> Vec<Work> {
    let work = Work { doing: Doing::Mget(100), keys: KEYS, requests: 10_000, subjects: SPREADING, ..keep_alive() };
    vec![
        Work { variant: "1 server".to_owned(), ..work.clone() },
        Work { variant: "4 servers".to_owned(), servers: 4, ..work },
    ]
}

fn php() -> Vec<Work> {
    let near = Work { doing: Doing::Php(false), clients: 16, requests: 4_000, subjects: PHP, ..keep_alive() };
    let persistent = Work { doing: Doing::Php(true), subjects: &[DIRECT_TCP], ..near.clone() };
    let far = |work: &Work| Work { variant: format!("{}, 2 ms away", work.variant), is_far: true, ..work.clone() };
    let near = Work { variant: "connect".to_owned(), ..near };
    let persistent = Work { variant: "pconnect".to_owned(), ..persistent };
    vec![near.clone(), persistent.clone(), far(&near), far(&persistent)]
}

/// The server is reached over TLS, and clients come as they do otherwise.
fn tls_scenes() -> [(&'static str, &'static str, View, Vec<Work>); 4] {
    let keep_alive = Work { is_tls: true, subjects: TLS, ..keep_alive() };
    let pipeline = Work { pipeline: 16, requests: 400_000, ..keep_alive.clone() };
    // As many as the direct way does in some seconds: rmux does them in a fraction of one.
    let reconnect = Work { keep_alive: false, requests: 4_000, ..keep_alive.clone() };
    let mut php: Vec<Work> = php()
        .into_iter()
        .map(|work| Work {
            is_tls: true,
            subjects: if work.doing == Doing::Php(true) { &[DIRECT_TLS] } else { TLS },
            ..work
        })
        .collect();
    // Nobody is short of CPU: what is compared is the waiting.
    let variant = "connect, 2 ms away, 1 visitor".to_owned();
    php.push(Work {
        variant,
        clients: 1,
        is_far: true,
        subjects: &[DIRECT_TLS, "rmux", "rmux-base"],
        ..php[0].clone()
    });
    [
        ("tls", "TLS to the server, keep-alive: 50 clients, SET and GET of 32 bytes", View::Tls, vec![keep_alive]),
        ("tls-pipeline", "TLS to the server, a pipeline of 16: 50 clients, SET and GET", View::Tls, vec![pipeline]),
        ("tls-reconnect", "TLS to the server, a connection per request: 50 clients", View::Tls, vec![reconnect]),
        ("tls-php", "TLS to the server: the same PHP pages", View::Php(DIRECT_TLS), php),
    ]
}

fn by_clients() -> Vec<Work> {
    let point = |clients: u32| Work {
        x: f64::from(clients),
        variant: clients.to_string(),
        doing: Doing::Tests(&["get"]),
        clients,
        requests: if clients < 10 { 15_000 } else { 40_000 },
        subjects: CURVES,
        ..keep_alive()
    };
    [1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000].map(point).to_vec()
}

fn by_pipeline() -> Vec<Work> {
    let point = |pipeline: u32| Work {
        x: f64::from(pipeline),
        variant: pipeline.to_string(),
        doing: Doing::Tests(&["get"]),
        pipeline,
        requests: 40_000 * pipeline.min(10),
        subjects: CURVES,
        ..keep_alive()
    };
    [1, 2, 4, 8, 16, 32, 64, 100].map(point).to_vec()
}

fn by_value() -> Vec<Work> {
    let point = |bytes: u32| Work {
        x: f64::from(bytes),
        variant: bytes.to_string(),
        doing: Doing::Tests(&["get"]),
        bytes,
        requests: (800_000_000 / (bytes + 1)).clamp(800, 40_000),
        subjects: CURVES,
        ..keep_alive()
    };
    [8, 64, 512, 4_096, 16_384, 65_536, 262_144, 1_048_576].map(point).to_vec()
}

fn by_servers() -> Vec<Work> {
    let point = |servers: u32| Work {
        x: f64::from(servers),
        variant: servers.to_string(),
        doing: Doing::Tests(&["set"]),
        keys: KEYS,
        servers,
        subjects: SPREADING,
        ..keep_alive()
    };
    [1, 2, 4, 8, 16, 32].map(point).to_vec()
}

fn by_idle() -> Vec<Work> {
    let point = |idle: u32| Work {
        x: f64::from(idle),
        variant: idle.to_string(),
        doing: Doing::Alone,
        clients: 1,
        requests: 200,
        idle,
        subjects: &["rmux", "rmux-base", "go-rmux", TWEMPROXY, "predixy", ENVOY],
        ..keep_alive()
    };
    [0, 1_000, 2_500, 5_000, 7_500, 10_000].map(point).to_vec()
}

/// The counts of clients at which peers are compared.
pub const CLIENTS: [u32; 7] = [1, 5, 10, 20, 50, 200, 1_000];
/// The variant with several servers beside them.
pub const SEVERAL: &str = "50, 4 servers";
const KEYS: u32 = 1_000;
const PEERS: &[&str] = &[FLOOR, "rmux", "rmux-base", TWEMPROXY, "predixy", ENVOY];
const CURVES: &[&str] = &[DIRECT_TCP, "rmux", "rmux-base", TWEMPROXY, "predixy", ENVOY];
const SPREADING: &[&str] = &["rmux", "rmux-base", "go-rmux", TWEMPROXY, "predixy", ENVOY];
const PHP: &[&str] = &[DIRECT_TCP, "rmux", "rmux-base", "go-rmux", TWEMPROXY];
const NOT_UNIX: &[&str] = &[DIRECT_TCP, "rmux", "rmux-base", "go-rmux", TWEMPROXY, "predixy", HAPROXY, ENVOY];
const NOT_FLOOR: &[&str] = &[DIRECT_TCP, DIRECT_UNIX, "rmux", "rmux-base", TWEMPROXY, "predixy", HAPROXY, ENVOY];
const TLS: &[&str] = &[DIRECT_TLS, "rmux", "rmux-base", HAPROXY, STUNNEL, ENVOY];
