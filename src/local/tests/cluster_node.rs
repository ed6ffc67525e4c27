//! rmux as the only node of a cluster.

use super::*;

#[test]
fn rmux_is_the_only_node_of_a_cluster_for_those_who_insist_on_one() {
    let mut talk = Talk { announced: Some("10.0.0.5:6380"), ..Talk::new() };
    for request in ["READONLY", "READWRITE", "ASKING"] {
        talk.hears(request, "+OK\r\n");
    }
    let id = "7baf7113b8c3ee31bfa82aa1990d00a1027cdec4";
    let host = "$8\r\n10.0.0.5\r\n";
    let slots = format!("*1\r\n*3\r\n:0\r\n:16383\r\n*4\r\n{host}:6380\r\n$40\r\n{id}\r\n*0\r\n");
    talk.hears("CLUSTER SLOTS", &slots);
    talk.hears("cluster myid", &format!("$40\r\n{id}\r\n"));
    talk.hears("CLUSTER KEYSLOT foo{bar}", ":5061\r\n");
    talk.hears("CLUSTER LINKS", "*0\r\n");
    let line = format!("{id} 10.0.0.5:6380@16380 myself,master - 0 0 1 connected 0-16383\n");
    talk.hears("CLUSTER NODES", &format!("${}\r\n{line}\r\n", line.len()));
    talk.hears_error("CLUSTER COUNTKEYSINSLOT 7", "ERR This instance has cluster support disabled");
    let (_, hello) = talk.outcome(&[b"HELLO"]);
    assert!(String::from_utf8_lossy(&hello).contains("$4\r\nmode\r\n$7\r\ncluster\r\n"));
    let (_, info) = Talk { announced: Some("10.0.0.5:6380"), servers: THREE, ..Talk::new() }.outcome(&[b"INFO"]);
    let info = String::from_utf8_lossy(&info);
    assert!(info.contains("\r\nredis_mode:cluster\r\n") && info.contains("\r\ncluster_enabled:1\r\n"), "{info}");
    let mut modern = Talk { announced: Some("[::1]:6380"), ..Talk::in_resp3() };
    let (_, shards) = modern.outcome(&[b"CLUSTER", b"SHARDS"]);
    let shards = String::from_utf8(shards).expect("ASCII");
    assert!(
        shards.starts_with("*1\r\n%2\r\n$5\r\nslots\r\n*2\r\n:0\r\n:16383\r\n$5\r\nnodes\r\n*1\r\n%7\r\n"),
        "{shards}"
    );
    assert!(shards.contains("$8\r\nendpoint\r\n$3\r\n::1\r\n"), "{shards}");
    assert!(shards.ends_with("$6\r\nhealth\r\n$6\r\nonline\r\n"), "{shards}");
}
