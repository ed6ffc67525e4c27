//! From a configuration to running reactors, and from a signal to their end.
//!
//! Each pool has its own listener and its own reactors, each on a thread of its own; this thread looks after them:
//!
//! ```text
//!   listen, pid file ─► start the threads ─► all servers' names known, or given up ─► the manager is told: ready
//!     ─► every third of its watchdog's time, if each reactor has answered since: still alive
//!     ─► INT or TERM: drain ─► the last reactor has ended ─► remove what is left, done
//! ```
//!
//! The first INT or TERM drains: the listening sockets and their files go at once, what is outstanding is answered, and
//! after [`reactor::GRACE`](crate::reactor::GRACE) the rest is cut off. A second one ends the process where it stands,
//! and so does a reactor that fails: half a service is none, and what supervises this process starts it anew. PIPE is
//! ignored, as in every Rust program: a broken socket is an error of the write.
//!
//! The parts: `pool` is one pool at work, above `thread`, one reactor of it, above `wakeup`, what wakes this thread.

use std::io;
use std::time::{Duration, Instant};

use log::{info, warn};

use crate::config::Config;
use crate::net;
use crate::service::activation::Activation;
use crate::service::{Manager, PidFile, successor};
use pool::Pool;
use thread::{Stage, Thread};
use wakeup::{Signal, Wakeup};

mod pool;
mod thread;
mod wakeup;

/// Serves every pool until a signal ends it.
///
/// # Errors
///
/// When a pool cannot listen, the pid file cannot be written, a thread cannot be made, or a reactor fails; the text
/// names the address or file. And when a second signal came.
pub fn serve(config: &Config) -> io::Result<()> {
    // Before anything listens, so that no signal finds the process unprepared.
    let wakeup = Wakeup::new(&Signal::ALL)?;
    let mut pools = open(config)?;
    let _pid_file = config.pid_file.as_deref().map(PidFile::of_process).transpose()?;
    for pool in &config.pools {
        let servers = pool.servers.len();
        info!("{NAME} listens on {}, with {servers} server{}", pool.listen, if servers == 1 { "" } else { "s" });
    }
    let mut number = 0;
    for pool in &mut pools {
        pool.start(number, &wakeup)?;
        number += pool.threads().len();
    }
    let mut supervisor = Supervisor::new(pools, wakeup, Manager::of_environment(), summary(config));
    supervisor.look_after()?;
    supervisor.pools.into_iter().try_for_each(Pool::result)?;
    info!("{NAME} has stopped");
    Ok(())
}

/// A pool for each of the configuration, which listens and does not run yet.
fn open(config: &Config) -> io::Result<Vec<Pool>> {
    let mut given = Activation::of_process()?;
    let mut pools = Vec::new();
    for pool in &config.pools {
        pools.push(match given.take_if(|given| given.is_for(pool)) {
            Some(given) => {
                let (listener, socket_file) = given.into_listener();
                Pool::of_listener(pool, listener, socket_file)
            }
            None => Pool::open(pool)?,
        });
    }
    match given {
        Some(given) => Err(given.unwanted()),
        None => Ok(pools),
    }
}

/// One line for people who ask the service manager.
fn summary(config: &Config) -> String {
    let places: Vec<String> = config.pools.iter().map(|pool| pool.listen.to_string()).collect();
    let servers: usize = config.pools.iter().map(|pool| pool.servers.len()).sum();
    format!("listens on {}, with {servers} server{}", places.join(" "), if servers == 1 { "" } else { "s" })
}

/// The main thread, while the others serve.
struct Supervisor {
    pools: Vec<Pool>,
    wakeup: Wakeup,
    manager: Manager,
    /// One line for people, once it is ready.
    status: String,
    is_ready: bool,
    is_ending: bool,
    /// When the manager is to be told that all reactors turn.
    look_at: Option<Instant>,
}

impl Supervisor {
    fn new(pools: Vec<Pool>, wakeup: Wakeup, manager: Manager, status: String) -> Supervisor {
        Supervisor { pools, wakeup, manager, status, is_ready: false, is_ending: false, look_at: None }
    }

