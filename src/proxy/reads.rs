//! Which requests replicas answer, and what keeps a client from reading the wrong thing there.
//!
//! A read goes to a replica (`replicas` says which) unless one of its keys was written of late, by any client of this
//! pool: then the replica may not have heard of it, and the server that has is asked. So who writes and then reads sees
//! what it wrote, on the next connection of the same page, too. What other hosts write is seen as late as the replica
//! hears of it.
//!
//! ```text
//!   GET a ─► a replica                  SET a ─► the master; a is noted        GET b ─► a replica
//!   GET a, SET a in one pipeline        SET waits for the reply to GET, or that could see it
//!   SET a, GET a in one pipeline        both to the master, in order
//! ```
//!
//! So long is of late: a second for the replica, behind the time that the server may take to answer the write. A
//! transaction's keys count when they are named. What may write without naming keys (a script without any, `FLUSHALL`)
//! counts for all keys. What a blocking command takes later does not count: nobody knows when.
//!
//! A write waits only for reads of its own client at replicas, and of those only if they may read what it writes: the
//! same key (by its hash), or several keys, or keys that are not known.
//!
//! Nothing here is asked unless the pool has replicas. Where they alone are to be read (`readFrom: replica`), what was
//! written counts for nothing; a write waits for reads all the same.

use super::call::{Call, Verdict, When};
use super::clients::Clients;
use super::pick::Pick;
use super::refusals::CONNECTION_DOWN;
use super::replicas::Reader;
use super::router::{Route, Router};
use super::settings::Settings;
use super::state::Proxy;
use super::{answer, dispatch, reparse, slot_table};
use crate::client::{Client, Need};
use crate::command::{self, Access, Class, Command, Lease};
use crate::recent::RecentWrites;
use crate::request::{Place, RequestId};
use crate::server_id::ServerId;
use crate::slots::Id;
use crate::timer::Millis;

/// So long a replica is given to hear of a write, in milliseconds, from the moment in which it must be answered.
const LAG_MS: u64 = 1_000;
/// A client with more requests in flight is not looked through: its write waits.
const LOOK_MAX: usize = 64;

/// What a request writes.
enum Written {
    Nothing,
    /// Its keys.
    Keys,
    /// Nobody knows.
    Anything,
    /// Nothing by itself; what belongs to it may.
    Transaction,
}

/// A request that is whole, and may be sent. The verdict, if it goes to a replica or has to wait; `None` if it goes the
/// way of all others.
#[inline(never)]
pub(super) fn on_request(proxy: &mut Proxy, id: Id, call: &Call<'_>, when: When) -> Option<Verdict> {
    if let Some(reader) = key_reader(&proxy.settings, &proxy.router, &proxy.clients, id, call, when.now) {
        let (hash, reader) = reader.reader_of_keys(&proxy.router, call)?;
        return match reader {
            Reader::Master => None,
            Reader::Replica(server) => {
                Some(dispatch::dispatch(proxy, id, server, hash, Access::Read, call.request.len(), when))
            }
            Reader::Nobody => {
                answer::reply_here(proxy, id, CONNECTION_DOWN);
                Some(Verdict::Done)
            }
        };
    }
    let written = written_by(call);
    note_written(&proxy.settings, &proxy.router, call, &written, when.now);
    let is_in_the_way = match written {
        Written::Nothing => return None,
        Written::Keys => {
            let span = call.command.key_span(call.args.len(), |index| call.arg(index)).ok()?;
            let hashes: Vec<u32> = span.iter().map(|index| proxy.router.hash_of(call.arg(index as usize))).collect();
            has_read_of(proxy, id, Some(&hashes))
        }
        Written::Anything | Written::Transaction => has_read_of(proxy, id, None),
    };
    if is_in_the_way { wait_for_reads(proxy, id, when.now) } else { None }
}

