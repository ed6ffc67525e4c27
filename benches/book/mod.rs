//! BENCHMARKS.md: how a benchmark renews its own parts of it, and no others.
//!
//! A part that is written by a run stands between two marks, `<!-- begin NAME -->` and `<!-- end NAME -->`. A name
//! without marks is a mistake, and said so: nothing is ever appended by guess. Knows no figure.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// Replaces what stands between the marks of this name.
pub fn write_part(name: &str, text: &str) -> Result<(), String> {
    let (before, _, after) = parts(name)?;
    fs::write(path(), format!("{before}\n{}\n{after}", text.trim_end())).map_err(|error| failed(&error))
}

/// What stands between the marks of this name.
#[allow(dead_code)] // not every benchmark keeps some of what stood there
pub fn read_part(name: &str) -> Result<String, String> {
    parts(name).map(|(_, part, _)| part.trim().to_owned())
}

/// The book up to and with the first mark, what stands between, and the rest from the second mark on.
fn parts(name: &str) -> Result<(String, String, String), String> {
    let book = fs::read_to_string(path()).map_err(|error| failed(&error))?;
    let (begin, end) = (format!("<!-- begin {name} -->"), format!("<!-- end {name} -->"));
    let missing = || format!("{}: no part {begin} … {end}", path().display());
    let (before, rest) = book.split_once(&begin).ok_or_else(missing)?;
    let (part, after) = rest.split_once(&end).ok_or_else(missing)?;
    Ok((format!("{before}{begin}"), part.to_owned(), format!("{end}{after}")))
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("BENCHMARKS.md")
}

fn failed(error: &io::Error) -> String {
    format!("{}: {error}", path().display())
}
