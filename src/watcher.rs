//! The thread that keeps the addresses or the slot map of one pool up to date: clock and sockets for a state machine,
//! and the way from it to the reactors.
//!
//! ```text
//!   the pool ── News ──┐                        ┌─ connect, send, close ─► Lines ─► sentinels, nodes
//!   a reactor ─ Hint ──┼─► poll ─► Machine ─►───┼─ Told ─► each reactor
//!   Lines ─── Event ───┘                        └─ View ─► admin, INFO, -test
//! ```
//!
//! Each pool with sentinels or with a cluster has one. It ends when its [`Link`] is dropped, with its pool.
//!
//! It carries out what the machine decides, and decides nothing itself.
//!
//! The parts: `machine`, the state machine for sentinels or for a cluster; `lines`, its connections, each a `line`.

mod line;
mod lines;
mod machine;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use log::{error, log};
use mio::{Events, Poll, Token, Waker};

use crate::channel::{Receiver, Sender, channel};
use crate::net::RemoteTls;
use crate::reactor::{Handle, Hint, Hints};
use crate::thread;
use crate::timer::Millis;

use lines::{Event, Lines};
use machine::{Action, Machine};
pub use machine::{View, Wanted};

const WAKER: Token = Token(0);
/// Readiness events taken from the kernel at one time.
const EVENTS_MAX: usize = 64;

/// The settings of a watcher.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// What it watches.
    pub wanted: Wanted,
    /// TLS towards sentinels or nodes; `None` without.
    pub tls: Option<RemoteTls>,
    /// The file of their password, if it is in one: read before each connect.
    pub password_file: Option<PathBuf>,
}

/// A message of the pool.
#[derive(Debug)]
enum News {
    /// The reactors to inform from now on.
    Reactors(Vec<Handle>),
    /// New settings.
    Settings(Box<Settings>),
    /// The watcher ends.
    End,
}

/// The present view, and a condition for those who wait for a new one.
#[derive(Debug, Default)]
struct Shown {
    view: Mutex<View>,
    is_new: Condvar,
}

/// The handle of a watcher. Dropped, it ends the watcher.
#[derive(Debug)]
pub struct Link {
    news: Sender<News>,
    waker: Arc<Waker>,
    viewer: Viewer,
}

/// Reads the view of a watcher, also after that has ended.
#[derive(Debug, Clone, Default)]
pub struct Viewer(Arc<Shown>);

impl Viewer {
    /// The present view.
    pub fn view(&self) -> View {
        self.0.view.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The view once a first answer or failure is known, or after `patience`.
    pub fn await_view(&self, patience: Duration) -> View {
        let view = self.0.view.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.0.is_new.wait_timeout_while(view, patience, |view| !view.is_settled());
        waited.unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    fn show(&self, view: View) {
        *self.0.view.lock().unwrap_or_else(PoisonError::into_inner) = view;
        self.0.is_new.notify_all();
    }
}

impl Link {
    /// Informs these reactors from now on.
    pub fn tell_reactors(&self, reactors: Vec<Handle>) {
        self.tell(News::Reactors(reactors));
    }

    /// Takes new settings.
    pub fn settle(&self, settings: Settings) {
        self.tell(News::Settings(Box::new(settings)));
    }

    /// A reader of its view.
    pub fn viewer(&self) -> Viewer {
        self.viewer.clone()
    }

    fn tell(&self, news: News) {
        if self.news.send(news) {
            // It fails only if the system has no memory; then the message is read at the next event.
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
struct Watcher {
    poll: Poll,
    news: Receiver<News>,
    hints: Receiver<Hint>,
    /// The sender that reactors get.
    hint_sender: Hints,
    machine: Machine,
    settings: Settings,
    lines: Lines,
    reactors: Vec<Handle>,
    start: Instant,
    viewer: Viewer,
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
    let viewer = Viewer::default();
    let mut lines = Lines::new(poll.registry().try_clone()?, Arc::clone(&waker));
    lines.settle(settings.tls.clone(), settings.password_file.clone());
    let watcher = Watcher {
        poll,
        news,
        hints,
        hint_sender: Hints::new(hint_sender, Arc::clone(&waker)),
        machine: Machine::new(settings.wanted.clone(), seed(), Millis(0)),
        settings,
        lines,
        reactors: Vec::new(),
        start: Instant::now(),
        viewer: viewer.clone(),
    };
    let run = Box::new(move || watcher.run().inspect_err(|error| error!("the watcher of a pool has failed: {error}")));
    thread::spawn("rmux-watcher", None, run)?;
    Ok(Link { news: news_sender, waker, viewer })
}

/// Random by way of the hasher, whose keys the system provides.
fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

impl Watcher {
    fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        loop {
            self.carry_out();
            let patience = self.machine.next_deadline() - self.now();
            match self.poll.poll(&mut events, Some(Duration::from_millis(patience))) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                if event.token() != WAKER {
                    self.lines.handle_event(event);
                    self.hear();
                    // The data of one read is handled before the next read, so that it stays bounded.
                    while self.lines.read_some() {
                        self.hear();
                    }
                }
            }
            while let Some(news) = self.news.try_recv() {
                match news {
                    News::Reactors(reactors) => self.meet(reactors),
                    News::Settings(settings) => self.settle(*settings),
                    News::End => return Ok(()),
                }
            }
            while let Some(hint) = self.hints.try_recv() {
                self.machine.handle_hint(&hint, self.now());
            }
            self.lines.handle_wake();
            self.hear();
            self.machine.handle_timeouts(self.now());
        }
    }

    /// The clock, in milliseconds since the start.
    fn now(&self) -> Millis {
        Millis(self.start.elapsed().as_millis() as u64)
    }

    /// Informs these reactors, now and from now on.
    fn meet(&mut self, reactors: Vec<Handle>) {
        for reactor in &reactors {
            reactor.give_hints(self.hint_sender.clone());
        }
        self.machine.tell_all(&reactors);
        self.reactors = reactors;
    }

    fn settle(&mut self, settings: Settings) {
        if settings == self.settings {
            return;
        }
        self.settings = settings.clone();
        self.lines.settle(settings.tls, settings.password_file);
        let now = self.now();
        if let Err(wanted) = self.machine.handle_settings(settings.wanted, now) {
            self.lines.close_all();
            self.machine = Machine::new(wanted, seed(), now);
        }
    }

    /// Hands events of the connections to the machine; its actions may cause more events.
    fn hear(&mut self) {
        while let Some(event) = self.lines.poll_event() {
            let now = self.now();
            match event {
                Event::Found(id) => self.machine.handle_found(id, now),
                Event::Shaking(id) => self.machine.handle_shaking(id),
                Event::Connected(id, peer) => self.machine.handle_connected(id, peer, now),
                Event::Lost(id, reason) => self.machine.handle_lost(id, &reason, now),
                Event::Data(id, bytes) => self.machine.handle_data(id, &bytes, now),
                Event::Password(password) => self.machine.handle_password(password),
            }
            self.carry_out();
        }
    }

    fn carry_out(&mut self) {
        while let Some(action) = self.machine.poll_action() {
            match action {
                Action::Connect(id, place) => self.lines.connect(id, place),
                Action::Send(id, bytes) => self.lines.send(id, &bytes),
                Action::Close(id) => self.lines.close(id),
                Action::Tell(told) => told.tell(&self.reactors),
                Action::Say(level, text) => log!(level, "{text}"),
            }
        }
        self.viewer.show(self.machine.view(self.now()));
    }
}
