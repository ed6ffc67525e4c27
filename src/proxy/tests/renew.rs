//! Servers whose names move.

use super::*;
use crate::proxy::reload::RETIRED_MS;
use crate::stats::Location;

const HOUR_MS: u64 = 3_600_000;

fn server(number: usize) -> ServerId {
    ServerId::of_index(number)
}

impl Bench {
    /// A lookup of the first server's name has ended: these connections are at addresses that it does not have.
    fn move_away(&mut self, outdated: &[Id]) {
        for &id in outdated {
            self.proxy.handle_outdated(id, true);
        }
        self.proxy.handle_lookup(server(0), Ok("192.0.2.2:6379"), self.now);
        self.proxy.handle_resolved(server(0), true, self.now);
        self.turn();
    }
}

/// One server, with one connection at an address that its name has.
fn bench(change: impl FnOnce(&mut Settings)) -> (Bench, Id) {
    let (mut bench, backends) = Bench::ready(1, change);
    bench.proxy.handle_lookup(server(0), Ok("192.0.2.1:6379"), bench.now);
    bench.proxy.handle_resolved(server(0), true, bench.now);
    bench.turn();
    (bench, backends[0])
}

#[test]
fn the_new_connection_is_ready_before_the_old_one_goes() {
    let (mut bench, old) = bench(|settings| (settings.pool_size, settings.lease_max) = (1, 1));
    let client = bench.client();
    bench.say(client, get("a"));
    assert_eq!(bench.asked(old), get("a"));
    bench.move_away(&[old]);
    assert_eq!(bench.lines, ["INFO server server-0: its name has other addresses now: 192.0.2.2:6379"]);

    // Though the pool is full, another one is made; until it is ready nothing changes.
    let new = bench.next_connect(0);
    bench.answer(old, bulk("1"));
    assert_eq!(bench.told(client), bulk("1"));
    bench.say(client, get("b"));
    assert_eq!(bench.asked(old), get("b"));
    bench.proxy.handle_connected(new, bench.now);
    bench.turn();
    bench.shake_hands(new);

    // The old one answers what it owes, and gets nothing more.
    let other = bench.client();
    bench.say(other, get("c"));
    assert_eq!((bench.asked(old).as_str(), bench.asked(new)), ("", get("c")));
    assert!(!bench.is_closed(Conn::Backend(old)));
    bench.answer(old, bulk("2"));
    assert_eq!(bench.told(client), bulk("2"));
    assert!(bench.is_closed(Conn::Backend(old)));
    bench.say(client, get("d"));
    assert_eq!(bench.asked(new), get("d"));
    bench.answer(new, bulk("3") + &bulk("4"));
    assert!(bench.connects.is_empty() && !bench.proxy.upstreams.is_renewing());
    bench.pass(HOUR_MS);
    assert!(bench.connects.is_empty());
}

#[test]
fn a_lookup_that_changes_nothing_costs_no_connection() {
    let (mut bench, old) = bench(|_| {});
    for is_changed in [false, true] {
        bench.proxy.handle_outdated(old, false);
        bench.proxy.handle_lookup(server(0), Ok("192.0.2.1:6379"), bench.now);
        bench.proxy.handle_resolved(server(0), is_changed, bench.now);
        bench.turn();
        assert!(bench.connects.is_empty() && bench.closed.is_empty() && bench.lines.is_empty());
    }
}

