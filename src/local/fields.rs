//! Fields of texts that people read, and programs take apart: a name and a value each.
//!
//! What stands before the name, between the two, and behind the value, says the caller: `name:value` and a line end as
//! in INFO, or ` name=value` as in CLIENT LIST. A table of names and numbers is much less code than a format for each.

use crate::reply;

/// What stands around a field's name and value.
pub(super) type Around<'a> = [&'a str; 3];

/// A line of its own, as Redis writes them.
pub(super) const LINE: Around<'static> = ["", ":", "\r\n"];
/// One of several in a line.
pub(super) const WORD: Around<'static> = [" ", "=", ""];

/// Fields with these numbers.
pub(super) fn numbers(out: &mut Vec<u8>, around: Around<'_>, fields: &[(&str, u64)]) {
    for (name, value) in fields {
        push(out, &[around[0], name, around[1]]);
        reply::decimal(out, *value);
        push(out, &[around[2]]);
    }
}

/// Fields with these texts.
pub(super) fn texts(out: &mut Vec<u8>, around: Around<'_>, fields: &[(&str, &str)]) {
    for (name, value) in fields {
        push(out, &[around[0], name, around[1], value, around[2]]);
    }
}

/// Texts, one behind the other.
pub(super) fn push(out: &mut Vec<u8>, texts: &[&str]) {
    texts.iter().for_each(|text| out.extend_from_slice(text.as_bytes()));
}
