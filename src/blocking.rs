//! Connections that block, each with a deadline: for the small programs within rmux that ask a running one.

use std::io;
use std::net::ToSocketAddrs;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::net::Address;

/// The same, in words: a timeout has several kinds.
pub fn readable(error: io::Error, timeout: Duration) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} ms", timeout.as_millis()))
        }
        _ => error,
    }
}

/// Connects to the first of the address's addresses that takes it.
///
/// # Errors
///
/// The last one's reason, or that the deadline has passed.
pub fn connect(address: &Address, deadline: Instant) -> io::Result<Socket> {
    match address {
        Address::Unix(path) => {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            // Where the backlog is full, connecting waits for as long as a write may.
            patience(&socket, deadline)?;
            socket.connect(&SockAddr::unix(path)?)?;
            Ok(socket)
        }
        Address::Tcp { host, port } => {
            let host = if matches!(host.as_str(), "" | "*") { "localhost" } else { host };
            let mut outcome = Err(io::Error::new(io::ErrorKind::NotFound, "the host name has no address"));
            for address in (host, *port).to_socket_addrs()? {
                let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
                let left = patience(&socket, deadline)?;
                outcome = socket.connect_timeout(&address.into(), left).map(|()| socket);
                if outcome.is_ok() {
                    break;
                }
            }
            outcome
        }
    }
}

/// Lets the socket's calls wait until the deadline, and no longer; returns how long that is.
///
/// # Errors
///
/// When the deadline has passed.
pub fn patience(socket: &Socket, deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    socket.set_read_timeout(Some(left))?;
    socket.set_write_timeout(Some(left))?;
    Ok(left)
}
