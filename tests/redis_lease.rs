//! Transactions and commands that wait for data, against real redis-servers: what needs a backend of its own.
//!
//! What Redis itself answers must come through unchanged, whole or step by step, in both protocols; what rmux adds (a
//! bounded number of leases, nothing left behind by a client that is gone) is tested on its own.

mod support;

use std::time::Duration;

use support::client::{Client, bulk, encode, show};
use support::golden::key_for_each;
use support::proxy::{Front, PATIENT, Rmux};
use support::server::RedisServer;
use support::{KINDS, Kind, PATIENCE, is_direct, raise_descriptor_limit, sockets_affordable, wait_until};

/// Transactions as clients send them, each a list of requests.
const TRANSACTIONS: &[&[&str]] = &[
    &["MULTI", "SET a 1", "INCR a", "GET a", "EXEC", "GET a"],
    &["MULTI", "EXEC"],
    &["MULTI", "SET a 5", "DISCARD", "GET a"],
    &["EXEC", "DISCARD", "UNWATCH", "PING"],
    &["MULTI", "MULTI", "SET a 2", "EXEC"],
    &["WATCH a", "GET a", "MULTI", "SET a 3", "EXEC", "GET a"],
    &["WATCH a", "SET a 4", "MULTI", "SET a 5", "EXEC", "GET a"],
    &["WATCH a", "UNWATCH", "SET a 6", "MULTI", "GET a", "EXEC"],
    &["WATCH a b", "MULTI", "DISCARD", "SET a 6", "MULTI", "GET a", "EXEC"],
    &["MULTI", "SET a", "SET a 7", "EXEC", "GET a"],
    &["MULTI", "NOSUCH x", "SET a 8", "EXEC", "GET a"],
    &["MULTI", "LPUSH a x", "SET b 1", "EXEC", "GET b"],
    &["MULTI", "PING", "ECHO x", "PING y", "EXEC"],
    &["MULTI", "BLPOP nothing 0", "XREAD BLOCK 0 STREAMS nothing $", "EXEC"],
    &["MULTI", "SELECT 3", "SET a three", "EXEC", "GET a", "SELECT 0", "GET a", "SELECT 3", "DEL a", "SELECT 0"],
    &["MULTI", "WATCH a", "GET a", "EXEC"],
    &["MULTI", "HSET h f v", "HGETALL h", "ZADD z 1 m", "ZSCORE z m", "EXEC", "DEL h z"],
    &["MULTI", "EVAL return{KEYS[1],ARGV[1]} 1 a b", "EXEC"],
    &["MULTI", "RESET", "GET a"],
    &["MULTI extra", "EXEC extra", "WATCH", "UNWATCH x", "PING"],
    // What rmux answers itself has its place among the others, and takes effect with EXEC.
    &["MULTI", "CLIENT SETNAME within", "SET a 1", "CLIENT GETNAME", "GET a", "EXEC", "CLIENT GETNAME"],
    &["MULTI", "CLIENT SETNAME not", "DISCARD", "CLIENT GETNAME", "CLIENT SETNAME -"],
    &["WATCH a", "SET a 2", "MULTI", "CLIENT SETNAME not", "EXEC", "CLIENT GETNAME"],
    &["MULTI", "ACL WHOAMI", "READONLY", "CLUSTER INFO", "AUTH x", "CLIENT TRACKINGINFO", "EXEC"],
    &["MULTI", "HELLO 9", "CLIENT KILL ID 0", "CLIENT REPLY ON", "CLIENT NO-EVICT maybe", "CLIENT GETREDIR", "EXEC"],
    &["MULTI", "CLIENT UNBLOCK x", "LPUSH a x", "SELECT x", "SELECT -1", "SELECT 3", "GET a", "EXEC", "SELECT 0"],
    &["MULTI", "SELECT 2", "SELECT 99", "CLIENT GETNAME", "SET a two", "EXEC", "GET a", "DEL a", "SELECT 0"],
    &["MULTI", "SELECT 2", "DISCARD", "GET a"],
    &["MULTI", "CONFIG GET maxmemory", "CONFIG GET nosuch", "CLIENT GETNAME", "CONFIG GET save?", "EXEC"],
    &["MULTI", "HSET hash f v", "ECHO x", "HGETALL hash", "CLIENT SETNAME y", "LRANGE a 0 -1", "EXEC", "DEL hash"],
    // Faults are found before EXEC, whether it is broken already or not.
    &["MULTI", "CLIENT", "EXEC"],
    &["MULTI", "CLIENT NOSUCH", "CLIENT SETNAME", "CLIENT GETNAME x", "EXEC"],
    &["MULTI", "AUTH", "ACL WHOAMI x", "CONFIG GET", "PING a b", "ECHO", "SELECT", "INFO", "EXEC"],
    &["MULTI", "NOSUCH", "SET a", "GET a b", "CLIENT SETNAME", "XGROUP NOSUCH", "WATCH", "EXEC x", "EXEC"],
    &["MULTI", "NOSUCH", "SET a 1", "MULTI", "WATCH a", "UNWATCH", "UNWATCH x", "DISCARD x", "DISCARD", "GET a"],
    // Keys of one database are watched, and another one is selected.
    &["WATCH a", "SELECT 3", "SET a three", "MULTI", "GET a", "EXEC", "DEL a", "SELECT 0", "GET a"],
    &["WATCH a", "SELECT 99", "GET a", "SELECT x", "SELECT -1", "SELECT", "MULTI", "SET a 9", "EXEC", "GET a"],
    &["WATCH a", "SELECT 3", "UNWATCH", "SET a 3", "GET a", "DEL a", "SELECT 0"],
    &["SELECT 3", "WATCH a", "SELECT 0", "SET a 1", "SELECT 3", "MULTI", "GET a", "EXEC", "RESET", "GET a"],
    &["WATCH a", "SELECT 3", "SELECT 0", "SET a changed", "SELECT 3", "MULTI", "PING", "EXEC", "SELECT 0"],
];

