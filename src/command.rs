//! The table of commands: name → arity, access, class, key positions, subcommands.
//!
//! Knows what Redis documents about a command and what rmux does with it; knows no bytes on the wire, no servers, no
//! session. Arguments are looked at through a function `index → bytes`, so that nothing is copied and a request may
//! still be in pieces. The rows are in `table`, the search for keys in `keys`.
//!
//! Facts: `COMMAND` of Redis 8.10 with its modules (search, JSON, time series, Bloom, vector sets) and of Valkey 8,
//! and their documentation where that output is wrong (`JSON.MGET`, `CMS.MERGE`, blocking `TS.READ`). Sentinel's
//! commands are not data commands: unknown here, and so is every other name that has no row.
//!
//! What is **refused** belongs on the Redis server itself, with somebody who may log in there:
//! - it stops, copies or reconfigures the server, or sweeps all databases together (`SHUTDOWN`, `BGSAVE`, `CONFIG SET`,
//!   `REPLICAOF`, `SWAPDB`, `ACL SETUSER`, `MODULE`, `DEBUG`, `SLOWLOG`, `LATENCY`, `CLUSTER` writes, `LASTSAVE`);
//! - it turns the connection into something else (`MONITOR`, `SYNC`, `PSYNC`, `REPLCONF`), or leaves something on it
//!   that the next client would inherit (`HIMPORT`, `SCRIPT DEBUG`);
//! - it can only work from a connection of its own, or would hit another client (`SCRIPT KILL` and `FUNCTION KILL`
//!   wait behind the very script that they should kill when they share its backend).
//!
//! Where it is safe on a connection that many share, it is not refused: `FLUSHALL`, `RANDOMKEY`, `OBJECT`, `MOVE`, `TIME`.
//!
//! Invariants, each with a test: names are lower case and unique; `subs` is empty exactly when the class is not
//! [`Class::Container`]; whatever the arguments, key indexes ascend and stay below `argc`; a command whose
//! [`Command::args_needed`] is `n` has all its keys among its first `n` arguments.

mod keys;
mod table;

pub use keys::{KeyError, KeySpan, Keys};
use table::ROWS;

/// One command, or one subcommand of a container.
#[derive(Debug)]
pub struct Command {
    /// Lower case. A subcommand has its own word only: `get`, not `config|get`.
    pub name: &'static str,
    /// As Redis counts: the exact number of arguments, or, negative, the least; the name is one of them. A subcommand
    /// counts both words.
    pub arity: i16,
    /// Whether it reads or writes keys.
    pub access: Access,
    /// What rmux does with it.
    pub class: Class,
    /// Where its keys are.
    pub keys: Keys,
    /// The subcommands of a container, otherwise empty.
    pub subs: &'static [Command],
}

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
    /// Goes to the server of its channel, which is argument 1.
    Channel,
    /// Answered by rmux. `INFO` and `ROLE`: with one server they may as well be forwarded.
    Session(Session),
    /// Holds or changes the state of its connection.
    Lease(Lease),
    /// `-ERR This command is not supported`. Access and keys are those of Redis, for a configuration that allows it.
    Refused,
    /// Has no meaning of its own: look up the subcommand ([`Command::sub`]), and answer with an error when there is none.
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
    /// The greatest integer; in arrays of equal form, place by place.
    Max,
    /// `+OK` when every one is.
    AllOk,
    /// All are equal; the first one stands for them.
    First,
    /// Arrays of 0 and 1: 1 where every server has 1.
    And,
    /// Any reply that is not nil, preferably not always the same server's.
    AnyKey,
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
    /// May wait for data: ask [`Command::blocks`]. When it does not, it is as good as [`Class::Keyed`].
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

/// Where a blocking command says for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeoutAt {
    /// In the last argument, in seconds.
    Last,
    /// In the argument with this index, in seconds.
    Argument(u8),
    /// Behind the word `BLOCK`, in milliseconds, among the options from this index on; without it nothing blocks.
    BlockOption(u8),
}

