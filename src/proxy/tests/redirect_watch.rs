//! Keys that a client watches in a cluster whose slots move.

use super::cluster::{address, halves, key_in};
use super::*;
use crate::cluster::slot_of;

const ASKING: &str = "*1\r\n$6\r\nASKING\r\n";
const TRYAGAIN: &str = "-TRYAGAIN Multiple keys request during rehashing of slot\r\n";
const DOWN: &str = "-CLUSTERDOWN The cluster is down\r\n";
const ABORTED: &str = "-EXECABORT Transaction discarded because of previous errors.\r\n";
const OK: &str = "+OK\r\n";
const QUEUED: &str = "+QUEUED\r\n";

fn moved(key: &str, node: u16) -> String {
    format!("-MOVED {} {}\r\n", slot_of(key.as_bytes()), address(node))
}

fn ask(key: &str, node: u16) -> String {
    format!("-ASK {} {}\r\n", slot_of(key.as_bytes()), address(node))
}

fn word(word: &str) -> String {
    request(&[word])
}

fn watch(key: &str) -> String {
    request(&["WATCH", key])
}

/// A client that watches this key, and where it does.
fn watching(bench: &mut Bench, key: &str) -> (Id, Id) {
    let client = bench.client();
    bench.say(client, watch(key));
    let leased = bench.asked_in_time(&watch(key), 0);
    bench.answer(leased, OK);
    assert_eq!(bench.told(client), OK);
    (client, leased)
}

/// The transaction of this client is answered here, and says that what it watches has changed.
fn assert_touched(bench: &mut Bench, client: Id, key: &str) {
    bench.say(client, word("MULTI"));
    bench.say(client, set(key, "1"));
    bench.say(client, request(&["CLIENT", "GETNAME"]));
    bench.say(client, word("EXEC"));
    assert_eq!(bench.told(client), [OK, QUEUED, QUEUED, "*-1\r\n"].concat());
    assert!(bench.who_was_asked("").is_none(), "nobody is told of it");
}

#[test]
fn who_watches_a_key_whose_slot_has_moved_watches_it_at_its_new_owner() {
    let (mut bench, _) = halves(|_| {});
    let key = key_in(0, 0);
    let client = bench.client();
    bench.say(client, watch(&key));
    let leased = bench.asked_in_time(&watch(&key), 0);
    bench.answer(leased, moved(&key, 1));
    bench.turn();
    assert!(bench.is_shared(leased) && bench.refreshes == [RefreshCause::Moved]);
    let there = bench.asked_in_time(&watch(&key), 0);
    assert_eq!((bench.server_of(there), bench.told(client)), (1, String::new()));
    bench.answer(there, OK);
    bench.say(client, get(&key));
    assert_eq!(bench.who_was_asked(&get(&key)), Some(there));
    bench.answer(there, bulk("0"));
    bench.say(client, word("MULTI"));
    bench.say(client, set(&key, "1"));
    assert_eq!(bench.who_was_asked(&(word("MULTI") + &set(&key, "1"))), Some(there));
    bench.answer(there, OK.to_string() + QUEUED);
    bench.say(client, word("EXEC"));
    assert_eq!(bench.who_was_asked(&word("EXEC")), Some(there));
    bench.answer(there, "*1\r\n+OK\r\n");
    assert_eq!(bench.told(client), [OK, &bulk("0"), OK, QUEUED, "*1\r\n+OK\r\n"].concat());
    assert!(bench.is_shared(there));
    bench.assert_nothing_is_left();
}

