//! The lists of a model server, and the connections that wait for an element of them.
//!
//! Who waited first is served first, as in Redis. A connection that the proxy has closed waits no longer: its end is
//! noticed before the next element comes.

use std::collections::{HashMap, VecDeque};

use crate::history::{History, Token};
use crate::protocol::Value;

/// What a connection waits for.
pub struct Waiting {
    keys: Vec<Vec<u8>>,
    database: u32,
    is_from_left: bool,
    /// Where the element goes; otherwise it is taken.
    destination: Option<Vec<u8>>,
    /// When it waits no longer, on the clock of the world.
    pub until: Option<u64>,
    /// Who waited first has the lowest.
    pub order: u64,
    pub pop: Token,
}

impl Waiting {
    pub fn keys(&self) -> Vec<&[u8]> {
        self.keys.iter().chain(&self.destination).map(Vec::as_slice).collect()
    }
}

/// A list: its database and key, and its elements.
pub type List = ((u32, Vec<u8>), VecDeque<Vec<u8>>);

/// The lists of one server.
#[derive(Default)]
pub struct Shelf {
    lists: HashMap<(u32, Vec<u8>), VecDeque<Vec<u8>>>,
    waited: u64,
}

impl Shelf {
    /// Adds an element, and returns how many there are then.
    pub fn push(&mut self, database: u32, key: &[u8], value: &[u8], is_left: bool) -> usize {
        let list = self.lists.entry((database, key.to_vec())).or_default();
        if is_left {
            list.push_front(value.to_vec())
        } else {
            list.push_back(value.to_vec())
        }
        list.len()
    }

    /// What is asked for, by a request that takes an element; `None` if it is another one.
    pub fn parse(
        &mut self,
        name: &[u8],
        words: &[Vec<u8>],
        pop: Option<Token>,
        database: u32,
        now: u64,
    ) -> Option<Waiting> {
        let last = words.len() - 1;
        let (keys, destination, is_from_left) = match name {
            b"BLPOP" | b"BRPOP" => (words[1..last].to_vec(), None, name == b"BLPOP"),
            b"BLMOVE" => (vec![words[1].clone()], Some(words[2].clone()), words[3] == b"LEFT"),
            _ => return None,
        };
        let seconds: f64 = String::from_utf8_lossy(&words[last]).parse().expect("a timeout is a number");
        self.waited += 1;
        Some(Waiting {
            keys,
            database,
            is_from_left,
            destination,
            until: (seconds > 0.0).then(|| now + (seconds * 1_000.0) as u64),
            order: self.waited,
            pop: pop.expect("who waits names itself"),
        })
    }

    /// What who waits is answered, if there is an element, or if it has waited long enough.
    pub fn serve(&mut self, waiting: &Waiting, server: usize, now: u64, history: &mut History) -> Option<Value> {
        for key in &waiting.keys {
            let list = self.lists.get_mut(&(waiting.database, key.clone()));
            let taken = list.and_then(|list| if waiting.is_from_left { list.pop_front() } else { list.pop_back() });
            let Some(value) = taken else { continue };
            let element = Token::of_value(&value).expect("only values with a token are pushed");
            history.lists.give(element, waiting.pop, server);
            if waiting.destination.is_some() {
                // Nobody else knows this key: it need not be kept.
                return Some(Value::Bulk(value));
            }
            return Some(Value::Array(vec![Value::Bulk(key.clone()), Value::Bulk(value)]));
        }
        if waiting.until.is_none_or(|until| until > now) {
            return None;
        }
        history.lists.time_out(waiting.pop);
        Some(Value::Nil(b'*'))
    }

    /// Takes out the lists with these keys.
    pub fn take(&mut self, is_it: impl Fn(&[u8]) -> bool) -> Vec<List> {
        let keys: Vec<(u32, Vec<u8>)> = self.lists.keys().filter(|(_, key)| is_it(key)).cloned().collect();
        keys.into_iter().filter_map(|key| self.lists.remove_entry(&key)).collect()
    }

    /// All of these are here from now on.
    pub fn put_all(&mut self, lists: Vec<List>) {
        for (key, values) in lists {
            self.lists.entry(key).or_default().extend(values);
        }
    }

    /// How many elements there are.
    pub fn count(&self) -> usize {
        self.lists.values().map(VecDeque::len).sum()
    }
}
