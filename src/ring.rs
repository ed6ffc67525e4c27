//! Which server holds a key: the table from key hash to server, and the walk to a backup when that server is down.
//!
//! Knows indexes only: no addresses, no health rules, no time. Who is up comes in as an [`UpSet`].
//!
//! The table is the original rmux's, cell for cell, so that a fleet can be replaced host by host:
//!
//! - `P` is the smallest prime ≥ the number of servers `N` (and ≥ 2); `T` is the smallest power of two ≥ `P * (P - 1)`.
//! - Row `m` (1 to P - 1) holds `m * v mod P` for `v` in 0 to P - 1; where that is no server (≥ `N`), the cell repeats
//!   the server before it. The cells from `P * (P - 1)` to `T` repeat the table from its start.
//!
//! ```text
//! N = 3, P = 3, T = 8      cell   0 1 2   3 4 5   6 7
//!                          server 0 1 2   0 2 1   0 1      a key of hash h is in cell h & 7
//!                                 row 1   row 2   row 1…
//! server 2 is down:        cell 4 ──►  cell 5: server 1 takes the key (and cell 2 ──► cell 3: server 0)
//! ```
//!
//! Each row is a permutation, so the backups of one server's keys are spread over all the others, and every server
//! stands in each row at least once: a walk that starts anywhere ends within three rows, however many servers are down.
//!
//! Two other tables are twemproxy's, for those who come from there ([`Distribution`]). The walk to a backup is the same
//! in all of them: the next cell of a server that is up.
//!
//! ```text
//! modula   a cell for each server and unit of weight, the shortest name first, and then by the alphabet; a key is in
//!          the cell that its hash leaves as a remainder
//! ketama   points on a circle of 32 bits, up to 160 a server, from the MD5 of its name; a key is at the next one
//! ```
//!
//! Invariants: every cell is < `N`; `T` is a power of two, for which a table of twemproxy's is repeated from its start;
//! every server has at least one cell, but for one in ketama that has less than a fortieth of the mean weight.

mod key_hash;
mod spread;

use std::fmt;

pub use key_hash::KeyHash;
pub use spread::{Distribution, Member, Spread};

/// The place of a server in the pool's list (TCP first, then Unix, each in the order given), from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerIndex(pub u16);

impl ServerIndex {
    /// The same as an index into a slice.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for ServerIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The table from key hash to server. It never changes; several reactors can share one.
///
/// It takes two bytes a cell, and the number of cells grows with the square of the servers: 1 kB for 16 servers, 32 kB
/// for 101, 2 MB for 1,000, 16 MB for [`Ring::SERVERS_MAX`].
#[derive(Debug)]
pub struct Ring {
    cells: Box<[u16]>,
    servers: u16,
    lookup: Lookup,
}

/// How a hash finds its cell.
#[derive(Debug, PartialEq, Eq)]
enum Lookup {
    /// By its lowest bits.
    Bits,
    /// By its remainder, divided by this.
    Remainder(u32),
    /// By the first of these points that is not below it; behind the last one comes the first.
    Points(Box<[u32]>),
}

impl Ring {
    /// The most servers that one ring takes.
    pub const SERVERS_MAX: usize = 2048;
    /// The largest weight of a server.
    pub const WEIGHT_MAX: u32 = 1000;
    /// The longest name of a server, in bytes. twemproxy has no room for more, and hashes what stands behind it.
    pub const NAME_MAX: usize = 78;

    /// The ring over this many servers.
    ///
    /// # Panics
    ///
    /// Unless 1 ≤ `servers` ≤ [`Ring::SERVERS_MAX`]: the configuration has been checked before.
    pub fn new(servers: usize) -> Ring {
        assert!((1..=Ring::SERVERS_MAX).contains(&servers), "{servers} servers in one ring");
        let prime = prime_at_least(servers.max(2));
        let period = prime * (prime - 1);
        let mut cells = Vec::with_capacity(period.next_power_of_two());
        let mut last = 0;
        for multiplier in 1..prime {
            for value in 0..prime {
                let server = multiplier * value % prime;
                if server < servers {
                    last = server as u16;
                }
                cells.push(last);
            }
        }
        Ring { cells: padded(cells), servers: servers as u16, lookup: Lookup::Bits }
    }

