//! The sockets of one reactor, each under the id of its connection.
//!
//! The tables are indexed by the slots of the proxy's ids; the generation is compared, so that an event that comes late
//! finds nothing. Invariant: a socket is in its table from `add` until the proxy's `Action::Close` for the same id
//! (or until just before, if it lingers), and the proxy gives a slot to somebody else only after that.
//!
//! Every socket is watched for reading (which includes hang-ups), edge-triggered, for good. It is watched for writing,
//! too, only where that tells something:
//!
//! ```text
//!                  ┌────── a write was not taken whole ───────┐
//!   client ─► reading alone                            reading and writing ◄─ backend, which is being connected
//!                  └◄── a write was taken whole (Unix) ───────┘
//! ```
//!
//! Invariant: a socket whose last write was short is watched for writing. No edge is lost: what is registered anew is
//! reported at once if it has become writable before. The kernel reports a Unix socket as writable whenever its peer
//! has read, so that each reply would wake this loop for nothing; a TCP socket only after it was full, so that it is
//! left as it is, and not registered again for each large value. A write that goes through whole costs nothing more.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use mio::{Interest, Registry, Token};

use super::sessions::Sessions;
use crate::net::{Buffers, Incoming, LocalTls, Session, Stream};
use crate::proxy::{Conn, Wire};
use crate::slots::Id;
use crate::stats::Bytes;
use crate::timer::Millis;

/// A connection's socket, and what is known of its readiness.
pub(super) struct Socket {
    id: Id,
    pub stream: Stream,
    /// True exactly when what goes over it is inside of TLS: then `Sessions` has its session.
    pub has_session: bool,
    /// True exactly while it is watched for writing.
    is_watched_for_writing: bool,
    /// True until a read has found the end of what there is.
    pub is_readable: bool,
    /// True once the peer has said that no more will come.
    pub is_ending: bool,
    /// True while it stands on the ready list.
    pub is_queued: bool,
    /// True once its client was asked to leave: it is closed by a read that finds nothing.
    pub is_dismissed: bool,
}

/// All sockets of a reactor.
pub(super) struct Sockets {
    /// What was read and written.
    bytes: Bytes,
    registry: Registry,
    clients: Vec<Option<Socket>>,
    backends: Vec<Option<Socket>>,
    /// Those of clients that are to be closed. It takes the kernel some time, and there may be thousands of them.
    closing: Vec<Stream>,
    /// Those whose clients were told the end, and may be writing still; and until when, in order. Closed at once, what
    /// comes meanwhile would be answered with a reset, and a client may find that before the end.
    lingering: VecDeque<(Millis, Stream)>,
    sessions: Sessions,
    /// How often one was registered again.
    registered_again: Count,
}

/// A count for tests; it costs nothing elsewhere.
#[derive(Debug, Default)]
struct Count {
    #[cfg(test)]
    value: usize,
}

impl Count {
    fn count(&mut self) {
        #[cfg(test)]
        {
            self.value += 1;
        }
    }
}

/// Accepted connections in one turn; with several reactors, what one leaves the others take.
pub(super) const ACCEPTS_MAX: usize = 64;

/// Clients' sockets that are closed at one go: more than are accepted, so that no more descriptors are open than there
/// may be clients.
const CLOSES_MAX: usize = 2 * ACCEPTS_MAX;

/// How long a socket stays open whose client was told the end, in milliseconds.
const LINGER_MS: u64 = 1_000;

/// A token is, from its lowest bit: the kind, 24 bits of slot, and as much of the generation as fits (all of it, where
/// a pointer has 64 bits; the slot alone is enough, see the invariant).
const SLOT_BITS: u32 = 24;

fn token(conn: Conn) -> Token {
    let (kind, id) = match conn {
        Conn::Client(id) => (0, id),
        Conn::Backend(id) => (1, id),
    };
    Token((id.generation() as usize) << (SLOT_BITS + 1) | id.slot() << 1 | kind)
}

