//! What a connection of a model server is set to, and what it is in the midst of: keys that are watched, and a
//! transaction that is being queued.
//!
//! It is here that the leavings of one client would be met by the next: whoever says something on a connection on which
//! another one watches keys, or has begun a transaction, was given a backend that was not clean.

use crate::history::{History, Token, parse_mirror_key};
use crate::protocol::{Value, Words, show};
use crate::redis::{Kind, Store, keys_of};
use crate::waiting::Waiting;

/// What a connection is set to.
#[derive(Default)]
pub struct Session {
    pub database: u32,
    pub is_resp3: bool,
    /// True once it was greeted with HELLO and PING.
    pub is_greeted: bool,
    pub has_said_hello: bool,
    /// The WATCH that holds, and each watched key with its version then.
    watch: Option<Token>,
    watched: Vec<(u32, Vec<u8>, u64)>,
    block: Option<Block>,
    /// It has said ASKING, and nothing since.
    is_asking: bool,
    /// What it waits for: until then, nothing that comes behind is looked at.
    pub waiting: Option<Waiting>,
}

/// A transaction between MULTI and EXEC.
#[derive(Default)]
struct Block {
    queued: Vec<Words>,
    /// The tokens of what is queued; what the proxy put there itself has none.
    steps: Vec<Token>,
    /// A step was refused.
    is_bad: bool,
    /// The connection has said ASKING before: that holds for all of it.
    is_asking: bool,
}

/// The server that is asked, and its mood.
#[derive(Clone, Copy)]
pub struct Here {
    pub number: usize,
    pub knows_hello: bool,
    pub is_loading: bool,
    /// It is a replica: it refuses writes, and runs what is none.
    pub is_replica: bool,
    pub now: u64,
}

const LOADING: &str = "LOADING Redis is loading the dataset in memory";
const READ_ONLY: &str = "READONLY You can't write against a read only replica.";

fn is_write(name: &[u8]) -> bool {
    !matches!(
        name,
        b"GET" | b"MGET" | b"HGETALL" | b"STRLEN" | b"ECHO" | b"EXISTS" | b"PUBLISH" | b"HELLO" | b"SELECT" | b"PING"
    )
}

impl Store {
    /// Answers one request; with `None`, if it has to wait for its answer. Says to `history` what was run.
    pub fn answer(
        &mut self,
        words: &[Vec<u8>],
        session: &mut Session,
        here: Here,
        history: &mut History,
    ) -> (Kind, Option<Value>) {
        let name = words[0].to_ascii_uppercase();
        if name == b"ROLE" {
            assert!(session.is_greeted, "server {} is sent ROLE before its handshake", here.number);
            let role = if here.is_replica { &b"slave"[..] } else { b"master" };
            return (Kind::Refused, Some(Value::Array(vec![Value::Bulk(role.to_vec()), Value::Int(0)])));
        }
        if name == b"ASKING" {
            assert!(session.is_greeted, "server {} is sent ASKING before its handshake", here.number);
            session.is_asking = true;
            return (Kind::User, Some(Value::Status(b"OK".to_vec())));
        }
        let is_asking = std::mem::take(&mut session.is_asking);
        let is_known = matches!(&name[..], b"MULTI" | b"EXEC" | b"DISCARD" | b"WATCH" | b"UNWATCH");
        if is_known || session.block.is_some() {
            assert!(session.is_greeted, "server {} is sent {} before its handshake", here.number, show(&name));
            return (Kind::User, Some(self.answer_part(&name, words, session, (here, is_asking), history)));
        }
        if here.is_loading && name != b"HELLO" {
            return (Kind::Refused, Some(Value::Error(LOADING.into())));
        }
        if let Some(token) = token(words) {
            session.check_owner(token, here.number);
        }
        if let Some(cluster) = &mut history.cluster {
            if let Some(error) = cluster.refuse(here.number, &keys_of(&name, words), is_asking, here.now) {
                if let Some(pop) = token(words).filter(|_| name.starts_with(b"B")) {
                    history.lists.refuse(pop);
                }
                return (Kind::User, Some(Value::Error(error.into_bytes())));
            }
        }
        let is_unknown = name == b"EVALSHA" && !self.knows_script(&words[1]);
        if here.is_replica && is_write(&name) && !is_unknown {
            assert!(session.is_greeted, "server {} is sent {} before its handshake", here.number, show(&name));
            return (Kind::User, Some(Value::Error(READ_ONLY.into())));
        }
        if let Some(waiting) = self.shelf.parse(&name, words, token(words), session.database, here.now) {
            assert!(session.is_greeted, "server {} is sent {} before its handshake", here.number, show(&name));
            history.check_route(here.number, &waiting.keys());
            let value = self.shelf.serve(&waiting, here.number, here.now, history);
            session.waiting = value.is_none().then_some(waiting);
            return (Kind::User, value);
        }
        let (kind, value) = self.run(&name, words, session, here, history);
        (kind, Some(value))
    }

