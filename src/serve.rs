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

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use log::{info, warn};

use crate::config::{Config, PoolConfig};
use crate::limits::Limits;
use crate::net::{self, Listener, SocketFile};
use crate::proxy::{Settings, Workers};
use crate::reactor::{Handle, Reactor};
use crate::service::activation::Activation;
use crate::service::{Manager, PidFile, successor};
use wakeup::{Notifier, Wakeup};

mod wakeup;

/// Serves every pool until a signal ends it.
///
/// # Errors
///
/// When a pool cannot listen, the pid file cannot be written, a thread cannot be made, or a reactor fails; the text
/// names the address or file. And when a second signal came.
pub fn serve(config: &Config) -> io::Result<()> {
    // Before anything listens, so that no signal finds the process unprepared.
    let wakeup = Wakeup::new()?;
    let (listeners, socket_files) = listen(config)?;
    let _pid_file = config.pid_file.as_deref().map(PidFile::of_process).transpose()?;
    for (pool, _) in &listeners {
        let servers = pool.servers.len();
        info!("{NAME} listens on {}, with {servers} server{}", pool.listen, if servers == 1 { "" } else { "s" });
    }
    let mut threads = Vec::new();
    for (pool, listener) in &listeners {
        for reactor in reactors(pool, listener)? {
            threads.push(Thread::start(threads.len(), reactor, wakeup.notifier()?)?);
        }
    }
    // The reactors have descriptors of their own, and nobody is to come in when the last of them is closed.
    drop(listeners);
    look_after(&threads, &wakeup, &Manager::of_environment(), socket_files, &summary(config))?;
    threads.into_iter().try_for_each(Thread::result)?;
    info!("{NAME} has stopped");
    Ok(())
}

/// Until the last thread has ended, one has failed, or a second signal has come.
fn look_after(
    threads: &[Thread],
    wakeup: &Wakeup,
    manager: &Manager,
    mut socket_files: Vec<SocketFile>,
    status: &str,
) -> io::Result<()> {
    let third = manager.watchdog().map(|span| span / 3);
    let mut look_at = third.map(|third| Instant::now() + third);
    if third.is_some() {
        threads.iter().for_each(|thread| thread.handle.ask());
    }
    let mut is_ready = false;
    let mut is_ending = false;
    while threads.iter().any(|thread| thread.stage() < ENDED) {
        wakeup.wait(look_at.map(|at| at.saturating_duration_since(Instant::now())))?;
        while let Some(signal) = wakeup.next_signal() {
            if is_ending {
                return Err(io::Error::other(format!("{NAME} ends at once: a second signal, {signal}")));
            }
            info!("{NAME} stops: signal {signal}");
            manager.tell_stopping();
            is_ending = true;
            socket_files.clear();
            threads.iter().for_each(|thread| thread.handle.drain());
            if successor::has_listened() {
                net::stop_inherited();
            }
        }
        if threads.iter().any(|thread| thread.stage() == FAILED) {
            // Its own words come from joining it.
            return Ok(());
        }
        if !is_ready && !is_ending && threads.iter().all(|thread| thread.stage() >= SETTLED) {
            is_ready = true;
            manager.tell_ready(status);
        }
        if look_at.is_some_and(|at| at <= Instant::now()) {
            look_at = third.map(|third| Instant::now() + third);
            // Who does not turn does not answer, and then nothing is said until the manager has lost its patience.
            if threads.iter().all(|thread| thread.stage() >= ENDED || thread.handle.has_answered()) {
                manager.tell_alive();
                threads.iter().for_each(|thread| thread.handle.ask());
            }
        }
    }
    Ok(())
}

/// A listener for each pool; and the files to be removed when nobody is to come in any more.
#[expect(clippy::type_complexity, reason = "a name for it would say less")]
fn listen(config: &Config) -> io::Result<(Vec<(&PoolConfig, Listener)>, Vec<SocketFile>)> {
    let mut given = Activation::of_process()?;
    let mut listeners = Vec::new();
    let mut socket_files = Vec::new();
    for pool in &config.pools {
        let (listener, socket_file) = match given.take_if(|given| given.is_for(pool)) {
            Some(given) => given.into_listener(),
            None => net::listen(&pool.listen, net::backlog_max(), pool.socket_mode).map_err(io::Error::other)?,
        };
        listeners.push((pool, listener));
        socket_files.extend(socket_file);
    }
    match given {
        Some(given) => Err(given.unwanted()),
        None => Ok((listeners, socket_files)),
    }
}

/// The reactors of one pool.
fn reactors(pool: &PoolConfig, listener: &Listener) -> io::Result<Vec<Reactor>> {
    let cannot = |error: io::Error| io::Error::new(error.kind(), format!("pool {}: {error}", pool.listen));
    let settings = settings(pool);
    let mut reactors = Vec::new();
    for number in 0..pool.reactors {
        let listener = listener.try_clone().map_err(cannot)?;
        let workers = settings.workers.nth(number);
        let settings = Settings { seed: settings.seed.wrapping_add(number as u64), workers, ..settings.clone() };
        reactors.push(Reactor::new(settings, listener, &pool.servers).map_err(cannot)?);
    }
    Reactor::introduce(&mut reactors);
    Ok(reactors)
}

/// One line for people who ask the service manager.
fn summary(config: &Config) -> String {
    let places: Vec<String> = config.pools.iter().map(|pool| pool.listen.to_string()).collect();
    let servers: usize = config.pools.iter().map(|pool| pool.servers.len()).sum();
    format!("listens on {}, with {servers} server{}", places.join(" "), if servers == 1 { "" } else { "s" })
}

