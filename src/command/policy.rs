//! What a pool's configuration changes about the table: commands that it allows, denies, or declares.
//!
//! ```text
//!   allowCommands   refused ──► forwarded to the server of its key; without a key, to the only server
//!   denyCommands    anything ──► refused
//!   moduleCommands  unknown ──► forwarded by the key positions that were declared
//! ```
//!
//! Names are those of the table, in any case: `slowlog`, or `config|set` for a part of one. Denied wins over allowed.
//! Only what is safe to send on a connection that many share can be allowed ([`UNSAFE`] says what is not, and why).
//! Scripts are not looked into, here or anywhere: who denies `FLUSHALL` and means it denies `EVAL` and its kin as well.
//!
//! A subcommand is compared as the server compares it, which may be as a C string: one that is denied stays denied with
//! a zero byte and anything behind it; one that is allowed must be what was allowed, to the last byte.
//!
//! Invariants: a row has its bit in `denied` exactly when it, or a part of it, is denied; the bits of `allowed`
//! likewise. Nothing is looked at but these bits unless one is set. Knows no requests and no servers but how many.

use std::fmt;

use super::class::{Access, Class};
use super::index::{COUNT, find};
use super::keys::Keys;
use super::name::Text;
use super::row::{Command, Subs};
use super::table::ROWS;

/// One bit for each row of the table.
type Bits = [u64; COUNT.div_ceil(64)];

/// The changes that one pool makes to the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    is_denying: bool,
    denied: Bits,
    allowed: Bits,
    /// Those of the changed rows that are changed in part: the row, the word, whether it is denied (or else allowed).
    parts: Vec<(u16, Box<str>, bool)>,
    /// In the order of their names, which are in lower case.
    declared: Vec<&'static Command>,
}

impl Default for Policy {
    /// The table as it is.
    fn default() -> Policy {
        Policy {
            is_denying: false,
            denied: [0; COUNT.div_ceil(64)],
            allowed: [0; COUNT.div_ceil(64)],
            parts: Vec::new(),
            declared: Vec::new(),
        }
    }
}

/// A command of a module that the table does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// Its name, in any case.
    pub name: String,
    /// The argument that is its first key, from 1; 0 for none.
    pub first_key: u8,
    /// The argument that is its last key; a negative one counts from the end, -1 being the last argument.
    pub last_key: i8,
    /// From one key to the next; at least 1.
    pub step: u8,
    /// Whether it only reads, and may be sent a second time when the first answer was lost.
    pub is_read: bool,
}

/// Why a configuration's change to the table is not made. `Display` is to be read behind the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Objection {
    /// No command, or no such part of it.
    Unknown,
    /// It is not refused to begin with.
    NotRefused,
    /// It can not be sent on a shared connection; the reason follows "it".
    Unsafe(&'static str),
    /// It has no key, and there are several servers.
    NoKey,
    /// The table has it already.
    Known,
    /// It is declared a second time.
    Twice,
    /// No command can be called so.
    Name,
    /// The last key stands before the first, or there is a last one and no first.
    KeyOrder,
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Objection::Unknown => f.write_str("is no command that rmux knows"),
            Objection::NotRefused => f.write_str("is not refused: there is nothing to allow"),
            Objection::Unsafe(reason) => write!(f, "cannot be allowed: it {reason}"),
            Objection::NoKey => {
                f.write_str("has no key, and with several servers nothing says which of them should get it")
            }
            Objection::Known => f.write_str("is a command that rmux knows already, with its keys"),
            Objection::Twice => f.write_str("is declared twice"),
            Objection::Name => f.write_str("cannot be the name of a command: write 1 to 64 printable letters"),
            Objection::KeyOrder => f.write_str("has its last key before its first one"),
        }
    }
}

impl Policy {
    /// True exactly when something is denied: only then ask [`Policy::is_denied`].
    #[inline]
    pub fn is_denying(&self) -> bool {
        self.is_denying
    }

