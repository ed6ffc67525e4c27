//! Every write that was ever asked for, and what became of it; the values by which each byte can be attributed.
//!
//! A write carries a token (its client's number and its own) in its value or in its key. A server that runs it says so
//! here, and a client that is told something about it, too. What can not be true at the same time is found at once:
//!
//! ```text
//!   run twice · acknowledged and not run · run, though its client was told that it was not · run in another database,
//!   on another key, on a server that no state of the ring would choose · out of its client's order
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use rmux::cluster::slot_of;
use rmux::ring::{Ring, ServerIndex, UpSet};

use crate::cluster::Cluster;
use crate::ledger::Ledger;
use crate::lists::Lists;
use crate::protocol::show;
use crate::random::Random;

/// The name of one request: the number of its client, and its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token {
    pub client: u32,
    pub number: u32,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.client, self.number)
    }
}

impl Token {
    pub fn parse(text: &[u8]) -> Option<Token> {
        let (client, number) = std::str::from_utf8(text).ok()?.split_once('.')?;
        Some(Token { client: client.parse().ok()?, number: number.parse().ok()? })
    }

    /// A value of `len` bytes, or a little more, that names this token.
    pub fn value(self, len: usize) -> Vec<u8> {
        let mut value = format!("w{self}.{len}:").into_bytes();
        let filled = value.len().max(len);
        value.resize(filled, self.filling());
        value
    }

    /// The token that a value names; an error if it is not exactly what [`Token::value`] made.
    pub fn of_value(value: &[u8]) -> Result<Token, String> {
        let parse = || {
            let head = value.strip_prefix(b"w")?;
            let head = &head[..head.iter().take(40).position(|&byte| byte == b':')?];
            let dot = head.iter().rposition(|&byte| byte == b'.')?;
            let len: usize = std::str::from_utf8(&head[dot + 1..]).ok()?.parse().ok()?;
            Some((Token::parse(&head[..dot])?, len))
        };
        let (token, len) = parse().ok_or_else(|| format!("not a value that anybody wrote: {}", show(value)))?;
        if token.value(len) != value {
            return Err(format!("the value of {token} is damaged: {} bytes, {}", value.len(), show(value)));
        }
        Ok(token)
    }

    fn filling(self) -> u8 {
        b'a' + ((self.client * 7 + self.number) % 26) as u8
    }
}

/// What a server answers to a read of a key that names a token: nobody ever wrote it, and everybody can foresee it.
pub fn mirror(database: u32, is_resp3: bool, token: Token, len: usize) -> Vec<u8> {
    let mut value = format!("{database}/{}/{token}/", if is_resp3 { 3 } else { 2 }).into_bytes();
    let filled = value.len().max(len);
    value.resize(filled, token.filling());
    value
}

pub fn mirror_key(token: Token, len: usize) -> Vec<u8> {
    format!("m:{token}:{len}").into_bytes()
}

pub fn parse_mirror_key(key: &[u8]) -> Option<(Token, usize)> {
    let mut parts = key.strip_prefix(b"m:")?.split(|&byte| byte == b':');
    let token = Token::parse(parts.next()?)?;
    Some((token, std::str::from_utf8(parts.next()?).ok()?.parse().ok()?))
}

/// What a client knows about its write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was told nothing.
    Open,
    /// It was done.
    Done,
    /// It was not done.
    NotDone,
    /// It may have been done.
    Unknown,
}

struct Write {
    key: Vec<u8>,
    database: u32,
    runs: u32,
    /// The number of a later one of its client that was run on the same key before it.
    overtaken_by: Option<u32>,
    fate: Fate,
}

