//! Everything that rmux says stands in `doc/messages.md`, and nothing else.
//!
//! A message is a text in the code of `src/` with two words at least: who writes a new one adds its entry. Not looked at
//! are tests, what only debug builds, `-debug` and our own mistakes say ([`NOT_SAID`]), texts that are compared with
//! what a peer says, and the items in [`OTHERWISE`].
//!
//! An entry is in the first cell of a row of a table, as code. Where the program puts something in, there stands `…` or
//! an example. One entry may be put together of several texts of the code, and one text be the beginning of several
//! entries: so it is found if its parts between the placeholders stand, in their order, in one entry. And an entry is
//! old, and fails, if more than a third of its letters are in no text of the code.
//!
//! What this cannot see: whether an entry tells the truth, messages of a single word, and a new message whose
//! words all stand, in their order, in the entry of another.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::rust_files;
use crate::source::{is_word, line_of, texts_in, without_literals, without_tests};

const PAGE: &str = "doc/messages.md";

/// Calls whose texts nobody is told, or only with `-debug`; and comparisons.
const NOT_SAID: &[&str] = &[
    "assert",
    "assert_eq",
    "assert_ne",
    "contains",
    "debug",
    "debug_assert",
    "debug_assert_eq",
    "debug_assert_ne",
    "ensure",
    "expect",
    "panic",
    "starts_with",
    "strip_prefix",
    "trace",
    "unreachable",
];

/// A name in [`NOT_SAID`] is not longer.
const NAME_CHARS_MAX: usize = 40;

/// Items whose texts are no messages, or are told elsewhere: file, and name of the function or constant; `*` is all of
/// the file.
const OTHERWISE: &[(&str, &str)] = &[
    // What HTTP says; and the descriptions of metrics, which doc/manual.md has.
    ("admin/http", "line"),
    ("admin/metrics", "*"),
    ("admin/response", "*"),
    // Names of figures; what is wrong is told by `admin/problem`.
    ("admin/page", "*"),
    ("cli", "AFTERWORD"),
    ("cli", "HEADINGS"),
    ("cli", "help"),
    ("command/policy", "WORDS"),
    ("config/draft", "DEFAULT_TCP_CONNECTIONS"),
    ("config/entry", "text_of"),
    ("config/key", "KEYS"),
    ("config/placement", "HEADINGS"),
    // What CLUSTER NODES says of a node.
    ("local/cluster_node", "line"),
    ("local/client_command", "HELP"),
    ("local/info", "*"),
    ("local/rmux_reply", "HELP"),
    ("local/rmux_reply", "key_place"),
    ("local/roster", "write_line"),
    // What one rmux asks another.
    ("net/encryption", "HEALTHCHECK"),
    // The simulation's judge, which only tests ask.
    // What nodes of a cluster say.
    ("proxy/redirect", "is_of_node"),
    ("proxy/redirect_lease", "UNBLOCKED"),
    ("proxy/audit", "*"),
    // What a server is asked.
    ("proxy/zone", "INFO"),
    ("service/activation", "move_to_standard_input"),
    ("top/source", "REQUEST"),
    ("top/view", "headline"),
    ("top/view", "server_lines"),
    ("top/view", "event_lines"),
];

/// A text of the code that is a message.
struct Message {
    place: String,
    /// Between its placeholders.
    parts: Vec<String>,
    /// True exactly when it has to stand in the page; a single word may.
    is_told: bool,
}

#[test]
fn what_rmux_says_stands_in_the_page_of_messages() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(root.join(path)).expect("a file of this repository");
    let mut unused: BTreeSet<_> = OTHERWISE.iter().collect();
    let mut messages = Vec::new();
    for path in rust_files(root, "src") {
        if path.ends_with("/tests.rs") || path.contains("/tests/") {
            continue;
        }
        messages.extend(messages_in(&path, &read(&path), &mut unused));
    }
    assert!(messages.iter().filter(|message| message.is_told).count() > 200, "{}", messages.len());
    let page = read(PAGE);
    let mut complaints = complaints_about(&messages, &page);
    complaints.extend(unused.iter().map(|(path, item)| format!("{path}: {item} has no text: OTHERWISE is too long")));
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

