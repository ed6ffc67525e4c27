//! The manual says what the program does: every flag and every key stands in it, with its range and its default.
//!
//! The pages are written by hand, for people; this holds them to the table that drives the program. In the pages for
//! `man`, a key is an entry `.BR name " (range unit, default value)"`, and a flag is `\-name`. In `doc/manual.md`, each is
//! a row `| -name | range unit | default | meaning |`, with its name as code, and without the dash if it is no flag. The
//! examples in them and beside them are tried, links lead somewhere, and the container's files are held together.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
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
fn every_flag_and_key_stands_in_the_manual_with_range_and_default() {
    let page = read("doc/manual.md");
    for key in KEYS.iter().filter(|key| key.group != Group::Retired) {
        let name = format!("`{}{}`", if key.is_flag() { "-" } else { "" }, key.name);
        let begins_row = |line: &&str| [" |", ", `-"].iter().any(|next| line.starts_with(&format!("| {name}{next}")));
        let mut rows = page.lines().filter(begins_row);
        let row = rows.next().unwrap_or_else(|| panic!("doc/manual.md has no row for {name}"));
        assert_eq!(rows.next(), None, "{name}");
        let cells = cells_of(row);
        // Flags of the program alone have no column for their default.
        assert_eq!(cells.len(), if key.scope == Scope::Program { 3 } else { 4 }, "{name}: {row}");
        if !key.alias.is_empty() {
            assert!(cells[0].contains(&format!("`-{}`", key.alias)), "{name}: {row}");
        }
        let range = key.range();
        if !range.is_empty() {
            let is_plain = matches!(key.hint(), "port" | "octal");
            let said = if is_plain { range } else { format!("{range} {}", key.hint()) };
            assert!(cells[1].contains(&said), "{name}: {said:?} is missing in: {row}");
        }
        assert_eq!(key.is_switch(), cells[1] == "switch", "{name}: {row}");
        let default = key.default_text();
        if key.scope != Scope::Program {
            let said = if default.is_empty() { String::new() } else { format!("`{default}`") };
            let is_told = if said.is_empty() { cells[2].is_empty() } else { cells[2].starts_with(&said) };
            assert!(is_told, "{name}: the default is not {said:?} in: {row}");
        }
    }
    for key in KEYS.iter().filter(|key| key.group == Group::Retired) {
        let dash = if key.scope == Scope::Program { "-" } else { "" };
        assert!(page.contains(&format!("`{dash}{}`", key.name)), "doc/manual.md does not mention {}", key.name);
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
    let mut examples = vec![example.replace("\\-", "-")];
    for file in ["README.md", "doc/manual.md", "doc/moving.md", "doc/recipes.md", "doc/sizing.md"] {
        let page = read(file);
        let before = examples.len();
        for block in page.split("\n```json\n").skip(1) {
            let (example, _) = block.split_once("\n```\n").expect("the example ends");
            examples.push(example.to_owned());
        }
        assert!(examples.len() > before, "{file} has no example");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![root.join("debian/rmux.json"), root.join("examples/compose/rmux.json")];
    for (number, example) in examples.iter().enumerate() {
        let path = std::env::temp_dir().join(format!("rmux-manual-{}-{number}.json", std::process::id()));
        fs::write(&path, example).expect("the folder can be written");
        files.push(path);
    }
    // In a build for tests, every name is found.
    let hosts = std::env::temp_dir().join(format!("rmux-manual-{}-hosts", std::process::id()));
    fs::write(&hosts, "* 192.0.2.1:1\n").expect("the folder can be written");
    // A cluster would tell of its nodes, and there is none.
    let is_of_host = |line: &str| {
        [": its name is not found: ", ": its cluster cannot be asked, "].iter().any(|why| line.contains(why))
    };
    for file in &files {
        let mut rmux = Command::new(env!("CARGO_BIN_EXE_rmux"));
        rmux.env("RMUX_TEST_HOSTS", &hosts);
        let output = rmux.args(["-test", "-config"]).arg(file).output().expect("cargo has built it");
        let is_silent = String::from_utf8_lossy(&output.stderr).lines().all(is_of_host);
        assert!(output.status.success() && is_silent, "{}: {output:?}", file.display());
    }
    for path in files[2..].iter().chain([&hosts]) {
        fs::remove_file(path).expect("it was just written");
    }
}

#[test]
fn links_of_the_pages_lead_somewhere() {
    let pages = pages();
    assert!(pages.contains(&"doc/manual.md".to_owned()), "{pages:?}");
    for page in &pages {
        let folder = Path::new(page).parent().expect("it is in a folder");
        for rest in read(page).split("](").skip(1) {
            let target = rest.split(')').next().expect("split gives at least one");
            if target.contains("://") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { PathBuf::from(page) } else { plain(&folder.join(file)) };
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&file);
            assert!(path.exists(), "{page}: {target} is not there");
            if !heading.is_empty() {
                let known = headings(&fs::read_to_string(path).expect("a text"));
                assert!(known.contains(heading), "{page}: {} has no heading for #{heading}", file.display());
            }
        }
    }
}

#[test]
fn the_pages_are_installed_and_linked() {
    let (installed, readme) = (read("debian/rmux.docs"), read("README.md"));
    for page in pages().iter().filter(|page| page.starts_with("doc/")) {
        assert!(readme.contains(&format!("]({page})")), "README.md does not link to {page}");
        // That one is for those who have the source.
        let is_for_users = page != "doc/architecture.md";
        assert_eq!(installed.lines().any(|line| line == page), is_for_users, "debian/rmux.docs: {page}");
    }
}

/// The cells of a row of a table.
fn cells_of(row: &str) -> Vec<String> {
    // A stroke that belongs to a cell is written with a backslash.
    let row = row.replace("\\|", "/");
    row.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
}

/// The Markdown files of the repository's own folder, and of `doc`.
fn pages() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = Vec::new();
    for folder in ["", "doc/"] {
        for entry in fs::read_dir(root.join(folder)).expect("a folder of this repository") {
            let name = entry.expect("readable").file_name().into_string().expect("a name in UTF-8");
            if name.ends_with(".md") {
                pages.push(format!("{folder}{name}"));
            }
        }
    }
    pages
}

