//! What comes from one that is no sentinel, or a broken one.

use super::*;

/// What a sentinel answers to being asked where m is, in the place of that.
fn answered(reply: &[u8]) -> Bench {
    let mut bench = Bench::new(&["s:1"]);
    bench.run(10);
    let watch = &mut bench.watch;
    watch.handle_hint("m", false, bench.now);
    bench.now = bench.now + 200;
    bench.watch.handle_timeouts(bench.now);
    let sent = std::iter::from_fn(|| bench.watch.poll_action()).find_map(|action| match action {
        Action::Send(id, _) => Some(id),
        _ => None,
    });
    let id = sent.expect("it is asked");
    // TILT, the address, the others.
    bench.watch.handle_data(id, b"$-1\r\n", bench.now);
    bench.watch.handle_data(id, reply, bench.now);
    bench.watch.handle_data(id, b"*0\r\n", bench.now);
    bench
}

#[test]
fn what_is_no_address_is_not_taken_for_one() {
    for reply in [
        "*0\r\n",
        "*1\r\n$1\r\na\r\n",
        "*3\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\n1\r\n",
        "*2\r\n$0\r\n\r\n$1\r\n1\r\n",
        "*2\r\n$1\r\na\r\n$1\r\n0\r\n",
        "*2\r\n$1\r\na\r\n$5\r\n65536\r\n",
        "*2\r\n$1\r\na\r\n$2\r\n-1\r\n",
        "*2\r\n$3\r\na b\r\n$1\r\n1\r\n",
        "*2\r\n$3\r\na\r\n\r\n$1\r\n1\r\n",
        "*2\r\n$1\r\n/\r\n$1\r\n1\r\n",
        "*2\r\n:1\r\n:2\r\n",
        "+OK\r\n",
        ":1\r\n",
        "$3\r\nfoo\r\n",
    ] {
        let mut bench = answered(reply.as_bytes());
        bench.settle();
        assert_eq!(bench.moved.len(), 1, "{reply:?}");
        let why = &bench.watch;
        assert!(format!("{why:?}").contains("its answer is none to what was asked"), "{reply:?}");
    }
    let mut bench = answered(b"*2\r\n$5\r\nfe::1\r\n$5\r\n65535\r\n");
    bench.settle();
    assert_eq!(bench.moved.last().map(|moved| moved.1.as_str()), Some("[fe::1]:65535"));
}

#[test]
fn one_that_does_not_finish_its_handshake_is_left_in_time_and_said_to_be_so() {
    let mut bench = Bench::new(&["s:1"]);
    bench.model("s:1").is_shaking = true;
    bench.run(499);
    assert!(bench.said.is_empty() && bench.connects == 1, "{:?}", bench.said);
    bench.run(1);
    let words = "s:1: TLS handshake: not done in time; does it speak TLS there?";
    assert!(bench.warnings()[0].ends_with(words), "{:?}", bench.said);
    bench.model("s:1").is_shaking = false;
    bench.run(1_000);
    assert_eq!(bench.address().as_deref(), Some("a:1"));
}

#[test]
fn null_in_any_spelling_is_a_name_that_is_not_known() {
    for reply in [&b"*-1\r\n"[..], b"$-1\r\n", b"_\r\n"] {
        let mut bench = answered(reply);
        bench.settle();
        assert_eq!(bench.address().as_deref(), Some("a:1"), "it stays");
        assert!(bench.warnings()[0].contains("no sentinel knows a master by this name"), "{:?}", bench.said);
    }
}

#[test]
fn what_is_not_the_protocol_ends_the_connection_and_nothing_else() {
    for garbage in [&b"HTTP/1.1 400 Bad Request\r\n"[..], b"\0\0\0", b"*-7\r\n", b"$99999999999999999999\r\n"] {
        let mut bench = answered(garbage);
        let closed = std::iter::from_fn(|| bench.watch.poll_action()).any(|action| matches!(action, Action::Close(_)));
        assert!(closed, "{garbage:?}");
        assert_eq!(bench.address().as_deref(), Some("a:1"));
    }
}

#[test]
fn a_reply_without_end_is_not_kept() {
    let mut bench = answered(b"$400000\r\n");
    for _ in 0..300 {
        let id = bench.open.keys().next().copied().expect("it is open");
        bench.watch.handle_data(LinkId(id), &[b'x'; 1024], bench.now);
        let closed = std::iter::from_fn(|| bench.watch.poll_action()).any(|action| matches!(action, Action::Close(_)));
        if closed {
            return;
        }
    }
    panic!("300 kB are held");
}

#[test]
fn what_nobody_has_asked_ends_the_connection() {
    let mut bench = Bench::new(&["s:1"]);
    bench.run(10);
    let id = *bench.open.keys().next().expect("it is open");
    bench.watch.handle_data(LinkId(id), b"+OK\r\n", bench.now);
    bench.settle();
    assert!(!bench.open.contains_key(&id));
    bench.watch.handle_data(LinkId(id), b"+OK\r\n", bench.now);
    bench.watch.handle_lost(LinkId(id), "again", bench.now);
    assert_eq!(bench.address().as_deref(), Some("a:1"));
}

#[test]
fn bytes_come_in_any_pieces() {
    let mut bench = Bench::new(&["s:1"]);
    bench.run(10);
    let (&id, _) = bench.open.iter().find(|(_, open)| open.1).expect("one hears");
    bench.point(&["s:1"], "b:2");
    for byte in bulks(&["message", "+switch-master", "m a 1 b 2"]).bytes() {
        bench.watch.handle_data(LinkId(id), &[byte], bench.now);
    }
    bench.settle();
    assert_eq!(bench.address().as_deref(), Some("b:2"));
}

#[test]
fn no_more_sentinels_are_learnt_than_there_is_room_for() {
    let mut bench = Bench::new(&["s:1"]);
    bench.model("s:1").others =
        (0..1_000).map(|number| (host_port(&format!("t:{}", number + 1)), format!("t{number}"))).collect();
    bench.run(1_000);
    assert_eq!(bench.watch.view().len(), 32);
}
