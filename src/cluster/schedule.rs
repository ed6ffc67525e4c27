//! When the next round of questions begins.
//!
//! ```text
//!   no hint             after about a minute
//!   a hint              at once, if the last round began a second ago or more; then after 2 s, 4 s, … 30 s while the
//!                       map stays unchanged. While a node is lost: each second for a minute, since its replica is
//!                       elected in that time and must be known at once; then every 10 s
//!   a round failed      after 1 s, 2 s, 4 s, 5 s
//! ```
//!
//! Each pause has a random part added, so that many hosts do not ask together. Knows no nodes. Invariant: two rounds
//! begin at least [`PAUSE_MIN_MS`] apart.

use crate::timer::Millis;

/// A reactor's reason to think that the slot map is out of date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefreshCause {
    /// A node answered `-MOVED`: a slot has another owner.
    Moved,
    /// A connection to a node was lost, or could not be made.
    Lost,
    /// A node answered `-CLUSTERDOWN`.
    Down,
    /// A node answered `-MOVED` to its own address: another node stands behind that address or name now.
    SameAddress,
}

/// Why a round begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// There is no map yet, or the configuration has changed.
    Start,
    /// The last round is long ago.
    Time,
    /// A reactor gave a hint.
    Core(RefreshCause),
}

/// The result of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The map is a new one.
    Changed,
    /// The map is the same.
    Unchanged,
    /// No answer was accepted.
    Failed,
}

#[derive(Debug)]
pub(super) struct Schedule {
    /// The hint for the next round; `None` if only time is a reason.
    wanted: Option<Cause>,
    began_at: Option<Millis>,
    /// The next pause, if the map stays the same, in milliseconds.
    pause_ms: u64,
    /// The next round does not begin before this.
    not_before: Millis,
    /// The next round begins then without any hint.
    due_at: Millis,
    /// When the first hint of a lost node came, and the last one.
    trouble: Option<(Millis, Millis)>,
    random: u64,
}

impl Schedule {
    /// A schedule whose first round is due now. `seed` spreads many hosts over time.
    pub fn new(seed: u64, now: Millis) -> Schedule {
        Schedule {
            wanted: Some(Cause::Start),
            began_at: None,
            pause_ms: PAUSE_MIN_MS,
            not_before: now,
            due_at: now,
            trouble: None,
            random: seed | 1,
        }
    }

    /// A round is wanted. Many hints make one round.
    pub fn want(&mut self, cause: Cause, now: Millis) {
        if let Cause::Core(RefreshCause::Lost | RefreshCause::Down) = cause {
            let before = self.trouble.filter(|&(_, said_at)| now - said_at < TROUBLE_GAP_MS);
            self.trouble = Some((before.map_or(now, |(since, _)| since), now));
            // The present pause may be a long one, chosen when no node was lost.
            let at = self.began_at.map_or(now, |began_at| began_at + self.pause_max_ms(now));
            self.not_before = self.not_before.min(at);
        }
        self.wanted = self.wanted.or(Some(cause));
    }

    /// When the next round begins.
    pub fn next_at(&self) -> Millis {
        match self.wanted {
            Some(_) => self.not_before,
            None => self.due_at.max(self.not_before),
        }
    }

    /// A round begins now; returns its cause.
    pub fn begin(&mut self, now: Millis) -> Cause {
        let is_calm = self.began_at.is_some_and(|began_at| now - began_at > 2 * self.pause_ms);
        if is_calm {
            self.pause_ms = PAUSE_MIN_MS;
        }
        self.began_at = Some(now);
        self.wanted.take().unwrap_or(Cause::Time)
    }

    /// The round has ended with this outcome.
    pub fn end(&mut self, cause: Cause, outcome: Outcome, now: Millis) {
        let is_wanted = matches!(cause, Cause::Core(_));
        let ms = match outcome {
            Outcome::Changed => PAUSE_MIN_MS,
            Outcome::Unchanged if !is_wanted => PAUSE_MIN_MS,
            Outcome::Unchanged => self.pause_ms.min(self.pause_max_ms(now)),
            Outcome::Failed => self.pause_ms.min(FAILED_PAUSE_MAX_MS),
        };
        self.pause_ms = match outcome {
            Outcome::Changed => PAUSE_MIN_MS,
            Outcome::Unchanged if !is_wanted => PAUSE_MIN_MS,
            Outcome::Unchanged | Outcome::Failed => (ms * 2).min(PAUSE_MAX_MS),
        };
        self.not_before = self.began_at.unwrap_or(now) + ms + self.random_below(ms / 4);
        self.due_at = now + TIME_MS / 2 + self.random_below(TIME_MS);
        match outcome {
            Outcome::Failed => self.wanted = Some(cause),
            Outcome::Changed => self.trouble = None,
            Outcome::Unchanged => {}
        }
    }

    /// A random number below `limit`; 0 if that is 0.
    pub fn random_below(&mut self, limit: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        if limit == 0 { 0 } else { (self.random >> 16) % limit }
    }

    /// The longest pause at this time, in milliseconds.
    fn pause_max_ms(&self, now: Millis) -> u64 {
        match self.trouble {
            Some((_, said_at)) if now - said_at >= TROUBLE_GAP_MS => PAUSE_MAX_MS,
            Some((since, _)) if now - since < TROUBLE_MS => TROUBLE_PAUSE_MAX_MS,
            Some(_) => LONG_TROUBLE_PAUSE_MAX_MS,
            None => PAUSE_MAX_MS,
        }
    }
}

