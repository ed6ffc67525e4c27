//! One reply out of several: how the replies of the parts of a request become the reply to the whole.
//!
//! Pure: bytes in, bytes out. Knows the forms of replies in both versions of the protocol, since all parts of one
//! request are answered in the client's version; knows no requests, no servers, no client. What the servers said is
//! spliced, never translated: the elements of an aggregate are the very bytes of the part that they come from.
//!
//! ```text
//!   MGET a b c     part 0: *2 "A" "C"    part 1: *1 nil      order 0 1 0     ──►   *3 "A" nil "C"
//!   DEL a b        part 0: :1            part 1: :1                          ──►   :2
//!   KEYS *         part 0: *1 "a"        part 1: *2 "b" "c"                  ──►   *3 "a" "b" "c"
//!   SCAN 9         part 0: *2 "4" *1 "a"      (place 1 of 3)                 ──►   *2 "13" *1 "a"
//! ```
//!
//! Any part's error is the reply: the first one, in the order of the parts. Replies that do not fit together (servers
//! of different kinds under one name) are an error of our own, and never a guess.
//!
//! # The cursor of SCAN
//!
//! A cursor that a client holds is `server's cursor * number of servers + place of the server`. 0 is the start at the
//! first server; when a server's own cursor comes back as 0, the client goes on with `0 * number + next place`, and
//! after the last server it gets 0, the end. So each server's keys are scanned with all that SCAN guarantees, one
//! server after the other. Redis's cursors stay below the size of its hash table, and so far below 2^64 that the
//! product fits; should one not fit, that is an error. What else is in a cursor (`CURSOR_BITS`) leaves it below 2^53:
//! Redis's own are in fact, so there are clients that keep them in a number of JavaScript, or a signed one.

use std::collections::HashSet;

use super::refusals::CONNECTION_DOWN;
use crate::command::Channels;
use crate::reply;
use crate::resp::elements::{self, Elements};

/// The reply when those of the servers are not of the kind that the command has.
pub(super) const UNFIT: &[u8] = b"-ERR The replies of the servers do not fit together\r\n";
const HASH_DIGITS: usize = 64;

/// How the replies to the parts of a request become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Integers are added.
    Sum,
    /// The elements of the parts' arrays go back to the places that the order says.
    ByPosition,
    /// `+OK`, when all are.
    AllOk,
    /// The elements of the first, then those of the next, as one aggregate of the same type.
    Concat,
    /// As `Concat`, each element once.
    Union,
    /// The greatest integer.
    Max,
    /// In arrays of equal form, place by place, the greatest integer: how many subscribe to a channel of this family.
    Subscribers(Channels),
    /// The first one stands for all.
    First,
    /// 1 where all have 1, in arrays of 0 and 1.
    And,
    /// The first one that is not null, beginning with the part of this number.
    AnyKey(usize),
    /// The first one that is no error; or else one that says more than that no script is running.
    Kill {
        /// Whether all servers are among them.
        is_whole: bool,
    },
    /// The only one, without the hashes of passwords.
    Masked,
    /// The reply to SCAN of the server at `place`, out of `places`.
    Cursor {
        /// Which server this was.
        place: u64,
        /// How many there are.
        places: u64,
        /// How often the servers have become others.
        revision: u64,
    },
}

/// The bits of a cursor that say where a server goes on, and which server: more than any server needs that has fewer
/// than 2^40 keys, and eight servers fewer than 2^40 each. Those above say which servers they are.
const CURSOR_BITS: u32 = 43;
const CURSOR_MAX: u64 = (1 << CURSOR_BITS) - 1;
/// So many of those above.
const MARK_BITS: u32 = 53 - CURSOR_BITS;

/// Appends to `out` the reply to a request whose parts were answered with `parts`, of which there is at least one.
/// `order` says for each element of a reply by position which part it is in.
pub(super) fn compose<P: AsRef<[u8]>>(shape: Shape, parts: &[P], order: &[u16], out: &mut Vec<u8>) {
    if let Shape::Kill { is_whole } = shape {
        return killed(parts, is_whole, out);
    }
    if let Some(error) = parts.iter().find(|part| is_error(part.as_ref())) {
        return out.extend_from_slice(error.as_ref());
    }
    let start = out.len();
    let fits = match shape {
        Shape::Sum => sum(parts, out),
        Shape::ByPosition => by_position(parts, order, out),
        Shape::AllOk => all_ok(parts, out),
        Shape::Concat => concat(parts, out),
        Shape::Union => union(parts, out),
        Shape::Max => max(parts, out),
        Shape::Subscribers(_) => place_by_place(parts, out, i64::max),
        Shape::First => copy(parts.first(), out),
        Shape::And => and(parts, out),
        Shape::AnyKey(first) => any_key(parts, first, out),
        Shape::Kill { .. } => None,
        Shape::Masked => masked(parts.first(), out),
        Shape::Cursor { place, places, revision } => cursor(parts, place, places, revision, out),
    };
    if fits.is_none() {
        out.truncate(start);
        out.extend_from_slice(UNFIT);
    }
}