    fn threads(&self) -> impl Iterator<Item = &Thread> {
        self.pools.iter().flat_map(Pool::threads)
    }

    /// Until the last thread has ended, one has failed, or a second signal has come.
    fn look_after(&mut self) -> io::Result<()> {
        let third = self.manager.watchdog().map(|span| span / 3);
        if let Some(third) = third {
            self.look_at = Some(Instant::now() + third);
            self.threads().for_each(|thread| thread.handle().ask());
        }
        while self.threads().any(|thread| !thread.has_ended()) {
            self.wakeup.wait(self.look_at.map(|at| at.saturating_duration_since(Instant::now())))?;
            while let Some(signal) = self.wakeup.next_signal() {
                self.on_signal(signal)?;
            }
            if self.threads().any(|thread| thread.stage() == Stage::Failed) {
                // Its own words come from joining it.
                return Ok(());
            }
            if !self.is_ready && !self.is_ending && self.threads().all(|thread| thread.stage() >= Stage::Settled) {
                self.is_ready = true;
                self.manager.tell_ready(&self.status);
            }
            self.maybe_tell_alive(third);
        }
        Ok(())
    }

    /// # Errors
    ///
    /// When the process is to end where it stands.
    fn on_signal(&mut self, signal: Signal) -> io::Result<()> {
        match signal {
            Signal::Interrupt | Signal::Terminate if self.is_ending => {
                return Err(io::Error::other(format!("{NAME} ends at once: a second signal, {signal}")));
            }
            Signal::Interrupt | Signal::Terminate => {
                info!("{NAME} stops: signal {signal}");
                self.manager.tell_stopping();
                self.is_ending = true;
                self.pools.iter_mut().for_each(Pool::drain);
                if successor::has_listened() {
                    net::stop_inherited();
                }
            }
            Signal::Hangup | Signal::User2 => warn!("signal {signal} has no meaning here"),
        }
        Ok(())
    }

    /// A sign of life, when it is time for one. Who does not turn does not answer, and then nothing is said until the
    /// manager has lost its patience.
    fn maybe_tell_alive(&mut self, third: Option<Duration>) {
        if self.look_at.is_none_or(|at| at > Instant::now()) {
            return;
        }
        self.look_at = third.map(|third| Instant::now() + third);
        if self.threads().all(|thread| thread.has_ended() || thread.handle().has_answered()) {
            self.manager.tell_alive();
            self.threads().for_each(|thread| thread.handle().ask());
        }
    }
}

const NAME: &str = concat!("rmux ", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{self, Action};
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn a_reactor_that_is_stuck_ends_the_signs_of_life() {
        let path = std::env::temp_dir().join(format!("rmux-serve-{}-stuck.sock", std::process::id()));
        let flags = [format!("-socket={}", path.display()), "-unixConnections=/nonexistent".to_owned()];
        let Ok(Action::Serve(loaded)) = cli::parse(flags.map(Into::into)) else { panic!("good flags") };
        let wakeup = Wakeup::new(&[]).expect("descriptors are free");
        let (stuck, go) = Pool::stuck(&loaded.config.pools[0], &wakeup);
        let handle = stuck.threads()[0].handle().clone();
        let (heard, said) = UnixDatagram::pair().expect("descriptors are free");
        let manager = Manager::new(Some(said), Some(Duration::from_millis(30)));
        let mut supervisor = Supervisor::new(vec![stuck], wakeup, manager, "fine".to_owned());
        let watch = std::thread::spawn(move || supervisor.look_after());

        let mut word = [0; 64];
        let mut next = |patience| {
            heard.set_read_timeout(Some(patience)).expect("more than zero");
            heard.recv(&mut word).map(|length| String::from_utf8_lossy(&word[..length]).into_owned())
        };
        let long = Duration::from_secs(10);
        assert_eq!(next(long).expect("it is ready"), "READY=1\nSTATUS=fine");
        next(Duration::from_millis(200)).expect_err("no sign of life, many times over");
        go.send(()).expect("the thread waits");
        for _ in 0..3 {
            assert_eq!(next(long).expect("it turns again"), "WATCHDOG=1");
        }
        handle.drain();
        watch.join().expect("no panic").expect("a good end");
    }
}
