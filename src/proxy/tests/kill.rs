//! `SCRIPT KILL` and `FUNCTION KILL`, which must reach a server whose connections all wait for a script.

use super::*;

const BUSY: &str = "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n";
const NOT_BUSY: &str = "-NOTBUSY No scripts in execution right now.\r\n";

fn kill() -> String {
    request(&["SCRIPT", "KILL"])
}

fn script() -> String {
    request(&["EVAL", "while true do end", "0"])
}

/// The next connect to this server succeeds, while a script runs there.
fn connect_busily(bench: &mut Bench, server: u16) -> Id {
    let backend = bench.next_connect(server);
    bench.proxy.handle_connected(backend, bench.now);
    bench.turn();
    assert_eq!(bench.asked(backend), request(&["HELLO", "2"]) + &request(&["PING"]));
    bench.answer(backend, format!("*0\r\n{BUSY}"));
    backend
}

#[test]
fn a_script_is_stopped_past_everybody_who_waits_for_it() {
    for pool_size in [1, 4] {
        let (mut bench, backends) = Bench::ready(1, |settings| settings.pool_size = pool_size);
        let (runner, waiter, killer) = (bench.client(), bench.client(), bench.client());
        bench.say(runner, script());
        bench.say(waiter, get("k"));
        bench.say(killer, kill());
        let reserve = connect_busily(&mut bench, 0);
        assert_eq!(bench.asked(reserve), kill());
        bench.answer(reserve, "+OK\r\n");
        assert_eq!(bench.told(killer), "+OK\r\n");
        assert!(bench.is_closed(Conn::Backend(reserve)), "it was for this alone");
        bench.answer(backends[0], "-ERR Script killed by user\r\n$1\r\nv\r\n");
        assert_eq!(bench.told(runner), "-ERR Script killed by user\r\n");
        assert_eq!(bench.told(waiter), bulk("v"));
        assert!(bench.connects.is_empty(), "nothing more was opened");
        bench.assert_nothing_is_left();
    }
}

#[test]
fn no_connection_that_others_may_use_is_good_enough() {
    let (mut bench, backends) = Bench::ready(1, |_| ());
    let (resp3, killer) = (bench.client(), bench.client());
    for word in ["SCRIPT", "FUNCTION"] {
        bench.say(killer, request(&[word, "KILL"]));
        let reserve = bench.connect(0);
        assert_eq!(bench.asked(reserve), request(&[word, "KILL"]));
        bench.answer(reserve, NOT_BUSY);
        assert_eq!(bench.told(killer), NOT_BUSY);
    }
    // What a client is set to makes no difference to this.
    bench.say(resp3, request(&["HELLO", "3"]) + &request(&["SELECT", "3"]));
    bench.told(resp3);
    bench.say(resp3, kill());
    let reserve = connect_busily(&mut bench, 0);
    assert_eq!(bench.asked(reserve), kill());
    bench.answer(reserve, "+OK\r\n");
    assert_eq!(bench.told(resp3), "+OK\r\n");
    assert_eq!(bench.asked(backends[0]), "");
    bench.assert_nothing_is_left();
}

#[test]
fn however_many_want_to_stop_it_there_is_one_reserve() {
    let (mut bench, _) = Bench::ready(1, |settings| settings.pool_size = 1);
    let runner = bench.client();
    bench.say(runner, script());
    let killers: Vec<Id> = (0..5).map(|_| bench.client()).collect();
    bench.say(killers[0], kill());
    bench.say(killers[1], kill());
    let reserve = connect_busily(&mut bench, 0);
    killers[2..].iter().for_each(|&killer| bench.say(killer, kill()));
    assert!(bench.connects.is_empty());
    assert_eq!(bench.asked(reserve), kill().repeat(5));
    bench.answer(reserve, "+OK\r\n".to_string() + &NOT_BUSY.repeat(3));
    assert!(!bench.is_closed(Conn::Backend(reserve)), "one is still to be answered");
    bench.answer(reserve, NOT_BUSY);
    assert!(bench.is_closed(Conn::Backend(reserve)));
    assert_eq!(bench.told(killers[0]), "+OK\r\n");
    assert!(killers[1..].iter().all(|&killer| bench.told(killer) == NOT_BUSY));
}

#[test]
fn who_has_asked_for_the_script_itself_waits_behind_it_as_without_rmux() {
    let (mut bench, backends) = Bench::ready(1, |_| ());
    let client = bench.client();
    bench.say(client, script() + &kill());
    assert_eq!(bench.asked(backends[0]), script());
    bench.answer(backends[0], "+done\r\n");
    let reserve = bench.connect(0);
    assert_eq!(bench.asked(reserve), kill());
    bench.answer(reserve, NOT_BUSY);
    assert_eq!(bench.told(client), format!("+done\r\n{NOT_BUSY}"));
}

