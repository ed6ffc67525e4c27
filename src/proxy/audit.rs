//! Whether the proxy is in order: its invariants, checked from one end to the other.
//!
//! For tests. It looks at everything and changes nothing; it holds between two turns, when all actions are carried out.
//!
//! ```text
//!   requests ◄─► the lines of clients, the lines of backends     early replies ◄─► requests
//!   the account of memory ◄─► all that is held
//!   affinities ◄─► who stands where     pools ◄─► backends     waiting ◄─► parked     queues: answered <= sent <= end
//! ```

use std::collections::{HashMap, HashSet};

use super::interface::{LARGE, NO_DEADLINE};
use super::merging::Merging;
use super::relocations::Stage;
use super::state::Proxy;
use super::unqueued::Step;
use super::{bulk, delivery, publish};
use crate::backend::Backend;
use crate::buffer::Scratch;
use crate::client::{Client, Flow, Need, Transaction};
use crate::request::{Place, RequestId, Role};
use crate::server_id::ServerId;
use crate::slots::Id;

/// An error with this text, unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($text:tt)*) => {
        if !$condition {
            return Err(format!($($text)*));
        }
    };
}

impl Proxy {
    /// How many requests are outstanding: sent, or queued to be sent, or answered before their turn.
    pub fn outstanding(&self) -> usize {
        self.in_flight.requests.len()
    }

    /// How many timers are set.
    pub fn timers(&self) -> usize {
        self.wheel.len()
    }

    /// Bytes of what is remembered without anybody waiting for it: scripts.
    pub fn remembered_bytes(&self) -> usize {
        self.scripts.held()
    }

    /// True exactly when every server can be given requests.
    pub fn is_all_up(&self) -> bool {
        self.upstreams.is_all_up() && self.router.is_all_up()
    }

    /// Checks all invariants.
    ///
    /// # Errors
    ///
    /// The first one that does not hold, in words.
    pub fn check(&self) -> Result<(), String> {
        // Where each request stands.
        let mut at: HashMap<RequestId, Id> = HashMap::new();
        for (id, backend) in self.upstreams.backends() {
            self.check_backend(id, backend)?;
            for request in backend.in_flight().iter(&self.in_flight.requests) {
                ensure!(at.insert(request, id).is_none(), "request {request} stands in two lines");
            }
        }
        let mut owned = HashSet::new();
        let mut early = 0;
        for (id, client) in self.clients.iter() {
            early += self.check_client(id, client, &at, &mut owned)?;
        }
        let parents = self.in_flight.requests.iter().filter(|(_, entry)| matches!(entry.place(), Place::Merging(_)));
        ensure!(parents.count() == self.in_flight.merges.len(), "there are parts without a request");
        ensure!(
            early == self.in_flight.early.len(),
            "{} early replies are kept for {early} requests",
            self.in_flight.early.len()
        );
        for (request, entry) in self.in_flight.requests.iter() {
            let request = request as RequestId;
            ensure!(entry.is_at_backend() == at.contains_key(&request), "request {request} stands where it does not");
            ensure!((entry.client() != Id::NONE) == owned.contains(&request), "request {request} has lost its client");
            ensure!(entry.is_at_backend() || entry.client() != Id::NONE, "request {request} is nobody's");
        }
        self.check_held()?;
        self.check_redirected()?;
        self.check_relocations()?;
        self.check_account()?;
        let mut parked = 0;
        for server in self.upstreams.servers() {
            parked += self.check_pool(server)?;
        }
        // A server has two: for its next probe, and for the connection that hears its messages, or, a replica, for the
        // next question to it. One that is retired, or was, has more, until they are over.
        // And one more while it moves; and one each for passwords that have changed, and for what waits for a master.
        let timers_max = self.clients.len() + self.upstreams.backends_len() + 3 * self.upstreams.slots() + 4;
        let timers_max = timers_max + 3 * self.router.changes() as usize * self.upstreams.slots();
        ensure!(self.wheel.len() <= timers_max, "{} timers are set, for {timers_max} at the most", self.wheel.len());
        let listed = self.clients.iter().filter(|(_, client)| client.connection().is_listed()).count();
        let known = self.pubsub.unsent.iter().filter(|id| self.clients.get(**id).is_some()).count();
        ensure!(listed == known, "{listed} subscribers have messages to be sent, and {known} are known");
        let pending = self.pubsub.connections.iter().filter(|connection| connection.delivery.is_pending).count();
        let is_left = delivery::has_left_work(&self.clients, &self.pubsub);
        ensure!(is_left == self.turn.is_rationed(), "something waits for the next turn, or not: {is_left}");
        ensure!(pending == self.pubsub.pending, "{pending} messages are under way, and not {}", self.pubsub.pending);
        ensure!(parked == self.clients.parked(), "{} clients are parked, and {parked} wait", self.clients.parked());
        Ok(())
    }

