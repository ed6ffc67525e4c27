//! BENCHMARKS.md, the plots and the raw rows: where they stand, and how a run renews its own parts and no others.
//!
//! A part of BENCHMARKS.md that is written by a run stands between two marks, `<!-- begin NAME -->` and
//! `<!-- end NAME -->`. A name without marks is a mistake, and said so: nothing is ever appended by guess.
//! Knows no figure.

use std::fs;
use std::path::{Path, PathBuf};

/// Replaces what stands between the marks of this name.
pub fn write_part(name: &str, text: &str) -> Result<(), String> {
    let path = root().join("BENCHMARKS.md");
    let book = read(&path)?;
    let (begin, end) = (format!("<!-- begin {name} -->"), format!("<!-- end {name} -->"));
    let missing = || format!("{}: no part {begin} … {end}", path.display());
    let (before, rest) = book.split_once(&begin).ok_or_else(missing)?;
    let (_, after) = rest.split_once(&end).ok_or_else(missing)?;
    write(&path, &format!("{before}{begin}\n{}\n{end}{after}", text.trim_end()))
}

/// Writes a plot of this name.
pub fn write_plot(name: &str, svg: &str) -> Result<(), String> {
    let folder = root().join("benches").join("plots");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    write(&folder.join(format!("{name}.svg")), svg)
}

/// Writes the rows of the scenes that ran, and leaves those of others as they are. The first field of a row is its scene.
pub fn write_rows(path: &Path, header: &str, rows: &[String], scenes: &[&str]) -> Result<(), String> {
    let scene_of = |row: &str| row.split(',').next().unwrap_or_default().to_owned();
    let old = fs::read_to_string(path).unwrap_or_default();
    let mut lines = old.lines();
    // Rows of other columns are of no use.
    let is_same = lines.next() == Some(header);
    let kept = lines.filter(|row| is_same && !scenes.contains(&scene_of(row).as_str())).map(str::to_owned);
    let all: Vec<String> = [header.to_owned()].into_iter().chain(rows.iter().cloned()).chain(kept).collect();
    write(path, &format!("{}\n", all.join("\n")))
}

/// Where the raw rows stand that BENCHMARKS.md was made from.
pub fn rows_path() -> PathBuf {
    root().join("benches").join("results.csv")
}

/// The sources that this was built from.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
