//! Who hears what: the topics that clients have subscribed to, and what each subscriber still has to come.
//!
//! A *topic* is a channel, a pattern, or a shard channel, by its name; the three families do not know each other, and
//! only the first two are counted together in what a client is told. A topic lives as long as somebody hears it:
//!
//! ```text
//!   join(client, "news") ──► topic 7 "news" ──┬── client 3        by_topic:  (7, 3) (7, 5)
//!   join(client, "news") ──► the same         └── client 5        by_client: (3, Exact, 7) (5, Exact, 7)
//!   leave(5), leave(3)   ──► nobody is left: the topic is gone, and its name is among the `orphans`
//! ```
//!
//! Knows no sockets, no servers and no time. Names are kept in order, not hashed: nobody can choose names that make
//! looking them up slow, and whoever walks over them meets them in the same order every time.
//!
//! Invariants: `by_topic` and `by_client` hold the same pairs; a topic is there exactly while one of them names it; a
//! subscriber's `counts` are the numbers of its pairs, family by family.

mod by_name;
pub mod hidden;
pub mod push;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use self::by_name::{ByName, index};
use self::hidden::HiddenSubscribers;

use crate::buffer::Queue;
use crate::command::Channels;
use crate::glob;
use crate::request::RequestId;
use crate::slots::{Id, Slots};
use crate::timer::Millis;

/// The name of a topic within the proxy; never used again once the topic is gone.
pub type TopicId = Id;

/// The three families, in the order in which a connection's subscriptions are made anew.
pub const FAMILIES: [Channels; 3] = [Channels::Exact, Channels::Pattern, Channels::Shard];

/// Something that can be subscribed to.
#[derive(Debug)]
pub struct Topic {
    /// Which family it is of.
    pub family: Channels,
    /// Its name; any bytes.
    pub name: Arc<[u8]>,
    /// How many clients hear it; never 0.
    hearers: usize,
}

/// Who belongs to what, in order, with a number in between where one is needed: one kind of set for all of that, since
/// each kind is several kB of code.
pub type Triples = BTreeSet<(Id, u32, Id)>;

/// All subscriptions of all clients.
#[derive(Debug, Default)]
pub struct Registry {
    /// The topics by name.
    names: [ByName; 3],
    topics: Slots<Topic>,
    by_topic: Triples,
    by_client: Triples,
    orphans: Vec<(TopicId, Topic)>,
    /// The lengths of all names.
    names_bytes: usize,
    hidden: Arc<HiddenSubscribers>,
}

/// What a topic takes beside its name, and what a client takes that hears it: their places in the tables.
const TOPIC_BYTES: usize = 128;
const PAIR_BYTES: usize = 64;

impl Registry {
    /// The memory that all subscriptions take, in bytes; about as much as it is.
    pub fn held(&self) -> usize {
        self.names_bytes + self.topics.len() * TOPIC_BYTES + self.by_topic.len() * PAIR_BYTES
    }

    /// What as many new ones would take, whose names have so many bytes together.
    pub fn held_by_new(count: usize, bytes: usize) -> usize {
        bytes + count * (TOPIC_BYTES + PAIR_BYTES)
    }

    /// An empty one, of a pool that counts its subscribers in `hidden`.
    pub fn new(hidden: Arc<HiddenSubscribers>) -> Registry {
        Registry { hidden, ..Registry::default() }
    }

    /// Those of its subscribers, and of all others of the same pool, that no server sees.
    pub fn hidden(&self) -> &HiddenSubscribers {
        &self.hidden
    }

    /// True exactly when nobody hears anything.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// How many topics somebody hears.
    pub fn len(&self) -> usize {
        self.topics.len()
    }

    /// A client wants to hear this. Returns the topic, and whether that is news: false if it hears it already.
    pub fn join(&mut self, client: Id, family: Channels, name: &[u8]) -> (TopicId, bool) {
        let id = match self.names[index(family)].get(name) {
            Some(&bits) => TopicId::from_bits(bits),
            None => {
                let name: Arc<[u8]> = name.into();
                self.names_bytes += name.len();
                let id = self.topics.insert(Topic { family, name: name.clone(), hearers: 0 });
                self.names[index(family)].insert(name, id.to_bits());
                id
            }
        };
        let is_news = self.by_topic.insert((id, 0, client));
        if is_news {
            self.by_client.insert((client, index(family) as u32, id));
            let topic = self.topics.get_mut(id).expect("it is in the table of names");
            topic.hearers += 1;
            if topic.hearers > 1 {
                self.hidden.on_joined(family, &topic.name);
            }
        }
        (id, is_news)
    }

