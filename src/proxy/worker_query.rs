//! Questions to the other proxies of the pool, and the clients that wait for the answers.

use std::mem;

use super::merging::Part;
use super::state::Proxy;
use super::worker_queries::{Exec, Question, WorkerQuery};
use super::{answer, bulk, local_steps};
use crate::client::{Flow, LocalEffect, LocalStep};
use crate::request::RequestId;
use crate::resp::elements::Elements;
use crate::slots::Id;

/// A client asks about the whole pool.
pub(super) fn query_workers(proxy: &mut Proxy, id: Id, question: Question) {
    let Some(request) = answer::keep_place(&mut proxy.clients, &mut proxy.in_flight, id) else { return };
    enter(proxy, WorkerQuery { client: id, request, questions: vec![question], exec: None });
}

/// Whether the steps of a transaction that rmux answers itself ask about the whole pool, and the answers have to be
/// waited for: then they are asked, and the `EXEC`, which is the client's last request, is answered when they came.
/// `steps` and the server's reply are taken only then. A transaction that was not run asks nothing.
pub(super) fn maybe_query_for(
    proxy: &mut Proxy,
    id: Id,
    request: RequestId,
    steps: &mut Vec<LocalStep>,
    part: &mut Part,
) -> bool {
    if proxy.settings.workers.is_alone() || Elements::of(part.as_ref()).is_none_or(|reply| reply.kind() != b'*') {
        return false;
    }
    let asked = steps.iter().filter_map(|step| match &step.what {
        LocalEffect::Answer(request) => {
            local_steps::question_of_step(&proxy.settings, &proxy.router, &proxy.reading, request)
        }
        LocalEffect::Select(_) | LocalEffect::Published(_) | LocalEffect::Subscribers(_) => None,
    });
    let questions: Vec<Question> = asked.collect();
    if questions.is_empty() {
        return false;
    }
    let exec = Exec { steps: mem::take(steps), backend: part.backend, reply: mem::take(&mut part.bytes) };
    enter(proxy, WorkerQuery { client: id, request, questions, exec: Some(exec) });
    true
}

fn enter(proxy: &mut Proxy, query: WorkerQuery) {
    bulk::await_replies(&mut proxy.clients, &mut proxy.turn, query.client, Flow::Asking);
    let held = proxy.worker_queries.charged + query.held();
    proxy.in_flight.arena.recharge(&mut proxy.worker_queries.charged, held);
    proxy.worker_queries.waiting.push_back(query);
    proxy.turn.post();
}
