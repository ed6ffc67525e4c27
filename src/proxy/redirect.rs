//! What a node of a cluster says that has not run a request: it is held, to be sent again (`resend`).
//!
//! ```text
//!   -MOVED 7 10.0.0.2:6379   that node has the slot from here on, and has the request at once
//!   -ASK 7 10.0.0.2:6379     that node has this request alone, with ASKING before it; the slot stays where it is
//!   -TRYAGAIN …              some of its keys have moved, and some not: the same again, in a moment
//!   -CLUSTERDOWN, -READONLY  whoever has the slot, in a moment
//! ```
//!
//! A write is as good as a read here: nothing was run. `-MOVED` and `-CLUSTERDOWN` have the map of all slots asked for
//! again. A node that does not have the slot, as far as is known, is not believed in who has it: that was true before.
//! One that names itself as the owner is not the node that it was: its name is looked up anew, and its connections are
//! renewed. What a script says is not learned from, since a script may say anything.
//!
//! A replica says `-MOVED` when its master does not have the slot, or it has another master by now, and `-CLUSTERDOWN`
//! when it is cut off: its reads go to the owner, at once, behind whatever of the client is redirected.
//!
//! Order: whatever of a client is redirected is in one line, its client is read no further, and it is sent again when
//! the client has nothing in flight at any node. What was run *behind* a held request counts only if both have a key of
//! the same slot in common: a read is asked again, behind the held one; after a write the held one comes too late, and
//! is told so. That can happen to requests with several keys, while their slot is moved: `same_slot` sees to it that it
//! happens only to what is in flight when that becomes known. To others only if the node is given the slot in between.
//!
//! A transaction that came whole is one request, as far as this is concerned: its last one, with the bytes of all and
//! with those of its steps that wait for their answer, too (`redirect_whole`).
//!
//! What is not sent again, and is told what the node said: what was redirected `TRIES_MAX` times; and when memory is
//! short, or more than `REDIRECTED_MAX` wait. Of a large request the bytes were not kept; it is told so. What a client
//! has a connection of its own for (what waits for data, `WATCH`, transactions that come step by step) is the business
//! of `redirect_lease`.

use std::mem;

use log::Level;

use super::interface::{NO_DEADLINE, Timer};
use super::redirected::{Goal, REDIRECTED_MAX, Waiting};
use super::refusals::CONNECTION_DOWN;
use super::slot_table::slot_in;
use super::state::Proxy;
use super::unqueued::Step;
use super::{answer, guard, mark, memory, reparse, whole};
use crate::backend::Backend;
use crate::client::Client;
use crate::cluster::RefreshCause;
use crate::notice::{About, Kind};
use crate::request::{Place, RequestId, Role};
use crate::server_id::ServerId;
use crate::session::Profile;
use crate::slots::Id;
use crate::timer::Millis;

/// So often a request is redirected at the most.
pub(super) const TRIES_MAX: u8 = 16;
/// The same for a script: it may say itself what a node would say, after it has written.
const SCRIPT_TRIES_MAX: u8 = 3;
/// So often it is sent at once; after that there is a pause, since nodes may not agree yet.
const AT_ONCE_MAX: u8 = 3;
/// The shortest and the longest pause, in milliseconds, but for a cluster that is down: then each is twice as long.
const PAUSE_MS: std::ops::Range<u64> = 10..50;

/// What ASK has said is true for so long, in milliseconds; then the owner is asked again, since the slot may be on its
/// way elsewhere.
pub(super) const ASK_MS: u64 = 100;

/// So long after a node has said that a slot is half moved it is taken to be, in milliseconds.
const HALF_MOVED_MS: u64 = 1_000;

/// What a request is told behind which another one was run that has a key in common with it, or may have been.
const OVERTAKEN: &[u8] =
    b"-TRYAGAIN A request that was sent behind this one came first, while its slot was moved; this one was not run\r\n";
/// What a large request is told.
pub(super) const NOT_KEPT: &[u8] =
    b"-TRYAGAIN The slot of this large request was moved while it was sent; it was not run\r\n";

