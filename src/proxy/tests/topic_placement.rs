//! Topics in a cluster: at which node they are heard.

use super::cluster::{address, halves, key_in};
use super::subscriptions::{confirmed, message, subscribe};
use super::*;
use crate::cluster::slot_of;

impl Bench {
    /// Takes the one connect that there is: its server, and the connection, which is ready.
    fn one_listener(&mut self) -> (u16, Id) {
        let [(_, server)] = self.connects[..] else { panic!("not one: {:?}", self.connects) };
        (server, self.connect(server))
    }

    /// What a connection is asked must be this; it is confirmed.
    fn confirm(&mut self, listener: Id, verb: &str, channel: &str) {
        assert_eq!(self.asked(listener), request(&[verb, channel]));
        self.answer(listener, confirmed(verb, channel, 1));
    }
}

/// A client that hears `c`, at whom, and over which connection.
fn hearing() -> (Bench, Vec<Id>, Id, (u16, Id)) {
    let (mut bench, backends) = halves(|_| {});
    let client = bench.client();
    bench.say(client, subscribe("c"));
    let (server, listener) = bench.one_listener();
    bench.confirm(listener, "subscribe", "c");
    assert_eq!(bench.told(client), confirmed("subscribe", "c", 1));
    (bench, backends, client, (server, listener))
}

#[test]
fn a_channel_is_heard_at_one_node_and_published_where_its_slot_is() {
    let (mut bench, backends, client, (server, listener)) = hearing();
    bench.answer(listener, message("c", "x"));
    assert_eq!(bench.told(client), message("c", "x"));
    let other = bench.client();
    bench.say(other, request(&["PSUBSCRIBE", "p*"]));
    assert!(bench.connects.is_empty(), "it is heard at the same node");
    bench.confirm(listener, "psubscribe", "p*");
    for half in [0, 1] {
        let publisher = bench.client();
        let publish = request(&["PUBLISH", &key_in(half, 0), "x"]);
        bench.say(publisher, &publish);
        assert_eq!(bench.asked(backends[usize::from(half)]), publish, "whoever hears it: {server}");
        bench.answer(backends[usize::from(half)], ":0\r\n");
    }
}

#[test]
fn those_who_hear_at_another_node_are_counted() {
    let (mut bench, backends, _, (server, listener)) = hearing();
    // One channel at either node, at one of which it is heard; and a pattern that is heard, too.
    for half in [0, 1] {
        let channel = key_in(half, 0);
        for number in 0..2 {
            let client = bench.client();
            bench.say(client, subscribe(&channel));
            if number == 0 {
                bench.confirm(listener, "subscribe", &channel);
            }
            assert_eq!(bench.told(client), confirmed("subscribe", &channel, 1));
        }
        let pattern = format!("{channel}*");
        let client = bench.client();
        bench.say(client, request(&["PSUBSCRIBE", &pattern]));
        bench.confirm(listener, "psubscribe", &pattern);
        let publisher = bench.client();
        let backend = backends[usize::from(half)];
        for strangers in [0, 2] {
            bench.say(publisher, request(&["PUBLISH", &channel, "x"]));
            bench.asked(backend);
            // The channel_node sees the channel and the pattern of one connection; the other node sees none of it.
            let seen = strangers + if server == half { 2 } else { 0 };
            bench.answer(backend, format!(":{seen}\r\n"));
            assert_eq!(bench.told(publisher), format!(":{}\r\n", strangers + 3), "heard at {server}, not at {half}");
        }
    }
    // What nobody hears is heard by nobody.
    let publisher = bench.client();
    for half in [0, 1] {
        bench.say(publisher, request(&["PUBLISH", &key_in(half, 1), "x"]));
        bench.asked(backends[usize::from(half)]);
        bench.answer(backends[usize::from(half)], ":0\r\n");
        assert_eq!(bench.told(publisher), ":0\r\n");
    }
}

#[test]
fn who_publishes_waits_until_the_hearer_has_confirmed() {
    let (mut bench, backends) = halves(|_| {});
    let (client, publisher) = (bench.client(), bench.client());
    // One at either node, in the order of their names.
    let mut channels = [key_in(0, 0), key_in(1, 0)];
    channels.sort();
    bench.say(client, request(&["SUBSCRIBE", &channels[0], &channels[1]]));
    for channel in &channels {
        bench.say(publisher, request(&["PUBLISH", channel, "x"]));
    }
    let (_, listener) = bench.one_listener();
    let asked = bench.asked(listener);
    assert_eq!(asked, request(&["subscribe", &channels[0]]) + &request(&["subscribe", &channels[1]]));
    assert_eq!([0, 1].map(|node: usize| bench.asked(backends[node])), ["", ""]);
    for channel in &channels {
        bench.answer(listener, confirmed("subscribe", channel, 1));
    }
    for channel in &channels {
        let node = usize::from(slot_of(channel.as_bytes()) / 8192);
        assert_eq!(bench.asked(backends[node]), request(&["PUBLISH", channel, "x"]));
        bench.answer(backends[node], ":1\r\n");
    }
}

