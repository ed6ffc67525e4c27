//! `rmux -healthcheck`: asks the rmux that runs with this configuration whether it answers, as a client of its would.
//!
//! A connection to each pool's listener, `PING`, and within [`TIMEOUT`] the answer `+PONG` (or that a password is
//! wanted first). rmux answers that itself, so it tells of rmux alone, and not of the servers behind it: a container
//! whose Redis is away is not to be restarted. It blocks, asks one pool after the other, and needs nothing of the
//! running process but its listeners.
//!
//! A listener of clients inside of TLS is asked without it, in words that rmux knows ([`HEALTHCHECK`]), and answers
//! that it wants TLS: so neither a certificate of a client's nor trust in its own is needed, and the log stays silent.

use std::fmt;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use crate::blocking::{connect, patience, readable};
use crate::config::Config;
use crate::net::{Address, HEALTHCHECK};

/// How long one listener may take for everything.
pub const TIMEOUT: Duration = Duration::from_secs(1);

/// A listener that did not answer as it should.
#[derive(Debug)]
pub struct Failure {
    listen: String,
    reason: io::Error,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.listen, self.reason)
    }
}

impl std::error::Error for Failure {}

/// Asks the listener of every pool.
///
/// # Errors
///
/// The first that does not answer, or not with `+PONG`.
pub fn check(config: &Config) -> Result<(), Failure> {
    for pool in &config.pools {
        let question = if pool.local_tls.is_some() { HEALTHCHECK } else { PING };
        ask(&pool.listen, question, Instant::now() + TIMEOUT)
            .map_err(|reason| Failure { listen: pool.listen.to_string(), reason: readable(reason, TIMEOUT) })?;
    }
    Ok(())
}

fn ask(address: &Address, question: &[u8], deadline: Instant) -> io::Result<()> {
    let mut socket = connect(address, deadline)?;
    socket.write_all(question)?;
    let mut reply = Vec::new();
    while reply.len() < REPLY_BYTES_MAX && !reply.ends_with(b"\n") {
        patience(&socket, deadline)?;
        let mut piece = [0; 128];
        match socket.read(&mut piece) {
            Ok(0) => return Err(io::Error::other("the connection was closed without an answer")),
            Ok(got) => reply.extend_from_slice(&piece[..got]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    // Who wants a password first is alive, and so is who wants TLS, or does not want it yet: a reload is still to come.
    let others: [&[u8]; 3] = [b"-NOAUTH ", b"-ERR this port speaks TLS", b"$16\r\n"];
    match reply == b"+PONG\r\n" || others.iter().any(|start| reply.starts_with(start)) {
        true => Ok(()),
        false => Err(io::Error::other(format!("answered \"{}\", not +PONG", reply.trim_ascii_end().escape_ascii()))),
    }
}

const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

/// A reply that is longer than this is no PONG.
const REPLY_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, SockAddr, Socket, Type};
    use std::net::TcpListener;
    use std::thread;

    /// Asks a listener that answers every request with these bytes.
    fn answered_with(answer: &'static [u8]) -> Result<(), String> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let server = thread::spawn(move || {
            let (mut client, _) = listener.accept().expect("a client");
            let mut request = [0; 14];
            client.read_exact(&mut request).expect("a request");
            assert_eq!(request, PING);
            for piece in answer.chunks(3) {
                // Who has heard enough leaves.
                let _ = client.write_all(piece);
            }
        });
        let address = Address::Tcp { host: "127.0.0.1".to_owned(), port };
        let outcome = ask(&address, PING, Instant::now() + TIMEOUT).map_err(|reason| reason.to_string());
        server.join().expect("the server is content");
        outcome
    }

    #[test]
    fn a_pong_is_health_and_nothing_else_is() {
        assert_eq!(answered_with(b"+PONG\r\n"), Ok(()));
        assert_eq!(answered_with(b"-NOAUTH Authentication required.\r\n"), Ok(()));
        assert_eq!(answered_with(b"-ERR this port speaks TLS, and nothing else\r\n"), Ok(()));
        assert_eq!(answered_with(b"$16\r\nrmux-healthcheck\r\n"), Ok(()));
        let refusal = answered_with(b"-ERR max number of clients reached\r\n").expect_err("ill");
        assert_eq!(refusal, r#"answered "-ERR max number of clients reached", not +PONG"#);
        assert!(answered_with(&[0; 1000]).expect_err("ill").starts_with(r#"answered "\x00\x00"#));
        assert_eq!(answered_with(b"").expect_err("ill"), "the connection was closed without an answer");
        assert_eq!(answered_with(b"+PON").expect_err("ill"), "the connection was closed without an answer");
    }

    #[test]
    fn who_does_not_answer_is_given_up() {
        // The kernel accepts, nobody else does.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = Address::Tcp { host: "127.0.0.1".to_owned(), port: listener.local_addr().expect("bound").port() };
        let deadline = Instant::now() + Duration::from_millis(30);
        let reason = readable(ask(&address, PING, deadline).expect_err("ill"), TIMEOUT);
        assert_eq!(reason.to_string(), "no answer within 1000 ms");
        drop(listener);
        let reason = ask(&address, PING, Instant::now() + TIMEOUT).expect_err("nobody listens");
        assert_eq!(reason.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_full_backlog_is_given_up_too() {
        let path = std::env::temp_dir().join(format!("rmux-healthcheck-{}.sock", std::process::id()));
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None).expect("socket");
        listener.bind(&SockAddr::unix(&path).expect("short")).expect("bind");
        listener.listen(0).expect("listen");
        let address = Address::Unix(path.clone());
        let _waiting = connect(&address, Instant::now() + TIMEOUT).expect("the first one waits");
        let deadline = Instant::now() + Duration::from_millis(30);
        let reason = readable(ask(&address, PING, deadline).expect_err("ill"), TIMEOUT);
        assert_eq!(reason.to_string(), "no answer within 1000 ms");
        std::fs::remove_file(&path).expect("it is ours");
    }
}
