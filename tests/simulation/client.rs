//! Model clients: they send what `workload` makes up, take their replies, and judge each of them.
//!
//! A polite client reads what it is sent, finishes what it begins, and says when it leaves. Another one vanishes with
//! replies outstanding or half a request sent, stops reading, stops inside a request, trickles, or speaks nonsense; what is owed to it may be
//! lost over that, but no reply that it gets may be wrong.

use std::collections::BTreeMap;

use rmux::proxy::Settings;

use crate::expect::Expect;
use crate::fault::Fault;
use crate::history::{Fate, History};
use crate::network::{Link, LinkId, Network, Stall};
use crate::plan::{Faults, Plan};
use crate::protocol::{Value, parse_reply};
use crate::random::Random;
use crate::redis::DATABASES;
use crate::transactions::{Part, Progress, Script};
use crate::workload::Pending;

/// What is no larger than this is not refused where memory is short.
const SMALL: usize = 4 * 1024;

/// What a client sees of the world.
pub struct Scene<'a> {
    pub plan: &'a Plan,
    pub network: &'a mut Network,
    pub random: &'a mut Random,
    pub history: &'a mut History,
    /// Links that wait to be accepted.
    pub backlog: &'a mut Vec<LinkId>,
    pub step: u64,
    /// Time without the jumps of the clock.
    pub paced: u64,
    /// The paced time at which something was last wrong with a server, or with time.
    pub disturbed_at: Option<u64>,
    /// Whether the settings have changed: what holds a connection may have lost it with its server, and a key may live
    /// elsewhere.
    pub has_reloaded: bool,
    /// True once everybody shall finish.
    pub is_ending: bool,
    /// True once another process has taken over: clients are closed between two of their requests.
    pub is_dismissing: bool,
}

impl Scene<'_> {
    /// Whether an error may be the answer to what was sent then.
    pub fn is_excused(&self, sent_at: Option<u64>) -> bool {
        let sent_at = sent_at.unwrap_or(self.paced);
        self.plan.is_sluggish || self.disturbed_at.is_some_and(|at| sent_at <= at + self.plan.patience_ms())
    }
}

#[derive(Default)]
pub struct Client {
    pub number: u32,
    pub is_polite: bool,
    pub link: Option<LinkId>,
    pub database: u32,
    pub is_resp3: bool,
    pub pending: Vec<Pending>,
    /// How many of `pending` are answered.
    answered: usize,
    next: u32,
    /// Requests that it will still make.
    left: usize,
    outbox: Vec<u8>,
    sent: u64,
    inbox: Vec<u8>,
    /// What it has still to say of a transaction, and how that was answered so far.
    pub script: Option<Script>,
    progress: Progress,
    own: BTreeMap<(u32, Vec<u8>), u32>,
    favourite: usize,
    /// It writes all that it has to say before it reads.
    reads_last: bool,
    /// It will send nothing more, and waits for the end.
    is_ended: bool,
    /// It has what it was owed; whatever else happens to its connection is right.
    is_dismissed: bool,
    /// True while the last that it was told is that it had waited in vain: with much in flight, that is the end of it.
    is_crowded: bool,
    /// It has vanished: after that step it resets the connection.
    vanishes_at: Option<u64>,
    deaf_until: u64,
    mute_until: u64,
    /// Paced time of the last byte that it got.
    heard_at: u64,
    pub is_done: bool,
    pub replies: u64,
}

impl Client {
    pub fn new(number: u32, scene: &mut Scene<'_>) -> Client {
        let is_polite = scene.plan.faults == Faults::None || scene.random.percent(60);
        let reads_last = scene.random.one_in(6);
        // Through a narrow pipe that would take too many steps.
        let is_long = reads_last && scene.plan.pipes.0 >= 5_000 && scene.plan.read_max >= 5_000;
        let left = if is_long { scene.random.pick(&[5, 150, 1_500]) } else { scene.random.pick(&[1, 5, 40, 150]) };
        Client { number, is_polite, reads_last, left, heard_at: scene.paced, ..Client::default() }
    }

