//! Where a reply ends, in RESP2 and RESP3.
//!
//! The rules are those at the head of `resp`. Knows the shapes of values, and nothing of what they mean. Invariant:
//! `left` counts the values whose headers are still to come; the frame is whole exactly when it is 0, `at` is not
//! behind the slice, and what was framed is no attribute: that one is the start of the value behind it.

use super::error::ProtocolError;
use super::frame::{Frame, passable};
use super::line::{Line, line_number, short_header, short_number};

/// Finds the end of one reply, RESP2 or RESP3.
///
/// Nesting is counted, not recursed into: an aggregate of n values adds n to the number of values still to come. Only
/// an aggregate of unknown length (`*?`, legal in RESP3 and sent by no Redis so far) needs a stack.
#[derive(Debug, Default)]
pub struct ReplyFramer {
    at: usize,
    is_open: bool,
    /// Values whose headers are still to come.
    left: u64,
    /// What `left` was outside of each open aggregate of unknown length.
    outer: Vec<u64>,
    is_streamed_string: bool,
    /// True while `at` lies within a line whose end is still to come.
    is_in_line: bool,
    /// True while what is framed stands before the value that it belongs to.
    is_attribute: bool,
    kind: u8,
}

/// More aggregates of unknown length than this within one another are a broken stream too.
const OPEN_MAX: usize = 1024;
/// More values than this in one aggregate is a broken stream, not a reply.
const REPLY_VALUES_MAX: u64 = 1 << 40;

impl ReplyFramer {
    /// A framer at the start of a reply.
    pub fn new() -> ReplyFramer {
        ReplyFramer::default()
    }

    /// Begins with the next reply.
    #[inline]
    pub fn reset(&mut self) {
        self.at = 0;
        self.is_open = false;
        self.left = 0;
        self.is_streamed_string = false;
        self.is_in_line = false;
        self.is_attribute = false;
        self.outer.clear();
    }

    /// True exactly when nothing of the reply is understood yet.
    #[inline]
    pub fn is_at_start(&self) -> bool {
        !self.is_open
    }

    /// The type of the value, behind the attributes that may stand before it; `|` as long as there is nothing else, and
    /// so nobody knows whether this is a reply or a push. Meaningful once `frame` has seen a byte.
    #[inline]
    pub fn kind(&self) -> u8 {
        self.kind
    }

    /// The offset up to which the reply is understood, which may lie behind the bytes given so far.
    pub fn at(&self) -> usize {
        self.at
    }

    /// How many of the `len` bytes that `frame` was given can be passed on before there are more: see `passable`.
    pub fn passable(&self, len: usize) -> usize {
        passable(self.at, len)
    }

    /// The first `n` bytes of the reply are dealt with; later slices begin behind them. `n <= passable()`.
    pub fn rebase(&mut self, n: usize) {
        self.at -= n;
    }

    /// Looks for the end of the reply that `buf` begins with.
    #[inline]
    pub fn frame(&mut self, buf: &[u8]) -> Result<Frame, ProtocolError> {
        loop {
            if !self.is_open || (self.is_attribute && self.left == 0) {
                let Some(&kind) = buf.get(self.at) else { return Ok(Frame::Partial) };
                self.kind = kind;
                self.is_open = true;
                self.is_attribute = false;
                self.left = 1;
            }
            if !self.frame_value(buf)? {
                return Ok(Frame::Partial);
            }
            if !self.is_attribute {
                return Ok(Frame::Complete(self.at));
            }
        }
    }

    /// Looks for the end of the value, or of the attribute, in which `at` lies. False if there are too few bytes.
    #[inline]
    fn frame_value(&mut self, buf: &[u8]) -> Result<bool, ProtocolError> {
        while self.left > 0 {
            if !self.is_in_line && !self.is_ended(buf) {
                return Err(ProtocolError::ReplyTerminator);
            }
            let kind = match buf.get(self.at) {
                _ if self.is_in_line => b'+',
                Some(&kind) => kind,
                None => return Ok(false),
            };
            let next = match kind {
                b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => self.end_of_line(buf),
                b'$' | b'=' | b'!' if !self.is_streamed_string => self.end_of_string(buf)?,
                b'*' | b'~' | b'>' | b'%' | b'|' => self.open_aggregate(buf, kind)?,
                _ => self.end_of_part(buf, kind)?,
            };
            let Some(next) = next else { return Ok(false) };
            self.at = next;
            self.left -= 1;
            if self.left == 0 && !self.outer.is_empty() {
                // Inside an aggregate of unknown length there is always one more value, or its end.
                self.left = 1;
            }
        }
        if !self.is_ended(buf) {
            return Err(ProtocolError::ReplyTerminator);
        }
        Ok(self.at <= buf.len())
    }

    /// The offset behind the line that goes on at `at`, or begins there with its type; `None` if its end is to come.
    #[inline(always)]
    fn end_of_line(&mut self, buf: &[u8]) -> Option<usize> {
        let from = if self.is_in_line { self.at } else { self.at + 1 };
        let end = line_end(buf, from);
        self.is_in_line = end.is_none();
        if end.is_none() {
            // A line may be as long as a script makes it; its last byte so far may be half of its end.
            self.at = from.max(buf.len().saturating_sub(1));
        }
        end
    }

    /// The offset behind the string at `at`; `None` if its length is not whole.
    #[inline(always)]
    fn end_of_string(&mut self, buf: &[u8]) -> Result<Option<usize>, ProtocolError> {
        match bulk_length(buf, self.at + 1) {
            Line::Number(len, next) if len >= 0 && len < REPLY_VALUES_MAX as i64 => Ok(Some(next + len as usize + 2)),
            Line::Number(-1, next) => Ok(Some(next)),
            Line::Partial => Ok(None),
            _ => self.open_unknown_length(buf).map(Some).ok_or(ProtocolError::ReplyLength),
        }
    }

