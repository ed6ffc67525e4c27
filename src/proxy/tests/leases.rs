//! Backends that one client has for itself, and clients that leave while they hold one.

use super::*;

#[test]
fn who_leaves_before_it_waits_never_waits() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let client = bench.client();
    bench.say(client, set("begun", "1") + &request(&["BLPOP", "list", "0"]));
    assert_eq!(bench.asked(backends[0]), set("begun", "1"), "the lease waits for the reply to the write");
    bench.proxy.handle_client_hangup(client);
    bench.turn();
    bench.answer(backends[0], "+OK\r\n");
    assert_eq!(bench.told(client), "+OK\r\n", "it may have closed no more than its half of the connection");
    assert!(bench.is_closed(Conn::Client(client)), "it would take an element that nobody is there to have");
    for (backend, _) in std::mem::take(&mut bench.connects) {
        bench.proxy.handle_connected(backend, bench.now);
        bench.turn();
        assert!(!bench.asked(backend).contains("BLPOP"));
    }
    bench.assert_nothing_is_left();
}

#[test]
fn who_leaves_while_it_waits_takes_its_backend_with_it_before_anything_is_sent() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let (waiter, pusher) = (bench.client(), bench.client());
    bench.say(waiter, request(&["BLPOP", "list", "0"]));
    let leased = bench.connect(0);
    assert_eq!(bench.asked(leased), request(&["BLPOP", "list", "0"]));
    // Both events of one turn, in the order in which the shell tells them.
    bench.proxy.handle_client_hangup(waiter);
    bench.proxy.handle_follow_ups(bench.now);
    assert_eq!(bench.proxy.poll_action(), Some(Action::Close(Conn::Client(waiter))));
    assert_eq!(bench.proxy.poll_action(), Some(Action::Close(Conn::Backend(leased))));
    bench.say(pusher, request(&["RPUSH", "list", "kept"]));
    assert_eq!(bench.asked(backends[0]), request(&["RPUSH", "list", "kept"]));
    bench.answer(backends[0], ":1\r\n");
    assert_eq!(bench.told(pusher), ":1\r\n");
    bench.assert_nothing_is_left();
}

#[test]
fn a_backend_is_anybodys_again_when_what_it_was_leased_for_is_over() {
    let (mut bench, _) = Bench::ready(1, |settings| settings.pool_size = 2);
    let (first, second) = (bench.client(), bench.client());
    let blpop = request(&["BLPOP", "list", "1"]);
    bench.say(first, &blpop);
    let leased = bench.connect(0);
    assert_eq!(bench.asked(leased), blpop);
    bench.answer(leased, "*-1\r\n");
    assert_eq!(bench.told(first), "*-1\r\n");
    assert_eq!(bench.proxy.upstreams.backend(leased).map(|backend| backend.is_shared()), Some(true));
    // One is always left to the others: were it not free, nobody else could wait.
    bench.say(second, &blpop);
    let waits_at =
        |bench: &Bench| bench.proxy.upstreams.backends().filter(|(_, backend)| backend.is_owned_by(second)).count();
    assert_eq!(waits_at(&bench), 1);
}

#[test]
fn a_step_does_not_wait_behind_what_rmux_itself_has_said() {
    let (mut bench, _) = Bench::ready(1, |settings| settings.limits.pipeline_max = 1);
    let client = bench.client();
    bench.say(client, request(&["MULTI"]));
    bench.say(client, set("a", "1"));
    let leased = bench.connect(0);
    assert_eq!(bench.asked(leased), request(&["MULTI"]) + &set("a", "1"), "the reply to MULTI would wake nobody");
    bench.say(client, request(&["EXEC"]));
    bench.answer(leased, "+OK\r\n+QUEUED\r\n");
    assert_eq!(bench.asked(leased), request(&["EXEC"]));
    bench.answer(leased, "*1\r\n+OK\r\n");
    assert_eq!(bench.told(client), "+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n");
    bench.assert_nothing_is_left();
}