    pub fn next_number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    /// A key that nobody else uses; often the one that was used last.
    pub fn own_key(&mut self, random: &mut Random) -> Vec<u8> {
        if random.one_in(3) {
            self.favourite = random.below(3);
        }
        format!("p{}.{}", self.number, self.favourite).into_bytes()
    }

    pub fn wrote_own(&mut self, key: Vec<u8>, number: u32) {
        self.own.insert((self.database, key), number);
    }

    pub fn last_own(&self, key: &[u8]) -> Option<u32> {
        self.own.get(&(self.database, key.to_vec())).copied()
    }

    /// Puts a request behind what is to be sent.
    pub fn queue(&mut self, mut pending: Pending, bytes: &[u8]) {
        self.outbox.extend_from_slice(bytes);
        pending.len = bytes.len();
        pending.end = self.sent + self.outbox.len() as u64;
        trace!("client {} asks {}: {}", self.number, pending.number, bytes[..bytes.len().min(80)].escape_ascii());
        self.pending.push(pending);
    }

    /// How many of its requests are not answered.
    pub fn owed(&self) -> usize {
        self.pending.len() - self.answered
    }

    /// Whether it waits for nothing, and nothing of it is under way.
    pub fn is_content(&self) -> bool {
        self.owed() == 0 && self.outbox.is_empty() && !self.is_ended && self.link.is_some()
    }

    pub fn act(&mut self, scene: &mut Scene<'_>) {
        let Some(link) = self.link else {
            let capacity = scene.plan.pipe(scene.random);
            let link = scene.network.connect(capacity);
            scene.backlog.push(link);
            scene.history.lists.connect(self.number, link);
            self.link = Some(link);
            return;
        };
        if let Some(step) = self.vanishes_at {
            if step <= scene.step || scene.network.is_over(link) {
                scene.network.reset(link);
                self.is_done = true;
            }
            return;
        }
        if !self.is_polite && !scene.is_ending {
            self.misbehave(link, scene);
            if self.is_done || self.vanishes_at.is_some() {
                return;
            }
        }
        if scene.is_ending || scene.random.one_in(4) {
            self.maybe_ask(scene);
        }
        if scene.step >= self.mute_until || scene.is_ending {
            self.send(link, scene);
        }
        // Who waits for an element reads, or it would wait without end.
        let is_waiting = || self.pending[self.answered..].iter().any(|pending| pending.wait.is_some());
        let is_writing = self.reads_last && !self.outbox.is_empty() && !scene.network.is_over(link) && !is_waiting();
        if !is_writing && (scene.step >= self.deaf_until || scene.is_ending) {
            self.receive(link, scene);
        } else if !is_writing {
            self.heard_at = scene.paced;
        }
        self.check_patience(link, scene);
        self.maybe_leave(link, scene);
    }

    fn maybe_ask(&mut self, scene: &mut Scene<'_>) {
        if self.is_ended || self.outbox.len() >= 400_000 {
            return;
        }
        let longest = if self.reads_last { 10 * scene.plan.pipeline } else { scene.plan.pipeline };
        for _ in 0..scene.random.between(1, longest) {
            match &self.script {
                Some(script) if script.is_patient && self.owed() > 0 => return,
                Some(_) => {}
                None if self.left == 0 || scene.is_ending => return,
                None => self.left -= 1,
            }
            self.ask(scene.plan, scene.random, scene.history);
        }
    }

    /// It asks for nothing more.
    pub fn stop_asking(&mut self) {
        self.left = 0;
    }

    fn misbehave(&mut self, link: LinkId, scene: &mut Scene<'_>) {
        match scene.random.below(if self.script.is_some() { 300 } else { 600 }) {
            0 => {
                trace!("client {} vanishes", self.number);
                scene.network.reset(link);
                self.is_done = true;
            }
            1 => {
                trace!("client {} leaves without a word", self.number);
                scene.network.end(link);
                self.vanishes_at = Some(scene.step + scene.random.below(20) as u64);
            }
            2..5 => self.deaf_until = scene.step + scene.random.between(5, 300) as u64,
            5..8 => self.mute_until = scene.step + scene.random.between(5, 300) as u64,
            8..11 => {
                trace!("client {} stops", self.number);
                self.mute_until = u64::MAX;
            }
            _ => {}
        }
    }

