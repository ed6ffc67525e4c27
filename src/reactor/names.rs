//! Where the servers are: what is known of the addresses of each, which connection is at which of them, and when a name
//! is looked up again.
//!
//! ```text
//!   the first connect ──────────────────────────────────┐
//!   a connect, when what is known is older than FRESH_MS │
//!   a connection was lost, or the core asks ────────────┼─► due ─► looked up: one lookup at a time for each name, and
//!   `resolveInterval` is over ──────────────────────────┘         none within PAUSE_MS after the last one began
//!        found       from here on these are its addresses; a connection at any other is outdated
//!        not found   what is known goes on being used
//! ```
//!
//! A name may have many addresses, of which each answer holds some others (a balancer's name with a thousand hosts
//! behind it). That is no move, and to renew all connections with each answer would do harm. So an address that has
//! come back after it was missing is taken for one that comes and goes: it is outdated only when the last
//! [`REMEMBERED`] answers were without it. One that goes for the first time is outdated at once.
//!
//! A connection that was made in a way that is none any more (with TLS or without it, with other files) is outdated
//! wherever it is; so are all of a server of which the core knows that another one has taken its place.
//!
//! Knows no sockets, and not what becomes of an outdated connection: that is the core's business. An IP address and the
//! path of a Unix socket are no names; there is nothing to look up.
//!
//! Invariants: of a name something is known from the first answer on; a name that is being looked up has no time at
//! which it is due; a connection over TCP stands in `connected` from `on_connected` until it is closed.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use mio::Waker;

use crate::net::{Address, ResolvedAddress};
use crate::resolve::{Resolver, literal};
use crate::server_id::ServerId;
use crate::slots::Id;
use crate::timer::Millis;

/// A connect has the name looked up again, beside it, when what is known is older than this, in milliseconds: shorter
/// than any sensible failover by DNS.
const FRESH_MS: u64 = 5_000;
/// From one lookup of a name until the next, at the least, in milliseconds.
const PAUSE_MS: u64 = 500;
/// In so many answers an address that comes and goes may be missing, before it is gone.
const REMEMBERED: u32 = 8;

/// What is known of the addresses of one server.
enum Target {
    Fixed(ResolvedAddress),
    Name(Name),
}

struct Name {
    host: String,
    port: u16,
    /// Those of the last answer, in its order; empty before the first.
    known: Vec<SocketAddr>,
    /// All that are remembered, those of `known` among them.
    seen: Vec<Seen>,
    /// How many answers there were.
    answers: u32,
    /// Why the last lookup found nothing, if it did.
    failure: Option<String>,
    /// When the last lookup ended.
    ended_at: Millis,
    lookup: Lookup,
    /// True while the answer to a lookup of another name is still to come under the number of this one.
    is_answer_old: bool,
}

/// An address that a name had.
struct Seen {
    address: SocketAddr,
    /// The number of the answer that had it last.
    answer: u32,
    /// True once it has come back after it was missing.
    has_returned: bool,
}

enum Lookup {
    /// Not before the first connect.
    Never,
    Running {
        began_at: Millis,
    },
    Done {
        began_at: Millis,
        due_at: Option<Millis>,
    },
}

/// Where a server is, as far as is known.
pub(super) enum Place {
    /// At these addresses, the first one to be tried last.
    At(Vec<ResolvedAddress>),
    /// That is being found out.
    Sought,
    /// That could not be found out.
    Unknown(String),
}

/// What came of a lookup.
pub(super) enum Outcome {
    /// The addresses; whether they are others than before.
    Found { is_changed: bool },
    /// None; what is known stays. Why.
    Failed(String),
}

/// The addresses of all servers of one reactor.
pub(super) struct Names {
    targets: Vec<(ServerId, Target)>,
    resolver: Resolver,
    /// A name is looked up after so long, in milliseconds; 0: not by time.
    interval_ms: u64,
    /// When the next one is due; asked for in each turn.
    due_at: Option<Millis>,
    connected: Vec<Connected>,
}

/// A connection, and where it is.
struct Connected {
    backend: Id,
    server: ServerId,
    address: SocketAddr,
    /// True once others are made in another way.
    is_stale: bool,
}

impl Names {
    pub fn new(waker: Arc<Waker>) -> Names {
        let resolver = Resolver::new(waker);
        Names { targets: Vec::new(), resolver, interval_ms: 0, due_at: None, connected: Vec::new() }
    }