/// What each of a pool's reactors is told: its share of what the whole pool may have.
fn settings(pool: &PoolConfig) -> Settings {
    let share = |whole: usize| (whole / pool.reactors).max(1);
    let mut limits = Limits { buffered_bytes_max: share(pool.limits.buffered_bytes_max), ..pool.limits };
    let files = usize::try_from(net::file_limit()).unwrap_or(usize::MAX).saturating_sub(limits.fd_reserve).max(1);
    if limits.clients_max > files {
        warn!(
            "pool {}: clientsMax is {}, but this process may open so few files that {files} clients are the most",
            pool.listen, limits.clients_max
        );
        limits.clients_max = files;
    }
    limits.clients_max = limits.clients_max.div_ceil(pool.reactors);
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
    Settings {
        listen: pool.listen.to_string(),
        servers: pool.servers.iter().map(ToString::to_string).collect(),
        failover: pool.failover,
        hash_tag: pool.hash_tag,
        multi_key: pool.multi_key,
        strict_replies: pool.strict_replies,
        pool_size: share(pool.pool_size),
        lease_max: share(if pool.lease_max == 0 { pool.pool_size } else { pool.lease_max }),
        timeouts: pool.timeouts,
        limits,
        users: pool.users.clone(),
        credentials: pool.credentials.clone(),
        policy: pool.policy.clone(),
        process_id: std::process::id(),
        // The hasher knows what the system calls random.
        seed: nanos ^ u64::from(std::process::id()) << 32 ^ RandomState::new().build_hasher().finish(),
        workers: Workers::first_of(pool.reactors),
    }
}

/// A reactor at work.
#[derive(Debug)]
struct Thread {
    handle: Handle,
    stage: Arc<AtomicU8>,
    thread: JoinHandle<io::Result<()>>,
}

/// The stages of a reactor, in their order: it looks up its servers' names; it knows them, or has given up; it has
/// ended.
const STARTING: u8 = 0;
const SETTLED: u8 = 1;
const ENDED: u8 = 2;
const FAILED: u8 = 3;

impl Thread {
    fn start(number: usize, reactor: Reactor, notifier: Notifier) -> io::Result<Thread> {
        let handle = reactor.handle();
        let stage = Arc::new(AtomicU8::new(STARTING));
        let own_stage = Arc::clone(&stage);
        let run = move || {
            let enter = |stage| {
                own_stage.store(stage, Ordering::Release);
                notifier.ring();
            };
            let result = reactor.run(|| enter(SETTLED));
            enter(if result.is_ok() { ENDED } else { FAILED });
            result
        };
        let thread = thread::Builder::new().name(format!("rmux-{number}")).spawn(run)?;
        Ok(Thread { handle, stage, thread })
    }

    fn stage(&self) -> u8 {
        self.stage.load(Ordering::Acquire)
    }

    fn result(self) -> io::Result<()> {
        if self.stage() < ENDED {
            // Another one has failed, and takes this one with it.
            return Ok(());
        }
        match self.thread.join() {
            Ok(result) => result.map_err(|error| io::Error::new(error.kind(), format!("a reactor failed: {error}"))),
            Err(_) => Err(io::Error::other("a reactor panicked")),
        }
    }
}

const NAME: &str = concat!("rmux ", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{self, Action};
    use std::os::unix::net::UnixDatagram;
    use std::time::Duration;

    /// A reactor, and a thread that lets it turn when it is told to; until then it is as good as stuck.
    fn stuck_reactor(name: &str, wakeup: &Wakeup) -> (Thread, std::sync::mpsc::Sender<()>, Option<SocketFile>) {
        let path = std::env::temp_dir().join(format!("rmux-serve-{}-{name}.sock", std::process::id()));
        let flags = [format!("-socket={}", path.display()), "-unixConnections=/nonexistent".to_owned()];
        let Ok(Action::Serve(loaded)) = cli::parse(flags.map(Into::into)) else { panic!("good flags") };
        let pool = &loaded.config.pools[0];
        let (listener, file) = net::listen(&pool.listen, 1, pool.socket_mode).expect("listen");
        let reactor = reactors(pool, &listener).expect("a reactor").remove(0);
        let (go, gone) = std::sync::mpsc::channel();
        let (handle, stage) = (reactor.handle(), Arc::new(AtomicU8::new(SETTLED)));
        let (own_stage, notifier) = (Arc::clone(&stage), wakeup.notifier().expect("a descriptor"));
        let thread = thread::spawn(move || {
            let _ = gone.recv();
            let result = reactor.run(|| {});
            own_stage.store(ENDED, Ordering::Release);
            notifier.ring();
            result
        });
        (Thread { handle, stage, thread }, go, file)
    }

    #[test]
    fn a_reactor_that_is_stuck_ends_the_signs_of_life() {
        let wakeup = Wakeup::new().expect("descriptors are free");
        let (stuck, go, _file) = stuck_reactor("stuck", &wakeup);
        let handle = stuck.handle.clone();
        let (heard, said) = UnixDatagram::pair().expect("descriptors are free");
        let manager = Manager::new(Some(said), Some(Duration::from_millis(30)));
        let watch = thread::spawn(move || look_after(&[stuck], &wakeup, &manager, Vec::new(), "fine"));

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
