//! Why a backend is closed: who caused it, in whose words, and what the log is told.
//!
//! Knows nothing of what follows from it: for the server that is `health`'s business, for what it owed `recover`'s.

use std::fmt;

use crate::backend::TlsStage;
use crate::notice::Kind;
use crate::resp::ProtocolError;

/// The first byte of what a peer says that speaks TLS to somebody who does not.
pub(super) const TLS_ALERT: u8 = 21;

/// Why a backend is closed.
#[derive(Debug)]
pub(super) enum BackendCloseReason {
    /// It could not be connected: the reason is the system's.
    Connect(String),
    /// It was not connected and ready within `remoteConnectTimeout`; so far it had come with TLS.
    ConnectTimeout(TlsStage),
    /// The server answered a handshake with this.
    Refused(String),
    /// The server closed the connection.
    End,
    /// The server ended a new connection, without TLS, before it had answered anything: in which way.
    Unheard(String),
    /// The socket broke: the reason is the system's.
    Broken(String),
    /// Bytes came that nobody had asked for.
    UnsolicitedReply,
    /// What came is not the Redis protocol.
    ProtocolError(ProtocolError),
    /// The server took nothing for `remoteWriteTimeout`.
    WriteTimeout,
    /// The rest of a large reply did not come within `remoteReadTimeout`.
    Stalled,
    /// It hears messages, and does not answer within `remoteReadTimeout`.
    SubscribeTimeout,
    /// It was to take no new requests, after one that timed out, was sent by half, or could not wait for a huge reply,
    /// or since there are too many or its server is removed; all that could still be answered is.
    Drained,
    /// It was of no use for a while.
    Idle,
    /// The client that had it for itself is gone.
    OwnerGone,
    /// Its server was removed some time ago.
    Retired,
    /// It is no master: it says what it is.
    NotMaster(String),
    /// Another server is the master from now on.
    Moved,
    /// Its server's name has other addresses since some time ago.
    Outdated,
}

impl fmt::Display for BackendCloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BackendCloseReason::Connect(reason) => write!(f, "cannot connect: {reason}"),
            BackendCloseReason::ConnectTimeout(TlsStage::Plain) => {
                f.write_str("no handshake within remoteConnectTimeout")
            }
            BackendCloseReason::ConnectTimeout(TlsStage::Asked) => {
                f.write_str("no answer to the TLS hello within remoteConnectTimeout; does it speak TLS on this port?")
            }
            BackendCloseReason::ConnectTimeout(TlsStage::Answered) => {
                f.write_str("the TLS handshake was not finished within remoteConnectTimeout")
            }
            BackendCloseReason::Refused(reply) => write!(f, "it refuses us: {reply}"),
            BackendCloseReason::End => f.write_str("it closed the connection"),
            BackendCloseReason::Unheard(how) => {
                write!(f, "{how}, before it had answered anything; does it want TLS on this port (remoteTls)?")
            }
            BackendCloseReason::Broken(reason) => write!(f, "connection lost: {reason}"),
            BackendCloseReason::UnsolicitedReply => {
                f.write_str("it sent a reply that nobody had asked for; those before it may have reached others")
            }
            BackendCloseReason::ProtocolError(ProtocolError::ReplyType(TLS_ALERT)) => {
                f.write_str("it speaks TLS on this port: give remoteTls")
            }
            BackendCloseReason::ProtocolError(error) => write!(f, "it does not speak the Redis protocol: {error}"),
            BackendCloseReason::WriteTimeout => f.write_str("it took no bytes for remoteWriteTimeout"),
            BackendCloseReason::Stalled => f.write_str("half of a reply came, and no more within remoteReadTimeout"),
            BackendCloseReason::SubscribeTimeout => {
                f.write_str("it does not confirm subscriptions within remoteReadTimeout")
            }
            BackendCloseReason::Drained => f.write_str("it took no new requests, and all that could be answered is"),
            BackendCloseReason::Idle => f.write_str("no longer needed"),
            BackendCloseReason::OwnerGone => f.write_str("the client that held it is gone"),
            BackendCloseReason::Retired => f.write_str("its server is removed"),
            BackendCloseReason::NotMaster(role) => write!(f, "it is no master: {role}"),
            BackendCloseReason::Moved => f.write_str("another server is the master now"),
            BackendCloseReason::Outdated => f.write_str("the name of its server has other addresses"),
        }
    }
}

impl BackendCloseReason {
    /// True exactly when the server is out of reach, or refuses us: who wanted to reach it is told that and no more.
    pub fn is_connection_down(&self) -> bool {
        matches!(
            self,
            BackendCloseReason::Connect(_)
                | BackendCloseReason::ConnectTimeout(_)
                | BackendCloseReason::Refused(_)
                | BackendCloseReason::NotMaster(_)
        )
    }

    /// What the log is told about a connection that was of use until then, and had so many requests outstanding.
    pub fn notice(&self, outstanding: usize) -> Option<Kind> {
        match self {
            BackendCloseReason::End | BackendCloseReason::Unheard(_) | BackendCloseReason::Broken(_) => {
                (outstanding > 0).then_some(Kind::Lost)
            }
            BackendCloseReason::UnsolicitedReply => Some(Kind::Surplus),
            BackendCloseReason::ProtocolError(_) => Some(Kind::Garbage),
            BackendCloseReason::WriteTimeout | BackendCloseReason::Stalled => Some(Kind::Stalled),
            BackendCloseReason::SubscribeTimeout => Some(Kind::Subscription),
            BackendCloseReason::Refused(_)
            | BackendCloseReason::Connect(_)
            | BackendCloseReason::ConnectTimeout(_)
            | BackendCloseReason::NotMaster(_) => Some(Kind::Refused),
            BackendCloseReason::Drained
            | BackendCloseReason::Idle
            | BackendCloseReason::OwnerGone
            | BackendCloseReason::Retired
            | BackendCloseReason::Moved
            | BackendCloseReason::Outdated => None,
        }
    }

    /// Why a connection could not be made, by `stats::FAILURES`.
    pub fn failure(&self) -> usize {
        match self {
            BackendCloseReason::Connect(_) => 0,
            BackendCloseReason::ConnectTimeout(_) => 1,
            BackendCloseReason::Refused(_) | BackendCloseReason::NotMaster(_) => 2,
            _ => 3,
        }
    }

    /// True exactly when it says something about the server, and not only about what rmux wants of it.
    pub fn blames_server(&self) -> bool {
        !matches!(
            self,
            BackendCloseReason::Drained
                | BackendCloseReason::Idle
                | BackendCloseReason::OwnerGone
                | BackendCloseReason::Retired
                | BackendCloseReason::NotMaster(_)
                | BackendCloseReason::Moved
                | BackendCloseReason::Outdated
        )
    }

    /// True exactly when it may be elsewhere by now.
    pub fn doubts_place(&self) -> bool {
        self.blames_server() || matches!(self, BackendCloseReason::NotMaster(_))
    }
}
