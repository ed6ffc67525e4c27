//! What nodes of a cluster do not run, since they do not have the slot, or not all of it.

use super::cluster::{address, halves, key_in};
use super::*;
use crate::cluster::slot_of;

pub(super) const ASKING: &str = "*1\r\n$6\r\nASKING\r\n";
pub(super) const TRYAGAIN: &str = "-TRYAGAIN Multiple keys request during rehashing of slot\r\n";
const OVERTAKEN: &str =
    "-TRYAGAIN A request that was sent behind this one came first, while its slot was moved; this one was not run\r\n";
const DOWN: &str = "-CLUSTERDOWN The cluster is down\r\n";
pub(super) const OK: &str = "+OK\r\n";

pub(super) fn moved(key: &str, node: u16) -> String {
    format!("-MOVED {} {}\r\n", slot_of(key.as_bytes()), address(node))
}

pub(super) fn ask(key: &str, node: u16) -> String {
    format!("-ASK {} {}\r\n", slot_of(key.as_bytes()), address(node))
}

/// Lets time pass until this connection is asked something; returns that.
pub(super) fn asked_in_time(bench: &mut Bench, backend: Id, within_ms: u64) -> String {
    let start = bench.now;
    loop {
        let asked = bench.asked(backend);
        if !asked.is_empty() {
            return asked;
        }
        bench.pass(1);
        assert!(bench.now - start <= within_ms, "it is not asked");
    }
}

#[test]
fn a_slot_that_has_moved_is_asked_for_at_its_new_owner_at_once_and_from_then_on() {
    let (mut bench, backends) = halves(|_| {});
    let client = bench.client();
    let key = key_in(0, 0);
    bench.say(client, set(&key, "v"));
    bench.asked(backends[0]);
    bench.answer(backends[0], moved(&key, 1));
    bench.turn();
    assert_eq!((bench.asked(backends[1]), bench.told(client)), (set(&key, "v"), String::new()));
    assert_eq!(bench.refreshes, [RefreshCause::Moved]);
    bench.answer(backends[1], OK);
    assert_eq!(bench.told(client), OK);
    bench.turn();
    bench.say(client, get(&key) + &get(&key_in(0, 1)));
    assert_eq!(bench.asked(backends[1]), get(&key), "that slot");
    assert_eq!(bench.asked(backends[0]), get(&key_in(0, 1)), "and no other");
    bench.answer(backends[1], bulk("v"));
    bench.answer(backends[0], bulk("w"));
    bench.assert_nothing_is_left();
    assert!(bench.proxy.redirected.is_empty());
}

#[test]
fn nothing_of_a_client_overtakes_what_is_redirected() {
    let (mut bench, backends) = halves(|_| {});
    let client = bench.client();
    let key = key_in(0, 0);
    let writes: Vec<String> = (1..5).map(|n| set(&key, &n.to_string())).collect();
    bench.say(client, writes[..2].concat());
    bench.asked(backends[0]);
    bench.hear_server(backends[0], moved(&key, 1));
    // In the same turn, and in the next one.
    bench.say(client, &writes[2]);
    bench.turn();
    bench.say(client, &writes[3]);
    assert_eq!(bench.asked(backends[1]), "", "the second one is not answered yet");
    bench.answer(backends[0], moved(&key, 1));
    bench.turn();
    assert_eq!(bench.asked(backends[1]), writes[..2].concat());
    bench.answer(backends[1], OK);
    assert_eq!(bench.asked(backends[1]), "");
    bench.answer(backends[1], OK);
    bench.turn();
    assert_eq!(bench.asked(backends[1]), writes[2..].concat());
    bench.answer(backends[1], OK.repeat(2));
    assert_eq!(bench.told(client), OK.repeat(4));
    assert_eq!(bench.asked(backends[0]), "");
    bench.assert_nothing_is_left();
}

