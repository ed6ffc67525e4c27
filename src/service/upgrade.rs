//! The program as it is on disk now takes over from the one that runs, and nobody is refused meanwhile.
//!
//! ```text
//!   the old process                              the new one, its child
//!   ───────────────                              ─────────────────────
//!   starts it ─── listening sockets ───────────► reads its configuration, takes the sockets, starts its reactors,
//!                                                looks up names; accepts nobody yet
//!             ◄── R: ready ─────────────────────
//!   tells the manager who the main process is
//!             ─── O: open ──────────────────────► writes its pid file, accepts
//!             ◄── D: done ──────────────────────
//!   accepts no more, and lets its clients go     tells the manager that it is ready
//! ```
//!
//! They talk over a line that nobody else can reach (`net::Handover`), and that is the new one's standard input. As
//! long as it is not done, nothing of the old one is given up: if the new one ends, says nothing in time, or says
//! anything else, it is killed, and the old one goes on. If the old one ends, or gives it up, the new one ends.
//!
//! [`Upgrade`] is the old one's side, [`Takeover`] the new one's. Knows no pools.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{self, Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Manager;
use super::activation::Activation;
use super::successor::own_command_line;
use crate::net::Handover;

/// How long a new process may take until it is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long each side waits for the other one's next word then.
const WORD_TIMEOUT: Duration = Duration::from_secs(5);

/// The first byte of a message: a listening socket whose file, if it has one, is to be removed at the end, or is not.
/// The place follows, in the one spelling that it has for all who compare it (`config::identity`).
const OWN: u8 = b'L';
const GIVEN: u8 = b'G';
/// Those were all; and the manager wants to be shown life by this service.
const ALL: &[u8] = b".";
const ALL_AND_WATCHED: &[u8] = b".W";
const READY: &[u8] = b"R";
const OPEN: &[u8] = b"O";
const DONE: &[u8] = b"D";

/// A listening socket that goes over.
#[derive(Debug)]
pub struct Passed {
    /// One more descriptor of it.
    pub socket: OwnedFd,
    /// Where it listens, in one spelling.
    pub place: String,
    /// Whether its file, if it has one, is to be removed when nobody is to come in any more.
    pub is_own: bool,
}

/// An upgrade that is under way: the new process, and how far it has come.
#[derive(Debug)]
pub struct Upgrade {
    line: Handover,
    child: Child,
    program: PathBuf,
    /// What it is to say next, and until when.
    awaited: &'static [u8],
    deadline: Instant,
}

impl Upgrade {
    /// Starts the program anew, as it is on disk, with the arguments of this process, and passes these sockets on.
    ///
    /// # Errors
    ///
    /// When the program cannot be started, or no file descriptor is free.
    pub fn start(passed: &[Passed], manager: &Manager) -> io::Result<Upgrade> {
        Upgrade::of_command(program_anew(), passed, manager)
    }

    fn of_command(mut command: Command, passed: &[Passed], manager: &Manager) -> io::Result<Upgrade> {
        let (line, other) = Handover::pair(WORD_TIMEOUT)?;
        let program = PathBuf::from(command.get_program());
        let child = command
            .stdin(Stdio::from(other))
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("cannot start {}: {error}", program.display())))?;
        // It has the other end: when it closes that, nobody has it. One that has closed it already is found out later.
        drop(command);
        let _ = pass(&line, passed, manager);
        Ok(Upgrade { line, child, program, awaited: READY, deadline: Instant::now() + READY_TIMEOUT })
    }

    /// What has come of it, if it is over: the process that has taken over, or why none has. To be asked again and
    /// again; nothing rings when the other process says something.
    pub fn poll(&mut self, manager: &Manager) -> Option<Result<u32, String>> {
        let problem = match self.line.receive(None) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if Instant::now() < self.deadline {
                    return None;
                }
                return Some(Err(format!("{} was not ready in time, and was killed", self.end(manager).0)));
            }
            Ok((bytes, _)) if bytes == self.awaited => {
                if self.awaited == DONE {
                    return Some(Ok(self.child.id()));
                }
                manager.tell_main_process(self.child.id());
                (self.awaited, self.deadline) = (DONE, Instant::now() + WORD_TIMEOUT);
                // If that fails, the next look finds out why.
                let _ = self.line.send(OPEN, None);
                return None;
            }
            Ok((bytes, _)) if !bytes.is_empty() => "says something that this one does not understand",
            _ => "has ended before it was ready",
        };
        let (program, status) = self.end(manager);
        Some(Err(format!("{program} {problem}: {status}")))
    }

    /// Ends the other process, and tells how it ended: that of one that has ended by itself is not changed by this.
    pub fn end(&mut self, manager: &Manager) -> (std::path::Display<'_>, String) {
        if self.awaited == DONE {
            // It was told otherwise.
            manager.tell_main_process(process::id());
        }
        let _ = self.child.kill();
        let status = self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        (self.program.display(), status)
    }

    /// The other process, which has taken over.
    pub fn into_child(self) -> Child {
        self.child
    }
}

