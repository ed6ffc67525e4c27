//! Messages to very many subscribers: a bounded part of the work in each turn, and each of them in order.

use super::subscriptions::{confirmed, message, push, subscribe};
use super::*;

/// So many clients that have subscribed to `c` at the only server, each second one in RESP3, and the connection that
/// hears for them.
fn crowd(bench: &mut Bench, count: usize) -> (Vec<Id>, Id) {
    let clients: Vec<Id> = (0..count).map(|_| bench.client()).collect();
    for (index, &client) in clients.iter().enumerate() {
        if index % 2 == 1 {
            bench.hear(client, request(&["HELLO", "3"]));
        }
        bench.hear(client, subscribe("c"));
    }
    bench.turn();
    let listener = bench.connect(0);
    bench.answer(listener, confirmed("subscribe", "c", 1));
    turns(bench, listener);
    bench.net.written.clear();
    (clients, listener)
}

/// Turns until nothing is to be done at once; how many they were.
fn turns(bench: &mut Bench, listener: Id) -> usize {
    let mut count = 0;
    while bench.proxy.next_deadline().is_some_and(|deadline| deadline < bench.now) {
        assert!(!bench.proxy.is_listening_to(Conn::Backend(listener)), "more is read, and there is enough to do");
        bench.resumed.clear();
        bench.turn();
        count += 1;
        assert!(count < 10_000, "there is no end to it");
    }
    assert!(count == 0 || bench.has_resumed(Conn::Backend(listener)));
    assert!(bench.proxy.is_listening_to(Conn::Backend(listener)));
    count
}

/// What the client with this index is told when the server says this.
fn as_told(index: usize, frames: &[&str]) -> String {
    frames.iter().map(|frame| if index % 2 == 1 { push(frame) } else { frame.to_string() }).collect()
}

#[test]
fn a_large_message_to_many_is_held_once_and_given_out_over_several_turns() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let (clients, listener) = crowd(&mut bench, 300);
    let neighbour = bench.client();
    let frame = message("c", &"x".repeat(200_000));
    bench.answer(listener, &frame);
    let (mut turns, mut told) = (1, 0);
    while bench.proxy.next_deadline().is_some_and(|deadline| deadline < bench.now) {
        let before = told;
        told = clients.iter().filter(|id| bench.net.written.contains_key(&Conn::Client(**id))).count();
        assert!(told - before <= 12, "{} of 200 kB in two turns", told - before);
        // As it is in RESP2, and as it is in RESP3.
        assert!(bench.proxy.buffered_bytes() < 2 * 200_000 + 300 * 200, "{}", bench.proxy.buffered_bytes());
        bench.hear(neighbour, get("k"));
        bench.turn();
        assert_eq!(bench.asked(backends[0]), get("k"));
        bench.answer(backends[0], bulk("v"));
        assert_eq!(bench.told(neighbour), bulk("v"));
        turns += 2;
    }
    assert!(turns > 50, "all of it in {turns} turns");
    for (index, client) in clients.into_iter().enumerate() {
        assert!(bench.told(client) == as_told(index, &[&frame]), "client {index}");
    }
    bench.assert_nothing_is_left();
}

#[test]
fn a_small_message_to_very_many_is_given_out_over_several_turns() {
    let (mut bench, _) = Bench::ready(1, |_| {});
    let (clients, listener) = crowd(&mut bench, 2_000);
    bench.net.order.clear();
    bench.answer(listener, message("c", "x"));
    assert!(bench.net.order.len() <= 256, "{} writes in one turn", bench.net.order.len());
    assert!(turns(&mut bench, listener) >= 7);
    assert_eq!(bench.net.order.len(), 2_000);
    for (index, client) in clients.into_iter().enumerate() {
        assert_eq!(bench.told(client), as_told(index, &[&message("c", "x")]));
    }
}

#[test]
fn many_small_messages_to_few_go_out_together() {
    let (mut bench, _) = Bench::ready(1, |_| {});
    let (clients, listener) = crowd(&mut bench, 10);
    bench.net.order.clear();
    let frame = message("c", "x");
    bench.answer(listener, frame.repeat(300));
    assert_eq!(turns(&mut bench, listener), 0);
    assert_eq!(bench.net.order.len(), 10);
    for (index, client) in clients.into_iter().enumerate() {
        assert_eq!(bench.told(client), as_told(index, &[&frame]).repeat(300));
    }
}

#[test]
fn no_message_overtakes_another_one() {
    let (mut bench, _) = Bench::ready(1, |_| {});
    let (clients, listener) = crowd(&mut bench, 700);
    let other = bench.client();
    bench.say(other, subscribe("d"));
    bench.answer(listener, confirmed("subscribe", "d", 2));
    for &client in &clients[690..] {
        bench.hear(client, subscribe("d"));
    }
    bench.turn();
    bench.net.written.clear();
    let frames =
        [message("c", "1"), message("d", "2"), message("c", &"3".repeat(9_000)), message("c", "4"), message("d", "5")];
    bench.answer(listener, frames.concat());
    assert_eq!(bench.told(other), "", "the message before its own is still on its way to others");
    assert!(turns(&mut bench, listener) > 5);
    assert_eq!(bench.told(other), frames[1].clone() + &frames[4]);
    for (index, client) in clients.into_iter().enumerate() {
        let frames = frames.iter().filter(|frame| index >= 690 || frame.contains("\r\nc\r\n"));
        let frames: Vec<&str> = frames.map(String::as_str).collect();
        assert_eq!(bench.told(client), as_told(index, &frames));
    }
    bench.assert_nothing_is_left();
}