/// True exactly when a reply is an error, in either version of the protocol.
pub(super) fn is_error(reply: &[u8]) -> bool {
    matches!(reply.first(), Some(b'-' | b'!'))
}

/// Of a client's cursor, the place of the server and what that one called it. `None` if it was given when the servers
/// were others; they have become so `revision` times.
pub(super) fn split_cursor(cursor: u64, places: u64, revision: u64) -> Option<(u64, u64)> {
    if cursor == 0 || revision == 0 {
        return Some((cursor % places, cursor / places));
    }
    let (mark, cursor) = (cursor >> CURSOR_BITS, cursor & CURSOR_MAX);
    (mark == cursor_mark(revision)).then_some((cursor % places, cursor / places))
}

/// The client's cursor for what the server at `place` said; `None` if it is too large for that.
fn join_cursor(cursor: u64, place: u64, places: u64, revision: u64) -> Option<u64> {
    let joined = match cursor {
        0 if place + 1 == places => return Some(0),
        0 => place + 1,
        _ => cursor.checked_mul(places)?.checked_add(place)?,
    };
    if revision == 0 {
        return Some(joined);
    }
    (joined <= CURSOR_MAX).then_some(cursor_mark(revision) << CURSOR_BITS | joined)
}

/// What stands in a cursor for servers that are not those of the start; never 0.
fn cursor_mark(revision: u64) -> u64 {
    (revision - 1) % ((1 << MARK_BITS) - 1) + 1
}

/// Whether a reply is null, in either version of the protocol.
fn is_null(reply: &[u8]) -> bool {
    matches!(reply, b"$-1\r\n" | b"_\r\n" | b"*-1\r\n")
}

fn copy<P: AsRef<[u8]>>(part: Option<&P>, out: &mut Vec<u8>) -> Option<()> {
    out.extend_from_slice(part?.as_ref());
    Some(())
}

/// The server where the script runs has the say.
fn killed<P: AsRef<[u8]>>(parts: &[P], is_whole: bool, out: &mut Vec<u8>) {
    let is_idle = |reply: &[u8]| reply.starts_with(b"-NOTBUSY");
    let mut replies = parts.iter().map(AsRef::as_ref);
    let said = replies.clone().find(|reply| !is_error(reply)).or_else(|| replies.find(|reply| !is_idle(reply)));
    out.extend_from_slice(match said {
        Some(reply) => reply,
        None if is_whole => parts.first().map_or(UNFIT, AsRef::as_ref),
        None => CONNECTION_DOWN,
    });
}

/// Redis tells a password as its SHA-256 in hexadecimal digits, alone or behind a `#`. Each gets zeros in its place.
fn masked<P: AsRef<[u8]>>(part: Option<&P>, out: &mut Vec<u8>) -> Option<()> {
    let start = out.len();
    copy(part, out)?;
    for run in out[start..].chunk_by_mut(|a, b| a.is_ascii_hexdigit() && b.is_ascii_hexdigit()) {
        if run.len() == HASH_DIGITS {
            run.fill(b'0');
        }
    }
    Some(())
}

fn sum<P: AsRef<[u8]>>(parts: &[P], out: &mut Vec<u8>) -> Option<()> {
    let sum = parts.iter().try_fold(0_i64, |sum, part| sum.checked_add(elements::integer(part.as_ref())?))?;
    reply::integer(out, sum);
    Some(())
}

fn all_ok<P: AsRef<[u8]>>(parts: &[P], out: &mut Vec<u8>) -> Option<()> {
    if parts.iter().all(|part| part.as_ref() == b"+OK\r\n") {
        reply::ok(out);
        return Some(());
    }
    None
}

