//! The flags of the comparison: words in, a checked plan out.
//!
//! Knows the names of work loads and subjects, to refuse a wrong one with the list of the right ones; knows nothing of
//! how they are run. Flags are `--flag value` or `--flag=value`.
//!
//! Cargo starts a benchmark with `--bench` and, from `cargo test --all-targets`, without it: then there is nothing to do,
//! since a benchmark is never a test.

use std::path::PathBuf;

use crate::scene::{self, Scene, View};
use crate::subject;
use crate::work::{Cores, Doing};

/// What the user asked for.
pub enum Request {
    /// A comparison.
    Compare(Arguments),
    /// Only this text.
    Show(String),
}

/// A comparison's plan.
pub struct Arguments {
    /// The scenes, with their numbers of requests as they will run.
    pub scenes: Vec<Scene>,
    /// The subjects asked for by name; all that are installed when empty.
    pub only: Vec<String>,
    /// How often each subject does each work load, at least 1.
    pub rounds: u32,
    /// The same for the points of a sweep, where neighbours vouch for each other.
    pub sweep_rounds: u32,
    /// Whether BENCHMARKS.md, its plots and its raw rows are renewed.
    pub is_written: bool,
    /// Where the raw rows go.
    pub csv: Option<PathBuf>,
}

impl Arguments {
    /// Reads the command line without the program's name.
    pub fn parse(words: &[String]) -> Result<Request, String> {
        let mut only: Vec<String> = Vec::new();
        let mut scenes: Vec<Scene> = scene::all();
        let mut is_written = false;
        let mut rounds: Option<u32> = None;
        let mut requests: Option<u32> = None;
        let mut cores: Option<Cores> = None;
        let mut quick = false;
        let mut csv: Option<PathBuf> = None;
        let mut started_by_bench = false;

        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            let (flag, inline) = match word.split_once('=') {
                Some((flag, value)) => (flag, Some(value.to_owned())),
                None => (word.as_str(), None),
            };
            let mut value = || {
                inline.clone().or_else(|| rest.next().cloned()).ok_or_else(|| format!("{flag} needs a value\n{USAGE}"))
            };
            match flag {
                "--bench" => started_by_bench = true,
                "--quick" => quick = true,
                "--only" => only = names(&value()?),
                "--work" => scenes = select(&names(&value()?))?,
                "--write" => is_written = true,
                "--rounds" => rounds = Some(number(flag, &value()?)?),
                "--requests" => requests = Some(number(flag, &value()?)?),
                "--cores" => cores = Some(three_cores(&value()?)?),
                "--csv" => csv = Some(PathBuf::from(value()?)),
                "--help" => return Ok(Request::Show(format!("{USAGE}\n\n{}", listing()))),
                _ => return Err(format!("unknown argument {word}\n{USAGE}")),
            }
        }
        if !started_by_bench {
            return Ok(Request::Show("nothing to test here; run it with: cargo bench --bench compare".to_owned()));
        }
        for name in &only {
            if !subject::is_known(name) {
                return Err(format!("--only {name}: no such subject\n{}", listing()));
            }
        }
        for scene in &mut scenes {
            if quick && matches!(scene.view, View::Plot(_)) {
                // The first and the last point, and every third between them.
                let last = scene.works.len() - 1;
                let mut number = 0..;
                scene.works.retain(|_| number.next().is_some_and(|number| number % 3 == 0 || number == last));
            }
            for work in &mut scene.works {
                if quick && work.doing != Doing::Huge {
                    work.requests = (work.requests / QUICK_DIVISOR).max(work.clients * work.pipeline);
                }
                work.requests = requests.unwrap_or(work.requests);
                work.cores = cores;
            }
        }
        let rounds = rounds.unwrap_or(if quick { 1 } else { ROUNDS_DEFAULT });
        let sweep_rounds = rounds.div_ceil(2);
        Ok(Request::Compare(Arguments { scenes, only, rounds, sweep_rounds, is_written, csv }))
    }
}

fn names(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn select(names: &[String]) -> Result<Vec<Scene>, String> {
    for name in names {
        if !scene::all().iter().any(|scene| scene.name == name) {
            return Err(format!("--work {name}: no such work load\n{}", listing()));
        }
    }
    Ok(scene::all().into_iter().filter(|scene| names.iter().any(|name| name == scene.name)).collect())
}

fn three_cores(text: &str) -> Result<Cores, String> {
    let numbers: Option<Vec<u32>> = text.split(',').map(|word| word.trim().parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[clients, proxy, servers]) => Ok(Cores { clients, proxy, servers }),
        _ => Err(format!("--cores {text}: give three numbers, as in 0,1,1: for the clients, the proxy, and Redis")),
    }
}

fn number(flag: &str, value: &str) -> Result<u32, String> {
    match value.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("{flag} {value}: give a whole number of at least 1")),
    }
}

fn listing() -> String {
    let mut text = String::from("work loads:\n");
    for scene in scene::all() {
        text.push_str(&format!("   {:<11} {}\n", scene.name, scene.title));
    }
    text.push_str("subjects:\n");
    for (name, how) in subject::known() {
        text.push_str(&format!("   {name:<11} {how}\n"));
    }
    text
}

const ROUNDS_DEFAULT: u32 = 3;
const QUICK_DIVISOR: u32 = 4;
const USAGE: &str = "\
usage: cargo bench --bench compare -- [--work A,B] [--only A,B] [--rounds N] [--requests N] [--quick]
       [--cores C,P,R] [--csv FILE] [--write]
  --work      the work loads to run
  --only      the subjects to measure; without it all that are installed
  --rounds    how often each one runs (3; 1 with --quick); the points of a sweep half as often
  --requests  requests of each command in each run, instead of the work load's own number
  --quick     a quarter of the requests, one round, fewer points: a look, not a measurement
  --cores     keep clients, proxy and Redis to the cores with these numbers (taskset, of util-linux)
  --csv       write the raw rows to this file
  --write     renew BENCHMARKS.md, benches/plots and benches/results.csv, as far as they were measured
  --help      this text and the names";
