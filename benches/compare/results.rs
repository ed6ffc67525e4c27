//! The files that a comparison leaves beside BENCHMARKS.md: plots, and the raw rows that everything was made from.
//!
//! Knows where they stand, and no figure. Rows and plots of scenes that did not run stay as they are.

use std::fs;
use std::path::{Path, PathBuf};

/// Writes a plot of this name.
pub fn write_plot(name: &str, svg: &str) -> Result<(), String> {
    let folder = benches().join("plots");
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
    benches().join("results.csv")
}

/// The folder of the benchmarks' sources, in the tree that this was built from.
fn benches() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches")
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
