//! Reads from the replicas of a cluster: who is told to answer them, and what becomes of those that it refuses.

use super::cluster::{address, key_in};
use super::replicas::{ROLE, role};
use super::*;
use crate::cluster::{Builder, Shard, SlotMap, slot_of};
use crate::read_from::ReadFrom;

const READONLY: &str = "*1\r\n$8\r\nREADONLY\r\n";
const DOWN: &str = "-CLUSTERDOWN The cluster is down\r\n";
/// So long a node that slots have come to, or gone from, answers its reads itself, in milliseconds.
const MOVING_MS: u64 = 10_000;

/// A map in which these nodes have these slots, and these replicas.
fn map_of(parts: &[(u16, u16, u16, &[u16])]) -> SlotMap {
    let mut builder = Builder::default();
    for &(node, first, last, replicas) in parts {
        let replicas = replicas.iter().map(|&replica| address(replica)).collect();
        let shard = Shard { id: format!("node-{node}"), master: address(node), replicas };
        let number = builder.shard(shard).expect("few nodes");
        builder.give(first, last, number);
    }
    builder.build()
}

/// Two nodes with half of the slots each; node 2 follows the first one, and node 3 the other.
struct Halves {
    bench: Bench,
    /// A connection to each node, the replicas last.
    nodes: Vec<Id>,
}

impl Halves {
    fn new(read_from: ReadFrom) -> Halves {
        let (mut bench, mut nodes) = Bench::ready(2, |settings| {
            settings.cluster = true;
            settings.servers = vec![address(0), address(1)];
            settings.read_from = read_from;
        });
        bench.proxy.handle_slot_map(&map_of(&[(0, 0, 8191, &[2]), (1, 8192, 16383, &[3])]), bench.now);
        bench.turn();
        for server in [2, 3] {
            nodes.push(connect_replica(&mut bench, server));
        }
        Halves { bench, nodes }
    }

    fn tell(&mut self, parts: &[(u16, u16, u16, &[u16])]) {
        self.bench.proxy.handle_slot_map(&map_of(parts), self.bench.now);
        self.bench.turn();
    }

    fn asked(&mut self, node: usize) -> String {
        self.bench.asked(self.nodes[node])
    }

    fn answer(&mut self, node: usize, reply: impl AsRef<[u8]>) {
        self.bench.answer(self.nodes[node], reply);
    }

    /// What this node is asked in the next milliseconds, and how many those are.
    fn asked_in_time(&mut self, node: usize, within_ms: u64) -> (String, u64) {
        for ms in 0..=within_ms {
            let asked = self.asked(node);
            if !asked.is_empty() {
                return (asked, ms);
            }
            self.bench.pass(1);
        }
        panic!("it is not asked");
    }

    /// A client reads this key, and this node is asked. It says this, which the client is told.
    fn read(&mut self, client: Id, key: &str, node: usize) {
        self.bench.say(client, get(key));
        assert_eq!(self.asked(node), get(key), "{key} is read at node {node}");
        self.answer(node, bulk("v"));
        assert_eq!(self.bench.told(client), bulk("v"));
    }

    /// Lets the time pass in which slots are taken to be on their way.
    fn settle(&mut self, replicas: &[usize]) {
        for _ in 0..MOVING_MS / 1_000 {
            self.bench.pass(1_000);
            for &replica in replicas {
                assert_eq!(self.asked(replica), ROLE);
                self.answer(replica, role("connected"));
            }
        }
    }
}

/// A connection to a replica, which is up to date.
fn connect_replica(bench: &mut Bench, server: u16) -> Id {
    let backend = bench.connect(server);
    assert_eq!(bench.asked(backend), ROLE);
    bench.answer(backend, role("connected"));
    backend
}

fn moved(key: &str, node: u16) -> String {
    format!("-MOVED {} {}\r\n", slot_of(key.as_bytes()), address(node))
}

