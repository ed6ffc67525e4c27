//! A listening socket that this process was started with, and which pool it is for.
//!
//! ```text
//!   the manager listens ──┐
//!                         ├─► standard input ──► the pool that listens there    what the manager made, it keeps; what
//!   root's rmux listens ──┘                                                     rmux made, rmux removes at the end
//! ```
//!
//! systemd's other way, descriptors 3 and up announced by `LISTEN_FDS`, cannot be taken up by a program that does
//! without
//! `unsafe` (see `net`); it is recognised, and refused with the line that the unit needs.

use std::env;
use std::io;

use super::privileges;
use crate::config::PoolConfig;
use crate::net::{self, Listener, ResolvedAddress, SocketFile};

/// A listening socket that somebody else has opened.
#[derive(Debug)]
pub struct Activation {
    listener: Listener,
}

impl Activation {
    /// The one that this process has as its standard input, if it has one.
    ///
    /// # Errors
    ///
    /// When it is of a kind that rmux does not serve, and when sockets were passed in another way.
    pub fn of_process() -> io::Result<Option<Activation>> {
        match net::inherited()? {
            Some(listener) => Ok(Some(Activation { listener })),
            None => {
                match sockets_passed(env::var("LISTEN_PID").ok(), env::var("LISTEN_FDS").ok(), std::process::id()) {
                    0 => Ok(None),
                    count => Err(io::Error::new(
                        io::ErrorKind::Unsupported,
                        format!(
                            "the service manager has passed {count} socket{} from descriptor 3 on (LISTEN_FDS): rmux takes \
                             one, as standard input; the unit needs StandardInput=socket and StandardOutput=journal",
                            if count == 1 { "" } else { "s" }
                        ),
                    )),
                }
            }
        }
    }

    /// Whether it is the socket of this pool.
    pub fn is_for(&self, pool: &PoolConfig) -> bool {
        self.listener.is_at(&pool.listen)
    }

    /// The listener; with its file, if that is to be removed at the end.
    pub fn into_listener(self) -> (Listener, Option<SocketFile>) {
        let file = match self.listener.local_address() {
            Ok(ResolvedAddress::Unix(path)) if privileges::has_listened() => SocketFile::adopt(&path),
            _ => None,
        };
        (self.listener, file)
    }

    /// What to say when no pool listens there.
    pub fn unwanted(&self) -> io::Error {
        let place = self.listener.local_address().map_or_else(|error| error.to_string(), |address| address.to_string());
        io::Error::other(format!(
            "standard input is a socket that listens on {place}, and no pool of the configuration does"
        ))
    }
}

/// How many sockets are announced to this process: to another one, such as a shell that started it, they may be.
fn sockets_passed(to: Option<String>, count: Option<String>, own: u32) -> u32 {
    let is_ours = to.is_some_and(|to| to.parse() == Ok(own));
    count.filter(|_| is_ours).and_then(|count| count.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_passed_to_one_process() {
        let passed = |to: &str, count: &str| sockets_passed(Some(to.to_owned()), Some(count.to_owned()), 7);
        assert_eq!(passed("7", "2"), 2);
        assert_eq!(passed("8", "2"), 0);
        assert_eq!(passed("7", "0"), 0);
        assert_eq!(passed("7", "two"), 0);
        assert_eq!(sockets_passed(None, Some("1".to_owned()), 7), 0);
        assert_eq!(sockets_passed(Some("7".to_owned()), None, 7), 0);
    }
}
