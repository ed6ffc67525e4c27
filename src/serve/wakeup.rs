//! What wakes the main thread: a signal to the process, or a reactor that has something to tell. Each rings by writing
//! a byte to one end of a socket pair; the main thread sleeps on the other end, with a timeout if it wants one.
//!
//! ```text
//!   INT, TERM, HUP, USR2 ──► its handler ──┐
//!                                          ├─► one byte ──► wait() ──► the main thread looks around
//!   a reactor's thread ──► Notifier ─────────┘
//! ```
//!
//! The byte says nothing: what there is to see stands elsewhere, for a signal in a flag. So a full pair is no loss.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR2};
use signal_hook::{flag, low_level};

/// The main thread's end.
#[derive(Debug)]
pub(super) struct Wakeup {
    heard: UnixStream,
    notifier: UnixStream,
    signals: Vec<(Signal, Arc<AtomicBool>)>,
}

/// A signal that this process does not leave to the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    /// INT
    Interrupt,
    /// TERM
    Terminate,
    /// HUP
    Hangup,
    /// USR2
    User2,
}

impl Signal {
    /// In the order in which they are looked at.
    pub const ALL: [Signal; 4] = [Signal::Interrupt, Signal::Terminate, Signal::Hangup, Signal::User2];

    fn number(self) -> i32 {
        match self {
            Signal::Interrupt => SIGINT,
            Signal::Terminate => SIGTERM,
            Signal::Hangup => SIGHUP,
            Signal::User2 => SIGUSR2,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Signal::Interrupt => "INT",
            Signal::Terminate => "TERM",
            Signal::Hangup => "HUP",
            Signal::User2 => "USR2",
        })
    }
}

/// What rings it, from any thread.
#[derive(Debug)]
pub(super) struct Notifier(UnixStream);

impl Wakeup {
    /// A wakeup that these signals ring from now on, of which the process does not die any more.
    ///
    /// # Errors
    ///
    /// When no file descriptor is free.
    pub fn new(signals: &[Signal]) -> io::Result<Wakeup> {
        let (heard, notifier) = UnixStream::pair()?;
        notifier.set_nonblocking(true)?;
        let signals: Vec<(Signal, Arc<AtomicBool>)> = signals.iter().map(|&signal| (signal, Arc::default())).collect();
        for (signal, has_come) in &signals {
            // In this order: who is woken finds the flag.
            flag::register(signal.number(), Arc::clone(has_come))?;
            low_level::pipe::register(signal.number(), notifier.try_clone()?)?;
        }
        Ok(Wakeup { heard, notifier, signals })
    }

    /// One more way to ring it.
    ///
    /// # Errors
    ///
    /// When no file descriptor is free.
    pub fn notifier(&self) -> io::Result<Notifier> {
        self.notifier.try_clone().map(Notifier)
    }

    /// Sleeps until it rings, or for so long, or a little less.
    ///
    /// # Errors
    ///
    /// When the pair is broken, which nothing that runs can do.
    pub fn wait(&self, patience: Option<Duration>) -> io::Result<()> {
        // A timeout of zero would be none.
        self.heard.set_read_timeout(patience.map(|patience| patience.max(Duration::from_millis(1))))?;
        match (&self.heard).read(&mut [0; 64]) {
            Err(error) if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Err(error),
            _ => Ok(()),
        }
    }

    /// A signal that has come since it was last asked for.
    pub fn next_signal(&self) -> Option<Signal> {
        let has_come = |(_, flag): &&(_, Arc<AtomicBool>)| flag.swap(false, Ordering::AcqRel);
        self.signals.iter().find(has_come).map(|(signal, _)| *signal)
    }
}

impl Notifier {
    /// Wakes the main thread.
    pub fn ring(&self) {
        let _ = (&self.0).write(&[0]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_and_signals_wake_and_silence_has_an_end() {
        let wakeup = Wakeup::new(&Signal::ALL).expect("descriptors are free");
        wakeup.wait(Some(Duration::from_millis(5))).expect("whole");
        assert_eq!(wakeup.next_signal(), None);
        let notifier = wakeup.notifier().expect("descriptors are free");
        notifier.ring();
        wakeup.wait(None).expect("rung");
        assert_eq!(wakeup.next_signal(), None);
        for _ in 0..100_000 {
            notifier.ring();
        }
        low_level::raise(SIGTERM).expect("a signal");
        wakeup.wait(None).expect("rung");
        assert_eq!(
            (wakeup.next_signal(), wakeup.next_signal()),
            (Some(Signal::Terminate), None),
            "it is not lost in the crowd"
        );
        low_level::raise(SIGTERM).expect("a signal");
        low_level::raise(SIGINT).expect("a signal");
        wakeup.wait(None).expect("rung");
        assert!(wakeup.next_signal().is_some() && wakeup.next_signal().is_some() && wakeup.next_signal().is_none());
    }
}
