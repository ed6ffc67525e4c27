//! What a peer does wrong, in Redis's words.

use std::fmt;

/// What a peer did wrong. For a request, `Display` gives the text that Redis answers with before it closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolError {
    /// The count behind `*` is not a number, or too large.
    MultibulkLength,
    /// The length behind `$` is not a number, negative, or too large.
    BulkLength,
    /// An argument of a multibulk request begins with this byte.
    ExpectedBulk(u8),
    /// The two bytes behind an argument are not CR LF.
    BulkTerminator,
    /// An inline request has no end within [`INLINE_BYTES_MAX`](super::INLINE_BYTES_MAX).
    InlineTooBig,
    /// The line with the count behind `*` has no end within [`INLINE_BYTES_MAX`](super::INLINE_BYTES_MAX).
    MultibulkCountTooBig,
    /// The line with the length behind `$` has no end within [`INLINE_BYTES_MAX`](super::INLINE_BYTES_MAX).
    BulkCountTooBig,
    /// A quote of an inline request is not closed, or text follows it directly.
    UnbalancedQuotes,
    /// The whole request is larger than this many bytes.
    RequestTooBig(usize),
    /// More arguments than somebody may send who has not said who it is.
    UnauthenticatedMultibulkLength,
    /// A longer argument than somebody may send who has not said who it is.
    UnauthenticatedBulkLength,
    /// A reply begins with this byte.
    ReplyType(u8),
    /// A reply's length or count is not a number, or absurd.
    ReplyLength,
    /// The two bytes behind a string in a reply are not CR LF.
    ReplyTerminator,
    /// What stands before a reply, or before a push, is larger than this many bytes.
    AttributeTooBig(usize),
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Protocol error: ")?;
        match self {
            ProtocolError::MultibulkLength => f.write_str("invalid multibulk length"),
            ProtocolError::BulkLength => f.write_str("invalid bulk length"),
            // Redis builds this text with C strings, and takes line ends out of every error.
            ProtocolError::ExpectedBulk(0) => f.write_str("expected '$', got '"),
            ProtocolError::ExpectedBulk(b'\r' | b'\n') => f.write_str("expected '$', got ' '"),
            ProtocolError::ExpectedBulk(byte) => write!(f, "expected '$', got '{}'", *byte as char),
            ProtocolError::BulkTerminator => f.write_str("expected CRLF behind an argument"),
            ProtocolError::InlineTooBig => f.write_str("too big inline request"),
            ProtocolError::MultibulkCountTooBig => f.write_str("too big mbulk count string"),
            ProtocolError::BulkCountTooBig => f.write_str("too big bulk count string"),
            ProtocolError::UnbalancedQuotes => f.write_str("unbalanced quotes in request"),
            ProtocolError::RequestTooBig(max) => write!(f, "request larger than {max} bytes"),
            ProtocolError::UnauthenticatedMultibulkLength => f.write_str("unauthenticated multibulk length"),
            ProtocolError::UnauthenticatedBulkLength => f.write_str("unauthenticated bulk length"),
            ProtocolError::ReplyType(byte) => write!(f, "unknown reply type {:?}", *byte as char),
            ProtocolError::ReplyLength => f.write_str("invalid length in reply"),
            ProtocolError::ReplyTerminator => f.write_str("expected CRLF behind a string in a reply"),
            ProtocolError::AttributeTooBig(max) => write!(f, "attribute larger than {max} bytes"),
        }
    }
}

impl std::error::Error for ProtocolError {}
