//! What one client can learn of the whole pool, and do to it: INFO, CLIENT LIST, CLIENT KILL and CLIENT UNBLOCK; RMUX.
//!
//! The proxies of a pool have all the clients, each some of them; what is asked for and how it is written is
//! `local::roster`'s business. This one's part of an answer is made here (`own_part`), for its own clients and for
//! those of the others; and the sum of all parts becomes a reply (`answer_about_pool`). How the parts come together, if
//! there is more than one, is `worker_query`'s business.
//!
//! The clients are listed in the order of their numbers, which is that in which they connected to their proxy. A client
//! that is killed is closed at once, whatever it waits for, as when its socket breaks; the one that asks gets its reply
//! first.
//!
//! The work is in proportion to the number of clients: with ten thousand of them a CLIENT LIST makes 3 MB, once. So a
//! turn does a bounded part of it, and who asks for more waits for the next turn, in order (`Flow::Deferred`).

use std::collections::BinaryHeap;
use std::mem;

use super::client_close_reason::ClientCloseReason;
use super::clients::Clients;
use super::refusals::UNSUPPORTED;
use super::settings::Settings;
use super::state::Proxy;
use super::turn::Turn;
use super::worker_queries::{Answer, Question};
use super::{close, figures, leases, mark, rmux_command};
use crate::client::{Client, Flow};
use crate::command::{self, Command, Name};
use crate::local::info::{self, Facts};
use crate::local::roster::{self, Ask, ClientFacts, ClientMemory, Filter, Lines};
use crate::local::servers_info::ServersInfo;
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

/// Whether a request about the whole pool waits for the next turn, because this one has done its share of such work
/// or others wait.
pub(super) fn defers(clients: &mut Clients, turn: &Turn, id: Id) -> bool {
    if turn.has_work_left() && clients.first_deferred().is_none_or(|first| first == id) {
        return false;
    }
    clients.defer(id);
    true
}

/// What it asks. `None` when it is wrong, and the error is appended to `out`.
pub(super) fn question(
    settings: &Settings,
    what: command::Session,
    request: &[u8],
    args: &[Arg],
    out: &mut Vec<u8>,
) -> Option<Question> {
    match what {
        command::Session::Info => Some(Question::Figures(request.into())),
        command::Session::Rmux(what) => rmux_command::question(what, request, args, out),
        _ => roster::read(request, args, &settings.users, out).map(Question::Clients),
    }
}

/// What this proxy has to say, and to do. `asker` is the client that asks, if it is one of its own.
pub(super) fn own_part(proxy: &mut Proxy, question: &Question, asker: Id, now: Millis) -> Answer {
    match question {
        Question::Figures(_) | Question::Rmux(_) => {
            mark::count_work(
                &mut proxy.turn,
                WORK_OF_LINE * (1 + proxy.router.servers().len()) + WORK_OF_LOOK * proxy.upstreams.backends_len(),
            );
            Answer::Figures(Box::new(figures::figures(proxy, now)))
        }
        Question::Slowlog(ask) => {
            let count = proxy.journal.slow_log.len();
            mark::count_work(&mut proxy.turn, WORK_OF_LINE + WORK_OF_LOOK * count);
            rmux_command::own_slow_entries(&proxy.settings, &mut proxy.journal.slow_log, *ask)
        }
        Question::Clients(Ask::List(filter)) => {
            let selected = selected(proxy, filter, asker, now);
            mark::count_work(&mut proxy.turn, WORK_OF_LINE * selected.len());
            // A heap sorts them, because the standard library's own sorting is 7 kB of code for each type.
            let numbered = selected.into_iter().map(|id| (id.generation(), id));
            let mut lines = Lines::default();
            for (_, id) in numbered.collect::<BinaryHeap<_>>().into_sorted_vec() {
                let Some(client) = proxy.clients.get(id) else { continue };
                let own = Some(Name::new("client", "list")).filter(|_| id == asker);
                let command = own.or_else(|| client.command().map(Command::full_name));
                lines.push(&client_facts(proxy, id, client, command, now));
            }
            Answer::Lines(lines)
        }
        Question::Clients(Ask::Kill(filter) | Ask::KillAddress(filter)) => {
            let selected = selected(proxy, filter, asker, now);
            mark::count_work(&mut proxy.turn, WORK_OF_CLOSE * selected.len());
            for &id in selected.iter().filter(|id| **id != asker) {
                close::close_client(proxy, id, ClientCloseReason::Killed);
            }
            Answer::Killed { clients: selected.len(), is_asker_among: selected.contains(&asker) }
        }
        Question::Clients(Ask::Unblock { id, .. }) => {
            mark::count_work(&mut proxy.turn, WORK_OF_LOOK * proxy.clients.len());
            Answer::Blocked(leases::find_blocked(proxy, *id))
        }
    }
}

