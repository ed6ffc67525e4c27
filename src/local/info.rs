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
//! to neither the blank is a part of a number, or of `master`.
//!
//! Which sections a client asks for makes no difference to what is rmux's own: it gets all of them. The servers are
//! asked what the client asks.

use std::fmt::{self, Write};

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
    let mut text = String::new();
    write_text(&mut text, facts).expect("a String takes every write");
    reply::verbatim(out, protocol, text.as_bytes());
}

fn write_text(text: &mut String, facts: &Facts<'_>) -> fmt::Result {
    // Behind those of the addresses stand some that other workers have still, or already.
    let (all, own) = (&facts.figures.servers, facts.addresses.len());
    let servers = &all[..own.min(all.len())];
    text.push_str("# Server\r\n");
    if &*facts.introduction.server == "valkey" {
        // As it says itself: which Redis it is like, for those who know no other, and then what it is.
        write!(text, "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:{}\r\n", facts.introduction.version)?;
    } else {
        write!(text, "redis_version:{}\r\n", facts.introduction.version)?;
    }
    text.push_str("redis_git_sha1:00000000\r\nredis_git_dirty:0\r\nredis_build_id:0000000000000000\r\n");
    write!(text, "redis_mode:standalone\r\nos:Linux\r\narch_bits:{}\r\n", usize::BITS)?;
    write!(text, "process_id:{0}\r\nrun_id:{1:016x}{2:016x}{0:08x}\r\n", facts.process_id, facts.run, !facts.run)?;
    let port = facts.listen.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    let seconds = facts.uptime_ms / 1000;
    write!(text, "tcp_port:{}\r\nuptime_in_seconds:{seconds}\r\n", port.unwrap_or(0))?;
    write!(text, "uptime_in_days:{}\r\n", seconds / (24 * 60 * 60))?;
    write!(text, "\r\n# Clients\r\nconnected_clients:{}\r\n", facts.connected_clients)?;
    let told = facts.servers_info;
    told.write("Clients", text);
    text.push_str("\r\n# Memory\r\n");
    told.write("Memory", text);
    text.push_str("\r\n# Persistence\r\nloading:0\r\n");
    told.write("Persistence", text);
    let stats = &facts.figures.stats;
    write!(text, "\r\n# Stats\r\ntotal_connections_received:{}\r\n", stats.clients)?;
    let requests: u64 = all.iter().map(|server| server.stats.requests).sum();
    write!(text, "total_commands_processed:{requests}\r\n")?;
    write!(text, "rejected_connections:{}\r\n", stats.clients_refused)?;
    // Redis' own name for those who gave a wrong password.
    write!(text, "acl_access_denied_auth:{}\r\n", stats.denials)?;
    write!(text, "resends:{}\r\n", stats.resends)?;
    write!(text, "moves:{}\r\n", stats.moves)?;
    write!(text, "resubscriptions:{}\r\n", stats.resubscriptions)?;
    write!(text, "messages:{}\r\n", stats.messages)?;
    write!(text, "servers_summed:{}\r\n", told.servers())?;
    told.write("Stats", text);
    text.push_str("\r\n# Replication\r\nrole:master\r\nconnected_slaves:0\r\n");
    for section in ["CPU", "Commandstats", "Errorstats"] {
        write!(text, "\r\n# {section}\r\n")?;
        told.write(section, text);
    }
    text.push_str("\r\n# Cluster\r\ncluster_enabled:0\r\n\r\n# Keyspace\r\n");
    told.write("Keyspace", text);

    write_servers(text, facts, servers)?;
    write_original(text, servers)
}

/// A section for each server.
fn write_servers(text: &mut String, facts: &Facts<'_>, servers: &[ServerFigures]) -> fmt::Result {
    for (index, (server, address)) in servers.iter().zip(facts.addresses).enumerate() {
        let state = match server.state {
            ServerState::Up => "up",
            ServerState::Unsteady => "unsteady",
            ServerState::Mute => "mute",
            ServerState::Silent => "silent",
            ServerState::Probing => "probing",
            ServerState::Down => "down",
        };
        write!(text, "\r\n# Server_{index}\r\n")?;
        write!(text, "server{index}_address:{address}\r\n")?;
        write!(text, "server{index}_state:{state}\r\n")?;
        write!(text, "server{index}_connections:{}\r\n", server.connections)?;
        write!(text, "server{index}_outstanding:{}\r\n", server.outstanding)?;
        write!(text, "server{index}_requests:{}\r\n", server.stats.requests)?;
        write!(text, "server{index}_errors:{}\r\n", server.stats.errors)?;
    }
    Ok(())
}

/// Lines of the original rmux.
fn write_original(text: &mut String, servers: &[ServerFigures]) -> fmt::Result {
    let active = servers.iter().filter(|server| server.state == ServerState::Up).count();
    text.push_str("\r\n# Rmux\r\n");
    write!(text, "rmux_version: {}\r\n", env!("CARGO_PKG_VERSION"))?;
    // The oldest compiler that builds this version: which one did build it, a program cannot know by itself.
    write!(text, "rust_version: {}\r\n", env!("CARGO_PKG_RUST_VERSION"))?;
    write!(text, "active_endpoints: {active}\r\n")?;
    write!(text, "total_endpoints: {}\r\n", servers.len())?;
    Ok(())
}
