//! This program started anew in the place of a process of it: the same process id, and a name that says what is left.
//!
//! ```text
//!   root's rmux ─► exec, by one of the names below ─► the user's rmux, which looks at its own name (`argv[0]`)
//! ```
//!
//! Knows how a successor is told, and not why there is one.

use std::env;
use std::path::PathBuf;

/// Where this program is, and with which arguments it was started.
pub(super) fn own_command_line() -> (PathBuf, env::ArgsOs) {
    let mut arguments = env::args_os();
    let name = arguments.next().unwrap_or_default();
    // Without /proc there is no other way to know than by our own name.
    (env::current_exe().unwrap_or_else(|_| name.into()), arguments)
}

/// True exactly when this process was root, and has started its program anew as another user.
pub fn is_successor() -> bool {
    env::args_os().next().is_some_and(|name| name == LISTENING || name == GIVEN)
}

/// True exactly when this process was root, and has listened for the first pool before it started its program anew.
pub fn has_listened() -> bool {
    env::args_os().next().is_some_and(|name| name == LISTENING)
}

/// The names by which the program that is started anew is called; the list of processes shows them, too.
/// Standard input was made here, and is to be ended here.
pub(super) const LISTENING: &str = "rmux (was root, and listened)";
/// Standard input was made by the service manager.
pub(super) const GIVEN: &str = "rmux (was root)";
