//! How the programs of a comparison are started: with descriptors for thousands of clients, in a folder of the run's own.
//!
//! Knows not what they are. Their ends, and what they have used, are [`Process`]'s business.

use std::path::Path;

use crate::support::Scratch;
use crate::support::process::{Process, limited};

/// Starts a program with its output in a log file of the folder.
pub fn start(folder: &Scratch, name: &str, program: &Path, arguments: &[String]) -> Result<Process, String> {
    // Thousands of clients need as many descriptors, and a soft limit of 1,024 is common.
    let mut command = limited(&format!("-S -n {DESCRIPTORS} 2>/dev/null"), program);
    command.args(arguments).current_dir(folder.path());
    Process::start(name, &mut command, &folder.join(&format!("{name}.log")))
}

/// Enough for 10,000 clients, and for as many connections to the server.
const DESCRIPTORS: u32 = 20_000;
