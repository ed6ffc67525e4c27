//! Replies to commands about a client's session (`local` has them), with what the core knows.

use super::client_list::memory_of;
use super::rmux_command;
use super::state::Proxy;
use crate::command;
use crate::local::{self, Context, Outcome};
use crate::resp::Arg;
use crate::slots::Id;
use crate::timer::Millis;

/// Answers a session command; what is to be said to the client, or to the server instead, is appended to `out`.
pub(super) fn answer_to(
    proxy: &mut Proxy,
    id: Id,
    session: command::Session,
    request: &[u8],
    args: &[Arg],
    now: Millis,
    out: &mut Vec<u8>,
) -> Outcome {
    if session == command::Session::Rmux(command::Rmux::Ring) {
        rmux_command::ring(proxy, id, request, args, out);
        return Outcome::Reply;
    }
    let Some(client) = proxy.clients.get_mut(id) else { return Outcome::Silence };
    let (heard, memory, age_ms) = (client.heard(), memory_of(client), client.connection().age_ms(now));
    client.tell(|own, peer| {
        let context = Context {
            client_id: proxy.settings.workers.client_number(id),
            introduction: proxy.upstreams.introduction(),
            listen: &proxy.settings.listen,
            announced: proxy.settings.cluster_announce.as_deref(),
            select_error: proxy.nodes.select_error().filter(|_| proxy.settings.cluster),
            peer,
            users: &proxy.settings.users,
            is_alone: proxy.router.is_single(),
            heard,
            memory,
            age_ms,
        };
        local::answer(session, request, args, own, &context, out)
    })
}
