//! Things that come and go, each under an id that is never mistaken for a later one.
//!
//! An [`Id`] is a slot **and a generation**. The slot is reused when its owner is gone; the generation is not (it
//! counts every insertion and wraps after 2^31 of them). So an event, a timer or a reply that comes late for a
//! connection that is closed finds nothing, instead of finding the next owner of the slot.
//!
//! Knows nothing of what it holds. Invariant: `get(id)` is `Some` exactly between `insert` and `remove` of that id.

use slab::Slab;

/// The name of one thing in a [`Slots`]: a slot and the generation that lives in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id {
    slot: u32,
    generation: u32,
}

impl Id {
    /// An id that no [`Slots`] ever gives out.
    pub const NONE: Id = Id { slot: u32::MAX, generation: u32::MAX };

    /// An id that sorts before all others, and is never given out either.
    pub const LEAST: Id = Id { slot: 0, generation: 0 };

    /// The place in the table; dense, so that it can index a table of one's own.
    pub fn slot(self) -> usize {
        self.slot as usize
    }

    /// Both parts in one number, to be given to [`Id::from_bits`].
    pub fn to_bits(self) -> u64 {
        u64::from(self.slot) << 32 | u64::from(self.generation)
    }

    /// The id that [`Id::to_bits`] made this of.
    pub fn from_bits(bits: u64) -> Id {
        Id { slot: (bits >> 32) as u32, generation: bits as u32 }
    }

    /// The count of insertions at which it was given out: a number that people can be shown.
    pub fn generation(self) -> u32 {
        self.generation
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.generation)
    }
}

/// A slab whose ids carry a generation.
#[derive(Debug)]
pub struct Slots<T> {
    entries: Slab<Entry<T>>,
    generation: u32,
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    value: T,
}

const GENERATION_MASK: u32 = 0x7fff_ffff;

impl<T> Slots<T> {
    /// An empty table; the first id has generation 1.
    pub fn new() -> Slots<T> {
        Slots { entries: Slab::new(), generation: 0 }
    }

    /// Makes room for so many, so that the table does not have to grow among other things.
    pub fn reserve(&mut self, count: usize) {
        self.entries.reserve_exact(count);
    }

    /// How many things are held.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True exactly when nothing is held.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes `value` in and names it.
    pub fn insert(&mut self, value: T) -> Id {
        self.generation = ((self.generation + 1) & GENERATION_MASK).max(1);
        let generation = self.generation;
        let slot = self.entries.insert(Entry { generation, value });
        let slot = u32::try_from(slot).expect("fewer than 2^32 connections fit in memory");
        Id { slot, generation }
    }

    /// Gives the thing back; its id is dead from here on.
    pub fn remove(&mut self, id: Id) -> Option<T> {
        self.get(id)?;
        Some(self.entries.remove(id.slot()).value)
    }

    /// The thing, if it is still the one that `id` named.
    #[inline]
    pub fn get(&self, id: Id) -> Option<&T> {
        match self.entries.get(id.slot()) {
            Some(entry) if entry.generation == id.generation => Some(&entry.value),
            _ => None,
        }
    }

    /// As [`Slots::get`], to change it.
    #[inline]
    pub fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        match self.entries.get_mut(id.slot()) {
            Some(entry) if entry.generation == id.generation => Some(&mut entry.value),
            _ => None,
        }
    }

    /// Everything held, in the order of the slots.
    pub fn iter(&self) -> impl Iterator<Item = (Id, &T)> {
        self.entries.iter().map(|(slot, entry)| (Id { slot: slot as u32, generation: entry.generation }, &entry.value))
    }

    /// The same, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Id, &mut T)> {
        let id = |slot, generation| Id { slot: slot as u32, generation };
        self.entries.iter_mut().map(move |(slot, entry)| (id(slot, entry.generation), &mut entry.value))
    }
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Slots::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_id_never_finds_the_next_owner_of_its_slot() {
        let mut slots = Slots::new();
        let first = slots.insert("first");
        assert_eq!(slots.remove(first), Some("first"));
        let second = slots.insert("second");
        assert_eq!(first.slot(), second.slot());
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get(second), Some(&"second"));
    }

    #[test]
    fn generations_start_over_at_one() {
        let mut slots = Slots::new();
        slots.generation = GENERATION_MASK - 1;
        assert_eq!(slots.insert(()).generation(), GENERATION_MASK);
        assert_eq!(slots.insert(()).generation(), 1);
    }
}
