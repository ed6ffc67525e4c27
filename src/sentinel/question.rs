//! What a sentinel is asked, and how long it may take.

use crate::link::Patience;

/// A question. Those about a master have its place in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    Auth,
    OwnId,
    Tilt,
    Address(usize),
    Sentinels(usize),
    Replicas(usize),
    Subscribe,
    Ping,
}

/// A reply with 32 replicas has some 40 kB.
pub(super) static PATIENCE: Patience = Patience {
    connect_ms: 500,
    answer_ms: 500,
    reply_bytes_max: 256 * 1024,
    speaks_tls: "it speaks TLS on this port: give sentinelTls",
};
