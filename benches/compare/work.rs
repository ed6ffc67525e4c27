//! A work load: what clients do, how many of them, and what lies behind the way that they take.
//!
//! Knows no subject but by name, and no figure. The scenes that work loads belong to are in `scene.rs`.

/// One work load.
#[derive(Debug, Clone)]
pub struct Work {
    /// The name of the scene that it belongs to.
    pub scene: &'static str,
    /// What sets it apart from the others of its scene; empty when it is the only one.
    pub variant: String,
    /// Where it stands on the horizontal axis of its scene's plot.
    pub x: f64,
    /// What clients do.
    pub doing: Doing,
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
    /// Keys that requests draw from at random; 0 = always the same one.
    pub keys: u32,
    /// Servers that the keys are spread over.
    pub servers: u32,
    /// Clients that are connected besides, and hardly ever say anything.
    pub idle: u32,
    /// True: a relay before the server delays each direction, as a network does.
    pub is_far: bool,
    /// True: the server is reached over TLS.
    pub is_tls: bool,
    /// The cores that the three sides are kept to; none: wherever the system puts them.
    pub cores: Option<Cores>,
    /// Subjects that do it; all that can when empty.
    pub subjects: &'static [&'static str],
}

/// The numbers of the cores that clients, proxy and servers are kept to.
#[derive(Debug, Clone, Copy)]
pub struct Cores {
    /// Where redis-benchmark runs.
    pub clients: u32,
    /// Where the subject runs.
    pub proxy: u32,
    /// Where the servers run.
    pub servers: u32,
}

/// What clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// redis-benchmark's tests, in its own order: `set` before `get`.
    Tests(&'static [&'static str]),
    /// MGET of so many keys, by redis-benchmark.
    Mget(u32),
    /// One client that asks, waits, and looks at the clock in microseconds.
    Alone,
    /// A client that takes values of a size that no buffer should hold, and another one that asks for small ones meanwhile.
    Huge,
    /// Web pages: php-fpm behind nginx; each connects, does ten calls and disconnects. True: connections persist.
    Php(bool),
}

impl Work {
    /// True exactly when the floor program's constant answer stands for this one: its price is that of small replies.
    pub fn is_small(&self) -> bool {
        matches!(self.doing, Doing::Tests(_))
            && self.bytes <= SMALL_MAX
            && !self.is_far
            && !self.is_tls
            && self.servers == 1
    }

    /// Commands that the server sees, at least, for one request of the outcome.
    pub fn commands_per_request(&self) -> u64 {
        match self.doing {
            Doing::Php(_) => PHP_CALLS,
            _ => 1,
        }
    }
}

/// Cache calls of one web page.
pub const PHP_CALLS: u64 = 10;
/// The largest value, in bytes, that still counts as a small reply.
const SMALL_MAX: u32 = 1_024;
