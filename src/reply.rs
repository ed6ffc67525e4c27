//! Writers for the replies that rmux makes itself: one RESP value each, appended to the end of a buffer.
//!
//! They know the two versions of the protocol and nothing else. A type that RESP2 does not have is written as Redis
//! writes it there: a map as a flat array, a set as an array, a verbatim string as a bulk string, a null as a null
//! bulk. Errors have a file of their own, [`error`].
//!
//! Invariant: what is appended is whole, except for `array`, `set` and `map`, which are heads: the caller appends as
//! many values as they announce, for a map a key and a value each. Nothing is allocated but room in the buffer.

pub mod error;

use crate::session::Protocol;

/// `+OK`.
#[inline]
pub fn ok(out: &mut Vec<u8>) {
    out.extend_from_slice(b"+OK\r\n");
}

/// A simple string. The text has no line ends.
pub fn simple(out: &mut Vec<u8>, text: &str) {
    debug_assert!(!text.contains(['\r', '\n']), "a simple string is one line");
    out.push(b'+');
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// An integer.
pub fn integer(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(if value < 0 { b":-" } else { b":" });
    decimal(out, value.unsigned_abs());
    out.extend_from_slice(b"\r\n");
}

/// A bulk string; any bytes.
#[inline]
pub fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    head(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// A text that is meant to be read: a verbatim string in RESP3.
pub fn verbatim(out: &mut Vec<u8>, protocol: Protocol, text: &[u8]) {
    match protocol {
        Protocol::Resp2 => bulk(out, text),
        Protocol::Resp3 => {
            head(out, b'=', text.len() + "txt:".len());
            out.extend_from_slice(b"txt:");
            out.extend_from_slice(text);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// No array: what a transaction that was not run is answered with, and who has waited in vain.
pub fn null_array(out: &mut Vec<u8>, protocol: Protocol) {
    out.extend_from_slice(match protocol {
        Protocol::Resp2 => b"*-1\r\n",
        Protocol::Resp3 => b"_\r\n",
    });
}

/// No value.
pub fn null(out: &mut Vec<u8>, protocol: Protocol) {
    out.extend_from_slice(match protocol {
        Protocol::Resp2 => b"$-1\r\n",
        Protocol::Resp3 => b"_\r\n",
    });
}

/// The head of an array of `count` values.
pub fn array(out: &mut Vec<u8>, count: usize) {
    head(out, b'*', count);
}

/// The head of a set of `count` values.
pub fn set(out: &mut Vec<u8>, protocol: Protocol, count: usize) {
    match protocol {
        Protocol::Resp2 => head(out, b'*', count),
        Protocol::Resp3 => head(out, b'~', count),
    }
}

/// The head of a map of `count` pairs.
pub fn map(out: &mut Vec<u8>, protocol: Protocol, count: usize) {
    match protocol {
        Protocol::Resp2 => head(out, b'*', count * 2),
        Protocol::Resp3 => head(out, b'%', count),
    }
}

#[inline]
fn head(out: &mut Vec<u8>, kind: u8, count: usize) {
    out.push(kind);
    decimal(out, count as u64);
    out.extend_from_slice(b"\r\n");
}

/// A number in decimal, without a type or an end: the digits alone.
// The formatting of the standard library costs several times as much, and these lengths are on the path of each ECHO.
#[inline]
pub fn decimal(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; DIGITS_MAX];
    let mut first = DIGITS_MAX;
    loop {
        first -= 1;
        digits[first] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[first..]);
}

/// Digits of `u64::MAX`.
const DIGITS_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use Protocol::{Resp2, Resp3};

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = b"+before\r\n".to_vec();
        write(&mut out);
        let text = String::from_utf8(out).expect("test replies are text");
        text.strip_prefix("+before\r\n").expect("what was there stays").to_owned()
    }

    #[test]
    fn integers_have_all_their_digits() {
        for value in [0, 1, 9, 10, 99, 100, -1, -10, i64::from(i32::MAX), i64::MAX, i64::MIN] {
            assert_eq!(written(|out| integer(out, value)), format!(":{value}\r\n"));
        }
        assert_eq!(written(|out| decimal(out, u64::MAX)), u64::MAX.to_string());
    }

    #[test]
    fn strings_carry_their_length() {
        assert_eq!(written(ok), "+OK\r\n");
        assert_eq!(written(|out| simple(out, "QUEUED")), "+QUEUED\r\n");
        assert_eq!(written(|out| bulk(out, b"")), "$0\r\n\r\n");
        assert_eq!(written(|out| bulk(out, b"a\r\nb\0 c")), "$7\r\na\r\nb\0 c\r\n");
        assert_eq!(written(|out| verbatim(out, Resp2, b"")), "$0\r\n\r\n");
        assert_eq!(written(|out| verbatim(out, Resp3, b"")), "=4\r\ntxt:\r\n");
        assert_eq!(written(|out| verbatim(out, Resp3, b"a:1\r\n")), "=9\r\ntxt:a:1\r\n\r\n");
        assert_eq!(written(|out| verbatim(out, Resp2, b"a:1\r\n")), "$5\r\na:1\r\n\r\n");
    }

    #[test]
    fn resp2_has_neither_maps_nor_sets_nor_nulls() {
        assert_eq!(written(|out| map(out, Resp2, 7)), "*14\r\n");
        assert_eq!(written(|out| map(out, Resp3, 7)), "%7\r\n");
        assert_eq!(written(|out| set(out, Resp2, 2)), "*2\r\n");
        assert_eq!(written(|out| set(out, Resp3, 2)), "~2\r\n");
        assert_eq!(written(|out| array(out, 0)), "*0\r\n");
        assert_eq!(written(|out| null(out, Resp2)), "$-1\r\n");
        assert_eq!(written(|out| null(out, Resp3)), "_\r\n");
    }
}
