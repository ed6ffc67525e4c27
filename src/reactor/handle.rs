//! What others tell a reactor, from any thread: to end, to show that it turns, what it counted; and what they leave in
//! its mailbox.
//!
//! Whoever tells it something wakes it; nobody waits. Knows nothing of what messages say.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use log::error;
use mio::Waker;

use super::nodes::NodesTold;
use super::sessions::Tls;
use crate::channel::Sender;
use crate::cluster::RefreshCause;
use crate::net::Address;
use crate::proxy::{Settings, WorkerMessage};
use crate::stats::Figures;

/// What others tell a reactor, from any thread.
#[derive(Debug, Clone)]
pub struct Handle {
    order: Arc<AtomicU8>,
    /// True from a question until it is answered.
    is_asked: Arc<AtomicBool>,
    mailbox: Sender<Post>,
    waker: Arc<Waker>,
}

impl Handle {
    /// That of a reactor with this mailbox, which this wakes.
    pub(super) fn new(mailbox: Sender<Post>, waker: Arc<Waker>) -> Handle {
        Handle { order: Arc::new(AtomicU8::new(RUN)), is_asked: Arc::default(), mailbox, waker }
    }

    /// No new clients; the reactor ends when those that are here are answered, or after
    /// [`GRACE`](super::GRACE).
    pub fn drain(&self) {
        self.order.store(DRAIN, Ordering::Release);
        self.wake();
    }

    /// No new clients, since another process takes over; the reactor ends when those that are here have left, or after
    /// so many milliseconds.
    pub fn dismiss(&self, drain_ms: u64) {
        self.leave(Post::Dismiss(drain_ms));
    }

    /// It accepts clients from now on, if it did not until now (see `Reactor::hold`).
    pub fn open(&self) {
        self.leave(Post::Open);
    }

    /// Asks whether the loop still turns; the answer comes with its next turn.
    pub fn ask(&self) {
        self.is_asked.store(true, Ordering::Release);
        self.wake();
    }

    /// True exactly when no question is open.
    pub fn has_answered(&self) -> bool {
        !self.is_asked.load(Ordering::Acquire)
    }

    /// From its next turn on these settings hold, with `servers` behind it in the order of `settings.servers`: their
    /// addresses, as far as they are known. False if it has ended.
    pub fn settle(&self, settings: Settings, servers: Vec<Option<Address>>, tls: Tls) -> bool {
        self.leave(Post::Settings(Box::new((settings, servers, tls))))
    }

    /// From now on it tells there when it doubts where a master is.
    pub fn give_hints(&self, hints: Hints) {
        self.leave(Post::Hints(hints));
    }

    /// The master of this name is there from now on.
    pub fn moved(&self, master: String, address: Address) {
        self.leave(Post::Moved(Box::new((master, address))));
    }

    /// These follow the master of this name from now on.
    pub fn followed(&self, master: String, replicas: Vec<Address>) {
        self.leave(Post::Followed(Box::new((master, replicas))));
    }

    /// It was asked where the master of this name is, and it is where it was.
    pub fn looked(&self, master: String) {
        self.leave(Post::Looked(master.into()));
    }

    /// Its servers are nodes of a cluster, of which this is known from now on.
    pub fn nodes(&self, told: NodesTold) {
        self.leave(Post::Nodes(told));
    }

    /// Asks for its figures; the answer comes with its next turn, or when it has ended.
    pub fn ask_figures(&self, question: FiguresQuestion) {
        self.leave(Post::Figures(question));
    }

    /// The reactor has turned: it answers the question, if there is one. True exactly when it is to end.
    pub(super) fn answer(&self) -> bool {
        self.is_asked.store(false, Ordering::Release);
        self.is_to_end()
    }

    /// True exactly when the reactor was told to end.
    pub(super) fn is_to_end(&self) -> bool {
        self.order.load(Ordering::Acquire) == DRAIN
    }

    /// Leaves something in its mailbox. False if it has ended.
    pub(super) fn leave(&self, post: Post) -> bool {
        let is_left = self.mailbox.send(post);
        if is_left {
            self.wake();
        }
        is_left
    }

    fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            error!("cannot wake a reactor: {error}");
        }
    }
}

/// Somebody has reason to ask where servers are.
#[derive(Debug)]
pub enum Hint {
    /// One of the masters that sentinels know.
    Master {
        /// Its name.
        name: String,
        /// Whether it is not where it was said to be; if not, only a connection was lost.
        is_lost: bool,
    },
    /// The nodes of a cluster: who has which slot.
    Slots(RefreshCause),
}

/// Where hints go.
#[derive(Debug, Clone)]
pub struct Hints {
    sender: Sender<Hint>,
    waker: Arc<Waker>,
}

impl Hints {
    /// They go there, and wake this.
    pub fn new(sender: Sender<Hint>, waker: Arc<Waker>) -> Hints {
        Hints { sender, waker }
    }

    /// Gives one. False if nobody is there to take it.
    pub(super) fn give(&self, hint: Hint) -> bool {
        self.sender.send(hint) && self.waker.wake().is_ok()
    }
}

/// A question for the figures of a reactor, by somebody who has asked others, too, and maybe before. The asker hears of
/// it in any case: of a reactor that ends first, that it does not answer.
#[derive(Debug)]
pub struct FiguresQuestion {
    round: u32,
    place: usize,
    /// `None` once it is answered.
    answers: Option<Sender<FiguresAnswer>>,
    waker: Arc<Waker>,
}

