//! The conductor: bytes and events in, bytes and actions out. The only file that sees all of the core.
//!
//! A function of its inputs: it has no sockets, no clock and no randomness of its own. Time is an argument; randomness
//! is a seed. The one thing that it asks of the shell while it works is [`Wire::write`]: take these bytes if you can.
//!
//! One turn of the loop, in the order of the calls:
//!
//! ```text
//!   handle_accept, handle_client_data, transmit_requests, handle_backend_data, handle_writable, handle_*_end …
//!   handle_timeouts          after all input, so that a reply that is already there beats its timeout
//!   transmit                 each connection with something to send gets one gathered write
//!   poll_action              until it is None: connect, close, read again
//!   poll_notice              until it is None: a line for the log
//! ```
//!
//! Its state has owners (`state`), each in a file of its own. Each knows ids of what the others own, and calls none of
//! them:
//!
//! ```text
//!   router      which server has a key now             clients    who is connected, and who waits
//!   upstreams   servers, their pools, connections      reading    what reading clients needs
//!   in_flight   requests and replies, their bytes      turn       what is still to be done in this turn
//!   pubsub      who hears what                         worker_queries   what is asked of the other workers of the pool
//!   scripts     what EVALSHA may mean                  journal    what it did, and what the log is told
//!   authentication   who rmux is to its servers        held       what waits for a master
//!   nodes       of a cluster, beside its map           redirected what its nodes have not run
//!   relocations the same of what waits on a connection of its own
//! ```
//!
//! What is done with them are policies, functions whose signatures say which owners they touch. They call downwards
//! only, in this order; what a lower one finds that is a higher one's business it leaves on the turn's lists:
//!
//! ```text
//!   what happened      timeouts        a deadline has passed            flush          the end of a turn
//!                      client_read     bytes of clients (fast_path)     backend_read   bytes of backends
//!                      subscription_read   bytes of subscription connections   handshake_read   of new backends
//!                      worker_mail     messages of other workers        follow_up      what the lists of the turn say
//!                      relief          memory is short                  replica_watch  what they say of themselves
//!                      resend          what nodes of a cluster have not run
//!   settings           reload          what follows from others     authenticate   and from another password
//!                      topology        nodes of a cluster, and their slots
//!                      resubscribe     and where their channels are heard then (topic_placement)
//!                      renew           a name that has moved            moved          a master that has
//!   a lost backend     recover         what becomes of what it owed     health         and of its server
//!   a request          routing ─► mode (who may send what) ─► by its class:
//!                      blocking, transaction (step, local_steps, whole_transaction), subscribe, publish, introspect
//!                      (client_list, rmux_command), scatter (collect, merged, compose, pieces), kill ─► dispatch
//!                      reads             whether a replica is asked   reask   and again, whom it does not answer
//!                      same_slot         of a cluster: whether it waits for those before it
//!   a connection       pick            which backend is taken           connect        or made
//!                      leases          one that a client has alone      drain          one that takes nothing more
//!                      enqueue         into its queue                   forward, write   and the bytes on their way
//!                      reroute         out of the queue of one that is held up
//!                      not_run         and once more: await_master (refused by one that is none), evalsha, redirect
//!                                      (redirect_whole: a transaction; whole: all of its requests),
//!                                      redirect_lease (what has a connection of its own), relocate (where that goes),
//!                                      redirect_watch (and watched keys)
//!   a reply            answer          in its place                     guard          whether it was one, and no more
//!                      delivery        messages, and who gets them      denial         one that comes late
//!   a client           bulk            deep pipelines, slow readers     close, dismiss the end
//!   notes              mark, memory, report, slow
//! ```
//!
//! Everywhere `id` is the connection that the call is about. Where an id has the plain name (`client`, `backend`,
//! `request`), the thing itself is called `entry`.
//!
//! Invariants: a request stands in the line of one client, or of one backend, or of both, and is removed with the last
//! of them; a connection in `Closed` is reaped by the `poll_action` that announces it, and by nothing else.

