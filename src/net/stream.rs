//! A connection, of either kind.
//!
//! Knows which options its socket gets, and nothing of what is sent, nor of time; it never waits. A connection that was
//! begun is made exactly when [`Stream::is_connected`] says so, after a writable event.

use std::io::{self, IoSlice, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use socket2::{SockRef, TcpKeepalive};

use super::address::ResolvedAddress;

/// A connection, non-blocking, of either kind. No larger than 8 bytes (in a release build).
#[derive(Debug)]
pub enum Stream {
    /// Over TCP, with `TCP_NODELAY`.
    Tcp(TcpStream),
    /// Over a Unix stream socket.
    Unix(UnixStream),
}

impl Stream {
    /// Begins to connect to a server; [`Stream::is_connected`] tells how it ended.
    ///
    /// # Errors
    ///
    /// What the kernel says at once: with a Unix socket that is all it will ever say, with TCP it may say more later.
    /// `ErrorKind::WouldBlock` comes from a Unix socket whose backlog is full: the server is alive, nothing was begun,
    /// and nothing will tell when there is room, so try again a little later.
    pub fn connect(address: &ResolvedAddress) -> io::Result<Stream> {
        match address {
            ResolvedAddress::Tcp(address) => {
                let stream = TcpStream::connect(*address)?;
                stream.set_nodelay(true)?;
                let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
                SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
                Ok(Stream::Tcp(stream))
            }
            ResolvedAddress::Unix(path) => Ok(Stream::Unix(UnixStream::connect(path)?)),
        }
    }

    /// The other end of a TCP connection, as `host:port`; `None` for a Unix socket, and where it is gone already.
    pub fn peer_address(&self) -> Option<Box<str>> {
        match self {
            Stream::Tcp(stream) => stream.peer_addr().ok().map(|address| address.to_string().into()),
            Stream::Unix(_) => None,
        }
    }

    /// True exactly when a connection that was begun is made; false while it is still on its way.
    ///
    /// # Errors
    ///
    /// Why it failed. That includes a TCP connection that met itself: where nobody listens on a local port of the
    /// ephemeral range, the kernel may choose that same port for our end, and the "server" would repeat our words.
    pub fn is_connected(&self) -> io::Result<bool> {
        if let Some(error) = self.take_error()? {
            return Err(error);
        }
        let is_known = match self {
            Stream::Tcp(stream) => stream.peer_addr().and_then(|peer| match stream.local_addr()? == peer {
                true => Err(io::Error::new(io::ErrorKind::ConnectionRefused, "the connection met itself")),
                false => Ok(()),
            }),
            Stream::Unix(stream) => stream.peer_addr().map(drop),
        };
        match is_known {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes the error that the kernel keeps for this socket (`SO_ERROR`), if there is one.
    ///
    /// # Errors
    ///
    /// When it could not be asked.
    fn take_error(&self) -> io::Result<Option<io::Error>> {
        match self {
            Stream::Tcp(stream) => stream.take_error(),
            Stream::Unix(stream) => stream.take_error(),
        }
    }

    /// True exactly when the kernel reports this socket as writable each time that the peer has read (a Unix socket),
    /// and not only after it was full (TCP).
    #[inline]
    pub fn is_reported_whenever_read(&self) -> bool {
        matches!(self, Stream::Unix(_))
    }

    /// Lets nothing more in, where the kernel can do that at once (a Unix socket): what has come can be read still,
    /// then comes the end, and the peer's next write fails. Returns whether it did.
    pub fn end_input(&self) -> bool {
        match self {
            Stream::Tcp(_) => false,
            Stream::Unix(stream) => stream.shutdown(Shutdown::Read).is_ok(),
        }
    }

    /// Reads once, at most `asked` bytes (more than none, and no more than the area has), to the start of the area.
    ///
    /// # Errors
    ///
    /// The connection is broken. That nothing has come is no error.
    #[inline]
    pub fn receive(&mut self, area: &mut [u8], asked: usize) -> io::Result<Incoming> {
        loop {
            match self.read(&mut area[..asked]) {
                Ok(count) => return Ok(Incoming::of_read(count, asked)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Incoming::NOTHING),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes the slices in order, as far as the socket takes them at once, and returns how many bytes were taken.
    ///
    /// # Errors
    ///
    /// The connection is broken. A full socket is no error.
    #[inline]
    pub fn send(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            let result = match slices {
                [slice] => self.write(slice),
                slices => self.write_vectored(slices),
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
                result => return result,
            }
        }
    }

    /// Tells the peer that nothing more will come, while its own words can still be read.
    ///
    /// # Errors
    ///
    /// When the connection is gone already.
    pub fn shutdown_write(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }
}

/// What a read has brought, and what is known of the connection after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Incoming {
    /// So many bytes stand at the start of the area.
    pub count: usize,
    /// True exactly when the socket had no more at that moment: the kernel tells when there is.
    pub is_drained: bool,
    /// True exactly when nothing will come behind these bytes.
    pub is_ended: bool,
}

impl Incoming {
    /// Nothing has come, and the kernel tells when something does.
    pub(super) const NOTHING: Incoming = Incoming { count: 0, is_drained: true, is_ended: false };

    /// What a read of at most `asked` bytes, more than none, tells that has brought `count`.
    #[inline]
    fn of_read(count: usize, asked: usize) -> Incoming {
        Incoming { count, is_drained: count < asked, is_ended: count == 0 }
    }
}

impl Read for Stream {
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
        }
    }

    /// One `writev`: at most 1,024 parts are looked at (the kernel's `IOV_MAX`).
    #[inline]
    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write_vectored(parts),
            Stream::Unix(stream) => stream.write_vectored(parts),
        }
    }

    /// Nothing is held back here.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Source for Stream {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.register(registry, token, interests),
            Stream::Unix(stream) => stream.register(registry, token, interests),
        }
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.reregister(registry, token, interests),
            Stream::Unix(stream) => stream.reregister(registry, token, interests),
        }
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.deregister(registry),
            Stream::Unix(stream) => stream.deregister(registry),
        }
    }
}

