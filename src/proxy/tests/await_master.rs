//! Writes that a server refuses because it is no master: held, and sent when there is one.

use super::*;
use crate::proxy::held::HELD_MAX;

const REFUSED: &str = "-READONLY You can't write against a read only replica.\r\n";
const ROLE: &str = "*1\r\n$4\r\nROLE\r\n";
const MASTER: &str = "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n";
const REPLICA: &str = "*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:6379\r\n$9\r\nconnected\r\n:14\r\n";

impl Bench {
    /// A server is asked what it is; it says this.
    fn tell_role(&mut self, backend: Id, role: &str) {
        let start = self.now;
        while self.asked(backend) != ROLE {
            self.pass(1);
            assert!(self.now - start < 100, "it is not asked");
        }
        self.answer(backend, role);
        self.turn();
    }
}

#[test]
fn a_refused_write_waits_for_a_master_and_is_sent_to_it() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    bench.say(client, set("k", "v"));
    assert_eq!(bench.asked(backends[0]), set("k", "v"));
    bench.answer(backends[0], REFUSED);
    assert_eq!(bench.told(client), "", "it may be sent yet");
    assert_eq!(bench.resolves, [bench.proxy.servers()[0]], "its name may be another's");
    bench.tell_role(backends[0], REPLICA);
    bench.tell_role(backends[0], REPLICA);
    assert_eq!((bench.asked(backends[0]), bench.told(client)), (String::new(), String::new()));
    bench.tell_role(backends[0], MASTER);
    assert_eq!(bench.asked(backends[0]), set("k", "v"));
    bench.answer(backends[0], "+OK\r\n");
    assert_eq!(bench.told(client), "+OK\r\n");
    bench.pass(1_000);
    assert!(bench.proxy.held.is_empty());
    bench.assert_nothing_is_left();
    let told = ["it refuses writes (READONLY), which wait until there is a master", "there is a master again, after"];
    assert!(bench.lines.iter().zip(told).all(|(line, text)| line.contains(text)), "{:?}", bench.lines);
    assert_eq!((bench.lines.len(), bench.proxy.stats().held), (2, 1));
}

#[test]
fn without_a_master_in_time_the_client_is_told_what_the_server_said() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    bench.say(client, set("k", "v"));
    bench.pass(100);
    bench.answer(backends[0], REFUSED);
    bench.pass(390);
    assert_eq!(bench.told(client), "");
    bench.pass(15);
    assert_eq!(bench.told(client), REFUSED, "500 ms after it was asked");
    bench.answer(backends[0], REPLICA);
    bench.say(client, get("k"));
    assert!(bench.asked(backends[0]).ends_with(&get("k")), "it is read again");
    bench.answer(backends[0], "$1\r\nx\r\n");
    bench.pass(1_000);
    bench.assert_nothing_is_left();
}

#[test]
fn nothing_of_the_same_client_overtakes_what_is_held() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let (client, other) = (bench.client(), bench.client());
    let pipeline = [get("k"), set("k", "1"), get("k"), set("k", "2"), get("k")];
    bench.say(client, pipeline.concat());
    bench.say(other, get("k"));
    bench.asked(backends[0]);
    bench.answer(backends[0], "$1\r\n0\r\n");
    bench.answer(backends[0], REFUSED);
    bench.say(client, set("k", "3"));
    bench.answer(backends[0], format!("$1\r\n0\r\n{REFUSED}$1\r\n0\r\n$1\r\n0\r\n"));
    assert_eq!(bench.told(client), "$1\r\n0\r\n", "what was before the first write");
    assert_eq!(bench.told(other), "$1\r\n0\r\n", "it waits for nothing");
    bench.say(other, get("k"));
    assert_eq!(bench.asked(backends[0]), get("k"));
    bench.answer(backends[0], "$1\r\n0\r\n");
    bench.tell_role(backends[0], MASTER);
    assert_eq!(bench.asked(backends[0]), pipeline[1..].concat(), "reads too: they should have seen the writes");
    bench.answer(backends[0], "+OK\r\n$1\r\n1\r\n");
    bench.answer(backends[0], "+OK\r\n$1\r\n2\r\n");
    assert_eq!(bench.told(client), "+OK\r\n$1\r\n1\r\n+OK\r\n$1\r\n2\r\n");
    assert_eq!(bench.asked(backends[0]), set("k", "3"), "what it said since is behind them");
    bench.answer(backends[0], "+OK\r\n");
    assert_eq!(bench.told(client), "+OK\r\n");
}

