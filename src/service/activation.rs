//! A listening socket that this process was started with, and which pool it is for.
//!
//! ```text
//!   the manager listens ──┐
//!                         ├─► standard input ──► the pool that listens there    what the manager made, it keeps; what
//!   root's rmux listens ──┘                                ▲                    rmux made, rmux removes at the end
//!   the process that this one takes over from ─────────────┘
//! ```
//!
//! systemd's usual way is another: descriptors from 3 on, announced by `LISTEN_FDS`. Such a number is beyond a program
//! that does without `unsafe` (see `net`), but not beyond a shell: one socket that came so is moved by starting this
//! program anew through `exec rmux … <&3`, with the same process id. Where there is no shell, the unit must say it.

use std::env;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{self, Command};

use super::successor::{self, own_command_line};
use crate::config::{self, PoolConfig};
use crate::net::{self, Listener, ResolvedAddress, SocketFile};

/// A listening socket that somebody else has opened.
#[derive(Debug)]
pub struct Activation {
    listener: Listener,
    /// Where it listens, as the configuration had it of the process that passed it on.
    place: Option<String>,
    /// Whether rmux has made it.
    is_own: bool,
}

impl Activation {
    /// The one that this process has as its standard input, if it has one.
    ///
    /// It does not return if there is one as descriptor 3: then this program is started anew, with that as its standard
    /// input.
    ///
    /// # Errors
    ///
    /// When it is of a kind that rmux does not serve, or there are several, or it cannot be moved.
    pub fn of_process() -> io::Result<Option<Activation>> {
        let refuse = |reason: &str| Err(io::Error::new(io::ErrorKind::Unsupported, format!("LISTEN_FDS: {reason}")));
        if let Some(listener) = net::inherited()? {
            return Ok(Some(Activation { listener, place: None, is_own: successor::has_listened() }));
        }
        match sockets_passed(env::var("LISTEN_PID").ok(), env::var("LISTEN_FDS").ok(), process::id()) {
            Passed::None => Ok(None),
            Passed::Moved => refuse("the service manager has passed something that does not listen for streams"),
            Passed::Some(1) => {
                let error = move_to_standard_input();
                refuse(&format!(
                    "{error}; with StandardInput=socket and StandardOutput=journal in the unit, no shell is needed"
                ))
            }
            Passed::Some(count) => {
                refuse(&format!("the service manager has passed {count} sockets, and rmux takes one"))
            }
        }
    }

    /// One that was passed on by the process that this one takes over from.
    pub(super) fn passed(listener: Listener, place: String, is_own: bool) -> Activation {
        Activation { listener, place: Some(place), is_own }
    }

    /// Whether it is the socket of this pool. One of several is known by its place, since a port alone may be that of
    /// two of them.
    pub fn is_for(&self, pool: &PoolConfig) -> bool {
        match &self.place {
            Some(place) => *place == config::identity(&pool.listen).to_string(),
            None => self.listener.is_at(&pool.listen),
        }
    }

    /// Whether another process has passed it on as one that listens at this place.
    pub fn is_passed_at(&self, place: &str) -> bool {
        self.place.as_deref() == Some(place)
    }

    /// Whether rmux has made it, and it ends with rmux.
    pub fn is_own(&self) -> bool {
        self.is_own
    }

    /// The listener. If rmux has made it, its file is to be removed at the end.
    pub fn into_listener(self) -> Listener {
        self.listener
    }

    /// Nobody wants it any more: it is closed, and its file, if rmux has made that, removed.
    pub fn close(self) {
        match self.listener.local_address() {
            Ok(ResolvedAddress::Unix(path)) if self.is_own => drop(SocketFile::adopt(&path)),
            _ => {}
        }
    }

    /// What to say when no pool listens there.
    pub fn unwanted(&self) -> io::Error {
        let place = self.listener.local_address().map_or_else(|error| error.to_string(), |address| address.to_string());
        io::Error::other(format!(
            "standard input is a socket that listens on {place}, and no pool of the configuration does"
        ))
    }
}

/// Starts this program anew with descriptor 3 as its standard input; returns only if that fails, and why.
fn move_to_standard_input() -> io::Error {
    let (program, arguments) = own_command_line();
    let script = format!("LISTEN_FDS={MOVED}; export LISTEN_FDS; exec \"$0\" \"$@\" <&3");
    let error = Command::new("/bin/sh").arg("-c").arg(script).arg(program).args(arguments).exec();
    io::Error::new(error.kind(), format!("/bin/sh, which moves a socket to standard input: {error}"))
}

/// What the environment says of sockets.
#[derive(Debug, PartialEq, Eq)]
enum Passed {
    /// Nothing, or nothing that concerns this process: another one, such as a shell that started it, it may.
    None,
    /// So many, from descriptor 3 on.
    Some(u32),
    /// One, which is standard input by now.
    Moved,
}

fn sockets_passed(to: Option<String>, count: Option<String>, own: u32) -> Passed {
    let is_ours = to.is_some_and(|to| to.parse() == Ok(own));
    match count.filter(|_| is_ours) {
        Some(count) if count == MOVED => Passed::Moved,
        count => {
            count.and_then(|count| count.parse().ok()).filter(|&count| count > 0).map_or(Passed::None, Passed::Some)
        }
    }
}

/// The value of `LISTEN_FDS` once the socket is standard input.
const MOVED: &str = "moved";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_passed_to_one_process() {
        let passed = |to: &str, count: &str| sockets_passed(Some(to.to_owned()), Some(count.to_owned()), 7);
        assert_eq!(passed("7", "2"), Passed::Some(2));
        assert_eq!(passed("7", "moved"), Passed::Moved);
        for (to, count) in [("8", "2"), ("7", "0"), ("7", "two"), ("8", "moved"), ("", "1")] {
            assert_eq!(passed(to, count), Passed::None, "{to:?} {count:?}");
        }
        assert_eq!(sockets_passed(None, Some("1".to_owned()), 7), Passed::None);
        assert_eq!(sockets_passed(Some("7".to_owned()), None, 7), Passed::None);
    }
}
