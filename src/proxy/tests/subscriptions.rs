//! Clients that subscribe, and the connections that hear messages for them.

use super::*;

pub(super) fn subscribe(channel: &str) -> String {
    request(&["SUBSCRIBE", channel])
}

/// What a server is asked.
fn asked_for(verb: &str, channels: &[&str]) -> String {
    request(&[&[verb][..], channels].concat())
}

/// What a server says, and a RESP2 client is told.
pub(super) fn confirmed(verb: &str, channel: &str, count: usize) -> String {
    format!("*3\r\n{}{}:{count}\r\n", bulk(verb), bulk(channel))
}

pub(super) fn message(channel: &str, text: &str) -> String {
    format!("*3\r\n{}{}{}", bulk("message"), bulk(channel), bulk(text))
}

/// The same for a RESP3 client.
pub(super) fn push(frame: &str) -> String {
    frame.replacen('*', ">", 1)
}

/// A client that has subscribed to `c` at the only server, and the connection that hears for it.
fn subscribed(bench: &mut Bench) -> (Id, Id) {
    let client = bench.client();
    bench.say(client, subscribe("c"));
    let listener = bench.connect(0);
    assert_eq!(bench.asked(listener), asked_for("subscribe", &["c"]));
    bench.answer(listener, confirmed("subscribe", "c", 1));
    assert_eq!(bench.told(client), confirmed("subscribe", "c", 1));
    (client, listener)
}

/// A client in RESP3.
fn modern(bench: &mut Bench) -> Id {
    let client = bench.client();
    bench.say(client, request(&["HELLO", "3"]));
    assert!(bench.told(client).starts_with('%'));
    client
}

#[test]
fn a_subscription_is_confirmed_when_every_server_has() {
    let (mut bench, _) = Bench::ready(2, |_| {});
    let client = bench.client();
    bench.say(client, subscribe("c") + &request(&["PING"]));
    let (first, second) = (bench.connect(0), bench.connect(1));
    for listener in [first, second] {
        assert_eq!(bench.told(client), "");
        assert_eq!(bench.asked(listener), asked_for("subscribe", &["c"]));
        bench.answer(listener, confirmed("subscribe", "c", 1));
    }
    let pong = format!("*2\r\n{}{}", bulk("pong"), bulk(""));
    assert_eq!(bench.told(client), confirmed("subscribe", "c", 1) + &pong);
    bench.answer(second, message("c", "x"));
    assert_eq!(bench.told(client), message("c", "x"));
    // Another one is confirmed at once, over the same connections.
    let other = bench.client();
    bench.say(other, subscribe("c"));
    assert_eq!(bench.told(other), confirmed("subscribe", "c", 1));
    assert!(bench.connects.is_empty());
    assert_eq!(bench.asked(first) + &bench.asked(second), "");
}

#[test]
fn a_message_comes_in_any_pieces() {
    let (mut bench, _) = Bench::ready(1, |_| {});
    let (client, listener) = subscribed(&mut bench);
    let stream = message("c", "one") + &message("d", "nobody") + &message("c", "two");
    for byte in stream.as_bytes() {
        bench.answer(listener, [*byte]);
    }
    assert_eq!(bench.told(client), message("c", "one") + &message("c", "two"));
    let large = message("c", &"x".repeat(700_000));
    for piece in large.as_bytes().chunks(50_000) {
        bench.answer(listener, piece);
    }
    assert_eq!(bench.told(client), large);
}

#[test]
fn a_channel_that_is_left_and_joined_again_is_confirmed_by_the_second_answer() {
    let (mut bench, _) = Bench::ready(1, |_| {});
    let client = bench.client();
    bench.say(client, subscribe("c"));
    let listener = bench.connect(0);
    assert_eq!(bench.asked(listener), asked_for("subscribe", &["c"]));
    bench.say(client, request(&["UNSUBSCRIBE", "c"]));
    assert_eq!(bench.told(client), confirmed("subscribe", "c", 1) + &confirmed("unsubscribe", "c", 0));
    let other = bench.client();
    bench.say(other, subscribe("c"));
    let twice = asked_for("unsubscribe", &["c"]) + &asked_for("subscribe", &["c"]);
    assert_eq!(bench.asked(listener), twice);
    // The first answer is to the first question: between it and the last one nothing is heard.
    bench.answer(listener, confirmed("subscribe", "c", 1));
    bench.answer(listener, confirmed("unsubscribe", "c", 0));
    assert_eq!(bench.told(other), "");
    bench.answer(listener, confirmed("subscribe", "c", 1));
    assert_eq!(bench.told(other), confirmed("subscribe", "c", 1));
    assert_eq!(bench.told(client), "");
}