    /// The table of this kind over these servers.
    ///
    /// # Panics
    ///
    /// Unless there are 1 to [`Ring::SERVERS_MAX`] of them, each with a weight of 1 to [`Ring::WEIGHT_MAX`].
    pub fn of(distribution: Distribution, members: &[Member]) -> Ring {
        assert!((1..=Ring::SERVERS_MAX).contains(&members.len()), "{} servers in one ring", members.len());
        assert!(members.iter().all(|member| (1..=Ring::WEIGHT_MAX).contains(&member.weight)), "a weight out of range");
        match distribution {
            Distribution::Rmux => Ring::new(members.len()),
            Distribution::Ketama => Ring::ketama(members),
            Distribution::Modula => Ring::modula(members),
        }
    }

    fn modula(members: &[Member]) -> Ring {
        let cells_of = |server: usize| (0..members[server].weight).map(move |_| server as u16);
        let cells: Vec<u16> = by_name(members).into_iter().flat_map(cells_of).collect();
        let lookup = Lookup::Remainder(cells.len() as u32);
        Ring { cells: padded(cells), servers: members.len() as u16, lookup }
    }

    fn ketama(members: &[Member]) -> Ring {
        let total: u32 = members.iter().map(|member| member.weight).sum();
        let mut points = Vec::new();
        for server in by_name(members) {
            let member = &members[server];
            // In the precision that twemproxy has, step by step: the last digit decides over a hash more or less.
            let share = member.weight as f32 / total as f32;
            let hashes = share * POINTS_PER_SERVER / POINTS_PER_HASH as f32 * members.len() as f32;
            let hashes = (f64::from(hashes) + 0.000_000_000_1) as f32;
            for number in 0..hashes.floor() as u32 {
                let digest = md5::compute(format!("{}-{number}", member.name)).0;
                let words = digest.chunks_exact(digest.len() / POINTS_PER_HASH);
                points.extend(
                    words.map(|word| (u32::from_le_bytes(word.try_into().expect("four bytes")), server as u16)),
                );
            }
        }
        // Of two points in one place the first counts, as it came in.
        points.sort_by_key(|&(point, _)| point);
        let cells = padded(points.iter().map(|&(_, server)| server).collect());
        let lookup = Lookup::Points(points.into_iter().map(|(point, _)| point).collect());
        Ring { cells, servers: members.len() as u16, lookup }
    }

    /// How many servers the ring spreads keys over.
    pub fn servers(&self) -> usize {
        usize::from(self.servers)
    }

    /// The server for a key, or `None` when all are down. With a single server nothing is hashed.
    pub fn server_of_key(&self, key: &[u8], up: &UpSet) -> Option<ServerIndex> {
        let hash = if self.servers == 1 { 0 } else { Ring::hash(key) };
        self.server(hash, up)
    }

    /// A key's hash: `h = h * 33 + byte` for each byte, from 0, wrapping in 32 bits.
    ///
    /// Eight bytes at a time: this runs for each request, and the plain loop waits for a multiplication per byte.
    pub fn hash(key: &[u8]) -> u32 {
        // The odd bytes go first, as a block with zeros in front: those leave a hash of 0 as it is.
        let (head, blocks) = key.split_at(key.len() % 8);
        let mut hash = match (head.len(), key.first_chunk::<8>()) {
            (0, _) => 0,
            (length, Some(chunk)) => hash_of_block(u64::from_le_bytes(*chunk) << (64 - 8 * length)),
            (_, None) => head.iter().fold(0, |hash: u32, &byte| hash.wrapping_mul(33).wrapping_add(u32::from(byte))),
        };
        for block in blocks.chunks_exact(8) {
            let block = u64::from_le_bytes(block.try_into().expect("chunks_exact gives eight bytes"));
            hash = hash.wrapping_mul(33u32.wrapping_pow(8)).wrapping_add(hash_of_block(block));
        }
        hash
    }

