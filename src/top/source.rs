//! The admin endpoint of another rmux, asked for its report over a connection that is kept.
//!
//! It may be anything that listens there: an answer has a deadline, a size, and has to be what is asked for.

use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use socket2::Socket;

use crate::admin::report::Report;
use crate::admin::status;
use crate::blocking::{connect, patience, readable};
use crate::net::Address;

/// How long an answer may take, connecting included.
pub(super) const TIMEOUT: Duration = Duration::from_secs(2);
/// An answer that is longer is none.
const BYTES_MAX: usize = 4 << 20;
const HEAD_BYTES_MAX: usize = 16 << 10;
const REQUEST: &[u8] = b"GET /status.json HTTP/1.1\r\nHost: rmux\r\n\r\n";

/// Where to ask.
#[derive(Debug)]
pub(super) struct Source {
    address: Address,
    kept: Option<Socket>,
}

impl Source {
    pub fn new(address: Address) -> Source {
        Source { address, kept: None }
    }

    /// The report as it is now, and the version of the rmux that gave it.
    ///
    /// # Errors
    ///
    /// Why there is none, with the address.
    pub fn report(&mut self) -> Result<(Report, String), String> {
        let deadline = Instant::now() + TIMEOUT;
        let outcome = match self.kept.take().map(|socket| self.ask(socket, deadline)) {
            // Whoever keeps a connection may close it at any time.
            None | Some(Err(_)) => connect(&self.address, deadline).and_then(|socket| self.ask(socket, deadline)),
            Some(answer) => answer,
        };
        let shown = |reason: &str| [&self.address.to_string(), ": ", reason].concat();
        let body = outcome.map_err(|error| shown(&readable(error, TIMEOUT).to_string()))?;
        status::read(&body).map_err(|reason| shown(&reason))
    }

    fn ask(&mut self, mut socket: Socket, deadline: Instant) -> io::Result<Vec<u8>> {
        patience(&socket, deadline)?;
        socket.write_all(REQUEST)?;
        let mut answer = Vec::new();
        let head_bytes = loop {
            if let Some(at) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if answer.len() > HEAD_BYTES_MAX {
                return Err(io::Error::other("it does not answer as HTTP is"));
            }
            if !more(&mut socket, &mut answer, deadline)? {
                return Err(io::Error::other("the connection was closed without an answer"));
            }
        };
        let mut body = answer.split_off(head_bytes);
        let head = String::from_utf8_lossy(&answer).to_ascii_lowercase();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap_or_default();
        if !(status.starts_with("http/1.") && status.get(8..13) == Some(" 200 ")) {
            let shown = status.chars().take(80).collect::<String>().escape_debug().to_string();
            return Err(io::Error::other(["it answered \"", &shown, "\", not 200"].concat()));
        }
        let header = |name: &str| {
            let mut fields = head.split("\r\n").filter_map(|line| line.split_once(':'));
            fields.find(|field| field.0 == name).map(|field| field.1.trim())
        };
        let length = header("content-length").map(|length| length.parse::<usize>().unwrap_or(usize::MAX));
        while length.is_none_or(|length| body.len() < length) {
            if length.unwrap_or(body.len()) > BYTES_MAX {
                return Err(io::Error::other("it answered with more than 4 MiB"));
            }
            match (more(&mut socket, &mut body, deadline)?, length) {
                (true, _) => {}
                (false, None) => return Ok(body),
                (false, Some(_)) => return Err(io::Error::other("the connection was closed within an answer")),
            }
        }
        if header("connection") != Some("close") && length == Some(body.len()) {
            self.kept = Some(socket);
        }
        Ok(body)
    }
}