#[test]
fn who_comes_or_goes_meanwhile_gets_what_came_while_it_had_subscribed() {
    let (mut bench, _) = Bench::ready(1, |_| {});
    let (clients, listener) = crowd(&mut bench, 5_000);
    let frame = message("c", "x");
    bench.answer(listener, &frame);
    let [.., closes, back, leaves, last] = clients[..] else { unreachable!() };
    let late = bench.client();
    assert_eq!(bench.told(leaves), "", "its turn has not come");
    bench.hear(leaves, request(&["UNSUBSCRIBE", "c"]));
    bench.hear(back, request(&["UNSUBSCRIBE", "c"]) + &subscribe("c"));
    bench.hear(late, subscribe("c"));
    bench.proxy.handle_client_broken(closes);
    turns(&mut bench, listener);
    assert_eq!(bench.told(leaves), frame.clone() + &confirmed("unsubscribe", "c", 0));
    let again = confirmed("unsubscribe", "c", 0) + &confirmed("subscribe", "c", 1);
    assert_eq!(bench.told(back), push(&frame) + &again.replace('*', ">"));
    assert_eq!(bench.told(late), confirmed("subscribe", "c", 1));
    assert_eq!(bench.told(last), push(&frame));
    assert_eq!(bench.told(closes), "");
    bench.assert_nothing_is_left();
}

#[test]
fn the_last_one_that_a_message_is_for_may_leave() {
    let (mut bench, _) = Bench::ready(1, |_| {});
    let (clients, listener) = crowd(&mut bench, 5_000);
    bench.answer(listener, message("c", &"x".repeat(5_000)) + &message("c", "y"));
    for &client in &clients {
        bench.proxy.handle_client_broken(client);
    }
    turns(&mut bench, listener);
    bench.assert_nothing_is_left();
    assert!(!bench.is_closed(Conn::Backend(listener)));
}

#[test]
fn slow_subscribers_keep_a_reference_and_are_closed_by_their_limits() {
    let (mut bench, _) = Bench::ready(1, |settings| settings.limits.subscriber_unread_bytes_max = 1_000_000);
    let (clients, listener) = crowd(&mut bench, 100);
    for &client in &clients {
        bench.set_room(Conn::Client(client), 1_000);
    }
    for _ in 0..5 {
        bench.answer(listener, message("c", &"x".repeat(190_000)));
        turns(&mut bench, listener);
    }
    assert!(bench.proxy.buffered_bytes() < 2 * 5 * 200_000 + 5 * 100 * 100, "{}", bench.proxy.buffered_bytes());
    assert!(bench.closed.is_empty());
    // Who takes what it has is not closed by the next one.
    bench.make_room(Conn::Client(clients[0]), usize::MAX);
    bench.answer(listener, message("c", &"x".repeat(190_000)));
    turns(&mut bench, listener);
    assert_eq!(bench.closed.len(), 99);
    assert!(!bench.is_closed(Conn::Client(clients[0])));
    assert_eq!(bench.told(clients[0]).len(), 6 * message("c", &"x".repeat(190_000)).len());
    bench.assert_nothing_is_left();
}

#[test]
fn subscribers_whose_sockets_have_room_at_one_time_have_their_turns() {
    let (mut bench, _) = Bench::ready(1, |_| {});
    let (clients, listener) = crowd(&mut bench, 100);
    clients.iter().for_each(|&client| bench.set_room(Conn::Client(client), 0));
    bench.answer(listener, message("c", &"x".repeat(200_000)));
    turns(&mut bench, listener);
    for &client in &clients {
        bench.net.room.remove(&Conn::Client(client));
        bench.proxy.handle_writable(Conn::Client(client));
    }
    bench.turn();
    let told = bench.net.written.values().filter(|written| !written.is_empty()).count();
    assert!((1..=6).contains(&told), "{told} of 200 kB in one turn");
    turns(&mut bench, listener);
    assert!(clients.into_iter().all(|client| bench.told(client).len() > 200_000));
    bench.assert_nothing_is_left();
}

#[test]
fn a_message_that_is_given_out_outlives_its_connection() {
    let (mut bench, _) = Bench::ready(1, |_| {});
    let (clients, listener) = crowd(&mut bench, 1_000);
    bench.pass(1_000);
    let first = message("c", &"1".repeat(3_900));
    bench.answer(listener, first.clone() + &message("c", "lost with its connection"));
    bench.proxy.handle_backend_end(listener, bench.now);
    bench.turn();
    let listener = bench.connect(0);
    assert!(crate::proxy::delivery::is_publishing(&bench.proxy.pubsub));
    bench.hear_server(listener, confirmed("subscribe", "c", 1) + &message("c", "2"));
    turns(&mut bench, listener);
    for (index, client) in clients.into_iter().enumerate() {
        assert!(bench.told(client) == as_told(index, &[&first, &message("c", "2")]), "client {index}");
    }
    bench.assert_nothing_is_left();
}
