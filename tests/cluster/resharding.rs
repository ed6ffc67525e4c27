//! Slots go from node to node and back under load: no client is told of it, nothing is run twice, and each client's order
//! stays.
//!
//! ```text
//!   each client, in one pipeline:  INCR of its counter in each slot (1, 2, 3 …), APPEND of a token to its list there, and
//!                                  MGET of all its counters, which are in several slots
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::nodes::{Cluster, LONG, shown};
use crate::support::client::{Client, bulk, encode};
use crate::support::wait_until;

/// Slots that move, by their tags.
const TAGS: [&str; 6] = ["foo", "a", "b", "c", "d", "e"];
const CLIENTS: usize = 4;
/// So often each slot goes there and back.
const ROUNDS: usize = 3;

fn counter(tag: &str, number: usize) -> String {
    format!("{{{tag}}}:counter:{number}")
}

fn tokens(tag: &str, number: usize) -> String {
    format!("{{{tag}}}:tokens:{number}")
}

/// What one client asks, until it is over. Returns how often.
fn ask(mut client: Client, number: usize, is_over: &AtomicBool) -> usize {
    let counters: Vec<String> = TAGS.iter().map(|tag| counter(tag, number)).collect();
    let mut count = 0;
    while !is_over.load(Ordering::Relaxed) {
        count += 1;
        let mut pipeline = Vec::new();
        for tag in TAGS {
            pipeline.extend(encode(&["INCR", &counter(tag, number)]));
            pipeline.extend(encode(&["APPEND", &tokens(tag, number), &format!("{count} ")]));
        }
        let words: Vec<&str> = ["MGET"].into_iter().chain(counters.iter().map(String::as_str)).collect();
        pipeline.extend(encode(&words));
        client.send(&pipeline);
        for tag in TAGS {
            assert_eq!(shown(&client.reply()), format!(":{count}\r\n"), "the counter of {tag}");
            let reply = shown(&client.reply());
            assert!(reply.starts_with(':'), "the tokens of {tag}: {reply}");
        }
        let all: Vec<u8> = TAGS.iter().flat_map(|_| bulk(count.to_string().as_bytes())).collect();
        let expected = [format!("*{}\r\n", TAGS.len()).as_bytes(), &all].concat();
        assert_eq!(shown(&client.reply()), shown(&expected));
    }
    count
}

#[test]
fn slots_go_there_and_back_under_load_and_nobody_notices() {
    let cluster = Cluster::start();
    let rmux = cluster.rmux(&[0], r#", "remoteTimeout": 20000"#);
    let is_over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (client, is_over) = (rmux.client(), Arc::clone(&is_over));
            thread::spawn(move || ask(client, number, &is_over))
        })
        .collect();
    for _ in 0..ROUNDS {
        for tag in TAGS {
            let slot = cluster.slot_of(tag);
            let home = cluster.owner_by(0, slot).expect("it has an owner");
            for (from, to) in [(home, (home + 1) % 3), ((home + 1) % 3, home)] {
                cluster.move_slot(slot, from, to);
                // Or one that has not heard of it takes it for a mistake.
                let knows = |node| cluster.owner_by(node, slot) == Some(to);
                wait_until("all to know", LONG, || cluster.running().all(knows));
            }
        }
    }
    is_over.store(true, Ordering::Relaxed);
    let mut through = rmux.client();
    let info = shown(&through.cmd(&["INFO"]));
    assert!(info.contains("held:") && !info.contains("held:0\r"), "nothing was ever sent to the wrong node: {info}");
    let slots = "cluster_slots_covered:16384\r\ncluster_masters:known=3,up=3\r\ncluster_replicas:known=3,read=0\r\n";
    assert!(info.contains(slots) && info.contains("\r\ncluster_refreshes:start=1,"), "{info}");
    assert!(info.contains("\r\ncluster_redirects:moved=") && !info.contains("_redirects:moved=0,"), "{info}");
    for (number, client) in clients.into_iter().enumerate() {
        let count = client.join().unwrap_or_else(|_| panic!("client {number} was told something; {}", rmux.log()));
        assert!(count > ROUNDS, "client {number} asked {count} times");
        let expected: String = (1..=count).map(|nth| format!("{nth} ")).collect();
        for tag in TAGS {
            let reply = through.cmd(&["GET", &tokens(tag, number)]);
            assert!(reply == bulk(expected.as_bytes()), "the tokens of client {number} in {tag}: {}", shown(&reply));
        }
    }
}
