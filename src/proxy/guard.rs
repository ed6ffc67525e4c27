//! A question behind each request whose reply may be more than one (`strictReplies`).
//!
//! Some servers can be made by a script to say a line too much: an error with a line end in its text. In a stream that
//! has the replies of many clients, each client behind that would be given the reply before its own. So rmux has a word
//! that no client knows, and asks for it behind every script, function, and transaction. Whatever comes in the place of
//! that word closes the connection; what stands behind is asked again elsewhere, or told that it is lost, as ever:
//!
//! ```text
//!   sent       [EVAL ..] [ECHO 5f3c..] [GET b]
//!   received   -X        +INJECTED ✗                      no client but the one that ran the script has seen any of it
//! ```
//!
//! What a script within a transaction says comes with the reply to `EXEC`, so the question stands behind that.

use super::clients::Clients;
use super::in_flight::InFlight;
use super::interface::NO_DEADLINE;
use super::reading::Reading;
use super::settings::Settings;
use super::turn::Turn;
use super::upstreams::{ECHO, Upstreams};
use super::{mark, transaction_marks};
use crate::command;
use crate::request::{Request, Role};
use crate::resp::{Frame, RequestFramer};
use crate::slots::Id;

/// Whether the reply to a command of this name may be made to have another one behind it. `MULTI`: nothing but a whole
/// transaction goes to a server under that name.
fn is_doubtful(name: &str) -> bool {
    let names =
        ["eval", "eval_ro", "evalsha", "evalsha_ro", "fcall", "fcall_ro", "function", "script", "multi", "exec"];
    names.contains(&name)
}

/// Whether the word is to be asked for behind this request; `bytes` begin with it.
#[inline]
pub(super) fn is_guarded(settings: &Settings, reading: &Reading, bytes: &[u8]) -> bool {
    settings.strict_replies && is_doubtful_request(reading, bytes)
}

#[cold]
pub(super) fn is_doubtful_request(reading: &Reading, bytes: &[u8]) -> bool {
    let mut framer = RequestFramer::new();
    let is_whole = matches!(framer.frame(bytes, &reading.request_limits), Ok(Frame::Complete(_)));
    let name = framer.args().first().filter(|_| is_whole).map(|name| name.of(bytes));
    name.and_then(command::find).is_some_and(|command| is_doubtful(command.name()))
}

/// The same for a request of this client that was just given to a backend. A step of a transaction is only queued.
#[inline]
pub(super) fn is_guarded_for(settings: &Settings, clients: &Clients, reading: &Reading, id: Id, bytes: &[u8]) -> bool {
    is_guarded(settings, reading, bytes)
        && transaction_marks::transaction(clients, id).is_none_or(|transaction| !transaction.is_multi())
}

/// Asks for the word behind what this backend was just given.
pub(super) fn send_guard(upstreams: &mut Upstreams, in_flight: &mut InFlight, turn: &mut Turn, id: Id) {
    let mut request = Request::new(Id::NONE, NO_DEADLINE, upstreams.guard().len() as u32, 0, false);
    let Some(backend) = upstreams.backend_mut(id).filter(|backend| !backend.is_closed()) else { return };
    request.set_role(Role::Guard);
    // Nobody waits for it: no time runs, and a backend that is drained need not stay for it.
    request.expire();
    backend.add_tombstone();
    let ticket = in_flight.enqueue_own(request, id, backend.in_flight_mut());
    upstreams.push_guard(ticket.redeem(), &mut in_flight.arena);
    mark::mark_backend_dirty(upstreams, turn, id);
}

/// Whether this reply is the word, and perhaps an attribute before it.
pub(super) fn is_guard_word(upstreams: &Upstreams, reply: &[u8]) -> bool {
    reply.ends_with(&upstreams.guard()[ECHO.len()..])
}

/// Whether a request with this name must be whole before it goes to a server.
pub(super) fn is_guarded_command(settings: &Settings, name: &str) -> bool {
    settings.strict_replies && is_doubtful(name)
}
