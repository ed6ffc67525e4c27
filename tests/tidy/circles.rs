//! Circles: files that need each other, by what they import and by the methods that they call.
//!
//! ```text
//!   listen.rs ──imports Fault──► socket_file.rs ──calls .accept()──► listen.rs
//! ```
//!
//! An import is any path that leads to another file of the area, also in the middle of code. So the call of a free
//! function is seen by its path, `listen::open(`, or by the import of its name; what a file re-exports counts as that
//! file's, which needs the other one in turn. A call of a method is an edge when the method, `.name(`, is an inherent
//! one, or a trait's own, that one file of the area defines, and no other file anywhere. That is text and no knowledge of
//! types: a name that several have says nothing, nor does one that the standard library has, too ([`COMMON`]), and a
//! trait's method is called through whatever implements it; `Type::name(` leads to the file of the type, wherever its
//! `impl` is. What is not found is no proof; but each circle that is reported can be broken by moving a noun to where it
//! belongs.
//!
//! A `mod` line is no edge: a file has its parts below it, and they must not need it in turn.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{paths_in, tokens_of};

/// Files among which there is to be no circle: `root.rs`, and everything under `root/`.
#[derive(Debug)]
pub struct Area {
    pub root: &'static str,
    pub nodes: Nodes,
}

/// What is one point of the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nodes {
    /// Each file.
    Files,
    /// Each file or folder right below the root, with all that is in it.
    Modules,
}

impl Area {
    /// Whether the file of this path belongs to it.
    pub fn has(&self, path: &str) -> bool {
        path.strip_prefix(self.root).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    }

    /// The point that a file belongs to.
    fn node_of(&self, path: &str) -> String {
        match self.nodes {
            Nodes::Files => path.to_owned(),
            Nodes::Modules => {
                let inside = path[self.root.len()..].trim_start_matches('/');
                let name = inside.split('/').next().expect("split gives at least one");
                format!("{}/{}", self.root, name.trim_end_matches(".rs"))
            }
        }
    }
}

/// Who needs whom, and what for.
type Edges = BTreeMap<String, BTreeMap<String, String>>;

/// One circle of an area, in words, if there is any; `files` are paths with their code, without literals and tests.
pub fn circle_in(area: &Area, files: &[(String, String)]) -> Option<String> {
    let is_of_src = |path: &str| path.starts_with("src/");
    // The crate itself calls nothing of its tests and benchmarks.
    let seen = files.iter().filter(|(path, _)| is_of_src(path) || !is_of_src(&format!("{}/", area.root)));
    let (files, others): (Vec<&(String, String)>, Vec<_>) = seen.partition(|(path, _)| area.has(path));
    let mut edges = Edges::new();
    let mut add = |from: &str, to: &str, why: String| {
        let (from, to) = (area.node_of(from), area.node_of(to));
        if from != to {
            edges.entry(from).or_default().entry(to).or_insert(why);
        }
    };
    let modules: BTreeMap<Vec<&str>, &str> = files.iter().map(|(path, _)| (module_of(path), path.as_str())).collect();
    for (path, code) in &files {
        let own = module_of(path);
        for (line, used) in paths_in(&without_mod_lines(code)) {
            if let Some(to) = resolve(&own, &used, &modules) {
                add(path, to, format!("line {line}: {}", used.join("::")));
            }
        }
    }
    let mut definitions: BTreeMap<&str, Vec<(&str, bool)>> = BTreeMap::new();
    for (path, code) in &files {
        for (name, is_private) in methods_of(code) {
            definitions.entry(name).or_default().push((path, is_private));
        }
    }
    let mut others_too: BTreeSet<&str> = COMMON.split(' ').collect();
    for (_, code) in &others {
        others_too.extend(methods_of(code).into_iter().filter(|(_, is_private)| !is_private).map(|(name, _)| name));
    }
    definitions.retain(|name, places| places.len() == 1 && !others_too.contains(name));
    for (path, code) in &files {
        for (line, name) in calls_in(code) {
            let Some(&[(definer, is_private)]) = definitions.get(name).map(Vec::as_slice) else { continue };
            // What is private can be called by the parts below, and by nobody else.
            if !is_private || module_of(path).starts_with(&module_of(definer)) {
                add(path, definer, format!("line {line}: .{name}()"));
            }
        }
    }
    circle(edges).map(|circle| format!("{}: a circle: {circle}", area.root))
}

/// Where a file stands in its crate: `src/net/listen.rs` is `net::listen`. A crate's root is nothing at all.
fn module_of(path: &str) -> Vec<&str> {
    let mut names: Vec<&str> = path.trim_end_matches(".rs").split('/').skip(1).collect();
    if !path.starts_with("src/") {
        // Each folder of tests and benchmarks is a crate, or is taken up by several as one module.
        names.remove(0);
    }
    if matches!(names.last(), Some(&"main" | &"lib" | &"mod")) {
        names.pop();
    }
    names
}

/// The code without the lines that say which files there are: `pub mod listen;`.
fn without_mod_lines(code: &str) -> String {
    let is_mod_line = |line: &str| line.ends_with(';') && line.split_whitespace().rev().nth(1) == Some("mod");
    code.lines().map(|line| if is_mod_line(line) { "\n".to_owned() } else { format!("{line}\n") }).collect()
}