    /// These are the servers from here on, each with its address, if that is known; a name is looked up after so many
    /// milliseconds. What is known of those that stay is kept, and so is what is still needed of others.
    pub fn set_servers(
        &mut self,
        servers: &[ServerId],
        addresses: &[Option<Address>],
        interval_ms: u64,
        is_needed: impl Fn(ServerId) -> bool,
    ) {
        for (&server, address) in servers.iter().zip(addresses) {
            let is_new = self.targets.iter().all(|entry| entry.0 != server);
            if let Some(address) = address.as_ref().filter(|_| is_new) {
                self.targets.push((server, Target::new(address)));
            }
        }
        self.forget_others(servers, is_needed);
        self.interval_ms = interval_ms;
        for name in self.targets.iter_mut().filter_map(|(_, target)| target.name()) {
            if let Lookup::Done { due_at, .. } = &mut name.lookup {
                *due_at = due_after(name.ended_at, interval_ms);
            }
        }
        self.note_due();
    }

    /// This server is there from here on; what is known of where it was is forgotten.
    pub fn set_place(&mut self, server: ServerId, address: &Address) {
        let mut target = Target::new(address);
        let old = self.targets.iter().position(|entry| entry.0 == server).map(|place| self.targets.swap_remove(place));
        if let (Some((_, Target::Name(old))), Some(name)) = (&old, target.name()) {
            // The answer that is still to come is about another name.
            name.is_answer_old = old.is_answer_old || matches!(old.lookup, Lookup::Running { .. });
        }
        self.connected.retain(|connected| connected.server != server);
        self.targets.push((server, target));
        self.note_due();
    }

    /// Whether it is known where this server is: a name, at least.
    pub fn has(&self, server: ServerId) -> bool {
        self.targets.iter().any(|entry| entry.0 == server)
    }

    /// What a server's certificate must be for; `None` where it is reached over a Unix socket, or not known.
    pub fn host(&self, server: ServerId) -> Option<String> {
        match &self.targets.iter().find(|entry| entry.0 == server)?.1 {
            Target::Name(name) => Some(name.host.clone()),
            Target::Fixed(ResolvedAddress::Tcp(address)) => Some(address.ip().to_string()),
            Target::Fixed(ResolvedAddress::Unix(_)) => None,
        }
    }

    /// Nothing is to be known of others than these, and those that are needed.
    pub fn forget_others(&mut self, servers: &[ServerId], is_needed: impl Fn(ServerId) -> bool) {
        self.targets.retain(|&(server, _)| servers.contains(&server) || is_needed(server));
    }

    /// Where to connect to. A name of which nothing is known, or nothing fresh, is looked up.
    pub fn find(&mut self, server: ServerId, now: Millis) -> Place {
        match self.targets.iter_mut().find(|entry| entry.0 == server).map(|(_, target)| target) {
            None => return Place::Unknown("its address is not known".to_owned()),
            Some(Target::Fixed(address)) => return Place::At(vec![address.clone()]),
            Some(Target::Name(name)) if !name.known.is_empty() && now - name.ended_at < FRESH_MS => {
                return Place::At(in_reverse(&name.known));
            }
            Some(Target::Name(_)) => {}
        }
        self.ask(server, now);
        let Some(name) = self.name(server) else { return Place::Sought };
        match (&name.failure, &name.lookup) {
            _ if !name.known.is_empty() => Place::At(in_reverse(&name.known)),
            // What was not found a moment ago is not there.
            (Some(failure), Lookup::Done { .. }) => Place::Unknown(failure.clone()),
            _ => Place::Sought,
        }
    }

    /// A server's name is to be looked up as soon as that may be. False if it has none.
    pub fn ask(&mut self, server: ServerId, now: Millis) -> bool {
        let Some(name) = self.name(server) else { return false };
        match &mut name.lookup {
            Lookup::Never => name.lookup = Lookup::Done { began_at: now, due_at: Some(now) },
            Lookup::Running { .. } => {}
            Lookup::Done { began_at, due_at } => {
                let at = (*began_at + PAUSE_MS).max(now);
                *due_at = Some(due_at.map_or(at, |due_at| due_at.min(at)));
            }
        }
        self.note_due();
        self.look_up_due(now);
        true
    }

    /// True while a name is being looked up.
    pub fn is_looking_up(&self, server: ServerId) -> bool {
        let is_it = |(id, target): &(ServerId, Target)| match target {
            Target::Name(name) => *id == server && matches!(name.lookup, Lookup::Running { .. }),
            Target::Fixed(_) => false,
        };
        self.targets.iter().any(is_it)
    }

