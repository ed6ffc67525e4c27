//! A write that its server refuses because it is no master, or no longer: it waits, and is sent to the one that is.
//!
//! A server that says `-READONLY` has not run the request. So that a planned failover is invisible, the request is held
//! with all of its bytes, its client is read no further, and the server is asked what it is (`ROLE`) until it is a
//! master: its name, if it has one, is looked up again at once, and connections follow it; or the same address is
//! another server's by now (a virtual address, a service of Kubernetes), which a new connection finds out, and those
//! that are there are left; or somebody promotes it by hand.
//!
//! ```text
//!   SET a 1 ─► -READONLY ─► held ─► Action::Resolve, ROLE: slave, ROLE: slave … ROLE: master ─► SET a 1 ─► +OK
//!                             └─ its deadline is over: the server's own -READONLY
//! ```
//!
//! The deadline is that of the request (`remoteReadTimeout` since it was first sent). Order is kept: behind a held
//! request everything of its client that the same server refuses is held, too, and reads that it answered are asked
//! again, since they should have seen the write. If it has *run* something behind a held one, in between it became a
//! master: then those in front of that would come too late, and are told that they were refused. Where nothing of a
//! client is held, nothing of it waits.
//!
//! What is decided for each kind:
//!
//! - scripts: held as other writes. All writes of a script that are refused are refused from the first on, since a
//!   server does not change its part while a script runs; what a script may have done before is to publish a message,
//!   which is then published twice. A script can say it itself, after it has written: it is sent again once at most.
//! - a part of a request to several servers (`MSET`, `DEL` …): held alone; the others were run. A part that is a read
//!   is not asked again: as if it had been run.
//! - transactions, whatever a client has a connection of its own for (`WATCH`, `BLPOP` …): refused, as by the server:
//!   what they stand on is that connection.
//! - a request whose bytes were not kept, since it is large; when memory is short, or more than `HELD_MAX` are held;
//!   and when replies behind it are so large that they are left with the server (`bulk`): refused.
//! - `-MASTERDOWN`, `-LOADING`: not looked at; nobody says that they end soon.

use std::ops::Range;

use log::Level;

use super::held::{HELD_MAX, HeldRequest, Refuser};
use super::interface::{NO_DEADLINE, Timer};
use super::refusals::CONNECTION_DOWN;
use super::router::Route;
use super::state::Proxy;
use super::{answer, bulk, connect, drain, enqueue, guard, mark, memory, pick, reparse, scatter};
use crate::backend::{Backend, Purpose};
use crate::client::Client;
use crate::notice::{About, Kind};
use crate::request::{Place, RequestId, Role};
use crate::server_id::ServerId;
use crate::session::Profile;
use crate::slots::Id;
use crate::timer::Millis;

/// What an error begins with that says so.
pub(super) const READ_ONLY: &[u8] = b"-READONLY ";

/// The question, and what the answer of a master begins with, and that of another.
const ROLE: &[u8] = b"*1\r\n$4\r\nROLE\r\n";
const MASTER: &[u8] = b"$6\r\nmaster\r\n";

/// So soon a server that has refused a write is asked what it is, in milliseconds; the next pauses are longer.
const PAUSE_FIRST_MS: u64 = 5;
/// And so long after that at the most.
const PAUSE_MAX_MS: u64 = 50;

/// Requests that are sent or refused in one turn, at least; the rest has to wait a millisecond.
const WORK_MAX: usize = 512;

/// The server of backend `from` has refused a request with `error`, which stands in no backend's line any more. True if
/// it is held, and sent again; if not, nothing was done.
pub(super) fn hold(
    proxy: &mut Proxy,
    client: Id,
    request: RequestId,
    from: Id,
    bytes: Vec<u8>,
    error: &[u8],
    now: Millis,
) -> bool {
    let Some((server, profile)) = proxy.upstreams.backend(from).map(|entry| (entry.server(), entry.profile())) else {
        return false;
    };
    let entry = &proxy.in_flight.requests[request];
    let is_alone = entry.role() == Role::Plain && matches!(entry.place(), Place::Waiting | Place::Part(_));
    let is_in_time = entry.deadline() != NO_DEADLINE && entry.deadline() > now;
    let leased = proxy.clients.get(client).and_then(Client::leased);
    let is_watching = leased.is_some_and(|leased| leased.server == server);
    // Of a script it is not the server alone that says so.
    let is_believed = entry.losses() == 0 || !guard::is_doubtful_request(&proxy.reading, &bytes);
    let has_room = proxy.held.count() < HELD_MAX && !memory::is_memory_short(&proxy.settings, &proxy.in_flight);
    if !is_alone || !is_in_time || is_watching || !is_believed || !has_room {
        return false;
    }
    proxy.in_flight.requests[request].leave_backend();
    proxy.journal.stats.held += 1;
    on_refused(proxy, server, profile, now);
    push(proxy, client, server, profile, HeldRequest { request, bytes, refusal: Some(error.into()) }, now);
    true
}

