//! Where the keys of a request are.
//!
//! Knows the forms in which Redis commands name keys; knows neither the names of the commands nor the values.
//! Where Redis' own `COMMAND GETKEYS` and the command itself disagree (SORT with STORE twice), the command is right:
//! the key that it touches is the one that must be on the server.
//!
//! Unknown options are stepped over as if they had no argument: a newer Redis may know them, an older one rejects them.
//! Numbers are read as strictly as Redis reads them, so that no request is routed that it would take differently.
//!
//! A span is a row of keys, plus possibly one that stands apart:
//!
//! ```text
//! MSET a 1 b 2                    ZUNIONSTORE dst 2 x y          SORT k BY w_* STORE dst
//!      └────┘                                 └─┘ └─┘                 │              └─┘
//! first 1, count 2, step 2        extra 1     first 3, count 2   first 1, count 1    extra 5
//! ```

use std::fmt;
use std::num::NonZeroU32;

/// How a command names its keys. Numbers are argument indexes; 0 is the name of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// It has none.
    None,
    /// Every `step`th argument from `first` to `last`; a negative `last` counts from the end, -1 being the last one.
    /// The arguments must fill whole steps.
    Range {
        /// The first key.
        first: u8,
        /// The last argument of the row.
        last: i8,
        /// From one key to the next.
        step: u8,
    },
    /// The argument at `count_at` says how many keys follow it, `step` arguments apart.
    Counted {
        /// Where the count is.
        count_at: u8,
        /// From one key to the next.
        step: u8,
        /// Argument 1 is a key too, the one that is written.
        destination: bool,
        /// The count may be 0, as for a script.
        optional: bool,
    },
    /// SORT: argument 1, and with `store` what the last STORE option names.
    Sort {
        /// False for SORT_RO.
        store: bool,
    },
    /// GEORADIUS: argument 1, and what the last STORE or STOREDIST option names.
    Radius {
        /// The first argument that may be an option.
        options_at: u8,
    },
    /// XREAD and XREADGROUP: the first half of what follows the word STREAMS, which is looked for where an option may
    /// stand. (A group, a consumer or a stream may be called STREAMS too.)
    Streams,
    /// MIGRATE: argument 3, or, if that is empty, what follows the word KEYS.
    Migrate,
}

/// Where the keys of one request are: a row of them, and possibly one apart. Small, and owns nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpan {
    /// The argument index of the first key in the row.
    pub first: u32,
    /// How many keys are in the row; 0 only when there is no key at all.
    pub count: u32,
    /// From one key of the row to the next; at least 1. What follows a key within its step belongs to it (a value).
    pub step: u32,
    /// The argument index of a key that stands before or behind the row.
    pub extra: Option<NonZeroU32>,
}

/// Why the keys cannot be told. Redis rejects such a request too; `Display` is about what it would say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// Too few arguments, or a pair that lacks its half.
    WrongArity,
    /// The number of keys is not a number.
    NotAnInteger,
    /// The number of keys is less than 0.
    Negative,
    /// The number of keys is 0, where one must be.
    NoKeys,
    /// The number of keys is greater than the arguments that follow it.
    TooMany,
    /// A stream without an id.
    Unbalanced,
    /// The word before the keys is missing.
    Syntax,
}

impl Keys {
    /// As [`super::Command::args_needed`].
    pub(super) fn args_needed(self) -> Option<u32> {
        match self {
            Keys::None => Some(1),
            Keys::Range { last, .. } => u32::try_from(last).ok().map(|last| last + 1),
            _ => None,
        }
    }

    /// First key, last key and step, as `COMMAND` tells them: all 0 when the keys are only known from the arguments.
    pub fn range(self) -> (i8, i8, i8) {
        match self {
            Keys::Range { first, last, step } => (first as i8, last, step as i8),
            Keys::Counted { destination: true, .. } | Keys::Sort { .. } | Keys::Radius { .. } => (1, 1, 1),
            Keys::Migrate => (3, 3, 1),
            Keys::None | Keys::Counted { .. } | Keys::Streams => (0, 0, 0),
        }
    }

