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

use std::mem;

use super::inquiry::{Answer, Question};
use super::merging::Merging;
use super::publish::correct;
use super::routing::{Call, UNSUPPORTED, Verdict};
use super::{LARGE, Proxy};
use crate::client::{Flow, Leased, OwnStep, OwnWhat, Transaction};
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

impl Proxy {
    /// Whether this step of a transaction is answered here.
    pub(super) fn is_own_step(&self, call: &Call<'_>) -> bool {
        match call.command.class {
            Class::Session(Session::Ping | Session::Echo | Session::Select | Session::Command) => false,
            Class::Session(Session::Info | Session::Role) => self.router.has_several(),
            Class::Session(_) => true,
            _ => false,
        }
    }

    /// Says what is wrong with a step that the server does not get to see, as Redis does before it queues one, or why
    /// it cannot be a step at all. The transaction is broken then.
    pub(super) fn finds_fault(&mut self, id: Id, call: &Call<'_>) -> bool {
        let mut fault = mem::take(&mut self.reading.reply);
        if !call.command.arity_allows(call.args.len()) {
            error::wrong_arity(&mut fault, call.name());
        } else if call.command.class == Class::Session(Session::Client) {
            local::refuse_client_command(call.request, call.args, &mut fault);
        }
        if fault.is_empty() && self.is_impossible(id, call) {
            fault.extend_from_slice(UNSUPPORTED);
        }
        let is_found = !fault.is_empty();
        if is_found {
            self.break_transaction(id);
            self.reply_here(id, &fault);
        }
        self.spare_reply(fault);
        is_found
    }

    fn is_impossible(&self, id: Id, call: &Call<'_>) -> bool {
        let word = |index: usize| call.args.get(index).map_or(&b""[..], |arg| arg.of(call.request));
        let is_word = |index: usize, wanted: &[u8]| word(index).eq_ignore_ascii_case(wanted);
        match call.command.class {
            Class::Session(Session::Hello) => {
                let protocol = self.clients.get(id).map(|client| client.session.profile.protocol);
                let is_open = self.settings.users.is_open();
                let gives_password = (2..call.args.len()).any(|index| is_word(index, b"auth"));
                match word(1) {
                    _ if gives_password && !is_open => true,
                    b"2" => protocol != Some(Protocol::Resp2),
                    b"3" => protocol != Some(Protocol::Resp3),
                    _ => false,
                }
            }
            Class::Session(Session::Auth) => !self.settings.users.is_open(),
            Class::Session(Session::Client) => is_word(1, b"reply") && (is_word(2, b"off") || is_word(2, b"skip")),
            _ => false,
        }
    }

    /// Gives the server a step that is rmux's own, or that rmux must know the end of.
    pub(super) fn send_own_step(&mut self, id: Id, leased: Leased, call: &Call<'_>, now: Millis) -> Verdict {
        if call.command.class == Class::Session(Session::Select) {
            let verdict = self.send_step(id, leased, call, Role::Atomic, now);
            if let Verdict::Forward(_) = verdict {
                let index = self.count_step(id);
                if let Some(database) = database(call) {
                    self.note_own_step(id, OwnStep { index, what: OwnWhat::Select(database) });
                }
            }
            return verdict;
        }
        let asks = self.question_of_step(call.request).is_some();
        if self.has_no_place_for(id, call.request.len(), asks) {
            return Verdict::Done;
        }
        let mut request = Vec::new();
        let is_config = call.command.class == Class::Session(Session::ConfigGet) && self.router.is_single();
        let is_asked = is_config && local::ask_for_config(call.request, call.args, &mut request);
        if !is_asked {
            request.extend_from_slice(PING);
        }
        if let Some(verdict) = self.hold_step(id, leased, now) {
            return verdict;
        }
        self.line_up_step(id, leased, request.len() as u32, Role::Atomic, now);
        self.queue(leased.backend, &request);
        self.mark_backend_dirty(leased.backend);
        let index = self.count_step(id);
        if !is_asked {
            self.note_own_step(id, OwnStep { index, what: OwnWhat::Answer(call.request.into()) });
            if let Some(transaction) = self.clients.get_mut(id).and_then(|client| client.transaction.as_mut()) {
                transaction.pool_steps += usize::from(asks);
            }
        }
        self.maybe_pause(id);
        Verdict::Done
    }