#[test]
fn where_the_new_address_does_not_answer_the_old_connections_stay_in_use() {
    for is_refused in [true, false] {
        let (mut bench, old) = bench(|_| {});
        bench.move_away(&[old]);
        bench.lines.clear();
        let client = bench.client();
        // Nobody says anything for a while, so that nothing but the connects tells how the server is.
        for _ in 0..60 {
            while let Some((new, _)) = bench.connects.pop() {
                if is_refused {
                    bench.proxy.handle_connect_failed(new, "refused", bench.now);
                    bench.turn();
                }
            }
            bench.pass(250);
        }
        let why = if is_refused { "cannot connect: refused" } else { "no handshake within remoteConnectTimeout" };
        assert_eq!(bench.lines, [format!("WARN server server-0: {why}; connections from before are used")]);
        assert!(bench.proxy.is_all_up());
        bench.say(client, get("a"));
        assert_eq!(bench.asked(old), get("a"));
        bench.answer(old, bulk("1"));
        assert_eq!(bench.told(client), bulk("1"));
        // It is tried again and again, and some time there is somebody.
        bench.until_connect();
        let new = bench.connect(0);
        bench.turn();
        assert!(bench.is_closed(Conn::Backend(old)));
        bench.say(client, get("b"));
        assert_eq!(bench.asked(new), get("b"));
    }
}

#[test]
fn attempts_to_reach_a_dead_new_address_are_few() {
    let (mut bench, old) = bench(|_| {});
    bench.move_away(&[old]);
    let mut attempts = 0;
    for _ in 0..10_000 {
        while let Some((new, _)) = bench.connects.pop() {
            attempts += 1;
            bench.proxy.handle_connect_failed(new, "refused", bench.now);
        }
        bench.pass(1);
    }
    assert!((9..=25).contains(&attempts), "{attempts} in 10 s");
}

#[test]
fn if_the_old_connections_break_too_the_server_is_down() {
    let (mut bench, old) = bench(|_| {});
    bench.move_away(&[old]);
    bench.refuse(0);
    assert!(bench.proxy.is_all_up());
    bench.proxy.handle_backend_end(old, bench.now);
    bench.turn();
    bench.until_connect();
    bench.refuse(0);
    assert!(!bench.proxy.is_all_up());
}

#[test]
fn an_address_that_is_back_in_time_is_stayed_at() {
    let (mut bench, old) = bench(|_| {});
    bench.move_away(&[old]);
    let new = bench.next_connect(0);
    bench.proxy.handle_outdated(old, false);
    bench.proxy.handle_resolved(server(0), true, bench.now);
    bench.turn();
    bench.proxy.handle_connected(new, bench.now);
    bench.turn();
    bench.shake_hands(new);
    let client = bench.client();
    bench.say(client, get("a"));
    assert_eq!(bench.asked(old), get("a"));
    assert!(!bench.proxy.upstreams.is_renewing());
}

#[test]
fn a_server_that_moves_twice_before_it_is_followed() {
    let (mut bench, first) = bench(|_| {});
    bench.move_away(&[first]);
    let second = bench.connect(0);
    bench.move_away(&[second]);
    assert!(!bench.is_closed(Conn::Backend(second)), "there is no third yet");
    let third = bench.connect(0);
    bench.turn();
    assert!(bench.is_closed(Conn::Backend(first)) && bench.is_closed(Conn::Backend(second)));
    let client = bench.client();
    bench.say(client, get("a"));
    assert_eq!(bench.asked(third), get("a"));
}

#[test]
fn what_a_client_has_for_itself_it_keeps_for_a_while() {
    let (mut bench, old) = bench(|_| {});
    let (blocked, busy) = (bench.client(), bench.client());
    bench.say(blocked, request(&["BLPOP", "q", "0"]));
    let leased = bench.connect(0);
    bench.turn();
    bench.say(busy, request(&["WATCH", "k"]));
    let watching = bench.connect(0);
    let mut backends = [leased, watching];
    for backend in backends {
        bench.asked(backend);
    }
    bench.answer(watching, "+OK\r\n");
    assert_eq!(bench.told(busy), "+OK\r\n");
    bench.move_away(&[old, leased, watching]);
    let new = bench.connect(0);
    bench.turn();
    assert!(bench.is_closed(Conn::Backend(old)));
    bench.pass(RETIRED_MS - 1);
    backends.sort();
    assert!(backends.iter().all(|&id| !bench.is_closed(Conn::Backend(id))));
    // One is done in time, and its connection goes with it.
    bench.say(busy, request(&["UNWATCH"]));
    bench.answer(watching, "+OK\r\n");
    bench.turn();
    assert!(bench.is_closed(Conn::Backend(watching)));
    bench.pass(1);
    bench.turn();
    assert!(bench.is_closed(Conn::Backend(leased)));
    assert!(bench.told(blocked).starts_with("-ERR Connection to server-0 lost"));
    bench.say(busy, get("a"));
    assert_eq!(bench.asked(new), get("a"));
    assert!(!bench.proxy.upstreams.is_renewing());
}

