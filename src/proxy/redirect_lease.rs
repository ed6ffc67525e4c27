//! What a node of a cluster has not run, and that stands on a connection of its client's own: it moves with its slot.
//!
//! ```text
//!   BLPOP k 10   -MOVED at once, or when the slot leaves after 4 s     asked again there, with the 6 s that remain
//!                -UNBLOCKED, the node became a replica                 the same, wherever the slot is then
//! ```
//!
//! Nothing was taken: a node that says so has not run the command. Its client stays blocked and is read no further;
//! that it leaves is noticed as ever. The connection that it had is anybody's again at once, and it waits for another
//! one in line with all others, but for longer: it would have waited anyway. When its own timeout is over by then, it
//! is told what the command says then. How often, and after which pauses, is as for requests that stand alone
//! (`redirect`); what cannot be asked again is told what the node said.
//!
//! What is known of those that are asked again has `relocations`; the request itself is put in front of what its client
//! has sent behind it, and comes from there to `blocking` once more (`relocate`).

use super::interface::{NO_DEADLINE, Timer};
use super::kept::{self, Input};
use super::redirected::{Goal, REDIRECTED_MAX};
use super::relocations::{Relocation, Stage};
use super::slot_table::slot_in;
use super::state::Proxy;
use super::turn::FollowUp;
use super::{answer, leases, memory, redirect, reparse};
use crate::client::{Client, Flow};
use crate::command;
use crate::request::{Place, RequestId, Role};
use crate::resp::RequestFramer;
use crate::slots::Id;
use crate::timer::Millis;

/// What a node says to who waits for data there, when it becomes a replica; then it closes the connection.
const UNBLOCKED: &[u8] = b"-UNBLOCKED force unblock from blocking operation";

/// Who waited for so long before it was refused, in milliseconds, begins to count anew.
const WAITED_MS: u64 = 1_000;
/// So many are asked again in one turn; the rest has to wait a millisecond.
const WORK_MAX: usize = 256;

/// Whether this error says that a request on a connection of its client's own was not run, or is run no longer.
pub(super) fn is_refusal(reply: &[u8]) -> bool {
    reply.starts_with(UNBLOCKED)
}

/// The node of backend `from` has not run a request, which stands in no backend's line any more: `reply` says so. True
/// if it is asked again, or was told something else; `None` if it stood on no connection of its own.
pub(super) fn on_refused(
    proxy: &mut Proxy,
    (client, request, from): (Id, RequestId, Id),
    bytes: &mut Option<Vec<u8>>,
    reply: &[u8],
    now: Millis,
) -> Option<bool> {
    match proxy.in_flight.requests[request].role() {
        Role::Blocking => Some(on_blocking_refused(proxy, (client, request, from), bytes, reply, now)),
        _ => None,
    }
}

fn on_blocking_refused(
    proxy: &mut Proxy,
    (client, request, from): (Id, RequestId, Id),
    bytes: &mut Option<Vec<u8>>,
    reply: &[u8],
    now: Millis,
) -> bool {
    let before = proxy.relocations.take_sent(client, request);
    let Some(server) = proxy.upstreams.backend(from).map(|entry| entry.server()) else { return false };
    let entry = &proxy.in_flight.requests[request];
    let (deadline, slot) = (entry.deadline(), slot_in(entry.hash()));
    proxy.journal.stats.count_redirect(reply);
    let before = before.filter(|one| matches!(one.stage, Stage::Sent(_, at) if now - at < WAITED_MS));
    let tries = before.as_ref().map_or(0, |one| one.tries);
    let (goal, pause_ms) = match redirect::learn_from(proxy, server, slot, reply, tries, now) {
        Some(learned) => learned,
        // It became a replica: somebody else is the master, or will be.
        None => (Goal::Owner, redirect::learn_down(proxy)),
    };
    let can_ask_again = tries < redirect::TRIES_MAX && can_ask_again(proxy, client, request, from);
    let Some(bytes) = bytes.take_if(|bytes| can_ask_again && is_for_data(proxy, bytes)) else { return false };
    let read_ms = proxy.settings.timeouts.remote_read_ms;
    let until = (deadline != NO_DEADLINE).then(|| Millis(deadline.0.saturating_sub(read_ms)));
    let since = before.map_or(now, |one| one.since);
    let (tries, refusal, stage) = (tries + 1, reply.into(), Stage::Due(now + pause_ms));
    give_back(proxy, client, from, reply.starts_with(UNBLOCKED));
    answer::drop_place(&mut proxy.clients, &mut proxy.in_flight, client, request);
    put_in_front(proxy, client, bytes, now);
    wait(proxy, client, Relocation { goal, told_at: now, since, until, tries, refusal, stage }, now);
    true
}

