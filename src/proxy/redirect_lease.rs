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
//! A `WATCH` that is refused, when nothing is watched yet, is asked again in the same way; of keys that are watched
//! already says `redirect_watch` what becomes.
//!
//! What is known of those that are asked again has `relocations`; the request itself is put in front of what its client
//! has sent behind it, and comes from there to `blocking`, or `transaction`, once more (`relocate`).

use super::interface::{NO_DEADLINE, Timer};
use super::kept::{self, Input};
use super::redirected::{Goal, REDIRECTED_MAX};
use super::relocations::{Relocation, Stage};
use super::slot_table::slot_in;
use super::state::Proxy;
use super::turn::FollowUp;
use super::{answer, bulk, leases, memory, redirect, redirect_watch, reparse, transaction_marks};
use crate::backend::Backend;
use crate::client::{Client, Flow};
use crate::command::{self, Command};
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
pub(super) fn is_refusal(backend: &Backend, reply: &[u8]) -> bool {
    reply.starts_with(UNBLOCKED) || redirect_watch::is_refusal(backend.course(), reply)
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
    let ids = (client, request, from);
    let name = bytes.as_ref().and_then(|bytes| command_of(proxy, bytes)).map_or("", |command| command.name());
    let is_watch = name == "watch";
    if is_watch {
        if let Some(is_done) = watch_elsewhere(proxy, ids, bytes, reply, now) {
            return Some(is_done);
        }
    }
    if let Some(is_done) = redirect_watch::on_refused(proxy, ids, is_watch, reply, now) {
        return Some(is_done);
    }
    let is_leased = proxy.upstreams.backend(from).is_some_and(|backend| backend.is_owned_by(client));
    match proxy.in_flight.requests[request].role() {
        Role::Atomic if !is_watch && is_leased => Some(on_step_refused(proxy, ids, bytes, reply, now)),
        Role::Ending { .. } if is_leased => Some(redirect_watch::on_unwatched_exec_refused(proxy, ids, reply, now)),
        Role::Blocking => Some(on_blocking_refused(proxy, ids, bytes, reply, now)),
        _ => None,
    }
}

/// If nothing is watched yet, and the client has said nothing behind its `WATCH` that was dealt with, it asks again.
/// False if it has done so too often; `None` if it cannot.
fn watch_elsewhere(
    proxy: &mut Proxy,
    (client, request, from): (Id, RequestId, Id),
    bytes: &mut Option<Vec<u8>>,
    reply: &[u8],
    now: Millis,
) -> Option<bool> {
    let before = proxy.relocations.take_sent(client, request);
    let backend = proxy.upstreams.backend(from)?;
    let (server, course) = (backend.server(), backend.course());
    let is_alone = |client: &Client| {
        let is_here = client.leased().is_some_and(|leased| leased.backend == from);
        let is_listening = matches!(client.flow(), Flow::Open | Flow::AwaitingOwnReplies { .. });
        is_here && is_listening && client.transaction().is_some_and(|transaction| !transaction.is_multi())
    };
    let (tries, since) = before.map_or((0, now), |one| (one.tries, one.since));
    let can_ask_again =
        course.is_first_watch() && is_last(proxy, client, request) && proxy.clients.get(client).is_some_and(is_alone);
    let bytes = bytes.take_if(|_| can_ask_again)?;
    proxy.journal.stats.count_redirect(reply);
    let slot = first_slot(proxy, &bytes);
    let (goal, pause_ms) = redirect::learn_from(proxy, server, slot, reply, tries, now)?;
    if tries >= redirect::TRIES_MAX || now - since >= proxy.settings.timeouts.remote_read_ms {
        return Some(false);
    }
    transaction_marks::take_transaction(&mut proxy.clients, &mut proxy.in_flight, client);
    give_back(proxy, client, from, false);
    answer::drop_place(&mut proxy.clients, &mut proxy.in_flight, client, request);
    put_in_front(proxy, client, bytes, now);
    let (tries, refusal, stage) = (tries + 1, reply.into(), Stage::Due(now + pause_ms));
    wait(
        proxy,
        client,
        Relocation {
            goal,
            told_at: now,
            since,
            until: None,
            tries,
            refusal,
            refuser: server,
            is_blocking: false,
            stage,
        },
        now,
    );
    Some(true)
}