mod answer;
mod audit;
mod authenticate;
mod authentication;
mod await_master;
mod backend_close_reason;
mod backend_read;
mod blocking;
mod bulk;
mod call;
mod client_close_reason;
mod client_list;
mod client_read;
mod clients;
mod close;
mod collect;
mod compose;
mod connect;
mod delivery;
mod denial;
mod dismiss;
mod dismissal;
mod dispatch;
mod drain;
mod enqueue;
mod evalsha;
mod fast_path;
mod figures;
mod flush;
mod flush_client;
mod follow_up;
mod forward;
mod guard;
mod handshake_read;
mod health;
mod held;
mod hidden_count;
mod in_flight;
mod interface;
mod introspect;
mod journal;
mod kept;
mod kill;
mod leases;
mod listening;
mod local_steps;
mod look;
mod mark;
mod mastership;
mod memory;
mod merged;
mod merging;
mod mode;
mod moved;
mod nodes;
mod not_run;
mod pick;
mod pieces;
mod places;
mod publish;
mod pubsub;
mod reading;
mod reads;
mod reask;
mod recover;
mod redirect;
mod redirect_lease;
mod redirect_watch;
mod redirect_whole;
mod redirected;
mod refusals;
mod relief;
mod reload;
mod relocate;
mod relocations;
mod renew;
mod reparse;
mod replica_watch;
mod replicas;
mod report;
mod reroute;
mod resend;
mod resubscribe;
mod rmux_command;
mod router;
mod routing;
mod same_slot;
mod scatter;
mod scripts;
mod session_reply;
mod settings;
mod slot_table;
mod slow;
mod state;
mod step;
mod subscribe;
mod subscription_connection;
mod subscription_read;
mod timeouts;
mod topic_placement;
mod topics;
mod topology;
mod transaction;
mod transaction_marks;
mod turn;
mod unqueued;
mod upstreams;
mod whereabouts;
mod whole;
mod whole_transaction;
mod worker_mail;
mod worker_queries;
mod worker_query;
mod write;
mod zone;

use std::fmt;

use log::{Level, debug};

use self::authentication::Authentication;
use self::clients::Clients;
use self::held::Held;
use self::in_flight::InFlight;
use self::interface::CLIENTS_EXPECTED_MAX;
use self::interface::Timer;
pub use self::interface::{Action, Conn, Wire};
use self::journal::Journal;
use self::nodes::Nodes;
use self::pubsub::Pubsub;
use self::reading::Reading;
use self::redirected::Redirected;
use self::relocations::Relocations;
use self::router::Router;
use self::scripts::Scripts;
pub use self::settings::{Settings, Workers};
pub use self::state::Proxy;
use self::turn::Turn;
use self::upstreams::Upstreams;
use self::worker_queries::WorkerQueries;
pub use self::worker_queries::{Answer, Question, WorkerMessage};
use crate::backend::Backend;
use crate::buffer::Scratch;
use crate::client::Client;
use crate::server_id::ServerId;
use crate::session::Profile;
use crate::slots::Id;
use crate::stats::{Bytes, Figures, ProxyStats};
use crate::timer::{Millis, Wheel};
impl Proxy {
    /// A proxy that has no clients and no connections yet.
    pub fn new(settings: Settings, now: Millis) -> Proxy {
        let upstreams = Upstreams::new(&settings, now);
        let mut router = Router::new(&settings, upstreams.servers().take(settings.servers.len()));
        let mut rest = upstreams.servers().skip(settings.servers.len());
        let of_places: Vec<Vec<ServerId>> = (0..settings.servers.len())
            .map(|place| rest.by_ref().take(settings.replicas_of(place).len()).collect())
            .collect();
        drop(rest);
        router.set_replicas(&settings, of_places, |_| settings.zone.is_none(), upstreams.slots());
        Proxy {
            pubsub: Pubsub::new(upstreams.slots(), settings.workers.hidden_subscribers()),
            router,
            upstreams,
            authentication: Authentication::new(),
            clients: Clients::new(),
            reading: Reading::new(&settings.limits),
            in_flight: InFlight::new(&settings.limits, &settings.timeouts),
            turn: Turn::new(),
            worker_queries: WorkerQueries::default(),
            scripts: Scripts::default(),
            held: Held::default(),
            nodes: Nodes::default(),
            redirected: Redirected::default(),
            relocations: Relocations::default(),
            wheel: Wheel::new(now),
            journal: Journal::new(now),
            settings,
        }
    }

