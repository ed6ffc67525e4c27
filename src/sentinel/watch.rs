//! The machine: who is asked when, and what follows from the answers.
//!
//! ```text
//!   round:  each sentinel that can be asked is asked where each master is ─► answers, or their time is over ─► decide
//!   next:   in CALM_MS; sooner where something is not well; at once after a hint or a +switch-master, but never within
//!           HINT_GAP_MS of the last one
//! ```
//!
//! Invariant: a vote is counted exactly as long as the connection that it came by is there.

use std::collections::VecDeque;
use std::mem;

use log::Level;

use crate::link::{HostPort, Link, LinkId};
use crate::notice::printable;
use crate::reply;
use crate::timer::Millis;
use crate::users::Credentials;

use super::answer::{self, Located, Replica};
use super::interface::{Action, SentinelView, Settings};
use super::known::{Awaited, Master, Sentinel, Told, Vote};
use super::question::{PATIENCE, Question};
use super::vote::{self, Poll};

/// The watch over the masters of one pool.
#[derive(Debug)]
pub struct Watch {
    sentinels: Vec<Sentinel>,
    masters: Vec<Master>,
    credentials: Option<Credentials>,
    wants_replicas: bool,
    actions: VecDeque<Action>,
    last_id: u32,
    /// When the last round began.
    round_at: Millis,
    next_round_at: Millis,
    /// True from the beginning of a round until all have answered, or had their time.
    is_asking: bool,
    /// Since when sentinels are divided over some master.
    divided_since: Option<Millis>,
    random: u64,
}

impl Watch {
    /// A watch that begins now. `seed` spreads the rounds of many hosts.
    pub fn new(settings: Settings, seed: u64, now: Millis) -> Watch {
        let mut watch = Watch {
            sentinels: Vec::new(),
            masters: Vec::new(),
            credentials: None,
            wants_replicas: false,
            actions: VecDeque::new(),
            last_id: 0,
            round_at: now,
            // Who is connected is asked at once.
            next_round_at: now + UNWELL_MS,
            is_asking: true,
            divided_since: None,
            random: seed | 1,
        };
        watch.handle_settings(settings, now);
        watch
    }

    /// From now on this holds. What is known of masters and sentinels that stay is kept; who is new to the credentials
    /// is asked on new connections.
    pub fn handle_settings(&mut self, settings: Settings, now: Millis) {
        if self.credentials != settings.credentials {
            (0..self.sentinels.len()).for_each(|number| self.drop_links(number));
        }
        (self.credentials, self.wants_replicas) = (settings.credentials, settings.wants_replicas);
        let mut known = mem::take(&mut self.masters);
        for name in settings.masters {
            let master = known.iter().position(|master| master.name == name).map(|place| known.swap_remove(place));
            self.masters.push(master.unwrap_or_else(|| Master::new(name)));
        }
        // The masters have other places now, and one that answers late would be believed about another.
        for number in (0..self.sentinels.len()).rev() {
            let sentinel = &mut self.sentinels[number];
            sentinel.is_configured = settings.sentinels.contains(&sentinel.place);
            sentinel.votes = vec![Vote::None; self.masters.len()];
            self.drop_links(number);
            if !self.sentinels[number].is_configured {
                self.sentinels.remove(number);
            }
        }
        for place in settings.sentinels {
            if !self.sentinels.iter().any(|sentinel| sentinel.place == place) {
                self.sentinels.push(Sentinel::new(place, true, self.masters.len(), now));
            }
        }
        self.is_asking = true;
        self.connect_due(now);
    }

    /// Somebody wants to know anew where this master is, since a connection to it is lost; or, if `is_gone`, since it
    /// is not there: it cannot be connected to, or says that it is no master. [`Action::Moved`] or [`Action::Asked`]
    /// follows.
    pub fn handle_hint(&mut self, name: &str, is_gone: bool, now: Millis) {
        let Some(master) = self.masters.iter_mut().find(|master| master.name == name) else { return };
        if is_gone {
            master.hinted_at = Some(now);
        }
        master.awaited = Awaited::Next;
        self.hurry(now);
    }

