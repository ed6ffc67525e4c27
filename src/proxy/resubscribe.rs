//! Topics whose place in a cluster becomes another one: nodes come and go, slots move (`topic_placement`).

use super::state::Proxy;
use super::{subscribe, subscription_connection, topic_placement};
use crate::timer::Millis;

/// The nodes, or who of them has which slot, or who of them is up, may be others: what is not heard where it should be
/// is asked for there, and no longer where it was. Of no meaning outside of a cluster.
pub(super) fn review(proxy: &mut Proxy, now: Millis) {
    if proxy.router.slots().is_none() || proxy.pubsub.registry.is_empty() {
        return;
    }
    topic_placement::choose_channel_node(proxy);
    for slot in 0..proxy.upstreams.slots() {
        let server = proxy.upstreams.server_in(slot);
        subscription_connection::ask_less_of_others(proxy, server, now);
    }
    for server in proxy.router.servers() {
        subscription_connection::ask_for_missing(proxy, server, now);
    }
    subscribe::review_confirmations(proxy, now);
}