    /// Counts the values of the aggregate at `at` among those to come. The offset behind its header, and behind those
    /// of its values that are taken at once; `None` if its count is not whole.
    #[inline(always)]
    fn open_aggregate(&mut self, buf: &[u8], kind: u8) -> Result<Option<usize>, ProtocolError> {
        match line_number(buf, self.at + 1) {
            Line::Number(count, next) if count >= 0 && (count as u64) < REPLY_VALUES_MAX => {
                let pairs = matches!(kind, b'%' | b'|');
                self.left += if pairs { 2 * count as u64 } else { count as u64 };
                self.left += self.value_behind(kind);
                if self.left > REPLY_VALUES_MAX {
                    return Err(ProtocolError::ReplyLength);
                }
                Ok(Some(self.take_short_strings(buf, next)))
            }
            Line::Number(-1, next) if kind != b'|' => Ok(Some(next)),
            Line::Partial => Ok(None),
            _ => self.open_unknown_length(buf).map(Some).ok_or(ProtocolError::ReplyLength),
        }
    }

    /// What stands only within a value of unknown length: the offset behind the part of a string, or behind the end of
    /// an aggregate; `None` if its line is not whole.
    #[cold]
    fn end_of_part(&mut self, buf: &[u8], kind: u8) -> Result<Option<usize>, ProtocolError> {
        match kind {
            b';' if self.is_streamed_string => match line_number(buf, self.at + 1) {
                Line::Number(0, next) => {
                    self.is_streamed_string = false;
                    Ok(Some(next))
                }
                Line::Number(len, next) if len > 0 && len < REPLY_VALUES_MAX as i64 => {
                    self.left += 1;
                    Ok(Some(next + len as usize + 2))
                }
                Line::Partial => Ok(None),
                _ => Err(ProtocolError::ReplyLength),
            },
            b'.' if !self.outer.is_empty() => {
                let next = line_end(buf, self.at + 1);
                if next.is_some() {
                    self.left = self.outer.pop().expect("checked by the guard: an aggregate is open");
                    self.left += 1;
                }
                Ok(next)
            }
            other => Err(ProtocolError::ReplyType(other)),
        }
    }

    /// True unless a line or a string ends at `at`, and not with CR LF.
    #[inline]
    fn is_ended(&self, buf: &[u8]) -> bool {
        self.at < 2 || buf.get(self.at - 2..self.at).is_none_or(|end| end == b"\r\n")
    }

    /// Takes the strings from `at` on whose lengths are written as nearly all are, but for the last value that is to
    /// come, up to the first about which there is more to say. Returns the offset behind them.
    #[inline]
    fn take_short_strings(&mut self, buf: &[u8], mut at: usize) -> usize {
        // The header that was just taken counts until it is left behind.
        while self.left > 2 {
            let Some((len, start)) = short_header(buf, at) else { break };
            at = start + len + 2;
            self.left -= 1;
        }
        at
    }

    /// An attribute is no value itself: returns how many values are to come besides those in it. Before the reply that
    /// it belongs to, that one is looked at for itself.
    fn value_behind(&mut self, kind: u8) -> u64 {
        if kind != b'|' {
            return 0;
        }
        let is_nested = self.kind != b'|' || self.is_attribute;
        self.is_attribute |= !is_nested;
        u64::from(is_nested)
    }

    /// The value at `at` has a length that is no number. If it is `?`, opens it and returns the offset behind its line.
    /// `None` if it is something else, or if too many are open.
    fn open_unknown_length(&mut self, buf: &[u8]) -> Option<usize> {
        if buf.get(self.at + 1..self.at + 4) != Some(b"?\r\n") || self.outer.len() == OPEN_MAX {
            return None;
        }
        match buf[self.at] {
            b'$' => {
                self.is_streamed_string = true;
                // Its parts follow as values of their own, the last one being ";0".
                self.left += 1;
            }
            kind => {
                let behind = self.value_behind(kind);
                self.outer.push(self.left - 1 + behind);
                self.left = 2;
            }
        }
        Some(self.at + 4)
    }
}

/// The number in a line, which is nearly always a short one.
#[inline]
fn bulk_length(buf: &[u8], at: usize) -> Line {
    match short_number(buf, at) {
        Some((len, next)) => Line::Number(len as i64, next),
        None => line_number(buf, at),
    }
}

/// The length of the reply that `buf` begins with, if it is whole, and one of those that nearly all are: a string of up
/// to 999 bytes, a nil, or a line of up to 64, and no error. `None` says nothing about what else it may be.
#[inline]
pub fn short_reply(buf: &[u8]) -> Option<usize> {
    match buf.first()? {
        b'$' => match short_number(buf, 1) {
            Some((len, start)) => {
                let end = start + len + 2;
                (end <= buf.len() && buf[end - 2] == b'\r' && buf[end - 1] == b'\n').then_some(end)
            }
            None => buf.starts_with(b"$-1\r\n").then_some(5),
        },
        b'+' if buf.starts_with(b"+OK\r\n") => Some(5),
        b'+' | b':' => line_end(&buf[..buf.len().min(66)], 1),
        _ => None,
    }
}

/// The offset behind the CR LF that ends the line.
#[inline]
fn line_end(buf: &[u8], at: usize) -> Option<usize> {
    let mut i = at;
    while i + 1 < buf.len() {
        if buf[i] == b'\r' && buf[i + 1] == b'\n' {
            return Some(i + 2);
        }
        i += 1;
    }
    None
}