/// The file that a path leads to: the one with the longest part of it.
fn resolve<'a>(own: &[&str], path: &[String], modules: &BTreeMap<Vec<&'a str>, &'a str>) -> Option<&'a str> {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    if path.len() == 1 {
        return None; // a name, or the `super` of a visibility
    }
    let ups = path.iter().take_while(|segment| **segment == "super").count();
    let mut full: Vec<&str> = match path[0] {
        "crate" | "rmux" => path[1..].to_vec(),
        "self" => [own, &path[1..]].concat(),
        "super" => [&own[..own.len().checked_sub(ups)?], &path[ups..]].concat(),
        first => {
            modules.get([own, &[first]].concat().as_slice())?;
            [own, &path].concat()
        }
    };
    // Of a crate's root, only what stands in it itself: a module that has no file here is another area's.
    let is_elsewhere = |full: &[&str]| full.len() > 1 && full[0].starts_with(char::is_lowercase);
    let shortest = usize::from(is_elsewhere(&full));
    while full.len() >= shortest {
        if let Some(file) = modules.get(full.as_slice()) {
            return Some(file);
        }
        full.pop()?;
    }
    None
}

/// The methods that code defines, and whether they are private: those with a receiver, and that are not there because a
/// trait asks for them.
fn methods_of(code: &str) -> BTreeMap<&str, bool> {
    let tokens: Vec<&str> = tokens_of(code).into_iter().map(|(_, token)| token).collect();
    let text = |at: usize| tokens.get(at).copied().unwrap_or("");
    let mut methods = BTreeMap::new();
    // For each open brace, whether it is that of a trait's implementation, or lies in one.
    let mut braces: Vec<bool> = Vec::new();
    let mut is_of_trait = false;
    // And whether it is that of a trait's declaration, in which all is as public as the trait.
    let mut declares: Vec<bool> = Vec::new();
    let mut is_declaration = false;
    for at in 0..tokens.len() {
        match text(at) {
            "impl" if at == 0 || matches!(text(at - 1), "{" | "}" | ";" | "]" | "unsafe") => {
                let header = tokens[at..].iter().position(|token| *token == "{").map_or(tokens.len(), |end| at + end);
                is_of_trait = (at..header).any(|at| text(at) == "for" && text(at + 1) != "<");
            }
            "trait" => is_declaration = true,
            "{" => {
                braces.push(std::mem::take(&mut is_of_trait) || braces.last() == Some(&true));
                declares.push(std::mem::take(&mut is_declaration));
            }
            "}" => drop((braces.pop(), declares.pop())),
            "fn" if braces.last() != Some(&true) && has_receiver(&tokens[at + 1..]) => {
                let before = tokens[..at].iter().rev().find(|token| !["const", "async", "unsafe"].contains(token));
                let is_private = declares.last() != Some(&true) && !matches!(before, Some(&("pub" | ")")));
                methods.insert(text(at + 1), is_private);
            }
            _ => {}
        }
    }
    methods
}

/// Whether a function, given from its name on, takes `self`, in whatever form.
fn has_receiver(function: &[&str]) -> bool {
    let mut depth = 0_usize;
    for (at, token) in function.iter().enumerate() {
        match *token {
            "<" => depth += 1,
            ">" if function[at - 1] != "-" => depth = depth.saturating_sub(1),
            "(" if depth == 0 => {
                let mut rest = function[at + 1..].iter().copied().peekable();
                loop {
                    match rest.next() {
                        Some("&" | "mut") => {}
                        Some("'") => drop(rest.next()),
                        receiver => return receiver == Some("self"),
                    }
                }
            }
            "{" | ";" => return false,
            _ => {}
        }
    }
    false
}

/// The methods that code calls, with their lines.
fn calls_in(code: &str) -> Vec<(usize, &str)> {
    let tokens = tokens_of(code);
    let is_call = |at: usize| {
        let is_range = at > 0 && tokens[at - 1].1 == ".";
        tokens[at].1 == "." && !is_range && matches!(tokens.get(at + 2).map(|token| token.1), Some("(" | "::"))
    };
    (0..tokens.len()).filter(|&at| is_call(at)).map(|at| tokens[at + 1]).collect()
}

/// A circle among these edges, if there is any.
fn circle(mut edges: Edges) -> Option<String> {
    // Who needs nobody, or nobody that needs anybody, is in none.
    loop {
        let before: usize = edges.values().map(BTreeMap::len).sum();
        let needy: BTreeSet<String> = edges.keys().cloned().collect();
        edges.values_mut().for_each(|needs| needs.retain(|to, _| needy.contains(to)));
        edges.retain(|_, needs| !needs.is_empty());
        if edges.values().map(BTreeMap::len).sum::<usize>() == before {
            break;
        }
    }
    // Each one that is left needs another one that is left: following them comes to a circle.
    let mut way = vec![edges.keys().next()?];
    loop {
        let last = way[way.len() - 1];
        let (next, _) = edges[last].first_key_value().expect("it needs somebody");
        if let Some(start) = way.iter().position(|name| *name == next) {
            let steps = way[start..].iter().map(|from| {
                let to = edges[*from].first_key_value().expect("it needs somebody");
                format!("{from} ─► {} ({})", to.0, to.1)
            });
            return Some(steps.collect::<Vec<_>>().join(", "));
        }
        way.push(next);
    }
}

/// Methods that the standard library or a crate has, too: a call of one may mean anything.
const COMMON: &str = "\
    abs all and and_then any append as_bytes as_mut as_ref as_slice as_str back borrow by_ref bytes call capacity \
    chain chars clear clone close cloned cmp collect connect contains contains_key copied count drain end \
    ends_with entry eq err expect extend filter find first flat_map flatten flush fold for_each front get get_mut \
    get_or_insert_with hash id insert into inspect is_empty is_none is_some iter iter_mut join keys kind last len \
    lines listen lock map max min next nth ok or or_else parse peek poll pop position push push_back push_front \
    range read reduce remove repeat replace reserve resize retain rev send set shutdown skip sort splice split \
    split_off starts_with status sum swap take then then_some to_owned to_string trim truncate try_from try_into \
    unwrap_or values wait windows with write zip";
