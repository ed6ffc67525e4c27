//! The whole, in front of masters that real sentinels watch: three of them, a master and two replicas, all of a test's
//! own.
//!
//! ```text
//! trio       the processes: started, killed, frozen, asked
//! load       clients that write tokens which nobody else writes, and what became of each
//! failover   a master dies, is frozen, is replaced; under load
//! sentinels  of them some die, all die, one knows nothing of the others' decision, none is there at the start
//! tls        all of it inside of TLS, and what is wrong with certificates
//! sessions   what clients have for themselves: keys that they watch, channels that they hear
//! ```
//!
//! What Redis itself loses in a failover is no concern of these tests: replication is asynchronous, and what a master
//! has confirmed and not passed on is gone. A token that stands there twice, or that another client is given, is.

#[path = "../support/mod.rs"]
mod support;

mod failover;
mod load;
mod sentinels;
mod sessions;
#[cfg(feature = "tls")]
mod tls;
mod trio;