#[test]
fn a_node_that_nobody_knows_yet_is_connected_to() {
    let (mut bench, backends) = halves(|_| {});
    let client = bench.client();
    let key = key_in(0, 0);
    bench.say(client, set(&key, "v"));
    bench.answer(backends[0], moved(&key, 9));
    bench.turn();
    let ninth = bench.connect(2);
    assert_eq!(bench.asked(ninth), set(&key, "v"));
    bench.answer(ninth, OK);
    assert_eq!(bench.told(client), OK);
    // The map that is told next does not have it yet; it is kept, and asked if it is named again.
    bench.tell(&[(0, 0, 8191), (1, 8192, 16383)]);
    assert!(!bench.is_closed(Conn::Backend(ninth)));
    bench.say(client, get(&key));
    bench.answer(backends[0], moved(&key, 9));
    bench.turn();
    assert_eq!(bench.asked(ninth), get(&key));
    bench.answer(ninth, bulk("v"));
    // And nobody names it for long.
    bench.pass(60_000);
    bench.tell(&[(0, 0, 8191), (1, 8192, 16383)]);
    assert!(bench.is_closed(Conn::Backend(ninth)));
    bench.assert_nothing_is_left();
}

#[test]
fn an_asked_request_has_asking_directly_before_it_and_changes_nothing_else() {
    let (mut bench, backends) = halves(|_| {});
    let client = bench.client();
    let key = key_in(0, 0);
    let served = format!("{{{key}}}served");
    bench.say(client, set(&key, "1") + &get(&served) + &set(&key, "2"));
    bench.asked(backends[0]);
    bench.answer(backends[0], ask(&key, 1) + &bulk("here") + &ask(&key, 1));
    bench.turn();
    assert_eq!(bench.asked(backends[1]), [ASKING, &set(&key, "1"), ASKING, &set(&key, "2")].concat());
    bench.answer(backends[1], OK.repeat(4));
    assert_eq!(bench.told(client), [OK, &bulk("here"), OK].concat());
    bench.turn();
    bench.say(client, get(&key));
    assert_eq!((bench.asked(backends[0]), bench.refreshes.len()), (get(&key), 0), "the slot is where it was");
    bench.answer(backends[0], ask(&key, 9));
    bench.turn();
    let ninth = bench.connect(2);
    assert_eq!(bench.asked(ninth), ASKING.to_string() + &get(&key));
    bench.answer(ninth, OK.to_string() + &bulk("2"));
    assert_eq!(bench.told(client), bulk("2"));
    bench.assert_nothing_is_left();
}

#[test]
fn what_goes_astray_with_asking_is_asked_of_the_owner_again() {
    let (mut bench, backends) = halves(|_| {});
    let client = bench.client();
    let key = key_in(0, 0);
    bench.say(client, set(&key, "1"));
    bench.answer(backends[0], ask(&key, 1));
    bench.turn();
    bench.asked(backends[0]);
    // It has lost the slot, and does not import it any more.
    bench.answer(backends[1], OK.to_string() + &moved(&key, 0));
    bench.turn();
    assert_eq!(bench.asked(backends[0]), set(&key, "1"));
    bench.answer(backends[0], OK);
    assert_eq!(bench.told(client), OK);
    bench.assert_nothing_is_left();
}

#[test]
fn keys_of_which_some_have_moved_are_asked_for_again_in_a_moment() {
    let (mut bench, backends) = halves(|_| {});
    let client = bench.client();
    let [a, b] = [key_in(0, 0), format!("{{{}}}b", key_in(0, 0))];
    let both = request(&["MSET", &a, "1", &b, "2"]);
    bench.say(client, &both);
    bench.asked(backends[0]);
    bench.answer(backends[0], TRYAGAIN);
    bench.turn();
    assert_eq!((bench.asked(backends[0]), bench.told(client)), (String::new(), String::new()));
    assert_eq!(asked_in_time(&mut bench, backends[0], 50), both);
    bench.answer(backends[0], ask(&a, 1));
    bench.turn();
    assert_eq!(bench.asked(backends[1]), ASKING.to_string() + &both);
    bench.answer(backends[1], OK.to_string() + TRYAGAIN);
    assert_eq!(asked_in_time(&mut bench, backends[0], 50), both);
    bench.answer(backends[0], OK);
    assert_eq!(bench.told(client), OK);
    bench.assert_nothing_is_left();
}

