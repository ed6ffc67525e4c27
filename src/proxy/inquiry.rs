//! Questions about the whole pool, while its clients and figures lie with several proxies: INFO, CLIENT LIST, CLIENT
//! KILL, CLIENT UNBLOCK. (What is asked of each, and what one alone answers, is `roster`'s business.)
//!
//! The proxy whose client asks is the one that asks all others of its pool, by letters which the shell carries. Each of
//! those answers for itself, at once, and asks nobody. When the last answer has come, the first proxy adds its own, of
//! that moment, and the client has its reply.
//!
//! ```text
//!   client 7: INFO ──┐ waiting                       ┌─► Letter::Questions ─► another proxy ─┐
//!   client 9: LIST ──┴────────► round: INFO, LIST ───┴─► Letter::Questions ─► another proxy ─┤
//!                    replies ◄── own part + answers ◄────────────── Letter::Answers ◄────────┘
//! ```
//!
//! A client that asks is not listened to until it has its reply (`Flow::Asking`): what it sends behind finds done what
//! it asked for. Its request keeps the place of the reply, as any other. If it leaves, its question is withdrawn, or
//! the answers come to nobody. A proxy that has ended, and has no clients any more, counts as one that has answered.
//!
//! Bounded: one round is under way at a time, with questions of [`QUESTIONS_MAX`] or those of one transaction, and who
//! asks meanwhile waits for the next one; so no more than two letters from one proxy to another are under way: its own
//! questions, and its answers to the other's. Each is dealt with in one turn, and nobody waits for anything else.
//!
//! Invariants: a client is `Asking` exactly while it stands in one inquiry, of those that wait or of the round; `round`
//! is `None` only while the shell is about to ask for letters, or nobody waits.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use super::merging::Part;
use super::own_steps::held_by;
use super::{NO_DEADLINE, Proxy};
use crate::client::{Flow, OwnStep, OwnWhat};
use crate::local::roster::{Ask, Lines};
use crate::request::{Request, RequestId};
use crate::resp::elements::Elements;
use crate::server_id::ServerId;
use crate::slots::Id;
use crate::stats::Figures;
use crate::timer::Millis;

/// What one proxy of a pool tells another.
#[derive(Debug)]
pub enum Letter {
    /// The questions of a round.
    Questions(Arc<[Question]>),
    /// One answer for each of them, in their order.
    Answers(Vec<Answer>),
}

/// Something that every proxy of a pool has a part of.
#[derive(Debug, PartialEq, Eq)]
pub enum Question {
    /// What they have done, and how their servers are.
    Figures,
    /// Their clients.
    Clients(Ask),
}

impl Question {
    /// What it costs to answer it: as many as a round may have are as much as one list of all clients.
    fn weight(&self) -> usize {
        match self {
            Question::Clients(Ask::List(_)) => QUESTIONS_MAX,
            Question::Clients(_) => QUESTIONS_MAX / 4,
            Question::Figures => 1,
        }
    }
}

/// One proxy's part, or those of several together.
#[derive(Debug)]
pub enum Answer {
    /// To [`Question::Figures`].
    Figures(Figures),
    /// To a `CLIENT LIST`: the line of each client that is meant.
    Lines(Lines),
    /// To a `CLIENT KILL`.
    Killed {
        /// How many clients were meant.
        clients: usize,
        /// Whether the one that asks is among them; it is not closed yet.
        is_asker_among: bool,
    },
    /// To a `CLIENT UNBLOCK`: where the client is blocked that is meant, if it is.
    Blocked(Option<Blocked>),
}

/// A connection to a server on which a client waits for data.
#[derive(Debug, Clone, Copy)]
pub struct Blocked {
    /// Index of the server.
    pub server: ServerId,
    /// That server's own number for the connection.
    pub number: i64,
}

impl Answer {
    /// That of no proxy.
    pub(super) fn of_nobody(question: &Question) -> Answer {
        match question {
            Question::Figures => Answer::Figures(Figures::default()),
            Question::Clients(Ask::List(_)) => Answer::Lines(Lines::default()),
            Question::Clients(Ask::Kill(_) | Ask::KillAddress(_)) => {
                Answer::Killed { clients: 0, is_asker_among: false }
            }
            Question::Clients(Ask::Unblock { .. }) => Answer::Blocked(None),
        }
    }

    /// The memory that it takes, in bytes; about as much as it is.
    fn held(&self) -> usize {
        match self {
            Answer::Lines(lines) => lines.held(),
            _ => 0,
        }
    }

    /// Adds another proxy's answer to the same question.
    pub(super) fn add(&mut self, other: Answer) {
        match (self, other) {
            (Answer::Figures(sum), Answer::Figures(other)) => sum.add(&other),
            (Answer::Lines(all), Answer::Lines(other)) => all.add(other),
            (Answer::Killed { clients, is_asker_among }, Answer::Killed { clients: more, is_asker_among: is_too }) => {
                *clients += more;
                *is_asker_among |= is_too;
            }
            (Answer::Blocked(found), Answer::Blocked(other)) => *found = found.or(other),
            _ => debug_assert!(false, "an answer to another question"),
        }
    }
}

