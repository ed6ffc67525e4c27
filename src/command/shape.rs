//! What rows of the tables are written with: where keys stand, and a function for each class.
//!
//! Knows no command. `table` and `subcommands` are nothing but calls of these.

use super::class::{Access, Channels, Class, Gather, Lease, Merge, Session};
use super::keys::Keys;
use super::name::Text;
use super::row::{Command, Subs};
use super::timeout::TimeoutAt;

pub(super) const KEY: Keys = Keys::Range { first: 1, last: 1, step: 1 };
pub(super) const TWO: Keys = Keys::Range { first: 1, last: 2, step: 1 };
pub(super) const REST: Keys = Keys::Range { first: 1, last: -1, step: 1 };
pub(super) const BUT_LAST: Keys = Keys::Range { first: 1, last: -2, step: 1 };
pub(super) const PAIRS: Keys = Keys::Range { first: 1, last: -1, step: 2 };
pub(super) const TRIPLES: Keys = Keys::Range { first: 1, last: -1, step: 3 };
pub(super) const SECOND: Keys = Keys::Range { first: 2, last: 2, step: 1 };
pub(super) const FROM_SECOND: Keys = Keys::Range { first: 2, last: -1, step: 1 };
pub(super) const COUNTED: Keys = Keys::Counted { count_at: 1, step: 1, destination: false, optional: false };
pub(super) const COUNTED_PAIRS: Keys = Keys::Counted { count_at: 1, step: 2, destination: false, optional: false };
pub(super) const COUNTED_AT_2: Keys = Keys::Counted { count_at: 2, step: 1, destination: false, optional: false };
pub(super) const STORE_COUNTED: Keys = Keys::Counted { count_at: 2, step: 1, destination: true, optional: false };
pub(super) const SCRIPT_KEYS: Keys = Keys::Counted { count_at: 2, step: 1, destination: false, optional: true };

pub(super) const fn row(name: &'static str, arity: i16, class: Class) -> Command {
    Command { text: Text::of_table(name), arity, access: Access::None, class, keys: Keys::None, subs: Subs::None }
}

pub(super) const fn read(name: &'static str, arity: i16, keys: Keys) -> Command {
    row(name, arity, Class::Keyed).reads().at(keys)
}

pub(super) const fn write(name: &'static str, arity: i16, keys: Keys) -> Command {
    row(name, arity, Class::Keyed).writes().at(keys)
}

pub(super) const fn split(name: &'static str, arity: i16, merge: Merge) -> Command {
    row(name, arity, Class::Split(merge))
}

pub(super) const fn all(name: &'static str, arity: i16, gather: Gather) -> Command {
    row(name, arity, Class::All(gather))
}

pub(super) const fn any(name: &'static str, arity: i16) -> Command {
    row(name, arity, Class::Any)
}

pub(super) const fn single(name: &'static str, arity: i16) -> Command {
    row(name, arity, Class::Single)
}

pub(super) const fn channel(name: &'static str, family: Channels) -> Command {
    row(name, 3, Class::Channel(family))
}

pub(super) const fn session(name: &'static str, arity: i16, session: Session) -> Command {
    row(name, arity, Class::Session(session))
}

pub(super) const fn lease(name: &'static str, arity: i16, lease: Lease) -> Command {
    row(name, arity, Class::Lease(lease))
}

pub(super) const fn block(name: &'static str, arity: i16, timeout_at: TimeoutAt) -> Command {
    row(name, arity, Class::Lease(Lease::Block(timeout_at)))
}

pub(super) const fn refused(name: &'static str, arity: i16) -> Command {
    row(name, arity, Class::Refused)
}

pub(super) const fn container(name: &'static str, arity: i16, subs: Subs) -> Command {
    let mut command = row(name, arity, Class::Container);
    command.subs = subs;
    command
}

impl Command {
    pub(super) const fn reads(mut self) -> Command {
        self.access = Access::Read;
        self
    }

    pub(super) const fn writes(mut self) -> Command {
        self.access = Access::Write;
        self
    }

    pub(super) const fn at(mut self, keys: Keys) -> Command {
        self.keys = keys;
        self
    }
}
