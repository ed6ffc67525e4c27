//! What a command is called: the word of its row, and the full name that people are shown.
//!
//! Knows letters, and neither commands nor where their names are looked up.

use std::fmt;
use std::num::NonZeroU8;

/// A name. Those of the table lie in their rows: a reference to each would take as much again, and an entry in the
/// table of what is relocated when the program starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Text {
    /// A name of the table: that many of these bytes.
    Short([u8; SHORT_MAX], NonZeroU8),
    /// One that was declared.
    Long(&'static str),
}

/// What fits beside its length into the place of a reference and a word.
const SHORT_MAX: usize = 23;

impl Text {
    pub(super) const fn of_table(name: &str) -> Text {
        let mut bytes = [0; SHORT_MAX];
        let mut at = 0;
        while at < name.len() {
            bytes[at] = name.as_bytes()[at];
            at += 1;
        }
        Text::Short(bytes, NonZeroU8::new(name.len() as u8).expect("a name has letters"))
    }

    pub(super) const fn as_bytes(&self) -> &[u8] {
        match self {
            Text::Short(bytes, len) => bytes.split_at(len.get() as usize).0,
            Text::Long(name) => name.as_bytes(),
        }
    }
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
