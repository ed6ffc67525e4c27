//! The TLS sessions of one reactor, each under the id of its connection, and the clients that shake hands.
//!
//! A connection without TLS has none, and costs nothing here. Invariant: a session is in its table exactly while its
//! socket is marked as one inside of TLS, until it is taken out to be closed.
//!
//! ```text
//!   client ─► shaking, until a deadline ─► in use ─► closing: what is still to be sent is sent ─► closed
//! ```

use std::collections::VecDeque;

use crate::net::{Buffers, LocalTls, RemoteTls, Session, Stream};
use crate::proxy::Conn;
use crate::slots::Id;
use crate::timer::Millis;

/// How long a client may shake hands, in milliseconds, and how long one that was told the end may take for it.
pub(super) const HANDSHAKE_MS: u64 = 10_000;

/// Of those that are closing, so many are looked at in one turn.
const CLOSING_MAX: usize = 64;

/// What of a reactor's connections is inside of TLS.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// Those to servers that are reached over TCP, if they are.
    pub remote: Option<RemoteTls>,
    /// Those of clients, if they are.
    pub local: Option<LocalTls>,
}

/// All sessions of a reactor.
#[derive(Default)]
pub(super) struct Sessions {
    clients: Vec<Option<Box<Session>>>,
    backends: Vec<Option<Box<Session>>>,
    pub buffers: Buffers,
    /// Clients that began to shake hands, in this order, and until when they may.
    shaking: VecDeque<(Millis, Id)>,
    /// Those that have more to send than their sockets took, and are closed then, or at this time.
    closing: VecDeque<(Millis, Stream, Box<Session>)>,
    /// The time of this turn.
    now: Millis,
    /// Ciphertext that all of them hold, in bytes, and how much was told of last.
    held: usize,
    held_told: usize,
}

impl Sessions {
    fn table(&mut self, conn: Conn) -> (&mut Vec<Option<Box<Session>>>, Id) {
        match conn {
            Conn::Client(id) => (&mut self.clients, id),
            Conn::Backend(id) => (&mut self.backends, id),
        }
    }

    /// Takes in the session of a connection.
    pub fn add(&mut self, conn: Conn, session: Session) {
        if let Conn::Client(id) = conn {
            self.shaking.push_back((self.now + HANDSHAKE_MS, id));
        }
        let (table, id) = self.table(conn);
        if table.len() <= id.slot() {
            table.resize_with(id.slot() + 1, || None);
        }
        table[id.slot()] = Some(Box::new(session));
    }

    /// The session of a connection that has one, and the buffers that it works with.
    pub fn get(&mut self, conn: Conn) -> Option<(&mut Session, &mut Buffers)> {
        let (table, id) = match conn {
            Conn::Client(id) => (&mut self.clients, id),
            Conn::Backend(id) => (&mut self.backends, id),
        };
        let session = table.get_mut(id.slot())?.as_deref_mut()?;
        Some((session, &mut self.buffers))
    }

    /// A session that held so many bytes holds so many now.
    pub fn on_held(&mut self, before: usize, after: usize) {
        self.held = self.held - before + after;
    }

    /// How much ciphertext all of them hold, in bytes, if that has changed since it was asked for.
    #[inline]
    pub fn poll_held(&mut self) -> Option<usize> {
        if self.held == self.held_told {
            return None;
        }
        self.held_told = self.held;
        Some(self.held)
    }

    /// Of the clients that shake hands, the ones that hold something, those that began first before others.
    pub fn shaking_holders(&self) -> impl Iterator<Item = (Id, usize)> {
        self.shaking.iter().filter_map(|&(_, id)| {
            let session = self.clients.get(id.slot())?.as_deref()?;
            Some((id, session.held())).filter(|(_, held)| *held > 0 && session.is_shaking())
        })
    }

    /// Takes the session of a connection out, after it was told the end. Gives the stream back if nothing is left to be
    /// sent; otherwise it is closed later.
    pub fn remove(&mut self, conn: Conn, mut stream: Stream) -> Option<Stream> {
        let (table, id) = self.table(conn);
        let Some(mut session) = table.get_mut(id.slot()).and_then(Option::take) else { return Some(stream) };
        let before = session.held();
        if session.close(&mut stream, &mut self.buffers) || matches!(conn, Conn::Backend(_)) {
            self.on_held(before, 0);
            return Some(stream);
        }
        self.on_held(before, session.held());
        self.closing.push_back((self.now + HANDSHAKE_MS, stream, session));
        None
    }

    /// When the next of those that shake hands, or are closing, is late.
    pub fn next_deadline(&self) -> Option<Millis> {
        let shaking = self.shaking.front().map(|(until, _)| *until);
        shaking.into_iter().chain(self.closing.front().map(|(until, ..)| *until)).min()
    }

    /// The next client of which the time for shaking hands is over. It may be done with that, or gone.
    pub fn poll_late(&mut self, now: Millis) -> Option<Id> {
        self.shaking.front().filter(|(until, _)| *until <= now)?;
        self.shaking.pop_front().map(|(_, id)| id)
    }

    /// True exactly when nobody has anything left to be sent before it is closed.
    pub fn is_settled(&self) -> bool {
        self.closing.is_empty()
    }

    /// A turn begins: sends what those have to send that are closing, as far as their sockets take it.
    #[inline]
    pub fn handle_turn(&mut self, now: Millis) {
        self.now = now;
        if !self.is_settled() {
            self.close_some(now);
        }
    }

    #[cold]
    fn close_some(&mut self, now: Millis) {
        for _ in 0..self.closing.len().min(CLOSING_MAX) {
            let Some((until, mut stream, mut session)) = self.closing.pop_front() else { return };
            let before = session.held();
            if until > now && matches!(session.flush(&mut stream), Ok(false)) {
                self.closing.push_back((until, stream, session));
            } else {
                self.on_held(before, 0);
            }
        }
    }
}
