//! The network between the proxy and its peers: links of two pipes, each of them short.
//!
//! ```text
//!   peer ── up ──►   proxy        a pipe takes what it has room for; its reader is told once when there is more (an
//!   peer ◄── down ── proxy        edge), and its writer once when there is room again
//! ```
//!
//! Knows bytes and ends, and nobody's protocol. A link is never used again, so a number names it for good.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, IoSlice};

use rmux::proxy::{Conn, Wire};

use crate::random::Random;

pub type LinkId = usize;

/// Bytes on their way in one direction.
pub struct Pipe {
    bytes: Vec<u8>,
    start: usize,
    capacity: usize,
}

impl Pipe {
    fn new(capacity: usize) -> Pipe {
        Pipe { bytes: Vec::new(), start: 0, capacity }
    }

    pub fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub fn room(&self) -> usize {
        self.capacity.saturating_sub(self.len())
    }

    fn push(&mut self, bytes: &[u8]) {
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    fn pop(&mut self, n: usize) -> &[u8] {
        let start = self.start;
        self.start += n.min(self.len());
        &self.bytes[start..self.start]
    }

    fn clear(&mut self) {
        self.start = self.bytes.len();
    }
}

/// A connection between the proxy and one peer.
pub struct Link {
    pub up: Pipe,
    pub down: Pipe,
    /// The peer will send nothing more.
    pub is_ended: bool,
    /// The connection was reset.
    pub is_reset: bool,
    /// The proxy was told that its peer, a client, has left.
    pub has_left: bool,
    /// The proxy has closed its end.
    pub is_closed: bool,
    /// There is something new to read for the proxy.
    pub readable_edge: bool,
    /// There is room again after a write of the proxy fell short.
    pub writable_edge: bool,
    /// A write of the proxy fell short, because the pipe was full.
    pub is_full: bool,
    /// When the proxy last read from it, wrote to it, and closed it, on its own clock.
    pub read_at: u64,
    pub wrote_at: u64,
    pub closed_at: u64,
    /// How many bytes of the peer the proxy has read.
    pub read_bytes: u64,
    /// The peer, if it is a server.
    server: Option<usize>,
    /// How many bytes it has sent, and how many of them are replies to handshakes.
    sent_bytes: u64,
    control_bytes: u64,
    /// How many bytes the proxy has written.
    pub written_bytes: u64,
    /// When the proxy did not wait for the peer, in order.
    reads: Vec<Read>,
    /// Since when a write waits for the peer to take what is there.
    stalled: Option<Stall>,
    stalls: Vec<Stall>,
    /// Of all that the proxy has written.
    digest: u64,
}

/// The proxy has read something; or it does not want to, and so is to blame for what does not come.
struct Read {
    begin: u64,
    end: u64,
    /// How many bytes it had read then.
    place: u64,
    is_refused: bool,
}

/// The peer took nothing, though the proxy had more for it than there was room for.
#[derive(Clone, Copy)]
pub struct Stall {
    begin: u64,
    /// In milliseconds.
    pub len: u64,
    /// How many bytes had been written by then.
    pub written: u64,
}

/// What is waited for.
#[derive(Clone, Copy)]
pub enum Rest {
    /// The next byte.
    Small,
    /// As many bytes as could have come; each millisecond is worth this many, and no more are missed than in so many
    /// milliseconds.
    Large { bytes_per_ms: u64, missed_ms_max: u64 },
}

impl Link {
    /// The longest time up to `until` for which the proxy waited for the rest of something: at places for which
    /// `is_meant` holds.
    pub fn longest_wait(&self, until: u64, rest: Rest, is_meant: impl Fn(u64) -> bool) -> u64 {
        let (bytes_per_ms, missed_max) = match rest {
            Rest::Small => (1, 0),
            Rest::Large { bytes_per_ms, missed_ms_max } => (bytes_per_ms, bytes_per_ms.saturating_mul(missed_ms_max)),
        };
        let (mut missed, mut longest) = (0, 0);
        let after = self.reads.iter().skip(1).map(Some).chain([None]);
        for (read, next) in self.reads.iter().zip(after) {
            if !is_meant(read.place) {
                missed = 0;
                continue;
            }
            let end = next.map_or(until, |next| next.begin.min(until));
            missed += bytes_per_ms * end.saturating_sub(read.end);
            longest = longest.max(missed);
            let Some(next) = next else { break };
            missed = if next.is_refused { 0 } else { missed.min(missed_max).saturating_sub(next.place - read.place) };
        }
        longest.div_ceil(bytes_per_ms)
    }

    /// Whether a read of the proxy has ended there, or before `end`.
    pub fn is_cut_within(&self, start: u64, end: u64) -> bool {
        self.reads.iter().any(|read| (start..end).contains(&read.place))
    }

