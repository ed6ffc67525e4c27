//! Subscribers that no server sees, since one connection hears for all of them: added to what the server counts.

use super::call::Call;
use super::in_flight::InFlight;
use super::pubsub::Pubsub;
use super::router::Router;
use super::topic_placement;
use crate::client::{LocalEffect, LocalStep};
use crate::command::{Channels, Class, Gather};
use crate::reply;
use crate::request::{RequestId, Role};
use crate::resp::elements::{self, Elements};
use crate::server_id::ServerId;

/// Appends the reply to a `NUMSUB` or `SHARDNUMSUB`, corrected by those that no server sees.
pub(super) fn correct_subscribers(pubsub: &Pubsub, family: Channels, reply: &[u8], out: &mut Vec<u8>) {
    let Some(mut elements) = Elements::of(reply) else { return out.extend_from_slice(reply) };
    reply::array(out, elements.left() as usize);
    while let Some(name) = elements.next() {
        out.extend_from_slice(name);
        let channel = elements::bulk(name).unwrap_or_default();
        let hidden = pubsub.registry.hidden().subscribers(family, channel);
        correct(elements.next().unwrap_or_default(), hidden, false, out);
    }
}

/// What rmux has to add to the reply to a step of a transaction, if the step tells how many hear a channel.
pub(super) fn count_in_step(pubsub: &Pubsub, index: usize, call: &Call<'_>) -> Option<LocalStep> {
    let hidden = pubsub.registry.hidden();
    let what = match call.command.class {
        Class::Channel(family) if call.args.len() > 1 => match hidden.receivers(family, call.arg(1)) {
            0 => return None,
            hidden => LocalEffect::Published(hidden as u32),
        },
        Class::All(Gather::Subscribers(family)) if !hidden.is_empty() => LocalEffect::Subscribers(family),
        _ => return None,
    };
    Some(LocalStep { index, what })
}

/// The reply to this request, which goes to that server, is how many hear this channel.
pub(super) fn mark_published(
    in_flight: &mut InFlight,
    pubsub: &Pubsub,
    router: &Router,
    (request, server): (RequestId, ServerId),
    (family, channel): (Channels, &[u8]),
) {
    let channel_node = topic_placement::subscribed_server(router, pubsub, server, family);
    let hidden = pubsub.registry.hidden().receivers(family, channel);
    let is_elsewhere = channel_node != server;
    // Of those that another node counts, the proxy's own connection stands for one with each of its topics.
    let elsewhere = if is_elsewhere { pubsub.registry.receiving(family, channel).count() } else { 0 };
    let (hidden, is_elsewhere) = ((hidden + elsewhere) as u32, elsewhere > 0);
    if hidden > 0 {
        in_flight.requests[request].set_role(Role::Published { hidden, is_elsewhere });
    }
}

/// Appends the reply to a `PUBLISH`, corrected by the number of those that receive it and that its server does not see.
/// A server that sees nobody tells nobody, but for those who hear elsewhere.
pub(super) fn correct(reply: &[u8], hidden: usize, is_elsewhere: bool, out: &mut Vec<u8>) {
    match elements::integer(reply) {
        Some(seen) if seen > 0 || is_elsewhere => reply::integer(out, seen + hidden as i64),
        _ => out.extend_from_slice(reply),
    }
}
