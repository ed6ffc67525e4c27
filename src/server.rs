//! One server's health: whether it gets requests, and how often it is connected to.
//!
//! ```text
//!                     second connection in a row that ends before it was of use
//!          ┌────────────────────────────────────────────────────────────► Unsteady ─┐ one was of use
//!      ─► Up ── a handshake is not answered in time ──► Silent ─┐ anything is        │
//!          ▲ │                                            │     │ answered           │
//!          ├─┼────────────────────────────────────────────┼─────┴────────────────────┘
//!          │ │                                            ▼ nothing was, for `failover_after_ms`
//!          │ ├─ refused, or the handshake fails ────────► Down { probe_at } ◄── the probe fails: twice the delay
//!          │ └─ PING is answered, and no request, ──────►  │ the time has come            │
//!          │    for `failover_after_ms`                    ▼                              │
//!          ├──────────── the handshake of the probe ◄── Probing ──────────────────────────┤
//!          │             ... if it was down for want of replies: ──► Mute, on trial ──────┘ a request is not answered
//!          └───────────────────────────────────────────────────────── a request is answered
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
    /// When it last said anything; 0 if it never did.
    pub heard_at: Millis,
    /// True exactly when it has answered a request: since then, what it says is taken for more of that.
    pub has_answered: bool,
}