    fn send(&mut self, link: LinkId, scene: &mut Scene<'_>) {
        let n = match self.is_polite || scene.is_ending {
            true => scene.random.pick(&[100, 3_000, 200_000, 200_000]),
            false => scene.random.pick(&[1, 1, 10, 3_000, 200_000]),
        };
        let n = scene.network.send(link, &self.outbox[..self.outbox.len().min(n)]);
        if n == 0 {
            return;
        }
        self.outbox.drain(..n);
        self.sent += n as u64;
        if self.reads_last {
            self.heard_at = scene.paced;
        }
        for pending in self.pending[self.answered..].iter_mut().filter(|pending| pending.sent_at.is_none()) {
            if pending.end > self.sent {
                break;
            }
            pending.sent_at = Some(scene.paced);
        }
    }

    fn receive(&mut self, link: LinkId, scene: &mut Scene<'_>) {
        let n = scene.random.pick(&[1, 100, 5_000, 200_000, 200_000]);
        let n = scene.network.receive(link, n, &mut self.inbox);
        if n > 0 {
            self.heard_at = scene.paced;
            self.judge_all(scene);
        }
        if scene.network.is_over(link) {
            self.check_end(link, scene);
            if self.is_between_requests(link, scene) {
                // What nobody has read nobody has done.
                let writes = self.pending[self.answered..].iter().filter(|pending| pending.part.is_none());
                writes
                    .flat_map(|pending| &pending.writes)
                    .for_each(|&token| scene.history.settle(token, Fate::NotDone));
            }
            self.is_done = true;
        }
    }

    fn judge_all(&mut self, scene: &mut Scene<'_>) {
        let mut done = 0;
        loop {
            if self.is_dismissed {
                self.inbox.clear();
                return;
            }
            let (value, len) = match parse_reply(&self.inbox[done..]) {
                Ok(Some(reply)) => reply,
                Ok(None) => break,
                Err(error) => panic!("client {} is sent {error}", self.number),
            };
            done += len;
            if self.answered == 0 && value == Value::Error(b"ERR max number of clients reached".to_vec()) {
                assert!(scene.plan.settings.limits.clients_max < 100, "there is room for one more client");
                self.is_dismissed = true;
                continue;
            }
            assert!(self.owed() > 0, "client {} is sent a reply too many: {}", self.number, value.show());
            self.judge(&value, scene);
        }
        self.inbox.drain(..done);
    }

