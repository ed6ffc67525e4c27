//! Messages between the reactors of one pool: what their proxies ask and tell each other.
//!
//! A reactor's mailbox is the receiving end of a channel; the sending end, with the waker beside it, is part of its
//! `Handle`, which all others of the pool have. Nobody waits: a message is left there, and read in the next turn. The
//! proxies see to it that there are never more than two messages of one reactor in the mailbox of another.
//!
//! ```text
//!   reactor 0 ── Mailbox::send ─► channel of reactor 1, wake ──► its next turn: Mailbox::next
//! ```
//!
//! Knows nothing of what messages say. Invariant: whoever leaves a message for a reactor that ends is told so, by
//! `send`, or else by a last word (`Post::WorkerGone`): the mailbox is closed first, and that is sent then.

use super::handle::{Handle, Post};
use crate::channel::{Receiver, Sender, channel};
use crate::proxy::WorkerMessage;

/// The mailbox of one reactor.
pub(super) struct Mailbox {
    /// `None` when it is closed.
    received: Option<Receiver<Post>>,
    /// The number of its owner among all reactors of the pool.
    number: usize,
    /// All reactors of the pool, by number.
    all: Vec<Handle>,
}

impl Mailbox {
    /// A mailbox whose owner knows nobody yet, and what leaves something in it.
    pub fn new() -> (Mailbox, Sender<Post>) {
        let (sender, receiver) = channel();
        (Mailbox { received: Some(receiver), number: 0, all: Vec::new() }, sender)
    }

    /// Its owner has this number among all reactors of its pool.
    pub fn introduce(&mut self, number: usize, all: Vec<Handle>) {
        self.number = number;
        self.all = all;
    }

    /// The next thing that lies in it.
    pub fn next(&mut self) -> Option<Post> {
        self.received.as_ref()?.try_recv()
    }

    /// Leaves a message for another reactor. False if that one has ended.
    pub fn send(&self, to: usize, message: WorkerMessage) -> bool {
        self.all.get(to).is_some_and(|other| other.leave(Post::WorkerMessage(self.number, message)))
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.received = None;
        for (number, other) in self.all.iter().enumerate() {
            if number != self.number {
                other.leave(Post::WorkerGone(self.number));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Address, Listener, listen};
    use crate::proxy::{Settings, Workers};
    use crate::reactor::Reactor;
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;
    use std::thread;
    use std::time::{Duration, Instant};

    const PATIENCE: Duration = Duration::from_secs(10);

    fn reactor(workers: Workers, listener: Listener) -> Reactor {
        let server = [Some(Address::Unix("/nonexistent".into()))];
        let settings = Settings { workers, ..Settings::new(vec!["nowhere".to_owned()]) };
        Reactor::new(settings, listener, &server).expect("descriptors are free")
    }

    /// How many clients a CLIENT LIST shows.
    fn listed(client: &mut UnixStream) -> usize {
        let mut text = String::new();
        while !text.ends_with("\n\r\n") {
            let mut bytes = [0; 4096];
            let length = client.read(&mut bytes).expect("a reply in time");
            assert_ne!(length, 0, "it was closed after {text:?}");
            text += std::str::from_utf8(&bytes[..length]).expect("a list is text");
        }
        text.matches("id=").count()
    }

    #[test]
    fn a_reactor_that_ends_with_a_letter_in_its_mailbox_keeps_nobody_waiting() {
        let workers = Workers::first_of(2);
        let path = std::env::temp_dir().join(format!("rmux-mailbox-{}.sock", std::process::id()));
        let (listener, _file) = listen(&Address::Unix(path.clone()), 1, 0o600).expect("listen");
        let same = listener.try_clone().expect("descriptors are free");
        let mut pool = [reactor(workers.nth(0), listener), reactor(workers.nth(1), same)];
        Reactor::introduce(&mut pool);
        let [asking, other] = pool;
        let handle = asking.handle();
        let running = thread::spawn(move || asking.run(|| {}));
        let mut client = UnixStream::connect(&path).expect("it listens");
        client.set_read_timeout(Some(PATIENCE)).expect("more than zero");

        client.write_all(b"CLIENT LIST\r\n").expect("it reads");
        let received = other.mailbox.received.as_ref().expect("it has not ended");
        let deadline = Instant::now() + PATIENCE;
        let post = loop {
            match received.try_recv() {
                Some(post) => break post,
                None => assert!(Instant::now() < deadline, "it is not asked"),
            }
            thread::yield_now();
        };
        assert!(matches!(post, Post::WorkerMessage(0, WorkerMessage::Questions(_))), "{post:?}");
        drop(other);
        assert_eq!(listed(&mut client), 1, "the farewell is as good as an answer");
        client.write_all(b"CLIENT LIST\r\n").expect("it reads");
        assert_eq!(listed(&mut client), 1, "nobody takes the message");
        handle.drain();
        running.join().expect("no panic").expect("a good end");
    }
}