#[test]
fn who_watches_a_key_that_is_on_its_way_watches_it_where_it_will_be() {
    let (mut bench, backends) = halves(|_| {});
    let key = key_in(0, 0);
    let client = bench.client();
    bench.say(client, watch(&key));
    let leased = bench.asked_in_time(&watch(&key), 0);
    bench.answer(leased, ask(&key, 1));
    bench.turn();
    let there = bench.asked_in_time(&[ASKING, &watch(&key)].concat(), 0);
    bench.answer(there, OK.repeat(2));
    assert_eq!(bench.told(client), OK);
    // Its slot is where it was: the owner is asked, and sends it on.
    bench.say(client, get(&key));
    assert_eq!(bench.asked(backends[0]), get(&key));
    bench.answer(backends[0], ask(&key, 1));
    bench.turn();
    assert_eq!(bench.who_was_asked(&(ASKING.to_string() + &get(&key))), Some(there), "behind what is watched");
    bench.answer(there, OK.to_string() + &bulk("0"));
    bench.say(client, watch(&key));
    assert_eq!(bench.who_was_asked(&(ASKING.to_string() + &watch(&key))), Some(there));
    bench.answer(there, OK.repeat(2));
    bench.say(client, word("MULTI"));
    bench.say(client, set(&key, "1"));
    assert_eq!(bench.who_was_asked(&[ASKING, &word("MULTI"), &set(&key, "1")].concat()), Some(there));
    bench.answer(there, OK.repeat(2) + QUEUED);
    // Meanwhile it has arrived.
    bench.tell(&[(1, 0, 16383), (0, 0, 0)]);
    bench.say(client, get(&key));
    bench.say(client, word("EXEC"));
    assert_eq!(bench.who_was_asked(&(get(&key) + &word("EXEC"))), Some(there));
    bench.answer(there, format!("{QUEUED}*2\r\n+OK\r\n{}", bulk("1")));
    let told = [&bulk("0"), OK, OK, QUEUED, QUEUED, "*2\r\n+OK\r\n", &bulk("1")].concat();
    assert_eq!(bench.told(client), told);
    bench.assert_nothing_is_left();
}

#[test]
fn a_watch_is_tried_as_often_as_any_request() {
    for refusal in [TRYAGAIN, DOWN] {
        let (mut bench, _) = halves(|settings| settings.timeouts.remote_read_ms = 60_000);
        let key = key_in(0, 0);
        let client = bench.client();
        bench.say(client, watch(&key));
        for _ in 0..16 {
            let leased = bench.asked_in_time(&watch(&key), 100);
            bench.answer(leased, refusal);
            assert_eq!(bench.told(client), "");
        }
        let leased = bench.asked_in_time(&watch(&key), 100);
        bench.answer(leased, refusal);
        assert_eq!(bench.told(client), refusal);
        bench.say(client, word("UNWATCH"));
        bench.answer(leased, OK);
        assert_eq!(bench.told(client), OK);
        bench.assert_nothing_is_left();
    }
}

#[test]
fn what_was_said_behind_a_watch_that_was_refused_is_not_covered_by_it() {
    let (mut bench, backends) = halves(|_| {});
    let key = key_in(0, 0);
    let client = bench.client();
    bench.say(client, watch(&key) + &get(&key));
    let leased = bench.asked_in_time(&(watch(&key) + &get(&key)), 0);
    bench.answer(leased, moved(&key, 1).repeat(2));
    bench.turn();
    assert_eq!(bench.asked(leased), word("UNWATCH"));
    bench.answer(leased, OK);
    assert!(bench.is_shared(leased));
    assert_eq!(bench.asked(backends[1]), get(&key));
    bench.answer(backends[1], bulk("0"));
    assert_eq!(bench.told(client), OK.to_string() + &bulk("0"));
    assert_touched(&mut bench, client, &key);
    bench.assert_nothing_is_left();
}

#[test]
fn a_value_that_comes_from_elsewhere_is_not_watched() {
    let (mut bench, backends) = halves(|_| {});
    let key = key_in(0, 0);
    let (client, leased) = watching(&mut bench, &key);
    bench.say(client, get(&key));
    assert_eq!(bench.asked(leased), get(&key));
    bench.answer(leased, moved(&key, 1));
    bench.turn();
    assert_eq!((bench.asked(leased), bench.asked(backends[1])), (word("UNWATCH"), get(&key)));
    bench.answer(leased, OK);
    bench.answer(backends[1], bulk("0"));
    assert_eq!(bench.told(client), bulk("0"));
    // One more does not help.
    bench.say(client, watch(&key));
    assert_eq!(bench.told(client), OK);
    assert_touched(&mut bench, client, &key);
    // It is over with EXEC.
    let (next, _) = (client, bench.say(client, watch(&key)));
    let there = bench.asked_in_time(&watch(&key), 0);
    bench.answer(there, OK);
    bench.say(next, word("UNWATCH"));
    bench.answer(there, OK);
    assert_eq!(bench.told(client), OK.repeat(2));
    bench.assert_nothing_is_left();
}

