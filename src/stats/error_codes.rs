//! Errors by their code, which is the first word of the reply: a few that mean something to people, and the rest.

/// The codes; the last one stands for all others.
pub const CODES: [&str; 20] = [
    "ERR",
    "WRONGTYPE",
    "NOSCRIPT",
    "OOM",
    "NOAUTH",
    "WRONGPASS",
    "NOPERM",
    "LOADING",
    "BUSY",
    "READONLY",
    "MISCONF",
    "MASTERDOWN",
    "NOREPLICAS",
    "EXECABORT",
    "CROSSSLOT",
    "BUSYGROUP",
    "NOGROUP",
    "UNBLOCKED",
    "NOPROTO",
    "other",
];

/// How many of each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ErrorCodes([u64; CODES.len()]);

impl ErrorCodes {
    /// This reply, which begins with `-`, was given.
    #[cold]
    pub fn count(&mut self, reply: &[u8]) {
        let word = reply[1..].split(|byte| matches!(byte, b' ' | b'\r')).next().unwrap_or_default();
        let place = CODES.iter().position(|code| code.as_bytes() == word).unwrap_or(CODES.len() - 1);
        self.0[place] += 1;
    }

    /// Adds those of another one.
    pub fn add(&mut self, other: &ErrorCodes) {
        super::add_all(&mut self.0, &other.0);
    }

    /// What is more in it than in an older state of it.
    pub fn since(&self, older: &ErrorCodes) -> ErrorCodes {
        let mut newer = *self;
        super::subtract_all(&mut newer.0, &older.0);
        newer
    }

    /// The count of each of [`CODES`]: for who reads them again.
    pub fn counts_mut(&mut self) -> &mut [u64] {
        &mut self.0
    }

    /// Each code that there was, and how often.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        CODES.into_iter().zip(self.0).filter(|(_, count)| *count > 0)
    }

    /// How many there were.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_is_the_code_and_a_code_that_is_not_known_is_another() {
        let mut codes = ErrorCodes::default();
        for reply in ["-ERR no\r\n", "-WRONGTYPE x\r\n", "-ERR\r\n", "-MYMODULE x\r\n", "-\r\n"] {
            codes.count(reply.as_bytes());
        }
        assert_eq!(codes.iter().collect::<Vec<_>>(), [("ERR", 2), ("WRONGTYPE", 1), ("other", 2)]);
        assert_eq!(codes.total(), 5);
        let older = codes;
        codes.count(b"-OOM x\r\n");
        assert_eq!(codes.since(&older).iter().collect::<Vec<_>>(), [("OOM", 1)]);
    }
}
