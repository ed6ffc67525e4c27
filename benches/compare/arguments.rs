//! The flags of the comparison: words in, a checked plan out.
//!
//! Knows the names of work loads and subjects, to refuse a wrong one with the list of the right ones; knows nothing of
//! how they are run. Flags are `--flag value` or `--flag=value`.
//!
//! Cargo starts a benchmark with `--bench` and, from `cargo test --all-targets`, without it: then there is nothing to do,
//! since a benchmark is never a test.

use std::path::PathBuf;

use crate::subject;
use crate::work::{self, Work};

/// What the user asked for.
pub enum Request {
    /// A comparison.
    Compare(Arguments),
    /// Only this text.
    Show(String),
}

/// A comparison's plan.
pub struct Arguments {
    /// The work loads, with their numbers of requests as they will run.
    pub works: Vec<Work>,
    /// The subjects asked for by name; all that are installed when empty.
    pub only: Vec<String>,
    /// How often each subject does each work load, at least 1.
    pub rounds: u32,
    /// Where the raw rows go.
    pub csv: Option<PathBuf>,
}

impl Arguments {
    /// Reads the command line without the program's name.
    pub fn parse(words: &[String]) -> Result<Request, String> {
        let mut only: Vec<String> = Vec::new();
        let mut works: Vec<Work> = work::all().into_iter().filter(|work| work.by_default).collect();
        let mut rounds: Option<u32> = None;
        let mut requests: Option<u32> = None;
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
                "--work" => works = select_works(&names(&value()?))?,
                "--rounds" => rounds = Some(number(flag, &value()?)?),
                "--requests" => requests = Some(number(flag, &value()?)?),
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
        for work in &mut works {
            if quick {
                work.requests = (work.requests / QUICK_DIVISOR).max(work.clients * work.pipeline);
            }
            work.requests = requests.unwrap_or(work.requests);
        }
        let rounds = rounds.unwrap_or(if quick { 1 } else { ROUNDS_DEFAULT });
        Ok(Request::Compare(Arguments { works, only, rounds, csv }))
    }
}

fn names(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn select_works(names: &[String]) -> Result<Vec<Work>, String> {
    if names.iter().any(|name| name == "all") {
        return Ok(work::all());
    }
    names
        .iter()
        .map(|name| {
            work::all()
                .into_iter()
                .find(|work| work.name == name)
                .ok_or_else(|| format!("--work {name}: no such work load\n{}", listing()))
        })
        .collect()
}

fn number(flag: &str, value: &str) -> Result<u32, String> {
    match value.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("{flag} {value}: give a whole number of at least 1")),
    }
}

fn listing() -> String {
    let mut text = String::from("work loads (* by default; `all` for all):\n");
    for work in work::all() {
        let star = if work.by_default { '*' } else { ' ' };
        text.push_str(&format!(" {star} {:<11} {}\n", work.name, work.title));
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
usage: cargo bench --bench compare -- [--work A,B] [--only A,B] [--rounds N] [--requests N] [--quick] [--csv FILE]
  --work      the work loads to run
  --only      the subjects to measure; without it all that are installed
  --rounds    how often each one runs (3; 1 with --quick)
  --requests  requests of each command in each run, instead of the work load's own number
  --quick     a quarter of the requests, one round: a look, not a measurement
  --csv       write the raw rows to this file
  --help      this text and the names";
