//! A client without cleverness: raw bytes out, raw bytes in, one whole reply at a time.
//!
//! Knows where a reply ends (RESP2 and RESP3, nested), and nothing of what it means: a test compares bytes. It never
//! reconnects and never retries; an end of the stream or a deadline that passes is an error of its own.
//!
//! ```text
//! buffer   [ replies given out | replies not yet asked for | part of one ]
//!          0                consumed                                   len
//! ```
//!
//! Invariant: consumed <= buffer.len().

use super::{Address, Stream};
use std::fmt;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

/// A connection to rmux or to Redis.
#[derive(Debug)]
pub struct Client {
    stream: Stream,
    buffer: Vec<u8>,
    consumed: usize,
}

/// Why no whole reply came.
#[derive(Debug)]
pub enum NoReply {
    /// The peer closed; these bytes came before, and are not a whole reply.
    Closed(Vec<u8>),
    /// Nothing more came in time; these bytes came before.
    Late(Vec<u8>),
    /// These bytes are no RESP.
    Garbage(String),
}

impl fmt::Display for NoReply {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoReply::Closed(rest) => write!(formatter, "closed after {:?}", show(rest)),
            NoReply::Late(rest) => write!(formatter, "nothing more came after {:?}", show(rest)),
            NoReply::Garbage(why) => write!(formatter, "no RESP: {why}"),
        }
    }
}

impl Client {
    /// Connects, with `PATIENCE` for every read and write.
    ///
    /// # Panics
    ///
    /// When nobody listens.
    pub fn connect(address: &Address) -> Client {
        let stream = address.connect().unwrap_or_else(|error| panic!("connect to {address:?}: {error}"));
        Client::over(stream)
    }

    /// On a socket that is connected already.
    pub fn over(stream: Stream) -> Client {
        Client { stream, buffer: Vec::new(), consumed: 0 }
    }

    /// From now on reads and writes wait no longer than this.
    pub fn set_patience(&self, patience: Duration) {
        self.stream.set_timeouts(patience).expect("the socket is open");
    }

    /// Writes all of it.
    ///
    /// # Panics
    ///
    /// When the peer does not take it.
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("the peer takes the bytes");
    }

    /// Writes all of it, or says why not.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Another handle for writing, so that a long pipeline can be written while its replies are read.
    pub fn writer(&self) -> Stream {
        self.stream.duplicate()
    }

    /// Says that nothing more will be sent; replies can still come.
    pub fn shutdown_write(&self) {
        self.stream.shutdown(Shutdown::Write).expect("the socket is open");
    }

    /// The bytes of exactly one reply.
    ///
    /// # Panics
    ///
    /// When none comes.
    pub fn reply(&mut self) -> Vec<u8> {
        self.try_reply().unwrap_or_else(|why| panic!("expected a reply: {why}"))
    }

    /// The bytes of exactly one reply, or why there is none.
    pub fn try_reply(&mut self) -> Result<Vec<u8>, NoReply> {
        // How much of a first line that may be long was looked at already.
        let mut searched = 0;
        loop {
            let waiting = &self.buffer[self.consumed..];
            if !waiting[searched..].contains(&b'\n') {
                searched = waiting.len();
                self.read_some()?;
                continue;
            }
            match reply_length(waiting) {
                Err(why) => return Err(NoReply::Garbage(why)),
                Ok(Some(length)) => {
                    let reply = self.buffer[self.consumed..self.consumed + length].to_vec();
                    self.consumed += length;
                    if self.consumed == self.buffer.len() {
                        self.buffer.clear();
                        self.consumed = 0;
                    }
                    return Ok(reply);
                }
                Ok(None) => {}
            }
            self.read_some()?;
        }
    }

    /// Closes both directions, for every handle on the socket.
    pub fn break_off(&self) {
        // The peer may have closed first.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Reads once: at least one byte of a reply has come.
    ///
    /// # Panics
    ///
    /// When nothing comes.
    pub fn wait_for_some(&mut self) {
        self.read_some().unwrap_or_else(|why| panic!("expected the start of a reply: {why}"));
    }

    /// The bytes of `count` replies, one after the other.
    pub fn replies(&mut self, count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|_| self.reply()).collect()
    }

    /// One command and its reply.
    pub fn cmd<Part: AsRef<[u8]>>(&mut self, parts: &[Part]) -> Vec<u8> {
        self.send(&encode(parts));
        self.reply()
    }

    /// One command and its reply, or why there is none.
    pub fn try_cmd<Part: AsRef<[u8]>>(&mut self, parts: &[Part]) -> Result<Vec<u8>, NoReply> {
        self.try_send(&encode(parts)).map_err(|_| NoReply::Closed(Vec::new()))?;
        self.try_reply()
    }

    /// One command, given as words with single blanks between, and its reply as text.
    pub fn line(&mut self, words: &str) -> String {
        let parts: Vec<&str> = words.split(' ').collect();
        show(&self.cmd(&parts))
    }

    /// Everything until the peer closes.
    ///
    /// # Panics
    ///
    /// When the peer does not close in time.
    pub fn rest(&mut self) -> Vec<u8> {
        loop {
            match self.read_some() {
                Ok(()) => {}
                Err(NoReply::Closed(rest)) => return rest,
                Err(why) => panic!("expected the end of the stream: {why}"),
            }
        }
    }

    /// The peer closes, and says nothing before.
    pub fn expect_closed(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "expected the end of the stream, got {:?}", show(&rest));
    }

    /// Everything until the peer closes, or until `marker` stands at the end.
    pub fn until_closed_or(&mut self, marker: &[u8]) -> Vec<u8> {
        loop {
            if self.buffer.ends_with(marker) {
                let all = self.buffer.split_off(self.consumed);
                self.buffer.clear();
                self.consumed = 0;
                return all;
            }
            match self.read_some() {
                Ok(()) => {}
                Err(NoReply::Closed(rest)) => return rest,
                Err(why) => panic!("expected {:?} or the end of the stream: {why}", show(marker)),
            }
        }
    }

    /// Reads once into the buffer.
    fn read_some(&mut self) -> Result<(), NoReply> {
        if self.consumed > 0 && self.consumed >= self.buffer.len() / 2 {
            self.buffer.drain(..self.consumed);
            self.consumed = 0;
        }
        let mut chunk = [0; 64 * 1024];
        let rest = |client: &Client| client.buffer[client.consumed..].to_vec();
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(NoReply::Closed(rest(self))),
                Ok(length) => {
                    self.buffer.extend_from_slice(&chunk[..length]);
                    return Ok(());
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                        return Err(NoReply::Late(rest(self)));
                    }
                    // A reset is how a peer closes that had not read everything.
                    _ => return Err(NoReply::Closed(rest(self))),
                },
            }
        }
    }
}

