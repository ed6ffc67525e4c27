//! How the programs of a comparison are started: with descriptors for thousands of clients, in a folder of the run's own.
//!
//! Knows not what they are. Their ends, and what they have used, are [`Process`]'s business.

use std::path::Path;
use std::process::Command;

use crate::support::Scratch;
use crate::support::process::{Process, limited};

/// Starts a program with its output in a log file of the folder.
pub fn start(folder: &Scratch, name: &str, program: &Path, arguments: &[String]) -> Result<Process, String> {
    // Thousands of clients need as many descriptors, and a soft limit of 1,024 is common. PHP's workers, another user, are
    // to be let in at a socket whose mode its owner leaves to the umask.
    let mut command = limited(&format!("-S -n {DESCRIPTORS} 2>/dev/null; umask 0"), program);
    command.args(arguments).current_dir(folder.path());
    Process::start(name, &mut command, &folder.join(&format!("{name}.log")))
}

/// Keeps all threads of a process to one core.
pub fn keep_to(core: u32, process_id: u32) -> Result<(), String> {
    let arguments = ["-a", "-c", "-p", &core.to_string(), &process_id.to_string()];
    match Command::new("taskset").args(arguments).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("taskset: core {core}: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("taskset (apt-get install util-linux): {error}")),
    }
}

/// Enough for 10,000 clients, and for as many connections to the server.
const DESCRIPTORS: u32 = 20_000;
