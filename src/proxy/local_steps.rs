//! Steps of a transaction that are about the client's session, which no server has.
//!
//! `CLIENT SETNAME`, `AUTH`, `CONFIG GET` and their like are answered by rmux wherever they stand, and so between
//! `MULTI` and `EXEC`, too: they take effect with the `EXEC`, in their order, or not at all. The server is given a
//! `PING` in their place, which it queues or refuses as it would the step itself, and whose reply marks the place:
//!
//! ```text
//!   client:   MULTI   SET a 1   CLIENT ID   EXEC            ◄── *2  +OK  :7
//!   server:   MULTI   SET a 1   PING        EXEC   *2  +OK  +PONG ──┘
//! ```
//!
//! With several servers, steps may come before the first key has said which server they are for. They are kept until
//! then, and the client is told that they are queued.
//!
//! `SELECT` is the server's step, since what follows runs in that database; the session follows when it was run. The
//! reply to such an `EXEC` is collected, as that to a request with one part is, and put together anew.
//!
//! Four things are refused, and the transaction with them: another version of the protocol (`HELLO 3`), in which the
//! rest of the reply would have to be written; `CLIENT REPLY OFF` and `SKIP`, to which Redis itself answers half an
//! array; the subscriptions, whose confirmation waits for all servers and would come in the middle of the reply; and,
//! where there are passwords, to give one: a wrong one is answered late (`denial`), and the reply to `EXEC` can not be.

use super::call::{Call, Verdict};
use super::clients::Clients;
use super::hidden_count::{self, correct};
use super::in_flight::{InFlight, Ticket};
use super::interface::LARGE;
use super::merging::Merging;
use super::reading::Reading;
use super::refusals::UNSUPPORTED;
use super::router::Router;
use super::settings::Settings;
use super::state::Proxy;
use super::upstreams::Upstreams;
use super::worker_queries::{Answer, Question};
use super::{
    answer, bulk, client_list, close, collect, enqueue, guard, reparse, scatter, session_reply, step, transaction_marks,
};
use crate::client::EarlyStep;
use crate::client::{Client, Flow, Leased, LocalEffect, LocalStep, Transaction};
use crate::command::{self, Access, Class, Session};
use crate::local::{self, Outcome};
use crate::reply::{self, error};
use crate::request::Role;
use crate::resp::RequestFramer;
use crate::resp::elements::Elements;
use crate::session::Protocol;
use crate::slots::Id;
use crate::timer::Millis;

const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
const TOO_MANY: &[u8] = b"-ERR Too many session commands in one transaction\r\n";
/// How many steps of one transaction may be rmux's own.
const STEPS_MAX: usize = 1024;
/// How many of them may ask about the whole pool: they are all answered in the turn of the `EXEC`.
const POOL_STEPS_MAX: usize = 4;

/// Whether this step of a transaction is answered here.
pub(super) fn is_local_step(router: &Router, call: &Call<'_>) -> bool {
    match call.command.class {
        Class::Session(Session::Ping | Session::Echo | Session::Select | Session::Command) => false,
        Class::Session(Session::Info | Session::Role) => router.has_several(),
        Class::Session(_) => true,
        _ => false,
    }
}

/// Says what is wrong with a step that the server does not get to see, as Redis does before it queues one, or why
/// it cannot be a step at all. The transaction is broken then.
pub(super) fn finds_fault(proxy: &mut Proxy, id: Id, call: &Call<'_>) -> bool {
    let mut fault = proxy.reading.take_reply();
    if !call.command.arity_allows(call.args.len()) {
        error::wrong_arity(&mut fault, call.name());
    } else if call.command.class == Class::Session(Session::Client) {
        local::refuse_client_command(call.request, call.args, &mut fault);
    }
    if fault.is_empty() && is_impossible(&proxy.settings, &proxy.clients, id, call) {
        fault.extend_from_slice(UNSUPPORTED);
    }
    let is_found = !fault.is_empty();
    if is_found {
        transaction_marks::break_transaction(&mut proxy.clients, id);
        answer::reply_here(proxy, id, &fault);
    }
    proxy.reading.spare_reply(fault);
    is_found
}

fn is_impossible(settings: &Settings, clients: &Clients, id: Id, call: &Call<'_>) -> bool {
    let word = |index: usize| call.args.get(index).map_or(&b""[..], |arg| arg.of(call.request));
    let is_word = |index: usize, wanted: &[u8]| word(index).eq_ignore_ascii_case(wanted);
    match call.command.class {
        Class::Session(Session::Hello) => {
            let protocol = clients.get(id).map(|client| client.protocol());
            let is_open = settings.users.is_open();
            let gives_password = (2..call.args.len()).any(|index| is_word(index, b"auth"));
            match word(1) {
                _ if gives_password && !is_open => true,
                b"2" => protocol != Some(Protocol::Resp2),
                b"3" => protocol != Some(Protocol::Resp3),
                _ => false,
            }
        }
        Class::Session(Session::Auth) => !settings.users.is_open(),
        Class::Session(Session::Client) => is_word(1, b"reply") && (is_word(2, b"off") || is_word(2, b"skip")),
        _ => false,
    }
}

