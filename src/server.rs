//! One server's health: whether it gets requests, and how often it is connected to.
//!
//! ```text
//!                        ┌────────────► Unsteady: connections end before they were of use; they are made ever more seldom
//!    a second one ends ──┘                 │ one is of use
//!        │                                 ▼
//!       Up ◄───────────────────────────────┤
//!        │                                 │ anything is answered
//!        ├ a handshake is not answered in time ─► Silent ─┐ nothing at all was answered for `failover_after_ms`
//!        │                                                ▼
//!        ├ a connect is refused, a handshake fails ─────► Down { probe_at } ◄── a probe fails, with twice the delay
//!        │                                                ▲       │ the time has come ─► Probing
//!        └ PING is answered, and no request for so long ──┘       ▼ the handshake of a probe, PING answered
//!                                                                Up; or, if it was down for want of replies,
//!                                                                Mute: on trial until it answers a request
//! ```
//!
//! It gets requests in all states but `Down` and `Probing`. *Down* has two meanings: other servers take its keys, or,
//! where none may (there is only one, or failover is off), its requests are errors at once. To write a key elsewhere
//! because its server is busy for two seconds does more harm than some errors: so who refuses is down at once, and who
//! is silent only after `failover_after_ms`. Where nobody stands in nothing is written elsewhere, and an error at once
//! is better than one after a timeout: such a server is down with the first handshake that is not answered.
//!
//! A server that answers handshakes, and no request for `failover_after_ms`, is down as well, and a handshake alone
//! proves nothing then: it brings the server up on trial. The first request that is not answered ends the trial, and
//! the next one comes after twice the delay, up to a minute. Where nobody stands in, it stays up, and is called mute.
//!
//! Of use was a connection that answered a request, or lived for [`USEFUL_MS`] (servers close what is idle). One that
//! ended before may be an accident; from the next one on there are delays, as between probes. They start over with a
//! connection that is of use.
//!
//! Knows no backends, no sockets and no clock; randomness is an input, so that the probes of many hosts do not fall
//! together.

use crate::timer::Millis;

/// The delay before the first probe, in milliseconds.
pub const PROBE_DELAY_FIRST_MS: u64 = 100;
/// The longest delay between probes, in milliseconds.
pub const PROBE_DELAY_MAX_MS: u64 = 1000;
/// A connection that lived for so long was of use, in milliseconds: to make it anew costs no more than a probe.
pub const USEFUL_MS: u64 = PROBE_DELAY_MAX_MS;
/// The delay before the first trial of a server that answers no requests, in milliseconds.
const TRIAL_DELAY_FIRST_MS: u64 = 1000;
/// The longest delay between trials, in milliseconds.
const TRIAL_DELAY_MAX_MS: u64 = 60_000;
/// Requests that fail at least so often belong together, however short `failover_after_ms` is, in milliseconds.
const EPISODE_GAP_MIN_MS: u64 = 1000;

/// How a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It can be given requests, as far as is known; every server begins so.
    Up,
    /// Its connections end before they were of use.
    Unsteady {
        /// Since when.
        since: Millis,
    },
    /// It answers nothing.
    Silent {
        /// When the oldest question was asked that it has not answered.
        since: Millis,
    },
    /// It answers handshakes, and no requests.
    Mute {
        /// Since when.
        since: Millis,
    },
    /// It can be given nothing; the next look is at `probe_at`.
    Down {
        /// Since when.
        since: Millis,
        /// When to look again.
        probe_at: Millis,
    },
    /// It could be given nothing; a connection is on its way to see whether it can again.
    Probing {
        /// Since when it is down.
        since: Millis,
    },
}

impl Health {
    /// True exactly when requests may go there.
    pub fn is_up(self) -> bool {
        !matches!(self, Health::Down { .. } | Health::Probing { .. })
    }

    /// Since when it is not well; `None` if it is.
    pub fn since(self) -> Option<Millis> {
        match self {
            Health::Up => None,
            Health::Unsteady { since }
            | Health::Silent { since }
            | Health::Mute { since }
            | Health::Down { since, .. }
            | Health::Probing { since } => Some(since),
        }
    }
}

/// What a connection has shown of its server.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen {
    /// When its first handshake was done; `None` before that.
    pub ready_at: Option<Millis>,
    /// When it last answered a request, or a part of one; 0 if it never did.
    pub answered_at: Millis,
}

impl Seen {
    /// True exactly when it was of use, if it ends now.
    pub fn was_of_use(&self, now: Millis) -> bool {
        let is_of_use = |ready_at| self.answered_at > Millis(0) || now - ready_at >= USEFUL_MS;
        self.ready_at.is_some_and(is_of_use)
    }
}

/// Requests that were not answered, and none in between that was.
#[derive(Debug, Clone, Copy)]
struct Failing {
    /// When the first of them was asked.
    since: Millis,
    /// When the last of them failed.
    last: Millis,
}