fn request(line: &str) -> Vec<u8> {
    encode(&line.split(' ').collect::<Vec<_>>())
}

/// Runs all transactions, each request after the reply to the one before, or all at once.
fn run(client: &mut Client, protocol: &str, is_pipelined: bool) -> Vec<String> {
    let mut replies = vec![client.line("FLUSHALL")];
    // RESET goes back to RESP2, so the protocol is set for each of them.
    for lines in TRANSACTIONS {
        client.cmd(&["HELLO", protocol]);
        if is_pipelined {
            client.send(&lines.iter().flat_map(|line| request(line)).collect::<Vec<_>>());
        }
        for line in *lines {
            if !is_pipelined {
                client.send(&request(line));
            }
            replies.push(format!("{line}: {}", show(&client.reply())));
        }
    }
    replies
}

#[test]
fn transactions_say_what_redis_says() {
    for kind in KINDS {
        let server = RedisServer::start();
        let front = Front::of(kind, &server);
        for protocol in ["2", "3"] {
            for is_pipelined in [false, true] {
                let wanted = run(&mut server.client(), protocol, is_pipelined);
                let got = run(&mut front.client(), protocol, is_pipelined);
                for (got, wanted) in got.iter().zip(&wanted) {
                    assert_eq!(got, wanted, "RESP{protocol}, pipelined: {is_pipelined}");
                }
                assert_eq!(got.len(), wanted.len());
            }
        }
    }
}

#[test]
fn a_watched_key_that_another_client_writes_stops_the_transaction() {
    let server = RedisServer::start();
    let front = Front::of(Kind::Unix, &server);
    let (mut one, mut other) = (front.client(), front.client());
    assert_eq!(one.line("WATCH k"), "+OK\r\n");
    assert_eq!(other.line("SET k theirs"), "+OK\r\n");
    assert_eq!(one.line("MULTI"), "+OK\r\n");
    assert_eq!(one.line("SET k mine"), "+QUEUED\r\n");
    assert_eq!(one.line("EXEC"), "*-1\r\n");
    assert_eq!(one.line("GET k"), "$6\r\ntheirs\r\n");
}

