//! Errors that say that a request was not run: it is sent again, with what was missing, or to who will run it.
//!
//! ```text
//!   -NOSCRIPT    the server does not know the script of an EVALSHA        `evalsha`: once more, with the script
//!   -READONLY    it is no master, or no longer                            `await_master`: held, until there is one
//!   -MOVED …     a node of a cluster does not have the slot, or not now   `redirect`: held, for whoever has it
//!                the same of a whole transaction                          `redirect_whole`: all of it
//!   all others   of a replica                                             `reask`: the master, or another replica
//! ```
//!
//! Which error it is is looked at where no plain reply comes by; a request of which the bytes are gone keeps its error.

use super::held::Held;
use super::in_flight::InFlight;
use super::redirect::{Answered, Refused};
use super::redirected::Redirected;
use super::router::Router;
use super::scripts::NO_SCRIPT;
use super::slot_table::slot_in;
use super::state::Proxy;
use super::{await_master, evalsha, reask, redirect, redirect_lease, redirect_whole};
use crate::backend::Backend;
use crate::request::{RequestId, Role};
use crate::slots::Id;
use crate::timer::Millis;

/// Why a server has not run a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NotRun {
    /// It does not know the script.
    UnknownScript,
    /// It is no master.
    ReadOnly,
    /// It is a replica, and does not answer this now.
    Replica,
    /// It is a node of a cluster, and does not serve its slot, or not now.
    Redirected,
    /// The same, perhaps, of a request of a transaction that it was given as a whole.
    InTransaction,
}

/// A reply that may not be the last word on its request.
#[derive(Debug)]
pub(super) struct Doubt {
    /// Why the request was not run, if it says so.
    why: Option<NotRun>,
    /// Whether something is held of the same client at the same server.
    is_behind_held: bool,
    /// What of it is to be known, if something of the same client is redirected.
    behind_redirected: Option<(u16, bool)>,
    /// The request itself, or all of the transaction that it ends, unless its bytes are gone.
    bytes: Option<Vec<u8>>,
}

impl Doubt {
    /// Whether there is any about this reply to the first request in flight on this backend, which has its bytes still.
    #[inline]
    pub fn about(
        (held, redirected, in_flight, router): (&Held, &Redirected, &InFlight, &Router),
        backend: &Backend,
        request: RequestId,
        (kind, reply): (u8, &[u8]),
    ) -> Option<Box<Doubt>> {
        if kind != b'-' && held.is_empty() && redirected.is_empty() {
            return None;
        }
        Doubt::of((held, redirected, in_flight, router), backend, request, (kind, reply))
    }

    #[cold]
    fn of(
        (held, redirected, in_flight, router): (&Held, &Redirected, &InFlight, &Router),
        backend: &Backend,
        request: RequestId,
        (kind, reply): (u8, &[u8]),
    ) -> Option<Box<Doubt>> {
        let entry = &in_flight.requests[request];
        let len = u64::from(entry.bytes());
        let (is_step, before) = match entry.role() {
            Role::Step { .. } => (true, 0),
            Role::Whole { bytes } => (false, u64::from(bytes) - len),
            _ => (false, 0),
        };
        let why = match kind {
            b'-' if router.slots().is_some() && (is_step || before > 0) => Some(NotRun::InTransaction),
            b'-' if router.has_several() && reply.starts_with(NO_SCRIPT) => Some(NotRun::UnknownScript),
            b'-' if reask::is_not_run(router, backend.server(), reply) => Some(NotRun::Replica),
            b'-' if router.slots().is_some() && redirect::is_refusal(reply) => Some(NotRun::Redirected),
            b'-' if router.slots().is_some() && redirect_lease::is_refusal(backend, reply) => Some(NotRun::Redirected),
            b'-' if reply.starts_with(await_master::READ_ONLY) => Some(NotRun::ReadOnly),
            _ => None,
        };
        let is_behind_held = held.number_of(entry.client(), backend.server()).is_some();
        let is_behind_redirected = redirected.line(entry.client()).is_some_and(|line| !line.is_idle());
        // What is queued is not run.
        let is_run = is_behind_redirected && !is_step;
        let behind_redirected = is_run.then(|| (slot_in(entry.hash()), entry.is_read()));
        if why.is_none() && !is_behind_held && behind_redirected.is_none() {
            return None;
        }
        let end = backend.answered() + len;
        let copy = |start: u64| backend.queue().copy_range(&in_flight.arena, start, end);
        let bytes = if is_step { None } else { (backend.answered().checked_sub(before)).and_then(copy) };
        Some(Box::new(Doubt { why, is_behind_held, behind_redirected, bytes }))
    }
}

/// A request, which stands in no backend's line any more, has this reply from backend `from`. If the server has not run
/// it, and it is sent again, now or later, `true`; if not, nothing was done.
#[inline]
pub(super) fn maybe_send_again(
    proxy: &mut Proxy,
    doubt: &mut Option<Box<Doubt>>,
    ids: (Id, RequestId, Id),
    reply: &[u8],
    now: Millis,
) -> bool {
    doubt.as_deref_mut().is_some_and(|doubt| send_again(proxy, doubt, ids, reply, now))
}

#[cold]
fn send_again(
    proxy: &mut Proxy,
    doubt: &mut Doubt,
    (client, request, from): (Id, RequestId, Id),
    reply: &[u8],
    now: Millis,
) -> bool {
    if let Some(why @ (NotRun::Redirected | NotRun::InTransaction)) = doubt.why {
        // It was not run.
        doubt.behind_redirected = None;
        let ids = (client, request, from);
        if why == NotRun::InTransaction {
            return redirect_whole::on_error(proxy, ids, doubt.bytes.take(), reply, now);
        }
        return redirect_lease::on_refused(proxy, ids, &mut doubt.bytes, reply, now).unwrap_or_else(|| {
            let refused = Refused { bytes: doubt.bytes.take(), steps: &mut Vec::new(), reply };
            redirect::on_refused(proxy, ids, refused, now)
        });
    }
    let (Some(why), true) = (doubt.why, doubt.bytes.is_some()) else { return false };
    let bytes = doubt.bytes.take().unwrap_or_default();
    match why {
        NotRun::UnknownScript if evalsha::send_with_script(proxy, client, request, from, &bytes, now) => true,
        NotRun::Redirected | NotRun::InTransaction => false,
        NotRun::UnknownScript | NotRun::Replica => reask::on_not_run(proxy, request, from, reply, bytes, now),
        NotRun::ReadOnly => await_master::hold(proxy, client, request, from, bytes, reply, now),
    }
}

/// The reply is in its place. What is held of the same client was sent before it.
#[inline]
pub(super) fn on_answered(proxy: &mut Proxy, doubt: Option<Box<Doubt>>, ids: (Id, RequestId, Id), now: Millis) {
    if let Some(doubt) = doubt {
        answered(proxy, *doubt, ids, now);
    }
}

#[cold]
fn answered(proxy: &mut Proxy, doubt: Doubt, (client, request, from): (Id, RequestId, Id), now: Millis) {
    let known = proxy.upstreams.backend(from).map(|entry| (entry.server(), entry.profile()));
    let Some((server, profile)) = known else { return };
    if let Some((slot, is_read)) = doubt.behind_redirected {
        let answered = Answered { server, profile, slot, is_read, bytes: doubt.bytes };
        return redirect::on_answered(proxy, client, request, answered, now);
    }
    // One that was not run does not come before what is held.
    if doubt.is_behind_held && doubt.why != Some(NotRun::ReadOnly) {
        await_master::on_answered(proxy, client, request, server, doubt.bytes, now);
    }
}
