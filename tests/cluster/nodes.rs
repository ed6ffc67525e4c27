//! The nodes of a cluster: three masters with a third of the slots each, and a replica for each of them.
//!
//! ```text
//!   node      0            1              2              3        4        5
//!   slots     0 to 5460    5461 to 10922  10923 to 16383 of 0     of 1     of 2
//! ```
//!
//! It is made by the commands that redis-cli would send, and is ready when each node says that all is well.
//! Configuration epochs are given, so that no two masters have to settle who is right.

use super::front::start_rmux;
use crate::support::client::{Client, body};
use crate::support::house::Files;
use crate::support::proxy::Rmux;
use crate::support::server::RedisServer;
use crate::support::{free_port, wait_until};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// A failover and all that belongs to it takes some seconds; on a loaded machine more.
pub const LONG: Duration = Duration::from_secs(60);

/// Who does not answer for so long is down, in milliseconds.
const NODE_TIMEOUT_MS: &str = "2000";

/// How many masters there are at the start, and how many replicas.
pub const MASTERS: usize = 3;

/// A cluster at work.
pub struct Cluster {
    nodes: Vec<Node>,
    settings: Vec<String>,
    /// What its nodes show each other, if they speak TLS and nothing else.
    files: Option<Files>,
}

/// One node.
struct Node {
    server: RedisServer,
    bus_port: u16,
    /// Where it speaks TLS, if it does.
    tls_port: Option<u16>,
    id: String,
}

impl Cluster {
    /// One with masters and replicas.
    pub fn start() -> Cluster {
        Cluster::start_with(&[])
    }

    /// The same, with more settings for each node, as on its command line.
    pub fn start_with(settings: &[&str]) -> Cluster {
        Cluster::apart(2 * MASTERS, settings, None).join()
    }

    /// The same, with TLS between the nodes and to their clients, and no port without it.
    #[cfg(feature = "tls")]
    pub fn start_tls(files: Files) -> Cluster {
        Cluster::apart(2 * MASTERS, &[], Some(files)).join()
    }

    /// Each master gets its slots, and its replica.
    fn join(self) -> Cluster {
        let mut cluster = self;
        let thirds = [0..=5460, 5461..=10922, 10923..=16383];
        for (number, slots) in thirds.into_iter().enumerate() {
            cluster.give(number, slots);
        }
        cluster.meet();
        for number in 0..MASTERS {
            cluster.follow(MASTERS + number, number);
        }
        cluster.await_well();
        cluster
    }

    /// One master alone, with all slots.
    pub fn of_one(settings: &[&str]) -> Cluster {
        let mut cluster = Cluster::apart(1, settings, None);
        cluster.give(0, 0..=16383);
        cluster.await_well();
        cluster
    }

    /// Nodes that do not know each other.
    fn apart(count: usize, settings: &[&str], files: Option<Files>) -> Cluster {
        let settings = settings.iter().map(|text| (*text).to_owned()).collect();
        let mut cluster = Cluster { nodes: Vec::new(), settings, files };
        (0..count).for_each(|_| cluster.start_node());
        cluster
    }

    fn start_node(&mut self) {
        let bus_port = free_port();
        let bus = bus_port.to_string();
        let mut settings = vec![
            "--cluster-enabled",
            "yes",
            "--cluster-port",
            &bus,
            "--cluster-node-timeout",
            NODE_TIMEOUT_MS,
            "--cluster-replica-validity-factor",
            "0",
            "--cluster-allow-replica-migration",
            "no",
            "--repl-diskless-sync-delay",
            "0",
            "--repl-ping-replica-period",
            "1",
        ];
        settings.extend(self.settings.iter().map(String::as_str));
        let tls_port = self.files.as_ref().map(|_| free_port());
        let with_tls = self.files.iter().zip(tls_port).flat_map(|(files, port)| files.arguments(port));
        let with_tls: Vec<String> = with_tls.collect();
        if self.files.is_some() {
            settings.extend(["--port", "0", "--tls-cluster", "yes"]);
            settings.extend(with_tls.iter().map(String::as_str));
        }
        let server = RedisServer::start_with(&settings);
        let id = text(&server.ask("CLUSTER MYID"));
        let epoch = self.nodes.len() + 1;
        self.nodes.push(Node { server, bus_port, tls_port, id });
        self.order(self.nodes.len() - 1, &format!("CLUSTER SET-CONFIG-EPOCH {epoch}"));
    }

    /// How many nodes there are, whether they run or not.
    pub fn count(&self) -> usize {
        self.nodes.len()
    }

    /// The server of this node: to be frozen, asked, read.
    pub fn server(&self, node: usize) -> &RedisServer {
        &self.nodes[node].server
    }

    /// Its node id.
    pub fn id(&self, node: usize) -> &str {
        &self.nodes[node].id
    }

    /// Where it is, as the others tell of it.
    pub fn address(&self, node: usize) -> String {
        format!("127.0.0.1:{}", self.port(node))
    }

    /// The port at which clients and other nodes find it.
    fn port(&self, node: usize) -> u16 {
        self.nodes[node].tls_port.unwrap_or(self.server(node).port())
    }