#[test]
fn reads_of_each_slot_go_to_the_replica_of_its_owner_and_all_else_to_that() {
    let Halves { mut bench, nodes } = Halves::new(ReadFrom::PreferReplica);
    let client = bench.client();
    let [a, b] = [key_in(0, 0), key_in(1, 0)];
    bench.say(client, get(&a) + &get(&b));
    assert_eq!([0, 1, 2, 3].map(|node: usize| bench.asked(nodes[node])), ["", "", &get(&a), &get(&b)]);
    bench.answer(nodes[3], bulk("b"));
    bench.answer(nodes[2], bulk("a"));
    assert_eq!(bench.told(client), bulk("a") + &bulk("b"));
    bench.say(client, request(&["MGET", &a, &b]));
    assert_eq!(bench.asked(nodes[2]), request(&["MGET", &a]));
    assert_eq!(bench.asked(nodes[3]), request(&["MGET", &b]));
    bench.answer(nodes[2], "*1\r\n".to_owned() + &bulk("a"));
    bench.answer(nodes[3], "*1\r\n".to_owned() + &bulk("b"));
    assert_eq!(bench.told(client), "*2\r\n".to_owned() + &bulk("a") + &bulk("b"));
    bench.say(client, set(&a, "1") + &get(&a) + &get(&b));
    assert_eq!(bench.asked(nodes[0]), set(&a, "1") + &get(&a), "who writes sees it");
    assert_eq!(bench.asked(nodes[3]), get(&b));
    bench.answer(nodes[0], "+OK\r\n".to_owned() + &bulk("1"));
    bench.answer(nodes[3], bulk("b"));
    assert_eq!(bench.told(client), "+OK\r\n".to_owned() + &bulk("1") + &bulk("b"));
    bench.assert_nothing_is_left();
}

#[test]
fn replicas_are_told_readonly_with_the_handshake_and_masters_are_not() {
    let Halves { mut bench, nodes } = Halves::new(ReadFrom::Replica);
    bench.proxy.handle_backend_end(nodes[2], bench.now);
    bench.proxy.handle_backend_end(nodes[0], bench.now);
    bench.turn();
    for (server, is_told) in [(2, true), (0, false)] {
        let backend = bench.next_connect(server);
        bench.proxy.handle_connected(backend, bench.now);
        bench.turn();
        let asked = bench.asked(backend);
        assert_eq!(asked.contains(READONLY), is_told, "{asked}");
        assert!(asked.ends_with("PING\r\n"), "in one write: {asked}");
    }
    // One that refuses it is of no use.
    bench.proxy.handle_backend_end(nodes[3], bench.now);
    bench.turn();
    let backend = bench.next_connect(3);
    bench.proxy.handle_connected(backend, bench.now);
    bench.turn();
    bench.answer(backend, "*0\r\n-NOPERM this user has no permissions to run the 'readonly' command\r\n+PONG\r\n");
    assert!(bench.is_closed(Conn::Backend(backend)));
    assert!(bench.lines.iter().any(|line| line.contains("is down") && line.contains("readonly")), "{:?}", bench.lines);
}

#[test]
fn replicas_of_a_cluster_are_not_connected_to_where_reads_are_the_masters() {
    let (mut bench, _) = Bench::ready(1, |settings| {
        settings.cluster = true;
        settings.servers = vec![address(0)];
    });
    bench.proxy.handle_slot_map(&map_of(&[(0, 0, 16383, &[2])]), bench.now);
    bench.turn();
    assert!(bench.connects.is_empty());
}

