//! Which key lives on which server, as the original Go rmux had it.
//!
//! Reads the table `tests/ring_golden.tsv`, whose rows were checked against the original; computes nothing itself, so
//! that it cannot be wrong in the same way as rmux.

use std::fs;
use std::path::Path;

/// One row: with so many servers, and this one down, the key lives there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub servers: usize,
    pub down: Option<usize>,
    pub key: Vec<u8>,
    pub server: usize,
}

/// All rows.
pub fn rows() -> Vec<Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ring_golden.tsv");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(row).collect()
}

/// Keys that live on `server` of `servers` while all are up. Never the empty key.
///
/// # Panics
///
/// When the table has none.
pub fn keys_of(server: usize, servers: usize) -> Vec<Vec<u8>> {
    let keys: Vec<_> = rows()
        .into_iter()
        .filter(|row| row.servers == servers && row.down.is_none() && row.server == server)
        .filter(|row| !row.key.is_empty())
        .map(|row| row.key)
        .collect();
    assert!(!keys.is_empty(), "the table has no key for server {server} of {servers}");
    keys
}

/// One key for each of `servers`.
pub fn key_for_each(servers: usize) -> Vec<Vec<u8>> {
    (0..servers).map(|server| keys_of(server, servers).swap_remove(0)).collect()
}

fn row(line: &str) -> Row {
    let fields: Vec<&str> = line.split('\t').collect();
    let [servers, down, key, server] = fields[..] else {
        panic!("a row has four fields: {line:?}");
    };
    Row {
        servers: servers.parse().expect("a number of servers"),
        down: down.parse().ok(),
        key: if key == "-" { Vec::new() } else { from_hex(key) },
        server: server.parse().expect("a server's index"),
    }
}

fn from_hex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16).expect("a hexadecimal digit") as u8;
    text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}