    /// What of a hash the table goes by: the hash itself in the original's, its cell in twemproxy's. All that is asked
    /// by a hash is asked by this.
    #[inline(never)]
    pub fn place_of(&self, hash: u32) -> u32 {
        match &self.lookup {
            Lookup::Bits => hash,
            Lookup::Remainder(cells) => hash % cells,
            Lookup::Points(points) => {
                let place = points.partition_point(|&point| point < hash);
                if place < points.len() { place as u32 } else { 0 }
            }
        }
    }

    /// The cell that a hash falls into: 0 to `T` - 1.
    pub fn cell(&self, hash: u32) -> usize {
        hash as usize & (self.cells.len() - 1)
    }

    /// The server that a hash belongs to, whether it is up or not.
    pub fn primary(&self, hash: u32) -> ServerIndex {
        ServerIndex(self.cells[self.cell(hash)])
    }

    /// How many keys have another server in `other`. `is_same` says whether a server of this ring, and one of the
    /// other, are the same.
    ///
    /// Between two of the original's tables that is no estimate: they are cells of a table as long as the longer of
    /// both. A hash's cell is its lowest bits, so over the longer table the shorter one repeats itself, and each cell
    /// takes as many of all hashes as any other. Otherwise they are hashes that lie evenly on the circle.
    pub fn moved_cells(&self, other: &Ring, is_same: impl Fn(ServerIndex, ServerIndex) -> bool) -> Moved {
        let is_exact = self.lookup == Lookup::Bits && other.lookup == Lookup::Bits;
        let cells = if is_exact { self.cells.len().max(other.cells.len()) } else { SAMPLES };
        let hash = |cell: usize| if is_exact { cell as u32 } else { (cell as u32).wrapping_mul(GOLDEN_RATIO) };
        let primary = |ring: &Ring, cell: usize| ring.primary(ring.place_of(hash(cell)));
        let is_moved = |&cell: &usize| !is_same(primary(self, cell), primary(other, cell));
        Moved { moved: (0..cells).filter(is_moved).count(), cells, is_exact }
    }

    /// The server that takes this hash now: its own, or the next in the table that is up. `None` when all are down, or
    /// when nobody stands in for its own.
    pub fn server(&self, hash: u32, up: &UpSet) -> Option<ServerIndex> {
        debug_assert_eq!(up.servers, self.servers(), "an up-set of another ring");
        if up.all_up() {
            return Some(self.primary(hash));
        }
        if up.none_up() {
            return None;
        }
        let own = self.primary(hash);
        if up.alone.contains(&own) {
            return Some(own).filter(|&own| up.is_up(own));
        }
        // Ends at a server that is up, if that has a cell.
        let (before, from) = self.cells.split_at(self.cell(hash));
        from.iter().chain(before).map(|&server| ServerIndex(server)).find(|&server| up.is_up(server))
    }

    /// The server of a hash, and those that stand in when it is down, and when the next one is down, too, and so on:
    /// so many at the most, all others being up. `is_same` says which are one server under two numbers: they are down
    /// together.
    pub fn line_of(
        &self,
        hash: u32,
        most: usize,
        is_same: &dyn Fn(ServerIndex, ServerIndex) -> bool,
    ) -> Vec<ServerIndex> {
        let mut up = UpSet::new(self.servers());
        let mut line = Vec::new();
        while line.len() < most {
            let Some(found) = self.server(hash, &up) else { break };
            line.push(found);
            for other in (0..self.servers).map(ServerIndex).filter(|&other| is_same(found, other)) {
                up.set(other, false);
            }
        }
        line
    }
}

/// A share of all keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// So many get another server
    pub moved: usize,
    /// of so many.
    pub cells: usize,
    /// Whether those are the cells of a table, or hashes that stand for others.
    pub is_exact: bool,
}

/// Two bytes between which a key says what of it is hashed, so that keys can be put on one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashTag {
    /// Begins the tag.
    pub open: u8,
    /// Ends it; may be the same byte.
    pub close: u8,
}

