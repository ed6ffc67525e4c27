//! Patterns as Redis matches them: of channels (`PSUBSCRIBE`) and of settings (`CONFIG GET`).
//!
//! ```text
//!   *  any bytes    ?  one byte    [abc] [a-z] [^a]  one of these, or none of these    \x  this very byte
//! ```
//!
//! Takes at most the product of both lengths, and that is bounded: behind a `*`, only the last one is tried again.

/// A pattern and a name whose lengths have a larger product do not match: nobody shall wait for that.
const COST_MAX: usize = 1 << 20;

/// Whether all of `name` matches.
pub fn matches(pattern: &[u8], name: &[u8]) -> bool {
    if pattern.len().saturating_mul(name.len()) > COST_MAX {
        return false;
    }
    let (mut pattern_at, mut name_at) = (0, 0);
    let mut behind_star = None;
    loop {
        let rest = &pattern[pattern_at..];
        match name.get(name_at) {
            _ if rest.first() == Some(&b'*') => {
                pattern_at += 1;
                behind_star = Some((pattern_at, name_at));
                continue;
            }
            None => return rest.is_empty(),
            Some(&byte) => {
                let (is_match, len) = one(rest, byte);
                if is_match {
                    pattern_at += len;
                    name_at += 1;
                    continue;
                }
            }
        }
        // The star takes one byte more.
        let Some((restart, taken)) = behind_star else { return false };
        (pattern_at, name_at) = (restart, taken + 1);
        behind_star = Some((restart, name_at));
    }
}

/// Whether what `pattern` begins with, which is no star, matches this byte, and how long that is.
fn one(pattern: &[u8], byte: u8) -> (bool, usize) {
    match *pattern {
        [] => (false, 0),
        [b'?', ..] => (true, 1),
        [b'[', b'^', ref class @ ..] => {
            let (is_in, len) = class_has(class, byte);
            (!is_in, 2 + len)
        }
        [b'[', ref class @ ..] => {
            let (is_in, len) = class_has(class, byte);
            (is_in, 1 + len)
        }
        [b'\\', escaped, ..] => (escaped == byte, 2),
        [literal, ..] => (literal == byte, 1),
    }
}

/// Whether a class, the rest of which `class` begins with, has this byte, and how long that rest is. One that is not
/// closed ends with the pattern.
fn class_has(class: &[u8], byte: u8) -> (bool, usize) {
    let (mut is_in, mut at) = (false, 0);
    loop {
        let len = match class[at..] {
            [] => return (is_in, at),
            [b'\\', escaped, ..] => {
                is_in |= escaped == byte;
                2
            }
            [b']', ..] => return (is_in, at + 1),
            [from, b'-', to, ..] => {
                is_in |= (from.min(to)..=from.max(to)).contains(&byte);
                3
            }
            [literal, ..] => {
                is_in |= literal == byte;
                1
            }
        };
        at += len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, name, expected) in [
            ("", "", true),
            ("", "a", false),
            ("a", "", false),
            ("*", "", true),
            ("**", "abc", true),
            ("news.*", "news.", true),
            ("news.*", "news", false),
            ("*a*a*s", "databases", true),
            ("*aa*", "databases", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            ("h[a-b]llo", "hcllo", false),
            ("[a-]", "-", false),
            ("[a-]", "]", true),
            ("[]", "a", false),
            ("[^]", "a", true),
            ("[a", "a", true),
            ("[", "a", false),
            ("[\\]]", "]", true),
            ("[\\]]", "\\", false),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a\\", "a\\", true),
            ("*[0-9]x*", "a1b22xc", true),
            ("A", "a", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern:?} {name:?}");
        }
    }

    #[test]
    fn an_evil_pattern_costs_no_more_than_the_product() {
        let pattern = "*a".repeat(400) + "b";
        assert!(!matches(pattern.as_bytes(), &[b'a'; 1000]));
        assert!(!matches(&[b'*'; 5000], &[b'a'; 5000]), "more is not looked at");
    }
}
