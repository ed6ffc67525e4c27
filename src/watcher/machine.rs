//! The state machine of a watcher: for sentinels or for the nodes of a cluster, behind one interface.
//!
//! ```text
//!   Wanted ─► sentinel::Watch ─┐
//!   Wanted ─► cluster::Watch ──┴─► Action: connect, send, close, say; and Told, for reactors
//! ```
//!
//! Knows no sockets.

use std::sync::Arc;

use log::Level;

use crate::cluster;
use crate::link::{HostPort, LinkId};
use crate::net::Address;
use crate::reactor::{Handle, Hint, NodesTold};
use crate::sentinel::{self, Replica, SentinelView};
use crate::timer::Millis;
use crate::users::Secret;

/// What is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// The addresses of masters, asked of sentinels.
    Masters(sentinel::Settings),
    /// The slot map of a cluster.
    Slots(cluster::Settings),
}

/// What reports show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum View {
    /// Nothing yet.
    #[default]
    Nothing,
    /// The known sentinels.
    Sentinels(Vec<SentinelView>),
    /// Of a cluster, and the age of the last accepted answer in milliseconds.
    Slots(cluster::View, Option<u64>),
}

impl View {
    /// True once a first answer or failure is known.
    pub(super) fn is_settled(&self) -> bool {
        match self {
            View::Nothing => false,
            View::Sentinels(sentinels) => sentinels.iter().any(|sentinel| sentinel.is_up),
            View::Slots(view, _) => view.map.is_some() || view.problem.is_some(),
        }
    }
}

/// What the watcher must do.
pub(super) enum Action {
    Connect(LinkId, HostPort),
    Send(LinkId, Vec<u8>),
    Close(LinkId),
    Say(Level, String),
    Tell(Told),
}

/// News for the reactors.
pub(super) enum Told {
    Moved(String, HostPort),
    Asked(String),
    Replicas(String, Vec<Replica>),
    Nodes(NodesTold),
}

pub(super) enum Machine {
    Sentinel(sentinel::Watch),
    // Larger than the other by far.
    Cluster(Box<cluster::Watch>),
}

impl Machine {
    /// One that begins now. `seed` spreads many hosts over time.
    pub fn new(wanted: Wanted, seed: u64, now: Millis) -> Machine {
        match wanted {
            Wanted::Masters(settings) => Machine::Sentinel(sentinel::Watch::new(settings, seed, now)),
            Wanted::Slots(settings) => Machine::Cluster(Box::new(cluster::Watch::new(settings, seed, now))),
        }
    }

    /// Takes new settings. Gives them back if they need the other kind of machine.
    pub fn handle_settings(&mut self, wanted: Wanted, now: Millis) -> Result<(), Wanted> {
        match (self, wanted) {
            (Machine::Sentinel(watch), Wanted::Masters(settings)) => watch.handle_settings(settings, now),
            (Machine::Cluster(watch), Wanted::Slots(settings)) => watch.handle_settings(settings, now),
            (_, wanted) => return Err(wanted),
        }
        Ok(())
    }

    /// A reactor thinks that something is out of date.
    pub fn handle_hint(&mut self, hint: &Hint, now: Millis) {
        match (self, hint) {
            (Machine::Sentinel(watch), Hint::Master { name, is_lost }) => watch.handle_hint(name, *is_lost, now),
            (Machine::Cluster(watch), Hint::Slots(cause)) => watch.handle_hint(*cause, now),
            // Sent before the pool became one of the other kind.
            (Machine::Sentinel(_), Hint::Slots(_)) | (Machine::Cluster(_), Hint::Master { .. }) => {}
        }
    }

    /// A name is resolved.
    pub fn handle_found(&mut self, id: LinkId, now: Millis) {
        match self {
            Machine::Sentinel(_) => {}
            Machine::Cluster(watch) => watch.handle_found(id, now),
        }
    }

    /// The TCP connection stands, and the TLS handshake has begun.
    pub fn handle_shaking(&mut self, id: LinkId) {
        match self {
            Machine::Sentinel(watch) => watch.handle_shaking(id),
            Machine::Cluster(watch) => watch.handle_shaking(id),
        }
    }

    /// The connection can be used; `peer` is its remote address.
    pub fn handle_connected(&mut self, id: LinkId, peer: Option<String>, now: Millis) {
        match self {
            Machine::Sentinel(watch) => watch.handle_connected(id, peer, now),
            Machine::Cluster(watch) => watch.handle_connected(id, now),
        }
    }

    /// The connection was lost, or could not be made.
    pub fn handle_lost(&mut self, id: LinkId, reason: &str, now: Millis) {
        match self {
            Machine::Sentinel(watch) => watch.handle_lost(id, reason, now),
            Machine::Cluster(watch) => watch.handle_lost(id, reason, now),
        }
    }

