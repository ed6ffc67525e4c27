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
