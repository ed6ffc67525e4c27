//! One round: nodes are asked one after the other until an answer is accepted.
//!
//! ```text
//!   some of the known nodes, in random order ─► none of them answered ─► the seeds, in random order
//!      └─ a doubtful answer is kept: the next node may give a better one, else the best of them is taken
//! ```
//!
//! Knows no connections and no time. Invariant: no node is asked twice; at most [`TRIES_MAX`] known nodes and as many
//! seeds are tried, and at most [`ANSWERS_MAX`] answers of either are kept.

use std::cmp::Reverse;

use super::answer::{Found, Health};
use super::interface::Databases;
use super::schedule::Cause;
use crate::link::HostPort;

/// The answer of a node.
#[derive(Debug)]
pub(super) struct Answer {
    pub by: HostPort,
    /// Whether the configuration names it.
    pub is_seed: bool,
    pub found: Found,
    pub health: Health,
    /// What it says to `SELECT 1`, if it was asked.
    pub databases: Databases,
}

/// Why an answer is doubtful.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doubt {
    /// No slot has an owner in it.
    Empty,
    /// It names none of the known nodes.
    Foreign,
    /// Its node reports `cluster_state:fail`, or an epoch older than the known one.
    Behind,
    /// It covers fewer slots than the present map.
    Lesser,
}

/// A round.
#[derive(Debug)]
pub(super) struct Round {
    pub cause: Cause,
    /// The nodes still to ask, the next one last.
    rest: Vec<HostPort>,
    tried: Vec<HostPort>,
    has_seeds: bool,
    /// The number of answers of the present kind of nodes: known ones, then seeds.
    answers: usize,
    doubtful: Vec<(Doubt, Answer)>,
}

impl Round {
    /// A round that asks some of these nodes first, in random order.
    pub fn new(cause: Cause, known: impl Iterator<Item = HostPort>, random_below: impl FnMut(u64) -> u64) -> Round {
        let rest = some(known.collect(), random_below);
        Round { cause, rest, tried: Vec::new(), has_seeds: false, answers: 0, doubtful: Vec::new() }
    }

    /// The next node to ask. `None` if there is none left; then [`Round::turn_to_seeds`] may add some.
    pub fn next(&mut self) -> Option<HostPort> {
        if self.answers >= ANSWERS_MAX {
            return None;
        }
        loop {
            let place = self.rest.pop()?;
            if !self.tried.contains(&place) {
                self.tried.push(place.clone());
                return Some(place);
            }
        }
    }

    /// Goes on with the seeds. False if they were asked already, or if a node of the known cluster has answered: then
    /// seeds have nothing better to offer.
    pub fn turn_to_seeds(&mut self, seeds: &[HostPort], random_below: impl FnMut(u64) -> u64) -> bool {
        let is_of_it = |doubt: &Doubt| !matches!(doubt, Doubt::Foreign | Doubt::Empty);
        if self.has_seeds || self.doubtful.iter().any(|(doubt, _)| is_of_it(doubt)) {
            return false;
        }
        (self.has_seeds, self.answers) = (true, 0);
        self.rest = some(seeds.to_vec(), random_below);
        true
    }

    /// The number of nodes tried.
    pub fn tries(&self) -> usize {
        self.tried.len()
    }

    /// A doubtful answer; the nodes in `better` are asked next.
    pub fn on_doubtful(&mut self, doubt: Doubt, answer: Answer, better: Vec<HostPort>) {
        self.answers += 1;
        self.doubtful.push((doubt, answer));
        self.rest.extend(better.into_iter().take(ANSWERS_MAX));
    }

    /// No node is left: the best of the doubtful answers. Never one without any slot, and one of another cluster only
    /// from a seed, since then the configuration has chosen it. The error is the first doubt.
    pub fn best(self) -> Result<(Doubt, Answer), Option<Doubt>> {
        let first = self.doubtful.first().map(|(doubt, _)| *doubt);
        let can_be = |(doubt, answer): &(Doubt, Answer)| match doubt {
            Doubt::Empty => false,
            Doubt::Foreign => answer.is_seed,
            Doubt::Behind | Doubt::Lesser => true,
        };
        let rank = |(doubt, answer): &(Doubt, Answer)| {
            let Answer { found, health, .. } = answer;
            (*doubt == Doubt::Foreign, health.is_failing, Reverse((health.epoch, found.map.covered())))
        };
        self.doubtful.into_iter().filter(can_be).min_by_key(rank).ok_or(first)
    }
}

/// At most `TRIES_MAX` of these, in random order.
fn some(mut places: Vec<HostPort>, mut random_below: impl FnMut(u64) -> u64) -> Vec<HostPort> {
    let count = places.len().min(TRIES_MAX);
    for at in 0..count {
        let other = at + random_below((places.len() - at) as u64) as usize;
        places.swap(at, other);
    }
    places.truncate(count);
    places
}

/// The known nodes tried in one round, and the seeds: where eight random ones do not answer, most do not.
const TRIES_MAX: usize = 8;
/// This many answers are enough, even if each is doubtful.
const ANSWERS_MAX: usize = 3;
