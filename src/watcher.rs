//! The thread that watches the masters of one pool: the sockets, names and clock of a [`Watch`].
//!
//! ```text
//!   the pool ── News ──┐                                              ┌─ Handle::moved, looked ─► each reactor
//!   a reactor ─ Hint ──┼─► poll ─► Watch ─► connect, send, close, say ┤
//!   a sentinel, DNS ───┘                                              └─ what there is to show ─► the admin endpoint
//! ```
//!
//! There is one for each pool that has sentinels, and none for others. It ends when its [`Link`] is dropped, with its
//! pool.
//!
//! Each connection to a sentinel is a line (`line`); inside of TLS it is connected when both sides agree on the keys.
//!
//! Knows where to send what the machine says, and nothing of why.

mod line;

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use log::{error, log};
use mio::event::Event;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::channel::{Receiver, Sender, channel};
use crate::link::{HostPort, LinkId};
use crate::net::{Address, RemoteTls, ResolvedAddress, Stream};
use crate::reactor::{Handle, Hint, Hints};
use crate::resolve::Resolver;
use crate::sentinel::{Action, Replica, SentinelView, Settings, Watch};
use crate::thread;
use crate::timer::Millis;

use line::{Failure, Line, Progress, Room};

const WAKER: Token = Token(0);
/// Readiness events taken from the kernel at one time.
const EVENTS_MAX: usize = 64;
/// What it is told by its pool.
#[derive(Debug)]
enum News {
    /// From now on these want to know.
    Reactors(Vec<Handle>),
    /// From now on this holds, and sentinels are reached like this, if over TLS.
    Settings(Settings, Option<RemoteTls>),
    /// It ends.
    End,
}

/// With what a watcher is told something. Dropped, it ends the watcher.
#[derive(Debug)]
pub struct Link {
    news: Sender<News>,
    waker: Arc<Waker>,
    viewer: Viewer,
}

/// With what it is seen which sentinels a watcher knows, for as long as there is somebody who wants to see it.
#[derive(Debug, Clone, Default)]
pub struct Viewer(Arc<Mutex<Vec<SentinelView>>>);

impl Viewer {
    /// What there is to show at this moment.
    pub fn view(&self) -> Vec<SentinelView> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn show(&self, view: Vec<SentinelView>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = view;
    }
}

impl Link {
    /// From now on these reactors are told where their masters are.
    pub fn tell_reactors(&self, reactors: Vec<Handle>) {
        self.tell(News::Reactors(reactors));
    }

    /// From now on this holds, and sentinels are reached like this, if over TLS.
    pub fn settle(&self, settings: Settings, tls: Option<RemoteTls>) {
        self.tell(News::Settings(settings, tls));
    }

    /// With what its sentinels are seen.
    pub fn viewer(&self) -> Viewer {
        self.viewer.clone()
    }

