//! A model cluster: who has which slot, as each node sees it, while slots move from node to node.
//!
//! ```text
//!   begin     the owner is MIGRATING, the other one IMPORTING: what is not there any more is ASKed for elsewhere
//!   progress  key by key, each at once: a key is here or there, and so is one that nobody has written yet
//!   end       first the new owner knows, then the old one, then one by one all others, who say MOVED to the old one
//!             until then
//!   failover  all slots of a node are another one's at once, with all that is in them
//! ```
//!
//! A node says what Redis says (getNodeByQuery). What moves is chosen among the slots that were asked for of late.

use std::collections::BTreeMap;

use rmux::cluster::{Builder, SLOTS, Shard, SlotMap, slot_of};

use crate::history::Token;
use crate::lists::Lists;
use crate::plan::name;
use crate::random::Random;
use crate::server::Server;

/// A slot on its way.
struct Move {
    from: usize,
    to: usize,
    /// So many of a hundred keys are there.
    percent: usize,
}

pub struct Cluster {
    /// Who has which slot, as each node sees it.
    views: Vec<Vec<u16>>,
    /// The truth.
    owners: Vec<u16>,
    moves: BTreeMap<u16, Move>,
    /// When each slot was last on its way. One that is on its way again soon after that may be given what ASK said of
    /// the time before, and has no means to know.
    moved_at: BTreeMap<u16, u64>,
    /// Slots that were asked for of late.
    asked: Vec<u16>,
    /// Until then the nodes say that the cluster is down.
    down_until: u64,
    /// A slot begins to move in one step in so many; 0 for never.
    reshard_in: usize,
    is_calm: bool,
    random: Random,
}

/// So many of them are remembered.
const ASKED_MAX: usize = 40;

impl Cluster {
    /// So many nodes, some of which have no slots.
    pub fn new(nodes: usize, reshard_in: usize, is_calm: bool, mut random: Random) -> Cluster {
        let masters = random.between(1, nodes);
        let owners: Vec<u16> = (0..SLOTS).map(|slot| (slot * masters / SLOTS) as u16).collect();
        let views = vec![owners.clone(); nodes];
        Cluster {
            views,
            owners,
            moves: BTreeMap::new(),
            moved_at: BTreeMap::new(),
            asked: Vec::new(),
            down_until: 0,
            reshard_in,
            is_calm,
            random,
        }
    }

    /// The error with which a node refuses a request with these keys; `None` if it runs it.
    pub fn refuse(&mut self, node: usize, keys: &[&[u8]], is_asking: bool, now: u64) -> Option<String> {
        let slot = slot_of(keys.first()?);
        let refusal = self.refuse_or_queue(node, keys, is_asking, now);
        let is_importing = self.moves.get(&slot).is_some_and(|one| one.to == node);
        if refusal.is_none() && is_importing && usize::from(self.views[node][usize::from(slot)]) != node {
            // Two different keys of which one is missing are refused; a single one would be written here while it is
            // there: nobody may send it.
            let percent = self.moves[&slot].percent;
            let is_here = keys.iter().all(|key| is_moved(key, percent));
            assert!(is_here, "node {node} is asked for a key of slot {slot} that it does not have yet");
        }
        refusal
    }

    /// The same for a step of a transaction, which is not run before all of them are there.
    pub fn refuse_or_queue(&mut self, node: usize, keys: &[&[u8]], is_asking: bool, now: u64) -> Option<String> {
        let slot = slot_of(keys.first()?);
        assert!(keys.iter().all(|key| slot_of(key) == slot), "node {node} is sent keys of several slots");
        if !self.asked.contains(&slot) {
            self.asked.push(slot);
            if self.asked.len() > ASKED_MAX {
                self.asked.remove(0);
            }
        }
        if now < self.down_until {
            return Some("CLUSTERDOWN The cluster is down".to_string());
        }
        let owner = usize::from(self.views[node][usize::from(slot)]);
        let moved = self.moves.get(&slot);
        let there = |one: &Move| keys.iter().filter(|key| is_moved(key, one.percent)).count();
        match moved {
            Some(one) if one.from == node && owner == node => match there(one) {
                0 => None,
                there if there == keys.len() => Some(format!("ASK {slot} {}", name(one.to))),
                _ => Some("TRYAGAIN Multiple keys request during rehashing of slot".to_string()),
            },
            Some(one) if one.to == node && owner != node && is_asking => match keys.len() - there(one) {
                0 => None,
                _ if keys.iter().all(|key| *key == keys[0]) => None,
                _ => Some("TRYAGAIN Multiple keys request during rehashing of slot".to_string()),
            },
            _ if owner == node => None,
            _ => Some(format!("MOVED {slot} {}", name(owner))),
        }
    }

    /// The error with which a node tells somebody that waits for data of these keys that it waits there no longer.
    pub fn unblock(&self, node: usize, keys: &[&[u8]], now: u64) -> Option<String> {
        let slot = slot_of(keys.first()?);
        if now < self.down_until {
            return Some("CLUSTERDOWN The cluster is down".to_string());
        }
        let owner = usize::from(self.views[node][usize::from(slot)]);
        let is_importing = self.moves.get(&slot).is_some_and(|one| one.to == node);
        (owner != node && !is_importing).then(|| format!("MOVED {slot} {}", name(owner)))
    }

