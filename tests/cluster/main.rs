//! The whole, in front of a real cluster: three masters, each with a replica, all of a test's own.
//!
//! ```text
//! nodes     the processes: started, met, killed, moved; slots that go from one to another
//! changes   that the nodes do what the other tests ask of them
//! finding   which nodes rmux knows, and how often it asks them
//! resharding   slots that move under load
//! ```

#[path = "../support/mod.rs"]
mod support;

mod changes;
mod finding;
mod nodes;
mod resharding;