    /// A step that any server could queue, while none is known: the client is told that it is queued, and the server
    /// gets it with the first step that has a key.
    pub(super) fn keep_early_step(&mut self, id: Id, call: &Call<'_>) -> Verdict {
        if self.finds_fault(id, call) {
            return Verdict::Done;
        }
        let asks = self.is_own_step(call) && self.question_of_step(call.request).is_some();
        if self.has_no_place_for(id, call.request.len(), asks) {
            return Verdict::Done;
        }
        let step = match call.command.class {
            Class::Session(Session::Select) => (call.request.to_vec(), database(call).map(OwnWhat::Select)),
            _ if self.is_own_step(call) => (PING.to_vec(), Some(OwnWhat::Answer(call.request.into()))),
            _ => (call.request.to_vec(), None),
        };
        if let Some(transaction) = self.clients.get_mut(id).and_then(|client| client.transaction.as_mut()) {
            let held = held_early(&step);
            transaction.early_steps.push(step);
            transaction.pool_steps += usize::from(asks);
            self.charge_steps(held);
        }
        self.reply_here(id, b"+QUEUED\r\n");
        Verdict::Done
    }

    /// Gives the server what was kept for it. Its client was told already that all of that is queued.
    pub(super) fn send_early_steps(
        &mut self,
        id: Id,
        backend: Id,
        steps: Vec<(Vec<u8>, Option<OwnWhat>)>,
        now: Millis,
    ) {
        self.uncharge_steps(steps.iter().map(held_early).sum());
        for (bytes, what) in steps {
            self.send_internal(backend, &bytes, Role::Internal, now);
            let index = self.count_step(id);
            if let Some(what) = what {
                self.note_own_step(id, OwnStep { index, what });
            }
        }
    }

    /// If there is no place for one step more, of `len` bytes, the client is told, and its transaction is broken.
    fn has_no_place_for(&mut self, id: Id, len: usize, asks: bool) -> bool {
        let is_memory_short = self.are_steps_too_many(len);
        if self.has_place_for(id, len, asks) && !is_memory_short {
            return false;
        }
        self.break_transaction(id);
        if is_memory_short {
            self.refuse_for_memory(id, "The steps of transactions");
        } else {
            self.reply_here(id, TOO_MANY);
        }
        true
    }

    fn has_place_for(&self, id: Id, len: usize, asks: bool) -> bool {
        let Some(transaction) = self.transaction(id) else { return false };
        let steps = transaction.own_steps.len() + transaction.early_steps.len();
        (!asks || transaction.pool_steps < POOL_STEPS_MAX)
            && steps < STEPS_MAX
            && transaction.held_bytes() + len <= LARGE
    }

    /// All transactions together may have half of the memory: they are not asked to give it back.
    fn are_steps_too_many(&self, len: usize) -> bool {
        self.in_flight.memory.steps_bytes + len > self.settings.limits.buffered_bytes_max / 2
    }

    /// The server was given this step, which may tell how many hear a channel.
    pub(super) fn note_counting_step(&mut self, id: Id, index: usize, call: &Call<'_>) {
        let is_place = self.has_place_for(id, 0, false) && !self.are_steps_too_many(0);
        if let Some(step) = self.count_in_step(index, call).filter(|_| is_place) {
            self.note_own_step(id, step);
        }
    }

    fn note_own_step(&mut self, id: Id, step: OwnStep) {
        if let Some(transaction) = self.clients.get_mut(id).and_then(|client| client.transaction.as_mut()) {
            let held = held_own(&step);
            transaction.own_steps.push(step);
            self.charge_steps(held);
        }
    }

    fn charge_steps(&mut self, held: usize) {
        self.in_flight.memory.steps_bytes += held;
        self.in_flight.arena.charge(held);
    }

    pub(super) fn uncharge_steps(&mut self, held: usize) {
        self.in_flight.memory.steps_bytes -= held;
        self.in_flight.arena.uncharge(held);
    }

    /// Sends an `EXEC` to whose reply rmux has something to add. What the client sends behind has to wait: its session
    /// may be another one then.
    pub(super) fn send_exec_with_own_steps(
        &mut self,
        id: Id,
        Leased { server, backend }: Leased,
        call: &Call<'_>,
        now: Millis,
    ) -> Verdict {
        let Some(transaction) = self.take_transaction(id) else { return Verdict::Done };
        let Some(client) = self.clients.get_mut(id) else { return Verdict::Done };
        client.wrote_to = backend;
        self.await_replies(id, Flow::AwaitingOwnReplies { server });
        let has_selected = transaction.own_steps.iter().any(|step| matches!(step.what, OwnWhat::Select(_)));
        let mut merging = self.new_merging();
        merging.own_steps = transaction.own_steps;
        merging.role = Role::Ending { has_selected };
        self.queue(backend, call.request);
        self.line_up_only_part(id, Leased { server, backend }, call.request.len(), merging, now);
        if self.is_guarded(call.request) {
            self.send_guard(backend);
        }
        Verdict::Done
    }

