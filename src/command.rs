//! The table of commands: name → arity, access, class, key positions, subcommands.
//!
//! Knows what Redis documents about a command and what rmux does with it; knows no bytes on the wire, no servers, no
//! session. Arguments are looked at through a function `index → bytes`, so that nothing is copied and a request may
//! still be in pieces. The rows are in `table`, the search for keys in `keys`.
//!
//! Facts: `COMMAND` of Redis 8.10 with its modules (search, JSON, time series, Bloom, vector sets) and what Valkey
//! adds, and their documentation where that output is wrong (`JSON.MGET`, `CMS.MERGE`, blocking `TS.READ`). Sentinel's
//! commands are not data commands: unknown here, and so is every other name that has no row.
//!
//! What is **refused** belongs on the Redis server itself, with somebody who may log in there:
//! - it stops, copies or reconfigures the server, resets its records, or swaps databases under all clients (`SHUTDOWN`,
//!   `BGSAVE`, `CONFIG SET`, `REPLICAOF`, `SWAPDB`, `ACL SETUSER`, `MODULE LOAD`, `DEBUG`, `SLOWLOG RESET`, `CLUSTER`
//!   writes);
//! - it turns the connection into something else (`MONITOR`, `SYNC`, `PSYNC`, `REPLCONF`), or leaves something on it
//!   that the next client would inherit (`HIMPORT`, `SCRIPT DEBUG`).
//!
//! What only tells is not refused. `SLOWLOG GET` shows what others have asked for, and so does any script that calls
//! it; who may ask rmux may read all data anyway. The hashes of passwords are another matter: they are no data, and may
//! let somebody in who may do more than rmux. So `ACL LIST` and `ACL GETUSER` are forwarded, and answered without them.
//!
//! What is safe on a connection that many share is not refused, though the original rmux did: `DBSIZE`, `FLUSHALL`,
//! `FLUSHDB`, `MOVE`, `OBJECT`, `RANDOMKEY`, `TIME`.
//!
//! Invariants, each with a test: names are lower case and unique; there are [`Command::subs`] exactly when the class is
//! [`Class::Container`]; whatever the arguments, key indexes ascend and stay below `argc`; a command whose
//! [`Command::args_needed`] is `n` has all its keys among its first `n` arguments.

use std::fmt;
use std::num::NonZeroU8;

mod keys;
mod policy;
mod table;

pub use keys::{KeyError, KeySpan, Keys, integer};
pub use policy::{Declared, Objection, Policy, names};
use table::{ROWS, Subs};

/// One command, or one subcommand of a container.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    text: Text,
    /// As Redis counts: the exact number of arguments, or, negative, the least; the name is one of them. A subcommand
    /// counts both words.
    pub arity: i16,
    /// Whether it reads or writes keys.
    pub access: Access,
    /// What rmux does with it.
    pub class: Class,
    /// Where its keys are.
    pub keys: Keys,
    /// Which subcommands it has.
    subs: Subs,
}

/// A name. Those of the table lie in their rows: a reference to each would take as much again, and an entry in the
/// table of what is relocated when the program starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    /// A name of the table: that many of these bytes.
    Short([u8; SHORT_MAX], NonZeroU8),
    /// One that was declared.
    Long(&'static str),
}

/// What fits beside its length into the place of a reference and a word.
const SHORT_MAX: usize = 23;

impl Text {
    const fn of_table(name: &str) -> Text {
        let mut bytes = [0; SHORT_MAX];
        let mut at = 0;
        while at < name.len() {
            bytes[at] = name.as_bytes()[at];
            at += 1;
        }
        Text::Short(bytes, NonZeroU8::new(name.len() as u8).expect("a name has letters"))
    }