#[test]
fn a_step_does_not_wait_for_a_backend_that_takes_nothing_more() {
    let (mut bench, _) = Bench::ready(1, |settings| settings.limits.pipeline_max = 1);
    let client = bench.client();
    bench.say(client, request(&["WATCH", "a"]));
    let leased = bench.connect(0);
    bench.answer(leased, "+OK\r\n");
    bench.say(client, get("a"));
    bench.pass(300);
    // The step waits for the reply to the read, behind which MULTI is sent already.
    bench.say(client, request(&["MULTI"]) + &set("a", "1") + &request(&["EXEC"]));
    bench.pass(200);
    let told = bench.told(client);
    let late = "-ERR No reply from server-0 within 500 ms; the command may have been run\r\n";
    assert_eq!(
        told,
        format!("+OK\r\n{late}+OK\r\n+QUEUED\r\n-EXECABORT Transaction discarded because of previous errors.\r\n")
    );
    assert!(bench.is_closed(Conn::Backend(leased)));
    bench.assert_nothing_is_left();
}

#[test]
fn a_transaction_is_over_with_its_exec_whatever_that_was_answered() {
    let (mut bench, backends) = Bench::ready(2, |settings| settings.pool_size = 1);
    let client = bench.client();
    bench.say(client, request(&["MULTI"]) + &request(&["CLIENT", "GETNAME"]) + &request(&["EXEC"]));
    let told = bench.told(client);
    assert_eq!(told, "+OK\r\n+QUEUED\r\n-ERR poolSize is 1: no connection can be held for this command\r\n");
    let key = key_on(&bench, 1);
    bench.say(client, get(&key));
    assert_eq!(bench.asked(backends[1]), get(&key), "it is no step of anything");
    bench.answer(backends[1], bulk("v"));
    assert_eq!(bench.told(client), bulk("v"));
    bench.assert_nothing_is_left();
}

#[test]
fn a_large_step_of_a_transaction_is_no_request_of_its_own() {
    for servers in [1, 2] {
        let (mut bench, backends) = Bench::ready(servers, |_| {});
        let client = bench.client();
        let large = set(&key_on(&bench, 0), &"x".repeat(200_000));
        bench.say(client, request(&["MULTI"]));
        bench.say(client, &large[..100_000]);
        assert_eq!(bench.asked(backends[0]), "", "before MULTI it would be run at once");
        bench.say(client, &large[100_000..]);
        let leased = bench.connect(0);
        assert!(bench.asked(leased) == request(&["MULTI"]) + &large);
        bench.answer(leased, "+OK\r\n+QUEUED\r\n");
        assert_eq!(bench.told(client), "+OK\r\n+QUEUED\r\n");
        // Nor when the transaction has its backend, and the step is for another server.
        if servers == 2 {
            let elsewhere = set(&key_on(&bench, 1), &"y".repeat(200_000));
            bench.say(client, &elsewhere[..100_000]);
            bench.say(client, &elsewhere[100_000..]);
            assert_eq!(bench.asked(backends[1]), "");
            let crossed = "-CROSSSLOT Keys in request don't hash to the same slot\r\n";
            assert_eq!(bench.told(client), crossed);
        }
    }
}

#[test]
fn a_large_element_that_does_not_come_whole_is_not_waited_for_for_ever() {
    for timeout in ["0", "60"] {
        let (mut bench, _) = Bench::ready(1, |_| {});
        let client = bench.client();
        bench.say(client, request(&["BLPOP", "list", timeout]));
        let leased = bench.connect(0);
        bench.pass(10_000);
        let large = "*2\r\n".to_owned() + &bulk("list") + &bulk(&"x".repeat(200_000));
        bench.answer(leased, &large[..100_000]);
        assert_eq!(bench.told(client).len(), 100_000);
        bench.pass(500);
        assert!(bench.is_closed(Conn::Client(client)), "there is no honest way to end its reply");
        assert!(bench.is_closed(Conn::Backend(leased)));
        bench.assert_nothing_is_left();
    }
}

