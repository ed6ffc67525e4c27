//! What only some servers have. Run them with `REDIS_SERVER`; with any other server these tests say so, and pass.
//!
//! ```text
//! several databases in a cluster      Valkey 9, with cluster-databases
//! slots that move by themselves       Valkey 9, CLUSTER MIGRATESLOTS: all at once, and no -ASK before it
//! zones                               Valkey 8, availability-zone: the node in the same zone is read
//! ```

use super::front::await_all;
use super::mixed::Mixed;
use super::nodes::{Cluster, LONG, shown};
use crate::support::client::bulk;
use crate::support::server::redis_server;
use crate::support::wait_until;

const CLIENTS: usize = 4;
const TAGS: usize = 40;
/// How patient rmux is.
const PATIENT: &str = r#", "remoteTimeout": 20000"#;

/// Whether the servers are of Valkey, and of this version or a newer one.
pub fn is_valkey(version: u32) -> bool {
    let output = redis_server().arg("--version").output().expect("apt-get install redis-server");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = text.split("v=").nth(1).and_then(|rest| rest.split('.').next()).and_then(|number| number.parse().ok());
    text.starts_with("Valkey") && number.is_some_and(|number: u32| number >= version)
}

#[test]
fn a_cluster_may_have_several_databases() {
    if !is_valkey(9) {
        println!("skipped: the server is not Valkey 9");
        return;
    }
    let cluster = Cluster::start_with(&["--cluster-databases", "4"]);
    let rmux = cluster.rmux(&[0], PATIENT);
    await_all(&rmux, "a");
    let (mut first, mut other) = (rmux.client(), rmux.client());
    assert_eq!(shown(&other.cmd(&["SELECT", "2"])), "+OK\r\n");
    let keys: Vec<String> = (0..30).map(|number| format!("k{number}")).collect();
    for key in &keys {
        assert_eq!(shown(&first.cmd(&["SET", key, "zero"])), "+OK\r\n");
        assert_eq!(shown(&other.cmd(&["SET", key, "two"])), "+OK\r\n");
    }
    let slot = cluster.slot_of("k0");
    let from = cluster.owner_by(0, slot).expect("it has an owner");
    let to = (from + 1) % 3;
    let line = format!("CLUSTER MIGRATESLOTS SLOTSRANGE {slot} {slot} NODE {}", cluster.id(to));
    cluster.order(from, &line);
    wait_until("the slot to move", LONG, || cluster.running().all(|node| cluster.owner_by(node, slot) == Some(to)));
    for key in &keys {
        assert_eq!(shown(&first.cmd(&["GET", key])), shown(&bulk(b"zero")), "{key}");
        assert_eq!(shown(&other.cmd(&["GET", key])), shown(&bulk(b"two")), "{key}");
    }
    let words = ["MGET"].into_iter().chain(keys.iter().map(String::as_str)).collect::<Vec<_>>();
    assert_eq!(shown(&other.cmd(&words)).matches("two").count(), keys.len());
    assert_eq!(shown(&other.cmd(&["SELECT", "5"])), "+OK\r\n");
    assert!(shown(&other.cmd(&["GET", "k0"])).starts_with("-ERR DB index is out of range"), "as the node says");
}

#[test]
fn slots_that_move_by_themselves_are_noticed_by_nobody() {
    if !is_valkey(9) {
        println!("skipped: the server is not Valkey 9");
        return;
    }
    let cluster = Cluster::start();
    let rmux = cluster.rmux(&[0], PATIENT);
    let load = Mixed::start(&rmux, CLIENTS, TAGS);
    for (from, to) in [(0, 1), (1, 0), (0, 2), (2, 0)] {
        cluster.order(from, &format!("CLUSTER MIGRATESLOTS SLOTSRANGE 0 2000 NODE {}", cluster.id(to)));
        wait_until("the slots to move", LONG, || {
            cluster.running().all(|node| cluster.owner_by(node, 1_000) == Some(to))
        });
        load.await_more(1_000);
    }
    let report = load.stop();
    println!("2,001 slots, four times, by CLUSTER MIGRATESLOTS: {report}; {} sent again", rmux.info("held"));
    report.assert_nobody_noticed(&rmux);
}

#[test]
fn nodes_in_the_same_zone_are_read() {
    if !is_valkey(8) {
        return;
    }
    let cluster = Cluster::start();
    // One master in the zone of the host, and the replicas of both others.
    for (node, zone) in ["here", "there", "there", "there", "here", "here"].into_iter().enumerate() {
        cluster.order(node, &format!("CONFIG SET availability-zone {zone}"));
    }
    let keys = r#", "readFrom": "preferReplica", "availabilityZone": "here""#;
    let rmux = cluster.rmux(&[0], keys);
    await_all(&rmux, "a");
    let mut client = rmux.client();
    let gets = |node: usize| {
        let stats = shown(&cluster.server(node).ask("INFO commandstats"));
        let count = stats.split("cmdstat_get:calls=").nth(1).and_then(|rest| rest.split(',').next());
        count.map_or(0, |count| count.parse::<u64>().expect("a number"))
    };
    let mut asked = Vec::new();
    wait_until("reads of those that are here alone", LONG, || {
        let before: Vec<u64> = (0..cluster.count()).map(gets).collect();
        (0..60).for_each(|number| drop(client.cmd(&["GET", &format!("key:{number}")])));
        asked = (0..cluster.count()).map(|node| gets(node) - before[node]).collect();
        asked[1] + asked[2] + asked[3] == 0
    });
    assert!(asked[0] > 0 && asked[4] > 0 && asked[5] > 0, "{asked:?}");
    let servers = shown(&client.cmd(&["RMUX", "SERVERS"]));
    assert_eq!(servers.matches(" zone=here").count(), 3, "{servers}");
}