/// Which question of the asker this is about, which reactor, and its figures, unless it has ended.
pub type FiguresAnswer = (u32, usize, Option<Figures>);

impl FiguresQuestion {
    /// The `round`th question to the reactor that the asker knows by `place`; the answer goes there, and wakes this.
    pub fn new(round: u32, place: usize, answers: Sender<FiguresAnswer>, waker: Arc<Waker>) -> FiguresQuestion {
        FiguresQuestion { round, place, answers: Some(answers), waker }
    }

    /// Answers it, and wakes the asker, who may be gone.
    pub(super) fn answer(mut self, figures: Figures) {
        self.tell(Some(figures));
    }

    fn tell(&mut self, figures: Option<Figures>) {
        if self.answers.take().is_some_and(|answers| answers.send((self.round, self.place, figures))) {
            let _ = self.waker.wake();
        }
    }
}

impl Drop for FiguresQuestion {
    fn drop(&mut self) {
        self.tell(None);
    }
}

const RUN: u8 = 0;
const DRAIN: u8 = 1;

/// What may lie in a mailbox.
#[derive(Debug)]
pub(super) enum Post {
    /// A message from the reactor of this number.
    WorkerMessage(usize, WorkerMessage),
    /// The reactor of this number has ended: it reads and writes no more.
    WorkerGone(usize),
    /// Other settings for its proxy, and the servers of these.
    Settings(Box<(Settings, Vec<Option<Address>>, Tls)>),
    /// Another process takes over; so many milliseconds are left.
    Dismiss(u64),
    /// Clients are to be accepted from now on.
    Open,
    /// Somebody asks for the figures.
    Figures(FiguresQuestion),
    /// Where to tell that servers may be somewhere else.
    Hints(Hints),
    /// A master is there from now on.
    Moved(Box<(String, Address)>),
    /// These follow a master from now on.
    Followed(Box<(String, Vec<Address>)>),
    /// A master was asked about, and is where it was.
    Looked(Box<str>),
    /// What is known of the nodes of a cluster from now on.
    Nodes(NodesTold),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::channel;
    use crate::net::listen;
    use crate::reactor::Reactor;
    use mio::{Events, Poll, Token};
    use std::os::unix::net::UnixStream;
    use std::time::{Duration, Instant};

    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn a_reactor_that_runs_tells_its_figures_and_one_that_has_ended_is_known_to_tell_none() {
        let path = std::env::temp_dir().join(format!("rmux-figures-{}.sock", std::process::id()));
        let (listener, _file) = listen(&Address::Unix(path.clone()), 1, 0o600).expect("listen");
        let server = [Some(Address::Unix("/nonexistent".into()))];
        let settings = Settings::new(vec!["nowhere".to_owned()]);
        let reactor = Reactor::new(settings, listener, &server).expect("descriptors are free");
        let handle = reactor.handle();
        let running = std::thread::spawn(move || reactor.run(|| {}));
        let _client = UnixStream::connect(&path).expect("it listens");

        let mut poll = Poll::new().expect("descriptors are free");
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).expect("descriptors are free"));
        let (answers, received) = channel();
        let ask = |round| {
            let (answers, waker) = (answers.clone(), Arc::clone(&waker));
            handle.ask_figures(FiguresQuestion::new(round, 3, answers, waker));
        };
        let deadline = Instant::now() + PATIENCE;
        for round in 7.. {
            ask(round);
            let (answered, place, figures) = loop {
                poll.poll(&mut Events::with_capacity(1), Some(PATIENCE)).expect("no signal");
                match received.try_recv() {
                    Some(answer) => break answer,
                    None => assert!(Instant::now() < deadline, "no answer"),
                }
            };
            assert_eq!((answered, place), (round, 3));
            let figures = figures.expect("it runs");
            assert_eq!(figures.addresses, ["nowhere"]);
            assert_eq!(figures.servers.len(), 1);
            // A client may be accepted only after the question.
            if figures.clients == 1 && figures.turn_max_us > 0 {
                break;
            }
            assert!(Instant::now() < deadline, "{figures:?}");
        }
        handle.drain();
        running.join().expect("no panic").expect("a good end");
        ask(0);
        assert_eq!(received.try_recv(), Some((0, 3, None)), "it has ended");
    }

    #[test]
    fn who_asks_a_reactor_that_ends_before_it_answers_hears_of_it() {
        let path = std::env::temp_dir().join(format!("rmux-unanswered-{}.sock", std::process::id()));
        let (listener, _file) = listen(&Address::Unix(path), 1, 0o600).expect("listen");
        let settings = Settings::new(vec!["nowhere".to_owned()]);
        let reactor = Reactor::new(settings, listener, &[Some(Address::Unix("/nonexistent".into()))])
            .expect("descriptors are free");
        let mut poll = Poll::new().expect("descriptors are free");
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).expect("descriptors are free"));
        let (answers, received) = channel();
        reactor.handle().ask_figures(FiguresQuestion::new(1, 2, answers, Arc::clone(&waker)));
        assert_eq!(received.try_recv(), None, "it does not turn");
        drop(reactor);
        let mut events = Events::with_capacity(1);
        poll.poll(&mut events, Some(PATIENCE)).expect("no signal");
        assert!(!events.is_empty(), "who asks is woken");
        assert_eq!(received.try_recv(), Some((1, 2, None)));
    }
}