/// The path without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    plain
}

/// What links to the headings of a page are called, by the rule of GitHub.
fn headings(page: &str) -> BTreeSet<String> {
    let mut is_code = false;
    let mut headings = BTreeSet::new();
    for line in page.lines() {
        is_code ^= line.starts_with("```");
        if !is_code && line.starts_with('#') {
            let heading = line.trim_start_matches('#').trim().to_lowercase();
            let is_kept = |char: &char| char.is_alphanumeric() || matches!(char, ' ' | '-' | '_');
            headings.insert(heading.chars().filter(is_kept).map(|char| if char == ' ' { '-' } else { char }).collect());
        }
    }
    headings
}

#[test]
fn the_tests_of_each_promise_are_there() {
    let page = read("doc/architecture.md");
    let (_, table) = page.split_once("\n## Promises, and the tests that try them\n").expect("a section about them");
    let (table, _) = table.split_once("\n## ").expect("it is not the last one");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut promises = 0;
    for row in table.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let cells = cells_of(row);
        assert_eq!(cells.len(), 4, "{row}");
        promises += 1;
        for (cell, folder) in cells[1..].iter().zip(["src/proxy/tests", "tests/simulation", ""]) {
            for name in cell.split('`').skip(1).step_by(2) {
                // Which a published crate does not have.
                if name.starts_with(".ci/") {
                    continue;
                }
                let path = root.join(folder).join(name);
                let is_there = path.exists() || path.with_extension("rs").exists();
                assert!(is_there, "doc/architecture.md: {} is not there", path.display());
            }
        }
    }
    assert!(promises >= 6, "{table}");
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
