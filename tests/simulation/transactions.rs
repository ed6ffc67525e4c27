//! Transactions of model clients: what they say, in which order, and which replies are right.
//!
//! ```text
//!   [WATCH s3 x7.1:0 ─► something else ─►] MULTI ─► steps ─► EXEC, or DISCARD, or the client leaves
//!                                     └──► UNWATCH
//! ```
//!
//! One goes out in one piece, or request by request, or each of them when the one before it is answered. A step that is
//! refused must be the end of all of it; what becomes of those that were queued is told with EXEC, and judged then.

use crate::client::{Client, Scene};
use crate::expect::Expect;
use crate::fault::Fault;
use crate::history::{Fate, History, Token};
use crate::plan::Plan;
use crate::protocol::{Value, request};
use crate::random::Random;
use crate::slot_steps::Tag;
use crate::workload::Pending;

/// Which part of a transaction a request is; with the token of its WATCH, or of its MULTI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Watch(Token),
    Unwatch,
    Multi(Token),
    Step(Token),
    Exec(Token),
    Discard(Token),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Exec,
    Discard,
    Unwatch,
    /// The client leaves in the middle of it.
    Leave,
}

/// What a client has still to say of a transaction.
pub struct Script {
    watch: Option<Token>,
    /// Other requests between WATCH and MULTI.
    others: usize,
    block: Option<Token>,
    /// How many are still to come.
    steps: usize,
    /// The step that is none, counted from the last.
    bad_step: Option<usize>,
    end: End,
    is_whole: bool,
    /// In a cluster: the slot of all its keys.
    tag: Option<Tag>,
    /// It waits for each reply.
    pub is_patient: bool,
    /// What EXEC will be answered with, and what is written then.
    expected: Vec<Expect>,
    writes: Vec<Token>,
    reply_len: usize,
    has_own: bool,
}

/// What is refused within a transaction, and how.
const NO_STEPS: &[(&[&[u8]], &str)] = &[
    (&[b"GET"], "ERR wrong number of arguments for 'get' command"),
    (&[b"nosuch", b"step"], "ERR unknown command 'nosuch', with args beginning with: '"),
    (&[b"SHUTDOWN"], "ERR This command is not supported"),
    (&[b"WATCH", b"s1"], "ERR WATCH inside MULTI is not allowed"),
    (&[b"MULTI"], "ERR MULTI calls can not be nested"),
];

impl Client {
    /// Begins a transaction, and says the first of it.
    pub fn begin_script(&mut self, plan: &Plan, random: &mut Random, history: &mut History) {
        let is_watching = random.one_in(3);
        let steps = random.pick(&[1, 2, 3, 6]);
        let end = match random.below(12) {
            0 | 1 => End::Discard,
            2 => End::Leave,
            3 if is_watching => End::Unwatch,
            _ => End::Exec,
        };
        let mut script = Script {
            watch: None,
            others: if is_watching { random.below(3) } else { 0 },
            block: None,
            steps,
            bad_step: random.one_in(8).then(|| random.between(1, steps)),
            end,
            is_whole: random.one_in(2),
            tag: (plan.reshard_in > 0).then(|| Tag::draw(random)),
            is_patient: random.one_in(2),
            expected: Vec::new(),
            writes: Vec::new(),
            reply_len: 100,
            has_own: false,
        };
        if is_watching {
            script.watch = Some(self.ask_watch(script.tag, random, history));
            self.script = Some(script);
        } else {
            self.script = Some(script);
            self.ask_next(plan, random, history);
        }
    }

    /// Says what comes next in the transaction that it has begun.
    pub fn ask_next(&mut self, plan: &Plan, random: &mut Random, history: &mut History) {
        let Some(mut script) = self.script.take() else { return };
        let mut is_over = false;
        loop {
            match script.block {
                None if script.others > 0 => {
                    script.others -= 1;
                    self.ask_server(plan, random, history);
                }
                None if script.end == End::Unwatch => {
                    self.ask_part(Part::Unwatch, b"UNWATCH");
                    is_over = true;
                }
                None => {
                    if let Some(tag) = script.tag.filter(|_| random.one_in(3)) {
                        self.ask_own_write(&tag.own(self.number), history);
                    }
                    let block = Token { client: self.number, number: self.next_number() };
                    history.ledger.ask_multi(block, script.watch);
                    script.block = Some(block);
                    self.ask_part(Part::Multi(block), if random.one_in(4) { b"multi" } else { b"MULTI" });
                }
                Some(block) if script.steps > 0 => {
                    self.ask_step(&mut script, block, plan, random, history);
                    script.steps -= 1;
                }
                Some(block) => {
                    self.ask_end(&mut script, block, history);
                    is_over = true;
                    // Nothing of its client comes before it.
                    if let Some(tag) = script.tag.filter(|_| script.end != End::Leave && random.one_in(2)) {
                        self.ask_own_write(&tag.own(self.number), history);
                    }
                }
            }
            if is_over || !script.is_whole {
                break;
            }
        }
        self.script = (!is_over).then_some(script);
    }

