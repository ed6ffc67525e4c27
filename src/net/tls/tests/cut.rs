//! A session against rustls's own buffered connection as its peer, over a line that does with the bytes what lines do:
//! cuts them anywhere, holds them back, lets many go at once, is full, and ends.
//!
//! ```text
//!   Session ── outgoing ─► on the way ─► arrived ─► the peer       what moves, and how far, is drawn for each step
//!   Session ◄─ arrived ◄── on the way ◄──────────── the peer
//! ```
//!
//! It is read as the reactor reads: after a read that has drained it only when something new has arrived. So a session
//! that says so wrongly gets stuck, which is found. Each seed is a life of its own: who begins, which version, how
//! large records are, when keys change, who says the end, or whether the line is cut. `RMUX_SEED=n` runs one of them,
//! `RMUX_SEEDS=n` so many.

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConnection, Connection, RootCertStore, ServerConnection, SupportedProtocolVersion};

use super::*;

/// So many lives, unless it is said otherwise: some seconds without optimization.
const SEEDS: u64 = 300;
/// After so many steps that bring nothing on, one is stuck.
const IDLE_STEPS_MAX: usize = 200;

/// Chance that is the same for the same seed (splitmix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    /// A length: often a few bytes, sometimes some records.
    fn length(&mut self) -> usize {
        match self.below(6) {
            0 => 1,
            1 => 1 + self.below(8),
            2 => 1 + self.below(500),
            3 => 1 + self.below(20_000),
            4 => [16_383, 16_384, 16_385, 5, 21][self.below(5)],
            _ => 1 + self.below(60_000),
        }
    }
}

/// What one side says at the most, in bytes.
const SAID_MAX: usize = 3 * 60_000;

/// One direction of the line.
#[derive(Default)]
struct Way {
    bytes: VecDeque<u8>,
    /// So many of them, the first ones, can be read.
    arrived: usize,
    /// Nothing comes behind what is there.
    is_cut: bool,
}

impl Way {
    fn arrive(&mut self, count: usize) -> bool {
        let count = count.min(self.under_way());
        self.arrived += count;
        count > 0
    }

    fn under_way(&self) -> usize {
        self.bytes.len() - self.arrived
    }

    /// Takes what has arrived, as far as there is room for it.
    fn take(&mut self, room: &mut [u8]) -> usize {
        let count = room.len().min(self.arrived);
        self.bytes.read_exact(&mut room[..count]).expect("it is there");
        self.arrived -= count;
        count
    }
}

/// The socket of our side, for one call.
struct Socket<'a> {
    incoming: &'a mut Way,
    outgoing: &'a mut Way,
    /// So many bytes are taken yet.
    room: usize,
}

impl Read for Socket<'_> {
    /// As the kernel: what there is, as far as it was asked for.
    fn read(&mut self, area: &mut [u8]) -> io::Result<usize> {
        match self.incoming.take(area) {
            0 if !self.incoming.is_cut || self.incoming.under_way() > 0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.room);
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.room -= count;
        self.outgoing.bytes.extend(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What all lives are made of, once: so many of them resume the session of one before.
struct Peers {
    remote: RemoteTls,
    local: LocalTls,
    /// Both versions, the newer one first, with records of each of these sizes.
    servers: Vec<Arc<ServerConfig>>,
    clients: Vec<Arc<ClientConfig>>,
    /// What we say, and what the peer says.
    ours: Vec<u8>,
    theirs: Vec<u8>,
}

/// The most that stands in a record, as rustls counts it.
const FRAGMENTS: [Option<usize>; 4] = [None, Some(32), Some(1_000), Some(9_001)];
const KINDS: usize = 2 * FRAGMENTS.len();

fn version(kind: usize) -> &'static SupportedProtocolVersion {
    if kind < FRAGMENTS.len() { &TLS13 } else { &TLS12 }
}

impl Peers {
    fn new() -> Peers {
        let usual = usual();
        let (_, authority, identity) = &*usual;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority.certificate()).expect("PEM")).expect("an authority");
        let roots = Arc::new(roots);
        let server = |kind: usize| {
            let chain = vec![CertificateDer::from_pem_file(&identity.certificate).expect("PEM")];
            let key = PrivateKeyDer::from_pem_file(&identity.key).expect("PEM");
            let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
            let builder = builder.with_protocol_versions(&[version(kind)]).expect("versions").with_no_client_auth();
            let mut config = builder.with_single_cert(chain, key).expect("they fit");
            config.max_fragment_size = FRAGMENTS[kind % FRAGMENTS.len()];
            Arc::new(config)
        };
        let client = |kind: usize| {
            let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
            let builder = builder.with_protocol_versions(&[version(kind)]).expect("versions");
            let mut config = builder.with_root_certificates(Arc::clone(&roots)).with_no_client_auth();
            config.max_fragment_size = FRAGMENTS[kind % FRAGMENTS.len()];
            Arc::new(config)
        };
        Peers {
            remote: remote(),
            local: local(),
            servers: (0..KINDS).map(server).collect(),
            clients: (0..KINDS).map(client).collect(),
            ours: noise(SAID_MAX),
            theirs: noise(2 * SAID_MAX).split_off(SAID_MAX),
        }
    }

    fn server(&self, kind: usize) -> Connection {
        Connection::Server(ServerConnection::new(Arc::clone(&self.servers[kind])).expect("random bytes"))
    }

    fn client(&self, kind: usize) -> Connection {
        let name = ServerName::try_from("localhost").expect("a name");
        Connection::Client(ClientConnection::new(Arc::clone(&self.clients[kind]), name).expect("a name"))
    }
}