#[test]
fn when_the_hearer_is_lost_another_node_is_asked_and_no_message_comes_twice() {
    let (mut bench, backends, client, (server, listener)) = hearing();
    bench.take_down(backends[usize::from(server)], server);
    assert_eq!(bench.asked(listener), request(&["unsubscribe", "c"]), "it may be there still");
    let (next, second) = bench.one_listener();
    assert_eq!(next, 1 - server);
    bench.confirm(second, "subscribe", "c");
    bench.answer(listener, message("c", "twice"));
    bench.answer(second, message("c", "once"));
    assert_eq!(bench.told(client), message("c", "once"));
    // The other one comes back, and is not asked.
    bench.answer(listener, confirmed("unsubscribe", "c", 0));
    bench.until_connect();
    bench.connect(server);
    bench.pass(10);
    let asked = bench.asked(listener);
    assert!(!asked.contains("subscribe"), "{asked:?}");
    bench.answer(second, message("c", "more"));
    assert_eq!(bench.told(client), message("c", "more"));
}

#[test]
fn what_happens_to_keys_is_heard_at_all_nodes() {
    let (mut bench, _) = halves(|_| {});
    let client = bench.client();
    let pattern = "__keyspace@0__:*";
    bench.say(client, request(&["PSUBSCRIBE", pattern]));
    for node in [0, 1] {
        assert_eq!(bench.told(client), "");
        let listener = bench.connect(node);
        bench.confirm(listener, "psubscribe", pattern);
    }
    assert_eq!(bench.told(client), confirmed("psubscribe", pattern, 1));
}

/// A client that hears a shard channel of the first half, and the connection of that node.
fn hearing_a_shard() -> (Bench, Id, Id, String) {
    let (mut bench, _) = halves(|_| {});
    let client = bench.client();
    let channel = key_in(0, 0);
    bench.say(client, request(&["SSUBSCRIBE", &channel]));
    let listener = bench.connect(0);
    bench.confirm(listener, "ssubscribe", &channel);
    assert_eq!(bench.told(client), confirmed("ssubscribe", &channel, 1));
    assert!(bench.connects.is_empty());
    (bench, client, listener, channel)
}

fn shard_message(channel: &str, text: &str) -> String {
    format!("*3\r\n{}{}{}", bulk("smessage"), bulk(channel), bulk(text))
}

#[test]
fn a_shard_channel_follows_its_slot() {
    let (mut bench, client, first, channel) = hearing_a_shard();
    bench.answer(first, shard_message(&channel, "x"));
    assert_eq!(bench.told(client), shard_message(&channel, "x"));
    bench.tell(&[(0, 0, 0), (1, 1, 16383)]);
    assert_eq!(bench.asked(first), request(&["sunsubscribe", &channel]));
    let second = bench.connect(1);
    bench.confirm(second, "ssubscribe", &channel);
    bench.answer(first, shard_message(&channel, "twice") + &confirmed("sunsubscribe", &channel, 0));
    bench.answer(second, shard_message(&channel, "once"));
    assert_eq!(bench.told(client), shard_message(&channel, "once"));
}

#[test]
fn a_node_that_says_the_slot_has_gone_is_asked_where_to() {
    let (mut bench, client, first, channel) = hearing_a_shard();
    bench.answer(first, confirmed("sunsubscribe", &channel, 0));
    assert_eq!(bench.asked(first), request(&["ssubscribe", &channel]));
    let slot = slot_of(channel.as_bytes());
    bench.answer(first, format!("-MOVED {slot} {}\r\n", address(1)));
    let second = bench.connect(1);
    bench.confirm(second, "ssubscribe", &channel);
    bench.answer(second, shard_message(&channel, "x"));
    assert_eq!(bench.told(client), shard_message(&channel, "x"), "and nothing of all that");
}

#[test]
fn nodes_that_send_a_shard_channel_round_in_circles_are_left_in_the_end() {
    let (mut bench, _) = halves(|_| {});
    let client = bench.client();
    let channel = key_in(0, 0);
    let slot = slot_of(channel.as_bytes());
    bench.say(client, request(&["SSUBSCRIBE", &channel]));
    let mut listeners = [Some(bench.connect(0)), None];
    let mut told = String::new();
    for round in 0..40 {
        let node = round % 2;
        let listener = *listeners[node].get_or_insert_with(|| bench.connect(node as u16));
        if bench.asked(listener).is_empty() {
            break;
        }
        bench.answer(listener, format!("-MOVED {slot} {}\r\n", address(1 - node as u16)));
        told += &bench.told(client);
    }
    assert!(told.starts_with("-MOVED "), "{told:?}");
    assert!(bench.proxy.pubsub.moved.is_empty());
}

#[test]
fn shard_channels_of_several_slots_are_refused() {
    let (mut bench, _) = halves(|_| {});
    let client = bench.client();
    bench.say(client, request(&["SSUBSCRIBE", &key_in(0, 0), &key_in(0, 1)]));
    assert_eq!(bench.told(client), "-CROSSSLOT Keys in request don't hash to the same slot\r\n");
    bench.tell(&[(0, 0, 8191), (1, 16383, 16383)]);
    bench.say(client, request(&["SSUBSCRIBE", &key_in(1, 0)]));
    assert_eq!(bench.told(client), "-CLUSTERDOWN Hash slot not served\r\n");
    assert!(bench.connects.is_empty());
}