    /// For how many clients there is room in the tables from the start. It costs no memory before they are there, and
    /// tables that grow while much is in memory would be scattered among that, and keep it from going back.
    pub fn clients_expected(&self) -> usize {
        self.settings.limits.clients_max.min(CLIENTS_EXPECTED_MAX)
    }

    /// For tests that compare: from here on everything takes the long way, and no peer may see a difference.
    #[cfg(debug_assertions)]
    pub fn turn_fast_path_off(&mut self) {
        self.reading.is_fast_path_off = true;
    }

    /// Opens one connection to each server, and to each replica that is read from.
    pub fn start(&mut self, now: Millis) {
        let clients = self.clients_expected();
        self.clients.reserve(clients);
        self.wheel.reserve(clients);
        for server in self.servers() {
            connect::open_backend(self, server, Profile::default(), now);
        }
        replica_watch::watch_all(self, now);
    }

    /// The clock of the day shows this, in milliseconds since 1970. It is for people alone.
    pub fn handle_time_of_day(&mut self, unix_ms: u64, now: Millis) {
        self.journal.unix_ms = unix_ms.saturating_sub(now.0);
    }

    /// Somebody connected. `None` when there are too many already: tell it [`Proxy::TOO_MANY_CLIENTS`] and close.
    pub fn handle_accept(&mut self, now: Millis) -> Option<Id> {
        if self.clients.len() >= self.settings.limits.clients_max || self.clients.is_shutting_down() {
            self.journal.stats.clients_refused += 1;
            if !self.clients.is_shutting_down() {
                let max = self.settings.limits.clients_max;
                report::handle_accept_failed(
                    &mut self.journal,
                    format_args!("clients are refused: {max} are connected, and no more may be"),
                );
            }
            return None;
        }
        self.journal.stats.clients += 1;
        let mut client = Client::new(now);
        client.set_user(self.settings.users.on_connect());
        let id = self.clients.insert(client);
        self.settings.workers.on_accepted();
        if self.settings.timeouts.local_read_ms > 0 {
            let deadline = now + self.settings.timeouts.local_read_ms;
            if let Some(client) = self.clients.get_mut(id) {
                client.wake_at(&mut self.wheel, Timer::Client(id), deadline);
            }
        }
        debug!("client {id} connected");
        Some(id)
    }

    /// Where a client comes from, as `host:port`. To be told before it says anything; a Unix socket has nothing to
    /// tell.
    pub fn handle_peer(&mut self, id: Id, address: Box<str>) {
        if let Some(client) = self.clients.get_mut(id) {
            client.connection_mut().on_peer(address);
        }
    }

    /// What a client is told that connects when there are too many; Redis's own words.
    pub const TOO_MANY_CLIENTS: &'static [u8] = b"-ERR max number of clients reached\r\n";

    /// A socket that was full takes bytes again.
    pub fn handle_writable(&mut self, conn: Conn) {
        match conn {
            Conn::Client(id) => {
                if self.clients.get_mut(id).is_some_and(|client| client.connection_mut().on_writable()) {
                    mark::mark_client_unsent(&mut self.clients, &mut self.turn, &mut self.pubsub, id);
                }
            }
            Conn::Backend(id) => {
                if self.upstreams.backend_mut(id).is_some_and(Backend::on_writable) {
                    mark::mark_backend_dirty(&mut self.upstreams, &mut self.turn, id);
                }
            }
        }
    }

    /// True exactly when no client is left.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// When the next turn must begin at the latest: a point in the past if there is something to do at once, as after a
    /// connect that failed while the actions were carried out.
    pub fn next_deadline(&self) -> Option<Millis> {
        if !flush::is_settled(self) || self.turn.is_rationed() {
            return Some(Millis(0));
        }
        self.wheel.next_deadline().into_iter().chain(self.journal.notices.next_deadline()).min()
    }

    /// The next thing that the shell must do.
    pub fn poll_action(&mut self) -> Option<Action> {
        let action = self.turn.next_action()?;
        match action {
            Action::Close(Conn::Client(id)) => {
                self.clients.remove(id);
                self.settings.workers.on_reaped();
            }
            Action::Close(Conn::Backend(id)) => self.upstreams.reap(id),
            _ => {}
        }
        Some(action)
    }