    /// What waits for a master is in no backend's line, and its client is read no further.
    fn check_held(&self) -> Result<(), String> {
        let mut count = 0;
        for line in self.held.lines() {
            let Some(client) = self.clients.get(line.client).filter(|client| !client.is_closed()) else { continue };
            ensure!(client.is_held(), "client {} is read on, and something of it is held", line.client);
            let first = line.requests.front().ok_or_else(|| format!("client {} has a line of nothing", line.client))?;
            ensure!(first.refusal.is_some(), "a line of client {} begins with a read that has a reply", line.client);
            for held in &line.requests {
                let entry = self.in_flight.requests.get(held.request).ok_or("a held request is gone")?;
                ensure!(entry.client() == line.client, "request {} is held for another client", held.request);
                ensure!(!entry.is_at_backend(), "request {} is held, and sent", held.request);
                let is_answered = matches!(entry.place(), Place::Early(_));
                ensure!(
                    is_answered == held.refusal.is_none(),
                    "request {} is held, and stands elsewhere",
                    held.request
                );
            }
            count += line.requests.len();
        }
        ensure!(count <= self.held.count(), "{count} requests are held, and not {}", self.held.count());
        Ok(())
    }

    /// What waits for a node of a cluster is in no backend's line, and its client is read no further.
    fn check_redirected(&self) -> Result<(), String> {
        for id in self.redirected.clients() {
            let Some(client) = self.clients.get(id).filter(|client| !client.is_closed()) else { continue };
            let Some(line) = self.redirected.line(id) else { continue };
            ensure!(client.is_held(), "client {id} is read on, and something of it is redirected");
            for waiting in line.waiting() {
                let entry = self.in_flight.requests.get(waiting.request).ok_or("a redirected request is gone")?;
                ensure!(entry.client() == id, "request {} is redirected for another client", waiting.request);
                ensure!(!entry.is_at_backend(), "request {} is redirected, and sent", waiting.request);
                ensure!(entry.place().early().is_none(), "request {} waits, and is answered", waiting.request);
                self.check_steps(id, &waiting.steps)?;
            }
        }
        for (backend, unqueued) in self.redirected.unqueued.iter() {
            let entry = self.upstreams.backend(backend).ok_or("a transaction was not queued on no connection")?;
            let mut line = entry.in_flight().iter(&self.in_flight.requests);
            ensure!(line.any(|one| one == unqueued.last), "backend {backend} has answered request {}", unqueued.last);
            if self.clients.get(unqueued.client).is_some_and(|client| !client.is_closed()) {
                self.check_steps(unqueued.client, &unqueued.steps)?;
            }
        }
        Ok(())
    }

    fn check_steps(&self, client: Id, steps: &[Step]) -> Result<(), String> {
        for step in steps {
            let entry = self.in_flight.requests.get(step.request).ok_or("a step that is held is gone")?;
            let is_held = entry.client() == client && !entry.is_at_backend() && entry.place() == Place::Waiting;
            ensure!(is_held, "step {} is held, and stands elsewhere", step.request);
        }
        Ok(())
    }