/// A transaction stands whole in the read buffer. The verdict, if it has to wait.
pub(super) fn before_transaction(proxy: &mut Proxy, id: Id, now: Millis) -> Option<Verdict> {
    if has_read_of(proxy, id, None) { wait_for_reads(proxy, id, now) } else { None }
}

/// A step of a transaction that goes out as a whole.
pub(super) fn note_step(proxy: &Proxy, call: &Call<'_>, now: Millis) {
    if proxy.router.replicas().heeds_writes() {
        note_written(&proxy.settings, &proxy.router, call, &written_by(call), now);
    }
}

/// Whether a large request with this one key may be passed on as it comes. If it writes, its key is noted.
pub(super) fn may_upload(proxy: &Proxy, id: Id, command: &Command, hash: u32, now: Millis) -> bool {
    if command.access == Access::Read {
        return true;
    }
    note_uploaded(&proxy.settings, &proxy.router, hash, now);
    !has_read_of(proxy, id, Some(&[hash]))
}

/// A large request with this one key is written, or has come to its end.
pub(super) fn note_uploaded(settings: &Settings, router: &Router, hash: u32, now: Millis) {
    if router.replicas().heeds_writes() {
        settings.workers.recent_writes().note(hash, now.0);
    }
}

/// Where a read goes that a server did not answer which is lost: `route`, but if it was a replica, as its settings
/// say.
pub(super) fn route_instead(router: &Router, lost: ServerId, client: Id, route: Route, now: Millis) -> Route {
    if router.replicas().is_empty() || !router.replicas().has(lost) {
        return route;
    }
    let is_master_up = matches!(route, Route::To(..) | Route::CrossSlot);
    match router.replicas().second_reader(lost, client.generation(), is_master_up, now) {
        Reader::Master => route,
        Reader::Replica(server) => Route::To(server, 0),
        Reader::Nobody if router.replicas().is_up(lost) => Route::To(lost, 0),
        Reader::Nobody => Route::Down,
    }
}

/// The replica that answers this read in the place of its server, which is down; `bytes` are the request's.
pub(super) fn replica_instead(proxy: &Proxy, request: RequestId, bytes: &[u8], now: Millis) -> Option<ServerId> {
    let entry = proxy.in_flight.requests.get(request).filter(|entry| entry.is_read())?;
    let framer = reparse::framed(&proxy.reading, bytes)?;
    let args = framer.args();
    let command = command::find(args.first()?.of(bytes))?;
    let call = Call { container: command.name(), command, request: bytes, args };
    let reader = key_reader(&proxy.settings, &proxy.router, &proxy.clients, entry.client(), &call, now)?;
    match reader.reader_of_keys(&proxy.router, &call)? {
        (_, Reader::Replica(server)) => Some(server),
        (_, Reader::Master | Reader::Nobody) => None,
    }
}

/// Who answers the reads of one request.
pub(super) struct KeyReader<'a> {
    /// The client's number.
    number: u32,
    /// Which keys are read where they were written, if any are.
    recent: Option<&'a RecentWrites>,
    within_ms: u64,
    now: Millis,
}

/// Who answers this request, if replicas may.
pub(super) fn key_reader<'a>(
    settings: &'a Settings,
    router: &Router,
    clients: &Clients,
    id: Id,
    call: &Call<'_>,
    now: Millis,
) -> Option<KeyReader<'a>> {
    let is_read = !router.replicas().is_empty()
        // Subcommands are not asked of replicas.
        && call.container == call.command.name()
        && call.command.is_for_replicas()
        && clients.get(id).is_some_and(Client::is_plain);
    is_read.then(|| KeyReader {
        number: id.generation(),
        recent: router.replicas().heeds_writes().then(|| settings.workers.recent_writes()),
        within_ms: LAG_MS + settings.timeouts.remote_read_ms,
        now,
    })
}

