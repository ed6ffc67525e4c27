//! The statsd server that is sent counters once a second (`-graphite`): where it is, when it is time, and the socket.
//!
//! ```text
//!   each second: a report is wanted ─► what happened since the one before ─► datagrams ─► UDP, and nobody waits
//!   each minute: the name is looked up again, on a thread of its own; the last address that was found stays
//! ```
//!
//! A server that is away costs nothing, and what it misses is lost, as with any of statsd. As long as it is not known
//! where it is, nothing is asked for. Knows not what is sent.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::warn;
use mio::Waker;

use super::report::Report;
use crate::net::Address;
use crate::resolve::Resolver;

/// From one message to the next.
const TICK: Duration = Duration::from_secs(1);
/// From one lookup to the next.
const LOOKUP_INTERVAL: Duration = Duration::from_secs(60);

/// What happened between two reports, as datagrams; the text begins each name, and the switch is for times.
pub(super) type Write = fn(&Report, &Report, &str, bool) -> Vec<Vec<u8>>;

/// The server, and what it was told.
#[derive(Debug)]
pub(super) struct Graphite {
    host: String,
    port: u16,
    resolver: Resolver,
    look_up_at: Instant,
    /// Whether the log was told that it cannot be found.
    is_missing: bool,
    /// Once its address is known.
    server: Option<(UdpSocket, SocketAddr)>,
    /// When the next report is wanted; `None` once it was the last.
    tick_at: Option<Instant>,
    is_ending: bool,
    /// What was told; `None` if the next report is the first to count from.
    before: Option<Report>,
    prefix: String,
    with_timing: bool,
    write: Write,
}

impl Graphite {
    /// A server that is looked for from now on; `waker` rings when its name has been looked up.
    pub fn new(address: &Address, with_timing: bool, write: Write, waker: Arc<Waker>, now: Instant) -> Graphite {
        let (host, port) = match address {
            Address::Tcp { host, port } => (host.clone(), *port),
            // The configuration has none.
            Address::Unix(path) => (path.display().to_string(), 0),
        };
        let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Graphite {
            host,
            port,
            resolver: Resolver::new(waker),
            look_up_at: now,
            is_missing: false,
            server: None,
            tick_at: Some(now + TICK),
            is_ending: false,
            before: Some(Report::default()),
            prefix: prefix(&name),
            with_timing,
            write,
        }
    }

    /// When there is something to do next, but for what is due already and waits for a report.
    pub fn next_deadline(&self, now: Instant) -> Instant {
        match self.tick_at.filter(|at| self.server.is_some() && *at > now) {
            Some(tick_at) => tick_at.min(self.look_up_at),
            None => self.look_up_at,
        }
    }

    /// Does what is due but for the sending.
    pub fn poll(&mut self, now: Instant) {
        if self.look_up_at <= now {
            self.look_up_at = now + LOOKUP_INTERVAL;
            self.resolver.resolve(0, &self.host, self.port);
        }
        while let Some((_, outcome)) = self.resolver.poll() {
            let found = outcome.and_then(|addresses| {
                let address = addresses[0];
                match &self.server {
                    Some((_, other)) if *other == address => Ok(None),
                    _ => socket_for(address).map(|socket| Some((socket, address))),
                }
            });
            match found {
                Ok(server) => {
                    self.server = server.or(self.server.take());
                    self.is_missing = false;
                }
                Err(error) => {
                    if !self.is_missing {
                        let (host, port) = (&self.host, self.port);
                        warn!("graphite: {host}:{port} cannot be found, and is looked for every minute: {error}");
                    }
                    self.is_missing = true;
                    if self.server.is_none() {
                        self.before = None;
                    }
                }
            }
        }
    }

    /// True exactly when a report is wanted.
    pub fn is_due(&self, now: Instant) -> bool {
        self.server.is_some() && self.tick_at.is_some_and(|at| at <= now)
    }

    /// Sends what happened since the report before this one, if it is time.
    pub fn tell(&mut self, report: &Report, now: Instant) {
        let Some((socket, address)) = self.server.as_ref().filter(|_| self.is_due(now)) else { return };
        if let Some(before) = &self.before {
            for datagram in (self.write)(before, report, &self.prefix, self.with_timing) {
                // One that is not taken is lost.
                let _ = socket.send_to(&datagram, address);
            }
        }
        self.before = Some(report.clone());
        self.tick_at = match self.tick_at {
            Some(_) if self.is_ending => None,
            // After a pause, one message is enough.
            Some(at) if at + TICK > now => Some(at + TICK),
            _ => Some(now + TICK),
        };
    }

    /// Another process will tell it the rest, or there will be none: it is told once more.
    pub fn end(&mut self, now: Instant) {
        if !self.is_ending {
            self.is_ending = true;
            self.tick_at = Some(now);
        }
    }
}

