//! Connects backends: from a server's address to a connected socket.
//!
//! All addresses of a name are tried in turn. What is known of a name is used at once, whether it is being looked up
//! or not; who finds no way there waits a moment for a lookup that is under way, and tries what it has to add. A dial
//! to an address that has left its name is turned round. A Unix socket whose backlog is full is tried again a little
//! later. How long all of this may take is the proxy's business: it closes a backend that is late.
//!
//! ```text
//!   dial ─► known? ─► connect to the next address ─► on_writable: connected, or the next, or failed
//!             │            ▲  ▲                  └── none is left: a lookup may have more (LOOKUP_MS)
//!             └─ look up ──┘  └── the name has other addresses now        │
//!                                            TLS ─► on_handshake: connected, or the next, or failed
//! ```
//!
//! A server that is not who it should be, or does not speak TLS, is no reason to try the next address of its name.
//! What is known of a name, and when it is looked up, is the business of `names`.
//!
//! Invariant: a backend stands in `dials` from `dial` until it is connected, has failed, or is closed by the proxy.

use std::io;
use std::sync::Arc;

use log::debug;
use mio::Waker;

use super::names::{Names, Outcome, Place};
use super::sockets::Sockets;
use crate::net::{Address, Incoming, RemoteTls, ResolvedAddress, Session, Stream};
use crate::proxy::{Conn, Proxy};
use crate::server_id::ServerId;
use crate::slots::Id;
use crate::timer::Millis;

/// Pause before a Unix socket with a full backlog is tried again, in milliseconds.
const RETRY_MS: u64 = 2;
/// Who could not connect to any address waits so long for a lookup that may have others, in milliseconds: a resolver
/// that hangs must not make a server that refuses look like one that is silent.
const LOOKUP_MS: u64 = 100;

/// One backend on its way.
struct Dial {
    backend: Id,
    server: ServerId,
    /// Addresses that were not tried yet, the next one last.
    rest: Vec<ResolvedAddress>,
    /// Those that failed.
    failed: Vec<ResolvedAddress>,
    state: State,
    /// Why the last address failed.
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Its server's name is being looked up; it waits for that until then, or as long as it lives.
    LookingUp(Option<Millis>),
    /// Its socket is connecting to this address.
    Connecting(ResolvedAddress),
    /// It is connected there, and the two sides do not agree yet on the keys of TLS.
    Shaking(ResolvedAddress),
    /// It is tried again at this time.
    Retrying(Millis),
}

/// Connects the backends of one reactor.
pub(super) struct Dialer {
    names: Names,
    dials: Vec<Dial>,
    /// How servers are reached, if over TLS.
    tls: Option<RemoteTls>,
    /// True while connections are there, or on their way, that do not know of a change in that.
    has_changed: bool,
}

impl Dialer {
    pub fn new(waker: Arc<Waker>) -> Dialer {
        Dialer { names: Names::new(waker), dials: Vec::new(), tls: None, has_changed: false }
    }

    /// These are the servers from here on, each with its address, if that is known, and a name is looked up after so
    /// many milliseconds, or with 0 not by time. What is known of those that stay is kept, and so are those that are
    /// being dialled.
    pub fn set_servers(&mut self, servers: &[ServerId], addresses: &[Option<Address>], resolve_ms: u64) {
        let dials = &self.dials;
        let is_needed = |server| dials.iter().any(|dial| dial.server == server);
        self.names.set_servers(servers, addresses, resolve_ms, is_needed);
    }

    /// This server is there from here on.
    pub fn set_place(&mut self, server: ServerId, address: &Address) {
        self.names.set_place(server, address);
    }

    /// Whether it is known where this server is.
    pub fn is_placed(&self, server: ServerId) -> bool {
        self.names.has(server)
    }

    /// From now on, servers that are not on this machine's file system are reached like this. If they were reached in
    /// another way, [`Dialer::maybe_renew`] is to be called when all events of the turn are dealt with.
    pub fn set_tls(&mut self, tls: Option<RemoteTls>) {
        self.has_changed |= self.tls != tls;
        self.tls = tls;
    }

