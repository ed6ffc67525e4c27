//! Host names → addresses, off the loop: each lookup on a short-lived thread of its own, because the system's resolver
//! may block for many seconds, and the loop never does.
//!
//! It does not know what a key stands for, nor when to ask again, nor which of the addresses to take.
//!
//! ```text
//! resolve(key, host, port) ──► waiting ──► a thread, "rmux-resolve" ──► answers (a channel), wake ──► poll()
//!            └─ an IP address needs no thread ──────────────────────────────┘
//! ```
//!
//! Invariants: a key is outstanding from `resolve` until `poll` gives its answer, and has one lookup at a time; at most
//! `LOOKUPS_MAX` threads run; whatever happens, each lookup ends with exactly one answer, and each answer wakes the
//! loop.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use mio::Waker;

use crate::channel::{Receiver, Sender, channel};
use crate::thread;

/// Looks up host names without blocking.
#[derive(Debug)]
pub struct Resolver {
    waker: Arc<Waker>,
    sender: Sender<Answer>,
    receiver: Receiver<Answer>,
    /// As many as there are servers, at the most.
    outstanding: Vec<u32>,
    /// Lookups for which there was no thread yet.
    waiting: VecDeque<Lookup>,
    /// How many threads have been started whose answer was not taken yet.
    running: usize,
    look_up: fn(&str, u16) -> io::Result<Vec<SocketAddr>>,
    stack_bytes: usize,
}

impl Resolver {
    /// A resolver whose answers wake a loop: when `waker`'s event comes, call [`Resolver::poll`] until `None`.
    pub fn new(waker: Arc<Waker>) -> Resolver {
        let (sender, receiver) = channel();
        Resolver {
            waker,
            sender,
            receiver,
            outstanding: Vec::new(),
            waiting: VecDeque::new(),
            running: 0,
            look_up: system_look_up,
            stack_bytes: STACK_BYTES,
        }
    }

    /// Asks for the addresses of a host. The answer comes from [`Resolver::poll`], under `key`, after a wake.
    /// Nothing happens when an answer for this key is still to come.
    pub fn resolve(&mut self, key: u32, host: &str, port: u16) {
        if self.outstanding.contains(&key) {
            return;
        }
        self.outstanding.push(key);
        if let Some(address) = literal(host, port) {
            answer(&self.sender, &self.waker, Answer { key, from_thread: false, outcome: Ok(vec![address]) });
            return;
        }
        self.waiting.push_back(Lookup { key, host: host.to_owned(), port });
        self.start_waiting();
    }

    /// The next answer that has come: at least one address, in the system's order of preference, or why there is none.
    pub fn poll(&mut self) -> Option<(u32, io::Result<Vec<SocketAddr>>)> {
        let Answer { key, from_thread, outcome } = self.receiver.try_recv()?;
        self.outstanding.retain(|&outstanding| outstanding != key);
        if from_thread {
            self.running -= 1;
            self.start_waiting();
        }
        Some((key, outcome))
    }

    fn start_waiting(&mut self) {
        while self.running < LOOKUPS_MAX {
            let Some(lookup) = self.waiting.pop_front() else {
                return;
            };
            self.start(lookup);
        }
    }

    fn start(&mut self, Lookup { key, host, port }: Lookup) {
        let (sender, waker, look_up) = (self.sender.clone(), Arc::clone(&self.waker), self.look_up);
        let body = Box::new(move || {
            let outcome = look_up(&host, port).and_then(|addresses| match addresses.is_empty() {
                true => Err(io::Error::new(io::ErrorKind::NotFound, "the host name has no address")),
                false => Ok(addresses),
            });
            answer(&sender, &waker, Answer { key, from_thread: true, outcome });
            Ok(())
        });
        match thread::spawn("rmux-resolve", Some(self.stack_bytes), body) {
            Ok(_) => self.running += 1,
            Err(error) => answer(&self.sender, &self.waker, Answer { key, from_thread: false, outcome: Err(error) }),
        }
    }
}

#[cfg(test)]
impl Resolver {
    /// No lookup ends, or takes a thread.
    pub fn hang(&mut self) {
        self.running = LOOKUPS_MAX;
    }

    /// How many lookups have not ended.
    pub fn hanging(&self) -> usize {
        self.waiting.len()
    }

    /// The lookup under this key, if there is one, ends with this.
    pub fn conclude(&mut self, key: u32, outcome: io::Result<Vec<SocketAddr>>) {
        self.waiting.retain(|lookup| lookup.key != key);
        answer(&self.sender, &self.waker, Answer { key, from_thread: false, outcome });
    }
}

/// The address that a host is already, when it is no name: then there is nothing to look up.
pub fn literal(host: &str, port: u16) -> Option<SocketAddr> {
    host.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, port))
}

fn system_look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    #[cfg(debug_assertions)]
    if let Some(found) = test_look_up(host) {
        return found;
    }
    (host, port).to_socket_addrs().map(Iterator::collect)
}

/// In a build for tests, what the file says that the environment names: lines of a name and its addresses, with ports.
/// `*` is every name that no line before has. `None` if it says nothing of this one.
#[cfg(debug_assertions)]
fn test_look_up(host: &str) -> Option<io::Result<Vec<SocketAddr>>> {
    let text = std::fs::read_to_string(std::env::var_os("RMUX_TEST_HOSTS")?).ok()?;
    let of_host =
        |line: &'_ str| line.strip_prefix(host).or(line.strip_prefix('*'))?.strip_prefix(' ').map(str::to_owned);
    let line = text.lines().find_map(of_host)?;
    let addresses = line.split(' ').map(|address| address.parse().map_err(io::Error::other));
    Some(addresses.collect())
}

