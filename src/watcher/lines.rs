//! The connections of a watcher: reads password files, resolves names, polls sockets.
//!
//! ```text
//!   connect ─► read the password, if it is in a file ─► resolve the name: Found
//!           ─► try each address (`line`) ─► Shaking, with TLS ─► Connected ─► Data … ─► Lost
//! ```
//!
//! Reports events. Knows no protocol and no time: the machine closes a connection that takes too long. Invariant: a
//! closed connection causes no event any more.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use mio::{Interest, Registry, Token, Waker, event};

use super::line::{Failure, Line, Progress, Room};
use crate::link::{HostPort, LinkId};
use crate::net::{RemoteTls, ResolvedAddress, Stream};
use crate::password_file::Reader;
use crate::resolve::Resolver;
use crate::users::Secret;

/// An event of a connection.
pub(super) enum Event {
    /// The name is resolved.
    Found(LinkId),
    /// TCP is connected, the TLS handshake runs.
    Shaking(LinkId),
    /// It can be used; with its remote address.
    Connected(LinkId, Option<String>),
    /// It was lost, or could not be made, with the reason.
    Lost(LinkId, String),
    /// Received bytes.
    Data(LinkId, Vec<u8>),
    /// The password in the file has changed.
    Password(Secret),
}

pub(super) struct Lines {
    registry: Registry,
    lines: BTreeMap<u32, (HostPort, Line)>,
    resolver: Resolver,
    reader: Reader,
    tls: Option<RemoteTls>,
    password_file: Option<PathBuf>,
    events: VecDeque<Event>,
    /// The connection that may be readable, and whether its peer has closed.
    readable: Option<(u32, bool)>,
    room: Room,
}

impl Lines {
    /// None yet. On the event of `waker` the caller must call [`Lines::handle_wake`].
    pub fn new(registry: Registry, waker: Arc<Waker>) -> Lines {
        Lines {
            registry,
            lines: BTreeMap::new(),
            resolver: Resolver::new(Arc::clone(&waker)),
            reader: Reader::new(waker),
            tls: None,
            password_file: None,
            events: VecDeque::new(),
            readable: None,
            room: Room::default(),
        }
    }

    /// TLS and password file of the connections that begin from here on.
    pub fn settle(&mut self, tls: Option<RemoteTls>, password_file: Option<PathBuf>) {
        (self.tls, self.password_file) = (tls, password_file);
    }

    /// Connects to this address.
    pub fn connect(&mut self, LinkId(id): LinkId, place: HostPort) {
        let is_read = self.password_file.as_ref().is_some_and(|file| self.reader.begin(id, file));
        if !is_read {
            self.resolver.resolve(id, &place.host, place.port);
        }
        let line = Line::new(&place.host);
        self.lines.insert(id, (place, line));
    }

    /// Sends bytes.
    pub fn send(&mut self, LinkId(id): LinkId, bytes: &[u8]) {
        if let Some((_, line)) = self.lines.get_mut(&id) {
            line.push(bytes);
            self.flush(id);
        }
    }

    /// Closes a connection.
    pub fn close(&mut self, LinkId(id): LinkId) {
        if let Some((_, line)) = self.lines.remove(&id) {
            line.end(&mut self.room);
        }
    }

    /// Closes all connections.
    pub fn close_all(&mut self) {
        while let Some((_, (_, line))) = self.lines.pop_first() {
            line.end(&mut self.room);
        }
        self.events.clear();
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        loop {
            let event = self.events.pop_front()?;
            let is_told = match &event {
                Event::Found(LinkId(id)) | Event::Shaking(LinkId(id)) | Event::Connected(LinkId(id), _) => {
                    self.lines.contains_key(id)
                }
                // What came before the end comes first; and whose name is of an earlier one is nobody's.
                Event::Data(..) | Event::Lost(..) | Event::Password(_) => true,
            };
            if is_told {
                return Some(event);
            }
        }
    }

