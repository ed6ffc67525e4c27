//! Transactions that nodes of a cluster do not queue or run, since they do not have the slot, or not all of it.

use super::cluster::{halves, key_in};
use super::redirect::{ASKING, OK, TRYAGAIN, ask, asked_in_time, moved};
use super::*;

const QUEUED: &str = "+QUEUED\r\n";
const ABORTED: &str = "-EXECABORT Transaction discarded because of previous errors.\r\n";

fn transaction(steps: &[String]) -> String {
    request(&["MULTI"]) + &steps.concat() + &request(&["EXEC"])
}

/// What EXEC is answered with, if its steps were.
fn run(replies: &[&str]) -> String {
    format!("*{}\r\n", replies.len()) + &replies.concat()
}

#[test]
fn a_transaction_whose_slot_has_moved_goes_to_the_new_owner() {
    let (mut bench, backends) = halves(|_| {});
    let client = bench.client();
    let key = key_in(0, 0);
    let all = transaction(&[set(&key, "1"), get(&key)]);
    bench.say(client, &all);
    assert_eq!(bench.asked(backends[0]), all);
    bench.answer(backends[0], [OK, &moved(&key, 1), &moved(&key, 1), ABORTED].concat());
    bench.turn();
    assert_eq!((bench.asked(backends[1]), bench.told(client)), (all, OK.to_string()));
    bench.answer(backends[1], [OK, QUEUED, QUEUED, &run(&[OK, &bulk("1")])].concat());
    assert_eq!(bench.told(client), [QUEUED, QUEUED, &run(&[OK, &bulk("1")])].concat());
    bench.turn();
    assert_eq!(bench.refreshes, [RefreshCause::Moved]);
    bench.say(client, get(&key));
    assert_eq!(bench.asked(backends[1]), get(&key), "it was learned");
    bench.answer(backends[1], bulk("1"));
    bench.assert_nothing_is_left();
    assert!(bench.proxy.redirected.is_empty());
}

#[test]
fn asking_holds_for_all_of_a_transaction_and_steps_that_were_answered_are_not_answered_again() {
    let (mut bench, backends) = halves(|_| {});
    let client = bench.client();
    let key = key_in(0, 0);
    let [a, b] = [format!("{{{key}}}a"), format!("{{{key}}}b")];
    let all = transaction(&[set(&a, "1"), get(&b), set(&a, "2")]);
    bench.say(client, &all);
    bench.asked(backends[0]);
    // What is not there any more may be there; the first one is still here.
    bench.answer(backends[0], [OK, QUEUED].concat());
    assert_eq!(bench.told(client), [OK, QUEUED].concat());
    bench.answer(backends[0], [&ask(&b, 1), QUEUED, ABORTED].concat());
    bench.turn();
    assert_eq!((bench.asked(backends[1]), bench.told(client)), (ASKING.to_string() + &all, String::new()));
    // There it is told with EXEC that the first one is not there yet.
    bench.answer(backends[1], [OK, OK, QUEUED, QUEUED, QUEUED, TRYAGAIN].concat());
    assert_eq!(bench.told(client), QUEUED.repeat(2));
    assert_eq!(asked_in_time(&mut bench, backends[0], 50), all);
    bench.answer(backends[0], [OK, &ask(&a, 1), &ask(&b, 1), &ask(&a, 1), ABORTED].concat());
    bench.turn();
    assert_eq!(bench.asked(backends[1]), ASKING.to_string() + &all);
    let done = run(&[OK, "$-1\r\n", OK]);
    bench.answer(backends[1], [OK, OK, QUEUED, QUEUED, QUEUED, &done].concat());
    assert_eq!(bench.told(client), done);
    bench.assert_nothing_is_left();
}