    /// When the next name is to be looked up.
    #[inline]
    pub fn next_deadline(&self) -> Option<Millis> {
        self.due_at
    }

    fn note_due(&mut self) {
        let due_at = |(_, target): &(ServerId, Target)| match target {
            Target::Name(Name { lookup: Lookup::Done { due_at, .. }, .. }) => *due_at,
            _ => None,
        };
        self.due_at = self.targets.iter().filter_map(due_at).min();
    }

    /// Looks up what is due.
    #[inline]
    pub fn look_up_due(&mut self, now: Millis) {
        if self.due_at.is_some_and(|due_at| due_at <= now) {
            self.begin_due(now);
        }
    }

    #[cold]
    fn begin_due(&mut self, now: Millis) {
        for (server, target) in &mut self.targets {
            let Target::Name(name) = target else { continue };
            if matches!(name.lookup, Lookup::Done { due_at: Some(due_at), .. } if due_at <= now) {
                name.lookup = Lookup::Running { began_at: now };
                self.resolver.resolve(server.number(), &name.host, name.port);
            }
        }
        self.note_due();
    }

    /// The next lookup that has ended, of a server that is still there.
    pub fn poll(&mut self, now: Millis) -> Option<(ServerId, Outcome)> {
        loop {
            let (number, result) = self.resolver.poll()?;
            let interval_ms = self.interval_ms;
            let asked = self.targets.iter_mut().find(|entry| entry.0.number() == number);
            let Some((server, Target::Name(name))) = asked else { continue };
            if std::mem::take(&mut name.is_answer_old) {
                if matches!(name.lookup, Lookup::Running { .. }) {
                    self.resolver.resolve(number, &name.host, name.port);
                }
                continue;
            }
            let ended = (*server, name.on_answer(result, interval_ms, now));
            self.note_due();
            return Some(ended);
        }
    }

    /// The addresses of a server, the first one to be tried last; none as long as none is known.
    pub fn known(&self, server: ServerId) -> Vec<ResolvedAddress> {
        match self.targets.iter().find(|entry| entry.0 == server) {
            Some((_, Target::Name(name))) => in_reverse(&name.known),
            Some((_, Target::Fixed(address))) => vec![address.clone()],
            None => Vec::new(),
        }
    }

    /// The addresses of a server's name, as shown to people: the same text for the same ones, whatever their order is.
    pub fn text(&self, server: ServerId) -> String {
        let mut known: Vec<String> = self.known(server).iter().map(ResolvedAddress::to_string).collect();
        known.sort();
        known.join(", ")
    }

    /// A backend is connected to this address of its server.
    pub fn on_connected(&mut self, backend: Id, server: ServerId, address: &ResolvedAddress) {
        if let ResolvedAddress::Tcp(address) = *address {
            self.connected.push(Connected { backend, server, address, is_stale: false });
        }
    }

    /// From here on, connections are made in another way.
    pub fn on_way_changed(&mut self) {
        self.connected.iter_mut().for_each(|connected| connected.is_stale = true);
    }

    /// Behind a server's address there is another one: its connections are outdated wherever they are.
    pub fn on_replaced(&mut self, server: ServerId) {
        self.connected
            .iter_mut()
            .filter(|connected| connected.server == server)
            .for_each(|of_it| of_it.is_stale = true);
    }

    /// A backend is closed.
    pub fn forget(&mut self, backend: Id) {
        self.connected.retain(|connected| connected.backend != backend);
    }

    /// The connections of a server, and whether each is at an address that the server's name has no more, or was made
    /// in another way than those that are made now.
    pub fn connections(&self, server: ServerId) -> impl Iterator<Item = (Id, bool)> {
        let name = self.targets.iter().find(|entry| entry.0 == server).and_then(|(_, target)| match target {
            Target::Name(name) => Some(name),
            Target::Fixed(_) => None,
        });
        let of_it = self.connected.iter().filter(move |connected| connected.server == server);
        of_it.map(move |connected| {
            let is_elsewhere = name.is_some_and(|name| name.is_outdated(connected.address));
            (connected.backend, connected.is_stale || is_elsewhere)
        })
    }

    fn name(&mut self, server: ServerId) -> Option<&mut Name> {
        self.targets.iter_mut().find(|entry| entry.0 == server)?.1.name()
    }
}

