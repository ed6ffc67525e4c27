//! Requests for several servers, taken apart: which server is asked what.
//!
//! ```text
//!   MGET a b c d     a, c on server 0; b, d on server 1     ─►  0: MGET a c      1: MGET b d
//!   MSET a 1 b 2     a on server 0, b on server 1           ─►  0: MSET a 1      1: MSET b 2
//!   JSON.MGET a b p                                         ─►  0: JSON.MGET a p 1: JSON.MGET b p
//!   KEYS *, FLUSHALL, SCRIPT LOAD x …                       ─►  the same to each server
//!   SCAN 13 COUNT 5  with 3 servers: server 1, its cursor 4 ─►  1: SCAN 4 COUNT 5
//! ```
//!
//! One part for each server, keys in the order in which they were asked; the arguments are spliced, byte for byte, out
//! of the request. It is all or nothing: a backend is found for every part before one byte of any is queued, and if one
//! has to be waited for, the client waits with the whole request.
//!
//! What is not exact is refused. A key whose server is down, with no other to stand in, refuses the whole command; so
//! does any server that is down for a command about all of them (`KEYS`, `DBSIZE`, `FLUSHALL` …): half of the keys is
//! not the keys. Between the parts of a write there is no transaction: if one server refuses, its error is the reply,
//! and the others have done their part. That is the price of several servers, and the client is told.
//!
//! When a server dies, different ones may come to stand in for keys that lived there together: what is to be asked
//! again is then taken apart once more.
//!
//! A server whose address is given twice has a share of the keys twice, but is one server to `KEYS` and its like.
//!
//! Knows how to take apart and where it goes; `merging` has the parts from there on, `compose` their replies.

use super::call::{Call, Verdict, When};
use super::compose::{self, Shape};
use super::in_flight::{InFlight, Ticket};
use super::interface::{LARGE, NO_DEADLINE};
use super::merging::{Merging, Part};
use super::pick::{self, Pick};
use super::reads::{self, KeyReader};
use super::refusals::{CONNECTION_DOWN, CROSS_SLOT, SLOTS_UNKNOWN, UNSUPPORTED};
use super::router::{Route, Router};
use super::settings::Settings;
use super::state::Proxy;
use super::{answer, bulk, collect, dispatch, enqueue, evalsha, guard, kill, mark, memory, reparse, same_slot};
use crate::client::Need;
use crate::cluster::RefreshCause;
use crate::command::{self, Access, Class, Gather, Merge};
use crate::reply::{self, error};
use crate::request::{MergingId, Place, Request, RequestId, Role};
use crate::server_id::ServerId;
use crate::session::Profile;
use crate::slots::Id;
use crate::stats::{Figures, SPLIT};
use crate::timer::Millis;

/// A request whose keys live on several servers.
pub(super) fn on_split(proxy: &mut Proxy, id: Id, call: &Call<'_>, merge: Merge, when: When) -> Verdict {
    let Some(row) = key_row(&proxy.settings, call) else {
        answer::reply_here(proxy, id, CROSS_SLOT);
        return Verdict::Done;
    };
    // Until the parts are queued, all of it is there twice.
    let len = call.request.len();
    if len > LARGE && memory::buffered_bytes(&proxy.in_flight) + 2 * len > proxy.settings.limits.buffered_bytes_max {
        answer::refuse_for_memory(proxy, id, "This request, taken apart,");
        return Verdict::Done;
    }
    let mut merging = collect::new_merging(&mut proxy.in_flight);
    merging.shape = shape_of(merge);
    let reader = reads::key_reader(&proxy.settings, &proxy.router, &proxy.clients, id, call, when.now);
    if !sort_keys(&mut proxy.router, call, row, reader.as_ref(), &mut merging) {
        collect::spare_merging(&mut proxy.in_flight, merging);
        answer::reply_here(proxy, id, CONNECTION_DOWN);
        return Verdict::Done;
    }
    let claimed = match is_in_its_own_way(proxy, id, call.command.access, &merging, when.now) {
        true => Err(Verdict::Wait),
        false => claim_all(proxy, id, &mut merging, when),
    };
    if let Err(verdict) = claimed {
        collect::spare_merging(&mut proxy.in_flight, merging);
        return verdict;
    }
    queue_parts(proxy, call, row, &mut merging);
    sent(line_up_parts(proxy, id, call.command.access, merging, when.now));
    Verdict::Done
}

