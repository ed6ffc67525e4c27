//! One pool of the configuration at work: its listener, the file of its socket, and its threads.
//!
//! ```text
//!   open, or given ─► start: the threads run ─► drain: nobody comes in any more ─► all threads have ended ─► result
//! ```
//!
//! The listener is the pool's, and each reactor has a descriptor of its own of the same socket: so it can be handed
//! on. Nobody is to come in when the last descriptor is closed: the pool closes its own, and removes the file, as soon
//! as it drains.
//!
//! Knows no signals and no other pools.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use log::{error, warn};

use super::thread::Thread;
use super::wakeup::Wakeup;
use super::watched;
use crate::config::{self, PoolConfig};
use crate::limits::Limits;
use crate::net::{self, Address, Listener, ResolvedAddress, SocketFile};
use crate::proxy::{Settings, Workers};
use crate::reactor::{Reactor, Tls};
use crate::read_from::ReadFrom;
use crate::service::upgrade::Passed;
use crate::watcher;

/// A pool at work.
#[derive(Debug)]
pub(super) struct Pool {
    config: PoolConfig,
    /// `None` exactly when it drains.
    listener: Option<Listener>,
    /// What is to be removed when nobody is to come in any more.
    socket_file: Option<SocketFile>,
    /// Whether the listener is the service manager's, which goes on listening.
    is_given: bool,
    threads: Vec<Thread>,
    /// `None` if nobody else knows where its servers are.
    watcher: Option<watcher::Link>,
}

impl Pool {
    /// One that listens where its configuration says, and does not run yet.
    ///
    /// # Errors
    ///
    /// When it cannot listen there; the text names the address.
    pub fn open(config: &PoolConfig) -> io::Result<Pool> {
        let (listener, socket_file) =
            net::listen(&config.listen, net::backlog_max(), config.socket_mode).map_err(io::Error::other)?;
        Ok(Pool { socket_file, ..Pool::of_listener(config, listener) })
    }

    /// The same with a listener that is there already, and that rmux has made. It does not care for the file, if that
    /// has one, until it is told to.
    pub fn of_listener(config: &PoolConfig, listener: Listener) -> Pool {
        let (config, listener) = (config.clone(), Some(listener));
        Pool { config, listener, socket_file: None, is_given: false, threads: Vec::new(), watcher: None }
    }

    /// The same with the service manager's listener.
    pub fn of_given(config: &PoolConfig, listener: Listener) -> Pool {
        Pool { is_given: true, ..Pool::of_listener(config, listener) }
    }

    /// From now on it is this pool that removes the file of its listener at the end, if rmux has made that.
    pub fn adopt_file(&mut self) {
        if let Some(Ok(ResolvedAddress::Unix(path))) = self.listener.as_ref().map(Listener::local_address) {
            if !self.is_given && self.socket_file.is_none() {
                self.socket_file = SocketFile::adopt(&path);
            }
        }
    }

    /// Adds its listener to those that are passed on to another process, unless it drains.
    ///
    /// # Errors
    ///
    /// When no file descriptor is free.
    pub fn pass(&self, passed: &mut Vec<Passed>) -> io::Result<()> {
        let Some(listener) = &self.listener else { return Ok(()) };
        let (socket, place) = (listener.to_descriptor()?, config::identity(&self.config.listen).to_string());
        passed.push(Passed { socket, place, is_own: !self.is_given });
        Ok(())
    }

    /// Starts its reactors, each on a thread of its own; their names count on from this number. Held, they accept
    /// nobody before [`Pool::accept`].
    ///
    /// # Errors
    ///
    /// When there is no descriptor or no thread for one; the text names the pool.
    pub fn start(&mut self, first_number: usize, wakeup: &Wakeup, is_held: bool) -> io::Result<()> {
        let listen = self.config.listen.clone();
        let cannot = |error: io::Error| io::Error::new(error.kind(), format!("pool {listen}: {error}"));
        let Some(listener) = &self.listener else { return Ok(()) };
        for mut reactor in reactors(&self.config, listener).map_err(cannot)? {
            if is_held {
                reactor.hold().map_err(cannot)?;
            }
            let number = first_number + self.threads.len();
            let thread = wakeup.notifier().and_then(|notifier| Thread::start(number, reactor, notifier));
            self.threads.push(thread.map_err(cannot)?);
        }
        self.watch().map_err(cannot)
    }

