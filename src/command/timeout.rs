//! For how long a request may block, and where it says so.
//!
//! Numbers are read as Redis reads them; one that only Redis can make sense of counts as forever, so that nothing is
//! given up before Redis gives it up.

use super::keys::integer;

/// Where a blocking command says for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeoutAt {
    /// In the last argument, in seconds.
    Last,
    /// In the argument with this index, in seconds.
    Argument(u8),
    /// Behind the word `BLOCK`, in milliseconds, among the options from this index on; without it nothing blocks.
    BlockOption(u8),
}

/// What a timeout is told in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds, and parts of them.
    Seconds,
    /// Whole milliseconds.
    Millis,
}

impl Unit {
    /// So many milliseconds, more than 0, as a command takes them.
    pub fn write(self, millis: u64) -> String {
        match self {
            Unit::Seconds => format!("{}.{:03}", millis / 1_000, millis % 1_000),
            Unit::Millis => millis.to_string(),
        }
    }
}

/// For how long a command may block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// Until there is data, or for a time that only Redis can make sense of.
    Forever,
    /// Milliseconds, less than 2^63. Zero for a negative timeout, which Redis rejects at once.
    Millis(u64),
}

impl Timeout {
    // A number that only Redis understands (it takes hexadecimal ones) must not be cut short: forever. One that it does
    // not understand either is answered at once.
    pub(super) fn from_seconds(text: &[u8]) -> Timeout {
        match text.split_first() {
            // Less than a millisecond below 0 is 0.
            Some((b'-', digits)) if thousandths(digits).is_some_and(|(whole, _)| whole > 0) => Timeout::Millis(0),
            Some((b'-', _)) => Timeout::Forever,
            _ => match thousandths(text.strip_prefix(b"+").unwrap_or(text)) {
                Some((whole, is_more)) if (1..i64::MAX as u64).contains(&(whole + u64::from(is_more))) => {
                    Timeout::Millis(whole + u64::from(is_more))
                }
                _ => Timeout::Forever,
            },
        }
    }

    pub(super) fn from_millis(text: &[u8]) -> Timeout {
        match integer(text) {
            Some(0) | None => Timeout::Forever,
            Some(millis) => Timeout::Millis(u64::try_from(millis).unwrap_or(0)),
        }
    }
}

/// A decimal number without a sign, times a thousand: the whole part, 2^63 if it is more, and whether there is a rest.
/// (The standard library's way, which is as exact as an `f64` can be, is 15 kB of code that nothing else needs.)
fn thousandths(text: &[u8]) -> Option<(u64, bool)> {
    let (digits, exponent): (_, i64) = match text.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (&text[..at], std::str::from_utf8(&text[at + 1..]).ok()?.parse().ok()?),
        None => (text, 0),
    };
    let (mut value, mut places, mut is_more) = (0_u64, 0_i64, false);
    let (mut is_behind_point, mut has_digits) = (false, false);
    for &byte in digits {
        match byte {
            b'.' if !is_behind_point => is_behind_point = true,
            b'0'..=b'9' => {
                has_digits = true;
                // What does not fit is not looked at but for being there.
                let is_taken = value < u64::MAX / 10;
                value = if is_taken { value * 10 + u64::from(byte - b'0') } else { value };
                is_more |= !is_taken && byte != b'0';
                places += i64::from(is_behind_point) - i64::from(!is_taken);
            }
            _ => return None,
        }
    }
    let mut shift = exponent.saturating_add(3).saturating_sub(places);
    while shift < 0 && value > 0 {
        is_more |= value % 10 > 0;
        value /= 10;
        shift += 1;
    }
    while shift > 0 && value > 0 && value < 1 << 63 {
        value = value.saturating_mul(10);
        shift -= 1;
    }
    has_digits.then_some((value.min(1 << 63), is_more))
}
