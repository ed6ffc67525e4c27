//! Idle clients: many connections that hardly ever say anything.
//!
//! Owns the connections, in a process of its own, since they are more than one process may open beside its other work.
//! Each one asks for something once, so that the other side has whatever it keeps for a client that has spoken; from
//! then on one of them asks, then the next, [`PAUSE`] apart.
//!
//! Says [`READY`] when all are connected and have their first answer.

use std::io::{self, Read, Write};
use std::time::Duration;

use crate::support::{Address, Stream};

/// The flag that turns the comparison's binary into this program.
pub const FLAG: &str = "--hold";
/// What it prints.
pub const READY: &str = "all are connected";

/// The arguments that turn the comparison's binary into this program, with so many clients of a target.
pub fn arguments(target: &Address, clients: u32) -> [String; 3] {
    let target = match target {
        Address::Tcp(port) => format!("tcp:{port}"),
        Address::Unix(path) => format!("unix:{}", path.display()),
    };
    [FLAG.to_owned(), target, clients.to_string()]
}

/// The target of these arguments.
pub fn target_of(word: &str) -> Option<Address> {
    match word.split_once(':')? {
        ("tcp", port) => Some(Address::Tcp(port.parse().ok()?)),
        ("unix", path) => Some(Address::Unix(path.into())),
        _ => None,
    }
}

/// Connects so many clients and holds them until it is killed.
pub fn serve(target: &Address, clients: usize) -> io::Result<()> {
    let mut sockets: Vec<Stream> = Vec::with_capacity(clients);
    for _ in 0..clients {
        let mut socket = target.connect()?;
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

fn ask(socket: &mut Stream) -> io::Result<()> {
    socket.write_all(b"*2\r\n$3\r\nGET\r\n$4\r\nnone\r\n")?;
    let mut reply = [0; 5];
    socket.read_exact(&mut reply)?;
    if &reply == b"$-1\r\n" { Ok(()) } else { Err(io::Error::other(String::from_utf8_lossy(&reply).into_owned())) }
}

/// Among 10,000 clients, each one speaks once in 20 seconds.
const PAUSE: Duration = Duration::from_millis(2);
