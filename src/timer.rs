//! The timer wheel, over [`Millis`]: what to wake, and when.
//!
//! It never reads a clock: the time comes in with [`Wheel::advance`]. It does not know what a key stands for, nor that
//! a deadline has moved meanwhile; whoever is woken looks.
//!
//! Eleven levels of 64 slots; a slot of level 0 is one millisecond, a slot of each next level is as long as the whole
//! level below it. An entry is filed by the highest digit (in base 64) in which its deadline differs from the wheel's
//! time, so eleven levels hold any `u64`, and nothing is ever beyond the range. When time reaches a slot above level 0,
//! its entries are filed again, lower.
//!
//! ```text
//! time 130 = (2, 2)        level 1   . . . ■ . ■ . .      ■ 3: deadlines 192 to 255     ■ 5: 320 to 383
//!                          level 0   . . . . ■ . . .      ■ 4: deadline 132
//! advance(200): 132 fires; slot 3 of level 1 is opened at 192: its 195 and 200 fire, its 201 is filed in level 0
//! ```
//!
//! Only slots that hold something are ever visited (one bitmap a level), so a clock that jumps by hours costs what the
//! expired entries cost. Each slot is a doubly linked list through one vector of nodes, so arming and cancelling are
//! O(1), and freed nodes are used again: in steady state nothing is allocated.
//!
//! Invariants: an entry in level 0 lies in a slot ≥ the time's own digit there, an entry in a higher level in a slot
//! greater than it (so the first entry is in the lowest level that is not empty, in its first slot); a bit is set
//! exactly when its slot's list is not empty.
//!
//! Order of use: [`Wheel::advance`], then [`Wheel::poll_expired`] until `None`, then [`Wheel::next_deadline`].

use std::fmt;
use std::num::NonZeroU32;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A point in time: milliseconds since the reactor started.
///
/// Arithmetic saturates: a deadline beyond the end of time is the end of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Millis(pub u64);

impl Add<u64> for Millis {
    type Output = Millis;

    /// So many milliseconds later.
    fn add(self, milliseconds: u64) -> Millis {
        Millis(self.0.saturating_add(milliseconds))
    }
}

impl Add<Duration> for Millis {
    type Output = Millis;

    /// So much later; a started millisecond counts whole, so that nothing is ever early.
    fn add(self, span: Duration) -> Millis {
        let milliseconds = span.as_nanos().div_ceil(1_000_000);
        self + u64::try_from(milliseconds).unwrap_or(u64::MAX)
    }
}

impl Sub for Millis {
    type Output = u64;

    /// The milliseconds since an earlier point; 0 when that is in fact later.
    fn sub(self, earlier: Millis) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03} s", self.0 / 1000, self.0 % 1000)
    }
}

/// Names one entry of one wheel, until it is handed out or cancelled; harmless afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimerId {
    node: u32,
    generation: NonZeroU32,
}

/// The one entry that a connection has in a wheel, kept so that nothing is cancelled on the hot path: an activity that
/// moves a deadline *back* leaves the entry where it is; when it fires early, its owner looks, and sets it again.
#[derive(Debug, Default)]
pub struct Alarm {
    entry: Option<TimerId>,
    at: Millis,
}

impl Alarm {
    /// Makes sure that `key` is handed out at `deadline` or before.
    #[inline]
    pub fn set<K: Copy>(&mut self, wheel: &mut Wheel<K>, key: K, deadline: Millis) {
        if self.entry.is_some() && self.at <= deadline {
            return;
        }
        self.clear(wheel);
        self.entry = Some(wheel.arm(key, deadline));
        self.at = deadline;
    }

    /// When its entry will be handed out, if there is one; or a little later, by the grain of the wheel.
    pub fn deadline(&self) -> Option<Millis> {
        self.entry.map(|_| self.at)
    }

    /// The entry was handed out.
    pub fn on_fired(&mut self) {
        self.entry = None;
    }

    /// Takes the entry out of the wheel.
    pub fn clear<K: Copy>(&mut self, wheel: &mut Wheel<K>) {
        if let Some(entry) = self.entry.take() {
            wheel.cancel(entry);
        }
    }
}

/// The timer wheel. `K` says whom to wake.
#[derive(Debug)]
pub struct Wheel<K: Copy> {
    /// Only ever grows. Everything due up to here has been moved to the expired list.
    time: u64,
    /// One bit for each slot that holds something, one word a level.
    occupied: [u64; LEVELS],
    /// The slots of level 0, then those of level 1, and so on; the last list is what has expired.
    lists: Box<[List; LISTS]>,
    nodes: Vec<Node<K>>,
    /// The first of the free nodes, which are linked through `next`.
    free: u32,
    length: usize,
}

