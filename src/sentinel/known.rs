//! What is known of each sentinel and of each master.
//!
//! Knows no rules: what follows from it is the business of `watch` and `vote`.

use super::answer::Replica;
use super::question::{PATIENCE, Question};
use crate::link::{HostPort, Link};
use crate::timer::Millis;

/// What a sentinel says of a master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Vote {
    /// Nothing, or nothing that counts any more.
    None,
    /// That it does not know it.
    Unknown,
    /// That it is there.
    At(HostPort),
}

#[derive(Debug)]
pub(super) struct Sentinel {
    pub place: HostPort,
    pub is_configured: bool,
    /// Its own name, once it has told it.
    pub own_id: Option<String>,
    /// Where it turned out to be, if its place is a name.
    pub peer: Option<String>,
    pub ask: Link<Question>,
    pub hear: Link<Question>,
    pub is_tilted: bool,
    /// By the places of the masters.
    pub votes: Vec<Vote>,
    /// Why it was last lost.
    pub why: String,
    /// When it last answered, or another one told of it.
    pub known_at: Millis,
}

#[derive(Debug)]
pub(super) struct Master {
    pub name: String,
    pub current: Option<HostPort>,
    /// When somebody last had reason to think that it is not there any more.
    pub hinted_at: Option<Millis>,
    /// Whether whoever hinted waits for an answer.
    pub awaited: Awaited,
    pub replicas: Vec<Replica>,
    /// What the log was told last.
    pub told: Told,
}

/// Whether somebody waits for the answer of the next round, or of the one that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    No,
    Next,
    Now,
}

/// What is wrong, as far as the log was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    Nothing,
    Unreachable,
    Unknown,
    Divided(HostPort),
}

impl Master {
    pub fn new(name: String) -> Master {
        Master { name, current: None, hinted_at: None, awaited: Awaited::No, replicas: Vec::new(), told: Told::Nothing }
    }

    /// Whether there is reason to think that it is not where it was.
    pub fn is_failing(&self, now: Millis) -> bool {
        self.hinted_at.is_some_and(|hinted_at| now - hinted_at < FAILING_MS)
    }
}

impl Sentinel {
    pub fn new(place: HostPort, is_configured: bool, masters: usize, now: Millis) -> Sentinel {
        Sentinel {
            place,
            is_configured,
            own_id: None,
            peer: None,
            ask: Link::new(&PATIENCE, now),
            hear: Link::new(&PATIENCE, now),
            is_tilted: false,
            votes: vec![Vote::None; masters],
            why: String::new(),
            known_at: now,
        }
    }
}

/// So long after a hint there is reason to think that a master is gone, in milliseconds: while it is, hints come with
/// each attempt to connect.
const FAILING_MS: u64 = 3_000;