/// A connection to a server that is quiet for so long is probed, so that firewalls on the way do not forget it, and a
/// host that vanished is noticed while nothing is asked of it. (The read timeout watches over what is asked.)
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);

#[cfg(all(test, not(debug_assertions)))]
const _: () = assert!(size_of::<Stream>() <= 8);

#[cfg(test)]
mod tests {
    use super::super::tests::Folder;
    use super::super::{Address, Listener, backlog_max, listen};
    use super::*;
    use mio::{Events, Poll};
    use std::time::Instant;

    /// Waits until `what` gives something. The events only cut the waiting short.
    fn wait_for<T>(poll: &mut Poll, what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut events = Events::with_capacity(16);
        loop {
            if let Some(outcome) = attempt() {
                return outcome;
            }
            assert!(Instant::now() < deadline, "waited too long for {what}");
            poll.poll(&mut events, Some(Duration::from_millis(20))).expect("poll");
        }
    }

    fn local_tcp() -> (Listener, ResolvedAddress) {
        let address = Address::Tcp { host: "127.0.0.1".to_owned(), port: 0 };
        let (listener, file) = listen(&address, backlog_max(), 0).expect("a free port");
        assert!(file.is_none());
        let address = listener.local_address().expect("an address");
        (listener, address)
    }

    #[test]
    fn a_read_says_whether_the_socket_is_drained_and_whether_it_has_ended() {
        let (ours, mut theirs) = UnixStream::pair().expect("descriptors are free");
        let mut ours = Stream::Unix(ours);
        let mut area = [0; 16];
        let incoming = |count, is_drained, is_ended| Incoming { count, is_drained, is_ended };
        assert_eq!(ours.receive(&mut area, 4).expect("open"), incoming(0, true, false), "nothing has come");
        theirs.write_all(b"+PONG\r\n").expect("there is room");
        assert_eq!(ours.receive(&mut area, 4).expect("open"), incoming(4, false, false), "there may be more");
        assert_eq!(ours.receive(&mut area, 4).expect("open"), incoming(3, true, false), "a short read");
        assert_eq!(&area[..4], b"G\r\nN", "at the start of the area, and nowhere else");
        theirs.write_all(b"+OK\r").expect("there is room");
        drop(theirs);
        assert_eq!(ours.receive(&mut area, 4).expect("open"), incoming(4, false, false));
        assert_eq!(ours.receive(&mut area, 4).expect("open"), incoming(0, true, true), "the end");
    }