impl Sockets {
    /// A table without sockets, that has room for so many clients, so that it does not have to grow among other things.
    pub fn new(registry: Registry, clients: usize) -> Sockets {
        Sockets {
            bytes: Bytes::default(),
            registry,
            clients: Vec::with_capacity(clients),
            backends: Vec::new(),
            closing: Vec::new(),
            lingering: VecDeque::new(),
            sessions: Sessions::default(),
            registered_again: Count::default(),
        }
    }

    /// Takes in the socket of a connection and watches it: a backend's for writing as well, since it has still to be
    /// connected.
    pub fn add(&mut self, conn: Conn, mut stream: Stream) -> io::Result<()> {
        let is_watched_for_writing = matches!(conn, Conn::Backend(_));
        let (_, id) = self.table(conn);
        if id.slot() >> SLOT_BITS != 0 {
            return Err(io::Error::other("more than 16,777,216 connections"));
        }
        self.registry.register(&mut stream, token(conn), interest(is_watched_for_writing))?;
        let (table, _) = self.table(conn);
        if table.len() <= id.slot() {
            table.resize_with(id.slot() + 1, || None);
        }
        table[id.slot()] = Some(Socket {
            id,
            stream,
            has_session: false,
            is_watched_for_writing,
            is_readable: false,
            is_ending: false,
            is_queued: false,
            is_dismissed: false,
        });
        Ok(())
    }

    /// Closes the socket of a connection, if it has one: a backend's at once, a client's with `close_some`.
    pub fn remove(&mut self, conn: Conn) {
        if let (Some(stream), Conn::Client(_)) = (self.take(conn), conn) {
            self.closing.push(stream);
        }
    }

    /// Tells a client the end, and closes its socket some time later.
    pub fn linger(&mut self, id: Id, now: Millis) {
        if let Some(stream) = self.take(Conn::Client(id)) {
            // It fails if the client has left itself.
            let _ = stream.shutdown_write();
            self.lingering.push_back((now + LINGER_MS, stream));
        }
    }

    /// Takes a socket out of its table; `None` if there is none, or if it has something to send before it is closed.
    #[inline]
    fn take(&mut self, conn: Conn) -> Option<Stream> {
        let (table, id) = self.table(conn);
        let socket = table.get_mut(id.slot())?.take_if(|socket| socket.id == id)?;
        match socket.has_session {
            false => Some(socket.stream),
            true => self.take_session(conn, socket),
        }
    }

    #[cold]
    #[inline(never)]
    fn take_session(&mut self, conn: Conn, mut socket: Socket) -> Option<Stream> {
        if !socket.is_watched_for_writing {
            // What its peer does not take at once is sent when it can be. If that cannot be watched, it is closed late.
            let _ = self.registry.reregister(&mut socket.stream, token(conn), interest(true));
        }
        self.sessions.remove(conn, socket.stream)
    }

    /// From now on, what goes over the socket of a connection is inside of this session, which begins.
    ///
    /// # Errors
    ///
    /// The connection is broken.
    pub fn begin_session(&mut self, conn: Conn, session: Session) -> io::Result<()> {
        self.sessions.add(conn, session);
        self.inside(conn, |socket, session, buffers| {
            socket.has_session = true;
            session.begin(&mut socket.stream, buffers)
        })
    }

    /// The same of a client that was accepted, if it is met with TLS.
    ///
    /// # Errors
    ///
    /// The connection is broken, or the system gives no random bytes.
    pub fn maybe_begin_session(&mut self, tls: Option<&LocalTls>, client: Conn) -> io::Result<()> {
        match tls {
            None => Ok(()),
            Some(tls) => self.begin_session(client, tls.session()?),
        }
    }

    /// True exactly when the two sides of a TLS connection have not agreed yet.
    pub fn is_shaking(&mut self, conn: Conn) -> bool {
        let has_session = self.get_mut(conn).is_some_and(|socket| socket.has_session);
        has_session && self.sessions.get(conn).is_some_and(|(session, _)| session.is_shaking())
    }