/// Whether a part has to wait for what its client has under way, since its slot is half moved.
fn is_in_its_own_way(proxy: &mut Proxy, id: Id, access: Access, merging: &Merging, now: Millis) -> bool {
    let is_read = access == Access::Read;
    proxy.router.slots().is_some()
        && merging.parts().iter().any(|part| {
            proxy.router.may_be_half_moved(part.hash) && same_slot::must_wait(proxy, id, part.hash, is_read, now)
        })
}

/// Where the keys stand that can be taken apart; `None` if they can not.
fn key_row(settings: &Settings, call: &Call<'_>) -> Option<KeyRow> {
    let span = call.command.key_span(call.args.len(), |index| call.arg(index)).ok()?;
    if !settings.multi_key || span.extra.is_some() || span.first == 0 {
        return None;
    }
    let (first, step) = (span.first as usize, span.step as usize);
    Some(KeyRow { first, tail: first + span.count as usize * step, step })
}

/// Queues its bytes for each part, to the backend that was found for it.
fn queue_parts(proxy: &mut Proxy, call: &Call<'_>, row: KeyRow, merging: &mut Merging) {
    let KeyRow { first, tail, step } = row;
    let fixed = first + call.args.len() - tail;
    let mut head = proxy.reading.take_reply();
    for part in merging.parts_mut() {
        head.clear();
        reply::array(&mut head, fixed + part.keys * step);
        head.extend_from_slice(call.raw(0, first));
        part.bytes.extend_from_slice(call.raw(tail, call.args.len()));
        part.len = head.len() + part.bytes.len();
        let Some(backend) = proxy.upstreams.backend_mut(part.backend) else { continue };
        backend.push(&mut proxy.in_flight.arena, &head);
        if part.bytes.len() > LARGE {
            part.bytes.shrink_to_fit();
            backend.push_vec(&mut proxy.in_flight.arena, std::mem::take(&mut part.bytes));
        } else {
            backend.push(&mut proxy.in_flight.arena, &part.bytes);
            part.bytes.clear();
        }
    }
    proxy.reading.spare_reply(head);
}

/// Finds the part of each key, and begins its bytes with the key and what belongs to it. False if the server of one
/// is down.
fn sort_keys(
    router: &mut Router,
    call: &Call<'_>,
    row: KeyRow,
    reader: Option<&KeyReader<'_>>,
    merging: &mut Merging,
) -> bool {
    let is_whole = sort_each_key(router, call, row, reader, merging);
    router.forget_parts(merging.parts().iter().map(|part| (part.server, part.hash)));
    is_whole
}

fn sort_each_key(
    router: &mut Router,
    call: &Call<'_>,
    row: KeyRow,
    reader: Option<&KeyReader<'_>>,
    merging: &mut Merging,
) -> bool {
    match reader {
        None if router.slots().is_none() => sort_by(router, call, row, merging, |router, merging, key| {
            let server = router.server_of(router.hash_of(key))?;
            Some(router.first_part_at(server, || merging.add_part(server)))
        }),
        _ => sort_by(router, call, row, merging, |router, merging, key| {
            let hash = router.hash_of(key);
            let server = match reader {
                None => router.server_of(hash),
                Some(reader) => reader.server_of(router, hash),
            }?;
            let part = router.part_for(server, hash, || merging.add_part_of(server, hash));
            let entry = &mut merging.parts_mut()[usize::from(part)];
            if entry.server != server {
                // Some keys of this slot are to be read where they were written: so are all.
                entry.server = router.server_of(hash).unwrap_or(server);
            }
            Some(part)
        }),
    }
}