    /// A client wants to hear this no longer. True exactly when it did.
    pub fn leave(&mut self, client: Id, id: TopicId) -> bool {
        if !self.by_topic.remove(&(id, 0, client)) {
            return false;
        }
        let topic = self.topics.get_mut(id).expect("somebody hears it");
        self.by_client.remove(&(client, index(topic.family) as u32, id));
        topic.hearers -= 1;
        if topic.hearers == 0 {
            let topic = self.topics.remove(id).expect("it was there");
            self.names[index(topic.family)].remove(&topic.name);
            self.names_bytes -= topic.name.len();
            self.orphans.push((id, topic));
        } else {
            self.hidden.on_left(topic.family, &topic.name);
        }
        true
    }

    /// The topic of this name, if anybody hears it.
    pub fn find(&self, family: Channels, name: &[u8]) -> Option<TopicId> {
        self.names[index(family)].get(name).map(|&bits| TopicId::from_bits(bits))
    }

    /// The topic, while anybody hears it.
    pub fn topic(&self, id: TopicId) -> Option<&Topic> {
        self.topics.get(id)
    }

    /// The topics that a message on this channel belongs to.
    pub fn receiving(&self, family: Channels, channel: &[u8]) -> impl Iterator<Item = TopicId> {
        let patterns = match family {
            Channels::Shard => None,
            Channels::Exact | Channels::Pattern => Some(&self.names[index(Channels::Pattern)]),
        };
        let matching = patterns.into_iter().flatten().filter(move |(pattern, _)| glob::matches(pattern, channel));
        self.find(family, channel).into_iter().chain(matching.map(|(_, &bits)| TopicId::from_bits(bits)))
    }

    /// All topics, family by family and in the order of their names.
    pub fn topics(&self) -> impl Iterator<Item = TopicId> {
        self.names.iter().flat_map(|names| names.values().map(|&bits| TopicId::from_bits(bits)))
    }

    /// Who has subscribed to a topic, in the order of their ids.
    pub fn subscribers(&self, id: TopicId) -> impl Iterator<Item = Id> {
        self.by_topic.range((id, 0, Id::LEAST)..=(id, 0, Id::NONE)).map(|&(.., client)| client)
    }

    /// What a client hears of one family.
    pub fn topics_of(&self, client: Id, family: Channels) -> impl Iterator<Item = TopicId> {
        let family = index(family) as u32;
        self.by_client.range((client, family, Id::LEAST)..=(client, family, Id::NONE)).map(|&(_, _, topic)| topic)
    }

    /// How many topics there are that nobody hears any more, and that nobody was told about.
    pub fn orphans(&self) -> usize {
        self.orphans.len()
    }

    /// The next topic that nobody hears any more. One of the same name may be there again.
    pub fn poll_orphan(&mut self) -> Option<(TopicId, Topic)> {
        self.orphans.pop()
    }
}

/// What a client has because it subscribes, or has subscribed; the same for as long as it hears anything.
#[derive(Debug, Default)]
pub struct Subscriber {
    /// How many topics it hears, family by family.
    counts: [u32; 3],
    /// Its requests that wait until the servers have confirmed, in the order of its line.
    pub awaited: VecDeque<RequestId>,
    /// Messages that must not go out before something else has.
    pub held: Queue,
    /// Since when it has more unread than it may have for long.
    pub behind_since: Option<Millis>,
    /// How far its request is done that is more than one turn's work.
    pub progress: Option<Progress>,
}

/// How far a request is done that is about many topics.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// How many of its arguments are done, its name included.
    pub at: usize,
    /// The confirmation that it waits for; `None` if it is refused by now, or waits for none.
    pub confirmation: Option<usize>,
}

impl Subscriber {
    /// One topic more.
    pub fn on_joined(&mut self, family: Channels) {
        self.counts[index(family)] += 1;
    }

    /// One topic less.
    pub fn on_left(&mut self, family: Channels) {
        self.counts[index(family)] -= 1;
    }

    /// The count that a confirmation of this family shows: channels and patterns together, shard channels apart.
    pub fn count(&self, family: Channels) -> usize {
        let [exact, pattern, shard] = self.counts;
        match family {
            Channels::Exact | Channels::Pattern => exact as usize + pattern as usize,
            Channels::Shard => shard as usize,
        }
    }

    /// How many topics it hears.
    pub fn topics(&self) -> usize {
        self.counts.iter().sum::<u32>() as usize
    }

    /// Channels, patterns and shard channels that it hears.
    pub fn counts(&self) -> [u32; 3] {
        self.counts
    }

    /// True exactly when it hears anything at all.
    pub fn is_hearing(&self) -> bool {
        self.counts != [0; 3]
    }

