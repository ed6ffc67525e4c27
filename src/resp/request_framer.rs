//! Where a request ends, and where its arguments lie.
//!
//! The rules are those at the head of `resp`. Invariant: `args_left` counts the arguments whose lengths are still to
//! come; a multibulk request is whole exactly when it is 0 and `at` is not behind the slice.

use super::error::ProtocolError;
use super::frame::{Frame, passable};
use super::line::{Line, line_number, short_header};
use super::request_limits::RequestLimits;

/// Arguments for which a framer keeps memory beyond a request.
const ARGS_KEPT_MAX: usize = 1024;

/// Where one argument lies: offsets from the start of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arg {
    start: u32,
    len: u32,
}

impl Arg {
    /// The argument's bytes, out of the slice that begins with its request.
    #[inline]
    pub fn of(self, request: &[u8]) -> &[u8] {
        &request[self.start as usize..][..self.len as usize]
    }

    /// The offset behind the argument's CR LF: where the next one begins, or the request ends.
    #[inline]
    pub fn end(self) -> usize {
        self.start as usize + self.len as usize + 2
    }

    /// True if the argument lies within the first `len` bytes of the request.
    pub fn is_within(self, len: usize) -> bool {
        self.start as usize + self.len as usize <= len
    }
}

/// Finds the end and the arguments of one request.
#[derive(Debug, Default)]
pub struct RequestFramer {
    at: usize,
    args_left: usize,
    args_total: usize,
    args: Vec<Arg>,
    is_multibulk: bool,
}

impl RequestFramer {
    /// A framer at the start of a request.
    pub fn new() -> RequestFramer {
        RequestFramer::default()
    }

    /// Begins with the next request.
    #[inline]
    pub fn reset(&mut self) {
        self.at = 0;
        self.args_left = 0;
        self.args_total = 0;
        self.is_multibulk = false;
        self.args.clear();
    }

    /// The arguments whose lengths are known so far; all of them once the request is complete. Empty for an inline
    /// request: [`split_inline`](super::split_inline) does that one.
    #[inline]
    pub fn args(&self) -> &[Arg] {
        &self.args
    }

    /// How many arguments a multibulk request announced; 0 for an inline one.
    #[inline]
    pub fn args_total(&self) -> usize {
        self.args_total
    }

    /// True once a multibulk header with at least one argument was seen.
    #[inline]
    pub fn is_multibulk(&self) -> bool {
        self.is_multibulk
    }

    /// The offset up to which the request is understood, which may lie behind the bytes given so far.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Begins with the next request, and gives back what memory the last one has left over.
    pub fn clear(&mut self) {
        self.reset();
        if self.args.capacity() > ARGS_KEPT_MAX {
            self.args = Vec::new();
        }
    }

    /// True exactly when it has looked at `len` bytes, and they are not the whole request.
    pub fn is_partial(&self, len: usize) -> bool {
        if self.is_multibulk { self.args_left > 0 || self.at > len } else { self.at == len }
    }

    /// The memory that it has for arguments, in bytes.
    pub fn held(&self) -> usize {
        self.args.capacity() * size_of::<Arg>()
    }

    /// How many of the `len` bytes that `frame` was given can be passed on before there are more: see `passable`.
    pub fn passable(&self, len: usize) -> usize {
        passable(self.at, len)
    }

    /// The first `n` bytes of the request are dealt with; later slices begin behind them. The arguments are forgotten.
    /// `n <= passable()`.
    pub fn rebase(&mut self, n: usize) {
        self.at -= n;
        self.args.clear();
    }

