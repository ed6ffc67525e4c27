//! A line between two processes of this program, over which listening sockets go.
//!
//! A pair of Unix sockets that keep messages apart (`SOCK_SEQPACKET`). One end is the standard input of the process
//! that takes over, which knows it by that: nothing else gives a program such a thing. Nobody else can reach it.
//!
//! ```text
//!   Handover::pair ─► (one end, standard input of the other process) ─► send: bytes, perhaps a listener ─► receive
//! ```
//!
//! Descriptors in messages are beyond the standard library without `unsafe`, and this file is where `rustix` has them.
//! Knows nothing of what messages say.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use socket2::{Domain, SockRef, Socket, Type};

use super::inherit::{adopt, take_stdin};
use super::listener::Listener;

/// One end of it.
#[derive(Debug)]
pub struct Handover(OwnedFd);

impl Handover {
    /// A new line: one end, which waits no longer than this for room for a message, and what the other process gets as
    /// its standard input.
    ///
    /// # Errors
    ///
    /// When no file descriptor is free.
    pub fn pair(patience: Duration) -> io::Result<(Handover, OwnedFd)> {
        let (own, other) = Socket::pair(Domain::UNIX, Type::SEQPACKET, None)?;
        own.set_write_timeout(Some(patience))?;
        Ok((Handover(own.into()), other.into()))
    }

    /// The end that this process has as its standard input, if it has one. It is that no longer.
    ///
    /// # Errors
    ///
    /// When no file descriptor is free.
    pub fn of_stdin() -> io::Result<Option<Handover>> {
        let stdin = io::stdin();
        let socket = SockRef::from(&stdin);
        // What is no socket cannot answer the question.
        let is_line = socket.r#type().is_ok_and(|kind| kind == Type::SEQPACKET)
            && socket.peer_addr().is_ok_and(|peer| peer.domain() == Domain::UNIX);
        if is_line { take_stdin().map(|own| Some(Handover(own))) } else { Ok(None) }
    }

    /// Sends a message, which is not empty, and with it a listener, which both processes have then.
    ///
    /// # Errors
    ///
    /// When the other end is gone.
    pub fn send(&self, bytes: &[u8], listener: Option<&OwnedFd>) -> io::Result<()> {
        let descriptors = listener.map(|listener| [listener.as_fd()]);
        let mut space = [Blank::BLANK; SPACE];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if let Some(descriptors) = &descriptors {
            ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
        }
        sendmsg(&self.0, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// The next message, and the listener that came with it. Empty when the other end is gone.
    ///
    /// # Errors
    ///
    /// `ErrorKind::WouldBlock` when none has come within `patience`; and when what came does not listen.
    pub fn receive(&self, patience: Option<Duration>) -> io::Result<(Vec<u8>, Option<Listener>)> {
        let flags = match patience {
            None => RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
            Some(_) => RecvFlags::CMSG_CLOEXEC,
        };
        SockRef::from(&self.0).set_read_timeout(patience)?;
        let mut bytes = vec![0; MESSAGE_MAX];
        let mut space = [Blank::BLANK; SPACE];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let length = loop {
            match recvmsg(&self.0, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, flags) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?.bytes,
            }
        };
        bytes.truncate(length);
        let mut descriptor: Option<OwnedFd> = None;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                descriptor = descriptors.last();
            }
        }
        Ok((bytes, descriptor.map(adopt).transpose()?))
    }
}

/// Room for one descriptor in a message.
const SPACE: usize = rustix::cmsg_space!(ScmRights(1));
/// A message is shorter: it names a place, and that is a path or a host.
const MESSAGE_MAX: usize = 4096;

/// The room is of bytes with the `rustix` of Debian stable, and of bytes that need no value with newer ones.
trait Blank: Copy {
    const BLANK: Self;
}

impl Blank for u8 {
    const BLANK: u8 = 0;
}

impl Blank for MaybeUninit<u8> {
    const BLANK: MaybeUninit<u8> = MaybeUninit::uninit();
}

#[cfg(test)]
mod tests {
    use super::super::tests::Folder;
    use super::super::{Address, ResolvedAddress, Stream, listen};
    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    #[test]
    fn a_listener_goes_over_and_messages_stay_apart() {
        let folder = Folder::new();
        let path = folder.file("rmux.sock");
        let (listener, _file) = listen(&Address::Unix(path.clone()), 16, 0o666).expect("listen");
        let (own, other) = Handover::pair(LONG).expect("descriptors are free");
        let other = Handover(other);
        own.send(b"one", None).expect("sent");
        own.send(b"two", Some(&listener.to_descriptor().expect("a descriptor"))).expect("sent");
        let (bytes, none) = other.receive(Some(LONG)).expect("it has come");
        assert!(bytes == b"one" && none.is_none());
        let (bytes, passed) = other.receive(Some(LONG)).expect("it has come");
        assert_eq!(bytes, b"two");
        drop(listener);
        let _client = Stream::connect(&ResolvedAddress::Unix(path)).expect("it listens still");
        passed.expect("it came along").accept().expect("the client");

        let silent = other.receive(None).expect_err("nothing has come");
        assert_eq!(silent.kind(), io::ErrorKind::WouldBlock);
        drop(own);
        assert!(other.receive(Some(LONG)).expect("the end").0.is_empty());
        other.send(b"three", None).expect_err("nobody is there");
    }

    #[test]
    fn what_does_not_listen_is_refused() {
        let (own, other) = Handover::pair(LONG).expect("descriptors are free");
        let (stream, _) = std::os::unix::net::UnixStream::pair().expect("descriptors are free");
        own.send(b"one", Some(&stream.into())).expect("sent");
        Handover(other).receive(Some(LONG)).expect_err("no listener");
    }
}