#[test]
fn what_was_refused_before_something_that_was_run_comes_too_late() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    bench.say(client, set("k", "1") + &get("k") + &set("k", "2") + &set("k", "3"));
    bench.asked(backends[0]);
    bench.answer(backends[0], format!("{REFUSED}$1\r\n0\r\n+OK\r\n{REFUSED}"));
    assert_eq!(bench.told(client), format!("{REFUSED}$1\r\n0\r\n+OK\r\n"), "1 must not be behind 2");
    bench.tell_role(backends[0], MASTER);
    assert_eq!(bench.asked(backends[0]), set("k", "3"));
    bench.answer(backends[0], "+OK\r\n");
    assert_eq!(bench.told(client), "+OK\r\n");
    bench.assert_nothing_is_left();
}

#[test]
fn what_was_refused_before_something_that_may_have_been_run_comes_too_late_as_well() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let clients = [bench.client(), bench.client()];
    for client in clients {
        bench.say(client, set("k", "1") + &set("k", "2"));
    }
    // The one's second write is not answered in time, and the other's connection breaks.
    bench.answer(backends[0], REFUSED);
    assert_eq!(bench.told(clients[0]), "");
    bench.proxy.handle_backend_end(backends[0], bench.now);
    bench.turn();
    let told = bench.told(clients[0]);
    assert!(told.starts_with(REFUSED) && told.contains("may have been run"), "{told}");
    bench.connect(0);
    bench.pass(600);
    bench.assert_nothing_is_left();
}

#[test]
fn what_was_not_sent_when_the_connection_broke_stays_behind_what_is_held() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    bench.say(client, set("k", "1"));
    let conn = Conn::Backend(backends[0]);
    bench.set_room(conn, 0);
    bench.say(client, set("k", "2") + &get("k"));
    bench.answer(backends[0], REFUSED);
    bench.proxy.handle_backend_broken(backends[0], "reset", bench.now);
    bench.turn();
    let next = bench.connect(0);
    assert_eq!((bench.asked(next), bench.told(client)), (String::new(), String::new()));
    bench.tell_role(next, MASTER);
    assert_eq!(bench.asked(next), set("k", "1") + &set("k", "2") + &get("k"));
    bench.answer(next, "+OK\r\n+OK\r\n$1\r\n2\r\n");
    assert_eq!(bench.told(client), "+OK\r\n+OK\r\n$1\r\n2\r\n");
    bench.assert_nothing_is_left();
}

#[test]
fn what_is_refused_once_more_keeps_its_place_in_front_of_what_was_not_sent() {
    let (mut bench, backends) = Bench::ready(1, |settings| {
        settings.limits.pipeline_max = 2;
        settings.pool_size = 1;
        settings.timeouts.remote_read_ms = 10_000;
    });
    let client = bench.client();
    let writes: Vec<String> = (0..4).map(|n| set("k", &n.to_string())).collect();
    // Two at a time: the others are sent when these are answered; so they are held by two refusals.
    bench.say(client, writes.concat());
    bench.answer(backends[0], REFUSED.repeat(2));
    bench.asked(backends[0]);
    bench.tell_role(backends[0], MASTER);
    assert_eq!(bench.asked(backends[0]), writes[..2].concat());
    bench.answer(backends[0], REFUSED);
    bench.answer(backends[0], REFUSED);
    bench.tell_role(backends[0], MASTER);
    assert_eq!(bench.asked(backends[0]), writes[..2].concat());
    bench.answer(backends[0], "+OK\r\n+OK\r\n");
    assert_eq!(bench.asked(backends[0]), writes[2..].concat());
    bench.answer(backends[0], "+OK\r\n+OK\r\n");
    assert_eq!(bench.told(client), "+OK\r\n".repeat(4));
    bench.assert_nothing_is_left();
}

