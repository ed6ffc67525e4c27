//! Session commands within a transaction: their places in the reply, and what becomes of them when it goes wrong.

use super::*;

const UNSUPPORTED: &str = "-ERR This command is not supported\r\n";
const ABORTED: &str = "-EXECABORT Transaction discarded because of previous errors.\r\n";

fn say_all(bench: &mut Bench, client: Id, requests: &[&[&str]]) {
    let all: String = requests.iter().map(|words| request(words)).collect();
    bench.say(client, all);
}

#[test]
fn they_have_their_place_in_the_reply_and_take_effect_with_it() {
    let (mut bench, _) = Bench::ready(1, |_| {});
    let client = bench.client();
    say_all(
        &mut bench,
        client,
        &[
            &["MULTI"],
            &["CLIENT", "SETNAME", "it"],
            &["SET", "a", "1"],
            &["CLIENT", "GETNAME"],
            &["EXEC"],
            &["CLIENT", "GETNAME"],
        ],
    );
    let leased = bench.connect(0);
    let ping = request(&["PING"]);
    assert_eq!(bench.asked(leased), request(&["MULTI"]) + &ping + &set("a", "1") + &ping + &request(&["EXEC"]));
    bench.answer(leased, "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n");
    assert_eq!(bench.told(client), "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n", "and nothing of what comes behind");
    bench.answer(leased, "*3\r\n+PONG\r\n+OK\r\n+PONG\r\n");
    assert_eq!(bench.told(client), "*3\r\n+OK\r\n+OK\r\n$2\r\nit\r\n$2\r\nit\r\n");
    bench.assert_nothing_is_left();
}

#[test]
fn a_transaction_that_is_not_run_changes_nothing() {
    for reply in ["*-1\r\n", ABORTED] {
        let (mut bench, _) = Bench::ready(1, |_| {});
        let client = bench.client();
        say_all(
            &mut bench,
            client,
            &[&["MULTI"], &["CLIENT", "SETNAME", "it"], &["SELECT", "3"], &["EXEC"], &["CLIENT", "GETNAME"]],
        );
        let leased = bench.connect(0);
        bench.answer(leased, "+OK\r\n+QUEUED\r\n+QUEUED\r\n".to_owned() + reply);
        assert_eq!(bench.told(client), "+OK\r\n+QUEUED\r\n+QUEUED\r\n".to_owned() + reply + "$-1\r\n");
        assert_eq!(bench.proxy.clients.get(client).map(|client| client.profile().database), Some(0));
        bench.assert_nothing_is_left();
    }
}

#[test]
fn a_backend_that_was_left_in_another_database_serves_those_who_want_that() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    say_all(&mut bench, client, &[&["MULTI"], &["SELECT", "3"], &["SELECT", "99"], &["EXEC"]]);
    let leased = bench.connect(0);
    bench.answer(leased, "+OK\r\n+QUEUED\r\n+QUEUED\r\n");
    bench.answer(leased, "*2\r\n+OK\r\n-ERR DB index is out of range\r\n");
    bench.asked(leased);
    let other = bench.client();
    bench.say(client, get("a"));
    bench.say(other, get("b"));
    assert_eq!((bench.asked(leased), bench.asked(backends[0])), (get("a"), get("b")));
}

#[test]
fn a_lost_exec_is_an_error_and_what_comes_behind_is_served() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    say_all(&mut bench, client, &[&["MULTI"], &["CLIENT", "ID"], &["EXEC"], &["GET", "a"]]);
    let leased = bench.connect(0);
    bench.answer(leased, "+OK\r\n+QUEUED\r\n");
    bench.told(client);
    bench.proxy.handle_backend_end(leased, bench.now);
    bench.turn();
    let told = bench.told(client);
    assert!(told.ends_with("lost before its reply; the command may have been run\r\n"), "{told}");
    assert_eq!(bench.asked(backends[0]), get("a"));
    bench.answer(backends[0], bulk("v"));
    assert_eq!(bench.told(client), bulk("v"));
    bench.assert_nothing_is_left();
}

#[test]
fn an_exec_that_is_late_is_an_error_and_its_client_goes_on() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    say_all(&mut bench, client, &[&["MULTI"], &["CLIENT", "ID"], &["EXEC"], &["GET", "a"]]);
    let leased = bench.connect(0);
    bench.answer(leased, "+OK\r\n+QUEUED\r\n");
    bench.told(client);
    bench.pass(500);
    assert!(bench.told(client).starts_with("-ERR No reply from server-0"));
    bench.answer(leased, "*1\r\n+PONG\r\n");
    assert!(bench.is_closed(Conn::Backend(leased)), "it had a request that timed out");
    assert_eq!(bench.asked(backends[0]), get("a"));
    bench.answer(backends[0], bulk("v"));
    assert_eq!(bench.told(client), bulk("v"));
}

