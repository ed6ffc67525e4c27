//! The proxy that a reactor begins with: it knows the time of day, and what the environment says of tests.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::proxy::{Proxy, Settings};
use crate::timer::Millis;

/// A proxy; in a build for tests without its fast path, if the environment says so: what peers see must be the same.
pub(super) fn new_proxy(settings: Settings, now: Millis) -> Proxy {
    let mut proxy = Proxy::new(settings, now);
    #[cfg(debug_assertions)]
    if std::env::var_os("RMUX_TEST_FAST_PATH").is_some_and(|word| word == "off") {
        proxy.turn_fast_path_off();
    }
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    proxy.handle_time_of_day(unix.as_millis() as u64, now);
    proxy
}
