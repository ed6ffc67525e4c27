//! Which command a name means, and which part of it a word.
//!
//! Names are looked up on the path of every request, through a table of hashes that is made when the program is
//! compiled; words, which few requests have, one by one.

use super::class::Class;
use super::name::Name;
use super::row::Command;
use super::table::ROWS;

/// The command with this name, in any case. Subcommands are found with [`Command::sub`].
///
/// On the path of every request: no allocation, and nearly always one probe.
pub fn find(name: &[u8]) -> Option<&'static Command> {
    let folded = fold(name)?;
    let mut slot = slot_of(folded);
    loop {
        let row = usize::from(INDEX[slot]);
        if row == usize::from(EMPTY) {
            return None;
        }
        if NAMES[row] == folded {
            return Some(&ROWS[row]);
        }
        slot = (slot + 1) % SLOTS;
    }
}

/// All commands, grouped by what they are about.
pub fn all() -> impl Iterator<Item = &'static Command> {
    ROWS.iter()
}

/// How many commands there are, subcommands not counted.
pub const COUNT: usize = ROWS.len();

impl Command {
    /// The subcommands of a container, otherwise none.
    pub fn subs(&self) -> &'static [Command] {
        self.subs.rows()
    }

    /// Its full name. Looks for the container that a subcommand belongs to among all of them.
    pub fn full_name(&'static self) -> Name {
        if ROWS.as_ptr_range().contains(&std::ptr::from_ref(self)) {
            return Name::new(self.name(), self.name());
        }
        let has_it = |row: &&Command| row.subs().iter().any(|sub| std::ptr::eq(sub, self));
        Name::new(ROWS.iter().find(has_it).map_or(self.name(), |row| row.name()), self.name())
    }

    /// The subcommand with this name, in any case.
    pub fn sub(&self, word: &[u8]) -> Option<&'static Command> {
        self.subs().iter().find(|sub| sub.text.as_bytes().eq_ignore_ascii_case(word))
    }

    /// True exactly when a subcommand that the table does not have may be one all the same, of a newer module than the
    /// table knows, and is safe to try. Where some subcommands are refused, one that is not known may be like them; and
    /// a word of other than visible letters may be read as another one (`SET` and a zero byte).
    pub fn may_have_sub(&self, word: &[u8]) -> bool {
        self.is_container()
            && self.name().contains('.')
            && self.subs().iter().all(|sub| sub.class != Class::Refused)
            && word.iter().all(u8::is_ascii_graphic)
    }
}

/// A name in lower case, padded with zeros; the last byte is the length, so that no byte of a name passes for padding.
type Folded = [u64; 3];

/// The longest name that could be folded; longer than any in the table.
const NAME_MAX: usize = size_of::<Folded>() - 1;

/// A power of two, at least four times the rows, so that chains stay short.
const SLOTS: usize = 2048;

/// Odd, and spreads the names well.
const MULTIPLIER: u64 = 0xf50f_656b_7d94_a2f5;

const EMPTY: u16 = u16::MAX;

/// No name may be further than this from its own slot.
const PROBES_MAX: usize = 3;

static NAMES: [Folded; COUNT] = folded_names();
static INDEX: [u16; SLOTS] = index_of_names();

const fn fold(name: &[u8]) -> Option<Folded> {
    if name.len() > NAME_MAX {
        return None;
    }
    let length = (name.len() as u64) << 56;
    Some(match name.split_first_chunk::<8>() {
        None => [short_word(name), 0, length],
        Some((first, rest)) => match rest.split_first_chunk::<8>() {
            None => [word(first), short_word(rest), length],
            Some((second, rest)) => [word(first), word(second), short_word(rest) | length],
        },
    })
}

const fn word(bytes: &[u8; 8]) -> u64 {
    lower_case(u64::from_le_bytes(*bytes))
}

/// Up to seven bytes as one word: two loads that may overlap, instead of a loop.
const fn short_word(bytes: &[u8]) -> u64 {
    let (head, tail, shift) = if let (Some(head), Some(tail)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let (head, tail) = (u32::from_le_bytes(*head), u32::from_le_bytes(*tail));
        (head as u64, tail as u64, bytes.len() - 4)
    } else if let (Some(head), Some(tail)) = (bytes.first_chunk::<2>(), bytes.last_chunk::<2>()) {
        let (head, tail) = (u16::from_le_bytes(*head), u16::from_le_bytes(*tail));
        (head as u64, tail as u64, bytes.len() - 2)
    } else if let [byte, ..] = bytes {
        (*byte as u64, 0, 0)
    } else {
        (0, 0, 0)
    };
    lower_case(head | tail << (shift * 8))
}