    /// True exactly when the configuration denies this request: `row` is the table's row of its name, `word` its second
    /// argument, if it has one.
    #[inline]
    pub fn is_denied(&self, row: &Command, word: Option<&[u8]>) -> bool {
        is_set(&self.denied, index_of(row)) && self.is_denied_by_part(index_of(row), word)
    }

    /// True exactly when the configuration allows this request, whose class is [`Class::Refused`]. The arguments are
    /// those of [`Policy::is_denied`].
    pub fn is_allowed(&self, row: &Command, word: Option<&[u8]>) -> bool {
        let row = index_of(row);
        if !is_set(&self.allowed, row) {
            return false;
        }
        let mut parts = self.parts_of(row, false).peekable();
        let is_word = |part: &str| word.is_some_and(|word| word.eq_ignore_ascii_case(part.as_bytes()));
        parts.peek().is_none() || parts.any(is_word)
    }

    /// The declared command with this name, in any case.
    pub fn declared(&self, name: &[u8]) -> Option<&'static Command> {
        if self.declared.is_empty() || name.len() > DECLARED_NAME_MAX {
            return None;
        }
        let mut lower = [0; DECLARED_NAME_MAX];
        lower[..name.len()].copy_from_slice(name);
        lower.make_ascii_lowercase();
        self.place_of(&lower[..name.len()]).ok().map(|place| self.declared[place])
    }

    /// Allows what the table refuses, in a pool of this many servers.
    ///
    /// # Errors
    ///
    /// [`Objection`]; nothing has changed then.
    pub fn allow(&mut self, name: &str, servers: usize) -> Result<(), Objection> {
        let (row, word) = parse(name)?;
        let commands: Vec<(&'static Command, Option<&str>)> = match &word {
            _ if row.subs().is_empty() => vec![(row, word.as_deref())],
            Some(word) => vec![(row.sub(word.as_bytes()).ok_or(Objection::Unknown)?, Some(word))],
            None => row.subs().iter().map(|sub| (sub, Some(sub.name()))).collect(),
        };
        let mut objection = Objection::NotRefused;
        let mut allowed = Vec::new();
        for (command, word) in commands {
            match allowable(row, command, word, servers) {
                Ok(()) => allowed.push(word),
                // Of a whole container only the safe parts are meant; which others there are need not be known.
                Err(found) if found != Objection::NotRefused => objection = found,
                Err(_) => {}
            }
        }
        if allowed.is_empty() {
            return Err(objection);
        }
        allowed.into_iter().for_each(|word| self.change(row, word, false));
        Ok(())
    }

    /// Denies a command, or a part of one.
    ///
    /// # Errors
    ///
    /// [`Objection::Unknown`]; nothing has changed then.
    pub fn deny(&mut self, name: &str) -> Result<(), Objection> {
        let (row, word) = parse(name)?;
        self.change(row, word.as_deref(), true);
        self.is_denying = true;
        Ok(())
    }

    /// Adds a command of a module, in a pool of this many servers. What it takes is never given back: a process reads
    /// its configuration once.
    ///
    /// # Errors
    ///
    /// [`Objection`]; nothing has changed then.
    pub fn declare(&mut self, declared: &Declared, servers: usize) -> Result<(), Objection> {
        let name = declared.name.to_ascii_lowercase();
        let Declared { first_key: first, last_key: last, step, is_read, .. } = *declared;
        if name.is_empty() || name.len() > DECLARED_NAME_MAX || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Objection::Name);
        }
        if find(name.as_bytes()).is_some() {
            return Err(Objection::Known);
        }
        let Err(place) = self.place_of(name.as_bytes()) else { return Err(Objection::Twice) };
        let is_ordered = if first == 0 { last == 0 } else { last < 0 || i16::from(last) >= i16::from(first) };
        if !is_ordered || step == 0 {
            return Err(Objection::KeyOrder);
        }
        if first == 0 && servers > 1 {
            return Err(Objection::NoKey);
        }
        let has_keys = first > 0;
        let command = Command {
            text: Text::Long(Box::leak(name.into_boxed_str())),
            arity: -1,
            access: if is_read { Access::Read } else { Access::Write },
            class: if has_keys { Class::Keyed } else { Class::Single },
            keys: if has_keys { Keys::Range { first, last, step } } else { Keys::None },
            subs: Subs::None,
        };
        self.declared.insert(place, Box::leak(Box::new(command)));
        Ok(())
    }

    /// The place of this name among the declared ones, or else the one that it would have.
    fn place_of(&self, name: &[u8]) -> Result<usize, usize> {
        self.declared.binary_search_by(|command| command.text.as_bytes().cmp(name))
    }

    // A row that is changed as a whole has no parts left; one whose parts are changed has its bit all the same.
    fn change(&mut self, row: &'static Command, word: Option<&str>, is_denied: bool) {
        let index = index_of(row);
        let bits = if is_denied { &mut self.denied } else { &mut self.allowed };
        let was_set = is_set(bits, index);
        bits[index / 64] |= 1 << (index % 64);
        let is_whole = was_set && self.parts_of(index, is_denied).next().is_none();
        match word {
            None => self.parts.retain(|(row, _, denied)| usize::from(*row) != index || *denied != is_denied),
            Some(_) if is_whole => {}
            Some(word) => self.parts.push((index as u16, word.into(), is_denied)),
        }
    }

    fn parts_of(&self, row: usize, is_denied: bool) -> impl Iterator<Item = &str> {
        let is_of = move |part: &&(u16, Box<str>, bool)| usize::from(part.0) == row && part.2 == is_denied;
        self.parts.iter().filter(is_of).map(|(_, word, _)| &**word)
    }

    #[cold]
    fn is_denied_by_part(&self, row: usize, word: Option<&[u8]>) -> bool {
        let mut parts = self.parts_of(row, true).peekable();
        let word = word.map(|word| word.split(|byte| *byte == 0).next().unwrap_or(word));
        let is_word = |part: &str| word.is_some_and(|word| word.eq_ignore_ascii_case(part.as_bytes()));
        parts.peek().is_none() || parts.any(is_word)
    }
}

