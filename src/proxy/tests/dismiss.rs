//! Another process takes over: clients leave between two requests, one after the other.

use super::*;

/// What the shell does when a client is to leave, and a read of its socket finds nothing.
fn find_silent(bench: &mut Bench) -> Vec<Id> {
    let dismissed = std::mem::take(&mut bench.dismissed);
    dismissed.iter().for_each(|id| bench.proxy.handle_client_silent(*id));
    bench.turn();
    dismissed
}

/// Lets so much time pass in the steps of a loop that wakes when it is to.
fn pass_in_steps(bench: &mut Bench, milliseconds: u64) -> Vec<Id> {
    let mut asked = Vec::new();
    for _ in 0..milliseconds / 10 {
        bench.pass(10);
        asked.extend(find_silent(bench));
    }
    asked
}

#[test]
fn the_longest_silent_go_first_and_all_by_half_of_the_time() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let clients: Vec<Id> = (0..10).map(|_| bench.client()).collect();
    // In another order than they came in.
    let order: Vec<Id> = [3, 1, 4, 0, 5, 9, 2, 6, 8, 7].map(|index| clients[index]).into();
    for id in &order {
        bench.pass(1);
        bench.say(*id, get("a"));
        bench.answer(backends[0], "$1\r\n1\r\n");
    }
    bench.proxy.handle_dismiss(8_000, bench.now);
    bench.turn();
    assert!(pass_in_steps(&mut bench, 990).is_empty(), "nobody at first");
    assert_eq!(pass_in_steps(&mut bench, 1_510), order[..6], "half of them when half of that is over");
    assert_eq!(pass_in_steps(&mut bench, 1_500), order[6..]);
    assert!(bench.proxy.is_empty());
    assert_eq!(bench.proxy.handle_accept(bench.now), None, "no new ones");
    bench.assert_nothing_is_left();
}

#[test]
fn who_is_in_the_middle_of_something_stays_until_that_is_over() {
    let (mut bench, backends) = Bench::ready(1, |settings| settings.timeouts.remote_read_ms = 60_000);
    let [in_flight, partial, multi, watching, subscriber, mute, unread] = [(); 7].map(|()| bench.client());
    bench.say(multi, request(&["MULTI"]));
    bench.say(mute, request(&["CLIENT", "REPLY", "OFF"]));
    bench.say(watching, request(&["WATCH", "a"]));
    let leased = bench.connect(0);
    bench.answer(leased, "+OK\r\n");
    bench.say(subscriber, request(&["SUBSCRIBE", "news"]));
    let listener = bench.connect(0);
    bench.answer(listener, "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    bench.say(partial, "*2\r\n$3\r\nGET");
    bench.set_room(Conn::Client(unread), 3);
    bench.say(unread, get("b"));
    bench.answer(backends[0], "$1\r\n2\r\n");
    bench.say(in_flight, get("a"));
    bench.proxy.handle_dismiss(8_000, bench.now);
    bench.turn();
    assert!(pass_in_steps(&mut bench, 20_000).is_empty());

    // Each of them leaves as soon as it may.
    let leaves = |bench: &mut Bench, client: Id| {
        assert_eq!(pass_in_steps(bench, 20), [client]);
        assert!(bench.is_closed(Conn::Client(client)));
    };
    bench.say(multi, request(&["DISCARD"]));
    leaves(&mut bench, multi);
    bench.make_room(Conn::Client(unread), 100);
    leaves(&mut bench, unread);
    bench.say(mute, request(&["CLIENT", "REPLY", "ON"]));
    leaves(&mut bench, mute);
    bench.answer(backends[0], "$1\r\n1\r\n");
    leaves(&mut bench, in_flight);
    assert!(!bench.is_closed(Conn::Client(partial)) && !bench.is_closed(Conn::Client(watching)));
}

#[test]
fn a_request_that_came_meanwhile_is_answered_and_its_client_asked_again() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    bench.proxy.handle_dismiss(800, bench.now);
    bench.turn();
    bench.pass(110);
    assert_eq!(std::mem::take(&mut bench.dismissed), [client]);
    bench.say(client, get("a"));
    // A read that finds nothing comes late: it is too early again.
    bench.proxy.handle_client_silent(client);
    bench.turn();
    assert!(!bench.is_closed(Conn::Client(client)));
    bench.pass(300);
    assert!(bench.dismissed.is_empty(), "its reply has not come");
    bench.answer(backends[0], "$1\r\n1\r\n");
    assert_eq!(bench.told(client), "$1\r\n1\r\n");
    assert_eq!(pass_in_steps(&mut bench, 20), [client]);
    assert!(bench.is_closed(Conn::Client(client)) && bench.proxy.is_empty());
    bench.assert_nothing_is_left();
}

#[test]
fn a_thousand_do_not_connect_anew_at_the_same_moment() {
    let (mut bench, _) = Bench::ready(1, |_| {});
    let clients: Vec<Id> = (0..1_000).map(|_| bench.client()).collect();
    assert_eq!(bench.proxy.clients(), clients.len());
    bench.proxy.handle_dismiss(8_000, bench.now);
    bench.turn();
    let mut most = 0;
    while !bench.proxy.is_empty() {
        bench.pass(10);
        most = most.max(find_silent(&mut bench).len());
    }
    assert!(most <= 5, "{most} in one turn");
    bench.assert_nothing_is_left();
}

#[test]
fn a_signal_to_end_is_not_delayed_by_it() {
    let (mut bench, _) = Bench::ready(1, |_| {});
    let [idle, multi] = [(); 2].map(|()| bench.client());
    bench.say(multi, request(&["MULTI"]));
    bench.proxy.handle_dismiss(8_000, bench.now);
    bench.turn();
    bench.proxy.handle_shutdown();
    bench.turn();
    assert!(bench.is_closed(Conn::Client(idle)) && bench.is_closed(Conn::Client(multi)));
    pass_in_steps(&mut bench, 2_000);
    bench.assert_nothing_is_left();
}
