//! Where the calls come from: a third from rmux's own table of commands, so that every row is asked, with arguments
//! by chance; the others from templates, a quarter of them spoilt.
//!
//! ```text
//! table ──────► arguments by chance ─┐
//! templates ──► choices ──► spoil ───┴─► tame ──► a call, or another attempt
//! ```
//!
//! `tame` keeps away what would make two servers differ by time or chance alone, or wait for ever. It knows no
//! sockets and no replies. One seed decides every choice.

use super::exceptions::{self, Compared};
use super::templates::TEMPLATES;
use rmux::command::{self, Class, Command, Lease, Timeout};

/// A command and its arguments.
pub type Call = Vec<Vec<u8>>;

/// Long after the test, in seconds and in milliseconds alike.
const FAR: &str = "33177117420000";
const LIBRARY: &str = "#!lua name=lib\nredis.register_function('f',function(k,a)return(#a)end)";
/// Never written to.
const NO_KEY: &[u8] = b"nothing";
const KEYS: usize = 12;
const WORDS: &[&[u8]] = &[
    b"a",
    b"b",
    b"c",
    b"d",
    b"e",
    b"w",
    b"word",
    b"Palermo",
    b"",
    b"\0\r\n$1",
    b"*",
    b"COUNT",
    b"NX",
    b"XX",
    b"GET",
    b"WITHSCORES",
    b"LEFT",
    b"STREAMS",
    b"MATCH",
    b"(1",
    b"[a",
    b"HELP",
];
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "2",
    "3",
    "4",
    "5",
    "10",
    "64",
    "100",
    "-1",
    "-2",
    "-100",
    "+1",
    "01",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    FAR,
];
const FLOATS: &[&str] = &["0.5", "1.5", "-2.25", "3", "1e3", "inf", "-inf", "nan", "1.", "0x10"];

/// All the chance there is (xorshift64*).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number from 0 to `n` - 1.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n.max(1)
    }

    pub fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// What only a server can tell.
pub struct Facts {
    /// Of the script `return#ARGV`.
    pub sha: Vec<u8>,
    /// A string, as DUMP gives it.
    pub dump: Vec<u8>,
}

/// Makes calls without end.
pub struct Calls {
    pub random: Random,
    facts: Facts,
    templates: Vec<Vec<&'static str>>,
    rows: Vec<(Vec<&'static str>, &'static Command)>,
    next_row: usize,
    made: usize,
}

impl Calls {
    pub fn new(seed: u64, facts: Facts) -> Calls {
        let mut rows = Vec::new();
        // No Redis has that one.
        for row in command::all().filter(|row| row.name() != "rmux") {
            rows.push((vec![row.name()], row));
            rows.extend(row.subs().iter().map(|sub| (vec![row.name(), sub.name()], sub)));
        }
        let mut random = Random::new(seed);
        for last in (1..rows.len()).rev() {
            rows.swap(last, random.below(last + 1));
        }
        let lines = TEMPLATES.lines().filter(|line| !line.is_empty());
        let templates = lines.map(|line| line.split(' ').collect()).collect();
        Calls { random, facts, templates, rows, next_row: 0, made: 0 }
    }

    /// The next call.
    pub fn next(&mut self) -> Call {
        self.made += 1;
        loop {
            let mut call = if self.random.percent(33) { self.tabled() } else { self.templated() };
            if self.random.percent(10) {
                call[0].make_ascii_lowercase();
            }
            if let Some(call) = tame(call) {
                return call;
            }
        }
    }

    fn tabled(&mut self) -> Call {
        let (words, command) = self.rows[self.next_row % self.rows.len()].clone();
        self.next_row += 1;
        let mut call: Call = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        let least = usize::from(command.arity.unsigned_abs());
        let wanted = match self.random.below(10) {
            0 => least.saturating_sub(1),
            1 => least + 1,
            2 => least + 2 + self.random.below(3),
            _ => least,
        };
        while call.len() < wanted {
            let choice = if call.len() == words.len() { "$k" } else { self.random.pick(&["$k", "$n", "$w", "$n"]) };
            let argument = self.choice(choice);
            call.push(argument);
        }
        call
    }

    fn templated(&mut self) -> Call {
        let template = self.random.below(self.templates.len());
        let words = self.templates[template].clone();
        let mut call: Call = words.iter().map(|word| self.choice(word)).collect();
        if self.random.percent(25) {
            self.spoil(&mut call);
        }
        call
    }

    fn spoil(&mut self, call: &mut Call) {
        let at = 1 + self.random.below(call.len());
        let choice = self.random.pick(&["$k", "$n", "$f", "$w"]);
        let argument = self.choice(choice);
        match self.random.below(5) {
            0 if at < call.len() => drop(call.remove(at)),
            1 => call.insert(at, argument),
            2 if at + 1 < call.len() => call.swap(at, at + 1),
            _ if at < call.len() => call[at] = argument,
            _ => call.push(argument),
        }
    }

