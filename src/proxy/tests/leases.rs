//! Backends that one client has for itself, and clients that leave while they hold one.

use super::*;

#[test]
fn who_leaves_before_it_waits_never_waits() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    bench.say(client, set("begun", "1") + &request(&["BLPOP", "list", "0"]));
    assert_eq!(bench.asked(backends[0]), set("begun", "1"), "the lease waits for the reply to the write");
    bench.proxy.handle_client_hangup(client);
    bench.turn();
    bench.answer(backends[0], "+OK\r\n");
    assert!(bench.is_closed(Conn::Client(client)), "it would take an element that nobody is there to have");
    for (backend, _) in std::mem::take(&mut bench.connects) {
        bench.proxy.handle_connected(backend, bench.now);
        bench.turn();
        assert!(!bench.asked(backend).contains("BLPOP"));
    }
    bench.assert_nothing_is_left();
}

#[test]
fn who_leaves_while_it_waits_takes_its_backend_with_it_before_anything_is_sent() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let (waiter, pusher) = (bench.client(), bench.client());
    bench.say(waiter, request(&["BLPOP", "list", "0"]));
    let leased = bench.connect(0);
    assert_eq!(bench.asked(leased), request(&["BLPOP", "list", "0"]));
    // Both events of one turn, in the order in which the shell tells them.
    bench.proxy.handle_client_hangup(waiter);
    bench.proxy.handle_departures(bench.now);
    assert_eq!(bench.proxy.poll_action(), Some(Action::Close(Conn::Client(waiter))));
    assert_eq!(bench.proxy.poll_action(), Some(Action::Close(Conn::Backend(leased))));
    bench.say(pusher, request(&["RPUSH", "list", "kept"]));
    assert_eq!(bench.asked(backends[0]), request(&["RPUSH", "list", "kept"]));
    bench.answer(backends[0], ":1\r\n");
    assert_eq!(bench.told(pusher), ":1\r\n");
    bench.assert_nothing_is_left();
}

#[test]
fn a_backend_is_anybodys_again_when_what_it_was_leased_for_is_over() {
    let (mut bench, _) = Bench::ready(1, |settings| settings.pool_size = 2);
    let (first, second) = (bench.client(), bench.client());
    let blpop = request(&["BLPOP", "list", "1"]);
    bench.say(first, &blpop);
    let leased = bench.connect(0);
    assert_eq!(bench.asked(leased), blpop);
    bench.answer(leased, "*-1\r\n");
    assert_eq!(bench.told(first), "*-1\r\n");
    assert_eq!(bench.proxy.backends.get(leased).map(|backend| backend.owner), Some(Id::NONE));
    // One is always left to the others: were it not free, nobody else could wait.
    bench.say(second, &blpop);
    let waits_at = |bench: &Bench| bench.proxy.backends.iter().filter(|(_, backend)| backend.owner == second).count();
    assert_eq!(waits_at(&bench), 1);
}

#[test]
fn a_step_does_not_wait_behind_what_rmux_itself_has_said() {
    let (mut bench, _) = Bench::ready(1, |settings| settings.limits.pipeline_max = 1);
    let client = bench.client();
    bench.say(client, request(&["MULTI"]));
    bench.say(client, set("a", "1"));
    let leased = bench.connect(0);
    assert_eq!(bench.asked(leased), request(&["MULTI"]) + &set("a", "1"), "the reply to MULTI would wake nobody");
    bench.say(client, request(&["EXEC"]));
    bench.answer(leased, "+OK\r\n+QUEUED\r\n");
    assert_eq!(bench.asked(leased), request(&["EXEC"]));
    bench.answer(leased, "*1\r\n+OK\r\n");
    assert_eq!(bench.told(client), "+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n");
    bench.assert_nothing_is_left();
}

#[test]
fn a_step_does_not_wait_for_a_backend_that_takes_nothing_more() {
    let (mut bench, _) = Bench::ready(1, |settings| settings.limits.pipeline_max = 1);
    let client = bench.client();
    bench.say(client, request(&["WATCH", "a"]));
    let leased = bench.connect(0);
    bench.answer(leased, "+OK\r\n");
    bench.say(client, get("a"));
    bench.pass(300);
    // The step waits for the reply to the read, behind which MULTI is sent already.
    bench.say(client, request(&["MULTI"]) + &set("a", "1") + &request(&["EXEC"]));
    bench.pass(200);
    let told = bench.told(client);
    let late = "-ERR No reply from server-0 within 500 ms; the command may have been run\r\n";
    assert_eq!(
        told,
        format!("+OK\r\n{late}+OK\r\n+QUEUED\r\n-EXECABORT Transaction discarded because of previous errors.\r\n")
    );
    assert!(bench.is_closed(Conn::Backend(leased)));
    bench.assert_nothing_is_left();
}

#[test]
fn a_transaction_is_over_with_its_exec_whatever_that_was_answered() {
    let (mut bench, backends) = Bench::ready(2, |settings| settings.pool_size = 1);
    let client = bench.client();
    bench.say(client, request(&["MULTI"]) + &request(&["CLIENT", "GETNAME"]) + &request(&["EXEC"]));
    let told = bench.told(client);
    assert_eq!(told, "+OK\r\n+QUEUED\r\n-ERR poolSize is 1: no connection can be held for this command\r\n");
    let key = key_on(&bench, 1);
    bench.say(client, get(&key));
    assert_eq!(bench.asked(backends[1]), get(&key), "it is no step of anything");
    bench.answer(backends[1], bulk("v"));
    assert_eq!(bench.told(client), bulk("v"));
    bench.assert_nothing_is_left();
}