    /// Who is to ask again is blocked until then, and who is blocked nowhere asks again.
    fn check_relocations(&self) -> Result<(), String> {
        let is_nowhere = |id: Id| {
            let flow = self.clients.get(id).map(|client| client.flow());
            flow == Some(Flow::BlockedOnCommand { backend: Id::NONE })
        };
        for (id, stage) in self.relocations.iter() {
            ensure!(self.clients.get(id).is_some(), "client {id} is to ask again, and is gone");
            let is_waiting = self.clients.get(id).is_some_and(|client| client.flow().awaits_replies());
            ensure!(is_waiting || !matches!(stage, Stage::Due(_)), "client {id} is to ask again, and is read on");
        }
        let blocked = self.clients.iter().filter(|(id, _)| is_nowhere(*id));
        let mut forgotten = blocked.filter(|(id, _)| !self.relocations.is_of(*id));
        ensure!(forgotten.next().is_none(), "a client is blocked nowhere, and does not ask again");
        Ok(())
    }

    /// Counts all memory anew that requests and replies take.
    fn check_account(&self) -> Result<(), String> {
        let clients = self.clients.iter().map(|(_, client)| {
            let kept = client.kept().map_or(0, |kept| kept.held());
            kept + client.transaction().map_or(0, Transaction::held_steps)
        });
        let kinds = [
            ("in queues", self.in_flight.arena.count_queued()),
            ("kept by clients", clients.sum()),
            ("kept by backends", self.upstreams.backends().map(|(_, backend)| backend.kept_capacity()).sum()),
            ("in merges", self.in_flight.merges.iter().map(|(_, merging)| merging.held()).sum()),
            ("of subscriptions", self.pubsub.count()),
            ("of scripts", self.scripts.held()),
            ("of questions", self.worker_queries.held()),
            ("for a master", self.held.charged()),
            ("redirected", self.redirected.charged()),
            ("outside of the core", self.in_flight.memory.outside),
        ];
        let held: usize = kinds.iter().map(|(_, held)| held).sum();
        let account = self.in_flight.arena.bytes();
        ensure!(held == account, "the account has {account} bytes, and there are {held}: {kinds:?}");
        Ok(())
    }

    fn check_backend(&self, id: Id, backend: &Backend) -> Result<(), String> {
        let pool = self.upstreams.pool(backend.server()).backends();
        ensure!(!backend.is_closed(), "backend {id} is closed, and nobody was told");
        ensure!(pool.contains(&id) == backend.is_pooled(), "backend {id} is in its pool, or not, and should not be");
        if backend.is_subscription() {
            // What it is sent are no requests, and what it says no replies.
            return Ok(());
        }
        let (mut len, mut expired) = (0, 0);
        for request in backend.in_flight().iter(&self.in_flight.requests) {
            len += u64::from(self.in_flight.requests[request].bytes());
            expired += usize::from(self.in_flight.requests[request].is_expired());
        }
        ensure!(
            backend.in_flight().iter(&self.in_flight.requests).count() == backend.in_flight().len(),
            "backend {id}: its line"
        );
        self.check_batches(id, backend)?;
        let (sent, end) = (backend.queue().sent(), backend.queue().end());
        ensure!(backend.answered() <= sent && sent <= end, "backend {id}: {} <= {sent} <= {end}", backend.answered());
        // Behind the last request there may be the start of one whose rest never came.
        let is_whole = backend.answered() + len == end || backend.is_draining();
        ensure!(
            is_whole && backend.answered() + len <= end,
            "backend {id}: {} + {len} is not {end}",
            backend.answered()
        );
        ensure!(
            expired == backend.tombstones(),
            "backend {id}: {expired} are tombstones, not {}",
            backend.tombstones()
        );
        ensure!(!backend.is_dirty() || self.turn.is_backend_listed(id), "backend {id} is dirty, and nobody knows");
        if backend.is_read_paused() {
            let mut waiting = backend
                .in_flight()
                .iter(&self.in_flight.requests)
                .map(|request| self.in_flight.requests[request].client());
            let holds_back = |id| self.clients.get(id).is_some_and(|client| client.connection().holds_back());
            ensure!(waiting.any(holds_back), "backend {id} is held back by nobody");
        }
        self.check_holders(id, backend)
    }

