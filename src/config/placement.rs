//! Which server of each pool has a key, and which ones would stand in: a table for people.
//!
//! Asks the ring as the proxy does: the part of the key that counts is hashed, all servers are up, then the one found
//! is down, then the next one too. A server that is given more than once is down each time; for a master that sentinels
//! know nobody stands in. In a cluster a key has a slot, and whoever has that is told by the cluster's map, if there is
//! one. It tells what the configuration says; who is up at this moment, it does not know.
//!
//! ```text
//! key       pool                 server       if it is down  if both are
//! user:1    /run/rmux/rmux.sock  redis1:6379  redis2:6379    redis3:6379
//! user:1    localhost:7000       redis4:6379  -              -              no failover, or no other server
//! "a key"   …                                                               what is not plain stands in quotes
//! ```

use std::fmt::{self, Write as _};
use std::sync::Arc;

use crate::cluster::{self, SlotMap};
use crate::ring::{Ring, ServerIndex};

use super::error::Plain;
use super::pool::{Config, PoolConfig};
use super::server::ServerConfig;

/// The places of some keys in all pools. `Display` is the table, without the line feed behind its last line.
#[derive(Debug)]
pub struct Placements<'a> {
    config: &'a Config,
    maps: &'a [Option<Arc<SlotMap>>],
    keys: &'a [Vec<u8>],
}

impl Placements<'_> {
    /// Of these keys, in this configuration. `maps` has, for the pools in their order, who has which slot of its
    /// cluster, as far as that is known.
    pub fn new<'a>(config: &'a Config, maps: &'a [Option<Arc<SlotMap>>], keys: &'a [Vec<u8>]) -> Placements<'a> {
        Placements { config, maps, keys }
    }
}

impl fmt::Display for Placements<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let map = |index: usize| self.maps.get(index).and_then(Option::as_ref);
        let pools = self.config.pools.iter().enumerate().map(|(index, pool)| Servers::new(pool, map(index)));
        let pools: Vec<Servers> = pools.collect();
        let mut rows = vec![HEADINGS.map(str::to_owned)];
        for key in self.keys {
            for servers in &pools {
                let cells = servers.cells_of(key);
                let cell = |nth: usize| cells.get(nth).cloned().unwrap_or_else(|| "-".to_owned());
                rows.push([shown(key), plain(&servers.pool.listen), cell(0), cell(1), cell(2)]);
            }
        }
        let width = |column: usize| {
            let widths = rows.iter().map(|row| row[column].chars().count());
            widths.filter(|&width| width <= COLUMN_WIDTH_MAX).max().unwrap_or(0)
        };
        let widths: [usize; COLUMNS] = std::array::from_fn(width);
        for (number, row) in rows.iter().enumerate() {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(widths) {
                write!(line, "{cell:<width$}  ")?;
            }
            let end = if number + 1 < rows.len() { "\n" } else { "" };
            write!(f, "{}{end}", line.trim_end())?;
        }
        Ok(())
    }
}

/// The servers of a pool and their ring.
struct Servers<'a> {
    pool: &'a PoolConfig,
    ring: Ring,
    map: Option<&'a Arc<SlotMap>>,
}

impl Servers<'_> {
    fn new<'a>(pool: &'a PoolConfig, map: Option<&'a Arc<SlotMap>>) -> Servers<'a> {
        Servers { pool, ring: pool.ring(), map }
    }

    /// Where a key is, and who would stand in. In a cluster those are replicas of its node.
    fn cells_of(&self, key: &[u8]) -> Vec<String> {
        if !self.pool.cluster {
            return self.line_of(key).into_iter().map(plain).collect();
        }
        let slot = cluster::slot_of(key);
        let shard = self.map.and_then(|map| Some(&map.shards()[map.owner(slot)?]));
        let Some(shard) = shard else { return vec![format!("slot {slot}")] };
        let node = format!("slot {slot}, {}", plain(&shard.master));
        [node].into_iter().chain(shard.replicas.iter().map(plain)).collect()
    }

    /// The server of a key, who stands in for it, and who stands in for both.
    fn line_of(&self, key: &[u8]) -> Vec<&ServerConfig> {
        let (servers, hash) = (&self.pool.servers, self.ring.place_of(self.pool.spread.hash(key)));
        let has_stand_in = self.pool.failover && servers[self.ring.primary(hash).index()].master().is_none();
        let most = if has_stand_in { SERVERS_SHOWN } else { 1 };
        let is_same = |a: ServerIndex, b: ServerIndex| servers[a.index()].is_same(&servers[b.index()]);
        let line = self.ring.line_of(hash, most, &is_same);
        line.into_iter().map(|server| &servers[server.index()]).collect()
    }
}

fn plain(place: impl fmt::Display) -> String {
    Plain(&place.to_string()).to_string()
}

/// A key as it is, if it is one word that nobody could read wrongly; or else in quotes, with escapes as a shell's
/// `$'…'` has them.
fn shown(key: &[u8]) -> String {
    let is_plain = |letter: char| !letter.is_whitespace() && !letter.is_control() && !"\"\\".contains(letter);
    match std::str::from_utf8(key) {
        Ok(text) if !text.is_empty() && text != "-" && text.chars().all(is_plain) => return text.to_owned(),
        _ => {}
    }
    let mut shown = "\"".to_owned();
    for chunk in key.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '"' | '\\' => shown.extend(['\\', letter]),
                letter if letter.is_control() => {
                    let mut bytes = [0; 4];
                    push_escaped(&mut shown, letter.encode_utf8(&mut bytes).as_bytes());
                }
                letter => shown.push(letter),
            }
        }
        push_escaped(&mut shown, chunk.invalid());
    }
    shown.push('"');
    shown
}

fn push_escaped(text: &mut String, bytes: &[u8]) {
    bytes.iter().for_each(|byte| text.push_str(&byte.escape_ascii().to_string()));
}

const COLUMNS: usize = 5;
const HEADINGS: [&str; COLUMNS] = ["key", "pool", "server", "if it is down", "if both are"];

/// The server of a key, and two who would stand in.
const SERVERS_SHOWN: usize = 3;

/// What is longer stands out of its column, and does not move the others.
const COLUMN_WIDTH_MAX: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_shown_so_that_it_cannot_be_read_wrongly() {
        for (key, text) in [
            (&b"user:1"[..], "user:1"),
            ("ключ".as_bytes(), "ключ"),
            (b"it's", "it's"),
            (b"", r#""""#),
            (b"-", r#""-""#),
            (b"a key", r#""a key""#),
            (b"a\n\x1b[2J", r#""a\n\x1b[2J""#),
            (b"\"\\", r#""\"\\""#),
            (b"ok\xff\x80\xc3", r#""ok\xff\x80\xc3""#),
            ("\u{9b}2J".as_bytes(), r#""\xc2\x9b2J""#),
        ] {
            assert_eq!(shown(key), text);
        }
    }
}