/// What a node says that has not run a request.
#[derive(Debug, PartialEq, Eq)]
enum Refusal<'a> {
    /// The slot is that node's.
    Moved { slot: u16, host: &'a str, port: u16 },
    /// This request is for that node.
    Ask { slot: u16, host: &'a str, port: u16 },
    /// Some keys have moved.
    TryAgain,
    /// Nobody serves it now.
    Down,
}

/// Whether a node has said this, and not a script, as far as that can be told: a script that cannot go on says
/// something else, and more, and may have been run up to there.
fn is_of_node(reply: &[u8]) -> bool {
    let words: [&[u8]; 5] = [
        b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n",
        b"-CLUSTERDOWN The cluster is down\r\n",
        b"-CLUSTERDOWN The cluster is down and only accepts read commands\r\n",
        b"-CLUSTERDOWN Hash slot not served\r\n",
        b"-READONLY You can't write against a read only replica.\r\n",
    ];
    words.contains(&reply) || reply.starts_with(b"-MOVED ") || reply.starts_with(b"-ASK ")
}

/// Whether this error says that a node of a cluster has not run a request.
pub(super) fn is_refusal(reply: &[u8]) -> bool {
    refusal(reply).is_some()
}

fn refusal(reply: &[u8]) -> Option<Refusal<'_>> {
    let text = std::str::from_utf8(reply.strip_suffix(b"\r\n")?).ok()?;
    let (word, rest) = text.split_once(' ')?;
    match word {
        "-TRYAGAIN" => return Some(Refusal::TryAgain),
        "-CLUSTERDOWN" | "-READONLY" => return Some(Refusal::Down),
        "-MOVED" | "-ASK" => {}
        _ => return None,
    }
    let (slot, endpoint) = rest.split_once(' ')?;
    let slot = slot.parse().ok().filter(|&slot: &u16| usize::from(slot) < crate::cluster::SLOTS)?;
    // An IPv6 address has colons of its own, and no brackets.
    let (host, port) = endpoint.rsplit_once(':')?;
    let port = port.parse().ok()?;
    match word {
        "-MOVED" => Some(Refusal::Moved { slot, host, port }),
        _ => Some(Refusal::Ask { slot, host, port }),
    }
}

/// The address that a node has named, as seen from the node at `from`. `None` if it says that it does not know it.
fn address(host: &str, port: u16, from: &str) -> Option<String> {
    match host {
        "?" => None,
        // The host that was asked.
        "" => from.rsplit_once(':').map(|(host, _)| format!("{host}:{port}")),
        _ if host.contains(':') => Some(format!("[{host}]:{port}")),
        _ => Some(format!("{host}:{port}")),
    }
}

/// A request that a node has not run.
#[derive(Debug)]
pub(super) struct Refused<'a> {
    /// `None` if they were not kept.
    pub bytes: Option<Vec<u8>>,
    /// If it is the last of a whole transaction: what waits with it. They are taken with it.
    pub steps: &'a mut Vec<Step>,
    /// What the node has said.
    pub reply: &'a [u8],
}

/// The node of backend `from` has not run a request, which stands in no backend's line any more. True if it is held, or
/// was told something else; if not, what the node said is the reply.
pub(super) fn on_refused(
    proxy: &mut Proxy,
    (client, request, from): (Id, RequestId, Id),
    Refused { bytes, steps, reply }: Refused<'_>,
    now: Millis,
) -> bool {
    let Some((server, profile)) = proxy.upstreams.backend(from).map(|entry| (entry.server(), entry.profile())) else {
        return false;
    };
    let Some(refusal) = refusal(reply) else { return false };
    let entry = &proxy.in_flight.requests[request];
    let (slot, role) = (slot_in(entry.hash()), entry.role());
    let named = match refusal {
        Refusal::Moved { slot, .. } | Refusal::Ask { slot, .. } => Some(slot),
        Refusal::TryAgain | Refusal::Down => None,
    };
    let is_whole = matches!(role, Role::Whole { .. });
    let is_alone = is_whole || matches!(role, Role::Plain | Role::Published { .. });
    // Of a transaction no script says anything before it is run.
    let is_script = !is_whole && bytes.as_ref().is_some_and(|bytes| guard::is_doubtful_request(&proxy.reading, bytes));
    if is_alone && named.is_some_and(|named| named != slot) || is_script && !is_of_node(reply) {
        // It is no node that says so.
        return false;
    }
    proxy.journal.stats.count_redirect(reply);
    let tries = proxy.redirected.tries(client, request);
    let (goal, pause_ms) = learn(proxy, server, named.unwrap_or(slot), &refusal, (is_script, tries), now);
    note_half_moved(proxy, request, reply, now);
    let tries_max = if is_script { SCRIPT_TRIES_MAX } else { TRIES_MAX };
    if !is_alone || tries >= tries_max || !may_wait(proxy, client, request, server, now) {
        return false;
    }
    let Some(bytes) = bytes else {
        proxy.in_flight.requests[request].leave_backend();
        answer::deliver_error(proxy, client, request, NOT_KEPT, now);
        return true;
    };
    let keys = reparse::keys_of(&proxy.router, &proxy.reading, &bytes);
    let (due, refusal, steps) = (now + pause_ms, reply.into(), mem::take(steps).into());
    let waiting = Waiting { request, bytes, slot, keys, profile, goal, due, refusal, steps };
    hold(proxy, client, server, waiting, now);
    true
}