/// For how long a command may block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// Until there is data, or for a time that only Redis can make sense of.
    Forever,
    /// Milliseconds, less than 2^63. Zero for a negative timeout, which Redis rejects at once.
    Millis(u64),
}

impl Command {
    /// True exactly when the command means nothing without a subcommand.
    pub fn is_container(&self) -> bool {
        self.class == Class::Container
    }

    /// The subcommand with this name, in any case.
    pub fn sub(&self, word: &[u8]) -> Option<&'static Command> {
        self.subs.iter().find(|sub| sub.name.as_bytes().eq_ignore_ascii_case(word))
    }

    /// Whether a request of `argc` arguments, the name counted, has the right length.
    pub fn arity_allows(&self, argc: usize) -> bool {
        let least = usize::from(self.arity.unsigned_abs());
        if self.arity >= 0 { argc == least } else { argc >= least }
    }

    /// How many arguments, the name counted, must have arrived before [`Command::key_span`] can be answered and its keys
    /// can be read; `None` is all of them. It lets a large value stream through behind its key.
    pub fn args_needed(&self) -> Option<u32> {
        match self.class {
            Class::Container | Class::Channel => Some(2),
            _ => self.keys.args_needed(),
        }
    }

    /// Where the keys of this request are. `arg` gives the argument with that index, which is always below `argc` and,
    /// where that is known, below [`Command::args_needed`]. A channel is not a key.
    ///
    /// # Errors
    ///
    /// Redis would reject the request, for the reason that the error names: with one server let it say so itself.
    pub fn key_span<'a>(&self, argc: usize, arg: impl Fn(usize) -> &'a [u8]) -> Result<KeySpan, KeyError> {
        self.keys.span(argc, arg)
    }

    /// True exactly when this is a SORT or SORT_RO that reads other keys than the ones it names, by a pattern
    /// (`BY weight_*`, `GET data_*`). They may be on any server: it is exact only when there is one.
    pub fn reads_by_pattern<'a>(&self, argc: usize, arg: impl Fn(usize) -> &'a [u8]) -> bool {
        self.keys.reads_by_pattern(argc, arg)
    }

    /// For how long this request may block its connection; `None` when it does not. Inside a transaction nothing blocks.
    pub fn blocks<'a>(&self, argc: usize, arg: impl Fn(usize) -> &'a [u8]) -> Option<Timeout> {
        let Class::Lease(Lease::Block(timeout_at)) = self.class else {
            return None;
        };
        let index = match timeout_at {
            TimeoutAt::Last => argc.saturating_sub(1),
            TimeoutAt::Argument(index) => usize::from(index),
            TimeoutAt::BlockOption(from) => {
                let index = keys::block_option(usize::from(from), argc, &arg)?;
                return Some(Timeout::from_millis(arg(index)));
            }
        };
        Some(if index < argc { Timeout::from_seconds(arg(index)) } else { Timeout::Forever })
    }
}

impl Timeout {
    // A number that only Redis understands (it takes hexadecimal ones) must not be cut short: forever. One that it does
    // not understand either is answered at once.
    fn from_seconds(text: &[u8]) -> Timeout {
        let seconds = std::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok());
        let millis = seconds.map(|seconds| (seconds * 1000.0).ceil());
        match millis {
            Some(millis) if millis < 0.0 => Timeout::Millis(0),
            Some(millis) if millis > 0.0 && millis < i64::MAX as f64 => Timeout::Millis(millis as u64),
            _ => Timeout::Forever,
        }
    }

    fn from_millis(text: &[u8]) -> Timeout {
        match keys::integer(text) {
            Some(0) | None => Timeout::Forever,
            Some(millis) => Timeout::Millis(u64::try_from(millis).unwrap_or(0)),
        }
    }
}

/// The command with this name, in any case. Subcommands are found with [`Command::sub`].
///
/// On the path of every request: no allocation, and nearly always one probe.
pub fn find(name: &[u8]) -> Option<&'static Command> {
    let folded = fold(name)?;
    let mut slot = slot_of(folded);
    loop {
        let row = usize::from(INDEX[slot]);
        if row == usize::from(EMPTY) {
            return None;
        }
        if NAMES[row] == folded {
            return Some(&ROWS[row]);
        }
        slot = (slot + 1) % SLOTS;
    }
}

