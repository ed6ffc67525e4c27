//! The state machine: which node is asked when, and what follows from its answers.
//!
//! ```text
//!   a round:  connect ─► AUTH, CLUSTER INFO, CLUSTER SLOTS in one write ─► an answer ─► close
//!                └─ refused, late, malformed ─► the next node                   └─ doubtful ─► the next node
//! ```
//!
//! There is one connection at a time, and none between rounds. Invariants: `link` has an id exactly while a round runs;
//! `known` and `map` come from an accepted answer.

use std::collections::{BTreeSet, VecDeque};
use std::mem;
use std::sync::Arc;

use log::Level;

use super::answer::{self, Found, Health};
use super::change::ChangeLog;
use super::interface::{Action, Databases, Refreshes, Settings, View};
use super::round::{Answer, Doubt, Round};
use super::schedule::{Cause, Outcome, RefreshCause, Schedule};
use super::slot::SLOTS;
use super::slot_map::SlotMap;
use crate::link::{HostPort, Link, LinkId, Patience};
use crate::notice::printable;
use crate::reply;
use crate::timer::Millis;
use crate::users::Secret;

/// A request to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    Auth,
    Info,
    /// `SELECT 1`, on a connection that is used for nothing else.
    Select,
    Slots,
}

/// What the last accepted answer said of the cluster, beside its map.
#[derive(Debug)]
struct Known {
    places: BTreeSet<HostPort>,
    ids: BTreeSet<String>,
    /// `cluster_current_epoch`, and when it was first seen.
    epoch: (u64, Millis),
}

/// The trouble that was logged last, so that it is logged once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// No node answered.
    Silent,
    /// A server is no node of any cluster.
    Disabled,
    /// By all answers no slot has an owner.
    Empty,
    /// All answers are of another cluster.
    Foreign,
}

/// The watch over the cluster of one pool.
#[derive(Debug)]
pub struct Watch {
    settings: Settings,
    /// `None` until an answer is accepted, and again when the configuration names other seeds.
    known: Option<Known>,
    map: Option<Arc<SlotMap>>,
    schedule: Schedule,
    round: Option<Round>,
    link: Link<Question>,
    /// The node at the other end of `link`.
    asked: HostPort,
    /// Whether its name is resolved.
    is_found: bool,
    /// The deadline for all of its answers.
    until: Millis,
    health: Health,
    last_id: u32,
    /// Why the last node failed, and whether that was because it is no node of a cluster.
    failure: (String, bool),
    trouble: Option<Trouble>,
    problem: Option<String>,
    told_at: Option<Millis>,
    refreshes: Arc<Refreshes>,
    /// Whether there are several databases, and when a node was asked that last.
    databases: Databases,
    databases_at: Option<Millis>,
    /// What the node that is asked now says to that.
    asked_databases: Databases,
    changes: ChangeLog,
    actions: VecDeque<Action>,
}

impl Watch {
    /// A watch whose first round begins now. `seed` spreads many hosts over time.
    pub fn new(settings: Settings, seed: u64, now: Millis) -> Watch {
        let mut watch = Watch {
            settings,
            known: None,
            map: None,
            schedule: Schedule::new(seed, now),
            round: None,
            link: Link::new(&PATIENCE, now),
            asked: HostPort { host: String::new(), port: 0 },
            is_found: false,
            until: now,
            health: Health::default(),
            last_id: 0,
            failure: (String::new(), false),
            trouble: None,
            problem: None,
            told_at: None,
            refreshes: Arc::default(),
            databases: Databases::Unknown,
            databases_at: None,
            asked_databases: Databases::Unknown,
            changes: ChangeLog::default(),
            actions: VecDeque::new(),
        };
        watch.handle_timeouts(now);
        watch
    }

