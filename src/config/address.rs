//! Addresses as the user writes them: `host:port`, `[::1]:6379`, the path of a socket.
//!
//! Knows the spelling; looks nothing up, opens nothing. A host name is only checked for what no name can hold. Whether
//! two spellings are one place is answered as far as text can tell (case, `./`); `localhost` and `127.0.0.1` differ
//! here. Every reason reads on after the value: `"redis1" has no port: …`.

use std::net::Ipv6Addr;
use std::path::{self, PathBuf};

use crate::net::Address;

/// One element of `tcpConnections`: `host:port` or `[IPv6 address]:port`.
///
/// # Errors
///
/// The reason, to be read after the text itself.
pub(crate) fn tcp_server(text: &str) -> Result<Address, &'static str> {
    if text.contains(char::is_whitespace) {
        return Err("holds white space: each server is an element of its own");
    }
    if text.contains("://") {
        return Err("holds a scheme: write host:port alone");
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, tail) = rest.split_once(']').ok_or("has no closing bracket: write [address]:port")?;
            (host, tail.strip_prefix(':').ok_or("has no port: write [address]:port")?)
        }
        None => {
            let (host, port) = text.rsplit_once(':').ok_or("has no port: write host:port")?;
            if host.contains(':') {
                return Err("is not host:port: an IPv6 address stands in brackets, [address]:port");
            }
            (host, port)
        }
    };
    if text.starts_with('[') != host.contains(':') {
        return Err("has something else than an IPv6 address in brackets");
    }
    let host = known_host(host)?;
    match port.parse::<u16>() {
        // A leading + would parse too.
        Ok(number) if number > 0 && !port.starts_with('+') => Ok(Address::Tcp { host, port: number }),
        _ => Err("has a bad port: allowed is 1 to 65535"),
    }
}

/// The value of `host`: a name, an IPv4 address, or an IPv6 address with or without brackets.
///
/// # Errors
///
/// The reason, to be read after the text itself.
pub(crate) fn listen_host(text: &str) -> Result<String, &'static str> {
    if text.is_empty() {
        return Err("is empty: to listen on every address, write 0.0.0.0 or ::");
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    known_host(bare.unwrap_or(text))
}

/// The path of a Unix socket, to listen on or to connect to.
///
/// # Errors
///
/// The reason, to be read after the text itself.
pub(crate) fn socket_path(text: &str) -> Result<PathBuf, &'static str> {
    match text {
        "" => Err("is empty: write the path of a socket"),
        _ if text.contains('\0') => Err("holds a zero byte: no path can"),
        _ if text.len() > SOCKET_PATH_BYTES_MAX => Err("is too long: a socket's path has at most 107 bytes"),
        _ => Ok(PathBuf::from(text)),
    }
}

/// The address in one spelling, to be compared with another.
pub(crate) fn identity(address: &Address) -> Address {
    match address {
        Address::Tcp { host, port } => Address::Tcp { host: host.to_ascii_lowercase(), port: *port },
        Address::Unix(path) => Address::Unix(path::absolute(path).unwrap_or_else(|_| path.clone())),
    }
}

fn known_host(host: &str) -> Result<String, &'static str> {
    if host.is_empty() {
        return Err("has no host: write host:port");
    }
    if host.contains(':') {
        let address = host.split_once('%').map_or(host, |(address, _zone)| address);
        return match address.parse::<Ipv6Addr>() {
            Ok(_) => Ok(host.to_owned()),
            Err(_) => Err("is not an IPv6 address, a name or an IPv4 address"),
        };
    }
    let is_letter = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    if host.len() > HOST_BYTES_MAX || host.starts_with('-') || !host.chars().all(is_letter) {
        return Err("has a bad host: write a name or an IP address");
    }
    Ok(host.to_owned())
}

/// `sun_path` of Linux holds 108 bytes, the last of them zero.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// The longest name that DNS can hold.
const HOST_BYTES_MAX: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_are_understood() {
        for (text, host, port) in [
            ("localhost:6379", "localhost", 6379),
            ("127.0.0.1:1", "127.0.0.1", 1),
            ("redis_1.cache-a.example:65535", "redis_1.cache-a.example", 65535),
            ("[::1]:6379", "::1", 6379),
            ("[fe80::1%eth0]:6379", "fe80::1%eth0", 6379),
            ("[::ffff:10.0.0.1]:6379", "::ffff:10.0.0.1", 6379),
        ] {
            let expected = Address::Tcp { host: host.to_owned(), port };
            assert_eq!(tcp_server(text), Ok(expected.clone()), "{text}");
            assert_eq!(expected.to_string(), text, "it is shown as it was written");
        }
    }

    #[test]
    fn servers_that_are_not() {
        for (text, reason) in [
            ("", "has no port"),
            ("redis1", "has no port"),
            ("redis1:", "bad port"),
            ("redis1:0", "bad port"),
            ("redis1:65536", "bad port"),
            ("redis1:+80", "bad port"),
            ("redis1:6379x", "bad port"),
            (":6379", "has no host"),
            ("::1:6379", "stands in brackets"),
            ("[::1]", "has no port"),
            ("[::1]6379", "has no port"),
            ("[::1:6379", "no closing bracket"),
            ("[localhost]:6379", "something else than an IPv6"),
            ("[::zz]:6379", "not an IPv6 address"),
            ("a:1 b:2", "white space"),
            ("redis://a:1", "scheme"),
            ("/run/redis.sock:1", "bad host"),
            ("-x:1", "bad host"),
        ] {
            let found = tcp_server(text).expect_err(text);
            assert!(found.contains(reason), "{text:?}: {found}");
        }
        assert!(tcp_server(&format!("{}:1", "h".repeat(254))).is_err());
    }

    #[test]
    fn hosts_to_listen_on() {
        for (text, host) in [("localhost", "localhost"), ("0.0.0.0", "0.0.0.0"), ("::", "::"), ("[::1]", "::1")] {
            assert_eq!(listen_host(text).as_deref(), Ok(host));
        }
        for text in ["", "*", "a b", "localhost:6379", "http://a"] {
            assert!(listen_host(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn paths_are_bounded_by_what_a_socket_can_hold() {
        assert!(socket_path(&"p".repeat(107)).is_ok());
        assert!(socket_path(&"p".repeat(108)).is_err());
        assert!(socket_path("").is_err());
        assert!(socket_path("a\0b").is_err());
    }

    #[test]
    fn one_place_in_two_spellings_is_one_place() {
        let unix = |path: &str| identity(&Address::Unix(path.into()));
        assert_eq!(unix("./rmux.sock"), unix("rmux.sock"));
        assert_eq!(unix("/tmp//rmux.sock"), unix("/tmp/./rmux.sock"));
        assert_ne!(unix("/tmp/a.sock"), unix("/tmp/b.sock"));
        let tcp = |host: &str| identity(&Address::Tcp { host: host.to_owned(), port: 1 });
        assert_eq!(tcp("LocalHost"), tcp("localhost"));
    }
}