/// Every name that a policy may have: `get`, `config`, `config|set`.
pub fn names() -> impl Iterator<Item = String> {
    ROWS.iter().flat_map(|row| {
        let parts = parts_of_row(row).map(move |word| format!("{}|{word}", row.name()));
        std::iter::once(row.name().to_owned()).chain(parts)
    })
}

/// The row that a name of the configuration means, and the word behind it in lower case.
fn parse(name: &str) -> Result<(&'static Command, Option<String>), Objection> {
    let (container, word) = match name.split_once('|') {
        Some((container, word)) => (container, Some(word.to_ascii_lowercase())),
        None => (name, None),
    };
    let row = find(container.as_bytes()).ok_or(Objection::Unknown)?;
    match &word {
        Some(word) if !parts_of_row(row).any(|part| part == word) => Err(Objection::Unknown),
        _ => Ok((row, word)),
    }
}

/// The subcommands of a row, whether the table tells them apart or not.
fn parts_of_row(row: &'static Command) -> impl Iterator<Item = &'static str> {
    let words = WORDS.iter().filter(|(name, _)| *name == row.name()).flat_map(|(_, words)| words.split(' '));
    row.subs().iter().map(|sub| sub.name()).chain(words)
}

/// Whether the table refuses `command`, and it may be allowed. It is a subcommand of `row`, or that row itself.
fn allowable(row: &Command, command: &Command, word: Option<&str>, servers: usize) -> Result<(), Objection> {
    if command.class != Class::Refused {
        return Err(Objection::NotRefused);
    }
    let name = word.map_or_else(|| row.name().to_owned(), |word| format!("{}|{word}", row.name()));
    if let Some((_, reason)) = UNSAFE.iter().find(|(unsafe_name, _)| *unsafe_name == name) {
        return Err(Objection::Unsafe(reason));
    }
    if command.keys == Keys::None && servers > 1 {
        return Err(Objection::NoKey);
    }
    Ok(())
}

#[inline]
fn is_set(bits: &Bits, index: usize) -> bool {
    bits.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 != 0)
}