/// Begins the bytes of the parts; `part_of` has the part of a key, and `None` if its server is down.
#[inline]
fn sort_by(
    router: &mut Router,
    call: &Call<'_>,
    row: KeyRow,
    merging: &mut Merging,
    part_of: impl Fn(&mut Router, &mut Merging, &[u8]) -> Option<u16>,
) -> bool {
    let KeyRow { first, tail, step } = row;
    let mut start = call.args[first - 1].end();
    for index in (first..tail).step_by(step) {
        let Some(part) = part_of(router, merging, call.arg(index)) else { return false };
        let end = call.args[index + step - 1].end();
        let entry = &mut merging.parts_mut()[usize::from(part)];
        entry.keys += 1;
        entry.bytes.extend_from_slice(&call.request[start..end]);
        start = end;
        merging.order.push(part);
    }
    true
}

/// A request for all servers.
pub(super) fn on_gather(proxy: &mut Proxy, id: Id, call: &Call<'_>, gather: Gather, when: When) -> Verdict {
    let is_whole = proxy.router.distinct_servers().iter().all(|&server| proxy.router.is_up(server));
    if proxy.router.has_several() && (!proxy.settings.multi_key || gather == Gather::Masked) {
        answer::reply_here(proxy, id, UNSUPPORTED);
        return Verdict::Done;
    }
    if proxy.router.slots().is_some_and(|slots| !slots.is_known()) {
        proxy.turn.refresh(RefreshCause::Down);
        answer::reply_here(proxy, id, SLOTS_UNKNOWN);
        return Verdict::Done;
    }
    let shape = match gather {
        Gather::Cursor => return on_scan(proxy, id, call, when),
        Gather::Concat => Shape::Concat,
        Gather::Union => Shape::Union,
        Gather::Sum => Shape::Sum,
        Gather::Max => Shape::Max,
        Gather::Subscribers(family) => Shape::Subscribers(family),
        Gather::AllOk => Shape::AllOk,
        Gather::First => Shape::First,
        Gather::And => Shape::And,
        Gather::AnyKey => Shape::AnyKey(proxy.upstreams.random() as usize % proxy.router.distinct_servers().len()),
        Gather::Kill => Shape::Kill { is_whole },
        Gather::Masked => Shape::Masked,
    };
    // A script is stopped wherever it can be reached.
    let is_reached = gather == Gather::Kill && proxy.router.route_any().server().is_some();
    if !is_whole && !is_reached {
        answer::reply_here(proxy, id, CONNECTION_DOWN);
        return Verdict::Done;
    }
    match (call.container, call.command.name()) {
        ("script", "load") if call.args.len() > 2 => evalsha::learn_script(proxy, call.arg(2)),
        ("script", "flush") => evalsha::forget_scripts(&mut proxy.in_flight, &mut proxy.scripts),
        _ => {}
    }
    let mut merging = collect::new_merging(&mut proxy.in_flight);
    for server in proxy.router.distinct_servers_up() {
        merging.add_part(server);
    }
    send_pinned(proxy, id, call, shape, merging, call.request, when)
}

/// SCAN: the cursor says which server is asked, and with which cursor of its own.
fn on_scan(proxy: &mut Proxy, id: Id, call: &Call<'_>, when: When) -> Verdict {
    if !call.command.arity_allows(call.args.len()) {
        answer::reply_with(proxy, id, |out| error::wrong_arity(out, call.name()));
        return Verdict::Done;
    }
    let places = proxy.router.distinct_servers().len() as u64;
    let Some(cursor) = scan_cursor(call.arg(1)) else {
        answer::reply_here(proxy, id, b"-ERR invalid cursor\r\n");
        return Verdict::Done;
    };
    let revision = proxy.router.revision();
    let Some((place, cursor)) = compose::split_cursor(cursor, places, revision) else {
        answer::reply_here(proxy, id, b"-ERR invalid cursor: the servers are others since; begin the SCAN anew\r\n");
        return Verdict::Done;
    };
    let server = proxy.router.distinct_servers()[place as usize];
    if !proxy.router.is_up(server) {
        answer::reply_here(proxy, id, CONNECTION_DOWN);
        return Verdict::Done;
    }
    let mut request = Vec::with_capacity(call.request.len() + 2);
    reply::array(&mut request, call.args.len());
    request.extend_from_slice(call.raw(0, 1));
    reply::bulk(&mut request, cursor.to_string().as_bytes());
    request.extend_from_slice(call.raw(2, call.args.len()));
    let mut merging = collect::new_merging(&mut proxy.in_flight);
    merging.add_part(server);
    send_pinned(proxy, id, call, Shape::Cursor { place, places, revision }, merging, &request, when)
}