    /// Is this the right reply for the oldest request that is not answered?
    fn judge(&mut self, value: &Value, scene: &mut Scene<'_>) {
        let pending = &self.pending[self.answered];
        trace!("client {} gets {} for {:?}", self.number, value.show(), pending.expect);
        self.answered += 1;
        self.replies += 1;
        self.is_dismissed |= pending.is_last;
        let (fault, error_len) = match value {
            Value::Error(text) => (Fault::of(&String::from_utf8_lossy(text)), text.len()),
            _ => (None, 0),
        };
        self.is_crowded = false;
        let fault = fault.filter(|fault| !pending.is_local || fault.is_the_end());
        if let Some(fault) = fault {
            let is_excused = match fault {
                // What is sent again and again has the less time the later that is.
                Fault::Late if scene.plan.reshard_in > 0 && scene.plan.faults == Faults::All => true,
                Fault::Lost | Fault::Down | Fault::Late | Fault::Loading => {
                    let has_moved = || pending.part.is_some() && !self.came_whole(self.answered - 1, scene.network);
                    scene.is_excused(pending.sent_at)
                        || pending.is_leased() && scene.has_reloaded
                        || scene.plan.reshard_in > 0 && matches!(fault, Fault::Down) && has_moved()
                }
                // Others may hold connections for as long as they like, but for one.
                Fault::Waited => match pending.is_leased() {
                    true => scene.plan.faults > Faults::None || scene.plan.wait_in > 0,
                    false => scene.plan.faults == Faults::All,
                },
                // Others may hold connections, and it does not read as fast as it writes.
                Fault::Crowded => scene.plan.faults > Faults::None || self.reads_last,
                Fault::NoLease => pending.is_leased() && scene.plan.was(|settings| settings.pool_size == 1),
                Fault::Spread => {
                    let is_refused =
                        pending.is_leased() || pending.is_spread && scene.plan.was(|settings| !settings.multi_key);
                    is_refused && scene.plan.was(|settings| settings.servers.len() > 1)
                }
                Fault::NoScript => pending.is_call,
                Fault::ReadOnly => scene.plan.demote_in > 0,
                Fault::Overtaken => {
                    let is_sent = |behind: &Pending| behind.end - (behind.len as u64) < self.sent;
                    scene.plan.reshard_in > 0 && self.pending[self.answered..].iter().any(is_sent)
                }
                Fault::NotKept => {
                    // Where memory is short, nothing is kept of a long pipeline either.
                    let may_be_short = scene.plan.was(|settings| settings.limits.buffered_bytes_max < 1_000_000);
                    scene.plan.reshard_in > 0 && (pending.is_large() || may_be_short)
                }
                Fault::Redirected => {
                    let is_alone = || pending.part.is_some() && !self.came_whole(self.answered - 1, scene.network);
                    let before = self.pending[..self.answered - 1].iter().rev().find_map(|before| before.part);
                    let is_watching = matches!(before, Some(Part::Watch(_)));
                    let is_excused = scene.plan.faults == Faults::All || pending.is_script || is_watching;
                    let may_be = is_excused || is_alone();
                    scene.plan.reshard_in > 0 && may_be
                }
                Fault::NoProtocol => pending.is_resp3 && !scene.plan.knows_hello,
                Fault::NoRoomForReply => {
                    let has_parts = pending.has_parts || pending.is_spread && scene.plan.has_parts();
                    has_parts && pending.reply_len > SMALL && scene.plan.faults == Faults::All
                }
                // What is small goes on; steps that rmux keeps have a bound of their own.
                Fault::NoRoom => (pending.len > SMALL || pending.part.is_some()) && scene.plan.faults == Faults::All,
                Fault::Stopped { ms, is_wanted } => {
                    let timeouts = &scene.plan.settings.timeouts;
                    let is_limit = match is_wanted {
                        true => {
                            let is_it = |settings: &Settings| ms == settings.timeouts.remote_connect_ms;
                            scene.plan.was(is_it) && pending.is_large()
                        }
                        false => ms == timeouts.local_request_ms,
                    };
                    let link = self.link.map(|link| scene.network.link(link));
                    is_limit && link.is_some_and(|link| pending.longest_wait(link, link.wrote_at, scene.plan) >= ms)
                }
                Fault::Unread(ms) => {
                    // All that was unread then has been read by now, and this error.
                    let unread_min = scene.plan.settings.limits.client_unread_pause_bytes + error_len;
                    let link = self.link.map(|link| scene.network.link(link));
                    let is_unread = |link: &Link, stall: &Stall| link.written_bytes - stall.written > unread_min as u64;
                    ms == scene.plan.settings.timeouts.local_request_ms
                        && link.is_some_and(|link| link.stalls(ms).any(|stall| is_unread(link, stall)))
                }
            };
            assert!(is_excused, "client {} gets {} for no reason: {pending:?}", self.number, value.show());
            // The error is that of one part; the others may have been done.
            let has_parts = pending.part.is_none() && pending.is_spread && scene.plan.has_parts();
            let is_unknown = matches!(fault, Fault::Lost | Fault::Late | Fault::NoRoomForReply) || has_parts;
            let fate = if is_unknown { Fate::Unknown } else { Fate::NotDone };
            pending.writes.iter().for_each(|&token| scene.history.settle(token, fate));
            if let Some(wait) = pending.wait {
                scene.history.lists.settle(wait.pop, fate);
            }
            if let Some(part) = pending.part {
                self.progress.on_fault(part, fault, fate, pending, scene.history);
            }
            // One that had much in flight is not told so once for each request. How much it was nobody here can tell.
            self.is_crowded = matches!(fault, Fault::Waited);
            self.is_dismissed |= fault.is_the_end();
            return;
        }
        // What the server says to a database is said before the rest of a large request has come.
        let is_refused = pending.database >= DATABASES && !pending.is_local;
        assert!(
            pending.sent_at.is_some() || is_refused,
            "client {} is answered before it has asked: {}",
            self.number,
            value.show()
        );
        let judged = match pending.part {
            Some(part) => self.progress.judge(part, pending, value, scene),
            None => {
                let fate = if is_refused { Fate::NotDone } else { Fate::Done };
                pending.expect.check(value, pending, scene).map(|()| fate)
            }
        };
        let fate = match judged {
            Ok(fate) => fate,
            Err(error) => panic!("client {} gets {}, {error}: {pending:?}", self.number, value.show()),
        };
        pending.writes.iter().for_each(|&token| scene.history.settle(token, fate));
        if let Some(wait) = pending.wait {
            let fate = if matches!(value, Value::Nil(_)) { Fate::NotDone } else { Fate::Done };
            scene.history.lists.settle(wait.pop, fate);
        }
    }

