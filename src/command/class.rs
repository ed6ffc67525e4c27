//! What rmux does with a command, and what the command does to keys.
//!
//! Knows the kinds, and which replies become one in which way; knows no command's name, and no request.

use super::timeout::TimeoutAt;

/// What a command does to keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Only reads: may be sent a second time when the first answer was lost.
    Read,
    /// Writes, or may write (a script), or has another effect that must not happen twice (it moves a cursor).
    Write,
    /// Neither, as Redis flags it (`PING`, `PUBLISH`, `SCRIPT LOAD`); never sent a second time.
    None,
}

/// What rmux does with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Forwarded to the server of its keys, all of which must be on one server. A script may have none.
    Keyed,
    /// As `Keyed`, but when the keys are on several servers: one part for each, and the replies merged.
    Split(Merge),
    /// Has no key. With several servers: sent to every one, and the replies gathered.
    All(Gather),
    /// Has no key, and any server gives the same answer.
    Any,
    /// Has no key that a ring could place, and its answer is right only when there is one server; with several it is
    /// an error (`FT.SEARCH`, `MEMORY STATS`).
    Single,
    /// Goes to the server of its channel, which is argument 1 and of this family.
    Channel(Channels),
    /// Answered by rmux. `INFO` and `ROLE`: with one server they may as well be forwarded.
    Session(Session),
    /// Holds or changes the state of its connection.
    Lease(Lease),
    /// `-ERR This command is not supported`. Access and keys are those of Redis, for a configuration that allows it.
    Refused,
    /// Has no meaning of its own: look up the subcommand ([`super::Command::sub`]), and answer with an error when there
    /// is none.
    Container,
}

/// How the replies to the parts of a split command become one. An error in any part is the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// Integers are added.
    Sum,
    /// The elements of the arrays go back to the places of their keys. Arguments behind the last key belong to every
    /// part (the path of `JSON.MGET`).
    ByPosition,
    /// `+OK` when every part is.
    AllOk,
}

/// How the replies of all servers become one. An error from any server is the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gather {
    /// `SCAN`: one server after the other; the cursor carries which.
    Cursor,
    /// The elements of each, one server's behind the other's, as one aggregate of the same type.
    Concat,
    /// As `Concat`, each element once.
    Union,
    /// Integers are added.
    Sum,
    /// The greatest integer.
    Max,
    /// In arrays of equal form, place by place, the greatest integer, which is how many subscribe to a channel of this
    /// family, as far as a server knows.
    Subscribers(Channels),
    /// `+OK` when every one is.
    AllOk,
    /// All are equal; the first one stands for them.
    First,
    /// Arrays of 0 and 1: 1 where every server has 1.
    And,
    /// Any reply that is not nil, preferably not always the same server's.
    AnyKey,
    /// `+OK` when any is: who is to stop a script asks all. It goes out on connections that no script holds up, with
    /// one server too.
    Kill,
    /// For one server only: the reply without the hashes of passwords.
    Masked,
}

/// The commands that rmux answers itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // each is named for its command
pub enum Session {
    Ping,
    Echo,
    Quit,
    Select,
    Auth,
    Hello,
    Reset,
    /// `CLIENT` with all its subcommands.
    Client,
    /// `COMMAND` with all its subcommands.
    Command,
    ConfigGet,
    Info,
    Role,
    AclWhoami,
    /// `READONLY`, `READWRITE`, `ASKING`: what a cluster's client may say.
    ReadOnly,
    /// The subcommands of `CLUSTER` that only ask.
    Cluster,
    /// The subcommands of `RMUX`.
    Rmux(Rmux),
}

/// What rmux is asked about itself: the subcommands of `RMUX`, a command that no server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // each is named for its subcommand
pub enum Rmux {
    Help,
    Latency,
    Ring,
    Servers,
    Slowlog,
    Status,
}

/// The commands that hold or change the state of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // each is named for its command
pub enum Lease {
    Multi,
    Exec,
    Discard,
    Watch,
    Unwatch,
    /// May wait for data: ask [`super::Command::blocks`]. When it does not, it is as good as [`Class::Keyed`].
    Block(TimeoutAt),
    Subscribe(Channels),
    Unsubscribe(Channels),
    /// `WAIT` and `WAITAOF`: about the writes of their own connection.
    Wait,
}

/// The three families of subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    /// `SUBSCRIBE`.
    Exact,
    /// `PSUBSCRIBE`.
    Pattern,
    /// `SSUBSCRIBE`.
    Shard,
}
