//! Transactions: whole ones on a shared backend, those that arrive step by step on a leased one.
//!
//! A transaction that stands whole in the read buffer, from `MULTI` to `EXEC`, goes down a shared backend contiguously:
//! nobody else's request can come between, since all of it is queued at once. Otherwise `MULTI` is answered here, and
//! the first command that has a server says whose backend is leased:
//!
//! ```text
//!   client:   MULTI      SET a 1              GET a       EXEC              (WATCH k leases at once)
//!             +OK here   lease, MULTI, SET a  GET a       EXEC, lease ends with the reply
//!                        (OK dropped) QUEUED  QUEUED      *2 …
//! ```
//!
//! Redis itself answers everything that reaches it. What never does (a refused command, a key on another server, a
//! backend that was lost) is an error at once, and `EXEC` answers `EXECABORT`. What is about the client's session, and
//! so answered by rmux, is `own_steps`' business. No part of a transaction is ever sent twice: a second `SET` outside
//! of its `MULTI` would be a write that nobody asked for.

use super::Proxy;
use super::backend_close_reason::BackendCloseReason;
use super::dispatch::Pick;
use super::own_steps::held_steps;
use super::router::Route;
use super::routing::{Call, Verdict};
use crate::backend::Backend;
use crate::client::{Leased, Mode, Need, OwnStep, Transaction};
use crate::command::{self, Class, Command, Gather, Keys, Lease, Session};
use crate::request::{Request, Role};
use crate::resp::Frame;
use crate::server_id::ServerId;
use crate::slots::Id;
use crate::timer::Millis;

const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
const DISCARD: &[u8] = b"*1\r\n$7\r\nDISCARD\r\n";
const UNWATCH: &[u8] = b"*1\r\n$7\r\nUNWATCH\r\n";
const OK: &[u8] = b"+OK\r\n";
const ABORTED: &[u8] = b"-EXECABORT Transaction discarded because of previous errors.\r\n";

/// Requests in a transaction that goes down a shared backend as a whole.
const WHOLE_MAX: usize = 1024;

impl Proxy {
    pub(super) fn on_multi(&mut self, id: Id) -> Verdict {
        let Some(client) = self.clients.get_mut(id) else { return Verdict::Done };
        let transaction = client.transaction.get_or_insert_default();
        if std::mem::replace(&mut transaction.is_multi, true) {
            self.reply_here(id, b"-ERR MULTI calls can not be nested\r\n");
        } else {
            self.reply_here(id, OK);
        }
        Verdict::Done
    }

    pub(super) fn on_watch(&mut self, id: Id, call: &Call<'_>, now: Millis) -> Verdict {
        if self.is_in_multi(id) {
            self.reply_here(id, b"-ERR WATCH inside MULTI is not allowed\r\n");
            return Verdict::Done;
        }
        let server = match self.router.route_keys(call.command, call.request, call.args) {
            Route::To(server, _) if self.leased(id).is_none_or(|leased| leased.server == server) => server,
            route => return self.refuse_step(id, call, route),
        };
        let backend = match self.lease(id, server, now) {
            Pick::Take(backend) => backend,
            pick => return self.put_off(id, server, pick, Need::Lease, now),
        };
        if let Some(client) = self.clients.get_mut(id) {
            client.transaction.get_or_insert_default();
        }
        let leased = self.hold_lease(id, server, backend);
        self.send_step(id, leased, call, Role::Atomic, now)
    }

    pub(super) fn on_unwatch(&mut self, id: Id, call: &Call<'_>, now: Millis) -> Verdict {
        if self.is_in_multi(id) {
            return self.on_step(id, call, now);
        }
        let Some(leased) = self.leased(id) else {
            self.take_transaction(id);
            self.reply_here(id, OK);
            return Verdict::Done;
        };
        self.send_last(id, leased, call, now)
    }

    pub(super) fn on_discard(&mut self, id: Id, call: &Call<'_>, now: Millis) -> Verdict {
        if !self.is_in_multi(id) {
            self.reply_here(id, b"-ERR DISCARD without MULTI\r\n");
            return Verdict::Done;
        }
        match self.leased(id) {
            Some(leased) if self.is_begun(id) => self.send_last(id, leased, call, now),
            _ => {
                self.give_up(id, now);
                self.reply_here(id, OK);
                Verdict::Done
            }
        }
    }