/// A command as clients send it: an array of bulk strings.
pub fn encode<Part: AsRef<[u8]>>(parts: &[Part]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", parts.len()).into_bytes();
    for part in parts {
        bytes.extend_from_slice(&bulk(part.as_ref()));
    }
    bytes
}

/// A bulk string.
pub fn bulk(body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("${}\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes.extend_from_slice(b"\r\n");
    bytes
}

/// Bytes for a message: as text, and no longer than a screen.
pub fn show(bytes: &[u8]) -> String {
    const SHOWN_MAX: usize = 2_000;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_MAX)]).into_owned();
    if bytes.len() > SHOWN_MAX { format!("{text}… ({} bytes)", bytes.len()) } else { text }
}

/// The text of a bulk or verbatim string.
pub fn text(reply: &[u8]) -> String {
    String::from_utf8_lossy(body(reply)).into_owned()
}

/// The body of a bulk or verbatim string.
pub fn body(reply: &[u8]) -> &[u8] {
    let start = reply.windows(2).position(|pair| pair == b"\r\n").expect("a reply has a first line") + 2;
    match reply[0] {
        b'$' => &reply[start..reply.len() - 2],
        b'=' => &reply[start + 4..reply.len() - 2],
        _ => panic!("expected a string, got {:?}", show(reply)),
    }
}

/// Where the first reply ends; `None` while it is not all there.
///
/// Source: the RESP specification (protocol 2 and 3), without streamed lengths, which no Redis sends.
fn reply_length(bytes: &[u8]) -> Result<Option<usize>, String> {
    let Some(line) = bytes.windows(2).position(|pair| pair == b"\r\n") else {
        return Ok(None);
    };
    let start = line + 2;
    let number = || -> Result<i64, String> {
        let text = String::from_utf8_lossy(&bytes[1..line]);
        text.parse().map_err(|_| format!("length {text:?} after {:?}", bytes[0] as char))
    };
    let children = match bytes[0] {
        b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => return Ok(Some(start)),
        b'$' | b'=' | b'!' => {
            let length = number()?;
            let end = if length < 0 { start } else { start + length as usize + 2 };
            return Ok((end <= bytes.len()).then_some(end));
        }
        b'*' | b'~' | b'>' => number()?.max(0),
        b'%' => number()? * 2,
        // An attribute stands in front of the reply that it belongs to.
        b'|' => number()? * 2 + 1,
        other => return Err(format!("{:?} in {:?}", other as char, show(bytes))),
    };
    let mut end = start;
    for _ in 0..children {
        match reply_length(&bytes[end..])? {
            Some(length) => end += length,
            None => return Ok(None),
        }
    }
    Ok(Some(end))
}

#[test]
fn a_reply_is_complete_exactly_at_its_last_byte() {
    for reply in [
        &b"+OK\r\n"[..],
        b"-ERR no\r\n",
        b"$-1\r\n",
        b"*-1\r\n",
        b"$0\r\n\r\n",
        b"$3\r\na\r\n\r\n",
        b"*2\r\n$1\r\na\r\n*1\r\n:1\r\n",
        b"%1\r\n+a\r\n~2\r\n,1.5\r\n#t\r\n",
        b"|1\r\n+ttl\r\n:1\r\n_\r\n",
        b"=5\r\ntxt:a\r\n",
        b">3\r\n+message\r\n+a\r\n+b\r\n",
    ] {
        for length in 0..reply.len() {
            assert_eq!(reply_length(&reply[..length]), Ok(None), "{:?}", show(&reply[..length]));
        }
        let with_more = [reply, b"+MORE\r\n"].concat();
        assert_eq!(reply_length(&with_more), Ok(Some(reply.len())), "{:?}", show(reply));
    }
}
