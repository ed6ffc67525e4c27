//! Instructions per request, for a fixed replay: the guard that does not depend on the clock.
//!
//! ```text
//! cargo bench --bench instructions               the table, and an error where a row grew by more than 3 %
//! cargo bench --bench instructions -- --write    the same, and the new baseline into benches/instructions.csv
//! CARGO_PROFILE_BENCH_DEBUG=line-tables-only cargo bench --bench instructions -- --budget
//!                                                where the instructions of a GET go
//! ```
//!
//! Owns the counting and the baseline; what is replayed is in `replay/`. It runs itself under callgrind, each scene with
//! two numbers of turns: the difference is that of the turns alone, and start, connecting and rehearsing drop out.
//! The count is the same on every run of one binary, whatever else the machine does. Another compiler makes another
//! binary and another C library copies memory differently, so a baseline says what it was made with; with anything else,
//! the table is printed and nothing is enforced. The C library is kept from choosing by processor.
//!
//! It counts the proxy's core, from the bytes of a read to the bytes of a write. System calls are not in it: they are
//! counted by `compare`'s CPU time.
//! Exit codes: 0; 1 when a row grew too much, or callgrind does not work.

mod budget;
mod replay;

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use budget::Profile;
use replay::{Replay, Scene, scenes};

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    match words.as_slice() {
        [flag, name, turns] if flag == REPLAY => {
            replay(name, turns.parse().unwrap_or(1));
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    // Cargo says --bench; without it this is `cargo test --all-targets`, and there is nothing to test.
    if !words.iter().any(|word| word == "--bench") {
        println!("nothing to test here; run it with: cargo bench --bench instructions");
        return ExitCode::SUCCESS;
    }
    let result = match words.iter().any(|word| word == "--budget") {
        true => show_budget().map(|()| true),
        false => compare(words.iter().any(|word| word == "--write")),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(reason) => {
            eprintln!("instructions: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// What runs under callgrind.
fn replay(name: &str, turns: u32) {
    let scene = scenes().into_iter().find(|scene| scene.name == name).expect("a scene that this program named");
    let mut replay = Replay::new(scene);
    for _ in 0..turns {
        replay.turn();
    }
    replay.verify();
}

/// Counts every scene and compares it with the baseline. False when one grew too much.
fn compare(write: bool) -> Result<bool, String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches").join("instructions.csv");
    let made_with = made_with();
    let baseline = Baseline::read(&fs::read_to_string(&path).unwrap_or_default());
    let is_same = baseline.made_with == made_with;
    let mut csv = format!("# {made_with}\nscene,instructions_per_request\n");
    let mut grown = Vec::new();
    println!("Made with: {made_with}\n");
    println!("| {:<18} | {:<48} | {:>12} | {:>8} | {:>7} |", "scene", "", "instructions", "baseline", "change");
    println!("|{}|{}|-------------:|---------:|--------:|", "-".repeat(20), "-".repeat(50));
    for scene in scenes() {
        let count = per_request(&scene)?;
        let _ = writeln!(csv, "{},{count:.1}", scene.name);
        let before = baseline.rows.get(scene.name);
        let change = before.map(|before| 100.0 * (count / before - 1.0));
        println!(
            "| {:<18} | {:<48} | {count:>12.1} | {:>8} | {:>7} |",
            scene.name,
            scene.title,
            before.map_or_else(|| "–".to_owned(), |before| format!("{before:.1}")),
            change.map_or_else(|| "–".to_owned(), |change| format!("{change:+.1} %")),
        );
        if change.is_some_and(|change| change > GROWTH_MAX) {
            grown.push(scene.name);
        }
    }
    println!();
    if write {
        fs::write(&path, csv).map_err(|error| format!("{}: {error}", path.display()))?;
        println!("This is the baseline from now on.");
        return Ok(true);
    }
    if !is_same {
        println!("Not enforced: the baseline was made with {}", baseline.made_with);
        return Ok(true);
    }
    if grown.is_empty() {
        println!("No row grew by more than {GROWTH_MAX} %.");
        return Ok(true);
    }
    println!("Grew by more than {GROWTH_MAX} %: {}.", grown.join(", "));
    println!("If that is the price of something wanted, say so where it is committed, with a new baseline:");
    println!("  cargo bench --bench instructions -- --write");
    Ok(false)
}

/// Prints the parts of a GET, alone and among others.
fn show_budget() -> Result<(), String> {
    let mut profiles = Vec::new();
    for scene in scenes().into_iter().filter(|scene| BUDGET.contains(&scene.name)) {
        let turns = turns(&scene);
        let requests = f64::from(turns) * f64::from(scene.requests_per_turn);
        profiles.push((scene.title, profile(scene.name, turns)?, profile(scene.name, 2 * turns)?, requests));
    }
    println!("{}", budget::table(&profiles));
    Ok(())
}

fn turns(scene: &Scene) -> u32 {
    (REQUESTS / scene.requests_per_turn).max(TURNS_MIN)
}

/// The instructions of one request: those of so many turns more, divided.
fn per_request(scene: &Scene) -> Result<f64, String> {
    let turns = turns(scene);
    let (few, many) = (count(scene.name, turns)?, count(scene.name, 2 * turns)?);
    let requests = f64::from(turns) * f64::from(scene.requests_per_turn);
    Ok((many as f64 - few as f64) / requests)
}

/// Instructions of a whole run.
fn count(name: &str, turns: u32) -> Result<u64, String> {
    let text = callgrind(name, turns, "/dev/null")?;
    let counted = text.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    counted.ok_or_else(|| format!("{name} under callgrind: {text}"))
}

/// The same, by source file.
fn profile(name: &str, turns: u32) -> Result<Profile, String> {
    let path = env::temp_dir().join(format!("rmux-budget-{}", std::process::id()));
    callgrind(name, turns, &path.to_string_lossy())?;
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()));
    let _ = fs::remove_file(&path);
    Ok(Profile::read(&text?))
}

/// Runs a scene under callgrind, whose profile goes to `out`. Returns what it says.
fn callgrind(name: &str, turns: u32, out: &str) -> Result<String, String> {
    let own = env::current_exe().map_err(|error| format!("own path: {error}"))?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", &format!("--callgrind-out-file={out}")])
        .arg(own)
        .args([REPLAY, name, &turns.to_string()])
        .env("GLIBC_TUNABLES", PLAIN_PROCESSOR)
        .output()
        .map_err(|error| format!("valgrind (apt-get install valgrind): {error}"))?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(text) } else { Err(format!("{name} under callgrind: {text}")) }
}

/// Compiler, processor family and C library: all that a count depends on but the code.
fn made_with() -> String {
    let line = |program: &str, flag: &str| {
        let output = Command::new(program).arg(flag).output().ok()?;
        String::from_utf8_lossy(&output.stdout).lines().next().map(|line| line.trim().to_owned())
    };
    // The compiler that cargo used.
    let compiler = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let unknown = || "unknown".to_owned();
    format!(
        "{}; {}; {}; {}",
        line(&compiler, "--version").unwrap_or_else(unknown),
        env::consts::ARCH,
        line("ldd", "--version").unwrap_or_else(unknown),
        line("valgrind", "--version").unwrap_or_else(unknown),
    )
}

/// What was recorded, and with what.
struct Baseline {
    made_with: String,
    rows: BTreeMap<String, f64>,
}

impl Baseline {
    fn read(text: &str) -> Baseline {
        let made_with = text.lines().find_map(|line| line.strip_prefix("# ")).unwrap_or("nothing").to_owned();
        let row = |line: &str| {
            let (name, count) = line.split_once(',')?;
            Some((name.to_owned(), count.parse().ok()?))
        };
        Baseline { made_with, rows: text.lines().filter_map(row).collect() }
    }
}

const REPLAY: &str = "--replay";
/// The scenes of the budget.
const BUDGET: &[&str] = &["get50", "pipeline16", "servers4"];
/// In percent.
const GROWTH_MAX: f64 = 3.0;
/// About so many requests in the shorter run.
const REQUESTS: u32 = 2_400;
const TURNS_MIN: u32 = 30;
/// Copies of memory as every processor can do them, or the count would depend on the processor.
const PLAIN_PROCESSOR: &str = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX2,-AVX,-ERMS,-FSRM,-SSSE3,-BMI2";