    /// Takes new settings. Other seeds may belong to another cluster: they are asked, and the present map stays until
    /// one of them has answered.
    pub fn handle_settings(&mut self, settings: Settings, now: Millis) {
        let before = mem::replace(&mut self.settings, settings);
        if before.seeds != self.settings.seeds {
            self.known = None;
        }
        self.drop_link();
        if let Some(round) = self.round.take() {
            self.schedule.end(round.cause, Outcome::Failed, now);
        }
        self.schedule.want(Cause::Start, now);
        self.handle_timeouts(now);
    }

    /// Takes a new password for the nodes.
    pub fn handle_password(&mut self, password: Secret) {
        if let Some(credentials) = &mut self.settings.credentials {
            credentials.password = password;
        }
    }

    /// A reactor thinks that the map is out of date.
    pub fn handle_hint(&mut self, cause: RefreshCause, now: Millis) {
        self.schedule.want(Cause::Core(cause), now);
        self.handle_timeouts(now);
    }

    /// The name of the node to connect to is resolved.
    pub fn handle_found(&mut self, id: LinkId, now: Millis) {
        if self.link.id() == Some(id) {
            self.is_found = true;
            self.link.begin(id, now);
        }
    }

    /// The TCP connection stands, and the TLS handshake has begun.
    pub fn handle_shaking(&mut self, id: LinkId) {
        if self.link.id() == Some(id) {
            self.link.on_shaking();
        }
    }

    /// The connection can be used.
    pub fn handle_connected(&mut self, id: LinkId, now: Millis) {
        if self.link.id() != Some(id) {
            return;
        }
        self.link.on_connected(now);
        self.until = now + ASK_MS;
        let mut request = Vec::new();
        if let Some(credentials) = &self.settings.credentials {
            request = credentials.request();
            self.link.ask(Question::Auth, now);
        }
        let asks_select = self.databases_at.is_none_or(|at| now - at >= DATABASES_MS);
        for (question, words) in [
            (Question::Info, [&b"CLUSTER"[..], b"INFO"]),
            (Question::Select, [b"SELECT", b"1"]),
            (Question::Slots, [b"CLUSTER", b"SLOTS"]),
        ] {
            if question != Question::Select || asks_select {
                reply::array(&mut request, words.len());
                words.iter().for_each(|word| reply::bulk(&mut request, word));
                self.link.ask(question, now);
            }
        }
        self.actions.push_back(Action::Send(id, request));
    }

    /// The connection was lost, or could not be made.
    pub fn handle_lost(&mut self, id: LinkId, reason: &str, now: Millis) {
        if self.link.id() == Some(id) {
            let hint = match self.link.is_unheard() {
                true => ", before it had answered anything; does it want TLS on this port (remoteTls)?",
                false => "",
            };
            self.link = Link::new(&PATIENCE, now);
            self.fail(&format!("{reason}{hint}"), false, now);
        }
    }

    /// Bytes have arrived.
    pub fn handle_data(&mut self, id: LinkId, bytes: &[u8], now: Millis) {
        if self.link.id() != Some(id) {
            return;
        }
        self.link.push(bytes, now);
        while self.link.id() == Some(id) {
            let answered = match self.link.next_reply() {
                Ok(None) => return,
                Ok(Some(reply)) => self.link.answered().map(|question| (question, reply)),
                Err(reason) => Err(reason),
            };
            match answered {
                Ok((question, reply)) => self.on_answer(question, &reply, now),
                Err(reason) => self.fail(reason, false, now),
            }
        }
    }

    /// Time has passed.
    pub fn handle_timeouts(&mut self, now: Millis) {
        let late = match self.link.lateness(now) {
            _ if self.link.id().is_none() => None,
            _ if !self.is_found => (self.until <= now).then_some("its name is not found in time"),
            None => (self.until <= now).then_some("no answer in time"),
            late => late,
        };
        if let Some(reason) = late {
            self.fail(reason, false, now);
        }
        if let Some((level, text)) = self.map.as_ref().and_then(|map| self.changes.on_time(map, now)) {
            self.say(level, &text);
        }
        if self.round.is_none() && self.schedule.next_at() <= now {
            self.begin_round(now);
        }
    }

