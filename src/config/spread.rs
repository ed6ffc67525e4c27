//! How keys are spread over the servers of a pool, as far as the file says so: `distribution`, `hash`, `hashTag`, and
//! the names and weights of servers.
//!
//! Knows what goes together, and nothing of where the servers are.

use crate::ring::{Distribution, HashTag, KeyHash, Member, Ring, Spread};

use super::entry::Place;
use super::error::{Problem, Quoted};
use super::server::ServerConfig;

/// The values of the three keys; "" is what was not said.
///
/// # Errors
///
/// The first thing that is wrong.
pub(crate) fn spread(distribution: &str, hash: &str, tag: &str) -> Result<Spread, (&'static str, Problem)> {
    let distribution = match distribution {
        "" => Distribution::default(),
        name => named("distribution", &Distribution::NAMES, name)?,
    };
    let hash = match hash {
        "" => distribution.default_hash(),
        name => named("hash", &KeyHash::NAMES, name)?,
    };
    Ok(Spread { distribution, hash, tag: hash_tag(tag)? })
}

fn named<T: Copy>(key: &'static str, names: &[(&str, T)], name: &str) -> Result<T, (&'static str, Problem)> {
    names.iter().find(|(other, _)| *other == name).map(|&(_, value)| value).ok_or_else(|| {
        let all: Vec<&str> = names.iter().map(|&(name, _)| name).collect();
        let wanted = format!("one of {}", all.join(", "));
        (key, Problem::WrongKind { value: Quoted(name).to_string(), wanted })
    })
}

/// The two bytes of a hash tag; nothing is none.
fn hash_tag(text: &str) -> Result<Option<HashTag>, (&'static str, Problem)> {
    match *text.as_bytes() {
        [] => Ok(None),
        [open, close] if text.is_ascii() => Ok(Some(HashTag { open, close })),
        _ => {
            let wanted = "two ASCII characters, the one before and the one behind the tag, like \"{}\"".to_owned();
            Err(("hashTag", Problem::WrongKind { value: Quoted(text).to_string(), wanted }))
        }
    }
}

/// The names of two of the above in the file.
pub(crate) fn name_of<T: PartialEq>(names: &[(&'static str, T)], value: &T) -> &'static str {
    names.iter().find(|(_, other)| other == value).map_or("", |(name, _)| name)
}

/// The servers' names and weights in the ring, in their order; none for a ring that knows neither. The `places` are
/// those of the first servers.
///
/// # Errors
///
/// The first thing that is wrong.
pub(crate) fn members(
    distribution: Distribution,
    places: &[Place],
    servers: &[ServerConfig],
) -> Result<Vec<Member>, Problem> {
    let mut members: Vec<Member> = Vec::new();
    for (index, server) in servers.iter().enumerate() {
        let number = index + 1;
        let entry = |key: &str, reason: String| Problem::Entry { number, key: Some(key.to_owned()), reason };
        let (name, weight) = match places.get(index) {
            Some(Place::Master { name, weight, .. }) => (name.clone(), *weight),
            _ => (None, None),
        };
        if distribution == Distribution::Rmux {
            let given = [("name", name.is_some()), ("weight", weight.is_some())];
            match given.iter().find(|(_, is_given)| *is_given) {
                Some((key, _)) => return Err(entry(key, "counts only with distribution ketama or modula".to_owned())),
                None => continue,
            }
        }
        let (weight, name) = (weight.unwrap_or(1), name.unwrap_or_else(|| server.to_string()));
        if !(1..=Ring::WEIGHT_MAX).contains(&weight) {
            return Err(entry("weight", format!("{weight} is not from 1 to {}", Ring::WEIGHT_MAX)));
        }
        if !(1..=Ring::NAME_MAX).contains(&name.len()) {
            let reason = format!("{} is not 1 to {} bytes long", Quoted(&name), Ring::NAME_MAX);
            return Err(entry("name", reason));
        }
        if members.iter().any(|other| other.name == name) {
            return Err(entry("name", format!("{} is there twice: servers are told apart by it", Quoted(&name))));
        }
        members.push(Member { name, weight });
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread_of(distribution: &str, hash: &str, tag: &str) -> Result<Spread, String> {
        spread(distribution, hash, tag).map_err(|(key, problem)| format!("{key}: {problem}"))
    }

    #[test]
    fn nothing_said_is_the_original_and_twemproxy_s_tables_have_twemproxy_s_hash() {
        assert_eq!(spread_of("", "", ""), Ok(Spread::default()));
        let ketama = spread_of("ketama", "", "<>").expect("good");
        assert_eq!((ketama.distribution, ketama.hash), (Distribution::Ketama, KeyHash::Fnv1aOf64));
        assert_eq!(ketama.tag, Some(HashTag { open: b'<', close: b'>' }));
        assert_eq!(spread_of("modula", "md5", "").expect("good").hash, KeyHash::Md5);
        for (name, hash) in KeyHash::NAMES {
            assert_eq!((spread_of("", name, "").expect(name).hash, name_of(&KeyHash::NAMES, &hash)), (hash, name));
        }
    }

    #[test]
    fn what_is_no_name_is_told_with_those_there_are() {
        let refused = spread_of("random", "", "").expect_err("not there");
        assert_eq!(refused, "distribution: \"random\" is not one of rmux, ketama, modula");
        assert!(
            spread_of("", "sha1", "").expect_err("not there").starts_with("hash: \"sha1\" is not one of times33, ")
        );
    }

    fn place(name: Option<&str>, weight: Option<u32>) -> Place {
        let name = name.map(str::to_owned);
        Place::Master { master: "a:1".to_owned(), replicas: Vec::new(), name, weight }
    }

    fn members_of(distribution: Distribution, places: &[Place]) -> Result<Vec<(String, u32)>, String> {
        let address = |port| crate::net::Address::Tcp { host: "redis".to_owned(), port };
        let servers: Vec<ServerConfig> = (1..=3).map(|port| ServerConfig::at(address(port))).collect();
        let pair = |member: Member| (member.name, member.weight);
        let members = members(distribution, places, &servers).map_err(|problem| problem.to_string())?;
        Ok(members.into_iter().map(pair).collect())
    }

    #[test]
    fn a_server_without_a_name_is_called_by_its_address() {
        let places = [place(Some("one"), Some(7)), Place::Address("redis:2".to_owned())];
        let found = members_of(Distribution::Ketama, &places).expect("good");
        let expected = [("one", 7), ("redis:2", 1), ("redis:3", 1)].map(|(name, weight)| (name.to_owned(), weight));
        assert_eq!(found, expected);
        assert_eq!(members_of(Distribution::Rmux, &[place(None, None)]), Ok(Vec::new()));
    }

    #[test]
    fn names_and_weights_that_cannot_be_are_refused() {
        let long = "x".repeat(79);
        for (places, distribution, reason) in [
            (vec![place(Some("a"), None)], Distribution::Rmux, "name: counts only with distribution ketama or modula"),
            (vec![place(None, Some(2))], Distribution::Rmux, "weight: counts only with distribution ketama or modula"),
            (vec![place(None, Some(0))], Distribution::Modula, "weight: 0 is not from 1 to 1000"),
            (vec![place(Some(&long), None)], Distribution::Ketama, "is not 1 to 78 bytes long"),
            (vec![place(Some(""), None)], Distribution::Ketama, "is not 1 to 78 bytes long"),
            (vec![place(Some("redis:2"), None)], Distribution::Ketama, "\"redis:2\" is there twice"),
        ] {
            let refused = members_of(distribution, &places).expect_err(reason);
            assert!(refused.contains(reason), "{refused}");
        }
    }
}
