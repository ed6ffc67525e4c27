//! What comes from one that is no node, or a broken one.

use super::*;

/// A watch that knows its cluster, and asks the only node that is there; on which connection.
fn asking() -> (Bench, LinkId) {
    let mut bench = Bench::new(&["a:1"]);
    bench.run(2_000);
    bench.all(|model| model.is_down = true);
    bench.model("a:1").is_down = false;
    bench.model("a:1").is_silent = true;
    bench.watch.handle_hint(RefreshCause::Moved, bench.now);
    for _ in 0..100 {
        bench.settle();
        if let Some((&id, _)) = bench.open.iter().next() {
            return (bench, LinkId(id));
        }
        bench.run(100);
    }
    panic!("it is never asked");
}

#[test]
fn what_is_not_the_protocol_ends_the_connection_and_nothing_else() {
    for garbage in [&b"HTTP/1.1 400 Bad Request\r\n"[..], b"\0\0\0", b"*-7\r\n", b"$99999999999999999999\r\n"] {
        let (mut bench, id) = asking();
        bench.watch.handle_data(id, garbage, bench.now);
        bench.settle();
        assert!(!bench.open.contains_key(&id.0), "{garbage:?}");
        assert_eq!((bench.master(0), bench.maps.len()), (Some("a:1"), 1));
    }
}

#[test]
fn a_reply_without_end_is_not_kept_and_one_that_drips_has_its_time() {
    let (mut bench, id) = asking();
    bench.watch.handle_data(id, b"+OK\r\n$99999999\r\n", bench.now);
    let mut sent = 0;
    while bench.open.contains_key(&id.0) {
        bench.watch.handle_data(id, &vec![b'x'; 1024 * 1024], bench.now);
        bench.settle();
        sent += 1;
        assert!(sent < 20, "20 MB are held");
    }
    let (mut bench, id) = asking();
    let began_at = bench.now;
    bench.watch.handle_data(id, b"+OK\r\n$99999999\r\n", bench.now);
    while bench.open.contains_key(&id.0) {
        bench.watch.handle_data(id, b"x", bench.now);
        bench.run(400);
        assert!(bench.now - began_at < 6_000, "it is still listened to");
    }
}

#[test]
fn what_nobody_has_asked_ends_the_connection() {
    let (mut bench, id) = asking();
    let all = format!("+OK\r\n{}+OK\r\n", slots_reply(&halves()));
    bench.watch.handle_data(id, all.as_bytes(), bench.now);
    bench.settle();
    assert!(!bench.open.contains_key(&id.0));
    bench.watch.handle_data(id, b"+OK\r\n", bench.now);
    bench.watch.handle_lost(id, "again", bench.now);
    bench.watch.handle_found(id, bench.now);
    bench.watch.handle_connected(id, bench.now);
    assert_eq!(bench.master(0), Some("a:1"));
}

#[test]
fn bytes_come_in_any_pieces() {
    let (mut bench, id) = asking();
    let text = format!("{}{}", bulk("cluster_state:ok\r\n"), slots_reply(&[(0, 16_383, "a", vec![])]));
    for byte in text.bytes() {
        bench.watch.handle_data(id, &[byte], bench.now);
    }
    bench.settle();
    assert_eq!((bench.master(16_383), bench.open.len()), (Some("a:1"), 0));
}

#[test]
fn an_answer_that_is_none_is_as_good_as_silence() {
    for reply in ["+OK\r\n", "*1\r\n*1\r\n:1\r\n", "$-1\r\n", "-ERR unknown command 'CLUSTER'\r\n", ":1\r\n"] {
        let mut bench = Bench::with(&["a:1"], None, |models| {
            models.values_mut().for_each(|model| model.slots = Some(reply.to_owned()));
        });
        bench.run(100);
        assert_eq!(bench.watch.map(), None, "{reply:?}");
        assert!(
            bench.warnings()[0].starts_with("pool p: its cluster cannot be asked, 1 nodes tried; a:1: "),
            "{reply:?}"
        );
    }
}
