//! Counters of what a proxy has done, for `INFO` and the log.
//!
//! Plain numbers that only grow, each counted in one place of the proxy. Knows nothing else.

/// What one server was given, and how it went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServerStats {
    /// Requests that were queued to it; one that is sent again counts again.
    pub requests: u64,
    /// Requests that it did not answer: timed out, or lost with their connection.
    pub errors: u64,
    /// Connections that were opened to it.
    pub connects: u64,
    /// Times that it went down.
    pub downs: u64,
}

/// What the whole proxy did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProxyStats {
    /// Clients that connected.
    pub clients: u64,
    /// Clients that were turned away, because there were too many.
    pub clients_refused: u64,
    /// Reads that were sent a second time, after their backend was lost.
    pub resends: u64,
    /// Reads that were sent a second time, because they stood behind a huge reply, or one that was taken too slowly.
    pub moves: u64,
    /// Times that a connection which heard messages was lost, and all of its subscriptions were made anew.
    pub resubscriptions: u64,
    /// Messages that were given to a subscriber; one that several get counts for each.
    pub messages: u64,
}