#[test]
fn what_is_sent_behind_it_waits_for_the_answer() {
    let (mut bench, backends) = Bench::ready(1, |settings| settings.pool_size = 1);
    let killer = bench.client();
    bench.say(killer, kill() + &script());
    let reserve = connect_busily(&mut bench, 0);
    assert_eq!(bench.asked(reserve), kill());
    assert_eq!(bench.asked(backends[0]), "", "its script could not be stopped on the same connection");
    bench.answer(reserve, "+OK\r\n");
    assert_eq!(bench.told(killer), "+OK\r\n");
    assert_eq!(bench.asked(backends[0]), script());
}

#[test]
fn it_is_not_sent_again_on_a_connection_where_it_might_wait() {
    let (mut bench, backends) = Bench::ready(1, |_| ());
    let killer = bench.client();
    bench.say(killer, kill());
    let reserve = bench.next_connect(0);
    bench.proxy.handle_connected(reserve, bench.now);
    bench.turn();
    bench.answer(reserve, "-ERR max number of clients reached\r\n");
    assert_eq!(bench.told(killer), "-ERR Connection down\r\n");
    assert_eq!(bench.asked(backends[0]), "");
    bench.assert_nothing_is_left();
}

#[test]
fn who_watches_keys_stops_a_script_on_the_connection_that_it_has() {
    let (mut bench, backends) = Bench::ready(1, |_| ());
    let (runner, killer) = (bench.client(), bench.client());
    bench.say(killer, request(&["WATCH", "k"]));
    let own = bench.connect(0);
    bench.answer(own, "+OK\r\n");
    bench.say(runner, script());
    bench.asked(own);
    bench.say(killer, kill());
    assert_eq!(bench.asked(own), kill());
    bench.answer(own, "+OK\r\n");
    assert_eq!(bench.told(killer), "+OK\r\n+OK\r\n");
    bench.answer(backends[0], "-ERR Script killed by user\r\n");
    assert!(bench.connects.is_empty());
}

#[test]
fn one_that_leaves_meanwhile_has_stopped_it_all_the_same() {
    let (mut bench, _) = Bench::ready(1, |settings| settings.pool_size = 1);
    let (runner, killer) = (bench.client(), bench.client());
    bench.say(runner, script());
    bench.say(killer, kill());
    bench.proxy.handle_client_broken(killer);
    bench.turn();
    let reserve = connect_busily(&mut bench, 0);
    assert_eq!(bench.asked(reserve), kill());
    bench.answer(reserve, "+OK\r\n");
    assert!(bench.is_closed(Conn::Backend(reserve)));
}

#[test]
fn a_reserve_that_is_not_answered_in_time_is_given_up() {
    let (mut bench, _) = Bench::ready(1, |settings| settings.pool_size = 1);
    let (runner, killer) = (bench.client(), bench.client());
    bench.say(runner, script());
    bench.say(killer, kill());
    let reserve = connect_busily(&mut bench, 0);
    bench.pass(501);
    assert!(bench.told(killer).starts_with("-ERR No reply from server-0 within 500 ms"));
    assert!(bench.is_closed(Conn::Backend(reserve)));
}

#[test]
fn all_servers_are_asked_and_the_one_that_ran_it_has_the_say() {
    let cases = [
        ([NOT_BUSY, "+OK\r\n", NOT_BUSY], "+OK\r\n"),
        ([NOT_BUSY, NOT_BUSY, NOT_BUSY], NOT_BUSY),
        ([NOT_BUSY, NOT_BUSY, "-UNKILLABLE x\r\n"], "-UNKILLABLE x\r\n"),
        (["-ERR x\r\n", "+OK\r\n", "-UNKILLABLE x\r\n"], "+OK\r\n"),
    ];
    for (replies, expected) in cases {
        let (mut bench, _) = Bench::ready(3, |_| ());
        let killer = bench.client();
        bench.say(killer, kill());
        for (server, reply) in (0..).zip(replies) {
            let reserve = bench.connect(server);
            assert_eq!(bench.asked(reserve), kill());
            bench.answer(reserve, reply);
        }
        assert_eq!(bench.told(killer), expected);
        bench.assert_nothing_is_left();
    }
}