    /// Puts a request of `len` bytes into line whose reply is collected, at a backend that is chosen.
    pub(super) fn line_up_only_part(
        &mut self,
        id: Id,
        Leased { server, backend }: Leased,
        len: usize,
        mut merging: Merging,
        now: Millis,
    ) {
        merging.is_pinned = true;
        merging.add_part(server);
        for part in merging.parts_mut() {
            part.backend = backend;
            part.len = len;
        }
        self.line_up_parts(id, Access::Write, merging, now);
    }

    /// The reply to an `EXEC` with steps of rmux's own, now that the server has answered it on `backend`:
    /// they take effect, if the transaction was run.
    /// `answers` are those of the other proxies, one for each step that asks about the whole pool.
    pub(super) fn end_own_steps(
        &mut self,
        id: Id,
        steps: Vec<OwnStep>,
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
                Some(OwnWhat::Select(database)) => {
                    out.extend_from_slice(element);
                    if element == b"+OK\r\n" {
                        self.on_selected(backend, id, database, b'+');
                    }
                }
                Some(OwnWhat::Published(hidden)) => correct(element, hidden as usize, out),
                Some(OwnWhat::Subscribers(family)) => self.correct_subscribers(family, element, out),
                Some(OwnWhat::Answer(request)) => self.answer_own_step(id, &request, &mut answers, out, now),
            }
        }
    }

    fn answer_own_step(
        &mut self,
        id: Id,
        request: &[u8],
        answers: &mut impl Iterator<Item = Answer>,
        out: &mut Vec<u8>,
        now: Millis,
    ) {
        let Some((session, framer)) = self.session_command(request) else {
            debug_assert!(false, "only session commands are steps of our own");
            return out.extend_from_slice(UNSUPPORTED);
        };
        let args = framer.args();
        match self.answer_to(id, session, request, args, now, out) {
            Outcome::Reply => {}
            Outcome::Pool => {
                let Some(question) = self.question(session, request, args, out) else { return };
                let others = answers.next().unwrap_or_else(|| Answer::of_nobody(&question));
                if self.answer_about_pool(id, &question, others, now, out) {
                    self.leave(id);
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
    pub(super) fn question_of_step(&self, request: &[u8]) -> Option<Question> {
        let (session, framer) = self.session_command(request)?;
        let is_about_pool = match session {
            Session::Info => self.router.has_several(),
            Session::Client => local::is_about_clients(request, framer.args()),
            _ => false,
        };
        if is_about_pool { self.question(session, request, framer.args(), &mut Vec::new()) } else { None }
    }

    /// Which session command a step is, and its arguments in the framer.
    fn session_command(&self, request: &[u8]) -> Option<(Session, RequestFramer)> {
        let framer = self.framed(request);
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
    pub(super) fn on_select_on_lease(&mut self, id: Id, call: &Call<'_>, now: Millis) -> Option<Verdict> {
        let leased = self.transaction(id)?.leased?;
        let database = database(call)?;
        let verdict = self.send_step(id, leased, call, Role::Select { database }, now);
        if let Verdict::Forward(_) = verdict {
            self.await_replies(id, Flow::AwaitingOwnReplies { server: leased.server });
        }
        Some(verdict)
    }

    /// The server has answered that one.
    pub(super) fn on_selected(&mut self, backend: Id, client: Id, database: u32, kind: u8) {
        if kind != b'+' {
            return;
        }
        if let Some(entry) = self.upstreams.backend_mut(backend) {
            entry.on_selected(database);
        }
        if let Some(entry) = self.clients.get_mut(client) {
            entry.session.profile.database = database;
        }
    }
}

/// The memory that a step takes.
fn held_own(step: &OwnStep) -> usize {
    size_of::<OwnStep>() + held_what(&step.what)
}

fn held_early((bytes, what): &(Vec<u8>, Option<OwnWhat>)) -> usize {
    size_of::<(Vec<u8>, Option<OwnWhat>)>() + bytes.capacity() + what.as_ref().map_or(0, held_what)
}

fn held_what(what: &OwnWhat) -> usize {
    if let OwnWhat::Answer(request) = what { request.len() } else { 0 }
}

/// The memory that these steps take.
pub(super) fn held_by(steps: &[OwnStep]) -> usize {
    steps.iter().map(held_own).sum()
}

/// The memory that the steps of a transaction take.
pub(super) fn held_steps(transaction: &Transaction) -> usize {
    held_by(&transaction.own_steps) + transaction.early_steps.iter().map(held_early).sum::<usize>()
}

/// The database that a `SELECT` names, if there could be one of that number.
fn database(call: &Call<'_>) -> Option<u32> {
    let word = call.args.get(1)?.of(call.request);
    let text = std::str::from_utf8(word).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    text.parse().ok().filter(|_| text == "0" || !text.starts_with('0'))
}
