//! Request → command → server → backend.
//!
//! The command table says what a request is; the ring says where its first key lives; the pool says which backend takes
//! it (`dispatch`). What is refused is answered here, in the words that clients know.
//!
//! Invariant: every request ends in one `Verdict`, and only `Wait` leaves its bytes where they are.

use log::trace;

use super::call::{Call, Verdict, When};
use super::in_flight::Ticket;
use super::interface::NO_DEADLINE;
use super::pick::{self, Pick};
use super::refusals::{CONNECTION_DOWN, UNSUPPORTED};
use super::router::{Route, Router};
use super::scripts::shows_script;
use super::slot_table::slot_in;
use super::state::Proxy;
use super::{
    answer, blocking, bulk, client_list, close, denial, dispatch, enqueue, evalsha, guard, hidden_count, introspect,
    mode, publish, reads, scatter, session_reply, subscribe, transaction_marks,
};
use crate::client::Mode;
use crate::command::{self, Access, Class, Command, Gather, Lease};
use crate::local::Outcome;
use crate::reply::error;
use crate::request::Request;
use crate::resp::Arg;
use crate::server_id::ServerId;
use crate::slots::Id;
use crate::timer::Millis;

/// Decides about one whole request. `args` are its arguments; there is at least one.
#[inline]
pub(super) fn on_request(proxy: &mut Proxy, id: Id, request: &[u8], args: &[Arg], when: When) -> Verdict {
    let name = args[0].of(request);
    let Some(mut command) = command::find(name).or_else(|| proxy.settings.policy.declared(name)) else {
        return on_unknown(proxy, id, request, args);
    };
    trace!("client {id}: {}", command.name());
    let row = command;
    if command.is_container() {
        match subcommand(proxy, id, command, request, args) {
            Some(sub) => command = sub,
            None => return Verdict::Done,
        }
    }
    let policy = &proxy.settings.policy;
    if policy.is_denying() && policy.is_denied(row, args.get(1).map(|word| word.of(request))) {
        transaction_marks::break_transaction(&mut proxy.clients, id);
        answer::reply_here(proxy, id, UNSUPPORTED);
        return Verdict::Done;
    }
    let call = Call { container: row.name(), command, request, args };
    let Some(client) = proxy.clients.get_mut(id) else { return Verdict::Done };
    client.on_command(command);
    let is_plain = client.is_plain();
    if !proxy.router.replicas().is_empty() {
        if let Some(verdict) = reads::on_request(proxy, id, &call, when) {
            return verdict;
        }
    }
    if !is_plain {
        if let Some(verdict) = mode::on_mode(proxy, id, &call, when) {
            return verdict;
        }
    }
    on_class(proxy, id, &call, when)
}

/// What the class of a command says is done with a request.
#[inline]
fn on_class(proxy: &mut Proxy, id: Id, call: &Call<'_>, when: When) -> Verdict {
    let several = proxy.router.has_several();
    let Call { command, request, args, .. } = *call;
    let route = match command.class {
        Class::Keyed => {
            if several && shows_script(command) && args.len() > 2 {
                evalsha::learn_script(proxy, args[1].of(request));
            }
            proxy.router.route_keys(command, request, args)
        }
        Class::Split(merge) => match proxy.router.route_keys(command, request, args) {
            Route::CrossSlot => return scatter::on_split(proxy, id, call, merge, when),
            route => route,
        },
        Class::All(gather) if several || matches!(gather, Gather::Kill | Gather::Masked) => {
            return scatter::on_gather(proxy, id, call, gather, when);
        }
        // The cursor may be from when there were several.
        Class::All(gather @ Gather::Cursor) if proxy.router.revision() > 0 => {
            return scatter::on_gather(proxy, id, call, gather, when);
        }
        Class::All(gather @ Gather::Subscribers(_)) if !proxy.pubsub.registry.hidden().is_empty() => {
            return scatter::on_gather(proxy, id, call, gather, when);
        }
        Class::Lease(Lease::Block(_)) if command.blocks(args.len(), |i| args[i].of(request)).is_none() => {
            proxy.router.route_keys(command, request, args)
        }
        Class::Any => proxy.router.route_any(),
        Class::Channel(family) if args.len() > 1 => return publish::on_publish(proxy, id, call, family, when),
        Class::Channel(_) if several => Route::Arity,
        Class::Single if several => Route::Unsupported,
        Class::All(_) | Class::Single | Class::Channel(_) => proxy.router.route_any(),
        Class::Session(_) if !command.arity_allows(args.len()) => Route::Arity,
        Class::Session(session) => return on_session(proxy, id, call, session, when),
        Class::Lease(lease @ (Lease::Subscribe(_) | Lease::Unsubscribe(_))) => {
            return subscribe::on_subscription(proxy, id, call, lease, when.now);
        }
        Class::Lease(lease) => return blocking::on_lease(proxy, id, call, lease, when),
        Class::Refused if !dispatch::is_allowed(&proxy.settings, call) => Route::Unsupported,
        // Without a key it is allowed only where there is no choice.
        Class::Refused => proxy.router.route_keys(command, request, args),
        Class::Container => proxy.router.route_any(),
    };
    dispatch::follow(proxy, id, call, route, when)
}