/// How this program is started anew, as it is on disk, with the arguments of this process.
fn program_anew() -> Command {
    let name = env::args_os().next().unwrap_or_default();
    let (running, arguments) = own_command_line();
    let path = running.as_os_str().as_bytes();
    let program = match name.as_bytes().contains(&b'/') {
        // As it was started: where that leads through a link, it may lead elsewhere now.
        true => &name,
        false => OsStr::from_bytes(path.strip_suffix(REPLACED).unwrap_or(path)),
    };
    let mut command = Command::new(program);
    command.arg0(&name).args(arguments);
    command
}

fn pass(line: &Handover, passed: &[Passed], manager: &Manager) -> io::Result<()> {
    for Passed { socket, place, is_own } in passed {
        let mut message = vec![if *is_own { OWN } else { GIVEN }];
        message.extend_from_slice(place.as_bytes());
        line.send(&message, Some(socket))?;
    }
    line.send(if manager.watchdog().is_some() { ALL_AND_WATCHED } else { ALL }, None)
}

/// What the kernel appends to the path of a program whose file was replaced.
const REPLACED: &[u8] = b" (deleted)";

/// Taking over from the process that has started this one.
#[derive(Debug)]
pub struct Takeover {
    line: Handover,
    is_watched: bool,
}

impl Takeover {
    /// The one that this process was started for, with the sockets that were passed on; `None` if it was not.
    ///
    /// # Errors
    ///
    /// When the other process is gone.
    pub fn of_process() -> io::Result<Option<(Takeover, Vec<Activation>)>> {
        let Some(line) = Handover::of_stdin()? else { return Ok(None) };
        let mut passed = Vec::new();
        loop {
            let (bytes, listener) = line.receive(Some(WORD_TIMEOUT))?;
            match (bytes.split_first(), listener) {
                (None, _) => return Err(given_up()),
                (Some((kind, place)), Some(listener)) => {
                    passed.push(Activation::passed(
                        listener,
                        String::from_utf8_lossy(place).into_owned(),
                        *kind == OWN,
                    ));
                }
                _ if bytes.starts_with(ALL) => {
                    let is_watched = bytes == ALL_AND_WATCHED;
                    return Ok(Some((Takeover { line, is_watched }, passed)));
                }
                // Of a later version, perhaps.
                _ => {}
            }
        }
    }

    /// Whether the manager wants to be shown life by the process that this one takes over from.
    pub fn is_watched(&self) -> bool {
        self.is_watched
    }

    /// This process is ready, and accepts nobody yet. Returns when it is to.
    ///
    /// # Errors
    ///
    /// When the other process goes on without this one.
    pub fn await_turn(&self) -> io::Result<()> {
        self.line.send(READY, None).map_err(|_| given_up())?;
        match self.line.receive(Some(WORD_TIMEOUT)) {
            Ok((bytes, _)) if bytes == OPEN => Ok(()),
            _ => Err(given_up()),
        }
    }

    /// This process serves; the other one accepts no more from now on.
    pub fn tell_done(self) {
        // If it is gone by now, it needs no telling.
        let _ = self.line.send(DONE, None);
    }
}

fn given_up() -> io::Error {
    io::Error::new(
        io::ErrorKind::ConnectionAborted,
        "the process that this one was to take over from goes on, or is gone",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_ready_in_time_is_killed() {
        let manager = Manager::new(None, None);
        // It says nothing for as long as it has a standard input.
        let mut upgrade = Upgrade::of_command(Command::new("cat"), &[], &manager).expect("it is started");
        upgrade.deadline = Instant::now() + Duration::from_millis(50);
        let reason = loop {
            match upgrade.poll(&manager) {
                None => std::thread::yield_now(),
                Some(outcome) => break outcome.expect_err("it says nothing of use"),
            }
        };
        assert_eq!(reason, "cat was not ready in time, and was killed");
        assert_eq!(upgrade.end(&manager).1, "signal: 9 (SIGKILL)");
    }
    #[test]
    fn who_finds_the_other_process_gone_says_so() {
        let (line, other) = Handover::pair(WORD_TIMEOUT).expect("descriptors are free");
        drop(other);
        let error = Takeover { line, is_watched: false }.await_turn().expect_err("nobody is there");
        assert_eq!(error.to_string(), given_up().to_string());
    }
}
