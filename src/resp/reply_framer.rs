//! Where a reply ends, in RESP2 and RESP3.
//!
//! The rules are those at the head of `resp`. Knows the shapes of values, and nothing of what they mean. Invariant:
//! `left` counts the values whose headers are still to come; the frame is whole exactly when it is 0 and `at` is not
//! behind the slice.

use super::{Frame, Line, ProtocolError, line_number, short_number};

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
        self.outer.clear();
    }

    /// True exactly when nothing of the reply is understood yet.
    #[inline]
    pub fn is_at_start(&self) -> bool {
        !self.is_open
    }

    /// The reply's first byte: its type. Meaningful once `frame` has seen a byte.
    #[inline]
    pub fn kind(&self) -> u8 {
        self.kind
    }

    /// The offset up to which the reply is understood, which may lie behind the bytes given so far.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The first `n` bytes of the reply are dealt with; later slices begin behind them. `n <= at()`.
    pub fn rebase(&mut self, n: usize) {
        self.at -= n;
    }

    /// Looks for the end of the reply that `buf` begins with.
    #[inline]
    pub fn frame(&mut self, buf: &[u8]) -> Result<Frame, ProtocolError> {
        if !self.is_open {
            let Some(&kind) = buf.first() else {
                return Ok(Frame::Partial);
            };
            self.kind = kind;
            self.is_open = true;
            self.left = 1;
        }
        while self.left > 0 {
            let kind = match buf.get(self.at) {
                _ if self.is_in_line => b'+',
                Some(&kind) => kind,
                None => return Ok(Frame::Partial),
            };
            let next = match kind {
                b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => {
                    let from = if self.is_in_line { self.at } else { self.at + 1 };
                    let end = line_end(buf, from);
                    self.is_in_line = end.is_none();
                    let Some(next) = end else {
                        // A line may be as long as a script makes it; its last byte so far may be half of its end.
                        self.at = from.max(buf.len().saturating_sub(1));
                        return Ok(Frame::Partial);
                    };
                    next
                }
                b'$' | b'=' | b'!' if !self.is_streamed_string => match bulk_length(buf, self.at + 1) {
                    Line::Number(len, next) if len >= 0 && len < REPLY_VALUES_MAX as i64 => next + len as usize + 2,
                    Line::Number(-1, next) => next,
                    Line::Partial => return Ok(Frame::Partial),
                    _ => match self.open_unknown_length(buf) {
                        Some(next) => next,
                        None => return Err(ProtocolError::ReplyLength),
                    },
                },
                b'*' | b'~' | b'>' | b'%' | b'|' => match line_number(buf, self.at + 1) {
                    Line::Number(count, next) if count >= 0 && (count as u64) < REPLY_VALUES_MAX => {
                        let pairs = matches!(kind, b'%' | b'|');
                        self.left += if pairs { 2 * count as u64 } else { count as u64 };
                        // An attribute stands before the value that it belongs to; it is none itself.
                        if kind == b'|' {
                            self.left += 1;
                        }
                        if self.left > REPLY_VALUES_MAX {
                            return Err(ProtocolError::ReplyLength);
                        }
                        next
                    }
                    Line::Number(-1, next) => next,
                    Line::Partial => return Ok(Frame::Partial),
                    _ => match self.open_unknown_length(buf) {
                        Some(next) => next,
                        None => return Err(ProtocolError::ReplyLength),
                    },
                },
                b';' if self.is_streamed_string => match line_number(buf, self.at + 1) {
                    Line::Number(0, next) => {
                        self.is_streamed_string = false;
                        next
                    }
                    Line::Number(len, next) if len > 0 && len < REPLY_VALUES_MAX as i64 => {
                        self.left += 1;
                        next + len as usize + 2
                    }
                    Line::Partial => return Ok(Frame::Partial),
                    _ => return Err(ProtocolError::ReplyLength),
                },
                b'.' if !self.outer.is_empty() => match line_end(buf, self.at + 1) {
                    Some(next) => {
                        self.left = self.outer.pop().expect("checked by the guard: an aggregate is open");
                        self.left += 1;
                        next
                    }
                    None => return Ok(Frame::Partial),
                },
                other => return Err(ProtocolError::ReplyType(other)),
            };
            self.at = next;
            self.left -= 1;
            if self.left == 0 && !self.outer.is_empty() {
                // Inside an aggregate of unknown length there is always one more value, or its end.
                self.left = 1;
            }
        }
        if self.at > buf.len() { Ok(Frame::Partial) } else { Ok(Frame::Complete(self.at)) }
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
            _ => {
                self.outer.push(self.left - 1);
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
/// to 999 bytes, a nil, or a line of up to 64. `None` says nothing about what else it may be.
#[inline]
pub fn short_reply(buf: &[u8]) -> Option<usize> {
    match buf.first()? {
        b'$' => match short_number(buf, 1) {
            Some((len, start)) => Some(start + len + 2).filter(|&end| end <= buf.len()),
            None => buf.starts_with(b"$-1\r\n").then_some(5),
        },
        b'+' | b'-' | b':' => line_end(&buf[..buf.len().min(66)], 1),
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
