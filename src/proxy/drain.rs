//! Backends that take nothing more: they are closed before the turn ends in which they owe nothing any more.

use super::backend_close_reason::BackendCloseReason;
use super::turn::{FollowUp, Turn};
use super::upstreams::Upstreams;
use crate::backend::{Backend, Phase};
use crate::slots::Id;

/// No new requests for this backend; it is closed when those that can still be answered are.
pub(super) fn drain_backend(upstreams: &mut Upstreams, turn: &mut Turn, id: Id) {
    let Some(backend) = upstreams.backend_mut(id) else { return };
    match *backend.phase() {
        Phase::Ready | Phase::Settling => {
            backend.drain();
            close_if_drained(upstreams, turn, id);
        }
        // Nothing was sent yet: all of it can go elsewhere.
        Phase::Connecting | Phase::Handshake(_) => {
            turn.follow_up(FollowUp::Close(id, BackendCloseReason::Drained));
        }
        Phase::Draining => close_if_drained(upstreams, turn, id),
        Phase::Closed => {}
    }
}

/// A draining backend that owes nothing is closed before the turn ends.
fn close_if_drained(upstreams: &Upstreams, turn: &mut Turn, id: Id) {
    if upstreams.backend(id).is_some_and(Backend::is_drained) {
        turn.follow_up(FollowUp::Close(id, BackendCloseReason::Drained));
    }
}
