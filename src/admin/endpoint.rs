//! The loop behind the admin endpoint: who connects is accepted, what they ask for is found out, and they are told.
//!
//! ```text
//!   poll ─► news from the main thread ─► answers of reactors ─► accept, read, write ─► a report for all who wait for
//!        one ─► the next round, if somebody waits ─► who is late is closed ─► poll …
//! ```
//!
//! At most `CONNECTIONS_MAX` are served at a time. One more takes the place of the one that was kept for the longest
//! time without asking anything, and else is told 503. Sockets are watched edge-triggered, for both directions: a
//! connection is told to go on whenever something may have changed for it, and knows itself whether it can.
//!
//! Knows what becomes of a request for a page, and not how it was put.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use log::warn;
use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;

use super::connection::{Connection, Page};
use super::graphite::Graphite;
use super::http::Status;
use super::interval::Recent;
use super::report::{PoolReport, Reloads, Report};
use super::response::Kind;
use super::round::{Rounds, Watched};
use super::{metrics, page, process, statsd, status};
use crate::channel::{Receiver, Sender, channel};
use crate::config::Config;
use crate::net::{Listener, Stream};

/// Connections that are served at one time.
const CONNECTIONS_MAX: usize = 64;
/// With those that are told that there is no place for them.
const SOCKETS_MAX: usize = CONNECTIONS_MAX + 16;
/// Pause after the system had no file descriptor for one more.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Readiness events taken from the kernel at one time.
const EVENTS_MAX: usize = 128;

const LISTENER: Token = Token(0);
const WAKER: Token = Token(1);
/// The first of those of connections.
const FIRST: usize = 2;

/// What the endpoint is told by the one that runs the pools.
#[derive(Debug)]
pub enum News {
    /// From now on these are the pools.
    Pools(Vec<Watched>),
    /// From now on those who ask this endpoint connect here.
    Listen(Listener),
    /// From now on clients are accepted.
    Accepting,
    /// A reload has ended; true if it was refused.
    Reload(bool),
    /// Clients are not accepted any more, and nor is who asks; or, if true, another process accepts both.
    Ending(bool),
}

/// With what it is told.
#[derive(Debug)]
pub struct Link {
    news: Sender<News>,
    waker: Arc<Waker>,
}

impl Link {
    /// Tells it something. Nothing happens if its thread has failed.
    pub fn tell(&self, news: News) {
        if self.news.send(news) {
            // It fails only if the system has no memory; then it is seen with whatever happens next.
            let _ = self.waker.wake();
        }
    }
}

/// The endpoint, to be run on a thread of its own.
#[derive(Debug)]
pub struct Endpoint {
    poll: Poll,
    news: Receiver<News>,
    listener: Option<Listener>,
    /// When there may be somebody to accept.
    accept_at: Option<Instant>,
    connections: Slab<Connection>,
    rounds: Rounds,
    graphite: Option<Graphite>,
    /// What is known without asking anybody; the rest is put in by each round.
    report: Report,
    /// What the page compares it with.
    recent: Recent,
    /// True once nobody is accepted any more, and so nobody is kept.
    is_ending: bool,
    /// A page while it is written: one buffer for all.
    body: Vec<u8>,
}

