//! Masters that are killed, paused, replaced and restarted under load.
//!
//! What Redis itself loses is counted, and is no failure: replication is asynchronous. What a replica has acknowledged
//! (`WAIT`), and what nobody was killed for, must be there.

use super::front::{await_all, reload, start_rmux};
use super::mixed::Mixed;
use super::nodes::{Cluster, LONG, shown};
use super::tokens::Tokens;
use crate::support::proxy::Rmux;
use crate::support::wait_until;
use std::thread;
use std::time::{Duration, Instant};

/// How patient rmux is.
const PATIENT: &str = r#", "remoteTimeout": 20000"#;
const CLIENTS: usize = 4;
const TAGS: usize = 30;

/// Waits until a replica has taken its master's place, by its own word. Returns when that was, to the millisecond.
fn await_election(cluster: &Cluster, replica: usize) -> Instant {
    let mut client = cluster.client(replica);
    wait_until("an election", LONG, || shown(&client.cmd(&["ROLE"])).contains("master"));
    Instant::now()
}

/// Waits until a write of this key succeeds again. Returns when that was.
fn await_service(rmux: &Rmux, key: &str) -> Instant {
    let mut client = rmux.client();
    wait_until("a write that succeeds", LONG, || client.cmd(&["SET", key, "1"]) == b"+OK\r\n");
    Instant::now()
}

/// A key of the first master.
fn key_of_first(cluster: &Cluster) -> String {
    (0..).map(|number| format!("s{number}")).find(|key| cluster.slot_of(key) <= 5460).expect("there are many")
}

#[test]
fn what_a_replica_has_acknowledged_outlives_a_master_that_is_killed() {
    let mut cluster = Cluster::start();
    let rmux = cluster.rmux(&[1, 2], "");
    let (load, key) = (Tokens::start(&rmux), key_of_first(&cluster));
    cluster.kill(0);
    let killed = Instant::now();
    let (elected, served) = thread::scope(|scope| {
        let elected = scope.spawn(|| await_election(&cluster, 3));
        let served = scope.spawn(|| await_service(&rmux, &key));
        (elected.join().expect("an election"), served.join().expect("service"))
    });
    load.await_more(200);
    let outcome = load.stop(&rmux);
    let after = served.saturating_duration_since(elected);
    println!("elected after {:?}, service back {after:?} after that: {outcome}", elected - killed);
    outcome.assert_known();
    assert_eq!(outcome.replicated_lost, 0, "{outcome}");
    assert!(outcome.replicated > 0, "{outcome}");
    // Aimed at is one second; a loaded machine is no failure.
    assert!(after < Duration::from_secs(5), "{after:?}");
}

#[test]
fn a_master_that_pauses_may_be_failed_over_and_nothing_is_run_twice() {
    let cluster = Cluster::start();
    let rmux = cluster.rmux(&[1, 2], "");
    let (load, key) = (Tokens::start(&rmux), key_of_first(&cluster));
    cluster.server(0).freeze();
    let frozen = Instant::now();
    let elected = await_election(&cluster, 3);
    wait_until("three seconds", LONG, || frozen.elapsed() >= Duration::from_secs(3));
    cluster.server(0).thaw();
    let served = await_service(&rmux, &key);
    load.await_more(200);
    wait_until("the master to follow", LONG, || !cluster.is_master(0));
    let outcome = load.stop(&rmux);
    println!("elected after {:?}, service {:?}: {outcome}", elected - frozen, served - frozen);
    outcome.assert_known();
    assert_eq!(outcome.replicated_lost, 0, "{outcome}");
}

#[test]
fn a_master_that_is_failed_over_by_hand_is_noticed_by_nobody() {
    let cluster = Cluster::start();
    let rmux = cluster.rmux(&[0], PATIENT);
    let load = Mixed::start(&rmux, CLIENTS, TAGS);
    // No node twice: one that was elected within the last four seconds takes those votes for new ones.
    for node in [3, 0] {
        cluster.fail_over(node);
        load.await_more(500);
        cluster.await_well();
    }
    let report = load.stop();
    println!("failed over by hand, there and back: {report}");
    report.assert_nobody_noticed(&rmux);
}

#[test]
fn a_node_is_replaced_by_another_and_the_seeds_are_changed_under_load() {
    let mut cluster = Cluster::start();
    let rmux = start_rmux(&cluster.addresses(&[0]), PATIENT);
    let load = Mixed::start(&rmux, CLIENTS, TAGS);
    let added = cluster.add();
    cluster.follow(added, 0);
    cluster.await_well();
    cluster.fail_over(added);
    cluster.await_well();
    load.await_more(500);
    cluster.remove(0);
    load.await_more(500);
    reload(&rmux, &cluster.addresses(&[added, 4]), PATIENT);
    load.await_more(500);
    let report = load.stop();
    println!("replaced, and other seeds: {report}");
    report.assert_nobody_noticed(&rmux);
    await_all(&rmux, "a");
}

#[test]
fn all_nodes_are_restarted_at_once_and_nothing_acknowledged_is_lost() {
    let mut cluster = Cluster::start_with(&["--appendonly", "yes", "--cluster-replica-no-failover", "yes"]);
    let rmux = cluster.rmux(&[0], "");
    let load = Tokens::start(&rmux);
    (0..6).for_each(|node| cluster.kill(node));
    let killed = Instant::now();
    (0..6).for_each(|node| cluster.revive(node));
    await_all(&rmux, "a");
    let back = killed.elapsed();
    load.await_more(200);
    let outcome = load.stop(&rmux);
    println!("restarted, service back after {back:?}: {outcome}");
    assert_eq!(outcome.lost, 0, "{outcome}");
}
