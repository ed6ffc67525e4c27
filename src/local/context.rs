//! What a session command is told, beside its own words and its client's session, and what becomes of it.
//!
//! Knows what the other parts of this folder need in common, and none of them but what `roster` counts of a client.

use super::roster::ClientMemory;
use crate::backend::handshake::Introduction;
use crate::users::Users;

/// What is known outside of the client's session.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The client's number, as `CLIENT ID` tells it; below 2^63.
    pub client_id: u64,
    /// What the server said it is.
    pub introduction: &'a Introduction,
    /// Where rmux listens.
    pub listen: &'a str,
    /// Where clients that insist on a cluster reach rmux, which is its only node then; `None` where there is none.
    pub announced: Option<&'a str>,
    /// What nodes of a cluster say to `SELECT` of another database than 0, if there is none; with its line end.
    pub select_error: Option<&'a [u8]>,
    /// Where the client comes from, if that is known.
    pub peer: Option<&'a str>,
    /// Who there may be.
    pub users: &'a Users,
    /// Whether there is one server only, which then answers for itself.
    pub is_alone: bool,
    /// How many channels, patterns and shard channels the client hears.
    pub heard: [u32; 3],
    /// What the client takes of rmux's memory.
    pub memory: ClientMemory,
    /// Milliseconds since the client connected.
    pub age_ms: u64,
}

/// What becomes of a session command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The reply was written.
    Reply,
    /// The reply was written; the client is closed once it has it.
    ReplyAndLeave,
    /// The reply was written: somebody has given a wrong password. Whoever keeps the time delays it.
    Denied {
        /// The argument that says who it wants to be; `None` for the default user.
        user: Option<usize>,
    },
    /// There is no reply.
    Silence,
    /// It is about this pool, all of it: its clients (see [`roster`](super::roster)), or what it does (see
    /// [`info`](super::info)). Nothing was written.
    Pool,
    /// A server has to answer; nothing was written.
    Forward,
    /// The only server has to answer, but another request, which was written.
    ForwardInstead,
}