/// Sends the same to each part's server; no other may stand in for one.
fn send_pinned(
    proxy: &mut Proxy,
    id: Id,
    call: &Call<'_>,
    shape: Shape,
    mut merging: Merging,
    request: &[u8],
    when: When,
) -> Verdict {
    merging.shape = shape;
    merging.is_pinned = true;
    if let Shape::Kill { .. } = shape {
        // On another connection it might wait behind the script after all.
        merging.role = Role::Atomic;
    }
    if let Err(verdict) = claim_all(proxy, id, &mut merging, when) {
        collect::spare_merging(&mut proxy.in_flight, merging);
        return verdict;
    }
    for part in merging.parts_mut() {
        part.len = request.len();
        if let Some(backend) = proxy.upstreams.backend_mut(part.backend) {
            backend.push(&mut proxy.in_flight.arena, request);
        }
    }
    // What is to stop a script would be asked about one that is still busy.
    let is_guarded = merging.role == Role::Plain && guard::is_guarded(&proxy.settings, &proxy.reading, request);
    let asked: Vec<Id> = merging.parts().iter().filter(|_| is_guarded).map(|part| part.backend).collect();
    sent(line_up_parts(proxy, id, call.command.access, merging, when.now));
    asked
        .into_iter()
        .for_each(|backend| guard::send_guard(&mut proxy.upstreams, &mut proxy.in_flight, &mut proxy.turn, backend));
    Verdict::Done
}

/// Finds a backend for every part. If one must be waited for, the verdict says so, and nothing was asked of any.
fn claim_all(proxy: &mut Proxy, id: Id, merging: &mut Merging, when: When) -> Result<(), Verdict> {
    let claimed = claim_each(proxy, id, merging, when);
    proxy.router.forget_parts(merging.parts().iter().map(|part| (part.server, part.hash)));
    claimed
}

fn claim_each(proxy: &mut Proxy, id: Id, merging: &mut Merging, when: When) -> Result<(), Verdict> {
    let shape = merging.shape;
    for number in 0..merging.parts().len() {
        // All of one server go to the same backend.
        let server = merging.parts()[number].server;
        let first = proxy.router.first_part_at(server, || number as u16);
        if usize::from(first) < number {
            merging.parts_mut()[number].backend = merging.parts()[usize::from(first)].backend;
            continue;
        }
        let part = &mut merging.parts_mut()[number];
        let Some(client) = proxy.clients.get(id) else { return Err(Verdict::Done) };
        let profile = client.profile();
        let pick = match shape {
            Shape::Kill { .. } => kill::pick_beside(proxy, id, part.server, profile, when),
            _ => pick::pick(proxy, id, part.server, profile, when),
        };
        part.backend = match pick {
            Pick::Take(backend) => backend,
            pick => return Err(dispatch::wait_or_refuse(proxy, id, part.server, pick, Need::Room, when.now)),
        };
    }
    Ok(())
}

/// Puts the parent into its client's reply order and the parts, whose bytes were just queued, into the in-flight queues
/// of their backends. The ticket is that of the last part: whoever has only one may queue its bytes after this.
pub(super) fn line_up_parts(
    proxy: &mut Proxy,
    id: Id,
    access: Access,
    mut merging: Merging,
    now: Millis,
) -> Option<Ticket> {
    let id_of_merging = proxy.in_flight.merges.vacant_key() as MergingId;
    let mut parent = Request::new(id, NO_DEADLINE, 0, 0, false);
    parent.move_to(Place::Merging(id_of_merging));
    merging.client = id;
    let wrote_to = merging.parts().last().map(|part| part.backend).filter(|_| access == Access::Write);
    let client = proxy.clients.get_mut(id)?;
    parent.mute(client.takes_no_reply());
    proxy.journal.stats.requests[SPLIT] += 1;
    merging.parent = proxy.in_flight.begin(parent, client.reply_order_mut());
    if let Some(backend) = wrote_to {
        client.on_write(backend);
    }
    let deadline = now + proxy.settings.timeouts.remote_read_ms;
    let role = merging.role;
    let mut last = None;
    for (part, entry) in (0..).zip(merging.parts_mut()) {
        let mut request = Request::new(id, deadline, entry.len as u32, entry.hash, access == Access::Read);
        request.make_part(id_of_merging, part);
        request.set_role(role);
        let request = proxy.in_flight.requests.insert(request);
        entry.request = Some(request);
        last = enqueue::stand_at(proxy, request, entry.backend, entry.server);
        mark::mark_backend_dirty(&mut proxy.upstreams, &mut proxy.turn, entry.backend);
    }
    collect::charge_merging(&mut proxy.in_flight, &mut merging);
    let key = proxy.in_flight.merges.insert(merging);
    debug_assert_eq!(key as MergingId, id_of_merging);
    bulk::on_forwarded(proxy, id, now);
    last
}

