//! A password that changes: connections that are there say `AUTH` again when nobody has anything on them.

use super::subscriptions::{confirmed, subscribe};
use super::*;
use crate::proxy::authenticate::BUSY_MS;
use crate::users::{Credentials, Secret};

const NEW: &str = "*2\r\n$4\r\nAUTH\r\n$10\r\nnew-secret\r\n";
const WRONG: &str = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";

/// A proxy whose servers ask for a password, with one ready connection to each.
fn ready(servers: usize, change: impl FnOnce(&mut Settings)) -> (Bench, Vec<Id>) {
    let (mut bench, backends) = Bench::ready(servers, |settings| {
        settings.credentials = Some(Credentials { user: None, password: Secret::new(*b"old-secret") });
        change(settings);
    });
    bench.lines.clear();
    (bench, backends)
}

impl Bench {
    /// The file of the password has this one, and a turn goes by.
    fn read_password(&mut self, password: &str) {
        self.proxy.handle_password(Secret::new(password.as_bytes()), self.now);
        self.turn();
    }

    fn assert_no_secret_is_told(&self) {
        assert!(!self.lines.iter().any(|line| line.contains("secret")), "{:?}", self.lines);
    }
}

#[test]
fn an_idle_connection_says_auth_again_and_what_is_asked_meanwhile_waits_for_it() {
    let (mut bench, backends) = ready(2, |_| {});
    let client = bench.client();
    let keys = [key_on(&bench, 0), key_on(&bench, 1)];
    bench.read_password("old-secret");
    assert_eq!((bench.asked(backends[0]), bench.lines.len()), (String::new(), 0), "it is the same");
    bench.read_password("new-secret");
    for (&backend, key) in backends.iter().zip(&keys) {
        assert_eq!(bench.asked(backend), NEW);
        bench.say(client, set(key, "v"));
        assert_eq!(bench.asked(backend), "", "not behind an AUTH that was not answered");
        bench.answer(backend, "+OK\r\n");
        assert_eq!(bench.asked(backend), set(key, "v"));
        bench.answer(backend, "+OK\r\n");
        assert_eq!(bench.told(client), "+OK\r\n");
    }
    bench.pass(10_000);
    assert_eq!(bench.asked(backends[0]), "");
    assert!(!bench.proxy.authentication.is_owed(), "all are done");
    assert!(bench.connects.is_empty() && bench.closed.is_empty());
    let told = "INFO pool the bench: remotePasswordFile has another password: connections to servers log in again";
    assert_eq!(bench.lines, [told]);
}

#[test]
fn a_busy_connection_says_it_in_the_first_turn_without_a_request() {
    let (mut bench, backends) = ready(1, |_| {});
    let clients = [bench.client(), bench.client()];
    bench.say(clients[0], get("a"));
    bench.asked(backends[0]);
    bench.read_password("new-secret");
    assert_eq!(bench.asked(backends[0]), "", "it owes a reply");
    bench.say(clients[1], get("b"));
    bench.answer(backends[0], "$1\r\nx\r\n");
    assert_eq!(bench.asked(backends[0]), get("b"), "and another one");
    bench.answer(backends[0], "$1\r\ny\r\n");
    assert_eq!(bench.asked(backends[0]), NEW);
    assert_eq!(clients.map(|client| bench.told(client)), ["$1\r\nx\r\n", "$1\r\ny\r\n"]);
}

#[test]
fn a_connection_that_is_never_idle_is_made_so_after_a_while_one_after_the_other() {
    let (mut bench, backends) = ready(1, |settings| {
        settings.pool_size = 2;
        settings.limits.pipeline_max = 1;
    });
    let clients = [bench.client(), bench.client(), bench.client()];
    bench.say(clients[0], get("a"));
    bench.say(clients[1], get("b"));
    let other = bench.connect(0);
    let all = [backends[0], other];
    all.iter().for_each(|&backend| drop(bench.asked(backend)));
    bench.read_password("new-secret");
    let mut waited = 0;
    let mut next = String::new();
    while next.is_empty() {
        assert!(waited <= BUSY_MS + 300, "it goes on for ever");
        bench.pass(100);
        waited += 100;
        // Each is asked for more in the turn in which it answers.
        for (&backend, client) in all.iter().zip(clients) {
            bench.hear_server(backend, "$1\r\nx\r\n");
            bench.hear(client, get("c"));
            bench.turn();
            let asked = bench.asked(backend);
            if asked == NEW {
                next = asked;
                break;
            }
        }
    }
    assert!(waited >= BUSY_MS, "after {waited} ms");
    let busy = bench.proxy.upstreams.backends().filter(|(_, backend)| backend.told() == 1).count();
    assert_eq!(busy, 1, "one after the other");
    let settled =
        all.into_iter().find(|&backend| bench.proxy.upstreams.backend(backend).is_some_and(|b| b.told() == 2));
    bench.answer(settled.expect("one is"), "+OK\r\n");
    bench.assert_no_secret_is_told();
}

