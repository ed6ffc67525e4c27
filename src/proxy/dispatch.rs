//! Request → backend, once its server is known; and its bytes on their way.
//!
//! All of a client's outstanding requests at one server go down the same backend, or their order would be lost: if that
//! one can not take the next, the client waits until they are answered (`Flow::AwaitingOwnReplies`). Otherwise it
//! waits until any backend can take it (`Flow::AwaitingBackend`), in line, and is told when it has waited long enough.
//!
//! Invariant: a request that is given to a backend stands in both lines, and its bytes follow at once (`forward`).

use super::call::{Call, Verdict, When};
use super::interface::{Conn, Timer};
use super::pick::{self, Pick};
use super::refusals::{CONNECTION_DOWN, CROSS_SLOT, UNSERVED, UNSUPPORTED};
use super::router::Route;
use super::settings::Settings;
use super::state::Proxy;
use super::{answer, bulk, close, enqueue, mark, same_slot};
use crate::client::{Client, Flow, Need};
use crate::cluster::RefreshCause;
use crate::command::{self, Access};
use crate::pool::Offer;
use crate::reply::error;
use crate::request::Request;
use crate::server_id::ServerId;
use crate::slots::Id;
use crate::timer::Millis;

/// Finds a backend at `server` for a request of `len` bytes, and puts it into both lines.
pub(super) fn dispatch(
    proxy: &mut Proxy,
    id: Id,
    server: ServerId,
    hash: u32,
    access: Access,
    len: usize,
    when: When,
) -> Verdict {
    if proxy.router.may_be_half_moved(hash) && same_slot::must_wait(proxy, id, hash, access == Access::Read, when.now) {
        return Verdict::Wait;
    }
    let Some(client) = proxy.clients.get(id) else { return Verdict::Done };
    let profile = client.profile();
    let backend = match pick::pick(proxy, id, server, profile, when) {
        Pick::Take(backend) => backend,
        pick => return wait_or_refuse(proxy, id, server, pick, Need::Room, when.now),
    };
    let deadline = when.now + proxy.settings.timeouts.remote_read_ms;
    let mut request = Request::new(id, deadline, len as u32, hash, access == Access::Read);
    request.on_waited(when.waited_ms);
    let Some(ticket) = enqueue::line_up(proxy, id, backend, server, request) else { return Verdict::Done };
    if access == Access::Write {
        if let Some(client) = proxy.clients.get_mut(id) {
            client.on_write(backend);
        }
    }
    Verdict::Forward(ticket)
}

/// No backend takes the next request of this client now: it waits, or is told that it has waited in vain.
#[cold]
pub(super) fn wait_or_refuse(
    proxy: &mut Proxy,
    id: Id,
    server: ServerId,
    pick: Pick,
    need: Need,
    now: Millis,
) -> Verdict {
    // One in bulk waits for a connection of its own.
    let is_for_bulk = need == Need::Room && bulk::is_for_bulk(&proxy.settings, &proxy.clients, id);
    let need = if is_for_bulk { Need::Bulk } else { need };
    let text = match pick {
        Pick::Take(_) => {
            debug_assert!(false, "a backend takes it");
            return Verdict::Wait;
        }
        Pick::Behind => {
            bulk::await_replies(&mut proxy.clients, &mut proxy.turn, id, Flow::AwaitingOwnReplies { server });
            return Verdict::Wait;
        }
        Pick::Throttle(backend) => {
            if let Some(client) = proxy.clients.get_mut(id) {
                client.enter(Flow::Throttled { backend });
            }
            return Verdict::Wait;
        }
        Pick::Park => {
            bulk::release_unused(proxy, id);
            park(proxy, id, server, need, now);
            return Verdict::Wait;
        }
        Pick::GiveUp if is_for_bulk => bulk::no_connection_for_bulk(&proxy.settings),
        Pick::GiveUp => {
            let (ms, address) = (proxy.settings.timeouts.remote_connect_ms, proxy.upstreams.address(server));
            format!("-ERR No connection to {address} became free within {ms} ms\r\n")
        }
        Pick::Watching => "-ERR The protocol cannot change while keys are watched\r\n".to_string(),
        Pick::Never => "-ERR poolSize is 1: no connection can be held for this command\r\n".to_string(),
    };
    answer::reply_here(proxy, id, text.as_bytes());
    if is_for_bulk {
        // As long a wait for each of those behind would be one without end.
        close::leave(&mut proxy.clients, &mut proxy.turn, id);
    }
    Verdict::Done
}

