//! The sockets of one reactor, each under the id of its connection.
//!
//! The tables are indexed by the slots of the proxy's ids; the generation is compared, so that an event that comes late
//! finds nothing. Invariant: a socket is in its table from `add` until the proxy's `Action::Close` for the same id, and
//! the proxy gives a slot to somebody else only after that.

use std::io::{self, IoSlice, Write};

use mio::{Interest, Registry, Token};

use crate::net::Stream;
use crate::proxy::{Conn, Wire};
use crate::slots::Id;

/// A connection's socket, and what is known of its readiness.
pub(super) struct Socket {
    id: Id,
    pub stream: Stream,
    /// True until a read has found the end of what there is.
    pub is_readable: bool,
    /// True once the peer has said that no more will come.
    pub is_ending: bool,
    /// True while it stands on the ready list.
    pub is_queued: bool,
}

/// All sockets of a reactor.
#[derive(Default)]
pub(super) struct Sockets {
    clients: Vec<Option<Socket>>,
    backends: Vec<Option<Socket>>,
    /// Those of clients that are to be closed. It takes the kernel some time, and there may be thousands of them.
    closing: Vec<Socket>,
}

/// Accepted connections in one turn; with several reactors, what one leaves the others take.
pub(super) const ACCEPTS_MAX: usize = 64;

/// Clients' sockets that are closed at one go: more than are accepted, so that no more descriptors are open than there
/// may be clients.
const CLOSES_MAX: usize = 2 * ACCEPTS_MAX;

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
    /// Makes room for so many clients, so that the table does not have to grow among other things.
    pub fn reserve(&mut self, clients: usize) {
        self.clients.reserve_exact(clients);
    }

    /// Takes in the socket of a connection and watches it, in both directions, for good.
    pub fn add(&mut self, conn: Conn, mut stream: Stream, registry: &Registry) -> io::Result<()> {
        let (table, id) = self.table(conn);
        if id.slot() >> SLOT_BITS != 0 {
            return Err(io::Error::other("more than 16,777,216 connections"));
        }
        registry.register(&mut stream, token(conn), Interest::READABLE | Interest::WRITABLE)?;
        if table.len() <= id.slot() {
            table.resize_with(id.slot() + 1, || None);
        }
        table[id.slot()] = Some(Socket { id, stream, is_readable: false, is_ending: false, is_queued: false });
        Ok(())
    }

    /// Closes the socket of a connection, if it has one: a backend's at once, a client's with `close_some`.
    pub fn remove(&mut self, conn: Conn) {
        if self.get_mut(conn).is_some() {
            let (table, id) = self.table(conn);
            let socket = table[id.slot()].take();
            if let Conn::Client(_) = conn {
                self.closing.extend(socket);
            }
        }
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
}

impl Wire for Sockets {
    #[inline]
    fn write(&mut self, conn: Conn, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let Some(socket) = self.get_mut(conn) else {
            // It is being closed; nobody will miss these bytes.
            return Err(io::ErrorKind::NotConnected.into());
        };
        loop {
            let result = match slices {
                [slice] => socket.stream.write(slice),
                slices => socket.stream.write_vectored(slices),
            };
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
                result => return result,
            }
        }
    }
}
