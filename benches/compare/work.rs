//! The work loads: what redis-benchmark is told to do.
//!
//! Knows no subject and no figure. A new work load is a new entry of [`all`]. The numbers of requests are chosen so
//! that a run takes about a second through a fast proxy, and a few through a slow one: the whole table in about five
//! minutes.

/// One work load.
#[derive(Debug, Clone)]
pub struct Work {
    /// Its name on the command line and in the raw rows.
    pub name: &'static str,
    /// Its headline.
    pub title: &'static str,
    /// redis-benchmark's tests, in its own order: `set` before `get`.
    pub tests: &'static [&'static str],
    /// Connections at the same time.
    pub clients: u32,
    /// Requests that a client sends at once.
    pub pipeline: u32,
    /// False: a new connection for each request.
    pub keep_alive: bool,
    /// Size of the value in bytes.
    pub bytes: u32,
    /// Requests of each test in one run.
    pub requests: u32,
    /// Run when `--work` is not given.
    pub by_default: bool,
}

impl Work {
    /// True exactly when the floor program's constant answer stands for this one: its price is that of small replies.
    pub fn is_small(&self) -> bool {
        self.bytes <= SMALL_MAX
    }
}

/// Every work load, in the order of the tables.
pub fn all() -> Vec<Work> {
    let keep_alive = Work {
        name: "keepalive",
        title: "Keep-alive: 50 clients, SET and GET of 32 bytes",
        tests: &["set", "get"],
        clients: 50,
        pipeline: 1,
        keep_alive: true,
        bytes: 32,
        requests: 50_000,
        by_default: true,
    };
    vec![
        keep_alive.clone(),
        Work {
            name: "pipeline",
            title: "Pipeline of 16: 50 clients, SET and GET of 32 bytes",
            pipeline: 16,
            requests: 400_000,
            ..keep_alive.clone()
        },
        Work {
            name: "reconnect",
            title: "A connection per request: 50 clients, SET and GET of 32 bytes",
            keep_alive: false,
            requests: 20_000,
            ..keep_alive.clone()
        },
        Work {
            name: "get100k",
            title: "GET of 100 kB: 50 clients",
            tests: &["get"],
            bytes: 100_000,
            requests: 10_000,
            ..keep_alive.clone()
        },
        Work {
            name: "set100k",
            title: "SET of 100 kB: 50 clients",
            tests: &["set"],
            bytes: 100_000,
            requests: 10_000,
            ..keep_alive.clone()
        },
        Work {
            name: "clients1000",
            title: "Keep-alive: 1,000 clients, SET and GET of 32 bytes",
            clients: 1_000,
            ..keep_alive.clone()
        },
        Work {
            name: "one",
            title: "One client, no load, SET and GET of 32 bytes: the added delay",
            clients: 1,
            requests: 20_000,
            by_default: false,
            ..keep_alive
        },
    ]
}

/// The largest value, in bytes, that still counts as a small reply.
const SMALL_MAX: u32 = 1_024;