    pub(super) fn on_exec(&mut self, id: Id, call: &Call<'_>, now: Millis) -> Verdict {
        let Some(client) = self.clients.get(id) else { return Verdict::Done };
        let Some(transaction) = client.transaction.as_ref().filter(|transaction| transaction.is_multi) else {
            self.reply_here(id, b"-ERR EXEC without MULTI\r\n");
            return Verdict::Done;
        };
        if transaction.is_broken {
            self.give_up(id, now);
            self.reply_here(id, ABORTED);
            return Verdict::Done;
        }
        let is_empty = transaction.early_steps.is_empty();
        if transaction.pool_steps > 0 && self.is_full(id) {
            return Verdict::Wait;
        }
        let Some(transaction) = self.transaction(id) else { return Verdict::Done };
        let leased = match transaction.leased {
            Some(leased) => leased,
            None if is_empty => {
                self.take_transaction(id);
                self.reply_here(id, b"*0\r\n");
                return Verdict::Done;
            }
            // No key has said whose steps these are: anybody's.
            None => match self.lease_for_step(id, call, self.router.route_any(), now) {
                Ok(leased) => leased,
                Err(Verdict::Done) => {
                    // Whatever the answer was, to the client it is that of EXEC.
                    self.give_up(id, now);
                    return Verdict::Done;
                }
                Err(verdict) => return verdict,
            },
        };
        self.begin(id, leased.backend, now);
        if self.transaction(id).is_some_and(|transaction| !transaction.own_steps.is_empty()) {
            return self.send_exec_with_own_steps(id, leased, call, now);
        }
        self.send_last(id, leased, call, now)
    }

    /// A request of a client that has said `MULTI`. `None` if it is to be dealt with like any other.
    pub(super) fn on_request_in_transaction(&mut self, id: Id, call: &Call<'_>, now: Millis) -> Option<Verdict> {
        let is_arity_right = call.command.arity_allows(call.args.len());
        if !self.is_in_multi(id) {
            match call.command.class {
                Class::Session(Session::Reset) if is_arity_right => self.give_up(id, now),
                Class::Session(Session::Select) if is_arity_right => return self.on_select_on_lease(id, call, now),
                _ => {}
            }
            return None;
        }
        match call.command.class {
            Class::Lease(Lease::Multi | Lease::Exec | Lease::Discard | Lease::Watch) => None,
            Class::Session(Session::Quit) => None,
            Class::Session(Session::Reset) => {
                if is_arity_right {
                    self.give_up(id, now);
                } else {
                    self.break_transaction(id);
                }
                None
            }
            _ => Some(self.on_step(id, call, now)),
        }
    }

    /// A command that is to be queued in a transaction.
    fn on_step(&mut self, id: Id, call: &Call<'_>, now: Millis) -> Verdict {
        let is_broken = self.transaction(id).is_some_and(|transaction| transaction.is_broken);
        let is_own = self.is_own_step(call);
        let route = self.route_step(call);
        let is_refused = matches!(route, Some(Route::Unsupported));
        if (is_broken || is_own) && !is_refused && self.finds_fault(id, call) {
            return Verdict::Done;
        }
        if is_broken && !is_refused {
            // It will not be run, and EXEC will say so.
            self.reply_here(id, b"+QUEUED\r\n");
            return Verdict::Done;
        }
        let route = match (route, self.leased(id)) {
            (Some(route), _) => route,
            // Any server will do: the one that the transaction has already, if there is one.
            (None, Some(leased)) => Route::To(leased.server, 0),
            (None, None) if self.router.has_several() && matches!(call.command.class, Class::Session(_)) => {
                return self.keep_early_step(id, call);
            }
            (None, None) => self.router.route_any(),
        };
        let leased = match self.lease_for_step(id, call, route, now) {
            Ok(leased) => leased,
            Err(verdict) => return verdict,
        };
        self.begin(id, leased.backend, now);
        if is_own || call.command.class == Class::Session(Session::Select) {
            return self.send_own_step(id, leased, call, now);
        }
        let verdict = self.send_step(id, leased, call, Role::Atomic, now);
        if let Verdict::Forward(_) = verdict {
            let index = self.count_step(id);
            self.note_counting_step(id, index, call);
        }
        verdict
    }

