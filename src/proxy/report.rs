//! What the log is told: about whom, in which words. How often is `notice`'s business, when the shell's.
//!
//! Lines that a peer can cause pass through here, and no other way: `Proxy::poll_notice` hands them out, at most one
//! a second for each kind and server. With `-debug` each connection that ends has a line besides, at once.

use std::fmt::{self, Write as _};

use log::Level;

use super::clients::Clients;
use super::journal::Journal;
use super::settings::Settings;
use super::upstreams::Upstreams;
use crate::notice::{About, Kind, Notice};
use crate::server_id::ServerId;
use crate::slots::Id;
use crate::timer::Millis;

/// The next line for the log. To be asked at the end of a turn, until it is `None`.
pub(super) fn poll_notice(
    settings: &Settings,
    upstreams: &Upstreams,
    journal: &mut Journal,
    now: Millis,
) -> Option<(Level, String)> {
    let Notice { kind, about, level, count, text } = journal.notices.poll(now)?;
    let mut line = match about {
        About::Server(server) => format!("server {}", upstreams.address(server)),
        About::Clients => format!("pool {}", settings.listen),
    };
    let s = if count == 1 { "" } else { "s" };
    let is_written = match kind {
        Kind::Timeout => {
            let ms = settings.timeouts.remote_read_ms;
            write!(line, ": {count} request{s} had no reply within {ms} ms")
        }
        Kind::Lost => write!(line, ": {text}, with {count} request{s} outstanding"),
        Kind::State if count > 1 => write!(line, " {text} ({count} changes)"),
        Kind::Address => write!(line, ": {text}"),
        Kind::State => write!(line, " {text}"),
        _ if count > 1 => write!(line, ": {text} ({count} times)"),
        _ => write!(line, ": {text}"),
    };
    is_written.expect("a String takes every write");
    journal.remember(level, &line, now);
    Some((level, line))
}

/// The system does not let a client in.
pub(super) fn handle_accept_failed(journal: &mut Journal, reason: fmt::Arguments<'_>) {
    journal.notices.note(Kind::ClientRefused, About::Clients, Level::Warn, 1, reason);
}

/// A client and rmux do not agree on TLS.
pub(super) fn handle_handshake_failed(clients: &Clients, journal: &mut Journal, id: Id, reason: fmt::Arguments<'_>) {
    warn_of_client(
        clients,
        journal,
        Kind::ClientHandshake,
        id,
        format_args!("failed to shake hands for TLS: {reason}"),
    );
}

/// Something happened with a server that whoever runs it should know.
pub(super) fn warn_of(journal: &mut Journal, kind: Kind, server: ServerId, count: usize, text: fmt::Arguments<'_>) {
    journal.notices.note(kind, About::Server(server), Level::Warn, count as u64, text);
}

/// A client did something that whoever runs it should know.
pub(super) fn warn_of_client(clients: &Clients, journal: &mut Journal, kind: Kind, id: Id, text: fmt::Arguments<'_>) {
    let peer = clients.get(id).and_then(|client| client.connection().peer());
    let (from, peer) = peer.map_or(("", ""), |peer| (" from ", peer));
    journal.notices.note(kind, About::Clients, Level::Warn, 1, format_args!("client {id}{from}{peer} {text}"));
}
