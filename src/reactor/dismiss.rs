//! Lets go of a client that is to leave, in a moment in which it says nothing.

use super::sockets::Sockets;
use crate::proxy::{Conn, Proxy};
use crate::timer::Millis;

/// A read has found nothing; if its client was asked to leave, it does so now. What it says in this moment is not lost
/// where the kernel can tell (a Unix socket): then it is a request like any other, with the end behind it. Otherwise
/// nobody reads it, and the client finds the end in the place of a reply. Returns whether it is to be read once more.
pub(super) fn on_silent(conn: Conn, sockets: &mut Sockets, proxy: &mut Proxy, now: Millis) -> bool {
    let (Conn::Client(id), Some(socket)) = (conn, sockets.get_mut(conn)) else { return false };
    if !socket.is_dismissed || !proxy.may_dismiss(id) {
        return false;
    }
    if socket.stream.end_input() {
        socket.is_readable = true;
        return true;
    }
    sockets.linger(id, now);
    proxy.handle_client_silent(id);
    false
}