impl<K: Copy> Wheel<K> {
    /// An empty wheel whose time is `now`.
    pub fn new(now: Millis) -> Wheel<K> {
        Wheel {
            time: now.0,
            occupied: [0; LEVELS],
            lists: Box::new([List { first: NONE, last: NONE }; LISTS]),
            nodes: Vec::new(),
            free: NONE,
            length: 0,
        }
    }

    /// Makes room for so many entries, so that the table does not have to grow among other things.
    pub fn reserve(&mut self, count: usize) {
        self.nodes.reserve_exact(count);
    }

    /// Has `key` handed out by the first [`Wheel::advance`] at or after `deadline`. A deadline that has passed already
    /// waits for the next one, too. Entries of the same deadline come in the order in which they were armed.
    pub fn arm(&mut self, key: K, deadline: Millis) -> TimerId {
        let node = self.take_free_node(key, deadline.0);
        self.file(node);
        self.length += 1;
        TimerId { node, generation: self.nodes[node as usize].generation }
    }

    /// Forgets an entry, and gives its key back; also one that has expired and was not handed out yet.
    /// `None`, and nothing happens, when it has been handed out or cancelled before.
    pub fn cancel(&mut self, id: TimerId) -> Option<K> {
        let node = self.nodes.get(id.node as usize)?;
        // A node that is free has a generation that was not given to anybody yet.
        if node.generation != id.generation {
            return None;
        }
        self.unlink(id.node);
        Some(self.free_node(id.node))
    }

    /// Moves the time to `now`, and everything that is due to where [`Wheel::poll_expired`] finds it, earliest deadline
    /// first. A clock that went backwards is taken as one that stood still.
    pub fn advance(&mut self, now: Millis) {
        let now = now.0.max(self.time);
        while let Some((level, slot, start)) = self.first_slot() {
            if start > now {
                break;
            }
            self.time = start;
            let mut next = self.take_list(level, slot);
            while next != NONE {
                let node = next;
                next = self.nodes[node as usize].next;
                if level == 0 {
                    self.link(node, EXPIRED);
                } else {
                    self.file(node);
                }
            }
        }
        self.time = now;
    }

    /// The next entry that has expired. What is armed between two calls never shows up before the next
    /// [`Wheel::advance`], so this ends.
    pub fn poll_expired(&mut self) -> Option<K> {
        let node = self.lists[EXPIRED].first;
        if node == NONE {
            return None;
        }
        self.unlink(node);
        Some(self.free_node(node))
    }

    /// When to advance next: exact for what is due soon (within the current 64 ms), and for the rest at most early, by
    /// less than a slot of its level; never late. An early call files entries lower and is not wasted.
    /// `None` when nothing is armed.
    pub fn next_deadline(&self) -> Option<Millis> {
        if self.lists[EXPIRED].first != NONE {
            return Some(Millis(self.time));
        }
        self.first_slot().map(|(_, _, start)| Millis(start))
    }

    /// The time that it was last told.
    pub fn now(&self) -> Millis {
        Millis(self.time)
    }

    /// How many entries are armed, or expired and not handed out yet.
    pub fn len(&self) -> usize {
        self.length
    }

    /// True exactly when nothing is armed, and nothing is left to hand out.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The earliest slot that holds something: its level, its number there, and the time at which it begins.
    fn first_slot(&self) -> Option<(usize, usize, u64)> {
        let level = self.occupied.iter().position(|&slots| slots != 0)?;
        let slot = self.occupied[level].trailing_zeros() as usize;
        // The digits above come from the time, this level's is the slot, those below are 0.
        let below = BITS * level as u32;
        let above = self.time.checked_shr(below + BITS).unwrap_or(0);
        let start = above.checked_shl(below + BITS).unwrap_or(0) | (slot as u64) << below;
        Some((level, slot, start))
    }

    /// Puts a node into the slot that its deadline belongs to, seen from the present time.
    fn file(&mut self, node: u32) {
        let deadline = self.nodes[node as usize].deadline.max(self.time);
        let differing = (deadline ^ self.time) | 1;
        let level = differing.ilog2() / BITS;
        let slot = (deadline >> (BITS * level)) as usize % SLOTS;
        self.occupied[level as usize] |= 1 << slot;
        self.link(node, level as usize * SLOTS + slot);
    }

    /// Empties a slot, and gives the first of its nodes, still linked to each other.
    fn take_list(&mut self, level: usize, slot: usize) -> u32 {
        self.occupied[level] &= !(1 << slot);
        let list = &mut self.lists[level * SLOTS + slot];
        std::mem::replace(list, List { first: NONE, last: NONE }).first
    }

