//! The report of a pool's cluster: nodes, covered slots, and refreshes.
//!
//! Made from the view of the pool's watcher; the formats are written elsewhere.

use crate::cluster::{Cause, Outcome};
use crate::sentinel::SentinelView;
use crate::watcher::View;

/// The cluster of a pool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterReport {
    /// The slots that have an owner, of 16,384.
    pub slots_covered: u64,
    /// How many masters have slots, and how many replicas these have.
    pub masters: u64,
    /// See `masters`.
    pub replicas: u64,
    /// The age of the last accepted answer, in milliseconds; 0 as long as there is none.
    pub told_ms: u64,
    /// Why the last refresh failed; empty if it did not.
    pub problem: String,
    /// The refreshes, by cause and outcome.
    pub refreshes: Vec<RefreshReport>,
}

/// The number of refreshes with one cause and one outcome.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RefreshReport {
    /// One of the names in [`Cause::NAMES`].
    pub cause: String,
    /// One of the names in [`Outcome::NAMES`].
    pub outcome: String,
    /// Their number.
    pub count: u64,
}

/// The sentinels, or the cluster, that a watcher shows.
pub fn reports(view: View) -> (Vec<SentinelView>, Vec<ClusterReport>) {
    let (view, told_ms) = match view {
        View::Nothing => return Default::default(),
        View::Sentinels(sentinels) => return (sentinels, Vec::new()),
        View::Slots(view, told_ms) => (view, told_ms),
    };
    let shards = view.map.as_ref().map_or(&[][..], |map| map.shards());
    let name =
        |names: &[(&'static str, Cause)], cause| names.iter().find(|named| named.1 == cause).map(|named| named.0);
    let refreshes = view.refreshes.iter().map(|((cause, outcome), count)| RefreshReport {
        cause: name(&Cause::NAMES, *cause).unwrap_or_default().to_owned(),
        outcome: Outcome::NAMES.iter().find(|named| named.1 == *outcome).map_or("", |named| named.0).to_owned(),
        count: *count,
    });
    let report = ClusterReport {
        slots_covered: view.map.as_ref().map_or(0, |map| map.covered()) as u64,
        masters: shards.len() as u64,
        replicas: shards.iter().map(|shard| shard.replicas.len() as u64).sum(),
        told_ms: told_ms.unwrap_or(0),
        refreshes: refreshes.collect(),
        problem: view.problem.unwrap_or_default(),
    };
    (Vec::new(), vec![report])
}