/// A request was not run because its connection is lost, and its client waits for the master of the same server: it is
/// sent behind what is held. Gives the bytes back if nothing is.
pub(super) fn hold_behind(
    proxy: &mut Proxy,
    client: Id,
    request: RequestId,
    server: ServerId,
    bytes: Vec<u8>,
    now: Millis,
) -> Option<Vec<u8>> {
    let Some(line) = proxy.held.line_of(client, server) else { return Some(bytes) };
    let profile = line.profile;
    push(proxy, client, server, profile, HeldRequest { request, bytes, refusal: Some(CONNECTION_DOWN.into()) }, now);
    None
}

fn push(proxy: &mut Proxy, client: Id, server: ServerId, profile: Profile, held: HeldRequest, now: Millis) {
    let deadline = proxy.in_flight.requests[held.request].deadline();
    proxy.held.push(client, server, profile, held, &mut proxy.in_flight.arena);
    proxy.held.look.wake_at(&mut proxy.wheel, Timer::Held, deadline.max(now));
    if let Some(client) = proxy.clients.get_mut(client) {
        client.hold();
    }
}

/// A server has refused a write: its name is looked up, and soon it is asked what it is.
fn on_refused(proxy: &mut Proxy, server: ServerId, profile: Profile, now: Millis) {
    if let Some(refuser) = proxy.held.refuser_mut(server) {
        refuser.is_master = false;
        return;
    }
    let ask_at = now + PAUSE_FIRST_MS;
    let pause_ms = 2 * PAUSE_FIRST_MS;
    proxy.held.add_refuser(Refuser {
        server,
        lines: 0,
        profile,
        since: now,
        ask_at,
        pause_ms,
        connect_at: now + PAUSE_MAX_MS,
        is_master: false,
    });
    proxy.held.look.wake_at(&mut proxy.wheel, Timer::Held, ask_at);
    proxy.turn.resolve(server);
    proxy.journal.notices.note(
        Kind::ReadOnly,
        About::Server(server),
        Level::Warn,
        1,
        format_args!("it refuses writes (READONLY), which wait until there is a master"),
    );
}

/// A request of a client of which something is held at `server` was answered there, and its reply is in its place. With
/// its bytes, if it is a read, it is asked again behind what is held.
pub(super) fn on_answered(
    proxy: &mut Proxy,
    client: Id,
    request: RequestId,
    server: ServerId,
    bytes: Option<Vec<u8>>,
    now: Millis,
) {
    let Some(line) = proxy.held.line_of(client, server) else { return };
    if line.place == Some(0) || stands_before(proxy, client, request, line.requests[0].request) {
        // What is held was sent behind it.
        return;
    }
    let profile = line.profile;
    let is_early = |place| matches!(place, Place::Early(_));
    let entry = proxy.in_flight.requests.get(request).filter(|entry| entry.client() == client);
    let is_read = entry.is_some_and(|entry| entry.is_read() && entry.role() == Role::Plain && is_early(entry.place()));
    match bytes.filter(|_| is_read && proxy.held.count() < HELD_MAX) {
        Some(bytes) => push(proxy, client, server, profile, HeldRequest { request, bytes, refusal: None }, now),
        None => on_run(proxy, client, server, now),
    }
}

/// Whether a request that was asked once more stands before a held one in its client's order, though it was sent behind
/// it. Others are answered in the order in which they stand.
fn stands_before(proxy: &Proxy, client: Id, request: RequestId, held: RequestId) -> bool {
    let requests = &proxy.in_flight.requests;
    let is_moved = requests.get(request).is_some_and(|entry| entry.losses() > 0 || entry.is_moved());
    let Some(client) = proxy.clients.get(client).filter(|_| is_moved) else { return false };
    let held = match requests[held].place() {
        Place::Part(merging) => proxy.in_flight.merges[merging as usize].parent,
        _ => held,
    };
    client.reply_order().iter(requests).find(|&other| other == request || other == held) == Some(request)
}