#[test]
fn exec_alone_may_be_refused() {
    let (mut bench, backends) = halves(|_| {});
    let client = bench.client();
    let key = key_in(0, 0);
    let all = transaction(&[set(&key, "1")]);
    bench.say(client, &all);
    bench.asked(backends[0]);
    bench.answer(backends[0], [OK, QUEUED, &moved(&key, 1)].concat());
    bench.turn();
    assert_eq!((bench.asked(backends[1]), bench.told(client)), (all, [OK, QUEUED].concat()));
    bench.answer(backends[1], [OK, QUEUED, &run(&[OK])].concat());
    assert_eq!(bench.told(client), run(&[OK]));
    bench.assert_nothing_is_left();
}

#[test]
fn nothing_of_a_client_overtakes_a_transaction_that_is_redirected() {
    let (mut bench, backends) = halves(|_| {});
    let client = bench.client();
    let key = key_in(0, 0);
    let all = transaction(&[set(&key, "2")]);
    bench.say(client, set(&key, "1") + &all + &get(&key));
    bench.asked(backends[0]);
    bench.hear_server(backends[0], [&moved(&key, 1), OK, &moved(&key, 1)].concat());
    bench.say(client, set(&key, "3"));
    bench.answer(backends[0], ABORTED.to_string() + &moved(&key, 1));
    bench.turn();
    assert_eq!(bench.asked(backends[1]), set(&key, "1") + &all + &get(&key));
    bench.answer(backends[1], [OK, OK, QUEUED, &run(&[OK]), &bulk("2")].concat());
    assert_eq!(bench.told(client), [OK, OK, QUEUED, &run(&[OK]), &bulk("2")].concat());
    bench.turn();
    assert_eq!((bench.asked(backends[0]), bench.asked(backends[1])), (String::new(), set(&key, "3")));
    bench.answer(backends[1], OK);
    bench.assert_nothing_is_left();
}

#[test]
fn a_step_with_an_error_of_its_own_ends_the_transaction() {
    let (mut bench, backends) = halves(|_| {});
    let client = bench.client();
    let key = key_in(0, 0);
    let all = transaction(&[set(&key, "1"), get(&key), set(&key, "2")]);
    let memory = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
    for refusals in [[&moved(&key, 1), memory, QUEUED], [memory, &moved(&key, 1), &moved(&key, 1)]] {
        bench.say(client, &all);
        bench.asked(backends[0]);
        bench.answer(backends[0], [OK, &refusals.concat(), ABORTED].concat());
        assert_eq!(bench.told(client), [OK, &refusals.concat(), ABORTED].concat());
        bench.pass(100);
        assert_eq!((bench.asked(backends[0]), bench.asked(backends[1])), Default::default());
    }
    // The same of one that nobody waits for.
    bench.say(client, &all);
    bench.asked(backends[0]);
    bench.answer(backends[0], [OK, QUEUED, &ask(&key, 1), QUEUED, ABORTED].concat());
    bench.turn();
    assert_eq!(bench.asked(backends[1]), ASKING.to_string() + &all);
    bench.answer(backends[1], [OK, OK, memory, QUEUED, QUEUED, ABORTED].concat());
    assert_eq!(bench.told(client), [OK, QUEUED, QUEUED, QUEUED, ABORTED].concat());
    bench.assert_nothing_is_left();
}

#[test]
fn what_is_discarded_was_as_good_as_queued() {
    let (mut bench, backends) = halves(|_| {});
    let client = bench.client();
    let key = key_in(0, 0);
    bench.say(client, request(&["MULTI"]) + &set(&key, "1") + &request(&["DISCARD"]));
    bench.asked(backends[0]);
    bench.answer(backends[0], [OK, &moved(&key, 1), OK].concat());
    assert_eq!(bench.told(client), [OK, QUEUED, OK].concat());
    bench.turn();
    assert_eq!(bench.asked(backends[1]), "");
    bench.assert_nothing_is_left();
}

