//! Other settings, between two turns: what follows from each for what is there already.

use super::settings::Settings;
use super::state::Proxy;
use crate::timer::Millis;

/// From here on these settings hold.
pub(super) fn handle_settings(proxy: &mut Proxy, settings: Settings, _now: Millis) {
    let Settings { workers, process_id, seed, servers, .. } = proxy.settings.clone();
    proxy.settings = Settings { workers, process_id, seed, servers, ..settings };
}
