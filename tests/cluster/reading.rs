//! Reads from replicas: who answers them, and that neither a death, nor a failover, nor slots that move are noticed by
//! those who read.
//!
//! ```text
//!   each key holds its own name and a number: what is read may be old, and is never another key's, or an error
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::nodes::{Cluster, MASTERS, shown, text};
use crate::support::client::{Client, bulk, text as text_of};
use crate::support::wait_until;

/// Nothing tells of a replica that comes but the map, which is asked for every 30 to 90 s.
const REFRESHED: Duration = Duration::from_secs(120);
/// With reads from replicas, and with patience for a failover.
const KEYS: &str = r#", "readFrom": "preferReplica", "remoteTimeout": 20000"#;
/// So many keys are read, in as many slots.
const COUNT: usize = 30;
const CLIENTS: usize = 4;

fn key(number: usize) -> String {
    format!("{{tag:{number}}}:key")
}

/// Another key of the same slot, which is written all the time.
fn other_key(number: usize) -> String {
    format!("{{tag:{number}}}:other")
}

/// The node that has the slot of this key at the start.
fn home(cluster: &Cluster, key: &str) -> usize {
    match cluster.slot_of(key) {
        0..=5460 => 0,
        5461..=10922 => 1,
        _ => 2,
    }
}

/// Writes each key, past rmux, which so does not know that they are new.
fn fill(cluster: &Cluster) {
    for number in 0..COUNT {
        let key = key(number);
        let mut client = cluster.client(home(cluster, &key));
        assert_eq!(client.cmd(&["SET", &key, &format!("{key} 0")]), b"+OK\r\n");
    }
    for number in 0..COUNT {
        let key = key(number);
        let replica = MASTERS + home(cluster, &key);
        let expected = bulk(format!("{key} 0").as_bytes());
        wait_until("its replica to have it", REFRESHED, || {
            let mut client = cluster.client(replica);
            client.cmd(&["READONLY"]);
            client.cmd(&["GET", &key]) == expected
        });
    }
}

/// How often this node was asked for a key so far.
fn gets(cluster: &Cluster, node: usize) -> u64 {
    let stats = text(&cluster.server(node).ask("INFO commandstats"));
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_get:calls="));
    line.map_or(0, |line| line.split(',').next().expect("a number").parse().expect("a number"))
}

/// Waits until reads of all slots go to replicas alone.
fn await_replicas(cluster: &Cluster, client: &mut Client) {
    wait_until("all reads to be those of replicas", REFRESHED, || {
        let masters: Vec<usize> = cluster.running().filter(|&node| cluster.is_master(node)).collect();
        let count = || masters.iter().map(|&node| gets(cluster, node)).sum::<u64>();
        let before = count();
        (0..COUNT).for_each(|number| drop(client.cmd(&["GET", &key(number)])));
        count() == before
    });
}

/// Clients that read, until they are told to end.
struct Readers {
    is_over: Arc<AtomicBool>,
    /// How often a key was not there.
    missing: Arc<AtomicU64>,
    /// How often each was answered.
    answered: Vec<Arc<AtomicU64>>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    fn start(connect: impl Fn() -> Client) -> Readers {
        let (is_over, missing) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut readers = Readers { is_over, missing, answered: Vec::new(), threads: Vec::new() };
        for _ in 0..CLIENTS {
            let (is_over, missing) = (Arc::clone(&readers.is_over), Arc::clone(&readers.missing));
            let (client, answered) = (connect(), Arc::new(AtomicU64::new(0)));
            readers.answered.push(Arc::clone(&answered));
            readers.threads.push(thread::spawn(move || read(client, &is_over, &missing, &answered)));
        }
        readers
    }

    fn missing(&self) -> u64 {
        self.missing.load(Ordering::Relaxed)
    }

    /// Waits until all that was asked before is answered.
    fn await_answers(&self) {
        let count = |answered: &Arc<AtomicU64>| answered.load(Ordering::Relaxed);
        let before: Vec<u64> = self.answered.iter().map(count).collect();
        wait_until("each to be answered", REFRESHED, || {
            self.threads.iter().any(JoinHandle::is_finished)
                || self.answered.iter().zip(&before).all(|(answered, before)| count(answered) > before + 1)
        });
    }

    /// How often they were answered.
    fn end(self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().expect("a reader was told something wrong"));
        self.answered.iter().map(|answered| answered.load(Ordering::Relaxed)).sum()
    }
}

