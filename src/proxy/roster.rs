//! What one client can learn of the whole pool, and do to it: INFO, CLIENT LIST, CLIENT KILL and CLIENT UNBLOCK.
//!
//! The proxies of a pool have all the clients, each some of them; what is asked for and how it is written is
//! `local::roster`'s business. This one's part of an answer is made here (`own_part`), for its own clients and for
//! those of the others; and the sum of all parts becomes a reply (`answer_about_pool`). How the parts come together, if
//! there is more than one, is `inquiry`'s business.
//!
//! The clients are listed in the order of their numbers, which is that in which they connected to their proxy. A client
//! that is killed is closed at once, whatever it waits for, as when its socket breaks; the one that asks gets its reply
//! first.
//!
//! The work is in proportion to the number of clients: with ten thousand of them a CLIENT LIST makes 3 MB, once. So a
//! turn does a bounded part of it, and who asks for more waits for the next turn, in order (`Flow::Deferred`).

use std::collections::BinaryHeap;

use super::inquiry::{Answer, Question};
use super::routing::UNSUPPORTED;
use super::{Goodbye, Proxy, Wire};
use crate::client::{Client, Flow};
use crate::command::{self, Command, Name};
use crate::local::info::{self, Facts};
use crate::local::roster::{self, Ask, ClientFacts, ClientMemory, Filter, Lines};
use crate::reply;
use crate::resp::Arg;
use crate::slots::Id;
use crate::stats::Figures;
use crate::timer::Millis;

/// To look at one client, beside `TURN_WORK_MAX`.
const WORK_OF_LOOK: usize = 32;
/// To write the line of one, or what is known of one server.
const WORK_OF_LINE: usize = 512;
/// To close one.
const WORK_OF_CLOSE: usize = 4096;

impl Proxy {
    /// Whether a request about the whole pool waits for the next turn, because this one has done its share of such work
    /// or others wait.
    pub(super) fn defers(&mut self, id: Id) -> bool {
        if self.turn.has_work_left() && self.clients.deferred.front().is_none_or(|&first| first == id) {
            return false;
        }
        if let Some(client) = self.clients.get_mut(id) {
            client.flow = Flow::Deferred;
            self.clients.deferred.push_back(id);
        }
        true
    }

    /// Gives those their turn who were deferred, in order; the one that is served stands at the front.
    #[cold]
    pub(super) fn serve_deferred<W: Wire>(&mut self, now: Millis, wire: &mut W) {
        while self.turn.has_work_left() {
            let Some(&id) = self.clients.deferred.front() else { return };
            if let Some(client) = self.clients.get_mut(id).filter(|client| client.flow == Flow::Deferred) {
                client.flow = Flow::Open;
                self.resume_client(id, now, wire);
            }
            self.clients.deferred.pop_front();
        }
    }

    pub(super) fn count_work(&mut self, work: usize) {
        self.turn.use_up(work);
    }

    /// Answers a request that is about the whole pool, at once or when the others of it have answered.
    pub(super) fn on_pool_request(
        &mut self,
        id: Id,
        what: command::Session,
        request: &[u8],
        args: &[Arg],
        now: Millis,
    ) {
        let mut out = std::mem::take(&mut self.reading.reply);
        let mut is_suicide = false;
        match self.question(what, request, args, &mut out) {
            Some(question) if !self.settings.siblings.is_alone() => self.inquire(id, question),
            Some(question @ Question::Clients(Ask::Unblock { .. })) => {
                if let Some(request) = self.keep_place(id) {
                    self.unblock(id, request, &question, Answer::of_nobody(&question), now);
                }
            }
            question => {
                if let Some(question) = question {
                    let nobody = Answer::of_nobody(&question);
                    is_suicide = self.answer_about_pool(id, &question, nobody, now, &mut out);
                }
                self.reply_here(id, &out);
            }
        }
        self.spare_reply(out);
        if is_suicide {
            self.leave(id);
        }
    }

    /// What it asks. `None` when it is wrong, and the error is appended to `out`.
    pub(super) fn question(
        &self,
        what: command::Session,
        request: &[u8],
        args: &[Arg],
        out: &mut Vec<u8>,
    ) -> Option<Question> {
        match what {
            command::Session::Info => Some(Question::Figures),
            _ => roster::read(request, args, &self.settings.users, out).map(Question::Clients),
        }
    }

