//! What one client can learn of the others, and do to them: CLIENT LIST and CLIENT KILL.
//!
//! The proxy alone has all the clients; what is asked for and how it is written is `local::roster`'s business. The
//! clients are those of this proxy, in the order in which they connected. A client that is killed is closed at once,
//! whatever it waits for, as when its socket breaks; the one that asks gets its reply first.
//!
//! The work is in proportion to the number of clients: with ten thousand of them a CLIENT LIST makes 3 MB, once.

use std::collections::BinaryHeap;

use super::{Goodbye, Proxy};
use crate::client::{Client, Flow};
use crate::local::reply;
use crate::local::roster::{self, Ask, ClientFacts, Filter};
use crate::resp::Arg;
use crate::slots::Id;
use crate::timer::Millis;

impl Proxy {
    /// Answers a request that is about the clients.
    pub(super) fn on_roster(&mut self, id: Id, request: &[u8], args: &[Arg], now: Millis) {
        let mut out = std::mem::take(&mut self.reply);
        let is_suicide = self.answer_roster(id, request, args, now, &mut out);
        self.reply_here(id, &out);
        out.clear();
        self.reply = out;
        if is_suicide {
            self.leave(id);
        }
    }

    /// The same, but the reply is appended to `out`. True if the client that asks has killed itself.
    pub(super) fn answer_roster(
        &mut self,
        id: Id,
        request: &[u8],
        args: &[Arg],
        now: Millis,
        out: &mut Vec<u8>,
    ) -> bool {
        let ask = roster::read(request, args, &self.settings.users, out);
        let mut is_suicide = false;
        match ask {
            None => {}
            Some(Ask::List(filter)) => {
                let mut text = String::new();
                for other in self.selected(&filter, id, now) {
                    if let Some(client) = self.clients.get(other) {
                        let command = if other == id { "client|list" } else { "NULL" };
                        roster::write_line(&mut text, &self.client_facts(other, client, command, now));
                    }
                }
                let protocol = self.clients.get(id).map(|client| client.session.profile.protocol).unwrap_or_default();
                reply::verbatim(out, protocol, &text);
            }
            Some(Ask::Kill(filter)) => {
                let selected = self.selected(&filter, id, now);
                is_suicide = self.kill(&selected, id);
                reply::integer(out, selected.len() as i64);
            }
            Some(Ask::KillAddress(filter)) => {
                let selected = self.selected(&filter, id, now);
                is_suicide = self.kill(&selected, id);
                match selected.is_empty() {
                    true => out.extend_from_slice(b"-ERR No such client\r\n"),
                    false => reply::ok(out),
                }
            }
        }
        is_suicide
    }

    /// Those whom a filter selects, the oldest first.
    fn selected(&self, filter: &Filter<'_>, own: Id, now: Millis) -> Vec<Id> {
        let own = self.settings.siblings.client_number(own);
        let is_open = |client: &Client| client.flow != Flow::Closed;
        let is_selected = |id: Id, client: &Client| filter.selects(&self.client_facts(id, client, "NULL", now), own);
        // A heap sorts them, because the standard library's own sorting is 7 kB of code for each type.
        let ids: BinaryHeap<(u32, Id)> = (self.clients.iter())
            .filter(|(id, client)| is_open(client) && is_selected(*id, client))
            .map(|(id, _)| (id.generation(), id))
            .collect();
        ids.into_sorted_vec().into_iter().map(|(_, id)| id).collect()
    }

    /// Closes all of them but the one that asks. True if that one is among them.
    fn kill(&mut self, ids: &[Id], own: Id) -> bool {
        for &id in ids.iter().filter(|id| **id != own) {
            self.close_client(id, Goodbye::Killed);
        }
        ids.contains(&own)
    }

    fn client_facts<'a>(&'a self, id: Id, client: &'a Client, command: &'static str, now: Millis) -> ClientFacts<'a> {
        ClientFacts {
            id: self.settings.siblings.client_number(id),
            peer: client.peer.as_deref(),
            listen: &self.settings.listen,
            age_ms: now - client.since,
            idle_ms: now - client.heard_at,
            session: &client.session,
            user: self.settings.users.name(client.session.user),
            heard: client.subscriber.as_ref().map_or([0; 3], |subscriber| subscriber.counts()),
            is_blocked: matches!(client.flow, Flow::Blocked { .. }),
            is_in_multi: client.transaction.as_ref().is_some_and(|transaction| transaction.is_multi),
            command,
        }
    }
}