#[test]
fn what_a_replica_says_it_has_not_goes_to_the_owner_in_order() {
    for read_from in [ReadFrom::PreferReplica, ReadFrom::Replica] {
        let mut halves = Halves::new(read_from);
        let client = halves.bench.client();
        let (key, other) = (key_in(0, 0), key_in(1, 0));
        halves.bench.say(client, get(&key) + &get(&other) + &get(&key));
        assert_eq!(halves.asked(2), get(&key).repeat(2));
        halves.answer(2, moved(&key, 1).repeat(2));
        halves.bench.say(client, get(&other));
        assert_eq!(halves.asked(3), get(&other), "what was asked before");
        halves.answer(3, bulk("o"));
        assert_eq!(halves.bench.told(client), "");
        assert_eq!(halves.asked(0), get(&key).repeat(2), "a replica is not believed in who has the slot");
        assert_eq!(halves.bench.refreshes, [RefreshCause::Moved]);
        halves.answer(0, moved(&key, 1).repeat(2));
        halves.bench.turn();
        assert_eq!(halves.asked(1), get(&key).repeat(2), "its owner is");
        halves.answer(1, bulk("1") + &bulk("2"));
        halves.bench.turn();
        assert_eq!(halves.bench.told(client), bulk("1") + &bulk("o") + &bulk("2"));
        assert_eq!(halves.asked(1), get(&other), "slots come to that node");
        halves.answer(1, bulk("o"));
        assert_eq!(halves.bench.told(client), bulk("o"));
        assert_eq!([2, 3].map(|node| halves.asked(node)), ["", ""]);
        halves.bench.assert_nothing_is_left();
    }
}

#[test]
fn a_request_for_several_keys_of_a_slot_is_redirected_as_a_whole() {
    let mut halves = Halves::new(ReadFrom::PreferReplica);
    let client = halves.bench.client();
    let key = key_in(0, 0);
    let several = request(&["MGET", &key, &format!("{{{key}}}x")]);
    halves.bench.say(client, &several);
    assert_eq!(halves.asked(2), several);
    halves.answer(2, moved(&key, 0));
    assert_eq!(halves.asked(0), several);
    let reply = "*2\r\n".to_owned() + &bulk("a") + &bulk("b");
    halves.answer(0, &reply);
    assert_eq!(halves.bench.told(client), reply);
    // Of several slots, each by itself.
    halves.settle(&[2, 3]);
    let other = key_in(1, 0);
    halves.bench.say(client, request(&["MGET", &key, &other]));
    halves.answer(2, moved(&key, 0));
    assert_eq!(halves.asked(3), request(&["MGET", &other]));
    halves.answer(3, "*1\r\n".to_owned() + &bulk("o"));
    assert_eq!(halves.asked(0), request(&["MGET", &key]));
    halves.answer(0, "*1\r\n".to_owned() + &bulk("a"));
    assert_eq!(halves.bench.told(client), "*2\r\n".to_owned() + &bulk("a") + &bulk("o"));
    halves.bench.assert_nothing_is_left();
}

#[test]
fn what_a_replica_refuses_for_now_goes_to_the_master_at_once_and_it_is_passed_over() {
    for refusal in [
        DOWN,
        "-LOADING Redis is loading the dataset in memory\r\n",
        "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
    ] {
        let mut halves = Halves::new(ReadFrom::PreferReplica);
        let client = halves.bench.client();
        let key = key_in(0, 0);
        halves.bench.say(client, get(&key));
        halves.answer(2, refusal);
        let (asked, ms) = halves.asked_in_time(0, 0);
        assert_eq!((asked, ms), (get(&key), 0), "{refusal}");
        halves.answer(0, bulk("v"));
        halves.bench.turn();
        assert_eq!(halves.bench.told(client), bulk("v"));
        halves.asked(2);
        halves.read(client, &key, 0);
        assert_eq!(halves.bench.refreshes.contains(&RefreshCause::Down), refusal == DOWN);
        halves.bench.pass(1_000);
        assert_eq!(halves.asked(2), ROLE);
        halves.answer(2, role("connected"));
        halves.answer(3, role("connected"));
        halves.read(client, &key, 2);
        halves.bench.assert_nothing_is_left();
    }
}