/// The bytes of this one were queued before it was put into line.
fn sent(ticket: Option<Ticket>) {
    if let Some(ticket) = ticket {
        ticket.redeem();
    }
}

/// A request, or a part of one, has lost its backend, and different servers stand in for its keys: each of them is
/// asked its share. False if it can not be taken apart; then nothing was done.
pub(super) fn split_again(proxy: &mut Proxy, request: RequestId, profile: Profile, bytes: &[u8], now: Millis) -> bool {
    let Some(framer) = reparse::framed(&proxy.reading, bytes) else { return false };
    let args = framer.args();
    let command = args.first().and_then(|name| command::find(name.of(bytes)));
    let Some((command, Class::Split(merge))) = command.map(|command| (command, command.class)) else {
        return false;
    };
    let call = Call { container: command.name(), command, request: bytes, args };
    let Some(row) = key_row(&proxy.settings, &call) else { return false };
    let client = proxy.in_flight.requests[request].client();
    let mut shares = collect::new_merging(&mut proxy.in_flight);
    shares.shape = shape_of(merge);
    let is_whole = sort_keys(&mut proxy.router, &call, row, None, &mut shares);
    for part in shares.parts_mut() {
        part.backend = pick::pick_again(proxy, client, part.server, profile, now).unwrap_or(Id::NONE);
    }
    if !is_whole || shares.parts().iter().any(|part| part.backend == Id::NONE) {
        collect::spare_merging(&mut proxy.in_flight, shares);
        answer::deliver_error(proxy, client, request, CONNECTION_DOWN, now);
        return true;
    }
    queue_parts(proxy, &call, row, &mut shares);
    match proxy.in_flight.requests[request].place() {
        Place::Part(merging) => replace_part(proxy, merging, request, shares, now),
        _ => {
            shares.client = client;
            ask_parts(proxy, request, shares, now);
        }
    }
    true
}

/// Puts the parts, whose bytes were just queued, into line, and their replies into the place of that to `request`.
fn ask_parts(proxy: &mut Proxy, request: RequestId, mut shares: Merging, now: Millis) {
    let merging = proxy.in_flight.merges.vacant_key() as MergingId;
    proxy.in_flight.requests[request].move_to(Place::Merging(merging));
    shares.parent = request;
    for part in 0..shares.parts().len() {
        let asked = another_part(&mut proxy.in_flight, merging, request, part as u16);
        ask_part(proxy, asked, &mut shares.parts_mut()[part], now);
    }
    collect::charge_merging(&mut proxy.in_flight, &mut shares);
    proxy.in_flight.merges.insert(shares);
}

