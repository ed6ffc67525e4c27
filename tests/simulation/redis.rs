//! A small Redis: what it holds, and what it answers.
//!
//! It takes only what a pooler that keeps its promises would send: canonical requests, and nothing of a client before
//! the handshake is confirmed.

use std::collections::{HashMap, HashSet};

use crate::history::{History, Token, mirror, parse_mirror_key};
use crate::protocol::{Value, show};
use crate::session::{Here, Session};
use crate::waiting::Shelf;

/// How many databases there are.
pub const DATABASES: u32 = 16;

/// What a server holds. It is kept, or lost, over a restart.
#[derive(Default)]
pub struct Store {
    /// By database and key; with how many writes there were when it was written.
    values: HashMap<(u32, Vec<u8>), (Vec<u8>, u64)>,
    writes: u64,
    /// The digests of the scripts that it was shown.
    scripts: HashSet<Vec<u8>>,
    pub shelf: Shelf,
}

/// What is in a key of a database.
pub type Entry = ((u32, Vec<u8>), Vec<u8>);

/// What kind of request was answered.
#[derive(PartialEq, Eq)]
pub enum Kind {
    /// It sets the session of the connection.
    Control,
    /// It is a client's.
    User,
    /// It was not run.
    Refused,
}

impl Store {
    /// Runs one request. Says to `history` what it wrote.
    pub fn run(
        &mut self,
        name: &[u8],
        words: &[Vec<u8>],
        session: &mut Session,
        here: Here,
        history: &mut History,
    ) -> (Kind, Value) {
        if let Some(value) = control(name, words, session, here.knows_hello) {
            return (Kind::Control, value);
        }
        assert!(session.is_greeted, "server {} is sent {} before its handshake is over", here.number, show(name));
        (Kind::User, self.run_for_user(name, words, session, here.number, history))
    }

    /// Whether it was shown the script with this digest.
    pub fn knows_script(&self, digest: &[u8]) -> bool {
        self.scripts.contains(digest)
    }

    /// Changes with every write to this key.
    pub fn version(&self, database: u32, key: &[u8]) -> u64 {
        self.values.get(&(database, key.to_vec())).map_or(0, |value| value.1)
    }

    fn run_for_user(
        &mut self,
        name: &[u8],
        words: &[Vec<u8>],
        session: &Session,
        server: usize,
        history: &mut History,
    ) -> Value {
        let database = session.database;
        let word = |index: usize| words.get(index).map_or(&b""[..], Vec::as_slice);
        let keys: Vec<&[u8]> = match name {
            // Those who hear messages hear all servers: in a transaction it goes where that goes.
            b"PUBLISH" if history.ledger.is_running() => Vec::new(),
            b"PUBLISH" => words[1..].iter().take(1).map(Vec::as_slice).collect(),
            _ => keys_of(name, words),
        };
        history.check_route(server, &keys);
        // The same key may stand twice in one request.
        let mut mirrors: Vec<&[u8]> = keys.iter().copied().filter(|key| key.starts_with(b"m:")).collect();
        mirrors.sort_unstable();
        mirrors.dedup();
        mirrors.iter().for_each(|key| history.read(key, server));
        let mut ran = |text: &[u8], key: &[u8]| match Token::of_value(text) {
            Ok(token) => history.run(token, server, database, key),
            Err(error) => panic!("server {server} is sent {} with {error}", show(key)),
        };
        match (name, words.len()) {
            (b"GET", 2) => self.get(session, word(1)),
            (b"MGET", 2..) => Value::Array(keys.iter().map(|key| self.get(session, key)).collect()),
            (b"HGETALL", 2) => Value::Map(vec![Value::Bulk(b"field".to_vec()), self.get(session, word(1))]),
            (b"STRLEN", 2) => match self.get(session, word(1)) {
                Value::Bulk(value) => Value::Int(value.len() as i64),
                _ => Value::Int(0),
            },
            (b"SET", 3) => {
                ran(word(2), word(1));
                self.put(database, word(1), word(2).to_vec());
                Value::Status(b"OK".to_vec())
            }
            (b"ECHO", 2) => Value::Bulk(word(1).to_vec()),
            // Every script writes a value.
            (b"EVALSHA", 5) if !self.scripts.contains(word(1)) => {
                Value::Error(b"NOSCRIPT No matching script. Please use EVAL.".to_vec())
            }
            (b"EVAL" | b"EVALSHA", 5) => {
                if name == b"EVAL" {
                    self.scripts.insert(digest(word(1)));
                }
                ran(word(4), word(3));
                self.put(database, word(3), word(4).to_vec());
                Value::Status(b"OK".to_vec())
            }
            (b"MSET", 3..) if words.len() % 2 == 1 => {
                for pair in words[1..].chunks(2) {
                    ran(&pair[1], &pair[0]);
                    self.put(database, &pair[0], pair[1].clone());
                }
                Value::Status(b"OK".to_vec())
            }
            (b"APPEND", 3) => {
                ran(word(2), word(1));
                let old = self.values.get(&(database, word(1).to_vec())).map_or(&[][..], |value| &value.0);
                let value = [old, word(2)].concat();
                let len = value.len();
                self.put(database, word(1), value);
                Value::Int(len as i64)
            }
            (b"RPUSH" | b"LPUSH", 3) => {
                ran(word(2), word(1));
                let token = Token::of_value(word(2)).expect("it was run");
                history.lists.push(token, server);
                Value::Int(self.shelf.push(database, word(1), word(2), name == b"LPUSH") as i64)
            }
            (b"PUBLISH", 3) => {
                ran(word(2), word(1));
                Value::Int(0)
            }
            // Its key is its token.
            (b"INCR" | b"DEL", 2) => {
                let token = Token::parse(&word(1)[1..]).expect("only keys with a token are counted or deleted");
                history.run(token, server, database, word(1));
                Value::Int(if name == b"INCR" { 1 } else { 0 })
            }
            (b"GET" | b"SET" | b"STRLEN" | b"APPEND" | b"INCR" | b"MGET" | b"MSET", _) => {
                let name = String::from_utf8_lossy(name).to_ascii_lowercase();
                Value::Error(format!("ERR wrong number of arguments for '{name}' command").into_bytes())
            }
            _ => panic!("server {server} is sent {}", show(&words[0])),
        }
    }

