//! From a configuration to running reactors, and from a signal to their end.
//!
//! Each pool has its own listener and its own reactors, each on a thread of its own; this thread looks after them:
//!
//! ```text
//!   listen, pid file ─► start the threads ─► all servers' names known, or given up ─► the manager is told: ready
//!     ─► every third of its watchdog's time, if each reactor has answered since: still alive
//!     ─► HUP: the configuration is read anew, and what it changes is done
//!     ─► USR2: another process takes over, and the clients of this one leave
//!     ─► INT or TERM: drain ─► the last reactor has ended ─► remove what is left, done
//! ```
//!
//! The first INT or TERM drains: the listening sockets and their files go at once, what is outstanding is answered, and
//! after [`reactor::GRACE`](crate::reactor::GRACE) the rest is cut off. A second one ends the process where it stands,
//! and so does a reactor that fails: half a service is none, and what supervises this process starts it anew. PIPE is
//! ignored, as in every Rust program: a broken socket is an error of the write.
//!
//! **A reload** is planned on a thread of its own (`reload`), which reads, checks, compares, and opens the new pools.
//! If anything is wrong, nothing is changed. Else the new pools start, then those that changed are told so, and last
//! those that are gone drain. One at a time: a HUP meanwhile has it done once more.
//!
//! **An upgrade** starts another process (`succession`, and `service::upgrade` for what is said between the two). One
//! that takes over is held back from accepting until the other one has named it to the service manager.
//!
//! The parts: `succession`; `reload`, above `pool`, one pool at work, above `thread`, one reactor of it, above
//! `wakeup`, what wakes this thread.

use std::io;
use std::time::{Duration, Instant};

use log::{Level, error, info, log, warn};

use crate::config::{self, Config};
use crate::net::Listener;
use crate::service::activation::Activation;
use crate::service::upgrade::Takeover;
use crate::service::{Manager, PidFile};
use pool::Pool;
use reload::{Plan, Planned, Running};
use succession::Succession;
use thread::{Stage, Thread};
use wakeup::{Signal, Wakeup};
use watch::Watch;

pub use clusters::{Clusters, find as find_clusters};
pub use reload::Read;

mod clusters;
mod pool;
mod reload;
mod succession;
mod thread;
mod wakeup;
mod watch;
mod watched;

/// Serves every pool until a signal ends it; at another one, `read` says what to do from then on.
///
/// # Errors
///
/// When a pool cannot listen, the pid file cannot be written, a thread cannot be made, or a reactor fails; the text
/// names the address or file. And when a second signal came.
pub fn serve(config: &Config, read: Read) -> io::Result<()> {
    // Before anything listens, so that no signal finds the process unprepared.
    let wakeup = Wakeup::new(&Signal::ALL)?;
    let (takeover, mut given) = match Takeover::of_process()? {
        Some((takeover, passed)) => (Some(takeover), passed),
        None => (None, Activation::of_process()?.into_iter().collect()),
    };
    let mut pools = open(config, &mut given)?;
    let watch = Watch::open(config, &mut given)?;
    let mut pid_file = None;
    if takeover.is_none() {
        given.first().map_or(Ok(()), |given| Err(given.unwanted()))?;
        pools.iter_mut().for_each(Pool::adopt_file);
        pid_file = config.pid_file.as_deref().map(PidFile::of_process).transpose()?;
    }
    for pool in &config.pools {
        let servers = pool.servers.len();
        info!("{NAME} listens on {}, with {servers} server{}", pool.listen, if servers == 1 { "" } else { "s" });
    }
    let manager = Manager::of_environment(takeover.as_ref().map(Takeover::is_watched));
    let mut supervisor = Supervisor::new(config.clone(), read, wakeup, manager);
    supervisor.predecessor = takeover.map(|takeover| Predecessor { takeover, left: given });
    supervisor.pid_file = pid_file;
    supervisor.watch = watch;
    supervisor.start(&mut pools)?;
    supervisor.pools = pools;
    let is_held = supervisor.predecessor.is_some();
    supervisor.watch.start(config, &supervisor.pools, &supervisor.wakeup, is_held)?;
    supervisor.look_after()?;
    supervisor.watch.await_end(&supervisor.wakeup)?;
    supervisor.pools.into_iter().chain(supervisor.leaving).try_for_each(Pool::result)?;
    info!("{NAME} has stopped");
    Ok(())
}