/// How a life ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// Both stay.
    Never,
    /// The peer says that it says nothing more, when it has said so many bytes; it goes on listening.
    Said(usize),
    /// The line from the peer is cut, when so many bytes of plaintext were written; of what is under way, some is lost.
    Cut(usize),
}

/// One life.
struct Life<'a> {
    peers: &'a Peers,
    chance: Chance,
    session: Session,
    peer: Connection,
    is_tls13: bool,
    to_us: Way,
    to_peer: Way,
    /// Bytes that we want to say, have said, and that the peer has heard.
    ours: [usize; 3],
    /// The same of the peer.
    theirs: [usize; 3],
    end: End,
    /// Whether something has arrived since a read has drained the socket.
    is_readable: bool,
    /// Whether the kernel has told that nothing more comes.
    is_ending: bool,
    is_ended: bool,
    has_failed: bool,
}

impl std::fmt::Debug for Life<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Life { session, to_us, to_peer, ours, theirs, end, is_readable, is_ended, .. } = self;
        let ways = [to_us, to_peer].map(|way| (way.bytes.len(), way.arrived));
        let is_shaking = (session.is_shaking(), self.peer.is_handshaking());
        write!(f, "ways {ways:?}, ours {ours:?}, theirs {theirs:?}, {end:?}, shaking {is_shaking:?}, ")?;
        write!(f, "readable {is_readable}, ended {is_ended}, unsent {}", session.unsent_bytes())
    }
}

/// What all sessions of a thread share.
struct Room {
    area: Vec<u8>,
    buffers: Buffers,
}

