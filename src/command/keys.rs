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

/// A number as Redis takes it from an argument (`string2ll`): no blank, no plus sign, no leading zero, no `-0`, within
/// 64 bits.
pub fn integer(text: &[u8]) -> Option<i64> {
    let is_negative = text.first() == Some(&b'-');
    let digits = if is_negative { &text[1..] } else { text };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) || (digits[0] == b'0' && text.len() > 1) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn range(first: usize, last: isize, step: usize, argc: usize) -> Result<KeySpan, KeyError> {
    // A negative argument index counts from the end: -1 ends where the arguments end.
    let end = match usize::try_from(last) {
        Ok(last) => last + 1,
        Err(_) => argc.saturating_sub(last.unsigned_abs() - 1),
    };
    if first >= end || end > argc {
        return Err(KeyError::WrongArity);
    }
    let places = end - first;
    // Nearly every row has the step 1: no division for that.
    let count = if step == 1 { places } else { places / step };
    if count * step != places {
        return Err(KeyError::WrongArity);
    }
    Ok(KeySpan::row(first, count, step))
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
mod tests {
    use super::super::find;
    use super::*;

    /// The words of a request, split at spaces; `""` is an empty argument.
    fn words(request: &str) -> Vec<&str> {
        request.split(' ').map(|word| if word == "\"\"" { "" } else { word }).collect()
    }

    fn keys_of(request: &str) -> Result<Vec<u32>, KeyError> {
        let words = words(request);
        let mut command = find(words[0].as_bytes()).expect(request);
        if command.is_container() {
            command = command.sub(words[1].as_bytes()).expect(request);
        }
        let span = command.key_span(words.len(), |index| words[index].as_bytes())?;
        Ok(span.iter().collect())
    }

    #[test]
    fn keys_are_found_where_redis_finds_them() {
        let cases: &[(&str, &[u32])] = &[
            // No key at all.
            ("PING", &[]),
            ("TIME", &[]),
            ("SCAN 0 MATCH k", &[]),
            ("PUBLISH channel message", &[]),
            ("SPUBLISH channel message", &[]),
            ("SSUBSCRIBE channel", &[]),
            ("OBJECT HELP", &[]),
            ("CONFIG GET save", &[]),
            ("FT.SEARCH index query", &[]),
            // One, at a fixed place.
            ("GET k", &[1]),
            ("get k", &[1]),
            ("SET k v NX GET EX 10", &[1]),
            ("HSET k f v f2 v2", &[1]),
            ("BITFIELD k GET u8 0", &[1]),
            ("SPOP k 3", &[1]),
            ("OBJECT ENCODING k", &[2]),
            ("object freq k", &[2]),
            ("MEMORY USAGE k SAMPLES 5", &[2]),
            ("XGROUP CREATE k group $ MKSTREAM", &[2]),
            ("XINFO STREAM k FULL", &[2]),
            ("JSON.DEBUG MEMORY k", &[2]),
            ("FT.GET index document", &[2]),
            ("PFDEBUG GETREG k", &[2]),
            ("MOVE k 3", &[1]),
            ("RESTORE k 0 payload REPLACE", &[1]),
            ("TS.READ k 0 BLOCK 100 1", &[1]),
            // Two.
            ("RENAME a b", &[1, 2]),
            ("COPY a b DB 3 REPLACE", &[1, 2]),
            ("LMOVE a b LEFT RIGHT", &[1, 2]),
            ("BLMOVE a b LEFT RIGHT 0", &[1, 2]),
            ("SMOVE a b member", &[1, 2]),
            ("LCS a b IDX", &[1, 2]),
            ("GEOSEARCHSTORE d s FROMMEMBER m BYRADIUS 1 km", &[1, 2]),
            ("ZRANGESTORE d s 0 -1", &[1, 2]),
            ("TS.CREATERULE s d AGGREGATION avg 60", &[1, 2]),
            // A row to the end, or to before the end.
            ("DEL k", &[1]),
            ("DEL a b c", &[1, 2, 3]),
            ("MGET a b", &[1, 2]),
            ("SINTERSTORE d a b", &[1, 2, 3]),
            ("PFMERGE d a b", &[1, 2, 3]),
            ("WATCH a b", &[1, 2]),
            ("BITOP AND d a b", &[2, 3, 4]),
            ("BITOP NOT d a", &[2, 3]),
            ("BLPOP a b 0", &[1, 2]),
            ("BRPOP q q\u{6}\u{16}3 q\u{6}\u{16}6 1", &[1, 2, 3]),
            ("BZPOPMIN a 5", &[1]),
            ("JSON.MGET a b $.path", &[1, 2]),
            // With values between them.
            ("MSET a 1", &[1]),
            ("MSET a 1 b 2 c 3", &[1, 3, 5]),
            ("MSETNX a 1 b 2", &[1, 3]),
            ("JSON.MSET a $ 1 b $ 2", &[1, 4]),
            ("TS.MADD a 1 1 b 1 1", &[1, 4]),
            ("MSETEX 2 a 1 b 2 NX EX 10", &[2, 4]),
            ("MSETEX 1 a 1 EX 10", &[2]),
            // Counted.
            ("EVAL script 2 a b c d", &[3, 4]),
            ("EVAL script 2 a b", &[3, 4]),
            ("EVAL script 0", &[]),
            ("EVAL script 0 a b", &[]),
            ("EVALSHA_RO sha 1 a", &[3]),
            ("FCALL function 1 a b", &[3]),
            ("ZUNION 2 a b WITHSCORES", &[2, 3]),
            ("ZDIFF 1 a", &[2]),
            ("SINTERCARD 2 a b LIMIT 3", &[2, 3]),
            ("SUNIONCARD 2 a b", &[2, 3]),
            ("LMPOP 2 a b LEFT COUNT 2", &[2, 3]),
            ("ZMPOP 1 a MIN", &[2]),
            ("BLMPOP 1 2 a b LEFT", &[3, 4]),
            ("BZMPOP 0 1 a MAX", &[3]),
            ("TS.NRANGE 2 a b - +", &[2, 3]),
            ("ZUNIONSTORE d 2 a b WEIGHTS 1 2", &[1, 3, 4]),
            ("ZINTERSTORE d 1 a AGGREGATE MAX", &[1, 3]),
            ("ZDIFFSTORE d 2 a b", &[1, 3, 4]),
            ("TDIGEST.MERGE d 2 a b COMPRESSION 100", &[1, 3, 4]),
            ("CMS.MERGE d 2 a b WEIGHTS 1 2", &[1, 3, 4]),
            // SORT.
            ("SORT k", &[1]),
            ("SORT k BY w_* LIMIT 0 10 GET d_* GET # DESC ALPHA", &[1]),
            ("SORT k STORE d", &[1, 3]),
            ("SORT k store d STORE e", &[1, 5]),
            ("SORT k BY STORE DESC", &[1]),
            ("SORT k BY STORE STORE d", &[1, 5]),
            ("SORT k GET STORE LIMIT STORE STORE", &[1]),
            ("SORT k LIMIT 0 1 STORE STORE", &[1, 6]),
            ("SORT k STORE get STORE d", &[1, 5]),
            ("SORT k STORE", &[1]),
            ("SORT STORE STORE STORE", &[1, 3]),
            ("SORT_RO k BY w_* GET d_*", &[1]),
            ("SORT_RO k STORE d", &[1]),
            // GEORADIUS.
            ("GEORADIUS k 1 2 3 km", &[1]),
            ("GEORADIUS k 1 2 3 km WITHDIST COUNT 3 ANY ASC", &[1]),
            ("GEORADIUS k 1 2 3 km STORE d", &[1, 7]),
            ("GEORADIUS k 1 2 3 km COUNT 3 STOREDIST d", &[1, 9]),
            ("GEORADIUS k 1 2 3 km STORE d STOREDIST e", &[1, 9]),
            ("GEORADIUS k 1 2 3 km STORE STOREDIST", &[1, 7]),
            ("GEORADIUS k 1 2 3 km STORE", &[1]),
            ("GEORADIUS STORE 1 2 3 km ASC", &[1]),
            ("GEORADIUSBYMEMBER k STORE 3 km", &[1]),
            ("GEORADIUSBYMEMBER k m 3 km STORE d", &[1, 6]),
            ("GEORADIUS_RO k 1 2 3 km", &[1]),
            // XREAD.
            ("XREAD STREAMS a 0", &[2]),
            ("XREAD COUNT 2 BLOCK 0 STREAMS a b 0 $", &[6, 7]),
            ("XREAD STREAMS STREAMS STREAMS 0 0", &[2, 3]),
            ("XREAD COUNT STREAMS STREAMS a 0", &[4]),
            ("xread block 5 streams a $", &[4]),
            ("XREADGROUP GROUP g c STREAMS a >", &[5]),
            ("XREADGROUP GROUP g STREAMS STREAMS a >", &[5]),
            ("XREADGROUP GROUP STREAMS c COUNT 1 STREAMS a b > >", &[7, 8]),
            ("XREADGROUP NOACK GROUP g c BLOCK 0 CLAIM 10 STREAMS STREAMS >", &[10]),
            ("XREADGROUP GROUP g c MAXCOUNT 5 MAXSIZE 100 STREAMS a >", &[9]),
            // MIGRATE.
            ("MIGRATE h 6379 k 0 1000", &[3]),
            ("MIGRATE h 6379 \"\" 0 1000 KEYS a b", &[7, 8]),
            ("MIGRATE h 6379 \"\" 0 1000 COPY REPLACE AUTH KEYS KEYS a b", &[11, 12]),
            ("MIGRATE h 6379 \"\" 0 1000 AUTH2 KEYS KEYS KEYS a", &[10]),
            ("MIGRATE h 6379 \"\" 0 1000", &[3]),
        ];
        for (request, keys) in cases {
            assert_eq!(keys_of(request).as_deref(), Ok(*keys), "{request}");
        }
    }

    #[test]
    fn what_redis_rejects_has_no_keys() {
        use KeyError::*;
        let cases = [
            ("GET", WrongArity),
            ("RENAME a", WrongArity),
            ("DEL", WrongArity),
            ("OBJECT ENCODING", WrongArity),
            ("BITOP NOT", WrongArity),
            ("BLPOP 0", WrongArity),
            ("MSET", WrongArity),
            ("MSET a", WrongArity),
            ("MSET a 1 b", WrongArity),
            ("MSETNX a 1 b", WrongArity),
            ("JSON.MSET a $ 1 b $", WrongArity),
            ("JSON.MGET a", WrongArity),
            ("SORT", WrongArity),
            ("EVAL script", WrongArity),
            ("EVAL script -1", Negative),
            ("EVAL script -9223372036854775808 a", Negative),
            ("EVAL script 3 a b", TooMany),
            ("EVAL script 9223372036854775807 a b", TooMany),
            ("EVAL script 4294967297 a b", TooMany),
            ("EVAL script 9223372036854775808 a b", NotAnInteger),
            ("EVAL script 99999999999999999999999999999999 a", NotAnInteger),
            ("EVAL script one a", NotAnInteger),
            ("EVAL script 01 a", NotAnInteger),
            ("EVAL script +1 a", NotAnInteger),
            ("EVAL script 1.0 a", NotAnInteger),
            ("EVAL script -0", NotAnInteger),
            ("EVAL script -", NotAnInteger),
            ("EVAL script \"\" a", NotAnInteger),
            ("EVAL script \u{661} a", NotAnInteger),
            ("ZUNION 0 a", NoKeys),
            ("ZUNION -1 a", Negative),
            ("ZUNION 2 a", TooMany),
            ("ZUNIONSTORE d 0 a", NoKeys),
            ("ZUNIONSTORE d 2 a", TooMany),
            ("ZUNIONSTORE d", WrongArity),
            ("LMPOP 3 a LEFT", TooMany),
            ("BLMPOP 0 a LEFT", NotAnInteger),
            ("MSETEX 2 a 1 b", TooMany),
            ("MSETEX 0 a 1", NoKeys),
            ("MSETEX 4611686018427387905 a 1", TooMany),
            ("XREAD a 0", Syntax),
            ("XREAD COUNT 1 BLOCK", Syntax),
            ("XREAD STREAMS", Syntax),
            ("XREAD STREAMS a", Unbalanced),
            ("XREAD STREAMS a b 0", Unbalanced),
            ("XREADGROUP GROUP g STREAMS a >", Syntax),
            ("MIGRATE h 6379 k 0 1000 KEYS a", Syntax),
        ];
        for (request, error) in cases {
            assert_eq!(keys_of(request), Err(error), "{request}");
        }
    }

    #[test]
    fn a_key_apart_stands_beside_the_row_and_the_first_of_all_leads() {
        let words = words("ZUNIONSTORE d 2 a b");
        let command = find(b"zunionstore").expect("a row");
        let span = command.key_span(words.len(), |index| words[index].as_bytes()).expect("keys");
        assert_eq!((span.first, span.count, span.step), (3, 2, 1));
        assert_eq!(span.extra.map(NonZeroU32::get), Some(1));
        assert_eq!(span.lead(), Some(1));
        assert_eq!(KeySpan::row(0, 0, 1).lead(), None);
        assert!(size_of::<KeySpan>() <= 16);
    }

    #[test]
    fn patterns_reach_beyond_the_named_keys() {
        let cases = [
            ("SORT k", false),
            ("SORT k BY nosort GET #", false),
            ("SORT k BY w_*", true),
            ("SORT k LIMIT BY w_* DESC", false),
            ("SORT k GET # GET d_*->name", true),
            ("SORT k STORE by_*", false),
            ("SORT k BY", false),
            ("SORT_RO k get *", true),
            ("GET *", false),
        ];
        for (request, expected) in cases {
            let words = words(request);
            let command = find(words[0].as_bytes()).expect("a row");
            let arg = |index: usize| words[index].as_bytes();
            assert_eq!(command.reads_by_pattern(words.len(), arg), expected, "{request}");
        }
    }

    /// Whatever stands in the arguments: no panic, indexes ascend below argc, and nothing beyond `args_needed` is read.
    #[test]
    fn any_arguments_give_keys_that_exist() {
        const WORDS: [&[u8]; 24] = [
            b"",
            b"0",
            b"1",
            b"2",
            b"3",
            b"-1",
            b"9223372036854775807",
            b"18446744073709551616",
            b"k",
            b"STORE",
            b"storedist",
            b"BY",
            b"GET",
            b"LIMIT",
            b"COUNT",
            b"STREAMS",
            b"GROUP",
            b"BLOCK",
            b"KEYS",
            b"AUTH2",
            b"w_*",
            b"\xff\x00",
            b"-",
            b"CLAIM",
        ];
        let seed = std::env::var("RMUX_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
        let mut state: u64 = seed;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as usize % below
        };
        let commands: Vec<_> = super::super::all().flat_map(|row| std::iter::once(row).chain(row.subs())).collect();
        for round in 0..200 {
            for command in &commands {
                let argc = 1 + random(14);
                let words: Vec<&[u8]> = (0..argc).map(|_| WORDS[random(WORDS.len())]).collect();
                let context = || format!("seed {seed}, round {round}: {} {words:?}", command.name());
                let needed = command.args_needed().map_or(argc, |needed| needed as usize);
                let span = command.key_span(argc, |index| {
                    assert!(index < argc.min(needed), "{}", context());
                    words[index]
                });
                let keys: Vec<u32> = span.map_or(Vec::new(), |span| span.iter().collect());
                assert!(keys.is_sorted_by(|left, right| left < right), "{}", context());
                assert!(keys.last().is_none_or(|last| (*last as usize) < argc.min(needed)), "{}", context());
                let _ = command.blocks(argc, |index| words[index]);
                let _ = command.reads_by_pattern(argc, |index| words[index]);
            }
        }
    }
}
