//! (skeleton)
use crate::client;
use crate::command;
use crate::resp::Arg;

/// What is known outside of the client's session.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The client's number, as `CLIENT ID` tells it.
    pub client_id: u64,
    /// What the server said it is (`HELLO`'s `version`); a fallback while no server has been reached.
    pub server_version: &'a str,
    /// Where rmux listens.
    pub listen: &'a str,
    /// Milliseconds since the client connected.
    pub age_ms: u64,
    /// Facts for `INFO` with several servers.
    pub facts: &'a Facts<'a>,
}

/// What `INFO` tells about rmux itself.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Process id.
    pub process_id: u32,
    /// Clients connected to this pool.
    pub connected_clients: usize,
    /// One for each server, in the order of the configuration. Built only when asked: see the proxy.
    pub servers: &'a [ServerFacts<'a>],
}

/// One server, as `INFO` shows it.
#[derive(Debug, Clone, Copy)]
pub struct ServerFacts<'a> {
    /// Its address, as configured.
    pub address: &'a str,
    /// `up`, `down` or `probing`.
    pub state: &'a str,
    /// Connections to it.
    pub connections: usize,
    /// Requests that it has not answered yet.
    pub outstanding: usize,
    /// Requests given to it.
    pub requests: u64,
    /// Requests that it did not answer.
    pub errors: u64,
}

/// What becomes of a session command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The reply was written.
    Reply,
    /// The reply was written; the client is closed once it has it.
    ReplyAndLeave,
    /// A server has to answer; nothing was written.
    Forward,
}

/// Answers a session command: changes the client's session and appends the reply to `out`.
pub fn answer(
    _what: command::Session,
    _request: &[u8],
    _args: &[Arg],
    _session: &mut client::Session,
    _context: &Context<'_>,
    _out: &mut Vec<u8>,
) -> Outcome {
    Outcome::Forward
}