#[test]
fn who_blocks_first_is_served_first() {
    const COUNT: usize = 10;
    let server = RedisServer::start();
    for _ in 0..3 {
        // No connection is there yet for any of them.
        let front = Front::of(Kind::Unix, &server);
        let (mut pusher, mut direct) = (front.client(), server.client());
        let mut waiters: Vec<Client> = (0..COUNT).map(|_| front.client()).collect();
        assert!(waiters.iter_mut().all(|waiter| waiter.line("PING") == "+PONG\r\n"));
        for round in 0..2 {
            for (number, waiter) in waiters.iter_mut().enumerate() {
                waiter.send(&request("BLPOP queue 0"));
                // As soon as it was read; its connection to the server may not be ready.
                wait_until("it to wait", PATIENCE, || {
                    let list = pusher.cmd(&["CLIENT", "LIST"]);
                    String::from_utf8_lossy(&list).matches(" flags=b").count() > number
                });
            }
            wait_until("all of them to wait", PATIENCE, || {
                direct.line("INFO clients").contains(&format!("blocked_clients:{COUNT}\r\n"))
            });
            for (number, waiter) in waiters.iter_mut().enumerate() {
                pusher.line(&format!("RPUSH queue {number}"));
                let element = number.to_string();
                let wanted = [b"*2\r\n".to_vec(), bulk(b"queue"), bulk(element.as_bytes())].concat();
                assert_eq!(show(&waiter.reply()), show(&wanted), "round {round}");
            }
        }
    }
}

#[test]
fn who_waits_for_data_can_be_unblocked() {
    let server = RedisServer::start();
    let fronts = [&["-maxProcesses=1"][..], &["-maxProcesses=3"]];
    for front in fronts.map(|flags| Rmux::in_front_of(Kind::Unix, &[&server], flags)) {
        for protocol in ["2", "3"] {
            for command in ["BLPOP list 0", "BLMOVE a b LEFT LEFT 0", "BZPOPMIN z 0", "XREAD BLOCK 0 STREAMS s $"] {
                for reason in ["", " TIMEOUT", " ERROR"] {
                    let unblocked = |mut waiter: Client, mut asker: Client| {
                        waiter.cmd(&["HELLO", protocol]);
                        let id = waiter.line("CLIENT ID").trim_end().replace(':', "");
                        waiter.send(&request(command));
                        let unblock = format!("CLIENT UNBLOCK {id}{reason}");
                        wait_until("it to wait, and to be unblocked", PATIENCE, || asker.line(&unblock) == ":1\r\n");
                        assert_eq!(asker.line(&unblock), ":0\r\n", "it does not wait any more");
                        let reply = show(&waiter.reply());
                        assert_eq!(waiter.line("ECHO on"), "$2\r\non\r\n");
                        reply
                    };
                    let wanted = unblocked(server.client(), server.client());
                    let got = unblocked(front.client(), front.client());
                    assert_eq!(got, wanted, "{command}{reason} in RESP{protocol}");
                }
            }
        }
    }
}

#[test]
fn a_client_that_dies_in_a_transaction_leaves_nothing_behind() {
    let server = RedisServer::start();
    let front = Front::of(Kind::Unix, &server);
    for round in 0..20 {
        let mut victim = front.client();
        victim.line("WATCH k");
        victim.line("MULTI");
        assert_eq!(victim.line(&format!("SET k {round}")), "+QUEUED\r\n");
        drop(victim);
        // Whoever comes next is in no transaction, and watches nothing.
        let mut next = front.client();
        assert_eq!(next.line("GET k"), "$-1\r\n");
        assert_eq!(next.line("MULTI"), "+OK\r\n");
        assert_eq!(next.line("GET k"), "+QUEUED\r\n");
        assert_eq!(next.line("EXEC"), "*1\r\n$-1\r\n");
    }
}

#[test]
fn transactions_in_a_row_use_the_same_connections() {
    if is_direct() {
        return;
    }
    let server = RedisServer::start();
    let front = Front::of(Kind::Unix, &server);
    let mut client = front.client();
    for round in 0..200 {
        client.line("MULTI");
        client.line("INCR counter");
        assert_eq!(client.line("EXEC"), format!("*1\r\n:{}\r\n", round + 1));
    }
    let mut direct = server.client();
    let clients = direct.line("CLIENT LIST").matches("cmd=").count();
    // The shared one, the leased one, and this one; and one more that the test's own start may have made.
    assert!(clients <= 4, "{clients} connections");
}