/// The same for what this node has said about a slot that is not named there, or is; `None` if that is no refusal.
pub(super) fn learn_from(
    proxy: &mut Proxy,
    from: ServerId,
    slot: u16,
    reply: &[u8],
    tries: u8,
    now: Millis,
) -> Option<(Goal, u64)> {
    let refusal = refusal(reply)?;
    let slot = match refusal {
        Refusal::Moved { slot, .. } | Refusal::Ask { slot, .. } => slot,
        Refusal::TryAgain | Refusal::Down => slot,
    };
    Some(learn(proxy, from, slot, &refusal, (false, tries), now))
}

/// The same, if it names a slot; else that nobody serves one, if that is said.
pub(super) fn learn_slotless(proxy: &mut Proxy, from: ServerId, reply: &[u8], now: Millis) {
    match refusal(reply) {
        Some(Refusal::Moved { slot, .. } | Refusal::Ask { slot, .. }) => {
            learn_from(proxy, from, slot, reply, 0, now);
        }
        Some(Refusal::Down) => drop(learn_down(proxy)),
        Some(Refusal::TryAgain) | None => {}
    }
}

/// The same when nobody serves a slot now. Returns after how many milliseconds it is tried again.
pub(super) fn learn_down(proxy: &mut Proxy) -> u64 {
    proxy.turn.refresh(RefreshCause::Down);
    2 * pause_ms(proxy)
}

fn pause_ms(proxy: &mut Proxy) -> u64 {
    PAUSE_MS.start + proxy.upstreams.random() % (PAUSE_MS.end - PAUSE_MS.start)
}

/// What follows from it for the request, and for others: where it goes, and after how many milliseconds.
fn learn(
    proxy: &mut Proxy,
    from: ServerId,
    slot: u16,
    refusal: &Refusal<'_>,
    (is_script, tries): (bool, u8),
    now: Millis,
) -> (Goal, u64) {
    let pause_ms = pause_ms(proxy);
    // What is sent again a few times only is not sent all of them at once.
    let pause_ms = if is_script { pause_ms << tries } else { pause_ms };
    let at_once = if tries < AT_ONCE_MAX { 0 } else { pause_ms };
    match *refusal {
        Refusal::TryAgain => {
            on_moving(proxy, from, slot, now);
            (Goal::Owner, pause_ms)
        }
        Refusal::Down => {
            proxy.turn.refresh(RefreshCause::Down);
            // A replica may be cut off, and its master not.
            let is_replica = proxy.router.replicas_mut().doubt(from);
            (Goal::Owner, if is_replica && tries == 0 { 0 } else { 2 * pause_ms })
        }
        Refusal::Ask { host, port, .. } => {
            on_moving(proxy, from, slot, now);
            match address(host, port, proxy.upstreams.address(from)) {
                Some(address) => (Goal::Asking(address.into()), at_once),
                None => (Goal::Owner, pause_ms),
            }
        }
        Refusal::Moved { host, port, .. } => {
            proxy.router.replicas_mut().on_slot_moves_at(from, now);
            let own = proxy.upstreams.address(from);
            let Some(address) = address(host, port, own).filter(|_| !is_script) else {
                proxy.turn.refresh(RefreshCause::Moved);
                return (Goal::Owner, pause_ms);
            };
            if address == own {
                on_replaced(proxy, from, now);
                return (Goal::Owner, pause_ms);
            }
            proxy.turn.refresh(RefreshCause::Moved);
            learn_owner(proxy, from, slot, &address, now);
            (Goal::Owner, at_once)
        }
    }
}

