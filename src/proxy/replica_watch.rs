//! Whether replicas are up to date: each is asked once a second who it is, and what it says is noted.
//!
//! ```text
//!   ROLE ─► slave, host, port, connected, offset      read from
//!           … connect, connecting, sync, handshake    behind: its master is lost to it, or it copies all data anew
//!           master                                    no replica at all: somebody has promoted it, or given a wrong
//!                                                     address. It is not read from; but a node of a cluster is, since
//!                                                     it answers what it has the slot for, and nothing else
//!           an error                                  it may not tell (ACL): read from, as long as it answers reads
//! ```
//!
//! The question goes to the oldest connection, between what clients ask; so one that answers nothing is noticed by
//! `health` within a second and the time for a reply. A replica is read from when it has answered, not before: its
//! first connection asks as soon as it is ready. What a replica says to a read (`-LOADING`, `-MASTERDOWN`) counts at
//! once (`reask`).
//!
//! Replicas alone are asked, and there are none unless the settings have reads go there.

use log::Level;

use super::enqueue;
use super::interface::Timer;
use super::replicas::Link;
use super::state::Proxy;
use crate::cluster::RefreshCause;
use crate::notice::{About, Kind, printable};
use crate::request::Role;
use crate::resp::elements::{self, Elements};
use crate::server_id::ServerId;
use crate::slots::Id;
use crate::timer::Millis;

/// A replica is asked again after so long, in milliseconds.
const WATCH_MS: u64 = 1_000;

const ROLE: &[u8] = b"*1\r\n$4\r\nROLE\r\n";
/// What a master calls itself.
const MASTER: &[u8] = b"master";

/// Watches every replica.
pub(super) fn watch_all(proxy: &mut Proxy, now: Millis) {
    let replicas: Vec<ServerId> = proxy.router.replicas().servers().collect();
    replicas.into_iter().for_each(|server| watch(proxy, server, now));
}

/// Watches a replica that has come.
pub(super) fn watch(proxy: &mut Proxy, server: ServerId, now: Millis) {
    proxy.wheel.arm(Timer::Replica(server), now + WATCH_MS);
}

/// The time has come to ask a replica. If it is one no longer, that was the last time.
pub(super) fn on_due(proxy: &mut Proxy, server: ServerId, now: Millis) {
    if !proxy.router.replicas().has(server) {
        return;
    }
    let can_tell =
        |id: &Id| proxy.upstreams.backend(*id).is_some_and(|backend| backend.is_ready() && !backend.is_held());
    let found = proxy.upstreams.pool(server).backends().iter().copied().find(can_tell);
    if let Some(backend) = found {
        ask(proxy, backend, now);
    }
    watch(proxy, server, now);
}

/// A connection has become ready: if it is one to a replica of which nothing is known, that is asked.
pub(super) fn on_ready(proxy: &mut Proxy, id: Id, server: ServerId, now: Millis) {
    let replicas = proxy.router.replicas();
    if !replicas.is_empty() && replicas.has(server) && replicas.link(server) <= Link::Unknown {
        ask(proxy, id, now);
    }
}

fn ask(proxy: &mut Proxy, id: Id, now: Millis) {
    enqueue::send_internal(proxy, id, ROLE, Role::Watch, now);
}

/// A replica has answered.
pub(super) fn on_answer(proxy: &mut Proxy, id: Id, reply: &[u8]) {
    let Some(server) = proxy.upstreams.backend(id).map(|backend| backend.server()) else { return };
    let (mut link, words) = link_of(reply);
    if proxy.settings.cluster && words == MASTER {
        // It has taken the place of its master, and the map does not have that yet. What it does not serve it says.
        link = Link::Connected;
        proxy.turn.refresh(RefreshCause::Moved);
    }
    note(proxy, server, link, words);
}

/// A replica has said something about itself.
pub(super) fn note(proxy: &mut Proxy, server: ServerId, link: Link, words: &[u8]) {
    let Some(before) = proxy.router.replicas_mut().set_link(server, link) else { return };
    let mut note = |level, text| proxy.journal.notices.note(Kind::State, About::Server(server), level, 1, text);
    match link {
        Link::Connected | Link::Unknown if before == Link::Unknown => {}
        Link::Connected | Link::Unknown => note(Level::Info, format_args!("is up to date again, and read from")),
        Link::Behind => {
            note(Level::Warn, format_args!("is not read from: its link to its master is '{}'", printable(words)));
        }
        Link::Useless => note(Level::Warn, format_args!("is not read from: it says '{}'", printable(words))),
    }
}

/// What the reply to `ROLE` means, and the word that says so.
fn link_of(reply: &[u8]) -> (Link, &[u8]) {
    let Some(mut told) = Elements::of(reply) else {
        return (if is_unserved(reply) { Link::Useless } else { Link::Connected }, reply);
    };
    match told.next().and_then(elements::bulk) {
        Some(b"slave") => {}
        role => return (Link::Useless, role.unwrap_or_default()),
    }
    match told.nth(2).and_then(elements::bulk) {
        Some(state @ b"connected") => (Link::Connected, state),
        state => (Link::Behind, state.unwrap_or_default()),
    }
}

/// Whether a replica says that it answers nothing now: it loads its data, or does not answer without its master.
pub(super) fn is_unserved(reply: &[u8]) -> bool {
    [&b"-LOADING "[..], b"-MASTERDOWN "].iter().any(|word| reply.starts_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_connected_to_its_master_is_read_from() {
        let slave = |state: &str| {
            let state = format!("${}\r\n{state}\r\n", state.len());
            format!("*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:6379\r\n{state}:17\r\n")
        };
        for (reply, link) in [
            (slave("connected"), Link::Connected),
            (slave("connect"), Link::Behind),
            (slave("connecting"), Link::Behind),
            (slave("sync"), Link::Behind),
            ("*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n".to_owned(), Link::Useless),
            ("*2\r\n$8\r\nsentinel\r\n*0\r\n".to_owned(), Link::Useless),
            ("*0\r\n".to_owned(), Link::Useless),
            ("-NOPERM this user has no permissions to run the 'role' command\r\n".to_owned(), Link::Connected),
            ("-ERR unknown command 'ROLE'\r\n".to_owned(), Link::Connected),
            ("-LOADING Redis is loading the dataset in memory\r\n".to_owned(), Link::Useless),
        ] {
            assert_eq!(link_of(reply.as_bytes()).0, link, "{reply}");
        }
    }
}
