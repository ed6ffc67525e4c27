//! Publish and subscribe in front of real redis-servers: the bytes, who gets what, and what becomes of it when a server
//! or a subscriber fails.
//!
//! Messages are counted by a marker: a message that must *not* come has not come when one that was published after it,
//! on the same server, is there.

#[path = "support/mod.rs"]
mod support;

use support::client::{Client, bulk, encode, show};
use support::golden::key_for_each;
use support::proxy::{Front, PATIENT, Rmux};
use support::server::RedisServer;
use support::{KINDS, Kind, PATIENCE, is_direct, raise_descriptor_limit, sockets_affordable, wait_until};

/// A pipeline and its end: everything that is answered to it. A `QUIT` is sent behind.
fn everything(mut client: Client, lines: &[&str]) -> String {
    let mut bytes = Vec::new();
    for line in lines {
        bytes.extend(encode(&line.split(' ').collect::<Vec<_>>()));
    }
    bytes.extend(encode(&["QUIT"]));
    client.send(&bytes);
    String::from_utf8_lossy(&client.rest()).into_owned()
}

fn message(head: char, channel: &str, text: &str) -> String {
    let words = ["message", channel, text].map(|word| String::from_utf8(bulk(word.as_bytes())).expect("text"));
    format!("{head}3\r\n{}", words.concat())
}

fn confirmation(head: char, verb: &str, channel: &str, count: usize) -> String {
    let words = [verb, channel].map(|word| String::from_utf8(bulk(word.as_bytes())).expect("text"));
    format!("{head}3\r\n{}:{count}\r\n", words.concat())
}

fn reply(client: &mut Client) -> String {
    show(&client.reply())
}

/// Sent in RESP3, and its reply is not looked at.
fn hello3(client: &mut Client) {
    assert!(client.line("HELLO 3").starts_with('%'));
}

/// How many connections subscribe to this channel, as the server sees it.
fn listeners(server: &RedisServer, channel: &str) -> String {
    let reply = show(&server.ask(&format!("PUBSUB NUMSUB {channel}")));
    reply.rsplit(':').next().expect("a number").trim().to_owned()
}