#[test]
fn wait_leaves_one_backend_to_the_others() {
    let (mut bench, backends) = Bench::ready(1, |settings| settings.pool_size = 2);
    let (first, second, other) = (bench.client(), bench.client(), bench.client());
    let wait = request(&["WAIT", "1", "0"]);
    bench.say(first, set("a", "1") + &wait);
    bench.answer(backends[0], "+OK\r\n");
    assert_eq!(bench.asked(backends[0]), set("a", "1") + &wait);
    bench.say(second, set("b", "1"));
    let shared = bench.connect(0);
    bench.answer(shared, "+OK\r\n");
    bench.say(second, &wait);
    bench.say(other, get("b"));
    assert_eq!(bench.asked(shared), set("b", "1") + &get("b"), "it is left to the others");
    bench.answer(shared, bulk("1"));
    assert_eq!(bench.told(other), bulk("1"));
    bench.pass(500);
    assert_eq!(bench.told(second), "+OK\r\n-ERR No connection to server-0 became free within 500 ms\r\n");
    // Who still waits in line when one becomes free has its turn, on the connection of its write.
    bench.say(second, &wait);
    bench.answer(backends[0], ":1\r\n");
    assert_eq!(bench.told(first), "+OK\r\n:1\r\n");
    assert_eq!(bench.asked(shared), wait);
    bench.answer(shared, ":1\r\n");
    assert_eq!(bench.told(second), ":1\r\n");
    bench.assert_nothing_is_left();
}

#[test]
fn wait_does_not_keep_others_waiting_for_its_connection() {
    let (mut bench, backends) = Bench::ready(1, |settings| settings.limits.pipeline_max = 1);
    let (reader, writer) = (bench.client(), bench.client());
    bench.say(reader, get("a"));
    bench.say(writer, set("b", "1"));
    let wrote = bench.connect(0);
    bench.answer(wrote, "+OK\r\n");
    bench.answer(backends[0], bulk("1"));
    let (worker, late) = (bench.client(), bench.client());
    bench.say(worker, request(&["BLPOP", "list", "0"]));
    assert_eq!(bench.asked(wrote), set("b", "1") + &request(&["BLPOP", "list", "0"]));
    bench.say(writer, request(&["WAIT", "1", "100"]));
    bench.say(late, request(&["BLPOP", "other", "0"]));
    let leased = bench.connect(0);
    assert_eq!(bench.asked(leased), request(&["BLPOP", "other", "0"]), "any connection will do for it");
    bench.pass(500);
    assert_eq!(bench.told(writer), "+OK\r\n-ERR No connection to server-0 became free within 500 ms\r\n");
}

#[test]
fn a_large_request_for_which_no_backend_may_be_held_is_collected() {
    let (mut bench, backends) = Bench::ready(1, |settings| settings.pool_size = 2);
    let (worker, slow, other) = (bench.client(), bench.client(), bench.client());
    bench.say(worker, request(&["BLPOP", "list", "0"]));
    bench.connect(0);
    let large = set("large", &"x".repeat(100_000));
    bench.say(slow, &large[..90_000]);
    bench.say(other, get("a"));
    assert_eq!(bench.asked(backends[0]), get("a"), "nothing large is in its way");
    bench.answer(backends[0], bulk("1"));
    bench.say(slow, &large[90_000..]);
    assert!(bench.asked(backends[0]) == large);
    bench.answer(backends[0], "+OK\r\n");
    assert_eq!((bench.told(other), bench.told(slow)), (bulk("1"), "+OK\r\n".into()));
}

#[test]
fn a_large_request_on_its_way_counts_as_a_backend_held() {
    let (mut bench, backends) = Bench::ready(1, |settings| settings.pool_size = 2);
    let (worker, slow, other) = (bench.client(), bench.client(), bench.client());
    bench.say(slow, &set("large", &"x".repeat(100_000))[..90_000]);
    assert_eq!(bench.asked(backends[0]).len(), 90_000);
    bench.say(worker, request(&["BLPOP", "list", "0"]));
    bench.say(other, get("a"));
    let shared = bench.connect(0);
    assert_eq!(bench.asked(shared), get("a"));
    bench.answer(shared, bulk("1"));
    assert_eq!(bench.told(other), bulk("1"));
}

