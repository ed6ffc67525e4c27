//! What a server says to a connection that subscribes, and what rmux says to its own subscribers.
//!
//! A server is spoken to in RESP2, where everything that it says there is an array of strings; the same array under the
//! type `>` is what RESP3 has for it, so a message goes to each client as it came, but for its first byte:
//!
//! ```text
//!   *3 $7 message $4 news $5 hello            a message: its family and its topic are in the first two words
//!   *4 $8 pmessage $2 n* $4 news $5 hello
//!   *3 $9 subscribe $4 news :1                a confirmation; the number is how many the connection has
//!   *2 $4 pong $0                             the answer to a PING; `+PONG` where nothing is subscribed to
//! ```
//!
//! Knows frames, and nothing of who sends or gets them. What a server may say is a short list: anything else is `None`,
//! and its connection is not to be trusted.

use crate::command::Channels;
use crate::reply;
use crate::session::Protocol;

/// Something that a server has said to a connection that subscribes.
#[derive(Debug, PartialEq, Eq)]
pub enum Push<'a> {
    /// Somebody has published.
    Message {
        /// The family of the topic.
        family: Channels,
        /// Its name: for a pattern the pattern, and not the channel.
        topic: &'a [u8],
    },
    /// It was asked to say more, or less, and does.
    Confirmed {
        /// The family of the topic.
        family: Channels,
        /// True exactly when it was to say more.
        is_more: bool,
        /// The name of the topic; empty if there was none to say less of.
        topic: &'a [u8],
    },
    /// It is there.
    Pong,
    /// It does not do what it was asked.
    Refused,
}

/// Reads a whole frame.
pub fn read(frame: &[u8]) -> Option<Push<'_>> {
    match frame.first()? {
        b'+' => return (frame == b"+PONG\r\n").then_some(Push::Pong),
        b'-' => return Some(Push::Refused),
        b'*' | b'>' => {}
        _ => return None,
    }
    let (kind, rest) = bulk(line(frame)?.1)?;
    let topic = bulk(rest).map_or(&[][..], |(topic, _)| topic);
    let confirmed = |family, is_more| Some(Push::Confirmed { family, is_more, topic });
    let message = |family| bulk(rest).map(|(topic, _)| Push::Message { family, topic });
    match kind {
        b"message" => message(Channels::Exact),
        b"pmessage" => message(Channels::Pattern),
        b"smessage" => message(Channels::Shard),
        b"subscribe" => confirmed(Channels::Exact, true),
        b"psubscribe" => confirmed(Channels::Pattern, true),
        b"ssubscribe" => confirmed(Channels::Shard, true),
        b"unsubscribe" => confirmed(Channels::Exact, false),
        b"punsubscribe" => confirmed(Channels::Pattern, false),
        b"sunsubscribe" => confirmed(Channels::Shard, false),
        b"pong" => Some(Push::Pong),
        _ => None,
    }
}

/// The first byte of a push in this version of the protocol.
pub fn head(protocol: Protocol) -> &'static [u8] {
    match protocol {
        Protocol::Resp2 => b"*",
        Protocol::Resp3 => b">",
    }
}

/// Appends the confirmation of a subscription, or of its end; `count` is how many are left. Without a name: there was
/// nothing to be ended.
pub fn confirmation(
    out: &mut Vec<u8>,
    protocol: Protocol,
    family: Channels,
    is_more: bool,
    name: Option<&[u8]>,
    count: usize,
) {
    out.extend_from_slice(head(protocol));
    out.extend_from_slice(b"3\r\n");
    reply::bulk(out, verb(family, is_more).as_bytes());
    match name {
        Some(name) => reply::bulk(out, name),
        None => reply::null(out, protocol),
    }
    reply::integer(out, count as i64);
}

/// Appends the request that asks a server to say more, or less.
pub fn request<'a>(out: &mut Vec<u8>, family: Channels, is_more: bool, names: impl ExactSizeIterator<Item = &'a [u8]>) {
    reply::array(out, 1 + names.len());
    reply::bulk(out, verb(family, is_more).as_bytes());
    for name in names {
        reply::bulk(out, name);
    }
}

/// Appends the answer to a PING of a client that can hear nothing but arrays.
pub fn pong(out: &mut Vec<u8>, text: &[u8]) {
    reply::array(out, 2);
    reply::bulk(out, b"pong");
    reply::bulk(out, text);
}

