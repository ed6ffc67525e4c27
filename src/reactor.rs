//! The loop: one epoll instance, the sockets of one proxy, and the carrying out of what the proxy decides.
//!
//! Knows sockets and the clock, and no requests, no replies, no servers' health. Sockets are watched edge-triggered:
//! for reading always, for writing while that tells something (see `sockets`). What was announced and not read yet is
//! remembered here (`is_readable`), until a read says that it has drained its socket.
//!
//! The order of a turn:
//!
//! ```text
//!   poll ─► the clock, once ─► writable, connected, gone ─► accept ─► read clients ─► send ─► read backends
//!        ─► timeouts ─► transmit ─► actions: connect, close, read again ─► poll …
//! ```
//!
//! A turn is bounded: so many accepts, one read of a bounded size for each ready socket. What is left over stays on a
//! list of the ready, and the next poll does not sleep.
//!
//! Several reactors of one pool share nothing but the listener. When the proxy of one has a question to the others, the
//! messages go through `mailbox`: who gets one is woken, and never waited for.

mod dial;
mod dismiss;
mod doubts;
mod handle;
mod inside;
mod mailbox;
mod masters;
mod names;
mod nodes;
mod passwords;
mod sessions;
mod sockets;
mod start;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::log;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::buffer::Scratch;
use crate::net::{Address, Incoming, Listener, LocalTls};
use crate::proxy::{Action, Conn, Proxy, Settings};
use crate::slots::Id;
use crate::stats::Bytes;
use crate::timer::Millis;
pub use handle::{FiguresAnswer, FiguresQuestion, Handle, Hint, Hints};
pub use nodes::NodesTold;
pub use sessions::Tls;

use dial::Dialer;
use doubts::Doubts;
use handle::Post;
use mailbox::Mailbox;
use passwords::Passwords;
use sockets::{ACCEPTS_MAX, Sockets};

/// How long a reactor that is to end waits for what is outstanding.
pub const GRACE: Duration = Duration::from_secs(5);

const GRACE_MS: u64 = GRACE.as_millis() as u64;
/// Readiness events taken from the kernel in one turn.
const EVENTS_MAX: usize = 1024;
/// Pause after the system had no file descriptor, or no memory, for one more connection; in milliseconds.
const ACCEPT_PAUSE_MS: u64 = 100;

/// So many events in one turn are many.
const BUSY_EVENTS_MIN: usize = 8;
/// So many bytes that were read in one turn are many.
const BUSY_BYTES_MIN: u64 = 16 * 1024;
/// Of the turns with little to do, each of this number is timed.
const TIMED_EVERY: u32 = 16;

const LISTENER: Token = Token(0);
const WAKER: Token = Token(2);

/// One loop, and what it owns.
pub struct Reactor {
    poll: Poll,
    events: Events,
    listener: Option<Listener>,
    /// How clients are met, if with TLS.
    local_tls: Option<LocalTls>,
    proxy: Proxy,
    sockets: Sockets,
    dialer: Dialer,
    passwords: Passwords,
    mailbox: Mailbox,
    doubts: Doubts,
    scratch: Scratch,
    /// Connections that may have something to read.
    ready_clients: Vec<Id>,
    ready_backends: Vec<Id>,
    /// True while there may be somebody to accept.
    is_accepting: bool,
    /// Until then nobody is accepted.
    accept_at: Option<Millis>,
    handle: Handle,
    start: Instant,
    now: Millis,
    /// How many turns there were.
    turns: u32,
    /// True exactly when this turn has had much to do, or something that may take long.
    is_busy: bool,
    /// When a reactor that is to end stops waiting.
    end_at: Option<Millis>,
    /// True once nobody is listened to any more.
    is_draining: bool,
}

