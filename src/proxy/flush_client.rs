//! What goes out to one client, and what it may do once it has taken that: go on, leave bulk, be seen off.

use super::client_close_reason::ClientCloseReason;
use super::interface::{Conn, Wire};
use super::state::Proxy;
use super::write::send;
use super::{bulk, close, mark};
use crate::client::Flow;
use crate::slots::Id;
use crate::timer::Millis;

pub(super) fn transmit_client<W: Wire>(proxy: &mut Proxy, id: Id, now: Millis, wire: &mut W) {
    let Some(client) = proxy.clients.get_mut(id) else { return };
    client.connection_mut().begin_flush();
    if client.is_closed() {
        return;
    }
    let is_held_up =
        matches!(client.flow(), Flow::Paused { .. }) || client.connection().holds_back() || client.is_in_bulk();
    if !client.connection().is_write_blocked() && client.replies().unsent() > 0 {
        match send(client.replies().queue(), &proxy.in_flight.arena, Conn::Client(id), wire) {
            Ok(sent) => {
                client.on_sent(&mut proxy.in_flight.arena, sent.bytes, sent.is_blocked, now);
                if sent.is_blocked {
                    mark::watch_client_writes(&proxy.settings, &mut proxy.clients, &mut proxy.wheel, id);
                } else if client.replies().unsent() > 0 {
                    mark::mark_client_unsent(&mut proxy.clients, &mut proxy.turn, &mut proxy.pubsub, id);
                }
            }
            Err(_) => return close::close_client(proxy, id, ClientCloseReason::Broken),
        }
    }
    // Who is listened to again may have requests that wait; it is seen off when they are dealt with.
    if !is_held_up || !maybe_resume(proxy, id, now) {
        close::maybe_close(proxy, id);
    }
}

/// A client that was paused because it had too much unread is listened to again, once it has taken half of it; one that
/// waits for a connection of its own, once it needs none. True if it is: its turn to go on has still to come. What is
/// held back for it comes, and bulk ends, when it may.
pub(super) fn maybe_resume(proxy: &mut Proxy, id: Id, now: Millis) -> bool {
    let limits = &proxy.settings.limits;
    let Some(client) = proxy.clients.get_mut(id) else { return false };
    let is_resumed = match client.flow() {
        Flow::Paused { is_full, .. } => {
            client.unread() <= limits.client_unread_pause_bytes / 2
                && (is_full || client.reply_order().len() <= limits.client_outstanding_max / 2)
        }
        _ => false,
    };
    let holds_back = client.connection().holds_back();
    if is_resumed {
        bulk::unpause(&mut proxy.clients, &mut proxy.turn, id);
    }
    if holds_back {
        bulk::stop_holding_back(proxy, id, now);
        bulk::check_unread(proxy, id, now);
    }
    if is_resumed || bulk::maybe_stop_waiting(proxy, id) {
        return true;
    }
    bulk::maybe_leave_bulk(proxy, id);
    false
}