/// A pool for each of the configuration, which listens and does not run yet.
fn open(config: &Config, given: &mut Vec<Activation>) -> io::Result<Vec<Pool>> {
    let mut pools = Vec::new();
    for pool in &config.pools {
        pools.push(match given.iter().position(|given| given.is_for(pool)) {
            Some(found) => match given.swap_remove(found) {
                given if given.is_own() => Pool::of_listener(pool, given.into_listener()),
                given => Pool::of_given(pool, given.into_listener()),
            },
            None => Pool::open(pool)?,
        });
    }
    Ok(pools)
}

/// The process that this one takes over from, and its sockets that no pool wants.
struct Predecessor {
    takeover: Takeover,
    left: Vec<Activation>,
}

/// One line for people who ask the service manager.
fn summary(config: &Config) -> String {
    let places: Vec<String> = config.pools.iter().map(|pool| pool.listen.to_string()).collect();
    let servers: usize = config.pools.iter().map(|pool| pool.servers.len()).sum();
    format!("listens on {}, with {servers} server{}", places.join(" "), if servers == 1 { "" } else { "s" })
}

/// The main thread, while the others serve.
struct Supervisor {
    /// What is in use.
    config: Config,
    read: Read,
    pools: Vec<Pool>,
    /// Those that are in the configuration no more, and have not ended yet.
    leaving: Vec<Pool>,
    /// How many threads there have been.
    threads_started: usize,
    wakeup: Wakeup,
    manager: Manager,
    /// One line for people, once it is ready.
    status: String,
    is_ready: bool,
    is_ending: bool,
    /// When the manager is to be told that all reactors turn.
    look_at: Option<Instant>,
    /// Where the plan of the reload that is under way will come from.
    plan: Option<Planned>,
    /// Whether it is to be followed by another one.
    is_asked_again: bool,
    /// `None` once this process has taken over, and if there was none.
    predecessor: Option<Predecessor>,
    succession: Succession,
    watch: Watch,
    pid_file: Option<PidFile>,
}

impl Supervisor {
    fn new(config: Config, read: Read, wakeup: Wakeup, manager: Manager) -> Supervisor {
        Supervisor {
            status: summary(&config),
            config,
            read,
            pools: Vec::new(),
            leaving: Vec::new(),
            threads_started: 0,
            wakeup,
            manager,
            is_ready: false,
            is_ending: false,
            look_at: None,
            plan: None,
            is_asked_again: false,
            predecessor: None,
            succession: Succession::default(),
            watch: Watch::default(),
            pid_file: None,
        }
    }

    fn threads(&self) -> impl Iterator<Item = &Thread> {
        self.pools.iter().chain(&self.leaving).flat_map(Pool::threads)
    }

    /// Starts the threads of these pools.
    fn start(&mut self, pools: &mut [Pool]) -> io::Result<()> {
        for pool in pools {
            pool.start(self.threads_started, &self.wakeup, self.predecessor.is_some())?;
            self.threads_started += pool.threads().len();
        }
        Ok(())
    }

