//! Request → command → server → backend.
//!
//! The command table says what a request is; the ring says where its first key lives; the pool says which backend takes
//! it (`dispatch`). What is refused is answered here, in the words that clients know.
//!
//! Invariant: every request ends in one `Verdict`, and only `Wait` leaves its bytes where they are.

use log::trace;

use super::dispatch::Pick;
use super::roster::memory_of;
use super::router::Route;
use super::scripts::shows_script;
use super::{NO_DEADLINE, Proxy};
use crate::buffer::Queue;
use crate::client::{Flow, Mode};
use crate::command::{self, Access, Class, Command, Gather, Lease, Name};
use crate::local::{self, Context, Outcome};
use crate::reply::error;
use crate::request::{Place, Request, RequestId};
use crate::resp::{Arg, Frame, RequestFramer};
use crate::slots::Id;
use crate::timer::Millis;

/// What is to be done with the bytes of a request.
pub(super) enum Verdict {
    /// Nothing: it is answered, or ignored.
    Done,
    /// Keep them, and whatever is behind them; the client's turn will come.
    Wait,
    /// They belong on this backend, in whose line the request stands already.
    Forward(Id),
}

/// One whole request, understood.
pub(super) struct Call<'a> {
    /// The first word's name; the same as the command's, unless that is a subcommand.
    pub container: &'static str,
    /// The row of the table.
    pub command: &'static Command,
    /// Its bytes.
    pub request: &'a [u8],
    /// Its arguments, the name first.
    pub args: &'a [Arg],
}

impl<'a> Call<'a> {
    /// The argument with this index.
    pub fn arg(&self, index: usize) -> &'a [u8] {
        self.args[index].of(self.request)
    }

    /// The arguments from `from` on and before `to`, as they stand in the request, lengths and line ends included.
    /// `from <= to`.
    pub fn raw(&self, from: usize, to: usize) -> &'a [u8] {
        let start = match from {
            // Behind the count.
            0 => 3 + self.args.len().ilog10() as usize + 1,
            _ => self.args[from - 1].end(),
        };
        let end = if to == from { start } else { self.args[to - 1].end() };
        &self.request[start..end]
    }

    /// True if it has the right length, but no key that can be told: it needs none (`EVAL … 0`), or a server will say
    /// what is wrong with it.
    pub fn is_without_keys(&self) -> bool {
        let argc = self.args.len();
        let span = self.command.key_span(argc, |index| self.arg(index));
        self.command.arity_allows(argc) && span.map_or(true, |span| span.lead().is_none())
    }

    /// Its length in bytes.
    pub fn len(&self) -> u32 {
        self.request.len() as u32
    }

    /// The full name, as errors show it.
    pub fn name(&self) -> Name {
        Name::new(self.container, self.command.name())
    }
}

pub(super) const UNSUPPORTED: &[u8] = b"-ERR This command is not supported\r\n";
pub(super) const CONNECTION_DOWN: &[u8] = b"-ERR Connection down\r\n";
pub(super) const CROSS_SLOT: &[u8] = b"-CROSSSLOT Keys in request don't hash to the same slot\r\n";

