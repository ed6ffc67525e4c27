//! Large replies to the parts of a request, as the pieces in which they came.
//!
//! A reply by position is put together from its parts element by element: what is taken is given back, or is given away
//! as it is, so that there is never more than one of everything. Other replies are made whole first.
//!
//! ```text
//!   part 0: [*2 $200000 aaaa][aaaaaaaa][aa $1 b]     out: [*3][$200000 aaaa][aaaaaaaa][aa][$1 c][$1 b]
//!   part 1: [*1 $1 c]        order 0 1 0                                     └ given away whole
//! ```
//!
//! Invariant: a header stands whole in one piece, since no framer steps over half of one.

use std::mem;

use super::in_flight::InFlight;
use super::merging::Merging;
use super::settings::Settings;
use super::{compose, memory};
use crate::buffer::{Arena, Queue};
use crate::reply;
use crate::resp::elements::Elements;
use crate::resp::{Frame, ReplyFramer};

/// An array that lies in pieces, and how much of it was taken.
struct Source {
    rest: Queue,
    front: Vec<u8>,
    at: usize,
    framer: ReplyFramer,
}

impl Source {
    /// The array whose pieces these are, in front of its first element.
    fn new(arena: &mut Arena, mut rest: Queue) -> Source {
        let front = rest.pop_chunk(arena).unwrap_or_default();
        let at = Elements::of(&front).map_or(front.len(), |elements| front.len() - elements.rest().len());
        Source { rest, front, at, framer: ReplyFramer::new() }
    }

    /// Appends the next element to `out`; `None` if there is none.
    fn take(&mut self, arena: &mut Arena, out: &mut Queue) -> Option<()> {
        loop {
            let left = &self.front[self.at..];
            let (len, is_whole) = match self.framer.frame(left).ok()? {
                Frame::Complete(len) => (len, true),
                Frame::Partial => (left.len(), false),
            };
            if len == self.front.len() {
                out.push_vec(arena, mem::take(&mut self.front));
                self.at = 0;
            } else {
                out.push(arena, &left[..len]);
                self.at += len;
            }
            if is_whole {
                self.framer.reset();
                return Some(());
            }
            if self.framer.at() < len {
                return None;
            }
            self.framer.rebase(len);
            self.front = self.rest.pop_chunk(arena)?;
            self.at = 0;
        }
    }

    fn is_empty(&self) -> bool {
        self.at == self.front.len() && self.rest.unsent() == 0
    }
}

/// The reply by position to a request some of whose parts have large replies.
pub(super) fn join_pieces(in_flight: &mut InFlight, merging: &mut Merging) -> Queue {
    let arena = &mut in_flight.arena;
    let mut sources: Vec<Source> = Vec::new();
    for part in merging.parts_mut() {
        part.pieces.push_vec(arena, mem::take(&mut part.bytes));
        sources.push(Source::new(arena, mem::take(&mut part.pieces)));
    }
    let mut out = Queue::new();
    let mut head = Vec::new();
    reply::array(&mut head, merging.order.len());
    out.push(arena, &head);
    let mut parts = merging.order.iter();
    let is_taken = parts.all(|&part| sources[usize::from(part)].take(arena, &mut out).is_some());
    if !is_taken || !sources.iter().all(Source::is_empty) {
        out.clear(arena);
        out.push(arena, compose::UNFIT);
    }
    sources.iter_mut().for_each(|source| source.rest.clear(arena));
    out
}

/// Makes the large replies to the parts of a request whole. False if there is no room for that.
pub(super) fn gather_pieces(settings: &Settings, in_flight: &mut InFlight, merging: &mut Merging) -> bool {
    if memory::buffered_bytes(in_flight) + merging.collected() > settings.limits.buffered_bytes_max {
        return false;
    }
    for part in merging.parts_mut().iter_mut().filter(|part| part.pieces.unsent() > 0) {
        part.bytes.reserve_exact(part.pieces.unsent());
        while let Some(piece) = part.pieces.pop_chunk(&mut in_flight.arena) {
            part.bytes.extend_from_slice(&piece);
        }
    }
    true
}