/// A socket that sends to addresses of this kind.
fn socket_for(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // Not connected: so it is not told that nobody is there, which would cost it a datagram each time.
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// What begins the name of each metric, as in the original: with the host's name, without what has a meaning there.
fn prefix(host_name: &str) -> String {
    let plain = |char: char| if char.is_ascii_alphanumeric() || char == '_' { char } else { '-' };
    let name: String = host_name.trim().chars().map(plain).collect();
    ["rmux.", if name.is_empty() { "localhost" } else { &name }, "."].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll, Token};

    const PATIENCE: Duration = Duration::from_secs(10);

    fn numbers(before: &Report, now: &Report, prefix: &str, with_timing: bool) -> Vec<Vec<u8>> {
        let line = format!("{prefix} {} {} {with_timing}", before.unix_ms, now.unix_ms);
        vec![line.into_bytes(), b"more".to_vec()]
    }

    fn graphite(host: &str, port: u16, now: Instant) -> (Graphite, Poll) {
        let poll = Poll::new().expect("descriptors are free");
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).expect("descriptors are free"));
        let address = Address::Tcp { host: host.to_owned(), port };
        let mut graphite = Graphite::new(&address, true, numbers, waker, now);
        graphite.prefix = "p".to_owned();
        (graphite, poll)
    }

    fn report(unix_ms: u64) -> Report {
        Report { unix_ms, ..Report::default() }
    }

    /// Until it was looked for.
    fn look_up(graphite: &mut Graphite, poll: &mut Poll, now: Instant) {
        graphite.poll(now);
        let deadline = Instant::now() + PATIENCE;
        while graphite.server.is_none() && !graphite.is_missing {
            assert!(Instant::now() < deadline, "the lookup does not end");
            let _ = poll.poll(&mut Events::with_capacity(1), Some(Duration::from_millis(20)));
            graphite.poll(now);
        }
    }

    #[test]
    fn it_is_told_once_a_second_and_a_last_time_at_the_end() {
        let server = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        server.set_read_timeout(Some(PATIENCE)).expect("more than zero");
        let now = Instant::now();
        let (mut graphite, mut poll) = graphite("localhost", server.local_addr().expect("bound").port(), now);
        look_up(&mut graphite, &mut poll, now);
        graphite.server = Some((
            socket_for(server.local_addr().expect("bound")).expect("descriptors are free"),
            server.local_addr().expect("bound"),
        ));
        let received = || {
            let mut bytes = [0; 100];
            let mut next =
                || server.recv(&mut bytes).map(|length| String::from_utf8_lossy(&bytes[..length]).into_owned());
            let first = next().expect("a datagram");
            assert_eq!(next().expect("another one"), "more");
            first
        };
        let after = |ms: u64| now + Duration::from_millis(ms);
        graphite.tell(&report(1), after(999));
        assert!(!graphite.is_due(after(999)) && graphite.is_due(after(1000)));
        graphite.tell(&report(2), after(1003));
        assert_eq!(received(), "p 0 2 true", "nothing was sent too early");
        assert_eq!(graphite.tick_at, Some(after(2000)));
        graphite.tell(&report(3), after(7000));
        assert_eq!(received(), "p 2 3 true");
        assert_eq!(graphite.tick_at, Some(after(8000)), "what was missed is not made up for");
        graphite.end(after(7100));
        graphite.tell(&report(4), after(7100));
        assert_eq!(received(), "p 3 4 true");
        graphite.end(after(7200));
        graphite.tell(&report(5), after(90_000));
        server.set_nonblocking(true).expect("a socket");
        server.recv(&mut [0; 100]).expect_err("it was the last time");
    }

    #[test]
    fn a_server_that_cannot_be_found_is_looked_for_again_and_is_told_from_then_on() {
        let now = Instant::now();
        let (mut graphite, mut poll) = graphite("no such host", 8125, now);
        look_up(&mut graphite, &mut poll, now);
        assert!(graphite.is_missing && !graphite.is_due(now + PATIENCE));
        assert_eq!(graphite.next_deadline(now), now + LOOKUP_INTERVAL);
        let server = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        server.set_nonblocking(true).expect("a socket");
        (graphite.host, graphite.port) = ("127.0.0.1".to_owned(), server.local_addr().expect("bound").port());
        graphite.is_missing = false;
        let later = now + LOOKUP_INTERVAL;
        look_up(&mut graphite, &mut poll, later);
        graphite.tell(&report(8), later);
        server.recv(&mut [0; 100]).expect_err("nobody knows what was before");
        graphite.tell(&report(9), later + TICK);
        let mut bytes = [0; 100];
        let length = server.recv(&mut bytes).expect("it is there at once");
        assert_eq!(&bytes[..length], b"p 8 9 true");
    }

    #[test]
    fn the_host_has_no_dots_in_the_prefix() {
        assert_eq!(prefix("web-1.example.org\n"), "rmux.web-1-example-org.");
        assert_eq!(prefix("a:b|c@d\n"), "rmux.a-b-c-d.");
        assert_eq!(prefix("\n"), "rmux.localhost.");
    }
}