#[test]
fn what_is_published_is_heard_at_the_new_address_once_there_is_a_connection() {
    let (mut bench, old) = bench(|_| {});
    let client = bench.client();
    bench.say(client, request(&["SUBSCRIBE", "news"]));
    let hearing = bench.connect(0);
    assert_eq!(bench.asked(hearing), request(&["subscribe", "news"]));
    let confirmation = "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n";
    bench.answer(hearing, confirmation);
    assert_eq!(bench.told(client), confirmation);
    bench.pass(2_000);
    bench.move_away(&[old, hearing]);
    let message = "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\nhi\r\n";
    bench.answer(hearing, message);
    assert_eq!(bench.told(client), message);
    bench.connect(0);
    bench.turn();
    assert!(bench.is_closed(Conn::Backend(hearing)));
    let hearing = bench.connect(0);
    assert_eq!(bench.asked(hearing), request(&["subscribe", "news"]));
    bench.answer(hearing, confirmation);
    bench.answer(hearing, message);
    assert_eq!(bench.told(client), message);
}

#[test]
fn a_lost_connection_has_the_name_looked_up_and_one_that_is_not_needed_has_not() {
    let (mut bench, old) = bench(|_| {});
    bench.resolves.clear();
    bench.proxy.handle_backend_end(old, bench.now);
    bench.turn();
    assert_eq!(bench.resolves, [server(0)]);
    bench.connect(0);
    let client = bench.client();
    bench.say(client, request(&["WATCH", "k"]));
    bench.connect(0);
    bench.resolves.clear();
    bench.proxy.handle_client_end(client);
    bench.pass(HOUR_MS);
    assert_eq!(bench.resolves, []);
}

#[test]
fn a_name_that_is_not_found_any_more_is_told_of_once() {
    let (mut bench, old) = bench(|_| {});
    for _ in 0..20 {
        bench.proxy.handle_lookup(server(0), Err("its name is not found: x"), bench.now);
        bench.proxy.handle_resolved(server(0), false, bench.now);
        bench.pass(30_000);
    }
    let warning = "WARN server server-0: its name is not found: x; what was found before is used: 192.0.2.1:6379";
    assert_eq!(bench.lines, [warning]);
    assert!(!bench.is_closed(Conn::Backend(old)) && bench.proxy.is_all_up());
    bench.lines.clear();
    bench.proxy.handle_lookup(server(0), Ok("192.0.2.1:6379"), bench.now);
    bench.turn();
    assert_eq!(bench.lines, ["INFO server server-0: its name is found again"]);
}

#[test]
fn where_a_server_is_and_how_often_it_was_looked_for_is_told() {
    let (mut bench, old) = bench(|_| {});
    bench.proxy.handle_time_of_day(1_000_000, bench.now);
    let at = |bench: &Bench| 1_000_000 + bench.now.0;
    let began = at(&bench) - bench.now.0;
    let location = |bench: &mut Bench| bench.proxy.figures(bench.now).servers.remove(0).location;
    let first = Location {
        addresses: "192.0.2.1:6379".to_owned(),
        count: 1,
        lookups: 1,
        looked_up_unix_ms: began,
        ..Location::default()
    };
    assert_eq!(location(&mut bench), first);
    bench.pass(5_000);
    bench.move_away(&[old]);
    bench.pass(5_000);
    bench.proxy.handle_lookup(server(0), Err("its name is not found: x"), bench.now);
    bench.proxy.handle_certificate(server(0), 7);
    bench.proxy.handle_certificate(server(7), 8);
    bench.turn();
    let lost = Location {
        addresses: "192.0.2.2:6379".to_owned(),
        is_lost: true,
        lookups: 3,
        lookups_failed: 1,
        looked_up_unix_ms: began + 10_000,
        changes: 1,
        certificate_until_unix_ms: 7,
        ..first
    };
    assert_eq!(location(&mut bench), lost);
}