#[test]
fn more_than_one_connection_takes_is_sent_in_turns_and_in_order() {
    let (mut bench, backends) = Bench::ready(1, |settings| settings.timeouts.remote_read_ms = 10_000);
    let client = bench.client();
    let writes: Vec<String> = (0..6).map(|n| set("k", &n.to_string())).collect();
    bench.say(client, writes.concat());
    bench.asked(backends[0]);
    bench.answer(backends[0], REFUSED.repeat(6));
    bench.settle_pipeline(2);
    bench.tell_role(backends[0], MASTER);
    assert_eq!(bench.asked(backends[0]), writes[..2].concat());
    // The first of these is refused again, and stands before those that were not sent; the second was run.
    bench.answer(backends[0], REFUSED);
    bench.answer(backends[0], "+OK\r\n");
    assert_eq!(bench.told(client), format!("{REFUSED}+OK\r\n"));
    bench.tell_role(backends[0], MASTER);
    for pair in writes[2..].chunks(2) {
        assert_eq!(bench.asked(backends[0]), pair.concat());
        bench.answer(backends[0], "+OK\r\n+OK\r\n");
        bench.turn();
    }
    assert_eq!(bench.told(client), "+OK\r\n".repeat(4));
    bench.assert_nothing_is_left();
}

impl Bench {
    /// So many requests may be in flight on a connection from here on.
    fn settle_pipeline(&mut self, max: usize) {
        let mut settings = self.proxy.settings.clone();
        settings.limits.pipeline_max = max;
        self.proxy.handle_settings(settings, self.now);
    }
}

#[test]
fn a_part_of_a_request_to_several_servers_is_held_alone() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let client = bench.client();
    let keys = [key_on(&bench, 0), key_on(&bench, 1)];
    bench.say(client, request(&["MSET", &keys[0], "a", &keys[1], "b"]));
    bench.answer(backends[0], REFUSED);
    bench.answer(backends[1], "+OK\r\n");
    assert_eq!(bench.told(client), "");
    bench.asked(backends[0]);
    bench.tell_role(backends[0], MASTER);
    assert_eq!(bench.asked(backends[0]), request(&["MSET", &keys[0], "a"]));
    bench.answer(backends[0], "+OK\r\n");
    assert_eq!(bench.told(client), "+OK\r\n");
    bench.assert_nothing_is_left();
}

#[test]
fn what_stands_on_its_connection_is_refused_at_once() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let [whole, watching, blocked] = [0; 3].map(|_| bench.client());
    let aborted = "-EXECABORT Transaction discarded because of previous errors.\r\n";
    bench.say(whole, request(&["MULTI"]) + &set("k", "v") + &request(&["EXEC"]));
    bench.answer(backends[0], format!("+OK\r\n{REFUSED}{aborted}"));
    assert_eq!(bench.told(whole), format!("+OK\r\n{REFUSED}{aborted}"));
    bench.say(watching, request(&["WATCH", "k"]));
    let leased = bench.connect(0);
    bench.answer(leased, "+OK\r\n");
    bench.say(watching, set("k", "v"));
    bench.answer(leased, REFUSED);
    assert_eq!(bench.told(watching), format!("+OK\r\n{REFUSED}"));
    bench.say(blocked, request(&["BLPOP", "list", "0"]));
    let blocking = bench.connect(0);
    bench.answer(blocking, REFUSED);
    assert_eq!(bench.told(blocked), REFUSED);
    assert!(bench.proxy.held.is_empty());
}