    /// What it is asked to do.
    pub fn config(&self) -> &PoolConfig {
        &self.config
    }

    /// Its listener, if that is the service manager's, and nobody else's.
    pub fn given(&self) -> Option<&Listener> {
        self.listener.as_ref().filter(|_| self.is_given)
    }

    /// From now on this is what it is asked to do, by as many threads as before: a message to each of them.
    pub fn settle(&mut self, mut config: PoolConfig) {
        // What is remembered of servers and for clients, to be resumed, is worth keeping.
        if config.remote_tls == self.config.remote_tls {
            config.remote_tls = self.config.remote_tls.clone();
        }
        if config.sentinel_tls == self.config.sentinel_tls {
            config.sentinel_tls = self.config.sentinel_tls.clone();
        }
        if config.local_tls == self.config.local_tls {
            config.local_tls = self.config.local_tls.clone();
        }
        let mode = config.socket_mode;
        if let Some(file) = self.socket_file.as_ref().filter(|_| mode != self.config.socket_mode) {
            if let Err(error) = file.set_mode(mode) {
                warn!("pool {}: socketMode: {error}", config.listen);
            }
        }
        let settings = settings(&config);
        for thread in &self.threads {
            thread.handle().settle(settings.clone(), addresses(&config), tls(&config));
        }
        self.config = config;
        if let Err(error) = self.watch() {
            // As before anybody has answered: where its servers are is not known.
            error!("pool {}: its servers cannot be watched: {error}", self.config.listen);
        }
    }

    /// Has it watched where its servers are, if somebody else knows that.
    fn watch(&mut self) -> io::Result<()> {
        let Some(settings) = watched::settings(&self.config) else {
            self.watcher = None;
            return Ok(());
        };
        match &self.watcher {
            Some(watcher) => watcher.settle(settings),
            None => {
                let watcher = watcher::start(settings)?;
                watcher.tell_reactors(self.threads.iter().map(|thread| thread.handle().clone()).collect());
                self.watcher = Some(watcher);
            }
        }
        Ok(())
    }

    /// With what its sentinels are seen, or its cluster, if it has some.
    pub fn viewer(&self) -> Option<watcher::Viewer> {
        self.watcher.as_ref().map(watcher::Link::viewer)
    }

    /// Those that run, or have run.
    pub fn threads(&self) -> &[Thread] {
        &self.threads
    }

    /// Clients are accepted from now on.
    pub fn accept(&self) {
        self.threads.iter().for_each(|thread| thread.handle().open());
    }

    /// Another process has its listener, and the file of that. Its threads end when their clients have left, or after
    /// so many milliseconds.
    pub fn dismiss(&mut self, drain_ms: u64) {
        self.listener = None;
        self.socket_file.take().into_iter().for_each(SocketFile::leave);
        self.threads.iter().for_each(|thread| thread.handle().dismiss(drain_ms));
    }

    /// Nobody comes in any more; its threads end when what is outstanding is answered, or after
    /// [`GRACE`](crate::reactor::GRACE).
    pub fn drain(&mut self) {
        self.listener = None;
        self.socket_file = None;
        self.threads.iter().for_each(|thread| thread.handle().drain());
    }

    /// It is taken out of the configuration: its socket listens no more, for whoever has it, unless it is the service
    /// manager's; and it drains.
    pub fn remove(&mut self) {
        let listener = self.listener.take();
        self.drain();
        if let Some(listener) = listener.filter(|_| !self.is_given) {
            // Else its address could not be taken again before each of its threads has turned.
            listener.stop();
        }
    }