#[test]
fn a_transaction_whose_connection_is_lost_is_not_sent_again() {
    let (mut bench, backends) = halves(|_| {});
    let client = bench.client();
    let key = key_in(0, 0);
    bench.say(client, transaction(&[set(&key, "1")]));
    bench.asked(backends[0]);
    bench.answer(backends[0], OK.to_string() + &moved(&key, 1));
    assert_eq!(bench.told(client), OK);
    bench.proxy.handle_backend_end(backends[0], bench.now);
    bench.turn();
    let told = bench.told(client);
    assert!(told.starts_with(&moved(&key, 1)) && told.contains("may have been run"), "{told}");
    bench.assert_nothing_is_left();
}

#[test]
fn a_transaction_whose_time_is_over_is_told_so() {
    let (mut bench, backends) = halves(|_| {});
    let client = bench.client();
    let key = key_in(0, 0);
    bench.say(client, transaction(&[set(&key, "1")]));
    bench.asked(backends[0]);
    // The node is silent.
    bench.answer(backends[0], OK.to_string() + TRYAGAIN);
    bench.pass(500);
    let told = bench.told(client);
    assert!(told.starts_with(&(OK.to_string() + TRYAGAIN)) && told.contains("No reply"), "{told}");
    bench.answer(backends[0], ABORTED);
    bench.assert_nothing_is_left();
    // It says the same all the time.
    let (mut bench, backends) = halves(|_| {});
    let client = bench.client();
    bench.say(client, transaction(&[set(&key, "1")]));
    let start = bench.now;
    while !bench.told(client).ends_with(&(TRYAGAIN.to_string() + ABORTED)) {
        if !bench.asked(backends[0]).is_empty() {
            bench.answer(backends[0], [OK, TRYAGAIN, ABORTED].concat());
        }
        bench.pass(1);
        assert!(bench.now - start < 600);
    }
    bench.assert_nothing_is_left();
}

#[test]
fn a_transaction_behind_which_something_was_run_comes_too_late() {
    let (mut bench, backends) = halves(|_| {});
    let client = bench.client();
    let key = key_in(0, 0);
    let b = format!("{{{key}}}b");
    let all = transaction(&[set(&key, "1"), get(&b)]);
    // Another key of the slot does not matter, and a read is asked again.
    bench.say(client, all.clone() + &set(&format!("{{{key}}}c"), "x") + &get(&key));
    bench.asked(backends[0]);
    bench.answer(backends[0], [OK, QUEUED, &ask(&b, 1), ABORTED, OK, &bulk("0")].concat());
    bench.turn();
    assert_eq!(bench.asked(backends[1]), ASKING.to_string() + &all);
    assert_eq!(bench.asked(backends[0]), "", "the read waits for it");
    bench.answer(backends[1], [OK, OK, QUEUED, QUEUED, &run(&[OK, "$-1\r\n"])].concat());
    bench.turn();
    assert_eq!(asked_in_time(&mut bench, backends[0], 50), get(&key));
    bench.answer(backends[0], ask(&key, 1));
    bench.turn();
    bench.asked(backends[1]);
    bench.answer(backends[1], OK.to_string() + &bulk("1"));
    assert_eq!(bench.told(client), [OK, QUEUED, QUEUED, &run(&[OK, "$-1\r\n"]), OK, &bulk("1")].concat());
    bench.assert_nothing_is_left();
}

#[test]
fn a_transaction_that_was_run_makes_what_waits_before_it_too_late() {
    let (mut bench, backends) = halves(|_| {});
    let client = bench.client();
    let [a, b] = [key_in(0, 0), format!("{{{}}}b", key_in(0, 0))];
    bench.say(client, request(&["MSET", &a, "1", &b, "1"]) + &transaction(&[set(&a, "2")]));
    bench.asked(backends[0]);
    bench.answer(backends[0], [TRYAGAIN, OK, QUEUED].concat());
    assert_eq!(bench.told(client), "", "what is queued is not run");
    bench.answer(backends[0], run(&[OK]));
    let told = bench.told(client);
    assert!(told.starts_with("-TRYAGAIN ") && told.ends_with(&[OK, QUEUED, &run(&[OK])].concat()), "{told}");
    bench.assert_nothing_is_left();
}