    /// As [`super::Command::key_span`].
    pub(super) fn span<'a>(self, argc: usize, arg: impl Fn(usize) -> &'a [u8]) -> Result<KeySpan, KeyError> {
        match self {
            Keys::None => Ok(KeySpan::row(0, 0, 1)),
            Keys::Range { first, last, step } => range(first.into(), last.into(), step.into(), argc),
            Keys::Counted { count_at, step, destination, optional } => {
                let span = counted(count_at.into(), step.into(), optional, argc, arg)?;
                Ok(if destination { span.with_extra(1) } else { span })
            }
            Keys::Sort { store } => {
                let span = range(1, 1, 1, argc)?;
                let options = Options::new(2, argc, SORT_OPTIONS, arg);
                Ok(span.with_last(options.filter(|option| store && option.name == "store")))
            }
            Keys::Radius { options_at } => {
                let span = range(1, 1, 1, argc)?;
                let options = Options::new(options_at.into(), argc, RADIUS_OPTIONS, arg);
                Ok(span.with_last(options.filter(|option| matches!(option.name, "store" | "storedist"))))
            }
            Keys::Streams => streams(argc, arg),
            Keys::Migrate => migrate(argc, arg),
        }
    }

    /// As [`super::Command::reads_by_pattern`]. Without a `*` Redis takes a pattern for no key.
    pub(super) fn reads_by_pattern<'a>(self, argc: usize, arg: impl Fn(usize) -> &'a [u8]) -> bool {
        matches!(self, Keys::Sort { .. })
            && Options::new(2, argc, SORT_OPTIONS, &arg)
                .filter(|option| matches!(option.name, "by" | "get"))
                .any(|option| arg(option.value).contains(&b'*'))
    }
}

impl KeySpan {
    /// The argument indexes of all keys, ascending.
    pub fn iter(self) -> impl Iterator<Item = u32> {
        let extra = self.extra.map(NonZeroU32::get);
        let before = extra.filter(|extra| *extra < self.first);
        let behind = extra.filter(|extra| *extra >= self.first);
        let row = (0..self.count).map(move |key| self.first + key * self.step);
        before.into_iter().chain(row).chain(behind)
    }

    /// The argument index of the first key, the one that chooses the server; `None` when there is no key.
    pub fn lead(self) -> Option<u32> {
        self.iter().next()
    }

    fn row(first: usize, count: usize, step: usize) -> KeySpan {
        // More than 2^32 arguments do not get past the framing.
        let index = |number| u32::try_from(number).expect("an argument index fits in 32 bits");
        KeySpan { first: index(first), count: index(count), step: index(step), extra: None }
    }

    fn with_extra(mut self, index: usize) -> KeySpan {
        self.extra = u32::try_from(index).ok().and_then(NonZeroU32::new);
        self
    }

    fn with_last(self, options: impl Iterator<Item = FoundOption>) -> KeySpan {
        options.last().map_or(self, |option| self.with_extra(option.value))
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KeyError::WrongArity => "wrong number of arguments",
            KeyError::NotAnInteger => "value is not an integer or out of range",
            KeyError::Negative => "Number of keys can't be negative",
            KeyError::NoKeys => "at least 1 input key is needed",
            KeyError::TooMany => "Number of keys can't be greater than number of args",
            KeyError::Unbalanced => "Unbalanced list of streams: for each stream key an ID must be specified",
            KeyError::Syntax => "syntax error",
        })
    }
}

impl std::error::Error for KeyError {}

/// The argument with the milliseconds of the last BLOCK option, if there is one before the word STREAMS.
pub(super) fn block_option<'a>(from: usize, argc: usize, arg: impl Fn(usize) -> &'a [u8]) -> Option<usize> {
    Options::new(from, argc, STREAM_OPTIONS, arg)
        .take_while(|option| option.name != "streams")
        .filter(|option| option.name == "block")
        .last()
        .map(|option| option.value)
}

