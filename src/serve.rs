//! From a configuration to running reactors, and from a signal to their end.
//!
//! Each pool has its own listener and its own reactors, each on a thread of its own; this thread waits for signals. The
//! first INT or TERM drains: the listening sockets and their files go at once, what is outstanding is answered, and
//! after [`reactor::GRACE`] the rest is cut off. A second one ends the process where it stands. PIPE is ignored, as in
//! every Rust program: a broken socket is an error of the write.

use std::io;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use log::{error, info, warn};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::config::{Config, PoolConfig};
use crate::limits::Limits;
use crate::net::{self, SocketFile};
use crate::proxy::Settings;
use crate::reactor::{Handle, Reactor};

/// Serves every pool until a signal ends it.
///
/// # Errors
///
/// When a pool cannot listen, a thread cannot be made, or a reactor fails; the text names the address.
pub fn serve(config: &Config) -> io::Result<()> {
    // Before anything listens, so that no signal finds the process unprepared.
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let mut socket_files = Vec::new();
    let mut reactors = Vec::new();
    for pool in &config.pools {
        let (pool_reactors, socket_file) = listen(pool)?;
        reactors.extend(pool_reactors);
        socket_files.extend(socket_file);
    }
    let handles: Vec<Handle> = reactors.iter().map(Reactor::handle).collect();
    let running = run_all(reactors, &signals)?;
    let name = concat!("rmux ", env!("CARGO_PKG_VERSION"));
    for pool in &config.pools {
        let servers = pool.servers.len();
        info!("{name} listens on {}, with {servers} server{}", pool.listen, if servers == 1 { "" } else { "s" });
    }
    let mut is_ending = false;
    for signal in signals.forever() {
        let signal = if signal == SIGINT { "INT" } else { "TERM" };
        if is_ending {
            warn!("{name} ends at once: a second signal, {signal}");
            std::process::exit(1);
        }
        info!("{name} stops: signal {signal}");
        is_ending = true;
        socket_files.clear();
        handles.iter().for_each(Handle::drain);
    }
    let mut result = Ok(());
    for thread in running {
        match thread.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => result = Err(error),
            Err(_) => result = Err(io::Error::other("a reactor panicked")),
        }
    }
    if result.is_ok() {
        info!("{name} has stopped");
    }
    result
}

/// Listens for one pool, and makes its reactors.
fn listen(pool: &PoolConfig) -> io::Result<(Vec<Reactor>, Option<SocketFile>)> {
    let cannot = |error: io::Error| io::Error::new(error.kind(), format!("pool {}: {error}", pool.listen));
    let (listener, socket_file) =
        net::listen(&pool.listen, net::backlog_max(), pool.socket_mode).map_err(io::Error::other)?;
    let settings = settings(pool);
    let mut reactors = Vec::new();
    for number in 0..pool.reactors as u64 {
        let listener = listener.try_clone().map_err(cannot)?;
        let settings = Settings { seed: settings.seed.wrapping_add(number), ..settings.clone() };
        reactors.push(Reactor::new(settings, listener, &pool.servers).map_err(cannot)?);
    }
    Ok((reactors, socket_file))
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
        pool_size: share(pool.pool_size),
        lease_max: share(if pool.lease_max == 0 { pool.pool_size } else { pool.lease_max }),
        timeouts: pool.timeouts,
        limits,
        process_id: std::process::id(),
        seed: nanos ^ u64::from(std::process::id()) << 32,
    }
}

/// Starts a thread for each reactor. When the last one has ended, or one has failed, the waiting for signals ends too.
fn run_all(reactors: Vec<Reactor>, signals: &Signals) -> io::Result<Vec<thread::JoinHandle<io::Result<()>>>> {
    let left = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(reactors.len()));
    let mut threads = Vec::new();
    for (number, reactor) in reactors.into_iter().enumerate() {
        let (left, signals) = (left.clone(), signals.handle());
        let run = move || {
            let result = reactor.run();
            if let Err(error) = &result {
                // Half a service is none: what supervises this process starts it anew.
                error!("a reactor failed: {error}");
                std::process::exit(1);
            }
            if left.fetch_sub(1, std::sync::atomic::Ordering::AcqRel) == 1 {
                signals.close();
            }
            result
        };
        threads.push(thread::Builder::new().name(format!("rmux-{number}")).spawn(run)?);
    }
    Ok(threads)
}
