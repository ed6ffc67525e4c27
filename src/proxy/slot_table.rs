//! The owner of each slot of a cluster: what the router uses instead of a ring.
//!
//! ```text
//!   key ─► slot ─► owners[slot]: a place among the servers ─► its server, or none
//! ```
//!
//! The hash of a key in a cluster has its slot in the lowest bits, and bits of another hash above, so that comparisons
//! of hashes rarely confuse two keys of one slot.
//!
//! Knows places only: no servers, no health. Invariants: an owner is a place of the servers that there are, or
//! [`NOBODY`]; `parts` holds [`NO_PART`] for every slot but while a request is taken apart; the bit of a slot is set
//! exactly while it is in `half_moved`.

use std::collections::BTreeMap;

use crate::cluster::{self, SLOTS};
use crate::ring::Ring;
use crate::timer::Millis;

/// The owner of a slot that has none.
const NOBODY: u16 = u16::MAX;
/// The part of a slot that has none.
const NO_PART: u16 = u16::MAX;
/// So many bits are in a word.
const BITS: usize = u64::BITS as usize;
/// A slot takes so many bits.
const SLOT_BITS: u32 = SLOTS.trailing_zeros();
/// What stands above the slot in the hash of several keys.
const OF_SEVERAL: u32 = u32::MAX << SLOT_BITS;

/// The hash of a key: its slot, and bits of another hash above it.
#[inline]
pub(super) fn hash_of(key: &[u8]) -> u32 {
    u32::from(cluster::slot_of(key)) | Ring::hash(key) << SLOT_BITS
}

/// The hash of a request with several keys of one slot; `hash` is that of one of them. A single key may have the same.
pub(super) fn hash_of_several(hash: u32) -> u32 {
    u32::from(slot_in(hash)) | OF_SEVERAL
}

/// Whether a hash may be that of several keys; by chance, a single key has one like it.
pub(super) fn is_of_several(hash: u32) -> bool {
    hash >= OF_SEVERAL
}

/// The slot in a hash.
#[inline]
pub(super) fn slot_in(hash: u32) -> u16 {
    (hash & (SLOTS as u32 - 1)) as u16
}

/// The owner of each slot.
#[derive(Debug)]
pub(super) struct SlotTable {
    owners: Box<[u16]>,
    /// Slots of which only some keys have moved, each until when that is assumed; and a bit for each of them.
    half_moved: BTreeMap<u16, Millis>,
    half_moved_bits: Box<[u64]>,
    /// The part of each slot in the request that is being split.
    parts: Box<[u16]>,
    /// True once a map was received.
    is_known: bool,
}

impl SlotTable {
    /// A table without owners.
    pub fn new() -> SlotTable {
        SlotTable {
            owners: vec![NOBODY; SLOTS].into(),
            half_moved: BTreeMap::new(),
            half_moved_bits: vec![0; SLOTS / BITS].into(),
            parts: vec![NO_PART; SLOTS].into(),
            is_known: false,
        }
    }

    /// Whether a map was received; until then any server is asked, and redirects to the owner.
    #[inline]
    pub fn is_known(&self) -> bool {
        self.is_known
    }

    /// The place of the slot's owner.
    #[inline]
    pub fn owner(&self, slot: u16) -> Option<usize> {
        let owner = self.owners[usize::from(slot)];
        (owner != NOBODY).then_some(usize::from(owner))
    }

    /// The places of all slots that have an owner, slot by slot.
    pub fn owners(&self) -> impl Iterator<Item = usize> {
        self.owners.iter().filter(|owner| **owner != NOBODY).map(|&owner| usize::from(owner))
    }

    /// A node has said that this slot is half moved; that is assumed until `until`.
    pub fn on_half_moved(&mut self, slot: u16, until: Millis) {
        self.half_moved.insert(slot, until);
        self.half_moved_bits[usize::from(slot) / BITS] |= 1 << (usize::from(slot) % BITS);
    }

    /// False if this slot is not half moved; else `is_half_moved` decides.
    #[inline]
    pub fn may_be_half_moved(&self, slot: u16) -> bool {
        self.half_moved_bits[usize::from(slot) / BITS] >> (usize::from(slot) % BITS) & 1 == 1
    }

    /// Whether this slot is half moved. Forgets it when the time is over.
    #[cold]
    pub fn is_half_moved(&mut self, slot: u16, now: Millis) -> bool {
        let is_so = self.half_moved.get(&slot).is_some_and(|&until| until > now);
        if !is_so {
            self.half_moved.remove(&slot);
            self.half_moved_bits[usize::from(slot) / BITS] &= !(1 << (usize::from(slot) % BITS));
        }
        is_so
    }

    /// Sets all owners. For each slot whose owner changes, `on_other` gets the owner before and after.
    pub fn set_owners(
        &mut self,
        owner_of: impl Fn(u16) -> Option<usize>,
        mut on_other: impl FnMut(Option<usize>, Option<usize>),
    ) {
        self.is_known = true;
        for (slot, owner) in (0..).zip(self.owners.iter_mut()) {
            let now = owner_of(slot);
            let before = std::mem::replace(owner, now.map_or(NOBODY, |place| place as u16));
            if *owner != before {
                on_other((before != NOBODY).then_some(usize::from(before)), now);
            }
        }
    }

    /// Gives the slot to the server in this place; returns the owner before.
    pub fn set_owner(&mut self, slot: u16, place: usize) -> Option<usize> {
        let before = std::mem::replace(&mut self.owners[usize::from(slot)], place as u16);
        (before != NOBODY).then_some(usize::from(before))
    }

    /// The places of servers have changed: `moved` has the new place for each old one.
    pub fn move_places(&mut self, moved: &[Option<usize>]) {
        for owner in self.owners.iter_mut().filter(|owner| **owner != NOBODY) {
            *owner = moved.get(usize::from(*owner)).copied().flatten().map_or(NOBODY, |place| place as u16);
        }
    }

    /// The part of this slot; made by `add` if it has none yet.
    #[inline]
    pub fn part_for(&mut self, slot: u16, add: impl FnOnce() -> u16) -> u16 {
        let part = &mut self.parts[usize::from(slot)];
        if *part == NO_PART {
            *part = add();
        }
        *part
    }

    /// Forgets the part of this slot.
    pub fn forget_part(&mut self, slot: u16) {
        self.parts[usize::from(slot)] = NO_PART;
    }
}
