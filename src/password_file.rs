//! A password in a file of its own: read at the start, and read again off the loop.
//!
//! A file has the password as its only line; the line's end is not part of it. Nothing that is wrong with a password is
//! said with the password. A file system may hang: whoever must not wait has a [`Reader`], whose reads are short-lived
//! threads.
//!
//! ```text
//! begin(number, path) ──► a thread, "rmux-password" ──► answers (a channel), wake ──► poll()
//! ```
//!
//! Invariants: at most `READS_MAX` threads run; whatever happens, each read that was begun ends with one answer at the
//! most, and each answer wakes the loop. Knows not what the password is for, nor when to read it.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mio::Waker;

use crate::channel::{Receiver, Sender, channel};
use crate::thread;
use crate::users::{SECRET_BYTES_MAX, Secret};

/// Reads the password.
///
/// # Errors
///
/// What is wrong with the file or the password, without either.
pub fn read(path: &Path) -> Result<Secret, String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(SECRET_BYTES_MAX as u64 + 3).read_to_end(&mut bytes))
        .map_err(|error| format!("cannot be read: {error}"))?;
    let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.contains(&b'\n') {
        return Err("has more than one line: a password is the only one".to_owned());
    }
    Ok(Secret::new(line))
}

/// Whether this can be a password.
///
/// # Errors
///
/// What is wrong with its length.
pub fn check(secret: &Secret) -> Result<(), &'static str> {
    match secret.reveal().len() {
        0 => Err("the password is empty: leave it out to have none"),
        1..=SECRET_BYTES_MAX => Ok(()),
        _ => Err("the password is longer than 16384 bytes"),
    }
}

/// What a read has brought: its number, and the password or what is wrong.
pub type Answer = (u32, Result<Secret, String>);

/// Reads files without blocking.
#[derive(Debug)]
pub struct Reader {
    waker: Arc<Waker>,
    sender: Sender<Answer>,
    receiver: Receiver<Answer>,
    /// How many threads have been started whose answer was not taken yet.
    running: usize,
}

impl Reader {
    /// One whose answers wake a loop: when `waker`'s event comes, call [`Reader::poll`] until `None`.
    pub fn new(waker: Arc<Waker>) -> Reader {
        let (sender, receiver) = channel();
        Reader { waker, sender, receiver, running: 0 }
    }

    /// Reads this file. The answer comes from [`Reader::poll`], with `number`, after a wake. False if no thread can be
    /// made for it: there are too many that hang, or the system has none.
    pub fn begin(&mut self, number: u32, path: &Path) -> bool {
        if self.running == READS_MAX {
            return false;
        }
        let (sender, waker, path) = (self.sender.clone(), Arc::clone(&self.waker), PathBuf::from(path));
        let body = Box::new(move || {
            let outcome = read(&path).and_then(|secret| check(&secret).map(|()| secret).map_err(str::to_owned));
            // Both fail only when the loop is gone, and then there is nobody to tell.
            let _ = sender.send((number, outcome));
            let _ = waker.wake();
            Ok(())
        });
        let is_begun = thread::spawn("rmux-password", Some(STACK_BYTES), body).is_ok();
        self.running += usize::from(is_begun);
        is_begun
    }

    /// The next answer that has come.
    pub fn poll(&mut self) -> Option<Answer> {
        let answer = self.receiver.try_recv()?;
        self.running -= 1;
        Some(answer)
    }
}

/// How many reads may hang at the same time, each of a file of its own.
const READS_MAX: usize = 4;
/// What a read needs, and some room.
const STACK_BYTES: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll, Token};
    use std::time::Duration;

    #[test]
    fn a_file_is_read_on_another_thread_and_the_loop_is_woken() {
        let path = std::env::temp_dir().join(format!("rmux-password-reader-{}", std::process::id()));
        let mut poll = Poll::new().unwrap();
        let mut reader = Reader::new(Arc::new(Waker::new(poll.registry(), Token(7)).unwrap()));
        for (number, (bytes, expected)) in [
            (Some("hunter2\n"), Ok(Secret::new(*b"hunter2"))),
            (Some(""), Err("the password is empty: leave it out to have none".to_owned())),
            (Some("a\nb\n"), Err("has more than one line: a password is the only one".to_owned())),
            (None, Err("cannot be read: No such file or directory (os error 2)".to_owned())),
        ]
        .into_iter()
        .enumerate()
        {
            match bytes {
                Some(bytes) => std::fs::write(&path, bytes).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
            assert!(reader.begin(number as u32, &path));
            let mut events = Events::with_capacity(1);
            poll.poll(&mut events, Some(Duration::from_secs(20))).unwrap();
            assert!(!events.is_empty(), "no answer woke the loop");
            assert_eq!(reader.poll(), Some((number as u32, expected)));
            assert_eq!((reader.poll(), reader.running), (None, 0));
        }
    }
}
