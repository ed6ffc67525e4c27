//! One connection inside of TLS, over any socket: a [`Stream`](super::super::Stream), or what a test makes of one.
//!
//! Owns the state of the protocol, and bytes only where that cannot be helped: ciphertext of a record that has not come
//! whole, and ciphertext that the socket did not take. An idle connection owns neither. Everything else happens in the
//! area that is read into, and in [`Buffers`], which all sessions of a thread share.
//!
//! ```text
//!   the area    ├── plaintext ──► …        ├─ kept ─┬─ what the socket had ─┤
//!               0                          GAP      │  records, decrypted one by one, in place
//!   Invariant: the plaintext so far <= what was decrypted; so it never reaches the record that comes next
//! ```
//!
//! What is written is copied into records of 16 kB, a few of them at one go, and is *taken* when it is encrypted: what
//! the socket does not take of them is kept, at most [`RECORDS_AT_ONCE`] records, and goes out before anything else.
//!
//! It never waits, and knows no time: who shakes hands for too long is somebody else's business.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};

use super::certificate::Certificate;
use super::reason::{Side, broken, is_plain, plain_peer, protocol_error};
use crate::net::encryption::HEALTHCHECK;
use crate::net::stream::Incoming;

/// Plaintext of one record, in bytes.
const RECORD_MAX: usize = 16 * 1024;
/// A record with what encrypting adds: header, padding, tag.
const CIPHER_MAX: usize = RECORD_MAX + 5 + 256;
/// Records that are encrypted before they are written.
const RECORDS_AT_ONCE: usize = 2;
/// In front of the ciphertext, so much room is for plaintext.
const GAP: usize = RECORD_MAX;
/// The most ciphertext that is kept because what it belongs to is not whole: one record, or the longest handshake
/// message of a server, which may be several.
const KEPT_MAX: usize = 64 * 1024 + CIPHER_MAX;
/// The same of a client that shakes hands: there may be thousands of them, and they have little to say.
const CLIENT_KEPT_MAX: usize = CIPHER_MAX;

/// What the sessions of one thread use one after the other. Without any session it owns nothing.
#[derive(Debug, Default)]
pub struct Buffers {
    plain: Vec<u8>,
    /// Records that are to be written, `filled` bytes of them.
    records: Vec<u8>,
    filled: usize,
}

impl Buffers {
    /// Room for what is encrypted at one go.
    fn prepare(&mut self) {
        self.plain.resize(RECORD_MAX, 0);
        self.records.resize(self.records.len().max(RECORDS_AT_ONCE * CIPHER_MAX), 0);
        self.filled = 0;
    }
}

/// The protocol's state. Boxed: a connection without TLS is not to be larger for it.
enum Protocol {
    ToServer(Box<UnbufferedClientConnection>),
    ToClient(Box<UnbufferedServerConnection>),
}

/// A connection inside of TLS.
pub struct Session {
    protocol: Protocol,
    peer: Side,
    /// Ciphertext of something that has not come whole; without capacity while there is none.
    kept: Vec<u8>,
    /// Ciphertext that the socket did not take, from `sent` on; without capacity while there is none.
    unsent: Vec<u8>,
    sent: usize,
    /// True once the peer has said anything.
    has_heard: bool,
    /// True once the peer has said that nothing more comes.
    is_ended: bool,
    /// True once the protocol has found an error: it may not be asked for anything any more.
    is_broken: bool,
}

/// What a step of the protocol leads to.
enum Step {
    /// There may be more to do with what has come.
    Again,
    /// The peer has said that nothing more comes.
    Ended,
    /// Nothing more can be done with what has come.
    Blocked,
}

impl Session {
    /// A session with a server, which [`Session::begin`] begins.
    pub(super) fn to_server(connection: UnbufferedClientConnection, peer: Side) -> Session {
        Session::new(Protocol::ToServer(Box::new(connection)), peer)
    }

