//! Connects backends: from a server's address to a connected socket.
//!
//! A host name is looked up on another thread, at the first connect and again before a later one, once what is known is
//! older than a few seconds; all addresses of a name are tried in turn. A Unix socket whose backlog is full is tried
//! again a little later. How long all of this may take is the proxy's business: it closes a backend that is late.
//!
//! ```text
//!   dial ─► look up? ─► connect to the next address ─► on_writable: connected, or the next, or failed
//! ```
//!
//! Invariant: a backend stands in `dials` from `dial` until it is connected, has failed, or is closed by the proxy.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use log::debug;
use mio::Waker;

use super::sockets::Sockets;
use crate::net::{Address, ResolvedAddress, Stream};
use crate::proxy::{Conn, Proxy};
use crate::resolve::{Resolver, literal};
use crate::server_id::ServerId;
use crate::slots::Id;
use crate::timer::Millis;

/// A looked-up name is good for so long, in milliseconds; shorter than any sensible failover by DNS.
const NAME_MS: u64 = 5_000;
/// Pause before a Unix socket with a full backlog is tried again, in milliseconds.
const RETRY_MS: u64 = 2;

/// One backend on its way.
struct Dial {
    backend: Id,
    server: ServerId,
    /// Addresses that were not tried yet, the next one last.
    rest: Vec<ResolvedAddress>,
    state: State,
    /// Why the last address failed.
    reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Its server's name is being looked up.
    LookingUp,
    /// Its socket is connecting.
    Connecting,
    /// It is tried again at this time.
    Retrying(Millis),
}

/// What is known of the addresses of one server.
enum Target {
    Fixed(ResolvedAddress),
    Name { host: String, port: u16, known: Vec<SocketAddr>, known_until: Millis },
}

impl Target {
    fn new(address: &Address) -> Target {
        match address {
            Address::Unix(path) => Target::Fixed(ResolvedAddress::Unix(path.clone())),
            Address::Tcp { host, port } => match literal(host, *port) {
                Some(address) => Target::Fixed(ResolvedAddress::Tcp(address)),
                None => Target::Name { host: host.clone(), port: *port, known: Vec::new(), known_until: Millis(0) },
            },
        }
    }
}

/// Connects the backends of one reactor.
pub(super) struct Dialer {
    targets: Vec<(ServerId, Target)>,
    resolver: Resolver,
    dials: Vec<Dial>,
}

impl Dialer {
    pub fn new(waker: Arc<Waker>) -> Dialer {
        Dialer { targets: Vec::new(), resolver: Resolver::new(waker), dials: Vec::new() }
    }

    /// These are the servers from here on, each with its address, if that is known. What is known of those that stay is
    /// kept, and so are those that are being dialled.
    pub fn set_servers(&mut self, servers: &[ServerId], addresses: &[Option<Address>]) {
        for (&server, address) in servers.iter().zip(addresses) {
            if let (None, Some(address)) = (self.target(server), address) {
                self.targets.push((server, Target::new(address)));
            }
        }
        let dials = &self.dials;
        self.targets.retain(|(server, _)| servers.contains(server) || dials.iter().any(|dial| dial.server == *server));
    }

    /// Where a server is.
    fn target(&mut self, server: ServerId) -> Option<&mut Target> {
        self.targets.iter_mut().find(|entry| entry.0 == server).map(|(_, target)| target)
    }

    /// When something is to be tried again.
    pub fn next_deadline(&self) -> Option<Millis> {
        let retry_at = |dial: &Dial| match dial.state {
            State::Retrying(at) => Some(at),
            _ => None,
        };
        self.dials.iter().filter_map(retry_at).min()
    }

    /// True while this backend is on its way.
    pub fn is_dialing(&self, conn: Conn) -> bool {
        self.dials.iter().any(|dial| Conn::Backend(dial.backend) == conn)
    }

    /// True while a backend waits for its server's name to be looked up.
    pub fn is_looking_up(&self) -> bool {
        self.dials.iter().any(|dial| dial.state == State::LookingUp)
    }

    /// The proxy has closed this connection.
    pub fn forget(&mut self, conn: Conn) {
        self.dials.retain(|dial| Conn::Backend(dial.backend) != conn);
    }

    /// Begins to connect a backend.
    pub fn dial(&mut self, backend: Id, server: ServerId, sockets: &mut Sockets, proxy: &mut Proxy, now: Millis) {
        let mut dial = Dial { backend, server, rest: Vec::new(), state: State::LookingUp, reason: String::new() };
        // One that is not known has no address: it fails at once.
        match self.targets.iter().find(|entry| entry.0 == server).map(|(_, target)| target) {
            None => {}
            Some(Target::Fixed(address)) => dial.rest.push(address.clone()),
            Some(Target::Name { known, known_until, .. }) if *known_until > now => dial.rest = in_reverse(known),
            Some(Target::Name { host, port, .. }) => {
                self.resolver.resolve(server.number(), host, *port);
                self.dials.push(dial);
                return;
            }
        }
        self.dials.push(dial);
        self.try_next(self.dials.len() - 1, sockets, proxy, now);
    }

