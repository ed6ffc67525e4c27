//! The thread that watches where the servers of one pool are: the clock of a machine that asks, and its way to those
//! who want to know.
//!
//! ```text
//!   the pool ── News ──┐                        ┌─ connect, send, close ─► Lines ─► sentinels, nodes
//!   a reactor ─ Hint ──┼─► poll ─► Machine ─►───┼─ Told ─► each reactor
//!   Lines ─── Event ───┘                        └─ what there is to show ─► whoever asks
//! ```
//!
//! There is one for each pool whose masters sentinels know, or whose servers are nodes of a cluster, and none for
//! others. It ends when its [`Link`] is dropped, with its pool.
//!
//! Knows where to send what the machine says, and nothing of why.
//!
//! The parts: `machine`, who asks, of either kind; `lines`, its connections, each of them a `line`.

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

/// What a watcher is told of its pool.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// What it is to find out.
    pub wanted: Wanted,
    /// How those are reached who are asked, if over TLS.
    pub tls: Option<RemoteTls>,
    /// The file of the password that they want, if it is in one: it is read before each connect.
    pub password_file: Option<PathBuf>,
}

/// What it is told by its pool.
#[derive(Debug)]
enum News {
    /// From now on these want to know.
    Reactors(Vec<Handle>),
    /// From now on this holds.
    Settings(Box<Settings>),
    /// It ends.
    End,
}

/// What there is to show, and who waits for that.
#[derive(Debug, Default)]
struct Shown {
    view: Mutex<View>,
    is_new: Condvar,
}

/// With what a watcher is told something. Dropped, it ends the watcher.
#[derive(Debug)]
pub struct Link {
    news: Sender<News>,
    waker: Arc<Waker>,
    viewer: Viewer,
}

/// With what it is seen what a watcher knows, for as long as there is somebody who wants to see it.
#[derive(Debug, Clone, Default)]
pub struct Viewer(Arc<Shown>);

impl Viewer {
    /// What there is to show at this moment.
    pub fn view(&self) -> View {
        self.0.view.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The same, once somebody has answered, or has been asked in vain; or after so long.
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
    /// From now on these reactors are told where their servers are.
    pub fn tell_reactors(&self, reactors: Vec<Handle>) {
        self.tell(News::Reactors(reactors));
    }

    /// From now on this holds.
    pub fn settle(&self, settings: Settings) {
        self.tell(News::Settings(Box::new(settings)));
    }

    /// With what it is seen what it knows.
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
struct Watcher {
    poll: Poll,
    news: Receiver<News>,
    hints: Receiver<Hint>,
    /// What reactors are given.
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

/// The hasher knows what the system calls random.
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
                    // What one read has brought is dealt with before the next one, however much there is.
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

    /// These are to be told, now and from now on.
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

    /// Tells the machine what has happened on its connections; what it does about that may make more happen.
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