    /// Appends a node to a list.
    fn link(&mut self, node: u32, list: usize) {
        let last = std::mem::replace(&mut self.lists[list].last, node);
        match last {
            NONE => self.lists[list].first = node,
            _ => self.nodes[last as usize].next = node,
        }
        let node = &mut self.nodes[node as usize];
        (node.previous, node.next, node.list) = (last, NONE, list as u16);
    }

    /// Takes a node out of its list.
    fn unlink(&mut self, node: u32) {
        let Node { previous, next, list, .. } = self.nodes[node as usize];
        let list = usize::from(list);
        match previous {
            NONE => self.lists[list].first = next,
            _ => self.nodes[previous as usize].next = next,
        }
        match next {
            NONE => self.lists[list].last = previous,
            _ => self.nodes[next as usize].previous = previous,
        }
        if self.lists[list].first == NONE && list != EXPIRED {
            self.occupied[list / SLOTS] &= !(1 << (list % SLOTS));
        }
    }

    fn take_free_node(&mut self, key: K, deadline: u64) -> u32 {
        let node = self.free;
        if node != NONE {
            let entry = &mut self.nodes[node as usize];
            self.free = entry.next;
            (entry.key, entry.deadline) = (key, deadline);
            return node;
        }
        assert!(self.nodes.len() < NONE as usize, "four thousand million timers");
        let generation = NonZeroU32::MIN;
        self.nodes.push(Node { key, deadline, generation, previous: NONE, next: NONE, list: 0 });
        self.nodes.len() as u32 - 1
    }

    /// Makes every id of this node stale, and keeps the node for the next entry.
    fn free_node(&mut self, node: u32) -> K {
        self.length -= 1;
        let entry = &mut self.nodes[node as usize];
        entry.generation = entry.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        entry.next = std::mem::replace(&mut self.free, node);
        entry.key
    }
}

#[derive(Debug)]
struct Node<K> {
    key: K,
    deadline: u64,
    generation: NonZeroU32,
    previous: u32,
    next: u32,
    list: u16,
}

#[derive(Debug, Clone, Copy)]
struct List {
    first: u32,
    last: u32,
}

