//! Steps of transactions whose keys have one slot of a cluster.

use crate::client::Client;
use crate::expect::Expect;
use crate::history::{History, Token};
use crate::plan::Plan;
use crate::protocol::{Value, request};
use crate::random::Random;
use crate::workload::Pending;

/// So many tags share slots with keys of other requests.
const TAGS: usize = 6;

/// The slot of a transaction.
#[derive(Clone, Copy)]
pub struct Tag(usize);

impl Tag {
    pub fn draw(random: &mut Random) -> Tag {
        Tag(random.below(TAGS))
    }

    /// A key that all clients write.
    pub fn shared(self, random: &mut Random) -> Vec<u8> {
        format!("s{}{{{}}}", self.0 + TAGS * random.below(3), self.0).into_bytes()
    }

    /// A key with which a server knows who watches.
    pub fn watched(self, watch: Token, number: usize) -> Vec<u8> {
        format!("x{watch}:{number}{{{}}}", self.0).into_bytes()
    }

    /// A key that only this client writes, in transactions and around them.
    pub fn own(self, client: u32) -> Vec<u8> {
        format!("p{client}.t{{{}}}", self.0).into_bytes()
    }
}

impl Client {
    pub fn ask_slot_step(
        &mut self,
        pending: &mut Pending,
        (token, tag): (Token, Tag),
        plan: &Plan,
        random: &mut Random,
        history: &mut History,
    ) -> Vec<u8> {
        let len = plan.len(random);
        let value = token.value(len);
        let mut write = |pending: &mut Pending, key: &[u8], token: Token| {
            history.begin(token, key, pending.database);
            pending.writes.push(token);
        };
        pending.expect = Expect::Value(Value::Status(b"OK".to_vec()));
        match random.below(9) {
            0 | 1 => {
                pending.reply_len = len + 100;
                pending.expect = Expect::Mirror(token, len);
                request(&[b"GET", format!("m:{token}:{len}:{{{}}}", tag.0).as_bytes()])
            }
            2 => {
                let channel = format!("ch{}", random.below(9)).into_bytes();
                write(pending, &channel, token);
                pending.expect = Expect::Value(Value::Int(0));
                request(&[b"PUBLISH", &channel, &value])
            }
            3 => {
                let key = format!("a{{{}}}", tag.0).into_bytes();
                write(pending, &key, token);
                pending.expect = Expect::Positive;
                request(&[b"APPEND", &key, &token.value(random.below(50))])
            }
            4 | 5 => {
                let (first, second) = (tag.shared(random), tag.shared(random));
                write(pending, &first, token);
                let other = Token { client: self.number, number: self.next_number() };
                write(pending, &second, other);
                request(&[b"MSET", &first, &value, &second, &other.value(random.below(50))])
            }
            6 => {
                let key = tag.shared(random);
                write(pending, &key, token);
                request(&[b"SET", &key, &value])
            }
            _ => {
                let key = tag.own(self.number);
                write(pending, &key, token);
                request(&[b"SET", &key, &value])
            }
        }
    }
}