#[test]
fn who_waits_for_the_only_connection_goes_on_when_it_has_said_auth() {
    let (mut bench, backends) = ready(1, |settings| {
        settings.pool_size = 1;
        settings.timeouts.remote_read_ms = 10_000;
        settings.timeouts.remote_connect_ms = 10_000;
    });
    let clients = [bench.client(), bench.client()];
    bench.say(clients[0], get("a"));
    bench.read_password("new-secret");
    bench.pass(BUSY_MS - 1);
    bench.hear(clients[0], get("b"));
    bench.answer(backends[0], "$1\r\nx\r\n");
    bench.pass(10);
    bench.say(clients[1], get("c"));
    bench.asked(backends[0]);
    assert_eq!(bench.told(clients[0]), "$1\r\nx\r\n");
    bench.answer(backends[0], "$1\r\ny\r\n");
    assert_eq!(bench.asked(backends[0]), NEW, "what was asked since waits");
    assert_eq!(bench.told(clients[0]), "$1\r\ny\r\n");
    bench.answer(backends[0], "+OK\r\n");
    assert_eq!(bench.asked(backends[0]), get("c"));
    bench.answer(backends[0], "$1\r\nz\r\n");
    assert_eq!(bench.told(clients[1]), "$1\r\nz\r\n");
}

#[test]
fn who_has_a_connection_for_himself_keeps_its_session() {
    let (mut bench, backends) = ready(1, |_| {});
    let client = bench.client();
    bench.say(client, request(&["WATCH", "k"]));
    let leased = bench.connect(0);
    bench.answer(leased, "+OK\r\n");
    bench.asked(leased);
    bench.read_password("new-secret");
    assert_eq!(bench.asked(backends[0]), NEW);
    bench.answer(backends[0], "+OK\r\n");
    bench.pass(2 * BUSY_MS);
    assert_eq!(bench.asked(leased), "", "keys are watched");
    bench.say(client, request(&["MULTI"]) + &set("k", "v") + &request(&["EXEC"]));
    bench.answer(leased, "+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n");
    assert!(bench.told(client).ends_with("*1\r\n+OK\r\n"));
    bench.turn();
    assert!(bench.asked(leased).ends_with(NEW), "it is over");
}

#[test]
fn who_blocks_again_and_again_gives_way_between_two_of_them() {
    let (mut bench, _) = ready(1, |settings| (settings.pool_size, settings.lease_max) = (2, 1));
    let client = bench.client();
    let pop = request(&["BLPOP", "list", "0"]);
    bench.say(client, &pop);
    let leased = bench.connect(0);
    bench.read_password("new-secret");
    bench.pass(BUSY_MS);
    bench.hear_server(leased, "*-1\r\n");
    bench.say(client, &pop);
    assert!(bench.asked(leased).ends_with(NEW), "before it blocks once more");
    bench.answer(leased, "+OK\r\n");
    bench.assert_no_secret_is_told();
}

#[test]
fn what_hears_messages_goes_on_as_it_is() {
    let (mut bench, backends) = ready(1, |_| {});
    let client = bench.client();
    bench.say(client, subscribe("c"));
    let listener = bench.connect(0);
    bench.answer(listener, confirmed("subscribe", "c", 1));
    bench.asked(listener);
    bench.read_password("new-secret");
    bench.answer(backends[0], "+OK\r\n");
    bench.pass(2 * BUSY_MS);
    assert_eq!(bench.asked(listener), "", "in RESP2 it could not");
    assert!(!bench.proxy.authentication.is_owed());
}

