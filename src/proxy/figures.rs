//! What there is to tell about this proxy, put together from its owners: for INFO, and for the admin endpoint.
//!
//! Changes nothing. The work is in proportion to the number of servers and of connections to them.

use super::journal::Journal;
use super::router::Router;
use super::settings::Settings;
use super::state::Proxy;
use super::{dispatch, memory};
use crate::client::{Flow, Need};
use crate::cluster::{Cause, Outcome, Refreshes};
use crate::stats::{ClusterFigures, Event, Figures, READ, ServerRole, WRITE};
use crate::timer::Millis;
use log::Level;

/// All of it, but what the log was told.
pub(super) fn figures(proxy: &mut Proxy, now: Millis) -> Figures {
    let Proxy { settings, upstreams, clients, in_flight, journal, router, .. } = proxy;
    let fronts = router.servers().flat_map(|server| [Need::Room, Need::Lease].map(|need| (server, need)));
    let oldest = fronts.filter_map(|(server, need)| clients.get(*upstreams.pool(server).waiting(need).front()?));
    let waits_us = oldest.filter_map(|client| Some(1000 * dispatch::waited_ms(settings, client, now)?)).max();
    let is_blocked = |id| clients.get(id).is_some_and(|client| matches!(client.flow(), Flow::BlockedOnCommand { .. }));
    let mut stats = journal.stats;
    stats.errors = in_flight.measured.errors;
    stats.requests[READ] = journal.requests - stats.requests[WRITE];
    let mut waits = journal.waits;
    // Those that were asked for at once are not recorded one by one.
    waits.add_immediate(journal.requests.saturating_sub(waits.count()));
    let mut servers = upstreams.figures(router.servers().chain(router.replicas().servers()), journal.unix_ms, now);
    for (replica, figures) in router.replicas().servers().zip(&mut servers[router.servers().len()..]) {
        let is_read = router.replicas().is_read(replica);
        figures.role = if is_read { ServerRole::Replica } else { ServerRole::Unread };
    }
    Figures {
        stats,
        servers,
        cluster: cluster_figures(settings, router, &journal.refreshes),
        addresses: settings.servers.iter().chain(settings.all_replicas()).cloned().collect(),
        clients: clients.len() as u64,
        clients_paused: clients.paused() as u64,
        clients_waiting: clients.parked() as u64,
        clients_blocked: upstreams
            .backends()
            .filter_map(|(_, entry)| entry.owner())
            .filter(|&id| is_blocked(id))
            .count() as u64,
        buffered_bytes: memory::buffered_bytes(in_flight) as u64,
        buffered_bytes_max: settings.limits.buffered_bytes_max as u64,
        clients_max: settings.limits.clients_max as u64,
        waits,
        durations: in_flight.measured.durations,
        wait_max_us: journal.longest_wait.of_late(now.0).max(waits_us.unwrap_or(0)),
        turn_max_us: journal.longest_turn.of_late(now.0),
        uptime_ms: now - journal.started,
        events: Vec::new(),
    }
}

/// The same about the cluster that the servers are nodes of. In proportion to the number of slots.
fn cluster_figures(settings: &Settings, router: &Router, refreshes: &Refreshes) -> Option<ClusterFigures> {
    let slots = router.slots()?;
    let (mut covered, mut slots_of) = (0, vec![0; router.servers().len()]);
    for place in slots.owners() {
        covered += 1;
        slots_of[place] += 1;
    }
    let masters = || router.servers().zip(&slots_of).filter(|(_, slots)| **slots > 0);
    let replicas = router.replicas();
    let count = |is_meant: &dyn Fn(Cause, Outcome) -> bool| {
        let meant = refreshes.iter().filter(|((cause, outcome), _)| is_meant(*cause, *outcome));
        meant.map(|(_, count)| count).sum()
    };
    Some(ClusterFigures {
        slots_covered: covered,
        masters: masters().count() as u64,
        masters_up: masters().filter(|&(server, _)| router.is_up(server)).count() as u64,
        replicas: settings.replicas.iter().map(|replicas| replicas.len() as u64).sum(),
        replicas_read: replicas.servers().filter(|&server| replicas.is_read(server)).count() as u64,
        refreshes: Cause::NAMES.map(|(name, asked)| (name, count(&|cause, _| cause == asked))).to_vec(),
        refreshes_failed: count(&|_, outcome| outcome == Outcome::Failed),
    })
}

/// What the log was told last.
pub(super) fn events(journal: &Journal, now: Millis) -> Vec<Event> {
    let event = |(at, level, text): &(Millis, Level, String)| Event {
        age_ms: now - *at,
        is_warning: *level <= Level::Warn,
        text: text.clone(),
    };
    journal.events.iter().map(event).collect()
}