    /// Until the last thread has ended, one has failed, or a second signal has come.
    fn look_after(&mut self) -> io::Result<()> {
        let third = self.manager.watchdog().map(|span| span / 3);
        if let Some(third) = third {
            self.look_at = Some(Instant::now() + third);
            self.threads().for_each(|thread| thread.handle().ask());
        }
        while self.threads().any(|thread| !thread.has_ended()) {
            let until_look = self.look_at.map(|at| at.saturating_duration_since(Instant::now()));
            self.wakeup.wait(until_look.into_iter().chain(self.succession.patience()).min())?;
            self.look_after_succession();
            self.succession.check(&self.manager)?;
            while let Some(signal) = self.wakeup.next_signal() {
                self.on_signal(signal)?;
            }
            if self.threads().any(|thread| thread.stage() == Stage::Failed) {
                // Its own words come from joining it.
                return Ok(());
            }
            self.maybe_finish_reload();
            self.reap()?;
            let is_settled = self.plan.is_none() && self.threads().all(|thread| thread.stage() >= Stage::Settled);
            if !self.is_ready && !self.is_ending && is_settled {
                self.is_ready = true;
                self.on_settled()?;
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
                // Another process may have taken over in this moment.
                self.look_after_succession();
                if self.succession.give_up(&self.manager) {
                    self.pid_file.iter().for_each(PidFile::restore);
                }
                if !self.succession.has_successor() {
                    self.manager.tell_stopping();
                }
                self.is_ending = true;
                self.watch.end();
                self.pools.iter_mut().for_each(Pool::drain);
            }
            Signal::Hangup if self.plan.is_some() && !self.is_ending => {
                if !std::mem::replace(&mut self.is_asked_again, true) {
                    info!("reload: the last one is still under way: another one follows");
                }
            }
            Signal::Hangup | Signal::User2 => {
                let is_upgrade = signal == Signal::User2;
                match self.hindrance(is_upgrade) {
                    Some(reason) => warn!("{}: refused: {reason}", if is_upgrade { "upgrade" } else { "reload" }),
                    None if is_upgrade => self.begin_upgrade(),
                    None => self.begin_reload(),
                }
            }
        }
        Ok(())
    }