#[test]
fn a_server_that_refuses_the_new_password_is_used_with_the_old_one_and_told_of_once() {
    let (mut bench, backends) = ready(1, |_| {});
    let clients = [bench.client(), bench.client()];
    bench.say(clients[0], request(&["BLPOP", "list", "0"]));
    let leased = bench.connect(0);
    bench.asked(leased);
    bench.read_password("new-secret");
    assert!(bench.asked(backends[0]).ends_with(NEW));
    bench.say(clients[1], get("k"));
    bench.answer(backends[0], "-ERR new-secret is none\r\n");
    assert_eq!(bench.asked(backends[0]), get("k"), "it goes on");
    bench.answer(backends[0], "$1\r\nx\r\n");
    bench.answer(leased, "*-1\r\n");
    bench.turn();
    assert!(bench.asked(leased).ends_with(NEW));
    bench.answer(leased, WRONG);
    bench.pass(5_000);
    let warnings: Vec<&String> = bench.lines.iter().filter(|line| line.starts_with("WARN")).collect();
    let told = "WARN server server-0: it refuses the new password, and connections go on with the one before: \
                -ERR *** is none";
    assert_eq!(warnings, [told]);
    assert!(bench.closed.is_empty() && bench.connects.is_empty());
    assert_eq!(bench.told(clients[1]), "$1\r\nx\r\n");
    bench.assert_no_secret_is_told();
}

#[test]
fn a_server_that_closes_what_gives_the_wrong_password_loses_no_request() {
    let (mut bench, backends) = ready(1, |_| {});
    let client = bench.client();
    bench.read_password("new-secret");
    bench.say(client, set("k", "v"));
    bench.hear_server(backends[0], WRONG);
    bench.proxy.handle_backend_end(backends[0], bench.now);
    bench.turn();
    // The new one begins with the new password.
    let next = bench.next_connect(0);
    bench.proxy.handle_connected(next, bench.now);
    bench.turn();
    assert!(bench.asked(next).starts_with(NEW));
    bench.answer(next, WRONG);
    let refused = bench.lines.iter().find(|line| line.contains("is down: it refuses us")).expect("it is told");
    assert!(refused.ends_with("(the password before it was taken)"), "{refused}");
    assert_eq!(bench.told(client), "-ERR Connection down\r\n", "it was not run, and nobody stands in");
    bench.until_connect();
    let next = bench.next_connect(0);
    bench.proxy.handle_connected(next, bench.now);
    bench.turn();
    bench.shake_hands(next);
    bench.say(client, get("k"));
    assert_eq!(bench.asked(next), get("k"));
    bench.assert_no_secret_is_told();
}

#[test]
fn a_handshake_that_has_begun_with_the_old_password_is_followed_by_the_new_one() {
    let mut bench = Bench::new(1, |settings| {
        settings.credentials = Some(Credentials { user: Some("app".into()), password: Secret::new(*b"old-secret") });
    });
    let backend = bench.next_connect(0);
    bench.proxy.handle_connected(backend, bench.now);
    bench.turn();
    bench.read_password("new-secret");
    bench.shake_hands(backend);
    bench.turn();
    assert_eq!(bench.asked(backend), "*3\r\n$4\r\nAUTH\r\n$3\r\napp\r\n$10\r\nnew-secret\r\n");
    bench.answer(backend, "+OK\r\n");
    bench.assert_no_secret_is_told();
}

#[test]
fn a_server_that_does_not_answer_auth_is_given_up_as_one_that_does_not_answer_a_handshake() {
    let (mut bench, backends) = ready(1, |_| {});
    let client = bench.client();
    bench.read_password("new-secret");
    bench.say(client, set("k", "v"));
    bench.pass(500);
    assert!(bench.is_closed(Conn::Backend(backends[0])));
    assert_eq!(bench.told(client), "-ERR Connection down\r\n");
}

#[test]
fn a_file_that_cannot_be_used_is_told_of_and_changes_nothing() {
    let (mut bench, backends) = ready(1, |_| {});
    bench.proxy.handle_password_unread("cannot be read: gone");
    bench.pass(2_000);
    bench.proxy.handle_password_readable();
    bench.pass(2_000);
    assert_eq!(
        bench.lines,
        [
            "WARN pool the bench: remotePasswordFile cannot be read: gone; the password that is known stays in use",
            "INFO pool the bench: remotePasswordFile can be read again"
        ]
    );
    assert_eq!(bench.asked(backends[0]), "");
}
