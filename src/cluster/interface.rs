//! The words in which the machine talks to its shell: what it is told at its start, what is to be done, what there is
//! to show.

use std::collections::BTreeMap;
use std::sync::Arc;

use log::Level;

use super::schedule::{Cause, Outcome, RefreshCause};
use super::slot_map::SlotMap;
use crate::link::{HostPort, LinkId};
use crate::timer::Millis;
use crate::users::Credentials;

/// What it is told about a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What the pool is called in the log.
    pub pool: String,
    /// The nodes that the user names; at least one.
    pub seeds: Vec<HostPort>,
    /// Who rmux is to the nodes.
    pub credentials: Option<Credentials>,
}

/// What is to be done by the shell.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Look up where this node is, say so ([`Watch::handle_found`](super::Watch::handle_found)), and connect to it.
    Connect(LinkId, HostPort),
    /// Send this.
    Send(LinkId, Vec<u8>),
    /// Close this.
    Close(LinkId),
    /// This holds from now on.
    Map(Arc<SlotMap>),
    /// Log this.
    Say(Level, String),
}

/// What there is to show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// Who has which slot; `None` as long as nobody has said so.
    pub map: Option<Arc<SlotMap>>,
    /// How many nodes are known, masters and replicas.
    pub nodes: usize,
    /// When a node that is believed has last said so, by the clock of the machine.
    pub told_at: Option<Millis>,
    /// How often nodes were asked, by the reason, and by what came of it.
    pub refreshes: BTreeMap<(Cause, Outcome), u64>,
    /// Why nobody could be asked, or was believed, the last time.
    pub problem: Option<String>,
}

impl Cause {
    /// All of them, with the names that people are shown.
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
    /// All of them, with the names that people are shown.
    pub const NAMES: [(&str, Outcome); 3] =
        [("changed", Outcome::Changed), ("unchanged", Outcome::Unchanged), ("failed", Outcome::Failed)];
}
