//! Everything at once: clients that come, go, and break off; connections that are cut; servers that freeze.
//!
//! The oracle is in the values: each names the client, the database and the key that it was written for. A GET must
//! give a value that this client has written to this key and that may still be there, or an error; never anybody
//! else's, and never one that was overwritten with success.
//!
//! ```text
//!   SET k v1 ─► +OK      k may be: v1
//!   SET k v2 ─► -ERR     k may be: v1, v2      (it may have been done, and even late)
//!   SET k v3 ─► +OK      k may be: v2, v3
//! ```
//!
//! The moments of the disturbances depend on the machine; what the clients do depends on the seed, which is printed
//! when something fails, and can be given as `RMUX_SEED`.

use crate::support::client::{NoReply, bulk, encode, show};
use crate::support::proxy::Rmux;
use crate::support::server::RedisServer;
use crate::support::{KINDS, Kind};
use std::collections::HashMap;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{env, thread};

/// What is larger than this, rmux passes on as it arrives.
const LARGE: usize = 60_000;

/// A xorshift generator: good enough to be different every time, and the same with the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

/// What a key of this client may hold: the last value that was acknowledged, and all that were not.
#[derive(Default)]
struct Known {
    acknowledged: Option<Vec<u8>>,
    uncertain: Vec<Vec<u8>>,
}

impl Known {
    fn values(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.acknowledged.iter().chain(&self.uncertain)
    }
}

/// One request of a pipeline, and what its reply is held against.
enum Asked {
    Set { key: String, value: Vec<u8> },
    Get { key: String },
    Own { wanted: Vec<u8> },
}

#[test]
fn nobody_ever_sees_what_is_not_his() {
    let seed = env::var("RMUX_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    for kind in KINDS {
        disturb(kind, seed);
    }
}

fn disturb(kind: Kind, seed: u64) {
    let servers = [RedisServer::start(), RedisServer::start()];
    // Without failover, so that a key has one home, and its history is one.
    let rmux =
        Rmux::in_front_of(kind, &[&servers[0], &servers[1]], &["-failover=false", "-remoteTimeout=150", "-debug"]);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..12)
            .map(|number| {
                let rmux = &rmux;
                scope.spawn(move || live(rmux, number, seed))
            })
            .collect();
        scope.spawn(|| {
            let mut random = Random(seed | 1);
            while !is_over.load(Ordering::SeqCst) {
                let server = &servers[random.below(2)];
                match random.below(8) {
                    0 => {
                        server.freeze();
                        thread::park_timeout(Duration::from_millis(random.below(300) as u64));
                        server.thaw();
                    }
                    _ => server.cut_connections(),
                }
                thread::park_timeout(Duration::from_millis(random.below(30) as u64));
            }
        });
        let results: Vec<_> = clients.into_iter().map(thread::ScopedJoinHandle::join).collect();
        is_over.store(true, Ordering::SeqCst);
        assert!(results.iter().all(Result::is_ok), "{kind:?}: replay with RMUX_SEED={seed}");
        let replies: usize = results.into_iter().flatten().sum();
        assert!(replies > 200, "{kind:?}: only {replies} values came back, that is no test");
    });
}

/// One client's life: connections one after the other, some of which it breaks off. Returns how many values it got.
fn live(rmux: &Rmux, number: usize, seed: u64) -> usize {
    let mut random = Random((seed ^ (number as u64 + 1) << 32) | 1);
    let mut known: HashMap<(usize, String), Known> = HashMap::new();
    let mut version = 0;
    let mut values = 0;
    'connections: for _ in 0..12 {
        let mut client = rmux.client();
        let database = random.below(3);
        if random.below(3) == 0 {
            client.line("HELLO 3");
        }
        assert_eq!(client.line(&format!("SELECT {database}")), "+OK\r\n");
        for _ in 0..10 {
            let (requests, asked) = pipeline(&mut random, number, database, &mut version);
            if random.below(12) == 0 {
                // Breaks off in the middle; each of its writes may have been done.
                // It may be closed meanwhile, over a value that is lost.
                let _ = client.try_send(&requests[..random.below(requests.len())]);
                forget(&mut known, database, asked);
                break;
            }
            // Written while it reads, as a client must that wants more than rmux keeps for those who do not read.
            let mut writer = client.writer();
            let sender = thread::spawn(move || writer.write_all(&requests));
            if random.below(20) == 0 {
                forget(&mut known, database, asked);
                client.break_off();
                let _ = sender.join();
                break;
            }
            let mut asked = asked.into_iter();
            while let Some(next) = asked.next() {
                match client.try_reply() {
                    Ok(reply) => values += usize::from(check(&mut known, database, next, &reply)),
                    Err(NoReply::Closed(part)) => {
                        let open: Vec<Asked> = std::iter::once(next).chain(asked).collect();
                        check_broken_off(&known, database, &open, &part);
                        forget(&mut known, database, open);
                        continue 'connections;
                    }
                    Err(why) => panic!("{why}"),
                }
            }
            sender.join().expect("the sender does not panic").expect("everything is taken");
        }
    }
    values
}