    /// A session with a client, who begins.
    pub(super) fn to_client(connection: UnbufferedServerConnection) -> Session {
        Session::new(Protocol::ToClient(Box::new(connection)), Side::Client)
    }

    fn new(protocol: Protocol, peer: Side) -> Session {
        Session {
            protocol,
            peer,
            kept: Vec::new(),
            unsent: Vec::new(),
            sent: 0,
            has_heard: false,
            is_ended: false,
            is_broken: false,
        }
    }

    /// Says what the side that begins says first.
    ///
    /// # Errors
    ///
    /// The connection is broken.
    pub fn begin(&mut self, socket: &mut impl Write, buffers: &mut Buffers) -> io::Result<()> {
        buffers.prepare();
        self.process(&mut [], 0..0, buffers)?;
        self.send(socket, buffers)
    }

    /// True until both sides have agreed, and data may go both ways.
    pub fn is_shaking(&self) -> bool {
        match &self.protocol {
            Protocol::ToServer(connection) => connection.is_handshaking(),
            Protocol::ToClient(connection) => connection.is_handshaking(),
        }
    }

    /// Until when the peer's certificate is good, in milliseconds since 1970; `None` if it has shown none, or none yet.
    pub fn peer_expiry(&self) -> Option<u64> {
        let shown = match &self.protocol {
            Protocol::ToServer(connection) => connection.peer_certificates(),
            Protocol::ToClient(connection) => connection.peer_certificates(),
        };
        let own = Certificate::read(shown?.first()?)?;
        Some(own.until.max(0) as u64 * 1000)
    }

    /// True once the peer has said anything at all.
    pub fn has_heard(&self) -> bool {
        self.has_heard
    }