    /// A step passes.
    pub fn act(&mut self, servers: &mut [Server], lists: &mut Lists, now: u64, is_ending: bool) {
        self.converge();
        let slots: Vec<u16> = self.moves.keys().copied().collect();
        for slot in slots {
            if self.random.one_in(3) {
                self.go_on(slot, servers, lists);
                self.moved_at.insert(slot, now);
            }
        }
        if is_ending || !self.random.one_in(self.reshard_in) {
            return;
        }
        match self.random.below(12) {
            0 => self.fail_over(servers, lists),
            1 if now < self.down_until + 1_000 => {}
            1 if self.is_calm => self.down_until = now + self.random.below(150) as u64,
            1 => self.down_until = now + self.random.below(1_500) as u64,
            _ => self.begin(now),
        }
    }

    fn begin(&mut self, now: u64) {
        if self.asked.is_empty() {
            return;
        }
        let slot = self.random.pick(&self.asked);
        if self.moved_at.get(&slot).is_some_and(|&at| !self.is_calm || now < at + 3_000) {
            return;
        }
        let (from, to) = (usize::from(self.owners[usize::from(slot)]), self.random.below(self.views.len()));
        // A node that does not know yet that it has it does not give it away.
        let knows = usize::from(self.views[from][usize::from(slot)]) == from;
        if from != to && knows && !self.moves.contains_key(&slot) {
            trace!("slot {slot} moves from node {from} to node {to}");
            self.moves.insert(slot, Move { from, to, percent: 0 });
        }
    }

    fn go_on(&mut self, slot: u16, servers: &mut [Server], lists: &mut Lists) {
        let Some(one) = self.moves.get_mut(&slot) else { return };
        let before = one.percent;
        one.percent = (before + self.random.between(1, 60)).min(101);
        let percent = one.percent.min(100);
        let (from, to) = (one.from, one.to);
        hand_over(servers, (from, to), lists, |key| slot_of(key) == slot && is_moved(key, percent));
        if before < 100 {
            return;
        }
        trace!("slot {slot} is node {to}'s");
        self.owners[usize::from(slot)] = to as u16;
        self.views[to][usize::from(slot)] = to as u16;
        if self.views[from][usize::from(slot)] == to as u16 {
            self.moves.remove(&slot);
        }
    }

    /// Nodes hear from each other.
    fn converge(&mut self) {
        for (node, view) in self.views.iter_mut().enumerate() {
            if self.random.one_in(2) || *view == self.owners {
                continue;
            }
            for (slot, owner) in self.owners.iter().enumerate() {
                if view[slot] != *owner {
                    view[slot] = *owner;
                    let is_source = self.moves.get(&(slot as u16)).is_some_and(|one| one.from == node);
                    if is_source && self.moves[&(slot as u16)].to == usize::from(*owner) {
                        self.moves.remove(&(slot as u16));
                    }
                }
            }
        }
    }

    /// All slots of a node are another one's.
    fn fail_over(&mut self, servers: &mut [Server], lists: &mut Lists) {
        let (from, to) = (self.random.below(self.views.len()), self.random.below(self.views.len()));
        let is_involved = |one: &Move| [one.from, one.to].contains(&from) || [one.from, one.to].contains(&to);
        let knows = self.owners == self.views[from] && self.owners == self.views[to];
        let is_empty = !self.owners.contains(&(to as u16));
        if from == to || self.moves.values().any(is_involved) || !knows || !is_empty {
            return;
        }
        trace!("node {to} has all slots of node {from}");
        hand_over(servers, (from, to), lists, |_| true);
        for slot in 0..SLOTS {
            if self.owners[slot] == from as u16 {
                self.owners[slot] = to as u16;
                self.views[to][slot] = to as u16;
                self.views[from][slot] = to as u16;
            }
        }
    }

    /// All nodes agree, and nothing moves.
    pub fn is_settled(&self) -> bool {
        self.moves.is_empty() && self.views.iter().all(|view| *view == self.owners)
    }

    /// What a node tells who has which slot.
    pub fn map(&mut self) -> SlotMap {
        let node = self.random.below(self.views.len());
        let mut builder = Builder::default();
        let mut first = 0;
        for run in self.views[node].chunk_by(|one, next| one == next) {
            let owner = run[0];
            let shard = Shard { id: format!("id-{owner}"), master: name(owner.into()), replicas: Vec::new() };
            let number = builder.shard(shard).expect("few nodes");
            let last = first + run.len() as u16 - 1;
            builder.give(first, last, number);
            first = last.wrapping_add(1);
        }
        builder.build()
    }
}

fn hand_over(servers: &mut [Server], (from, to): (usize, usize), lists: &mut Lists, is_it: impl Fn(&[u8]) -> bool) {
    let taken = servers[from].store_mut().take(&is_it);
    servers[to].store_mut().put_all(taken);
    let taken = servers[from].store_mut().shelf.take(is_it);
    for value in taken.iter().flat_map(|(_, values)| values) {
        lists.hand_over(Token::of_value(value).expect("only values with a token are pushed"), from, to);
    }
    servers[to].store_mut().shelf.put_all(taken);
}

/// Whether a key is at the new owner, when so many of a hundred are.
fn is_moved(key: &[u8], percent: usize) -> bool {
    let hash = key.iter().fold(7_usize, |hash, &byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    hash % 100 < percent
}