    /// Until when the certificate is good that the peer of a TLS connection has shown, in milliseconds since 1970.
    pub fn peer_expiry(&mut self, conn: Conn) -> Option<u64> {
        self.sessions.get(conn).and_then(|(session, _)| session.peer_expiry())
    }

    /// How much ciphertext all sessions hold, in bytes, if that has changed since it was asked for.
    #[inline]
    pub fn poll_held(&mut self) -> Option<usize> {
        self.sessions.poll_held()
    }

    /// Of the clients that shake hands those that hold some of it, and how much.
    pub fn shaking_holders(&self) -> impl Iterator<Item = (Id, usize)> {
        self.sessions.shaking_holders()
    }

    /// True exactly when the other side of a TLS connection has said anything.
    pub fn has_heard(&mut self, conn: Conn) -> bool {
        self.sessions.get(conn).is_some_and(|(session, _)| session.has_heard())
    }

    /// The next client of which the time for shaking hands is over. It may be done with that, or gone.
    pub fn poll_late(&mut self, now: Millis) -> Option<Id> {
        self.sessions.poll_late(now)
    }

    /// Reads a socket inside of TLS: see [`Session::receive`].
    ///
    /// # Errors
    ///
    /// The connection is broken.
    pub fn receive_inside(&mut self, conn: Conn, area: &mut [u8], asked: usize) -> io::Result<Incoming> {
        self.inside(conn, |socket, session, buffers| session.receive(&mut socket.stream, area, asked, buffers))
    }

    /// A socket is writable. True exactly when its connection may go on: nothing that it was told before waits still.
    #[inline]
    pub fn is_flushed(&mut self, conn: Conn) -> bool {
        !self.get_mut(conn).is_some_and(|socket| socket.has_session) || self.flush_inside(conn)
    }

    #[cold]
    #[inline(never)]
    fn flush_inside(&mut self, conn: Conn) -> bool {
        // That it is broken is found by its next read.
        self.inside(conn, |socket, session, _| session.flush(&mut socket.stream)).unwrap_or(true)
    }

    #[cold]
    #[inline(never)]
    fn write_inside(&mut self, conn: Conn, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let taken = self.inside(conn, |socket, session, buffers| session.write(&mut socket.stream, slices, buffers))?;
        self.count_written(conn, taken);
        Ok(taken)
    }

    /// Does something with a socket inside of TLS, its session, and the buffers of all sessions; and watches it for
    /// writing if it has something to send then.
    fn inside<T>(
        &mut self,
        conn: Conn,
        act: impl FnOnce(&mut Socket, &mut Session, &mut Buffers) -> io::Result<T>,
    ) -> io::Result<T> {
        let (table, id) = match conn {
            Conn::Client(id) => (&mut self.clients, id),
            Conn::Backend(id) => (&mut self.backends, id),
        };
        let socket = table.get_mut(id.slot()).and_then(Option::as_mut).filter(|socket| socket.id == id);
        let (Some(socket), Some((session, buffers))) = (socket, self.sessions.get(conn)) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let before = session.held();
        let result = act(socket, session, buffers);
        let after = session.held();
        let has_unsent = session.has_unsent();
        self.sessions.on_held(before, after);
        if has_unsent && !socket.is_watched_for_writing {
            self.watch_for_writing(conn, true)?;
        }
        result
    }

    /// When something is to be closed next: one of them, or a client that shakes hands.
    pub fn next_deadline(&self) -> Option<Millis> {
        let lingering = self.lingering.front().map(|(until, _)| *until);
        lingering.into_iter().chain(self.sessions.next_deadline()).min()
    }

    /// True exactly when every client that has left was told all that there was.
    pub fn is_settled(&self) -> bool {
        self.lingering.is_empty() && self.sessions.is_settled()
    }

    /// Closes those of them whose time has come. To be called in each turn.
    pub fn end_lingering(&mut self, now: Millis) {
        self.sessions.handle_turn(now);
        while self.lingering.front().is_some_and(|(until, _)| *until <= now) {
            self.lingering.pop_front();
        }
    }

