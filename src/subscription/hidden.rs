//! The subscribers that no server sees: of all clients that one proxy has on a topic, its server sees one.
//!
//! The proxies of a pool share one count, so that each knows what to add to what a server says:
//!
//! ```text
//!   proxy 0: clients 3, 5, 9 hear "news"    hidden: 2 ─┐
//!   proxy 1: client 4 hears "news"          hidden: 0 ─┴─► 2      the server says 2, and 2 + 2 hear it
//! ```
//!
//! What the server says is 0 as long as it has confirmed no proxy's subscription: then nobody hears anything, and
//! nothing is added. Knows names and numbers, and no clients. Invariant: what is counted here is never 0.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::by_name::{ByName, index};
use crate::command::Channels;
use crate::glob;

type Counts = [ByName; 3];

/// How many subscribers of a pool no server sees, by topic.
#[derive(Debug, Default)]
pub struct HiddenSubscribers {
    counts: Mutex<Counts>,
    /// How many topics have any; to be looked at before the others are locked out.
    topics: AtomicUsize,
}

impl HiddenSubscribers {
    /// True exactly when there is none at all: the servers see everybody.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.topics.load(Ordering::Relaxed) == 0
    }

    /// One more client of a proxy hears this, which another one of the same proxy does already.
    pub fn on_joined(&self, family: Channels, name: &Arc<[u8]>) {
        let mut counts = self.counts();
        match counts[index(family)].get_mut(name) {
            Some(count) => *count += 1,
            None => {
                counts[index(family)].insert(Arc::clone(name), 1);
                self.topics.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// One of them is gone, and another one is still there.
    pub fn on_left(&self, family: Channels, name: &Arc<[u8]>) {
        let mut counts = self.counts();
        let Some(count) = counts[index(family)].get_mut(name) else { return };
        *count -= 1;
        if *count == 0 {
            counts[index(family)].remove(name);
            self.topics.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Of those who have subscribed to this very topic.
    pub fn subscribers(&self, family: Channels, name: &[u8]) -> usize {
        self.counts()[index(family)].get(name).map_or(0, |&count| count as usize)
    }

    /// Of those who hear a message on this channel; as Redis counts, once for the channel and once for each pattern.
    pub fn receivers(&self, family: Channels, channel: &[u8]) -> usize {
        if self.is_empty() {
            return 0;
        }
        let counts = self.counts();
        let exact = counts[index(family)].get(channel).copied().unwrap_or(0);
        let patterns = match family {
            Channels::Shard => None,
            Channels::Exact | Channels::Pattern => Some(&counts[index(Channels::Pattern)]),
        };
        let matching = patterns.into_iter().flatten().filter(|(pattern, _)| glob::matches(pattern, channel));
        (exact + matching.map(|(_, count)| count).sum::<u64>()) as usize
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Channels::{Exact, Pattern, Shard};

    #[test]
    fn a_message_is_received_once_for_the_channel_and_once_for_each_pattern() {
        let hidden = HiddenSubscribers::default();
        let name = |text: &str| -> Arc<[u8]> { text.as_bytes().into() };
        assert!(hidden.is_empty());
        for (family, topic) in [(Exact, "news"), (Exact, "news"), (Pattern, "n*"), (Pattern, "x*"), (Shard, "news")] {
            hidden.on_joined(family, &name(topic));
        }
        assert_eq!([Exact, Shard].map(|family| hidden.receivers(family, b"news")), [3, 1]);
        assert_eq!([Exact, Pattern, Shard].map(|family| hidden.subscribers(family, b"news")), [2, 0, 1]);
        assert_eq!(hidden.receivers(Exact, b"xx"), 1);
        for (family, topic) in [(Exact, "news"), (Exact, "news"), (Pattern, "n*"), (Pattern, "x*"), (Shard, "news")] {
            assert!(!hidden.is_empty());
            hidden.on_left(family, &name(topic));
        }
        assert!(hidden.is_empty());
    }
}
