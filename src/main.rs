//! argv → config → logger → reactor; the exit codes.

fn main() {}