    /// So many bytes were read from this connection.
    #[inline]
    pub fn count_read(&mut self, conn: Conn, count: usize) {
        match conn {
            Conn::Client(_) => self.bytes.from_clients += count as u64,
            Conn::Backend(_) => self.bytes.from_servers += count as u64,
        }
    }

    /// So many bytes were written to this connection.
    #[inline]
    fn count_written(&mut self, conn: Conn, count: usize) {
        match conn {
            Conn::Client(_) => self.bytes.to_clients += count as u64,
            Conn::Backend(_) => self.bytes.to_servers += count as u64,
        }
    }

    /// How many bytes were read and written; inside of TLS, those that are in it.
    #[inline]
    pub fn bytes(&self) -> Bytes {
        self.bytes
    }

    /// True exactly when sockets are left to be closed.
    pub fn is_closing(&self) -> bool {
        !self.closing.is_empty()
    }

    /// Closes some of those that are to be closed. False if there are none.
    pub fn close_some(&mut self) -> bool {
        let is_any = self.is_closing();
        self.closing.truncate(self.closing.len().saturating_sub(CLOSES_MAX));
        is_any
    }

    /// The socket of a connection.
    #[inline]
    pub fn get_mut(&mut self, conn: Conn) -> Option<&mut Socket> {
        let (table, id) = self.table(conn);
        table.get_mut(id.slot())?.as_mut().filter(|socket| socket.id == id)
    }

    /// The connection that an event is about, if it is still there.
    #[inline]
    pub fn find(&self, event: Token) -> Option<Conn> {
        let slot = event.0 >> 1 & ((1 << SLOT_BITS) - 1);
        let conn = match event.0 & 1 {
            0 => Conn::Client(self.clients.get(slot)?.as_ref()?.id),
            _ => Conn::Backend(self.backends.get(slot)?.as_ref()?.id),
        };
        (token(conn) == event).then_some(conn)
    }

    #[inline]
    fn table(&mut self, conn: Conn) -> (&mut Vec<Option<Socket>>, Id) {
        match conn {
            Conn::Client(id) => (&mut self.clients, id),
            Conn::Backend(id) => (&mut self.backends, id),
        }
    }

    /// Watches a socket for writing as well, or no longer.
    #[cold]
    fn watch_for_writing(&mut self, conn: Conn, is_wanted: bool) -> io::Result<()> {
        let (table, id) = match conn {
            Conn::Client(id) => (&mut self.clients, id),
            Conn::Backend(id) => (&mut self.backends, id),
        };
        let Some(socket) = table.get_mut(id.slot()).and_then(Option::as_mut) else { return Ok(()) };
        socket.is_watched_for_writing = is_wanted;
        self.registered_again.count();
        self.registry.reregister(&mut socket.stream, token(conn), interest(is_wanted))
    }
}

impl Socket {
    /// A read has brought this. Returns whether nothing comes behind it.
    #[inline]
    pub fn take_in(&mut self, incoming: Incoming) -> bool {
        self.is_readable = !incoming.is_drained;
        // If the peer had closed before the socket was drained, that was the end.
        incoming.is_ended || (incoming.is_drained && self.is_ending)
    }

    /// Whether it is to be watched for writing from now on, or no longer, where that has to change: after a write that
    /// was taken whole, or not.
    #[inline]
    fn change_after(&self, is_whole: bool) -> Option<bool> {
        match (is_whole, self.is_watched_for_writing) {
            (false, false) => Some(true),
            (true, true) if self.stream.is_reported_whenever_read() => Some(false),
            _ => None,
        }
    }
}

fn interest(is_watched_for_writing: bool) -> Interest {
    match is_watched_for_writing {
        true => Interest::READABLE | Interest::WRITABLE,
        false => Interest::READABLE,
    }
}