fn read(mut client: Client, is_over: &AtomicBool, missing: &AtomicU64, answered: &AtomicU64) {
    let all: Vec<String> = ["MGET".to_owned()].into_iter().chain((0..COUNT).map(key)).collect();
    while !is_over.load(Ordering::Relaxed) {
        for number in 0..COUNT {
            let reply = client.cmd(&["GET", &key(number)]);
            check(number, &shown(&reply), missing);
            answered.fetch_add(1, Ordering::Relaxed);
        }
        let reply = shown(&client.cmd(&all));
        let values = reply.strip_prefix(&format!("*{COUNT}\r\n")).unwrap_or_else(|| panic!("{reply}"));
        let values: Vec<&str> = values.split_inclusive('$').skip(1).collect();
        assert_eq!(values.len(), COUNT, "{reply}");
        values.iter().enumerate().for_each(|(number, value)| {
            check(number, &["$", value.trim_end_matches('$')].concat(), missing);
        });
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

/// What was read of a key: it is that key's, however old, or not there.
fn check(number: usize, value: &str, missing: &AtomicU64) {
    match value {
        "$-1\r\n" => drop(missing.fetch_add(1, Ordering::Relaxed)),
        _ => assert!(value.contains(&format!("\r\n{} ", key(number))), "{}: {value}", key(number)),
    }
}

#[test]
fn reads_are_answered_by_replicas_and_what_was_written_is_seen() {
    let cluster = Cluster::start();
    let rmux = cluster.rmux(&[0], KEYS);
    fill(&cluster);
    let mut client = rmux.client();
    await_replicas(&cluster, &mut client);
    let before: Vec<u64> = (0..6).map(|node| gets(&cluster, node)).collect();
    for _ in 0..10 {
        for number in 0..COUNT {
            assert_eq!(text_of(&client.cmd(&["GET", &key(number)])), format!("{} 0", key(number)));
        }
    }
    let asked: Vec<u64> = (0..6).map(|node| gets(&cluster, node) - before[node]).collect();
    assert_eq!((&asked[..3], asked[3..].iter().sum()), (&[0, 0, 0][..], 10 * COUNT as u64), "{asked:?}");
    assert!(asked[3..].iter().all(|&count| count > 0), "each has keys: {asked:?}");
    for version in 1..50 {
        for number in 0..COUNT {
            let value = format!("{} {version}", key(number));
            assert_eq!(client.cmd(&["SET", &key(number), &value]), b"+OK\r\n");
            assert_eq!(text_of(&client.cmd(&["GET", &key(number)])), value, "who writes sees it");
        }
    }
    let servers = shown(&client.cmd(&["RMUX", "SERVERS"]));
    for node in 0..6 {
        assert!(servers.contains(&cluster.address(node)), "{servers}");
    }
}

#[test]
fn a_replica_that_dies_or_comes_costs_no_error() {
    let mut cluster = Cluster::start();
    let rmux = cluster.rmux(&[0], KEYS);
    fill(&cluster);
    let mut client = rmux.client();
    await_replicas(&cluster, &mut client);
    let readers = Readers::start(|| rmux.client());
    for replica in [3, 4] {
        cluster.kill(replica);
        let before = gets(&cluster, replica - MASTERS);
        wait_until("its master to be read", REFRESHED, || gets(&cluster, replica - MASTERS) > before + 100);
        cluster.revive(replica);
        wait_until("it to be read again", REFRESHED, || gets(&cluster, replica) > 100);
    }
    cluster.server(5).freeze();
    let before = gets(&cluster, 2);
    // By the time of the cluster it is dead, and no replica in any map.
    wait_until("its master to be read", REFRESHED, || gets(&cluster, 2) > before + 100);
    cluster.server(5).thaw();
    assert_eq!(readers.missing(), 0);
    assert!(readers.end() > 100, "{}", rmux.log());
}

#[test]
fn who_reads_does_not_notice_that_nodes_change_places() {
    let cluster = Cluster::start();
    let rmux = cluster.rmux(&[0, 1, 2], KEYS);
    fill(&cluster);
    let mut client = rmux.client();
    await_replicas(&cluster, &mut client);
    let readers = Readers::start(|| rmux.client());
    for replica in [3, 0] {
        cluster.fail_over(replica);
        cluster.await_well();
        // The one that was the master before.
        let (before, other) = (gets(&cluster, 3 - replica), 3 - replica);
        wait_until("the other one to be read", REFRESHED, || gets(&cluster, other) > before + 100);
    }
    assert_eq!(readers.missing(), 0);
    assert!(readers.end() > 100, "{}", rmux.log());
}

#[test]
fn who_reads_does_not_notice_that_a_master_dies() {
    // Nodes that serve what they have, while others are elected.
    let mut cluster = Cluster::start_with(&["--cluster-require-full-coverage", "no"]);
    let rmux = cluster.rmux(&[0, 1, 2], KEYS);
    fill(&cluster);
    let mut client = rmux.client();
    await_replicas(&cluster, &mut client);
    let readers = Readers::start(|| rmux.client());
    cluster.kill(1);
    cluster.await_master(4);
    let before = gets(&cluster, 4);
    wait_until("it to be read", REFRESHED, || gets(&cluster, 4) > before + 100);
    cluster.revive(1);
    cluster.await_well();
    let before = gets(&cluster, 1);
    wait_until("the one that was killed to be read", REFRESHED, || gets(&cluster, 1) > before + 100);
    assert_eq!(readers.missing(), 0);
    assert!(readers.end() > 100, "{}", rmux.log());
}

#[test]
fn slots_that_move_under_reads_give_no_wrong_value() {
    let cluster = Cluster::start();
    let rmux = cluster.rmux(&[0], KEYS);
    fill(&cluster);
    let mut client = rmux.client();
    await_replicas(&cluster, &mut client);
    let readers = Readers::start(|| rmux.client());
    let mut writer = rmux.client();
    let mut version = 0;
    let mut write = |number: usize| {
        version += 1;
        for key in [key(number), other_key(number)] {
            assert_eq!(writer.cmd(&["SET", &key, &format!("{key} {version}")]), b"+OK\r\n");
        }
    };
    for _ in 0..2 {
        for number in 0..COUNT {
            let slot = cluster.slot_of(&key(number));
            let from = cluster.owner_by(0, slot).expect("it has an owner");
            let to = (from + 1) % MASTERS;
            cluster.begin_move(slot, from, to);
            // The node says so to who writes a key that it does not have.
            cluster.client(from).cmd(&["DEL", &other_key(number)]);
            write(number);
            readers.await_answers();
            while cluster.move_keys(slot, from, to, 1) > 0 {
                write(number);
            }
            cluster.end_move(slot, from, to);
            write(number);
            cluster.await_owner(slot, to);
            assert_eq!(readers.missing(), 0, "slot {slot}, from {from} to {to}: a key was not there");
        }
    }
    assert!(readers.end() > 100, "{}", rmux.log());
}
