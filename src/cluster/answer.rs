//! Parses the replies of a node to CLUSTER SLOTS and CLUSTER INFO.
//!
//! ```text
//!   CLUSTER SLOTS   entry:  first slot, last slot, master, replica, replica …, fields of later versions
//!                   node:   host, port, id (since 4.0), { ip, hostname } (since 7.0), fields of later versions
//!                   host:   a name or an address │ null or empty: the one that was asked │ "?": see ip, hostname
//! ```
//!
//! Lists may be arrays or sets, and the metadata an array of pairs or a map. Each reply was framed before. A node
//! without a usable address is left out, so its slots have no owner; anything else that is malformed makes the whole
//! reply an error: a hostile server can name addresses, and nothing else.

use std::collections::BTreeSet;

use crate::link::HostPort;
use crate::resp::elements::{self, Elements};

use super::slot::SLOTS;
use super::slot_map::{Builder, NODES_MAX, Shard, SlotMap};

/// The parsed reply to CLUSTER SLOTS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Slots and their owners.
    pub map: SlotMap,
    /// The addresses of all nodes, each once.
    pub places: BTreeSet<HostPort>,
    /// Their ids.
    pub ids: BTreeSet<String>,
}

/// A node's own view of the cluster's state. A field that it does not report counts as good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Health {
    /// Whether it reports `cluster_state:fail`: slots or most masters are missing.
    pub is_failing: bool,
    /// `cluster_current_epoch`; 0 if it is not known.
    pub epoch: u64,
}

/// Parses the reply to `CLUSTER SLOTS` of the node at `asked`.
///
/// # Errors
///
/// Why it cannot be used, to be read after the name of the node.
pub(super) fn found(reply: &[u8], asked: &HostPort) -> Result<Found, String> {
    let mut builder = Builder::default();
    let (mut places, mut ids) = (BTreeSet::new(), BTreeSet::new());
    for entry in Elements::of(reply).ok_or(NONSENSE)? {
        let mut elements = Elements::of(entry).ok_or(NONSENSE)?;
        let (first, last) = (slot(elements.next())?, slot(elements.next())?);
        if first > last {
            return Err(NONSENSE.to_owned());
        }
        // An element that is no list is a field of a later version.
        let mut nodes = elements.filter_map(Elements::of).map(|fields| node(fields, asked));
        let Some(master) = nodes.next().transpose()?.flatten() else { continue };
        let replicas = nodes.filter_map(Result::transpose).collect::<Result<Vec<Node>, _>>()?;
        let shard = Shard {
            id: master.id.clone(),
            master: master.place.to_string(),
            replicas: replicas.iter().map(|replica| replica.place.to_string()).collect(),
        };
        let number = builder.shard(shard).ok_or_else(|| format!("its cluster has more than {NODES_MAX} nodes"))?;
        builder.give(first, last, number);
        for node in [master].into_iter().chain(replicas) {
            places.insert(node.place);
            ids.insert(node.id);
        }
    }
    Ok(Found { map: builder.build(), places, ids })
}

/// Parses the reply to `CLUSTER INFO`; of an error, nothing is known.
pub(super) fn health(reply: &[u8]) -> Health {
    let text = elements::text(reply).unwrap_or_default();
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    Health {
        is_failing: field("cluster_state") == Some("fail"),
        epoch: field("cluster_current_epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or(0),
    }
}

struct Node {
    place: HostPort,
    id: String,
}

fn slot(element: Option<&[u8]>) -> Result<u16, String> {
    let number = element.and_then(elements::integer).and_then(|number| u16::try_from(number).ok());
    number.filter(|&slot| usize::from(slot) < SLOTS).ok_or_else(|| NONSENSE.to_owned())
}

/// A node; `None` if it has no usable address.
fn node(mut fields: Elements<'_>, asked: &HostPort) -> Result<Option<Node>, String> {
    let (Some(host), Some(port)) = (fields.next(), fields.next()) else { return Err(NONSENSE.to_owned()) };
    let Some(port) = elements::integer(port) else { return Err(NONSENSE.to_owned()) };
    let id = fields.next().and_then(elements::bulk);
    let place = match elements::bulk(host) {
        Some(b"") => HostPort::of(asked.host.as_bytes(), port),
        None if matches!(host, b"$-1\r\n" | b"_\r\n") => HostPort::of(asked.host.as_bytes(), port),
        None => return Err(NONSENSE.to_owned()),
        Some(b"?") => {
            let metadata = fields.next().and_then(Elements::of);
            let by_name = |name| metadata.and_then(|pairs| HostPort::of(value(pairs, name)?, port));
            by_name(&b"ip"[..]).or_else(|| by_name(b"hostname"))
        }
        Some(host) => HostPort::of(host, port),
    };
    Ok(place.map(|place| {
        let is_id = |id: &&[u8]| (1..=ID_BYTES_MAX).contains(&id.len()) && id.iter().all(u8::is_ascii_alphanumeric);
        let id = id.filter(is_id).map(|id| String::from_utf8_lossy(id).into_owned());
        Node { id: id.unwrap_or_else(|| place.to_string()), place }
    }))
}

fn value<'a>(mut pairs: Elements<'a>, name: &[u8]) -> Option<&'a [u8]> {
    while let (Some(key), Some(value)) = (pairs.next(), pairs.next()) {
        if elements::bulk(key) == Some(name) {
            return elements::bulk(value);
        }
    }
    None
}