impl Target {
    fn new(address: &Address) -> Target {
        match address {
            Address::Unix(path) => Target::Fixed(ResolvedAddress::Unix(path.clone())),
            Address::Tcp { host, port } => match literal(host, *port) {
                Some(address) => Target::Fixed(ResolvedAddress::Tcp(address)),
                None => Target::Name(Name {
                    host: host.clone(),
                    port: *port,
                    known: Vec::new(),
                    seen: Vec::new(),
                    answers: 0,
                    failure: None,
                    ended_at: Millis(0),
                    lookup: Lookup::Never,
                    is_answer_old: false,
                }),
            },
        }
    }

    fn name(&mut self) -> Option<&mut Name> {
        match self {
            Target::Name(name) => Some(name),
            Target::Fixed(_) => None,
        }
    }
}

impl Name {
    fn on_answer(&mut self, result: io::Result<Vec<SocketAddr>>, interval_ms: u64, now: Millis) -> Outcome {
        let began_at = match self.lookup {
            Lookup::Running { began_at } | Lookup::Done { began_at, .. } => began_at,
            Lookup::Never => now,
        };
        self.lookup = Lookup::Done { began_at, due_at: due_after(now, interval_ms) };
        self.ended_at = now;
        match result {
            Ok(addresses) => {
                self.failure = None;
                Outcome::Found { is_changed: self.settle(addresses) }
            }
            Err(error) => Outcome::Failed(self.failure.insert(format!("its name is not found: {error}")).clone()),
        }
    }

    /// These are its addresses from here on. True exactly when they are others than before.
    fn settle(&mut self, addresses: Vec<SocketAddr>) -> bool {
        let is_subset = |some: &[SocketAddr], all: &[SocketAddr]| some.iter().all(|address| all.contains(address));
        let is_changed = !is_subset(&addresses, &self.known) || !is_subset(&self.known, &addresses);
        self.answers += 1;
        let answer = self.answers;
        for &address in &addresses {
            match self.seen.iter_mut().find(|seen| seen.address == address) {
                Some(seen) => {
                    seen.has_returned |= seen.answer + 1 < answer;
                    seen.answer = answer;
                }
                None => self.seen.push(Seen { address, answer, has_returned: false }),
            }
        }
        self.seen.retain(|seen| seen.answer + REMEMBERED > answer);
        self.known = addresses;
        is_changed
    }

    fn is_outdated(&self, address: SocketAddr) -> bool {
        let is_current = |seen: &Seen| seen.answer == self.answers || seen.has_returned;
        !self.seen.iter().any(|seen| seen.address == address && is_current(seen))
    }
}

/// When a name is to be looked up again, if time alone is a reason.
fn due_after(ended_at: Millis, interval_ms: u64) -> Option<Millis> {
    (interval_ms > 0).then(|| ended_at + interval_ms)
}

fn in_reverse(addresses: &[SocketAddr]) -> Vec<ResolvedAddress> {
    addresses.iter().rev().map(|&address| ResolvedAddress::Tcp(address)).collect()
}

#[cfg(test)]
impl Names {
    /// A lookup has found these.
    pub fn learn(&mut self, server: ServerId, addresses: Vec<SocketAddr>, now: Millis) -> bool {
        self.resolver.conclude(server.number(), Ok(addresses));
        let (_, outcome) = self.poll(now).expect("it has ended");
        matches!(outcome, Outcome::Found { is_changed: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Poll, Token};

    const A: &str = "192.0.2.1:6379";
    const B: &str = "192.0.2.2:6379";
    const C: &str = "192.0.2.3:6379";

    fn server(number: usize) -> ServerId {
        ServerId::of_index(number)
    }

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().expect("an address")).collect()
    }

    /// The names of so many servers, which are looked up every 30 s. Nothing that is asked for ever ends.
    fn names(servers: usize) -> Names {
        let poll = Poll::new().expect("descriptors are free");
        let mut names = Names::new(Arc::new(Waker::new(poll.registry(), Token(0)).expect("it can be woken")));
        names.resolver.hang();
        set_servers(&mut names, servers);
        names
    }

    fn set_servers(names: &mut Names, servers: usize) {
        let ids: Vec<ServerId> = (0..servers).map(server).collect();
        let address = |number| Some(Address::Tcp { host: format!("redis{number}"), port: 6379 });
        let addresses: Vec<Option<Address>> = (0..servers).map(address).collect();
        names.set_servers(&ids, &addresses, 30_000, |_| false);
    }