#[test]
fn what_was_run_behind_a_request_with_several_keys_decides_what_becomes_of_it() {
    let (mut bench, backends) = halves(|_| {});
    let client = bench.client();
    let key = key_in(0, 0);
    let [b, c] = [format!("{{{key}}}b"), format!("{{{key}}}c")];
    let both = request(&["MSET", &key, "1", &b, "1"]);
    // Another key of the slot, and a read of the same one.
    bench.say(client, both.clone() + &set(&c, "x") + &get(&key));
    bench.asked(backends[0]);
    bench.answer(backends[0], [TRYAGAIN, OK, &bulk("0")].concat());
    assert_eq!(bench.told(client), "");
    assert_eq!(asked_in_time(&mut bench, backends[0], 50), both.clone() + &get(&key));
    bench.answer(backends[0], OK.to_string() + &bulk("1"));
    assert_eq!(bench.told(client), [OK, OK, &bulk("1")].concat());
    // A write of the same key: the first one comes too late.
    bench.pass(2_000);
    bench.say(client, both.clone() + &set(&key, "2"));
    bench.asked(backends[0]);
    bench.answer(backends[0], [TRYAGAIN, OK].concat());
    assert_eq!(bench.told(client), [OVERTAKEN, OK].concat());
    bench.pass(2_000);
    assert_eq!(bench.asked(backends[0]), "");
    // And with it a read in between, which was to be asked again behind the first one.
    bench.say(client, both.clone() + &get(&key) + &set(&key, "2"));
    bench.asked(backends[0]);
    bench.answer(backends[0], [TRYAGAIN, &bulk("0"), OK].concat());
    assert_eq!(bench.told(client), [OVERTAKEN, OVERTAKEN, OK].concat());
    bench.pass(100);
    assert_eq!(bench.asked(backends[0]), "");
    bench.assert_nothing_is_left();
}

#[test]
fn while_a_slot_is_half_moved_nothing_of_a_client_can_come_before_what_it_has_under_way_there() {
    let (mut bench, backends) = halves(|_| {});
    let [client, other] = [bench.client(), bench.client()];
    let key = key_in(0, 0);
    let both = request(&["MSET", &key, "1", &format!("{{{key}}}b"), "1"]);
    bench.say(client, &both);
    bench.asked(backends[0]);
    bench.answer(backends[0], TRYAGAIN);
    assert_eq!(asked_in_time(&mut bench, backends[0], 50), both);
    bench.answer(backends[0], OK);
    bench.turn();
    // Known by now, to all clients. Another slot waits for nothing.
    let elsewhere = key_in(0, 1);
    let all = set(&elsewhere, "x") + &both + &set(&elsewhere, "y") + &set(&key, "2") + &get(&key);
    bench.say(client, &all);
    bench.say(other, get(&key) + &get(&key));
    let asked = [set(&elsewhere, "x"), both.clone(), set(&elsewhere, "y"), get(&key), get(&key)];
    assert_eq!(bench.asked(backends[0]), asked.concat());
    bench.answer(backends[0], [OK, TRYAGAIN, OK, &bulk("0"), &bulk("0")].concat());
    assert_eq!(bench.told(other), bulk("0").repeat(2));
    assert_eq!(asked_in_time(&mut bench, backends[0], 50), both);
    bench.answer(backends[0], OK);
    bench.turn();
    assert_eq!(bench.asked(backends[0]), set(&key, "2"));
    bench.answer(backends[0], OK);
    bench.turn();
    assert_eq!(bench.asked(backends[0]), get(&key));
    bench.answer(backends[0], bulk("2"));
    assert_eq!(bench.told(client), [&OK.repeat(5), &bulk("2")[..]].concat());
    // And not for longer than it is so.
    bench.pass(1_100);
    bench.say(client, both.clone() + &set(&key, "3"));
    assert_eq!(bench.asked(backends[0]), both + &set(&key, "3"));
    bench.answer(backends[0], OK.repeat(2));
    bench.assert_nothing_is_left();
}