#[test]
fn who_leaves_and_comes_back_in_one_turn_is_not_unsubscribed() {
    let (mut bench, _) = Bench::ready(1, |_| {});
    let (client, listener) = subscribed(&mut bench);
    bench.hear(client, request(&["UNSUBSCRIBE"]));
    bench.say(client, subscribe("c"));
    assert_eq!(bench.asked(listener), asked_for("subscribe", &["c"]));
    bench.answer(listener, confirmed("subscribe", "c", 1));
    assert_eq!(bench.told(client), confirmed("unsubscribe", "c", 0) + &confirmed("subscribe", "c", 1));
}

#[test]
fn a_message_waits_for_the_replies_before_its_confirmation() {
    for protocol in ["2", "3"] {
        let (mut bench, backends) = Bench::ready(1, |_| {});
        let (_, listener) = subscribed(&mut bench);
        let client = bench.client();
        bench.say(client, request(&["HELLO", protocol]));
        bench.told(client);
        // The channel is heard already, so nothing is asked; but the GET is not answered.
        bench.say(client, get("k") + &subscribe("c"));
        bench.answer(listener, message("c", "x"));
        assert_eq!(bench.told(client), "");
        let backend = if protocol == "2" { backends[0] } else { bench.connect(0) };
        bench.answer(backend, bulk("v"));
        let frames = [confirmed("subscribe", "c", 1), message("c", "x")];
        let frames = if protocol == "2" { frames } else { frames.map(|frame| push(&frame)) };
        assert_eq!(bench.told(client), bulk("v") + &frames.concat(), "RESP{protocol}");
    }
}

#[test]
fn a_resp3_client_waits_for_its_subscription_before_it_publishes() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = modern(&mut bench);
    bench.say(client, subscribe("c") + &request(&["PUBLISH", "c", "x"]) + &request(&["PING"]));
    assert_eq!(bench.asked(backends[0]), "");
    let listener = bench.connect(0);
    assert!(bench.connects.is_empty(), "the PUBLISH waits");
    bench.answer(listener, confirmed("subscribe", "c", 1));
    let backend = bench.connect(0);
    assert_eq!(bench.asked(backend), request(&["PUBLISH", "c", "x"]));
    bench.answer(listener, message("c", "x"));
    bench.answer(backend, ":1\r\n");
    let expected = push(&confirmed("subscribe", "c", 1)) + &push(&message("c", "x")) + ":1\r\n+PONG\r\n";
    assert_eq!(bench.told(client), expected);
}

#[test]
fn a_message_is_held_while_a_reply_is_half_sent() {
    let (mut bench, _) = Bench::ready(1, |_| {});
    let (_, listener) = subscribed(&mut bench);
    let client = modern(&mut bench);
    bench.say(client, subscribe("c"));
    assert_eq!(bench.told(client), push(&confirmed("subscribe", "c", 1)));
    bench.say(client, get("big") + &get("k"));
    let backend = bench.connect(0);
    let big = bulk(&"v".repeat(300_000));
    let (start, rest) = big.split_at(100_000);
    bench.answer(backend, start);
    assert_eq!(bench.told(client), start);
    bench.answer(listener, message("c", "x") + &message("c", "y"));
    assert_eq!(bench.told(client), "");
    bench.answer(backend, rest);
    assert_eq!(bench.told(client), rest.to_owned() + &push(&message("c", "x")) + &push(&message("c", "y")));
    // A reply of which nothing has come is no reason to wait.
    bench.answer(listener, message("c", "z"));
    assert_eq!(bench.told(client), push(&message("c", "z")));
    bench.answer(backend, bulk("v"));
    assert_eq!(bench.told(client), bulk("v"));
}

#[test]
fn no_way_leads_past_the_few_commands_of_a_resp2_subscriber() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let (client, _) = subscribed(&mut bench);
    bench.asked(backends[0]);
    let whole = request(&["MULTI"]) + &set("k", "v") + &request(&["EXEC"]);
    bench.say(client, set("k", &"v".repeat(200_000)) + &whole + "set k v\r\n" + &request(&["EVAL", "x", "0"]));
    assert_eq!(bench.asked(backends[0]), "");
    let told = bench.told(client);
    assert_eq!(told.matches("are allowed in this context\r\n").count(), 6, "{told}");
    bench.say(client, request(&["UNSUBSCRIBE"]) + &get("k"));
    assert_eq!(bench.asked(backends[0]), get("k"));
}

