//! What a client can learn of the others, and do to them.

use super::*;

fn unblock(client: Id, reason: &[&str]) -> String {
    request(&[&["CLIENT", "UNBLOCK", &client.generation().to_string()], reason].concat())
}

/// The line of this client in a CLIENT LIST.
fn line_of(bench: &mut Bench, client: Id) -> String {
    let asker = bench.client();
    bench.say(asker, request(&["CLIENT", "LIST"]));
    let list = bench.told(asker);
    bench.proxy.handle_client_end(asker);
    bench.turn();
    let start = format!("id={} ", client.generation());
    let mut lines = list.lines();
    lines.find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("no {start:?} in {list:?}")).to_owned()
}

fn assert_shown(bench: &mut Bench, client: Id, fields: &[&str]) {
    let line = line_of(bench, client) + " ";
    for field in fields {
        assert!(line.contains(&format!(" {field} ")), "{field} is not in {line}");
    }
}

#[test]
fn a_list_shows_what_each_client_asked_for_last() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    assert_shown(&mut bench, client, &["cmd=NULL"]);
    let pubsub = request(&["PUBSUB", "NUMSUB", "c"]);
    for (asked, name, reply) in [
        (get("k"), "get", "$-1\r\n"),
        (get("k") + &set("k", "1"), "set", "$-1\r\n+OK\r\n"),
        (request(&["PING"]), "ping", ""),
        (pubsub, "pubsub|numsub", "*2\r\n$1\r\nc\r\n:0\r\n"),
        (request(&["CONFIG", "SET", "a", "b"]), "config|set", ""),
        (request(&["CLIENT", "LIST"]), "client", ""),
        (request(&["MULTI"]) + &get("k") + &request(&["EXEC"]), "exec", "+OK\r\n+QUEUED\r\n*1\r\n$-1\r\n"),
    ] {
        bench.say(client, asked);
        bench.answer(backends[0], reply);
        assert_shown(&mut bench, client, &[&format!("cmd={name}")]);
    }
}

#[test]
fn a_list_shows_who_has_queued_how_many_steps() {
    let (mut bench, _) = Bench::ready(1, |_| {});
    let client = bench.client();
    assert_shown(&mut bench, client, &["multi=-1", "multi-mem=0"]);
    bench.say(client, request(&["MULTI"]));
    assert_shown(&mut bench, client, &["multi=0", "flags=x", "cmd=multi"]);
    bench.say(client, set("k", "1") + &get("k"));
    assert_shown(&mut bench, client, &["multi=2", "cmd=get"]);
    let id = request(&["CLIENT", "ID"]);
    bench.say(client, &id);
    assert_shown(&mut bench, client, &["multi=3", &format!("multi-mem={}", id.len())]);
}

#[test]
fn a_list_shows_who_is_stuck() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    assert_shown(&mut bench, client, &["qbuf=0", "obl=0", "omem=0", "events=r"]);
    // It has sent half a request, and takes nothing of what it is told.
    bench.set_room(Conn::Client(client), 0);
    bench.say(client, get("k") + &get("k")[..5]);
    bench.answer(backends[0], bulk("0123456789"));
    let len = bulk("0123456789").len();
    assert_shown(&mut bench, client, &["qbuf=5", &format!("obl={len}"), &format!("omem={len}"), "events=rw"]);
    // What came before its turn is memory, too.
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let client = bench.client();
    bench.say(client, get(&key_on(&bench, 0)) + &get(&key_on(&bench, 1)));
    bench.answer(backends[1], bulk("0123456789"));
    assert_shown(&mut bench, client, &["obl=0", &format!("omem={len}"), "events=r"]);
}

#[test]
fn hello_tells_what_the_server_has_told() {
    let mut bench = Bench::new(1, |_| {});
    let backend = bench.next_connect(0);
    bench.proxy.handle_connected(backend, bench.now);
    bench.turn();
    let pairs = [bulk("server") + &bulk("valkey"), bulk("version") + &bulk("9.0.1")];
    let modules = format!("*1\r\n*2\r\n{}{}", bulk("name"), bulk("json"));
    bench.answer(backend, format!("*6\r\n{}{}{modules}+PONG\r\n", pairs.concat(), bulk("modules")));
    let client = bench.client();
    bench.say(client, request(&["HELLO", "3"]));
    let told = bench.told(client);
    assert!(told.starts_with(&format!("%7\r\n{}", pairs.concat())), "{told}");
    assert!(told.ends_with(&modules.replace("*2", "%1")), "{told}");
}