    /// Reads at most `asked` bytes of ciphertext, and puts the plaintext of all whole records at the start of the area,
    /// which is larger than 120 kB. What has to be answered is answered. `count` may be 0 though something has come.
    ///
    /// # Errors
    ///
    /// The connection is broken; with `ErrorKind::InvalidData` because of what the peer said, or is.
    pub fn receive<S: Read + Write>(
        &mut self,
        socket: &mut S,
        area: &mut [u8],
        asked: usize,
        buffers: &mut Buffers,
    ) -> io::Result<Incoming> {
        if self.is_broken {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let start = GAP + self.kept.len();
        area[GAP..start].copy_from_slice(&self.kept);
        let asked = asked.min(area.len() - start);
        let got = loop {
            match socket.read(&mut area[start..start + asked]) {
                Ok(got) => break got,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Incoming::NOTHING),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        };
        if got == 0 {
            return Ok(Incoming { count: 0, is_drained: true, is_ended: true });
        }
        self.has_heard = true;
        buffers.prepare();
        let end = start + got;
        if self.is_shaking() && is_plain(&area[GAP..end]) {
            return Err(self.turn_away(socket, &area[GAP..end]));
        }
        let processed = self.process(area, GAP..end, buffers);
        // What the protocol has to say about it goes out in any case.
        let sent = self.send(socket, buffers);
        let (count, rest) = processed?;
        sent?;
        self.keep(&area[rest..end])?;
        Ok(Incoming { count, is_drained: got < asked, is_ended: self.is_ended })
    }

    /// Takes in what the slices have, in order, and returns how many bytes were taken: fewer than all mean that the
    /// socket is full. What was taken is on its way, though some of it may wait here: see [`Session::has_unsent`].
    ///
    /// # Errors
    ///
    /// The connection is broken.
    pub fn write(
        &mut self,
        socket: &mut impl Write,
        slices: &[IoSlice<'_>],
        buffers: &mut Buffers,
    ) -> io::Result<usize> {
        if self.is_broken {
            return Err(io::ErrorKind::NotConnected.into());
        }
        if !self.flush(socket)? || self.is_shaking() {
            return Ok(0);
        }
        let mut taken = 0;
        let mut source = Gathered { slices, offset: 0 };
        loop {
            buffers.prepare();
            for _ in 0..RECORDS_AT_ONCE {
                let count = source.copy_to(&mut buffers.plain);
                if count > 0 {
                    self.encrypt(count, buffers)?;
                    taken += count;
                }
            }
            if buffers.filled == 0 {
                return Ok(taken);
            }
            self.send(socket, buffers)?;
            if self.has_unsent() {
                return Ok(taken);
            }
        }
    }

    /// Writes what the socket has not taken before. True exactly when nothing of it is left.
    ///
    /// # Errors
    ///
    /// The connection is broken.
    pub fn flush(&mut self, socket: &mut impl Write) -> io::Result<bool> {
        while self.has_unsent() {
            match write_some(socket, &self.unsent[self.sent..])? {
                0 => return Ok(false),
                count => self.sent += count,
            }
        }
        (self.unsent, self.sent) = (Vec::new(), 0);
        Ok(true)
    }

    /// Ciphertext that it holds: of something that has not come whole, or that the socket did not take; in bytes.
    pub fn held(&self) -> usize {
        self.kept.capacity() + self.unsent.capacity()
    }

    /// True exactly when there is something that the socket has not taken yet.
    pub fn has_unsent(&self) -> bool {
        self.sent < self.unsent.len()
    }

    /// Says the end to the peer, as far as the socket takes it; to be called before it is closed. True exactly when
    /// nothing is left to be sent.
    pub fn close(&mut self, socket: &mut impl Write, buffers: &mut Buffers) -> bool {
        buffers.prepare();
        if !self.is_broken && !self.is_shaking() {
            let (kept, records) = (&mut self.kept[..], &mut buffers.records[..]);
            buffers.filled = match &mut self.protocol {
                Protocol::ToServer(connection) => close_notify(connection.process_tls_records(kept), records),
                Protocol::ToClient(connection) => close_notify(connection.process_tls_records(kept), records),
            };
        }
        // A socket that is broken has nothing to wait for.
        self.send(socket, buffers).is_err() || !self.has_unsent()
    }

    /// Goes through what has come, which is in this range of the area. Returns how much plaintext there is, and where
    /// the bytes begin of which nothing can be made yet.
    fn process(
        &mut self,
        area: &mut [u8],
        range: std::ops::Range<usize>,
        buffers: &mut Buffers,
    ) -> io::Result<(usize, usize)> {
        let (mut count, mut at) = (0, range.start);
        loop {
            let (front, back) = area.split_at_mut(at);
            let input = &mut back[..range.end - at];
            let mut out = Out { plain: &mut front[count..], count: 0, buffers };
            let (discard, step) = match &mut self.protocol {
                Protocol::ToServer(connection) => out.act(connection.process_tls_records(input), self.peer),
                Protocol::ToClient(connection) => out.act(connection.process_tls_records(input), self.peer),
            };
            count += out.count;
            at += discard;
            match step {
                Ok(Step::Again) => {}
                Ok(Step::Ended) => self.is_ended = true,
                Ok(Step::Blocked) => return Ok((count, at)),
                Err(error) => {
                    self.say_why(buffers);
                    return Err(error);
                }
            }
        }
    }

    /// What the protocol has to say to the peer about the error that it has found; it is not asked for anything more.
    fn say_why(&mut self, buffers: &mut Buffers) {
        self.is_broken = true;
        while self.wants_write() {
            let mut out = Out { plain: &mut [], count: 0, buffers };
            let (_, step) = match &mut self.protocol {
                Protocol::ToServer(connection) => out.act(connection.process_tls_records(&mut []), self.peer),
                Protocol::ToClient(connection) => out.act(connection.process_tls_records(&mut []), self.peer),
            };
            if step.is_err() {
                return;
            }
        }
    }

    /// True exactly when the protocol has something to say.
    fn wants_write(&self) -> bool {
        match &self.protocol {
            Protocol::ToServer(connection) => connection.wants_write(),
            Protocol::ToClient(connection) => connection.wants_write(),
        }
    }

    /// A peer that does not speak TLS: a client that speaks Redis's language is told so in that. One that asks whether
    /// rmux is alive knows it by that, and nothing is wrong: `ErrorKind::ConnectionAborted`.
    fn turn_away(&mut self, socket: &mut impl Write, words: &[u8]) -> io::Error {
        if let Side::Client = self.peer {
            // It is closed in any case.
            let _ = socket.write(b"-ERR this port speaks TLS, and nothing else\r\n");
            if words == HEALTHCHECK {
                return io::ErrorKind::ConnectionAborted.into();
            }
        }
        plain_peer(self.peer, words)
    }

    /// Keeps ciphertext of which nothing can be made yet.
    fn keep(&mut self, rest: &[u8]) -> io::Result<()> {
        let kept_max = match self.protocol {
            Protocol::ToClient(_) if self.is_shaking() => CLIENT_KEPT_MAX,
            _ => KEPT_MAX,
        };
        if rest.len() > kept_max {
            return Err(protocol_error("a message of the TLS handshake is too long"));
        }
        self.kept = match rest {
            [] => Vec::new(),
            rest => rest.to_vec(),
        };
        Ok(())
    }

    /// Makes a record of so many bytes of the plain buffer.
    fn encrypt(&mut self, count: usize, buffers: &mut Buffers) -> io::Result<()> {
        loop {
            let mut out = Out { plain: &mut [], count: 0, buffers };
            // It remembers what it has seen of that.
            let kept = &mut self.kept[..];
            let (discard, is_done) = match &mut self.protocol {
                Protocol::ToServer(connection) => {
                    out.encrypt(connection.process_tls_records(kept), self.peer, count)?
                }
                Protocol::ToClient(connection) => {
                    out.encrypt(connection.process_tls_records(kept), self.peer, count)?
                }
            };
            self.kept.drain(..discard);
            if is_done {
                return Ok(());
            }
        }
    }

    /// Writes the records of the buffers, and keeps what the socket does not take.
    fn send(&mut self, socket: &mut impl Write, buffers: &mut Buffers) -> io::Result<()> {
        let records = &buffers.records[..std::mem::take(&mut buffers.filled)];
        if records.is_empty() {
            return Ok(());
        }
        let sent = if self.flush(socket)? { write_some(socket, records)? } else { 0 };
        self.unsent.extend_from_slice(&records[sent..]);
        Ok(())
    }
}

#[cfg(test)]
impl Session {
    /// True exactly when it has no buffer at all.
    pub fn owns_nothing(&self) -> bool {
        self.held() == 0
    }

    /// Ciphertext that waits for the socket.
    pub fn unsent_bytes(&self) -> usize {
        self.unsent.len() - self.sent
    }

    /// True exactly when both sides knew each other from a session before.
    pub fn is_resumed(&self) -> bool {
        let kind = match &self.protocol {
            Protocol::ToServer(connection) => connection.handshake_kind(),
            Protocol::ToClient(connection) => connection.handshake_kind(),
        };
        kind == Some(rustls::HandshakeKind::Resumed)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("kept", &self.kept.len()).field("sent", &self.sent).finish_non_exhaustive()
    }
}

/// One write, which a full socket does not fail; 0 if it is full.
fn write_some(socket: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match socket.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            result => return result,
        }
    }
}

