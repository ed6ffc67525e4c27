//! Reads sockets inside of TLS, and gives up those that do not agree on its keys.
//!
//! A server's session begins when its socket is connected (`dial`), a client's when it is accepted. What comes out of
//! one is handed on as what comes from any socket; out of line, since most have none.

use std::io;

use super::dial::Dialer;
use super::sessions::HANDSHAKE_MS;
use super::sockets::Sockets;
use crate::net::Incoming;
use crate::proxy::{Conn, Proxy};
use crate::slots::Id;
use crate::timer::Millis;

/// Reads a ready socket once. Returns what it has brought, and whether nothing comes behind it; `None` if the
/// connection was given up.
#[cold]
#[inline(never)]
pub(super) fn receive(
    conn: Conn,
    (area, asked): (&mut [u8], usize),
    dialer: &mut Dialer,
    sockets: &mut Sockets,
    proxy: &mut Proxy,
    now: Millis,
) -> Option<io::Result<(Incoming, bool)>> {
    let was_shaking = sockets.is_shaking(conn);
    let result = sockets.receive_inside(conn, area, asked);
    if was_shaking {
        match (conn, &result) {
            (Conn::Backend(_), _) => {
                if !dialer.on_handshake(conn, &result, sockets, proxy, now) {
                    return None;
                }
            }
            // It has only asked whether rmux is alive.
            (Conn::Client(_), Err(error)) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            (Conn::Client(id), Err(error)) => proxy.handle_handshake_failed(id, format_args!("{error}")),
            // What it was to be told meanwhile can be sent.
            (Conn::Client(_), Ok(_)) if !sockets.is_shaking(conn) => proxy.handle_writable(conn),
            (Conn::Client(_), Ok(_)) => {}
        }
    }
    let socket = sockets.get_mut(conn)?;
    Some(result.map(|incoming| (incoming, socket.take_in(incoming))))
}

/// Tells the proxy how much ciphertext is held, if that has changed.
#[inline]
pub(super) fn maybe_tell_held(sockets: &mut Sockets, proxy: &mut Proxy) {
    if let Some(held) = sockets.poll_held() {
        tell_held(held, sockets, proxy);
    }
}

/// Clients that have not shaken hands may take a part of the memory, and no more: if they do, those leave that began
/// first.
#[cold]
#[inline(never)]
fn tell_held(held: usize, sockets: &mut Sockets, proxy: &mut Proxy) {
    let held_max = proxy.handle_held_outside(held);
    if held <= held_max {
        return;
    }
    let holders: Vec<(Id, usize)> = sockets.shaking_holders().collect();
    let mut held: usize = holders.iter().map(|(_, held)| held).sum();
    for (id, freed) in holders {
        if held <= held_max {
            return;
        }
        held -= freed;
        // Its place may be another one's by now.
        if sockets.is_shaking(Conn::Client(id)) {
            let reason = "a quarter of bufferedBytesMax is held for handshakes of which half has come";
            proxy.handle_handshake_failed(id, format_args!("{reason}"));
            proxy.handle_client_broken(id);
        }
    }
}

/// Closes the clients that have taken too long to shake hands.
pub(super) fn end_late_handshakes(sockets: &mut Sockets, proxy: &mut Proxy, now: Millis) {
    while let Some(id) = sockets.poll_late(now) {
        if sockets.is_shaking(Conn::Client(id)) {
            proxy.handle_handshake_failed(id, format_args!("not done within {HANDSHAKE_MS} ms"));
            proxy.handle_client_broken(id);
        }
    }
}
