//! What INFO and RMUX STATUS tell about the cluster of a pool: a few lines, of which some have several numbers, each
//! with a name, as Redis' own have.
//!
//! ```text
//!   cluster_slots_covered:16384
//!   cluster_masters:known=3,up=3
//!   cluster_replicas:known=3,read=0
//!   cluster_redirects:moved=2,ask=0,tryagain=0,clusterdown=0,readonly=0
//!   cluster_refreshes:start=1,time=4,moved=2,lost=0,down=0,same_address=0,failed=0
//! ```
//!
//! Nothing of a pool that has no cluster.

use super::fields::{LINE, numbers, push};
use crate::reply;
use crate::stats::{Figures, REDIRECTS};

/// Appends them.
pub(super) fn write(text: &mut Vec<u8>, figures: &Figures) {
    let Some(cluster) = &figures.cluster else { return };
    numbers(text, LINE, &[("cluster_slots_covered", cluster.slots_covered)]);
    write_list(text, "cluster_masters", [("known", cluster.masters), ("up", cluster.masters_up)]);
    write_list(text, "cluster_replicas", [("known", cluster.replicas), ("read", cluster.replicas_read)]);
    write_list(text, "cluster_redirects", REDIRECTS.into_iter().zip(figures.stats.redirects));
    let refreshes = cluster.refreshes.iter().copied();
    write_list(text, "cluster_refreshes", refreshes.chain([("failed", cluster.refreshes_failed)]));
}

fn write_list(text: &mut Vec<u8>, name: &str, numbers: impl IntoIterator<Item = (&'static str, u64)>) {
    push(text, &[name]);
    for (place, (name, number)) in numbers.into_iter().enumerate() {
        push(text, &[if place == 0 { ":" } else { "," }, name, "="]);
        reply::decimal(text, number);
    }
    push(text, &["\r\n"]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{ClusterFigures, ProxyStats};

    #[test]
    fn each_fact_has_a_name_and_without_a_cluster_there_is_none() {
        let mut text = Vec::new();
        let stats = ProxyStats { redirects: [5, 4, 3, 2, 1], ..ProxyStats::default() };
        write(&mut text, &Figures { stats, ..Figures::default() });
        assert!(text.is_empty());
        let cluster = ClusterFigures {
            slots_covered: 16_000,
            masters: 3,
            masters_up: 2,
            replicas: 4,
            replicas_read: 1,
            refreshes: vec![("start", 1), ("moved", 6)],
            refreshes_failed: 2,
        };
        write(&mut text, &Figures { stats, cluster: Some(cluster), ..Figures::default() });
        let expected = "cluster_slots_covered:16000\r\ncluster_masters:known=3,up=2\r\n\
                        cluster_replicas:known=4,read=1\r\n\
                        cluster_redirects:moved=5,ask=4,tryagain=3,clusterdown=2,readonly=1\r\n\
                        cluster_refreshes:start=1,moved=6,failed=2\r\n";
        assert_eq!(String::from_utf8_lossy(&text), expected);
    }
}
