//! Letters of the other proxies of the pool: their questions are answered, their answers end what was asked.

use std::sync::Arc;

use super::call::When;
use super::settings::Settings;
use super::state::Proxy;
use super::worker_queries::{Answer, Exec, Question, WorkerMessage, WorkerQueries, WorkerQuery};
use super::{answer, bulk, client_list, close, introspect, local_steps, memory};
use crate::client::Flow;
use crate::local::roster::Ask;
use crate::slots::Id;
use crate::timer::Millis;

/// The next message, and the number of the proxy that it is for. To be asked after
/// [`Action::Post`](super::interface::Action::Post), until it is `None`.
pub(super) fn poll_worker_message(
    settings: &Settings,
    worker_queries: &mut WorkerQueries,
) -> Option<(usize, WorkerMessage)> {
    let workers = &settings.workers;
    if let Some(round) = worker_queries.next_round(workers.others()) {
        let messages: Vec<_> =
            round.awaited.iter().map(|&to| (to, WorkerMessage::Questions(Arc::clone(&round.questions)))).collect();
        worker_queries.messages.extend(messages);
    }
    worker_queries.messages.pop_front()
}

/// A message has come from the proxy of the same pool that has this number.
pub(super) fn handle_worker_message(proxy: &mut Proxy, from: usize, message: WorkerMessage, now: Millis) {
    match message {
        WorkerMessage::Questions(questions) => {
            let answers =
                questions.iter().map(|question| client_list::own_part(proxy, question, Id::NONE, now)).collect();
            proxy.worker_queries.messages.push_back((from, WorkerMessage::Answers(answers)));
            proxy.turn.post();
        }
        WorkerMessage::Answers(answers) => take_answers(proxy, from, answers, now),
    }
}

/// The proxy of the same pool that has this number has ended, or a message did not reach it for that reason.
pub(super) fn handle_worker_gone(proxy: &mut Proxy, number: usize, now: Millis) {
    take_answers(proxy, number, Vec::new(), now);
}

/// The other proxies have answered: with this one's part, the client has its reply.
pub(super) fn end_query(proxy: &mut Proxy, query: WorkerQuery, parts: Vec<(&Question, Answer)>, now: Millis) {
    let WorkerQuery { client: id, request, exec, .. } = query;
    let Some(client) = proxy.clients.get_mut(id).filter(|client| client.flow() == Flow::Asking) else { return };
    client.enter(Flow::Open);
    proxy.turn.wake(id);
    let mut reply = proxy.reading.take_reply();
    let mut is_suicide = false;
    let is_exec = exec.is_some();
    match exec {
        Some(Exec { steps, backend, reply: server_reply }) => {
            let answers = parts.into_iter().map(|(_, answer)| answer).collect();
            local_steps::end_local_steps(proxy, id, steps, (backend, &server_reply), answers, &mut reply, now);
        }
        None => {
            for (question, answer) in parts {
                match question {
                    Question::Clients(Ask::Unblock { .. }) => {
                        proxy.reading.spare_reply(reply);
                        return introspect::unblock(proxy, id, request, question, answer, When::at(now));
                    }
                    Question::Figures(_) => {
                        proxy.reading.spare_reply(reply);
                        return introspect::end_info(proxy, id, request, question, answer, now);
                    }
                    Question::Clients(_) | Question::Rmux(_) | Question::Slowlog(_) => {}
                }
                is_suicide |= client_list::answer_about_pool(proxy, id, question, answer, now, &mut reply);
            }
        }
    }
    match is_exec {
        // A server has answered it, too.
        true => answer::deliver(proxy, id, request, &reply, now),
        false => answer::deliver_own(proxy, id, request, &reply, now),
    }
    bulk::maybe_pause(proxy, id);
    if is_suicide {
        close::leave(&mut proxy.clients, &mut proxy.turn, id);
    }
    proxy.reading.spare_reply(reply);
}

pub(super) fn take_answers(proxy: &mut Proxy, from: usize, answers: Vec<Answer>, now: Millis) {
    let round = proxy.worker_queries.on_answers(from, answers);
    memory::charge_worker_queries(&mut proxy.in_flight, &mut proxy.worker_queries);
    let Some(round) = round else { return };
    let mut answers = round.answers.into_iter();
    let mut questions = round.questions.iter();
    for (query, count) in round.queries {
        let parts: Vec<(&Question, Answer)> = questions.by_ref().zip(answers.by_ref()).take(count).collect();
        end_query(proxy, query, parts, now);
    }
    proxy.turn.post();
}
