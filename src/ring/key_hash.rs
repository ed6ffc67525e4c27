//! From a key to its hash: the original's, and those that twemproxy knows under the names of its setting `hash`.
//!
//! Bit for bit what twemproxy 0.5 on x86 gives, its peculiarities included, since a key has to be found where it was
//! written: `crc32` has 15 bits, `fnv1_64` and `fnv1a_64` are those of 64 bits cut to 32, and where C's `char` has a
//! sign a byte above 127 counts as a negative number. The hash of an empty key is 0.
//!
//! Knows no servers and no tags: what of a key counts is cut out before ([`super::HashTag`]).

use super::Ring;

/// A function from keys to 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyHash {
    /// The original's: times 33, plus the byte.
    #[default]
    Times33,
    /// Jenkins' one-at-a-time.
    OneAtATime,
    /// The first four bytes of MD5, the lowest first.
    Md5,
    /// CRC-16 as Redis Cluster's, but in 32 bits, from which nothing is cut: of use with ketama.
    Crc16,
    /// Bits 16 to 30 of CRC-32.
    Crc32,
    /// CRC-32.
    Crc32a,
    /// FNV-1 of 64 bits, cut to 32.
    Fnv1Of64,
    /// FNV-1a of 64 bits, cut to 32.
    Fnv1aOf64,
    /// FNV-1 of 32 bits.
    Fnv1Of32,
    /// FNV-1a of 32 bits.
    Fnv1aOf32,
    /// Hsieh's SuperFastHash.
    Hsieh,
    /// MurmurHash2, its seed made of the length.
    Murmur,
    /// Jenkins' lookup3, with the initial value 13.
    Jenkins,
}

impl KeyHash {
    /// All of them, under the names of the setting.
    pub const NAMES: [(&str, KeyHash); 13] = [
        ("times33", KeyHash::Times33),
        ("one_at_a_time", KeyHash::OneAtATime),
        ("md5", KeyHash::Md5),
        ("crc16", KeyHash::Crc16),
        ("crc32", KeyHash::Crc32),
        ("crc32a", KeyHash::Crc32a),
        ("fnv1_64", KeyHash::Fnv1Of64),
        ("fnv1a_64", KeyHash::Fnv1aOf64),
        ("fnv1_32", KeyHash::Fnv1Of32),
        ("fnv1a_32", KeyHash::Fnv1aOf32),
        ("hsieh", KeyHash::Hsieh),
        ("murmur", KeyHash::Murmur),
        ("jenkins", KeyHash::Jenkins),
    ];

    /// The hash of a key.
    pub fn hash(self, key: &[u8]) -> u32 {
        if key.is_empty() {
            return 0;
        }
        match self {
            KeyHash::Times33 => Ring::hash(key),
            KeyHash::OneAtATime => one_at_a_time(key),
            KeyHash::Md5 => first_word(md5::compute(key).0),
            KeyHash::Crc16 => crc16(key),
            KeyHash::Crc32 => crc32(key) >> 16 & 0x7fff,
            KeyHash::Crc32a => crc32(key),
            KeyHash::Fnv1Of64 => fnv1(key, FNV_64),
            KeyHash::Fnv1aOf64 => fnv1a(key, FNV_64),
            KeyHash::Fnv1Of32 => fnv1(key, FNV_32),
            KeyHash::Fnv1aOf32 => fnv1a(key, FNV_32),
            KeyHash::Hsieh => hsieh(key),
            KeyHash::Murmur => murmur(key),
            KeyHash::Jenkins => jenkins(key),
        }
    }
}

/// FNV's offset basis and prime: of 32 bits, and the lower halves of those of 64, since the upper ones change nothing
/// of the lower half of a product.
const FNV_32: (u32, u32) = (0x811c_9dc5, 0x0100_0193);
const FNV_64: (u32, u32) = (0x8422_2325, 0x0000_01b3);

/// A byte as C's `char` on x86: from -128 to 127, extended to 32 bits.
fn signed(byte: u8) -> u32 {
    i32::from(byte as i8) as u32
}

fn first_word(bytes: [u8; 16]) -> u32 {
    let [first, second, third, fourth, ..] = bytes;
    u32::from_le_bytes([first, second, third, fourth])
}

fn one_at_a_time(key: &[u8]) -> u32 {
    let mut hash = 0u32;
    for &byte in key {
        hash = hash.wrapping_add(signed(byte));
        hash = hash.wrapping_add(hash << 10);
        hash ^= hash >> 6;
    }
    hash = hash.wrapping_add(hash << 3);
    hash ^= hash >> 11;
    hash.wrapping_add(hash << 15)
}

fn crc16(key: &[u8]) -> u32 {
    let shift = |crc: u16, _| if crc >> 15 == 1 { crc << 1 ^ 0x1021 } else { crc << 1 };
    let of_byte = |byte: u32| u32::from((0..8).fold((byte as u16) << 8, shift));
    key.iter().fold(0, |crc, &byte| crc << 8 ^ of_byte((crc >> 8 ^ u32::from(byte)) & 0xff))
}

fn crc32(key: &[u8]) -> u32 {
    let shift = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    let of_byte = |byte: u32| (0..8).fold(byte, shift);
    !key.iter().fold(!0, |crc, &byte| crc >> 8 ^ of_byte((crc ^ u32::from(byte)) & 0xff))
}

fn fnv1(key: &[u8], (basis, prime): (u32, u32)) -> u32 {
    key.iter().fold(basis, |hash, &byte| hash.wrapping_mul(prime) ^ signed(byte))
}

fn fnv1a(key: &[u8], (basis, prime): (u32, u32)) -> u32 {
    key.iter().fold(basis, |hash, &byte| (hash ^ signed(byte)).wrapping_mul(prime))
}

