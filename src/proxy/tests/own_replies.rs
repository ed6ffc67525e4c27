//! Replies of rmux's own: they are bounded for one who does not read, and wait their turn.

use super::bulk::{Servers, write_all};
use super::*;

/// Lets turns pass until nothing is left to do in them.
fn turns(bench: &mut Bench) {
    while bench.proxy.next_deadline() == Some(Millis(0)) {
        bench.turn();
    }
}

/// What a client is sent that reads all that there is, in pieces of this size.
fn read_all(bench: &mut Bench, client: Id, piece: usize) -> String {
    let mut told = String::new();
    loop {
        bench.make_room(Conn::Client(client), piece);
        turns(bench);
        match bench.told(client) {
            news if news.is_empty() => return told,
            news => told += &news,
        }
    }
}

#[test]
fn long_replies_of_ones_own_do_not_multiply_for_one_who_does_not_read() {
    let list = request(&["CLIENT", "LIST"]);
    let transaction = request(&["MULTI"]) + &list.repeat(3) + &request(&["EXEC"]);
    for (requests, heads) in [(list.repeat(100), 100), (transaction.repeat(10), 30)] {
        let (mut bench, backends) = Bench::ready(1, |settings| {
            settings.limits.client_unread_pause_bytes = 20_000;
        });
        let others: Vec<Id> = (0..200).map(|_| bench.client()).collect();
        let client = bench.client();
        bench.say(others[0], &list);
        turns(&mut bench);
        let len = bench.told(others[0]).len();
        bench.set_room(Conn::Client(client), 0);
        bench.say(client, &requests);
        let mut servers = Servers::new(backends, String::new());
        let mut told = String::new();
        // A server that queues what it is given, and runs it.
        let mut serve = |bench: &mut Bench| loop {
            turns(bench);
            while let Some(&(_, server)) = bench.connects.first() {
                let backend = bench.connect(server);
                servers.backends.push(backend);
            }
            let mut is_news = false;
            for backend in servers.backends.clone() {
                let asked = bench.asked(backend);
                let mut replies = String::new();
                for word in asked.split("\r\n") {
                    replies += match word {
                        "MULTI" => "+OK\r\n",
                        "PING" => "+QUEUED\r\n",
                        "EXEC" => "*3\r\n+PONG\r\n+PONG\r\n+PONG\r\n",
                        _ => "",
                    };
                }
                is_news |= !replies.is_empty();
                bench.answer(backend, replies);
            }
            if !is_news {
                return;
            }
        };
        serve(&mut bench);
        let unread = bench.proxy.clients.get(client).expect("it is there").unread();
        assert!(unread < 20_000 + 4 * len, "{unread} bytes are unread; a list has {len}");
        assert!(!bench.proxy.is_listening_to(Conn::Client(client)));
        loop {
            told += &read_all(&mut bench, client, 7_000);
            serve(&mut bench);
            let has_all = told.matches("cmd=client|list").count() == heads;
            if has_all {
                break;
            }
            assert!(!bench.is_closed(Conn::Client(client)), "{} of {heads}", told.matches("cmd=client|list").count());
        }
        bench.say(client, request(&["PING"]));
        assert!(read_all(&mut bench, client, 7_000).ends_with("+PONG\r\n"));
        bench.assert_nothing_is_left();
    }
}

#[test]
fn requests_for_servers_go_on_before_one_that_has_to_wait_until_less_is_unread() {
    let (mut bench, backends) = Bench::ready(1, |settings| {
        settings.limits.client_unread_pause_bytes = 20_000;
    });
    let reply = bulk(&"x".repeat(1_000));
    let mut servers = Servers::new(backends, reply.clone());
    let client = bench.client();
    bench.set_room(Conn::Client(client), 0);
    let list = request(&["CLIENT", "LIST"]);
    let gets = get("k").repeat(300);
    assert_eq!(write_all(&mut bench, client, &mut servers, &(gets.clone() + &gets)).len(), 0);
    assert!(bench.proxy.clients.get(client).is_some_and(|client| client.is_in_bulk() && client.is_open()));
    bench.say(client, list + &gets);
    assert!(!bench.proxy.is_listening_to(Conn::Client(client)));
    let mut told = read_all(&mut bench, client, 7_000);
    while servers.serve(&mut bench) > 0 || !told.ends_with(&reply) || told.matches("$1000").count() < 900 {
        told += &read_all(&mut bench, client, 7_000);
    }
    assert_eq!(told.matches("cmd=client|list").count(), 1);
    bench.assert_nothing_is_left();
}

#[test]
fn small_replies_of_ones_own_are_kept_for_one_who_writes_all_before_it_reads() {
    let text = "y".repeat(100);
    let limits = |settings: &mut Settings| settings.limits.client_unread_bytes_max = 16 * 1024 * 1024;
    for (request, reply) in [(request(&["PING"]), "+PONG\r\n".into()), (request(&["ECHO", &text]), bulk(&text))] {
        let (mut bench, backends) = Bench::ready(1, limits);
        let mut servers = Servers::new(backends, "+".into());
        let client = bench.client();
        bench.set_room(Conn::Client(client), 0);
        let count = 12_000_000 / reply.len();
        assert_eq!(write_all(&mut bench, client, &mut servers, &request.repeat(count)).len(), 0);
        // Past the hard limit it has to read.
        let rest = request.repeat(count);
        let left = write_all(&mut bench, client, &mut servers, &rest).len();
        assert!(left > 0);
        let unread = bench.proxy.clients.get(client).expect("it is there").unread();
        assert!(unread < 17 * 1024 * 1024, "{unread} bytes are unread");
        let mut told = read_all(&mut bench, client, 1_000_000).len();
        assert_eq!(write_all(&mut bench, client, &mut servers, &rest[rest.len() - left..]).len(), 0);
        told += read_all(&mut bench, client, 1_000_000).len();
        assert_eq!(told, 2 * count * reply.len());
        bench.assert_nothing_is_left();
    }
}

#[test]
fn who_never_reads_while_its_requests_wait_for_that_is_told_and_leaves() {
    let (mut bench, _) = Bench::ready(1, |settings| {
        settings.limits.client_unread_pause_bytes = 1_000;
        settings.timeouts.local_request_ms = 3_000;
    });
    let _others: Vec<Id> = (0..20).map(|_| bench.client()).collect();
    let client = bench.client();
    bench.set_room(Conn::Client(client), 0);
    bench.say(client, request(&["CLIENT", "LIST"]).repeat(3) + &request(&["PING"]));
    turns(&mut bench);
    bench.pass(2_000);
    // It has its time anew whenever it takes something.
    bench.make_room(Conn::Client(client), 1);
    bench.pass(2_900);
    assert!(!bench.proxy.is_listening_to(Conn::Client(client)));
    bench.pass(3_000);
    // What it writes is dropped, so that it comes to reading.
    assert!(bench.proxy.is_listening_to(Conn::Client(client)));
    bench.say(client, request(&["PING"]));
    let told = bench.told(client) + &read_all(&mut bench, client, usize::MAX);
    let error = "-ERR Too much is unread, and nothing was read within localRequestTimeout (3000 ms)\r\n";
    assert!(told.ends_with(error), "{told}");
    assert_eq!(told.matches("cmd=client|list").count(), 1);
    assert!(bench.is_closed(Conn::Client(client)));
    bench.assert_nothing_is_left();
}
