//! What is not compared byte for byte, each with its reason.
//!
//! Whatever has no entry here must be equal to the byte. Three reasons are enough for all of them: Redis itself does
//! not answer the same twice (time, chance, the order in a hash table whose seed is its process's own); rmux answers
//! about itself, as its manual says; one call is not one reply.

use rmux::command::{self, Class, Command, Gather, Lease, Session};

/// How the replies to a call are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// Byte for byte.
    Exactly,
    /// Elements of aggregates in any order.
    InAnyOrder,
    /// An error byte for byte; of everything else the type only.
    ByType,
    /// Byte for byte, but all numbers above ten thousand are one.
    WithoutClock,
    /// Not sent to Redis, which gets a command that does not exist: rmux says that it does not support this.
    Refused,
    /// Both must be errors; the words may differ.
    AnyError,
    /// Not sent at all, unless the number of arguments is wrong.
    NotSent,
}

/// Commands, or subcommands with `|` before them, separated by blanks.
pub const EXCEPTIONS: &[(&str, Compared, &str)] = &[
    ("smembers sinter sunion sdiff keys", Compared::InAnyOrder, "a hash table's order depends on its server's seed"),
    ("command|docs command|list command acl|cat", Compared::InAnyOrder, "the table of commands is a hash table too"),
    ("sort sort_ro", Compared::InAnyOrder, "BY nosort gives a set in its own order"),
    ("hscan zscan", Compared::InAnyOrder, "the same, where it is a hash table"),
    ("scan sscan", Compared::ByType, "the cursor and what is found up to it depend on the server's seed"),
    ("dump", Compared::ByType, "a set is dumped in its own order"),
    ("randomkey srandmember hrandfield zrandmember acl|genpass lolwut", Compared::ByType, "chance"),
    ("time object|idletime xpending xinfo|consumers xinfo|stream", Compared::ByType, "time passes"),
    ("memory|usage memory|stats memory|doctor memory|malloc-stats", Compared::ByType, "what the allocator did"),
    ("info lastsave slowlog|get slowlog|len", Compared::ByType, "figures of a server's process"),
    ("latency|latest latency|history latency|histogram latency|doctor", Compared::ByType, "the same"),
    ("ttl pttl expiretime pexpiretime", Compared::WithoutClock, "time passes between two servers' calls"),
    (
        "config|get",
        Compared::ByType,
        "nothing of a server's passwords, paths and addresses is told, and patterns are less",
    ),
    ("client|id client|info client|list client|help hello", Compared::ByType, "rmux tells about itself"),
    (
        "ft.config ft.cursor json.debug cluster|myshardid cluster|slot-stats cluster|getslotmigrations clusterscan \
         commandlog waitaof blmovem",
        Compared::AnyError,
        "newer than this server, and rmux says itself what is wrong with the arguments",
    ),
    ("subscribe psubscribe ssubscribe", Compared::NotSent, "one call, several replies: redis_pubsub has them"),
    ("unsubscribe punsubscribe sunsubscribe", Compared::NotSent, "the same"),
    ("client|reply", Compared::NotSent, "one call, no reply"),
    ("quit", Compared::NotSent, "closes: sent once at the end of each round"),
];

/// How the replies to this call are compared, and why not exactly.
pub fn compared(call: &[Vec<u8>]) -> Compared {
    let Some(name) = call.first() else { return Compared::Exactly };
    if is_refused(call) {
        return Compared::Refused;
    }
    let name = String::from_utf8_lossy(name).to_lowercase();
    let part = call.get(1).map(|word| format!("{name}|{}", String::from_utf8_lossy(word).to_lowercase()));
    let found = |wanted: &str| {
        EXCEPTIONS
            .iter()
            .find(|(names, ..)| names.split(' ').any(|listed| listed == wanted))
            .map(|(_, compared, _)| *compared)
    };
    let found = part.as_deref().and_then(found).or_else(|| found(&name));
    found.unwrap_or(Compared::Exactly)
}

/// True for what rmux refuses between MULTI and EXEC: a confirmation, or the hash of a password, would come in the
/// middle of EXEC's reply.
pub fn is_refused_in_multi(call: &[Vec<u8>]) -> bool {
    let is_refused =
        |class| matches!(class, Class::Lease(Lease::Subscribe(_) | Lease::Unsubscribe(_)) | Class::All(Gather::Masked));
    row(call).is_some_and(|row| is_refused(row.class))
}

/// True for what rmux refuses between MULTI and EXEC if it would change the version of the protocol.
pub fn may_change_protocol(call: &[Vec<u8>]) -> bool {
    row(call).is_some_and(|row| row.class == Class::Session(Session::Hello)) && call.len() > 1
}

/// True for what rmux never asks a server.
pub fn is_answered_by_rmux(call: &[Vec<u8>]) -> bool {
    row(call).is_some_and(|row| matches!(row.class, Class::Session(_)))
}

/// The row of the table that a call means: its command, or its subcommand.
pub fn row(call: &[Vec<u8>]) -> Option<&'static Command> {
    let row = command::find(call.first()?)?;
    if !row.is_container() {
        return Some(row);
    }
    call.get(1).and_then(|word| row.sub(word)).or(Some(row))
}

fn is_refused(call: &[Vec<u8>]) -> bool {
    row(call).is_some_and(|row| row.class == Class::Refused)
}
