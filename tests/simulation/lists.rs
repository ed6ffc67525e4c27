//! Every element that was ever pushed, and everybody who ever waited for one.
//!
//! An element is a value with a token; who waits names itself by a key of its own. What can not be true at the same time
//! is found at once:
//!
//! ```text
//!   an element is given twice, or to somebody who was told that there is none, or who has left · somebody is told of an
//!   element that was given to another one, or that there is none, while one was given to it · it waits no longer,
//!   though no server has said so
//! ```
//!
//! What was given and never arrived is lost with the client, or with the connection, to which it was on its way: then
//! nobody was told anything, or an error that says that nobody knows.

use std::collections::BTreeMap;

use crate::client::Client;
use crate::expect::Expect;
use crate::history::{Fate, History, Token};
use crate::network::LinkId;
use crate::protocol::request;
use crate::random::Random;

/// Where an element is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In a list of this server.
    Listed(usize),
    /// Given to who waited with this token.
    Given(Token),
    /// Its server has forgotten everything.
    Forgotten,
}

/// Somebody who waits, or has waited.
struct Pop {
    given: Option<Token>,
    is_timed_out: bool,
    /// A node of a cluster has not run it, or runs it no longer.
    is_refused: bool,
    fate: Fate,
}

/// All elements, and all who wait.
#[derive(Default)]
pub struct Lists {
    places: BTreeMap<Token, Place>,
    pops: BTreeMap<Token, Pop>,
    links: BTreeMap<u32, LinkId>,
}

impl Lists {
    /// A client has this connection.
    pub fn connect(&mut self, client: u32, link: LinkId) {
        self.links.insert(client, link);
    }

    /// The connection of who waits.
    pub fn link(&self, pop: Token) -> LinkId {
        self.links[&pop.client]
    }

    fn ask(&mut self, pop: Token) {
        self.pops.insert(pop, Pop { given: None, is_timed_out: false, is_refused: false, fate: Fate::Open });
    }

    // What servers do.

    pub fn push(&mut self, element: Token, server: usize) {
        let before = self.places.insert(element, Place::Listed(server));
        assert!(before.is_none(), "{element} is pushed twice");
    }

    pub fn give(&mut self, element: Token, pop: Token, server: usize) {
        let place = self.places.insert(element, Place::Given(pop));
        assert!(place == Some(Place::Listed(server)), "server {server} gives {element} to {pop}: it is {place:?}");
        let entry = self.pop(pop);
        assert!(entry.fate != Fate::NotDone, "{element} is given to {pop}, which was told that there is none");
        let before = entry.given.replace(element);
        assert!(before.is_none(), "{pop} is given {element}, and was given {before:?}");
    }

    pub fn time_out(&mut self, pop: Token) {
        self.pop(pop).is_timed_out = true;
    }

    /// A node of a cluster says that it has nothing to do with the key of who waits: its time may be over before it
    /// waits at another one.
    pub fn refuse(&mut self, pop: Token) {
        self.pop(pop).is_refused = true;
    }

    /// A server has forgotten everything.
    pub fn forget(&mut self, server: usize) {
        for place in self.places.values_mut().filter(|place| **place == Place::Listed(server)) {
            *place = Place::Forgotten;
        }
    }

    /// The list with this element is another server's from now on.
    pub fn hand_over(&mut self, element: Token, from: usize, to: usize) {
        let place = self.places.insert(element, Place::Listed(to));
        assert!(place == Some(Place::Listed(from)), "server {from} hands {element} over: it is {place:?}");
    }

    /// How many elements lie in the lists of a server.
    pub fn listed(&self, server: usize) -> usize {
        self.places.values().filter(|place| **place == Place::Listed(server)).count()
    }

    // What clients are told.

    /// Whether this is what was given to who waited; without an element, whether there was none in time.
    pub fn check(&self, Wait { pop, timeout_ms }: Wait, element: Option<Token>) -> Result<(), String> {
        let (entry, has_timeout) = (&self.pops[&pop], timeout_ms > 0);
        match element {
            Some(_) if entry.given == element => Ok(()),
            Some(_) => Err(format!("and was given {:?}", entry.given)),
            None if entry.given.is_some() => Err(format!("though it was given {:?}", entry.given)),
            None if entry.is_refused && has_timeout => Ok(()),
            None if !entry.is_timed_out => Err("though no server has said so".to_string()),
            None => Ok(()),
        }
    }

    /// Who waited is told an error, or has what it was given.
    pub fn settle(&mut self, pop: Token, fate: Fate) {
        let entry = self.pop(pop);
        entry.fate = fate;
        let is_right = fate != Fate::NotDone || entry.given.is_none();
        assert!(is_right, "{pop} was given {:?}, and is told that nothing was done", entry.given);
    }

    fn pop(&mut self, pop: Token) -> &mut Pop {
        self.pops.get_mut(&pop).expect("who waits has asked")
    }
}

/// What a client waits for.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    pub pop: Token,
    /// How long, at the most; 0 is for ever.
    pub timeout_ms: u64,
}

impl Client {
    /// Asks for an element, and waits until there is one.
    pub fn ask_pop(&mut self, random: &mut Random, history: &mut History) {
        let pop = Token { client: self.number, number: self.next_number() };
        history.lists.ask(pop);
        let mut pending = self.pending(pop.number);
        let mut keys = vec![list_key(random)];
        let is_move = random.one_in(3);
        if !is_move && random.one_in(3) {
            keys.push(history.choose(&keys, random, list_key, Vec::clone));
        }
        // By this key the server knows who waits; to this one an element is moved.
        let own = |number: &usize| format!("x{pop}:{number}").into_bytes();
        let number = history.choose(&keys, random, |random| random.below(50), own);
        let timeout = random.pick(&["0", "0", "0.05", "0.3", "1", "5"]);
        let seconds: f64 = timeout.parse().expect("all of them are numbers");
        let own = history.beside(&keys[0], own(&number), random);
        let mut words: Vec<&[u8]> = Vec::new();
        if is_move {
            let ends = random.pick(&[[&b"LEFT"[..], b"RIGHT"], [&b"RIGHT"[..], b"LEFT"]]);
            words.extend([&b"BLMOVE"[..], &keys[0], &own, ends[0], ends[1]]);
        } else {
            words.push(random.pick(&[b"BLPOP", b"BRPOP", b"blpop"]));
            words.extend(keys.iter().map(Vec::as_slice));
            words.push(&own);
        }
        words.push(timeout.as_bytes());
        pending.wait = Some(Wait { pop, timeout_ms: (seconds * 1_000.0) as u64 });
        pending.reply_len = 20_000;
        let bytes = request(&words);
        pending.expect = Expect::Popped(if is_move { Vec::new() } else { keys });
        self.queue(pending, &bytes);
    }
}

/// The key of a list that everybody uses.
pub fn list_key(random: &mut Random) -> Vec<u8> {
    format!("l{}", random.below(4)).into_bytes()
}
