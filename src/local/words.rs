//! The words of a request: its arguments, as bytes.
//!
//! Knows where they lie, and not what they mean. The first one is the command's name.

use crate::resp::Arg;

/// The arguments of a request, as bytes.
#[derive(Clone, Copy)]
pub(super) struct Words<'a> {
    pub request: &'a [u8],
    pub args: &'a [Arg],
}

impl<'a> Words<'a> {
    /// How many there are, the command's name counted.
    #[inline]
    pub fn len(self) -> usize {
        self.args.len()
    }

    /// The one with this index, which is below `len`.
    #[inline]
    pub fn at(self, index: usize) -> &'a [u8] {
        self.args[index].of(self.request)
    }

    /// Those from this index on; none when there are fewer.
    pub fn from(self, index: usize) -> impl Iterator<Item = &'a [u8]> + Clone {
        self.args.iter().skip(index).map(move |arg| arg.of(self.request))
    }
}

/// Whether a word is one of these, whatever its case.
pub(super) fn is_one_of(word: &[u8], words: &[&str]) -> bool {
    words.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(word))
}
