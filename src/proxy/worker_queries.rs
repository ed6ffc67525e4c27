//! Questions about the whole pool, while its clients and figures lie with several proxies: INFO, CLIENT LIST, CLIENT
//! KILL, CLIENT UNBLOCK, RMUX. (What is asked of each, and what one alone answers, is `roster`'s business.)
//!
//! The worker whose client asks is the one that asks all others of its pool, by messages which the shell carries.
//! Each of those answers for itself, at once, and asks nobody. When the last answer has come, the first one adds its
//! own, of that moment, and the client has its reply.
//!
//! ```text
//!   client 7: INFO ──┐ waiting                       ┌─► WorkerMessage::Questions ─► another proxy ─┐
//!   client 9: LIST ──┴────────► round: INFO, LIST ───┴─► WorkerMessage::Questions ─► another proxy ─┤
//!                    replies ◄── own part + answers ◄────────────── WorkerMessage::Answers ◄────────┘
//! ```
//!
//! A client that asks is not listened to until it has its reply (`Flow::Asking`): what it sends behind finds done what
//! it asked for. Its request keeps the place of the reply, as any other. If it leaves, its question is withdrawn, or
//! the answers come to nobody. A proxy that has ended, and has no clients any more, counts as one that has answered.
//!
//! Bounded: one round is under way at a time, with questions of [`QUESTIONS_MAX`] or those of one transaction, and who
//! asks meanwhile waits for the next one; so no more than two messages from one proxy to another are under way: its own
//! questions, and its answers to the other's. Each is dealt with in one turn, and nobody waits for anything else.
//!
//! Invariants: a client is `Asking` exactly while it stands in one query, of those that wait or of the round; `round`
//! is `None` only while the shell is about to ask for messages, or nobody waits.

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use crate::client::LocalStep;
use crate::command::Rmux;
use crate::local::roster::{Ask, Lines};
use crate::request::RequestId;
use crate::slots::Id;
use crate::slow_log::{self, SlowAsk, SlowEntries};
use crate::stats::Figures;

/// The weight of the questions in one round; one that has more, or a transaction, has a round for itself.
const QUESTIONS_MAX: usize = 16;

/// What one proxy of a pool tells another.
#[derive(Debug)]
pub enum WorkerMessage {
    /// The questions of a round.
    Questions(Arc<[Question]>),
    /// One answer for each of them, in their order.
    Answers(Vec<Answer>),
}

/// Something that every proxy of a pool has a part of.
#[derive(Debug, PartialEq, Eq)]
pub enum Question {
    /// What they have done, and how their servers are: for an INFO, whose bytes these are.
    Figures(Box<[u8]>),
    /// Their clients.
    Clients(Ask),
    /// The same, for `RMUX`, which tells another part of them.
    Rmux(Rmux),
    /// Their slow logs.
    Slowlog(SlowAsk),
}

impl Question {
    /// What it costs to answer it: as many as a round may have are as much as one list of all clients.
    fn weight(&self) -> usize {
        match self {
            Question::Clients(Ask::List(_)) => QUESTIONS_MAX,
            Question::Clients(_) => QUESTIONS_MAX / 4,
            Question::Slowlog(SlowAsk::Get(_)) => QUESTIONS_MAX / 4,
            Question::Figures(_) | Question::Rmux(_) | Question::Slowlog(_) => 1,
        }
    }
}

/// One proxy's part, or those of several together.
#[derive(Debug)]
pub enum Answer {
    /// To [`Question::Figures`].
    Figures(Box<Figures>),
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
    /// Of the slow logs: the entries that were asked for, the newest first, and how many there are.
    Slow(SlowEntries, usize),
}

/// A connection to a server on which a client waits for data.
#[derive(Debug, Clone)]
pub struct Blocked {
    /// The address of the server: each worker has names of its own for them.
    pub server: String,
    /// That server's own number for the connection.
    pub number: i64,
}

impl Answer {
    /// That of no proxy.
    pub(super) fn of_nobody(question: &Question) -> Answer {
        match question {
            Question::Figures(_) | Question::Rmux(_) => Answer::Figures(Box::default()),
            Question::Slowlog(_) => Answer::Slow(Vec::new(), 0),
            Question::Clients(Ask::List(_)) => Answer::Lines(Lines::default()),
            Question::Clients(Ask::Kill(_) | Ask::KillAddress(_)) => {
                Answer::Killed { clients: 0, is_asker_among: false }
            }
            Question::Clients(Ask::Unblock { .. }) => Answer::Blocked(None),
        }
    }