/// Has the client wait for a backend, behind those who wait already.
fn park(proxy: &mut Proxy, id: Id, server: ServerId, need: Need, now: Millis) {
    let deadline = now + proxy.settings.timeouts.remote_connect_ms;
    let Some(client) = proxy.clients.park(id, server, need, deadline) else { return };
    client.wake_at(&mut proxy.wheel, Timer::Client(id), deadline);
    proxy.upstreams.pool_mut(server).park(need, id);
    proxy.upstreams.for_each_of(server, |backend, entry| {
        // What is held back for clients that read slowly, and is not theirs, goes on; they may be closed over it.
        if entry.is_read_paused() && !entry.is_in_bulk() {
            entry.resume_reads(Some(now));
            let deadline = now + proxy.settings.timeouts.remote_read_ms;
            entry.wake_at(&mut proxy.wheel, Timer::Backend(backend), deadline);
            proxy.turn.resume(Conn::Backend(backend));
        }
        // Whether a large request that holds one still comes is looked at sooner.
        let Some(uploader) = entry.uploader() else { return };
        if let Some(client) = proxy.clients.get_mut(uploader) {
            let deadline = entry.uploaded_at() + proxy.settings.timeouts.remote_connect_ms;
            client.wake_at(&mut proxy.wheel, Timer::Client(uploader), deadline);
        }
    });
    if proxy.clients.get(id).is_some_and(|client| client.connection().holds_back()) {
        mark::mark_client_dirty(&mut proxy.clients, &mut proxy.turn, id);
    }
}

/// A client waits for a backend no longer, and is listened to. Returns for how long it did, in milliseconds; `None` if
/// it is gone.
pub(super) fn unpark(proxy: &mut Proxy, id: Id, server: ServerId, need: Need, now: Millis) -> Option<u64> {
    proxy.upstreams.pool_mut(server).unpark(need, id);
    let waited_ms = proxy.clients.get(id).and_then(|client| waited_ms(&proxy.settings, client, now));
    proxy.clients.unpark(id)?;
    proxy.journal.on_waited(waited_ms.unwrap_or(0), now);
    Some(waited_ms.unwrap_or(0))
}

/// For how long a client waits for a backend, in milliseconds, if it does: since its time for that began.
pub(super) fn waited_ms(settings: &Settings, client: &Client, now: Millis) -> Option<u64> {
    match client.flow() {
        Flow::AwaitingBackend { deadline, .. } => {
            Some(settings.timeouts.remote_connect_ms.saturating_sub(deadline - now))
        }
        _ => None,
    }
}

/// True if it is of use to give the first one in line its turn: it will be served, or told why not.
pub(super) fn can_serve(proxy: &Proxy, id: Id, server: ServerId, need: Need, now: Millis) -> bool {
    let Some(client) = proxy.clients.get(id) else { return true };
    let profile = client.profile();
    let offer = match need {
        // Meanwhile it may have taken so much that it can do without one of its own.
        Need::Bulk
            if bulk::is_for_bulk(&proxy.settings, &proxy.clients, id)
                && !proxy.upstreams.pool(server).never_leases() =>
        {
            proxy.upstreams.offer_lease(server, profile, now)
        }
        Need::Room | Need::Bulk => proxy.upstreams.offer(server, profile, &proxy.settings.limits, now),
        Need::Lease => proxy.upstreams.offer_lease(server, profile, now),
        Need::LastWriter => {
            let is_lost = proxy.upstreams.backend(client.wrote_to()).is_none_or(|backend| !backend.may_wait());
            return is_lost || proxy.upstreams.may_have(id, client.wrote_to(), now);
        }
    };
    !proxy.router.takes_requests(server) || offer != Offer::Wait
}

/// Tells the client why its request goes nowhere.
pub(super) fn refuse(proxy: &mut Proxy, id: Id, call: &Call<'_>, route: Route) -> Verdict {
    let reply = match route {
        Route::Down => CONNECTION_DOWN,
        Route::Unserved => {
            proxy.turn.refresh(RefreshCause::Down);
            UNSERVED
        }
        Route::CrossSlot if call.command.arity_allows(call.args.len()) => CROSS_SLOT,
        // What is no request to any server is not one to several either.
        Route::Arity | Route::CrossSlot => {
            answer::reply_with(proxy, id, |out| error::wrong_arity(out, call.name()));
            return Verdict::Done;
        }
        Route::To(..) | Route::Unsupported => UNSUPPORTED,
    };
    answer::reply_here(proxy, id, reply);
    Verdict::Done
}

/// Sends a request where its route says, or tells the client why it goes nowhere.
#[inline]
pub(super) fn follow(proxy: &mut Proxy, id: Id, call: &Call<'_>, route: Route, when: When) -> Verdict {
    match route {
        Route::To(server, hash) => dispatch(proxy, id, server, hash, call.command.access, call.request.len(), when),
        route => refuse(proxy, id, call, route),
    }
}

/// Whether the configuration allows a request that the table refuses.
#[cold]
pub(super) fn is_allowed(settings: &Settings, call: &Call<'_>) -> bool {
    let word = call.args.get(1).map(|word| word.of(call.request));
    command::find(call.container.as_bytes()).is_some_and(|row| settings.policy.is_allowed(row, word))
}
