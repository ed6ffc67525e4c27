//! The arguments as text, which getopts needs, and back as the bytes that they are.
//!
//! An argument that is not UTF-8 is cut where it stops being so: the text ends with a zero byte, which no argument can
//! hold, and the number of the argument that has the rest. Whatever getopts makes of that text, the bytes can be told
//! from what is left of it:
//!
//! ```text
//! -key=a\xff  ──► "-key=a\0" + "3"  ──► getopts ──► key: "a\0" + "3"  ──► a\xff
//! ```
//!
//! Knows no flags.

use std::ffi::OsString;

/// The arguments, without the program's own name.
pub(super) struct Arguments {
    originals: Vec<OsString>,
}

impl Arguments {
    pub(super) fn new(arguments: impl IntoIterator<Item = OsString>) -> Arguments {
        Arguments { originals: arguments.into_iter().collect() }
    }

    /// Each of them as a text of its own.
    pub(super) fn texts(&self) -> Vec<String> {
        let text = |(number, original): (usize, &OsString)| match original.to_str() {
            Some(text) => text.to_owned(),
            None => format!("{}\0{number}", valid_part(original)),
        };
        self.originals.iter().enumerate().map(text).collect()
    }

    /// The argument that is not UTF-8, and of which this is the end, or a piece that reaches to its end.
    pub(super) fn not_unicode(&self, piece: &str) -> Option<&OsString> {
        let (_, number) = piece.split_once('\0')?;
        self.originals.get(number.parse::<usize>().ok()?)
    }

    /// The bytes of an argument, or of its end, from the text that getopts made of it.
    pub(super) fn bytes_of(&self, piece: &str) -> Vec<u8> {
        match (self.not_unicode(piece), piece.split_once('\0')) {
            (Some(original), Some((valid, _))) => {
                [valid.as_bytes(), &original.as_encoded_bytes()[valid_part(original).len()..]].concat()
            }
            _ => piece.as_bytes().to_vec(),
        }
    }
}

/// The argument as far as it is UTF-8.
fn valid_part(argument: &OsString) -> &str {
    argument.as_encoded_bytes().utf8_chunks().next().map_or("", |chunk| chunk.valid())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt as _;

    #[test]
    fn what_is_made_a_text_is_made_bytes_again() {
        let originals = [&b""[..], b"-a", "-key=\u{fffd}ключ".as_bytes(), b"-key=a\xffb\xff", b"\xff", b"-k\xc3"];
        let arguments = Arguments::new(originals.map(|bytes| OsString::from_vec(bytes.to_vec())));
        let texts = arguments.texts();
        for (text, original) in texts.iter().zip(originals) {
            assert_eq!(arguments.bytes_of(text), original);
            let is_text = std::str::from_utf8(original).is_ok();
            assert_eq!(arguments.not_unicode(text).is_none(), is_text, "{text:?}");
        }
        assert_eq!(arguments.bytes_of(&texts[3]["-key=".len()..]), b"a\xffb\xff");
    }
}