/// Adds this proxy's part to those of the others, and appends the reply to `out`. True if the client that asks has
/// killed itself.
pub(super) fn answer_about_pool(
    proxy: &mut Proxy,
    id: Id,
    question: &Question,
    answer: Answer,
    now: Millis,
    out: &mut Vec<u8>,
) -> bool {
    let answer = with_own_part(proxy, id, question, answer, now);
    let protocol = proxy.clients.get(id).map(|client| client.protocol()).unwrap_or_default();
    match answer {
        Answer::Figures(figures) => {
            match question {
                Question::Rmux(what) => {
                    rmux_command::write_figures(&proxy.settings, *what, protocol, &figures, out);
                }
                _ => write_info(proxy, id, &figures, &ServersInfo::default(), now, out),
            }
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
        Answer::Slow(entries, count) => {
            rmux_command::write_slow_entries(&proxy.settings, question, &entries, count, out);
            false
        }
        Answer::Blocked(_) => {
            // It is a server that does it, over another connection (`unblock`): not within a transaction.
            out.extend_from_slice(UNSUPPORTED);
            false
        }
    }
}

/// This proxy's part of an answer, and those of the others, together.
pub(super) fn with_own_part(proxy: &mut Proxy, id: Id, question: &Question, mut answer: Answer, now: Millis) -> Answer {
    let mut own = own_part(proxy, question, id, now);
    if let Answer::Figures(_) = own {
        // The order of the servers is this worker's, whatever settings the others are at.
        mem::swap(&mut own, &mut answer);
    }
    answer.add(own);
    answer
}

/// The reply to an INFO: what rmux tells, and what the servers have told.
pub(super) fn write_info(
    proxy: &Proxy,
    id: Id,
    figures: &Figures,
    servers_info: &ServersInfo,
    now: Millis,
    out: &mut Vec<u8>,
) {
    let protocol = proxy.clients.get(id).map(|client| client.protocol()).unwrap_or_default();
    let facts = Facts {
        process_id: proxy.settings.process_id,
        run: proxy.settings.run(),
        listen: &proxy.settings.listen,
        is_node: proxy.settings.cluster_announce.is_some(),
        uptime_ms: now - proxy.journal.started,
        introduction: proxy.upstreams.introduction(),
        connected_clients: proxy.settings.workers.clients(),
        addresses: &proxy.settings.servers,
        figures,
        servers_info,
    };
    info::answer(protocol, &facts, out);
}

/// Those of its own clients whom a filter selects.
fn selected(proxy: &mut Proxy, filter: &Filter, asker: Id, now: Millis) -> Vec<Id> {
    mark::count_work(&mut proxy.turn, WORK_OF_LOOK * proxy.clients.len());
    let own = if asker == Id::NONE { 0 } else { proxy.settings.workers.client_number(asker) };
    let is_open = |client: &Client| !client.is_closed();
    let is_selected = |id: Id, client: &Client| {
        filter.names(proxy.settings.workers.client_number(id))
            && filter.selects(&client_facts(proxy, id, client, None, now), own)
    };
    let selected = proxy.clients.iter().filter(|(id, client)| is_open(client) && is_selected(*id, client));
    selected.map(|(id, _)| id).collect()
}

fn client_facts<'a>(
    proxy: &'a Proxy,
    id: Id,
    client: &'a Client,
    command: Option<Name>,
    now: Millis,
) -> ClientFacts<'a> {
    ClientFacts {
        id: proxy.settings.workers.client_number(id),
        peer: client.connection().peer(),
        listen: &proxy.settings.listen,
        age_ms: client.connection().age_ms(now),
        idle_ms: now - client.connection().heard_at(),
        session: client.session(),
        user: proxy.settings.users.name(client.session().user),
        heard: client.heard(),
        is_blocked: matches!(client.flow(), Flow::BlockedOnCommand { .. }),
        queued: client.transaction().filter(|transaction| transaction.is_multi()).map(|own| own.queued()),
        memory: memory_of(client),
        is_unwritable: client.connection().is_write_blocked(),
        command,
    }
}

/// What a client takes of rmux's memory.
pub(super) fn memory_of(client: &Client) -> ClientMemory {
    let (kept, kept_free) = client.kept().map_or((0, 0), |kept| {
        let len = kept.bytes().len();
        (len, kept.capacity() - len)
    });
    let steps = client.transaction().map_or(0, |transaction| transaction.held_bytes());
    ClientMemory { kept, kept_free, steps, unsent: client.replies().unsent(), early: client.replies().early_bytes() }
}
