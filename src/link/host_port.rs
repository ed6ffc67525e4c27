//! The address of a server or sentinel: host and port.

use std::fmt;

/// A name or an IP address, without brackets, and a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// A name or an IP address.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
}

impl HostPort {
    /// Parses what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<HostPort> {
        let (host, port) = text.rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        HostPort::of(host.as_bytes(), port.parse().ok()?)
    }

    /// The address that a peer has named; `None` if it can be neither connected to nor resolved.
    pub fn of(host: &[u8], port: i64) -> Option<HostPort> {
        let host = std::str::from_utf8(host).ok()?;
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:%".contains(&byte);
        let is_host = (1..=HOST_BYTES_MAX).contains(&host.len()) && host.bytes().all(is_letter);
        let port = u16::try_from(port).ok().filter(|&port| port > 0)?;
        is_host.then(|| HostPort { host: host.to_owned(), port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HostPort { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// The longest name that DNS can hold.
const HOST_BYTES_MAX: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for (host, port, text) in
            [("redis1", 1, "redis1:1"), ("::1", 65_535, "[::1]:65535"), ("10.0.0.1", 7, "10.0.0.1:7")]
        {
            let place = HostPort::of(host.as_bytes(), port).expect("good");
            assert_eq!((place.to_string(), HostPort::parse(text)), (text.to_owned(), Some(place)));
        }
        for text in ["", "redis1", "redis1:", "redis1:0", "redis1:65536", ":1", "a b:1", "/run/redis.sock"] {
            assert_eq!(HostPort::parse(text), None, "{text}");
        }
    }
}
