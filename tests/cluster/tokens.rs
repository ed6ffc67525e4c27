//! Clients that write tokens which nobody else writes, while masters die; and what became of each.
//!
//! ```text
//!   one pipeline, of one tag:  RPUSH of a token to a list, SET of the same, GET of that key, and in some WAIT for a replica
//!
//!   a token was        acknowledged, by a replica too      stands in its list, once
//!                      acknowledged                        stands there once, or Redis has lost it: counted
//!                      answered by an error, or not        stands there once, or does not
//! ```
//!
//! In each list the tokens stand in the order in which their client sent them.

use super::nodes::{LONG, shown};
use crate::support::client::{Client, encode};
use crate::support::proxy::Rmux;
use crate::support::wait_until;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const CLIENTS: usize = 6;
/// Of each client; they are in slots of all masters.
const TAGS: usize = 12;
/// In each pipeline of so many one waits for a replica.
const WAIT_EACH: usize = 4;

/// Clients at work.
pub struct Tokens {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Ledger>>,
}

/// What became of a token, as its client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// An error: it may have been run.
    Unknown,
    Acknowledged,
    /// By a replica as well.
    Replicated,
}

/// All that a client has written, by its tags, in its order.
#[derive(Default)]
struct Ledger {
    number: usize,
    tokens: Vec<Vec<(usize, Fate)>>,
    errors: BTreeMap<String, usize>,
}

/// What became of all.
#[derive(Default)]
pub struct Outcome {
    pub acknowledged: usize,
    /// Of these, so many by a replica as well.
    pub replicated: usize,
    /// Acknowledged and gone.
    pub lost: usize,
    /// Acknowledged by a replica, and gone.
    pub replicated_lost: usize,
    /// Each error, and how often.
    pub errors: BTreeMap<String, usize>,
}

impl Tokens {
    pub fn start(rmux: &Rmux) -> Tokens {
        let (stop, done): (Arc<AtomicBool>, Arc<AtomicUsize>) = Default::default();
        let client = |number| {
            let (client, stop, done) = (rmux.client(), Arc::clone(&stop), Arc::clone(&done));
            thread::spawn(move || write(client, number, &stop, &done))
        };
        let load = Tokens { clients: (0..CLIENTS).map(client).collect(), stop, done };
        load.await_more(100);
        load
    }

    /// Waits until so many more tokens are acknowledged.
    pub fn await_more(&self, count: usize) {
        let until = self.done.load(Ordering::Relaxed) + count;
        wait_until("tokens that are acknowledged", LONG, || self.done.load(Ordering::Relaxed) >= until);
    }

    /// Ends them, and looks for their tokens through rmux.
    ///
    /// # Panics
    ///
    /// When one stands there twice, in another's list, or before an older one.
    pub fn stop(self, rmux: &Rmux) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        let mut outcome = Outcome::default();
        let mut client = rmux.client();
        for ledger in self.clients {
            ledger.join().expect("no wrong reply").look_up(&mut client, &mut outcome);
        }
        outcome
    }
}

impl Outcome {
    /// That only such errors were told as belong to a master that is lost, or to nodes that say so longer than rmux waits.
    pub fn assert_known(&self) {
        let of_rmux = ["Connection down", "lost before its reply", "No reply from", "The connection that carried"];
        let parts = of_rmux
            .into_iter()
            .chain(["CLUSTERDOWN The cluster is down", "WAIT cannot be used with replica"])
            .collect::<Vec<_>>();
        for (error, count) in &self.errors {
            assert!(parts.iter().any(|part| error.contains(part)), "{count} times: {error}");
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome { acknowledged, replicated, lost, replicated_lost, errors } = self;
        write!(
            formatter,
            "{acknowledged} tokens acknowledged, {lost} of them lost by Redis; {replicated} by a replica too, \
             {replicated_lost} of them lost; {} errors",
            errors.values().sum::<usize>()
        )?;
        errors.iter().try_for_each(|(error, count)| write!(formatter, "; {count} times {error}"))
    }
}

fn list(number: usize, tag: usize) -> String {
    format!("{{{number}-{tag}}}list")
}

/// One client, until it is told to stop.
fn write(mut client: Client, number: usize, stop: &AtomicBool, done: &AtomicUsize) -> Ledger {
    client.set_patience(LONG);
    let mut ledger = Ledger { number, tokens: vec![Vec::new(); TAGS], ..Ledger::default() };
    for turn in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let (tag, waits) = (turn % TAGS, turn / TAGS % WAIT_EACH == number % WAIT_EACH);
        let (list, key, token) = (list(number, tag), format!("{{{number}-{tag}}}key"), format!("{number}-{turn}"));
        let mut requests = vec![vec!["RPUSH", &list, &token], vec!["SET", &key, &token], vec!["GET", &key]];
        if waits {
            requests.push(vec!["WAIT", "1", "1000"]);
        }
        client.send(&requests.iter().flat_map(|words| encode(words)).collect::<Vec<_>>());
        let replies: Vec<String> = requests.iter().map(|_| shown(&client.reply())).collect();
        let is_well = |reply: &&String| !reply.starts_with('-');
        for error in replies.iter().filter(|reply| !is_well(reply)) {
            *ledger.errors.entry(error[1..].trim_end().to_owned()).or_default() += 1;
        }
        let is_right = replies[1] == "+OK\r\n"
            // Of what was written before, something may be lost in a failover; another's is never seen.
            && (replies[2] == "$-1\r\n" || replies[2].contains(&format!("\r\n{number}-")))
            && replies[0].starts_with(':');
        assert!(is_right || !replies.iter().all(|reply| is_well(&reply)), "client {number}: {replies:?}");
        let fate = match replies[0].as_str() {
            error if error.starts_with('-') => Fate::Unknown,
            // About the last write of this client, which must be behind that of the token.
            _ if waits && replies[1] == "+OK\r\n" && replies[3] == ":1\r\n" => Fate::Replicated,
            _ => Fate::Acknowledged,
        };
        ledger.tokens[tag].push((turn, fate));
        done.fetch_add(usize::from(fate != Fate::Unknown), Ordering::Relaxed);
        if fate == Fate::Unknown {
            // As many errors as there are tell no more.
            thread::park_timeout(Duration::from_millis(5));
        }
    }
    ledger
}

impl Ledger {
    fn look_up(self, client: &mut Client, outcome: &mut Outcome) {
        let Ledger { number, tokens, errors } = self;
        errors.into_iter().for_each(|(error, count)| *outcome.errors.entry(error).or_default() += count);
        for (tag, written) in tokens.iter().enumerate() {
            let reply = shown(&client.cmd(&["LRANGE", &list(number, tag), "0", "-1"]));
            assert!(!reply.starts_with('-'), "{reply}");
            let own = format!("{number}-");
            let values = reply.split("\r\n").skip(2).step_by(2);
            let turns = values.map(|token| token.strip_prefix(&own).and_then(|turn| turn.parse().ok()));
            let found: Vec<usize> = turns.map(|turn| turn.expect("its own token")).collect();
            let is_in_order = found.windows(2).all(|pair| pair[0] < pair[1]);
            assert!(is_in_order, "client {number}, tag {tag}: a token twice, or not in its order: {found:?}");
            for (turn, fate) in written {
                let is_lost = *fate != Fate::Unknown && found.binary_search(turn).is_err();
                outcome.acknowledged += usize::from(*fate != Fate::Unknown);
                outcome.replicated += usize::from(*fate == Fate::Replicated);
                outcome.lost += usize::from(is_lost);
                outcome.replicated_lost += usize::from(is_lost && *fate == Fate::Replicated);
            }
        }
    }
}