impl HashTag {
    /// What of a key is hashed, by Redis Cluster's rule: what stands between the first `open` and the first `close`
    /// behind it, unless that is nothing; otherwise all of it.
    pub fn hashed_part(self, key: &[u8]) -> &[u8] {
        let Some(open) = position(key, self.open) else { return key };
        let behind = &key[open + 1..];
        match position(behind, self.close) {
            Some(len) if len > 0 => &behind[..len],
            _ => key,
        }
    }
}

/// Where this byte stands first. Looks at eight bytes at a time: most keys have no tag, and each is searched for one.
#[inline]
fn position(bytes: &[u8], wanted: u8) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let blocks = bytes.chunks_exact(8);
    let rest = blocks.remainder();
    for (number, block) in blocks.enumerate() {
        let block = u64::from_le_bytes(block.try_into().expect("chunks_exact gives eight bytes"));
        // A byte is zero where it is the wanted one; the lowest zero byte is the lowest whose highest bit is set here.
        let differing = block ^ (ONES * u64::from(wanted));
        let zeros = differing.wrapping_sub(ONES) & !differing & (ONES << 7);
        if zeros != 0 {
            return Some(number * 8 + zeros.trailing_zeros() as usize / 8);
        }
    }
    let place = rest.iter().position(|&byte| byte == wanted)?;
    Some(bytes.len() - rest.len() + place)
}

/// Which of a ring's servers are up.
#[derive(Debug, Clone)]
pub struct UpSet {
    /// One bit a server, in words of 64. The bits past the last server stay 0.
    words: Box<[u64]>,
    servers: usize,
    /// How many servers are down: `servers` minus the bits that are set.
    down: usize,
    /// Servers for which nobody stands in.
    alone: Vec<ServerIndex>,
}

impl UpSet {
    /// The set of this many servers, all of them up.
    pub fn new(servers: usize) -> UpSet {
        let mut set = UpSet { words: vec![0; servers.div_ceil(64)].into(), servers, down: servers, alone: Vec::new() };
        for server in 0..servers {
            set.set(ServerIndex(server as u16), true);
        }
        set
    }

    /// Notes that a server is up, or that it is down. True when that is news.
    pub fn set(&mut self, server: ServerIndex, up: bool) -> bool {
        debug_assert!(server.index() < self.servers, "server {server} of {}", self.servers);
        if self.is_up(server) == up {
            return false;
        }
        self.words[server.index() / 64] ^= 1 << (server.index() % 64);
        self.down = if up { self.down - 1 } else { self.down + 1 };
        true
    }

    /// Nobody stands in for this server while it is down.
    pub fn leave_alone(&mut self, server: ServerIndex) {
        self.alone.push(server);
    }

    /// True exactly when this server is up.
    pub fn is_up(&self, server: ServerIndex) -> bool {
        self.words[server.index() / 64] >> (server.index() % 64) & 1 == 1
    }

    /// True exactly when no server is down.
    pub fn all_up(&self) -> bool {
        self.down == 0
    }

    /// True exactly when every server is down.
    fn none_up(&self) -> bool {
        self.down == self.servers
    }

    /// How many servers are up.
    pub fn up(&self) -> usize {
        self.servers - self.down
    }
}

/// Points that a server of ketama's has on the circle, if all weigh alike; and how many of them one MD5 gives.
const POINTS_PER_SERVER: f32 = 160.0;
const POINTS_PER_HASH: usize = 4;
/// Hashes by which two rings are compared of which one is twemproxy's.
const SAMPLES: usize = 1 << 16;
/// 2^32 divided by the golden ratio: its multiples lie evenly on the circle, and in every remainder.
const GOLDEN_RATIO: u32 = 0x9e37_79b9;

/// A table of a power of two of cells: these, and then from their start again.
fn padded(mut cells: Vec<u16>) -> Box<[u16]> {
    cells.extend_from_within(..cells.len().next_power_of_two() - cells.len());
    cells.into_boxed_slice()
}

