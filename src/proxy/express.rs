//! The express lane: plain requests and plain replies in runs, since nearly all of them are plain and come in runs.
//!
//! Decides nothing of its own. What it does is what `intake`, `routing`, `dispatch` and `replies` do with the same
//! bytes, for the cases in which they have nothing to decide: each connection is looked up once for a whole run, and
//! the bytes of a run are copied as one piece. In front of the first request or reply that has anything else about it,
//! it stops, and that one takes the long way.
//!
//! ```text
//!   client's bytes    [GET a][GET b][SET c 1][MULTI]…      one piece to one backend; MULTI and the rest: on_request
//!                     └──── a run ──────────┘
//!   backend's bytes   [$1 x][$1 y][+OK][$1 z]…             one piece to one client, the next to the next
//!                     └── client 7 ───┘└ 8 ┘
//! ```
//!
//! Plain is a request of a client in no particular state, for a backend that takes it at once; plain is a reply that is
//! whole, short, and the turn of the client that waits for it. Invariant: leaving out this file changes no byte that
//! any peer sees, and no count.

use std::io::IoSlice;

use log::trace;

use super::bulk::DEEP;
use super::router::Router;
use super::{Conn, DIRECT_MIN, Goodbye, Proxy, Timer, Wire};
use crate::backend::Backend;
use crate::client::{Client, Flow};
use crate::command::{self, Access, Class, Command};
use crate::request::{Place, Request, RequestId, Requests, Role};
use crate::resp::{self, Frame, ReplyFramer, RequestFramer, RequestLimits};
use crate::server_id::ServerId;
use crate::session::ReplyMode;
use crate::slots::Id;
use crate::timer::Millis;

/// A plain request: whole, short, and of one server.
#[derive(Clone, Copy)]
struct Plain {
    len: usize,
    server: ServerId,
    /// Of its first key; 0 where there is only one server.
    hash: u32,
    command: &'static Command,
}

/// What must be known to tell a plain request: the parts of the proxy that never change during a run.
struct Sorter<'a> {
    limits: &'a RequestLimits,
    router: &'a Router,
    /// True if nothing about a request but its class is to be looked at.
    is_one_server: bool,
}

impl Sorter<'_> {
    /// The request that `bytes` begin with, if it is a plain one. If it is not, nothing has happened: `framer` gives
    /// whoever asks next the same answer.
    #[inline]
    fn sort(&self, bytes: &[u8], framer: &mut RequestFramer) -> Option<Plain> {
        let Ok(Frame::Complete(len)) = framer.frame(bytes, self.limits) else { return None };
        if !framer.is_multibulk() || len >= DIRECT_MIN {
            return None;
        }
        let args = framer.args();
        let command = command::find(args[0].of(bytes)).filter(|command| command.class == Class::Keyed)?;
        let (server, hash) = if self.is_one_server {
            (ServerId::of_index(0), 0)
        } else {
            // A script, which may have to be remembered, has its keys elsewhere.
            if args.len() < 2 || !command.has_one_key() {
                return None;
            }
            let hash = self.router.hash_of(args[1].of(bytes));
            (self.router.server_of(hash)?, hash)
        };
        Some(Plain { len, server, hash, command })
    }
}

/// What is left to do for the client that ended a series of runs.
enum After {
    Nothing,
    /// What came early for it may be next, or it has much unread.
    Advance(Id),
    /// Its socket is full.
    Watch(Id),
    /// Its socket is broken.
    Close(Id),
}

