//! What rmux is asked to do, checked and typed.
//!
//! ```text
//!            flags (texts, from cli)
//!              │        └─ -config=FILE ──► json ──► a list of pools
//!              ▼                                       │
//!            key: one table of names, kinds, ranges, fields
//!              ▼                                       ▼
//!            draft: one pool, its defaults, what is missing
//!              └──────────────► Config ◄───────────────┘
//! ```
//!
//! Whoever holds a [`Config`] need not check it again: there is at least one pool; each listens on an address of its
//! own and has at least one server, not itself; every number is in its range. What text cannot tell (does the host
//! exist, may the socket be made, is the file limit high enough) is found out by those who try.
//!
//! With `-config`, the file says all about the pools, as in the original: flags about pools are checked, then ignored,
//! with a warning. A value of `null` in the file is as if the key were not there. The original's keys that have no
//! meaning here are accepted, with a warning.
//!
//! [`diff`](fn@diff) says what of a running configuration another one changes, [`Placements`] which server has a key.
//!
//! [`load`] reads the file, and the files and variables with passwords; it prints nothing and logs nothing, and no
//! error repeats a password.

mod address;
mod announce;
mod cluster;
mod diff;
mod draft;
mod entry;
mod error;
mod json;
mod key;
mod password;
mod placement;
mod pool;
mod server;
mod spelling;
mod spread;
mod tls;
mod written;
mod zone;

use std::path::PathBuf;

use crate::net::Address;

use draft::{Draft, Fault, Missing};
use error::{Place, Problem};

pub use crate::limits::{Limits, Timeouts};
pub(crate) use address::{collide, identity, is_same_place};
pub use diff::{Change, PoolChange, diff, without_restart};
pub use draft::Process;
pub use error::Error;
pub(crate) use json::Json;
pub use key::{Group, KEYS, Key, Scope};
pub use placement::Placements;
pub use pool::{Config, PoolConfig};
pub use server::{REPLICAS_MAX, ServerConfig};
pub(crate) use spelling::nearest;
pub(crate) use tls::{certificates, lasting};

/// A configuration, and what its author should know about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// What to do.
    pub config: Config,
    /// Whether a file says what to do (`-config`), or flags alone.
    pub has_file: bool,
    /// Whether that is only to be checked (`-test`).
    pub test: bool,
    /// What is in use elsewhere, to be compared with that (`-against`).
    pub against: Option<Config>,
    /// Whether another rmux is to be asked if it answers there (`-healthcheck`).
    pub healthcheck: bool,
    /// Whether it is to be shown how that one does (`-top`); then it has an admin endpoint.
    pub top: bool,
    /// One line each: what was accepted and does not do what it seems to.
    pub warnings: Vec<String>,
}

