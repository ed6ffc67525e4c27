//! Which nodes rmux knows, and how often it asks them.

use super::front::{KEYS, await_all, await_log, pool, start_rmux};
use super::nodes::{Cluster, LONG, shown};
use crate::support::http::Http;
use crate::support::proxy::{Rmux, run_to_end};
use crate::support::server::RedisServer;
use crate::support::{Address, Kind, Scratch, free_port, wait_until};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How often a node was asked who has which slot, since it was started.
fn asked(cluster: &Cluster, node: usize) -> usize {
    let text = shown(&cluster.server(node).ask("INFO commandstats"));
    let line = text.lines().find(|line| line.starts_with("cmdstat_cluster|slots:")).unwrap_or_default();
    let calls = line.split(['=', ',']).nth(1).unwrap_or("0");
    calls.parse().expect("a number")
}

fn asked_in_all(cluster: &Cluster) -> usize {
    cluster.running().map(|node| asked(cluster, node)).sum()
}

#[test]
fn seeds_of_which_one_is_dead_and_one_is_a_replica_are_enough() {
    let cluster = Cluster::start();
    let seeds = [format!("127.0.0.1:{}", free_port()), cluster.address(4)];
    let rmux = start_rmux(&seeds, "");
    await_all(&rmux, "a");
    assert!(rmux.log().contains("its cluster has 3 masters and 3 replicas for 16384 of 16384 slots"), "{}", rmux.log());
    for node in 0..3 {
        let count = shown(&cluster.server(node).ask("DBSIZE"));
        assert_ne!(count, ":0\r\n", "each has its keys: node {node}");
    }
    let mut client = rmux.client();
    let refusal = shown(&cluster.server(0).ask("SELECT 1"));
    assert!(refusal.starts_with("-ERR "), "Valkey 9 has other words: {refusal}");
    assert_eq!(shown(&client.cmd(&["SELECT", "1"])), refusal);
    assert_eq!(shown(&client.cmd(&["MULTI"])), "+OK\r\n");
    assert_eq!(shown(&client.cmd(&["SELECT", "1"])), "+QUEUED\r\n");
    assert_eq!(shown(&client.cmd(&["EXEC"])), format!("*1\r\n{refusal}"));
    assert_eq!(shown(&client.cmd(&["SET", "a", "1"])), "+OK\r\n", "in the database that there is");
}

#[test]
fn a_failover_changes_what_is_known() {
    let mut cluster = Cluster::start();
    let rmux = cluster.rmux(&[0, 1], "");
    await_all(&rmux, "a");
    cluster.kill(0);
    cluster.await_master(3);
    await_all(&rmux, "b");
    // It went by a node's own word; nothing is left of the one that died.
    await_log(&rmux, "its cluster has 3 masters and 2 replicas for 16384 of 16384 slots");
    cluster.revive(0);
    cluster.await_well();
    cluster.fail_over(0);
    await_all(&rmux, "c");
}

#[test]
fn nodes_that_come_and_go_are_known() {
    let mut cluster = Cluster::start();
    let rmux = cluster.rmux(&[0], "");
    await_all(&rmux, "a");
    let added = cluster.add();
    for slot in 0..20 {
        cluster.move_slot(slot, 0, added);
    }
    let key = (0..).map(|number| format!("k{number}")).find(|key| cluster.slot_of(key) < 20).expect("there are many");
    let mut client = rmux.client();
    wait_until("a write at the new node", LONG, || {
        client.cmd(&["SET", &key, "1"]) == b"+OK\r\n" && shown(&cluster.server(added).ask("DBSIZE")) != ":0\r\n"
    });
    await_log(&rmux, "its cluster has 4 masters and 3 replicas for 16384 of 16384 slots");
    for slot in 0..20 {
        cluster.move_slot(slot, added, 0);
    }
    cluster.remove(added);
    wait_until("a write at the old node", LONG, || client.cmd(&["SET", &key, "2"]) == b"+OK\r\n");
    await_all(&rmux, "b");
}

