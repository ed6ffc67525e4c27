//! Lints the repository: what the compiler and clippy do not hold, and review would forget.
//!
//! - An import only ever points down: [`HOUSE`] lists every file of `src/` with what it may use. A file that is not in
//!   the table fails the test, so that its place is decided and not found. Parts (`src/proxy/…`) belong to their file.
//! - Within an area, files call and import downwards only, whatever the order is ([`AREAS`]).
//! - The core knows no sockets, clock, threads or files ([`OUTSIDE`]).
//! - Some words are not left behind ([`WORDS`]); lines, functions and files have a length; each file says what it
//!   owns.
//! - What rmux says, in the log, to clients or at the start, stands in `doc/messages.md` (`messages`).
//! - No let chains: Rust 1.88 brought them, the oldest that must compile this is 1.85, and a newer one does not warn.
//!   Nor is what `format_args!` makes kept in a variable, which needs Rust 1.89.
//!
//! Code is looked at without its comments and literals. What stands under `#[cfg(test)]`, and in files named `tests.rs`,
//! is test code, and free to import what it likes.

mod circles;
mod length;
mod messages;
mod source;

use std::fs;
use std::path::Path;

use circles::{Area, Nodes, circle_in};
use length::complaints_about_lengths;
use source::{is_word, line_of, lines_with, paths_in, without_literals, without_tests};

type Modules = &'static [&'static str];

/// What has nothing of the crate below it: the leaves.
const LEAVES: Modules = &[
    "buffer",
    "command",
    "glob",
    "limits",
    "read_from",
    "recent",
    "resp",
    "ring",
    "server_id",
    "sha1",
    "slots",
    "slow_log",
    "stats",
    "timer",
    "users",
];
/// Redis's language beyond its frames.
const PROTOCOL: Modules = &["reply", "session"];
/// What the conductor, `proxy`, is made of.
const PARTS: Modules = &["backend", "client", "local", "notice", "pool", "request", "server", "subscription"];

/// Each file of `src/` (by its module's name), whether it is of the core, and which modules it may import: of those
/// above it in this table, some.
const HOUSE: &[(Modules, Layer, &[Modules])] = &[
    (LEAVES, Layer::Core, &[]),
    (&["session"], Layer::Core, &[&["users"]]),
    (&["reply"], Layer::Core, &[&["session"]]),
    (&["notice", "request", "server"], Layer::Core, &[LEAVES]),
    (&["link"], Layer::Core, &[LEAVES]),
    (&["cluster", "sentinel"], Layer::Core, &[LEAVES, PROTOCOL, &["link", "notice"]]),
    (&["subscription"], Layer::Core, &[LEAVES, PROTOCOL, &["request"]]),
    (&["client"], Layer::Core, &[LEAVES, PROTOCOL, &["request", "subscription"]]),
    (&["backend"], Layer::Core, &[LEAVES, PROTOCOL, &["request", "server"]]),
    (&["pool"], Layer::Core, &[LEAVES, PROTOCOL, &["backend", "client"]]),
    (&["local"], Layer::Core, &[LEAVES, PROTOCOL, &["backend", "client", "cluster"]]),
    (&["proxy"], Layer::Core, &[LEAVES, PROTOCOL, PARTS, &["cluster"]]),
    (&["channel", "net", "thread"], Layer::Shell, &[]),
    (&["resolve"], Layer::Shell, &[&["channel", "net", "thread"]]),
    (&["password_file"], Layer::Shell, &[LEAVES, &["channel", "thread"]]),
    (
        &["reactor"],
        Layer::Shell,
        &[LEAVES, &["cluster", "link", "proxy", "channel", "net", "password_file", "resolve"]],
    ),
    (&["logger"], Layer::Top, &[&["thread"]]),
    (&["config"], Layer::Top, &[LEAVES, &["cluster", "net", "password_file"]]),
    (&["cli"], Layer::Top, &[&["cluster", "config"]]),
    (&["service"], Layer::Top, &[&["config", "net"]]),
    (&["blocking"], Layer::Top, &[&["net"]]),
    (&["healthcheck"], Layer::Top, &[&["blocking", "config", "net"]]),
    (&["check"], Layer::Top, &[&["config", "net", "resolve"]]),
    (
        &["watcher"],
        Layer::Top,
        &[LEAVES, &["channel", "cluster", "link", "net", "password_file", "reactor", "resolve", "sentinel", "thread"]],
    ),
    (
        &["admin"],
        Layer::Top,
        &[LEAVES, &["channel", "cluster", "config", "net", "reactor", "resolve", "sentinel", "watcher"]],
    ),
    (
        &["serve"],
        Layer::Top,
        &[
            LEAVES,
            &[
                "admin", "cluster", "config", "link", "net", "proxy", "reactor", "sentinel", "service", "thread",
                "watcher",
            ],
        ],
    ),
    (&["top"], Layer::Top, &[LEAVES, &["admin", "blocking", "net", "thread"]]),
    (&["main"], Layer::Top, &[&["check", "cli", "config", "healthcheck", "logger", "serve", "service", "top"]]),
    (&["lib"], Layer::Top, &[]),
];