/// A command about the client's session, with the right number of arguments.
fn on_session(proxy: &mut Proxy, id: Id, call: &Call<'_>, session: command::Session, when: When) -> Verdict {
    let mut out = proxy.reading.take_reply();
    let outcome = session_reply::answer_to(proxy, id, session, call.request, call.args, when.now, &mut out);
    if matches!(outcome, Outcome::Reply | Outcome::ReplyAndLeave) {
        answer::reply_here(proxy, id, &out);
    }
    let verdict = match outcome {
        Outcome::Reply | Outcome::Silence => Verdict::Done,
        Outcome::Denied { user } => {
            let user = user.map_or(crate::users::DEFAULT.as_bytes(), |index| call.args[index].of(call.request));
            denial::deny(proxy, id, user, when.now);
            Verdict::Done
        }
        Outcome::ReplyAndLeave => {
            close::leave(&mut proxy.clients, &mut proxy.turn, id);
            Verdict::Done
        }
        Outcome::Pool
            if bulk::is_full(&proxy.settings, &mut proxy.clients, &mut proxy.turn, id)
                || client_list::defers(&mut proxy.clients, &proxy.turn, id) =>
        {
            Verdict::Wait
        }
        Outcome::Pool => {
            introspect::on_pool_request(proxy, id, session, call.request, call.args, when);
            Verdict::Done
        }
        Outcome::Forward => dispatch::follow(proxy, id, call, proxy.router.route_any(), when),
        Outcome::ForwardInstead => forward_instead(proxy, id, &out, call.command.access, when),
    };
    proxy.reading.spare_reply(out);
    verdict
}

/// Sends `request` to a server in the place of what the client has asked.
fn forward_instead(proxy: &mut Proxy, id: Id, request: &[u8], access: Access, when: When) -> Verdict {
    let Route::To(server, hash) = proxy.router.route_any() else {
        answer::reply_here(proxy, id, CONNECTION_DOWN);
        return Verdict::Done;
    };
    match dispatch::dispatch(proxy, id, server, hash, access, request.len(), when) {
        Verdict::Forward(ticket) => {
            enqueue::queue(&mut proxy.upstreams, &mut proxy.in_flight, &mut proxy.turn, ticket, request);
            bulk::maybe_pause(proxy, id);
            Verdict::Done
        }
        verdict => verdict,
    }
}

fn on_unknown(proxy: &mut Proxy, id: Id, request: &[u8], args: &[Arg]) -> Verdict {
    transaction_marks::break_transaction(&mut proxy.clients, id);
    let name = args[0].of(request);
    if name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:") {
        close::refuse_http(proxy, id);
    } else {
        answer::reply_with(proxy, id, |out| {
            error::unknown_command(out, name, args[1..].iter().map(|arg| arg.of(request)))
        });
    }
    Verdict::Done
}

/// The subcommand that a container's second argument names; if there is none, the client is told. The container
/// itself, if its module may know more than the table.
fn subcommand(
    proxy: &mut Proxy,
    id: Id,
    container: &'static Command,
    request: &[u8],
    args: &[Arg],
) -> Option<&'static Command> {
    let Some(word) = args.get(1) else {
        transaction_marks::break_transaction(&mut proxy.clients, id);
        answer::reply_with(proxy, id, |out| error::wrong_arity(out, container.name()));
        return None;
    };
    let word = word.of(request);
    let sub = container.sub(word);
    if sub.is_none() && proxy.router.is_single() && container.may_have_sub(word) {
        return Some(container);
    }
    if sub.is_none() {
        transaction_marks::break_transaction(&mut proxy.clients, id);
        answer::reply_with(proxy, id, |out| error::unknown_subcommand(out, container.name().as_bytes(), word));
    }
    sub
}