/// The shortest and the longest time from the begin of one round to the begin of the next, in milliseconds.
pub(super) const PAUSE_MIN_MS: u64 = 1_000;
pub(super) const PAUSE_MAX_MS: u64 = 30_000;
/// The longest pause while a node is lost for less than `TROUBLE_MS`, in milliseconds.
const TROUBLE_PAUSE_MAX_MS: u64 = PAUSE_MIN_MS;
const TROUBLE_MS: u64 = 60_000;
/// The longest pause while a node is lost for longer, in milliseconds: another one may fail, too.
const LONG_TROUBLE_PAUSE_MAX_MS: u64 = 10_000;
/// Without a hint of a lost node for this long, the loss counts as over, in milliseconds.
const TROUBLE_GAP_MS: u64 = 10_000;
/// The longest pause while rounds fail, in milliseconds.
const FAILED_PAUSE_MAX_MS: u64 = 5_000;
/// The mean time to a round without a hint, in milliseconds; each is half of it to one and a half of it.
pub(super) const TIME_MS: u64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;

    const MOVED: Cause = Cause::Core(RefreshCause::Moved);
    const LOST: Cause = Cause::Core(RefreshCause::Lost);

    /// When rounds begin within so long, while each has this outcome, and this cause is said every 10 ms.
    fn rounds(schedule: &mut Schedule, from: Millis, ms: u64, cause: Option<Cause>, outcome: Outcome) -> Vec<u64> {
        let mut began = Vec::new();
        for step in 0..ms / 10 {
            let now = from + step * 10;
            cause.into_iter().for_each(|cause| schedule.want(cause, now));
            if schedule.next_at() <= now {
                let cause = schedule.begin(now);
                schedule.end(cause, outcome, now);
                began.push(now.0 - from.0);
            }
        }
        began
    }

    fn gaps(began: &[u64]) -> Vec<u64> {
        began.windows(2).map(|two| two[1] - two[0]).collect()
    }

    #[test]
    fn in_calm_they_are_asked_about_once_a_minute() {
        let mut all = Vec::new();
        for seed in 1..50 {
            let began = rounds(&mut Schedule::new(seed, Millis(0)), Millis(0), 600_000, None, Outcome::Unchanged);
            assert_eq!(began[0], 0);
            all.extend(gaps(&began));
        }
        assert!(all.iter().all(|gap| (30_000..=90_010).contains(gap)), "{all:?}");
        let mean = all.iter().sum::<u64>() / all.len() as u64;
        assert!((54_000..66_000).contains(&mean), "{mean}");
    }

    #[test]
    fn what_changes_all_the_time_is_asked_for_once_a_second() {
        for seed in 1..50 {
            let mut schedule = Schedule::new(seed, Millis(0));
            let gaps = gaps(&rounds(&mut schedule, Millis(0), 60_000, Some(MOVED), Outcome::Changed));
            assert!(gaps.iter().all(|gap| (1_000..=1_260).contains(gap)), "{gaps:?}");
        }
    }

    #[test]
    fn what_does_not_change_is_asked_for_ever_more_seldom_until_it_does() {
        let mut schedule = Schedule::new(7, Millis(0));
        let began = rounds(&mut schedule, Millis(0), 300_000, Some(MOVED), Outcome::Unchanged);
        let gaps = gaps(&began);
        for (gap, ms) in gaps.iter().zip([1_000, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) {
            assert!((ms..=ms * 5 / 4 + 20).contains(gap), "{gaps:?}");
        }
        let now = schedule.next_at();
        let cause = schedule.begin(now);
        schedule.end(cause, Outcome::Changed, now);
        schedule.want(MOVED, now + 1);
        assert!(schedule.next_at() - now <= 1_250);
    }

    #[test]
    fn after_a_calm_the_first_who_wants_to_know_waits_for_nothing() {
        let mut schedule = Schedule::new(7, Millis(0));
        rounds(&mut schedule, Millis(0), 100_000, Some(MOVED), Outcome::Unchanged);
        let later = Millis(200_000);
        rounds(&mut schedule, Millis(100_000), 100_000, None, Outcome::Unchanged);
        schedule.want(MOVED, later);
        assert!(schedule.next_at() <= later, "{schedule:?}");
        let began = rounds(&mut schedule, later, 5_000, Some(MOVED), Outcome::Unchanged);
        assert_eq!((began[0], began.len() >= 3), (0, true), "{began:?}");
    }

    #[test]
    fn a_failover_is_looked_for_often_and_not_for_ever() {
        let mut schedule = Schedule::new(7, Millis(0));
        rounds(&mut schedule, Millis(0), 40_000, Some(MOVED), Outcome::Unchanged);
        let began = rounds(&mut schedule, Millis(40_000), 300_000, Some(LOST), Outcome::Unchanged);
        assert!(began[0] <= 1_300, "{began:?}");
        let early = began.iter().filter(|&&at| at < 60_000).count();
        let late = began.iter().filter(|&&at| at > 100_000).count();
        assert!(early >= 45 && (15..=21).contains(&late), "{began:?}");
        assert!(gaps(&began).iter().all(|&gap| gap >= 1_000), "{began:?}");
    }

    #[test]
    fn while_nobody_answers_they_are_asked_again_without_anybody_who_wants_it() {
        let mut schedule = Schedule::new(7, Millis(0));
        let began = rounds(&mut schedule, Millis(0), 60_000, None, Outcome::Failed);
        assert!((11..=18).contains(&began.len()), "{began:?}");
        assert!(gaps(&began).iter().all(|gap| (1_000..=6_300).contains(gap)), "{began:?}");
    }
}