const NONSENSE: &str = "its answer is none to CLUSTER SLOTS";

/// Ids have had 40 letters in every version.
const ID_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> HostPort {
        HostPort { host: "seed".to_owned(), port: 7000 }
    }

    fn bulk(text: &str) -> String {
        format!("${}\r\n{text}\r\n", text.len())
    }

    fn list(elements: &[String]) -> String {
        format!("*{}\r\n{}", elements.len(), elements.concat())
    }

    fn int(number: i64) -> String {
        format!(":{number}\r\n")
    }

    fn node(host: &str, port: i64, more: &[String]) -> String {
        list(&[&[host.to_owned(), int(port)], more].concat())
    }

    fn whole(nodes: &[String]) -> String {
        list(&[list(&[&[int(0), int(16_383)], nodes].concat())])
    }

    /// Masters and replicas as they were found.
    fn shown(reply: &str) -> Result<Vec<String>, String> {
        let found = found(reply.as_bytes(), &asked())?;
        let shard = |shard: &Shard| format!("{} {} {}", shard.id, shard.master, shard.replicas.join(" "));
        Ok(found.map.shards().iter().map(shard).collect())
    }

    #[test]
    fn nodes_are_found_in_the_form_of_every_version() {
        let (id, other) = (bulk(&"a".repeat(40)), bulk(&"b".repeat(40)));
        let (a, none) = ("a".repeat(40), list(&[]));
        let ip = list(&[bulk("ip"), bulk("10.0.0.9")]);
        let hostname = list(&[bulk("hostname"), bulk("h.example")]);
        let map = format!("%2\r\n{}{}{}{}", bulk("hostname"), bulk("h"), bulk("ip"), bulk("10.0.0.8"));
        let (host, with_id) = (bulk("10.0.0.1"), [id.clone()]);
        for (reply, expected) in [
            // Before Redis 4.0, since then, since 7.0; and whatever comes later.
            (whole(&[node(&host, 1, &[]), node(&bulk("10.0.0.2"), 2, &[])]), "10.0.0.1:1 10.0.0.1:1 10.0.0.2:2"),
            (whole(&[node(&host, 1, &with_id)]), &format!("{a} 10.0.0.1:1 ")),
            (whole(&[node(&host, 1, &[id.clone(), none.clone()])]), &format!("{a} 10.0.0.1:1 ")),
            (whole(&[node(&host, 1, &[id.clone(), hostname.clone()])]), &format!("{a} 10.0.0.1:1 ")),
            (whole(&[node(&host, 1, &[id.clone(), none.clone(), int(7)]), int(8)]), &format!("{a} 10.0.0.1:1 ")),
            // A host that is nothing is the one that was asked.
            (whole(&[node("$-1\r\n", 1, &[id.clone(), ip.clone()])]), &format!("{a} seed:1 ")),
            (whole(&[node("_\r\n", 1, &[id.clone(), map.clone()])]), &format!("{a} seed:1 ")),
            (whole(&[node(&bulk(""), 1, &[id.clone(), none.clone()])]), &format!("{a} seed:1 ")),
            // One that is not known is told beside.
            (whole(&[node(&bulk("?"), 1, &[id.clone(), ip.clone()])]), &format!("{a} 10.0.0.9:1 ")),
            (whole(&[node(&bulk("?"), 1, &[id.clone(), hostname.clone()])]), &format!("{a} h.example:1 ")),
            (whole(&[node(&bulk("?"), 1, &[id.clone(), map])]), &format!("{a} 10.0.0.8:1 ")),
            (whole(&[node(&bulk("fe80::1"), 1, &[id.clone(), none.clone()])]), &format!("{a} [fe80::1]:1 ")),
            // Replicas that cannot be reached are none.
            (
                whole(&[node(&host, 1, &with_id), node(&bulk("?"), 2, &[other.clone(), none.clone()])]),
                &format!("{a} 10.0.0.1:1 "),
            ),
            // What is no id is as good as none.
            (whole(&[node(&host, 1, &[bulk("a\r\nb")])]), "10.0.0.1:1 10.0.0.1:1 "),
        ] {
            assert_eq!(shown(&reply), Ok(vec![expected.to_owned()]), "{reply:?}");
            assert_eq!(found(reply.as_bytes(), &asked()).map(|found| found.map.covered()), Ok(SLOTS));
        }
        let set = whole(&[node(&host, 1, &with_id)]).replace("*1\r\n", "~1\r\n");
        assert_eq!(shown(&set).map(|shards| shards.len()), Ok(1));
    }

    #[test]
    fn ranges_of_one_master_are_one_shard_and_holes_belong_to_nobody() {
        let entry = |first, last, host: &str, id: &str| {
            list(&[int(first), int(last), node(&bulk(host), 1, &[bulk(id)]), node(&bulk("r"), 1, &[bulk("r")])])
        };
        let hidden = list(&[int(20), int(29), node(&bulk("?"), 1, &[bulk("c")])]);
        let empty = list(&[int(30), int(39)]);
        let reply = list(&[entry(0, 9, "x", "b"), entry(40, 49, "y", "a"), entry(10, 19, "x", "b"), hidden, empty]);
        let found = found(reply.as_bytes(), &asked()).expect("good");
        assert_eq!(found.map.shards().len(), 2);
        let owners = [0, 19, 20, 30, 39, 40, 49, 50].map(|slot| found.map.owner(slot));
        assert_eq!(owners, [Some(1), Some(1), None, None, None, Some(0), Some(0), None]);
        assert_eq!(found.ids.iter().map(String::as_str).collect::<Vec<_>>(), ["a", "b", "r"]);
        assert_eq!(found.places.len(), 3);
        assert_eq!(shown("*0\r\n"), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_answer_is_refused_whole() {
        let good = node(&bulk("h"), 1, &[]);
        for reply in [
            "+OK\r\n".to_owned(),
            "$-1\r\n".to_owned(),
            list(&[int(1)]),
            list(&[list(&[])]),
            list(&[list(&[int(0)])]),
            list(&[list(&[int(-1), int(5), good.clone()])]),
            list(&[list(&[int(6), int(5), good.clone()])]),
            list(&[list(&[int(0), int(16_384), good.clone()])]),
            list(&[list(&[bulk("0"), int(5), good.clone()])]),
            whole(&[list(&[bulk("h")])]),
            whole(&[list(&[int(1), int(1)])]),
            whole(&[node(&bulk("h"), 1, &[]), list(&[bulk("h"), bulk("1")])]),
        ] {
            assert_eq!(shown(&reply), Err(NONSENSE.to_owned()), "{reply:?}");
        }
        // A master that nobody can connect to has no slots, as far as anybody can tell.
        for host in ["a b", "a\r\nb", "/run/x", &"h".repeat(254)] {
            assert_eq!(shown(&whole(&[node(&bulk(host), 1, &[])])), Ok(Vec::new()), "{host:?}");
        }
        for port in [0, -1, 65_536] {
            assert_eq!(shown(&whole(&[node(&bulk("h"), port, &[])])), Ok(Vec::new()), "{port}");
        }
    }

    #[test]
    fn more_nodes_than_there_may_be_are_refused() {
        let nodes: Vec<String> = (0..=NODES_MAX as i64).map(|port| node(&bulk("h"), port + 1, &[])).collect();
        assert_eq!(shown(&whole(&nodes)), Err("its cluster has more than 2048 nodes".to_owned()));
        assert!(shown(&whole(&nodes[1..])).is_ok());
    }

    #[test]
    fn how_a_node_does_is_read_from_lines_and_what_is_not_told_is_well() {
        let text = bulk("cluster_state:fail\r\ncluster_slots_ok:1\r\ncluster_current_epoch:12\r\n");
        assert_eq!(health(text.as_bytes()), Health { is_failing: true, epoch: 12 });
        let text = bulk("cluster_state:ok\r\ncluster_current_epoch:x\r\n");
        for reply in [text.as_str(), "-NOPERM no\r\n", "$-1\r\n", "*0\r\n"] {
            assert_eq!(health(reply.as_bytes()), Health::default(), "{reply:?}");
        }
    }

    /// Whatever comes, it is read or refused, and what is read is in its bounds.
    #[test]
    fn random_bytes_are_read_or_refused() {
        let good = whole(&[node(&bulk("h"), 1, &[bulk("a"), list(&[bulk("ip"), bulk("i")])]), node("_\r\n", 2, &[])]);
        let letters = b"*$:_%~-?0123456789\r\nabh|";
        let seeds: u64 = std::env::var("RMUX_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(2_000);
        for seed in 1..=seeds {
            let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut next = |below: usize| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                (random >> 16) as usize % below
            };
            let mut bytes = good.clone().into_bytes();
            for _ in 0..=next(4) {
                let at = next(bytes.len());
                match next(3) {
                    0 => bytes[at] = letters[next(letters.len())],
                    1 => drop(bytes.remove(at)),
                    _ => bytes.insert(at, letters[next(letters.len())]),
                }
            }
            if let Ok(found) = found(&bytes, &asked()) {
                assert!(found.map.covered() <= SLOTS, "seed {seed}");
                assert!(found.map.shards().len() <= found.places.len(), "seed {seed}");
            }
            health(&bytes);
        }
    }
}