/// A step of a transaction that watches nothing was refused. If it is the first one, the transaction begins anew at the
/// right node; those before a later one are not kept.
fn on_step_refused(
    proxy: &mut Proxy,
    (client, request, from): (Id, RequestId, Id),
    bytes: &mut Option<Vec<u8>>,
    reply: &[u8],
    now: Millis,
) -> bool {
    let before = proxy.relocations.take_sent(client, request);
    let Some(server) = proxy.upstreams.backend(from).map(|backend| backend.server()) else { return false };
    let (tries, since) = before.map_or((0, now), |one| (one.tries, one.since));
    let slot = bytes.as_ref().map_or(0, |bytes| first_slot(proxy, bytes));
    proxy.journal.stats.count_redirect(reply);
    let Some((goal, pause_ms)) = redirect::learn_from(proxy, server, slot, reply, tries, now) else { return false };
    let is_in_time = tries < redirect::TRIES_MAX && now - since < proxy.settings.timeouts.remote_read_ms;
    let is_kept = bytes.is_some() && is_last(proxy, client, request);
    let can_ask_again = is_kept && is_in_time && begin_again(proxy, client, from);
    let Some(bytes) = bytes.take_if(|_| can_ask_again) else {
        transaction_marks::break_transaction(&mut proxy.clients, client);
        proxy.in_flight.requests[request].leave_backend();
        answer::deliver_error(proxy, client, request, redirect_watch::STEP_MOVED, now);
        return true;
    };
    if !leases::clean_up(proxy, from, transaction_marks::DISCARD, now) {
        proxy.turn.follow_up(FollowUp::Lease(from, Some(client), Some(transaction_marks::DISCARD)));
    }
    answer::drop_place(&mut proxy.clients, &mut proxy.in_flight, client, request);
    put_in_front(proxy, client, bytes, now);
    let (tries, refusal, stage) = (tries + 1, redirect_watch::STEP_MOVED.into(), Stage::Due(now + pause_ms));
    wait(
        proxy,
        client,
        Relocation {
            goal,
            told_at: now,
            since,
            until: None,
            tries,
            refusal,
            refuser: server,
            is_blocking: false,
            stage,
        },
        now,
    );
    true
}

/// Whether the transaction of a client has nothing at this backend but the step that it has just refused. It has no
/// backend from here on then.
fn begin_again(proxy: &mut Proxy, client: Id, from: Id) -> bool {
    let Some(client) = proxy.clients.get_mut(client) else { return false };
    let is_here = client.leased().is_some_and(|leased| leased.backend == from);
    let is_listening = matches!(client.flow(), Flow::Open | Flow::AwaitingOwnReplies { .. });
    is_here && is_listening && client.transaction_mut().is_some_and(|transaction| transaction.begin_again())
}

/// The slot of the first key of this request.
fn first_slot(proxy: &Proxy, bytes: &[u8]) -> u16 {
    let key = reparse::framed(&proxy.reading, bytes).and_then(|framer| Some(framer.args().get(1)?.of(bytes)));
    slot_in(key.map_or(0, |key| proxy.router.hash_of(key)))
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
    let can_ask_again = tries < redirect::TRIES_MAX && can_block_again(proxy, client, request, from);
    let Some(bytes) = bytes.take_if(|bytes| can_ask_again && is_for_data(proxy, bytes)) else { return false };
    let read_ms = proxy.settings.timeouts.remote_read_ms;
    let until = (deadline != NO_DEADLINE).then(|| Millis(deadline.0.saturating_sub(read_ms)));
    let since = before.map_or(now, |one| one.since);
    let (tries, refusal, stage) = (tries + 1, reply.into(), Stage::Due(now + pause_ms));
    give_back(proxy, client, from, reply.starts_with(UNBLOCKED));
    answer::drop_place(&mut proxy.clients, &mut proxy.in_flight, client, request);
    put_in_front(proxy, client, bytes, now);
    wait(
        proxy,
        client,
        Relocation { goal, told_at: now, since, until, tries, refusal, refuser: server, is_blocking: true, stage },
        now,
    );
    true
}

