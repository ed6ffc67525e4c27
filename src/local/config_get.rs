//! CONFIG GET: settings that clients, frameworks and tools ask a server for before they begin.
//!
//! redis-benchmark wants `save` and `appendonly`, StackExchange.Redis `databases`, Spring `notify-keyspace-events`,
//! queues `maxmemory-policy`. The only server of a pool is asked itself, but for what stands in [`ASKABLE`] and for
//! nothing else: names of files, addresses and passwords are nobody's business who came through a pooler. A pattern
//! becomes the names from that list that it matches; what matches none is answered as a setting that does not exist,
//! with an empty map.
//!
//! ```text
//!   CONFIG GET maxmem*   ──►   CONFIG GET maxmemory maxmemory-policy maxmemory-samples
//! ```
//!
//! Several servers may be set differently: then three settings are told that hold for rmux. It saves nothing, and takes
//! the numbers of databases that a Redis server takes by default.
//!
//! Several names in one request are understood from Redis 7.0 on; an older server answers those with an error. Knows
//! the patterns of Redis.

use super::words::Words;
use crate::glob;
use crate::reply::{self, error};
use crate::session::Protocol;

/// Name and value, for several servers.
const SETTINGS: [(&str, &str); 3] = [("databases", "16"), ("save", ""), ("appendonly", "no")];

/// What a server may be asked for: how it stores, expires, evicts and limits; nothing of where it is and who may come.
const ASKABLE: [&str; 42] = [
    "active-expire-effort",
    "activedefrag",
    "appendfsync",
    "appendonly",
    "auto-aof-rewrite-min-size",
    "auto-aof-rewrite-percentage",
    "client-output-buffer-limit",
    "client-query-buffer-limit",
    "cluster-enabled",
    "databases",
    "hash-max-listpack-entries",
    "hash-max-listpack-value",
    "hash-max-ziplist-entries",
    "hash-max-ziplist-value",
    "hz",
    "io-threads",
    "latency-monitor-threshold",
    "lfu-decay-time",
    "lfu-log-factor",
    "list-compress-depth",
    "list-max-listpack-size",
    "maxclients",
    "maxmemory",
    "maxmemory-policy",
    "maxmemory-samples",
    "min-replicas-max-lag",
    "min-replicas-to-write",
    "no-appendfsync-on-rewrite",
    "notify-keyspace-events",
    "proto-max-bulk-len",
    "rdbcompression",
    "replica-read-only",
    "save",
    "set-max-intset-entries",
    "slowlog-log-slower-than",
    "slowlog-max-len",
    "stop-writes-on-bgsave-error",
    "stream-node-max-bytes",
    "stream-node-max-entries",
    "tcp-keepalive",
    "timeout",
    "zset-max-listpack-entries",
];

/// Writes what the only server is asked instead; false, and nothing written, if it is asked nothing.
pub(super) fn ask(words: Words<'_>, out: &mut Vec<u8>) -> bool {
    let names: Vec<&[u8]> = ASKABLE.iter().filter_map(|name| asked(words, name)).collect();
    if names.is_empty() {
        return false;
    }
    reply::array(out, 2 + names.len());
    reply::bulk(out, b"CONFIG");
    reply::bulk(out, b"GET");
    names.into_iter().for_each(|name| reply::bulk(out, name));
    true
}

/// The patterns stand behind `CONFIG GET`. A setting is told once, however many of them it matches.
pub(super) fn answer(words: Words<'_>, protocol: Protocol, is_alone: bool, out: &mut Vec<u8>) {
    if words.len() < 3 {
        return error::wrong_arity(out, "config|get");
    }
    let told = if is_alone { &[][..] } else { &SETTINGS };
    let found = told.iter().filter_map(|(name, value)| Some((asked(words, name)?, *value)));
    reply::map(out, protocol, found.clone().count());
    for (name, value) in found {
        reply::bulk(out, name);
        reply::bulk(out, value.as_bytes());
    }
}

/// The name, if one of the patterns matches it. As Redis: it comes back as it was spelled, if it was.
fn asked<'a>(words: Words<'a>, name: &'static str) -> Option<&'a [u8]> {
    let pattern = words.from(2).find(|pattern| matches(pattern, name.as_bytes()))?;
    let is_spelled_out = pattern.len() == name.len() && !pattern.iter().any(|byte| b"*?[".contains(byte));
    Some(if is_spelled_out { pattern } else { name.as_bytes() })
}

/// Whether all of `name`, which is lower case, matches, in any case.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    glob::matches(&pattern.to_ascii_lowercase(), name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_match_as_in_redis() {
        for (pattern, name, expected) in [
            ("save", "save", true),
            ("SaVe", "save", true),
            ("sav", "save", false),
            ("saves", "save", false),
            ("", "save", false),
            ("*", "save", true),
            ("**", "save", true),
            ("s*", "save", true),
            ("*e", "save", true),
            ("*a*", "databases", true),
            ("*a*a*s", "databases", true),
            ("d*s*s", "databases", true),
            ("*aa*", "databases", false),
            ("*x", "databases", false),
            ("sav?", "save", true),
            ("?ave", "save", true),
            ("save?", "save", false),
            ("*?????", "save", false),
            ("?*?*?*?", "save", true),
            ("*", "", true),
            ("?", "", false),
            ("", "", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_long_pattern_of_stars_takes_no_long_time() {
        let pattern = "*a".repeat(50_000);
        assert!(!matches(pattern.as_bytes(), b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"));
    }
}
