//! Servers that say a line too much, and `strictReplies`, with which nobody else is told it.

use super::*;

fn strict(servers: usize) -> (Bench, Vec<Id>) {
    Bench::ready(servers, |settings| settings.strict_replies = true)
}

/// The question that stands behind what is doubtful, and its answer.
fn question(bench: &Bench) -> (String, String) {
    let question = String::from_utf8(bench.proxy.upstreams.guard().to_vec()).expect("it is ASCII");
    let answer = question.strip_prefix("*2\r\n$4\r\nECHO\r\n").expect("an ECHO").to_owned();
    assert!(answer.starts_with("$40\r\n"));
    (question, answer)
}

#[test]
fn what_a_script_says_too_much_reaches_no_other_client() {
    let (mut bench, backends) = strict(1);
    let (question, _) = question(&bench);
    let eval = request(&["EVAL", "error(redis.error_reply('X\\r\\n+INJECTED'))", "0"]);
    let (attacker, reader, writer) = (bench.client(), bench.client(), bench.client());
    bench.hear(attacker, &eval);
    bench.hear(reader, get("b"));
    bench.say(writer, set("c", "1"));
    assert_eq!(bench.asked(backends[0]), eval + &question + &get("b") + &set("c", "1"));
    bench.answer(backends[0], "-X\r\n+INJECTED\r\n".to_owned() + &bulk("B") + "+OK\r\n");
    assert_eq!(bench.told(attacker), "-X\r\n");
    assert!(bench.told(writer).starts_with("-ERR Connection to server-0 lost before its reply"));
    assert_eq!(bench.told(reader), "");
    assert!(bench.is_closed(Conn::Backend(backends[0])));
    let second = bench.connect(0);
    assert_eq!(bench.asked(second), get("b"));
    bench.answer(second, bulk("B"));
    assert_eq!(bench.told(reader), bulk("B"));
    bench.assert_nothing_is_left();
}

#[test]
fn without_it_nothing_is_asked_behind_a_script() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    let eval = request(&["EVAL", "return 1", "0"]);
    bench.say(client, &eval);
    assert_eq!(bench.asked(backends[0]), eval);
}

#[test]
fn an_honest_server_answers_as_ever() {
    let (mut bench, backends) = strict(1);
    let (question, answer) = question(&bench);
    let client = bench.client();
    let doubtful = [
        request(&["eval", "return 1", "1", "k"]),
        request(&["EVALSHA", &"0".repeat(40), "0"]),
        request(&["FCALL", "f", "0"]),
        request(&["FUNCTION", "LIST"]),
        request(&["SCRIPT", "EXISTS", "x"]),
        request(&["MULTI"]) + &set("a", "1") + &request(&["EXEC"]),
    ];
    for bytes in doubtful {
        bench.say(client, bytes.clone() + &get("a"));
        assert_eq!(bench.asked(backends[0]), bytes.clone() + &question + &get("a"));
        let reply = if bytes.contains("MULTI") { "+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n" } else { "*1\r\n:1\r\n" };
        bench.answer(backends[0], reply.to_owned() + &answer + &bulk("A"));
        assert_eq!(bench.told(client), reply.to_owned() + &bulk("A"));
        bench.assert_nothing_is_left();
    }
    bench.say(client, "EVAL 'return 1' 0\r\n");
    assert_eq!(bench.asked(backends[0]), request(&["EVAL", "return 1", "0"]) + &question, "inline");
}

#[test]
fn within_a_transaction_the_question_waits_for_its_end() {
    let (mut bench, _) = strict(1);
    let (question, answer) = question(&bench);
    let client = bench.client();
    bench.say(client, request(&["MULTI"]));
    bench.say(client, request(&["EVAL", "return 1", "0"]));
    let leased = bench.connect(0);
    assert_eq!(bench.asked(leased), request(&["MULTI"]) + &request(&["EVAL", "return 1", "0"]));
    bench.answer(leased, "+OK\r\n+QUEUED\r\n");
    bench.say(client, request(&["CLIENT", "GETNAME"]));
    bench.asked(leased);
    bench.answer(leased, "+QUEUED\r\n");
    bench.say(client, request(&["EXEC"]));
    assert_eq!(bench.asked(leased), request(&["EXEC"]) + &question);
    bench.answer(leased, "*2\r\n:1\r\n+PONG\r\n".to_owned() + &answer);
    assert_eq!(bench.told(client), "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n$-1\r\n");
    bench.assert_nothing_is_left();
}

