//! A master dies, is frozen, is replaced; under load.

use super::load::{Load, assert_no_double};
use super::trio::{LONG, NAME, Trio, await_write, held, is_replica, shown};
use crate::support::wait_until;
use std::time::{Duration, Instant};

/// Back so soon, once the sentinels have said where it is. The promise is a second; the machine may be busy.
const BACK_MAX: Duration = Duration::from_secs(1);

/// Waits until a sentinel announces another master; whose message is the first one.
fn await_switch(trio: &Trio, act: impl FnOnce()) -> Instant {
    let mut hearing: Vec<_> = trio.sentinels.iter().map(|sentinel| sentinel.client()).collect();
    for client in &mut hearing {
        client.cmd(&["SUBSCRIBE", "+switch-master"]);
    }
    act();
    // All of them say so, within moments of each other: that of the last one is when all agree.
    for client in &mut hearing {
        client.set_patience(LONG);
        assert!(shown(&client.reply()).contains(NAME));
    }
    Instant::now()
}

#[test]
fn a_master_that_dies_is_replaced_and_service_is_back_at_once() {
    let mut trio = Trio::start();
    let rmux = trio.rmux(&[0, 1, 2], "");
    let load = Load::start(&rmux);
    let mut victim = trio.servers.remove(0);
    let switched_at = await_switch(&trio, || victim.kill());
    trio.servers.insert(0, victim);
    load.await_more(1);
    let back = switched_at.elapsed();
    assert!(back < BACK_MAX, "{back:?} after the sentinels have agreed");
    load.await_more(200);
    let outcome = load.stop();
    println!("kill -9: back {back:?} after the switch; errors for {:?}: {:?}", outcome.span(), outcome.counts());
    outcome.assert_known();
    assert!(!outcome.errors.is_empty(), "nobody has seen it");
    assert_no_double(&trio.servers[trio.master(0)]);
    assert!(rmux.log().contains("master cache-1: is at 127.0.0.1:"), "{}", rmux.log());
}

#[test]
fn a_master_that_hangs_is_replaced_and_gets_nothing_when_it_wakes() {
    let trio = Trio::start();
    let rmux = trio.rmux(&[0, 1, 2], "");
    let load = Load::start(&rmux);
    let switched_at = await_switch(&trio, || trio.servers[0].freeze());
    load.await_more(1);
    let back = switched_at.elapsed();
    assert!(back < BACK_MAX, "{back:?} after the sentinels have agreed");
    trio.servers[0].thaw();
    // It takes itself for a master until a sentinel has told it otherwise.
    load.await_more(200);
    await_write(&rmux, "after");
    assert_eq!(held(&trio.servers[0], "after"), "$-1\r\n", "what is written now does not go there");
    wait_until("it to follow the other one", LONG, || is_replica(&trio.servers[0]));
    load.await_more(200);
    let outcome = load.stop();
    println!("SIGSTOP: back {back:?} after the switch; errors for {:?}: {:?}", outcome.span(), outcome.counts());
    outcome.assert_known();
    assert_no_double(&trio.servers[trio.master(0)]);
}

#[test]
fn a_planned_failover_is_seen_by_nobody() {
    let trio = Trio::start();
    let rmux = trio.rmux(&[0, 1, 2], "");
    let load = Load::start(&rmux);
    let switched_at = await_switch(&trio, || {
        assert_eq!(trio.sentinels[0].client().cmd(&["SENTINEL", "FAILOVER", NAME]), b"+OK\r\n");
    });
    load.await_more(200);
    // The old one is made a replica some seconds later, and its clients are killed.
    wait_until("it to follow the other one", LONG, || is_replica(&trio.servers[0]));
    load.await_more(200);
    let outcome = load.stop();
    println!("SENTINEL FAILOVER: {:?}; {:?}; {} done", switched_at.elapsed(), outcome.counts(), outcome.done);
    assert_eq!(outcome.counts(), Default::default());
    assert_no_double(&trio.servers[trio.master(0)]);
    assert!(trio.master(0) != 0 && rmux.log().contains("and no more at"), "{}", rmux.log());
}
