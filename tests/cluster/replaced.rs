//! A node of which another one has taken the place, behind the same address: who is connected to the old one still
//! hears that slots are at the address that was asked.

use super::front::{await_log, start_rmux};
use crate::support::client::bulk;
use crate::support::fake::{Connection, FakeServer, answer, value_of};
use crate::support::{Address, wait_until};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One node with all slots at this port. Connections below `replaced` lead to what was there before.
fn serve(connection: &mut Connection, port: &AtomicUsize, replaced: &AtomicUsize) {
    while let Some(request) = connection.user_request() {
        let port = port.load(Ordering::SeqCst);
        let words: Vec<_> = request.iter().map(|word| String::from_utf8_lossy(word).to_ascii_uppercase()).collect();
        let reply = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["CLUSTER", "INFO"] => bulk(b"cluster_state:ok\r\ncluster_current_epoch:1\r\n"),
            ["CLUSTER", "SLOTS"] => {
                let id = "a".repeat(40);
                let node = format!("*3\r\n$9\r\n127.0.0.1\r\n:{port}\r\n$40\r\n{id}\r\n");
                format!("*1\r\n*3\r\n:0\r\n:16383\r\n{node}").into_bytes()
            }
            ["GET", _] if connection.number < replaced.load(Ordering::SeqCst) => {
                format!("-MOVED 15495 127.0.0.1:{port}\r\n").into_bytes()
            }
            _ => answer(&request),
        };
        connection.send(&reply);
    }
}

#[test]
fn who_is_connected_to_a_node_that_was_replaced_is_connected_anew() {
    let (port, replaced) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (of_script, replaced_of_script) = (Arc::clone(&port), Arc::clone(&replaced));
    let fake = FakeServer::start(move |connection| serve(connection, &of_script, &replaced_of_script));
    let Address::Tcp(number) = fake.address() else { panic!("it has a port") };
    port.store(number.into(), Ordering::SeqCst);
    let rmux = start_rmux(&[format!("127.0.0.1:{number}")], r#", "remoteTimeout": 20000"#);
    await_log(&rmux, "its cluster has 1 masters and 0 replicas for 16384 of 16384 slots");
    let mut client = rmux.client();
    // Its slot is that of the error.
    assert_eq!(client.cmd(&["GET", "a"]), value_of("a"));
    replaced.store(fake.accepted(), Ordering::SeqCst);
    assert_eq!(client.cmd(&["GET", "a"]), value_of("a"), "{}", rmux.log());
    assert!(rmux.log().contains("names itself as the owner of a slot that it does not have"), "{}", rmux.log());
    wait_until("the connections to the old one to go", super::nodes::LONG, || {
        fake.finished() >= replaced.load(Ordering::SeqCst)
    });
}