    /// Who has this backend for itself, and who looks at it in time.
    fn check_holders(&self, id: Id, backend: &Backend) -> Result<(), String> {
        if let Some(uploader) = backend.uploader() {
            let flow = self.clients.get(uploader).map(|client| client.flow());
            let is_uploading = matches!(flow, Some(Flow::Uploading { backend, .. }) if backend == id);
            ensure!(is_uploading, "backend {id} waits for the rest of a request that never comes: {flow:?}");
        }
        let head = backend
            .in_flight()
            .iter(&self.in_flight.requests)
            .find(|&request| !self.in_flight.requests[request].is_expired());
        let deadline = head.map(|request| self.in_flight.requests[request].deadline());
        if let Some(deadline) = deadline.filter(|&deadline| deadline != NO_DEADLINE && !backend.is_read_paused()) {
            // While a large reply came before it, its own deadline was not looked at.
            let deadline = deadline.max(self.wheel.now()) + self.settings.timeouts.remote_read_ms;
            let is_watched = backend.wakes_at().is_some_and(|at| at <= deadline);
            ensure!(is_watched || !backend.is_answering(), "backend {id}: nobody looks at its oldest request in time");
        }
        if let Some(owner) = backend.owner() {
            let owner = self.clients.get(owner);
            let is_held = owner.is_some_and(|owner| {
                owner.flow() == (Flow::BlockedOnCommand { backend: id })
                    || owner.leased().is_some_and(|leased| leased.backend == id)
                    || owner.bulk().is_some_and(|bulk| bulk.held().iter().any(|held| held.backend == id))
            });
            let mut roles = backend
                .in_flight()
                .iter(&self.in_flight.requests)
                .map(|request| self.in_flight.requests[request].role());
            let is_ending = roles.any(|role| role != Role::Plain);
            ensure!(is_held || is_ending, "backend {id} is leased by a client that is gone, or has no use for it");
        }
        Ok(())
    }

    /// Returns how many replies came early for it.
    fn check_client(
        &self,
        id: Id,
        client: &Client,
        at: &HashMap<RequestId, Id>,
        owned: &mut HashSet<RequestId>,
    ) -> Result<usize, String> {
        ensure!(!client.is_closed(), "client {id} is closed, and nobody was told");
        let mut standing: HashMap<Id, u32> = HashMap::new();
        let (mut early, mut early_bytes) = (0, 0);
        for request in client.reply_order().iter(&self.in_flight.requests) {
            let entry = &self.in_flight.requests[request];
            ensure!(entry.client() == id, "request {request} stands in the line of client {id}, and is not its own");
            ensure!(owned.insert(request), "request {request} stands in the lines of two clients");
            if let Some(backend) = at.get(&request) {
                *standing.entry(*backend).or_default() += 1;
            }
            if let Place::Merging(merging) = entry.place() {
                let merging = self.in_flight.merges.get(merging as usize).ok_or("a request in parts has none")?;
                ensure!(merging.client == id && merging.parent == request, "request {request} has another's parts");
                early_bytes += self.check_parts(request, merging, at, owned, &mut standing)?;
            }
            if let Some(queue) = entry.place().early() {
                let queue = self.in_flight.early.get(queue as usize).ok_or("an early reply is gone")?;
                early += 1;
                early_bytes += queue.unsent();
            }
        }
        ensure!(
            client.reply_order().iter(&self.in_flight.requests).count() == client.reply_order().len(),
            "client {id}: its line"
        );
        // A reply of rmux's own is not refused for its size; the client is not listened to behind it. And what one read
        // of each backend brought is there when they are held back.
        let own = LARGE + client.replies().merged_bytes();
        let unread_max =
            self.settings.limits.client_unread_bytes_max + own + self.router.servers().len() * Scratch::READ;
        ensure!(client.unread() <= unread_max, "client {id} has {} bytes unread", client.unread());
        // Messages that wait for their turn are counted there, too.
        let is_counted = early_bytes == client.replies().early_bytes() || client.subscriber().is_some();
        ensure!(is_counted, "client {id}: {early_bytes} early bytes");
        self.check_affinities(id, client, standing)?;
        self.check_lists(id, client)?;
        self.check_flow(id, client)?;
        Ok(early)
    }