/// A request of this client was run at `server`, or may have been: what is held there and was sent before comes too
/// late.
pub(super) fn on_run(proxy: &mut Proxy, client: Id, server: ServerId, now: Millis) {
    let Some(number) = proxy.held.number_of(client, server) else { return };
    let Some(line) = proxy.held.line(number) else { return };
    let end = line.place.unwrap_or(line.requests.len());
    refuse(proxy, number, 0..end, now);
}

/// Those of a line are told that they were refused; reads keep the replies that they have.
fn refuse(proxy: &mut Proxy, number: u64, range: Range<usize>, now: Millis) {
    let Some(client) = proxy.held.line(number).map(|line| line.client) else { return };
    for held in proxy.held.take(number, range, &mut proxy.in_flight.arena) {
        if let Some(refusal) = held.refusal.filter(|_| is_alive(proxy, client)) {
            proxy.in_flight.measured.count_error(b'-', &refusal);
            answer::deliver(proxy, client, held.request, &refusal, now);
        }
    }
    drop_answered_reads(proxy, client);
    maybe_let_go(proxy, client);
}

/// Reads in front of all that is held of a client at a server have the replies that they should have, which may be on
/// their way by now: nothing of them is held any more.
fn drop_answered_reads(proxy: &mut Proxy, client: Id) {
    for number in proxy.held.numbers_of(client) {
        let line = proxy.held.line(number);
        let reads = line.map_or(0, |line| line.requests.iter().take_while(|held| held.refusal.is_none()).count());
        if reads > 0 {
            drop(proxy.held.take(number, 0..reads, &mut proxy.in_flight.arena));
        }
    }
}

fn is_alive(proxy: &Proxy, client: Id) -> bool {
    proxy.clients.get(client).is_some_and(|client| !client.is_closed())
}

/// If nothing of a client is held any more, it is read again as soon as what was sent is answered.
fn maybe_let_go(proxy: &mut Proxy, client: Id) {
    if proxy.held.server_of(client).is_some() {
        return;
    }
    if let Some(entry) = proxy.clients.get_mut(client).filter(|entry| !entry.is_closed()) {
        entry.let_go();
        proxy.turn.wake(client);
    }
}

/// A server's name was looked up: it may be at another address now.
pub(super) fn on_resolved(proxy: &mut Proxy, server: ServerId, is_changed: bool, now: Millis) {
    let Some(refuser) = proxy.held.refuser_mut(server).filter(|_| is_changed) else { return };
    (refuser.ask_at, refuser.pause_ms) = (now, PAUSE_FIRST_MS);
    proxy.held.look.wake_at(&mut proxy.wheel, Timer::Held, now);
}

/// A server has answered what it is. One that does not tell is tried.
pub(super) fn on_role_told(proxy: &mut Proxy, from: Id, reply: &[u8], now: Millis) {
    let Some(server) = proxy.upstreams.backend(from).map(Backend::server) else { return };
    let Some(refuser) = proxy.held.refuser_mut(server) else { return };
    let body = reply.iter().position(|&byte| byte == b'\n').map_or(&[][..], |end| &reply[end + 1..]);
    if !body.starts_with(MASTER) && !reply.starts_with(b"-") {
        return;
    }
    let was_known = std::mem::replace(&mut refuser.is_master, true);
    proxy.held.look.wake_at(&mut proxy.wheel, Timer::Held, now);
    let is_new = proxy.upstreams.backend(from).is_some_and(Backend::is_open_reserve);
    if is_new && !was_known {
        leave_connections(proxy, server);
    }
}

/// A new connection leads to a master, and those that are there do not: the address is another server's by now. None of
/// them is given a request any more, but those that a client has for itself.
fn leave_connections(proxy: &mut Proxy, server: ServerId) {
    let mut all = Vec::new();
    for (id, backend) in proxy.upstreams.backends_of(server) {
        if backend.is_ready() && !backend.is_held() {
            all.push(id);
        }
    }
    all.into_iter().for_each(|id| drain::drain_backend(&mut proxy.upstreams, &mut proxy.turn, id));
}

