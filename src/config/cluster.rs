//! The keys that a pool with `cluster` refuses.
//!
//! Each is an error and not ignored: who writes it expects an effect that the cluster rules out.

use super::draft::{Draft, Fault};
use super::entry::Place;
use super::error::{Problem, Quoted};
use super::key::KEYS;

/// Without meaning here: the cluster itself places keys and replaces failed nodes.
const UNFIT: &[&str] = &["unixConnections", "sentinels", "failover", "distribution", "hash", "hashTag"];

/// Checks a pool, if it has `cluster`.
///
/// # Errors
///
/// The first key that conflicts with it.
pub(crate) fn check(draft: &mut Draft) -> Result<(), Fault> {
    if !draft.cluster {
        return Ok(());
    }
    let given = draft.given.clone();
    for key in KEYS.iter().filter(|key| UNFIT.contains(&key.name) && given.contains(&key.name)) {
        let text = key.text_in(draft);
        // The value that holds in any case.
        if !matches!((key.name, text.as_str()), (_, "") | ("failover", "false")) {
            return Err((Some(key.name), Problem::NotWith { key: "cluster" }));
        }
    }
    let mut seen: Vec<&str> = Vec::new();
    for (index, place) in draft.tcp_connections.iter().flatten().enumerate() {
        let entry = |key: &str, reason: String| {
            let problem = Problem::Entry { number: index + 1, key: Some(key.to_owned()), reason };
            (Some("tcpConnections"), problem)
        };
        let address = match place {
            Place::Address(address) => address,
            Place::Master { master, replicas, name, weight } => {
                let given = [
                    ("master", !master.contains(':')),
                    ("replicas", !replicas.is_empty()),
                    ("name", name.is_some()),
                    ("weight", weight.is_some()),
                ];
                if let Some((key, _)) = given.iter().find(|(_, is_given)| *is_given) {
                    return Err(entry(key, Problem::NotWith { key: "cluster" }.to_string()));
                }
                master
            }
        };
        if seen.contains(&address.as_str()) {
            let value = Quoted(address).to_string();
            return Err((Some("tcpConnections"), Problem::BadAddress { value, reason: "is there twice" }));
        }
        seen.push(address);
    }
    Ok(())
}
