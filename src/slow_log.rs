//! The slow log: the requests that took longest to be answered, the newest of them, without what they carried.
//!
//! Holds a bounded number of entries of bounded length. Knows no clock: who notes an entry says when it was. Each
//! worker of a pool has a log of its own; the numbers of their entries are told apart as those of their clients are.
//!
//! Invariants: the entries are in the order in which they were noted; an entry never changes.

use std::collections::VecDeque;
use std::sync::Arc;

/// A request that took long.
#[derive(Debug, PartialEq, Eq)]
pub struct SlowEntry {
    /// Its number; no other entry of the pool has it.
    pub number: u64,
    /// When its reply came, or its time was over: milliseconds since 1970.
    pub unix_ms: u64,
    /// How long it waited for a connection to its server, in milliseconds.
    pub waited_ms: u64,
    /// How long it was with the server, in milliseconds: from the moment in which it was queued for it.
    pub server_ms: u64,
    /// The server's address.
    pub server: Box<str>,
    /// Where its client comes from, or where it arrived, if nothing tells.
    pub client: Box<str>,
    /// What the client calls itself; at most [`SlowEntry::TEXT_BYTES_MAX`] of it.
    pub client_name: Box<[u8]>,
    /// The command's full name.
    pub command: Box<[u8]>,
    /// Its first key, if it has one; at most [`SlowEntry::TEXT_BYTES_MAX`] of it.
    pub key: Option<Box<[u8]>>,
}

impl SlowEntry {
    /// What is longer is cut off.
    pub const TEXT_BYTES_MAX: usize = 128;

    /// As much of a text as an entry has.
    pub fn cut(text: &[u8]) -> Box<[u8]> {
        text[..text.len().min(SlowEntry::TEXT_BYTES_MAX)].into()
    }
}

/// Entries, the newest first.
pub type SlowEntries = Vec<Arc<SlowEntry>>;

/// What a client wants of the slow log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlowAsk {
    /// So many of the newest entries.
    Get(usize),
    /// How many there are.
    Len,
    /// That there is none.
    Reset,
}

/// The log of one worker.
#[derive(Debug, Default)]
pub struct SlowLog {
    /// The oldest first.
    entries: VecDeque<Arc<SlowEntry>>,
    /// How many were noted so far.
    noted: u64,
}

impl SlowLog {
    /// How many were noted so far.
    pub fn noted(&self) -> u64 {
        self.noted
    }

    /// One more; the oldest are forgotten, so that there are `max` at the most.
    pub fn note(&mut self, entry: SlowEntry, max: usize) {
        self.noted += 1;
        self.entries.push_back(Arc::new(entry));
        while self.entries.len() > max {
            self.entries.pop_front();
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True exactly when there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The newest, so many at the most.
    pub fn newest(&self, count: usize) -> SlowEntries {
        self.entries.iter().rev().take(count).map(Arc::clone).collect()
    }

    /// Forgets all of them. The numbers go on.
    pub fn reset(&mut self) {
        self.entries = VecDeque::new();
    }
}

/// The entries of two workers as those of one.
pub fn merged(one: SlowEntries, other: SlowEntries) -> SlowEntries {
    let mut all = Vec::with_capacity(one.len() + other.len());
    let mut others = other.into_iter().peekable();
    for entry in one {
        while let Some(newer) = others.next_if(|other| other.unix_ms > entry.unix_ms) {
            all.push(newer);
        }
        all.push(entry);
    }
    all.extend(others);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u64, unix_ms: u64) -> SlowEntry {
        SlowEntry {
            number,
            unix_ms,
            waited_ms: 0,
            server_ms: 7,
            server: "a:1".into(),
            client: "b:2".into(),
            client_name: SlowEntry::cut(&[b'x'; 1000]),
            command: b"get".as_slice().into(),
            key: Some(SlowEntry::cut(b"k")),
        }
    }

    fn numbers(entries: &SlowEntries) -> Vec<u64> {
        entries.iter().map(|entry| entry.number).collect()
    }

    #[test]
    fn the_newest_are_kept_and_come_first() {
        let mut log = SlowLog::default();
        assert!(log.is_empty() && log.newest(9).is_empty());
        (0..5).for_each(|number| log.note(entry(number, number), 3));
        assert_eq!((log.len(), numbers(&log.newest(9)), numbers(&log.newest(1))), (3, vec![4, 3, 2], vec![4]));
        assert_eq!(log.newest(1)[0].client_name.len(), SlowEntry::TEXT_BYTES_MAX);
        log.reset();
        assert!(log.is_empty());
        log.note(entry(5, 5), 0);
        assert_eq!((log.len(), log.noted()), (0, 6));
    }

    #[test]
    fn the_entries_of_two_workers_are_merged_by_their_time() {
        let of = |times: &[u64]| times.iter().map(|&time| Arc::new(entry(time, time))).collect::<SlowEntries>();
        for (one, other, all) in [
            (&[][..], &[][..], &[][..]),
            (&[9, 5, 1], &[], &[9, 5, 1]),
            (&[], &[9, 5, 1], &[9, 5, 1]),
            (&[9, 5, 1], &[10, 5, 4, 0], &[10, 9, 5, 5, 4, 1, 0]),
        ] {
            assert_eq!(numbers(&merged(of(one), of(other))), all);
        }
    }
}
