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
//! Its state has owners, each in a file of its own:
//!
//! ```text
//!   router      which server has a key now             clients    who is connected, and who waits
//!   upstreams   servers, their pools, connections      reading    what reading clients needs
//!   in_flight   requests and replies, their bytes      turn       what is still to be done in this turn
//!   pubsub      who hears what                         workers    what is asked of the other proxies of the pool
//!   journal     what it did, and what the log is told
//! ```
//!
//! And what is done with it:
//!
//! ```text
//!   from a client     intake       bytes → requests → a verdict on each
//!                     express      plain requests and plain replies, in runs: around all the others
//!                     permission   who may send what; denial: who gave a wrong password
//!                     routing      request → command → server
//!                     dispatch     server → backend, and the bytes on their way
//!   to a client       replies      bytes of backends → replies → their clients
//!                     reroute      who stands behind a huge reply
//!                     bulk         deep pipelines, and replies that are taken slowly
//!                     transmit     what goes out at the end of a turn
//!   backends          health       connects, handshakes, probes
//!                     recover      what becomes of a lost backend, and of what it owed
//!                     clock        what becomes of a deadline that has passed
//!   clients           goodbye      how a client's connection ends
//!   one's own backend lease        commands that wait for data
//!                     transaction  MULTI … EXEC, and in own_steps its steps that no server has
//!   several servers   split        request → parts; merging: replies to parts → the reply; compose: its bytes
//!                     pieces       the same where the replies are large
//!                     scripts      what EVALSHA means at a server that does not know it
//!                     guard        whether a reply was one and no more
//!                     kill         how a script is reached that holds up everybody else
//!   subscriptions     pubsub       clients that subscribe
//!                     delivery     messages, and who gets them
//!                     subscription_connection   who hears a server's messages for them
//!                     publish      who publishes, and who asks how many hear it
//!   and               roster       clients that ask about the whole pool
//!                     inquiry      proxies that ask each other, for those
//!                     memory       what all of it takes, and who gives way when that is too much
//!                     settings     what a proxy is told at its start
//!                     report       what the log is told
//!                     audit        for tests: whether everything is in order
//! ```
//!
//! In their methods `id` is the connection that the call is about. Where an id has the plain name (`client`, `backend`,
//! `request`), the thing itself is called `entry`.
//!
//! Invariants: a request stands in the line of one client, or of one backend, or of both, and is removed with the last
//! of them; a connection in `Closed` is reaped by the `poll_action` that announces it, and by nothing else.

mod audit;
mod backend_close_reason;
mod bulk;
mod clients;
mod clock;
mod compose;
mod delivery;
mod denial;
mod dispatch;
mod express;
mod goodbye;
mod guard;
mod health;
mod in_flight;
mod inquiry;
mod intake;
mod journal;
mod kill;
mod lease;
mod memory;
mod merging;
mod own_steps;
mod permission;
mod pieces;
mod publish;
mod pubsub;
mod reading;
mod recover;
mod replies;
mod report;
mod reroute;
mod roster;
mod router;
mod routing;
mod scripts;
mod settings;
mod split;
mod subscription_connection;
mod transaction;
mod transmit;
mod turn;
mod upstreams;

use std::io::{self, IoSlice};

use log::debug;

pub use self::inquiry::{Answer, Letter, Question};
pub use self::settings::{Settings, Siblings};

use self::clients::Clients;
use self::goodbye::{Departure, Goodbye};
use self::in_flight::InFlight;
use self::inquiry::Inquiries;
use self::journal::Journal;
use self::pubsub::Pubsub;
use self::reading::Reading;
use self::router::Router;
use self::scripts::Scripts;
use self::turn::Turn;
use self::upstreams::Upstreams;
use crate::backend::Backend;
use crate::buffer::Scratch;
use crate::client::{Client, Flow, Kept};
use crate::server_id::ServerId;
use crate::session::Profile;
use crate::slots::Id;
use crate::stats::ProxyStats;
use crate::timer::{Millis, Wheel};

/// A connection, of either kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Conn {
    /// One that talks to us.
    Client(Id),
    /// One of ours to a server.
    Backend(Id),
}

