//! The whole, in front of several real redis-servers: which key lives where, what rmux says for all of them, and what
//! happens when one of them dies and comes back.
//!
//! ```text
//! parts     one command for several servers, split and merged, held against one Redis
//! placing   the golden ring, several keys in one command, order over servers, INFO
//! chaos     clients and connections come and go and break off: nobody ever sees what is not his
//! scripts   one that runs for ever is stopped, whichever server runs it
//! rmux_command  RMUX: where keys live, what was slow, on one thread and on four
//! failover  a server dies, is frozen, comes back; all of them do; none is there at the start
//! ```
//!
//! Where a key lives is read from the servers themselves, past rmux, and held against `tests/ring_golden.tsv`.

#[path = "../support/mod.rs"]
mod support;

mod chaos;
mod failover;
mod parts;
mod placing;
mod read_only;
mod rmux_command;
mod scripts;