    /// A connection to it, past rmux.
    pub fn client(&self, node: usize) -> Client {
        self.server(node).client()
    }

    /// rmux in front of it, which is told of these nodes, with more keys of its pool.
    pub fn rmux(&self, seeds: &[usize], keys: &str) -> Rmux {
        start_rmux(&self.addresses(seeds), keys)
    }

    /// Where these nodes are.
    pub fn addresses(&self, nodes: &[usize]) -> Vec<String> {
        nodes.iter().map(|&node| self.address(node)).collect()
    }

    /// Asks a node, which does as it is told.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub fn order(&self, node: usize, line: &str) {
        let reply = shown(&self.server(node).ask(line));
        assert_eq!(reply, "+OK\r\n", "node {node}: {line}");
    }

    // Who is who.

    /// The place of the node that has this slot, by the word of another.
    pub fn owner_by(&self, asked: usize, slot: u16) -> Option<usize> {
        let nodes = text(&self.server(asked).ask("CLUSTER NODES"));
        let has = |line: &&str| {
            let mut words = line.split(' ').skip(8);
            words.any(|word| {
                let (first, last) = word.split_once('-').unwrap_or((word, word));
                matches!((first.parse(), last.parse()), (Ok(first), Ok(last)) if (first..=last).contains(&slot))
            })
        };
        let line = nodes.lines().find(has)?;
        self.nodes.iter().position(|node| line.starts_with(&node.id))
    }

    /// The slot of a key, by the word of a node.
    pub fn slot_of(&self, key: &str) -> u16 {
        let reply = shown(&self.server(0).ask(&format!("CLUSTER KEYSLOT {key}")));
        reply.trim_end().trim_start_matches(':').parse().expect("a slot")
    }

    /// The nodes that run.
    pub fn running(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.count()).filter(|&node| self.nodes[node].server.is_running())
    }

    /// Whether a node takes itself for a master.
    pub fn is_master(&self, node: usize) -> bool {
        shown(&self.server(node).ask("ROLE")).contains("master")
    }

    /// Waits until each node that runs knows all of them, none in a handshake, and all agree on who is whose replica and
    /// who has which slots, with a cluster that is well, and replicas that are up to date.
    pub fn await_well(&self) {
        wait_until("a cluster that is well", LONG, || self.is_well());
    }

    fn is_well(&self) -> bool {
        let count = self.running().count();
        let mut views = BTreeSet::new();
        self.running().all(|node| {
            let server = self.server(node);
            let (info, nodes) = (text(&server.ask("CLUSTER INFO")), text(&server.ask("CLUSTER NODES")));
            let is_known = |line: &str| !["handshake", "noaddr", "disconnected"].iter().any(|word| line.contains(word));
            // A replica that may not take a master's place is `nofailover`.
            let is_there = |line: &&str| !line.split([' ', ',']).any(|word| word == "fail" || word == "fail?");
            let role = shown(&server.ask("ROLE"));
            views.insert(view_of(&nodes));
            info.contains("cluster_state:ok")
                && nodes.lines().filter(is_there).count() == count
                && nodes.lines().filter(is_there).all(is_known)
                && (role.contains("master") || role.contains("connected"))
        }) && views.len() == 1
    }

    // What is changed.

    /// A node that has no slots gets these.
    fn give(&mut self, node: usize, slots: RangeInclusive<u16>) {
        self.order(node, &format!("CLUSTER ADDSLOTSRANGE {} {}", slots.start(), slots.end()));
    }

    /// All nodes that run get to know each other.
    fn meet(&self) {
        for node in self.running() {
            for other in self.running().filter(|&other| other != node) {
                let (port, bus_port) = (self.port(other), self.nodes[other].bus_port);
                self.order(node, &format!("CLUSTER MEET 127.0.0.1 {port} {bus_port}"));
            }
        }
    }

    /// A node is a replica of that one from now on.
    pub fn follow(&self, node: usize, master: usize) {
        let line = format!("CLUSTER REPLICATE {}", self.id(master));
        wait_until("a node to know its master", LONG, || self.server(node).ask(&line) == b"+OK\r\n");
    }

    /// One more node, a master without slots. Returns its place.
    pub fn add(&mut self) -> usize {
        self.start_node();
        self.meet();
        self.await_well();
        self.count() - 1
    }

    /// A node without slots is gone for good: the others forget it, and it ends.
    pub fn remove(&mut self, node: usize) {
        let forget = format!("CLUSTER FORGET {}", self.id(node));
        self.kill(node);
        for other in self.running() {
            self.order(other, &forget);
        }
    }

    /// Ends a node as a crash does.
    pub fn kill(&mut self, node: usize) {
        self.nodes[node].server.kill();
    }

    /// Starts it again, where it was.
    pub fn revive(&mut self, node: usize) {
        self.nodes[node].server.revive();
    }

    /// Ends a node, and starts it again at another port. The others find it by its port of the bus, which stays.
    pub fn relocate(&mut self, node: usize) {
        self.kill(node);
        self.nodes[node].server.take_another_port();
        self.revive(node);
    }

    /// Has a replica take the place of its master, both of which run, and waits until all know. A replica whose order its
    /// master does not get gives up after five seconds, and is told again.
    pub fn fail_over(&self, replica: usize) {
        let mut told: Option<Instant> = None;
        wait_until("a replica to take its master's place", LONG, || {
            if told.is_none_or(|told| told.elapsed() > Duration::from_secs(6)) && !self.is_master(replica) {
                self.order(replica, "CLUSTER FAILOVER");
                told = Some(Instant::now());
            }
            self.is_master(replica)
        });
        self.await_master(replica);
    }

    /// Waits until each node that runs takes this one for a master with slots.
    pub fn await_master(&self, node: usize) {
        let is_known = |by: usize| {
            let nodes = text(&self.server(by).ask("CLUSTER NODES"));
            let line = nodes.lines().find(|line| line.starts_with(self.id(node))).unwrap_or_default();
            line.split(' ').nth(2).is_some_and(|flags| flags.split(',').any(|flag| flag == "master"))
                && line.split(' ').nth(8).is_some()
        };
        wait_until("all to know of another master", LONG, || self.running().all(is_known));
    }

    /// A slot is to go from one master to another: its keys may be at either one from now on.
    pub fn begin_move(&self, slot: u16, from: usize, to: usize) {
        self.order(to, &format!("CLUSTER SETSLOT {slot} IMPORTING {}", self.id(from)));
        self.order(from, &format!("CLUSTER SETSLOT {slot} MIGRATING {}", self.id(to)));
    }

    /// Moves up to so many keys of the slot. Returns how many there were to move.
    pub fn move_keys(&self, slot: u16, from: usize, to: usize, count: usize) -> usize {
        let mut client = self.client(from);
        let reply = shown(&client.cmd(&["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), &count.to_string()]));
        let keys: Vec<&str> = reply.split("\r\n").skip(2).step_by(2).filter(|key| !key.is_empty()).collect();
        if keys.is_empty() {
            return 0;
        }
        let port = self.port(to).to_string();
        let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "10000", "KEYS"];
        words.extend(&keys);
        assert_eq!(shown(&client.cmd(&words)), "+OK\r\n");
        keys.len()
    }

    /// The slot belongs to its new owner from now on, by the word of all masters.
    pub fn end_move(&self, slot: u16, from: usize, to: usize) {
        let line = format!("CLUSTER SETSLOT {slot} NODE {}", self.id(to));
        // In this order: at no time does nobody have it.
        let others = self.running().filter(|&node| node != to && node != from && self.is_master(node));
        for node in [to, from].into_iter().chain(others) {
            self.order(node, &line);
        }
    }

    /// Waits until each node that runs takes this one for the owner of a slot, and has heard of the last epoch. One that
    /// has not may take the next slot with an epoch that is not the highest, and then gives it back to the owner before,
    /// which knows nothing of that.
    pub fn await_owner(&self, slot: u16, owner: usize) {
        wait_until("all to know who has a slot", LONG, || {
            let epochs: BTreeSet<String> = self.running().map(|node| self.epoch_by(node)).collect();
            epochs.len() == 1 && self.running().all(|node| self.owner_by(node, slot) == Some(owner))
        });
    }

    /// The last epoch that a node has heard of.
    fn epoch_by(&self, node: usize) -> String {
        let info = text(&self.server(node).ask("CLUSTER INFO"));
        let epoch = info.lines().find_map(|line| line.strip_prefix("cluster_current_epoch:"));
        epoch.expect("a node tells its epoch").trim().to_owned()
    }

    /// Moves a slot with all its keys.
    pub fn move_slot(&self, slot: u16, from: usize, to: usize) {
        self.begin_move(slot, from, to);
        while self.move_keys(slot, from, to, 100) > 0 {}
        self.end_move(slot, from, to);
    }
}

/// Each node that is there in an answer to CLUSTER NODES: its id, its master, `-` if it is one itself, and its slots.
fn view_of(nodes: &str) -> BTreeSet<(String, String, String)> {
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let is_there = |words: &Vec<String>| !words[2].split(',').any(|flag| flag == "fail");
    // A slot that moves is told of by its own two nodes alone, in brackets.
    let slots =
        |words: &[String]| words.iter().filter(|word| !word.starts_with('[')).cloned().collect::<Vec<_>>().join(" ");
    let there = nodes.lines().map(words).filter(is_there);
    there.map(|words| (words[0].clone(), words[3].clone(), slots(&words[8..]))).collect()
}

/// A reply as it came.
pub fn shown(reply: &[u8]) -> String {
    String::from_utf8_lossy(reply).into_owned()
}

/// The text of a bulk string.
pub fn text(reply: &[u8]) -> String {
    shown(body(reply)).trim_end().to_owned()
}

/// What a node itself holds under a key.
pub fn held(cluster: &Cluster, node: usize, key: &str) -> String {
    shown(&cluster.client(node).cmd(&["GET", key]))
}
