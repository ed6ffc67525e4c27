//! Whether a client is listened to, and why not: its state, and which one may follow which; and what it may ask for.
//!
//! The drawing of it is that of the client. Knows nothing else of clients; an id in here is that of what is waited for.

use crate::request::RequestId;
use crate::server_id::ServerId;
use crate::slots::Id;
use crate::timer::Millis;

/// What a client may ask for. Anything but `Plain` takes its requests another way; the others pay one comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Everything.
    #[default]
    Plain,
    /// Only to be let in: it has not said who it is, and there are passwords.
    Unauthenticated,
}

/// What a parked client waits for at a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Room for one more request on a shared backend.
    Room,
    /// A backend for itself.
    Lease,
    /// The same, for no other reason than that it has much in flight or unread: with less it can do without.
    Bulk,
    /// The backend that carried its last write, for itself.
    LastWriter,
}

/// Whether a client is listened to, and why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// It may send the next request.
    Open,
    /// It must take some replies first, or it waits for connections of its own (see the proxy's `bulk`).
    Paused {
        /// Since when, or since it last took something.
        since: Millis,
        /// True if it waits for nothing but that: its next request is one that rmux answers, and no server could keep
        /// the reply.
        is_full: bool,
    },
    /// Its next request waits until this backend, which it has for itself, has sent some of what it was given.
    Throttled {
        /// The backend.
        backend: Id,
    },
    /// Its next request waits until a backend of this server can take it, or until this point in time.
    AwaitingBackend {
        /// Index of the server.
        server: ServerId,
        /// What it needs there.
        need: Need,
        /// When the wait is given up.
        deadline: Millis,
    },
    /// Its next request waits until those that it has outstanding at this server are answered: they stand in the line
    /// of a backend that can not take it.
    AwaitingOwnReplies {
        /// Index of the server.
        server: ServerId,
    },
    /// Its next request waits until the servers have confirmed what it has subscribed to, or, if it publishes, what
    /// others have.
    Subscribing,
    /// It has asked about the whole pool, and its next request waits until the other proxies have answered.
    Asking,
    /// It gave a wrong password, and is told so at this point in time.
    Denied {
        /// Keeps the place of the reply.
        request: RequestId,
        /// When it has its reply.
        until: Millis,
    },
    /// Its next request is about all clients, and more work than this turn still does: it waits for the next one.
    Deferred,
    /// It waits for data (`BLPOP` …) on this backend, which it has for itself.
    BlockedOnCommand {
        /// The backend.
        backend: Id,
    },
    /// A large request is passed on as it arrives: to this backend, or to nobody when that one is lost.
    Uploading {
        /// The backend that takes it; [`Id::NONE`] when the rest is thrown away.
        backend: Id,
        /// The request.
        request: RequestId,
    },
    /// Nothing more is read; what is outstanding is answered, then the connection is closed.
    Leaving,
    /// Closed; the slot is reaped at the end of the turn.
    Closed,
}

impl Flow {
    /// True exactly when a client may go from this state to that one: the drawing at the head of `client`, in code.
    pub fn may_become(self, next: Flow) -> bool {
        use Flow::{Asking, AwaitingOwnReplies, BlockedOnCommand, Closed, Leaving, Open, Paused, Uploading};
        match (self, next) {
            (Closed, _) => false,
            (_, Closed) => true,
            (Leaving, _) => next == Leaving,
            // What keeps it waiting is over, or given up.
            (_, Open) => self != Open,
            (Open, _) => true,
            // It is told that it waits in vain, that its request is wrong, or that it has killed itself.
            (Paused { .. } | Uploading { .. } | AwaitingOwnReplies { .. }, Leaving) => true,
            // There is no room for its request; that was an answer more that it has not read.
            (Paused { .. }, Uploading { .. }) => true,
            // The server has run the transaction; now the other proxies are asked.
            (AwaitingOwnReplies { .. }, Asking) => true,
            // When it was looked at last; which backend it is; that the rest of the request is thrown away.
            (Paused { .. }, Paused { .. })
            | (BlockedOnCommand { .. }, BlockedOnCommand { .. })
            | (Uploading { .. }, Uploading { .. }) => true,
            _ => false,
        }
    }

    /// True exactly when it is not listened to until some of its requests are answered.
    pub fn awaits_replies(self) -> bool {
        matches!(
            self,
            Flow::AwaitingBackend { .. }
                | Flow::AwaitingOwnReplies { .. }
                | Flow::Subscribing
                | Flow::Asking
                | Flow::Denied { .. }
                | Flow::BlockedOnCommand { .. }
        )
    }
}