#[test]
fn a_client_that_leaves_before_the_reply_leaves_nothing_behind() {
    let (mut bench, _) = Bench::ready(1, |_| {});
    let client = bench.client();
    say_all(&mut bench, client, &[&["MULTI"], &["SELECT", "3"], &["CLIENT", "ID"], &["EXEC"]]);
    let leased = bench.connect(0);
    bench.answer(leased, "+OK\r\n+QUEUED\r\n");
    bench.proxy.handle_client_broken(client);
    bench.turn();
    bench.answer(leased, "+QUEUED\r\n*2\r\n+OK\r\n+PONG\r\n");
    assert!(bench.is_closed(Conn::Backend(leased)), "it is in another database than anybody knows");
    bench.assert_nothing_is_left();
}

#[test]
fn large_elements_and_nested_ones_stay_what_they_are() {
    let (mut bench, _) = Bench::ready(1, |_| {});
    let client = bench.client();
    say_all(&mut bench, client, &[&["MULTI"], &["GET", "a"], &["CLIENT", "GETNAME"], &["HGETALL", "h"], &["EXEC"]]);
    let leased = bench.connect(0);
    bench.answer(leased, "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n");
    bench.told(client);
    let (large, nested) = (bulk(&"x".repeat(300_000)), "*2\r\n$1\r\nf\r\n*1\r\n+PONG\r\n");
    let reply = format!("*3\r\n{large}+PONG\r\n{nested}");
    for piece in reply.as_bytes().chunks(50_000) {
        bench.answer(leased, piece);
    }
    assert_eq!(bench.told(client), format!("*3\r\n{large}$-1\r\n{nested}"));
    bench.assert_nothing_is_left();
}

#[test]
fn who_selects_and_cannot_be_told_is_closed() {
    let (mut bench, _) = Bench::ready(1, |settings| settings.limits.buffered_bytes_max = 100_000);
    let client = bench.client();
    say_all(&mut bench, client, &[&["MULTI"], &["SELECT", "3"], &["GET", "a"], &["EXEC"]]);
    let leased = bench.connect(0);
    bench.answer(leased, "+OK\r\n+QUEUED\r\n+QUEUED\r\n");
    bench.answer(leased, "*2\r\n+OK\r\n".to_owned() + &bulk(&"x".repeat(200_000)));
    assert!(bench.is_closed(Conn::Client(client)));
    bench.assert_nothing_is_left();
}

#[test]
fn what_would_break_the_reply_is_refused_and_the_transaction_with_it() {
    for words in [
        &["HELLO", "3"][..],
        &["CLIENT", "REPLY", "OFF"],
        &["client", "reply", "skip"],
        &["SUBSCRIBE", "a"],
        &["PUNSUBSCRIBE"],
        &["MONITOR"],
    ] {
        let (mut bench, _) = Bench::ready(1, |_| {});
        let client = bench.client();
        say_all(&mut bench, client, &[&["MULTI"], words, &["SET", "a", "1"], &["EXEC"]]);
        assert_eq!(bench.told(client), format!("+OK\r\n{UNSUPPORTED}+QUEUED\r\n{ABORTED}"), "{words:?}");
        bench.assert_nothing_is_left();
    }
}

#[test]
fn with_several_servers_they_go_with_the_server_of_the_transaction() {
    let (mut bench, _) = Bench::ready(2, |_| {});
    let client = bench.client();
    let key = key_on(&bench, 1);
    say_all(&mut bench, client, &[&["MULTI"], &["SET", &key, "1"], &["ROLE"], &["EXEC"]]);
    let leased = bench.connect(1);
    assert_eq!(bench.asked(leased), request(&["MULTI"]) + &set(&key, "1") + &request(&["PING"]) + &request(&["EXEC"]));
    bench.answer(leased, "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n+PONG\r\n");
    let role = "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n";
    assert_eq!(bench.told(client), format!("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n{role}"));
    bench.assert_nothing_is_left();
}