    /// What was sent was counted, or it could be answered before that.
    fn check_batches(&self, id: Id, backend: &Backend) -> Result<(), String> {
        let (counted, all) = (backend.counted(), backend.in_flight().len());
        let rest = backend.in_flight().iter(&self.in_flight.requests).skip(counted);
        let bytes: usize = rest.map(|request| self.in_flight.requests[request].bytes() as usize).sum();
        let unsent = backend.queue().unsent();
        ensure!(
            counted <= all && bytes <= unsent,
            "backend {id}: {counted} of {all} are counted in batches, the others are {bytes} bytes; unsent: {unsent}"
        );
        Ok(())
    }

    /// `standing` is how many of its requests stand at each backend.
    fn check_affinities(&self, id: Id, client: &Client, mut standing: HashMap<Id, u32>) -> Result<(), String> {
        for affinity in client.affinities() {
            let counted = standing.remove(&affinity.backend);
            ensure!(
                counted == Some(affinity.count),
                "client {id}: {} by its affinity, {counted:?} in line",
                affinity.count
            );
            let server = self.upstreams.backend(affinity.backend).map(|backend| backend.server());
            ensure!(server == Some(affinity.server), "client {id}: an affinity to server {server:?}");
        }
        ensure!(standing.is_empty(), "client {id}: it has no affinity for {standing:?}");
        if let Some(leased) = client.leased().filter(|_| !matches!(client.flow(), Flow::BlockedOnCommand { .. })) {
            let affinity = client.affinity(leased.server).map_or(leased.backend, |affinity| affinity.backend);
            ensure!(
                affinity == leased.backend,
                "client {id} holds {}, and its requests stand at {affinity}",
                leased.backend
            );
        }
        Ok(())
    }

    /// Whether it stands in the lists in which it should.
    fn check_lists(&self, id: Id, client: &Client) -> Result<(), String> {
        ensure!(
            !client.connection().is_dirty() || self.turn.is_client_listed(id),
            "client {id} is dirty, and nobody knows"
        );
        let is_to_be_sent =
            client.connection().is_write_blocked() || client.connection().is_dirty() || client.connection().is_listed();
        ensure!(client.replies().unsent() == 0 || is_to_be_sent, "client {id} has unsent bytes, and nobody sends them");
        for held in client.bulk().iter().flat_map(|bulk| bulk.held()) {
            let backend = self.upstreams.backend(held.backend).ok_or("a client in bulk has a backend that is gone")?;
            ensure!(backend.is_in_bulk_for(id), "client {id} is in bulk with the backend of another");
        }
        Ok(())
    }

