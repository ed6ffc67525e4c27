//! `rmux -test`: what a configuration leads to on this host, now. Each certificate with its expiry, and each name of a
//! server or a sentinel with its addresses.
//!
//! Names are looked up as rmux itself does it, all at once, and within [`PATIENCE`]; nothing is connected to. A name
//! that is not found is a warning and no mistake: a host in which the configuration is checked may have another DNS
//! than the one in which it is used.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, Waker};

use crate::config::{self, Config, PoolConfig};
use crate::net::Address;
use crate::resolve::{Resolver, literal};

/// How long all names together may take.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// One line for each certificate and name.
    pub lines: Vec<String>,
    /// One line for each name that leads nowhere.
    pub warnings: Vec<String>,
}

/// What became of a name: its addresses without ports, or why there are none.
type Outcome = Result<Vec<String>, String>;

/// Looks at the certificates, and looks up the names. Blocks for as long as that takes.
pub fn check(config: &Config) -> Findings {
    let mut hosts: BTreeMap<&str, Outcome> = BTreeMap::new();
    for (_, address) in config.pools.iter().flat_map(names) {
        if let Some(host) = name_of(address) {
            hosts.insert(host, Err(format!("no answer within {} ms", PATIENCE.as_millis())));
        }
    }
    if let Err(error) = look_up(&mut hosts) {
        hosts.values_mut().for_each(|outcome| *outcome = Err(error.to_string()));
    }
    let mut findings = Findings::default();
    for (index, pool) in config.pools.iter().enumerate() {
        let place = config::label(index + 1, pool);
        findings.lines.extend(config::certificates(pool).into_iter().map(|line| format!("{place}: {line}")));
        for (kind, address) in names(pool) {
            match name_of(address).and_then(|host| hosts.get(host)) {
                Some(Ok(found)) => findings.lines.push(format!("{place}: {kind} {address}: {}", found.join(", "))),
                Some(Err(reason)) => {
                    findings.warnings.push(format!("{place}: {kind} {address}: its name is not found: {reason}"));
                }
                None => {}
            }
        }
    }
    findings
}

/// All that a pool asks others to find, and what each of them is.
fn names(pool: &PoolConfig) -> impl Iterator<Item = (&'static str, &Address)> {
    let servers = pool.servers.iter().flat_map(|server| {
        let replicas = server.replicas().iter().map(|replica| ("replica", replica));
        server.address().map(|address| ("server", address)).into_iter().chain(replicas)
    });
    servers.chain(pool.sentinels.iter().map(|sentinel| ("sentinel", sentinel)))
}

/// The name that has to be looked up, if there is one.
fn name_of(address: &Address) -> Option<&str> {
    match address {
        Address::Tcp { host, port } if literal(host, *port).is_none() => Some(host),
        _ => None,
    }
}

/// Looks all of them up. Those that take too long stay as they are.
fn look_up(hosts: &mut BTreeMap<&str, Outcome>) -> io::Result<()> {
    if hosts.is_empty() {
        return Ok(());
    }
    let mut poll = Poll::new()?;
    let mut resolver = Resolver::new(Arc::new(Waker::new(poll.registry(), Token(0))?));
    // The port makes no difference.
    hosts.keys().zip(0..).for_each(|(host, key)| resolver.resolve(key, host, 0));
    let deadline = Instant::now() + PATIENCE;
    let mut events = Events::with_capacity(1);
    let mut left = hosts.len();
    while left > 0 && Instant::now() < deadline {
        match poll.poll(&mut events, Some(deadline.saturating_duration_since(Instant::now()))) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        while let Some((key, outcome)) = resolver.poll() {
            if let Some(place) = hosts.values_mut().nth(key as usize) {
                *place = outcome.map(|addresses| shown(&addresses)).map_err(|error| error.to_string());
            }
            left -= 1;
        }
    }
    Ok(())
}

/// Each once, in an order that does not change with each answer.
fn shown(addresses: &[SocketAddr]) -> Vec<String> {
    let mut shown: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
    shown.sort();
    shown.dedup();
    shown
}