#[test]
fn steps_without_a_key_wait_for_the_server_of_the_first_one() {
    for is_pipelined in [false, true] {
        let (mut bench, _) = Bench::ready(2, |_| {});
        let client = bench.client();
        let key = key_on(&bench, 1);
        let requests =
            [&["MULTI"][..], &["SELECT", "2"], &["PING"], &["CLIENT", "GETNAME"], &["SET", &key, "1"], &["EXEC"]];
        match is_pipelined {
            true => say_all(&mut bench, client, &requests),
            false => requests.iter().for_each(|words| bench.say(client, request(words))),
        }
        assert_eq!(bench.told(client), "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n");
        let leased = bench.connect(1);
        let ping = request(&["PING"]);
        let steps = [request(&["MULTI"]), request(&["SELECT", "2"]), ping.clone(), ping, set(&key, "1")].concat();
        assert_eq!(bench.asked(leased), steps + &request(&["EXEC"]));
        bench.answer(leased, "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n");
        bench.answer(leased, "*4\r\n+OK\r\n+PONG\r\n+PONG\r\n+OK\r\n");
        assert_eq!(bench.told(client), "+QUEUED\r\n*4\r\n+OK\r\n+PONG\r\n$-1\r\n+OK\r\n");
        assert_eq!(bench.proxy.clients.get(client).map(|client| client.profile().database), Some(2));
        bench.assert_nothing_is_left();
    }
}

#[test]
fn steps_of_which_none_has_a_key_are_anybodys() {
    let (mut bench, _) = Bench::ready(2, |_| {});
    let client = bench.client();
    say_all(&mut bench, client, &[&["MULTI"], &["CLIENT", "ID"], &["ECHO"], &["DISCARD"]]);
    assert_eq!(bench.told(client), "+OK\r\n+QUEUED\r\n-ERR wrong number of arguments for 'echo' command\r\n+OK\r\n");
    say_all(&mut bench, client, &[&["MULTI"], &["CLIENT", "GETNAME"], &["ECHO", "x"], &["EXEC"]]);
    let leased = bench.connect(0);
    bench.answer(leased, "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+PONG\r\n$1\r\nx\r\n");
    assert_eq!(bench.told(client), "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n$-1\r\n$1\r\nx\r\n");
    bench.assert_nothing_is_left();
}

#[test]
fn who_kills_itself_within_a_transaction_gets_the_reply_first() {
    let (mut bench, _) = Bench::ready(1, |_| {});
    let (client, other) = (bench.client(), bench.client());
    say_all(&mut bench, client, &[&["MULTI"], &["CLIENT", "KILL", "SKIPME", "no"], &["EXEC"], &["GET", "a"]]);
    let leased = bench.connect(0);
    bench.answer(leased, "+OK\r\n+QUEUED\r\n*1\r\n+PONG\r\n");
    assert_eq!(bench.told(client), "+OK\r\n+QUEUED\r\n*1\r\n:2\r\n");
    assert!(bench.is_closed(Conn::Client(client)) && bench.is_closed(Conn::Client(other)));
    bench.assert_nothing_is_left();
}

#[test]
fn how_much_of_them_is_held_is_bounded() {
    let (mut bench, _) = Bench::ready(1, |_| {});
    let client = bench.client();
    let name = "x".repeat(40_000);
    say_all(&mut bench, client, &[&["MULTI"], &["CLIENT", "SETNAME", &name]]);
    let leased = bench.connect(0);
    bench.answer(leased, "+OK\r\n+QUEUED\r\n");
    bench.told(client);
    say_all(&mut bench, client, &[&["CLIENT", "SETNAME", &name], &["EXEC"]]);
    assert_eq!(bench.told(client), format!("-ERR Too many session commands in one transaction\r\n{ABORTED}"));
}

#[test]
fn a_database_that_is_selected_while_keys_are_watched_is_that_of_both_ends() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    say_all(&mut bench, client, &[&["WATCH", "a"], &["SELECT", "3"], &["GET", "a"], &["UNWATCH"]]);
    let leased = bench.connect(0);
    assert_eq!(bench.asked(leased), request(&["WATCH", "a"]) + &request(&["SELECT", "3"]));
    bench.answer(leased, "+OK\r\n+OK\r\n");
    assert_eq!(bench.asked(leased), get("a") + &request(&["UNWATCH"]));
    bench.answer(leased, bulk("three") + "+OK\r\n");
    assert_eq!(bench.told(client), "+OK\r\n+OK\r\n$5\r\nthree\r\n+OK\r\n");
    // The backend is shared again, by those who want that database; the others have theirs.
    bench.say(client, get("b"));
    assert_eq!(bench.asked(leased), get("b"));
    let other = bench.client();
    bench.say(other, get("c"));
    assert_eq!(bench.asked(backends[0]), get("c"));
}
