//! Where a request goes that waits on a connection of its own, and is asked again (`redirect_lease`): to which node,
//! and with how much of its time.

use super::call::{Call, Verdict};
use super::pick::Pick;
use super::redirected::Goal;
use super::relocations::{Relocation, Stage};
use super::router::Route;
use super::state::Proxy;
use super::{answer, dispatch, redirect, redirect_lease, topology};
use crate::reply;
use crate::server_id::ServerId;
use crate::slots::Id;
use crate::timer::Millis;

/// For so long a connection is waited for at the most, in milliseconds.
const PATIENCE_MS: u64 = 60_000;

/// Where a request goes that is asked again: the server, the hash of its key, and whether that is told `ASKING` before.
///
/// # Errors
///
/// The verdict, if it goes nowhere now: it waits, or its client has its reply.
pub(super) fn place(
    proxy: &mut Proxy,
    id: Id,
    call: &Call<'_>,
    relocation: &mut Option<Relocation>,
    now: Millis,
) -> Result<(ServerId, u32, bool), Verdict> {
    let Some(one) = relocation.as_ref() else { return Err(Verdict::Done) };
    if one.until.is_some_and(|until| until <= now) {
        let protocol = proxy.clients.get(id).map(|client| client.protocol()).unwrap_or_default();
        answer::reply_with(proxy, id, |out| reply::null_array(out, protocol));
        return Err(Verdict::Done);
    }
    let owner = match proxy.router.route_keys(call.command, call.request, call.args) {
        Route::To(server, hash) => Some((server, hash)),
        Route::Down | Route::Unserved => None,
        route => return Err(dispatch::refuse(proxy, id, call, route)),
    };
    let asked = match &one.goal {
        Goal::Asking(address) if now - one.told_at <= redirect::ASK_MS => Some(address.clone()),
        _ => None,
    };
    let found = match (asked, owner) {
        (Some(address), Some((_, hash))) => {
            let server = topology::named(proxy, &address, now).filter(|&server| proxy.router.is_up(server));
            server.map(|server| (server, hash, true))
        }
        (None, Some((server, hash))) => Some((server, hash, false)),
        (_, None) => None,
    };
    found.ok_or_else(|| put_off(proxy, id, relocation, now))
}

/// Nobody has its slot now: it is asked again in a moment.
fn put_off(proxy: &mut Proxy, id: Id, relocation: &mut Option<Relocation>, now: Millis) -> Verdict {
    let Some(mut one) = relocation.take() else { return Verdict::Done };
    let pause_ms = redirect::learn_down(proxy);
    one.tries += 1;
    if one.tries > redirect::TRIES_MAX {
        answer::reply_here(proxy, id, &one.refusal);
        return Verdict::Done;
    }
    one.stage = Stage::Due(now + pause_ms);
    redirect_lease::wait(proxy, id, one, now);
    Verdict::Wait
}

/// Whether a client that asks again, and finds no connection, takes that for an answer, as others do. It does not when
/// it has waited only as long as others may.
pub(super) fn is_impatient(pick: &Pick, relocation: &Relocation, now: Millis) -> bool {
    !matches!(pick, Pick::GiveUp) || now - relocation.since >= PATIENCE_MS
}

/// The same request, for no longer than remains of its time.
pub(super) fn with_remaining_time(call: &Call<'_>, until: Option<Millis>, now: Millis) -> Vec<u8> {
    let place = call.command.timeout_place(call.args.len(), |index| call.arg(index));
    let (Some((index, unit)), Some(until)) = (place, until) else { return call.request.to_vec() };
    let timeout = unit.write((until - now).max(1));
    let mut bytes = Vec::with_capacity(call.request.len() + timeout.len());
    reply::array(&mut bytes, call.args.len());
    bytes.extend_from_slice(call.raw(0, index));
    reply::bulk(&mut bytes, timeout.as_bytes());
    bytes.extend_from_slice(call.raw(index + 1, call.args.len()));
    bytes
}