impl Proxy {
    /// Gives the plain requests that `bytes` of a client begin with to their backends. Returns how many bytes they
    /// take; if there are more, `framer` stands in the request behind them.
    pub(super) fn take_plain_requests(
        &mut self,
        id: Id,
        bytes: &[u8],
        framer: &mut RequestFramer,
        now: Millis,
    ) -> usize {
        if self.reading.is_fast_path_off() {
            return 0;
        }
        let limits = &self.settings.limits;
        let Some(client) = self.clients.get_mut(id) else { return 0 };
        let is_plain = client.is_plain() && client.flow == Flow::Open && client.session.reply_mode == ReplyMode::On;
        let is_routed_by_keys_alone = client.routing_epoch == self.router.epoch() && !self.settings.policy.is_denying();
        // Behind each request of one with much unread is looked whether it is paused.
        let has_much_unread = client.unread() >= limits.client_unread_pause_bytes;
        if !is_plain || !is_routed_by_keys_alone || self.router.is_single_down() || has_much_unread {
            return 0;
        }
        let sorter = Sorter {
            limits: &self.reading.request_limits,
            router: &self.router,
            is_one_server: self.router.is_single() && !self.settings.strict_replies,
        };
        let has_room = |backend: &Backend| backend.has_room(limits);
        let profile = client.session.profile;
        let deadline = now + self.settings.timeouts.remote_read_ms;
        let mut at = 0;
        let mut next = sorter.sort(bytes, framer);
        while let Some(first) = next {
            // Who waits is not overtaken.
            if self.upstreams.pool(first.server).is_waited_for_room() {
                break;
            }
            let affinity = client.affinity(first.server).map(|affinity| affinity.backend);
            let open = || self.upstreams.first_open(first.server, profile, has_room);
            let found = match &client.bulk {
                None => affinity.or_else(open),
                Some(bulk) => bulk.at(first.server),
            };
            let Some(backend_id) = found else { break };
            let Some(backend) = self.upstreams.backend_mut(backend_id) else { break };
            let is_bulk = backend.is_in_bulk_for(id);
            if backend.profile() != profile || !(has_room(backend) || is_bulk && backend.has_room_for_owner(limits)) {
                break;
            }
            // Where more is decided than where the next one goes, a run ends.
            let outstanding = client.reply_order.len();
            let mark = if outstanding < DEEP { DEEP } else { usize::MAX }.min(limits.client_outstanding_max);
            let outstanding_max = mark.saturating_sub(outstanding);
            let requests_max = match is_bulk {
                false => outstanding_max.min(limits.pipeline_max - backend.in_flight().len()),
                true => usize::MAX,
            };
            let bytes_max = limits.send_queue_bytes_max - backend.queue().unsent();
            let start = at;
            let mut count = 0;
            let mut last = first.command;
            while let Some(plain) = next.filter(|plain| plain.server == first.server) {
                if count == requests_max || at - start >= bytes_max {
                    break;
                }
                trace!("client {id}: {}", plain.command.name());
                let is_read = plain.command.access == Access::Read;
                let request = Request::new(id, deadline, plain.len as u32, plain.hash, is_read);
                let request = self.in_flight.requests.insert(request);
                client.reply_order.push(&mut self.in_flight.requests, request);
                backend.in_flight_mut().push(&mut self.in_flight.requests, request);
                if plain.command.access == Access::Write {
                    client.wrote_to = backend_id;
                }
                last = plain.command;
                count += 1;
                at += plain.len;
                framer.reset();
                next = if at < bytes.len() { sorter.sort(&bytes[at..], framer) } else { None };
            }
            if count == 0 {
                break;
            }
            client.command = Some(last);
            client.pin(first.server, backend_id, count as u32);
            backend.push(&mut self.in_flight.arena, &bytes[start..at]);
            backend.wake_at(&mut self.wheel, Timer::Backend(backend_id), deadline);
            if backend.mark_dirty() {
                self.turn.flush_backend(backend_id);
            }
            self.upstreams.count_requests(first.server, count);
        }
        if at > 0 {
            // It was for the request that had waited; those behind it have not.
            self.turn.is_wait_over = false;
            let is_deep = client.reply_order.len() >= DEEP.min(limits.client_outstanding_max);
            if is_deep || client.unread() >= limits.client_unread_pause_bytes || self.is_memory_short() {
                self.on_forwarded(id, now);
            }
        }
        at
    }