fn close_notify<Data>(status: UnbufferedStatus<'_, '_, Data>, records: &mut [u8]) -> usize {
    match status.state {
        Ok(ConnectionState::WriteTraffic(mut traffic)) => traffic.queue_close_notify(records).unwrap_or(0),
        _ => 0,
    }
}

/// Where a step of the protocol puts what it makes.
struct Out<'a> {
    plain: &'a mut [u8],
    /// Bytes of plaintext that were put there.
    count: usize,
    buffers: &'a mut Buffers,
}

impl Out<'_> {
    /// Does what this state of the protocol asks for. Returns how many bytes of the input are done, and what is next.
    fn act<Data>(&mut self, status: UnbufferedStatus<'_, '_, Data>, peer: Side) -> (usize, io::Result<Step>) {
        let UnbufferedStatus { mut discard, state } = status;
        let step = match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
                match traffic.next_record() {
                    None => break Ok(Step::Again),
                    Some(Err(error)) => break Err(broken(&error, peer)),
                    Some(Ok(record)) => {
                        discard += record.discard;
                        let end = self.count + record.payload.len();
                        let Some(room) = self.plain.get_mut(self.count..end) else {
                            break Err(protocol_error("a TLS record holds more than it may"));
                        };
                        room.copy_from_slice(record.payload);
                        self.count = end;
                    }
                }
            },
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                self.put(|records| data.encode(records).map_err(required)).map(|()| Step::Again)
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                // It is sent in this order, if not at once.
                data.done();
                Ok(Step::Again)
            }
            Ok(ConnectionState::PeerClosed) => Ok(Step::Ended),
            Ok(_) => Ok(Step::Blocked),
            Err(error) => Err(broken(&error, peer)),
        };
        (discard, step)
    }

    /// Makes a record of the plain buffer's first bytes. Returns how many bytes of the input are done, and whether it
    /// was made, or something else had to be done first.
    fn encrypt<Data>(
        &mut self,
        status: UnbufferedStatus<'_, '_, Data>,
        peer: Side,
        count: usize,
    ) -> io::Result<(usize, bool)> {
        let discard = status.discard;
        let Ok(ConnectionState::WriteTraffic(mut traffic)) = status.state else {
            return match self.act(status, peer) {
                (discard, Ok(Step::Again | Step::Ended)) => Ok((discard, false)),
                (_, Ok(Step::Blocked)) => Err(io::ErrorKind::NotConnected.into()),
                (_, Err(error)) => Err(error),
            };
        };
        let Buffers { plain, records, filled } = &mut *self.buffers;
        match traffic.encrypt(&plain[..count], &mut records[*filled..]) {
            Ok(written) => {
                *filled += written;
                Ok((discard, true))
            }
            Err(_) => Err(protocol_error("the keys of the TLS session are used up")),
        }
    }

    /// Puts something behind the records, for which there may have to be more room.
    fn put(&mut self, mut encode: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>) -> io::Result<()> {
        let Buffers { records, filled, .. } = &mut *self.buffers;
        loop {
            match encode(&mut records[*filled..]) {
                Ok(written) => {
                    *filled += written;
                    return Ok(());
                }
                Err(Some(required)) if required > records.len() - *filled => records.resize(*filled + required, 0),
                Err(_) => return Err(protocol_error("a TLS message cannot be encoded")),
            }
        }
    }
}

/// How much room it takes.
fn required(error: EncodeError) -> Option<usize> {
    match error {
        EncodeError::InsufficientSize(size) => Some(size.required_size),
        EncodeError::AlreadyEncoded => None,
    }
}

/// Bytes of several slices, as one.
struct Gathered<'a, 'b> {
    slices: &'a [IoSlice<'b>],
    /// Bytes of the first slice that were taken.
    offset: usize,
}

impl Gathered<'_, '_> {
    /// Copies as many bytes as there is room for, and returns how many.
    fn copy_to(&mut self, room: &mut [u8]) -> usize {
        let mut count = 0;
        while let [first, rest @ ..] = self.slices {
            let bytes = &first[self.offset..];
            let length = bytes.len().min(room.len() - count);
            room[count..count + length].copy_from_slice(&bytes[..length]);
            count += length;
            if length < bytes.len() {
                self.offset += length;
                break;
            }
            (self.slices, self.offset) = (rest, 0);
        }
        count
    }
}
