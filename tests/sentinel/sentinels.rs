//! Of the sentinels some die, all die, one knows nothing of what the others decided, none is there at the start.

use super::load::{Load, assert_no_double};
use super::trio::{LONG, Trio, await_write, figure, held, shown, start_rmux};
use crate::support::server::RedisServer;
use crate::support::wait_until;

#[test]
fn one_that_was_never_named_takes_the_place_of_one_that_dies() {
    let mut trio = Trio::start();
    let rmux = trio.rmux(&[0], "");
    await_write(&rmux, "a");
    // It has been told of the others when it hears them.
    let is_heard = |number: usize| shown(&trio.sentinels[number].client().cmd(&["CLIENT", "LIST"])).contains("sub=1");
    wait_until("rmux to know the others", LONG, || is_heard(1) && is_heard(2));
    let sentinels = |state| figure(&rmux, "rmux_sentinels{", state);
    assert_eq!(["answering", "silent"].map(sentinels), [3.0, 0.0]);
    assert_eq!(figure(&rmux, "rmux_sentinel_switches_total{", "server=\"cache-1\""), 0.0);
    trio.sentinels[0].kill();
    trio.servers[0].kill();
    trio.await_master(&[1, 2], 0);
    await_write(&rmux, "b");
    assert_eq!(["answering", "silent"].map(sentinels), [2.0, 1.0]);
    assert_eq!(figure(&rmux, "rmux_sentinel_switches_total{", "server=\"cache-1\""), 1.0);
    let at = format!(" switches=1 at=127.0.0.1:{} ", trio.servers[trio.master(1)].port());
    assert!(rmux.client().line("RMUX SERVERS").contains(&at), "{}", rmux.client().line("RMUX SERVERS"));
    assert_eq!(held(&trio.servers[trio.master(1)], "b"), "$1\r\n1\r\n");
}

#[test]
fn without_any_all_goes_on_as_it_is_known() {
    let mut trio = Trio::start();
    let rmux = trio.rmux(&[0, 1, 2], "");
    let load = Load::start(&rmux);
    trio.sentinels.iter_mut().for_each(|sentinel| sentinel.kill());
    wait_until("the log to say so", LONG, || rmux.log().contains("no sentinel can be asked, of 3"));
    assert_eq!(figure(&rmux, "rmux_sentinels{", "answering"), 0.0);
    load.await_more(200);
    // Connections that are lost are made anew, though nobody can be asked.
    trio.servers[0].cut_connections();
    load.await_more(200);
    let outcome = load.stop();
    outcome.assert_known();
    assert!(outcome.errors.len() <= 12, "{:?}", outcome.counts());
    trio.sentinels.iter_mut().for_each(|sentinel| sentinel.revive());
    wait_until("the log to say so", LONG, || rmux.log().contains("its sentinels can be asked, and agree"));
    trio.replace_master(&[0, 1, 2]);
    await_write(&rmux, "after");
    assert_no_double(&trio.servers[trio.master(0)]);
}

#[test]
fn one_that_was_cut_off_is_not_believed() {
    let mut trio = Trio::start();
    let rmux = trio.rmux(&[0, 1, 2], "");
    await_write(&rmux, "a");
    // It misses the failover, and with that what the others agree on.
    trio.sentinels[0].signal("STOP");
    trio.replace_master(&[1, 2]);
    let master = trio.master(1);
    // rmux hears of it when they have agreed, and so a moment later.
    wait_until("writes to reach the new master", LONG, || {
        await_write(&rmux, "b");
        held(&trio.servers[master], "b") == "$1\r\n1\r\n"
    });
    trio.sentinels[0].signal("CONT");
    // Until it has heard of it, it names the old one; from the start on, to another rmux.
    let other = trio.rmux(&[0, 1, 2], "");
    for number in 0..20 {
        let key = format!("c{number}");
        await_write(&rmux, &key);
        await_write(&other, &key);
        assert_eq!(held(&trio.servers[master], &key), "$1\r\n1\r\n");
    }
    // Even alone it is not, as long as the master that is known serves.
    trio.sentinels[1].kill();
    trio.sentinels[2].kill();
    await_write(&rmux, "d");
    assert_eq!(held(&trio.servers[master], "d"), "$1\r\n1\r\n");
}

#[test]
fn what_can_be_served_is_served_before_any_sentinel_answers() {
    let mut trio = Trio::start();
    let fixed = RedisServer::start();
    trio.sentinels.iter_mut().for_each(|sentinel| sentinel.kill());
    let servers = format!(r#""127.0.0.1:{}", {{"master": "cache-1"}}"#, fixed.port());
    let rmux = start_rmux(&servers, &trio.addresses(&[0, 1, 2]), r#", "hashTag": "{}""#);
    let mut client = rmux.client();
    let keys: Vec<String> = (0..16).map(|number| format!("k{number}")).collect();
    let written: Vec<bool> = keys.iter().map(|key| client.cmd(&["SET", key, "1"]) == b"+OK\r\n").collect();
    let count = written.iter().filter(|&&written| written).count();
    assert!((1..16).contains(&count), "those of one server: {count}");
    assert_eq!(shown(&fixed.ask("DBSIZE")), format!(":{count}\r\n"), "nobody stands in for the other one");
    trio.sentinels.iter_mut().for_each(|sentinel| sentinel.revive());
    wait_until("the other one's keys", LONG, || keys.iter().all(|key| client.cmd(&["SET", key, "2"]) == b"+OK\r\n"));
    assert_eq!(shown(&trio.servers[0].ask("DBSIZE")), format!(":{}\r\n", 16 - count));
}

#[test]
fn a_password_of_their_own_and_several_threads() {
    let mut trio = Trio::start_with(Some("watchword"), None);
    let rmux = trio.rmux(&[0, 1, 2], r#", "sentinelPassword": "watchword", "maxProcesses": 2"#);
    let load = Load::start(&rmux);
    trio.servers[0].kill();
    trio.await_master(&[0, 1, 2], 0);
    load.await_more(400);
    let outcome = load.stop();
    outcome.assert_known();
    assert_no_double(&trio.servers[trio.master(0)]);
    assert!(!rmux.log().contains("watchword"));
    let refused = trio.rmux(&[0, 1, 2], r#", "sentinelPassword": "wrong""#);
    wait_until("the log to say so", LONG, || refused.log().contains("it refuses us: -WRONGPASS"));
}

#[test]
fn a_name_that_no_sentinel_knows_is_told() {
    let trio = Trio::start();
    let rmux = start_rmux(r#"{"master": "cache-2"}"#, &trio.addresses(&[0, 1, 2]), "");
    wait_until("the log to say so", LONG, || {
        rmux.log().contains("master cache-2: no sentinel knows a master by this name, of 3")
    });
    assert_eq!(shown(&rmux.client().cmd(&["GET", "a"])), "-ERR Connection down\r\n");
    // Those who know it are heard of by a reload.
    let _ = trio;
}