#[test]
fn who_waits_for_one_of_several_servers_has_one_reserve_at_each() {
    let (mut bench, backends) = Bench::ready(2, |_| ());
    let client = bench.client();
    let key = key_on(&bench, 1);
    bench.say(client, get(&key) + &kill());
    let first = bench.next_connect(0);
    // Nothing is asked of it before the other one can be asked.
    bench.answer(backends[1], bulk("v"));
    let second = bench.connect(1);
    assert_eq!(bench.asked(second), kill());
    assert!(bench.connects.is_empty(), "there is one already");
    bench.proxy.handle_connected(first, bench.now);
    bench.turn();
    bench.shake_hands(first);
    assert_eq!(bench.asked(first), kill());
    bench.answer(first, NOT_BUSY);
    bench.answer(second, "+OK\r\n");
    assert_eq!(bench.told(client), bulk("v") + "+OK\r\n");
    assert!(bench.is_closed(Conn::Backend(first)) && bench.is_closed(Conn::Backend(second)));
    // One that is ready meanwhile is closed, and made anew.
    bench.say(client, get(&key) + &kill());
    let first = bench.connect(0);
    assert!(bench.is_closed(Conn::Backend(first)));
    bench.answer(backends[1], bulk("v"));
    for server in [0, 1] {
        let reserve = bench.connect(server);
        bench.answer(reserve, NOT_BUSY);
    }
    assert_eq!(bench.told(client), bulk("v") + NOT_BUSY);
    bench.assert_nothing_is_left();
}

#[test]
fn a_server_that_is_down_keeps_no_script_at_another_running() {
    for (said, expected) in [("+OK\r\n", "+OK\r\n"), (NOT_BUSY, "-ERR Connection down\r\n")] {
        let (mut bench, backends) = Bench::ready(2, |_| ());
        bench.take_down(backends[0], 0);
        let killer = bench.client();
        bench.say(killer, kill());
        let reserve = bench.connect(1);
        bench.answer(reserve, said);
        assert_eq!(bench.told(killer), expected, "nobody knows about the other one");
    }
    let (mut bench, backends) = Bench::ready(1, |_| ());
    bench.take_down(backends[0], 0);
    let killer = bench.client();
    bench.say(killer, kill());
    assert_eq!(bench.told(killer), "-ERR Connection down\r\n");
}

#[test]
fn a_server_that_runs_a_script_for_long_is_not_down() {
    let (mut bench, backends) = Bench::ready(1, |_| ());
    let client = bench.client();
    bench.take_down(backends[0], 0);
    bench.pass(100);
    let probe = connect_busily(&mut bench, 0);
    bench.say(client, get("k"));
    assert_eq!(bench.asked(probe), get("k"), "it answers, as Redis itself would");
    bench.answer(probe, BUSY);
    assert_eq!(bench.told(client), BUSY);
    // It cannot select a database now; who wants one is told why, and the server is up.
    bench.say(client, request(&["SELECT", "3"]) + &get("k"));
    let other = bench.next_connect(0);
    bench.proxy.handle_connected(other, bench.now);
    bench.turn();
    bench.answer(other, format!("*0\r\n{BUSY}{BUSY}"));
    assert_eq!(bench.told(client), format!("+OK\r\n{BUSY}"));
    bench.say(client, request(&["SELECT", "0"]) + &get("k"));
    bench.told(client);
    bench.answer(probe, bulk("v"));
    assert_eq!(bench.told(client), bulk("v"));
}

#[test]
fn hashes_of_passwords_are_not_told() {
    let hash = "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8";
    let zeros = "0".repeat(64);
    let (mut bench, backends) = Bench::ready(1, |_| ());
    let client = bench.client();
    for words in [&["ACL", "LIST"][..], &["ACL", "GETUSER", "default"]] {
        bench.say(client, request(words));
        assert_eq!(bench.asked(backends[0]), request(words));
        let reply = |hash: &str| format!("*2\r\n{}{}", bulk(&format!("user default on #{hash} ~* +@all")), bulk(hash));
        bench.answer(backends[0], reply(hash));
        assert_eq!(bench.told(client), reply(&zeros));
    }
    for reply in ["*-1\r\n", "-NOPERM x\r\n"] {
        bench.say(client, request(&["ACL", "GETUSER", "nobody"]));
        bench.answer(backends[0], reply);
        assert_eq!(bench.told(client), reply);
    }
    // In the reply to a transaction they would stand as they are.
    bench.say(client, request(&["MULTI"]) + &request(&["ACL", "LIST"]) + &request(&["EXEC"]));
    let refused = "-ERR This command is not supported\r\n";
    let aborted = "-EXECABORT Transaction discarded because of previous errors.\r\n";
    assert_eq!(bench.told(client), format!("+OK\r\n{refused}{aborted}"));
    let (mut bench, _) = Bench::ready(2, |_| ());
    let client = bench.client();
    bench.say(client, request(&["ACL", "LIST"]));
    assert_eq!(bench.told(client), refused);
}