#[test]
fn every_byte_is_that_of_redis() {
    let server = RedisServer::start();
    for kind in KINDS {
        let front = Front::of(kind, &server);
        for lines in [
            &["SUBSCRIBE a b a", "PSUBSCRIBE a*", "UNSUBSCRIBE a x", "UNSUBSCRIBE", "PING", "PING hello"][..],
            &["UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE", "UNSUBSCRIBE a b", "PUNSUBSCRIBE a"],
            &["SUBSCRIBE a", "PUNSUBSCRIBE", "UNSUBSCRIBE", "UNSUBSCRIBE", "GET x", "PING"],
            &["SSUBSCRIBE a b", "SUBSCRIBE a", "SUNSUBSCRIBE a", "SUNSUBSCRIBE b", "SUNSUBSCRIBE"],
            &["SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "SUBSCRIBE a", "SUBSCRIBE", "PING a b"],
            &["SUBSCRIBE a", "GET x", "GET", "SET x", "HELLO 3", "ECHO x", "NOSUCH x", "CLIENT ID", "CONFIG GET save"],
            &["SUBSCRIBE a", "SELECT 1", "AUTH x", "MULTI", "EXEC", "PUBLISH a x", "PUBSUB CHANNELS", "EVAL x 0"],
            &["SUBSCRIBE a", "PSUBSCRIBE b", "SSUBSCRIBE c", "RESET", "PING", "GET x", "UNSUBSCRIBE"],
            &["SET x 1", "GET x", "SUBSCRIBE a", "UNSUBSCRIBE a", "GET x", "SUBSCRIBE b", "PING", "UNSUBSCRIBE"],
            &["SUBSCRIBE a", "QUIT", "PING"],
        ] {
            // Client ids are each one's own, and a message may come before or behind the reply to its PUBLISH.
            let is_for_both = !lines.iter().any(|line| line.starts_with("CLIENT") || line.starts_with("PUBLISH"));
            for hello in if is_for_both { &["HELLO 2", "HELLO 3"][..] } else { &["HELLO 2"] } {
                // What HELLO itself says is another test's business: only its protocol matters here.
                let after_hello = |mut client: Client| {
                    client.line(hello);
                    everything(client, lines)
                };
                let (expected, got) = (after_hello(server.client()), after_hello(front.client()));
                assert_eq!(got, expected, "{kind:?} {hello} {lines:?}");
            }
        }
    }
}

#[test]
fn messages_come_in_the_clients_own_protocol() {
    let server = RedisServer::start();
    for kind in KINDS {
        let front = Front::of(kind, &server);
        let (mut old, mut new, mut publisher) = (front.client(), front.client(), front.client());
        hello3(&mut new);
        assert_eq!(old.line("SUBSCRIBE news"), confirmation('*', "subscribe", "news", 1));
        assert_eq!(new.line("SUBSCRIBE news"), confirmation('>', "subscribe", "news", 1));
        assert_eq!(new.line("PSUBSCRIBE n*"), confirmation('>', "psubscribe", "n*", 2));
        assert_eq!(old.line("SSUBSCRIBE news"), confirmation('*', "ssubscribe", "news", 1));
        publisher.line("PUBLISH news hello");
        assert_eq!(reply(&mut old), message('*', "news", "hello"));
        assert_eq!(reply(&mut new), message('>', "news", "hello"));
        assert_eq!(reply(&mut new), ">4\r\n$8\r\npmessage\r\n$2\r\nn*\r\n$4\r\nnews\r\n$5\r\nhello\r\n");
        publisher.line("SPUBLISH news shard");
        assert_eq!(reply(&mut old), "*3\r\n$8\r\nsmessage\r\n$4\r\nnews\r\n$5\r\nshard\r\n");
        publisher.line("PUBLISH other x");
        publisher.line("PUBLISH nothing y");
        assert_eq!(reply(&mut new), ">4\r\n$8\r\npmessage\r\n$2\r\nn*\r\n$7\r\nnothing\r\n$1\r\ny\r\n");
        // What is left is left, and what goes on goes on.
        assert_eq!(new.line("UNSUBSCRIBE"), confirmation('>', "unsubscribe", "news", 1));
        publisher.line("PUBLISH news more");
        assert_eq!(reply(&mut new), ">4\r\n$8\r\npmessage\r\n$2\r\nn*\r\n$4\r\nnews\r\n$4\r\nmore\r\n");
        assert_eq!(reply(&mut old), message('*', "news", "more"));
    }
}

#[test]
fn a_resp3_client_does_anything_while_it_hears() {
    let server = RedisServer::start();
    let front = Front::of(Kind::Unix, &server);
    let mut client = front.client();
    hello3(&mut client);
    // In one write: the message is published when the subscription is there, or it would be lost.
    for round in 0..50 {
        let channel = format!("own:{round}");
        let bytes = [encode(&["SUBSCRIBE", &channel]), encode(&["PUBLISH", &channel, "x"]), encode(&["PING"])];
        client.send(&bytes.concat());
        assert_eq!(reply(&mut client), confirmation('>', "subscribe", &channel, round + 1));
        // A push may come before or behind the reply of the PUBLISH that caused it, and behind that of the PING.
        let mut replies = [reply(&mut client), reply(&mut client), reply(&mut client)];
        replies.sort();
        assert_eq!(replies, ["+PONG\r\n", ":1\r\n", &message('>', &channel, "x")]);
    }
    assert_eq!(client.line("SET key value"), "+OK\r\n");
    assert_eq!(client.line("GET key"), "$5\r\nvalue\r\n");
    assert_eq!(client.line("UNSUBSCRIBE own:1"), confirmation('>', "unsubscribe", "own:1", 49));
    assert_eq!(client.line("RESET"), "+RESET\r\n");
    wait_until("the server to be told", PATIENCE, || listeners(&server, "own:2") == "0");
    // The old protocol again, and no subscriptions.
    assert_eq!(client.line("GET nothing"), "$-1\r\n");
}

#[test]
fn a_message_is_never_in_the_middle_of_a_reply() {
    let server = RedisServer::start();
    let front = Front::of(Kind::Unix, &server);
    let (mut client, mut publisher) = (front.client(), front.client());
    let value = vec![b'v'; 4 << 20];
    assert_eq!(publisher.cmd(&[b"SET".as_slice(), b"big", &value]), b"+OK\r\n");
    hello3(&mut client);
    client.line("SUBSCRIBE c");
    for round in 0..5 {
        client.send(&encode(&["GET", "big"]));
        client.send(&encode(&["GET", "nothing"]));
        // Some of it is on its way, and no more is taken for now.
        client.wait_for_some();
        for number in 0..20 {
            assert_eq!(publisher.line(&format!("PUBLISH c {number}")), ":1\r\n");
        }
        let mut messages = 0;
        let mut replies = Vec::new();
        while replies.len() < 2 || messages < 20 {
            let next = client.reply();
            if next[0] == b'>' {
                assert_eq!(show(&next), message('>', "c", &messages.to_string()), "round {round}");
                messages += 1;
            } else {
                replies.push(next);
            }
        }
        assert!(replies[0] == bulk(&value), "round {round}: {}", show(&replies[0]));
        assert_eq!(replies[1], b"_\r\n");
    }
}

#[test]
fn a_pipeline_of_resp2_stays_in_order() {
    let server = RedisServer::start();
    let front = Front::of(Kind::Unix, &server);
    let mut publisher = front.client();
    publisher.cmd(&[b"SET".as_slice(), b"big", &vec![b'v'; 1 << 20]]);
    for _ in 0..20 {
        let mut client = front.client();
        client.send(&[encode(&["GET", "big"]), encode(&["SUBSCRIBE", "c"]), encode(&["PING"])].concat());
        wait_until("the subscription to reach the server", PATIENCE, || listeners(&server, "c") == "1");
        publisher.line("PUBLISH c x");
        assert_eq!(client.reply().len(), bulk(&vec![b'v'; 1 << 20]).len());
        assert_eq!(reply(&mut client), confirmation('*', "subscribe", "c", 1));
        let mut rest = [reply(&mut client), reply(&mut client)];
        rest.sort();
        assert_eq!(rest, ["*2\r\n$4\r\npong\r\n$0\r\n\r\n".to_owned(), message('*', "c", "x")]);
        drop(client);
        wait_until("the server to be told", PATIENCE, || listeners(&server, "c") == "0");
    }
}

#[test]
fn messages_of_any_size_arrive_whole() {
    let server = RedisServer::start();
    for kind in KINDS {
        let front = Front::of(kind, &server);
        let (mut old, mut new, mut publisher) = (front.client(), front.client(), front.client());
        hello3(&mut new);
        old.line("SUBSCRIBE c");
        new.line("SUBSCRIBE c");
        for len in [0, 1, 4_000, 16_300, 16_400, 65_500, 131_000, 140_000, 1_000_000, 6_000_000] {
            let text = "x".repeat(len);
            assert_eq!(publisher.cmd(&["PUBLISH", "c", &text])[..1], *b":");
            let frame = message('*', "c", &text).into_bytes();
            assert!(old.reply() == frame, "{kind:?} {len}");
            assert!(new.reply()[1..] == frame[1..], "{kind:?} {len}");
        }
    }
}

#[test]
fn with_several_servers_a_message_arrives_once_from_wherever_it_comes() {
    if is_direct() {
        return;
    }
    let servers: Vec<_> = (0..3).map(|_| RedisServer::start()).collect();
    for kind in KINDS {
        let rmux = Rmux::in_front_of(kind, &servers.iter().collect::<Vec<_>>(), &[]);
        let (mut subscriber, mut publisher) = (rmux.client(), rmux.client());
        subscriber.send(&encode(&["SUBSCRIBE", "c:1", "c:2", "c:3", "c:4", "c:5", "c:6", "c:7", "c:8", "marker"]));
        subscriber.replies(9);
        assert_eq!(subscriber.line("PSUBSCRIBE p:*"), confirmation('*', "psubscribe", "p:*", 10));
        for round in 1..=8 {
            // On the channel's own server, whichever that is.
            publisher.line(&format!("PUBLISH c:{round} x"));
            assert_eq!(reply(&mut subscriber), message('*', &format!("c:{round}"), "x"));
        }
        for key in key_for_each(3) {
            // By a script, on the server of its key; the channel's own may be another.
            let script = b"return redis.call('publish', 'c:1', ARGV[1])";
            let reply_to_script = publisher.cmd(&[b"EVAL".as_slice(), &script[..], b"1", &key, b"script"]);
            assert_eq!(show(&reply_to_script), ":1\r\n");
            assert_eq!(reply(&mut subscriber), message('*', "c:1", "script"));
        }
        publisher.line("PUBLISH p:1 y");
        assert_eq!(reply(&mut subscriber), "*4\r\n$8\r\npmessage\r\n$3\r\np:*\r\n$3\r\np:1\r\n$1\r\ny\r\n");
        for server in &servers {
            server.client().line("PUBLISH marker x");
            assert_eq!(reply(&mut subscriber), message('*', "marker", "x"), "nothing came twice");
        }
    }
}

#[test]
fn a_server_that_comes_back_is_heard_again() {
    if is_direct() {
        return;
    }
    for count in [1, 3] {
        let mut servers: Vec<_> = (0..count).map(|_| RedisServer::start()).collect();
        let rmux = Rmux::in_front_of(Kind::Tcp, &servers.iter().collect::<Vec<_>>(), &[]);
        let mut subscriber = rmux.client();
        subscriber.line("SUBSCRIBE c");
        subscriber.line("PSUBSCRIBE p*");
        subscriber.line("SSUBSCRIBE s");
        servers[0].kill();
        for server in &servers[1..] {
            server.client().line("PUBLISH c meanwhile");
            assert_eq!(reply(&mut subscriber), message('*', "c", "meanwhile"));
        }
        servers[0].revive();
        wait_until("the subscription to be restored", PATIENCE, || listeners(&servers[0], "c") == "1");
        wait_until("the last of them", PATIENCE, || {
            servers[0].client().line("PUBSUB SHARDNUMSUB s").ends_with(":1\r\n")
        });
        for (command, frame) in [
            ("PUBLISH c again", message('*', "c", "again")),
            ("PUBLISH p1 x", "*4\r\n$8\r\npmessage\r\n$2\r\np*\r\n$2\r\np1\r\n$1\r\nx\r\n".to_owned()),
            ("SPUBLISH s y", "*3\r\n$8\r\nsmessage\r\n$1\r\ns\r\n$1\r\ny\r\n".to_owned()),
        ] {
            servers[0].client().line(command);
            assert_eq!(reply(&mut subscriber), frame);
        }
        wait_until("a line in the log", PATIENCE, || rmux.log().contains("3 subscriptions made anew"));
        if count > 1 {
            assert_eq!(rmux.info("resubscriptions"), "1");
        }
    }
}

#[test]
fn a_cut_connection_is_made_anew_at_once() {
    if is_direct() {
        return;
    }
    let server = RedisServer::start();
    let rmux = Rmux::in_front_of(Kind::Unix, &[&server], &[]);
    let mut subscriber = rmux.client();
    subscriber.line("SUBSCRIBE c");
    for round in 1..=3 {
        assert_eq!(server.client().line("CLIENT KILL TYPE pubsub"), ":1\r\n");
        wait_until("the subscription to be restored", PATIENCE, || listeners(&server, "c") == "1");
        server.client().line("PUBLISH c x");
        assert_eq!(reply(&mut subscriber), message('*', "c", "x"));
        wait_until("a line in the log", PATIENCE, || rmux.log().matches("1 subscriptions made anew").count() == round);
    }
}

#[test]
fn subscribing_with_servers_down_is_no_waiting_for_them() {
    if is_direct() {
        return;
    }
    let mut servers: Vec<_> = (0..2).map(|_| RedisServer::start()).collect();
    let rmux = Rmux::in_front_of(Kind::Unix, &servers.iter().collect::<Vec<_>>(), &[]);
    servers[0].kill();
    let mut subscriber = rmux.client();
    assert_eq!(subscriber.line("SUBSCRIBE c"), confirmation('*', "subscribe", "c", 1));
    servers[1].client().line("PUBLISH c x");
    assert_eq!(reply(&mut subscriber), message('*', "c", "x"));
    servers[1].kill();
    wait_until("rmux to notice", PATIENCE, || rmux.info("active_endpoints") == "0");
    assert_eq!(subscriber.line("SUBSCRIBE d"), "-ERR Connection down\r\n");
    // What it had it still has, and the count shows that nothing was added.
    assert_eq!(subscriber.line("UNSUBSCRIBE x"), confirmation('*', "unsubscribe", "x", 1));
    servers[0].revive();
    wait_until("the subscription to be restored", PATIENCE, || listeners(&servers[0], "c") == "1");
    assert_eq!(subscriber.line("SUBSCRIBE d"), confirmation('*', "subscribe", "d", 2));
    servers[0].client().line("PUBLISH d y");
    assert_eq!(reply(&mut subscriber), message('*', "d", "y"));
}

#[test]
fn a_thousand_subscribers_are_one_connection() {
    if is_direct() {
        return;
    }
    let count = sockets_affordable(1_000 * 2) / 2;
    let server = RedisServer::start();
    let rmux = Rmux::in_front_of(Kind::Unix, &[&server], &[]);
    let mut subscribers: Vec<Client> = (0..count).map(|_| rmux.client()).collect();
    for (number, subscriber) in subscribers.iter_mut().enumerate() {
        subscriber.send(&encode(&["SUBSCRIBE", "all", &format!("own:{number}")]));
    }
    for subscriber in &mut subscribers {
        subscriber.replies(2);
    }
    assert_eq!(listeners(&server, "all"), "1");
    assert!(server.clients_connected() <= 2, "{} connections", server.clients_connected());
    let mut publisher = rmux.client();
    assert_eq!(publisher.line("PUBLISH all x"), format!(":{count}\r\n"));
    for (number, subscriber) in subscribers.iter_mut().enumerate() {
        assert_eq!(reply(subscriber), message('*', "all", "x"));
        publisher.line(&format!("PUBLISH own:{number} y"));
        assert_eq!(reply(subscriber), message('*', &format!("own:{number}"), "y"));
    }
    drop(subscribers);
    wait_until("the server to be told", PATIENCE, || server.client().line("PUBSUB CHANNELS") == "*0\r\n");
}

/// What publishers and those who ask are told while these clients subscribe.
fn told_about(mut client: impl FnMut() -> Client) -> Vec<String> {
    let subscriptions = [
        &["SUBSCRIBE a b", "PSUBSCRIBE a* [ab] \\\\*"][..],
        &["SUBSCRIBE a", "SSUBSCRIBE a"],
        &["SSUBSCRIBE a", "PSUBSCRIBE a* ?"],
        &["PSUBSCRIBE a*"],
        &["SUBSCRIBE a b c", "UNSUBSCRIBE c b"],
        &["SUBSCRIBE a", "RESET"],
    ];
    let mut subscribers: Vec<Client> = Vec::new();
    for lines in subscriptions {
        let mut subscriber = client();
        for line in lines {
            let count = if *line == "RESET" { 1 } else { line.split(' ').count() - 1 };
            subscriber.send(&encode(&line.split(' ').collect::<Vec<_>>()));
            subscriber.replies(count);
        }
        subscribers.push(subscriber);
    }
    let mut asker = client();
    let mut told = Vec::new();
    for hello in ["HELLO 2", "HELLO 3"] {
        asker.line(hello);
        for line in [
            "PUBLISH a x",
            "PUBLISH b x",
            "PUBLISH c x",
            "PUBLISH ab x",
            "PUBLISH nobody x",
            "SPUBLISH a x",
            "SPUBLISH b x",
            "PUBSUB NUMSUB a b c nobody a",
            "PUBSUB NUMSUB",
            "PUBSUB SHARDNUMSUB a b",
            "PUBSUB NUMPAT",
            "PUBLISH a",
        ] {
            told.push(format!("{hello}, {line}: {}", asker.line(line)));
        }
        // Within a transaction, step by step and whole.
        for line in ["MULTI", "PUBLISH a x", "INCR n", "PUBLISH b x", "PUBLISH nobody x", "EXEC"] {
            told.push(asker.line(line));
        }
        let whole = ["MULTI", "PUBLISH a x", "PING", "PUBLISH a y", "EXEC", "PUBLISH a z", "PING"];
        asker.send(&whole.map(|line| encode(&line.split(' ').collect::<Vec<_>>())).concat());
        told.extend(whole.map(|_| reply(&mut asker)));
    }
    told
}

#[test]
fn publishers_are_told_how_many_clients_received_it() {
    let direct = RedisServer::start();
    let wanted = told_about(|| direct.client());
    for flags in [&["-maxProcesses=1"][..], &["-maxProcesses=3"]] {
        for count in [1, 3] {
            let servers: Vec<RedisServer> = (0..count).map(|_| RedisServer::start()).collect();
            let rmux = Rmux::in_front_of(Kind::Unix, &servers.iter().collect::<Vec<_>>(), flags);
            // Its keys are elsewhere, so that a transaction has one server.
            if count == 1 {
                assert_eq!(told_about(|| rmux.client()), wanted, "{flags:?}");
            } else {
                let without_steps = |told: Vec<String>| -> Vec<String> {
                    told.into_iter().filter(|line| line.starts_with("HELLO")).collect()
                };
                let got = without_steps(told_about(|| rmux.client()));
                assert_eq!(got, without_steps(wanted.clone()), "{flags:?}, {count} servers");
            }
        }
    }
}

#[test]
fn what_is_published_behind_a_subscription_is_heard() {
    let server = RedisServer::start();
    for _ in 0..3 {
        // Nothing is heard from the server yet.
        let front = Front::of(Kind::Unix, &server);
        let (mut subscriber, mut publisher) = (front.client(), front.client());
        assert_eq!(subscriber.line("PING") + &publisher.line("PING"), "+PONG\r\n+PONG\r\n");
        for round in 0..20 {
            let channel = format!("c:{round}");
            subscriber.send(&encode(&["SUBSCRIBE", &channel]));
            // As soon as it was read; the server may not know yet.
            let subscribed = format!(" sub={} ", round + 1);
            wait_until("it to be read", PATIENCE, || publisher.line("CLIENT LIST").contains(&subscribed));
            assert_eq!(publisher.line(&format!("PUBLISH {channel} x")), ":1\r\n", "round {round}");
            assert_eq!(reply(&mut subscriber), confirmation('*', "subscribe", &channel, round + 1));
            assert_eq!(reply(&mut subscriber), message('*', &channel, "x"));
        }
    }
}

#[test]
fn ten_thousand_subscribers_are_one_connection() {
    const COUNT: usize = 10_000;
    if is_direct() {
        return;
    }
    // Those of this test, and of the others that run at the same time.
    let limit = raise_descriptor_limit();
    if limit < COUNT + 4_000 {
        eprintln!("skipped: {limit} descriptors are too few for {COUNT} subscribers (ulimit -n)");
        return;
    }
    let server = RedisServer::start();
    let rmux = Rmux::in_front_of(Kind::Unix, &[&server], &["-clientsMax=11000", PATIENT]);
    let mut subscribers: Vec<Client> = (0..COUNT).map(|_| rmux.client()).collect();
    for (number, subscriber) in subscribers.iter_mut().enumerate() {
        subscriber.send(&encode(&["SUBSCRIBE", "all", &format!("own:{}", number % 100)]));
    }
    for subscriber in &mut subscribers {
        subscriber.replies(2);
    }
    assert_eq!(listeners(&server, "all"), "1");
    assert!(server.clients_connected() <= 2, "{} connections", server.clients_connected());
    let mut publisher = rmux.client();
    for round in 0..3 {
        assert_eq!(publisher.line(&format!("PUBLISH all {round}")), format!(":{COUNT}\r\n"));
        let wanted = message('*', "all", &round.to_string());
        for subscriber in &mut subscribers {
            assert_eq!(reply(subscriber), wanted);
        }
    }
    assert_eq!(publisher.line("PUBLISH own:7 x"), ":100\r\n");
    for subscriber in subscribers.iter_mut().skip(7).step_by(100) {
        assert_eq!(reply(subscriber), message('*', "own:7", "x"));
    }
    assert!(server.clients_connected() <= 2, "{} connections", server.clients_connected());
    drop(subscribers);
    wait_until("the server to be told", PATIENCE, || server.client().line("PUBSUB CHANNELS") == "*0\r\n");
}

#[test]
fn who_does_not_read_is_closed_and_nobody_else() {
    let server = RedisServer::start();
    let front = Front::of(Kind::Unix, &server);
    let (mut lazy, mut eager, mut publisher) = (front.client(), front.client(), front.client());
    lazy.line("SUBSCRIBE c");
    eager.line("SUBSCRIBE c");
    let text = "x".repeat(1 << 20);
    let frame = message('*', "c", &text).into_bytes();
    let mut sent = 0;
    while subscribers_of(&mut publisher) == 2 {
        publisher.cmd(&["PUBLISH", "c", &text]);
        assert!(eager.reply() == frame);
        sent += 1;
        assert!(sent < 60, "{sent} MiB are unread");
    }
    assert!(sent >= 32, "closed after {sent} MiB");
    // What it had got before is whole or cut, but never anything else.
    let rest = lazy.rest();
    assert!(rest.chunks(frame.len()).all(|part| frame.starts_with(part)));
    publisher.cmd(&["PUBLISH", "c", "still"]);
    assert_eq!(reply(&mut eager), message('*', "c", "still"));
}

#[test]
fn the_limits_of_a_subscriber_are_settings() {
    if is_direct() {
        return;
    }
    // The soft one, for a tenth of a second and for ever; the hard one.
    let soft = ["-subscriberSoftBytes=300000", "-subscriberSoftTimeout=100"];
    let never = ["-subscriberSoftBytes=300000", "-subscriberSoftTimeout=0", "-subscriberBytesMax=4000000"];
    for (flags, floor) in [(&soft[..], 0), (&never, 3)] {
        let server = RedisServer::start();
        let front = Front::with(Kind::Unix, &server, flags);
        let (mut lazy, mut publisher) = (front.client(), front.client());
        lazy.line("SUBSCRIBE c");
        let text = "x".repeat(1 << 20);
        publisher.cmd(&["PUBLISH", "c", &text]);
        if floor == 0 {
            wait_until("the lazy one to be closed", PATIENCE, || subscribers_of(&mut publisher) == 0);
            continue;
        }
        let mut sent = 1;
        while subscribers_of(&mut publisher) == 1 {
            publisher.cmd(&["PUBLISH", "c", &text]);
            sent += 1;
            assert!(sent < 10, "{sent} MiB are unread");
        }
        assert!(sent > floor, "closed after {sent} MiB");
    }
}

/// How many clients are subscribed to one channel, as `CLIENT LIST` tells. (Counting sockets would count connections to
/// the server, which come and go.)
fn subscribers_of(watcher: &mut Client) -> usize {
    let list = show(&watcher.cmd(&["CLIENT", "LIST"]));
    list.matches(" sub=1 ").count()
}

#[test]
fn a_message_that_nobody_may_leave_unread_costs_the_connection() {
    if is_direct() {
        return;
    }
    let server = RedisServer::start_with(&["--client-output-buffer-limit", "pubsub 0 0 0"]);
    let rmux = Rmux::in_front_of(Kind::Unix, &[&server], &[]);
    let (mut victim, mut other) = (rmux.client(), rmux.client());
    victim.line("SUBSCRIBE huge");
    other.line("SUBSCRIBE small");
    let mut publisher = server.client();
    assert_eq!(publisher.cmd(&[b"PUBLISH".as_slice(), b"huge", &vec![b'x'; 40 << 20]]), b":1\r\n");
    victim.rest();
    publisher.line("PUBLISH small x");
    assert_eq!(reply(&mut other), message('*', "small", "x"));
    assert!(!rmux.log().contains("made anew"), "the connection to the server was kept");
}

#[test]
fn what_a_server_refuses_the_client_is_told() {
    if is_direct() {
        return;
    }
    let server =
        RedisServer::start_with(&["--user", "default", "on", "nopass", "~*", "+@all", "resetchannels", "&ok*"]);
    let rmux = Rmux::in_front_of(Kind::Unix, &[&server], &[]);
    let mut client = rmux.client();
    let refusal = server.client().line("SUBSCRIBE secret");
    assert!(refusal.starts_with("-NOPERM"), "{refusal}");
    assert_eq!(client.line("SUBSCRIBE secret"), refusal);
    assert_eq!(client.line("GET x"), "$-1\r\n", "it is no subscriber");
    assert_eq!(client.line("SUBSCRIBE ok:1"), confirmation('*', "subscribe", "ok:1", 1));
    // One bad name among them: none of the request is subscribed to.
    assert_eq!(client.line("SUBSCRIBE ok:2 secret ok:3"), refusal);
    assert_eq!(client.line("UNSUBSCRIBE x"), confirmation('*', "unsubscribe", "x", 1));
    server.client().line("PUBLISH ok:2 x");
    server.client().line("PUBLISH ok:1 y");
    assert_eq!(reply(&mut client), message('*', "ok:1", "y"));
}
