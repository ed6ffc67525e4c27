//! A listening socket, of either kind: it accepts connections, and says where it is.
//!
//! Knows nothing of how it came to be: opened here (`listen`), or by somebody else (`inherit`).

use std::fs;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use mio::event::Source;
use mio::net::{TcpListener, UnixListener};
use mio::{Interest, Registry, Token};
use socket2::SockRef;

use super::address::{Address, ResolvedAddress};
use super::stream::Stream;

/// A listening socket, non-blocking, of either kind.
#[derive(Debug)]
pub enum Listener {
    /// On a TCP port.
    Tcp(TcpListener),
    /// On a Unix stream socket.
    Unix(UnixListener),
}

impl Listener {
    /// One of a TCP socket that listens, and does not block.
    pub(super) fn of_tcp(socket: OwnedFd) -> Listener {
        Listener::Tcp(TcpListener::from_std(socket.into()))
    }

    /// The same of a Unix stream socket.
    pub(super) fn of_unix(socket: OwnedFd) -> Listener {
        Listener::Unix(UnixListener::from_std(socket.into()))
    }

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

    /// Whether an accept failed because of the one connection, and not because of this process or system.
    pub fn is_about_the_peer(error: &io::Error) -> bool {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        matches!(error.kind(), Interrupted | ConnectionAborted | ConnectionReset)
    }

    /// The same listening socket once more, for another reactor: each client is accepted by one of them.
    ///
    /// # Errors
    ///
    /// When no file descriptor is free.
    pub fn try_clone(&self) -> io::Result<Listener> {
        Ok(match self {
            Listener::Tcp(listener) => Listener::of_tcp(listener.as_fd().try_clone_to_owned()?),
            Listener::Unix(listener) => Listener::of_unix(listener.as_fd().try_clone_to_owned()?),
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

    /// Whether it listens where this address says: on this port, whatever the interface, or on this file, whatever its
    /// spelling.
    pub fn is_at(&self, address: &Address) -> bool {
        match (self.local_address(), address) {
            (Ok(ResolvedAddress::Tcp(own)), Address::Tcp { port, .. }) => own.port() == *port,
            (Ok(ResolvedAddress::Unix(own)), Address::Unix(path)) => own == *path || is_same_file(&own, path),
            _ => false,
        }
    }

    /// Ends the listening, for every process and thread that has this socket: new clients are refused at once.
    pub fn stop(&self) {
        let socket = match self {
            Listener::Tcp(listener) => SockRef::from(listener),
            Listener::Unix(listener) => SockRef::from(listener),
        };
        // It fails if it has ended already.
        let _ = socket.shutdown(Shutdown::Both);
    }

    /// One more descriptor of this socket, to be passed on.
    ///
    /// # Errors
    ///
    /// When no file descriptor is free.
    pub fn to_descriptor(&self) -> io::Result<OwnedFd> {
        match self {
            Listener::Tcp(listener) => listener.as_fd().try_clone_to_owned(),
            Listener::Unix(listener) => listener.as_fd().try_clone_to_owned(),
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

fn is_same_file(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
    identity(one).is_some_and(|identity_of_one| identity(other) == Some(identity_of_one))
}

#[cfg(test)]
mod tests {
    use super::super::listen;
    use super::super::tests::Folder;
    use super::*;

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
}