impl KeyReader<'_> {
    /// The server that answers a read of a key with this hash; `None` if none does.
    pub fn server_of(&self, router: &Router, hash: u32) -> Option<ServerId> {
        match self.reader_of(router, hash) {
            Reader::Master => router.server_of(hash),
            Reader::Replica(server) => Some(server),
            Reader::Nobody => None,
        }
    }

    fn reader_of(&self, router: &Router, hash: u32) -> Reader {
        match self.recent {
            Some(recent) if recent.is_recent(hash, self.within_ms, self.now.0) => Reader::Master,
            _ => router.reader_of(hash, self.number, self.now),
        }
    }

    /// Who answers a read of all keys of this request, and their hash. `None` if it has none that can be told, or if
    /// they are not all of one place.
    fn reader_of_keys(&self, router: &Router, call: &Call<'_>) -> Option<(u32, Reader)> {
        let span = call.command.key_span(call.args.len(), |index| call.arg(index)).ok()?;
        let mut hashes = span.iter().map(|index| router.hash_of(call.arg(index as usize)));
        let first = hashes.next()?;
        let (mut hash, mut reader) = (first, self.reader_of(router, first));
        for other in hashes {
            hash = slot_table::hash_of_several(first);
            if router.has_several() && !router.is_together(first, other) {
                return None;
            }
            match (reader, self.reader_of(router, other)) {
                // One that was written is read with all the others where it was.
                (Reader::Master, _) | (_, Reader::Master) => reader = Reader::Master,
                (one, other) if one == other => {}
                _ => return None,
            }
        }
        Some((hash, reader))
    }
}

fn written_by(call: &Call<'_>) -> Written {
    match call.command.class {
        Class::Lease(Lease::Multi | Lease::Exec | Lease::Watch) => Written::Transaction,
        _ if call.command.access != Access::Write => Written::Nothing,
        Class::All(_) | Class::Single => Written::Anything,
        _ if call.is_without_keys() => Written::Anything,
        _ => Written::Keys,
    }
}

fn note_written(settings: &Settings, router: &Router, call: &Call<'_>, written: &Written, now: Millis) {
    if !router.replicas().heeds_writes() {
        return;
    }
    let recent = settings.workers.recent_writes();
    match written {
        Written::Nothing | Written::Transaction => {}
        Written::Anything => recent.note_all(now.0),
        Written::Keys => {
            let span = call.command.key_span(call.args.len(), |index| call.arg(index));
            for index in span.iter().flat_map(|span| span.iter()) {
                recent.note(router.hash_of(call.arg(index as usize)), now.0);
            }
        }
    }
}

/// True if this client has a read in flight at a replica that may read one of these keys; any key, if they are not
/// known.
fn has_read_of(proxy: &Proxy, id: Id, hashes: Option<&[u32]>) -> bool {
    let Some(client) = proxy.clients.get(id) else { return false };
    if reading_from(proxy, client).is_none() {
        return false;
    }
    let Some(hashes) = hashes.filter(|_| client.reply_order().len() <= LOOK_MAX) else { return true };
    let may_read = |request| {
        let entry = &proxy.in_flight.requests[request];
        let is_read = entry.is_read() && (slot_table::is_of_several(entry.hash()) || hashes.contains(&entry.hash()));
        is_read || matches!(entry.place(), Place::Merging(_))
    };
    client.reply_order().iter(&proxy.in_flight.requests).any(may_read)
}

/// A replica at which this client has reads in flight.
fn reading_from(proxy: &Proxy, client: &Client) -> Option<ServerId> {
    let servers = client.affinities().iter().map(|affinity| affinity.server);
    servers.into_iter().find(|&server| proxy.upstreams.is_replica(server))
}

/// Has the client wait until its reads at a replica are answered.
fn wait_for_reads(proxy: &mut Proxy, id: Id, now: Millis) -> Option<Verdict> {
    let server = reading_from(proxy, proxy.clients.get(id)?)?;
    Some(dispatch::wait_or_refuse(proxy, id, server, Pick::Behind, Need::Room, now))
}