/// Makes a configuration of the flags that were given (each at most once, with its text) and of the file that they
/// name.
///
/// # Errors
///
/// The first thing that is wrong: one line that names file, pool, key and value, and says what is allowed.
pub fn load(flags: &[(&'static Key, String)]) -> Result<Loaded, Error> {
    let mut draft = Draft::default();
    let here = Place::default();
    for key in KEYS {
        let Some((_, text)) = flags.iter().find(|(given, _)| given.name == key.name) else {
            continue;
        };
        let stored = key.read_text(text).and_then(|value| key.store(value, &mut draft));
        stored.map_err(|problem| Error::new(here.at(key.name), problem))?;
    }
    let process = draft.process.clone();
    let mut warnings = Warnings::default();
    flags.iter().filter(|(key, _)| key.is_retired()).for_each(|(key, _)| warnings.add_retired("-", key));

    let file = process.config.as_deref().filter(|file| !file.is_empty());
    let has_file = file.is_some();
    let pools = match file {
        Some(file) => {
            warnings.add_ignored(flags);
            pools_of_file(file, &mut warnings)?
        }
        None => vec![finish(draft, Missing::Default, &here)?],
    };
    for (index, pool) in pools.iter().enumerate() {
        warnings.add_twice(index + 1, pool);
        warnings.add_expiring(index + 1, pool);
    }
    // An empty text counts as not given, as with the addresses.
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let (user, group) = (given(process.user), given(process.group));
    if group.is_some() && user.is_none() {
        return Err(Error::new(here.at("group"), Problem::Needs { key: "user" }));
    }
    let pid_file = given(process.pid_file).map(PathBuf::from);
    let (debug, use_syslog, drain_ms) = (process.debug, process.use_syslog, process.drain_ms as u64);
    let admin = admin(given(process.admin), &pools, &here, &mut warnings)?;
    let graphite = given(process.graphite).map(|text| match address::tcp_server(&text) {
        Ok(address) => Ok(address),
        Err(reason) => Err(Error::new(here.at("graphite"), draft::bad_address(&text, reason))),
    });
    let (graphite, timing) = (graphite.transpose()?, process.timing);
    let config = Config { pools, debug, use_syslog, pid_file, drain_ms, admin, graphite, timing, user, group };
    let against = match given(process.against) {
        Some(_) if !process.test => return Err(Error::new(here.at("against"), Problem::Needs { key: "test" })),
        // What its author should know was said when it was tested itself.
        Some(file) => Some(Config { pools: pools_of_file(&file, &mut Warnings::default())?, ..config.clone() }),
        None => None,
    };
    if process.top && config.admin.is_none() {
        return Err(Error::new(here.at("top"), Problem::Needs { key: "admin" }));
    }
    let (test, healthcheck, top) = (process.test, process.healthcheck, process.top);
    Ok(Loaded { config, has_file, test, against, healthcheck, top, warnings: warnings.lines })
}

/// Where figures are shown, which is no pool's place.
fn admin(
    text: Option<String>,
    pools: &[PoolConfig],
    here: &Place,
    warnings: &mut Warnings,
) -> Result<Option<Address>, Error> {
    let Some(text) = text else { return Ok(None) };
    let refuse = |problem| Error::new(here.at("admin"), problem);
    let place = address::admin_place(&text).map_err(|reason| refuse(draft::bad_address(&text, reason)))?;
    if let Some(by) = pools.iter().position(|pool| address::collide(&pool.listen, &place)) {
        let [address, taken] = [&place, &pools[by].listen].map(ToString::to_string);
        return Err(refuse(Problem::AddressTaken { address, by: by + 1, taken }));
    }
    if address::is_open(&place) {
        warnings.lines.push(format!(
            "-admin: {place} may be reached from other machines: who reaches it sees figures, and addresses of servers"
        ));
    }
    Ok(Some(place))
}

fn pools_of_file(file: &str, warnings: &mut Warnings) -> Result<Vec<PoolConfig>, Error> {
    let place = Place { file: Some(file.to_owned()), ..Place::default() };
    let refuse = |problem| Error::new(place.clone(), problem);
    let elements = match Json::read(file).map_err(refuse)? {
        Json::List(elements) if elements.is_empty() => return Err(refuse(Problem::NoPools)),
        Json::List(elements) => elements,
        other => {
            return Err(refuse(Problem::NotPools { found: other.to_string() }));
        }
    };
    let mut pools: Vec<PoolConfig> = Vec::with_capacity(elements.len());
    for (index, element) in elements.iter().enumerate() {
        let mut place = Place { pool: Some((index + 1, None)), ..place.clone() };
        let Json::Object(pairs) = element else {
            return Err(Error::new(place, Problem::PoolNotObject { found: element.to_string() }));
        };
        place.pool = Some((index + 1, listen_label(pairs)));
        let pool = finish(draft_of_object(pairs, &place, warnings)?, Missing::Refused, &place)?;

        if let Some(by) = pools.iter().position(|other| address::collide(&other.listen, &pool.listen)) {
            let key = if matches!(pool.listen, Address::Unix(_)) { "socket" } else { "port" };
            let [address, taken] = [&pool.listen, &pools[by].listen].map(ToString::to_string);
            return Err(Error::new(place.at(key), Problem::AddressTaken { address, by: by + 1, taken }));
        }
        pools.push(pool);
    }
    Ok(pools)
}

fn draft_of_object(pairs: &[(String, Json)], place: &Place, warnings: &mut Warnings) -> Result<Draft, Error> {
    for (index, (name, value)) in pairs.iter().enumerate() {
        let problem = match key::find(name) {
            None => {
                let names = KEYS.iter().filter(|key| key.scope != Scope::Program).map(|key| key.name);
                let likely = nearest(name, names);
                Problem::UnknownKey { value: shown(name, likely, value), likely }
            }
            Some(key) if key.scope == Scope::Program => Problem::FlagOnly,
            Some(_) if pairs[..index].iter().any(|(earlier, _)| earlier == name) => {
                Problem::GivenTwice { value: shown(name, None, value) }
            }
            Some(_) => continue,
        };
        return Err(Error::new(place.at(name), problem));
    }
    let mut draft = Draft::default();
    for key in KEYS {
        let value = match pairs.iter().find(|(name, _)| name == key.name) {
            None | Some((_, Json::Null)) => continue,
            Some((_, value)) => value,
        };
        let stored = key.read_json(value).and_then(|value| key.store(value, &mut draft));
        stored.map_err(|problem| Error::new(place.at(key.name), problem))?;
        if key.is_retired() {
            warnings.add_retired("", key);
        }
    }
    Ok(draft)
}

/// The value of a key, as an error shows it: what may be a password stays unseen, also under a name that is misspelt.
fn shown(name: &str, likely: Option<&str>, value: &Json) -> String {
    let is_secret = |name: &str| key::find(name).is_some_and(Key::is_secret);
    let lower = name.to_ascii_lowercase();
    let seems_secret = ["pass", "pwd", "secret", "auth", "token", "user"].iter().any(|part| lower.contains(part));
    if seems_secret || is_secret(name) || likely.is_some_and(is_secret) { "***".to_owned() } else { value.to_string() }
}

/// Where a pool of the file seems to listen, before anything of it is known to be right.
fn listen_label(pairs: &[(String, Json)]) -> Option<String> {
    let mut draft = Draft::default();
    for (name, value) in pairs {
        let key = key::find(name).filter(|key| matches!(key.name, "socket" | "host" | "port"));
        // What is wrong with it is said when its turn comes.
        let _ = key.map(|key| key.read_json(value).and_then(|value| key.store(value, &mut draft)));
    }
    draft.listen_label()
}

fn finish(mut draft: Draft, missing: Missing, place: &Place) -> Result<PoolConfig, Error> {
    cluster::check(&mut draft)
        .and_then(|()| draft.into_pool(missing))
        .map_err(|(key, problem): Fault| Error::new(key.map_or_else(|| place.clone(), |key| place.at(key)), problem))
}

/// What a pool is called in a line about it; `number` counts from 1.
pub(crate) fn label(number: usize, pool: &PoolConfig) -> String {
    format!("pool {number} ({})", error::Plain(&pool.listen.to_string()))
}

/// Warnings in the order found; each retired key is mentioned once.
#[derive(Default)]
struct Warnings {
    lines: Vec<String>,
    retired: Vec<&'static str>,
}

impl Warnings {
    fn add_retired(&mut self, dash: &str, key: &Key) {
        if !self.retired.contains(&key.name) {
            self.retired.push(key.name);
            self.lines.push(format!("{dash}{} has no effect: {}", key.name, key.help));
        }
    }

    fn add_ignored(&mut self, flags: &[(&'static Key, String)]) {
        let is_ignored = |key: &Key| key.scope == Scope::Pool && !key.is_retired();
        let names: Vec<String> =
            flags.iter().filter(|(key, _)| is_ignored(key)).map(|(key, _)| format!("-{}", key.name)).collect();
        if !names.is_empty() {
            self.lines.push(format!("-config is given, so these flags are ignored: {}", names.join(" ")));
        }
    }

    fn add_expiring(&mut self, index: usize, pool: &PoolConfig) {
        let place = label(index, pool);
        self.lines.extend(tls::expiries(pool).filter_map(tls::concern).map(|concern| format!("{place}: {concern}")));
    }

    fn add_twice(&mut self, index: usize, pool: &PoolConfig) {
        for (position, server) in pool.servers.iter().enumerate() {
            let earlier = pool.servers[..position].iter().filter(|other| other.is_same(server)).count();
            if earlier == 1 {
                self.lines.push(format!(
                    "{}: server {} is given more than once: each time, it gets a share of the keys",
                    label(index, pool),
                    error::Plain(&server.to_string())
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests;