    /// Names may be resolved, or files read.
    pub fn handle_wake(&mut self) {
        while let Some((id, outcome)) = self.reader.poll() {
            // The reactors report the error of the file; the last good password stays in use.
            self.events.extend(outcome.ok().map(Event::Password));
            if let Some((place, _)) = self.lines.get(&id) {
                self.resolver.resolve(id, &place.host, place.port);
            }
        }
        while let Some((id, outcome)) = self.resolver.poll() {
            let Some((_, line)) = self.lines.get_mut(&id) else { continue };
            match outcome {
                Ok(addresses) => {
                    line.set_addresses(addresses);
                    self.events.push_back(Event::Found(LinkId(id)));
                    self.try_next(id, "it has no address".to_owned());
                }
                Err(error) => self.lose(id, format!("its name is not found: {error}")),
            }
        }
    }

    /// Connects to the next address, or reports the loss if there is none.
    fn try_next(&mut self, id: u32, mut reason: String) {
        while let Some(address) = self.lines.get_mut(&id).and_then(|(_, line)| line.next_address()) {
            let begun = Stream::connect(&ResolvedAddress::Tcp(address)).and_then(|mut stream| {
                let both = Interest::READABLE | Interest::WRITABLE;
                self.registry.register(&mut stream, Token(id as usize + 1), both)?;
                Ok(stream)
            });
            match (begun, self.lines.get_mut(&id)) {
                (Ok(stream), Some((_, line))) => return line.begin(stream),
                (Ok(_), None) => return,
                (Err(error), _) => reason = error.to_string(),
            }
        }
        self.lose(id, reason);
    }

    fn lose(&mut self, id: u32, reason: String) {
        if self.lines.contains_key(&id) {
            self.close(LinkId(id));
            self.events.push_back(Event::Lost(LinkId(id), reason));
        }
    }

    /// A socket is ready. Then the caller must call [`Lines::read_some`] until it returns false.
    pub fn handle_event(&mut self, event: &event::Event) {
        let id = (event.token().0 - 1) as u32;
        let Some((_, line)) = self.lines.get_mut(&id) else { return };
        if event.is_writable() {
            match line.on_writable(self.tls.as_ref(), &mut self.room) {
                Ok(progress) => self.on_progress(id, progress),
                Err(failure) => return self.fail(id, &failure),
            }
        }
        self.flush(id);
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.readable = Some((id, event.is_read_closed()));
        }
    }

    /// Reads once from the readable socket. False if there is nothing to read any more.
    pub fn read_some(&mut self) -> bool {
        let Some((id, is_ending)) = self.readable.take() else { return false };
        let Some((_, line)) = self.lines.get_mut(&id) else { return false };
        let (incoming, progress) = match line.read(&mut self.room, is_ending) {
            Ok(read) => read,
            Err(failure) => {
                self.fail(id, &failure);
                return true;
            }
        };
        self.on_progress(id, progress);
        if incoming.count > 0 {
            let bytes = self.room.area[..incoming.count].to_vec();
            self.events.push_back(Event::Data(LinkId(id), bytes));
        }
        if incoming.is_ended {
            self.lose(id, "it closed the connection".to_owned());
        } else if !incoming.is_drained {
            self.readable = Some((id, is_ending));
        }
        true
    }

    fn on_progress(&mut self, id: u32, progress: Progress) {
        match progress {
            Progress::Nothing => {}
            Progress::Shaking => self.events.push_back(Event::Shaking(LinkId(id))),
            Progress::Connected => {
                let peer = self.lines.get(&id).and_then(|(_, line)| line.peer_address()).map(String::from);
                self.events.push_back(Event::Connected(LinkId(id), peer));
            }
        }
    }

    /// This address has failed: the next one is tried, unless the server there has the wrong certificate.
    fn fail(&mut self, id: u32, failure: &Failure) {
        match failure.is_about_address {
            true => self.try_next(id, failure.to_string()),
            false => self.lose(id, failure.to_string()),
        }
    }

    fn flush(&mut self, id: u32) {
        let Some((_, line)) = self.lines.get_mut(&id) else { return };
        if let Err(error) = line.flush(&mut self.room) {
            // It may have sent the reason before it closed.
            let why = line.read(&mut self.room, true).err().map_or(error.to_string(), |failure| failure.to_string());
            self.lose(id, why);
        }
    }
}