#[test]
fn a_script_that_says_it_itself_is_sent_again_once() {
    let (mut bench, backends) = Bench::ready(1, |settings| settings.timeouts.remote_read_ms = 10_000);
    let client = bench.client();
    let script = request(&["EVAL", "return redis.error_reply('READONLY x')", "0"]);
    bench.say(client, &script);
    bench.asked(backends[0]);
    bench.answer(backends[0], "-READONLY x\r\n");
    assert_eq!(bench.told(client), "");
    bench.tell_role(backends[0], MASTER);
    assert_eq!(bench.asked(backends[0]), script);
    bench.answer(backends[0], "-READONLY x\r\n");
    assert_eq!(bench.told(client), "-READONLY x\r\n");
    bench.pass(100);
    bench.assert_nothing_is_left();
}

#[test]
fn a_server_that_does_not_tell_what_it_is_is_tried() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    bench.say(client, set("k", "v"));
    bench.asked(backends[0]);
    bench.answer(backends[0], REFUSED);
    for reply in [REFUSED, REFUSED, "+OK\r\n"] {
        bench.tell_role(backends[0], "-NOPERM this user has no permissions to run the 'role' command\r\n");
        assert_eq!(bench.asked(backends[0]), set("k", "v"));
        bench.answer(backends[0], reply);
    }
    assert_eq!(bench.told(client), "+OK\r\n");
}

#[test]
fn the_connection_that_follows_the_name_is_asked_and_has_the_write() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let (client, other) = (bench.client(), bench.client());
    bench.say(client, set("k", "v"));
    bench.say(other, get("k"));
    bench.answer(backends[0], REFUSED);
    bench.answer(backends[0], "$1\r\nx\r\n");
    // As when it is let go for one at the new address.
    bench.proxy.handle_backend_end(backends[0], bench.now);
    bench.turn();
    let next = bench.connect(0);
    let server = bench.proxy.servers()[0];
    bench.proxy.handle_resolved(server, true, bench.now);
    bench.tell_role(next, MASTER);
    assert_eq!(bench.asked(next), set("k", "v"));
    bench.answer(next, "+OK\r\n");
    assert_eq!(bench.told(client), "+OK\r\n");
}

#[test]
fn who_stands_in_for_a_server_that_goes_down_has_what_is_held() {
    let (mut bench, backends) = Bench::ready(2, |settings| settings.timeouts.failover_after_ms = 0);
    let client = bench.client();
    let key = key_on(&bench, 0);
    bench.say(client, set(&key, "v"));
    bench.answer(backends[0], REFUSED);
    bench.take_down(backends[0], 0);
    bench.turn();
    assert_eq!(bench.asked(backends[1]), set(&key, "v"));
    bench.answer(backends[1], "+OK\r\n");
    assert_eq!(bench.told(client), "+OK\r\n");
}

#[test]
fn nothing_stays_of_a_client_that_leaves() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    bench.say(client, set("k", "1") + &get("k") + &set("k", "2"));
    bench.answer(backends[0], format!("{REFUSED}$1\r\nx\r\n{REFUSED}"));
    assert!(bench.proxy.buffered_bytes() > 0);
    bench.proxy.handle_client_broken(client);
    bench.turn();
    bench.asked(backends[0]);
    bench.pass(100);
    assert_eq!(bench.asked(backends[0]), "", "nobody waits for a master");
    bench.assert_nothing_is_left();
    assert!(bench.proxy.held.is_empty());
}

#[test]
fn a_large_request_whose_bytes_are_gone_and_what_is_too_much_are_refused() {
    let (mut bench, backends) = Bench::ready(1, |settings| {
        settings.limits.pipeline_max = 2 * HELD_MAX;
        settings.limits.client_outstanding_max = 2 * HELD_MAX;
        settings.timeouts.remote_read_ms = 60_000;
    });
    let client = bench.client();
    bench.say(client, set("k", &"x".repeat(20_000)));
    bench.answer(backends[0], REFUSED);
    assert_eq!(bench.told(client), REFUSED, "it went straight to the socket");
    let many = bench.client();
    let mut sent = 0;
    while sent < HELD_MAX + 10 {
        bench.hear(many, set("k", "v").repeat(10));
        sent += 10;
    }
    bench.turn();
    let mut refused = 0;
    while refused < sent {
        let count = bench.asked(backends[0]).matches("SET").count();
        if count == 0 {
            break;
        }
        bench.answer(backends[0], REFUSED.repeat(count));
        refused += count;
    }
    assert!(bench.proxy.held.count() <= HELD_MAX, "{}", bench.proxy.held.count());
}

