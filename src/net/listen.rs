//! Listening sockets. The file that a Unix socket leaves in the file system has a place of its own, `socket_file.rs`.
//!
//! A TCP name lookup blocks here: this runs once, at start, before there is anybody to keep waiting.

use std::fmt;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use mio::event::Source;
use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Socket, Type};

use super::socket_file::PATH_BYTES_MAX;
use super::{Address, ResolvedAddress, SocketFile, Stream};

/// A listening socket, non-blocking, of either kind.
#[derive(Debug)]
pub enum Listener {
    /// On a TCP port.
    Tcp(TcpListener),
    /// On a Unix stream socket.
    Unix(UnixListener),
}

/// Listens on an address.
///
/// A host without an address of its own (empty, or `*`) means all interfaces, IPv6 and IPv4. Of a name's addresses the
/// first that belongs to this machine is taken, IPv4 first, as the original (Go's `net.Listen`) does it; one that is in
/// use is an error, rather than a reason to listen where nobody looks.
///
/// `backlog` is how many connections may wait to be accepted; the kernel caps it ([`backlog_max`] is the most). **When
/// it is full, a Unix socket turns clients away at once, with `EAGAIN`**, so it should be the most there is. `mode`
/// holds the permission bits of a Unix socket's file, whatever the umask; connecting takes the right to write. The
/// [`SocketFile`] removes the file when it is dropped: drop it when no more clients are wanted.
///
/// # Errors
///
/// When the address cannot be looked up or bound, or belongs to somebody else. The error names the address.
pub fn listen(address: &Address, backlog: i32, mode: u32) -> Result<(Listener, Option<SocketFile>), ListenError> {
    let listening = match address {
        Address::Tcp { host, port } => listen_tcp(host, *port, backlog).map(|listener| (listener, None)),
        Address::Unix(path) => listen_unix(path, backlog, mode).map(|(listener, file)| (listener, Some(file))),
    };
    listening.map_err(|fault| ListenError { address: address.clone(), fault })
}

/// The longest backlog that the system grants (`net.core.somaxconn`); the most that can be asked for where that cannot
/// be read, which the kernel then cuts.
pub fn backlog_max() -> i32 {
    let text = fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap_or_default();
    text.trim().parse().unwrap_or(i32::MAX)
}

impl Listener {
    /// The next client that waits, as a non-blocking connection.
    ///
    /// # Errors
    ///
    /// `ErrorKind::WouldBlock` when none waits. Others (a client that left, no file descriptor free) concern this one
    /// client, and do not end the listening.
    pub fn accept(&self) -> io::Result<Stream> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept()?;
                // It can only fail on a connection that is gone; the first read tells.
                let _ = stream.set_nodelay(true);
                Ok(Stream::Tcp(stream))
            }
            Listener::Unix(listener) => listener.accept().map(|(stream, _)| Stream::Unix(stream)),
        }
    }

    /// The same listening socket once more, for another reactor: each client is accepted by one of them.
    ///
    /// # Errors
    ///
    /// When no file descriptor is free.
    pub fn try_clone(&self) -> io::Result<Listener> {
        Ok(match self {
            Listener::Tcp(listener) => tcp_listener(listener.as_fd().try_clone_to_owned()?),
            Listener::Unix(listener) => unix_listener(listener.as_fd().try_clone_to_owned()?),
        })
    }

    /// Where this listens: with the port that the kernel chose, if it was asked for port 0.
    ///
    /// # Errors
    ///
    /// When the kernel does not say.
    pub fn local_address(&self) -> io::Result<ResolvedAddress> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().map(ResolvedAddress::Tcp),
            Listener::Unix(listener) => {
                let address = listener.local_addr()?;
                Ok(ResolvedAddress::Unix(address.as_pathname().unwrap_or(Path::new("")).to_owned()))
            }
        }
    }
}

impl Source for Listener {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Listener::Tcp(listener) => listener.register(registry, token, interests),
            Listener::Unix(listener) => listener.register(registry, token, interests),
        }
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Listener::Tcp(listener) => listener.reregister(registry, token, interests),
            Listener::Unix(listener) => listener.reregister(registry, token, interests),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Listener::Tcp(listener) => listener.deregister(registry),
            Listener::Unix(listener) => listener.deregister(registry),
        }
    }
}