    const fn as_bytes(&self) -> &[u8] {
        match self {
            Text::Short(bytes, len) => bytes.split_at(len.get() as usize).0,
            Text::Long(name) => name.as_bytes(),
        }
    }
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
    /// Goes to the server of its channel, which is argument 1 and of this family.
    Channel(Channels),
    /// Answered by rmux. `INFO` and `ROLE`: with one server they may as well be forwarded.
    Session(Session),
    /// Holds or changes the state of its connection.
    Lease(Lease),
    /// `-ERR This command is not supported`. Access and keys are those of Redis, for a configuration that allows it.
    Refused,
    /// Has no meaning of its own: look up the subcommand ([`Command::sub`]), and answer with an error when there is
    /// none.
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

/// A command's full name, as errors and lists show it: `get`, or `config|get`.
#[derive(Clone, Copy, Debug)]
pub struct Name {
    container: &'static str,
    command: &'static str,
}

impl Name {
    /// That of a command of this container; of the command alone, if both are the same.
    pub fn new(container: &'static str, command: &'static str) -> Name {
        Name { container, command }
    }

    /// What it is put together from.
    pub fn words(self) -> [&'static str; 3] {
        let is_sub = !std::ptr::eq(self.container, self.command);
        if is_sub { [self.container, "|", self.command] } else { ["", "", self.command] }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.words().into_iter().try_for_each(|word| f.write_str(word))
    }
}

impl Command {
    /// Lower case. A subcommand has its own word only: `get`, not `config|get`.
    pub fn name(&self) -> &str {
        std::str::from_utf8(self.text.as_bytes()).unwrap_or_default()
    }

    /// True exactly when this is its name.
    #[inline]
    pub fn is_named(&self, name: &str) -> bool {
        self.text.as_bytes() == name.as_bytes()
    }

    /// The subcommands of a container, otherwise none.
    pub fn subs(&self) -> &'static [Command] {
        self.subs.rows()
    }

    /// Its full name. Looks for the container that a subcommand belongs to among all of them.
    pub fn full_name(&'static self) -> Name {
        if ROWS.as_ptr_range().contains(&std::ptr::from_ref(self)) {
            return Name::new(self.name(), self.name());
        }
        let has_it = |row: &&Command| row.subs().iter().any(|sub| std::ptr::eq(sub, self));
        Name::new(ROWS.iter().find(has_it).map_or(self.name(), |row| row.name()), self.name())
    }

    /// True exactly when the command means nothing without a subcommand.
    pub fn is_container(&self) -> bool {
        self.class == Class::Container
    }

    /// True exactly when argument 1 is its only key, whatever the others are.
    #[inline]
    pub fn has_one_key(&self) -> bool {
        matches!(self.keys, Keys::Range { first: 1, last: 1, .. })
    }

    /// The subcommand with this name, in any case.
    pub fn sub(&self, word: &[u8]) -> Option<&'static Command> {
        self.subs().iter().find(|sub| sub.text.as_bytes().eq_ignore_ascii_case(word))
    }

    /// Whether a request of `argc` arguments, the name counted, has the right length.
    pub fn arity_allows(&self, argc: usize) -> bool {
        let least = usize::from(self.arity.unsigned_abs());
        if self.arity >= 0 { argc == least } else { argc >= least }
    }

    /// True exactly when a subcommand that the table does not have may be one all the same, of a newer module than the
    /// table knows, and is safe to try. Where some subcommands are refused, one that is not known may be like them; and
    /// a word of other than visible letters may be read as another one (`SET` and a zero byte).
    pub fn may_have_sub(&self, word: &[u8]) -> bool {
        self.is_container()
            && self.name().contains('.')
            && self.subs().iter().all(|sub| sub.class != Class::Refused)
            && word.iter().all(u8::is_ascii_graphic)
    }

    /// How many arguments, the name counted, must have arrived before [`Command::key_span`] can be answered and its
    /// keys can be read; `None` is all of them. It lets a large value stream through behind its key.
    pub fn args_needed(&self) -> Option<u32> {
        match self.class {
            Class::Container | Class::Channel(_) => Some(2),
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

    /// For how long this request may block its connection; `None` when it does not. Inside a transaction nothing
    /// blocks.
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
        match text.split_first() {
            // Less than a millisecond below 0 is 0.
            Some((b'-', digits)) if thousandths(digits).is_some_and(|(whole, _)| whole > 0) => Timeout::Millis(0),
            Some((b'-', _)) => Timeout::Forever,
            _ => match thousandths(text.strip_prefix(b"+").unwrap_or(text)) {
                Some((whole, is_more)) if (1..i64::MAX as u64).contains(&(whole + u64::from(is_more))) => {
                    Timeout::Millis(whole + u64::from(is_more))
                }
                _ => Timeout::Forever,
            },
        }
    }

    fn from_millis(text: &[u8]) -> Timeout {
        match keys::integer(text) {
            Some(0) | None => Timeout::Forever,
            Some(millis) => Timeout::Millis(u64::try_from(millis).unwrap_or(0)),
        }
    }
}