    /// The backend of a transaction that has a step for `route`. The verdict says why there is none now.
    fn lease_for_step(&mut self, id: Id, call: &Call<'_>, route: Route, now: Millis) -> Result<Leased, Verdict> {
        let server = match route {
            Route::To(server, _) if self.leased(id).is_none_or(|leased| leased.server == server) => server,
            route => {
                self.break_transaction(id);
                return Err(self.refuse_step(id, call, route));
            }
        };
        let backend = match self.lease(id, server, now) {
            Pick::Take(backend) => backend,
            pick @ (Pick::GiveUp | Pick::Never | Pick::Watching) => {
                self.break_transaction(id);
                return Err(self.put_off(id, server, pick, Need::Lease, now));
            }
            pick => return Err(self.put_off(id, server, pick, Need::Lease, now)),
        };
        Ok(self.hold_lease(id, server, backend))
    }

    /// This backend is the one of the client's transaction from here on, if it is not already.
    fn hold_lease(&mut self, id: Id, server: ServerId, backend: Id) -> Leased {
        let leased = Leased { server, backend };
        if let Some(transaction) = self.clients.get_mut(id).and_then(|client| client.transaction.as_mut()) {
            if transaction.leased.replace(leased) != Some(leased) {
                transaction.routing_epoch = self.router.epoch();
            }
        }
        leased
    }

    /// Tells the client why what it wants of its transaction's server goes nowhere. Keys that were there together may
    /// be apart, or elsewhere, only because a server went down or came back: then that is what it is told.
    fn refuse_step(&mut self, id: Id, call: &Call<'_>, route: Route) -> Verdict {
        let route = if matches!(route, Route::To(..)) { Route::CrossSlot } else { route };
        let is_stale = |transaction: &&Transaction| transaction.routing_epoch != self.router.epoch();
        let stale = self.transaction(id).filter(is_stale).and_then(|transaction| transaction.leased);
        match (route, stale) {
            (Route::CrossSlot, Some(leased)) if call.command.arity_allows(call.args.len()) => {
                let text = format!(
                    "-ERR These keys are not all at {}, where this transaction began; \
                     a server went down or came back since\r\n",
                    self.address(leased.server)
                );
                self.reply_here(id, text.as_bytes());
                Verdict::Done
            }
            (route, _) => self.refuse(id, call, route),
        }
    }

    /// The server was given one step more.
    pub(super) fn count_step(&mut self, id: Id) -> usize {
        let client = self.clients.get_mut(id);
        let Some(transaction) = client.and_then(|client| client.transaction.as_mut()) else { return 0 };
        transaction.steps += 1;
        transaction.steps - 1
    }

    /// Where a command within a transaction must go; `None` if any server will do: it has no keys, or the server will
    /// say what is wrong with them.
    fn route_step(&self, call: &Call<'_>) -> Option<Route> {
        let several = self.router.has_several();
        match call.command.class {
            Class::Keyed | Class::Split(_) | Class::Lease(Lease::Block(_)) if call.is_without_keys() => None,
            Class::Keyed | Class::Split(_) | Class::Lease(Lease::Block(_)) => {
                Some(self.router.route_keys(call.command, call.request, call.args))
            }
            Class::Channel(_) if several && call.args.len() > 1 => None,
            Class::All(_) | Class::Single if several => Some(Route::Unsupported),
            // Its reply would be in the middle of another one, as it is.
            Class::All(Gather::Masked) => Some(Route::Unsupported),
            Class::Any | Class::Channel(_) | Class::All(_) | Class::Single => None,
            Class::Lease(Lease::Unwatch | Lease::Wait) => None,
            Class::Session(_) | Class::Container => None,
            Class::Refused if !self.is_allowed(call) => Some(Route::Unsupported),
            Class::Refused if call.command.keys == Keys::None => None,
            Class::Refused => Some(self.router.route_keys(call.command, call.request, call.args)),
            Class::Lease(_) => Some(Route::Unsupported),
        }
    }

    /// A request is refused: if it was meant for a transaction, that one will not be run.
    pub(super) fn break_transaction(&mut self, id: Id) {
        if let Some(transaction) = self.clients.get_mut(id).and_then(|client| client.transaction.as_mut()) {
            transaction.is_broken |= transaction.is_multi;
        }
    }

    /// Ends a transaction that will not be run, and leaves its backend clean.
    pub(super) fn give_up(&mut self, id: Id, now: Millis) {
        let transaction = self.take_transaction(id);
        let leased = transaction.as_ref().and_then(|transaction| Some((transaction, transaction.leased?.backend)));
        if let Some((transaction, backend)) = leased {
            self.take_back(backend, Some(id), Some(cleanup(transaction)), now);
        }
    }