/// Whether a request that waits for data can be asked again: it is the last of its client, which wants a reply, and has
/// the connection for nothing else.
fn can_ask_again(proxy: &Proxy, client: Id, request: RequestId, from: Id) -> bool {
    let has_room =
        proxy.relocations.count() < REDIRECTED_MAX && !memory::is_memory_short(&proxy.settings, &proxy.in_flight);
    let entry = &proxy.in_flight.requests[request];
    let is_whole = entry.place() == Place::Waiting && !entry.is_muted();
    let is_last = |client: &Client| {
        client.reply_order().last() == Some(request)
            && client.flow() == (Flow::BlockedOnCommand { backend: from })
            && client.leased().is_none_or(|leased| leased.backend != from)
    };
    has_room && is_whole && proxy.clients.get(client).is_some_and(is_last)
}

/// Whether this is a request for data of a key, and not about the connection that it is on, as `WAIT` is.
fn is_for_data(proxy: &Proxy, bytes: &[u8]) -> bool {
    let Some(framer) = reparse::framed(&proxy.reading, bytes) else { return false };
    let args = framer.args();
    let command = args.first().and_then(|name| command::find(name.of(bytes)));
    command.is_some_and(|command| command.timeout_place(args.len(), |index| args[index].of(bytes)).is_some())
}

/// A client does not wait on this backend any more, whose session is clean; if it `is_ending`, its server closes it.
fn give_back(proxy: &mut Proxy, client: Id, from: Id, is_ending: bool) {
    if let Some(entry) = proxy.clients.get_mut(client) {
        entry.enter(Flow::BlockedOnCommand { backend: Id::NONE });
    }
    match is_ending {
        true => proxy.turn.follow_up(FollowUp::Lease(from, Some(client), None)),
        false => leases::end_lease(&mut proxy.upstreams, &mut proxy.turn, from),
    }
}

/// A request comes before all that its client has sent and that was not dealt with.
fn put_in_front(proxy: &mut Proxy, client: Id, mut bytes: Vec<u8>, now: Millis) {
    if let Some(mut kept) = memory::take_kept(&mut proxy.clients, &mut proxy.in_flight, client) {
        bytes.extend_from_slice(&kept.take().0);
        proxy.reading.spare(kept);
    }
    kept::keep(proxy, client, Input::Owned(bytes), 0, RequestFramer::new(), now);
}

/// A client asks again when its time has come.
pub(super) fn wait(proxy: &mut Proxy, client: Id, relocation: Relocation, now: Millis) {
    proxy.relocations.put(client, relocation);
    watch(proxy, now);
}

fn watch(proxy: &mut Proxy, now: Millis) {
    if let Some(at) = proxy.relocations.due_at() {
        proxy.relocations.wake_at(&mut proxy.wheel, Timer::Relocations, at.max(now));
    }
}

/// Has those ask again whose time has come. To be called in each turn, while there is any.
#[cold]
#[inline(never)]
pub(super) fn go_on(proxy: &mut Proxy, now: Millis) {
    for _ in 0..WORK_MAX {
        let Some(id) = proxy.relocations.next_due(now) else { break };
        if let Some(client) = proxy.clients.get_mut(id).filter(|client| is_waiting(client)) {
            client.enter(Flow::Open);
            proxy.turn.wake(id);
        }
    }
    if let Some(at) = proxy.relocations.due_at() {
        proxy.relocations.wake_at(&mut proxy.wheel, Timer::Relocations, at.max(now + 1));
    }
}

fn is_waiting(client: &Client) -> bool {
    client.flow() == (Flow::BlockedOnCommand { backend: Id::NONE })
}