#[test]
fn what_waits_longer_than_the_read_timeout_still_gets_its_reply() {
    let server = RedisServer::start();
    let front = Front::with(Kind::Unix, &server, &["-remoteTimeout=200"]);
    let mut client = front.client();
    // 0.6 seconds of waiting against a read timeout of 0.2.
    assert_eq!(client.line("BLPOP nothing 0.6"), "*-1\r\n");
    assert_eq!(client.line("XREAD BLOCK 600 STREAMS nothing $"), "*-1\r\n");
    assert_eq!(client.line("PING"), "+PONG\r\n");
}

#[test]
fn what_is_sent_behind_a_waiting_command_has_its_turn_after_it() {
    let server = RedisServer::start();
    let front = Front::of(Kind::Unix, &server);
    let mut client = front.client();
    client.send(&[request("BLPOP list 0"), request("PING"), request("SET after 1")].concat());
    let mut other = front.client();
    assert_eq!(other.line("GET after"), "$-1\r\n");
    assert_eq!(other.line("RPUSH list x"), ":1\r\n");
    assert_eq!(show(&client.reply()), "*2\r\n$4\r\nlist\r\n$1\r\nx\r\n");
    assert_eq!(show(&client.reply()), "+PONG\r\n");
    assert_eq!(show(&client.reply()), "+OK\r\n");
}

#[test]
fn a_client_that_leaves_while_it_waits_takes_no_element_with_it() {
    let server = RedisServer::start();
    let front = Front::of(Kind::Unix, &server);
    for _ in 0..20 {
        let mut leaver = front.client();
        leaver.send(&request("BRPOP list 0"));
        let mut direct = server.client();
        wait_until("the client waits", PATIENCE, || direct.line("INFO clients").contains("blocked_clients:1"));
        drop(leaver);
        wait_until("nobody waits any more", PATIENCE, || direct.line("INFO clients").contains("blocked_clients:0"));
        let mut pusher = front.client();
        assert_eq!(pusher.line("LPUSH list x"), ":1\r\n");
        assert_eq!(pusher.line("RPOP list"), "$1\r\nx\r\n");
    }
}

#[test]
fn leases_are_bounded_and_who_finds_none_waits_and_is_told() {
    if is_direct() {
        return;
    }
    let server = RedisServer::start();
    let rmux = Rmux::in_front_of(Kind::Unix, &[&server], &["-poolSize=4", "-remoteConnectTimeout=3000"]);
    let mut direct = server.client();
    let mut waiting: Vec<Client> = (0..3).map(|_| rmux.client()).collect();
    for (number, client) in waiting.iter_mut().enumerate() {
        client.send(&request("BLPOP list 0"));
        let wanted = format!("blocked_clients:{}\r\n", number + 1);
        wait_until("it waits", PATIENCE, || direct.line("INFO clients").contains(&wanted));
    }
    let mut fourth = rmux.client();
    let told = fourth.line("BLPOP list 0");
    assert!(told.starts_with("-ERR No connection to ") && told.ends_with("became free within 3000 ms\r\n"), "{told}");
    // The one that is left serves everybody else.
    assert_eq!(fourth.line("PING"), "+PONG\r\n");
    assert_eq!(fourth.line("GET x"), "$-1\r\n");
    // In the order in which they came.
    fourth.send(&request("BLPOP list 0"));
    for client in &mut waiting {
        assert_eq!(direct.line("RPUSH list x"), ":1\r\n");
        assert_eq!(show(&client.reply()), "*2\r\n$4\r\nlist\r\n$1\r\nx\r\n");
    }
    wait_until("the fourth waits", PATIENCE, || direct.line("INFO clients").contains("blocked_clients:1"));
    assert_eq!(direct.line("RPUSH list y"), ":1\r\n");
    assert_eq!(show(&fourth.reply()), "*2\r\n$4\r\nlist\r\n$1\r\ny\r\n");
}

