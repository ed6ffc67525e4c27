//! What both framers say of the bytes that they were given.

/// What a framer found at the start of the slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// The frame is not whole yet.
    Partial,
    /// The frame ends before this offset.
    Complete(usize),
}

/// How many bytes of a slice of `len` can be passed on when a framer stands at `at`: what it has understood, but for
/// the CR LF of a body that is not whole. That is looked at first: who passes on a body with another end has passed on
/// what is no request.
pub(super) fn passable(at: usize, len: usize) -> usize {
    if at > len { len.min(at - 2) } else { at }
}