/// Looks at all that is held: what its time is over for, what can be sent, and who is to be asked. To be called in each
/// turn, while anything is. Of thousands of lines it does so less often, and not all of it in one turn.
#[cold]
#[inline(never)]
pub(super) fn go_on(proxy: &mut Proxy, now: Millis) {
    let lines = proxy.held.lines().len();
    if !proxy.held.look.is_due(lines, now) {
        return watch(proxy, now);
    }
    ask_refusers(proxy, now);
    let mut work_left = WORK_MAX;
    // The oldest first.
    for number in proxy.held.numbers() {
        let work = drop_expired(proxy, number, now) + maybe_send(proxy, number, now);
        if work >= work_left {
            proxy.held.look.by(now + 1);
            break;
        }
        work_left -= work;
        look_by_deadline(proxy, number);
    }
    for refuser in proxy.held.take_unneeded(now) {
        let ms = now - refuser.since;
        let text = match refuser.is_master {
            true => format_args!("there is a master again, after {ms} ms").to_string(),
            false => format_args!("there was no master within {ms} ms; what waited for it was refused").to_string(),
        };
        let level = if refuser.is_master { Level::Info } else { Level::Warn };
        proxy.journal.notices.note(Kind::ReadOnly, About::Server(refuser.server), level, 1, format_args!("{text}"));
    }
    watch(proxy, now);
}

/// Takes those out of a line whose client is gone, or whose time is over: they are told what the server said. Returns
/// how many.
fn drop_expired(proxy: &mut Proxy, number: u64, now: Millis) -> usize {
    let Some(line) = proxy.held.line(number) else { return 0 };
    let (client, server) = (line.client, line.server);
    if !is_alive(proxy, client) {
        let all = 0..line.requests.len();
        return proxy.held.take(number, all, &mut proxy.in_flight.arena).len();
    }
    if proxy.clients.get(client).is_some_and(|client| client.affinity(server).is_none()) {
        proxy.held.on_all_answered(number);
    }
    let mut dropped = 0;
    if is_held_back(proxy, client, server) {
        let place = proxy.held.line(number).map_or(0, |line| line.place.unwrap_or(line.requests.len()));
        refuse(proxy, number, 0..place, now);
        dropped += place;
    }
    while let Some(line) = proxy.held.line(number) {
        let requests = &proxy.in_flight.requests;
        let is_over = |held: &HeldRequest| held.refusal.is_some() && requests[held.request].deadline() <= now;
        let Some(start) = line.requests.iter().position(is_over) else { break };
        let over = line.requests.range(start..).take_while(|held| is_over(held)).count();
        refuse(proxy, number, start..start + over, now);
        dropped += over;
    }
    dropped
}

/// Whether replies to this client are left with a server at which something of it is held: they wait for what is held,
/// and that for them.
fn is_held_back(proxy: &Proxy, client: Id, server: ServerId) -> bool {
    let affinity = proxy.clients.get(client).and_then(|client| client.affinity(server));
    affinity.and_then(|affinity| proxy.upstreams.backend(affinity.backend)).is_some_and(Backend::is_read_paused)
}

/// Whether what is held in a line can be sent: all that was sent before it is answered, and its server, or who stands
/// in for that, may be a master.
fn is_to_be_sent(proxy: &Proxy, client: Id, server: ServerId) -> bool {
    let is_answered = proxy.clients.get(client).is_some_and(|client| client.affinity(server).is_none());
    let is_gone = proxy.upstreams.server_in(server.index()) != server || proxy.upstreams.is_retired(server);
    let is_moved = is_gone || !proxy.router.is_up(server) && proxy.router.has_several();
    let refuser = proxy.held.refusers().iter().find(|refuser| refuser.server == server);
    is_answered && (is_moved || refuser.is_some_and(|refuser| refuser.is_master))
}

/// Asks those what they are whose time has come.
fn ask_refusers(proxy: &mut Proxy, now: Millis) {
    let is_due = |refuser: &&Refuser| refuser.ask_at <= now && refuser.lines > 0;
    let due: Vec<(ServerId, Profile)> =
        proxy.held.refusers().iter().filter(is_due).map(|refuser| (refuser.server, refuser.profile)).collect();
    for (server, profile) in due {
        if let Some(refuser) = proxy.held.refuser_mut(server) {
            refuser.ask_at = now + refuser.pause_ms;
            refuser.pause_ms = (2 * refuser.pause_ms).min(PAUSE_MAX_MS);
        }
        let is_there = proxy.upstreams.server_in(server.index()) == server && !proxy.upstreams.is_retired(server);
        if !is_there || !proxy.router.is_up(server) {
            continue;
        }
        proxy.turn.resolve(server);
        let asked = connect::offer_now(proxy, server, profile, now);
        let is_asked_anew = |(_, backend): (Id, &Backend)| backend.server() == server && backend.is_open_reserve();
        let is_under_way = proxy.upstreams.backends().any(is_asked_anew);
        let is_new_due =
            !is_under_way && proxy.held.refuser_mut(server).is_some_and(|refuser| refuser.is_connect_due(now));
        let asked_anew = is_new_due
            .then(|| connect::begin_connect(proxy, Backend::new(server, profile, Purpose::Reserve, now), now));
        for id in asked.into_iter().chain(asked_anew) {
            enqueue::send_internal(proxy, id, ROLE, Role::Question, now);
        }
    }
}

