//! CONFIG GET: the three settings that clients ask a server for before they begin.
//!
//! redis-benchmark wants `save` and `appendonly`, StackExchange.Redis `databases`, which it must believe to be more
//! than one to use them at all. What is told is what holds for rmux: it saves nothing, and takes the numbers that a
//! Redis server takes by default. Every other setting is answered as one that does not exist: with an empty map.
//!
//! Knows the patterns `*` and `?`; a class (`[ab]`) matches nothing here.

use super::{Words, error, reply};
use crate::client::Protocol;

/// Name and value.
const SETTINGS: [(&str, &str); 3] = [("databases", "16"), ("save", ""), ("appendonly", "no")];

/// The patterns stand behind `CONFIG GET`. A setting is told once, however many of them it matches.
pub(super) fn answer(words: Words<'_>, protocol: Protocol, out: &mut Vec<u8>) {
    if words.len() < 3 {
        return error::wrong_arity(out, "config|get");
    }
    let asked = |name: &str| words.from(2).find(|pattern| matches(pattern, name.as_bytes()));
    let found = SETTINGS.iter().filter_map(|(name, value)| Some((*name, asked(name)?, *value)));
    reply::map(out, protocol, found.clone().count());
    for (name, pattern, value) in found {
        // As Redis: a name comes back as it was spelled.
        let is_spelled_out = pattern.len() == name.len() && !pattern.contains(&b'?') && !pattern.contains(&b'*');
        reply::bulk(out, if is_spelled_out { pattern } else { name.as_bytes() });
        reply::bulk(out, value.as_bytes());
    }
}

/// Whether all of `name` matches, in any case. Takes at most the product of both lengths: behind a `*`, only the last
/// one is tried again.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut pattern_at, mut name_at) = (0, 0);
    let mut behind_star = None;
    loop {
        match (pattern.get(pattern_at), name.get(name_at)) {
            (Some(b'*'), _) => {
                pattern_at += 1;
                behind_star = Some((pattern_at, name_at));
                continue;
            }
            (Some(wanted), Some(byte)) if *wanted == b'?' || wanted.eq_ignore_ascii_case(byte) => {
                pattern_at += 1;
                name_at += 1;
                continue;
            }
            (None, None) => return true,
            (_, None) => return false,
            (_, Some(_)) => {}
        }
        // The star takes one byte more.
        let Some((restart, taken)) = behind_star else {
            return false;
        };
        (pattern_at, name_at) = (restart, taken + 1);
        behind_star = Some((restart, name_at));
    }
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
