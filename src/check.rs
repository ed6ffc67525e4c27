//! `rmux -test`: what a configuration leads to on this host, now. Each certificate with its expiry, and each name of a
//! server or a sentinel with its addresses.
//!
//! Names are looked up as rmux itself does it, all at once, and within [`PATIENCE`]; nothing is connected to. A name
//! that is not found is a warning and no mistake: a host in which the configuration is checked may have another DNS
//! than the one in which it is used.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token, Waker};

use crate::config::{self, Config};
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

/// A line, or the beginning of one about a name.
struct Fact<'a> {
    text: String,
    host: Option<&'a str>,
    /// Its addresses without ports, or why there are none.
    outcome: Result<String, String>,
}

/// Looks at the certificates, and looks up the names. Blocks for as long as that takes.
pub fn check(config: &Config) -> Findings {
    let mut facts = facts(config);
    let failure = look_up(&mut facts).err().map(|error| error.to_string());
    let mut findings = Findings::default();
    for Fact { mut text, host, outcome } in facts {
        match (host, &failure, outcome) {
            (None, ..) => findings.lines.push(text),
            (Some(_), None, Ok(addresses)) => {
                text.push_str(&addresses);
                findings.lines.push(text);
            }
            (Some(_), failure, outcome) => {
                text.push_str("its name is not found: ");
                text.push_str(failure.as_ref().or(outcome.as_ref().err()).map_or("", String::as_str));
                findings.warnings.push(text);
            }
        }
    }
    findings
}

/// What there is to say of all pools, as far as nothing was looked up.
fn facts(config: &Config) -> Vec<Fact<'_>> {
    let mut facts = Vec::new();
    for (index, pool) in config.pools.iter().enumerate() {
        let place = config::label(index + 1, pool);
        for line in config::certificates(pool) {
            facts.push(Fact { text: [&place, ": ", &line].concat(), host: None, outcome: Err(String::new()) });
        }
        let mut addresses: Vec<(&str, &Address)> = Vec::new();
        for server in &pool.servers {
            addresses.extend(server.address().map(|address| ("server", address)));
            addresses.extend(server.replicas().iter().map(|replica| ("replica", replica)));
        }
        addresses.extend(pool.sentinels.iter().map(|sentinel| ("sentinel", sentinel)));
        for (kind, address) in addresses {
            let Address::Tcp { host, port } = address else { continue };
            if literal(host, *port).is_none() {
                let text = [&place, ": ", kind, " ", &address.to_string(), ": "].concat();
                let late = ["no answer within ", &PATIENCE.as_millis().to_string(), " ms"].concat();
                facts.push(Fact { text, host: Some(host), outcome: Err(late) });
            }
        }
    }
    facts
}

/// Looks the names up. Those that take too long stay as they are.
fn look_up(facts: &mut [Fact<'_>]) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut resolver = Resolver::new(Arc::new(Waker::new(poll.registry(), Token(0))?));
    let mut left = 0;
    for (key, fact) in facts.iter().enumerate() {
        if let Some(host) = fact.host {
            // The port makes no difference.
            resolver.resolve(key as u32, host, 0);
            left += 1;
        }
    }
    let deadline = Instant::now() + PATIENCE;
    let mut events = Events::with_capacity(1);
    while left > 0 && Instant::now() < deadline {
        match poll.poll(&mut events, Some(deadline.saturating_duration_since(Instant::now()))) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        while let Some((key, outcome)) = resolver.poll() {
            facts[key as usize].outcome = match outcome {
                Ok(addresses) => Ok(shown(&addresses)),
                Err(error) => Err(error.to_string()),
            };
            left -= 1;
        }
    }
    Ok(())
}

/// Each once, in an order that does not change with each answer.
fn shown(addresses: &[SocketAddr]) -> String {
    let mut shown: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
    shown.sort();
    shown.dedup();
    shown.join(", ")
}
