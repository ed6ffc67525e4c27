//! Threads: one way to start each of them. What a thread does is one type, since each type has a copy of what makes a
//! thread.

use std::io;
use std::thread::{Builder, JoinHandle};

/// What a thread does.
pub type Work = Box<dyn FnOnce() -> io::Result<()> + Send>;

/// Does this on a thread of this name, with a stack of this size if one is given.
///
/// # Errors
///
/// When no thread can be made.
pub fn spawn(name: &str, stack_bytes: Option<usize>, run: Work) -> io::Result<JoinHandle<io::Result<()>>> {
    let thread = Builder::new().name(name.to_owned());
    match stack_bytes {
        Some(bytes) => thread.stack_size(bytes),
        None => thread,
    }
    .spawn(run)
}