    /// Gives the plain replies that `bytes` of a backend begin with to their clients. Returns how many bytes they take.
    ///
    /// To who is owed nothing more they are written straight from `bytes`: there is nothing for them to wait for.
    pub(super) fn hand_out_plain_replies<W: Wire>(
        &mut self,
        id: Id,
        bytes: &[u8],
        framer: &ReplyFramer,
        now: Millis,
        wire: &mut W,
    ) -> usize {
        let is_one_server = self.router.is_single();
        let Some(backend) = self.upstreams.backend_mut(id) else { return 0 };
        let is_off = self.reading.is_fast_path_off();
        if is_off || !framer.is_at_start() || !backend.is_answering() || backend.is_in_large_reply() {
            return 0;
        }
        let server = backend.server();
        let mut at = 0;
        let mut after = After::Nothing;
        while let Some(first) = backend.in_flight().first() {
            let to = self.in_flight.requests[first].client();
            let Some(client) = self.clients.get_mut(to).filter(|client| client.subscriber.is_none()) else { break };
            let start = at;
            let mut count = 0;
            while let Some(request) = backend.in_flight().first() {
                let entry = &self.in_flight.requests[request];
                let len = u64::from(entry.bytes());
                if entry.client() != to || !is_plain_and_next(entry, request, client) || !backend.was_sent(len) {
                    break;
                }
                let Some(taken) = resp::short_reply(&bytes[at..]) else { break };
                // A script that the server does not know may be known here.
                if !is_one_server && bytes[at] == b'-' {
                    break;
                }
                backend.in_flight_mut().pop(&self.in_flight.requests);
                client.reply_order.pop(&self.in_flight.requests);
                self.in_flight.requests.remove(request);
                backend.on_answered(len);
                count += 1;
                at += taken;
            }
            if count == 0 {
                break;
            }
            client.unpin(server, count);
            if client.flow == (Flow::AwaitingOwnReplies { server }) && client.affinity(server).is_none() {
                self.turn.wake(to);
            }
            client.heard_at = now;
            let run = &bytes[start..at];
            let is_done =
                client.reply_order.is_empty() && client.flow == Flow::Open && !client.is_ended && client.bulk.is_none();
            if is_done && client.replies.unsent() == 0 && !client.is_write_blocked {
                client.took_at = now;
                match wire.write(Conn::Client(to), &[IoSlice::new(run)]) {
                    Ok(taken) if taken == run.len() => continue,
                    Ok(taken) => {
                        client.replies.push(&mut self.in_flight.arena, &run[taken..]);
                        client.is_write_blocked = true;
                        after = After::Watch(to);
                    }
                    Err(_) => after = After::Close(to),
                }
                break;
            }
            client.replies.push(&mut self.in_flight.arena, run);
            if !client.is_dirty {
                client.is_dirty = true;
                self.turn.flush_client(to);
            }
            let has_more = client.reply_order.first().is_some_and(|next| has_come(&self.in_flight.requests, next));
            if has_more || client.replies.unsent() >= self.settings.limits.client_unread_pause_bytes {
                after = After::Advance(to);
                break;
            }
        }
        if at > 0 {
            backend.release_answered(&mut self.in_flight.arena, now);
            match after {
                After::Nothing => {}
                After::Advance(client) => self.advance_line(client, now),
                After::Watch(client) => self.watch_client_writes(client),
                After::Close(client) => self.close_client(client, Goodbye::Broken),
            }
        }
        at
    }
}

/// Whether the reply to this request is passed on as it is, and now.
#[inline]
fn is_plain_and_next(entry: &Request, request: RequestId, client: &Client) -> bool {
    entry.role() == Role::Plain
        && entry.place() == Place::Waiting
        && !entry.is_muted()
        && client.reply_order.first() == Some(request)
}

/// Whether the reply to this request, or a part of it, came before its turn.
#[inline]
fn has_come(requests: &Requests, request: RequestId) -> bool {
    requests[request].place().early().is_some()
}
