//! That the nodes do what the other tests ask of them.

use super::nodes::{Cluster, held, shown};

/// The slot of `foo`.
const SLOT: u16 = 12182;

#[test]
fn a_slot_goes_from_one_master_to_another_with_its_keys() {
    let cluster = Cluster::start();
    assert_eq!(cluster.owner_by(0, SLOT), Some(2));
    for number in 0..250 {
        let key = format!("{{foo}}:{number}");
        assert_eq!(cluster.client(2).cmd(&["SET", &key, "1"]), b"+OK\r\n");
    }
    cluster.begin_move(SLOT, 2, 0);
    assert_eq!(cluster.move_keys(SLOT, 2, 0, 10), 10);
    let mut client = cluster.client(2);
    let asked = (0..250).filter(|number| {
        let reply = shown(&client.cmd(&["GET", &format!("{{foo}}:{number}")]));
        reply == format!("-ASK {SLOT} {}\r\n", cluster.address(0))
    });
    assert_eq!(asked.count(), 10);
    while cluster.move_keys(SLOT, 2, 0, 100) > 0 {}
    cluster.end_move(SLOT, 2, 0);
    cluster.await_owner(SLOT, 0);
    assert_eq!(held(&cluster, 0, "{foo}:7"), "$1\r\n1\r\n");
    assert_eq!(held(&cluster, 2, "{foo}:7"), format!("-MOVED {SLOT} {}\r\n", cluster.address(0)));
}

#[test]
fn replicas_take_the_place_of_masters_that_die_or_are_told_to_go() {
    let mut cluster = Cluster::start();
    cluster.fail_over(3);
    assert_eq!((cluster.owner_by(1, 0), cluster.is_master(3)), (Some(3), true));
    cluster.await_well();
    cluster.kill(1);
    cluster.await_master(4);
    cluster.await_well();
    assert_eq!(cluster.owner_by(0, 6000), Some(4));
}

#[test]
fn nodes_come_go_and_move() {
    let mut cluster = Cluster::start();
    let before = cluster.address(0);
    let added = cluster.add();
    cluster.move_slot(SLOT, 2, added);
    cluster.await_well();
    assert_eq!(cluster.owner_by(0, SLOT), Some(added));
    cluster.move_slot(SLOT, added, 2);
    cluster.remove(added);
    cluster.await_well();
    for node in 0..6 {
        cluster.relocate(node);
    }
    cluster.await_well();
    assert_ne!(cluster.address(0), before);
    let text = shown(&cluster.server(5).ask("CLUSTER SLOTS"));
    assert!(text.contains(&format!(":{}\r\n", cluster.server(0).port())), "{text}");
}