#[test]
fn who_leaves_with_watched_keys_or_within_a_transaction_costs_no_connection() {
    let watch = request(&["WATCH", "a"]);
    let begun = request(&["MULTI"]) + &set("a", "1");
    for (said, asked, replies, cleanup) in [
        (watch.clone(), watch.clone(), "+OK\r\n", "UNWATCH"),
        (watch.clone() + &request(&["MULTI"]), watch.clone(), "+OK\r\n", "UNWATCH"),
        (watch.clone() + &get("a"), watch.clone() + &get("a"), "+OK\r\n$-1\r\n", "UNWATCH"),
        (begun.clone(), begun.clone(), "+OK\r\n+QUEUED\r\n", "DISCARD"),
        (watch.clone() + &begun, watch.clone() + &begun, "+OK\r\n+OK\r\n+QUEUED\r\n", "DISCARD"),
    ] {
        // With its replies, or without them.
        for is_early in [false, true] {
            let (mut bench, backends) = Bench::ready(1, |settings| settings.pool_size = 2);
            let (client, other) = (bench.client(), bench.client());
            bench.say(client, &said);
            let leased = bench.connect(0);
            assert_eq!(bench.asked(leased), asked);
            if !is_early {
                bench.answer(leased, replies);
            }
            bench.proxy.handle_client_end(client);
            bench.proxy.handle_client_broken(client);
            bench.turn();
            assert_eq!(bench.asked(leased), request(&[cleanup]));
            if is_early {
                bench.answer(leased, replies);
            }
            assert_eq!(bench.proxy.upstreams.backend(leased).and_then(Backend::owner), Some(client));
            bench.say(other, request(&["WATCH", "b"]));
            assert_eq!(bench.asked(leased), "", "its session is not known to be clean yet");
            bench.answer(leased, "+OK\r\n");
            assert!(!bench.is_closed(Conn::Backend(leased)));
            assert_eq!(bench.asked(leased) + &bench.asked(backends[0]), request(&["WATCH", "b"]));
        }
    }
}

#[test]
fn a_session_that_its_own_client_may_not_clean_is_nobody_elses() {
    let no = "-NOPERM this user has no permissions to run this command\r\n";
    let multi = request(&["MULTI"]) + &set("a", "1");
    let refused = [(multi.clone(), "+OK\r\n+QUEUED\r\n", "DISCARD"), (request(&["WATCH", "a"]), "+OK\r\n", "UNWATCH")];
    for (begin, replies, end) in refused {
        let (mut bench, _) = Bench::ready(1, |_| {});
        let client = bench.client();
        bench.say(client, begin);
        let leased = bench.connect(0);
        bench.answer(leased, replies);
        bench.told(client);
        bench.say(client, request(&[end]));
        bench.answer(leased, no);
        assert_eq!(bench.told(client), no);
        bench.say(client, get("x"));
        let is_open = !bench.is_closed(Conn::Backend(leased));
        assert!(!is_open || !bench.asked(leased).contains("GET"), "{end}");
        let is_shared = bench.proxy.upstreams.backend(leased).map(Backend::is_shared);
        assert!(is_shared != Some(true), "{end}: anybody may have it");
    }
}

