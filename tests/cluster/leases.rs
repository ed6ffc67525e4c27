//! What stands on a connection of its client's own, while its slot moves: a real cluster says what it says.

use super::newer::is_valkey;
use super::nodes::{Cluster, LONG, shown};
use crate::support::client::{Client, bulk, encode};
use crate::support::wait_until;

/// The key of the slot that moves, and its owner, and where to.
const KEY: &str = "foo";

fn places(cluster: &Cluster) -> (u16, usize, usize) {
    let slot = cluster.slot_of(KEY);
    let from = cluster.owner_by(0, slot).expect("it has an owner");
    (slot, from, (from + 1) % 3)
}

/// How many wait for data at a node.
fn blocked(cluster: &Cluster, node: usize) -> usize {
    let info = shown(&cluster.server(node).ask("INFO clients"));
    let line = info.lines().find_map(|line| line.strip_prefix("blocked_clients:"));
    line.and_then(|count| count.trim().parse().ok()).expect("a number")
}

fn await_blocked(cluster: &Cluster, node: usize, count: usize) {
    wait_until("who waits to be blocked there", LONG, || blocked(cluster, node) == count);
}

fn popped(key: &str, element: &str) -> String {
    let (key, element) = (bulk(key.as_bytes()), bulk(element.as_bytes()));
    format!("*2\r\n{}{}", shown(&key), shown(&element))
}

