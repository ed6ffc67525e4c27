//! SHA-1, by which Redis names scripts.
//!
//! Written here and not taken from a crate, since the run-time crates of rmux are few and fixed, and this is one
//! function. It is a name and no protection: two scripts with one digest are one script to Redis too.
//!
//! Knows nothing but bytes. Source: FIPS 180-4, section 6.1.

/// The digest of `bytes`.
pub fn sha1(bytes: &[u8]) -> [u8; 20] {
    let mut state = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    let (blocks, rest) = bytes.split_at(bytes.len() - bytes.len() % 64);
    blocks.chunks_exact(64).for_each(|block| add_block(&mut state, block));
    // What is left, a bit that is set, zeros, and the length in bits: one block more, or two.
    let mut last = [0; 128];
    last[..rest.len()].copy_from_slice(rest);
    last[rest.len()] = 0x80;
    let end = if rest.len() < 56 { 64 } else { 128 };
    last[end - 8..end].copy_from_slice(&(bytes.len() as u64 * 8).to_be_bytes());
    last[..end].chunks_exact(64).for_each(|block| add_block(&mut state, block));
    let mut digest = [0; 20];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

/// The digest that 40 hexadecimal digits, in any case, stand for.
pub fn from_hex(text: &[u8]) -> Option<[u8; 20]> {
    let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    let mut digest = [0; 20];
    if text.len() != 2 * digest.len() {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(digest)
}

fn add_block(state: &mut [u32; 5], block: &[u8]) {
    let mut words = [0; 80];
    for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
        *word = u32::from_be_bytes(bytes.try_into().expect("chunks_exact gives four bytes"));
    }
    for i in 16..80 {
        words[i] = (words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16]).rotate_left(1);
    }
    let [mut a, mut b, mut c, mut d, mut e] = *state;
    for (i, word) in words.into_iter().enumerate() {
        let (mixed, constant) = match i {
            0..20 => (b & c | !b & d, 0x5a82_7999),
            20..40 => (b ^ c ^ d, 0x6ed9_eba1),
            40..60 => (b & c | b & d | c & d, 0x8f1b_bcdc_u32),
            _ => (b ^ c ^ d, 0xca62_c1d6),
        };
        let next = a.rotate_left(5).wrapping_add(mixed).wrapping_add(e).wrapping_add(constant).wrapping_add(word);
        (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
    }
    for (word, add) in state.iter_mut().zip([a, b, c, d, e]) {
        *word = word.wrapping_add(add);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_the_standard_hold() {
        let long = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
        let million = "a".repeat(1_000_000);
        for (text, hex) in [
            ("", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
            ("abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (long, "84983e441c3bd26ebaae4aa1f95129e5e54670f1"),
            (&million, "34aa973cd4c4daa4f61eeb2bdbad27316534016f"),
            // As Redis names it: SCRIPT LOAD "return 1".
            ("return 1", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"),
        ] {
            assert_eq!(Some(sha1(text.as_bytes())), from_hex(hex.as_bytes()), "{} bytes", text.len());
        }
    }

    #[test]
    fn every_length_of_the_last_block_is_padded() {
        let all: std::collections::HashSet<_> = (0..200).map(|len| sha1(&vec![b'x'; len])).collect();
        assert_eq!(all.len(), 200);
        // From the tool sha1sum: 55, 56, 63 and 64 times the letter x.
        for (len, hex) in EDGES {
            assert_eq!(Some(sha1(&vec![b'x'; *len])), from_hex(hex.as_bytes()), "{len}");
        }
    }

    #[test]
    fn only_forty_digits_are_a_digest() {
        assert_eq!(from_hex(&[b'0'; 39]), None);
        assert_eq!(from_hex(&[b'0'; 41]), None);
        assert_eq!(from_hex(&[b'g'; 40]), None);
        assert_eq!(from_hex(&[b'F'; 40]), Some([0xff; 20]));
    }

    const EDGES: &[(usize, &str)] = &[
        (55, "cef734ba81a024479e09eb5a75b6ddae62e6abf1"),
        (56, "901305367c259952f4e7af8323f480d59f81335b"),
        (63, "0ddc4e0cccd9a12850deb5abb0853a4425559fec"),
        (64, "bb2fa3ee7afb9f54c6dfb5d021f14b1ffe40c163"),
    ];
}
