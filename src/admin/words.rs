//! Figures as people read them: spans, sizes, counts, times of the day. Three digits or so; no more is read
//! at a glance.

/// With commas between thousands.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A span in milliseconds, in its two largest units.
pub fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    for (unit, name, below, below_name) in
        [(86_400, " d", 3_600, " h"), (3_600, " h", 60, " min"), (60, " min", 1, " s")]
    {
        if seconds >= unit {
            let rest = seconds % unit / below;
            return [&(seconds / unit).to_string(), name, " ", &rest.to_string(), below_name].concat();
        }
    }
    [&seconds.to_string(), " s"].concat()
}

/// A span in microseconds.
pub fn short_span(us: u64) -> String {
    match us {
        0..1_000 => [&us.to_string(), " µs"].concat(),
        1_000..10_000 => [&tenths(us / 100), " ms"].concat(),
        10_000..1_000_000 => [&(us / 1_000).to_string(), " ms"].concat(),
        _ => [&tenths(us / 100_000), " s"].concat(),
    }
}

/// A number of bytes.
pub fn bytes(number: u64) -> String {
    for (shift, unit) in [(40, " TiB"), (30, " GiB"), (20, " MiB"), (10, " KiB")] {
        let whole = number >> shift;
        if whole >= 10 {
            return [&count(whole), unit].concat();
        }
        if whole >= 1 {
            return [&tenths((number >> (shift - 10)) * 10 / 1024), unit].concat();
        }
    }
    [&number.to_string(), " B"].concat()
}

/// The time of the day, in UTC, of a moment in milliseconds since 1970.
pub fn time_of_day(unix_ms: u64) -> String {
    let seconds = unix_ms / 1000 % 86_400;
    let two = |number: u64| [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8].map(char::from);
    let parts = [two(seconds / 3600), two(seconds / 60 % 60), two(seconds % 60)];
    parts.map(String::from_iter).join(":")
}

/// A part of a whole, in percent; 0 if there is no whole.
pub fn percent(part: u64, whole: u64) -> u64 {
    part.saturating_mul(100).checked_div(whole).unwrap_or(0)
}

fn tenths(number: u64) -> String {
    [&(number / 10).to_string(), ".", &(number % 10).to_string()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_few_digits_and_a_unit() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        let spans = [999, 59_999, 60_000, 252_000, 3_600_000, 93_784_000];
        assert_eq!(spans.map(span), ["0 s", "59 s", "1 min 0 s", "4 min 12 s", "1 h 0 min", "1 d 2 h"]);
        let spans = [48, 1_536, 9_999, 12_288, 612_500, 6_291_456];
        assert_eq!(spans.map(short_span), ["48 µs", "1.5 ms", "9.9 ms", "12 ms", "612 ms", "6.2 s"]);
        let sizes = [0, 1_023, 1_536, 220_200_960, 10_737_418_240, u64::MAX];
        assert_eq!(sizes.map(bytes), ["0 B", "1023 B", "1.5 KiB", "210 MiB", "10 GiB", "16,777,215 TiB"]);
        assert_eq!([0, 86_399_000, 1_795_687_931_000].map(time_of_day), ["00:00:00", "23:59:59", "10:12:11"]);
        assert_eq!([percent(1, 0), percent(210, 256), percent(u64::MAX, 1)], [0, 82, u64::MAX]);
    }
}
