//! A client of the admin endpoint: a request, and an answer that is read strictly.
//!
//! Knows no pages. An answer that is not as HTTP/1.1 has it fails the test.

use super::{Address, Stream};
use std::io::{self, Read, Write};

/// A connection, which is kept for as long as the other side keeps it.
#[derive(Debug)]
pub struct Http {
    stream: Stream,
    /// What has come, and is not read yet.
    left: Vec<u8>,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    /// The value of one field of its head, which is there once.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.head.lines().skip(1).filter_map(|line| {
            let (other, value) = line.split_once(": ").expect("a name and a value");
            other.eq_ignore_ascii_case(name).then_some(value)
        });
        let value = values.next();
        assert_eq!(values.next(), None, "{name} twice: {}", self.head);
        value
    }

    /// Whether the connection is kept.
    pub fn is_kept(&self) -> bool {
        match self.field("Connection").expect("it is always told") {
            "keep-alive" => true,
            "close" => false,
            other => panic!("Connection: {other}"),
        }
    }
}

impl Http {
    /// A new connection.
    pub fn connect(address: &Address) -> Http {
        Http::over(address.connect().unwrap_or_else(|error| panic!("{address:?}: {error}")))
    }

    /// Over one that there is.
    pub fn over(stream: Stream) -> Http {
        Http { stream, left: Vec::new() }
    }

    /// Sends these bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).expect("it reads");
    }

    /// The same, to one that may be closed.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// A page, by HTTP/1.1.
    pub fn get(&mut self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        self.answer()
    }

    /// The next answer.
    pub fn answer(&mut self) -> Answer {
        self.try_answer(false).expect("an answer")
    }

    /// The next answer, which has a head alone if it is to one.
    pub fn try_answer(&mut self, is_head: bool) -> io::Result<Answer> {
        let end = loop {
            match self.left.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(end) => break end,
                None => self.fill()?,
            }
        };
        let head = String::from_utf8(self.left.drain(..end + 4).take(end).collect()).expect("a head is text");
        assert!(!head.replace("\r\n", "").contains(['\r', '\n']), "{head:?}");
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status: {head:?}"));
        let mut answer = Answer { status, head: head.replace("\r\n", "\n"), body: String::new() };
        let length: usize = answer.field("Content-Length").expect("a length").parse().expect("a number");
        assert_eq!(answer.field("Cache-Control"), Some("no-store"));
        assert_eq!(answer.field("X-Content-Type-Options"), Some("nosniff"));
        if !is_head {
            while self.left.len() < length {
                self.fill()?;
            }
            answer.body = String::from_utf8(self.left.drain(..length).collect()).expect("a body is text");
        }
        Ok(answer)
    }

    /// Waits for the end, before which nothing more comes.
    pub fn expect_closed(&mut self) {
        let more = self.fill();
        assert!(more.is_err() && self.left.is_empty(), "{}", String::from_utf8_lossy(&self.left));
        let kind = more.expect_err("it has ended").kind();
        assert!(matches!(kind, io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset), "{kind:?}");
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut bytes = [0; 4096];
        match self.stream.read(&mut bytes)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            length => {
                self.left.extend_from_slice(&bytes[..length]);
                Ok(())
            }
        }
    }
}

/// A page by a connection of its own, which is closed then.
pub fn get(address: &Address, path: &str) -> Answer {
    try_get(address, path).unwrap_or_else(|error| panic!("{address:?} {path}: {error}"))
}

/// The same, where nobody may listen, or it may end before it answers.
pub fn try_get(address: &Address, path: &str) -> io::Result<Answer> {
    let mut http = Http::over(address.connect()?);
    http.try_send(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())?;
    let answer = http.try_answer(false)?;
    assert!(!answer.is_kept());
    http.expect_closed();
    Ok(answer)
}
