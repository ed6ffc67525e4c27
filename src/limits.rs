//! How long rmux waits, and how much it holds: the numbers that bound one pool.
//!
//! Plain values with their defaults and units. This file does not know where they come from (flags or a file), which
//! ranges are allowed there, nor what is done when a limit is reached; those are the business of whoever reads the
//! configuration and of whoever enforces it.
//!
//! ```text
//! client ──► request ──► queue to the server ──► reply ──► queue to the client
//!   │           │               │                              │
//!   clients     request, bulk   pipeline,                      unread: pause mark,
//!   fd reserve  args, inline    send queue                     then hard limit
//!               └── outstanding for each client ──┘   └── buffered: all of it together ──┘
//! ```
//!
//! Invariant, held by the configuration: `client_unread_pause_bytes <= client_unread_bytes_max`, and every remote
//! timeout is more than zero.

/// How long each kind of waiting may last, in milliseconds. What each one runs over is described where it is armed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Waiting for a client that owes us a request, and to which we owe nothing. 0 = no limit.
    pub local_read_ms: u64,
    /// Bytes queued to a client that make no progress. 0 = no limit.
    pub local_write_ms: u64,
    /// Waiting for the rest of a request, of which the start is there and nothing more comes. 0 = no limit.
    pub local_request_ms: u64,
    /// Connecting and shaking hands with a server; a request that waits for any backend. Never 0.
    pub remote_connect_ms: u64,
    /// A request that is outstanding, from the moment it was queued. Never 0.
    pub remote_read_ms: u64,
    /// Bytes queued to a server that make no progress. Never 0.
    pub remote_write_ms: u64,
    /// A server that answers nothing, or no request; then others take its keys. 0 = with the first handshake that is
    /// not answered.
    pub failover_after_ms: u64,
    /// A server's name is looked up again after so long. 0 = not by time alone.
    pub resolve_ms: u64,
    /// A request that takes so long stands in the slow log. 0 = none does.
    pub slow_ms: u64,
}

impl Default for Timeouts {
    /// On the client side no limit but for the rest of a request, 500 ms on the server side: the original rmux's
    /// built-in values, but for the former. A server may be silent for longer than most scripts and stalls take.
    fn default() -> Timeouts {
        Timeouts {
            local_read_ms: 0,
            local_write_ms: 0,
            local_request_ms: 60_000,
            remote_connect_ms: 500,
            remote_read_ms: 500,
            remote_write_ms: 500,
            failover_after_ms: 5_000,
            resolve_ms: 30_000,
            slow_ms: 100,
        }
    }
}

/// How much of each thing one pool may hold. Sizes are in bytes, everything else is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Clients connected at one time. The limit on open files may lower it further.
    pub clients_max: usize,
    /// One request as it stands on the wire, all its arguments together.
    pub request_bytes_max: usize,
    /// One argument of a request. The default is that of Redis' own `proto-max-bulk-len`.
    pub bulk_bytes_max: usize,
    /// Arguments of one request, its name included. The default is Redis' own.
    pub args_max: usize,
    /// One inline request (a line of words, as typed into telnet). The default is Redis' own.
    pub inline_bytes_max: usize,
    /// Requests of one client that are not answered yet; at the limit, reading from it pauses, unless it is in bulk.
    pub client_outstanding_max: usize,
    /// Reply bytes that one client has not taken; from here on they stay with the server, or reading from it pauses.
    pub client_unread_pause_bytes: usize,
    /// Reply bytes that one client has not taken; past this, it is closed.
    pub client_unread_bytes_max: usize,
    /// Bytes that a subscriber has not taken; past this, it is closed. The default is that of Redis' own
    /// `client-output-buffer-limit pubsub`, as are the next two.
    pub subscriber_unread_bytes_max: usize,
    /// Bytes that a subscriber has not taken; past this for `subscriber_unread_soft_ms`, it is closed.
    pub subscriber_unread_soft_bytes: usize,
    /// In milliseconds. 0 = no limit.
    pub subscriber_unread_soft_ms: u64,
    /// All requests and replies held in memory together.
    pub buffered_bytes_max: usize,
    /// Requests outstanding on one connection to a server; at the limit, the next connection is used.
    pub pipeline_max: usize,
    /// Connections that are made to one server within a second, beyond those that its pool takes at once. 0 = no limit.
    pub connects_per_second: usize,
    /// Bytes queued on one connection to a server; at the limit, the next connection is used.
    pub send_queue_bytes_max: usize,
    /// File descriptors that clients never get: for connections to servers, logging and name lookups.
    pub fd_reserve: usize,
    /// Entries of the slow log.
    pub slow_entries_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        const MIB: usize = 1024 * 1024;
        Limits {
            clients_max: 10_000,
            request_bytes_max: 1024 * MIB,
            bulk_bytes_max: 512 * MIB,
            args_max: 1_048_576,
            inline_bytes_max: 65_536,
            client_outstanding_max: 4096,
            client_unread_pause_bytes: MIB,
            client_unread_bytes_max: 64 * MIB,
            subscriber_unread_bytes_max: 32 * MIB,
            subscriber_unread_soft_bytes: 8 * MIB,
            subscriber_unread_soft_ms: 60_000,
            buffered_bytes_max: 256 * MIB,
            connects_per_second: 100,
            pipeline_max: 8192,
            send_queue_bytes_max: MIB,
            fd_reserve: 32,
            slow_entries_max: 128,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_hold_the_invariants() {
        let limits = Limits::default();
        assert!(limits.client_unread_pause_bytes <= limits.client_unread_bytes_max);
        assert!(limits.subscriber_unread_soft_bytes <= limits.subscriber_unread_bytes_max);
        assert!(limits.bulk_bytes_max < limits.request_bytes_max);
        let timeouts = Timeouts::default();
        for remote in [timeouts.remote_connect_ms, timeouts.remote_read_ms, timeouts.remote_write_ms] {
            assert!(remote > 0);
        }
    }
}