    fn tell(&self, news: News) {
        if self.news.send(news) {
            // It fails only if the system has no memory; then it is seen with whatever happens next.
            let _ = self.waker.wake();
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.tell(News::End);
    }
}

/// The watcher of one pool.
#[derive(Debug)]
struct Watcher {
    poll: Poll,
    news: Receiver<News>,
    hints: Receiver<Hint>,
    /// What reactors are given.
    hint_sender: Hints,
    watch: Watch,
    settings: Settings,
    tls: Option<RemoteTls>,
    lines: BTreeMap<u32, Line>,
    resolver: Resolver,
    reactors: Vec<Handle>,
    start: Instant,
    viewer: Viewer,
    room: Room,
}

/// Starts a watcher, which reaches sentinels like this, if over TLS.
///
/// # Errors
///
/// When no descriptor is free, or no thread can be made.
pub fn start(settings: Settings, tls: Option<RemoteTls>) -> io::Result<Link> {
    let poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
    let ((news_sender, news), (hint_sender, hints)) = (channel(), channel());
    let viewer = Viewer::default();
    let watcher = Watcher {
        poll,
        news,
        hints,
        hint_sender: Hints::new(hint_sender, Arc::clone(&waker)),
        // The hasher knows what the system calls random.
        watch: Watch::new(settings.clone(), RandomState::new().build_hasher().finish(), Millis(0)),
        settings,
        tls,
        lines: BTreeMap::new(),
        resolver: Resolver::new(Arc::clone(&waker)),
        reactors: Vec::new(),
        start: Instant::now(),
        viewer: viewer.clone(),
        room: Room::default(),
    };
    let run = Box::new(move || watcher.run().inspect_err(|error| error!("sentinels: the watcher has failed: {error}")));
    thread::spawn("rmux-sentinel", None, run)?;
    Ok(Link { news: news_sender, waker, viewer })
}

impl Watcher {
    fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        loop {
            self.carry_out();
            let patience = self.watch.next_deadline() - self.now();
            match self.poll.poll(&mut events, Some(Duration::from_millis(patience))) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                if event.token() != WAKER {
                    self.on_event((event.token().0 - 1) as u32, event);
                }
            }
            while let Some(news) = self.news.try_recv() {
                match news {
                    News::Reactors(reactors) => self.meet(reactors),
                    News::Settings(settings, tls) if settings == self.settings && tls == self.tls => {}
                    News::Settings(settings, tls) => {
                        // All connections are made anew.
                        (self.settings, self.tls) = (settings.clone(), tls);
                        self.watch.handle_settings(settings, self.now());
                    }
                    News::End => return Ok(()),
                }
            }
            while let Some(Hint { master, is_lost }) = self.hints.try_recv() {
                self.watch.handle_hint(&master, is_lost, self.now());
            }
            while let Some((id, outcome)) = self.resolver.poll() {
                self.on_resolved(id, outcome);
            }
            self.watch.handle_timeouts(self.now());
        }
    }

    /// The clock, in milliseconds since the start.
    fn now(&self) -> Millis {
        Millis(self.start.elapsed().as_millis() as u64)
    }

    /// These are to be told, now and from now on.
    fn meet(&mut self, reactors: Vec<Handle>) {
        for reactor in &reactors {
            reactor.give_hints(self.hint_sender.clone());
            for name in &self.settings.masters {
                if let Some(place) = self.watch.address(name) {
                    reactor.moved(name.clone(), address_of(place));
                }
                tell_replicas(reactor, name, self.watch.replicas(name));
            }
        }
        self.reactors = reactors;
    }

    fn carry_out(&mut self) {
        while let Some(action) = self.watch.poll_action() {
            match action {
                Action::Connect(LinkId(id), place) => {
                    self.lines.insert(id, Line::new(&place.host));
                    self.resolver.resolve(id, &place.host, place.port);
                }
                Action::Send(LinkId(id), bytes) => {
                    if let Some(line) = self.lines.get_mut(&id) {
                        line.push(&bytes);
                    }
                    self.flush(id);
                }
                Action::Close(LinkId(id)) => self.close(id),
                Action::Moved(name, place) => {
                    let address = address_of(&place);
                    self.reactors.iter().for_each(|reactor| reactor.moved(name.clone(), address.clone()));
                }
                Action::Asked(name) => self.reactors.iter().for_each(|reactor| reactor.looked(name.clone())),
                Action::Replicas(name, replicas) => {
                    self.reactors.iter().for_each(|reactor| tell_replicas(reactor, &name, &replicas));
                }
                Action::Say(level, text) => log!(level, "{text}"),
            }
        }
        self.viewer.show(self.watch.view());
    }

    /// The name of a sentinel was looked up.
    fn on_resolved(&mut self, id: u32, outcome: io::Result<Vec<SocketAddr>>) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        match outcome {
            Ok(addresses) => {
                line.set_addresses(addresses);
                self.try_next(id, "it has no address".to_owned());
            }
            Err(error) => self.lose(id, &format!("its name is not found: {error}")),
        }
    }

    /// Connects to the next address, or gives up when there is none.
    fn try_next(&mut self, id: u32, mut reason: String) {
        while let Some(address) = self.lines.get_mut(&id).and_then(Line::next_address) {
            let begun = Stream::connect(&ResolvedAddress::Tcp(address)).and_then(|mut stream| {
                let both = Interest::READABLE | Interest::WRITABLE;
                self.poll.registry().register(&mut stream, Token(id as usize + 1), both)?;
                Ok(stream)
            });
            match (begun, self.lines.get_mut(&id)) {
                (Ok(stream), Some(line)) => return line.begin(stream),
                (Ok(_), None) => return,
                (Err(error), _) => reason = error.to_string(),
            }
        }
        self.lose(id, &reason);
    }

    fn close(&mut self, id: u32) {
        if let Some(line) = self.lines.remove(&id) {
            line.end(&mut self.room);
        }
    }

    fn lose(&mut self, id: u32, reason: &str) {
        self.close(id);
        let now = self.now();
        self.watch.handle_lost(LinkId(id), reason, now);
    }

    fn on_event(&mut self, id: u32, event: &Event) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        if event.is_writable() {
            match line.on_writable(self.tls.as_ref(), &mut self.room) {
                Ok(Progress::Nothing) => {}
                Ok(Progress::Shaking) => self.watch.handle_shaking(LinkId(id)),
                Ok(Progress::Connected) => self.on_connected(id),
                Err(error) => return self.fail(id, &error),
            }
        }
        self.flush(id);
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.read(id, event.is_read_closed());
        }
    }

    /// It can be asked.
    fn on_connected(&mut self, id: u32) {
        let peer = self.lines.get(&id).and_then(Line::peer_address).map(String::from);
        let now = self.now();
        self.watch.handle_connected(LinkId(id), peer, now);
        self.carry_out();
    }

    /// This address has failed: the next one is tried, unless the sentinel is not who it should be.
    fn fail(&mut self, id: u32, error: &Failure) {
        match error.is_about_address {
            true => self.try_next(id, error.to_string()),
            false => self.lose(id, &error.to_string()),
        }
    }

    fn flush(&mut self, id: u32) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        if let Err(error) = line.flush(&mut self.room) {
            // It may have said why, before it closed.
            let why = line.read(&mut self.room, true).err().map_or(error.to_string(), |failure| failure.to_string());
            self.lose(id, &why);
        }
    }

    /// Reads until its socket is drained; `is_ending` if the sentinel had closed it before.
    fn read(&mut self, id: u32, is_ending: bool) {
        while let Some(line) = self.lines.get_mut(&id) {
            let incoming = match line.read(&mut self.room, is_ending) {
                Ok((incoming, Progress::Connected)) => {
                    self.on_connected(id);
                    incoming
                }
                Ok((incoming, _)) => incoming,
                Err(error) => return self.fail(id, &error),
            };
            let now = self.now();
            if incoming.count > 0 {
                self.watch.handle_data(LinkId(id), &self.room.area[..incoming.count], now);
                self.carry_out();
            }
            if incoming.is_ended {
                return self.lose(id, "it closed the connection");
            }
            if incoming.is_drained {
                return;
            }
        }
    }
}

/// Tells a reactor who follows the master of this name. Whether one is up to date it finds out by itself.
fn tell_replicas(reactor: &Handle, name: &str, replicas: &[Replica]) {
    let replicas = replicas.iter().map(|replica| address_of(&replica.place)).collect();
    reactor.followed(name.to_owned(), replicas);
}

fn address_of(place: &HostPort) -> Address {
    Address::Tcp { host: place.host.clone(), port: place.port }
}