#[test]
fn a_client_that_goes_away_leaves_nothing_behind() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    bench.say(client, get("k") + &subscribe("c") + &subscribe("d") + &request(&["PSUBSCRIBE", "p*"]));
    let listener = bench.connect(0);
    bench.asked(listener);
    bench.answer(listener, confirmed("subscribe", "c", 1));
    bench.answer(listener, message("c", "held"));
    bench.proxy.handle_client_broken(client);
    bench.turn();
    let less = bench.asked(listener);
    assert!(less.contains("unsubscribe") && less.contains("punsubscribe"), "{less}");
    let owed = confirmed("subscribe", "d", 2) + &confirmed("psubscribe", "p*", 3);
    let owed = owed + &confirmed("unsubscribe", "d", 2) + &confirmed("unsubscribe", "c", 1);
    bench.answer(listener, owed + &confirmed("punsubscribe", "p*", 0));
    bench.answer(backends[0], bulk("v"));
    assert!(bench.proxy.pubsub.registry.is_empty());
    assert!(!bench.is_closed(Conn::Backend(listener)));
    bench.assert_nothing_is_left();
}

#[test]
fn a_lost_connection_is_made_anew_with_everything_that_is_heard() {
    let (mut bench, _) = Bench::ready(1, |_| {});
    let (client, listener) = subscribed(&mut bench);
    bench.pass(1_000);
    bench.say(client, request(&["PSUBSCRIBE", "p*"]));
    bench.proxy.handle_backend_end(listener, bench.now);
    bench.turn();
    let again = bench.connect(0);
    let both = asked_for("subscribe", &["c"]) + &asked_for("psubscribe", &["p*"]);
    assert_eq!(bench.asked(again), both);
    bench.answer(again, confirmed("subscribe", "c", 1) + &confirmed("psubscribe", "p*", 2));
    // What was not confirmed by the first one is by the second.
    assert_eq!(bench.told(client), confirmed("psubscribe", "p*", 2));
    bench.answer(again, message("c", "x"));
    assert_eq!(bench.told(client), message("c", "x"));
    assert_eq!(bench.proxy.stats().resubscriptions, 1);
}

#[test]
fn a_connection_that_never_lasts_is_not_made_without_a_pause() {
    let (mut bench, _) = Bench::ready(1, |_| {});
    let (_, mut listener) = subscribed(&mut bench);
    let mut pauses = Vec::new();
    for _ in 0..6 {
        bench.proxy.handle_backend_end(listener, bench.now);
        bench.turn();
        pauses.push(bench.until_connect());
        listener = bench.connect(0);
    }
    let longest = [100, 200, 400, 800, 1_000, 1_000];
    let is_right = |(&pause, &longest): (&u64, &u64)| (longest / 2..=longest + 1).contains(&pause);
    assert!(pauses.iter().zip(&longest).all(is_right), "{pauses:?}");
    // One that lasts is worth a connection at once when it ends.
    bench.pass(1_000);
    bench.proxy.handle_backend_end(listener, bench.now);
    bench.turn();
    assert_eq!(bench.until_connect(), 0);
}

#[test]
fn a_script_in_the_way_of_hearing_again_takes_no_subscription_away() {
    const BUSY: &str = "-BUSY Redis is busy running a script.\r\n";
    let (mut bench, _) = Bench::ready(1, |_| {});
    let (client, listener) = subscribed(&mut bench);
    bench.pass(1_000);
    bench.proxy.handle_backend_end(listener, bench.now);
    bench.turn();
    for _ in 0..20 {
        let again = bench.connect(0);
        assert_eq!(bench.asked(again), asked_for("subscribe", &["c"]));
        bench.answer(again, BUSY);
        assert!(bench.is_closed(Conn::Backend(again)) && bench.connects.is_empty());
        bench.until_connect();
    }
    let again = bench.connect(0);
    bench.answer(again, confirmed("subscribe", "c", 1) + &message("c", "x"));
    assert_eq!(bench.told(client), message("c", "x"));
    // Who has not been heard yet is told, as by Redis.
    bench.say(client, subscribe("d"));
    bench.answer(again, BUSY);
    assert_eq!(bench.told(client), BUSY);
}