    fn found(names: &mut Names, now: u64) -> String {
        match names.find(server(0), Millis(now)) {
            Place::At(mut all) => {
                all.reverse();
                all.iter().map(ResolvedAddress::to_string).collect::<Vec<_>>().join(" ")
            }
            Place::Sought => "sought".to_owned(),
            Place::Unknown(why) => why,
        }
    }

    fn fail(names: &mut Names, now: u64) {
        names.resolver.conclude(server(0).number(), Err(io::Error::other("no such host")));
        assert!(matches!(names.poll(Millis(now)), Some((_, Outcome::Failed(_)))));
    }

    fn is_outdated(names: &Names) -> Vec<bool> {
        names.connections(server(0)).map(|(_, is_outdated)| is_outdated).collect()
    }

    #[test]
    fn nobody_waits_for_a_lookup_but_the_first() {
        let mut names = names(1);
        assert_eq!(names.next_deadline(), None, "nobody has asked");
        assert_eq!(found(&mut names, 0), "sought");
        assert!(names.is_looking_up(server(0)));
        names.learn(server(0), addresses(&[A, B]), Millis(10));
        assert_eq!(found(&mut names, 5_009), format!("{A} {B}"));
        assert!(!names.is_looking_up(server(0)));
        // It is looked up beside the connect, and what is known is used.
        assert_eq!(found(&mut names, 5_010), format!("{A} {B}"));
        assert!(names.is_looking_up(server(0)));
        fail(&mut names, 5_020);
        assert_eq!(found(&mut names, 60_000), format!("{A} {B}"), "what is known stays");
    }

    #[test]
    fn a_name_is_looked_up_in_time_and_not_too_often() {
        let mut names = names(1);
        names.find(server(0), Millis(0));
        names.learn(server(0), addresses(&[A]), Millis(10));
        assert_eq!(names.next_deadline(), Some(Millis(30_010)));
        for now in 11..500 {
            assert!(names.ask(server(0), Millis(now)));
            assert!(!names.is_looking_up(server(0)), "at {now}");
        }
        assert_eq!(names.next_deadline(), Some(Millis(500)));
        names.look_up_due(Millis(500));
        assert!(names.is_looking_up(server(0)) && names.next_deadline().is_none());
        // One that hangs is not begun anew.
        for now in (500..60_000).step_by(100) {
            names.ask(server(0), Millis(now));
            names.look_up_due(Millis(now));
        }
        assert_eq!(names.resolver.hanging(), 1);
        names.learn(server(0), addresses(&[A]), Millis(60_000));
        assert_eq!(names.next_deadline(), Some(Millis(90_000)));
        names.set_servers(&[server(0)], &[], 0, |_| false);
        assert_eq!(names.next_deadline(), None, "not by time");
    }

    #[test]
    fn a_name_that_is_not_there_is_not_asked_for_with_each_connect() {
        let mut names = names(1);
        names.find(server(0), Millis(0));
        fail(&mut names, 10);
        for now in 10..500 {
            assert_eq!(found(&mut names, now), "its name is not found: no such host");
        }
        assert_eq!(names.resolver.hanging(), 0);
        assert_eq!(found(&mut names, 500), "sought");
    }

    #[test]
    fn what_has_no_name_has_nothing_to_look_up() {
        let mut names = names(0);
        let fixed = [Address::Unix("/run/redis.sock".into()), Address::Tcp { host: "::1".to_owned(), port: 1 }];
        let fixed = fixed.map(Some);
        names.set_servers(&[server(0), server(1)], &fixed, 30_000, |_| false);
        assert_eq!(found(&mut names, 0), "/run/redis.sock");
        assert!(
            !names.ask(server(0), Millis(0)) && !names.ask(server(1), Millis(0)) && !names.ask(server(2), Millis(0))
        );
        assert_eq!((names.next_deadline(), names.resolver.hanging()), (None, 0));
    }

    /// The first server's name, with one connection at each of these addresses.
    fn connected(at: &[&str]) -> Names {
        let mut names = names(1);
        names.learn(server(0), addresses(at), Millis(0));
        let mut ids = crate::slots::Slots::new();
        for address in addresses(at) {
            names.on_connected(ids.insert(()), server(0), &ResolvedAddress::Tcp(address));
        }
        names
    }