#[test]
fn what_is_sent_again_is_made_sure_of_again() {
    let (mut bench, backends) = strict(2);
    let (question, answer) = question(&bench);
    let (a, b) = (key_on(&bench, 0), key_on(&bench, 1));
    let client = bench.client();
    bench.say(client, request(&["EVAL", "return 1", "1", &a]));
    bench.answer(backends[0], ":1\r\n".to_owned() + &answer);
    let digest = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
    bench.say(client, request(&["EVALSHA_RO", digest, "1", &b]));
    assert_eq!(bench.asked(backends[1]), request(&["EVALSHA_RO", digest, "1", &b]) + &question);
    bench.answer(backends[1], "-NOSCRIPT No matching script. Please use EVAL.\r\n".to_owned() + &answer);
    let eval = request(&["EVAL_RO", "return 1", "1", &b]);
    assert_eq!(bench.asked(backends[1]), eval.clone() + &question);
    bench.proxy.handle_backend_end(backends[1], bench.now);
    bench.turn();
    let second = bench.connect(1);
    assert_eq!(bench.asked(second), eval + &question);
    bench.answer(second, ":1\r\n".to_owned() + &answer);
    // All servers are asked.
    bench.say(client, request(&["SCRIPT", "FLUSH"]));
    assert_eq!(bench.asked(second), request(&["SCRIPT", "FLUSH"]) + &question);
    bench.answer(backends[0], "+OK\r\n".to_owned() + &answer);
    bench.answer(second, "+OK\r\n".to_owned() + &answer);
    assert_eq!(bench.told(client), ":1\r\n:1\r\n+OK\r\n");
    bench.assert_nothing_is_left();
}

#[test]
fn a_large_script_is_made_sure_of_too() {
    let (mut bench, backends) = strict(1);
    let (question, _) = question(&bench);
    let client = bench.client();
    let eval = request(&["EVAL", &format!("return 1 --{}", "x".repeat(200_000)), "0"]);
    bench.say(client, &eval[..100_000]);
    assert_eq!(bench.asked(backends[0]), "");
    bench.say(client, &eval[100_000..]);
    assert!(bench.asked(backends[0]) == eval + &question);
}

#[test]
fn one_that_watches_keys_does_not_wait_for_what_is_nobodys_on_its_connection() {
    let change = |settings: &mut Settings| {
        settings.strict_replies = true;
        settings.limits.pipeline_max = 1;
    };
    let (mut bench, _) = Bench::ready(1, change);
    let (question, answer) = question(&bench);
    let client = bench.client();
    bench.say(client, request(&["WATCH", "a"]));
    let leased = bench.connect(0);
    bench.answer(leased, "+OK\r\n");
    bench.say(client, request(&["EVAL", "return 1", "0"]));
    bench.answer(leased, ":1\r\n");
    bench.asked(leased);
    bench.say(client, get("a"));
    assert_eq!(bench.asked(leased), get("a"), "the answer to the question would wake nobody");
    bench.answer(leased, answer.clone() + &bulk("A"));
    let push = format!(">1\r\n{}", bulk(&"x".repeat(200_000)));
    bench.answer(leased, &push[..100_000]);
    bench.say(client, request(&["EVAL", "return 1", "0"]));
    assert_eq!(bench.asked(leased), request(&["EVAL", "return 1", "0"]) + &question);
    bench.answer(leased, push[100_000..].to_owned() + ":1\r\n" + &answer);
    assert_eq!(bench.told(client), "+OK\r\n:1\r\n".to_owned() + &bulk("A") + ":1\r\n");
}

#[test]
fn a_question_that_is_not_answered_costs_no_connection_when_bulk_ends() {
    let (mut bench, backends) = strict(1);
    let (_, answer) = question(&bench);
    let client = bench.client();
    bench.say(client, get("b").repeat(300));
    bench.say(client, request(&["EVAL", "return 1", "0"]));
    assert!(bench.proxy.clients.get(client).is_some_and(|client| client.is_in_bulk()));
    bench.answer(backends[0], bulk("B").repeat(300) + ":1\r\n");
    assert!(bench.proxy.clients.get(client).is_some_and(|client| !client.is_in_bulk()));
    bench.say(client, get("a"));
    assert!(bench.asked(backends[0]).ends_with(&get("a")));
    bench.answer(backends[0], answer + &bulk("A"));
    assert_eq!(bench.told(client), bulk("B").repeat(300) + ":1\r\n" + &bulk("A"));
    bench.assert_nothing_is_left();
}
