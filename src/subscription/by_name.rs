//! A number for each name, family by family: what the topics and the counts of those whom no server sees are kept in.
//!
//! In order, not hashed, as all names of topics are.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::command::Channels;

/// A topic's bits, or a count. One kind of map for both, since each kind is several kB of code.
pub(super) type ByName = BTreeMap<Arc<[u8]>, u64>;

/// Where a family stands among three.
pub(super) fn index(family: Channels) -> usize {
    match family {
        Channels::Exact => 0,
        Channels::Pattern => 1,
        Channels::Shard => 2,
    }
}