#[test]
fn a_cluster_that_is_down_is_waited_for_at_whoever_may_read() {
    let mut halves = Halves::new(ReadFrom::PreferReplica);
    halves.bench.proxy.settings.timeouts.remote_read_ms = 2_000;
    let client = halves.bench.client();
    let key = key_in(0, 0);
    let master = halves.nodes[0];
    halves.bench.take_down(master, 0);
    halves.bench.say(client, get(&key));
    assert_eq!(halves.asked(2), get(&key), "the master is down");
    halves.answer(2, DOWN);
    for _ in 0..2 {
        let (asked, _) = halves.asked_in_time(2, 200);
        assert_eq!(asked, get(&key));
        halves.answer(2, DOWN);
    }
    // It has taken the place of its master.
    halves.tell(&[(1, 8192, 16383, &[3]), (2, 0, 8191, &[])]);
    let promoted = halves.bench.connects.iter().map(|connect| connect.1).max().expect("a connect");
    let promoted = halves.bench.connect(promoted);
    let bench = &mut halves.bench;
    let start = bench.now;
    let mut asked = String::new();
    while asked.is_empty() && bench.now - start < 300 {
        bench.pass(1);
        asked = bench.asked(promoted);
    }
    assert_eq!(asked, get(&key));
    bench.answer(promoted, bulk("v"));
    assert_eq!(bench.told(client), bulk("v"));
    bench.assert_nothing_is_left();
}

#[test]
fn a_lost_replica_costs_no_error() {
    for read_from in [ReadFrom::PreferReplica, ReadFrom::Replica] {
        let mut halves = Halves::new(read_from);
        halves.tell(&[(0, 0, 8191, &[2, 4]), (1, 8192, 16383, &[3])]);
        let fourth = connect_replica(&mut halves.bench, 4);
        halves.nodes.push(fourth);
        let client = halves.bench.client();
        let key = key_in(0, 0);
        halves.bench.say(client, get(&key));
        let asked = [2, 4].map(|node| halves.asked(node));
        let (first, second) = if asked[0].is_empty() { (4, 2) } else { (2, 4) };
        halves.bench.proxy.handle_backend_end(halves.nodes[first], halves.bench.now);
        halves.bench.turn();
        let second = if read_from == ReadFrom::Replica { second } else { 0 };
        assert_eq!(halves.asked(second), get(&key));
        halves.answer(second, bulk("v"));
        assert_eq!(halves.bench.told(client), bulk("v"));
        halves.bench.assert_nothing_is_left();
    }
}

#[test]
fn while_slots_are_on_their_way_a_node_answers_its_reads_itself() {
    for read_from in [ReadFrom::PreferReplica, ReadFrom::Replica] {
        let mut halves = Halves::new(read_from);
        let client = halves.bench.client();
        let [key, other] = [key_in(0, 0), key_in(0, 1)];
        halves.read(client, &key, 2);
        // A write says so first, and nothing but the slot of that key moves yet.
        halves.bench.say(client, set(&other, "1"));
        halves.answer(0, format!("-ASK {} {}\r\n", slot_of(other.as_bytes()), address(1)));
        halves.bench.turn();
        assert!(halves.asked(1).ends_with(&set(&other, "1")));
        halves.answer(1, "+OK\r\n+OK\r\n");
        halves.bench.turn();
        assert_eq!(halves.bench.told(client), "+OK\r\n");
        halves.asked(0);
        halves.read(client, &key, 0);
        halves.read(client, &key_in(1, 0), 3);
        halves.settle(&[2, 3]);
        halves.read(client, &key, 2);
        // A slot has another owner, by the map.
        halves.tell(&[(0, 0, 8190, &[2]), (1, 8191, 16383, &[3])]);
        halves.read(client, &key, 0);
        halves.read(client, &key_in(1, 0), 1);
        halves.settle(&[2, 3]);
        halves.read(client, &key, 2);
        halves.read(client, &key_in(1, 0), 3);
        halves.bench.assert_nothing_is_left();
    }
}