#[test]
fn a_step_that_is_refused_is_queued_and_exec_says_that_a_key_has_changed() {
    for refusal in [moved(&key_in(0, 0), 1), ask(&key_in(0, 0), 1), TRYAGAIN.to_string(), DOWN.to_string()] {
        let (mut bench, _) = halves(|_| {});
        let key = key_in(0, 0);
        let (client, leased) = watching(&mut bench, &key);
        bench.say(client, word("MULTI"));
        bench.say(client, get(&key) + &set(&key, "1"));
        bench.asked_in_time(&(word("MULTI") + &get(&key) + &set(&key, "1")), 0);
        bench.answer(leased, [OK, QUEUED, &refusal].concat());
        assert_eq!(bench.told(client), [OK, QUEUED, QUEUED].concat());
        assert_eq!(bench.asked(leased), word("DISCARD"));
        bench.answer(leased, OK);
        assert!(bench.is_shared(leased));
        bench.say(client, set(&key, "2"));
        bench.say(client, word("EXEC"));
        assert_eq!(bench.told(client), [QUEUED, "*-1\r\n"].concat());
        bench.say(client, get(&key_in(1, 0)));
        let at = bench.who_was_asked(&get(&key_in(1, 0))).expect("it is as any other");
        bench.answer(at, bulk("v"));
        bench.assert_nothing_is_left();
    }
}

#[test]
fn what_is_on_its_way_when_a_step_is_refused_is_answered_alike() {
    let (mut bench, _) = halves(|_| {});
    let key = key_in(0, 0);
    let (client, leased) = watching(&mut bench, &key);
    let said = word("MULTI") + &set(&key, "1") + &set(&key, "2") + &word("EXEC");
    for piece in [word("MULTI"), set(&key, "1"), set(&key, "2"), word("EXEC")] {
        bench.say(client, piece);
    }
    bench.asked_in_time(&said, 0);
    bench.answer(leased, [OK, &moved(&key, 1), &moved(&key, 1), ABORTED].concat());
    assert_eq!(bench.told(client), [OK, QUEUED, QUEUED, "*-1\r\n"].concat());
    assert!(bench.is_shared(leased) && bench.asked(leased).is_empty(), "it is clean");
    bench.assert_nothing_is_left();
}

#[test]
fn an_exec_that_is_refused_says_that_a_key_has_changed() {
    for (hello, null) in [("", "*-1\r\n"), ("HELLO 3\r\n", "_\r\n")] {
        for refusal in [moved(&key_in(0, 0), 1), TRYAGAIN.to_string()] {
            let (mut bench, _) = halves(|_| {});
            let key = key_in(0, 0);
            let client = bench.client();
            bench.say(client, hello);
            bench.told(client);
            bench.say(client, watch(&key));
            let leased = bench.asked_in_time(&watch(&key), 0);
            bench.answer(leased, OK);
            bench.say(client, word("MULTI"));
            bench.say(client, set(&key, "1"));
            bench.say(client, request(&["CLIENT", "GETNAME"]));
            bench.say(client, word("EXEC"));
            bench.answer(leased, [OK, QUEUED, QUEUED, &refusal].concat());
            assert_eq!(bench.told(client), [OK, OK, QUEUED, QUEUED, null].concat());
            assert!(bench.is_shared(leased));
            bench.assert_nothing_is_left();
        }
    }
}

