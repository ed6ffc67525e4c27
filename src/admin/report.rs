//! What there is to tell about this process: put together for each round of questions, and written in several forms.
//!
//! Plain values. Knows nothing of how they are gathered or written.

use crate::stats::Figures;

/// All there is to tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Now, in milliseconds since 1970.
    pub unix_ms: u64,
    /// When the process started, in the same way.
    pub started_unix_ms: u64,
    /// Whether it accepts clients: it has started, and is not about to end.
    pub is_accepting: bool,
    /// What became of reloads.
    pub reloads: Reloads,
    /// What the system says about it.
    pub process: Process,
    /// One for each pool, in the order of the configuration.
    pub pools: Vec<PoolReport>,
}

/// What became of reloads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reloads {
    /// Those that were done.
    pub done: u64,
    /// Those that were refused.
    pub refused: u64,
    /// When the last one ended, well or not, in milliseconds since 1970; 0 if there was none.
    pub last_unix_ms: u64,
    /// Whether the last one was refused.
    pub is_last_refused: bool,
}

/// What the system says about the process; 0 where it does not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub id: u32,
    /// Time of the processor, in milliseconds.
    pub cpu_ms: u64,
    /// Memory that it has, in bytes.
    pub resident_bytes: u64,
    /// Files that it has open.
    pub open_files: u64,
    /// Files that it may open.
    pub open_files_max: u64,
}

/// One pool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolReport {
    /// Where it listens.
    pub listen: String,
    /// Its reactors.
    pub threads: usize,
    /// Those of them that did not answer in time; what they did is not part of the figures.
    pub threads_silent: usize,
    /// What its reactors told, together.
    pub figures: Figures,
}

impl Report {
    /// True exactly when it can serve: it accepts clients, its loops turn, and each pool has a server that is up.
    pub fn is_ready(&self) -> bool {
        let can_serve = |pool: &PoolReport| {
            pool.threads_silent == 0 && pool.figures.servers.iter().any(|server| server.state.is_up())
        };
        self.is_accepting && self.pools.iter().all(can_serve)
    }
}
