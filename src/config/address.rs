//! Addresses as the user writes them: `host:port`, `[::1]:6379`, the path of a socket.
//!
//! Knows the spelling; looks no name up, opens nothing. A host name is only checked for what no name can hold. Whether
//! two spellings are one place is answered as far as that can be told without DNS (case, `localhost`, all interfaces,
//! links and `..` in a path). Every reason reads on after the value: `"redis1" has no port: …`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{self, Path, PathBuf};

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

/// The value of `admin`: what has a slash is the path of a Unix socket; the rest is `host:port`, or, without a host, a
/// port of 127.0.0.1.
///
/// # Errors
///
/// The reason, to be read after the text itself.
pub(crate) fn admin_place(text: &str) -> Result<Address, &'static str> {
    if text.contains('/') && !text.contains("://") {
        return socket_path(text).map(Address::Unix);
    }
    let port = text.strip_prefix(':').unwrap_or(text);
    if port.bytes().all(|byte| byte.is_ascii_digit()) {
        return tcp_server(&["127.0.0.1:", port].concat());
    }
    if !text.contains(':') {
        return Err("is no place to listen on: write host:port, a port, or a path with a slash in it");
    }
    tcp_server(text)
}

/// Whether what listens there may be reached from other machines.
pub(crate) fn is_open(address: &Address) -> bool {
    match address {
        Address::Tcp { host, .. } => !matches!(Host::of(host), Host::Ip(address) if address.is_loopback()),
        Address::Unix(_) => false,
    }
}

/// The address in one spelling, to be compared with another.
pub(crate) fn identity(address: &Address) -> Address {
    match address {
        Address::Tcp { host, port } => Address::Tcp { host: host.to_ascii_lowercase(), port: *port },
        Address::Unix(path) => Address::Unix(path::absolute(path).unwrap_or_else(|_| path.clone())),
    }
}

/// Whether two spellings mean one place, as far as pools are told apart by where they listen.
pub(crate) fn is_same_place(one: &Address, other: &Address) -> bool {
    identity(one) == identity(other)
}

/// Whether who listens on one of these addresses leaves no room for who listens on the other. All interfaces leave none
/// on any.
pub(crate) fn collide(one: &Address, other: &Address) -> bool {
    match (one, other) {
        (Address::Tcp { host: one, port }, Address::Tcp { host: other, port: other_port }) => {
            let (one, other) = (Host::of(one), Host::of(other));
            port == other_port && (one.covers(&other) || other.covers(&one))
        }
        (Address::Unix(one), Address::Unix(other)) => place(one) == place(other),
        _ => false,
    }
}

/// Whether who connects to this server reaches who listens there. All interfaces are reached at those of this machine
/// that can be told from others by their address.
pub(crate) fn is_reached_at(listen: &Address, server: &Address) -> bool {
    let is_here = match (listen, server) {
        (Address::Tcp { host: listen, .. }, Address::Tcp { host: server, .. }) => {
            let server = Host::of(server);
            Host::of(listen) == server
                || matches!(server, Host::Ip(address) if address.is_loopback() || address.is_unspecified())
        }
        _ => true,
    };
    is_here && collide(listen, server)
}

/// A host, as far as it can be told without looking it up.
#[derive(Debug, PartialEq, Eq)]
enum Host {
    Ip(IpAddr),
    Name(String),
}

impl Host {
    fn of(text: &str) -> Host {
        let text = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        match text.as_str() {
            "" | "*" => Host::Ip(Ipv6Addr::UNSPECIFIED.into()),
            "localhost" => Host::Ip(Ipv4Addr::LOCALHOST.into()),
            text => text.parse().map_or_else(|_| Host::Name(text.to_owned()), |ip: IpAddr| Host::Ip(ip.to_canonical())),
        }
    }

    /// IPv6's "all" is IPv4's as well.
    fn covers(&self, other: &Host) -> bool {
        match (self, other) {
            (Host::Ip(IpAddr::V6(own)), _) if own.is_unspecified() => true,
            (Host::Ip(IpAddr::V4(own)), Host::Ip(IpAddr::V4(_))) if own.is_unspecified() => true,
            _ => self == other,
        }
    }
}