    /// Bytes have arrived.
    pub fn handle_data(&mut self, id: LinkId, bytes: &[u8], now: Millis) {
        match self {
            Machine::Sentinel(watch) => watch.handle_data(id, bytes, now),
            Machine::Cluster(watch) => watch.handle_data(id, bytes, now),
        }
    }

    /// Takes a new password.
    pub fn handle_password(&mut self, password: Secret) {
        match self {
            Machine::Sentinel(_) => {}
            Machine::Cluster(watch) => watch.handle_password(password),
        }
    }

    /// Time has passed.
    pub fn handle_timeouts(&mut self, now: Millis) {
        match self {
            Machine::Sentinel(watch) => watch.handle_timeouts(now),
            Machine::Cluster(watch) => watch.handle_timeouts(now),
        }
    }

    /// The latest time for the next call of [`Machine::handle_timeouts`].
    pub fn next_deadline(&self) -> Millis {
        match self {
            Machine::Sentinel(watch) => watch.next_deadline(),
            Machine::Cluster(watch) => watch.next_deadline(),
        }
    }

    /// The next action.
    pub fn poll_action(&mut self) -> Option<Action> {
        Some(match self {
            Machine::Sentinel(watch) => match watch.poll_action()? {
                sentinel::Action::Connect(id, place) => Action::Connect(id, place),
                sentinel::Action::Send(id, bytes) => Action::Send(id, bytes),
                sentinel::Action::Close(id) => Action::Close(id),
                sentinel::Action::Say(level, text) => Action::Say(level, text),
                sentinel::Action::Moved(name, place) => Action::Tell(Told::Moved(name, place)),
                sentinel::Action::Asked(name) => Action::Tell(Told::Asked(name)),
                sentinel::Action::Replicas(name, replicas) => Action::Tell(Told::Replicas(name, replicas)),
            },
            Machine::Cluster(watch) => match watch.poll_action()? {
                cluster::Action::Connect(id, place) => Action::Connect(id, place),
                cluster::Action::Send(id, bytes) => Action::Send(id, bytes),
                cluster::Action::Close(id) => Action::Close(id),
                cluster::Action::Say(level, text) => Action::Say(level, text),
                cluster::Action::Map(map) => Action::Tell(Told::Nodes(NodesTold::Map(map))),
                cluster::Action::Databases(databases) => Action::Tell(Told::Nodes(NodesTold::Databases(databases))),
                cluster::Action::Asked(refreshes) => Action::Tell(Told::Nodes(NodesTold::Asked(refreshes))),
            },
        })
    }

    /// Sends all that is known to these reactors.
    pub fn tell_all(&self, reactors: &[Handle]) {
        match self {
            Machine::Sentinel(watch) => {
                for name in watch.names() {
                    if let Some(place) = watch.address(name) {
                        Told::Moved(name.to_owned(), place.clone()).tell(reactors);
                    }
                    Told::Replicas(name.to_owned(), watch.replicas(name).to_vec()).tell(reactors);
                }
            }
            Machine::Cluster(watch) => {
                if let Some(map) = watch.map() {
                    Told::Nodes(NodesTold::Map(Arc::clone(map))).tell(reactors);
                }
                Told::Nodes(NodesTold::Asked(watch.view().refreshes)).tell(reactors);
                Told::Nodes(NodesTold::Databases(watch.databases().clone())).tell(reactors);
            }
        }
    }

    /// A view for reports.
    pub fn view(&self, now: Millis) -> View {
        match self {
            Machine::Sentinel(watch) => View::Sentinels(watch.view()),
            Machine::Cluster(watch) => {
                let view = watch.view();
                let age_ms = view.told_at.map(|told_at| now - told_at);
                View::Slots(view, age_ms)
            }
        }
    }
}

impl Told {
    /// Sends it to these reactors. Whether a replica is up to date they find out themselves.
    pub fn tell(self, reactors: &[Handle]) {
        for reactor in reactors {
            match &self {
                Told::Moved(name, place) => reactor.moved(name.clone(), address_of(place)),
                Told::Asked(name) => reactor.looked(name.clone()),
                Told::Replicas(name, replicas) => {
                    let replicas = replicas.iter().map(|replica| address_of(&replica.place)).collect();
                    reactor.followed(name.clone(), replicas);
                }
                Told::Nodes(told) => reactor.nodes(told.clone()),
            }
        }
    }
}

fn address_of(place: &HostPort) -> Address {
    Address::Tcp { host: place.host.clone(), port: place.port }
}