#[test]
fn a_step_that_is_wrong_is_told_so_whatever_has_moved() {
    let wrong = "-ERR wrong number of arguments for 'get' command\r\n";
    let (mut bench, _) = halves(|_| {});
    let key = key_in(0, 0);
    // The node says so, and then that the slot has moved.
    let memory = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
    let (client, leased) = watching(&mut bench, &key);
    for piece in [word("MULTI"), set(&key, "1"), set(&key, "2"), set(&key, "3"), word("EXEC")] {
        bench.say(client, piece);
    }
    bench.answer(leased, [OK, QUEUED, memory, &moved(&key, 1), ABORTED].concat());
    assert_eq!(bench.told(client), [OK, QUEUED, memory, QUEUED, ABORTED].concat());
    bench.asked(leased);
    // And when nobody is asked any more.
    bench.tell(&[(0, 0, 8191), (1, 8192, 16383)]);
    let (client, leased) = watching(&mut bench, &key);
    bench.say(client, word("MULTI"));
    bench.say(client, set(&key, "1"));
    bench.answer(leased, [OK, &moved(&key, 1)].concat());
    bench.answer(leased, OK);
    bench.say(client, word("GET"));
    bench.say(client, word("EXEC"));
    assert_eq!(bench.told(client), [OK, QUEUED, wrong, ABORTED].concat());
    bench.assert_nothing_is_left();
}

#[test]
fn a_map_that_says_that_the_slot_is_elsewhere_touches_what_is_watched() {
    let (mut bench, _) = halves(|_| {});
    let key = key_in(0, 0);
    let (client, leased) = watching(&mut bench, &key);
    bench.tell(&[(0, 0, 0), (1, 1, 16383)]);
    bench.say(client, word("MULTI"));
    bench.say(client, set(&key, "1"));
    assert_eq!(bench.asked(leased), word("UNWATCH"));
    bench.answer(leased, OK);
    bench.say(client, word("EXEC"));
    assert_eq!(bench.told(client), [OK, QUEUED, "*-1\r\n"].concat());
    // Even if nothing of it is in that slot.
    bench.tell(&[(0, 0, 8191), (1, 8192, 16383)]);
    let (client, leased) = watching(&mut bench, &key);
    let other = key_in(0, 1);
    bench.say(client, word("MULTI"));
    bench.say(client, set(&other, "1"));
    bench.answer(leased, OK.to_string() + QUEUED);
    let slot = slot_of(key.as_bytes());
    bench.tell(&[(0, 0, slot - 1), (1, slot, slot), (0, slot + 1, 8191), (1, 8192, 16383)]);
    bench.asked(leased);
    bench.say(client, word("EXEC"));
    assert_eq!(bench.asked(leased), word("DISCARD"));
    bench.answer(leased, OK);
    assert_eq!(bench.told(client), [OK, QUEUED, "*-1\r\n"].concat());
    // A map that leaves it where it is does not.
    bench.tell(&[(0, 0, 8191), (1, 8192, 16383)]);
    let (client, leased) = watching(&mut bench, &key);
    bench.tell(&[(0, 0, 8190), (1, 8191, 16383)]);
    bench.say(client, word("MULTI"));
    bench.say(client, set(&key, "1"));
    bench.say(client, word("EXEC"));
    bench.answer(leased, [OK, QUEUED, "*1\r\n+OK\r\n"].concat());
    assert_eq!(bench.told(client), [OK, QUEUED, "*1\r\n+OK\r\n"].concat());
    bench.assert_nothing_is_left();
}

#[test]
fn what_is_touched_ends_with_discard_unwatch_and_reset() {
    for end in ["DISCARD", "UNWATCH", "RESET"] {
        let (mut bench, _) = halves(|_| {});
        let key = key_in(0, 0);
        let (client, leased) = watching(&mut bench, &key);
        bench.say(client, get(&key));
        bench.answer(leased, moved(&key, 1));
        bench.turn();
        assert_eq!(bench.asked(leased), get(&key) + &word("UNWATCH"));
        bench.answer(leased, OK);
        let there = bench.who_was_asked(&get(&key)).expect("the new owner");
        bench.answer(there, bulk("0"));
        if end == "DISCARD" {
            bench.say(client, word("MULTI"));
        }
        bench.say(client, word(end));
        bench.told(client);
        bench.say(client, watch(&key));
        let there = bench.asked_in_time(&watch(&key), 0);
        bench.answer(there, OK);
        bench.say(client, word("MULTI"));
        bench.say(client, set(&key, "1"));
        bench.say(client, word("EXEC"));
        bench.answer(there, [OK, QUEUED, "*1\r\n+OK\r\n"].concat());
        assert!(bench.told(client).ends_with("*1\r\n+OK\r\n"), "{end}");
        bench.assert_nothing_is_left();
    }
}