fn hsieh(key: &[u8]) -> u32 {
    let pair = |bytes: &[u8]| u32::from(bytes[0]) | u32::from(bytes[1]) << 8;
    let blocks = key.chunks_exact(4);
    let rest = blocks.remainder();
    let mut hash = 0u32;
    for block in blocks {
        hash = hash.wrapping_add(pair(block));
        hash = hash << 16 ^ pair(&block[2..]) << 11 ^ hash;
        hash = hash.wrapping_add(hash >> 11);
    }
    match *rest {
        [_, _, last] => {
            hash = hash.wrapping_add(pair(rest));
            hash ^= hash << 16 ^ signed(last) << 18;
            hash = hash.wrapping_add(hash >> 11);
        }
        [_, _] => {
            hash = hash.wrapping_add(pair(rest));
            hash ^= hash << 11;
            hash = hash.wrapping_add(hash >> 17);
        }
        [last] => {
            hash = hash.wrapping_add(u32::from(last));
            hash ^= hash << 10;
            hash = hash.wrapping_add(hash >> 1);
        }
        _ => {}
    }
    hash ^= hash << 3;
    hash = hash.wrapping_add(hash >> 5);
    hash ^= hash << 4;
    hash = hash.wrapping_add(hash >> 17);
    hash ^= hash << 25;
    hash.wrapping_add(hash >> 6)
}

fn murmur(key: &[u8]) -> u32 {
    const FACTOR: u32 = 0x5bd1_e995;
    let length = key.len() as u32;
    let mut hash = 0xdead_beef_u32.wrapping_mul(length) ^ length;
    for block in key.chunks(4) {
        let word = word(block);
        if block.len() == 4 {
            let mixed = word.wrapping_mul(FACTOR);
            hash = hash.wrapping_mul(FACTOR) ^ (mixed ^ mixed >> 24).wrapping_mul(FACTOR);
        } else {
            hash = (hash ^ word).wrapping_mul(FACTOR);
        }
    }
    hash = (hash ^ hash >> 13).wrapping_mul(FACTOR);
    hash ^ hash >> 15
}

fn jenkins(key: &[u8]) -> u32 {
    let start = 0xdead_beef_u32.wrapping_add(key.len() as u32).wrapping_add(13);
    let (mut a, mut b, mut c) = (start, start, start);
    let last = (key.len() - 1) / 12;
    for (number, block) in key.chunks(12).enumerate() {
        let word_at = |at: usize| block.get(at..).map_or(0, |rest| word(&rest[..rest.len().min(4)]));
        a = a.wrapping_add(word_at(0));
        b = b.wrapping_add(word_at(4));
        c = c.wrapping_add(word_at(8));
        if number < last {
            a = a.wrapping_sub(c) ^ c.rotate_left(4);
            c = c.wrapping_add(b);
            b = b.wrapping_sub(a) ^ a.rotate_left(6);
            a = a.wrapping_add(c);
            c = c.wrapping_sub(b) ^ b.rotate_left(8);
            b = b.wrapping_add(a);
            a = a.wrapping_sub(c) ^ c.rotate_left(16);
            c = c.wrapping_add(b);
            b = b.wrapping_sub(a) ^ a.rotate_left(19);
            a = a.wrapping_add(c);
            c = c.wrapping_sub(b) ^ b.rotate_left(4);
            b = b.wrapping_add(a);
        }
    }
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    (c ^ b).wrapping_sub(b.rotate_left(24))
}

/// Up to four bytes as a number, the lowest first.
fn word(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(name: &str, key: &[u8]) -> u32 {
        KeyHash::NAMES.iter().find(|(other, _)| *other == name).expect("it is known").1.hash(key)
    }

    #[test]
    fn each_is_what_its_authors_publish() {
        // The check values of the catalogue of CRCs (XMODEM, and the usual CRC-32), of FNV's authors, of RFC 1321.
        assert_eq!(hash("crc16", b"123456789") & 0xffff, 0x31c3);
        assert_eq!(hash("crc32a", b"123456789"), 0xcbf4_3926);
        assert_eq!(hash("crc32", b"123456789"), 0x4bf4);
        assert_eq!(hash("fnv1_32", b"foobar"), 0x31f0_b262);
        assert_eq!(hash("fnv1a_32", b"foobar"), 0xbf9c_f968);
        assert_eq!(hash("fnv1_64", b"foobar"), 0x340d_8765_a4dd_a9c2_u64 as u32);
        assert_eq!(hash("fnv1a_64", b"foobar"), 0x8594_4171_f739_67e8_u64 as u32);
        assert_eq!(hash("md5", b"abc"), u32::from_le_bytes([0x90, 0x01, 0x50, 0x98]));
        assert_eq!(hash("one_at_a_time", b"a"), 0xca2e_9442);
        assert_eq!(hash("times33", b"ab"), 97 * 33 + 98);
    }

    #[test]
    fn an_empty_key_has_the_hash_0() {
        for (name, hash) in KeyHash::NAMES {
            assert_eq!(hash.hash(b""), 0, "{name}");
        }
    }

    #[test]
    fn every_length_is_hashed_and_every_byte_counts() {
        for (name, hash) in KeyHash::NAMES {
            for length in 1..40 {
                let key: Vec<u8> = (0..length).map(|at| 0xf7_u8.wrapping_mul(at as u8 + 1)).collect();
                for at in 0..length {
                    let mut other = key.clone();
                    other[at] ^= 0x41;
                    // With 15 or 16 bits, two keys may well share a hash; these do not.
                    assert_ne!(hash.hash(&key), hash.hash(&other), "{name}, byte {at} of {length}");
                }
            }
        }
    }
}