#[test]
fn a_replica_that_says_it_is_a_master_is_read_from_and_the_map_is_asked_for() {
    let mut halves = Halves::new(ReadFrom::PreferReplica);
    let client = halves.bench.client();
    let key = key_in(0, 0);
    let master = halves.nodes[0];
    halves.bench.take_down(master, 0);
    halves.bench.pass(1_000);
    assert_eq!(halves.asked(2), ROLE);
    halves.answer(2, role("connect"));
    halves.bench.refreshes.clear();
    halves.bench.pass(1_000);
    assert_eq!(halves.asked(2), ROLE);
    halves.answer(2, "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n");
    assert!(halves.bench.refreshes.contains(&RefreshCause::Moved));
    halves.read(client, &key, 2);
    assert!(!halves.bench.lines.iter().any(|line| line.contains("'master'")), "{:?}", halves.bench.lines);
}

#[test]
fn who_changes_places_by_a_map_is_treated_so_from_there_on() {
    let mut halves = Halves::new(ReadFrom::PreferReplica);
    let client = halves.bench.client();
    let key = key_in(0, 0);
    halves.bench.say(client, get(&key));
    assert_eq!(halves.asked(2), get(&key));
    halves.tell(&[(1, 8192, 16383, &[3]), (2, 0, 8191, &[0])]);
    halves.answer(2, bulk("v"));
    assert_eq!(halves.bench.told(client), bulk("v"), "what was asked before is answered");
    assert!([0, 2].iter().all(|&node: &usize| halves.bench.is_closed(Conn::Backend(halves.nodes[node]))));
    // Both are connected to anew, each as what it is now.
    let mut made = Vec::new();
    while let Some(&(backend, server)) = halves.bench.connects.first() {
        halves.bench.connects.remove(0);
        halves.bench.proxy.handle_connected(backend, halves.bench.now);
        halves.bench.turn();
        let address = halves.bench.proxy.address(ServerId::of_index(usize::from(server))).to_owned();
        let asked = String::from_utf8_lossy(&halves.bench.net.written[&Conn::Backend(backend)]).into_owned();
        made.push((address, asked.contains(READONLY), backend));
        halves.bench.shake_hands(backend);
    }
    made.sort();
    let shown: Vec<(&str, bool)> = made.iter().map(|(address, is_told, _)| (address.as_str(), *is_told)).collect();
    assert_eq!(shown, [(address(0).as_str(), true), (address(2).as_str(), false)]);
    let (replica, master) = (made[0].2, made[1].2);
    assert_eq!(halves.bench.asked(replica), ROLE);
    halves.bench.say(client, get(&key));
    assert_eq!(halves.bench.asked(master), get(&key), "the other has not said how it is");
    halves.bench.answer(master, bulk("v"));
    halves.bench.answer(replica, role("connected"));
    halves.bench.say(client, get(&key) + &set(&key, "1"));
    assert_eq!(halves.bench.asked(replica), get(&key));
    halves.bench.answer(replica, bulk("v"));
    assert_eq!(halves.bench.asked(master), set(&key, "1"));
    halves.bench.answer(master, "+OK\r\n");
    assert!(halves.bench.told(client).ends_with("+OK\r\n"));
    halves.bench.assert_nothing_is_left();
}

const INFO: &str = "*2\r\n$4\r\nINFO\r\n$6\r\nserver\r\n";

/// What a server says of itself that is in this zone.
fn info(zone: &str) -> String {
    bulk(&format!("# Server\r\nvalkey_version:8.1.1\r\navailability_zone:{zone}\r\n"))
}

/// One server with two replicas, in these zones, and rmux in zone `a`.
fn zoned(read_from: ReadFrom, zones: [&str; 3]) -> (Bench, Vec<Id>) {
    let mut bench = Bench::new(1, |settings| {
        settings.replicas = vec![vec!["replica-0".to_owned(), "replica-1".to_owned()]];
        settings.read_from = read_from;
        settings.zone = Some("a".to_owned());
    });
    let nodes: Vec<Id> = (0..3).map(|server| bench.connect(server)).collect();
    for (server, zone) in zones.into_iter().enumerate() {
        let role_too = if server > 0 { ROLE } else { "" };
        assert_eq!(bench.asked(nodes[server]), [INFO, role_too].concat());
        let role = if server > 0 { role("connected") } else { String::new() };
        bench.answer(nodes[server], info(zone) + &role);
    }
    (bench, nodes)
}

