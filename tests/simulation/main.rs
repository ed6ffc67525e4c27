//! The core in a seeded simulation: model clients and model servers around the real [`rmux::proxy::Proxy`].
//!
//! One seed decides everything: the configuration, who says what and when, how bytes are cut, what breaks, how time
//! passes. Nothing else has a say, so a seed that fails fails again. The oracles stand where they judge:
//!
//! ```text
//!   client    every reply is the right one for the oldest request of that client, and comes in time; no client is
//!             closed without a reason; an error needs a fault that justifies it
//!   ledger    a transaction runs whole, in its order, once, behind its WATCH, or not at all
//!   lists     an element goes to one who waits for it, and to nobody who has left
//!   session   nobody meets on a connection what another one has watched or begun
//!   history   no write runs twice; what is acknowledged has run, what is refused has not; order; the right server
//!   redis     nothing but canonical requests, and nothing before the session of a connection is confirmed
//!   cluster   a node is given no key that it does not have, and no keys of several slots
//!   shell     the actions of a turn end           world    limits, the proxy's own invariants, nothing left at the end
//! ```
//!
//! ```text
//! cargo test --test simulation                         256 seeds, 128 of a cluster
//! RMUX_SEEDS=20000 cargo test --release --test simulation
//! RMUX_SEED=17 RMUX_TRACE=1 cargo test --test simulation     one seed again, with all that happens
//! ```

/// Notes an event, if anybody wants to know.
macro_rules! trace {
    ($($words:tt)*) => {
        if crate::trace::is_on() {
            crate::trace::add(format!($($words)*));
        }
    };
}

mod client;
mod cluster;
mod expect;
mod fault;
mod history;
mod ledger;
mod lists;
mod names;
mod network;
mod plan;
mod protocol;
mod random;
mod redis;
mod server;
mod session;
mod shell;
mod slot_steps;
mod trace;
mod transactions;
mod waiting;
mod workload;
mod world;

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::{env, thread};

use world::World;

const SEEDS: u64 = 256;
/// The same for a world with a cluster: each takes longer, since there are 16,384 slots in it.
const CLUSTER_SEEDS: u64 = 128;

/// A seed that failed.
struct Failure {
    seed: u64,
    step: u64,
    text: String,
}

fn number_from(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

/// Runs the world of one seed. Returns how many replies were judged.
fn run(world: fn(u64) -> World, seed: u64) -> Result<u64, Failure> {
    let result = panic::catch_unwind(AssertUnwindSafe(|| world(seed).run()));
    result.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
        Failure { seed, step: trace::step(), text: text.unwrap_or_default() }
    })
}

/// Runs a seed that failed once more, and tells what happened last.
fn explain(world: fn(u64) -> World, failure: &Failure) -> String {
    trace::start(false);
    let again = run(world, failure.seed).err().map(|again| again.text);
    let lines = trace::last_lines().join("\n  ");
    let Failure { seed, step, text } = failure;
    let differs = if again.as_ref() == Some(text) { "" } else { "\nand it fails in another way when it is run again!" };
    format!(
        "seed {seed} fails at step {step}: {text}{differs}\n  {lines}\nreplay it with RMUX_SEED={seed} RMUX_TRACE=1"
    )
}

#[test]
fn every_promise_holds_for_every_seed() {
    try_all_seeds(World::new);
}

#[test]
fn every_promise_holds_while_the_settings_change() {
    try_all_seeds(World::to_reload);
}

#[test]
fn every_promise_holds_while_servers_move() {
    try_all_seeds(World::to_move);
}

#[test]
fn every_promise_holds_while_servers_are_demoted() {
    try_all_seeds(World::to_demote);
}

#[test]
fn every_promise_holds_while_slots_of_a_cluster_move() {
    try_seeds(World::to_reshard, CLUSTER_SEEDS);
}

fn try_all_seeds(world: fn(u64) -> World) {
    try_seeds(world, SEEDS);
}

/// As many seeds as the user says, or as these.
fn try_seeds(world: fn(u64) -> World, seeds: u64) {
    if let Some(seed) = number_from("RMUX_SEED") {
        if env::var_os("RMUX_TRACE").is_some() {
            trace::start(true);
        }
        let replies = world(seed).run();
        println!("seed {seed}: {replies} replies");
        return;
    }
    let first = number_from("RMUX_FIRST_SEED").unwrap_or(1);
    let seeds = number_from("RMUX_SEEDS").unwrap_or(seeds);
    // A failure is reported once, and in order.
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let next = AtomicU64::new(first);
    let replies = AtomicU64::new(0);
    let failures = Mutex::new(Vec::new());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + seeds || failures.lock().unwrap_or_else(PoisonError::into_inner).len() >= 20 {
                return;
            }
            match run(world, seed) {
                Ok(judged) => drop(replies.fetch_add(judged, Ordering::Relaxed)),
                Err(failure) => failures.lock().unwrap_or_else(PoisonError::into_inner).push(failure),
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, |threads| threads.get());
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let mut failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    failures.sort_by_key(|failure| failure.seed);
    let explained = failures.first().map(|failure| explain(world, failure));
    panic::set_hook(hook);
    for failure in failures.iter().skip(1) {
        println!("seed {} fails at step {}: {}", failure.seed, failure.step, failure.text);
    }
    if let Some(explained) = explained {
        panic!("{} seeds fail; the first of them:\n{explained}", failures.len());
    }
    println!("{seeds} seeds, {} replies", replies.into_inner());
}

/// The fast path decides nothing: without it every peer sees the same bytes, and the same is counted.
#[cfg(debug_assertions)]
#[test]
fn without_the_fast_path_no_peer_sees_a_difference() {
    let first = number_from("RMUX_FIRST_SEED").unwrap_or(1);
    let seeds = number_from("RMUX_SEEDS").unwrap_or(SEEDS) / 4;
    let differing: Vec<u64> = (first..first + seeds)
        .filter(|&seed| {
            let outcomes = [true, false].map(|has_fast_path| {
                let mut world = World::to_compare(seed, has_fast_path);
                world.run();
                world.outcome()
            });
            outcomes[0] != outcomes[1]
        })
        .collect();
    assert!(differing.is_empty(), "{} of {seeds} seeds differ: {differing:?}", differing.len());
}
