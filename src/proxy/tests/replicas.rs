//! Reads from replicas: who is asked, who is not, and what becomes of those that a replica does not answer.

use super::*;
use crate::read_from::ReadFrom;

pub(super) const ROLE: &str = "*1\r\n$4\r\nROLE\r\n";

/// What a replica says of itself whose link is in this state.
pub(super) fn role(state: &str) -> String {
    format!("*5\r\n{}{}:6379\r\n{}:17\r\n", bulk("slave"), bulk("127.0.0.1"), bulk(state))
}

/// So many servers with so many replicas each, all of them connected to, and well. Of the connections, those to the
/// servers stand first.
fn with_replicas(
    servers: usize,
    replicas: usize,
    read_from: ReadFrom,
    change: impl FnOnce(&mut Settings),
) -> (Bench, Vec<Id>) {
    let mut bench = Bench::new(servers, |settings| {
        let name = |server| (0..replicas).map(|replica| format!("replica-{server}-{replica}")).collect();
        settings.replicas = (0..servers).map(name).collect();
        settings.read_from = read_from;
        change(settings);
    });
    let all = servers * (1 + replicas);
    let backends: Vec<Id> = (0..all).map(|server| bench.connect(server as u16)).collect();
    for &replica in &backends[servers..] {
        assert_eq!(bench.asked(replica), ROLE);
        bench.answer(replica, role("connected"));
    }
    (bench, backends)
}

/// One server with one replica, to which reads go if they can.
fn one() -> (Bench, Id, Id) {
    let (bench, backends) = with_replicas(1, 1, ReadFrom::PreferReplica, |_| ());
    (bench, backends[0], backends[1])
}

/// Lets the time go by in which what was written counts as written of late.
fn pass_lag(bench: &mut Bench, replicas: &[Id]) {
    for _ in 0..3 {
        bench.pass(1_000);
        for &replica in replicas {
            let asked = bench.asked(replica);
            assert_eq!(asked, ROLE, "each second");
            bench.answer(replica, role("connected"));
        }
    }
}

#[test]
fn reads_go_to_a_replica_and_all_else_to_the_master() {
    let (mut bench, master, replica) = one();
    let client = bench.client();
    for words in [
        &["GET", "a"][..],
        &["MGET", "a", "b"],
        &["EXISTS", "a", "b"],
        &["HGETALL", "a"],
        &["EVAL_RO", "return 1", "1", "a"],
        &["EVALSHA_RO", "f00", "1", "a"],
        &["ZRANGE", "a", "0", "1"],
    ] {
        bench.say(client, request(words));
        assert_eq!(bench.asked(replica), request(words));
        bench.answer(replica, ":1\r\n");
        assert_eq!(bench.told(client), ":1\r\n");
    }
    for words in [
        &["KEYS", "*"][..],
        &["SCAN", "0"],
        &["HSCAN", "a", "0"],
        &["TOUCH", "a"],
        &["OBJECT", "FREQ", "a"],
        &["MEMORY", "USAGE", "a"],
        &["RANDOMKEY"],
        &["DBSIZE"],
        &["SORT_RO", "a", "BY", "w_*"],
        &["EVAL_RO", "return 1", "0"],
        &["XREAD", "STREAMS", "s", "0"],
        &["PUBLISH", "c", "m"],
        &["SET", "x", "1"],
        &["EVAL", "return 1", "1", "y"],
        &["GETEX", "y"],
    ] {
        bench.say(client, request(words));
        assert_eq!(bench.asked(master), request(words), "{words:?}");
        bench.answer(master, "+OK\r\n");
        bench.told(client);
    }
    assert_eq!(bench.asked(replica), "");
    bench.assert_nothing_is_left();
}

#[test]
fn replicas_are_not_connected_to_where_reads_are_the_masters() {
    let bench = Bench::new(1, |settings| settings.replicas = vec![vec!["replica".to_owned()]]);
    assert_eq!(bench.connects.len(), 1);
}