/// A client that asks.
#[derive(Debug)]
struct Inquiry {
    client: Id,
    /// Keeps the place of the reply.
    request: RequestId,
    /// Empty as soon as they are asked.
    questions: Vec<Question>,
    /// For an `EXEC` alone, whose steps ask.
    exec: Option<Exec>,
}

impl Inquiry {
    /// The memory that it takes, in bytes.
    fn held(&self) -> usize {
        let exec = self.exec.as_ref().map_or(0, |exec| held_by(&exec.steps) + exec.reply.capacity());
        size_of::<Inquiry>() + exec
    }
}

/// An `EXEC` that its server has answered, and some of whose steps ask about the pool.
#[derive(Debug)]
struct Exec {
    steps: Vec<OwnStep>,
    backend: Id,
    reply: Vec<u8>,
}

/// Questions that are under way to the other proxies.
#[derive(Debug)]
struct Round {
    /// Who asks, and how many of the questions.
    inquiries: Vec<(Inquiry, usize)>,
    questions: Arc<[Question]>,
    /// The answers so far, together; one for each question.
    answers: Vec<Answer>,
    /// The numbers of the proxies that have not answered.
    awaited: Vec<usize>,
}

/// All that is asked, and not answered yet.
#[derive(Debug, Default)]
pub(super) struct Inquiries {
    waiting: VecDeque<Inquiry>,
    round: Option<Round>,
    /// Letters that the shell has not taken yet, and to whom.
    letters: VecDeque<(usize, Letter)>,
    /// Bytes that the account has for the answers so far, and for who waits.
    charged: usize,
}

/// The weight of the questions in one round; one that has more, or a transaction, has a round for itself.
const QUESTIONS_MAX: usize = 16;

impl Inquiries {
    /// A client is gone: if its questions are not asked yet, they never are.
    pub fn withdraw(&mut self, client: Id) {
        self.waiting.retain(|inquiry| inquiry.client != client);
    }

    /// The memory that all of them take, and the answers so far, in bytes.
    pub fn held(&self) -> usize {
        let round = self.round.iter().flat_map(|round| {
            let answers = round.answers.iter().map(Answer::held);
            round.inquiries.iter().map(|(inquiry, _)| inquiry.held()).chain(answers)
        });
        self.waiting.iter().map(Inquiry::held).chain(round).sum()
    }

    /// True exactly when nothing is asked and no letter waits for the shell.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.round.is_none() && self.letters.is_empty()
    }

    /// In how many inquiries a client stands.
    pub fn count_of(&self, client: Id) -> usize {
        let asked = self.round.iter().flat_map(|round| round.inquiries.iter().map(|(inquiry, _)| inquiry));
        self.waiting.iter().chain(asked).filter(|inquiry| inquiry.client == client).count()
    }

    /// The next round, if none is under way and somebody waits for one.
    fn next_round(&mut self, others: impl Iterator<Item = usize>) -> Option<&Round> {
        if self.round.is_some() {
            return None;
        }
        let mut questions = Vec::new();
        let mut inquiries = Vec::new();
        let mut weight = 0;
        while let Some(inquiry) = self.waiting.front_mut() {
            weight += inquiry.questions.iter().map(Question::weight).sum::<usize>();
            if !questions.is_empty() && weight > QUESTIONS_MAX {
                break;
            }
            let count = inquiry.questions.len();
            questions.append(&mut inquiry.questions);
            inquiries.extend(self.waiting.pop_front().map(|inquiry| (inquiry, count)));
        }
        if questions.is_empty() {
            return None;
        }
        let answers = questions.iter().map(Answer::of_nobody).collect();
        Some(self.round.insert(Round { inquiries, questions: questions.into(), answers, awaited: others.collect() }))
    }

    /// A proxy has answered, or will not any more. The round, if it was the last one.
    fn on_answers(&mut self, from: usize, answers: Vec<Answer>) -> Option<Round> {
        let round = self.round.as_mut()?;
        let place = round.awaited.iter().position(|&number| number == from)?;
        round.awaited.swap_remove(place);
        round.answers.iter_mut().zip(answers).for_each(|(sum, answer)| sum.add(answer));
        self.round.take_if(|round| round.awaited.is_empty())
    }
}

impl Proxy {
    /// The next letter, and the number of the proxy that it is for. To be asked after
    /// [`Action::Post`](super::Action::Post), until it is `None`.
    pub fn poll_letter(&mut self) -> Option<(usize, Letter)> {
        let siblings = &self.settings.siblings;
        if let Some(round) = self.workers.next_round(siblings.others()) {
            let letters: Vec<_> =
                round.awaited.iter().map(|&to| (to, Letter::Questions(Arc::clone(&round.questions)))).collect();
            self.workers.letters.extend(letters);
        }
        self.workers.letters.pop_front()
    }

