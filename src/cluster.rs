//! Which node of a Redis Cluster has which slot.
//!
//! ```text
//!   key ─► slot_of ─► slot, 0 to 16383 ─► SlotMap::owner ─► shard: a master and its replicas
//! ```
//!
//! Knows no connections: who sends a request where is the business of the core, which is given each new [`SlotMap`],
//! and says with a [`RefreshCause`] why it wants the next one.
//!
//! The parts, from top to bottom: `slot_map`, who has what; `slot`, from keys to slots.

mod slot;
mod slot_map;

pub use slot::{SLOTS, slot_of};
pub use slot_map::{Builder, NODES_MAX, Shard, SlotMap};

/// Why the map of slots may not be true any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefreshCause {
    /// A node has said `-MOVED`: a slot has another owner.
    Moved,
    /// A connection to a node is lost, or cannot be made.
    Lost,
    /// A node has said `-CLUSTERDOWN`.
    Down,
    /// A node has said `-MOVED`, and named the very address that answered: behind a name there is another node now.
    SameAddress,
}
