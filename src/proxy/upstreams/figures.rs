//! What there is to tell about servers: how each of them is, its connections, and where it is.
//!
//! Changes nothing.

use super::{Endpoint, Upstreams};
use crate::backend::Backend;
use crate::client::Need;
use crate::server::Health;
use crate::server_id::ServerId;
use crate::stats::{CONNECTION_STATES, ServerFigures, ServerRole, ServerState};
use crate::timer::Millis;

impl Upstreams {
    /// What there is to tell about each of these servers, in their order; at 0 of the proxy's own clock, that of the
    /// day showed `unix_ms`.
    pub fn figures(&self, servers: impl Iterator<Item = ServerId>, unix_ms: u64, now: Millis) -> Vec<ServerFigures> {
        let figures = |endpoint: &Endpoint| {
            let backends = || endpoint.pool.backends().iter().filter_map(|&id| self.backends.get(id));
            ServerFigures {
                role: ServerRole::Master,
                state: match endpoint.health.health() {
                    Health::Up => ServerState::Up,
                    Health::Unsteady { .. } => ServerState::Unsteady,
                    Health::Mute { .. } => ServerState::Mute,
                    Health::Silent { .. } => ServerState::Silent,
                    Health::Down { .. } => ServerState::Down,
                    Health::Probing { .. } => ServerState::Probing,
                },
                state_ms: now - endpoint.changed_at,
                why: endpoint.why.clone(),
                queue_bytes: backends().map(|backend| backend.queue().unsent() as u64).sum(),
                waiting: [Need::Room, Need::Lease].map(|need| endpoint.pool.waiting(need).len() as u64),
                by_state: [0; CONNECTION_STATES.len()],
                connections: backends().count(),
                outstanding: backends().map(|backend| backend.in_flight().len()).sum(),
                stats: endpoint.stats,
                location: endpoint.whereabouts.location(unix_ms),
            }
        };
        let ids: Vec<ServerId> = servers.collect();
        let mut all: Vec<ServerFigures> = ids.iter().map(|id| figures(&self.endpoints[id.index()])).collect();
        for (_, backend) in self.backends.iter().filter(|(_, backend)| !backend.is_closed()) {
            if let Some(place) = ids.iter().position(|&id| id == backend.server()) {
                all[place].by_state[state_of(backend)] += 1;
            }
        }
        all
    }
}

/// What a connection is at, by [`CONNECTION_STATES`].
fn state_of(backend: &Backend) -> usize {
    match backend {
        _ if backend.is_subscription() => 4,
        _ if backend.is_setting_up() => 0,
        _ if backend.is_draining() => 3,
        _ => 1 + usize::from(backend.is_held()),
    }
}
