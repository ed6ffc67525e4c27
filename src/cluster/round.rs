//! One round: who of the nodes is asked, one after the other, until one of them is believed.
//!
//! ```text
//!   some of the known nodes, by chance ─► nobody of the known cluster has answered ─► the seeds, by chance
//!      └─ an answer that there is reason to doubt is kept; the next one may be better, or the best of them is taken
//! ```
//!
//! Knows no connections and no time. Invariant: nobody is asked twice; no more than [`TRIES_MAX`] known nodes are
//! tried, and as many seeds, and no more than [`ANSWERS_MAX`] answers of either are kept.

use std::cmp::Reverse;

use super::answer::{Found, Health};
use super::schedule::Cause;
use crate::link::HostPort;

/// What a node has answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub by: HostPort,
    /// Whether the user names it.
    pub is_seed: bool,
    pub found: Found,
    pub health: Health,
}

/// What there is to be held against an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doubt {
    /// No slot has an owner.
    Empty,
    /// Not one of its nodes is known.
    Foreign,
    /// It is of a node that does not serve, or that has missed what others know.
    Behind,
    /// Fewer slots have owners than are known to.
    Lesser,
}

/// A round.
#[derive(Debug)]
pub(super) struct Round {
    pub cause: Cause,
    /// Who is still to be asked, the next one last.
    rest: Vec<HostPort>,
    tried: Vec<HostPort>,
    has_seeds: bool,
    /// How many answers of the present kind of nodes there were.
    answers: usize,
    doubtful: Vec<(Doubt, Answer)>,
}

impl Round {
    /// One that asks these first, in an order by chance. Without any, it is to begin with seeds.
    pub fn new(cause: Cause, known: impl Iterator<Item = HostPort>, random_below: impl FnMut(u64) -> u64) -> Round {
        let rest = some(known.collect(), random_below);
        Round { cause, rest, tried: Vec::new(), has_seeds: false, answers: 0, doubtful: Vec::new() }
    }

    /// The next one to be asked. `None` if there is none of these; then [`Round::turn_to_seeds`] may help.
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

    /// Those that the user names are to be asked now. False if they were, or if somebody of the known cluster has
    /// answered: then seeds would tell nothing that is more to be believed.
    pub fn turn_to_seeds(&mut self, seeds: &[HostPort], random_below: impl FnMut(u64) -> u64) -> bool {
        let is_of_it = |doubt: &Doubt| !matches!(doubt, Doubt::Foreign | Doubt::Empty);
        if self.has_seeds || self.doubtful.iter().any(|(doubt, _)| is_of_it(doubt)) {
            return false;
        }
        (self.has_seeds, self.answers) = (true, 0);
        self.rest = some(seeds.to_vec(), random_below);
        true
    }

    /// How many nodes were tried.
    pub fn tries(&self) -> usize {
        self.tried.len()
    }

    /// An answer that may be wrong; these are to be asked first, who know better.
    pub fn on_doubtful(&mut self, doubt: Doubt, answer: Answer, better: Vec<HostPort>) {
        self.answers += 1;
        self.doubtful.push((doubt, answer));
        self.rest.extend(better.into_iter().take(ANSWERS_MAX));
    }

    /// There is nobody left to be asked: the best of the answers, if any of them can be believed. A cluster without
    /// slots is none, and another one than is known must be the user's own choice.
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

/// Some of these, in an order by chance.
fn some(mut places: Vec<HostPort>, mut random_below: impl FnMut(u64) -> u64) -> Vec<HostPort> {
    let count = places.len().min(TRIES_MAX);
    for at in 0..count {
        let other = at + random_below((places.len() - at) as u64) as usize;
        places.swap(at, other);
    }
    places.truncate(count);
    places
}

/// So many known nodes are tried in one round, and as many seeds: where eight by chance do not answer, most do not.
const TRIES_MAX: usize = 8;
/// So many answers are enough, even where there is reason to doubt each.
const ANSWERS_MAX: usize = 3;
