//! twemproxy's tables against a real nutcracker: every row of `ring_twemproxy.tsv`.
//!
//! ```text
//! key   a key, in hexadecimal digits
//! ring  distribution, hash, servers as name=weight, and for each of the keys the server that was asked, one digit each
//! ```
//!
//! The rows were made with nutcracker 0.5.0 of Debian on amd64, in front of servers that answer each GET with their own
//! number. A server without a name is called by its host and port.

use rmux::ring::{Distribution, KeyHash, Member, Ring};

#[test]
fn every_key_goes_to_the_server_that_twemproxy_sends_it_to() {
    let (mut keys, mut rings) = (Vec::new(), 0);
    for line in include_str!("ring_twemproxy.tsv").lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split('\t').collect();
        match columns[..] {
            ["key", key] => keys.push(bytes_of_hex(key)),
            ["ring", distribution, hash, servers, expected] => {
                let members: Vec<Member> = servers.split(',').map(member).collect();
                let ring = Ring::of(named(&Distribution::NAMES, distribution), &members);
                let hash = named(&KeyHash::NAMES, hash);
                let server = |key: &Vec<u8>| ring.primary(ring.place_of(hash.hash(key))).to_string();
                assert_eq!(keys.iter().map(server).collect::<String>(), expected, "{line}");
                rings += 1;
            }
            _ => panic!("neither a key nor a ring: {line}"),
        }
    }
    assert_eq!((keys.len(), rings), (186, 56), "rows in ring_twemproxy.tsv");
}

fn named<T: Copy>(names: &[(&str, T)], name: &str) -> T {
    names.iter().find(|(other, _)| *other == name).expect(name).1
}

fn member(text: &str) -> Member {
    let (name, weight) = text.split_once('=').expect(text);
    Member { name: name.to_owned(), weight: weight.parse().expect(text) }
}

fn bytes_of_hex(text: &str) -> Vec<u8> {
    assert_eq!(text.len() % 2, 0, "{text}");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect(text)).collect()
}
