//! Which replies are right.

use crate::client::Scene;
use crate::history::{Token, mirror};
use crate::plan::Faults;
use crate::protocol::{Value, show};
use crate::workload::Pending;

/// The right reply to a request.
#[derive(Debug)]
pub enum Expect {
    /// This one.
    Value(Value),
    /// What a mirror key says.
    Mirror(Token, usize),
    /// What several mirror keys say.
    Mirrors(Vec<(Token, usize)>),
    /// A map with what a mirror key says.
    Table(Token, usize),
    /// Nothing, or what somebody wrote to this key.
    Shared(Vec<u8>),
    /// Nothing, or what the client itself wrote to this key: last, the write with this number.
    Own(Vec<u8>, Option<u32>),
    /// A number above 0.
    Positive,
    /// What HELLO is answered with.
    Welcome,
    /// An error that begins like this.
    Error(String),
    /// An array with what these say: the reply to EXEC.
    Block(Vec<Expect>),
    /// An element of one of these lists, or nothing if it has waited long enough; without lists, the element alone.
    Popped(Vec<Vec<u8>>),
    /// Nothing but the end of the connection.
    End,
}

impl Expect {
    /// Whether `value` is the right reply to `pending`, which expects this.
    pub fn check(&self, value: &Value, pending: &Pending, scene: &Scene<'_>) -> Result<(), String> {
        let is_resp3 = pending.is_resp3;
        let mirrored = |&(token, len): &(Token, usize)| Value::Bulk(mirror(pending.database, is_resp3, token, len));
        let is_nil = |value: &Value| *value == Value::Nil(if is_resp3 { b'_' } else { b'$' });
        let expected = match self {
            Expect::Value(expected) => expected.clone(),
            Expect::Mirror(token, len) => mirrored(&(*token, *len)),
            Expect::Mirrors(all) => Value::Array(all.iter().map(mirrored).collect()),
            Expect::Table(token, len) => {
                let pairs = vec![Value::Bulk(b"field".to_vec()), mirrored(&(*token, *len))];
                if is_resp3 { Value::Map(pairs) } else { Value::Array(pairs) }
            }
            Expect::Positive if matches!(value, Value::Int(1..)) => return Ok(()),
            Expect::Positive => return Err("not a number above 0".to_string()),
            Expect::Welcome => {
                let words = match value {
                    Value::Map(words) if is_resp3 => words,
                    Value::Array(words) if !is_resp3 => words,
                    _ => return Err("not a welcome".to_string()),
                };
                let proto = words.iter().position(|word| *word == Value::Bulk(b"proto".to_vec()));
                let told = proto.and_then(|proto| words.get(proto + 1));
                return match told == Some(&Value::Int(if is_resp3 { 3 } else { 2 })) {
                    true => Ok(()),
                    false => Err("another protocol".to_string()),
                };
            }
            Expect::Error(start) => {
                return match value {
                    Value::Error(text) if text.starts_with(start.as_bytes()) => Ok(()),
                    _ => Err("another error".to_string()),
                };
            }
            Expect::Block(steps) => {
                let Value::Array(values) = value else { return Err("not an array".to_string()) };
                if values.len() != steps.len() {
                    return Err(format!("not {} elements", steps.len()));
                }
                let mut pairs = steps.iter().zip(values).enumerate();
                return pairs.try_for_each(|(index, (step, value))| {
                    let wrong = |error| format!("{error}, at {index}: {}", value.show());
                    step.check(value, pending, scene).map_err(wrong)
                });
            }
            Expect::Popped(keys) => {
                let wait = pending.wait.ok_or("though it waits for nothing")?;
                let element = match value {
                    Value::Bulk(bytes) if keys.is_empty() => Some(Token::of_value(bytes)?),
                    Value::Array(pair) => match &pair[..] {
                        [Value::Bulk(key), Value::Bulk(bytes)] if keys.contains(key) => Some(Token::of_value(bytes)?),
                        _ => return Err("not an element of what it waits for".to_string()),
                    },
                    Value::Nil(kind) if *kind == (if is_resp3 { b'_' } else { b'*' }) => None,
                    _ => return Err("not an element".to_string()),
                };
                return scene.history.lists.check(wait, element);
            }
            Expect::End => return Err("and not the end".to_string()),
            Expect::Shared(_) | Expect::Own(..) if is_nil(value) => Value::Nil(0),
            Expect::Shared(key) | Expect::Own(key, _) => {
                let Value::Bulk(bytes) = value else { return Err("not a value".to_string()) };
                let token = Token::of_value(bytes)?;
                if !scene.history.knows(token, key, pending.database) {
                    return Err(format!("which was not written to {}", show(key)));
                }
                value.clone()
            }
        };
        if let Expect::Own(key, last) = self {
            let number = match value {
                Value::Bulk(bytes) => Some(Token::of_value(bytes)?.number),
                _ => None,
            };
            if number > Some(pending.number) {
                return Err("which it wrote later".to_string());
            }
            // Its key begins with its number.
            let client = Token::parse(&key[1..]).map(|key| key.client).ok_or("a key of nobody")?;
            let is_refused = |&number: &u32| scene.history.is_refused(Token { client, number });
            let is_certain = scene.plan.faults == Faults::None && !scene.has_reloaded;
            if is_certain && number != *last && !last.as_ref().is_some_and(is_refused) {
                return Err(format!("though it wrote {last:?} last"));
            }
            return Ok(());
        }
        match expected == *value || matches!(self, Expect::Shared(_)) {
            true => Ok(()),
            false => Err(format!("not {}", expected.show())),
        }
    }
}