    /// A sentinel is connected to, and has to agree on the keys of TLS before it can be asked.
    pub fn handle_shaking(&mut self, id: LinkId) {
        if let Some((number, is_hearing)) = self.find(id) {
            self.link(number, is_hearing).on_shaking();
        }
    }

    /// A sentinel is connected; `peer` is where it turned out to be.
    pub fn handle_connected(&mut self, id: LinkId, peer: Option<String>, now: Millis) {
        let Some((number, is_hearing)) = self.find(id) else { return };
        self.link(number, is_hearing).on_connected(now);
        if let Some(credentials) = &self.credentials {
            let request = credentials.request();
            self.link(number, is_hearing).ask(Question::Auth, now);
            self.actions.push_back(Action::Send(id, request));
        }
        if is_hearing {
            return self.ask(number, true, &[Question::Subscribe], now);
        }
        self.sentinels[number].peer = peer;
        self.ask(number, false, &[Question::OwnId], now);
        self.ask_about_masters(number, now);
    }

    /// A connection to a sentinel is lost, or could not be made.
    pub fn handle_lost(&mut self, id: LinkId, reason: &str, now: Millis) {
        if let Some((number, is_hearing)) = self.find(id) {
            let hint = match self.link(number, is_hearing).is_unheard() {
                true => ", before it had answered anything; does it want TLS on this port (sentinelTls)?",
                false => "",
            };
            self.lose(number, is_hearing, &format!("{reason}{hint}"), now);
            self.maybe_conclude(now);
        }
    }

    /// A sentinel has sent this.
    pub fn handle_data(&mut self, id: LinkId, bytes: &[u8], now: Millis) {
        let Some((number, is_hearing)) = self.find(id) else { return };
        self.link(number, is_hearing).push(bytes, now);
        // It may be lost, or another one by then, because of what it said.
        while let Some((number, is_hearing)) = self.find(id) {
            let outcome = match self.link(number, is_hearing).next_reply() {
                Ok(None) => break,
                Ok(Some(push)) if answer::is_message(&push) => {
                    self.on_message(number, &push, now);
                    Ok(())
                }
                Ok(Some(reply)) => match self.link(number, is_hearing).answered() {
                    Ok(question) => {
                        if question != Question::Auth {
                            self.link(number, is_hearing).on_use();
                        }
                        self.on_answer(number, question, &reply, now)
                    }
                    Err(reason) => Err(reason.to_owned()),
                },
                Err(reason) => Err(reason.to_owned()),
            };
            if let Err(reason) = outcome {
                self.actions.push_back(Action::Close(id));
                self.lose(number, is_hearing, &reason, now);
            }
        }
        self.maybe_conclude(now);
    }

    /// Time has passed.
    pub fn handle_timeouts(&mut self, now: Millis) {
        for number in 0..self.sentinels.len() {
            for is_hearing in [false, true] {
                let link = self.link(number, is_hearing);
                if let Some(reason) = link.lateness(now) {
                    let id = link.id();
                    self.actions.extend(id.map(Action::Close));
                    self.lose(number, is_hearing, reason, now);
                } else if is_hearing && link.is_quiet(now) {
                    self.ask(number, true, &[Question::Ping], now);
                }
            }
        }
        self.connect_due(now);
        if self.next_round_at <= now {
            self.begin_round(now);
        }
        self.maybe_conclude(now);
    }