#[test]
fn what_blocks_while_keys_are_watched_goes_elsewhere_and_is_not_covered() {
    let (mut bench, _) = halves(|_| {});
    let key = key_in(0, 0);
    let (client, leased) = watching(&mut bench, &key);
    let blpop = request(&["BLPOP", &key, "0"]);
    bench.say(client, &blpop);
    assert_eq!(bench.asked(leased), blpop);
    bench.answer(leased, moved(&key, 1));
    bench.turn();
    bench.answer(leased, OK);
    assert_eq!(bench.asked(leased), word("UNWATCH"));
    let there = bench.asked_in_time(&blpop, 0);
    bench.answer(there, format!("*2\r\n{}{}", bulk(&key), bulk("x")));
    assert!(bench.told(client).starts_with("*2"));
    assert_touched(&mut bench, client, &key);
    bench.assert_nothing_is_left();
}

#[test]
fn who_leaves_with_watched_keys_leaves_nothing_behind() {
    for state in 0..4 {
        let (mut bench, backends) = halves(|_| {});
        let key = key_in(0, 0);
        let client = bench.client();
        bench.say(client, watch(&key));
        let mut leased = bench.asked_in_time(&watch(&key), 0);
        match state {
            // It pauses.
            0 => bench.answer(leased, TRYAGAIN),
            // It is asked again.
            1 => {
                bench.answer(leased, moved(&key, 1));
                bench.turn();
                leased = bench.asked_in_time(&watch(&key), 0);
            }
            // It is touched.
            2 => {
                bench.answer(leased, OK);
                bench.say(client, get(&key));
                bench.answer(leased, TRYAGAIN);
            }
            // It is touched within a transaction.
            _ => {
                bench.answer(leased, OK);
                bench.say(client, word("MULTI"));
                bench.say(client, set(&key, "1"));
                bench.answer(leased, OK.to_string() + TRYAGAIN);
            }
        }
        bench.proxy.handle_client_broken(client);
        bench.turn();
        bench.pass(100);
        for backend in backends.into_iter().chain([leased]) {
            if bench.proxy.upstreams.backend(backend).is_some_and(|entry| !entry.in_flight().is_empty()) {
                let asked = bench.asked(backend);
                let count = bench.proxy.upstreams.backend(backend).map_or(0, |entry| entry.in_flight().len());
                bench.answer(backend, OK.repeat(count));
                assert!(!asked.contains("EXEC"), "state {state}: {asked}");
            }
        }
        bench.pass(1_000);
        assert!(bench.proxy.relocations.is_empty());
        bench.assert_nothing_is_left();
    }
}

#[test]
fn a_transaction_begins_where_its_first_key_is() {
    let (mut bench, _) = halves(|_| {});
    let key = key_in(0, 0);
    let client = bench.client();
    bench.say(client, word("MULTI"));
    bench.say(client, set(&key, "1"));
    let leased = bench.asked_in_time(&(word("MULTI") + &set(&key, "1")), 0);
    bench.answer(leased, OK.to_string() + &moved(&key, 1));
    bench.turn();
    assert_eq!(bench.asked(leased), word("DISCARD"));
    bench.answer(leased, OK);
    assert!(bench.is_shared(leased));
    let there = bench.asked_in_time(&(word("MULTI") + &set(&key, "1")), 0);
    assert_eq!((bench.server_of(there), bench.told(client)), (1, OK.to_string()));
    bench.answer(there, OK.to_string() + QUEUED);
    bench.say(client, get(&key));
    bench.say(client, word("EXEC"));
    assert_eq!(bench.asked(there), get(&key) + &word("EXEC"));
    bench.answer(there, format!("{QUEUED}*2\r\n+OK\r\n{}", bulk("1")));
    assert_eq!(bench.told(client), [QUEUED, QUEUED, "*2\r\n+OK\r\n", &bulk("1")].concat());
    bench.assert_nothing_is_left();
}