    /// Why an upgrade, or a reload, cannot begin now, if it cannot.
    fn hindrance(&self, is_upgrade: bool) -> Option<&'static str> {
        match () {
            () if self.is_ending => Some(concat!("rmux ", env!("CARGO_PKG_VERSION"), " stops")),
            () if self.predecessor.is_some() => Some("this process has not taken over itself yet"),
            () if is_upgrade && self.plan.is_some() => Some("a reload is under way"),
            () if is_upgrade && std::process::id() == 1 => Some("the container of process 1 would end with it"),
            () => self.succession.hindrance(),
        }
    }

    fn begin_upgrade(&mut self) {
        info!("upgrade: the program is started anew, and takes over when it is ready");
        let mut passed = Vec::new();
        let mut begun = self.pools.iter().try_for_each(|pool| pool.pass(&mut passed));
        begun = begun.and_then(|()| self.watch.pass(&mut passed));
        if begun.is_ok() {
            begun = self.succession.begin(&passed, &self.manager);
        }
        if let Err(error) = begun {
            self.on_upgrade_over(Err(error.to_string()));
        }
    }

    /// All servers' names are known, or given up, and the reload is done, if there was one: the process is ready. If it
    /// is to take over, it does so.
    ///
    /// # Errors
    ///
    /// When the other process does not let it.
    fn on_settled(&mut self) -> io::Result<()> {
        let Some(Predecessor { takeover, left }) = self.predecessor.take() else {
            self.manager.tell_ready(&self.status);
            self.watch.accept();
            return Ok(());
        };
        takeover.await_turn()?;
        self.pools.iter_mut().for_each(Pool::adopt_file);
        // A disk that hangs does so before anybody is accepted who would be lost if the other process gave this one up.
        if let Some(path) = &self.config.pid_file {
            self.pid_file = PidFile::write(path).inspect_err(|error| error!("{error}")).ok();
        }
        self.pools.iter().for_each(Pool::accept);
        self.watch.accept();
        takeover.tell_done();
        self.manager.tell_ready(&self.status);
        left.into_iter().for_each(Activation::close);
        info!("{NAME} has taken over");
        Ok(())
    }

    /// An upgrade has an outcome: another process has taken over, or there is a reason why none has.
    fn on_upgrade_over(&mut self, outcome: Result<u32, String>) {
        let successor = match outcome {
            Ok(successor) => successor,
            Err(reason) => {
                self.pid_file.iter().for_each(PidFile::restore);
                return error!("upgrade: failed, and nothing is changed: {reason}");
            }
        };
        let drain_ms = self.config.drain_ms;
        info!("upgrade: process {successor} has taken over; the clients of this one have {drain_ms} ms (drainTimeout)");
        // It is the other one that shows life from now on.
        self.look_at = None;
        self.watch.dismiss();
        self.pools.iter_mut().for_each(|pool| pool.dismiss(drain_ms));
    }

    fn look_after_succession(&mut self) {
        if let Some(outcome) = self.succession.look(&self.manager) {
            self.on_upgrade_over(outcome);
        }
    }

    fn begin_reload(&mut self) {
        info!("reload: reads the configuration again");
        self.manager.tell_reloading();
        self.is_ready = false;
        let given = self.pools.iter().find_map(Pool::given).map(Listener::try_clone).transpose();
        let running = given.map(|given| Running { config: self.config.clone(), given });
        let plan = running.and_then(|running| reload::plan(self.read, running, self.wakeup.notifier()?));
        match plan {
            Ok(plan) => self.plan = Some(plan),
            Err(error) => self.refuse_reload(&error.to_string()),
        }
    }

    fn maybe_finish_reload(&mut self) {
        let Some(outcome) = self.plan.as_ref().and_then(Planned::take) else { return };
        self.plan = None;
        match outcome {
            // The new pools close again.
            Ok(_) | Err(_) if self.is_ending => return,
            Ok(plan) => self.carry_out(plan),
            Err(reason) => self.refuse_reload(&reason),
        }
        if std::mem::take(&mut self.is_asked_again) {
            self.begin_reload();
        }
    }

    fn refuse_reload(&mut self, reason: &str) {
        error!("reload: refused, and nothing is changed: {reason}");
        self.watch.tell_reload(true);
        self.status = format!("{}; the last reload was refused: {reason}", summary(&self.config));
    }

    /// First who comes, then who stays, then who goes: so there is always somebody to connect to.
    fn carry_out(&mut self, mut plan: Plan) {
        if let Err(error) = self.start(&mut plan.added) {
            plan.added.iter_mut().for_each(Pool::remove);
            self.leaving.append(&mut plan.added);
            return self.refuse_reload(&error.to_string());
        }
        plan.warnings.iter().for_each(|warning| warn!("{warning}"));
        for change in &plan.changes {
            let level = if change.needs_restart() { Level::Warn } else { Level::Info };
            log!(level, "reload: {change}");
        }
        self.pools.append(&mut plan.added);
        for mut pool in std::mem::take(&mut self.pools) {
            let place = &pool.config().listen;
            match plan.config.pools.iter().find(|other| config::is_same_place(&other.listen, place)) {
                None => {
                    pool.remove();
                    self.leaving.push(pool);
                    continue;
                }
                Some(config) if plan.changes_pool(place) => pool.settle(config.clone()),
                Some(_) => {}
            }
            self.pools.push(pool);
        }
        let text = match (plan.changes.len(), plan.has_file) {
            (0, true) => "no changes".to_owned(),
            (0, false) => "no changes: without -config, the flags hold until a restart".to_owned(),
            (1, _) => "1 change".to_owned(),
            (count, _) => format!("{count} changes"),
        };
        info!("reload: done: {text}");
        self.watch.tell_pools(&self.pools);
        self.watch.tell_reload(false);
        self.status = summary(&plan.config);
        self.config = plan.config;
    }

    /// Forgets the pools that have drained.
    fn reap(&mut self) -> io::Result<()> {
        while let Some(index) = self.leaving.iter().position(Pool::has_ended) {
            let pool = self.leaving.swap_remove(index);
            info!("pool {}: has ended", pool.config().listen);
            pool.result()?;
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
        let nothing: Read = || Err("nobody asks".to_owned());
        let mut supervisor = Supervisor::new(loaded.config, nothing, wakeup, manager);
        supervisor.pools = vec![stuck];
        supervisor.status = "fine".to_owned();
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
