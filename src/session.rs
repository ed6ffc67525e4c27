//! A session: what a connection is set to, and what a client has told about itself.
//!
//! Redis keeps one for each connection: the database, the version of the protocol, the user, a name, whether replies
//! are wanted. rmux keeps a client's here, for as long as its connection lasts, and no backend ever has it: of a
//! backend only the [`Profile`] is set, and that is what its requests need.
//!
//! Knows no bytes of requests and no connections. Invariant: there is no blank in the library's name or version.

use crate::users::UserId;

/// The version of the protocol in which replies are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Protocol {
    /// RESP2, with which every connection begins.
    #[default]
    Resp2,
    /// RESP3, after `HELLO 3`.
    Resp3,
}

/// What a backend's session is set to, and what a client needs it to be set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Profile {
    /// The number of the selected database.
    pub database: u32,
    /// The version of the protocol.
    pub protocol: Protocol,
}

/// What a client has told about itself; all of it lives as long as the connection.
#[derive(Debug, Default)]
pub struct Session {
    /// Database and protocol.
    pub profile: Profile,
    /// Who it is.
    pub user: UserId,
    /// Which of its requests are answered.
    pub reply_mode: ReplyMode,
    /// The name that it gave itself with `CLIENT SETNAME` or `HELLO … SETNAME`; empty for none.
    pub name: Box<str>,
    /// Its library and that one's version, a blank between them; empty for neither. One text, since every client has
    /// room for it.
    library: Box<str>,
}

impl Session {
    /// True exactly when it gets a reply to each of its requests.
    pub fn takes_all_replies(&self) -> bool {
        self.reply_mode == ReplyMode::On
    }

    /// Its library, as told by `CLIENT SETINFO LIB-NAME`, and the version, as told by `LIB-VER`; empty for none.
    pub fn library(&self) -> (&str, &str) {
        self.library.split_once(' ').unwrap_or_default()
    }

    /// It tells its library and that one's version. There is no blank in either of them.
    pub fn set_library(&mut self, name: &str, version: &str) {
        debug_assert!(!name.contains(' ') && !version.contains(' '));
        self.library = [name, version].join(" ").into();
    }
}

/// Which requests are answered, as `CLIENT REPLY` has it. The others are run all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReplyMode {
    /// All of them.
    #[default]
    On,
    /// All but the next one.
    SkipNext,
    /// None.
    Off,
}

impl ReplyMode {
    /// Whether the reply to the request that is dealt with now is dropped. To be asked once for each request.
    #[inline]
    pub fn take(&mut self) -> bool {
        match *self {
            ReplyMode::On => false,
            ReplyMode::SkipNext => {
                *self = ReplyMode::On;
                true
            }
            ReplyMode::Off => true,
        }
    }
}
