//! Reads that a replica did not answer: they are asked once more, of the master or of another replica.
//!
//! ```text
//!   -LOADING, -MASTERDOWN    it answers nothing now, and is not read from until it says that it is well
//!   -NOSCRIPT, -READONLY     it does not know this script, or it would have been a write
//!   -BUSY                    a script of somebody else is at work
//!   nothing in time          a second try has its own time. The first reply is dropped, should it come
//! ```
//!
//! None of these was run to an end that its client has seen. A request is asked twice at the most: what went elsewhere
//! for any other reason, or with a connection that was lost (`recover`), is not asked a third time.

use super::replica_watch;
use super::replicas::Link;
use super::router::{Route, Router};
use super::state::Proxy;
use super::{reads, recover, reparse, scatter};
use crate::request::{Place, Request, RequestId, Role};
use crate::server_id::ServerId;
use crate::session::Profile;
use crate::slots::Id;
use crate::timer::Millis;

/// Whether this error of this server says that it has not run what it was asked, and that another may.
pub(super) fn is_not_run(router: &Router, server: ServerId, reply: &[u8]) -> bool {
    const NOT_RUN: &[&[u8]] = &[b"-LOADING ", b"-MASTERDOWN ", b"-NOSCRIPT ", b"-READONLY ", b"-BUSY "];
    let replicas = router.replicas();
    !replicas.is_empty() && NOT_RUN.iter().any(|word| reply.starts_with(word)) && replicas.has(server)
}

/// A replica has not run a request, which stands in no backend's line any more. False if it is not asked again: then
/// what the replica said is the reply.
pub(super) fn on_not_run(
    proxy: &mut Proxy,
    request: RequestId,
    from: Id,
    reply: &[u8],
    bytes: Vec<u8>,
    now: Millis,
) -> bool {
    let Some(backend) = proxy.upstreams.backend(from) else { return false };
    let (server, profile) = (backend.server(), backend.profile());
    if !proxy.router.replicas().has(server) {
        return false;
    }
    if replica_watch::is_unserved(reply) {
        replica_watch::note(proxy, server, Link::Useless, reply);
    }
    may_ask_again(&proxy.in_flight.requests[request]) && ask_again(proxy, request, (server, profile), bytes, now)
}

/// Reads of a replica whose time is over.
#[derive(Debug)]
pub(super) struct LateReads {
    server: ServerId,
    profile: Profile,
    reads: Vec<(RequestId, Vec<u8>)>,
}

/// Those of the requests in `due`, all of this backend and in the order of its line, that may be asked of another.
pub(super) fn late_reads(proxy: &Proxy, id: Id, due: &[RequestId]) -> Option<LateReads> {
    let backend = proxy.upstreams.backend(id)?;
    let (server, profile) = (backend.server(), backend.profile());
    if !proxy.router.replicas().has(server) {
        return None;
    }
    let mut late = LateReads { server, profile, reads: Vec::new() };
    let mut end = backend.answered();
    for request in backend.in_flight().iter(&proxy.in_flight.requests) {
        let entry = &proxy.in_flight.requests[request];
        let start = end;
        end += u64::from(entry.bytes());
        if due.contains(&request) && may_ask_again(entry) && entry.client() != Id::NONE {
            let bytes = backend.queue().copy_range(&proxy.in_flight.arena, start, end);
            late.reads.extend(bytes.map(|bytes| (request, bytes)));
        }
    }
    Some(late)
}

/// The time of this request is over, which stands in no backend's line any more. False if it is not asked again.
pub(super) fn on_late(proxy: &mut Proxy, request: RequestId, late: &mut Option<LateReads>, now: Millis) -> bool {
    let Some(late) = late else { return false };
    let Some(at) = late.reads.iter().position(|read| read.0 == request) else { return false };
    let (_, bytes) = late.reads.swap_remove(at);
    ask_again(proxy, request, (late.server, late.profile), bytes, now)
}

fn may_ask_again(entry: &Request) -> bool {
    let is_waiting = matches!(entry.place(), Place::Waiting | Place::Part(_));
    entry.is_read() && entry.role() == Role::Plain && !entry.is_moved() && entry.losses() == 0 && is_waiting
}

fn ask_again(
    proxy: &mut Proxy,
    request: RequestId,
    (from, profile): (ServerId, Profile),
    bytes: Vec<u8>,
    now: Millis,
) -> bool {
    let entry = &proxy.in_flight.requests[request];
    let (client, hash) = (entry.client(), entry.hash());
    let route = match entry.place() {
        Place::Part(merging) => scatter::route_part_again(proxy, merging, request, from, &bytes),
        _ => reparse::route_again(&proxy.settings, &proxy.router, &proxy.reading, &bytes, hash),
    };
    // Keys that have come apart are not worth it.
    match reads::route_instead(&proxy.router, from, client, route, now) {
        Route::To(server, _) if server != from => {
            proxy.in_flight.requests[request].mark_moved();
            proxy.journal.stats.resends += 1;
            recover::give(proxy, request, server, profile, bytes, now)
        }
        _ => false,
    }
}
