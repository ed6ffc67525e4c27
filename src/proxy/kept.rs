//! What clients have sent that is not dealt with: the start of a request, or requests that must wait; and how long for.

use super::interface::{Conn, Timer};
use super::settings::Settings;
use super::state::Proxy;
use super::upstreams::Upstreams;
use super::{answer, close, listening, memory, transaction_marks};
use crate::client::{Client, Flow, Mode};
use crate::pool::Pool;
use crate::request::RequestId;
use crate::resp::RequestFramer;
use crate::slots::Id;
use crate::timer::Millis;

/// Bytes of one client, in order; if they are in a buffer of their own, that can be given away whole.
pub(super) enum Input<'a> {
    Borrowed(&'a [u8]),
    Owned(Vec<u8>),
}

/// Keeps what lies behind `at`, if anything does, with how far it is understood.
pub(super) fn keep(proxy: &mut Proxy, id: Id, input: Input<'_>, at: usize, mut framer: RequestFramer, now: Millis) {
    let has_rest = at < input.bytes().len();
    let must_keep = |client: &&mut Client| match client.flow() {
        Flow::Closed => false,
        // How far the request is understood, if nothing else.
        Flow::Uploading { .. } => true,
        _ => has_rest,
    };
    let Some(client) = proxy.clients.get_mut(id).filter(must_keep) else {
        framer.clear();
        proxy.reading.framer = framer;
        return;
    };
    let mut kept = proxy.reading.spare_kept.pop().unwrap_or_default();
    proxy.reading.framer = kept.begin(framer);
    proxy.reading.framer.clear();
    match input {
        Input::Owned(bytes) if at == 0 => kept.take_over(bytes),
        input => kept.extend(&input.bytes()[at..]),
    }
    proxy.in_flight.arena.charge(kept.held());
    client.keep(kept, now);
    watch_request(proxy, id, now);
}

/// There is no room for the request that `bytes` are the start of. Its client is told so, in its place, and the
/// rest is thrown away as it comes; if the end of it could not be told, that is the end of the client.
///
/// Returns how many bytes were taken.
pub(super) fn refuse_partial(proxy: &mut Proxy, id: Id, bytes: &[u8], framer: &mut RequestFramer) -> usize {
    transaction_marks::break_transaction(&mut proxy.clients, id);
    answer::refuse_for_memory(proxy, id, "This request");
    let Some(client) = proxy.clients.get_mut(id) else { return bytes.len() };
    if !framer.is_multibulk() || client.mode() != Mode::Plain || client.connection().is_ended() {
        close::leave(&mut proxy.clients, &mut proxy.turn, id);
        return bytes.len();
    }
    client.enter(Flow::Uploading { backend: Id::NONE, request: RequestId::MAX });
    let taken = framer.at().min(bytes.len());
    framer.rebase(taken);
    taken
}

/// How long the rest of the request that a client is sending is waited for while nothing of it comes, and which key
/// says so. Who waits for the backend that it holds shall not wait in vain. Of one that holds a backend, what comes
/// too slowly does not count (`Backend::uploaded_at`): it has as long as its bytes are worth, and this limit once.
pub(super) fn request_limit(
    settings: &Settings,
    upstreams: &Upstreams,
    client: &Client,
) -> Option<(u64, &'static str)> {
    let timeouts = &settings.timeouts;
    let limits = match client.flow() {
        Flow::Open => [None, Some((timeouts.local_request_ms, "localRequestTimeout"))],
        Flow::Uploading { backend, .. } => {
            let pool = upstreams.backend(backend).map(|entry| upstreams.pool(entry.server()));
            let is_wanted = pool.is_some_and(Pool::is_waited_for);
            let wanted = is_wanted.then_some((timeouts.remote_connect_ms, "remoteConnectTimeout"));
            [wanted, Some((timeouts.local_request_ms, "localRequestTimeout"))]
        }
        _ => return None,
    };
    limits.into_iter().flatten().filter(|limit| limit.0 > 0).min()
}

/// When the rest of the request that a client is sending is waited for no longer.
pub(super) fn request_deadline(proxy: &Proxy, id: Id, now: Millis) -> Option<Millis> {
    let client = proxy.clients.get(id)?;
    let mut since = client.kept()?.since()?;
    if let Flow::Uploading { backend, .. } = client.flow() {
        since = proxy.upstreams.backend(backend).map_or(since, |backend| backend.uploaded_at());
    }
    let (ms, _) = request_limit(&proxy.settings, &proxy.upstreams, client)?;
    // It is not to blame for what is not read.
    Some(if listening::is_listening_to(proxy, Conn::Client(id)) { since } else { now } + ms)
}

/// Makes sure that somebody looks whether the rest of a request comes.
pub(super) fn watch_request(proxy: &mut Proxy, id: Id, now: Millis) {
    let Some(deadline) = request_deadline(proxy, id, now) else { return };
    if let Some(client) = proxy.clients.get_mut(id) {
        client.wake_at(&mut proxy.wheel, Timer::Client(id), deadline);
    }
}

/// The request that is being collected for this client has to give way.
pub(super) fn refuse_kept(proxy: &mut Proxy, id: Id) {
    let Some(mut kept) = memory::take_kept(&mut proxy.clients, &mut proxy.in_flight, id) else { return };
    let (bytes, mut framer) = kept.take();
    let taken = refuse_partial(proxy, id, &bytes, &mut framer);
    keep(proxy, id, Input::Borrowed(&bytes), taken, framer, proxy.wheel.now());
}

impl Input<'_> {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Input::Borrowed(bytes) => bytes,
            Input::Owned(bytes) => bytes,
        }
    }
}