#[test]
fn parts_and_transactions_wait_for_their_half_moved_slot_too() {
    let (mut bench, backends) = halves(|_| {});
    let client = bench.client();
    let key = key_in(0, 0);
    let part = request(&["MSET", &key, "1", &format!("{{{key}}}b"), "1"]);
    let both = request(&["MSET", &key, "1", &format!("{{{key}}}b"), "1", &key_in(1, 0), "1"]);
    bench.say(client, &both);
    bench.answer(backends[1], OK);
    bench.asked(backends[0]);
    bench.answer(backends[0], TRYAGAIN);
    assert_eq!(asked_in_time(&mut bench, backends[0], 50), part);
    bench.answer(backends[0], OK);
    bench.turn();
    let all = request(&["MULTI"]) + &set(&key, "2") + &request(&["EXEC"]);
    bench.say(client, both.clone() + &all + &both);
    assert_eq!(bench.asked(backends[0]), part);
    bench.answer(backends[1], OK);
    bench.answer(backends[0], OK);
    bench.turn();
    assert_eq!(bench.asked(backends[0]), all);
    bench.answer(backends[0], [OK, "+QUEUED\r\n", "*1\r\n", OK].concat());
    bench.turn();
    assert_eq!(bench.asked(backends[0]), part);
    bench.answer(backends[1], OK);
    bench.answer(backends[0], OK);
    bench.assert_nothing_is_left();
}

#[test]
fn a_part_that_has_moved_is_redirected_alone() {
    let (mut bench, backends) = halves(|_| {});
    let client = bench.client();
    let keys = [key_in(0, 0), key_in(0, 1), key_in(1, 0)];
    bench.say(client, request(&["MGET", &keys[0], &keys[1], &keys[2]]));
    bench.asked(backends[1]);
    bench.answer(backends[0], moved(&keys[0], 1) + "*1\r\n" + &bulk("b"));
    bench.answer(backends[1], "*1\r\n".to_string() + &bulk("c"));
    bench.turn();
    assert_eq!(bench.asked(backends[1]), request(&["MGET", &keys[0]]));
    bench.answer(backends[1], "*1\r\n".to_string() + &bulk("a"));
    assert_eq!(bench.told(client), ["*3\r\n", &bulk("a"), &bulk("b"), &bulk("c")].concat());
    bench.assert_nothing_is_left();
}

#[test]
fn a_cluster_that_is_down_is_waited_for_until_the_time_of_the_request_is_over() {
    let (mut bench, backends) = halves(|_| {});
    let client = bench.client();
    let key = key_in(0, 0);
    bench.say(client, set(&key, "v"));
    bench.asked(backends[0]);
    bench.answer(backends[0], DOWN);
    assert_eq!(asked_in_time(&mut bench, backends[0], 100), set(&key, "v"));
    assert_eq!(bench.refreshes, [RefreshCause::Down]);
    bench.answer(backends[0], OK);
    bench.turn();
    assert_eq!(bench.told(client), OK);
    bench.say(client, set(&key, "w"));
    let start = bench.now;
    while bench.told(client).is_empty() {
        if !bench.asked(backends[0]).is_empty() {
            bench.answer(backends[0], DOWN);
        }
        bench.pass(1);
        assert!(bench.now - start < 600);
    }
    assert!(bench.now - start >= 490, "after {} ms", bench.now - start);
    bench.assert_nothing_is_left();
}

#[test]
fn nodes_that_send_each_other_a_request_for_ever_are_not_believed_for_ever() {
    let (mut bench, backends) = halves(|settings| settings.timeouts.remote_read_ms = 60_000);
    let client = bench.client();
    let key = key_in(0, 0);
    bench.say(client, set(&key, "v"));
    let (mut asked, start) = (0, bench.now);
    let told = loop {
        for node in [0, 1] {
            if !bench.asked(backends[node]).is_empty() {
                asked += 1;
                bench.answer(backends[node], moved(&key, 1 - node as u16));
            }
        }
        let told = bench.told(client);
        if !told.is_empty() {
            break told;
        }
        bench.pass(1);
        assert!(bench.now - start < 2_000, "it has no end");
    };
    assert!(told.starts_with("-MOVED "), "{told}");
    assert_eq!(asked, 17, "once, and 16 times more");
    assert!(bench.now - start > 100, "in {} ms", bench.now - start);
    bench.assert_nothing_is_left();
}

