//! Keys that a client watches in a cluster whose slots move.
//!
//! A watch cannot move: what was written at one node before another one has the slot, no other node knows. So a
//! transaction whose watched keys may have changed unseen is **touched**: it is told that they have, which clients of
//! Redis are used to, and try again:
//!
//! ```text
//!   WATCH k   refused            nothing is watched yet: leased at the right node instead (`relocate`)
//!   GET k     refused            asked there; touched
//!   MULTI, SET k 1   refused     +QUEUED; touched
//!   EXEC      refused, touched   a null; nothing was run
//! ```
//!
//! Who is touched gives its connection back at once, and its steps are answered here until `EXEC`. Steps that are on
//! their way there then, and an `EXEC`, are answered by what the backend has of it (`Course`).

use super::leases;
use super::state::Proxy;
use super::transaction_marks::{ABORTED, cleanup};
use super::turn::FollowUp;
use super::{answer, redirect};
use crate::backend::Course;
use crate::reply;
use crate::request::{RequestId, Role};
use crate::slots::Id;
use crate::timer::Millis;

const QUEUED: &[u8] = b"+QUEUED\r\n";
const OK: &[u8] = b"+OK\r\n";
const EXEC_ABORT: &[u8] = b"-EXECABORT";
/// What a step is told that was refused, when those before it are not kept to be said again.
pub(super) const STEP_MOVED: &[u8] =
    b"-TRYAGAIN The slot of this transaction was moved while it was sent; it is not run\r\n";
/// What `EXEC` is told then.
const EXEC_MOVED: &[u8] = b"-EXECABORT Transaction discarded because of: its slot was moved while it was sent\r\n";

/// Whether this error may say that a transaction was not run for a step that the node has refused since it does not
/// have the slot.
pub(super) fn is_refusal(course: Course, reply: &[u8]) -> bool {
    course.is_touched() && reply.starts_with(EXEC_ABORT)
}

/// A request of a client on a backend on which it watches keys was refused, or one between `WATCH` and `EXEC` has to
/// say so. True if it was told something else; `None` if it is to be sent elsewhere, as any other.
pub(super) fn on_refused(
    proxy: &mut Proxy,
    (client, request, from): (Id, RequestId, Id),
    is_watch: bool,
    reply: &[u8],
    now: Millis,
) -> Option<bool> {
    let course = proxy.upstreams.backend(from)?.course();
    let is_owner = proxy.upstreams.backend(from)?.is_owned_by(client);
    if !course.is_watching() || !is_owner {
        return None;
    }
    match proxy.in_flight.requests[request].role() {
        Role::Ending { .. } => Some(on_exec_refused(proxy, (client, request, from), reply, now)),
        // The cluster was down, and then EXEC was run, perhaps: what came before that is told what the node has said.
        Role::Atomic if is_watch && course.is_ended() => Some(false),
        Role::Plain | Role::Published { .. } if course.is_ended() => Some(false),
        Role::Atomic => {
            learn(proxy, from, reply, now);
            touch(proxy, client, from, now);
            proxy.in_flight.requests[request].leave_backend();
            answer::deliver_own(proxy, client, request, if is_watch { OK } else { QUEUED }, now);
            Some(true)
        }
        Role::Plain | Role::Published { .. } | Role::Blocking => {
            touch(proxy, client, from, now);
            None
        }
        _ => None,
    }
}

fn on_exec_refused(proxy: &mut Proxy, (client, request, from): (Id, RequestId, Id), reply: &[u8], now: Millis) -> bool {
    let is_faulty = proxy.upstreams.backend(from).is_some_and(|backend| backend.course().is_faulty());
    if is_faulty && reply.starts_with(EXEC_ABORT) {
        return false;
    }
    learn(proxy, from, reply, now);
    // Whatever it has refused, the node watches nothing any more, and has nothing queued.
    leases::end_lease(&mut proxy.upstreams, &mut proxy.turn, from);
    let mut null = Vec::new();
    match is_faulty {
        true => null.extend_from_slice(ABORTED),
        false => {
            let protocol = proxy.clients.get(client).map(|client| client.protocol()).unwrap_or_default();
            reply::null_array(&mut null, protocol);
        }
    }
    proxy.in_flight.requests[request].leave_backend();
    answer::deliver_own(proxy, client, request, &null, now);
    true
}

/// The `EXEC` of a transaction that watches nothing was refused: its steps are not kept to be said again.
pub(super) fn on_unwatched_exec_refused(
    proxy: &mut Proxy,
    (client, request, from): (Id, RequestId, Id),
    reply: &[u8],
    now: Millis,
) -> bool {
    if !redirect::is_refusal(reply) {
        return false;
    }
    learn(proxy, from, reply, now);
    leases::end_lease(&mut proxy.upstreams, &mut proxy.turn, from);
    proxy.in_flight.requests[request].leave_backend();
    answer::deliver_error(proxy, client, request, EXEC_MOVED, now);
    true
}

fn learn(proxy: &mut Proxy, from: Id, reply: &[u8], now: Millis) {
    let Some(server) = proxy.upstreams.backend(from).map(|backend| backend.server()) else { return };
    if redirect::is_refusal(reply) {
        proxy.journal.stats.count_redirect(reply);
        // Of an error that names no slot, none is known here.
        redirect::learn_slotless(proxy, server, reply, now);
    }
}

/// What this client watches on this backend may have changed unseen. Its transaction has no server from here on.
fn touch(proxy: &mut Proxy, id: Id, backend: Id, now: Millis) {
    let Some(entry) = proxy.upstreams.backend_mut(backend) else { return };
    entry.on_touched();
    let is_owned = entry.is_owned_by(id);
    let Some(transaction) = proxy.clients.get_mut(id).and_then(|client| client.transaction_mut()) else { return };
    if transaction.leased().is_none_or(|leased| leased.backend != backend) {
        // Its EXEC is sent.
        return;
    }
    let bytes = cleanup(transaction);
    transaction.touch();
    if is_owned && !leases::clean_up(proxy, backend, bytes, now) {
        proxy.turn.follow_up(FollowUp::Lease(backend, Some(id), Some(bytes)));
    }
}

/// Before a client goes on with its transaction: if a slot of what it watches is another node's by now, as far as is
/// known, it is touched. Returns whether it is.
pub(super) fn review(proxy: &mut Proxy, id: Id, now: Millis) -> bool {
    let Some(transaction) = proxy.clients.get(id).and_then(|client| client.transaction()) else { return false };
    if transaction.is_touched() {
        return true;
    }
    if transaction.watched().is_empty() || transaction.stale_lease(proxy.router.epoch()).is_none() {
        return false;
    }
    let is_there = |&slot: &u16| proxy.router.owner(slot).is_some_and(|owner| transaction.is_leased_at(owner));
    let Some(leased) = transaction.leased().filter(|_| !transaction.watched().iter().all(is_there)) else {
        return false;
    };
    touch(proxy, id, leased.backend, now);
    true
}