impl Proxy {
    /// Decides about one whole request. `args` are its arguments; there is at least one.
    #[inline]
    pub(super) fn on_request(&mut self, id: Id, request: &[u8], args: &[Arg], now: Millis) -> Verdict {
        let name = args[0].of(request);
        let Some(mut command) = command::find(name).or_else(|| self.settings.policy.declared(name)) else {
            return self.on_unknown(id, request, args);
        };
        trace!("client {id}: {}", command.name());
        let row = command;
        if command.is_container() {
            match self.subcommand(id, command, request, args) {
                Some(sub) => command = sub,
                None => return Verdict::Done,
            }
        }
        let policy = &self.settings.policy;
        if policy.is_denying() && policy.is_denied(row, args.get(1).map(|word| word.of(request))) {
            self.break_transaction(id);
            self.reply_here(id, UNSUPPORTED);
            return Verdict::Done;
        }
        let several = self.router.has_several();
        let call = Call { container: row.name(), command, request, args };
        let Some(client) = self.clients.get_mut(id) else { return Verdict::Done };
        client.command = Some(command);
        if !client.is_plain() {
            if let Some(verdict) = self.on_mode(id, &call, now) {
                return verdict;
            }
        }
        let route = match command.class {
            Class::Keyed => {
                if several && shows_script(command) && args.len() > 2 {
                    self.learn_script(args[1].of(request));
                }
                self.router.route_keys(command, request, args)
            }
            Class::Split(merge) => match self.router.route_keys(command, request, args) {
                Route::CrossSlot => return self.on_split(id, &call, merge, now),
                route => route,
            },
            Class::All(gather) if several || matches!(gather, Gather::Kill | Gather::Masked) => {
                return self.on_gather(id, &call, gather, now);
            }
            Class::All(gather @ Gather::Subscribers(_)) if !self.pubsub.registry.hidden().is_empty() => {
                return self.on_gather(id, &call, gather, now);
            }
            Class::Lease(Lease::Block(_)) if command.blocks(args.len(), |i| args[i].of(request)).is_none() => {
                self.router.route_keys(command, request, args)
            }
            Class::Any => self.router.route_any(),
            Class::Channel(family) if args.len() > 1 => return self.on_publish(id, &call, family, now),
            Class::Channel(_) if several => Route::Arity,
            Class::Single if several => Route::Unsupported,
            Class::All(_) | Class::Single | Class::Channel(_) => self.router.route_any(),
            Class::Session(_) if !command.arity_allows(args.len()) => Route::Arity,
            Class::Session(session) => return self.on_session(id, &call, session, now),
            Class::Lease(lease @ (Lease::Subscribe(_) | Lease::Unsubscribe(_))) => {
                return self.on_subscription(id, &call, lease, now);
            }
            Class::Lease(lease) => return self.on_lease(id, &call, lease, now),
            Class::Refused if !self.is_allowed(&call) => Route::Unsupported,
            // Without a key it is allowed only where there is no choice.
            Class::Refused => self.router.route_keys(command, request, args),
            Class::Container => self.router.route_any(),
        };
        self.follow(id, &call, route, now)
    }

    /// Sends a request where its route says, or tells the client why it goes nowhere.
    #[inline]
    pub(super) fn follow(&mut self, id: Id, call: &Call<'_>, route: Route, now: Millis) -> Verdict {
        match route {
            Route::To(server, hash) => self.dispatch(id, server, hash, call.command.access, call.request.len(), now),
            route => self.refuse(id, call, route),
        }
    }

    /// A command about the client's session, with the right number of arguments.
    fn on_session(&mut self, id: Id, call: &Call<'_>, session: command::Session, now: Millis) -> Verdict {
        let mut out = std::mem::take(&mut self.reading.reply);
        let outcome = self.answer_to(id, session, call.request, call.args, now, &mut out);
        if matches!(outcome, Outcome::Reply | Outcome::ReplyAndLeave) {
            self.reply_here(id, &out);
        }
        let verdict = match outcome {
            Outcome::Reply | Outcome::Silence => Verdict::Done,
            Outcome::Denied { user } => {
                let user = user.map_or(crate::users::DEFAULT.as_bytes(), |index| call.args[index].of(call.request));
                self.deny(id, user, now);
                Verdict::Done
            }
            Outcome::ReplyAndLeave => {
                self.leave(id);
                Verdict::Done
            }
            Outcome::Pool if self.is_full(id) || self.defers(id) => Verdict::Wait,
            Outcome::Pool => {
                self.on_pool_request(id, session, call.request, call.args, now);
                Verdict::Done
            }
            Outcome::Forward => self.follow(id, call, self.router.route_any(), now),
            Outcome::ForwardInstead => self.forward_instead(id, &out, call.command.access, now),
        };
        self.spare_reply(out);
        verdict
    }

    /// Sends `request` to a server in the place of what the client has asked.
    fn forward_instead(&mut self, id: Id, request: &[u8], access: Access, now: Millis) -> Verdict {
        let Route::To(server, hash) = self.router.route_any() else {
            self.reply_here(id, CONNECTION_DOWN);
            return Verdict::Done;
        };
        match self.dispatch(id, server, hash, access, request.len(), now) {
            Verdict::Forward(backend) => {
                self.queue(backend, request);
                self.mark_backend_dirty(backend);
                self.maybe_pause(id);
                Verdict::Done
            }
            verdict => verdict,
        }
    }

