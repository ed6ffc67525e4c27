//! Which node of a Redis Cluster has which slot.
//!
//! ```text
//!   key ─► slot_of ─► slot, 0 to 16383 ─► SlotMap::owner ─► shard: a master and its replicas
//!
//!   a node, by chance ◄─ asks ── each minute ──────────────────────────────┐
//!   another one, if that does not answer, or is not to be believed         ├─► a SlotMap ─► all reactors of the pool
//!   a reactor: "MOVED", "a connection is lost" ── asks, once a second ─────┘
//! ```
//!
//! Two things: what the core routes by, [`slot_of`] and the [`SlotMap`], and [`Watch`], which finds out what is in that
//! map. That is a machine without sockets and without a clock, as the core is one: `handle_*` tells it what has
//! happened, `poll_action` asks what is to be done, time is an argument. There is one for all reactors of a pool.
//!
//! What a node says is not always true: one that was cut off, or taken out, or that another cluster has now, still
//! answers. So it is doubted where it knows fewer slots than are known to have owners, where it says of itself that it
//! does not serve, where it has missed changes, and where it does not know a single node that was known; then others
//! are asked. When nobody who is known answers, the nodes that the user names are asked again, their names looked up
//! anew: they are never forgotten. As long as nobody is believed, all stays as it is known.
//!
//! Bounded: nodes, and bytes of a reply, have limits; each question, and each connect, has a deadline; there is one
//! connection at a time, and a second between two rounds, however many ask for them.
//!
//! The parts, from top to bottom: `watch`, the machine; `interface`, its words to the shell; `round`, who is asked, and
//! what is doubted; `schedule`, when; `answer`, what replies mean; `slot_map`, who has what; `slot`, from keys to
//! slots.

mod answer;
mod interface;
mod round;
mod schedule;
mod slot;
mod slot_map;
mod watch;

pub use interface::{Action, Settings, View};
pub use schedule::{Cause, Outcome, RefreshCause};
pub use slot::{SLOTS, slot_of};
pub use slot_map::{Builder, NODES_MAX, Shard, SlotMap};
pub use watch::Watch;

#[cfg(test)]
mod tests;
