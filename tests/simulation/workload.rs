//! What model clients ask for, and which replies are right.
//!
//! Every request can be told from every other by its reply, or by what a server notes when it runs it: reads of
//! *mirror* keys are answered with the key's own token, the database and the protocol; writes carry tokens.

use crate::client::Client;
use crate::expect::Expect;
use crate::history::{History, Token, mirror_key};
use crate::lists::{Wait, list_key};
use crate::network::{Link, Rest};
use crate::plan::{Faults, Plan};
use crate::protocol::{Value, request};
use crate::random::Random;
use crate::redis::{DATABASES, digest};
use crate::transactions::Part;

/// What is longer is passed on while it comes, and then has to come so fast.
const LARGE: usize = 64 * 1024;
const UPLOAD_BYTES_PER_MS_MIN: u64 = 16;

/// A request that is not answered yet.
#[derive(Debug)]
pub struct Pending {
    pub number: u32,
    pub expect: Expect,
    pub database: u32,
    pub is_resp3: bool,
    /// What it writes.
    pub writes: Vec<Token>,
    /// True if rmux answers it without a server.
    pub is_local: bool,
    /// True if its keys may live on several servers.
    pub is_spread: bool,
    /// Which part of a transaction it is.
    pub part: Option<Part>,
    /// What it waits for.
    pub wait: Option<Wait>,
    /// True if rmux puts its reply together.
    pub has_parts: bool,
    /// True if it names a script, which the server may not know; and if it is a script's at all.
    pub is_call: bool,
    pub is_script: bool,
    /// True if the connection ends with its reply.
    pub is_last: bool,
    /// Its length, and about that of its reply.
    pub len: usize,
    pub reply_len: usize,
    /// Where it ends in all that its client has to send.
    pub end: u64,
    /// The paced time at which the last byte of it was sent.
    pub sent_at: Option<u64>,
}

impl Pending {
    /// Whether who has read so many bytes of its client has its start, and not all of it.
    pub fn is_inside(&self, read_bytes: u64) -> bool {
        self.end - (self.len as u64) < read_bytes && read_bytes < self.end
    }

    /// Whether it is passed on while it comes.
    pub fn is_large(&self) -> bool {
        self.len > LARGE
    }

    /// The longest time up to `until` for which the rest of it was waited for, in milliseconds.
    pub fn longest_wait(&self, link: &Link, until: u64, plan: &Plan) -> u64 {
        let rest = match (self.is_large(), plan.settings.timeouts.local_request_ms) {
            (false, _) => Rest::Small,
            (true, 0) => Rest::Large { bytes_per_ms: UPLOAD_BYTES_PER_MS_MIN, missed_ms_max: u64::MAX },
            (true, ms) => Rest::Large { bytes_per_ms: UPLOAD_BYTES_PER_MS_MIN, missed_ms_max: ms },
        };
        link.longest_wait(until, rest, |at| self.is_inside(at))
    }

    /// Whether it needs a connection of its own.
    pub fn is_leased(&self) -> bool {
        self.part.is_some() || self.wait.is_some()
    }
}

impl Client {
    /// Adds one more request, or a transaction that goes out in one piece, to what is to be sent.
    pub fn ask(&mut self, plan: &Plan, random: &mut Random, history: &mut History) {
        if self.script.is_some() {
            return self.ask_next(plan, random, history);
        }
        if self.database < DATABASES && plan.transact_in > 0 && random.one_in(plan.transact_in) {
            return self.begin_script(plan, random, history);
        }
        if self.database < DATABASES && plan.wait_in > 0 && random.one_in(plan.wait_in) {
            return self.ask_pop(random, history);
        }
        if random.below(100) < 80 {
            return self.ask_server(plan, random, history);
        }
        let number = self.next_number();
        let token = Token { client: self.number, number };
        let mut pending = self.pending(number);
        let mut bytes = match self.is_polite || !random.one_in(10) {
            true => self.ask_here(&mut pending, token, plan, random),
            false if pending.database < DATABASES && plan.value_max >= 100_000 && random.one_in(6) => {
                ask_large_nonsense(&mut pending, plan, random)
            }
            false => ask_nonsense(&mut pending, random),
        };
        if !pending.is_local && pending.database >= DATABASES {
            pending.expect = Expect::Error("ERR DB index is out of range".to_string());
        }
        maybe_say_nothing(&pending, &mut bytes, random);
        self.queue(pending, &bytes);
    }