#[test]
fn who_waits_for_data_is_unblocked_by_its_server() {
    for (reason, word) in [(&[][..], "TIMEOUT"), (&["timeout"], "TIMEOUT"), (&["ERROR"], "ERROR")] {
        let (mut bench, backends) = Bench::ready(1, |_| {});
        let (waiter, asker) = (bench.client(), bench.client());
        bench.say(asker, unblock(waiter, reason));
        assert_eq!(bench.told(asker), ":0\r\n", "it does not wait");
        bench.say(waiter, request(&["BLPOP", "list", "0"]));
        bench.say(asker, unblock(waiter, reason));
        assert_eq!(bench.told(asker), ":0\r\n", "the server does not know yet");
        let leased = bench.connect_as(0, 77);
        assert_eq!(bench.asked(leased), request(&["BLPOP", "list", "0"]));
        bench.say(asker, get("before") + &unblock(waiter, reason) + &request(&["PING"]));
        assert_eq!(bench.asked(backends[0]), get("before") + &request(&["CLIENT", "UNBLOCK", "77", word]));
        bench.answer(leased, "*-1\r\n");
        assert_eq!(bench.told(waiter), "*-1\r\n");
        bench.answer(backends[0], "$-1\r\n:1\r\n");
        assert_eq!(bench.told(asker), "$-1\r\n:1\r\n+PONG\r\n");
        assert!(bench.is_closed(Conn::Backend(leased)), "the number might still be used, and hit somebody else");
        bench.say(waiter, get("k"));
        assert_eq!(bench.asked(backends[0]), get("k"));
        bench.answer(backends[0], "$-1\r\n");
        bench.assert_nothing_is_left();
    }
}

#[test]
fn an_unblock_is_not_sent_to_another_server_where_the_number_means_somebody_else() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let (waiter, asker) = (bench.client(), bench.client());
    bench.say(waiter, request(&["BLPOP", "list", "0"]));
    bench.connect_as(0, 77);
    bench.set_room(Conn::Backend(backends[0]), 0);
    bench.say(asker, unblock(waiter, &[]));
    bench.proxy.handle_backend_end(backends[0], bench.now);
    bench.turn();
    let told = bench.told(asker);
    assert!(told.starts_with("-ERR Connection to server-0 lost"), "{told}");
    assert_eq!(bench.asked(backends[0]), "");
}

#[test]
fn an_unblock_is_no_step_of_a_transaction() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    bench.say(client, request(&["MULTI"]) + &unblock(client, &[]) + &request(&["EXEC"]));
    let leased = bench.connect(0);
    bench.answer(leased, "+OK\r\n+QUEUED\r\n*1\r\n+PONG\r\n");
    let expected = "+OK\r\n+QUEUED\r\n*1\r\n-ERR This command is not supported\r\n";
    assert_eq!(bench.told(client) + &bench.asked(backends[0]), expected);
}

/// Turns until nothing is to be done at once; the most replies of one turn, by their first byte.
fn most_in_a_turn(bench: &mut Bench, client: Id, kind: char) -> (usize, usize) {
    let (mut all, mut most) = (0, 0);
    loop {
        let told = bench.told(client);
        let count = told.lines().filter(|line| line.starts_with(kind)).count();
        (all, most) = (all + count, most.max(count));
        if bench.proxy.next_deadline().is_none_or(|deadline| deadline >= bench.now) {
            return (all, most);
        }
        bench.turn();
    }
}

#[test]
fn requests_about_very_many_clients_are_answered_over_several_turns() {
    let (mut bench, backends) = Bench::ready(1, |settings| settings.limits.client_unread_pause_bytes = 64 << 20);
    let clients: Vec<Id> = (0..3_000).map(|_| bench.client()).collect();
    let (asker, other) = (clients[0], clients[1]);
    let kill = request(&["CLIENT", "KILL", "ID", "999999"]);
    bench.hear(asker, kill.repeat(200) + &get("k"));
    bench.hear(other, request(&["CLIENT", "UNBLOCK", "999999"]));
    bench.turn();
    assert_eq!(bench.asked(backends[0]), "", "it is behind the others");
    let (all, most) = most_in_a_turn(&mut bench, asker, ':');
    assert_eq!(all, 200);
    assert!(most < 20, "{most} searches of 3,000 clients in one turn");
    assert_eq!(bench.told(other), ":0\r\n");
    assert_eq!(bench.asked(backends[0]), get("k"));
    bench.answer(backends[0], bulk("v"));
    assert_eq!(bench.told(asker), bulk("v"));

    bench.say(asker, request(&["CLIENT", "LIST"]).repeat(5));
    assert_eq!(most_in_a_turn(&mut bench, asker, '$'), (5, 1));
    bench.assert_nothing_is_left();
}

#[test]
fn who_is_deferred_is_served_before_those_who_ask_later() {
    let (mut bench, _) = Bench::ready(1, |_| {});
    let clients: Vec<Id> = (0..3_000).map(|_| bench.client()).collect();
    let list = request(&["CLIENT", "LIST"]);
    bench.hear(clients[0], &list);
    for &client in &clients[1..4] {
        bench.hear(client, &list);
    }
    // One that leaves is not waited for; one that sent nothing else and ends is answered.
    bench.proxy.handle_client_broken(clients[2]);
    bench.proxy.handle_client_end(clients[3]);
    bench.turn();
    for expected in [0, 1, 3, 5] {
        let told: Vec<usize> = (0..6).filter(|&index| bench.told(clients[index]).starts_with('$')).collect();
        assert_eq!(told, [expected]);
        if expected < 3 {
            bench.hear(clients[5], &list);
        }
        bench.turn();
    }
    assert!(bench.is_closed(Conn::Client(clients[3])));
}

