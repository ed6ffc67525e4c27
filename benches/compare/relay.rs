//! The relay: a network between two programs of one machine. Bytes arrive later than they were sent.
//!
//! It owns a TCP listener and, for each connection, one of its own to the target. Every byte waits for [`DELAY`] in each
//! direction, and what opens a connection for a round trip more: the handshake, that a real network would have carried to
//! and fro before the first byte, and that a loopback interface does at once.
//!
//! ```text
//!   client ──► ┌ first bytes: 2 + 1 ms, then 1 ms ┐ ──► server
//!          ◄── └               1 ms               ┘ ◄──
//! ```
//!
//! Knows no Redis. The kernel's poll counts in whole milliseconds, which would make of 1 ms anything up to 2: so while
//! something is under way, it naps for [`NAP`] at most, and polls without waiting.
//!
//! Invariant: the deliveries of one direction of one connection are in the order of their arrival.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

/// The flag that turns the comparison's binary into this program.
pub const FLAG: &str = "--relay";

/// Relays from one port of 127.0.0.1 to another until it is killed.
pub fn serve(listen: u16, target: u16) -> io::Result<()> {
    let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut listener = TcpListener::bind(local(listen))?;
    let poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut relay = Relay { poll, pairs: Slab::new(), due: BinaryHeap::new(), scratch: vec![0; 64 * 1024] };
    let mut events = Events::with_capacity(1_024);
    loop {
        let timeout = relay.due.peek().map(|_| Duration::ZERO);
        match relay.poll.poll(&mut events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            if event.token() == LISTENER {
                relay.accept(&listener, local(target))?;
                continue;
            }
            let (slot, side) = (event.token().0 / 2, event.token().0 % 2);
            if event.is_readable() {
                relay.read(slot, side);
            }
            if event.is_writable() {
                relay.deliver(slot, side);
            }
        }
        relay.deliver_due();
        if let Some(Reverse((due, _, _))) = relay.due.peek() {
            std::thread::sleep(due.saturating_duration_since(Instant::now()).min(NAP));
        }
    }
}

struct Relay {
    poll: Poll,
    pairs: Slab<Pair>,
    /// When, for which pair, and to which side.
    due: BinaryHeap<Reverse<(Instant, usize, usize)>>,
    scratch: Vec<u8>,
}

/// Two sockets, the client's first, and what is under way to each.
struct Pair {
    sockets: [TcpStream; 2],
    under_way: [VecDeque<(Instant, Vec<u8>)>; 2],
    /// Which of them will send nothing more.
    ended: [bool; 2],
    /// True until the client has sent something.
    is_new: bool,
}

impl Relay {
    fn accept(&mut self, listener: &TcpListener, target: SocketAddr) -> io::Result<()> {
        loop {
            let client = match listener.accept() {
                Ok((client, _)) => client,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let entry = self.pairs.vacant_entry();
            let mut sockets = [client, TcpStream::connect(target)?];
            for (side, socket) in sockets.iter_mut().enumerate() {
                socket.set_nodelay(true)?;
                let both = Interest::READABLE | Interest::WRITABLE;
                self.poll.registry().register(socket, Token(entry.key() * 2 + side), both)?;
            }
            entry.insert(Pair { sockets, under_way: Default::default(), ended: [false; 2], is_new: true });
        }
    }

    /// Takes what a side sent; an end of stream is an empty piece, and travels as long.
    fn read(&mut self, slot: usize, side: usize) {
        let Some(pair) = self.pairs.get_mut(slot) else { return };
        while !pair.ended[side] {
            let piece = match pair.sockets[side].read(&mut self.scratch) {
                Ok(length) => self.scratch[..length].to_vec(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => Vec::new(),
            };
            pair.ended[side] = piece.is_empty();
            let handshake = if side == 0 && pair.is_new { 2 * DELAY } else { Duration::ZERO };
            pair.is_new &= side != 0;
            let line = &mut pair.under_way[1 - side];
            let due = Instant::now() + DELAY + handshake;
            let due = line.back().map_or(due, |(before, _)| due.max(*before));
            line.push_back((due, piece));
            self.due.push(Reverse((due, slot, 1 - side)));
        }
    }

    fn deliver_due(&mut self) {
        let now = Instant::now();
        while let Some(Reverse((due, slot, side))) = self.due.peek().copied() {
            if due > now {
                return;
            }
            self.due.pop();
            self.deliver(slot, side);
        }
    }

    /// Gives a side what has arrived for it; when both have ended, the pair goes.
    fn deliver(&mut self, slot: usize, side: usize) {
        let Some(pair) = self.pairs.get_mut(slot) else { return };
        let now = Instant::now();
        while pair.under_way[side].front().is_some_and(|(due, _)| *due <= now) {
            let Some((due, piece)) = pair.under_way[side].pop_front() else { break };
            if piece.is_empty() {
                // Fails when that side is gone already.
                let _ = pair.sockets[side].shutdown(Shutdown::Write);
                continue;
            }
            match pair.sockets[side].write(&piece) {
                Ok(taken) if taken == piece.len() => {}
                Ok(taken) => pair.under_way[side].push_front((due, piece[taken..].to_vec())),
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock || error.kind() == io::ErrorKind::NotConnected =>
                {
                    // It will be writable again, and this is called.
                    pair.under_way[side].push_front((due, piece));
                    return;
                }
                // Nobody is there any more to take it.
                Err(_) => pair.ended = [true; 2],
            }
        }
        if pair.ended == [true; 2] && pair.under_way.iter().all(VecDeque::is_empty) {
            self.pairs.remove(slot);
        }
    }
}

/// One way.
pub const DELAY: Duration = Duration::from_millis(1);
const NAP: Duration = Duration::from_micros(100);
const LISTENER: Token = Token(usize::MAX - 1);