#[test]
fn a_node_that_names_itself_is_not_the_one_that_it_was() {
    let (mut bench, backends) = halves(|_| {});
    let client = bench.client();
    let key = key_in(0, 0);
    bench.say(client, set(&key, "v"));
    bench.asked(backends[0]);
    bench.answer(backends[0], moved(&key, 0));
    assert_eq!(bench.refreshes, [RefreshCause::SameAddress]);
    assert_eq!(bench.asked(backends[0]), "", "not at once");
    assert_eq!(asked_in_time(&mut bench, backends[0], 50), set(&key, "v"));
    // However often it does, its connections are renewed once.
    bench.answer(backends[0], moved(&key, 0));
    let first = bench.proxy.servers()[0];
    assert_eq!(bench.renewals, [first]);
    let line = "WARN server 10.0.0.0:6379: names itself as the owner of a slot that it does not have: its connections \
                are renewed";
    assert_eq!(bench.lines, [line]);
    // As the shell does.
    bench.proxy.handle_outdated(backends[0], true);
    bench.proxy.handle_renewal(first, bench.now);
    bench.turn();
    let new = bench.connect(0);
    assert!(bench.is_closed(Conn::Backend(backends[0])));
    assert_eq!(asked_in_time(&mut bench, new, 50), set(&key, "v"));
    bench.answer(new, OK);
    assert_eq!(bench.told(client), OK);
    bench.pass(10_000);
    bench.say(client, get(&key));
    bench.answer(new, moved(&key, 0));
    assert_eq!(bench.renewals, [first, first], "it may be replaced again");
}

#[test]
fn who_does_not_have_a_slot_is_not_believed_in_who_has_it() {
    let (mut bench, backends) = halves(|_| {});
    let [client, other] = [bench.client(), bench.client()];
    let key = key_in(0, 0);
    bench.say(client, get(&key));
    bench.asked(backends[0]);
    bench.tell(&[(0, 0, 0), (1, 1, 16383)]);
    bench.answer(backends[0], moved(&key, 9));
    bench.turn();
    assert_eq!((bench.asked(backends[1]), bench.connects.len()), (get(&key), 0));
    bench.answer(backends[1], bulk("x"));
    bench.say(other, get(&key));
    assert_eq!(bench.asked(backends[1]), get(&key));
}

#[test]
fn what_a_script_says_is_not_learned_from() {
    let (mut bench, backends) = halves(|_| {});
    let client = bench.client();
    let key = key_in(0, 0);
    let script = request(&["EVAL", "return redis.error_reply('MOVED …')", "1", &key]);
    bench.say(client, &script);
    bench.asked(backends[0]);
    bench.answer(backends[0], moved(&key, 9));
    assert_eq!(asked_in_time(&mut bench, backends[0], 50), script);
    assert_eq!(bench.connects, []);
    // What it says of a slot in its midst, and not the node of its own.
    let midst = "-CLUSTERDOWN Script attempted to access a slot not served\r\n";
    bench.answer(backends[0], midst);
    assert_eq!(bench.told(client), midst);
    // It may have written before: it is run a few times at the most.
    bench.say(client, &script);
    let mut asked = 0;
    while bench.told(client).is_empty() {
        if !bench.asked(backends[0]).is_empty() {
            asked += 1;
            bench.answer(backends[0], TRYAGAIN);
        }
        bench.pass(1);
    }
    assert_eq!(asked, 4, "once, and 3 times more");
    // Of another slot than its own.
    bench.say(client, get(&key_in(0, 1)));
    bench.answer(backends[0], moved(&key, 9));
    assert_eq!((bench.told(client), bench.connects.len()), (moved(&key, 9), 0));
    bench.assert_nothing_is_left();
}

#[test]
fn a_large_request_that_was_passed_on_as_it_came_is_told_so_and_kept_the_next_time() {
    let (mut bench, backends) = halves(|_| {});
    let client = bench.client();
    let key = key_in(0, 0);
    let large = set(&key, &"x".repeat(300_000));
    bench.say(client, &large);
    assert_eq!(bench.asked(backends[0]).len(), large.len());
    bench.answer(backends[0], ask(&key, 1));
    assert!(bench.told(client).starts_with("-TRYAGAIN The slot of this large request"));
    bench.say(client, &large);
    assert_eq!(bench.asked(backends[0]).len(), large.len());
    bench.answer(backends[0], ask(&key, 1));
    bench.turn();
    assert!(bench.asked(backends[1]) == ASKING.to_string() + &large, "it was kept");
    bench.answer(backends[1], OK.repeat(2));
    assert_eq!(bench.told(client), OK);
    // What is not that large is kept anyhow.
    let other = set(&key_in(0, 1), &"x".repeat(40_000));
    bench.say(client, &other);
    bench.answer(backends[0], moved(&key_in(0, 1), 1));
    bench.turn();
    assert!(bench.asked(backends[1]) == other);
    bench.answer(backends[1], OK);
    assert_eq!(bench.told(client), OK);
    bench.assert_nothing_is_left();
}

