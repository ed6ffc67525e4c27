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

/// Eight bytes at a time: this runs for each key, and a step per byte waits for the one before it.
#[inline]
fn crc16(bytes: &[u8]) -> u16 {
    let blocks = bytes.chunks_exact(8);
    let rest = blocks.remainder();
    let crc = blocks.fold(0, |crc: u16, block| {
        let block: &[u8; 8] = block.try_into().expect("chunks_exact gives eight bytes");
        let [high, low] = crc.to_be_bytes();
        let with_crc = [block[0] ^ high, block[1] ^ low, block[2], block[3], block[4], block[5], block[6], block[7]];
        let behind = |place: usize| TABLES[7 - place][usize::from(with_crc[place])];
        behind(0) ^ behind(1) ^ behind(2) ^ behind(3) ^ behind(4) ^ behind(5) ^ behind(6) ^ behind(7)
    });
    rest.iter().fold(crc, |crc, &byte| crc << 8 ^ TABLES[0][usize::from(crc >> 8) ^ usize::from(byte)])
}

/// The CRC of each byte with 0 to 7 zero bytes behind it.
static TABLES: [[u16; 256]; 8] = tables();

const fn tables() -> [[u16; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut zeros = 0;
        while zeros < 8 {
            crc = shifted_by_a_byte(crc);
            tables[zeros][byte] = crc;
            zeros += 1;
        }
        byte += 1;
    }
    tables
}

/// The register after eight more bits, all of them zero.
const fn shifted_by_a_byte(mut crc: u16) -> u16 {
    let mut bit = 0;
    while bit < 8 {
        crc = if crc >> 15 == 1 { crc << 1 ^ 0x1021 } else { crc << 1 };
        bit += 1;
    }
    crc
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
    fn blocks_and_single_bytes_give_the_same_crc() {
        let bytes: Vec<u8> = (0..200u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for length in 0..bytes.len() {
            let one_by_one = |crc: u16, &byte: &u8| {
                (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| crc << 1 ^ if crc >> 15 == 1 { 0x1021 } else { 0 })
            };
            assert_eq!(crc16(&bytes[..length]), bytes[..length].iter().fold(0, one_by_one), "{length} bytes");
        }
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
