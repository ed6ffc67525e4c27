//! CLUSTER for cluster-aware clients: rmux is the only node and owns all slots.
//!
//! Only with `clusterAnnounce`, the address at which such clients reach rmux; else they get Redis's error of a server
//! without cluster support. They ask for the slot map, and then send everything to this node:
//!
//! ```text
//!   CLUSTER SLOTS    0 to 16383: this address, a node id made from it, no metadata
//!   CLUSTER SHARDS   the same in the form of Redis 7;  CLUSTER NODES, INFO, MYID …: of one healthy node
//!   READONLY, READWRITE, ASKING    +OK
//! ```
//!
//! Texts and fields are those of Redis 7.0.15. Subcommands about the keys of a slot get the error.

use super::fields::{self, LINE};
use super::words::Words;
use crate::cluster::{SLOTS, slot_of};
use crate::reply::{self, error};
use crate::session::Protocol;
use crate::sha1;

/// Appends the reply to a command of CLUSTER; `address` is that of rmux as clients reach it, `host:port`.
pub(super) fn answer(words: Words<'_>, protocol: Protocol, address: &str, out: &mut Vec<u8>) {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "0"));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let node = Node { id: id_of(address), host, port: port.parse().unwrap_or(0) };
    // The arity was checked before.
    let word = if words.len() > 1 { words.at(1).to_ascii_lowercase() } else { Vec::new() };
    match &word[..] {
        b"slots" => node.write_slots(protocol, out),
        b"shards" => node.write_shards(protocol, out),
        b"nodes" => reply::verbatim(out, protocol, &node.line()),
        b"info" => reply::verbatim(out, protocol, &info()),
        b"myid" | b"myshardid" => reply::bulk(out, node.id.as_bytes()),
        b"keyslot" if words.len() == 3 => reply::integer(out, slot_of(words.at(2)).into()),
        b"links" | b"replicas" | b"slaves" => reply::array(out, 0),
        _ => error::write_error(out, error::NO_CLUSTER),
    }
}

/// A node id: 40 hexadecimal digits, always the same for an address.
fn id_of(address: &str) -> String {
    sha1::sha1(address.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn info() -> Vec<u8> {
    let mut text = b"cluster_state:ok\r\n".to_vec();
    let numbers = [
        ("cluster_slots_assigned", SLOTS as u64),
        ("cluster_slots_ok", SLOTS as u64),
        ("cluster_slots_pfail", 0),
        ("cluster_slots_fail", 0),
        ("cluster_known_nodes", 1),
        ("cluster_size", 1),
        ("cluster_current_epoch", 1),
        ("cluster_my_epoch", 1),
        ("cluster_stats_messages_sent", 0),
        ("cluster_stats_messages_received", 0),
    ];
    fields::numbers(&mut text, LINE, &numbers);
    text
}

/// rmux as a node.
struct Node<'a> {
    id: String,
    host: &'a str,
    port: u16,
}

impl Node<'_> {
    fn write_slots(&self, protocol: Protocol, out: &mut Vec<u8>) {
        reply::array(out, 1);
        reply::array(out, 3);
        reply::integer(out, 0);
        reply::integer(out, SLOTS as i64 - 1);
        reply::array(out, 4);
        reply::bulk(out, self.host.as_bytes());
        reply::integer(out, self.port.into());
        reply::bulk(out, self.id.as_bytes());
        reply::map(out, protocol, 0);
    }

    fn write_shards(&self, protocol: Protocol, out: &mut Vec<u8>) {
        reply::array(out, 1);
        reply::map(out, protocol, 2);
        reply::bulk(out, b"slots");
        reply::array(out, 2);
        reply::integer(out, 0);
        reply::integer(out, SLOTS as i64 - 1);
        reply::bulk(out, b"nodes");
        reply::array(out, 1);
        reply::map(out, protocol, 7);
        let texts = |out: &mut Vec<u8>, fields: &[(&str, &str)]| {
            for (name, value) in fields {
                reply::bulk(out, name.as_bytes());
                reply::bulk(out, value.as_bytes());
            }
        };
        texts(out, &[("id", &self.id)]);
        reply::bulk(out, b"port");
        reply::integer(out, self.port.into());
        texts(out, &[("ip", self.host), ("endpoint", self.host), ("role", "master")]);
        reply::bulk(out, b"replication-offset");
        reply::integer(out, 0);
        texts(out, &[("health", "online")]);
    }

    fn line(&self) -> Vec<u8> {
        let mut line = Vec::new();
        fields::push(&mut line, &[&self.id, " ", self.host, ":"]);
        reply::decimal(&mut line, self.port.into());
        // The bus port of Redis is 10000 higher; rmux has none.
        fields::push(&mut line, &["@"]);
        reply::decimal(&mut line, u64::from(self.port) + 10_000);
        fields::push(&mut line, &[" myself,master - 0 0 1 connected 0-"]);
        reply::decimal(&mut line, SLOTS as u64 - 1);
        line.push(b'\n');
        line
    }
}