#[test]
fn a_session_that_cannot_be_cleaned_is_closed() {
    // The server does not do it.
    let (mut bench, _) = Bench::ready(1, |_| {});
    let client = bench.client();
    bench.say(client, request(&["MULTI"]) + &set("a", "1"));
    let leased = bench.connect(0);
    bench.answer(leased, "+OK\r\n+QUEUED\r\n");
    bench.proxy.handle_client_end(client);
    bench.turn();
    bench.answer(leased, "-NOPERM this user has no permissions to run the 'discard' command\r\n");
    assert!(bench.is_closed(Conn::Backend(leased)));
    // Half a request lies in it.
    let client = bench.client();
    bench.say(client, request(&["WATCH", "a"]));
    let leased = bench.connect(0);
    bench.answer(leased, "+OK\r\n");
    bench.say(client, &set("a", &"x".repeat(100_000))[..90_000]);
    bench.proxy.handle_client_end(client);
    bench.turn();
    assert!(bench.is_closed(Conn::Backend(leased)));
    // It waits for data.
    let client = bench.client();
    bench.say(client, request(&["WATCH", "list"]));
    let leased = bench.connect(0);
    bench.answer(leased, "+OK\r\n");
    bench.say(client, request(&["BLPOP", "list", "0"]));
    bench.proxy.handle_client_end(client);
    bench.turn();
    assert!(bench.is_closed(Conn::Backend(leased)));
    bench.assert_nothing_is_left();
}

#[test]
fn a_database_that_was_selected_on_a_lease_stays_with_its_backend() {
    let (mut bench, _) = Bench::ready(1, |_| {});
    let client = bench.client();
    bench.say(client, request(&["WATCH", "a"]));
    let leased = bench.connect(0);
    bench.answer(leased, "+OK\r\n");
    bench.say(client, request(&["SELECT", "3"]));
    bench.proxy.handle_client_broken(client);
    bench.turn();
    assert_eq!(bench.asked(leased), request(&["WATCH", "a"]) + &request(&["SELECT", "3"]) + &request(&["UNWATCH"]));
    bench.answer(leased, "+OK\r\n+OK\r\n");
    let backend = bench.proxy.upstreams.backend(leased).expect("it is as good as before");
    assert_eq!((backend.owner(), backend.profile().database), (None, 3));
}

fn blpop(list: &str) -> String {
    request(&["BLPOP", list, "0"])
}

#[test]
fn who_blocks_first_is_first_at_the_server() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [1, 0, 2]] {
        let (mut bench, _) = Bench::ready(1, |_| {});
        let clients: Vec<Id> = (0..3).map(|_| bench.client()).collect();
        for (number, client) in clients.iter().enumerate() {
            // One has a timeout, so that somebody looks after it wherever it goes.
            bench.say(*client, request(&["BLPOP", &format!("list{number}"), if number == 1 { "9" } else { "0" }]));
        }
        let connects = std::mem::take(&mut bench.connects);
        for (turn, place) in order.into_iter().enumerate() {
            // They become ready in another order than they were asked for.
            bench.connects.push(connects[place]);
            let backend = bench.connect(0);
            let timeout = if turn == 1 { "9" } else { "0" };
            assert_eq!(bench.asked(backend), request(&["BLPOP", &format!("list{turn}"), timeout]));
            bench.answer(backend, bulk(&turn.to_string()));
            assert_eq!(bench.told(clients[turn]), bulk(&turn.to_string()));
        }
        bench.assert_nothing_is_left();
    }
}

#[test]
fn who_blocks_later_does_not_have_the_backend_that_is_ready() {
    let (mut bench, _) = Bench::ready(1, |_| {});
    let clients: Vec<Id> = (0..4).map(|_| bench.client()).collect();
    bench.say(clients[0], blpop("a"));
    let ready = bench.connect(0);
    bench.asked(ready);
    bench.say(clients[1], blpop("b"));
    let slow = bench.next_connect(0);
    bench.answer(ready, "*-1\r\n");
    bench.say(clients[2], blpop("c"));
    assert_eq!(bench.asked(ready), blpop("b"), "it has waited longer");
    bench.answer(ready, bulk("b"));
    assert_eq!(bench.told(clients[1]), bulk("b"));
    // Who has gone on is not waited for, and who has left neither.
    bench.say(clients[3], blpop("d"));
    assert_eq!(bench.asked(ready), blpop("c"));
    bench.proxy.handle_client_hangup(clients[3]);
    bench.turn();
    assert!(bench.is_closed(Conn::Backend(slow)));
    bench.answer(ready, bulk("c"));
    assert_eq!(bench.told(clients[2]), bulk("c"));
    bench.say(clients[1], blpop("e"));
    assert_eq!(bench.asked(ready), blpop("e"));
    bench.answer(ready, bulk("e"));
    bench.assert_nothing_is_left();
}