fn by_position<P: AsRef<[u8]>>(parts: &[P], order: &[u16], out: &mut Vec<u8>) -> Option<()> {
    let mut left = parts.iter().map(|part| Elements::of(part.as_ref())).collect::<Option<Vec<_>>>()?;
    out.reserve(parts.iter().map(|part| part.as_ref().len()).sum());
    reply::array(out, order.len());
    for &part in order {
        out.extend_from_slice(left.get_mut(usize::from(part))?.next()?);
    }
    left.iter().all(|elements| elements.left() == 0).then_some(())
}

fn head(kind: u8, values: u64, out: &mut Vec<u8>) -> Option<()> {
    let values = usize::try_from(values).ok()?;
    match kind {
        b'%' => reply::map(out, crate::session::Protocol::Resp3, values / 2),
        b'~' => reply::set(out, crate::session::Protocol::Resp3, values),
        _ => reply::array(out, values),
    }
    Some(())
}

fn concat<P: AsRef<[u8]>>(parts: &[P], out: &mut Vec<u8>) -> Option<()> {
    let all = parts.iter().map(|part| Elements::of(part.as_ref())).collect::<Option<Vec<_>>>()?;
    let kind = all.first()?.kind();
    if all.iter().any(|elements| elements.kind() != kind) {
        return None;
    }
    head(kind, all.iter().map(Elements::left).sum(), out)?;
    all.iter().for_each(|elements| out.extend_from_slice(elements.rest()));
    Some(())
}

fn union<P: AsRef<[u8]>>(parts: &[P], out: &mut Vec<u8>) -> Option<()> {
    let mut seen: HashSet<&[u8]> = HashSet::new();
    let mut kept: Vec<&[u8]> = Vec::new();
    let kind = Elements::of(parts.first()?.as_ref())?.kind();
    for part in parts {
        let mut elements = Elements::of(part.as_ref()).filter(|elements| elements.kind() == kind)?;
        kept.extend(elements.by_ref().filter(|element| seen.insert(element)));
        if elements.left() > 0 {
            return None;
        }
    }
    if kind == b'%' {
        return None;
    }
    head(kind, kept.len() as u64, out)?;
    kept.iter().for_each(|element| out.extend_from_slice(element));
    Some(())
}

fn max<P: AsRef<[u8]>>(parts: &[P], out: &mut Vec<u8>) -> Option<()> {
    let integers = parts.iter().map(|part| elements::integer(part.as_ref())).collect::<Option<Vec<_>>>()?;
    reply::integer(out, integers.into_iter().max()?);
    Some(())
}

fn and<P: AsRef<[u8]>>(parts: &[P], out: &mut Vec<u8>) -> Option<()> {
    place_by_place(parts, out, i64::min)
}

/// Aggregates of equal form: in each place either the same in all, or integers of which one is chosen.
fn place_by_place<P: AsRef<[u8]>>(parts: &[P], out: &mut Vec<u8>, choose: fn(i64, i64) -> i64) -> Option<()> {
    let mut all = parts.iter().map(|part| Elements::of(part.as_ref())).collect::<Option<Vec<_>>>()?;
    let (kind, count) = (all.first()?.kind(), all.first()?.left());
    if all.iter().any(|elements| (elements.kind(), elements.left()) != (kind, count)) {
        return None;
    }
    head(kind, count, out)?;
    for _ in 0..count {
        let (first, others) = all.split_first_mut()?;
        let element = first.next()?;
        match elements::integer(element) {
            Some(mut chosen) => {
                for other in others {
                    chosen = choose(chosen, elements::integer(other.next()?)?);
                }
                reply::integer(out, chosen);
            }
            None => {
                for other in others {
                    other.next().filter(|other| *other == element)?;
                }
                out.extend_from_slice(element);
            }
        }
    }
    Some(())
}

fn any_key<P: AsRef<[u8]>>(parts: &[P], first: usize, out: &mut Vec<u8>) -> Option<()> {
    let (before, from) = parts.split_at(first.min(parts.len()));
    let found = from.iter().chain(before).find(|part| !is_null(part.as_ref()));
    copy(found.or(parts.first()), out)
}

