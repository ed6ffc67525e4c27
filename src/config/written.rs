//! A pool's settings written back into a draft, so that the key table can show them by their names in the file.
//!
//! The reverse of `Draft::into_pool`, as far as values go: what they were made of is gone. A list of commands comes
//! back in the order of the command table, and without what says nothing new; an allowed container as its allowed
//! parts. Nothing is said of where the pool listens, its servers and its users: those are no values of one key.

use crate::command::{self, Command, Declared, Policy};
use crate::ring::{Distribution, HashTag, KeyHash};
use crate::users::Credentials;

use super::draft::Draft;
use super::password::Source;
use super::pool::PoolConfig;
use super::spread::name_of;
use super::tls::TlsDraft;

/// The draft.
pub(crate) fn draft_of(pool: &PoolConfig) -> Draft {
    let tag = |tag: HashTag| [tag.open, tag.close].map(char::from).iter().collect();
    let user = |of: &Option<Credentials>| of.as_ref().and_then(|of| of.user.as_deref()).map(str::to_owned);
    let password =
        |of: &Option<Credentials>| Source { text: of.as_ref().map(|of| of.password.clone()), ..Source::default() };
    let mut module_commands: Vec<Declared> = Vec::new();
    for mut declared in pool.module_commands.iter().cloned() {
        declared.name.make_ascii_lowercase();
        let place = module_commands.partition_point(|other| other.name <= declared.name);
        module_commands.insert(place, declared);
    }
    Draft {
        socket_mode: pool.socket_mode,
        reactors: pool.reactors,
        pool_size: pool.pool_size,
        lease_max: pool.lease_max,
        failover: pool.failover,
        cluster: pool.cluster,
        cluster_announce: pool.cluster_announce.as_ref().map(ToString::to_string),
        multi_key: pool.multi_key,
        strict_replies: pool.strict_replies,
        distribution: Some(name_of(&Distribution::NAMES, &pool.spread.distribution).to_owned()),
        hash: Some(name_of(&KeyHash::NAMES, &pool.spread.hash).to_owned()),
        hash_tag: pool.spread.tag.map(tag),
        timeouts: pool.timeouts,
        limits: pool.limits,
        sentinels: Some(pool.sentinels.iter().map(ToString::to_string).collect()),
        read_from: Some(pool.read_from.name().to_owned()),
        availability_zone: pool.availability_zone.clone(),
        remote_user: user(&pool.credentials),
        remote_password: Source {
            file: pool.remote_password_file.as_deref().map(|path| path.to_string_lossy().into_owned()),
            ..password(&pool.credentials)
        },
        sentinel_user: user(&pool.sentinel_credentials),
        sentinel_password: password(&pool.sentinel_credentials),
        tls: TlsDraft::of(pool),
        allow_commands: Some(names_for(|row, word| pool.policy.is_allowed(row, word))),
        deny_commands: Some(names_for(|row, word| is_denied(&pool.policy, row, word))),
        module_commands: Some(module_commands),
        ..Draft::default()
    }
}

fn is_denied(policy: &Policy, row: &Command, word: Option<&[u8]>) -> bool {
    policy.is_denying() && policy.is_denied(row, word)
}

/// The names that this is said of: of a row as a whole, or else of its parts.
fn names_for(is_said_of: impl Fn(&Command, Option<&[u8]>) -> bool) -> Vec<String> {
    command::names()
        .filter(|name| {
            let (container, word) = name.split_once('|').map_or((&**name, None), |(row, word)| (row, Some(word)));
            let row = command::find(container.as_bytes()).expect("a name of the table");
            let is_said_of_all = is_said_of(row, None);
            is_said_of_all == word.is_none() && is_said_of(row, word.map(str::as_bytes))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allowed: &[&str], denied: &[&str]) -> (Vec<String>, Vec<String>) {
        let mut policy = Policy::default();
        allowed.iter().for_each(|name| policy.allow(name, 1).expect(name));
        denied.iter().for_each(|name| policy.deny(name).expect(name));
        (names_for(|row, word| policy.is_allowed(row, word)), names_for(|row, word| is_denied(&policy, row, word)))
    }

    #[test]
    fn a_list_of_commands_comes_back_as_what_it_means() {
        assert_eq!(policy(&[], &[]), (vec![], vec![]));
        assert_eq!(policy(&["SAVE"], &["GET", "set", "get"]).0, ["save"]);
        assert_eq!(policy(&[], &["GET", "set", "get"]).1, policy(&[], &["set", "get"]).1);
        assert_eq!(policy(&[], &["config|set", "CONFIG|GET"]).1, ["config|get", "config|set"]);
        assert_eq!(policy(&[], &["config|set", "config"]).1, ["config"], "all of it is all of it");
        assert_eq!(policy(&[], &["client|list"]).1, ["client|list"], "of a row that the table does not divide");
        assert_eq!(
            policy(&["slowlog|reset"], &["slowlog|get"]),
            (vec!["slowlog|reset".into()], vec!["slowlog|get".into()])
        );
    }
}
