//! BENCHMARKS.md: how a benchmark renews its own parts of it, and no others; and how a table looks there.
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

/// A Markdown table, its head the first row: the first columns to the left, figures to the right, every cell as wide as
/// its column's widest.
#[allow(dead_code)] // not every benchmark aligns its rows at the end
pub fn align(rows: &[Vec<String>], left: usize) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> =
        (0..columns).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            text.push_str(&if column < left { format!("| {cell:<width$} ") } else { format!("| {cell:>width$} ") });
        }
        text.push_str("|\n");
        if index == 0 {
            for (column, width) in widths.iter().enumerate() {
                let dashes = "-".repeat(width + 1);
                text.push_str(&if column < left { format!("|{dashes}-") } else { format!("|{dashes}:") });
            }
            text.push_str("|\n");
        }
    }
    text
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("BENCHMARKS.md")
}

fn failed(error: &io::Error) -> String {
    format!("{}: {error}", path().display())
}