/// Why an address cannot be listened on. Its text names the address.
#[derive(Debug)]
pub struct ListenError {
    address: Address,
    fault: Fault,
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

fn listen_tcp(host: &str, port: u16, backlog: i32) -> Result<Listener, Fault> {
    let addresses: Vec<SocketAddr> = match host {
        "" | "*" => vec![(Ipv6Addr::UNSPECIFIED, port).into(), (Ipv4Addr::UNSPECIFIED, port).into()],
        _ => {
            let found = (host, port).to_socket_addrs().map_err(Fault::Lookup)?;
            let (mut addresses, of_ipv6): (Vec<_>, Vec<_>) = found.partition(SocketAddr::is_ipv4);
            addresses.extend(of_ipv6);
            addresses
        }
    };
    let mut outcome = Err(Fault::NoAddress);
    for address in addresses {
        let bound = bind_tcp(address, backlog);
        // Not an address of this machine, or of a family that it does not speak: the next one may do.
        let is_foreign = bound
            .as_ref()
            .is_err_and(|error| !matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied));
        outcome = bound.map_err(while_doing("binding the port"));
        if !is_foreign {
            break;
        }
    }
    outcome
}

fn bind_tcp(address: SocketAddr, backlog: i32) -> io::Result<Listener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Else a restart would have to wait for the connections of its predecessor to be forgotten.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    Ok(tcp_listener(socket.into()))
}

fn listen_unix(path: &Path, backlog: i32, mode: u32) -> Result<(Listener, SocketFile), Fault> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(while_doing("making a socket"))?;
    socket.set_nonblocking(true).map_err(while_doing("making a socket"))?;
    let file = SocketFile::listen(path, &socket, backlog, mode)?;
    Ok((unix_listener(socket.into()), file))
}

pub(super) fn tcp_listener(socket: OwnedFd) -> Listener {
    Listener::Tcp(TcpListener::from_std(socket.into()))
}

pub(super) fn unix_listener(socket: OwnedFd) -> Listener {
    Listener::Unix(UnixListener::from_std(socket.into()))
}

#[cfg(test)]
mod tests {
    use super::super::tests::Folder;
    use super::*;

    #[test]
    fn a_tcp_port_in_use_is_an_error_that_names_it() {
        let tcp = |host: &str, port| Address::Tcp { host: host.to_owned(), port };
        let (first, _) = listen(&tcp("localhost", 0), 16, 0).expect("a free port");
        let Ok(ResolvedAddress::Tcp(address)) = first.local_address() else { panic!("not TCP") };
        assert!(address.is_ipv4(), "IPv4 first");
        let error = listen(&tcp("localhost", address.port()), 16, 0).expect_err("in use").to_string();
        let port = address.port();
        assert!(error.starts_with(&format!("cannot listen on localhost:{port}: binding the port: Address")), "{error}");
    }

    #[test]
    fn without_a_host_all_interfaces_are_listened_on() {
        for host in ["", "*"] {
            let (listener, _) = listen(&Address::Tcp { host: host.to_owned(), port: 0 }, 16, 0).expect("a free port");
            let Ok(ResolvedAddress::Tcp(address)) = listener.local_address() else { panic!("not TCP") };
            assert!(address.ip().is_unspecified());
            std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, address.port())).expect("IPv4 is served");
            listener.accept().expect("accepted");
        }
    }

    #[test]
    fn an_address_of_another_machine_is_an_error() {
        let address = Address::Tcp { host: "192.0.2.1".to_owned(), port: 6379 };
        let error = listen(&address, 16, 0).expect_err("not ours").to_string();
        assert!(error.starts_with("cannot listen on 192.0.2.1:6379: binding the port: "), "{error}");
    }

    #[test]
    fn a_clone_accepts_from_the_same_queue() {
        let folder = Folder::new();
        let path = folder.file("rmux.sock");
        let (first, _file) = listen(&Address::Unix(path.clone()), 16, 0o666).expect("listen");
        let second = first.try_clone().expect("cloned");
        let connect = || Stream::connect(&ResolvedAddress::Unix(path.clone())).expect("connect");
        let _client = connect();
        second.accept().expect("the clone accepts");
        assert_eq!(first.accept().expect_err("nobody waits").kind(), io::ErrorKind::WouldBlock);
        drop(first);
        let _client = connect();
        second.accept().expect("the clone goes on");
    }

    #[test]
    fn the_backlog_is_the_system_s_most() {
        assert!(backlog_max() > 0);
    }
}
