//! Whether bytes that arrive on a connection can be dealt with now, and how many at a time.

use super::in_flight::InFlight;
use super::interface::{Conn, LONG, READ_OF_LONG};
use super::settings::Settings;
use super::state::Proxy;
use super::upstreams::Upstreams;
use super::{delivery, memory};
use crate::backend::Backend;
use crate::buffer::Scratch;
use crate::client::Flow;

/// The most that one read of a client brings while memory is short, in bytes.
pub(super) const READ_WHEN_SHORT: usize = 16 * 1024;

/// Whether bytes that arrive on this connection can be dealt with now. If not, an `Action::Resume` will follow.
pub(super) fn is_listening_to(proxy: &Proxy, conn: Conn) -> bool {
    match conn {
        Conn::Client(id) => proxy.clients.get(id).is_some_and(|client| match client.flow() {
            Flow::Uploading { backend, .. } if !client.connection().is_ended() => proxy
                .upstreams
                .backend(backend)
                .is_none_or(|backend| backend.queue().unsent() < proxy.settings.limits.send_queue_bytes_max),
            _ => client.is_listened_to(),
        }),
        Conn::Backend(id) => proxy.upstreams.backend(id).is_some_and(|backend| match backend.is_subscription() {
            true => !delivery::is_publishing(&proxy.pubsub),
            false => !backend.is_read_paused(),
        }),
    }
}

/// The most bytes that one read of this connection may bring: less while a long reply comes, so that others have
/// their turn sooner, and less of a client while memory is short.
pub(super) fn read_max(settings: &Settings, upstreams: &Upstreams, in_flight: &InFlight, conn: Conn) -> usize {
    let Conn::Backend(id) = conn else {
        return if memory::is_memory_short(settings, in_flight) { READ_WHEN_SHORT } else { Scratch::READ };
    };
    let is_long = |backend: &Backend| backend.is_in_large_reply() && backend.framed() > LONG;
    if upstreams.backend(id).is_some_and(is_long) { READ_OF_LONG } else { Scratch::READ }
}