    /// Whether the transaction of which this is a request is known to have come to the proxy in one piece, and to be
    /// none that must go step by step.
    fn came_whole(&self, index: usize, network: &Network) -> bool {
        if matches!(self.pending[index].part, Some(Part::Watch(_) | Part::Unwatch)) {
            return false;
        }
        let is_first = |pending: &Pending| matches!(pending.part, Some(Part::Multi(_)));
        let is_last = |pending: &Pending| matches!(pending.part, Some(Part::Exec(_) | Part::Discard(_)));
        let first = self.pending[..=index].iter().rposition(is_first);
        let last = self.pending[index..].iter().position(is_last).map(|place| index + place);
        let (Some(first), Some(last), Some(link)) = (first, last, self.link) else { return false };
        let is_watched = self.pending[..first].iter().rev().find_map(|pending| pending.part);
        let parts = &self.pending[first..=last];
        let is_plain = |pending: &Pending| !matches!(pending.expect, Expect::Error(_)) && !pending.has_parts;
        !matches!(is_watched, Some(Part::Watch(_)))
            && parts.iter().all(is_plain)
            && !network.link(link).is_cut_within(parts[0].end, self.pending[last].end)
    }

    /// Whether another process has taken over, and this client was closed with nothing under way.
    fn is_between_requests(&self, link: LinkId, scene: &Scene<'_>) -> bool {
        let read_bytes = scene.network.link(link).read_bytes;
        let next = self.pending.get(self.answered);
        let is_between = self.inbox.is_empty() && next.is_none_or(|next| read_bytes <= next.end - next.len as u64);
        scene.is_dismissing && is_between
    }

    /// The proxy has closed the connection: had it a reason?
    fn check_end(&self, link: LinkId, scene: &Scene<'_>) {
        if self.is_between_requests(link, scene) {
            return trace!("client {} is closed between two requests", self.number);
        }
        let link = scene.network.link(link);
        let limits = &scene.plan.settings.limits;
        let timeouts = &scene.plan.settings.timeouts;
        let owed = &self.pending[self.answered..];
        let is_all_answered = owed.is_empty() && self.inbox.is_empty();
        let unread: usize = owed.iter().map(|pending| pending.reply_len).sum::<usize>() + self.inbox.len();
        let unread_max = match scene.plan.faults {
            Faults::All => limits.client_unread_bytes_max.min(limits.client_unread_pause_bytes),
            _ => limits.client_unread_bytes_max,
        };
        // The longest that the proxy can say that nothing happened. What it refused to accept it did not wait for.
        let silence = link.closed_at.saturating_sub(link.read_at.max(link.wrote_at));
        let is_owed = owed.first().is_some_and(|pending| pending.end <= link.read_bytes);
        let is_silent = timeouts.local_read_ms > 0 && silence >= timeouts.local_read_ms && !is_owed;
        let has_stopped = |pending: &Pending| {
            let wanted_ms = if pending.is_large() { timeouts.remote_connect_ms } else { 0 };
            let limit_ms = [timeouts.local_request_ms, wanted_ms].into_iter().filter(|&ms| ms > 0).min();
            limit_ms.is_some_and(|ms| pending.longest_wait(link, link.closed_at, scene.plan) >= ms)
        };
        let has_stopped = self.pending.iter().any(has_stopped);
        let pause = link.closed_at.saturating_sub(link.wrote_at);
        let is_slow = timeouts.local_write_ms > 0 && pause >= timeouts.local_write_ms;
        let has_half = owed.iter().any(|pending| pending.reply_len > 16_000 && scene.is_excused(pending.sent_at));
        // Where memory is short, who has a large request waiting gives way; and who cannot be told the end of a
        // transaction must not go on.
        let is_heavy = |pending: &Pending| pending.len > 200_000 || pending.has_parts && pending.reply_len > SMALL;
        let has_given_way = scene.plan.faults == Faults::All && owed.iter().any(is_heavy);
        // Who has left while it waits for an element is not waited for.
        let has_left_waiting = self.is_ended && owed.iter().any(|pending| pending.wait.is_some());
        let is_right = self.is_dismissed
            || self.is_crowded
            || has_left_waiting
            || self.is_ended && is_all_answered
            || owed.iter().any(|pending| matches!(pending.expect, Expect::End))
            || unread > unread_max
            || is_silent
            || has_stopped
            || is_slow
            || has_half
            || has_given_way;
        assert!(
            is_right,
            "client {} is closed for no reason; {} replies are owed, {} bytes came of the next: {:?}",
            self.number,
            owed.len(),
            self.inbox.len(),
            owed.first()
        );
        trace!("client {} is closed", self.number);
    }