    /// How many clients are connected.
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// How many connections to servers there are, in any state.
    pub fn backends(&self) -> usize {
        self.upstreams.backends_len()
    }

    /// What this proxy did so far.
    pub fn stats(&self) -> ProxyStats {
        self.journal.stats
    }

    /// A backend's socket is connected.
    pub fn handle_connected(&mut self, id: Id, now: Millis) {
        health::handle_connected(self, id, now);
    }

    /// Gives waiting clients their turn, then sends everything that is to be sent.
    pub fn transmit<W: Wire>(&mut self, now: Millis, wire: &mut W) {
        flush::transmit(self, now, wire);
    }

    /// Sends the requests that are to be sent. The shell calls it between reading its clients and reading its backends:
    /// the servers shall be at work while replies are handed out.
    pub fn transmit_requests<W: Wire>(&mut self, now: Millis, wire: &mut W) {
        flush::transmit_requests(self, now, wire);
    }

    /// Deals with what those have left who are gone: halves of requests, and backends that they had for themselves.
    ///
    /// The shell calls it, and closes what is to be closed, before it reads: an element that somebody pushes in this
    /// turn must not go to a backend that still waits for a client that has left.
    pub fn handle_follow_ups(&mut self, now: Millis) {
        follow_up::handle_follow_ups(self, now);
    }

    /// Time has passed.
    pub fn handle_timeouts<W: Wire>(&mut self, now: Millis, wire: &mut W) {
        timeouts::handle_timeouts(self, now, wire);
    }

    /// A client will send nothing more. What it is owed it still gets.
    pub fn handle_client_end(&mut self, id: Id) {
        close::handle_client_end(self, id);
    }

    /// A client's socket broke.
    pub fn handle_client_broken(&mut self, id: Id) {
        close::handle_client_broken(self, id);
    }

    /// A client has closed its connection, or its half of it, though it may have said something before.
    ///
    /// If it waits for data, or is about to, nobody is there to have it: as with Redis, that is the end of the client.
    pub fn handle_client_hangup(&mut self, id: Id) {
        close::handle_client_hangup(self, id);
    }

    /// No new clients; those that are here are answered and then closed.
    pub fn handle_shutdown(&mut self) {
        close::handle_shutdown(self);
    }

    /// No new clients, since another process takes over. Those that are here are served as before, and closed between
    /// two of their requests: asked to leave ([`Action::Dismiss`]) one after the other, within half of this time.
    pub fn handle_dismiss(&mut self, drain_ms: u64, now: Millis) {
        dismiss::handle_dismiss(self, drain_ms, now);
    }

    /// Whether the connection of a client can end now without its losing anything but the connection.
    pub fn may_dismiss(&self, id: Id) -> bool {
        dismiss::may_dismiss(self, id)
    }

    /// A client that was asked to leave had nothing more to say: that was a read after the last of its bytes.
    pub fn handle_client_silent(&mut self, id: Id) {
        dismiss::handle_client_silent(self, id);
    }

    /// Memory that requests and replies take at this moment, in bytes.
    #[inline]
    pub fn buffered_bytes(&self) -> usize {
        memory::buffered_bytes(&self.in_flight)
    }

    /// Whether bytes that arrive on this connection can be dealt with now. If not, an [`Action::Resume`] will follow.
    pub fn is_listening_to(&self, conn: Conn) -> bool {
        listening::is_listening_to(self, conn)
    }

    /// The most bytes that one read of this connection may bring: less while a long reply comes, so that others have
    /// their turn sooner, and less of a client while memory is short.
    pub fn read_max(&self, conn: Conn) -> usize {
        listening::read_max(&self.settings, &self.upstreams, &self.in_flight, conn)
    }

    /// The `n` bytes in the read area of `scratch` came from a client.
    pub fn handle_client_data<W: Wire>(&mut self, id: Id, scratch: &mut Scratch, n: usize, now: Millis, wire: &mut W) {
        client_read::handle_client_data(self, id, scratch, n, now, wire);
    }