    /// Tells the client why its request goes nowhere.
    pub(super) fn refuse(&mut self, id: Id, call: &Call<'_>, route: Route) -> Verdict {
        let reply = match route {
            Route::Down => CONNECTION_DOWN,
            Route::CrossSlot if call.command.arity_allows(call.args.len()) => CROSS_SLOT,
            // What is no request to any server is not one to several either.
            Route::Arity | Route::CrossSlot => {
                self.reply_with(id, |out| error::wrong_arity(out, call.name()));
                return Verdict::Done;
            }
            Route::To(..) | Route::Unsupported => UNSUPPORTED,
        };
        self.reply_here(id, reply);
        Verdict::Done
    }

    fn on_unknown(&mut self, id: Id, request: &[u8], args: &[Arg]) -> Verdict {
        self.break_transaction(id);
        let name = args[0].of(request);
        if name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:") {
            self.refuse_http(id);
        } else {
            self.reply_with(id, |out| error::unknown_command(out, name, args[1..].iter().map(|arg| arg.of(request))));
        }
        Verdict::Done
    }

    /// The subcommand that a container's second argument names; if there is none, the client is told. The container
    /// itself, if its module may know more than the table.
    fn subcommand(
        &mut self,
        id: Id,
        container: &'static Command,
        request: &[u8],
        args: &[Arg],
    ) -> Option<&'static Command> {
        let Some(word) = args.get(1) else {
            self.break_transaction(id);
            self.reply_with(id, |out| error::wrong_arity(out, container.name()));
            return None;
        };
        let word = word.of(request);
        let sub = container.sub(word);
        if sub.is_none() && self.router.is_single() && container.may_have_sub(word) {
            return Some(container);
        }
        if sub.is_none() {
            self.break_transaction(id);
            self.reply_with(id, |out| error::unknown_subcommand(out, container.name().as_bytes(), word));
        }
        sub
    }

    /// A framer that has the arguments of a request which is kept, or taken back from a queue; `None` unless it is one
    /// whole multibulk request.
    pub(super) fn framed(&self, request: &[u8]) -> Option<RequestFramer> {
        let mut framer = RequestFramer::new();
        let frame = framer.frame(request, &self.reading.request_limits);
        (frame == Ok(Frame::Complete(request.len())) && framer.is_multibulk()).then_some(framer)
    }

    /// Where a request goes whose backend is lost. Different servers may stand in for keys that were on one.
    pub(super) fn route_again(&self, request: &[u8], hash: u32) -> Route {
        if self.router.is_single() {
            return self.router.route_any();
        }
        let framer = self.framed(request);
        debug_assert!(framer.is_some(), "only whole requests are sent again");
        let args = framer.as_ref().map_or(&[][..], |framer| framer.args());
        let find = |name| command::find(name).or_else(|| self.settings.policy.declared(name));
        let mut command = args.first().and_then(|name| find(name.of(request)));
        if let Some(container) = command.filter(|command| command.is_container()) {
            command = args.get(1).and_then(|word| container.sub(word.of(request)));
        }
        match command {
            Some(
                command @ Command { class: Class::Keyed | Class::Split(_) | Class::Lease(_) | Class::Refused, .. },
            ) => self.router.route_keys(command, request, args),
            Some(Command { class: Class::Channel(_), .. }) => self.router.route_hash(hash),
            Some(Command { class: Class::Any | Class::Session(_), .. }) => self.router.route_any(),
            // What has no place by itself is not sent anywhere.
            _ => {
                debug_assert!(false, "a request without a place was sent");
                Route::Down
            }
        }
    }

    /// Answers a session command; what is to be said to the client, or to the server instead, is appended to `out`.
    pub(super) fn answer_to(
        &mut self,
        id: Id,
        session: command::Session,
        request: &[u8],
        args: &[Arg],
        now: Millis,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let Some(client) = self.clients.get_mut(id) else { return Outcome::Silence };
        let context = Context {
            client_id: self.settings.siblings.client_number(id),
            introduction: self.upstreams.introduction(),
            listen: &self.settings.listen,
            peer: client.peer.as_deref(),
            users: &self.settings.users,
            is_alone: self.router.is_single(),
            heard: client.subscriber.as_ref().map_or([0; 3], |subscriber| subscriber.counts()),
            memory: memory_of(client),
            age_ms: now - client.since,
        };
        let outcome = local::answer(session, request, args, &mut client.session, &context, out);
        client.set_user(client.session.user);
        outcome
    }

    /// A reply of our own that `write` writes.
    pub(super) fn reply_with(&mut self, id: Id, write: impl FnOnce(&mut Vec<u8>)) {
        let mut reply = std::mem::take(&mut self.reading.reply);
        write(&mut reply);
        self.reply_here(id, &reply);
        self.spare_reply(reply);
    }

    /// Gives the client a reply of our own, in its place behind what is outstanding.
    pub(super) fn reply_here(&mut self, id: Id, reply: &[u8]) {
        let Some(client) = self.clients.get_mut(id).filter(|client| client.flow != Flow::Closed) else { return };
        if client.session.reply_mode.take() {
            return self.mark_client_dirty(id);
        }
        self.reply_in_place(id, reply);
    }

    /// The same, whether the client wants to be answered or not.
    pub(super) fn reply_in_place(&mut self, id: Id, reply: &[u8]) {
        let Some(client) = self.clients.get_mut(id).filter(|client| client.flow != Flow::Closed) else { return };
        if client.reply_order.is_empty() {
            client.replies.push(&mut self.in_flight.arena, reply);
        } else {
            let queue = Queue::of(&mut self.in_flight.arena, reply);
            client.early_bytes += reply.len();
            let mut request = Request::new(id, NO_DEADLINE, 0, 0, false);
            request.move_to(Place::Early(self.in_flight.early.insert(queue) as u32));
            let request = self.in_flight.requests.insert(request);
            client.reply_order.push(&mut self.in_flight.requests, request);
        }
        self.mark_client_dirty(id);
        self.maybe_pause(id);
    }

    /// Routes a large request of which only the start is there. `None` if it can not be passed on in pieces: its keys
    /// are not known yet, or no backend may be held for it, or it is none that a server gets.
    pub(super) fn route_upload(
        &mut self,
        id: Id,
        start: &[u8],
        args: &[Arg],
        args_total: usize,
        now: Millis,
    ) -> Option<(Id, RequestId)> {
        let known = args.iter().take_while(|arg| arg.is_within(start.len())).count();
        if known == 0 {
            return None;
        }
        let mut command = command::find(args[0].of(start))?;
        // Who may not send it is told so when all of it is there; and a step of a transaction is seen as a whole, since
        // it is no request of its own.
        let client = self.clients.get(id)?;
        if client.mode != Mode::Plain || client.transaction.as_ref().is_some_and(|transaction| transaction.is_multi) {
            return None;
        }
        let word = args.get(1).filter(|_| known > 1).map(|word| word.of(start));
        if self.settings.policy.is_denied(command, word) {
            return None;
        }
        if command.is_container() {
            command = command.sub(args.get(1).filter(|_| known > 1)?.of(start))?;
        }
        let is_passed_on = matches!(command.class, Class::Keyed | Class::Split(_) | Class::Channel(_));
        if !is_passed_on || self.is_guarded_command(command.name()) {
            return None;
        }
        let route = if self.router.is_single() {
            self.router.route_any()
        } else {
            let needed = command.args_needed()? as usize;
            if known < needed || args_total < needed {
                return None;
            }
            let arg = |i: usize| args.get(i).filter(|_| i < known).map_or(&b""[..], |arg| arg.of(start));
            let key = match command.class {
                Class::Channel(_) => 1,
                _ => command.key_span(args_total, arg).ok()?.iter().next()? as usize,
            };
            self.router.route_key(arg(key))
        };
        let Route::To(server, hash) = route else { return None };
        let client = self.clients.get_mut(id)?;
        client.command = Some(command);
        let profile = client.session.profile;
        let Pick::Take(backend) = self.pick(id, server, profile, now) else { return None };
        if !self.upstreams.may_hold(backend, now) {
            return None;
        }
        // Its time begins when it is whole.
        let request = Request::new(id, NO_DEADLINE, start.len() as u32, hash, false);
        let request = self.line_up(id, backend, server, request);
        if let Class::Channel(family) = command.class {
            if known > 1 {
                self.mark_published(request, family, args[1].of(start));
            }
        }
        Some((backend, request))
    }
}