/// Reads what is there, within the deadline; false at the end.
fn more(socket: &mut Socket, into: &mut Vec<u8>, deadline: Instant) -> io::Result<bool> {
    loop {
        patience(socket, deadline)?;
        let mut piece = [0; 16 << 10];
        match socket.read(&mut piece) {
            Ok(got) => {
                into.extend_from_slice(&piece[..got]);
                return Ok(got > 0);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    /// What is told of an endpoint that does this with each connection, for so many questions.
    fn ask(count: usize, serve: fn(TcpStream)) -> Vec<Result<String, String>> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        thread::spawn(move || listener.incoming().flatten().for_each(serve));
        let mut source = Source::new(Address::Tcp { host: "127.0.0.1".to_owned(), port });
        let answers = (0..count).map(|_| source.report().map(|answer| answer.1));
        let place = format!("127.0.0.1:{port}: ");
        answers.map(|answer| answer.map_err(|reason| reason.replace(&place, ""))).collect()
    }

    fn read_request(stream: &mut TcpStream) -> bool {
        let mut request = vec![0; REQUEST.len()];
        stream.read_exact(&mut request).is_ok() && request == REQUEST
    }

    const BODY: &str = r#"{"version":"7","pools":[]}"#;

    #[test]
    fn one_connection_serves_many_questions_however_it_is_cut() {
        let answers = ask(3, |mut stream| {
            for _ in 0..3 {
                assert!(read_request(&mut stream));
                let answer = format!("HTTP/1.1 200 OK\r\nContent-LENGTH: {}\r\n\r\n{BODY}", BODY.len());
                for byte in answer.as_bytes() {
                    stream.write_all(&[*byte]).expect("it is read");
                }
            }
        });
        assert_eq!(answers, ["7", "7", "7"].map(|version| Ok(version.to_owned())));
    }

    #[test]
    fn who_closes_behind_each_answer_is_connected_to_again() {
        let answers = ask(2, |mut stream| {
            assert!(read_request(&mut stream));
            stream.write_all(format!("HTTP/1.0 200 OK\r\n\r\n{BODY}").as_bytes()).expect("it is read");
        });
        assert_eq!(answers, ["7", "7"].map(|version| Ok(version.to_owned())));
        // It says nothing about it.
        let answers = ask(2, |mut stream| {
            assert!(read_request(&mut stream));
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", BODY.len());
            stream.write_all((head + BODY).as_bytes()).expect("it is read");
        });
        assert_eq!(answers, ["7", "7"].map(|version| Ok(version.to_owned())));
    }

    #[test]
    fn what_is_no_answer_is_said() {
        type Case = (fn(TcpStream), &'static str);
        let all: [Case; 7] = [
            (|mut stream| assert!(read_request(&mut stream)), "the connection was closed without an answer"),
            (
                |mut stream| {
                    drop(
                        stream
                            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")
                            .map(|()| read_request(&mut stream)),
                    )
                },
                "the connection was closed within an answer",
            ),
            (
                |mut stream| {
                    drop(stream.write_all(b"HTTP/1.1 503 Too \x1bmany\r\n\r\n").map(|()| read_request(&mut stream)))
                },
                r#"it answered "http/1.1 503 too \u{1b}many", not 200"#,
            ),
            (
                |mut stream| drop(stream.write_all(b"-ERR no\r\n\r\n").map(|()| read_request(&mut stream))),
                r#"it answered "-err no", not 200"#,
            ),
            (
                |mut stream| drop(stream.write_all(&[b'x'; 40_000]).map(|()| read_request(&mut stream))),
                "it does not answer as HTTP is",
            ),
            (
                |mut stream| {
                    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n";
                    drop(stream.write_all(head).map(|()| read_request(&mut stream)));
                },
                "it answered with more than 4 MiB",
            ),
            (
                |mut stream| {
                    assert!(read_request(&mut stream));
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
                    while stream.write_all(&[b' '; 65_536]).is_ok() {}
                },
                "it answered with more than 4 MiB",
            ),
        ];
        for (serve, reason) in all {
            assert_eq!(ask(1, serve), [Err(reason.to_owned())]);
        }
    }

    #[test]
    fn who_does_not_answer_is_given_up() {
        // The kernel accepts, nobody else does.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let mut source = Source::new(Address::Tcp { host: "127.0.0.1".to_owned(), port });
        let reason = source.report().expect_err("nobody answers");
        assert_eq!(reason, format!("127.0.0.1:{port}: no answer within 2000 ms"));
        drop(listener);
        let reason = source.report().expect_err("nobody listens");
        assert_eq!(reason, format!("127.0.0.1:{port}: Connection refused (os error 111)"));
    }
}
