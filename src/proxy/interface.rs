//! The words in which the core talks to the shell, and the sizes that it goes by.

use std::io::{self, IoSlice};

use crate::cluster::RefreshCause;
use crate::server_id::ServerId;
use crate::slots::Id;
use crate::timer::Millis;

/// What one turn may do of a kind of work that grows with the number of clients, in bytes that are moved; the rest is
/// put in proportion to that. About a millisecond.
pub(super) const TURN_WORK_MAX: usize = 1024 * 1024;
/// The deadline of what has none.
pub(super) const NO_DEADLINE: Millis = Millis(u64::MAX);
/// For more clients than this, no room is made in advance.
pub(super) const CLIENTS_EXPECTED_MAX: usize = 16 * 1024;
/// Boxes for kept bytes that wait for the next use.
pub(super) const SPARE_KEPT_MAX: usize = 64;
/// Slices in one gathered write.
pub(super) const SLICES_MAX: usize = 64;
/// A piece of this size or more is written straight from the read buffer, when the socket has room.
pub(super) const DIRECT_MIN: usize = 16 * 1024;
/// A reply of which more bytes than this are still to come is long.
pub(super) const LONG: usize = 1024 * 1024;
/// The most bytes that one read of a long reply brings.
pub(super) const READ_OF_LONG: usize = 64 * 1024;
/// A request or reply of more than this is passed on as it arrives.
pub(super) const LARGE: usize = 64 * 1024;

/// A connection, of either kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Conn {
    /// One that talks to us.
    Client(Id),
    /// One of ours to a server.
    Backend(Id),
}

/// What the shell must do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Connect this backend to its server, and say how it went.
    Connect {
        /// The new connection.
        backend: Id,
        /// The server.
        server: ServerId,
    },
    /// Look the name of this server up as soon as may be, and say when that is done, whatever came of it
    /// (`Proxy::handle_resolved`). Asked for often, it is done once.
    Resolve(ServerId),
    /// Behind the address of this server there is another one now: look its name up as soon as may be, and say that all
    /// of its present connections are outdated (`Proxy::handle_outdated`, `Proxy::handle_renewal`).
    Renew(ServerId),
    /// The map of the cluster's slots may not be true any more: ask for it again as soon as may be, and tell what is
    /// new (`Proxy::handle_slot_map`). Asked for often, it is done as often as a cluster can bear.
    Refresh(RefreshCause),
    /// Close the socket. The id is dead from here on.
    Close(Conn),
    /// Read this connection again, if its socket had more when reading stopped.
    Resume(Conn),
    /// Another process takes over: read this client once more, whatever is known of its socket. If there is nothing,
    /// `Proxy::may_dismiss` and `Proxy::handle_client_silent` follow.
    Dismiss(Id),
    /// Deliver the messages that `Proxy::poll_worker_message` has for other proxies of the same pool.
    Post,
}

/// Sends bytes at once, as far as a socket takes them.
pub trait Wire {
    /// Writes the slices in order and returns how many bytes were taken. Fewer than all means that the socket is full,
    /// and that `handle_writable` will follow.
    ///
    /// # Errors
    ///
    /// The connection is broken. (A full socket is not an error: it took 0 bytes.)
    fn write(&mut self, conn: Conn, slices: &[IoSlice<'_>]) -> io::Result<usize>;
}

/// Whom an entry of the timer wheel wakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timer {
    Client(Id),
    Backend(Id),
    Probe(ServerId),
    Subscription(ServerId),
    Retired(ServerId),
    Renewal(ServerId),
    Replica(ServerId),
    Moved(ServerId),
    Dismiss,
    Authenticate,
    Held,
    Redirected,
    Relocations,
}