#[test]
fn a_server_that_is_removed_is_not_renewed() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    bench.proxy.handle_outdated(backends[0], true);
    let settings = Settings { servers: vec!["server-1".into()], ..bench.proxy.settings.clone() };
    bench.proxy.handle_settings(settings, bench.now);
    bench.proxy.handle_lookup(server(0), Ok("192.0.2.2:6379"), bench.now);
    bench.proxy.handle_resolved(server(0), true, bench.now);
    bench.proxy.handle_resolved(server(0).successor(), true, bench.now);
    bench.turn();
    assert!(bench.connects.is_empty());
    assert!(bench.is_closed(Conn::Backend(backends[0])));
}

#[test]
fn what_waits_for_an_old_connection_that_shakes_hands_is_not_refused() {
    let (mut bench, old) = bench(|settings| (settings.pool_size, settings.lease_max) = (2, 1));
    let (first, client) = (bench.client(), bench.client());
    bench.say(first, get("a"));
    // Another database needs another connection, which is connected when the name moves.
    bench.say(client, request(&["SELECT", "1"]) + &get("b"));
    let slow = bench.next_connect(0);
    bench.proxy.handle_connected(slow, bench.now);
    bench.turn();
    bench.move_away(&[old, slow]);
    let new = bench.connect(0);
    bench.turn();
    assert!(!bench.is_closed(Conn::Backend(slow)));
    bench.shake_hands(slow);
    assert!(bench.asked(slow).contains(&get("b")), "it was queued there");
    bench.answer(slow, bulk("1"));
    assert!(bench.told(client).ends_with(&bulk("1")));
    bench.turn();
    assert!(bench.is_closed(Conn::Backend(slow)) && !bench.is_closed(Conn::Backend(new)));
}

#[test]
fn the_new_connection_is_not_the_one_that_is_too_many() {
    let (mut bench, old) = bench(|settings| (settings.pool_size, settings.lease_max) = (2, 1));
    let client = bench.client();
    bench.say(client, request(&["WATCH", "k"]));
    let held = bench.connect(0);
    bench.answer(held, "+OK\r\n");
    // It has more than it may, as after a reload, and after a name that came back at once.
    bench.proxy.upstreams.set_shrinking(true);
    bench.move_away(&[old, held]);
    bench.proxy.upstreams.set_shrinking(true);
    let new = bench.connect(0);
    bench.turn();
    assert!(bench.is_closed(Conn::Backend(old)) && !bench.is_closed(Conn::Backend(new)));
    for _ in 0..100 {
        bench.pass(1);
        bench.proxy.upstreams.set_shrinking(true);
    }
    assert!(bench.connects.is_empty() && !bench.is_closed(Conn::Backend(new)));
}

#[test]
fn a_probe_that_is_let_go_is_followed_by_another_one() {
    let (mut bench, backends) = Bench::ready(2, |_| {});
    bench.take_down(backends[0], 0);
    bench.until_connect();
    let probe = bench.next_connect(0);
    bench.proxy.handle_connected(probe, bench.now);
    drain::drain_backend(&mut bench.proxy.upstreams, &mut bench.proxy.turn, probe);
    bench.turn();
    assert!(bench.is_closed(Conn::Backend(probe)));
    assert!(bench.until_connect() <= 1_000);
    bench.connect(0);
    assert!(bench.proxy.is_all_up());
}
