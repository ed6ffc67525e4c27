//! One connection to a sentinel or a node: its addresses, its socket, its TLS session if it has one.
//!
//! ```text
//!   Connecting ── no TLS ─────────────────────► Open
//!       └── TLS ─► Shaking ── handshake done ────┘
//! ```
//!
//! Bytes to send wait here until it is open and its socket takes them. Knows no protocol. Invariant: it has a session
//! exactly while the TLS handshake runs, or when it is open with TLS.

use std::fmt;
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;

use crate::net::{Buffers, Incoming, RemoteTls, Session, Stream};

/// One read.
const READ_BYTES: usize = 16 * 1024;
/// The area that a session reads into: see [`Session::receive`].
const TLS_AREA_BYTES: usize = 128 * 1024;

/// The buffers that all lines of a watcher share.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// The bytes of a read, from its start.
    pub area: Vec<u8>,
    buffers: Buffers,
}

impl Room {
    fn prepare(&mut self, is_inside_tls: bool) {
        let needed = if is_inside_tls { TLS_AREA_BYTES } else { READ_BYTES };
        self.area.resize(self.area.len().max(needed), 0);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connecting,
    Shaking,
    Open,
}

/// The progress that an event has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// None.
    Nothing,
    /// TCP is connected, the TLS handshake runs.
    Shaking,
    /// It can be used.
    Connected,
}

/// Why it has failed.
#[derive(Debug)]
pub(super) struct Failure {
    reason: String,
    /// Whether the next address of its name may do better.
    pub is_about_address: bool,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// A connection, or an attempt to make one.
#[derive(Debug)]
pub(super) struct Line {
    /// Its name in the configuration or the map; its certificate must be for that.
    host: String,
    /// Addresses not tried yet, the next one last.
    rest: Vec<SocketAddr>,
    /// `None` while its name is resolved.
    stream: Option<Stream>,
    session: Option<Box<Session>>,
    stage: Stage,
    unsent: Vec<u8>,
}

impl Line {
    /// One that has no address yet.
    pub fn new(host: &str) -> Line {
        Line {
            host: host.to_owned(),
            rest: Vec::new(),
            stream: None,
            session: None,
            stage: Stage::Connecting,
            unsent: Vec::new(),
        }
    }

    /// The addresses of its name.
    pub fn set_addresses(&mut self, addresses: Vec<SocketAddr>) {
        self.rest = addresses;
        self.rest.reverse();
    }

    /// The next address to try; closes the socket to the last one.
    pub fn next_address(&mut self) -> Option<SocketAddr> {
        (self.stream, self.session, self.stage) = (None, None, Stage::Connecting);
        self.rest.pop()
    }

    /// This socket connects.
    pub fn begin(&mut self, stream: Stream) {
        self.stream = Some(stream);
    }

    /// Its remote address.
    pub fn peer_address(&self) -> Option<Box<str>> {
        self.stream.as_ref().and_then(Stream::peer_address)
    }

    /// Adds bytes to send.
    pub fn push(&mut self, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
    }

    /// Its socket is writable.
    ///
    /// # Errors
    ///
    /// Why it cannot be connected.
    pub fn on_writable(&mut self, tls: Option<&RemoteTls>, room: &mut Room) -> Result<Progress, Failure> {
        let Some(stream) = self.stream.as_mut().filter(|_| self.stage == Stage::Connecting) else {
            return Ok(Progress::Nothing);
        };
        match stream.is_connected() {
            Ok(true) => {}
            Ok(false) => return Ok(Progress::Nothing),
            Err(error) => return Err(Failure { reason: error.to_string(), is_about_address: true }),
        }
        let Some(tls) = tls else {
            self.stage = Stage::Open;
            return Ok(Progress::Connected);
        };
        let mut session = Box::new(tls.session(&self.host).map_err(|error| handshake(&error))?);
        session.begin(stream, &mut room.buffers).map_err(|error| handshake(&error))?;
        (self.session, self.stage) = (Some(session), Stage::Shaking);
        Ok(Progress::Shaking)
    }

    /// Reads once, to the start of the room's area; `is_ending` if the peer has closed its side.
    ///
    /// # Errors
    ///
    /// Why the connection is lost.
    pub fn read(&mut self, room: &mut Room, is_ending: bool) -> Result<(Incoming, Progress), Failure> {
        let (Some(stream), Stage::Shaking | Stage::Open) = (&mut self.stream, self.stage) else {
            return Ok((Incoming { count: 0, is_drained: true, is_ended: false }, Progress::Nothing));
        };
        room.prepare(self.session.is_some());
        let received = match &mut self.session {
            Some(session) => session.receive(stream, &mut room.area, READ_BYTES, &mut room.buffers),
            None => stream.receive(&mut room.area, READ_BYTES),
        };
        let received = received.map(|incoming| {
            let is_ended = incoming.is_ended || (incoming.is_drained && is_ending);
            Incoming { is_ended, ..incoming }
        });
        let is_shaking = self.session.as_ref().is_some_and(|session| session.is_shaking());
        match (received, self.stage) {
            (Err(error), Stage::Shaking) => Err(handshake(&error)),
            (Err(error), _) => Err(Failure { reason: error.to_string(), is_about_address: false }),
            (Ok(incoming), Stage::Shaking) if !is_shaking => {
                self.stage = Stage::Open;
                Ok((incoming, Progress::Connected))
            }
            (Ok(incoming), Stage::Shaking) if incoming.is_ended => {
                let error = io::Error::new(ErrorKind::UnexpectedEof, "it closes the connection instead");
                Err(handshake(&error))
            }
            (Ok(incoming), _) => Ok((incoming, Progress::Nothing)),
        }
    }

    /// Sends what waits, as much as the socket takes.
    ///
    /// # Errors
    ///
    /// The connection is broken.
    pub fn flush(&mut self, room: &mut Room) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        if let Some(session) = &mut self.session {
            session.flush(stream)?;
        }
        while self.stage == Stage::Open && !self.unsent.is_empty() {
            let slices = [IoSlice::new(&self.unsent)];
            let taken = match &mut self.session {
                Some(session) => session.write(stream, &slices, &mut room.buffers)?,
                None => stream.send(&slices)?,
            };
            if taken == 0 {
                return Ok(());
            }
            self.unsent.drain(..taken);
        }
        Ok(())
    }

    /// Ends the TLS session, as far as the socket takes it.
    pub fn end(mut self, room: &mut Room) {
        if let (Some(stream), Some(session)) = (&mut self.stream, &mut self.session) {
            session.close(stream, &mut room.buffers);
        }
    }
}

/// A TLS handshake has failed. A wrong certificate is the same at each address of the name.
fn handshake(error: &io::Error) -> Failure {
    let is_about_address = !matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::InvalidInput);
    Failure { reason: format!("TLS handshake: {error}"), is_about_address }
}
