//! Finds the clusters of a configuration once, for `-test` and `-key`.
//!
//! Asks as a running pool does, by a watcher for each pool, until a first answer or failure, at most [`PATIENCE`].

use std::sync::Arc;
use std::time::Duration;

use super::watched;
use crate::cluster::{SLOTS, SlotMap};
use crate::config::{self, Config};
use crate::watcher::{self, View};

/// What was found of the clusters of a configuration.
#[derive(Debug, Default)]
pub struct Clusters {
    /// By pool: the slot map, where one was found.
    pub maps: Vec<Option<Arc<SlotMap>>>,
    /// A line for each node that has slots.
    pub facts: Vec<String>,
    /// Why a cluster was not found.
    pub warnings: Vec<String>,
}

/// Asks the nodes of all pools.
pub fn find(config: &Config) -> Clusters {
    let settings = config.pools.iter().map(|pool| watched::settings(pool).filter(|_| pool.cluster));
    // All pools ask at the same time.
    let watchers: Vec<_> = settings.map(|settings| settings.map(watcher::start)).collect();
    let mut clusters = Clusters::default();
    for ((index, watcher), pool) in watchers.into_iter().enumerate().zip(&config.pools) {
        let place = config::label(index + 1, pool);
        let view = match watcher {
            None => None,
            Some(Ok(watcher)) => Some(watcher.viewer().await_view(PATIENCE)),
            Some(Err(error)) => {
                clusters.warnings.push(format!("{place}: its servers cannot be watched: {error}"));
                None
            }
        };
        let map = match view {
            Some(View::Slots(view, _)) => {
                if view.map.is_none() {
                    let why = view.problem.unwrap_or_else(|| "no node of its cluster answers in time".to_owned());
                    clusters.warnings.push(format!("{place}: {why}"));
                }
                view.map
            }
            _ => None,
        };
        clusters.facts.extend(map.iter().flat_map(|map| lines(&place, map)));
        clusters.maps.push(map);
    }
    clusters
}

fn lines(place: &str, map: &SlotMap) -> Vec<String> {
    let mut slots = vec![0; map.shards().len()];
    (0..SLOTS as u16).filter_map(|slot| map.owner(slot)).for_each(|owner| slots[owner] += 1);
    let mut lines: Vec<String> = map
        .shards()
        .iter()
        .zip(slots)
        .map(|(shard, slots)| {
            let replicas = match &shard.replicas[..] {
                [] => "no replica".to_owned(),
                some => format!("replicas {}", some.join(", ")),
            };
            format!("{place}: cluster node {}: {slots} slots, {replicas}", shard.master)
        })
        .collect();
    lines.push(format!("{place}: cluster: {} of {SLOTS} slots have a node", map.covered()));
    lines
}

/// The time for all pools together.
const PATIENCE: Duration = Duration::from_secs(5);
