//! Every transaction that was ever asked for: of which steps it is made, how it was ended, and what became of it.
//!
//! Each step carries a token, so a server that queues it knows whose it is, and of which transaction. What can not be
//! true at the same time is found at once:
//!
//! ```text
//!   a step is run outside of its transaction, or something else within it · the steps are not all that were asked for,
//!   in their order · it is run twice · run without its EXEC · run, though its client was told that it was not, and the
//!   other way round · run unprotected, though WATCH was acknowledged · refused though nothing that it watched has changed
//! ```

use std::collections::BTreeMap;

use crate::history::{Fate, Token};

/// One transaction. Its name is the token of its MULTI.
struct Block {
    steps: Vec<Token>,
    /// Its client has asked for EXEC.
    has_exec: bool,
    /// The WATCH before it.
    watch: Option<Token>,
    runs: u32,
    /// A server has answered EXEC with a null.
    is_refused: bool,
    /// It was run on a connection on which nothing was watched for it.
    is_unprotected: bool,
    fate: Fate,
}

/// All transactions.
#[derive(Default)]
pub struct Ledger {
    blocks: BTreeMap<Token, Block>,
    /// The transaction of each step.
    of: BTreeMap<Token, Token>,
    /// Each WATCH: what its client was told of it.
    watches: BTreeMap<Token, Option<bool>>,
    /// What a server is running just now.
    running: Option<Token>,
}

impl Ledger {
    // What clients ask for.

    pub fn ask_watch(&mut self, watch: Token) {
        self.watches.insert(watch, None);
    }

    pub fn ask_multi(&mut self, block: Token, watch: Option<Token>) {
        let new = Block {
            steps: Vec::new(),
            has_exec: false,
            watch,
            runs: 0,
            is_refused: false,
            is_unprotected: false,
            fate: Fate::Open,
        };
        self.blocks.insert(block, new);
    }

    /// Another step; `tokens` are all that it carries, its own first.
    pub fn ask_step(&mut self, block: Token, tokens: &[Token]) {
        self.of.extend(tokens.iter().map(|&token| (token, block)));
        self.block(block).steps.push(tokens[0]);
    }

    pub fn ask_exec(&mut self, block: Token) {
        self.block(block).has_exec = true;
    }

    // What servers do.

    /// A server queues a step, behind this one.
    pub fn check_queued(&self, server: usize, step: Token, before: Option<Token>) {
        let Some(block) = self.of.get(&step) else { panic!("server {server} queues {step}, which is no step") };
        let other = before.and_then(|before| self.of.get(&before));
        let is_one = other.is_none_or(|other| other == block);
        assert!(is_one, "server {server} queues a step of {block} in the transaction {other:?}");
    }

    /// A server runs what carries this token.
    pub fn check_run(&self, token: Token) {
        let block = self.of.get(&token);
        assert!(block == self.running.as_ref(), "{token}, of the transaction {block:?}, is run in {:?}", self.running);
    }

    /// A server runs EXEC with these steps, on a connection on which `watch` holds.
    pub fn run(&mut self, server: usize, steps: &[Token], watch: Option<Token>) {
        // All of its steps may be the proxy's own: then nothing but its WATCH tells whose it is.
        let Some(name) = self.name(steps, watch) else { return };
        let block = self.block(name);
        assert!(block.has_exec, "server {server} runs {name}, and nobody has said EXEC");
        assert!(block.steps == steps, "server {server} runs {steps:?} of {name}, which has {:?}", block.steps);
        assert!(block.fate != Fate::NotDone, "{name} is run, though its client was told that it was not");
        block.runs += 1;
        assert!(block.runs == 1, "{name} is run twice");
        block.is_unprotected = watch.is_none();
        assert!(watch.is_none() || watch == block.watch, "{name} is run while {watch:?} is watched, not its own keys");
        self.running = Some(name);
    }

    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// The server is through with it.
    pub fn end_run(&mut self) {
        self.running = None;
    }

    /// A server answers EXEC with a null, since a key was changed that `watch` watches.
    pub fn refuse(&mut self, server: usize, steps: &[Token], watch: Option<Token>) {
        let name = self.name(steps, watch);
        let name = name.unwrap_or_else(|| panic!("server {server} refuses a transaction of nobody"));
        let block = self.block(name);
        assert!(block.watch.is_some() && block.watch == watch, "{name} is refused for what another one watches");
        block.is_refused = true;
    }

    fn name(&self, steps: &[Token], watch: Option<Token>) -> Option<Token> {
        let of_watch = || self.blocks.iter().find(|(_, block)| watch.is_some() && block.watch == watch);
        steps.first().and_then(|step| self.of.get(step)).or_else(|| of_watch().map(|(name, _)| name)).copied()
    }

    // What clients are told.

    pub fn tell_watch(&mut self, watch: Token, is_done: bool) {
        self.watches.insert(watch, Some(is_done));
    }

    /// A client is told what became of it.
    pub fn settle(&mut self, name: Token, fate: Fate) {
        let told = self.blocks.get(&name).and_then(|block| block.watch).and_then(|watch| self.watches[&watch]);
        let block = self.block(name);
        block.fate = fate;
        match fate {
            Fate::Done => {
                let has_run = block.runs == 1 || block.steps.is_empty();
                assert!(has_run, "{name} is acknowledged, and was not run");
                let is_as_told = !block.is_unprotected || told != Some(true);
                assert!(is_as_told, "{name} was run on another connection than its WATCH, which was acknowledged");
            }
            Fate::NotDone => assert!(block.runs == 0, "{name} was run, and its client is told that it was not"),
            Fate::Open | Fate::Unknown => {}
        }
    }

    /// Whether a server has refused it for what it watched.
    pub fn is_refused(&self, name: Token) -> bool {
        self.blocks.get(&name).is_some_and(|block| block.is_refused)
    }

    /// Whether keys are watched for it.
    pub fn is_watched(&self, name: Token) -> bool {
        self.blocks.get(&name).is_some_and(|block| block.watch.is_some())
    }

    fn block(&mut self, name: Token) -> &mut Block {
        self.blocks.get_mut(&name).expect("a transaction is asked for before anything else happens to it")
    }
}
