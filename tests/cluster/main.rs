//! The whole, in front of a real cluster: three masters, each with a replica, all of a test's own.
//!
//! ```text
//! nodes     the processes: started, met, killed, moved; slots that go from one to another
//! changes   that the nodes do what the other tests ask of them
//! ```

#[path = "../support/mod.rs"]
mod support;

mod changes;
// Not all of what starts rmux in front of it has a test yet.
#[allow(dead_code)]
mod nodes;