/// A node names itself as the owner of a slot that it does not have: it is not the one that it was.
fn on_replaced(proxy: &mut Proxy, server: ServerId, now: Millis) {
    proxy.turn.refresh(RefreshCause::SameAddress);
    if proxy.upstreams.whereabouts_mut(server).is_some_and(|known| known.on_replaced(now)) {
        let text = "names itself as the owner of a slot that it does not have: its connections are renewed";
        proxy.journal.notices.note(Kind::Address, About::Server(server), Level::Warn, 1, format_args!("{text}"));
        proxy.turn.renew(server);
    }
}

/// A node says that a slot is on its way.
fn on_moving(proxy: &mut Proxy, from: ServerId, slot: u16, now: Millis) {
    proxy.redirected.on_moving(slot, now);
    proxy.router.replicas_mut().on_slot_moves_at(from, now);
}

/// A node has not run this request, or not queued a step of a transaction of which it is the last one. If that is so
/// since some of its keys have moved, and some not, its client sends nothing behind it, for as long as it may be so.
pub(super) fn note_half_moved(proxy: &mut Proxy, request: RequestId, reply: &[u8], now: Millis) {
    let is_half_moved = match refusal(reply) {
        Some(Refusal::TryAgain) => true,
        Some(Refusal::Ask { .. }) => whole::is_whole(proxy, request),
        _ => false,
    };
    if is_half_moved {
        let slot = slot_in(proxy.in_flight.requests[request].hash());
        proxy.router.on_half_moved(slot, now + HALF_MOVED_MS);
    }
}

/// A node says that this one has a slot. If it was thought to have it itself, it is believed.
fn learn_owner(proxy: &mut Proxy, from: ServerId, slot: u16, address: &str, now: Millis) {
    let owner = proxy.router.owner(slot);
    if owner.is_some_and(|owner| owner != from) {
        return;
    }
    let known = proxy.router.servers().find(|&server| proxy.upstreams.address(server) == address);
    match known {
        Some(server) => drop(proxy.router.set_slot(slot, server, now)),
        None => proxy.redirected.on_named(slot, address),
    }
}

/// The slot that is another node's, and the address of that, if this is what an error of the node `from` says.
pub(super) fn moved_to(proxy: &Proxy, from: ServerId, reply: &[u8]) -> Option<(u16, String)> {
    let Some(Refusal::Moved { slot, host, port }) = refusal(reply) else { return None };
    Some((slot, address(host, port, proxy.upstreams.address(from))?))
}

/// Whether this request can be held at all.
fn may_wait(proxy: &Proxy, client: Id, request: RequestId, server: ServerId, now: Millis) -> bool {
    let entry = &proxy.in_flight.requests[request];
    let is_waiting = matches!(entry.place(), Place::Waiting | Place::Part(_));
    let is_in_time = entry.deadline() != NO_DEADLINE && entry.deadline() > now;
    let leased = proxy.clients.get(client).and_then(Client::leased);
    let is_watching = leased.is_some_and(|leased| leased.server == server);
    let has_room =
        proxy.redirected.count() < REDIRECTED_MAX && !memory::is_memory_short(&proxy.settings, &proxy.in_flight);
    is_waiting && is_in_time && !is_watching && has_room
}

fn hold(proxy: &mut Proxy, client: Id, server: ServerId, waiting: Waiting, now: Millis) {
    let entry = &mut proxy.in_flight.requests[waiting.request];
    entry.leave_backend();
    let look_at = waiting.due.min(entry.deadline()).max(now);
    proxy.redirected.push(client, server, waiting, &mut proxy.in_flight.arena);
    proxy.redirected.look.by(look_at);
    proxy.redirected.look.wake_at(&mut proxy.wheel, Timer::Redirected, look_at);
    if let Some(client) = proxy.clients.get_mut(client) {
        client.hold();
    }
}

/// A request was not run because its connection is lost, and something of its client is redirected: it is sent behind
/// that. Gives the bytes back if nothing is.
pub(super) fn hold_behind(
    proxy: &mut Proxy,
    client: Id,
    request: RequestId,
    (server, profile): (ServerId, Profile),
    bytes: Vec<u8>,
    now: Millis,
) -> Option<Vec<u8>> {
    if proxy.redirected.line(client).is_none() {
        return Some(bytes);
    }
    let slot = slot_in(proxy.in_flight.requests[request].hash());
    let (refusal, keys) = (CONNECTION_DOWN.into(), reparse::keys_of(&proxy.router, &proxy.reading, &bytes));
    let waiting =
        Waiting { request, bytes, slot, keys, profile, goal: Goal::Owner, due: now, refusal, steps: [].into() };
    hold(proxy, client, server, waiting, now);
    None
}

