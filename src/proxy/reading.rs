//! What reading clients needs: limits, framers, and memory that is kept for its next use.

use super::interface::{DIRECT_MIN, LARGE, SPARE_KEPT_MAX};
use crate::client::Kept;
use crate::limits::Limits;
use crate::resp::{RequestFramer, RequestLimits};

/// What reading clients needs.
#[derive(Debug)]
pub(super) struct Reading {
    pub request_limits: RequestLimits,
    /// For those who have not said who they are.
    pub unauthenticated_limits: RequestLimits,
    /// For requests that arrive whole.
    pub framer: RequestFramer,
    /// For transactions that arrive whole.
    pub step_framer: RequestFramer,
    pub step_lens: Vec<u32>,
    /// For clients that keep something; they come and go.
    #[allow(clippy::vec_box)] // the boxes themselves are what is reused
    pub spare_kept: Vec<Box<Kept>>,
    /// Where replies of our own are written, and what is sent in the place of a request; taken out for that time.
    reply: Vec<u8>,
    /// For tests that compare: everything takes the long way.
    #[cfg(debug_assertions)]
    pub is_fast_path_off: bool,
}

impl Reading {
    /// Nothing is read yet.
    pub fn new(limits: &Limits) -> Reading {
        let request_limits = request_limits(limits);
        Reading {
            unauthenticated_limits: request_limits.unauthenticated(),
            request_limits,
            framer: RequestFramer::new(),
            step_framer: RequestFramer::new(),
            step_lens: Vec::new(),
            spare_kept: Vec::new(),
            reply: Vec::new(),
            #[cfg(debug_assertions)]
            is_fast_path_off: false,
        }
    }

    /// From here on these limits hold.
    pub fn set_limits(&mut self, limits: &Limits) {
        self.request_limits = request_limits(limits);
        self.unauthenticated_limits = self.request_limits.unauthenticated();
    }

    /// Takes back a box that a client no longer needs.
    pub fn spare(&mut self, mut kept: Box<Kept>) {
        if self.spare_kept.len() < SPARE_KEPT_MAX && kept.capacity() <= DIRECT_MIN {
            kept.clear();
            self.spare_kept.push(kept);
        }
    }

    /// An empty buffer for a reply of our own, or for what is sent in the place of a request; to be given back.
    pub fn take_reply(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.reply)
    }

    /// Takes that buffer back.
    pub fn spare_reply(&mut self, mut reply: Vec<u8>) {
        reply.clear();
        self.reply = if reply.capacity() > LARGE { Vec::new() } else { reply };
    }

    /// Whether everything takes the long way; never in a release.
    #[inline]
    pub fn is_fast_path_off(&self) -> bool {
        #[cfg(debug_assertions)]
        return self.is_fast_path_off;
        #[cfg(not(debug_assertions))]
        false
    }
}

fn request_limits(limits: &Limits) -> RequestLimits {
    RequestLimits {
        args_max: limits.args_max,
        bulk_bytes_max: limits.bulk_bytes_max,
        inline_bytes_max: limits.inline_bytes_max,
        request_bytes_max: limits.request_bytes_max,
        is_unauthenticated: false,
    }
}
