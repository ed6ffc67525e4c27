//! The children of a comparison, and the temporary folder they live in.
//!
//! Owns: a child's start (its output into a log, its end when it is dropped), and what the kernel says about it: CPU time,
//! voluntary waits, resident memory, summed over its threads. Knows not what the child is.
//!
//! CPU time is read from each thread's `schedstat`, in nanoseconds: it is what `utime + stime` in `stat` is made of, before
//! it is cut down to clock ticks of 10 ms. A kernel without schedstat gives the ticks.
//!
//! Invariant: no child and no folder outlives its value here, failures included.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A temporary folder for sockets, configurations and logs; dropped, it is gone.
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// A new folder in the system's place for temporary files. Short, since a Unix socket's path has at most 107 bytes.
    pub fn create() -> Result<Folder, String> {
        let path = std::env::temp_dir().join(format!("rmux-bench-{}", std::process::id()));
        fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Folder { path })
    }

    /// The path of a file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Nobody is left to tell, and an old temporary folder harms nobody.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A running child; dropped, it is killed and waited for.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// Whether it has children of its own, that only it can end.
    is_parent: bool,
}

/// What a process has used since it started.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// CPU time, user and system, all threads.
    pub cpu: Duration,
    /// How often a thread of it went to sleep of its own will: about two per poll that found nothing, so a measure of
    /// how much work one wake-up finds.
    pub waits: u64,
    /// Resident memory.
    pub bytes: u64,
    /// The most resident memory that it ever had.
    pub bytes_peak: u64,
}

impl Process {
    /// Starts a program with its output in a log file of the folder.
    pub fn start(folder: &Folder, name: &str, program: &Path, arguments: &[String]) -> Result<Process, String> {
        let log = folder.file(&format!("{name}.log"));
        let failed = |error: io::Error| format!("{name}: {}: {error}", program.display());
        let output = File::create(&log).map_err(failed)?;
        let errors = output.try_clone().map_err(failed)?;
        // Thousands of clients need as many descriptors, and a soft limit of 1,024 is common. The shell is replaced by
        // the program, so the child's id is the program's.
        let child = Command::new("/bin/sh")
            .arg("-c")
            .arg(format!("ulimit -S -n {DESCRIPTORS} 2>/dev/null; exec \"$@\""))
            .arg("sh")
            .arg(program)
            .args(arguments)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(failed)?;
        Ok(Process { name: name.to_owned(), child, log, is_parent: false })
    }

    /// It has children, and ends them when it is told to end: it is told, and not killed.
    pub fn end_gently(&mut self) {
        self.is_parent = true;
    }

    /// Calls `attempt` until it succeeds; an error when the process ends before, or at the deadline.
    pub fn await_ready<T>(&mut self, mut attempt: impl FnMut() -> Result<T, String>) -> Result<T, String> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(status) = self.exit_code()? {
                return Err(format!("ended at once (code {status}){}", self.last_words()));
            }
            match attempt() {
                Ok(value) => return Ok(value),
                Err(reason) if Instant::now() > deadline => {
                    return Err(format!("not ready after {START_TIMEOUT:?}: {reason}{}", self.last_words()));
                }
                Err(_) => std::thread::sleep(START_POLL),
            }
        }
    }

    /// The exit code once the process has ended; -1 stands for a signal.
    pub fn exit_code(&mut self) -> Result<Option<i32>, String> {
        let status = self.child.try_wait().map_err(|error| format!("{}: {error}", self.name))?;
        Ok(status.map(|status| status.code().unwrap_or(-1)))
    }

    /// What it has printed so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// What it has used so far.
    pub fn usage(&self) -> Result<Usage, String> {
        self.read_usage().map_err(|error| format!("{}: reading /proc: {error}{}", self.name, self.last_words()))
    }

    fn read_usage(&self) -> io::Result<Usage> {
        let root = PathBuf::from(format!("/proc/{}", self.child.id()));
        let mut cpu = Duration::ZERO;
        let mut waits = 0;
        for entry in fs::read_dir(root.join("task"))? {
            let thread = entry?.path();
            cpu += thread_cpu(&thread)?;
            waits += status_number(&fs::read_to_string(thread.join("status"))?, "voluntary_ctxt_switches:");
        }
        let status = fs::read_to_string(root.join("status"))?;
        let bytes = |field| status_number(&status, field) * 1_024;
        Ok(Usage { cpu, waits, bytes: bytes("VmRSS:"), bytes_peak: bytes("VmHWM:") })
    }

    fn last_words(&self) -> String {
        let output = self.output();
        match output.lines().rev().find(|line| !line.trim().is_empty()) {
            Some(line) => format!("; it said: {line}"),
            None => String::new(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.is_parent {
            let _ = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status();
            let deadline = Instant::now() + END_TIMEOUT;
            while matches!(self.exit_code(), Ok(None)) && Instant::now() < deadline {
                std::thread::sleep(START_POLL);
            }
        }
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn thread_cpu(thread: &Path) -> io::Result<Duration> {
    if let Ok(schedstat) = fs::read_to_string(thread.join("schedstat")) {
        if let Some(nanoseconds) = schedstat.split_whitespace().next().and_then(|word| word.parse().ok()) {
            return Ok(Duration::from_nanos(nanoseconds));
        }
    }
    let stat = fs::read_to_string(thread.join("stat"))?;
    // The name in brackets may hold blanks, so fields are counted from behind it: utime and stime are the 12th and 13th.
    let ticks: u64 = stat
        .rsplit(')')
        .next()
        .into_iter()
        .flat_map(|fields| fields.split_whitespace().skip(11).take(2))
        .filter_map(|word| word.parse::<u64>().ok())
        .sum();
    Ok(Duration::from_millis(ticks * TICK_MS))
}

fn status_number(status: &str, field: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|word| word.parse().ok())
        .unwrap_or(0)
}

/// Enough for 10,000 clients, and for as many connections to the server.
const DESCRIPTORS: u32 = 20_000;
const START_TIMEOUT: Duration = Duration::from_secs(10);
const END_TIMEOUT: Duration = Duration::from_secs(2);
const START_POLL: Duration = Duration::from_millis(5);
/// Linux shows user space 100 ticks per second everywhere.
const TICK_MS: u64 = 10;