#[test]
fn servers_that_are_down_are_not_waited_for() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let client = bench.client();
    bench.say(client, subscribe("c"));
    let first = bench.connect(0);
    bench.answer(first, confirmed("subscribe", "c", 1));
    assert_eq!(bench.told(client), "");
    bench.refuse(1);
    assert_eq!(bench.told(client), confirmed("subscribe", "c", 1));
    // Now the other one too: who waits is told so, and hears no more than before.
    bench.pass(1_000);
    bench.say(client, subscribe("d"));
    for backend in [first, backends[0]] {
        bench.proxy.handle_backend_end(backend, bench.now);
    }
    bench.turn();
    assert_eq!(bench.told(client), "");
    bench.connects.retain(|connect| connect.1 == 0);
    bench.refuse(0);
    assert_eq!(bench.told(client), "-ERR Connection down\r\n");
    bench.say(client, request(&["UNSUBSCRIBE"]));
    assert_eq!(bench.told(client), confirmed("unsubscribe", "c", 0));
}

#[test]
fn what_a_server_refuses_is_asked_one_by_one() {
    let (mut bench, _) = Bench::ready(1, |_| {});
    let (other, listener) = subscribed(&mut bench);
    let client = bench.client();
    bench.say(client, request(&["SUBSCRIBE", "good", "bad"]));
    bench.say(other, subscribe("good"));
    assert_eq!(bench.asked(listener), asked_for("subscribe", &["good", "bad"]));
    bench.answer(listener, "-NOPERM not this one\r\n");
    assert_eq!(bench.asked(listener), asked_for("subscribe", &["good"]) + &asked_for("subscribe", &["bad"]));
    bench.answer(listener, confirmed("subscribe", "good", 2) + "-NOPERM not this one\r\n");
    assert_eq!(bench.told(client), "-NOPERM not this one\r\n");
    assert_eq!(bench.told(other), confirmed("subscribe", "good", 2));
    bench.answer(listener, message("good", "x"));
    assert_eq!((bench.told(client), bench.told(other)), (String::new(), message("good", "x")));
}

#[test]
fn a_server_that_does_not_confirm_is_given_up() {
    let (mut bench, _) = Bench::ready(1, |_| {});
    let (client, listener) = subscribed(&mut bench);
    bench.say(client, subscribe("d"));
    bench.pass(400);
    // As long as it says anything, its answer may still be on its way behind that.
    bench.answer(listener, message("c", "x"));
    bench.pass(499);
    assert!(!bench.is_closed(Conn::Backend(listener)));
    bench.pass(1);
    assert!(bench.is_closed(Conn::Backend(listener)));
    assert_eq!(bench.told(client), "-ERR Connection down\r\n".to_owned() + &message("c", "x"));
    bench.pass(100);
    // The probe of the server, and the next one that hears.
    assert_eq!(bench.connects.len(), 2);
}

#[test]
fn a_server_that_closes_what_wants_to_hear_is_not_waited_for_without_end() {
    let (mut bench, _) = Bench::ready(1, |_| {});
    let client = bench.client();
    for _ in 0..2 {
        bench.say(client, subscribe("c"));
        let mut waited = 0;
        let reply = loop {
            waited += bench.until_connect();
            let listener = bench.connect(0);
            bench.proxy.handle_backend_end(listener, bench.now);
            bench.turn();
            let told = bench.told(client);
            if !told.is_empty() {
                break told;
            }
            assert!(waited <= 1_500, "nobody tells the client");
        };
        // Not at once: a connection may be lost by chance.
        assert!(waited >= 500, "after {waited} ms");
        assert_eq!(reply, "-ERR Connection down\r\n");
        bench.pass(1_000);
        assert!(bench.connects.is_empty());
    }
    // Its next chance is as good as the first one.
    let _ = subscribed(&mut bench);
    assert_eq!(bench.proxy.stats().resubscriptions, 0);
}

#[test]
fn silence_is_asked_about_and_nothing_to_hear_is_no_reason_to_stay() {
    let (mut bench, _) = Bench::ready(1, |_| {});
    let (client, listener) = subscribed(&mut bench);
    for _ in 0..3 {
        bench.pass(30_000);
        assert_eq!(bench.asked(listener), request(&["PING"]));
        bench.answer(listener, format!("*2\r\n{}{}", bulk("pong"), bulk("")));
    }
    bench.proxy.handle_client_end(client);
    bench.turn();
    bench.answer(listener, confirmed("unsubscribe", "c", 0));
    bench.pass(30_000);
    assert!(bench.is_closed(Conn::Backend(listener)));
    assert!(bench.connects.is_empty());
    // No answer: it is closed, and made anew.
    let (_, listener) = subscribed(&mut bench);
    bench.pass(30_000);
    bench.pass(500);
    assert!(bench.is_closed(Conn::Backend(listener)));
}

