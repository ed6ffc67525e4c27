//! Clients that publish, and that ask how many hear a channel.

use super::*;

fn publish(channel: &str) -> String {
    request(&["PUBLISH", channel, "x"])
}

fn numsub(channels: &[&str]) -> String {
    request(&[&["PUBSUB", "NUMSUB"], channels].concat())
}

/// What a server, or rmux, says to that.
fn counts(counts: &[(&str, usize)]) -> String {
    let counts = counts.iter().map(|(channel, count)| format!("{}:{count}\r\n", bulk(channel)));
    format!("*{}\r\n{}", 2 * counts.len(), counts.collect::<String>())
}

/// A client that subscribes; every server confirms it, if it is asked.
fn subscriber(bench: &mut Bench, listeners: &mut Vec<Id>, verb: &str, channel: &str) -> Id {
    let client = bench.client();
    bench.say(client, request(&[verb, channel]));
    while let Some((_, server)) = bench.connects.first().copied() {
        listeners.push(bench.connect(server));
    }
    for &listener in listeners.iter() {
        if !bench.asked(listener).is_empty() {
            bench.answer(listener, format!("*3\r\n{}{}:1\r\n", bulk(&verb.to_lowercase()), bulk(channel)));
        }
    }
    assert!(bench.told(client).starts_with("*3"));
    client
}

#[test]
fn a_publish_counts_the_clients_that_receive_it() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let mut listeners = Vec::new();
    let publisher = bench.client();
    let published = |bench: &mut Bench, seen: usize, received: usize| {
        bench.say(publisher, get("k") + &publish("c") + &get("k"));
        assert_eq!(bench.asked(backends[0]), get("k") + &publish("c") + &get("k"));
        bench.answer(backends[0], format!("$-1\r\n:{seen}\r\n$-1\r\n"));
        assert_eq!(bench.told(publisher), format!("$-1\r\n:{received}\r\n$-1\r\n"));
    };
    published(&mut bench, 0, 0);
    let first = subscriber(&mut bench, &mut listeners, "SUBSCRIBE", "c");
    published(&mut bench, 1, 1);
    let second = subscriber(&mut bench, &mut listeners, "SUBSCRIBE", "c");
    published(&mut bench, 1, 2);
    // Somebody else hears it at the server.
    published(&mut bench, 5, 6);
    // A client that hears it twice is told twice, and counts twice.
    bench.say(second, request(&["PSUBSCRIBE", "?"]));
    bench.answer(listeners[0], format!("*3\r\n{}{}:2\r\n", bulk("psubscribe"), bulk("?")));
    published(&mut bench, 2, 3);
    subscriber(&mut bench, &mut listeners, "PSUBSCRIBE", "?");
    published(&mut bench, 2, 4);
    // The server says that nobody hears it: it knows best.
    published(&mut bench, 0, 0);
    bench.say(first, request(&["UNSUBSCRIBE"]));
    published(&mut bench, 2, 3);
    bench.proxy.handle_client_broken(second);
    bench.turn();
    published(&mut bench, 2, 2);
}

#[test]
fn an_spublish_counts_shard_channels() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let (mut listeners, publisher) = (Vec::new(), bench.client());
    for verb in ["SUBSCRIBE", "SUBSCRIBE", "SUBSCRIBE", "SSUBSCRIBE", "SSUBSCRIBE"] {
        subscriber(&mut bench, &mut listeners, verb, "c");
    }
    bench.say(publisher, request(&["SPUBLISH", "c", "x"]));
    bench.answer(backends[0], ":1\r\n");
    assert_eq!(bench.told(publisher), ":2\r\n");
}