/// Whether a request that waits for data can be asked again: its client has the connection for nothing else.
fn can_block_again(proxy: &Proxy, client: Id, request: RequestId, from: Id) -> bool {
    let is_blocked = |client: &Client| {
        client.flow() == (Flow::BlockedOnCommand { backend: from })
            && client.leased().is_none_or(|leased| leased.backend != from)
    };
    is_last(proxy, client, request) && proxy.clients.get(client).is_some_and(is_blocked)
}

/// Whether a request is the last of its client, which wants a reply, and there is room for one more to be asked again.
fn is_last(proxy: &Proxy, client: Id, request: RequestId) -> bool {
    let has_room =
        proxy.relocations.count() < REDIRECTED_MAX && !memory::is_memory_short(&proxy.settings, &proxy.in_flight);
    let entry = &proxy.in_flight.requests[request];
    let is_whole = entry.place() == Place::Waiting && !entry.is_muted();
    let is_last = |client: &Client| client.reply_order().last() == Some(request);
    has_room && is_whole && proxy.clients.get(client).is_some_and(is_last)
}

/// Whether this is a request for data of a key, and not about the connection that it is on, as `WAIT` is.
fn is_for_data(proxy: &Proxy, bytes: &[u8]) -> bool {
    let Some(framer) = reparse::framed(&proxy.reading, bytes) else { return false };
    let args = framer.args();
    let command = command_of(proxy, bytes);
    command.is_some_and(|command| command.timeout_place(args.len(), |index| args[index].of(bytes)).is_some())
}

fn command_of(proxy: &Proxy, bytes: &[u8]) -> Option<&'static Command> {
    let framer = reparse::framed(&proxy.reading, bytes)?;
    command::find(framer.args().first()?.of(bytes))
}

/// A client does not wait on this backend any more, whose session is clean; if it `is_ending`, its server closes it.
fn give_back(proxy: &mut Proxy, client: Id, from: Id, is_ending: bool) {
    let is_being_cleaned = proxy.upstreams.backend(from).is_some_and(|entry| entry.course().is_touched());
    match is_ending {
        false if is_being_cleaned => {}
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

/// A client asks again when its time has come. It is blocked until then, or waits as for its own replies.
pub(super) fn wait(proxy: &mut Proxy, client: Id, relocation: Relocation, now: Millis) {
    if let Some(entry) = proxy.clients.get_mut(client).filter(|entry| entry.flow() != Flow::Open) {
        entry.enter(Flow::Open);
    }
    let flow = match relocation.is_blocking {
        true => Flow::BlockedOnCommand { backend: Id::NONE },
        false => Flow::AwaitingOwnReplies { server: relocation.refuser },
    };
    bulk::await_replies(&mut proxy.clients, &mut proxy.turn, client, flow);
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
        if let Some(client) = proxy.clients.get_mut(id).filter(|client| is_blocked(client)) {
            client.enter(Flow::Open);
        }
        proxy.turn.wake(id);
    }
    if let Some(at) = proxy.relocations.due_at() {
        proxy.relocations.wake_at(&mut proxy.wheel, Timer::Relocations, at.max(now + 1));
    }
}

fn is_blocked(client: &Client) -> bool {
    client.flow() == (Flow::BlockedOnCommand { backend: Id::NONE })
}