    /// Whether the proxy has more for the peer than there is room for.
    pub fn is_stalled(&self) -> bool {
        self.stalled.is_some()
    }

    /// When the peer took nothing for at least so many milliseconds.
    pub fn stalls(&self, len: u64) -> impl Iterator<Item = &Stall> {
        self.stalls.iter().filter(move |stall| stall.len >= len)
    }
}

/// All links, and the chance with which they take less than they could.
pub struct Network {
    links: Vec<Link>,
    of: HashMap<Conn, LinkId>,
    random: Random,
    /// One write in so many takes less than there is room for; 0 for none.
    short_write_in: usize,
    /// The proxy's clock.
    pub now: u64,
    /// Counts everything that happens.
    pub happened: u64,
    /// Writes of the proxy in this turn.
    pub writes: usize,
    /// When the proxy asked a server something, or wanted to be connected, for the first time since it heard anything of
    /// it; by the number of the server.
    pub asked_at: BTreeMap<usize, u64>,
    /// The same of requests: since the proxy heard a reply to one.
    pub requested_at: BTreeMap<usize, u64>,
}

impl Network {
    pub fn new(random: Random, short_write_in: usize) -> Network {
        Network {
            links: Vec::new(),
            of: HashMap::new(),
            random,
            short_write_in,
            now: 0,
            happened: 0,
            writes: 0,
            asked_at: BTreeMap::new(),
            requested_at: BTreeMap::new(),
        }
    }

    pub fn connect(&mut self, capacity: usize) -> LinkId {
        self.links.push(Link {
            up: Pipe::new(capacity),
            down: Pipe::new(capacity),
            is_ended: false,
            is_reset: false,
            has_left: false,
            is_closed: false,
            readable_edge: false,
            writable_edge: false,
            is_full: false,
            read_at: self.now,
            wrote_at: self.now,
            closed_at: 0,
            read_bytes: 0,
            server: None,
            sent_bytes: 0,
            control_bytes: 0,
            written_bytes: 0,
            reads: Vec::new(),
            stalled: None,
            stalls: Vec::new(),
            digest: 0xcbf2_9ce4_8422_2325,
        });
        self.links.len() - 1
    }

    pub fn link(&self, link: LinkId) -> &Link {
        &self.links[link]
    }

    /// The proxy calls this link by this name from now on.
    pub fn name(&mut self, link: LinkId, conn: Conn) {
        self.of.insert(conn, link);
    }

    pub fn find(&self, conn: Conn) -> Option<LinkId> {
        self.of.get(&conn).copied()
    }

    /// The peer of this link is this server.
    pub fn set_server(&mut self, link: LinkId, server: usize) {
        self.links[link].server = Some(server);
    }

    /// What the server has sent on this link is about the session, and so are the next `more` bytes.
    pub fn note_control(&mut self, link: LinkId, more: usize) {
        let link = &mut self.links[link];
        link.control_bytes = link.sent_bytes + more as u64;
    }

    /// One number for each link, in their order: of all bytes that the proxy has written there. What was on its way to
    /// a client that leaves in the same turn makes no difference.
    #[cfg(debug_assertions)]
    pub fn digests(&self) -> Vec<u64> {
        let has_left = |link: &Link| link.server.is_none() && (link.is_ended || link.is_reset || link.has_left);
        self.links.iter().map(|link| if has_left(link) { 0 } else { link.digest }).collect()
    }

    /// The proxy asks a server something.
    pub fn ask(&mut self, server: usize) {
        self.asked_at.entry(server).or_insert(self.now);
    }

    // What a peer does.

    /// Sends as much of `bytes` as there is room for. What is sent to who has closed is lost.
    pub fn send(&mut self, link: LinkId, bytes: &[u8]) -> usize {
        let link = &mut self.links[link];
        if link.is_closed || link.is_reset {
            return bytes.len();
        }
        let n = bytes.len().min(link.up.room());
        if n > 0 {
            link.up.push(&bytes[..n]);
            link.readable_edge = true;
            link.sent_bytes += n as u64;
            self.happened += 1;
        }
        n
    }

    /// Takes up to `n` bytes of what the proxy has sent.
    pub fn receive(&mut self, link: LinkId, n: usize, into: &mut Vec<u8>) -> usize {
        let link = &mut self.links[link];
        let taken = link.down.pop(n);
        let n = taken.len();
        self.happened += n as u64;
        into.extend_from_slice(taken);
        if n > 0 && link.is_full {
            link.is_full = false;
            link.writable_edge = true;
        }
        if let Some(stall) = link.stalled.take_if(|_| n > 0) {
            link.stalls.push(Stall { len: self.now - stall.begin, ..stall });
        }
        n
    }