/// Gives the server a step that is rmux's own, or that rmux must know the end of.
pub(super) fn send_local_step(proxy: &mut Proxy, id: Id, leased: Leased, call: &Call<'_>, now: Millis) -> Verdict {
    if call.command.class == Class::Session(Session::Select) {
        let verdict = step::send_step(proxy, id, leased, call, Role::Atomic, now);
        if let Verdict::Forward(_) = verdict {
            let index = step::count_step(&mut proxy.clients, id);
            if let Some(database) = database(call) {
                note_local_step(
                    &mut proxy.clients,
                    &mut proxy.in_flight,
                    id,
                    LocalStep { index, what: LocalEffect::Select(database) },
                );
            }
        }
        return verdict;
    }
    let asks = question_of_step(&proxy.settings, &proxy.router, &proxy.reading, call.request).is_some();
    if has_no_place_for(proxy, id, call.request.len(), asks) {
        return Verdict::Done;
    }
    let mut request = Vec::new();
    let is_config = call.command.class == Class::Session(Session::ConfigGet) && proxy.router.is_single();
    let is_asked = is_config && local::ask_for_config(call.request, call.args, &mut request);
    if !is_asked {
        request.extend_from_slice(PING);
    }
    if let Some(verdict) = step::hold_step(proxy, id, leased, now) {
        return verdict;
    }
    let Some(ticket) = step::line_up_step(proxy, id, leased, request.len() as u32, Role::Atomic, now) else {
        return Verdict::Done;
    };
    enqueue::queue(&mut proxy.upstreams, &mut proxy.in_flight, &mut proxy.turn, ticket, &request);
    let index = step::count_step(&mut proxy.clients, id);
    if !is_asked {
        note_local_step(
            &mut proxy.clients,
            &mut proxy.in_flight,
            id,
            LocalStep { index, what: LocalEffect::Answer(call.request.into()) },
        );
        if let Some(transaction) = proxy.clients.get_mut(id).and_then(Client::transaction_mut).filter(|_| asks) {
            transaction.count_pool_step();
        }
    }
    bulk::maybe_pause(proxy, id);
    Verdict::Done
}

/// A step that any server could queue, while none is known: the client is told that it is queued, and the server
/// gets it with the first step that has a key.
pub(super) fn keep_early_step(proxy: &mut Proxy, id: Id, call: &Call<'_>) -> Verdict {
    if finds_fault(proxy, id, call) {
        return Verdict::Done;
    }
    let asks = is_local_step(&proxy.router, call)
        && question_of_step(&proxy.settings, &proxy.router, &proxy.reading, call.request).is_some();
    if has_no_place_for(proxy, id, call.request.len(), asks) {
        return Verdict::Done;
    }
    let step = match call.command.class {
        Class::Session(Session::Select) => (call.request.to_vec(), database(call).map(LocalEffect::Select)),
        _ if is_local_step(&proxy.router, call) => (PING.to_vec(), Some(LocalEffect::Answer(call.request.into()))),
        _ => (call.request.to_vec(), None),
    };
    if let Some(transaction) = proxy.clients.get_mut(id).and_then(Client::transaction_mut) {
        transaction_marks::charge_steps(&mut proxy.in_flight, transaction.keep_early(step));
        if asks {
            transaction.count_pool_step();
        }
    }
    answer::reply_here(proxy, id, b"+QUEUED\r\n");
    Verdict::Done
}

/// Gives the server what was kept for it. Its client was told already that all of that is queued.
pub(super) fn send_early_steps(proxy: &mut Proxy, id: Id, backend: Id, steps: Vec<EarlyStep>, now: Millis) {
    transaction_marks::uncharge_steps(&mut proxy.in_flight, steps.iter().map(Transaction::held_early).sum());
    for (bytes, what) in steps {
        enqueue::send_internal(proxy, backend, &bytes, Role::Internal, now);
        let index = step::count_step(&mut proxy.clients, id);
        if let Some(what) = what {
            note_local_step(&mut proxy.clients, &mut proxy.in_flight, id, LocalStep { index, what });
        }
    }
}

/// If there is no place for one step more, of `len` bytes, the client is told, and its transaction is broken.
fn has_no_place_for(proxy: &mut Proxy, id: Id, len: usize, asks: bool) -> bool {
    let is_memory_short = are_steps_too_many(&proxy.settings, &proxy.in_flight, len);
    if has_place_for(&proxy.clients, id, len, asks) && !is_memory_short {
        return false;
    }
    transaction_marks::break_transaction(&mut proxy.clients, id);
    if is_memory_short {
        answer::refuse_for_memory(proxy, id, "The steps of transactions");
    } else {
        answer::reply_here(proxy, id, TOO_MANY);
    }
    true
}

