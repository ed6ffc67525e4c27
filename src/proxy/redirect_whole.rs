//! What a node of a cluster says that has not queued or run a transaction, which came to it as a whole: all of it is
//! held, and sent again (`redirect`, `resend`).
//!
//! ```text
//!   MULTI   +OK                      told, and said again with nobody waiting for the answer
//!   SET a   -ASK …                   held, until EXEC is answered
//!   GET b   +QUEUED                  the same as MULTI, but early
//!   EXEC    -EXECABORT …             held, with the bytes of all of them: they go where SET a is to go
//! ```
//!
//! Nothing was run if a step was refused, nor if `EXEC` itself was (`-MOVED`, when the slot has moved meanwhile): the
//! node says so, and no script, since what scripts say is within the reply to `EXEC`. So all of it may be run again,
//! and as often as a single request. `ASKING` before `MULTI` holds up to its end. `DISCARD` in the place of `EXEC`:
//! nothing is to be run, and what was refused is told that it was queued.
//!
//! A step with an error of another kind has said to its client that there is no transaction: then the client is told
//! all that the node says. When the connection is lost, or the time is over, before `EXEC` is answered, nothing of it
//! is sent again.

use super::redirect::{self, NOT_KEPT, Refused};
use super::state::Proxy;
use super::unqueued::{Step, Unqueued};
use super::{answer, whole};
use crate::request::{RequestId, Role};
use crate::slots::Id;
use crate::timer::Millis;

/// What is said of a transaction that was not run since a step of it was refused.
const ABORT: &[u8] = b"-EXECABORT ";
const QUEUED: &[u8] = b"+QUEUED\r\n";

/// The reply of backend `from` to a request of a whole transaction, which stands in no backend's line any more, is an
/// error. True if it is held; if not, the error is the reply. With the last one come the bytes of all of them, if they
/// were kept.
pub(super) fn on_error(
    proxy: &mut Proxy,
    (client, request, from): (Id, RequestId, Id),
    bytes: Option<Vec<u8>>,
    reply: &[u8],
    now: Millis,
) -> bool {
    match proxy.in_flight.requests[request].role() {
        Role::Step { index } => on_step_error(proxy, client, Step { index, request }, from, reply, now),
        _ => on_last_error(proxy, (client, request, from), bytes, reply, now),
    }
}

fn on_step_error(proxy: &mut Proxy, client: Id, step: Step, from: Id, reply: &[u8], now: Millis) -> bool {
    note_error(proxy, from, reply, now);
    if redirect::is_held_back(proxy, client) {
        give_up(proxy, from, now);
    }
    let Some(unqueued) = proxy.redirected.unqueued.get_mut(from).filter(|unqueued| unqueued.refusal.is_some()) else {
        return false;
    };
    unqueued.steps.push(step);
    proxy.in_flight.requests[step.request].leave_backend();
    true
}

/// The same for a request that nobody waits for.
pub(super) fn on_unawaited(proxy: &mut Proxy, from: Id, role: Role, reply: &[u8], now: Millis) {
    match role {
        Role::Step { .. } if reply.starts_with(b"-") => note_error(proxy, from, reply, now),
        // Its client is gone, and what was held with it.
        Role::Whole { .. } => drop(proxy.redirected.unqueued.remove(from)),
        _ => {}
    }
}

/// A request of the transaction that this backend is answering has an error.
fn note_error(proxy: &mut Proxy, from: Id, reply: &[u8], now: Millis) {
    let is_refused = redirect::is_refusal(reply);
    if proxy.redirected.unqueued.get(from).is_none() {
        let Some(backend) = proxy.upstreams.backend(from) else { return };
        let requests = &proxy.in_flight.requests;
        let is_last = |&request: &RequestId| matches!(requests[request].role(), Role::Whole { .. });
        let Some(last) = backend.in_flight().iter(requests).find(is_last) else { return };
        let refusal = is_refused.then(|| reply.into());
        let unqueued = Unqueued { client: requests[last].client(), last, refusal, steps: Vec::new() };
        proxy.redirected.unqueued.insert(from, unqueued);
        proxy.redirected.look.by(now);
        redirect::note_half_moved(proxy, last, reply, now);
    }
    if !is_refused {
        give_up(proxy, from, now);
    }
}

/// Of the transaction that this backend is answering nothing is sent again.
fn give_up(proxy: &mut Proxy, from: Id, now: Millis) {
    let Some(unqueued) = proxy.redirected.unqueued.get_mut(from) else { return };
    let Some(refusal) = unqueued.refusal.take() else { return };
    let (client, steps) = (unqueued.client, std::mem::take(&mut unqueued.steps));
    whole::tell_steps(proxy, client, &steps, &refusal, now);
}

fn on_last_error(
    proxy: &mut Proxy,
    (client, last, from): (Id, RequestId, Id),
    bytes: Option<Vec<u8>>,
    reply: &[u8],
    now: Millis,
) -> bool {
    let unqueued = proxy.redirected.unqueued.remove(from);
    let (mut steps, why) = match unqueued {
        Some(Unqueued { refusal: Some(refusal), steps, .. }) if reply.starts_with(ABORT) => (steps, refusal),
        Some(Unqueued { refusal, steps, .. }) => {
            whole::tell_steps(proxy, client, &steps, refusal.as_deref().unwrap_or(reply), now);
            return false;
        }
        None if redirect::is_refusal(reply) => (Vec::new(), reply.into()),
        None => return false,
    };
    let is_kept = bytes.is_some();
    let refused = Refused { bytes, steps: &mut steps, reply: &why };
    if is_kept && redirect::on_refused(proxy, (client, last, from), refused, now) {
        return true;
    }
    let why = if is_kept { &why } else { NOT_KEPT };
    whole::tell_steps(proxy, client, &steps, why, now);
    if is_kept || !steps.is_empty() || !redirect::is_alive(proxy, client) {
        return false;
    }
    proxy.in_flight.requests[last].leave_backend();
    answer::deliver_error(proxy, client, last, why, now);
    true
}

/// The last request of a whole transaction has its reply, which is handed over.
pub(super) fn on_answered(proxy: &mut Proxy, from: Id, kind: u8, now: Millis) {
    let Some(unqueued) = proxy.redirected.unqueued.remove(from) else { return };
    let reply = match unqueued.refusal {
        // It was DISCARD.
        Some(_) if kind == b'+' => QUEUED.into(),
        Some(refusal) => refusal,
        None => return,
    };
    whole::tell_steps(proxy, unqueued.client, &unqueued.steps, &reply, now);
}

/// A backend is lost with all that it has not answered.
pub(super) fn on_lost(proxy: &mut Proxy, from: Id, now: Millis) {
    give_up(proxy, from, now);
    proxy.redirected.unqueued.remove(from);
}

/// The time of these requests of a backend is over.
pub(super) fn on_expired(proxy: &mut Proxy, from: Id, due: &[RequestId], now: Millis) {
    let unqueued = proxy.redirected.unqueued.get(from);
    if unqueued.is_some_and(|unqueued| due.contains(&unqueued.last)) {
        on_lost(proxy, from, now);
    }
}

/// Who may have no more unread, so that what it waits for is left with a node, is told what the node said.
pub(super) fn review(proxy: &mut Proxy, now: Millis) {
    let all: Vec<(Id, Id)> = proxy.redirected.unqueued.iter().map(|(from, one)| (from, one.client)).collect();
    for (from, client) in all {
        if redirect::is_held_back(proxy, client) {
            give_up(proxy, from, now);
        }
    }
}