    /// True exactly when nothing would be lost without it.
    pub fn is_spent(&self) -> bool {
        !self.is_hearing() && self.awaited.is_empty() && self.held.unsent() == 0 && self.progress.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Channels::{Exact, Pattern, Shard};

    fn clients<const COUNT: usize>() -> [Id; COUNT] {
        let mut slots = Slots::new();
        std::array::from_fn(|_| slots.insert(()))
    }

    fn names(registry: &Registry, topics: impl Iterator<Item = TopicId>) -> Vec<String> {
        topics.map(|id| String::from_utf8_lossy(&registry.topic(id).expect("it lives").name).into_owned()).collect()
    }

    #[test]
    fn a_topic_lives_as_long_as_somebody_hears_it() {
        let [a, b] = clients();
        let mut registry = Registry::default();
        let (news, is_news) = registry.join(a, Exact, b"news");
        assert!(is_news);
        assert_eq!(registry.join(a, Exact, b"news"), (news, false));
        assert_eq!(registry.join(b, Exact, b"news"), (news, true));
        assert_eq!(registry.subscribers(news).collect::<Vec<_>>(), [a, b]);
        assert!(registry.leave(a, news));
        assert!(!registry.leave(a, news));
        assert_eq!(registry.subscribers(news).collect::<Vec<_>>(), [b]);
        assert_eq!(registry.orphans(), 0);
        assert!(registry.leave(b, news));
        assert!(registry.is_empty());
        assert_eq!(registry.find(Exact, b"news"), None);
        assert_eq!(registry.poll_orphan().map(|(id, topic)| (id, topic.name.to_vec())), Some((news, b"news".to_vec())));
        assert!(registry.poll_orphan().is_none());
    }

    #[test]
    fn a_topic_that_comes_back_is_another_one() {
        let [a] = clients();
        let mut registry = Registry::default();
        let (first, _) = registry.join(a, Exact, b"x");
        registry.leave(a, first);
        let (second, _) = registry.join(a, Exact, b"x");
        assert_ne!(first, second);
        assert!(!registry.leave(a, first), "the old name means nothing any more");
        assert_eq!(registry.subscribers(second).count(), 1);
    }

    #[test]
    fn the_families_do_not_know_each_other() {
        let [a] = clients();
        let mut registry = Registry::default();
        let ids = FAMILIES.map(|family| registry.join(a, family, b"x").0);
        assert_eq!(registry.len(), 3);
        for (family, id) in FAMILIES.into_iter().zip(ids) {
            assert_eq!(registry.find(family, b"x"), Some(id));
            assert_eq!(registry.topics_of(a, family).collect::<Vec<_>>(), [id]);
        }
        assert!(registry.leave(a, ids[1]));
        assert_eq!(registry.topics_of(a, Pattern).count(), 0);
        assert_eq!(registry.topics().collect::<Vec<_>>(), [ids[0], ids[2]]);
    }

    #[test]
    fn topics_are_met_in_the_order_of_their_names() {
        let [a, b] = clients();
        let mut registry = Registry::default();
        for name in ["b", "c", "a"] {
            registry.join(a, Exact, name.as_bytes());
            registry.join(b, Pattern, name.as_bytes());
        }
        assert_eq!(names(&registry, registry.topics()), ["a", "b", "c", "a", "b", "c"]);
        assert_eq!(registry.topics_of(a, Exact).count(), 3);
        assert_eq!(registry.topics_of(a, Pattern).count(), 0);
    }

    #[test]
    fn shard_channels_are_counted_apart() {
        let mut subscriber = Subscriber::default();
        assert!(subscriber.is_spent());
        for family in [Exact, Exact, Pattern, Shard] {
            subscriber.on_joined(family);
        }
        assert_eq!([Exact, Pattern, Shard].map(|family| subscriber.count(family)), [3, 3, 1]);
        for family in [Exact, Exact, Pattern] {
            subscriber.on_left(family);
        }
        assert_eq!(subscriber.count(Exact), 0);
        assert!(subscriber.is_hearing() && !subscriber.is_spent());
    }

    /// Joins and parts at random beside a plain list of pairs.
    #[test]
    fn it_agrees_with_a_list_of_pairs() {
        let all: [Id; 7] = clients();
        let mut registry = Registry::default();
        let mut pairs: Vec<(Id, usize, u8)> = Vec::new();
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        for _ in 0..20_000 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let client = all[(state >> 8) as usize % all.len()];
            let family = (state >> 16) as usize % 3;
            let name = (state >> 24) as u8 % 5;
            let pair = (client, family, name);
            if state & 1 == 0 {
                let (_, is_news) = registry.join(client, FAMILIES[family], &[name]);
                assert_eq!(is_news, !pairs.contains(&pair));
                if is_news {
                    pairs.push(pair);
                }
            } else {
                let topic = registry.find(FAMILIES[family], &[name]);
                let was_there = topic.is_some_and(|topic| registry.leave(client, topic));
                assert_eq!(was_there, pairs.contains(&pair));
                pairs.retain(|other| *other != pair);
            }
            let hearers =
                registry.find(FAMILIES[family], &[name]).map_or(0, |topic| registry.subscribers(topic).count());
            assert_eq!(hearers, pairs.iter().filter(|other| (other.1, other.2) == (family, name)).count());
            while let Some((_, orphan)) = registry.poll_orphan() {
                assert_eq!(orphan.hearers, 0);
            }
        }
    }
}