fn has_place_for(clients: &Clients, id: Id, len: usize, asks: bool) -> bool {
    let Some(transaction) = transaction_marks::transaction(clients, id) else { return false };
    let has_place = transaction.kept_steps() < STEPS_MAX && transaction.held_bytes() + len <= LARGE;
    (!asks || transaction.pool_steps() < POOL_STEPS_MAX) && has_place
}

/// All transactions together may have half of the memory: they are not asked to give it back.
fn are_steps_too_many(settings: &Settings, in_flight: &InFlight, len: usize) -> bool {
    in_flight.memory.steps_bytes + len > settings.limits.buffered_bytes_max / 2
}

/// The server was given this step, which may tell how many hear a channel.
pub(super) fn note_counting_step(proxy: &mut Proxy, id: Id, index: usize, call: &Call<'_>) {
    let is_place =
        has_place_for(&proxy.clients, id, 0, false) && !are_steps_too_many(&proxy.settings, &proxy.in_flight, 0);
    if let Some(step) = hidden_count::count_in_step(&proxy.pubsub, index, call).filter(|_| is_place) {
        note_local_step(&mut proxy.clients, &mut proxy.in_flight, id, step);
    }
}

fn note_local_step(clients: &mut Clients, in_flight: &mut InFlight, id: Id, step: LocalStep) {
    if let Some(transaction) = clients.get_mut(id).and_then(Client::transaction_mut) {
        transaction_marks::charge_steps(in_flight, transaction.note_step(step));
    }
}

/// Sends an `EXEC` to whose reply rmux has something to add. What the client sends behind has to wait: its session
/// may be another one then.
pub(super) fn send_exec_with_local_steps(
    proxy: &mut Proxy,
    id: Id,
    Leased { server, backend }: Leased,
    call: &Call<'_>,
    now: Millis,
) -> Verdict {
    let Some(transaction) = transaction_marks::take_transaction(&mut proxy.clients, &mut proxy.in_flight, id) else {
        return Verdict::Done;
    };
    let Some(client) = proxy.clients.get_mut(id) else { return Verdict::Done };
    client.on_write(backend);
    if let Some(entry) = proxy.upstreams.backend_mut(backend) {
        entry.on_exec();
    }
    bulk::await_replies(&mut proxy.clients, &mut proxy.turn, id, Flow::AwaitingOwnReplies { server });
    let local_steps = transaction.into_own_steps();
    let has_selected = local_steps.iter().any(|step| matches!(step.what, LocalEffect::Select(_)));
    let mut merging = collect::new_merging(&mut proxy.in_flight);
    merging.local_steps = local_steps;
    merging.role = Role::Ending { has_selected };
    if let Some(ticket) =
        line_up_only_part(proxy, id, Leased { server, backend }, (call.request.len(), 0), merging, now)
    {
        enqueue::queue(&mut proxy.upstreams, &mut proxy.in_flight, &mut proxy.turn, ticket, call.request);
    }
    if guard::is_guarded(&proxy.settings, &proxy.reading, call.request) {
        guard::send_guard(&mut proxy.upstreams, &mut proxy.in_flight, &mut proxy.turn, backend);
    }
    Verdict::Done
}

/// Puts a request of `len` bytes into line whose reply is collected, at a backend that is chosen; `hash` is that of its
/// key, or 0.
pub(super) fn line_up_only_part(
    proxy: &mut Proxy,
    id: Id,
    Leased { server, backend }: Leased,
    (len, hash): (usize, u32),
    mut merging: Merging,
    now: Millis,
) -> Option<Ticket> {
    merging.is_pinned = true;
    merging.add_part(server);
    for part in merging.parts_mut() {
        (part.backend, part.len, part.hash) = (backend, len, hash);
    }
    scatter::line_up_parts(proxy, id, Access::Write, merging, now)
}

