//! What the replies and messages of a sentinel mean.
//!
//! Each was framed before. What is not of the form that is expected means nothing, and never more than that: whoever
//! poses as a sentinel can say where a master is, and nothing else.

use crate::link::HostPort;
use crate::resp::elements::{self, Elements};

/// A server that follows a master, as a sentinel sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Where it is.
    pub place: HostPort,
    /// Whether it follows its master at this moment, and the sentinel reaches it.
    pub is_linked: bool,
    /// How far it has come, in bytes of its master's stream.
    pub offset: u64,
}

/// The answer to `SENTINEL get-master-addr-by-name`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Located {
    /// It is there.
    At(HostPort),
    /// This sentinel knows no master by that name.
    Unknown,
    /// This is no answer to that.
    Nonsense,
}

/// Where a master is.
pub(super) fn located(reply: &[u8]) -> Located {
    if matches!(reply, b"*-1\r\n" | b"$-1\r\n" | b"_\r\n") {
        return Located::Unknown;
    }
    let Some(mut elements) = Elements::of(reply) else { return Located::Nonsense };
    let place = match (elements.next(), elements.next(), elements.next()) {
        (Some(host), Some(port), None) => host_port(elements::bulk(host), elements::bulk(port)),
        _ => None,
    };
    place.map_or(Located::Nonsense, Located::At)
}

/// What a message on the subscription says of a switch: of which master, and where it is from now on.
pub(super) fn switched(push: &[u8]) -> Option<(&str, HostPort)> {
    let mut elements = Elements::of(push)?;
    let mut next = || elements::bulk(elements.next()?);
    if next()? != b"message" || next()? != SWITCHES {
        return None;
    }
    let mut words = std::str::from_utf8(next()?).ok()?.split(' ');
    let name = words.next()?;
    // Where it was, and where it is.
    let (host, port) = (words.nth(2)?, words.next()?);
    Some((name, host_port(Some(host.as_bytes()), Some(port.as_bytes()))?))
}

/// Whether a message is one at all, and no answer to what was asked on the same connection.
pub(super) fn is_message(push: &[u8]) -> bool {
    Elements::of(push).and_then(|mut elements| elements::bulk(elements.next()?)) == Some(b"message")
}

/// The other sentinels that one knows, with their own names; without those that it does not reach.
pub(super) fn sentinels(reply: &[u8]) -> Vec<(HostPort, Option<String>)> {
    let sentinel = |fields: Fields<'_>| {
        let own_id = fields.text("runid").filter(|id| !id.is_empty()).map(str::to_owned);
        (!fields.has_flag(&["s_down", "disconnected"])).then(|| Some((fields.place()?, own_id)))?
    };
    records(reply, sentinel)
}

/// The replicas of a master.
pub(super) fn replicas(reply: &[u8]) -> Vec<Replica> {
    let replica = |fields: Fields<'_>| {
        let is_reached = !fields.has_flag(&["s_down", "o_down", "disconnected"]);
        Some(Replica {
            place: fields.place()?,
            is_linked: is_reached && fields.text("master-link-status") == Some("ok"),
            offset: fields.text("slave-repl-offset").and_then(|text| text.parse().ok()).unwrap_or(0),
        })
    };
    records(reply, replica)
}

/// A sentinel's own name, as others know it.
pub(super) fn own_id(reply: &[u8]) -> Option<String> {
    elements::text(reply).filter(|id| !id.is_empty() && id.len() <= 64).map(str::to_owned)
}

/// Whether `INFO sentinel` says that its clock has jumped, and its word is worth nothing for a while.
pub(super) fn is_tilted(reply: &[u8]) -> bool {
    elements::text(reply).is_some_and(|text| text.lines().any(|line| line.trim_end() == "sentinel_tilt:1"))
}

/// The records of a list, as far as they can be read; not more than any pool has.
fn records<T>(reply: &[u8], read: impl Fn(Fields<'_>) -> Option<T>) -> Vec<T> {
    let Some(elements) = Elements::of(reply) else { return Vec::new() };
    elements.filter_map(|record| read(Fields(Elements::of(record)?))).take(RECORDS_MAX).collect()
}

/// A record: names and values in turn.
#[derive(Clone, Copy)]
struct Fields<'a>(Elements<'a>);

impl<'a> Fields<'a> {
    fn text(self, name: &str) -> Option<&'a str> {
        let mut rest = self.0;
        while let (Some(key), Some(value)) = (rest.next(), rest.next()) {
            if elements::bulk(key) == Some(name.as_bytes()) {
                return elements::text(value);
            }
        }
        None
    }

    fn place(self) -> Option<HostPort> {
        host_port(self.text("ip").map(str::as_bytes), self.text("port").map(str::as_bytes))
    }

    fn has_flag(self, flags: &[&str]) -> bool {
        self.text("flags").unwrap_or_default().split(',').any(|flag| flags.contains(&flag))
    }
}

/// A host and a port, both as text.
fn host_port(host: Option<&[u8]>, port: Option<&[u8]>) -> Option<HostPort> {
    HostPort::of(host?, std::str::from_utf8(port?).ok()?.parse().ok()?)
}

/// The channel of switches.
pub(super) const SWITCHES: &[u8] = b"+switch-master";

/// More sentinels of one master, or replicas, are not looked at.
pub(super) const RECORDS_MAX: usize = 32;
