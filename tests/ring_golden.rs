//! The ring against vectors that the original rmux's own binary was checked against: every row of `ring_golden.tsv`.

use rmux::ring::{Ring, ServerIndex, UpSet};

#[test]
fn every_key_goes_to_the_server_that_the_original_sends_it_to() {
    let mut rows = 0;
    for line in include_str!("ring_golden.tsv").lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split('\t').collect();
        let [servers, down, key, server] = columns[..] else { panic!("not four columns: {line}") };
        let servers: usize = servers.parse().expect(line);
        let mut up = UpSet::new(servers);
        for down in down.split(',').filter(|&down| down != "-") {
            up.set(ServerIndex(down.parse().expect(line)), false);
        }
        let key = bytes_of_hex(key);
        let expected = ServerIndex(server.parse().expect(line));
        let ring = Ring::new(servers);
        assert_eq!(ring.server_of_key(&key, &up), Some(expected), "{line}");
        assert_eq!(ring.server(Ring::hash(&key), &up), Some(expected), "{line}");
        rows += 1;
    }
    assert_eq!(rows, 806, "rows in ring_golden.tsv");
}

fn bytes_of_hex(text: &str) -> Vec<u8> {
    let digits = if text == "-" { "" } else { text };
    assert_eq!(digits.len() % 2, 0, "{text}");
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect(text)).collect()
}