    /// The peer will send nothing more.
    pub fn end(&mut self, link: LinkId) {
        let link = &mut self.links[link];
        link.is_ended = true;
        link.readable_edge = true;
    }

    /// The peer is gone; what is on its way may be lost in both directions.
    pub fn reset(&mut self, link: LinkId) {
        let link = &mut self.links[link];
        link.is_reset = true;
        // Who reads or writes is told.
        link.readable_edge = true;
        link.writable_edge = true;
        link.down.clear();
    }

    /// True if the peer will receive nothing more.
    pub fn is_over(&self, link: LinkId) -> bool {
        let link = &self.links[link];
        link.is_reset || link.is_closed && link.down.len() == 0
    }

    // What the proxy's shell does.

    pub fn take_readable_edge(&mut self, link: LinkId) -> bool {
        std::mem::take(&mut self.links[link].readable_edge)
    }

    pub fn take_writable_edge(&mut self, link: LinkId) -> bool {
        std::mem::take(&mut self.links[link].writable_edge)
    }

    /// The proxy is told that this client has left.
    pub fn note_departure(&mut self, link: LinkId) {
        self.links[link].has_left = true;
    }

    /// Reads into `area`.
    pub fn read(&mut self, link: LinkId, area: &mut [u8]) -> usize {
        let number = link;
        let link = &mut self.links[number];
        let bytes = link.up.pop(area.len());
        trace!("{} bytes of link {number} are read", bytes.len());
        if !bytes.is_empty() {
            link.read_at = self.now;
        }
        link.read_bytes += bytes.len() as u64;
        if let Some(server) = link.server.filter(|_| !bytes.is_empty()) {
            self.asked_at.remove(&server);
            if link.read_bytes > link.control_bytes {
                self.requested_at.remove(&server);
                // More was asked meanwhile, and the server has not even seen it.
                if link.down.len() > 0 {
                    self.requested_at.insert(server, self.now);
                }
            }
        }
        if !bytes.is_empty() {
            let place = link.read_bytes;
            link.reads.push(Read { begin: self.now, end: self.now, place, is_refused: false });
        }
        area[..bytes.len()].copy_from_slice(bytes);
        bytes.len()
    }

    /// The proxy does not want to read what this client sends.
    pub fn refuse(&mut self, link: LinkId) {
        let link = &mut self.links[link];
        match link.reads.last_mut() {
            Some(last) if last.is_refused => last.end = self.now,
            _ => {
                let place = link.read_bytes;
                link.reads.push(Read { begin: self.now, end: self.now, place, is_refused: true });
            }
        }
    }

    /// The proxy closes its end. What it has sent still arrives.
    pub fn close(&mut self, link: LinkId, conn: Conn) {
        let link = &mut self.links[link];
        link.is_closed = true;
        link.closed_at = self.now;
        link.up.clear();
        self.of.remove(&conn);
    }

    /// The proxy tells the peer something without having taken it in.
    pub fn tell(&mut self, link: LinkId, bytes: &[u8]) {
        self.links[link].down.push(bytes);
        self.links[link].is_closed = true;
    }
}

impl Wire for Network {
    fn write(&mut self, conn: Conn, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let Some(&link) = self.of.get(&conn) else { return Err(io::ErrorKind::NotConnected.into()) };
        let link = &mut self.links[link];
        assert!(!link.is_closed, "a write to a connection that is closed");
        if link.is_reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        self.writes += 1;
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        assert!(total > 0, "a write of nothing");
        link.wrote_at = self.now;
        if let Some(server) = link.server {
            self.asked_at.entry(server).or_insert(self.now);
            if link.read_bytes > 0 {
                self.requested_at.entry(server).or_insert(self.now);
            }
        }
        let mut room = link.down.room().min(total);
        let is_full = room < total;
        if room > 0 && self.short_write_in > 0 && self.random.one_in(self.short_write_in) {
            room = self.random.below(room);
        }
        let mut left = room;
        for slice in slices {
            let n = slice.len().min(left);
            link.down.push(&slice[..n]);
            // FNV-1a.
            let mix = |digest: u64, &byte: &u8| (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            link.digest = slice[..n].iter().fold(link.digest, mix);
            left -= n;
        }
        link.written_bytes += room as u64;
        if room < total {
            link.is_full = is_full && link.down.room() == 0;
            if link.is_full && link.stalled.is_none() {
                link.stalled = Some(Stall { begin: self.now, len: 0, written: link.written_bytes });
            }
            // Room that is there already is announced, too.
            link.writable_edge |= !link.is_full;
        }
        self.happened += 1;
        Ok(room)
    }
}
