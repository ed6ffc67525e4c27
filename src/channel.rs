//! A queue between threads: many put something in, one takes it out, and nobody waits.
//!
//! Whoever takes is woken by other means. The standard library's channels can wait, and be bounded, in three ways; that
//! is 4 kB of code for each kind of thing that goes through one.
//!
//! ```text
//!   Sender, Sender, … ── send ─► [ a ][ b ][ c ] ── try_recv ─► Receiver
//! ```
//!
//! Invariant: once the receiver is gone nothing is put in, and `send` says so.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is on its way; `None` when nobody will take it.
#[derive(Debug)]
struct Queue<T>(Mutex<Option<VecDeque<T>>>);

/// The end where things are put in.
#[derive(Debug)]
pub struct Sender<T>(Arc<Queue<T>>);

/// The end where they are taken out, in the same order.
#[derive(Debug)]
pub struct Receiver<T>(Arc<Queue<T>>);

/// The two ends of a new one.
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let queue = Arc::new(Queue(Mutex::new(Some(VecDeque::new()))));
    (Sender(Arc::clone(&queue)), Receiver(queue))
}

impl<T> Queue<T> {
    fn lock(&self) -> MutexGuard<'_, Option<VecDeque<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        Sender(Arc::clone(&self.0))
    }
}

impl<T> Sender<T> {
    /// Puts something in. False if the receiver is gone.
    pub fn send(&self, item: T) -> bool {
        self.0.lock().as_mut().map(|queue| queue.push_back(item)).is_some()
    }
}

impl<T> Receiver<T> {
    /// Takes the next thing out, if there is one.
    pub fn try_recv(&self) -> Option<T> {
        self.0.lock().as_mut()?.pop_front()
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        // Not while it is locked: what is dropped may have senders of its own.
        let left = self.0.lock().take();
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn everything_comes_out_once_and_in_the_order_of_each_sender() {
        let (sender, receiver) = channel();
        let threads: Vec<_> = (0..4)
            .map(|number| {
                let sender = sender.clone();
                thread::spawn(move || (0..1000).for_each(|item| assert!(sender.send((number, item)))))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        let mut next = [0; 4];
        while let Some((number, item)) = receiver.try_recv() {
            assert_eq!(item, next[number]);
            next[number] += 1;
        }
        assert_eq!(next, [1000; 4]);
    }

    #[test]
    fn nothing_is_put_in_when_nobody_will_take_it() {
        let (sender, receiver) = channel();
        let item = Arc::new(());
        assert!(sender.send(Arc::clone(&item)));
        drop(receiver);
        assert_eq!(Arc::strong_count(&item), 1, "what was left is gone with the receiver");
        assert!(!sender.send(item));
    }
}
