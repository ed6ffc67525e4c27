//! The table of commands: name → arity, access, class, key positions, subcommands.
//!
//! Knows what Redis documents about a command and what rmux does with it; knows no bytes on the wire, no servers, no
//! session. Arguments are looked at through a function `index → bytes`, so that nothing is copied and a request may
//! still be in pieces.
//!
//! ```text
//!   class   keys   name    what a row is made of; timeout, for those that block
//!      └──────┼──────┘
//!            row           one command, and what it says about a request
//!           shape          what rows are written with
//!    table ─ subcommands   all of them
//!           index          the one that a name means
//!          policy          what a pool changes about them
//!          replica        which of them a replica answers
//! ```
//!
//! Facts: `COMMAND` of Redis 8.10 with its modules (search, JSON, time series, Bloom, vector sets) and what Valkey
//! adds, and their documentation where that output is wrong (`JSON.MGET`, `CMS.MERGE`, blocking `TS.READ`). Sentinel's
//! commands are not data commands: unknown here, and so is every other name that has no row.
//!
//! What is **refused** belongs on the Redis server itself, with somebody who may log in there:
//! - it stops, copies or reconfigures the server, resets its records, or swaps databases under all clients (`SHUTDOWN`,
//!   `BGSAVE`, `CONFIG SET`, `REPLICAOF`, `SWAPDB`, `ACL SETUSER`, `MODULE LOAD`, `DEBUG`, `SLOWLOG RESET`, `CLUSTER`
//!   writes);
//! - it turns the connection into something else (`MONITOR`, `SYNC`, `PSYNC`, `REPLCONF`), or leaves something on it
//!   that the next client would inherit (`HIMPORT`, `SCRIPT DEBUG`).
//!
//! What only tells is not refused. `SLOWLOG GET` shows what others have asked for, and so does any script that calls
//! it; who may ask rmux may read all data anyway. The hashes of passwords are another matter: they are no data, and may
//! let somebody in who may do more than rmux. So `ACL LIST` and `ACL GETUSER` are forwarded, and answered without them.
//!
//! What is safe on a connection that many share is not refused, though the original rmux did: `DBSIZE`, `FLUSHALL`,
//! `FLUSHDB`, `MOVE`, `OBJECT`, `RANDOMKEY`, `TIME`.
//!
//! Invariants, each with a test: names are lower case and unique; there are [`Command::subs`] exactly when the class is
//! [`Class::Container`]; whatever the arguments, key indexes ascend and stay below `argc`; a command whose
//! [`Command::args_needed`] is `n` has all its keys among its first `n` arguments.

mod class;
mod index;
mod keys;
mod name;
mod policy;
mod replica;
mod row;
mod shape;
mod subcommands;
mod table;
mod timeout;

pub use class::{Access, Channels, Class, Gather, Lease, Merge, Rmux, Session};
pub use index::{COUNT, all, find};
pub use keys::{KeyError, KeySpan, Keys, integer};
pub use name::Name;
pub use policy::{Declared, Objection, Policy, names};
pub use row::Command;
pub use timeout::{Timeout, TimeoutAt, Unit};

#[cfg(test)]
mod tests;