/// All commands, grouped by what they are about.
pub fn all() -> impl Iterator<Item = &'static Command> {
    ROWS.iter()
}

/// How many commands there are, subcommands not counted.
pub const COUNT: usize = ROWS.len();

/// A name in lower case, padded with zeros; the last byte is the length, so that no byte of a name passes for padding.
type Folded = [u64; 4];

/// The longest name that could be folded; longer than any in the table.
const NAME_MAX: usize = size_of::<Folded>() - 1;

/// A power of two, at least four times the rows, so that chains stay short.
const SLOTS: usize = 4096;

/// Odd, and spreads the names well.
const MULTIPLIER: u64 = 0x94d0_49bb_1331_11eb;

const EMPTY: u16 = u16::MAX;

/// No name may be further than this from its own slot.
const PROBES_MAX: usize = 4;

static NAMES: [Folded; COUNT] = folded_names();
static INDEX: [u16; SLOTS] = index_of_names();

const fn fold(name: &[u8]) -> Option<Folded> {
    if name.len() > NAME_MAX {
        return None;
    }
    let mut folded = [0; 4];
    let mut word = 0;
    let mut rest = name;
    while let Some((chunk, tail)) = rest.split_first_chunk::<8>() {
        folded[word] = lower_case(u64::from_le_bytes(*chunk));
        word += 1;
        rest = tail;
    }
    folded[word] = lower_case(short_word(rest));
    folded[3] |= (name.len() as u64) << 56;
    Some(folded)
}

/// Up to seven bytes as one word: two loads that may overlap, instead of a loop.
const fn short_word(bytes: &[u8]) -> u64 {
    if let (Some(head), Some(tail)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let shift = (bytes.len() - 4) * 8;
        u32::from_le_bytes(*head) as u64 | (u32::from_le_bytes(*tail) as u64) << shift
    } else if let (Some(head), Some(tail)) = (bytes.first_chunk::<2>(), bytes.last_chunk::<2>()) {
        let shift = (bytes.len() - 2) * 8;
        u16::from_le_bytes(*head) as u64 | (u16::from_le_bytes(*tail) as u64) << shift
    } else if let Some(byte) = bytes.first() {
        *byte as u64
    } else {
        0
    }
}

/// Eight letters at once: each byte from A to Z gets bit 5, every other byte stays. No sum carries into the next byte.
const fn lower_case(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let low_bits = word & (0x7f * EACH);
    let from_a = low_bits + (0x80 - b'A' as u64) * EACH;
    let beyond_z = low_bits + (0x7f - b'Z' as u64) * EACH;
    let upper_case = from_a & !beyond_z & !word & (0x80 * EACH);
    word | upper_case >> 2
}

const fn slot_of(folded: Folded) -> usize {
    let mixed = folded[0] ^ folded[1].rotate_left(23) ^ folded[2].rotate_left(41) ^ folded[3];
    (mixed.wrapping_mul(MULTIPLIER) >> (u64::BITS - SLOTS.trailing_zeros())) as usize
}

const fn folded_names() -> [Folded; COUNT] {
    let mut names = [[0; 4]; COUNT];
    let mut row = 0;
    while row < COUNT {
        names[row] = fold(ROWS[row].name.as_bytes()).expect("a name fits in a Folded");
        row += 1;
    }
    names
}

const fn index_of_names() -> [u16; SLOTS] {
    assert!(COUNT * 4 <= SLOTS && SLOTS.is_power_of_two());
    let names = folded_names();
    let mut index = [EMPTY; SLOTS];
    let mut row = 0;
    while row < COUNT {
        let mut slot = slot_of(names[row]);
        let mut probes = 1;
        while index[slot] != EMPTY {
            slot = (slot + 1) % SLOTS;
            probes += 1;
        }
        assert!(probes <= PROBES_MAX, "the names crowd: choose another multiplier or more slots");
        index[slot] = row as u16;
        row += 1;
    }
    index
}

#[cfg(test)]
mod tests;