    /// The next action of the shell.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The latest time for the next call of [`Watch::handle_timeouts`].
    pub fn next_deadline(&self) -> Millis {
        let of_round = match self.round {
            None => self.schedule.next_at(),
            Some(_) if self.is_found => self.link.next_deadline(false).map_or(self.until, |at| at.min(self.until)),
            Some(_) => self.until,
        };
        self.changes.next_at().map_or(of_round, |at| at.min(of_round))
    }

    /// The present map.
    pub fn map(&self) -> Option<&Arc<SlotMap>> {
        self.map.as_ref()
    }

    /// Whether clients may select another database than 0.
    pub fn databases(&self) -> &Databases {
        &self.databases
    }

    /// A view for reports.
    pub fn view(&self) -> View {
        View {
            map: self.map.clone(),
            nodes: self.known.as_ref().map_or(0, |known| known.places.len()),
            told_at: self.told_at,
            refreshes: Arc::clone(&self.refreshes),
            problem: self.problem.clone(),
        }
    }

    // The connections.

    fn begin_round(&mut self, now: Millis) {
        let cause = self.schedule.begin(now);
        let known = self.known.as_ref().map(|known| known.places.iter().cloned()).into_iter().flatten();
        self.round = Some(Round::new(cause, known, |limit| self.schedule.random_below(limit)));
        self.ask_next(now);
    }

    /// Asks the next node, or ends the round with the answers there are.
    fn ask_next(&mut self, now: Millis) {
        let Some(round) = &mut self.round else { return };
        let mut next = round.next();
        if next.is_none() && round.turn_to_seeds(&self.settings.seeds, |limit| self.schedule.random_below(limit)) {
            next = round.next();
        }
        let Some(place) = next else { return self.conclude(now) };
        self.last_id = self.last_id.wrapping_add(1);
        let id = LinkId(self.last_id);
        self.link = Link::new(&PATIENCE, now);
        self.link.begin(id, now);
        (self.is_found, self.until, self.health) = (false, now + LOOK_UP_MS, Health::default());
        self.asked_databases = Databases::Unknown;
        self.asked.clone_from(&place);
        self.actions.push_back(Action::Connect(id, place));
    }

    fn drop_link(&mut self) {
        let id = self.link.id();
        self.link = Link::new(&PATIENCE, Millis(0));
        self.actions.extend(id.map(Action::Close));
    }

    /// The node did not answer, or gave no usable answer: the next one is asked.
    fn fail(&mut self, reason: &str, is_disabled: bool, now: Millis) {
        self.drop_link();
        let is_disabled = is_disabled || mem::take(&mut self.failure).1;
        self.failure = (format!("{}: {reason}", self.asked), is_disabled);
        self.ask_next(now);
    }

    // The answers.

    fn on_answer(&mut self, question: Question, reply: &[u8], now: Millis) {
        if reply.starts_with(b"-") {
            return self.on_error(question, reply, now);
        }
        match question {
            Question::Auth => {}
            Question::Info => self.health = answer::health(reply),
            Question::Select => self.asked_databases = Databases::Several,
            Question::Slots => {
                let found = answer::found(reply, &self.asked);
                match found {
                    Ok(found) => self.on_found(found, now),
                    Err(reason) => self.fail(&reason, false, now),
                }
            }
        }
    }

    fn on_error(&mut self, question: Question, reply: &[u8], now: Millis) {
        if reply.starts_with(DISABLED) {
            return self.fail("it is no node of a cluster", true, now);
        }
        let is_refusal = [&b"-NOAUTH"[..], b"-WRONGPASS", b"-DENIED"].iter().any(|word| reply.starts_with(word));
        // A user without the right to CLUSTER INFO may have the right to CLUSTER SLOTS.
        if matches!(question, Question::Info | Question::Select) && !is_refusal {
            let is_final = [&b"-ERR "[..], b"-NOPERM "].iter().any(|word| reply.starts_with(word));
            if question == Question::Select && is_final && reply.len() <= ERROR_BYTES_MAX {
                self.asked_databases = Databases::One(reply.into());
            }
            return;
        }
        let text = printable(reply);
        let credentials = self.settings.credentials.as_ref();
        let text = credentials.map_or(text.clone(), |credentials| credentials.without_secret(&text));
        self.fail(&format!("it refuses us: {text}"), false, now);
    }

