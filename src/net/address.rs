//! Addresses as a user writes them, and as a socket takes them.
//!
//! Between the two lies the name lookup, which may take long and is not done here (see `resolve`).

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
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

impl Address {
    /// Reads `host:port` or `[IPv6 address]:port`. An empty host is `localhost`, as for the original (Go's `net.Dial`).
    ///
    /// # Errors
    ///
    /// When there is no port, or none from 1 to 65535; for an IPv6 address without brackets, and for brackets around
    /// anything else. The error's text names the value and says what is expected.
    pub fn parse_tcp(text: &str) -> Result<Address, AddressError> {
        let refused = |fault| AddressError { text: text.to_owned(), fault };
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or(refused(Fault::Brackets))?;
                if !is_ipv6(host) {
                    return Err(refused(Fault::Brackets));
                }
                (host, rest.strip_prefix(':').ok_or(refused(Fault::NoPort))?)
            }
            None => text.split_once(':').ok_or(refused(Fault::NoPort))?,
        };
        if port.contains(':') {
            return Err(refused(Fault::Brackets));
        }
        // The number parser alone would take "+1".
        let digits_only = port.bytes().all(|byte| byte.is_ascii_digit());
        match port.parse() {
            Ok(port) if port > 0 && digits_only => {
                let host = if host.is_empty() { "localhost" } else { host };
                Ok(Address::Tcp { host: host.to_owned(), port })
            }
            _ => Err(refused(Fault::Port)),
        }
    }
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

/// Why a text is no TCP address. Its text names the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressError {
    text: String,
    fault: Fault,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    NoPort,
    Port,
    Brackets,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = &self.text;
        match self.fault {
            Fault::NoPort => write!(f, "\"{text}\" has no port (expected host:port, such as redis1:6379)"),
            Fault::Port => write!(f, "\"{text}\" has a port that is not a number from 1 to 65535"),
            Fault::Brackets => {
                write!(f, "\"{text}\" is not host:port (an IPv6 address goes in brackets, such as [::1]:6379)")
            }
        }
    }
}

impl std::error::Error for AddressError {}

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

/// An IPv6 address may name its interface: `fe80::1%eth0`.
fn is_ipv6(text: &str) -> bool {
    text.split('%').next().is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Result<Address, String> {
        Ok(Address::Tcp { host: host.to_owned(), port })
    }

    #[test]
    fn tcp_addresses_are_read_and_shown_alike() {
        for (text, host, port) in [
            ("redis1:6379", "redis1", 6379),
            ("127.0.0.1:1", "127.0.0.1", 1),
            ("[::1]:65535", "::1", 65535),
            ("[fe80::1%eth0]:6379", "fe80::1%eth0", 6379),
        ] {
            let address = Address::parse_tcp(text).map_err(|error| error.to_string());
            assert_eq!(address, tcp(host, port), "{text}");
            assert_eq!(address.map(|address| address.to_string()).as_deref(), Ok(text));
        }
        assert_eq!(Address::parse_tcp(":6380").map_err(|error| error.to_string()), tcp("localhost", 6380));
        assert_eq!(Address::Unix("/run/redis.sock".into()).to_string(), "/run/redis.sock");
    }

    #[test]
    fn a_text_that_is_no_address_is_named_with_what_is_wrong() {
        for (text, complaint) in [
            ("", "has no port"),
            ("redis1", "has no port"),
            ("[::1]", "has no port"),
            ("[::1]6379", "has no port"),
            ("redis1:", "has a port that is not a number from 1 to 65535"),
            ("redis1:0", "has a port that is not"),
            ("redis1:65536", "has a port that is not"),
            ("redis1:+1", "has a port that is not"),
            ("redis1:redis", "has a port that is not"),
            ("::1:6379", "goes in brackets"),
            ("[::1:6379", "goes in brackets"),
            ("[redis1]:6379", "goes in brackets"),
            ("redis1:6379:6380", "goes in brackets"),
        ] {
            let error = Address::parse_tcp(text).expect_err(text).to_string();
            assert!(error.starts_with(&format!("\"{text}\" ")) && error.contains(complaint), "{error}");
        }
    }
}
