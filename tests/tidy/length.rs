//! Lengths: of lines, of files, and of functions.
//!
//! A function is measured from the line of its `fn` to its closing brace, without blank lines and lines of comment. What
//! stands in a function is part of it, closures and inner functions too. Functions of tests have no bound: one may be a
//! long table.

use crate::source::{end_of_item, is_word, line_of, without_literals, without_tests};

const LINE_CHARS_MAX: usize = 120;
/// Before its tests.
const FILE_LINES_MAX: usize = 600;
/// Files that are one long flat table, with their own bound.
const TABLES: &[(&str, usize)] = &[("src/command/table.rs", 900)];
const FUNCTION_LINES_MAX: usize = 60;

/// What is too long in a file of `src/`, with the lines.
pub fn complaints_about_lengths(path: &str, text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (line, chars) in (1..).zip(text.lines().map(|line| line.chars().count())) {
        if chars > LINE_CHARS_MAX {
            found.push((line, format!("{chars} characters in a line (at most {LINE_CHARS_MAX})")));
        }
    }
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let starts_tests =
        |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && !pair[1].ends_with(';');
    let length = lines.windows(2).position(starts_tests).unwrap_or(lines.len());
    let bound = TABLES.iter().find(|table| table.0 == path).map_or(FILE_LINES_MAX, |table| table.1);
    if length > bound && !path.ends_with("/tests.rs") {
        found.push((length, format!("{length} lines before the tests (at most {bound}): move a noun out")));
    }
    let is_test_code = path.ends_with("/tests.rs") || path.contains("/tests/");
    if !is_test_code {
        found.extend(functions_in(text).filter(|function| function.lines > FUNCTION_LINES_MAX).map(|function| {
            let Function { line, name, lines } = function;
            (line, format!("`{name}` has {lines} lines of code (at most {FUNCTION_LINES_MAX}): give its parts names"))
        }));
    }
    found
}

/// One that has a body, and is no test.
struct Function {
    line: usize,
    name: String,
    lines: usize,
}

fn functions_in(text: &str) -> impl Iterator<Item = Function> + '_ {
    let code = without_tests(&without_literals(text));
    // The literals count: a line that is in one is not blank.
    let is_code = |line: &&str| !line.trim_start().starts_with("//") && !line.trim().is_empty();
    let starts: Vec<usize> = code
        .match_indices("fn ")
        .filter(|(at, _)| !code[..*at].ends_with(is_word) && code[at + 3..].starts_with(is_word))
        .map(|(at, _)| at)
        .collect();
    starts.into_iter().filter_map(move |at| {
        let end = at + end_of_item(&code[at..]);
        let (line, last) = (line_of(&code, at), line_of(&code, end));
        let name = code[at + 3..].split(|char| !is_word(char)).next().expect("split gives at least one").to_owned();
        let lines = text.lines().take(last).skip(line - 1).filter(is_code).count();
        code[..end].ends_with('}').then_some(Function { line, name, lines })
    })
}

fn complaints_in(path: &str, code: &str) -> Vec<String> {
    complaints_about_lengths(path, code).into_iter().map(|(line, what)| format!("{line}: {what}")).collect()
}

#[test]
fn long_lines_are_reported() {
    let line = "é".repeat(LINE_CHARS_MAX);
    assert!(complaints_in("src/ring.rs", &format!("// {}", &line[6..])).is_empty());
    assert_eq!(complaints_in("src/ring.rs", &format!("\n// {line}")), ["2: 123 characters in a line (at most 120)"]);
    assert_eq!(complaints_in("src/resp/tests.rs", &format!("// {line}")).len(), 1);
}

#[test]
fn long_files_are_reported_but_for_their_tests() {
    let lines = "fn f() {}\n".repeat(FILE_LINES_MAX);
    let tests = "#[cfg(test)]\nmod tests {}\n";
    assert!(complaints_in("src/ring.rs", &lines).is_empty());
    assert!(complaints_in("src/ring.rs", &format!("{lines}{tests}{lines}")).is_empty());
    assert!(complaints_in("src/ring.rs", &format!("\n{lines}{tests}"))[0].contains("601 lines before the tests"));
    assert!(complaints_in("src/ring.rs", &format!("#[cfg(test)]\nmod tests;\n{lines}"))[0].contains("602 lines"));
    assert!(complaints_in("src/resp/tests.rs", &format!("\n{lines}")).is_empty());
    assert_eq!(complaints_in("src/resp/tests/inline.rs", &format!("\n{lines}")).len(), 1);
}

#[test]
fn long_functions_are_reported_with_their_lines_of_code() {
    let fits = "    a();\n".repeat(FUNCTION_LINES_MAX - 2);
    let complaint = ["3: `f` has 61 lines of code (at most 60): give its parts names"];
    for start in ["fn f() {", "pub(super) const fn f<T>(a: [u8; 3]) {", "    fn f(&self) -> fn(u8) {"] {
        for line in
            ["    b();", "    {", "    let a = |b| {", "    fn b() {}", "    \"", "    r#\"", "    '}';", "    // }\n{"]
        {
            let ends = match line {
                _ if line.ends_with('{') => "    }\n}\n",
                "    \"" => "    \"\n}\n",
                "    r#\"" => "    } \"#\n}\n",
                _ => "}\n",
            };
            let spare = ends.lines().count() - 1;
            let body: String = fits.lines().skip(spare).map(|line| format!("{line}\n")).collect();
            let code = format!("use b;\n\n{start}\n{body}{line}\n{ends}");
            assert_eq!(complaints_in("src/ring.rs", &code), complaint, "{code}");
            assert!(complaints_in("src/ring.rs", &code.replacen("a();\n", "\n", 1)).is_empty(), "{code}");
            assert!(complaints_in("src/ring.rs", &code.replacen("a();", "// a", 1)).is_empty(), "{code}");
        }
    }
}

#[test]
fn what_is_no_function_or_is_test_code_may_be_long() {
    let long = "    a();\n".repeat(FUNCTION_LINES_MAX);
    for code in [
        format!("#[cfg(test)]\nmod tests {{\n#[test]\nfn f() {{\n{long}}}\n}}"),
        format!("#[cfg(test)]\nfn f() {{\n{long}}}"),
        format!("trait A {{\n    fn f();\n{long}}}"),
        format!("type A = fn(u8);\nconst B: A = {{\n{long}}};"),
        format!("// fn f() {{\n{long}// }}"),
        format!("fn f() {{}}\n{long}fn g() {{}}"),
    ] {
        assert_eq!(complaints_in("src/ring.rs", &code), [""; 0], "{code}");
    }
    for path in ["src/resp/tests.rs", "src/proxy/tests/bulk.rs"] {
        assert!(complaints_in(path, &format!("fn f() {{\n{long}}}")).is_empty(), "{path}");
    }
}