    fn on_found(&mut self, found: Found, now: Millis) {
        self.drop_link();
        let doubt = self.doubt(&found, now);
        let better = if doubt == Some(Doubt::Lesser) { self.owners_of_what_is_lost(&found.map) } else { Vec::new() };
        let is_seed = self.settings.seeds.contains(&self.asked);
        let Some(round) = &mut self.round else { return };
        let databases = mem::take(&mut self.asked_databases);
        let answer = Answer { by: self.asked.clone(), is_seed, found, health: self.health, databases };
        match doubt {
            Some(doubt) => {
                round.on_doubtful(doubt, answer, better);
                self.ask_next(now);
            }
            None => self.adopt(None, answer, now),
        }
    }

    fn doubt(&self, found: &Found, now: Millis) -> Option<Doubt> {
        let covered = found.map.covered();
        if covered == 0 {
            return Some(Doubt::Empty);
        }
        let is_behind = self.health.is_failing;
        let Some(known) = &self.known else { return is_behind.then_some(Doubt::Behind) };
        if known.ids.is_disjoint(&found.ids) {
            return Some(Doubt::Foreign);
        }
        let (epoch, since) = known.epoch;
        // A new epoch takes a while to reach all nodes.
        if is_behind || 0 < self.health.epoch && self.health.epoch < epoch && now - since > GOSSIP_MS {
            return Some(Doubt::Behind);
        }
        (covered < self.covered()).then_some(Doubt::Lesser)
    }

    fn covered(&self) -> usize {
        self.map.as_ref().map_or(0, |map| map.covered())
    }

    /// The present owners of the slots that have none in `map`.
    fn owners_of_what_is_lost(&self, map: &SlotMap) -> Vec<HostPort> {
        let (Some(known), Some(before)) = (&self.known, &self.map) else { return Vec::new() };
        let lost = (0..SLOTS as u16).filter(|&slot| map.owner(slot).is_none()).filter_map(|slot| before.owner(slot));
        let masters: BTreeSet<&str> = lost.map(|shard| before.shards()[shard].master.as_str()).collect();
        known.places.iter().filter(|place| masters.contains(place.to_string().as_str())).cloned().collect()
    }

    // What follows.

    /// No node is left to ask.
    fn conclude(&mut self, now: Millis) {
        let Some(round) = self.round.take() else { return };
        let (cause, tries) = (round.cause, round.tries());
        match round.best() {
            Ok((doubt, answer)) => {
                self.round = Some(Round::new(cause, std::iter::empty(), |_| 0));
                self.adopt(Some(doubt), answer, now);
            }
            Err(doubt) => {
                self.on_failed(doubt, tries);
                self.end_round(cause, Outcome::Failed, now);
            }
        }
    }

    fn end_round(&mut self, cause: Cause, outcome: Outcome, now: Millis) {
        self.round = None;
        self.failure = (String::new(), false);
        *Arc::make_mut(&mut self.refreshes).entry((cause, outcome)).or_default() += 1;
        self.actions.push_back(Action::Asked(Arc::clone(&self.refreshes)));
        self.schedule.end(cause, outcome, now);
    }

