//! The Redis protocol, as the models speak it: written apart from the proxy's own, so that both must be right.

use crate::random::Random;

/// One reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Status(Vec<u8>),
    Error(Vec<u8>),
    Int(i64),
    Bulk(Vec<u8>),
    /// With the byte that it began with: `$` and `*` in RESP2, `_` in RESP3.
    Nil(u8),
    Array(Vec<Value>),
    /// Keys and values in turn.
    Map(Vec<Value>),
}

impl Value {
    /// For messages: long things are cut.
    pub fn show(&self) -> String {
        match self {
            Value::Status(text) => format!("+{}", show(text)),
            Value::Error(text) => format!("-{}", show(text)),
            Value::Int(number) => format!(":{number}"),
            Value::Bulk(bytes) => format!("bulk of {}: {}", bytes.len(), show(bytes)),
            Value::Nil(kind) => format!("nil ({})", *kind as char),
            Value::Array(values) => format!("{:?}", values.iter().map(Value::show).collect::<Vec<_>>()),
            Value::Map(values) => format!("map {:?}", values.iter().map(Value::show).collect::<Vec<_>>()),
        }
    }
}

/// A request, for messages: long words are cut.
pub fn show_request(words: &[Vec<u8>]) -> String {
    words.iter().map(|word| show(&word[..word.len().min(20)])).collect::<Vec<_>>().join(" ")
}

pub fn show(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(80)];
    format!("{}{}", cut.escape_ascii(), if cut.len() < bytes.len() { "..." } else { "" })
}

/// The line that begins at `at`, without its end, and the place behind it.
fn line(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let end = bytes.get(at..)?.windows(2).position(|pair| pair == b"\r\n")?;
    Some((&bytes[at..at + end], at + end + 2))
}

fn number(text: &[u8]) -> Result<i64, String> {
    let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
    text.parse().map_err(|_| format!("no number: {text:?}"))
}

/// The reply that `bytes` begin with, and its length; `None` if it is not whole. What stands before it is looked over.
pub fn parse_reply(bytes: &[u8]) -> Result<Option<(Value, usize)>, String> {
    let mut at = 0;
    while bytes.get(at) == Some(&b'|') {
        let Some((count, mut next)) = line(bytes, at + 1) else { return Ok(None) };
        for _ in 0..2 * number(count)? {
            let Some((_, end)) = parse_value(bytes, next)? else { return Ok(None) };
            next = end;
        }
        at = next;
    }
    parse_value(bytes, at)
}

fn parse_value(bytes: &[u8], at: usize) -> Result<Option<(Value, usize)>, String> {
    let Some(&kind) = bytes.get(at) else { return Ok(None) };
    if !b"+-:$*%_".contains(&kind) {
        return Err(format!("no reply begins like this: {}", show(&bytes[at..])));
    }
    let Some((text, mut next)) = line(bytes, at + 1) else { return Ok(None) };
    let value = match kind {
        b'+' => Value::Status(text.to_vec()),
        b'-' => Value::Error(text.to_vec()),
        b':' => Value::Int(number(text)?),
        b'_' => Value::Nil(b'_'),
        b'$' => match number(text)? {
            -1 => Value::Nil(b'$'),
            len => {
                let end = next + usize::try_from(len).map_err(|_| format!("a length of {len}"))?;
                if bytes.len() < end + 2 {
                    return Ok(None);
                }
                if bytes[end..end + 2] != *b"\r\n" {
                    return Err(format!("a bulk of {len} does not end: {}", show(&bytes[end..])));
                }
                let bulk = bytes[next..end].to_vec();
                next = end + 2;
                Value::Bulk(bulk)
            }
        },
        _ => match number(text)? {
            -1 => Value::Nil(b'*'),
            count => {
                let mut values = Vec::new();
                for _ in 0..count * if kind == b'%' { 2 } else { 1 } {
                    let Some((value, end)) = parse_value(bytes, next)? else { return Ok(None) };
                    values.push(value);
                    next = end;
                }
                if kind == b'%' { Value::Map(values) } else { Value::Array(values) }
            }
        },
    };
    Ok(Some((value, next)))
}

/// The arguments of a request, its name first.
pub type Words = Vec<Vec<u8>>;

/// The request that `bytes` begin with, in its canonical form, and its length; `None` if it is not whole.
pub fn parse_request(bytes: &[u8]) -> Result<Option<(Words, usize)>, String> {
    match bytes.first() {
        None => return Ok(None),
        Some(b'*') => {}
        Some(_) => return Err(format!("a request that is not canonical: {}", show(bytes))),
    }
    let Some((count, mut next)) = line(bytes, 1) else { return Ok(None) };
    let mut words = Vec::new();
    for _ in 0..number(count)? {
        let Some((header, start)) = line(bytes, next) else { return Ok(None) };
        let Some(len) = header.strip_prefix(b"$") else {
            return Err(format!("an argument that is not canonical: {}", show(&bytes[next..])));
        };
        let end = start + usize::try_from(number(len)?).map_err(|_| "a length below 0".to_string())?;
        if bytes.len() < end + 2 {
            return Ok(None);
        }
        if bytes[end..end + 2] != *b"\r\n" {
            return Err(format!("an argument that does not end: {}", show(&bytes[end..])));
        }
        words.push(bytes[start..end].to_vec());
        next = end + 2;
    }
    if words.is_empty() {
        return Err("a request without words".to_string());
    }
    Ok(Some((words, next)))
}

/// A request in its canonical form.
pub fn request(words: &[&[u8]]) -> Vec<u8> {
    let mut request = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        request.extend_from_slice(word);
        request.extend_from_slice(b"\r\n");
    }
    request
}

/// Appends a reply in the words of this version of the protocol.
pub fn write_value(out: &mut Vec<u8>, value: &Value, is_resp3: bool) {
    let mut write = |text: String| out.extend_from_slice(text.as_bytes());
    match value {
        Value::Status(text) => write(format!("+{}\r\n", String::from_utf8_lossy(text))),
        Value::Error(text) => write(format!("-{}\r\n", String::from_utf8_lossy(text))),
        Value::Int(number) => write(format!(":{number}\r\n")),
        Value::Bulk(bytes) => {
            write(format!("${}\r\n", bytes.len()));
            out.extend_from_slice(bytes);
            out.extend_from_slice(b"\r\n");
        }
        Value::Nil(_) if is_resp3 => write("_\r\n".to_string()),
        Value::Nil(kind) => write(format!("{}-1\r\n", *kind as char)),
        Value::Array(values) => {
            write(format!("*{}\r\n", values.len()));
            values.iter().for_each(|value| write_value(out, value, is_resp3));
        }
        Value::Map(values) => {
            write(if is_resp3 { format!("%{}\r\n", values.len() / 2) } else { format!("*{}\r\n", values.len()) });
            values.iter().for_each(|value| write_value(out, value, is_resp3));
        }
    }
}

/// Appends what a server says of itself, which is no reply to anything; with a text of `len` bytes.
pub fn write_push(out: &mut Vec<u8>, len: usize, random: &mut Random) {
    if random.one_in(3) {
        write_attribute(out, random);
    }
    out.extend_from_slice(b">2\r\n+invalidate\r\n");
    write_value(out, &Value::Array(vec![Value::Bulk(vec![b'!'; len])]), true);
}

/// Appends what stands before a reply, or before a push.
pub fn write_attribute(out: &mut Vec<u8>, random: &mut Random) {
    out.extend_from_slice(b"|1\r\n+about\r\n");
    write_value(out, &Value::Array(vec![Value::Int(1), Value::Bulk(vec![b'?'; random.below(30)])]), true);
}