#[test]
fn a_byte_that_belongs_to_nobody_closes_it() {
    for garbage in
        ["+OK\r\n", ":1\r\n", "*3\r\n$9\r\nsubscribe\r\n$1\r\nd\r\n:2\r\n", "*2\r\n$4\r\npong\r\n$0\r\n\r\n", "x"]
    {
        let (mut bench, _) = Bench::ready(1, |_| {});
        let (client, listener) = subscribed(&mut bench);
        bench.answer(listener, message("c", "x") + garbage);
        assert!(bench.is_closed(Conn::Backend(listener)), "{garbage}");
        assert_eq!(bench.told(client), message("c", "x"));
    }
}

#[test]
fn too_much_unread_for_too_long_closes_a_subscriber() {
    let limit = |settings: &mut Settings| {
        settings.limits.subscriber_unread_bytes_max = 40_000;
        settings.limits.subscriber_unread_soft_bytes = 10_000;
        settings.limits.subscriber_unread_soft_ms = 60_000;
    };
    let (mut bench, _) = Bench::ready(1, limit);
    let (slow, listener) = subscribed(&mut bench);
    let slower = bench.client();
    bench.say(slower, subscribe("c"));
    bench.told(slower);
    for client in [slow, slower] {
        bench.set_room(Conn::Client(client), 0);
    }
    bench.answer(listener, message("c", &"x".repeat(12_000)));
    bench.pass(30_000);
    bench.answer(listener, "+PONG\r\n");
    bench.make_room(Conn::Client(slow), 5_000);
    bench.answer(listener, message("c", "y"));
    // The limit is passed again, but not for so long.
    bench.answer(listener, message("c", &"x".repeat(6_000)));
    bench.pass(30_000);
    assert!(bench.is_closed(Conn::Client(slower)));
    assert!(!bench.is_closed(Conn::Client(slow)));
    bench.answer(listener, message("c", &"x".repeat(30_000)));
    assert!(bench.is_closed(Conn::Client(slow)));
}

#[test]
fn a_message_too_large_for_anybody_is_not_collected() {
    let limit = |settings: &mut Settings| settings.limits.subscriber_unread_bytes_max = 100_000;
    let (mut bench, _) = Bench::ready(1, limit);
    let (client, listener) = subscribed(&mut bench);
    let other = bench.client();
    bench.say(other, subscribe("d"));
    bench.answer(listener, confirmed("subscribe", "d", 2));
    bench.told(other);
    let large = message("c", &"x".repeat(1_000_000));
    for piece in (large + &message("d", "y")).as_bytes().chunks(30_000) {
        bench.answer(listener, piece);
        assert!(bench.proxy.buffered_bytes() < 150_000);
        assert!(bench.proxy.upstreams.backend(listener).is_some_and(|backend| backend.kept().len() <= 100_000));
    }
    assert!(bench.is_closed(Conn::Client(client)));
    assert_eq!(bench.told(client), "");
    assert_eq!(bench.told(other), message("d", "y"));
}

#[test]
fn short_memory_costs_those_who_do_not_read() {
    let limit = |settings: &mut Settings| settings.limits.buffered_bytes_max = 50_000;
    let (mut bench, _) = Bench::ready(1, limit);
    let (client, listener) = subscribed(&mut bench);
    let other = bench.client();
    bench.say(other, subscribe("c"));
    bench.told(other);
    bench.set_room(Conn::Client(other), 0);
    for _ in 0..10 {
        bench.answer(listener, message("c", &"x".repeat(9_000)));
        bench.told(client);
    }
    assert!(bench.is_closed(Conn::Client(other)));
    assert!(!bench.is_closed(Conn::Client(client)));
}

#[test]
fn who_hears_need_not_speak() {
    let (mut bench, _) = Bench::ready(1, |settings| settings.timeouts.local_read_ms = 5_000);
    let (client, _) = subscribed(&mut bench);
    for _ in 0..4 {
        bench.pass(5_000);
    }
    assert!(!bench.is_closed(Conn::Client(client)));
    bench.say(client, request(&["UNSUBSCRIBE"]));
    bench.pass(10_000);
    assert!(bench.is_closed(Conn::Client(client)));
}
