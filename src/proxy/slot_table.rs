//! Which server has which slot of a cluster: what the router knows instead of a ring.
//!
//! ```text
//!   key ─► slot ─► owners[slot]: a place among the servers ─► its server, or nobody
//! ```
//!
//! The hash of a key, in a cluster, is its slot in the lowest bits, and above it a few bits of another hash, so that
//! those who compare hashes rarely take one key for another one of its slot.
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

/// The hash of a key: its slot, and something of the rest.
#[inline]
pub(super) fn hash_of(key: &[u8]) -> u32 {
    u32::from(cluster::slot_of(key)) | Ring::hash(key) << SLOT_BITS
}

/// The hash of a request with several keys of one slot, of which this is the hash of one. It has that slot, and a key
/// may have it, too.
pub(super) fn hash_of_several(hash: u32) -> u32 {
    u32::from(slot_in(hash)) | OF_SEVERAL
}

/// Whether a hash is that of several keys; or, by chance, of one.
pub(super) fn is_of_several(hash: u32) -> bool {
    hash >= OF_SEVERAL
}

/// The slot in a hash.
#[inline]
pub(super) fn slot_in(hash: u32) -> u16 {
    (hash & (SLOTS as u32 - 1)) as u16
}

/// Who has which slot.
#[derive(Debug)]
pub(super) struct SlotTable {
    owners: Box<[u16]>,
    /// Slots of which some keys have moved, and some not, and until when they are taken to be so; and a bit for each of
    /// them.
    half_moved: BTreeMap<u16, Millis>,
    half_moved_bits: Box<[u64]>,
    /// The part that each slot has of the request that is being taken apart.
    parts: Box<[u16]>,
    /// True once somebody has told all of them.
    is_told: bool,
}

impl SlotTable {
    /// Nobody has said who has which.
    pub fn new() -> SlotTable {
        SlotTable {
            owners: vec![NOBODY; SLOTS].into(),
            half_moved: BTreeMap::new(),
            half_moved_bits: vec![0; SLOTS / BITS].into(),
            parts: vec![NO_PART; SLOTS].into(),
            is_told: false,
        }
    }

    /// Whether somebody has told who has which slot; until then any server is asked, and says who has this one.
    #[inline]
    pub fn is_told(&self) -> bool {
        self.is_told
    }

    /// The place of the server that has this slot.
    #[inline]
    pub fn owner(&self, slot: u16) -> Option<usize> {
        let owner = self.owners[usize::from(slot)];
        (owner != NOBODY).then_some(usize::from(owner))
    }

    /// The places of all slots that have an owner, slot by slot.
    pub fn owners(&self) -> impl Iterator<Item = usize> {
        self.owners.iter().filter(|owner| **owner != NOBODY).map(|&owner| usize::from(owner))
    }

    /// A node has said that this slot is half moved: it is taken to be until then.
    pub fn on_half_moved(&mut self, slot: u16, until: Millis) {
        self.half_moved.insert(slot, until);
        self.half_moved_bits[usize::from(slot) / BITS] |= 1 << (usize::from(slot) % BITS);
    }

    /// True if this slot is half moved, or was: whoever asks is to ask `is_half_moved`, too.
    #[inline]
    pub fn may_be_half_moved(&self, slot: u16) -> bool {
        self.half_moved_bits[usize::from(slot) / BITS] >> (usize::from(slot) % BITS) & 1 == 1
    }

    /// Whether this slot is half moved. When that is over, it is forgotten.
    #[cold]
    pub fn is_half_moved(&mut self, slot: u16, now: Millis) -> bool {
        let is_so = self.half_moved.get(&slot).is_some_and(|&until| until > now);
        if !is_so {
            self.half_moved.remove(&slot);
            self.half_moved_bits[usize::from(slot) / BITS] &= !(1 << (usize::from(slot) % BITS));
        }
        is_so
    }

    /// These are the owners from here on. Of each slot that has another one, `on_other` is told the owner before, if it
    /// had one, and that of now.
    pub fn tell(
        &mut self,
        owner_of: impl Fn(u16) -> Option<usize>,
        mut on_other: impl FnMut(Option<usize>, Option<usize>),
    ) {
        self.is_told = true;
        for (slot, owner) in (0..).zip(self.owners.iter_mut()) {
            let now = owner_of(slot);
            let before = std::mem::replace(owner, now.map_or(NOBODY, |place| place as u16));
            if *owner != before {
                on_other((before != NOBODY).then_some(usize::from(before)), now);
            }
        }
    }

    /// The server in this place has this slot from here on. Returns whose it was.
    pub fn give(&mut self, slot: u16, place: usize) -> Option<usize> {
        let before = std::mem::replace(&mut self.owners[usize::from(slot)], place as u16);
        (before != NOBODY).then_some(usize::from(before))
    }

    /// Servers stand in other places, or nowhere: `moved` says where each is now.
    pub fn move_places(&mut self, moved: &[Option<usize>]) {
        for owner in self.owners.iter_mut().filter(|owner| **owner != NOBODY) {
            *owner = moved.get(usize::from(*owner)).copied().flatten().map_or(NOBODY, |place| place as u16);
        }
    }

    /// The part of this slot; if it has none yet, the one that `add` makes.
    #[inline]
    pub fn part_for(&mut self, slot: u16, add: impl FnOnce() -> u16) -> u16 {
        let part = &mut self.parts[usize::from(slot)];
        if *part == NO_PART {
            *part = add();
        }
        *part
    }

    /// This slot has no part any more.
    pub fn forget_part(&mut self, slot: u16) {
        self.parts[usize::from(slot)] = NO_PART;
    }
}
