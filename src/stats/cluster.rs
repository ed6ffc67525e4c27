//! What there is to tell about a cluster, as one proxy sees it, and as several do.

/// The nodes of a cluster, its slots, and how often nodes were asked who has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterFigures {
    /// How many slots have a node, of 16,384.
    pub slots_covered: u64,
    /// How many nodes have slots.
    pub masters: u64,
    /// Those of them that are up.
    pub masters_up: u64,
    /// How many replicas these have, as far as is known.
    pub replicas: u64,
    /// Those of them that are read from now.
    pub replicas_read: u64,
    /// How often nodes were asked who has which slot, for the whole pool, by the reason.
    pub refreshes: Vec<(&'static str, u64)>,
    /// How many of these times nobody was believed.
    pub refreshes_failed: u64,
}

impl ClusterFigures {
    /// Adds what another proxy of the pool sees. What is up, both say that it is; of what is counted for the pool, the
    /// newer count holds.
    pub(super) fn add(&mut self, other: &ClusterFigures) {
        let total = |figures: &ClusterFigures| figures.refreshes.iter().map(|(_, count)| count).sum::<u64>();
        if total(self) < total(other) {
            self.refreshes.clone_from(&other.refreshes);
        }
        self.refreshes_failed = self.refreshes_failed.max(other.refreshes_failed);
        self.slots_covered = self.slots_covered.min(other.slots_covered);
        self.masters = self.masters.max(other.masters);
        self.masters_up = self.masters_up.min(other.masters_up);
        self.replicas = self.replicas.max(other.replicas);
        self.replicas_read = self.replicas_read.min(other.replicas_read);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Figures;
    use super::*;

    #[test]
    fn several_proxies_of_a_pool_see_one_cluster() {
        let seen = |masters_up, moved| ClusterFigures {
            slots_covered: 16_384,
            masters: 3,
            masters_up,
            replicas: 2,
            replicas_read: 1,
            refreshes: vec![("start", 1), ("moved", moved)],
            refreshes_failed: moved / 2,
        };
        let figures = |cluster| Figures { cluster, ..Figures::default() };
        let mut sum = figures(None);
        for (masters_up, moved) in [(3, 4), (2, 6), (3, 5)] {
            sum.add(&figures(Some(seen(masters_up, moved))));
        }
        sum.add(&figures(None));
        assert_eq!(sum.cluster, Some(seen(2, 6)));
    }
}