    /// Takes out what is in these keys.
    pub fn take(&mut self, is_it: impl Fn(&[u8]) -> bool) -> Vec<Entry> {
        let keys: Vec<(u32, Vec<u8>)> = self.values.keys().filter(|(_, key)| is_it(key)).cloned().collect();
        keys.into_iter().filter_map(|key| self.values.remove(&key).map(|(value, _)| (key, value))).collect()
    }

    /// All of this is here from now on.
    pub fn put_all(&mut self, values: Vec<Entry>) {
        values.into_iter().for_each(|((database, key), value)| self.put(database, &key, value));
    }

    fn put(&mut self, database: u32, key: &[u8], value: Vec<u8>) {
        self.writes += 1;
        self.values.insert((database, key.to_vec()), (value, self.writes));
    }

    fn get(&self, session: &Session, key: &[u8]) -> Value {
        if let Some((token, len)) = parse_mirror_key(key) {
            return Value::Bulk(mirror(session.database, session.is_resp3, token, len));
        }
        if let Some(token) = key.strip_prefix(b"e:") {
            return Value::Error([b"ERR model ", token].concat());
        }
        match self.values.get(&(session.database, key.to_vec())) {
            Some((value, _)) => Value::Bulk(value.clone()),
            None => Value::Nil(b'$'),
        }
    }
}

/// The keys of a request, by which a cluster finds its node; a channel is none.
pub fn keys_of<'a>(name: &[u8], words: &'a [Vec<u8>]) -> Vec<&'a [u8]> {
    match name {
        b"MGET" | b"EXISTS" | b"DEL" => words[1..].iter().map(Vec::as_slice).collect(),
        b"MSET" => words[1..].iter().step_by(2).map(Vec::as_slice).collect(),
        b"ECHO" | b"PUBLISH" | b"HELLO" | b"SELECT" | b"PING" => Vec::new(),
        b"BLPOP" | b"BRPOP" => words[1..words.len() - 1].iter().map(Vec::as_slice).collect(),
        b"BLMOVE" => words[1..3].iter().map(Vec::as_slice).collect(),
        b"EVAL" | b"EVALSHA" => words[3..4].iter().map(Vec::as_slice).collect(),
        _ => words[1..].iter().take(1).map(Vec::as_slice).collect(),
    }
}

/// The name of a script.
pub fn digest(script: &[u8]) -> Vec<u8> {
    rmux::sha1::sha1(script).iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()
}

/// The reply to a request that sets the session; `None` if it is another one.
fn control(name: &[u8], words: &[Vec<u8>], session: &mut Session, knows_hello: bool) -> Option<Value> {
    let argument = words.get(1).map_or(&b""[..], Vec::as_slice);
    let bulk = |text: &str| Value::Bulk(text.as_bytes().to_vec());
    match name {
        b"HELLO" => {
            session.has_said_hello = true;
            if !knows_hello {
                return Some(Value::Error(b"ERR unknown command 'HELLO'".to_vec()));
            }
            session.is_resp3 = argument == b"3";
            let protocol = Value::Int(if session.is_resp3 { 3 } else { 2 });
            let pairs = vec![bulk("server"), bulk("redis"), bulk("version"), bulk("7.4.2"), bulk("proto"), protocol];
            Some(Value::Map(pairs))
        }
        b"SELECT" => {
            let database: u32 = String::from_utf8_lossy(argument).parse().expect("a database is a number");
            if database >= DATABASES {
                return Some(Value::Error(b"ERR DB index is out of range".to_vec()));
            }
            session.database = database;
            Some(Value::Status(b"OK".to_vec()))
        }
        b"PING" => {
            assert!(session.has_said_hello, "a connection begins with HELLO");
            assert!(!session.is_greeted, "a client's PING is answered by the pooler");
            session.is_greeted = true;
            Some(Value::Status(b"PONG".to_vec()))
        }
        _ => None,
    }
}