    /// Looks for the end of the request that `buf` begins with.
    ///
    /// A frame without arguments (`*0`, `*-1`, an empty line) is complete, and no request: Redis ignores it silently.
    #[inline]
    pub fn frame(&mut self, buf: &[u8], limits: &RequestLimits) -> Result<Frame, ProtocolError> {
        if !self.is_multibulk {
            match buf.first() {
                None => return Ok(Frame::Partial),
                Some(b'*') => {}
                Some(_) => return self.frame_inline(buf, limits),
            }
            let count = match buf {
                // Nearly always one digit.
                [_, digit @ b'1'..=b'9', b'\r', b'\n', ..] => {
                    self.at = 4;
                    i64::from(digit - b'0')
                }
                _ => match line_number(buf, 1) {
                    Line::Number(count, next) => {
                        self.at = next;
                        count
                    }
                    Line::Partial => return Ok(Frame::Partial),
                    Line::TooLong => return Err(ProtocolError::MultibulkCountTooBig),
                    Line::Invalid => return Err(ProtocolError::MultibulkLength),
                },
            };
            if count > limits.args_max as i64 {
                return Err(limits.refuse_count(count));
            }
            if count <= 0 {
                return Ok(Frame::Complete(self.at));
            }
            self.is_multibulk = true;
            self.args_total = count as usize;
            self.args_left = count as usize;
        }
        loop {
            self.take_short_args(buf, limits);
            if self.args_left == 0 {
                break;
            }
            match self.length_line(buf)? {
                Some((len, start)) => self.push(start, len, limits)?,
                None => return Ok(Frame::Partial),
            }
        }
        if self.at > buf.len() {
            return Ok(Frame::Partial);
        }
        if !self.is_ended(buf) {
            return Err(ProtocolError::BulkTerminator);
        }
        Ok(Frame::Complete(self.at))
    }

    /// True unless a line or an argument ends at `at`, and not with CR LF.
    #[inline]
    fn is_ended(&self, buf: &[u8]) -> bool {
        self.at < 2 || buf.get(self.at - 2..self.at).is_none_or(|end| end == b"\r\n")
    }

    /// Takes the arguments whose lengths are written as nearly all are, up to the first one about which there is more
    /// to say.
    #[inline]
    fn take_short_args(&mut self, buf: &[u8], limits: &RequestLimits) {
        let (mut at, mut left) = (self.at, self.args_left);
        while left > 0 {
            let Some((len, start)) = short_header(buf, at) else { break };
            if len > limits.bulk_bytes_max || start + len + 2 > limits.request_bytes_max {
                break;
            }
            self.args.push(Arg { start: start as u32, len: len as u32 });
            at = start + len + 2;
            left -= 1;
        }
        (self.at, self.args_left) = (at, left);
    }

    fn push(&mut self, start: usize, len: usize, limits: &RequestLimits) -> Result<(), ProtocolError> {
        if len > limits.bulk_bytes_max {
            return Err(limits.refuse_length(len));
        }
        if start + len + 2 > limits.request_bytes_max {
            return Err(ProtocolError::RequestTooBig(limits.request_bytes_max));
        }
        self.args.push(Arg { start: start as u32, len: len as u32 });
        self.at = start + len + 2;
        self.args_left -= 1;
        Ok(())
    }

    /// The length that stands at `at`, whatever it looks like, and the offset behind it; `None` if it is not whole.
    fn length_line(&self, buf: &[u8]) -> Result<Option<(usize, usize)>, ProtocolError> {
        if self.at <= buf.len() && !self.is_ended(buf) {
            return Err(ProtocolError::BulkTerminator);
        }
        if self.at >= buf.len() {
            return Ok(None);
        }
        match line_number(buf, self.at + 1) {
            // An empty line: its CR is where the '$' should be.
            _ if buf[self.at..].starts_with(b"\r\n") => Err(ProtocolError::ExpectedBulk(b'\r')),
            Line::Partial => Ok(None),
            Line::TooLong => Err(ProtocolError::BulkCountTooBig),
            _ if buf[self.at] != b'$' => Err(ProtocolError::ExpectedBulk(buf[self.at])),
            Line::Number(len, next) if len >= 0 => Ok(Some((len as usize, next))),
            Line::Number(..) | Line::Invalid => Err(ProtocolError::BulkLength),
        }
    }

    fn frame_inline(&mut self, buf: &[u8], limits: &RequestLimits) -> Result<Frame, ProtocolError> {
        // Redis looks for the line's end with C string functions: a NUL hides all that is behind it.
        let searched = self.at.min(buf.len());
        let end = buf[searched..].iter().position(|&byte| byte == b'\n' || byte == 0);
        match end.map(|offset| searched + offset) {
            Some(end) if buf[end] == b'\n' => Ok(Frame::Complete(end + 1)),
            found => {
                self.at = found.unwrap_or(buf.len());
                if buf.len() > limits.inline_bytes_max {
                    return Err(ProtocolError::InlineTooBig);
                }
                Ok(Frame::Partial)
            }
        }
    }
}