/// What the shell must do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Connect this backend to its server, and say how it went.
    Connect {
        /// The new connection.
        backend: Id,
        /// The server.
        server: ServerId,
    },
    /// Close the socket. The id is dead from here on.
    Close(Conn),
    /// Read this connection again, if its socket had more when reading stopped.
    Resume(Conn),
    /// Deliver the letters that [`Proxy::poll_letter`] has for other proxies of the same pool.
    Post,
}

/// Sends bytes at once, as far as a socket takes them.
pub trait Wire {
    /// Writes the slices in order and returns how many bytes were taken. Fewer than all means that the socket is full,
    /// and that `handle_writable` will follow.
    ///
    /// # Errors
    ///
    /// The connection is broken. (A full socket is not an error: it took 0 bytes.)
    fn write(&mut self, conn: Conn, slices: &[IoSlice<'_>]) -> io::Result<usize>;
}

/// Whom an entry of the timer wheel wakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Timer {
    Client(Id),
    Backend(Id),
    Probe(ServerId),
    Subscription(ServerId),
}

/// One pool of the configuration at work: its clients, its servers, and what is under way between them.
#[derive(Debug)]
pub struct Proxy {
    /// What it is told.
    settings: Settings,
    router: Router,
    upstreams: Upstreams,
    clients: Clients,
    reading: Reading,
    in_flight: InFlight,
    turn: Turn,
    /// Who hears what.
    pubsub: Pubsub,
    /// What is asked of the other proxies of the pool.
    workers: Inquiries,
    /// What `EVALSHA` may mean at a server that does not know it.
    scripts: Scripts,
    wheel: Wheel<Timer>,
    journal: Journal,
}

/// What one turn may do of a kind of work that grows with the number of clients, in bytes that are moved; the rest is
/// put in proportion to that. About a millisecond.
const TURN_WORK_MAX: usize = 1024 * 1024;
/// The deadline of what has none.
const NO_DEADLINE: Millis = Millis(u64::MAX);
/// For more clients than this, no room is made in advance.
const CLIENTS_EXPECTED_MAX: usize = 16 * 1024;
/// Boxes for kept bytes that wait for the next use.
const SPARE_KEPT_MAX: usize = 64;
/// Slices in one gathered write.
const SLICES_MAX: usize = 64;
/// A piece of this size or more is written straight from the read buffer, when the socket has room.
const DIRECT_MIN: usize = 16 * 1024;
/// A reply of which more bytes than this are still to come is long.
const LONG: usize = 1024 * 1024;
/// The most bytes that one read of a long reply brings.
const READ_OF_LONG: usize = 64 * 1024;
/// A request or reply of more than this is passed on as it arrives.
const LARGE: usize = 64 * 1024;

impl Proxy {
    /// A proxy that has no clients and no connections yet.
    pub fn new(settings: Settings, now: Millis) -> Proxy {
        Proxy {
            router: Router::new(&settings),
            upstreams: Upstreams::new(&settings),
            clients: Clients::new(),
            reading: Reading::new(&settings.limits),
            in_flight: InFlight::new(&settings.limits),
            turn: Turn::new(),
            pubsub: Pubsub::new(settings.servers.len(), settings.siblings.hidden_subscribers()),
            workers: Inquiries::default(),
            scripts: Scripts::default(),
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

    /// Opens one connection to each server.
    pub fn start(&mut self, now: Millis) {
        let clients = self.clients_expected();
        self.clients.reserve(clients);
        self.wheel.reserve(clients);
        for server in self.router.servers() {
            self.open_backend(server, Profile::default(), now);
        }
    }

    /// Somebody connected. `None` when there are too many already: tell it [`Proxy::TOO_MANY_CLIENTS`] and close.
    pub fn handle_accept(&mut self, now: Millis) -> Option<Id> {
        if self.clients.len() >= self.settings.limits.clients_max || self.clients.is_shutting_down {
            self.journal.stats.clients_refused += 1;
            if !self.clients.is_shutting_down {
                let max = self.settings.limits.clients_max;
                self.handle_accept_failed(format_args!("clients are refused: {max} are connected, and no more may be"));
            }
            return None;
        }
        self.journal.stats.clients += 1;
        let mut client = Client::new(now);
        client.set_user(self.settings.users.on_connect());
        let id = self.clients.insert(client);
        self.settings.siblings.on_accepted();
        if self.settings.timeouts.local_read_ms > 0 {
            let deadline = now + self.settings.timeouts.local_read_ms;
            if let Some(client) = self.clients.get_mut(id) {
                client.alarm.set(&mut self.wheel, Timer::Client(id), deadline);
            }
        }
        debug!("client {id} connected");
        Some(id)
    }

    /// Where a client comes from, as `host:port`. To be told before it says anything; a Unix socket has nothing to
    /// tell.
    pub fn handle_peer(&mut self, id: Id, address: Box<str>) {
        if let Some(client) = self.clients.get_mut(id) {
            client.peer = Some(address);
        }
    }

    /// What a client is told that connects when there are too many; Redis's own words.
    pub const TOO_MANY_CLIENTS: &'static [u8] = b"-ERR max number of clients reached\r\n";

    /// A socket that was full takes bytes again.
    pub fn handle_writable(&mut self, conn: Conn) {
        match conn {
            Conn::Client(id) => {
                if let Some(client) = self.clients.get_mut(id).filter(|client| client.is_write_blocked) {
                    client.is_write_blocked = false;
                    self.mark_client_unsent(id);
                }
            }
            Conn::Backend(id) => {
                if self.upstreams.backend_mut(id).is_some_and(Backend::on_writable) {
                    self.mark_backend_dirty(id);
                }
            }
        }
    }

    /// Whether bytes that arrive on this connection can be dealt with now. If not, an [`Action::Resume`] will follow.
    pub fn is_listening_to(&self, conn: Conn) -> bool {
        match conn {
            Conn::Client(id) => self.clients.get(id).is_some_and(|client| match client.flow {
                Flow::Uploading { backend, .. } if !client.is_ended => self
                    .upstreams
                    .backend(backend)
                    .is_none_or(|backend| backend.queue().unsent() < self.settings.limits.send_queue_bytes_max),
                _ => client.is_listened_to(),
            }),
            Conn::Backend(id) => self.upstreams.backend(id).is_some_and(|backend| match backend.is_subscription() {
                true => !self.is_publishing(),
                false => !backend.is_read_paused(),
            }),
        }
    }

    /// The most bytes that one read of this connection may bring: less while a long reply comes, so that others have
    /// their turn sooner, and less of a client while memory is short.
    pub fn read_max(&self, conn: Conn) -> usize {
        let Conn::Backend(id) = conn else {
            return if self.is_memory_short() { memory::READ_WHEN_SHORT } else { Scratch::READ };
        };
        let is_long = |backend: &Backend| backend.is_in_large_reply() && backend.framed() > LONG;
        if self.upstreams.backend(id).is_some_and(is_long) { READ_OF_LONG } else { Scratch::READ }
    }

    /// True exactly when no client is left.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// When the next turn must begin at the latest: a point in the past if there is something to do at once, as after a
    /// connect that failed while the actions were carried out.
    pub fn next_deadline(&self) -> Option<Millis> {
        if !self.is_settled() || self.turn.is_rationed() {
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
                self.settings.siblings.on_reaped();
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

    fn mark_client_dirty(&mut self, id: Id) {
        if let Some(client) = self.clients.get_mut(id).filter(|client| !client.is_dirty) {
            client.is_dirty = true;
            self.turn.flush_client(id);
        }
    }

    /// A client's socket takes more than it was sent. What it has unsent may be much, if it subscribes: as its messages
    /// it has its turn.
    #[cold]
    fn mark_client_unsent(&mut self, id: Id) {
        match self.clients.get(id).is_some_and(|client| client.subscriber.is_some()) {
            true => self.list_subscriber(id),
            false => self.mark_client_dirty(id),
        }
    }

    fn mark_backend_dirty(&mut self, id: Id) {
        if self.upstreams.backend_mut(id).is_some_and(Backend::mark_dirty) {
            self.turn.flush_backend(id);
        }
    }

    /// Takes back a box that a client no longer needs.
    fn spare(&mut self, mut kept: Box<Kept>) {
        if self.reading.spare_kept.len() < SPARE_KEPT_MAX && kept.bytes.capacity() <= DIRECT_MIN {
            kept.bytes.clear();
            kept.framer.clear();
            self.reading.spare_kept.push(kept);
        }
    }
}

#[cfg(test)]
mod tests;
