//! How keys find their places: what of a key is hashed, by which function, and into which kind of table.

use super::{HashTag, KeyHash};

/// The kind of table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Distribution {
    /// The original rmux's. It knows neither names nor weights.
    #[default]
    Rmux,
    /// twemproxy's `ketama`: a server that comes or goes moves few keys.
    Ketama,
    /// twemproxy's `modula`.
    Modula,
}

impl Distribution {
    /// All of them, under the names of the setting.
    pub const NAMES: [(&str, Distribution); 3] =
        [("rmux", Distribution::Rmux), ("ketama", Distribution::Ketama), ("modula", Distribution::Modula)];

    /// The hash that goes with it, where nothing is said: twemproxy's default with twemproxy's tables.
    pub fn default_hash(self) -> KeyHash {
        match self {
            Distribution::Rmux => KeyHash::Times33,
            Distribution::Ketama | Distribution::Modula => KeyHash::Fnv1aOf64,
        }
    }
}

/// A server, as far as a table of twemproxy's goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What ketama hashes, and modula sorts: up to [`super::Ring::NAME_MAX`] bytes.
    pub name: String,
    /// Its share of the keys, as a part of the sum of all: 1 to [`super::Ring::WEIGHT_MAX`].
    pub weight: u32,
}

/// The way from a key to a place in the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spread {
    /// The kind of table.
    pub distribution: Distribution,
    /// What makes a hash of a key, or of its tag.
    pub hash: KeyHash,
    /// What of a key is hashed; `None`: all of it.
    pub tag: Option<HashTag>,
}

impl Spread {
    /// The hash of a key, or of its tag.
    #[inline(never)]
    pub fn hash(&self, key: &[u8]) -> u32 {
        self.hash.hash(self.tag.map_or(key, |tag| tag.hashed_part(key)))
    }

    /// True exactly when the original's table is asked by [`super::Ring::hash`] of the whole key.
    pub fn is_plain(&self) -> bool {
        *self == Spread::default()
    }
}