/// The place of a row in the table; for what is not in it, a number that is no place.
#[inline]
fn index_of(row: &Command) -> usize {
    std::ptr::from_ref(row).addr().wrapping_sub(ROWS.as_ptr().addr()) / size_of::<Command>()
}

/// The longest name of a declared command.
const DECLARED_NAME_MAX: usize = 64;

/// The subcommands of those rows that the table does not divide.
const WORDS: &[(&str, &str)] = &[
    (
        "client",
        "caching capa getname getredir help id import-source info kill list no-evict no-touch pause reply setinfo \
         setname tracking trackinginfo unblock unpause",
    ),
    ("command", "count docs getkeys getkeysandflags help info list"),
];

/// What no configuration can allow.
const UNSAFE: &[(&str, &str)] = &[
    ("monitor", STREAM),
    ("sync", STREAM),
    ("psync", STREAM),
    ("replconf", STREAM),
    ("cluster|syncslots", STREAM),
    ("himport", INHERITED),
    ("script|debug", INHERITED),
];
const STREAM: &str = "makes something else of its connection, which other clients share";
const INHERITED: &str = "leaves something on its connection, which other clients share";

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str) -> &'static Command {
        find(name.as_bytes()).expect(name)
    }

    fn is_denied(policy: &Policy, request: &str) -> bool {
        let mut words = request.split(' ');
        let row = row(words.next().expect("split gives at least one"));
        policy.is_denying() && policy.is_denied(row, words.next().map(str::as_bytes))
    }

    fn is_allowed(policy: &Policy, request: &str) -> bool {
        let mut words = request.split(' ');
        policy.is_allowed(row(words.next().expect("split gives at least one")), words.next().map(str::as_bytes))
    }

    #[test]
    fn the_plain_table_denies_and_allows_nothing() {
        let policy = Policy::default();
        assert!(!policy.is_denying());
        for row in ROWS {
            assert!(!policy.is_denied(row, None) && !policy.is_allowed(row, Some(b"get")), "{}", row.name());
        }
        assert!(policy.declared(b"foo").is_none());
    }

    #[test]
    fn what_is_denied_is_that_and_nothing_else() {
        for name in ROWS.iter().map(|row| row.name()) {
            let mut policy = Policy::default();
            policy.deny(&name.to_ascii_uppercase()).unwrap();
            for other in ROWS {
                assert_eq!(policy.is_denied(other, Some(b"x")), other.name() == name, "{name}: {}", other.name());
                assert_eq!(policy.is_denied(other, None), other.name() == name, "{name}: {}", other.name());
            }
        }
    }

    #[test]
    fn a_part_is_denied_as_the_server_would_read_it() {
        let mut policy = Policy::default();
        policy.deny("Client|KILL").unwrap();
        policy.deny("config|get").unwrap();
        for request in ["CLIENT kill", "client KILL", "CLIENT kill\0x", "config Get"] {
            assert!(is_denied(&policy, request), "{request:?}");
        }
        for request in ["CLIENT", "CLIENT id", "CLIENT kil", "CLIENT killx", "config set", "get kill"] {
            assert!(!is_denied(&policy, request), "{request:?}");
        }
        policy.deny("client").unwrap();
        assert!(is_denied(&policy, "CLIENT id") && is_denied(&policy, "CLIENT"));
        policy.deny("client|id").unwrap();
        assert!(is_denied(&policy, "CLIENT info"), "a part does not make less of the whole");
    }

    #[test]
    fn what_is_refused_can_be_allowed_whole_or_in_part() {
        let mut policy = Policy::default();
        for name in ["SLOWLOG|reset", "latency", "config|SET", "acl", "restore-asking"] {
            policy.allow(name, 1).unwrap_or_else(|objection| panic!("{name}: {objection}"));
        }
        for request in ["slowlog RESET", "latency reset", "config set", "acl SETUSER", "restore-asking k"] {
            assert!(is_allowed(&policy, request), "{request}");
        }
        for request in ["slowlog", "slowlog get", "slowlog reset\0", "config rewrite", "config", "debug", "acl whoami"]
        {
            assert!(!is_allowed(&policy, request), "{request:?}");
        }
    }

    #[test]
    fn what_can_not_be_allowed_says_why() {
        let mut policy = Policy::default();
        for (name, servers, words) in [
            ("get", 1, "is not refused"),
            ("object", 1, "is not refused"),
            ("config|get", 1, "is not refused"),
            ("nope", 1, "no command"),
            ("config|nope", 1, "no command"),
            ("get|nope", 1, "no command"),
            ("monitor", 1, "something else of its connection"),
            ("PSYNC", 1, "something else of its connection"),
            ("himport", 1, "leaves something"),
            ("script", 1, "cannot be allowed"),
            ("function|kill", 1, "is not refused"),
            ("slowlog|get", 1, "is not refused"),
            ("slowlog", 2, "has no key"),
            ("config|set", 3, "has no key"),
        ] {
            let found = policy.allow(name, servers).expect_err(name).to_string();
            assert!(found.contains(words), "{name}: {found}");
        }
        assert_eq!(policy, Policy::default());
        policy.allow("restore-asking", 3).unwrap();
        policy.allow("migrate", 3).unwrap();
    }

    #[test]
    fn declared_commands_are_found_in_any_case() {
        let declare = |name: &str, first_key, last_key, servers| {
            let mut policy = Policy::default();
            let declared = Declared { name: name.to_owned(), first_key, last_key, step: 1, is_read: true };
            policy.declare(&declared, servers).map(|()| policy)
        };
        let policy = declare("My.Get", 1, -1, 3).unwrap();
        let command = policy.declared(b"MY.get").expect("declared");
        assert_eq!((command.name(), command.class, command.access), ("my.get", Class::Keyed, Access::Read));
        assert_eq!(command.keys, Keys::Range { first: 1, last: -1, step: 1 });
        for name in [&b"my.ge"[..], b"my.get\0", b"", &[b'm'; 100]] {
            assert!(policy.declared(name).is_none());
        }
        assert!(!policy.is_denied(command, None) && !policy.is_allowed(command, None));
        assert_eq!(declare("my.info", 0, 0, 1).map(|_| ()), Ok(()));
        assert_eq!(declare("my.info", 0, 0, 2), Err(Objection::NoKey));
        assert_eq!(declare("GET", 1, 1, 1), Err(Objection::Known));
        assert_eq!(declare("a b", 1, 1, 1), Err(Objection::Name));
        assert_eq!(declare("", 1, 1, 1), Err(Objection::Name));
        assert_eq!(declare("x", 2, 1, 1), Err(Objection::KeyOrder));
        assert_eq!(declare("x", 0, 1, 1), Err(Objection::KeyOrder));
    }

    #[test]
    fn every_name_that_is_listed_is_known() {
        for name in names() {
            Policy::default().deny(&name).unwrap_or_else(|objection| panic!("{name}: {objection}"));
        }
        for (name, _) in UNSAFE {
            assert!(matches!(Policy::default().allow(name, 1), Err(Objection::Unsafe(_))), "{name}");
        }
        for (name, words) in WORDS {
            assert!(row(name).subs().is_empty() && words.split(' ').all(|word| !word.is_empty()), "{name}");
        }
    }
}