/// An integer as Redis writes one: no plus sign, no space, no leading zero, within 64 bits.
pub(super) fn integer(text: &[u8]) -> Option<i64> {
    let is_negative = text.first() == Some(&b'-');
    let digits = if is_negative { &text[1..] } else { text };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) || (digits[0] == b'0' && text.len() > 1) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn range(first: usize, last: isize, step: usize, argc: usize) -> Result<KeySpan, KeyError> {
    let end = if last < 0 { argc.checked_add_signed(last + 1) } else { last.checked_add(1).map(isize::unsigned_abs) };
    match end {
        Some(end) if first < end && end <= argc && (end - first) % step == 0 => {
            Ok(KeySpan::row(first, (end - first) / step, step))
        }
        _ => Err(KeyError::WrongArity),
    }
}

fn counted<'a>(
    count_at: usize,
    step: usize,
    optional: bool,
    argc: usize,
    arg: impl Fn(usize) -> &'a [u8],
) -> Result<KeySpan, KeyError> {
    let first = count_at + 1;
    let room = argc.checked_sub(first).ok_or(KeyError::WrongArity)? / step;
    match integer(arg(count_at)).ok_or(KeyError::NotAnInteger)? {
        0 if !optional => Err(KeyError::NoKeys),
        ..0 => Err(KeyError::Negative),
        count => match usize::try_from(count) {
            Ok(count) if count <= room => Ok(KeySpan::row(first, count, step)),
            _ => Err(KeyError::TooMany),
        },
    }
}

fn streams<'a>(argc: usize, arg: impl Fn(usize) -> &'a [u8]) -> Result<KeySpan, KeyError> {
    let found = Options::new(1, argc, STREAM_OPTIONS, arg).find(|option| option.name == "streams");
    let first = found.ok_or(KeyError::Syntax)?.value;
    let keys_and_ids = argc - first;
    if keys_and_ids % 2 != 0 {
        return Err(KeyError::Unbalanced);
    }
    Ok(KeySpan::row(first, keys_and_ids / 2, 1))
}

fn migrate<'a>(argc: usize, arg: impl Fn(usize) -> &'a [u8]) -> Result<KeySpan, KeyError> {
    let single = range(3, 3, 1, argc)?;
    match Options::new(6, argc, MIGRATE_OPTIONS, &arg).find(|option| option.name == "keys") {
        None => Ok(single),
        Some(_) if !arg(3).is_empty() => Err(KeyError::Syntax),
        Some(keys) => Ok(KeySpan::row(keys.value, argc - keys.value, 1)),
    }
}

/// The known options of a request, in order, each with all its arguments there.
struct Options<F> {
    at: usize,
    argc: usize,
    known: &'static [(&'static str, usize)],
    arg: F,
}

struct FoundOption {
    name: &'static str,
    /// The index of its first argument.
    value: usize,
}

impl<'a, F: Fn(usize) -> &'a [u8]> Options<F> {
    fn new(at: usize, argc: usize, known: &'static [(&'static str, usize)], arg: F) -> Self {
        Options { at, argc, known, arg }
    }
}

impl<'a, F: Fn(usize) -> &'a [u8]> Iterator for Options<F> {
    type Item = FoundOption;

    fn next(&mut self) -> Option<FoundOption> {
        while self.at < self.argc {
            let word = (self.arg)(self.at);
            let value = self.at + 1;
            let known = self.known.iter().find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(word));
            let Some((name, arguments)) = known else {
                self.at = value;
                continue;
            };
            self.at = value + arguments;
            return (self.at <= self.argc).then_some(FoundOption { name, value });
        }
        None
    }
}

/// The options that have arguments, and how many. `KEYS` and `STREAMS` have one or more, and are the last.
const SORT_OPTIONS: &[(&str, usize)] = &[("by", 1), ("get", 1), ("limit", 2), ("store", 1)];
const RADIUS_OPTIONS: &[(&str, usize)] = &[("count", 1), ("store", 1), ("storedist", 1)];
const MIGRATE_OPTIONS: &[(&str, usize)] = &[("auth", 1), ("auth2", 2), ("keys", 1)];
const STREAM_OPTIONS: &[(&str, usize)] =
    &[("block", 1), ("claim", 1), ("count", 1), ("group", 2), ("maxcount", 1), ("maxsize", 1), ("streams", 1)];

#[cfg(test)]
mod tests;
