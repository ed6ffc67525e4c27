//! Micro-benchmarks of the core's inner loops, in nanoseconds per operation: `cargo bench --bench micro [-- NAME]`.
//!
//! Owns the smallest harness that does the job, and the list of what is measured. A measurement is calibrated to batches
//! of about 20 ms, and the *least* of its batches counts: whatever else the machine did can only have made it slower.
//! The median stands beside it; where the two are far apart, the machine was not quiet.
//!
//! The first rows are the harness's own price, and of what the design means to do without: one look at the clock, one copy.
//! No row fails: a benchmark is never a timed test.

use std::env;
use std::hint::black_box;
use std::time::{Duration, Instant};

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    // Cargo says --bench; without it this is `cargo test --all-targets`, and there is nothing to test.
    if !words.iter().any(|word| word == "--bench") {
        println!("nothing to test here; run it with: cargo bench --bench micro");
        return;
    }
    let bench = Bench { filter: words.into_iter().find(|word| !word.starts_with("--")) };
    println!("| {:<44} | {:>10} | {:>10} |", "operation", "ns, least", "ns, median");
    println!("|{}|-----------:|-----------:|", "-".repeat(46));
    baseline(&bench);
}

/// What everything else stands on.
fn baseline(bench: &Bench) {
    bench.run("baseline: nothing", 1, || ());
    bench.run("baseline: one look at the clock", 1, Instant::now);
    let source = [b'x'; 64];
    let mut copy = [0; 64];
    bench.run("baseline: copy of 64 bytes", 1, || copy.copy_from_slice(black_box(&source)));
    black_box(copy);
}

/// Measures what its filter lets through.
struct Bench {
    filter: Option<String>,
}

impl Bench {
    /// Prints the time of one operation; `work` does `operations` of them in each call.
    fn run<T>(&self, name: &str, operations: u32, mut work: impl FnMut() -> T) {
        if self.filter.as_ref().is_some_and(|filter| !name.contains(filter.as_str())) {
            return;
        }
        let calls = calibrate(&mut work);
        let mut batches: Vec<f64> = (0..BATCHES)
            .map(|_| time(calls, &mut work).as_nanos() as f64 / (f64::from(calls) * f64::from(operations)))
            .collect();
        batches.sort_by(f64::total_cmp);
        println!("| {name:<44} | {:>10.2} | {:>10.2} |", batches[0], batches[BATCHES / 2]);
    }
}

/// How many calls fill a batch; warms caches and branch predictors on the way.
fn calibrate<T>(work: &mut impl FnMut() -> T) -> u32 {
    let mut calls = 1;
    while time(calls, work) < BATCH_TIME {
        let Some(more) = u32::checked_mul(calls, 2) else {
            break;
        };
        calls = more;
    }
    calls
}

fn time<T>(calls: u32, work: &mut impl FnMut() -> T) -> Duration {
    let start = Instant::now();
    for _ in 0..calls {
        black_box(work());
    }
    start.elapsed()
}

const BATCHES: usize = 15;
const BATCH_TIME: Duration = Duration::from_millis(20);
