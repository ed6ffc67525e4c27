//! A reload as far as nothing is changed: the configuration read anew, checked, compared, and its new pools opened.
//!
//! ```text
//!   read, as at the start ─► wrong? ─► compare with what is in use ─► listen where nobody did ─► Plan
//!          └────────────────────┴─── one line: nothing is changed ────────────┘
//! ```
//!
//! All of it may take its time (a file system that hangs, a name to be looked up), so it has a thread of its own, and
//! the main thread is woken when it is done. Dropped, a plan closes what it has opened, and takes the files away.
//!
//! Knows no running pools: what a plan says is done by the main thread.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::pool::Pool;
use super::wakeup::Notifier;
use crate::config::{self, Change, Config, Loaded};
use crate::net::{Address, Listener};
use crate::thread;

/// Reads the configuration anew, with the arguments of the start.
pub type Read = fn() -> Result<Loaded, String>;

/// What is to be done, and can be done.
pub(super) struct Plan {
    /// What is changed, and what takes a restart.
    pub changes: Vec<Change>,
    /// What its author should know.
    pub warnings: Vec<String>,
    /// Whether there is a file with the pools.
    pub has_file: bool,
    /// What holds from then on: as wanted, but for what takes a restart.
    pub config: Config,
    /// The pools that there were not: they listen, and do not run yet.
    pub added: Vec<Pool>,
}

impl Plan {
    /// Whether it changes something of the pool that listens here, and that stays.
    pub fn changes_pool(&self, place: &Address) -> bool {
        self.changes.iter().any(|change| match change {
            Change::Pool { listen, .. } => config::is_same_place(listen, place) && !change.needs_restart(),
            _ => false,
        })
    }
}

/// What is in use when a reload begins.
pub(super) struct Running {
    pub config: Config,
    /// The listener that the service manager has opened, if it has.
    pub given: Option<Listener>,
}

/// Where a plan appears, or the reason why there is none.
#[derive(Clone, Default)]
pub(super) struct Planned(Arc<Mutex<Option<Result<Plan, String>>>>);

impl Planned {
    /// Takes it, if it is there.
    pub fn take(&self) -> Option<Result<Plan, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Makes a plan on a thread of its own; the notifier rings when it is there.
///
/// # Errors
///
/// When no thread can be made.
pub(super) fn plan(read: Read, running: Running, notifier: Notifier) -> io::Result<Planned> {
    let planned = Planned::default();
    let place = planned.clone();
    let run = Box::new(move || {
        let plan = make_plan(read, running);
        *place.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(plan);
        notifier.ring();
        Ok(())
    });
    thread::spawn("rmux-reload", None, run)?;
    Ok(planned)
}

fn make_plan(read: Read, running: Running) -> Result<Plan, String> {
    let Running { config: old, mut given } = running;
    let Loaded { config, warnings, has_file, .. } = read()?;
    let changes = config::diff(&old, &config);
    let config = config::without_restart(&old, config);
    let mut added = Vec::new();
    for pool in &config.pools {
        if old.pools.iter().any(|other| config::is_same_place(&other.listen, &pool.listen)) {
            given.take_if(|given| given.is_at(&pool.listen));
            continue;
        }
        added.push(match given.take_if(|given| given.is_at(&pool.listen)) {
            Some(given) => Pool::of_given(pool, given),
            None => Pool::open(pool).map_err(|error| {
                let in_the_way = old.pools.iter().find(|other| config::collide(&other.listen, &pool.listen));
                in_the_way.map_or_else(
                    || error.to_string(),
                    |other| format!("{error}: the pool {} is in its way, and a restart is needed", other.listen),
                )
            })?,
        });
    }
    match given.map(|given| given.local_address()) {
        Some(Ok(place)) => Err(format!("the service manager listens on {place} for rmux, and no pool does any more")),
        _ => Ok(Plan { changes, warnings, has_file, config, added }),
    }
}
