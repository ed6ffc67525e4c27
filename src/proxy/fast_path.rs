//! The fast path: plain requests and plain replies in runs, since nearly all of them are plain and come in runs.
//!
//! Decides nothing of its own. What it does is what `client_read`, `routing`, `dispatch` and `backend_read` do with
//! the same bytes and the same owners, for the cases in which they have nothing to decide: each connection is looked
//! up once for a whole run, and the bytes of a run are copied as one piece. In front of the first request or reply
//! that has anything else about it, it stops, and that one takes the long way.
//!
//! ```text
//!   client's bytes    [GET a][GET b][SET c 1][MULTI]…      one piece to one backend; MULTI and the rest: on_request
//!                     └──── a run ──────────┘
//!   backend's bytes   [$1 x][$1 y][+OK][$1 z]…             one piece to one client, the next to the next
//!                     └── client 7 ───┘└ 8 ┘
//! ```
//!
//! Plain is a request of a client in no particular state, for a backend that takes it at once; plain is a reply that is
//! whole, short, and the turn of the client that waits for it. Invariant: leaving out this file changes no byte that
//! any peer sees, and no count.

use std::io::IoSlice;

use log::trace;

use super::bulk::{self, DEEP};
use super::client_close_reason::ClientCloseReason;
use super::in_flight::InFlight;
use super::interface::{Conn, DIRECT_MIN, Timer, Wire};
use super::reading::Reading;
use super::router::Router;
use super::settings::Settings;
use super::state::Proxy;
use super::upstreams::Upstreams;
use super::{answer, close, mark, memory};
use crate::backend::Backend;
use crate::client::{Client, Flow};
use crate::command::{self, Access, Class, Command};
use crate::limits::Limits;
use crate::request::{Place, Request, RequestId, Requests, Role};
use crate::resp::{self, Frame, ReplyFramer, RequestFramer, RequestLimits};
use crate::server_id::ServerId;
use crate::session::ReplyMode;
use crate::slots::Id;
use crate::stats::Measured;
use crate::timer::Millis;

/// A plain request: whole, short, and of one server.
#[derive(Clone, Copy)]
struct Plain {
    len: usize,
    server: ServerId,
    /// Of its first key; 0 where there is only one server.
    hash: u32,
    command: &'static Command,
}

/// What must be known to tell a plain request: the parts of the proxy that never change during a run.
struct Sorter<'a> {
    limits: &'a RequestLimits,
    router: &'a Router,
    /// True if nothing about a request but its class is to be looked at.
    is_one_server: bool,
}

impl<'a> Sorter<'a> {
    #[inline(always)]
    fn new(reading: &'a Reading, router: &'a Router, settings: &Settings) -> Sorter<'a> {
        let is_one_server = router.is_single() && !settings.strict_replies;
        Sorter { limits: &reading.request_limits, router, is_one_server }
    }

    /// The request that `bytes` begin with, if it is a plain one. If it is not, nothing has happened: `framer` gives
    /// whoever asks next the same answer.
    #[inline]
    fn sort(&self, bytes: &[u8], framer: &mut RequestFramer) -> Option<Plain> {
        let Ok(Frame::Complete(len)) = framer.frame(bytes, self.limits) else { return None };
        if !framer.is_multibulk() || len >= DIRECT_MIN {
            return None;
        }
        let args = framer.args();
        let command = command::find(args[0].of(bytes)).filter(|command| command.class == Class::Keyed)?;
        let (server, hash) = if self.is_one_server {
            (self.router.first_server(), 0)
        } else {
            // A script, which may have to be remembered, has its keys elsewhere.
            if args.len() < 2 || !command.has_one_key() {
                return None;
            }
            let hash = self.router.hash_of(args[1].of(bytes));
            (self.router.plain_server_of(hash)?, hash)
        };
        Some(Plain { len, server, hash, command })
    }
}

/// What is left to do for the client that ended a series of runs.
enum After {
    Nothing,
    /// What came early for it may be next, or it has much unread.
    Advance(Id),
    /// Its socket is full.
    Watch(Id),
    /// Its socket is broken.
    Close(Id),
}

