//! Makes sockets: listen, connect, TCP and Unix as one `Stream`.
//!
//! (skeleton)

use std::fmt;
use std::path::PathBuf;

/// Where to listen, or where a server is: a host and a port, or the path of a Unix socket.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// A host (a name, an IPv4 address, or an IPv6 address without brackets) and a TCP port.
    Tcp {
        /// Host name or IP address, without brackets.
        host: String,
        /// TCP port, 1 to 65535.
        port: u16,
    },
    /// The path of a Unix stream socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp { host, port } => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}