#[test]
fn a_replica_is_read_from_when_it_has_said_that_it_is_up_to_date() {
    let mut bench = Bench::new(1, |settings| {
        settings.replicas = vec![vec!["replica".to_owned()]];
        settings.read_from = ReadFrom::PreferReplica;
    });
    let master = bench.connect(0);
    let client = bench.client();
    let read_from = |bench: &mut Bench, backend: Id| {
        bench.say(client, get("a"));
        let asked = bench.asked(backend);
        assert_eq!(asked, get("a"));
        bench.answer(backend, "$-1\r\n");
        assert_eq!(bench.told(client), "$-1\r\n");
    };
    read_from(&mut bench, master);
    let replica = bench.connect(1);
    assert_eq!(bench.asked(replica), ROLE);
    read_from(&mut bench, master);
    bench.answer(replica, role("sync"));
    read_from(&mut bench, master);
    bench.pass(1_000);
    assert_eq!(bench.asked(replica), ROLE);
    bench.answer(replica, role("connected"));
    read_from(&mut bench, replica);
    bench.pass(1_000);
    bench.asked(replica);
    bench.answer(replica, "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n");
    read_from(&mut bench, master);
    for part in ["'sync'", "is up to date again", "'master'"] {
        assert!(bench.lines.iter().any(|line| line.contains(part)), "{part}: {:?}", bench.lines);
    }
}

#[test]
fn a_key_that_was_written_of_late_is_read_from_the_master_by_everybody() {
    let (mut bench, master, replica) = one();
    let (writer, reader) = (bench.client(), bench.client());
    bench.say(writer, set("a", "1"));
    bench.asked(master);
    bench.answer(master, "+OK\r\n");
    for client in [writer, reader] {
        for (words, backend) in [
            (&["GET", "a"][..], master),
            (&["MGET", "b", "a"], master),
            (&["GET", "b"], replica),
            (&["MGET", "b", "c"], replica),
        ] {
            bench.say(client, request(words));
            assert_eq!(bench.asked(backend), request(words));
            bench.answer(backend, "$-1\r\n");
        }
    }
    pass_lag(&mut bench, &[replica]);
    bench.say(reader, get("a"));
    assert_eq!(bench.asked(replica), get("a"));
    bench.answer(replica, "$1\r\n1\r\n");
    // What may have written anything.
    bench.say(writer, request(&["EVAL", "return 1", "0"]));
    bench.asked(master);
    bench.say(reader, get("c"));
    assert_eq!(bench.asked(master), get("c"));
    assert_eq!(bench.asked(replica), "");
}

#[test]
fn the_keys_of_transactions_and_uploads_count_as_written() {
    let (mut bench, master, replica) = one();
    let client = bench.client();
    bench.say(client, request(&["MULTI"]) + &set("a", "1") + &request(&["EXEC"]));
    assert!(bench.asked(master).contains("EXEC"));
    bench.answer(master, "+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n");
    bench.say(client, request(&["MULTI"]));
    bench.say(client, set("b", "1"));
    let leased = bench.connect(0);
    bench.say(client, get("z"));
    bench.say(client, request(&["EXEC"]));
    let steps = bench.asked(leased);
    assert!(steps.ends_with(&(get("z") + &request(&["EXEC"]))), "the reads of a transaction are the master's: {steps}");
    bench.answer(leased, "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n$-1\r\n");
    let large = set("c", &"x".repeat(LARGE * 2));
    bench.say(client, &large[..LARGE + 100]);
    bench.say(client, &large[LARGE + 100..]);
    bench.asked(master);
    bench.answer(master, "+OK\r\n");
    bench.told(client);
    for key in ["a", "b", "c"] {
        bench.say(client, get(key));
        assert_eq!(bench.asked(master), get(key));
        bench.answer(master, "$-1\r\n");
    }
    bench.say(client, request(&["WATCH", "w"]));
    assert_eq!(bench.asked(leased), request(&["WATCH", "w"]));
    bench.answer(leased, "+OK\r\n");
    bench.say(client, get("d"));
    assert_eq!(bench.asked(leased), get("d"), "keys are watched");
    assert_eq!(bench.asked(replica), "");
}