#[test]
fn a_large_step_of_a_transaction_is_no_request_of_its_own() {
    for servers in [1, 2] {
        let (mut bench, backends) = Bench::ready(servers, |_| {});
        let client = bench.client();
        let large = set(&key_on(&bench, 0), &"x".repeat(200_000));
        bench.say(client, request(&["MULTI"]));
        bench.say(client, &large[..100_000]);
        assert_eq!(bench.asked(backends[0]), "", "before MULTI it would be run at once");
        bench.say(client, &large[100_000..]);
        let leased = bench.connect(0);
        assert!(bench.asked(leased) == request(&["MULTI"]) + &large);
        bench.answer(leased, "+OK\r\n+QUEUED\r\n");
        assert_eq!(bench.told(client), "+OK\r\n+QUEUED\r\n");
        // Nor when the transaction has its backend, and the step is for another server.
        if servers == 2 {
            let elsewhere = set(&key_on(&bench, 1), &"y".repeat(200_000));
            bench.say(client, &elsewhere[..100_000]);
            bench.say(client, &elsewhere[100_000..]);
            assert_eq!(bench.asked(backends[1]), "");
            let crossed = "-CROSSSLOT Keys in request don't hash to the same slot\r\n";
            assert_eq!(bench.told(client), crossed);
        }
    }
}

#[test]
fn a_large_element_that_does_not_come_whole_is_not_waited_for_for_ever() {
    for timeout in ["0", "60"] {
        let (mut bench, _) = Bench::ready(1, |_| {});
        let client = bench.client();
        bench.say(client, request(&["BLPOP", "list", timeout]));
        let leased = bench.connect(0);
        bench.pass(10_000);
        let large = "*2\r\n".to_owned() + &bulk("list") + &bulk(&"x".repeat(200_000));
        bench.answer(leased, &large[..100_000]);
        assert_eq!(bench.told(client).len(), 100_000);
        bench.pass(500);
        assert!(bench.is_closed(Conn::Client(client)), "there is no honest way to end its reply");
        assert!(bench.is_closed(Conn::Backend(leased)));
        bench.assert_nothing_is_left();
    }
}

const ABORTED: &str = "-EXECABORT Transaction discarded because of previous errors.\r\n";

/// What a transaction is told whose keys have another server by now.
fn moved(server: &str) -> String {
    format!(
        "-ERR These keys are not all at {server}, where this transaction began; a server went down or came back since\r\n"
    )
}

#[test]
fn a_transaction_whose_server_goes_down_is_told_that_and_not_that_its_keys_live_apart() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let key = key_on(&bench, 0);
    let (watcher, writer, other) = (bench.client(), bench.client(), bench.client());
    bench.say(watcher, request(&["WATCH", &key]));
    let watching = bench.connect(0);
    bench.say(writer, request(&["MULTI"]) + &set(&key, "1"));
    let writing = bench.connect(0);
    bench.answer(watching, "+OK\r\n");
    bench.answer(writing, "+OK\r\n+QUEUED\r\n");
    // New connections are refused; those two are still there.
    bench.proxy.handle_backend_end(backends[0], bench.now);
    bench.say(other, get(&key));
    bench.refuse(0);
    bench.answer(backends[1], "$-1\r\n");
    bench.asked(watching);
    bench.asked(writing);
    bench.say(watcher, request(&["WATCH", &key]));
    bench.say(watcher, request(&["MULTI"]) + &set(&key, "2"));
    bench.say(watcher, request(&["EXEC"]));
    assert_eq!(bench.asked(watching), request(&["UNWATCH"]), "nothing of it is run");
    let moved = moved("server-0");
    assert_eq!(bench.told(watcher), format!("+OK\r\n{moved}+OK\r\n{moved}{ABORTED}"));
    bench.say(writer, request(&["MSET", &key, "3", &key_on(&bench, 1), "3"]) + &request(&["EXEC"]));
    assert_eq!(bench.asked(writing), request(&["DISCARD"]));
    assert_eq!(bench.told(writer), format!("+OK\r\n+QUEUED\r\n{moved}{ABORTED}"));
    bench.answer(watching, "+OK\r\n");
    bench.answer(writing, "+OK\r\n");
    bench.assert_nothing_is_left();
}

#[test]
fn a_transaction_at_a_server_that_stands_in_is_told_when_that_is_over() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let key = key_on(&bench, 0);
    bench.take_down(backends[0], 0);
    let client = bench.client();
    bench.say(client, request(&["MULTI"]) + &set(&key, "1"));
    let leased = bench.connect(1);
    bench.answer(leased, "+OK\r\n+QUEUED\r\n");
    bench.pass(1_000);
    bench.connect(0);
    bench.say(client, set(&key, "2") + &request(&["EXEC"]));
    assert_eq!(bench.told(client), format!("+OK\r\n+QUEUED\r\n{}{ABORTED}", moved("server-1")));
    bench.answer(leased, "+OK\r\n");
    bench.assert_nothing_is_left();
}