#[test]
fn a_publish_that_was_not_sent_goes_to_another_backend_and_still_counts() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let mut listeners = Vec::new();
    for _ in 0..3 {
        subscriber(&mut bench, &mut listeners, "SUBSCRIBE", "c");
    }
    let publisher = bench.client();
    bench.set_room(Conn::Backend(backends[0]), 0);
    bench.say(publisher, publish("c"));
    bench.proxy.handle_backend_end(backends[0], bench.now);
    bench.turn();
    let backend = bench.connect(0);
    assert_eq!(bench.asked(backend), publish("c"));
    bench.answer(backend, ":1\r\n");
    assert_eq!(bench.told(publisher), ":3\r\n");
    // A large one that comes in pieces.
    let large = request(&["PUBLISH", "c", &"x".repeat(200_000)]);
    bench.say(publisher, &large[..100_000]);
    bench.say(publisher, &large[100_000..]);
    assert_eq!(bench.asked(backend).len(), large.len());
    bench.answer(backend, ":1\r\n");
    assert_eq!(bench.told(publisher), ":3\r\n");
}

#[test]
fn numsub_counts_the_clients_that_subscribe() {
    for servers in [1, 2] {
        let (mut bench, backends) = Bench::ready(servers, |_| {});
        let (mut listeners, client) = (Vec::new(), bench.client());
        let asked = |bench: &mut Bench, seen: &[[(&str, usize); 2]], expected: [(&str, usize); 2]| {
            bench.say(client, numsub(&["c", "d"]));
            for (backend, seen) in backends.iter().zip(seen) {
                assert_eq!(bench.asked(*backend), numsub(&["c", "d"]));
                bench.answer(*backend, counts(seen));
            }
            assert_eq!(bench.told(client), counts(&expected), "{servers} servers");
        };
        asked(&mut bench, &[[("c", 0), ("d", 0)]; 2], [("c", 0), ("d", 0)]);
        for channel in ["c", "c", "c", "d"] {
            subscriber(&mut bench, &mut listeners, "SUBSCRIBE", channel);
        }
        subscriber(&mut bench, &mut listeners, "PSUBSCRIBE", "c");
        asked(&mut bench, &[[("c", 1), ("d", 1)]; 2], [("c", 3), ("d", 1)]);
        // Two others have subscribed at the first server.
        asked(&mut bench, &[[("c", 3), ("d", 1)], [("c", 1), ("d", 1)]], [("c", 5), ("d", 1)]);
        bench.say(client, numsub(&[]));
        backends.iter().for_each(|backend| bench.answer(*backend, "*0\r\n"));
        assert_eq!(bench.told(client), "*0\r\n");
        bench.say(client, numsub(&["c"]));
        backends.iter().for_each(|backend| bench.answer(*backend, "-LOADING x\r\n"));
        assert_eq!(bench.told(client), "-LOADING x\r\n");
    }
}

#[test]
fn steps_of_a_transaction_count_as_well() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let mut listeners = Vec::new();
    for _ in 0..3 {
        subscriber(&mut bench, &mut listeners, "SUBSCRIBE", "c");
    }
    let client = bench.client();
    let steps = [request(&["MULTI"]), set("k", "1"), publish("c"), publish("d"), numsub(&["c"]), request(&["EXEC"])];
    let queued = "+OK\r\n".to_owned() + &"+QUEUED\r\n".repeat(4);
    let said = queued.clone() + "*4\r\n+OK\r\n:1\r\n:0\r\n" + &counts(&[("c", 1)]);
    let expected = queued + "*4\r\n+OK\r\n:3\r\n:0\r\n" + &counts(&[("c", 3)]);
    // Whole, on a shared backend.
    bench.say(client, steps.concat() + &get("k"));
    assert_eq!(bench.asked(backends[0]), steps.concat() + &get("k"));
    bench.answer(backends[0], said.clone() + "$1\r\n1\r\n");
    assert_eq!(bench.told(client), expected.clone() + "$1\r\n1\r\n");
    // Step by step.
    for step in &steps {
        bench.say(client, step);
    }
    let leased = bench.connect(0);
    assert_eq!(bench.asked(leased), steps.concat());
    bench.answer(leased, said);
    assert_eq!(bench.told(client), expected);
    // One that is not run counts nothing.
    bench.say(client, [request(&["MULTI"]), publish("c"), request(&["DISCARD"])].concat());
    bench.answer(backends[0], "+OK\r\n+QUEUED\r\n+OK\r\n");
    assert_eq!(bench.told(client), "+OK\r\n+QUEUED\r\n+OK\r\n");
    bench.assert_nothing_is_left();
}