    /// A letter has come from the proxy of the same pool that has this number.
    pub fn handle_letter(&mut self, from: usize, letter: Letter, now: Millis) {
        match letter {
            Letter::Questions(questions) => {
                let answers = questions.iter().map(|question| self.own_part(question, Id::NONE, now)).collect();
                self.workers.letters.push_back((from, Letter::Answers(answers)));
                self.turn.post();
            }
            Letter::Answers(answers) => self.on_answers(from, answers, now),
        }
    }

    /// The proxy of the same pool that has this number has ended, or a letter did not reach it for that reason.
    pub fn handle_sibling_gone(&mut self, number: usize, now: Millis) {
        self.on_answers(number, Vec::new(), now);
    }

    fn on_answers(&mut self, from: usize, answers: Vec<Answer>, now: Millis) {
        let round = self.workers.on_answers(from, answers);
        self.charge_inquiries();
        let Some(round) = round else { return };
        let mut answers = round.answers.into_iter();
        let mut questions = round.questions.iter();
        for (inquiry, count) in round.inquiries {
            let parts: Vec<(&Question, Answer)> = questions.by_ref().zip(answers.by_ref()).take(count).collect();
            self.end_inquiry(inquiry, parts, now);
        }
        self.turn.post();
    }

    /// A client asks about the whole pool.
    pub(super) fn inquire(&mut self, id: Id, question: Question) {
        let Some(request) = self.keep_place(id) else { return };
        self.enter(Inquiry { client: id, request, questions: vec![question], exec: None });
    }

    /// Keeps the place of a reply in a client's line.
    pub(super) fn keep_place(&mut self, id: Id) -> Option<RequestId> {
        let client = self.clients.get_mut(id).filter(|client| client.flow != Flow::Closed)?;
        let mut request = Request::new(id, NO_DEADLINE, 0, 0, false);
        request.mute(client.session.reply_mode.take());
        let request = self.in_flight.requests.insert(request);
        client.reply_order.push(&mut self.in_flight.requests, request);
        Some(request)
    }

    /// Whether the steps of a transaction that rmux answers itself ask about the whole pool, and the answers have to be
    /// waited for: then they are asked, and the `EXEC`, which is the client's last request, is answered when they came.
    /// `steps` and the server's reply are taken only then. A transaction that was not run asks nothing.
    pub(super) fn maybe_inquire_for(
        &mut self,
        id: Id,
        request: RequestId,
        steps: &mut Vec<OwnStep>,
        part: &mut Part,
    ) -> bool {
        if self.settings.siblings.is_alone() || Elements::of(part.as_ref()).is_none_or(|reply| reply.kind() != b'*') {
            return false;
        }
        let asked = steps.iter().filter_map(|step| match &step.what {
            OwnWhat::Answer(request) => self.question_of_step(request),
            OwnWhat::Select(_) | OwnWhat::Published(_) | OwnWhat::Subscribers(_) => None,
        });
        let questions: Vec<Question> = asked.collect();
        if questions.is_empty() {
            return false;
        }
        let exec = Exec { steps: mem::take(steps), backend: part.backend, reply: mem::take(&mut part.bytes) };
        self.enter(Inquiry { client: id, request, questions, exec: Some(exec) });
        true
    }

    fn enter(&mut self, inquiry: Inquiry) {
        self.await_replies(inquiry.client, Flow::Asking);
        let held = self.workers.charged + inquiry.held();
        self.in_flight.arena.recharge(&mut self.workers.charged, held);
        self.workers.waiting.push_back(inquiry);
        self.turn.post();
    }

    /// What is asked and answered has become more or less.
    pub(super) fn charge_inquiries(&mut self) {
        let held = self.workers.held();
        self.in_flight.arena.recharge(&mut self.workers.charged, held);
    }

    /// The other proxies have answered: with this one's part, the client has its reply.
    fn end_inquiry(&mut self, inquiry: Inquiry, parts: Vec<(&Question, Answer)>, now: Millis) {
        let Inquiry { client: id, request, exec, .. } = inquiry;
        let Some(client) = self.clients.get_mut(id).filter(|client| client.flow == Flow::Asking) else { return };
        client.flow = Flow::Open;
        self.turn.wake(id);
        let mut reply = mem::take(&mut self.reading.reply);
        let mut is_suicide = false;
        match exec {
            Some(Exec { steps, backend, reply: server_reply }) => {
                let answers = parts.into_iter().map(|(_, answer)| answer).collect();
                self.end_own_steps(id, steps, (backend, &server_reply), answers, &mut reply, now);
            }
            None => {
                for (question, answer) in parts {
                    if let Question::Clients(Ask::Unblock { .. }) = question {
                        self.reading.reply = reply;
                        return self.unblock(id, request, question, answer, now);
                    }
                    is_suicide |= self.answer_about_pool(id, question, answer, now, &mut reply);
                }
            }
        }
        self.deliver(id, request, &reply, now);
        self.maybe_pause(id);
        if is_suicide {
            self.leave(id);
        }
        self.spare_reply(reply);
    }
}
