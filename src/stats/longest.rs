//! The longest of what took time lately: within half a minute to a minute, whoever asks, and however often.

/// Half of the time for which something is remembered, in milliseconds.
const HALF_MS: u64 = 30_000;

/// The longest of late.
#[derive(Debug, Default)]
pub struct Longest {
    current_us: u64,
    former_us: u64,
    /// When `current_us` began to be collected.
    began_ms: u64,
}

impl Longest {
    /// Something took so long, and ended now.
    pub fn record(&mut self, us: u64, now_ms: u64) {
        self.move_on(now_ms);
        self.current_us = self.current_us.max(us);
    }

    /// The longest of late, in µs.
    pub fn of_late(&mut self, now_ms: u64) -> u64 {
        self.move_on(now_ms);
        self.current_us.max(self.former_us)
    }

    fn move_on(&mut self, now_ms: u64) {
        let passed_ms = now_ms.saturating_sub(self.began_ms);
        if passed_ms >= HALF_MS {
            self.former_us = if passed_ms < 2 * HALF_MS { self.current_us } else { 0 };
            self.current_us = 0;
            self.began_ms = now_ms;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_remembered_for_half_a_minute_and_forgotten_after_a_minute() {
        let mut longest = Longest::default();
        longest.record(7, 29_999);
        longest.record(5, 30_001);
        assert_eq!(longest.of_late(59_000), 7);
        assert_eq!(longest.of_late(60_002), 5);
        assert_eq!(longest.of_late(200_000), 0);
    }
}