#[test]
fn a_transaction_in_a_slot_that_is_on_its_way_is_asked_for_with_asking() {
    let (mut bench, _) = halves(|_| {});
    let key = key_in(0, 0);
    let client = bench.client();
    bench.say(client, word("MULTI"));
    bench.say(client, set(&key, "1"));
    let leased = bench.asked_in_time(&(word("MULTI") + &set(&key, "1")), 0);
    bench.answer(leased, OK.to_string() + TRYAGAIN);
    bench.answer(leased, OK);
    bench.asked(leased);
    let again = bench.asked_in_time(&(word("MULTI") + &set(&key, "1")), 50);
    bench.answer(again, OK.to_string() + &ask(&key, 1));
    bench.turn();
    assert_eq!(bench.asked(again), word("DISCARD"));
    bench.answer(again, OK);
    let there = bench.asked_in_time(&[ASKING, &word("MULTI"), &set(&key, "1")].concat(), 0);
    bench.answer(there, OK.repeat(2) + QUEUED);
    bench.say(client, get(&key));
    assert_eq!(bench.who_was_asked(&get(&key)), Some(there), "though the slot is not there yet");
    bench.say(client, word("EXEC"));
    bench.answer(there, format!("{QUEUED}*2\r\n+OK\r\n{}", bulk("1")));
    assert_eq!(bench.told(client), [OK, QUEUED, QUEUED, "*2\r\n+OK\r\n", &bulk("1")].concat());
    bench.assert_nothing_is_left();
}

#[test]
fn a_transaction_whose_slot_leaves_in_the_midst_of_it_is_told_so() {
    let step = "-TRYAGAIN The slot of this transaction was moved while it was sent; it is not run\r\n";
    let exec = "-EXECABORT Transaction discarded because of: its slot was moved while it was sent\r\n";
    let (mut bench, _) = halves(|_| {});
    let key = key_in(0, 0);
    let client = bench.client();
    bench.say(client, word("MULTI"));
    bench.say(client, set(&key, "1"));
    let leased = bench.asked_in_time(&(word("MULTI") + &set(&key, "1")), 0);
    bench.answer(leased, OK.to_string() + QUEUED);
    bench.say(client, set(&key, "2"));
    bench.asked(leased);
    bench.answer(leased, moved(&key, 1));
    bench.say(client, set(&key, "3"));
    bench.say(client, word("EXEC"));
    assert_eq!(bench.asked(leased), word("DISCARD"));
    bench.answer(leased, OK);
    assert_eq!(bench.told(client), [OK, QUEUED, step, QUEUED, ABORTED].concat());
    // And with EXEC.
    bench.tell(&[(0, 0, 8191), (1, 8192, 16383)]);
    bench.say(client, word("MULTI"));
    bench.say(client, set(&key, "1"));
    let leased = bench.asked_in_time(&(word("MULTI") + &set(&key, "1")), 0);
    bench.answer(leased, OK.to_string() + QUEUED);
    bench.say(client, word("EXEC"));
    bench.asked(leased);
    bench.answer(leased, moved(&key, 1));
    assert_eq!(bench.told(client), [OK, QUEUED, exec].concat());
    assert!(bench.is_shared(leased));
    bench.assert_nothing_is_left();
}

#[test]
fn a_first_step_is_tried_as_often_as_any_request() {
    let (mut bench, _) = halves(|settings| settings.timeouts.remote_read_ms = 60_000);
    let key = key_in(0, 0);
    let client = bench.client();
    bench.say(client, word("MULTI"));
    bench.say(client, set(&key, "1"));
    for _ in 0..17 {
        let leased = bench.asked_in_time(&(word("MULTI") + &set(&key, "1")), 100);
        bench.answer(leased, OK.to_string() + DOWN);
        bench.asked(leased);
        bench.answer(leased, OK);
    }
    assert!(bench.told(client).contains("-TRYAGAIN The slot of this transaction"));
    bench.say(client, word("EXEC"));
    assert_eq!(bench.told(client), ABORTED);
}