    /// Adds a request that a server answers.
    pub fn ask_server(&mut self, plan: &Plan, random: &mut Random, history: &mut History) {
        let number = self.next_number();
        let token = Token { client: self.number, number };
        let mut pending = self.pending(number);
        let mut bytes = match random.below(80) {
            0..40 => self.ask_mirror(&mut pending, token, plan, random, history),
            40..65 => self.ask_write(&mut pending, token, plan, random, history),
            65..75 => self.ask_value(&mut pending, plan, random),
            _ => {
                pending.expect = Expect::Error(format!("ERR model {token}"));
                request(&[b"GET", format!("e:{token}").as_bytes()])
            }
        };
        if pending.database >= DATABASES {
            pending.expect = Expect::Error("ERR DB index is out of range".to_string());
        }
        maybe_say_nothing(&pending, &mut bytes, random);
        let read = match &pending.expect {
            Expect::Own(key, _) => Some(key.clone()),
            _ => None,
        };
        self.queue(pending, &bytes);
        // A write right behind a read of the same key: who repeats the read must not see it.
        if let Some(key) = read.filter(|_| random.one_in(2)) {
            self.ask_own_write(&key, history);
        }
    }

    /// Adds a write of a key that nobody else writes.
    pub fn ask_own_write(&mut self, key: &[u8], history: &mut History) {
        let token = Token { client: self.number, number: self.next_number() };
        let mut pending = self.pending(token.number);
        pending.expect = Expect::Value(Value::Status(b"OK".to_vec()));
        history.begin(token, key, pending.database);
        pending.writes.push(token);
        self.wrote_own(key.to_vec(), token.number);
        if pending.database >= DATABASES {
            pending.expect = Expect::Error("ERR DB index is out of range".to_string());
        }
        self.queue(pending, &request(&[b"SET", key, &token.value(0)]));
    }

    /// A request of which nothing is known yet.
    pub fn pending(&self, number: u32) -> Pending {
        Pending {
            number,
            expect: Expect::Positive,
            database: self.database,
            is_resp3: self.is_resp3,
            writes: Vec::new(),
            is_local: false,
            is_spread: false,
            part: None,
            wait: None,
            has_parts: false,
            is_call: false,
            is_script: false,
            is_last: false,
            len: 0,
            reply_len: 100,
            end: 0,
            sent_at: None,
        }
    }

    pub fn ask_mirror(
        &mut self,
        pending: &mut Pending,
        token: Token,
        plan: &Plan,
        random: &mut Random,
        history: &History,
    ) -> Vec<u8> {
        let len = plan.len(random);
        let key = mirror_key(token, len);
        pending.reply_len = len + 100;
        match random.below(10) {
            0..6 => {
                pending.expect = Expect::Mirror(token, len);
                match random.below(6) {
                    0 => [&b"get "[..], &key, b"\r\n"].concat(),
                    1 => [&b"  GET \""[..], &key, b"\"\n"].concat(),
                    _ => request(&[b"GET", &key]),
                }
            }
            6 => {
                pending.expect = Expect::Table(token, len);
                request(&[b"HGetAll", &key])
            }
            7 => {
                let shown = crate::history::mirror(self.database, self.is_resp3, token, len).len();
                pending.expect = Expect::Value(Value::Int(shown as i64));
                request(&[b"STRLEN", &key])
            }
            _ => {
                let count = random.between(1, 4);
                // Of large replies several servers' parts come in pieces.
                let is_large = random.one_in(4);
                let mut lens: Vec<(Token, usize)> = Vec::new();
                let mut keys: Vec<Vec<u8>> = Vec::new();
                for _ in 0..count {
                    let len = history.choose(
                        &keys,
                        random,
                        |random| if is_large { plan.len(random) } else { random.below(100) },
                        |&len| mirror_key(token, len),
                    );
                    lens.push((token, len));
                    keys.push(mirror_key(token, len));
                }
                pending.reply_len = lens.iter().map(|(_, len)| len + 100).sum();
                let mut words: Vec<&[u8]> = vec![b"MGET"];
                words.extend(keys.iter().map(Vec::as_slice));
                pending.is_spread = true;
                pending.expect = Expect::Mirrors(lens);
                request(&words)
            }
        }
    }