#[test]
fn a_write_waits_for_its_clients_reads_of_the_same_key() {
    let (mut bench, master, replica) = one();
    let client = bench.client();
    bench.say(client, get("a") + &get("b") + &set("c", "1") + &request(&["DEL", "a"]) + &get("d"));
    assert_eq!(bench.asked(replica), get("a") + &get("b"));
    assert_eq!(bench.asked(master), set("c", "1"), "the other one would have been read by GET a");
    bench.answer(master, "+OK\r\n");
    bench.answer(replica, "$1\r\nA\r\n$1\r\nB\r\n");
    assert_eq!(bench.told(client), "$1\r\nA\r\n$1\r\nB\r\n+OK\r\n");
    assert_eq!((bench.asked(master), bench.asked(replica)), (request(&["DEL", "a"]), get("d")));
    bench.answer(replica, "$-1\r\n");
    assert_eq!(bench.told(client), "");
    bench.answer(master, ":1\r\n");
    assert_eq!(bench.told(client), ":1\r\n$-1\r\n");
    for (reads, write) in [
        (request(&["MGET", "x", "y"]), request(&["DEL", "y"])),
        (get("x"), request(&["FLUSHALL"])),
        (get("x"), request(&["MULTI"]) + &set("x", "1") + &request(&["EXEC"])),
        (get("x"), request(&["SPOP", "x"])),
        (get("x"), set("x", &"y".repeat(LARGE))),
    ] {
        pass_lag(&mut bench, &[replica]);
        bench.say(client, reads.clone() + &write);
        assert_eq!((bench.asked(replica), bench.asked(master)), (reads, String::new()));
        bench.answer(replica, "$-1\r\n");
        assert_eq!(bench.told(client), "$-1\r\n");
        assert_eq!(bench.asked(master), write);
        bench.answer(master, if write.contains("MULTI") { "+OK\r\n+QUEUED\r\n*0\r\n" } else { ":1\r\n" });
        bench.told(client);
    }
    bench.assert_nothing_is_left();
}

#[test]
fn a_read_that_a_replica_did_not_run_is_the_masters() {
    let (mut bench, master, replica) = one();
    let client = bench.client();
    for (error, is_out) in [
        ("-NOSCRIPT No matching script. Please use EVAL.\r\n", false),
        ("-READONLY You can't write against a read only replica.\r\n", false),
        ("-BUSY Redis is busy running a script.\r\n", false),
        ("-LOADING Redis is loading the dataset in memory\r\n", true),
        ("-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n", true),
    ] {
        bench.say(client, get("a") + &get("b"));
        assert_eq!(bench.asked(replica), get("a") + &get("b"));
        bench.answer(replica, format!("{error}$1\r\nB\r\n"));
        assert_eq!(bench.told(client), "", "in their order");
        assert_eq!(bench.asked(master), get("a"));
        bench.answer(master, "$1\r\nA\r\n");
        assert_eq!(bench.told(client), "$1\r\nA\r\n$1\r\nB\r\n");
        bench.say(client, get("c"));
        assert_eq!(bench.asked(if is_out { master } else { replica }), get("c"), "{error}");
        bench.answer(if is_out { master } else { replica }, "$1\r\nC\r\n");
        bench.told(client);
        bench.pass(1_000);
        assert_eq!(bench.asked(replica), ROLE);
        bench.answer(replica, role("connected"));
    }
    // What is wrong with the request is what its client is told.
    bench.say(client, get("a"));
    bench.answer(replica, "-WRONGTYPE x\r\n");
    assert_eq!(bench.told(client), "-WRONGTYPE x\r\n");
    bench.assert_nothing_is_left();
}