/// Some requests in one piece, and what was asked in each.
fn pipeline(random: &mut Random, number: usize, database: usize, version: &mut usize) -> (Vec<u8>, Vec<Asked>) {
    let mut requests = Vec::new();
    let mut asked = Vec::new();
    for _ in 0..=random.below(20) {
        let key = format!("{number}:{}", random.below(8));
        match random.below(5) {
            0 | 1 => {
                *version += 1;
                let mut value =
                    format!("client {number} database {database} key {key} version {version} ").into_bytes();
                let times = [1, 1, 1, 1, 1, 50, 3_000, 9_000][random.below(8)];
                value = value.repeat(times);
                requests.extend(encode(&[b"SET".as_slice(), key.as_bytes(), &value]));
                asked.push(Asked::Set { key, value });
            }
            2 | 3 => {
                requests.extend(encode(&["GET", &key]));
                asked.push(Asked::Get { key });
            }
            _ => {
                *version += 1;
                let word = format!("client {number} says {version}");
                requests.extend(encode(&["ECHO", &word]));
                asked.push(Asked::Own { wanted: bulk(word.as_bytes()) });
            }
        }
    }
    (requests, asked)
}

/// What was asked on a connection that was broken off: every write may have been done.
fn forget(known: &mut HashMap<(usize, String), Known>, database: usize, asked: Vec<Asked>) {
    for asked in asked {
        if let Asked::Set { key, value } = asked {
            known.entry((database, key)).or_default().uncertain.push(value);
        }
    }
}

/// A connection may be closed only over a large value that is on its way, and the rest of which was lost with its
/// server; replies before it may be lost as well.
fn check_broken_off(known: &HashMap<(usize, String), Known>, database: usize, open: &[Asked], part: &[u8]) {
    let shown = show(&part[..part.len().min(99)]);
    let may_be = |asked: &Asked, test: &dyn Fn(&[u8]) -> bool| match asked {
        Asked::Get { key } => {
            known.get(&(database, key.clone())).is_some_and(|known| known.values().any(|value| test(value)))
        }
        _ => false,
    };
    let written = |asked: &Asked| matches!(asked, Asked::Set { value, .. } if value.len() > LARGE);
    let is_over_large = open.iter().any(|asked| may_be(asked, &|value| value.len() > LARGE) || written(asked));
    assert!(is_over_large, "database {database}: closed after {shown:?}, and no large value was on its way");
    let is_own = part.is_empty() || may_be(&open[0], &|value| bulk(value).starts_with(part));
    assert!(is_own, "database {database}: {shown:?} is the start of nobody's reply");
}

/// Holds a reply against what is possible; true when it was a value.
fn check(known: &mut HashMap<(usize, String), Known>, database: usize, asked: Asked, reply: &[u8]) -> bool {
    let is_error = reply.starts_with(b"-ERR ");
    match asked {
        Asked::Own { wanted } => assert_eq!(show(reply), show(&wanted)),
        Asked::Set { key, value } => {
            let known = known.entry((database, key)).or_default();
            if is_error {
                known.uncertain.push(value);
            } else {
                assert_eq!(show(reply), "+OK\r\n");
                known.acknowledged = Some(value);
            }
        }
        Asked::Get { key } if !is_error => {
            let shown = show(&reply[..reply.len().min(99)]);
            let known = known.entry((database, key.clone())).or_default();
            if reply == b"$-1\r\n" || reply == b"_\r\n" {
                assert!(known.acknowledged.is_none(), "database {database}, {key}: an acknowledged write is lost");
                return false;
            }
            let is_possible = known.values().any(|value| bulk(value) == reply);
            assert!(is_possible, "database {database}, {key}: {shown} was never written there, or is overwritten");
            return true;
        }
        Asked::Get { .. } => {}
    }
    false
}
