//! Neighbours: ordinary clients that ask for little while another one sends its pipelines, and look at the clock.
//!
//! One thread holds them all. Each has one request in flight at most, SET and GET of a key of its own by turns, and pauses
//! after each reply; a reply that is none fails the run.
//! Each keeps to its own pace, so a stall that all of them wait for is counted once for each.
//!
//! Invariant: a request is counted exactly once: when its reply is complete, or at the end as what it has taken so far.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mio::net::UnixStream;
use mio::{Events, Interest, Poll, Token};

/// Neighbours at work.
pub struct Neighbours {
    is_ending: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<Vec<Delay>>>,
}

/// How long one request took.
#[derive(Debug, Clone, Copy)]
pub struct Delay {
    /// When it was sent.
    pub start: Instant,
    /// From then to its reply.
    pub time: Duration,
}

impl Neighbours {
    /// Connects them, and returns when as many replies have come as there are neighbours.
    pub fn start(socket: &Path) -> Result<Neighbours, String> {
        let is_ending = Arc::new(AtomicBool::new(false));
        let (ready, is_ready) = mpsc::channel();
        let (socket, ending): (PathBuf, _) = (socket.to_owned(), Arc::clone(&is_ending));
        let thread = thread::spawn(move || Group::connect(&socket)?.run(&ending, &ready));
        let neighbours = Neighbours { is_ending, thread };
        match is_ready.recv_timeout(READY_TIMEOUT) {
            Ok(()) => Ok(neighbours),
            // It has ended, and says why; or it ends now, and has not been answered.
            Err(_) => Err(neighbours.stop().err().unwrap_or_else(|| "neighbours: no replies".to_owned())),
        }
    }

    /// Ends them, and gives every delay since they started.
    pub fn stop(self) -> Result<Vec<Delay>, String> {
        self.is_ending.store(true, Ordering::Relaxed);
        let delays = self.thread.join().unwrap_or_else(|_| Err(io::Error::other("panicked")));
        delays.map_err(|error| format!("neighbours: {error}"))
    }
}

struct Group {
    poll: Poll,
    neighbours: Vec<Neighbour>,
    delays: Vec<Delay>,
}

struct Neighbour {
    stream: UnixStream,
    state: State,
    /// What it sends, and what must come back, by turns.
    exchanges: [(Vec<u8>, &'static [u8]); 2],
}

enum State {
    /// Until then it has nothing to ask.
    Pausing(Instant),
    /// A request of it is in flight since then, and this is what has come of its reply.
    Waiting(Instant, Vec<u8>),
}

impl Group {
    fn connect(socket: &Path) -> io::Result<Group> {
        let poll = Poll::new()?;
        let mut neighbours = Vec::new();
        for number in 0..NEIGHBOURS {
            let stream = StdStream::connect(socket)?;
            stream.set_nonblocking(true)?;
            let mut stream = UnixStream::from_std(stream);
            poll.registry().register(&mut stream, Token(number), Interest::READABLE)?;
            let key = format!("neighbour:{number:02}");
            let set = format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n$1\r\nx\r\n", key.len()).into_bytes();
            let get = format!("*2\r\n$3\r\nGET\r\n${}\r\n{key}\r\n", key.len()).into_bytes();
            // Not all at once.
            let first = Instant::now() + PAUSE * number as u32 / NEIGHBOURS as u32;
            let exchanges = [(set, b"+OK\r\n".as_slice()), (get, b"$1\r\nx\r\n".as_slice())];
            neighbours.push(Neighbour { stream, state: State::Pausing(first), exchanges });
        }
        Ok(Group { poll, neighbours, delays: Vec::new() })
    }

    /// Until it is told to end and nothing is in flight any more, or for a while longer.
    fn run(mut self, is_ending: &AtomicBool, ready: &mpsc::Sender<()>) -> io::Result<Vec<Delay>> {
        let mut events = Events::with_capacity(NEIGHBOURS);
        let mut end = None;
        loop {
            match self.poll.poll(&mut events, Some(TICK)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                let delay = self.neighbours[event.token().0].receive()?;
                self.delays.extend(delay);
            }
            if self.delays.len() >= NEIGHBOURS {
                // Nobody listens any more after the first time.
                let _ = ready.send(());
            }
            if is_ending.load(Ordering::Relaxed) {
                let end = *end.get_or_insert_with(|| Instant::now() + END_TIMEOUT);
                let unanswered: Vec<Delay> = self.neighbours.iter().filter_map(Neighbour::unanswered).collect();
                if unanswered.is_empty() || Instant::now() > end {
                    return Ok([self.delays, unanswered].concat());
                }
            } else {
                self.neighbours.iter_mut().try_for_each(Neighbour::maybe_ask)?;
            }
        }
    }
}

impl Neighbour {
    fn maybe_ask(&mut self) -> io::Result<()> {
        let now = Instant::now();
        if matches!(self.state, State::Pausing(end) if end <= now) {
            // Nothing else is in flight, so there is room for a request as small as this.
            self.stream.write_all(&self.exchanges[0].0)?;
            self.state = State::Waiting(now, Vec::new());
        }
        Ok(())
    }

    /// Takes what is there; when the reply is complete, how long it took.
    fn receive(&mut self) -> io::Result<Option<Delay>> {
        let mut buffer = [0; 64];
        let length = match self.stream.read(&mut buffer) {
            Ok(0) => return Err(io::Error::other("one was closed")),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        let unexpected = |bytes: &[u8]| io::Error::other(format!("unexpected {:?}", String::from_utf8_lossy(bytes)));
        let State::Waiting(start, reply) = &mut self.state else {
            return Err(unexpected(&buffer[..length]));
        };
        reply.extend_from_slice(&buffer[..length]);
        let expected = self.exchanges[0].1;
        if !expected.starts_with(reply) {
            return Err(unexpected(reply));
        }
        if reply.len() < expected.len() {
            return Ok(None);
        }
        let delay = Delay { start: *start, time: start.elapsed() };
        self.state = State::Pausing(Instant::now() + PAUSE);
        self.exchanges.swap(0, 1);
        Ok(Some(delay))
    }

    fn unanswered(&self) -> Option<Delay> {
        match self.state {
            State::Waiting(start, _) => Some(Delay { start, time: start.elapsed() }),
            State::Pausing(_) => None,
        }
    }
}

/// How many there are.
pub const NEIGHBOURS: usize = 50;
/// Between a reply and the next request of the same neighbour.
const PAUSE: Duration = Duration::from_millis(20);
const TICK: Duration = Duration::from_millis(1);
const READY_TIMEOUT: Duration = Duration::from_secs(10);
const END_TIMEOUT: Duration = Duration::from_secs(2);
