//! Gathered writes: what waits in a queue, in one call.

use std::io::{self, IoSlice};

use super::interface::{Conn, SLICES_MAX, Wire};
use crate::buffer::{Arena, Queue};

/// Writes what waits in `queue`, up to [`SLICES_MAX`] chunks of it. The caller notes what was sent.
#[inline(always)]
pub(super) fn send<W: Wire>(queue: &Queue, arena: &Arena, conn: Conn, wire: &mut W) -> io::Result<Sent> {
    // Nearly always it is one chunk, for which the table of the gathered write would cost more than all the rest.
    match queue.only_slice(arena) {
        Some(only) => {
            let bytes = wire.write(conn, &[IoSlice::new(only)])?;
            Ok(Sent { bytes, is_blocked: bytes < only.len() })
        }
        None => gather(queue, arena, &[], conn, wire),
    }
}

/// As [`send`], with `last` behind the queue.
pub(super) fn gather<W: Wire>(queue: &Queue, arena: &Arena, last: &[u8], conn: Conn, wire: &mut W) -> io::Result<Sent> {
    let mut slices = [IoSlice::new(&[]); SLICES_MAX];
    let mut count = 0;
    let mut total = 0;
    for slice in queue.slices(arena).take(SLICES_MAX - 1) {
        slices[count] = IoSlice::new(slice);
        count += 1;
        total += slice.len();
    }
    if !last.is_empty() && total == queue.unsent() {
        slices[count] = IoSlice::new(last);
        count += 1;
        total += last.len();
    }
    if total == 0 {
        return Ok(Sent { bytes: 0, is_blocked: false });
    }
    let bytes = wire.write(conn, &slices[..count])?;
    Ok(Sent { bytes, is_blocked: bytes < total })
}

/// How far a write got.
pub(super) struct Sent {
    pub bytes: usize,
    pub is_blocked: bool,
}
