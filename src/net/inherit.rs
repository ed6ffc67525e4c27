//! A listening socket that somebody else has opened, and that came with the process.
//!
//! It comes as **standard input**, the one descriptor that a program without `unsafe` can take up: the standard library
//! vouches for 0, 1 and 2, and for no other number. systemd passes it so with `StandardInput=socket` (or `fd:NAME`) in
//! the unit, `systemd-socket-activate` with `--inetd`, and rmux itself passes it so when it starts its program anew.
//!
//! It is standard input no longer then: a descriptor more of the same socket would keep it listening when it is to end.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use socket2::{Domain, SockRef, Socket, Type};

use super::listener::Listener;

/// The listening socket that standard input is, made non-blocking; `None` if it is anything else.
///
/// # Errors
///
/// When it listens, but not for TCP or Unix streams.
pub fn inherited() -> io::Result<Option<Listener>> {
    let stdin = io::stdin();
    // What is no socket cannot answer the question, and a connected one says no.
    if !SockRef::from(&stdin).is_listener().unwrap_or(false) {
        return Ok(None);
    }
    adopt(take_stdin()?).map(Some)
}

/// Takes up what standard input is. In its place is something from which nothing comes but the end.
pub(super) fn take_stdin() -> io::Result<OwnedFd> {
    let taken = io::stdin().as_fd().try_clone_to_owned()?;
    let (closed, _) = UnixStream::pair()?;
    rustix::stdio::dup2_stdin(&closed)?;
    Ok(taken)
}

/// A listener of a socket that listens.
pub(super) fn adopt(descriptor: OwnedFd) -> io::Result<Listener> {
    let socket = Socket::from(descriptor);
    if !socket.is_listener()? {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a socket was passed on that does not listen"));
    }
    let (kind, domain) = (socket.r#type()?, socket.local_addr()?.domain());
    socket.set_nonblocking(true)?;
    match domain {
        Domain::UNIX if kind == Type::STREAM => Ok(Listener::of_unix(socket.into())),
        Domain::IPV4 | Domain::IPV6 if kind == Type::STREAM => Ok(Listener::of_tcp(socket.into())),
        _ => Err(io::Error::new(io::ErrorKind::Unsupported, "standard input listens, but not for TCP or Unix streams")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Folder;
    use super::super::{Address, ResolvedAddress, Stream, listen};
    use super::*;

    #[test]
    fn what_was_passed_on_accepts_and_knows_where_it_is() {
        let folder = Folder::new();
        let path = folder.file("rmux.sock");
        let (original, _file) = listen(&Address::Unix(path.clone()), 16, 0o666).expect("listen");
        let adopted = adopt(original.to_descriptor().expect("a descriptor")).expect("a listener");
        let _client = Stream::connect(&ResolvedAddress::Unix(path.clone())).expect("connect");
        adopted.accept().expect("the client");
        std::os::unix::fs::symlink(&folder.0, folder.file("link")).expect("writable");
        assert!(adopted.is_at(&Address::Unix(path)));
        assert!(adopted.is_at(&Address::Unix(folder.file("link").join("rmux.sock"))));
        assert!(!adopted.is_at(&Address::Unix(folder.file("other.sock"))));
        assert!(!adopted.is_at(&Address::Tcp { host: "localhost".to_owned(), port: 6379 }));

        let any = Address::Tcp { host: "127.0.0.1".to_owned(), port: 0 };
        let (original, _) = listen(&any, 16, 0).expect("a free port");
        let adopted = adopt(original.to_descriptor().expect("a descriptor")).expect("a listener");
        let Ok(ResolvedAddress::Tcp(address)) = adopted.local_address() else { panic!("not TCP") };
        let at = |port| Address::Tcp { host: "localhost".to_owned(), port };
        assert!(adopted.is_at(&at(address.port())) && !adopted.is_at(&at(1)));
        assert_eq!(adopted.accept().expect_err("nobody waits").kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_socket_for_packets_is_refused() {
        let folder = Folder::new();
        let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None).expect("socket");
        socket.bind(&socket2::SockAddr::unix(folder.file("packets.sock")).expect("short")).expect("bind");
        socket.listen(1).expect("listen");
        assert_eq!(adopt(socket.into()).expect_err("refused").kind(), io::ErrorKind::Unsupported);
    }
}