/// The health of a server, and how connections to it are paced.
#[derive(Debug)]
pub struct Server {
    health: Health,
    /// For so long it may be silent, or answer no requests, in milliseconds.
    failover_after_ms: u64,
    /// True exactly when others take its keys while it is down.
    has_stand_in: bool,
    /// When it last answered anything.
    heard_at: Millis,
    /// When it last answered a request.
    answered_at: Millis,
    /// When the youngest connection was made that is known to have been of use.
    proven_at: Millis,
    /// When the oldest question was asked that it has not answered; of no meaning when it was heard since.
    asked_at: Millis,
    failing: Option<Failing>,
    /// The delay before the next connection, if this one fails, in milliseconds; 0 as long as all are of use.
    delay_ms: u64,
    /// When a connection last failed.
    struck_at: Millis,
    /// Until then no connection is to be made.
    retry_at: Millis,
    /// The delay before the last trial, in milliseconds; 0 as long as requests are answered.
    trial_ms: u64,
}

impl Server {
    /// A server that is up. `has_stand_in` says whether others take its keys while it is down.
    pub fn new(failover_after_ms: u64, has_stand_in: bool) -> Server {
        Server {
            health: Health::Up,
            failover_after_ms,
            has_stand_in,
            heard_at: Millis(0),
            answered_at: Millis(0),
            proven_at: Millis(0),
            asked_at: Millis(u64::MAX),
            failing: None,
            delay_ms: 0,
            struck_at: Millis(0),
            retry_at: Millis(0),
            trial_ms: 0,
        }
    }

    /// How it is.
    pub fn health(&self) -> Health {
        self.health
    }

    /// True exactly when requests may go there.
    pub fn is_up(&self) -> bool {
        self.health.is_up()
    }

    /// No connection is to be made before this.
    pub fn retry_at(&self) -> Millis {
        self.retry_at
    }

    /// For how long requests are not answered, if any failed.
    pub fn failing_ms(&self, now: Millis) -> u64 {
        self.failing.map_or(0, |failing| now - failing.since)
    }

    /// When it is to be looked at again, if ever.
    pub fn next_look(&self, now: Millis) -> Option<Millis> {
        let proof_at = match self.health {
            Health::Down { probe_at, .. } => return Some(probe_at),
            Health::Probing { .. } => return None,
            Health::Unsteady { since } if self.heard_at > since => self.heard_at + USEFUL_MS,
            _ => Millis(0),
        };
        [self.retry_at, proof_at].into_iter().filter(|&at| at > now).min()
    }

    /// Takes in what one of its connections has shown: of each that is there, before anything is judged; and of one that
    /// is lost.
    pub fn note(&mut self, seen: Seen, now: Millis) {
        let Some(ready_at) = seen.ready_at else { return };
        self.heard_at = self.heard_at.max(ready_at).max(seen.answered_at);
        self.answered_at = self.answered_at.max(seen.answered_at);
        if seen.was_of_use(now) {
            self.proven_at = self.proven_at.max(ready_at);
        }
    }

    /// It answered something that is no request of a client: a later handshake, a subscription.
    pub fn on_heard(&mut self, at: Millis) {
        self.heard_at = self.heard_at.max(at);
    }

    /// The first handshake of a connection was completed.
    pub fn on_greeted(&mut self, now: Millis) {
        self.on_heard(now);
        match self.health {
            Health::Down { .. } | Health::Probing { .. } if self.trial_ms > 0 => {
                self.health = Health::Mute { since: now };
                self.failing = None;
            }
            Health::Down { .. } | Health::Probing { .. } => self.recover(),
            _ => self.review(),
        }
    }

    /// Looks whether what was wrong with it still is.
    pub fn review(&mut self) {
        let is_over = match self.health {
            Health::Unsteady { since } => self.proven_at > since,
            Health::Silent { since } => self.heard_at > since,
            Health::Mute { since } => self.answered_at > since,
            Health::Up | Health::Down { .. } | Health::Probing { .. } => false,
        };
        if is_over {
            self.recover();
        }
    }

    fn recover(&mut self) {
        if let Health::Mute { .. } = self.health {
            self.trial_ms = 0;
            self.failing = None;
        }
        self.health = Health::Up;
        self.retry_at = Millis(0);
    }

    /// A connection is begun: where it may well fail, others wait for what becomes of it.
    pub fn on_connect(&mut self, connect_ms: u64, now: Millis) {
        let pause_ms = match self.health {
            Health::Silent { .. } => connect_ms.max(PROBE_DELAY_FIRST_MS),
            Health::Unsteady { .. } | Health::Mute { .. } => self.delay_ms.max(PROBE_DELAY_FIRST_MS),
            Health::Up | Health::Down { .. } | Health::Probing { .. } => return,
        };
        self.retry_at = self.retry_at.max(now + pause_ms);
    }

