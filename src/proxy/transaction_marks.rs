//! What is noted about a client's transaction: that it is broken, what it holds, that it is over.

use super::clients::Clients;
use super::in_flight::InFlight;
use crate::client::{Client, Leased, Transaction};
use crate::slots::Id;

pub(super) const UNWATCH: &[u8] = b"*1\r\n$7\r\nUNWATCH\r\n";

pub(super) const DISCARD: &[u8] = b"*1\r\n$7\r\nDISCARD\r\n";

/// What `EXEC` is answered with when a step of its transaction was refused.
pub(super) const ABORTED: &[u8] = b"-EXECABORT Transaction discarded because of previous errors.\r\n";

pub(super) const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";

/// A request is refused: if it was meant for a transaction, that one will not be run.
pub(super) fn break_transaction(clients: &mut Clients, id: Id) {
    if let Some(transaction) = clients.get_mut(id).and_then(Client::transaction_mut) {
        transaction.refuse_step();
    }
}

pub(super) fn transaction(clients: &Clients, id: Id) -> Option<&Transaction> {
    clients.get(id)?.transaction()
}

/// Takes the transaction of a client, which has none from here on.
pub(super) fn take_transaction(clients: &mut Clients, in_flight: &mut InFlight, id: Id) -> Option<Box<Transaction>> {
    let transaction = clients.get_mut(id)?.end_transaction()?;
    uncharge_steps(in_flight, transaction.held_steps());
    Some(transaction)
}

pub(super) fn is_begun(clients: &Clients, id: Id) -> bool {
    transaction(clients, id).is_some_and(|transaction| transaction.is_begun())
}

pub(super) fn leased(clients: &Clients, id: Id) -> Option<Leased> {
    transaction(clients, id)?.leased()
}

pub(super) fn uncharge_steps(in_flight: &mut InFlight, held: usize) {
    in_flight.memory.steps_bytes -= held;
    in_flight.arena.uncharge(held);
}

pub(super) fn charge_steps(in_flight: &mut InFlight, held: usize) {
    in_flight.memory.steps_bytes += held;
    in_flight.arena.charge(held);
}

/// True if this request is `MULTI`, and nothing else.
pub(super) fn is_multi(request: &[u8]) -> bool {
    request.len() == MULTI.len() && request.eq_ignore_ascii_case(MULTI)
}

/// What cleans the session of the backend of this transaction, when it is not to be run.
pub(super) fn cleanup(transaction: &Transaction) -> &'static [u8] {
    if transaction.is_begun() { DISCARD } else { UNWATCH }
}
