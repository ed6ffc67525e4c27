//! The owner of each slot: a master and its replicas.
//!
//! Knows addresses as text. A map never changes: all threads of a pool share one, and it is compared with the next.
//!
//! Invariants: shards stand in the order of their node ids, each once; every owner is an index into them; there are at
//! most [`NODES_MAX`] nodes.

use std::collections::BTreeMap;
use std::fmt;

use super::slot::SLOTS;

/// The most nodes, masters and replicas together, that one map takes.
pub const NODES_MAX: usize = 2048;

/// A master and its replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// The node id of the master: 40 letters; its address where the server is too old to report ids (before Redis 4.0).
    pub id: String,
    /// The master's address, `host:port`, an IPv6 address in brackets.
    pub master: String,
    /// The addresses of its replicas in the same form, sorted.
    pub replicas: Vec<String>,
}

/// Maps slots to shards.
#[derive(Clone, PartialEq, Eq)]
pub struct SlotMap {
    shards: Vec<Shard>,
    /// By slot; `NOBODY` where it has no owner.
    owners: Box<[u16]>,
}

impl SlotMap {
    /// The shards, in the order of their ids, whether they have slots or not.
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// The index in [`SlotMap::shards`] of the shard that owns this slot.
    ///
    /// # Panics
    ///
    /// Unless `slot` < [`SLOTS`].
    #[inline]
    pub fn owner(&self, slot: u16) -> Option<usize> {
        let owner = self.owners[usize::from(slot)];
        (owner != NOBODY).then_some(usize::from(owner))
    }

    /// The number of slots that have an owner.
    pub fn covered(&self) -> usize {
        self.owners.iter().filter(|&&owner| owner != NOBODY).count()
    }
}

impl fmt::Debug for SlotMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlotMap").field("covered", &self.covered()).field("shards", &self.shards).finish()
    }
}

/// Builds a [`SlotMap`] range by range.
#[derive(Debug)]
pub struct Builder {
    /// By id; each with the number by which `owners` means it.
    shards: BTreeMap<String, (u16, Shard)>,
    owners: Box<[u16]>,
    nodes: usize,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder { shards: BTreeMap::new(), owners: vec![NOBODY; SLOTS].into(), nodes: 0 }
    }
}

impl Builder {
    /// Adds a shard, which may have no slots. If its id is known, its replicas are added to that shard.
    ///
    /// Returns its number, for [`Builder::give`]; `None` if there are more than [`NODES_MAX`] nodes with it.
    pub fn shard(&mut self, shard: Shard) -> Option<u16> {
        let next = self.shards.len() as u16;
        let is_known = self.shards.contains_key(&shard.id);
        let (number, known) = self.shards.entry(shard.id.clone()).or_insert_with(|| {
            let (id, master) = (shard.id, shard.master);
            (next, Shard { id, master, replicas: Vec::new() })
        });
        self.nodes += usize::from(!is_known);
        for replica in shard.replicas {
            if let Err(place) = known.replicas.binary_search(&replica) {
                known.replicas.insert(place, replica);
                self.nodes += 1;
            }
        }
        (self.nodes <= NODES_MAX).then_some(*number)
    }

    /// Gives the slots `first..=last` to the shard with this number, whichever owner they had before.
    ///
    /// # Panics
    ///
    /// Unless `first` ≤ `last` < [`SLOTS`].
    pub fn give(&mut self, first: u16, last: u16, shard: u16) {
        self.owners[usize::from(first)..=usize::from(last)].fill(shard);
    }

    /// The map.
    pub fn build(self) -> SlotMap {
        let mut place_of = vec![0; self.shards.len()];
        let mut shards = Vec::with_capacity(self.shards.len());
        for (place, (number, shard)) in self.shards.into_values().enumerate() {
            place_of[usize::from(number)] = place as u16;
            shards.push(shard);
        }
        let mut owners = self.owners;
        owners.iter_mut().filter(|owner| **owner != NOBODY).for_each(|owner| *owner = place_of[usize::from(*owner)]);
        SlotMap { shards, owners }
    }
}

/// The owner of a slot that has none.
const NOBODY: u16 = u16::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(id: &str, replicas: &[&str]) -> Shard {
        let replicas = replicas.iter().map(|&replica| replica.to_owned()).collect();
        Shard { id: id.to_owned(), master: format!("{id}:1"), replicas }
    }

    /// A map of shards with their ranges, in this order.
    fn map(parts: &[(&str, u16, u16)]) -> SlotMap {
        let mut builder = Builder::default();
        for &(id, first, last) in parts {
            let number = builder.shard(shard(id, &[])).expect("few nodes");
            builder.give(first, last, number);
        }
        builder.build()
    }

    #[test]
    fn shards_stand_in_the_order_of_their_ids_however_they_came() {
        let (one, other) = (map(&[("b", 0, 9), ("a", 10, 19)]), map(&[("a", 10, 19), ("b", 0, 9)]));
        assert_eq!(one, other);
        let ids: Vec<_> = one.shards().iter().map(|shard| shard.id.as_str()).collect();
        assert_eq!(ids, ["a", "b"]);
        assert_eq!([0, 9, 10, 19, 20].map(|slot| one.owner(slot)), [Some(1), Some(1), Some(0), Some(0), None]);
        assert_eq!(one.covered(), 20);
        assert_ne!(one, map(&[("b", 0, 8), ("a", 10, 19)]));
    }

    #[test]
    fn the_last_word_on_a_slot_counts() {
        let map = map(&[("a", 0, 16_383), ("b", 16_383, 16_383), ("a", 5, 5)]);
        assert_eq!((map.owner(16_382), map.owner(16_383), map.covered()), (Some(0), Some(1), SLOTS));
        assert_eq!(map.shards().len(), 2);
    }

    #[test]
    fn replicas_of_all_ranges_of_a_master_are_its_replicas() {
        let mut builder = Builder::default();
        assert_eq!(builder.shard(shard("a", &["r:2", "r:1"])), Some(0));
        assert_eq!(builder.shard(shard("b", &[])), Some(1));
        assert_eq!(builder.shard(shard("a", &["r:3", "r:1"])), Some(0));
        let map = builder.build();
        assert_eq!(map.shards()[0].replicas, ["r:1", "r:2", "r:3"]);
        assert_eq!((map.shards().len(), map.covered(), map.owner(0)), (2, 0, None));
    }

    #[test]
    fn more_nodes_than_the_limit_are_refused() {
        let mut builder = Builder::default();
        for node in 0..NODES_MAX / 2 {
            assert!(builder.shard(shard(&node.to_string(), &["r:1"])).is_some());
        }
        assert!(builder.shard(shard("1", &["r:1"])).is_some(), "it is known");
        assert_eq!(builder.shard(shard("1", &["r:2"])), None);
    }
}