#[test]
fn keys_of_several_slots_are_no_whole_transaction() {
    let (mut bench, backends) = halves(|_| {});
    let client = bench.client();
    bench.say(client, transaction(&[set(&key_in(0, 0), "1"), set(&key_in(0, 1), "1")]));
    assert_eq!((bench.told(client), bench.asked(backends[0])), (OK.to_string(), String::new()));
    let leased = bench.connect(0);
    let cross = "-CROSSSLOT Keys in request don't hash to the same slot\r\n";
    assert!(bench.asked(leased).ends_with(&request(&["EXEC"])));
    bench.answer(leased, [OK, QUEUED, QUEUED, cross].concat());
    assert_eq!(bench.told(client), [QUEUED, QUEUED, cross].concat());
    bench.assert_nothing_is_left();
}

#[test]
fn nothing_stays_of_a_transaction_whose_client_leaves() {
    let (mut bench, backends) = halves(|_| {});
    let key = key_in(0, 0);
    for end in ["", ABORTED] {
        let client = bench.client();
        bench.say(client, transaction(&[set(&key, "1"), get(&key)]));
        bench.asked(backends[0]);
        bench.answer(backends[0], [OK, TRYAGAIN, QUEUED, end].concat());
        bench.proxy.handle_client_broken(client);
        bench.turn();
        if end.is_empty() {
            bench.answer(backends[0], ABORTED);
        }
        bench.pass(100);
        assert_eq!(bench.asked(backends[0]), "");
        bench.assert_nothing_is_left();
        assert!(bench.proxy.redirected.is_empty());
    }
}

#[test]
fn a_transaction_that_counts_who_hears_is_sent_again_too() {
    let (mut bench, backends) = halves(|_| {});
    let client = bench.client();
    let key = key_in(0, 0);
    let steps = [request(&["PUBLISH", "news", "x"]), set(&key, "1")];
    let channel_node = bench.client();
    bench.say(channel_node, request(&["SUBSCRIBE", "news"]));
    bench.say(client, transaction(&steps));
    assert_eq!(bench.asked(backends[0]), transaction(&steps));
    bench.answer(backends[0], [OK, QUEUED, &moved(&key, 1), ABORTED].concat());
    bench.turn();
    assert_eq!(bench.asked(backends[1]), transaction(&steps));
    bench.answer(backends[1], [OK, QUEUED, QUEUED, &run(&[":0\r\n", OK])].concat());
    assert_eq!(bench.told(client), [OK, QUEUED, QUEUED, &run(&[":0\r\n", OK])].concat());
}

#[test]
fn a_transaction_that_comes_step_by_step_begins_when_nothing_before_it_can_be_redirected() {
    let (mut bench, backends) = halves(|_| {});
    let client = bench.client();
    let [here, there] = [key_in(0, 0), key_in(1, 0)];
    bench.say(client, set(&there, "1") + &request(&["MULTI"]) + &set(&here, "1"));
    assert_eq!((bench.asked(backends[1]), bench.connects.len()), (set(&there, "1"), 0));
    bench.answer(backends[1], ask(&there, 0));
    bench.turn();
    assert_eq!(bench.asked(backends[0]), ASKING.to_string() + &set(&there, "1"));
    bench.answer(backends[0], OK.repeat(2));
    bench.turn();
    let leased = if bench.asked(backends[0]).is_empty() { bench.connect(0) } else { backends[0] };
    bench.say(client, request(&["EXEC"]));
    bench.answer(leased, [OK, QUEUED, &run(&[OK])].concat());
    assert_eq!(bench.told(client), [OK, OK, QUEUED, &run(&[OK])].concat());
    bench.assert_nothing_is_left();
}