impl Wire for Sockets {
    #[inline]
    fn write(&mut self, conn: Conn, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let Some(socket) = self.get_mut(conn) else {
            // It is being closed; nobody will miss these bytes.
            return Err(io::ErrorKind::NotConnected.into());
        };
        if socket.has_session {
            return self.write_inside(conn, slices);
        }
        let taken = socket.stream.send(slices)?;
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        let change = socket.change_after(taken == total);
        self.count_written(conn, taken);
        if let Some(is_wanted) = change {
            self.watch_for_writing(conn, is_wanted)?;
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slots::Slots;
    use mio::net::{TcpStream, UnixStream};
    use mio::{Events, Poll};
    use std::net::TcpListener;
    use std::os::unix::net::UnixStream as StdUnixStream;
    use std::time::{Duration, Instant};

    const PATIENCE: Duration = Duration::from_secs(10);
    /// More than any socket takes at once.
    const MUCH: usize = 64 << 20;

    /// One connection of the table, the other end of it, and what the kernel tells.
    struct Stage<P> {
        poll: Poll,
        sockets: Sockets,
        conn: Conn,
        peer: P,
    }

    impl<P: io::Read> Stage<P> {
        fn new(kind: fn(Id) -> Conn, stream: Stream, peer: P) -> Stage<P> {
            let poll = Poll::new().expect("descriptors are free");
            let mut sockets = Sockets::new(poll.registry().try_clone().expect("descriptors are free"), 1);
            let conn = kind(Slots::new().insert(()));
            sockets.add(conn, stream).expect("it can be watched");
            Stage { poll, sockets, conn, peer }
        }

        /// Writes so many bytes, in two parts, and returns how many were taken.
        fn write(&mut self, length: usize) -> usize {
            let bytes = vec![b'x'; length];
            let (first, second) = bytes.split_at(length / 2);
            let slices = [IoSlice::new(first), IoSlice::new(second)];
            self.sockets.write(self.conn, &slices).expect("the peer is there")
        }

        /// The peer reads so many bytes.
        fn read(&mut self, length: usize) {
            let mut bytes = vec![0; length];
            self.peer.read_exact(&mut bytes).expect("as much was written");
            assert!(bytes == vec![b'x'; length]);
        }

        /// Whether the kernel has something to tell now, as (readable, writable, closed by the peer).
        fn told(&mut self) -> Option<(bool, bool, bool)> {
            self.told_within(Duration::ZERO)
        }

        fn told_within(&mut self, patience: Duration) -> Option<(bool, bool, bool)> {
            let mut events = Events::with_capacity(4);
            self.poll.poll(&mut events, Some(patience)).expect("poll");
            let mut told = events.iter().map(|event| {
                assert_eq!(self.sockets.find(event.token()), Some(self.conn));
                (event.is_readable(), event.is_writable(), event.is_read_closed())
            });
            let first = told.next();
            assert_eq!(told.next(), None, "one socket, one event");
            first
        }

        /// The kernel tells that it is writable, sooner or later.
        fn wait_for_writable(&mut self) {
            let deadline = Instant::now() + PATIENCE;
            while !matches!(self.told_within(Duration::from_millis(20)), Some((_, true, _))) {
                assert!(Instant::now() < deadline, "nobody tells that it takes bytes again");
            }
        }
    }

    fn client() -> Stage<StdUnixStream> {
        unix(Conn::Client)
    }

    fn unix(kind: fn(Id) -> Conn) -> Stage<StdUnixStream> {
        let (ours, theirs) = StdUnixStream::pair().expect("descriptors are free");
        ours.set_nonblocking(true).expect("a socket can be");
        Stage::new(kind, Stream::Unix(UnixStream::from_std(ours)), theirs)
    }

    fn tcp(kind: fn(Id) -> Conn) -> Stage<std::net::TcpStream> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let ours = std::net::TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        ours.set_nonblocking(true).expect("a socket can be");
        Stage::new(kind, Stream::Tcp(TcpStream::from_std(ours)), listener.accept().expect("one has come").0)
    }

    #[test]
    fn a_client_that_takes_everything_wakes_nobody_and_costs_nothing() {
        let mut client = client();
        assert_eq!(client.told(), None, "it has said nothing yet");
        for _ in 0..100 {
            assert_eq!(client.write(1_000), 1_000);
            client.read(1_000);
            assert_eq!(client.told(), None, "that a reply was read is no news");
        }
        assert_eq!(client.sockets.registered_again.value, 0);
    }

    #[test]
    fn a_short_write_is_followed_by_a_writable_event_and_a_whole_one_ends_the_watching() {
        let mut client = client();
        for times in 1..=3 {
            let mut taken = client.write(MUCH);
            assert!(taken < MUCH && client.told().is_none(), "it took {taken}");
            // Whoever writes once more, and in vain, asks for no more than before.
            assert_eq!(client.write(MUCH), 0);
            assert_eq!(client.sockets.registered_again.value, 2 * times - 1);
            for _ in 0..3 {
                client.read(taken);
                client.wait_for_writable();
                taken = client.write(MUCH);
                assert!(taken > 0);
            }
            assert_eq!(client.sockets.registered_again.value, 2 * times - 1, "short each time: it stays as it is");
            client.read(taken);
            client.wait_for_writable();
            assert_eq!(client.write(1_000), 1_000);
            assert_eq!(client.sockets.registered_again.value, 2 * times);
            client.read(1_000);
            assert_eq!(client.told(), None, "nothing is waited for");
        }
    }

    #[test]
    fn what_the_peer_reads_between_the_write_and_the_watching_is_not_missed() {
        let mut client = client();
        let taken = client.write(MUCH);
        // As if the peer had been faster than the registering: what there was to tell is told anew.
        client.read(taken);
        client.wait_for_writable();
        client.sockets.watch_for_writing(client.conn, false).expect("it is watched");
        client.sockets.watch_for_writing(client.conn, true).expect("it is watched");
        assert_eq!(client.told(), Some((false, true, false)));
    }

    #[test]
    fn a_hang_up_is_told_whatever_is_watched() {
        let mut quiet = client();
        let mut full = client();
        full.write(MUCH);
        for client in [&mut quiet, &mut full] {
            client.peer.shutdown(std::net::Shutdown::Write).expect("it is connected");
            assert!(matches!(client.told(), Some((true, _, true))), "half");
        }
        for mut client in [quiet, full] {
            client.peer = StdUnixStream::pair().expect("descriptors are free").0;
            assert!(matches!(client.told(), Some((true, _, true))), "whole");
        }
    }

    #[test]
    fn a_backend_is_watched_for_being_connected_and_then_as_a_client_is() {
        let mut backend = unix(Conn::Backend);
        assert_eq!(backend.told(), Some((false, true, false)));
        assert_eq!(backend.write(1_000), 1_000);
        assert_eq!(backend.sockets.registered_again.value, 1);
        for _ in 0..100 {
            backend.read(1_000);
            assert_eq!(backend.told(), None, "that a request was read is no news");
            assert_eq!(backend.write(1_000), 1_000);
        }
        assert_eq!(backend.sockets.registered_again.value, 1);
    }

    #[test]
    fn tcp_tells_only_after_a_short_write_and_is_not_registered_for_each() {
        let mut backend = tcp(Conn::Backend);
        backend.wait_for_writable();
        let mut client = tcp(Conn::Client);
        assert_eq!(client.told(), None);
        for stage in [&mut backend, &mut client] {
            for _ in 0..3 {
                for _ in 0..100 {
                    assert_eq!(stage.write(1_000), 1_000);
                    stage.read(1_000);
                    assert_eq!(stage.told(), None, "that something was read is no news");
                }
                let taken = stage.write(MUCH);
                assert!(taken < MUCH);
                stage.read(taken);
                stage.wait_for_writable();
            }
        }
        assert_eq!(backend.sockets.registered_again.value, 0);
        assert_eq!(client.sockets.registered_again.value, 1);
    }
}
