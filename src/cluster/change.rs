//! What the log is told when the map changes: one line, and at most one in [`PAUSE_MS`] unless slots lose their node.
//!
//! ```text
//!   its cluster has 3 masters and 2 replicas for 16384 of 16384 slots, says a:1: 5461 slots from b:1 to its replica
//!   c:1, 10 from a:1 to d:1, and 2 more; d:1 came; b:1 left
//! ```
//!
//! Changes within the pause are gathered: the next line compares with the map of the line before. Nodes are known by
//! their addresses alone; a node that changes its address is one that left and one that came.
//!
//! Bounded: a line names [`NAMED_MAX`] moves and as many nodes that came and that left, however many there are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};
use std::sync::Arc;

use log::Level;

use super::slot::SLOTS;
use super::slot_map::SlotMap;
use crate::timer::Millis;

/// What the log was told last, and what it is still to be told.
#[derive(Debug, Default)]
pub(super) struct ChangeLog {
    /// The map of the last line, and when that was.
    told: Option<(Arc<SlotMap>, Millis)>,
    /// When the next line is due, if there is something for it.
    due_at: Option<Millis>,
    /// Who reported the last map.
    by: String,
}

impl ChangeLog {
    /// The map is this one now, as this node says (`by`). Returns the line for the log, if one is due now.
    pub fn on_map(&mut self, map: &Arc<SlotMap>, by: String, now: Millis) -> Option<(Level, String)> {
        self.by = by;
        let due_at = match &self.told {
            Some((told, at)) if map.covered() >= told.covered() => *at + PAUSE_MS,
            _ => now,
        };
        self.due_at = Some(due_at);
        self.on_time(map, now)
    }

    /// When [`ChangeLog::on_time`] has something to say.
    pub fn next_at(&self) -> Option<Millis> {
        self.due_at
    }

    /// The line that is due; `map` is the present one.
    pub fn on_time(&mut self, map: &Arc<SlotMap>, now: Millis) -> Option<(Level, String)> {
        self.due_at.take_if(|due_at| *due_at <= now)?;
        let before = self.told.replace((Arc::clone(map), now)).map(|(before, _)| before);
        if before.as_ref() == Some(map) {
            // It has changed, and back.
            return None;
        }
        let covered = map.covered();
        let is_worse = covered < SLOTS && before.as_ref().is_none_or(|before| covered != before.covered());
        let level = if is_worse { Level::Warn } else { Level::Info };
        let masters = map.shards().len();
        let replicas: usize = map.shards().iter().map(|shard| shard.replicas.len()).sum();
        let mut text = format!(
            "its cluster has {masters} masters and {replicas} replicas for {covered} of {SLOTS} slots, says {}",
            self.by
        );
        if let Some(before) = before {
            // To write to a string fails never.
            let _ = write_difference(&mut text, &before, map);
        }
        Some((level, text))
    }
}

/// What makes one map another, behind a colon; nothing if that is only ids, or who replicates whom.
fn write_difference(text: &mut String, before: &SlotMap, after: &SlotMap) -> fmt::Result {
    let mut separator = ": ";
    let moves = moves(before, after);
    for (place, ((from, to), count)) in moves.iter().take(NAMED_MAX).enumerate() {
        let slots = match (place, count) {
            (0, 1) => " slot",
            (0, _) => " slots",
            _ => "",
        };
        write!(text, "{separator}{count}{slots} from {} to ", from.map_or(NOBODY, |(master, _)| master))?;
        let is_replica = from.zip(*to).is_some_and(|((_, replicas), to)| replicas.iter().any(|replica| replica == to));
        write!(text, "{}{}", if is_replica { "its replica " } else { "" }, to.unwrap_or(NOBODY))?;
        separator = ", ";
    }
    if moves.len() > NAMED_MAX {
        write!(text, ", and {} more", moves.len() - NAMED_MAX)?;
    }
    if !moves.is_empty() {
        separator = "; ";
    }
    let (old, new) = (nodes(before), nodes(after));
    for (nodes, word) in [(new.difference(&old), "came"), (old.difference(&new), "left")] {
        let nodes: Vec<&str> = nodes.copied().collect();
        if nodes.is_empty() {
            continue;
        }
        write!(text, "{separator}{}", nodes[..nodes.len().min(NAMED_MAX)].join(", "))?;
        if nodes.len() > NAMED_MAX {
            write!(text, " and {} more", nodes.len() - NAMED_MAX)?;
        }
        write!(text, " {word}")?;
        separator = "; ";
    }
    Ok(())
}

/// The owner that slots had, with its replicas, and the one that they have.
type Move<'a> = (Option<(&'a str, &'a [String])>, Option<&'a str>);

/// How many slots went from which node to which, most slots first.
fn moves<'a>(before: &'a SlotMap, after: &'a SlotMap) -> Vec<(Move<'a>, usize)> {
    let mut counts: BTreeMap<Move<'_>, usize> = BTreeMap::new();
    for slot in 0..SLOTS as u16 {
        let shard = |map: &'a SlotMap| map.owner(slot).map(|owner| &map.shards()[owner]);
        let from = shard(before).map(|shard| (&*shard.master, &*shard.replicas));
        let to = shard(after).map(|shard| &*shard.master);
        if from.map(|(master, _)| master) != to {
            *counts.entry((from, to)).or_default() += 1;
        }
    }
    let mut moves: Vec<_> = counts.into_iter().collect();
    moves.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    moves
}

