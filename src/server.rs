//! One server's health: up, or down until a probe succeeds.
//!
//! ```text
//!          a connect or a handshake fails, or a probe is not answered in time
//!     Up ──────────────────────────────────────────────────────────────────────► Down { probe_at }
//!      ▲                                                                           │ the time has come
//!      │  the handshake of a probe, PING answered with PONG                        ▼
//!      └────────────────────────────────────────────────────────────────────── Probing
//!                                        a probe fails: Down again, with twice the delay, up to a second
//! ```
//!
//! Only a successful handshake brings a server up. Knows no backends, no sockets and no clock; randomness is an input,
//! so that the probes of many hosts do not fall together.

use crate::timer::Millis;

/// The delay before the first probe, in milliseconds.
pub const PROBE_DELAY_FIRST_MS: u64 = 100;
/// The longest delay between probes, in milliseconds.
const PROBE_DELAY_MAX_MS: u64 = 1000;

/// Whether a server can be given requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It can, as far as is known; every server begins so.
    Up,
    /// It can not; the next look is at `probe_at`.
    Down {
        /// Since when.
        since: Millis,
        /// When to look again.
        probe_at: Millis,
    },
    /// It could not; a connection is on its way to see whether it can again.
    Probing {
        /// Since when it is down.
        since: Millis,
    },
}

/// The health of a server, and how its probes are paced.
#[derive(Debug)]
pub struct Server {
    health: Health,
    delay_ms: u64,
}

impl Default for Server {
    fn default() -> Self {
        Server { health: Health::Up, delay_ms: PROBE_DELAY_FIRST_MS }
    }
}

impl Server {
    /// What is known about it.
    pub fn health(&self) -> Health {
        self.health
    }

    /// True exactly when requests may go there.
    pub fn is_up(&self) -> bool {
        self.health == Health::Up
    }

    /// A handshake was completed. Returns since when the server had been down, if it had been.
    pub fn on_alive(&mut self) -> Option<Millis> {
        self.delay_ms = PROBE_DELAY_FIRST_MS;
        match std::mem::replace(&mut self.health, Health::Up) {
            Health::Up => None,
            Health::Down { since, .. } | Health::Probing { since } => Some(since),
        }
    }

    /// A connect or a handshake failed. `random` spreads the next probe over the last half of its delay.
    ///
    /// Returns when to probe, and whether this is news: true exactly when the server was up until now.
    pub fn on_failed(&mut self, now: Millis, random: u64) -> (Millis, bool) {
        if let Health::Down { probe_at, .. } = self.health {
            return (probe_at, false);
        }
        let (since, is_news) = match self.health {
            Health::Probing { since } => (since, false),
            _ => (now, true),
        };
        let probe_at = Millis(now.0 + self.delay_ms - random % (self.delay_ms / 2));
        self.delay_ms = (self.delay_ms * 2).min(PROBE_DELAY_MAX_MS);
        self.health = Health::Down { since, probe_at };
        (probe_at, is_news)
    }

    /// The time of a probe has come. True exactly when one is to be sent.
    pub fn on_probe_due(&mut self, now: Millis) -> bool {
        match self.health {
            Health::Down { since, probe_at } if probe_at <= now => {
                self.health = Health::Probing { since };
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_back_off_and_start_over_after_a_success() {
        let mut server = Server::default();
        let mut now = Millis(1000);
        let mut delays = Vec::new();
        for round in 0..6 {
            let (probe_at, is_news) = server.on_failed(now, 0);
            assert_eq!(is_news, round == 0);
            assert!(!server.on_probe_due(Millis(probe_at.0 - 1)));
            delays.push(probe_at.0 - now.0);
            now = probe_at;
            assert!(server.on_probe_due(now));
            assert!(!server.is_up());
        }
        assert_eq!(delays, [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(server.on_alive(), Some(Millis(1000)));
        assert!(server.is_up());
        assert_eq!(server.on_alive(), None);
        assert_eq!(server.on_failed(now, 0), (Millis(now.0 + 100), true));
    }

    #[test]
    fn jitter_only_ever_brings_a_probe_forward() {
        for random in 0..500 {
            let mut server = Server::default();
            let (probe_at, _) = server.on_failed(Millis(0), random);
            assert!((51..=100).contains(&probe_at.0), "{probe_at:?}");
        }
    }

    #[test]
    fn a_second_failure_does_not_move_a_probe_that_is_set() {
        let mut server = Server::default();
        let (probe_at, _) = server.on_failed(Millis(0), 0);
        assert_eq!(server.on_failed(Millis(50), 7), (probe_at, false));
    }
}
