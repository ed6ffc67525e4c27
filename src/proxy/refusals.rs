//! What clients are told whose request goes nowhere: Redis's own words where it has some.

pub(super) const UNSUPPORTED: &[u8] = b"-ERR This command is not supported\r\n";

pub(super) const CONNECTION_DOWN: &[u8] = b"-ERR Connection down\r\n";

pub(super) const UNSERVED: &[u8] = b"-CLUSTERDOWN Hash slot not served\r\n";

pub(super) const SLOTS_UNKNOWN: &[u8] = b"-CLUSTERDOWN Who has which slot is not known yet\r\n";

pub(super) const CROSS_SLOT: &[u8] = b"-CROSSSLOT Keys in request don't hash to the same slot\r\n";
