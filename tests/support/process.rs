//! A child process: its output in a file, its end with its value, and what the kernel says that it has used.
//!
//! Knows not what the child is; what can go wrong with it is an error here, and whoever starts it says what that means.
//!
//! CPU time is read from each thread's `schedstat`, in nanoseconds: it is what `utime + stime` in `stat` is made of,
//! before it is cut down to clock ticks of 10 ms. A kernel without schedstat gives the ticks; so does a process of which
//! threads have ended, for only its own `stat` still has their time.
//!
//! Invariant: no child outlives its value here, failures included.

use super::{PATIENCE, signal, wait_for_exit};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A running child; dropped, it is killed and waited for.
#[derive(Debug)]
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
    /// how much work one wake-up finds. Not known once threads have ended.
    pub waits: Option<u64>,
    /// Resident memory.
    pub bytes: u64,
    /// The most resident memory that it ever had.
    pub bytes_peak: u64,
}

/// A program, to be started with what these words make the shell's `ulimit` do. The shell is replaced by the program,
/// so the child's id is the program's.
pub fn limited(limit: &str, program: &Path) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &format!("ulimit {limit}; exec \"$0\" \"$@\"")]).arg(program);
    shell
}

impl Process {
    /// Starts it with nothing as its input, and its output in a file; `name` is for messages.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Result<Process, String> {
        let failed = |error: io::Error| format!("{name}: {error}");
        let output = File::create(log).map_err(failed)?;
        let errors = output.try_clone().map_err(failed)?;
        let child = command.stdin(Stdio::null()).stdout(output).stderr(errors).spawn().map_err(failed)?;
        Ok(Process { name: name.to_owned(), child, log: log.to_owned(), is_parent: false })
    }

    /// It has children, and ends them when it is told to end: it is told, and not killed.
    pub fn end_gently(&mut self) {
        self.is_parent = true;
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Calls `attempt` until it succeeds; an error when the process ends before, or at the deadline.
    pub fn await_ready<T>(&mut self, mut attempt: impl FnMut() -> Result<T, String>) -> Result<T, String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(code) = self.exit_code()? {
                return Err(format!("ended at once (code {code}){}", self.last_words()));
            }
            match attempt() {
                Ok(value) => return Ok(value),
                Err(reason) if Instant::now() > deadline => {
                    return Err(format!("not ready after {PATIENCE:?}: {reason}{}", self.last_words()));
                }
                Err(_) => thread::park_timeout(READY_POLL),
            }
        }
    }

    /// The exit code once the process has ended; -1 stands for a signal.
    pub fn exit_code(&mut self) -> Result<Option<i32>, String> {
        let status = self.child.try_wait().map_err(|error| format!("{}: {error}", self.name))?;
        Ok(status.map(|status| status.code().unwrap_or(-1)))
    }

    /// Waits for its end; `None` when it still runs after `patience`.
    pub fn wait_for_end(&mut self, patience: Duration) -> Option<ExitStatus> {
        wait_for_exit(&mut self.child, patience)
    }

    /// Ends it as a crash does, and waits until it is gone.
    pub fn kill(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// What it has printed so far; nothing where that went into a pipe.
    pub fn output(&self) -> String {
        let is_file = fs::metadata(&self.log).is_ok_and(|log| log.is_file());
        let output = if is_file { fs::read(&self.log).unwrap_or_default() } else { Vec::new() };
        String::from_utf8_lossy(&output).into_owned()
    }

    /// What it has used so far.
    pub fn usage(&self) -> Result<Usage, String> {
        self.read_usage().map_err(|error| format!("{}: reading /proc: {error}{}", self.name, self.last_words()))
    }

    fn read_usage(&self) -> io::Result<Usage> {
        let root = PathBuf::from(format!("/proc/{}", self.child.id()));
        // Before the threads, so that it is more than theirs only if others have ended.
        let whole = cpu_ticks(&root)?;
        let mut cpu = Duration::ZERO;
        let mut waits = 0;
        for entry in fs::read_dir(root.join("task"))? {
            let thread = entry?.path();
            let read = || Ok((thread_cpu(&thread)?, fs::read_to_string(thread.join("status"))?));
            match read() {
                Ok((own, status)) => {
                    cpu += own;
                    waits += status_number(&status, "voluntary_ctxt_switches:");
                }
                // It has just ended.
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error),
            }
        }
        // What a thread that runs has used in its present slice is not in its schedstat yet.
        let has_lost_threads = whole > cpu + Duration::from_millis(TICK_MS);
        let (cpu, waits) = if has_lost_threads { (whole, None) } else { (cpu, Some(waits)) };
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
        if self.is_parent && matches!(self.exit_code(), Ok(None)) {
            signal(self.id(), "TERM");
            self.wait_for_end(END_PATIENCE);
        }
        self.kill();
    }
}

fn thread_cpu(thread: &Path) -> io::Result<Duration> {
    if let Ok(schedstat) = fs::read_to_string(thread.join("schedstat")) {
        if let Some(nanoseconds) = schedstat.split_whitespace().next().and_then(|word| word.parse().ok()) {
            return Ok(Duration::from_nanos(nanoseconds));
        }
    }
    cpu_ticks(thread)
}

/// The CPU time of a process, or of a thread, in whole ticks; that of its threads that have ended is in a process's.
fn cpu_ticks(folder: &Path) -> io::Result<Duration> {
    let stat = fs::read_to_string(folder.join("stat"))?;
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

/// True for what the kernel says of a thread that has ended: of its folder, and of a file that was open already.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(NO_SUCH_PROCESS)
}

fn status_number(status: &str, field: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|word| word.parse().ok())
        .unwrap_or(0)
}

const READY_POLL: Duration = Duration::from_millis(1);
/// For one that is told to end, and has to end its children.
const END_PATIENCE: Duration = Duration::from_secs(2);
/// `ESRCH`.
const NO_SUCH_PROCESS: i32 = 3;
/// Linux shows user space 100 ticks per second everywhere.
const TICK_MS: u64 = 10;