    #[test]
    fn of_a_server_that_was_replaced_all_connections_are_outdated_that_there_are() {
        let mut names = connected(&[A, B]);
        let mut ids = crate::slots::Slots::new();
        let [other, new] = [2, 3].map(|_| (0..3).map(|_| ids.insert(())).last().expect("three"));
        names.on_connected(other, server(1), &ResolvedAddress::Tcp(addresses(&[C])[0]));
        names.on_replaced(server(0));
        names.on_connected(new, server(0), &ResolvedAddress::Tcp(addresses(&[B])[0]));
        assert_eq!(is_outdated(&names), [true, true, false]);
        names.learn(server(0), addresses(&[A, B]), Millis(0));
        assert_eq!(is_outdated(&names), [true, true, false], "that they are at its addresses is no matter");
        assert_eq!(names.connections(server(1)).map(|connection| connection.1).collect::<Vec<_>>(), [false]);
    }

    #[test]
    fn what_was_made_in_another_way_is_outdated_wherever_it_is() {
        let mut names = connected(&[A, B]);
        let mut ids = crate::slots::Slots::new();
        let [fixed, new] = [2, 3].map(|_| (0..3).map(|_| ids.insert(())).last().expect("three"));
        let fixed_server = ServerId::of_index(1);
        names.on_connected(fixed, fixed_server, &ResolvedAddress::Tcp(addresses(&[C])[0]));
        names.on_way_changed();
        names.on_connected(new, server(0), &ResolvedAddress::Tcp(addresses(&[B])[0]));
        assert_eq!(is_outdated(&names), [true, true, false]);
        assert!(names.connections(fixed_server).eq([(fixed, true)]), "it has no name, and follows all the same");
        assert!(!names.learn(server(0), addresses(&[B, A]), Millis(0)));
        assert_eq!(is_outdated(&names), [true, true, false], "a lookup does not make it new");
    }

    #[test]
    fn the_same_addresses_in_another_order_are_no_change() {
        let mut names = connected(&[A, B]);
        let text = names.text(server(0));
        assert!(!names.learn(server(0), addresses(&[B, A]), Millis(0)));
        assert_eq!((names.text(server(0)), is_outdated(&names)), (text, vec![false, false]));
        assert!(names.learn(server(0), addresses(&[B, A, C]), Millis(0)));
        assert_eq!(is_outdated(&names), [false, false]);
        assert!(names.learn(server(0), addresses(&[B]), Millis(0)));
        assert_eq!(is_outdated(&names), [true, false]);
    }

    #[test]
    fn a_name_that_flaps_is_followed_twice_and_an_address_that_stays_away_is_gone() {
        let mut names = connected(&[A, B]);
        let mut outdated = Vec::new();
        for round in 0..100 {
            let text = if round % 2 == 0 { A } else { B };
            names.learn(server(0), addresses(&[text]), Millis(0));
            outdated.push(is_outdated(&names));
        }
        assert_eq!(outdated[..3], [[false, true], [true, false], [false, false]]);
        assert!(outdated[2..].iter().all(|outdated| *outdated == [false, false]), "{outdated:?}");
        for _ in 1..REMEMBERED {
            assert_eq!(is_outdated(&names), [false, false]);
            names.learn(server(0), addresses(&[B]), Millis(0));
        }
        assert_eq!(is_outdated(&names), [true, false]);
    }

    #[test]
    fn a_move_and_the_move_back_are_both_followed_at_once() {
        let mut names = connected(&[A]);
        names.learn(server(0), addresses(&[B]), Millis(0));
        assert_eq!(is_outdated(&names), [true]);
        let mut ids = crate::slots::Slots::new();
        let other = (0..2).map(|_| ids.insert(())).last().expect("two");
        names.on_connected(other, server(0), &ResolvedAddress::Tcp(addresses(&[B])[0]));
        names.learn(server(0), addresses(&[A]), Millis(0));
        assert_eq!(is_outdated(&names), [false, true]);
        names.forget(other);
        assert_eq!(is_outdated(&names), [false]);
    }

    #[test]
    fn a_hundred_names_and_a_server_that_is_removed_while_it_is_looked_up() {
        let mut names = names(100);
        for number in 0..100 {
            assert!(names.ask(server(number), Millis(0)));
        }
        assert_eq!(names.resolver.hanging(), 100);
        set_servers(&mut names, 1);
        assert!(!names.ask(server(1), Millis(0)) && !names.is_looking_up(server(1)));
        assert!(matches!(names.find(server(1), Millis(0)), Place::Unknown(_)));
        // It is there again, and waits for the same lookup.
        set_servers(&mut names, 2);
        assert!(names.ask(server(1), Millis(0)) && names.is_looking_up(server(1)));
        assert_eq!(names.resolver.hanging(), 100);
    }
}