    fn answer_part(
        &mut self,
        name: &[u8],
        words: &[Vec<u8>],
        session: &mut Session,
        (here, is_asking): (Here, bool),
        history: &mut History,
    ) -> Value {
        let server = here.number;
        let ok = Value::Status(b"OK".to_vec());
        match (name, session.block.take()) {
            (b"MULTI", None) => {
                session.block = Some(Block { is_asking, ..Block::default() });
                ok
            }
            (b"WATCH", None) => {
                let keys: Vec<&[u8]> = words[1..].iter().map(Vec::as_slice).collect();
                if let Some(cluster) = &mut history.cluster {
                    if let Some(error) = cluster.refuse(server, &keys, is_asking, here.now) {
                        return Value::Error(error.into_bytes());
                    }
                }
                history.check_route(server, &keys);
                let watch = token(words).unwrap_or_else(|| panic!("server {server} watches for nobody"));
                session.check_owner(watch, server);
                session.watch = Some(watch);
                for key in keys {
                    session.watched.push((session.database, key.to_vec(), self.version(session.database, key)));
                }
                ok
            }
            (b"UNWATCH", None) => {
                session.unwatch();
                ok
            }
            (b"DISCARD", Some(_)) => {
                session.unwatch();
                ok
            }
            (b"EXEC", Some(block)) => self.exec(block, session, here, history),
            (b"MULTI" | b"WATCH" | b"EXEC" | b"DISCARD", block) => {
                let midst = if block.is_some() { "within" } else { "without" };
                panic!("server {server} is sent {} {midst} a transaction", show(name))
            }
            (_, None) => unreachable!("it is no part of a transaction"),
            (_, Some(mut block)) => {
                let value = block.queue(name, words, session, here, history);
                session.block = Some(block);
                value
            }
        }
    }

    fn exec(&mut self, block: Block, session: &mut Session, here: Here, history: &mut History) -> Value {
        let has_changed = session.watched.iter().any(|(database, key, version)| {
            let now = self.version(*database, key);
            now != *version
        });
        let watch = session.unwatch();
        if block.is_bad {
            return Value::Error(b"EXECABORT Transaction discarded because of previous errors.".to_vec());
        }
        if here.is_loading {
            return Value::Error(format!("EXECABORT Transaction discarded because of: {LOADING}").into_bytes());
        }
        if let Some(error) = block.refuse_by_slot(here, history) {
            return Value::Error(error.into_bytes());
        }
        if here.is_replica && block.queued.iter().any(|words| is_write(&words[0].to_ascii_uppercase())) {
            return Value::Error(format!("EXECABORT Transaction discarded because of: {READ_ONLY}").into_bytes());
        }
        if has_changed {
            history.ledger.refuse(here.number, &block.steps, watch);
            return Value::Nil(b'*');
        }
        history.ledger.run(here.number, &block.steps, watch);
        let mut run = |words: &Words| match &words[0].to_ascii_uppercase()[..] {
            // The proxy puts it in the place of what it answers itself.
            b"PING" => Value::Status(b"PONG".to_vec()),
            b"ECHO" => Value::Bulk(words[1].clone()),
            name => self.run(name, words, session, here, history).1,
        };
        let values = block.queued.iter().map(&mut run).collect();
        history.ledger.end_run();
        Value::Array(values)
    }
}

/// The keys of a step; a channel is none.
fn step_keys<'a>(name: &[u8], words: &'a [Vec<u8>]) -> Vec<&'a [u8]> {
    match name {
        b"CLIENT" => Vec::new(),
        _ => keys_of(name, words),
    }
}

impl Block {
    /// With which error EXEC is answered since the slot of all of it is not here any more.
    fn refuse_by_slot(&self, here: Here, history: &mut History) -> Option<String> {
        let cluster = history.cluster.as_mut()?;
        let names = self.queued.iter().map(|words| (words[0].to_ascii_uppercase(), words));
        let keys: Vec<&[u8]> = names.flat_map(|(name, words)| step_keys(&name, words)).collect();
        cluster.refuse(here.number, &keys, self.is_asking, here.now)
    }

    /// The answer to a step, which is run with EXEC.
    fn queue(&mut self, name: &[u8], words: &[Vec<u8>], session: &Session, here: Here, history: &mut History) -> Value {
        assert!(name != b"HELLO", "server {} is given a handshake within a transaction", here.number);
        if let Some(token) = token(words) {
            session.check_owner(token, here.number);
            history.ledger.check_queued(here.number, token, self.steps.last().copied());
            self.steps.push(token);
        }
        if name == b"GET" && words.len() != 2 {
            self.is_bad = true;
            return Value::Error(b"ERR wrong number of arguments for 'get' command".to_vec());
        }
        if here.is_loading && name != b"PING" {
            self.is_bad = true;
            return Value::Error(LOADING.into());
        }
        if let Some(cluster) = &mut history.cluster {
            if let Some(error) = cluster.refuse_or_queue(here.number, &step_keys(name, words), self.is_asking, here.now)
            {
                self.is_bad = true;
                return Value::Error(error.into_bytes());
            }
        }
        if here.is_replica && is_write(name) {
            self.is_bad = true;
            return Value::Error(READ_ONLY.into());
        }
        self.queued.push(words.to_vec());
        Value::Status(b"QUEUED".to_vec())
    }
}

impl Session {
    /// Forgets what is watched.
    fn unwatch(&mut self) -> Option<Token> {
        self.watched.clear();
        self.watch.take()
    }

    /// What carries this token comes from who watches keys on this connection, if anybody does.
    fn check_owner(&self, token: Token, server: usize) {
        let is_own = self.watch.is_none_or(|watch| watch.client == token.client);
        assert!(is_own, "server {server} is sent {token} on a connection on which {:?} watches keys", self.watch);
    }
}

/// The token that a request carries, in a key or in a value.
fn token(words: &[Vec<u8>]) -> Option<Token> {
    let of_word = |word: &Vec<u8>| match word.first()? {
        b'm' => parse_mirror_key(word).map(|mirror| mirror.0),
        b'n' | b'd' => Token::parse(&word[1..]),
        b'x' => Token::parse(word[1..].split(|&byte| byte == b':').next()?),
        b'e' => Token::parse(word.strip_prefix(b"e:").or_else(|| word.strip_prefix(b"echo "))?),
        b'w' => Token::of_value(word).ok(),
        _ => None,
    };
    words[1..].iter().find_map(of_word)
}