#[test]
fn what_a_replica_does_not_answer_in_time_is_asked_of_the_master() {
    let (mut bench, master, replica) = one();
    let client = bench.client();
    bench.say(client, get("a") + &get("b"));
    assert_eq!(bench.asked(replica), get("a") + &get("b"));
    bench.pass(500);
    assert_eq!(bench.told(client), "");
    assert_eq!(bench.asked(master), get("a") + &get("b"));
    bench.answer(master, "$1\r\nA\r\n$1\r\nB\r\n");
    assert_eq!(bench.told(client), "$1\r\nA\r\n$1\r\nB\r\n");
    // The late ones are nobody's.
    bench.answer(replica, "$1\r\nx\r\n$1\r\ny\r\n");
    assert_eq!(bench.told(client), "");
    assert!(bench.is_closed(Conn::Backend(replica)));
    // The new connection is not answered either.
    let again = bench.next_connect(1);
    bench.proxy.handle_connected(again, bench.now);
    bench.pass(500);
    bench.say(client, get("c"));
    assert_eq!(bench.asked(master), get("c"));
    bench.answer(master, "$1\r\nC\r\n");
    bench.assert_nothing_is_left();
}

#[test]
fn what_is_lost_with_a_replica_is_asked_of_the_master() {
    let (mut bench, master, replica) = one();
    let client = bench.client();
    bench.say(client, get("a") + &get("b"));
    bench.answer(replica, "$1\r\nA\r\n");
    bench.proxy.handle_backend_end(replica, bench.now);
    bench.turn();
    assert_eq!(bench.asked(master), get("b"));
    bench.answer(master, "$1\r\nB\r\n");
    assert_eq!(bench.told(client), "$1\r\nA\r\n$1\r\nB\r\n");
    bench.refuse(1);
    bench.say(client, get("c") + &set("d", "1"));
    assert_eq!(bench.asked(master), get("c") + &set("d", "1"));
    bench.answer(master, "$1\r\nC\r\n+OK\r\n");
    // It comes back, and says so.
    bench.until_connect();
    let replica = bench.connect(1);
    assert_eq!(bench.asked(replica), ROLE);
    bench.say(client, get("c"));
    assert_eq!(bench.asked(master), get("c"));
    bench.answer(master, "$1\r\nC\r\n");
    bench.answer(replica, role("connected"));
    bench.say(client, get("c"));
    assert_eq!(bench.asked(replica), get("c"));
}

#[test]
fn replicas_are_read_while_the_master_is_down() {
    let (mut bench, master, replica) = one();
    let client = bench.client();
    bench.take_down(master, 0);
    bench.pass(1_000);
    bench.asked(replica);
    bench.answer(replica, role("connect"));
    bench.say(client, get("a") + &set("b", "1"));
    assert_eq!(bench.asked(replica), get("a"));
    bench.answer(replica, "$1\r\nA\r\n");
    assert_eq!(bench.told(client), "$1\r\nA\r\n-ERR Connection down\r\n");
    bench.assert_nothing_is_left();
}

#[test]
fn with_replicas_alone_nothing_is_read_from_the_master() {
    let (mut bench, backends) = with_replicas(1, 2, ReadFrom::Replica, |_| ());
    let [master, first, second] = backends[..] else { panic!("one and two") };
    let client = bench.client();
    bench.say(client, set("a", "1"));
    assert_eq!(bench.asked(master), set("a", "1"));
    bench.answer(master, "+OK\r\n");
    bench.told(client);
    bench.say(client, get("a"));
    let (own, other) = if bench.asked(first) == get("a") { (first, second) } else { (second, first) };
    bench.answer(own, "-LOADING\u{20}x\r\n");
    assert_eq!(bench.asked(other), get("a"), "the other one");
    bench.answer(other, "-LOADING\u{20}y\r\n");
    assert_eq!(bench.told(client), "-LOADING\u{20}y\r\n", "and then it is told");
    bench.say(client, get("a"));
    assert_eq!(bench.told(client), "-ERR Connection down\r\n");
    assert_eq!(bench.asked(master), "");
}

#[test]
fn clients_are_spread_over_replicas_and_stay_there() {
    let (mut bench, backends) = with_replicas(1, 2, ReadFrom::PreferReplica, |_| ());
    let mut asked = [0, 0];
    for _ in 0..10 {
        let client = bench.client();
        let mut own = None;
        for _ in 0..3 {
            bench.say(client, get("a"));
            let at = (1..3).find(|&at| bench.asked(backends[at]) == get("a")).expect("a replica is asked");
            assert_eq!(*own.get_or_insert(at), at, "it stays");
            bench.answer(backends[at], "$-1\r\n");
        }
        asked[own.expect("it was asked") - 1] += 1;
    }
    assert_eq!(asked, [5, 5]);
}