/// A request of a client of which something waits was answered, and its reply is in its place. If what waits was sent
/// before it, and has a key in common with it, the order of both is looked after.
pub(super) fn on_answered(proxy: &mut Proxy, client: Id, request: RequestId, answered: Answered, now: Millis) {
    let overtaken = overtaken(proxy, client, request, &answered);
    if overtaken.is_empty() {
        return;
    }
    let entry = proxy.in_flight.requests.get(request).filter(|entry| entry.client() == client);
    let early = entry.filter(|entry| entry.is_read() && entry.role() == Role::Plain).and_then(|entry| {
        let place = entry.place();
        matches!(place, Place::Early(_)).then(|| place.early()).flatten()
    });
    match (early, answered.bytes) {
        (Some(early), Some(bytes)) if proxy.redirected.count() < REDIRECTED_MAX => {
            answer::forget_early(&mut proxy.clients, &mut proxy.in_flight, client, request, early);
            mark::mark_client_dirty(&mut proxy.clients, &mut proxy.turn, client);
            // If that is never run, this was not either, and for the same reason.
            let before = overtaken.first().and_then(|&number| proxy.redirected.line(client)?.waiting_as(number));
            let refusal = before.map_or(CONNECTION_DOWN.into(), |before| before.refusal.clone());
            let Answered { server, profile, slot, .. } = answered;
            let keys = reparse::keys_of(&proxy.router, &proxy.reading, &bytes);
            let (goal, due, steps) = (Goal::Owner, now, [].into());
            let waiting = Waiting { request, bytes, slot, keys, profile, goal, due, refusal, steps };
            hold(proxy, client, server, waiting, now);
        }
        _ => refuse_all(proxy, client, &overtaken, now),
    }
}

/// A request that a node has answered, though others before it wait.
#[derive(Debug)]
pub(super) struct Answered {
    pub server: ServerId,
    pub profile: Profile,
    pub slot: u16,
    pub is_read: bool,
    pub bytes: Option<Vec<u8>>,
}

/// Those that wait, were sent before this one, have a key in common with it, and are not both reads.
fn overtaken(proxy: &Proxy, client: Id, request: RequestId, answered: &Answered) -> Vec<u64> {
    let Some(line) = proxy.redirected.line(client) else { return Vec::new() };
    let keys = answered.bytes.as_ref().and_then(|bytes| reparse::keys_of(&proxy.router, &proxy.reading, bytes));
    let is_overtaken = |waiting: &Waiting| {
        let is_read = proxy.in_flight.requests.get(waiting.request).is_some_and(|entry| entry.is_read());
        waiting.slot == answered.slot
            && !(answered.is_read && is_read)
            && !stands_before(proxy, client, request, waiting.request)
    };
    let sharing = line.sharing(keys.as_deref()).into_iter();
    sharing.filter(|&number| line.waiting_as(number).is_some_and(is_overtaken)).collect()
}

/// Whether a request stands before another one in its client's order.
fn stands_before(proxy: &Proxy, client: Id, request: RequestId, other: RequestId) -> bool {
    let requests = &proxy.in_flight.requests;
    let Some(client) = proxy.clients.get(client) else { return true };
    let place_of = |request: RequestId| match requests.get(request).map(|entry| entry.place()) {
        Some(Place::Part(merging)) => {
            proxy.in_flight.merges.get(merging as usize).map_or(request, |whole| whole.parent)
        }
        _ => request,
    };
    let (one, other) = (place_of(request), place_of(other));
    // One that is answered, and gone, was the first.
    let first = client.reply_order().iter(requests).find(|&stands| stands == one || stands == other);
    first == Some(one) || !client.reply_order().iter(requests).any(|stands| stands == one)
}

/// A request may have been run, though nobody has said so: what waits, was sent before it, and has its slot comes too
/// late.
pub(super) fn on_run(proxy: &mut Proxy, client: Id, request: RequestId, server: ServerId, now: Millis) {
    if proxy.redirected.line(client).is_none() {
        return;
    }
    let entry = &proxy.in_flight.requests[request];
    let answered = Answered {
        server,
        profile: Profile::default(),
        slot: slot_in(entry.hash()),
        is_read: entry.is_read(),
        bytes: None,
    };
    let overtaken = overtaken(proxy, client, request, &answered);
    refuse_all(proxy, client, &overtaken, now);
}