/// Where a path leads: the folder may be reached by several, and the socket need not be there yet.
fn place(path: &Path) -> PathBuf {
    let path = path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let in_folder = || Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?));
    path.canonicalize().ok().or_else(in_folder).unwrap_or(path)
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
    fn places_of_the_admin_endpoint() {
        let tcp = |host: &str, port| Ok(Address::Tcp { host: host.to_owned(), port });
        for (text, expected, is_open_to_others) in [
            ("9121", tcp("127.0.0.1", 9121), false),
            (":9121", tcp("127.0.0.1", 9121), false),
            ("localhost:9121", tcp("localhost", 9121), false),
            ("[::1]:9121", tcp("::1", 9121), false),
            ("127.8.9.1:1", tcp("127.8.9.1", 1), false),
            ("0.0.0.0:9121", tcp("0.0.0.0", 9121), true),
            ("[::]:9121", tcp("::", 9121), true),
            ("192.0.2.1:9121", tcp("192.0.2.1", 9121), true),
            ("cache1:9121", tcp("cache1", 9121), true),
            ("/run/a:b/admin.sock", Ok(Address::Unix("/run/a:b/admin.sock".into())), false),
            ("./9121", Ok(Address::Unix("./9121".into())), false),
        ] {
            assert_eq!(admin_place(text), expected, "{text}");
            assert_eq!(is_open(&expected.expect("good")), is_open_to_others, "{text}");
        }
        for text in ["", ":", "0", ":0", "65536", "admin.sock", "http://a:1", "http://a/metrics", "a b:1", "+80"] {
            admin_place(text).expect_err(text);
        }
        let long = format!("/{}", "p".repeat(107));
        assert!(admin_place(&long).expect_err("too long").contains("too long"));
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

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp { host: host.to_owned(), port }
    }

    #[test]
    fn two_listeners_collide_where_one_would_be_in_the_way_of_the_other() {
        for (one, other, is_collision) in [
            ("127.0.0.1", "localhost", true),
            ("LocalHost.", "127.0.0.1", true),
            ("0.0.0.0", "127.0.0.1", true),
            ("0.0.0.0", "localhost", true),
            ("*", "192.0.2.1", true),
            ("::", "0.0.0.0", true),
            ("::", "redis1", true),
            ("::1", "0:0::1", true),
            ("::ffff:127.0.0.1", "127.0.0.1", true),
            ("redis1", "REDIS1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("127.0.0.1", "::1", false),
            ("0.0.0.0", "::1", false),
            ("redis1", "redis2", false),
            ("redis1", "127.0.0.1", false),
            ("fe80::1%eth0", "fe80::1%eth1", false),
        ] {
            assert_eq!(collide(&tcp(one, 1), &tcp(other, 1)), is_collision, "{one} {other}");
            assert_eq!(collide(&tcp(other, 1), &tcp(one, 1)), is_collision, "{other} {one}");
            assert!(!collide(&tcp(one, 1), &tcp(other, 2)), "another port");
            assert!(!collide(&tcp(one, 1), &Address::Unix(other.into())));
        }
    }

    #[test]
    fn a_server_is_rmux_itself_only_where_it_listens() {
        let reached = |listen, server| is_reached_at(&tcp(listen, 1), &tcp(server, 1));
        assert!(reached("0.0.0.0", "127.0.0.1") && reached("::", "localhost") && reached("127.0.0.1", "localhost"));
        assert!(!reached("0.0.0.0", "192.0.2.1"), "it may be another machine's");
        assert!(!reached("::", "redis1") && reached("redis1", "redis1"));
    }

    #[test]
    fn a_socket_is_one_place_however_its_folder_is_reached() {
        let folder = std::env::temp_dir().join(format!("rmux-address-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("real")).expect("the folder can be written");
        let _ = std::os::unix::fs::symlink(folder.join("real"), folder.join("link"));
        let unix = |path: &str| Address::Unix(folder.join(path));
        for path in ["link/a.sock", "real/../real/a.sock", "./real/./a.sock", "link/../real/a.sock"] {
            assert!(collide(&unix("real/a.sock"), &unix(path)), "{path}");
        }
        assert!(!collide(&unix("real/a.sock"), &unix("a.sock")) && !collide(&unix("no/a.sock"), &unix("a.sock")));
        assert!(collide(&unix("no/a.sock"), &unix("no//a.sock")));
        std::fs::remove_dir_all(&folder).expect("it is ours");
    }
}
