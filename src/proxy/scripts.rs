//! The scripts that clients have shown, so that a server that has one not yet can be given it.
//!
//! With several servers, `EVALSHA` goes to the server of its keys, and that one may never have seen the script: a
//! client that said `EVAL` once said it to one server, and a server that was restarted has forgotten. So rmux remembers
//! what went by in `EVAL`, `EVAL_RO` and `SCRIPT LOAD`, and answers a `-NOSCRIPT` itself, by sending `EVAL` with the
//! same keys and arguments in the place of the `EVALSHA`. That runs nothing twice: `NOSCRIPT` says that nothing was
//! run.
//!
//! ```text
//!   client   EVALSHA e0e1.. 1 k ──► server 2: EVALSHA e0e1.. 1 k
//!                                             ◄── -NOSCRIPT
//!                                   server 2: EVAL "return 1" 1 k
//!   client   :1 ◄──────────────────────────── ◄── :1
//! ```
//!
//! Not if the client has sent more to that server meanwhile: it would be overtaken by that, and the `NOSCRIPT` is its
//! own. With one server nothing is remembered, and every `NOSCRIPT` is the client's. `SCRIPT FLUSH` forgets.
//!
//! Bounded: [`SCRIPTS_MAX`] scripts, [`BYTES_MAX`] bytes, and a sixteenth of what may be buffered; the oldest go first.
//! A script that is larger than a quarter of that is not remembered. Each reactor has a memory of its own.

use std::collections::VecDeque;
use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;

use crate::command::Command;
use crate::sha1;

/// How many scripts are remembered.
const SCRIPTS_MAX: usize = 1024;
/// What each of them takes beside its text: its places in three tables.
const ENTRY_BYTES: usize = 128;
/// How a server says that it does not know a script.
pub(super) const NO_SCRIPT: &[u8] = b"-NOSCRIPT No matching script";

/// How many bytes they may have together.
pub(super) const BYTES_MAX: usize = 1024 * 1024;

/// Scripts by their digest.
#[derive(Debug, Default)]
pub(super) struct Scripts {
    /// In the order of the digests.
    by_digest: Vec<([u8; 20], Box<[u8]>)>,
    /// Digests, the oldest first, each with the hash of its script.
    order: VecDeque<([u8; 20], u64)>,
    /// A cheaper hash of each, so that SHA-1 is computed once for each script and not for each call. Where two scripts
    /// share one, the second is not remembered.
    /// In their order.
    seen: Vec<u64>,
    bytes: usize,
    /// Bytes that the account has for all this.
    pub charged: usize,
}

impl Scripts {
    /// The memory that they take, in bytes; about as much as it is.
    pub fn held(&self) -> usize {
        self.bytes + self.order.len() * ENTRY_BYTES
    }

    /// A client has shown a script; `bytes_max` is what all of them may take.
    pub fn learn(&mut self, script: &[u8], bytes_max: usize) {
        if script.len() > bytes_max / 4 {
            return;
        }
        let mut hasher = DefaultHasher::new();
        hasher.write(script);
        let hash = hasher.finish();
        let Err(place) = self.seen.binary_search(&hash) else { return };
        self.seen.insert(place, hash);
        let digest = sha1::sha1(script);
        let Err(place) = self.place_of(&digest) else { return };
        self.bytes += script.len();
        self.by_digest.insert(place, (digest, script.into()));
        self.order.push_back((digest, hash));
        while self.order.len() > SCRIPTS_MAX || self.held() > bytes_max {
            let Some((digest, hash)) = self.order.pop_front() else { return };
            if let Ok(place) = self.seen.binary_search(&hash) {
                self.seen.remove(place);
            }
            if let Ok(place) = self.place_of(&digest) {
                self.bytes -= self.by_digest.remove(place).1.len();
            }
        }
    }

    /// The script with this digest, 40 hexadecimal digits.
    pub fn find(&self, digest: &[u8]) -> Option<&[u8]> {
        let place = self.place_of(&sha1::from_hex(digest)?).ok()?;
        Some(&self.by_digest[place].1)
    }

    fn place_of(&self, digest: &[u8; 20]) -> Result<usize, usize> {
        self.by_digest.binary_search_by(|(known, _)| known.cmp(digest))
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        *self = Scripts { charged: self.charged, ..Scripts::default() };
    }
}

/// True exactly when this is a command that shows a script, in the argument behind its name.
pub(super) fn shows_script(command: &Command) -> bool {
    command.is_named("eval") || command.is_named("eval_ro")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_found_by_its_digest_in_any_case() {
        let mut scripts = Scripts::default();
        scripts.learn(b"return 1", BYTES_MAX);
        scripts.learn(b"return 1", BYTES_MAX);
        assert_eq!(scripts.find(b"e0e1f9fabfc9d4800c877a703b823ac0578ff8db"), Some(&b"return 1"[..]));
        assert_eq!(scripts.find(b"E0E1F9FABFC9D4800C877A703B823AC0578FF8DB"), Some(&b"return 1"[..]));
        assert_eq!(scripts.find(b"e0e1"), None);
        assert_eq!((scripts.order.len(), scripts.bytes), (1, 8));
        scripts.clear();
        assert_eq!(scripts.find(b"e0e1f9fabfc9d4800c877a703b823ac0578ff8db"), None);
    }

    #[test]
    fn the_memory_is_bounded_and_the_oldest_go_first() {
        let mut scripts = Scripts::default();
        for number in 0..3 * SCRIPTS_MAX {
            scripts.learn(format!("return {number}").as_bytes(), BYTES_MAX);
        }
        let expected: usize = (2 * SCRIPTS_MAX..3 * SCRIPTS_MAX).map(|number| format!("return {number}").len()).sum();
        assert_eq!((scripts.order.len(), scripts.bytes), (SCRIPTS_MAX, expected));
        for number in 0..20 {
            scripts.learn(&vec![number; BYTES_MAX / 5], BYTES_MAX);
            assert!(scripts.held() <= BYTES_MAX);
        }
        assert_eq!(scripts.order.len(), 4);
        assert_eq!((scripts.seen.len(), scripts.by_digest.len()), (4, 4));
        scripts.learn(&vec![b'x'; BYTES_MAX / 4 + 1], BYTES_MAX);
        assert_eq!(scripts.order.len(), 4, "too large to be remembered");
    }
}