    /// If servers are reached in another way than before: who shakes hands in the old way begins anew, and the
    /// connections that are there are renewed. To be called where events can be late no more, as with `on_resolved`.
    pub fn maybe_renew(&mut self, sockets: &mut Sockets, proxy: &mut Proxy, now: Millis) {
        if !std::mem::take(&mut self.has_changed) {
            return;
        }
        self.names.on_way_changed();
        // From the last to the first: one that fails is taken out.
        for index in (0..self.dials.len()).rev() {
            let Some(dial) = self.dials.get_mut(index) else { continue };
            if let State::Shaking(address) = dial.state.clone() {
                dial.rest.push(address);
                sockets.remove(Conn::Backend(dial.backend));
                self.try_next(index, sockets, proxy, now);
            }
        }
        for server in proxy.servers() {
            for (backend, is_outdated) in self.names.connections(server) {
                proxy.handle_outdated(backend, is_outdated);
            }
            proxy.handle_renewal(server, now);
        }
    }

    /// There are no other servers than these, and those that are being dialled.
    pub fn forget_others(&mut self, servers: &[ServerId]) {
        let dials = &self.dials;
        self.names.forget_others(servers, |server| dials.iter().any(|dial| dial.server == server));
    }

    /// When something is to be tried again, or to be looked up.
    pub fn next_deadline(&self) -> Option<Millis> {
        let retry_at = |dial: &Dial| match dial.state {
            State::Retrying(at) => Some(at),
            State::LookingUp(until) => until,
            State::Connecting(_) | State::Shaking(_) => None,
        };
        self.dials.iter().filter_map(retry_at).chain(self.names.next_deadline()).min()
    }

    /// True while this backend is on its way.
    pub fn is_dialing(&self, conn: Conn) -> bool {
        self.dials.iter().any(|dial| Conn::Backend(dial.backend) == conn)
    }

    /// True while a backend waits for its server's name to be looked up.
    pub fn is_looking_up(&self) -> bool {
        self.dials.iter().any(|dial| matches!(dial.state, State::LookingUp(_)))
    }

    /// The proxy has closed this connection.
    pub fn forget(&mut self, conn: Conn) {
        if let Conn::Backend(backend) = conn {
            self.dials.retain(|dial| dial.backend != backend);
            self.names.forget(backend);
        }
    }

    /// Begins to connect a backend.
    pub fn dial(&mut self, backend: Id, server: ServerId, sockets: &mut Sockets, proxy: &mut Proxy, now: Millis) {
        let mut dial = Dial {
            backend,
            server,
            rest: Vec::new(),
            failed: Vec::new(),
            state: State::LookingUp(None),
            reason: String::new(),
        };
        match self.names.find(server, now) {
            Place::Sought => return self.dials.push(dial),
            Place::At(addresses) => dial.rest = addresses,
            Place::Unknown(reason) => dial.reason = reason,
        }
        self.dials.push(dial);
        self.try_next(self.dials.len() - 1, sockets, proxy, now);
    }

    /// The proxy wants to know where a server is now. It is told when that was looked up; at once if there is nothing
    /// to look up.
    pub fn resolve(&mut self, server: ServerId, proxy: &mut Proxy, now: Millis) {
        if !self.names.ask(server, now) {
            proxy.handle_resolved(server, false, now);
        }
    }

    /// Another server has taken the place of this one: its name is looked up, and its connections are renewed.
    pub fn renew(&mut self, server: ServerId, proxy: &mut Proxy, now: Millis) {
        self.names.on_replaced(server);
        self.names.ask(server, now);
        for (backend, is_outdated) in self.names.connections(server) {
            proxy.handle_outdated(backend, is_outdated);
        }
        proxy.handle_renewal(server, now);
    }

    /// Names may have been looked up. To be called when all events of the turn are dealt with: those of a socket that
    /// goes here must not be taken for those of the next one under the same id.
    pub fn on_resolved(&mut self, sockets: &mut Sockets, proxy: &mut Proxy, now: Millis) {
        while let Some((server, outcome)) = self.names.poll(now) {
            let is_changed = match outcome {
                Outcome::Found { is_changed } => {
                    self.turn_round(server, is_changed, sockets, proxy, now);
                    proxy.handle_lookup(server, Ok(&self.names.text(server)), now);
                    for (backend, is_outdated) in self.names.connections(server) {
                        proxy.handle_outdated(backend, is_outdated);
                    }
                    is_changed
                }
                Outcome::Failed(reason) => {
                    proxy.handle_lookup(server, Err(&reason), now);
                    self.stop_waiting(server, &reason, proxy, now);
                    false
                }
            };
            proxy.handle_resolved(server, is_changed, now);
        }
    }