impl<'a> Life<'a> {
    fn begin(seed: u64, peers: &'a Peers, room: &mut Room) -> Life<'a> {
        let mut chance = Chance(seed);
        let kind = chance.below(KINDS);
        let is_server = chance.one_in(2);
        let (session, mut peer) = match is_server {
            true => (peers.local.session().expect("random bytes"), peers.client(kind)),
            false => (peers.remote.session("localhost").expect("a name"), peers.server(kind)),
        };
        peer.set_buffer_limit(None);
        let total = |chance: &mut Chance| [0, chance.length(), 3 * chance.length()][chance.below(3)];
        let (ours, theirs) = (total(&mut chance), total(&mut chance));
        let end = match chance.below(4) {
            0 => End::Said(chance.below(theirs + 1)),
            1 => End::Cut(chance.below(theirs + 1)),
            _ => End::Never,
        };
        let mut life = Life {
            chance,
            session,
            peer,
            is_tls13: kind < FRAGMENTS.len(),
            peers,
            to_us: Way::default(),
            to_peer: Way::default(),
            ours: [ours, 0, 0],
            theirs: [theirs, 0, 0],
            end,
            is_readable: false,
            is_ending: false,
            is_ended: false,
            has_failed: false,
        };
        if !is_server {
            let mut socket = Socket { incoming: &mut life.to_us, outgoing: &mut life.to_peer, room: 100 };
            life.session.begin(&mut socket, &mut room.buffers).expect("the line is there");
        }
        life
    }

    /// Brings something on by chance; at the end, as far as it goes. True exactly when something has moved.
    fn step(&mut self, room: &mut Room, is_last: bool) -> bool {
        let count = if is_last { usize::MAX } else { self.chance.length() };
        match self.chance.below(7) {
            0 | 1 => {
                let mut has_arrived = self.to_us.arrive(count);
                if self.to_us.is_cut && self.to_us.under_way() == 0 && !self.is_ending {
                    // The end arrives behind all else, or with the last of it.
                    (self.is_ending, has_arrived) = (true, true);
                }
                self.is_readable |= has_arrived;
                has_arrived
            }
            2 => self.to_peer.arrive(count),
            3 => self.read(room),
            4 => self.write(room, count),
            5 => self.peer_reads(),
            _ => self.peer_writes(count),
        }
    }

    fn read(&mut self, room: &mut Room) -> bool {
        if !self.is_readable || self.is_ended || self.has_failed {
            return false;
        }
        // What others have left in the area is nothing to a session.
        let garbage = self.chance.next() as u8;
        room.area.iter_mut().step_by(61).for_each(|byte| *byte = garbage);
        let asked = [1, 100, 16 * 1024, 64 * 1024][self.chance.below(4)];
        let had = self.to_us.arrived;
        let write_room = if self.chance.one_in(3) { 0 } else { usize::MAX };
        let mut socket = Socket { incoming: &mut self.to_us, outgoing: &mut self.to_peer, room: write_room };
        let incoming = match self.session.receive(&mut socket, &mut room.area, asked, &mut room.buffers) {
            Ok(incoming) => incoming,
            Err(error) => {
                // A line that is cut in the middle of a handshake may be that as well.
                assert!(matches!(self.end, End::Cut(_)), "{error}");
                self.has_failed = true;
                return true;
            }
        };
        assert_eq!(had - self.to_us.arrived, asked.min(had), "what is there is read, as far as asked for");
        assert_eq!(incoming.is_drained, had < asked, "short, or not");
        let said = &self.peers.theirs[self.theirs[2]..][..incoming.count];
        assert!(room.area[..incoming.count] == *said, "other bytes than were said, from {} on", self.theirs[2]);
        self.theirs[2] += incoming.count;
        assert!(self.theirs[2] <= self.theirs[1], "more than was said");
        self.is_readable = !incoming.is_drained;
        self.is_ended = incoming.is_ended || (incoming.is_drained && self.is_ending);
        had > 0 || self.is_ended
    }

    fn write(&mut self, room: &mut Room, count: usize) -> bool {
        let count = count.min(self.ours[0] - self.ours[1]);
        let said = &self.peers.ours[self.ours[1]..][..count];
        let (first, second) = said.split_at(self.chance.below(count + 1));
        let slices = [IoSlice::new(first), IoSlice::new(b""), IoSlice::new(second)];
        let socket_room = if self.chance.one_in(3) { self.chance.length() - 1 } else { usize::MAX };
        let before = self.to_peer.bytes.len();
        let mut socket = Socket { incoming: &mut self.to_us, outgoing: &mut self.to_peer, room: socket_room };
        if self.has_failed {
            return false;
        }
        let taken = self.session.write(&mut socket, &slices, &mut room.buffers).expect("the line is there");
        assert!(taken <= count && (taken == 0 || !self.session.is_shaking()));
        assert!(taken == count || self.session.has_unsent() || self.session.is_shaking(), "no reason to take less");
        // A handshake's words may wait, too.
        assert!(self.session.unsent_bytes() <= 2 * (16 * 1024 + 300) + 8 * 1024, "{}", self.session.unsent_bytes());
        self.ours[1] += taken;
        self.to_peer.bytes.len() > before
    }

    fn peer_reads(&mut self) -> bool {
        let count = self.to_peer.arrived.min(32 * 1024);
        if count == 0 {
            return false;
        }
        let mut arrived = vec![0; count];
        self.to_peer.take(&mut arrived);
        let mut rest = &arrived[..];
        while !rest.is_empty() {
            self.peer.read_tls(&mut rest).expect("from memory");
            self.peer_takes_in();
        }
        self.peer_sends();
        true
    }

    fn peer_takes_in(&mut self) {
        let state = self.peer.process_new_packets();
        let state = state.unwrap_or_else(|error| panic!("what we say is wrong: {error}"));
        let mut heard = vec![0; state.plaintext_bytes_to_read()];
        self.peer.reader().read_exact(&mut heard).expect("it is there");
        assert!(
            heard == self.peers.ours[self.ours[2]..][..heard.len()],
            "other bytes than were said, from {} on",
            self.ours[2]
        );
        self.ours[2] += heard.len();
    }

    fn peer_writes(&mut self, count: usize) -> bool {
        let is_over = match self.end {
            End::Said(at) | End::Cut(at) => self.theirs[1] >= at && !self.peer.is_handshaking(),
            End::Never => false,
        };
        let mut has_moved = false;
        if !self.peer.is_handshaking() && !self.to_us.is_cut && !self.has_said_end() {
            let limit = match self.end {
                End::Said(at) | End::Cut(at) => at,
                End::Never => self.theirs[0],
            };
            let said = &self.peers.theirs[self.theirs[1]..][..count.min(limit - self.theirs[1])];
            self.peer.writer().write_all(said).expect("there is no limit");
            self.theirs[1] += said.len();
            has_moved |= !said.is_empty();
            if self.is_tls13 && self.chance.one_in(8) && !said.is_empty() {
                self.peer.refresh_traffic_keys().expect("after the handshake");
            }
        }
        has_moved |= self.peer_sends();
        if is_over && self.end != End::Never && !self.to_us.is_cut {
            match self.end {
                End::Said(at) => {
                    self.peer.send_close_notify();
                    self.end = End::Said(at);
                    has_moved |= self.peer_sends();
                }
                _ => {
                    let kept = self.to_us.arrived + self.chance.below(self.to_us.under_way() + 1);
                    self.to_us.bytes.truncate(kept);
                    self.to_us.is_cut = true;
                    has_moved = true;
                }
            }
        }
        has_moved
    }

    /// Whether the peer has said all that it says before it says the end.
    fn has_said_end(&self) -> bool {
        matches!(self.end, End::Said(at) if self.theirs[1] >= at)
    }

    fn peer_sends(&mut self) -> bool {
        let mut has_moved = false;
        let mut lost = VecDeque::new();
        while self.peer.wants_write() {
            // What is said into a line that is cut is lost.
            let line = if self.to_us.is_cut { &mut lost } else { &mut self.to_us.bytes };
            has_moved |= self.peer.write_tls(line).expect("to memory") > 0 && !self.to_us.is_cut;
        }
        has_moved
    }

    /// Whether it was as it had to be, once nothing moves any more.
    fn check(&self) {
        match self.end {
            End::Cut(_) => return assert!(self.is_ended || self.has_failed, "an end is not seen"),
            End::Said(at) => assert!(self.is_ended && self.theirs[2] == at, "{} of {at}", self.theirs[2]),
            End::Never => assert!(!self.is_ended && self.theirs[2] == self.theirs[0], "{:?}", self.theirs),
        }
        assert!(!self.session.is_shaking() && !self.peer.is_handshaking(), "they never agree");
        assert_eq!(self.ours, [self.ours[0]; 3], "all that we say is heard");
        assert!(self.session.owns_nothing(), "an idle session has no buffer");
    }

    fn is_quiet(&self) -> bool {
        self.to_us.bytes.is_empty() && self.to_peer.bytes.is_empty() && !self.session.has_unsent()
    }
}

fn live(seed: u64, peers: &Peers, room: &mut Room) {
    let mut life = Life::begin(seed, peers, room);
    for _ in 0..life.chance.below(400) {
        life.step(room, false);
    }
    let mut idle = 0;
    while idle < IDLE_STEPS_MAX {
        idle = if life.step(room, true) { 0 } else { idle + 1 };
    }
    assert!(matches!(life.end, End::Cut(_)) || life.is_quiet(), "it is stuck: {life:?}");
    life.check();
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn any_line_will_do() {
    let peers = Peers::new();
    let mut room = Room { area: vec![0; AREA], buffers: Buffers::default() };
    let first = number("RMUX_FIRST_SEED").unwrap_or(0);
    let seeds = match number("RMUX_SEED") {
        Some(seed) => seed..seed + 1,
        None => first..first + number("RMUX_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        let life = std::panic::AssertUnwindSafe(|| live(seed, &peers, &mut room));
        if let Err(panic) = std::panic::catch_unwind(life) {
            println!("seed {seed}: RMUX_SEED={seed} runs it alone");
            std::panic::resume_unwind(panic);
        }
    }
}