/// Everything that was written, and the ring that says where.
pub struct History {
    writes: BTreeMap<Token, Write>,
    /// The number of the last write to a client's own key, for each server and database.
    last: BTreeMap<(usize, u32, Vec<u8>), u32>,
    /// How often each mirror key was read.
    reads: BTreeMap<Vec<u8>, u32>,
    /// Clients that are no more.
    gone: BTreeSet<u32>,
    /// Each ring that there was, with the numbers of its servers; that of now is the last one.
    rings: Vec<(Ring, Vec<usize>)>,
    has_failover: bool,
    /// The cluster, if there is one.
    pub cluster: Option<Cluster>,
    /// The transactions.
    pub ledger: Ledger,
    /// The elements of lists.
    pub lists: Lists,
    /// Whether reads behind a write that was refused are asked again with it, as often as it is refused.
    pub may_read_again: bool,
    /// True once a server may have been taken for down.
    pub is_disturbed: bool,
    /// Servers whose keys no other server may have, since they were never silent for long enough.
    pub trusted: BTreeSet<usize>,
    /// True while a server runs what came on a connection that the proxy has closed since: whoever asked for it is told
    /// that it may have been run, though perhaps not yet.
    pub is_given_up: bool,
}

impl History {
    pub fn new(servers: usize, has_failover: bool) -> History {
        History {
            writes: BTreeMap::new(),
            last: BTreeMap::new(),
            reads: BTreeMap::new(),
            gone: BTreeSet::new(),
            rings: vec![(Ring::new(servers), (0..servers).collect())],
            has_failover,
            cluster: None,
            ledger: Ledger::default(),
            lists: Lists::default(),
            may_read_again: false,
            is_disturbed: false,
            trusted: BTreeSet::new(),
            is_given_up: false,
        }
    }

    /// From here on there are these servers, in this order.
    pub fn change(&mut self, servers: Vec<usize>, has_failover: bool) {
        self.has_failover |= has_failover;
        if self.rings.last().is_none_or(|(_, last)| *last != servers) {
            self.rings.push((Ring::new(servers.len()), servers));
        }
    }

    /// A client asks for a write.
    pub fn begin(&mut self, token: Token, key: &[u8], database: u32) {
        let write = Write { key: key.to_vec(), database, runs: 0, overtaken_by: None, fate: Fate::Open };
        assert!(self.writes.insert(token, write).is_none(), "the simulation uses {token} twice");
    }

    /// A server runs a write.
    pub fn run(&mut self, token: Token, server: usize, database: u32, key: &[u8]) {
        let Some(write) = self.writes.get_mut(&token) else { panic!("server {server} runs {token}: never asked for") };
        self.ledger.check_run(token);
        write.runs += 1;
        assert!(write.runs == 1, "{token} is run twice, now by server {server}");
        assert!(write.key == key, "{token} is run on another key: {} for {}", show(key), show(&write.key));
        assert!(write.database == database, "{token} is run in database {database}, not {}", write.database);
        assert!(write.fate != Fate::NotDone, "{token} is run, though its client was told that it was not");
        // What nobody waits for any more may be run at any time, and its client was told so, if it is still there.
        let is_given_up = self.is_given_up || write.fate == Fate::Unknown || self.gone.contains(&token.client);
        if key.starts_with(b"p") && !is_given_up {
            // In a cluster a key has one value, wherever it is.
            let place = if self.cluster.is_some() { 0 } else { server };
            let last = self.last.entry((place, database, key.to_vec())).or_insert(0);
            if *last > token.number {
                // Its time may be over, and the words on their way that say so.
                write.overtaken_by = Some(*last);
            }
            *last = token.number.max(*last);
        }
    }

    /// A server answers a read of a mirror key: it is sent twice at the most.
    pub fn read(&mut self, key: &[u8], server: usize) {
        if let Some((token, _)) = parse_mirror_key(key) {
            self.ledger.check_run(token);
        }
        let reads = self.reads.entry(key.to_vec()).or_insert(0);
        *reads += 1;
        assert!(
            *reads <= 2 || self.may_read_again,
            "{} is read for the third time, now from server {server}",
            show(key)
        );
    }

