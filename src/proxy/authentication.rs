//! Which credentials hold, which held before, and what became of them.
//!
//! Knows credentials by numbers that count their changes; a connection has the number of those that its server was told
//! last. Knows no connections. Invariant: `number` is at least 1, and no connection has a greater one.

use crate::server_id::ServerId;
use crate::timer::Millis;
use crate::users::Credentials;

/// What is known about the credentials of the settings.
#[derive(Debug)]
pub(super) struct Authentication {
    /// The number of those that hold.
    number: u32,
    /// The number of those that a server took last; 0 if none did.
    taken: u32,
    /// What rmux said to servers until they became others, as long as one may still quote it.
    former: Vec<Credentials>,
    /// Since when connections may owe their servers an `AUTH`.
    owed_since: Option<Millis>,
    /// Servers that did not take those that hold on a connection which goes on.
    refused_by: Vec<ServerId>,
}

impl Authentication {
    /// Nobody was told any yet.
    pub fn new() -> Authentication {
        Authentication { number: 1, taken: 0, former: Vec::new(), owed_since: None, refused_by: Vec::new() }
    }

    /// The number of those that hold.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Others hold from here on. `is_quotable` says whether any handshake is under way, which began with these or
    /// those before.
    pub fn change(&mut self, former: Option<Credentials>, is_quotable: bool) {
        if !is_quotable {
            self.former.clear();
        }
        self.former.extend(former);
        self.number += 1;
        self.refused_by.clear();
    }

    /// All that may have been said in a handshake that is under way, but for what the settings say.
    pub fn former(&self) -> &[Credentials] {
        &self.former
    }

    /// Connections are to say `AUTH` again.
    pub fn owe(&mut self, now: Millis) {
        self.owed_since = Some(now);
    }

    /// None is any more.
    pub fn owe_no_more(&mut self) {
        self.owed_since = None;
    }

    /// True while some connection may have to say `AUTH` again.
    #[inline]
    pub fn is_owed(&self) -> bool {
        self.owed_since.is_some()
    }

    /// For how long some may have to, in milliseconds.
    pub fn owed_ms(&self, now: Millis) -> u64 {
        self.owed_since.map_or(0, |since| now - since)
    }

    /// A server has taken those with this number.
    pub fn on_taken(&mut self, number: u32) {
        self.taken = self.taken.max(number);
    }

    /// True exactly when others than those that hold were taken, and these never.
    pub fn is_change_for_the_worse(&self) -> bool {
        self.taken != 0 && self.taken != self.number
    }

    /// This server does not take those that hold. True if it is the first time.
    pub fn on_refused(&mut self, server: ServerId) -> bool {
        let is_first = !self.refused_by.contains(&server);
        if is_first {
            self.refused_by.push(server);
        }
        is_first
    }
}
