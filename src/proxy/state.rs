//! What the core is: the owners of its state, side by side, and the words in which it talks to the shell.

use super::authentication::Authentication;
use super::clients::Clients;
use super::held::Held;
use super::in_flight::InFlight;
use super::interface::Timer;
use super::journal::Journal;
use super::nodes::Nodes;
use super::pubsub::Pubsub;
use super::reading::Reading;
use super::redirected::Redirected;
use super::relocations::Relocations;
use super::router::Router;
use super::scripts::Scripts;
use super::settings::Settings;
use super::turn::Turn;
use super::upstreams::Upstreams;
use super::worker_queries::WorkerQueries;
use crate::timer::Wheel;

/// One pool of the configuration at work: its clients, its servers, and what is under way between them.
#[derive(Debug)]
pub struct Proxy {
    /// What it is told.
    pub(super) settings: Settings,
    pub(super) router: Router,
    pub(super) upstreams: Upstreams,
    /// Who rmux is to its servers, as far as that changes.
    pub(super) authentication: Authentication,
    pub(super) clients: Clients,
    pub(super) reading: Reading,
    pub(super) in_flight: InFlight,
    pub(super) turn: Turn,
    /// Who hears what.
    pub(super) pubsub: Pubsub,
    /// What is asked of the other proxies of the pool.
    pub(super) worker_queries: WorkerQueries,
    /// What `EVALSHA` may mean at a server that does not know it.
    pub(super) scripts: Scripts,
    /// What servers have refused that are no masters.
    pub(super) held: Held,
    /// Nodes of a cluster that the map of its slots does not have.
    pub(super) nodes: Nodes,
    /// What nodes of a cluster have not run.
    pub(super) redirected: Redirected,
    /// What waits on connections of its own, and is asked again elsewhere.
    pub(super) relocations: Relocations,
    pub(super) wheel: Wheel<Timer>,
    pub(super) journal: Journal,
}