#[test]
fn all_nodes_may_be_somewhere_else_at_once() {
    let mut cluster = Cluster::start();
    // A name stands for the seed, as it would: its address is looked up anew.
    let scratch = Scratch::new();
    let (socket, file, hosts) = (scratch.join("rmux.sock"), scratch.join("rmux.json"), scratch.join("hosts"));
    let point = |cluster: &Cluster| fs::write(&hosts, format!("seed {}\n", cluster.address(0))).expect("writable");
    point(&cluster);
    fs::write(&file, pool(&socket.display().to_string(), &["seed:7000".to_owned()], "")).expect("writable");
    let rmux = Rmux::start_at(Address::Unix(socket), scratch, &[&format!("-config={}", file.display())]);
    await_all(&rmux, "a");
    (0..6).for_each(|node| cluster.relocate(node));
    cluster.await_well();
    point(&cluster);
    await_all(&rmux, "b");
}

#[test]
fn seeds_that_another_cluster_has_now_are_told_loudly() {
    let mut cluster = Cluster::of_one(&[]);
    let other = Cluster::of_one(&[]);
    let scratch = Scratch::new();
    let (socket, file, hosts) = (scratch.join("rmux.sock"), scratch.join("rmux.json"), scratch.join("hosts"));
    fs::write(&hosts, format!("seed {}\n", cluster.address(0))).expect("writable");
    fs::write(&file, pool(&socket.display().to_string(), &["seed:7000".to_owned()], "")).expect("writable");
    let rmux = Rmux::start_at(Address::Unix(socket), scratch, &[&format!("-config={}", file.display())]);
    await_all(&rmux, "a");
    fs::write(&hosts, format!("seed {}\n", other.address(0))).expect("writable");
    cluster.kill(0);
    await_all(&rmux, "b");
    await_log(&rmux, "its seeds belong to another cluster now");
    assert_eq!(shown(&other.server(0).ask("DBSIZE")), format!(":{KEYS}\r\n"));
}

#[test]
fn a_server_without_a_cluster_is_an_error_that_says_what_to_do() {
    let server = RedisServer::start();
    let rmux = start_rmux(&[server.address(Kind::Tcp).flag_value()], "");
    await_log(&rmux, "it is no node of a cluster (its cluster support is disabled): name nodes of a cluster in");
}

#[test]
fn a_thousand_clients_ask_no_oftener_than_one_while_slots_move() {
    const CLIENTS: usize = 1000;
    let cluster = Cluster::start();
    let rmux = cluster.rmux(&[0, 1, 2], r#", "maxProcesses": 2, "remoteTimeout": 15000"#);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| rmux.client()).collect();
    await_all(&rmux, "a");
    let (stop, done): (Arc<AtomicBool>, Arc<AtomicUsize>) = Default::default();
    let before = asked_in_all(&cluster);
    let began = Instant::now();
    let load = {
        let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                for (number, client) in clients.iter_mut().enumerate() {
                    client.send(format!("SET {{{number}}}k {number}\r\n").as_bytes());
                }
                for client in &mut clients {
                    assert_eq!(shown(&client.reply()), "+OK\r\n");
                    done.fetch_add(1, Ordering::Relaxed);
                }
            }
        })
    };
    // Of more slots than one node has there is no need.
    let is_over = || began.elapsed() > Duration::from_secs(6);
    for slot in (0..5_000).take_while(|_| !is_over()) {
        cluster.move_slot(slot, 0, 1);
    }
    stop.store(true, Ordering::Relaxed);
    load.join().expect("each request is answered");
    let (count, seconds) = (asked_in_all(&cluster) - before, began.elapsed().as_secs_f64());
    println!("asked {count} times in {seconds:.1} s; {} requests", done.load(Ordering::Relaxed));
    assert!(count as f64 <= seconds + 1.0, "asked {count} times in {seconds:.1} s");
    assert!(count >= 2, "the slots that have moved were not asked for");
}