    /// What this proxy has to say, and to do. `asker` is the client that asks, if it is one of its own.
    pub(super) fn own_part(&mut self, question: &Question, asker: Id, now: Millis) -> Answer {
        match question {
            Question::Figures => {
                self.count_work(
                    WORK_OF_LINE * (1 + self.router.servers().len()) + WORK_OF_LOOK * self.upstreams.backends_len(),
                );
                Answer::Figures(Figures { stats: self.journal.stats, servers: self.upstreams.figures() })
            }
            Question::Clients(Ask::List(filter)) => {
                let selected = self.selected(filter, asker, now);
                self.count_work(WORK_OF_LINE * selected.len());
                // A heap sorts them, because the standard library's own sorting is 7 kB of code for each type.
                let numbered = selected.into_iter().map(|id| (id.generation(), id));
                let mut lines = Lines::default();
                for (_, id) in numbered.collect::<BinaryHeap<_>>().into_sorted_vec() {
                    let Some(client) = self.clients.get(id) else { continue };
                    let own = Some(Name::new("client", "list")).filter(|_| id == asker);
                    let command = own.or_else(|| client.command.map(Command::full_name));
                    lines.push(&self.client_facts(id, client, command, now));
                }
                Answer::Lines(lines)
            }
            Question::Clients(Ask::Kill(filter) | Ask::KillAddress(filter)) => {
                let selected = self.selected(filter, asker, now);
                self.count_work(WORK_OF_CLOSE * selected.len());
                for &id in selected.iter().filter(|id| **id != asker) {
                    self.close_client(id, Goodbye::Killed);
                }
                Answer::Killed { clients: selected.len(), is_asker_among: selected.contains(&asker) }
            }
            Question::Clients(Ask::Unblock { id, .. }) => {
                self.count_work(WORK_OF_LOOK * self.clients.len());
                Answer::Blocked(self.find_blocked(*id))
            }
        }
    }

    /// Adds this proxy's part to those of the others, and appends the reply to `out`. True if the client that asks has
    /// killed itself.
    pub(super) fn answer_about_pool(
        &mut self,
        id: Id,
        question: &Question,
        mut answer: Answer,
        now: Millis,
        out: &mut Vec<u8>,
    ) -> bool {
        answer.add(self.own_part(question, id, now));
        let protocol = self.clients.get(id).map(|client| client.session.profile.protocol).unwrap_or_default();
        match answer {
            Answer::Figures(figures) => {
                let facts = Facts {
                    process_id: self.settings.process_id,
                    run: self.settings.run(),
                    listen: &self.settings.listen,
                    uptime_ms: now - self.journal.started,
                    introduction: self.upstreams.introduction(),
                    connected_clients: self.settings.siblings.clients(),
                    addresses: &self.settings.servers,
                    figures: &figures,
                };
                info::answer(protocol, &facts, out);
                false
            }
            Answer::Lines(lines) => {
                reply::verbatim(out, protocol, lines.text());
                false
            }
            Answer::Killed { clients, is_asker_among } => {
                match question {
                    Question::Clients(Ask::KillAddress(_)) if clients == 0 => {
                        out.extend_from_slice(b"-ERR No such client\r\n");
                    }
                    Question::Clients(Ask::KillAddress(_)) => reply::ok(out),
                    _ => reply::integer(out, clients as i64),
                }
                is_asker_among
            }
            Answer::Blocked(_) => {
                // It is a server that does it, over another connection (`unblock`): not within a transaction.
                out.extend_from_slice(UNSUPPORTED);
                false
            }
        }
    }

    /// Those of its own clients whom a filter selects.
    fn selected(&mut self, filter: &Filter, asker: Id, now: Millis) -> Vec<Id> {
        self.count_work(WORK_OF_LOOK * self.clients.len());
        let own = if asker == Id::NONE { 0 } else { self.settings.siblings.client_number(asker) };
        let is_open = |client: &Client| client.flow != Flow::Closed;
        let is_selected = |id: Id, client: &Client| {
            filter.names(self.settings.siblings.client_number(id))
                && filter.selects(&self.client_facts(id, client, None, now), own)
        };
        let selected = self.clients.iter().filter(|(id, client)| is_open(client) && is_selected(*id, client));
        selected.map(|(id, _)| id).collect()
    }

    fn client_facts<'a>(&'a self, id: Id, client: &'a Client, command: Option<Name>, now: Millis) -> ClientFacts<'a> {
        ClientFacts {
            id: self.settings.siblings.client_number(id),
            peer: client.peer.as_deref(),
            listen: &self.settings.listen,
            age_ms: now - client.since,
            idle_ms: now - client.heard_at,
            session: &client.session,
            user: self.settings.users.name(client.session.user),
            heard: client.subscriber.as_ref().map_or([0; 3], |subscriber| subscriber.counts()),
            is_blocked: matches!(client.flow, Flow::BlockedOnCommand { .. }),
            queued: client.transaction.as_ref().filter(|transaction| transaction.is_multi).map(|own| own.queued()),
            memory: memory_of(client),
            is_unwritable: client.is_write_blocked,
            command,
        }
    }
}

/// What a client takes of rmux's memory.
pub(super) fn memory_of(client: &Client) -> ClientMemory {
    let (kept, kept_free) = client.kept.as_ref().map_or((0, 0), |kept| {
        let bytes = &kept.bytes;
        (bytes.len(), bytes.capacity() - bytes.len())
    });
    let steps = client.transaction.as_ref().map_or(0, |transaction| transaction.held_bytes());
    ClientMemory { kept, kept_free, steps, unsent: client.replies.unsent(), early: client.early_bytes }
}