/// The addresses of all nodes.
fn nodes(map: &SlotMap) -> BTreeSet<&str> {
    map.shards().iter().flat_map(|shard| [&shard.master].into_iter().chain(&shard.replicas)).map(|at| &**at).collect()
}

/// The owner of slots that have none.
const NOBODY: &str = "no node";
/// The most moves, and the most nodes of either kind, that one line names.
const NAMED_MAX: usize = 3;
/// From one line to the next, at the least, in milliseconds.
const PAUSE_MS: u64 = 10_000;

#[cfg(test)]
mod tests {
    use super::super::slot_map::{Builder, Shard};
    use super::*;

    /// A map of masters, each with its replicas and its slots from the first to the last one.
    fn map(parts: &[(&str, &[&str], u16, u16)]) -> Arc<SlotMap> {
        let mut builder = Builder::default();
        for &(master, replicas, first, last) in parts {
            let replicas = replicas.iter().map(|&replica| replica.to_owned()).collect();
            let shard = Shard { id: format!("id-{master}"), master: master.to_owned(), replicas };
            let number = builder.shard(shard).expect("few nodes");
            builder.give(first, last, number);
        }
        Arc::new(builder.build())
    }

    fn difference(before: &SlotMap, after: &SlotMap) -> String {
        let mut text = String::new();
        write_difference(&mut text, before, after).expect("a string takes all");
        text
    }

    #[test]
    fn who_gave_slots_to_whom_is_told_the_most_first() {
        let before = map(&[("a:1", &["c:1"], 0, 8_191), ("b:1", &[], 8_192, 16_383)]);
        let after = map(&[("a:1", &["c:1"], 1, 8_192), ("b:1", &[], 8_193, 16_300), ("b:1", &[], 0, 0)]);
        assert_eq!(difference(&before, &before), "");
        let all = ": 83 slots from b:1 to no node, 1 from a:1 to b:1, 1 from b:1 to a:1";
        assert_eq!(difference(&before, &after), all);
        let failover = map(&[("c:1", &[], 0, 8_191), ("b:1", &["d:1"], 8_192, 16_383)]);
        assert_eq!(difference(&before, &failover), ": 8192 slots from a:1 to its replica c:1; d:1 came; a:1 left");
        let one = map(&[("a:1", &["c:1"], 0, 8_190), ("b:1", &[], 8_191, 16_383)]);
        assert_eq!(difference(&before, &one), ": 1 slot from a:1 to b:1");
        assert_eq!(difference(&before, &map(&[("a:1", &[], 0, 8_191), ("b:1", &["c:1"], 8_192, 16_383)])), "");
    }

    #[test]
    fn a_line_names_few_of_many() {
        let names: Vec<String> = (0..1_000).map(|number| format!("n{number:03}:1")).collect();
        let parts: Vec<(&str, &[&str], u16, u16)> = names
            .iter()
            .zip(0..)
            .map(|(name, place)| (&**name, &[][..], place * 16, place * 16 + place.min(15)))
            .collect();
        let before = map(&[("a:1", &[], 0, 16_383)]);
        let text = difference(&before, &map(&parts[..5]));
        let expected = ": 16369 slots from a:1 to no node, 5 from a:1 to n004:1, 4 from a:1 to n003:1, and 3 more; \
                        n000:1, n001:1, n002:1 and 2 more came; a:1 left";
        assert_eq!(text, expected);
        assert!(difference(&before, &map(&parts)).len() < 250);
    }

    #[test]
    fn changes_that_follow_each_other_are_told_together_and_slots_that_are_lost_at_once() {
        let moved = |count: u16| map(&[("a:1", &[], 0, 8_191 - count), ("b:1", &[], 8_192 - count, 16_383)]);
        let maps: Vec<_> = (0..20).map(moved).collect();
        let mut log = ChangeLog::default();
        let mut lines = Vec::new();
        for (second, map) in (0..).zip(&maps) {
            let now = Millis(1_000 * second);
            lines.extend(log.on_map(map, "a:1".to_owned(), now).map(|line| (second, line)));
        }
        assert_eq!(lines.iter().map(|line| line.0).collect::<Vec<_>>(), [0, 10]);
        let told = lines.iter().map(|line| line.1.clone());
        let head = "its cluster has 2 masters and 0 replicas for 16384 of 16384 slots, says a:1";
        let expected = [head.to_owned(), format!("{head}: 10 slots from a:1 to b:1")].map(|text| (Level::Info, text));
        assert_eq!(told.collect::<Vec<_>>(), expected);
        assert_eq!(log.next_at(), Some(Millis(20_000)));
        let rest = log.on_time(&maps[19], Millis(20_000)).expect("it is due");
        assert_eq!(rest.1, format!("{head}: 9 slots from a:1 to b:1"));
        assert_eq!((log.next_at(), log.on_time(&maps[19], Millis(90_000))), (None, None));
        // Lost, back, and lost again.
        let half = map(&[("a:1", &[], 0, 8_191)]);
        let line = log.on_map(&half, "a:1".to_owned(), Millis(21_000)).expect("at once");
        assert_eq!(line.0, Level::Warn);
        assert!(line.1.ends_with("from b:1 to no node, 19 from b:1 to a:1; b:1 left"), "{}", line.1);
        assert_eq!(log.on_map(&maps[19], "a:1".to_owned(), Millis(22_000)), None);
        assert_eq!(log.on_map(&half, "a:1".to_owned(), Millis(23_000)), None);
        assert_eq!((log.next_at(), log.on_time(&half, Millis(31_000))), (Some(Millis(31_000)), None));
    }
}
