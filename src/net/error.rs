//! Why an address cannot be listened on.

use std::fmt;
use std::io;

use super::address::{Address, PATH_BYTES_MAX};

/// Why an address cannot be listened on. Its text names the address.
#[derive(Debug)]
pub struct ListenError {
    pub(super) address: Address,
    pub(super) fault: Fault,
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on {}: ", self.address)?;
        match &self.fault {
            Fault::Lookup(error) => write!(f, "the host name cannot be looked up: {error}"),
            Fault::NoAddress => write!(f, "the host name has no address"),
            Fault::PathLength(length) => {
                write!(f, "the path has {length} bytes, and that of a socket has 1 to {PATH_BYTES_MAX}")
            }
            Fault::NotASocket => write!(f, "there is a file that is not a socket (it was left as it is)"),
            Fault::Served => write!(f, "somebody serves this socket already"),
            Fault::System { doing, error } => write!(f, "{doing}: {error}"),
        }
    }
}

impl std::error::Error for ListenError {}

/// What is wrong, wherever it is.
#[derive(Debug)]
pub(super) enum Fault {
    Lookup(io::Error),
    NoAddress,
    PathLength(usize),
    NotASocket,
    Served,
    System { doing: &'static str, error: io::Error },
}

/// Says what was being done when the system refused.
pub(super) fn while_doing(doing: &'static str) -> impl Fn(io::Error) -> Fault {
    move |error| Fault::System { doing, error }
}
