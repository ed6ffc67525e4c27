//! INFO of a pool with several servers: one text that stands for all of them.
//!
//! In Redis' own sections and format, the fields without which clients do not begin to work (ioredis waits for
//! `loading`, Sidekiq and BullMQ read `redis_version`, glide `role:master`), what the servers say of themselves, added
//! up (`servers_info`), and a section for each server. What can be said of rmux itself is: its process, its uptime, its
//! port, its clients, the requests that it has passed on. Those of Redis' fields that only one server could tell
//! (persistence, policies) are left out rather than invented.
//!
//! Last those lines of the original rmux that Redis has not, `key: value`, with `rust_version` in the place of
//! `go_version`: what monitors of it read. Its other three (`process_id`, `connected_clients`, `role`) stand in Redis'
//! form alone: some programs take the first line of a name (prometheus-redis-exporter), some the last (redis-py), and
//! to neither the blank is a part of a number, or of `master`. Behind them, what there is to tell about a cluster.
//!
//! Which sections a client asks for makes no difference to what is rmux's own: it gets all of them. The servers are
//! asked what the client asks.

use super::cluster_lines;
use super::fields::{self, LINE, push};
use super::servers_info::ServersInfo;
use crate::backend::handshake::Introduction;
use crate::reply;
use crate::session::Protocol;
use crate::stats::{Figures, ServerFigures, ServerState};

/// What `INFO` tells about rmux itself: about this pool, all of its threads together.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Process id.
    pub process_id: u32,
    /// A number that each run of rmux has for itself.
    pub run: u64,
    /// Where it listens.
    pub listen: &'a str,
    /// Whether clients are told that it is the node of a cluster.
    pub is_node: bool,
    /// For how long it has run, in milliseconds.
    pub uptime_ms: u64,
    /// What the servers say they are.
    pub introduction: &'a Introduction,
    /// Clients connected.
    pub connected_clients: usize,
    /// The servers' addresses, as configured.
    pub addresses: &'a [String],
    /// What it has done; with at least as many servers as there are addresses, those first.
    pub figures: &'a Figures,
    /// What the servers say of themselves.
    pub servers_info: &'a ServersInfo,
}

/// Appends the text: a bulk string, or a verbatim string in RESP3.
pub fn answer(protocol: Protocol, facts: &Facts<'_>, out: &mut Vec<u8>) {
    let mut text = Vec::new();
    // Behind those of the addresses stand some that other workers have still, or already.
    let (all, own) = (&facts.figures.servers, facts.addresses.len());
    let servers = &all[..own.min(all.len())];
    write_server(&mut text, facts);
    write_summed(&mut text, facts);
    write_servers(&mut text, facts, servers);
    write_original(&mut text, servers);
    cluster_lines::write(&mut text, facts.figures);
    reply::verbatim(out, protocol, &text);
}

/// What rmux is, in place of a server.
fn write_server(text: &mut Vec<u8>, facts: &Facts<'_>) {
    let version = &*facts.introduction.version;
    push(text, &["# Server\r\n"]);
    if &*facts.introduction.server == "valkey" {
        // As it says itself: which Redis it is like, for those who know no other, and then what it is.
        let fields = [("redis_version", "7.2.4"), ("server_name", "valkey"), ("valkey_version", version)];
        fields::texts(text, LINE, &fields);
    } else {
        fields::texts(text, LINE, &[("redis_version", version)]);
    }
    push(text, &["redis_git_sha1:00000000\r\nredis_git_dirty:0\r\nredis_build_id:0000000000000000\r\n"]);
    let mode = if facts.is_node { "cluster" } else { "standalone" };
    push(text, &["redis_mode:", mode, "\r\nos:Linux\r\n"]);
    fields::numbers(text, LINE, &[("arch_bits", usize::BITS.into()), ("process_id", facts.process_id.into())]);
    let run_id = format!("{:016x}{:016x}{:08x}", facts.run, !facts.run, facts.process_id);
    fields::texts(text, LINE, &[("run_id", &run_id)]);
    let port = facts.listen.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    let seconds = facts.uptime_ms / 1000;
    let numbers = [
        ("tcp_port", port.unwrap_or(0).into()),
        ("uptime_in_seconds", seconds),
        ("uptime_in_days", seconds / (24 * 60 * 60)),
    ];
    fields::numbers(text, LINE, &numbers);
}

/// The sections that have what the servers say, too.
fn write_summed(text: &mut Vec<u8>, facts: &Facts<'_>) {
    let (told, stats) = (facts.servers_info, &facts.figures.stats);
    let requests = facts.figures.servers.iter().map(|server| server.stats.requests).sum();
    let clients = [("connected_clients", facts.connected_clients as u64)];
    let cluster = [("cluster_enabled", u64::from(facts.is_node))];
    let own = [
        ("total_connections_received", stats.clients),
        ("total_commands_processed", requests),
        ("rejected_connections", stats.clients_refused),
        // Redis' own name for those who gave a wrong password.
        ("acl_access_denied_auth", stats.denials),
        ("resends", stats.resends),
        ("moves", stats.moves),
        ("held", stats.held),
        ("resubscriptions", stats.resubscriptions),
        ("messages", stats.messages),
        ("servers_summed", told.servers()),
    ];
    let sections: [(&str, &[(&str, u64)]); 10] = [
        ("Clients", &clients),
        ("Memory", &[]),
        ("Persistence", &[("loading", 0)]),
        ("Stats", &own),
        ("Replication", &[]),
        ("CPU", &[]),
        ("Commandstats", &[]),
        ("Errorstats", &[]),
        ("Cluster", &cluster),
        ("Keyspace", &[]),
    ];
    for (section, own) in sections {
        push(text, &["\r\n# ", section, "\r\n"]);
        if section == "Replication" {
            push(text, &["role:master\r\nconnected_slaves:0\r\n"]);
        }
        fields::numbers(text, LINE, own);
        told.write(section, text);
    }
}

/// A section for each server.
fn write_servers(text: &mut Vec<u8>, facts: &Facts<'_>, servers: &[ServerFigures]) {
    for (index, (server, address)) in servers.iter().zip(facts.addresses).enumerate() {
        let index = index.to_string();
        push(text, &["\r\n# Server_", &index, "\r\n"]);
        let start = ["server", &index, "_"].concat();
        let line = [&*start, ":", "\r\n"];
        fields::texts(text, line, &[("address", address), ("state", server.state.name())]);
        let numbers = [
            ("connections", server.connections as u64),
            ("outstanding", server.outstanding as u64),
            ("requests", server.stats.requests),
            ("errors", server.stats.errors),
        ];
        fields::numbers(text, line, &numbers);
    }
}

/// Lines of the original rmux.
fn write_original(text: &mut Vec<u8>, servers: &[ServerFigures]) {
    let line = ["", ": ", "\r\n"];
    let active = servers.iter().filter(|server| server.state == ServerState::Up).count();
    push(text, &["\r\n# Rmux\r\n"]);
    // The oldest compiler that builds this version: which one did build it, a program cannot know by itself.
    let versions = [("rmux_version", env!("CARGO_PKG_VERSION")), ("rust_version", env!("CARGO_PKG_RUST_VERSION"))];
    fields::texts(text, line, &versions);
    let numbers = [("active_endpoints", active as u64), ("total_endpoints", servers.len() as u64)];
    fields::numbers(text, line, &numbers);
}
