//! What is left of a reply when that is taken away which may differ.
//!
//! Knows RESP2 and RESP3 as far as whole replies need it, and how a reply is compared; no commands.

use super::exceptions::Compared;

const WRONG_ARITY: &[u8] = b"-ERR wrong number of arguments for '";

/// What must be equal. `queued` has how each reply inside an EXEC's is compared; it is empty for any other reply.
pub fn essence(reply: &[u8], compared: Compared, queued: &[Compared]) -> Vec<u8> {
    if !queued.is_empty() && reply.starts_with(b"*") && children(reply).len() == queued.len() {
        let parts = children(reply).into_iter().zip(queued);
        let parts: Vec<Vec<u8>> = parts.map(|(part, compared)| essence(part, *compared, &[])).collect();
        return [head(reply).to_vec(), parts.concat()].concat();
    }
    match compared {
        Compared::AnyError => reply[..1].to_vec(),
        // The module of vector sets gives its names in capitals.
        _ if reply.starts_with(WRONG_ARITY) => reply.to_ascii_lowercase(),
        _ if reply.starts_with(b"-") => reply.to_vec(),
        Compared::Exactly | Compared::Refused | Compared::NotSent => reply.to_vec(),
        Compared::ByType if reply == b"+QUEUED\r\n" => reply.to_vec(),
        Compared::ByType => reply[..1].to_vec(),
        Compared::InAnyOrder => in_order(reply),
        Compared::WithoutClock => {
            let number = std::str::from_utf8(&reply[1..]).ok().and_then(|text| text.trim_end().parse::<i64>().ok());
            if number.is_some_and(|number| number > 10_000) { b":many".to_vec() } else { reply.to_vec() }
        }
    }
}

fn in_order(reply: &[u8]) -> Vec<u8> {
    let mut parts: Vec<Vec<u8>> = children(reply).into_iter().map(in_order).collect();
    if parts.is_empty() {
        return reply.to_vec();
    }
    parts.sort();
    [head(reply).to_vec(), parts.concat()].concat()
}

/// The first line with its end.
fn head(reply: &[u8]) -> &[u8] {
    let end = reply.windows(2).position(|pair| pair == b"\r\n").expect("a reply is whole");
    &reply[..end + 2]
}

/// The elements of an aggregate; none of anything else.
pub fn children(reply: &[u8]) -> Vec<&[u8]> {
    let head = head(reply);
    let mut rest = &reply[head.len()..];
    let mut parts = Vec::new();
    for _ in 0..count(head) {
        let (part, behind) = rest.split_at(length(rest));
        parts.push(part);
        rest = behind;
    }
    parts
}

fn count(head: &[u8]) -> i64 {
    match head[0] {
        b'*' | b'~' | b'>' => number(head).max(0),
        b'%' => number(head) * 2,
        _ => 0,
    }
}

fn length(bytes: &[u8]) -> usize {
    let head = head(bytes);
    match head[0] {
        b'$' | b'=' | b'!' => match usize::try_from(number(head)) {
            Ok(body) => head.len() + body + 2,
            Err(_) => head.len(),
        },
        _ => (0..count(head)).fold(head.len(), |end, _| end + length(&bytes[end..])),
    }
}

/// The number in a first line: an integer, a length, a count.
pub fn number(head: &[u8]) -> i64 {
    std::str::from_utf8(&head[1..]).ok().and_then(|text| text.trim_end().parse().ok()).expect("a length is a number")
}

#[test]
fn only_what_may_differ_is_taken_away() {
    let one = b"*2\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n:1\r\n";
    let other = b"*2\r\n*2\r\n$1\r\nb\r\n$1\r\na\r\n:1\r\n";
    assert_ne!(essence(one, Compared::Exactly, &[]), essence(other, Compared::Exactly, &[]));
    assert_eq!(essence(one, Compared::InAnyOrder, &[]), essence(other, Compared::InAnyOrder, &[]));
    let queued = [Compared::InAnyOrder, Compared::Exactly];
    assert_eq!(essence(one, Compared::Exactly, &queued), essence(other, Compared::Exactly, &queued));
    let queued = [Compared::Exactly, Compared::Exactly];
    assert_ne!(essence(one, Compared::Exactly, &queued), essence(other, Compared::Exactly, &queued));
    assert_ne!(essence(b"-ERR a\r\n", Compared::ByType, &[]), essence(b"-ERR b\r\n", Compared::ByType, &[]));
    assert_eq!(
        essence(b":20000\r\n", Compared::WithoutClock, &[]),
        essence(b":20001\r\n", Compared::WithoutClock, &[])
    );
    assert_ne!(essence(b":-1\r\n", Compared::WithoutClock, &[]), essence(b":-2\r\n", Compared::WithoutClock, &[]));
}
