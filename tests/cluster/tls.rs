//! Nodes that speak nothing but TLS: with each other, with their replicas and with rmux.

use super::front::{await_all, await_log, reload, start_rmux};
use super::mixed::Mixed;
use super::nodes::{Cluster, shown};
use crate::support::house::House;

const CLIENTS: usize = 3;
const TAGS: usize = 20;

/// The keys of the pool.
fn keys(house: &House) -> String {
    let authorities = house.authority.certificate();
    format!(r#", "remoteTimeout": 20000, "remoteTls": true, "remoteTlsCaFile": "{authorities}""#)
}

#[test]
fn nodes_are_found_and_followed_inside_of_tls() {
    let house = House::new();
    let mut cluster = Cluster::start_tls(house.files(false));
    let rmux = cluster.rmux(&[4], &keys(&house));
    await_all(&rmux, "a");
    await_log(&rmux, "its cluster has 3 masters and 3 replicas for 16384 of 16384 slots");
    let load = Mixed::start(&rmux, CLIENTS, TAGS);
    let added = cluster.add();
    let slots: Vec<u16> = (0..TAGS).map(|tag| cluster.slot_of(&format!("{{0-0-{tag}}}"))).collect();
    for &slot in slots.iter().filter(|slot| **slot <= 5460) {
        cluster.move_slot(slot, 0, added);
    }
    load.await_more(2_000);
    let report = load.stop();
    report.assert_nobody_noticed(&rmux);
    await_log(&rmux, "its cluster has 4 masters and 3 replicas for 16384 of 16384 slots");
    assert_ne!(shown(&cluster.server(added).ask("DBSIZE")), ":0\r\n");
    cluster.kill(1);
    cluster.await_master(4);
    await_all(&rmux, "b");
}

#[test]
fn nodes_that_are_not_trusted_are_told_of() {
    let house = House::new();
    let cluster = Cluster::start_tls(house.files(true));
    let rmux = start_rmux(&cluster.addresses(&[0, 1]), &keys(&house));
    await_log(&rmux, "its cluster cannot be asked, 2 nodes tried; ");
    let asks = "it wants a client's certificate: give remoteTlsCertFile and remoteTlsKeyFile";
    await_log(&rmux, asks);
    let identity = &house.identity;
    let shown = format!(r#", "remoteTlsCertFile": "{}", "remoteTlsKeyFile": "{}""#, identity.certificate, identity.key);
    reload(&rmux, &cluster.addresses(&[0, 1]), &(keys(&house) + &shown));
    await_all(&rmux, "a");
}