/// Gives the plain requests that `bytes` of a client begin with to their backends. Returns how many bytes they
/// take; if there are more, `framer` stands in the request behind them.
pub(super) fn take_plain_requests(
    proxy: &mut Proxy,
    id: Id,
    bytes: &[u8],
    framer: &mut RequestFramer,
    now: Millis,
) -> usize {
    let limits = &proxy.settings.limits;
    let Some(client) = proxy.clients.get_mut(id) else { return 0 };
    if proxy.reading.is_fast_path_off() || !may_send_plain_requests(client, &proxy.router, &proxy.settings) {
        return 0;
    }
    let sorter = Sorter::new(&proxy.reading, &proxy.router, &proxy.settings);
    let deadline = now + proxy.settings.timeouts.remote_read_ms;
    let mut at = 0;
    let mut next = sorter.sort(bytes, framer);
    while let Some(first) = next {
        let found = open_backend(&mut proxy.upstreams, id, client, first.server, limits);
        let Some((backend_id, backend, is_own)) = found else { break };
        let (requests_max, bytes_max) = run_max(client, backend, is_own, limits);
        let (start, mut count, mut others, mut last, mut run) = (at, 0, 0, first.command, None);
        while let Some(plain) = next.filter(|plain| plain.server == first.server) {
            if count == requests_max || at - start >= bytes_max {
                break;
            }
            trace!("client {id}: {}", plain.command.name());
            let is_read = plain.command.access == Access::Read;
            let request = Request::new(id, deadline, plain.len as u32, plain.hash, is_read);
            let request = proxy.in_flight.begin(request, client.reply_order_mut());
            run = Some(proxy.in_flight.enqueue(request, backend_id, backend.in_flight_mut()));
            if !is_read {
                others += 1;
                if plain.command.access == Access::Write {
                    client.on_write(backend_id);
                }
            }
            (last, count, at) = (plain.command, count + 1, at + plain.len);
            framer.reset();
            next = if at < bytes.len() { sorter.sort(&bytes[at..], framer) } else { None };
        }
        let Some(run) = run else { break };
        client.on_command(last);
        client.pin(first.server, backend_id, count as u32);
        backend.push(&mut proxy.in_flight.arena, &bytes[start..at]);
        run.redeem();
        backend.wake_at(&mut proxy.wheel, Timer::Backend(backend_id), deadline);
        if backend.mark_dirty() {
            proxy.turn.flush_backend(backend_id);
        }
        proxy.upstreams.count_requests(first.server, count);
        proxy.journal.count_requests(count, others);
    }
    if at > 0 && (has_much(client, limits) || memory::is_memory_short(&proxy.settings, &proxy.in_flight)) {
        bulk::on_forwarded(proxy, id, now);
    }
    at
}

/// Whether a client may have so much in flight, or unread, that it is to be looked at.
#[inline(always)]
fn has_much(client: &Client, limits: &Limits) -> bool {
    client.reply_order().len() >= DEEP.min(limits.client_outstanding_max)
        || client.unread() >= limits.client_unread_pause_bytes
}

/// Whether nothing about a request of this client but its class and its key decides where it goes.
#[inline(always)]
fn may_send_plain_requests(client: &Client, router: &Router, settings: &Settings) -> bool {
    let is_plain = client.is_plain() && client.is_open() && client.session().reply_mode == ReplyMode::On;
    let is_routed_by_keys_alone = client.is_routed_in(router.epoch()) && !settings.policy.is_denying();
    // Behind each request of one with much unread is looked whether it is paused.
    let has_much_unread = client.unread() >= settings.limits.client_unread_pause_bytes;
    is_plain && is_routed_by_keys_alone && !router.is_single_down() && !has_much_unread && router.replicas().is_empty()
}

/// The backend that takes the next request of this client at `server` at once, if there is one, and whether the client
/// has it in bulk.
#[inline(always)]
fn open_backend<'a>(
    upstreams: &'a mut Upstreams,
    id: Id,
    client: &Client,
    server: ServerId,
    limits: &Limits,
) -> Option<(Id, &'a mut Backend, bool)> {
    // Who waits is not overtaken.
    if upstreams.pool(server).is_waited_for_room() {
        return None;
    }
    let profile = client.profile();
    let has_room = |backend: &Backend| backend.has_room(limits);
    let backend_id = match client.bulk() {
        None => match client.affinity(server) {
            Some(affinity) => affinity.backend,
            None => upstreams.first_open(server, profile, has_room)?,
        },
        Some(bulk) => bulk.at(server)?,
    };
    let backend = upstreams.backend_mut(backend_id)?;
    let is_own = backend.is_in_bulk_for(id);
    if backend.profile() != profile || !(has_room(backend) || is_own && backend.has_room_for_owner(limits)) {
        return None;
    }
    Some((backend_id, backend, is_own))
}

/// The most requests and bytes of one run. Where more is decided than where the next one goes, a run ends.
#[inline(always)]
fn run_max(client: &Client, backend: &Backend, is_own: bool, limits: &Limits) -> (usize, usize) {
    let outstanding = client.reply_order().len();
    let mark = if outstanding < DEEP { DEEP } else { usize::MAX }.min(limits.client_outstanding_max);
    let requests_max = match is_own {
        false => mark.saturating_sub(outstanding).min(limits.pipeline_max - backend.in_flight().len()),
        true => usize::MAX,
    };
    (requests_max, limits.send_queue_bytes_max - backend.queue().unsent())
}

