//! Clients that ask about the whole pool: INFO, CLIENT LIST, CLIENT KILL, CLIENT UNBLOCK.
//!
//! What this proxy has to say is `client_list`'s business; what the others of the pool say comes by `worker_mail`.

use super::call::When;
use super::pick::{self, Pick};
use super::state::Proxy;
use super::worker_queries::{Answer, Blocked, Question};
use super::{answer, bulk, client_list, close, connect, enqueue, scatter, worker_query};
use crate::local::roster::Ask;
use crate::local::servers_info::ServersInfo;
use crate::request::{RequestId, Role};
use crate::resp::Arg;
use crate::slots::Id;
use crate::timer::Millis;
use crate::{command, reply};

/// Answers a request that is about the whole pool, at once or when the others of it have answered.
pub(super) fn on_pool_request(
    proxy: &mut Proxy,
    id: Id,
    what: command::Session,
    request: &[u8],
    args: &[Arg],
    when: When,
) {
    let mut out = proxy.reading.take_reply();
    let mut is_suicide = false;
    match client_list::question(&proxy.settings, what, request, args, &mut out) {
        Some(question) if !proxy.settings.workers.is_alone() => worker_query::query_workers(proxy, id, question),
        Some(question @ Question::Clients(Ask::Unblock { .. })) => {
            if let Some(request) = answer::keep_place(&mut proxy.clients, &mut proxy.in_flight, id) {
                unblock(proxy, id, request, &question, Answer::of_nobody(&question), when);
            }
        }
        Some(question @ Question::Figures(_)) => {
            if let Some(request) = answer::keep_place(&mut proxy.clients, &mut proxy.in_flight, id) {
                end_info(proxy, id, request, &question, Answer::of_nobody(&question), when.now);
            }
        }
        question => {
            if let Some(question) = question {
                let nobody = Answer::of_nobody(&question);
                is_suicide = client_list::answer_about_pool(proxy, id, &question, nobody, when.now, &mut out);
            }
            answer::reply_here(proxy, id, &out);
        }
    }
    proxy.reading.spare_reply(out);
    if is_suicide {
        close::leave(&mut proxy.clients, &mut proxy.turn, id);
    }
}

/// The other proxies have told their figures: the servers are asked for theirs, and if none can be, the reply to
/// `request` is without them.
pub(super) fn end_info(
    proxy: &mut Proxy,
    id: Id,
    request: RequestId,
    question: &Question,
    answer: Answer,
    now: Millis,
) {
    let answer = client_list::with_own_part(proxy, id, question, answer, now);
    let (Answer::Figures(mut figures), Question::Figures(info)) = (answer, question) else { return };
    if !scatter::ask_for_info(proxy, id, request, info, &mut figures, now) {
        let mut reply = proxy.reading.take_reply();
        client_list::write_info(proxy, id, &figures, &ServersInfo::default(), now, &mut reply);
        answer::deliver(proxy, id, request, &reply, now);
        proxy.reading.spare_reply(reply);
    }
    bulk::maybe_pause(proxy, id);
}

/// Has a server end the wait of a client, and its reply be that to `request`. `found` is what the other proxies
/// know of that client.
pub(super) fn unblock(proxy: &mut Proxy, id: Id, request: RequestId, question: &Question, found: Answer, when: When) {
    let mut found = found;
    found.add(client_list::own_part(proxy, question, id, when.now));
    let (Answer::Blocked(Some(Blocked { server, number })), Question::Clients(Ask::Unblock { is_error, .. })) =
        (found, question)
    else {
        return answer::deliver_own(proxy, id, request, b":0\r\n", when.now);
    };
    let Some(server) = proxy.upstreams.find_server(&server) else {
        return answer::deliver_own(proxy, id, request, b":0\r\n", when.now);
    };
    let Some(client) = proxy.clients.get(id) else { return };
    let profile = client.profile();
    let backend = match pick::pick(proxy, id, server, profile, when) {
        Pick::Take(backend) => Some(backend),
        // It may be what those wait for.
        Pick::Park => connect::offer_now(proxy, server, profile, when.now),
        _ => None,
    };
    let Some(backend) = backend else {
        return answer::deliver_own(
            proxy,
            id,
            request,
            b"-ERR No connection is free to unblock a client\r\n",
            when.now,
        );
    };
    let mut bytes = Vec::new();
    reply::array(&mut bytes, 4);
    for word in ["CLIENT", "UNBLOCK", &number.to_string(), if *is_error { "ERROR" } else { "TIMEOUT" }] {
        reply::bulk(&mut bytes, word.as_bytes());
    }
    let entry = &mut proxy.in_flight.requests[request];
    entry.rewrite(bytes.len(), when.now + proxy.settings.timeouts.remote_read_ms);
    // Another server, or the same one started anew, has other numbers.
    entry.set_role(Role::Atomic);
    let Some(ticket) = enqueue::stand_at(proxy, request, backend, server) else { return };
    enqueue::queue(&mut proxy.upstreams, &mut proxy.in_flight, &mut proxy.turn, ticket, &bytes);
    bulk::maybe_pause(proxy, id);
}
