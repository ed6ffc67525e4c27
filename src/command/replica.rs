//! Which commands a replica answers as well as its master.
//!
//! Those that the table calls reads and that name the keys that they read; but for those whose answer means something
//! to the server alone that gave it, and those that leave something behind that is no write.

use super::class::{Access, Class};
use super::keys::Keys;
use super::row::Command;

impl Command {
    /// True exactly when a replica may answer it. A subcommand is never asked of one: what those tell (`OBJECT FREQ`,
    /// `MEMORY USAGE`, `XINFO`) is about a server as much as about a key.
    pub fn is_for_replicas(&self) -> bool {
        self.access == Access::Read
            && matches!(self.class, Class::Keyed | Class::Split(_))
            && self.keys != Keys::None
            && !AT_MASTER.iter().any(|name| self.is_named(name))
    }
}

/// Reads that are the master's: cursors, which another server does not know; `TOUCH`, which keeps a key from being
/// evicted where it is asked; `SORT_RO`, which may read keys that it does not name.
const AT_MASTER: &[&str] = &["arscan", "bf.scandump", "cf.scandump", "hscan", "sort_ro", "sscan", "touch", "zscan"];