    /// True exactly when none of its threads runs any more.
    pub fn has_ended(&self) -> bool {
        self.threads.iter().all(Thread::has_ended)
    }

    /// How its threads ended, as far as they have.
    ///
    /// # Errors
    ///
    /// What the first of them failed with.
    pub fn result(self) -> io::Result<()> {
        self.threads.into_iter().try_for_each(Thread::result)
    }
}

/// The reactors of one pool.
fn reactors(pool: &PoolConfig, listener: &Listener) -> io::Result<Vec<Reactor>> {
    let settings = settings(pool);
    let mut reactors = Vec::new();
    for number in 0..pool.reactors {
        let listener = listener.try_clone()?;
        let workers = settings.workers.nth(number);
        let settings = Settings { seed: settings.seed.wrapping_add(number as u64), workers, ..settings.clone() };
        let mut reactor = Reactor::new(settings, listener, &addresses(pool))?;
        reactor.set_tls(tls(pool));
        reactors.push(reactor);
    }
    Reactor::introduce(&mut reactors);
    Ok(reactors)
}

/// Where its servers are, as far as the configuration says so, and behind them the replicas that are read from.
fn addresses(pool: &PoolConfig) -> Vec<Option<Address>> {
    let servers = pool.servers.iter().map(|server| server.address().cloned());
    let replicas = pool.servers.iter().flat_map(|server| server.replicas()).cloned().map(Some);
    let are_read = pool.read_from != ReadFrom::Master;
    servers.chain(replicas.filter(|_| are_read)).collect()
}

/// What of its connections is inside of TLS.
fn tls(pool: &PoolConfig) -> Tls {
    Tls { remote: pool.remote_tls.clone(), local: pool.local_tls.clone() }
}

/// What each of a pool's reactors is told: its share of what the whole pool may have.
fn settings(pool: &PoolConfig) -> Settings {
    let share = |whole: usize| (whole / pool.reactors).max(1);
    let connects_per_second = match pool.limits.connects_per_second {
        0 => 0,
        some => share(some),
    };
    let buffered_bytes_max = share(pool.limits.buffered_bytes_max);
    let mut limits = Limits { buffered_bytes_max, connects_per_second, ..pool.limits };
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
        masters: pool.servers.iter().filter_map(|server| server.master().map(str::to_owned)).collect(),
        replicas: pool
            .servers
            .iter()
            .map(|server| server.replicas().iter().map(ToString::to_string).collect())
            .collect(),
        read_from: pool.read_from,
        zone: pool.availability_zone.clone(),
        cluster: pool.cluster,
        failover: pool.failover,
        cluster_announce: pool.cluster_announce.as_ref().map(ToString::to_string),
        spread: pool.spread,
        members: pool.members.clone(),
        multi_key: pool.multi_key,
        strict_replies: pool.strict_replies,
        pool_size: share(pool.pool_size),
        lease_max: share(if pool.lease_max == 0 { pool.pool_size } else { pool.lease_max }),
        timeouts: pool.timeouts,
        limits,
        users: pool.users.clone(),
        credentials: pool.credentials.clone(),
        password_file: pool.remote_password_file.clone(),
        policy: pool.policy.clone(),
        process_id: std::process::id(),
        // The hasher knows what the system calls random.
        seed: nanos ^ u64::from(std::process::id()) << 32 ^ RandomState::new().build_hasher().finish(),
        workers: Workers::first_of(pool.reactors),
    }
}

#[cfg(test)]
impl Pool {
    /// One with a single reactor that does not turn before the sender says so.
    pub fn stuck(config: &PoolConfig, wakeup: &Wakeup) -> (Pool, std::sync::mpsc::Sender<()>) {
        let mut pool = Pool::open(config).expect("listen");
        let listener = pool.listener.as_ref().expect("it does not drain");
        let reactor = reactors(&pool.config, listener).expect("a reactor").remove(0);
        let (thread, go) = Thread::stuck(reactor, wakeup.notifier().expect("a descriptor"));
        pool.threads.push(thread);
        (pool, go)
    }
}
