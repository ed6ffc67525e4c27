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
//! Knows where to send what the machine says, and nothing of why.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, ErrorKind, Write as _};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use log::{error, log};
use mio::{Events, Interest, Poll, Token, Waker};

use crate::channel::{Receiver, Sender, channel};
use crate::net::{Address, ResolvedAddress, Stream};
use crate::reactor::{Handle, Hint, Hints};
use crate::resolve::Resolver;
use crate::sentinel::{Action, HostPort, LinkId, Replica, Settings, View, Watch};
use crate::thread;
use crate::timer::Millis;

const WAKER: Token = Token(0);
/// Readiness events taken from the kernel at one time.
const EVENTS_MAX: usize = 64;
/// One read.
const READ_BYTES: usize = 16 * 1024;

/// What it is told by its pool.
#[derive(Debug)]
enum News {
    /// From now on these want to know.
    Reactors(Vec<Handle>),
    /// From now on this holds.
    Settings(Settings),
    /// It ends.
    End,
}

/// With what a watcher is told something. Dropped, it ends the watcher.
#[derive(Debug)]
pub struct Link {
    news: Sender<News>,
    waker: Arc<Waker>,
    view: Arc<Mutex<View>>,
}

impl Link {
    /// From now on these reactors are told where their masters are.
    pub fn tell_reactors(&self, reactors: Vec<Handle>) {
        self.tell(News::Reactors(reactors));
    }

    /// From now on this holds.
    pub fn settle(&self, settings: Settings) {
        self.tell(News::Settings(settings));
    }

    /// What there is to show at this moment.
    pub fn view(&self) -> View {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).clone()
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

/// A connection to a sentinel, or the way to one.
#[derive(Debug)]
struct Line {
    /// Addresses that were not tried yet, the next one last.
    rest: Vec<SocketAddr>,
    /// `None` while its name is looked up.
    stream: Option<Stream>,
    is_connected: bool,
    unsent: Vec<u8>,
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
    lines: BTreeMap<u32, Line>,
    resolver: Resolver,
    reactors: Vec<Handle>,
    start: Instant,
    view: Arc<Mutex<View>>,
    area: Vec<u8>,
}

/// Starts a watcher.
///
/// # Errors
///
/// When no descriptor is free, or no thread can be made.
pub fn start(settings: Settings) -> io::Result<Link> {
    let poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
    let ((news_sender, news), (hint_sender, hints)) = (channel(), channel());
    let view = Arc::new(Mutex::new(View::default()));
    let watcher = Watcher {
        poll,
        news,
        hints,
        hint_sender: Hints::new(hint_sender, Arc::clone(&waker)),
        // The hasher knows what the system calls random.
        watch: Watch::new(settings.clone(), RandomState::new().build_hasher().finish(), Millis(0)),
        settings,
        lines: BTreeMap::new(),
        resolver: Resolver::new(Arc::clone(&waker)),
        reactors: Vec::new(),
        start: Instant::now(),
        view: Arc::clone(&view),
        area: vec![0; READ_BYTES],
    };
    let run = Box::new(move || watcher.run().inspect_err(|error| error!("sentinels: the watcher has failed: {error}")));
    thread::spawn("rmux-sentinel", None, run)?;
    Ok(Link { news: news_sender, waker, view })
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
                    let is_readable = event.is_readable() || event.is_read_closed() || event.is_error();
                    self.on_event((event.token().0 - 1) as u32, event.is_writable(), is_readable);
                }
            }
            while let Some(news) = self.news.try_recv() {
                match news {
                    News::Reactors(reactors) => self.meet(reactors),
                    News::Settings(settings) if settings == self.settings => {}
                    News::Settings(settings) => {
                        self.settings = settings.clone();
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
                    let line = Line { rest: Vec::new(), stream: None, is_connected: false, unsent: Vec::new() };
                    self.lines.insert(id, line);
                    self.resolver.resolve(id, &place.host, place.port);
                }
                Action::Send(LinkId(id), bytes) => {
                    if let Some(line) = self.lines.get_mut(&id) {
                        line.unsent.extend_from_slice(&bytes);
                    }
                    self.flush(id);
                }
                Action::Close(LinkId(id)) => drop(self.lines.remove(&id)),
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
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) = self.watch.view();
    }

    /// The name of a sentinel was looked up.
    fn on_resolved(&mut self, id: u32, outcome: io::Result<Vec<SocketAddr>>) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        match outcome {
            Ok(addresses) => {
                line.rest = addresses;
                line.rest.reverse();
                self.try_next(id, "it has no address".to_owned());
            }
            Err(error) => self.lose(id, &format!("its name is not found: {error}")),
        }
    }

    /// Connects to the next address, or gives up when there is none.
    fn try_next(&mut self, id: u32, mut reason: String) {
        loop {
            let Some(line) = self.lines.get_mut(&id) else { return };
            line.stream = None;
            let Some(address) = line.rest.pop() else { break };
            let begun = Stream::connect(&ResolvedAddress::Tcp(address)).and_then(|mut stream| {
                let both = Interest::READABLE | Interest::WRITABLE;
                self.poll.registry().register(&mut stream, Token(id as usize + 1), both)?;
                Ok(stream)
            });
            match begun {
                Ok(stream) => {
                    line.stream = Some(stream);
                    return;
                }
                Err(error) => reason = error.to_string(),
            }
        }
        self.lose(id, &reason);
    }

    fn lose(&mut self, id: u32, reason: &str) {
        self.lines.remove(&id);
        let now = self.now();
        self.watch.handle_lost(LinkId(id), reason, now);
    }

    fn on_event(&mut self, id: u32, is_writable: bool, is_readable: bool) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        let Some(stream) = &line.stream else { return };
        if !line.is_connected {
            if !is_writable {
                return;
            }
            match stream.is_connected() {
                Ok(false) => return,
                Ok(true) => {
                    line.is_connected = true;
                    let peer = stream.peer_address().map(String::from);
                    let now = self.now();
                    self.watch.handle_connected(LinkId(id), peer, now);
                    self.carry_out();
                }
                Err(error) => return self.try_next(id, error.to_string()),
            }
        }
        self.flush(id);
        if is_readable {
            self.read(id);
        }
    }

    fn flush(&mut self, id: u32) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        let Some(stream) = line.stream.as_mut().filter(|_| line.is_connected) else { return };
        while !line.unsent.is_empty() {
            match stream.write(&line.unsent) {
                Ok(count) => drop(line.unsent.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => return self.lose(id, &error.to_string()),
            }
        }
    }

    fn read(&mut self, id: u32) {
        while let Some(line) = self.lines.get_mut(&id) {
            let Some(stream) = line.stream.as_mut() else { return };
            let incoming = match stream.receive(&mut self.area, READ_BYTES) {
                Ok(incoming) => incoming,
                Err(error) => return self.lose(id, &error.to_string()),
            };
            let now = self.now();
            if incoming.count > 0 {
                self.watch.handle_data(LinkId(id), &self.area[..incoming.count], now);
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