#[test]
fn who_waits_for_data_goes_with_the_slot() {
    let cluster = Cluster::start();
    let rmux = cluster.rmux(&[0], r#", "poolSize": 10"#);
    let (slot, from, to) = places(&cluster);
    let mut waiting: Vec<Client> = (0..3).map(|_| rmux.client()).collect();
    for (nth, client) in waiting.iter_mut().enumerate() {
        client.send(&encode(&["BLPOP", KEY, ["0", "60", "60"][nth]]));
        await_blocked(&cluster, from, nth + 1);
    }
    let mut reader = rmux.client();
    reader.send(&encode(&["XREAD", "BLOCK", "60000", "STREAMS", "{foo}stream", "$"]));
    await_blocked(&cluster, from, 4);
    let mut through = rmux.client();
    // Whose slot is on its way waits on; what is pushed goes to the other node, where nobody waits yet.
    cluster.begin_move(slot, from, to);
    assert_eq!(shown(&through.cmd(&["RPUSH", KEY, "0"])), ":1\r\n");
    cluster.end_move(slot, from, to);
    // One of them has what was there.
    await_blocked(&cluster, to, 3);
    assert_eq!(blocked(&cluster, from), 0);
    for element in ["1", "2"] {
        assert_eq!(shown(&through.cmd(&["RPUSH", KEY, element])), ":1\r\n");
    }
    let mut replies: Vec<String> = waiting.iter_mut().map(|client| shown(&client.reply())).collect();
    replies.sort();
    assert_eq!(replies, ["0", "1", "2"].map(|element| popped(KEY, element)));
    let id = shown(&through.cmd(&["XADD", "{foo}stream", "*", "field", "value"]));
    let reply = shown(&reader.reply());
    assert!(reply.contains("value") && reply.contains(id.split("\r\n").nth(1).expect("an id")), "{reply}");
}

#[test]
fn who_asks_for_data_of_a_slot_on_its_way_waits_where_its_key_will_be() {
    let cluster = Cluster::start();
    let rmux = cluster.rmux(&[0], r#", "poolSize": 10"#);
    let (slot, from, to) = places(&cluster);
    let mut through = rmux.client();
    assert_eq!(shown(&through.cmd(&["RPUSH", KEY, "here"])), ":1\r\n");
    cluster.begin_move(slot, from, to);
    let mut client = rmux.client();
    assert_eq!(shown(&client.cmd(&["BLPOP", KEY, "5"])), popped(KEY, "here"), "it is where it was");
    client.send(&encode(&["BLPOP", KEY, "60"]));
    await_blocked(&cluster, to, 1);
    assert_eq!(shown(&through.cmd(&["RPUSH", KEY, "there"])), ":1\r\n");
    assert_eq!(shown(&client.reply()), popped(KEY, "there"));
    // A time that is short ends where the command waits then.
    let mut late = rmux.client();
    assert_eq!(shown(&late.cmd(&["BLPOP", KEY, "0.2"])), "*-1\r\n");
    cluster.end_move(slot, from, to);
}

#[test]
fn who_waits_at_a_master_that_gives_its_place_away_waits_at_the_next_one() {
    let cluster = Cluster::start();
    let rmux = cluster.rmux(&[0], r#", "poolSize": 10"#);
    let (slot, from, _) = places(&cluster);
    let replica = from + 3;
    let mut client = rmux.client();
    client.send(&encode(&["BLPOP", KEY, "120"]));
    await_blocked(&cluster, from, 1);
    cluster.fail_over(replica);
    await_blocked(&cluster, replica, 1);
    assert_eq!(cluster.owner_by(replica, slot), Some(replica));
    let mut through = rmux.client();
    assert_eq!(shown(&through.cmd(&["RPUSH", KEY, "x"])), ":1\r\n");
    assert_eq!(shown(&client.reply()), popped(KEY, "x"));
}

#[test]
fn who_leaves_where_its_slot_went_takes_nothing_with_it() {
    let cluster = Cluster::start();
    let rmux = cluster.rmux(&[0], r#", "poolSize": 10"#);
    let (slot, from, to) = places(&cluster);
    let mut client = rmux.client();
    client.send(&encode(&["BLPOP", KEY, "0"]));
    await_blocked(&cluster, from, 1);
    cluster.begin_move(slot, from, to);
    cluster.end_move(slot, from, to);
    await_blocked(&cluster, to, 1);
    drop(client);
    await_blocked(&cluster, to, 0);
    let mut through = rmux.client();
    assert_eq!(shown(&through.cmd(&["RPUSH", KEY, "kept"])), ":1\r\n");
    assert_eq!(shown(&through.cmd(&["LPOP", KEY])), shown(&bulk(b"kept")));
}

#[test]
fn a_transaction_of_a_watched_key_whose_slot_has_moved_says_that_it_has_changed() {
    let cluster = Cluster::start();
    let rmux = cluster.rmux(&[0], r#", "poolSize": 10"#);
    let (slot, from, to) = places(&cluster);
    let mut client = rmux.client();
    assert_eq!(shown(&client.cmd(&["SET", KEY, "0"])), "+OK\r\n");
    assert_eq!(shown(&client.cmd(&["WATCH", KEY])), "+OK\r\n");
    let mut stepping = rmux.client();
    assert_eq!(shown(&stepping.cmd(&["WATCH", KEY])), "+OK\r\n");
    assert_eq!(shown(&stepping.cmd(&["MULTI"])), "+OK\r\n");
    assert_eq!(shown(&stepping.cmd(&["INCR", KEY])), "+QUEUED\r\n");
    cluster.begin_move(slot, from, to);
    while cluster.move_keys(slot, from, to, 100) > 0 {}
    cluster.end_move(slot, from, to);
    // It reads what it would read without rmux, and does not write on the strength of that.
    assert_eq!(shown(&client.cmd(&["GET", KEY])), shown(&bulk(b"0")));
    assert_eq!(shown(&client.cmd(&["MULTI"])), "+OK\r\n");
    assert_eq!(shown(&client.cmd(&["INCR", KEY])), "+QUEUED\r\n");
    assert_eq!(shown(&client.cmd(&["EXEC"])), "*-1\r\n");
    assert_eq!(shown(&stepping.cmd(&["EXEC"])), "*-1\r\n");
    // Tried again, it is run; and so it is by who comes anew.
    for (client, value) in [(&mut client, 1), (&mut stepping, 2), (&mut rmux.client(), 3)] {
        assert_eq!(shown(&client.cmd(&["WATCH", KEY])), "+OK\r\n");
        assert_eq!(shown(&client.cmd(&["MULTI"])), "+OK\r\n");
        assert_eq!(shown(&client.cmd(&["INCR", KEY])), "+QUEUED\r\n");
        assert_eq!(shown(&client.cmd(&["EXEC"])), format!("*1\r\n:{value}\r\n"));
    }
}

#[test]
fn a_key_that_is_on_its_way_can_be_watched() {
    let cluster = Cluster::start();
    let rmux = cluster.rmux(&[0], r#", "poolSize": 10"#);
    let (slot, from, to) = places(&cluster);
    cluster.begin_move(slot, from, to);
    let (mut client, mut other) = (rmux.client(), rmux.client());
    for (is_disturbed, reply) in [(false, "*1\r\n:1\r\n"), (true, "*-1\r\n"), (false, "*1\r\n:11\r\n")] {
        assert_eq!(shown(&client.cmd(&["WATCH", KEY])), "+OK\r\n");
        client.cmd(&["GET", KEY]);
        if is_disturbed {
            assert_eq!(shown(&other.cmd(&["SET", KEY, "10"])), "+OK\r\n");
        }
        assert_eq!(shown(&client.cmd(&["MULTI"])), "+OK\r\n");
        assert_eq!(shown(&client.cmd(&["INCR", KEY])), "+QUEUED\r\n");
        assert_eq!(shown(&client.cmd(&["EXEC"])), reply);
    }
    cluster.end_move(slot, from, to);
    assert_eq!(shown(&other.cmd(&["GET", KEY])), shown(&bulk(b"11")));
}

#[test]
fn a_transaction_that_comes_step_by_step_begins_where_its_slot_is() {
    let cluster = Cluster::start();
    let rmux = cluster.rmux(&[0], r#", "poolSize": 10"#);
    let (slot, from, to) = places(&cluster);
    let mut client = rmux.client();
    let step = |client: &mut Client, value: i64| {
        assert_eq!(shown(&client.cmd(&["MULTI"])), "+OK\r\n");
        assert_eq!(shown(&client.cmd(&["INCR", KEY])), "+QUEUED\r\n");
        assert_eq!(shown(&client.cmd(&["EXEC"])), format!("*1\r\n:{value}\r\n"));
    };
    step(&mut client, 1);
    cluster.begin_move(slot, from, to);
    step(&mut client, 2);
    while cluster.move_keys(slot, from, to, 100) > 0 {}
    // The owner has it no longer, and sends it on; Valkey 9 only when all is queued, at which rmux has it no longer.
    if is_valkey(9) {
        assert_eq!(shown(&client.cmd(&["MULTI"])), "+OK\r\n");
        assert_eq!(shown(&client.cmd(&["INCR", KEY])), "+QUEUED\r\n");
        let reply = shown(&client.cmd(&["EXEC"]));
        assert!(reply.starts_with("-EXECABORT Transaction discarded because of: its slot was moved"), "{reply}");
        assert_eq!(shown(&client.cmd(&["INCR", KEY])), ":3\r\n");
    } else {
        step(&mut client, 3);
    }
    cluster.end_move(slot, from, to);
    step(&mut client, 4);
    // In the midst of it.
    assert_eq!(shown(&client.cmd(&["MULTI"])), "+OK\r\n");
    assert_eq!(shown(&client.cmd(&["INCR", KEY])), "+QUEUED\r\n");
    cluster.begin_move(slot, to, from);
    while cluster.move_keys(slot, to, from, 100) > 0 {}
    cluster.end_move(slot, to, from);
    let reply = shown(&client.cmd(&["EXEC"]));
    assert!(reply.starts_with("-EXECABORT Transaction discarded because of: its slot was moved"), "{reply}");
    step(&mut client, 5);
}
