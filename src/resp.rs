//! Where the next request or reply ends, and where the arguments of a request lie.
//!
//! Frames the Redis protocol in place: nothing is copied, no value is built, bodies are jumped over. Knows no commands,
//! no connections, no limits but those of the protocol itself. "More bytes are needed" is a value ([`Frame::Partial`]);
//! a peer's mistake is a [`ProtocolError`] whose text is Redis's own.
//!
//! Both framers are resumable. They hold `at`, the offset of the next byte to look at, counted from the start of the
//! slice that they are given; the caller gives the same bytes again with more behind them, and what lies before `at`
//! is not looked at again. `at` may lie *behind* the slice: the bytes between are a body that is still to come, and
//! need not be kept. When the caller has passed on the first `n` bytes it says so with `rebase(n)`; the CR LF behind a
//! body is passed on with what comes behind it, when it was looked at (`passable`):
//!
//! ```text
//!   *3\r\n $3\r\n SET\r\n $3\r\n key\r\n $100000\r\n vvvvvvvvvvvvv ...
//!   └─────────── framed, args known ────────────┘└ given so far ┘      ▲ at: behind the slice
//! ```
//!
//! Order of calls: `frame` until it is not `Partial`; then `reset`, and the slice begins behind the frame.
//! Invariant: a `Complete(n)` has `n <= slice.len()`, and the next frame starts exactly at `n`.

pub mod elements;

mod error;
mod frame;
mod inline;
mod line;
mod reply_framer;
mod request_framer;
mod request_limits;

pub use error::ProtocolError;
pub use frame::Frame;
pub use inline::split_inline;
pub use line::INLINE_BYTES_MAX;
pub use reply_framer::{ReplyFramer, short_reply};
pub use request_framer::{Arg, RequestFramer};
pub use request_limits::RequestLimits;

#[cfg(test)]
mod tests;