    /// The addresses of a server were looked up: who waits for that goes on, and whoever is on his way to one that is
    /// not among them goes to one that is.
    fn turn_round(
        &mut self,
        server: ServerId,
        is_changed: bool,
        sockets: &mut Sockets,
        proxy: &mut Proxy,
        now: Millis,
    ) {
        let known = self.names.known(server);
        // From the last to the first: one that fails is taken out.
        for index in (0..self.dials.len()).rev() {
            let Some(dial) = self.dials.get_mut(index).filter(|dial| dial.server == server) else { continue };
            let is_on_its_way = match &dial.state {
                State::LookingUp(_) => false,
                State::Connecting(address) | State::Shaking(address) => !is_changed || known.contains(address),
                State::Retrying(_) => true,
            };
            if is_on_its_way {
                dial.rest.retain(|address| known.contains(address));
                continue;
            }
            dial.rest = known.iter().filter(|address| !dial.failed.contains(address)).cloned().collect();
            sockets.remove(Conn::Backend(dial.backend));
            self.try_next(index, sockets, proxy, now);
        }
    }

    /// A lookup has found nothing: who waits for it fails.
    fn stop_waiting(&mut self, server: ServerId, reason: &str, proxy: &mut Proxy, now: Millis) {
        let waits = |dial: &Dial| dial.server == server && matches!(dial.state, State::LookingUp(_));
        while let Some(index) = self.dials.iter().position(waits) {
            let dial = self.dials.swap_remove(index);
            let reason = if dial.reason.is_empty() { reason } else { &dial.reason };
            proxy.handle_connect_failed(dial.backend, reason, now);
        }
    }

    /// A socket that was connecting is connected, or has failed. Returns whether it still is the connection's socket:
    /// it is not when the next address is being tried, or none is left.
    pub fn on_writable(&mut self, conn: Conn, sockets: &mut Sockets, proxy: &mut Proxy, now: Millis) -> bool {
        let Some(index) = self.dials.iter().position(|dial| Conn::Backend(dial.backend) == conn) else { return true };
        let Some(socket) = sockets.get_mut(conn) else { return false };
        if matches!(self.dials[index].state, State::Shaking(_)) {
            // What it is to be told goes out; if that fails, its next read tells.
            let _ = sockets.is_flushed(conn);
            return true;
        }
        match socket.stream.is_connected() {
            Ok(false) => true,
            Ok(true) => match self.session(index) {
                None => self.on_connected(index, proxy, now),
                Some(session) => match session.and_then(|session| sockets.begin_session(conn, session)) {
                    Ok(()) => {
                        proxy.handle_shaking(self.dials[index].backend, false);
                        true
                    }
                    Err(error) => self.on_failed(index, &error, sockets, proxy, now),
                },
            },
            Err(error) => self.on_failed(index, &error, sockets, proxy, now),
        }
    }

    /// A socket inside of TLS was read while the two sides did not agree yet. Returns as `on_writable` does.
    pub fn on_handshake(
        &mut self,
        conn: Conn,
        result: &io::Result<Incoming>,
        sockets: &mut Sockets,
        proxy: &mut Proxy,
        now: Millis,
    ) -> bool {
        let Some(index) = self.dials.iter().position(|dial| Conn::Backend(dial.backend) == conn) else { return true };
        let is_ending = sockets.get_mut(conn).is_some_and(|socket| socket.is_ending);
        match result {
            Ok(_) if !sockets.is_shaking(conn) => {
                if let Some(until) = sockets.peer_expiry(conn) {
                    proxy.handle_certificate(self.dials[index].server, until);
                }
                self.on_connected(index, proxy, now)
            }
            Ok(incoming) if incoming.is_ended || (incoming.is_drained && is_ending) => {
                let error = io::Error::new(io::ErrorKind::UnexpectedEof, "it closes the connection instead");
                self.on_failed(index, &error, sockets, proxy, now)
            }
            Ok(_) => {
                proxy.handle_shaking(self.dials[index].backend, sockets.has_heard(conn));
                true
            }
            Err(error) => self.on_failed(index, error, sockets, proxy, now),
        }
    }