    /// The next line for the log. To be asked at the end of a turn, until it is `None`.
    pub fn poll_notice(&mut self, now: Millis) -> Option<(Level, String)> {
        report::poll_notice(&self.settings, &self.upstreams, &mut self.journal, now)
    }

    /// The system does not let a client in.
    pub fn handle_accept_failed(&mut self, reason: fmt::Arguments<'_>) {
        self.journal.stats.accept_failures += 1;
        report::handle_accept_failed(&mut self.journal, reason);
    }

    /// A client cannot be met inside of TLS, and its connection is broken.
    pub fn handle_handshake_failed(&mut self, id: Id, reason: fmt::Arguments<'_>) {
        report::handle_handshake_failed(&self.clients, &mut self.journal, id, reason);
    }

    /// A turn begins, so many µs after the start: by this clock latencies are measured, and by nothing else.
    #[inline]
    pub fn handle_turn(&mut self, us: u64) {
        self.in_flight.measured.clock_us = us as u32;
    }

    /// A turn has taken so long. Need not be told of each.
    pub fn handle_turn_end(&mut self, us: u64, now: Millis) {
        self.journal.longest_turn.record(us, now.0);
    }

    /// So many bytes were moved until now. To be told before somebody asks for the figures.
    pub fn handle_bytes(&mut self, bytes: Bytes) {
        self.journal.stats.bytes = bytes;
    }

    /// What there is to tell about this proxy, and what the log was told last.
    pub fn figures(&mut self, now: Millis) -> Figures {
        Figures { events: figures::events(&self.journal, now), ..figures::figures(self, now) }
    }

    /// A backend could not be connected.
    pub fn handle_connect_failed(&mut self, id: Id, reason: &str, now: Millis) {
        recover::handle_connect_failed(self, id, reason, now);
    }

    /// The server of this backend will send nothing more.
    pub fn handle_backend_end(&mut self, id: Id, now: Millis) {
        recover::handle_backend_end(self, id, now);
    }

    /// A backend's socket broke.
    pub fn handle_backend_broken(&mut self, id: Id, reason: &str, now: Millis) {
        recover::handle_backend_broken(self, id, reason, now);
    }

    /// The `n` bytes in the read area of `scratch` came from a backend.
    pub fn handle_backend_data<W: Wire>(&mut self, id: Id, scratch: &mut Scratch, n: usize, now: Millis, wire: &mut W) {
        backend_read::handle_backend_data(self, id, scratch, n, now, wire);
    }

    /// The next message, and the number of the proxy that it is for. To be asked after
    /// [`Action::Post`], until it is `None`.
    pub fn poll_worker_message(&mut self) -> Option<(usize, WorkerMessage)> {
        worker_mail::poll_worker_message(&self.settings, &mut self.worker_queries)
    }

    /// From here on these settings hold. Servers are told apart by their addresses; who this proxy is (the process, its
    /// number, the seed) stays as it was at the start. To be called between two turns, or among their input.
    pub fn handle_settings(&mut self, settings: Settings, now: Millis) {
        reload::handle_settings(self, settings, now);
    }

    /// How many servers the ring has.
    pub fn places(&self) -> usize {
        self.router.servers().len()
    }

    /// From here on these are the replicas of a server, as shown to people: who watches it has found others than there
    /// were. Other settings say anew which ones the file names; of a server that is known by its name they say nothing.
    pub fn handle_replicas(&mut self, server: ServerId, replicas: Vec<String>, now: Millis) {
        reload::handle_replicas(self, server, replicas, now);
    }

    /// The servers, in the order of `Settings::servers`, and behind them the replicas, in that of
    /// `Settings::all_replicas`.
    pub fn servers(&self) -> Vec<ServerId> {
        self.router.servers().chain(self.router.replicas().servers()).collect()
    }

    /// A message has come from the proxy of the same pool that has this number.
    pub fn handle_worker_message(&mut self, from: usize, message: WorkerMessage, now: Millis) {
        worker_mail::handle_worker_message(self, from, message, now);
    }

    /// The proxy of the same pool that has this number has ended, or a message did not reach it for that reason.
    pub fn handle_worker_gone(&mut self, number: usize, now: Millis) {
        worker_mail::handle_worker_gone(self, number, now);
    }
}

#[cfg(test)]
mod tests;