#[test]
fn five_hundred_clients_wait_where_the_bounds_allow_it() {
    const COUNT: usize = 500;
    if is_direct() {
        return;
    }
    let limit = raise_descriptor_limit();
    if limit < 3 * COUNT {
        eprintln!("skipped: {limit} descriptors are too few for {COUNT} clients and as many connections (ulimit -n)");
        return;
    }
    let server = RedisServer::start();
    let flags = ["-poolSize=501", "-remoteTimeout=20000"];
    let rmux = Rmux::in_front_of(Kind::Unix, &[&server], &flags);
    let mut direct = server.client();
    let mut waiting: Vec<Client> = (0..COUNT).map(|_| rmux.client()).collect();
    for (number, client) in waiting.iter_mut().enumerate() {
        client.send(&request(&format!("BLPOP list:{number} 0")));
    }
    wait_until("all of them wait", PATIENCE, || direct.line("INFO clients").contains("blocked_clients:500\r\n"));
    // The one connection that is left serves everybody else.
    let mut other = rmux.client();
    for number in (0..COUNT).rev() {
        assert_eq!(other.line(&format!("RPUSH list:{number} {number}")), ":1\r\n");
    }
    for (number, client) in waiting.iter_mut().enumerate() {
        let wanted =
            [b"*2\r\n".to_vec(), bulk(format!("list:{number}").as_bytes()), bulk(number.to_string().as_bytes())];
        assert_eq!(show(&client.reply()), show(&wanted.concat()));
    }
    // Nobody holds anything any more: all can wait again.
    for client in &mut waiting {
        client.send(&request("BLPOP again 0"));
    }
    wait_until("all of them wait", PATIENCE, || direct.line("INFO clients").contains("blocked_clients:500\r\n"));
    drop(waiting);
    wait_until("none of them waits", PATIENCE, || direct.line("INFO clients").contains("blocked_clients:0\r\n"));
}

#[test]
fn of_five_hundred_clients_those_beyond_the_bound_queue_and_are_told() {
    const COUNT: usize = 500;
    const LEASES: usize = 40;
    if is_direct() {
        return;
    }
    let count = sockets_affordable(COUNT);
    let server = RedisServer::start();
    let flags = ["-poolSize=100", "-leaseMax=40", "-remoteConnectTimeout=4000"];
    let rmux = Rmux::in_front_of(Kind::Unix, &[&server], &flags);
    let mut direct = server.client();
    let mut waiting: Vec<Client> = (0..count).map(|_| rmux.client()).collect();
    let first_come: Vec<Client> = waiting.drain(..LEASES).collect();
    let mut first_come = first_come;
    for client in &mut first_come {
        client.send(&request("BLPOP list 0"));
    }
    wait_until("as many wait as may", PATIENCE, || direct.line("INFO clients").contains("blocked_clients:40\r\n"));
    for client in &mut waiting {
        client.send(&request("BLPOP list 0"));
    }
    // What they have is theirs, and no more: the others are served from the rest of the pool.
    let mut other = rmux.client();
    assert_eq!(other.line("SET k v"), "+OK\r\n");
    assert!(direct.line("INFO clients").contains("blocked_clients:40\r\n"));
    // Who has waited long enough is told, and can go on.
    for client in &mut waiting {
        let told = show(&client.reply());
        assert!(told.starts_with("-ERR No connection to ") && told.ends_with("within 4000 ms\r\n"), "{told}");
    }
    for client in &mut waiting {
        assert_eq!(client.line("GET k"), "$1\r\nv\r\n");
    }
    assert!(direct.line("INFO clients").contains("blocked_clients:40\r\n"));
    // When one lease ends, the next in line has it at once.
    waiting[0].send(&request("BLPOP list 0"));
    assert_eq!(other.line("RPUSH list x"), ":1\r\n");
    wait_until("the next one waits", PATIENCE, || direct.line("INFO clients").contains("blocked_clients:40\r\n"));
    drop(first_come);
    wait_until("it alone", PATIENCE, || direct.line("INFO clients").contains("blocked_clients:1\r\n"));
    assert_eq!(other.line("RPUSH list y"), ":1\r\n");
    assert_eq!(show(&waiting[0].reply()), "*2\r\n$4\r\nlist\r\n$1\r\ny\r\n");
}

