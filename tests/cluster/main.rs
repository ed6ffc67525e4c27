//! The whole, in front of a real cluster: three masters, each with a replica, all of a test's own.
//!
//! ```text
//! nodes       the processes: started, met, killed, moved; slots that go from one to another
//! front       rmux before them
//! mixed       clients that know what each reply must be, to the byte
//! tokens      clients that write tokens which nobody else writes, and what became of each
//! changes     that the nodes do what the other tests ask of them
//! finding     which nodes rmux knows, and how often it asks them
//! reading     reads from replicas
//! replaced    a node of which another one has taken the place, behind its address
//! resharding  slots that move under load
//! leases      what has a connection of its own, while its slot moves
//! failures    masters that are killed, paused, replaced and restarted under load
//! tls         all of it inside of TLS
//! newer       what only some servers have: several databases, slots that move by themselves
//! ```

#[path = "../support/mod.rs"]
mod support;

mod changes;
mod failures;
mod finding;
mod front;
mod leases;
mod mixed;
mod newer;
mod nodes;
mod reading;
mod replaced;
mod resharding;
#[cfg(feature = "tls")]
mod tls;
mod tokens;