impl Endpoint {
    /// One that listens nowhere and knows no pools, until it is told. It tells the statsd server of the configuration,
    /// if that has one, from now on.
    ///
    /// # Errors
    ///
    /// When no file descriptor is free.
    pub fn new(config: &Config) -> io::Result<(Endpoint, Link)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let (sender, news) = channel();
        let server = config.graphite.as_ref();
        let graphite = server
            .map(|server| Graphite::new(server, config.timing, statsd::datagrams, Arc::clone(&waker), Instant::now()));
        let report = Report { started_unix_ms: unix_ms(), ..Report::default() };
        let endpoint = Endpoint {
            poll,
            news,
            listener: None,
            accept_at: None,
            connections: Slab::new(),
            rounds: Rounds::new(Arc::clone(&waker)),
            graphite,
            report,
            recent: Recent::default(),
            is_ending: false,
            body: Vec::new(),
        };
        Ok((endpoint, Link { news: sender, waker }))
    }

    /// Runs until it is told that all ends, and nobody is left who waits for an answer.
    ///
    /// # Errors
    ///
    /// When the kernel's polling fails.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        loop {
            let patience = self.next_deadline().map(|at| at.saturating_duration_since(Instant::now()));
            match self.poll.poll(&mut events, patience) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            let now = Instant::now();
            for event in &events {
                match event.token() {
                    LISTENER => self.accept_at = self.listener.is_some().then_some(now),
                    WAKER => {}
                    Token(number) => self.go_on(number - FIRST, now),
                }
            }
            self.turn(now);
            let is_awaited = || self.is_round_wanted(now) || self.rounds.is_under_way();
            if self.is_ending && self.connections.is_empty() && !is_awaited() {
                return Ok(());
            }
        }
    }

    fn turn(&mut self, now: Instant) {
        while let Some(news) = self.news.try_recv() {
            self.on_news(news, now);
        }
        if self.accept_at.is_some_and(|at| at <= now) {
            self.accept(now);
        }
        if let Some(graphite) = &mut self.graphite {
            graphite.poll(now);
        }
        if self.is_round_wanted(now) && self.rounds.next_begin(now) <= now {
            self.rounds.begin(now);
        }
        if let Some(pools) = self.rounds.poll(now) {
            self.on_round_over(pools, now);
        }
        self.close_late(now);
    }

    fn next_deadline(&self) -> Option<Instant> {
        let now = Instant::now();
        let of_round = match self.rounds.deadline() {
            None if self.is_round_wanted(now) => Some(self.rounds.next_begin(now)),
            deadline => deadline,
        };
        let late = self.connections.iter().map(|(_, connection)| connection.deadline());
        let of_graphite = self.graphite.as_ref().map(|graphite| graphite.next_deadline(now));
        late.chain(of_round).chain(of_graphite).chain(self.accept_at).min()
    }

    fn is_round_wanted(&self, now: Instant) -> bool {
        let is_asked = || self.connections.iter().any(|(_, connection)| connection.page().is_some());
        let is_due = || self.graphite.as_ref().is_some_and(|graphite| graphite.is_due(now));
        !self.rounds.is_under_way() && (is_asked() || is_due())
    }

    fn on_news(&mut self, news: News, now: Instant) {
        match news {
            News::Pools(pools) => self.rounds.set_pools(pools, now),
            News::Listen(listener) => self.listen(listener, now),
            News::Accepting => self.report.is_accepting = true,
            News::Reload(is_refused) => {
                let reloads: &mut Reloads = &mut self.report.reloads;
                *(if is_refused { &mut reloads.refused } else { &mut reloads.done }) += 1;
                (reloads.last_unix_ms, reloads.is_last_refused) = (unix_ms(), is_refused);
            }
            News::Ending(is_replaced) => {
                // Who asked just before is told how the service is, and not this process of it.
                self.report.is_accepting &= is_replaced;
                self.is_ending = true;
                self.graphite.iter_mut().for_each(|graphite| graphite.end(now));
                self.accept_at = None;
                if let Some(mut listener) = self.listener.take() {
                    // Another process may have the same socket, and then the kernel would go on telling.
                    let _ = self.poll.registry().deregister(&mut listener);
                }
                let numbers: Vec<usize> = self.connections.iter().map(|(number, _)| number).collect();
                numbers.into_iter().for_each(|number| self.go_on(number, now));
            }
        }
    }

    fn listen(&mut self, mut listener: Listener, now: Instant) {
        match self.poll.registry().register(&mut listener, LISTENER, Interest::READABLE) {
            Ok(()) => (self.listener, self.accept_at) = (Some(listener), Some(now)),
            Err(error) => warn!("admin: cannot watch the listener: {error}"),
        }
    }

    fn accept(&mut self, now: Instant) {
        for _ in 0..CONNECTIONS_MAX {
            let Some(listener) = &self.listener else { return };
            match listener.accept() {
                Ok(stream) => self.add(stream, now),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.accept_at = None;
                    return;
                }
                // Who gave up before it was accepted.
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                Err(error) => {
                    warn!("admin: cannot accept a connection: {error}");
                    self.accept_at = Some(now + ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    fn add(&mut self, stream: Stream, now: Instant) {
        let mut served = self.connections.iter().filter(|(_, connection)| !connection.is_leaving()).count();
        if served >= CONNECTIONS_MAX {
            let spare = self.connections.iter().filter(|(_, connection)| connection.is_spare());
            if let Some((number, _)) = spare.min_by_key(|(_, connection)| connection.deadline()) {
                self.connections.remove(number);
                served -= 1;
            }
        }
        if self.connections.len() >= SOCKETS_MAX {
            return;
        }
        let mut connection = Connection::new(stream, now);
        let entry = self.connections.vacant_entry();
        let (number, token) = (entry.key(), Token(FIRST + entry.key()));
        let both = Interest::READABLE | Interest::WRITABLE;
        if self.poll.registry().register(connection.stream(), token, both).is_err() {
            return;
        }
        if served >= CONNECTIONS_MAX {
            connection.turn_away(now);
        }
        entry.insert(connection);
        self.go_on(number, now);
    }

    fn go_on(&mut self, number: usize, now: Instant) {
        // One that is gone already may still have an event.
        let Some(connection) = self.connections.get_mut(number) else { return };
        connection.go_on(now, self.is_ending);
        if connection.is_closed() {
            self.connections.remove(number);
        }
    }

    fn close_late(&mut self, now: Instant) {
        self.connections.retain(|_, connection| {
            if connection.deadline() <= now {
                connection.expire(now);
            }
            !connection.is_closed()
        });
    }

    fn on_round_over(&mut self, pools: Vec<PoolReport>, now: Instant) {
        self.report.unix_ms = unix_ms();
        if self.connections.iter().any(|(_, connection)| connection.page().is_some_and(Page::is_about_process)) {
            self.report.process = process::look();
        }
        self.report.pools = pools;
        let Endpoint { connections, report, recent, body, is_ending, graphite, .. } = self;
        if let Some(graphite) = graphite {
            graphite.tell(report, now);
        }
        // Who asks for metrics alone makes nobody keep a report.
        let is_home = |page: Page| page == Page::Home;
        let before = match connections.iter().any(|(_, connection)| connection.page().is_some_and(is_home)) {
            true => recent.before(report),
            false => None,
        };
        for (_, connection) in connections.iter_mut() {
            let Some(page) = connection.page() else { continue };
            body.clear();
            let (status, kind) = write_page(page, report, before, body);
            connection.answer(status, kind, body, *is_ending, now);
        }
        connections.retain(|_, connection| !connection.is_closed());
    }
}

/// Writes a page.
fn write_page(page: Page, report: &Report, before: Option<&Report>, body: &mut Vec<u8>) -> (Status, Kind) {
    let problem = match page {
        Page::Missing => {
            body.extend_from_slice(Status::NotFound.line().as_bytes());
            body.push(b'\n');
            return (Status::NotFound, Kind::Text);
        }
        Page::Health => report.why_stuck(),
        Page::Ready => report.why_not_ready(),
        Page::Metrics { is_open } => {
            metrics::write(report, is_open, body);
            return (Status::Ok, if is_open { Kind::OpenMetrics } else { Kind::Metrics });
        }
        Page::Status => {
            status::write(report, body);
            return (Status::Ok, Kind::Json);
        }
        Page::Home => {
            page::write(report, before, body);
            return (Status::Ok, Kind::Html);
        }
    };
    let status = if problem.is_none() { Status::Ok } else { Status::Unavailable };
    body.extend_from_slice(problem.as_deref().unwrap_or("ok").as_bytes());
    body.push(b'\n');
    (status, Kind::Text)
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