    /// Takes the transaction of a client, which has none from here on.
    pub(super) fn take_transaction(&mut self, id: Id) -> Option<Box<Transaction>> {
        let transaction = self.clients.get_mut(id)?.transaction.take()?;
        self.uncharge_steps(held_steps(&transaction));
        Some(transaction)
    }

    /// Tells the server `MULTI`, if it was not told yet.
    fn begin(&mut self, id: Id, backend: Id, now: Millis) {
        let Some(client) = self.clients.get_mut(id) else { return };
        let Some(transaction) = &mut client.transaction else { return };
        if !std::mem::replace(&mut transaction.is_begun, true) {
            let early_steps = std::mem::take(&mut transaction.early_steps);
            self.send_internal(backend, MULTI, Role::Internal, now);
            self.send_early_steps(id, backend, early_steps, now);
        }
    }

    /// Sends a step of a transaction on its backend.
    pub(super) fn send_step(&mut self, id: Id, leased: Leased, call: &Call<'_>, role: Role, now: Millis) -> Verdict {
        if let Some(verdict) = self.hold_step(id, leased, now) {
            return verdict;
        }
        self.line_up_step(id, leased, call.len(), role, now);
        Verdict::Forward(leased.backend)
    }

    /// If the backend of a transaction can not take a step now, has the client wait until it can.
    ///
    /// With nothing of its own in line it would wait for ever: what rmux itself has said there, `MULTI` and steps that
    /// it kept, wakes nobody. So a step may follow that at once; and a backend that takes nothing more is of no use.
    pub(super) fn hold_step(&mut self, id: Id, leased: Leased, now: Millis) -> Option<Verdict> {
        let Leased { server, backend } = leased;
        let entry = self.upstreams.backend(backend);
        let is_serving = entry.is_some_and(Backend::is_serving);
        if is_serving
            && entry.is_some_and(|entry| entry.is_in_bulk() && !entry.has_room_for_owner(&self.settings.limits))
        {
            return Some(self.put_off(id, server, Pick::Throttle(backend), Need::Lease, now));
        }
        if entry.is_some_and(|entry| entry.has_room_for_owner(&self.settings.limits)) {
            return None;
        }
        if self.clients.get(id).is_some_and(|client| client.affinity(server).is_none()) {
            if is_serving {
                return None;
            }
            self.lose_backend(backend, BackendCloseReason::Drained, now);
            self.turn.wake(id);
        }
        Some(self.put_off(id, server, Pick::Behind, Need::Lease, now))
    }

    /// Puts a step of `len` bytes into line, on the backend of its transaction.
    pub(super) fn line_up_step(&mut self, id: Id, leased: Leased, len: u32, role: Role, now: Millis) {
        let mut request = Request::new(id, now + self.settings.timeouts.remote_read_ms, len, 0, false);
        request.set_role(role);
        self.line_up(id, leased.backend, leased.server, request);
    }

    /// Sends the request that ends a transaction. The lease ends with its reply.
    fn send_last(&mut self, id: Id, leased: Leased, call: &Call<'_>, now: Millis) -> Verdict {
        let verdict = self.send_step(id, leased, call, Role::Ending { has_selected: false }, now);
        if let Verdict::Forward(_) = verdict {
            self.take_transaction(id);
            if let Some(client) = self.clients.get_mut(id) {
                client.wrote_to = leased.backend;
            }
        }
        verdict
    }

    /// If a transaction stands whole at the start of `bytes`, puts all of it into line on one shared backend.
    ///
    /// Returns its length and its verdict; `None` if it must go step by step.
    pub(super) fn on_whole_transaction(&mut self, id: Id, bytes: &[u8], now: Millis) -> Option<(usize, Verdict)> {
        if self
            .clients
            .get(id)
            .is_none_or(|client| client.transaction.is_some() || client.mode != Mode::Plain || client.is_restrained())
        {
            return None;
        }
        let mut lens = std::mem::take(&mut self.reading.step_lens);
        lens.clear();
        let mut own_steps = Vec::new();
        let found = self.scan_transaction(bytes, &mut lens, &mut own_steps);
        let verdict = found.map(|(server, last)| {
            if let Some(client) = self.clients.get_mut(id) {
                client.command = Some(last);
            }
            self.dispatch_whole(id, server, &lens, own_steps, now)
        });
        let len = lens.iter().map(|&len| len as usize).sum();
        self.reading.step_lens = lens;
        verdict.map(|verdict| (len, verdict))
    }