/// Asks each server that can be asked at once for what it says of itself, by `info`, an INFO; with what rmux says of
/// itself, that is the reply to `request`, whose place is kept. False if none can be asked; then nothing was done.
pub(super) fn ask_for_info(
    proxy: &mut Proxy,
    id: Id,
    request: RequestId,
    info: &[u8],
    figures: &mut Figures,
    now: Millis,
) -> bool {
    let Some(profile) = proxy.clients.get(id).map(|client| client.profile()) else { return false };
    let mut merging = collect::new_merging(&mut proxy.in_flight);
    let servers: Vec<ServerId> = proxy.router.distinct_servers_up().collect();
    for server in servers {
        // To wait for a connection would be to wait in the place where people look why they wait.
        let Some(backend) = pick::pick_again(proxy, id, server, profile, now) else { continue };
        let part = usize::from(merging.add_part(server));
        let part = &mut merging.parts_mut()[part];
        (part.backend, part.len) = (backend, info.len());
        if let Some(backend) = proxy.upstreams.backend_mut(backend) {
            backend.push(&mut proxy.in_flight.arena, info);
        }
    }
    if merging.parts().is_empty() {
        collect::spare_merging(&mut proxy.in_flight, merging);
        return false;
    }
    merging.is_pinned = true;
    merging.client = id;
    merging.figures = Some(Box::new(std::mem::take(figures)));
    ask_parts(proxy, request, merging, now);
    true
}

/// Puts `shares` into the place of the part whose request is `request`.
fn replace_part(proxy: &mut Proxy, merging: MergingId, request: RequestId, shares: Merging, now: Millis) {
    let mut whole = std::mem::take(&mut proxy.in_flight.merges[merging as usize]);
    let own = proxy.in_flight.requests[request].part();
    let mut numbers = Vec::new();
    for share in shares.parts() {
        let (part, asked) = if numbers.is_empty() {
            (own, request)
        } else {
            let part = whole.add_part(share.server);
            (part, another_part(&mut proxy.in_flight, merging, request, part))
        };
        numbers.push(part);
        let entry = &mut whole.parts_mut()[usize::from(part)];
        (entry.server, entry.backend) = (share.server, share.backend);
        (entry.len, entry.keys) = (share.len, share.keys);
        ask_part(proxy, asked, entry, now);
    }
    let mut order = shares.order.iter();
    for part in whole.order.iter_mut().filter(|part| **part == own) {
        *part = order.next().map_or(own, |&share| numbers[usize::from(share)]);
    }
    collect::charge_merging(&mut proxy.in_flight, &mut whole);
    proxy.in_flight.merges[merging as usize] = whole;
    collect::spare_merging(&mut proxy.in_flight, shares);
}

/// A request for one more part of an entry, as `like` is, which has lost a backend.
fn another_part(in_flight: &mut InFlight, merging: MergingId, like: RequestId, part: u16) -> RequestId {
    let like = &in_flight.requests[like];
    let mut request = Request::new(like.client(), NO_DEADLINE, 0, 0, like.is_read());
    request.inherit_losses(like.losses());
    request.make_part(merging, part);
    in_flight.requests.insert(request)
}

/// Puts the request of a part, whose bytes were just queued, into line.
fn ask_part(proxy: &mut Proxy, request: RequestId, part: &mut Part, now: Millis) {
    let entry = &mut proxy.in_flight.requests[request];
    entry.rewrite(part.len, now + proxy.settings.timeouts.remote_read_ms);
    part.request = Some(request);
    sent(enqueue::stand_at(proxy, request, part.backend, part.server));
    mark::mark_backend_dirty(&mut proxy.upstreams, &mut proxy.turn, part.backend);
}

/// Where a part goes that lost its backend at server `lost`. What had come of its reply is worth nothing.
pub(super) fn route_part_again(
    proxy: &mut Proxy,
    merging: MergingId,
    request: RequestId,
    lost: ServerId,
    bytes: &[u8],
) -> Route {
    collect::forget_collected(&mut proxy.clients, &mut proxy.in_flight, merging, request);
    if !proxy.in_flight.merges[merging as usize].is_pinned {
        return reparse::route_again(&proxy.settings, &proxy.router, &proxy.reading, bytes, 0);
    }
    proxy.router.route_pinned(lost)
}

/// Where the keys of a request stand: from one argument on, up to another, so many arguments for each.
#[derive(Debug, Clone, Copy)]
struct KeyRow {
    first: usize,
    tail: usize,
    step: usize,
}

fn shape_of(merge: Merge) -> Shape {
    match merge {
        Merge::Sum => Shape::Sum,
        Merge::ByPosition => Shape::ByPosition,
        Merge::AllOk => Shape::AllOk,
    }
}

/// The cursor that a client sent: decimal digits, within 64 bits.
fn scan_cursor(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    text.parse().ok()
}
