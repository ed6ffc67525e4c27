//! The requests of a transaction that goes to a node of a cluster as a whole: into line again, or answered, together.
//!
//! ```text
//!   sent       [MULTI] [SET a] [GET b] [EXEC]
//!   answered     +OK     held  +QUEUED   held
//!   again      [MULTI]  SET a  [GET b]  EXEC       in brackets: nobody waits for what is said to it
//! ```
//!
//! Knows nothing of why (`redirect_whole`).

use super::in_flight::Ticket;
use super::redirected::Waiting;
use super::state::Proxy;
use super::transaction_marks::ABORTED;
use super::unqueued::Step;
use super::{answer, enqueue, reparse};
use crate::request::{Request, RequestId, Role};
use crate::server_id::ServerId;
use crate::slots::Id;
use crate::timer::Millis;

/// Whether this request is the last one of a whole transaction.
pub(super) fn is_whole(proxy: &Proxy, request: RequestId) -> bool {
    matches!(proxy.in_flight.requests[request].role(), Role::Whole { .. })
}

/// Puts all requests of a transaction into line at this backend: what waits, and in the place of what is answered one
/// that nobody waits for. `None` if the backend is gone.
pub(super) fn stand_again(proxy: &mut Proxy, waiting: &Waiting, backend: Id, server: ServerId) -> Option<Ticket> {
    let last = &proxy.in_flight.requests[waiting.request];
    let (deadline, hash) = (last.deadline(), last.hash());
    let lens = reparse::lens_of(&proxy.reading, &waiting.bytes)?;
    let (_, lens) = lens.split_last()?;
    let mut held = waiting.steps.iter().peekable();
    let mut run: Option<Ticket> = None;
    for (index, &len) in (0..).zip(lens) {
        let ticket = match held.next_if(|step| step.index == index) {
            Some(step) => enqueue::stand_at(proxy, step.request, backend, server)?,
            None => {
                let mut request = Request::new(Id::NONE, deadline, len, hash, false);
                request.set_role(Role::Step { index });
                let line = proxy.upstreams.backend_mut(backend)?.in_flight_mut();
                proxy.in_flight.enqueue_own(request, backend, line)
            }
        };
        run = Ticket::joined(run, Some(ticket));
    }
    Ticket::joined(run, enqueue::stand_at(proxy, waiting.request, backend, server))
}

/// None of these is sent again: all are told the same.
pub(super) fn tell_steps(proxy: &mut Proxy, client: Id, steps: &[Step], reply: &[u8], now: Millis) {
    for step in steps {
        // It may be closed over what it is told, and its requests are gone with it.
        if proxy.clients.get(client).is_none_or(|client| client.is_closed()) {
            return;
        }
        if reply.starts_with(b"-") {
            proxy.in_flight.measured.count_error(b'-', reply);
        }
        answer::deliver(proxy, client, step.request, reply, now);
    }
}

/// A transaction is not sent again: its steps are told why, and `EXEC` that it was not run.
pub(super) fn tell_all(proxy: &mut Proxy, client: Id, waiting: &Waiting, why: &[u8], now: Millis) {
    tell_steps(proxy, client, &waiting.steps, why, now);
    if proxy.clients.get(client).is_some_and(|client| !client.is_closed()) {
        let reply = if waiting.steps.is_empty() { why } else { ABORTED };
        proxy.in_flight.measured.count_error(b'-', reply);
        answer::deliver(proxy, client, waiting.request, reply, now);
    }
}
