//! The types between the state machine and its shell: its settings, its actions, and a view for reports.

use std::collections::BTreeMap;
use std::sync::Arc;

use log::Level;

use super::schedule::{Cause, Outcome, RefreshCause};
use super::slot_map::SlotMap;
use crate::link::{HostPort, LinkId};
use crate::timer::Millis;
use crate::users::Credentials;

/// The settings of a pool that its watch needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The pool's name in the log.
    pub pool: String,
    /// The nodes that the configuration names; at least one.
    pub seeds: Vec<HostPort>,
    /// User and password for the nodes.
    pub credentials: Option<Credentials>,
}

/// What the shell must do.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Resolve the name of this node, report that ([`Watch::handle_found`](super::Watch::handle_found)), and connect.
    Connect(LinkId, HostPort),
    /// Send these bytes on this connection.
    Send(LinkId, Vec<u8>),
    /// Close this connection.
    Close(LinkId),
    /// Hand this map to all reactors.
    Map(Arc<SlotMap>),
    /// Hand what nodes say about databases to all reactors.
    Databases(Databases),
    /// Hand the number of rounds, by cause and outcome, to all reactors.
    Asked(Arc<Refreshes>),
    /// Log this text.
    Say(Level, String),
}

/// Whether clients may select another database than 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Databases {
    /// No node has said so yet.
    #[default]
    Unknown,
    /// They may (Valkey 9 with `cluster-databases` above 1).
    Several,
    /// They may not: the error reply of a node, with its line end.
    One(Arc<[u8]>),
}

/// The number of rounds, by cause and outcome.
pub type Refreshes = BTreeMap<(Cause, Outcome), u64>;

/// What reports show: metrics, status page, `-test`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// The present map; `None` until the first answer is accepted.
    pub map: Option<Arc<SlotMap>>,
    /// The number of known nodes, masters and replicas.
    pub nodes: usize,
    /// When an answer was last accepted, on the watch's clock.
    pub told_at: Option<Millis>,
    /// The number of rounds.
    pub refreshes: Arc<Refreshes>,
    /// Why the last round failed; `None` if it did not.
    pub problem: Option<String>,
}

impl Cause {
    /// All of them, with their names in metrics and reports.
    pub const NAMES: [(&str, Cause); 6] = [
        ("start", Cause::Start),
        ("time", Cause::Time),
        ("moved", Cause::Core(RefreshCause::Moved)),
        ("lost", Cause::Core(RefreshCause::Lost)),
        ("down", Cause::Core(RefreshCause::Down)),
        ("same_address", Cause::Core(RefreshCause::SameAddress)),
    ];
}

impl Outcome {
    /// All of them, with their names in metrics and reports.
    pub const NAMES: [(&str, Outcome); 3] =
        [("changed", Outcome::Changed), ("unchanged", Outcome::Unchanged), ("failed", Outcome::Failed)];
}
