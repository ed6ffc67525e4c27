//! What a client leaves behind that is closed: the closing policy's to clear up.

use std::mem;

use super::Client;
use super::affinity::Affinities;
use super::bulk::Bulk;
use super::flow::Flow;
use super::kept::Kept;
use super::transaction::Transaction;
use crate::request::ClientLine;
use crate::subscription::Subscriber;

/// How it was closed.
#[derive(Debug)]
#[must_use = "what a client leaves behind has to be cleared up"]
pub enum Departed {
    /// Not now: it was closed before.
    Before,
    /// It leaves nothing behind, as nearly always.
    Clean,
    /// It leaves this.
    Leaves(Left),
}

/// What a client had, but for its alarm and the replies that could be sent, which went with it.
#[derive(Debug)]
pub struct Left {
    /// What it did.
    pub flow: Flow,
    /// Where its outstanding requests stand.
    pub affinities: Affinities,
    /// Its outstanding requests.
    pub reply_order: ClientLine,
    /// The transaction that it was in.
    pub transaction: Option<Box<Transaction>>,
    /// What it had in bulk.
    pub bulk: Option<Box<Bulk>>,
    /// What it sent that was not dealt with.
    pub kept: Option<Box<Kept>>,
    /// What it had because it subscribed.
    pub subscriber: Option<Box<Subscriber>>,
}

impl Left {
    /// Takes it all from a client that was in this state.
    #[inline(never)]
    pub(super) fn of(client: &mut Client, flow: Flow) -> Left {
        Left {
            flow,
            affinities: mem::take(&mut client.affinities),
            reply_order: mem::take(&mut client.reply_order),
            transaction: client.transaction.take(),
            bulk: client.bulk.take(),
            kept: client.kept.take(),
            subscriber: client.subscriber.take(),
        }
    }
}