#[test]
fn a_password_is_read_from_its_file_before_each_connect() {
    let scratch = Scratch::new();
    let file = scratch.join("password");
    fs::write(&file, "wrong\n").expect("writable");
    let cluster = Cluster::of_one(&[]);
    cluster.order(0, "CONFIG SET requirepass hunter2");
    let keys = format!(r#", "remotePasswordFile": "{}""#, file.display());
    let rmux = cluster.rmux(&[0], &keys);
    await_log(&rmux, "its cluster cannot be asked, 1 nodes tried; ");
    await_log(&rmux, "it refuses us: -WRONGPASS");
    fs::write(&file, "hunter2\n").expect("writable");
    await_log(&rmux, "its cluster can be asked again");
    await_all(&rmux, "a");
    assert!(!rmux.log().contains("hunter2"), "{}", rmux.log());
}

#[test]
fn figures_say_what_is_known_and_how_often_it_was_asked_for() {
    let cluster = Cluster::start();
    let scratch = Scratch::new();
    let (socket, file, admin) = (scratch.join("rmux.sock"), scratch.join("rmux.json"), scratch.join("admin.sock"));
    fs::write(&file, pool(&socket.display().to_string(), &[cluster.address(0)], "")).expect("writable");
    let flags = [format!("-config={}", file.display()), format!("-admin={}", admin.display())];
    let rmux = Rmux::start_at(Address::Unix(socket), scratch, &flags.each_ref().map(String::as_str));
    await_all(&rmux, "a");
    let page = Http::connect(&Address::Unix(admin)).get("/metrics").body;
    for (name, labels, value) in [
        ("rmux_cluster_slots_covered", "", "16384"),
        ("rmux_cluster_nodes", ",role=\"master\"", "3"),
        ("rmux_cluster_nodes", ",role=\"replica\"", "3"),
        ("rmux_cluster_refreshes_total", ",cause=\"start\",outcome=\"changed\"", "1"),
    ] {
        let is_it =
            |line: &str| line.starts_with(&format!("{name}{{")) && line.ends_with(&format!("{labels}}} {value}"));
        assert!(page.lines().any(is_it), "{name}{labels} {value}: {page}");
    }
}

#[test]
fn test_shows_a_cluster_and_key_the_node() {
    let cluster = Cluster::start();
    let scratch = Scratch::new();
    let file = scratch.join("rmux.json");
    fs::write(&file, pool("/tmp/rmux-unused.sock", &[cluster.address(4)], "")).expect("writable");
    let config = format!("-config={}", file.display());
    let found = run_to_end(&[&config, "-test"]);
    assert_eq!(found.code, Some(0), "{}", found.output);
    for (node, slots) in [5461, 5462, 5461].into_iter().enumerate() {
        let line =
            format!("cluster node {}: {slots} slots, replicas {}", cluster.address(node), cluster.address(node + 3));
        assert!(found.output.contains(&line), "{line}: {}", found.output);
    }
    assert!(found.output.contains("cluster: 16384 of 16384 slots have a node"), "{}", found.output);
    let found = run_to_end(&[&config, "-key=foo"]);
    let (node, replica) = (cluster.address(2), cluster.address(5));
    let words: Vec<&str> = found.output.lines().last().expect("a line").split_whitespace().collect();
    assert_eq!(words, ["foo", "/tmp/rmux-unused.sock", "slot", "12182,", &node, &replica, "-"], "{}", found.output);
    // Without anybody to ask it says what it knows.
    drop(cluster);
    let found = run_to_end(&[&config, "-key=foo"]);
    assert!(found.output.contains("slot 12182") && found.output.contains("cannot be asked"), "{}", found.output);
    assert_eq!(found.code, Some(0));
}