    /// The memory that it takes, in bytes; about as much as it is.
    pub(super) fn held(&self) -> usize {
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
            (Answer::Blocked(found), Answer::Blocked(other)) => *found = found.take().or(other),
            (Answer::Slow(entries, count), Answer::Slow(others, more)) => {
                *entries = slow_log::merged(mem::take(entries), others);
                *count += more;
            }
            _ => debug_assert!(false, "an answer to another question"),
        }
    }
}

/// A client that asks.
#[derive(Debug)]
pub(super) struct WorkerQuery {
    pub(super) client: Id,
    /// Keeps the place of the reply.
    pub(super) request: RequestId,
    /// Empty as soon as they are asked.
    pub(super) questions: Vec<Question>,
    /// For an `EXEC` alone, whose steps ask.
    pub(super) exec: Option<Exec>,
}

impl WorkerQuery {
    /// The memory that it takes, in bytes.
    pub(super) fn held(&self) -> usize {
        let exec = self.exec.as_ref().map_or(0, |exec| LocalStep::held_by(&exec.steps) + exec.reply.capacity());
        size_of::<WorkerQuery>() + exec
    }
}

/// An `EXEC` that its server has answered, and some of whose steps ask about the pool.
#[derive(Debug)]
pub(super) struct Exec {
    pub(super) steps: Vec<LocalStep>,
    pub(super) backend: Id,
    pub(super) reply: Vec<u8>,
}

/// Questions that are under way to the other proxies.
#[derive(Debug)]
pub(super) struct Round {
    /// Who asks, and how many of the questions.
    pub(super) queries: Vec<(WorkerQuery, usize)>,
    pub(super) questions: Arc<[Question]>,
    /// The answers so far, together; one for each question.
    pub(super) answers: Vec<Answer>,
    /// The numbers of the proxies that have not answered.
    pub(super) awaited: Vec<usize>,
}

/// All that is asked, and not answered yet.
#[derive(Debug, Default)]
pub(super) struct WorkerQueries {
    pub(super) waiting: VecDeque<WorkerQuery>,
    pub(super) round: Option<Round>,
    /// Letters that the shell has not taken yet, and to whom.
    pub(super) messages: VecDeque<(usize, WorkerMessage)>,
    /// Bytes that the account has for the answers so far, and for who waits.
    pub(super) charged: usize,
}

impl WorkerQueries {
    /// A client is gone: if its questions are not asked yet, they never are.
    pub fn withdraw(&mut self, client: Id) {
        self.waiting.retain(|query| query.client != client);
    }

    /// The memory that all of them take, and the answers so far, in bytes.
    pub fn held(&self) -> usize {
        let round = self.round.iter().flat_map(|round| {
            let answers = round.answers.iter().map(Answer::held);
            round.queries.iter().map(|(query, _)| query.held()).chain(answers)
        });
        self.waiting.iter().map(WorkerQuery::held).chain(round).sum()
    }

    /// True exactly when nothing is asked and no message waits for the shell.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.round.is_none() && self.messages.is_empty()
    }

    /// In how many queries a client stands.
    pub fn count_of(&self, client: Id) -> usize {
        let asked = self.round.iter().flat_map(|round| round.queries.iter().map(|(query, _)| query));
        self.waiting.iter().chain(asked).filter(|query| query.client == client).count()
    }

    /// The next round, if none is under way and somebody waits for one.
    pub(super) fn next_round(&mut self, others: impl Iterator<Item = usize>) -> Option<&Round> {
        if self.round.is_some() {
            return None;
        }
        let mut questions = Vec::new();
        let mut queries = Vec::new();
        let mut weight = 0;
        while let Some(query) = self.waiting.front_mut() {
            weight += query.questions.iter().map(Question::weight).sum::<usize>();
            if !questions.is_empty() && weight > QUESTIONS_MAX {
                break;
            }
            let count = query.questions.len();
            questions.append(&mut query.questions);
            queries.extend(self.waiting.pop_front().map(|query| (query, count)));
        }
        if questions.is_empty() {
            return None;
        }
        let answers = questions.iter().map(Answer::of_nobody).collect();
        Some(self.round.insert(Round { queries, questions: questions.into(), answers, awaited: others.collect() }))
    }

    /// A proxy has answered, or will not any more. The round, if it was the last one.
    pub(super) fn on_answers(&mut self, from: usize, answers: Vec<Answer>) -> Option<Round> {
        let round = self.round.as_mut()?;
        let place = round.awaited.iter().position(|&number| number == from)?;
        round.awaited.swap_remove(place);
        round.answers.iter_mut().zip(answers).for_each(|(sum, answer)| sum.add(answer));
        self.round.take_if(|round| round.awaited.is_empty())
    }
}
