//! Where the instructions of a request go, by what the source is about.
//!
//! Owns the reading of callgrind's output, and the list of what each source file is about. Knows nothing of scenes: it is
//! given two profiles of one scene, a shorter and a longer one, and what differs is the price of the turns between them.
//!
//! A compiler moves code about, but line tables tell from which file each instruction came, inlined or not: that is
//! what is added up. It needs them (`CARGO_PROFILE_BENCH_DEBUG=line-tables-only`) and finds little without.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Instructions by source file.
#[derive(Default)]
pub struct Profile {
    files: BTreeMap<String, u64>,
}

impl Profile {
    /// Reads what callgrind wrote: costs by line, under the file from which the line came. Costs of calls are those of
    /// the called, and are skipped.
    pub fn read(text: &str) -> Profile {
        let mut names: BTreeMap<&str, &str> = BTreeMap::new();
        let mut profile = Profile::default();
        let mut file = "";
        let mut is_call = false;
        for line in text.lines() {
            // A name is written once, behind its number: `fl=(12) src/ring.rs`, then `fe=(12)`.
            let named =
                ["fl=", "fi=", "fe=", "cfi=", "cfl="].iter().find_map(|key| Some((*key, line.strip_prefix(key)?)));
            if let Some((key, name)) = named {
                let (number, name) = name.split_once(' ').unwrap_or((name, ""));
                if !name.is_empty() {
                    names.insert(number, name);
                }
                if !key.starts_with('c') {
                    file = names.get(number).copied().unwrap_or("");
                }
            } else if line.starts_with("calls=") {
                is_call = true;
            } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
                let cost = line.split(' ').nth(1).and_then(|cost| cost.parse::<u64>().ok());
                if !std::mem::take(&mut is_call) {
                    *profile.files.entry(file.to_owned()).or_default() += cost.unwrap_or(0);
                }
            }
        }
        profile
    }
}

/// What is added up under one name: the files whose paths contain one of these.
const PARTS: &[(&str, &[&str])] = &[
    ("finding the end of a request and of a reply", &["/src/resp"]),
    ("finding the command", &["/src/command"]),
    (
        "what a client, a backend and a server may do next",
        &["/src/client", "/src/session", "/src/backend", "/src/pool", "/src/server"],
    ),
    ("key to server", &["/src/ring"]),
    ("lines of requests, ids to connections", &["/src/request.rs", "/src/slots.rs", "/slab-"]),
    ("queues, and copying into them", &["/src/buffer.rs", "mem"]),
    ("deadlines", &["/src/timer.rs"]),
    ("routing, handing out, sending", &["/src/proxy"]),
    ("bounds, options, iterators (library code, inlined everywhere)", &["/library/"]),
    ("the replay itself", &["/benches/"]),
];

/// The table: instructions of one request by part, for each scene, given as title, profiles and requests between them.
pub fn table(scenes: &[(&str, Profile, Profile, f64)]) -> String {
    let mut text = String::from("| part |");
    for (title, ..) in scenes {
        let _ = write!(text, " {title} |");
    }
    let _ = write!(text, "\n|---|{}", "--:|".repeat(scenes.len()));
    let mut sums = vec![0.0; scenes.len()];
    for index in 0..=PARTS.len() {
        let _ = write!(text, "\n| {} |", PARTS.get(index).map_or("anything else", |(name, _)| name));
        for ((_, few, many, requests), sum) in scenes.iter().zip(&mut sums) {
            let cost = (of_part(many, index) as f64 - of_part(few, index) as f64) / requests;
            *sum += cost;
            let _ = write!(text, " {cost:.0} |");
        }
    }
    text.push_str("\n| **all** |");
    for sum in sums {
        let _ = write!(text, " **{sum:.0}** |");
    }
    text.push('\n');
    text
}

fn of_part(profile: &Profile, index: usize) -> u64 {
    profile.files.iter().filter(|(file, _)| part_of(file) == index).map(|(_, cost)| cost).sum()
}

fn part_of(file: &str) -> usize {
    PARTS.iter().position(|(_, marks)| marks.iter().any(|mark| file.contains(mark))).unwrap_or(PARTS.len())
}
