//! Idle clients: many connections that hardly ever say anything.
//!
//! Owns the connections, in a process of its own, since they are more than one process may open beside its other work.
//! Each one asks for something once, so that the other side has whatever it keeps for a client that has spoken; from
//! then on one of them asks, then the next, [`PAUSE`] apart.
//!
//! Says [`READY`] when all are connected and have their first answer.

use std::io::{self, Read, Write};
use std::time::Duration;

use crate::redis::{Socket, Target};

/// The flag that turns the comparison's binary into this program.
pub const FLAG: &str = "--hold";
/// What it prints.
pub const READY: &str = "all are connected";

/// Connects so many clients and holds them until it is killed.
pub fn serve(target: &Target, clients: usize) -> io::Result<()> {
    let mut sockets: Vec<Socket> = Vec::with_capacity(clients);
    for _ in 0..clients {
        let mut socket = Socket::connect(target)?;
        ask(&mut socket)?;
        sockets.push(socket);
    }
    println!("{READY}");
    loop {
        for socket in &mut sockets {
            std::thread::sleep(PAUSE);
            ask(socket)?;
        }
    }
}

fn ask(socket: &mut Socket) -> io::Result<()> {
    socket.write_all(b"*2\r\n$3\r\nGET\r\n$4\r\nnone\r\n")?;
    let mut reply = [0; 5];
    socket.read_exact(&mut reply)?;
    if &reply == b"$-1\r\n" { Ok(()) } else { Err(io::Error::other(String::from_utf8_lossy(&reply).into_owned())) }
}

/// Among 10,000 clients, each one speaks once in 20 seconds.
const PAUSE: Duration = Duration::from_millis(2);