fn cursor<P: AsRef<[u8]>>(parts: &[P], place: u64, places: u64, revision: u64, out: &mut Vec<u8>) -> Option<()> {
    let mut elements = Elements::of(parts.first()?.as_ref()).filter(|elements| elements.left() == 2)?;
    let cursor = std::str::from_utf8(elements::bulk(elements.next()?)?).ok()?.parse().ok()?;
    reply::array(out, 2);
    reply::bulk(out, join_cursor(cursor, place, places, revision)?.to_string().as_bytes());
    out.extend_from_slice(elements.next()?);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn composed(shape: Shape, parts: &[&str], order: &[u16]) -> String {
        let mut out = b"+before\r\n".to_vec();
        compose(shape, parts, order, &mut out);
        let text = String::from_utf8(out).expect("these tests are text");
        text.strip_prefix("+before\r\n").expect("what was there stays").to_owned()
    }

    fn is_unfit(shape: Shape, parts: &[&str], order: &[u16]) -> bool {
        composed(shape, parts, order).as_bytes() == UNFIT
    }

    const EVERY_SHAPE: [Shape; 11] = [
        Shape::Sum,
        Shape::ByPosition,
        Shape::AllOk,
        Shape::Concat,
        Shape::Union,
        Shape::Max,
        Shape::Subscribers(Channels::Exact),
        Shape::First,
        Shape::And,
        Shape::AnyKey(1),
        Shape::Cursor { place: 0, places: 2, revision: 0 },
    ];

    #[test]
    fn any_parts_error_is_the_reply_whatever_the_others_say() {
        for shape in EVERY_SHAPE {
            for error in ["-LOADING x\r\n", "!5\r\nERR x\r\n"] {
                assert_eq!(composed(shape, &["*1\r\n+a\r\n", error, "-ERR second\r\n"], &[0]), error, "{shape:?}");
                assert_eq!(composed(shape, &[error], &[0]), error);
            }
        }
    }

    #[test]
    fn what_does_not_fit_together_is_an_error_and_no_panic() {
        let odd =
            ["", "+OK", "*", "*1\r\n", "*9\r\n:1\r\n", "$3\r\na", "%1\r\n+a\r\n+b\r\n", "*2\r\n$1\r\nx\r\n*0\r\n"];
        for shape in EVERY_SHAPE.into_iter().filter(|shape| !matches!(shape, Shape::First | Shape::AnyKey(_))) {
            for part in odd {
                // Lists join with any list; and replies were framed, so none is cut off.
                if matches!(shape, Shape::Concat | Shape::Union) && part.starts_with('*') && part.ends_with('\n') {
                    continue;
                }
                let parts = ["*3\r\n:1\r\n:1\r\n:1\r\n", part];
                assert!(is_unfit(shape, &parts, &[0, 1, 0]), "{shape:?} {part:?}");
            }
        }
        assert!(is_unfit(Shape::ByPosition, &["*1\r\n+a\r\n"], &[0, 1]), "a part that is not there");
        assert!(is_unfit(Shape::ByPosition, &["*2\r\n+a\r\n+b\r\n"], &[0]), "more than was asked for");
        assert!(is_unfit(Shape::Sum, &[":9223372036854775807\r\n", ":1\r\n"], &[]));
        assert!(is_unfit(Shape::Union, &["%1\r\n+a\r\n+b\r\n"], &[]));
    }

    #[test]
    fn values_go_back_to_their_places_byte_for_byte() {
        let parts = ["*3\r\n$1\r\na\r\n$-1\r\n$2\r\n\r\n\r\n", "*2\r\n_\r\n*1\r\n$1\r\nx\r\n"];
        let expected = "*5\r\n_\r\n$1\r\na\r\n$-1\r\n*1\r\n$1\r\nx\r\n$2\r\n\r\n\r\n";
        assert_eq!(composed(Shape::ByPosition, &parts, &[1, 0, 0, 1, 0]), expected);
    }

    #[test]
    fn numbers_are_added_and_oks_are_one() {
        assert_eq!(composed(Shape::Sum, &[":2\r\n", ":0\r\n", ":40\r\n"], &[]), ":42\r\n");
        assert_eq!(composed(Shape::AllOk, &["+OK\r\n", "+OK\r\n"], &[]), "+OK\r\n");
        assert!(is_unfit(Shape::AllOk, &["+OK\r\n", "+QUEUED\r\n"], &[]));
    }

    #[test]
    fn lists_are_joined_in_their_own_type() {
        assert_eq!(
            composed(Shape::Concat, &["*1\r\n+a\r\n", "*0\r\n", "*2\r\n+b\r\n+a\r\n"], &[]),
            "*3\r\n+a\r\n+b\r\n+a\r\n"
        );
        assert_eq!(
            composed(Shape::Concat, &["%1\r\n+a\r\n*0\r\n", "%1\r\n+b\r\n_\r\n"], &[]),
            "%2\r\n+a\r\n*0\r\n+b\r\n_\r\n"
        );
        assert_eq!(
            composed(Shape::Union, &["*2\r\n+a\r\n+b\r\n", "*2\r\n+c\r\n+a\r\n"], &[]),
            "*3\r\n+a\r\n+b\r\n+c\r\n"
        );
        assert_eq!(composed(Shape::Union, &["~1\r\n+a\r\n", "~1\r\n+a\r\n"], &[]), "~1\r\n+a\r\n");
        assert!(is_unfit(Shape::Concat, &["*0\r\n", "~0\r\n"], &[]));
    }

    #[test]
    fn places_are_compared_one_by_one() {
        assert_eq!(composed(Shape::Max, &[":3\r\n", ":7\r\n", ":5\r\n"], &[]), ":7\r\n");
        let parts = ["*4\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n:5\r\n", "*4\r\n$1\r\na\r\n:2\r\n$1\r\nb\r\n:0\r\n"];
        assert_eq!(
            composed(Shape::Subscribers(Channels::Exact), &parts, &[]),
            "*4\r\n$1\r\na\r\n:2\r\n$1\r\nb\r\n:5\r\n"
        );
        assert_eq!(
            composed(Shape::And, &["*3\r\n:1\r\n:1\r\n:0\r\n", "*3\r\n:1\r\n:0\r\n:0\r\n"], &[]),
            "*3\r\n:1\r\n:0\r\n:0\r\n"
        );
        let others = ["*2\r\n$1\r\na\r\n:1\r\n", "*2\r\n$1\r\nb\r\n:1\r\n"];
        assert!(is_unfit(Shape::Subscribers(Channels::Exact), &others, &[]));
    }

    #[test]
    fn any_key_is_one_that_there_is() {
        let parts = ["$-1\r\n", "$1\r\nb\r\n", "$1\r\nc\r\n"];
        for (first, expected) in [(0, parts[1]), (1, parts[1]), (2, parts[2])] {
            assert_eq!(composed(Shape::AnyKey(first), &parts, &[]), expected);
        }
        assert_eq!(composed(Shape::AnyKey(1), &["_\r\n", "_\r\n"], &[]), "_\r\n");
    }

    #[test]
    fn a_cursor_leads_through_all_servers_and_back_to_zero() {
        for (places, revision) in (1..=5).flat_map(|places| [0, 1, 4095, 4096].map(|revision| (places, revision))) {
            let mut cursor = 0_u64;
            let mut seen = Vec::new();
            // Each server takes three calls: 0, 7, 2^40.
            loop {
                let (place, inner) = split_cursor(cursor, places, revision).expect("it is one of now");
                let later = split_cursor(cursor, places, revision + 1);
                assert_eq!(later.is_some(), cursor == 0, "{cursor} after other servers have come");
                seen.push((place, inner));
                let next = match inner {
                    0 => 7,
                    7 => 1_u64 << 40,
                    _ => 0,
                };
                let reply = format!("*2\r\n${}\r\n{next}\r\n*1\r\n+k\r\n", next.to_string().len());
                let reply = composed(Shape::Cursor { place, places, revision }, &[&reply], &[]);
                let mut elements = Elements::of(reply.as_bytes()).expect("an array");
                let text = elements::bulk(elements.next().expect("a cursor")).expect("a string");
                cursor = std::str::from_utf8(text).expect("digits").parse().expect("a number");
                assert!(cursor < 1 << 53, "a number of JavaScript holds {cursor}");
                assert_eq!(elements.next(), Some(&b"*1\r\n+k\r\n"[..]));
                if cursor == 0 {
                    break;
                }
            }
            let expected: Vec<_> = (0..places).flat_map(|place| [(place, 0), (place, 7), (place, 1 << 40)]).collect();
            assert_eq!(seen, expected);
        }
    }

    #[test]
    fn a_cursor_that_does_not_fit_is_an_error() {
        let reply = format!("*2\r\n$20\r\n{}\r\n*0\r\n", u64::MAX);
        assert!(is_unfit(Shape::Cursor { place: 1, places: 2, revision: 0 }, &[&reply], &[]));
        assert_eq!(composed(Shape::Cursor { place: 0, places: 1, revision: 0 }, &[&reply], &[]), reply);
        assert!(is_unfit(Shape::Cursor { place: 0, places: 2, revision: 0 }, &["*2\r\n$1\r\nx\r\n*0\r\n"], &[]));
    }
}
