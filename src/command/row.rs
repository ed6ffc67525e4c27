//! A row of the table: one command, and what it says about a request of its own.
//!
//! Arguments are looked at through a function `index → bytes`. Knows no other row: which subcommands a container has,
//! it only names.

use super::class::{Access, Class, Lease};
use super::keys::{KeyError, KeySpan, Keys, block_option};
use super::name::Text;
use super::timeout::{Timeout, TimeoutAt, Unit};

/// One command, or one subcommand of a container.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    pub(super) text: Text,
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
    pub(super) subs: Subs,
}

/// Which subcommands a row has: one byte in each row, where a reference would be sixteen. Each but the first is named
/// for its container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subs {
    None,
    Acl,
    Cluster,
    Config,
    FtConfig,
    FtCursor,
    Function,
    JsonDebug,
    Latency,
    Log,
    Memory,
    Module,
    Object,
    Pubsub,
    Rmux,
    Script,
    Xgroup,
    Xinfo,
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

    /// True exactly when the command means nothing without a subcommand.
    pub fn is_container(&self) -> bool {
        self.class == Class::Container
    }

    /// True exactly when argument 1 is its only key, whatever the others are.
    #[inline]
    pub fn has_one_key(&self) -> bool {
        matches!(self.keys, Keys::Range { first: 1, last: 1, .. })
    }

    /// Whether a request of `argc` arguments, the name counted, has the right length.
    pub fn arity_allows(&self, argc: usize) -> bool {
        let least = usize::from(self.arity.unsigned_abs());
        if self.arity >= 0 { argc == least } else { argc >= least }
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
        let (index, unit) = self.timeout_place(argc, &arg)?;
        Some(match unit {
            Unit::Millis => Timeout::from_millis(arg(index)),
            Unit::Seconds if index < argc => Timeout::from_seconds(arg(index)),
            Unit::Seconds => Timeout::Forever,
        })
    }

    /// The index of the argument that says for how long this request may block, and in which unit; `None` when it does
    /// not block. Of a request that is too short the index may be beyond its end.
    pub fn timeout_place<'a>(&self, argc: usize, arg: impl Fn(usize) -> &'a [u8]) -> Option<(usize, Unit)> {
        let Class::Lease(Lease::Block(timeout_at)) = self.class else { return None };
        Some(match timeout_at {
            TimeoutAt::Last => (argc.saturating_sub(1), Unit::Seconds),
            TimeoutAt::Argument(index) => (usize::from(index), Unit::Seconds),
            TimeoutAt::BlockOption(from) => (block_option(usize::from(from), argc, arg)?, Unit::Millis),
        })
    }
}