impl Reactor {
    /// A reactor that will serve `listener`, with `servers` behind it in the order of `settings.servers`: their
    /// addresses, as far as they are known.
    ///
    /// # Errors
    ///
    /// When the system gives no epoll instance, or no second descriptor of it, or does not take the listener.
    pub fn new(settings: Settings, mut listener: Listener, servers: &[Option<Address>]) -> io::Result<Reactor> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let now = Millis(0);
        let (mailbox, sender) = Mailbox::new();
        let passwords = Passwords::new(Arc::clone(&waker), &settings, now);
        let resolve_ms = settings.timeouts.resolve_ms;
        let proxy = start::new_proxy(settings, now);
        let sockets = Sockets::new(poll.registry().try_clone()?, proxy.clients_expected());
        let mut dialer = Dialer::new(Arc::clone(&waker));
        dialer.set_servers(&proxy.servers(), servers, resolve_ms);
        Ok(Reactor {
            poll,
            events: Events::with_capacity(EVENTS_MAX),
            listener: Some(listener),
            local_tls: None,
            proxy,
            sockets,
            dialer,
            passwords,
            mailbox,
            doubts: Doubts::default(),
            scratch: Scratch::new(),
            ready_clients: Vec::new(),
            ready_backends: Vec::new(),
            is_accepting: true,
            accept_at: None,
            handle: Handle::new(sender, waker),
            start: Instant::now(),
            now,
            turns: 0,
            is_busy: false,
            end_at: None,
            is_draining: false,
        })
    }

    /// From now on, connections that are made are inside of this; those to servers that are there are renewed.
    pub fn set_tls(&mut self, tls: Tls) {
        self.dialer.set_tls(tls.remote);
        self.local_tls = tls.local;
    }

    /// Accepts nobody until it is told to (`Handle::open`); to be called before it runs.
    ///
    /// # Errors
    ///
    /// When the kernel does not let go of the listener.
    pub fn hold(&mut self) -> io::Result<()> {
        self.is_accepting = false;
        self.listener.as_mut().map_or(Ok(()), |listener| self.poll.registry().deregister(listener))
    }

    /// With what others can tell it something.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Makes the reactors of one pool known to each other; to be called before one of them runs. Their order is that of
    /// the numbers in their settings.
    pub fn introduce(pool: &mut [Reactor]) {
        let handles: Vec<Handle> = pool.iter().map(Reactor::handle).collect();
        for (number, reactor) in pool.iter_mut().enumerate() {
            reactor.mailbox.introduce(number, handles.clone());
        }
    }

    /// Runs until it is told to end. `on_settled` is called once, when the address of every server is known, or the
    /// looking for it has been given up.
    ///
    /// # Errors
    ///
    /// When the kernel's polling fails.
    pub fn run(mut self, on_settled: impl FnOnce()) -> io::Result<()> {
        self.proxy.start(self.now);
        self.carry_out();
        let mut on_settled = Some(on_settled);
        loop {
            if let Some(on_settled) = on_settled.take_if(|_| !self.dialer.is_looking_up()) {
                on_settled();
            }
            let wakes_at = self.wakes_at();
            let patience = wakes_at.map(|deadline| Duration::from_millis(deadline - self.now));
            match self.poll.poll(&mut self.events, patience) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            let began_us = self.elapsed_us();
            self.now = Millis(began_us / 1000);
            let before = self.sockets.bytes();
            self.proxy.handle_turn(began_us);
            // A timer is due, or something was left over.
            self.is_busy = wakes_at.is_some_and(|at| at <= self.now);
            self.turn();
            self.maybe_time_turn(began_us, before);
            if self.end_at.is_some_and(|end_at| self.is_done() || end_at <= self.now) {
                self.tell(Millis(u64::MAX));
                return Ok(());
            }
        }
    }

    /// True exactly when no client is left, and none could find a reset in the place of the end.
    fn is_done(&self) -> bool {
        self.proxy.is_empty() && self.sockets.is_settled()
    }

    /// The clock, in µs since the start.
    fn elapsed_us(&self) -> u64 {
        let elapsed = self.start.elapsed();
        elapsed.as_secs() * 1_000_000 + u64::from(elapsed.subsec_micros())
    }

    /// Looks how long a turn took that began then, when so many bytes had been moved: from the end of one poll until
    /// the next. To read the clock twice in each turn would cost more than it tells. So a turn is timed that had many
    /// events, read many bytes, accepted, was woken, had a timer due, or in which something was left over, from the
    /// one before or for the next; of the others one in sixteen. What is missed: a turn that took long over a few short
    /// requests, such as one CLIENT LIST of few clients, or in which the system did not let the thread run.
    fn maybe_time_turn(&mut self, began_us: u64, before: Bytes) {
        self.turns = self.turns.wrapping_add(1);
        let has_read_much = self.sockets.bytes().received() - before.received() >= BUSY_BYTES_MIN;
        if self.is_busy || has_read_much || self.has_left_over() || self.turns % TIMED_EVERY == 0 {
            let us = self.elapsed_us() - began_us;
            self.proxy.handle_turn_end(us, self.now);
            self.proxy.handle_bytes(self.sockets.bytes());
        }
    }

    /// True exactly when the next poll may not wait.
    fn has_left_over(&self) -> bool {
        let is_ready = !self.ready_clients.is_empty() || !self.ready_backends.is_empty();
        is_ready || self.sockets.is_closing() || (self.is_accepting && self.accept_at.is_none())
    }

    /// Until when the next poll may wait.
    fn wakes_at(&self) -> Option<Millis> {
        if self.has_left_over() {
            return Some(self.now);
        }
        let of_parts = [self.proxy.next_deadline(), self.dialer.next_deadline(), self.sockets.next_deadline()];
        let next = of_parts.into_iter().chain([self.passwords.next_deadline(), self.accept_at, self.end_at]);
        next.flatten().min()
    }

    fn turn(&mut self) {
        self.on_events();
        self.proxy.handle_follow_ups(self.now);
        self.carry_out();
        if self.is_accepting {
            self.accept();
        }
        self.read();
        self.sockets.end_lingering(self.now);
        inside::maybe_tell_held(&mut self.sockets, &mut self.proxy);
        inside::end_late_handshakes(&mut self.sockets, &mut self.proxy, self.now);
        self.proxy.handle_timeouts(self.now, &mut self.sockets);
        self.proxy.transmit(self.now, &mut self.sockets);
        self.carry_out();
        self.tell(self.now);
    }

    /// Logs what is due at this time.
    fn tell(&mut self, now: Millis) {
        while let Some((level, line)) = self.proxy.poll_notice(now) {
            log!(level, "{line}");
        }
    }

    fn on_events(&mut self) {
        // Taken out for the time of the loop; an empty one costs no memory.
        let events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        let mut is_woken = false;
        self.is_busy |= events.iter().take(BUSY_EVENTS_MIN).count() == BUSY_EVENTS_MIN;
        for event in &events {
            match event.token() {
                LISTENER => {
                    self.is_busy = true;
                    self.is_accepting = self.listener.is_some();
                }
                WAKER => {
                    self.is_busy = true;
                    is_woken = true;
                    self.on_wake();
                }
                token => {
                    let Some(conn) = self.sockets.find(token) else { continue };
                    if event.is_writable() {
                        match conn {
                            Conn::Backend(_) if self.dialer.is_dialing(conn) => {
                                let (sockets, proxy) = (&mut self.sockets, &mut self.proxy);
                                if !self.dialer.on_writable(conn, sockets, proxy, self.now) {
                                    // The rest of this event is about a socket that is gone.
                                    continue;
                                }
                            }
                            _ if self.sockets.is_flushed(conn) => self.proxy.handle_writable(conn),
                            _ => {}
                        }
                    }
                    if !(event.is_readable() || event.is_read_closed() || event.is_error()) {
                        continue;
                    }
                    if let Some(socket) = self.sockets.get_mut(conn) {
                        socket.is_readable = true;
                        socket.is_ending |= event.is_read_closed();
                        self.queue(conn);
                        match conn {
                            Conn::Client(id) if event.is_read_closed() => self.proxy.handle_client_hangup(id),
                            _ => {}
                        }
                    }
                }
            }
        }
        self.events = events;
        if is_woken {
            self.dialer.maybe_renew(&mut self.sockets, &mut self.proxy, self.now);
            self.dialer.on_resolved(&mut self.sockets, &mut self.proxy, self.now);
        }
    }

    fn on_wake(&mut self) {
        if self.handle.answer() && !self.is_draining {
            self.is_draining = true;
            self.end_within(GRACE_MS);
            self.proxy.handle_shutdown();
        }
        self.proxy.handle_bytes(self.sockets.bytes());
        while let Some(post) = self.mailbox.next() {
            match post {
                Post::WorkerMessage(from, message) => self.proxy.handle_worker_message(from, message, self.now),
                Post::WorkerGone(from) => self.proxy.handle_worker_gone(from, self.now),
                Post::Settings(settled) => {
                    let (settings, servers, tls) = *settled;
                    self.passwords.settle(&settings, self.now);
                    let resolve_ms = settings.timeouts.resolve_ms;
                    self.proxy.handle_settings(settings, self.now);
                    let servers = masters::addresses_of(&self.proxy, servers);
                    self.dialer.set_servers(&self.proxy.servers(), &servers, resolve_ms);
                    self.set_tls(tls);
                }
                Post::Dismiss(drain_ms) => {
                    self.end_within(drain_ms);
                    self.proxy.handle_dismiss(drain_ms, self.now);
                }
                Post::Open => self.open(),
                Post::Figures(question) => question.answer(self.proxy.figures(self.now)),
                Post::Hints(hints) => self.doubts.set_hints(hints),
                Post::Moved(moved) => masters::on_moved(&moved, &mut self.dialer, &mut self.proxy, self.now),
                Post::Nodes(told) => nodes::on_told(told, &mut self.dialer, &mut self.proxy, self.now),
                Post::Followed(told) => masters::on_followed(&told, &mut self.dialer, &mut self.proxy, self.now),
                Post::Looked(master) => masters::on_looked(&master, &mut self.proxy, self.now),
            }
        }
        self.passwords.on_read(&mut self.proxy, self.now);
    }

    /// Accepts clients from now on.
    fn open(&mut self) {
        let Some(listener) = &mut self.listener else { return };
        match self.poll.registry().register(listener, LISTENER, Interest::READABLE) {
            Ok(()) => self.is_accepting = true,
            Err(error) => self.proxy.handle_accept_failed(format_args!("cannot watch the listener: {error}")),
        }
    }

    /// Nobody is accepted any more, and after so many milliseconds all is over. Who waits in the listener's queue stays
    /// there: another process may have the same socket.
    fn end_within(&mut self, ms: u64) {
        let end_at = self.now + ms;
        self.end_at = Some(self.end_at.map_or(end_at, |earlier| earlier.min(end_at)));
        self.is_accepting = false;
        if let Some(mut listener) = self.listener.take() {
            // Closing this descriptor of it would not do: as long as there is another, the kernel goes on telling.
            let _ = self.poll.registry().deregister(&mut listener);
        }
    }

    fn accept(&mut self) {
        if self.accept_at.is_some_and(|accept_at| accept_at > self.now) {
            return;
        }
        self.accept_at = None;
        let Some(listener) = &self.listener else { return };
        for _ in 0..ACCEPTS_MAX {
            let mut stream = match listener.accept() {
                Ok(stream) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.is_accepting = false;
                    return;
                }
                // Who gave up before it was accepted is no reason to stop; nor is a signal.
                Err(error) if Listener::is_about_the_peer(&error) => continue,
                // What it listens on was ended before it is told.
                Err(_) if self.handle.is_to_end() => {
                    self.is_accepting = false;
                    return;
                }
                Err(error) => {
                    self.proxy.handle_accept_failed(format_args!(
                        "cannot accept a connection, and pause for {ACCEPT_PAUSE_MS} ms: {error}"
                    ));
                    self.accept_at = Some(self.now + ACCEPT_PAUSE_MS);
                    return;
                }
            };
            let Some(id) = self.proxy.handle_accept(self.now) else {
                // It may not even be reading; what it can not be told at once it is not told.
                if self.local_tls.is_none() {
                    let _ = io::Write::write(&mut stream, Proxy::TOO_MANY_CLIENTS);
                }
                continue;
            };
            if let Some(address) = stream.peer_address() {
                self.proxy.handle_peer(id, address);
            }
            let conn = Conn::Client(id);
            let added = self.sockets.add(conn, stream);
            let tls = self.local_tls.as_ref();
            match added.and_then(|()| self.sockets.maybe_begin_session(tls, conn)) {
                // Who connects has often asked already; if not, the kernel will tell.
                Ok(()) => {
                    if let Some(socket) = self.sockets.get_mut(conn) {
                        (socket.is_readable, socket.is_queued) = (true, true);
                        self.ready_clients.push(id);
                    }
                }
                Err(error) => {
                    self.proxy.handle_accept_failed(format_args!("cannot watch a connection: {error}"));
                    self.proxy.handle_client_broken(id);
                }
            }
        }
    }

    /// Reads each ready socket once: those of clients, and then, when their requests are on their way, those of
    /// backends.
    fn read(&mut self) {
        // What is put on a list meanwhile is for the next turn.
        let count = self.ready_clients.len();
        for index in 0..count {
            self.read_from(Conn::Client(self.ready_clients[index]));
        }
        self.ready_clients.drain(..count);
        self.proxy.transmit_requests(self.now, &mut self.sockets);
        let count = self.ready_backends.len();
        for index in 0..count {
            self.read_from(Conn::Backend(self.ready_backends[index]));
        }
        self.ready_backends.drain(..count);
    }

    /// Reads a ready socket once.
    fn read_from(&mut self, conn: Conn) {
        let Some(socket) = self.sockets.get_mut(conn) else { return };
        socket.is_queued = false;
        if !socket.is_readable || !self.proxy.is_listening_to(conn) {
            return;
        }
        let asked = self.proxy.read_max(conn);
        if socket.has_session {
            let area = (self.scratch.read_area(), asked);
            let (sockets, proxy) = (&mut self.sockets, &mut self.proxy);
            return match inside::receive(conn, area, &mut self.dialer, sockets, proxy, self.now) {
                Some(Ok((incoming, is_end))) => self.on_received(conn, incoming, is_end),
                Some(Err(error)) => self.on_broken(conn, &error),
                None => {}
            };
        }
        match socket.stream.receive(self.scratch.read_area(), asked) {
            Ok(incoming) => {
                let is_end = socket.take_in(incoming);
                self.on_received(conn, incoming, is_end);
            }
            Err(error) => self.on_broken(conn, &error),
        }
    }

    /// Hands on what a read has brought.
    #[inline]
    fn on_received(&mut self, conn: Conn, incoming: Incoming, is_end: bool) {
        let got = incoming.count;
        if !incoming.is_drained {
            self.queue(conn);
        }
        if got == 0 {
            if is_end {
                self.on_end(conn);
            } else if incoming.is_drained && dismiss::on_silent(conn, &mut self.sockets, &mut self.proxy, self.now) {
                self.queue(conn);
            }
            return;
        }
        self.sockets.count_read(conn, got);
        match conn {
            Conn::Client(id) => {
                self.proxy.handle_client_data(id, &mut self.scratch, got, self.now, &mut self.sockets);
            }
            Conn::Backend(id) => {
                self.proxy.handle_backend_data(id, &mut self.scratch, got, self.now, &mut self.sockets);
            }
        }
        if is_end {
            self.on_end(conn);
        }
    }

    /// Puts a connection on its list of the ready, if it has something to read and does not stand there.
    fn queue(&mut self, conn: Conn) {
        let Some(socket) = self.sockets.get_mut(conn).filter(|socket| socket.is_readable && !socket.is_queued) else {
            return;
        };
        socket.is_queued = true;
        match conn {
            Conn::Client(id) => self.ready_clients.push(id),
            Conn::Backend(id) => self.ready_backends.push(id),
        }
    }

    fn on_end(&mut self, conn: Conn) {
        match conn {
            Conn::Client(id) => self.proxy.handle_client_end(id),
            Conn::Backend(id) => self.proxy.handle_backend_end(id, self.now),
        }
    }

    fn on_broken(&mut self, conn: Conn, error: &io::Error) {
        match conn {
            Conn::Client(id) => self.proxy.handle_client_broken(id),
            Conn::Backend(id) => self.proxy.handle_backend_broken(id, &error.to_string(), self.now),
        }
    }

    /// Does what the proxy asks for.
    fn carry_out(&mut self) {
        self.dialer.retry(&mut self.sockets, &mut self.proxy, self.now);
        self.passwords.maybe_read(&mut self.proxy, self.now);
        while let Some((backend, server)) = self.passwords.next_released(self.now) {
            nodes::maybe_place(server, &mut self.dialer, &self.proxy);
            self.dialer.dial(backend, server, &mut self.sockets, &mut self.proxy, self.now);
        }
        while let Some(action) = self.proxy.poll_action() {
            match action {
                Action::Connect { backend, server } if self.passwords.holds(backend, server, self.now) => {}
                Action::Connect { backend, server } => {
                    nodes::maybe_place(server, &mut self.dialer, &self.proxy);
                    self.dialer.dial(backend, server, &mut self.sockets, &mut self.proxy, self.now);
                }
                Action::Resolve(server) if self.proxy.is_master(server) => {
                    self.doubts.tell_master(server, &mut self.proxy, self.now)
                }
                Action::Resolve(server) => self.dialer.resolve(server, &mut self.proxy, self.now),
                Action::Renew(server) => self.dialer.renew(server, &mut self.proxy, self.now),
                Action::Close(conn) => {
                    self.passwords.forget(conn);
                    self.dialer.forget(conn);
                    self.sockets.remove(conn);
                }
                Action::Refresh(cause) => self.doubts.tell_slots(cause),
                Action::Resume(conn) => self.queue(conn),
                Action::Dismiss(id) => {
                    if let Some(socket) = self.sockets.get_mut(Conn::Client(id)) {
                        (socket.is_readable, socket.is_dismissed) = (true, true);
                    }
                    self.queue(Conn::Client(id));
                }
                Action::Post => {
                    while let Some((to, message)) = self.proxy.poll_worker_message() {
                        if !self.mailbox.send(to, message) {
                            self.proxy.handle_worker_gone(to, self.now);
                        }
                    }
                }
            }
        }
        if self.sockets.close_some() {
            // A descriptor is free again.
            self.accept_at = None;
        }
    }
}
