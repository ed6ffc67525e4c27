//! The manual says what the program does: every flag and every key stands in it, with its range and its default.
//!
//! The pages are written by hand, for people, and so is the README; this holds them to the table that drives the
//! program. A key is an entry `.BR name " (range unit, default value)"`; a flag is `\-name`. The examples in them and
//! beside them are tried, and the container's files are held together.

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
fn every_flag_and_key_stands_in_the_readme() {
    let page = read("README.md");
    for key in KEYS.iter().filter(|key| key.group != Group::Retired) {
        let entry = format!("`{}{}`", if key.is_flag() { "-" } else { "" }, key.name);
        assert!(page.contains(&entry), "README.md does not mention {entry}");
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
    for file in [&path, &root.join("debian/rmux.json"), &root.join("examples/compose/rmux.json")] {
        let mut rmux = Command::new(env!("CARGO_BIN_EXE_rmux"));
        let output = rmux.args(["-test", "-config"]).arg(file).output().expect("cargo has built it");
        assert!(output.status.success() && output.stderr.is_empty(), "{}: {output:?}", file.display());
    }
    fs::remove_file(&path).expect("it was just written");
}

#[test]
fn the_container_is_made_of_what_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (dockerfile, allowed) = (read("Dockerfile"), read(".dockerignore"));
    let copies =
        dockerfile.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|copy| !copy.contains("--from="));
    let mut sources: Vec<&str> = copies.flat_map(|copy| copy.split(' ').rev().skip(1)).collect();
    assert!(sources.contains(&"src"), "{sources:?}");
    for source in &sources {
        // Debian builds with its own crates, without the lock file.
        assert!(*source == "Cargo.lock" || root.join(source).exists(), "Dockerfile: {source} is not there");
        let top = source.split('/').next().expect("at least one part");
        assert!(allowed.lines().any(|line| line == format!("!{top}")), ".dockerignore keeps {source} away");
    }
    // What cargo wants to see, even if it builds only the program.
    sources.sort_unstable();
    for line in read("Cargo.toml").lines().filter_map(|line| line.strip_prefix("path = \"")) {
        let top = line.split('/').next().expect("at least one part");
        assert!(sources.binary_search(&top).is_ok(), "Cargo.toml names {line}, and Dockerfile does not copy it");
    }
    // The health check asks the rmux that the image starts.
    let command = "\"-config=/etc/rmux/rmux.json\"";
    assert!(dockerfile.contains(&format!("\nCMD [{command}]\n")));
    assert!(dockerfile.contains(&format!("CMD [\"/rmux\", {command}, \"-healthcheck\"]\n")));

    let compose = read("examples/compose/compose.yaml");
    let mounted: Vec<&str> = compose.lines().filter_map(|line| line.trim().strip_prefix("- ./")).collect();
    assert!(!mounted.is_empty());
    for mount in mounted {
        let file = mount.split(':').next().expect("at least one part");
        assert!(root.join("examples/compose").join(file).exists(), "compose.yaml: {file} is not there");
    }
}