#[test]
fn a_pool_of_one_says_that_it_has_nothing_to_lease() {
    if is_direct() {
        return;
    }
    let server = RedisServer::start();
    let rmux = Rmux::in_front_of(Kind::Unix, &[&server], &["-poolSize=1"]);
    let mut client = rmux.client();
    assert_eq!(client.line("BLPOP list 0"), "-ERR poolSize is 1: no connection can be held for this command\r\n");
    // A transaction that stands whole in the buffer needs none.
    client.send(&[request("MULTI"), request("SET a 1"), request("GET a"), request("EXEC")].concat());
    let replies: Vec<String> = client.replies(4).iter().map(|reply| show(reply)).collect();
    assert_eq!(replies, ["+OK\r\n", "+QUEUED\r\n", "+QUEUED\r\n", "*2\r\n+OK\r\n$1\r\n1\r\n"]);
}

#[test]
fn wait_is_about_the_writes_of_its_own_client() {
    let server = RedisServer::start();
    let mut replica = RedisServer::prepare(&[]);
    replica.revive();
    let mut replica_client = replica.client();
    let Some(port) = server.address(Kind::Tcp).flag_value().rsplit(':').next().map(str::to_owned) else {
        panic!("a TCP address has a port");
    };
    assert_eq!(replica_client.line(&format!("REPLICAOF 127.0.0.1 {port}")), "+OK\r\n");
    wait_until("the replica is there", PATIENCE, || replica_client.line("INFO replication").contains("link_status:up"));
    let front = Front::of(Kind::Unix, &server);
    let mut client = front.client();
    assert_eq!(client.line("SET k v"), "+OK\r\n");
    assert_eq!(client.line("WAIT 1 5000"), ":1\r\n");
    // One that never comes: it waits, and others are served meanwhile.
    assert_eq!(client.line("SET k w"), "+OK\r\n");
    client.send(&request("WAIT 2 700"));
    assert_eq!(front.client().line("GET k"), "$1\r\nw\r\n");
    assert_eq!(show(&client.reply()), ":1\r\n");
}

#[test]
fn a_transaction_whose_server_dies_is_not_run_and_says_so() {
    if is_direct() {
        return;
    }
    let mut server = RedisServer::start();
    let rmux = Rmux::in_front_of(Kind::Unix, &[&server], &[]);
    let mut client = rmux.client();
    assert_eq!(client.line("MULTI"), "+OK\r\n");
    assert_eq!(client.line("SET k v"), "+QUEUED\r\n");
    server.kill();
    server.revive();
    wait_until("rmux is connected again", PATIENCE, || rmux.client().line("GET k") == "$-1\r\n");
    let told = client.line("EXEC");
    assert!(told.starts_with("-EXECABORT"), "{told}");
    assert_eq!(client.line("GET k"), "$-1\r\n");
}