    /// Whether what it waits for will come.
    fn check_flow(&self, id: Id, client: &Client) -> Result<(), String> {
        let is_asking = usize::from(client.flow() == Flow::Asking);
        ensure!(
            self.worker_queries.count_of(id) == is_asking,
            "client {id}: {:?}, but it asks otherwise",
            client.flow()
        );
        let is_coming = self.turn.is_woken(id) || client.connection().is_dirty();
        match client.flow() {
            Flow::Paused { .. } => ensure!(!client.is_quiet() || is_coming, "client {id} is paused for no reason"),
            Flow::AwaitingOwnReplies { server } => {
                let is_held = self.held.server_of(id).is_some() || self.redirected.line(id).is_some();
                let is_held = is_held || self.relocations.is_of(id);
                ensure!(
                    client.affinity(server).is_some() || is_coming || is_held,
                    "client {id} waits for itself at server {server}"
                );
            }
            Flow::AwaitingBackend { server, need, deadline } => {
                let pool = self.upstreams.pool(server);
                ensure!(pool.waiting(need).contains(&id), "client {id} is parked, and waits nowhere");
                let is_watched = client.wakes_at().is_some_and(|at| at <= deadline);
                ensure!(is_watched, "client {id} is parked, and nobody ends its wait");
                let needs_own = need != Need::Bulk || bulk::is_for_bulk(&self.settings, &self.clients, id);
                // A subscriber is looked at when it has its turn.
                let is_looked_at = is_coming || client.connection().is_listed();
                ensure!(needs_own || is_looked_at, "client {id} waits for a connection of its own, and needs none");
            }
            Flow::Denied { until, .. } => {
                ensure!(
                    !client.reply_order().is_empty(),
                    "client {id} is denied, and nothing keeps the place of the reply"
                );
                let is_watched = client.wakes_at().is_some_and(|at| at <= until);
                ensure!(is_watched, "client {id} is denied, and nobody ends its wait");
            }
            Flow::Asking => {
                ensure!(!client.reply_order().is_empty(), "client {id} asks, and nothing keeps the place of the reply")
            }
            Flow::Deferred => ensure!(self.clients.is_among_deferred(id), "client {id} is deferred, and nobody knows"),
            Flow::Subscribing => {
                let is_awaiting = client.subscriber().is_some_and(|own| !own.awaited.is_empty());
                let is_publishing = publish::publisher_deadline(&self.pubsub, id).is_some();
                ensure!(is_awaiting || is_publishing || is_coming, "client {id} waits for subscriptions of nobody");
            }
            Flow::Uploading { .. } => {
                ensure!(!client.connection().is_ended(), "client {id} has left in the middle of a request")
            }
            Flow::Leaving => ensure!(!client.is_quiet() || is_coming, "client {id} has left, and is still here"),
            _ => {}
        }
        Ok(())
    }

    /// Returns how many bytes are collected of the replies to the parts of this request.
    fn check_parts(
        &self,
        parent: RequestId,
        merging: &Merging,
        at: &HashMap<RequestId, Id>,
        owned: &mut HashSet<RequestId>,
        standing: &mut HashMap<Id, u32>,
    ) -> Result<usize, String> {
        let asked = merging.parts().iter().filter_map(|part| part.request);
        ensure!(asked.clone().count() == merging.unanswered(), "request {parent} waits for other parts than it has");
        ensure!(merging.unanswered() > 0, "request {parent} has all its parts, and no reply");
        for request in asked {
            let entry = self.in_flight.requests.get(request).ok_or("a part is gone")?;
            ensure!(entry.client() == merging.client, "part {request} of {parent} is another client's");
            ensure!(owned.insert(request), "part {request} of {parent} is there twice");
            if let Some(backend) = at.get(&request) {
                *standing.entry(*backend).or_default() += 1;
            }
        }
        let collected = merging.parts().iter().map(|part| part.bytes.len() + part.pieces.unsent()).sum::<usize>();
        ensure!(merging.is_cut() || collected == merging.collected(), "request {parent}: {collected} bytes in parts");
        Ok(merging.collected())
    }

    /// Returns how many clients wait there.
    fn check_pool(&self, server: ServerId) -> Result<usize, String> {
        let pool = self.upstreams.pool(server);
        let is_too_many = pool.backends().len() > self.settings.pool_size && !self.upstreams.is_retired(server);
        let may_be = self.upstreams.is_shrinking() || self.upstreams.is_renewing();
        ensure!(!is_too_many || may_be, "server {server}: too many backends");
        for &id in pool.backends() {
            let backend = self.upstreams.backend(id).ok_or("a pool knows a backend that is gone")?;
            ensure!(backend.server() == server, "backend {id} is in the pool of server {server}");
        }
        for &id in pool.waiting(Need::Room).iter().chain(pool.waiting(Need::Lease)) {
            let is_here = |client: &Client| match client.flow() {
                Flow::AwaitingBackend { server: at, .. } => at == server,
                _ => false,
            };
            ensure!(
                self.clients.get(id).is_some_and(is_here),
                "client {id} waits at server {server}, and is not parked"
            );
        }
        Ok(pool.waiting(Need::Room).len() + pool.waiting(Need::Lease).len())
    }
}