#[test]
fn who_blocks_in_another_database_goes_its_own_way() {
    let (mut bench, _) = Bench::ready(1, |_| {});
    let (first, second) = (bench.client(), bench.client());
    bench.say(first, blpop("a"));
    let slow = bench.next_connect(0);
    bench.say(second, request(&["SELECT", "1"]) + &blpop("a"));
    let ready = bench.connect(0);
    assert_eq!(bench.asked(ready), blpop("a"));
    bench.answer(ready, bulk("in 1"));
    assert_eq!(bench.told(second), "+OK\r\n".to_owned() + &bulk("in 1"));
    bench.proxy.handle_connect_failed(slow, "refused", bench.now);
    bench.turn();
    assert_eq!(bench.told(first), "-ERR Connection down\r\n");
    bench.assert_nothing_is_left();
}

#[test]
fn who_blocks_first_does_not_get_what_the_server_says_to_another_ones_protocol() {
    let (mut bench, _) = Bench::ready(1, |_| {});
    let (first, other) = (bench.client(), bench.client());
    bench.say(first, blpop("a"));
    let slow = bench.next_connect(0);
    bench.say(other, request(&["HELLO", "3"]) + &blpop("b"));
    bench.told(other);
    let quick = bench.next_connect(0);
    bench.proxy.handle_connected(quick, bench.now);
    bench.turn();
    bench.asked(quick);
    let refusal = "-NOPROTO unsupported protocol version\r\n";
    bench.answer(quick, refusal.to_string() + "+PONG\r\n");
    assert_eq!(bench.told(other), refusal);
    assert_eq!(bench.told(first), "", "it speaks another one, and waits");
    bench.proxy.handle_connected(slow, bench.now);
    bench.turn();
    bench.shake_hands(slow);
    assert_eq!(bench.asked(slow), blpop("a"));
    bench.answer(slow, "*-1\r\n");
    assert_eq!(bench.told(first), "*-1\r\n");
    bench.assert_nothing_is_left();
}

#[test]
fn who_blocks_first_in_a_turn_is_sent_first() {
    let (mut bench, _) = Bench::ready(1, |_| {});
    let clients: Vec<Id> = (0..3).map(|_| bench.client()).collect();
    let mut backends = Vec::new();
    for client in &clients {
        bench.say(*client, blpop("a"));
        backends.push(bench.connect(0));
    }
    backends.iter().for_each(|backend| bench.answer(*backend, "*-1\r\n"));
    backends.iter().for_each(|backend| drop(bench.asked(*backend)));
    bench.net.order.clear();
    clients.iter().for_each(|client| bench.hear(*client, blpop(&client.to_string())));
    bench.turn();
    let written = std::mem::take(&mut bench.net.order);
    let mut asked = written.into_iter().map(|conn| bench.take(conn)).filter(|bytes| !bytes.is_empty());
    assert!(clients.iter().all(|client| asked.next() == Some(blpop(&client.to_string()))));
}

#[test]
fn who_leaves_while_it_waits_for_replicas_costs_nobody_a_reply() {
    let (mut bench, backends) = Bench::ready(1, |_| {});
    let (waiter, other) = (bench.client(), bench.client());
    bench.say(waiter, set("a", "1"));
    bench.say(other, set("b", "1"));
    bench.say(waiter, request(&["WAIT", "1", "0"]));
    bench.proxy.handle_client_broken(waiter);
    bench.turn();
    assert_eq!(bench.told(other), "");
    bench.answer(backends[0], "+OK\r\n+OK\r\n");
    assert_eq!(bench.told(other), "+OK\r\n");
    assert!(bench.is_closed(Conn::Backend(backends[0])));
    bench.assert_nothing_is_left();
}