#[test]
fn each_part_of_a_split_read_goes_to_a_replica_of_its_own_place() {
    let (mut bench, backends) = with_replicas(2, 1, ReadFrom::PreferReplica, |_| ());
    let [first, _, at_first, at_second] = backends[..] else { panic!("two and two") };
    let (a, b) = (key_on(&bench, 0), key_on(&bench, 1));
    let client = bench.client();
    bench.say(client, request(&["MGET", &a, &b]));
    assert_eq!((bench.asked(at_first), bench.asked(at_second)), (request(&["MGET", &a]), request(&["MGET", &b])));
    bench.answer(at_second, "*1\r\n$1\r\nB\r\n");
    bench.answer(at_first, "-LOADING x\r\n");
    assert_eq!(bench.asked(first), request(&["MGET", &a]));
    bench.answer(first, "*1\r\n$1\r\nA\r\n");
    assert_eq!(bench.told(client), "*2\r\n$1\r\nA\r\n$1\r\nB\r\n");
    // A part that was written of late is read where it was.
    bench.say(client, set(&b, "1"));
    bench.answer(backends[1], "+OK\r\n");
    bench.asked(backends[1]);
    bench.pass(1_000);
    [at_first, at_second].into_iter().for_each(|replica| drop(bench.asked(replica)));
    [at_first, at_second].into_iter().for_each(|replica| bench.answer(replica, role("connected")));
    bench.told(client);
    bench.say(client, request(&["MGET", &a, &b]));
    assert_eq!((bench.asked(at_first), bench.asked(backends[1])), (request(&["MGET", &a]), request(&["MGET", &b])));
    // What is written at both places waits for both.
    bench.say(client, request(&["DEL", &a, &b]));
    assert_eq!((bench.asked(backends[0]), bench.asked(backends[1])), (String::new(), String::new()));
    bench.answer(backends[1], "*1\r\n$1\r\nB\r\n");
    bench.answer(at_first, "*1\r\n$1\r\nA\r\n");
    assert_eq!(bench.asked(first), request(&["DEL", &a]));
}

#[test]
fn replicas_come_and_go_with_the_settings() {
    let (mut bench, master, replica) = one();
    let client = bench.client();
    let mut settings = bench.proxy.settings.clone();
    settings.replicas = vec![vec!["replica-0-0".to_owned(), "other".to_owned()]];
    bench.proxy.handle_settings(settings.clone(), bench.now);
    bench.turn();
    let other = bench.connect(2);
    assert_eq!(bench.asked(other), ROLE);
    bench.answer(other, role("connected"));
    // The first one goes.
    settings.replicas = vec![vec!["other".to_owned()]];
    bench.proxy.handle_settings(settings.clone(), bench.now);
    bench.turn();
    assert!(bench.is_closed(Conn::Backend(replica)));
    bench.say(client, get("a"));
    assert_eq!(bench.asked(other), get("a"));
    // So do all: that read ends where it is.
    settings.read_from = ReadFrom::Master;
    bench.proxy.handle_settings(settings.clone(), bench.now);
    bench.turn();
    bench.say(client, get("b"));
    assert_eq!(bench.asked(master), get("b"));
    bench.answer(master, "$1\r\nB\r\n");
    bench.answer(other, "$1\r\nA\r\n");
    assert_eq!(bench.told(client), "$1\r\nA\r\n$1\r\nB\r\n");
    assert!(bench.is_closed(Conn::Backend(other)));
    // What was a replica is a server of the ring, and another one.
    settings.servers = vec!["other".to_owned()];
    bench.proxy.handle_settings(settings, bench.now);
    bench.turn();
    bench.pass(10_000);
    bench.assert_nothing_is_left();
}

