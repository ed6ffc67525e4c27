//! Many channels at a time, and many who wait for one.

use super::subscriptions::{confirmed, message, subscribe};
use super::*;

/// Names of more channels than one turn deals with.
fn many() -> Vec<String> {
    (0..3 * pubsub::SLICE + 10).map(|number| format!("channel-{number}")).collect()
}

fn about_many(verb: &str) -> String {
    let many = many();
    request(&[&[verb][..], &many.iter().map(|name| &**name).collect::<Vec<_>>()].concat())
}

/// A server that does what it is asked on this connection, until nothing more happens. Returns the most that it was
/// asked for in one turn, and for how many altogether.
fn serve_listener(bench: &mut Bench, listener: Id) -> (usize, usize) {
    let (mut most, mut all) = (0, 0);
    loop {
        let asked = bench.asked(listener);
        let (mut replies, mut verb, mut count) = (String::new(), "", 0);
        for word in asked.split("\r\n") {
            match word {
                "subscribe" | "unsubscribe" => verb = word,
                name if name.starts_with("channel") => {
                    replies += &confirmed(verb, name, 1);
                    count += 1;
                }
                _ => {}
            }
        }
        most = most.max(count);
        all += count;
        bench.answer(listener, replies);
        if count == 0 && bench.proxy.next_deadline() != Some(Millis(0)) {
            return (most, all);
        }
    }
}

fn all_confirmed(verb: &str) -> String {
    let many = many();
    let count = |index| if verb == "subscribe" { index + 1 } else { many.len() - index - 1 };
    many.iter().enumerate().map(|(index, name)| confirmed(verb, name, count(index))).collect()
}

#[test]
fn many_channels_are_the_work_of_several_turns() {
    let (mut bench, _) = Bench::ready(1, |_| {});
    let count = many().len();
    let (client, neighbour) = (bench.client(), bench.client());
    bench.say(client, about_many("SUBSCRIBE") + &request(&["PING"]));
    assert!(bench.proxy.pubsub.registry.len() <= 2 * pubsub::SLICE);
    bench.say(neighbour, request(&["PING"]));
    assert_eq!(bench.told(neighbour), "+PONG\r\n");
    assert!(bench.proxy.pubsub.registry.len() < count);
    // The connection comes when all of it is known.
    while bench.proxy.next_deadline() == Some(Millis(0)) {
        bench.turn();
    }
    let listener = bench.connect(0);
    let (most, all) = serve_listener(&mut bench, listener);
    assert!(most <= 2 * pubsub::SLICE, "{most} at a time");
    assert_eq!(all, count);
    let pong = format!("*2\r\n{}{}", bulk("pong"), bulk(""));
    assert_eq!(bench.told(client), all_confirmed("subscribe") + &pong);
    // A second one has them at once, and a connection that is lost is made anew.
    let second = bench.client();
    bench.say(second, about_many("SUBSCRIBE"));
    assert_eq!(serve_listener(&mut bench, listener), (0, 0));
    assert_eq!(bench.told(second), all_confirmed("subscribe"));
    bench.pass(10_000);
    bench.proxy.handle_backend_end(listener, bench.now);
    bench.turn();
    let listener = bench.connect(0);
    let (most, all) = serve_listener(&mut bench, listener);
    assert!(most <= 2 * pubsub::SLICE, "{most} at a time");
    assert_eq!(all, count);
    // Some by their names, and the others all together.
    bench.say(second, about_many("UNSUBSCRIBE") + &request(&["PING"]));
    assert!(!bench.told(second).ends_with("+PONG\r\n"));
    assert_eq!(serve_listener(&mut bench, listener), (0, 0));
    bench.say(client, request(&["UNSUBSCRIBE"]) + &request(&["PING"]));
    assert!(!bench.told(client).ends_with("+PONG\r\n"));
    let (most, all) = serve_listener(&mut bench, listener);
    assert!(most <= 2 * pubsub::SLICE && all == count, "{most} at a time, {all} altogether");
    assert!(bench.told(client).ends_with(&(confirmed("unsubscribe", &many()[count - 1], 0) + "+PONG\r\n")));
    bench.assert_nothing_is_left();
}