fn complaints_about(messages: &[Message], page: &str) -> Vec<String> {
    let mut entries: Vec<(String, Vec<bool>)> =
        entries_of(page).map(|entry| (entry.replace("\\|", "|"), vec![false; entry.len()])).collect();
    let mut complaints = Vec::new();
    for message in messages {
        let mut is_there = false;
        for (entry, known) in &mut entries {
            if let Some(found) = places_in(entry, &message.parts) {
                is_there = true;
                found.into_iter().for_each(|(start, end)| known[start..end].fill(true));
            }
        }
        if message.is_told && !is_there {
            let text = message.parts.join("…");
            complaints.push(format!("{}: {PAGE} has no entry for: {text}", message.place));
        }
    }
    for (entry, known) in &entries {
        let letters: Vec<usize> = entry.match_indices(|char: char| char.is_ascii_alphabetic()).map(|at| at.0).collect();
        let unknown = letters.iter().filter(|at| !known[**at]).count();
        if unknown * 3 > letters.len() {
            complaints.push(format!("{PAGE}: rmux does not say: {entry}"));
        }
    }
    complaints
}

/// The code in the first cells of the tables.
fn entries_of(page: &str) -> impl Iterator<Item = &str> {
    page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("|--")).flat_map(|line| {
        let end = line.match_indices(" | ").map(|at| at.0).find(|&at| line[..at].matches('`').count() % 2 == 0);
        line[..end.unwrap_or(line.len())].split('`').skip(1).step_by(2)
    })
}

/// Where the parts stand in an entry, in their order.
fn places_in(entry: &str, parts: &[String]) -> Option<Vec<(usize, usize)>> {
    let mut places = Vec::new();
    let mut at = 0;
    for (index, part) in parts.iter().enumerate() {
        let part = part.as_str();
        if !part.contains(is_word) {
            continue;
        }
        // A text begins and ends with its words, not within others.
        let is_whole = |start: usize| {
            let begins = index > 0 || !part.starts_with(is_word) || !entry[..start].ends_with(is_word);
            let rest = &entry[start + part.len()..];
            begins && (index + 1 < parts.len() || !part.ends_with(is_word) || !rest.starts_with(is_word))
        };
        let found = entry[at..].match_indices(part).map(|found| at + found.0).find(|&start| is_whole(start))?;
        at = found + part.len();
        places.push((found, at));
    }
    Some(places)
}

fn messages_in(path: &str, text: &str, unused: &mut BTreeSet<&(&str, &str)>) -> Vec<Message> {
    let code = without_literals(text);
    let shown: Vec<char> = without_tests(&code).chars().collect();
    let code: Vec<char> = code.chars().collect();
    let items = items_in(&code);
    let name = path.trim_start_matches("src/").trim_end_matches(".rs");
    let mut messages = Vec::new();
    for (at, literal) in texts_in(text) {
        let parts = parts_of(&literal);
        if !parts.iter().any(|part| part.contains(is_word)) {
            continue;
        }
        let before = code[..at].iter().rposition(|char| !char.is_whitespace());
        if before.is_some_and(|before| shown[before] == ' ') || is_not_said(&code[..at]) {
            continue;
        }
        if !is_prose(&parts) {
            messages.push(Message { place: String::new(), parts, is_told: false });
            continue;
        }
        let item = items.iter().rev().find(|item| item.0 < at).map_or("", |item| &item.1);
        if let Some(known) = OTHERWISE.iter().find(|known| known.0 == name && ["*", item].contains(&known.1)) {
            unused.remove(known);
            continue;
        }
        let line = line_of(text, text.char_indices().nth(at).map_or(0, |at| at.0));
        messages.push(Message { place: format!("{path}:{line} ({item})"), parts, is_told: true });
    }
    messages
}

/// The text as a reader sees it, cut at its placeholders.
fn parts_of(literal: &str) -> Vec<String> {
    let mut text = String::new();
    let mut chars = literal.chars().peekable();
    while let Some(char) = chars.next() {
        match (char, chars.peek()) {
            ('\\', Some('\n')) => while chars.next_if(|char| char.is_whitespace()).is_some() {},
            ('\\', Some('r' | 'n')) => {
                chars.next();
                text.push(' ');
            }
            ('\\', Some(_)) => text.extend(chars.next()),
            ('{', Some('{')) | ('}', Some('}')) => text.extend(chars.next()),
            ('{', _) => {
                chars.by_ref().find(|char| *char == '}');
                text.push('…');
            }
            (char, _) => text.push(char),
        }
    }
    // The page has the errors without the byte of the protocol before them.
    let text = text.trim();
    let error = text.strip_prefix('-').filter(|rest| rest.starts_with(|char: char| char.is_ascii_uppercase()));
    error.unwrap_or(text).split('…').map(|part| part.trim().to_owned()).collect()
}