    pub fn ask_write(
        &mut self,
        pending: &mut Pending,
        token: Token,
        plan: &Plan,
        random: &mut Random,
        history: &mut History,
    ) -> Vec<u8> {
        let len = plan.len(random);
        let value = token.value(len);
        let ok = || Expect::Value(Value::Status(b"OK".to_vec()));
        let mut write = |pending: &mut Pending, key: &[u8]| {
            history.begin(token, key, pending.database);
            pending.writes.push(token);
        };
        if pending.part.is_none() && plan.script_in > 0 && random.one_in(plan.script_in) {
            // It may come to nothing, as in a transaction.
            let key = format!("p{}.t", self.number).into_bytes();
            write(pending, &key);
            pending.expect = ok();
            let script = format!("return {}", random.below(3)).into_bytes();
            let kind = random.below(4);
            (pending.is_script, pending.is_call) = (kind != 1, kind > 1);
            return match kind {
                0 => request(&[b"EVAL", &script, b"1", &key, &value]),
                1 => request(&[b"SET", &key, &value]),
                _ => request(&[b"EVALSHA", &digest(&script), b"1", &key, &value]),
            };
        }
        match random.below(if plan.wait_in > 0 { 16 } else { 12 }) {
            0..4 if pending.part.is_some() => {
                // It may come to nothing: the client can not know what it will read there.
                let key = format!("p{}.t", self.number).into_bytes();
                write(pending, &key);
                pending.expect = ok();
                request(&[b"SET", &key, &value])
            }
            0..4 => {
                let key = self.own_key(random);
                write(pending, &key);
                self.wrote_own(key.clone(), token.number);
                pending.expect = ok();
                request(&[b"SET", &key, &value])
            }
            4..6 => {
                let key = shared_key(random);
                write(pending, &key);
                pending.expect = ok();
                request(&[b"set", &key, &value])
            }
            6 => {
                let key = format!("a{}", random.below(4)).into_bytes();
                let value = token.value(random.below(100));
                write(pending, &key);
                request(&[b"APPEND", &key, &value])
            }
            7 | 8 => {
                let key = format!("n{token}").into_bytes();
                write(pending, &key);
                pending.expect = Expect::Value(Value::Int(1));
                if random.one_in(3) { [&b"incr "[..], &key, b"\r\n"].concat() } else { request(&[b"INCR", &key]) }
            }
            9 => {
                let key = format!("d{token}").into_bytes();
                write(pending, &key);
                pending.expect = Expect::Value(Value::Int(0));
                request(&[b"DEL", &key])
            }
            12.. => {
                let key = list_key(random);
                write(pending, &key);
                request(&[random.pick(&[b"RPUSH", b"LPUSH"]), &key, &value])
            }
            10 => {
                let channel = format!("ch{}", random.below(9)).into_bytes();
                write(pending, &channel);
                pending.expect = Expect::Value(Value::Int(0));
                request(&[b"PUBLISH", &channel, &value])
            }
            _ => {
                let first = shared_key(random);
                write(pending, &first);
                let second_token = Token { client: self.number, number: self.next_number() };
                let second = history.choose(std::slice::from_ref(&first), random, shared_key, Vec::clone);
                history.begin(second_token, &second, pending.database);
                pending.writes.push(second_token);
                pending.is_spread = true;
                pending.expect = ok();
                request(&[b"MSET", &first, &value, &second, &second_token.value(random.below(50))])
            }
        }
    }

    fn ask_value(&mut self, pending: &mut Pending, plan: &Plan, random: &mut Random) -> Vec<u8> {
        pending.reply_len = plan.value_max + 100;
        let key = if random.one_in(3) { shared_key(random) } else { self.own_key(random) };
        pending.expect = match key[0] {
            b's' => Expect::Shared(key.clone()),
            _ => Expect::Own(key.clone(), self.last_own(&key)),
        };
        request(&[b"GET", &key])
    }