    /// What stands for a word of a template: a key that most often has the type that is meant, a number …
    fn choice(&mut self, word: &str) -> Vec<u8> {
        let keys: &[usize] = match word {
            "$s" => &[0, 1],
            "$h" => &[2],
            "$l" => &[3, 4],
            "$t" => &[5, 6],
            "$z" => &[7, 8],
            "$x" => &[9],
            "$g" => &[10],
            "$p" => &[11],
            "$k" => &[],
            "$n" => return self.random.pick(NUMBERS).into(),
            "$f" => return self.random.pick(FLOATS).into(),
            "$w" => return self.random.pick(WORDS).into(),
            "$i" => return format!("{}-{}", self.made + self.random.below(3), self.random.below(3)).into(),
            "$far" => return FAR.into(),
            "$lib" => return LIBRARY.into(),
            "$sha" => return self.facts.sha.clone(),
            "$dump" => return self.facts.dump.clone(),
            literal => return literal.into(),
        };
        let key =
            if keys.is_empty() || self.random.percent(12) { self.random.below(KEYS) } else { self.random.pick(keys) };
        format!("k{key}").into()
    }
}

/// The call without what time or chance decide; nothing when it may not be sent at all.
fn tame(mut call: Call) -> Option<Call> {
    let name = String::from_utf8_lossy(&call[0]).to_lowercase();
    match name.as_str() {
        // Which of two relative times is greater depends on how many milliseconds lie between them.
        "expire" | "pexpire" if call.iter().any(|word| is_word(word, "gt") || is_word(word, "lt")) => return None,
        // A relative time ends long after the test.
        "expire" | "pexpire" | "setex" | "psetex" | "restore" => call.iter_mut().skip(2).take(1).for_each(postpone),
        "set" | "getex" => {
            let is_time = |word: &Vec<u8>| ["ex", "px", "exat", "pxat"].iter().any(|time| is_word(word, time));
            if call.iter().any(is_time) {
                call.iter_mut().skip(2).for_each(postpone);
            }
        }
        // What it takes away is chance.
        "spop" => call.iter_mut().skip(1).take(1).for_each(|key| *key = NO_KEY.to_vec()),
        // Whether an entry has been idle for some milliseconds is time.
        "xclaim" | "xautoclaim" => call.iter_mut().skip(4).take(1).for_each(|idle| {
            if number(idle).is_some_and(|idle| idle > 0.0) {
                *idle = b"0".to_vec();
            }
        }),
        // An id of the clock's.
        "xadd" if call.iter().any(|word| word.contains(&b'*')) => return None,
        // Redis 8 reads a name up to its first NUL only.
        "client" if call.iter().skip(2).any(|word| word.contains(&0)) => return None,
        // Behind other replies, Redis 7.2 and newer forget to say that a user is not let in.
        "auth" if call.len() == 3 => call[1] = b"default".to_vec(),
        "hello" if call.iter().any(|word| is_word(word, "auth")) => return None,
        // How many databases there are is not rmux's to know: it says +OK, and the next command has the error.
        "select" if call.iter().filter_map(|word| number(word)).any(|number| number > 15.0) => return None,
        _ => {}
    }
    if exceptions::compared(&call) == Compared::NotSent && arity_allows(&call) {
        return None;
    }
    (!may_wait_long(&call)).then_some(call)
}

fn arity_allows(call: &Call) -> bool {
    exceptions::row(call).is_none_or(|row| row.arity_allows(call.len()))
}

/// A call may wait for 20 ms, no longer.
fn may_wait_long(call: &Call) -> bool {
    let Some(row) = exceptions::row(call) else { return false };
    if row.class == Class::Lease(Lease::Wait) {
        return call[1..].iter().filter_map(|word| number(word)).any(|number| number != 0.0 && number != 10.0)
            || call.last().is_some_and(|timeout| number(timeout) == Some(0.0));
    }
    match row.blocks(call.len(), |index| &call[index]) {
        None => false,
        Some(Timeout::Millis(millis)) => millis > 20,
        // Without any number there is no timeout that Redis would take.
        Some(Timeout::Forever) => call.iter().any(|word| number(word).is_some()),
    }
}

fn postpone(argument: &mut Vec<u8>) {
    if number(argument).is_some_and(|number| number > 0.0) {
        *argument = FAR.into();
    }
}

fn number(word: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(word).ok()?;
    if text.starts_with("0x") { Some(1.0) } else { text.parse().ok() }
}

fn is_word(word: &[u8], wanted: &str) -> bool {
    word.eq_ignore_ascii_case(wanted.as_bytes())
}