/// True exactly when it has to be told: there are two words at least, with a blank between.
fn is_prose(parts: &[String]) -> bool {
    let is_inside = |char: char| char.is_ascii_alphabetic() || matches!(char, '_' | '-' | '/');
    let words = parts.iter().flat_map(|part| part.split(|char| !is_inside(char)));
    let has_blank = parts.len() > 1 || parts.iter().any(|part| part.contains(' '));
    has_blank && words.filter(|word| word.len() > 1).count() > 1
}

/// True exactly when the text that follows is an argument of one of [`NOT_SAID`], however deep, or of an attribute.
fn is_not_said(before: &[char]) -> bool {
    let mut depth = 0_usize;
    for (at, char) in before.iter().enumerate().rev() {
        match char {
            ')' | ']' | '}' => depth += 1,
            '(' | '[' | '{' if depth > 0 => depth -= 1,
            '{' => return false,
            // An attribute.
            '[' if before[..at].ends_with(&['#']) => return true,
            '(' | '[' => {
                let callee: String = before[at.saturating_sub(NAME_CHARS_MAX)..at].iter().collect();
                let callee = callee.trim_end_matches('!');
                let name = callee.rsplit(|char| !is_word(char)).next().unwrap_or_default();
                if NOT_SAID.contains(&name) {
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}

/// The functions and constants of the code: where the name of each ends, and the name.
fn items_in(code: &[char]) -> Vec<(usize, String)> {
    let mut items = Vec::new();
    let (mut word, mut before) = (String::new(), String::new());
    for (at, &char) in code.iter().enumerate() {
        if is_word(char) {
            word.push(char);
        } else if !word.is_empty() {
            if matches!(before.as_str(), "fn" | "const" | "static") && word != "fn" {
                items.push((at, word.clone()));
            }
            // A lifetime is no item.
            let is_lifetime = code[..at - word.chars().count()].ends_with(&['\'']);
            before = if is_lifetime { String::new() } else { word.clone() };
            word.clear();
        }
    }
    items
}

#[test]
fn a_message_without_an_entry_and_an_entry_without_a_message_are_reported() {
    let code = "fn f(n: u8) { warn!(\"the tap {n} drips: {{{}}}\\r\\n\", 1); g(b\"-ERR No water\\r\\n\"); debug!(\"too \\\"dry\\\"\");\n\
                h.expect(\"it is wet\"); let one = \"word\"; }\n#[cfg(test)]\nmod tests { fn g() { warn!(\"in a test\"); } }";
    let messages = messages_in("src/tap.rs", code, &mut BTreeSet::new());
    let is_told = |message: &&Message| message.is_told;
    let texts: Vec<String> = messages.iter().filter(is_told).map(|message| message.parts.join("…")).collect();
    assert_eq!(texts, ["the tap…drips: {…}", "ERR No water"]);
    let told = "# Page\n| message | cause |\n|--|--|\n| `the tap 7 drips: {…}`, `ERR No water` | rain, `not this` |\n";
    assert_eq!(complaints_about(&messages, told), [""; 0]);
    for (page, complaint) in [
        (told.replace("drips", "trips"), "src/tap.rs:1 (f): doc/messages.md has no entry for: the tap…drips: {…}"),
        (told.replace("No water", "No waters"), "src/tap.rs:1 (f): doc/messages.md has no entry for: ERR No water"),
        (told.replace("rain", "rain |\n| `all is well`"), "doc/messages.md: rmux does not say: all is well"),
        (told.replace("the tap 7", "a hot water pipe and the tap 7"), "does not say: a hot water pipe and the tap 7"),
        (told.replace("| `the", "| x | `the"), "has no entry for: the tap"),
    ] {
        let complaints = complaints_about(&messages, &page);
        assert!(complaints.iter().any(|found| found.contains(complaint)), "{page}: {complaints:?}");
    }
    let compared = "fn f() { a.starts_with(b\"-ERR unknown command\"); }";
    assert!(messages_in("src/tap.rs", compared, &mut BTreeSet::new()).is_empty());
}
