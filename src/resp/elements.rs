//! The elements of one whole aggregate reply, each as the bytes that it is written in.
//!
//! For whoever takes replies apart and puts them together anew without understanding them: nothing is decoded, and what
//! is spliced into another reply stays exactly what the server said. Elements may be aggregates themselves; they are
//! stepped over as one.
//!
//! ```text
//!   *3\r\n $1\r\na\r\n _\r\n *1\r\n:7\r\n
//!          └ first ──┘ └ 2nd ┘└── third ──┘      left: 3, 2, 1, 0
//! ```
//!
//! The reply was framed before, so it is whole; should it not be, the elements end early, with `left() > 0`.

use super::frame::Frame;
use super::line::{Line, line_number};
use super::reply_framer::ReplyFramer;

/// What is left of an aggregate's elements. A map has two for each pair.
#[derive(Debug, Clone, Copy)]
pub struct Elements<'a> {
    rest: &'a [u8],
    left: u64,
    kind: u8,
}

impl<'a> Elements<'a> {
    /// The elements of `reply`; `None` unless it is an array, a set or a map of known length, and not null. Attributes
    /// in front of it are passed over.
    pub fn of(mut reply: &'a [u8]) -> Option<Elements<'a>> {
        loop {
            let kind = *reply.first().filter(|kind| matches!(kind, b'*' | b'~' | b'%' | b'|'))?;
            let Line::Number(count @ 0.., next) = line_number(reply, 1) else { return None };
            let left = if matches!(kind, b'%' | b'|') { 2 * count as u64 } else { count as u64 };
            let mut elements = Elements { rest: &reply[next..], left, kind };
            if kind != b'|' {
                return Some(elements);
            }
            while elements.next().is_some() {}
            reply = Some(elements.rest).filter(|_| elements.left == 0)?;
        }
    }

    /// The type of the aggregate: `*`, `~` or `%`.
    pub fn kind(&self) -> u8 {
        self.kind
    }

    /// How many elements are still to come.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// The bytes of all elements that are still to come.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.left == 0 {
            return None;
        }
        let end = match self.rest.first()? {
            // Nearly all are bulk strings: no framer for those.
            b'$' => match line_number(self.rest, 1) {
                Line::Number(len, next) if len >= 0 => next + len as usize + 2,
                Line::Number(_, next) => next,
                _ => return None,
            },
            _ => match ReplyFramer::new().frame(self.rest) {
                Ok(Frame::Complete(end)) => end,
                _ => return None,
            },
        };
        let (element, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        self.left -= 1;
        Some(element)
    }
}

/// The integer that `reply` is; `None` if it is something else.
pub fn integer(reply: &[u8]) -> Option<i64> {
    match (reply.first()?, line_number(reply, 1)) {
        (b':', Line::Number(value, end)) if end == reply.len() => Some(value),
        _ => None,
    }
}

/// The bytes of the bulk string that `reply` is; `None` if it is something else, or null.
pub fn bulk(reply: &[u8]) -> Option<&[u8]> {
    bytes_of(b'$', reply)
}

/// The text that `reply` is, a bulk string or a verbatim one; `None` if it is something else.
pub fn text(reply: &[u8]) -> Option<&str> {
    let bytes = bulk(reply).or_else(|| bytes_of(b'=', reply)?.strip_prefix(b"txt:"))?;
    std::str::from_utf8(bytes).ok()
}

fn bytes_of(kind: u8, reply: &[u8]) -> Option<&[u8]> {
    match (reply.first()?, line_number(reply, 1)) {
        (&first, Line::Number(len, start)) if first == kind && len >= 0 && start + len as usize + 2 == reply.len() => {
            Some(&reply[start..start + len as usize])
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_before_the_aggregate_is_passed_over() {
        let attributes = ["|1\r\n+ttl\r\n:3600\r\n", "|2\r\n+a\r\n*1\r\n:1\r\n+b\r\n$0\r\n\r\n", "|0\r\n"];
        for attribute in [attributes[0], attributes[1], &attributes.concat()] {
            let reply = format!("{attribute}*2\r\n:1\r\n{}:2\r\n", attributes[0]);
            let found = Elements::of(reply.as_bytes()).expect("an aggregate");
            assert_eq!((found.kind(), found.left()), (b'*', 2));
            assert!(found.eq([&b":1\r\n"[..], b"|1\r\n+ttl\r\n:3600\r\n:2\r\n"]));
            assert!(Elements::of(format!("{attribute}+OK\r\n").as_bytes()).is_none());
            assert!(Elements::of(attribute.as_bytes()).is_none());
        }
        assert!(Elements::of(b"|2\r\n+a\r\n").is_none());
    }

    #[test]
    fn elements_are_the_bytes_between_the_head_and_the_end() {
        let elements = [
            "$1\r\na\r\n",
            "_\r\n",
            "$-1\r\n",
            "*2\r\n:1\r\n*0\r\n",
            "$2\r\n\r\n\r\n",
            "%1\r\n+k\r\n#t\r\n",
            "*-1\r\n",
        ];
        let body = elements.concat();
        for (head, kind) in [("*7\r\n", b'*'), ("~7\r\n", b'~')] {
            let reply = format!("{head}{body}");
            let mut found = Elements::of(reply.as_bytes()).expect("an aggregate");
            assert_eq!((found.kind(), found.left(), found.rest()), (kind, 7, body.as_bytes()));
            assert!(found.by_ref().eq(elements.map(str::as_bytes)));
            assert_eq!((found.left(), found.rest()), (0, &b""[..]));
        }
        let mut map = Elements::of(b"%2\r\n+a\r\n:1\r\n+b\r\n:2\r\n").expect("a map");
        assert_eq!(map.left(), 4);
        assert_eq!(map.nth(2), Some(&b"+b\r\n"[..]));
    }

    #[test]
    fn what_is_no_aggregate_has_no_elements() {
        for reply in ["", "*", "*-1\r\n", "$1\r\na\r\n", "+OK\r\n", "_\r\n", ">1\r\n+a\r\n", "*?\r\n.\r\n", "*x\r\n"] {
            assert!(Elements::of(reply.as_bytes()).is_none(), "{reply:?}");
        }
        assert_eq!(Elements::of(b"*0\r\n").map(|elements| elements.count()), Some(0));
    }

    #[test]
    fn a_reply_that_is_cut_off_ends_early_and_without_a_panic() {
        let reply = b"*2\r\n$3\r\nabc\r\n*1\r\n:12\r\n";
        for end in 4..reply.len() {
            let mut elements = Elements::of(&reply[..end]).expect("the head is there");
            while elements.next().is_some() {}
            assert!(elements.left() > 0, "{end}");
        }
    }

    #[test]
    fn single_values_are_read_strictly() {
        assert_eq!(integer(b":-5\r\n"), Some(-5));
        assert_eq!(integer(b":9223372036854775807\r\n"), Some(i64::MAX));
        for reply in ["", ":\r\n", ":1", ":1\r\n ", "$1\r\n1\r\n", "(1\r\n"] {
            assert_eq!(integer(reply.as_bytes()), None, "{reply:?}");
        }
        assert_eq!(bulk(b"$0\r\n\r\n"), Some(&b""[..]));
        assert_eq!(bulk(b"$4\r\na\r\nb\r\n"), Some(&b"a\r\nb"[..]));
        for reply in ["", "$-1\r\n", "$4\r\nab\r\n", "+a\r\n", "$1\r\nab\r\n"] {
            assert_eq!(bulk(reply.as_bytes()), None, "{reply:?}");
        }
    }
}
