//! BENCHMARKS.md: how a benchmark renews its own parts of it, and no others.
//!
//! A part that is written by a run stands between two marks, `<!-- begin NAME -->` and `<!-- end NAME -->`. A name
//! without marks is a mistake, and said so: nothing is ever appended by guess. Knows no figure.

use std::fs;
use std::path::Path;

/// Replaces what stands between the marks of this name.
pub fn write_part(name: &str, text: &str) -> Result<(), String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("BENCHMARKS.md");
    let failed = |error| format!("{}: {error}", path.display());
    let book = fs::read_to_string(&path).map_err(failed)?;
    let (begin, end) = (format!("<!-- begin {name} -->"), format!("<!-- end {name} -->"));
    let missing = || format!("{}: no part {begin} … {end}", path.display());
    let (before, rest) = book.split_once(&begin).ok_or_else(missing)?;
    let (_, after) = rest.split_once(&end).ok_or_else(missing)?;
    fs::write(&path, format!("{before}{begin}\n{}\n{end}{after}", text.trim_end())).map_err(failed)
}