/// Gives the plain replies that `bytes` of a backend begin with to their clients. Returns how many bytes they take.
///
/// To who is owed nothing more they are written straight from `bytes`: there is nothing for them to wait for.
pub(super) fn hand_out_plain_replies<W: Wire>(
    proxy: &mut Proxy,
    id: Id,
    bytes: &[u8],
    framer: &ReplyFramer,
    now: Millis,
    wire: &mut W,
) -> usize {
    let Some(backend) = proxy.upstreams.backend_mut(id) else { return 0 };
    let is_plain = has_plain_replies(backend, &proxy.in_flight.measured);
    if !is_plain || !framer.is_at_start() || proxy.reading.is_fast_path_off() {
        return 0;
    }
    let (server, in_flight) = (backend.server(), backend.in_flight().len());
    let (mut at, mut after) = (0, After::Nothing);
    while let Some(first) = backend.in_flight().first() {
        let to = proxy.in_flight.requests[first].client();
        let Some(client) = proxy.clients.get_mut(to).filter(|client| client.subscriber().is_none()) else { break };
        let (count, len) = take_run(&mut proxy.in_flight, to, client, backend, &bytes[at..]);
        if count == 0 {
            break;
        }
        let run = &bytes[at..at + len];
        at += len;
        client.unpin(server, count);
        if client.flow() == (Flow::AwaitingOwnReplies { server }) && client.affinity(server).is_none() {
            proxy.turn.wake(to);
        }
        client.connection_mut().on_heard(now);
        if is_owed_no_more(client) {
            client.connection_mut().on_offer(now);
            match wire.write(Conn::Client(to), &[IoSlice::new(run)]) {
                Ok(taken) if taken == run.len() => continue,
                Ok(taken) => {
                    client.replies_mut().push(&mut proxy.in_flight.arena, &run[taken..]);
                    client.connection_mut().on_offered(true, now);
                    after = After::Watch(to);
                }
                Err(_) => after = After::Close(to),
            }
            break;
        }
        client.replies_mut().push(&mut proxy.in_flight.arena, run);
        if client.connection_mut().mark_dirty() {
            proxy.turn.flush_client(to);
        }
        let has_more = client.reply_order().first().is_some_and(|next| has_come(&proxy.in_flight.requests, next));
        if has_more || client.replies().unsent() >= proxy.settings.limits.client_unread_pause_bytes {
            after = After::Advance(to);
            break;
        }
    }
    if at > 0 {
        let answered = in_flight - backend.in_flight().len();
        backend.record_answered(answered, &mut proxy.in_flight.measured);
        backend.release_answered(&mut proxy.in_flight.arena, now);
        end_series(proxy, after, now);
    }
    at
}

/// Whether what this backend says may be replies to clients, from their first byte on, of which none is slow: those are
/// looked at one by one.
#[inline(always)]
fn has_plain_replies(backend: &Backend, measured: &Measured) -> bool {
    !backend.is_late(measured) && backend.is_answering() && !backend.is_in_large_reply()
}

/// Does what is left to do.
#[inline(always)]
fn end_series(proxy: &mut Proxy, after: After, now: Millis) {
    match after {
        After::Nothing => {}
        After::Advance(client) => answer::advance_line(proxy, client, now),
        After::Watch(client) => {
            mark::watch_client_writes(&proxy.settings, &mut proxy.clients, &mut proxy.wheel, client)
        }
        After::Close(client) => close::close_client(proxy, client, ClientCloseReason::Broken),
    }
}

/// Whether a reply to this client can be written at once: it is the last one that it is owed, and nothing is before it.
#[inline(always)]
fn is_owed_no_more(client: &Client) -> bool {
    let is_going_on = client.is_open() && !client.connection().is_ended();
    let is_last = client.reply_order().is_empty() && is_going_on && !client.is_in_bulk();
    is_last && client.replies().unsent() == 0 && !client.connection().is_write_blocked()
}

/// Takes the requests of this client out of both queues that `bytes` begin with plain replies to. Returns how many they
/// are, and how many bytes.
#[inline(always)]
fn take_run(
    in_flight: &mut InFlight,
    id: Id,
    client: &mut Client,
    backend: &mut Backend,
    bytes: &[u8],
) -> (u32, usize) {
    let (mut count, mut at) = (0, 0);
    while let Some(request) = backend.in_flight().first() {
        let entry = &in_flight.requests[request];
        let len = u64::from(entry.bytes());
        if entry.client() != id || !is_plain_and_next(entry, request, client) || !backend.was_sent(len) {
            break;
        }
        let Some(taken) = resp::short_reply(&bytes[at..]) else { break };
        in_flight.end(client.reply_order_mut(), backend.in_flight_mut());
        backend.on_answered(len);
        count += 1;
        at += taken;
    }
    (count, at)
}

/// Whether the reply to this request is passed on as it is, and now.
#[inline]
fn is_plain_and_next(entry: &Request, request: RequestId, client: &Client) -> bool {
    entry.role() == Role::Plain
        && entry.place() == Place::Waiting
        && !entry.is_marked()
        && client.reply_order().first() == Some(request)
}

/// Whether the reply to this request, or a part of it, came before its turn.
#[inline]
fn has_come(requests: &Requests, request: RequestId) -> bool {
    requests[request].place().early().is_some()
}