/// The reply to an `EXEC` with steps of rmux's own, now that the server has answered it on `backend`:
/// they take effect, if the transaction was run.
/// `answers` are those of the other proxies, one for each step that asks about the whole pool.
pub(super) fn end_local_steps(
    proxy: &mut Proxy,
    id: Id,
    steps: Vec<LocalStep>,
    (backend, reply): (Id, &[u8]),
    answers: Vec<Answer>,
    out: &mut Vec<u8>,
    now: Millis,
) {
    let Some(elements) = Elements::of(reply).filter(|elements| elements.kind() == b'*') else {
        return out.extend_from_slice(reply);
    };
    reply::array(out, elements.left() as usize);
    let mut steps = steps.into_iter().peekable();
    let mut answers = answers.into_iter();
    for (index, element) in elements.enumerate() {
        match steps.next_if(|step| step.index == index).map(|step| step.what) {
            None => out.extend_from_slice(element),
            Some(LocalEffect::Select(database)) => {
                out.extend_from_slice(element);
                if element == b"+OK\r\n" {
                    on_selected(&mut proxy.upstreams, &mut proxy.clients, backend, id, database, b'+');
                }
            }
            Some(LocalEffect::Published(hidden)) => correct(element, hidden as usize, false, out),
            Some(LocalEffect::Subscribers(family)) => {
                hidden_count::correct_subscribers(&proxy.pubsub, family, element, out)
            }
            Some(LocalEffect::Answer(request)) => answer_local_step(proxy, id, &request, &mut answers, out, now),
        }
    }
}

fn answer_local_step(
    proxy: &mut Proxy,
    id: Id,
    request: &[u8],
    answers: &mut impl Iterator<Item = Answer>,
    out: &mut Vec<u8>,
    now: Millis,
) {
    let Some((session, framer)) = session_command(&proxy.reading, request) else {
        debug_assert!(false, "only session commands are steps of our own");
        return out.extend_from_slice(UNSUPPORTED);
    };
    let args = framer.args();
    match session_reply::answer_to(proxy, id, session, request, args, now, out) {
        Outcome::Reply => {}
        Outcome::Pool => {
            let Some(question) = client_list::question(&proxy.settings, session, request, args, out) else { return };
            let others = answers.next().unwrap_or_else(|| Answer::of_nobody(&question));
            if client_list::answer_about_pool(proxy, id, &question, others, now, out) {
                close::leave(&mut proxy.clients, &mut proxy.turn, id);
            }
        }
        Outcome::ReplyAndLeave
        | Outcome::Denied { .. }
        | Outcome::Silence
        | Outcome::Forward
        | Outcome::ForwardInstead => {
            debug_assert!(false, "such a command is no step of our own");
            out.extend_from_slice(UNSUPPORTED);
        }
    }
}

/// What a step of rmux's own asks about the whole pool, if it does.
pub(super) fn question_of_step(
    settings: &Settings,
    router: &Router,
    reading: &Reading,
    request: &[u8],
) -> Option<Question> {
    let (session, framer) = session_command(reading, request)?;
    let is_about_pool = match session {
        Session::Info => router.has_several(),
        Session::Rmux(what) => !matches!(what, command::Rmux::Help | command::Rmux::Ring),
        Session::Client => local::is_about_clients(request, framer.args()),
        _ => false,
    };
    if is_about_pool { client_list::question(settings, session, request, framer.args(), &mut Vec::new()) } else { None }
}

/// Which session command a step is, and its arguments in the framer.
fn session_command(reading: &Reading, request: &[u8]) -> Option<(Session, RequestFramer)> {
    let framer = reparse::framed(reading, request);
    debug_assert!(framer.is_some(), "it was framed before");
    let framer = framer?;
    let args = framer.args();
    let row = command::find(args.first()?.of(request))?;
    let row = if row.is_container() { row.sub(args.get(1)?.of(request))? } else { row };
    match row.class {
        Class::Session(session) => Some((session, framer)),
        _ => None,
    }
}

/// `SELECT` of a client that watches keys: it is the server's to say whether there is such a database, and nothing
/// that the client sends behind may go by the old one. `None` if it is to be answered as always.
pub(super) fn on_select_on_lease(proxy: &mut Proxy, id: Id, call: &Call<'_>, now: Millis) -> Option<Verdict> {
    let leased = transaction_marks::transaction(&proxy.clients, id)?.leased()?;
    let database = database(call)?;
    let verdict = step::send_step(proxy, id, leased, call, Role::Select { database }, now);
    if let Verdict::Forward(_) = verdict {
        bulk::await_replies(
            &mut proxy.clients,
            &mut proxy.turn,
            id,
            Flow::AwaitingOwnReplies { server: leased.server },
        );
    }
    Some(verdict)
}

/// The server has answered that one.
pub(super) fn on_selected(
    upstreams: &mut Upstreams,
    clients: &mut Clients,
    backend: Id,
    client: Id,
    database: u32,
    kind: u8,
) {
    if kind != b'+' {
        return;
    }
    if let Some(entry) = upstreams.backend_mut(backend) {
        entry.on_selected(database);
    }
    if let Some(entry) = clients.get_mut(client) {
        entry.on_selected(database);
    }
}

/// The database that a `SELECT` names, if there could be one of that number.
fn database(call: &Call<'_>) -> Option<u32> {
    let word = call.args.get(1)?.of(call.request);
    let text = std::str::from_utf8(word).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    text.parse().ok().filter(|_| text == "0" || !text.starts_with('0'))
}