    /// Something that rmux answers itself.
    fn ask_here(&mut self, pending: &mut Pending, token: Token, plan: &Plan, random: &mut Random) -> Vec<u8> {
        pending.is_local = true;
        let text = format!("echo {token}").into_bytes();
        let status = |text: &str| Expect::Value(Value::Status(text.as_bytes().to_vec()));
        match random.below(12) {
            0 | 1 => {
                pending.expect = status("PONG");
                if random.one_in(2) { b"PING\r\n".to_vec() } else { request(&[b"ping"]) }
            }
            2 => {
                pending.expect = Expect::Value(Value::Bulk(text.clone()));
                request(&[b"PING", &text])
            }
            3..6 => {
                pending.expect = Expect::Value(Value::Bulk(text.clone()));
                if random.one_in(3) { [&b"ECHO '"[..], &text, b"'\r\n"].concat() } else { request(&[b"ECHO", &text]) }
            }
            6 => {
                pending.expect = Expect::Error("ERR unknown command 'nosuch', with args beginning with: '".to_string());
                request(&[b"nosuch", &text])
            }
            7 => {
                pending.expect = Expect::Error("ERR This command is not supported".to_string());
                request(&[b"SHUTDOWN"])
            }
            // With one server, it is the server that says so: where that changes nobody can foresee it.
            8 if plan.reload_in == 0 => {
                pending.is_local = plan.settings.servers.len() > 1;
                pending.expect = Expect::Error("ERR wrong number of arguments for 'get' command".to_string());
                request(&[b"GET"])
            }
            9 if plan.has_resp3 => {
                self.is_resp3 = !self.is_resp3;
                pending.is_resp3 = self.is_resp3;
                pending.expect = Expect::Welcome;
                request(&[b"HELLO", if self.is_resp3 { b"3" } else { b"2" }])
            }
            9..11 if plan.databases > 0 => {
                self.database = random.below(plan.databases as usize + 1) as u32;
                if random.one_in(10) {
                    self.database = 99;
                }
                pending.expect = status("OK");
                request(&[b"SELECT", self.database.to_string().as_bytes()])
            }
            11 if plan.faults > Faults::None && random.one_in(3) => {
                pending.is_last = true;
                pending.expect = status("OK");
                request(&[b"QUIT"])
            }
            _ => {
                pending.expect = Expect::Value(Value::Bulk(Vec::new()));
                request(&[b"ECHO", b""])
            }
        }
    }
}

/// Puts something before a request that Redis ignores, now and then.
fn maybe_say_nothing(pending: &Pending, bytes: &mut Vec<u8>, random: &mut Random) {
    if random.one_in(50) && matches!(bytes.first(), Some(b'*')) && !pending.is_last {
        let empty: &[u8] = random.pick(&[b"\r\n", b"*0\r\n", b"*-1\r\n", b" \r\n"]);
        bytes.splice(0..0, empty.iter().copied());
    }
}

/// Something that no client says that speaks the protocol.
fn ask_nonsense(pending: &mut Pending, random: &mut Random) -> Vec<u8> {
    pending.is_local = true;
    pending.is_last = true;
    let (text, words): (&[u8], &str) = random.pick(&[
        (b"*1\r\n:1\r\n", "ERR Protocol error: expected '$', got ':'"),
        (b"*2\r\n$3\r\nGET\r\n$x\r\n", "ERR Protocol error: invalid bulk length"),
        (b"*x\r\n", "ERR Protocol error: invalid multibulk length"),
        (b"GET 'unbalanced\r\n", "ERR Protocol error: unbalanced quotes in request"),
        (b"POST / HTTP/1.1\r\n", ""),
    ]);
    pending.expect = if words.is_empty() { Expect::End } else { Expect::Error(words.to_string()) };
    text.to_vec()
}

/// A large request whose value does not end where it says: no server may get all of it.
fn ask_large_nonsense(pending: &mut Pending, plan: &Plan, random: &mut Random) -> Vec<u8> {
    pending.is_last = true;
    pending.expect = Expect::Error("ERR Protocol error: expected CRLF behind an argument".to_string());
    let key = format!("z{}", random.below(50)).into_bytes();
    let mut bytes = request(&[b"SET", &key, &vec![b'z'; random.between(50_000, plan.value_max)]]);
    bytes.truncate(bytes.len() - 2);
    bytes.extend_from_slice(random.pick(&[b"xy", b"\r\r", b"\n\r", b"*1"]));
    bytes
}

fn shared_key(random: &mut Random) -> Vec<u8> {
    // Of a cluster's slots they share some.
    let number = random.below(20);
    format!("s{number}{{{}}}", number % 6).into_bytes()
}