/// Sends what is held in a line, if that can be sent, as much as a connection takes at once. Returns how many.
fn maybe_send(proxy: &mut Proxy, number: u64, now: Millis) -> usize {
    let Some(line) = proxy.held.line(number) else { return 0 };
    let (client, server, profile) = (line.client, line.server, line.profile);
    if !is_to_be_sent(proxy, client, server) {
        return 0;
    }
    bulk::release_unused(proxy, client);
    for request in proxy.held.forget_replies(number, &mut proxy.in_flight.arena) {
        if let Place::Early(early) = proxy.in_flight.requests[request].place() {
            answer::forget_early(&mut proxy.clients, &mut proxy.in_flight, client, request, early);
        }
    }
    // It has less unread, and may wait for less; and what is held back for it may be what it waits for.
    mark::mark_client_dirty(&mut proxy.clients, &mut proxy.turn, client);
    let mut sent = 0;
    while let Some(held) = proxy.held.take(number, 0..1, &mut proxy.in_flight.arena).pop() {
        if let Some(held) = send_one(proxy, client, held, profile, server, now) {
            proxy.held.put_back(client, server, profile, held, &mut proxy.in_flight.arena);
            return sent;
        }
        sent += 1;
    }
    maybe_let_go(proxy, client);
    sent
}

/// Sends one request that was held, where its route says now. Gives it back if no connection takes it.
fn send_one(
    proxy: &mut Proxy,
    client: Id,
    held: HeldRequest,
    profile: Profile,
    refuser: ServerId,
    now: Millis,
) -> Option<HeldRequest> {
    if !is_alive(proxy, client) {
        return None;
    }
    let HeldRequest { request, bytes, .. } = &held;
    let (request, entry) = (*request, &proxy.in_flight.requests[*request]);
    let (place, hash) = (entry.place(), entry.hash());
    let route = match place {
        Place::Part(merging) => scatter::route_part_again(proxy, merging, request, refuser, bytes),
        _ => reparse::route_again(&proxy.settings, &proxy.router, &proxy.reading, bytes, hash),
    };
    let Route::To(server, _) = route else {
        let error = held.refusal.as_deref().unwrap_or(CONNECTION_DOWN);
        answer::deliver_error(proxy, client, request, error, now);
        return None;
    };
    let Some(backend) = pick::pick_again(proxy, client, server, profile, now) else { return Some(held) };
    let entry = &mut proxy.in_flight.requests[request];
    if entry.losses() == 0 {
        entry.lose();
    }
    if let Some(client) = proxy.clients.get_mut(client).filter(|_| !entry.is_read()) {
        client.on_write(backend);
    }
    let ticket = enqueue::stand_at(proxy, request, backend, server)?;
    enqueue::queue(&mut proxy.upstreams, &mut proxy.in_flight, &mut proxy.turn, ticket, bytes);
    if guard::is_guarded(&proxy.settings, &proxy.reading, bytes) {
        guard::send_guard(&mut proxy.upstreams, &mut proxy.in_flight, &mut proxy.turn, backend);
    }
    None
}

/// A line is looked at again when the time of one of its requests is over.
fn look_by_deadline(proxy: &mut Proxy, number: u64) {
    let Some(line) = proxy.held.line(number) else { return };
    // Of a client that was closed in this turn there may be nothing left; its line goes in the next.
    let deadline = |held: &HeldRequest| proxy.in_flight.requests.get(held.request).map(|entry| entry.deadline());
    if let Some(deadline) = line.requests.iter().filter_map(deadline).min() {
        proxy.held.look.by(deadline);
    }
}

/// Has it looked at again in time.
fn watch(proxy: &mut Proxy, now: Millis) {
    let ask_at = proxy.held.refusers().iter().map(|refuser| refuser.ask_at);
    if let Some(next) = ask_at.chain(proxy.held.look.next()).min() {
        proxy.held.look.wake_at(&mut proxy.wheel, Timer::Held, next.max(now + 1));
    }
}