    /// A connect was refused, or a handshake failed: it is down. `random` spreads the next probe over the last half of
    /// its delay.
    pub fn on_failed(&mut self, now: Millis, random: u64) {
        if matches!(self.health, Health::Down { .. }) {
            return;
        }
        let delay_ms = self.next_delay(PROBE_DELAY_FIRST_MS, now);
        self.go_down(delay_ms, now, random);
    }

    /// It did not answer what it was asked at `asked_at` within the time for that. `is_look` if that was a connect or a
    /// handshake: what a fresh connection is not answered, nobody is.
    pub fn on_silence(&mut self, asked_at: Millis, is_look: bool, now: Millis, random: u64) {
        if self.heard_at > asked_at {
            if is_look {
                self.back_off(asked_at, 0, now, random);
            }
            return;
        }
        if self.heard_at > self.asked_at {
            self.asked_at = Millis(u64::MAX);
        }
        self.asked_at = self.asked_at.min(asked_at);
        let patience_ms = if self.has_stand_in { self.failover_after_ms } else { 0 };
        match self.health {
            _ if !is_look => {}
            Health::Up | Health::Unsteady { .. } | Health::Silent { .. } if now - self.asked_at < patience_ms => {
                self.health = Health::Silent { since: self.asked_at };
            }
            _ => self.on_failed(now, random),
        }
    }

    /// It did not answer a request of `asked_at` in time, or closed the connection instead.
    pub fn on_unanswered(&mut self, asked_at: Millis, now: Millis, random: u64) {
        if self.answered_at > asked_at {
            self.failing = None;
            return;
        }
        let gap_ms = self.failover_after_ms.max(EPISODE_GAP_MIN_MS);
        let is_one_episode =
            |failing: &Failing| self.answered_at <= failing.since && asked_at <= failing.last + gap_ms;
        let since = self.failing.filter(is_one_episode).map_or(asked_at, |failing| failing.since.min(asked_at));
        self.failing = Some(Failing { since, last: now });
        let is_over = match self.health {
            Health::Mute { .. } => true,
            // If it answers nothing at all, a look finds out.
            Health::Up | Health::Unsteady { .. } | Health::Silent { .. } => {
                now - since >= self.failover_after_ms && self.heard_at > since
            }
            Health::Down { .. } | Health::Probing { .. } => false,
        };
        if is_over && self.has_stand_in {
            self.trial_ms = (self.trial_ms * 2).clamp(TRIAL_DELAY_FIRST_MS, TRIAL_DELAY_MAX_MS);
            self.go_down(self.trial_ms, now, random);
        } else if is_over && self.health == Health::Up {
            self.health = Health::Mute { since };
        }
    }

    /// A connection that was begun, or ready, at `began_at` has ended, and was not of use.
    pub fn on_useless(&mut self, began_at: Millis, now: Millis, random: u64) {
        if self.back_off(began_at, 0, now, random) && self.health == Health::Up {
            self.health = Health::Unsteady { since: now };
        }
    }

    /// It has no place for one more connection, while it serves those that there are.
    pub fn on_full(&mut self, began_at: Millis, now: Millis, random: u64) {
        self.back_off(began_at, PROBE_DELAY_FIRST_MS, now, random);
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

    /// No connection for a while. False if this one makes no difference: it is the first, or was begun before another
    /// one ended.
    fn back_off(&mut self, began_at: Millis, delay_min_ms: u64, now: Millis, random: u64) -> bool {
        if began_at < self.struck_at {
            return false;
        }
        let delay_ms = self.next_delay(delay_min_ms, now);
        self.retry_at = self.retry_at.max(now + spread(delay_ms, random));
        delay_ms > 0
    }

    /// A connection has failed: the delay before the next one.
    fn next_delay(&mut self, delay_min_ms: u64, now: Millis) -> u64 {
        if self.proven_at >= self.struck_at {
            self.delay_ms = 0;
        }
        self.struck_at = now;
        let delay_ms = self.delay_ms.max(delay_min_ms);
        self.delay_ms = (delay_ms * 2).clamp(PROBE_DELAY_FIRST_MS, PROBE_DELAY_MAX_MS);
        delay_ms
    }

    fn go_down(&mut self, delay_ms: u64, now: Millis, random: u64) {
        let since = match self.health {
            Health::Probing { since } => since,
            _ => now,
        };
        self.health = Health::Down { since, probe_at: now + spread(delay_ms, random) };
        self.retry_at = Millis(0);
    }
}

/// Somewhere in the last half of a delay.
pub fn spread(delay_ms: u64, random: u64) -> u64 {
    delay_ms - random % (delay_ms / 2).max(1)
}