/// The command, which is also the first word of its confirmation.
fn verb(family: Channels, is_more: bool) -> &'static str {
    match (family, is_more) {
        (Channels::Exact, true) => "subscribe",
        (Channels::Pattern, true) => "psubscribe",
        (Channels::Shard, true) => "ssubscribe",
        (Channels::Exact, false) => "unsubscribe",
        (Channels::Pattern, false) => "punsubscribe",
        (Channels::Shard, false) => "sunsubscribe",
    }
}

/// The first line, without its first byte and its end, and what is behind it.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|&byte| byte == b'\r')?;
    Some((&bytes[1..end], bytes.get(end + 2..)?))
}

/// The string that `bytes` begin with, and what is behind it. `None` if it is no string, or not whole.
fn bulk(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    if *bytes.first()? != b'$' {
        return None;
    }
    let (len, rest) = line(bytes)?;
    let len: usize = std::str::from_utf8(len).ok()?.parse().ok()?;
    Some((rest.get(..len)?, rest.get(len.checked_add(2)?..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Channels::{Exact, Pattern, Shard};

    #[test]
    fn what_a_server_says_is_read() {
        let message = |family, topic| Some(Push::Message { family, topic });
        let confirmed = |family, is_more, topic| Some(Push::Confirmed { family, is_more, topic });
        for (frame, expected) in [
            (&b"*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n"[..], message(Exact, b"news")),
            (b">3\r\n$7\r\nmessage\r\n$0\r\n\r\n$5\r\nhello\r\n", message(Exact, b"")),
            (b"*4\r\n$8\r\npmessage\r\n$2\r\nn*\r\n$4\r\nnews\r\n$0\r\n\r\n", message(Pattern, b"n*")),
            (b"*3\r\n$8\r\nsmessage\r\n$3\r\n\r\n\xff\r\n$0\r\n\r\n", message(Shard, b"\r\n\xff")),
            (b"*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n", confirmed(Exact, true, b"news")),
            (b"*3\r\n$12\r\npunsubscribe\r\n$-1\r\n:0\r\n", confirmed(Pattern, false, b"")),
            (b"*3\r\n$12\r\nsunsubscribe\r\n$1\r\na\r\n:0\r\n", confirmed(Shard, false, b"a")),
            (b"*2\r\n$4\r\npong\r\n$0\r\n\r\n", Some(Push::Pong)),
            (b"+PONG\r\n", Some(Push::Pong)),
            (b"-ERR unknown command 'SSUBSCRIBE'\r\n", Some(Push::Refused)),
            (b"+OK\r\n", None),
            (b":1\r\n", None),
            (b"*0\r\n", None),
            (b"*-1\r\n", None),
            (b"*2\r\n:1\r\n:2\r\n", None),
            (b"*3\r\n$10\r\ninvalidate\r\n$1\r\na\r\n:0\r\n", None),
            (b"*1\r\n$7\r\nmessage\r\n", None),
        ] {
            assert_eq!(read(frame), expected, "{:?}", String::from_utf8_lossy(frame));
        }
    }

    #[test]
    fn a_message_that_is_cut_short_is_none_or_the_same() {
        let frame = b"*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n";
        let whole = read(frame);
        for len in 0..frame.len() {
            let read = read(&frame[..len]);
            assert!(read.is_none() || read == whole, "{len}");
        }
    }

    #[test]
    fn confirmations_are_those_of_redis() {
        let written = |protocol, family, is_more, name: Option<&str>, count| {
            let mut out = Vec::new();
            confirmation(&mut out, protocol, family, is_more, name.map(str::as_bytes), count);
            String::from_utf8(out).expect("text")
        };
        assert_eq!(written(Protocol::Resp2, Exact, true, Some("c1"), 1), "*3\r\n$9\r\nsubscribe\r\n$2\r\nc1\r\n:1\r\n");
        assert_eq!(
            written(Protocol::Resp3, Pattern, true, Some("c*"), 12),
            ">3\r\n$10\r\npsubscribe\r\n$2\r\nc*\r\n:12\r\n"
        );
        assert_eq!(written(Protocol::Resp2, Exact, false, None, 0), "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n");
        assert_eq!(written(Protocol::Resp3, Shard, false, None, 0), ">3\r\n$12\r\nsunsubscribe\r\n_\r\n:0\r\n");
    }

    #[test]
    fn a_request_names_all_its_topics() {
        let mut out = Vec::new();
        request(&mut out, Pattern, true, [&b"a*"[..], b"b"].into_iter());
        assert_eq!(out, b"*3\r\n$10\r\npsubscribe\r\n$2\r\na*\r\n$1\r\nb\r\n");
    }
}