#[test]
fn a_replica_hears_no_messages() {
    let (mut bench, _, replica) = one();
    let client = bench.client();
    bench.say(client, request(&["SUBSCRIBE", "c"]));
    assert_eq!(bench.connects.len(), 1, "one to the master");
    let master_hears = bench.connect(0);
    assert!(bench.asked(master_hears).contains("subscribe"));
    bench.proxy.handle_backend_end(replica, bench.now);
    bench.turn();
    bench.refuse(1);
    bench.until_connect();
    let replica = bench.connect(1);
    assert_eq!(bench.asked(replica), ROLE);
    assert!(bench.connects.is_empty(), "it is back, and nobody wants to hear it");
}

#[test]
fn what_replicas_are_is_told_with_the_figures() {
    use crate::stats::ServerRole;
    let (mut bench, backends) = with_replicas(2, 1, ReadFrom::PreferReplica, |_| ());
    bench.pass(1_000);
    bench.answer(backends[3], role("sync"));
    let figures = bench.proxy.figures(bench.now);
    assert_eq!(figures.addresses, ["server-0", "server-1", "replica-0-0", "replica-1-0"]);
    let roles: Vec<ServerRole> = figures.servers.iter().map(|server| server.role).collect();
    assert_eq!(roles, [ServerRole::Master, ServerRole::Master, ServerRole::Replica, ServerRole::Unread]);
    let client = bench.client();
    bench.say(client, request(&["RMUX", "SERVERS"]));
    let told = bench.told(client);
    for line in ["address=server-0 role=master ", "address=replica-0-0 role=replica ", "=replica-1-0 role=unread "] {
        assert!(told.contains(line), "{told}");
    }
}

#[test]
fn who_watches_a_server_tells_its_replicas() {
    let mut bench = Bench::new(1, |settings| settings.read_from = ReadFrom::PreferReplica);
    let master = bench.connect(0);
    let server = bench.proxy.servers()[0];
    let client = bench.client();
    let tell = |bench: &mut Bench, replicas: &[&str]| {
        let replicas = replicas.iter().map(|&replica| replica.to_owned()).collect();
        bench.proxy.handle_replicas(server, replicas, bench.now);
        bench.turn();
    };
    tell(&mut bench, &["a:1"]);
    let first = bench.connect(1);
    assert_eq!(bench.asked(first), ROLE);
    bench.answer(first, role("connected"));
    bench.say(client, get("a"));
    assert_eq!(bench.asked(first), get("a"));
    // The same again is no news; another one has another connection, and what is owed comes all the same.
    tell(&mut bench, &["a:1"]);
    assert!(bench.connects.is_empty() && bench.closed.is_empty());
    tell(&mut bench, &["b:2"]);
    let second = bench.connect(2);
    assert_eq!(bench.asked(second), ROLE);
    bench.answer(second, role("connected"));
    bench.answer(first, "$1\r\nA\r\n");
    assert_eq!(bench.told(client), "$1\r\nA\r\n");
    assert!(bench.is_closed(Conn::Backend(first)));
    bench.say(client, get("a"));
    assert_eq!(bench.asked(second), get("a"));
    bench.answer(second, "$1\r\nB\r\n");
    tell(&mut bench, &[]);
    bench.say(client, get("a"));
    assert_eq!(bench.asked(master), get("a"));
}

#[test]
fn what_was_told_of_a_master_outlasts_other_settings() {
    let mut bench = Bench::new(2, |settings| {
        settings.read_from = ReadFrom::PreferReplica;
        settings.masters = vec!["server-0".to_owned()];
        settings.replicas = vec![Vec::new(), vec!["f:1".to_owned()]];
    });
    let servers = bench.proxy.servers();
    bench.proxy.handle_replicas(servers[0], vec!["a:1".to_owned()], bench.now);
    bench.turn();
    let names = |bench: &Bench| -> Vec<String> {
        let proxy = &bench.proxy;
        proxy.servers().iter().map(|&server| proxy.server_name(server).to_owned()).collect()
    };
    assert_eq!(names(&bench), ["server-0", "server-1", "a:1", "f:1"]);
    let mut settings = bench.proxy.settings.clone();
    settings.replicas = vec![Vec::new(), vec!["g:1".to_owned()]];
    bench.proxy.handle_settings(settings, bench.now);
    bench.turn();
    assert_eq!(names(&bench), ["server-0", "server-1", "a:1", "g:1"]);
}