/// Thousands of clients, each of which waits with one request for the same server.
fn with_thousands_who_wait() -> (Bench, Vec<Id>, Id) {
    let (mut bench, backends) = Bench::ready(1, |settings| {
        settings.pool_size = 1;
        settings.limits.pipeline_max = 10_000;
        settings.timeouts.remote_read_ms = 1_000;
    });
    let clients: Vec<Id> = (0..2_000).map(|_| bench.client()).collect();
    for &client in &clients {
        bench.hear(client, set("k", "v"));
    }
    bench.turn();
    bench.asked(backends[0]);
    bench.answer(backends[0], REFUSED.repeat(clients.len()));
    assert_eq!(bench.proxy.held.count(), clients.len());
    (bench, clients, backends[0])
}

#[test]
fn of_thousands_that_wait_each_turn_sends_a_part() {
    let (mut bench, clients, backend) = with_thousands_who_wait();
    let mut asked = String::new();
    while asked != ROLE {
        bench.pass(1);
        asked = bench.asked(backend);
    }
    bench.hear_server(backend, MASTER);
    let (request, mut count, mut all) = (set("k", "v"), 0, String::new());
    for _ in 0..30 {
        bench.pass(1);
        let asked = bench.asked(backend);
        let sent = asked.matches(&request).count();
        assert!(sent <= 512, "{sent} in one turn");
        count += sent;
        all += &asked;
    }
    assert_eq!(count, clients.len());
    bench.answer(backend, all.replace(ROLE, MASTER).replace(&request, "+OK\r\n"));
    assert!(clients.iter().all(|&client| bench.told(client) == "+OK\r\n"));
    bench.pass(1_000);
    bench.assert_nothing_is_left();
}

#[test]
fn of_thousands_that_wait_in_vain_each_turn_refuses_a_part() {
    let (mut bench, clients, _) = with_thousands_who_wait();
    // The server says nothing more.
    bench.pass(900);
    let (mut count, mut told_at) = (0, Vec::new());
    for ms in 900..1_100 {
        bench.pass(1);
        let told = clients.iter().filter(|&&client| bench.told(client) == REFUSED).count();
        assert!(told <= 512, "{told} in one turn");
        count += told;
        told_at.extend((told > 0).then_some(ms));
    }
    assert_eq!(count, clients.len(), "{told_at:?}");
    assert!(told_at.iter().all(|&ms| ms < 1_030), "{told_at:?}");
}

#[test]
fn what_waits_in_front_of_replies_that_are_left_with_the_server_is_refused() {
    let (mut bench, backends) = Bench::ready(1, |settings| {
        settings.limits.client_unread_pause_bytes = 20_000;
        settings.pool_size = 1;
        settings.timeouts.remote_read_ms = 10_000;
    });
    let client = bench.client();
    bench.say(client, set("k", "v") + &get("a").repeat(40));
    bench.answer(backends[0], REFUSED);
    assert_eq!(bench.told(client), "");
    let reply = bulk(&"x".repeat(1_000));
    let mut count = 0;
    while count < 40 && bench.proxy.is_listening_to(Conn::Backend(backends[0])) {
        bench.answer(backends[0], &reply);
        count += 1;
    }
    bench.pass(10);
    let told = bench.told(client);
    assert!(told.starts_with(REFUSED), "it would wait for what waits for it: {count} replies, {} bytes", told.len());
    for _ in count..40 {
        bench.answer(backends[0], &reply);
    }
    assert_eq!(REFUSED.len() + 40 * reply.len(), told.len() + bench.told(client).len());
}