/// Where no circle is allowed: not of imports, not of calls, nor of both together.
const AREAS: &[Area] = &[
    Area { root: "src", nodes: Nodes::Modules },
    Area { root: "src/admin", nodes: Nodes::Files },
    Area { root: "src/cluster", nodes: Nodes::Files },
    Area { root: "src/command", nodes: Nodes::Files },
    Area { root: "src/config", nodes: Nodes::Files },
    Area { root: "src/local", nodes: Nodes::Files },
    Area { root: "src/logger", nodes: Nodes::Files },
    Area { root: "src/net", nodes: Nodes::Files },
    Area { root: "src/reactor", nodes: Nodes::Files },
    Area { root: "src/reply", nodes: Nodes::Files },
    Area { root: "src/resp", nodes: Nodes::Files },
    Area { root: "src/sentinel", nodes: Nodes::Files },
    Area { root: "src/serve", nodes: Nodes::Files },
    Area { root: "src/service", nodes: Nodes::Files },
    Area { root: "src/subscription", nodes: Nodes::Files },
    Area { root: "src/watcher", nodes: Nodes::Files },
    Area { root: "benches/compare", nodes: Nodes::Files },
    Area { root: "benches/deep", nodes: Nodes::Files },
    Area { root: "tests/support", nodes: Nodes::Files },
    Area { root: "tests/tidy", nodes: Nodes::Files },
    Area { root: "src/proxy", nodes: Nodes::Files },
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layer {
    Core,
    Shell,
    Top,
}

/// What the core must not touch, as the beginnings of paths.
const OUTSIDE: &[&str] = &[
    "mio",
    "socket2",
    "signal_hook",
    "std::net",
    "core::net",
    "std::thread",
    "std::fs",
    "std::env",
    "std::process",
    "std::os",
];
/// Nor these, whatever they are reached by.
const CLOCKS: &[&str] = &["Instant", "SystemTime"];

/// Words that must not stand in code: the word, where not, whether test code may have it there, and why not.
const WORDS: &[(&str, &[&str], bool, &str)] = &[
    (".unwrap()", &["src"], true, "say with expect(\"…\") which invariant makes it impossible"),
    ("todo!", FOLDERS, false, "finish it"),
    ("unimplemented!", FOLDERS, false, "finish it"),
    ("dbg!", FOLDERS, false, "take it out"),
    ("sleep(", &["src", "tests"], false, "wait for a condition with a deadline"),
];
const FOLDERS: &[&str] = &["src", "tests", "benches", "examples"];

#[test]
fn the_repository_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut complaints = Vec::new();
    for folder in FOLDERS {
        for path in rust_files(root, folder) {
            let text = fs::read_to_string(root.join(&path)).expect("readable");
            complaints.extend(complaints_about(&path, &text));
        }
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn no_area_has_a_circle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = FOLDERS.iter().filter(|folder| root.join(folder).is_dir());
    let files: Vec<(String, String)> = folders
        .flat_map(|folder| rust_files(root, folder))
        .filter(|path| !path.starts_with("src/") || !(path.ends_with("/tests.rs") || path.contains("/tests/")))
        .map(|path| {
            let text = fs::read_to_string(root.join(&path)).expect("readable");
            (path, without_tests(&without_literals(&text)))
        })
        .collect();
    for area in AREAS {
        assert!(
            files.iter().any(|(path, _)| area.has(path)),
            "{} is in the table of areas, and has no files",
            area.root
        );
    }
    let circles: Vec<String> = AREAS.iter().filter_map(|area| circle_in(area, &files)).collect();
    assert!(circles.is_empty(), "\n{}\n", circles.join("\n"));
}

#[test]
fn who_may_be_imported_stands_above_who_may_import() {
    for (row, (modules, _, may_import)) in HOUSE.iter().enumerate() {
        let is_above = |name: &&str| HOUSE[..row].iter().any(|above| above.0.contains(name));
        let below: Vec<&str> =
            may_import.iter().flat_map(|group| group.iter()).copied().filter(|name| !is_above(name)).collect();
        assert!(below.is_empty(), "{modules:?} may import {below:?}, which stand no higher in the table");
    }
}

/// The paths of all Rust files under a folder, from the root, sorted.
fn rust_files(root: &Path, folder: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(root.join(folder)) else { return Vec::new() };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.expect("an entry");
        let path = format!("{folder}/{}", entry.file_name().to_str().expect("a name in UTF-8"));
        if entry.file_type().expect("a type").is_dir() {
            files.extend(rust_files(root, &path));
        } else if path.ends_with(".rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Everything that is wrong with one file, as `path:line: what`.
fn complaints_about(path: &str, text: &str) -> Vec<String> {
    let folder = path.split('/').next().expect("split gives at least one");
    let is_source = folder == "src";
    let all_code = without_literals(text);
    let is_test_code = !is_source || path.ends_with("/tests.rs");
    let code = if is_test_code { String::new() } else { without_tests(&all_code) };
    let mut found = Vec::new();
    for &(word, _, is_allowed_in_tests, why) in WORDS.iter().filter(|word| word.1.contains(&folder)) {
        let searched = if is_allowed_in_tests { &code } else { &all_code };
        found.extend(lines_with(searched, word).map(|line| (line, format!("`{word}`: {why}"))));
    }
    found.extend(let_chains(&all_code).map(|line| (line, "a let chain, which needs Rust 1.88".to_owned())));
    found.extend(kept_format_args(&all_code).map(|line| (line, "`let … = format_args!` needs Rust 1.89".to_owned())));
    if is_source {
        if !text.starts_with("//!") {
            found.push((1, "no head comment (`//!`) that says what this file owns".to_owned()));
        }
        found.extend(complaints_about_lengths(path, text));
        found.extend(complaints_about_imports(path, &code));
    }
    found.into_iter().map(|(line, what)| format!("{path}:{line}: {what}")).collect()
}

fn complaints_about_imports(path: &str, code: &str) -> Vec<(usize, String)> {
    let inside = path.trim_start_matches("src/").trim_end_matches(".rs");
    let module = inside.split('/').next().expect("split gives at least one");
    let depth = inside.split('/').count();
    let Some(&(_, layer, may_import)) = HOUSE.iter().find(|room| room.0.contains(&module)) else {
        return vec![(1, format!("`{module}` is not in the table of tests/tidy: give it its place there"))];
    };
    let mut found = Vec::new();
    for (line, path) in paths_in(code) {
        let shown = path.join("::");
        // How many segments lead to the crate's root, if it is reached.
        let to_root = match path[0].as_str() {
            "crate" | "rmux" => 1,
            "super" if path.iter().take_while(|segment| *segment == "super").count() == depth => depth,
            _ => 0,
        };
        if let Some(imported) = path.get(to_root).filter(|_| to_root > 0) {
            let is_allowed = imported == module || may_import.iter().any(|group| group.contains(&imported.as_str()));
            if !is_allowed {
                found.push((line, format!("`{module}` may not import `{imported}` ({shown})")));
            }
        }
        let is_outside = |prefix: &&str| shown == **prefix || shown.starts_with(&format!("{prefix}::"));
        let is_clock = path.iter().any(|segment| CLOCKS.contains(&segment.as_str()));
        if layer == Layer::Core && (OUTSIDE.iter().any(is_outside) || is_clock) {
            found.push((line, format!("`{module}` is of the core, which does not know `{shown}`")));
        }
    }
    found
}

/// The lines of variables that keep what `format_args!` has made.
fn kept_format_args(code: &str) -> impl Iterator<Item = usize> + '_ {
    let starts = code.match_indices("let ").map(|(at, _)| at);
    starts
        .filter(move |&start| {
            let statement = code[start..].split(';').next().unwrap_or_default();
            let value = statement.split_once('=').map_or("", |(_, value)| value.trim());
            value.starts_with("format_args!(") && value.find(')').is_some_and(|end| end + 1 == value.len())
        })
        .map(move |start| line_of(code, start))
}

/// The lines of conditions that join a `let` with something else: with `&&` outside all parentheses, before the block.
fn let_chains(code: &str) -> impl Iterator<Item = usize> + '_ {
    let conditions = ["if", "while"].into_iter().flat_map(move |word| {
        let starts = code.match_indices(word).filter(move |(at, _)| {
            !code[..*at].ends_with(is_word) && code[at + word.len()..].starts_with(char::is_whitespace)
        });
        starts.map(|(at, _)| at)
    });
    conditions
        .filter(move |&start| {
            let condition = &code[start..];
            let mut depth = 0_usize;
            let mut parts = vec![0];
            for (at, char) in condition.char_indices() {
                match char {
                    '(' | '[' => depth += 1,
                    ')' | ']' => depth = depth.saturating_sub(1),
                    '{' | ';' if depth == 0 => break,
                    '&' if depth == 0 && condition[at..].starts_with("&& ") => parts.push(at + 3),
                    _ => {}
                }
            }
            let words = |at: usize| condition[at..].trim_start_matches("if ").trim_start_matches("while ").trim_start();
            parts.len() > 1 && parts.iter().any(|&at| words(at).starts_with("let "))
        })
        .map(move |at| line_of(code, at))
}

fn complaints_in(path: &str, code: &str) -> Vec<String> {
    let found = complaints_about(path, &format!("//! Head.\n{code}"));
    found.into_iter().map(|complaint| complaint.trim_start_matches(path).to_owned()).collect()
}

#[test]
fn an_import_that_points_up_is_reported_however_it_is_written() {
    for (path, code, complaint) in [
        ("src/ring.rs", "use crate::timer::Millis;", ":2: `ring` may not import `timer` (crate::timer::Millis)"),
        ("src/client.rs", "\nuse crate::{\n    resp,\n    proxy::Proxy,\n};", ":5: `client` may not import `proxy`"),
        ("src/client.rs", "fn f() { crate::net::listen() }", ":2: `client` may not import `net`"),
        ("src/client.rs", "use super::reactor;", ":2: `client` may not import `reactor`"),
        ("src/proxy/client_read.rs", "use super::super::net::Stream;", ":2: `proxy` may not import `net`"),
        ("src/net/listen.rs", "use crate::resolve::*;", ":2: `net` may not import `resolve`"),
        ("src/reactor.rs", "use crate::config::Config;", ":2: `reactor` may not import `config`"),
        ("src/main.rs", "use rmux::proxy::Proxy;", ":2: `main` may not import `proxy`"),
        (
            "src/server.rs",
            "use std::{fmt, net::{self, IpAddr}};",
            ":2: `server` is of the core, which does not know `std::net",
        ),
        ("src/pool.rs", "use std::time::{Duration, Instant};", "does not know `std::time::Instant`"),
        ("src/proxy/client_read.rs", "fn f() { ::std::thread::spawn(g) }", "does not know `std::thread::spawn`"),
        ("src/timer.rs", "fn now() -> time::SystemTime {}", "does not know `time::SystemTime`"),
        ("src/buffer.rs", "use mio::Token;", "does not know `mio::Token`"),
        ("src/kitchen.rs", "", ":1: `kitchen` is not in the table"),
    ] {
        let found = complaints_in(path, code);
        assert!(!found.is_empty() && found.iter().all(|found| found.contains(complaint)), "{path}: {code}: {found:?}");
    }
}

#[test]
fn an_import_that_points_down_is_fine_and_so_are_tests_comments_and_literals() {
    for (path, code) in [
        ("src/client.rs", "use crate::{buffer::{Queue, Arena}, resp, slots::Id};\nuse std::time::Duration;"),
        ("src/proxy/client_read.rs", "use super::Proxy;\nuse crate::proxy::routing;\nuse crate::client::Client;"),
        ("src/net/listen.rs", "use super::Stream;\nuse std::net::SocketAddr;\nuse mio::net::TcpListener;"),
        (
            "src/ring.rs",
            "// crate::net, dbg!\n/* std::net /* sleep( */ Instant */\nconst A: &str = \"crate::net \\\" mio::x\";",
        ),
        (
            "src/ring.rs",
            "const A: &str = r#\"crate::net::\"x\" dbg!\"#;\nconst B: [char; 2] = ['\"', '\\''];\nfn f<'a>() {}",
        ),
        (
            "src/ring.rs",
            "#[cfg(test)]\n#[allow(unused)]\nmod tests {\n use crate::net;\n fn f() { g().unwrap() }\n}\nfn h() {}",
        ),
        ("src/ring.rs", "#[cfg(all(test, unix))]\nconst A: [u8; 1] = [crate::net::X; 1];\nfn g() {}"),
        ("src/resp/tests.rs", "use crate::proxy;\nfn f() { g().unwrap() }"),
        ("tests/ring.rs", "fn f() { std::thread::spawn(g).join().unwrap() }"),
    ] {
        assert_eq!(complaints_in(path, code), [""; 0], "{path}: {code}");
    }
}

#[test]
fn what_follows_a_test_item_is_looked_at_again_and_what_is_not_test_code_too() {
    for code in [
        "#[cfg(test)]\nfn only_in_tests() { {} }\nuse crate::net;",
        "#[cfg(test)]\nuse crate::proxy;\nuse crate::net;",
        "#[cfg(not(test))]\nuse crate::net;",
        "#[cfg(feature)]\nuse crate::net;",
        "const A: char = '\"'; use crate::net; const B: char = '\"';",
    ] {
        assert_eq!(complaints_in("src/ring.rs", code).len(), 1, "{code}");
    }
}

#[test]
fn let_chains_are_reported() {
    let chain = ":3: a let chain, which needs Rust 1.88";
    for code in [
        "fn f() {\n    if let Some(a) = b && c {}\n}",
        "fn f() {\n    if (a || b)\n && let Some(a) = b\n{}\n}",
        "fn f() {\n    while let Some(a) = b(|c| { c && d })\n    && c\n{}\n}",
    ] {
        assert_eq!(complaints_in("tests/t.rs", code), [chain], "{code}");
    }
    for code in [
        "fn f() { if let Some(&&a) = b.filter(|c| c && d) { e && f } else if c && d {} }",
        "fn f() { let Some(a) = b else { return c && d }; while a && b {} }",
    ] {
        assert!(complaints_in("tests/t.rs", code).is_empty(), "{code}");
    }
}

#[test]
fn what_format_args_makes_is_not_kept() {
    let complaint = ":3: `let … = format_args!` needs Rust 1.89";
    for code in ["fn f() {\nlet a = format_args!(b);}", "fn f() {\nlet a: A =\n format_args!(b);}"] {
        assert_eq!(complaints_in("tests/t.rs", code), [complaint], "{code}");
    }
    for code in ["fn f() { g(format_args!(b)) }", "fn f() { let a = format_args!(b).to_string(); }"] {
        assert!(complaints_in("tests/t.rs", code).is_empty(), "{code}");
    }
}

#[test]
fn words_left_behind_are_reported() {
    assert!(complaints_in("src/ring.rs", "fn f() { g().unwrap() }")[0].starts_with(":2: `.unwrap()`: say with expect"));
    assert!(complaints_in("src/ring.rs", "fn f() { todo!() }")[0].contains("finish it"));
    assert!(complaints_in("benches/b.rs", "fn f() { unimplemented!() }")[0].contains("finish it"));
    assert!(complaints_in("tests/t.rs", "fn f() { dbg!(1); }")[0].contains("take it out"));
    assert!(complaints_in("tests/t.rs", "fn f() {\n thread::sleep(LONG) }")[0].starts_with(":3: `sleep(`: wait"));
    assert!(complaints_in("src/ring.rs", "#[cfg(test)]\nmod tests { fn f() { sleep(1) } }")[0].contains("wait"));
    assert!(complaints_in("tests/t.rs", "fn f() { falls_asleep(1) }").is_empty());
    assert!(complaints_in("benches/b.rs", "fn f() { sleep(1) }").is_empty());
}

#[test]
fn files_without_a_head_comment_are_reported() {
    assert!(complaints_about("src/ring.rs", "fn f() {}\n")[0].starts_with("src/ring.rs:1: no head comment"));
    assert!(complaints_about("src/ring.rs", "//! Head.\nfn f() {}\n").is_empty());
    assert!(complaints_about("tests/ring.rs", "fn f() {}\n").is_empty());
}

#[test]
fn circles_are_reported_whether_of_imports_or_of_calls() {
    let area = Area { root: "src/net", nodes: Nodes::Files };
    let circle = |files: &[(&str, &str)]| {
        let files: Vec<_> = files.iter().map(|(path, code)| (format!("src/{path}.rs"), (*code).to_owned())).collect();
        circle_in(&area, &files)
    };
    let listen =
        ("net/listen", "use super::file::{Fault, While};\nimpl Listener { pub fn admit<'a>(&'a mut self) {} }");
    for back in [
        "use super::listen::Listener;",
        "use crate::{slots::Id, net::listen};",
        "fn f() { super::listen::open() }",
        "fn f(a: A) { a.b\n.admit() }",
        "fn f(a: A) { a.admit::<u8>() }",
        "use super::outer::Outer;",
        "use super::Address;",
    ] {
        let outer = ("net/outer", "fn f(a: A) { a.admit() }");
        let root = ("net", "mod listen;\npub use listen::Listener;");
        let found = circle(&[listen, outer, root, ("net/file", back)]).unwrap_or_else(|| panic!("{back}"));
        assert!(found.contains("src/net/listen.rs ─► src/net/file.rs (line 1: super::file::"), "{back}: {found}");
    }
    for back in [
        "use super::address::Address;\nuse crate::slots::listen;",
        "pub(super) mod listen;",
        "fn f(a: A) { admit(); a.admit; B { ..admit() } }",
        "impl Listener { fn admit(&self) {} }\nfn f(a: A) { a.admit() }",
    ] {
        let root = ("net", "mod listen;\npub use listen::Listener;");
        assert_eq!(circle(&[listen, root, ("net/address", ""), ("net/file", back)]), None, "{back}");
    }
    let of_others = [
        "pub fn admit(listener: &Self) {}",
        "impl Admits for Listener { fn admit(&self) {} }",
        "impl<T: for<'a> Admits<'a>> Admits for Listener<T> { fn admit(self) { { } } }",
        "impl Listener { pub fn len(&self) {} }",
        "impl Listener { fn admit(&self) {} }",
    ];
    for code in of_others {
        let listen = ("net/listen", format!("use super::file::Fault;\n{code}"));
        assert_eq!(circle(&[(listen.0, &listen.1), ("net/file", "fn f(a: A) { a.admit(); a.len() }")]), None, "{code}");
    }
    let other = ("slots", "impl Slots { pub fn admit(&self) {} }");
    assert_eq!(circle(&[listen, other, ("net/file", "fn f(a: A) { a.admit() }")]), None, "it may be the other one");
    let other = ("slots", "impl Slots { fn admit(&self) {} }");
    assert!(circle(&[listen, other, ("net/file", "fn f(a: A) { a.admit() }")]).is_some(), "the other one is private");
    let asks_for_it = "use super::file::Fault;\ntrait Admits { fn admit<F: Fn() -> u8>(&self, f: F); }";
    assert!(circle(&[("net/listen", asks_for_it), ("net/file", "fn f(a: A) { a.admit() }")]).is_some());
    let whole = ("net", "mod listen;\nuse listen::open;\nimpl Net { const fn admit(&self) {} }");
    assert!(circle(&[whole, ("net/listen", "fn f(a: A) { a.admit() }")]).is_some(), "private, but to the parts below");
}

#[test]
fn calls_of_free_functions_are_seen_by_the_paths_that_lead_to_them() {
    let area = Area { root: "src/net", nodes: Nodes::Files };
    let circle = |file: &str| {
        let files = [
            ("src/net.rs", "mod listen;\npub use listen::open;"),
            ("src/net/listen.rs", "use super::file::Fault;\npub fn open<T>() {}"),
            ("src/net/file.rs", file),
        ];
        let files: Vec<_> = files.iter().map(|(path, code)| ((*path).to_owned(), (*code).to_owned())).collect();
        circle_in(&area, &files)
    };
    for (file, why) in [
        ("use super::listen;\nfn f() { listen::open() }", "super::listen"),
        ("use super::listen::open;\nfn f() { open() }", "super::listen::open"),
        ("use super::listen::{Listener, open as start};\nfn f() { start() }", "super::listen::Listener"),
        ("use super::listen::*;\nfn f() { open() }", "super::listen::*"),
        ("fn f() { super::listen::open() }", "super::listen::open"),
        ("fn f() { crate::net::listen::open::<u8>() }", "crate::net::listen::open"),
        ("fn f(a: A) { a.map(super::listen::open) }", "super::listen::open"),
        ("fn f() { use super::listen::open; open() }", "super::listen::open"),
        ("use super::open;\nfn f() { open() }", "super::open"),
        ("use super::*;\nfn f() { open() }", "super::*"),
        ("fn f() { super::open() }", "super::open"),
    ] {
        let found = circle(file).unwrap_or_else(|| panic!("{file}"));
        assert!(found.contains(&format!("{why})")), "{file}: {found}");
    }
    for file in ["fn open() {}\nfn f() { open() }", "fn f() { other::open() }", "fn f() { Self::open() }"] {
        assert_eq!(circle(file), None, "{file}");
    }
}

#[test]
fn circles_of_modules_are_looked_for_among_folders_and_crates_stand_for_themselves() {
    let circle = |area: Area, files: &[(&str, &str)]| {
        let files: Vec<_> = files.iter().map(|(path, code)| ((*path).to_owned(), (*code).to_owned())).collect();
        circle_in(&area, &files)
    };
    let modules = [
        ("src/net/listen.rs", "use super::file;\nuse crate::resolve::Name;"),
        ("src/net/file.rs", "use super::listen;"),
        ("src/resolve.rs", ""),
    ];
    assert_eq!(circle(Area { root: "src", nodes: Nodes::Modules }, &modules), None, "a folder is one point");
    let found = circle(Area { root: "src/net", nodes: Nodes::Files }, &modules).expect("its files are several");
    assert!(found.starts_with("src/net: a circle: src/net/file.rs ─► src/net/listen.rs"), "{found}");
    let back = [modules[0], modules[1], ("src/resolve.rs", "use crate::net::file::File;")];
    let found = circle(Area { root: "src", nodes: Nodes::Modules }, &back).expect("there and back");
    assert!(found.contains("src/net ─► src/resolve (line 2: crate::resolve::Name)"), "{found}");
    let benches = [
        ("benches/load/main.rs", "mod scene;\nuse scene::Scene;"),
        ("benches/load/scene.rs", "use crate::work::Work;"),
        ("benches/load/work.rs", "use crate::support::Address;"),
        ("benches/other/support.rs", "use crate::scene;"),
    ];
    assert_eq!(circle(Area { root: "benches/load", nodes: Nodes::Files }, &benches), None);
    let up = [benches[0], benches[1], ("benches/load/work.rs", "use crate::scene::all;")];
    assert!(circle(Area { root: "benches/load", nodes: Nodes::Files }, &up).is_some());
}
