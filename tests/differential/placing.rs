//! Which of several servers has a key, computed as the manual describes it and not as rmux computes it.
//!
//! Knows the hash, the hash tag and the table of the original; shares no code with rmux, so that both would have to be
//! wrong in the same way. The table is not built: the one cell that is asked for is computed, and where that cell
//! names a server that there is not, the cells before it are.

/// The server of `key`, all of `servers` being up. With `has_tags`, what stands in braces counts instead of the key.
pub fn server_of(key: &[u8], servers: usize, has_tags: bool) -> usize {
    let key = if has_tags { tag_of(key).unwrap_or(key) } else { key };
    let hash = key.iter().fold(0_u32, |hash, byte| hash.wrapping_mul(33).wrapping_add(u32::from(*byte)));
    let prime = (servers.max(2)..).find(|&number| is_prime(number)).expect("there is always another prime");
    let cells = prime * (prime - 1);
    let cell = (hash as usize & (cells.next_power_of_two() - 1)) % cells;
    let named = |cell: usize| (cell / prime + 1) * (cell % prime) % prime;
    (0..=cell).rev().map(named).find(|&server| server < servers).unwrap_or(0)
}

/// What stands between the first opening brace and the first closing one behind it, unless that is nothing.
fn tag_of(key: &[u8]) -> Option<&[u8]> {
    let (_, behind) = key.split_at(key.iter().position(|&byte| byte == b'{')? + 1);
    let (tag, _) = behind.split_at(behind.iter().position(|&byte| byte == b'}')?);
    Some(tag).filter(|tag| !tag.is_empty())
}

fn is_prime(number: usize) -> bool {
    number > 1 && (2..number).take_while(|divisor| divisor * divisor <= number).all(|divisor| number % divisor != 0)
}

#[test]
fn keys_are_placed_as_the_original_placed_them() {
    let mut rows = 0;
    for row in super::support::golden::rows().into_iter().filter(|row| row.down.is_none()) {
        assert_eq!(server_of(&row.key, row.servers, false), row.server, "{row:?}");
        rows += 1;
    }
    assert!(rows > 100, "the table has {rows} rows");
    for (key, same) in [("a{b}c", "b"), ("{b}{c}", "b"), ("}{b}", "b"), ("{{b}", "{b")] {
        assert_eq!(server_of(key.as_bytes(), 7, true), server_of(same.as_bytes(), 7, false), "{key}");
    }
    for key in ["{}a{b}", "{a", "a}", ""] {
        assert_eq!(server_of(key.as_bytes(), 7, true), server_of(key.as_bytes(), 7, false), "{key}");
    }
}