    /// Nobody who listens waits for ever.
    fn check_patience(&mut self, link: LinkId, scene: &Scene<'_>) {
        let Some(pending) = self.pending.get(self.answered) else { return };
        let Some(sent_at) = pending.sent_at else { return };
        let waited = scene.paced - sent_at.max(self.heard_at);
        let timeout_ms = pending.wait.map_or(0, |wait| wait.timeout_ms);
        if pending.wait.is_some() && timeout_ms == 0 {
            return;
        }
        let is_over = waited > scene.plan.patience_ms() + timeout_ms && !self.is_done && !self.is_dismissed;
        if is_over && self.has_stuffed_itself(scene.network.link(link), scene.plan) {
            trace!("client {} sees that it has to read", self.number);
            self.reads_last = false;
            self.heard_at = scene.paced;
            return;
        }
        assert!(!is_over, "client {} has waited {waited} ms, and has got nothing: {pending:?}", self.number);
    }

    /// Whether it writes all before it reads, and is owed more than it may have unread, and no limit to that ends its
    /// wait before its patience does.
    fn has_stuffed_itself(&self, link: &Link, plan: &Plan) -> bool {
        let taken = self.pending[self.answered..].iter().take_while(|pending| pending.end <= link.read_bytes);
        let unread: usize = taken.map(|pending| pending.reply_len).sum();
        let is_writing = self.reads_last && !self.outbox.is_empty();
        let is_over_limit = unread > plan.settings.limits.client_unread_pause_bytes;
        let request_ms = plan.settings.timeouts.local_request_ms;
        let is_unlimited = request_ms == 0 || request_ms > plan.patience_ms();
        is_writing && is_over_limit && link.is_stalled() && is_unlimited
    }

    fn maybe_leave(&mut self, link: LinkId, scene: &mut Scene<'_>) {
        let has_more = self.script.is_some() || !self.outbox.is_empty() || self.left > 0 && !scene.is_ending;
        let is_waiting = self.pending.get(self.answered).is_some_and(|pending| pending.wait.is_some());
        if is_waiting && !self.is_done && !self.is_ended && (scene.is_ending || scene.random.one_in(200)) {
            // There may never be anything for it.
            trace!("client {} waits no longer", self.number);
            scene.network.end(link);
            self.is_ended = true;
            self.is_dismissed = true;
            self.outbox.clear();
            self.script = None;
            return;
        }
        if self.is_done || self.is_ended || has_more {
            return;
        }
        // Some say that they have nothing more to ask before they have all that they asked for.
        if self.owed() == 0 || scene.random.one_in(10) {
            trace!("client {} ends", self.number);
            scene.network.end(link);
            self.is_ended = true;
        }
    }
}
