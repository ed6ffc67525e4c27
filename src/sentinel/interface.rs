//! The words in which the machine talks to its shell: what it is told at its start, what is to be done, what there is
//! to show.

use log::Level;

use super::answer::Replica;
use crate::link::{HostPort, LinkId};
use crate::users::Credentials;

/// What it is told about a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The sentinels that the user names; at least one.
    pub sentinels: Vec<HostPort>,
    /// The names of the masters, each once.
    pub masters: Vec<String>,
    /// Who rmux is to the sentinels.
    pub credentials: Option<Credentials>,
    /// Whether the replicas of the masters are asked for, too.
    pub wants_replicas: bool,
}

/// What is to be done by the shell.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Connect to this sentinel.
    Connect(LinkId, HostPort),
    /// Send this.
    Send(LinkId, Vec<u8>),
    /// Close this.
    Close(LinkId),
    /// A master is there from now on.
    Moved(String, HostPort),
    /// It was asked about this master, and all is as it was.
    Asked(String),
    /// These follow a master from now on.
    Replicas(String, Vec<Replica>),
    /// Log this.
    Say(Level, String),
}

/// A sentinel, as it is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SentinelView {
    /// Where it is.
    pub address: String,
    /// Whether it answers.
    pub is_up: bool,
    /// Whether its clock has jumped, and its word does not count.
    pub is_tilted: bool,
}
