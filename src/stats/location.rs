//! Where one server is, and what came of looking for it: plain values, for those who watch.

/// Where a server is. Of one that is at an IP address, or at a socket's path, there is nothing to tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Location {
    /// Its addresses in words, the first [`ADDRESSES_SHOWN`] of them; empty as long as none is known.
    pub addresses: String,
    /// How many there are.
    pub count: u64,
    /// True while what was found before is used, since the last lookup of its name has found nothing.
    pub is_lost: bool,
    /// Lookups of its name that have ended.
    pub lookups: u64,
    /// Those of them that have found nothing.
    pub lookups_failed: u64,
    /// When the last one ended, in milliseconds since 1970; 0 if there was none.
    pub looked_up_unix_ms: u64,
    /// Times that its name had other addresses than before.
    pub changes: u64,
    /// Times that another server became the master which sentinels know by its name.
    pub switches: u64,
    /// Until when the certificate is good that it has shown last, in milliseconds since 1970; 0 if it has shown none.
    pub certificate_until_unix_ms: u64,
    /// The zone that it says it is in; empty if it was not asked, or says nothing.
    pub zone: String,
}

/// More addresses of one server are not shown.
pub const ADDRESSES_SHOWN: usize = 8;

impl Location {
    /// Adds what another proxy has found: each looks for itself, and sees the same changes.
    pub(super) fn add(&mut self, other: &Location) {
        if other.looked_up_unix_ms > self.looked_up_unix_ms || self.addresses.is_empty() {
            self.addresses.clone_from(&other.addresses);
            (self.count, self.is_lost) = (other.count, other.is_lost);
        }
        self.lookups += other.lookups;
        self.lookups_failed += other.lookups_failed;
        self.looked_up_unix_ms = self.looked_up_unix_ms.max(other.looked_up_unix_ms);
        self.changes = self.changes.max(other.changes);
        self.switches = self.switches.max(other.switches);
        if self.zone.is_empty() {
            self.zone.clone_from(&other.zone);
        }
        let both = [self.certificate_until_unix_ms, other.certificate_until_unix_ms];
        self.certificate_until_unix_ms = both.into_iter().filter(|until| *until > 0).min().unwrap_or(0);
    }

    /// These are its addresses, in words, with a comma and a blank between them.
    pub fn set_addresses(&mut self, all: &str) {
        let all: Vec<&str> = all.split(", ").filter(|address| !address.is_empty()).collect();
        self.count = all.len() as u64;
        self.addresses = all[..all.len().min(ADDRESSES_SHOWN)].join(", ");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_addresses_count_and_the_certificate_that_expires_first() {
        let mut sum = Location::default();
        let mut found = |addresses: &str, at, certificate_until_unix_ms| {
            let mut other = Location { lookups: 3, lookups_failed: 1, changes: 2, switches: 4, ..Location::default() };
            (other.looked_up_unix_ms, other.certificate_until_unix_ms) = (at, certificate_until_unix_ms);
            other.set_addresses(addresses);
            other.zone = if at == 2 { "east".to_owned() } else { String::new() };
            sum.add(&other);
        };
        found("", 0, 0);
        found("a, b", 1, 900);
        found("c", 3, 800);
        found("d", 2, 0);
        let expected = Location {
            addresses: "c".to_owned(),
            count: 1,
            is_lost: false,
            lookups: 12,
            lookups_failed: 4,
            looked_up_unix_ms: 3,
            changes: 2,
            switches: 4,
            certificate_until_unix_ms: 800,
            zone: "east".to_owned(),
        };
        assert_eq!(sum, expected);
        sum.set_addresses(&["x"; 1_000].join(", "));
        assert_eq!((sum.addresses.len(), sum.count), (3 * ADDRESSES_SHOWN - 2, 1_000));
    }
}
