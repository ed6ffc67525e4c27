//! The manual says what the program does: every flag and every key stands in it, with its range and its default.
//!
//! The pages are written by hand, for people; this holds them to the table that drives the program. A key is an entry
//! `.BR name " (range unit, default value)"`; a flag is `\-name`. The examples in them and beside them are tried.

use std::fs;
use std::path::Path;
use std::process::Command;

use rmux::config::{Group, KEYS, Key, Scope};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("a file of this repository")
}

#[test]
fn every_flag_stands_in_rmux_1() {
    let page = read("debian/rmux.1");
    for key in KEYS.iter().filter(|key| key.scope != Scope::File) {
        let flag = format!("\\-{}", key.name);
        let is_there = page.match_indices(&flag).any(|(at, _)| {
            let next = page[at + flag.len()..].chars().next();
            next.is_some_and(|char| !char.is_alphanumeric())
        });
        assert!(is_there, "debian/rmux.1 does not mention -{}", key.name);
    }
}

#[test]
fn every_key_stands_in_rmux_json_5_with_range_and_default() {
    let page = read("debian/rmux.json.5");
    for key in KEYS.iter().filter(|key| key.scope != Scope::Program && key.group != Group::Retired) {
        let mut entries = page.lines().filter(|line| line.starts_with(&format!(".BR {} \" (", key.name)));
        let entry = entries.next().unwrap_or_else(|| panic!("debian/rmux.json.5 has no entry for {}", key.name));
        assert_eq!(entries.next(), None, "{}", key.name);
        for said in said_of(key) {
            assert!(entry.contains(&said), "{}: {said:?} is missing in: {entry}", key.name);
        }
    }
    for key in KEYS.iter().filter(|key| key.scope != Scope::Program && key.group == Group::Retired) {
        assert!(page.contains(&format!("\n.B {}\n", key.name)), "debian/rmux.json.5 does not mention {}", key.name);
    }
}

fn said_of(key: &Key) -> Vec<String> {
    let (range, default) = (key.range(), key.default_text());
    let mut said = Vec::new();
    if !range.is_empty() {
        said.push(range);
    }
    if !default.is_empty() {
        said.push(format!("{default})"));
    }
    said
}

#[test]
fn the_examples_are_accepted() {
    let page = read("debian/rmux.json.5");
    let (_, example) = page.split_once(".SH EXAMPLES\n.EX\n").expect("the page has an example");
    let (example, _) = example.split_once(".EE").expect("the example ends");
    let path = std::env::temp_dir().join(format!("rmux-manual-{}.json", std::process::id()));
    fs::write(&path, example.replace("\\-", "-")).expect("the folder can be written");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in [&path, &root.join("debian/rmux.json")] {
        let mut rmux = Command::new(env!("CARGO_BIN_EXE_rmux"));
        let output = rmux.args(["-test", "-config"]).arg(file).output().expect("cargo has built it");
        assert!(output.status.success() && output.stderr.is_empty(), "{}: {output:?}", file.display());
    }
    fs::remove_file(&path).expect("it was just written");
}
