//! Scripts that a server does not know, and what its client sent meanwhile.

use super::*;

const NO_SCRIPT: &str = "-NOSCRIPT No matching script. Please use EVAL.\r\n";
const DIGEST: &str = "E0E1F9FABFC9D4800C877A703B823AC0578FF8DB";

/// Two servers, and a client that has shown a script to the first of them.
fn with_a_script_shown_to_the_first() -> (Bench, Vec<Id>, Id) {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let client = bench.client();
    bench.say(client, request(&["EVAL", "return 1", "1", &key_on(&bench, 0)]));
    bench.asked(backends[0]);
    bench.answer(backends[0], ":1\r\n");
    bench.told(client);
    (bench, backends, client)
}

#[test]
fn a_server_that_does_not_know_a_script_is_given_it_in_the_place_of_the_call() {
    let (mut bench, backends, client) = with_a_script_shown_to_the_first();
    let (a, b) = (key_on(&bench, 0), key_on(&bench, 1));
    bench.say(client, request(&["EVALSHA", DIGEST, "1", &b, "x"]) + &get(&a));
    assert_eq!(bench.asked(backends[1]), request(&["EVALSHA", DIGEST, "1", &b, "x"]));
    bench.answer(backends[1], NO_SCRIPT);
    assert_eq!(bench.asked(backends[1]), request(&["EVAL", "return 1", "1", &b, "x"]));
    bench.answer(backends[0], bulk("A"));
    assert_eq!(bench.told(client), "", "the call keeps its place");
    bench.answer(backends[1], ":1\r\n");
    assert_eq!(bench.told(client), ":1\r\n".to_owned() + &bulk("A"));
    bench.say(client, request(&["EVALSHA", &"0".repeat(40), "1", &b]));
    bench.answer(backends[1], NO_SCRIPT);
    assert_eq!(bench.told(client), NO_SCRIPT, "what nobody has shown is not known");
    bench.asked(backends[1]);
    bench.say(client, request(&["EVALSHA_RO", DIGEST, "1", &b]));
    bench.asked(backends[1]);
    bench.answer(backends[1], NO_SCRIPT);
    assert_eq!(bench.asked(backends[1]), request(&["EVAL_RO", "return 1", "1", &b]));
    bench.answer(backends[1], NO_SCRIPT);
    assert_eq!(bench.told(client), NO_SCRIPT, "once");
    bench.assert_nothing_is_left();
}

#[test]
fn a_script_that_is_not_known_is_not_overtaken_by_what_its_client_sent_behind() {
    let (mut bench, backends, client) = with_a_script_shown_to_the_first();
    let b = key_on(&bench, 1);
    bench.say(client, request(&["EVALSHA", DIGEST, "1", &b]) + &request(&["SET", &b, "later"]));
    bench.asked(backends[1]);
    bench.answer(backends[1], NO_SCRIPT.to_owned() + "+OK\r\n");
    assert_eq!(bench.asked(backends[1]), "", "it would run after the SET");
    assert_eq!(bench.told(client), NO_SCRIPT.to_owned() + "+OK\r\n");
    bench.assert_nothing_is_left();
}

#[test]
fn one_server_says_itself_what_it_does_not_know() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    bench.say(client, request(&["EVAL", "return 1", "0"]) + &request(&["EVALSHA", DIGEST, "0"]));
    bench.answer(backends[0], ":1\r\n".to_owned() + NO_SCRIPT);
    assert_eq!(bench.told(client), ":1\r\n".to_owned() + NO_SCRIPT);
}

#[test]
fn scripts_that_were_flushed_are_forgotten() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    let client = bench.client();
    bench.say(client, request(&["SCRIPT", "LOAD", "return 1"]) + &request(&["SCRIPT", "FLUSH"]));
    for backend in [backends[0], backends[1]] {
        bench.answer(backend, bulk(DIGEST) + "+OK\r\n");
    }
    assert_eq!(bench.told(client), bulk(DIGEST) + "+OK\r\n");
    bench.say(client, request(&["EVALSHA", DIGEST, "0"]));
    bench.answer(backends[0], NO_SCRIPT);
    assert_eq!(bench.told(client), NO_SCRIPT);
}

#[test]
fn a_script_that_is_not_known_stays_in_front_of_what_comes_while_keys_are_watched() {
    let (mut bench, _, client) = with_a_script_shown_to_the_first();
    let b = key_on(&bench, 1);
    bench.say(client, request(&["WATCH", &b]));
    let leased = bench.connect(1);
    assert_eq!(bench.asked(leased), request(&["WATCH", &b]));
    bench.answer(leased, "+OK\r\n");
    bench.say(client, request(&["EVALSHA", DIGEST, "1", &b]));
    bench.asked(leased);
    bench.hear_server(leased, NO_SCRIPT);
    bench.say(client, request(&["SET", &b, "later"]));
    assert_eq!(bench.asked(leased), request(&["EVAL", "return 1", "1", &b]) + &request(&["SET", &b, "later"]));
    bench.answer(leased, ":1\r\n+OK\r\n");
    bench.say(client, request(&["UNWATCH"]));
    bench.answer(leased, "+OK\r\n");
    assert_eq!(bench.told(client), "+OK\r\n:1\r\n+OK\r\n+OK\r\n");
    bench.assert_nothing_is_left();
}

#[test]
fn a_script_is_sent_along_on_the_connection_that_did_not_know_it() {
    let (mut bench, backends) = Bench::ready(2, |settings| settings.limits.pipeline_max = 1);
    let (other, client) = (bench.client(), bench.client());
    let b = key_on(&bench, 1);
    bench.say(client, request(&["EVAL", "return 1", "1", &key_on(&bench, 0)]));
    bench.answer(backends[0], ":1\r\n");
    bench.say(other, get(&b));
    bench.asked(backends[1]);
    bench.say(client, request(&["EVALSHA", DIGEST, "1", &b]));
    let second = bench.connect(1);
    assert_eq!(bench.asked(second), request(&["EVALSHA", DIGEST, "1", &b]));
    bench.answer(backends[1], bulk("B"));
    bench.answer(second, NO_SCRIPT);
    assert_eq!(bench.asked(second), request(&["EVAL", "return 1", "1", &b]), "WAIT would ask there what it wrote");
    bench.answer(second, ":1\r\n");
    assert_eq!(bench.told(client), ":1\r\n".repeat(2));
    bench.assert_nothing_is_left();
}