#[test]
fn one_who_leaves_many_channels_is_let_go_of_in_several_turns() {
    for way in ["close", "RESET", "close before all are asked for", "close before all are confirmed"] {
        let (mut bench, _) = Bench::ready(1, |_| {});
        let count = many().len();
        let keeper = bench.client();
        bench.say(keeper, subscribe("channel-7"));
        let listener = bench.connect(0);
        serve_listener(&mut bench, listener);
        let client = bench.client();
        bench.say(client, about_many("SUBSCRIBE"));
        let mut told = bench.told(client);
        match way {
            "close before all are asked for" => {}
            "close before all are confirmed" => {
                while bench.proxy.next_deadline() == Some(Millis(0)) {
                    bench.turn();
                }
            }
            _ => {
                serve_listener(&mut bench, listener);
                told += &bench.told(client);
                assert_eq!(told, all_confirmed("subscribe"));
            }
        }
        if way == "RESET" {
            bench.say(client, request(&["RESET"]) + &request(&["PING"]));
        } else {
            bench.proxy.handle_client_broken(client);
            bench.turn();
            assert!(bench.is_closed(Conn::Client(client)));
        }
        let (most, all) = serve_listener(&mut bench, listener);
        assert!(way.contains("before") || most <= 2 * pubsub::SLICE, "{way}: {most} at a time");
        assert!(way != "RESET" || bench.told(client) == "+RESET\r\n+PONG\r\n");
        assert!(way.contains("before") || all == count - 1, "{way}: {all} of {count}");
        assert_eq!(bench.proxy.pubsub.registry.len(), 1, "{way}");
        bench.answer(listener, message("channel-7", "x"));
        assert_eq!(bench.told(keeper), confirmed("subscribe", "channel-7", 1) + &message("channel-7", "x"));
        bench.assert_nothing_is_left();
    }
}

#[test]
fn many_channels_of_which_one_is_refused_get_one_error() {
    let (mut bench, _) = Bench::ready(1, |_| {});
    let keeper = bench.client();
    bench.say(keeper, subscribe("channel-7"));
    let listener = bench.connect(0);
    serve_listener(&mut bench, listener);
    let client = bench.client();
    bench.say(client, about_many("SUBSCRIBE") + &request(&["PING"]));
    // The server refuses the first part, and is asked one by one.
    bench.asked(listener);
    bench.answer(listener, "-NOPERM no\r\n");
    bench.answer(listener, "-NOPERM no\r\n");
    bench.answer(listener, "");
    assert_eq!(bench.told(client), "-NOPERM no\r\n+PONG\r\n");
    assert_eq!(bench.proxy.pubsub.registry.len(), 1);
}

#[test]
fn many_who_wait_for_one_channel_are_told_in_several_turns() {
    let (mut bench, _) = Bench::ready(1, |_| {});
    let clients: Vec<Id> = (0..3 * pubsub::CONFIRMED_MAX).map(|_| bench.client()).collect();
    for &client in &clients {
        bench.hear(client, subscribe("channel"));
    }
    bench.turn();
    let listener = bench.connect(0);
    let asked = bench.asked(listener);
    assert_eq!(asked, request(&["subscribe", "channel"]));
    bench.answer(listener, confirmed("subscribe", "channel", 1) + &message("channel", "x"));
    // One of them leaves meanwhile, and a neighbour is served.
    bench.proxy.handle_client_broken(clients[0]);
    bench.proxy.handle_client_broken(*clients.last().expect("there are some"));
    let neighbour = bench.client();
    bench.say(neighbour, request(&["PING"]));
    assert_eq!(bench.told(neighbour), "+PONG\r\n");
    let all = clients.iter().filter(|client| bench.net.written.contains_key(&Conn::Client(**client))).count();
    assert!(all < clients.len() / 2, "{all} are told");
    while bench.proxy.next_deadline() == Some(Millis(0)) {
        bench.turn();
    }
    for &client in &clients[1..clients.len() - 1] {
        assert_eq!(bench.told(client), confirmed("subscribe", "channel", 1) + &message("channel", "x"));
    }
    bench.assert_nothing_is_left();
}