fn answer(sender: &Sender<Answer>, waker: &Waker, answer: Answer) {
    // Both fail only when the loop is gone, and then there is nobody to tell.
    let _ = sender.send(answer);
    let _ = waker.wake();
}

#[derive(Debug)]
struct Lookup {
    key: u32,
    host: String,
    port: u16,
}

#[derive(Debug)]
struct Answer {
    key: u32,
    from_thread: bool,
    outcome: io::Result<Vec<SocketAddr>>,
}

/// How many lookups run at the same time; the others wait for them.
const LOOKUPS_MAX: usize = 16;
/// Enough for the C library's resolver and its modules, an eighth of what a thread usually gets.
const STACK_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll, Token};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Condvar, Mutex};
    use std::time::{Duration, Instant};

    fn resolver() -> (Poll, Resolver) {
        let poll = Poll::new().expect("poll");
        let waker = Waker::new(poll.registry(), Token(7)).expect("waker");
        (poll, Resolver::new(Arc::new(waker)))
    }

    /// Sleeps in the poll, as the loop does: a missing wake is a failure.
    fn next_answer(poll: &mut Poll, resolver: &mut Resolver) -> (u32, io::Result<Vec<SocketAddr>>) {
        let mut events = Events::with_capacity(8);
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(answer) = resolver.poll() {
                return answer;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            poll.poll(&mut events, Some(left)).expect("poll");
            assert!(!events.is_empty(), "no answer woke the loop");
        }
    }

    #[test]
    fn a_name_is_looked_up_and_the_loop_is_woken() {
        let (mut poll, mut resolver) = resolver();
        resolver.resolve(3, "localhost", 6379);
        let (key, outcome) = next_answer(&mut poll, &mut resolver);
        let addresses = outcome.expect("every machine knows its own name");
        assert_eq!(key, 3);
        assert!(!addresses.is_empty());
        assert!(addresses.iter().all(|address| address.ip().is_loopback() && address.port() == 6379));
        assert!(resolver.poll().is_none());
    }

    #[test]
    fn an_ip_address_needs_no_thread() {
        let (mut poll, mut resolver) = resolver();
        resolver.look_up = |_, _| panic!("looked up");
        for (host, shown) in [("192.0.2.7", "192.0.2.7:1"), ("2001:db8::7", "[2001:db8::7]:1")] {
            resolver.resolve(1, host, 1);
            assert_eq!(resolver.running, 0);
            let (_, outcome) = next_answer(&mut poll, &mut resolver);
            assert_eq!(outcome.expect("an address"), [shown.parse().expect("an address")]);
        }
        assert_eq!(literal("redis1", 1), None);
    }

    #[test]
    fn a_failed_lookup_is_an_answer_and_so_is_an_empty_one() {
        let (mut poll, mut resolver) = resolver();
        resolver.look_up = |host, _| match host {
            "empty" => Ok(Vec::new()),
            _ => Err(io::Error::other("no such host")),
        };
        resolver.resolve(1, "empty", 1);
        let (_, outcome) = next_answer(&mut poll, &mut resolver);
        assert_eq!(outcome.expect_err("no address").to_string(), "the host name has no address");
        resolver.resolve(1, "unknown", 1);
        let (_, outcome) = next_answer(&mut poll, &mut resolver);
        assert_eq!(outcome.expect_err("unknown").to_string(), "no such host");
        assert_eq!(resolver.running, 0);
    }

    #[test]
    fn a_thread_that_cannot_be_made_is_an_answer() {
        let (mut poll, mut resolver) = resolver();
        resolver.stack_bytes = 1 << 47; // more than there are addresses
        for _ in 0..2 {
            resolver.resolve(9, "redis1", 1);
            let (key, outcome) = next_answer(&mut poll, &mut resolver);
            assert_eq!(key, 9);
            outcome.expect_err("no thread");
            assert_eq!(resolver.running, 0);
        }
    }

    /// Lookups that stand still until they are let go.
    static GATE: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());
    static ASKED: AtomicUsize = AtomicUsize::new(0);

    fn look_up_behind_the_gate(_: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        ASKED.fetch_add(1, Ordering::SeqCst);
        let open = GATE.0.lock().expect("not poisoned");
        drop(GATE.1.wait_while(open, |open| !*open).expect("not poisoned"));
        Ok(vec![SocketAddr::new([127, 0, 0, 1].into(), port)])
    }

    #[test]
    fn a_key_has_one_lookup_at_a_time_and_all_together_have_a_limit() {
        let (mut poll, mut resolver) = resolver();
        resolver.look_up = look_up_behind_the_gate;
        let keys = 3 * LOOKUPS_MAX as u32;
        for key in (0..keys).chain(0..keys) {
            resolver.resolve(key, "redis1", key as u16 + 1);
        }
        assert_eq!((resolver.running, resolver.waiting.len()), (LOOKUPS_MAX, 2 * LOOKUPS_MAX));
        assert!(resolver.poll().is_none(), "none has been let go");
        *GATE.0.lock().expect("not poisoned") = true;
        GATE.1.notify_all();
        let mut answered = std::collections::HashSet::new();
        for _ in 0..keys {
            let (key, outcome) = next_answer(&mut poll, &mut resolver);
            assert_eq!(outcome.expect("an address")[0].port(), key as u16 + 1);
            assert!(answered.insert(key), "{key} was answered twice");
        }
        assert_eq!((answered.len() as u32, ASKED.load(Ordering::SeqCst)), (keys, keys as usize));
        assert!(resolver.poll().is_none() && resolver.running == 0);
        resolver.resolve(0, "redis1", 1);
        assert_eq!(next_answer(&mut poll, &mut resolver).0, 0, "a key can be asked for again");
    }
}