    /// The answer is accepted.
    fn adopt(&mut self, doubt: Option<Doubt>, answer: Answer, now: Millis) {
        let Some(round) = self.round.take() else { return };
        let Answer { by, found, health, databases, .. } = answer;
        let Found { map, places, ids } = found;
        let is_changed = self.map.as_deref() != Some(&map);
        if doubt == Some(Doubt::Foreign) {
            let text = format!(
                "its seeds belong to another cluster now: {by} knows not one node that was known; all keys are those \
                 of that one from now on"
            );
            self.say(Level::Error, &text);
        }
        self.learn_databases(databases, now);
        if is_changed {
            let map = Arc::new(map);
            self.map = Some(Arc::clone(&map));
            self.log_change(&map, &by, doubt, now);
            self.actions.push_back(Action::Map(map));
        }
        let before = self.known.take().map(|known| known.epoch).filter(|(epoch, _)| *epoch == health.epoch);
        self.known = Some(Known { places, ids, epoch: before.unwrap_or((health.epoch, now)) });
        self.told_at = Some(now);
        self.problem = None;
        if self.trouble.take().is_some() {
            self.say(Level::Info, &format!("its cluster can be asked again, at {by}"));
        }
        let outcome = if is_changed { Outcome::Changed } else { Outcome::Unchanged };
        self.end_round(round.cause, outcome, now);
    }

    /// A node that is believed has said this to `SELECT 1`, if it was asked.
    fn learn_databases(&mut self, databases: Databases, now: Millis) {
        if databases == Databases::Unknown {
            return;
        }
        self.databases_at = Some(now);
        if self.databases != databases {
            self.databases = databases.clone();
            self.actions.push_back(Action::Databases(databases));
        }
    }

    /// Logs a map that has changed, now or together with later changes.
    fn log_change(&mut self, map: &Arc<SlotMap>, by: &HostPort, doubt: Option<Doubt>, now: Millis) {
        let doubt = match doubt {
            Some(Doubt::Behind | Doubt::Lesser) => ", which nobody contradicts",
            _ => "",
        };
        if let Some((level, text)) = self.changes.on_map(map, format!("{by}{doubt}"), now) {
            self.say(level, &text);
        }
    }

    /// Logs the trouble once, until it is over or another one takes its place.
    fn on_failed(&mut self, doubt: Option<Doubt>, tries: usize) {
        let (why, is_disabled) = mem::take(&mut self.failure);
        let trouble = match doubt {
            Some(Doubt::Foreign) => Trouble::Foreign,
            Some(_) => Trouble::Empty,
            None if is_disabled => Trouble::Disabled,
            None => Trouble::Silent,
        };
        let text = match trouble {
            Trouble::Silent => format!("its cluster cannot be asked, {tries} nodes tried; {why}"),
            Trouble::Disabled => format!(
                "{why} (its cluster support is disabled): name nodes of a cluster in tcpConnections, or take cluster \
                 out"
            ),
            Trouble::Empty => format!("no slot of its cluster has an owner, says each of {tries} nodes"),
            Trouble::Foreign => {
                "the nodes of its cluster belong to another one now, and no seed says so: nothing is changed".to_owned()
            }
        };
        let level = if trouble == Trouble::Disabled { Level::Error } else { Level::Warn };
        self.problem = Some(text.clone());
        if self.trouble.replace(trouble) != Some(trouble) {
            self.say(level, &text);
        }
    }

    fn say(&mut self, level: Level, text: &str) {
        self.actions.push_back(Action::Say(level, format!("pool {}: {text}", self.settings.pool)));
    }
}

/// The error of a server without cluster support.
const DISABLED: &[u8] = b"-ERR This instance has cluster support disabled";

/// An answer with 16,384 ranges and some replicas has 8 MB.
static PATIENCE: Patience = Patience {
    connect_ms: 500,
    answer_ms: 1_000,
    reply_bytes_max: 16 * 1024 * 1024,
    speaks_tls: "it speaks TLS on this port: give remoteTls",
};
/// The time to resolve a name, in milliseconds: a resolver whose first name server is dead takes 5 s.
const LOOK_UP_MS: u64 = 6_000;
/// The time that a change may take to reach all nodes, in milliseconds.
const GOSSIP_MS: u64 = 5_000;
/// A node is asked whether there are several databases when the last answer is older, in milliseconds: the error that
/// most say counts in their statistics.
const DATABASES_MS: u64 = 600_000;
/// The longest error to `SELECT` that clients are told, in bytes.
const ERROR_BYTES_MAX: usize = 512;
/// The time for all answers of a node together, in milliseconds.
const ASK_MS: u64 = 5_000;
