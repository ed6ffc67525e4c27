//! When requests that wait are looked at: of few lines in each turn, of many less often, so that what looking takes of
//! the time does not grow with them.
//!
//! Knows no requests. Whoever owns them asks in each turn whether it is due.

use crate::timer::{Alarm, Millis, Wheel};

/// So many lines are looked at in each turn; of twice as many not more often than each 2 ms, and so on.
const LOOK_FREELY: usize = 1_000;

/// The next look at all of them.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// When all was looked at last, and when that is to be done again; `None` as long as nothing happens.
    looked_at: Millis,
    look_at: Option<Millis>,
    alarm: Alarm,
}

impl Look {
    /// Whether so many lines are to be looked at now, since something may have changed.
    pub fn is_due(&mut self, lines: usize, now: Millis) -> bool {
        let due_at = self.looked_at + (lines / LOOK_FREELY) as u64;
        let is_due = due_at <= now || self.look_at.is_some_and(|look_at| look_at <= now);
        if is_due {
            (self.looked_at, self.look_at) = (now, None);
        } else {
            self.by(due_at);
        }
        is_due
    }

    /// They are to be looked at by then.
    pub fn by(&mut self, at: Millis) {
        self.look_at = Some(self.look_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// When that is to be done next, if nothing happens before.
    pub fn next(&self) -> Option<Millis> {
        self.look_at
    }

    /// It is done then; `key` is that look's.
    pub fn wake_at<K: Copy>(&mut self, wheel: &mut Wheel<K>, key: K, deadline: Millis) {
        self.alarm.set(wheel, key, deadline);
    }

    /// It is due.
    pub fn on_woken(&mut self) {
        self.alarm.on_fired();
    }
}