impl Seen {
    /// True exactly when it was of use, if it ends now.
    pub fn was_of_use(&self, now: Millis) -> bool {
        self.has_answered || self.ready_at.is_some_and(|ready_at| now - ready_at >= USEFUL_MS)
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
    proven_at: Option<Millis>,
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
            proven_at: None,
            asked_at: Millis(u64::MAX),
            failing: None,
            delay_ms: 0,
            struck_at: Millis(0),
            retry_at: Millis(0),
            trial_ms: 0,
        }
    }

    /// From here on it may be silent for so long, and others take its keys while it is down, or not.
    pub fn set_patience(&mut self, failover_after_ms: u64, has_stand_in: bool) {
        (self.failover_after_ms, self.has_stand_in) = (failover_after_ms, has_stand_in);
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

    /// Takes in what one of its connections has shown: of each that is there, before anything is judged; and of one
    /// that is lost.
    pub fn note(&mut self, seen: Seen, now: Millis) {
        self.heard_at = self.heard_at.max(seen.heard_at);
        if seen.has_answered {
            self.answered_at = self.answered_at.max(seen.heard_at);
        }
        if let Some(ready_at) = seen.ready_at.filter(|_| seen.was_of_use(now)) {
            self.proven_at = self.proven_at.max(Some(ready_at));
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
            // A connection that was on its way before is no trial.
            Health::Down { .. } if self.trial_ms > 0 => {}
            Health::Probing { .. } if self.trial_ms > 0 => {
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
            Health::Unsteady { since } => self.proven_at > Some(since),
            Health::Silent { since } => self.heard_at > since,
            Health::Mute { since } => self.answered_at >= since,
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
        if self.heard_at > asked_at && self.is_up() {
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
        let is_one_episode = |failing: &Failing| self.answered_at <= failing.since && asked_at <= failing.last + gap_ms;
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
            self.health = Health::Mute { since: now };
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
        if self.proven_at >= Some(self.struck_at) {
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

#[cfg(test)]
mod tests {
    use super::*;

    const T: Millis = Millis(10_000);

    fn at(ms: u64) -> Millis {
        T + ms
    }

    fn with_stand_in() -> Server {
        Server::new(5_000, true)
    }

    /// A connection that was ready then, and answered last then.
    fn connection(ready: u64, answered: Option<u64>) -> Seen {
        Seen { ready_at: Some(at(ready)), heard_at: at(answered.unwrap_or(ready)), has_answered: answered.is_some() }
    }

    fn probe_at(server: &Server) -> Millis {
        match server.health() {
            Health::Down { probe_at, .. } => probe_at,
            health => panic!("it is not down: {health:?}"),
        }
    }

    #[test]
    fn probes_back_off_and_start_over_when_a_connection_was_of_use() {
        let mut server = with_stand_in();
        let mut now = T;
        let mut delays = Vec::new();
        for _ in 0..6 {
            server.on_failed(now, 0);
            let probe_at = probe_at(&server);
            assert!(!server.on_probe_due(Millis(probe_at.0 - 1)));
            delays.push(probe_at - now);
            now = probe_at;
            assert!(server.on_probe_due(now));
            assert!(!server.is_up());
            assert_eq!(server.health().since(), Some(T));
        }
        assert_eq!(delays, [100, 200, 400, 800, 1000, 1000]);
        server.on_greeted(now);
        assert_eq!(server.health(), Health::Up);
        // A handshake alone is no use to anybody.
        server.on_failed(now, 0);
        assert_eq!(probe_at(&server) - now, 1000);
        server.on_greeted(now + 1000);
        server.note(Seen { ready_at: Some(now + 1000), heard_at: now + 1001, has_answered: true }, now + 1002);
        server.on_failed(now + 1003, 0);
        assert_eq!(probe_at(&server) - (now + 1003), 100);
    }

    #[test]
    fn jitter_only_ever_brings_a_probe_forward() {
        for random in 0..500 {
            let mut server = with_stand_in();
            server.on_failed(T, random);
            assert!((51..=100).contains(&(probe_at(&server) - T)));
        }
    }

    #[test]
    fn a_second_failure_does_not_move_a_probe_that_is_set() {
        let mut server = with_stand_in();
        server.on_failed(T, 0);
        let before = server.health();
        server.on_failed(at(50), 7);
        assert_eq!(server.health(), before);
    }

    #[test]
    fn who_is_silent_is_down_after_its_time_and_not_before() {
        let mut server = with_stand_in();
        server.note(connection(0, Some(0)), T);
        // A request was asked at 1; a look follows as soon as it is late, and others behind it.
        server.on_silence(at(1), false, at(501), 0);
        assert_eq!(server.health(), Health::Up, "one request may be slow");
        for end in (1_001..5_001).step_by(500) {
            server.on_silence(at(end - 500), true, at(end), 0);
            assert_eq!(server.health(), Health::Silent { since: at(1) }, "at {end}");
            assert!(server.is_up());
        }
        server.on_silence(at(4_501), true, at(5_001), 0);
        assert!(!server.is_up());
        assert_eq!(probe_at(&server), at(5_101));
    }

    #[test]
    fn whatever_it_answers_it_is_well_again() {
        let silent = || {
            let mut server = with_stand_in();
            server.on_silence(at(0), true, at(500), 0);
            assert_eq!(server.health(), Health::Silent { since: T });
            server
        };
        let mut server = silent();
        server.on_greeted(at(600));
        assert_eq!(server.health(), Health::Up);
        let mut server = silent();
        server.note(connection(0, Some(600)), at(700));
        server.review();
        assert_eq!(server.health(), Health::Up);
        let mut server = silent();
        server.on_heard(at(600));
        server.review();
        assert_eq!(server.health(), Health::Up);
        // And its time begins anew.
        server.on_silence(at(4_900), true, at(5_400), 0);
        assert_eq!(server.health(), Health::Silent { since: at(4_900) });
    }

    #[test]
    fn who_answers_others_meanwhile_is_not_silent() {
        let mut server = with_stand_in();
        server.note(connection(0, Some(5_200)), at(5_500));
        server.on_silence(at(0), false, at(5_500), 0);
        server.on_silence(at(5_000), true, at(5_500), 0);
        assert_eq!(server.health(), Health::Up);
        // But no new connections can be made: they are not asked for without end.
        server.note(connection(0, Some(5_900)), at(6_000));
        server.on_silence(at(5_500), true, at(6_000), 0);
        assert_eq!(server.retry_at(), at(6_100));
    }

    #[test]
    fn a_probe_that_is_answered_by_half_has_failed() {
        let mut server = with_stand_in();
        server.on_failed(T, 0);
        assert!(server.on_probe_due(at(100)));
        server.on_heard(at(300));
        server.on_silence(at(100), true, at(600), 0);
        assert_eq!(probe_at(&server), at(800));
    }

    #[test]
    fn where_nobody_stands_in_the_first_look_decides() {
        for mut server in [Server::new(5_000, false), Server::new(0, true)] {
            server.on_silence(at(0), false, at(500), 0);
            assert!(server.is_up());
            server.on_silence(at(500), true, at(1_000), 0);
            assert!(!server.is_up());
        }
    }

    #[test]
    fn a_silent_server_gets_one_connection_at_a_time() {
        let mut server = with_stand_in();
        server.on_connect(500, T);
        assert_eq!(server.retry_at(), Millis(0), "no pause while all is well");
        server.on_silence(at(0), true, at(500), 0);
        server.on_connect(500, at(500));
        assert_eq!((server.retry_at(), server.next_look(at(500))), (at(1_000), Some(at(1_000))));
        server.on_connect(5, at(1_000));
        assert_eq!(server.retry_at(), at(1_100), "however short the timeout is");
        server.on_greeted(at(1_001));
        assert_eq!(server.retry_at(), Millis(0));
    }

    #[test]
    fn connections_that_are_of_no_use_are_made_ever_more_seldom() {
        let mut server = with_stand_in();
        server.note(connection(0, Some(10)), at(20));
        let mut now = at(20);
        let mut delays = Vec::new();
        for round in 0..7 {
            server.on_connect(500, now);
            server.on_greeted(now);
            server.note(Seen { ready_at: Some(now), ..Seen::default() }, now + 1);
            server.on_useless(now, now + 1, 0);
            assert_eq!(server.health() == Health::Up, round == 0, "once is an accident");
            let retry_at = server.retry_at().max(now + 1);
            delays.push(retry_at - (now + 1));
            now = retry_at;
        }
        assert_eq!(delays, [0, 100, 200, 400, 800, 1000, 1000]);
        // One that lasts ends it.
        server.on_connect(500, now);
        server.on_greeted(now);
        assert!(server.next_look(now).is_some_and(|at| at <= now + USEFUL_MS));
        server.note(Seen { ready_at: Some(now), ..Seen::default() }, now + USEFUL_MS);
        server.review();
        assert_eq!((server.health(), server.retry_at()), (Health::Up, Millis(0)));
        server.on_useless(now, now + USEFUL_MS, 0);
        assert_eq!(server.retry_at(), now + USEFUL_MS, "and all begins anew");
    }

    #[test]
    fn the_first_millisecond_is_no_proof_of_use() {
        let mut server = with_stand_in();
        server.on_useless(Millis(0), Millis(0), 0);
        assert_eq!((server.health(), server.retry_at()), (Health::Up, Millis(0)), "once is an accident");
        server.on_useless(Millis(0), Millis(0), 0);
        assert_eq!(server.health(), Health::Unsteady { since: Millis(0) });
        assert!(server.retry_at() >= Millis(50), "{:?}", server.retry_at());
    }

    #[test]
    fn many_that_end_together_are_one() {
        let mut server = with_stand_in();
        for _ in 0..50 {
            server.on_useless(at(5), at(10), 0);
        }
        assert_eq!((server.health(), server.retry_at()), (Health::Up, at(10)));
    }

    #[test]
    fn of_use_is_who_answered_or_lived_for_a_while() {
        assert!(!Seen::default().was_of_use(at(5_000)));
        assert!(!connection(0, None).was_of_use(at(999)));
        assert!(connection(0, None).was_of_use(at(1_000)), "as one that the server closes because it is idle");
        assert!(connection(0, Some(1)).was_of_use(at(2)));
    }

    /// Requests fail one after the other, and handshakes are answered in between.
    fn ignore_requests(server: &mut Server, from: u64, to: u64) {
        for asked in (from..to).step_by(500) {
            server.on_unanswered(at(asked), at(asked + 500), 0);
            if server.is_up() {
                server.on_greeted(at(asked + 500));
            }
        }
    }

    #[test]
    fn who_answers_handshakes_and_no_request_is_down_and_back_on_trial_ever_more_seldom() {
        let mut server = with_stand_in();
        server.note(connection(0, Some(1)), at(2));
        ignore_requests(&mut server, 100, 4_600);
        assert_eq!(server.health(), Health::Up);
        server.on_unanswered(at(4_600), at(5_100), 0);
        let mut delays = Vec::new();
        let mut now = at(5_100);
        for _ in 0..8 {
            let due = probe_at(&server);
            delays.push(due - now);
            assert!(server.on_probe_due(due));
            server.on_greeted(due);
            assert_eq!(server.health(), Health::Mute { since: due });
            now = due + 500;
            server.on_unanswered(due, now, 0);
        }
        assert_eq!(delays, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
        // A request that is answered ends it.
        let due = probe_at(&server);
        assert!(server.on_probe_due(due));
        server.on_greeted(due);
        server.note(Seen { ready_at: Some(due), heard_at: due + 1, has_answered: true }, due + 2);
        server.review();
        assert_eq!(server.health(), Health::Up);
        server.on_unanswered(due + 2, due + 502, 0);
        assert!(server.is_up(), "and one that is not is one");
    }

    #[test]
    fn where_nobody_stands_in_a_mute_server_stays_up_and_is_called_so() {
        let mut server = Server::new(5_000, false);
        ignore_requests(&mut server, 0, 6_000);
        assert!(matches!(server.health(), Health::Mute { .. }) && server.is_up());
        server.note(connection(6_000, Some(6_200)), at(6_300));
        server.review();
        assert_eq!(server.health(), Health::Up);
    }

    #[test]
    fn an_answer_in_between_and_a_long_pause_begin_the_count_anew() {
        let mut server = with_stand_in();
        ignore_requests(&mut server, 0, 4_500);
        server.note(connection(4_500, Some(4_600)), at(4_700));
        ignore_requests(&mut server, 4_700, 9_000);
        assert_eq!(server.health(), Health::Up);
        // Once a minute a request is slow, and nothing else is asked.
        for minute in 1..20 {
            server.on_unanswered(at(minute * 60_000), at(minute * 60_000 + 500), 0);
            server.on_greeted(at(minute * 60_000 + 500));
        }
        assert_eq!(server.health(), Health::Up);
    }
}