fn refuse_all(proxy: &mut Proxy, client: Id, numbers: &[u64], now: Millis) {
    for &number in numbers {
        refuse(proxy, client, number, Some(OVERTAKEN), now);
    }
}

/// Whether this client is there, and its requests with it.
pub(super) fn is_alive(proxy: &Proxy, client: Id) -> bool {
    proxy.clients.get(client).is_some_and(|client| !client.is_closed())
}

/// This one is told why it was not run; without a word, what the node said.
pub(super) fn refuse(proxy: &mut Proxy, client: Id, number: u64, why: Option<&[u8]>, now: Millis) {
    let Some(waiting) = proxy.redirected.take(client, number, false, &mut proxy.in_flight.arena) else { return };
    if !is_alive(proxy, client) {
        // It was closed over one before, and its requests are gone with it.
        return;
    }
    tell(proxy, client, &waiting, why.unwrap_or(&waiting.refusal), now);
}

/// One that waited, and those with it, are told why they were not run.
pub(super) fn tell(proxy: &mut Proxy, client: Id, waiting: &Waiting, why: &[u8], now: Millis) {
    if whole::is_whole(proxy, waiting.request) {
        return whole::tell_all(proxy, client, waiting, why, now);
    }
    proxy.in_flight.measured.count_error(b'-', why);
    answer::deliver(proxy, client, waiting.request, why, now);
}

/// Whether the replies to this client are left with a node, since it may have no more of them unread: they wait for
/// what is redirected, and that for them.
pub(super) fn is_held_back(proxy: &mut Proxy, id: Id) -> bool {
    let Some(client) = proxy.clients.get(id) else { return false };
    let is_paused = |id: Id| proxy.upstreams.backend(id).is_some_and(Backend::is_read_paused);
    let is_held_back = client.affinities().iter().any(|affinity| is_paused(affinity.backend));
    let is_far_over = client.excess() > memory::client_unread_max(&proxy.settings, &proxy.in_flight);
    if is_held_back && !is_far_over {
        // They are read on.
        mark::mark_client_dirty(&mut proxy.clients, &mut proxy.turn, id);
    }
    is_held_back && is_far_over
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_says_is_read_as_it_is_meant() {
        let moved = |slot, host, port| Some(Refusal::Moved { slot, host, port });
        assert_eq!(refusal(b"-MOVED 3999 127.0.0.1:6381\r\n"), moved(3999, "127.0.0.1", 6381));
        assert_eq!(refusal(b"-MOVED 0 ::1:6381\r\n"), moved(0, "::1", 6381));
        assert_eq!(refusal(b"-MOVED 16383 :6380\r\n"), moved(16383, "", 6380));
        assert_eq!(refusal(b"-ASK 1 ?:6380\r\n"), Some(Refusal::Ask { slot: 1, host: "?", port: 6380 }));
        let again = b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n";
        assert_eq!(refusal(again), Some(Refusal::TryAgain));
        assert_eq!(refusal(b"-CLUSTERDOWN Hash slot not served\r\n"), Some(Refusal::Down));
        for other in [
            &b"-MOVED 16384 a:1\r\n"[..],
            b"-MOVED -1 a:1\r\n",
            b"-MOVED 1\r\n",
            b"-MOVED 1 a\r\n",
            b"-MOVED 1 a:x\r\n",
            b"-MOVED 1 a:65536\r\n",
            b"-MOVED",
            b"-MOVEDX 1 a:1\r\n",
            b"-ERR MOVED 1 a:1\r\n",
            b"-\xff 1 a:1\r\n",
            b"+OK\r\n",
        ] {
            assert_eq!(refusal(other), None, "{}", String::from_utf8_lossy(other));
        }
    }

    #[test]
    fn an_address_is_written_as_in_the_map() {
        let named = |host: &str| address(host, 1, "10.0.0.9:6379");
        assert_eq!(named("10.0.0.1").as_deref(), Some("10.0.0.1:1"));
        assert_eq!(named("::1").as_deref(), Some("[::1]:1"));
        assert_eq!(named("").as_deref(), Some("10.0.0.9:1"));
        assert_eq!(address("", 7, "[::1]:6379").as_deref(), Some("[::1]:7"));
        assert_eq!(named("?"), None);
    }
}
