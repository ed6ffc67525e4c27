//! The floor: the least that a program between clients and a socket can cost. It answers a constant.
//!
//! It owns a Unix listener and its clients, and knows no Redis: per readiness one read and one write, the price
//! that the kernel takes from everybody. What a proxy costs above it is the proxy's own doing (and its other half of the
//! road, to the server).
//!
//! It must answer as many replies as it got requests, or redis-benchmark would wait for ever; the cheapest honest way to
//! know is to count the `*` that each request starts with. redis-benchmark's keys and values hold none.
//! It learns the end of a client as plain programs do, by a read that returns nothing.
//!
//! Invariant: replies written == `*` read, for every client; else the client is closed.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;

use mio::net::{UnixListener, UnixStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use socket2::{Domain, SockAddr, Socket, Type};

/// The flag that turns the comparison's binary into this program.
pub const FLAG: &str = "--floor";

/// Serves the Unix socket until it is killed.
pub fn serve(socket: &Path) -> io::Result<()> {
    let mut listener = listen(socket)?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1_024);
    let mut clients: Slab<UnixStream> = Slab::new();
    let mut scratch = vec![0; READ_MAX];
    let replies = REPLY.repeat(READ_MAX / REQUEST_MIN);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, &poll, &mut clients)?;
                continue;
            }
            let slot = event.token().0;
            // A slot that was closed earlier in this turn may have been given to a new client: it then just reads nothing.
            let Some(client) = clients.get_mut(slot) else {
                continue;
            };
            if answer(client, &mut scratch, &replies).is_err() {
                clients.remove(slot);
            }
        }
    }
}

/// One read, one write. An error is the end of this client, whatever it is.
fn answer(client: &mut UnixStream, scratch: &mut [u8], replies: &[u8]) -> io::Result<()> {
    loop {
        let length = match client.read(scratch) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let requests = scratch[..length].iter().filter(|byte| **byte == b'*').count();
        let reply = replies.get(..requests * REPLY.len()).ok_or(io::ErrorKind::InvalidData)?;
        // A client that does not take its replies at once is closed: a bare program has no queue.
        if client.write(reply)? < reply.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        // Edge-triggered: a read that filled the buffer may have left something, a shorter one has not.
        if length < scratch.len() {
            return Ok(());
        }
    }
}

fn accept(listener: &UnixListener, poll: &Poll, clients: &mut Slab<UnixStream>) -> io::Result<()> {
    loop {
        match listener.accept() {
            Ok((mut client, _)) => {
                let entry = clients.vacant_entry();
                poll.registry().register(&mut client, Token(entry.key()), Interest::READABLE)?;
                entry.insert(client);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// The longest backlog that the system allows; the kernel cuts the number down to its own limit.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(65_535)?;
    socket.set_nonblocking(true)?;
    Ok(UnixListener::from_std(StdListener::from(OwnedFd::from(socket))))
}

const LISTENER: Token = Token(usize::MAX - 1);
const READ_MAX: usize = 64 * 1024;
/// The length of `*1\r\n$4\r\nPING\r\n`, the shortest request that redis-benchmark makes.
const REQUEST_MIN: usize = 14;
/// What a GET of 32 bytes brings; redis-benchmark takes it for a SET as well.
const REPLY: &[u8] = b"$32\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n";