#[test]
fn a_transaction_asks_about_all_clients_a_few_times_only() {
    const TOO_MANY: &str = "-ERR Too many session commands in one transaction\r\n";
    let list = request(&["CLIENT", "LIST"]).repeat(5);
    let (mut bench, _) = Bench::ready(2, |_| {});
    let client = bench.client();
    bench.say(client, request(&["MULTI"]));
    bench.say(client, &list);
    assert_eq!(bench.told(client), "+OK\r\n".to_owned() + &"+QUEUED\r\n".repeat(4) + TOO_MANY);

    let (mut bench, _) = Bench::ready(1, |_| {});
    let client = bench.client();
    bench.say(client, request(&["MULTI"]));
    bench.say(client, &list);
    let leased = bench.connect(0);
    bench.answer(leased, "+OK\r\n".to_owned() + &"+QUEUED\r\n".repeat(4));
    assert_eq!(bench.told(client), "+OK\r\n".to_owned() + &"+QUEUED\r\n".repeat(4) + TOO_MANY);
}

/// Two servers, and a client that has asked both for an INFO in between two other requests.
fn asked_for_info(words: &[&str]) -> (Bench, Vec<Id>, Id) {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let client = bench.client();
    let pipeline = get(&key_on(&bench, 0)) + &request(words) + &request(&["ECHO", "x"]);
    bench.say(client, pipeline);
    assert_eq!(bench.asked(backends[0]), get(&key_on(&bench, 0)) + &request(words));
    assert_eq!(bench.asked(backends[1]), request(words));
    (bench, backends, client)
}

#[test]
fn info_of_several_servers_is_what_each_tells_together_and_has_its_place() {
    let (mut bench, backends, client) = asked_for_info(&["INFO", "all"]);
    bench.answer(backends[1], bulk("# Memory\r\nused_memory:5\r\ndb0:keys=2,expires=1\r\n"));
    bench.answer(backends[0], bulk("1"));
    assert_eq!(bench.told(client), bulk("1"));
    bench.answer(backends[0], bulk("used_memory:6\r\ndb0:keys=1,expires=1\r\n"));
    let told = bench.told(client);
    assert!(told.contains("\r\nused_memory:11\r\n") && told.contains("\r\ndb0:keys=3,expires=2\r\n"), "{told}");
    assert!(told.contains("\r\nserver0_requests:1\r\n"), "what rmux asks for itself is asked afterwards: {told}");
    assert!(told.ends_with(&bulk("x")), "{told}");
    bench.assert_nothing_is_left();
}

#[test]
fn what_a_server_does_not_tell_is_missing_from_info_and_nothing_else() {
    // It refuses.
    let (mut bench, backends, client) = asked_for_info(&["INFO"]);
    bench.answer(backends[0], bulk("1") + "-NOPERM no permissions\r\n");
    bench.answer(backends[1], bulk("used_memory:5\r\n"));
    let told = bench.told(client);
    assert!(told.contains("\r\nused_memory:5\r\n") && !told.contains("NOPERM"), "{told}");
    assert!(told.ends_with(&bulk("x")), "{told}");
    bench.assert_nothing_is_left();
    // It is lost in the middle of its reply.
    let (mut bench, backends, client) = asked_for_info(&["INFO"]);
    bench.answer(backends[0], bulk("1"));
    bench.answer(backends[1], &bulk("used_memory:5\r\n")[..12]);
    bench.proxy.handle_backend_end(backends[1], bench.now);
    bench.answer(backends[0], bulk("used_memory:7\r\n"));
    bench.turn();
    let told = bench.told(client);
    assert!(told.contains("\r\nused_memory:7\r\n") && told.ends_with(&bulk("x")), "{told}");
    // None is up.
    for server in [0, 1] {
        bench.proxy.handle_backend_end(backends[server], bench.now);
        bench.turn();
        bench.refuse(server as u16);
    }
    bench.say(client, request(&["INFO"]));
    let told = bench.told(client);
    assert!(told.contains("\r\nserver1_state:down\r\n") && !told.contains("used_memory"), "{told}");
    bench.assert_nothing_is_left();
}

#[test]
fn who_leaves_while_servers_tell_their_info_leaves_nothing_behind() {
    let (mut bench, backends, client) = asked_for_info(&["INFO"]);
    bench.proxy.handle_client_broken(client);
    bench.turn();
    bench.answer(backends[0], bulk("1") + &bulk("used_memory:7\r\n"));
    bench.answer(backends[1], bulk("used_memory:7\r\n"));
    bench.assert_nothing_is_left();
}