    fn ask_watch(&mut self, tag: Option<Tag>, random: &mut Random, history: &mut History) -> Token {
        let watch = Token { client: self.number, number: self.next_number() };
        history.ledger.ask_watch(watch);
        let shared = |random: &mut Random| match tag {
            Some(tag) => tag.shared(random),
            None => format!("s{}", random.below(4)).into_bytes(),
        };
        let mut keys = vec![shared(random)];
        if random.one_in(3) {
            keys.push(history.choose(&keys, random, shared, Vec::clone));
        }
        // By this key the server knows who watches.
        let own = |number: &usize| match tag {
            Some(tag) => tag.watched(watch, *number),
            None => format!("x{watch}:{number}").into_bytes(),
        };
        let number = history.choose(&keys, random, |random| random.below(50), own);
        keys.push(own(&number));
        let mut words: Vec<&[u8]> = vec![b"WATCH"];
        words.extend(keys.iter().map(Vec::as_slice));
        let mut pending = self.pending(watch.number);
        pending.part = Some(Part::Watch(watch));
        pending.expect = Expect::Value(Value::Status(b"OK".to_vec()));
        self.queue(pending, &request(&words));
        watch
    }

    /// A part of one word.
    fn ask_part(&mut self, part: Part, word: &[u8]) {
        let number = self.next_number();
        let mut pending = self.pending(number);
        pending.part = Some(part);
        pending.expect = Expect::Value(Value::Status(b"OK".to_vec()));
        self.queue(pending, &request(&[word]));
    }

    fn ask_step(&mut self, script: &mut Script, block: Token, plan: &Plan, random: &mut Random, history: &mut History) {
        let token = Token { client: self.number, number: self.next_number() };
        let mut pending = self.pending(token.number);
        pending.part = Some(Part::Step(block));
        let is_bad = script.bad_step == Some(script.steps);
        let bytes = if is_bad {
            let (words, text) = random.pick(NO_STEPS);
            pending.expect = Expect::Error(text.to_string());
            request(words)
        } else if random.one_in(6) {
            // rmux's own, and the server's.
            let text = format!("echo {token}").into_bytes();
            let (expect, bytes) = match random.one_in(2) {
                true => (Value::Nil(if self.is_resp3 { b'_' } else { b'$' }), request(&[b"CLIENT", b"GETNAME"])),
                false => (Value::Bulk(text.clone()), request(&[b"ECHO", &text])),
            };
            pending.has_parts = matches!(expect, Value::Nil(_));
            script.has_own |= pending.has_parts;
            if let Value::Bulk(_) = expect {
                history.ledger.ask_step(block, &[token]);
            }
            pending.expect = Expect::Value(expect);
            bytes
        } else {
            let bytes = match (random.below(3), script.tag) {
                (_, Some(tag)) => self.ask_slot_step(&mut pending, (token, tag), plan, random, history),
                (0, None) => self.ask_mirror(&mut pending, token, plan, random, history),
                (_, None) => self.ask_write(&mut pending, token, plan, random, history),
            };
            let mut tokens = vec![token];
            tokens.extend(pending.writes.iter().filter(|&&write| write != token));
            history.ledger.ask_step(block, &tokens);
            bytes
        };
        if !is_bad {
            let queued = Expect::Value(Value::Status(b"QUEUED".to_vec()));
            script.expected.push(std::mem::replace(&mut pending.expect, queued));
            script.writes.append(&mut pending.writes);
            script.reply_len += std::mem::replace(&mut pending.reply_len, 100);
        }
        self.queue(pending, &bytes);
    }

    fn ask_end(&mut self, script: &mut Script, block: Token, history: &mut History) {
        match script.end {
            End::Leave => return self.stop_asking(),
            End::Discard => return self.ask_part(Part::Discard(block), b"DISCARD"),
            End::Exec | End::Unwatch => {}
        }
        history.ledger.ask_exec(block);
        let number = self.next_number();
        let mut pending = self.pending(number);
        pending.part = Some(Part::Exec(block));
        pending.expect = Expect::Block(std::mem::take(&mut script.expected));
        pending.writes = std::mem::take(&mut script.writes);
        pending.reply_len = script.reply_len;
        pending.has_parts = script.has_own;
        self.queue(pending, &request(&[b"EXEC"]));
    }
}

