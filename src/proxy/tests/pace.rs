//! How fast connections are made.

use super::*;

/// One server, with one connection, and so many clients that wait for data, each of which wants one of its own.
fn storm(clients: usize, per_second: usize, connect_ms: u64) -> (Bench, Vec<Id>) {
    let (mut bench, _) = Bench::ready(1, |settings| {
        (settings.pool_size, settings.lease_max) = (20, 19);
        settings.limits.connects_per_second = per_second;
        settings.timeouts.remote_connect_ms = connect_ms;
    });
    // The bucket is full again.
    bench.pass(10_000);
    let clients: Vec<Id> = (0..clients).map(|_| bench.client()).collect();
    for &client in &clients {
        bench.hear(client, request(&["BLPOP", "q", "0"]));
    }
    bench.turn();
    (bench, clients)
}

#[test]
fn a_storm_is_let_in_one_after_the_other_and_everybody_comes_to_his_turn() {
    let (mut bench, clients) = storm(9, 2, 60_000);
    assert_eq!(bench.connects.len(), 2, "a second's worth at once");
    let mut asked = Vec::new();
    let start = bench.now;
    while asked.len() < clients.len() {
        while !bench.connects.is_empty() {
            let backend = bench.connect(0);
            assert_eq!(bench.asked(backend), request(&["BLPOP", "q", "0"]));
            asked.push(bench.now - start);
        }
        bench.pass(1);
        assert!(bench.now - start < 60_000, "{} of them are served", asked.len());
    }
    // By the grain of the wheel.
    let due = [0, 0, 500, 1_000, 1_500, 2_000, 2_500, 3_000, 3_500];
    assert!(asked.iter().zip(due).all(|(&at, due)| at >= due && at <= due + 20), "{asked:?}");
}

#[test]
fn who_waits_for_his_turn_waits_no_longer_than_for_any_connection() {
    let (mut bench, clients) = storm(6, 2, 600);
    for _ in 0..2 {
        bench.connect(0);
    }
    for _ in 0..700 {
        bench.pass(1);
        while !bench.connects.is_empty() {
            bench.connect(0);
        }
    }
    let told: Vec<String> = clients.iter().map(|&client| bench.told(client)).collect();
    assert_eq!(told.iter().filter(|told| told.is_empty()).count(), 3);
    let error = "-ERR No connection to server-0 became free within 600 ms\r\n";
    assert_eq!(told.iter().filter(|told| *told == error).count(), 3, "{told:?}");
}

#[test]
fn a_connection_that_is_lost_is_made_anew_in_its_turn_and_a_server_that_drops_them_gets_few() {
    let (mut bench, _) = Bench::ready(1, |settings| settings.limits.connects_per_second = 5);
    bench.pass(10_000);
    let mut connects = 0;
    let mut backend = None;
    for _ in 0..10_000 {
        if let Some(id) = backend.take() {
            bench.proxy.handle_backend_end(id, bench.now);
            bench.turn();
        }
        while !bench.connects.is_empty() {
            connects += 1;
            backend = Some(bench.connect(0));
            let client = bench.client();
            // It is of use each time, so that nothing but the pace holds it back.
            bench.say(client, get("a"));
            bench.answer(backend.expect("it is connected"), bulk("1"));
            bench.proxy.handle_client_broken(client);
        }
        if connects == 0 {
            let id = bench.proxy.upstreams.backends().map(|(id, _)| id).next().expect("there is one");
            backend = Some(id);
        }
        bench.pass(1);
    }
    assert!((48..=57).contains(&connects), "{connects} in 10 s");
}

#[test]
fn a_probe_does_not_wait_and_so_a_server_is_found_again() {
    let (mut bench, backends) = Bench::ready(2, |settings| settings.limits.connects_per_second = 1);
    bench.pass(10_000);
    bench.take_down(backends[0], 0);
    assert!(!bench.proxy.is_all_up());
    assert!(bench.until_connect() <= 110);
    bench.refuse(0);
    assert!(bench.until_connect() <= 210);
    bench.connect(0);
    assert!(bench.proxy.is_all_up());
    assert!(bench.connects.is_empty());
}

#[test]
fn other_settings_do_not_leave_a_server_without_a_connection() {
    let (mut bench, _) = Bench::ready(1, |settings| {
        settings.limits.connects_per_second = 1;
    });
    let id = bench.proxy.upstreams.backends().map(|(id, _)| id).next().expect("there is one");
    bench.proxy.handle_backend_end(id, bench.now);
    bench.turn();
    assert!(bench.connects.is_empty(), "it is not its turn yet");
    bench.pass(100);
    let mut settings = bench.proxy.settings.clone();
    settings.limits.connects_per_second = 1_000;
    bench.proxy.handle_settings(settings, bench.now);
    bench.turn();
    assert!(bench.until_connect() <= 1_000);
}
