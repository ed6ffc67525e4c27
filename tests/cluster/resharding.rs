//! Slots go from node to node and back under load: no client is told of it, nothing is run twice, and each client's order
//! stays.

use std::process::Command;
use std::time::Instant;
use std::{env, thread};

use super::mixed::Mixed;
use super::nodes::{Cluster, shown};
use crate::support::proxy::Rmux;

const CLIENTS: usize = 8;
/// Of each client.
const TAGS: usize = 40;
/// So many of the slots that a client of the load has, go there and back by hand, and so often.
const SLOTS_BY_HAND: usize = 6;
const ROUNDS: usize = 3;
/// So many slots `redis-cli` moves there and back.
const SLOTS: usize = 200;
/// How patient rmux is.
const PATIENT: &str = r#", "remoteTimeout": 20000"#;

fn assert_held(rmux: &Rmux) {
    let info = shown(&rmux.client().cmd(&["INFO"]));
    assert!(info.contains("held:") && !info.contains("held:0\r"), "nothing was ever sent to the wrong node: {info}");
    let slots = "cluster_slots_covered:16384\r\ncluster_masters:known=3,up=3\r\ncluster_replicas:known=3,read=0\r\n";
    assert!(info.contains(slots) && info.contains("\r\ncluster_refreshes:start=1,"), "{info}");
    assert!(info.contains("\r\ncluster_redirects:moved=") && !info.contains("_redirects:moved=0,"), "{info}");
}

#[test]
fn slots_go_there_and_back_under_load_and_nobody_notices() {
    let cluster = Cluster::start();
    let rmux = cluster.rmux(&[0], PATIENT);
    let load = Mixed::start(&rmux, CLIENTS / 2, SLOTS_BY_HAND + 1);
    for _ in 0..ROUNDS {
        for tag in 0..SLOTS_BY_HAND {
            let slot = cluster.slot_of(&format!("{{0-0-{tag}}}"));
            let home = cluster.owner_by(0, slot).expect("it has an owner");
            for (from, to) in [(home, (home + 1) % 3), ((home + 1) % 3, home)] {
                cluster.move_slot(slot, from, to);
                // Or one that has not heard of it takes it for a mistake.
                cluster.await_owner(slot, to);
            }
        }
    }
    let report = load.stop();
    report.assert_nobody_noticed(&rmux);
    assert_held(&rmux);
}

/// Moves so many slots by the tool that operators use.
fn reshard(cluster: &Cluster, from: usize, to: usize, slots: usize) {
    let mut command = Command::new("redis-cli");
    command.args(["--cluster", "reshard", &cluster.address(0), "--cluster-yes", "--cluster-slots", &slots.to_string()]);
    command.args(["--cluster-from", cluster.id(from), "--cluster-to", cluster.id(to)]);
    let output = command.output().expect("apt-get install redis-tools");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_redis_cli_moves_there_and_back_under_load_is_noticed_by_nobody() {
    let slots = env::var("RMUX_TEST_SLOTS").map_or(SLOTS, |text| text.parse().expect("a number of slots"));
    let cluster = Cluster::start();
    let rmux = cluster.rmux(&[0], PATIENT);
    let load = Mixed::start(&rmux, CLIENTS, TAGS);
    let began = Instant::now();
    thread::scope(|scope| {
        let moving = scope.spawn(|| {
            reshard(&cluster, 0, 1, slots);
            cluster.await_well();
            reshard(&cluster, 1, 0, slots);
        });
        moving.join().expect("the slots move");
    });
    let seconds = began.elapsed().as_secs_f64();
    let report = load.stop();
    println!("{slots} slots there and back in {seconds:.1} s: {report}; {} sent again", rmux.info("held"));
    report.assert_nobody_noticed(&rmux);
    assert_held(&rmux);
}