    /// The next thing that is to be done.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Watch::handle_timeouts`] is to be called at the latest.
    pub fn next_deadline(&self) -> Millis {
        let of_sentinel = |sentinel: &Sentinel| {
            // Who does not answer is not heard.
            let is_heard = sentinel.ask.is_open() || sentinel.hear.id().is_some();
            let heard = is_heard.then(|| sentinel.hear.next_deadline(true)).flatten();
            sentinel.ask.next_deadline(false).into_iter().chain(heard).min()
        };
        self.sentinels.iter().filter_map(of_sentinel).fold(self.next_round_at, Millis::min)
    }

    /// The names of the masters.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.masters.iter().map(|master| master.name.as_str())
    }

    /// Where a master is known to be.
    pub fn address(&self, name: &str) -> Option<&HostPort> {
        self.masters.iter().find(|master| master.name == name)?.current.as_ref()
    }

    /// Who follows the master of this name, as far as that was asked.
    pub fn replicas(&self, name: &str) -> &[Replica] {
        self.masters.iter().find(|master| master.name == name).map_or(&[], |master| &master.replicas)
    }

    /// The sentinels that are known, as they are shown.
    pub fn view(&self) -> Vec<SentinelView> {
        let view = |sentinel: &Sentinel| SentinelView {
            address: sentinel.place.to_string(),
            is_up: sentinel.ask.is_open(),
            is_tilted: sentinel.is_tilted,
        };
        self.sentinels.iter().map(view).collect()
    }

    // The connections.

    fn find(&self, id: LinkId) -> Option<(usize, bool)> {
        let has = |link: &Link<Question>| link.id() == Some(id);
        let number = self.sentinels.iter().position(|sentinel| has(&sentinel.ask) || has(&sentinel.hear))?;
        Some((number, has(&self.sentinels[number].hear)))
    }

    fn link(&mut self, number: usize, is_hearing: bool) -> &mut Link<Question> {
        let sentinel = &mut self.sentinels[number];
        if is_hearing { &mut sentinel.hear } else { &mut sentinel.ask }
    }

    fn connect_due(&mut self, now: Millis) {
        for number in 0..self.sentinels.len() {
            for is_hearing in [false, true] {
                // Who does not answer has nothing to be heard.
                let is_wanted = !is_hearing || self.sentinels[number].ask.is_open();
                if is_wanted && self.link(number, is_hearing).is_due(now) {
                    self.last_id += 1;
                    let id = LinkId(self.last_id);
                    self.link(number, is_hearing).begin(id, now);
                    self.actions.push_back(Action::Connect(id, self.sentinels[number].place.clone()));
                }
            }
        }
    }

    fn lose(&mut self, number: usize, is_hearing: bool, reason: &str, now: Millis) {
        self.link(number, is_hearing).on_lost(now);
        if !is_hearing {
            let sentinel = &mut self.sentinels[number];
            sentinel.why = reason.to_owned();
            sentinel.votes.fill(Vote::None);
        }
    }

    /// Closes what there is, to be made anew at once.
    fn drop_links(&mut self, number: usize) {
        for is_hearing in [false, true] {
            let link = self.link(number, is_hearing);
            let id = link.id();
            *link = Link::new(&PATIENCE, Millis(0));
            self.actions.extend(id.map(Action::Close));
        }
    }

    fn ask(&mut self, number: usize, is_hearing: bool, questions: &[Question], now: Millis) {
        let mut request = Vec::new();
        for &question in questions {
            self.push_question(&mut request, question);
            self.link(number, is_hearing).ask(question, now);
        }
        if let Some(id) = self.link(number, is_hearing).id() {
            self.actions.push_back(Action::Send(id, request));
        }
    }

    fn push_question(&self, request: &mut Vec<u8>, question: Question) {
        let name = |place: usize| self.masters[place].name.as_bytes();
        let mut push = |words: &[&[u8]]| {
            reply::array(request, words.len());
            words.iter().for_each(|word| reply::bulk(request, word));
        };
        match question {
            Question::Auth => debug_assert!(false, "who has the password writes this question"),
            Question::OwnId => push(&[b"SENTINEL", b"MYID"]),
            Question::Tilt => push(&[b"INFO", b"sentinel"]),
            Question::Address(place) => push(&[b"SENTINEL", b"get-master-addr-by-name", name(place)]),
            Question::Sentinels(place) => push(&[b"SENTINEL", b"sentinels", name(place)]),
            Question::Replicas(place) => push(&[b"SENTINEL", b"replicas", name(place)]),
            Question::Subscribe => push(&[b"SUBSCRIBE", answer::SWITCHES]),
            Question::Ping => push(&[b"PING"]),
        }
    }

    fn ask_about_masters(&mut self, number: usize, now: Millis) {
        // In this order: whether its word counts is known before it is given.
        let mut questions = vec![Question::Tilt];
        for place in 0..self.masters.len() {
            questions.extend([Question::Address(place), Question::Sentinels(place)]);
            questions.extend(self.wants_replicas.then_some(Question::Replicas(place)));
        }
        self.ask(number, false, &questions, now);
    }

    // The rounds.

    fn begin_round(&mut self, now: Millis) {
        (self.round_at, self.is_asking) = (now, true);
        for master in self.masters.iter_mut().filter(|master| master.awaited == Awaited::Next) {
            master.awaited = Awaited::Now;
        }
        for number in 0..self.sentinels.len() {
            if self.sentinels[number].ask.is_open() && !self.sentinels[number].ask.is_busy() {
                self.ask_about_masters(number, now);
            }
        }
        self.next_round_at = now + self.pause_ms(now);
    }

    /// Asks as soon as may be.
    fn hurry(&mut self, now: Millis) {
        self.next_round_at = self.next_round_at.min((self.round_at + HINT_GAP_MS).max(now));
        for sentinel in &mut self.sentinels {
            sentinel.ask.hurry();
        }
    }

    /// Until the next round, over the last quarter of which many hosts are spread.
    fn pause_ms(&mut self, now: Millis) -> u64 {
        let is_unwell = |master: &Master| master.current.is_none() || master.is_failing(now);
        let ms = match self.divided_since {
            Some(since) if now - since < DIVIDED_MS => HINT_GAP_MS,
            _ if self.divided_since.is_some() || self.masters.iter().any(is_unwell) => UNWELL_MS,
            _ => CALM_MS,
        };
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        ms - self.random % (ms / 4)
    }

    fn on_message(&mut self, number: usize, push: &[u8], now: Millis) {
        let Some((name, place)) = answer::switched(push) else { return };
        let Some(master) = self.masters.iter().position(|master| master.name == name) else { return };
        if self.sentinels[number].ask.is_open() {
            self.sentinels[number].votes[master] = Vote::At(place);
        }
        // A message may be late, and others may not agree.
        self.hurry(now);
        self.decide(now);
    }

    fn on_answer(&mut self, number: usize, question: Question, reply: &[u8], now: Millis) -> Result<(), String> {
        let is_refusal = [&b"-NOAUTH"[..], b"-WRONGPASS", b"-DENIED"].iter().any(|word| reply.starts_with(word));
        let is_needed = matches!(question, Question::Auth | Question::Address(_) | Question::Subscribe);
        if is_refusal || is_needed && reply.starts_with(b"-") {
            let text = printable(reply);
            let text = self.credentials.as_ref().map_or(text.clone(), |credentials| credentials.without_secret(&text));
            return Err(format!("it refuses us: {text}"));
        }
        match question {
            Question::Auth | Question::Subscribe | Question::Ping => {}
            Question::OwnId => self.on_own_id(number, answer::own_id(reply)),
            Question::Tilt => {
                let is_tilted = answer::is_tilted(reply);
                if mem::replace(&mut self.sentinels[number].is_tilted, is_tilted) != is_tilted && is_tilted {
                    let place = &self.sentinels[number].place;
                    let text = format!("sentinel {place}: it is in TILT mode: its word does not count");
                    self.actions.push_back(Action::Say(Level::Warn, text));
                }
            }
            Question::Address(place) => match answer::located(reply) {
                Located::At(address) => self.sentinels[number].votes[place] = Vote::At(address),
                Located::Unknown => self.sentinels[number].votes[place] = Vote::Unknown,
                Located::Nonsense => return Err("its answer is none to what was asked".to_owned()),
            },
            Question::Sentinels(_) => {
                for (place, own_id) in answer::sentinels(reply) {
                    self.learn(place, own_id, now);
                }
            }
            Question::Replicas(place) => {
                let replicas = answer::replicas(reply);
                // Of several that answer the last one is as good as any.
                let master = &mut self.masters[place];
                if !self.sentinels[number].is_tilted && master.replicas != replicas {
                    master.replicas.clone_from(&replicas);
                    self.actions.push_back(Action::Replicas(master.name.clone(), replicas));
                }
            }
        }
        Ok(())
    }

    /// A sentinel has told its own name. If it is known by another address already, it is not asked twice.
    fn on_own_id(&mut self, number: usize, own_id: Option<String>) {
        if own_id.is_none() {
            return;
        }
        let is_same = |other: &Sentinel| other.own_id == own_id;
        let other = (0..self.sentinels.len()).find(|&other| other != number && is_same(&self.sentinels[other]));
        self.sentinels[number].own_id = own_id;
        let Some(other) = other else { return };
        // The user's own spelling is kept.
        let spare = if self.sentinels[other].is_configured { number } else { other };
        if !self.sentinels[spare].is_configured {
            self.drop_links(spare);
            self.sentinels.remove(spare);
        }
    }

    /// One sentinel has told of another.
    fn learn(&mut self, place: HostPort, own_id: Option<String>, now: Millis) {
        let text = place.to_string();
        let is_it = |known: &Sentinel| {
            known.place == place || known.peer.as_deref() == Some(&text) || own_id.is_some() && known.own_id == own_id
        };
        if let Some(known) = self.sentinels.iter_mut().find(|known| is_it(known)) {
            known.known_at = now;
        } else if self.sentinels.len() < answer::RECORDS_MAX {
            self.sentinels.push(Sentinel { own_id, ..Sentinel::new(place, false, self.masters.len(), now) });
            self.connect_due(now);
        }
    }

    // What follows.

    /// If all who were asked have answered, or had their time, there is no more to wait for.
    fn maybe_conclude(&mut self, now: Millis) {
        self.connect_due(now);
        let is_awaited = |sentinel: &Sentinel| sentinel.ask.is_busy();
        if self.is_asking && !self.sentinels.iter().any(is_awaited) {
            self.is_asking = false;
        }
        self.decide(now);
        if self.is_asking {
            return;
        }
        for place in 0..self.masters.len() {
            self.tell_trouble(place, now);
            let master = &mut self.masters[place];
            if master.awaited == Awaited::Now {
                master.awaited = Awaited::No;
                self.actions.push_back(Action::Asked(master.name.clone()));
            }
        }
        for sentinel in self.sentinels.iter_mut().filter(|sentinel| sentinel.ask.is_open()) {
            sentinel.known_at = now;
        }
        // One that others have told of, that they know no more, and that does not answer, is gone.
        self.sentinels.retain(|sentinel| sentinel.is_configured || now - sentinel.known_at < FORGET_MS);
    }

    fn decide(&mut self, now: Millis) {
        let mut is_divided = false;
        for place in 0..self.masters.len() {
            let votes = self.votes(place);
            is_divided |= votes.len() > 1;
            let master = &self.masters[place];
            let poll = Poll {
                votes,
                sentinels: self.sentinels.len(),
                current: master.current.as_ref(),
                is_failing: master.is_failing(now),
                is_complete: !self.is_asking,
            };
            let Some(there) = vote::decide(&poll).cloned() else { continue };
            let master = &mut self.masters[place];
            let (name, told) = (&master.name, &there);
            let (level, text) = match &master.current {
                Some(before) => (Level::Warn, format!("master {name}: is at {told} now, and no more at {before}")),
                None => (Level::Info, format!("master {name}: is at {told}")),
            };
            self.actions.push_back(Action::Say(level, text));
            self.actions.push_back(Action::Moved(name.clone(), there.clone()));
            (master.current, master.hinted_at, master.awaited) = (Some(there), None, Awaited::No);
            master.told = Told::Nothing;
        }
        self.divided_since = is_divided.then(|| self.divided_since.unwrap_or(now));
        if is_divided {
            let soon = self.round_at + self.pause_ms(now);
            self.next_round_at = self.next_round_at.min(soon);
        }
    }

    /// The addresses that are named, each with how many name it. While nothing is known at all, and nobody else
    /// answers, the word of those counts whose clocks have jumped.
    fn votes(&self, place: usize) -> Vec<(&HostPort, usize)> {
        let count = |may_tilt: bool| {
            let mut votes: Vec<(&HostPort, usize)> = Vec::new();
            for sentinel in self.sentinels.iter().filter(|sentinel| may_tilt || !sentinel.is_tilted) {
                let Vote::At(address) = &sentinel.votes[place] else { continue };
                match votes.iter_mut().find(|vote| vote.0 == address) {
                    Some(vote) => vote.1 += 1,
                    None => votes.push((address, 1)),
                }
            }
            votes
        };
        let votes = count(false);
        if votes.is_empty() && self.masters[place].current.is_none() { count(true) } else { votes }
    }

    /// The log is told what is wrong with a master once, and when it is over.
    fn tell_trouble(&mut self, place: usize, now: Millis) {
        let (votes, count) = (self.votes(place), self.sentinels.len());
        let name = &self.masters[place].name;
        let is_reached = self.sentinels.iter().any(|sentinel| sentinel.votes[place] != Vote::None);
        let other = votes.iter().find(|vote| Some(vote.0) != self.masters[place].current.as_ref());
        let (told, text) = match other {
            _ if !is_reached => {
                let last = self.sentinels.iter().rev().find(|sentinel| !sentinel.why.is_empty());
                let why = last.map_or(String::new(), |last| format!(", {}: {}", last.place, last.why));
                (Told::Unreachable, format!("master {name}: no sentinel can be asked, of {count}{why}"))
            }
            _ if votes.is_empty() && self.sentinels.iter().all(|sentinel| !sentinel.is_tilted) => {
                (Told::Unknown, format!("master {name}: no sentinel knows a master by this name, of {count}"))
            }
            // Right behind a failover some have not heard of it yet.
            Some(_) if self.divided_since.is_none_or(|since| now - since < DIVIDED_MS) => return,
            Some(&(address, by)) if self.masters[place].current.is_some() => {
                let text =
                    format!("master {name}: of {count} sentinels {by} say that it is at {address}: not believed");
                (Told::Divided(address.clone()), text)
            }
            _ => (Told::Nothing, format!("master {name}: its sentinels can be asked, and agree")),
        };
        let level = if told == Told::Nothing { Level::Info } else { Level::Warn };
        if mem::replace(&mut self.masters[place].told, told.clone()) != told {
            self.actions.push_back(Action::Say(level, text));
        }
    }
}

/// A sentinel of which nothing is seen or heard for so long is none any more, unless the user names it; in
/// milliseconds.
const FORGET_MS: u64 = 60_000;
/// Between two rounds while all is well, in milliseconds.
const CALM_MS: u64 = 5_000;
/// The same while something is not.
const UNWELL_MS: u64 = 1_000;
/// The same while sentinels have just become divided, and at the least.
const HINT_GAP_MS: u64 = 100;
/// For so long that is the reason to ask often, in milliseconds.
const DIVIDED_MS: u64 = 3_000;