/// A decimal number without a sign, times a thousand: the whole part, 2^63 if it is more, and whether there is a rest.
/// (The standard library's way, which is as exact as an `f64` can be, is 15 kB of code that nothing else needs.)
fn thousandths(text: &[u8]) -> Option<(u64, bool)> {
    let (digits, exponent): (_, i64) = match text.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (&text[..at], std::str::from_utf8(&text[at + 1..]).ok()?.parse().ok()?),
        None => (text, 0),
    };
    let (mut value, mut places, mut is_more) = (0_u64, 0_i64, false);
    let (mut is_behind_point, mut has_digits) = (false, false);
    for &byte in digits {
        match byte {
            b'.' if !is_behind_point => is_behind_point = true,
            b'0'..=b'9' => {
                has_digits = true;
                // What does not fit is not looked at but for being there.
                let is_taken = value < u64::MAX / 10;
                value = if is_taken { value * 10 + u64::from(byte - b'0') } else { value };
                is_more |= !is_taken && byte != b'0';
                places += i64::from(is_behind_point) - i64::from(!is_taken);
            }
            _ => return None,
        }
    }
    let mut shift = exponent.saturating_add(3).saturating_sub(places);
    while shift < 0 && value > 0 {
        is_more |= value % 10 > 0;
        value /= 10;
        shift += 1;
    }
    while shift > 0 && value > 0 && value < 1 << 63 {
        value = value.saturating_mul(10);
        shift -= 1;
    }
    has_digits.then_some((value.min(1 << 63), is_more))
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
type Folded = [u64; 3];

/// The longest name that could be folded; longer than any in the table.
const NAME_MAX: usize = size_of::<Folded>() - 1;

/// A power of two, at least four times the rows, so that chains stay short.
const SLOTS: usize = 2048;

/// Odd, and spreads the names well.
const MULTIPLIER: u64 = 0xf50f_656b_7d94_a2f5;

const EMPTY: u16 = u16::MAX;

/// No name may be further than this from its own slot.
const PROBES_MAX: usize = 3;

static NAMES: [Folded; COUNT] = folded_names();
static INDEX: [u16; SLOTS] = index_of_names();

const fn fold(name: &[u8]) -> Option<Folded> {
    if name.len() > NAME_MAX {
        return None;
    }
    let length = (name.len() as u64) << 56;
    Some(match name.split_first_chunk::<8>() {
        None => [short_word(name), 0, length],
        Some((first, rest)) => match rest.split_first_chunk::<8>() {
            None => [word(first), short_word(rest), length],
            Some((second, rest)) => [word(first), word(second), short_word(rest) | length],
        },
    })
}

const fn word(bytes: &[u8; 8]) -> u64 {
    lower_case(u64::from_le_bytes(*bytes))
}

/// Up to seven bytes as one word: two loads that may overlap, instead of a loop.
const fn short_word(bytes: &[u8]) -> u64 {
    let (head, tail, shift) = if let (Some(head), Some(tail)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let (head, tail) = (u32::from_le_bytes(*head), u32::from_le_bytes(*tail));
        (head as u64, tail as u64, bytes.len() - 4)
    } else if let (Some(head), Some(tail)) = (bytes.first_chunk::<2>(), bytes.last_chunk::<2>()) {
        let (head, tail) = (u16::from_le_bytes(*head), u16::from_le_bytes(*tail));
        (head as u64, tail as u64, bytes.len() - 2)
    } else if let [byte, ..] = bytes {
        (*byte as u64, 0, 0)
    } else {
        (0, 0, 0)
    };
    lower_case(head | tail << (shift * 8))
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
    let mixed = folded[0] ^ folded[1].rotate_left(23) ^ folded[2].rotate_left(41);
    (mixed.wrapping_mul(MULTIPLIER) >> (u64::BITS - SLOTS.trailing_zeros())) as usize
}

