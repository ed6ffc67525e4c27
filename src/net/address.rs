//! Addresses as the configuration has them, and as a socket takes them.
//!
//! Between the two lies the name lookup, which may take long and is not done here (see `resolve`). Nor is the user's
//! spelling read here: that is the configuration's business.

use std::fmt;
use std::net::SocketAddr;
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

/// Where a socket can connect to at once: what is left of an [`Address`] when its name has been looked up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ResolvedAddress {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// The path of a Unix stream socket.
    Unix(PathBuf),
}

impl fmt::Display for ResolvedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResolvedAddress::Tcp(address) => address.fmt(f),
            ResolvedAddress::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// The longest path of a Unix socket: what fits into `sun_path` with its closing zero.
pub(super) const PATH_BYTES_MAX: usize = 107;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_as_it_is_written_in_the_configuration() {
        let tcp = |host: &str, port| Address::Tcp { host: host.to_owned(), port }.to_string();
        assert_eq!(tcp("redis1", 6379), "redis1:6379");
        assert_eq!(tcp("::1", 65535), "[::1]:65535");
        assert_eq!(tcp("fe80::1%eth0", 1), "[fe80::1%eth0]:1");
        assert_eq!(Address::Unix("/run/redis.sock".into()).to_string(), "/run/redis.sock");
    }
}