/// Who of these is asked for a key by each of four clients.
fn asked_by_four(bench: &mut Bench, nodes: &[Id]) -> Vec<usize> {
    let clients: Vec<Id> = (0..4).map(|_| bench.client()).collect();
    let mut all = Vec::new();
    for client in clients {
        bench.say(client, get("k"));
        let asked = nodes.iter().position(|&node| bench.asked(node) == get("k")).expect("one is asked");
        bench.answer(nodes[asked], "$-1\r\n");
        all.push(asked);
    }
    all.sort_unstable();
    all
}

#[test]
fn who_is_in_the_same_zone_is_read_first() {
    for (read_from, zones, expected) in [
        (ReadFrom::PreferReplica, ["a", "b", "a"], [2, 2, 2, 2]),
        (ReadFrom::PreferReplica, ["b", "a", "a"], [1, 1, 2, 2]),
        (ReadFrom::PreferReplica, ["a", "b", "b"], [0, 0, 0, 0]),
        (ReadFrom::PreferReplica, ["", "", ""], [1, 1, 2, 2]),
        (ReadFrom::Replica, ["a", "b", "b"], [1, 1, 2, 2]),
        (ReadFrom::Replica, ["a", "a", "b"], [1, 1, 1, 1]),
    ] {
        let (mut bench, nodes) = zoned(read_from, zones);
        assert_eq!(asked_by_four(&mut bench, &nodes), expected, "{read_from:?} {zones:?}");
        bench.assert_nothing_is_left();
    }
}

#[test]
fn a_zone_is_asked_for_on_each_new_connection_and_when_the_settings_name_one() {
    let (mut bench, mut nodes) = zoned(ReadFrom::PreferReplica, ["b", "a", "b"]);
    assert_eq!(asked_by_four(&mut bench, &nodes), [1, 1, 1, 1]);
    // Another one, elsewhere, has its address.
    bench.proxy.handle_backend_end(nodes[1], bench.now);
    bench.turn();
    nodes[1] = bench.connect(1);
    assert_eq!(bench.asked(nodes[1]), INFO);
    bench.answer(nodes[1], info("b"));
    assert_eq!(asked_by_four(&mut bench, &nodes), [1, 1, 2, 2]);
    let mut settings = bench.proxy.settings.clone();
    settings.zone = Some("b".to_owned());
    bench.proxy.handle_settings(settings.clone(), bench.now);
    bench.turn();
    assert!(nodes.iter().all(|&node| bench.asked(node).is_empty()), "all have told");
    assert_eq!(asked_by_four(&mut bench, &nodes), [1, 1, 2, 2]);
    settings.zone = None;
    bench.proxy.handle_settings(settings, bench.now);
    assert_eq!(asked_by_four(&mut bench, &nodes), [1, 1, 2, 2]);
    bench.assert_nothing_is_left();
}

#[test]
fn a_zone_that_comes_with_other_settings_is_asked_for_at_once() {
    let mut halves = Halves::new(ReadFrom::PreferReplica);
    halves.tell(&[(0, 0, 8191, &[2, 4]), (1, 8192, 16383, &[3])]);
    let fourth = connect_replica(&mut halves.bench, 4);
    halves.nodes.push(fourth);
    let mut settings = halves.bench.proxy.settings.clone();
    settings.zone = Some("a".to_owned());
    halves.bench.proxy.handle_settings(settings, halves.bench.now);
    halves.bench.turn();
    for (node, reply) in
        [(0, info("b")), (1, "-NOPERM no\r\n".to_owned()), (2, info("b")), (3, info("")), (4, info("a"))]
    {
        assert_eq!(halves.asked(node), INFO);
        halves.answer(node, reply);
    }
    for _ in 0..4 {
        let client = halves.bench.client();
        halves.read(client, &key_in(0, 0), 4);
        halves.read(client, &key_in(1, 0), 3);
    }
    halves.bench.assert_nothing_is_left();
}