/// A client that has asked to hear something, and the connection over which nobody has confirmed it yet.
fn half_subscribed(bench: &mut Bench, verb: &str, channel: &str) -> (Id, Id) {
    let client = bench.client();
    bench.say(client, request(&[verb, channel]));
    let listener = bench.connect(0);
    assert!(bench.asked(listener).contains(channel));
    (client, listener)
}

fn confirmation(verb: &str, channel: &str) -> String {
    format!("*3\r\n{}{}:1\r\n", bulk(verb), bulk(channel))
}

#[test]
fn a_publish_waits_for_a_subscription_that_came_before_it() {
    for (verb, topic) in [("subscribe", "c"), ("psubscribe", "?")] {
        let (mut bench, backends) = Bench::ready(1, |_| {});
        let (_, listener) = half_subscribed(&mut bench, verb, topic);
        let (publisher, other) = (bench.client(), bench.client());
        bench.say(other, publish("unheard"));
        assert_eq!(bench.asked(backends[0]), publish("unheard"), "nobody has asked for that");
        bench.say(publisher, get("k") + &publish("c") + &get("l"));
        assert_eq!(bench.asked(backends[0]), get("k"));
        // Somebody else subscribes to more: that came later.
        let later = bench.client();
        bench.say(later, request(&["PSUBSCRIBE", "*"]));
        bench.answer(listener, confirmation(verb, topic));
        assert_eq!(bench.asked(backends[0]), publish("c") + &get("l"));
        bench.answer(backends[0], ":0\r\n$-1\r\n:1\r\n$-1\r\n");
        assert_eq!(bench.told(publisher), "$-1\r\n:1\r\n$-1\r\n");
    }
}

#[test]
fn a_publish_does_not_wait_longer_than_for_a_reply() {
    let (mut bench, backends) = Bench::ready(1, |settings| settings.timeouts.remote_connect_ms = 60_000);
    let client = bench.client();
    bench.say(client, request(&["SUBSCRIBE", "c"]));
    let slow = bench.next_connect(0);
    let (publisher, leaver) = (bench.client(), bench.client());
    bench.say(publisher, publish("c"));
    bench.say(leaver, publish("c"));
    bench.proxy.handle_client_broken(leaver);
    bench.pass(499);
    assert_eq!(bench.asked(backends[0]), "");
    bench.pass(10);
    assert_eq!(bench.asked(backends[0]), publish("c"));
    bench.answer(backends[0], ":0\r\n");
    assert_eq!(bench.told(publisher), ":0\r\n");
    // What the server will not do is not waited for, and what nobody wants any more neither.
    bench.say(publisher, publish("c"));
    bench.proxy.handle_client_broken(client);
    bench.turn();
    assert_eq!(bench.asked(backends[0]), publish("c"));
    bench.answer(backends[0], ":0\r\n");
    let other = bench.client();
    bench.say(other, request(&["SUBSCRIBE", "d"]));
    bench.say(publisher, publish("d"));
    bench.proxy.handle_connected(slow, bench.now);
    bench.turn();
    bench.answer(slow, "-ERR max number of clients reached\r\n");
    let told = bench.told(publisher) + &bench.asked(backends[0]);
    assert_eq!(told, ":0\r\n".to_owned() + &publish("d"));
}

#[test]
fn a_publish_waits_for_its_own_server_alone() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let keys = [key_on(&bench, 0), key_on(&bench, 1)];
    let client = bench.client();
    bench.say(client, request(&["SUBSCRIBE", &keys[0], &keys[1]]));
    let listener = bench.connect(1);
    bench.answer(listener, keys.iter().map(|key| confirmation("subscribe", key)).collect::<String>());
    let publishers = [bench.client(), bench.client()];
    for (publisher, key) in publishers.iter().zip(&keys) {
        bench.say(*publisher, publish(key));
    }
    assert_eq!(bench.asked(backends[1]), publish(&keys[1]));
    assert_eq!(bench.asked(backends[0]), "");
    bench.take_down(backends[0], 0);
    assert_eq!(bench.asked(backends[1]), publish(&keys[0]), "another server stands in for it");
}