/// Routes a large request of which only the start is there. `None` if it can not be passed on in pieces: its keys
/// are not known yet, or no backend may be held for it, or it is none that a server gets.
pub(super) fn route_upload(
    proxy: &mut Proxy,
    id: Id,
    start: &[u8],
    args: &[Arg],
    args_total: usize,
    when: When,
) -> Option<Ticket> {
    let known = args.iter().take_while(|arg| arg.is_within(start.len())).count();
    if known == 0 {
        return None;
    }
    let mut command = command::find(args[0].of(start))?;
    // Who may not send it is told so when all of it is there; and a step of a transaction is seen as a whole, since
    // it is no request of its own.
    let client = proxy.clients.get(id)?;
    if client.mode() != Mode::Plain || client.transaction().is_some_and(|transaction| transaction.is_multi()) {
        return None;
    }
    let word = args.get(1).filter(|_| known > 1).map(|word| word.of(start));
    if proxy.settings.policy.is_denied(command, word) {
        return None;
    }
    if command.is_container() {
        command = command.sub(args.get(1).filter(|_| known > 1)?.of(start))?;
    }
    let is_passed_on = matches!(command.class, Class::Keyed | Class::Split(_) | Class::Channel(_));
    if !is_passed_on || guard::is_guarded_command(&proxy.settings, command.name()) {
        return None;
    }
    let routed = route_start(&proxy.router, command, start, &args[..known], args_total);
    let (server, mut hash) = routed.filter(|&(_, hash)| !is_being_moved(proxy, hash, when.now))?;
    if !proxy.router.replicas().is_empty() {
        let key = args.get(1).filter(|_| known > 1 && command.has_one_key())?;
        hash = proxy.router.hash_of(key.of(start));
        if !reads::may_upload(proxy, id, command, hash, when.now) {
            return None;
        }
    }
    let client = proxy.clients.get_mut(id)?;
    client.on_command(command);
    let profile = client.profile();
    let Pick::Take(backend) = pick::pick(proxy, id, server, profile, when) else { return None };
    if !proxy.upstreams.may_hold(backend, when.now) {
        return None;
    }
    // Its time begins when it is whole.
    let request = Request::new(id, NO_DEADLINE, start.len() as u32, hash, false);
    let ticket = enqueue::line_up(proxy, id, backend, server, request)?;
    if let Class::Channel(family) = command.class {
        if known > 1 {
            let (request, channel) = ((ticket.request(), server), (family, args[1].of(start)));
            hidden_count::mark_published(&mut proxy.in_flight, &proxy.pubsub, &proxy.router, request, channel);
        }
    }
    Some(ticket)
}

/// Whether the slot of this hash is being moved: of a request that is passed on as it comes nothing is kept, and it may
/// have to be sent again.
fn is_being_moved(proxy: &Proxy, hash: u32, now: Millis) -> bool {
    proxy.settings.cluster && proxy.redirected.is_moving(slot_in(hash), now)
}

/// Where a request of `args_total` arguments goes of which only `args` are known, the first ones, which stand whole in
/// `start`. `None` if they do not tell, or if it goes nowhere.
fn route_start(
    router: &Router,
    command: &Command,
    start: &[u8],
    args: &[Arg],
    args_total: usize,
) -> Option<(ServerId, u32)> {
    let route = if router.is_single() {
        router.route_any()
    } else {
        let needed = command.args_needed()? as usize;
        if args.len() < needed || args_total < needed {
            return None;
        }
        let arg = |i: usize| args.get(i).map_or(&b""[..], |arg| arg.of(start));
        let key = match command.class {
            Class::Channel(_) => 1,
            _ => command.key_span(args_total, arg).ok()?.iter().next()? as usize,
        };
        router.route_key(arg(key))
    };
    match route {
        Route::To(server, hash) => Some((server, hash)),
        _ => None,
    }
}