/// What the replies have said so far of the transaction whose turn it is.
#[derive(Default)]
pub struct Progress {
    /// When the first of it was sent.
    since: Option<u64>,
    is_watching: bool,
    trouble: Option<Trouble>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// The WATCH before it failed, or a step was not answered in time and may be queued all the same.
    Unsure,
    /// A step was refused or lost: nothing may be run.
    Broken,
}

impl Progress {
    /// A part was answered with an error that is nobody's fault but that of the world.
    pub fn on_fault(&mut self, part: Part, fault: Fault, fate: Fate, pending: &Pending, history: &mut History) {
        self.maybe_begin(part, pending);
        match part {
            Part::Watch(watch) => {
                history.ledger.tell_watch(watch, false);
                self.trouble_with(Trouble::Unsure);
            }
            Part::Multi(_) | Part::Step(_) => {
                self.trouble_with(if matches!(fault, Fault::Late) { Trouble::Unsure } else { Trouble::Broken })
            }
            Part::Exec(block) => history.ledger.settle(block, fate),
            Part::Discard(block) => history.ledger.settle(block, Fate::NotDone),
            Part::Unwatch => {}
        }
        self.maybe_end(part);
    }

    /// Is this the right reply? Returns what became of what the request writes.
    pub fn judge(
        &mut self,
        part: Part,
        pending: &Pending,
        value: &Value,
        scene: &mut Scene<'_>,
    ) -> Result<Fate, String> {
        self.maybe_begin(part, pending);
        let fate = match part {
            Part::Exec(block) => {
                let fate = self.judge_exec(block, pending, value, scene)?;
                scene.history.ledger.settle(block, fate);
                fate
            }
            _ => {
                pending.expect.check(value, pending, scene)?;
                match part {
                    Part::Watch(watch) => scene.history.ledger.tell_watch(watch, true),
                    Part::Discard(block) => scene.history.ledger.settle(block, Fate::NotDone),
                    // It is refused, as it should be; nesting and WATCH do not break what is there.
                    Part::Step(_) => match &pending.expect {
                        Expect::Error(text) if text.contains("inside MULTI") || text.contains("nested") => {}
                        Expect::Error(_) => self.trouble_with(Trouble::Broken),
                        _ => {}
                    },
                    _ => {}
                }
                Fate::NotDone
            }
        };
        self.maybe_end(part);
        Ok(fate)
    }

    fn judge_exec(&self, block: Token, pending: &Pending, value: &Value, scene: &Scene<'_>) -> Result<Fate, String> {
        match value {
            Value::Array(_) if self.trouble == Some(Trouble::Broken) => {
                Err("though one of its steps was not queued".to_string())
            }
            Value::Array(_) => {
                pending.expect.check(value, pending, scene)?;
                Ok(Fate::Done)
            }
            Value::Nil(kind) if *kind == (if pending.is_resp3 { b'_' } else { b'*' }) => {
                // Of a slot that moves, the proxy cannot know whether its watched keys have changed.
                let is_touched = scene.plan.reshard_in > 0 && scene.history.ledger.is_watched(block);
                match is_touched || scene.history.ledger.is_refused(block) {
                    true => Ok(Fate::NotDone),
                    false => Err("though no server has refused it".to_string()),
                }
            }
            Value::Error(text) if text.starts_with(b"EXECABORT ") => {
                let is_unknown = pending.is_resp3 && !scene.plan.knows_hello;
                let is_changing = scene.has_reloaded || scene.plan.demote_in > 0 || scene.plan.reshard_in > 0;
                match self.trouble.is_some() || is_unknown || is_changing || scene.is_excused(self.since) {
                    true => Ok(Fate::NotDone),
                    false => Err("though nothing was wrong with it".to_string()),
                }
            }
            _ => Err("not what EXEC is answered with".to_string()),
        }
    }

    fn trouble_with(&mut self, trouble: Trouble) {
        if self.trouble != Some(Trouble::Broken) {
            self.trouble = Some(trouble);
        }
    }

    fn maybe_begin(&mut self, part: Part, pending: &Pending) {
        let is_first = matches!(part, Part::Watch(_)) || matches!(part, Part::Multi(_)) && !self.is_watching;
        if is_first {
            let is_watching = matches!(part, Part::Watch(_));
            *self = Progress { since: pending.sent_at, is_watching, trouble: None };
        }
    }

    fn maybe_end(&mut self, part: Part) {
        if matches!(part, Part::Exec(_) | Part::Discard(_) | Part::Unwatch) {
            *self = Progress::default();
        }
    }
}