/// Eight letters at once: each byte from A to Z gets bit 5, every other byte stays. No sum carries into the next byte.
const fn lower_case(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let low_bits = word & (0x7f * EACH);
    let from_a = low_bits + (0x80 - b'A' as u64) * EACH;
    let beyond_z = low_bits + (0x7f - b'Z' as u64) * EACH;
    let upper_case = from_a & !beyond_z & !word & (0x80 * EACH);
    word | upper_case >> 2
}

const fn slot_of(folded: Folded) -> usize {
    let mixed = folded[0] ^ folded[1].rotate_left(23) ^ folded[2].rotate_left(41);
    (mixed.wrapping_mul(MULTIPLIER) >> (u64::BITS - SLOTS.trailing_zeros())) as usize
}

const fn folded_names() -> [Folded; COUNT] {
    let mut names = [[0; 3]; COUNT];
    let mut row = 0;
    while row < COUNT {
        names[row] = fold(ROWS[row].text.as_bytes()).expect("a name fits in a Folded");
        row += 1;
    }
    names
}

const fn index_of_names() -> [u16; SLOTS] {
    assert!(COUNT * 4 <= SLOTS && SLOTS.is_power_of_two());
    let names = folded_names();
    let mut index = [EMPTY; SLOTS];
    let mut row = 0;
    while row < COUNT {
        let mut slot = slot_of(names[row]);
        let mut probes = 1;
        while index[slot] != EMPTY {
            slot = (slot + 1) % SLOTS;
            probes += 1;
        }
        assert!(probes <= PROBES_MAX, "the names crowd: choose another multiplier or more slots");
        index[slot] = row as u16;
        row += 1;
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_command_is_found_by_its_name_in_any_case() {
        for row in all() {
            let upper = row.name().to_ascii_uppercase();
            let mixed: String = (row.name().chars().enumerate())
                .map(|(place, letter)| if place % 2 == 0 { letter.to_ascii_uppercase() } else { letter })
                .collect();
            for spelling in [row.name(), &upper, &mixed] {
                let found = find(spelling.as_bytes()).expect(spelling);
                assert!(std::ptr::eq(found, row), "{spelling}");
            }
        }
    }

    #[test]
    fn names_that_are_nearly_right_are_unknown() {
        let names: HashSet<&[u8]> = all().map(|row| row.name().as_bytes()).collect();
        let check = |name: &[u8]| {
            let is_known = names.contains(name.to_ascii_lowercase().as_slice());
            assert_eq!(find(name).is_some(), is_known, "{name:?}");
        };
        for name in &names {
            for end in 0..name.len() {
                check(&name[..end]);
            }
            for byte in 0..=u8::MAX {
                check(&[name, [byte].as_slice()].concat());
                for place in [0, name.len() / 2, name.len() - 1] {
                    let mut other = name.to_vec();
                    other[place] = byte;
                    check(&other);
                }
            }
        }
    }

    #[test]
    fn strange_names_are_unknown() {
        for name in [
            "",
            "\0",
            "\0\0\0",
            "get ",
            " get",
            "get\0",
            "\0get",
            "get\0\0\0\0\0",
            "G\u{2460}T",
            "config|get",
            "sentinel",
        ] {
            assert!(find(name.as_bytes()).is_none(), "{name:?}");
        }
        for length in 0..200 {
            assert!(find(&vec![0; length]).is_none());
            assert!(find(&vec![b'g'; length]).is_none());
            assert!(find(&vec![0xff; length]).is_none());
        }
        // What a wrong case mapping would take for letters: the bytes 32 away from them, and those with the high bit.
        for (byte, near) in [(b'[', b'{'), (b'@', b'`'), (b'G' | 0x80, b'g' | 0x80)] {
            assert_ne!(fold(&[byte; 9]), fold(&[near; 9]));
        }
    }

    #[test]
    fn folding_is_ascii_lower_case_at_every_length() {
        for length in 0..=NAME_MAX {
            for byte in 0..=u8::MAX {
                let mut name: Vec<u8> = (0..length).map(|place| b'A' + place as u8).collect();
                if let Some(last) = name.last_mut() {
                    *last = byte;
                }
                let folded = fold(&name).expect("short enough");
                let mut bytes: Vec<u8> = folded.iter().flat_map(|word| word.to_le_bytes()).collect();
                assert_eq!(usize::from(bytes.pop().expect("24 bytes")), length);
                assert_eq!(bytes[..length], name.to_ascii_lowercase());
                assert!(bytes[length..].iter().all(|byte| *byte == 0));
            }
        }
        assert_eq!(fold(&[b'a'; NAME_MAX + 1]), None);
    }
}