#[test]
fn what_was_not_sent_when_the_connection_broke_stays_behind_what_is_redirected() {
    let (mut bench, backends) = halves(|_| {});
    let client = bench.client();
    let key = key_in(0, 0);
    bench.say(client, set(&key, "1"));
    bench.set_room(Conn::Backend(backends[0]), 0);
    bench.say(client, set(&key, "2") + &get(&key));
    bench.answer(backends[0], moved(&key, 1));
    bench.proxy.handle_backend_broken(backends[0], "reset", bench.now);
    bench.turn();
    bench.turn();
    assert_eq!(bench.asked(backends[1]), set(&key, "1") + &set(&key, "2") + &get(&key));
    bench.answer(backends[1], OK.repeat(2) + &bulk("2"));
    assert_eq!(bench.told(client), OK.repeat(2) + &bulk("2"));
    bench.assert_nothing_is_left();
}

#[test]
fn what_may_have_been_run_behind_a_redirected_request_makes_that_too_late() {
    let (mut bench, backends) = halves(|_| {});
    let client = bench.client();
    let key = key_in(0, 0);
    bench.say(client, set(&key, "1") + &set(&key, "2"));
    bench.answer(backends[0], moved(&key, 1));
    bench.proxy.handle_backend_end(backends[0], bench.now);
    bench.turn();
    let told = bench.told(client);
    assert!(told.starts_with(OVERTAKEN) && told.contains("may have been run"), "{told}");
    bench.turn();
    assert_eq!(bench.asked(backends[1]), "");
    bench.assert_nothing_is_left();
}

#[test]
fn more_than_a_connection_takes_is_sent_in_turns_and_in_order() {
    // How long each of those pauses that the node refuses depends on the seed.
    for seed in 1..=20 {
        let (mut bench, backends) = halves(|settings| {
            settings.limits.pipeline_max = 4;
            settings.seed = seed;
        });
        let client = bench.client();
        let key = key_in(0, 0);
        let writes: Vec<String> = (0..4).map(|n| set(&key, &n.to_string())).collect();
        bench.say(client, writes.concat());
        let mut settings = bench.proxy.settings.clone();
        settings.limits.pipeline_max = 2;
        settings.pool_size = 1;
        bench.proxy.handle_settings(settings, bench.now);
        bench.answer(backends[0], moved(&key, 1).repeat(4));
        bench.turn();
        assert_eq!(bench.asked(backends[1]), writes[..2].concat());
        // The first is not run once more, and keeps its place in front of those that were not sent.
        bench.answer(backends[1], DOWN.repeat(2));
        let mut asked = String::new();
        while asked.len() < writes.concat().len() {
            let more = asked_in_time(&mut bench, backends[1], 300);
            let count = more.matches("*3\r\n").count();
            assert!((1..=2).contains(&count), "seed {seed}: {count} at once");
            bench.answer(backends[1], OK.repeat(count));
            asked += &more;
        }
        assert_eq!(asked, writes.concat(), "seed {seed}");
        assert_eq!(bench.told(client), OK.repeat(4));
        bench.assert_nothing_is_left();
    }
}

#[test]
fn nothing_stays_of_a_client_that_leaves() {
    let (mut bench, backends) = halves(|_| {});
    let client = bench.client();
    let key = key_in(0, 0);
    bench.say(client, set(&key, "1") + &request(&["MGET", &key, &key_in(1, 0)]));
    bench.answer(backends[0], TRYAGAIN.repeat(2));
    assert!(bench.proxy.buffered_bytes() > 0);
    bench.proxy.handle_client_broken(client);
    bench.turn();
    bench.asked(backends[0]);
    bench.answer(backends[1], "*1\r\n$-1\r\n");
    bench.pass(100);
    assert_eq!(bench.asked(backends[0]), "");
    bench.assert_nothing_is_left();
    assert!(bench.proxy.redirected.is_empty());
}