#[test]
fn with_several_servers_a_transaction_lives_on_one() {
    if is_direct() {
        return;
    }
    let servers: Vec<RedisServer> = (0..3).map(|_| RedisServer::start()).collect();
    let rmux = Rmux::in_front_of(Kind::Tcp, &servers.iter().collect::<Vec<_>>(), &[]);
    let keys = key_for_each(3);
    let mut client = rmux.client();
    assert_eq!(show(&client.cmd(&["MULTI"])), "+OK\r\n");
    assert_eq!(show(&client.cmd(&[b"SET".as_slice(), &keys[1], b"1"])), "+QUEUED\r\n");
    assert_eq!(show(&client.cmd(&[b"GET".as_slice(), &keys[1]])), "+QUEUED\r\n");
    assert_eq!(show(&client.cmd(&["EXEC"])), "*2\r\n+OK\r\n$1\r\n1\r\n");
    assert_eq!(show(&client.cmd(&["MULTI"])), "+OK\r\n");
    assert_eq!(show(&client.cmd(&[b"SET".as_slice(), &keys[1], b"2"])), "+QUEUED\r\n");
    let told = show(&client.cmd(&[b"SET".as_slice(), &keys[2], b"2"]));
    assert!(told.starts_with("-CROSSSLOT"), "{told}");
    let told = show(&client.cmd(&["EXEC"]));
    assert!(told.starts_with("-EXECABORT"), "{told}");
    assert_eq!(show(&client.cmd(&[b"GET".as_slice(), &keys[1]])), show(&bulk(b"1")));
    // What has no key goes with what has one, whichever comes first.
    assert_eq!(show(&client.cmd(&["MULTI"])), "+OK\r\n");
    for words in [&["PING"][..], &["SELECT", "1"], &["CLIENT", "GETNAME"], &["ROLE"]] {
        assert_eq!(show(&client.cmd(words)), "+QUEUED\r\n");
    }
    assert_eq!(show(&client.cmd(&[b"GET".as_slice(), &keys[2]])), "+QUEUED\r\n");
    let role = "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n";
    assert_eq!(show(&client.cmd(&["EXEC"])), format!("*5\r\n+PONG\r\n+OK\r\n$-1\r\n{role}$-1\r\n"));
    assert_eq!(show(&client.cmd(&[b"SET".as_slice(), &keys[2], b"in 1"])), "+OK\r\n");
    assert_eq!(servers[2].client().line("INFO keyspace").matches("db1:keys=1").count(), 1);
    assert_eq!(client.line("SELECT 0"), "+OK\r\n");
    // Blocking, on the server that has the key.
    client.set_patience(Duration::from_secs(20));
    client.send(&encode(&[b"BLPOP".as_slice(), &keys[0], b"0"]));
    assert_eq!(show(&servers[0].client().cmd(&[b"RPUSH".as_slice(), &keys[0], b"x"])), ":1\r\n");
    assert_eq!(show(&client.reply()), show(&[b"*2\r\n".to_vec(), bulk(&keys[0]), bulk(b"x")].concat()));
}

#[test]
fn what_has_no_key_is_a_step_of_a_transaction_wherever_that_is() {
    let servers: Vec<RedisServer> = (0..3).map(|_| RedisServer::start()).collect();
    let rmux = Rmux::in_front_of(Kind::Unix, &servers.iter().collect::<Vec<_>>(), &[PATIENT]);
    for key in key_for_each(3) {
        let mut client = rmux.client();
        let key = String::from_utf8(key).expect("a key of letters");
        assert_eq!(client.line("MULTI"), "+OK\r\n");
        for step in [&format!("SET {key} v"), "EVAL return(7) 0", "ZUNIONSTORE there -1 x", "PING"] {
            assert_eq!(client.line(step), "+QUEUED\r\n", "{step}");
        }
        let wanted = "*4\r\n+OK\r\n:7\r\n-ERR at least 1 input key is needed for 'zunionstore' command\r\n+PONG\r\n";
        assert_eq!(client.line("EXEC"), wanted);
    }
}

#[test]
fn a_request_of_the_wrong_length_is_told_so_before_its_keys_are_looked_at() {
    let servers: Vec<RedisServer> = (0..3).map(|_| RedisServer::start()).collect();
    let rmux = Rmux::in_front_of(Kind::Tcp, &servers.iter().collect::<Vec<_>>(), &[PATIENT]);
    let keys: Vec<String> =
        key_for_each(3).into_iter().map(|key| String::from_utf8(key).expect("a key of letters")).collect();
    let mut client = rmux.client();
    let wrong = "-ERR wrong number of arguments for 'rename' command\r\n";
    assert_eq!(client.line(&format!("RENAME {} {} {}", keys[0], keys[1], keys[2])), wrong);
    assert!(client.line(&format!("RENAME {} {}", keys[0], keys[1])).starts_with("-CROSSSLOT "));
    assert_eq!(client.line("MULTI"), "+OK\r\n");
    assert_eq!(client.line(&format!("GET {}", keys[0])), "+QUEUED\r\n");
    assert_eq!(client.line(&format!("RENAME {}", keys[1])), wrong);
    assert_eq!(client.line("EXEC"), "-EXECABORT Transaction discarded because of previous errors.\r\n");
}
