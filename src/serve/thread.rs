//! A reactor at work on a thread of its own, and how far it has come.
//!
//! Knows no pools and no signals: the main thread looks at [`Thread::stage`] whenever it is woken.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::JoinHandle;

use super::wakeup::Notifier;
use crate::reactor::{Handle, Reactor};
use crate::thread;

/// A reactor at work.
#[derive(Debug)]
pub(super) struct Thread {
    handle: Handle,
    stage: Arc<AtomicU8>,
    thread: JoinHandle<io::Result<()>>,
}

/// How far a reactor has come, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// It looks up its servers' names.
    Starting,
    /// It knows them, or has given up.
    Settled,
    /// It has ended, as it was told to.
    Ended,
    /// It has ended, and was not told to.
    Failed,
}

impl Thread {
    /// Starts a reactor, whose thread is called by this number; it notifies of each stage that it enters.
    ///
    /// # Errors
    ///
    /// When no thread can be made.
    pub fn start(number: usize, reactor: Reactor, notifier: Notifier) -> io::Result<Thread> {
        let handle = reactor.handle();
        let stage = Arc::new(AtomicU8::new(Stage::Starting as u8));
        let own_stage = Arc::clone(&stage);
        let run = Box::new(move || {
            let enter = |stage: Stage| {
                own_stage.store(stage as u8, Ordering::Release);
                notifier.ring();
            };
            let result = reactor.run(|| enter(Stage::Settled));
            enter(if result.is_ok() { Stage::Ended } else { Stage::Failed });
            result
        });
        let thread = thread::spawn(&format!("rmux-{number}"), None, run)?;
        Ok(Thread { handle, stage, thread })
    }

    /// With what its reactor can be told something.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// How far it has come.
    pub fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::Starting,
            1 => Stage::Settled,
            2 => Stage::Ended,
            _ => Stage::Failed,
        }
    }

    /// True exactly when its reactor runs no more.
    pub fn has_ended(&self) -> bool {
        self.stage() >= Stage::Ended
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    ///
    /// What its reactor failed with.
    pub fn result(self) -> io::Result<()> {
        if !self.has_ended() {
            // Another one has failed, and takes this one with it.
            return Ok(());
        }
        match self.thread.join() {
            Ok(result) => result.map_err(|error| io::Error::new(error.kind(), format!("a reactor failed: {error}"))),
            Err(_) => Err(io::Error::other("a reactor panicked")),
        }
    }

    /// One whose reactor turns when the sender says so; until then it is as good as stuck.
    #[cfg(test)]
    pub fn stuck(reactor: Reactor, notifier: Notifier) -> (Thread, std::sync::mpsc::Sender<()>) {
        let (go, gone) = std::sync::mpsc::channel();
        let (handle, stage) = (reactor.handle(), Arc::new(AtomicU8::new(Stage::Settled as u8)));
        let own_stage = Arc::clone(&stage);
        let thread = std::thread::spawn(move || {
            let _ = gone.recv();
            let result = reactor.run(|| {});
            own_stage.store(Stage::Ended as u8, Ordering::Release);
            notifier.ring();
            result
        });
        (Thread { handle, stage, thread }, go)
    }
}