/// The places of the servers in the order that twemproxy brings them in.
fn by_name(members: &[Member]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..members.len()).collect();
    places.sort_by_key(|&place| (members[place].name.len(), &members[place].name));
    places
}

/// The hash of eight bytes, the first one lowest: bytes → pairs → fours → all, in lanes that cannot overflow
/// (a pair is at most 255 * 34, a four at most 255 * 34 * 1090 < 2^32).
fn hash_of_block(bytes: u64) -> u32 {
    const BYTES: u64 = 0x00ff_00ff_00ff_00ff;
    const PAIRS: u64 = 0x0000_ffff_0000_ffff;
    let pairs = (bytes & BYTES) * 33 + (bytes >> 8 & BYTES);
    let fours = (pairs & PAIRS) * 33u64.pow(2) + (pairs >> 16 & PAIRS);
    (fours as u32).wrapping_mul(33u32.pow(4)).wrapping_add((fours >> 32) as u32)
}

fn prime_at_least(number: usize) -> usize {
    let is_prime = |number: &usize| (2..).take_while(|d| d * d <= *number).all(|d| number % d != 0);
    (number..).find(is_prime).expect("there is always a larger prime")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain_hash(key: &[u8]) -> u32 {
        key.iter().fold(0, |hash: u32, &byte| hash.wrapping_mul(33).wrapping_add(u32::from(byte)))
    }

    fn up_except(servers: usize, down: impl IntoIterator<Item = usize>) -> UpSet {
        let mut up = UpSet::new(servers);
        for server in down {
            assert!(up.set(ServerIndex(server as u16), false));
        }
        up
    }

    #[test]
    fn the_fast_hash_is_the_plain_hash_at_every_length() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        for length in 0..300 {
            let key: Vec<u8> = (0..length)
                .map(|_| {
                    seed ^= seed << 13;
                    seed ^= seed >> 7;
                    seed ^= seed << 17;
                    (seed >> 32) as u8
                })
                .collect();
            assert_eq!(Ring::hash(&key), plain_hash(&key), "{key:02x?}");
            // The largest bytes, to see that no lane spills into its neighbour.
            assert_eq!(Ring::hash(&vec![0xff; length]), plain_hash(&vec![0xff; length]), "{length} times ff");
        }
    }

    #[test]
    fn the_table_in_the_head_comment_is_true() {
        assert_eq!(*Ring::new(3).cells, [0, 1, 2, 0, 2, 1, 0, 1]);
        assert_eq!(*Ring::new(1).cells, [0, 0]);
        assert_eq!(*Ring::new(2).cells, [0, 1]);
        // Four servers under the prime 5: where the product is 4, the cell repeats the one before.
        assert_eq!(Ring::new(4).cells[..20], [0, 1, 2, 3, 3, 0, 2, 2, 1, 3, 0, 3, 1, 1, 2, 0, 0, 3, 2, 1]);
    }

    #[test]
    fn any_number_of_servers_is_served_and_none_is_forgotten() {
        for servers in (1..=20).chain([53, 54, 101, 102, 257, 1000, Ring::SERVERS_MAX]) {
            let ring = Ring::new(servers);
            assert!(ring.cells.len().is_power_of_two());
            let mut cells_of = vec![0; servers];
            ring.cells.iter().for_each(|&server| cells_of[usize::from(server)] += 1);
            assert!(cells_of.iter().all(|&cells| cells > 0), "{servers}: {cells_of:?}");
        }
        assert_eq!(Ring::new(1000).cells.len() * 2, 2 << 20);
    }

    #[test]
    #[should_panic(expected = "0 servers")]
    fn a_ring_of_no_server_is_refused() {
        Ring::new(0);
    }

    #[test]
    fn a_down_server_is_passed_over_and_the_others_keep_their_keys() {
        let ring = Ring::new(5);
        let up = up_except(5, [2]);
        for hash in 0..1000 {
            let primary = ring.primary(hash);
            let taken = ring.server(hash, &up).expect("four are up");
            assert_ne!(taken, ServerIndex(2));
            if primary != ServerIndex(2) {
                assert_eq!(taken, primary);
            }
        }
    }

    #[test]
    fn the_walk_wraps_and_finds_the_only_server_that_is_up() {
        for servers in [2, 3, 16, 65] {
            let ring = Ring::new(servers);
            for only in 0..servers {
                let up = up_except(servers, (0..servers).filter(|&server| server != only));
                assert_eq!(up.up(), 1);
                for hash in 0..ring.cells.len() as u32 {
                    assert_eq!(ring.server(hash, &up), Some(ServerIndex(only as u16)));
                }
            }
        }
    }

    #[test]
    fn no_walk_is_longer_than_three_rows() {
        for servers in [2, 3, 4, 6, 12, 54] {
            let ring = Ring::new(servers);
            let prime = prime_at_least(servers);
            for only in 0..servers as u16 {
                // The longest gap between two cells of the same server, over the seam too.
                let twice = ring.cells.iter().chain(ring.cells.iter()).enumerate();
                let places: Vec<usize> = twice.filter(|&(_, &server)| server == only).map(|(place, _)| place).collect();
                let gap = places.windows(2).map(|pair| pair[1] - pair[0]).max().expect("every server has a cell");
                assert!(gap <= 3 * prime, "{servers} servers: {gap} cells to server {only}");
            }
        }
    }

    #[test]
    fn the_cells_that_move_are_counted_over_the_longer_table() {
        let moved = |old: usize, new: usize| {
            let Moved { moved, cells, is_exact } =
                Ring::new(old).moved_cells(&Ring::new(new), |one, other| one == other);
            assert!(is_exact);
            (moved, cells)
        };
        assert_eq!(moved(3, 3), (0, 8));
        assert_eq!(moved(1, 2), (1, 2), "every other cell");
        assert_eq!(moved(2, 1), (1, 2), "and back");
        for (old, new, percent) in [(8, 9, 14), (4, 5, 19), (3, 4, 72), (4, 8, 83)] {
            let (moved, cells) = moved(old, new);
            assert_eq!((moved * 100 + cells / 2) / cells, percent, "{old} to {new}: {moved} of {cells}");
            // The same by the hashes themselves, over a stretch in which each cell is met equally often.
            let (one, other) = (Ring::new(old), Ring::new(new));
            let hashes = 0xffff_0000_u32..=u32::MAX;
            let differing = hashes.filter(|&hash| one.primary(hash) != other.primary(hash)).count();
            assert_eq!(differing * cells, moved * 0x1_0000, "{old} to {new}");
        }
        // Two servers that change places take each other's keys: here, six of the eight cells.
        let swapped = |one: ServerIndex, other: ServerIndex| [1, 0, 2][one.index()] == other.index();
        assert_eq!(Ring::new(3).moved_cells(&Ring::new(3), swapped), Moved { moved: 6, cells: 8, is_exact: true });
    }

    fn members(names: &[(&str, u32)]) -> Vec<Member> {
        names.iter().map(|&(name, weight)| Member { name: name.to_owned(), weight }).collect()
    }

    /// How many of a hundred keys get another server, when the last one comes.
    fn percent_moved(distribution: Distribution, names: &[(&str, u32)]) -> usize {
        let all = members(names);
        let (old, new) = (Ring::of(distribution, &all[..all.len() - 1]), Ring::of(distribution, &all));
        let Moved { moved, cells, is_exact } = old.moved_cells(&new, |one, other| one == other);
        assert!(!is_exact);
        (moved * 100 + cells / 2) / cells
    }

    #[test]
    fn ketama_moves_about_the_share_of_the_server_that_comes_and_modula_nearly_all() {
        let alike = [("a", 1), ("b", 1), ("c", 1), ("d", 1)];
        assert!((20..=30).contains(&percent_moved(Distribution::Ketama, &alike)));
        assert_eq!(percent_moved(Distribution::Modula, &alike), 75);
        let heavy = [("a", 1), ("b", 1), ("c", 1), ("d", 3)];
        assert!((45..=65).contains(&percent_moved(Distribution::Ketama, &heavy)));
    }

    #[test]
    fn a_server_of_a_table_of_twemproxy_s_is_stood_in_for_and_the_others_keep_their_keys() {
        for distribution in [Distribution::Ketama, Distribution::Modula] {
            let ring = Ring::of(distribution, &members(&[("a", 1), ("b", 2), ("c", 1)]));
            let up = up_except(3, [1]);
            let mut stand_ins = [0; 3];
            for key in 0..3000u32 {
                let hash = ring.place_of(key.wrapping_mul(GOLDEN_RATIO));
                let (primary, taken) = (ring.primary(hash), ring.server(hash, &up).expect("two are up"));
                assert!(taken != ServerIndex(1) && (primary == ServerIndex(1) || taken == primary));
                stand_ins[taken.index()] += usize::from(taken != primary);
            }
            assert!(stand_ins[0] + stand_ins[2] > 1000, "{stand_ins:?}");
            assert_eq!(ring.server(7, &up_except(3, 0..3)), None);
        }
    }

    #[test]
    fn a_server_without_a_cell_has_no_keys_and_stands_in_for_nobody() {
        let ring = Ring::of(Distribution::Ketama, &members(&[("a", 1), ("b", 1000)]));
        assert!(ring.cells.iter().all(|&server| server == 1));
        assert_eq!(ring.server(7, &up_except(2, [1])), None);
    }

    #[test]
    fn all_down_is_none_and_back_up_is_the_primary_again() {
        let ring = Ring::new(3);
        let mut up = up_except(3, 0..3);
        assert!(up.none_up() && !up.all_up());
        assert_eq!(ring.server_of_key(b"user:1", &up), None);
        assert!(up.set(ServerIndex(1), true));
        assert!(!up.set(ServerIndex(1), true), "no news");
        assert_eq!(ring.server_of_key(b"user:1", &up), Some(ServerIndex(1)));
        up.set(ServerIndex(0), true);
        up.set(ServerIndex(2), true);
        assert!(up.all_up());
        assert_eq!(ring.server_of_key(b"user:1", &up), Some(ring.primary(Ring::hash(b"user:1"))));
    }

    #[test]
    fn a_byte_is_found_wherever_it_stands() {
        for length in 0..40 {
            let mut bytes = vec![0x80; length];
            for place in (0..length).rev() {
                bytes[place] = b'{';
                assert_eq!(position(&bytes, b'{'), Some(place), "{length} bytes");
                assert_eq!(position(&bytes, b'z'), None);
            }
            // Neighbours of the wanted byte, which a borrow could take for it.
            bytes.fill(b'z');
            assert_eq!(position(&bytes, b'{'), None);
            bytes.fill(b'|');
            assert_eq!(position(&bytes, b'{'), None);
        }
    }

    #[test]
    fn a_tag_is_what_redis_cluster_takes_for_one() {
        let tag = HashTag { open: b'{', close: b'}' };
        for (key, part) in [
            ("user:{7}:name", "7"),
            ("{7}", "7"),
            ("a{b}{c}", "b"),
            ("a}b{c}", "c"),
            ("a{{b}}", "{b"),
            ("a{}{c}", "a{}{c}"),
            ("a{b", "a{b"),
            ("ab}", "ab}"),
            ("", ""),
        ] {
            assert_eq!(tag.hashed_part(key.as_bytes()), part.as_bytes(), "{key}");
        }
        let same = HashTag { open: b'|', close: b'|' };
        assert_eq!(same.hashed_part(b"a|b|c"), b"b");
        assert_eq!(same.hashed_part(b"a|b"), b"a|b");
    }

    #[test]
    fn a_single_server_takes_every_key() {
        let ring = Ring::new(1);
        assert_eq!(ring.server_of_key(b"anything", &UpSet::new(1)), Some(ServerIndex(0)));
        assert_eq!(ring.server_of_key(b"anything", &up_except(1, [0])), None);
    }
}