    /// One of several choices, more often than not one whose key lives where these keys do.
    pub fn choose<T>(
        &self,
        keys: &[Vec<u8>],
        random: &mut Random,
        draw: impl Fn(&mut Random) -> T,
        key: impl Fn(&T) -> Vec<u8>,
    ) -> T {
        let (ring, _) = self.rings.last().expect("there is a ring");
        let home = |key: &[u8]| match self.cluster {
            Some(_) => usize::from(slot_of(key)),
            None => ring.primary(Ring::hash(key)).index(),
        };
        for _ in 0..if random.one_in(3) { 0 } else { 15 } {
            let choice = draw(random);
            let is_new = !keys.contains(&key(&choice));
            if is_new && keys.first().is_none_or(|first| home(first) == home(&key(&choice))) {
                return choice;
            }
        }
        draw(random)
    }

    /// This key, or in a cluster, more often than not, one that is made of it and is in the slot of another one.
    pub fn beside(&self, other: &[u8], key: Vec<u8>, random: &mut Random) -> Vec<u8> {
        if self.cluster.is_none() || random.one_in(10) {
            return key;
        }
        let tag = other.split(|&byte| byte == b'{').nth(1).and_then(|rest| rest.strip_suffix(b"}")).unwrap_or(other);
        [&key, &b"{"[..], tag, b"}"].concat()
    }

    /// A client is closed.
    pub fn leave(&mut self, client: u32) {
        self.gone.insert(client);
    }

    /// A client is told what became of its write.
    pub fn settle(&mut self, token: Token, fate: Fate) {
        let write = self.writes.get_mut(&token).expect("a write is begun before it is settled");
        write.fate = fate;
        match fate {
            Fate::Done => {
                assert!(write.runs == 1, "{token} is acknowledged, and was not run");
                let by = write.overtaken_by;
                assert!(by.is_none(), "{token} was run behind {by:?}, which its client sent later");
            }
            Fate::NotDone => assert!(write.runs == 0, "{token} was run, and its client is told that it was not"),
            Fate::Open | Fate::Unknown => {}
        }
    }

    /// Whether a client was told that its write was not done.
    pub fn is_refused(&self, token: Token) -> bool {
        self.writes.get(&token).is_some_and(|write| write.fate == Fate::NotDone)
    }

    /// Whether somebody asked for this write of this key.
    pub fn knows(&self, token: Token, key: &[u8], database: u32) -> bool {
        self.writes.get(&token).is_some_and(|write| write.key == key && write.database == database)
    }

    /// A server was given a request with these keys: some state of a ring must say that it should.
    pub fn check_route(&self, server: usize, keys: &[&[u8]]) {
        if self.cluster.is_some() {
            // The node has decided about that itself.
            return;
        }
        let hashes: Vec<u32> = keys.iter().map(|key| Ring::hash(key)).collect();
        if hashes.is_empty() || self.rings.iter().any(|ring| is_home(ring, server, &hashes)) {
            return;
        }
        assert!(self.has_failover && self.is_disturbed, "server {server} is given {}, not its own", show(keys[0]));
        if let [(ring, _)] = &self.rings[..] {
            for (key, hash) in keys.iter().zip(&hashes) {
                let home = ring.primary(*hash).index();
                let is_trusted = home != server && self.trusted.contains(&home);
                assert!(!is_trusted, "server {server} is given {} of server {home}, which was not silent", show(key));
            }
        }
        let is_possible = self.rings.iter().any(|ring| stands_in(ring, server, &hashes));
        assert!(
            is_possible,
            "server {server} never stands in for all of the keys {:?}",
            keys.iter().map(|key| show(key))
        );
    }
}

/// Whether a server has all of these when all are up.
fn is_home((ring, servers): &(Ring, Vec<usize>), server: usize, hashes: &[u32]) -> bool {
    hashes.iter().all(|&hash| servers[ring.primary(hash).index()] == server)
}

/// Whether it has all of them in any state of the ring.
fn stands_in((ring, servers): &(Ring, Vec<usize>), server: usize, hashes: &[u32]) -> bool {
    (0..1_u32 << servers.len()).any(|states| {
        let mut up = UpSet::new(servers.len());
        for other in 0..servers.len() {
            up.set(ServerIndex(other as u16), states >> other & 1 == 1);
        }
        let goes_here = |&hash: &u32| ring.server(hash, &up).is_some_and(|to| servers[to.index()] == server);
        hashes.iter().all(goes_here)
    })
}