const fn folded_names() -> [Folded; COUNT] {
    let mut names = [[0; 3]; COUNT];
    let mut row = 0;
    while row < COUNT {
        names[row] = fold(ROWS[row].text.as_bytes()).expect("a name fits in a Folded");
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
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// Every row, with the subcommands behind their container.
    fn all_with_subs() -> impl Iterator<Item = &'static Command> {
        all().flat_map(|row| std::iter::once(row).chain(row.subs()))
    }

    fn sub(name: &str, word: &str) -> &'static Command {
        let container = find(name.as_bytes()).expect(name);
        container.sub(word.as_bytes()).expect(word)
    }

    fn class(name: &str) -> Class {
        find(name.as_bytes()).expect(name).class
    }

    #[test]
    fn every_command_is_found_by_its_name_in_any_case() {
        for row in all() {
            let upper = row.name().to_ascii_uppercase();
            let mixed: String = (row.name().chars().enumerate())
                .map(|(place, letter)| if place % 2 == 0 { letter.to_ascii_uppercase() } else { letter })
                .collect();
            for spelling in [row.name(), &upper, &mixed] {
                let found = find(spelling.as_bytes()).expect(spelling);
                assert!(std::ptr::eq(found, row), "{spelling}");
            }
        }
    }

    #[test]
    fn names_are_lower_case_and_unique() {
        let mut names = HashSet::new();
        for row in all() {
            assert!(names.insert(row.name()), "{} is there twice", row.name());
            let mut words = HashSet::new();
            assert!(row.subs().iter().all(|sub| words.insert(sub.name())), "{}", row.name());
        }
        for row in all_with_subs() {
            assert!(!row.name().is_empty() && !row.name().contains('\0'), "{}", row.name());
            assert_eq!(row.name(), row.name().to_ascii_lowercase());
        }
        assert_eq!(names.len(), COUNT);
    }

    #[test]
    fn names_that_are_nearly_right_are_unknown() {
        let names: HashSet<&[u8]> = all().map(|row| row.name().as_bytes()).collect();
        let check = |name: &[u8]| {
            let is_known = names.contains(name.to_ascii_lowercase().as_slice());
            assert_eq!(find(name).is_some(), is_known, "{name:?}");
        };
        for name in &names {
            for end in 0..name.len() {
                check(&name[..end]);
            }
            for byte in 0..=u8::MAX {
                check(&[name, [byte].as_slice()].concat());
                for place in [0, name.len() / 2, name.len() - 1] {
                    let mut other = name.to_vec();
                    other[place] = byte;
                    check(&other);
                }
            }
        }
    }

    #[test]
    fn strange_names_are_unknown() {
        for name in [
            "",
            "\0",
            "\0\0\0",
            "get ",
            " get",
            "get\0",
            "\0get",
            "get\0\0\0\0\0",
            "G\u{2460}T",
            "config|get",
            "sentinel",
        ] {
            assert!(find(name.as_bytes()).is_none(), "{name:?}");
        }
        for length in 0..200 {
            assert!(find(&vec![0; length]).is_none());
            assert!(find(&vec![b'g'; length]).is_none());
            assert!(find(&vec![0xff; length]).is_none());
        }
        // What a wrong case mapping would take for letters: the bytes 32 away from them, and those with the high bit.
        for (byte, near) in [(b'[', b'{'), (b'@', b'`'), (b'G' | 0x80, b'g' | 0x80)] {
            assert_ne!(fold(&[byte; 9]), fold(&[near; 9]));
        }
    }

    #[test]
    fn folding_is_ascii_lower_case_at_every_length() {
        for length in 0..=NAME_MAX {
            for byte in 0..=u8::MAX {
                let mut name: Vec<u8> = (0..length).map(|place| b'A' + place as u8).collect();
                if let Some(last) = name.last_mut() {
                    *last = byte;
                }
                let folded = fold(&name).expect("short enough");
                let mut bytes: Vec<u8> = folded.iter().flat_map(|word| word.to_le_bytes()).collect();
                assert_eq!(usize::from(bytes.pop().expect("24 bytes")), length);
                assert_eq!(bytes[..length], name.to_ascii_lowercase());
                assert!(bytes[length..].iter().all(|byte| *byte == 0));
            }
        }
        assert_eq!(fold(&[b'a'; NAME_MAX + 1]), None);
    }

    #[test]
    fn arity_counts_as_redis_does() {
        let allowed = |name: &str, argc: usize| find(name.as_bytes()).expect(name).arity_allows(argc);
        assert!(!allowed("get", 1) && allowed("get", 2) && !allowed("get", 3));
        assert!(!allowed("set", 2) && allowed("set", 3) && allowed("set", 7));
        assert!(!allowed("ping", 0) && allowed("ping", 1) && allowed("ping", 2));
        assert!(allowed("mget", 1_000_000) && !allowed("mget", 1));
        assert!(!sub("object", "encoding").arity_allows(2) && sub("object", "encoding").arity_allows(3));
        assert!(!sub("xgroup", "create").arity_allows(4) && sub("xgroup", "create").arity_allows(6));
        for row in all_with_subs() {
            assert_ne!(row.arity, 0, "{}", row.name());
        }
        for row in all() {
            assert!(row.subs().iter().all(|sub| sub.arity.unsigned_abs() >= 2), "{}", row.name());
        }
    }

    #[test]
    fn only_containers_have_subcommands() {
        for row in all() {
            assert_eq!(row.is_container(), !row.subs().is_empty(), "{}", row.name());
            assert!(row.subs().iter().all(|sub| !sub.is_container()), "{}", row.name());
            for sub in row.subs() {
                let found = row.sub(sub.name().to_ascii_uppercase().as_bytes()).expect("it is there");
                assert!(std::ptr::eq(found, sub));
            }
        }
        let object = find(b"object").expect("a row");
        for word in ["", "encodin", "encoding\0", "encodings"] {
            assert!(object.sub(word.as_bytes()).is_none(), "{word:?}");
        }
        assert!(find(b"get").expect("a row").sub(b"get").is_none());
    }

    #[test]
    fn only_modules_that_refuse_nothing_may_have_unknown_subcommands() {
        let open: Vec<&str> = all().filter(|row| row.may_have_sub(b"NEWER")).map(|row| row.name()).collect();
        assert_eq!(open, ["json.debug", "ft.cursor"]);
        let debug = find(b"json.debug").expect("a row");
        assert!(!debug.may_have_sub(b"MEMORY\0") && !debug.may_have_sub(b"a b") && !debug.may_have_sub(b"a\r\n"));
    }

    #[test]
    fn what_belongs_on_the_server_is_refused() {
        for name in [
            "bgrewriteaof",
            "bgsave",
            "debug",
            "monitor",
            "migrate",
            "save",
            "shutdown",
            "slaveof",
            "replicaof",
            "failover",
            "sync",
            "psync",
            "replconf",
            "restore-asking",
            "pfdebug",
            "pfselftest",
            "swapdb",
            "backup",
            "hotkeys",
            "himport",
            "trimslots",
            "_ft.debug",
            "_ft.config",
        ] {
            assert_eq!(class(name), Class::Refused, "{name}");
        }
        for (name, word) in [
            ("config", "set"),
            ("config", "rewrite"),
            ("config", "resetstat"),
            ("acl", "setuser"),
            ("acl", "log"),
            ("slowlog", "reset"),
            ("commandlog", "reset"),
            ("latency", "reset"),
            ("module", "load"),
            ("module", "loadex"),
            ("module", "unload"),
            ("cluster", "meet"),
            ("cluster", "migrateslots"),
            ("cluster", "setslot"),
            ("cluster", "reset"),
            ("script", "debug"),
            ("ft.config", "set"),
        ] {
            assert_eq!(sub(name, word).class, Class::Refused, "{name} {word}");
        }
        for name in ["dbsize", "flushall", "flushdb", "move", "object", "randomkey", "time"] {
            assert_ne!(class(name), Class::Refused, "{name}");
        }
    }

    #[test]
    fn each_class_holds_what_the_design_says() {
        assert_eq!(class("sort"), Class::Keyed);
        assert_eq!(class("eval"), Class::Keyed);
        assert_eq!(class("select"), Class::Session(Session::Select));
        assert_eq!(sub("config", "get").class, Class::Session(Session::ConfigGet));
        assert_eq!(class("client"), Class::Session(Session::Client));
        assert_eq!(class("wait"), Class::Lease(Lease::Wait));
        assert_eq!(class("mget"), Class::Split(Merge::ByPosition));
        assert_eq!(class("mset"), Class::Split(Merge::AllOk));
        for name in ["del", "unlink", "exists", "touch"] {
            assert_eq!(class(name), Class::Split(Merge::Sum), "{name}");
        }
        assert_eq!(class("scan"), Class::All(Gather::Cursor));
        assert_eq!(sub("script", "load").class, Class::All(Gather::First));
        assert_eq!(class("publish"), Class::Channel(Channels::Exact));
        assert_eq!(class("time"), Class::Any);
        assert_eq!(class("ft.search"), Class::Single);
        for (name, word) in [
            ("slowlog", "get"),
            ("slowlog", "len"),
            ("commandlog", "get"),
            ("commandlog", "len"),
            ("latency", "latest"),
            ("latency", "history"),
            ("latency", "histogram"),
            ("latency", "doctor"),
            ("acl", "users"),
        ] {
            assert_eq!(sub(name, word).class, Class::Single, "{name} {word}");
        }
        assert_eq!(class("lastsave"), Class::Single);
        for (name, word) in [("module", "list"), ("acl", "cat"), ("script", "show")] {
            assert_eq!(sub(name, word).class, Class::Any, "{name} {word}");
        }
        for word in ["list", "getuser"] {
            assert_eq!(sub("acl", word).class, Class::All(Gather::Masked), "{word}");
        }
        for name in ["script", "function"] {
            assert_eq!(sub(name, "kill").class, Class::All(Gather::Kill), "{name}");
        }
        assert_eq!(class("clusterscan"), Class::Session(Session::Cluster));
        assert_eq!(sub("cluster", "getslotmigrations").class, Class::Session(Session::Cluster));
    }

    /// A request that changes something must never count as one that may be sent twice.
    #[test]
    fn only_reading_commands_may_be_sent_twice() {
        for name in ["get", "mget", "eval_ro", "evalsha_ro", "fcall_ro", "xread", "pfcount", "scan", "touch", "sort_ro"]
        {
            assert_eq!(find(name.as_bytes()).expect(name).access, Access::Read, "{name}");
        }
        for name in ["set", "eval", "evalsha", "fcall", "getex", "getdel", "xreadgroup", "sort", "bitfield", "flushall"]
        {
            assert_eq!(find(name.as_bytes()).expect(name).access, Access::Write, "{name}");
        }
        for name in ["ping", "publish", "spublish", "multi", "wait", "time"] {
            assert_eq!(find(name.as_bytes()).expect(name).access, Access::None, "{name}");
        }
        assert_eq!(sub("script", "load").access, Access::None);
        assert_eq!(sub("function", "load").access, Access::Write);
        assert_eq!(sub("ft.cursor", "read").access, Access::Write);
        for row in all_with_subs() {
            if matches!(row.class, Class::Keyed | Class::Split(_)) {
                assert!(row.access != Access::None && row.keys != Keys::None, "{}", row.name());
            }
        }
    }

    #[test]
    fn a_value_may_stream_behind_a_key_at_a_fixed_place() {
        let needed = |name: &str| find(name.as_bytes()).expect(name).args_needed();
        assert_eq!(needed("set"), Some(2));
        assert_eq!(needed("rename"), Some(3));
        assert_eq!(needed("publish"), Some(2));
        assert_eq!(needed("xgroup"), Some(2));
        assert_eq!(sub("xgroup", "create").args_needed(), Some(3));
        assert_eq!(needed("time"), Some(1));
        for name in ["mset", "del", "eval", "sort", "xread", "zunionstore", "georadius", "blpop"] {
            assert_eq!(needed(name), None, "{name}");
        }
    }

    #[test]
    fn blocking_is_known_with_its_timeout() {
        use Timeout::*;
        let cases = [
            ("BLPOP k 0", Some(Forever)),
            ("BLPOP k 5", Some(Millis(5000))),
            ("BRPOP a b 0.0001", Some(Millis(1))),
            ("BRPOP a b 1e3", Some(Millis(1_000_000))),
            ("BLPOP k -1", Some(Millis(0))),
            ("BLPOP k 0x10", Some(Forever)),
            ("BLPOP k +.5", Some(Millis(500))),
            ("BLPOP k 5.", Some(Millis(5000))),
            ("BLPOP k 0.0010", Some(Millis(1))),
            ("BLPOP k 0.00100000000000000000000001", Some(Millis(2))),
            ("BLPOP k 100000000000000000000000e-20", Some(Millis(1_000_000))),
            ("BLPOP k 25e-04", Some(Millis(3))),
            ("BLPOP k 1e-300", Some(Millis(1))),
            ("BLPOP k -0.0001", Some(Forever)),
            ("BLPOP k -1e300", Some(Millis(0))),
            ("BLPOP k 0e9", Some(Forever)),
            ("BLPOP k 9223372036854775.806", Some(Millis(i64::MAX as u64 - 1))),
            ("BLPOP k 9223372036854775.807", Some(Forever)),
            ("BLPOP k 1.2.3", Some(Forever)),
            ("BLPOP k .", Some(Forever)),
            ("BLPOP k 1e", Some(Forever)),
            ("BLPOP k inf", Some(Forever)),
            ("BLPOP k nan", Some(Forever)),
            ("BLPOP k 1e300", Some(Forever)),
            ("BLPOP k ", Some(Forever)),
            ("BRPOPLPUSH a b 2", Some(Millis(2000))),
            ("BRPOPLPUSH a b", Some(Forever)),
            ("BLMOVE a b LEFT RIGHT 2.5", Some(Millis(2500))),
            ("BLMOVEM a b LEFT RIGHT 3 COUNT 9 BULK", Some(Millis(3000))),
            ("BLMPOP 1.5 2 a b LEFT", Some(Millis(1500))),
            ("BZMPOP 0 1 a MIN", Some(Forever)),
            ("BZPOPMIN a 7", Some(Millis(7000))),
            ("XREAD STREAMS a 0", None),
            ("XREAD STREAMS BLOCK 5", None),
            ("XREAD COUNT BLOCK STREAMS a 0", None),
            ("XREAD BLOCK", None),
            ("XREAD BLOCK 0 STREAMS a $", Some(Forever)),
            ("XREAD block 250 STREAMS a $", Some(Millis(250))),
            ("XREAD BLOCK 0 COUNT 1 BLOCK 5 STREAMS a $", Some(Millis(5))),
            ("XREAD BLOCK x STREAMS a $", Some(Forever)),
            ("XREAD BLOCK -5 STREAMS a $", Some(Millis(0))),
            ("XREADGROUP GROUP BLOCK 5 STREAMS a >", None),
            ("XREADGROUP GROUP g c NOACK BLOCK 10 STREAMS a >", Some(Millis(10))),
            ("TS.READ k 0", None),
            ("TS.READ k 0 BLOCK 100 5 MAX_COUNT 9", Some(Millis(100))),
            ("TS.READ BLOCK 0", None),
            ("LPOP k 0", None),
            ("WAIT 1 0", None),
        ];
        for (request, expected) in cases {
            let words: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
            let command = find(words[0]).expect(request);
            assert_eq!(command.blocks(words.len(), |index| words[index]), expected, "{request}");
        }
    }

    #[test]
    fn rows_stay_small() {
        assert!(size_of::<Command>() <= 48, "{}", size_of::<Command>());
    }
}
