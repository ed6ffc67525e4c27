//! Why a client is closed: what the log is told, and when that is news.

use std::fmt;

use crate::notice::Kind;

/// Why a client is closed; in the order of `stats::CLIENT_CLOSE_REASONS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientCloseReason {
    /// It closed the connection, or said QUIT, and everything it was owed is sent.
    Done,
    /// Its socket broke.
    Broken,
    /// It speaks HTTP: it is closed without a word.
    Foreign,
    /// It was silent for `localReadTimeout`.
    ReadTimeout,
    /// It took nothing for `localWriteTimeout`.
    WriteTimeout,
    /// It stopped inside a request, and takes nothing either.
    RequestTimeout,
    /// It does not take its replies, and they became too many.
    Unread,
    /// The rest of a reply that it has the start of is lost.
    Truncated,
    /// Memory is short, and it has more than others.
    Memory,
    /// Another client said `CLIENT KILL`.
    Killed,
    /// Its user is none any more.
    UserGone,
    /// Another process takes over, and it had nothing in flight.
    Dismissed,
}

impl fmt::Display for ClientCloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ClientCloseReason::Done => "it has left",
            ClientCloseReason::Broken => "its socket is broken",
            ClientCloseReason::Foreign => "it sent an HTTP request; a cross-protocol attack?",
            ClientCloseReason::ReadTimeout => "it sent nothing for localReadTimeout",
            ClientCloseReason::WriteTimeout => "it took no reply for localWriteTimeout",
            ClientCloseReason::RequestTimeout => {
                "it stopped inside a request for localRequestTimeout, and takes no reply"
            }
            ClientCloseReason::Unread => "it leaves more replies unread than it may",
            ClientCloseReason::Memory => "bufferedBytesMax is reached, and it has most",
            ClientCloseReason::Killed => "another client killed it",
            ClientCloseReason::UserGone => "its user is none of the configuration any more",
            ClientCloseReason::Dismissed => "another process takes over",
            ClientCloseReason::Truncated => "a reply that it has half of was lost with its server",
        })
    }
}

impl ClientCloseReason {
    /// What the log is told, if it is not what happens every day.
    pub(super) fn notice(self) -> Option<Kind> {
        match self {
            ClientCloseReason::Done
            | ClientCloseReason::Broken
            | ClientCloseReason::ReadTimeout
            | ClientCloseReason::Killed
            | ClientCloseReason::UserGone
            | ClientCloseReason::Dismissed => None,
            ClientCloseReason::Foreign => Some(Kind::Http),
            ClientCloseReason::WriteTimeout | ClientCloseReason::Unread => Some(Kind::ClientUnread),
            ClientCloseReason::Truncated => Some(Kind::ClientTruncated),
            ClientCloseReason::Memory => Some(Kind::Memory),
            ClientCloseReason::RequestTimeout => Some(Kind::ClientStopped),
        }
    }
}