    /// What both ends of a connection should be able to do, whatever its kind.
    fn talk(listener: &mut Listener, address: &ResolvedAddress) -> (Stream, Stream) {
        let mut poll = Poll::new().expect("poll");
        poll.registry().register(listener, Token(0), Interest::READABLE).expect("register");
        let mut ours = Stream::connect(address).expect("connect");
        let both = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut ours, Token(1), both).expect("register");
        wait_for(&mut poll, "the connection", || ours.is_connected().expect("connected").then_some(()));
        let mut theirs = wait_for(&mut poll, "the client", || listener.accept().ok());
        poll.registry().register(&mut theirs, Token(2), both).expect("register");

        let parts = [IoSlice::new(b"*1\r\n"), IoSlice::new(b""), IoSlice::new(b"$4\r\nPING\r\n")];
        assert_eq!(ours.write_vectored(&parts).expect("write"), 14);
        ours.flush().expect("flush");
        let mut buffer = [0; 64];
        let length = wait_for(&mut poll, "the request", || theirs.read(&mut buffer).ok());
        assert_eq!(&buffer[..length], b"*1\r\n$4\r\nPING\r\n");
        let blocked = theirs.read(&mut buffer).expect_err("nothing more to read");
        assert_eq!(blocked.kind(), io::ErrorKind::WouldBlock);

        ours.shutdown_write().expect("shutdown");
        assert_eq!(wait_for(&mut poll, "the end", || theirs.read(&mut buffer).ok()), 0);
        assert_eq!(theirs.write(b"+PONG\r\n").expect("write"), 7);
        assert_eq!(wait_for(&mut poll, "the reply", || ours.read(&mut buffer).ok()), 7);
        assert!(ours.take_error().expect("asked").is_none());
        poll.registry().reregister(&mut ours, Token(3), Interest::READABLE).expect("reregister");
        poll.registry().deregister(&mut ours).expect("deregister");
        (ours, theirs)
    }

    #[test]
    fn tcp_connections_talk_without_delay_and_backends_are_kept_alive() {
        let (mut listener, address) = local_tcp();
        let (ours, theirs) = talk(&mut listener, &address);
        let (Stream::Tcp(ours), Stream::Tcp(theirs)) = (ours, theirs) else { panic!("not TCP") };
        assert!(ours.nodelay().expect("asked") && theirs.nodelay().expect("asked"));
        assert!(SockRef::from(&ours).keepalive().expect("asked"));
    }

    #[test]
    fn bytes_go_both_ways_over_a_unix_connection() {
        let folder = Folder::new();
        let path = folder.file("talk.sock");
        let (mut listener, _file) = listen(&Address::Unix(path.clone()), 16, 0o666).expect("listen");
        assert_eq!(listener.local_address().expect("an address"), ResolvedAddress::Unix(path.clone()));
        let (ours, _) = talk(&mut listener, &ResolvedAddress::Unix(path));
        assert!(matches!(ours, Stream::Unix(_)));
    }

    #[test]
    fn a_refused_tcp_connection_is_reported_by_the_kernel_s_own_error() {
        let (listener, address) = local_tcp();
        drop(listener);
        let mut poll = Poll::new().expect("poll");
        let error = match Stream::connect(&address) {
            Err(error) => error,
            Ok(mut stream) => {
                poll.registry().register(&mut stream, Token(0), Interest::WRITABLE).expect("register");
                wait_for(&mut poll, "the refusal", || stream.is_connected().err())
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_connection_that_met_itself_is_refused() {
        // Both ends the same, on purpose: a socket that is bound, and connects to where it is bound.
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("socket");
        socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().expect("an address").into()).expect("bind");
        socket.connect(&socket.local_addr().expect("bound")).expect("the kernel allows it");
        let stream = Stream::Tcp(TcpStream::from_std(socket.into()));
        assert_eq!(stream.is_connected().expect_err("refused").kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_unix_server_that_is_not_there_is_told_from_one_that_is_busy() {
        let folder = Folder::new();
        let path = folder.file("busy.sock");
        let address = ResolvedAddress::Unix(path.clone());
        assert_eq!(Stream::connect(&address).expect_err("no file").kind(), io::ErrorKind::NotFound);

        let (listener, _file) = listen(&Address::Unix(path), 1, 0o600).expect("listen");
        let mut waiting = Vec::new();
        let error = loop {
            match Stream::connect(&address) {
                Ok(stream) => waiting.push(stream),
                Err(error) => break error,
            }
            assert!(waiting.len() < 100, "the backlog never fills");
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        listener.accept().expect("one is waiting");
        assert!(Stream::connect(&address).expect("room again").is_connected().expect("connected"));
    }
}
