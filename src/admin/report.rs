//! What there is to tell about this process: put together for each round of questions, and written in several forms.
//!
//! Plain values. Knows nothing of how they are gathered or written.

use super::cluster::ClusterReport;
use crate::net::Expiry;
use crate::sentinel::SentinelView;
use crate::stats::{Figures, ServerFigures, ServerRole};

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
    /// Those of them that did not answer in time; of them, the figures have what they said last.
    pub threads_silent: usize,
    /// What its reactors told, together.
    pub figures: Figures,
    /// The sentinels that are known; none if it asks none.
    pub sentinels: Vec<SentinelView>,
    /// Its cluster; one at the most.
    pub clusters: Vec<ClusterReport>,
    /// One for each file with certificates.
    pub certificates: Vec<CertificateReport>,
}

/// A file with certificates, of which one is good for longest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CertificateReport {
    /// The key of the configuration that names the file.
    pub key: String,
    /// The file.
    pub file: String,
    /// Whose certificate it is.
    pub subject: String,
    /// Until when it is good, in words.
    pub until: String,
    /// The same, in milliseconds since 1970.
    pub until_unix_ms: u64,
}

impl From<&Expiry> for CertificateReport {
    fn from(expiry: &Expiry) -> CertificateReport {
        CertificateReport {
            key: expiry.key.to_owned(),
            file: expiry.path.clone(),
            subject: expiry.subject.clone(),
            until: expiry.until_text.clone(),
            until_unix_ms: expiry.until.max(0) as u64 * 1000,
        }
    }
}

impl Report {
    /// True exactly when it can serve: it accepts clients, its loops turn, and each pool has a master that is up.
    pub fn is_ready(&self) -> bool {
        self.why_not_ready().is_none()
    }

    /// Why it cannot serve, if it cannot: one line.
    pub fn why_not_ready(&self) -> Option<String> {
        if !self.is_accepting {
            return Some("clients are not accepted: it starts, or is about to end".to_owned());
        }
        self.why_stuck().or_else(|| {
            self.pools.iter().find_map(|pool| Some(["pool ", &pool.listen, ": ", pool.why_not_served()?].concat()))
        })
    }

    /// Which loop does not turn, if one does not: one line.
    pub fn why_stuck(&self) -> Option<String> {
        let pool = self.pools.iter().find(|pool| pool.threads_silent > 0)?;
        let [silent, all] = [pool.threads_silent, pool.threads].map(|count| count.to_string());
        Some(["pool ", &pool.listen, ": threads that do not turn: ", &silent, " of ", &all].concat())
    }
}

/// How a sentinel is: it answers; it does, and its clock has jumped, so that its word does not count; it does not.
pub const SENTINEL_STATES: [&str; 3] = ["answering", "tilted", "silent"];

impl PoolReport {
    /// Why what clients ask is not answered, if it is not: what is written needs a master, whatever else is up.
    pub fn why_not_served(&self) -> Option<&'static str> {
        let mut up = self.figures.servers.iter().filter(|server| server.state.is_up()).peekable();
        let is_any_up = up.peek().is_some();
        let is_master = |server: &ServerFigures| server.role == ServerRole::Master;
        match (up.any(is_master), is_any_up) {
            (true, _) => None,
            (false, true) => Some("no master is up, and replicas answer reads alone"),
            (false, false) => Some("no server is up"),
        }
    }

    /// How many of its sentinels are at what [`SENTINEL_STATES`] says.
    pub fn sentinels_by_state(&self) -> [u64; SENTINEL_STATES.len()] {
        let mut counts = [0; SENTINEL_STATES.len()];
        for sentinel in &self.sentinels {
            let state = if sentinel.is_up { usize::from(sentinel.is_tilted) } else { 2 };
            counts[state] += 1;
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::ServerState;

    #[test]
    fn it_is_ready_when_each_pool_turns_and_has_a_server() {
        let server = |state| ServerFigures { state, ..ServerFigures::default() };
        let pool = |states: &[ServerState]| PoolReport {
            listen: "localhost:7000".to_owned(),
            threads: 2,
            figures: Figures { servers: states.iter().map(|state| server(*state)).collect(), ..Figures::default() },
            ..PoolReport::default()
        };
        let (up, down) = (ServerState::Up, ServerState::Down);
        let mut report = Report { pools: vec![pool(&[down, up]), pool(&[up])], ..Report::default() };
        assert!(report.why_not_ready().expect("it starts").starts_with("clients are not accepted"));
        assert_eq!(report.why_stuck(), None);
        report.is_accepting = true;
        assert!(report.is_ready());
        report.pools.push(pool(&[ServerState::Probing, down]));
        assert_eq!(report.why_not_ready().as_deref(), Some("pool localhost:7000: no server is up"));
        let replica = ServerFigures { role: ServerRole::Replica, ..server(up) };
        report.pools[2].figures.servers.push(replica);
        let reason = "pool localhost:7000: no master is up, and replicas answer reads alone";
        assert_eq!(report.why_not_ready().as_deref(), Some(reason), "a write would fail");
        report.pools[0].threads_silent = 1;
        let stuck = "pool localhost:7000: threads that do not turn: 1 of 2";
        assert_eq!([report.why_stuck(), report.why_not_ready()], [Some(stuck.to_owned()), Some(stuck.to_owned())]);
    }
}
