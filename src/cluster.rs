//! The slot map of a Redis Cluster: which node owns which slot, and how rmux finds out.
//!
//! ```text
//!   key ─► slot_of ─► slot, 0 to 16383 ─► SlotMap::owner ─► shard: a master and its replicas
//!
//!   each minute ─────────────────────────────────────────┐
//!   a hint of a reactor: -MOVED, a connection is lost ───┴─► a round, at most one a second: ask a random node,
//!                                                            and the next one if its answer is missing or doubtful
//!                                                              └─► a SlotMap ─► all reactors of the pool
//! ```
//!
//! The core routes by [`slot_of`] and the [`SlotMap`]; [`Watch`] keeps that map up to date. Like the core, it is a
//! state machine without sockets and without a clock: `handle_*` reports an event, `poll_action` returns what the shell
//! must do, and time is an argument. One serves all reactors of a pool.
//!
//! An answer may be wrong: a node that is partitioned, was removed, or belongs to another cluster now still answers. So
//! an answer is doubtful if it covers fewer slots than the present map, if the node reports `cluster_state:fail` or an
//! old epoch, or if it names none of the known nodes; then other nodes are asked. When no known node answers, the seeds
//! of the configuration are asked again, their names resolved anew: they are never forgotten. Until some answer is
//! accepted the present map stays in force.
//!
//! Bounded: the number of nodes and the bytes of a reply have limits; each connect and each reply has a deadline; there
//! is one connection at a time, and at least a second between two rounds, however many hints arrive.
//!
//! The parts, from top to bottom: `watch`, the state machine; `interface`, its types towards the shell; `round`, which
//! nodes are asked and which answer wins; `schedule`, when; `answer`, the parser of the replies; `change`, what the
//! log is told; `slot_map`, slot → shard; `slot`, key → slot.

mod answer;
mod change;
mod interface;
mod round;
mod schedule;
mod slot;
mod slot_map;
mod watch;

pub use interface::{Action, Databases, Refreshes, Settings, View};
pub use schedule::{Cause, Outcome, RefreshCause};
pub use slot::{SLOTS, slot_of};
pub use slot_map::{Builder, NODES_MAX, Shard, SlotMap};
pub use watch::Watch;

#[cfg(test)]
mod tests;
