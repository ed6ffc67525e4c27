//! The lines with counts and lengths, of which requests and replies are made alike.
//!
//! Knows numbers and CR LF, and not what is counted. There are three ways to read a number, for speed: nearly all have
//! one to three digits, nearly all others up to 18.

/// The longest line that an inline request, or the header of a count, may have (Redis: `PROTO_INLINE_MAX_SIZE`).
pub const INLINE_BYTES_MAX: usize = 64 * 1024;

pub(super) enum Line {
    Partial,
    Number(i64, usize),
    Invalid,
    TooLong,
}

/// Reads the decimal number from `at` to the next CR LF, as strictly as Redis's `string2ll`: no sign but `-`, no
/// leading zero, no blank. The offset is that behind the LF.
#[inline]
pub(super) fn line_number(buf: &[u8], at: usize) -> Line {
    let mut value: u64 = 0;
    let mut i = at;
    // Up to 18 digits can not overflow; longer numbers take the slow way.
    while i < buf.len() && i < at + 19 {
        let digit = buf[i].wrapping_sub(b'0');
        if digit > 9 {
            if buf[i] != b'\r' || i == at || (buf[at] == b'0' && i > at + 1) {
                break;
            }
            return match buf.get(i + 1) {
                Some(b'\n') => Line::Number(value as i64, i + 2),
                Some(_) => Line::Invalid,
                None => Line::Partial,
            };
        }
        value = value * 10 + u64::from(digit);
        i += 1;
    }
    line_number_slow(buf, at)
}

/// A number of one to three digits at `at`, its CR LF, and the offset behind that; `None` sends to `line_number`.
#[inline]
pub(super) fn short_number(buf: &[u8], at: usize) -> Option<(usize, usize)> {
    let line: &[u8; 5] = buf.get(at..at + 5)?.try_into().ok()?;
    // Not `line.map`, for which all five bytes are put together in a register first.
    let digits = [line[0], line[1], line[2]].map(|byte| usize::from(byte.wrapping_sub(b'0')));
    if digits[0] > 9 {
        None
    } else if line[1..3] == *b"\r\n" {
        Some((digits[0], at + 3))
    } else if digits[0] == 0 || digits[1] > 9 {
        None
    } else if line[2..4] == *b"\r\n" {
        Some((digits[0] * 10 + digits[1], at + 4))
    } else if digits[2] <= 9 && line[3..5] == *b"\r\n" {
        Some((digits[0] * 100 + digits[1] * 10 + digits[2], at + 5))
    } else {
        None
    }
}

/// As [`short_number`], behind a `$` at `at`, if what lies in front of that is the end of a line. It is what nearly
/// every argument begins with, and one load of eight bytes. Through one function with `short_number` an MGET of 100
/// keys costs 8 % more instructions.
#[inline]
pub(super) fn short_header(buf: &[u8], at: usize) -> Option<(usize, usize)> {
    let line: &[u8; 8] = buf.get(at.wrapping_sub(2)..)?.first_chunk()?;
    // One load of four bytes, where a comparison of three takes two.
    if u32::from_le_bytes([line[0], line[1], line[2], line[3]]) & 0x00ff_ffff != u32::from_le_bytes(*b"\r\n$\0") {
        return None;
    }
    let digits = [line[3], line[4], line[5]].map(|byte| usize::from(byte.wrapping_sub(b'0')));
    if digits[0] > 9 {
        None
    } else if line[4..6] == *b"\r\n" {
        Some((digits[0], at + 4))
    } else if digits[0] == 0 || digits[1] > 9 {
        None
    } else if line[5..7] == *b"\r\n" {
        Some((digits[0] * 10 + digits[1], at + 5))
    } else if digits[2] <= 9 && line[6..8] == *b"\r\n" {
        Some((digits[0] * 100 + digits[1] * 10 + digits[2], at + 6))
    } else {
        None
    }
}

#[cold]
fn line_number_slow(buf: &[u8], at: usize) -> Line {
    let Some(len) = buf[at.min(buf.len())..].iter().position(|&byte| byte == b'\r') else {
        return if buf.len().saturating_sub(at) > INLINE_BYTES_MAX { Line::TooLong } else { Line::Partial };
    };
    match buf.get(at + len + 1) {
        None => return Line::Partial,
        Some(b'\n') => {}
        Some(_) => return Line::Invalid,
    }
    let text = &buf[at..at + len];
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let is_canonical = match digits {
        [b'0'] => text == b"0",
        [b'1'..=b'9', ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok());
    match number {
        Some(number) if is_canonical => Line::Number(number, at + len + 2),
        _ => Line::Invalid,
    }
}