    /// Names may have been looked up.
    pub fn on_resolved(&mut self, sockets: &mut Sockets, proxy: &mut Proxy, now: Millis) {
        while let Some((server, result)) = self.resolver.poll() {
            let waits = |dial: &Dial| dial.server.number() == server && dial.state == State::LookingUp;
            let reason = match result {
                Ok(addresses) => {
                    while let Some(index) = self.dials.iter().position(waits) {
                        self.dials[index].rest = in_reverse(&addresses);
                        self.try_next(index, sockets, proxy, now);
                    }
                    let asked = self.targets.iter_mut().find(|entry| entry.0.number() == server);
                    if let Some((_, Target::Name { known, known_until, .. })) = asked {
                        *known = addresses;
                        *known_until = now + NAME_MS;
                    }
                    continue;
                }
                Err(error) => format!("its name is not found: {error}"),
            };
            while let Some(index) = self.dials.iter().position(waits) {
                let dial = self.dials.swap_remove(index);
                proxy.handle_connect_failed(dial.backend, &reason, now);
            }
        }
    }

    /// A socket that was connecting is connected, or has failed. Returns whether it still is the connection's socket:
    /// it is not when the next address is being tried, or none is left.
    pub fn on_writable(&mut self, conn: Conn, sockets: &mut Sockets, proxy: &mut Proxy, now: Millis) -> bool {
        let Some(index) = self.dials.iter().position(|dial| Conn::Backend(dial.backend) == conn) else { return true };
        let Some(socket) = sockets.get_mut(conn) else { return false };
        match socket.stream.is_connected() {
            Ok(false) => true,
            Ok(true) => {
                let dial = self.dials.swap_remove(index);
                proxy.handle_connected(dial.backend, now);
                true
            }
            Err(error) => {
                sockets.remove(conn);
                self.dials[index].reason = error.to_string();
                self.try_next(index, sockets, proxy, now);
                false
            }
        }
    }

    /// Tries again what was put off.
    pub fn retry(&mut self, sockets: &mut Sockets, proxy: &mut Proxy, now: Millis) {
        let is_due = |dial: &Dial| matches!(dial.state, State::Retrying(at) if at <= now);
        while let Some(index) = self.dials.iter().position(is_due) {
            self.try_next(index, sockets, proxy, now);
        }
    }

    /// Connects to the next address, or gives up when there is none.
    fn try_next(&mut self, index: usize, sockets: &mut Sockets, proxy: &mut Proxy, now: Millis) {
        let dial = &mut self.dials[index];
        let conn = Conn::Backend(dial.backend);
        while let Some(address) = dial.rest.pop() {
            let begun = Stream::connect(&address).and_then(|stream| sockets.add(conn, stream));
            match begun {
                Ok(()) => {
                    dial.state = State::Connecting;
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    dial.rest.push(address);
                    dial.state = State::Retrying(now + RETRY_MS);
                    return;
                }
                Err(error) => {
                    debug!("cannot connect to {address}: {error}");
                    dial.reason = error.to_string();
                }
            }
        }
        let dial = self.dials.swap_remove(index);
        if let Some(Target::Name { known_until, .. }) = self.target(dial.server) {
            // The name may belong to another address by now.
            *known_until = Millis(0);
        }
        proxy.handle_connect_failed(dial.backend, &dial.reason, now);
    }
}

fn in_reverse(addresses: &[SocketAddr]) -> Vec<ResolvedAddress> {
    addresses.iter().rev().map(|&address| ResolvedAddress::Tcp(address)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Reactor;
    use super::*;
    use crate::net::listen;
    use crate::proxy::Settings;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::thread;
    use std::time::Duration;

    fn bind() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        (listener, address)
    }

    #[test]
    fn what_an_event_says_of_a_refused_address_is_not_said_of_the_next_one() {
        let (server, served) = bind();
        let (closed, refused) = bind();
        drop(closed);
        let any = Address::Tcp { host: "127.0.0.1".to_owned(), port: 0 };
        let (listener, _) = listen(&any, 1, 0).expect("a free port");
        let servers = [Some(Address::Tcp { host: "redis1".to_owned(), port: served.port() })];
        let mut reactor =
            Reactor::new(Settings::new(vec!["redis1".to_owned()]), listener, &servers).expect("descriptors are free");
        *reactor.dialer.target(ServerId::of_index(0)).expect("it is known") = Target::Name {
            host: "redis1".to_owned(),
            port: served.port(),
            known: vec![refused, served],
            known_until: Millis(u64::MAX),
        };
        let handle = reactor.handle();
        let running = thread::spawn(move || reactor.run(|| {}));

        // Answers the handshake as a server does that knows no more than PING.
        let (mut backend, _) = server.accept().expect("the second address is tried");
        backend.set_read_timeout(Some(Duration::from_secs(10))).expect("more than zero");
        let mut heard = Vec::new();
        while !heard.ends_with(b"PING\r\n") {
            let mut bytes = [0; 256];
            let length = backend.read(&mut bytes).expect("a handshake in time");
            assert_ne!(length, 0, "it was closed in the middle of the handshake");
            let steps = bytes[..length].iter().filter(|&&byte| byte == b'*').count();
            backend.write_all(&b"+PONG\r\n".repeat(steps)).expect("somebody reads");
            heard.extend_from_slice(&bytes[..length]);
        }
        backend.set_read_timeout(Some(Duration::from_millis(200))).expect("more than zero");
        let silence = backend.read(&mut [0; 256]).expect_err("neither an end nor a word: the connection is kept");
        assert_eq!(silence.kind(), io::ErrorKind::WouldBlock);
        handle.drain();
        running.join().expect("no panic").expect("a good end");
    }
}