    /// The server of all of a transaction that stands whole at the start of `bytes`, and the last of its requests;
    /// their lengths go to `lens`, and those that tell how many hear a channel to `own_steps`.
    fn scan_transaction(
        &mut self,
        bytes: &[u8],
        lens: &mut Vec<u32>,
        own_steps: &mut Vec<OwnStep>,
    ) -> Option<(ServerId, &'static Command)> {
        let mut framer = std::mem::take(&mut self.reading.step_framer);
        let mut at = 0;
        let mut server = None;
        let found = loop {
            framer.reset();
            let rest = &bytes[at..];
            let Ok(Frame::Complete(len)) = framer.frame(rest, &self.reading.request_limits) else { break None };
            if !framer.is_multibulk() || lens.len() == WHOLE_MAX {
                break None;
            }
            lens.push(len as u32);
            at += len;
            let (request, args) = (&rest[..len], framer.args());
            let Some(mut command) = command::find(args[0].of(request)) else { break None };
            if self.settings.policy.is_denying()
                && self.settings.policy.is_denied(command, args.get(1).map(|word| word.of(request)))
            {
                break None;
            }
            if lens.len() == 1 {
                continue;
            }
            let container = command.name();
            if command.is_container() {
                match args.get(1).and_then(|word| command.sub(word.of(request))) {
                    Some(sub) => command = sub,
                    None => break None,
                }
            }
            if !command.arity_allows(args.len()) {
                break None;
            }
            match command.class {
                Class::Lease(Lease::Exec | Lease::Discard) => {
                    break server.or_else(|| self.router.route_any().server()).map(|server| (server, command));
                }
                // Answered here while there is no transaction, they would have to change the session with EXEC.
                Class::Session(Session::Ping | Session::Echo) => continue,
                Class::Session(_) | Class::Lease(Lease::Multi | Lease::Watch) => break None,
                _ => {}
            }
            let call = Call { container, command, request, args };
            own_steps.extend(self.count_in_step(lens.len() - 2, &call));
            match self.route_step(&call) {
                None => {}
                Some(Route::To(other, _)) if server.is_none_or(|server| server == other) => server = Some(other),
                Some(_) => break None,
            }
        };
        self.reading.step_framer = framer;
        found
    }

    fn dispatch_whole(
        &mut self,
        id: Id,
        server: ServerId,
        lens: &[u32],
        own_steps: Vec<OwnStep>,
        now: Millis,
    ) -> Verdict {
        let Some(client) = self.clients.get(id) else { return Verdict::Done };
        let profile = client.session.profile;
        let backend = match self.pick(id, server, profile, now) {
            Pick::Take(backend) => backend,
            Pick::GiveUp => {
                for _ in lens {
                    self.put_off(id, server, Pick::GiveUp, Need::Room, now);
                }
                return Verdict::Done;
            }
            pick => return self.put_off(id, server, pick, Need::Room, now),
        };
        let (lens, exec) = match lens.split_last() {
            Some((exec, steps)) if !own_steps.is_empty() => (steps, Some(*exec)),
            _ => (lens, None),
        };
        for &len in lens {
            let mut request = Request::new(id, now + self.settings.timeouts.remote_read_ms, len, 0, false);
            request.set_role(Role::Atomic);
            self.line_up(id, backend, server, request);
        }
        if let Some(len) = exec {
            let mut merging = self.new_merging();
            merging.own_steps = own_steps;
            merging.role = Role::Atomic;
            self.line_up_only_part(id, Leased { server, backend }, len as usize, merging, now);
        }
        if let Some(client) = self.clients.get_mut(id) {
            client.wrote_to = backend;
        }
        Verdict::Forward(backend)
    }

    pub(super) fn transaction(&self, id: Id) -> Option<&Transaction> {
        self.clients.get(id)?.transaction.as_deref()
    }

    fn is_in_multi(&self, id: Id) -> bool {
        self.transaction(id).is_some_and(|transaction| transaction.is_multi)
    }

    fn is_begun(&self, id: Id) -> bool {
        self.transaction(id).is_some_and(|transaction| transaction.is_begun)
    }

    fn leased(&self, id: Id) -> Option<Leased> {
        self.transaction(id)?.leased
    }
}

/// What cleans the session of the backend of this transaction, when it is not to be run.
pub(super) fn cleanup(transaction: &Transaction) -> &'static [u8] {
    if transaction.is_begun { DISCARD } else { UNWATCH }
}

/// True if this request is `MULTI`, and nothing else.
pub(super) fn is_multi(request: &[u8]) -> bool {
    request.len() == MULTI.len() && request.eq_ignore_ascii_case(MULTI)
}