/// A base-64 digit, in bits.
const BITS: u32 = 6;
const SLOTS: usize = 1 << BITS;
/// As many digits as a `u64` has.
const LEVELS: usize = u64::BITS.div_ceil(BITS) as usize;
/// The list after those of all slots.
const EXPIRED: usize = LEVELS * SLOTS;
const LISTS: usize = EXPIRED + 1;
/// In the place of a node's number: there is none.
const NONE: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn expired<K: Copy>(wheel: &mut Wheel<K>, now: u64) -> Vec<K> {
        wheel.advance(Millis(now));
        std::iter::from_fn(|| wheel.poll_expired()).collect()
    }

    #[test]
    fn time_saturates_and_a_started_millisecond_counts() {
        assert_eq!(Millis(5) + 7, Millis(12));
        assert_eq!(Millis(5) + u64::MAX, Millis(u64::MAX));
        assert_eq!(Millis(5) + Duration::from_micros(1001), Millis(7));
        assert_eq!(Millis(5) + Duration::MAX, Millis(u64::MAX));
        assert_eq!(Millis(12) - Millis(5), 7);
        assert_eq!(Millis(5) - Millis(12), 0);
        assert_eq!(Millis(61_007).to_string(), "61.007 s");
    }

    #[test]
    fn an_id_takes_eight_bytes_and_no_more_when_optional() {
        assert_eq!(size_of::<TimerId>(), 8);
        assert_eq!(size_of::<Option<TimerId>>(), 8);
    }

    #[test]
    fn nothing_fires_early_and_everything_at_its_deadline() {
        for start in [0, 1, 63, 64, 4095, 1 << 36, u64::MAX - 5000] {
            for delay in [0, 1, 62, 63, 64, 65, 127, 128, 4095, 4096, 4097] {
                let mut wheel = Wheel::new(Millis(start));
                wheel.arm('a', Millis(start + delay));
                if delay > 0 {
                    assert!(expired(&mut wheel, start + delay - 1).is_empty(), "{start} + {delay} is early");
                }
                assert_eq!(expired(&mut wheel, start + delay), ['a'], "{start} + {delay}");
                assert!(wheel.is_empty() && wheel.next_deadline().is_none());
            }
        }
    }

    #[test]
    fn the_same_deadline_fires_in_the_order_of_arming_from_whatever_level() {
        let mut wheel = Wheel::new(Millis(0));
        wheel.arm(1, Millis(5000)); // level 2
        assert!(expired(&mut wheel, 4200).is_empty());
        wheel.arm(2, Millis(5000)); // level 1
        assert!(expired(&mut wheel, 4995).is_empty());
        wheel.arm(3, Millis(5000)); // level 0
        wheel.arm(0, Millis(4999));
        assert_eq!(expired(&mut wheel, 9999), [0, 1, 2, 3]);
    }

    #[test]
    fn a_deadline_in_the_past_fires_at_the_next_advance_even_if_the_clock_stands_still() {
        let mut wheel = Wheel::new(Millis(1000));
        wheel.arm('p', Millis(3));
        assert_eq!(wheel.poll_expired(), None, "not before the next advance");
        assert_eq!(wheel.next_deadline(), Some(Millis(1000)), "at once");
        assert_eq!(expired(&mut wheel, 1000), ['p']);
        wheel.arm('q', Millis(1000));
        assert_eq!(expired(&mut wheel, 10), ['q'], "a clock that went backwards stands still");
        wheel.arm('r', Millis(1001));
        assert!(expired(&mut wheel, 999).is_empty());
        assert_eq!(expired(&mut wheel, 1001), ['r']);
    }

    #[test]
    fn what_is_armed_while_draining_waits_for_the_next_advance() {
        let mut wheel = Wheel::new(Millis(0));
        wheel.arm(0, Millis(10));
        wheel.advance(Millis(10));
        let mut rounds = 0;
        while let Some(key) = wheel.poll_expired() {
            wheel.arm(key + 1, Millis(0));
            rounds += 1;
        }
        assert_eq!((rounds, wheel.len()), (1, 1));
        assert_eq!(expired(&mut wheel, 10), [1]);
    }

    #[test]
    fn the_end_of_time_is_within_range() {
        let mut wheel = Wheel::new(Millis(0));
        wheel.arm("never", Millis(u64::MAX));
        wheel.arm("in a thousand years", Millis(1 << 45));
        let hour = 3_600_000;
        assert!(expired(&mut wheel, 10_000 * hour).is_empty());
        assert_eq!(expired(&mut wheel, 1 << 45), ["in a thousand years"]);
        assert!(expired(&mut wheel, u64::MAX - 1).is_empty());
        assert_eq!(wheel.next_deadline(), Some(Millis(u64::MAX)));
        assert_eq!(expired(&mut wheel, u64::MAX), ["never"]);
        wheel.arm("late", Millis(u64::MAX));
        assert_eq!(expired(&mut wheel, u64::MAX), ["late"]);
    }

    #[test]
    fn a_jump_over_thousands_of_hours_visits_only_what_is_there() {
        let mut wheel = Wheel::new(Millis(0));
        let mut now = 0;
        for round in 0..10_000_u64 {
            now += 3_600_000 * (1 + round % 1000);
            wheel.arm(round, Millis(now - 1));
            assert_eq!(expired(&mut wheel, now), [round]);
        }
    }

    #[test]
    fn a_stale_id_is_harmless_after_its_node_is_used_again() {
        let mut wheel = Wheel::new(Millis(0));
        let cancelled = wheel.arm('a', Millis(5));
        assert_eq!(wheel.cancel(cancelled), Some('a'));
        assert_eq!(wheel.cancel(cancelled), None, "twice");
        let fired = wheel.arm('b', Millis(6));
        assert_eq!(wheel.cancel(cancelled), None, "the node belongs to b now");
        assert_eq!(expired(&mut wheel, 6), ['b']);
        assert_eq!(wheel.cancel(fired), None, "fired");
        let third = wheel.arm('c', Millis(7));
        assert_eq!((wheel.cancel(cancelled), wheel.cancel(fired)), (None, None));
        assert_eq!((cancelled.node, fired.node, wheel.nodes.len()), (third.node, third.node, 1));
        assert_eq!(expired(&mut wheel, 7), ['c']);
    }

    #[test]
    fn what_has_expired_can_be_cancelled_until_it_is_handed_out() {
        let mut wheel = Wheel::new(Millis(0));
        let ids = [1, 2, 3].map(|key| wheel.arm(key, Millis(1)));
        wheel.advance(Millis(1));
        assert_eq!(wheel.len(), 3);
        assert_eq!(wheel.next_deadline(), Some(Millis(1)));
        assert_eq!(wheel.cancel(ids[1]), Some(2));
        assert_eq!((wheel.poll_expired(), wheel.poll_expired(), wheel.poll_expired()), (Some(1), Some(3), None));
    }

    #[test]
    fn in_steady_state_no_node_is_added() {
        let mut wheel = Wheel::new(Millis(0));
        for now in 0..10_000 {
            wheel.arm(now, Millis(now + 100));
            let other = wheel.arm(now, Millis(now + 500));
            expired(&mut wheel, now);
            wheel.cancel(other);
        }
        assert!(wheel.nodes.len() <= 102, "{} nodes for 101 entries", wheel.nodes.len());
    }

    /// What the wheel should do, in the plainest way: deadline and order of arming → key, and everything due is gone.
    struct Model {
        armed: BTreeMap<(u64, u64), u64>,
        now: u64,
    }

    #[test]
    fn thousands_of_random_operations_agree_with_a_sorted_map() {
        for seed in 1..=64_u64 {
            let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let start = if seed % 2 == 0 { 0 } else { random.below(1 << 50) };
            let mut wheel = Wheel::new(Millis(start));
            let mut model = Model { armed: BTreeMap::new(), now: start };
            // Every id ever given, with its entry in the model.
            let mut ids: Vec<(TimerId, (u64, u64))> = Vec::new();
            for step in 0..3000 {
                let context = format!("seed {seed}, step {step}");
                match random.below(10) {
                    0..5 => {
                        // A deadline in the past counts from the present, as far as order goes.
                        let deadline = (model.now + random.span()).saturating_sub(random.below(20)).max(model.now);
                        let entry = (deadline, step);
                        model.armed.insert(entry, step);
                        ids.push((wheel.arm(step, Millis(deadline)), entry));
                    }
                    5..7 if !ids.is_empty() => {
                        let (id, entry) = ids[random.below(ids.len() as u64) as usize];
                        assert_eq!(wheel.cancel(id), model.armed.remove(&entry), "{context}");
                    }
                    _ => {
                        let clock = match random.below(8) {
                            0 => model.now.saturating_sub(random.below(1000)),
                            1 => model.now,
                            2 => model.armed.keys().next().map_or(model.now, |&(deadline, _)| deadline),
                            _ => model.now + random.span(),
                        };
                        model.now = model.now.max(clock);
                        let later = model.armed.split_off(&(model.now + 1, 0));
                        let due: Vec<u64> = std::mem::replace(&mut model.armed, later).into_values().collect();
                        assert_eq!(expired(&mut wheel, clock), due, "{context}");
                    }
                }
                assert_eq!(wheel.len(), model.armed.len(), "{context}");
                let first = model.armed.keys().next().map(|&(deadline, _)| deadline);
                match (wheel.next_deadline(), first) {
                    (None, None) => {}
                    (Some(bound), Some(first)) => {
                        assert!(bound.0 <= first && bound.0 >= model.now, "{context}: {bound:?} for {first}");
                        let soon = first >> BITS == model.now >> BITS;
                        assert!(!soon || bound.0 == first, "{context}: {bound:?} for {first}");
                    }
                    (bound, first) => panic!("{context}: {bound:?} for {first:?}"),
                }
                if step % 16 == 0 {
                    check_links(&wheel, &context);
                }
            }
        }
    }

    /// The lists are whole in both directions, each bit tells the truth, and each entry lies where it should.
    fn check_links<K: Copy>(wheel: &Wheel<K>, context: &str) {
        let mut entries = 0;
        for (number, list) in wheel.lists.iter().enumerate() {
            let (level, slot) = (number / SLOTS, number % SLOTS);
            if number != EXPIRED {
                assert_eq!(wheel.occupied[level] >> slot & 1 == 1, list.first != NONE, "{context}: bit of {number}");
            }
            let (mut previous, mut at) = (NONE, list.first);
            while at != NONE {
                let node = &wheel.nodes[at as usize];
                assert_eq!((node.previous, usize::from(node.list)), (previous, number), "{context}: node {at}");
                let digit = (wheel.time >> (BITS * level.min(LEVELS - 1) as u32)) as usize % SLOTS;
                assert!(number == EXPIRED || slot > digit || (level == 0 && slot == digit), "{context}: node {at}");
                (previous, at) = (at, node.next);
                entries += 1;
            }
            assert_eq!(list.last, previous, "{context}: end of {number}");
        }
        assert_eq!(entries, wheel.len(), "{context}");
    }

    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % bound
        }

        /// Mostly short, sometimes hours, now and then ages.
        fn span(&mut self) -> u64 {
            let bits = [4, 7, 7, 10, 13, 13, 24, 40][self.below(8) as usize];
            self.below(1 << bits)
        }
    }
}
