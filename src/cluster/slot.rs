//! From a key to its slot, by Redis Cluster's rule.
//!
//! What of a key counts is its tag, if it has one; the slot is the remainder of that part's CRC16 (XMODEM: polynomial
//! 0x1021, initial value 0, nothing reflected) by [`SLOTS`].
//!
//! Knows no nodes. Invariant: a slot is < [`SLOTS`].

use crate::ring::HashTag;

/// How many slots a cluster has.
pub const SLOTS: usize = 16_384;

/// The slot of a key.
///
/// What is hashed is what stands between the first `{` and the first `}` behind it, unless that is nothing; otherwise
/// all of the key.
#[inline]
pub fn slot_of(key: &[u8]) -> u16 {
    crc16(TAG.hashed_part(key)) & (SLOTS as u16 - 1)
}

const TAG: HashTag = HashTag { open: b'{', close: b'}' };

#[inline]
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| crc << 8 ^ TABLE[usize::from(crc >> 8) ^ usize::from(byte)])
}

/// The CRC of each byte.
static TABLE: [u16; 256] = table();

const fn table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc >> 15 == 1 { crc << 1 ^ 0x1021 } else { crc << 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crc_has_the_check_value_of_its_catalogue() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(crc16(b""), 0);
        assert_eq!(slot_of(b"123456789"), 0x31c3);
        // CRC 0xaf96: above the last slot, so that the remainder shows.
        assert_eq!((crc16(b"foo"), slot_of(b"foo")), (0xaf96, 0x2f96));
        assert_eq!(slot_of(b""), 0);
    }

    #[test]
    fn only_the_tag_counts_where_there_is_one() {
        for (key, hashed) in [
            (&b"{user1000}.following"[..], &b"user1000"[..]),
            (b"foo{}{bar}", b"foo{}{bar}"),
            (b"foo{{bar}}zap", b"{bar"),
            (b"foo{bar}{zap}", b"bar"),
            (b"foo{bar", b"foo{bar"),
            (b"foo}bar{", b"foo}bar{"),
            (b"{}foo", b"{}foo"),
            (b"}{a}", b"a"),
            (b"{\xff}\x00", b"\xff"),
        ] {
            let slot = crc16(hashed) % SLOTS as u16;
            assert_eq!(slot_of(key), slot, "{}", String::from_utf8_lossy(key));
        }
    }
}