#[test]
fn who_leaves_while_its_transaction_begins_anew_leaves_nothing_behind() {
    for is_sent in [false, true] {
        let (mut bench, _) = halves(|_| {});
        let key = key_in(0, 0);
        let client = bench.client();
        bench.say(client, word("MULTI"));
        bench.say(client, set(&key, "1"));
        let mut leased = bench.asked_in_time(&(word("MULTI") + &set(&key, "1")), 0);
        let refusal = if is_sent { moved(&key, 1) } else { TRYAGAIN.to_string() };
        bench.answer(leased, OK.to_string() + &refusal);
        bench.turn();
        bench.answer(leased, OK);
        assert_eq!(bench.asked(leased), word("DISCARD"));
        if is_sent {
            leased = bench.asked_in_time(&(word("MULTI") + &set(&key, "1")), 0);
        }
        bench.proxy.handle_client_broken(client);
        bench.turn();
        if is_sent {
            assert_eq!(bench.asked(leased), word("DISCARD"));
            bench.answer(leased, [OK, QUEUED, OK].concat());
            assert!(bench.is_shared(leased));
        }
        bench.pass(200);
        assert!(bench.who_was_asked("").is_none() && bench.proxy.relocations.is_empty());
        bench.assert_nothing_is_left();
    }
}

#[test]
fn who_says_nothing_more_still_has_what_it_asked_for() {
    let (mut bench, _) = halves(|_| {});
    let key = key_in(0, 0);
    let client = bench.client();
    bench.say(client, word("MULTI"));
    bench.say(client, set(&key, "1"));
    let leased = bench.asked_in_time(&(word("MULTI") + &set(&key, "1")), 0);
    bench.say(client, word("EXEC"));
    bench.asked(leased);
    bench.proxy.handle_client_end(client);
    bench.answer(leased, [OK, &moved(&key, 1), ABORTED].concat());
    assert!(bench.told(client).ends_with(ABORTED), "EXEC was on its way");
    let client = bench.client();
    bench.tell(&[(0, 0, 8191), (1, 8192, 16383)]);
    bench.say(client, word("MULTI"));
    bench.say(client, set(&key, "1"));
    let leased = bench.asked_in_time(&(word("MULTI") + &set(&key, "1")), 0);
    bench.answer(leased, OK.to_string() + TRYAGAIN);
    bench.hear(client, word("EXEC"));
    bench.proxy.handle_client_end(client);
    bench.turn();
    bench.answer(leased, OK);
    bench.asked(leased);
    let there = bench.asked_in_time(&(word("MULTI") + &set(&key, "1") + &word("EXEC")), 50);
    bench.answer(there, [OK, QUEUED, "*1\r\n+OK\r\n"].concat());
    assert_eq!(bench.told(client), [OK, QUEUED, "*1\r\n+OK\r\n"].concat());
    assert!(bench.is_closed(Conn::Client(client)));
    bench.assert_nothing_is_left();
}

#[test]
fn what_was_refused_before_an_exec_that_was_run_is_told_so() {
    let (mut bench, _) = halves(|_| {});
    let key = key_in(0, 0);
    let done = "*1\r\n+OK\r\n";
    // The cluster was down, for a moment.
    let client = bench.client();
    for piece in [watch(&key), word("MULTI"), set(&key, "1"), word("EXEC")] {
        bench.say(client, piece);
    }
    let leased = bench.asked_in_time(&(watch(&key) + &word("MULTI") + &set(&key, "1") + &word("EXEC")), 0);
    bench.answer(leased, [DOWN, OK, QUEUED, done].concat());
    assert_eq!(bench.told(client), [DOWN, OK, QUEUED, done].concat());
    let (client, leased) = watching(&mut bench, &key);
    for piece in [get(&key), word("MULTI"), set(&key, "1"), word("EXEC")] {
        bench.say(client, piece);
    }
    bench.answer(leased, [DOWN, OK, QUEUED, done].concat());
    assert_eq!(bench.told(client), [DOWN, OK, QUEUED, done].concat(), "asked now, it would see what EXEC wrote");
    bench.assert_nothing_is_left();
}