    /// The session that begins now, if the server is reached over TLS.
    fn session(&mut self, index: usize) -> Option<io::Result<Session>> {
        let tls = self.tls.as_ref()?;
        let dial = &mut self.dials[index];
        let host = self.names.host(dial.server)?;
        if let State::Connecting(address) = &dial.state {
            dial.state = State::Shaking(address.clone());
        }
        Some(tls.session(&host))
    }

    /// The backend can be used. Always true.
    fn on_connected(&mut self, index: usize, proxy: &mut Proxy, now: Millis) -> bool {
        let dial = self.dials.swap_remove(index);
        if let State::Connecting(address) | State::Shaking(address) = &dial.state {
            self.names.on_connected(dial.backend, dial.server, address);
        }
        proxy.handle_connected(dial.backend, now);
        true
    }

    /// This address has failed: the next one is tried, unless the server is not who it should be. Always false.
    fn on_failed(
        &mut self,
        index: usize,
        error: &io::Error,
        sockets: &mut Sockets,
        proxy: &mut Proxy,
        now: Millis,
    ) -> bool {
        let dial = &mut self.dials[index];
        sockets.remove(Conn::Backend(dial.backend));
        dial.fail(match dial.state {
            State::Shaking(_) => format!("TLS handshake: {error}"),
            _ => error.to_string(),
        });
        if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) {
            dial.rest.clear();
        }
        self.try_next(index, sockets, proxy, now);
        false
    }

    /// Tries again what was put off, gives up what has waited for long enough, and looks up what is due.
    pub fn retry(&mut self, sockets: &mut Sockets, proxy: &mut Proxy, now: Millis) {
        let is_due = |dial: &Dial| match dial.state {
            State::Retrying(at) => at <= now,
            State::LookingUp(until) => until.is_some_and(|until| until <= now),
            State::Connecting(_) | State::Shaking(_) => false,
        };
        while let Some(index) = self.dials.iter().position(is_due) {
            self.try_next(index, sockets, proxy, now);
        }
        self.names.look_up_due(now);
    }

    /// Connects to the next address, or gives up when there is none.
    fn try_next(&mut self, index: usize, sockets: &mut Sockets, proxy: &mut Proxy, now: Millis) {
        let dial = &mut self.dials[index];
        let conn = Conn::Backend(dial.backend);
        while let Some(address) = dial.rest.pop() {
            let begun = Stream::connect(&address).and_then(|stream| sockets.add(conn, stream));
            match begun {
                Ok(()) => {
                    dial.state = State::Connecting(address);
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    dial.rest.push(address);
                    dial.state = State::Retrying(now + RETRY_MS);
                    return;
                }
                Err(error) => {
                    debug!("cannot connect to {address}: {error}");
                    dial.state = State::Connecting(address);
                    dial.fail(error.to_string());
                }
            }
        }
        // The name may belong to another address by now.
        let has_waited = matches!(dial.state, State::LookingUp(_));
        if !has_waited && self.names.ask(dial.server, now) && self.names.is_looking_up(dial.server) {
            dial.state = State::LookingUp(Some(now + LOOKUP_MS));
            return;
        }
        let dial = self.dials.swap_remove(index);
        proxy.handle_connect_failed(dial.backend, &dial.reason, now);
    }
}

impl Dial {
    /// The address to which it was connecting could not be connected to.
    fn fail(&mut self, reason: String) {
        self.reason = reason;
        if let State::Connecting(address) | State::Shaking(address) = &self.state {
            self.failed.push(address.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Reactor;
    use super::*;
    use crate::net::listen;
    use crate::proxy::Settings;
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener};
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
        reactor.dialer.names.learn(ServerId::of_index(0), vec![refused, served], Millis(0));
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
