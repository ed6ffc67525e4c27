//! Transactions that arrive step by step, while their servers come and go.

use super::*;

const ABORTED: &str = "-EXECABORT Transaction discarded because of previous errors.\r\n";

/// What a transaction is told whose keys have another server by now.
fn moved(server: &str) -> String {
    format!(
        "-ERR These keys are not all at {server}, where this transaction began; \
         a server went down or came back since\r\n"
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
